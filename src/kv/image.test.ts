import assert from "node:assert/strict";
import {
  closeSync,
  cpSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { isRockpoolError } from "../common/errors.ts";
import type { KeyValueReader, KeyValueStore } from "./kv.ts";
import { type ImageDisk, type ImageFile, nodeImageDisk } from "./lmdb_image.ts";
import { openLmdb } from "./lmdb_kv.ts";
import { MemoryKeyValueStore } from "./memory_kv.ts";

const folder = mkdtempSync(join(tmpdir(), "rockpool-image-"));
after(() => rmSync(folder, { recursive: true, force: true }));
let opened = 0;
const fresh = (name: string) => join(folder, `${name}-${opened++}`);

const images = {
  write: async (path: string, image: Uint8Array) => writeFileSync(path, image, { flag: "wx" }),
  read: async (path: string, lengthBytes: number) =>
    new Uint8Array(readFileSync(path)).slice(0, lengthBytes),
};
const implementations: Readonly<Record<string, () => KeyValueStore>> = {
  memory: () => new MemoryKeyValueStore(images),
  lmdb: () => openLmdb(fresh("store")).store,
};
const bytes = (...values: number[]) => Uint8Array.from(values);
const ALL = { start: bytes(0), end: bytes(255, 255, 255) };
const rowsOf = (reader: KeyValueReader) =>
  [...reader.range(ALL)].map(
    ({ key, value }) => `${Buffer.from(key).toString("hex")}=${Buffer.from(value).toString("hex")}`,
  );
const keyOf = (number: number) => bytes(number >>> 16, number >>> 8, number);

/** Some thousand rows, of which the values say in which round they were written. */
function fill(store: KeyValueStore, round: number, count = 5000): void {
  store.transact((t) => {
    for (let i = 0; i < count; i++) {
      const value = new Uint8Array(40 + (i % 90)).fill(round);
      if ((i + round) % 7 === 0) t.remove(keyOf(i));
      else t.put(keyOf(i), value);
    }
  });
}

async function install(store: KeyValueStore, path: string, sizeBytes = statSync(path).size) {
  await store.installImage(path, sizeBytes, () => {});
}

for (const [name, create] of Object.entries(implementations)) {
  test(`${name}: a snapshot shows one moment, whatever is committed after it`, async () => {
    const store = create();
    fill(store, 1);
    const before = rowsOf(store);
    const snapshot = store.snapshot();
    for (let round = 2; round < 6; round++) {
      fill(store, round);
      await new Promise(setImmediate);
      assert.deepEqual(rowsOf(snapshot), before);
      assert.deepEqual(snapshot.get(keyOf(0)), new Uint8Array(40).fill(1));
      assert.deepEqual(
        [...snapshot.range({ ...ALL, limit: 2, reverse: true })].map(({ key }) => [...key]),
        [
          [0, 19, 135],
          [0, 19, 134],
        ],
      );
    }
    snapshot.close();
    snapshot.close();
    await store.close();
  });

  test(`${name}: a snapshot shows what was committed in the same turn, and before it was read`, async () => {
    const store = create();
    store.transact((t) => t.put(keyOf(1), bytes(1)));
    assert.deepEqual(store.get(keyOf(1)), bytes(1));
    const first = store.snapshot();
    store.transact((t) => t.put(keyOf(1), bytes(2)));
    const second = store.snapshot();
    assert.deepEqual(first.get(keyOf(1)), bytes(1));
    assert.deepEqual(second.get(keyOf(1)), bytes(2));
    assert.deepEqual(store.get(keyOf(1)), bytes(2));
    first.close();
    assert.deepEqual(second.get(keyOf(1)), bytes(2));
    second.close();
    await store.close();
  });

  test(`${name}: an image is of the moment of the call, with bytes behind it too`, async () => {
    const store = create();
    fill(store, 1);
    const before = rowsOf(store);
    const path = fresh("image");
    const writing = store.writeImage(path);
    for (let round = 2; round < 12; round++) {
      fill(store, round);
      await new Promise(setImmediate);
    }
    await writing;
    const sizeBytes = statSync(path).size;
    writeFileSync(path, "what a checkpoint adds", { flag: "a" });

    const other = create();
    fill(other, 100, 9000);
    let shown: string[] = [];
    await other.installImage(path, sizeBytes, (rows) => {
      shown = rowsOf(rows);
    });
    assert.deepEqual(shown, before);
    assert.deepEqual(rowsOf(other), before);
    fill(other, 3);
    fill(store, 3);
    // The store that gave the image goes its own way.
    assert.deepEqual(rowsOf(other), rowsOf(store));
    await store.close();
    await other.close();
  });

  test(`${name}: while an image is installed reads give the old rows, UNAVAILABLE, or the new ones`, async () => {
    const store = create();
    fill(store, 1);
    const path = fresh("image");
    await store.writeImage(path);
    fill(store, 2);
    const seen: string[] = [];
    const look = () => {
      try {
        seen.push(`${store.get(keyOf(1))?.[0]} ${[...store.range({ ...ALL, limit: 1 })].length}`);
      } catch (error) {
        assert.ok(isRockpoolError(error, "UNAVAILABLE"), String(error));
      }
    };
    let isOver = false;
    const installing = install(store, path).finally(() => {
      isOver = true;
    });
    while (!isOver) {
      look();
      await new Promise(setImmediate);
    }
    await installing;
    look();
    const texts = [...new Set(seen)];
    assert.ok(texts.length <= 2 && texts[0] === "2 1" && texts.at(-1) === "1 1", texts.join());
    await store.close();
  });

  test(`${name}: an image that is not accepted, or is none, changes nothing`, async () => {
    const store = create();
    fill(store, 1);
    const path = fresh("image");
    await store.writeImage(path);
    fill(store, 2);
    const before = rowsOf(store);
    await assert.rejects(
      store.installImage(path, statSync(path).size, () => {
        throw new RangeError("no");
      }),
      /no/,
    );
    const garbage = fresh("garbage");
    writeFileSync(garbage, new Uint8Array(20_000).fill(0xa5));
    await assert.rejects(install(store, garbage), (error) =>
      isRockpoolError(error, "FAILED_PRECONDITION"),
    );
    await assert.rejects(install(store, fresh("missing"), 10), { code: "ENOENT" });
    assert.deepEqual(rowsOf(store), before);
    await assert.rejects(store.writeImage(path), { code: "EEXIST" });
    await store.close();
  });

  test(`${name}: random rows survive an image`, async () => {
    const row = fc.record({
      key: fc.uint8Array({ minLength: 1, maxLength: 300 }),
      value: fc.oneof(
        fc.uint8Array({ maxLength: 200 }),
        fc.uint8Array({ minLength: 9000, maxLength: 20_000 }),
      ),
    });
    const store = create();
    const other = create();
    await fc.assert(
      fc.asyncProperty(fc.array(row, { maxLength: 20 }), async (rows) => {
        store.transact((t) => {
          for (const { key } of store.range(ALL)) t.remove(key);
          for (const { key, value } of rows) t.put(key, value);
        });
        const path = fresh("image");
        await store.writeImage(path);
        await install(other, path);
        rmSync(path);
        assert.deepEqual(rowsOf(other), rowsOf(store));
      }),
      { numRuns: 25 },
    );
    await store.close();
    await other.close();
  });
}

/** Counts the calls, and lets one of them fail, or everything from it on, as after a crash. */
class FailingDisk implements ImageDisk {
  calls = 0;
  failAt = Infinity;
  kind: "EIO" | "ENOSPC" | "short" | "crash" = "EIO";

  #meet(what: string): void {
    const at = this.calls++;
    const isHit = this.kind === "crash" ? at >= this.failAt : at === this.failAt;
    if (isHit && this.kind !== "short")
      throw Object.assign(new Error(`${this.kind} at ${what}`), { code: this.kind });
  }

  async open(path: string, use: "read" | "create"): Promise<ImageFile> {
    this.#meet("open");
    const file = await nodeImageDisk.open(path, use);
    return {
      read: async (into, offset) => {
        this.#meet("read");
        return file.read(into, offset);
      },
      write: async (chunk, offset) => {
        this.#meet("write");
        const isShort = this.kind === "short" && this.calls - 1 === this.failAt;
        return file.write(isShort ? chunk.subarray(0, 1) : chunk, offset);
      },
      sync: async () => {
        this.#meet("sync");
        await file.sync();
      },
      close: () => file.close(),
    };
  }

  async rename(from: string, to: string): Promise<void> {
    this.#meet("rename");
    await nodeImageDisk.rename(from, to);
  }

  async remove(path: string): Promise<void> {
    this.#meet("remove");
    await nodeImageDisk.remove(path);
  }

  async syncFolder(path: string): Promise<void> {
    this.#meet("syncFolder");
    await nodeImageDisk.syncFolder(path);
  }
}

