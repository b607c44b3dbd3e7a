/**
 * Ctrl-C at every point of a copy: after 130 there is no file; what was whole by then is said and ends with 0.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { FakeCluster } from "../../test/fake_cluster.ts";
import { FileSystem } from "../client/file_system.ts";
import { isRockpoolError } from "../common/errors.ts";
import { runCli, type ShellParts } from "./cli.ts";
import { type Console, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, Interrupted } from "./console.ts";
import { TreeCopy } from "./copy_tree.ts";
import { Progress } from "./progress.ts";

const KB = 1024;
const PARTS: ShellParts = {
  version: "0",
  runLocal: () => Promise.reject(new Error("not here")),
  journalTools: () => Promise.reject(new Error("no journal here")),
  storeTests: () => Promise.reject(new Error("not here")),
  local: () => Promise.reject(new Error("not here")),
  askZooKeeper: () => Promise.reject(new Error("not here")),
  cliScript: "",
  processes: {
    mainScript: "",
    formatMaster: () => Promise.reject(new Error("not here")),
    usedSharedJournal: () => Promise.resolve(null),
    formatWorker: () => Promise.reject(new Error("not here")),
  },
};

const folder = mkdtempSync(join(tmpdir(), "rockpool-interrupt-"));
const cleanups: (() => Promise<void>)[] = [];
after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
  rmSync(folder, { recursive: true, force: true });
});

async function startCluster(masters = 1): Promise<FakeCluster> {
  const cluster = await FakeCluster.start({ masters, workers: ["w1"] });
  cleanups.push(() => cluster.stop());
  return cluster;
}

type Stage = { readonly console: Console; readonly interrupt: () => void; text: string };

/** A console that notes what is printed, and on which Ctrl-C can be pressed. */
function stage(onOut: () => void = () => undefined): Stage {
  const aborter = new AbortController();
  const made: Stage = {
    text: "",
    interrupt: () => aborter.abort(new Interrupted()),
    console: {
      out: async (text) => {
        made.text += String(text);
        onOut();
      },
      err: (text) => {
        made.text += text;
      },
      isTerminal: false,
      ask: null,
      env: {},
      cwd: folder,
      home: folder,
      signal: aborter.signal,
    },
  };
  return made;
}

function localFile(sizeBytes: number): string {
  const path = join(folder, `f${sizeBytes}`);
  writeFileSync(path, Buffer.alloc(sizeBytes, 7));
  return path;
}

function command(cluster: FakeCluster, writeType: string, ...words: string[]): string[] {
  return [
    "fs",
    `-Dalluxio.master.rpc.addresses=${cluster.masters.join(",")}`,
    `-Dalluxio.user.file.writetype.default=${writeType}`,
    "-Dalluxio.user.block.size.bytes.default=256KB",
    ...words,
  ];
}

