/**
 * A disk in memory for tests and simulations, as faithful as the journal needs: it knows what is durable, loses the rest
 * when the power fails, fills up, rots, loses and misdirects writes, and fails at the n-th call. Deterministic: chance and
 * time come from outside.
 *
 * - A write is seen by reads at once, and durable, sector by sector, with the next `datasync`. A power cut leaves of each
 *   unsynced sector the old bytes, the new ones, or some of each; and of a file that grew the old or the new size.
 * - Creations, renames and removals are durable with `syncFolder`; a power cut leaves some first part of the others.
 * - What a failed `datasync` leaves behind is as in Linux: the pages count as clean, and are not on the disk.
 * - `delay` holds operations back: writes and names have their effect before, `datasync`, `syncFolder` and reads after it.
 * - After `losePower`, `killProcess` or `wipe` the handles of before are dead: what was asked of them is never answered.
 * @module
 */
import { dirname } from "node:path";
import { RockpoolError } from "../common/errors.ts";
import type { FolderLockOptions } from "../world/folder_lock.ts";
import type { JournalFile, JournalFileSystem } from "./file_system.ts";

export const SECTOR_BYTES = 512;

export type DiskOperation = {
  readonly kind:
    | "create"
    | "open"
    | "write"
    | "truncate"
    | "datasync"
    | "read"
    | "rename"
    | "remove"
    | "syncFolder";
  readonly path: string;
};

/** The n-th call fails, and all after it as on a broken disk, unless it `isOnce`; a short write is always once. */
export type DiskFault = {
  readonly at: number;
  readonly code: "EIO" | "ENOSPC" | "short" | "crash";
  readonly isOnce?: boolean;
};

/** What a datasync does with a sector though it says that all went well; reads see it once the caches are dropped. */
export type SectorFate = "written" | "lost" | { readonly misdirectedTo: number };

type MemoryFile = {
  /** What reads see. */
  current: Uint8Array;
  durable: Uint8Array;
  /** Sectors that are not durable, and the number of their last write. */
  dirty: Map<number, number>;
  /** Sectors that cannot be read until they are written. */
  bad: Set<number>;
  /** When a sector was last written; empty without a clock. */
  writtenMs: Map<number, number>;
};

type NameChange = {
  readonly folder: string;
  readonly removed: string | null;
  readonly set: { readonly path: string; readonly file: MemoryFile } | null;
};

function applyTo(names: Map<string, MemoryFile>, { removed, set }: NameChange): void {
  if (removed !== null) names.delete(removed);
  if (set !== null) names.set(set.path, set.file);
}

function failure(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}

/** What a dead process waits for. */
function never<T>(): Promise<T> {
  return new Promise(() => {});
}

export class MemoryFileSystem implements JournalFileSystem {
  readonly files = new Map<string, MemoryFile>();
  /** Operations so far, reads not counted. */
  calls = 0;
  fault: DiskFault | null = null;
  /** Bytes of all files together. */
  capacityBytes = Number.POSITIVE_INFINITY;
  delay: ((operation: DiskOperation) => Promise<void> | null) | null = null;
  sectorFate: ((path: string, sector: number) => SectorFate) | null = null;
  /** For `writtenMs`; null: nobody asks. */
  nowMs: (() => number) | null = null;
  /** Told when a fault of code "crash" is met: the process is gone, and calls `losePower` or `killProcess`. */
  onCrash: () => void = () => {};
  #durableNames = new Map<string, MemoryFile>();
  #nameChanges: NameChange[] = [];
  #locks = new Set<string>();
  #life = 0;
  #isCrashed = false;
  #writes = 0;

  // — faults —

