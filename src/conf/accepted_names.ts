/**
 * Every property name of Alluxio 2.9.4: known, whether or not it means something here.
 *
 * A site file written for Alluxio is accepted without a warning; a name that is neither here nor in
 * the key tables is a slip of the pen, and the warning about it names the nearest of these.
 * @module
 */

/** "prefix: rest rest …"; a line that begins with blanks goes on with the prefix above it. */
const GROUPS = `
alluxio: conf.dir conf.dynamic.update.enabled conf.validation.enabled debug exit.collect.info
  extensions.dir grpc.reflection.enabled home jvm.monitor.info.threshold
  jvm.monitor.sleep.interval jvm.monitor.warn.threshold leak.detector.exit.on.leak
  leak.detector.level logger.type logs.dir s3.rest.authentication.enabled
  s3.rest.authenticator.classname secondary.master.metastore.dir site.conf.dir
  site.conf.rocks.block.file site.conf.rocks.inode.file standalone.fuse.jvm.monitor.enabled
  standby.master.grpc.enabled standby.master.metrics.sink.enabled standby.master.web.enabled
  test.deprecated.key test.mode tmp.dirs version work.dir
alluxio.fuse: auth.policy.class auth.policy.custom.group auth.policy.custom.user
  cached.paths.max debug.enabled fs.name jnifuse.enabled jnifuse.libfuse.version
  logging.threshold mount.alluxio.path mount.options mount.point shared.caching.reader.enabled
  special.command.enabled stat.cache.refresh.interval umount.timeout
  user.group.translation.enabled
alluxio.fuse.web: bind.host enabled hostname port
alluxio.hadoop: checksum.combine.mode kerberos.keytab.login.autorenewal security.authentication
  security.krb5.conf
alluxio.integration: master.resource.cpu master.resource.mem worker.resource.cpu
  worker.resource.mem yarn.workers.per.host.max
alluxio.job: batch.size request.batch.size retention.time
alluxio.job.master: bind.host client.threads embedded.journal.addresses embedded.journal.port
  finished.job.purge.count finished.job.retention.time hostname job.capacity
  lost.master.interval lost.worker.interval master.heartbeat.interval master.timeout
  rpc.addresses rpc.port web.bind.host web.hostname web.port worker.heartbeat.interval
  worker.timeout
alluxio.job.master.network: flowcontrol.window keepalive.time keepalive.timeout
  max.inbound.message.size permit.keepalive.time
alluxio.job.worker: bind.host data.port hostname rpc.port threadpool.size throttling
  web.bind.host web.port
alluxio.locality: compare.node.ip node order rack script
alluxio.logserver: hostname logs.dir port threads.max threads.min
alluxio.master: async.persist.size.validation audit.logging.enabled audit.logging.queue.capacity
  bind.host block.scan.invalid.batch.max.size cluster.metrics.update.interval
  container.id.reservation.size failover.collect.info format.file.prefix heartbeat.timeout
  hostname jvm.monitor.enabled keytab.file log.config.report.heartbeat.interval
  merge.journal.context.num.entries.logging.threshold metastore
  periodic.block.integrity.check.interval periodic.block.integrity.check.repair principal
  proxy.check.heartbeat.timeout proxy.timeout
  recursive.operation.journal.force.flush.max.entries replication.check.interval
  serving.thread.timeout skip.root.acl.check standby.heartbeat.interval
  startup.block.integrity.check.enabled state.lock.error.threshold ttl.checker.interval
  unsafe.direct.persist.object.enabled update.check.enabled update.check.interval whitelist
alluxio.master.backup: abandon.timeout connect.interval.max connect.interval.min
  delegation.enabled directory entry.buffer.count heartbeat.interval suspend.timeout
  transport.timeout
alluxio.master.backup.state.lock: exclusive.duration forced.duration interrupt.cycle.enabled
  interrupt.cycle.interval
alluxio.master.daily.backup: enabled files.retained time
alluxio.master.daily.backup.state.lock: grace.mode sleep.duration timeout try.duration
alluxio.master.embedded.journal: addresses catchup.retry.wait election.timeout.max
  election.timeout.min entry.size.max flush.size.max port raft.client.request.interval
  raft.client.request.timeout ratis.config retry.cache.expiry.time
  snapshot.replication.chunk.size snapshot.replication.compression.level
  snapshot.replication.compression.type transport.max.inbound.message.size
  transport.request.timeout.ms unsafe.flush.enabled write.remote.enabled write.timeout
alluxio.master.file.access.time: journal.flush.interval update.precision updater.enabled
  updater.shutdown.timeout
alluxio.master.filesystem: liststatus.result.message.length merge.inode.journals
  operation.retry.cache.enabled operation.retry.cache.size
alluxio.master.journal: backup.when.corrupted catchup.protect.enabled checkpoint.period.entries
  checkpoint.warning.threshold.time exit.on.demotion flush.batch.time flush.timeout folder
  gc.period gc.threshold init.from.backup local.log.compaction log.size.bytes.max
  request.data.timeout request.info.timeout retry.interval space.monitor.interval
  space.monitor.percent.free.threshold sync.root.after.init.from.backup
  tailer.shutdown.quiet.wait.time tailer.sleep.time temporary.file.gc.threshold
  tolerate.corruption type ufs.option
alluxio.master.lock.pool: concurrency.level high.watermark initsize low.watermark
alluxio.master.lost: proxy.deletion.timeout worker.deletion.timeout worker.detection.interval
  worker.file.detection.interval
alluxio.master.metadata: concurrent.sync.dedup
alluxio.master.metadata.sync: concurrency.level executor.pool.size
  get.directory.status.skip.loading.children ignore.ttl instrument.executor report.failure
  traversal.order
alluxio.master.metadata.sync.lock.pool: concurrency.level high.watermark initsize low.watermark
alluxio.master.metadata.sync.ufs: concurrent.get.status concurrent.listing concurrent.loads
  prefetch.pool.size prefetch.status prefetch.timeout rate.limit
alluxio.master.metastore: block dir dir.block dir.inode inode iterator.readahead.size
  metrics.refresh.interval
alluxio.master.metastore.inode: enumerator.buffer.count inherit.owner.and.group
  iteration.crawler.count
alluxio.master.metastore.inode.cache: evict.batch.size high.water.mark.ratio
  low.water.mark.ratio max.size
alluxio.master.metastore.rocks: checkpoint.compression.type exclusive.lock.timeout
  parallel.backup parallel.backup.threads
alluxio.master.metastore.rocks.block.location: block.index bloom.filter cache.size index
alluxio.master.metastore.rocks.block.meta: block.index bloom.filter cache.size index
alluxio.master.metastore.rocks.edge: block.index bloom.filter cache.size index
alluxio.master.metastore.rocks.inode: block.index bloom.filter cache.size index
alluxio.master.metrics: file.size.distribution.buckets heap.enabled service.threads
  time.series.interval
alluxio.master.mount.table.root: alluxio option readonly shared ufs
alluxio.master.network: flowcontrol.window keepalive.time keepalive.timeout
  max.inbound.message.size permit.keepalive.time
alluxio.master.persistence: blacklist checker.interval initial.interval max.interval
  max.total.wait.time scheduler.interval
alluxio.master.rpc: addresses port
alluxio.master.rpc.executor: core.pool.size fjp.async fjp.min.runnable fjp.parallelism keepalive
  max.pool.size tpe.allow.core.threads.timeout tpe.queue.type type
alluxio.master.shell.backup.state.lock: grace.mode sleep.duration timeout try.duration
alluxio.master.throttle: background.enabled enabled filesystem.op.per.sec
  filesystem.rpc.queue.size.limit foreground.enabled heartbeat.interval observed.pit.number
alluxio.master.throttle.active: cpu.load.ratio heap.gc.time heap.used.ratio rpc.queue.size
alluxio.master.throttle.overloaded: cpu.load.ratio heap.gc.time heap.used.ratio rpc.queue.size
alluxio.master.throttle.stressed: cpu.load.ratio heap.gc.time heap.used.ratio rpc.queue.size
alluxio.master.tieredstore.global: level0.alias level1.alias level2.alias levels mediumtype
alluxio.master.ufs: block.location.cache.capacity journal.max.catchup.time
  managed.blocking.enabled path.cache.capacity path.cache.threads
alluxio.master.ufs.active.sync: event.rate.interval initial.sync.enabled interval max.activities
  max.age poll.batch.size poll.timeout retry.timeout thread.pool.size
alluxio.master.web: bind.host hostname in.alluxio.data.page.count port
alluxio.master.worker: connect.wait.time info.cache.refresh.time timeout
alluxio.master.worker.register: stream.response.timeout
alluxio.master.worker.register.lease: count enabled respect.jvm.space ttl
alluxio.metrics: conf.file context.shutdown.timeout executor.task.warn.frequency
  executor.task.warn.size
alluxio.network: host.resolution.timeout ip.address.used tls.enabled
  tls.ssl.context.provider.classname
alluxio.network.connection: auth.timeout health.check.timeout server.shutdown.timeout
  shutdown.graceful.timeout shutdown.timeout
alluxio.proxy: audit.logging.enabled master.heartbeat.interval stream.cache.timeout
  web.bind.host web.hostname web.port
alluxio.proxy.s3: bucket.naming.restrictions.enabled bucketpathcache.timeout deletetype
  global.read.rate.limit.mb header.metadata.max.size single.connection.read.rate.limit.mb
  tagging.restrictions.enabled use.position.read.range.size writetype
alluxio.proxy.s3.complete.multipart.upload: keepalive.enabled keepalive.time.interval
  min.part.size pool.size
alluxio.proxy.s3.multipart.upload.cleaner: enabled pool.size retry.count retry.delay timeout
alluxio.proxy.s3.v2: version.enabled
alluxio.proxy.s3.v2.async: context.timeout.ms heavy.pool.core.thread.number
  heavy.pool.maximum.thread.number heavy.pool.queue.size light.pool.core.thread.number
  light.pool.maximum.thread.number light.pool.queue.size processing.enabled
alluxio.security: authentication.custom.provider.class authentication.type
  authorization.permission.enabled authorization.permission.supergroup
  authorization.permission.umask group.mapping.cache.timeout group.mapping.class
  login.impersonation.username login.username stale.channel.purge.interval
alluxio.table: catalog.path catalog.udb.sync.timeout enabled journal.partitions.chunk.size
  load.default.replication transform.manager.job.history.retention.time
  transform.manager.job.monitor.interval udb.hive.clientpool.MAX udb.hive.clientpool.min
alluxio.underfs: allow.set.owner.failure cleanup.enabled cleanup.interval
  eventual.consistency.retry.base.sleep eventual.consistency.retry.max.num
  eventual.consistency.retry.max.sleep io.threads listing.length local.skip.broken.symlinks
  logging.threshold ozone.prefixes persistence.async.temp.dir strict.version.match.enabled
  version
alluxio.underfs.cephfs: conf.file conf.options localize.reads mds.namespace mon.host mount.gid
  mount.point mount.uid
alluxio.underfs.cephfs.auth: id key keyfile keyring
alluxio.underfs.gcs: default.mode directory.suffix owner.id.to.username.mapping version
alluxio.underfs.gcs.retry: delay.multiplier initial.delay jitter max max.delay total.duration
alluxio.underfs.hdfs: configuration impl prefixes remote
alluxio.underfs.kodo: connect.timeout downloadhost endpoint requests.max
alluxio.underfs.object.store: breadcrumbs.enabled mount.shared.publicly multi.range.chunk.size
  service.threads skip.parent.directory.creation streaming.upload.part.timeout
alluxio.underfs.obs: intermediate.upload.clean.age streaming.upload.enabled
  streaming.upload.partition.size streaming.upload.threads
alluxio.underfs.oss: connection.max connection.timeout connection.ttl default.mode ecs.ram.role
  intermediate.upload.clean.age owner.id.to.username.mapping retry.max socket.timeout
  streaming.upload.enabled streaming.upload.partition.size streaming.upload.threads
  sts.ecs.metadata.service.endpoint sts.enabled sts.token.refresh.interval.ms
alluxio.underfs.s3: admin.threads.max bulk.delete.enabled connection.ttl default.mode
  directory.suffix disable.dns.buckets endpoint endpoint.region inherit.acl
  intermediate.upload.clean.age list.objects.v1 max.error.retry owner.id.to.username.mapping
  proxy.host proxy.port region request.timeout secure.http.enabled
  server.side.encryption.enabled signer.algorithm socket.timeout streaming.upload.enabled
  streaming.upload.partition.size threads.max upload.threads.max
alluxio.underfs.web: connnection.timeout header.last.modified parent.names titles
alluxio.user: app.id conf.cluster.default.enabled conf.sync.interval date.format.pattern
  hdfs.client.exclude.mount.info.on.list.status hostname local.reader.chunk.size.bytes
  local.writer.chunk.size.bytes logging.threshold logs.dir master.polling.concurrent
  master.polling.timeout metadata.cache.enabled metadata.cache.expiration.time
  metadata.cache.max.size metrics.collection.enabled metrics.heartbeat.interval
  short.circuit.enabled short.circuit.preferred skip.authority.check
  unsafe.direct.local.io.enabled update.file.accesstime.disabled worker.list.refresh.interval
alluxio.user.block: avoid.eviction.policy.reserved.size.bytes remote.read.buffer.size.bytes
  size.bytes.default worker.client.pool.gc.threshold worker.client.pool.max
  worker.client.pool.min write.location.policy.class
alluxio.user.block.master.client.pool: gc.interval gc.threshold size.max size.min
alluxio.user.block.read: metrics.enabled retry.max.duration retry.sleep.base retry.sleep.max
alluxio.user.client: report.version.enabled
alluxio.user.client.cache: async.restore.enabled async.write.enabled async.write.threads dirs
  enabled eviction.retries evictor.class evictor.lfu.logbase evictor.nondeterministic.enabled
  fallback.enabled filter.class filter.config-file include.mtime instream_buffer_size
  local.store.file.buckets page.size quota.enabled size store.overhead store.type
  timeout.duration timeout.threads ttl.check.interval.seconds ttl.enabled ttl.threshold.seconds
alluxio.user.client.cache.shadow: bloomfilter.num enabled memory.overhead type window
alluxio.user.client.cache.shadow.cuckoo: clock.bits scope.bits
alluxio.user.client.cache.shadow.cuckoo.size: bits encoder.enabled prefix.bits suffix.bits
alluxio.user.file: buffer.bytes copyfromlocal.block.location.policy.class create.ttl
  create.ttl.action delete.unchecked direct.access in.stream.status.expiration.time
  include.operation.id metadata.load.type metadata.sync.interval passive.cache.enabled
  persist.on.rename persistence.initial.wait.time readtype.default replication.durable
  replication.max replication.min reserved.bytes sequential.pread.threshold target.media
  ufs.tier.enabled waitcompleted.poll writetype.default
alluxio.user.file.master.client.pool: gc.interval gc.threshold size.max size.min
alluxio.user.file.write: init.max.duration init.sleep.max init.sleep.min tier.default
alluxio.user.network: data.timeout flowcontrol.window keepalive.time keepalive.timeout
  max.inbound.message.size netty.channel netty.worker.threads reader.buffer.size.messages
  reader.chunk.size.bytes zerocopy.enabled
alluxio.user.network.rpc: flowcontrol.window keepalive.time keepalive.timeout max.connections
  max.inbound.message.size netty.channel netty.worker.threads
alluxio.user.network.streaming: flowcontrol.window keepalive.time keepalive.timeout
  max.connections max.inbound.message.size netty.channel netty.worker.threads
alluxio.user.network.writer: buffer.size.messages chunk.size.bytes close.timeout flush.timeout
alluxio.user.rpc: retry.base.sleep retry.max.duration retry.max.sleep shuffle.masters.enabled
alluxio.user.streaming: data.read.timeout data.write.timeout reader.buffer.size.messages
  reader.chunk.size.bytes reader.close.timeout zerocopy.enabled
alluxio.user.streaming.writer: buffer.size.messages chunk.size.bytes close.timeout flush.timeout
alluxio.user.ufs.block: location.all.fallback.enabled
alluxio.user.ufs.block.read: concurrency.max
alluxio.user.ufs.block.read.location: policy policy.cache.expiration.time policy.cache.size
  policy.deterministic.hash.shards
alluxio.web: file.info.enabled refresh.interval resources threaddump.log.enabled threads
  ui.enabled
alluxio.web.cors: enabled exposed.headers max.age
alluxio.web.cors.allow: credential headers methods origins
alluxio.worker: allocator.class bind.host container.hostname evictor.class free.space.timeout
  fuse.enabled hostname jvm.monitor.enabled keytab.file master.connect.retry.timeout
  master.periodical.rpc.timeout principal ramdisk.size remote.io.slow.threshold reviewer.class
  reviewer.probabilistic.hardlimit.bytes reviewer.probabilistic.softlimit.bytes session.timeout
  startup.timeout storage.checker.enabled ufs.instream.cache.enabled
  ufs.instream.cache.expiration.time ufs.instream.cache.max.size web.bind.host web.hostname
  web.port whitelist
alluxio.worker.block: annotator.class annotator.lrfu.attenuation.factor
  annotator.lrfu.step.factor heartbeat.interval heartbeat.report.size.threshold
  heartbeat.timeout master.client.pool.size store.type
alluxio.worker.data: folder folder.permissions folder.tmp server.domain.socket.address
  server.domain.socket.as.uuid tmp.subdir.max
alluxio.worker.management: backoff.strategy block.transfer.concurrency.limit
  load.detection.cool.down.time task.thread.count
alluxio.worker.management.tier: align.enabled align.range align.reserved.bytes promote.enabled
  promote.quota.percent promote.range swap.restore.enabled
alluxio.worker.network: async.cache.manager.queue.max async.cache.manager.threads.max
  block.reader.threads.max block.writer.threads.max flowcontrol.window keepalive.time
  keepalive.timeout max.inbound.message.size permit.keepalive.time reader.buffer.pooled
  reader.buffer.size reader.max.chunk.size.bytes shutdown.timeout writer.buffer.size.messages
  zerocopy.enabled
alluxio.worker.network.netty: boss.threads channel shutdown.quiet.period watermark.high
  watermark.low worker.threads
alluxio.worker.page.store: async.restore.enabled async.write.enabled async.write.threads dirs
  eviction.retries evictor.class evictor.lfu.logbase evictor.nondeterministic.enabled
  local.store.file.buckets overhead page.size quota.enabled sizes timeout.duration
  timeout.threads type
alluxio.worker.register: to.all.masters
alluxio.worker.register.lease: enabled retry.max.duration retry.sleep.max retry.sleep.min
alluxio.worker.register.stream: batch.size complete.timeout deadline enabled response.timeout
alluxio.worker.rpc: port
alluxio.worker.rpc.executor: core.pool.size fjp.async fjp.min.runnable fjp.parallelism keepalive
  max.pool.size tpe.allow.core.threads.timeout tpe.queue.type type
alluxio.worker.tieredstore: block.lock.readers block.locks free.ahead.bytes levels
alluxio.worker.tieredstore.level0: alias dirs.mediumtype dirs.path dirs.quota
  watermark.high.ratio watermark.low.ratio
alluxio.worker.tieredstore.level1: alias dirs.mediumtype dirs.path dirs.quota
  watermark.high.ratio watermark.low.ratio
alluxio.worker.tieredstore.level2: alias dirs.mediumtype dirs.path dirs.quota
  watermark.high.ratio watermark.low.ratio
alluxio.zookeeper: address auth.enabled connection.timeout election.path enabled
  job.election.path job.leader.path leader.connection.error.policy leader.inquiry.retry
  leader.path session.timeout
fs: gcs.accessKeyId gcs.credential.path gcs.secretAccessKey kodo.accesskey kodo.secretkey
  oss.accessKeyId oss.accessKeySecret oss.endpoint
fs.azure.account.oauth2: client.endpoint client.id client.secret msi.endpoint msi.tenant
fs.cos: access.key app.id connection.max connection.timeout region secret.key socket.timeout
fs.obs: accessKey bucketType endpoint secretKey
fs.swift: auth.method auth.url password region simulation tenant user
s3a: accessKeyId secretKey
`;

