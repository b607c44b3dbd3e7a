/**
 * The lines that `ls`, `du`, `count` and `stat` print. Pure. Tools parse these: columns and words
 * are those of Alluxio 2.9.4.
 * @module
 */

import type { FileBlock, FileStatus } from "../client/file_status.ts";
import type { WorkerNetAddress } from "../common/file_facts.ts";
import { formatSize } from "../common/units.ts";

/** A time as `alluxio.user.date.format.pattern` has it by default: MM-dd-yyyy HH:mm:ss:SSS, local time. */
export function formatTime(timeMs: number): string {
  const at = new Date(timeMs);
  const two = (value: number) => String(value).padStart(2, "0");
  const date = `${two(at.getMonth() + 1)}-${two(at.getDate())}-${at.getFullYear()}`;
  const clock = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return `${date} ${clock}:${String(at.getMilliseconds()).padStart(3, "0")}`;
}

/** "rw-": the lowest three bits. */
function threeLetters(bits: number): string {
  return `${bits & 4 ? "r" : "-"}${bits & 2 ? "w" : "-"}${bits & 1 ? "x" : "-"}`;
}

/** "-rw-r--r--", with "d" for a directory, "t" for the sticky bit, "+" when more than the mode applies. */
export function formatPermissions(status: FileStatus): string {
  const bits = [6, 3, 0].map((shift) => threeLetters(status.mode >> shift));
  const plus = status.hasExtendedAcl ? "+" : "";
  return `${status.isDirectory ? "d" : "-"}${bits.join("")}${plus}`;
}

export type LsTimestamp = "created" | "modified" | "accessed";
export type LsSort =
  | "name"
  | "path"
  | "size"
  | "creationTime"
  | "lastModificationTime"
  | "lastAccessTime"
  | "inMemoryPercentage";

const TIMESTAMPS: Readonly<Record<string, LsTimestamp>> = {
  createdTime: "created",
  creationTime: "created",
  lastModifiedTime: "modified",
  lastModificationTime: "modified",
  lastAccessTime: "accessed",
  lastAccessedTime: "accessed",
};

const SORTS: readonly LsSort[] = [
  "name",
  "path",
  "size",
  "creationTime",
  "lastModificationTime",
  "lastAccessTime",
  "inMemoryPercentage",
];

/** Null when the text names no time of a file. */
export function parseTimestamp(text: string): LsTimestamp | null {
  return TIMESTAMPS[text] ?? null;
}

/** Null when the text names no order. */
export function parseSort(text: string): LsSort | null {
  const wanted = text.toLowerCase();
  return SORTS.find((sort) => sort.toLowerCase() === wanted) ?? null;
}

function timeOf(status: FileStatus, timestamp: LsTimestamp): number {
  switch (timestamp) {
    case "created":
      return status.createdMs;
    case "modified":
      return status.modifiedMs;
    case "accessed":
      return status.accessedMs;
  }
}

