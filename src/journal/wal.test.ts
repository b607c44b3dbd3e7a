import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { EXIT, isRockpoolError } from "../common/errors.ts";
import type { Entry } from "../raft/messages.ts";
import type { JournalFile, JournalFileSystem } from "./file_system.ts";
import { MemoryFileSystem } from "./memory_file_system.ts";
import { WINDOW_BYTES } from "./segment_window.ts";
import type { WalFailure } from "./wal_failure.ts";
import {
  all,
  append,
  entry,
  FOLDER,
  type Log,
  lottery,
  open,
  owner,
  recoveryOptions,
  SEGMENT_BYTES,
  shown,
  state,
  until,
  type WriteStep,
  writeSteps,
} from "./wal_fixture.ts";
import { recoverWal } from "./wal_recovery.ts";

test("Wal gives back entries, term and vote after a restart, over many segments", async () => {
  const fileSystem = new MemoryFileSystem();
  const { wal } = await open(fileSystem);
  const entries = Array.from({ length: 300 }, (_, at) =>
    entry(at + 1, 1 + Math.floor(at / 100), "x".repeat(at * 3)),
  );
  await append(wal, [], state(1));
  for (let at = 0; at < 300; at += 10)
    await append(wal, entries.slice(at, at + 10), at % 100 === 0 ? state(1 + at / 100, at) : null);
  assert.ok(wal.sequence > 2, "the test fills segments");
  assert.deepEqual(all(wal), shown(entries));
  await wal.close();
  const again = await open(fileSystem);
  assert.deepEqual(all(again.wal), shown(entries));
  assert.deepEqual(again.wal.hardState, state(3, 200));
  assert.equal(again.wal.termOf(100), 1);
  assert.equal(again.wal.termOf(101), 2);
  assert.equal(again.wal.durableIndex(), 300);
  assert.deepEqual(again.failures, []);
  await again.wal.close();
});

test("Wal keeps what replaced a truncated tail", async () => {
  const fileSystem = new MemoryFileSystem();
  const { wal } = await open(fileSystem);
  await append(
    wal,
    [1, 2, 3, 4, 5].map((index) => entry(index)),
    state(1),
  );
  await append(wal, [entry(3, 2), entry(4, 2)], state(2, 0, null));
  await append(wal, [entry(4, 3)], state(3));
  const kept = [entry(1), entry(2), entry(3, 2), entry(4, 3)];
  assert.deepEqual(all(wal), shown(kept));
  await wal.close();
  const again = await open(fileSystem);
  assert.deepEqual(all(again.wal), shown(kept));
  assert.equal(again.wal.lastIndex(), 4);
  await again.wal.close();
});

test("Wal makes one batch of what was appended in one turn, and answers in order", async () => {
  const fileSystem = new MemoryFileSystem();
  const { wal } = await open(fileSystem);
  await append(wal, [entry(1)], state(1));
  const before = fileSystem.calls;
  const order: number[] = [];
  await Promise.all(
    [2, 3, 4].map((index) => append(wal, [entry(index)]).then(() => order.push(index))),
  );
  assert.deepEqual(order, [2, 3, 4]);
  assert.equal(fileSystem.calls - before, 3, "a body, the descriptor of the batch before, a sync");
  await wal.close();
});

test("Wal keeps a commit index without an fdatasync for it", async () => {
  const fileSystem = new MemoryFileSystem();
  const { wal } = await open(fileSystem);
  await append(wal, [entry(1), entry(2)], state(1));
  const before = fileSystem.calls;
  await append(wal, [], state(1, 2));
  assert.equal(fileSystem.calls, before);
  await wal.close();
  const again = await open(fileSystem);
  assert.equal(again.wal.hardState.commitIndex, 2);
  await again.wal.close();
});

test("Wal never says that an entry is committed which a truncation under way will replace", async () => {
  let committed = 0;
  for (let at = 1; ; at++) {
    const fileSystem = new MemoryFileSystem();
    const { wal, failures, failed } = await open(fileSystem);
    await append(
      wal,
      [1, 2, 3].map((index) => entry(index)),
      state(1),
    );
    fileSystem.calls = 0;
    fileSystem.fault = { at, code: "EIO" };
    // More than one batch takes, so that the replacement goes to disk after what it replaces.
    const old = Array.from({ length: 12 }, (_, place) => entry(4 + place, 1, "o".repeat(3000)));
    wal.append(null, old, () => {});
    const replaced = append(wal, [entry(4, 2)], state(2, 4));
    await Promise.race([replaced, failed]);
    await wal.close();
    fileSystem.fault = null;
    const { wal: again } = await open(fileSystem);
    if (again.hardState.commitIndex >= 4) {
      committed += 1;
      assert.equal(again.termOf(4), 2);
    }
    await again.close();
    if (failures.length === 0) break;
  }
  assert.ok(committed > 0);
});

