import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { BlockId } from "../common/ids.ts";
import {
  ALICE,
  at,
  CREATE_DIRECTORY,
  CREATE_FILE,
  callBy,
  type MasterFixture,
  STATUS,
  until,
} from "./master_fixture.ts";
import { COMPLETE, createMaster, list, rejects, root } from "./ufs_fixture.ts";

const FREE = { isRecursive: true, isForced: false };
const PIN = {
  isRecursive: false,
  owner: null,
  group: null,
  mode: null,
  isPinned: true,
  isPersisted: null,
  replicationMin: null,
  replicationMax: null,
  ttlMs: null,
  ttlAction: null,
} as const;

/** A file of one block that workers alone have. @returns its block */
async function writeCached(fixture: MasterFixture, path: string): Promise<BlockId> {
  await fixture.fileSystem.createFile(root, at(path), CREATE_FILE);
  const block = await fixture.fileSystem.newBlockId(root, at(path));
  await fixture.blockNamespace.commitBlock(block, 5);
  await fixture.fileSystem.completeFile(root, at(path), COMPLETE);
  return block;
}

async function blocksAt(fixture: MasterFixture, path: string): Promise<readonly BlockId[]> {
  const { blocks } = await fixture.fileSystem.getStatus(root, at(path), STATUS);
  return blocks.map(({ blockId }) => blockId);
}

test("free() has the blocks of every persisted file below dropped, and keeps the files", async () => {
  const { put, ...fixture } = createMaster();
  put("d/a", "xx");
  put("d/sub/b", "yyy");
  put("other", "z");
  await list(fixture, "/", { isRecursive: true });
  await fixture.fileSystem.free(root, at("/d"), FREE);
  const wanted = [...(await blocksAt(fixture, "/d/a")), ...(await blocksAt(fixture, "/d/sub/b"))];
  assert.equal(wanted.length, 2);
  assert.deepEqual(fixture.freedBlocks, wanted);
  assert.deepEqual(fixture.removedBlocks, []);
  assert.deepEqual(await list(fixture, "/d", { isRecursive: true }), [
    "/d/a",
    "/d/sub",
    "/d/sub/b",
  ]);
  await fixture.fileSystem.free(root, at("/other"), { ...FREE, isRecursive: false });
  assert.equal(fixture.freedBlocks.length, 3);
});

test("free() of a tree with one file that is not persisted frees nothing", async () => {
  const { put, ...fixture } = createMaster();
  put("d/a", "xx");
  await list(fixture, "/d");
  await writeCached(fixture, "/d/only");
  await rejects(
    fixture.fileSystem.free(root, at("/d"), { ...FREE, isForced: true }),
    "FAILED_PRECONDITION",
    /^Cannot free file \/d\/only which is not persisted$/,
  );
  await rejects(fixture.fileSystem.free(root, at("/d/none"), FREE), "NOT_FOUND");
  await rejects(
    fixture.fileSystem.free(root, at("/d"), { ...FREE, isRecursive: false }),
    "FAILED_PRECONDITION",
    /^Cannot free directory \/d which is not empty/,
  );
  assert.deepEqual(fixture.freedBlocks, []);
});

test("free() leaves pinned files alone unless forced, and then unpins them", async () => {
  const { put, ...fixture } = createMaster();
  put("d/a", "xx");
  await list(fixture, "/d");
  await fixture.fileSystem.setAttribute(root, at("/d/a"), PIN);
  await rejects(
    fixture.fileSystem.free(root, at("/d"), FREE),
    "FAILED_PRECONDITION",
    /which is pinned/,
  );
  assert.deepEqual(fixture.freedBlocks, []);
  await fixture.fileSystem.free(root, at("/d"), { ...FREE, isForced: true });
  assert.deepEqual(fixture.freedBlocks, await blocksAt(fixture, "/d/a"));
  const { isPinned } = await fixture.fileSystem.getStatus(root, at("/d/a"), STATUS);
  assert.equal(isPinned, false);
});

test("free() and checkConsistency() need the right to look at all of it", async () => {
  const { put, ...fixture } = createMaster();
  const alice = callBy(ALICE);
  put("d/a", "xx");
  await list(fixture, "/d");
  await fixture.fileSystem.createDirectory(root, at("/d/closed"), {
    ...CREATE_DIRECTORY,
    mode: 0o700,
  });
  await rejects(
    fixture.fileSystem.free(alice, at("/d"), FREE),
    "PERMISSION_DENIED",
    /^Permission denied: user=alice/,
  );
  await rejects(fixture.fileSystem.checkConsistency(alice, at("/d")), "PERMISSION_DENIED");
  assert.deepEqual(fixture.freedBlocks, []);
  await fixture.fileSystem.free(alice, at("/d/a"), FREE);
  assert.equal(fixture.freedBlocks.length, 1);
});

test("checkConsistency() names what the under store has otherwise", async () => {
  const { put, root: folder, ...fixture } = createMaster();
  for (const name of ["kept", "gone", "grown", "turned"]) put(`d/${name}`, "xx");
  put("d/sub/file", "x");
  await list(fixture, "/", { isRecursive: true });
  await writeCached(fixture, "/d/only");
  await writeCached(fixture, "/d/hidden");
  assert.deepEqual(await fixture.fileSystem.checkConsistency(root, at("/")), []);
  rmSync(join(folder, "d/gone"));
  writeFileSync(join(folder, "d/grown"), "longer than before");
  rmSync(join(folder, "d/turned"));
  put("d/turned/now/a", "directory");
  rmSync(join(folder, "d/sub"), { recursive: true });
  put("d/hidden", "of somebody else");
  assert.deepEqual(await fixture.fileSystem.checkConsistency(root, at("/")), [
    "/d/gone",
    "/d/grown",
    "/d/hidden",
    "/d/sub",
    "/d/sub/file",
    "/d/turned",
  ]);
  assert.deepEqual(await fixture.fileSystem.checkConsistency(root, at("/d/kept")), []);
  assert.deepEqual(await fixture.fileSystem.checkConsistency(root, at("/d/gone")), ["/d/gone"]);
});

test("checkConsistency() waits for what is on its way to the under store", async () => {
  const { put, ufs, ...fixture } = createMaster();
  put("a", "xx");
  await list(fixture, "/");
  let letGo = () => {};
  const held = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  ufs.before = (call) => (call.startsWith("rename ") ? held : undefined);
  const renaming = fixture.fileSystem.rename(root, at("/a"), at("/b"), { isOverwrite: false });
  await until(() => ufs.calls.some((call) => call.startsWith("rename ")));
  const checking = fixture.fileSystem.checkConsistency(root, at("/"));
  await until(() => ufs.calls.some((call) => call.startsWith("status") && call.endsWith("/b")));
  letGo();
  assert.deepEqual(await checking, []);
  await renaming;
});
