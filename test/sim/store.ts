/**
 * A master's metadata store in the simulator: the product's store in memory, which also keeps a digest of all rows, so that
 * replicas can be compared after every transaction; and at the crash of a process may die right behind a commit.
 *
 * The digest is the sum of the hashes of all rows, so that their order does not count and each change costs one row.
 * @module
 */
import type {
  KeyValue,
  KeyValueReader,
  KeyValueSnapshot,
  KeyValueStore,
  KeyValueTransaction,
  RangeOptions,
} from "../../src/kv/kv.ts";
import { type ImageFiles, MemoryKeyValueStore } from "../../src/kv/memory_kv.ts";
import { type Lane, SimCrash } from "./scheduler.ts";

const FIRST = Uint8Array.of(0);
const LAST = new Uint8Array(16).fill(255);

function hashRow(key: Uint8Array, value: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of key) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ 0x100, 0x01000193);
  for (const byte of value) hash = Math.imul(hash ^ byte, 0x01000193);
  hash ^= hash >>> 15;
  return Math.imul(hash, 0x2c1b3c6d) >>> 0;
}

export class SimStore implements KeyValueStore {
  readonly #inner: MemoryKeyValueStore;
  digest = 0;
  /** Whose process has it open. */
  lane: Lane | null = null;
  /** Called after each commit; may throw to end the process there. */
  onCommit: () => void = () => {};

  constructor(files: ImageFiles) {
    this.#inner = new MemoryKeyValueStore(files);
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#inner.get(key);
  }

  range(options: RangeOptions): Iterable<KeyValue> {
    return this.#inner.range(options);
  }

  snapshot(): KeyValueSnapshot {
    return this.#inner.snapshot();
  }

  transact<T>(body: (transaction: KeyValueTransaction) => T): T {
    if (this.lane?.isAlive !== true) throw new SimCrash("this process is dead");
    const before = this.digest;
    let result: T;
    try {
      result = this.#inner.transact((inner) => body(this.#counted(inner)));
    } catch (error) {
      this.digest = before;
      throw error;
    }
    this.onCommit();
    return result;
  }

  #counted(inner: KeyValueTransaction): KeyValueTransaction {
    const forget = (key: Uint8Array) => {
      const old = inner.get(key);
      if (old !== undefined) this.digest = (this.digest - hashRow(key, old)) >>> 0;
    };
    return {
      get: (key) => inner.get(key),
      range: (options) => inner.range(options),
      put: (key, value) => {
        forget(key);
        this.digest = (this.digest + hashRow(key, value)) >>> 0;
        inner.put(key, value);
      },
      remove: (key) => {
        forget(key);
        inner.remove(key);
      },
    };
  }

  writeImage(path: string): Promise<void> {
    return this.#inner.writeImage(path);
  }

  async installImage(
    path: string,
    imageBytes: number,
    accept: (rows: KeyValueReader) => void,
    onReplaced?: () => void,
  ): Promise<void> {
    await this.#inner.installImage(path, imageBytes, accept, onReplaced);
    this.digest = 0;
    for (const { key, value } of this.#inner.range({ start: FIRST, end: LAST }))
      this.digest = (this.digest + hashRow(key, value)) >>> 0;
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}
