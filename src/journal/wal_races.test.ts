import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeMembership } from "../raft/membership.ts";
import type { Timers } from "../world/ports.ts";
import { MemoryFileSystem } from "./memory_file_system.ts";
import { segmentName } from "./segment_file.ts";
import {
  ALONE,
  all,
  append,
  entriesFrom,
  entry,
  FOLDER,
  fill,
  open,
  shown,
  state,
  THREE,
} from "./wal_fixture.ts";

const pathOf = (sequence: number) => `${FOLDER}/${segmentName(sequence)}`;

function heldTimers() {
  const waiting = new Set<() => void>();
  const timers: Timers = {
    after(_delayMs, act) {
      waiting.add(act);
      return { cancel: () => waiting.delete(act) };
    },
    soon: (act) => setImmediate(act),
  };
  return { waiting, timers };
}

test("resetTo() is not met by the idle log's write to the segment that it lets go", async () => {
  const fileSystem = new MemoryFileSystem();
  const { waiting, timers } = heldTimers();
  const { wal, failures } = await open(fileSystem, { timers, scrubIntervalMs: 0 });
  await append(wal, entriesFrom(1, 3), state(1));
  const written: string[] = [];
  let isTold = false;
  fileSystem.delay = ({ kind, path }) => {
    if (kind === "write") written.push(path);
    if (isTold || kind !== "datasync" || !path.startsWith(`${FOLDER}/wal-begin`)) return null;
    isTold = true;
    // The log has been idle for long while the mark is on its way.
    for (const act of [...waiting]) act();
    return new Promise((resolve) => setImmediate(resolve));
  };
  await wal.resetTo({ index: 40, term: 2, membership: ALONE });
  assert.ok(isTold);
  assert.ok(!written.some((path) => path.startsWith(pathOf(1))), written.join());
  fileSystem.delay = null;
  await append(wal, [entry(41, 2)], state(2));
  await wal.close();
  assert.deepEqual(failures, []);
});

test("a log that is reset where it holds the snapshot opens again, whatever was replaced before", async () => {
  const fileSystem = new MemoryFileSystem();
  const { wal } = await open(fileSystem);
  await append(wal, entriesFrom(1, 12), state(1));
  await append(wal, [entry(11, 3), entry(12, 3)], state(4));
  await append(wal, [entry(12, 4)]);
  const later = entriesFrom(5, 10, 2);
  await append(wal, later, state(5));
  await wal.resetTo({ index: 8, term: 2, membership: ALONE });
  assert.deepEqual(all(wal), shown(later.slice(4)));
  await wal.close();
  const again = await open(fileSystem);
  assert.deepEqual([again.events, again.wal.firstIndex()], [[], 9]);
  assert.deepEqual(all(again.wal), shown(later.slice(4)));
  await again.wal.close();
});

test("a spare segment whose name a killed process did not make durable is not lost with what was written to it", async () => {
  for (let at = 1; ; at++) {
    const fileSystem = new MemoryFileSystem();
    let isCrashed = false;
    const crashed = new Promise<void>((resolve) => {
      fileSystem.onCrash = () => {
        isCrashed = true;
        resolve();
      };
    });
    fileSystem.fault = { at, code: "crash" };
    const opened = open(fileSystem).then(({ wal }) => wal.close());
    await Promise.race([opened, crashed]);
    if (!isCrashed) return;
    fileSystem.fault = null;
    fileSystem.killProcess();
    const { wal } = await open(fileSystem);
    // The power fails before the next segment is prepared, which would make the names durable.
    fileSystem.delay = ({ kind }) => (kind === "syncFolder" ? new Promise(() => {}) : null);
    await append(wal, entriesFrom(1, 3), state(1));
    fileSystem.losePower(() => false);
    fileSystem.delay = null;
    const again = await open(fileSystem);
    assert.equal(again.wal.lastIndex(), 3, `crash at call ${at}`);
    await again.wal.close();
  }
});

test("a damaged segment of whose front the state is ahead is set aside, not removed", async () => {
  const fileSystem = new MemoryFileSystem();
  const { wal } = await open(fileSystem, { membership: THREE });
  await fill(wal, 1, 80);
  await wal.close();
  // Two holes in one segment: what lies between follows upon nothing.
  const used = fileSystem.usedSectors(pathOf(wal.sequence)).map(({ sector }) => sector * 512 + 77);
  const bodies = used.filter((place) => place > 16384);
  for (const share of [0.5, 1])
    fileSystem.rot(pathOf(wal.sequence), bodies[Math.ceil(bodies.length * share) - 1] ?? 0, 1);
  const copy = fileSystem.readFileSync(pathOf(wal.sequence));
  const covered = { index: 79, term: 1, membership: encodeMembership(THREE) };
  const again = await open(fileSystem, { covered, membership: THREE });
  assert.equal(again.wal.firstIndex(), 80);
  assert.deepEqual(fileSystem.readFileSync(`${pathOf(wal.sequence)}.damaged-1`), copy);
  await again.wal.close();
});

test("abandon() ends the timers of a log whose disk does not answer", async () => {
  const fileSystem = new MemoryFileSystem();
  const { waiting, timers } = heldTimers();
  const { wal } = await open(fileSystem, { timers });
  assert.ok(waiting.size > 0, "it scrubs");
  fileSystem.killProcess();
  wal.append(state(1), [entry(1)], () => assert.fail("nothing is durable"));
  await new Promise((resolve) => setImmediate(resolve));
  void wal.abandon();
  assert.equal(waiting.size, 0);
});

test("what a repair gave up never hides what was acknowledged after it", async () => {
  const fileSystem = new MemoryFileSystem();
  const { wal } = await open(fileSystem, { membership: THREE });
  for (let index = 1; index <= 9; index++) await append(wal, [entry(index)], state(1));
  await wal.close();
  const bodies = fileSystem.usedSectors(pathOf(1)).filter(({ sector }) => sector * 512 > 16384);
  fileSystem.rot(pathOf(1), (bodies[2]?.sector ?? 0) * 512 + 77, 1);
  const { wal: repairing } = await open(fileSystem, { membership: THREE });
  const next = repairing.lastIndex() + 1;
  assert.ok(next > 1 && next < 9, "a part of the segment stays");
  await append(repairing, [entry(next, 2)], state(2));
  assert.equal(repairing.promised(), null);
  assert.equal(repairing.sequence, 2);
  await repairing.close();
  for (const at of [40, 4096 + 40]) fileSystem.rot(pathOf(2), at, 8);
  const { wal: again } = await open(fileSystem, { membership: THREE });
  assert.deepEqual(again.promised(), { index: next, term: 2 });
  await again.close();
});