/** One line of `ls`, without its line end. */
export function lsLine(
  status: FileStatus,
  options: { readonly isHumanReadable: boolean; readonly timestamp: LsTimestamp },
): string {
  const size =
    options.isHumanReadable && !status.isDirectory
      ? formatSize(status.lengthBytes)
      : String(status.lengthBytes);
  const inAlluxio = status.isDirectory ? "DIR" : `${status.inAlluxioPercentage}%`;
  return (
    formatPermissions(status).padEnd(12) +
    status.owner.padEnd(15) +
    status.group.padEnd(15) +
    size.padStart(15) +
    status.persistence.padStart(16) +
    formatTime(timeOf(status, options.timestamp)).padStart(24) +
    inAlluxio.padStart(5) +
    ` ${status.path.padEnd(5)}`
  );
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Orders a listing; equal keys stay in order of their paths. */
export function sortListing(
  statuses: readonly FileStatus[],
  sort: LsSort,
  isReversed: boolean,
): FileStatus[] {
  const key: Readonly<Record<LsSort, (a: FileStatus, b: FileStatus) => number>> = {
    name: (a, b) => compareText(a.name, b.name),
    path: (a, b) => compareText(a.path, b.path),
    size: (a, b) => a.lengthBytes - b.lengthBytes,
    creationTime: (a, b) => a.createdMs - b.createdMs,
    lastModificationTime: (a, b) => a.modifiedMs - b.modifiedMs,
    lastAccessTime: (a, b) => a.accessedMs - b.accessedMs,
    inMemoryPercentage: (a, b) => a.inMemoryPercentage - b.inMemoryPercentage,
  };
  const compare = key[sort];
  const sorted = [...statuses].sort((a, b) => compare(a, b) || compareText(a.path, b.path));
  return isReversed ? sorted.reverse() : sorted;
}

export type SizeUnit = "bytes" | "readable" | "gigabytes";

export function formatAmount(bytes: number, unit: SizeUnit): string {
  if (unit === "readable") return formatSize(bytes);
  if (unit === "gigabytes") return `${(bytes / 1024 ** 3).toFixed(2)}GB`;
  return String(bytes);
}

export function duHeader(withMemory: boolean): string {
  const memory = withMemory ? `${"In Memory".padEnd(16)} ` : "";
  return `${"File Size".padEnd(13)} ${"In Alluxio".padEnd(16)} ${memory}Path`;
}

export type Usage = {
  readonly path: string;
  readonly sizeBytes: number;
  readonly inAlluxioBytes: number;
  readonly inMemoryBytes: number;
};

export function duLine(usage: Usage, unit: SizeUnit, withMemory: boolean): string {
  const share = (part: number) => {
    const percent = usage.sizeBytes === 0 ? 0 : Math.floor((part * 100) / usage.sizeBytes);
    return `${formatAmount(part, unit)} (${percent}%)`.padEnd(16);
  };
  const memory = withMemory ? `${share(usage.inMemoryBytes)} ` : "";
  const size = formatAmount(usage.sizeBytes, unit).padEnd(13);
  return `${size} ${share(usage.inAlluxioBytes)} ${memory}${usage.path}`;
}

/** What a file takes, as its status tells it. */
export function usageOf(status: FileStatus): Usage {
  const part = (percent: number) => Math.floor((status.lengthBytes * percent) / 100);
  return {
    path: status.path,
    sizeBytes: status.lengthBytes,
    inAlluxioBytes: part(status.inAlluxioPercentage),
    inMemoryBytes: part(status.inMemoryPercentage),
  };
}

export const COUNT_HEADER = `${"File Count".padEnd(25)}${"Folder Count".padEnd(25)}${"Folder Size".padEnd(15)}`;

export function countLine(count: {
  readonly files: number;
  readonly folders: number;
  readonly size: string;
}): string {
  return `${String(count.files).padEnd(25)}${String(count.folders).padEnd(25)}${count.size.padEnd(15)}`;
}

function addressText(address: WorkerNetAddress): string {
  const tiers = address.tiers.map((tier) => `${tier.name}=${tier.value}`).join(", ");
  return (
    `WorkerNetAddress{host=${address.host}, containerHost=${address.containerHost}, ` +
    `rpcPort=${address.rpcPort}, dataPort=${address.dataPort}, webPort=${address.webPort}, ` +
    `domainSocketPath=${address.domainSocketPath}, tieredIdentity=TieredIdentity(${tiers})}`
  );
}

/** "BlockInfo{…}", as `stat` and `getBlockInfo` print a block. */
export function blockText(block: FileBlock): string {
  const locations = block.locations.map(
    (location) =>
      `BlockLocation{workerId=${location.workerId}, address=${addressText(location.address)}, ` +
      `tierAlias=${location.tierAlias}, mediumType=${location.mediumType}}`,
  );
  return `BlockInfo{id=${block.id}, length=${block.lengthBytes}, locations=[${locations.join(", ")}]}`;
}

/** "URIStatus{info=FileInfo{…}}". */
export function statusText(status: FileStatus): string {
  const blocks = status.blocks.map(
    (block) =>
      `FileBlockInfo{blockInfo=${blockText(block)}, offset=${block.offsetBytes}, ufsLocations=[]}`,
  );
  const fields: readonly [string, unknown][] = [
    ["fileId", status.id],
    ["name", status.name],
    ["path", status.path],
    ["ufsPath", status.ufsPath],
    ["length", status.lengthBytes],
    ["blockSizeBytes", status.blockSizeBytes],
    ["creationTimeMs", status.createdMs],
    ["completed", status.isCompleted],
    ["folder", status.isDirectory],
    ["pinned", status.isPinned],
    ["pinnedlocation", `[${status.pinnedMedia.join(", ")}]`],
    ["cacheable", status.isCacheable],
    ["persisted", status.isPersisted],
    ["blockIds", `[${status.blocks.map((block) => block.id).join(", ")}]`],
    ["inMemoryPercentage", status.inMemoryPercentage],
    ["lastModificationTimesMs", status.modifiedMs],
    ["ttl", status.ttlMs],
    ["lastAccessTimesMs", status.accessedMs],
    ["ttlAction", status.ttlAction],
    ["owner", status.owner],
    ["group", status.group],
    ["mode", status.mode],
    ["persistenceState", status.persistence],
    ["mountPoint", status.isMountPoint],
    ["replicationMax", status.replicationMax],
    ["replicationMin", status.replicationMin],
    ["fileBlockInfos", `[${blocks.join(", ")}]`],
    ["mountId", status.mountId],
    ["inAlluxioPercentage", status.inAlluxioPercentage],
    ["ufsFingerprint", status.ufsFingerprint],
    ["acl", aclText(status.mode)],
    ["defaultAcl", ""],
    ["xattr", `[${[...status.xattr.keys()].join(", ")}]`],
  ];
  const info = fields.map(([name, value]) => `${name}=${value}`).join(", ");
  return `URIStatus{info=FileInfo{${info}}, cacheContext=null}`;
}

/** The access list that a mode stands for. */
function aclText(mode: number): string {
  return ["user", "group", "other"]
    .map((who, at) => `${who}::${threeLetters(mode >> (6 - 3 * at))}`)
    .join(",");
}

/** Expands `stat -f`: %N name, %z size, %u owner, %g group, %i id, %y/%Y modification time, %b blocks. */
export function statFormat(format: string, status: FileStatus): string {
  return format.replace(/%([Nzugyib%Y])/g, (whole, letter: string) => {
    switch (letter) {
      case "N":
        return status.name;
      case "z":
        return status.isDirectory ? "NA" : String(status.lengthBytes);
      case "b":
        return status.isDirectory ? "NA" : String(status.blocks.length);
      case "u":
        return status.owner;
      case "g":
        return status.group;
      case "i":
        return String(status.id);
      case "y":
        return utcTime(status.modifiedMs);
      case "Y":
        return String(status.modifiedMs);
      case "%":
        return "%";
      default:
        return whole;
    }
  });
}

function utcTime(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(0, 19).replace("T", " ");
}
