import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { contentOf, nameOfContent } from "./content.ts";
import type { Operation } from "./history.ts";
import { checkContents, checkKept } from "./own_checks.ts";

const write = (path: string, result: string): Operation => ({
  client: 1,
  kind: "write",
  partition: "keep/1",
  path,
  content: `keep/1:${path}`,
  start: 1,
  end: 2,
  result,
});
const file = (path: string, content: string | null = `keep/1:${path}`) => ({
  path: `keep/1/${path}`,
  content,
});

describe("checkKept()", () => {
  test("finds nothing when all that was acknowledged is there, and unknown writes are there or not", () => {
    const kept = [
      write("1", "ok"),
      write("2", "unknown"),
      write("3", "unknown"),
      write("4", "unknown"),
    ];
    assert.deepEqual(checkKept(kept, [file("1"), file("2"), file("4", null)]), []);
  });

  const wrong: readonly [string, Operation[], ReturnType<typeof file>[], RegExp][] = [
    ["a lost file", [write("1", "ok")], [], /acknowledged, and gone/],
    ["an incomplete file", [write("1", "ok")], [file("1", null)], /it is incomplete/],
    ["other bytes", [write("1", "ok")], [file("1", "damaged")], /holds damaged/],
    ["other bytes of an unknown write", [write("1", "unknown")], [file("1", "x")], /holds x/],
    ["a file that nobody wrote", [], [file("1")], /nobody wrote it/],
    ["a writer in its own way", [write("1", "ALREADY_EXISTS")], [file("1")], /was refused/],
  ];
  for (const [what, kept, files, text] of wrong)
    test(`finds ${what}`, () => {
      const lines = checkKept(kept, files);
      assert.equal(lines.length, 1);
      assert.match(lines[0] ?? "", text);
    });
});

describe("checkContents()", () => {
  test("finds contents in two places, and contents that nobody wrote", () => {
    const operations = [
      write("1", "ok"),
      { ...write("1", "ok"), kind: "read" as const, content: "x" },
    ];
    assert.deepEqual(checkContents([write("1", "ok")], [file("1"), file("2", null)]), []);
    const twice = [file("1"), { path: "e1-0/a", content: "keep/1:1" }];
    assert.match(checkContents([write("1", "ok")], twice).join(), /both hold keep\/1:1/);
    assert.match(checkContents(operations, [file("1")]).join(), /a read gave x/);
    assert.match(checkContents([write("1", "ok")], [file("1", "y")]).join(), /holds y/);
  });
});

describe("nameOfContent()", () => {
  test("names every content, and no damaged one", () => {
    for (const name of ["a", "keep/1:17", "e12-0:w3-9", "x".repeat(40)]) {
      const bytes = contentOf(name);
      assert.equal(nameOfContent(bytes), name);
      const flipped = Buffer.from(bytes);
      const middle = bytes.length >> 1;
      flipped[middle] = (flipped[middle] ?? 0) ^ 1;
      for (const other of [flipped, bytes.subarray(0, -1), Buffer.concat([bytes, bytes])])
        assert.match(nameOfContent(other), /^damaged: /);
    }
    assert.equal(nameOfContent(Buffer.alloc(0)), "");
  });
});
