import assert from "node:assert/strict";
import { readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import type { InodeId } from "../common/ids.ts";
import { fileIdOfBlock } from "../common/ids.ts";
import { PAGE_BYTES, SLOT_BYTES } from "../common/limits.ts";
import { nodeWorld } from "../world/node_world.ts";
import { BlockStore, PIN_GRACE_MS } from "./block_store.ts";
import type { Disk, DiskFile } from "./disk.ts";
import { nodeDisk } from "./disk.ts";
import type { Folder } from "./store_fixture.ts";
import {
  allSafe,
  dataFile,
  id,
  inFolder,
  kernels,
  listing,
  open,
  pattern,
  read,
  sideFile,
  slots,
  write,
} from "./store_fixture.ts";

test("a block is read back as it was written, also in parts and after a restart", () =>
  inFolder(async (folder) => {
    const bytes = pattern(2 * SLOT_BYTES + 12_345, 7);
    let store = await open(folder);
    await write(store, id(1), bytes);
    assert.deepEqual(readFileSync(dataFile(folder, id(1))), bytes);
    for (const [from, to] of [
      [0, bytes.length],
      [1, 2],
      [PAGE_BYTES - 1, PAGE_BYTES + 1],
      [SLOT_BYTES - 5, SLOT_BYTES + 5],
      [bytes.length - 1, bytes.length],
    ] as const)
      assert.deepEqual(await read(store, id(1), from, to), bytes.subarray(from, to));
    await store.close();
    store = await open(folder);
    assert.equal(store.usedBytes, bytes.length);
    assert.deepEqual(await read(store, id(1)), bytes);
    assert.deepEqual(folder.events, []);
    await store.close();
  }));

test("append() takes pieces of any size", () =>
  inFolder(async (folder) => {
    const store = await open(folder);
    let block = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 200_000 }), { maxLength: 8 }),
        async (cuts) => {
          const bytes = pattern(
            cuts.reduce((sum, cut) => sum + cut, 0),
            ++block,
          );
          const writer = await store.createWriter(id(block), { reserveBytes: 0, isPinned: false });
          let at = 0;
          for (const cut of cuts) {
            await writer.append(bytes.subarray(at, at + cut));
            at += cut;
          }
          assert.equal(await writer.commit(), bytes.length);
          assert.deepEqual(await read(store, id(block)), bytes);
        },
      ),
      { numRuns: 30 },
    );
    await store.close();
  }));

test("full tier: the least recently used block gives way, its file is written over, changes are told", () =>
  inFolder(async (folder) => {
    const store = await open(folder);
    const changes: string[] = [];
    store.onChange(({ kind, blockId }) => changes.push(`${kind} ${blockId >> 24n}`));
    for (let n = 1; n <= 8; n++) await write(store, id(n), pattern(SLOT_BYTES, n));
    await read(store, id(1));
    await write(store, id(9), pattern(SLOT_BYTES / 2, 9), false, SLOT_BYTES);
    assert.deepEqual(changes.slice(8), ["removed 2", "added 9"]);
    assert.deepEqual(await read(store, id(9)), pattern(SLOT_BYTES / 2, 9));
    assert.deepEqual(await read(store, id(1)), pattern(SLOT_BYTES, 1));
    assert.equal(store.has(id(2)), false);
    assert.equal(statSync(dataFile(folder, id(9))).size, SLOT_BYTES / 2);
    assert.equal(store.usedBytes, 7.5 * SLOT_BYTES);
    assert.deepEqual(listing(folder, "temp"), []);
    await store.close();
  }));

