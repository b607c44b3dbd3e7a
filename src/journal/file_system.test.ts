import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { isRockpoolError } from "../common/errors.ts";
import { nodeFileSystem, writeFully } from "./file_system.ts";
import { type DiskOperation, MemoryFileSystem, SECTOR_BYTES } from "./memory_file_system.ts";

const root = mkdtempSync(join(tmpdir(), "rockpool-disk-"));
after(() => rmSync(root, { recursive: true, force: true }));

const bytesOf = (text: string) => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array | null) =>
  bytes === null ? null : new TextDecoder().decode(bytes);

for (const [name, fileSystem, folder] of [
  ["the real disk", nodeFileSystem(), join(root, "a/b")],
  ["the disk in memory", new MemoryFileSystem(), "/a/b"],
] as const) {
  test(`${name} reads, writes, cuts and lists files`, async () => {
    fileSystem.makeFolderSync(folder);
    fileSystem.makeFolderSync(folder);
    const path = join(folder, "file");
    const file = await fileSystem.create(path);
    await writeFully(file, bytesOf("0123456789"), 0);
    await writeFully(file, bytesOf("abc"), 12);
    await file.datasync();
    const into = new Uint8Array(20);
    assert.equal(await file.read(into, 8), 7);
    assert.equal(textOf(into.subarray(0, 7)), "89\0\0abc");
    assert.equal(file.readSync(into, 12), 3);
    assert.equal(await file.read(into, 15), 0);
    await file.truncate(4);
    assert.equal(file.sizeSync(), 4);
    await file.truncate(6);
    file.close();
    assert.equal(textOf(fileSystem.readFileSync(path)), "0123\0\0");
    await fileSystem.rename(path, join(folder, "other"));
    fileSystem.replaceFileSync(join(folder, "small"), bytesOf("one"));
    fileSystem.replaceFileSync(join(folder, "small"), bytesOf("two"));
    await fileSystem.syncFolder(folder);
    assert.deepEqual(fileSystem.listSync(folder), ["other", "small"]);
    assert.equal(textOf(fileSystem.readFileSync(join(folder, "small"))), "two");
    assert.equal(fileSystem.readFileSync(path), null);
    await fileSystem.remove(join(folder, "other"));
    await fileSystem.remove(join(folder, "other"));
    fileSystem.removeSync(join(folder, "other"));
    assert.equal(fileSystem.existsSync(join(folder, "other")), false);
    assert.throws(() => fileSystem.openSync(path, "read"), /ENOENT/);
    assert.ok((await fileSystem.freeBytes(folder)) > 0);
  });

  test(`${name} gives a lock to one at a time`, () => {
    const path = join(folder, "lock");
    const options = { subject: "The folder", remedy: "Wait", onTakenOver: () => {} };
    const unlock = fileSystem.lockSync(path, options);
    assert.throws(
      () => fileSystem.lockSync(path, options),
      (error) => isRockpoolError(error, "UNAVAILABLE"),
    );
    unlock();
    fileSystem.lockSync(path, options)();
  });
}

async function disk(): Promise<MemoryFileSystem> {
  const fileSystem = new MemoryFileSystem();
  const file = await fileSystem.create("/d/f");
  await file.write(new Uint8Array(4 * SECTOR_BYTES).fill(1), 0);
  await file.datasync();
  await fileSystem.syncFolder("/d");
  await file.write(new Uint8Array(4 * SECTOR_BYTES).fill(2), 0);
  return fileSystem;
}

test("MemoryFileSystem loses any of what was not synced, sector by sector, also in part", async () => {
  const fileSystem = await disk();
  fileSystem.losePower(
    (sector) => sector % 2 === 0,
    () => 100,
  );
  const bytes = fileSystem.readFileSync("/d/f");
  const firsts = [0, 1, 2, 3].map((sector) => bytes?.[sector * SECTOR_BYTES]);
  const lasts = [0, 1, 2, 3].map((sector) => bytes?.[sector * SECTOR_BYTES + 100]);
  assert.deepEqual(
    [firsts, lasts],
    [
      [2, 2, 2, 2],
      [2, 1, 2, 1],
    ],
  );
});

test("MemoryFileSystem makes names durable with syncFolder() only", async () => {
  const fileSystem = await disk();
  await fileSystem.rename("/d/f", "/d/g");
  await fileSystem.create("/d/h");
  const some = fileSystem.clone();
  fileSystem.losePower(() => false);
  assert.deepEqual(fileSystem.listSync("/d"), ["f"]);
  let count = 0;
  some.losePower(() => count++ === 0);
  assert.deepEqual(some.listSync("/d"), ["g"], "what comes first is there first");
});

test("MemoryFileSystem shows lost and misdirected writes once the caches are dropped", async () => {
  const fileSystem = await disk();
  const file = fileSystem.openSync("/d/f");
  await file.datasync();
  fileSystem.sectorFate = (_path, sector) =>
    sector === 0 ? "lost" : sector === 1 ? { misdirectedTo: 3 } : "written";
  await file.write(new Uint8Array(2 * SECTOR_BYTES).fill(7), 0);
  await file.datasync();
  assert.equal(fileSystem.readFileSync("/d/f")?.[0], 7);
  fileSystem.dropCaches();
  const bytes = fileSystem.readFileSync("/d/f");
  assert.deepEqual(
    [0, 1, 2, 3].map((sector) => bytes?.[sector * SECTOR_BYTES]),
    [2, 2, 2, 7],
  );
});

test("MemoryFileSystem fills up: a write takes what fits, then none", async () => {
  const fileSystem = new MemoryFileSystem();
  fileSystem.capacityBytes = 1000;
  const file = await fileSystem.create("/d/f");
  assert.equal(await file.write(new Uint8Array(1500), 0), 1000);
  assert.equal(await file.write(new Uint8Array(500), 200), 500, "what is there is written over");
  await assert.rejects(file.write(new Uint8Array(1), 1000), { code: "ENOSPC" });
  assert.equal(await fileSystem.freeBytes(), 0);
  fileSystem.removeSync("/d/f");
  assert.equal(await fileSystem.freeBytes(), 1000);
});

test("MemoryFileSystem: a failed datasync leaves pages that count as clean and are not durable", async () => {
  const fileSystem = await disk();
  const file = fileSystem.openSync("/d/f");
  fileSystem.fault = { at: fileSystem.calls + 1, code: "EIO", isOnce: true };
  await assert.rejects(file.datasync(), { code: "EIO" });
  await file.datasync();
  assert.equal(fileSystem.readFileSync("/d/f")?.[0], 2);
  fileSystem.losePower(() => true);
  assert.equal(fileSystem.readFileSync("/d/f")?.[0], 1);
});

test("MemoryFileSystem holds operations back, and answers nobody after a kill", async () => {
  const fileSystem = await disk();
  const file = fileSystem.openSync("/d/f");
  let release = () => {};
  const asked: DiskOperation[] = [];
  fileSystem.delay = (operation) => {
    asked.push(operation);
    return new Promise((resolve) => {
      release = resolve;
    });
  };
  let isAnswered = false;
  void file.datasync().then(() => {
    isAnswered = true;
  });
  assert.deepEqual(asked, [{ kind: "datasync", path: "/d/f" }]);
  fileSystem.killProcess();
  release();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(isAnswered, false);
  assert.equal(fileSystem.readFileSync("/d/f")?.[0], 2, "the page cache outlives a process");
  fileSystem.losePower(() => false);
  assert.equal(fileSystem.readFileSync("/d/f")?.[0], 1);
  assert.throws(() => file.readSync(new Uint8Array(1), 0), { code: "EIO" });
});