  /** Counts a call; throws at the chosen one. */
  #meet(path: string, canBeShort = false): "short" | "ok" {
    this.calls += 1;
    const { fault } = this;
    if (fault === null || this.calls < fault.at) return "ok";
    const isFirst = this.calls === fault.at;
    if (fault.code === "short") return canBeShort && isFirst ? "short" : "ok";
    if (!isFirst && fault.isOnce === true) return "ok";
    if (fault.code === "crash" && !this.#isCrashed) {
      this.#isCrashed = true;
      this.onCrash();
    }
    throw failure(fault.code === "crash" ? "EIO" : fault.code, path);
  }

  /** Does what an operation does, or rejects; never settles for a process that is gone. */
  #perform<T>(
    life: number,
    operation: DiskOperation,
    effect: "before" | "after",
    act: () => T,
  ): Promise<T> {
    if (life !== this.#life || this.#isCrashed) return never();
    let done: { readonly value: T } | null = null;
    try {
      if (effect === "before") done = { value: act() };
    } catch (error) {
      return this.#isCrashed ? never() : Promise.reject(error);
    }
    const end = (): T | Promise<T> => {
      if (life !== this.#life || this.#isCrashed) return never();
      try {
        return done === null ? act() : done.value;
      } catch (error) {
        if (this.#isCrashed) return never();
        throw error;
      }
    };
    const wait = this.delay?.(operation) ?? null;
    return wait === null ? Promise.resolve().then(end) : wait.then(end);
  }

  #changeNames(change: NameChange): void {
    applyTo(this.files, change);
    this.#nameChanges.push(change);
  }

  get usedBytes(): number {
    let bytes = 0;
    for (const { current } of this.files.values()) bytes += current.length;
    return bytes;
  }

  // — JournalFileSystem —

  listSync(folder: string): readonly string[] {
    return [...this.files.keys()]
      .filter((path) => dirname(path) === folder)
      .map((path) => path.slice(folder.length + 1))
      .sort();
  }

  existsSync(path: string): boolean {
    return this.files.has(path);
  }

  openSync(path: string, _mode: "read" | "readWrite" = "readWrite"): JournalFile {
    const file = this.files.get(path);
    if (file === undefined) throw failure("ENOENT", path);
    return this.#handle(path, file);
  }

  create(path: string): Promise<JournalFile> {
    return this.#perform(this.#life, { kind: "create", path }, "before", () => {
      this.#meet(path);
      return this.#handle(path, this.#make(path));
    });
  }

  #make(path: string): MemoryFile {
    const file: MemoryFile = {
      current: new Uint8Array(0),
      durable: new Uint8Array(0),
      dirty: new Map(),
      bad: new Set(),
      writtenMs: new Map(),
    };
    this.#changeNames({ folder: dirname(path), removed: null, set: { path, file } });
    return file;
  }

  rename(from: string, to: string): Promise<void> {
    return this.#perform(this.#life, { kind: "rename", path: from }, "before", () => {
      this.#meet(from);
      this.#rename(from, to);
    });
  }

  #rename(from: string, to: string): void {
    const file = this.files.get(from);
    if (file === undefined) throw failure("ENOENT", from);
    this.#changeNames({ folder: dirname(to), removed: from, set: { path: to, file } });
  }

  remove(path: string): Promise<void> {
    return this.#perform(this.#life, { kind: "remove", path }, "before", () => {
      this.#meet(path);
      this.#remove(path);
    });
  }

  removeSync(path: string): void {
    this.#meet(path);
    this.#remove(path);
  }

  #remove(path: string): void {
    if (this.files.has(path))
      this.#changeNames({ folder: dirname(path), removed: path, set: null });
  }

  syncFolder(folder: string): Promise<void> {
    return this.#perform(this.#life, { kind: "syncFolder", path: folder }, "after", () => {
      this.#meet(folder);
      this.#syncFolder(folder);
    });
  }

  #syncFolder(folder: string): void {
    const kept: NameChange[] = [];
    for (const change of this.#nameChanges)
      if (change.folder === folder) applyTo(this.#durableNames, change);
      else kept.push(change);
    this.#nameChanges = kept;
  }

  async freeBytes(): Promise<number> {
    const isFull = this.fault?.code === "ENOSPC" && this.calls >= this.fault.at;
    return isFull ? 0 : Math.max(0, this.capacityBytes - this.usedBytes);
  }

  makeFolderSync(): void {}

  readFileSync(path: string): Uint8Array | null {
    const file = this.files.get(path);
    if (file === undefined) return null;
    const bytes = new Uint8Array(file.current.length);
    this.#read(path, file, bytes, 0);
    return bytes;
  }

  /** Five calls, as a disk sees it. */
  replaceFileSync(path: string, bytes: Uint8Array): void {
    const beside = `${path}.new`;
    this.#meet(beside);
    const file = this.#make(beside);
    for (let done = 0; done < bytes.length; )
      done += this.#write(beside, file, bytes.subarray(done), done);
    const sectors = [...file.dirty];
    this.#meet(beside);
    this.#makeDurable(beside, file, sectors);
    this.#meet(path);
    this.#rename(beside, path);
    this.#meet(dirname(path));
    this.#syncFolder(dirname(path));
  }

  lockSync(path: string, options: FolderLockOptions): () => void {
    if (this.#locks.has(path))
      throw new RockpoolError("UNAVAILABLE", `${options.subject} is open`, options.remedy);
    this.#locks.add(path);
    const locks = this.#locks;
    return () => locks.delete(path);
  }

  // — files —

  #handle(path: string, file: MemoryFile): JournalFile {
    const life = this.#life;
    const alive = () => {
      if (life !== this.#life || this.#isCrashed) throw failure("EIO", path);
    };
    return {
      write: (bytes, at) =>
        this.#perform(life, { kind: "write", path }, "before", () =>
          this.#write(path, file, bytes, at),
        ),
      datasync: () => {
        const sectors = [...file.dirty];
        return this.#perform(life, { kind: "datasync", path }, "after", () => {
          try {
            this.#meet(path);
          } catch (error) {
            // As in Linux: the pages count as clean, whatever is on the disk. A process that is gone changes nothing.
            if (!this.#isCrashed) this.#forget(file, sectors);
            throw error;
          }
          this.#makeDurable(path, file, sectors);
        });
      },
      read: (into, at) =>
        this.#perform(life, { kind: "read", path }, "after", () =>
          this.#read(path, file, into, at),
        ),
      readSync: (into, at) => {
        alive();
        return this.#read(path, file, into, at);
      },
      sizeSync: () => file.current.length,
      truncate: (sizeBytes) =>
        this.#perform(life, { kind: "truncate", path }, "before", () => {
          this.#meet(path);
          if (sizeBytes > file.current.length) this.#grow(path, file, sizeBytes);
          else file.current = file.current.slice(0, sizeBytes);
        }),
      close: () => {},
    };
  }

  #grow(path: string, file: MemoryFile, sizeBytes: number): void {
    if (sizeBytes - file.current.length > this.capacityBytes - this.usedBytes)
      throw failure("ENOSPC", path);
    const { buffer, byteOffset } = file.current;
    if (byteOffset === 0 && buffer.byteLength >= sizeBytes) {
      file.current = new Uint8Array(buffer, 0, sizeBytes);
      return;
    }
    // Ahead of what is needed, or files that grow by small pieces would be copied again and again.
    const room = new ArrayBuffer(file.current.length === 0 ? sizeBytes : 2 * sizeBytes);
    const grown = new Uint8Array(room, 0, sizeBytes);
    grown.set(file.current);
    file.current = grown;
  }

  #write(path: string, file: MemoryFile, bytes: Uint8Array, at: number): number {
    const isShort = this.#meet(path, bytes.length > 1) === "short";
    let count = isShort ? bytes.length >> 1 : bytes.length;
    const roomBytes = this.capacityBytes - this.usedBytes;
    const lackBytes = at + count - file.current.length - roomBytes;
    if (lackBytes > 0) count -= Math.min(count, lackBytes);
    if (count === 0 && bytes.length > 0) throw failure("ENOSPC", path);
    if (at + count > file.current.length) this.#grow(path, file, at + count);
    file.current.set(bytes.subarray(0, count), at);
    this.#writes += 1;
    const last = Math.floor((at + count - 1) / SECTOR_BYTES);
    for (let sector = Math.floor(at / SECTOR_BYTES); sector <= last; sector++) {
      file.dirty.set(sector, this.#writes);
      file.bad.delete(sector);
      if (this.nowMs !== null) file.writtenMs.set(sector, this.nowMs());
    }
    return count;
  }

  #read(path: string, file: MemoryFile, into: Uint8Array, at: number): number {
    const part = file.current.subarray(at, at + into.length);
    for (const sector of file.bad)
      if ((sector + 1) * SECTOR_BYTES > at && sector * SECTOR_BYTES < at + part.length)
        throw failure("EIO", path);
    into.set(part);
    return part.length;
  }

  #forget(file: MemoryFile, sectors: readonly (readonly [number, number])[]): void {
    for (const [sector, write] of sectors)
      if (file.dirty.get(sector) === write) file.dirty.delete(sector);
  }

  #makeDurable(
    path: string,
    file: MemoryFile,
    sectors: readonly (readonly [number, number])[],
  ): void {
    const sizeBytes = file.current.length;
    if (file.durable.length !== sizeBytes) {
      const resized = new Uint8Array(sizeBytes);
      resized.set(file.durable.subarray(0, sizeBytes));
      file.durable = resized;
    }
    for (const [sector] of sectors) {
      const fate = this.sectorFate?.(path, sector) ?? "written";
      const start = sector * SECTOR_BYTES;
      const bytes = file.current.subarray(start, Math.min(start + SECTOR_BYTES, sizeBytes));
      const to = typeof fate === "object" ? fate.misdirectedTo * SECTOR_BYTES : start;
      if (fate !== "lost" && to + bytes.length <= sizeBytes) file.durable.set(bytes, to);
    }
    this.#forget(file, sectors);
  }

  // — what befalls the disk and the process —

  /**
   * The power fails: of all that was not made durable, some is there and some is not.
   * @param keeps asked for each name change until it says no, and for each unsynced sector and size
   * @param tornBytes of a sector that is not kept, so many of the first bytes are new
   */
  losePower(keeps: (sector: number) => boolean, tornBytes: () => number = () => 0): void {
    for (const change of this.#nameChanges) {
      if (!keeps(0)) break;
      applyTo(this.#durableNames, change);
    }
    this.files.clear();
    for (const [path, file] of this.#durableNames) this.files.set(path, file);
    for (const file of new Set(this.files.values())) this.#cut(file, keeps, tornBytes);
    this.#reboot();
  }

  #cut(file: MemoryFile, keeps: (sector: number) => boolean, tornBytes: () => number): void {
    const isResized = file.current.length !== file.durable.length;
    const sizeBytes = isResized && !keeps(0) ? file.durable.length : file.current.length;
    const after = new Uint8Array(sizeBytes);
    after.set(file.durable.subarray(0, sizeBytes));
    for (const sector of file.dirty.keys()) {
      const start = sector * SECTOR_BYTES;
      const count = keeps(sector) ? SECTOR_BYTES : tornBytes();
      const end = Math.min(start + count, sizeBytes);
      if (end > start) after.set(file.current.subarray(start, end), start);
    }
    file.current = after;
    file.durable = after.slice();
    file.dirty.clear();
  }

  /** The process ends; what it wrote is in the page cache. */
  killProcess(): void {
    this.#life += 1;
    this.#isCrashed = false;
    this.#locks = new Set();
  }

  #reboot(): void {
    this.#nameChanges = [];
    this.#durableNames = new Map(this.files);
    this.killProcess();
  }

  /** Reads come from the disk again: lost and misdirected writes show. */
  dropCaches(): void {
    for (const file of this.files.values()) {
      const sizeBytes = Math.min(file.current.length, file.durable.length);
      for (let sector = 0; sector * SECTOR_BYTES < sizeBytes; sector++) {
        if (file.dirty.has(sector)) continue;
        const start = sector * SECTOR_BYTES;
        file.current.set(
          file.durable.subarray(start, Math.min(start + SECTOR_BYTES, sizeBytes)),
          start,
        );
      }
    }
  }

  /** Bits change, on the disk and in the caches. */
  rot(path: string, offsetBytes: number, mask: number): void {
    const file = this.#fileAt(path);
    for (const bytes of [file.current, file.durable])
      if (offsetBytes < bytes.length) bytes[offsetBytes] = (bytes[offsetBytes] ?? 0) ^ mask;
  }

  /** A sector can't be read until it is written. */
  spoil(path: string, sector: number): void {
    this.#fileAt(path).bad.add(sector);
  }

  /** Sectors that are durable and not full of zeros, rising, and when they were written (0 without a clock). */
  usedSectors(path: string): readonly { readonly sector: number; readonly writtenMs: number }[] {
    const { durable, dirty, writtenMs } = this.#fileAt(path);
    const found: { sector: number; writtenMs: number }[] = [];
    for (let sector = 0; sector * SECTOR_BYTES < durable.length; sector++) {
      const bytes = durable.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
      if (!dirty.has(sector) && bytes.some((byte) => byte !== 0))
        found.push({ sector, writtenMs: writtenMs.get(sector) ?? 0 });
    }
    return found;
  }

  #fileAt(path: string): MemoryFile {
    const file = this.files.get(path);
    if (file === undefined) throw failure("ENOENT", path);
    return file;
  }

  /** Another disk without anything on it takes its place. */
  wipe(): void {
    this.files.clear();
    this.#reboot();
  }

  /** The same bytes, durable or not, on another disk; settings and faults stay behind. */
  clone(): MemoryFileSystem {
    const copy = new MemoryFileSystem();
    const twins = new Map<MemoryFile, MemoryFile>();
    const twinOf = (file: MemoryFile): MemoryFile => {
      const twin = twins.get(file) ?? {
        current: file.current.slice(),
        durable: file.durable.slice(),
        dirty: new Map(file.dirty),
        bad: new Set(file.bad),
        writtenMs: new Map(file.writtenMs),
      };
      twins.set(file, twin);
      return twin;
    };
    for (const [path, file] of this.files) copy.files.set(path, twinOf(file));
    for (const [path, file] of this.#durableNames) copy.#durableNames.set(path, twinOf(file));
    for (const change of this.#nameChanges) {
      const set = change.set && { path: change.set.path, file: twinOf(change.set.file) };
      copy.#nameChanges.push({ ...change, set });
    }
    return copy;
  }
}
