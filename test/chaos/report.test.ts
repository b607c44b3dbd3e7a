import assert from "node:assert/strict";
import { test } from "node:test";
import type { Operation } from "./history.ts";
import { Chance } from "./random.ts";
import { countsOf, failoverGapsMs, histogramOf, tableOf } from "./report.ts";

const made = (endMs: number, more: Partial<Operation> = {}): Operation => ({
  client: 0,
  kind: "mkdir",
  partition: "e0-0",
  path: "a",
  start: (endMs - 1) * 1e6,
  end: endMs * 1e6,
  result: "ok",
  ...more,
});
const run = (startMs: number, isFailover: boolean) => ({
  name: "kill",
  startNs: startMs * 1e6,
  endNs: startMs * 1e6,
  detail: "",
  isFailover,
});

test("failoverGapsMs() is the longest silence after each loss of a leader, up to the next nemesis", () => {
  const operations = [10, 20, 130, 140, 1000, 1010].map((endMs) => made(endMs));
  // Reads and refusals are no acknowledged changes.
  operations.push(made(60, { kind: "stat" }), made(70, { result: "NOT_FOUND" }));
  assert.deepEqual(failoverGapsMs(operations, [run(25, true), run(135, false)]), [110]);
  assert.deepEqual(failoverGapsMs(operations, [run(25, true), run(990, true)]), [110, 860]);
  assert.deepEqual(failoverGapsMs(operations, [run(25, false)]), []);
});

test("histogramOf() counts every gap once", () => {
  const lines = histogramOf([5, 60, 120, 130, 9000]);
  assert.match(lines[0] ?? "", /^5 times: p50 120 ms, .*max 9000 ms$/);
  const counts = lines.slice(1).map((line) => Number(line.split(" ").at(-1)));
  assert.equal(
    counts.reduce((sum, count) => sum + count, 0),
    5,
  );
});

test("tableOf() and countsOf() count by kind and result", () => {
  const lines = tableOf([made(1), made(2), made(3, { result: "unknown" })]);
  assert.equal(lines.length, 2);
  assert.match(lines[1] ?? "", /^mkdir\s+2\s+1$/);
  assert.equal(countsOf(["a", "b", "b"]), "b 2, a 1");
});

test("Chance repeats itself, and its forks depend on their names alone", () => {
  const draw = (chance: Chance) => Array.from({ length: 20 }, () => chance.integer(0, 1000));
  assert.deepEqual(draw(new Chance("1")), draw(new Chance("1")));
  assert.notDeepEqual(draw(new Chance("1")), draw(new Chance("2")));
  const used = new Chance("1");
  used.unit();
  assert.deepEqual(draw(used.fork("a")), draw(new Chance("1").fork("a")));
  assert.notDeepEqual(draw(used.fork("a")), draw(used.fork("b")));
  const counts = [0, 0, 0];
  const weights = [
    [0, 1],
    [1, 0],
    [2, 3],
  ] as const;
  for (let i = 0; i < 4000; i++) {
    const picked = used.weighted(weights);
    counts[picked] = (counts[picked] ?? 0) + 1;
  }
  assert.equal(counts[1], 0);
  assert.ok(Math.abs((counts[2] ?? 0) - 3000) < 150);
});
