/**
 * Checksums of a block's pages, and the side file that keeps them.
 *
 * One CRC-32C for each 64 KiB of the block, the last page may be shorter. They are made where bytes enter the worker
 * and checked before bytes leave it. The side file, little-endian:
 *
 *     offset  size  what
 *     0       8     magic "RPPAGES1"
 *     8       4     page size in bytes, 65536
 *     12      4     count of pages, n
 *     16      8     block id
 *     24      8     length of the block in bytes
 *     32      4n    CRC-32C of each page
 *     32+4n   4     CRC-32C of all bytes before
 *
 * It is written whole and renamed into place before its block is, so a torn one is never met beside a committed
 * block unless the system itself went down; then its length or last CRC is wrong and the block is not trusted.
 * A new layout gets a new digit in the magic.
 * @module
 */
import { DecodeError } from "../common/bytes.ts";
import { invariant } from "../common/invariant.ts";
import { PAGE_BYTES } from "../common/limits.ts";
import type { Kernels } from "../kernels/kernels.ts";

const MAGIC = 0x3153_4547_4150_5052n; // "RPPAGES1" read as little-endian 64 bits
const HEADER_BYTES = 32;
const FOOTER_BYTES = 4;

export type PageChecksums = {
  readonly blockId: bigint;
  readonly lengthBytes: number;
  readonly crcs: Uint32Array;
};

export function pageCountOf(lengthBytes: number): number {
  return Math.ceil(lengthBytes / PAGE_BYTES);
}

/** Checksums of a block that is being written, in order, in pieces of any size. */
export class PageChecksumBuilder {
  readonly #kernels: Kernels;
  #crcs = new Uint32Array(64);
  #lengthBytes = 0;

  constructor(kernels: Kernels) {
    this.#kernels = kernels;
  }

  get lengthBytes(): number {
    return this.#lengthBytes;
  }

  /** Takes in the next bytes of the block, which lie in kernel memory. */
  append(offsetBytes: number, lengthBytes: number): void {
    const pages = pageCountOf(this.#lengthBytes + lengthBytes);
    if (pages > this.#crcs.length) {
      const grown = new Uint32Array(Math.max(pages, this.#crcs.length * 2));
      grown.set(this.#crcs);
      this.#crcs = grown;
    }
    const filled = this.#lengthBytes % PAGE_BYTES;
    const head = filled === 0 ? 0 : Math.min(lengthBytes, PAGE_BYTES - filled);
    if (head > 0) {
      const page = Math.floor(this.#lengthBytes / PAGE_BYTES);
      const before = this.#crcs[page] as number; // page < crcs.length, grown above
      this.#crcs[page] = this.#kernels.crc32cInMemory(offsetBytes, head, before);
    }
    if (lengthBytes > head) {
      const first = (this.#lengthBytes + head) / PAGE_BYTES;
      const rest = lengthBytes - head;
      this.#kernels.pageCrcsInMemory(
        offsetBytes + head,
        rest,
        PAGE_BYTES,
        this.#crcs.subarray(first),
      );
    }
    this.#lengthBytes += lengthBytes;
  }

  finish(blockId: bigint): PageChecksums {
    const crcs = this.#crcs.slice(0, pageCountOf(this.#lengthBytes));
    return { blockId, lengthBytes: this.#lengthBytes, crcs };
  }
}

/** The side file's bytes. */
export function encodePageChecksums(checksums: PageChecksums, kernels: Kernels): Uint8Array {
  const { blockId, lengthBytes, crcs } = checksums;
  invariant(crcs.length === pageCountOf(lengthBytes), "every page of a block has a checksum");
  const bytes = new Uint8Array(HEADER_BYTES + 4 * crcs.length + FOOTER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, MAGIC, true);
  view.setUint32(8, PAGE_BYTES, true);
  view.setUint32(12, crcs.length, true);
  view.setBigUint64(16, blockId, true);
  view.setBigUint64(24, BigInt(lengthBytes), true);
  for (const [page, crc] of crcs.entries()) view.setUint32(HEADER_BYTES + 4 * page, crc, true);
  const end = HEADER_BYTES + 4 * crcs.length;
  view.setUint32(end, kernels.crc32c(bytes.subarray(0, end)), true);
  return bytes;
}

/** @throws DecodeError when the bytes are not exactly one whole, undamaged side file */
export function decodePageChecksums(bytes: Uint8Array, kernels: Kernels): PageChecksums {
  if (bytes.length < HEADER_BYTES + FOOTER_BYTES)
    throw new DecodeError(`A checksum file has ${bytes.length} B, fewer than its header`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getBigUint64(0, true) !== MAGIC) throw new DecodeError("Not a checksum file");
  const pages = view.getUint32(12, true);
  const end = HEADER_BYTES + 4 * pages;
  if (bytes.length !== end + FOOTER_BYTES)
    throw new DecodeError(`A checksum file of ${pages} pages has ${bytes.length} B`);
  if (kernels.crc32c(bytes.subarray(0, end)) !== view.getUint32(end, true))
    throw new DecodeError("A checksum file does not match its own checksum");
  const lengthBytes = Number(view.getBigUint64(24, true));
  if (view.getUint32(8, true) !== PAGE_BYTES || pages !== pageCountOf(lengthBytes))
    throw new DecodeError(`A checksum file has ${pages} pages for a block of ${lengthBytes} B`);
  const crcs = new Uint32Array(pages);
  for (let page = 0; page < pages; page++)
    crcs[page] = view.getUint32(HEADER_BYTES + 4 * page, true);
  return { blockId: view.getBigUint64(16, true), lengthBytes, crcs };
}

/**
 * Compares whole pages in kernel memory with their checksums.
 * @param firstPage the page at `offsetBytes`
 * @param scratch at least as many numbers as there are pages
 * @returns the first page that differs, or -1
 */
export function firstDamagedPage(
  kernels: Kernels,
  checksums: PageChecksums,
  range: { readonly offsetBytes: number; readonly lengthBytes: number; readonly firstPage: number },
  scratch: Uint32Array,
): number {
  const { offsetBytes, lengthBytes, firstPage } = range;
  const count = kernels.pageCrcsInMemory(offsetBytes, lengthBytes, PAGE_BYTES, scratch);
  for (let page = 0; page < count; page++)
    if (scratch[page] !== checksums.crcs[firstPage + page]) return firstPage + page;
  return -1;
}
