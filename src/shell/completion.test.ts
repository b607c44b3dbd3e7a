import assert from "node:assert/strict";
import { test } from "node:test";
import { splitLine } from "./completion.ts";
import { matcher } from "./paths.ts";
import { nearest } from "./suggest.ts";

test("splitLine() parts words as a shell does; the last one is being typed", () => {
  assert.deepEqual(splitLine("rockpool fs l"), ["rockpool", "fs", "l"]);
  assert.deepEqual(splitLine("rockpool fs "), ["rockpool", "fs", ""]);
  assert.deepEqual(splitLine("rockpool  fs   ls /a"), ["rockpool", "fs", "ls", "/a"]);
  assert.deepEqual(splitLine(String.raw`fs ls /a\ b`), ["fs", "ls", "/a b"]);
  assert.deepEqual(splitLine(`fs ls '/a b/c`), ["fs", "ls", "/a b/c"]);
  assert.deepEqual(splitLine(String.raw`fs ls "/a \"b`), ["fs", "ls", '/a "b']);
  assert.deepEqual(splitLine(String.raw`fs ls '/a\b'`), ["fs", "ls", String.raw`/a\b`]);
  assert.deepEqual(splitLine(""), [""]);
});

test("nearest() finds slips of the pen, and nothing in noise", () => {
  const known = ["ls", "mkdir", "copyFromLocal", "copyToLocal", "checksum"];
  assert.deepEqual(nearest("sl", known), ["ls"]);
  assert.deepEqual(nearest("mkdri", known), ["mkdir"]);
  assert.deepEqual(nearest("copy-form-local", known), ["copyFromLocal"]);
  assert.deepEqual(nearest("bogus", known), []);
  assert.deepEqual(nearest("", known), []);
  assert.deepEqual(nearest("x".repeat(10_000), known), []);
});

test("matcher() takes a star for any characters, and no pattern takes long", () => {
  const fits = (pattern: string, name: string) => matcher(pattern)(name);
  for (const [pattern, name] of [
    ["*", ""],
    ["*", "anything"],
    ["a*", "a"],
    ["a*c", "abc"],
    ["*b*", "abc"],
    ["a**b", "ab"],
    ["a.b", "a.b"],
    [String.raw`a\*`, "a*"],
    [String.raw`a\**`, "a*b"],
    ["*aba*aba*", "xabaxabax"],
  ] as const)
    assert.ok(fits(pattern, name), `${pattern} fits ${name}`);
  for (const [pattern, name] of [
    ["a*", "ba"],
    ["a*a", "a"],
    ["a.b", "axb"],
    [String.raw`a\*`, "ab"],
    ["*aba*aba*", "xababax"],
    ["ab", "abc"],
  ] as const)
    assert.ok(!fits(pattern, name), `${pattern} does not fit ${name}`);
  assert.ok(!fits("*a".repeat(120), `${"a".repeat(119)}b`));
});
