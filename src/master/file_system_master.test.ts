import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { isRockpoolError, type StatusName } from "../common/errors.ts";
import type { WorkerNetAddress } from "../common/file_facts.ts";
import {
  type BlockId,
  fileIdOfBlock,
  type InodeId,
  sequenceOf,
  type WorkerId,
} from "../common/ids.ts";
import { LocalUnderFileSystem } from "../ufs/local_ufs.ts";
import type { FileInfo } from "./api.ts";
import { type Command, encodeEntry } from "./command.ts";
import {
  ALICE,
  at,
  BOB,
  CREATE_DIRECTORY,
  CREATE_FILE,
  callBy,
  createMasterFixture,
  LIST,
  type MasterFixture,
  ROOT_USER,
  STATUS,
} from "./master_fixture.ts";

const folder = mkdtempSync(join(tmpdir(), "rockpool-master-"));
after(() => rmSync(folder, { recursive: true, force: true }));
let made = 0;

function createMaster(options: { readonly dedupeEntriesMax?: number } = {}) {
  const root = join(folder, `ufs-${made++}`);
  mkdirSync(root);
  const ufs = new LocalUnderFileSystem(root);
  return { root, ufs, ...createMasterFixture({ ufs, rootUfsUri: root, ...options }) };
}

const root = callBy(ROOT_USER);
const COMPLETE = { ufsLengthBytes: null, isAsyncPersist: false, contentHash: "" };
const NO_CHANGE = {
  isRecursive: false,
  owner: null,
  group: null,
  mode: null,
  isPinned: null,
  isPersisted: null,
  replicationMin: null,
  replicationMax: null,
  ttlMs: null,
  ttlAction: null,
};

async function rejects(work: Promise<unknown>, status: StatusName, message?: RegExp) {
  await assert.rejects(work, (error: unknown) => {
    assert.ok(isRockpoolError(error), String(error));
    assert.equal(error.status, status, error.message);
    if (message !== undefined) assert.match(error.message, message);
    return true;
  });
}

async function writeFile(
  { fileSystem, blockNamespace }: MasterFixture,
  path: string,
  lengths: readonly number[],
  options: { readonly isAsyncPersist?: boolean; readonly ufsLengthBytes?: number } = {},
) {
  await fileSystem.createFile(root, at(path), CREATE_FILE);
  for (const length of lengths) {
    const id = await fileSystem.newBlockId(root, at(path));
    await blockNamespace.commitBlock(id, length);
  }
  await fileSystem.completeFile(root, at(path), { ...COMPLETE, ...options });
}

async function list(fileSystem: MasterFixture["fileSystem"], path: string, isRecursive = false) {
  const paths: string[] = [];
  for await (const batch of fileSystem.listStatus(root, at(path), { ...LIST, isRecursive }))
    for (const info of batch) paths.push(info.path);
  return paths;
}

test("a new cluster has a root that belongs to who runs the master", async () => {
  const { fileSystem, events } = createMaster();
  const info = await fileSystem.getStatus(root, at("/"), STATUS);
  assert.equal(info.isDirectory, true);
  assert.equal(info.owner, "root");
  assert.equal(info.mode, 0o755);
  assert.equal(info.isMountPoint, true);
  assert.equal(info.persistence, "PERSISTED");
  assert.equal(events[0]?.kind, "namespaceInitialized");
});

test("createDirectory() makes parents only when asked, and answers as Alluxio does", async () => {
  const { fileSystem, journal } = createMaster();
  const once = { ...CREATE_DIRECTORY, isRecursive: false };
  await rejects(
    fileSystem.createDirectory(root, at("/a/b"), once),
    "NOT_FOUND",
    /Directory \/a\/b creation failed. Component 1\(a\) does not exist/,
  );
  await fileSystem.createDirectory(root, at("/a/b"), CREATE_DIRECTORY);
  await rejects(
    fileSystem.createDirectory(root, at("/a/b"), CREATE_DIRECTORY),
    "ALREADY_EXISTS",
    /Not allowed to create directory because path already exists: \/a\/b/,
  );
  const length = journal.log.length;
  await fileSystem.createDirectory(root, at("/a/b"), { ...CREATE_DIRECTORY, allowExists: true });
  assert.equal(journal.log.length, length);
  assert.deepEqual(await list(fileSystem, "/", true), ["/a", "/a/b"]);
  assert.equal((await fileSystem.getStatus(root, at("/a"), STATUS)).lengthBytes, 1);
});

