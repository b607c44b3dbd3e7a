/**
 * Bytes that a receiver has room for. Pure.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";

/** More than any client needs on its way; a client that gives more does not count right. */
const CREDIT_BYTES_MAX = 256 * 1024 * 1024;

export class Credit {
  #bytes: number;
  #wake: (() => void) | null = null;

  constructor(bytes: number) {
    this.#bytes = Math.min(bytes, CREDIT_BYTES_MAX);
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Whether somebody waits for more. */
  get isAwaited(): boolean {
    return this.#wake !== null;
  }

  add(bytes: number): void {
    this.#bytes = Math.min(this.#bytes + bytes, CREDIT_BYTES_MAX);
    this.#wake?.();
  }

  /** Takes that much, when it is there. One waits at a time. @throws RockpoolError CANCELLED when the signal fires */
  async spend(bytes: number, signal: AbortSignal): Promise<void> {
    while (this.#bytes < bytes) {
      if (signal.aborted) throw cancelled();
      await new Promise<void>((resolve) => {
        const wake = () => {
          signal.removeEventListener("abort", wake);
          this.#wake = null;
          resolve();
        };
        this.#wake = wake;
        signal.addEventListener("abort", wake);
      });
    }
    if (signal.aborted) throw cancelled();
    this.#bytes -= bytes;
  }
}

export function cancelled(): RockpoolError {
  return new RockpoolError("CANCELLED", "The request was given up");
}
