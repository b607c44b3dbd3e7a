/**
 * The worker's blocks: one tier of directories, with quota, eviction, checksums and quarantine.
 *
 * Promises: bytes that do not match their checksum are never handed out; a block appears complete or not at
 * all, also over kill -9; a block that is in use, pinned, not yet known to the pin list, or perhaps the only copy of its
 * bytes is not evicted; no room is RESOURCE_EXHAUSTED and leaves everything readable. Only this module changes the books and the directories.
 * @module
 */
import { isRockpoolError, messageOf, RockpoolError } from "../common/errors.ts";
import type { BlockId, InodeId } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import type { Kernels } from "../kernels/kernels.ts";
import type { SlotPool } from "../kernels/slot_pool.ts";
import type { Clock, Timers } from "../world/ports.ts";
import { BlockDirectory } from "./block_meta.ts";
import type { OpenBlock } from "./block_reader.ts";
import { BlockReader } from "./block_reader.ts";
import { BlockWriter } from "./block_writer.ts";
import type { Disk } from "./disk.ts";
import { FaultWindow, watchedDisk } from "./disk_watch.ts";
import type { FileStatePort } from "./file_states.ts";
import { checksumsOfFile } from "./local_checksums.ts";
import { OpenBlocks } from "./open_blocks.ts";
import type { PageChecksums } from "./page_checksums.ts";
import { PageChecksumBuilder } from "./page_checksums.ts";
import { RoomMaker } from "./room.ts";
import type { BlockEntry } from "./tier.ts";
import { TierBooks } from "./tier.ts";
import type { BlockChange, BlockStoreEvent } from "./worker_api.ts";

export type TierOptions = {
  /** "MEM", "SSD" or "HDD". */
  readonly alias: string;
  readonly mediumType: string;
  /** Folders that are the worker's alone, e.g. /mnt/ramdisk/alluxioworker. */
  readonly directories: readonly { readonly path: string; readonly quotaBytes: number }[];
};

export type BlockStoreOptions = {
  readonly tier: TierOptions;
  /** fdatasync each block before it counts. Off, as in Alluxio: the cache may be lost with the machine, never wrong. */
  readonly isSynced: boolean;
};

export type BlockStoreStatus = {
  readonly tierAlias: string;
  readonly mediumType: string;
  readonly capacityBytes: number;
  readonly usedBytes: number;
  readonly blockCount: number;
  readonly directories: readonly {
    readonly path: string;
    readonly quotaBytes: number;
    readonly usedBytes: number;
  }[];
};

export type WriterOptions = {
  readonly reserveBytes: number;
  readonly isPinned: boolean;
  /** Its bytes come from the under store: it is never the only copy. False when left out. */
  readonly isInUfs?: boolean;
  /** Waits for room while files of the tier are on their way to the under store, until this fires. Left out: no wait. */
  readonly waitSignal?: AbortSignal;
};

export type BlockHold = { readonly path: string; release(): void };

/** A block that a client process writes by itself. */
export type LocalBlock = {
  readonly path: string;
  /** Charges more room. @throws RockpoolError RESOURCE_EXHAUSTED */
  reserve(moreBytes: number): Promise<void>;
  /** Reads the file once for its checksums, and makes it the block. @returns its length */
  commit(): Promise<number>;
  abort(): Promise<void>;
};

/** How long a block written with pin-on-create waits to be named by a pin list before it may be evicted. */
export const PIN_GRACE_MS = 10 * 60_000;

export class BlockStore {
  readonly #options: BlockStoreOptions;
  readonly #kernels: Kernels;
  readonly #slots: SlotPool;
  readonly #room: RoomMaker;
  readonly #clock: Clock;
  readonly #onEvent: (event: BlockStoreEvent) => void;
  readonly #books: TierBooks;
  readonly #directories: readonly BlockDirectory[];
  readonly #listeners = new Set<(change: BlockChange) => void>();
  /** Blocks being written: one writer each. */
  readonly #writing = new Set<BlockId>();
  /** Files on their way out: a block of the same id waits for it. */
  readonly #leaving = new Map<BlockId, Promise<void>>();
  readonly #open = new OpenBlocks((entry) => this.#openBlock(entry));
  readonly #faults: readonly FaultWindow[];

