import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { RockpoolError } from "../common/errors.ts";
import {
  ALICE,
  at,
  CREATE_DIRECTORY,
  CREATE_FILE,
  callBy,
  createMasterFixture,
  type MasterFixture,
  ROOT_USER,
  STATUS,
  until,
} from "./master_fixture.ts";
import { COMPLETE, createMaster, list, REMOVE, rejects, root } from "./ufs_fixture.ts";
import { INTENT_WAIT_MS } from "./ufs_intents.ts";

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
} as const;

/** A file of the given blocks that waits to be persisted. */
async function writeAsync(fixture: MasterFixture, path: string, lengths: readonly number[]) {
  await fixture.fileSystem.createFile(root, at(path), CREATE_FILE);
  for (const length of lengths)
    await fixture.blockNamespace.commitBlock(
      await fixture.fileSystem.newBlockId(root, at(path)),
      length,
    );
  await fixture.fileSystem.completeFile(root, at(path), { ...COMPLETE, isAsyncPersist: true });
}

test("a path that only the under store knows is loaded with its parents", async () => {
  const { put, ...fixture } = createMaster();
  put("a/b/data", "x".repeat(10));
  const info = await fixture.fileSystem.getStatus(root, at("/a/b/data"), STATUS);
  assert.equal(info.lengthBytes, 10);
  assert.equal(info.isCompleted, true);
  assert.equal(info.persistence, "PERSISTED");
  assert.equal(info.blocks.length, 1);
  assert.equal(info.blocks[0]?.lengthBytes, 10);
  assert.notEqual(info.ufsFingerprint, "");
  assert.equal(fixture.blockNamespace.blockLength(info.blocks[0]?.blockId as never), 10);
  assert.equal(await fixture.fileSystem.exists(root, at("/a/b"), STATUS), true);
  assert.equal(await fixture.fileSystem.exists(root, at("/a/no"), STATUS), false);
  // Worker caches it: nothing to journal, but a wrong length is refused.
  const length = fixture.journal.log.length;
  await fixture.blockNamespace.commitBlock(info.blocks[0]?.blockId as never, 10);
  assert.equal(fixture.journal.log.length, length);
});

test("'never' does not ask the under store, and what is known is not asked for again", async () => {
  const { put, ufs, ...fixture } = createMaster();
  put("d/f");
  const never = { ...STATUS, loadMetadata: "never" } as const;
  await rejects(fixture.fileSystem.getStatus(root, at("/d/f"), never), "NOT_FOUND");
  assert.deepEqual(await list(fixture, "/", { loadMetadata: "never" }), []);
  assert.deepEqual(ufs.calls, []);
  await fixture.fileSystem.getStatus(root, at("/d/f"), STATUS);
  const before = ufs.calls.length;
  await fixture.fileSystem.getStatus(root, at("/d/f"), STATUS);
  assert.equal(ufs.calls.length, before);
});

test("a directory is listed in the under store once, and 'always' adds what is new", async () => {
  const { put, ufs, ...fixture } = createMaster();
  for (const path of ["d/b", "d/ä", "d/sub/x", "top"]) put(path);
  assert.deepEqual(await list(fixture, "/"), ["/d", "/top"]);
  assert.deepEqual(await list(fixture, "/", { isRecursive: true }), [
    "/d",
    "/d/b",
    "/d/sub",
    "/d/sub/x",
    "/d/ä",
    "/top",
  ]);
  const before = ufs.calls.length;
  put("d/new");
  assert.equal((await list(fixture, "/d")).includes("/d/new"), false);
  assert.equal(ufs.calls.length, before);
  assert.equal((await list(fixture, "/d", { loadMetadata: "always" })).includes("/d/new"), true);
});

