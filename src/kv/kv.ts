/**
 * An ordered key-value store with transactions: what the metadata stands on.
 *
 * Two implementations keep the same contract, proved by one test: LMDB for the product
 * (`lmdb_kv.ts`) and an ordered map for the simulator and tests (`memory_kv.ts`).
 * Keys sort as unsigned bytes, are 1 to 1978 B long. Everything is synchronous: a transaction is one
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
  close(): Promise<void>;
}
