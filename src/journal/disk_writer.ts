/**
 * Who writes a batch and waits for the disk: the disk's own thread, or the thread that asks.
 *
 * A master with peers goes on while the disk works: its heartbeats and what it sends wait for nothing. A master without peers has
 * nobody who waits for it but its own callers, and the two wakings of another thread cost it more than a quick disk does (half of the time
 * of a commit, measured). So it waits itself, as long as the disk is quick: after a write that took {@link SLOW_MS} the thread
 * of the disk does the next {@link SLOW_WRITES}. What has arrived is taken in before each write, so that it makes one batch.
 * @module
 */
import { fdatasyncSync } from "node:fs";
import type { World } from "../world/ports.ts";
import { type DurableWriter, SyncError, type WritePart, writeFullySync } from "./file_system.ts";

/** Reads wait as long as that at most, once in so many writes. */
const SLOW_MS = 5;
const SLOW_WRITES = 100;

export class DiskWriter implements DurableWriter {
  readonly #thread: DurableWriter;
  readonly #world: World;
  #isAlone = false;
  #slowLeft = 0;

  constructor(thread: DurableWriter, world: World) {
    this.#thread = thread;
    this.#world = world;
  }

  /** Whether nobody waits for this thread but those that it answers. */
  get isAlone(): boolean {
    return this.#isAlone && this.#slowLeft === 0;
  }

  takes(parts: readonly WritePart[]): boolean {
    return this.#thread.takes(parts);
  }

  setAlone(isAlone: boolean): void {
    this.#isAlone = isAlone;
  }

  write(descriptor: number, parts: readonly WritePart[]): Promise<void> {
    if (this.isAlone) return this.#writeHere(descriptor, parts);
    if (this.#slowLeft > 0) this.#slowLeft -= 1;
    return this.#thread.write(descriptor, parts);
  }

  async #writeHere(descriptor: number, parts: readonly WritePart[]): Promise<void> {
    const { timers, clock } = this.#world;
    await new Promise<void>((resolve) => timers.soon(resolve));
    const beganMs = clock.monotonicMs();
    for (const { bytes, positionBytes } of parts) writeFullySync(descriptor, bytes, positionBytes);
    try {
      fdatasyncSync(descriptor);
    } catch (cause) {
      throw new SyncError(cause);
    }
    if (clock.monotonicMs() - beganMs > SLOW_MS) this.#slowLeft = SLOW_WRITES;
  }
}