test("ten thousand children are loaded in bounded entries, concurrent loads are joined", async () => {
  const { put, ufs, ...fixture } = createMaster();
  const count = 10_000;
  put("big/0");
  ufs.list = async (path) => {
    ufs.calls.push(`list ${path}`);
    const status = await ufs.status(`${path}/0`);
    assert.ok(status !== null);
    return Array.from({ length: count }, (_, i) => ({ ...status, name: `${i}` }));
  };
  const before = fixture.journal.log.length;
  const [first, second] = await Promise.all([list(fixture, "/big"), list(fixture, "/big")]);
  assert.equal(first.length, count);
  assert.deepEqual(second, first);
  assert.equal(ufs.calls.filter((call) => call.startsWith("list")).length, 1);
  const entries = fixture.journal.log.slice(before);
  assert.ok(entries.length <= 25, String(entries.length));
  assert.ok(entries.every(({ payload }) => payload.length < 1024 * 1024));
});

test("what is made under a name that the under store has is refused", async () => {
  const { put, ...fixture } = createMaster();
  put("there/f");
  await rejects(fixture.fileSystem.createFile(root, at("/there/f"), CREATE_FILE), "ALREADY_EXISTS");
  await rejects(
    fixture.fileSystem.createDirectory(root, at("/there"), CREATE_DIRECTORY),
    "ALREADY_EXISTS",
  );
  await fixture.fileSystem.createDirectory(root, at("/there/new"), CREATE_DIRECTORY);
  assert.deepEqual(await list(fixture, "/there"), ["/there/f", "/there/new"]);
});

test("remove takes it out of the under store before it answers, or leaves it there when asked", async () => {
  const { put, root: path, ...fixture } = createMaster();
  put("d/e/f");
  put("g");
  await rejects(
    fixture.fileSystem.remove(root, at("/d"), { ...REMOVE, isRecursive: false }),
    "FAILED_PRECONDITION",
  );
  await fixture.fileSystem.remove(root, at("/d"), REMOVE);
  assert.equal(existsSync(join(path, "d")), false);
  assert.equal(await fixture.fileSystem.exists(root, at("/d/e/f"), STATUS), false);
  await fixture.fileSystem.remove(root, at("/g"), { ...REMOVE, isAlluxioOnly: true });
  assert.equal(existsSync(join(path, "g")), true);
  const never = { loadMetadata: "never" } as const;
  assert.equal(await fixture.fileSystem.exists(root, at("/g"), never), false);
});

test("rename of what is persisted is done in the under store, with parents that were not there", async () => {
  const { put, root: path, ...fixture } = createMaster();
  put("d/f", "data");
  put("old", "old");
  await fixture.fileSystem.createDirectory(root, at("/new/deep"), {
    ...CREATE_DIRECTORY,
    mode: 0o750,
  });
  await fixture.fileSystem.rename(root, at("/d"), at("/new/deep/d"), { isOverwrite: false });
  assert.equal(readFileSync(join(path, "new/deep/d/f"), "utf8"), "data");
  assert.equal(existsSync(join(path, "d")), false);
  assert.equal(statSync(join(path, "new/deep")).mode & 0o777, 0o750);
  assert.equal(
    (await fixture.fileSystem.getStatus(root, at("/new"), STATUS)).persistence,
    "PERSISTED",
  );
  await fixture.fileSystem.rename(root, at("/new/deep/d/f"), at("/old"), { isOverwrite: true });
  assert.equal(readFileSync(join(path, "old"), "utf8"), "data");
  assert.equal((await fixture.fileSystem.getStatus(root, at("/old"), STATUS)).lengthBytes, 4);
});

test("createDirectory with THROUGH makes it, and its parents, in the under store", async () => {
  const { root: path, ...fixture } = createMaster();
  await fixture.fileSystem.createDirectory(root, at("/a/b"), {
    ...CREATE_DIRECTORY,
    isPersisted: true,
  });
  assert.ok(statSync(join(path, "a/b")).isDirectory());
  assert.equal(
    (await fixture.fileSystem.getStatus(root, at("/a"), STATUS)).persistence,
    "PERSISTED",
  );
});

