/**
 * What edge clients need of the kernels: the checksum alone, from `crc32c.ts`, which draws the memory. The host copies
 * bytes to COPY_IN (0x10000, here 256 KiB, since there is no arena) piece by piece.
 * @module
 */
export { crc32c, init } from "./crc32c";
