/**
 * The bound on what a client keeps of writes under way, to send it to another worker when theirs is lost. Pure.
 * @module
 */

/** Four blocks of the default size. */
const MEMORY_BYTES = 256 * 1024 * 1024;

/** Memory in which all streams of a client keep what they may have to send again. */
export class ReplayMemory {
  #leftBytes = MEMORY_BYTES;

  /** @returns whether there was as much */
  take(bytes: number): boolean {
    if (bytes > this.#leftBytes) return false;
    this.#leftBytes -= bytes;
    return true;
  }

  giveBack(bytes: number): void {
    this.#leftBytes += bytes;
  }
}
