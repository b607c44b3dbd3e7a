/**
 * `fs` commands that move bytes: cat, head, tail, checksum, cp, copyFromLocal, copyToLocal.
 * @module
 */
import { createHash } from "node:crypto";
import { resolve } from "node:path";
import { parseUri } from "../client/authority.ts";
import { RockpoolError } from "../common/errors.ts";
import type { FlagSpec, ParsedArguments } from "./arguments.ts";
import { type Command, type CommandTable, countOf, forEachOf, RECURSIVE } from "./command.ts";
import { EXIT_OK, say } from "./console.ts";
import { alreadyExists, entryOf, type Place, TreeCopy } from "./copy_tree.ts";
import { expand, fileStatusOf, type Target } from "./paths.ts";
import { Progress } from "./progress.ts";
import type { Session } from "./session.ts";

const THREADS = 8;
const THREADS_MAX = 256;
/** What head and tail show when not told. */
const PIECE_BYTES = 1024;

async function show(
  session: Session,
  target: Target,
  range: { readonly startBytes?: number; readonly lengthBytes?: number },
): Promise<void> {
  const { console } = session;
  await fileStatusOf(target);
  const file = await target.files.openFile(target.path, { signal: console.signal });
  for await (const bytes of file.chunks({ ...range, signal: console.signal }))
    await console.out(bytes);
}

const cat: Command = {
  usage: "<path>",
  summary: "Prints the file's contents to the console.",
  isOutputData: true,
  flags: [],
  argumentsMin: 1,
  argumentsMax: 1,
  async run(session, given) {
    const targets = await expand(session, given.positional[0] ?? "");
    await forEachOf(targets, (target) => show(session, target, {}));
    return EXIT_OK;
  },
};

const PIECE: FlagSpec = {
  names: ["c", "bytes"],
  value: "bytes",
  help: `how many bytes (${PIECE_BYTES})`,
};

function piece(isTail: boolean): Command {
  return {
    usage: "[-c <bytes>] <path>",
    summary: `Prints the file's ${isTail ? "last" : "first"} n bytes (by default, 1KB) to the console.`,
    isOutputData: true,
    flags: [PIECE],
    argumentsMin: 1,
    argumentsMax: 1,
    async run(session, given) {
      const wanted = countOf(given.value("c") ?? String(PIECE_BYTES), "-c");
      const targets = await expand(session, given.positional[0] ?? "");
      await forEachOf(targets, async (target) => {
        const status = await fileStatusOf(target);
        const startBytes = isTail ? Math.max(0, status.lengthBytes - wanted) : 0;
        await show(session, target, { startBytes, lengthBytes: wanted });
      });
      return EXIT_OK;
    },
  };
}

const checksum: Command = {
  usage: "<Alluxio path>",
  summary: "Calculates the md5 checksum of a file in the Alluxio filesystem.",
  flags: [],
  argumentsMin: 1,
  argumentsMax: 1,
  async run(session, given) {
    const { signal } = session.console;
    const targets = await expand(session, given.positional[0] ?? "");
    await forEachOf(targets, async (target) => {
      await fileStatusOf(target);
      const hash = createHash("md5");
      const file = await target.files.openFile(target.path, { signal });
      for await (const bytes of file.chunks({ signal })) hash.update(bytes);
      await say(session.console, `md5sum: ${hash.digest("hex")}`);
    });
    return EXIT_OK;
  },
};

const COPY_FLAGS: readonly FlagSpec[] = [
  { names: ["thread"], value: "num", help: `files at a time (${THREADS})` },
  {
    names: ["buffersize", "buffer-size"],
    value: "bytes",
    help: "read from the local disk in such pieces",
  },
];

function copyOf(session: Session, given: ParsedArguments, isRecursive: boolean): TreeCopy {
  const threads = countOf(given.value("thread") ?? String(THREADS), "--thread");
  if (threads < 1 || threads > THREADS_MAX)
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `--thread is ${threads}`,
      `Give 1 to ${THREADS_MAX}`,
    );
  const buffer = given.value("buffersize");
  const bufferBytes = buffer === undefined ? null : Math.max(1, countOf(buffer, "--buffersize"));
  const isPreserving = given.has("p");
  const options = { isRecursive, isPreserving, threads, bufferBytes };
  return new TreeCopy(session.console, new Progress(session.console), options);
}

