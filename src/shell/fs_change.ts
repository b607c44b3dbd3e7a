/**
 * `fs` commands that change the namespace: mkdir, touch, mv, rm, chmod, pin, setTtl, persist, …
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { TtlAction } from "../client/file_status.ts";
import type { Attributes } from "../client/master_client.ts";
import { RockpoolError } from "../common/errors.ts";
import { parseDurationMs } from "../common/units.ts";
import type { ParsedArguments } from "./arguments.ts";
import { type Command, type CommandTable, countOf, forEachOf, RECURSIVE } from "./command.ts";
import { EXIT_OK, say } from "./console.ts";
import { expand, expandAll, statusOf, type Target } from "./paths.ts";
import type { Session } from "./session.ts";

const ANY = Number.POSITIVE_INFINITY;

/** Runs over every path that the last argument stands for. */
async function eachPath(
  session: Session,
  argument: string | undefined,
  act: (target: Target) => Promise<void>,
): Promise<number> {
  await forEachOf(await expand(session, argument ?? ""), act);
  return EXIT_OK;
}

const mkdir: Command = {
  usage: "<path1> [path2] ... [pathn]",
  summary: "Creates the specified directories, including any parent directories that are required.",
  flags: [],
  argumentsMin: 1,
  argumentsMax: ANY,
  async run(session, given) {
    const { signal } = session.console;
    await forEachOf(given.positional, async (argument) => {
      const { files, path } = await session.open(argument);
      await files.createDirectory(path, { isRecursive: true, signal });
      await say(session.console, `Successfully created directory ${path}`);
    });
    return EXIT_OK;
  },
};

const touch: Command = {
  usage: "<path>",
  summary: "Creates a 0 byte file.",
  makesFiles: true,
  flags: [],
  argumentsMin: 1,
  argumentsMax: 1,
  async run(session, given) {
    const { files, path } = await session.open(given.positional[0] ?? "");
    await files.writeFile(path, "", { signal: session.console.signal });
    await say(session.console, `${path} has been created`);
    return EXIT_OK;
  },
};

const mv: Command = {
  usage: "<src> <dst>",
  summary: "Renames a file or directory.",
  flags: [],
  argumentsMin: 2,
  argumentsMax: 2,
  async run(session, given) {
    const [from = "", to = ""] = given.positional;
    const source = await session.open(from);
    const target = await session.open(to);
    await source.files.rename(source.path, target.path, { signal: session.console.signal });
    await say(session.console, `Renamed ${source.path} to ${target.path}`);
    return EXIT_OK;
  },
};

const rm: Command = {
  usage: "[-R/-r/--recursive] [-U] [--alluxioOnly] [-m/--deleteMountPoint] <path>",
  summary: "Removes the specified file.",
  flags: [
    RECURSIVE,
    { names: ["U", "skip-ufs-check"], help: "do not ask whether the under store has more in it" },
    { names: ["alluxioOnly", "alluxio-only"], help: "leave the under store as it is" },
    { names: ["m", "deleteMountPoint", "delete-mount-point"], help: "mount points below too" },
    {
      names: ["s", "syncParentNextTime"],
      value: "true|false",
      help: "look at the parent's under store again next time",
    },
  ],
  argumentsMin: 1,
  argumentsMax: ANY,
  async run(session, given) {
    const isAlluxioOnly = given.has("alluxioOnly");
    await forEachOf(await expandAll(session, given.positional), async (target) => {
      const status = await statusOf(target);
      if (status.isDirectory && !given.has("R"))
        throw new RockpoolError(
          "FAILED_PRECONDITION",
          `${target.path} is a directory, to remove it, please use "rm -R/-r/--recursive <path>"`,
        );
      await target.files.delete(target.path, {
        isRecursive: given.has("R"),
        isAlluxioOnly,
        isUnchecked: given.has("U"),
        signal: session.console.signal,
      });
      const where = isAlluxioOnly ? " only from Alluxio space" : "";
      await say(session.console, `${target.path} has been removed${where}`);
    });
    return EXIT_OK;
  },
};

/** "640", "0640", "u=rw,g=r,o=". @throws RockpoolError INVALID_ARGUMENT */
export function parseMode(text: string): number {
  if (/^[0-7]{1,4}$/.test(text)) return Number.parseInt(text, 8);
  let mode = 0;
  for (const clause of text.split(",")) {
    const match = /^([ugoa]*)=([rwx]*)$/.exec(clause);
    if (match === null)
      throw new RockpoolError(
        "INVALID_ARGUMENT",
        `Invalid mode ${text}`,
        "Write it like 640 or u=rw,g=r,o=",
      );
    const [, who = "", what = ""] = match;
    const bits =
      (what.includes("r") ? 4 : 0) | (what.includes("w") ? 2 : 0) | (what.includes("x") ? 1 : 0);
    const isFor = (letter: string) => who === "" || who.includes("a") || who.includes(letter);
    if (isFor("u")) mode |= bits << 6;
    if (isFor("g")) mode |= bits << 3;
    if (isFor("o")) mode |= bits;
  }
  return mode;
}

