import assert from "node:assert/strict";
import { test } from "node:test";
import { WorkerCounters } from "./worker_api.ts";
import { clearCounters, workerMetrics } from "./worker_metrics.ts";

test("clearCounters() begins counts anew, and leaves what goes on at this moment", () => {
  const counters = new WorkerCounters();
  counters.bytesReadLocal = 10;
  counters.blocksCached = 3;
  counters.readsActive = 2;
  counters.writesActive = 1;
  clearCounters(counters);
  assert.equal(counters.bytesReadLocal, 0);
  assert.equal(counters.blocksCached, 0);
  assert.equal(counters.readsActive, 2);
  assert.equal(counters.writesActive, 1);
  const read = workerMetrics("h", counters).find(({ name }) => name === "BytesReadCache");
  assert.equal(read?.value, 0);
});
