/**
 * Where blocks are, compactly: a set of (block, holder) pairs with a tier each, about 20 bytes a pair
 * (a Map of bigints takes over 100), without objects that the garbage collector would walk.
 *
 * A *holder* is one registration of a worker, and its number is never used again while pairs of it
 * are left. So a worker that is lost or registers anew costs nothing at once: its old holder is retired,
 * its pairs count for nothing from then on, and go when `patrol` or a growing table meets them.
 *
 * Open addressing with linear probing; each table is three arrays of u32:
 *
 *     low, high   the block id          place   holder << 12 | tier, 0 where the slot is empty
 *
 * Pairs of one block are neighbours. Removing shifts later ones back, so there are no tombstones. The id's
 * hash picks one of 64 tables, each growing by itself: a map of ten million pairs grows in steps of
 * milliseconds.
 *
 * Invariant: from the home slot of a pair's block up to the pair no slot is empty.
 * @module
 */
import type { BlockId } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";

/** A registration of a worker: 1 to HOLDER_MAX. */
export type Holder = number;
const TIER_BITS = 12;
const TIER_MASK = (1 << TIER_BITS) - 1;
/** Tiers that a map tells apart: 0 to TIER_MAX. */
export const TIER_MAX = TIER_MASK;
const HOLDER_MAX = 2 ** (32 - TIER_BITS) - 1;

const TABLE_BITS = 6;
const TABLE_COUNT = 1 << TABLE_BITS;
const CAPACITY_MIN = 64;

/** One id as two halves: making them by bigint arithmetic would allocate. */
const halves = new BigInt64Array(1);
const words = new Uint32Array(halves.buffer);

function splitId(blockId: BlockId): void {
  halves[0] = blockId;
}

