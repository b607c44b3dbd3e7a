/**
 * Metrics of a worker, under Alluxio's names where it has one for the same thing.
 * @module
 */
import type { Reading } from "./telemetry/metrics.ts";
import type { WorkerProcess, WorkerStatus } from "./worker/worker_process.ts";

export const capacityOf = (status: WorkerStatus) =>
  status.tiers.reduce((sum, tier) => sum + tier.capacityBytes, 0);
export const usedOf = (status: WorkerStatus) =>
  status.tiers.reduce((sum, tier) => sum + tier.usedBytes, 0);

type Counters = WorkerStatus["counters"];

const GAUGES: readonly (readonly [string, string, (status: WorkerStatus) => number])[] = [
  ["Worker.CapacityTotal", "Bytes that may be cached", capacityOf],
  ["Worker.CapacityUsed", "Bytes that are cached", usedOf],
  ["Worker.CapacityFree", "Bytes of room", (s) => capacityOf(s) - usedOf(s)],
  ["Worker.BlocksCached", "Blocks that are cached", (s) => s.blockCount],
  ["Worker.ActiveRpcReadCount", "Open reads", (s) => s.counters.readsActive],
  ["Worker.ActiveRpcWriteCount", "Open writes", (s) => s.counters.writesActive],
  [
    "Worker.ActiveOperations",
    "Open reads and writes",
    (s) => s.counters.readsActive + s.counters.writesActive,
  ],
  ["Worker.FreeSlots", "Chunks of kernel memory that are free", (s) => s.freeSlots],
];

const COUNTERS: readonly (readonly [string, string, (count: Counters) => number])[] = [
  ["Worker.BytesReadCache", "Bytes read from the cache for others", (c) => c.bytesReadLocal],
  ["Worker.BytesReadRemote", "Bytes sent over the network", (c) => c.bytesSent],
  ["Worker.BytesReadPerUfs", "Bytes read from under stores", (c) => c.bytesReadUfs],
  ["Worker.BytesWrittenRemote", "Bytes taken over the network", (c) => c.bytesWritten],
  [
    "Worker.BytesWrittenDirect",
    "Bytes of blocks that clients of this machine wrote by themselves",
    (c) => c.bytesWrittenLocal,
  ],
  [
    "Worker.BytesWrittenPerUfs",
    "Bytes written to under stores",
    (c) => c.bytesWrittenUfs + c.bytesPersisted,
  ],
  ["Worker.CacheBlocksSize", "Bytes fetched to be cached", (c) => c.bytesCached],
  ["Worker.CacheSucceededBlocks", "Blocks fetched to be cached", (c) => c.blocksCached],
  ["Worker.BlocksEvicted", "Blocks evicted", (c) => c.blocksEvicted],
  ["Worker.BlocksQuarantined", "Damaged blocks set aside", (c) => c.blocksQuarantined],
  [
    "Worker.BytesPersisted",
    "Bytes brought to under stores in the background",
    (c) => c.bytesPersisted,
  ],
];

export function workerReadings(
  worker: WorkerProcess,
  registrations: () => number,
): readonly Reading[] {
  const status = () => worker.status();
  return [
    ...GAUGES.map(([name, help, read]) => ({
      name,
      help,
      kind: "gauge" as const,
      read: () => read(status()),
    })),
    ...COUNTERS.map(([name, help, read]) => ({
      name,
      help,
      kind: "counter" as const,
      read: () => read(status().counters),
    })),
    {
      name: "Worker.MasterRegistrationSuccessCount",
      help: "Registrations with masters",
      kind: "counter",
      read: registrations,
    },
  ];
}
