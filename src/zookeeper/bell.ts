/**
 * Somebody waits for something to happen; it may have happened already. Pure.
 * @module
 */

export class Bell {
  #isRung = false;
  #waiting: (() => void)[] = [];

  /** Stays rung until it is reset. One and the same function, so that it may be left as a watcher again and again. */
  readonly ring = (): void => {
    this.#isRung = true;
    for (const resolve of this.#waiting.splice(0)) resolve();
  };

  reset(): void {
    this.#isRung = false;
  }

  rung(): Promise<void> {
    if (this.#isRung) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
