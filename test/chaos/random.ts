/**
 * Chance that comes from a seed: what a run chooses can be chosen again.
 *
 * Pure. A part of a run takes a generator of its own (`fork`), so that one part's choices do not depend on how many
 * another made: those depend on the machine's speed.
 * @module
 */
import { SeededRandom } from "../../src/raft/testing.ts";
import { hashText } from "../sim/random.ts";

export class Chance {
  readonly seed: string;
  readonly #random: SeededRandom;

  constructor(seed: string) {
    this.seed = seed;
    this.#random = new SeededRandom(hashText(seed));
  }

  /** A generator that depends on the seed and this name alone. */
  fork(name: string): Chance {
    return new Chance(`${this.seed}/${name}`);
  }

  /** In [0, 1). */
  unit(): number {
    return this.#random.uint32() / 2 ** 32;
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

  /** The same items, every order as likely as any other. */
  shuffled<T>(items: readonly T[]): T[] {
    const left = [...items];
    return items.flatMap(() => left.splice(this.integer(0, left.length), 1));
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
