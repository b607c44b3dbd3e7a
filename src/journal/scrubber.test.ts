import assert from "node:assert/strict";
import { test } from "node:test";
import type { Timers } from "../world/ports.ts";
import { MemoryFileSystem } from "./memory_file_system.ts";
import { segmentName } from "./segment_file.ts";
import { FOLDER, fill, open, until } from "./wal_fixture.ts";

const LAST = 80;
const pathOf = (sequence: number) => `${FOLDER}/${segmentName(sequence)}`;

test("scrub() checks one closed segment after the other, and names what rots", async () => {
  const fileSystem = new MemoryFileSystem();
  const { wal, events } = await open(fileSystem);
  const entries = await fill(wal, 1, LAST);
  const closedCount = wal.sequence - 1;
  assert.ok(closedCount > 3);
  const told = () => events.filter(({ kind }) => kind === "scrubFoundDamage");
  for (let turn = 0; turn < 2 * closedCount; turn++) await wal.scrub();
  assert.deepEqual(told(), []);
  for (const sequence of [2, 3]) {
    const { sector } = fileSystem.usedSectors(pathOf(sequence)).at(-4) ?? { sector: 0 };
    if (sequence === 2) fileSystem.rot(pathOf(sequence), sector * 512 + 9, 1);
    else fileSystem.spoil(pathOf(sequence), sector);
  }
  for (let turn = 0; turn < 2 * closedCount; turn++) await wal.scrub();
  const found = told();
  assert.deepEqual(found.map((event) => event.kind === "scrubFoundDamage" && event.path).sort(), [
    pathOf(2),
    pathOf(3),
  ]);
  for (const event of found) {
    if (event.kind !== "scrubFoundDamage") continue;
    assert.ok(event.firstIndex <= event.lastIndex && event.lastIndex < LAST);
    assert.notEqual(event.remedy, "");
  }
  // The state holds them: the log begins behind, and nothing is damaged any more.
  await wal.trimBefore(LAST);
  await wal.close();
  const again = await open(fileSystem);
  assert.deepEqual(again.events, []);
  assert.equal(again.wal.lastIndex(), entries.length);
  await again.wal.close();
});

test("scrubbing goes by the timers of the world, and ends with the log", async () => {
  const fileSystem = new MemoryFileSystem();
  const waiting = new Map<() => void, number>();
  const timers: Timers = {
    after(delayMs, act) {
      waiting.set(act, delayMs);
      return { cancel: () => waiting.delete(act) };
    },
    soon: (act) => setImmediate(act),
  };
  const { wal, events } = await open(fileSystem, { timers, scrubIntervalMs: 777 });
  await fill(wal, 1, LAST);
  const { sector } = fileSystem.usedSectors(pathOf(1)).at(-2) ?? { sector: 0 };
  fileSystem.rot(pathOf(1), sector * 512 + 9, 1);
  const scrub = [...waiting].find(([, delayMs]) => delayMs === 777)?.[0];
  assert.ok(scrub);
  waiting.delete(scrub);
  scrub();
  await until("it is told", () => events.some(({ kind }) => kind === "scrubFoundDamage"));
  await until("it waits again", () => [...waiting.values()].includes(777));
  await wal.close();
  assert.equal([...waiting.values()].includes(777), false);
});
