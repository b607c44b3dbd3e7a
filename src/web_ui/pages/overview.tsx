/**
 * The state of the cluster, or of this worker, at a glance.
 * @module
 */
import type { MasterStatus, TierStatus, WorkerStatus } from "../../web/api_types.ts";
import {
  Badge,
  Card,
  Facts,
  Failure,
  Notice,
  Table,
  Tile,
  Usage,
  WebLink,
} from "../components.tsx";
import { count, duration, milliseconds, rate, size, time } from "../format.ts";
import { hrefOf } from "../router.ts";
import type { Live, Sample } from "../store.ts";
import { useAnswer } from "../use_answer.ts";

export const sum = (tiers: readonly TierStatus[], field: "capacityBytes" | "usedBytes") =>
  tiers.reduce((total, tier) => total + tier[field], 0);

export function ratesOf(history: readonly Sample[], name: string): readonly number[] {
  return history.slice(1).map((sample, at) => {
    const before = history[at];
    const seconds = (sample.atMs - (before?.atMs ?? 0)) / 1000;
    const grown = (sample.values[name] ?? 0) - (before?.values[name] ?? 0);
    return before === undefined || seconds <= 0 ? 0 : Math.max(0, grown / seconds);
  });
}

const OPERATIONS = "Master.TotalRpcs.count";

type ConfigCheck = {
  readonly configCheckStatus: string;
  readonly configCheckErrorNum: number;
  readonly configCheckWarnNum: number;
  readonly configCheckErrors: Inconsistent;
  readonly configCheckWarns: Inconsistent;
};
type Inconsistent = Readonly<
  Record<
    string,
    readonly {
      readonly name: string;
      readonly values: Readonly<Record<string, readonly string[]>>;
    }[]
  >
>;

function ConfigurationCheck() {
  const { value, error } = useAnswer<ConfigCheck>("/api/v1/master/webui_overview");
  if (error !== null) return <Failure error={error} />;
  if (value === null) return <p class="quiet">Comparing…</p>;
  const rows = [value.configCheckErrors, value.configCheckWarns].flatMap((byScope, at) =>
    Object.values(byScope)
      .flat()
      .map((each) => ({ ...each, isError: at === 0 })),
  );
  if (rows.length === 0)
    return <p class="quiet">All processes that reported are configured alike.</p>;
  return (
    <Table
      label="Properties that differ"
      rows={rows}
      keyOf={({ name }) => name}
      columns={[
        {
          head: "Property",
          cell: ({ name, isError }) => (
            <>
              <code>{name}</code>{" "}
              {isError ? <Badge mood="bad">error</Badge> : <Badge mood="warn">differs</Badge>}
            </>
          ),
        },
        {
          head: "Values",
          cell: ({ values }) =>
            Object.entries(values)
              .map(([text, nodes]) => `${text === "" ? "(unset)" : text} on ${nodes.join(", ")}`)
              .join("; "),
        },
      ]}
    />
  );
}

function MasterTiles({
  master,
  history,
}: {
  readonly master: MasterStatus;
  readonly history: Live["history"];
}) {
  const live = master.workers.filter(({ state }) => state === "live");
  const tiers = live.flatMap((worker) => worker.tiers);
  const operations = ratesOf(history, OPERATIONS);
  const reads = ratesOf(history, "Cluster.BytesReadRemote");
  const writes = ratesOf(history, "Cluster.BytesWrittenRemote");
  const available = master.members.filter(({ isAvailable }) => isAvailable).length;
  const { census } = master;
  return (
    <div class="tiles">
      <Tile
        name="Masters"
        value={`${available} of ${master.members.length}`}
        note={master.leader === null ? "no leader" : `leader ${master.leader.rpc}`}
      />
      <Tile
        name="Workers"
        value={count(live.length)}
        note={`${count(master.workers.length - live.length)} lost or decommissioned`}
      />
      <Tile
        name="Cached"
        value={size(sum(tiers, "usedBytes"))}
        note={`of ${size(sum(tiers, "capacityBytes"))}`}
        spark={history.map(({ values }) => values["Cluster.CapacityUsed"] ?? 0)}
      />
      <Tile
        name="Paths"
        value={census.atMs === null ? "…" : count(census.pathCount)}
        note={census.atMs === null ? "being counted" : `${size(census.fileBytes)} in files`}
      />
      <Tile
        name="Calls"
        value={`${(operations.at(-1) ?? 0).toFixed(1)}/s`}
        note="to this master"
        spark={operations}
      />
      <Tile name="Read" value={rate(reads.at(-1) ?? 0)} note="from workers" spark={reads} />
      <Tile name="Written" value={rate(writes.at(-1) ?? 0)} note="to workers" spark={writes} />
      <Tile
        name="Last fail-over"
        value={master.failover === null ? "none" : milliseconds(master.failover.totalMs)}
        note={
          master.failover === null ? (
            "since this master started"
          ) : (
            <a href={hrefOf("raft")}>term {master.failover.term}, anatomy</a>
          )
        }
      />
    </div>
  );
}