async function change(
  session: Session,
  target: Target,
  attributes: Attributes,
  isRecursive: boolean,
): Promise<void> {
  const { signal } = session.console;
  await target.files.setAttribute(target.path, attributes, { isRecursive, signal });
}

const chmod: Command = {
  usage: "[-R/--recursive] <mode> <path>",
  summary: "Changes the permission of a file or directory specified by args.",
  flags: [RECURSIVE],
  argumentsMin: 2,
  argumentsMax: 2,
  async run(session, given) {
    const [text = "", argument] = given.positional;
    const mode = parseMode(text);
    return eachPath(session, argument, async (target) => {
      await change(session, target, { mode }, given.has("R"));
      await say(session.console, `Changed permission of ${target.path} to ${mode.toString(8)}`);
    });
  },
};

const chown: Command = {
  usage: "[-R/--recursive] <owner>[:<group>] <path>",
  summary: "Changes the owner of a file or directory specified by args.",
  flags: [RECURSIVE],
  argumentsMin: 2,
  argumentsMax: 2,
  async run(session, given) {
    const [text = "", argument] = given.positional;
    const match = /^([\w.@$-]+)(?::([\w.@$-]+))?$/.exec(text);
    if (match === null)
      throw new RockpoolError(
        "INVALID_ARGUMENT",
        `Invalid owner ${text}`,
        "Write owner or owner:group",
      );
    const [, owner = "", group] = match;
    return eachPath(session, argument, async (target) => {
      const attributes = group === undefined ? { owner } : { owner, group };
      await change(session, target, attributes, given.has("R"));
      const what = group === undefined ? "owner" : "owner:group";
      const who = group === undefined ? owner : `${owner}:${group}`;
      await say(session.console, `Changed ${what} of ${target.path} to ${who}.`);
    });
  },
};

const chgrp: Command = {
  usage: "[-R/--recursive] <group> <path>",
  summary: "Changes the group of a file or directory specified by args.",
  flags: [RECURSIVE],
  argumentsMin: 2,
  argumentsMax: 2,
  async run(session, given) {
    const [group = "", argument] = given.positional;
    return eachPath(session, argument, async (target) => {
      await change(session, target, { group }, given.has("R"));
      await say(session.console, `Changed group of ${target.path} to ${group}`);
    });
  },
};

function pinning(isPinned: boolean): Command {
  return {
    usage: isPinned ? "<path> media1 media2 media3 ..." : "<path>",
    summary: isPinned
      ? "Pins the given file or directory: its blocks are not evicted."
      : "Unpins the given file or folder: its blocks may be evicted.",
    flags: [],
    argumentsMin: 1,
    argumentsMax: isPinned ? ANY : 1,
    async run(session, given) {
      return eachPath(session, given.positional[0], async (target) => {
        await change(session, target, { isPinned }, true);
        const verb = isPinned ? "pinned" : "unpinned";
        await say(session.console, `File '${target.path}' was successfully ${verb}.`);
      });
    },
  };
}

function ttlActionOf(text: string | undefined): TtlAction {
  const action = (text ?? "free").toLowerCase();
  if (action === "free") return "FREE";
  if (action === "delete") return "DELETE";
  if (action === "delete_alluxio") return "DELETE_ALLUXIO";
  throw new RockpoolError("INVALID_ARGUMENT", `TTL action should be delete OR free, not ${text}`);
}

const setTtl: Command = {
  usage: "[--action delete|free] <path> <time to live>",
  summary: "Sets a new TTL value for the file at path.",
  flags: [{ names: ["action"], value: "delete|free", help: "what happens when the time is over" }],
  argumentsMin: 2,
  argumentsMax: 2,
  async run(session, given) {
    const [argument, time = ""] = given.positional;
    const ttlMs = parseDurationMs(time);
    if (ttlMs === null || ttlMs < 0)
      throw new RockpoolError(
        "INVALID_ARGUMENT",
        `TTL "${time}" is not a duration`,
        "Write it like 500ms, 10s, 5min or 1h",
      );
    const ttlAction = ttlActionOf(given.value("action"));
    return eachPath(session, argument, async (target) => {
      await change(session, target, { ttlMs, ttlAction }, true);
      await say(
        session.console,
        `TTL of path '${target.path}' was successfully set to ${ttlMs} milliseconds, with expiry action set to ${ttlAction}`,
      );
    });
  },
};

const unsetTtl: Command = {
  usage: "<path>",
  summary: "Unsets the TTL value for the given path.",
  flags: [],
  argumentsMin: 1,
  argumentsMax: 1,
  async run(session, given) {
    return eachPath(session, given.positional[0], async (target) => {
      await change(session, target, { ttlMs: -1 }, true);
      await say(session.console, `TTL of file '${target.path}' was successfully removed.`);
    });
  },
};

