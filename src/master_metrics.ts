/**
 * Metrics of a master, under Alluxio's names where it has one for the same thing.
 * @module
 */
import { rootUnderStore } from "./conf/cluster.ts";
import type { DaemonContext } from "./daemon.ts";
import type { WorkerInfo } from "./master/api.ts";
import type { MetricReading } from "./master/services_ports.ts";
import type { SummedCounter } from "./master/worker_metrics.ts";
import type { MasterParts } from "./master_daemon.ts";
import type { MasterWatch } from "./master_watch.ts";
import type { Reading } from "./telemetry/metrics.ts";
import type { TimerReading } from "./telemetry/timer.ts";
import type { UnderStores } from "./under_stores.ts";

/** Alluxio's pairs of counters: calls of these methods, and those of them that ended well. */
const OPERATIONS: readonly (readonly [
  ops: string | null,
  succeeded: string | null,
  methods: readonly string[],
])[] = [
  ["CompleteFileOps", "FilesCompleted", ["CompleteFile"]],
  ["CreateDirectoryOps", "DirectoriesCreated", ["CreateDirectory"]],
  ["CreateFileOps", "FilesCreated", ["CreateFile"]],
  ["DeletePathOps", "PathsDeleted", ["Remove"]],
  ["FreeFileOps", "FilesFreed", ["Free"]],
  ["GetFileInfoOps", "FileInfosGot", ["GetStatus", "ListStatus", "ListStatusPartial"]],
  ["GetNewBlockOps", "NewBlocksGot", ["GetNewBlockIdForFile"]],
  ["MountOps", "PathsMounted", ["Mount"]],
  ["UnmountOps", "PathsUnmounted", ["Unmount"]],
  ["RenamePathOps", "PathsRenamed", ["Rename"]],
  ["SetAclOps", null, ["SetAcl"]],
  ["SetAttributeOps", null, ["SetAttribute"]],
];

/** What workers count, under Alluxio's names for the whole cluster; the second is its throughput. */
const TRAFFIC: readonly (readonly [SummedCounter, string | null, string])[] = [
  ["BytesReadCache", null, "Bytes that workers read from their caches for others"],
  ["BytesReadRemote", "BytesReadRemoteThroughput", "Bytes that workers sent over the network"],
  ["BytesReadUfsAll", "BytesReadUfsThroughput", "Bytes that workers read from under stores"],
  ["BytesWrittenLocal", "BytesWrittenLocalThroughput", "Bytes written beside a worker, by itself"],
  [
    "BytesWrittenRemote",
    "BytesWrittenRemoteThroughput",
    "Bytes that workers took over the network",
  ],
  ["BytesWrittenUfsAll", "BytesWrittenUfsThroughput", "Bytes that workers wrote to under stores"],
];

type Value = readonly [name: string, help: string, read: () => number];
type Parts = {
  readonly context: DaemonContext;
  readonly parts: MasterParts;
  readonly watch: MasterWatch;
  readonly rootSpace: RootSpace;
  readonly startedMs: number;
};

const SPACE_INTERVAL_MS = 60_000;

/** Room in the root's under store, asked for behind the scenes: a store that hangs holds up no scrape. */
export class RootSpace {
  readonly #context: DaemonContext;
  readonly #stores: UnderStores;
  #space: { readonly capacityBytes: number; readonly usedBytes: number } | null = null;
  #askedMs = Number.NEGATIVE_INFINITY;
  #isAsking = false;

  constructor(context: DaemonContext, stores: UnderStores) {
    this.#context = context;
    this.#stores = stores;
    this.read();
  }

  /** As it was when last heard; null when the store does not say. */
  read(): { readonly capacityBytes: number; readonly usedBytes: number } | null {
    const nowMs = this.#context.world.clock.monotonicMs();
    if (!this.#isAsking && nowMs - this.#askedMs > SPACE_INTERVAL_MS) {
      this.#isAsking = true;
      this.#askedMs = nowMs;
      const ask = async () => this.#stores.at(rootUnderStore(this.#context.configuration)).space();
      ask().then(
        (space) => {
          this.#space = space;
          this.#isAsking = false;
        },
        () => {
          this.#space = null; // it does not answer: asked again later
          this.#isAsking = false;
        },
      );
    }
    return this.#space;
  }
}

