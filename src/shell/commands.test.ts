/**
 * Rules that every command of every group keeps: its help, its page, and its answers to wrong arguments.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseArguments, splitProperties } from "./arguments.ts";
import { commandGroups, runCli, type ShellParts } from "./cli.ts";
import { type Found, find, namesIn, OLD_WORDS, spelledAnew } from "./command_groups.ts";
import { splitLine } from "./completion.ts";
import type { Console } from "./console.ts";
import { pageOf } from "./help.ts";
import { MANUALS } from "./manual_texts.ts";
import { notHere } from "./not_here.ts";

const never = () => Promise.reject(new Error("a wrong command line must not come this far"));
const PARTS: ShellParts = {
  version: "1.2.3",
  runLocal: never,
  journalTools: async () => ({
    verify: never,
    read: never,
    repair: never,
  }),
  storeTests: async () => ({ checks: never, measure: never }),
  local: never,
  askZooKeeper: never,
  cliScript: "/nowhere/dist/cli.cjs",
  processes: {
    mainScript: "/nowhere/dist/main.js",
    formatMaster: never,
    usedSharedJournal: never,
    formatWorker: never,
  },
};
const GROUPS = commandGroups(PARTS);

async function run(...words: readonly string[]) {
  let out = "";
  let err = "";
  const console: Console = {
    out: async (text) => {
      out += typeof text === "string" ? text : Buffer.from(text).toString("utf8");
    },
    err: (text) => {
      err += text;
    },
    isTerminal: false,
    ask: null,
    env: {},
    cwd: "/nowhere",
    home: "/nowhere",
    signal: new AbortController().signal,
  };
  return { exit: await runCli(words, console, PARTS), out, err };
}

async function allCommands(): Promise<readonly Found[]> {
  const found: Found[] = [];
  for (const [group, sections] of Object.entries(GROUPS))
    for (const [names, load] of sections) {
      const table = await load();
      for (const name of names) {
        const command = table[name];
        assert.ok(command !== undefined, `${group} ${name} is in its table`);
        found.push({ group, name, command });
      }
    }
  return found;
}

/** What went wrong, in one line, then the right form. */
function assertRefused(
  { exit, out, err }: { exit: number; out: string; err: string },
  { name, command }: Found,
  why: RegExp,
): void {
  const [first = "", second = ""] = (command.isOutputData === true ? err : out).split("\n");
  assert.match(first, why, name);
  assert.equal(second, `Usage: ${name} ${command.usage}`.trimEnd());
  assert.equal(exit, 255, name);
  assert.doesNotMatch(out + err, /\n {4}at /, `${name}: no stack`);
}

test("every command refuses an unknown flag, too few and too many arguments", async () => {
  for (const found of await allCommands()) {
    const { group, name, command } = found;
    const flag = await run(group, name, "--no-such-flag");
    assertRefused(flag, found, /^Unrecognized option: --no-such-flag/);
    const { argumentsMin: min, argumentsMax: max } = command;
    if (min > 0) assertRefused(await run(group, name), found, /^Command \S+ (takes|requires) /);
    if (max === Number.POSITIVE_INFINITY) continue;
    const words = Array.from({ length: max + 1 }, () => "/x");
    assertRefused(await run(group, name, ...words), found, /^Command \S+ takes /);
  }
});

test("every command has a page with all sections, and examples that its own options understand", async () => {
  for (const found of await allCommands()) {
    const { group, name, command } = found;
    const page = await run(group, name, "--help");
    assert.equal(page.exit, 0);
    assert.equal(page.out, `${pageOf(found)}\n`);
    assert.deepEqual(await run(group, name, "-help"), page, "as Alluxio's tools spell it");
    assert.deepEqual(
      page.out.split("\n").filter((line) => /^[A-Z]/.test(line)),
      ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT CODES", "EXAMPLES", "SEE ALSO"],
      `${group} ${name}`,
    );
    for (const names of command.flags.map((one) => one.names))
      assert.ok(page.out.includes(`-${names.at(-1)}`), `${group} ${name} tells of ${names.at(-1)}`);
    for (const line of page.out.split("\n"))
      assert.ok(
        line.length <= 80 || /^ {4}[-$]/.test(line) || !line.trim().includes(" "),
        `not wider than a terminal: ${line}`,
      );
    const same = await run("help", group, name);
    assert.equal(same.out, page.out);
    const short = await run(group, "help", name);
    assert.ok(short.out.startsWith(`${name}: ${command.summary}\nUsage: ${name}`), short.out);
  }
});

test("examples of pages are command lines, and pages are of commands that exist", async () => {
  for (const [key, manual] of Object.entries(MANUALS)) {
    const [group = "", word = ""] = key.split(" ");
    const found = await find(GROUPS, group, word);
    assert.ok(found !== null, `there is a command ${key}`);
    for (const [line] of manual.examples ?? []) {
      const { rest } = splitProperties(spelledAnew(splitLine(line)));
      const example = await find(GROUPS, rest[0] ?? "", rest[1] ?? "");
      assert.ok(example !== null && `${example.group} ${example.name}` === key, line);
      parseArguments(example.name, rest.slice(2), example.command);
    }
    for (const other of manual.seeAlso ?? []) {
      const [otherGroup = "", otherWord = ""] = other.split(" ");
      assert.ok((await find(GROUPS, otherGroup, otherWord)) !== null, `${key} names ${other}`);
    }
  }
});