test("modes are changed in the under store too", async () => {
  const { put, root: path, ...fixture } = createMaster();
  put("f");
  const nothing = {
    owner: null,
    group: null,
    isPinned: null,
    isPersisted: null,
    replicationMin: null,
    replicationMax: null,
    ttlMs: null,
    ttlAction: null,
  };
  await fixture.fileSystem.setAttribute(root, at("/f"), {
    ...nothing,
    isRecursive: false,
    mode: 0o604,
  });
  assert.equal(statSync(join(path, "f")).mode & 0o777, 0o604);
});

test("a file is persisted under the name that it has when its bytes are there", async () => {
  const { put, root: path, ...fixture } = createMaster();
  await writeAsync(fixture, "/d/f", [100, 20]);
  const before = await fixture.fileSystem.getStatus(root, at("/d/f"), STATUS);
  assert.equal(before.persistence, "TO_BE_PERSISTED");
  const [task] = fixture.persistQueue.pending(10, null);
  assert.ok(task !== undefined);
  assert.equal(task.fileId, before.id);
  assert.deepEqual(
    task.blocks.map(({ lengthBytes }) => lengthBytes),
    [100, 20],
  );
  assert.deepEqual(fixture.persistQueue.pending(10, task.fileId), []);
  await fixture.fileSystem.rename(root, at("/d/f"), at("/d/g"), { isOverwrite: false });
  put(task.ufsTempPath.slice(path.length + 1), "y".repeat(120));
  const report = { lengthBytes: 120, ufsFingerprint: "", tempUfsPath: task.ufsTempPath };
  await rejects(
    fixture.persistQueue.persisted(task.fileId, { ...report, lengthBytes: 119 }),
    "INVALID_ARGUMENT",
  );
  await fixture.persistQueue.persisted(task.fileId, report);
  assert.equal(readFileSync(join(path, "d/g"), "utf8").length, 120);
  assert.deepEqual(readdirSync(path), ["d"]);
  const now = await fixture.fileSystem.getStatus(root, at("/d/g"), STATUS);
  assert.equal(now.persistence, "PERSISTED");
  assert.notEqual(now.ufsFingerprint, "");
  assert.deepEqual(fixture.persistQueue.pending(10, null), []);
  await rejects(fixture.persistQueue.persisted(task.fileId, report), "NOT_FOUND"); // told twice
  assert.equal(existsSync(join(path, "d/g")), true);
});

test("bytes that went away before they had their name are not taken for persisted", async () => {
  const { put, root: path, ...fixture } = createMaster();
  await writeAsync(fixture, "/f", [10]);
  const [task] = fixture.persistQueue.pending(1, null);
  assert.ok(task !== undefined);
  put("f", "another"); // by somebody else
  const report = { lengthBytes: 10, ufsFingerprint: "", tempUfsPath: task.ufsTempPath };
  await rejects(fixture.persistQueue.persisted(task.fileId, report), "NOT_FOUND", /is gone/);
  const info = await fixture.fileSystem.getStatus(root, at("/f"), STATUS);
  // The only copy is the workers': it goes on waiting, so that they keep it, and is written again.
  assert.equal(info.persistence, "TO_BE_PERSISTED");
  assert.deepEqual(fixture.persistQueue.pending(1, null), [task]);
  assert.equal(readFileSync(join(path, "f"), "utf8"), "another");
  put(task.ufsTempPath.slice(path.length + 1), "0123456789");
  await fixture.persistQueue.persisted(task.fileId, report);
  assert.equal(readFileSync(join(path, "f"), "utf8"), "0123456789");
});

