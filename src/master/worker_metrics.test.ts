import assert from "node:assert/strict";
import { test } from "node:test";
import type { WorkerId } from "../common/ids.ts";
import { WorkerMetrics } from "./worker_metrics.ts";

const [ONE, TWO] = [1n as WorkerId, 2n as WorkerId];

function metrics() {
  const now = { ms: 0 };
  const clock = { monotonicMs: () => now.ms, wallMs: () => now.ms };
  const sums = new WorkerMetrics(clock);
  const report = (id: WorkerId, bytes: number, reads = 0) =>
    sums.report(id, new Map(Object.entries({ BytesReadRemote: bytes, ActiveRpcReadCount: reads })));
  return { now, sums, report };
}

test("WorkerMetrics sums up the newest counts of all workers", () => {
  const { sums, report } = metrics();
  report(ONE, 100, 1);
  report(TWO, 10, 2);
  report(ONE, 150, 0);
  assert.equal(sums.total("BytesReadRemote"), 160);
  assert.equal(sums.total("ActiveRpcReadCount"), 2);
  assert.equal(sums.total("BytesWrittenRemote"), 0);
});

test("a worker that starts anew adds to what it had; a sum never goes back", () => {
  const { sums, report } = metrics();
  report(ONE, 100);
  report(ONE, 7);
  assert.equal(sums.total("BytesReadRemote"), 107);
  report(ONE, 9);
  assert.equal(sums.total("BytesReadRemote"), 109);
  sums.retain(new Set(), new Set());
  assert.equal(sums.total("BytesReadRemote"), 109);
});

test("a lost worker keeps its counts, does nothing more, and is not counted twice", () => {
  const { sums, report } = metrics();
  report(ONE, 100, 3);
  sums.retain(new Set(), new Set([ONE]));
  assert.equal(sums.total("ActiveRpcReadCount"), 0);
  assert.equal(sums.total("BytesReadRemote"), 100);
  report(ONE, 120, 1);
  assert.equal(sums.total("BytesReadRemote"), 120);
});

test("perMinute() is of the last minute", () => {
  const { now, sums, report } = metrics();
  report(ONE, 0);
  now.ms = 30_000;
  report(ONE, 600);
  assert.equal(sums.perMinute("BytesReadRemote"), 1200);
  now.ms = 60_000;
  assert.equal(sums.perMinute("BytesReadRemote"), 600);
  now.ms = 200_000;
  report(ONE, 600);
  now.ms = 270_000;
  assert.equal(sums.perMinute("BytesReadRemote"), 0);
});

test("what no worker should send does no harm", () => {
  const { sums } = metrics();
  sums.report(ONE, new Map([["BytesReadRemote", Number.NaN]]));
  sums.report(ONE, new Map([["BytesReadRemote", Number.POSITIVE_INFINITY]]));
  assert.equal(sums.total("BytesReadRemote"), 0);
});
