/**
 * Keeps a thread's loop awake for a moment after it has answered: what follows from an answer comes soon, and to wake a sleeping
 * thread takes as long as a third of a quick disk's fdatasync.
 *
 * For a thread on which nobody else waits, and after answers only, so that an idle one costs nothing.
 * @module
 */
import type { World } from "../world/ports.ts";

/** The time in which callers that wait for an answer ask for more, measured; longer costs others the core. */
const AWAKE_MS = 0.2;

export class Wakefulness {
  readonly #world: World;
  #untilMs = 0;
  #isAwake = false;

  constructor(world: World) {
    this.#world = world;
  }

  /** From now on, for {@link AWAKE_MS}. */
  prolong(): void {
    this.#untilMs = this.#world.clock.monotonicMs() + AWAKE_MS;
    if (this.#isAwake) return;
    this.#isAwake = true;
    this.#turn();
  }

  /** A loop with something due does not sleep. */
  #turn(): void {
    this.#world.timers.soon(() => {
      if (this.#world.clock.monotonicMs() < this.#untilMs) this.#turn();
      else this.#isAwake = false;
    });
  }
}
