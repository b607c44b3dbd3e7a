/**
 * What waits to be written, in order, and how much of it one batch takes.
 * @module
 */
import type { LogIndex } from "../common/ids.ts";
import { BATCH_ENTRIES_MAX } from "../common/limits.ts";
import type { BatchItem } from "./batch_chain.ts";
import { RECORD_HEADER_BYTES } from "./record.ts";

type QueueItem =
  | BatchItem
  | { readonly kind: "done"; readonly done: () => void; readonly mustWrite: boolean };

export type Batch = {
  readonly items: readonly BatchItem[];
  /** To be called once the items, and everything before them, are durable. */
  readonly callbacks: readonly (() => void)[];
  /** Of all items: how many, and how long together. */
  readonly recordCount: number;
  readonly recordsBytes: number;
  /** There is something to write even without items. */
  readonly mustWrite: boolean;
};

export class WriteQueue {
  #items: QueueItem[] = [];
  /** Of the entries in the first item: what an earlier batch took already. */
  #taken = 0;
  #truncationCount = 0;

  get isEmpty(): boolean {
    return this.#items.length === 0;
  }

  push(item: QueueItem): void {
    this.#items.push(item);
    if (item.kind === "truncateFrom") this.#truncationCount += 1;
  }

  clear(): void {
    this.#items = [];
    this.#taken = 0;
    this.#truncationCount = 0;
  }

  /** Takes as much as fits; at least the first record. */
  take(bytesMax: number): Batch {
    const items: BatchItem[] = [];
    const callbacks: (() => void)[] = [];
    let recordCount = 0;
    let recordsBytes = 0;
    let mustWrite = false;
    let done = 0;
    const hasRoom = (sizeBytes: number) =>
      recordCount === 0 ||
      (recordsBytes + sizeBytes <= bytesMax && recordCount < BATCH_ENTRIES_MAX);
    for (const item of this.#items) {
      if (item.kind === "done") {
        callbacks.push(item.done);
        mustWrite ||= item.mustWrite;
      } else if (item.kind === "truncateFrom") {
        if (!hasRoom(RECORD_HEADER_BYTES)) break;
        items.push(item);
        this.#truncationCount -= 1;
        recordCount += 1;
        recordsBytes += RECORD_HEADER_BYTES;
      } else {
        const { entries } = item;
        const from = this.#taken;
        let to = from;
        for (let entry = entries[to]; entry !== undefined; entry = entries[to]) {
          const sizeBytes = RECORD_HEADER_BYTES + entry.payload.length;
          if (!hasRoom(sizeBytes)) break;
          recordCount += 1;
          recordsBytes += sizeBytes;
          to += 1;
        }
        const isWhole = from === 0 && to === entries.length;
        if (to > from)
          items.push(isWhole ? item : { kind: "entries", entries: entries.slice(from, to) });
        this.#taken = to < entries.length ? to : 0;
        if (to < entries.length) break;
      }
      done += 1;
    }
    this.#items = done === this.#items.length ? [] : this.#items.slice(done);
    return { items, callbacks, recordCount, recordsBytes, mustWrite };
  }

  /** Entries from here on may be replaced by what waits; Infinity for none. */
  firstVoid(): LogIndex {
    let first = Number.POSITIVE_INFINITY;
    if (this.#truncationCount > 0)
      for (const item of this.#items)
        if (item.kind === "truncateFrom") first = Math.min(first, item.index);
    return first;
  }
}