test("createFile() gives ids from which block ids follow, and refuses what exists", async () => {
  const fixture = createMaster();
  const { fileSystem } = fixture;
  const info = await fileSystem.createFile(root, at("/d/f"), CREATE_FILE);
  assert.equal(info.isCompleted, false);
  assert.equal(info.lengthBytes, 0);
  assert.equal(info.ufsPath, `${fixture.root}/d/f`);
  assert.equal(info.mountId, 1n);
  const first = await fileSystem.newBlockId(root, at("/d/f"));
  const second = await fileSystem.newBlockId(root, at("/d/f"));
  assert.deepEqual([sequenceOf(first), sequenceOf(second)], [0, 1]);
  assert.equal(fileIdOfBlock(first), info.id);
  await rejects(
    fileSystem.createFile(root, at("/d/f"), CREATE_FILE),
    "ALREADY_EXISTS",
    /Not allowed to create file because path already exists: \/d\/f/,
  );
  await rejects(fileSystem.createFile(root, at("/d"), CREATE_FILE), "ALREADY_EXISTS");
  await rejects(
    fileSystem.createFile(root, at("/d"), { ...CREATE_FILE, isOverwrite: true }),
    "ALREADY_EXISTS",
    /Directories cannot be overwritten/,
  );
  await rejects(
    fileSystem.createFile(root, at("/x/y"), { ...CREATE_FILE, isRecursive: false }),
    "NOT_FOUND",
  );
  await rejects(fileSystem.createFile(root, at("/d/f/x"), CREATE_FILE), "INVALID_ARGUMENT");
  await rejects(
    fileSystem.createFile(root, at("/z"), { ...CREATE_FILE, blockSizeBytes: 0 }),
    "INVALID_ARGUMENT",
  );
  await rejects(
    fileSystem.createFile(root, at("/.rockpool.tmp.x"), CREATE_FILE),
    "INVALID_ARGUMENT",
  );
});

test("completeFile() adds up what was committed, and drops ids that never were", async () => {
  const fixture = createMaster();
  const { fileSystem, blockNamespace } = fixture;
  await fileSystem.createFile(root, at("/f"), CREATE_FILE);
  const ids: BlockId[] = [];
  for (let i = 0; i < 4; i++) ids.push(await fileSystem.newBlockId(root, at("/f")));
  const [first, second, third] = ids as [BlockId, BlockId, BlockId];
  await blockNamespace.commitBlock(second, 40); // out of order
  await blockNamespace.commitBlock(first, 100);
  await blockNamespace.commitBlock(first, 100);
  await rejects(blockNamespace.commitBlock(first, 99), "INVALID_ARGUMENT");
  await rejects(blockNamespace.commitBlock(third, 101), "INVALID_ARGUMENT");
  assert.equal(blockNamespace.blockLength(third), null);
  await fileSystem.completeFile(root, at("/f"), COMPLETE);
  const info = await fileSystem.getStatus(root, at("/f"), STATUS);
  assert.equal(info.lengthBytes, 140);
  assert.equal(info.isCompleted, true);
  assert.equal(info.persistence, "NOT_PERSISTED");
  assert.deepEqual(
    info.blocks.map(({ blockId, lengthBytes }) => [blockId, lengthBytes]),
    [
      [first, 100],
      [second, 40],
    ],
  );
  await blockNamespace.commitBlock(second, 40); // again, from another worker
  await rejects(blockNamespace.commitBlock(second, 41), "INVALID_ARGUMENT");
  await rejects(blockNamespace.commitBlock(third, 1), "NOT_FOUND");
  await rejects(
    fileSystem.completeFile(root, at("/f"), COMPLETE),
    "ALREADY_EXISTS",
    /already been completed/,
  );
  await rejects(fileSystem.newBlockId(root, at("/f")), "ALREADY_EXISTS");
});