test("blocks in use, pinned or freshly written with pin-on-create are not evicted; the refusal names the tier", () =>
  inFolder(async (folder) => {
    const store = await open(folder, nodeDisk(), 3 * SLOT_BYTES);
    await write(store, id(1), pattern(SLOT_BYTES, 1));
    await write(store, id(2), pattern(SLOT_BYTES, 2));
    await write(store, id(3), pattern(SLOT_BYTES, 3), true);
    const reader = await store.openReader(id(1));
    store.setPinned(new Set<InodeId>([fileIdOfBlock(id(2))]), folder.nowMs);
    await assert.rejects(
      write(store, id(4), pattern(10, 4)),
      (error) => isRockpoolError(error, "RESOURCE_EXHAUSTED") && /tier MEM/.test(error.message),
    );
    assert.deepEqual(await read(store, id(3)), pattern(SLOT_BYTES, 3));
    folder.nowMs += PIN_GRACE_MS;
    await write(store, id(4), pattern(10, 4));
    assert.equal(store.has(id(3)), false);
    await reader?.close();
    await store.close();
  }));

test("remove() while a reader is open: the reader finishes, the room is given back when it closes", () =>
  inFolder(async (folder) => {
    const store = await open(folder);
    await write(store, id(1), pattern(SLOT_BYTES, 1));
    const reader = await store.openReader(id(1));
    assert.ok(reader !== null);
    assert.equal(await store.remove(id(1)), true);
    assert.equal(store.has(id(1)), false);
    assert.equal(store.usedBytes, SLOT_BYTES);
    await write(store, id(1), pattern(SLOT_BYTES, 2));
    const slot = await slots.whenFree();
    const old = Buffer.from(await reader.read(slot, 0, SLOT_BYTES));
    slots.release(slot);
    assert.deepEqual(old, pattern(SLOT_BYTES, 1));
    await reader.close();
    assert.equal(store.usedBytes, SLOT_BYTES);
    assert.deepEqual(await read(store, id(1)), pattern(SLOT_BYTES, 2));
    await store.close();
  }));

test("abort() leaves nothing, also while an append waits, and the id is free again", () =>
  inFolder(async (folder) => {
    const store = await open(folder);
    const writer = await store.createWriter(id(1), { reserveBytes: SLOT_BYTES, isPinned: false });
    await assert.rejects(store.createWriter(id(1), { reserveBytes: 1, isPinned: false }), {
      status: "ALREADY_EXISTS",
    });
    const appending = writer.append(pattern(3 * SLOT_BYTES, 1)).catch(() => undefined);
    await Promise.all([writer.abort(), appending]);
    await assert.rejects(writer.append(Buffer.of(1)), { status: "CANCELLED" });
    assert.equal(store.usedBytes, 0);
    assert.deepEqual(listing(folder, "temp"), []);
    await write(store, id(1), pattern(10, 1));
    await store.close();
  }));

test("any flipped bit of a block or of its side file is never delivered; the block goes to quarantine", () =>
  inFolder(async (folder) => {
    const bytes = pattern(2 * PAGE_BYTES + 100, 3);
    await fc.assert(
      fc.asyncProperty(fc.boolean(), fc.nat(), async (isSide, where) => {
        const store = await open(folder);
        await write(store, id(1), bytes);
        const path = isSide ? sideFile(folder, id(1)) : dataFile(folder, id(1));
        const damaged = readFileSync(path);
        const bit = where % (damaged.length * 8);
        damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7));
        writeFileSync(path, damaged);
        await assert.rejects(read(store, id(1)), { status: "DATA_LOSS" });
        assert.equal(store.has(id(1)), false);
        assert.equal(store.usedBytes, 0);
        assert.equal(folder.events.at(-1)?.kind, "blockQuarantined");
        assert.equal(await store.openReader(id(1)), null);
        await store.close();
      }),
      { numRuns: 40 },
    );
    assert.ok(listing(folder, "quarantine").length <= 4);
  }));

