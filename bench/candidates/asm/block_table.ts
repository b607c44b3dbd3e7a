/**
 * Block index: open addressing with linear probing. A slot, little-endian; four of them fill a cache line:
 *
 *     0  u64  block id
 *     8  u32  place, 0 where the slot is empty
 *    12  u32  zero
 *
 * No SIMD: at half load a look-up meets 1.5 slots, and waits for memory, not for comparisons.
 * @module
 */

let base: usize = 0;
let mask: u32 = 0;

/** Empties a table of `capacity` slots, a power of two, and makes it the one that is meant. */
export function tableAt(at: usize, capacity: u32): void {
  base = at;
  mask = capacity - 1;
  memory.fill(at, 0, <usize>capacity << 4);
}

/** As the table in TypeScript has it, and `src/master/block_map.ts`. */
function hashOf(low: u32, high: u32): u32 {
  let hash = low ^ (high * 0x9e3779b1);
  hash = (hash ^ (hash >>> 16)) * 0x85ebca6b;
  hash = (hash ^ (hash >>> 13)) * 0xc2b2ae35;
  return hash ^ (hash >>> 16);
}

function find(id: u64): usize {
  let at = hashOf(<u32>id, <u32>(id >>> 32)) & mask;
  while (true) {
    const slot = base + (<usize>at << 4);
    if (load<u64>(slot) == id || load<u32>(slot, 8) == 0) return slot;
    at = (at + 1) & mask;
  }
}

/** @param place not 0 */
export function tablePut(id: u64, place: u32): void {
  const slot = find(id);
  store<u64>(slot, id);
  store<u32>(slot, place, 8);
}

/** 0: it is not there. */
export function tableGet(id: u64): u32 {
  return load<u32>(find(id), 8);
}

export function tableGetHalves(low: u32, high: u32): u32 {
  return load<u32>(find((<u64>high << 32) | low), 8);
}

/** Looks up `count` ids at `ids`, and writes what `tableGet` would give to `places`. */
export function tableGetMany(ids: usize, count: u32, places: usize): void {
  for (let at: usize = 0; at < count; at++)
    store<u32>(places + (at << 2), load<u32>(find(load<u64>(ids + (at << 3))), 8));
}
