/**
 * The key-value store on LMDB.
 *
 * `noSync`: a commit is in the page cache, so it outlives a crash of this process; the journal
 * outlives a crash of the machine. After the latter the tree on disk may be torn. A mark beside it (`lmdb_mark.ts`) tells, and
 * then the store is thrown away and comes back empty; its owner then installs a checkpoint or replays the journal.
 * `store.lock` says which process has the store open; one at a time.
 *
 * LMDB checks nothing that it reads. So a value is stored as
 *
 *     value, u32 CRC-32C (little-endian) of the key followed by the value
 *
 * and checked when it is read. A mismatch, or what LMDB finds wrong with its tree, is DATA_LOSS, and the mark sees to it that
 * the next start throws the store away.
 * @module
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
} from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { setTimeout as rest } from "node:timers/promises";
import { open, type RootDatabase, type Transaction } from "lmdb";
import { isRockpoolError, messageOf, RockpoolError } from "../common/errors.ts";
import { invariant } from "../common/invariant.ts";
import { crc32c } from "../kernels/fallback.ts";
import { lockFolderAt } from "../world/folder_lock.ts";
import type {
  KeyValue,
  KeyValueReader,
  KeyValueSnapshot,
  KeyValueStore,
  KeyValueTransaction,
  RangeOptions,
} from "./kv.ts";
import { headerFlaw } from "./lmdb_header.ts";
import { copyPages, type ImageDisk, nodeImageDisk } from "./lmdb_image.ts";
import {
  bootIdOf,
  DIED_OF,
  flawOf,
  type Mark,
  readMark,
  readTrial,
  writeMark,
  writeTrial,
} from "./lmdb_mark.ts";
import { RowCodec } from "./lmdb_row.ts";

type Database = RootDatabase<Uint8Array, Uint8Array>;

const STORE = "store.mdb";
/** One of which a process died, by a second try too: for people, should nothing be left to build it anew from. */
const SUSPECT = "store.suspect.mdb";
const INCOMING = "incoming.mdb";
const LOCK = "store.lock";
/** Both meta pages, whatever the size of a page is on this machine. */
const HEAD_BYTES = 128 * 1024;
/** Read and checked in two tenths of a millisecond, and then rested: a sixth of the thread's time, five seconds for a million files. */
const CHECKED_ROWS = 500;
const CHECK_REST_MS = 1;
/** Behind every key: all are shorter. */
const KEYS_END = new Uint8Array(1978).fill(0xff);
/** From MDB_PAGE_NOTFOUND to MDB_INVALID in lmdb.h: the file is not, or no longer, what LMDB wrote. */
const LMDB_DAMAGE_MIN = -30_797;
const LMDB_DAMAGE_MAX = -30_793;
/**
 * What LMDB says of pages that do not fit together: MDB_CURSOR_FULL, MDB_PAGE_FULL, MDB_INCOMPATIBLE, MDB_BAD_TXN (a transaction that met such a
 * page), MDB_PROBLEM. Nothing that is asked of it here leads to them otherwise.
 */
const LMDB_MISFITS: ReadonlySet<number> = new Set([-30_787, -30_786, -30_784, -30_782, -30_779]);

const REMEDY =
  "Start this master again: it then throws its metadata away and rebuilds it from its checkpoint and journal. Check the disk under alluxio.master.metastore.dir";

/** What LMDB says of damage; null for every other error. */
function damageOf(error: unknown): string | null {
  const code = error instanceof Error && "code" in error ? error.code : null;
  if (typeof code !== "number") return null;
  const isDamage = code >= LMDB_DAMAGE_MIN && code <= LMDB_DAMAGE_MAX;
  return isDamage || LMDB_MISFITS.has(code) ? messageOf(error) : null;
}

/** LMDB's errors carry the system's numbers. */
function isNoSpace(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : null;
  return code === constants.errno.ENOSPC || code === constants.errno.EDQUOT;
}

