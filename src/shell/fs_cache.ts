/**
 * `fs` commands about copies on workers and about the under store: free, freeWorker, checkConsistency, loadMetadata.
 * Texts are Alluxio 2.9.4's.
 * @module
 */
import { availableParallelism } from "node:os";
import type { FileSystem } from "../client/file_system.ts";
import { messageOf, RockpoolError } from "../common/errors.ts";
import type { ParsedArguments } from "./arguments.ts";
import { UsageError } from "./arguments.ts";
import { type Command, type CommandTable, countOf, forEachOf, notSupported } from "./command.ts";
import { EXIT_FAILED, EXIT_OK, say } from "./console.ts";
import { expand, expandAll, type Target } from "./paths.ts";
import type { Session } from "./session.ts";

const FORCED = { names: ["f", "force"], help: "pinned files too: they are unpinned" } as const;

async function freeAll(
  session: Session,
  given: ParsedArguments,
  paths: readonly string[],
): Promise<number> {
  const { signal } = session.console;
  await forEachOf(await expandAll(session, paths), async ({ files, path }) => {
    await files.free(path, { isForced: given.has("f"), signal });
    await say(session.console, `${path} was successfully freed from Alluxio space.`);
  });
  return EXIT_OK;
}

const free: Command = {
  usage: "[-f] <path>",
  summary:
    "Frees the space occupied by a file or a directory in Alluxio. Specify -f to force freeing pinned files in the directory.",
  flags: [FORCED],
  argumentsMin: 1,
  argumentsMax: Number.POSITIVE_INFINITY,
  run: (session, given) => freeAll(session, given, given.positional),
};

async function freeOneWorker(session: Session, host: string): Promise<number> {
  const { console } = session;
  const files = await session.files();
  const found = (await files.workers({ signal: console.signal })).filter(({ address }) =>
    [address.host, `${address.host}:${address.rpcPort}`].includes(host),
  );
  if (found.length === 0) {
    await say(console, `Worker ${host} is not found in Alluxio.`);
    return EXIT_FAILED;
  }
  for (const { address } of found) await files.admin.freeWorker(address);
  await say(console, "Target worker has been freed successfully.");
  return EXIT_OK;
}

const freeWorker: Command = {
  usage: "<worker host name>",
  summary: "Synchronously free all blocks and directories of specific worker in Alluxio.",
  flags: [],
  argumentsMin: 1,
  argumentsMax: 1,
  run: (session, given) => freeOneWorker(session, given.positional[0] ?? ""),
};

/** `cache free`, as 3.x has it. */
const cacheFree: Command = {
  usage: "--path <path> | --worker <worker host name> [-f]",
  summary: "Frees the copies of a path, or all that a worker keeps.",
  flags: [
    { names: ["path"], value: "path", help: "the file or directory" },
    { names: ["worker"], value: "host", help: "the worker" },
    FORCED,
  ],
  argumentsMin: 0,
  argumentsMax: 0,
  async run(session, given) {
    const [path, worker] = [given.value("path"), given.value("worker")];
    if ((path === undefined) === (worker === undefined))
      throw new UsageError("Command free takes one of --path and --worker");
    if (path !== undefined) return freeAll(session, given, [path]);
    return freeOneWorker(session, worker ?? "");
  },
};

function threadsOf(given: ParsedArguments): number {
  const text = given.value("t");
  if (text === undefined) return 2 * availableParallelism();
  if (!/^[1-9]\d{0,4}$/.test(text))
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `The threads option must be a positive integer but was "${text}"`,
    );
  return countOf(text, "--threads");
}

/** Forgets a path, and asks the under store for it. What workers alone have is not given up. */
async function repairOne(files: FileSystem, path: string): Promise<void> {
  const status = await files.getStatus(path);
  if (!status.isPersisted)
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `${path} is ${status.persistence}, and something else is in the under store`,
      "Nothing was changed: rename one of them",
    );
  if (status.isDirectory && status.lengthBytes > 0)
    for await (const child of files.listStatus(path, { isRecursive: true, loadMetadata: "NEVER" }))
      if (!child.isDirectory && !child.isPersisted)
        throw new RockpoolError(
          "FAILED_PRECONDITION",
          `${child.path} is ${child.persistence}, and its directory is gone from the under store`,
          "Nothing was changed: persist it, or remove it",
        );
  await files.delete(path, { isRecursive: true, isAlluxioOnly: true, isUnchecked: true });
  await files.exists(path);
}

