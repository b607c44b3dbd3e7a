import assert from "node:assert/strict";
import { after, test } from "node:test";
import { FILE, startMaster, stopMasters, withStatus } from "../../test/fakes/masters.ts";
import { RockpoolError } from "../common/errors.ts";
import type { BlockId, InodeId } from "../common/ids.ts";
import { parsePath } from "../common/path.ts";
import { BlockMasterClientService, BlockMasterWorkerService } from "../proto/gen/block_master.ts";
import { CommandType } from "../proto/gen/common.ts";
import { FileSystemMasterWorkerService } from "../proto/gen/file_system_master.ts";
import {
  JournalDomain,
  JournalMasterClientService,
  NodeState,
  QuorumServerState,
} from "../proto/gen/journal_master.ts";
import {
  BackupState,
  ConfigStatus,
  MetaCommand,
  MetaMasterClientService,
  MetaMasterConfigurationService,
  MetaMasterMasterService,
} from "../proto/gen/meta_master.ts";
import { MetricsMasterClientService } from "../proto/gen/metric_master.ts";
import { ConfigurationAdmin, JournalAdmin } from "../proto/gen/rockpool_internal.ts";

const journal = JournalMasterClientService.methods;
const admin = JournalAdmin.methods;
const fsWorker = FileSystemMasterWorkerService.methods;
const blockClient = BlockMasterClientService.methods;
const blockWorker = BlockMasterWorkerService.methods;
const meta = MetaMasterClientService.methods;
const config = MetaMasterConfigurationService.methods;

after(stopMasters);

test("a registration counts when its stream is half-closed, and never when it breaks off", async () => {
  const { channel, calls } = await startMaster();
  const blocks = { key: { tierAlias: "MEM", mediumType: "MEM" }, value: { blockId: [1n, 2n] } };
  const first = {
    workerId: 7n,
    storageTiers: ["MEM"],
    totalBytesOnTiers: new Map([["MEM", 10]]),
    currentBlocks: [blocks],
  };
  const registering = await channel.bidi(blockWorker.RegisterWorkerStream);
  registering.send(first);
  await registering.responses.next();
  registering.send({ workerId: 7n, currentBlocksOnTiers: new Map([["SSD", { tiers: [3n] }]]) });
  await registering.responses.next();
  assert.deepEqual(
    calls.map(([name]) => name),
    ["begin", "addBlocks", "addBlocks"],
  );
  registering.end();
  assert.equal((await registering.responses.next()).done, true);
  assert.deepEqual(calls.slice(1), [
    ["addBlocks", [{ tierAlias: "MEM", mediumType: "MEM", blockIds: [1n, 2n] }]],
    ["addBlocks", [{ tierAlias: "SSD", mediumType: "SSD", blockIds: [3n] }]],
    ["finish"],
  ]);
  calls.length = 0;
  const broken = await channel.bidi(blockWorker.RegisterWorkerStream);
  broken.send(first);
  await broken.responses.next();
  broken.cancel();
  const headless = await channel.bidi(blockWorker.RegisterWorkerStream);
  headless.send({ workerId: 7n });
  await assert.rejects(headless.responses.next(), withStatus("INVALID_ARGUMENT"));
  assert.deepEqual(
    calls.map(([name]) => name),
    ["begin", "addBlocks"],
  );
});

test("heartbeats carry what changed and bring back the master's order", async () => {
  const fake = await startMaster();
  const beat = () =>
    fake.channel.unary(blockWorker.BlockHeartbeat, {
      workerId: 7n,
      usedBytesOnTiers: new Map([["MEM", 5]]),
      removedBlockIds: [4n],
      options: { capacityBytesOnTiers: new Map([["MEM", 50]]) },
    });
  assert.equal((await beat()).command?.commandType, CommandType.Nothing);
  assert.deepEqual(fake.calls[0]?.[2], {
    usedBytesOnTiers: { MEM: 5 },
    capacityBytesOnTiers: { MEM: 50 },
    added: [],
    removed: [4n],
  });
  fake.reply = { kind: "register" };
  assert.equal((await beat()).command?.commandType, CommandType.Register);
  fake.reply = { kind: "free", blockIds: [9n as BlockId] };
  assert.deepEqual((await beat()).command, { commandType: CommandType.Free, data: [9n] });
});