test("completeFile() of a file written through is persisted, with block ids for all of it", async () => {
  const fixture = createMaster();
  await writeFile(fixture, "/a/through", [], { ufsLengthBytes: 250 });
  const info = await fixture.fileSystem.getStatus(root, at("/a/through"), STATUS);
  assert.equal(info.persistence, "PERSISTED");
  assert.deepEqual(
    info.blocks.map(({ lengthBytes }) => lengthBytes),
    [100, 100, 50],
  );
  assert.equal(info.inAlluxioPercentage, 0);
  assert.equal(
    (await fixture.fileSystem.getStatus(root, at("/a"), STATUS)).persistence,
    "PERSISTED",
  );
  await writeFile(fixture, "/a/cached", [100, 30], { ufsLengthBytes: 130 });
  const cached = await fixture.fileSystem.getStatus(root, at("/a/cached"), STATUS);
  const address: WorkerNetAddress = {
    host: "w",
    containerHost: "",
    rpcPort: 1,
    dataPort: 1,
    webPort: 1,
    domainSocketPath: "",
    tiers: [],
  };
  const place = { workerId: 1n as WorkerId, workerAddress: address, mediumType: "MEM" };
  const [one, two] = cached.blocks.map(({ blockId }) => blockId) as [BlockId, BlockId];
  fixture.locations.set(one, [{ ...place, tierAlias: "MEM" }]);
  fixture.locations.set(two, [{ ...place, tierAlias: "SSD" }]);
  const now = await fixture.fileSystem.getStatus(root, at("/a/cached"), STATUS);
  assert.equal(now.inAlluxioPercentage, 100);
  assert.equal(now.inMemoryPercentage, 76);
  assert.equal(now.blocks[0]?.locations.length, 1);
});

test("createFile() with overwrite replaces the file and frees its blocks", async () => {
  const fixture = createMaster();
  await writeFile(fixture, "/f", [100, 5]);
  const before = await fixture.fileSystem.getStatus(root, at("/f"), STATUS);
  const info = await fixture.fileSystem.createFile(root, at("/f"), {
    ...CREATE_FILE,
    isOverwrite: true,
  });
  assert.notEqual(info.id, before.id);
  assert.deepEqual(
    fixture.removedBlocks,
    before.blocks.map(({ blockId }) => blockId),
  );
  await rejects(fixture.fileSystem.getFilePath(root, before.id), "NOT_FOUND");
  assert.equal(await fixture.fileSystem.getFilePath(root, info.id), "/f");
});

test("remove() answers by what is there, and frees a tree of any size", async () => {
  const fixture = createMaster();
  const { fileSystem } = fixture;
  await rejects(
    fileSystem.remove(root, at("/x"), { isRecursive: true, isAlluxioOnly: false }),
    "NOT_FOUND",
    /Path "\/x" does not exist\./,
  );
  await rejects(
    fileSystem.remove(root, at("/"), { isRecursive: true, isAlluxioOnly: false }),
    "INVALID_ARGUMENT",
  );
  for (let i = 0; i < 30; i++)
    for (let j = 0; j < 40; j++)
      await fileSystem.createFile(root, at(`/t/d${i}/f${j}`), CREATE_FILE);
  await writeFile(fixture, "/t/d3/full", [100, 1]);
  await rejects(
    fileSystem.remove(root, at("/t"), { isRecursive: false, isAlluxioOnly: false }),
    "FAILED_PRECONDITION",
    /Cannot delete non-empty directory "\/t" because recursive is set to false/,
  );
  const info = await fileSystem.getStatus(root, at("/t/d3/full"), STATUS);
  await fileSystem.remove(root, at("/t"), { isRecursive: true, isAlluxioOnly: false });
  assert.equal(await fileSystem.exists(root, at("/t/d3"), STATUS), false);
  await rejects(fileSystem.getFilePath(root, info.id), "NOT_FOUND");
  assert.equal(fixture.blockNamespace.blockLength(info.blocks[0]?.blockId as BlockId), null);
  const { view, store } = fixture.state;
  while (view.reclaimable(1).length > 0) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(fixture.removedBlocks.length, 2);
  // Only the root's inode is left.
  const inodes = [...store.range({ start: Uint8Array.of(1), end: Uint8Array.of(4) })];
  assert.equal(inodes.length, 1);
});

