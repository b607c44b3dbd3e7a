import assert from "node:assert/strict";
import { test } from "node:test";
import { type CommandSpec, parseArguments, splitProperties, UsageError } from "./arguments.ts";

const SPEC: CommandSpec = {
  usage: "[-R] [-h] [-c <bytes>] [--sort <by>] <path> ...",
  summary: "A command.",
  flags: [
    { names: ["R", "recursive"], help: "" },
    { names: ["h", "human-readable"], help: "" },
    { names: ["c", "bytes"], value: "bytes", help: "" },
    { names: ["sort"], value: "by", help: "" },
    { names: ["domain"], value: "name", help: "" },
  ],
  argumentsMin: 1,
  argumentsMax: 2,
};

function parsed(...words: string[]) {
  const { positional, value, has } = parseArguments("ls", words, SPEC);
  const values = ["c", "sort", "domain"].filter(has).map((flag) => `${flag}=${value(flag)}`);
  return [...["R", "h"].filter(has), ...values, ...positional].join(" ");
}

test("parseArguments() takes options anywhere and in every spelling", () => {
  assert.equal(parsed("/a"), "/a");
  assert.equal(parsed("-R", "/a"), "R /a");
  assert.equal(parsed("/a", "-R", "/b"), "R /a /b");
  assert.equal(parsed("-Rh", "/a"), "R h /a");
  assert.equal(parsed("--recursive", "--human-readable", "/a"), "R h /a");
  assert.equal(parsed("-recursive", "/a"), "R /a");
  assert.equal(parsed("--sort", "size", "/a"), "sort=size /a");
  assert.equal(parsed("--sort=size", "/a"), "sort=size /a");
  assert.equal(parsed("-domain", "MASTER", "/a"), "domain=MASTER /a");
  assert.equal(parsed("-c", "10", "/a"), "c=10 /a");
  assert.equal(parsed("-c10", "/a"), "c=10 /a");
  assert.equal(parsed("-Rc10", "/a"), "R c=10 /a");
  assert.equal(parsed("--bytes=5", "-c", "7", "/a"), "c=7 /a");
  assert.equal(parsed("--", "-R"), "-R");
  assert.equal(parsed("-"), "-");
  assert.equal(parsed("-5"), "-5");
});

test("parseArguments() says what is wrong", () => {
  const wrong = (words: string[], text: string) =>
    assert.throws(() => parsed(...words), new UsageError(text), text);
  wrong(["-x", "/a"], "Unrecognized option: -x");
  wrong(["-Rx", "/a"], "Unrecognized option: -Rx");
  wrong(["--nope", "/a"], "Unrecognized option: --nope");
  wrong(["--Rh", "/a"], "Unrecognized option: --Rh");
  wrong(["-R=yes", "/a"], "Option -R=yes takes no value");
  wrong(["/a", "--sort"], "Missing argument for option: sort");
  wrong([], "Command ls requires at least 1 arguments (0 provided)");
  wrong(["a", "b", "c"], "Command ls takes at most 2 arguments (3 provided)");
  assert.throws(
    () => parseArguments("mv", ["/a"], { ...SPEC, argumentsMin: 2, argumentsMax: 2 }),
    new UsageError("Command mv takes 2 arguments, not 1"),
  );
});

test("splitProperties() takes -Dkey=value out, before --", () => {
  const { properties, rest } = splitProperties(["-Da.b=c=d", "ls", "-De=", "/x", "--", "-Df=g"]);
  assert.deepEqual(
    [...properties],
    [
      ["a.b", "c=d"],
      ["e", ""],
    ],
  );
  assert.deepEqual(rest, ["ls", "/x", "--", "-Df=g"]);
});