test("a file removed while it is persisted leaves nothing in the under store", async () => {
  const { put, root: path, ...fixture } = createMaster();
  await writeAsync(fixture, "/f", [10]);
  const [task] = fixture.persistQueue.pending(10, null);
  assert.ok(task !== undefined);
  await fixture.fileSystem.remove(root, at("/f"), REMOVE);
  assert.deepEqual(fixture.persistQueue.pending(10, null), []);
  put(task.ufsTempPath.slice(path.length + 1), "0123456789");
  const report = { lengthBytes: 10, ufsFingerprint: "", tempUfsPath: task.ufsTempPath };
  await rejects(fixture.persistQueue.persisted(task.fileId, report), "NOT_FOUND");
  await until(() => fixture.state.view.intents(0, 1).length === 0);
  assert.deepEqual(readdirSync(path), []);
  await rejects(
    fixture.persistQueue.persisted(task.fileId, { ...report, tempUfsPath: `${path}/precious` }),
    "INVALID_ARGUMENT",
  );
});

test("an empty file is persisted by the leader itself", async () => {
  const { root: path, ...fixture } = createMaster();
  await writeAsync(fixture, "/d/empty", []);
  await until(() => fixture.state.view.intents(0, 1).length === 0);
  assert.equal(statSync(join(path, "d/empty")).size, 0);
  const info = await fixture.fileSystem.getStatus(root, at("/d/empty"), STATUS);
  assert.equal(info.persistence, "PERSISTED");
  assert.deepEqual(fixture.persistQueue.pending(10, null), []);
});

test("scheduleAsyncPersistence() queues a complete file", async () => {
  const { ...fixture } = createMaster();
  const { fileSystem } = fixture;
  await fileSystem.createFile(root, at("/f"), CREATE_FILE);
  await rejects(fileSystem.scheduleAsyncPersistence(root, at("/f")), "INVALID_ARGUMENT");
  const id = await fileSystem.newBlockId(root, at("/f"));
  await fixture.blockNamespace.commitBlock(id, 7);
  await fileSystem.completeFile(root, at("/f"), COMPLETE);
  assert.deepEqual(fixture.persistQueue.pending(10, null), []);
  await fileSystem.scheduleAsyncPersistence(root, at("/f"));
  await fileSystem.scheduleAsyncPersistence(root, at("/f"));
  assert.equal(fixture.persistQueue.pending(10, null).length, 1);
});

test("a new leader does what the old one left undone, in order", async () => {
  const { put, ufs, root: path, ...fixture } = createMaster();
  put("a/f", "one");
  await fixture.fileSystem.getStatus(root, at("/a/f"), STATUS);
  let release: () => void = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  ufs.before = (call) => (call.startsWith("rename") ? held : undefined);
  const first = fixture.fileSystem.rename(root, at("/a"), at("/b"), { isOverwrite: false });
  const second = fixture.fileSystem.rename(root, at("/b/f"), at("/c"), { isOverwrite: false });
  const answers = Promise.all([rejects(first, "UNAVAILABLE"), rejects(second, "UNAVAILABLE")]);
  await until(() => fixture.state.view.intents(0, 9).length === 2);
  fixture.journal.lose();
  await answers;
  assert.equal(existsSync(join(path, "c")), false);
  ufs.before = () => {};
  const next = fixture.takeOver();
  await until(() => next.state.view.intents(0, 9).length === 0);
  assert.equal(readFileSync(join(path, "c"), "utf8"), "one");
  release(); // the old leader's call ends late, and finds nothing to move
  assert.equal((await next.fileSystem.getStatus(root, at("/c"), STATUS)).lengthBytes, 3);
});

test("what is being removed from the under store is not loaded again, and not made before it is gone", async () => {
  const { put, ufs, ...fixture } = createMaster();
  put("f");
  let release: () => void = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  await list(fixture, "/"); // from here on the directory's listing is trusted
  ufs.before = (call) => (call.startsWith("remove") ? held : undefined);
  const removal = fixture.fileSystem.remove(root, at("/f"), REMOVE);
  await until(() => fixture.state.view.intents(0, 1).length === 1);
  const existence = fixture.fileSystem.exists(root, at("/f"), STATUS);
  const creation = fixture.fileSystem.createFile(root, at("/f"), CREATE_FILE);
  let isMade = false;
  void creation.then(() => {
    isMade = true;
  });
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(isMade, false);
  release();
  await Promise.all([removal, existence, creation]);
  assert.equal(await existence.then(() => fixture.fileSystem.exists(root, at("/f"), STATUS)), true);
});

