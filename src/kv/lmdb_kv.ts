/**
 * The key-value store on LMDB.
 *
 * `noSync`: a commit is in the page cache, so it outlives a crash of this process; the journal
 * outlives a crash of the machine. After the latter the tree on disk may be torn, so the folder holds a mark,
 * `opened.json` {bootId, isClean}: when it shows another boot and no clean end, the store is
 * thrown away and comes back empty; its owner then replays the journal or installs a checkpoint.
 * @module
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { open, type RootDatabase } from "lmdb";
import { invariant } from "../common/invariant.ts";
import type { KeyValue, KeyValueStore, KeyValueTransaction, RangeOptions } from "./kv.ts";

type Database = RootDatabase<Uint8Array, Buffer>;

/** LMDB's binding is declared for Buffers but copies from any bytes; making a Buffer costs more than the copy. */
function bufferOf(bytes: Uint8Array): Buffer {
  return bytes as Buffer; // only its elements and its length are read; the contract test proves it
}

/** The other way: a Buffer's `slice` is a view, which would surprise who expects an array's. */
function plain(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function* rangeOf(database: Database, options: RangeOptions): Iterable<KeyValue> {
  const start = bufferOf(options.start);
  const end = bufferOf(options.end);
  const rows = database.getRange({
    ...(options.reverse === true
      ? { start: end, exclusiveStart: true, end: start, inclusiveEnd: true, reverse: true }
      : { start, end }),
    ...(options.limit === undefined ? {} : { limit: options.limit }),
  });
  for (const { key, value } of rows) yield { key: plain(key), value: plain(value) };
}

class LmdbKeyValueStore implements KeyValueStore {
  readonly #database: Database;
  readonly #onClose: () => void;
  readonly #transaction: KeyValueTransaction;
  #isInside = false;

  constructor(database: Database, onClose: () => void) {
    this.#database = database;
    this.#onClose = onClose;
    // Inside transactionSync the calls are synchronous; what they return is a settled promise.
    this.#transaction = {
      get: (key) => this.get(key),
      range: (options) => this.range(options),
      put: (key, value) => void database.put(bufferOf(key), bufferOf(value)),
      remove: (key) => void database.remove(bufferOf(key)),
    };
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const value = this.#database.get(bufferOf(key));
    return value === undefined ? undefined : plain(value);
  }

  range(options: RangeOptions): Iterable<KeyValue> {
    return rangeOf(this.#database, options);
  }

  transact<T>(body: (transaction: KeyValueTransaction) => T): T {
    invariant(!this.#isInside, "transactions do not nest");
    this.#isInside = true;
    try {
      return this.#database.transactionSync(() => body(this.#transaction));
    } finally {
      this.#isInside = false;
      // A read transaction begun earlier in this turn would go on showing the state before.
      this.#database.resetReadTxn();
    }
  }

  async close(): Promise<void> {
    await this.#database.flushed;
    await this.#database.close();
    this.#onClose();
  }
}

const MARK = "opened.json";
const STORE = "store.mdb";

/** Empty where the system does not tell (not Linux): then only a clean end keeps the store. */
function bootIdOf(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}

function readMark(folder: string): { bootId: string; isClean: boolean } | null {
  let text: string;
  try {
    text = readFileSync(join(folder, MARK), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
  try {
    const mark = JSON.parse(text) as { bootId?: unknown; isClean?: unknown };
    return { bootId: String(mark.bootId ?? ""), isClean: mark.isClean === true };
  } catch (error) {
    if (error instanceof SyntaxError) return null; // torn by a crash: it vouches for nothing
    throw error;
  }
}

function writeMark(folder: string, bootId: string, isClean: boolean): void {
  writeFileSync(join(folder, `${MARK}.new`), JSON.stringify({ bootId, isClean }), { flush: true });
  renameSync(join(folder, `${MARK}.new`), join(folder, MARK));
}

function syncFile(path: string): void {
  const file = openSync(path, "r");
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/**
 * Opens the store in a folder, which is made when missing. One process at a time.
 * @returns `wasDiscarded` is true when a store was there that a crash of the machine may have torn: it was deleted
 */
export function openLmdb(
  folder: string,
  { bootIdPath = "/proc/sys/kernel/random/boot_id" } = {},
): { readonly store: KeyValueStore; readonly wasDiscarded: boolean } {
  mkdirSync(folder, { recursive: true });
  const bootId = bootIdOf(bootIdPath);
  const mark = readMark(folder);
  const isWhole = mark !== null && (mark.isClean || (bootId !== "" && mark.bootId === bootId));
  const path = join(folder, STORE);
  const wasDiscarded = !isWhole && existsSync(path);
  if (!isWhole) {
    rmSync(path, { force: true });
    rmSync(`${path}-lock`, { force: true });
  }
  writeMark(folder, bootId, false);
  const database: Database = open({
    path,
    encoding: "binary",
    keyEncoding: "binary",
    noSync: true,
    overlappingSync: false,
    noMemInit: true,
    maxReaders: 256,
  });
  const onClose = () => {
    syncFile(path); // before the mark that vouches for it
    writeMark(folder, bootId, true);
  };
  return { store: new LmdbKeyValueStore(database, onClose), wasDiscarded };
}
