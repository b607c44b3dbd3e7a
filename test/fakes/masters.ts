/**
 * Masters behind real services and a real port, which note what they are asked and answer what a test sets.
 * @module
 */
import { isRockpoolError, RockpoolError } from "../../src/common/errors.ts";
import type { BlockId, InodeId, WorkerId } from "../../src/common/ids.ts";
import { type Path, parsePath } from "../../src/common/path.ts";
import type {
  BlockMaster,
  FileInfo,
  FileSystemMaster,
  HeartbeatReply,
  WorkerInfo,
} from "../../src/master/api.ts";
import { BackupJobs } from "../../src/master/backup_jobs.ts";
import { ConfigReports } from "../../src/master/config_reports.ts";
import type { ConfigurationPort } from "../../src/master/configuration_port.ts";
import { masterServices } from "../../src/master/services.ts";
import type { JournalPort, QuorumMember } from "../../src/master/services_journal.ts";
import type { MasterServicePorts } from "../../src/master/services_ports.ts";
import { openChannel, type RpcChannel } from "../../src/rpc/channel.ts";
import { GrpcServer } from "../../src/rpc/grpc_server.ts";
import { SaslAuthentication } from "../../src/rpc/sasl.ts";

const cleanups: (() => unknown)[] = [];

/** Closes every server and channel that was made. */
export async function stopMasters(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}

const ADDRESS = {
  host: "worker1",
  containerHost: "",
  rpcPort: 29999,
  dataPort: 29998,
  webPort: 30000,
  domainSocketPath: "",
  tiers: [],
};

export const FILE: FileInfo = {
  id: 0x1ff_ffffn as InodeId,
  name: "f",
  path: "/d/f" as Path,
  ufsPath: "/ufs/d/f",
  isDirectory: false,
  isCompleted: true,
  isPinned: false,
  isMountPoint: false,
  mountId: 1n,
  lengthBytes: 100,
  blockSizeBytes: 64,
  createdMs: 1_700_000_000_001,
  modifiedMs: 1_700_000_000_002,
  accessedMs: 1_700_000_000_003,
  owner: "alice",
  group: "staff",
  mode: 0o640,
  ttlMs: -1,
  ttlAction: "FREE",
  persistence: "TO_BE_PERSISTED",
  replicationMin: 0,
  replicationMax: -1,
  ufsFingerprint: "",
  xattr: { k: Uint8Array.of(1, 2) },
  blocks: [
    {
      blockId: 0x100_0000n as BlockId,
      lengthBytes: 64,
      locations: [
        {
          workerId: 7n as WorkerId,
          workerAddress: ADDRESS,
          tierAlias: "MEM",
          mediumType: "MEM",
        },
      ],
    },
    { blockId: 0x100_0001n as BlockId, lengthBytes: 36, locations: [] },
  ],
  inAlluxioPercentage: 64,
  inMemoryPercentage: 64,
};

const WORKER: WorkerInfo = {
  id: 7n as WorkerId,
  address: ADDRESS,
  isLive: true,
  isDecommissioned: false,
  lastContactMs: 90_000,
  startedMs: 50_000,
  tiers: [
    { alias: "MEM", capacityBytes: 1000, usedBytes: 100 },
    { alias: "SSD", capacityBytes: 5000, usedBytes: 0 },
  ],
  buildVersion: "2.9.4",
  buildRevision: "r",
  vcpuCount: 2,
  blockCount: 1,
};

export type Fake = {
  readonly channel: RpcChannel;
  readonly calls: unknown[][];
  isServing: boolean;
  reply: HeartbeatReply;
  listed: { batches: FileInfo[][]; hasReturned: boolean };
  /** A backup ends with it. */
  backup: Promise<void>;
};

