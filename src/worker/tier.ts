/**
 * The books of one tier: quota of each directory, which block lies where, and what goes first when room is needed.
 *
 * Pure. Invariants: `charged` of a directory is the sum of its blocks, of its reservations and of blocks that were
 * dropped from the books while somebody still reads them; a block that is in use, pinned, freshly written
 * by a client, or perhaps the only copy of its bytes is never a victim. Order of eviction: least recently used, where use
 * ends when the last reader lets go. The books do not know which files are in the under store: they ask, by giving questions
 * back instead of room, and are told with `noteExpendable` and `noteNeeded`.
 * @module
 */
import type { BlockId, InodeId } from "../common/ids.ts";
import { fileIdOfBlock } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";

export type BlockEntry = {
  readonly id: BlockId;
  /** Index of its directory. */
  readonly directory: number;
  readonly lengthBytes: number;
  /** Open readers and locks. */
  users: number;
  /** False once it was removed; it then only waits for its users. */
  isListed: boolean;
  /** Not evicted before this time: the master's pin list does not know the file yet. 0 for none. */
  protectedUntilMs: number;
  /** When its file was copied to the under store from here; a pin list asked for later knows. Infinity: never. */
  persistedAtMs: number;
  /** A client process was given the path: its file is never written over. */
  isExposed: boolean;
  /** Its bytes are in the under store, or its file is gone: known for ever, since neither is ever undone. */
  isExpendable: boolean;
  /** When somebody was told last that it is not. -Infinity: nobody asked. */
  neededAtMs: number;
};

/** The caller deletes the victims' files before it writes. */
export type Placement = {
  readonly kind: "placed";
  readonly directory: number;
  readonly victims: readonly BlockEntry[];
};
/** Room there may be: find out whether these blocks are expendable, and ask again. */
export type Questions = { readonly kind: "asking"; readonly blocks: readonly BlockEntry[] };

/** What takes the room of a tier, in bytes. */
export type Usage = {
  readonly neededBytes: number;
  /** Nobody has asked yet, or nobody could answer. */
  readonly undecidedBytes: number;
  readonly pinnedBytes: number;
  readonly usedBytes: number;
};

/** Blocks asked about in one go: one round of calls to the master. */
export const QUESTIONS_MAX = 64;

type Directory = { readonly quotaBytes: number; chargedBytes: number; isClosed: boolean };

export class TierBooks {
  readonly #directories: readonly Directory[];
  readonly #entries = new Map<BlockId, BlockEntry>();
  /** Blocks nobody uses, least recently used first. */
  readonly #idle = new Map<BlockId, BlockEntry>();
  /** Idle blocks that a search found pinned: set aside, so that no search meets them again. */
  readonly #parked = new Map<BlockId, BlockEntry>();
  readonly #protected = new Set<BlockEntry>();
  #pinnedFiles: ReadonlySet<InodeId> = new Set();