test("workers learn ids, leases, mounts, pins and files", async () => {
  const { channel, calls } = await startMaster();
  const workerNetAddress = { host: "worker1", rpcPort: 1 };
  assert.equal((await channel.unary(blockWorker.GetWorkerId, { workerNetAddress })).workerId, 7n);
  await assert.rejects(channel.unary(blockWorker.GetWorkerId, {}), withStatus("INVALID_ARGUMENT"));
  const lease = await channel.unary(blockWorker.RequestRegisterLease, { workerId: 7n });
  assert.deepEqual([lease.allowed, lease.expiryMs], [true, 160_000]);
  const { ufsInfo } = await channel.unary(fsWorker.GetUfsInfo, { mountId: 1n });
  assert.deepEqual([ufsInfo?.uri, ufsInfo?.properties?.shared], ["/ufs", true]);
  const noMount = channel.unary(fsWorker.GetUfsInfo, { mountId: 2n });
  await assert.rejects(noMount, withStatus("NOT_FOUND"));
  const { pinnedFileIds } = await channel.unary(fsWorker.GetPinnedFileIds, {});
  assert.deepEqual(pinnedFileIds, [FILE.id]);
  const { fileInfo } = await channel.unary(fsWorker.GetFileInfo, { fileId: FILE.id });
  assert.equal(fileInfo?.path, "/d/f");
  assert.deepEqual(calls.at(-1)?.[3], { loadMetadata: "never", accessBits: 0 });
  await channel.unary(blockWorker.CommitBlock, {
    workerId: 7n,
    blockId: 5n,
    length: 9,
    tierAlias: "MEM",
  });
  assert.deepEqual(calls.at(-1)?.slice(1), [
    7n,
    { blockId: 5n, lengthBytes: 9, tierAlias: "MEM", mediumType: "MEM", usedBytesOnTier: 0 },
  ]);
});

test("reports sum live workers and keep to the fields asked for", async () => {
  const { channel } = await startMaster();
  assert.equal((await channel.unary(blockClient.GetCapacityBytes, {})).bytes, 6000);
  assert.equal((await channel.unary(blockClient.GetUsedBytes, {})).bytes, 100);
  const { blockMasterInfo } = await channel.unary(blockClient.GetBlockMasterInfo, {
    filters: [3, 4, 5],
  });
  assert.deepEqual(
    [blockMasterInfo?.freeBytes, blockMasterInfo?.liveWorkerNum, blockMasterInfo?.lostWorkerNum],
    [5900, 1, 1],
  );
  assert.equal(blockMasterInfo?.capacityBytes, undefined);
  const report = await channel.unary(blockClient.GetWorkerReport, {
    workerRange: 3,
    fieldRanges: [4, 7],
  });
  assert.equal(report.workerInfos.length, 1);
  assert.deepEqual([report.workerInfos[0]?.id, report.workerInfos[0]?.state], [8n, "LOST"]);
  assert.equal(report.workerInfos[0]?.address, undefined);
});

test("the configuration has what Alluxio's client cannot do without, under a stable hash", async () => {
  const [one, two] = [await startMaster(true), await startMaster(false)];
  const anonymous = { isAuthenticated: false };
  const answer = await one.channel.unary(config.GetConfiguration, { rawValue: true }, anonymous);
  const values = new Map(answer.clusterConfigs.map(({ name, value }) => [name, value]));
  assert.equal(values.get("alluxio.version"), "2.9.4");
  assert.ok(values.get("alluxio.underfs.version"));
  assert.equal(values.get("alluxio.user.file.writetype.default"), "CACHE_THROUGH");
  for (const { channel } of [one, two]) {
    const hashes = await channel.unary(config.GetConfigHash, {}, anonymous);
    assert.equal(hashes.clusterConfigHash, answer.clusterConfigHash);
    assert.equal(hashes.pathConfigHash, answer.pathConfigHash);
  }
});

