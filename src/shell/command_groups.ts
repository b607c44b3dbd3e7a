/**
 * Groups of commands: found by name without loading any other, listed, and suggested.
 * @module
 */
import type { Command, CommandTable } from "./command.ts";
import { nearest } from "./suggest.ts";

export type Loader = () => Promise<CommandTable>;
/** The names of some commands, and what loads them. */
export type Sections = readonly (readonly [names: readonly string[], load: Loader])[];
export type Groups = Readonly<Record<string, Sections>>;

export type Found = {
  readonly group: string;
  readonly name: string;
  readonly command: Command;
};

/** 2.9's own words for what 3.x puts into groups. */
export const OLD_WORDS: Readonly<Record<string, readonly string[]>> = {
  version: ["info", "version"],
  getConf: ["conf", "get"],
  logLevel: ["conf", "log"],
  validateConf: ["init", "validate", "--type", "conf"],
  validateEnv: ["init", "validate", "--type", "env"],
  collectInfo: ["info", "collect"],
  runTests: ["exec", "basicIOTest"],
  runTest: ["exec", "basicIOTest"],
  runUfsTests: ["exec", "ufsTest"],
  runUfsIOTest: ["exec", "ufsIOTest"],
  runJournalCrashTest: ["exec", "journalCrashTest"],
  runClass: ["exec", "class"],
  clearCache: ["init", "clear-os-cache"],
  format: ["init", "format"],
  formatJournal: ["journal", "format"],
  formatMasters: ["init", "format", "--skip-worker"],
  formatWorker: ["cache", "format"],
  formatWorkers: ["init", "format", "--skip-master"],
  copyDir: ["init", "copyDir"],
  "alluxio-start.sh": ["process", "start"],
  "alluxio-stop.sh": ["process", "stop"],
  "alluxio-monitor.sh": ["process", "monitor"],
  readJournal: ["journal", "read"],
};

/** Groups within groups: `fsadmin journal …` is `journal …`, and `journal quorum …` is `quorum …`. */
export const INNER_GROUPS: readonly (readonly [outer: string, inner: string])[] = [
  ["fsadmin", "journal"],
  ["journal", "quorum"],
  ["fsadmin", "metrics"],
];

export function regroup(words: readonly string[]): readonly string[] {
  let found = words;
  for (const [outer, inner] of INNER_GROUPS) {
    if (found[0] !== outer) continue;
    const at = found.findIndex((word, place) => place > 0 && !word.startsWith("-D"));
    if (found[at] === inner) found = [inner, ...found.slice(1, at), ...found.slice(at + 1)];
  }
  return found;
}

/** The words of a command line with an old word spelled anew, and inner groups first. */
export function spelledAnew(words: readonly string[]): readonly string[] {
  const [first = "", ...rest] = words;
  return regroup([...(OLD_WORDS[first] ?? [first]), ...rest]);
}

export function pick(table: CommandTable, name: string): Command {
  const command = table[name];
  if (command === undefined) throw new Error(`No command ${name}`);
  return command;
}

/** `copy-from-local`, `copyfromlocal` and `copyFromLocal` are one name. */
export function plain(name: string): string {
  return name.replaceAll("-", "").toLowerCase();
}

export async function find(groups: Groups, group: string, word: string): Promise<Found | null> {
  for (const [names, load] of groups[group] ?? []) {
    const name = names.find((one) => plain(one) === plain(word));
    if (name !== undefined) return { group, name, command: pick(await load(), name) };
  }
  return null;
}

/** Names in a group, and the groups within it. */
export function namesIn(groups: Groups, group: string): readonly string[] {
  const inner = INNER_GROUPS.flatMap(([outer, name]) => (outer === group ? [name] : []));
  return [...(groups[group] ?? []).flatMap(([names]) => names), ...inner];
}

/** What a word may have meant that no command of its group has; as it would be typed. */
export function meantBy(groups: Groups, group: string, word: string): readonly string[] {
  const here = nearest(word, namesIn(groups, group)).map((name) => `${group} ${name}`);
  if (here.length > 0) return here;
  const elsewhere = Object.keys(groups)
    .filter((other) => namesIn(groups, other).some((name) => plain(name) === plain(word)))
    .map((other) => `${other} ${word}`);
  return elsewhere.slice(0, 3);
}

/** What a first word may have meant. */
export function groupMeantBy(
  groups: Groups,
  word: string,
  more: readonly string[],
): readonly string[] {
  const first = nearest(word, [...Object.keys(groups), ...Object.keys(OLD_WORDS), ...more]);
  return first.length > 0 ? first : meantBy(groups, "", word);
}
