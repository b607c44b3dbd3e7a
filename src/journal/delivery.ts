/**
 * Committed entries on their way from the log to the main thread: as far ahead of what it has applied as is allowed, and
 * where the state stands.
 * @module
 */
import type { LogIndex } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import type { RaftStorage } from "../raft/messages.ts";
import { type FromThread, packEntries } from "./journal_protocol.ts";
import type { StatePosition } from "./journal_system.ts";

/** One message of committed entries to the main thread, and how many may be unapplied. */
const DELIVER_BYTES_MAX = 1024 * 1024;
const DELIVERIES_MAX = 8;

export class Delivery {
  readonly #post: (message: FromThread) => void;
  /** Of the state. */
  #position: StatePosition = { index: 0, term: 0, membership: null };
  #delivered: StatePosition = this.#position;
  /** Last positions of the deliveries that the main thread has not applied. */
  #waiting: StatePosition[] = [];

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
  }

  send(log: Pick<RaftStorage, "entries">, committed: LogIndex): void {
    while (this.#delivered.index < committed && this.#waiting.length < DELIVERIES_MAX) {
      const from = this.#delivered.index + 1;
      const entries = log.entries(from, committed + 1, DELIVER_BYTES_MAX);
      const last = entries.at(-1);
      invariant(last !== undefined, "committed entries are in the log");
      const config = entries.findLast(({ kind }) => kind === "config");
      const { index, term } = last;
      const membership = config?.payload ?? this.#delivered.membership;
      this.#delivered = { index, term, membership };
      this.#waiting.push(this.#delivered);
      this.#post({ kind: "committed", entries: packEntries(entries) });
    }
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
