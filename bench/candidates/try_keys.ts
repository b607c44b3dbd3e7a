/**
 * XXH3 of keys. Nothing hashes texts: rows lie in LMDB by their bytes, and V8's Maps hash by themselves. What is computed of short
 * keys is the checksum of a row of the metadata, so that is where it would serve, at the price of another format.
 * @module
 */
import assert from "node:assert/strict";
import { crc32c as plainCrc32c } from "../../src/kernels/fallback.ts";
import { openKernels } from "../../src/kernels/load.ts";
import { type Figures, nsOf, numbers, type Rival, type Row, sink } from "./figures.ts";
import { type ClusterCosts, openRows } from "./places.ts";
import { type Candidates, openCandidates } from "./wasm.ts";
import { openXxh3, quickHash } from "./xxh3.ts";

const COUNT = 1024;
const LENGTHS = [20, 60, 120, 200];
/** Key and value of an inode's row. */
const ROW_BYTES = 120;
/** As many bytes as `kv/lmdb_row.ts` copies by a loop. */
const LOOP_BYTES_MAX = 64;

const WASM = "XXH3 in WebAssembly, copied in";
const TWIN = "XXH3 in TypeScript";
const ROW_CRC = "CRC-32C in TypeScript (what rows have)";
const TEXT_WASM = "a text: written to memory, XXH3 in WebAssembly";
const TEXT_MAP = "a text: looked up in a Map, hash and all";

/** By the published self-test of XXH3: its bytes, and what the first so many of them give. */
const KNOWN: ReadonlyMap<number, bigint> = new Map([
  [0, 0x2d06800538d394c2n],
  [1, 0xc44bdff4074eecdbn],
  [6, 0x27b56a84cd2d7325n],
  [12, 0xa713daf0dfbb77e7n],
  [24, 0xa3fe70bf9d3510ebn],
  [48, 0x397da259ecba1f11n],
  [80, 0xbcdefbbb2c47c90an],
  [195, 0xcd94217ee362ec3an],
]);

function check({ exports, memory, arenaOffset }: Candidates): void {
  const plain = openXxh3();
  const sample = new Uint8Array(240);
  for (let at = 0, state = 2654435761n; at < sample.length; at++) {
    sample[at] = Number(state >> 56n);
    state = BigInt.asUintN(64, state * 11400714785074694797n);
  }
  for (let length = 0; length <= sample.length; length++) {
    memory.set(sample.subarray(0, length), arenaOffset);
    const hash = BigInt.asUintN(64, exports.xxh3(arenaOffset, length));
    const low = plain.low(sample, 0, length);
    assert.equal((BigInt(plain.high()) << 32n) | BigInt(low), hash, `${length} B`);
    assert.equal(hash, KNOWN.get(length) ?? hash);
  }
}

function rowsOf(figures: Figures, wasm: Candidates, length: number): readonly Row[] {
  const { exports, memory, arenaOffset } = wasm;
  const texts = Array.from(numbers(COUNT), (word) =>
    `/${word.toString(36)}`.repeat(40).slice(0, length),
  );
  const keys = texts.map((text) => new Uint8Array(Buffer.from(text)));
  const map = new Map(texts.map((text, at) => [text, at]));
  const scratch = Buffer.from(memory.buffer, arenaOffset, 1024);
  const plain = openXxh3();
  const kernels = openKernels({ flavour: "wasm", arenaBytes: 64 * 1024 });
  const copied = (bytes: Uint8Array) => {
    if (bytes.length > LOOP_BYTES_MAX) memory.set(bytes, arenaOffset);
    else for (let at = 0; at < bytes.length; at++) memory[arenaOffset + at] = bytes[at] as number; // within it
    return exports.xxh3Low(arenaOffset, bytes.length);
  };
  const all = (name: string, hash: (bytes: Uint8Array) => number): Rival => ({
    name,
    run: () => {
      for (const key of keys) sink.value ^= hash(key);
    },
  });
  return figures.compare(`Key of ${length} B`, COUNT, [
    all(WASM, copied),
    all(TWIN, (bytes) => plain.low(bytes, 0, bytes.length)),
    all("hash of 32 bits in TypeScript", (bytes) => quickHash(bytes, 0, bytes.length)),
    all(ROW_CRC, (bytes) => plainCrc32c(bytes)),
    all("CRC-32C in WebAssembly, copied in", (bytes) => kernels.crc32c(bytes)),
    {
      name: TEXT_WASM,
      run: () => {
        for (const text of texts)
          sink.value ^= exports.xxh3Low(arenaOffset, scratch.write(text, 0, "latin1"));
      },
    },
    {
      name: TEXT_MAP,
      run: () => {
        // Joined anew: a text that was looked up before knows its hash.
        for (const text of texts) sink.value ^= map.get(`/${text.slice(1)}`) ?? 0;
      },
    },
  ]);
}

/** For comparison: all that reading a row takes. */
async function timeRows(figures: Figures): Promise<void> {
  const keys = Array.from(numbers(COUNT), (word, at) =>
    Buffer.from(`${String(at).padStart(4)}${word.toString(16).padStart(8)}`),
  ).map((bytes) => new Uint8Array(bytes));
  const rows = openRows(keys, ROW_BYTES - 12);
  figures.compare(`A row of ${ROW_BYTES} B of the metadata store`, COUNT, [
    { name: "read and checked", run: rows.read },
  ]);
  await rows.close();
}

export async function tryKeys(
  figures: Figures,
  module: WebAssembly.Module,
  costs: ClusterCosts,
): Promise<void> {
  const wasm = openCandidates(module, 64 * 1024);
  check(wasm);
  for (const length of LENGTHS) {
    const rows = rowsOf(figures, wasm, length);
    if (length !== ROW_BYTES) continue;
    await timeRows(figures);
    figures.judge("XXH3 for a row's CRC-32C", nsOf(rows, WASM), nsOf(rows, ROW_CRC), {
      path: "CPU of the leader for an entry of a listing",
      pathNs: costs.listedEntryNs,
      // That of the name, which is shorter, and that of the inode.
      times: 2,
    });
  }
}
