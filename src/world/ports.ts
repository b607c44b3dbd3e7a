/**
 * The world as pure code sees it: time, chance and timers are arguments, so that tests and the
 * simulator own them.
 * @module
 */

export interface Clock {
  /** Milliseconds of a clock that never goes back; only differences mean something. */
  monotonicMs(): number;
  /** Wall-clock milliseconds since 1970; may jump. Only ever data, never a reason to decide (but for zookeeper/session.ts, to trust less). */
  wallMs(): number;
}

export interface Random {
  /** Uniform in [0, 2^32). */
  uint32(): number;
}

export interface Timer {
  cancel(): void;
}

export interface Timers {
  /** Calls back once, no earlier than `delayMs` from now. */
  after(delayMs: number, callback: () => void): Timer;
  /** Calls back once in a later turn of the loop, after what has arrived until now. */
  soon(callback: () => void): void;
}

export type World = { readonly clock: Clock; readonly random: Random; readonly timers: Timers };