test("rename() moves, and answers as Alluxio does", async () => {
  const fixture = createMaster();
  const { fileSystem } = fixture;
  await writeFile(fixture, "/a/f", [10]);
  await fileSystem.createDirectory(root, at("/b"), CREATE_DIRECTORY);
  const go = (from: string, to: string, isOverwrite = false) =>
    fileSystem.rename(root, at(from), at(to), { isOverwrite });
  const { id } = await fileSystem.getStatus(root, at("/a/f"), STATUS);
  await go("/a/f", "/b/g");
  assert.equal(await fileSystem.getFilePath(root, id), "/b/g");
  assert.deepEqual(await list(fileSystem, "/", true), ["/a", "/b", "/b/g"]);
  await go("/b/g", "/b/g");
  await rejects(go("/a/f", "/c"), "NOT_FOUND", /Path "\/a\/f" does not exist/);
  await rejects(go("/b/g", "/no/g"), "NOT_FOUND", /Path "\/no" does not exist/);
  await rejects(go("/b/g", "/b/g/h"), "INVALID_ARGUMENT", /is a prefix of/);
  await rejects(go("/", "/x"), "INVALID_ARGUMENT");
  await rejects(go("/b", "/"), "INVALID_ARGUMENT");
  await writeFile(fixture, "/h", [20]);
  await rejects(
    go("/h", "/b/g"),
    "ALREADY_EXISTS",
    /Cannot rename because destination already exists. src: \/h dst: \/b\/g/,
  );
  await rejects(go("/h", "/b", true), "ALREADY_EXISTS");
  await go("/h", "/b/g", true);
  assert.equal((await fileSystem.getStatus(root, at("/b/g"), STATUS)).lengthBytes, 20);
  assert.equal(fixture.removedBlocks.length, 1);
});

test("setAttribute() changes what is named, of a whole tree when asked", async () => {
  const fixture = createMaster();
  const { fileSystem } = fixture;
  for (let i = 0; i < 5; i++) await fileSystem.createFile(root, at(`/t/${i}/f`), CREATE_FILE);
  const set = { ...NO_CHANGE, isRecursive: true, owner: "alice", group: "users", mode: 0o700 };
  await fileSystem.setAttribute(root, at("/t"), set);
  for (const path of ["/t", "/t/4", "/t/4/f"]) {
    const { owner, group, mode } = await fileSystem.getStatus(root, at(path), STATUS);
    assert.deepEqual([owner, group, mode], ["alice", "users", 0o700]);
  }
  await fileSystem.setAttribute(root, at("/t"), {
    ...NO_CHANGE,
    isPinned: true,
    ttlMs: 5,
    ttlAction: "DELETE",
    replicationMin: 2,
    replicationMax: 3,
  });
  const info = await fileSystem.getStatus(root, at("/t"), STATUS);
  assert.deepEqual(
    [info.isPinned, info.ttlMs, info.ttlAction, info.replicationMin, info.replicationMax],
    [true, 5, "DELETE", 2, 3],
  );
  await rejects(fileSystem.setAttribute(root, at("/x"), set), "NOT_FOUND", /Path "\/x"/);
  await rejects(
    fileSystem.setAttribute(root, at("/t/1/f"), { ...NO_CHANGE, isPersisted: true }),
    "INVALID_ARGUMENT",
  );
  await writeFile(fixture, "/t/done", [3]);
  await fileSystem.setAttribute(root, at("/t/done"), { ...NO_CHANGE, isPersisted: true });
  assert.equal((await fileSystem.getStatus(root, at("/t/done"), STATUS)).persistence, "PERSISTED");
});