/** Some turns of the event loop: what an interruption sets off at once is under way. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

type Point = {
  readonly at: readonly [method: string, point: "came" | "done"];
  readonly sizeBytes: number;
  readonly expected: "gone" | "whole";
};

const POINTS: readonly Point[] = [
  { at: ["CreateFile", "came"], sizeBytes: 100 * KB, expected: "gone" },
  { at: ["CreateFile", "done"], sizeBytes: 100 * KB, expected: "gone" },
  // The first of three blocks: bytes are still to come.
  { at: ["WriteBlock", "came"], sizeBytes: 600 * KB, expected: "gone" },
  { at: ["WriteBlock", "done"], sizeBytes: 600 * KB, expected: "gone" },
  // The only block: all bytes are there.
  { at: ["WriteBlock", "came"], sizeBytes: 100 * KB, expected: "whole" },
  { at: ["WriteBlock", "done"], sizeBytes: 100 * KB, expected: "whole" },
  { at: ["CompleteFile", "came"], sizeBytes: 100 * KB, expected: "whole" },
  { at: ["CompleteFile", "done"], sizeBytes: 100 * KB, expected: "whole" },
];

for (const { at, sizeBytes, expected } of POINTS)
  test(`Ctrl-C when ${at.join(" ")}, of ${sizeBytes} bytes: the file is ${expected}`, async () => {
    const cluster = await startCluster();
    const from = localFile(sizeBytes);
    for (const writeType of ["MUST_CACHE", "CACHE_THROUGH", "THROUGH", "ASYNC_THROUGH"]) {
      // Without a cache there are no blocks; the one stream ends with the last byte.
      if (writeType === "THROUGH" && at[0] === "WriteBlock" && expected === "gone") continue;
      const to = `/${writeType}`;
      const scene = stage();
      cluster.atPoint = (method, point) => {
        if (method !== at[0] || point !== at[1]) return undefined;
        scene.interrupt();
        return turns();
      };
      const words = command(cluster, writeType, "copyFromLocal", from, to);
      const exit = await runCli(words, scene.console, PARTS);
      cluster.atPoint = null;
      if (expected === "gone") {
        assert.deepEqual([exit, scene.text], [EXIT_INTERRUPTED, ""], writeType);
        assert.equal(cluster.files.has(to), false, writeType);
        assert.equal(cluster.ufs.has(`/ufs${to}`), false, writeType);
      } else {
        assert.deepEqual([exit, scene.text], [EXIT_OK, `Copied file://${from} to ${to}\n`]);
        assert.equal(cluster.files.get(to)?.isCompleted, true, writeType);
      }
    }
  });

test("Ctrl-C when the copy has said that it is done changes nothing", async () => {
  const cluster = await startCluster();
  const scene = stage(() => scene.interrupt());
  const words = command(cluster, "MUST_CACHE", "copyFromLocal", localFile(KB), "/f");
  assert.equal(await runCli(words, scene.console, PARTS), EXIT_OK);
  assert.equal(cluster.files.get("/f")?.isCompleted, true);
});

test("Ctrl-C while nobody leads ends a copy that has begun nothing", async () => {
  const cluster = await startCluster(2);
  cluster.leader = -1;
  const scene = stage();
  const words = command(cluster, "MUST_CACHE", "copyFromLocal", localFile(KB), "/f");
  const exit = runCli(words, scene.console, PARTS);
  await turns();
  scene.interrupt();
  assert.deepEqual([await exit, scene.text], [EXIT_INTERRUPTED, ""]);
  assert.equal(cluster.files.has("/f"), false);
});

test("Ctrl-C during `fs touch` leaves no file, unless it is whole", async () => {
  const cluster = await startCluster();
  for (const [method, expected] of [
    ["CreateFile", EXIT_INTERRUPTED],
    ["CompleteFile", EXIT_OK],
  ] as const) {
    const scene = stage();
    cluster.atPoint = (name) => {
      if (name !== method) return undefined;
      scene.interrupt();
      return turns();
    };
    const words = command(cluster, "ASYNC_THROUGH", "touch", `/${method}`);
    assert.equal(await runCli(words, scene.console, PARTS), expected, scene.text);
    assert.equal(cluster.files.has(`/${method}`), expected === EXIT_OK);
  }
});

test("Ctrl-C during a tree leaves whole files alone", async () => {
  const cluster = await startCluster();
  const tree = join(folder, "tree");
  mkdirSync(tree);
  for (let at = 0; at < 20; at++) writeFileSync(join(tree, `f${at}`), Buffer.alloc(10 * KB));
  const scene = stage();
  let completions = 0;
  cluster.atPoint = (method, point) => {
    if (method !== "CompleteFile" || point !== "came" || ++completions < 5) return undefined;
    scene.interrupt();
    return turns();
  };
  const words = command(cluster, "ASYNC_THROUGH", "copyFromLocal", "--thread", "2", tree, "/tree");
  assert.equal(await runCli(words, scene.console, PARTS), EXIT_INTERRUPTED);
  const files = [...cluster.files].filter(([path]) => path.startsWith("/tree/"));
  assert.ok(files.length >= 5 && files.length < 20, `${files.length}`);
  for (const [path, { isCompleted }] of files) {
    assert.ok(isCompleted, path);
    assert.ok(scene.text.includes(` to ${path}\n`), path);
  }
});

test("Ctrl-C during a copy to the local disk leaves no file there", async () => {
  const cluster = await startCluster();
  const from = localFile(600 * KB);
  const words = command(cluster, "MUST_CACHE", "copyFromLocal", from, "/f");
  assert.equal(await runCli(words, stage().console, PARTS), EXIT_OK);
  const target = join(folder, "down");
  mkdirSync(target);
  const scene = stage();
  cluster.worker("w1").onRead = scene.interrupt;
  const down = command(cluster, "MUST_CACHE", "copyToLocal", "/f", join(target, "f"));
  assert.equal(await runCli(down, scene.console, PARTS), EXIT_INTERRUPTED);
  assert.deepEqual(readdirSync(target), []);
});

/** A master that never answers once it came to this point. */
async function copyToHangingMaster(
  hangs: (cluster: FakeCluster, method: string, point: "came" | "done") => boolean,
) {
  const cluster = await startCluster(2);
  const files = await FileSystem.connect({ masters: cluster.masters, patience: { settleMs: 100 } });
  cleanups.push(() => files.close());
  const scene = stage();
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  cleanups.push(async () => release());
  cluster.atPoint = (method, point) => {
    if (!hangs(cluster, method, point)) return undefined;
    scene.interrupt();
    return held;
  };
  const options = { isRecursive: true, isPreserving: false, threads: 1, bufferBytes: null };
  const copy = new TreeCopy(scene.console, new Progress(scene.console), options);
  const from = { kind: "local" as const, path: localFile(KB) };
  const failure = await copy.copy(from, { kind: "cluster", files, path: "/f" }).then(
    () => null,
    (error: unknown) => error,
  );
  return { cluster, failure, text: scene.text };
}

test("a completion that is not answered is looked up: not done, so the file goes", async () => {
  const { cluster, failure } = await copyToHangingMaster(
    (_, method, point) => method === "CompleteFile" && point === "came",
  );
  assert.ok(failure instanceof Error && !isRockpoolError(failure, "UNKNOWN"), String(failure));
  assert.equal(cluster.files.has("/f"), false);
});

test("a completion that is not answered is looked up: done, so the copy is", async () => {
  const { cluster, failure, text } = await copyToHangingMaster(
    (_, method, point) => method === "CompleteFile" && point === "done",
  );
  assert.equal(failure, null);
  assert.match(text, /^Copied /);
  assert.equal(cluster.files.get("/f")?.isCompleted, true);
});

test("a file of which no master says what became of it is named, and nothing is promised", async () => {
  for (const last of ["CreateFile", "CompleteFile"]) {
    const { failure } = await copyToHangingMaster((cluster, method, point) => {
      if (method !== last || point !== "done") return false;
      cluster.leader = -1;
      return true;
    });
    assert.ok(isRockpoolError(failure, "UNKNOWN"), String(failure));
    assert.match(failure.message, /^\/f may have been left there/);
    const scene = stage();
    const parts: ShellParts = { ...PARTS, runLocal: () => Promise.reject(failure) };
    scene.interrupt();
    assert.equal(await runCli(["local"], scene.console, parts), EXIT_FAILED);
    assert.match(scene.text, /^\/f may have been left there.*fs ls/);
  }
});
