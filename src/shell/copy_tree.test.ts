import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { FakeCluster } from "../../test/fake_cluster.ts";
import { FileSystem } from "../client/file_system.ts";
import { isRockpoolError } from "../common/errors.ts";
import type { Console } from "./console.ts";
import { type Place, TreeCopy } from "./copy_tree.ts";
import { Progress } from "./progress.ts";

const folder = mkdtempSync(join(tmpdir(), "rockpool-copy-tree-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const console: Console = {
  out: async () => {},
  err: () => {},
  isTerminal: false,
  ask: null,
  env: {},
  cwd: folder,
  home: folder,
  signal: new AbortController().signal,
};
const OPTIONS = { isRecursive: true, isPreserving: false, threads: 2, bufferBytes: null };

function copy(from: Place, to: Place): Promise<void> {
  return new TreeCopy(console, new Progress(console), OPTIONS).copy(from, to);
}

const isWithinItself = (error: unknown) =>
  isRockpoolError(error, "INVALID_ARGUMENT") && /which is within it$/.test(error.message);

test("copy() refuses a tree into itself, and makes nothing", async () => {
  const tree = join(folder, "tree");
  mkdirSync(join(tree, "in"), { recursive: true });
  writeFileSync(join(tree, "file"), "x");
  const place = (path: string): Place => ({ kind: "local", path });
  // Into itself; to a new name in it; into a directory of it.
  for (const to of [tree, join(tree, "new"), join(tree, "in")])
    await assert.rejects(copy(place(tree), place(to)), isWithinItself, to);
  assert.deepEqual(readdirSync(tree, { recursive: true }).sort(), ["file", "in"]);
  // A name that only begins alike is another one.
  await copy(place(tree), place(`${tree}2`));
  assert.deepEqual(readdirSync(`${tree}2`).sort(), ["file", "in"]);
});

test("copy() refuses it within the cluster, too", async () => {
  const cluster = await FakeCluster.start({ masters: 1, workers: ["w1"] });
  const other = await FakeCluster.start({ masters: 1, workers: ["w1"] });
  const files = await FileSystem.connect({ masters: cluster.masters });
  const place = (path: string): Place => ({ kind: "cluster", path, files });
  try {
    await files.createDirectory("/t");
    await files.createDirectory("/t/in");
    for (const to of ["/t", "/t/new", "/t/in", "/t//new/"])
      await assert.rejects(copy(place("/t"), place(to)), isWithinItself, to);
    // The same path in another cluster is no part of it.
    const elsewhere = await FileSystem.connect({ masters: other.masters });
    try {
      await elsewhere.createDirectory("/t");
      await copy(place("/t"), { kind: "cluster", path: "/t/new", files: elsewhere });
      assert.ok(other.files.has("/t/new/in"));
    } finally {
      await elsewhere.close();
    }
  } finally {
    await files.close();
    await cluster.stop();
    await other.stop();
  }
});
