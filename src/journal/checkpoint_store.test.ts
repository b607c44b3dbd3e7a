import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "../world/ports.ts";
import { sealCheckpoint } from "./checkpoint_file.ts";
import { CheckpointStore } from "./checkpoint_store.ts";
import { type JournalFileSystem, writeFully } from "./file_system.ts";
import { bound, crc32c } from "./journal_fixture.ts";
import { MemoryFileSystem } from "./memory_file_system.ts";
import { FOLDER, THREE } from "./wal_fixture.ts";

const AT = { index: 50, term: 3 };
const PATH = `${FOLDER}/checkpoint-0000000000000050`;

test("peers that ask while a large checkpoint is checked, or just after, share that check", async () => {
  const memory = new MemoryFileSystem();
  memory.makeFolderSync(FOLDER);
  const file = await memory.create(PATH);
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
    ...memory.bound(),
    openSync(path, mode) {
      const opened = memory.openSync(path, mode);
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
    folder: FOLDER,
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
  const rotten = memory.openSync(PATH, "readWrite");
  await writeFully(rotten, Uint8Array.of(8), 500);
  rotten.close();
  assert.equal(await store.readPart(AT, 0, 10), null);
  assert.equal(checkCount, 2);
  assert.deepEqual(events, ["checkpointDamaged"]);
  assert.equal(store.newest(), null);
});
