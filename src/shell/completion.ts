/**
 * `completion bash|zsh`: a script by which the shell asks this program what a command line may go on with.
 *
 * The script calls `completion words -- <line up to the cursor>`, which prints one candidate a line for the last word of
 * the line, escaped for the shell. A candidate after which the word may go on ends with "/" or "=". The line `:files` says
 * that the word is a local path, which the shell itself knows best. Paths in the cluster are asked for, within
 * {@link PATIENCE_MS}: whatever goes wrong, nothing is printed, for a person is in the middle of a line.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import { knownNames } from "../conf/keys.ts";
import type { FlagSpec } from "./arguments.ts";
import {
  type Found,
  find,
  type Groups,
  namesIn,
  OLD_WORDS,
  spelledAnew,
} from "./command_groups.ts";
import { type Console, EXIT_OK, say } from "./console.ts";
import type { AskZooKeeper } from "./session.ts";
import { didYouMean, nearest } from "./suggest.ts";

const PATIENCE_MS = 1500;
/** A list that a person can still look through. */
const CANDIDATES_MAX = 500;
const FILES = ":files";

/** First words that are no group. */
const ALONE: Readonly<Record<string, readonly string[]>> = {
  local: ["run", "start", "stop", "status", "add", "help"],
  up: ["--masters", "--workers", "--dir", "--port-offset", "--worker-quota"],
  completion: ["bash", "zsh"],
  master: [],
  worker: [],
};

/** What the arguments of a command are, when its group does not say it: a path, a local one, a property, words, or nothing. */
type Kind = "path" | "files" | "keys" | "none" | readonly string[];
const KINDS: Readonly<Record<string, readonly Kind[]>> = {
  "fs copyFromLocal": ["files", "path"],
  "fs copyToLocal": ["path", "files"],
  "fs chmod": ["none", "path"],
  "fs chown": ["none", "path"],
  "fs chgrp": ["none", "path"],
  "fs setTtl": ["path", ["1h", "1d", "7d"]],
  "fs freeWorker": ["none"],
  "fs masterInfo": ["none"],
  "fs leader": ["none"],
  "conf get": ["keys"],
  "info report": [["summary", "capacity", "ufs", "metrics", "proxy", "raft"]],
  "fsadmin report": [["summary", "capacity", "ufs", "metrics", "proxy", "raft"]],
  "info collect": [["all", "cluster", "conf", "env", "jvm", "log", "metrics"], "files"],
  "info doctor": [["configuration", "storage"]],
  "fsadmin doctor": [["configuration", "storage"]],
  "process start": [["all", "masters", "workers", "master", "worker", "local"]],
  "process stop": [["all", "masters", "workers", "master", "worker", "local"]],
  "init copyDir": ["files"],
  "fsadmin pathConf": [["add", "show", "list", "remove"], "path"],
};

const BASH = `# Completes rockpool and alluxio. For this shell: source <(rockpool completion bash)
# For every one: rockpool completion bash > /etc/bash_completion.d/rockpool
_rockpool() {
  local line="\${COMP_LINE:0:COMP_POINT}" piece="\${COMP_WORDS[COMP_CWORD]}" found
  COMPREPLY=()
  [[ $COMP_WORDBREAKS == *"$piece"* && -n $piece ]] && piece=""
  while IFS= read -r found; do
    if [[ $found == :files ]]; then
      compopt -o filenames 2>/dev/null
      while IFS= read -r found; do COMPREPLY+=("$found"); done < <(compgen -f -- "$piece")
      return
    fi
    COMPREPLY+=("$found")
  done < <("\${COMP_WORDS[0]}" completion words --breaks "$COMP_WORDBREAKS" -- "$line" 2>/dev/null)
  [[ \${#COMPREPLY[@]} -eq 1 && \${COMPREPLY[0]} == *[/=] ]] && compopt -o nospace 2>/dev/null
}
complete -F _rockpool rockpool alluxio`;

const ZSH = `#compdef rockpool alluxio
# Completes rockpool and alluxio. For this shell: source <(rockpool completion zsh)
# For every one: rockpool completion zsh > "\${fpath[1]}/_rockpool"
_rockpool() {
  local -a found open closed
  found=("\${(@f)$("\${words[1]}" completion words -- "\${(j: :)words[1,CURRENT]}" 2>/dev/null)}")
  if [[ $found[1] == :files ]]; then
    _files
    return
  fi
  open=("\${(@M)found:#*[/=]}")
  closed=("\${(@)found:#*[/=]}")
  closed=("\${(@)closed:#}")
  (( $#open )) && compadd -Q -S '' -- "\${open[@]}"
  (( $#closed )) && compadd -Q -- "\${closed[@]}"
}
if [[ $funcstack[1] == _rockpool ]]; then _rockpool "$@"; else compdef _rockpool rockpool alluxio; fi`;

