/**
 * Every property name of Alluxio 2.9.4, with its default there: known, whether or not it means something here.
 *
 * A site file written for Alluxio is accepted without a warning; a name that is neither here nor in
 * the key tables is a slip of the pen, and the warning about it names the nearest of these.
 * @module
 */

/** "prefix: rest=default; rest=default; rest; …"; a line that begins with blanks goes on with the prefix above it. */
const GROUPS = `
alluxio: conf.dir=\${alluxio.home}/conf; conf.dynamic.update.enabled=false; conf.validation.enabled=true; debug=false;
  exit.collect.info=true; extensions.dir=\${alluxio.home}/extensions; grpc.reflection.enabled=false; home;
  jvm.monitor.info.threshold=1sec; jvm.monitor.sleep.interval=1sec; jvm.monitor.warn.threshold=10sec;
  leak.detector.exit.on.leak=false; leak.detector.level=DISABLED; logger.type=Console;
  logs.dir=\${alluxio.work.dir}/logs; s3.rest.authentication.enabled=false;
  s3.rest.authenticator.classname=alluxio.proxy.s3.auth.PassAllAuthenticator;
  secondary.master.metastore.dir=\${alluxio.work.dir}/secondary-metastore; site.conf.dir; site.conf.rocks.block.file;
  site.conf.rocks.inode.file; standalone.fuse.jvm.monitor.enabled=false; standby.master.grpc.enabled=true;
  standby.master.metrics.sink.enabled=false; standby.master.web.enabled=false; test.deprecated.key; test.mode=false;
  tmp.dirs=/tmp; version; work.dir=\${alluxio.home}
alluxio.fuse: auth.policy.class=alluxio.fuse.auth.LaunchUserGroupAuthPolicy; auth.policy.custom.group;
  auth.policy.custom.user; cached.paths.max=500; debug.enabled=false; fs.name=alluxio-fuse; jnifuse.enabled=true;
  jnifuse.libfuse.version=2; logging.threshold=10s; mount.alluxio.path=/;
  mount.options=attr_timeout=600,entry_timeout=600; mount.point=/mnt/alluxio-fuse;
  shared.caching.reader.enabled=false; special.command.enabled=false; stat.cache.refresh.interval=5min;
  umount.timeout=0s; user.group.translation.enabled=false
alluxio.fuse.web: bind.host=0.0.0.0; enabled=false; hostname; port=49999
alluxio.hadoop: checksum.combine.mode; kerberos.keytab.login.autorenewal; security.authentication; security.krb5.conf
alluxio.integration: master.resource.cpu=1; master.resource.mem=1024MB; worker.resource.cpu=1;
  worker.resource.mem=1024MB; yarn.workers.per.host.max=1
alluxio.job: batch.size=20; request.batch.size=1; retention.time=1d
alluxio.job.master: bind.host=0.0.0.0; client.threads=1024; embedded.journal.addresses; embedded.journal.port=20003;
  finished.job.purge.count=-1; finished.job.retention.time=60sec; hostname=\${alluxio.master.hostname};
  job.capacity=100000; lost.master.interval=10sec; lost.worker.interval=1sec; master.heartbeat.interval=1sec;
  master.timeout=60sec; rpc.addresses; rpc.port=20001; web.bind.host=0.0.0.0;
  web.hostname=\${alluxio.job.master.hostname}; web.port=20002; worker.heartbeat.interval=1sec; worker.timeout=60sec
alluxio.job.master.network: flowcontrol.window=2MB; keepalive.time=2h; keepalive.timeout=30sec;
  max.inbound.message.size=100MB; permit.keepalive.time=30sec
alluxio.job.worker: bind.host=0.0.0.0; data.port=30002; hostname=\${alluxio.worker.hostname}; rpc.port=30001;
  threadpool.size=10; throttling=false; web.bind.host=0.0.0.0; web.port=30003
alluxio.locality: compare.node.ip=false; node; order=node,rack; rack; script=alluxio-locality.sh
alluxio.logserver: hostname; logs.dir=\${alluxio.work.dir}/logs; port=45600; threads.max=2048; threads.min=512
alluxio.master: async.persist.size.validation=true; audit.logging.enabled=false; audit.logging.queue.capacity=10000;
  bind.host=0.0.0.0; block.scan.invalid.batch.max.size=10000000; cluster.metrics.update.interval=1min;
  container.id.reservation.size=1000; failover.collect.info=true; format.file.prefix=_format_;
  heartbeat.timeout=10min; hostname; jvm.monitor.enabled=true; keytab.file; log.config.report.heartbeat.interval=1h;
  merge.journal.context.num.entries.logging.threshold=10000; metastore=ROCKS;
  periodic.block.integrity.check.interval=1hr; periodic.block.integrity.check.repair=true; principal;
  proxy.check.heartbeat.timeout=1min; proxy.timeout=5m; recursive.operation.journal.force.flush.max.entries=100;
  replication.check.interval=1min; serving.thread.timeout=5m; skip.root.acl.check=false;
  standby.heartbeat.interval=2min; startup.block.integrity.check.enabled=false; state.lock.error.threshold=20;
  ttl.checker.interval=1hour; unsafe.direct.persist.object.enabled=true; update.check.enabled=true;
  update.check.interval=7day; whitelist=/
alluxio.master.backup: abandon.timeout=1min; connect.interval.max=30sec; connect.interval.min=1sec;
  delegation.enabled=true; directory=/alluxio_backups; entry.buffer.count=10000; heartbeat.interval=2sec;
  suspend.timeout=3min; transport.timeout=30sec
alluxio.master.backup.state.lock: exclusive.duration=0ms; forced.duration=15min; interrupt.cycle.enabled=false;
  interrupt.cycle.interval=30sec
alluxio.master.daily.backup: enabled=false; files.retained=3; time=05:00
alluxio.master.daily.backup.state.lock: grace.mode=TIMEOUT; sleep.duration=5m; timeout=1h; try.duration=2m
alluxio.master.embedded.journal: addresses; catchup.retry.wait=1s; election.timeout.max=20s; election.timeout.min=10s;
  entry.size.max=10MB; flush.size.max=160MB; port=19200; raft.client.request.interval=100ms;
  raft.client.request.timeout=60sec; ratis.config; retry.cache.expiry.time=60s; snapshot.replication.chunk.size=4MB;
  snapshot.replication.compression.level=1; snapshot.replication.compression.type=NO_COMPRESSION;
  transport.max.inbound.message.size=100MB; transport.request.timeout.ms=5sec; unsafe.flush.enabled=false;
  write.remote.enabled=false; write.timeout=30sec
alluxio.master.file.access.time: journal.flush.interval=1h; update.precision=1d; updater.enabled=true;
  updater.shutdown.timeout=1sec
alluxio.master.filesystem: liststatus.result.message.length=10000; merge.inode.journals=true;
  operation.retry.cache.enabled=true; operation.retry.cache.size=100000
alluxio.master.journal: backup.when.corrupted=true; catchup.protect.enabled=true; checkpoint.period.entries=2000000;
  checkpoint.warning.threshold.time=3day; exit.on.demotion=false; flush.batch.time=100ms; flush.timeout=5min;
  folder=\${alluxio.work.dir}/journal; gc.period=2min; gc.threshold=5min; init.from.backup; local.log.compaction=true;
  log.size.bytes.max=10MB; request.data.timeout=20000; request.info.timeout=10000; retry.interval=1sec;
  space.monitor.interval=10min; space.monitor.percent.free.threshold=10; sync.root.after.init.from.backup=true;
  tailer.shutdown.quiet.wait.time=5sec; tailer.sleep.time=1sec; temporary.file.gc.threshold=30min;
  tolerate.corruption=false; type=EMBEDDED; ufs.option
alluxio.master.lock.pool: concurrency.level=100; high.watermark=1000000; initsize=1000; low.watermark=500000
alluxio.master.lost: proxy.deletion.timeout=30min; worker.deletion.timeout=30min; worker.detection.interval=10sec;
  worker.file.detection.interval=5min
alluxio.master.metadata: concurrent.sync.dedup=false
alluxio.master.metadata.sync: concurrency.level=6; executor.pool.size=4;
  get.directory.status.skip.loading.children=true; ignore.ttl=false; instrument.executor=false; report.failure=true;
  traversal.order=BFS
alluxio.master.metadata.sync.lock.pool: concurrency.level=20; high.watermark=50000; initsize=1000; low.watermark=20000
alluxio.master.metadata.sync.ufs: concurrent.get.status=true; concurrent.listing=true; concurrent.loads=100;
  prefetch.pool.size=32; prefetch.status=true; prefetch.timeout=100ms; rate.limit
alluxio.master.metastore: block=ROCKS; dir=\${alluxio.work.dir}/metastore; dir.block=\${alluxio.master.metastore.dir};
  dir.inode=\${alluxio.master.metastore.dir}; inode=ROCKS; iterator.readahead.size=64MB; metrics.refresh.interval=5s
alluxio.master.metastore.inode: enumerator.buffer.count=10000; inherit.owner.and.group=true; iteration.crawler.count=4
alluxio.master.metastore.inode.cache: evict.batch.size=1000; high.water.mark.ratio=0.85; low.water.mark.ratio=0.8;
  max.size=1580204
alluxio.master.metastore.rocks: checkpoint.compression.type=LZ4_COMPRESSION; exclusive.lock.timeout=10s;
  parallel.backup=false; parallel.backup.threads=1
alluxio.master.metastore.rocks.block.location: block.index; bloom.filter=false; cache.size; index
alluxio.master.metastore.rocks.block.meta: block.index; bloom.filter=false; cache.size; index
alluxio.master.metastore.rocks.edge: block.index; bloom.filter=false; cache.size; index
alluxio.master.metastore.rocks.inode: block.index; bloom.filter=false; cache.size; index
alluxio.master.metrics: file.size.distribution.buckets=1KB,1MB,10MB,100MB,1GB,10GB; heap.enabled=false;
  service.threads=5; time.series.interval=5min
alluxio.master.mount.table.root: alluxio=/; option; readonly=false; shared=true;
  ufs=\${alluxio.work.dir}/underFSStorage
alluxio.master.network: flowcontrol.window=2MB; keepalive.time=2h; keepalive.timeout=30sec;
  max.inbound.message.size=100MB; permit.keepalive.time=30sec
alluxio.master.persistence: blacklist; checker.interval=1s; initial.interval=1s; max.interval=1hr;
  max.total.wait.time=1day; scheduler.interval=1s
alluxio.master.rpc: addresses; port=19998
alluxio.master.rpc.executor: core.pool.size=500; fjp.async=true; fjp.min.runnable=1; fjp.parallelism=8;
  keepalive=60sec; max.pool.size=500; tpe.allow.core.threads.timeout=true; tpe.queue.type=LINKED_BLOCKING_QUEUE;
  type=TPE
alluxio.master.shell.backup.state.lock: grace.mode=FORCED; sleep.duration=0s; timeout=0s; try.duration=0s
alluxio.master.throttle: background.enabled=false; enabled=true; filesystem.op.per.sec=2000;
  filesystem.rpc.queue.size.limit=1000; foreground.enabled=false; heartbeat.interval=3sec; observed.pit.number=3
alluxio.master.throttle.active: cpu.load.ratio=0.5; heap.gc.time=1sec; heap.used.ratio=0.5; rpc.queue.size=50000
alluxio.master.throttle.overloaded: cpu.load.ratio=0.95; heap.gc.time=10sec; heap.used.ratio=0.9;
  rpc.queue.size=150000
alluxio.master.throttle.stressed: cpu.load.ratio=0.8; heap.gc.time=5sec; heap.used.ratio=0.8; rpc.queue.size=100000
alluxio.master.tieredstore.global: level0.alias=MEM; level1.alias=SSD; level2.alias=HDD; levels=3;
  mediumtype=MEM,SSD,HDD
alluxio.master.ufs: block.location.cache.capacity=1000000; journal.max.catchup.time=10min; managed.blocking.enabled;
  path.cache.capacity=100000; path.cache.threads=64
alluxio.master.ufs.active.sync: event.rate.interval=60sec; initial.sync.enabled=true; interval=30sec;
  max.activities=10; max.age=10; poll.batch.size=1024; poll.timeout=10sec; retry.timeout=10sec; thread.pool.size=2
alluxio.master.web: bind.host=0.0.0.0; hostname; in.alluxio.data.page.count=1000; port=19999
alluxio.master.worker: connect.wait.time=5sec; info.cache.refresh.time=10sec; timeout=5min
alluxio.master.worker.register: stream.response.timeout=10min
alluxio.master.worker.register.lease: count=25; enabled=true; respect.jvm.space=true; ttl=1min
alluxio.metrics: conf.file=\${alluxio.conf.dir}/metrics.properties; context.shutdown.timeout=1sec;
  executor.task.warn.frequency=5sec; executor.task.warn.size=1000
alluxio.network: host.resolution.timeout=5sec; ip.address.used=false; tls.enabled=false;
  tls.ssl.context.provider.classname=alluxio.util.network.tls.DefaultSslContextProvider
alluxio.network.connection: auth.timeout=30sec; health.check.timeout=5sec; server.shutdown.timeout=60sec;
  shutdown.graceful.timeout=45sec; shutdown.timeout=15sec
alluxio.proxy: audit.logging.enabled=false; master.heartbeat.interval=10sec; stream.cache.timeout=1hour;
  web.bind.host=0.0.0.0; web.hostname; web.port=39999
alluxio.proxy.s3: bucket.naming.restrictions.enabled=false; bucketpathcache.timeout=0min; deletetype=ALLUXIO_AND_UFS;
  global.read.rate.limit.mb=0; header.metadata.max.size=2KB; single.connection.read.rate.limit.mb=0;
  tagging.restrictions.enabled=true; use.position.read.range.size=0; writetype=CACHE_THROUGH
alluxio.proxy.s3.complete.multipart.upload: keepalive.enabled=false; keepalive.time.interval=30sec; min.part.size=5MB;
  pool.size=20
alluxio.proxy.s3.multipart.upload.cleaner: enabled=false; pool.size=1; retry.count=3; retry.delay=10sec; timeout=10min
alluxio.proxy.s3.v2: version.enabled=true
alluxio.proxy.s3.v2.async: context.timeout.ms=30000; heavy.pool.core.thread.number=8;
  heavy.pool.maximum.thread.number=64; heavy.pool.queue.size=65536; light.pool.core.thread.number=8;
  light.pool.maximum.thread.number=64; light.pool.queue.size=65536; processing.enabled=false
alluxio.security: authentication.custom.provider.class; authentication.type=SIMPLE;
  authorization.permission.enabled=true; authorization.permission.supergroup=supergroup;
  authorization.permission.umask=022; group.mapping.cache.timeout=1min;
  group.mapping.class=alluxio.security.group.provider.ShellBasedUnixGroupsMapping;
  login.impersonation.username=_HDFS_USER_; login.username; stale.channel.purge.interval=3day
alluxio.table: catalog.path=/catalog; catalog.udb.sync.timeout=1h; enabled=true; journal.partitions.chunk.size=500;
  load.default.replication=1; transform.manager.job.history.retention.time=300sec;
  transform.manager.job.monitor.interval=10s; udb.hive.clientpool.MAX=256; udb.hive.clientpool.min=16
alluxio.underfs: allow.set.owner.failure=false; cleanup.enabled=false; cleanup.interval=1day;
  eventual.consistency.retry.base.sleep=50ms; eventual.consistency.retry.max.num=0;
  eventual.consistency.retry.max.sleep=30sec; io.threads=6; listing.length=1000; local.skip.broken.symlinks=false;
  logging.threshold=10s; ozone.prefixes=o3fs://,ofs://; persistence.async.temp.dir=.alluxio_ufs_persistence;
  strict.version.match.enabled=false; version=3.3.4
alluxio.underfs.cephfs: conf.file=/etc/ceph/ceph.conf; conf.options; localize.reads=false; mds.namespace;
  mon.host=0.0.0.0; mount.gid=0; mount.point=/; mount.uid=0
alluxio.underfs.cephfs.auth: id=admin; key; keyfile; keyring=/etc/ceph/ceph.client.admin.keyring
alluxio.underfs.gcs: default.mode=0700; directory.suffix=/; owner.id.to.username.mapping; version=2
alluxio.underfs.gcs.retry: delay.multiplier=2; initial.delay=1000; jitter=true; max=60; max.delay=1min;
  total.duration=5min
alluxio.underfs.hdfs: configuration=\${alluxio.conf.dir}/core-site.xml:\${alluxio.conf.dir}/hdfs-site.xml;
  impl=org.apache.hadoop.hdfs.DistributedFileSystem; prefixes=hdfs://,glusterfs:///; remote=true
alluxio.underfs.kodo: connect.timeout=50sec; downloadhost; endpoint; requests.max=64
alluxio.underfs.object.store: breadcrumbs.enabled=true; mount.shared.publicly=false;
  multi.range.chunk.size=\${alluxio.user.block.size.bytes.default}; service.threads=20;
  skip.parent.directory.creation=true; streaming.upload.part.timeout
alluxio.underfs.obs: intermediate.upload.clean.age=3day; streaming.upload.enabled=false;
  streaming.upload.partition.size=64MB; streaming.upload.threads=20
alluxio.underfs.oss: connection.max=1024; connection.timeout=50sec; connection.ttl=-1; default.mode=0700;
  ecs.ram.role; intermediate.upload.clean.age=3day; owner.id.to.username.mapping; retry.max=3; socket.timeout=50sec;
  streaming.upload.enabled=false; streaming.upload.partition.size=64MB; streaming.upload.threads=20;
  sts.ecs.metadata.service.endpoint=http://100.100.100.200/latest/meta-data/ram/security-credentials/;
  sts.enabled=false; sts.token.refresh.interval.ms=30m
alluxio.underfs.s3: admin.threads.max=20; bulk.delete.enabled=true; connection.ttl=-1; default.mode=0700;
  directory.suffix=/; disable.dns.buckets=false; endpoint; endpoint.region; inherit.acl=true;
  intermediate.upload.clean.age=3day; list.objects.v1=false; max.error.retry; owner.id.to.username.mapping;
  proxy.host; proxy.port; region; request.timeout=1min; secure.http.enabled=false;
  server.side.encryption.enabled=false; signer.algorithm; socket.timeout=50sec; streaming.upload.enabled=false;
  streaming.upload.partition.size=64MB; threads.max=40; upload.threads.max=20
alluxio.underfs.web: connnection.timeout=60s; header.last.modified=EEE, dd MMM yyyy HH:mm:ss zzz;
  parent.names=Parent Directory,..,../; titles=Index of,Directory listing for
alluxio.user: app.id; conf.cluster.default.enabled=true; conf.sync.interval=1min;
  date.format.pattern=MM-dd-yyyy HH:mm:ss:SSS; hdfs.client.exclude.mount.info.on.list.status=false; hostname;
  local.reader.chunk.size.bytes=8MB; local.writer.chunk.size.bytes=64KB; logging.threshold=10s;
  logs.dir=\${alluxio.logs.dir}/user; master.polling.concurrent=false; master.polling.timeout=30sec;
  metadata.cache.enabled=false; metadata.cache.expiration.time=10min; metadata.cache.max.size=100000;
  metrics.collection.enabled=true; metrics.heartbeat.interval=10sec; short.circuit.enabled=true;
  short.circuit.preferred=false; skip.authority.check=false; unsafe.direct.local.io.enabled=false;
  update.file.accesstime.disabled=false; worker.list.refresh.interval=2min
alluxio.user.block: avoid.eviction.policy.reserved.size.bytes=0MB; remote.read.buffer.size.bytes=8MB;
  size.bytes.default=64MB; worker.client.pool.gc.threshold=300sec; worker.client.pool.max=1024;
  worker.client.pool.min=0; write.location.policy.class=alluxio.client.block.policy.LocalFirstPolicy
alluxio.user.block.master.client.pool: gc.interval=120sec; gc.threshold=120sec; size.max=500; size.min=0
alluxio.user.block.read: metrics.enabled=false; retry.max.duration=5min; retry.sleep.base=250ms; retry.sleep.max=2sec
alluxio.user.client: report.version.enabled=false
alluxio.user.client.cache: async.restore.enabled=true; async.write.enabled=false; async.write.threads=16;
  dirs=/tmp/alluxio_cache; enabled=false; eviction.retries=10;
  evictor.class=alluxio.client.file.cache.evictor.LRUCacheEvictor; evictor.lfu.logbase=2.0;
  evictor.nondeterministic.enabled=false; fallback.enabled=false;
  filter.class=alluxio.client.file.cache.filter.DefaultCacheFilter;
  filter.config-file=\${alluxio.conf.dir}/cache_filter.properties; include.mtime=false; instream_buffer_size=0B;
  local.store.file.buckets=1000; page.size=1MB; quota.enabled=false; size=512MB; store.overhead; store.type=LOCAL;
  timeout.duration=-1; timeout.threads=32; ttl.check.interval.seconds=3600; ttl.enabled=false;
  ttl.threshold.seconds=10800
alluxio.user.client.cache.shadow: bloomfilter.num=4; enabled=false; memory.overhead=125MB; type=CLOCK_CUCKOO_FILTER;
  window=24h
alluxio.user.client.cache.shadow.cuckoo: clock.bits=6; scope.bits=8
alluxio.user.client.cache.shadow.cuckoo.size: bits=20; encoder.enabled=false; prefix.bits=8; suffix.bits=12
alluxio.user.file: buffer.bytes=8MB;
  copyfromlocal.block.location.policy.class=alluxio.client.block.policy.RoundRobinPolicy; create.ttl=-1;
  create.ttl.action=FREE; delete.unchecked=false; direct.access; in.stream.status.expiration.time=5min;
  include.operation.id=true; metadata.load.type=ONCE; metadata.sync.interval=-1; passive.cache.enabled=true;
  persist.on.rename=false; persistence.initial.wait.time=0; readtype.default=CACHE; replication.durable=1;
  replication.max=-1; replication.min=0; reserved.bytes=\${alluxio.user.block.size.bytes.default};
  sequential.pread.threshold=2MB; target.media; ufs.tier.enabled=false; waitcompleted.poll=1sec;
  writetype.default=ASYNC_THROUGH
alluxio.user.file.master.client.pool: gc.interval=120sec; gc.threshold=120sec; size.max=500; size.min=0
alluxio.user.file.write: init.max.duration=2min; init.sleep.max=5sec; init.sleep.min=1sec; tier.default=0
alluxio.user.network: data.timeout; flowcontrol.window; keepalive.time; keepalive.timeout; max.inbound.message.size;
  netty.channel; netty.worker.threads; reader.buffer.size.messages; reader.chunk.size.bytes; zerocopy.enabled
alluxio.user.network.rpc: flowcontrol.window=2MB; keepalive.time=30sec; keepalive.timeout=30sec; max.connections=1;
  max.inbound.message.size=100MB; netty.channel=EPOLL; netty.worker.threads=0
alluxio.user.network.streaming: flowcontrol.window=2MB; keepalive.time=9223372036854775807; keepalive.timeout=30sec;
  max.connections=64; max.inbound.message.size=100MB; netty.channel=EPOLL; netty.worker.threads=0
alluxio.user.network.writer: buffer.size.messages; chunk.size.bytes; close.timeout; flush.timeout
alluxio.user.rpc: retry.base.sleep=50ms; retry.max.duration=2min; retry.max.sleep=3sec; shuffle.masters.enabled=false
alluxio.user.streaming: data.read.timeout=3m; data.write.timeout=3m; reader.buffer.size.messages=16;
  reader.chunk.size.bytes=1MB; reader.close.timeout=5s; zerocopy.enabled=true
alluxio.user.streaming.writer: buffer.size.messages=16; chunk.size.bytes=1MB; close.timeout=30min; flush.timeout=30min
alluxio.user.ufs.block: location.all.fallback.enabled=true
alluxio.user.ufs.block.read: concurrency.max=2147483647
alluxio.user.ufs.block.read.location: policy=alluxio.client.block.policy.LocalFirstPolicy;
  policy.cache.expiration.time=10min; policy.cache.size=10000; policy.deterministic.hash.shards=1
alluxio.web: file.info.enabled=true; refresh.interval=15s; resources=\${alluxio.home}/webui/;
  threaddump.log.enabled=false; threads=1; ui.enabled=true
alluxio.web.cors: enabled=false; exposed.headers=*; max.age=-1
alluxio.web.cors.allow: credential=false; headers=*; methods=*; origins=*
alluxio.worker: allocator.class=alluxio.worker.block.allocator.MaxFreeAllocator; bind.host=0.0.0.0;
  container.hostname; evictor.class; free.space.timeout=10sec; fuse.enabled=false; hostname; jvm.monitor.enabled=true;
  keytab.file; master.connect.retry.timeout=1hour; master.periodical.rpc.timeout=5min; principal; ramdisk.size;
  remote.io.slow.threshold=10s; reviewer.class=alluxio.worker.block.reviewer.ProbabilisticBufferReviewer;
  reviewer.probabilistic.hardlimit.bytes=64MB; reviewer.probabilistic.softlimit.bytes=256MB; session.timeout=1min;
  startup.timeout=10min; storage.checker.enabled=true; ufs.instream.cache.enabled=true;
  ufs.instream.cache.expiration.time=5min; ufs.instream.cache.max.size=5000; web.bind.host=0.0.0.0; web.hostname;
  web.port=30000; whitelist=/
alluxio.worker.block: annotator.class=alluxio.worker.block.annotator.LRUAnnotator;
  annotator.lrfu.attenuation.factor=2.0; annotator.lrfu.step.factor=0.25; heartbeat.interval=1sec;
  heartbeat.report.size.threshold=1000000; heartbeat.timeout=\${alluxio.worker.master.connect.retry.timeout};
  master.client.pool.size=11; store.type=FILE
alluxio.worker.data: folder=/alluxioworker/; folder.permissions=rwxrwxrwx; folder.tmp=.tmp_blocks;
  server.domain.socket.address; server.domain.socket.as.uuid=false; tmp.subdir.max=1024
alluxio.worker.management: backoff.strategy=ANY; block.transfer.concurrency.limit=2;
  load.detection.cool.down.time=10sec; task.thread.count=4
alluxio.worker.management.tier: align.enabled=true; align.range=100; align.reserved.bytes=1GB; promote.enabled=true;
  promote.quota.percent=90; promote.range=100; swap.restore.enabled=true
alluxio.worker.network: async.cache.manager.queue.max=512; async.cache.manager.threads.max=8;
  block.reader.threads.max=2048; block.writer.threads.max=1024; flowcontrol.window=2MB; keepalive.time=30sec;
  keepalive.timeout=30sec; max.inbound.message.size=4MB; permit.keepalive.time=30s; reader.buffer.pooled=true;
  reader.buffer.size=4MB; reader.max.chunk.size.bytes=2MB; shutdown.timeout=15sec; writer.buffer.size.messages=8;
  zerocopy.enabled=true
alluxio.worker.network.netty: boss.threads=1; channel=EPOLL; shutdown.quiet.period=2sec; watermark.high=32KB;
  watermark.low=8KB; worker.threads=4
alluxio.worker.page.store: async.restore.enabled=true; async.write.enabled=false; async.write.threads=16;
  dirs=/tmp/alluxio_cache; eviction.retries=10; evictor.class=alluxio.client.file.cache.evictor.LRUCacheEvictor;
  evictor.lfu.logbase=2.0; evictor.nondeterministic.enabled=false; local.store.file.buckets=1000; overhead=0.1;
  page.size=1MB; quota.enabled=false; sizes=512MB; timeout.duration=-1; timeout.threads=32; type=LOCAL
alluxio.worker.register: to.all.masters=false
alluxio.worker.register.lease: enabled=\${alluxio.master.worker.register.lease.enabled};
  retry.max.duration=\${alluxio.worker.master.connect.retry.timeout}; retry.sleep.max=10sec; retry.sleep.min=1sec
alluxio.worker.register.stream: batch.size=1000000; complete.timeout=5min; deadline=15min; enabled=true;
  response.timeout=\${alluxio.master.worker.register.stream.response.timeout}
alluxio.worker.rpc: port=29999
alluxio.worker.rpc.executor: core.pool.size=100; fjp.async=true; fjp.min.runnable=1; fjp.parallelism=8;
  keepalive=60sec; max.pool.size=1000; tpe.allow.core.threads.timeout=true;
  tpe.queue.type=LINKED_BLOCKING_QUEUE_WITH_CAP; type=TPE
alluxio.worker.tieredstore: block.lock.readers=1000; block.locks=1000; free.ahead.bytes=0; levels=1
alluxio.worker.tieredstore.level0: alias=MEM; dirs.mediumtype=\${alluxio.worker.tieredstore.level0.alias};
  dirs.path=/mnt/ramdisk; dirs.quota=\${alluxio.worker.ramdisk.size}; watermark.high.ratio=0.95;
  watermark.low.ratio=0.7
alluxio.worker.tieredstore.level1: alias; dirs.mediumtype=\${alluxio.worker.tieredstore.level1.alias}; dirs.path;
  dirs.quota; watermark.high.ratio=0.95; watermark.low.ratio=0.7
alluxio.worker.tieredstore.level2: alias; dirs.mediumtype=\${alluxio.worker.tieredstore.level2.alias}; dirs.path;
  dirs.quota; watermark.high.ratio=0.95; watermark.low.ratio=0.7
alluxio.zookeeper: address; auth.enabled=true; connection.timeout=15s; election.path=/alluxio/election; enabled=false;
  job.election.path=/alluxio/job_election; job.leader.path=/alluxio/job_leader;
  leader.connection.error.policy=SESSION; leader.inquiry.retry=10; leader.path=/alluxio/leader; session.timeout=60s
fs: gcs.accessKeyId; gcs.credential.path; gcs.secretAccessKey; kodo.accesskey; kodo.secretkey; oss.accessKeyId;
  oss.accessKeySecret; oss.endpoint
fs.azure.account.oauth2: client.endpoint; client.id; client.secret; msi.endpoint; msi.tenant
fs.cos: access.key; app.id; connection.max=1024; connection.timeout=50sec; region; secret.key; socket.timeout=50sec
fs.obs: accessKey; bucketType=obs; endpoint=obs.myhwclouds.com; secretKey
fs.swift: auth.method; auth.url; password; region; simulation; tenant; user
s3a: accessKeyId; secretKey
`;