/** What a crash of the process leaves: a copy of the folder of a store that is open. */
function crashed(at: string): string {
  const copy = fresh("crashed");
  cpSync(at, copy, { recursive: true });
  rmSync(join(copy, "store.lock"), { force: true }); // the process that it names would be gone
  return copy;
}

for (const kind of ["EIO", "ENOSPC", "short", "crash"] as const)
  test(`lmdb: installImage() that fails at its n-th call (${kind}) leaves the old rows or the new ones, here and in the folder`, async () => {
    const giver = openLmdb(fresh("giver")).store;
    fill(giver, 9);
    const path = fresh("image");
    await giver.writeImage(path);
    const newer = rowsOf(giver).join();
    await giver.close();
    let failures = 0;
    for (let n = 0; ; n++) {
      const at = fresh("store");
      const disk = new FailingDisk();
      const { store } = openLmdb(at, { disk });
      fill(store, 1);
      const older = rowsOf(store).join();
      disk.calls = 0;
      disk.failAt = n;
      disk.kind = kind;
      const outcome = await install(store, path).then(
        () => "installed",
        () => "failed",
      );
      const isOver = disk.calls <= n;
      if (outcome === "failed") failures++;
      const here = rowsOf(store).join();
      assert.ok(
        here === newer || (here === older && outcome === "failed"),
        `call ${n}: ${outcome}`,
      );
      const copy = crashed(at);
      const reopened = openLmdb(copy);
      assert.equal(reopened.discardReason, null);
      assert.ok(rowsOf(reopened.store).join() === here);
      assert.deepEqual(
        readdirSync(copy).filter((file) => file.startsWith("incoming")),
        [],
      );
      await reopened.store.close();
      // It goes on working after a failure.
      fill(store, 2);
      await store.close();
      if (isOver) break;
    }
    if (kind !== "short") assert.ok(failures > 5);
  });

