/**
 * An ordered key-value store with transactions: what the metadata stands on.
 *
 * Two implementations keep the same contract, proved by one test: LMDB for the product
 * (`lmdb_kv.ts`) and an ordered map for the simulator and tests (`memory_kv.ts`).
 * Keys sort as unsigned bytes, are 1 to 1978 B long. All but images is synchronous: a transaction is one
 * turn of the event loop, so nothing can change under it.
 * @module
 */

export type KeyValue = { readonly key: Uint8Array; readonly value: Uint8Array };

export type RangeOptions = {
  /** First key, included. */
  readonly start: Uint8Array;
  /** End of the keys, excluded. */
  readonly end: Uint8Array;
  readonly limit?: number;
  readonly reverse?: boolean;
};

export interface KeyValueReader {
  /** The value, owned by the caller; undefined when there is none. */
  get(key: Uint8Array): Uint8Array | undefined;
  /**
   * Keys in order. The rows are a consistent snapshot only while the caller does not await: take a
   * bounded batch, then continue after its last key.
   */
  range(options: RangeOptions): Iterable<KeyValue>;
}

/** Everything as it was when the snapshot was taken, whatever is committed since: batches of it fit together. */
export interface KeyValueSnapshot extends KeyValueReader {
  /** To be called, and soon: until then the store holds the room of what is removed and overwritten. */
  close(): void;
}

export interface KeyValueTransaction extends KeyValueReader {
  put(key: Uint8Array, value: Uint8Array): void;
  remove(key: Uint8Array): void;
}

export interface KeyValueStore extends KeyValueReader {
  /**
   * Runs `body` in one write transaction. Its reads see its own writes. When `body` throws, nothing
   * of it is kept and the error is rethrown. Durable against a crash of the process on return;
   * durability against a crash of the machine is the journal's business.
   */
  transact<T>(body: (transaction: KeyValueTransaction) => T): T;
  /** Not to be called inside of a transaction. A snapshot that is open when the store closes, or is replaced, ends with it. */
  snapshot(): KeyValueSnapshot;
  /**
   * Writes an image of everything, as of the moment of the call, to a new file, while transactions go on. Not yet durable
   * when it resolves.
   * @throws what the file system throws (ENOSPC, EIO), or RockpoolError UNAVAILABLE when the store is closed meanwhile, DATA_LOSS
   *   when rows are damaged; then no file is left
   */
  writeImage(path: string): Promise<void>;
  /**
   * Replaces everything by the image in the first `imageBytes` of a file. A crash leaves the old rows, the new ones, or none.
   * Nobody may write meanwhile; a read may get UNAVAILABLE.
   * @param accept is shown the rows of the image before anything is replaced; what it throws is thrown, and nothing changes
   * @param onReplaced called in the turn in which reads may begin to show other rows than before, and before any does
   * @throws RockpoolError FAILED_PRECONDITION when the file holds no such image: nothing changed. What the file system throws:
   *   the rows are then the old ones or the new ones
   */
  installImage(
    path: string,
    imageBytes: number,
    accept: (rows: KeyValueReader) => void,
    onReplaced?: () => void,
  ): Promise<void>;
  close(): Promise<void>;
}
