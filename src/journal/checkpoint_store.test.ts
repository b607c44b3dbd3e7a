import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { isRockpoolError } from "../common/errors.ts";
import type { MemberId } from "../common/ids.ts";
import type { Clock } from "../world/ports.ts";
import { sealCheckpoint } from "./checkpoint_file.ts";
import { CheckpointStore } from "./checkpoint_store.ts";
import { type JournalFileSystem, nodeFileSystem, writeFully } from "./file_system.ts";
import { bound, crc32c, root } from "./journal_fixture.ts";
import type { PeerTransport } from "./peer_transport.ts";
import { THREE } from "./wal_fixture.ts";

const AT = { index: 50, term: 3 };

test("peers that ask while a large checkpoint is checked, or just after, share that check", async () => {
  const real = nodeFileSystem();
  const folder = mkdtempSync(join(root, "store-"));
  const path = join(folder, "checkpoint-0000000000000050");
  const file = await real.create(path);
  await writeFully(file, new Uint8Array(1000).fill(7), 0);
  await sealCheckpoint(file, 9n, { ...AT, membership: THREE }, crc32c);
  file.close();
  let nowMs = 0;
  let checkCount = 0;
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const slow: JournalFileSystem = {
    ...real,
    openSync(name, mode) {
      const opened = real.openSync(name, mode);
      return {
        ...bound(opened),
        async read(into, at) {
          // The first bytes of the image are read by each check, and given to each peer in parts of 10 B.
          if (at === 0 && into.length > 10) {
            checkCount += 1;
            await held;
          }
          return await opened.read(into, at);
        },
      };
    },
  };
  const clock: Clock = { monotonicMs: () => nowMs, wallMs: () => nowMs };
  const events: string[] = [];
  const store = new CheckpointStore({
    fileSystem: slow,
    folder,
    groupId: 9n,
    crc32c,
    clock,
    onEvent: ({ kind }) => events.push(kind),
  });
  await store.open();
  const first = store.readPart(AT, 0, 10);
  const second = store.readPart(AT, 0, 10);
  release();
  assert.equal((await first)?.bytes.length, 10);
  assert.equal((await second)?.bytes.length, 10);
  nowMs += 1000;
  assert.ok(await store.readPart(AT, 0, 10));
  assert.equal(checkCount, 1);
  // Later it is checked again: it may have rotted.
  nowMs += 60_000;
  const rotten = real.openSync(path, "readWrite");
  await writeFully(rotten, Uint8Array.of(8), 500);
  rotten.close();
  assert.equal(await store.readPart(AT, 0, 10), null);
  assert.equal(checkCount, 2);
  assert.deepEqual(events, ["checkpointDamaged"]);
  assert.equal(store.newest(), null);
});

test("two fetches of one checkpoint do not meet at its file", async () => {
  const fileSystem = nodeFileSystem();
  const clock: Clock = { monotonicMs: () => 0, wallMs: () => 0 };
  const storeIn = (folder: string) =>
    new CheckpointStore({ fileSystem, folder, groupId: 9n, crc32c, clock, onEvent: () => {} });
  const giver = storeIn(mkdtempSync(join(root, "giver-")));
  const making = giver.makingPath(AT.index);
  const file = await fileSystem.create(making);
  await writeFully(file, new Uint8Array(1000).fill(7), 0);
  file.close();
  const snapshot = { ...AT, membership: THREE };
  await giver.seal(making, snapshot);
  const taker = storeIn(mkdtempSync(join(root, "taker-")));
  const transport: Pick<PeerTransport, "fetchCheckpoint"> = {
    async fetchCheckpoint(_peer, position, offsetBytes) {
      const part = await giver.readPart(position, offsetBytes, 100);
      assert.ok(part);
      return { position, offsetBytes, ...part };
    },
  };
  const from = { id: 77n as MemberId, address: "peer:1" };
  const fetch = () => taker.fetch(transport, from, snapshot, () => true);
  const [one, other] = await Promise.all([fetch(), fetch()]);
  assert.equal(one.snapshot.index, AT.index);
  assert.equal(one, other);
});

