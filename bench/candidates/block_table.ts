/**
 * The block index in TypeScript: the table of `asm/block_table.ts` in one typed array, four words a slot.
 * @module
 */

/** One id as two halves: making them by bigint arithmetic would allocate. */
const halves = new BigInt64Array(1);
const words = new Uint32Array(halves.buffer);

export class BlockTable {
  readonly #slots: Uint32Array;
  readonly #mask: number;

  /** @param capacity a power of two, more than there will be ids */
  constructor(capacity: number) {
    this.#slots = new Uint32Array(4 * capacity);
    this.#mask = capacity - 1;
  }

  /** First word of the id's slot, or of the empty one where it belongs. */
  #find(low: number, high: number): number {
    let hash = low ^ Math.imul(high, 0x9e3779b1);
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    hash ^= hash >>> 16;
    const slots = this.#slots;
    let at = hash & this.#mask;
    for (;;) {
      const slot = at << 2;
      if (slots[slot + 2] === 0 || (slots[slot] === low && slots[slot + 1] === high)) return slot;
      at = (at + 1) & this.#mask;
    }
  }

  /** @param place not 0 */
  put(id: bigint, place: number): void {
    halves[0] = id;
    const low = words[0] as number; // there are two
    const high = words[1] as number; // there are two
    const slot = this.#find(low, high);
    this.#slots[slot] = low;
    this.#slots[slot + 1] = high;
    this.#slots[slot + 2] = place;
  }

  /** 0: it is not there. */
  get(id: bigint): number {
    halves[0] = id;
    // `as number`: there are two words, and four of each slot.
    return this.#slots[this.#find(words[0] as number, words[1] as number) + 2] as number;
  }
}