test("start-up after a crash: cut files are dropped and reported, whole ones are read", () =>
  inFolder(async (folder) => {
    const bytes = pattern(PAGE_BYTES + 100, 5);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom("whole", "cutData", "cutSide", "noSide", "noData"), {
          minLength: 1,
          maxLength: 6,
        }),
        fc.nat(),
        async (fates, cut) => {
          const before = await open(folder);
          for (const known of before.blockIds()) await before.remove(known);
          for (const n of fates.keys()) await write(before, id(n + 1), bytes);
          const unfinished = await before.createWriter(id(99), {
            reserveBytes: 1,
            isPinned: false,
          });
          await unfinished.append(bytes);
          await unfinished.flush();
          // No close: the process is gone.
          for (const [n, fate] of fates.entries()) {
            const data = dataFile(folder, id(n + 1));
            const side = sideFile(folder, id(n + 1));
            if (fate === "cutData") truncateSync(data, cut % bytes.length);
            if (fate === "cutSide") truncateSync(side, cut % statSync(side).size);
            if (fate === "noSide") await rm(side);
            if (fate === "noData") await rm(data);
          }
          folder.events.length = 0;
          const after = await open(folder);
          const expected = fates.flatMap((fate, n) => (fate === "whole" ? [id(n + 1)] : []));
          assert.deepEqual(after.blockIds(), expected);
          for (const block of expected) assert.deepEqual(await read(after, block), bytes);
          const dropped = fates.filter((fate) => fate !== "whole" && fate !== "noData").length;
          assert.deepEqual(
            folder.events.map(({ kind }) => kind),
            new Array(dropped).fill("blockFileDropped"),
          );
          assert.deepEqual(listing(folder, "temp"), []);
          assert.deepEqual(listing(folder, "checksums").length, expected.length);
          await after.close();
          await unfinished.abort().catch(() => undefined);
        },
      ),
      { numRuns: 25 },
    );
  }));

/** Fails the n-th call that changes the disk. */
function failingDisk(failAt: number): { readonly disk: Disk; readonly calls: () => number } {
  const real = nodeDisk();
  let calls = 0;
  const fail = (path: string) => {
    if (++calls === failAt)
      throw new RockpoolError("RESOURCE_EXHAUSTED", `Cannot write ${path}: ENOSPC`, "Free space");
  };
  const wrap = (path: string, file: DiskFile): DiskFile => ({
    read: (into, position) => file.read(into, position),
    lengthBytes: () => file.lengthBytes(),
    write: async (bytes, position) => {
      fail(path);
      await file.write(bytes, position);
    },
    truncate: async (length) => {
      fail(path);
      await file.truncate(length);
    },
    sync: async () => {
      fail(path);
      await file.sync();
    },
    close: async () => {
      await file.close();
      fail(path);
    },
  });
  return {
    calls: () => calls,
    disk: {
      ...real,
      open: async (path, mode) => {
        if (mode !== "read") fail(path);
        return wrap(path, await real.open(path, mode));
      },
      syncDirectory: async (path) => {
        fail(path);
        await real.syncDirectory(path);
      },
      writeAll: async (path, bytes, isSynced) => {
        fail(path);
        await real.writeAll(path, bytes, isSynced);
      },
      rename: async (from, to) => {
        fail(from);
        await real.rename(from, to);
      },
      remove: async (path) => {
        fail(path);
        return real.remove(path);
      },
    },
  };
}

for (const isSynced of [false, true])
  test(`failing the n-th call to the disk loses no block and leaks no room, for every n, ${isSynced ? "synced" : "not synced"}`, () =>
    inFolder((folder) => failEachCall(folder, isSynced)));

async function failEachCall(folder: Folder, isSynced: boolean): Promise<void> {
  const kept = pattern(SLOT_BYTES + 10, 1);
  for (let failAt = 1; ; failAt++) {
    await rm(join(folder.path, "alluxioworker"), { recursive: true, force: true });
    const { disk, calls } = failingDisk(failAt);
    const quota = 3 * SLOT_BYTES;
    let store: BlockStore | null = null;
    let committed = false;
    try {
      store = await open(folder, disk, quota, isSynced);
      await write(store, id(1), kept);
      committed = true;
      await write(store, id(2), pattern(SLOT_BYTES, 2));
      await write(store, id(3), pattern(2 * SLOT_BYTES - 10, 3), true);
      await store.remove(id(3));
    } catch (error) {
      assert.ok(isRockpoolError(error, "RESOURCE_EXHAUSTED"), String(error));
    }
    if (store !== null) {
      const sum = store.blockIds().reduce((all, block) => all + (store?.lengthOf(block) ?? 0), 0);
      assert.equal(store.usedBytes, sum, `no room leaks when call ${failAt} fails`);
      if (committed && store.has(id(1))) assert.deepEqual(await read(store, id(1)), kept);
      await store.close().catch(() => undefined);
      const again = await open(folder);
      for (const block of again.blockIds()) await read(again, block);
      await again.close();
    }
    if (calls() < failAt) break;
    assert.ok(failAt < 200);
  }
}

