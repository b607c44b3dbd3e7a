/**
 * Committed entries on their way from the log to the main thread: as far ahead of what it has applied as is allowed, and
 * where the state stands. Entries that the main thread has proposed itself are not sent back: it is told which of them they
 * are. That they are the same is certain by their index and term, of which there is one entry only.
 * @module
 */
import type { LogIndex, Term } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import type { RaftStorage } from "../raft/messages.ts";
import { type FromThread, packEntries } from "./journal_protocol.ts";
import type { StatePosition } from "./journal_system.ts";

/** One message of committed entries to the main thread, and how many may be unapplied. */
const DELIVER_BYTES_MAX = 1024 * 1024;
const DELIVERIES_MAX = 8;

/** Consecutive entries that the main thread has proposed, and was told the place of. */
type OwnRun = { readonly firstIndex: LogIndex; lastIndex: LogIndex; readonly term: Term };

export class Delivery {
  readonly #post: (message: FromThread) => void;
  /** Of the state. */
  #position: StatePosition = { index: 0, term: 0, membership: null };
  #delivered: StatePosition = this.#position;
  /** Last positions of the deliveries that the main thread has not applied. */
  #waiting: StatePosition[] = [];
  /** Those that are not delivered. */
  #own: OwnRun[] = [];

  constructor(post: (message: FromThread) => void) {
    this.#post = post;
  }

  get position(): StatePosition {
    return this.#position;
  }

  get deliveredIndex(): LogIndex {
    return this.#delivered.index;
  }

  /** The state stands there, and nothing is on its way. */
  restart(position: StatePosition): void {
    this.#position = position;
    this.#delivered = position;
    this.#waiting = [];
    // What was applied already the main thread may have let go.
    this.#own = [];
  }

  /** The main thread has proposed these entries, and learns their place before anything else that is posted from now on. */
  proposed(firstIndex: LogIndex, count: number, term: Term): void {
    const lastIndex = firstIndex + count - 1;
    const run = this.#own.at(-1);
    if (run?.term === term && run.lastIndex === firstIndex - 1) run.lastIndex = lastIndex;
    else this.#own.push({ firstIndex, lastIndex, term });
  }

  send(log: Pick<RaftStorage, "entries" | "termOf">, committed: LogIndex): void {
    while (this.#delivered.index < committed && this.#waiting.length < DELIVERIES_MAX) {
      const from = this.#delivered.index + 1;
      if (this.#sendOwn(log, from, committed)) continue;
      const entries = log.entries(from, committed + 1, DELIVER_BYTES_MAX);
      const last = entries.at(-1);
      invariant(last !== undefined, "committed entries are in the log");
      const config = entries.findLast(({ kind }) => kind === "config");
      const { index, term } = last;
      const membership = config?.payload ?? this.#delivered.membership;
      this.#sent({ index, term, membership });
      this.#post({ kind: "committed", entries: packEntries(entries) });
    }
  }

  /** @returns false when the first of them is not the main thread's own */
  #sendOwn(log: Pick<RaftStorage, "termOf">, from: LogIndex, committed: LogIndex): boolean {
    const [run] = this.#own;
    if (run === undefined || run.firstIndex > from) return false;
    const index = Math.min(run.lastIndex, committed);
    const { term } = run;
    // Terms never fall along the log: if both ends are of this term, then so is what lies between.
    const isTheSame = log.termOf(from) === term && log.termOf(index) === term;
    if (isTheSame) {
      this.#sent({ index, term, membership: this.#delivered.membership });
      this.#post({ kind: "committedOwn", firstIndex: from, count: index - from + 1, term });
    } else this.#own.shift();
    return isTheSame;
  }

  #sent(position: StatePosition): void {
    this.#delivered = position;
    this.#waiting.push(position);
    while ((this.#own[0]?.lastIndex ?? Number.POSITIVE_INFINITY) <= position.index)
      this.#own.shift();
  }

  /** Everything through `index` is applied. */
  applied(index: LogIndex): void {
    for (let [first] = this.#waiting; first !== undefined && first.index <= index; ) {
      this.#position = first;
      this.#waiting.shift();
      [first] = this.#waiting;
    }
  }
}
