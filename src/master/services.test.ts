import assert from "node:assert/strict";
import { after, test } from "node:test";
import {
  argument,
  CALL,
  FILE,
  startMaster,
  stopMasters,
  withStatus,
} from "../../test/fakes/masters.ts";
import { BlockMasterClientService, BlockMasterWorkerService } from "../proto/gen/block_master.ts";
import { Bits, TtlAction } from "../proto/gen/common.ts";
import {
  FileSystemMasterClientService,
  FileSystemMasterWorkerService,
  LoadMetadataPType,
  WritePType,
} from "../proto/gen/file_system_master.ts";
import {
  MetaMasterClientService,
  MetaMasterConfigurationService,
} from "../proto/gen/meta_master.ts";
import { ServiceType, ServiceVersionClientService } from "../proto/gen/version.ts";
import type { FileInfo } from "./api.ts";

const fs = FileSystemMasterClientService.methods;
const fsWorker = FileSystemMasterWorkerService.methods;
const blockClient = BlockMasterClientService.methods;
const blockWorker = BlockMasterWorkerService.methods;
const meta = MetaMasterClientService.methods;
const config = MetaMasterConfigurationService.methods;
const { getServiceVersion } = ServiceVersionClientService.methods;

after(stopMasters);

function isEmptyAllowed(shape: { readonly request: { decode(bytes: Uint8Array): unknown } }) {
  try {
    shape.request.decode(Uint8Array.of());
    return true;
  } catch {
    return false;
  }
}

test("getServiceVersion answers Alluxio's numbers without a login", async () => {
  const { channel } = await startMaster();
  const ask = (serviceType: ServiceType | undefined) =>
    channel.unary(getServiceVersion, { serviceType }, { isAuthenticated: false });
  for (const number of [1, 2, 3, 4, 5, 6, 7, 9] as const)
    assert.equal((await ask(number)).version, 2);
  const missing = ServiceType.TABLE_MASTER_CLIENT_SERVICE;
  await assert.rejects(ask(missing), withStatus("NOT_FOUND", /TABLE_MASTER_CLIENT_SERVICE/));
  await assert.rejects(ask(undefined), withStatus("NOT_FOUND"));
});

test("a standby refuses with UNAVAILABLE all but workers' reports and the configuration", async () => {
  const { channel, calls } = await startMaster(false);
  const anonymous = { isAuthenticated: false };
  for (const allowedOnStandbyMasters of [undefined, true, false]) {
    const request = { serviceType: 7 as const, allowedOnStandbyMasters };
    const asked = channel.unary(getServiceVersion, request, anonymous);
    await assert.rejects(asked, withStatus("UNAVAILABLE"));
  }
  const served = new Set([
    blockWorker.GetWorkerId,
    blockWorker.NotifyWorkerId,
    blockWorker.RequestRegisterLease,
    blockWorker.RegisterWorker,
    blockWorker.BlockHeartbeat,
  ] as unknown[]);
  for (const methods of [fs, fsWorker, blockClient, blockWorker, meta])
    for (const shape of Object.values(methods)) {
      if (shape.requestStream || shape.responseStream || served.has(shape)) continue;
      // With required fields a message without any is malformed, whoever gets it.
      if (!isEmptyAllowed(shape)) continue;
      const raw = { ...shape, request: { encode: () => Uint8Array.of(), decode: () => null } };
      await assert.rejects(
        channel.unary(raw as typeof shape & typeof raw, undefined as never),
        withStatus("UNAVAILABLE"),
        shape.path,
      );
    }
  await assert.rejects(async () => {
    for await (const _ of channel.serverStream(fs.ListStatus, { path: "/" }));
  }, withStatus("UNAVAILABLE"));
  assert.deepEqual(calls, []);
  assert.equal(
    (await channel.unary(config.GetConfiguration, { rawValue: true }, anonymous)).clusterConfigs
      .length,
    4,
  );
  await channel.unary(blockWorker.BlockHeartbeat, { workerId: 7n });
  assert.equal(calls.length, 1);
});