test("what the store said before a directory changed is void, and it is asked again", async () => {
  const { put, ufs, root: path, ...fixture } = createMaster();
  put("known");
  put("f");
  await fixture.fileSystem.getStatus(root, at("/known"), STATUS);
  let asked = 0;
  let removal: Promise<void> | null = null;
  ufs.before = (call) => {
    if (call !== `status ${path}/f`) return;
    asked += 1;
    // Only the entry matters: its intent cannot end before this call does.
    removal ??= fixture.fileSystem.remove(root, at("/known"), REMOVE);
    return until(() => !existsSync(join(path, "known")));
  };
  assert.equal((await fixture.fileSystem.getStatus(root, at("/f"), STATUS)).lengthBytes, 1);
  await removal;
  assert.equal(asked, 2);
  assert.equal(await fixture.fileSystem.exists(root, at("/known"), STATUS), false);
});

test("a store that fails for now is asked again; who waits too long is told to come again", async () => {
  const { put, ufs, root: path, ...fixture } = createMaster();
  put("f");
  let failures = 0;
  ufs.before = (call) => {
    if (!call.startsWith("remove")) return;
    failures += 1;
    throw new RockpoolError("UNAVAILABLE", "not now");
  };
  const call = callBy(ROOT_USER, { high: 1n, low: 1n });
  const removal = rejects(fixture.fileSystem.remove(call, at("/f"), REMOVE), "UNAVAILABLE");
  await until(() => failures === 1 && fixture.events.some(({ kind }) => kind === "intentDelayed"));
  fixture.world.pass(100);
  await until(() => failures === 2);
  fixture.world.pass(INTENT_WAIT_MS);
  await removal;
  ufs.before = () => {};
  const again = fixture.fileSystem.remove(call, at("/f"), REMOVE);
  fixture.world.pass(10_000);
  await again;
  assert.equal(existsSync(join(path, "f")), false);
});

test("what a store refuses for good is told, kept, and holds nobody up", async () => {
  const { put, ufs, ...fixture } = createMaster();
  put("f");
  put("g");
  ufs.before = (call) => {
    if (call.startsWith("remove") && call.endsWith("/f"))
      throw new RockpoolError("PERMISSION_DENIED", "read-only store");
  };
  const call = callBy(ROOT_USER, { high: 1n, low: 1n });
  const removal = () => fixture.fileSystem.remove(call, at("/f"), REMOVE);
  await rejects(removal(), "PERMISSION_DENIED", /read-only store/);
  await rejects(removal(), "PERMISSION_DENIED", /read-only store/); // a retry is told the same
  assert.ok(fixture.events.some(({ kind }) => kind === "intentRefused"));
  assert.deepEqual(
    fixture.refusedIntents(10).map(({ refusal }) => refusal),
    ["read-only store"],
  );
  await fixture.fileSystem.remove(root, at("/g"), REMOVE);
  const next = fixture.takeOver();
  await next.fileSystem.createDirectory(root, at("/d"), CREATE_DIRECTORY);
  assert.equal(next.refusedIntents(10).length, 1);
});

test("another root under store than the journal's is reported, and not used", async () => {
  const { root: path, ufs, ...fixture } = createMaster();
  await fixture.fileSystem.exists(root, at("/x"), STATUS);
  fixture.journal.lose();
  const next = createMasterFixture({ ufs, rootUfsUri: "/elsewhere", store: fixture.state.store });
  assert.deepEqual(next.events, [
    { kind: "rootUfsDiffers", configuredUri: "/elsewhere", journaledUri: path },
  ]);
  assert.equal((await next.fileSystem.getStatus(root, at("/"), STATUS)).ufsPath, path);
});

