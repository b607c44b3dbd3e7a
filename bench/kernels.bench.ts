/**
 * CRC-32C and the scan of journal segments: WebAssembly against its TypeScript twin and the native
 * addon @node-rs/crc32, in one run. "Elsewhere" means bytes outside of kernel memory, which the
 * WebAssembly must copy first.
 * @module
 */
import { crc32c as nativeCrc32c } from "@node-rs/crc32";
import { type Kernels, RECORD_CRC_OFFSET, RECORD_HEADER_BYTES } from "../src/kernels/kernels.ts";
import { openKernels } from "../src/kernels/load.ts";
import { type BenchCase, type BenchTable, measure, report } from "./harness.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const ARENA_BYTES = 16 * MiB;
/** About what the journal entry of a file's creation takes. */
const PAYLOAD_BYTES = 111;
const PAGE_BYTES = 64 * KiB;

const wasm = openKernels({ flavour: "wasm", arenaBytes: ARENA_BYTES });
const js = openKernels({ flavour: "js", arenaBytes: ARENA_BYTES });
const elsewhere = Buffer.alloc(ARENA_BYTES);
for (let at = 0; at < elsewhere.length; at++) elsewhere[at] = (at * 2_654_435_761) >>> 13;

function nativeView(kernels: Kernels, lengthBytes: number): Buffer {
  return Buffer.from(kernels.memory.buffer, kernels.arenaOffset, lengthBytes);
}

function crcTable(title: string, bytesPerCall: number): BenchTable {
  const source = elsewhere.subarray(0, bytesPerCall);
  const view = nativeView(wasm, bytesPerCall);
  const cases: BenchCase[] = [
    {
      name: "wasm, in kernel memory",
      bytesPerCall,
      run: () => void wasm.crc32cInMemory(wasm.arenaOffset, bytesPerCall),
    },
    {
      name: "js, in kernel memory",
      bytesPerCall,
      run: () => void js.crc32cInMemory(js.arenaOffset, bytesPerCall),
    },
    { name: "native, in kernel memory", bytesPerCall, run: () => void nativeCrc32c(view) },
    { name: "wasm, elsewhere", bytesPerCall, run: () => void wasm.crc32c(source) },
    { name: "js, elsewhere", bytesPerCall, run: () => void js.crc32c(source) },
  ];
  return { title: `CRC-32C of ${title}`, results: measure(cases) };
}

function pageTable(): BenchTable {
  const bytesPerCall = MiB;
  const into = new Uint32Array(bytesPerCall / PAGE_BYTES);
  const pages = (kernels: Kernels) => () =>
    void kernels.pageCrcsInMemory(kernels.arenaOffset, bytesPerCall, PAGE_BYTES, into);
  const native = () => {
    const view = nativeView(wasm, bytesPerCall);
    for (let at = 0; at < bytesPerCall; at += PAGE_BYTES) {
      into[at / PAGE_BYTES] = nativeCrc32c(view.subarray(at, at + PAGE_BYTES));
    }
  };
  const results = measure([
    { name: "wasm", bytesPerCall, run: pages(wasm) },
    { name: "js", bytesPerCall, run: pages(js) },
    { name: "native, one call a page", bytesPerCall, run: native },
  ]);
  return { title: "Page CRCs of a slot (16 pages of 64 KiB)", results };
}

/** Lays records out in the arena of both. @returns their bytes */
function writeSegment(): number {
  const recordBytes = RECORD_HEADER_BYTES + PAYLOAD_BYTES;
  const record = elsewhere.subarray(0, recordBytes);
  const count = Math.floor((8 * MiB) / recordBytes);
  for (let index = 0; index < count; index++) {
    record.writeUInt32LE(PAYLOAD_BYTES, 0);
    record.writeBigUInt64LE(BigInt(index), 8);
    const headerCrc = nativeCrc32c(record.subarray(0, RECORD_CRC_OFFSET));
    record.writeUInt32LE(
      nativeCrc32c(record.subarray(RECORD_HEADER_BYTES), headerCrc),
      RECORD_CRC_OFFSET,
    );
    for (const { memory, arenaOffset } of [wasm, js]) {
      memory.set(record, arenaOffset + index * recordBytes);
    }
  }
  return count * recordBytes;
}

/** The scan as one would write it with the addon: a view and two calls a record. */
function nativeScan(bytes: Buffer): number {
  let at = 0;
  while (at + RECORD_HEADER_BYTES <= bytes.length) {
    const payload = at + RECORD_HEADER_BYTES;
    const end = payload + bytes.readUInt32LE(at);
    if (end > bytes.length) break;
    const headerCrc = nativeCrc32c(bytes.subarray(at, at + RECORD_CRC_OFFSET));
    const crc = nativeCrc32c(bytes.subarray(payload, end), headerCrc);
    if (crc !== bytes.readUInt32LE(at + RECORD_CRC_OFFSET)) break;
    at = end;
  }
  return at;
}

function scanTable(): BenchTable {
  const bytesPerCall = writeSegment();
  const view = nativeView(wasm, bytesPerCall);
  const check = (validBytes: number) => {
    if (validBytes !== bytesPerCall) throw new Error("A scan did not reach the end");
  };
  const scan = (kernels: Kernels) => () =>
    check(kernels.scanRecordsInMemory(kernels.arenaOffset, bytesPerCall).validBytes);
  const results = measure([
    { name: "wasm", bytesPerCall, run: scan(wasm) },
    { name: "js", bytesPerCall, run: scan(js) },
    { name: "js with native CRCs", bytesPerCall, run: () => check(nativeScan(view)) },
  ]);
  const recordCount = bytesPerCall / (RECORD_HEADER_BYTES + PAYLOAD_BYTES);
  return { title: `Scan of a journal segment (${recordCount} records of 139 B)`, results };
}

const sizes: readonly (readonly [string, number])[] = [
  ["64 B", 64],
  ["4 KiB", 4 * KiB],
  ["64 KiB", 64 * KiB],
  ["1 MiB", MiB],
];
const tables = [...sizes.map(([title, bytes]) => crcTable(title, bytes)), pageTable(), scanTable()];
const at64KiB = tables[2]?.results ?? [];
const wasmGBps = at64KiB[0]?.bestGBps ?? 0;
report("kernels", tables, [
  { text: "GB/s of wasm at 64 KiB in kernel memory", value: wasmGBps, min: 10 },
  { text: "times the TypeScript twin", value: wasmGBps / (at64KiB[1]?.bestGBps ?? 1), min: 4 },
]);
