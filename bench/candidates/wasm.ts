/**
 * The candidates in WebAssembly: compiled when the bench starts, since nothing but it needs them.
 * @module
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";

const ARENA = 0x30000;
const WASM_PAGE_BYTES = 65_536;

export type Exports = {
  init(): void;
  crc32c(from: number, length: number, seed: number): number;
  tableAt(at: number, capacity: number): void;
  tablePut(id: bigint, place: number): void;
  tableGet(id: bigint): number;
  tableGetHalves(low: number, high: number): number;
  tableGetMany(ids: number, count: number, places: number): void;
  edgeFrame(from: number, length: number, out: number): number;
  peerFrames(
    from: number,
    length: number,
    bytesMax: number,
    sequence: bigint,
    out: number,
    countMax: number,
  ): number;
  firstDamagedPage(from: number, length: number, pageBytes: number, expected: number): number;
  xxh3(at: number, length: number): bigint;
  xxh3Low(at: number, length: number): number;
};

export type Candidates = {
  readonly exports: Exports;
  readonly memory: Uint8Array<ArrayBuffer>;
  /** First byte that is nobody's. */
  readonly arenaOffset: number;
};

/** As build.mjs compiles the kernels. */
function compiled(): Uint8Array<ArrayBuffer> {
  mkdirSync("dist/bench", { recursive: true });
  const outfile = `dist/bench/candidates-${process.pid}.wasm`;
  execFileSync(process.execPath, [
    "node_modules/assemblyscript/bin/asc.js",
    "bench/candidates/asm/candidates.ts",
    ...["--outFile", outfile, "-O3", "--noAssert", "--runtime", "stub", "--enable", "simd"],
    ...["--importMemory", "--initialMemory", "3", "--maximumMemory", "32768"],
  ]);
  const bytes = new Uint8Array(readFileSync(outfile));
  rmSync(outfile);
  return bytes;
}

export function compileCandidates(): WebAssembly.Module {
  return new WebAssembly.Module(compiled());
}

/** An instance with a memory of its own. */
export function openCandidates(module: WebAssembly.Module, arenaBytes: number): Candidates {
  const pages = Math.ceil((ARENA + arenaBytes) / WASM_PAGE_BYTES);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const instance = new WebAssembly.Instance(module, { env: { memory } });
  // Through `unknown`: what a module exports is not in its type. The bench holds it to this before it measures.
  const exports = instance.exports as unknown as Exports;
  exports.init();
  return { exports, memory: new Uint8Array(memory.buffer), arenaOffset: ARENA };
}
