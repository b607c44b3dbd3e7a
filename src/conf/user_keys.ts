/**
 * Keys of clients: the command line, and defaults that the masters hand to every client.
 * @module
 */
import {
  BOOLEAN,
  classOf,
  DATASIZE,
  DURATION,
  INTEGER,
  keySpec,
  oneOf,
  POSITIVE_DURATION,
  STRING,
} from "./key_spec.ts";

const POLICIES = [
  "LocalFirstPolicy",
  "LocalFirstAvoidEvictionPolicy",
  "MostAvailableFirstPolicy",
  "RoundRobinPolicy",
  "SpecificHostPolicy",
  "DeterministicHashPolicy",
  "CapacityBaseRandomPolicy",
  "CapacityBasedDeterministicHashPolicy",
];

export const UserKeys = {
  writeType: keySpec(
    "alluxio.user.file.writetype.default",
    oneOf(["MUST_CACHE", "TRY_CACHE", "CACHE_THROUGH", "THROUGH", "ASYNC_THROUGH", "NONE"]),
    "ASYNC_THROUGH",
    { scope: "CLIENT", doc: "Where new bytes go: workers, the under store, or both" },
  ),
  readType: keySpec(
    "alluxio.user.file.readtype.default",
    oneOf(["NO_CACHE", "CACHE", "CACHE_PROMOTE"]),
    "CACHE",
    { scope: "CLIENT", doc: "Whether bytes that are read stay on a worker" },
  ),
  blockSize: keySpec("alluxio.user.block.size.bytes.default", DATASIZE, "64MB", {
    scope: "CLIENT",
    doc: "Block size of new files",
  }),
  metadataSyncInterval: keySpec("alluxio.user.file.metadata.sync.interval", DURATION, "-1", {
    scope: "CLIENT",
    doc: "Ask the under store again after this long; -1 never, 0 always",
  }),
  metadataLoadType: keySpec(
    "alluxio.user.file.metadata.load.type",
    oneOf(["ONCE", "ALWAYS", "NEVER"]),
    "ONCE",
    { scope: "CLIENT", doc: "When the under store is asked for paths that are not known" },
  ),
  createTtl: keySpec("alluxio.user.file.create.ttl", DURATION, "-1", {
    scope: "CLIENT",
    doc: "Time to live of new files; -1 for ever",
  }),
  createTtlAction: keySpec(
    "alluxio.user.file.create.ttl.action",
    oneOf(["FREE", "DELETE", "DELETE_ALLUXIO"]),
    "FREE",
    { scope: "CLIENT", doc: "What happens to a file whose time is over" },
  ),
  replicationMin: keySpec("alluxio.user.file.replication.min", INTEGER, "0", {
    scope: "CLIENT",
    doc: "Fewest copies of a block",
  }),
  replicationMax: keySpec("alluxio.user.file.replication.max", INTEGER, "-1", {
    scope: "CLIENT",
    doc: "Most copies of a block; -1 for any number",
  }),
  replicationDurable: keySpec("alluxio.user.file.replication.durable", INTEGER, "1", {
    scope: "CLIENT",
    doc: "Copies of a block until its file is in the under store",
  }),
  passiveCacheEnabled: keySpec("alluxio.user.file.passive.cache.enabled", BOOLEAN, "true", {
    scope: "CLIENT",
    doc: "Copy blocks read from afar to the worker nearby",
  }),
  includeOperationId: keySpec("alluxio.user.file.include.operation.id", BOOLEAN, "true", {
    scope: "CLIENT",
    doc: "Mark calls so that a retry is never done twice",
  }),
  writeTier: keySpec("alluxio.user.file.write.tier.default", INTEGER, "0", {
    scope: "CLIENT",
    doc: "First tier for new blocks; negative counts from the last",
  }),
  writeInitMaxDuration: keySpec("alluxio.user.file.write.init.max.duration", DURATION, "2min", {
    scope: "CLIENT",
    doc: "How long a write waits for a worker",
  }),
  writePolicy: keySpec(
    "alluxio.user.block.write.location.policy.class",
    classOf(POLICIES),
    "LocalFirstPolicy",
    { scope: "CLIENT", doc: "Which worker takes a new block" },
  ),
  ufsReadPolicy: keySpec(
    "alluxio.user.ufs.block.read.location.policy",
    classOf(POLICIES),
    "LocalFirstPolicy",
    { scope: "CLIENT", doc: "Which worker reads a block from the under store" },
  ),
  blockReadRetryMaxDuration: keySpec(
    "alluxio.user.block.read.retry.max.duration",
    DURATION,
    "5min",
    {
      scope: "CLIENT",
      doc: "How long a read survives without its worker",
    },
  ),
  rpcRetryMaxDuration: keySpec("alluxio.user.rpc.retry.max.duration", DURATION, "2min", {
    scope: "ALL",
    doc: "How long a call is tried again while no master serves",
  }),
  rpcRetryBaseSleep: keySpec("alluxio.user.rpc.retry.base.sleep", POSITIVE_DURATION, "50ms", {
    scope: "CLIENT",
    doc: "First pause between two tries",
    aliases: ["alluxio.user.rpc.retry.base.sleep.ms"],
  }),
  rpcRetryMaxSleep: keySpec("alluxio.user.rpc.retry.max.sleep", POSITIVE_DURATION, "3sec", {
    scope: "CLIENT",
    doc: "Longest pause between two tries",
    aliases: ["alluxio.user.rpc.retry.max.sleep.ms"],
  }),
  masterPollingTimeout: keySpec("alluxio.user.master.polling.timeout", POSITIVE_DURATION, "30sec", {
    scope: "CLIENT",
    doc: "How long one master may take to say whether it leads",
  }),
  masterPollingConcurrent: keySpec("alluxio.user.master.polling.concurrent", BOOLEAN, "true", {
    scope: "CLIENT",
    doc: "Ask all masters at once which of them leads",
  }),
  streamReadTimeout: keySpec("alluxio.user.streaming.data.read.timeout", POSITIVE_DURATION, "3m", {
    scope: "CLIENT",
    doc: "A block stream without bytes for this long is dead",
    aliases: [
      "alluxio.user.network.data.timeout.ms",
      "alluxio.user.network.data.timeout",
      "alluxio.user.streaming.data.timeout",
    ],
  }),
  streamWriteTimeout: keySpec(
    "alluxio.user.streaming.data.write.timeout",
    POSITIVE_DURATION,
    "3m",
    {
      scope: "CLIENT",
      doc: "A block stream that takes no bytes for this long is dead",
    },
  ),
  readChunkSize: keySpec("alluxio.user.streaming.reader.chunk.size.bytes", DATASIZE, "1MB", {
    scope: "CLIENT",
    doc: "Bytes of one message when reading",
    aliases: ["alluxio.user.network.reader.chunk.size.bytes"],
  }),
  writeChunkSize: keySpec("alluxio.user.streaming.writer.chunk.size.bytes", DATASIZE, "1MB", {
    scope: "CLIENT",
    doc: "Bytes of one message when writing",
    aliases: ["alluxio.user.network.writer.chunk.size.bytes"],
  }),
  workerListRefresh: keySpec(
    "alluxio.user.worker.list.refresh.interval",
    POSITIVE_DURATION,
    "2min",
    {
      scope: "CLIENT",
      doc: "Age at which the list of workers is asked for again",
    },
  ),
  clusterDefaultEnabled: keySpec("alluxio.user.conf.cluster.default.enabled", BOOLEAN, "true", {
    scope: "CLIENT",
    doc: "Take the masters' defaults for what is not set here",
  }),
  confSyncInterval: keySpec("alluxio.user.conf.sync.interval", DURATION, "1min", {
    scope: "CLIENT",
    doc: "How often clients look for changed defaults",
  }),
  shortCircuitEnabled: keySpec("alluxio.user.short.circuit.enabled", BOOLEAN, "true", {
    scope: "CLIENT",
    doc: "Open the block files of a worker on the same host directly",
  }),
  dateFormat: keySpec("alluxio.user.date.format.pattern", STRING, "MM-dd-yyyy HH:mm:ss:SSS", {
    scope: "CLIENT",
    doc: "How commands print times",
  }),
} as const;