test("a person who asks for the configuration gets all of the master's, with sources; a client gets paths too", async () => {
  const { channel } = await startMaster(false);
  const anonymous = { isAuthenticated: false };
  const options = { ignorePathConf: true };
  const shown = await channel.unary(config.GetConfiguration, options, anonymous);
  assert.deepEqual(shown.clusterConfigs[1], {
    name: "alluxio.master.worker.timeout",
    source: "SITE_PROPERTY (f:3)",
    value: "1min",
  });
  assert.equal(shown.pathConfigs.size, 0);
  const taken = await channel.unary(config.GetConfiguration, { rawValue: true }, anonymous);
  assert.deepEqual(taken.pathConfigs.get("/p")?.properties, [
    { name: "alluxio.user.file.readtype.default", source: "PATH_DEFAULT", value: "NO_CACHE" },
  ]);
});

test("defaults of paths and changes at run time are for the logged-in superuser", async () => {
  const { channel, calls } = await startMaster();
  const root = await startMaster(true, {}, "root");
  const properties = new Map([["alluxio.user.x", "1"]]);
  const set = { path: "/a/", properties };
  await assert.rejects(
    channel.unary(config.SetPathConfiguration, set, { isAuthenticated: false }),
    withStatus("UNAUTHENTICATED"),
  );
  const denied = withStatus("PERMISSION_DENIED");
  await assert.rejects(channel.unary(config.SetPathConfiguration, set), denied);
  await assert.rejects(channel.unary(config.UpdateConfiguration, { properties }), denied);
  assert.deepEqual(calls, []);
  await root.channel.unary(config.SetPathConfiguration, set);
  await root.channel.unary(config.RemovePathConfiguration, { path: "/a", keys: ["k"] });
  const update = {
    properties: new Map([
      ["good", "1"],
      ["bad", "2"],
    ]),
  };
  const { status } = await root.channel.unary(config.UpdateConfiguration, update);
  assert.deepEqual(
    [...status],
    [
      ["good", true],
      ["bad", false],
    ],
  );
  assert.deepEqual(root.calls, [
    ["setPathDefaults", "root", "/a", [{ name: "alluxio.user.x", value: "1" }]],
    ["removePathDefaults", "root", "/a", ["k"]],
    ["update", "root"],
  ]);
  const standby = await startMaster(false, {}, "root");
  await assert.rejects(
    standby.channel.unary(config.SetPathConfiguration, set),
    withStatus("UNAVAILABLE"),
  );
  await standby.channel.unary(config.UpdateConfiguration, update);
});

test("S0-66.1 standbys and workers report their configurations, and the leader compares them", async () => {
  const { channel } = await startMaster();
  const { methods } = MetaMasterMasterService;
  const type = { name: "alluxio.master.journal.type", source: "SITE_PROPERTY (s:9)", value: "UFS" };
  const masterAddress = { host: "m2", rpcPort: 19998 };
  const { masterId } = await channel.unary(methods.GetMasterId, { masterAddress });
  const beat = async () => (await channel.unary(methods.MasterHeartbeat, { masterId })).command;
  assert.equal(await beat(), MetaCommand.MetaCommand_Register);
  assert.equal((await channel.unary(meta.GetConfigReport, {})).report?.status, ConfigStatus.PASSED);
  await channel.unary(methods.RegisterMaster, { masterId, options: { configs: [type] } });
  assert.equal(await beat(), MetaCommand.MetaCommand_Nothing);
  await assert.rejects(
    channel.unary(methods.RegisterMaster, { masterId: 5n }),
    withStatus("NOT_FOUND"),
  );
  const { report } = await channel.unary(meta.GetConfigReport, {});
  assert.equal(report?.status, ConfigStatus.FAILED);
  const [differing] = report?.errors.get("ALL")?.properties ?? [];
  assert.equal(differing?.name, "alluxio.master.journal.type");
  assert.deepEqual(differing?.values.get("UFS")?.values, ["m2:19998"]);
  assert.deepEqual(differing?.values.get("EMBEDDED")?.values, ["m1:19998"]);
  const worker = { name: "alluxio.worker.x", source: "ENVIRONMENT", value: "1" };
  await channel.unary(blockWorker.RegisterWorker, {
    workerId: 7n,
    storageTiers: ["MEM"],
    options: { configs: [worker] },
  });
  const { GetNodeConfigurations } = ConfigurationAdmin.methods;
  const { nodes } = await channel.unary(GetNodeConfigurations, {});
  assert.deepEqual(
    nodes.map(({ address, isMaster }) => [address, isMaster]),
    [
      ["m1:19998", true],
      ["m2:19998", true],
      ["worker1:29999", false],
    ],
  );
  assert.deepEqual(nodes[2]?.properties, [worker]);
});