for (const kind of ["EIO", "ENOSPC", "short", "crash"] as const)
  test(`lmdb: writeImage() that fails at its n-th call (${kind}) leaves no file, and the store as it was`, async () => {
    for (let n = 0; ; n++) {
      const disk = new FailingDisk();
      const { store } = openLmdb(fresh("store"), { disk });
      fill(store, 1);
      const before = rowsOf(store);
      disk.failAt = n;
      disk.kind = kind;
      const path = fresh("image");
      const outcome = await store.writeImage(path).then(
        () => "written",
        (error: unknown) => error,
      );
      const isOver = disk.calls <= n;
      if (kind === "short" || isOver) assert.equal(outcome, "written");
      else if (kind === "EIO" || kind === "ENOSPC") {
        assert.equal((outcome as { code?: string }).code, kind);
        assert.equal(existsSync(path), false);
      }
      assert.deepEqual(rowsOf(store), before);
      await store.close();
      if (isOver) break;
    }
  });

test("lmdb: closing the store ends images and snapshots under way", async () => {
  const { store } = openLmdb(fresh("store"));
  fill(store, 1, 40_000);
  const path = fresh("image");
  const snapshot = store.snapshot();
  const writing = store.writeImage(path);
  const outcome = assert.rejects(writing, (error) => isRockpoolError(error, "UNAVAILABLE"));
  await store.close();
  await outcome;
  assert.equal(existsSync(path), false);
  assert.throws(
    () => snapshot.get(keyOf(1)),
    (error) => isRockpoolError(error, "UNAVAILABLE"),
  );
  snapshot.close();
});

