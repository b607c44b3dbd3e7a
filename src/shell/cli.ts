/**
 * The command line: finds the command, loads its code and nothing else, runs it, prints what went wrong.
 *
 * Groups as Alluxio 3.x has them (`fs`, `info`, `conf`, `exec`, `process`, `init`, `cache`, `journal`,
 * `local`), with the 2.9 spellings beside them (`fsadmin report`, `getConf`, `runTests`, `format`, …).
 * Exit codes: 0; 255 for any failed command; `fs test` 0, 1 and 3; `conf get` 1 for an unknown key. 130 when Ctrl-C came
 * before the command was done: then no half of a file is left; what was done by then prints its outcome and ends with 0.
 * @module
 */

import { RockpoolError } from "../common/errors.ts";
import { parseArguments, splitProperties, UsageError } from "./arguments.ts";
import { type Command, type CommandTable, errorText, isLeftBehind } from "./command.ts";
import { type Found, find, type Groups, type Loader, pick, spelledAnew } from "./command_groups.ts";
import {
  type Console,
  EXIT_FAILED,
  EXIT_INTERRUPTED,
  EXIT_OK,
  isInterrupted,
  say,
} from "./console.ts";
import { type AskZooKeeper, Session } from "./session.ts";

/** What the program that runs commands brings along: parts that commands may not know. */
export type ShellParts = {
  readonly version: string;
  /** `local …`: a cluster on this machine. */
  readonly runLocal: (words: readonly string[], console: Console) => Promise<number>;
  /** `init format`, `journal format`, `cache format`, `process …`. */
  readonly processes: import("./process_commands.ts").ProcessParts;
  /** `journal read|verify|repair`. */
  readonly journalTools: () => Promise<import("./journal_tools.ts").JournalToolParts>;
  /** `exec ufsTest|ufsIOTest`. */
  readonly storeTests: () => Promise<import("./store_test_commands.ts").StoreTestParts>;
  /** For commands of a cluster whose masters ZooKeeper knows. */
  readonly askZooKeeper: AskZooKeeper;
  /** For clusters that commands make for themselves. */
  readonly local: () => Promise<import("../local/cluster.ts").LocalParts>;
  /** This program: dist/cli.cjs. */
  readonly cliScript: string;
};

