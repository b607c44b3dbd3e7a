/**
 * The key-value store in memory: a sorted array, with an undo log for transactions.
 *
 * Pure. For tests and the simulator, so it is simple before it is fast: an insert moves the keys
 * behind it. Keys are held as strings of one char a byte, whose order is that of unsigned bytes.
 * @module
 */
import { invariant } from "../common/invariant.ts";
import type { KeyValue, KeyValueStore, KeyValueTransaction, RangeOptions } from "./kv.ts";

const KEY_BYTES_MAX = 1978;
const CHUNK = 4096;

function textOf(key: Uint8Array): string {
  invariant(key.length > 0 && key.length <= KEY_BYTES_MAX, "a key has 1 to 1978 bytes");
  let text = "";
  for (let at = 0; at < key.length; at += CHUNK)
    text += String.fromCharCode(...key.subarray(at, at + CHUNK));
  return text;
}

function bytesOf(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

export class MemoryKeyValueStore implements KeyValueStore {
  readonly #keys: string[] = [];
  readonly #values = new Map<string, Uint8Array>();
  /** Inside a transaction: what each touched key held before; undefined for nothing. */
  #undo: Map<string, Uint8Array | undefined> | null = null;

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#values.get(textOf(key))?.slice();
  }

  *range({ start, end, limit = Infinity, reverse = false }: RangeOptions): Iterable<KeyValue> {
    // A copy of the keys: a transaction may change rows while it walks over them.
    const keys = this.#keys.slice(this.#position(textOf(start)), this.#position(textOf(end)));
    if (reverse) keys.reverse();
    let left = limit;
    for (const key of keys) {
      if (left-- <= 0) return;
      const value = this.#values.get(key);
      if (value !== undefined) yield { key: bytesOf(key), value: value.slice() };
    }
  }

  transact<T>(body: (transaction: KeyValueTransaction) => T): T {
    invariant(this.#undo === null, "transactions do not nest");
    const undo = new Map<string, Uint8Array | undefined>();
    this.#undo = undo;
    try {
      return body({
        get: (key) => this.get(key),
        range: (options) => this.range(options),
        put: (key, value) => this.#set(textOf(key), value.slice()),
        remove: (key) => this.#set(textOf(key), undefined),
      });
    } catch (error) {
      this.#undo = null;
      for (const [key, value] of undo) this.#set(key, value);
      throw error;
    } finally {
      this.#undo = null;
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** Index of the first key at or after `key`. */
  #position(key: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#keys[middle] as string) < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #set(key: string, value: Uint8Array | undefined): void {
    const before = this.#values.get(key);
    if (this.#undo !== null && !this.#undo.has(key)) this.#undo.set(key, before);
    if (before === undefined && value !== undefined) this.#keys.splice(this.#position(key), 0, key);
    if (before !== undefined && value === undefined) this.#keys.splice(this.#position(key), 1);
    if (value === undefined) this.#values.delete(key);
    else this.#values.set(key, value);
  }
}
