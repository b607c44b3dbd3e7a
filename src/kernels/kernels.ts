/**
 * The kernels: checksums and scans, in WebAssembly or in TypeScript, behind one interface.
 * Bytes must lie in `memory` for the `…InMemory` calls; that is where I/O buffers come from (slots).
 * @module
 */

export interface Kernels {
  readonly flavour: "wasm" | "js";
  /** Kernel memory: allocated once, never grows, so views on it stay valid. */
  readonly memory: Uint8Array;
  /** First byte and length of the part of `memory` that callers may use (the arena). */
  readonly arenaOffset: number;
  readonly arenaBytes: number;
  /** CRC-32C (Castagnoli) of any bytes; copies them into kernel memory piecewise. @param seed 0, or the CRC of what came before @returns unsigned 32 bits */
  crc32c(bytes: Uint8Array, seed?: number): number;
  /** CRC-32C of bytes that lie in `memory`. */
  crc32cInMemory(offsetBytes: number, lengthBytes: number, seed?: number): number;
  /** One CRC for each page of `pageBytes` (the last may be short) of bytes in `memory`, written to `into`. @returns count of pages */
  pageCrcsInMemory(
    offsetBytes: number,
    lengthBytes: number,
    pageBytes: number,
    into: Uint32Array,
  ): number;
}
