/**
 * `fs` commands that only look: ls, stat, test, du, count, location, leader, …
 * @module
 */

import type { FileStatus, MountPoint } from "../client/file_status.ts";
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import { formatSize } from "../common/units.ts";
import type { ParsedArguments } from "./arguments.ts";
import { UsageError } from "./arguments.ts";
import { type Command, type CommandTable, forEachOf, notSupported } from "./command.ts";
import { EXIT_OK, say } from "./console.ts";
import {
  blockText,
  COUNT_HEADER,
  countLine,
  duHeader,
  duLine,
  lsLine,
  parseSort,
  parseTimestamp,
  type SizeUnit,
  sortListing,
  statFormat,
  statusText,
  type Usage,
  usageOf,
} from "./listing.ts";
import { FORMAT, print } from "./output.ts";
import { expand, expandAll, fileStatusOf, statusOf, type Target } from "./paths.ts";
import type { Session } from "./session.ts";

/** Lines are handed over in pieces of about this size, not one write a line. */
const OUTPUT_BYTES = 64 * 1024;

class Lines {
  readonly #session: Session;
  #held: string[] = [];
  #size = 0;

  constructor(session: Session) {
    this.#session = session;
  }

  async add(line: string): Promise<void> {
    this.#held.push(line, "\n");
    this.#size += line.length + 1;
    if (this.#size >= OUTPUT_BYTES) await this.flush();
  }

  async flush(): Promise<void> {
    const text = this.#held.join("");
    this.#held = [];
    this.#size = 0;
    if (text !== "") await this.#session.console.out(text);
  }
}

async function listOne(session: Session, target: Target, given: ParsedArguments): Promise<void> {
  const timestampText = given.value("timestamp") ?? "lastModificationTime";
  const timestamp = parseTimestamp(timestampText);
  if (timestamp === null)
    throw new RockpoolError("INVALID_ARGUMENT", `Unrecognized timestamp option: ${timestampText}`);
  const sortText = given.value("sort");
  const sort = parseSort(sortText ?? "path");
  if (sort === null)
    throw new RockpoolError("INVALID_ARGUMENT", `Unrecognized sort option: ${sortText}`);
  const options = { isHumanReadable: given.has("h"), timestamp };
  const isShown = (status: FileStatus) => !given.has("p") || status.isPinned;
  const status = await statusOf(target);
  if (given.has("d") || !status.isDirectory) return say(session.console, lsLine(status, options));
  const listing = target.files.listStatus(target.path, {
    isRecursive: given.has("R"),
    loadMetadata: given.has("f") ? "ALWAYS" : "ONCE",
    signal: session.console.signal,
  });
  const lines = new Lines(session);
  // In the masters' order a listing streams; only another order needs all of it in memory.
  if (sortText === undefined && !given.has("r") && !given.has("R")) {
    for await (const child of listing) if (isShown(child)) await lines.add(lsLine(child, options));
  } else {
    const children: FileStatus[] = [];
    for await (const child of listing) if (isShown(child)) children.push(child);
    for (const child of sortListing(children, sort, given.has("r")))
      await lines.add(lsLine(child, options));
  }
  await lines.flush();
}

const ls: Command = {
  usage:
    "[-d|-f|-p|-R/--recursive|-h|--sort=option|--timestamp=option|-r|-m/--omit-mount-info] <path> ...",
  summary: "Displays information for all files and directories directly under the specified paths.",
  flags: [
    { names: ["d", "list-dir-as-file"], help: "the directory itself, not what is in it" },
    { names: ["f", "load-metadata"], help: "ask the under store again first" },
    { names: ["h", "human-readable"], help: "sizes such as 64.00MB" },
    { names: ["p", "pinned-files"], help: "pinned ones alone" },
    { names: ["R", "recursive"], help: "everything below too" },
    { names: ["r", "reverse"], help: "the other way round" },
    { names: ["m", "omit-mount-info"], help: "do not ask for the sizes of mounts" },
    {
      names: ["sort"],
      value: "size|creationTime|inMemoryPercentage|lastModificationTime|lastAccessTime|name|path",
      help: "the order",
    },
    {
      names: ["timestamp"],
      value: "createdTime|lastModificationTime|lastAccessTime",
      help: "the time that is shown",
    },
  ],
  argumentsMin: 1,
  argumentsMax: Number.POSITIVE_INFINITY,
  async run(session, given) {
    const targets = await expandAll(session, given.positional);
    await forEachOf(targets, (target) => listOne(session, target, given));
    return EXIT_OK;
  },
};

async function showStatus(session: Session, status: FileStatus, format: string | undefined) {
  const { console } = session;
  if (format !== undefined) return say(console, statFormat(format, status));
  await say(console, `${status.path} is a ${status.isDirectory ? "directory" : "file"} path.`);
  await say(console, statusText(status));
  if (status.isDirectory) return;
  if (status.blocks.length === 0) return say(console, "This file does not contain any blocks.");
  await say(console, "Containing the following blocks: ");
  for (const block of status.blocks) await say(console, blockText(block));
}

const stat: Command = {
  usage: "[-f <format>] <path> or stat [-f <format>] --file-id <file-id>",
  summary: "Displays info for the specified path both file and directory.",
  flags: [
    {
      names: ["f", "format"],
      value: "format",
      help: "%N name %z size %u %g owner group %i id %y %Y time %b blocks",
    },
    { names: ["file-id"], help: "the argument is a file's id" },
  ],
  argumentsMin: 1,
  argumentsMax: 1,
  async run(session, given) {
    const [argument = ""] = given.positional;
    const format = given.value("f");
    if (given.has("file-id")) {
      const files = await session.files();
      if (!/^\d+$/.test(argument))
        throw new RockpoolError("INVALID_ARGUMENT", `${argument} is not a file id`);
      const path = await files.pathOf(BigInt(argument));
      await showStatus(session, await statusOf({ files, path }), format);
      return EXIT_OK;
    }
    const targets = await expand(session, argument);
    await forEachOf(targets, async (target) => showStatus(session, await statusOf(target), format));
    return EXIT_OK;
  },
};

/** Exit codes of `test`: true, false, no such path. */
const TEST_TRUE = 0;
const TEST_FALSE = 1;
const TEST_MISSING = 3;

const test: Command = {
  usage: "[-d|-f|-e|-s|-z] <path>",
  summary: "Tests a property of a path, returning 0 if the property is true, or 1 otherwise.",
  flags: [
    { names: ["d", "dir"], help: "it is a directory" },
    { names: ["f", "file"], help: "it is a file" },
    { names: ["e", "exists"], help: "it exists" },
    { names: ["s", "not-empty"], help: "it is a directory with entries" },
    { names: ["z", "zero"], help: "it is a file of length 0" },
  ],
  argumentsMin: 1,
  argumentsMax: 1,
  async run(session, given) {
    if (!["d", "f", "e", "s", "z"].some((flag) => given.has(flag)))
      throw new UsageError("Command test takes one of -d, -f, -e, -s and -z");
    let status: FileStatus;
    try {
      const [target] = await expand(session, given.positional[0] ?? "");
      if (target === undefined) return TEST_MISSING;
      status = await target.files.getStatus(target.path);
    } catch (error) {
      if (!isRockpoolError(error, "NOT_FOUND")) throw error;
      return TEST_MISSING;
    }
    const isTrue =
      given.has("e") ||
      (given.has("d") && status.isDirectory) ||
      (given.has("f") && !status.isDirectory) ||
      (given.has("s") && status.isDirectory && status.lengthBytes > 0) ||
      (given.has("z") && !status.isDirectory && status.lengthBytes === 0);
    return isTrue ? TEST_TRUE : TEST_FALSE;
  },
};

function unitOf(given: ParsedArguments): SizeUnit {
  return given.has("h") ? "readable" : given.has("g") ? "gigabytes" : "bytes";
}

/** Every file at or below a path. */
async function* filesBelow(session: Session, target: Target): AsyncGenerator<FileStatus> {
  const { signal } = session.console;
  await statusOf(target);
  for await (const status of target.files.listStatus(target.path, { isRecursive: true, signal }))
    if (!status.isDirectory) yield status;
}

const du: Command = {
  usage: "[-h|-s|-g|-m] <path>",
  summary: "Displays the total size of the specified file or directory.",
  flags: [
    { names: ["g"], help: "sizes in GB" },
    { names: ["h", "human-readable"], help: "sizes such as 64.00MB" },
    { names: ["m", "memory"], help: "what is in memory too" },
    { names: ["s", "summarize"], help: "one line for all" },
  ],
  argumentsMin: 1,
  argumentsMax: 1,
  async run(session, given) {
    const unit = unitOf(given);
    const withMemory = given.has("m");
    const targets = await expand(session, given.positional[0] ?? "");
    const lines = new Lines(session);
    await lines.add(duHeader(withMemory));
    await forEachOf(targets, async (target) => {
      let total: Usage = { path: target.path, sizeBytes: 0, inAlluxioBytes: 0, inMemoryBytes: 0 };
      for await (const status of filesBelow(session, target)) {
        const usage = usageOf(status);
        if (!given.has("s")) await lines.add(duLine(usage, unit, withMemory));
        total = {
          path: target.path,
          sizeBytes: total.sizeBytes + usage.sizeBytes,
          inAlluxioBytes: total.inAlluxioBytes + usage.inAlluxioBytes,
          inMemoryBytes: total.inMemoryBytes + usage.inMemoryBytes,
        };
      }
      if (given.has("s")) await lines.add(duLine(total, unit, withMemory));
    });
    await lines.flush();
    return EXIT_OK;
  },
};

const count: Command = {
  usage: "[-h] <path>",
  summary: "Displays the number of files and directories matching the specified prefix.",
  flags: [{ names: ["h", "human-readable"], help: "sizes such as 64.00MB" }],
  argumentsMin: 1,
  argumentsMax: 1,
  async run(session, given) {
    const { signal } = session.console;
    let files = 0;
    let folders = 0;
    let sizeBytes = 0;
    for (const target of await expand(session, given.positional[0] ?? "")) {
      const status = await statusOf(target);
      if (!status.isDirectory) {
        files += 1;
        sizeBytes += status.lengthBytes;
        continue;
      }
      const below = target.files.listStatus(target.path, { isRecursive: true, signal });
      for await (const child of below) {
        if (child.isDirectory) folders += 1;
        else {
          files += 1;
          sizeBytes += child.lengthBytes;
        }
      }
    }
    await say(session.console, COUNT_HEADER);
    const size = given.has("h") ? formatSize(sizeBytes) : String(sizeBytes);
    await say(session.console, countLine({ files, folders, size }));
    return EXIT_OK;
  },
};

const location: Command = {
  usage: "<path>",
  summary: "Displays the list of hosts storing the specified file.",
  flags: [],
  argumentsMin: 1,
  argumentsMax: 1,
  async run(session, given) {
    const targets = await expand(session, given.positional[0] ?? "");
    await forEachOf(targets, async (target) => {
      const status = await fileStatusOf(target);
      await say(session.console, `${status.path} with file id ${status.id} is on nodes: `);
      const hosts = status.blocks.flatMap((block) =>
        block.locations.map((one) => one.address.host),
      );
      for (const host of new Set(hosts)) await say(session.console, host);
    });
    return EXIT_OK;
  },
};

/** "host:port" as Java prints an address that it has not looked up. */
function unresolved(address: string): string {
  return address.replace(/:(\d+)$/, "/<unresolved>:$1");
}

/** Of the one that answers. @throws RockpoolError UNAVAILABLE when none does */
async function leaderAddress(session: Session): Promise<string> {
  const files = await session.files();
  await files.exists("/", { signal: session.console.signal });
  return files.leaderAddress() ?? "";
}

export const masterInfo: Command = {
  usage: "",
  summary:
    "Prints information regarding master fault tolerance such as leader address and list of master addresses.",
  flags: [],
  argumentsMin: 0,
  argumentsMax: 0,
  async run(session) {
    const leader = await leaderAddress(session);
    await say(session.console, `Current leader master: ${unresolved(leader)}`);
    const all = (await session.masters()).map(unresolved).join(", ");
    await say(session.console, `All masters: [${all}]`);
    return EXIT_OK;
  },
};

const leader: Command = {
  usage: "",
  summary: "Prints the current leader master host name.",
  flags: [],
  argumentsMin: 0,
  argumentsMax: 0,
  async run(session) {
    const address = await leaderAddress(session);
    const { console } = session;
    await say(console, "This command will be deprecated as of v3.0, please use masterInfo command");
    await say(console, address.replace(/:\d+$/, ""));
    return EXIT_OK;
  },
};

/** Sums over the live workers. */
function capacity(label: string, amount: "capacityBytes" | "usedBytes"): Command {
  return {
    usage: "",
    summary: `Gets the ${amount === "usedBytes" ? "number of bytes used" : "capacity"} of the Alluxio file system.`,
    flags: [],
    argumentsMin: 0,
    argumentsMax: 0,
    async run(session) {
      const workers = await (await session.files()).workers();
      const total = workers.reduce((sum, worker) => sum + worker[amount], 0);
      await say(session.console, `${label}: ${total}`);
      return EXIT_OK;
    },
  };
}

/** A line of `fs mount` without arguments, and of `report ufs`. */
export function mountLine(mount: MountPoint): string {
  const known = mount.ufsCapacityBytes >= 0;
  const percent = Math.floor((mount.ufsUsedBytes * 100) / Math.max(1, mount.ufsCapacityBytes));
  const used = mount.ufsUsedBytes < 0 ? "-1" : `${formatSize(mount.ufsUsedBytes)}`;
  const parts = [
    mount.ufsType,
    `capacity=${known ? formatSize(mount.ufsCapacityBytes) : "-1B"}`,
    `used=${used}${known && mount.ufsUsedBytes >= 0 ? `(${percent}%)` : "B"}`,
    mount.isReadOnly ? "read-only" : "not read-only",
    mount.isShared ? "shared" : "not shared",
    `properties={${[...mount.properties].map(([key, value]) => `${key}=${value}`).join(", ")}}`,
  ];
  return `${mount.ufsUri}  on  ${mount.path}  (${parts.join(", ")})`;
}

/** The same for programs. */
export function mountJson(mount: MountPoint) {
  const { mountId, properties, ...facts } = mount;
  return { ...facts, mountId: String(mountId), properties: Object.fromEntries(properties) };
}

const mount: Command = {
  usage: "[--format text|json|yaml]",
  summary: "Displays the under storages and where they are mounted.",
  flags: [
    FORMAT,
    { names: ["readonly"], help: "not supported" },
    { names: ["shared"], help: "not supported" },
    { names: ["option"], value: "key=value", help: "not supported" },
  ],
  argumentsMin: 0,
  argumentsMax: Number.POSITIVE_INFINITY,
  async run(session, given) {
    if (given.positional.length > 0) throw notSupported("mount with arguments");
    const mounts = await (await session.files()).getMountTable();
    await print(
      session,
      given,
      () => mounts.map(mountLine),
      () => mounts.map(mountJson),
    );
    return EXIT_OK;
  },
};

export const COMMANDS: CommandTable = {
  ls,
  stat,
  test,
  du,
  count,
  location,
  masterInfo,
  leader,
  mount,
  getCapacityBytes: capacity("Capacity Bytes", "capacityBytes"),
  getUsedBytes: capacity("Used Bytes", "usedBytes"),
};
