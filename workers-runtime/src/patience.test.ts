import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { type TestContext, test } from "node:test";
import { EdgeError } from "./edge_error.ts";
import { patienceOf } from "./patience.ts";

const mockTimers = ({ mock }: TestContext) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  return mock.timers;
};

test("patience ends when nothing came for the budget, with why the last attempt failed", async (context) => {
  const timers = mockTimers(context);
  const patience = patienceOf(100);
  const reason = new EdgeError("UNAVAILABLE", "of the attempt");
  const pause = patience.pause(reason);
  timers.tick(99);
  await pause;
  assert.equal(patience.signal.aborted, false);
  timers.tick(1);
  assert.equal(patience.signal.reason, reason);
  await assert.rejects(patience.gone, reason);
  const other = patienceOf(100);
  timers.tick(100);
  assert.match(String(other.signal.reason), /Nothing for 100 ms/);
});

test("time counts from the last wait() on, and not at rest, nor at the end", (context) => {
  const timers = mockTimers(context);
  const patience = patienceOf(100);
  timers.tick(60);
  patience.wait();
  timers.tick(60);
  patience.rest();
  timers.tick(1000);
  assert.equal(patience.signal.aborted, false);
  patience.wait();
  patience.end();
  timers.tick(1000);
  assert.equal(patience.signal.aborted, false);
});

test("a budget without an end has none", (context) => {
  const timers = mockTimers(context);
  const patience = patienceOf(Number.POSITIVE_INFINITY);
  timers.tick(1_000_000);
  assert.equal(patience.signal.aborted, false);
  patience.end();
});

test("the caller's signal ends it, a pause, too, and is left alone afterwards", async () => {
  const given = new AbortController();
  const patience = patienceOf(60_000, given.signal);
  const pause = patience.pause(new Error("before"));
  given.abort(new Error("enough"));
  await assert.rejects(pause, /enough/);
  assert.match(String(patience.signal.reason), /enough/);
  assert.match(String(patienceOf(60_000, given.signal).signal.reason), /enough/);
  const other = new AbortController();
  patienceOf(60_000, other.signal).end();
  assert.equal(getEventListeners(other.signal, "abort").length, 0);
});