test("every spelling of 2.9 leads to a command, and nothing is both here and not here", async () => {
  for (const [old, [group = "", word = ""]] of Object.entries(OLD_WORDS)) {
    assert.ok((await find(GROUPS, group, word)) !== null, old);
    assert.equal(notHere("", old), null, old);
  }
  for (const group of Object.keys(GROUPS)) {
    assert.equal(notHere("", group), null, group);
    for (const name of namesIn(GROUPS, group)) assert.equal(notHere(group, name), null, name);
    const names = namesIn(GROUPS, group).map((name) => name.replaceAll("-", "").toLowerCase());
    assert.equal(new Set(names).size, names.length, `${group} has no name twice`);
  }
});

test("what Alluxio has and this version has not says so", async () => {
  for (const line of [
    "fs load /x",
    "fs setfacl -m u:a:r /x",
    "fs unmount /x",
    "job ls",
    "exec hmsTest",
  ]) {
    const { exit, out } = await run(...line.split(" "));
    assert.match(out, /^\S+ is not supported by this version of Rockpool\n$/);
    assert.equal(exit, 255);
  }
});

test("an unknown word is called so, and the nearest is named", async () => {
  const told = async (line: string) => {
    const { exit, out, err } = await run(...line.split(" "));
    assert.equal(exit, 255);
    assert.equal(out, "");
    return err.split("\nUsage: ")[0];
  };
  assert.equal(await told("bogus"), "bogus is an unknown command.");
  assert.equal(await told("fss"), "fss is an unknown command.\nDid you mean rockpool fs?");
  assert.equal(await told("fs lss"), "lss is an unknown command.\nDid you mean rockpool fs ls?");
  assert.equal(
    await told("fs copyFormLocal"),
    "copyFormLocal is an unknown command.\nDid you mean rockpool fs copyFromLocal?",
  );
  assert.equal(
    await told("fs quorum"),
    "quorum is an unknown command.\nDid you mean rockpool journal quorum?",
  );
  assert.equal(
    await told("colectInfo"),
    "colectInfo is an unknown command.\nDid you mean rockpool collectInfo?",
  );
  assert.match(
    (await run("fs", "ls", "--recursiv")).out,
    /\(Did you mean --recursive\?\)\nUsage: ls /,
  );
  assert.equal((await run()).exit, 255);
  assert.match((await run()).err, /^Usage: rockpool COMMAND/);
});

test("help: of everything, of a group, of a word alone, of an old spelling", async () => {
  assert.match((await run("help")).out, /^Usage: rockpool COMMAND/);
  assert.match((await run("help", "quorum")).out, /^Usage: rockpool quorum COMMAND/);
  assert.match(
    (await run("help", "fsadmin", "journal", "quorum", "info")).out,
    /rockpool fsadmin journal quorum info -domain/,
  );
  assert.match((await run("help", "touch")).out, /^NAME\n {4}rockpool fs touch - /);
  assert.match((await run("help", "runTests")).out, /^NAME\n {4}rockpool exec basicIOTest - /);
  assert.match((await run("runTests", "--help")).out, /^NAME\n {4}rockpool exec basicIOTest - /);
  assert.match((await run("fsadmin", "report", "-h")).out, /^NAME\n {4}rockpool fsadmin report - /);
  assert.equal((await run("help", "nonsense")).exit, 255);
});

test("completion offers properties wherever one may stand", async () => {
  for (const line of [
    "alluxio fs -Dalluxio.master.rpc.a",
    "alluxio fs ls -Dalluxio.master.rpc.a",
  ]) {
    const { out } = await run("completion", "words", "--", line);
    assert.equal(out, "-Dalluxio.master.rpc.addresses=\n");
  }
});

test("an empty path is refused: it is not the root", async () => {
  for (const words of [
    ["fs", "ls", ""],
    ["fs", "rm", "-R", " "],
    ["fs", "chmod", "-R", "700", ""],
    ["fs", "setTtl", "--action", "delete", "", "1h"],
  ]) {
    const { exit, out } = await run(...words);
    assert.match(out, /^A path is empty/, words.join(" "));
    assert.equal(exit, 255);
  }
});

test("fs test refuses to test nothing", async () => {
  const { exit, out } = await run("fs", "test", "/f");
  assert.match(out, /^Command test takes one of -d, -f, -e, -s and -z\nUsage: test /);
  assert.equal(exit, 255);
});

test("fs setReplication refuses a minimum above the maximum", async () => {
  const { exit, out } = await run("fs", "setReplication", "--min", "3", "--max", "1", "/f");
  assert.match(out, /^Invalid values for '--max' and '--min' options/);
  assert.equal(exit, 255);
});
