import assert from "node:assert/strict";
import { test } from "node:test";
import type { CheckpointEvent } from "./journal_protocol.ts";
import { RepairWatch } from "./repair_watch.ts";

function watched() {
  const events: CheckpointEvent[] = [];
  return { events, watch: new RepairWatch((event) => events.push(event)) };
}

test("RepairWatch says once from whom the log is repaired, and again when that is another one", () => {
  const { watch, events } = watched();
  const promised = { index: 9, term: 2 };
  watch.look(null, 5, "a:1", 0);
  watch.look(promised, 5, "a:1", 10);
  watch.look(promised, 7, "a:1", 20);
  watch.look(promised, 7, "b:1", 30);
  watch.look(null, 9, "b:1", 40);
  assert.deepEqual(events, [
    { kind: "repairing", promisedIndex: 9, lastIndex: 5, fromAddress: "a:1" },
    { kind: "repairing", promisedIndex: 9, lastIndex: 7, fromAddress: "b:1" },
  ]);
});

test("RepairWatch names what nobody has, once in a while, when nobody leads", () => {
  const { watch, events } = watched();
  const promised = { index: 9, term: 2 };
  for (let nowMs = 0; nowMs < 60_000; nowMs += 100) watch.look(promised, 5, null, nowMs);
  assert.equal(events.length, 2);
  const [first] = events;
  assert.ok(first?.kind === "repairStuck");
  assert.deepEqual([first.missingFrom, first.promisedIndex], [6, 9]);
  assert.match(first.message, /entries 6 to 9/);
  assert.match(first.remedy, /journal repair/);
});
