/**
 * The two ways in which the loop of a shared journal waits: until there is something to do, and after a failure.
 * @module
 */
import type { Timers } from "../world/ports.ts";

export class Rest {
  readonly #timers: Timers;
  #isOver = false;
  #wake: (() => void) | null = null;
  #isWoken = false;
  #pauseEnds: (() => void)[] = [];

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  /** Until there is news, so long at most; not at all when there was some since the last time. */
  sleep(ms: number): Promise<void> {
    if (this.#isWoken || this.#isOver) {
      this.#isWoken = false;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const done = () => {
        timer.cancel();
        this.#wake = null;
        this.#isWoken = false;
        resolve();
      };
      const timer = this.#timers.after(ms, done);
      this.#wake = done;
    });
  }

  /** There is news. */
  rouse(): void {
    if (this.#wake === null) this.#isWoken = true;
    else this.#wake();
  }

  /** So long, whatever is asked for meanwhile: a store that fails is not to be asked at the pace of requests. */
  pause(ms: number): Promise<void> {
    if (this.#isOver) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.#timers.after(ms, resolve);
      this.#pauseEnds.push(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  /** What the pauses were for is over. */
  endPauses(): void {
    for (const end of this.#pauseEnds.splice(0)) end();
  }

  /** Nothing rests from now on. */
  end(): void {
    this.#isOver = true;
    this.rouse();
    this.endPauses();
  }
}
