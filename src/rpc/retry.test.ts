import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { RockpoolError } from "../common/errors.ts";
import { DEFAULT_RETRY_POLICY, Retries } from "./retry.ts";

const unavailable = new RockpoolError("UNAVAILABLE", "down");

test("pauseAfter() doubles from the base to the maximum", () => {
  const retries = new Retries(DEFAULT_RETRY_POLICY, 0);
  const pauses = [...Array(9).keys()].map(() => retries.pauseAfter(unavailable, 0, 0));
  assert.deepEqual(pauses, [50, 100, 200, 400, 800, 1600, 3000, 3000, 3000]);
});

test("pauseAfter() never lets a try begin after the budget, nor adds more than a tenth", () => {
  fc.assert(
    fc.property(fc.nat(130_000), fc.double({ min: 0, max: 1, noNaN: true }), (nowMs, random) => {
      const pauseMs = new Retries(DEFAULT_RETRY_POLICY, 0).pauseAfter(unavailable, nowMs, random);
      if (pauseMs === null) assert.ok(nowMs + 50 * (1 + 0.1 * random) > 120_000);
      else assert.ok(nowMs + pauseMs <= 120_000 && pauseMs >= 50 && pauseMs <= 55.01);
    }),
  );
});

test("pauseAfter() is null for answers, and soon for what is mostly a wrong setup", () => {
  const retries = () => new Retries(DEFAULT_RETRY_POLICY, 0);
  for (const status of [
    "NOT_FOUND",
    "INTERNAL",
    "DEADLINE_EXCEEDED",
    "FAILED_PRECONDITION",
  ] as const)
    assert.equal(retries().pauseAfter(new RockpoolError(status, "no"), 0, 0), null);
  assert.equal(retries().pauseAfter(new Error("bug"), 0, 0), null);
  assert.equal(retries().pauseAfter(new RockpoolError("CANCELLED", "gone"), 0, 0), 50);
  const doubtful = retries();
  const refused = new RockpoolError("UNAUTHENTICATED", "who?");
  const pauses = [1, 2, 3, 4].map(() => doubtful.pauseAfter(refused, 0, 0));
  assert.deepEqual(pauses, [50, 100, 200, null]);
});
