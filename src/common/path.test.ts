import assert from "node:assert/strict";
import { test } from "node:test";
import { isRockpoolError } from "./errors.ts";
import { childOf, isWithin, nameOf, namesOf, parentOf, parsePath } from "./path.ts";

test("parsePath() normalises slashes and dots", () => {
  assert.equal(parsePath("//a/./b//"), "/a/b");
  assert.equal(parsePath("/"), "/");
});

test("parsePath() refuses relative, parent, NUL and overlong paths", () => {
  const bad = [
    "",
    "a",
    "/a/../b",
    "/a\0b",
    `/${"x".repeat(256)}`,
    `/${"ü".repeat(128)}`,
    "/a".repeat(201),
    `/${"abcdefghi/".repeat(500)}`,
  ];
  for (const input of bad)
    assert.throws(
      () => parsePath(input),
      (error) => isRockpoolError(error, "INVALID_ARGUMENT"),
      input,
    );
});

test("the parts of a path lead back to it", () => {
  const path = parsePath("/a/b/c");
  assert.deepEqual(namesOf(path), ["a", "b", "c"]);
  assert.equal(childOf(parentOf(path), nameOf(path)), path);
  assert.equal(parentOf(parsePath("/")), "/");
});

test("isWithin() compares whole components", () => {
  assert.ok(isWithin(parsePath("/a"), parsePath("/a/b")));
  assert.ok(!isWithin(parsePath("/a"), parsePath("/ab")));
  assert.ok(isWithin(parsePath("/"), parsePath("/x")));
});