  private constructor(deps: BlockStoreDeps) {
    const { tier, isSynced } = deps.options;
    this.#options = deps.options;
    this.#kernels = deps.kernels;
    this.#slots = deps.slots;
    this.#clock = deps.clock;
    this.#onEvent = deps.onEvent;
    const books = new TierBooks(tier.directories.map(({ quotaBytes }) => quotaBytes));
    this.#books = books;
    const directoryCount = tier.directories.length;
    this.#room = new RoomMaker({ ...deps, tier: { alias: tier.alias, directoryCount, books } });
    const { kernels } = deps;
    this.#directories = tier.directories.map(({ path }, index) => {
      const disk = watchedDisk(deps.disk, (error) => this.#onFault(index, error));
      return new BlockDirectory({ path, disk, kernels, isSynced });
    });
    this.#faults = tier.directories.map(() => new FaultWindow(deps.clock));
  }

  /** Opens the tier's directories and takes in the blocks found there that can be trusted. */
  static async open(deps: BlockStoreDeps): Promise<BlockStore> {
    const store = new BlockStore(deps);
    for (const [index, directory] of store.#directories.entries()) {
      const found = await directory.recover(({ path, reason }) =>
        deps.onEvent({ kind: "blockFileDropped", path, reason }),
      );
      for (const { id, lengthBytes } of found) {
        if (store.#books.get(id) === undefined)
          store.#books.adopt({ id, directory: index, lengthBytes });
        else {
          const reason = "another directory of the tier has the block too";
          deps.onEvent({ kind: "blockFileDropped", path: directory.dataPath(id), reason });
          await directory.retire(id, lengthBytes, false);
        }
      }
    }
    return store;
  }

  /** Closes the files it keeps open. Nobody may use the store any more. */
  async close(): Promise<void> {
    await this.#open.close();
    await Promise.all(this.#leaving.values());
  }

  get tierAlias(): string {
    return this.#options.tier.alias;
  }

  get mediumType(): string {
    return this.#options.tier.mediumType;
  }

  get usedBytes(): number {
    return this.#books.usedBytes;
  }

  get capacityBytes(): number {
    return this.#books.capacityBytes;
  }

  status(): BlockStoreStatus {
    return {
      tierAlias: this.tierAlias,
      mediumType: this.mediumType,
      capacityBytes: this.#books.capacityBytes,
      usedBytes: this.#books.usedBytes,
      blockCount: this.#books.blockCount,
      directories: this.#options.tier.directories.map(({ path, quotaBytes }, index) => ({
        path,
        quotaBytes,
        usedBytes: this.#books.chargedBytes(index),
      })),
    };
  }

  #onFault(directory: number, error: RockpoolError): void {
    const isTooMany = this.#faults[directory]?.record() === true;
    if (!isTooMany || !this.#books.closeDirectory(directory)) return;
    const path = this.#directoryOf(directory).root;
    this.#onEvent({ kind: "directoryLost", path, reason: error.message });
  }

  /** Paths of directories that are out of the tier. */
  lostDirectories(): readonly string[] {
    return this.#directories.flatMap(({ root }, index) =>
      this.#books.isDirectoryClosed(index) ? [root] : [],
    );
  }

  /** Calls back, in order, for each block that appears or goes. @returns to stop it */
  onChange(listener: (change: BlockChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #tell(kind: "added" | "removed", blockId: BlockId): void {
    for (const listener of this.#listeners) listener({ kind, blockId });
  }

  has(id: BlockId): boolean {
    return this.#books.get(id) !== undefined;
  }

  /** Null when the block is not here. */
  lengthOf(id: BlockId): number | null {
    return this.#books.get(id)?.lengthBytes ?? null;
  }

  isBeingWritten(id: BlockId): boolean {
    return this.#writing.has(id);
  }

  blockIds(): BlockId[] {
    return [...this.#books.ids()];
  }

  /** @param askedMs when the leader was asked for the list, on the store's clock */
  setPinned(files: ReadonlySet<InodeId>, askedMs: number): void {
    this.#books.setPinned(files, this.#clock.monotonicMs(), askedMs);
  }

  /** A block's file is in the under store: the next pin list decides whether it may be evicted. */
  notePersisted(id: BlockId): void {
    this.#books.notePersisted(id, this.#clock.monotonicMs());
    this.#room.noteProgress();
  }

  // --- Reading

  /** Opens a block for verified reads. Null when it is not here. */
  async openReader(blockId: BlockId): Promise<BlockReader | null> {
    const entry = this.#books.get(blockId);
    if (entry === undefined) return null;
    this.#books.use(entry);
    let opened: Awaited<ReturnType<OpenBlocks["acquire"]>>;
    try {
      opened = await this.#open.acquire(entry);
    } catch (error) {
      const wasRemoved = !entry.isListed;
      if (isRockpoolError(error, "DATA_LOSS") || isRockpoolError(error, "NOT_FOUND"))
        await this.#quarantine(entry, messageOf(error));
      this.#leave(entry);
      if (wasRemoved) return this.openReader(blockId);
      throw error;
    }
    const { open, handle } = opened;
    const closed = async () => {
      try {
        await this.#open.release(handle);
      } finally {
        this.#leave(entry);
      }
    };
    if (!entry.isListed) {
      // Removed while its files were being opened: they may be of two blocks by now.
      await closed();
      return this.openReader(blockId);
    }
    const damaged = (reason: string) => this.#quarantine(entry, reason);
    return new BlockReader({ open, blockId, kernels: this.#kernels, host: { damaged, closed } });
  }

  async #openBlock(entry: BlockEntry): Promise<OpenBlock> {
    const directory = this.#directoryOf(entry.directory);
    const checksums = await directory.readChecksums(entry.id);
    if (checksums.lengthBytes !== entry.lengthBytes)
      throw new RockpoolError(
        "DATA_LOSS",
        `Checksums of block ${entry.id} are for ${checksums.lengthBytes} B, it has ${entry.lengthBytes} B`,
        "The block is read from another copy",
      );
    return { file: await directory.openData(entry.id), checksums };
  }

  #leave(entry: BlockEntry): void {
    if (this.#books.leave(entry)) this.#books.release(entry.directory, entry.lengthBytes);
  }

  /** Keeps a block from being evicted until `release`. Null when it is not here. */
  hold(blockId: BlockId): BlockHold | null {
    const entry = this.#books.get(blockId);
    if (entry === undefined) return null;
    this.#books.use(entry);
    let isReleased = false;
    return {
      path: this.#directoryOf(entry.directory).dataPath(blockId),
      release: () => {
        if (isReleased) return;
        isReleased = true;
        this.#leave(entry);
      },
    };
  }

  /** The same, for a client process that will read the block's file by itself. */
  lockLocal(blockId: BlockId): BlockHold | null {
    const hold = this.hold(blockId);
    const entry = this.#books.get(blockId);
    if (entry !== undefined) entry.isExposed = true;
    return hold;
  }

  // --- Writing

  /**
   * Begins a block.
   * @param reserveBytes room to take at once; more is taken as needed
   * @throws RockpoolError ALREADY_EXISTS, RESOURCE_EXHAUSTED
   */
  async createWriter(blockId: BlockId, options: WriterOptions): Promise<BlockWriter> {
    const reservation = await this.#reserve(blockId, options);
    const directory = this.#directoryOf(reservation.directory);
    try {
      const temp = await directory.createTemp(blockId, options.reserveBytes);
      await this.#trim(reservation.directory);
      return new BlockWriter({
        blockId,
        temp,
        slots: this.#slots,
        checksums: new PageChecksumBuilder(this.#kernels),
        reservedBytes: options.reserveBytes,
        isSynced: this.#options.isSynced,
        host: this.#hostOf(reservation, temp.path),
      });
    } catch (error) {
      this.#cancel(reservation);
      throw error;
    }
  }

  #hostOf(reservation: Reservation, path: string) {
    const { blockId } = reservation;
    return {
      extend: (moreBytes: number) => this.#extend(reservation, moreBytes),
      publish: async (checksums: PageChecksums) => {
        await this.#directoryOf(reservation.directory).publish(blockId, path, checksums);
        this.#commit(reservation, checksums.lengthBytes);
      },
      discard: async () => {
        try {
          await this.#directoryOf(reservation.directory).dropTemp(path);
        } finally {
          this.#cancel(reservation);
        }
      },
    };
  }

  /** Begins a block that a client process writes by itself, into the file whose path this gives. */
  async createLocal(blockId: BlockId, options: WriterOptions): Promise<LocalBlock> {
    const reservation = await this.#reserve(blockId, options);
    const directory = this.#directoryOf(reservation.directory);
    let path: string;
    try {
      path = await directory.createTempForClient(blockId);
      await this.#trim(reservation.directory);
    } catch (error) {
      this.#cancel(reservation);
      throw error;
    }
    const host = this.#hostOf(reservation, path);
    let isOver = false;
    return {
      path,
      reserve: (moreBytes) => this.#extend(reservation, moreBytes),
      commit: async () => {
        await directory.sealTemp(path);
        const checksums = await this.#checksumsOf(reservation, path);
        reservation.isExposed = true;
        await host.publish(checksums);
        isOver = true;
        return checksums.lengthBytes;
      },
      abort: async () => {
        if (isOver) return;
        isOver = true;
        await host.discard();
      },
    };
  }

  async #checksumsOf(reservation: Reservation, path: string): Promise<PageChecksums> {
    const file = await this.#directoryOf(reservation.directory).openTemp(path);
    try {
      const lengthBytes = await file.lengthBytes();
      const missing = lengthBytes - reservation.bytes;
      if (missing > 0) await this.#extend(reservation, missing);
      if (this.#options.isSynced) await file.sync();
      const deps = { kernels: this.#kernels, slots: this.#slots };
      return await checksumsOfFile(reservation.blockId, file, lengthBytes, deps);
    } finally {
      await file.close();
    }
  }

  async #reserve(blockId: BlockId, options: WriterOptions): Promise<Reservation> {
    for (;;) {
      if (this.#books.get(blockId) !== undefined || this.#writing.has(blockId))
        throw new RockpoolError(
          "ALREADY_EXISTS",
          `Block ${blockId} exists or is being written on this worker`,
          "Write the file again under a new block",
        );
      const leaving = this.#leaving.get(blockId);
      if (leaving === undefined) break;
      await leaving;
    }
    this.#writing.add(blockId);
    const { reserveBytes: bytes, isPinned, isInUfs = false, waitSignal } = options;
    try {
      const directory = await this.#room.make(
        { blockId, bytes, waitSignal },
        (nowMs, askBeforeMs) => this.#books.reserve(bytes, nowMs, askBeforeMs),
        ({ victims }) => this.#evict(victims),
      );
      return { blockId, directory, bytes, isPinned, isInUfs, waitSignal, isExposed: false };
    } catch (error) {
      this.#writing.delete(blockId);
      throw error;
    }
  }

  async #extend(reservation: Reservation, moreBytes: number): Promise<void> {
    const { blockId, directory, waitSignal } = reservation;
    await this.#room.make(
      { blockId, bytes: moreBytes, waitSignal },
      (nowMs, askBeforeMs) => this.#books.extend(directory, moreBytes, nowMs, askBeforeMs),
      ({ victims }) => {
        reservation.bytes += moreBytes;
        // Nothing may come between: what left the books must be known to be leaving.
        return this.#evict(victims);
      },
    );
    await this.#trim(directory);
  }

  #commit(reservation: Reservation, lengthBytes: number): void {
    const { blockId, directory } = reservation;
    const until = reservation.isPinned ? this.#clock.monotonicMs() + PIN_GRACE_MS : 0;
    this.#writing.delete(blockId);
    const block = { id: blockId, directory, lengthBytes };
    const entry = this.#books.commit(block, reservation.bytes, until);
    entry.isExposed = reservation.isExposed;
    if (reservation.isInUfs) this.#books.noteExpendable(entry);
    this.#tell("added", blockId);
  }

  #cancel(reservation: Reservation): void {
    this.#writing.delete(reservation.blockId);
    this.#books.release(reservation.directory, reservation.bytes);
  }

  // --- Going

  /** Removes a block; readers that have it open finish undisturbed. False when it was not here. */
  async remove(blockId: BlockId): Promise<boolean> {
    const entry = this.#books.get(blockId);
    if (entry === undefined) return false;
    this.#books.remove(entry);
    this.#tell("removed", blockId);
    const isIdle = entry.users === 0;
    await this.#takeAway([entry], (directory) =>
      directory.retire(blockId, entry.lengthBytes, isIdle && !entry.isExposed),
    );
    if (isIdle) {
      this.#books.release(entry.directory, entry.lengthBytes);
      await this.#trim(entry.directory);
    }
    return true;
  }

  /** Removes every block that may be evicted. @returns how many */
  async removeAll(): Promise<number> {
    const search = this.#room.newSearch();
    for (;;) {
      const nowMs = this.#clock.monotonicMs();
      const blocks = this.#books.undecided({ nowMs, askBeforeMs: search.askBeforeMs });
      if (blocks.length === 0) break;
      await search.ask(blocks);
    }
    let count = 0;
    for (const entry of this.#books.evictable(this.#clock.monotonicMs())) {
      // Meanwhile it may have been evicted, and written anew, or somebody may read it.
      if (!entry.isListed || entry.users > 0) continue;
      await this.remove(entry.id);
      count++;
    }
    return count;
  }

  /** Takes victims away. What becomes spare files is for the caller to `#trim`, once it took one to write over. */
  async #evict(victims: readonly BlockEntry[]): Promise<void> {
    if (victims.length === 0) return;
    const gone = this.#takeAway(victims, (files, victim) =>
      files.retire(victim.id, victim.lengthBytes, !victim.isExposed),
    );
    for (const victim of victims) this.#tell("removed", victim.id);
    this.#onEvent({ kind: "blocksEvicted", blockIds: victims.map(({ id }) => id) });
    await gone;
  }

  /** Spare files never take more than the room that the books call free. */
  async #trim(directory: number): Promise<void> {
    const allowedBytes = Math.max(0, this.#books.freeBytes(directory));
    try {
      await this.#directoryOf(directory).trimSpares(allowedBytes);
    } catch (error) {
      if (!isRockpoolError(error)) throw error;
      this.#onEvent({ kind: "spareCleanupFailed", message: error.message });
    }
  }

  async #quarantine(entry: BlockEntry, reason: string): Promise<void> {
    if (!entry.isListed) return;
    this.#books.remove(entry);
    this.#tell("removed", entry.id);
    await this.#takeAway([entry], async (directory) => {
      const path = await directory.quarantine(entry.id);
      this.#onEvent({ kind: "blockQuarantined", blockId: entry.id, path, reason });
    });
    // Whoever found the damage still uses the entry: its room is given back when the last user leaves.
    invariant(entry.users > 0, "a block is quarantined by one of its readers");
  }

  /**
   * Takes the files of blocks away that just left the books, one after the other. New blocks of all these ids wait from the
   * first moment on. A failure leaves files to the next start.
   */
  async #takeAway(
    entries: readonly BlockEntry[],
    work: (directory: BlockDirectory, entry: BlockEntry) => Promise<void>,
  ): Promise<void> {
    const run = async () => {
      for (const entry of entries) {
        await this.#open.drop(entry.id);
        try {
          await work(this.#directoryOf(entry.directory), entry);
        } catch (error) {
          if (!isRockpoolError(error)) throw error;
          const { message } = error;
          this.#onEvent({ kind: "blockCleanupFailed", blockId: entry.id, message });
        }
      }
    };
    const leaving = run().finally(() => {
      for (const { id } of entries) this.#leaving.delete(id);
    });
    for (const { id } of entries) this.#leaving.set(id, leaving);
    await leaving;
  }

  #directoryOf(index: number): BlockDirectory {
    const directory = this.#directories[index];
    invariant(directory !== undefined, "a block lies in a directory of the tier");
    return directory;
  }
}

export type BlockStoreDeps = {
  readonly options: BlockStoreOptions;
  readonly disk: Disk;
  readonly kernels: Kernels;
  readonly slots: SlotPool;
  readonly files: FileStatePort;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly onEvent: (event: BlockStoreEvent) => void;
};

type Reservation = {
  readonly blockId: BlockId;
  readonly directory: number;
  bytes: number;
  readonly isPinned: boolean;
  readonly isInUfs: boolean;
  readonly waitSignal: AbortSignal | undefined;
  isExposed: boolean;
};