test("GetStatus carries every field, and addresses equal to those in the list of workers", async () => {
  const { channel, calls } = await startMaster();
  const { fileInfo } = await channel.unary(fs.GetStatus, {
    path: "/d//f",
    options: { accessMode: Bits.READ, commonOptions: { syncIntervalMs: 0 } },
  });
  assert.deepEqual(calls, [["getStatus", CALL, "/d/f", { loadMetadata: "always", accessBits: 4 }]]);
  assert.ok(fileInfo !== undefined);
  const { fileBlockInfos, ...plain } = fileInfo;
  assert.deepEqual(plain, {
    fileId: 0x1ff_ffffn,
    name: "f",
    path: "/d/f",
    ufsPath: "/ufs/d/f",
    length: 100,
    blockSizeBytes: 64,
    creationTimeMs: 1_700_000_000_001,
    completed: true,
    folder: false,
    pinned: false,
    cacheable: true,
    persisted: false,
    blockIds: [0x100_0000n, 0x100_0001n],
    lastModificationTimeMs: 1_700_000_000_002,
    ttl: -1,
    owner: "alice",
    group: "staff",
    mode: 0o640,
    persistenceState: "TO_BE_PERSISTED",
    mountPoint: false,
    ttlAction: TtlAction.FREE,
    mountId: 1n,
    inAlluxioPercentage: 64,
    inMemoryPercentage: 64,
    ufsFingerprint: "",
    acl: {
      owner: "alice",
      owningGroup: "staff",
      entries: [],
      mode: 0o640,
      isDefault: false,
      isDefaultEmpty: undefined,
    },
    defaultAcl: undefined,
    replicationMax: -1,
    replicationMin: 0,
    lastAccessTimeMs: 1_700_000_000_003,
    xattr: new Map([["k", Uint8Array.of(1, 2)]]),
    mediumType: [],
  });
  assert.deepEqual(
    fileBlockInfos.map(({ offset, blockInfo }) => [offset, blockInfo?.blockId, blockInfo?.length]),
    [
      [0, 0x100_0000n, 64],
      [64, 0x100_0001n, 36],
    ],
  );
  const { workerInfos } = await channel.unary(blockClient.GetWorkerInfoList, {});
  assert.equal(workerInfos.length, 1);
  const location = fileBlockInfos[0]?.blockInfo?.locations[0];
  assert.deepEqual(location?.workerAddress, workerInfos[0]?.address);
  assert.deepEqual(location?.workerAddress?.tieredIdentity?.tiers, [
    { tierName: "node", value: "worker1" },
  ]);
  assert.equal(workerInfos[0]?.lastContactSec, 10);
});

test("statuses and messages of the masters reach the client", async () => {
  const { channel } = await startMaster();
  await assert.rejects(
    channel.unary(fs.GetStatus, { path: "/missing" }),
    withStatus("NOT_FOUND", /^Path "\/missing" does not exist.$/),
  );
  await assert.rejects(channel.unary(fs.GetStatus, { path: "no" }), withStatus("INVALID_ARGUMENT"));
  await assert.rejects(channel.unary(fs.GetStatus, {}), withStatus("INVALID_ARGUMENT"));
});

test("what is not supported is INVALID_ARGUMENT with a sentence", async () => {
  const { channel } = await startMaster();
  await assert.rejects(
    channel.unary(fs.Mount, { alluxioPath: "/a" }),
    withStatus("INVALID_ARGUMENT", /is not supported by this version of Rockpool$/),
  );
  await assert.rejects(
    channel.unary(fs.SetAttribute, { path: "/a", options: { pinnedMedia: ["SSD"] } }),
    withStatus("INVALID_ARGUMENT"),
  );
});

test("Free and CheckConsistency carry their options, and answer with paths", async () => {
  const { channel, calls } = await startMaster();
  await channel.unary(fs.Free, { path: "/a", options: { recursive: true, forced: true } });
  await channel.unary(fs.Free, { path: "/b" });
  const answer = await channel.unary(fs.CheckConsistency, { path: "/c", options: {} });
  assert.deepEqual(answer.inconsistentPaths, ["/d/g"]);
  assert.deepEqual(calls, [
    ["free", CALL, "/a", { isRecursive: true, isForced: true }],
    ["free", CALL, "/b", { isRecursive: false, isForced: false }],
    ["checkConsistency", CALL, "/c"],
  ]);
});

