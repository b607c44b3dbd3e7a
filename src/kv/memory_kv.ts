/**
 * The key-value store in memory: a sorted array, with an undo log for transactions.
 *
 * Pure. For tests and the simulator, so it is simple before it is fast: an insert moves the keys
 * behind it. Keys are held as strings of one char a byte, whose order is that of unsigned bytes.
 *
 * An image is a list of (key, value, CRC-32C of both), the first two byte strings of common/bytes, ended by its own length. Rows
 * vouch for themselves, as those of the store on a disk do: between the check of a file and its use it may rot.
 * @module
 */
import { ByteReader, ByteWriter, DecodeError } from "../common/bytes.ts";
import { RockpoolError } from "../common/errors.ts";
import { invariant } from "../common/invariant.ts";
import { crc32c } from "../kernels/fallback.ts";
import type {
  KeyValue,
  KeyValueReader,
  KeyValueSnapshot,
  KeyValueStore,
  KeyValueTransaction,
  RangeOptions,
} from "./kv.ts";

const KEY_BYTES_MAX = 1978;
const CHUNK = 4096;

/** Where images lie. */
export interface ImageFiles {
  /** Makes the file, and leaves none behind when it fails. */
  write(path: string, image: Uint8Array): Promise<void>;
  /** The first `lengthBytes` of the file. */
  read(path: string, lengthBytes: number): Promise<Uint8Array>;
}

const NO_FILES: ImageFiles = {
  write: () => Promise.reject(new Error("this store was given no files for images")),
  read: () => Promise.reject(new Error("this store was given no files for images")),
};

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

/** Sorted keys, and their values, which nobody changes in place. */
class Rows implements KeyValueReader {
  readonly keys: string[];
  readonly values: Map<string, Uint8Array>;

  constructor(keys: string[], values: Map<string, Uint8Array>) {
    this.keys = keys;
    this.values = values;
  }

  copy(): Rows {
    return new Rows(this.keys.slice(), new Map(this.values));
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.values.get(textOf(key))?.slice();
  }

  *range({ start, end, limit = Infinity, reverse = false }: RangeOptions): Iterable<KeyValue> {
    // A copy of the keys: a transaction may change rows while it walks over them.
    const keys = this.keys.slice(this.#position(textOf(start)), this.#position(textOf(end)));
    if (reverse) keys.reverse();
    let left = limit;
    for (const key of keys) {
      if (left-- <= 0) return;
      const value = this.values.get(key);
      if (value !== undefined) yield { key: bytesOf(key), value: value.slice() };
    }
  }

  /** Index of the first key at or after `key`. */
  #position(key: string): number {
    let low = 0;
    let high = this.keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.keys[middle] as string) < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** @returns what was there before */
  set(key: string, value: Uint8Array | undefined): Uint8Array | undefined {
    const before = this.values.get(key);
    if (before === undefined && value !== undefined) this.keys.splice(this.#position(key), 0, key);
    if (before !== undefined && value === undefined) this.keys.splice(this.#position(key), 1);
    if (value === undefined) this.values.delete(key);
    else this.values.set(key, value);
    return before;
  }
}

function imageOf({ keys, values }: Rows): Uint8Array {
  const writer = new ByteWriter();
  for (const key of keys) {
    const name = bytesOf(key);
    const value = values.get(key) as Uint8Array; // every key has one
    writer.bytes(name);
    writer.bytes(value);
    writer.u32(crc32c(value, crc32c(name)));
  }
  return writer.take();
}

/** @throws RockpoolError FAILED_PRECONDITION */
function rowsOfImage(image: Uint8Array): Rows {
  const reader = new ByteReader(image);
  const rows = new Rows([], new Map());
  try {
    while (reader.remainingBytes > 0) {
      const key = reader.bytes();
      if (key.length === 0 || key.length > KEY_BYTES_MAX)
        throw new DecodeError(`A key of ${key.length} B`);
      const value = new Uint8Array(reader.bytes());
      if (reader.u32() !== crc32c(value, crc32c(key))) throw new DecodeError("A row is damaged");
      const text = textOf(key);
      const last = rows.keys.at(-1);
      if (last !== undefined && text <= last) throw new DecodeError("Keys are out of order");
      rows.keys.push(text);
      rows.values.set(text, value);
    }
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `The bytes are no image of a store: ${cause.message}`,
      "",
      { cause },
    );
  }
  return rows;
}

export class MemoryKeyValueStore implements KeyValueStore {
  #rows = new Rows([], new Map());
  readonly #files: ImageFiles;
  /** Inside a transaction: what each touched key held before; undefined for nothing. */
  #undo: Map<string, Uint8Array | undefined> | null = null;

  constructor(files: ImageFiles = NO_FILES) {
    this.#files = files;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#rows.get(key);
  }

  range(options: RangeOptions): Iterable<KeyValue> {
    return this.#rows.range(options);
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

  snapshot(): KeyValueSnapshot {
    invariant(this.#undo === null, "a snapshot is taken outside of transactions");
    const rows = this.#rows.copy();
    return {
      get: (key) => rows.get(key),
      range: (options) => rows.range(options),
      close: () => {},
    };
  }

  /** An image of everything, as of now. */
  imageBytes(): Uint8Array {
    return imageOf(this.#rows);
  }

  writeImage(path: string): Promise<void> {
    return this.#files.write(path, this.imageBytes());
  }

  async installImage(
    path: string,
    imageBytes: number,
    accept: (rows: KeyValueReader) => void,
    onReplaced: () => void = () => {},
  ): Promise<void> {
    const rows = rowsOfImage(await this.#files.read(path, imageBytes));
    accept(rows);
    this.#rows = rows;
    onReplaced();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #set(key: string, value: Uint8Array | undefined): void {
    const before = this.#rows.set(key, value);
    if (this.#undo !== null && !this.#undo.has(key)) this.#undo.set(key, before);
  }
}