function noSpace(path: string, cause: unknown): RockpoolError {
  return new RockpoolError(
    "RESOURCE_EXHAUSTED",
    `The disk of the metadata in ${path} is full`,
    "Make room under alluxio.master.metastore.dir and start this master again: nothing that was acknowledged is lost",
    { cause },
  );
}

function closed(): RockpoolError {
  return new RockpoolError("UNAVAILABLE", "The metadata store is closed", "Try again later");
}

type Opened = { readonly database: Database; readonly codec: RowCodec };

function openFile(path: string, isReadOnly: boolean): Opened {
  const codec = new RowCodec();
  const database: Database = open({
    path,
    encoder: codec.values,
    keyEncoder: codec.keys,
    noSync: true,
    overlappingSync: false,
    noMemInit: true,
    maxReaders: 256,
    readOnly: isReadOnly,
  });
  return { database, codec };
}

/** Reads rows as they are now, or (given a transaction) as they were, and checks them. */
class LmdbReader implements KeyValueReader {
  readonly #opened: Opened;
  readonly #transaction: Transaction | undefined;
  readonly #onDamage: (what: string) => RockpoolError;

  constructor(
    opened: Opened,
    onDamage: (what: string) => RockpoolError,
    transaction: Transaction | undefined = undefined,
  ) {
    this.#opened = opened;
    this.#onDamage = onDamage;
    this.#transaction = transaction;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const { database, codec } = this.#opened;
    let value: Uint8Array | undefined;
    try {
      value =
        this.#transaction === undefined
          ? database.get(key)
          : database.get(key, { transaction: this.#transaction });
    } catch (error) {
      throw this.#judged(error);
    }
    if (value !== undefined) this.#check(key, value, codec.lastCrc);
    return value;
  }

  *range({ start, end, limit, reverse }: RangeOptions): Iterable<KeyValue> {
    const { database, codec } = this.#opened;
    try {
      const rows = database.getRange({
        ...(reverse === true
          ? { start: end, exclusiveStart: true, end: start, inclusiveEnd: true, reverse: true }
          : { start, end }),
        ...(limit === undefined ? {} : { limit }),
        ...(this.#transaction === undefined ? {} : { transaction: this.#transaction }),
      });
      for (const { key, value } of rows) {
        this.#check(key, value, codec.lastCrc);
        yield { key, value };
      }
    } catch (error) {
      throw this.#judged(error);
    }
  }

  #check(key: Uint8Array, value: Uint8Array, crc: number): void {
    if (crc32c(value, crc32c(key)) === crc) return;
    const hex = Buffer.from(key.subarray(0, 32)).toString("hex");
    throw this.#onDamage(`the row ${hex} does not match its checksum`);
  }

  #judged(error: unknown): unknown {
    const damage = damageOf(error);
    return damage === null ? error : this.#onDamage(damage);
  }
}

type Folder = {
  readonly path: string;
  readonly bootId: string;
  readonly schemaVersion: number;
  readonly disk: ImageDisk;
  readonly unlock: () => void;
  readonly onDamage: (reason: string) => void;
};

class LmdbKeyValueStore implements KeyValueStore {
  readonly #folder: Folder;
  #opened: Opened;
  #reader: LmdbReader;
  readonly #transaction: KeyValueTransaction;
  readonly #snapshots = new Set<KeyValueSnapshot>();
  #isInside = false;
  #isOpen = true;
  #isProven = false;
  #replacing: Promise<void> | null = null;
  #damage: string | null = null;

  constructor(opened: Opened, folder: Folder) {
    this.#opened = opened;
    this.#folder = folder;
    this.#reader = new LmdbReader(opened, (what) => this.#damaged(what));
    // Inside transactionSync the calls are synchronous; what they return is a settled promise.
    this.#transaction = {
      get: (key) => this.#reader.get(key),
      range: (options) => this.#reader.range(options),
      put: (key, value) => {
        this.#opened.codec.prepare(key, value);
        void this.#opened.database.put(key, value);
      },
      remove: (key) => void this.#opened.database.remove(key),
    };
  }

