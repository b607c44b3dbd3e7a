/**
 * What both flavours of the kernels have in common: a bad range is found here, so that it never reads as a checksum.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import { invariant } from "../common/invariant.ts";
import { type Kernels, pageCountOf, type RecordScan } from "./kernels.ts";

/** A flavour: as in {@link Kernels}, with ranges that are known to lie in `memory`. */
export interface RawKernels {
  readonly flavour: Kernels["flavour"];
  readonly memory: Uint8Array<ArrayBuffer>;
  readonly arenaOffset: number;
  readonly arenaBytes: number;
  /** Of any bytes. */
  crc(bytes: Uint8Array, seed: number): number;
  crcInMemory(offsetBytes: number, lengthBytes: number, seed: number): number;
  /** @returns count of pages */
  pageCrcs(offsetBytes: number, lengthBytes: number, pageBytes: number, into: Uint32Array): number;
  /** @param recordsMax Infinity without `offsetsInto`, else its length */
  scanRecords(
    offsetBytes: number,
    lengthBytes: number,
    recordsMax: number,
    offsetsInto: Uint32Array | undefined,
  ): RecordScan;
}

export class CheckedKernels implements Kernels {
  readonly flavour: Kernels["flavour"];
  readonly memory: Uint8Array<ArrayBuffer>;
  readonly arenaOffset: number;
  readonly arenaBytes: number;
  readonly #raw: RawKernels;

  constructor(raw: RawKernels) {
    this.#raw = raw;
    this.flavour = raw.flavour;
    this.memory = raw.memory;
    this.arenaOffset = raw.arenaOffset;
    this.arenaBytes = raw.arenaBytes;
  }

  crc32c(bytes: Uint8Array, seed = 0): number {
    return this.#raw.crc(bytes, seed);
  }

  crc32cInMemory(offsetBytes: number, lengthBytes: number, seed = 0): number {
    this.#check(offsetBytes, lengthBytes);
    return this.#raw.crcInMemory(offsetBytes, lengthBytes, seed);
  }

  pageCrcsInMemory(
    offsetBytes: number,
    lengthBytes: number,
    pageBytes: number,
    into: Uint32Array,
  ): number {
    this.#check(offsetBytes, lengthBytes);
    invariant(Number.isInteger(pageBytes) && pageBytes > 0, "a page has bytes");
    const expected = pageCountOf(lengthBytes, pageBytes);
    invariant(into.length >= expected, "there is room for each page's CRC");
    const count = this.#raw.pageCrcs(offsetBytes, lengthBytes, pageBytes, into);
    invariant(count === expected, "every page has its CRC");
    return count;
  }

  scanRecordsInMemory(
    offsetBytes: number,
    lengthBytes: number,
    offsetsInto?: Uint32Array,
  ): RecordScan {
    this.#check(offsetBytes, lengthBytes);
    const recordsMax = offsetsInto?.length ?? Number.POSITIVE_INFINITY;
    return this.#raw.scanRecords(offsetBytes, lengthBytes, recordsMax, offsetsInto);
  }

  #check(offsetBytes: number, lengthBytes: number): void {
    invariant(
      Number.isInteger(offsetBytes) && Number.isInteger(lengthBytes),
      "a range of kernel memory is whole bytes",
    );
    invariant(
      offsetBytes >= 0 && lengthBytes >= 0 && offsetBytes + lengthBytes <= this.memory.length,
      "a range lies in kernel memory",
    );
  }
}

export function noMemory(arenaBytes: number, remedy: string, cause: unknown): RockpoolError {
  return new RockpoolError(
    "RESOURCE_EXHAUSTED",
    `Cannot allocate ${arenaBytes} bytes of kernel memory`,
    remedy,
    { cause },
  );
}