/** A store with a checkpoint, and what gives it in parts. */
async function giverOf() {
  const fileSystem = nodeFileSystem();
  const clock: Clock = { monotonicMs: () => 0, wallMs: () => 0 };
  const folder = mkdtempSync(join(root, "giver-"));
  const place = { fileSystem, folder, groupId: 9n, crc32c };
  const giver = new CheckpointStore({ ...place, clock, onEvent: () => {} });
  const making = giver.makingPath(AT.index);
  const file = await fileSystem.create(making);
  await writeFully(file, new Uint8Array(1000).fill(7), 0);
  file.close();
  const snapshot = { ...AT, membership: THREE };
  await giver.seal(making, snapshot);
  let held: (() => Promise<void>) | null = null;
  const transport: Pick<PeerTransport, "fetchCheckpoint"> = {
    async fetchCheckpoint(_peer, position, offsetBytes) {
      if (offsetBytes > 500) await held?.();
      const part = await giver.readPart(position, offsetBytes, 100);
      assert.ok(part);
      return { position, offsetBytes, ...part };
    },
  };
  /** From now on a fetch stops in the middle until it is let go. */
  const hold = () => {
    let letGo = () => {};
    const free = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const reached = new Promise<void>((resolve) => {
      held = () => {
        resolve();
        return free;
      };
    });
    return { reached, letGo };
  };
  return { snapshot, transport, hold };
}

const FROM = { id: 77n as MemberId, address: "peer:1" };

test("a checkpoint that would leave the log no room is not fetched; what came of it gives its room back", async () => {
  const { snapshot, transport, hold } = await giverOf();
  const folder = mkdtempSync(join(root, "taker-"));
  let freeBytes = 5000;
  const fileSystem: JournalFileSystem = {
    ...nodeFileSystem(),
    freeBytes: () => Promise.resolve(freeBytes),
  };
  const clock: Clock = { monotonicMs: () => 0, wallMs: () => 0 };
  const place = { fileSystem, folder, groupId: 9n, crc32c, reserveBytes: 4500 };
  const taker = new CheckpointStore({ ...place, clock, onEvent: () => {} });
  const incoming = () => readdirSync(folder).filter((name) => name.endsWith(".incoming"));
  await assert.rejects(
    taker.fetch(transport, FROM, snapshot, () => true),
    (error) => {
      assert.ok(isRockpoolError(error, "RESOURCE_EXHAUSTED"), String(error));
      assert.match(error.message, /has 5000 B free/);
      assert.notEqual(error.remedy, "");
      return true;
    },
  );
  freeBytes = 1e6;
  let isWanted = true;
  const { reached, letGo } = hold();
  const cut = assert.rejects(
    taker.fetch(transport, FROM, snapshot, () => isWanted),
    (error) => isRockpoolError(error, "CANCELLED"),
  );
  await reached;
  isWanted = false;
  const dropped = taker.dropIncoming();
  await new Promise(setImmediate);
  assert.equal(incoming().length, 1, "a fetch that is under way keeps its file");
  letGo();
  await cut;
  await dropped;
  assert.deepEqual(incoming(), []);
});

test("of the checkpoints that were found damaged the newest is kept", async () => {
  const folder = mkdtempSync(join(root, "damaged-"));
  const clock: Clock = { monotonicMs: () => 0, wallMs: () => 0 };
  const place = { fileSystem: nodeFileSystem(), folder, groupId: 9n, crc32c };
  const store = new CheckpointStore({ ...place, clock, onEvent: () => {} });
  const nameOf = (index: number) => `checkpoint-${String(index).padStart(16, "0")}`;
  for (const index of [30, 10, 20]) writeFileSync(join(folder, nameOf(index)), "damaged");
  writeFileSync(join(folder, `${nameOf(5)}.damaged`), "from before");
  await store.open();
  assert.deepEqual(readdirSync(folder), [`${nameOf(30)}.damaged`]);
});