/** Where each group's commands are. The names are here, so that finding one loads no other. */
export function commandGroups(parts: ShellParts): Groups {
  const processes: Loader = async () =>
    (await import("./process_commands.ts")).processCommands(parts.processes);
  const formats: Loader = async () =>
    (await import("./init_commands.ts")).formatCommands(parts.processes);
  const init: Loader = async () =>
    (await import("./init_commands.ts")).initCommands(parts.processes);
  const report: Loader = async () => (await import("./info.ts")).COMMANDS;
  const doctor: Loader = async () => (await import("./doctor.ts")).COMMANDS;
  const conf: Loader = async () => (await import("./conf_get.ts")).COMMANDS;
  const metrics: Loader = async () => (await import("./metrics_clear.ts")).COMMANDS;
  const version: Loader = async () => ({ version: versionCommand() });
  return {
    fs: [
      [LIST_NAMES, async () => (await import("./fs_list.ts")).COMMANDS],
      [CHANGE_NAMES, async () => (await import("./fs_change.ts")).COMMANDS],
      [COPY_NAMES, async () => (await import("./fs_copy.ts")).COMMANDS],
      [CACHE_NAMES, async () => (await import("./fs_cache.ts")).COMMANDS],
    ],
    info: [
      [["doctor"], doctor],
      [["report", "cache", "nodes"], report],
      [["version"], version],
      [
        ["collect"],
        async () => ({
          collect: (await import("./collect.ts")).collectCommand({
            mainScript: parts.processes.mainScript,
            cliScript: parts.cliScript,
          }),
        }),
      ],
      [["master"], async () => ({ master: (await import("./fs_list.ts")).masterInfo })],
    ],
    fsadmin: [
      [["doctor"], doctor],
      [
        ["pathConf", "updateConf"],
        async () => (await import("./conf_commands.ts")).FSADMIN_COMMANDS,
      ],
      [["report", "getBlockInfo"], report],
      [["backup"], async () => ({ backup: (await import("./backup.ts")).backup })],
      [["statelock"], metrics],
      [
        ["decommissionWorker", "enableWorker"],
        async () => (await import("./worker_service.ts")).COMMANDS,
      ],
    ],
    metrics: [[["clear"], metrics]],
    conf: [
      [["get"], conf],
      [["log"], async () => (await import("./conf_commands.ts")).CONF_COMMANDS],
    ],
    exec: [
      [["basicIOTest"], async () => (await import("./basic_io_test.ts")).COMMANDS],
      [
        ["ufsTest", "ufsIOTest"],
        async () =>
          (await import("./store_test_commands.ts")).storeTestCommands(await parts.storeTests()),
      ],
      [
        ["journalCrashTest"],
        async () => ({
          journalCrashTest: (await import("./journal_crash_test.ts")).journalCrashTest(
            async () => ({
              local: await parts.local(),
              journalTools: await parts.journalTools(),
            }),
          ),
        }),
      ],
      [["class"], async () => (await import("./host_tests.ts")).EXEC_COMMANDS],
    ],
    bench: [
      [
        ["master", "worker", "client", "journal", "wasm"],
        async () => (await import("./bench.ts")).COMMANDS,
      ],
    ],
    process: [[["start", "stop", "restart", "monitor"], processes]],
    init: [
      [["format", "copyDir"], init],
      [
        ["validate"],
        async () => (await import("./validate.ts")).validateCommands(parts.processes.mainScript),
      ],
      [["clear-os-cache"], async () => (await import("./host_tests.ts")).INIT_COMMANDS],
      [["clear-metrics"], metrics],
    ],
    journal: [
      [["format"], async () => renamed(await formats(), { format: "journal" })],
      [["checkpoint", "backup"], async () => (await import("./backup.ts")).JOURNAL_COMMANDS],
      [
        ["read", "verify", "repair"],
        async () =>
          (await import("./journal_tools.ts")).journalToolCommands(await parts.journalTools()),
      ],
    ],
    quorum: [
      [["info", "elect", "remove", "add"], async () => (await import("./quorum.ts")).COMMANDS],
    ],
    cache: [
      [["format"], async () => renamed(await formats(), { format: "cache" })],
      [["free"], async () => (await import("./fs_cache.ts")).CACHE_COMMANDS],
    ],
  };
}

/** A table with commands under other names. */
function renamed(table: CommandTable, names: Readonly<Record<string, string>>): CommandTable {
  return Object.fromEntries(
    Object.entries(names).map(([name, known]) => [name, pick(table, known)]),
  );
}

const LIST_NAMES = [
  "ls",
  "stat",
  "test",
  "du",
  "count",
  "location",
  "masterInfo",
  "leader",
  "mount",
  "getCapacityBytes",
  "getUsedBytes",
];
const CHANGE_NAMES = [
  "mkdir",
  "touch",
  "mv",
  "rm",
  "chmod",
  "chown",
  "chgrp",
  "pin",
  "unpin",
  "setTtl",
  "unsetTtl",
  "setReplication",
  "persist",
];
const CACHE_NAMES = ["free", "freeWorker", "checkConsistency", "loadMetadata"];
const COPY_NAMES = ["cat", "head", "tail", "checksum", "cp", "copyFromLocal", "copyToLocal"];

/** The version of Alluxio whose clients, tools and scripts this one fits; scripts compare it. */
const ALLUXIO_VERSION = "2.9.4";

function versionCommand(): Command {
  return {
    usage: "[-m|--revision]",
    summary: "Prints the version of Alluxio that this one stands in for; --version prints its own.",
    flags: [{ names: ["m", "revision"], value: "revision", help: "accepted" }],
    argumentsMin: 0,
    argumentsMax: 0,
    async run(session) {
      await say(session.console, ALLUXIO_VERSION);
      return EXIT_OK;
    },
  };
}

const isHelp = (word: string) => word === "help" || word === "--help" || word === "-h";

/** Runs one command line. @returns the exit code; never throws for what a user can cause */
export async function runCli(
  words: readonly string[],
  console: Console,
  parts: ShellParts,
): Promise<number> {
  const [first = "", ...rest] = words;
  if (first === "--version") {
    await say(console, `Rockpool ${parts.version}, in place of Alluxio ${ALLUXIO_VERSION}`);
    return EXIT_OK;
  }
  if (first === "local") return runSafely(console, () => parts.runLocal(rest, console));
  if (first === "up") return runSafely(console, () => parts.runLocal(["run", ...rest], console));
  return runSafely(console, () => dispatch(words, parts, console));
}