test("names that no path can have are left out of a listing and reported", async () => {
  const { put, root: path, ...fixture } = createMaster();
  put("ok");
  writeFileSync(Buffer.concat([Buffer.from(`${path}/bad-`), Buffer.from([0xff, 0xfe])]), "x");
  assert.deepEqual(await list(fixture, "/"), ["/ok"]);
});

test("one operation proposed twice at the same time is done once", async () => {
  const fixture = createMaster();
  const call = callBy(ROOT_USER, { high: 3n, low: 3n });
  const create = () => fixture.fileSystem.createFile(call, at("/f"), CREATE_FILE);
  const [first, second] = await Promise.all([create(), create()]);
  assert.equal(first.id, second.id);
});

test("a directory that is moved while its under store is asked does not lose its children", async () => {
  const { put, ufs, root: path, ...fixture } = createMaster();
  put("a/d/f");
  await fixture.fileSystem.getStatus(root, at("/a/d"), STATUS);
  let rename: Promise<void> | null = null;
  ufs.before = async (call) => {
    if (call !== `list ${path}/a/d` || rename !== null) return;
    rename = fixture.fileSystem.rename(root, at("/a"), at("/b"), { isOverwrite: false });
    await until(() => existsSync(join(path, "b/d/f")));
  };
  await list(fixture, "/a/d");
  await rename;
  assert.deepEqual(await list(fixture, "/b/d"), ["/b/d/f"]);
});

test("what came into the under store behind our back goes only with who asks for all of it", async () => {
  const { put, root: path, ...fixture } = createMaster();
  await fixture.fileSystem.createDirectory(root, at("/d"), {
    ...CREATE_DIRECTORY,
    isPersisted: true,
  });
  assert.deepEqual(await list(fixture, "/d"), []);
  put("d/precious");
  const plain = { ...REMOVE, isRecursive: false };
  await rejects(fixture.fileSystem.remove(root, at("/d"), plain), "FAILED_PRECONDITION");
  assert.equal(existsSync(join(path, "d/precious")), true);
  assert.deepEqual(await list(fixture, "/d"), ["/d/precious"]); // it is seen from now on
  await fixture.fileSystem.remove(root, at("/d"), REMOVE);
  assert.equal(existsSync(join(path, "d")), false);
});

test("a tree with what its remover may not touch stays, also where it was never looked at", async () => {
  const { put, root: path, ...fixture } = createMaster();
  const { fileSystem } = fixture;
  put("home/deep/theirs/f");
  const owner = { ...NO_CHANGE, owner: "alice" };
  await fileSystem.setAttribute(root, at("/home/deep"), owner);
  await fileSystem.setAttribute(root, at("/home"), owner);
  const alice = callBy(ALICE);
  await rejects(fileSystem.remove(alice, at("/home/deep"), REMOVE), "PERMISSION_DENIED", /theirs/);
  assert.equal(existsSync(join(path, "home/deep/theirs/f")), true);
  put("home/other/theirs/f");
  await fileSystem.setAttribute(root, at("/home/other"), owner);
  await fileSystem.remove(alice, at("/home/other"), { ...REMOVE, isAlluxioOnly: true });
  assert.equal(existsSync(join(path, "home/other/theirs/f")), true);
});

test("a store that knows no case answers by another name, once", async () => {
  const { put, ufs, root: path, ...fixture } = createMaster();
  put("Name");
  const status = ufs.status.bind(ufs);
  ufs.status = (asked) => status(asked === `${path}/name` ? `${path}/Name` : asked);
  const info = await fixture.fileSystem.getStatus(root, at("/name"), STATUS);
  assert.equal(info.name, "name");
});