function hashOf(low: number, high: number): number {
  // Finalizer of MurmurHash3: ids of neighbouring files differ in few bits.
  let hash = low ^ Math.imul(high, 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

class Table {
  count = 0;
  low = new Uint32Array(CAPACITY_MIN);
  high = new Uint32Array(CAPACITY_MIN);
  place = new Uint32Array(CAPACITY_MIN);

  get mask(): number {
    return this.place.length - 1;
  }

  /** Home slot: the bits above those that chose the table. */
  home(low: number, high: number): number {
    return (hashOf(low, high) >>> TABLE_BITS) & this.mask;
  }

  /** Slot of a pair, or of the empty slot where it belongs. */
  find(low: number, high: number, holder: Holder): number {
    const { mask } = this;
    let at = this.home(low, high);
    while (this.place[at] !== 0) {
      const isSame = this.low[at] === low && this.high[at] === high;
      if (isSame && holderAt(this, at) === holder) return at;
      at = (at + 1) & mask;
    }
    return at;
  }

  set(at: number, low: number, high: number, place: number): void {
    this.low[at] = low;
    this.high[at] = high;
    this.place[at] = place;
  }

  /** Empties a slot and moves back what could then not be found. */
  remove(slot: number): void {
    const { mask } = this;
    let hole = slot;
    for (let at = (hole + 1) & mask; this.place[at] !== 0; at = (at + 1) & mask) {
      // `as number`: `at` is within the table.
      const low = this.low[at] as number;
      const high = this.high[at] as number;
      const home = this.home(low, high);
      // A pair may move to the hole unless its home lies after the hole.
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      this.set(hole, low, high, this.place[at] as number);
      hole = at;
    }
    this.place[hole] = 0;
    this.count--;
  }
}

function holderAt(table: Table, at: number): Holder {
  return (table.place[at] as number) >>> TIER_BITS;
}

export class BlockMap {
  readonly #tables = Array.from({ length: TABLE_COUNT }, () => new Table());
  /** Pairs of each living holder. */
  readonly #counts = new Map<Holder, number>();
  /** Pairs of each retired holder that still take room; its number must wait for them. */
  readonly #leftovers = new Map<Holder, number>();
  #lastHolder: Holder = 0;
  /** Where `patrol` goes on. */
  #patrolTable = 0;
  #patrolSlot = 0;

  /** A number for a new registration; it has no blocks. */
  newHolder(): Holder {
    invariant(this.#counts.size + this.#leftovers.size < HOLDER_MAX, "a holder's number is free");
    let holder = this.#lastHolder;
    do {
      holder = holder === HOLDER_MAX ? 1 : holder + 1;
    } while (this.#counts.has(holder) || this.#leftovers.has(holder));
    this.#lastHolder = holder;
    this.#counts.set(holder, 0);
    return holder;
  }

  /** From now on the holder has no blocks, and its number means nothing. */
  retire(holder: Holder): void {
    const count = this.#counts.get(holder);
    invariant(count !== undefined, "a holder is retired once");
    this.#counts.delete(holder);
    if (count > 0) this.#leftovers.set(holder, count);
  }

  /** Blocks of a living holder. */
  countOf(holder: Holder): number {
    return this.#counts.get(holder) ?? 0;
  }

  /** Pairs that take room, those of retired holders among them. */
  get pairCount(): number {
    return this.#tables.reduce((sum, { count }) => sum + count, 0);
  }

  /** Adds a pair, or changes its tier. @param tier 0 to TIER_MAX */
  add(blockId: BlockId, holder: Holder, tier: number): void {
    const count = this.#counts.get(holder);
    invariant(count !== undefined, "blocks are added to a living holder");
    invariant(tier >= 0 && tier <= TIER_MAX, "a tier's number fits");
    splitId(blockId);
    const [low, high] = [words[0] as number, words[1] as number];
    const table = this.#tableOf(low, high);
    // A quarter stays empty: probes are short and always end.
    if ((table.count + 1) * 4 > table.place.length * 3) this.#grow(table);
    const at = table.find(low, high, holder);
    if (table.place[at] === 0) {
      table.count++;
      this.#counts.set(holder, count + 1);
    }
    table.set(at, low, high, ((holder << TIER_BITS) | tier) >>> 0);
  }

  /** @returns false when the holder does not have the block */
  remove(blockId: BlockId, holder: Holder): boolean {
    const count = this.#counts.get(holder);
    if (count === undefined) return false;
    splitId(blockId);
    const [low, high] = [words[0] as number, words[1] as number];
    const table = this.#tableOf(low, high);
    const at = table.find(low, high, holder);
    if (table.place[at] === 0) return false;
    table.remove(at);
    this.#counts.set(holder, count - 1);
    return true;
  }

  has(blockId: BlockId, holder: Holder): boolean {
    splitId(blockId);
    const [low, high] = [words[0] as number, words[1] as number];
    const table = this.#tableOf(low, high);
    return this.#counts.has(holder) && table.place[table.find(low, high, holder)] !== 0;
  }

  /** Calls back for each living holder of a block, in no order. The callback must not change the map. */
  forEachHolder(blockId: BlockId, visit: (holder: Holder, tier: number) => void): void {
    splitId(blockId);
    const [low, high] = [words[0] as number, words[1] as number];
    const table = this.#tableOf(low, high);
    const { mask } = table;
    for (let at = table.home(low, high); table.place[at] !== 0; at = (at + 1) & mask) {
      if (table.low[at] !== low || table.high[at] !== high) continue;
      const holder = holderAt(table, at);
      if (this.#counts.has(holder)) visit(holder, (table.place[at] as number) & TIER_MASK);
    }
  }

  /**
   * Goes on through the map for `slots` slots, at most once around: drops pairs of retired holders and
   * shows the others. A pair that moves meanwhile may be missed until the next time around, or shown again.
   * The callback must not change the map.
   */
  patrol(slots: number, visit: (blockId: BlockId, holder: Holder) => void): void {
    let left = Math.min(
      slots,
      this.#tables.reduce((sum, { place }) => sum + place.length, 0),
    );
    while (left > 0) {
      const table = this.#tables[this.#patrolTable] as Table; // kept below TABLE_COUNT
      if (this.#patrolSlot >= table.place.length) {
        this.#patrolTable = (this.#patrolTable + 1) % TABLE_COUNT;
        this.#patrolSlot = 0;
        continue;
      }
      const at = this.#patrolSlot;
      if (table.place[at] !== 0 && !this.#counts.has(holderAt(table, at))) {
        // Another may move here: look at this slot again.
        this.#dropped(holderAt(table, at));
        table.remove(at);
        continue;
      }
      this.#patrolSlot++;
      left--;
      if (table.place[at] === 0) continue;
      words[0] = table.low[at] as number;
      words[1] = table.high[at] as number;
      visit(halves[0] as BlockId, holderAt(table, at));
    }
  }

  #tableOf(low: number, high: number): Table {
    return this.#tables[hashOf(low, high) & (TABLE_COUNT - 1)] as Table;
  }

  /** Rebuilds a table without the pairs of retired holders, and larger if it needs to be. */
  #grow(table: Table): void {
    const { low, high, place } = table;
    let living = 0;
    for (let at = 0; at < place.length; at++) {
      if (place[at] === 0) continue;
      const holder = holderAt(table, at);
      if (this.#counts.has(holder)) living++;
      else this.#dropped(holder);
    }
    // Half full at most afterwards, so that growing stays rare.
    let capacity = CAPACITY_MIN;
    while (capacity < (living + 1) * 2) capacity *= 2;
    table.low = new Uint32Array(capacity);
    table.high = new Uint32Array(capacity);
    table.place = new Uint32Array(capacity);
    table.count = living;
    for (let at = 0; at < place.length; at++) {
      const pair = place[at] as number;
      const holder = pair >>> TIER_BITS;
      if (pair === 0 || !this.#counts.has(holder)) continue;
      const [lowHalf, highHalf] = [low[at] as number, high[at] as number];
      table.set(table.find(lowHalf, highHalf, holder), lowHalf, highHalf, pair);
    }
  }

  #dropped(holder: Holder): void {
    const left = this.#leftovers.get(holder);
    invariant(left !== undefined, "every pair is of a living holder or a leftover");
    if (left === 1) this.#leftovers.delete(holder);
    else this.#leftovers.set(holder, left - 1);
  }
}