type Given = {
  readonly table: Groups;
  readonly console: Console;
  readonly askZooKeeper: AskZooKeeper;
};

/** `completion …`. */
export async function completion(words: readonly string[], given: Given): Promise<number> {
  const [shell = "", ...rest] = words;
  if (shell === "bash" || shell === "zsh") {
    await say(given.console, shell === "bash" ? BASH : ZSH);
    return EXIT_OK;
  }
  if (shell !== "words") {
    const hint = didYouMean(nearest(shell, ["bash", "zsh"]));
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      shell === ""
        ? "No shell is named"
        : `Shell "${shell}" is not known${hint === "" ? "" : `. ${hint}`}`,
      "rockpool completion bash, or rockpool completion zsh",
    );
  }
  const line = rest[rest.indexOf("--") + 1] ?? "";
  const breaks = rest[0] === "--breaks" ? (rest[1] ?? "") : "";
  const found = await quietly(candidates(line, given));
  const lines = forShell(found, line, breaks);
  if (lines.length > 0) await given.console.out(`${lines.join("\n")}\n`);
  return EXIT_OK;
}

/** Nothing, whatever goes wrong: a person is typing, there is no place to say it. */
async function quietly(work: Promise<readonly string[]>): Promise<readonly string[]> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Error) return [];
    throw error;
  }
}

/** The words of a line as a shell parts them; the last one is the one that is being typed. */
export function splitLine(line: string): readonly string[] {
  const words: string[] = [""];
  let quote = "";
  for (let at = 0; at < line.length; at++) {
    const letter = line[at] ?? "";
    const last = words.length - 1;
    if (quote !== "" && letter === quote) quote = "";
    else if (letter === "\\" && quote !== "'") words[last] += line[++at] ?? "";
    else if (quote !== "") words[last] += letter;
    else if (letter === "'" || letter === '"') quote = letter;
    else if (/\s/.test(letter)) {
      if (words[last] !== "" || !/\s/.test(line[at - 1] ?? "")) words.push("");
    } else words[last] += letter;
  }
  return words;
}

/** What the last word of a line may become, not escaped. */
export async function candidates(
  line: string,
  { table, console, askZooKeeper }: Given,
): Promise<readonly string[]> {
  const words = splitLine(line).slice(1);
  const typed = words.at(-1) ?? "";
  const done = words.slice(0, -1);
  const properties = done.flatMap((word) => (word.startsWith("-D") ? [word.slice(2)] : []));
  const before = done.filter((word) => !word.startsWith("-D"));
  const isHelp = before[0] === "help";
  const known = spelledAnew(isHelp ? before.slice(1) : before);
  const [group, word, ...given] = known[0] === "" ? [] : known;
  if (group === undefined) {
    const first = [...Object.keys(table), ...Object.keys(ALONE), ...Object.keys(OLD_WORDS), "help"];
    return beginning(first, typed);
  }
  const alone = ALONE[group];
  if (alone !== undefined) return beginning(alone, typed);
  if (table[group] === undefined) return [];
  if (/^-D[^=]*$/.test(typed)) {
    const names = knownNames().map((name) => `-D${name}=`);
    return beginning(names, typed).slice(0, CANDIDATES_MAX);
  }
  if (word === undefined) return beginning([...namesIn(table, group), "help"], typed);
  if (word === "help") return beginning(namesIn(table, group), typed);
  const found = await find(table, group, word);
  if (found === null || isHelp) return [];
  return ofCommand(found, given, { typed, console, properties, askZooKeeper });
}

function beginning(words: readonly string[], typed: string): readonly string[] {
  return [...new Set(words)].filter((word) => word.startsWith(typed)).sort();
}

type Typed = {
  readonly typed: string;
  readonly console: Console;
  /** `key=value` of the line. */
  readonly properties: readonly string[];
  readonly askZooKeeper: AskZooKeeper;
};

function flagNamed(flags: readonly FlagSpec[], word: string): FlagSpec | undefined {
  const name = word.replace(/^--?/, "");
  return word.startsWith("-") ? flags.find(({ names }) => names.includes(name)) : undefined;
}

