/**
 * Rot: bits of written sectors flip, on the disk and in the page cache.
 * @module
 */
import { dataOffsetOf } from "../../src/journal/segment_file.ts";
import { type Disk, type DiskFile, SECTOR_BYTES } from "./disk.ts";
import type { SimRandom } from "./random.ts";

function writtenSectors(file: DiskFile): number[] {
  const found: number[] = [];
  for (let at = 0; at < file.durable.length; at += SECTOR_BYTES)
    if (file.durable.subarray(at, at + SECTOR_BYTES).some((byte) => byte !== 0))
      found.push(at / SECTOR_BYTES);
  return found;
}

function flip(file: DiskFile, sectors: readonly number[], random: SimRandom): void {
  for (const sector of sectors) {
    const at = sector * SECTOR_BYTES + random.below(SECTOR_BYTES);
    const bit = 1 << random.below(8);
    for (const bytes of [file.current, file.durable])
      if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ bit;
  }
}

/** Anywhere in the log or a checkpoint. @returns where, or null when nothing is there */
export function rotAnywhere({ names }: Disk, random: SimRandom): string | null {
  const files = [...names].filter(([path]) => /(wal|checkpoint)-\d+$/.test(path));
  if (files.length === 0) return null;
  const [path, file] = random.pick(files);
  const sectors = writtenSectors(file);
  if (sectors.length === 0) return null;
  const first = random.below(sectors.length);
  const count = random.pick([1, 1, 8, 64]);
  flip(file, sectors.slice(first, first + count), random);
  return `${path} at sector ${sectors[first]}`;
}

/** The newest batch or two of the log, and not the proofs of them. @returns where, or null when nothing is there */
export function rotAtEnd({ names }: Disk, segmentBytes: number, random: SimRandom): string | null {
  const dataSector = dataOffsetOf(segmentBytes) / SECTOR_BYTES;
  const logs = [...names]
    .filter(([path]) => /wal-\d+$/.test(path))
    .sort(([a], [b]) => (a < b ? 1 : -1));
  for (const [path, file] of logs) {
    const sectors = writtenSectors(file).filter((sector) => sector >= dataSector);
    if (sectors.length === 0) continue;
    flip(file, sectors.slice(-1 - random.below(3)), random);
    return `${path} at its end, sector ${sectors.at(-1)}`;
  }
  return null;
}
