/**
 * Each kernel in WebAssembly and in TypeScript, one after the other: bytes that lie in kernel memory, as I/O leaves them there.
 * Against a native library, and for bytes elsewhere: `npm run bench -- kernels`.
 * @module
 */
import { type Kernels, RECORD_CRC_OFFSET, RECORD_HEADER_BYTES } from "../src/kernels/kernels.ts";
import { openKernels } from "../src/kernels/load.ts";
import { measure } from "./harness.ts";

const KiB = 1024;
const ARENA_BYTES = KiB * KiB;
const PAGE_BYTES = 64 * KiB;
/** About what the journal entry of a file's creation takes. */
const PAYLOAD_BYTES = 111;
const RECORD_BYTES = RECORD_HEADER_BYTES + PAYLOAD_BYTES;
const RECORDS = Math.floor(ARENA_BYTES / RECORD_BYTES);

type KernelCase = {
  readonly name: string;
  readonly bytes: number;
  /** To be called before; what it leaves is the same for both flavours. */
  readonly fill: (kernels: Kernels) => void;
  readonly run: (kernels: Kernels) => unknown;
};

function fillBytes({ memory, arenaOffset }: Kernels): void {
  for (let at = 0; at < ARENA_BYTES; at++) memory[arenaOffset + at] = (at * 2_654_435_761) >>> 13;
}

function fillRecords(kernels: Kernels): void {
  const { memory, arenaOffset } = kernels;
  const record = Buffer.alloc(RECORD_BYTES, 0x5a);
  record.writeUInt32LE(PAYLOAD_BYTES, 0);
  for (let index = 0; index < RECORDS; index++) {
    record.writeBigUInt64LE(BigInt(index), 8);
    const header = kernels.crc32c(record.subarray(0, RECORD_CRC_OFFSET));
    const crc = kernels.crc32c(record.subarray(RECORD_HEADER_BYTES), header);
    record.writeUInt32LE(crc, RECORD_CRC_OFFSET);
    memory.set(record, arenaOffset + index * RECORD_BYTES);
  }
}

const crcOf = (bytes: number): Omit<KernelCase, "name"> => ({
  bytes,
  fill: fillBytes,
  run: (kernels) => kernels.crc32cInMemory(kernels.arenaOffset, bytes),
});
const into = new Uint32Array(ARENA_BYTES / PAGE_BYTES);
const CASES: readonly KernelCase[] = [
  { name: "CRC-32C, 64 B", ...crcOf(64) },
  { name: "CRC-32C, 4 KiB", ...crcOf(4 * KiB) },
  { name: "CRC-32C, 64 KiB", ...crcOf(64 * KiB) },
  {
    name: "page CRCs, 1 MiB",
    bytes: ARENA_BYTES,
    fill: fillBytes,
    run: (kernels) => {
      kernels.pageCrcsInMemory(kernels.arenaOffset, ARENA_BYTES, PAGE_BYTES, into);
      return into.join();
    },
  },
  {
    name: `scan of ${RECORDS} records`,
    bytes: RECORDS * RECORD_BYTES,
    fill: fillRecords,
    run: (kernels) =>
      kernels.scanRecordsInMemory(kernels.arenaOffset, RECORDS * RECORD_BYTES).validBytes,
  },
];

export type KernelFigures = {
  readonly name: string;
  /** Of the best rounds. */
  readonly wasmGBps: number;
  readonly jsGBps: number;
};

export function compareKernels(): readonly KernelFigures[] {
  const wasm = openKernels({ flavour: "wasm", arenaBytes: ARENA_BYTES });
  const js = openKernels({ flavour: "js", arenaBytes: ARENA_BYTES });
  return CASES.map(({ name, bytes, fill, run }) => {
    const cases = [wasm, js].map((kernels) => {
      fill(kernels);
      return { name: kernels.flavour, bytesPerCall: bytes, run: () => void run(kernels) };
    });
    if (run(wasm) !== run(js)) throw new Error(`${name}: the flavours differ`);
    const [first, second] = measure(cases);
    return { name, wasmGBps: first?.bestGBps ?? 0, jsGBps: second?.bestGBps ?? 0 };
  });
}
