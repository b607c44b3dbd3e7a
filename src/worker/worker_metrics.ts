/**
 * What a worker tells the masters of its traffic, under the names that they sum up: counts since the worker's start.
 * @module
 */
import { type MetricInit, MetricType } from "../proto/gen/common.ts";
import type { WorkerCounters } from "./worker_api.ts";

export function workerMetrics(
  source: string,
  counters: Readonly<WorkerCounters>,
): readonly MetricInit[] {
  const counts: readonly (readonly [string, number])[] = [
    ["BytesReadCache", counters.bytesReadLocal],
    ["BytesReadRemote", counters.bytesSent],
    ["BytesReadUfsAll", counters.bytesReadUfs],
    ["BytesWrittenLocal", counters.bytesWrittenLocal],
    ["BytesWrittenRemote", counters.bytesWritten],
    ["BytesWrittenUfsAll", counters.bytesWrittenUfs + counters.bytesPersisted],
  ];
  const gauges: readonly (readonly [string, number])[] = [
    ["ActiveRpcReadCount", counters.readsActive],
    ["ActiveRpcWriteCount", counters.writesActive],
  ];
  const metric = (metricType: MetricType) => (entry: readonly [string, number]) => ({
    instance: "Worker",
    source,
    name: entry[0],
    value: entry[1],
    metricType,
  });
  return [...counts.map(metric(MetricType.COUNTER)), ...gauges.map(metric(MetricType.GAUGE))];
}

/** Counts begin anew; what goes on at this moment goes on. The masters add what comes to what was. */
export function clearCounters(counters: WorkerCounters): void {
  for (const name of Object.keys(counters) as (keyof WorkerCounters)[]) // keys of a plain record
    if (!name.endsWith("Active")) counters[name] = 0;
}
