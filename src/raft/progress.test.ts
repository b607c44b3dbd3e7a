import assert from "node:assert/strict";
import { test } from "node:test";
import type { Entry } from "./messages.ts";
import { Progress } from "./progress.ts";
import { memberId } from "./testing.ts";

const WINDOW = {
  inflightEntriesMax: 4,
  inflightBytesMax: 1000,
  heartbeatTicks: 3,
  electionTicksMax: 20,
};

function entries(from: number, count: number, bytes = 1): Entry[] {
  const payload = new Uint8Array(bytes);
  return Array.from({ length: count }, (_, at) => ({
    index: from + at,
    term: 1,
    kind: "command",
    payload,
  }));
}

function replicating(matchIndex: number): Progress {
  const progress = new Progress(memberId(2), matchIndex + 1, WINDOW);
  progress.accepted(matchIndex);
  return progress;
}

test("a probe waits for its answer; an accepted one opens the window", () => {
  const progress = new Progress(memberId(2), 5, WINDOW);
  assert.deepEqual([progress.room().entries, progress.isEmptyAppendDue], [4, true]);
  progress.sent(entries(5, 2), 0);
  assert.deepEqual([progress.room().entries, progress.isEmptyAppendDue], [0, false]);
  assert.equal(progress.nextIndex, 5, "a probe moves nothing");
  progress.accepted(6);
  assert.deepEqual([progress.matchIndex, progress.nextIndex, progress.isReplicating], [6, 7, true]);
});

test("the window counts entries and bytes, and is freed by answers", () => {
  const progress = replicating(0);
  progress.sent(entries(1, 3), 0);
  assert.equal(progress.room().entries, 1);
  progress.sent(entries(4, 1), 0);
  assert.equal(progress.room().entries, 0);
  progress.accepted(2);
  assert.equal(progress.room().entries, 0, "the first append is answered only at its end");
  progress.accepted(3);
  assert.equal(progress.room().entries, 3);
  progress.sent(entries(5, 1, 2000), 0);
  assert.equal(progress.room().entries, 0, "the bytes are used up");
  progress.accepted(5);
  assert.deepEqual(progress.room(), { entries: 4, bytes: 1000 });
});

test("a rejection while replicating leads back to the match, one of something older does not", () => {
  const progress = replicating(3);
  progress.sent(entries(4, 2), 0);
  assert.equal(progress.isRejectionCurrent(3), false);
  assert.equal(progress.isRejectionCurrent(5), true);
  progress.rejected(5, 1);
  assert.deepEqual([progress.isReplicating, progress.nextIndex], [false, 4]);
  assert.equal(progress.room().entries, 4, "nothing is in flight any more");
});

test("a rejected probe moves to the hint, never up and never below the match", () => {
  const table: [next: number, candidate: number, expected: number][] = [
    [10, 4, 5],
    [10, 9, 9],
    [10, 30, 9],
    [2, 0, 1],
    [1, 0, 1],
  ];
  for (const [next, candidate, expected] of table) {
    const progress = new Progress(memberId(2), next, WINDOW);
    progress.sent([], 0);
    assert.equal(progress.isRejectionCurrent(next), false, "not what the probe asked");
    if (!progress.isRejectionCurrent(next - 1)) continue;
    progress.rejected(next - 1, candidate);
    assert.equal(progress.nextIndex, expected, `${next} with hint ${candidate}`);
    assert.equal(progress.isEmptyAppendDue, true);
  }
});

test("heartbeatAnswered() asks again after a heartbeat's silence only: by the probe, or an empty append", () => {
  const probe = new Progress(memberId(2), 5, WINDOW);
  probe.sent(entries(5, 1), 10);
  probe.heartbeatAnswered(12);
  assert.equal(probe.isEmptyAppendDue, false);
  probe.heartbeatAnswered(13);
  assert.deepEqual([probe.isEmptyAppendDue, probe.room().entries], [true, 1]);
  probe.sent([], 13);
  assert.equal(probe.isEmptyAppendDue, false);

  const progress = replicating(3);
  progress.heartbeatAnswered(99);
  assert.equal(progress.isEmptyAppendDue, false, "nothing is missing");
  progress.sent(entries(4, 4), 100);
  progress.heartbeatAnswered(103);
  assert.equal(progress.isEmptyAppendDue, true, "also when the window is full");
});

test("lost() begins again behind the match", () => {
  const progress = replicating(3);
  progress.sent(entries(4, 4), 0);
  progress.lost();
  assert.deepEqual([progress.nextIndex, progress.isReplicating], [4, false]);
  assert.equal(progress.room().entries, 4);
});
