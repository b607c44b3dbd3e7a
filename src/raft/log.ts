/**
 * The log as the core sees it: the storage's entries, and behind them a tail that was appended but
 * not yet handed out to be persisted. Knows four positions:
 *
 *     handed out to apply <= min(commit, durable)      commit <= last      durable <= last
 *
 * The storage may drop entries from its begin at any time, as far as they were applied here. A snapshot that was installed
 * replaces the whole log. A log that was damaged on disk (see `RaftStorage.promised`) is shorter than what this node has
 * acknowledged: until it has grown to that position again, it counts for elections as if it still reached there.
 *
 * Promises: committed entries are never overwritten; the commit index never goes back; entries are
 * handed out to be applied once, in order, and only when they are durable here, so that a state
 * machine which survives a crash is never ahead of the log beside it.
 * @module
 */
import type { LogIndex, Term } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import { Memberships } from "./memberships.ts";
import type { Entry, MembershipAt, Position, RaftStorage, Snapshot } from "./messages.ts";

/** Index, term, kind and framing of an entry, about. */
const ENTRY_OVERHEAD_BYTES = 32;

/** What an entry counts for towards the bounds in bytes. */
export function entryBytes(entry: Entry): number {
  return entry.payload.byteLength + ENTRY_OVERHEAD_BYTES;
}

/** Thesis 3.6.1: a later last term wins, then a longer log. */
function isAtOrBehind(one: Position, other: Position): boolean {
  return one.term > other.term || (one.term === other.term && one.index >= other.index);
}

/** Entries on their way to the disk; `stillValidThrough` sinks when a later batch overwrites them. */
type Batch = { readonly last: Position; stillValidThrough: LogIndex };

export class RaftLog {
  readonly #storage: RaftStorage;
  /** Appended and not yet handed out; may overwrite entries of the storage. */
  #tail: Entry[] = [];
  /** Handed out and not yet reported durable, oldest first. */
  #batches: Batch[] = [];
  #lastIndex: LogIndex;
  #lastTerm: Term;
  #commitIndex: LogIndex;
  #durableIndex: LogIndex;
  #handedOutIndex: LogIndex;
  #memberships: Memberships;
  #promised: Position | null;

