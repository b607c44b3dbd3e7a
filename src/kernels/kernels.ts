/**
 * The kernels: checksums and scans, in WebAssembly or in TypeScript, behind one interface.
 * Bytes must lie in `memory` for the `…InMemory` calls; that is where I/O buffers come from (slots).
 * Open them with `openKernels` of `load.ts`; one per thread, since each owns its memory.
 *
 * Offsets are bytes from the start of `memory`. A range that leaves `memory` is a bug of the caller.
 * @module
 */
export interface Kernels {
  readonly flavour: "wasm" | "js";
  /** Kernel memory: allocated once, never grows, so views on it stay valid. */
  readonly memory: Uint8Array<ArrayBuffer>;
  /** First byte and length of the part of `memory` that callers may use (the arena). */
  readonly arenaOffset: number;
  readonly arenaBytes: number;
  /** CRC-32C (Castagnoli) of any bytes; copies them into kernel memory piecewise. @param seed 0, or the CRC of what came before @returns unsigned 32 bits */
  crc32c(bytes: Uint8Array, seed?: number): number;
  /** CRC-32C of bytes that lie in `memory`. */
  crc32cInMemory(offsetBytes: number, lengthBytes: number, seed?: number): number;
  /**
   * One CRC for each page of `pageBytes` (the last may be short) of bytes in `memory`, written to
   * `into`, which must have room for all. @returns count of pages
   */
  pageCrcsInMemory(
    offsetBytes: number,
    lengthBytes: number,
    pageBytes: number,
    into: Uint32Array,
  ): number;
  /**
   * Walks and verifies journal records (drawn in {@link RECORD_HEADER_BYTES}) that lie in `memory`.
   * @param offsetsInto receives the offset of each valid record, counted from `offsetBytes`; the scan stops when it is full
   */
  scanRecordsInMemory(
    offsetBytes: number,
    lengthBytes: number,
    offsetsInto?: Uint32Array,
  ): RecordScan;
}

/**
 * A journal record as the scan knows it, little-endian:
 *
 *      0  u32  length of the payload
 *      4  u8   type        5  u8  version      6  u16  flags
 *      8  u64  index      16  u64 term
 *     24  u32  CRC-32C of bytes 0..23 followed by the payload
 *     28  payload
 */
export const RECORD_HEADER_BYTES = 28;
/** Where in the header its CRC stands; everything before it is covered. */
export const RECORD_CRC_OFFSET = 24;

export type RecordScan = {
  /** Bytes of the valid records: where the next one would begin. */
  readonly validBytes: number;
  readonly recordCount: number;
  readonly end: RecordScanEnd;
};

/**
 * Why a scan stopped: `complete`, the range ends with a record; `torn`, the next record reaches past
 * the range (more bytes may follow, or its length is damaged); `damaged`, its CRC does not match;
 * `full`, `offsetsInto` has no room for it.
 */
export type RecordScanEnd = "complete" | "torn" | "damaged" | "full";

/** Pages that `lengthBytes` take, for the size of `into`. */
export function pageCountOf(lengthBytes: number, pageBytes: number): number {
  return Math.ceil(lengthBytes / pageBytes);
}