test("CreateFile, CompleteFile and Remove carry options and the operation id of the call itself", async () => {
  const { channel, calls } = await startMaster();
  const commonOptions = {
    ttl: 5,
    ttlAction: TtlAction.DELETE,
    operationId: { mostSignificantBits: -5n, leastSignificantBits: 2n ** 62n },
  };
  const mode = { ownerBits: Bits.READ_WRITE, groupBits: Bits.READ, otherBits: Bits.NONE };
  await channel.unary(fs.CreateFile, {
    path: "/a",
    options: { blockSizeBytes: 1024, recursive: true, mode, overwrite: true, commonOptions },
  });
  const other = { operationId: { mostSignificantBits: 1n, leastSignificantBits: 1n } };
  await channel.unary(fs.CompleteFile, {
    path: "/a",
    options: { asyncPersistOptions: { commonOptions: other }, commonOptions },
  });
  await channel.unary(fs.CompleteFile, {
    path: "/b",
    options: { ufsLength: 0, asyncPersistOptions: { commonOptions: other } },
  });
  await channel.unary(fs.Remove, { path: "/a", options: { recursive: true, alluxioOnly: true } });
  const call = { ...CALL, operationId: { high: -5n, low: 2n ** 62n } };
  assert.deepEqual(calls, [
    [
      "createFile",
      call,
      "/a",
      {
        isRecursive: true,
        isOverwrite: true,
        blockSizeBytes: 1024,
        mode: 0o640,
        replicationMin: 0,
        replicationMax: -1,
        ttlMs: 5,
        ttlAction: "DELETE",
        xattr: {},
      },
    ],
    ["completeFile", call, "/a", { ufsLengthBytes: null, isAsyncPersist: true, contentHash: "" }],
    ["completeFile", CALL, "/b", { ufsLengthBytes: 0, isAsyncPersist: true, contentHash: "" }],
    ["remove", CALL, "/a", { isRecursive: true, isAlluxioOnly: true }],
  ]);
});

test("CreateDirectory is persisted for the THROUGH types; SetAttribute names only what is present", async () => {
  const { channel, calls } = await startMaster();
  for (const writeType of [WritePType.CACHE_THROUGH, WritePType.MUST_CACHE])
    await channel.unary(fs.CreateDirectory, { path: "/d", options: { writeType } });
  assert.deepEqual(
    calls.map((call) => (call[3] as { isPersisted: boolean }).isPersisted),
    [true, false],
  );
  await channel.unary(fs.SetAttribute, { path: "/d", options: { pinned: false } });
  assert.deepEqual(calls[2]?.[3], {
    isRecursive: false,
    owner: null,
    group: null,
    mode: null,
    isPinned: false,
    isPersisted: null,
    replicationMin: null,
    replicationMax: null,
    ttlMs: null,
    ttlAction: null,
  });
});

test("ListStatus cuts batches to the limit and keeps their order", async () => {
  const fake = await startMaster();
  const named = (name: string): FileInfo => ({ ...FILE, name, blocks: [] });
  fake.listed.batches = [[...Array(2500).keys()].map((i) => named(`a${i}`)), [], [named("last")]];
  const sizes: number[] = [];
  const names: unknown[] = [];
  const options = { recursive: true, loadMetadataType: LoadMetadataPType.NEVER };
  for await (const { fileInfos } of fake.channel.serverStream(fs.ListStatus, {
    path: "/",
    options,
  })) {
    sizes.push(fileInfos.length);
    names.push(...fileInfos.map(({ name }) => name));
  }
  assert.deepEqual(sizes, [1000, 1000, 500, 1]);
  assert.deepEqual([names[0], names[2499], names[2500]], ["a0", "a2499", "last"]);
  assert.deepEqual(fake.calls[0]?.[3], { isRecursive: true, loadMetadata: "never" });
  let messages = 0;
  const loadOnly = { path: "/", options: { loadMetadataOnly: true } };
  for await (const _ of fake.channel.serverStream(fs.ListStatus, loadOnly)) messages++;
  assert.equal(messages, 0);
});