function localPlace(session: Session, argument: string): Place {
  const { scheme, path } = parseUri(argument);
  if (scheme !== "" && scheme !== "file")
    throw new RockpoolError("INVALID_ARGUMENT", `"${argument}" is not a local path`);
  return { kind: "local", path: resolve(session.console.cwd, decode(scheme, path)) };
}

/** A bare word is a name as it is; only URIs carry escapes, and Alluxio's tools do not use them. */
function decode(scheme: string, path: string): string {
  return scheme === "file" && /%[0-9A-Fa-f]{2}/.test(path) ? decodeURIComponent(path) : path;
}

async function clusterPlace(session: Session, argument: string): Promise<Place> {
  const { files, path } = await session.open(argument);
  return { kind: "cluster", files, path };
}

/** `cp` takes `file://…` for local paths. */
async function places(session: Session, argument: string): Promise<readonly Place[]> {
  if (parseUri(argument).scheme === "file") return [localPlace(session, argument)];
  return clusterPlaces(session, argument);
}

async function clusterPlaces(session: Session, argument: string): Promise<readonly Place[]> {
  const targets = await expand(session, argument);
  return targets.map(({ files, path }) => ({ kind: "cluster", files, path }));
}

/** Several sources need a directory to go to. */
async function copyAll(
  { console }: Session,
  copy: TreeCopy,
  sources: readonly Place[],
  to: Place,
): Promise<number> {
  const isMany = sources.length > 1;
  if (isMany && (await entryOf(to, console.signal))?.isDirectory === false) throw alreadyExists(to);
  await forEachOf(sources, (from) => copy.copy(from, to));
  return EXIT_OK;
}

const cp: Command = {
  usage: "[-R/-r/--recursive] [-p] [--thread <num>] [--buffersize <bytes>] <src> <dst>",
  summary:
    "Copies a file or a directory in the Alluxio filesystem or between local filesystem and Alluxio filesystem.",
  makesFiles: true,
  flags: [
    RECURSIVE,
    ...COPY_FLAGS,
    { names: ["p", "preserve"], help: "keep owner, group and mode" },
  ],
  argumentsMin: 2,
  argumentsMax: 2,
  async run(session, given) {
    const [from = "", to = ""] = given.positional;
    const isLocal = (argument: string) => parseUri(argument).scheme === "file";
    if (isLocal(from) && isLocal(to))
      throw new RockpoolError("INVALID_ARGUMENT", "Both paths are local", "Use the system's cp");
    const target = isLocal(to) ? localPlace(session, to) : await clusterPlace(session, to);
    const copy = copyOf(session, given, given.has("R"));
    return copyAll(session, copy, await places(session, from), target);
  },
};

const copyFromLocal: Command = {
  usage: "[--thread <num>] [--buffersize <bytes>] <src> <remoteDst>",
  summary:
    "Copies a file or a directory from local filesystem to Alluxio filesystem in parallel at file level.",
  makesFiles: true,
  flags: COPY_FLAGS,
  argumentsMin: 2,
  argumentsMax: 2,
  async run(session, given) {
    const [from = "", to = ""] = given.positional;
    const copy = copyOf(session, given, true);
    const target = await clusterPlace(session, to);
    return copyAll(session, copy, [localPlace(session, from)], target);
  },
};

const copyToLocal: Command = {
  usage: "[--buffersize <bytes>]  <src> <localDst>",
  summary: "Copies a file or a directory from the Alluxio filesystem to the local filesystem.",
  makesFiles: true,
  flags: COPY_FLAGS,
  argumentsMin: 2,
  argumentsMax: 2,
  async run(session, given) {
    const [from = "", to = ""] = given.positional;
    const copy = copyOf(session, given, true);
    const sources = await clusterPlaces(session, from);
    return copyAll(session, copy, sources, localPlace(session, to));
  },
};

export const COMMANDS: CommandTable = {
  cat,
  head: piece(false),
  tail: piece(true),
  checksum,
  cp,
  copyFromLocal,
  copyToLocal,
};
