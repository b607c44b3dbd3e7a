import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Term } from "../common/ids.ts";
import { InvariantError } from "../common/invariant.ts";
import { RaftLog } from "./log.ts";
import { NOBODY } from "./membership.ts";
import type { Entry } from "./messages.ts";
import { MemoryStorage } from "./testing.ts";

const ALL = { countMax: 1000, bytesMax: 1_000_000 };

function entry(index: number, term: Term, bytes = 1): Entry {
  return { index, term, kind: "command", payload: new Uint8Array(bytes) };
}

function entries(from: number, ...terms: Term[]): Entry[] {
  return terms.map((term, at) => entry(from + at, term));
}

/** A log, and the shell's part of taking what it has to persist. */
function logOf(...terms: Term[]) {
  const storage = new MemoryStorage(NOBODY);
  storage.append(entries(1, ...terms));
  const log = new RaftLog(storage, 0);
  const take = () => storage.append(log.takeTail());
  const termsNow = () => log.entries(1, ALL).map(({ term }) => term);
  return { log, storage, take, termsNow };
}

test("isUpToDate() compares last terms first, then lengths", () => {
  const { log } = logOf(1, 1, 3);
  const table: [index: number, term: Term, expected: boolean][] = [
    [3, 3, true],
    [4, 3, true],
    [2, 3, false],
    [1, 4, true],
    [9, 2, false],
    [0, 0, false],
  ];
  for (const [index, term, expected] of table)
    assert.equal(log.isUpToDate(index, term), expected, `${index}/${term}`);
});

test("lastIndexWithTermUpTo() skips whole terms that are too new", () => {
  const { log } = logOf(1, 1, 1, 4, 4, 5, 5, 6);
  const table: [term: Term, index: number, expected: number][] = [
    [6, 8, 8],
    [6, 99, 8],
    [5, 8, 7],
    [4, 8, 5],
    [3, 8, 3],
    [2, 2, 2],
    [0, 8, 0],
  ];
  for (const [term, index, expected] of table)
    assert.equal(log.lastIndexWithTermUpTo(term, index), expected, `${term} at ${index}`);
});

test("append() keeps what is there and replaces from the first entry that differs", () => {
  const table: [have: Term[], from: number, add: Term[], expected: Term[]][] = [
    [[], 1, [1, 1], [1, 1]],
    [[1, 1], 3, [2], [1, 1, 2]],
    [[1, 1, 1], 1, [1], [1, 1, 1]],
    [[1, 1, 1], 2, [1, 1, 2], [1, 1, 1, 2]],
    [[1, 1, 1], 2, [2], [1, 2]],
    [[1, 2, 2, 2], 2, [3, 3], [1, 3, 3]],
  ];
  for (const isTaken of [true, false])
    for (const [have, from, add, expected] of table) {
      const { log, take, termsNow } = logOf();
      log.append(entries(1, ...have));
      if (isTaken) take();
      log.append(entries(from, ...add));
      if (isTaken) {
        take();
        assert.deepEqual(termsNow(), expected);
      }
      assert.deepEqual([log.lastIndex, log.lastTerm], [expected.length, expected.at(-1)]);
      assert.deepEqual(
        expected.map((_, at) => log.termOf(at + 1)),
        expected,
      );
    }
});

test("append() never overwrites a committed entry", () => {
  const { log } = logOf(1, 1, 1);
  log.commitTo(2);
  assert.throws(() => log.append(entries(2, 2)), InvariantError);
  assert.throws(() => log.append(entries(5, 2)), InvariantError, "nor leaves a gap");
  assert.throws(() => log.commitTo(4), InvariantError);
});

test("entries() gives at least one entry, then what fits, from storage and tail alike", () => {
  const storage = new MemoryStorage(NOBODY);
  storage.append([entry(1, 1, 100), entry(2, 1, 100)]);
  const log = new RaftLog(storage, 0);
  log.append([entry(3, 1, 100), entry(4, 1, 100), entry(5, 1, 100)]);
  const indexes = (from: number, countMax: number, bytesMax: number) =>
    log.entries(from, { countMax, bytesMax }).map(({ index }) => index);
  assert.deepEqual(indexes(1, 9, 1), [1]);
  assert.deepEqual(indexes(1, 9, 9999), [1, 2], "stops where the tail begins");
  assert.deepEqual(indexes(3, 9, 1), [3]);
  assert.deepEqual(indexes(3, 9, 270), [3, 4]);
  assert.deepEqual(indexes(3, 1, 9999), [3]);
  assert.deepEqual(indexes(6, 9, 9999), []);
});

