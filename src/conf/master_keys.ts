/**
 * Keys of masters: addresses, journal, election, metadata, and what masters expect of workers.
 *
 * Defaults that differ from Alluxio's, each for a reason: an election takes 200 to 400 ms of silence
 * rather than 10 to 20 s (fail-over below a second; longer values are honoured where they are set),
 * and standbys serve their web port.
 * @module
 */
import {
  ADDRESSES,
  BOOLEAN,
  COUNT,
  DATASIZE,
  DURATION,
  integer,
  keySpec,
  oneOf,
  PORT,
  POSITIVE_DURATION,
  STRING,
  unsetKeySpec,
} from "./key_spec.ts";

const JOURNAL = "alluxio.master.embedded.journal";

export const MasterKeys = {
  hostname: unsetKeySpec("alluxio.master.hostname", STRING, {
    scope: "ALL",
    doc: "The name under which others reach this master; one of the journal addresses",
    aliases: ["alluxio.master.address"],
  }),
  bindHost: keySpec("alluxio.master.bind.host", STRING, "0.0.0.0", {
    scope: "MASTER",
    doc: "The address that the RPC port listens on",
  }),
  rpcPort: keySpec("alluxio.master.rpc.port", PORT, "19998", {
    scope: "ALL",
    doc: "The RPC port",
    aliases: ["alluxio.master.port"],
  }),
  rpcAddresses: unsetKeySpec("alluxio.master.rpc.addresses", ADDRESSES, {
    scope: "ALL",
    doc: "Where clients and workers find the masters; unset: the journal's hosts with the RPC port",
  }),
  webPort: keySpec("alluxio.master.web.port", PORT, "19999", {
    scope: "ALL",
    doc: "The port of status page, health, leader and metrics",
  }),
  webBindHost: keySpec("alluxio.master.web.bind.host", STRING, "0.0.0.0", {
    scope: "MASTER",
    doc: "The address that the web port listens on",
  }),
  webAddresses: unsetKeySpec("rockpool.master.web.addresses", ADDRESSES, {
    scope: "ALL",
    doc: "Web addresses in the order of the journal addresses; unset: their hosts with the web port",
  }),
  journalType: keySpec("alluxio.master.journal.type", oneOf(["EMBEDDED", "UFS"]), "EMBEDDED", {
    scope: "ALL",
    doc: "EMBEDDED: the masters agree by Raft; UFS: a shared store with ZooKeeper",
  }),
  journalFolder: keySpec("alluxio.master.journal.folder", STRING, `\${alluxio.work.dir}/journal`, {
    scope: "MASTER",
    doc: "Where the journal lies",
  }),
  journalAddresses: unsetKeySpec(`${JOURNAL}.addresses`, ADDRESSES, {
    scope: "ALL",
    doc: "The journal port of each master; unset: this master alone",
  }),
  journalPort: keySpec(`${JOURNAL}.port`, PORT, "19200", {
    scope: "ALL",
    doc: "The port on which masters talk to each other",
  }),
  journalBindHost: keySpec("rockpool.master.journal.bind.host", STRING, "0.0.0.0", {
    scope: "MASTER",
    doc: "The address that the journal port listens on",
  }),
  electionTimeoutMin: keySpec(`${JOURNAL}.election.timeout.min`, POSITIVE_DURATION, "200ms", {
    scope: "MASTER",
    doc: "A standby that hears nothing of the leader for this long may stand for election",
    aliases: [`${JOURNAL}.election.timeout`],
  }),
  electionTimeoutMax: keySpec(`${JOURNAL}.election.timeout.max`, POSITIVE_DURATION, "400ms", {
    scope: "MASTER",
    doc: "It does so at the latest after this long; unset: twice the shortest",
  }),
  heartbeatInterval: unsetKeySpec(`${JOURNAL}.heartbeat.interval`, POSITIVE_DURATION, {
    scope: "MASTER",
    doc: "Pace of the leader's word to its standbys; unset: a quarter of the shortest election time",
  }),
  journalWriteTimeout: keySpec(`${JOURNAL}.write.timeout`, POSITIVE_DURATION, "30sec", {
    scope: "MASTER",
    doc: "How long a change may wait for a majority",
  }),
  journalUnsafeFlush: keySpec(`${JOURNAL}.unsafe.flush.enabled`, BOOLEAN, "false", {
    scope: "MASTER",
    doc: "Do not wait for the disk: fast, and loses acknowledged changes in a power failure",
  }),
  checkpointPeriodEntries: keySpec(
    "alluxio.master.journal.checkpoint.period.entries",
    integer({ min: 1, max: 2 ** 31 - 1 }),
    "2000000",
    { scope: "MASTER", doc: "Entries between two checkpoints" },
  ),
  journalLogSizeMax: keySpec("alluxio.master.journal.log.size.bytes.max", DATASIZE, "10MB", {
    scope: "MASTER",
    doc: "Size at which a segment of the journal is finished",
  }),
  initFromBackup: unsetKeySpec("alluxio.master.journal.init.from.backup", STRING, {
    scope: "MASTER",
    doc: "A backup to start from when the journal is empty",
  }),
  formatFilePrefix: keySpec("alluxio.master.format.file.prefix", STRING, "_format_", {
    scope: "MASTER",
    doc: "Name of the file that marks a formatted journal",
    aliases: ["alluxio.master.format.file_prefix"],
  }),
  zookeeperEnabled: keySpec("alluxio.zookeeper.enabled", BOOLEAN, "false", {
    scope: "ALL",
    doc: "Elect by ZooKeeper",
    aliases: ["alluxio.usezookeeper"],
  }),
  zookeeperAddress: unsetKeySpec("alluxio.zookeeper.address", ADDRESSES, {
    scope: "ALL",
    doc: "The servers of ZooKeeper",
  }),
  rootUfs: keySpec(
    "alluxio.master.mount.table.root.ufs",
    STRING,
    `\${alluxio.work.dir}/underFSStorage`,
    {
      scope: "MASTER",
      doc: "The under store of the root directory",
      aliases: ["alluxio.underfs.address", "alluxio.dora.client.ufs.root"],
    },
  ),
  rootReadonly: keySpec("alluxio.master.mount.table.root.readonly", BOOLEAN, "false", {
    scope: "MASTER",
    doc: "The root's under store is never written",
  }),
  rootShared: keySpec("alluxio.master.mount.table.root.shared", BOOLEAN, "true", {
    scope: "MASTER",
    doc: "All users may use the root's under store",
  }),
  metastoreDir: keySpec("alluxio.master.metastore.dir", STRING, `\${alluxio.work.dir}/metastore`, {
    scope: "MASTER",
    doc: "Where the metadata lies: rebuilt from the journal when it is lost",
    aliases: ["alluxio.master.metastore.dir.inode"],
  }),
  metastoreMapSizeMax: keySpec("rockpool.master.metastore.size.max", DATASIZE, "64GB", {
    scope: "MASTER",
    doc: "Most bytes of address space that the metadata may take",
  }),
  ttlCheckerInterval: keySpec("alluxio.master.ttl.checker.interval", POSITIVE_DURATION, "1hour", {
    scope: "MASTER",
    doc: "Pace of the search for files whose time is over",
    aliases: ["alluxio.master.ttl.checker.interval.ms"],
  }),
  replicationCheckInterval: keySpec(
    "alluxio.master.replication.check.interval",
    POSITIVE_DURATION,
    "1min",
    { scope: "MASTER", doc: "Pace of the search for blocks with too few or too many copies" },
  ),
  persistenceSchedulerInterval: keySpec(
    "alluxio.master.persistence.scheduler.interval",
    POSITIVE_DURATION,
    "1s",
    { scope: "MASTER", doc: "Pace at which files wait to be sent to the under store" },
  ),
  persistenceInitialInterval: keySpec(
    "alluxio.master.persistence.initial.interval",
    POSITIVE_DURATION,
    "1s",
    { scope: "MASTER", doc: "First pause after a failed try to persist" },
  ),
  persistenceMaxInterval: keySpec(
    "alluxio.master.persistence.max.interval",
    POSITIVE_DURATION,
    "1hr",
    { scope: "MASTER", doc: "Longest pause between tries to persist" },
  ),
  persistenceMaxTotalWait: keySpec(
    "alluxio.master.persistence.max.total.wait.time",
    DURATION,
    "1day",
    { scope: "MASTER", doc: "After this long a file is given up; -1 never" },
  ),
  workerTimeout: keySpec("alluxio.master.worker.timeout", POSITIVE_DURATION, "5min", {
    scope: "MASTER",
    doc: "A worker that is silent for this long is lost",
    aliases: ["alluxio.master.worker.timeout.ms"],
  }),
  lostWorkerDetectionInterval: keySpec(
    "alluxio.master.lost.worker.detection.interval",
    POSITIVE_DURATION,
    "10sec",
    {
      scope: "SERVER",
      doc: "Pace of the search for lost workers",
      aliases: ["alluxio.master.worker.heartbeat.interval"],
    },
  ),
  lostWorkerDeletionTimeout: keySpec(
    "alluxio.master.lost.worker.deletion.timeout",
    DURATION,
    "30min",
    {
      scope: "MASTER",
      doc: "A lost worker is forgotten after this long",
      aliases: ["alluxio.master.lost.worker.deletion.timeout.ms"],
    },
  ),
  lostWorkerFileDetectionInterval: keySpec(
    "alluxio.master.lost.worker.file.detection.interval",
    POSITIVE_DURATION,
    "5min",
    { scope: "SERVER", doc: "Pace of the search for files that were lost with a worker" },
  ),
  blockIntegrityCheckInterval: keySpec(
    "alluxio.master.periodic.block.integrity.check.interval",
    DURATION,
    "1hr",
    { scope: "MASTER", doc: "Pace of the search for blocks that no file has; -1 never" },
  ),
  maxInboundMessageSize: keySpec(
    "alluxio.master.network.max.inbound.message.size",
    DATASIZE,
    "100MB",
    { scope: "MASTER", doc: "Largest message that a master takes" },
  ),
  listMessageLength: keySpec(
    "alluxio.master.filesystem.liststatus.result.message.length",
    COUNT,
    "10000",
    { scope: "MASTER", doc: "Most entries of one message of a listing" },
  ),
  shutdownGrace: keySpec("rockpool.shutdown.grace", DURATION, "3s", {
    scope: "SERVER",
    doc: "How long calls under way may take when the process is told to stop",
  }),
  auditEnabled: keySpec("alluxio.master.audit.logging.enabled", BOOLEAN, "false", {
    scope: "MASTER",
    doc: "Write a line for each change and who asked for it",
  }),
} as const;
