/**
 * Whether and when a call to the masters is sent again. Pure: time and chance come in as arguments.
 *
 * The rules are those of Alluxio's client. Sending again is safe for any call: a change of the namespace carries an
 * operation id, and the masters answer a repeated one with its first result.
 * @module
 */
import { RockpoolError, type StatusName } from "../common/errors.ts";

export type RetryPolicy = {
  /** Pause after the first failure; doubles with each. */
  readonly baseMs: number;
  /** Longest pause. */
  readonly maxMs: number;
  /** How long after the first try the last one may begin. */
  readonly budgetMs: number;
};

/** Alluxio's `alluxio.user.rpc.retry.*` defaults. */
export const DEFAULT_RETRY_POLICY: RetryPolicy = { baseMs: 50, maxMs: 3000, budgetMs: 120_000 };

/** Up to this share of a pause is added at random, so that clients which failed together do not return together. */
const JITTER = 0.1;
/** Tries for failures that a change of roles can cause for a moment, but which mostly mean a wrong setup. */
const DOUBTFUL_TRIES_MAX = 4;

/** "doubtful": tried a few times only. */
const RETRIED: Readonly<Partial<Record<StatusName, "always" | "doubtful">>> = {
  UNAVAILABLE: "always",
  CANCELLED: "always",
  UNAUTHENTICATED: "doubtful",
  UNIMPLEMENTED: "doubtful",
};

/** Counts the tries of one logical call. */
export class Retries {
  readonly #policy: RetryPolicy;
  readonly #startedMs: number;
  #failures = 0;

  constructor(policy: RetryPolicy, nowMs: number) {
    this.#policy = policy;
    this.#startedMs = nowMs;
  }

  /** How often the call has failed. */
  get failures(): number {
    return this.#failures;
  }

  remainingMs(nowMs: number): number {
    return Math.max(0, this.#startedMs + this.#policy.budgetMs - nowMs);
  }

  /**
   * Records a failure.
   * @param random from 0 to 1
   * @returns the pause before the next try in ms; null when there shall be none
   */
  pauseAfter(error: unknown, nowMs: number, random: number): number | null {
    this.#failures++;
    const rule = error instanceof RockpoolError ? RETRIED[error.status] : undefined;
    if (rule === undefined) return null;
    if (rule === "doubtful" && this.#failures >= DOUBTFUL_TRIES_MAX) return null;
    const pauseMs =
      Math.min(this.#policy.maxMs, this.#policy.baseMs * 2 ** (this.#failures - 1)) *
      (1 + JITTER * random);
    return pauseMs > this.remainingMs(nowMs) ? null : pauseMs;
  }
}
