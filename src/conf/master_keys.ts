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
  DATASIZE,
  DURATION,
  integer,
  keySpec,
  oneOf,
  PORT,
  POSITIVE_DURATION,
  STRING,
  unsetKeySpec,
  type ValueType,
} from "./key_spec.ts";

const JOURNAL = "alluxio.master.embedded.journal";

/** Minutes since midnight. */
const TIME_OF_DAY: ValueType<number> = {
  name: "STRING",
  expected: "a time such as 05:00 or 23:30",
  parse: (text) => {
    const match = /^([01]?\d|2[0-3]):([0-5]\d)$/.exec(text.trim());
    return match === null ? null : 60 * Number(match[1]) + Number(match[2]);
  },
};

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
    doc: "Web addresses in the order of the journal addresses, with ZooKeeper of the RPC addresses; unset: their hosts with the web port",
  }),
  journalType: keySpec("alluxio.master.journal.type", oneOf(["EMBEDDED", "UFS"]), "EMBEDDED", {
    scope: "ALL",
    doc: "EMBEDDED: the masters agree by Raft; UFS: a shared store with ZooKeeper",
  }),
  journalFolder: keySpec("alluxio.master.journal.folder", STRING, `\${alluxio.work.dir}/journal`, {
    scope: "MASTER",
    doc: "Where the journal lies",
  }),
  journalTailerSleep: keySpec("alluxio.master.journal.tailer.sleep.time", DURATION, "250ms", {
    scope: "MASTER",
    doc: "How often a standby looks for news in a journal on a shared store",
    aliases: ["alluxio.master.journal.tailer.sleep.time.ms"],
  }),
  strictReads: keySpec("rockpool.master.journal.strict.reads", BOOLEAN, "false", {
    scope: "MASTER",
    doc: "With a journal on a shared store: every read asks the store whether another master leads, so that no clock is trusted",
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
  checkpointPeriodEntries: keySpec(
    "alluxio.master.journal.checkpoint.period.entries",
    integer({ min: 1000, max: 2 ** 31 - 1 }),
    "200000",
    {
      scope: "MASTER",
      doc: "Entries after which a master writes a checkpoint of its state and trims the journal",
    },
  ),
  initFromBackup: unsetKeySpec("alluxio.master.journal.init.from.backup", STRING, {
    scope: "MASTER",
    doc: "A backup that fills a freshly formatted cluster when it first starts",
  }),
  exitOnDemotion: keySpec("alluxio.master.journal.exit.on.demotion", BOOLEAN, "false", {
    scope: "MASTER",
    doc: "A leader that loses its office ends, in order, instead of becoming a standby",
  }),
  journalSpaceInterval: keySpec(
    "alluxio.master.journal.space.monitor.interval",
    POSITIVE_DURATION,
    "10min",
    { scope: "MASTER", doc: "Pace at which the room on the journal's disk is looked at" },
  ),
  journalSpaceThreshold: keySpec(
    "alluxio.master.journal.space.monitor.percent.free.threshold",
    integer({ min: 0, max: 100 }),
    "10",
    { scope: "MASTER", doc: "Per cent of free room on the journal's disk below which it is said" },
  ),
  backupDirectory: keySpec("alluxio.master.backup.directory", STRING, "/alluxio_backups", {
    scope: "MASTER",
    doc: "Where backups go: a directory of the root's under store",
  }),
  dailyBackupEnabled: keySpec("alluxio.master.daily.backup.enabled", BOOLEAN, "false", {
    scope: "MASTER",
    doc: "The leader makes a backup every day",
  }),
  dailyBackupTime: keySpec("alluxio.master.daily.backup.time", TIME_OF_DAY, "05:00", {
    scope: "MASTER",
    doc: "When it does so, in UTC",
  }),
  dailyBackupsRetained: keySpec(
    "alluxio.master.daily.backup.files.retained",
    integer({ min: 1, max: 10_000 }),
    "3",
    { scope: "MASTER", doc: "How many backups of that directory are kept" },
  ),
  auditLogEnabled: keySpec("alluxio.master.audit.logging.enabled", BOOLEAN, "false", {
    scope: "MASTER",
    doc: "Write a line to master_audit.log for each request of a client to the namespace",
  }),
  auditLogCapacity: keySpec(
    "alluxio.master.audit.logging.queue.capacity",
    integer({ min: 1, max: 10_000_000 }),
    "10000",
    { scope: "MASTER", doc: "Lines of the audit log that may wait; beyond it they are dropped" },
  ),
  zookeeperEnabled: keySpec("alluxio.zookeeper.enabled", BOOLEAN, "false", {
    scope: "ALL",
    doc: "Elect by ZooKeeper",
    aliases: ["alluxio.usezookeeper"],
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
  persistenceSchedulerInterval: keySpec(
    "alluxio.master.persistence.scheduler.interval",
    POSITIVE_DURATION,
    "1s",
    { scope: "MASTER", doc: "Pace at which files wait to be sent to the under store" },
  ),
  standbyHeartbeatInterval: keySpec(
    "alluxio.master.standby.heartbeat.interval",
    POSITIVE_DURATION,
    "5sec",
    { scope: "MASTER", doc: "Pace at which standbys report their configuration to the leader" },
  ),
  standbyTimeout: keySpec("alluxio.master.heartbeat.timeout", POSITIVE_DURATION, "10min", {
    scope: "MASTER",
    doc: "The report of a standby that was silent for this long is forgotten",
  }),
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
  maxInboundMessageSize: keySpec(
    "alluxio.master.network.max.inbound.message.size",
    DATASIZE,
    "100MB",
    { scope: "MASTER", doc: "Largest message that a master takes" },
  ),
  shutdownGrace: keySpec("rockpool.shutdown.grace", DURATION, "3s", {
    scope: "SERVER",
    doc: "How long calls under way may take when the process is told to stop",
  }),
} as const;
