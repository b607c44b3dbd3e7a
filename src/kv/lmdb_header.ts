/**
 * Is a file one that LMDB can open? The binding crashes the process on one that LMDB refuses, so it is asked here first.
 *
 * As LMDB (data version 2) writes it, little-endian; pages 0 and 1 are meta pages, and the one with the higher transaction counts:
 *
 *       0  u64 number of the page      8  u64  (unused)          16  u16  (unused)      18  u16 flags, 0x08: meta page
 *      24  u32 magic 0xbeefc0de       28  u32 version, low half  32  u64  (unused)      40  u64 size of the map
 *      48  u32 bytes of a page        …   two trees of 48 B:     88  u64 root of the free list    136  u64 root of the rows
 *     144  u64 last page             152  u64 transaction
 * @module
 */
import { closeSync, openSync, readSync } from "node:fs";

const MAGIC = 0xbeef_c0de;
const DATA_VERSION = 2;
const META_FLAG = 0x08;
const META_BYTES = 160;
const PAGE_BYTES_MIN = 512;
const PAGE_BYTES_MAX = 65_536;
const FIRST_DATA_PAGE = 2n;
/** A tree without pages. */
const NO_PAGE = 0xffff_ffff_ffff_ffffn;

/** @returns bytes of a page, or what is wrong */
function readMeta(file: number, offsetBytes: number): number | string {
  const bytes = new Uint8Array(META_BYTES);
  if (readSync(file, bytes, 0, META_BYTES, offsetBytes) < META_BYTES) return "it is too short";
  const view = new DataView(bytes.buffer);
  const u64 = (at: number) => view.getBigUint64(at, true);
  if ((view.getUint16(18, true) & META_FLAG) === 0) return "it does not begin with two meta pages";
  if (view.getUint32(24, true) !== MAGIC) return "its magic number is missing";
  const version = view.getUint16(28, true);
  if (version !== DATA_VERSION) return `its format is of version ${version}`;
  const pageBytes = view.getUint32(48, true);
  const isPageSize = pageBytes >= PAGE_BYTES_MIN && pageBytes <= PAGE_BYTES_MAX;
  if (!isPageSize || (pageBytes & (pageBytes - 1)) !== 0) return `its pages have ${pageBytes} B`;
  const lastPage = u64(144);
  for (const root of [u64(88), u64(136)])
    if (root !== NO_PAGE && (root < FIRST_DATA_PAGE || root > lastPage))
      return "a tree of it begins outside of it";
  return pageBytes;
}

/** Why LMDB could not open a file; null when it can. */
export function headerFlaw(path: string): string | null {
  const file = openSync(path, "r");
  try {
    const first = readMeta(file, 0);
    if (typeof first === "string") return first;
    const second = readMeta(file, first);
    return typeof second === "string" ? second : null;
  } finally {
    closeSync(file);
  }
}