function clusterGauges({ parts, watch, rootSpace }: Parts): readonly Value[] {
  const { blocks, journal } = parts;
  const live = () => blocks.workers().filter(({ isLive }) => isLive);
  const total = (read: (worker: WorkerInfo) => number) =>
    live().reduce((sum, worker) => sum + read(worker), 0);
  const capacity = ({ tiers }: WorkerInfo) =>
    tiers.reduce((sum, tier) => sum + tier.capacityBytes, 0);
  const used = ({ tiers }: WorkerInfo) => tiers.reduce((sum, tier) => sum + tier.usedBytes, 0);
  const sums = watch.workerMetrics;
  const hitRate = () => {
    const cache = sums.total("BytesReadCache");
    const all = cache + sums.total("BytesReadUfsAll");
    return all === 0 ? 0 : cache / all;
  };
  const space = (read: (space: { capacityBytes: number; usedBytes: number }) => number) => () => {
    const known = rootSpace.read();
    return known === null ? -1 : read(known);
  };
  return [
    ["Cluster.CapacityTotal", "Bytes that live workers may cache", () => total(capacity)],
    ["Cluster.CapacityUsed", "Bytes that live workers cache", () => total(used)],
    ["Cluster.CapacityFree", "Bytes of room on live workers", () => total(capacity) - total(used)],
    ["Cluster.Workers", "Live workers", () => live().length],
    [
      "Cluster.LostWorkers",
      "Workers that were lost",
      () => blocks.workers().length - live().length,
    ],
    ["Cluster.CacheHitRate", "Share of the bytes read that was cached", hitRate],
    ["Cluster.ActiveRpcReadCount", "Reads open on workers", () => sums.total("ActiveRpcReadCount")],
    [
      "Cluster.ActiveRpcWriteCount",
      "Writes open on workers",
      () => sums.total("ActiveRpcWriteCount"),
    ],
    [
      "Cluster.LeaderIndex",
      "Place of the leader among the members, from 0; -1 for none",
      () => journal.status().members.findIndex(({ isLeader }) => isLeader),
    ],
    [
      "Cluster.RootUfsCapacityTotal",
      "Bytes of the root's under store; -1 when it does not say",
      space(({ capacityBytes }) => capacityBytes),
    ],
    [
      "Cluster.RootUfsCapacityUsed",
      "Bytes used in the root's under store; -1 when it does not say",
      space(({ usedBytes }) => usedBytes),
    ],
    [
      "Cluster.RootUfsCapacityFree",
      "Bytes free in the root's under store; -1 when it does not say",
      space(({ capacityBytes, usedBytes }) => capacityBytes - usedBytes),
    ],
    [
      "Master.BlockReplicaCount",
      "Copies of blocks on live workers",
      () => total((worker) => worker.blockCount),
    ],
    ...TRAFFIC.flatMap(([name, throughput, help]): Value[] =>
      throughput === null
        ? []
        : [[`Cluster.${throughput}`, `${help}, in the last minute`, () => sums.perMinute(name)]],
    ),
  ];
}

