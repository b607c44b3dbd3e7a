/**
 * Damage to the files of a master that is down, of kinds that its promises cover.
 *
 * - middle: bytes of the journal that were durable long ago are turned round, in any of its segments.
 * - mark: one of the two copies of what says where the journal begins.
 * - torn: garbage behind the end of the journal, as a crash leaves it in the middle of a write.
 * - store: bytes of the metadata store, which is only an image of the journal.
 * @module
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  readSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { Chance } from "./random.ts";

const PAGE_BYTES = 4096;
/** Batches begin behind identities and descriptors: see src/journal/record.ts. */
const DATA_OFFSET_BYTES = 1024 * 1024;
/** See src/journal/wal_mark.ts. */
const MARK_COPY_BYTES = 32 * 1024;
/**
 * So much before its end a journal knows what was durable: descriptors follow their batches. Nearer to the end damage
 * may look like a write that was never finished.
 */
const SAFE_BYTES = 64 * 1024;

/** Where the last page ends that is not full of zeros. */
function writtenBytes(file: number): number {
  const page = Buffer.alloc(PAGE_BYTES);
  for (let at = fstatSync(file).size - PAGE_BYTES; at >= 0; at -= PAGE_BYTES) {
    readSync(file, page, 0, PAGE_BYTES, at);
    if (page.some((byte) => byte !== 0)) return at + PAGE_BYTES;
  }
  return 0;
}

function flipBytes(file: number, from: number, to: number, chance: Chance): number {
  const start = chance.integer(from, to);
  const length = Math.min(chance.integer(1, 600), to - start);
  const bytes = Buffer.alloc(length);
  readSync(file, bytes, 0, length, start);
  for (let i = 0; i < length; i++) bytes[i] = (bytes[i] ?? 0) ^ chance.integer(1, 256);
  writeSync(file, bytes, 0, length, start);
  return start;
}

function withFile<T>(path: string, act: (file: number) => T): T {
  const file = openSync(path, "r+");
  try {
    return act(file);
  } finally {
    closeSync(file);
  }
}

function segmentsOf(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => /^wal-\d{16}$/.test(name))
    .sort();
}

export function damageMiddle(folder: string, chance: Chance): string {
  for (const name of chance.shuffled(segmentsOf(folder))) {
    const at = withFile(join(folder, name), (file) => {
      const end = writtenBytes(file) - SAFE_BYTES;
      if (end <= DATA_OFFSET_BYTES) return null;
      return flipBytes(file, DATA_OFFSET_BYTES, end, chance);
    });
    if (at !== null) return `bytes at ${at} of ${name} turned round`;
  }
  return "nothing yet that could be damaged";
}

export function damageMark(folder: string, chance: Chance): string {
  const start = chance.pick([0, MARK_COPY_BYTES]);
  const at = withFile(join(folder, "wal-begin"), (file) =>
    flipBytes(file, start, start + PAGE_BYTES, chance),
  );
  return `bytes at ${at} of wal-begin turned round`;
}

export function tearTail(folder: string, chance: Chance): string {
  for (const name of segmentsOf(folder).reverse()) {
    const at = withFile(join(folder, name), (file) => {
      const end = writtenBytes(file);
      if (end <= DATA_OFFSET_BYTES || end + PAGE_BYTES > fstatSync(file).size) return null;
      const garbage = Buffer.from(
        Array.from({ length: chance.integer(1, PAGE_BYTES) }, () => chance.integer(0, 256)),
      );
      writeSync(file, garbage, 0, garbage.length, end);
      return end;
    });
    if (at !== null) return `garbage at ${at} of ${name}, behind its end`;
  }
  return "no journal yet whose tail could be torn";
}

export function damageStore(folder: string, chance: Chance): string {
  const name = "store.mdb";
  if (!existsSync(join(folder, name))) return "no store yet that could be damaged";
  const at = withFile(join(folder, name), (file) =>
    flipBytes(file, 0, fstatSync(file).size, chance),
  );
  return `bytes at ${at} of ${name} turned round`;
}