test("lmdb: a store that is closed while an image replaces it is closed, and opens with the new rows", async () => {
  const giver = openLmdb(fresh("giver")).store;
  fill(giver, 2);
  const path = fresh("image");
  await giver.writeImage(path);
  const wanted = rowsOf(giver);
  await giver.close();
  let closing: Promise<void> | null = null;
  const disk: ImageDisk = {
    ...nodeImageDisk,
    rename(from, to) {
      closing = store.close();
      return nodeImageDisk.rename(from, to);
    },
  };
  const at = fresh("store");
  const { store } = openLmdb(at, { disk });
  fill(store, 1);
  await install(store, path);
  assert.ok(closing);
  await closing;
  assert.throws(
    () => store.get(keyOf(1)),
    (error) => isRockpoolError(error, "UNAVAILABLE"),
  );
  const again = openLmdb(at);
  assert.equal(again.discardReason, null);
  assert.ok(rowsOf(again.store).join() === wanted.join());
  await again.store.close();
});

test("lmdb: a store is discarded when its file was cut, is gone, or is none, and says so", async () => {
  const closed = async () => {
    const at = fresh("store");
    const { store } = openLmdb(at);
    fill(store, 1);
    await store.close();
    return { at, file: join(at, "store.mdb") };
  };
  const reopen = async (at: string) => {
    const { store, discardReason } = openLmdb(at);
    assert.deepEqual(rowsOf(store), []);
    fill(store, 2);
    await store.close();
    const again = openLmdb(at);
    assert.equal(again.discardReason, null);
    await again.store.close();
    return discardReason ?? "";
  };
  const cut = await closed();
  truncateSync(cut.file, statSync(cut.file).size - 4096);
  assert.match(await reopen(cut.at), /its file has \d+ B, and had \d+ when it was closed/);
  const gone = await closed();
  rmSync(gone.file);
  assert.match(await reopen(gone.at), /its file is missing/);
  const overwritten = await closed();
  const file = openSync(overwritten.file, "r+");
  writeSync(file, new Uint8Array(8192), 0, 8192, 0);
  closeSync(file);
  assert.match(
    await reopen(overwritten.at),
    /LMDB cannot open it: it does not begin with two meta pages/,
  );
});

test("lmdb: a row that does not match its checksum is DATA_LOSS, told once, and the next start begins anew", async () => {
  const at = fresh("store");
  const first = openLmdb(at).store;
  first.transact((t) => {
    for (let i = 0; i < 50; i++) t.put(keyOf(i), new Uint8Array(200).fill(0xee));
  });
  await first.close();
  const path = join(at, "store.mdb");
  const content = readFileSync(path);
  const value = new Uint8Array(200).fill(0xee);
  // Pages that are free again may hold some of them, too.
  for (let from = content.indexOf(value); from > 0; from = content.indexOf(value, from))
    content[from + 100] = 0xef;
  writeFileSync(path, content);

  const told: string[] = [];
  const { store, discardReason } = openLmdb(at, { onDamage: (reason) => told.push(reason) });
  assert.equal(discardReason, null);
  const isDamage = (error: unknown) =>
    isRockpoolError(error, "DATA_LOSS") && /does not match its checksum/.test(error.message);
  // No image is made of it, which would outlive the log.
  const image = fresh("image");
  await assert.rejects(store.writeImage(image), isDamage);
  assert.equal(existsSync(image), false);
  assert.throws(() => rowsOf(store), isDamage);
  assert.throws(() => {
    for (let i = 0; i < 50; i++) store.get(keyOf(i));
  }, isDamage);
  assert.equal(told.length, 1);
  await store.close();
  const next = openLmdb(at);
  assert.match(next.discardReason ?? "", /damage was found in it: the row \w+ does not match/);
  assert.deepEqual(rowsOf(next.store), []);
  await next.store.close();
});