/** Spellings of Alluxio 1.x and 2.x that are in no table here. */
const OLD_NAMES = `
alluxio.master.journal.flush.batch.time.ms alluxio.master.journal.flush.timeout.ms
alluxio.master.journal.gc.period.ms alluxio.master.journal.gc.threshold.ms alluxio.master.format.file_prefix
alluxio.master.journal.tailer.sleep.time.ms alluxio.master.journal.tailer.shutdown.quiet.wait.time.ms
alluxio.master.ttl.checker.interval.ms alluxio.worker.session.timeout.ms alluxio.worker.fuse.mount.point
alluxio.network.host.resolution.timeout.ms alluxio.security.group.mapping.cache.timeout.ms
alluxio.underfs.s3a.inherit_acl
`;

function expand(): Map<string, string | null> {
  const names = new Map<string, string | null>();
  let prefix = "";
  for (const line of GROUPS.trim().split("\n")) {
    const colon = line.startsWith(" ") ? null : /^[\w.-]+:/.exec(line);
    if (colon !== null) prefix = colon[0].slice(0, -1);
    for (const item of line.slice(colon?.[0].length ?? 0).split(/;\s*/)) {
      const text = item.trim();
      const equals = text.indexOf("=");
      if (text === "") continue;
      const rest = equals < 0 ? text : text.slice(0, equals);
      names.set(`${prefix}.${rest}`, equals < 0 ? null : text.slice(equals + 1));
    }
  }
  for (const name of OLD_NAMES.trim().split(/\s+/)) names.set(name, null);
  return names;
}

/** Each name, and its default; null when it has none. */
export const ACCEPTED_NAMES: ReadonlyMap<string, string | null> = expand();

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