async function ofCommand(
  { group, name, command }: Found,
  given: readonly string[],
  about: Typed,
): Promise<readonly string[]> {
  const { typed } = about;
  const at = typed.indexOf("=");
  if (typed.startsWith("-") && at > 0) {
    const flag = flagNamed(command.flags, typed.slice(0, at));
    const values = await valuesOf(flag, { ...about, typed: typed.slice(at + 1) });
    return values.map((value) => `${typed.slice(0, at + 1)}${value}`);
  }
  const last = flagNamed(command.flags, given.at(-1) ?? "");
  if (last?.value !== undefined) return valuesOf(last, about);
  if (typed.startsWith("-")) {
    const all = command.flags.flatMap(({ names }) =>
      names.map((one) => (one.length === 1 ? `-${one}` : `--${one}`)),
    );
    return beginning([...all, "--help"], typed);
  }
  let place = 0;
  for (const [index, word] of given.entries()) {
    const isValue = flagNamed(command.flags, given[index - 1] ?? "")?.value !== undefined;
    if (!word.startsWith("-") && !isValue) place++;
  }
  if (place >= command.argumentsMax) return [];
  const kinds = KINDS[`${group} ${name}`] ?? [group === "fs" ? "path" : "none"];
  const kind = kinds[Math.min(place, kinds.length - 1)] ?? "none";
  if (kind === "none") return [];
  if (kind === "files") return [FILES];
  if (kind === "keys") return beginning(knownNames(), typed).slice(0, CANDIDATES_MAX);
  return kind === "path" ? paths(about) : beginning(kind, typed);
}

/** Words with strokes between them are all that there is; a path and an address can be asked for. */
async function valuesOf(flag: FlagSpec | undefined, about: Typed): Promise<readonly string[]> {
  const value = flag?.value ?? "";
  if (value === "path") return paths(about);
  if (value === "folder" || value === "directory" || value === "file") return [FILES];
  if (value === "HOSTNAME:PORT") return members(about);
  return value.includes("|") ? beginning(value.split("|"), about.typed) : [];
}

/** Nothing, when the cluster does not answer soon. */
async function withSession(
  { console, properties, askZooKeeper }: Typed,
  ask: (session: import("./session.ts").Session) => Promise<readonly string[]>,
): Promise<readonly string[]> {
  const { Session } = await import("./session.ts");
  const quiet: Console = { ...console, err: () => {} };
  const session = new Session(quiet, properties, askZooKeeper);
  session.limitPatience(PATIENCE_MS);
  const late = new Promise<readonly string[]>((resolve) => {
    setTimeout(() => resolve([]), PATIENCE_MS).unref();
  });
  try {
    return await Promise.race([ask(session), late]);
  } finally {
    await session.close();
  }
}

/** Everything in the directory that was typed so far whose name begins like the rest. */
function paths(about: Typed): Promise<readonly string[]> {
  const { typed } = about;
  if (typed === "") return Promise.resolve(["/"]);
  return withSession(about, async (session) => {
    const slash = typed.lastIndexOf("/");
    const { files, path } = await session.open(typed.slice(0, slash + 1));
    const begun = typed.slice(slash + 1);
    const found: string[] = [];
    for await (const child of files.listStatus(path === "/" ? path : path.replace(/\/+$/, ""))) {
      if (!child.name.startsWith(begun)) continue;
      found.push(`${typed.slice(0, slash + 1)}${child.name}${child.isDirectory ? "/" : ""}`);
      if (found.length === CANDIDATES_MAX) break;
    }
    return found;
  });
}

function members(about: Typed): Promise<readonly string[]> {
  return withSession(about, async (session) => {
    const { members: all } = await (await session.admin()).look();
    return beginning(
      all.map(({ address }) => address),
      about.typed,
    );
  });
}

/** Escapes candidates, and takes off what the shell thinks to be an earlier word: bash parts words at ":" and "=" too. */
function forShell(found: readonly string[], line: string, breaks: string): readonly string[] {
  if (found[0] === FILES) return [FILES];
  const typed = splitLine(line).at(-1) ?? "";
  let cut = 0;
  for (const [at, letter] of [...typed].entries())
    if (breaks.includes(letter) && !/[\s'"]/.test(letter)) cut = at + 1;
  const isQuoted = /(^|\s)(["'])[^"']*$/.test(line);
  return found.map((one) => {
    const rest = one.slice(cut);
    return isQuoted ? rest : rest.replace(/[^\w@%+=:,./~*-]/g, "\\$&");
  });
}
