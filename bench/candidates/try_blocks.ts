/**
 * Block index: from a block's id to its place, as a worker asks for it.
 * @module
 */
import assert from "node:assert/strict";
import { blockIdOf } from "../../src/common/ids.ts";
import { BlockTable } from "./block_table.ts";
import { type Figures, nsOf, numbers, type Rival, sink } from "./figures.ts";
import type { ClusterCosts } from "./places.ts";
import { openCandidates } from "./wasm.ts";

const LOOKUPS = 4096;
const COUNTS = [1000, 100_000, 1_000_000];
/** More than a worker of a few TB has. */
const COUNT_JUDGED = 100_000;
/** Of Maps of all blocks, from `openReader` to `close` (`src/worker/tier.ts`); those of open files are short. */
const LOOKUPS_PER_READ = 3;

const MAP = "Map of bigints (what there is)";
const TABLE = "table in TypeScript";
const WASM = "table in WebAssembly";

/** Every way to find the place of block `wanted[at]`, filled. */
function waysOf(module: WebAssembly.Module, ids: readonly bigint[], wanted: readonly bigint[]) {
  const capacity = 2 ** Math.ceil(Math.log2(ids.length * 1.5));
  const wasm = openCandidates(module, 16 * capacity + 16 * LOOKUPS);
  const { exports, memory, arenaOffset } = wasm;
  const idsAt = arenaOffset + 16 * capacity;
  const placesAt = idsAt + 8 * LOOKUPS;
  const manyIds = new BigInt64Array(memory.buffer, idsAt, LOOKUPS);
  const places = new Uint32Array(memory.buffer, placesAt, LOOKUPS);
  exports.tableAt(arenaOffset, capacity);
  const table = new BlockTable(capacity);
  const byId = new Map(ids.map((id, at) => [id, at + 1]));
  const byNumber = new Map(ids.map((id, at) => [Number(id), at + 1]));
  const byText = new Map(ids.map((id, at) => [String(id), at + 1]));
  for (const [at, id] of ids.entries()) {
    exports.tablePut(id, at + 1);
    table.put(id, at + 1);
  }
  const halves = new Uint32Array(BigInt64Array.from(wanted).buffer);
  const sum = (find: (id: bigint, at: number) => number) => () => {
    let all = 0;
    for (let at = 0; at < LOOKUPS; at++) all += find(wanted[at] as bigint, at); // below LOOKUPS
    return all;
  };
  return {
    [MAP]: sum((id) => byId.get(id) ?? 0),
    "Map of numbers": sum((id) => byNumber.get(Number(id)) ?? 0),
    "Map of texts": sum((id) => byText.get(String(id)) ?? 0),
    [TABLE]: sum((id) => table.get(id)),
    [WASM]: sum((id) => exports.tableGet(id)),
    "table in WebAssembly, ids as halves": sum((_, at) =>
      // `as number`: two of each id.
      exports.tableGetHalves(halves[2 * at] as number, halves[2 * at + 1] as number),
    ),
    "table in WebAssembly, 4096 ids a call": () => {
      for (let at = 0; at < LOOKUPS; at++) manyIds[at] = wanted[at] as bigint; // below LOOKUPS
      exports.tableGetMany(idsAt, LOOKUPS, placesAt);
      let all = 0;
      for (let at = 0; at < LOOKUPS; at++) all += places[at] as number; // below LOOKUPS
      return all;
    },
  };
}

export function tryBlockIndex(
  figures: Figures,
  module: WebAssembly.Module,
  costs: ClusterCosts,
): void {
  for (const count of COUNTS) {
    const ids = Array.from({ length: count }, (_, at) => blockIdOf(BigInt(1 + at), at % 4));
    // One of sixteen is not there. Bigints of their own, as they come out of a request.
    const wanted = Array.from(numbers(LOOKUPS, count), (word, at) =>
      at % 16 === 0 ? blockIdOf(BigInt(count + 1 + at), 0) : BigInt(`${ids[word % count]}`),
    );
    const ways = waysOf(module, ids, wanted);
    const expected = ways[MAP]();
    const rivals = Object.entries(ways).map(([name, way]): Rival => {
      assert.equal(way(), expected, name);
      return {
        name,
        run: () => {
          sink.value += way();
        },
      };
    });
    const rows = figures.compare(`Block index of ${count} blocks, a look-up`, LOOKUPS, rivals);
    if (count !== COUNT_JUDGED) continue;
    const path = "CPU of the worker for 4 KiB that a client reads";
    const place = { path, pathNs: costs.smallReadNs, times: LOOKUPS_PER_READ };
    figures.judge(
      "block index",
      nsOf(rows, WASM),
      Math.min(nsOf(rows, MAP), nsOf(rows, TABLE)),
      place,
    );
  }
}
