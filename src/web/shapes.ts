/**
 * The shapes of Alluxio's REST answers, by their field names: texts where Alluxio has texts, plus numbers of ours beside them for
 * programs that want to compute.
 * @module
 */
import { formatSize } from "../common/units.ts";
import type { BlockEntry, FileEntry, TierStatus } from "./api_types.ts";

const two = (value: number) => String(value).padStart(2, "0");

/** As Alluxio's default pattern, MM-dd-yyyy HH:mm:ss:SSS in the time zone of the process. */
export function dateText(ms: number): string {
  const date = new Date(ms);
  const day = `${two(date.getMonth() + 1)}-${two(date.getDate())}-${date.getFullYear()}`;
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  return `${day} ${time}:${String(date.getMilliseconds()).padStart(3, "0")}`;
}

export function durationText(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const days = Math.floor(seconds / 86_400);
  const hours = Math.floor(seconds / 3600) % 24;
  const minutes = Math.floor(seconds / 60) % 60;
  return `${days} day(s), ${hours} hour(s), ${minutes} minute(s), and ${seconds % 60} second(s)`;
}

export function percentOf(part: number, whole: number): number {
  return whole > 0 ? Math.floor((100 * part) / whole) : 0;
}

export function sumOf(tiers: readonly TierStatus[], field: "capacityBytes" | "usedBytes"): number {
  return tiers.reduce((total, tier) => total + tier[field], 0);
}

/** Tiers of several workers together, in the order in which they come first. */
export function joinTiers(tiers: readonly TierStatus[]): readonly TierStatus[] {
  const byAlias = new Map<string, TierStatus>();
  for (const { alias, capacityBytes, usedBytes } of tiers) {
    const known = byAlias.get(alias) ?? { alias, capacityBytes: 0, usedBytes: 0 };
    byAlias.set(alias, {
      alias,
      capacityBytes: known.capacityBytes + capacityBytes,
      usedBytes: known.usedBytes + usedBytes,
    });
  }
  return [...byAlias.values()];
}

export function modeText({ mode, isDirectory }: Pick<FileEntry, "mode" | "isDirectory">): string {
  const bits = [6, 3, 0].map((shift) => {
    const three = (mode >> shift) & 7;
    return `${three & 4 ? "r" : "-"}${three & 2 ? "w" : "-"}${three & 1 ? "x" : "-"}`;
  });
  return `${isDirectory ? "d" : "-"}${bits.join("")}`;
}

/** Alluxio's UIFileInfo. */
export function fileShape(file: FileEntry): Readonly<Record<string, unknown>> {
  const { isDirectory, lengthBytes, blocks, path } = file;
  const tiers = [...new Set(blocks.flatMap(({ places }) => places.map(({ tier }) => tier)))];
  const onTier = (tier: string) =>
    blocks.filter(({ places }) => places.some((place) => place.tier === tier));
  const onTierBytes = (tier: string) =>
    onTier(tier).reduce((sum, block) => sum + block.lengthBytes, 0);
  return {
    id: BigInt(file.id),
    name: path === "/" ? "root" : file.name,
    absolutePath: path,
    blockSizeBytes: isDirectory ? "" : formatSize(file.blockSizeBytes),
    size: isDirectory ? "" : formatSize(lengthBytes),
    creationTime: file.createdMs === 0 ? "" : dateText(file.createdMs),
    modificationTime: dateText(file.modifiedMs),
    inAlluxio: file.inAlluxioPercentage === 100,
    inAlluxioPercentage: file.inAlluxioPercentage,
    isDirectory,
    pinned: file.isPinned,
    owner: file.owner,
    group: file.group,
    mode: modeText(file),
    persistenceState: file.persistence,
    // Of the first block, as there.
    fileLocations: [...new Set((blocks[0]?.places ?? []).map(({ data }) => data))],
    blocksOnTier: Object.fromEntries(
      tiers.map((tier) => [tier, onTier(tier).map((block) => blockShape(block))]),
    ),
    onTierPercentages: Object.fromEntries(
      tiers.map((tier) => [tier, percentOf(onTierBytes(tier), lengthBytes)]),
    ),
    // Ours.
    lengthBytes,
    createdMs: file.createdMs,
    modifiedMs: file.modifiedMs,
    isCompleted: file.isCompleted,
    isMountPoint: file.isMountPoint,
    ufsPath: file.ufsPath,
  };
}

/** Alluxio's UIFileBlockInfo. */
export function blockShape({ id, lengthBytes, places }: BlockEntry) {
  return {
    id: BigInt(id),
    blockLength: lengthBytes,
    lastAccessTimeMs: -1,
    locations: [...new Set(places.map(({ host }) => host))],
    isInHighestTier: places.some(({ tier }) => tier === "MEM"),
    // Ours.
    places,
  };
}

/** A log file as a UIFileInfo. */
export function logShape(log: {
  readonly name: string;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
}) {
  const { name, sizeBytes, modifiedMs } = log;
  return {
    id: -1,
    name,
    absolutePath: name,
    blockSizeBytes: "0B",
    size: formatSize(sizeBytes),
    creationTime: "",
    modificationTime: dateText(modifiedMs),
    inAlluxio: false,
    inAlluxioPercentage: 0,
    isDirectory: false,
    pinned: false,
    owner: "",
    group: "",
    mode: "d---------",
    persistenceState: "NOT_PERSISTED",
    fileLocations: [],
    blocksOnTier: {},
    onTierPercentages: {},
    // Ours.
    lengthBytes: sizeBytes,
    modifiedMs,
  };
}

/** Alluxio's StorageTierInfo. */
export function tierShape({ alias, capacityBytes, usedBytes }: TierStatus) {
  const usedSpacePercent = percentOf(usedBytes, capacityBytes);
  return {
    storageTierAlias: alias,
    capacity: formatSize(capacityBytes),
    usedCapacity: formatSize(usedBytes),
    freeCapacity: formatSize(capacityBytes - usedBytes),
    usedSpacePercent,
    freeSpacePercent: 100 - usedSpacePercent,
  };
}
