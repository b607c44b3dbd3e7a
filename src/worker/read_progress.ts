/**
 * What the client of a ReadBlock stream says after its first message: how far it has got, and that it has enough.
 * @module
 */
import { READ_WINDOW_BYTES } from "../common/limits.ts";
import type { ReadRequest } from "../proto/gen/block_worker.ts";

export class ReadProgress {
  /** Null until the client acknowledges anything. */
  #receivedBytes: number | null = null;
  #failure: unknown = null;
  #isEnough = false;
  #wake: (() => void) | null = null;
  #end: () => void = () => {};
  /** Resolves when the client wants no more, or is gone. */
  readonly over: Promise<void> = new Promise((resolve) => {
    this.#end = resolve;
  });

  /** Reads what the client says until its stream ends; never rejects. */
  async follow(requests: AsyncIterator<ReadRequest>): Promise<void> {
    try {
      for (;;) {
        const next = await requests.next();
        if (next.done === true) break;
        const { offsetReceived } = next.value;
        if (offsetReceived === undefined) continue;
        this.#receivedBytes = Math.max(this.#receivedBytes ?? 0, offsetReceived);
        this.#wakeUp();
      }
      this.#isEnough = true;
    } catch (error) {
      this.#failure = error;
    }
    this.#end();
    this.#wakeUp();
  }

  #wakeUp(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }

  /** Whether the client half-closed. @throws what ended the stream, if the client cancelled or sent nonsense */
  get isEnough(): boolean {
    if (this.#failure !== null) throw this.#failure;
    return this.#isEnough;
  }

  /** Resolves when bytes from `positionBytes` on may be sent, or the client wants no more. For one caller. */
  async allows(positionBytes: number): Promise<void> {
    while (!this.isEnough && !this.#isInWindow(positionBytes))
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
  }

  #isInWindow(positionBytes: number): boolean {
    return this.#receivedBytes === null || positionBytes - this.#receivedBytes < READ_WINDOW_BYTES;
  }
}
