/**
 * Metrics of a master, under Alluxio's names where it has one for the same thing.
 * @module
 */
import type { WorkerInfo } from "./master/api.ts";
import type { MasterParts } from "./master_daemon.ts";
import type { Metrics, Reading } from "./telemetry/metrics.ts";

/** Alluxio's counters of operations, and the method that each counts. */
const OPERATIONS: readonly (readonly [string, string])[] = [
  ["Master.CompleteFileOps", "CompleteFile"],
  ["Master.CreateDirectoryOps", "CreateDirectory"],
  ["Master.CreateFileOps", "CreateFile"],
  ["Master.DeletePathOps", "Remove"],
  ["Master.GetFileInfoOps", "GetStatus"],
  ["Master.GetFileBlockInfoOps", "ListStatus"],
  ["Master.GetNewBlockOps", "GetNewBlockIdForFile"],
  ["Master.RenamePathOps", "Rename"],
  ["Master.SetAttributeOps", "SetAttribute"],
];

export function masterReadings(
  { blocks, journal, persists, admin, condition }: MasterParts,
  metrics: Pick<Metrics, "callCount">,
): readonly Reading[] {
  const live = () => blocks.workers().filter(({ isLive }) => isLive);
  const total = (read: (worker: WorkerInfo) => number) =>
    live().reduce((sum, worker) => sum + read(worker), 0);
  const capacity = ({ tiers }: WorkerInfo) =>
    tiers.reduce((sum, tier) => sum + tier.capacityBytes, 0);
  const used = ({ tiers }: WorkerInfo) => tiers.reduce((sum, tier) => sum + tier.usedBytes, 0);
  const lost = () => blocks.workers().length - live().length;
  const status = () => journal.status();
  const gauges: readonly [string, string, () => number][] = [
    ["Cluster.CapacityTotal", "Bytes that live workers may cache", () => total(capacity)],
    ["Cluster.CapacityUsed", "Bytes that live workers cache", () => total(used)],
    ["Cluster.CapacityFree", "Bytes of room on live workers", () => total(capacity) - total(used)],
    ["Cluster.Workers", "Live workers", () => live().length],
    ["Cluster.LostWorkers", "Workers that were lost", lost],
    [
      "Master.BlockReplicaCount",
      "Copies of blocks on live workers",
      () => total((w) => w.blockCount),
    ],
    ["Master.RoleId", "1 while this master leads and serves", () => Number(journal.isServing())],
    ["Master.JournalSequenceNumber", "Last entry of the journal", () => status().lastIndex],
    ["Master.EmbeddedJournalCommitIndex", "Last entry committed", () => status().commitIndex],
    ["Master.EmbeddedJournalLastAppliedIndex", "Last entry applied", () => status().appliedIndex],
    ["Master.EmbeddedJournalTerm", "Number of the election", () => status().term],
    [
      "Master.EmbeddedJournalLastSnapshotLastIndex",
      "Last entry in the newest checkpoint",
      () => admin.checkpointSeen?.index ?? 0,
    ],
    [
      "Master.JournalLastCheckPointTime",
      "When the newest checkpoint was made, in ms since 1970",
      () => admin.checkpointSeen?.timeMs ?? 0,
    ],
    [
      "Master.JournalEntriesSinceCheckPoint",
      "Entries applied since the newest checkpoint",
      () => Math.max(0, status().appliedIndex - (admin.checkpointSeen?.index ?? 0)),
    ],
    ["Master.JournalFreeBytes", "Room on the journal's disk", () => admin.roomSeen.freeBytes],
    [
      "Master.JournalFreePercent",
      "The same of all of it, in per cent",
      () => (100 * admin.roomSeen.freeBytes) / Math.max(1, admin.roomSeen.totalBytes),
    ],
    [
      "Rockpool.JournalApplyLag",
      "Committed entries that are not applied yet",
      () => Math.max(0, status().commitIndex - status().appliedIndex),
    ],
    [
      "Rockpool.JournalRepairs",
      "Damaged parts of the journal that were got back from peers since the start",
      () => condition.repairCount,
    ],
    [
      "Rockpool.JournalDamaged",
      "1 while part of the journal is damaged and not got back yet",
      () => Number(condition.promisedIndex !== null),
    ],
    [
      "Master.AsyncPersistsRunning",
      "Files on their way to the under store",
      () => persists.runningCount,
    ],
  ];
  return [
    ...gauges.map(([name, help, read]) => ({ name, help, kind: "gauge" as const, read })),
    ...OPERATIONS.map(([name, method]) => ({
      name,
      help: `Calls of ${method} that ended well`,
      kind: "counter" as const,
      read: () => metrics.callCount(method),
    })),
  ];
}