export function MasterOverview({
  live,
  master,
}: {
  readonly live: Live;
  readonly master: MasterStatus;
}) {
  const { census, rootSpace } = master;
  const tiers = master.workers
    .filter(({ state }) => state === "live")
    .flatMap((worker) => worker.tiers);
  const aliases = [...new Set(tiers.map(({ alias }) => alias))];
  return (
    <>
      {master.journalWarnings.map((warning) => (
        <Notice key={warning} mood="bad">
          {warning}
        </Notice>
      ))}
      {census.lostFileCount > 0 ? (
        <Notice mood="bad">
          {count(census.lostFileCount)} files have {count(census.lostBlockCount)} blocks that
          neither a worker nor an under store has.
        </Notice>
      ) : null}
      <MasterTiles master={master} history={live.history} />
      <div class="columns">
        <Card title="This master">
          <Facts
            pairs={[
              ["Address", master.rpc],
              ["Cluster", <code key="id">{master.clusterId || "not founded yet"}</code>],
              ["Started", time(master.startedMs)],
              ["Up for", duration(master.uptimeMs)],
              ["Version", master.version],
              ["Term", count(master.term)],
              ["Applied entry", count(master.appliedIndex)],
              [
                "Last checkpoint",
                master.checkpoint === null
                  ? "none yet"
                  : `${time(master.checkpoint.timeMs)}, ${count(master.appliedIndex - master.checkpoint.index)} entries ago`,
              ],
            ]}
          />
        </Card>
        <Card title="Storage">
          <Facts
            isColumn
            pairs={[
              ...aliases.map((alias): [string, preact.ComponentChildren] => {
                const own = tiers.filter((tier) => tier.alias === alias);
                return [
                  `Cache, ${alias}`,
                  <Usage
                    key={alias}
                    usedBytes={sum(own, "usedBytes")}
                    capacityBytes={sum(own, "capacityBytes")}
                  />,
                ];
              }),
              [
                "Under store of /",
                rootSpace === null ? (
                  "unknown"
                ) : (
                  <Usage
                    key="ufs"
                    usedBytes={rootSpace.usedBytes}
                    capacityBytes={rootSpace.capacityBytes}
                  />
                ),
              ],
              [
                "Journal's disk",
                master.journalRoom.totalBytes === 0 ? (
                  "unknown"
                ) : (
                  <Usage
                    key="journal"
                    usedBytes={master.journalRoom.totalBytes - master.journalRoom.freeBytes}
                    capacityBytes={master.journalRoom.totalBytes}
                  />
                ),
              ],
            ]}
          />
        </Card>
      </div>
      <Card
        title="Configuration of all processes"
        aside={<a href={hrefOf("configuration")}>this master's</a>}
      >
        <ConfigurationCheck />
      </Card>
    </>
  );
}

export function WorkerOverview({
  live,
  worker,
}: {
  readonly live: Live;
  readonly worker: WorkerStatus;
}) {
  const reads = ratesOf(live.history, "Worker.BytesReadRemote");
  const writes = ratesOf(live.history, "Worker.BytesWrittenRemote");
  const leader = live.status?.kind === "worker" ? live.status.leader : null;
  return (
    <>
      {worker.isRegistered ? null : (
        <Notice mood="bad">No master knows this worker: clients are not sent here.</Notice>
      )}
      <div class="tiles">
        <Tile
          name="Cached"
          value={size(sum(worker.tiers, "usedBytes"))}
          note={`of ${size(sum(worker.tiers, "capacityBytes"))}`}
          spark={live.history.map(({ values }) => values["Worker.CapacityUsed"] ?? 0)}
        />
        <Tile
          name="Blocks"
          value={count(worker.blockCount)}
          note={<a href={hrefOf("blocks")}>by file</a>}
        />
        <Tile
          name="Read"
          value={rate(reads.at(-1) ?? 0)}
          note={`${worker.activeReads} open`}
          spark={reads}
        />
        <Tile
          name="Written"
          value={rate(writes.at(-1) ?? 0)}
          note={`${worker.activeWrites} open`}
          spark={writes}
        />
      </div>
      <div class="columns">
        <Card title="This worker">
          <Facts
            pairs={[
              ["Address", worker.rpc],
              ["Id", <code key="id">{worker.id || "none yet"}</code>],
              [
                "Leader",
                leader === null ? (
                  "none known"
                ) : (
                  <WebLink key="leader" web={leader.web}>
                    {leader.rpc}
                  </WebLink>
                ),
              ],
              ["Started", time(worker.startedMs)],
              ["Up for", duration(worker.uptimeMs)],
              ["Version", worker.version],
            ]}
          />
        </Card>
        <Card title="Masters">
          <Table
            label="Masters as this worker sees them"
            rows={worker.masters}
            keyOf={({ address }) => address}
            columns={[
              { head: "Address", cell: ({ address }) => address },
              {
                head: "State",
                cell: ({ state }) => (
                  <Badge mood={state === "registered" ? "good" : "warn"}>{state}</Badge>
                ),
              },
            ]}
          />
        </Card>
      </div>
      <Card title="Directories">
        <Table
          label="Directories of cached blocks"
          rows={worker.directories}
          keyOf={({ path }) => path}
          columns={[
            { head: "Tier", cell: ({ alias }) => alias },
            { head: "Path", cell: ({ path }) => <code>{path}</code> },
            {
              head: "Used",
              cell: ({ usedBytes, capacityBytes }) => (
                <Usage usedBytes={usedBytes} capacityBytes={capacityBytes} />
              ),
            },
          ]}
        />
      </Card>
    </>
  );
}
