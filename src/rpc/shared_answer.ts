/**
 * One answer for everybody who asks the same at about the same time.
 *
 * For questions that every worker asks each second, and whose answer is long. An answer is always made after the
 * question came, as if it were for that one alone; but making answers takes a tenth of the time at most, and whoever
 * asks in between shares the next one.
 * @module
 */
import { performance } from "node:perf_hooks";
import { pause } from "./pause.ts";

/** Rest after each answer, as a multiple of the time that it took. */
const REST_FACTOR = 9;

export class SharedAnswer<T> {
  readonly #make: () => T | Promise<T>;
  /** Not begun yet. */
  #next: Promise<T> | null = null;
  #restUntilMs = 0;

  constructor(make: () => T | Promise<T>) {
    this.#make = make;
  }

  /** @throws what making the answer throws */
  get(): Promise<T> {
    this.#next ??= this.#answer();
    return this.#next;
  }

  async #answer(): Promise<T> {
    // At least until the next turn: those who ask in this one share the answer.
    await pause(Math.max(0, this.#restUntilMs - performance.now()));
    this.#next = null;
    const startedMs = performance.now();
    try {
      return await this.#make();
    } finally {
      const endedMs = performance.now();
      this.#restUntilMs = endedMs + REST_FACTOR * (endedMs - startedMs);
    }
  }
}