test("a pin is of everything in a directory, now and in the future", async () => {
  const fixture = createMaster();
  const { fileSystem } = fixture;
  const pinned = () => fixture.state.view.pinnedFiles(null, 100).length;
  await writeFile(fixture, "/d/e/f", [10]);
  const set = (isPinned: boolean) =>
    fileSystem.setAttribute(root, at("/d"), { ...NO_CHANGE, isPinned });
  await set(true);
  await writeFile(fixture, "/d/e/g/h", [10]);
  assert.equal(pinned(), 2);
  assert.equal((await fileSystem.getStatus(root, at("/d/e/g/h"), STATUS)).isPinned, true);
  await fileSystem.remove(root, at("/d/e/f"), { isRecursive: false, isAlluxioOnly: false });
  assert.equal(pinned(), 1);
  await set(false);
  assert.equal(pinned(), 0);
});

test("permissions: who may do what", async () => {
  const { fileSystem } = createMaster();
  const alice = callBy(ALICE);
  const bob = callBy(BOB);
  await rejects(
    fileSystem.createDirectory(alice, at("/x"), CREATE_DIRECTORY),
    "PERMISSION_DENIED",
    /Permission denied: user=alice, access=-wx, path=\/x: failed at \/, inode owner=root, inode group=root, inode mode=rwxr-xr-x/,
  );
  await fileSystem.createDirectory(root, at("/home"), { ...CREATE_DIRECTORY, mode: 0o777 });
  await fileSystem.createDirectory(alice, at("/home/alice"), { ...CREATE_DIRECTORY, mode: 0o750 });
  await fileSystem.createFile(alice, at("/home/alice/f"), { ...CREATE_FILE, mode: 0o640 });
  const info = await fileSystem.getStatus(alice, at("/home/alice/f"), STATUS);
  assert.deepEqual([info.owner, info.group], ["alice", "users"]);
  // bob is of the group users: may pass and read, not write
  await fileSystem.checkAccess(bob, at("/home/alice/f"), 4);
  await fileSystem.getStatus(bob, at("/home/alice/f"), { ...STATUS, accessBits: 4 });
  await rejects(fileSystem.checkAccess(bob, at("/home/alice/f"), 2), "PERMISSION_DENIED");
  await rejects(fileSystem.newBlockId(bob, at("/home/alice/f")), "PERMISSION_DENIED");
  const removal = { isRecursive: true, isAlluxioOnly: false };
  await rejects(fileSystem.remove(bob, at("/home/alice/f"), removal), "PERMISSION_DENIED");
  await rejects(
    fileSystem.rename(bob, at("/home/alice/f"), at("/home/f"), { isOverwrite: false }),
    "PERMISSION_DENIED",
  );
  await rejects(fileSystem.createFile(bob, at("/home/alice/g"), CREATE_FILE), "PERMISSION_DENIED");
  // /home is everybody's, but what alice has in it is not
  await rejects(fileSystem.remove(bob, at("/home/alice"), removal), "PERMISSION_DENIED");
  const carol = callBy({ user: "carol", groups: [], isSuperuser: false });
  await rejects(fileSystem.getStatus(carol, at("/home/alice/f"), STATUS), "PERMISSION_DENIED");
  await rejects(fileSystem.exists(carol, at("/home/alice/no"), STATUS), "PERMISSION_DENIED");
  await rejects(
    (async () => {
      for await (const _ of fileSystem.listStatus(carol, at("/home/alice"), LIST));
    })(),
    "PERMISSION_DENIED",
  );
  const mode = { ...NO_CHANGE, mode: 0o600 };
  await rejects(fileSystem.setAttribute(bob, at("/home/alice/f"), mode), "PERMISSION_DENIED");
  await fileSystem.setAttribute(alice, at("/home/alice/f"), mode);
  await fileSystem.setAttribute(alice, at("/home/alice/f"), { ...NO_CHANGE, group: "staff" });
  await rejects(
    fileSystem.setAttribute(alice, at("/home/alice/f"), { ...NO_CHANGE, owner: "bob" }),
    "PERMISSION_DENIED",
    /alice is not a super user/,
  );
  await rejects(
    fileSystem.setAttribute(bob, at("/home/alice/f"), { ...NO_CHANGE, isPinned: true }),
    "PERMISSION_DENIED",
  );
  await fileSystem.setAttribute(root, at("/home/alice/f"), { ...NO_CHANGE, owner: "bob" });
  await fileSystem.remove(alice, at("/home/alice"), removal);
});