  constructor(storage: RaftStorage, appliedIndex: LogIndex) {
    this.#storage = storage;
    this.#lastIndex = storage.lastIndex();
    this.#memberships = new Memberships(storage.memberships());
    this.#promised = storage.promised();
    // What was applied had been committed, though the commit index on disk may lag behind.
    const commitIndex = Math.max(
      storage.hardState.commitIndex,
      appliedIndex,
      this.#memberships.provenCommitIndex,
    );
    const isWhole = commitIndex <= this.#lastIndex;
    invariant(isWhole || this.#promised !== null, "the log on disk reaches its commit index");
    invariant(appliedIndex <= this.#lastIndex, "what was applied is in the log");
    invariant(appliedIndex >= storage.firstIndex() - 1, "the log begins behind what was applied");
    this.#commitIndex = Math.min(commitIndex, this.#lastIndex);
    this.#memberships.committed(this.#commitIndex);
    this.#memberships.check();
    this.#durableIndex = this.#lastIndex;
    this.#handedOutIndex = appliedIndex;
    const lastTerm = storage.termOf(this.#lastIndex);
    invariant(lastTerm !== undefined, "the storage knows the term of its last entry");
    this.#lastTerm = lastTerm;
  }

  get lastIndex(): LogIndex {
    return this.#lastIndex;
  }
  get lastTerm(): Term {
    return this.#lastTerm;
  }
  get commitIndex(): LogIndex {
    return this.#commitIndex;
  }
  /** The last position that is known to be committed; 0 and 0 when nothing is, or the storage is just being replaced. */
  get committed(): Position {
    const term = this.termOf(this.#commitIndex);
    return term === undefined ? { index: 0, term: 0 } : { index: this.#commitIndex, term };
  }
  /** Entries to here survive a crash of this node, and no overwriting of them is under way. */
  get durableIndex(): LogIndex {
    return this.#durableIndex;
  }

  /** The membership in force. A new object when it changes. */
  get membershipAt(): MembershipAt {
    return this.#memberships.inForce;
  }
  /** Whether a membership is in the log that is not known to be committed. */
  get isMembershipPending(): boolean {
    return this.#memberships.isPending;
  }
  /** Whether this node has acknowledged more than it can read now. */
  get isRepairing(): boolean {
    return this.#promised !== null && !isAtOrBehind(this.#last(), this.#promised);
  }
  snapshot(): Snapshot | null {
    return this.#storage.snapshot();
  }

  #last(): Position {
    return { index: this.#lastIndex, term: this.#lastTerm };
  }

  /** Undefined behind the end of the log, and before the entry that precedes its begin. */
  termOf(index: LogIndex): Term | undefined {
    if (index === this.#lastIndex) return this.#lastTerm;
    if (index > this.#lastIndex) return undefined;
    const tailBegin = this.#tail[0]?.index;
    if (tailBegin !== undefined && index >= tailBegin) return this.#tail[index - tailBegin]?.term;
    return this.#storage.termOf(index);
  }

  has(index: LogIndex, term: Term): boolean {
    return this.termOf(index) === term;
  }

  /** Whether a log that ends there has all that this node has acknowledged, so that it may lead. */
  isUpToDate(lastIndex: LogIndex, lastTerm: Term): boolean {
    const other = { index: lastIndex, term: lastTerm };
    return (
      isAtOrBehind(other, this.#last()) &&
      (this.#promised === null || isAtOrBehind(other, this.#promised))
    );
  }

  /**
   * The last position at or before `index` whose term is at most `term`: nothing behind it can
   * match a log that has `term` at `index`, so a whole conflicting term is skipped in one step.
   * Where the log was trimmed the search ends, at a position of unknown term.
   */
  lastIndexWithTermUpTo(term: Term, index: LogIndex): LogIndex {
    let at = Math.min(index, this.#lastIndex);
    for (;;) {
      const termAt = this.termOf(at);
      if (termAt === undefined || termAt <= term) return at;
      at -= 1;
    }
  }

  /**
   * Entries from `from` on: at least one if there is any, then what fits. May stop early where the
   * storage ends and the tail begins.
   */
  entries(from: LogIndex, limits: { countMax: number; bytesMax: number }): readonly Entry[] {
    const to = Math.min(this.#lastIndex + 1, from + limits.countMax);
    if (from >= to) return [];
    const tailBegin = this.#tail[0]?.index ?? this.#lastIndex + 1;
    if (from < tailBegin)
      return this.#storage.entries(from, Math.min(to, tailBegin), limits.bytesMax);
    const found: Entry[] = [];
    let bytes = 0;
    for (const entry of this.#tail.slice(from - tailBegin, to - tailBegin)) {
      bytes += entryBytes(entry);
      if (found.length > 0 && bytes > limits.bytesMax) break;
      found.push(entry);
    }
    return found;
  }

  /**
   * Adds what is new of `entries`, which begin right behind a position that matches. Entries that
   * are there already stay; from the first that differs on, the old ones go.
   */
  append(entries: readonly Entry[]): void {
    let at = 0;
    for (const entry of entries) {
      if (entry.index > this.#lastIndex || this.termOf(entry.index) !== entry.term) break;
      at += 1;
    }
    const first = entries[at];
    if (first === undefined) return;
    if (first.index <= this.#lastIndex) this.#truncateFrom(first.index);
    for (; at < entries.length; at += 1) {
      const entry = entries[at];
      invariant(entry?.index === this.#lastIndex + 1, "entries follow one another");
      invariant(entry.term >= this.#lastTerm, "terms never fall within a log");
      this.#tail.push(entry);
      if (entry.kind === "config") this.#memberships.appended(entry);
      this.#lastIndex = entry.index;
      this.#lastTerm = entry.term;
    }
  }

  /** The caller appends at once: a log never gets shorter for good without a longer or newer one. */
  #truncateFrom(index: LogIndex): void {
    invariant(index > this.#commitIndex, "a committed entry is never overwritten");
    const lastTerm = this.termOf(index - 1);
    invariant(lastTerm !== undefined, "the entry before the first conflict is in the log");
    const tailBegin = this.#tail[0]?.index;
    if (tailBegin !== undefined) this.#tail.length = Math.max(0, index - tailBegin);
    for (const batch of this.#batches)
      batch.stillValidThrough = Math.min(batch.stillValidThrough, index - 1);
    this.#memberships.truncatedFrom(index);
    this.#durableIndex = Math.min(this.#durableIndex, index - 1);
    this.#lastIndex = index - 1;
    this.#lastTerm = lastTerm;
  }

  /** Moves the commit index up to `index`, or leaves it. */
  commitTo(index: LogIndex): void {
    invariant(index <= this.#lastIndex, "what is committed is in the log");
    this.#commitIndex = Math.max(this.#commitIndex, index);
    this.#memberships.committed(this.#commitIndex);
    this.#memberships.check();
  }

  /** The storage begins behind this snapshot now, and holds nothing else. */
  reset(snapshot: Snapshot): void {
    const { index, term, membership } = snapshot;
    const storage = this.#storage;
    invariant(this.#tail.length === 0, "all entries were handed out before a log is replaced");
    invariant(index > this.#commitIndex, "a snapshot never takes a log back");
    invariant(storage.lastIndex() === index, "a log that was replaced ends at the snapshot");
    invariant(storage.termOf(index) === term, "a log that was replaced begins at the snapshot");
    this.#batches = [];
    this.#lastIndex = index;
    this.#lastTerm = term;
    this.#commitIndex = index;
    this.#durableIndex = index;
    this.#handedOutIndex = index;
    this.#memberships = new Memberships([{ index, membership }]);
    this.#promised = storage.promised();
  }

  /** The tail, to be persisted; from now on the storage must have it. */
  takeTail(): readonly Entry[] {
    const taken = this.#tail;
    if (taken.length === 0) return [];
    this.#batches.push({
      last: { index: this.#lastIndex, term: this.#lastTerm },
      stillValidThrough: this.#lastIndex,
    });
    this.#tail = [];
    return taken;
  }

  /**
   * A batch is durable, and so are those before it. Which one is told by the order: the same
   * (index, term) may have been written, overwritten and written again, and then the first answer
   * is not yet one for the last batch (the overwriting may reach the disk without the rest).
   */
  persisted(through: Position): void {
    this.#promised = this.#storage.promised();
    const at = this.#batches.findIndex(
      ({ last }) => last.index === through.index && last.term === through.term,
    );
    if (at < 0) return;
    for (const batch of this.#batches.splice(0, at + 1))
      this.#durableIndex = Math.max(this.#durableIndex, batch.stillValidThrough);
    invariant(this.#durableIndex <= this.#lastIndex, "what is durable is in the log");
  }

  /** The last entry that may be applied, if it has risen since the last call; else null. */
  takeCommitted(): LogIndex | null {
    const through = Math.min(this.#commitIndex, this.#durableIndex);
    if (through <= this.#handedOutIndex) return null;
    this.#handedOutIndex = through;
    return through;
  }
}
