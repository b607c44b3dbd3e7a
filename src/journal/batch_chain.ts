/**
 * Composes batches: each follows the one before it by its chain, its number, and where the log stood (record.ts).
 * @module
 */
import type { LogIndex, Term } from "../common/ids.ts";
import type { Entry, HardState, Position } from "../raft/messages.ts";
import {
  BATCH_HEAD_BYTES,
  batchBytes,
  type Crc32c,
  RECORD_HEADER_BYTES,
  viewOf,
  type WalRecord,
  writeEntry,
  writeRecord,
} from "./record.ts";

/** `previousTerm` is the term of the entry before the first void one. */
export type BatchItem =
  | { readonly kind: "entries"; readonly entries: readonly Entry[] }
  | { readonly kind: "truncateFrom"; readonly index: LogIndex; readonly previousTerm: Term };

/** Of records: how many, and how long together. */
export type RecordTotals = { readonly recordCount: number; readonly recordsBytes: number };

export class BatchChain {
  readonly #incarnation: bigint;
  readonly #crc32c: Crc32c;
  #buffer = new Uint8Array(64 * 1024);
  #view = viewOf(this.#buffer);
  /** CRC of the last batch that was composed, and its number. */
  chain: number;
  batchNumber: number;
  /** Where the log stands after it. */
  position: Position;

  constructor(
    incarnation: bigint,
    crc32c: Crc32c,
    last: { readonly chain: number; readonly batchNumber: number; readonly position: Position },
  ) {
    this.#incarnation = incarnation;
    this.#crc32c = crc32c;
    this.chain = last.chain;
    this.batchNumber = last.batchNumber;
    this.position = last.position;
  }

  /**
   * @param totals of all items
   * @param onEntry told where in the batch the record of each entry begins
   * @returns bytes that hold until the next batch is composed
   */
  compose(
    items: readonly BatchItem[],
    { recordCount, recordsBytes }: RecordTotals,
    hardState: HardState,
    onEntry: (entry: Entry, offsetBytes: number) => void,
  ): Uint8Array {
    const sizeBytes = batchBytes(recordsBytes);
    const bytes = this.#room(sizeBytes);
    const before = this.position;
    let at = BATCH_HEAD_BYTES;
    for (const item of items) {
      if (item.kind === "entries") {
        at = this.#writeEntries(bytes, at, item.entries, onEntry);
        continue;
      }
      this.position = { index: item.index - 1, term: item.previousTerm };
      at = writeRecord(bytes, at, item, this.#crc32c, this.#view);
    }
    const pad: WalRecord = { kind: "pad", lengthBytes: sizeBytes - at - RECORD_HEADER_BYTES };
    writeRecord(bytes, at, pad, this.#crc32c, this.#view);
    const previousChain = this.chain;
    this.chain = this.#crc32c(bytes.subarray(BATCH_HEAD_BYTES), previousChain);
    this.batchNumber += 1;
    const head = {
      previousIndex: before.index,
      previousTerm: before.term,
      lastIndex: this.position.index,
      lastTerm: this.position.term,
      hardState,
      bodyBytes: sizeBytes - BATCH_HEAD_BYTES,
      previousChain,
      chain: this.chain,
      recordCount,
      batchNumber: this.batchNumber,
      incarnation: this.#incarnation,
    };
    writeRecord(bytes, 0, { kind: "batchHead", head }, this.#crc32c, this.#view);
    return bytes;
  }

  #room(sizeBytes: number): Uint8Array {
    if (this.#buffer.length < sizeBytes) {
      this.#buffer = new Uint8Array(sizeBytes);
      this.#view = viewOf(this.#buffer);
    }
    return this.#buffer.subarray(0, sizeBytes);
  }

  #writeEntries(
    bytes: Uint8Array,
    begin: number,
    entries: readonly Entry[],
    onEntry: (entry: Entry, offsetBytes: number) => void,
  ): number {
    let at = begin;
    for (const entry of entries) {
      onEntry(entry, at);
      at = writeEntry(bytes, at, entry, this.#crc32c, this.#view);
    }
    const last = entries.at(-1);
    if (last !== undefined) this.position = { index: last.index, term: last.term };
    return at;
  }
}
