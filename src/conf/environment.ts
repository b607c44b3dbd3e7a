/**
 * What environment variables and alluxio-env.sh say about keys.
 *
 * Pure. `-Dkey=value` in ALLUXIO_JAVA_OPTS and in the options of one kind of process count as
 * given on the command line; ALLUXIO_RAM_FOLDER and its like have names of their own; any other key may be
 * given by its name in capitals with `_` for `.` and `-` (ALLUXIO_MASTER_RPC_ADDRESSES).
 * alluxio-env.sh is read, never run: lines `NAME=value` and `export NAME=value`, quotes, `$NAME`,
 * `${NAME}`, `${NAME:-value}` and `NAME+=value` are understood, everything else is left out.
 * @module
 */
import type { Assignment } from "./configuration.ts";
import { knownNames } from "./keys.ts";

export type ProcessKind = "master" | "worker" | "client";
export type Variables = Readonly<Record<string, string | undefined>>;

const JAVA_OPTS: Readonly<Record<ProcessKind, readonly string[]>> = {
  master: ["ALLUXIO_MASTER_JAVA_OPTS", "ALLUXIO_JAVA_OPTS"],
  worker: ["ALLUXIO_WORKER_JAVA_OPTS", "ALLUXIO_JAVA_OPTS"],
  client: ["ALLUXIO_USER_JAVA_OPTS", "ALLUXIO_JAVA_OPTS"],
};

/** Variables whose name does not follow from the key. */
const SPECIAL: Readonly<Record<string, string>> = {
  ALLUXIO_RAM_FOLDER: "alluxio.worker.tieredstore.level0.dirs.path",
  ALLUXIO_MASTER_ADDRESS: "alluxio.master.hostname",
  ALLUXIO_UNDERFS_ADDRESS: "alluxio.master.mount.table.root.ufs",
  ALLUXIO_WORKER_MEMORY_SIZE: "alluxio.worker.ramdisk.size",
};

/** Splits at blanks that no quote holds together; takes the quotes off. */
export function shellWords(text: string): string[] {
  const words: string[] = [];
  const pattern = /(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+/gs;
  for (const [word] of text.matchAll(pattern)) words.push(unquote(word));
  return words;
}

function unquote(word: string): string {
  return word.replace(
    /"((?:[^"\\]|\\.)*)"|'([^']*)'|\\(.)/gs,
    (_, double?: string, single?: string, escaped?: string) =>
      double?.replace(/\\(["\\$`])/g, "$1") ?? single ?? escaped ?? "",
  );
}

/** "-Dkey=value" and "key=value" both. Null when there is no key. */
export function parseDefinition(text: string, origin: string): Assignment | null {
  const match = /^(?:-D)?([^=\s]+)=(.*)$/s.exec(text);
  return match === null ? null : { name: match[1] ?? "", value: match[2] ?? "", origin };
}

/** Definitions inside the JAVA_OPTS variables, the weakest first. Other options of a JVM are left out. */
export function javaOptions(variables: Variables, kind: ProcessKind): Assignment[] {
  return JAVA_OPTS[kind].toReversed().flatMap((name) =>
    shellWords(variables[name] ?? "")
      .filter((word) => word.startsWith("-D"))
      .map((word) => parseDefinition(word, `environment variable ${name}`))
      .filter((assignment) => assignment !== null),
  );
}

/** Keys that are given by variables of their own. */
export function environmentAssignments(variables: Variables): Assignment[] {
  const found: Assignment[] = [];
  const add = (variable: string, name: string) => {
    const value = variables[variable];
    if (value !== undefined && value !== "")
      found.push({ name, value, origin: `environment variable ${variable}` });
  };
  for (const [variable, name] of Object.entries(SPECIAL)) add(variable, name);
  const names = knownNames().filter((name) => /^(alluxio|rockpool)\./.test(name));
  for (const name of names) add(name.toUpperCase().replace(/[.-]/g, "_"), name);
  return found;
}

/**
 * Reads one word of a shell: quotes taken off, variables put in.
 * @param isWhole take blanks as part of the word (inside quotes and defaults)
 */
function readWord(text: string, variables: Variables, isWhole: boolean): string {
  let word = "";
  let rest = text;
  while (rest !== "") {
    const single = /^'([^']*)'/.exec(rest);
    const double = /^"((?:[^"\\]|\\.|\$\{[^}]*\})*?)"/s.exec(rest);
    const variable = /^\$(?:\{(\w+)(?::?-((?:[^}"']|"[^"]*"|'[^']*')*))?\}|(\w+))/.exec(rest);
    const escaped = /^\\(.)/s.exec(rest);
    const found = single ?? double ?? variable ?? escaped;
    if (found === null && !isWhole && /^[\s;]/.test(rest)) break;
    if (single !== null) word += single[1] ?? "";
    else if (double !== null) word += readWord(double[1] ?? "", variables, true);
    else if (variable !== null)
      word +=
        variables[variable[1] ?? variable[3] ?? ""] || readWord(variable[2] ?? "", variables, true);
    else word += escaped?.[1] ?? rest[0] ?? "";
    rest = rest.slice(found?.[0].length ?? 1);
  }
  return word;
}

/** The variables as they are after alluxio-env.sh was sourced. */
export function applyEnvFile(text: string, variables: Variables): Variables {
  const result: Record<string, string | undefined> = { ...variables };
  for (const line of text.replace(/\\\r?\n/g, "").split(/\r?\n/)) {
    const match = /^\s*(?:export\s+)?([A-Za-z_]\w*)(\+?)=(.*)$/.exec(line);
    if (match === null) continue;
    const [, name = "", plus, rest = ""] = match;
    const value = readWord(rest, result, false);
    result[name] = plus === "+" ? `${result[name] ?? ""}${value}` : value;
  }
  return result;
}