test("lmdb: of a store that processes die of, the second one checks all rows and the third one does without", async () => {
  const at = fresh("store");
  const seed = openLmdb(at);
  fill(seed.store, 1);
  seed.proven();
  const proven = fresh("died");
  cpSync(at, proven, { recursive: true });
  const copyOf = (from: string) => {
    const copy = fresh("died");
    cpSync(from, copy, { recursive: true });
    rmSync(join(copy, "store.lock"), { force: true });
    return copy;
  };
  const second = copyOf(proven);
  const again = openLmdb(second);
  assert.equal(readFileSync(join(second, "opened.trial"), "utf8"), "used");
  const rows = rowsOf(again.store);
  // It dies at once; in the next one a row has rotted, which nothing would read for a while.
  const third = copyOf(second);
  const file = join(third, "store.mdb");
  const content = readFileSync(file);
  const flipped = content.lastIndexOf(new Uint8Array(40).fill(1));
  content[flipped + 3] = 2;
  writeFileSync(file, content);
  const afterCheck = openLmdb(third);
  assert.match(afterCheck.discardReason ?? "", /damage was found/);
  assert.deepEqual(rowsOf(afterCheck.store), [], "it begins anew, in the same start");
  // Or it dies while it checks them.
  const dying = copyOf(second);
  writeFileSync(join(dying, "opened.trial"), "checked");
  const last = openLmdb(dying);
  assert.match(last.discardReason ?? "", /two processes in a row ended while they used it/);
  assert.deepEqual(rowsOf(last.store), []);
  assert.ok(existsSync(join(dying, "store.suspect.mdb")));
  // Neither one that was used for long, nor one that was closed, is suspected.
  const sound = openLmdb(copyOf(second));
  assert.deepEqual([sound.discardReason, rowsOf(sound.store)], [null, rows]);
  await Promise.all([seed, again, afterCheck, last, sound].map(({ store }) => store.close()));
  assert.ok(!existsSync(join(dying, "opened.trial")));
});

test("installImage() tells of other rows in the turn in which they can be read", async () => {
  for (const create of Object.values(implementations)) {
    const giver = create();
    fill(giver, 3);
    const path = fresh("image");
    await giver.writeImage(path);
    const taker = create();
    fill(taker, 1);
    let toldOf: readonly string[] = [];
    let isOver = false;
    const installing = taker
      .installImage(
        path,
        statSync(path).size,
        () => {},
        () => {
          toldOf = rowsOf(taker);
        },
      )
      .finally(() => {
        isOver = true;
      });
    const old = rowsOf(taker);
    while (!isOver) {
      await Promise.resolve();
      let seen: readonly string[] | null = null;
      try {
        seen = rowsOf(taker);
      } catch (error) {
        assert.ok(isRockpoolError(error, "UNAVAILABLE"));
      }
      if (seen !== null && toldOf.length === 0) assert.deepEqual(seen, old);
      await new Promise(setImmediate);
    }
    await installing;
    assert.deepEqual(toldOf, rowsOf(giver));
    await Promise.all([giver.close(), taker.close()]);
  }
});

/** A store with as many rows as need branch pages, closed. @returns its file */
async function bigStore(at: string): Promise<string> {
  const { store } = openLmdb(at);
  const value = new Uint8Array(50);
  for (let round = 0; round < 100; round++)
    store.transact((t) => {
      for (let i = 0; i < 1000; i++) t.put(keyOf(round * 1000 + i), value);
    });
  await store.close();
  return join(at, "store.mdb");
}

test("lmdb: pages that do not fit together are damage", async () => {
  const at = fresh("store");
  const file = await bigStore(at);
  const content = readFileSync(file);
  const [pageBytes, branchFlag] = [4096, 1];
  // Branch pages that have lost all children but the first.
  for (let page = 2; page * pageBytes < content.length; page++)
    if (content.readUInt16LE(page * pageBytes + 18) === branchFlag)
      content.writeUInt16LE(26, page * pageBytes + 20);
  writeFileSync(file, content);
  const damaged = openLmdb(at);
  assert.throws(() => rowsOf(damaged.store), { status: "DATA_LOSS" });
  await damaged.store.close();
  const next = openLmdb(at);
  assert.match(next.discardReason ?? "", /damage was found in it: MDB_PROBLEM/);
  await next.store.close();
});

test("lmdb: a row that claims to be a tree of its own is damage", async () => {
  const at = fresh("store");
  const file = await bigStore(at);
  const content = readFileSync(file);
  const [headBytes, leafFlag, treeFlag] = [24, 2, 4];
  for (let page = 2; page < content.length / 4096; page++)
    if (content.readUInt16LE(page * 4096 + 18) === leafFlag) {
      const head = page * 4096;
      const firstNode = head + headBytes + content.readUInt16LE(head + headBytes);
      content.writeUInt16LE(treeFlag, firstNode + 4);
    }
  writeFileSync(file, content);
  const damaged = openLmdb(at);
  assert.throws(() => rowsOf(damaged.store), { status: "DATA_LOSS", message: /MDB_BAD_TXN/ });
  await damaged.store.close();
  const next = openLmdb(at);
  assert.match(next.discardReason ?? "", /damage was found in it/);
  await next.store.close();
});