test("createLocal() takes in what a client wrote by itself; lockLocal() keeps the block", () =>
  inFolder(async (folder) => {
    const store = await open(folder, nodeDisk(), 2 * SLOT_BYTES);
    const bytes = pattern(SLOT_BYTES + PAGE_BYTES + 1, 6);
    const local = await store.createLocal(id(1), { reserveBytes: PAGE_BYTES, isPinned: false });
    assert.equal((await stat(local.path)).mode & 0o777, 0o777);
    await local.reserve(PAGE_BYTES);
    writeFileSync(local.path, bytes);
    assert.equal(await local.commit(), bytes.length);
    assert.equal(store.usedBytes, bytes.length);
    assert.deepEqual(await read(store, id(1)), bytes);
    const lock = store.lockLocal(id(1));
    assert.deepEqual(readFileSync(lock?.path ?? ""), bytes);
    await assert.rejects(write(store, id(2), pattern(SLOT_BYTES, 1)), {
      status: "RESOURCE_EXHAUSTED",
    });
    lock?.release();
    await write(store, id(2), pattern(SLOT_BYTES, 1));
    assert.equal(store.has(id(1)), false);
    const given = await store.createLocal(id(3), { reserveBytes: 10, isPinned: false });
    await given.abort();
    assert.deepEqual(listing(folder, "temp"), []);
    assert.deepEqual(
      listing(folder, "spare"),
      [],
      "a file that a client knew is never written over",
    );
    await store.close();
  }));

test("more writers than slots all finish", () =>
  inFolder(async (folder) => {
    const store = await open(folder, nodeDisk(), 40 * SLOT_BYTES);
    const blocks = Array.from({ length: 12 }, (_, n) => n + 1);
    await Promise.all(blocks.map((n) => write(store, id(n), pattern(2 * SLOT_BYTES + n, n))));
    for (const n of blocks)
      assert.deepEqual(await read(store, id(n)), pattern(2 * SLOT_BYTES + n, n));
    await store.close();
  }));

