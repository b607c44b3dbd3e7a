/**
 * Tells how the repair of a damaged log goes: from whom, and when nobody who is up can help. The log itself tells what is
 * damaged and when it is repaired. Pure.
 * @module
 */
import type { LogIndex } from "../common/ids.ts";
import type { Position } from "../raft/messages.ts";
import type { CheckpointEvent } from "./journal_protocol.ts";

/** Said again after that long. */
const STUCK_INTERVAL_MS = 30_000;
/** A cluster that starts needs some moments to elect; this is no moment. */
const STUCK_AFTER_MS = 5000;

export class RepairWatch {
  readonly #onEvent: (event: CheckpointEvent) => void;
  #toldFrom: string | null = null;
  #leaderlessSinceMs: number | null = null;
  #toldStuckMs = Number.NEGATIVE_INFINITY;

  constructor(onEvent: (event: CheckpointEvent) => void) {
    this.#onEvent = onEvent;
  }

  /** @param leaderAddress null while nobody leads */
  look(
    promised: Position | null,
    lastIndex: LogIndex,
    leaderAddress: string | null,
    nowMs: number,
  ): void {
    if (promised === null) {
      this.#toldFrom = null;
      return;
    }
    if (leaderAddress !== null) {
      this.#leaderlessSinceMs = null;
      if (this.#toldFrom === leaderAddress) return;
      this.#toldFrom = leaderAddress;
      const promisedIndex = promised.index;
      this.#onEvent({ kind: "repairing", promisedIndex, lastIndex, fromAddress: leaderAddress });
      return;
    }
    this.#leaderlessSinceMs ??= nowMs;
    if (nowMs - this.#leaderlessSinceMs < STUCK_AFTER_MS) return;
    if (nowMs - this.#toldStuckMs < STUCK_INTERVAL_MS) return;
    this.#toldStuckMs = nowMs;
    const missing =
      promised.index > lastIndex
        ? `entries ${lastIndex + 1} to ${promised.index}`
        : `entry ${promised.index}`;
    this.#onEvent({
      kind: "repairStuck",
      missingFrom: Math.min(lastIndex + 1, promised.index),
      promisedIndex: promised.index,
      message: `The log of this master was damaged, and no master that is up has ${missing} that it had acknowledged: nobody is elected`,
      remedy:
        "Start the other masters: one of them has these entries. If they are lost everywhere, give them up with `bin/rockpool journal repair` on this master",
    });
  }
}