test("administrators see masters, versions and metrics", async () => {
  const { channel } = await startMaster();
  const { masterInfo } = await channel.unary(meta.GetMasterInfo, {});
  assert.equal(masterInfo?.leaderMasterAddress, "m1:19998");
  assert.deepEqual(
    masterInfo?.masterVersions.map(({ addresses, state }) => [addresses?.host, state]),
    [
      ["m1", "PRIMARY"],
      ["m2", "STANDBY"],
    ],
  );
  assert.equal(masterInfo?.upTimeMs, 60_000);
  const filtered = await channel.unary(meta.GetMasterInfo, { filter: [2] });
  assert.deepEqual(
    [filtered.masterInfo?.rpcPort, filtered.masterInfo?.version],
    [19998, undefined],
  );
  const { metrics } = await channel.unary(MetricsMasterClientService.methods.GetMetrics, {});
  assert.equal(metrics.get("Cluster.Workers")?.doubleValue, 1);
  assert.equal(metrics.get("Master.Role")?.stringValue, "PRIMARY");
});

test("GetFileInfo of a file that is renamed while it is looked up never takes it for gone or for another", async () => {
  const paths = ["/left", "/taken", "/d/f"];
  const { channel } = await startMaster(true, {
    getFilePath: async () => {
      const path = paths.shift();
      if (path === undefined) throw new RockpoolError("NOT_FOUND", "inodeId 1 does not exist");
      return parsePath(path);
    },
    getStatus: async (_call, path) => {
      if (path === "/left") throw new RockpoolError("NOT_FOUND", 'Path "/left" does not exist.');
      return path === "/taken" ? { ...FILE, id: (FILE.id + 0x100_0000n) as InodeId } : FILE;
    },
  });
  const ask = () => channel.unary(fsWorker.GetFileInfo, { fileId: FILE.id });
  assert.equal((await ask()).fileInfo?.fileId, FILE.id);
  paths.push("/left");
  await assert.rejects(ask(), withStatus("NOT_FOUND", /inodeId 1/));
  paths.push(...Array.from({ length: 9 }, () => "/left"));
  await assert.rejects(ask(), withStatus("UNAVAILABLE"));
});

test("the quorum is shown by every master, and changed by the leader for a superuser", async () => {
  const standby = await startMaster(false, {}, "root");
  const { domain, serverInfo } = await standby.channel.unary(journal.GetQuorumInfo, {});
  assert.equal(domain, JournalDomain.MASTER);
  assert.deepEqual(
    serverInfo.map(({ serverAddress, serverState, isLeader, priority }) => [
      `${serverAddress?.host}:${serverAddress?.rpcPort}`,
      serverState === QuorumServerState.AVAILABLE,
      isLeader,
      priority,
    ]),
    [
      ["m1:19200", true, true, 1],
      ["m2:19200", true, false, 1],
      ["m3:19200", false, false, 0],
    ],
  );
  assert.equal((await standby.channel.unary(admin.GetRaftReport, {})).address, "m1:19200");
  assert.equal(
    (await standby.channel.unary(journal.GetNodeState, {})).nodeState,
    NodeState.STANDBY,
  );
  const m2 = { serverAddress: { host: "m2", rpcPort: 19200 } };
  const unavailable = withStatus("UNAVAILABLE");
  await assert.rejects(standby.channel.unary(journal.RemoveQuorumServer, m2), unavailable);
  await assert.rejects(standby.channel.unary(journal.TransferLeadership, m2), unavailable);
  const alice = await startMaster(true);
  const denied = withStatus("PERMISSION_DENIED", /User alice may not/);
  await assert.rejects(alice.channel.unary(journal.RemoveQuorumServer, m2), denied);
  await assert.rejects(alice.channel.unary(journal.TransferLeadership, m2), denied);
  await assert.rejects(alice.channel.unary(admin.AddQuorumServer, { address: "m4:1" }), denied);
  await assert.rejects(alice.channel.unary(meta.Checkpoint, {}), denied);
  await assert.rejects(alice.channel.unary(meta.Backup, {}), denied);
  assert.deepEqual([standby.calls, alice.calls], [[], []]);
});