  /** @param quotas bytes for each directory */
  constructor(quotas: readonly number[]) {
    invariant(quotas.length > 0, "a tier has a directory");
    this.#directories = quotas.map((quotaBytes) => ({
      quotaBytes,
      chargedBytes: 0,
      isClosed: false,
    }));
  }

  get capacityBytes(): number {
    return this.#directories.reduce(
      (sum, { isClosed, quotaBytes, chargedBytes }) => sum + (isClosed ? chargedBytes : quotaBytes),
      0,
    );
  }

  get usedBytes(): number {
    return this.#directories.reduce((sum, directory) => sum + directory.chargedBytes, 0);
  }

  get blockCount(): number {
    return this.#entries.size;
  }

  /** Room left under a directory's quota; negative after the quota was lowered. None in a closed one. */
  freeBytes(directory: number): number {
    const { quotaBytes, chargedBytes, isClosed } = this.#directory(directory);
    return isClosed ? 0 : quotaBytes - chargedBytes;
  }

  chargedBytes(directory: number): number {
    return this.#directory(directory).chargedBytes;
  }

  /** Lets nothing new into a directory; what is there stays. @returns false when it was closed already */
  closeDirectory(directory: number): boolean {
    const books = this.#directory(directory);
    if (books.isClosed) return false;
    books.isClosed = true;
    return true;
  }

  isDirectoryClosed(directory: number): boolean {
    return this.#directory(directory).isClosed;
  }

  #canTake(directory: number, sizeBytes: number): boolean {
    return !this.#directory(directory).isClosed && this.freeBytes(directory) >= sizeBytes;
  }

  get(id: BlockId): BlockEntry | undefined {
    return this.#entries.get(id);
  }

  ids(): IterableIterator<BlockId> {
    return this.#entries.keys();
  }

  #directory(index: number): Directory {
    const directory = this.#directories[index];
    invariant(directory !== undefined, "a directory's index is one of the tier's");
    return directory;
  }

  /**
   * Charges room for a new block, in the directory with most room; else where the least recently used blocks give
   * way first. Victims are out of the books when this returns.
   * @param askBeforeMs blocks called needed at this time or later are not asked about again; -Infinity: none is asked about
   * @returns null, and nothing changed, when no directory can have that much free
   */
  reserve(sizeBytes: number, nowMs: number, askBeforeMs: number): Placement | Questions | null {
    let best = 0;
    for (let index = 1; index < this.#directories.length; index++)
      if (this.freeBytes(index) > this.freeBytes(best)) best = index;
    if (this.#canTake(best, sizeBytes)) {
      this.#directory(best).chargedBytes += sizeBytes;
      return { kind: "placed", directory: best, victims: [] };
    }
    const candidates = this.#directories.map((_, index) => index);
    return this.#evictFor(candidates, sizeBytes, { nowMs, askBeforeMs });
  }

  /** Charges more room in a directory where a block is already being written; else as `reserve`. */
  extend(
    directory: number,
    moreBytes: number,
    nowMs: number,
    askBeforeMs: number,
  ): Placement | Questions | null {
    if (this.#canTake(directory, moreBytes)) {
      this.#directory(directory).chargedBytes += moreBytes;
      return { kind: "placed", directory, victims: [] };
    }
    return this.#evictFor([directory], moreBytes, { nowMs, askBeforeMs });
  }

  #evictFor(
    directories: readonly number[],
    sizeBytes: number,
    times: { readonly nowMs: number; readonly askBeforeMs: number },
  ): Placement | Questions | null {
    const gains = new Map<number, { bytes: number; isSure: boolean; victims: BlockEntry[] }>();
    for (const directory of directories) {
      const { quotaBytes, isClosed } = this.#directory(directory);
      // What the quota can never hold is not worth a single victim.
      if (!isClosed && quotaBytes >= sizeBytes)
        gains.set(directory, { bytes: this.freeBytes(directory), isSure: true, victims: [] });
    }
    if (gains.size === 0) return null;
    for (const entry of this.#idle.values()) {
      const gain = gains.get(entry.directory);
      if (gain === undefined || this.#park(entry) || entry.protectedUntilMs > times.nowMs) continue;
      if (!entry.isExpendable && entry.neededAtMs >= times.askBeforeMs) continue;
      if (entry.isExpendable) gain.victims.push(entry);
      else gain.isSure = false;
      gain.bytes += entry.lengthBytes;
      if (gain.bytes < sizeBytes) continue;
      if (!gain.isSure) return { kind: "asking", blocks: this.undecided(times, [entry.directory]) };
      for (const victim of gain.victims) this.#unlist(victim);
      const { chargedBytes } = this.#directory(entry.directory);
      const freed = gain.victims.reduce((sum, victim) => sum + victim.lengthBytes, 0);
      this.#directory(entry.directory).chargedBytes = chargedBytes - freed + sizeBytes;
      return { kind: "placed", directory: entry.directory, victims: gain.victims };
    }
    return null;
  }

  /** Sets an idle block aside if it is pinned. */
  #park(entry: BlockEntry): boolean {
    if (!this.#pinnedFiles.has(fileIdOfBlock(entry.id))) return false;
    this.#idle.delete(entry.id);
    this.#parked.set(entry.id, entry);
    return true;
  }

  /** Blocks that could be victims if they were expendable, least recently used first, some at a time. */
  undecided(
    times: { readonly nowMs: number; readonly askBeforeMs: number },
    directories: readonly number[] = [...this.#directories.keys()],
  ): BlockEntry[] {
    const found: BlockEntry[] = [];
    for (const entry of this.#idle.values()) {
      if (entry.isExpendable || entry.neededAtMs >= times.askBeforeMs) continue;
      if (!directories.includes(entry.directory) || entry.protectedUntilMs > times.nowMs) continue;
      if (this.#pinnedFiles.has(fileIdOfBlock(entry.id))) continue;
      found.push(entry);
      if (found.length === QUESTIONS_MAX) break;
    }
    return found;
  }

  /** Blocks that may be the only copy of their bytes, some of them: those first that the master wants kept. */
  kept(nowMs: number): BlockEntry[] {
    const kept: BlockEntry[] = [];
    const others: BlockEntry[] = [];
    for (const entry of this.#entries.values()) {
      if (entry.isExpendable) continue;
      const isWanted =
        entry.protectedUntilMs > nowMs || this.#pinnedFiles.has(fileIdOfBlock(entry.id));
      if (isWanted) kept.push(entry);
      else if (others.length < QUESTIONS_MAX) others.push(entry);
      if (kept.length === QUESTIONS_MAX) break;
    }
    return [...kept, ...others].slice(0, QUESTIONS_MAX);
  }

  /** Whether a directory has the quota for so much, were it empty. */
  canEverHold(sizeBytes: number): boolean {
    return this.#directories.some(
      ({ isClosed, quotaBytes }) => !isClosed && quotaBytes >= sizeBytes,
    );
  }

  /** Blocks that could be victims now. */
  evictable(nowMs: number): BlockEntry[] {
    return [...this.#idle.values()].filter(
      ({ id, protectedUntilMs, isExpendable }) =>
        isExpendable && protectedUntilMs <= nowMs && !this.#pinnedFiles.has(fileIdOfBlock(id)),
    );
  }

  /** The block's bytes are in the under store, or its file is gone. */
  noteExpendable(entry: BlockEntry): void {
    entry.isExpendable = true;
  }

  /** The block may be the only copy: it is not asked about again for a while. */
  noteNeeded(entry: BlockEntry, nowMs: number): void {
    entry.neededAtMs = nowMs;
  }

  usage(nowMs: number): Usage {
    const usage = { neededBytes: 0, undecidedBytes: 0, pinnedBytes: 0, usedBytes: 0 };
    for (const entry of this.#entries.values()) {
      const { id, isExpendable, neededAtMs, lengthBytes, users } = entry;
      if (!isExpendable)
        usage[neededAtMs > -Infinity ? "neededBytes" : "undecidedBytes"] += lengthBytes;
      else if (this.#pinnedFiles.has(fileIdOfBlock(id)) || entry.protectedUntilMs > nowMs)
        usage.pinnedBytes += lengthBytes;
      else if (users > 0) usage.usedBytes += lengthBytes;
    }
    return usage;
  }

  /** Gives back room that was reserved, or that a removed block had. */
  release(directory: number, bytes: number): void {
    const books = this.#directory(directory);
    books.chargedBytes -= bytes;
    invariant(books.chargedBytes >= 0, "no directory gives back more than it was charged");
  }

  /**
   * Turns a reservation into a block, which becomes the most recently used one.
   * @param protectedUntilMs 0, or when it may first be evicted although no pin list named it
   */
  commit(
    block: { readonly id: BlockId; readonly directory: number; readonly lengthBytes: number },
    reservedBytes: number,
    protectedUntilMs: number,
  ): BlockEntry {
    invariant(block.lengthBytes <= reservedBytes, "a block is not longer than what it reserved");
    this.release(block.directory, reservedBytes - block.lengthBytes);
    return this.#list(block, protectedUntilMs);
  }

  /** Takes in a block found at start-up, also beyond the quota: later reservations make it fit. */
  adopt(block: {
    readonly id: BlockId;
    readonly directory: number;
    readonly lengthBytes: number;
  }): BlockEntry {
    this.#directory(block.directory).chargedBytes += block.lengthBytes;
    const entry = this.#list(block, 0);
    // A client that got the path before the worker was restarted may still have the file mapped.
    entry.isExposed = true;
    return entry;
  }

  #list(
    block: { readonly id: BlockId; readonly directory: number; readonly lengthBytes: number },
    protectedUntilMs: number,
  ): BlockEntry {
    invariant(!this.#entries.has(block.id), "a block is in the books once");
    const entry: BlockEntry = {
      ...block,
      users: 0,
      isListed: true,
      protectedUntilMs,
      persistedAtMs: Infinity,
      isExposed: false,
      isExpendable: false,
      neededAtMs: -Infinity,
    };
    this.#entries.set(entry.id, entry);
    this.#idle.set(entry.id, entry);
    if (protectedUntilMs > 0) this.#protected.add(entry);
    return entry;
  }

  #unlist(entry: BlockEntry): void {
    entry.isListed = false;
    this.#entries.delete(entry.id);
    this.#idle.delete(entry.id);
    this.#parked.delete(entry.id);
    this.#protected.delete(entry);
  }

  /** Somebody begins to use the block: it cannot be evicted until `leave`. */
  use(entry: BlockEntry): void {
    invariant(entry.isListed, "only a listed block gets new users");
    entry.users++;
    this.#idle.delete(entry.id);
    this.#parked.delete(entry.id);
  }

  /** @returns true when it was the last user of a block that is no longer listed: delete its file, then `release` */
  leave(entry: BlockEntry): boolean {
    entry.users--;
    invariant(entry.users >= 0, "a block is left as often as it was used");
    if (entry.users > 0) return false;
    if (entry.isListed) this.#idle.set(entry.id, entry);
    return !entry.isListed;
  }

  /** Takes a block off the books. Its room stays charged until `release`: the file is still there, perhaps in use. */
  remove(entry: BlockEntry): void {
    invariant(entry.isListed, "a block is removed once");
    this.#unlist(entry);
  }

  /** The block's file is in the under store, though the master may not have taken note yet. */
  notePersisted(id: BlockId, nowMs: number): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    entry.persistedAtMs = nowMs;
    entry.neededAtMs = -Infinity; // worth another question
  }

  /**
   * The files that the master wants kept. A fresh block is from then on the list's business when the list names its file
   * or was asked for after the file was persisted; blocks that it no longer names count as recently used.
   * @param askedMs when the list was asked for
   */
  setPinned(files: ReadonlySet<InodeId>, nowMs: number, askedMs: number): void {
    this.#pinnedFiles = files;
    for (const entry of this.#protected) {
      const isDecided = files.has(fileIdOfBlock(entry.id)) || entry.persistedAtMs < askedMs;
      if (!isDecided && entry.protectedUntilMs > nowMs) continue;
      entry.protectedUntilMs = 0;
      this.#protected.delete(entry);
    }
    for (const entry of this.#parked.values()) {
      if (files.has(fileIdOfBlock(entry.id))) continue;
      this.#parked.delete(entry.id);
      this.#idle.set(entry.id, entry);
    }
  }
}
