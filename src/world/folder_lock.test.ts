import assert from "node:assert/strict";
import { test } from "node:test";
import { startOfRunning } from "./folder_lock.ts";

function stat(state: string, threads: number): string {
  return `42 (a (b) c) ${state} 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 ${threads} 0 4711 0 0\n`;
}

test("startOfRunning() knows a process that has ended from one whose threads still write", () => {
  for (const state of ["R", "S", "D", "T"]) assert.equal(startOfRunning(stat(state, 1)), "4711");
  for (const state of ["Z", "X"]) {
    assert.equal(startOfRunning(stat(state, 1)), null);
    assert.equal(startOfRunning(stat(state, 0)), null);
    assert.equal(startOfRunning(stat(state, 2)), "4711");
  }
});