test("what a store refuses for good is taken back in the namespace", async () => {
  const { put, ufs, root: path, ...fixture } = createMaster();
  const { fileSystem } = fixture;
  put("a/f", "source");
  put("b/f", "other");
  assert.deepEqual(await list(fixture, "/", { isRecursive: true }), ["/a", "/a/f", "/b", "/b/f"]);
  const before = await fileSystem.getStatus(root, at("/a/f"), STATUS);
  ufs.before = (call) => {
    if (/^(rename|remove|mkdir)/.test(call))
      throw new RockpoolError("PERMISSION_DENIED", "read-only store");
  };
  const overwrite = { isOverwrite: true };
  await rejects(fileSystem.rename(root, at("/a/f"), at("/b/f"), overwrite), "PERMISSION_DENIED");
  await rejects(fileSystem.rename(root, at("/a"), at("/c"), overwrite), "PERMISSION_DENIED");
  const after = await fileSystem.getStatus(root, at("/a/f"), STATUS);
  assert.deepEqual([after.id, after.ufsPath], [before.id, before.ufsPath]);
  assert.deepEqual(await list(fixture, "/", { isRecursive: true }), ["/a", "/a/f", "/b", "/b/f"]);
  await rejects(fileSystem.remove(root, at("/b"), REMOVE), "PERMISSION_DENIED");
  assert.deepEqual(await list(fixture, "/", { isRecursive: true }), ["/a", "/a/f", "/b", "/b/f"]);
  const persisted = { ...CREATE_DIRECTORY, isPersisted: true, allowExists: true };
  const make = () => fileSystem.createDirectory(root, at("/d"), persisted);
  await rejects(make(), "PERMISSION_DENIED");
  await rejects(make(), "PERMISSION_DENIED");
  ufs.before = () => {};
  await make();
  assert.equal(existsSync(join(path, "d")), true);
});

test("a rename that a store refuses stays where others went on from it", async () => {
  const { put, ufs, ...fixture } = createMaster();
  const { fileSystem } = fixture;
  put("f");
  await list(fixture, "/");
  let refuse = () => {};
  const held = new Promise<void>((resolve) => {
    refuse = resolve;
  });
  ufs.before = async (call) => {
    if (!call.startsWith("rename")) return;
    await held;
    throw new RockpoolError("PERMISSION_DENIED", "read-only store");
  };
  const first = fileSystem.rename(root, at("/f"), at("/g"), { isOverwrite: false });
  await until(() => fixture.state.view.childId(0n as never, "g") !== null);
  await fileSystem.createFile(root, at("/x"), CREATE_FILE);
  const second = fileSystem.rename(root, at("/g"), at("/h"), { isOverwrite: false });
  await until(() => fixture.state.view.childId(0n as never, "h") !== null);
  refuse();
  await rejects(first, "PERMISSION_DENIED");
  await rejects(second, "PERMISSION_DENIED");
  assert.equal(await fileSystem.exists(root, at("/g"), { loadMetadata: "never" }), true);
});

for (const isLost of [false, true])
  test(`who makes a file is answered only when nothing of before it can take its bytes away (leader lost: ${isLost})`, async () => {
    const { put, ufs, root: path, ...fixture } = createMaster();
    const { fileSystem } = fixture;
    put("f", "old");
    await list(fixture, "/");
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    ufs.before = (call) => (call.startsWith("remove") ? held : undefined);
    const order: string[] = [];
    // Both are checked before either is applied; the removal comes first in the journal.
    const removal = fileSystem.remove(root, at("/f"), REMOVE).then(() => order.push("removed"));
    const creation = fileSystem
      .createFile(root, at("/f"), { ...CREATE_FILE, isOverwrite: true })
      .then(() => order.push("made"));
    const isMade = () => {
      const file = fixture.state.view.child(0n as never, "f");
      return file?.kind === "file" && !file.isCompleted;
    };
    await until(() => ufs.calls.includes(`remove ${path}/f`) && isMade());
    for (let turns = 10; turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(order, []);
    if (isLost) {
      // What is pending is the next leader's to do: this one can promise nothing.
      fixture.journal.lose();
      await rejects(removal, "UNAVAILABLE");
      await rejects(creation, "UNAVAILABLE");
      release();
      return;
    }
    release();
    await Promise.all([removal, creation]);
    assert.equal(existsSync(join(path, "f")), false);
  });
