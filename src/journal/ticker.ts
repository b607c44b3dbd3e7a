/**
 * Turns time into ticks of Raft's core, and knows what to do when this thread did not run for a while. Pure.
 *
 * After a stall nobody was heard because nobody listened, which is forgiven once: the timers start anew. Where stalls follow
 * one another, that would put off every election, and every look for a quorum, for ever; so there a stall counts for two
 * heartbeats. What waited in the sockets comes before the next one, and outweighs them if a leader is there.
 * @module
 */
import type { Raft } from "../raft/messages.ts";
import type { JournalTimings } from "./journal_protocol.ts";

/** A machine without a free core stalls all the time; saying so now and then is enough. */
const TOLD_INTERVAL_MS = 1000;

export class Ticker {
  readonly #timings: JournalTimings;
  readonly #onStalled: (gapMs: number) => void;
  #lastMs: number;
  /** Without a stall, since the timers last started anew because of one. */
  #steadyMs = Number.POSITIVE_INFINITY;
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(timings: JournalTimings, nowMs: number, onStalled: (gapMs: number) => void) {
    this.#timings = timings;
    this.#lastMs = nowMs;
    this.#onStalled = onStalled;
  }

  /** @returns whether this thread had stood still */
  advance(raft: Pick<Raft, "tick" | "resetTimers">, nowMs: number): boolean {
    const { tickMs, heartbeatMs } = this.#timings;
    const gapMs = nowMs - this.#lastMs;
    if (gapMs > 2 * heartbeatMs) {
      this.#lastMs = nowMs;
      this.#stalled(raft, gapMs, nowMs);
      return true;
    }
    for (; nowMs - this.#lastMs >= tickMs; this.#lastMs += tickMs) {
      this.#steadyMs += tickMs;
      raft.tick();
    }
    return false;
  }

  #stalled(raft: Pick<Raft, "tick" | "resetTimers">, gapMs: number, nowMs: number): void {
    const { tickMs, heartbeatMs, electionMaxMs } = this.#timings;
    if (nowMs - this.#toldMs >= TOLD_INTERVAL_MS) {
      this.#toldMs = nowMs;
      this.#onStalled(Math.round(gapMs));
    }
    if (this.#steadyMs >= electionMaxMs) {
      this.#steadyMs = 0;
      raft.resetTimers();
    } else for (let ms = 0; ms < 2 * heartbeatMs; ms += tickMs) raft.tick();
  }
}