test("a retry of an operation gets its first result, also from the next leader", async () => {
  let fixture: MasterFixture = createMaster();
  const once = (low: bigint) => callBy(ROOT_USER, { high: -7n, low });
  const create = () => fixture.fileSystem.createFile(once(1n), at("/d/f"), CREATE_FILE);
  const operations: (() => Promise<unknown>)[] = [
    () => fixture.fileSystem.createDirectory(once(0n), at("/d"), CREATE_DIRECTORY),
    create,
    () => fixture.fileSystem.completeFile(once(2n), at("/d/f"), COMPLETE),
    () => fixture.fileSystem.rename(once(3n), at("/d/f"), at("/d/g"), { isOverwrite: false }),
    () =>
      fixture.fileSystem.remove(once(4n), at("/d/g"), { isRecursive: false, isAlluxioOnly: false }),
  ];
  for (const operation of operations) {
    fixture.journal.weather = "lostAfterApply";
    await rejects(operation(), "UNAVAILABLE");
    fixture = fixture.takeOver();
    const first = await operation();
    const again = await operation();
    if (operation === create) assert.equal((first as FileInfo).id, (again as FileInfo).id);
  }
  assert.deepEqual(await list(fixture.fileSystem, "/", true), ["/d"]);
  // One id for two kinds of call, or by two users, is two operations.
  await fixture.fileSystem.createFile(once(4n), at("/d/h"), CREATE_FILE);
  await rejects(
    fixture.fileSystem.createFile(callBy(BOB, { high: -7n, low: 4n }), at("/d/h"), CREATE_FILE),
    "ALREADY_EXISTS",
  );
});

test("the oldest results are forgotten first", async () => {
  const { fileSystem } = createMaster({ dedupeEntriesMax: 3 });
  const make = (low: bigint) =>
    fileSystem.createDirectory(
      callBy(ROOT_USER, { high: 1n, low }),
      at(`/${low}`),
      CREATE_DIRECTORY,
    );
  for (let low = 1n; low <= 4n; low++) await make(low);
  await make(2n);
  await rejects(make(1n), "ALREADY_EXISTS");
});

test("a master that does not lead answers UNAVAILABLE", async () => {
  const { fileSystem, journal } = createMaster();
  await fileSystem.createDirectory(root, at("/d"), CREATE_DIRECTORY);
  journal.lose();
  await rejects(fileSystem.getStatus(root, at("/d"), STATUS), "UNAVAILABLE");
  await rejects(fileSystem.createFile(root, at("/f"), CREATE_FILE), "UNAVAILABLE");
  await rejects(list(fileSystem, "/"), "UNAVAILABLE");
  journal.gain();
  journal.weather = "lostBefore";
  await rejects(fileSystem.createFile(root, at("/f"), CREATE_FILE), "UNAVAILABLE");
  journal.gain();
  assert.equal(await fileSystem.exists(root, at("/f"), STATUS), false);
  // A deposed leader that does not know it yet tells nobody what may no longer be so.
  journal.weather = "lostBefore";
  await rejects(fileSystem.createDirectory(root, at("/d"), CREATE_DIRECTORY), "UNAVAILABLE");
});

test("listings are in path order, in bounded batches, of any name", async () => {
  const { fileSystem } = createMaster();
  const count = 2500;
  for (let i = 0; i < count; i++)
    await fileSystem.createFile(root, at(`/many/f${String(i).padStart(5, "0")}`), CREATE_FILE);
  const batches: number[] = [];
  const names: string[] = [];
  for await (const batch of fileSystem.listStatus(root, at("/many"), LIST)) {
    batches.push(batch.length);
    names.push(...batch.map(({ name }) => name));
  }
  assert.deepEqual(batches, [1000, 1000, 500]);
  assert.deepEqual(names, [...names].sort());
  for (const name of ["ä", "日本/語", "a b", "a", "a/b", "a-b", "😀"])
    await fileSystem.createDirectory(root, at(`/names/${name}`), {
      ...CREATE_DIRECTORY,
      allowExists: true,
    });
  assert.deepEqual(await list(fileSystem, "/names", true), [
    "/names/a",
    "/names/a/b",
    "/names/a b",
    "/names/a-b",
    "/names/ä",
    "/names/日本",
    "/names/日本/語",
    "/names/😀",
  ]);
  assert.deepEqual(await list(fileSystem, "/many/f00001"), ["/many/f00001"]);
});

