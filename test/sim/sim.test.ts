/**
 * The simulator as a test: fixed seeds, each of which must pass, and the proof that a seed is all that a run depends on.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { judge, type Recorded } from "./linearizability.ts";
import { emptyState, type Operation } from "./model.ts";
import { runSeed } from "./run.ts";
import { runSharedSeed } from "./shared_run.ts";

const SEEDS = 200;
/** Of masters with a journal on a shared store. */
const SHARED_SEEDS = 100;
/** Seeds are of the simulator as it is: a change of it makes others of them. These take long and show much. */
const DETERMINISM_SEEDS = [3, 14, 27];

test(`${SEEDS} seeds pass`, async () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { failure } = await runSeed(seed);
    assert.equal(failure, null, `npm run sim -- --seed ${seed} --trace: ${failure?.stack}`);
  }
});

test(`${SHARED_SEEDS} seeds of a journal on a shared store pass, and meet buried fences`, async () => {
  let buriedCount = 0;
  for (let seed = 1; seed <= SHARED_SEEDS; seed++) {
    const { failure, events } = await runSharedSeed(seed);
    const replay = `npm run sim -- --shared --seed ${seed} --trace`;
    assert.equal(failure, null, `${replay}: ${failure?.stack}`);
    buriedCount += events["buried"] ?? 0;
  }
  assert.ok(buriedCount > 0);
});

test("runSeed() and runSharedSeed() do the same again", async () => {
  for (const run of [runSeed, runSharedSeed])
    for (const seed of DETERMINISM_SEEDS) {
      const first = await run(seed);
      const second = await run(seed);
      assert.equal(second.hash, first.hash);
      assert.equal(second.eventCount, first.eventCount);
    }
});

function recorded(
  operation: Operation,
  [calledMs, returnedMs]: readonly [number, number],
  status: string | null,
  id: string | null = null,
): Recorded {
  const node = { kind: "f", id, isComplete: false } as const;
  const seen = id === null ? [] : [{ name: operation.path, node }];
  return {
    client: "c",
    operation,
    calledMs,
    returnedMs: status === null ? Number.POSITIVE_INFINITY : returnedMs,
    outcome: status === null ? null : { status, seen },
  };
}

const create = { kind: "create", path: "/p/a", isRecursive: false } as const;
const remove = { kind: "remove", path: "/p/a", isRecursive: false } as const;
const status = { kind: "status", path: "/p/a" } as const;

function verdictOf(...history: Recorded[]): string {
  return judge(history, emptyState("/p")).kind;
}

test("judge() finds the order of concurrent operations", () => {
  assert.equal(
    verdictOf(recorded(create, [0, 10], "ok", "1"), recorded(status, [5, 6], "NOT_FOUND")),
    "linearizable",
  );
  assert.equal(
    verdictOf(recorded(create, [0, 10], "ok", "1"), recorded(status, [5, 6], "ok", "1")),
    "linearizable",
  );
});

test("judge() refuses a read that misses what was acknowledged before it was asked", () => {
  assert.equal(
    verdictOf(recorded(create, [0, 10], "ok", "1"), recorded(status, [11, 12], "NOT_FOUND")),
    "violated",
  );
});

test("judge() refuses a file that was made twice", () => {
  assert.equal(
    verdictOf(recorded(create, [0, 10], "ok", "1"), recorded(status, [11, 12], "ok", "2")),
    "violated",
  );
});

test("judge() lets an operation without an answer happen late, or never", () => {
  const made = recorded(create, [0, 1], "ok", "1");
  const unknown = recorded(remove, [2, 0], null);
  assert.equal(verdictOf(made, unknown, recorded(status, [50, 51], "ok", "1")), "linearizable");
  assert.equal(verdictOf(made, unknown, recorded(status, [50, 51], "NOT_FOUND")), "linearizable");
  assert.equal(
    verdictOf(
      made,
      unknown,
      recorded(status, [50, 51], "NOT_FOUND"),
      recorded(status, [60, 61], "ok", "1"),
    ),
    "violated",
  );
});