test("members are removed and added by address; one that nobody has is an error that lists those there are", async () => {
  const { channel, calls } = await startMaster(true, {}, "root");
  const at = (host: string) => ({ serverAddress: { host, rpcPort: 19200 } });
  await channel.unary(journal.RemoveQuorumServer, at("m2"));
  await channel.unary(admin.AddQuorumServer, { address: "m4:19200", timeoutMs: 5 });
  assert.deepEqual(calls, [
    ["removeMember", "m2:19200"],
    ["addMember", "m4:19200", 5],
  ]);
  const unknown = withStatus(
    "NOT_FOUND",
    /^m9:19200 is no member of the quorum: its members are m1:19200, m2:19200, m3:19200$/,
  );
  await assert.rejects(channel.unary(journal.RemoveQuorumServer, at("m9")), unknown);
  await assert.rejects(channel.unary(journal.TransferLeadership, at("m9")), unknown);
});

test("a hand-over is begun, then asked after; the leader itself and learners are refused", async () => {
  const { channel, calls } = await startMaster(true, {}, "root");
  const to = (host: string) =>
    channel.unary(journal.TransferLeadership, { serverAddress: { host, rpcPort: 19200 } });
  await assert.rejects(
    to("m1"),
    withStatus("FAILED_PRECONDITION", /^m1:19200 is already the leader$/),
  );
  await assert.rejects(to("m3"), withStatus("FAILED_PRECONDITION", /is a learner/));
  assert.deepEqual(calls, []);
  const { transferId } = await to("m2");
  const answer = await channel.unary(journal.GetTransferLeaderMessage, { transferId });
  assert.equal(answer.transMsg.msg, "it did not catch up");
  const other = await channel.unary(journal.GetTransferLeaderMessage, { transferId: "?" });
  assert.equal(other.transMsg.msg, "");
  await channel.unary(journal.ResetPriorities, {});
});

test("one backup runs at a time, and is asked after by its id", async () => {
  const fake = await startMaster(true, {}, "root");
  let end = () => {};
  fake.backup = new Promise((resolve) => {
    end = resolve;
  });
  const options = { runAsync: true, localFileSystem: true };
  const { backupId = "" } = await fake.channel.unary(meta.Backup, {
    targetDirectory: "/b",
    options,
  });
  const status = () => fake.channel.unary(meta.GetBackupStatus, { backupId });
  const running = await status();
  assert.deepEqual([running.backupState, running.entryCount], [BackupState.Running, 3]);
  const second = fake.channel.unary(meta.Backup, {});
  await assert.rejects(second, withStatus("FAILED_PRECONDITION", /^Backup in progress$/));
  end();
  let done = await status();
  while (done.backupState === BackupState.Running) done = await status();
  assert.deepEqual(
    [done.backupState, done.backupHost, done.backupUri, done.entryCount],
    [BackupState.Completed, "m1", "file:///backups/b", 7],
  );
  assert.deepEqual(fake.calls[0], ["backup", { directory: "/b", isLocal: true }]);
  const unknown = await fake.channel.unary(meta.GetBackupStatus, { backupId: "?" });
  assert.equal(unknown.backupState, BackupState.None);
});

test("a backup that fails says why to whoever asks", async () => {
  const fake = await startMaster(true, {}, "root");
  fake.backup = Promise.reject(new RockpoolError("RESOURCE_EXHAUSTED", "No room in /b"));
  fake.backup.catch(() => undefined);
  await assert.rejects(
    fake.channel.unary(meta.Backup, {}),
    withStatus("RESOURCE_EXHAUSTED", /No room/),
  );
});
