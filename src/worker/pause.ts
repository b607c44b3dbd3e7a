/**
 * Waiting that can be ended: for loops that must stop at once.
 * @module
 */
import type { Timer, Timers } from "../world/ports.ts";

export class Pause {
  readonly #timers: Timers;
  #isOver = false;
  #timer: Timer | null = null;
  #wake: (() => void) | null = null;

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  /** For one waiter at a time. */
  wait(timeMs: number): Promise<void> {
    if (this.#isOver) return Promise.resolve();
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#timer = this.#timers.after(timeMs, resolve);
    });
  }

  /** Ends the wait that runs, if one does. */
  wake(): void {
    this.#timer?.cancel();
    this.#wake?.();
  }

  /** Ends the wait, and every later one. */
  end(): void {
    this.#isOver = true;
    this.wake();
  }
}
