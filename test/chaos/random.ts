/**
 * Chance that comes from a seed: what a run chooses can be chosen again.
 *
 * Pure. A part of a run takes a generator of its own (`fork`), so that one part's choices do not depend on how many
 * another made: those depend on the machine's speed.
 * @module
 */

/** FNV-1a over UTF-16 code units. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/** Mulberry32: 32 bits of state, good enough to choose among a few dozen things. */
export class Chance {
  readonly seed: string;
  #state: number;

  constructor(seed: string) {
    this.seed = seed;
    this.#state = hashOf(seed);
  }

  /** A generator that depends on the seed and this name alone. */
  fork(name: string): Chance {
    return new Chance(`${this.seed}/${name}`);
  }

  /** In [0, 1). */
  unit(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let word = this.#state;
    word = Math.imul(word ^ (word >>> 15), word | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return ((word ^ (word >>> 14)) >>> 0) / 0x1_0000_0000;
  }

  /** A whole number from `from` up to and without `to`. */
  integer(from: number, to: number): number {
    return from + Math.floor(this.unit() * (to - from));
  }

  /** True once in `n` times. */
  oneIn(n: number): boolean {
    return this.integer(0, n) === 0;
  }

  /** Between the two, small values as likely as large ones by order of magnitude. */
  logarithmic(from: number, to: number): number {
    return from * (to / from) ** this.unit();
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.integer(0, items.length)];
    if (item === undefined) throw new Error("Nothing to pick from");
    return item;
  }

  /** Picks by weight; weights of 0 are never picked. */
  weighted<T>(items: readonly (readonly [item: T, weight: number])[]): T {
    let left = this.unit() * items.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [item, weight] of items) {
      left -= weight;
      if (left < 0) return item;
    }
    return this.pick(items)[0];
  }
}