/** A log of one segment whose last batch begins at `last` and has no descriptor. */
async function withLastBatch(): Promise<{
  fileSystem: MemoryFileSystem;
  last: number;
  end: number;
}> {
  const fileSystem = new MemoryFileSystem();
  const { wal } = await open(fileSystem);
  await append(wal, [entry(1), entry(2)], state(1));
  await append(wal, [entry(3)]);
  const file = fileSystem.files.get(`${FOLDER}/wal-0000000000000001`);
  assert.ok(file);
  const before = file.current.slice();
  // More than one page, so that a part of it outlives a shorter batch in its place.
  await append(wal, [entry(4), entry(5, 1, "5".repeat(5000))]);
  await wal.abandon();
  const last = recovered(fileSystem).end?.lastBatchOffset ?? 0;
  // What the last write changed outside of its batch is the descriptor of the batch before it.
  assert.ok(before.subarray(last).every((byte) => byte === 0));
  return { fileSystem, last, end: recovered(fileSystem).end?.offsetBytes ?? 0 };
}

function recovered(fileSystem: JournalFileSystem) {
  return recoverWal({ ...recoveryOptions, fileSystem });
}

function firstSegment(fileSystem: MemoryFileSystem): Uint8Array {
  const file = fileSystem.files.get(`${FOLDER}/wal-0000000000000001`);
  assert.ok(file);
  return file.current;
}

test("Wal drops a tail that is torn at any byte, and goes on behind it", async () => {
  const { fileSystem, last, end } = await withLastBatch();
  let dropped = 0;
  for (let cut = last; cut < end; cut += cut < last + 300 ? 1 : 61) {
    const torn = fileSystem.clone();
    firstSegment(torn).fill(0, cut, end);
    const { wal, events } = await open(torn);
    const isWhole = all(wal).length === 5;
    if (!isWhole) {
      assert.deepEqual(all(wal), shown([entry(1), entry(2), entry(3)]));
      dropped += events.filter(({ kind }) => kind === "tornTailDropped").length;
      await append(wal, [entry(4, 2)], state(2));
    }
    await wal.close();
    const again = await open(torn);
    assert.equal(again.events.filter(({ kind }) => kind === "tornTailDropped").length, 0);
    assert.equal(again.wal.lastIndex(), isWhole ? 5 : 4);
    await again.wal.close();
  }
  assert.ok(dropped > 100, "torn tails are told");
});

test("Wal refuses damage in the middle, names the place, and changes nothing", async () => {
  const { fileSystem, last } = await withLastBatch();
  const identityEnd = 2 * 4096;
  const dataStart = recovered(fileSystem).segments[0]?.dataOffset ?? identityEnd;
  for (let at = dataStart; at < last; at += 97) {
    const damaged = fileSystem.clone();
    const bytes = firstSegment(damaged);
    // Either kind of proof is enough: the descriptors, or the batches that follow.
    if (at % 2 === 0) bytes.fill(0, identityEnd, dataStart);
    bytes[at] = (bytes[at] ?? 0) ^ 0x40;
    const copy = bytes.slice();
    await assert.rejects(open(damaged), (error) => {
      assert.ok(isRockpoolError(error, "DATA_LOSS"));
      assert.match(error.message, /wal-0000000000000001 is damaged at byte \d+, after entry \d/);
      assert.notEqual(error.remedy, "");
      return true;
    });
    assert.deepEqual(firstSegment(damaged), copy);
  }
});

test("Wal refuses a damaged last batch once its descriptor is written", async () => {
  const { fileSystem, last } = await withLastBatch();
  const { wal } = await open(fileSystem);
  await wal.close();
  const bytes = firstSegment(fileSystem);
  bytes[last + 100] = (bytes[last + 100] ?? 0) ^ 1;
  await assert.rejects(open(fileSystem), (error) => isRockpoolError(error, "DATA_LOSS"));
});

test("Wal makes durable again what it found in the page cache only", async () => {
  const fileSystem = new MemoryFileSystem();
  const { wal } = await open(fileSystem);
  await append(wal, [entry(1)], state(1));
  // The body and a descriptor are written; the fdatasync fails.
  fileSystem.fault = { at: fileSystem.calls + 3, code: "EIO" };
  wal.append(null, [entry(2)], () => assert.fail("it is not durable"));
  await wal.close();
  fileSystem.fault = null;
  const { wal: after } = await open(fileSystem);
  const found = after.lastIndex();
  assert.equal(found, 2, "its bytes can be read, so it counts as durable from now on");
  await after.abandon();
  fileSystem.losePower(() => false);
  const { wal: again } = await open(fileSystem);
  assert.equal(again.lastIndex(), 2);
  await again.close();
});

