import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { nodeWorld } from "../world/node_world.ts";
import { DiskWriter } from "./disk_writer.ts";
import { SyncError, type WritePart } from "./file_system.ts";

const part = (text: string, positionBytes: number): WritePart => ({
  bytes: new TextEncoder().encode(text),
  positionBytes,
});

/** Counts what is left to it. */
function idleThread() {
  const thread = {
    count: 0,
    takes: () => true,
    write: () => {
      thread.count += 1;
      return Promise.resolve();
    },
  };
  return thread;
}

test("DiskWriter writes by itself only while it is alone, and the disk is quick", async () => {
  const folder = mkdtempSync(join(tmpdir(), "disk-writer-"));
  const descriptor = openSync(join(folder, "file"), "w+");
  const thread = idleThread();
  const world = nodeWorld();
  let nowMs = 0;
  let tookMs = 0.1;
  const clock = {
    ...world.clock,
    monotonicMs: () => {
      nowMs += tookMs;
      return nowMs;
    },
  };
  const writer = new DiskWriter(thread, { ...world, clock });
  await writer.write(descriptor, [part("lost", 0)]);
  assert.equal(thread.count, 1, "with peers");
  writer.setAlone(true);
  await writer.write(descriptor, [part("bc", 1), part("a", 0)]);
  assert.equal(thread.count, 1, "alone");
  assert.equal(readFileSync(join(folder, "file"), "utf8"), "abc");
  tookMs = 50;
  await writer.write(descriptor, [part("d", 3)]);
  tookMs = 0.1;
  for (let i = 0; i < 100; i++) await writer.write(descriptor, [part("x", 9)]);
  assert.equal(thread.count, 101, "after a slow one");
  await writer.write(descriptor, [part("e", 4)]);
  assert.equal(thread.count, 101, "and then again by itself");
  assert.equal(readFileSync(join(folder, "file"), "utf8"), "abcde");
  closeSync(descriptor);
  rmSync(folder, { recursive: true });
});

test("DiskWriter tells a write that failed from a sync that failed", async () => {
  const writer = new DiskWriter(idleThread(), nodeWorld());
  writer.setAlone(true);
  const readOnly = openSync("package.json", "r");
  await assert.rejects(writer.write(readOnly, [part("x", 0)]), { code: "EBADF" });
  closeSync(readOnly);
  const full = openSync("/dev/full", "w");
  await assert.rejects(writer.write(full, [part("x", 0)]), { code: "ENOSPC" });
  closeSync(full);
  // A device that takes writes and has nothing to sync.
  const nothing = openSync("/dev/null", "w");
  await assert.rejects(
    writer.write(nothing, [part("x", 0)]),
    (error) => error instanceof SyncError,
  );
  closeSync(nothing);
});