/** Those of which no other one is above: with a directory goes all that is in it. */
function topmost(paths: readonly string[]): string[] {
  const found: string[] = [];
  for (const path of [...paths].sort()) {
    const last = found.at(-1);
    if (last === undefined || !path.startsWith(last === "/" ? "/" : `${last}/`)) found.push(path);
  }
  return found;
}

async function repairAll(
  session: Session,
  files: FileSystem,
  paths: readonly string[],
  threads: number,
): Promise<void> {
  const { console } = session;
  const waiting = topmost(paths);
  const failures: string[] = [];
  const work = async () => {
    for (let path = waiting.shift(); path !== undefined; path = waiting.shift())
      try {
        await say(console, `repairing path: ${path}`);
        await repairOne(files, path);
        await say(console, `${path} repaired`);
      } catch (error) {
        failures.push(`${path}: ${messageOf(error)}`);
      }
  };
  await Promise.all(Array.from({ length: Math.min(threads, waiting.length) }, work));
  await say(console, "");
  if (failures.length > 0)
    throw new RockpoolError(
      "ABORTED",
      `Failed to successfully repair all paths\n${failures.join("\n")}`,
    );
}

const checkConsistency: Command = {
  usage: "[-r] [-t|--threads <threads>] <Alluxio path>",
  summary:
    "Checks the consistency of a persisted file or directory in Alluxio. Any files or directories which only exist in Alluxio or do not match the metadata of files in the under storage will be returned. Specify -r to repair the inconsistent files.",
  flags: [
    { names: ["r", "repair"], help: "repair inconsistent files" },
    { names: ["t", "threads"], value: "threads", help: "how many are repaired at a time" },
  ],
  argumentsMin: 1,
  argumentsMax: 1,
  async run(session, given) {
    const { console } = session;
    const threads = threadsOf(given);
    await forEachOf(await expand(session, given.positional[0] ?? ""), async ({ files, path }) => {
      const found = await files.checkConsistency(path, { signal: console.signal });
      if (found.length === 0)
        return say(console, `${path} is consistent with the under storage system.`);
      if (!given.has("r")) {
        await say(console, "The following files are inconsistent:");
        for (const one of found) await say(console, one);
        return;
      }
      await say(
        console,
        `${path} has: ${found.length} inconsistent files. Repairing with ${threads} threads.`,
      );
      await repairAll(session, files, found, threads);
    });
    return EXIT_OK;
  },
};

async function loadOne(session: Session, { files, path }: Target, isRecursive: boolean) {
  const { signal } = session.console;
  const listing = files.listStatus(path, { isRecursive, loadMetadata: "ONCE", signal });
  // Being listed is what loads it.
  for await (const _ of listing);
}

const loadMetadata: Command = {
  usage: "[-R] <path>",
  summary: "Loads metadata for the given Alluxio path from the under file system.",
  flags: [
    { names: ["R", "recursive"], help: "load metadata subdirectories recursively" },
    { names: ["F", "force"], help: "not supported: what is known is not loaded anew" },
    { names: ["v2"], help: "not supported" },
    { names: ["a", "async"], help: "not supported" },
    { names: ["o", "operation", "option"], value: "operation", help: "not supported" },
    { names: ["d"], value: "type", help: "not supported" },
    { names: ["p", "polling"], value: "ms", help: "not supported" },
    { names: ["id"], value: "id", help: "not supported" },
  ],
  argumentsMin: 1,
  argumentsMax: 1,
  async run(session, given) {
    for (const flag of ["F", "v2", "a", "o", "d", "p", "id"])
      if (given.has(flag)) throw notSupported(`loadMetadata -${flag}`);
    const startedMs = performance.now();
    const targets = await expand(session, given.positional[0] ?? "");
    await forEachOf(targets, (target) => loadOne(session, target, given.has("R")));
    const tookMs = Math.round(performance.now() - startedMs);
    await say(session.console, `Time elapsed ${tookMs}`);
    return EXIT_OK;
  },
};

export const COMMANDS: CommandTable = { free, freeWorker, checkConsistency, loadMetadata };
export const CACHE_COMMANDS: CommandTable = { free: cacheFree };
