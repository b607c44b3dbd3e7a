/**
 * Pauses of about a length, so that those who lost a server together do not return together; all end when their owner does.
 * @module
 */
import type { World } from "../world/ports.ts";

export class Pauses {
  readonly #world: World;
  readonly #ends = new Set<() => void>();

  constructor(world: World) {
    this.#world = world;
  }

  /** From half to one and a half of the length. */
  about(lengthMs: number): Promise<void> {
    const ms = lengthMs * (0.5 + this.#world.random.uint32() / 2 ** 32);
    return new Promise((resolve) => {
      const end = () => {
        timer.cancel();
        this.#ends.delete(end);
        resolve();
      };
      const timer = this.#world.timers.after(ms, end);
      this.#ends.add(end);
    });
  }

  end(): void {
    for (const end of [...this.#ends]) end();
  }
}
