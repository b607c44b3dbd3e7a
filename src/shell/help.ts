/**
 * `help`: lists of commands, and the page of each. Loaded only when somebody asks, or typed something unknown.
 * @module
 */
import { type Command, notSupported } from "./command.ts";
import {
  type Found,
  find,
  type Groups,
  groupMeantBy,
  INNER_GROUPS,
  meantBy,
  OLD_WORDS,
  pick,
  plain,
  spelledAnew,
} from "./command_groups.ts";
import { type Console, EXIT_FAILED, EXIT_OK, say } from "./console.ts";
import { helpText, manualPage } from "./manual.ts";
import { MANUALS } from "./manual_texts.ts";
import { notHere } from "./not_here.ts";
import { didYouMean } from "./suggest.ts";

/** Words that are no group: they run something else, and explain themselves. */
const ALONE: Readonly<Record<string, string>> = {
  local: "A whole cluster on this machine. Say: rockpool local help",
  up: "The same as local run: a whole cluster on this machine, until Ctrl-C. Say: rockpool local help",
  master: "Runs a master in the foreground, with the configuration of this host.",
  worker: "Runs a worker in the foreground, with the configuration of this host.",
  completion:
    "Prints a script that completes commands, options and paths. Say: rockpool completion",
};

export const USAGE = `Usage: rockpool COMMAND [-Dkey=value ...] [arguments]

  fs COMMAND         files and directories: ls, mkdir, cat, cp, copyFromLocal, copyToLocal, mv, rm, …
  info COMMAND       the cluster: report, nodes, cache, doctor, collect, version
  fsadmin COMMAND    the administrator's commands of Alluxio 2.9
  conf COMMAND       properties and where they were set
  journal COMMAND    the journal: quorum info|elect|remove|add, checkpoint, backup, read, verify, repair
  cache COMMAND      what the workers keep: free, format
  init COMMAND       before the first start: format, copy-dir, validate
  process COMMAND    start and stop masters and workers, here and on other hosts
  local COMMAND      a whole cluster on this machine: run, start, stop, status
  exec COMMAND       tests that run against the cluster
  bench COMMAND      short measurements of the cluster, as JSON
  master, worker     runs a daemon in the foreground
  completion SHELL   a script for bash or zsh that completes commands, options and paths
  help [COMMAND]     more about a command`;

async function groupUsage(groups: Groups, group: string): Promise<string> {
  const lines = [`Usage: rockpool ${group} COMMAND [-Dkey=value ...] [arguments]`];
  for (const [names, load] of groups[group] ?? []) {
    const table = await load();
    for (const name of [...names].sort())
      lines.push(`       [${`${name} ${pick(table, name).usage}`.trimEnd()}]`);
  }
  for (const [outer, inner] of INNER_GROUPS)
    if (outer === group) lines.push(`       [${inner} COMMAND]`);
  return lines.join("\n");
}

/** Other ways to type a command. */
function spellings(found: Found): string[] {
  const old = Object.entries(OLD_WORDS)
    // Those that stand for options too have a usage of their own.
    .filter(([, { length }]) => length === 2)
    .filter(([, [group, name = ""]]) => group === found.group && plain(name) === plain(found.name))
    .map(([word]) => word);
  const outer = (group: string): string[] =>
    INNER_GROUPS.filter(([, inner]) => inner === group).flatMap(([name]) => [
      `${name} ${group}`,
      ...outer(name).map((above) => `${above} ${group}`),
    ]);
  return [...outer(found.group).map((group) => `${group} ${found.name}`), ...old];
}

/** As `man` shows it. */
export function pageOf(found: Found): string {
  const name = `${found.group} ${found.name}`;
  const manual = { ...MANUALS[name], ...found.command.manual };
  return manualPage({ name, spec: found.command, manual, alsoCalled: spellings(found) });
}

/** Says that nobody knows a command. */
async function unknown(
  console: Console,
  word: string,
  meant: readonly string[],
  usage: string,
): Promise<number> {
  if (word !== "") console.err(`${word} is an unknown command.\n`);
  const hint = didYouMean(meant.map((one) => `rockpool ${one}`));
  if (word !== "" && hint !== "") console.err(`${hint}\n`);
  console.err(`${usage}\n`);
  return EXIT_FAILED;
}

/** A command line whose first word is no group. @throws RockpoolError for what Alluxio has and this version has not */
export async function unknownGroup(
  console: Console,
  groups: Groups,
  word: string,
): Promise<number> {
  const missing = notHere("", word);
  if (missing !== null) throw notSupported(missing);
  return unknown(console, word, groupMeantBy(groups, word, Object.keys(ALONE)), USAGE);
}

/** A group whose next word is no command of it. @throws as above */
export async function unknownCommand(
  console: Console,
  groups: Groups,
  [group, word]: readonly [string, string],
): Promise<number> {
  const missing = notHere(group, word);
  if (missing !== null) throw notSupported(missing);
  return unknown(console, word, meantBy(groups, group, word), await groupUsage(groups, group));
}

/** `help …`: `help`, `help fs`, `help fs ls`, and also `help ls`. */
export async function help(
  console: Console,
  groups: Groups,
  words: readonly string[],
): Promise<number> {
  const [group = "", word] = spelledAnew(words);
  const print = async (text: string) => {
    await say(console, text);
    return EXIT_OK;
  };
  if (group === "") return print(USAGE);
  const alone = ALONE[group];
  if (alone !== undefined) return print(alone);
  if (groups[group] === undefined) {
    for (const other of Object.keys(groups)) {
      const found = await find(groups, other, group);
      if (found !== null) return print(pageOf(found));
    }
    return unknownGroup(console, groups, group);
  }
  if (word === undefined) return print(await groupUsage(groups, group));
  const found = await find(groups, group, word);
  if (found === null) return unknownCommand(console, groups, [group, word]);
  return print(pageOf(found));
}

/** `fs help ls`: the few lines that Alluxio prints. */
export async function groupHelp(
  console: Console,
  groups: Groups,
  [group = "", ...words]: readonly string[],
): Promise<number> {
  const [word] = words;
  if (word === undefined) return help(console, groups, [group]);
  const [inner = "", name] = spelledAnew([group, ...words]);
  if (inner !== group) return help(console, groups, name === undefined ? [inner] : [inner, name]);
  const found = await find(groups, group, word);
  if (found === null) return unknownCommand(console, groups, [group, word]);
  await say(console, helpText(found.name, found.command));
  return EXIT_OK;
}

/** The words of a usage error: what is wrong, and the right form. */
export function usageText(
  found: Pick<Found, "name"> & { readonly command: Command },
  why: string,
): string {
  const usage = `${found.name} ${found.command.usage}`.trimEnd();
  return `${why}\nUsage: ${usage}\n${found.command.summary}`;
}
