import assert from "node:assert/strict";
import { test } from "node:test";
import { ROOT_INODE_ID } from "../common/ids.ts";
import type { Path } from "../common/path.ts";
import { walkTree } from "./listing.ts";
import { CREATE_FILE } from "./master_fixture.ts";
import { INITIALIZE, Replica } from "./state_fixture.ts";

const BATCH = 3;

function replicaOf(names: readonly string[]): Replica {
  const replica = new Replica();
  replica.run(INITIALIZE);
  for (const name of names)
    replica.run({ ...CREATE_FILE, kind: "createFile", path: `/${name}` as Path });
  return replica;
}

/** Lists the root; `pause` is given how often it was called. */
async function listRoot(replica: Replica, pause: (count: number) => void): Promise<string[]> {
  let count = 0;
  const parts = {
    view: replica.state.view,
    prepare: () => {},
    mayEnter: () => true,
    pause: async () => pause(++count),
  };
  const found: string[] = [];
  const frames = [{ directoryId: ROOT_INODE_ID, path: "/" as Path, afterName: null }];
  for await (const batch of walkTree(parts, frames, { isRecursive: true, batchSize: BATCH }))
    for (const { path, inode } of batch) {
      assert.equal(path, `/${inode.name}`);
      found.push(path);
    }
  return found;
}

const NAMES = Array.from({ length: 20 }, (_, i) => String.fromCharCode(97 + i));

test("walkTree() gives way after each batch, also when nobody takes what it finds", async () => {
  let paused = 0;
  const found = await listRoot(replicaOf(NAMES), () => {
    paused += 1;
  });
  assert.equal(found.length, NAMES.length);
  assert.equal(paused, Math.floor(NAMES.length / BATCH));
});

test("walkTree() shows what was always there, by the name that it has, while other things change", async () => {
  const replica = replicaOf(NAMES);
  const found = await listRoot(replica, (count) => {
    if (count !== 1) return;
    // Within the names that were read ahead: renamed, replaced, and given another id.
    replica.run({ kind: "rename", path: "/f" as Path, dstPath: "/zz" as Path, isOverwrite: false });
    replica.run({ ...CREATE_FILE, kind: "createFile", path: "/g" as Path, isOverwrite: true });
    replica.run({ kind: "newBlock", path: "/h" as Path });
    replica.run({ kind: "newBlock", path: "/h" as Path });
    const before = replica.state.view.childId(ROOT_INODE_ID, "h");
    replica.run({
      kind: "completeFile",
      path: "/h" as Path,
      ufsLengthBytes: 200,
      isAsyncPersist: false,
      contentHash: "",
    });
    assert.notEqual(replica.state.view.childId(ROOT_INODE_ID, "h"), before);
  });
  assert.deepEqual(
    found,
    [...NAMES.filter((name) => name !== "f"), "zz"].map((name) => `/${name}`),
  );
});

test("walkTree() makes smaller batches of files with many blocks", async () => {
  const replica = replicaOf(["a", "b", "c"]);
  for (const path of ["/a", "/b", "/c"] as Path[])
    replica.run({
      kind: "completeFile",
      path,
      ufsLengthBytes: 60_000 * CREATE_FILE.blockSizeBytes,
      isAsyncPersist: false,
      contentHash: "",
    });
  const frames = [{ directoryId: ROOT_INODE_ID, path: "/" as Path, afterName: null }];
  const { view } = replica.state;
  const parts = { view, prepare: () => {}, mayEnter: () => true, pause: async () => {} };
  const sizes: number[] = [];
  for await (const batch of walkTree(parts, frames, { isRecursive: false, batchSize: 100 }))
    sizes.push(batch.length);
  assert.deepEqual(sizes, [2, 1]);
});

test("walkTree() ends with what its pause throws", async () => {
  const failed = listRoot(replicaOf(NAMES), () => {
    throw new RangeError("no leader");
  });
  await assert.rejects(failed, RangeError);
});
