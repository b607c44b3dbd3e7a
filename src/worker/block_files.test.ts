import assert from "node:assert/strict";
import {
  appendFileSync,
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { PAGE_BYTES, SLOT_BYTES } from "../common/limits.ts";
import type { Disk } from "./disk.ts";
import { nodeDisk } from "./disk.ts";
import { dataFile, id, inFolder, listing, open, pattern, read, write } from "./store_fixture.ts";

test("several victims of one writer: their ids are written anew at once, and nothing of that is taken away", () =>
  inFolder(async (folder) => {
    const real = nodeDisk();
    let pass = () => {};
    const gate = new Promise<void>((resolve) => {
      pass = resolve;
    });
    const disk: Disk = {
      ...real,
      rename: async (from, to) => {
        if (from === dataFile(folder, id(1))) await gate;
        await real.rename(from, to);
      },
    };
    const store = await open(folder, disk, 4 * PAGE_BYTES + 20);
    await write(store, id(1), pattern(10, 1));
    await write(store, id(2), pattern(10, 2));
    await write(store, id(3), pattern(4 * PAGE_BYTES, 3));
    const whenRemoved = new Promise<void>((resolve) => {
      store.onChange(({ kind }) => kind === "removed" && resolve());
    });
    const large = store.createWriter(id(20), { reserveBytes: PAGE_BYTES, isPinned: false });
    await whenRemoved;
    // All three have left the books, and their files are still there.
    const again = [3, 2].map((n) => write(store, id(n), pattern(1000, 10 * n)));
    await write(store, id(30), pattern(1000, 30));
    pass();
    await Promise.all(again);
    await (await large).abort();
    for (const n of [3, 2, 30])
      assert.deepEqual(await read(store, id(n)), pattern(1000, n === 30 ? 30 : 10 * n));
    assert.deepEqual(
      folder.events.filter(({ kind }) => kind !== "blocksEvicted"),
      [],
    );
    await store.close();
  }));

test("files with strange names are left alone and spoil nothing; blocks found are never written over", () =>
  inFolder(async (folder) => {
    let store = await open(folder, nodeDisk(), 2 * SLOT_BYTES);
    await write(store, id(1), pattern(SLOT_BYTES, 1));
    await store.close();
    const root = join(folder.path, "alluxioworker");
    for (const name of [`0${id(1)}`, "9999999999999999999", "-1", "1.5", "x"])
      writeFileSync(join(root, name), "strange");
    for (const name of [id(2).toString(), "temp/d", "spare/d"])
      mkdirSync(join(root, name), { recursive: true });
    symlinkSync("/etc/hostname", join(root, id(3).toString()));
    store = await open(folder, nodeDisk(), 2 * SLOT_BYTES);
    assert.deepEqual(store.blockIds(), [id(1)]);
    assert.deepEqual(await read(store, id(1)), pattern(SLOT_BYTES, 1));
    // Somebody mapped the file before the restart.
    const mapped = openSync(dataFile(folder, id(1)), "r");
    await write(store, id(4), pattern(2 * SLOT_BYTES, 4), false, 2 * SLOT_BYTES);
    assert.equal(store.has(id(1)), false);
    assert.deepEqual(readFileSync(mapped), pattern(SLOT_BYTES, 1));
    closeSync(mapped);
    await store.close();
  }));

test("createLocal(): a client that still writes while its block is committed gets an error, and nothing is left", () =>
  inFolder(async (folder) => {
    const real = nodeDisk();
    let path = "";
    const disk: Disk = {
      ...real,
      open: async (name, mode) => {
        const file = await real.open(name, mode);
        if (mode !== "read") return file;
        return {
          read: (into, position) => {
            appendFileSync(path, "more");
            return file.read(into, position);
          },
          write: (bytes, position) => file.write(bytes, position),
          truncate: (length) => file.truncate(length),
          sync: () => file.sync(),
          lengthBytes: () => file.lengthBytes(),
          close: () => file.close(),
        };
      },
    };
    const store = await open(folder, disk);
    const local = await store.createLocal(id(1), { reserveBytes: 10, isPinned: false });
    path = local.path;
    writeFileSync(path, pattern(3 * SLOT_BYTES, 1));
    await assert.rejects(local.commit(), { status: "ABORTED" });
    await local.abort();
    assert.equal(store.usedBytes, 0);
    assert.deepEqual(listing(folder, "temp"), []);
    await store.close();
  }));
