/**
 * The key-value store on LMDB.
 *
 * `noSync`: a commit is in the page cache, so it outlives a crash of this process; the journal
 * outlives a crash of the machine. After the latter the tree on disk may be torn, so the folder holds a mark,
 * `opened.json` {bootId, isClean, schemaVersion}: when it shows another boot and no clean end, or rows of another version
 * than the owner's, the store is thrown away and comes back empty; its owner then replays the journal or installs a
 * checkpoint. `store.lock` says which process has the store open; one at a time.
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
import { lockFolderAt } from "../world/folder_lock.ts";
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
const LOCK = "store.lock";

/** Empty where the system does not tell (not Linux): then only a clean end keeps the store. */
function bootIdOf(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}

type Mark = {
  readonly bootId: string;
  readonly isClean: boolean;
  /** Of the rows, as their owner counts; NaN when the mark does not say. */
  readonly schemaVersion: number;
};

function readMark(folder: string): Mark | null {
  let text: string;
  try {
    text = readFileSync(join(folder, MARK), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
  try {
    // Looked at field by field below.
    const mark = JSON.parse(text) as { [name in keyof Mark]?: unknown };
    const { bootId, isClean, schemaVersion } = mark;
    return {
      bootId: String(bootId ?? ""),
      isClean: isClean === true,
      schemaVersion: typeof schemaVersion === "number" ? schemaVersion : Number.NaN,
    };
  } catch (error) {
    if (error instanceof SyntaxError) return null; // torn by a crash: it vouches for nothing
    throw error;
  }
}

function writeMark(folder: string, mark: Mark): void {
  writeFileSync(join(folder, `${MARK}.new`), JSON.stringify(mark), { flush: true });
  renameSync(join(folder, `${MARK}.new`), join(folder, MARK));
}

/** Why a store under this mark cannot be used; null when it can. */
function flawOf(mark: Mark | null, bootId: string, schemaVersion: number): string | null {
  if (mark === null) return "nothing says how it was closed";
  if (Number.isNaN(mark.schemaVersion)) return "it does not say of which version its rows are";
  if (mark.schemaVersion !== schemaVersion)
    return `its rows are of version ${mark.schemaVersion}, and this program uses version ${schemaVersion}`;
  if (mark.isClean || (bootId !== "" && mark.bootId === bootId)) return null;
  return "the machine ended without closing it";
}

function syncFile(path: string): void {
  const file = openSync(path, "r");
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

export type LmdbOptions = {
  /** Of the rows that the caller writes: a store with rows of another version is thrown away. */
  readonly schemaVersion?: number;
  /** Told the pid of a process that ended without closing the store. */
  readonly onLockTakenOver?: (pid: number) => void;
  readonly bootIdPath?: string;
};

export type OpenedLmdb = {
  readonly store: KeyValueStore;
  /** A store was there that could not be used: it was deleted. */
  readonly wasDiscarded: boolean;
  /** Why, for people; null when nothing was deleted. */
  readonly discardReason: string | null;
};

/**
 * Opens the store in a folder, which is made when missing.
 * @throws RockpoolError UNAVAILABLE when a live process has it open
 */
export function openLmdb(folder: string, options: LmdbOptions = {}): OpenedLmdb {
  mkdirSync(folder, { recursive: true });
  // Before anything is read: a store that is open elsewhere must not be thrown away either.
  const unlock = lockFolderAt(join(folder, LOCK), {
    subject: `The metadata folder ${folder}`,
    remedy: "Stop that process, or point alluxio.master.metastore.dir of this one elsewhere",
    onTakenOver: options.onLockTakenOver ?? (() => {}),
  });
  try {
    return openLocked(folder, options, unlock);
  } catch (error) {
    unlock();
    throw error;
  }
}

function openLocked(folder: string, options: LmdbOptions, unlock: () => void): OpenedLmdb {
  const { schemaVersion = 0, bootIdPath = "/proc/sys/kernel/random/boot_id" } = options;
  const bootId = bootIdOf(bootIdPath);
  const flaw = flawOf(readMark(folder), bootId, schemaVersion);
  const path = join(folder, STORE);
  const wasDiscarded = flaw !== null && existsSync(path);
  if (flaw !== null) {
    rmSync(path, { force: true });
    rmSync(`${path}-lock`, { force: true });
  }
  writeMark(folder, { bootId, isClean: false, schemaVersion });
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
    writeMark(folder, { bootId, isClean: true, schemaVersion });
    unlock();
  };
  const store = new LmdbKeyValueStore(database, onClose);
  return { store, wasDiscarded, discardReason: wasDiscarded ? flaw : null };
}
