/**
 * What is in the log, in memory: the term and the place on disk of every entry, and the newest entries themselves.
 *
 * An entry takes 8 bytes here for ever (its place) and its payload while it is new: payloads are let go once they are
 * durable and more than `cacheBytesMax` newer ones are held. Terms are kept as runs.
 * Invariant: every entry that is not durable is held.
 * @module
 */
import type { LogIndex, Term } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import type { Entry } from "../raft/messages.ts";

/** One number: segment sequence times 2^32, plus the offset of the record in that file. */
export type EntryPlace = number;
const PLACE_SCALE = 0x1_0000_0000;

export function placeOf(sequence: number, offsetBytes: number): EntryPlace {
  return sequence * PLACE_SCALE + offsetBytes;
}

export function splitPlace(place: EntryPlace): { sequence: number; offsetBytes: number } {
  return { sequence: Math.floor(place / PLACE_SCALE), offsetBytes: place % PLACE_SCALE };
}

const RELEASED: Entry = { index: 0, term: 0, kind: "noop", payload: new Uint8Array(0) };

export class EntryIndex {
  readonly #cacheBytesMax: number;
  #firstIndex: LogIndex = 1;
  #lastIndex: LogIndex = 0;
  /** `starts[i]` is the first index of `terms[i]`; the first run is that of `firstIndex - 1`. */
  #runs: { readonly start: LogIndex; readonly term: Term }[] = [{ start: 0, term: 0 }];
  #places = new Float64Array(1024);
  /** The newest entries, the oldest of them at `#heldFrom` of the array. */
  #held: Entry[] = [];
  #heldFrom = 0;
  #heldBytes = 0;
  #durable: LogIndex = 0;

  constructor(cacheBytesMax: number) {
    this.#cacheBytesMax = cacheBytesMax;
  }

  /** Empties the index; the log begins at `firstIndex`, after an entry of `previousTerm`. */
  reset(firstIndex: LogIndex, previousTerm: Term): void {
    invariant(firstIndex >= 1, "log indexes begin at 1");
    this.#firstIndex = firstIndex;
    this.#lastIndex = firstIndex - 1;
    this.#durable = firstIndex - 1;
    this.#runs = [{ start: firstIndex - 1, term: previousTerm }];
    this.#held = [];
    this.#heldFrom = 0;
    this.#heldBytes = 0;
  }

  /** Forgets the entries through `index`; the log begins behind it. */
  trim(index: LogIndex): void {
    invariant(index >= this.#firstIndex - 1, "a log is trimmed at its begin");
    invariant(index <= this.#durable, "what is trimmed was durable");
    const term = this.termOf(index) ?? 0;
    this.#places.copyWithin(
      0,
      index + 1 - this.#firstIndex,
      this.#lastIndex + 1 - this.#firstIndex,
    );
    this.#firstIndex = index + 1;
    const later = this.#runs.filter((run) => run.start > index);
    this.#runs = [{ start: index, term }, ...later];
    // Those that memory still holds are let go as always, when newer ones come.
  }

  get firstIndex(): LogIndex {
    return this.#firstIndex;
  }

  get lastIndex(): LogIndex {
    return this.#lastIndex;
  }

  /** Every entry up to here is on stable storage. */
  get durableIndex(): LogIndex {
    return this.#durable;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  termOf(index: LogIndex): Term | undefined {
    if (index < this.#firstIndex - 1 || index > this.#lastIndex) return undefined;
    for (let at = this.#runs.length - 1; at >= 0; at--) {
      const run = this.#runs[at];
      if (run !== undefined && run.start <= index) return run.term;
    }
    return undefined;
  }

  lastTerm(): Term {
    return this.#runs.at(-1)?.term ?? 0;
  }

  #extend(index: LogIndex, term: Term): void {
    invariant(index === this.#lastIndex + 1, "entries are appended without a gap");
    const last = this.lastTerm();
    invariant(term >= last, "terms never fall along the log");
    if (term !== last) this.#runs.push({ start: index, term });
    this.#lastIndex = index;
  }

  /** Adds an entry that is not on disk yet. */
  append(entry: Entry): void {
    this.#extend(entry.index, entry.term);
    this.#held.push(entry);
    this.#heldBytes += entry.payload.length;
  }

  /** Adds an entry that is on disk; its payload is not held. */
  appendRecovered(index: LogIndex, term: Term, place: EntryPlace): void {
    invariant(this.#held.length === 0, "recovery comes before appending");
    this.#extend(index, term);
    this.setPlace(index, place);
    this.#durable = index;
  }

  setPlace(index: LogIndex, place: EntryPlace): void {
    const at = index - this.#firstIndex;
    if (at >= this.#places.length) {
      const grown = new Float64Array(Math.max(at + 1, this.#places.length * 2));
      grown.set(this.#places);
      this.#places = grown;
    }
    this.#places[at] = place;
  }

  /** Where an entry that is on disk lies. */
  placeAt(index: LogIndex): EntryPlace {
    invariant(index >= this.#firstIndex && index <= this.#lastIndex, "the entry is in the log");
    return this.#places[index - this.#firstIndex] ?? 0;
  }

  /** The last entry through `through`, which is on disk, that lies before a segment. Places rise along the log. */
  lastBefore(sequence: number, through: LogIndex): LogIndex {
    let low = this.#firstIndex - 1;
    for (let high = through; low < high; ) {
      const middle = Math.ceil((low + high) / 2);
      if (splitPlace(this.placeAt(middle)).sequence < sequence) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Drops every entry from `index` on. */
  truncateFrom(index: LogIndex): void {
    invariant(index >= this.#firstIndex, "what was trimmed is never truncated");
    while (this.#lastIndex >= index) {
      if (this.#held.length > this.#heldFrom) {
        const dropped = this.#held.pop();
        this.#heldBytes -= dropped?.payload.length ?? 0;
        this.#lastIndex -= 1;
      } else this.#lastIndex = index - 1;
    }
    while (this.#runs.length > 1 && (this.#runs.at(-1)?.start ?? 0) > this.#lastIndex)
      this.#runs.pop();
    this.#durable = Math.min(this.#durable, this.#lastIndex);
  }

  /** Every entry through `index` is on stable storage. */
  markDurable(index: LogIndex): void {
    if (index <= this.#durable) return;
    invariant(index <= this.#lastIndex, "what is durable is in the log");
    this.#durable = index;
    this.#release();
  }

  #release(): void {
    while (this.#heldBytes > this.#cacheBytesMax && this.#heldFrom < this.#held.length) {
      const oldest = this.#held[this.#heldFrom];
      if (oldest === undefined || oldest.index > this.#durable) break;
      this.#heldBytes -= oldest.payload.length;
      // Its place in the array stays for a while; its payload, which may be 1 MiB, must not.
      this.#held[this.#heldFrom] = RELEASED;
      this.#heldFrom += 1;
    }
    // Cut the array only now and then: each cut copies what stays.
    if (this.#heldFrom > 1024 && this.#heldFrom * 2 > this.#held.length) {
      this.#held = this.#held.slice(this.#heldFrom);
      this.#heldFrom = 0;
    }
  }

  /** The entry, when its payload is in memory. */
  held(index: LogIndex): Entry | undefined {
    const newest = this.#held.at(-1);
    if (newest === undefined) return undefined;
    const at = this.#held.length - 1 - (newest.index - index);
    return at < this.#heldFrom ? undefined : this.#held[at];
  }
}