test("listStatusPartial() pages through a directory from any kind of offset", async () => {
  const { fileSystem } = createMaster();
  for (const path of ["/p/a/x", "/p/b/y", "/p/b/z", "/p/c"])
    await fileSystem.createFile(root, at(path), CREATE_FILE);
  type Options = Partial<Parameters<typeof fileSystem.listStatusPartial>[2]>;
  const page = async (options: Options) => {
    const { fileInfos, isTruncated, fileCount } = await fileSystem.listStatusPartial(
      root,
      at("/p"),
      {
        ...LIST,
        offset: { kind: "start" },
        batchSize: 2,
        prefix: "",
        ...options,
      },
    );
    return [fileInfos.map(({ path }) => path.slice(3)).join(" "), isTruncated, fileCount];
  };
  assert.deepEqual(await page({}), ["a b", true, 3]);
  assert.deepEqual(await page({ offset: { kind: "afterName", name: "b" } }), ["c", false, 3]);
  assert.deepEqual(await page({ offset: { kind: "skip", count: 1 } }), ["b c", false, 3]);
  const { id } = await fileSystem.getStatus(root, at("/p/a"), STATUS);
  assert.deepEqual(await page({ offset: { kind: "afterId", id } }), ["b c", false, 3]);
  assert.deepEqual(await page({ prefix: "b" }), ["b", false, 3]);
  const isRecursive = true;
  assert.deepEqual(await page({ isRecursive }), ["a a/x", true, -1]);
  assert.deepEqual(await page({ isRecursive, offset: { kind: "afterName", name: "a/x" } }), [
    "b b/y",
    true,
    -1,
  ]);
  assert.deepEqual(await page({ isRecursive, offset: { kind: "afterName", name: "b/y" } }), [
    "b/z c",
    false,
    -1,
  ]);
  await rejects(page({ offset: { kind: "afterId", id: 999n as InodeId } }), "NOT_FOUND");
});

test("mountPoints() and reverseResolve() know the root", async () => {
  const fixture = createMaster();
  writeFileSync(join(fixture.root, "f"), "x");
  const [mount] = await fixture.fileSystem.mountPoints(root);
  assert.equal(mount?.path, "/");
  assert.equal(mount?.ufsUri, fixture.root);
  assert.equal(mount?.ufsType, "local");
  assert.ok((mount?.ufsCapacityBytes ?? 0) > 0);
  assert.equal(await fixture.fileSystem.reverseResolve(root, `${fixture.root}/a/b`), "/a/b");
  await rejects(fixture.fileSystem.reverseResolve(root, "/elsewhere"), "INVALID_ARGUMENT");
});

test("createFile() tells of the file as it was made, though it was renamed before the answer", async () => {
  const { fileSystem, journal, root: ufsRoot } = createMaster();
  await fileSystem.createDirectory(root, at("/d"), CREATE_DIRECTORY);
  const propose = journal.propose.bind(journal);
  journal.propose = async (payload: Uint8Array) => {
    const made = propose(payload);
    journal.propose = propose;
    const [path, dstPath] = [at("/d/new"), at("/d/moved")];
    const command: Command = { kind: "rename", path, dstPath, isOverwrite: false };
    await propose(encodeEntry({ timeMs: 2, operationId: null, principal: ROOT_USER, command }));
    return made;
  };
  const made = await fileSystem.createFile(root, at("/d/new"), CREATE_FILE);
  assert.deepEqual([made.path, made.name], ["/d/new", "new"]);
  assert.equal(made.ufsPath, `${ufsRoot}/d/moved`, "where its bytes belong");
  assert.equal((await fileSystem.getStatus(root, at("/d/moved"), STATUS)).id, made.id);
});
