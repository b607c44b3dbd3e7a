/**
 * Why a property of Alluxio's that nothing here reads is of no use here.
 *
 * Pure. The first rule that names a property, or a pattern that fits it, counts.
 * @module
 */

type Rule = {
  readonly why: string;
  /** Names parted by blanks; `*` stands for anything. */
  readonly names: string;
};

const J = "alluxio.master.embedded.journal";
const RULES: readonly Rule[] = [
  // The installation and what every process does
  {
    why: "commands print what went wrong and keep no logs",
    names: "alluxio.user.logs.dir alluxio.logger.type",
  },
  {
    why: "it is about one client, which reads it itself",
    names: "alluxio.user.hostname alluxio.user.app.id",
  },
  {
    why: "nothing is written outside the folders that have keys of their own",
    names: "alluxio.tmp.dirs",
  },
  {
    why: "a value that cannot be read always refuses the start",
    names: "alluxio.conf.validation.enabled",
  },
  {
    why: "the operating system's resolver keeps its own time limits",
    names: "alluxio.network.host.resolution.timeout*",
  },
  {
    why: "no Java runs here",
    names:
      "*jvm.monitor* alluxio.leak.detector.* *.netty* alluxio.extensions.dir *.fjp.* *.tpe.* *rpc.executor.* alluxio.test.*",
  },
  {
    why: "masters and workers never end because of what one call met",
    names: "alluxio.exit.collect.info alluxio.master.failover.collect.info",
  },
  // Masters
  {
    why: "links to a master's pages name its RPC host",
    names: "alluxio.master.web.hostname alluxio.worker.web.hostname",
  },
  {
    why: "a new leader serves with the first entry of its term: there is nothing to catch up with",
    names: `${J}.catchup.retry.wait`,
  },
  {
    why: "entries, batches and pieces of checkpoints have fixed bounds, the same on all masters",
    names: `${J}.entry.size.max ${J}.flush.size.max ${J}.transport.max.inbound.message.size ${J}.snapshot.replication.*`,
  },
  {
    why: "a silent peer is judged by the election time-outs, and a leader without a majority refuses writes by itself",
    names: `${J}.transport.request.timeout.ms ${J}.write.timeout ${J}.write.remote.enabled`,
  },
  {
    why: "retries are told by the operation ids of clients, in the replicated state",
    names: `${J}.retry.cache.expiry.time ${J}.raft.client.*`,
  },
  { why: "every entry is on disk before it is acknowledged", names: `${J}.unsafe.flush.enabled` },
  { why: "the journal is not Ratis", names: `${J}.ratis.config*` },
  {
    why: "every master serves its ports, pages and metrics in every role",
    names: "alluxio.standby.master.*",
  },
  {
    why: "segments of the journal have a fixed size, and are trimmed behind checkpoints",
    names:
      "alluxio.master.journal.log.size.bytes.max alluxio.master.journal.local.log.compaction alluxio.master.journal.gc.* alluxio.master.journal.temporary.file.gc.threshold alluxio.master.journal.checkpoint.warning.threshold.time",
  },
  {
    why: "a write to the journal waits for no batch, and a leader whose disk hangs gives up by itself",
    names:
      "alluxio.master.journal.flush.batch.time* alluxio.master.journal.flush.timeout* alluxio.master.journal.retry.interval",
  },
  {
    why: "the journal on a shared store does without",
    names:
      "alluxio.master.journal.tailer.shutdown* alluxio.master.ufs.journal.max.catchup.time alluxio.master.journal.request.* alluxio.master.journal.catchup.protect.enabled",
  },
  {
    why: "damage is never skipped, and damaged files are always kept",
    names:
      "alluxio.master.journal.tolerate.corruption alluxio.master.journal.backup.when.corrupted",
  },
  {
    why: "a formatted journal is known by its identity file",
    names: "alluxio.master.format.file.prefix alluxio.master.format.file_prefix",
  },
  {
    why: "the leader makes backups itself, without a pause of anybody",
    names:
      "alluxio.master.backup.* alluxio.master.daily.backup.state.lock.* alluxio.master.shell.backup.state.lock.*",
  },
  {
    why: "a leader whose connection to ZooKeeper breaks stays in office while its session lives",
    names: "alluxio.zookeeper.leader.connection.error.policy",
  },
  {
    why: "ZooKeeper is asked without a login: nothing here speaks SASL",
    names: "alluxio.zookeeper.auth.enabled",
  },
  {
    why: "of the journal's options those are read that this table honours of s3a.*, alluxio.underfs.s3.* and alluxio.underfs.hdfs.*",
    names: "alluxio.master.journal.ufs.option*",
  },
  {
    why: "of the root's options those are read that this table honours of s3a.*, alluxio.underfs.s3.* and alluxio.underfs.hdfs.*",
    names: "alluxio.master.mount.table.root.option*",
  },
  {
    why: "metadata is kept in LMDB, with caches of fixed size",
    names:
      "alluxio.master.metastore alluxio.master.metastore.* alluxio.secondary.master.metastore.dir alluxio.site.conf.rocks.*",
  },
  {
    why: "retried operations are always told by their ids: the last 100000 of the cluster",
    names: "alluxio.master.filesystem.operation.retry.cache.*",
  },
  {
    why: "listings go out in messages of up to 1000 items",
    names: "alluxio.master.filesystem.liststatus.result.message.length",
  },
  { why: "times of access are not kept", names: "alluxio.master.file.access.time.*" },
  {
    why: "times to live and numbers of copies are stored and shown; nothing acts on them yet",
    names: "alluxio.master.ttl.checker.interval* alluxio.master.replication.check.interval",
  },
  {
    why: "files that wait for the under store are tried again with pauses of the scheduler's own, and never given up",
    names:
      "alluxio.master.persistence.* alluxio.master.async.persist.size.validation alluxio.master.unsafe.direct.persist.object.enabled",
  },
  {
    why: "paths are loaded from the under store once, when they are first asked for; there is no sync yet",
    names:
      "alluxio.master.metadata.* alluxio.master.ufs.path.cache.* alluxio.master.ufs.active.sync.* alluxio.master.ufs.block.location.cache.capacity alluxio.master.ufs.managed.blocking.enabled",
  },
  {
    why: "blocks of no file are freed when a worker reports them",
    names:
      "alluxio.master.periodic.block.integrity.check.* alluxio.master.startup.block.integrity.check.enabled alluxio.master.block.scan.invalid.batch.max.size",
  },
  { why: "nothing phones home", names: "alluxio.master.update.check.*" },
  {
    why: "queues are bounded, and refuse by themselves what is too much",
    names:
      "alluxio.master.throttle.* alluxio.master.serving.thread.timeout alluxio.master.lock.pool.*",
  },
  {
    why: "every path may be cached",
    names: "alluxio.master.whitelist alluxio.worker.whitelist",
  },
  {
    why: "lists of workers are made when they are asked for; files of lost workers are found when they are read",
    names:
      "alluxio.master.lost.worker.file.detection.interval alluxio.master.worker.info.cache.refresh.time",
  },
  {
    why: "workers are known to every master, so that no leader waits for them after its election",
    names: "alluxio.master.worker.connect.wait.time alluxio.worker.register.to.all.masters",
  },
  {
    why: "registrations are streams that cost little: all workers may come at once",
    names: "alluxio.master.worker.register.* alluxio.worker.register.*",
  },
  {
    why: "tiers are named by the workers that have them",
    names: "alluxio.master.tieredstore.global.*",
  },
  {
    why: "the limits of connections are fixed",
    names:
      "alluxio.master.network.* alluxio.worker.network.* alluxio.network.connection.* alluxio.security.stale.channel.purge.interval",
  },
  // Workers
  {
    why: "the least recently used blocks make room when it is needed: no share of a tier is kept free ahead",
    names:
      "*.watermark.* alluxio.worker.tieredstore.free.ahead.bytes alluxio.worker.block.annotator.* alluxio.worker.evictor.class alluxio.worker.free.space.timeout alluxio.worker.reviewer.*",
  },
  {
    why: "a new block goes into the directory with most room",
    names: "alluxio.worker.allocator.class",
  },
  {
    why: "there is one tier: blocks move nowhere",
    names: "alluxio.worker.management.*",
  },
  {
    why: "blocks are kept as files",
    names: "alluxio.worker.block.store.type alluxio.worker.page.store.*",
  },
  {
    why: "what a client began ends with its stream",
    names: "alluxio.worker.session.timeout*",
  },
  {
    why: "files of the under store are opened for each read: no stream is kept for the next reader",
    names: "alluxio.worker.ufs.instream.cache.*",
  },
  {
    why: "clients on the worker's host open its files, or talk TCP",
    names: "alluxio.worker.data.server.domain.socket.*",
  },
  {
    why: "there is no FUSE yet",
    names: "alluxio.fuse.* *fuse.enabled alluxio.worker.fuse.*",
  },
  // Other services
  {
    why: "there is no Kerberos",
    names: "*.principal *.keytab.file alluxio.hadoop.kerberos.* alluxio.hadoop.security.*",
  },
  {
    why: "logins are SIMPLE or none",
    names: "alluxio.security.authentication.custom.provider.class",
  },
  {
    why: "our own clients act as their user; Alluxio's clients read it themselves",
    names: "alluxio.security.login.impersonation.username",
  },
  {
    why: "groups are kept for a minute",
    names: "alluxio.security.group.mapping.cache.timeout*",
  },
  {
    why: "TLS is not there: alluxio.network.tls.enabled=true is refused",
    names: "alluxio.network.tls.*",
  },
  {
    why: "there is no proxy (REST, S3) yet",
    names: "alluxio.proxy.* alluxio.s3.* alluxio.master.proxy.* alluxio.master.lost.proxy.*",
  },
  {
    why: "there is no job service: masters and workers do its work",
    names: "alluxio.job.* alluxio.zookeeper.job.*",
  },
  {
    why: "S3 keeps neither owners nor modes: its files are the process's user's, with alluxio.underfs.s3.default.mode",
    names:
      "alluxio.underfs.s3.inherit.acl alluxio.underfs.s3.owner.id.to.username.mapping alluxio.underfs.s3a.inherit_acl",
  },
  {
    why: "parts of uploads, their number and their time have fixed bounds; directories end in a slash",
    names:
      "alluxio.underfs.s3.streaming.* alluxio.underfs.s3.upload.* alluxio.underfs.s3.admin.* alluxio.underfs.s3.intermediate.* alluxio.underfs.s3.request.timeout alluxio.underfs.s3.connection.ttl alluxio.underfs.s3.directory.suffix",
  },
  {
    why: "lists are of version 2, signatures of version 4, and there is no proxy on the way to S3",
    names: "alluxio.underfs.s3.list.* alluxio.underfs.s3.signer.* alluxio.underfs.s3.proxy.*",
  },
  {
    why: "of under stores there are local directories, HDFS and S3; a root in another one is refused",
    names:
      "alluxio.underfs.* s3a.* aws.* fs.gcs.* fs.oss.* fs.cos.* fs.obs.* fs.kodo.* fs.swift.* fs.azure.*",
  },
  { why: "there is no catalog of tables", names: "alluxio.table.*" },
  {
    why: "metrics are served to Prometheus, and sent nowhere",
    names: "alluxio.metrics.* alluxio.master.metrics.* alluxio.master.cluster.metrics.*",
  },
  {
    why: "a worker is near when it runs on the same host",
    names: "alluxio.locality.*",
  },
  {
    why: "the pages are part of the program",
    names: "alluxio.web.resources alluxio.web.threads alluxio.web.threaddump.log.enabled",
  },
  {
    why: "other sites' pages may not read from here",
    names: "alluxio.web.cors.*",
  },
  {
    why: "it tunes a mechanism of Alluxio's that is not here",
    names:
      "alluxio.grpc.reflection.enabled alluxio.hadoop.checksum.combine.mode alluxio.master.container.id.reservation.size alluxio.master.log.config.report.heartbeat.interval alluxio.master.merge.journal.* alluxio.master.recursive.operation.* alluxio.master.skip.root.acl.check alluxio.master.state.lock.error.threshold alluxio.master.filesystem.merge.inode.journals alluxio.master.journal.sync.root.after.init.from.backup alluxio.master.mount.table.root.alluxio alluxio.master.web.in.alluxio.data.page.count alluxio.worker.master.periodical.rpc.timeout alluxio.worker.remote.io.slow.threshold alluxio.worker.startup.timeout alluxio.worker.storage.checker.enabled alluxio.worker.block.heartbeat.report.size.threshold alluxio.worker.block.master.client.pool.size alluxio.worker.data.folder.tmp alluxio.worker.data.tmp.subdir.max alluxio.worker.tieredstore.block.lock*",
  },
  { why: "nothing is deployed by YARN here", names: "alluxio.integration.*" },
  { why: "logs are files of the processes", names: "alluxio.logserver.*" },
];

function patternOf(text: string): RegExp {
  const escaped = text.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*");
  return new RegExp(`^${escaped}$`);
}

const COMPILED = RULES.map(({ why, names }) => ({
  why,
  patterns: names.trim().split(/\s+/).map(patternOf),
}));

/** Null: no rule names it. */
export function reasonWithoutEffect(name: string): string | null {
  return COMPILED.find(({ patterns }) => patterns.some((one) => one.test(name)))?.why ?? null;
}