test("a listing that is left early ends the master's iteration", async () => {
  const fake = await startMaster();
  const batch = [...Array(1000)].map(() => ({ ...FILE, name: "n".repeat(200) }));
  fake.listed.batches = [...Array(500)].map(() => batch);
  for await (const _ of fake.channel.serverStream(fs.ListStatus, { path: "/" })) break;
  while (!fake.listed.hasReturned) await new Promise((resolve) => setTimeout(resolve, 2));
});

test("ListStatusPartial understands all three kinds of offset", async () => {
  const { channel, calls } = await startMaster();
  const ask = (options: Parameters<typeof fs.ListStatusPartial.request.encode>[0]["options"]) =>
    channel.unary(fs.ListStatusPartial, { path: "/d", options });
  const page = await ask({ batchSize: 3, startAfter: "/d/b", prefix: "p" });
  assert.deepEqual([page.fileInfos.length, page.isTruncated, page.fileCount], [1, true, 5]);
  await ask({ startAfter: "b" });
  await ask({ offsetId: 9n });
  await ask({ offsetCount: 4 });
  await ask({ offsetId: 0n });
  assert.deepEqual(
    calls.map((call) => (call[3] as { offset: unknown }).offset),
    [
      { kind: "afterName", name: "b" },
      { kind: "afterName", name: "b" },
      { kind: "afterId", id: 9n },
      { kind: "skip", count: 4 },
      { kind: "start" },
    ],
  );
  assert.equal(argument<{ batchSize: number }>({ calls }, 0, 2).batchSize, 3);
  assert.equal(argument<{ batchSize: number }>({ calls }, 1, 2).batchSize, 10_000);
});

test("numbers that the journal cannot hold are refused or bounded before they get there", async () => {
  const { channel, calls } = await startMaster();
  const refused = withStatus("INVALID_ARGUMENT", /bytes$/);
  for (const blockSizeBytes of [-1, 2 ** 62]) {
    const asked = channel.unary(fs.CreateFile, { path: "/a", options: { blockSizeBytes } });
    await assert.rejects(asked, refused);
  }
  for (const ufsLength of [-1, 2 ** 51 + 1]) {
    const asked = channel.unary(fs.CompleteFile, { path: "/a", options: { ufsLength } });
    await assert.rejects(asked, refused);
  }
  const third = 0x100_0002n;
  for (const length of [-1, 2 ** 62, 2 ** 50]) {
    const block = { workerId: 7n, tierAlias: "MEM", blockId: third, length };
    await assert.rejects(channel.unary(blockWorker.CommitBlock, block), refused);
    const inUfs = { blockId: third, length };
    await assert.rejects(channel.unary(blockWorker.CommitBlockInUfs, inUfs), refused);
  }
  assert.deepEqual(calls, []);
  for (const [ttl, ttlMs] of [
    [2 ** 63, 2 ** 52 - 1],
    [-7, -1],
  ]) {
    await channel.unary(fs.SetAttribute, { path: "/d", options: { commonOptions: { ttl } } });
    assert.equal(argument<{ ttlMs: number }>({ calls }, calls.length - 1, 2).ttlMs, ttlMs);
    await channel.unary(fs.CreateDirectory, { path: "/d", options: { commonOptions: { ttl } } });
    assert.equal(argument<{ ttlMs: number }>({ calls }, calls.length - 1, 2).ttlMs, ttlMs);
  }
});

test("SetAttribute with empty lists of media and extended attributes is served", async () => {
  const { channel, calls } = await startMaster();
  const options = { pinned: true, pinnedMedia: [], xattr: new Map() };
  await channel.unary(fs.SetAttribute, { path: "/d", options });
  assert.equal(calls.length, 1);
});

test("a message of a listing is shorter when its files have many blocks", async () => {
  const fake = await startMaster();
  const [block] = FILE.blocks;
  const large = { ...FILE, blocks: Array.from({ length: 6000 }, () => block ?? assert.fail()) };
  fake.listed.batches = [
    [large, large, large, FILE, FILE],
    Array.from({ length: 2500 }, () => FILE),
  ];
  const sizes: number[] = [];
  for await (const { fileInfos } of fake.channel.serverStream(fs.ListStatus, { path: "/d" }))
    sizes.push(fileInfos.length);
  assert.deepEqual(sizes, [2, 3, 1000, 1000, 500]);
});
