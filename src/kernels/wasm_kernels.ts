/**
 * The kernels in WebAssembly: `asm/crc32c.ts`, whose header draws the memory and explains the method.
 *
 * Memory is made here, at its full size, and imported. Letting the module make a small one that grows
 * would not do, even if it grew before anybody has a view: growing detaches an ArrayBuffer, and from
 * the first detached one on, V8 checks for that at every typed array access of the process (15 to 35 %
 * slower, measured). Takes a compiled module, since some runtimes cannot compile bytes.
 * @module
 */
import { invariant } from "../common/invariant.ts";
import { CheckedKernels, noMemory, type RawKernels } from "./checked_kernels.ts";
import type { Kernels, RecordScan, RecordScanEnd } from "./kernels.ts";

/** The memory map of asm/crc32c.ts. */
const SCAN = 0x0c800;
const RESULTS = 0x0d000;
const RESULTS_MAX = 3072;
const COPY_IN = 0x10000;
const COPY_IN_BYTES = 0x20000;
const ARENA = 0x30000;
const WASM_PAGE_BYTES = 65_536;

/** By the numbers of asm/crc32c.ts. */
const SCAN_ENDS: readonly RecordScanEnd[] = ["complete", "torn", "damaged", "full"];

type Exports = {
  init(): void;
  crc32c(from: number, length: number, seed: number): number;
  pageCrcs(from: number, length: number, pageBytes: number): number;
  scanRecords(from: number, length: number, countMax: number): number;
};

class WasmKernels implements RawKernels {
  readonly flavour = "wasm";
  readonly memory: Uint8Array<ArrayBuffer>;
  readonly arenaOffset = ARENA;
  readonly arenaBytes: number;
  readonly #exports: Exports;
  readonly #results: Uint32Array;
  readonly #scan: Uint32Array;

  constructor(exports: Exports, buffer: ArrayBuffer, arenaBytes: number) {
    this.#exports = exports;
    this.arenaBytes = arenaBytes;
    this.memory = new Uint8Array(buffer, 0, ARENA + arenaBytes);
    this.#results = new Uint32Array(buffer, RESULTS, RESULTS_MAX);
    this.#scan = new Uint32Array(buffer, SCAN, 2);
  }

  crc(bytes: Uint8Array, seed: number): number {
    if (bytes.length <= COPY_IN_BYTES) {
      this.memory.set(bytes, COPY_IN);
      return this.#exports.crc32c(COPY_IN, bytes.length, seed) >>> 0;
    }
    let crc = seed;
    for (let at = 0; at < bytes.length; at += COPY_IN_BYTES) {
      const piece = bytes.subarray(at, at + COPY_IN_BYTES);
      this.memory.set(piece, COPY_IN);
      crc = this.#exports.crc32c(COPY_IN, piece.length, crc);
    }
    return crc >>> 0;
  }

  crcInMemory(offsetBytes: number, lengthBytes: number, seed: number): number {
    return this.#exports.crc32c(offsetBytes, lengthBytes, seed) >>> 0;
  }

  pageCrcs(offsetBytes: number, lengthBytes: number, pageBytes: number, into: Uint32Array): number {
    const end = offsetBytes + lengthBytes;
    const callBytes = pageBytes * RESULTS_MAX;
    let count = 0;
    for (let at = offsetBytes; at < end; at += callBytes) {
      const length = Math.min(callBytes, end - at);
      const made = this.#exports.pageCrcs(at, length, Math.min(pageBytes, length));
      for (let page = 0; page < made; page++) into[count++] = this.#results[page] as number;
    }
    return count;
  }

  scanRecords(
    offsetBytes: number,
    lengthBytes: number,
    recordsMax: number,
    offsetsInto: Uint32Array | undefined,
  ): RecordScan {
    let validBytes = 0;
    let recordCount = 0;
    while (true) {
      const countMax = Math.min(RESULTS_MAX, recordsMax - recordCount);
      const left = lengthBytes - validBytes;
      const passed = this.#exports.scanRecords(offsetBytes + validBytes, left, countMax) >>> 0;
      const count = this.#scan[0] as number;
      for (let at = 0; offsetsInto !== undefined && at < count; at++) {
        offsetsInto[recordCount + at] = validBytes + (this.#results[at] as number);
      }
      validBytes += passed;
      recordCount += count;
      const end = SCAN_ENDS[this.#scan[1] as number];
      invariant(end !== undefined, "the kernel knows why it stopped");
      if (end !== "full" || recordCount === recordsMax) return { validBytes, recordCount, end };
    }
  }
}

/**
 * @param module the compiled `crc32c.wasm`
 * @throws RockpoolError RESOURCE_EXHAUSTED when the machine does not give that much memory
 */
export function openWasmKernels(
  module: WebAssembly.Module,
  options: { readonly arenaBytes: number },
): Kernels {
  const memory = allocate(options.arenaBytes);
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  // Through `unknown`: what a module exports is not in its type. The tests hold it to this.
  const kernel = exports as unknown as Exports;
  kernel.init();
  return new CheckedKernels(new WasmKernels(kernel, memory.buffer, options.arenaBytes));
}

function allocate(arenaBytes: number): WebAssembly.Memory {
  const pages = Math.ceil((ARENA + arenaBytes) / WASM_PAGE_BYTES);
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages });
  } catch (cause) {
    const remedy =
      "Lower the count of I/O slots (2 GiB is the most), or give the process more memory";
    throw noMemory(arenaBytes, remedy, cause);
  }
}
