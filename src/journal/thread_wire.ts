/**
 * One direction of what two threads say to each other: messages of one turn travel together, since each posting wakes the
 * other thread. A message that nobody waits for travels with the next one that somebody does.
 * @module
 */
import type { Timer, Timers } from "../world/ports.ts";

/** The longest that a message waits for company. */
const PATIENCE_MS = 2;

export type WireOptions<M> = {
  readonly timers: Timers;
  /** Hands over what has gathered, in order. */
  readonly post: (messages: readonly M[]) => void;
  /** Whether a message may wait for the next one. */
  readonly mayWait: (message: M) => boolean;
};

export class Wire<M> {
  readonly #options: WireOptions<M>;
  #messages: M[] = [];
  #isFlushDue = false;
  #patience: Timer | null = null;

  constructor(options: WireOptions<M>) {
    this.#options = options;
  }

  put(message: M): void {
    this.#messages.push(message);
    if (this.#isFlushDue) return;
    const { timers, mayWait } = this.#options;
    if (mayWait(message)) this.#patience ??= timers.after(PATIENCE_MS, () => this.flush());
    else {
      this.#isFlushDue = true;
      queueMicrotask(() => this.flush());
    }
  }

  /** Hands over now. */
  flush(): void {
    this.#isFlushDue = false;
    this.#patience?.cancel();
    this.#patience = null;
    if (this.#messages.length === 0) return;
    const messages = this.#messages;
    this.#messages = [];
    this.#options.post(messages);
  }
}