function expand(): string[] {
  const names: string[] = [];
  let prefix = "";
  for (const line of GROUPS.trim().split("\n")) {
    const colon = line.startsWith(" ") ? -1 : line.indexOf(":");
    if (colon > 0) prefix = line.slice(0, colon);
    for (const rest of line
      .slice(colon + 1)
      .trim()
      .split(/\s+/))
      names.push(`${prefix}.${rest}`);
  }
  return names;
}

export const ACCEPTED_NAMES: ReadonlySet<string> = new Set(expand());

/** Names with parts that the user chooses. */
const TEMPLATES: readonly RegExp[] = [
  /^alluxio\.master\.(zookeeper\.)?nameservices\.[^.]+$/,
  /^alluxio\.master\.(rpc|zookeeper)\.address\.[^.]+\.[^.]+$/,
  /^alluxio\.master\.security\.impersonation\..+\.(users|groups)$/,
  /^alluxio\.master\.mount\.table\.root\.option\..+$/,
  /^alluxio\.master\.journal\.ufs\.option\..+$/,
  /^alluxio\.master\.embedded\.journal\.ratis\.config\..+$/,
  /^alluxio\.worker\.tieredstore\.level\d\.(alias|dirs\.(path|quota|mediumtype)|watermark\.(high|low)\.ratio)$/,
  /^alluxio\.master\.tieredstore\.global\.level\d\.alias$/,
  /^alluxio\.locality\.[^.]+$/,
];

/** Whether a name of Alluxio's, or one made after its templates, is meant. */
export function isAcceptedName(name: string): boolean {
  return ACCEPTED_NAMES.has(name) || TEMPLATES.some((template) => template.test(name));
}
