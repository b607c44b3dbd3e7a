/**
 * Metrics of a master, under Alluxio's names where it has one for the same thing.
 * @module
 */

import type { WorkerInfo } from "./master/api.ts";
import type { MasterParts } from "./master_daemon.ts";

export type MasterGauge = {
  readonly name: string;
  readonly help: string;
  readonly read: () => number;
};

export function masterGauges({ blocks, journal, persists }: MasterParts): readonly MasterGauge[] {
  const live = () => blocks.workers().filter(({ isLive }) => isLive);
  const total = (read: (worker: WorkerInfo) => number) =>
    live().reduce((sum, worker) => sum + read(worker), 0);
  const capacity = ({ tiers }: WorkerInfo) =>
    tiers.reduce((sum, tier) => sum + tier.capacityBytes, 0);
  const used = ({ tiers }: WorkerInfo) => tiers.reduce((sum, tier) => sum + tier.usedBytes, 0);
  const gauges: readonly [string, string, () => number][] = [
    ["Cluster.CapacityTotal", "Bytes that live workers may cache", () => total(capacity)],
    ["Cluster.CapacityUsed", "Bytes that live workers cache", () => total(used)],
    ["Cluster.CapacityFree", "Bytes of room on live workers", () => total(capacity) - total(used)],
    ["Cluster.Workers", "Live workers", () => live().length],
    [
      "Cluster.LostWorkers",
      "Workers that were lost",
      () => blocks.workers().length - live().length,
    ],
    [
      "Master.BlockReplicaCount",
      "Copies of blocks on live workers",
      () => total((w) => w.blockCount),
    ],
    ["Master.RoleId", "1 while this master leads and serves", () => Number(journal.isServing())],
    ["Master.JournalSequenceNumber", "Last entry of the journal", () => journal.status().lastIndex],
    [
      "Master.EmbeddedJournalLastAppliedIndex",
      "Last entry applied",
      () => journal.status().appliedIndex,
    ],
    [
      "Master.EmbeddedJournalCommitIndex",
      "Last entry committed",
      () => journal.status().commitIndex,
    ],
    ["Master.EmbeddedJournalTerm", "Number of the election", () => journal.status().term],
    [
      "Master.AsyncPersistsRunning",
      "Files on their way to the under store",
      () => persists.runningCount,
    ],
  ];
  return gauges.map(([name, help, read]) => ({ name, help, read }));
}