/** Two voters, of which this one leads, and a learner. */
function fakeJournal({ calls }: Pick<Fake, "calls">): JournalPort {
  const member = (address: string, about: Partial<QuorumMember> = {}): QuorumMember => ({
    address,
    isSelf: false,
    isLeader: false,
    isVoter: true,
    isAvailable: true,
    ...about,
  });
  const members = [
    member("m1:19200", { isSelf: true, isLeader: true }),
    member("m2:19200"),
    member("m3:19200", { isVoter: false, isAvailable: false }),
  ];
  return {
    members: () => members,
    report: async () => ({
      address: "m1:19200",
      role: "leader",
      isServing: true,
      term: 2,
      lastIndex: 9,
      commitIndex: 9,
      appliedIndex: 9,
      diskFreeBytes: 1,
      diskTotalBytes: 2,
      isReadOnly: false,
      repairCount: 0,
    }),
    transferTo: async (address) => {
      calls.push(["transferTo", address]);
      throw new RockpoolError("DEADLINE_EXCEEDED", "it did not catch up");
    },
    addMember: async (...given) => void calls.push(["addMember", ...given]),
    removeMember: async (address) => void calls.push(["removeMember", address]),
    checkpoint: async () => "m1",
  };
}

/** What a master was started with, and defaults of one path. */
function fakeConfiguration({ calls }: Pick<Fake, "calls">): ConfigurationPort {
  const clock = { wallMs: () => 100_000, monotonicMs: () => 0 };
  return {
    address: "m1:19998",
    reports: new ConfigReports(clock, () => 60_000),
    clusterDefaults: () =>
      new Map([
        ["alluxio.user.file.writetype.default", "CACHE_THROUGH"],
        ["alluxio.a", "1"],
      ]),
    entries: () => [
      { name: "alluxio.master.journal.type", source: "DEFAULT", value: "EMBEDDED" },
      { name: "alluxio.master.worker.timeout", source: "SITE_PROPERTY (f:3)", value: "1min" },
    ],
    pathDefaults: () =>
      new Map([["/p", [{ name: "alluxio.user.file.readtype.default", value: "NO_CACHE" }]]]),
    setPathDefaults: async (who, path, properties) =>
      void calls.push(["setPathDefaults", who.user, path, properties]),
    removePathDefaults: async (who, path, names) =>
      void calls.push(["removePathDefaults", who.user, path, names]),
    update: (properties, user) => {
      calls.push(["update", user]);
      return new Map([...properties].map(([name]) => [name, name === "good" ? null : "no"]));
    },
  };
}

/** Masters that write down what they are asked, and answer with what the tests set. */
function fakeMasters(
  fake: Omit<Fake, "channel">,
): Pick<MasterServicePorts, "fileSystem" | "blocks"> {
  const note =
    <R>(name: string, result: R) =>
    (...given: unknown[]): R => {
      fake.calls.push([name, ...given]);
      return result;
    };
  const fileSystem: FileSystemMaster = {
    async getStatus(call, path, options) {
      fake.calls.push(["getStatus", call, path, options]);
      if (path === "/missing")
        throw new RockpoolError("NOT_FOUND", 'Path "/missing" does not exist.');
      return FILE;
    },
    exists: note("exists", Promise.resolve(true)),
    checkAccess: note("checkAccess", Promise.resolve()),
    async *listStatus(call, path, options) {
      fake.calls.push(["listStatus", call, path, options]);
      try {
        yield* fake.listed.batches;
      } finally {
        fake.listed.hasReturned = true;
      }
    },
    listStatusPartial: note(
      "listStatusPartial",
      Promise.resolve({ fileInfos: [FILE], isTruncated: true, fileCount: 5 }),
    ),
    createDirectory: note("createDirectory", Promise.resolve()),
    createFile: note("createFile", Promise.resolve(FILE)),
    newBlockId: note("newBlockId", Promise.resolve(0x200_0000n as BlockId)),
    completeFile: note("completeFile", Promise.resolve()),
    remove: note("remove", Promise.resolve()),
    rename: note("rename", Promise.resolve()),
    setAttribute: note("setAttribute", Promise.resolve()),
    scheduleAsyncPersistence: note("scheduleAsyncPersistence", Promise.resolve()),
    free: note("free", Promise.resolve()),
    checkConsistency: note("checkConsistency", Promise.resolve([parsePath("/d/g")])),
    getFilePath: note("getFilePath", Promise.resolve(parsePath("/d/f"))),
    mountPoints: note(
      "mountPoints",
      Promise.resolve([
        {
          path: parsePath("/"),
          mountId: 1n,
          ufsUri: "/ufs",
          ufsType: "local",
          ufsCapacityBytes: -1,
          ufsUsedBytes: 10,
          isReadOnly: false,
          isShared: true,
        },
      ]),
    ),
    reverseResolve: note("reverseResolve", Promise.resolve(parsePath("/x"))),
  };
  const blocks: BlockMaster = {
    workerIdOf: note("workerIdOf", 7n as WorkerId),
    beginRegistration(id, worker) {
      fake.calls.push(["begin", id, worker]);
      return { addBlocks: note("addBlocks", undefined), finish: note("finish", undefined) };
    },
    heartbeat(id, report) {
      fake.calls.push(["heartbeat", id, report]);
      return fake.reply;
    },
    commitBlock: note("commitBlock", Promise.resolve()),
    commitBlockInUfs: note("commitBlockInUfs", Promise.resolve()),
    getBlockInfo: note("getBlockInfo", Promise.resolve(FILE.blocks[0] as (typeof FILE.blocks)[0])),
    setStanding: () => {},
    leave: note("leave", undefined),
    workers: () => [WORKER, { ...WORKER, id: 8n as WorkerId, isLive: false }],
    locationsOf: () => [],
    blocksRemoved: () => {},
  };
  return { fileSystem, blocks };
}