/** Remembers the longest read. */
class WatchedDisk extends MemoryFileSystem {
  longestReadBytes = 0;

  override openSync(path: string): JournalFile {
    const file = super.openSync(path);
    const readSync: JournalFile["readSync"] = (into, at) => {
      this.longestReadBytes = Math.max(this.longestReadBytes, into.length);
      return file.readSync(into, at);
    };
    return { ...file, readSync };
  }
}

test("Wal reads segments piece by piece after a restart, and keeps none of their bytes", async () => {
  const disk = new WatchedDisk();
  const segmentBytes = 3 * WINDOW_BYTES;
  const { wal } = await open(disk, { segmentBytes });
  await append(wal, [], state(1));
  const entries = Array.from({ length: 200 }, (_, at) =>
    entry(at + 1, 1, "y".repeat((at * 7919) % 80_000)),
  );
  // Batches of all lengths, so that some lie across the end of a piece.
  for (let at = 0, count = 1; at < entries.length; at += count, count = (count % 11) + 1)
    await append(wal, entries.slice(at, at + count));
  assert.equal(wal.sequence, 2, "the test fills more than a segment");
  await wal.close();
  const found = recoverWal({ ...recoveryOptions, fileSystem: disk, segmentBytes });
  assert.ok(disk.longestReadBytes <= WINDOW_BYTES, `${disk.longestReadBytes} B at once`);
  assert.equal(found.lastBatch.buffer.byteLength, found.lastBatch.length);
  const again = await open(disk, { segmentBytes });
  assert.deepEqual(all(again.wal), shown(entries));
  await again.wal.close();
});

/** A disk without room for another file, for as long as it is said to be full. */
class FullDisk extends MemoryFileSystem {
  isFull = false;
  askedCount = 0;

  override async create(path: string): Promise<JournalFile> {
    if (this.isFull) throw Object.assign(new Error("No room"), { code: "ENOSPC" });
    return super.create(path);
  }

  override async freeBytes(): Promise<number> {
    this.askedCount += 1;
    return this.isFull ? SEGMENT_BYTES - 1 : SEGMENT_BYTES;
  }
}

test("Wal prepares the next segment once there is room again, before any batch needs it", async () => {
  const disk = new FullDisk();
  const { wal, events, failures } = await open(disk, { spareRetryMs: 1 });
  await append(wal, [entry(1)], state(1));
  assert.ok(await wal.hasSpare());
  disk.isFull = true;
  let index = 2;
  for (; wal.sequence === 1; index++) await append(wal, [entry(index, 1, "x".repeat(3000))]);
  await until("it has asked for room", () => disk.askedCount >= 3);
  const told = events.filter(({ kind }) => kind === "noSpaceForNextSegment");
  assert.equal(told.length, 1);
  assert.equal(await wal.hasSpare(), false);
  const spare = `${FOLDER}/wal-0000000000000003`;
  assert.equal(disk.files.has(spare), false);
  disk.isFull = false;
  await until("the spare is there", () => disk.files.has(spare));
  disk.isFull = true;
  for (; wal.sequence === 2; index++) await append(wal, [entry(index, 1, "x".repeat(3000))]);
  assert.deepEqual(failures, []);
  await wal.close();
  disk.isFull = false;
  const again = await open(disk);
  assert.equal(again.wal.lastIndex(), index - 1);
  await again.wal.close();
});

test("Wal refuses a missing segment and one of another journal", async () => {
  const fileSystem = new MemoryFileSystem();
  const { wal } = await open(fileSystem);
  await append(wal, [], state(1));
  for (let index = 1; index < 60; index++) await append(wal, [entry(index)]);
  await wal.close();
  assert.ok(wal.sequence > 3);
  const missing = fileSystem.clone();
  missing.removeSync(`${FOLDER}/wal-0000000000000002`);
  await assert.rejects(open(missing), (error) => isRockpoolError(error, "DATA_LOSS"));
  const other = { ...owner, incarnation: 5n };
  await assert.rejects(open(fileSystem.clone(), { owner: other }), (error) =>
    isRockpoolError(error, "FAILED_PRECONDITION"),
  );
  const halfKnown = fileSystem.clone();
  firstSegment(halfKnown).fill(1, 0, 4096);
  const { wal: repaired } = await open(halfKnown);
  assert.equal(repaired.lastIndex(), 59, "the second copy of an identity serves");
  await repaired.close();
});

