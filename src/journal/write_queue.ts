/**
 * What waits to be written, in order, and how much of it one batch takes.
 * @module
 */
import type { LogIndex } from "../common/ids.ts";
import { BATCH_ENTRIES_MAX } from "../common/limits.ts";
import type { BatchItem } from "./batch_chain.ts";
import { recordBytes } from "./record.ts";

type QueueItem =
  | BatchItem
  | { readonly kind: "done"; readonly done: () => void; readonly mustWrite: boolean };

export type Batch = {
  readonly items: readonly BatchItem[];
  /** To be called once the items, and everything before them, are durable. */
  readonly callbacks: readonly (() => void)[];
  /** Of all items. */
  readonly recordsBytes: number;
  /** There is something to write even without items. */
  readonly mustWrite: boolean;
};

export class WriteQueue {
  #items: QueueItem[] = [];
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
    this.#truncationCount = 0;
  }

  /** Takes as much as fits; at least the first item. */
  take(bytesMax: number): Batch {
    const items: BatchItem[] = [];
    const callbacks: (() => void)[] = [];
    let recordsBytes = 0;
    let mustWrite = false;
    let taken = 0;
    for (const item of this.#items) {
      if (item.kind === "done") {
        callbacks.push(item.done);
        mustWrite ||= item.mustWrite;
      } else {
        const sizeBytes = recordBytes(item);
        const isFull = recordsBytes + sizeBytes > bytesMax || items.length >= BATCH_ENTRIES_MAX;
        if (items.length > 0 && isFull) break;
        items.push(item);
        if (item.kind === "truncateFrom") this.#truncationCount -= 1;
        recordsBytes += sizeBytes;
      }
      taken += 1;
    }
    this.#items = taken === this.#items.length ? [] : this.#items.slice(taken);
    return { items, callbacks, recordsBytes, mustWrite };
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