/** @param own what the namespace shall do in its own way */
export async function startMaster(
  isServing = true,
  own: Partial<FileSystemMaster> = {},
  user = "alice",
): Promise<Fake> {
  const fake: Omit<Fake, "channel"> = {
    calls: [],
    isServing,
    reply: { kind: "nothing" },
    listed: { batches: [], hasReturned: false },
    backup: Promise.resolve(),
  };
  const sasl = new SaslAuthentication({
    impersonation: new Map(),
    groupsOf: async () => [],
    staleMs: 1e9,
    nowMs: () => Date.now(),
  });
  const server = new GrpcServer({ authenticator: sasl, messageBytesMax: 1e6 });
  cleanups.push(() => server.close(0));
  const { fileSystem, blocks } = fakeMasters(fake);
  const ports: MasterServicePorts = {
    fileSystem: { ...fileSystem, ...own },
    blocks,
    isServing: () => fake.isServing,
    principalOf: ({ user }) => ({ user, groups: [`${user}s`], isSuperuser: user === "root" }),
    pinnedFileIds: () => [FILE.id],
    configuration: fakeConfiguration(fake),
    masterFacts: () => ({
      leaderAddress: "m1:19998",
      masters: [
        { host: "m1", rpcPort: 19998, isLeader: true, isLive: true, version: "2.9.4" },
        { host: "m2", rpcPort: 19998, isLeader: false, isLive: true, version: "2.9.4" },
      ],
      rpcPort: 19998,
      webPort: 19999,
      startedMs: 40_000,
      clusterId: "c",
      raftAddresses: ["m1:19200", "m2:19200"],
      zookeeperAddresses: [],
    }),
    journal: fakeJournal(fake),
    backups: new BackupJobs({
      host: "m1",
      write: async (request, onProgress) => {
        fake.calls.push(["backup", request]);
        onProgress(3);
        await fake.backup;
        return { uri: "file:///backups/b", entryCount: 7 };
      },
    }),
    metrics: () =>
      new Map([
        ["Cluster.Workers", { kind: "gauge", value: 1 }],
        ["Master.Role", { kind: "text", value: "PRIMARY" }],
      ]),
    clearMetrics: () => {},
    setWorkerStanding: async () => {},
    nowMs: () => 100_000,
  };
  for (const table of masterServices(ports)) server.addService(table);
  server.addService(sasl.table());
  const port = await server.listen("127.0.0.1", 0);
  const channel = openChannel({ host: "127.0.0.1", port, auth: { kind: "simple", user } });
  cleanups.push(() => channel.close());
  return Object.assign(fake, { channel });
}

/** The `place`th argument of the `index`th call. */
export function argument<T>(
  fake: { readonly calls: unknown[][] },
  index: number,
  place: number,
): T {
  return fake.calls[index]?.[place + 1] as T; // the test knows what it made the fake note
}

export const withStatus =
  (status: string, text = /./) =>
  (error: unknown) =>
    isRockpoolError(error) && error.status === status && text.test(error.message);

export const CALL = {
  principal: { user: "alice", groups: ["alices"], isSuperuser: false },
  operationId: null,
};