function journalGauges({ parts }: Parts): readonly Value[] {
  const { journal, admin, condition, journalTimes: times } = parts;
  const status = () => journal.status();
  return [
    ["Master.RoleId", "1 while this master leads and serves", () => Number(journal.isServing())],
    [
      "Master.LastGainPrimacyTime",
      "When this master last began to serve, in ms since 1970; 0 for never",
      () => status().lastGainedMs ?? 0,
    ],
    [
      "Master.LastLosePrimacyTime",
      "When it last stopped leading, in ms since 1970; 0 for never",
      () => status().lastLostMs ?? 0,
    ],
    ["Master.JournalSequenceNumber", "Last entry of the journal", () => status().lastIndex],
    ["Master.JournalLastAppliedCommitIndex", "Last entry applied", () => status().appliedIndex],
    ["Master.EmbeddedJournalCommitIndex", "Last entry committed", () => status().commitIndex],
    ["Master.EmbeddedJournalLastAppliedIndex", "Last entry applied", () => status().appliedIndex],
    ["Master.EmbeddedJournalTerm", "Number of the election", () => status().term],
    [
      "Master.EmbeddedJournalSnapshotLastIndex",
      "Last entry in the newest checkpoint",
      () => admin.checkpointSeen?.index ?? 0,
    ],
    [
      "Master.EmbeddedJournalLastSnapshotDurationMs",
      "What the last checkpoint since the start took",
      () => times.lastCheckpoint?.tookMs ?? 0,
    ],
    [
      "Master.EmbeddedJournalLastSnapshotReplayDurationMs",
      "What putting the last checkpoint in place took since the start",
      () => times.lastInstallMs,
    ],
    [
      "Master.EmbeddedJournalLastSnapshotDownloadDurationMs",
      "What fetching the last checkpoint from a peer took since the start",
      () => times.lastFetch?.tookMs ?? 0,
    ],
    [
      "Master.EmbeddedJournalLastSnapshotDownloadSize",
      "Its bytes",
      () => times.lastFetch?.sizeBytes ?? 0,
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
  ];
}

function namespaceGauges({ parts, watch, startedMs }: Parts): readonly Value[] {
  const { census, audit } = watch;
  const counted = "as of the last census";
  return [
    ["Master.TotalPaths", `Files and directories, ${counted}`, () => census.result.pathCount],
    ["Master.UniqueBlocks", `Blocks of complete files, ${counted}`, () => census.result.blockCount],
    [
      "Master.LostBlockCount",
      `Blocks that neither a worker nor an under store has, ${counted}`,
      () => census.result.lostBlockCount,
    ],
    [
      "Master.LostFileCount",
      `Files with such blocks, ${counted}`,
      () => census.result.lostFileCount,
    ],
    ["Master.FilesPinned", `Pinned paths, ${counted}`, () => census.result.pinnedCount],
    ["Master.FileSize", `Bytes of all complete files, ${counted}`, () => census.result.fileBytes],
    [
      "Rockpool.CensusTime",
      "When the last census ended, in ms since 1970; 0 for none yet",
      () => census.result.atMs ?? 0,
    ],
    [
      "Master.AsyncPersistsRunning",
      "Files on their way to the under store",
      () => parts.persists.runningCount,
    ],
    ["Master.StartTime", "When this master started, in ms since 1970", () => startedMs],
    [
      "Master.AuditLogEntriesSize",
      "Lines of the audit log that wait",
      () => audit?.waitingCount ?? 0,
    ],
  ];
}

function counters({ context, parts, watch }: Parts): readonly Value[] {
  const { metrics } = context.telemetry;
  const sum = (methods: readonly string[], read: (method: string) => number) => () =>
    methods.reduce((total, method) => total + read(method), 0);
  const operations = OPERATIONS.flatMap(([ops, succeeded, methods]): Value[] => [
    ...(ops === null
      ? []
      : [
          [
            `Master.${ops}`,
            `Calls of ${methods.join(", ")}`,
            sum(methods, (method) => metrics.callTotal(method)),
          ] as const,
        ]),
    ...(succeeded === null
      ? []
      : [
          [
            `Master.${succeeded}`,
            `Calls of ${methods.join(", ")} that ended well`,
            sum(methods, (method) => metrics.callCount(method)),
          ] as const,
        ]),
  ]);
  const persisted = () => metrics.eventCount("persist", "filePersisted");
  return [
    ...operations,
    ...TRAFFIC.map(
      ([name, , help]): Value => [`Cluster.${name}`, help, () => watch.workerMetrics.total(name)],
    ),
    ["Master.FilesPersisted", "Files brought to the under store in the background", persisted],
    ["Master.AsyncPersistSuccess", "The same", persisted],
    [
      "Master.AsyncPersistFail",
      "Attempts at it that failed, to be tried again",
      () => metrics.eventCount("persist", "persistFailed"),
    ],
    [
      "Master.JournalFlushFailure",
      "Times that this master's journal could not be written",
      () => metrics.eventCount("journal", "readOnly") + metrics.eventCount("journal", "fatal"),
    ],
    [
      "Rockpool.AuditLogDropped",
      "Lines of the audit log that were lost",
      () => watch.audit?.droppedCount ?? 0,
    ],
    [
      "Rockpool.SlowOperations",
      "Operations that took longer than the threshold",
      () => watch.slowCount,
    ],
    [
      "Rockpool.LeaderChanges",
      "Times that this master began to serve",
      () => parts.journalTimes.gains.read().count,
    ],
  ];
}

function timers({
  context,
  parts,
}: Parts): readonly (readonly [string, string, () => TimerReading])[] {
  const { journal, journalTimes: times } = parts;
  return [
    ["Master.TotalRpcs", "Calls of all methods", () => context.telemetry.metrics.callTimes()],
    ["Master.JournalFlushTimer", "Syncs of the journal's file", () => journal.status().flushes],
    [
      "Master.JournalGainPrimacyTimer",
      "From the loss of a leader until this master served",
      () => times.gains.read(),
    ],
    [
      "Master.EmbeddedJournalSnapshotGenerateTimer",
      "Checkpoints made",
      () => times.checkpoints.read(),
    ],
    [
      "Master.EmbeddedJournalSnapshotInstallTimer",
      "Checkpoints put in place",
      () => times.installs.read(),
    ],
    [
      "Master.EmbeddedJournalSnapshotDownloadGenerate",
      "Checkpoints fetched from a peer",
      () => times.fetches.read(),
    ],
  ];
}

export function masterReadings(given: Parts): readonly Reading[] {
  const gauges = [...clusterGauges(given), ...journalGauges(given), ...namespaceGauges(given)];
  const { journal } = given.parts;
  const leaderId = () =>
    journal
      .status()
      .members.find(({ isLeader }) => isLeader)
      ?.address.replace(":", "_") ?? "";
  return [
    ...gauges.map(([name, help, read]) => ({ name, help, kind: "gauge" as const, read })),
    ...counters(given).map(([name, help, read]) => ({
      name,
      help,
      kind: "counter" as const,
      read,
    })),
    ...timers(given).map(([name, help, read]) => ({ name, help, kind: "timer" as const, read })),
    {
      name: "Cluster.LeaderId",
      help: "The leader among the masters",
      kind: "text",
      read: leaderId,
    },
  ];
}

/** For the call by which Alluxio's shell asks; of a timer it shows how often. */
export function metricReading(reading: Reading): MetricReading {
  switch (reading.kind) {
    case "text":
      return { kind: "text", value: reading.read() };
    case "timer":
      return { kind: "counter", value: reading.read().count };
    default:
      return { kind: reading.kind, value: reading.read() };
  }
}