test("persisted() moves the durable index batch by batch", () => {
  const { log, take } = logOf(1);
  assert.equal(log.durableIndex, 1, "what was read at the start is on disk");
  log.append(entries(2, 1, 1));
  log.persisted({ index: 3, term: 1 });
  assert.equal(log.durableIndex, 1, "nothing was handed out yet");
  take();
  log.append(entries(4, 2));
  take();
  log.persisted({ index: 3, term: 1 });
  assert.equal(log.durableIndex, 3);
  log.persisted({ index: 4, term: 2 });
  assert.equal(log.durableIndex, 4);
  log.persisted({ index: 4, term: 2 });
  assert.equal(log.durableIndex, 4, "an answer that was used up says nothing");
});

test("persisted() for the last of several batches counts for all", () => {
  const { log, take } = logOf();
  for (const index of [1, 2, 3]) {
    log.append(entries(index, 1));
    take();
  }
  log.persisted({ index: 3, term: 1 });
  assert.equal(log.durableIndex, 3);
});

test("persisted() is not misled when an entry is written, overwritten and written again", () => {
  const { log, take } = logOf(1);
  for (const terms of [[2, 2], [3], [2, 2]]) {
    log.append(entries(2, ...terms));
    take();
  }
  assert.equal(log.durableIndex, 1);
  log.persisted({ index: 3, term: 2 });
  assert.equal(log.durableIndex, 1, "the first writing: its overwriting may reach the disk alone");
  log.persisted({ index: 2, term: 3 });
  assert.equal(log.durableIndex, 1, "the overwriting is gone from the log");
  log.persisted({ index: 3, term: 2 });
  assert.equal(log.durableIndex, 3, "the second writing");
});

test("persisted() for a batch of which a part was overwritten counts for the rest", () => {
  const { log, take } = logOf();
  log.append(entries(1, 1, 1, 1, 1));
  take();
  log.append(entries(3, 2));
  take();
  log.persisted({ index: 4, term: 1 });
  assert.equal(log.durableIndex, 2);
  log.persisted({ index: 3, term: 2 });
  assert.equal(log.durableIndex, 3);
});

test("takeCommitted() hands out once what is committed and durable", () => {
  const { log, take } = logOf();
  log.append(entries(1, 1, 1, 1, 1));
  take();
  log.commitTo(3);
  assert.equal(log.takeCommitted(), null, "not durable here");
  log.persisted({ index: 4, term: 1 });
  assert.equal(log.takeCommitted(), 3);
  assert.equal(log.takeCommitted(), null);
});

test("a log begins behind what was applied, though the commit index on disk lags", () => {
  const storage = new MemoryStorage(NOBODY);
  storage.append(entries(1, 1, 1, 2));
  storage.hardState = { term: 2, vote: null, commitIndex: 1 };
  const log = new RaftLog(storage, 2);
  assert.equal(log.commitIndex, 2);
  assert.equal(log.takeCommitted(), null);
  storage.trim(2);
  assert.equal(new RaftLog(storage, 2).termOf(2), 2 - 1);
  assert.throws(() => new RaftLog(storage, 1), InvariantError, "the next entry is gone");
  assert.throws(() => new RaftLog(storage, 4), InvariantError, "applied but not in the log");
});

test("any sequence of appends equals a plain array", () => {
  const step = fc.record({ keep: fc.nat(12), add: fc.nat(4), isTaken: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const { log, storage, take } = logOf();
      let model: Term[] = [];
      for (const [at, { keep, add, isTaken }] of steps.entries()) {
        const from = Math.min(keep, model.length) + 1;
        const term = at + 1;
        const terms = Array.from({ length: add }, () => term);
        if (add > 0) model = [...model.slice(0, from - 1), ...terms];
        log.append(entries(from, ...terms));
        if (isTaken) take();
        assert.deepEqual(
          model.map((_, index) => log.termOf(index + 1)),
          model,
        );
        assert.equal(log.termOf(model.length + 1), undefined);
      }
      take();
      assert.deepEqual(storage.terms(), model);
    }),
  );
});
