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
import {
  type CommandSpec,
  helpText,
  parseArguments,
  splitProperties,
  UsageError,
} from "./arguments.ts";
import {
  type Command,
  type CommandTable,
  errorText,
  isLeftBehind,
  notSupported,
} from "./command.ts";
import {
  type Console,
  EXIT_FAILED,
  EXIT_INTERRUPTED,
  EXIT_OK,
  isInterrupted,
  say,
} from "./console.ts";
import { notHere } from "./not_here.ts";
import { Session } from "./session.ts";

/** What the program that runs commands brings along: parts that commands may not know. */
export type ShellParts = {
  readonly version: string;
  /** `local …`: a cluster on this machine. */
  readonly runLocal: (words: readonly string[], console: Console) => Promise<number>;
  /** `init format`, `journal format`, `cache format`, `process …`. */
  readonly processes: import("./process_commands.ts").ProcessParts;
  /** `journal read|verify|repair`. */
  readonly journalTools: () => Promise<import("./journal_tools.ts").JournalToolParts>;
};

type Loader = () => Promise<CommandTable>;

/** Where each group's commands are. The names are here, so that finding one loads no other. */
function groups(
  parts: ShellParts,
): Readonly<Record<string, readonly [readonly string[], Loader][]>> {
  const processes: Loader = async () =>
    (await import("./process_commands.ts")).processCommands(parts.processes);
  const formats: Loader = async () =>
    (await import("./process_commands.ts")).formatCommands(parts.processes);
  const report: Loader = async () => (await import("./info.ts")).COMMANDS;
  const conf: Loader = async () => (await import("./conf_get.ts")).COMMANDS;
  const version: Loader = async () => ({ version: versionCommand() });
  const basicIOTest: Loader = async () => ({
    basicIOTest: (await import("./basic_io_test.ts")).basicIOTest,
  });
  return {
    fs: [
      [LIST_NAMES, async () => (await import("./fs_list.ts")).COMMANDS],
      [CHANGE_NAMES, async () => (await import("./fs_change.ts")).COMMANDS],
      [COPY_NAMES, async () => (await import("./fs_copy.ts")).COMMANDS],
    ],
    info: [
      [["report", "cache", "nodes"], report],
      [["version"], version],
      [["master"], async () => ({ master: pick(await fsList(), "masterInfo") })],
    ],
    fsadmin: [
      [["report", "getBlockInfo"], report],
      [["backup"], async () => ({ backup: (await import("./backup.ts")).backup })],
    ],
    conf: [[["get"], conf]],
    exec: [[["basicIOTest"], basicIOTest]],
    process: [[["start", "stop"], processes]],
    init: [[["format"], async () => ({ format: pick(await formats(), "format") })]],
    journal: [
      [["format"], async () => ({ format: pick(await formats(), "journal") })],
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
    cache: [[["format"], async () => ({ format: pick(await formats(), "cache") })]],
  };
}

async function fsList(): Promise<CommandTable> {
  return (await import("./fs_list.ts")).COMMANDS;
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
const COPY_NAMES = ["cat", "head", "tail", "checksum", "cp", "copyFromLocal", "copyToLocal"];

/** 2.9's own words for what 3.x puts into groups. */
const OLD_WORDS: Readonly<Record<string, readonly string[]>> = {
  version: ["info", "version"],
  getConf: ["conf", "get"],
  runTests: ["exec", "basicIOTest"],
  runTest: ["exec", "basicIOTest"],
  format: ["init", "format"],
  formatJournal: ["journal", "format"],
  formatMasters: ["journal", "format"],
  formatWorker: ["cache", "format"],
  formatWorkers: ["cache", "format"],
  readJournal: ["journal", "read"],
};

/** Groups within groups: `fsadmin journal …` is `journal …`, and `journal quorum …` is `quorum …`. */
const INNER_GROUPS: readonly (readonly [string, string])[] = [
  ["fsadmin", "journal"],
  ["journal", "quorum"],
];

function regroup(words: readonly string[]): readonly string[] {
  let found = words;
  for (const [outer, inner] of INNER_GROUPS) {
    if (found[0] !== outer) continue;
    const at = found.findIndex((word, place) => place > 0 && !word.startsWith("-D"));
    if (found[at] === inner) found = [inner, ...found.slice(1, at), ...found.slice(at + 1)];
  }
  return found;
}

const USAGE = `Usage: rockpool COMMAND [-Dkey=value ...] [arguments]

  fs COMMAND         files and directories: ls, mkdir, cat, cp, copyFromLocal, copyToLocal, mv, rm, …
  info COMMAND       the cluster: report, nodes, cache, version
  conf get           properties and where they were set
  journal COMMAND    the journal: quorum info|elect|remove|add, checkpoint, backup, read, verify, repair
  init format        formats the journal and the workers' storage
  process COMMAND    start and stop master or worker on this host
  local COMMAND      a whole cluster on this machine: run, start, stop, status
  exec basicIOTest   writes and reads files in every way
  master, worker     runs a daemon in the foreground
  help [COMMAND]     more about a command`;

function pick(table: CommandTable, name: string): Command {
  const command = table[name];
  if (command === undefined) throw new Error(`No command ${name}`);
  return command;
}

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

/** `copy-from-local`, `copyfromlocal` and `copyFromLocal` are one name. */
function plain(name: string): string {
  return name.replaceAll("-", "").toLowerCase();
}

type Found = { readonly name: string; readonly command: Command };

async function find(
  sections: readonly (readonly [readonly string[], Loader])[],
  word: string,
): Promise<Found | null> {
  for (const [names, load] of sections) {
    const name = names.find((one) => plain(one) === plain(word));
    if (name !== undefined) return { name, command: pick(await load(), name) };
  }
  return null;
}

async function groupUsage(
  group: string,
  sections: readonly (readonly [readonly string[], Loader])[],
): Promise<string> {
  const lines = [`Usage: rockpool ${group} COMMAND [-Dkey=value ...] [arguments]`];
  for (const [names, load] of sections) {
    const table = await load();
    for (const name of [...names].sort())
      lines.push(`       [${`${name} ${pick(table, name).usage}`.trimEnd()}]`);
  }
  for (const [outer, inner] of INNER_GROUPS)
    if (outer === group) lines.push(`       [${inner} COMMAND]`);
  return lines.join("\n");
}

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
  const expanded = regroup([...(OLD_WORDS[first] ?? [first]), ...rest]);
  const isHelp = (word: string) => word === "help" || word === "--help" || word === "-h";
  const [group = "", ...others] = expanded;
  const table = groups(parts);
  if (isHelp(group)) return runSafely(console, () => help(others, table, console));
  const sections = table[group];
  if (sections === undefined && notHere("", group) !== null)
    return runSafely(console, () => Promise.reject(notSupported(group)));
  if (sections === undefined) {
    if (group !== "") console.err(`${group} is an unknown command.\n`);
    console.err(`${USAGE}\n`);
    return EXIT_FAILED;
  }
  const { properties, rest: plainWords } = splitProperties(others);
  const [word = "", ...given] = plainWords;
  if (isHelp(word)) return runSafely(console, () => help([group, ...given], table, console));
  return runSafely(console, async () => {
    const found = await find(sections, word);
    if (found === null) {
      const missing = notHere(group, word);
      if (missing !== null) throw notSupported(missing);
      if (word !== "") console.err(`${word} is an unknown command.\n`);
      console.err(`${await groupUsage(group, sections)}\n`);
      return EXIT_FAILED;
    }
    if (given.some((one) => one === "--help")) return help([group, found.name], table, console);
    return runCommand(found, given, properties, console);
  });
}

async function runCommand(
  { name, command }: Found,
  given: readonly string[],
  properties: ReadonlyMap<string, string>,
  console: Console,
): Promise<number> {
  const session = new Session(
    console,
    [...properties].map(([key, value]) => `${key}=${value}`),
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
      ? `${error.message}\nUsage: ${usageLine(name, command)}\n${command.summary}`
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

function usageLine(name: string, spec: CommandSpec): string {
  return `${name} ${spec.usage}`.trimEnd();
}

async function help(
  words: readonly string[],
  table: ReturnType<typeof groups>,
  console: Console,
): Promise<number> {
  const [group, word] = regroup(words);
  if (group === undefined) {
    await say(console, USAGE);
    return EXIT_OK;
  }
  const sections = table[group] ?? null;
  if (sections === null && notHere("", group) !== null) throw notSupported(group);
  if (sections === null) {
    console.err(`${group} is an unknown command.\n${USAGE}\n`);
    return EXIT_FAILED;
  }
  if (word === undefined) {
    await say(console, await groupUsage(group, sections));
    return EXIT_OK;
  }
  const found = await find(sections, word);
  if (found === null) {
    const missing = notHere(group, word);
    if (missing !== null) throw notSupported(missing);
    console.err(`${word} is an unknown command.\n${await groupUsage(group, sections)}\n`);
    return EXIT_FAILED;
  }
  await say(console, helpText(found.name, found.command));
  return EXIT_OK;
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