function replicationOf(given: ParsedArguments): Attributes {
  const min = given.value("min");
  const max = given.value("max");
  if (min === undefined && max === undefined)
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      "At least one option of '--max' or '--min' must be specified",
    );
  const attributes = {
    ...(max === undefined ? {} : { replicationMax: max === "-1" ? -1 : countOf(max, "--max") }),
    ...(min === undefined ? {} : { replicationMin: countOf(min, "--min") }),
  };
  const { replicationMax: most = -1, replicationMin: least = 0 } = attributes;
  if (most >= 0 && least > most)
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      "Invalid values for '--max' and '--min' options",
      `--min is ${least}, which must not be more than --max, ${most}`,
    );
  return attributes;
}

const setReplication: Command = {
  usage: "[-R] [--max <num> | --min <num>] <path>",
  summary: "Sets the minimum/maximum number of replicas for the file or directory at given path.",
  flags: [
    RECURSIVE,
    { names: ["max"], value: "num", help: "most copies; -1 for any number" },
    { names: ["min"], value: "num", help: "fewest copies" },
  ],
  argumentsMin: 1,
  argumentsMax: 1,
  async run(session, given) {
    const attributes = replicationOf(given);
    return eachPath(session, given.positional[0], async (target) => {
      await change(session, target, attributes, given.has("R"));
      const { console } = session;
      await say(console, `Changed the replication level of ${target.path}`);
      const { replicationMax, replicationMin } = attributes;
      if (replicationMax !== undefined)
        await say(console, `replicationMax was set to ${replicationMax}`);
      if (replicationMin !== undefined)
        await say(console, `replicationMin was set to ${replicationMin}`);
    });
  },
};

/** Twenty minutes, as Alluxio waits for its job. */
const PERSIST_TIMEOUT_MS = 20 * 60_000;
const PERSIST_POLL_MS = 100;

async function filesToPersist(target: Target): Promise<string[]> {
  const status = await statusOf(target);
  if (!status.isDirectory) return status.isPersisted ? [] : [target.path];
  const found: string[] = [];
  for await (const one of target.files.listStatus(target.path, { isRecursive: true }))
    if (!one.isDirectory && !one.isPersisted) found.push(one.path);
  return found;
}

async function persistOne(session: Session, target: Target, timeoutMs: number): Promise<void> {
  const { signal } = session.console;
  const deadlineMs = performance.now() + timeoutMs;
  await target.files.persist(target.path, { signal });
  for (;;) {
    const status = await statusOf(target);
    if (status.isPersisted) return;
    if (performance.now() > deadlineMs)
      throw new RockpoolError(
        "DEADLINE_EXCEEDED",
        `${target.path} is still ${status.persistence} after ${timeoutMs} ms`,
        "It is persisted in the background; look again with `fs ls`",
      );
    await sleep(PERSIST_POLL_MS, undefined, { signal });
  }
}

const persist: Command = {
  usage:
    "[-p|--parallelism <#>] [-t|--timeout <milliseconds>] [-w|--wait <milliseconds>] <path> [<path> ...]",
  summary: "Persists files or directories currently stored only in Alluxio to the UnderFileSystem.",
  flags: [
    { names: ["p", "parallelism"], value: "#", help: "files at a time (8)" },
    { names: ["t", "timeout"], value: "milliseconds", help: "for each file (1200000)" },
    { names: ["w", "wait"], value: "milliseconds", help: "accepted; files are persisted at once" },
  ],
  argumentsMin: 1,
  argumentsMax: ANY,
  async run(session, given) {
    const timeoutText = given.value("t");
    const timeoutMs = timeoutText === undefined ? PERSIST_TIMEOUT_MS : countOf(timeoutText, "-t");
    const parallel = Math.max(1, countOf(given.value("p") ?? "8", "-p"));
    const targets: Target[] = [];
    for (const target of await expandAll(session, given.positional))
      for (const path of await filesToPersist(target)) targets.push({ ...target, path });
    await say(session.console, `Found ${targets.length} files to persist.`);
    let next = 0;
    let done = 0;
    const work = async () => {
      for (let target = targets[next++]; target !== undefined; target = targets[next++]) {
        await persistOne(session, target, timeoutMs);
        done += 1;
      }
    };
    try {
      await Promise.all(Array.from({ length: Math.min(parallel, targets.length) }, work));
    } finally {
      await say(session.console, `Persisted ${done} file(s)`);
    }
    return EXIT_OK;
  },
};

export const COMMANDS: CommandTable = {
  mkdir,
  touch,
  mv,
  rm,
  chmod,
  chown,
  chgrp,
  pin: pinning(true),
  unpin: pinning(false),
  setTtl,
  unsetTtl,
  setReplication,
  persist,
};