test("readers, writers, removals and evictions all at once: bytes are right, books and files agree at the end", () =>
  inFolder(async (folder) => {
    const store = await open(folder, nodeDisk(), 6 * SLOT_BYTES);
    const lengthOf = (n: number) => 4 + ((n * 7919) % (2 * SLOT_BYTES));
    let seed = 0;
    /** Says in its first bytes what the others must be. */
    const signed = (lengthBytes: number, own: number) => {
      const bytes = pattern(lengthBytes, own);
      bytes.writeUInt32LE(own);
      return bytes;
    };
    let random = 12_345;
    const chance = (bound: number) => {
      random = (Math.imul(random, 1_103_515_245) + 12_345) >>> 0;
      return (random >>> 8) % bound;
    };
    const act = async (): Promise<void> => {
      const n = 1 + chance(10);
      const block = id(n);
      const kind = chance(10);
      try {
        if (kind < 4) {
          const own = ++seed;
          const writer = await store.createWriter(block, { reserveBytes: 1, isPinned: false });
          try {
            await writer.append(signed(lengthOf(n), own));
            if (chance(4) > 0) await writer.commit();
          } finally {
            await writer.abort();
          }
        } else if (kind < 9) {
          const reader = await store.openReader(block);
          if (reader === null) return;
          const slot = await slots.whenFree();
          try {
            const own = Buffer.from(await reader.read(slot, 0, 4)).readUInt32LE();
            const from = chance(lengthOf(n));
            const bytes = await reader.read(slot, from, 100_000);
            const expected = signed(lengthOf(n), own).subarray(from, from + bytes.length);
            assert.equal(Buffer.compare(bytes, expected), 0);
          } finally {
            slots.release(slot);
            await reader.close();
          }
        } else await store.remove(block);
      } catch (error) {
        assert.ok(
          isRockpoolError(error, "ALREADY_EXISTS") || isRockpoolError(error, "RESOURCE_EXHAUSTED"),
          String(error),
        );
      }
    };
    const worker = async () => {
      for (let step = 0; step < 60; step++) await act();
    };
    await Promise.all(Array.from({ length: 6 }, worker));
    assert.deepEqual(
      folder.events.filter(({ kind }) => kind !== "blocksEvicted"),
      [],
    );
    const blocks = store.blockIds();
    const sum = blocks.reduce((all, block) => all + (store.lengthOf(block) ?? 0), 0);
    assert.equal(store.usedBytes, sum);
    await store.close();
    const names = listing(folder).filter((name) => /^[0-9]+$/.test(name));
    assert.deepEqual(new Set(names), new Set(blocks.map(String)));
    assert.deepEqual(new Set(listing(folder, "checksums")), new Set(names));
    for (const block of blocks)
      assert.equal(statSync(dataFile(folder, block)).size, store.lengthOf(block));
    assert.deepEqual(listing(folder, "temp"), []);
    const spareBytes = listing(folder, "spare").reduce(
      (all, name) => all + statSync(join(folder.path, "alluxioworker", "spare", name)).size,
      0,
    );
    assert.ok(
      sum + spareBytes <= 6 * SLOT_BYTES,
      `${sum} B of blocks and ${spareBytes} B of spares`,
    );
  }));

test("a device that fails again and again takes its directory out of the tier; the other one goes on", () =>
  inFolder(async (folder) => {
    const real = nodeDisk();
    const bad = join(folder.path, "bad");
    let isFailing = false;
    const fail = (path: string) => {
      if (isFailing && path.startsWith(bad))
        throw new RockpoolError("DATA_LOSS", `Cannot write ${path}: EIO`);
    };
    const disk: Disk = {
      ...real,
      open: async (path, mode) => {
        const file = await real.open(path, mode);
        return {
          read: (into, position) => file.read(into, position),
          truncate: (length) => file.truncate(length),
          sync: () => file.sync(),
          lengthBytes: () => file.lengthBytes(),
          close: () => file.close(),
          write: async (bytes, position) => {
            fail(path);
            await file.write(bytes, position);
          },
        };
      },
    };
    const store = await BlockStore.open({
      options: {
        tier: {
          alias: "HDD",
          mediumType: "HDD",
          directories: [
            { path: bad, quotaBytes: 8 * SLOT_BYTES },
            { path: join(folder.path, "good"), quotaBytes: 4 * SLOT_BYTES },
          ],
        },
        isSynced: true,
      },
      ...{ disk, kernels, slots, files: allSafe },
      clock: { monotonicMs: () => folder.nowMs, wallMs: () => 0 },
      timers: nodeWorld().timers,
      onEvent: (event) => folder.events.push(event),
    });
    await write(store, id(1), pattern(1000, 1));
    isFailing = true;
    for (let n = 0; n < 3; n++)
      await assert.rejects(write(store, id(2), pattern(1000, 2)), { status: "DATA_LOSS" });
    assert.deepEqual(
      folder.events.map(({ kind }) => kind),
      ["directoryLost"],
    );
    assert.deepEqual(store.lostDirectories(), [bad]);
    await write(store, id(2), pattern(1000, 2));
    assert.deepEqual(await read(store, id(2)), pattern(1000, 2));
    assert.deepEqual(await read(store, id(1)), pattern(1000, 1));
    await store.close();
  }));
