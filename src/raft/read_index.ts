/**
 * Linearizable reads without a log entry (ReadIndex, thesis 6.4), for one reign of one leader.
 *
 * A read gets the commit index of the moment it was asked, and is released when a quorum has
 * answered a heartbeat that was sent after it, so that no later leader can have committed anything
 * before it. A leader that has not yet committed an entry of its own term does not know what is
 * committed: reads wait for that first. Contexts rise, so one heartbeat round confirms all reads
 * before it. The queue lives no longer than an election time-out without a quorum: then the reign
 * ends, and every read is given back.
 * @module
 */
import type { LogIndex } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import type { ReadState } from "./messages.ts";

export class ReadQueue {
  /** Asked before the first commit of the term. */
  #early: number[] = [];
  /** With their index, waiting for a quorum. */
  #asked: ReadState[] = [];
  #newestContext = 0;

  /** What heartbeats carry: the newest read that waits for a quorum, 0 for none. */
  get pendingContext(): number {
    return this.#asked.at(-1)?.context ?? 0;
  }

  /** @param commitIndex null: nothing of this term is committed yet */
  ask(context: number, commitIndex: LogIndex | null): void {
    invariant(context > this.#newestContext, "contexts of reads are positive and rise");
    this.#newestContext = context;
    if (commitIndex === null) this.#early.push(context);
    else this.#asked.push({ context, index: commitIndex });
  }

  /** The first entry of the term is committed: early reads may be asked now. */
  termCommitted(commitIndex: LogIndex): void {
    for (const context of this.#early) this.#asked.push({ context, index: commitIndex });
    this.#early = [];
  }

  /** Releases the reads through the context that a quorum has confirmed. */
  confirm(quorumContext: number): readonly ReadState[] {
    let count = 0;
    for (const { context } of this.#asked) {
      if (context > quorumContext) break;
      count += 1;
    }
    return count === 0 ? [] : this.#asked.splice(0, count);
  }

  /** Contexts of all reads that are still open. */
  abort(): readonly number[] {
    return [...this.#asked.map(({ context }) => context), ...this.#early];
  }
}
