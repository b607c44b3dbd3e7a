import assert from "node:assert/strict";
import { test } from "node:test";
import { formatSize, parseDurationMs, parseSizeBytes } from "./units.ts";

test("parseDurationMs() takes Alluxio's units", () => {
  const cases: readonly [string, number | null][] = [
    ["10s", 10_000],
    ["5sec", 5000],
    ["2min", 120_000],
    ["1hour", 3_600_000],
    ["1d", 86_400_000],
    ["250", 250],
    ["250ms", 250],
    ["1.5s", 1500],
    ["-1", -1],
    ["ten", null],
    ["10 parsecs", null],
  ];
  for (const [input, expected] of cases) assert.equal(parseDurationMs(input), expected, input);
});

test("parseSizeBytes() takes Alluxio's units with a factor of 1024", () => {
  assert.equal(parseSizeBytes("64MB"), 64 * 1024 ** 2);
  assert.equal(parseSizeBytes("1.5 gb"), 1.5 * 1024 ** 3);
  assert.equal(parseSizeBytes("12"), 12);
  assert.equal(parseSizeBytes("12XB"), null);
});

test("formatSize() prints as Alluxio's reports do", () => {
  assert.equal(formatSize(175), "175B");
  assert.equal(formatSize(512 * 1024 ** 2), "512.00MB");
  assert.equal(formatSize(2 * 1024 ** 3), "2048.00MB");
});
