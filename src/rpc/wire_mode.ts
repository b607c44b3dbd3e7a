/**
 * Posix permission bits as the wire has them: each triple is the octal digit plus one.
 * @module
 */
import { Bits, type PMode } from "../proto/gen/common.ts";

const BITS: readonly Bits[] = [
  Bits.NONE,
  Bits.EXECUTE,
  Bits.WRITE,
  Bits.WRITE_EXECUTE,
  Bits.READ,
  Bits.READ_EXECUTE,
  Bits.READ_WRITE,
  Bits.ALL,
];

/** @param bits 4 read, 2 write, 1 execute; what is above them is left out */
export function bitsToWire(bits: number): Bits {
  return BITS[bits & 7] ?? Bits.NONE;
}

/** @returns bits 4 read, 2 write, 1 execute */
export function bitsFromWire(bits: Bits): number {
  return bits - 1;
}

export function modeToWire(mode: number): PMode {
  return {
    ownerBits: bitsToWire(mode >> 6),
    groupBits: bitsToWire(mode >> 3),
    otherBits: bitsToWire(mode),
  };
}

export function modeFromWire(mode: PMode): number {
  return (
    (bitsFromWire(mode.ownerBits) << 6) |
    (bitsFromWire(mode.groupBits) << 3) |
    bitsFromWire(mode.otherBits)
  );
}
