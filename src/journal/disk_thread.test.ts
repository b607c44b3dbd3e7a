import assert from "node:assert/strict";
import { closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { BATCH_BYTES_MAX } from "../common/limits.ts";
import { DiskThread } from "./disk_thread.ts";
import { nodeFileSystem, SyncError, writeDurably } from "./file_system.ts";
import { isNoSpace } from "./wal_failure.ts";

const root = mkdtempSync(join(tmpdir(), "rockpool-disk-"));
after(() => rmSync(root, { recursive: true, force: true }));

/** The thread as the product starts it. */
async function diskThread(): Promise<DiskThread> {
  const outfile = join(root, "journal_thread.mjs");
  await build({
    entryPoints: ["src/journal_thread_main.ts"],
    outfile,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    loader: { ".wasm": "binary" },
    logLevel: "silent",
  });
  return new DiskThread(pathToFileURL(outfile), (disk) => ({ disk }));
}

test("DiskThread writes each part where it belongs, and tells what failed", async () => {
  const disk = await diskThread();
  const path = join(root, "file");
  const file = await nodeFileSystem(disk).create(path);
  const part = (text: string, positionBytes: number) => ({
    bytes: new TextEncoder().encode(text),
    positionBytes,
  });
  await writeDurably(file, [part("behind", 6), part("before", 0)]);
  assert.equal(readFileSync(path, "utf8"), "beforebehind");
  for (let count = 0; count < 100; count++) await writeDurably(file, [part(`${count} `, 0)]);
  await writeDurably(file, []);
  assert.equal(readFileSync(path, "utf8"), "99 orebehind");

  const large = new Uint8Array(2 * BATCH_BYTES_MAX).fill(7);
  const bytes = large.subarray(0, BATCH_BYTES_MAX);
  await writeDurably(file, [{ bytes, positionBytes: 0 }]);
  assert.ok(readFileSync(path).equals(bytes));
  // More than it takes at once goes the long way.
  assert.equal(disk.takes([{ bytes: large, positionBytes: 0 }]), false);
  await writeDurably(file, [{ bytes: large, positionBytes: 0 }]);
  assert.ok(readFileSync(path).equals(large));
  file.close();

  const readOnly = openSync(path, constants.O_RDONLY);
  await assert.rejects(disk.write(readOnly, [part("no", 0)]), /EBADF/);
  closeSync(readOnly);
  const full = openSync("/dev/full", constants.O_WRONLY);
  await assert.rejects(disk.write(full, [part("no", 0)]), isNoSpace);
  // Nothing is written to it; and it can't be synced.
  await assert.rejects(disk.write(full, []), SyncError);
  closeSync(full);
});

/** A thread that does as it is told here. */
function faultyThread(script: string): DiskThread {
  const head = 'import { workerData } from "node:worker_threads"; const { control } = workerData;';
  const url = new URL(`data:text/javascript,${encodeURIComponent(`${head}${script}`)}`);
  return new DiskThread(url, (shared) => shared);
}

const WAIT = "Atomics.wait(control, 0, 0);";

for (const [what, script] of [
  ["ended", `${WAIT}`],
  ["failed", `${WAIT} throw new Error("no more");`],
  ["never began", "throw new Error('no more');"],
] as const)
  test(`DiskThread.write() fails when the thread ${what}, and so does every later one`, async () => {
    const disk = faultyThread(script);
    const part = { bytes: Uint8Array.of(1), positionBytes: 0 };
    await assert.rejects(disk.write(0, [part]), /The disk's thread is gone: (it ended|no more)/);
    await assert.rejects(disk.write(0, [part]), /The disk's thread is gone/);
  });

test("DiskThread.write() takes nothing for done that the thread has not counted", async () => {
  const disk = faultyThread(`${WAIT} Atomics.notify(control, 1); Atomics.wait(control, 0, 1);`);
  await assert.rejects(disk.write(0, []), /as many jobs/);
  await assert.rejects(disk.write(0, []), /as many jobs/);
});
