/**
 * Metrics as plots of the last minutes, and all of them as a list.
 * @module
 */
import { useState } from "preact/hooks";
import { Chart, type Line, rateOf, readingOf } from "../chart.tsx";
import { Card, Table } from "../components.tsx";
import { count, milliseconds, rate, size } from "../format.ts";
import type { Live } from "../store.ts";

type Plot = {
  readonly title: string;
  readonly lines: readonly Line[];
  readonly format: (value: number) => string;
};

const line = (label: string, plot: number, valueOfSample: Line["valueOf"]): Line => ({
  label,
  colour: `--plot-${plot}`,
  valueOf: valueOfSample,
});
const perSecond = (value: number) => value.toFixed(value < 10 ? 1 : 0);

const MASTER: readonly Plot[] = [
  {
    title: "Calls per second",
    format: perSecond,
    lines: [line("all", 1, rateOf("Master.TotalRpcs.count"))],
  },
  {
    title: "Time of a call",
    format: milliseconds,
    lines: [
      line("median", 1, readingOf("Master.TotalRpcs.p50", 1000)),
      line("99 %", 3, readingOf("Master.TotalRpcs.p99", 1000)),
    ],
  },
  {
    title: "Operations per second",
    format: perSecond,
    lines: [
      line("status and lists", 1, rateOf("Master.FileInfosGot")),
      line("created", 2, rateOf("Master.FilesCreated")),
      line("deleted", 3, rateOf("Master.PathsDeleted")),
      line("renamed", 4, rateOf("Master.PathsRenamed")),
    ],
  },
  {
    title: "Traffic of all workers",
    format: rate,
    lines: [
      line("read", 1, rateOf("Cluster.BytesReadRemote")),
      line("read from under stores", 3, rateOf("Cluster.BytesReadUfsAll")),
      line("written", 2, rateOf("Cluster.BytesWrittenRemote")),
    ],
  },
  {
    title: "Cached",
    format: size,
    lines: [
      line("used", 1, readingOf("Cluster.CapacityUsed")),
      line("capacity", 4, readingOf("Cluster.CapacityTotal")),
    ],
  },
  {
    title: "Journal entries per second",
    format: perSecond,
    lines: [line("applied", 1, rateOf("Master.JournalLastAppliedCommitIndex"))],
  },
];

const WORKER: readonly Plot[] = [
  {
    title: "Read",
    format: rate,
    lines: [
      line("sent", 1, rateOf("Worker.BytesReadRemote")),
      line("from the cache", 2, rateOf("Worker.BytesReadCache")),
      line("from under stores", 3, rateOf("Worker.BytesReadPerUfs")),
    ],
  },
  {
    title: "Written",
    format: rate,
    lines: [
      line("taken", 1, rateOf("Worker.BytesWrittenRemote")),
      line("to under stores", 3, rateOf("Worker.BytesWrittenPerUfs")),
    ],
  },
  {
    title: "Cached",
    format: size,
    lines: [
      line("used", 1, readingOf("Worker.CapacityUsed")),
      line("capacity", 4, readingOf("Worker.CapacityTotal")),
    ],
  },
  {
    title: "Open streams",
    format: count,
    lines: [
      line("reads", 1, readingOf("Worker.ActiveRpcReadCount")),
      line("writes", 2, readingOf("Worker.ActiveRpcWriteCount")),
    ],
  },
];

type Row = { readonly name: string; readonly type: string; readonly value: string };

function rowsOf({ metrics }: Live): readonly Row[] {
  if (metrics === null) return [];
  const shown = (value: number | string) =>
    typeof value === "string"
      ? value
      : Number.isInteger(value)
        ? count(value)
        : value.toPrecision(4);
  return [
    ...Object.entries(metrics.gauges).map(([name, { value }]) => ({
      name,
      type: "gauge",
      value: shown(value),
    })),
    ...Object.entries(metrics.counters).map(([name, each]) => ({
      name,
      type: "counter",
      value: shown(each.count),
    })),
    ...Object.entries(metrics.timers).map(([name, timer]) => ({
      name,
      type: "timer",
      value: `${count(Number(timer["count"]))} times, median ${milliseconds(1000 * Number(timer["p50"]))}, 99 % ${milliseconds(1000 * Number(timer["p99"]))}`,
    })),
  ].sort((a, b) => (a.name < b.name ? -1 : 1));
}

export function MetricsPage({ live }: { readonly live: Live }) {
  const [filter, setFilter] = useState("");
  const plots = live.status?.kind === "worker" ? WORKER : MASTER;
  const rows = rowsOf(live).filter(({ name }) => name.toLowerCase().includes(filter.toLowerCase()));
  return (
    <>
      <Card
        title="Of late"
        aside={
          <span class="quiet">
            <a href="/metrics/prometheus/">Prometheus</a> · <a href="/metrics/json/">JSON</a>
          </span>
        }
      >
        <div class="charts">
          {plots.map((plot) => (
            <Chart key={plot.title} history={live.history} {...plot} />
          ))}
        </div>
      </Card>
      <Card title={`All metrics (${count(rows.length)})`}>
        <div class="row">
          <label class="grow">
            <span class="visually-hidden">Filter metrics</span>
            <input
              type="search"
              placeholder="Filter by name"
              value={filter}
              onInput={({ currentTarget }) => setFilter(currentTarget.value)}
            />
          </label>
        </div>
        <Table
          label="All metrics"
          rows={rows}
          keyOf={({ name }) => name}
          empty="No metric fits."
          columns={[
            { head: "Name", cell: ({ name }) => <code>{name}</code> },
            { head: "Type", cell: ({ type }) => <span class="quiet">{type}</span> },
            { head: "Value", isNumber: true, cell: ({ value }) => value },
          ]}
        />
      </Card>
    </>
  );
}