for (const code of ["EIO", "ENOSPC", "short"] as const)
  test(`Wal loses nothing it has acknowledged when call n fails: ${code}`, async () => {
    let failedCount = 0;
    for (let at = 1; ; at++) {
      const fileSystem = new MemoryFileSystem();
      fileSystem.fault = { at, code };
      let log: Log | null = null;
      let acknowledged = 0;
      try {
        log = await open(fileSystem);
        const { wal, failures, failed } = log;
        const steps = Array.from({ length: 12 }, (_, step) => step);
        for (const step of steps) {
          const first = step * 2 + 1;
          const payload = "y".repeat(3000);
          const work = append(
            wal,
            [entry(first, 1, payload), entry(first + 1, 1, payload)],
            state(1, first - 1),
          );
          await Promise.race([work, failed]);
          if (failures.length === 0) acknowledged = first + 1;
          if (failures.length > 0) break;
        }
      } catch (error) {
        assert.ok(error instanceof Error && "code" in error, String(error));
      }
      const isReached = fileSystem.calls >= at;
      if (log !== null && log.failures.length > 0) {
        failedCount += 1;
        checkFailure(code, log.failures);
        const calls = fileSystem.calls;
        log.wal.append(null, [], () => assert.fail("a failed log promises nothing"));
        assert.equal(fileSystem.calls, calls);
      }
      await log?.wal.abandon();
      fileSystem.fault = null;
      fileSystem.losePower(() => at % 2 === 0);
      const again = await open(fileSystem);
      assert.ok(again.wal.lastIndex() >= acknowledged, `call ${at}: ${acknowledged} were promised`);
      await again.wal.close();
      if (!isReached) break;
    }
    if (code !== "short") assert.ok(failedCount > 20, "the faults are met");
  });

function checkFailure(code: string, failures: readonly WalFailure[]): void {
  assert.equal(failures.length, 1);
  const [{ kind, error, exitCode } = { kind: "none", error: null, exitCode: 0 }] = failures;
  if (code === "EIO") assert.deepEqual([kind, exitCode], ["fatal", EXIT.journalIo]);
  if (code === "ENOSPC" && kind === "readOnly") assert.equal(error?.status, "RESOURCE_EXHAUSTED");
  assert.match(error?.message ?? "", /\/journal\/wal-(\d{16}|begin)/);
}

const crash = fc.record({
  kind: fc.constant("crash" as const),
  seed: fc.nat(),
  pending: fc.integer({ min: 0, max: 5 }),
});
type Step = WriteStep | { readonly kind: "crash"; readonly seed: number; readonly pending: number };

const step: fc.Arbitrary<Step> = fc.oneof<fc.WeightedArbitrary<Step>[]>(...writeSteps, {
  weight: 4,
  arbitrary: crash,
});

test("Wal keeps every acknowledged append whatever sectors a power cut leaves behind", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const fileSystem = new MemoryFileSystem();
      let log = await open(fileSystem);
      let model: Entry[] = [];
      let term = 1;
      await append(log.wal, [], state(term));
      for (const each of steps) {
        if (each.kind === "append") {
          const next = Array.from({ length: each.count }, (_, at) =>
            entry(model.length + 1 + at, term, "z".repeat(each.sizeBytes)),
          );
          model.push(...next);
          await append(log.wal, next);
        } else if (each.kind === "replace" && model.length > 0) {
          term += 1;
          model = model.slice(0, Math.max(0, model.length - each.back));
          const next = entry(model.length + 1, term);
          model.push(next);
          await append(log.wal, [next], state(term));
        } else if (each.kind === "vote") {
          term += 1;
          await append(log.wal, [], state(term));
        } else if (each.kind === "crash") {
          // Some appends are under way and were never acknowledged.
          const under = Array.from({ length: each.pending }, (_, at) =>
            entry(model.length + 1 + at, term, "w".repeat(900)),
          );
          for (const one of under) {
            log.wal.append(null, [one], () => {});
            await Promise.resolve();
          }
          fileSystem.losePower(lottery(each.seed));
          log = await open(fileSystem);
          const found = all(log.wal);
          const written = shown([...model, ...under]);
          assert.ok(found.length >= model.length, "acknowledged entries are there");
          assert.deepEqual(found, written.slice(0, found.length));
          model = [...model, ...under].slice(0, found.length);
          assert.equal(log.wal.hardState.term, term);
          assert.equal(log.wal.hardState.vote, owner.memberId);
        }
        assert.deepEqual(all(log.wal), shown(model));
      }
      await log.wal.close();
    }),
    { numRuns: 60 },
  );
});
