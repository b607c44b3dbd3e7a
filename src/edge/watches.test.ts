import assert from "node:assert/strict";
import { test } from "node:test";
import type { EdgeChange } from "./ports.ts";
import { Watches } from "./watches.ts";

/** Who of those that watch is told. */
function told(change: EdgeChange, paths: readonly string[]): readonly string[] {
  const watches = new Watches();
  const heard: string[] = [];
  for (const path of paths) {
    const isRecursive = path.endsWith("+");
    const watched = isRecursive ? path.slice(0, -1) : path;
    watches.add({ path: watched, isRecursive, tell: () => heard.push(path) });
  }
  watches.publish(change);
  return heard.sort();
}

const PATHS = ["/", "/+", "/a", "/a+", "/a/b", "/a/b/c", "/ab"];

test("publish() tells the path, its directory, those who watch all below, and no others", () => {
  const change = { kind: "completed", path: "/a/b", mayMakeParents: false } as const;
  assert.deepEqual(told(change, PATHS), ["/+", "/a", "/a+", "/a/b"]);
});

test("publish() of what goes tells those who watch below it", () => {
  const change = { kind: "deleted", path: "/a", mayMakeParents: false } as const;
  assert.deepEqual(told(change, PATHS), ["/", "/+", "/a", "/a+", "/a/b", "/a/b/c"]);
});

test("publish() of a renaming tells both places, each once", () => {
  const change = { kind: "renamed", path: "/a/b", to: "/ab", mayMakeParents: false } as const;
  assert.deepEqual(told(change, PATHS), ["/", "/+", "/a", "/a+", "/a/b", "/a/b/c", "/ab"]);
});

test("publish() of what may have made directories tells those above", () => {
  const change = { kind: "created", path: "/a/x/y", mayMakeParents: true } as const;
  assert.deepEqual(told(change, PATHS), ["/", "/+", "/a", "/a+"]);
});

test("add() gives what ends the watch, once", () => {
  const watches = new Watches();
  const end = watches.add({ path: "/a", isRecursive: false, tell: () => assert.fail() });
  end();
  end();
  assert.equal(watches.count, 0);
  watches.publish({ kind: "deleted", path: "/a", mayMakeParents: false });
});
