/**
 * Chance from a seed: xoshiro128** seeded by splitmix32. Each part of a run has a stream of its own, forked by name, so
 * that a change in one part does not shift what the others draw.
 * @module
 */
import type { Random } from "../../src/world/ports.ts";

function splitmix(state: number): () => number {
  let at = state >>> 0;
  return () => {
    at = (at + 0x9e3779b9) >>> 0;
    let mixed = at ^ (at >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
}

/** FNV-1a of a text: names of streams, labels of events. */
export function hashText(text: string, seed = 0x811c9dc5): number {
  let hash = seed;
  for (let at = 0; at < text.length; at++)
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193) >>> 0;
  return hash;
}

export class SimRandom implements Random {
  readonly #seed: number;
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  constructor(seed: number) {
    const next = splitmix(seed);
    this.#a = next();
    this.#b = next();
    this.#c = next();
    this.#d = next();
    this.#seed = next();
  }

  /** A stream of its own; the same name gives the same stream, however much was drawn here. */
  fork(name: string): SimRandom {
    return new SimRandom(hashText(name, this.#seed));
  }

  uint32(): number {
    const product = Math.imul(this.#b, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result;
  }

  /** Uniform in [0, 1). */
  unit(): number {
    return this.uint32() / 0x1_0000_0000;
  }

  below(count: number): number {
    return this.uint32() % count;
  }

  between(from: number, to: number): number {
    return from + this.unit() * (to - from);
  }

  chance(probability: number): boolean {
    return this.uint32() < probability * 0x1_0000_0000;
  }

  /** Mostly short, sometimes long: waits and delays. */
  skewed(from: number, to: number): number {
    const unit = this.unit();
    return from + unit * unit * unit * (to - from);
  }

  pick<T>(from: readonly T[]): T {
    const found = from[this.below(from.length || 1)];
    if (from.length === 0) throw new Error("There is nothing to pick from");
    return found as T; // the index is below the length
  }

  shuffled<T>(from: readonly T[]): T[] {
    const all = [...from];
    for (let at = all.length - 1; at > 0; at--) {
      const other = this.below(at + 1);
      [all[at], all[other]] = [all[other] as T, all[at] as T]; // both indexes are below the length
    }
    return all;
  }
}