  get(key: Uint8Array): Uint8Array | undefined {
    if (!this.#isOpen) throw closed();
    return this.#reader.get(key);
  }

  range(options: RangeOptions): Iterable<KeyValue> {
    if (!this.#isOpen) throw closed();
    return this.#reader.range(options);
  }

  transact<T>(body: (transaction: KeyValueTransaction) => T): T {
    if (!this.#isOpen) throw closed();
    invariant(!this.#isInside, "transactions do not nest");
    this.#isInside = true;
    try {
      return this.#opened.database.transactionSync(() => body(this.#transaction));
    } catch (error) {
      const damage = damageOf(error);
      if (damage !== null) throw this.#damaged(damage);
      throw isNoSpace(error) ? noSpace(this.#folder.path, error) : error;
    } finally {
      this.#isInside = false;
      // A read transaction begun earlier in this turn would go on showing the state before.
      this.#opened.database.resetReadTxn();
    }
  }

  snapshot(): KeyValueSnapshot {
    if (!this.#isOpen) throw closed();
    invariant(!this.#isInside, "a snapshot is taken outside of transactions");
    // Each transaction ends by letting go of the read transaction before it: this one shows what was committed.
    const transaction = this.#opened.database.useReadTransaction();
    const reader = new LmdbReader(this.#opened, (what) => this.#damaged(what), transaction);
    const snapshot: KeyValueSnapshot = {
      get: (key) => this.#checkTaken(snapshot) ?? reader.get(key),
      range: (options) => this.#checkTaken(snapshot) ?? reader.range(options),
      close: () => {
        if (this.#snapshots.delete(snapshot)) transaction.done();
      },
    };
    this.#snapshots.add(snapshot);
    return snapshot;
  }

  async writeImage(path: string): Promise<void> {
    const snapshot = this.snapshot();
    try {
      const { head, lengthBytes } = this.#headNow();
      await this.#checkRows(snapshot);
      await copyPages(this.#folder.disk, {
        from: join(this.#folder.path, STORE),
        to: path,
        head,
        lengthBytes,
        checkGoOn: () => this.#checkTaken(snapshot),
      });
    } finally {
      snapshot.close();
    }
  }

  async installImage(
    path: string,
    imageBytes: number,
    accept: (rows: KeyValueReader) => void,
    onReplaced: () => void = () => {},
  ): Promise<void> {
    const { disk, path: folder } = this.#folder;
    const incoming = join(folder, INCOMING);
    try {
      await disk.remove(incoming);
      const checkGoOn = () => {
        if (!this.#isOpen) throw closed();
      };
      const head = new Uint8Array(0);
      const copy = { from: path, to: incoming, lengthBytes: imageBytes, head, checkGoOn };
      await copyPages(disk, copy);
      await inspectImage(incoming, path, accept);
      checkGoOn();
      this.#replacing = this.#replaceBy(incoming, onReplaced);
      await this.#replacing;
    } finally {
      await disk.remove(incoming);
    }
  }

  async close(): Promise<void> {
    // It opens the store again, however it ends; who asked for it hears of its failure.
    await Promise.allSettled([this.#replacing]);
    if (!this.#isOpen) return;
    await this.#closeDatabase();
    const { path, unlock, ...marked } = this.#folder;
    try {
      if (this.#damage !== null) return;
      const sizeBytes = syncFile(join(path, STORE)); // before the mark that vouches for it
      writeMark(path, markOf(marked, { isClean: true, sizeBytes }));
      writeTrial(path, null);
    } finally {
      unlock();
    }
  }

  async #closeDatabase(): Promise<void> {
    for (const snapshot of this.#snapshots) snapshot.close();
    this.#isOpen = false;
    const { database } = this.#opened;
    await database.flushed;
    await database.close();
  }

  /** A process that dies in here, of a page that rotted since, is one that the next start hears of. */
  async #checkRows(snapshot: KeyValueSnapshot): Promise<void> {
    writeTrial(this.#folder.path, "used");
    await checkRows(snapshot);
    if (this.#isProven) writeTrial(this.#folder.path, null);
  }

  proven(): void {
    if (!this.#isOpen || this.#damage !== null) return;
    this.#isProven = true;
    writeTrial(this.#folder.path, null);
  }

  /** From the rename on, who opens the folder finds the new rows. */
  async #replaceBy(incoming: string, onReplaced: () => void): Promise<void> {
    const { disk, path: folder } = this.#folder;
    const path = join(folder, STORE);
    await this.#closeDatabase();
    try {
      await disk.rename(incoming, path);
      await disk.remove(`${path}-lock`); // readers of the old file
      await disk.syncFolder(folder);
    } finally {
      this.#opened = openFile(path, false);
      this.#reader = new LmdbReader(this.#opened, (what) => this.#damaged(what));
      this.#isOpen = true;
      onReplaced();
    }
  }

  /** The front of the file, and its length, which go with a read transaction that was begun in this turn. */
  #headNow(): { readonly head: Uint8Array; readonly lengthBytes: number } {
    const file = openSync(join(this.#folder.path, STORE), "r");
    try {
      const head = new Uint8Array(HEAD_BYTES);
      const lengthBytes = fstatSync(file).size;
      const readBytes = readSync(file, head, 0, head.length, 0);
      return { head: head.subarray(0, readBytes), lengthBytes };
    } finally {
      closeSync(file);
    }
  }

  #checkTaken(snapshot: KeyValueSnapshot): undefined {
    if (this.#snapshots.has(snapshot)) return undefined;
    throw new RockpoolError(
      "UNAVAILABLE",
      "The metadata store was closed or replaced, and its snapshot ended",
      "Try again",
    );
  }

  /** Notes it for the next start: this process may go on only until its owner has ended it. */
  #damaged(what: string): RockpoolError {
    const { path, onDamage, ...marked } = this.#folder;
    const reason = `damage was found in it: ${what}`;
    if (this.#damage === null) {
      this.#damage = reason;
      writeMark(path, markOf(marked, { damage: reason }));
      onDamage(reason);
    }
    return new RockpoolError("DATA_LOSS", `The metadata in ${path} is damaged: ${what}`, REMEDY);
  }
}

function markOf(
  { bootId, schemaVersion }: Pick<Folder, "bootId" | "schemaVersion">,
  change: Partial<Mark>,
): Mark {
  return { bootId, schemaVersion, isClean: false, sizeBytes: 0, damage: null, ...change };
}

/** @returns its size */
function syncFile(path: string): number {
  const file = openSync(path, "r");
  try {
    fsyncSync(file);
    return fstatSync(file).size;
  } finally {
    closeSync(file);
  }
}

/**
 * Reads all rows, some at a time. Pages are copied to images as they are, and once there is an image the log before it goes: rows that
 * rotted must not come into the last copies that there are.
 * @throws RockpoolError DATA_LOSS
 */
async function checkRows(rows: KeyValueReader): Promise<void> {
  let start = Uint8Array.of(0);
  for (;;) {
    let last: Uint8Array | null = null;
    for (const { key } of rows.range({ start, end: KEYS_END, limit: CHECKED_ROWS })) last = key;
    if (last === null) return;
    start = Uint8Array.of(...last, 0);
    await rest(CHECK_REST_MS);
  }
}

/** Opens a copy of an image on the side, so that nothing is replaced by what is none. */
async function inspectImage(
  incoming: string,
  path: string,
  accept: (rows: KeyValueReader) => void,
): Promise<void> {
  const refused = (what: string) =>
    new RockpoolError(
      "FAILED_PRECONDITION",
      `${path} is no image of the metadata: ${what}`,
      "Run the same build on all masters; if they do, move the file away: this master takes an older one, or another master's",
    );
  const flaw = headerFlaw(incoming);
  if (flaw !== null) throw refused(flaw);
  const opened = openFile(incoming, true);
  try {
    accept(new LmdbReader(opened, refused));
  } finally {
    await opened.database.close();
    rmSync(`${incoming}-lock`, { force: true });
  }
}

export type LmdbOptions = {
  /** Of the rows that the caller writes: a store with rows of another version is thrown away. */
  readonly schemaVersion?: number;
  /** Told the pid of a process that ended without closing the store. */
  readonly onLockTakenOver?: (pid: number) => void;
  /** Told once, when rows turn out to be damaged: this process must end, and the next one rebuilds the store. */
  readonly onDamage?: (reason: string) => void;
  readonly bootIdPath?: string;
  readonly disk?: ImageDisk;
};

export type OpenedLmdb = {
  readonly store: KeyValueStore;
  /** Why a store that was there could not be used and was deleted, for people; null when nothing was deleted. */
  readonly discardReason: string | null;
  /**
   * To be called when this process has used the store for a while. LMDB ends a process that meets a rotten page of its tree,
   * in a way that nothing can catch. So one that dies before that makes the next one check all rows first; and when that one
   * dies of it, the one after it sets the store aside.
   */
  readonly proven: () => void;
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

function openLocked(path: string, options: LmdbOptions, unlock: () => void): OpenedLmdb {
  const { schemaVersion = 0, bootIdPath = "/proc/sys/kernel/random/boot_id" } = options;
  const folder: Folder = {
    path,
    bootId: bootIdOf(bootIdPath),
    schemaVersion,
    disk: options.disk ?? nodeImageDisk,
    unlock,
    onDamage: options.onDamage ?? (() => {}),
  };
  const file = join(path, STORE);
  const mark = readMark(path);
  const isThere = existsSync(file);
  const isKnown = isThere || mark !== null;
  const discardReason = isKnown ? flawOf(path, { ...folder, path: file }) : null;
  const hasTrial = readTrial(path) !== null;
  if (discardReason === DIED_OF) renameSync(file, join(path, SUSPECT));
  if (discardReason !== null) setAside(file, mark, schemaVersion);
  removeStore(join(path, INCOMING)); // of a process that ended while it installed one
  // Until it is closed in peace, only this boot vouches for it.
  writeMark(path, markOf(folder, {}));
  // Who had it last died of it, perhaps: if this one dies too, the next one does without.
  const isSuspect = isThere && discardReason === null && hasTrial && mark?.isClean !== true;
  writeTrial(path, isSuspect ? "checked" : "used");
  const checked = isSuspect ? openChecked(file) : { opened: openFile(file, false), flaw: null };
  if (isSuspect) writeTrial(path, "used");
  const store = new LmdbKeyValueStore(checked.opened, folder);
  return { store, discardReason: discardReason ?? checked.flaw, proven: () => store.proven() };
}

/** Reads all rows. A store in which something is wrong is removed, and an empty one takes its place. */
function openChecked(file: string): { readonly opened: Opened; readonly flaw: string | null } {
  const opened = openFile(file, false);
  const reader = new LmdbReader(opened, (what) => new RockpoolError("DATA_LOSS", what));
  try {
    for (const _ of reader.range({ start: Uint8Array.of(0), end: KEYS_END }));
    return { opened, flaw: null };
  } catch (error) {
    if (!isRockpoolError(error, "DATA_LOSS")) throw error;
    // Of a file that has no name any more; nobody waits for it.
    void opened.database.close();
    removeStore(file);
    return { opened: openFile(file, false), flaw: `damage was found in it: ${error.message}` };
  }
}

/**
 * Damaged rows are deleted. Those of another build are kept under another name: its own checkpoints are as unreadable to this
 * one as they are, so who started the wrong build can go back.
 */
function setAside(file: string, mark: Mark | null, schemaVersion: number): void {
  const version = mark?.schemaVersion ?? schemaVersion;
  const isSound = mark?.damage === null && !Number.isNaN(version) && existsSync(file);
  if (isSound && version !== schemaVersion)
    renameSync(file, file.replace(/\.mdb$/, `.version-${version}.mdb`));
  removeStore(file);
}

function removeStore(file: string): void {
  rmSync(file, { force: true });
  rmSync(`${file}-lock`, { force: true });
}