async function dispatch(
  words: readonly string[],
  parts: ShellParts,
  console: Console,
): Promise<number> {
  const table = commandGroups(parts);
  const { askZooKeeper } = parts;
  const [group = "", ...others] = spelledAnew(words);
  if (group === "completion")
    return (await import("./completion.ts")).completion(others, { table, console, askZooKeeper });
  if (isHelp(group)) return (await import("./help.ts")).help(console, table, others);
  if (table[group] === undefined)
    return (await import("./help.ts")).unknownGroup(console, table, group);
  const { properties, rest } = splitProperties(others);
  const [word = "", ...given] = rest;
  if (isHelp(word)) return (await import("./help.ts")).groupHelp(console, table, [group, ...given]);
  const found = await find(table, group, word);
  if (found === null)
    return (await import("./help.ts")).unknownCommand(console, table, [group, word]);
  if (asksForHelp(given, found.command))
    return (await import("./help.ts")).help(console, table, [group, found.name]);
  return runCommand(found, given, properties, { console, askZooKeeper });
}

/** Alluxio's reports know -h too, where it is no flag of their own. */
function asksForHelp(given: readonly string[], { flags }: Command): boolean {
  if (given.includes("--help") || given.includes("-help")) return true;
  return given.includes("-h") && !flags.some(({ names }) => names.includes("h"));
}

async function runCommand(
  found: Found,
  given: readonly string[],
  properties: ReadonlyMap<string, string>,
  { console, askZooKeeper }: { readonly console: Console; readonly askZooKeeper: AskZooKeeper },
): Promise<number> {
  const { name, command } = found;
  const session = new Session(
    console,
    [...properties].map(([key, value]) => `${key}=${value}`),
    askZooKeeper,
  );
  try {
    return await Promise.race([
      command.run(session, parseArguments(name, given, command)),
      givenUp(console, command.makesFiles === true),
    ]);
  } catch (error) {
    const isUsage = error instanceof UsageError;
    if (console.signal.aborted || (!isUsage && command.isOutputData !== true)) throw error;
    const text = isUsage
      ? (await import("./help.ts")).usageText(found, error.message)
      : errorText(error);
    if (command.isOutputData === true) console.err(`${text}\n`);
    else await say(console, text);
    return EXIT_FAILED;
  } finally {
    await session.close();
  }
}

/** After Ctrl-C: one that waits for a master that never answers must not hold us. */
const PATIENCE_MS = 1000;
/** Longer than the client takes at most to find out what became of a file. */
const CLEANUP_MS = 20_000;
const LOOK_REMEDY = "Look for files that are not whole with fs ls, and remove them";

/** Settles some time after Ctrl-C, or after the reader of our output went away; never without. */
function givenUp(console: Console, makesFiles: boolean): Promise<number> {
  const { signal } = console;
  return new Promise((resolve, reject) => {
    const giveUp = () =>
      makesFiles
        ? reject(new RockpoolError("UNKNOWN", "The clean-up took too long", LOOK_REMEDY))
        : resolve(isInterrupted(console) ? EXIT_INTERRUPTED : EXIT_FAILED);
    const wait = () => {
      setTimeout(giveUp, makesFiles ? CLEANUP_MS : PATIENCE_MS).unref();
      const text = "Removing files that are not whole; Ctrl-C again leaves them there\n";
      if (makesFiles) setTimeout(() => console.err(text), PATIENCE_MS).unref();
    };
    if (signal.aborted) wait();
    else signal.addEventListener("abort", wait, { once: true });
  });
}

/** Prints what went wrong as Alluxio does: the message on standard output, no stack. */
async function runSafely(console: Console, act: () => Promise<number>): Promise<number> {
  try {
    return await act();
  } catch (error) {
    // That a command which was to end has failed says nothing, but for what it left.
    const isSilent = console.signal.aborted && !isLeftBehind(error);
    if (isSilent) return isInterrupted(console) ? EXIT_INTERRUPTED : EXIT_FAILED;
    await say(console, errorText(error));
    return EXIT_FAILED;
  }
}
