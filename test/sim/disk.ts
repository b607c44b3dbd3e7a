/**
 * The simulated disk of one host, as the journal's file system: what is in the page cache, what is durable, sector by
 * sector, and which names are durable in the folder.
 *
 * - A write is in the page cache once it ends; a datasync that succeeds makes the sectors written before it durable.
 * - A process that dies in the middle of a write leaves some of its sectors in the page cache. A power loss leaves of each
 *   sector that was not synced the old or the new bytes, and of names that were not synced the old or the new ones.
 * - After a datasync that failed the pages count as clean, as in Linux, and the disk has some of them.
 * - A disk may lose a write, or put it elsewhere, and say that all is well; bits of it may rot.
 *
 * Every operation takes virtual time, and may be the one at which the process dies.
 * @module
 */
import { RockpoolError } from "../../src/common/errors.ts";
import type { JournalFile, JournalFileSystem } from "../../src/journal/file_system.ts";
import type { FolderLockOptions } from "../../src/world/folder_lock.ts";
import type { SimRandom } from "./random.ts";
import { type Lane, type Scheduler, SimCrash } from "./scheduler.ts";

export const SECTOR_BYTES = 512;

function resized(bytes: Uint8Array, sizeBytes: number): Uint8Array<ArrayBuffer> {
  const after = new Uint8Array(sizeBytes);
  after.set(bytes.subarray(0, sizeBytes));
  return after;
}

export class DiskFile {
  current = new Uint8Array(0);
  durable = new Uint8Array(0);
  /** Sectors whose bytes in the page cache are not on the disk. */
  readonly dirty = new Set<number>();

  write(bytes: Uint8Array, at: number): void {
    const end = at + bytes.length;
    if (end > this.current.length) this.current = resized(this.current, end);
    this.current.set(bytes, at);
    const last = Math.floor((end - 1) / SECTOR_BYTES);
    for (let sector = Math.floor(at / SECTOR_BYTES); sector <= last; sector++)
      this.dirty.add(sector);
  }

  resize(sizeBytes: number): void {
    this.current = resized(this.current, sizeBytes);
    for (const sector of this.dirty)
      if (sector * SECTOR_BYTES >= sizeBytes) this.dirty.delete(sector);
  }

  /** The size is on the disk. */
  hardenSize(): void {
    if (this.durable.length !== this.current.length)
      this.durable = resized(this.durable, this.current.length);
  }

  /** Puts one sector of the page cache on the disk. */
  harden(sector: number, to = sector): void {
    const start = sector * SECTOR_BYTES;
    const bytes = this.current.subarray(start, start + SECTOR_BYTES);
    const room = this.durable.length - to * SECTOR_BYTES;
    if (room > 0) this.durable.set(bytes.subarray(0, room), to * SECTOR_BYTES);
  }
}

export type DiskFaults = {
  /** Of one operation. */
  latencyMinMs: number;
  latencyMaxMs: number;
  /** Until then every operation takes up to this much more. */
  slowUntilMs: number;
  slowMs: number;
  /** Nothing may grow. */
  isFull: boolean;
  /** The next datasync of any file fails, or that of the next file with this in its name; null: none. */
  failsNextSync: string | null;
  failsNextWrite: boolean;
  /** The next datasync leaves out, or misplaces, one sector. */
  nextSyncFault: "none" | "lost" | "misdirected";
  /** The process dies at the n-th operation from now; 0: it does not. */
  crashAtCall: number;
};

export function soundDisk(): DiskFaults {
  return {
    latencyMinMs: 0.05,
    latencyMaxMs: 1,
    slowUntilMs: 0,
    slowMs: 0,
    isFull: false,
    failsNextSync: null,
    failsNextWrite: false,
    nextSyncFault: "none",
    crashAtCall: 0,
  };
}

/** What fails at the moment of a crash nobody sees. */
function attempt(act: () => unknown): void {
  try {
    act();
  } catch (error) {
    if (!(error instanceof Error)) throw error;
  }
}

function errno(code: string): Error {
  return Object.assign(new Error(`${code}: simulated`), { code });
}

/** What lies on a host's disk; outlives its processes. */
export class Disk {
  /** As the page cache shows it. */
  names = new Map<string, DiskFile>();
  /** As the disk holds it. */
  durableNames = new Map<string, DiskFile>();
  readonly random: SimRandom;
  readonly scheduler: Scheduler;
  readonly faults = soundDisk();
  readonly locks = new Map<string, Lane>();
  callCount = 0;
  /** When the last operation that is under way will end. */
  busyUntilMs = 0;
  /** Told when a fault that was ordered has come to pass. */
  onFault: (kind: string) => void = () => {};
  /** Kills the process that uses the disk. */
  onCrash: (how: "process" | "power") => void = () => {};

  constructor(scheduler: Scheduler, random: SimRandom) {
    this.scheduler = scheduler;
    this.random = random;
  }

  latencyMs(): number {
    const { latencyMinMs, latencyMaxMs, slowUntilMs, slowMs } = this.faults;
    const usual = this.random.skewed(latencyMinMs, latencyMaxMs);
    if (this.scheduler.nowMs >= slowUntilMs) return usual;
    return usual + this.random.skewed(0, slowMs);
  }

  /** A fresh disk takes the place of this one. */
  wipe(): void {
    this.names = new Map();
    this.durableNames = new Map();
  }

  /** The power fails. */
  losePower(): void {
    const { random } = this;
    // Of each name that was not synced the disk has the old or the new one.
    const touched = new Set([...this.names.keys(), ...this.durableNames.keys()]);
    const after = new Map<string, DiskFile>();
    for (const name of touched) {
      const now = this.names.get(name);
      const before = this.durableNames.get(name);
      const kept = now === before || random.chance(0.5) ? before : now;
      if (kept !== undefined) after.set(name, kept);
    }
    this.names = after;
    this.durableNames = new Map(after);
    for (const file of new Set(after.values())) {
      if (random.chance(0.5)) file.hardenSize();
      const keeps = random.pick([0, 0.5, 1, 0.9]);
      for (const sector of file.dirty) if (random.chance(keeps)) file.harden(sector);
      file.dirty.clear();
      file.current = file.durable.slice();
    }
  }

  /** Memory is needed elsewhere: what is durable is read from the disk from now on. */
  dropCaches(): void {
    for (const file of new Set(this.names.values()))
      if (file.dirty.size === 0) file.current = file.durable.slice();
  }

  usedBytes(): number {
    let sum = 0;
    for (const file of this.names.values()) sum += file.current.length;
    return sum;
  }
}

/** The disk as one process has it open: operations end with the process. */
export function openDisk(disk: Disk, lane: Lane): JournalFileSystem {
  return new ProcessDisk(disk, lane);
}

class ProcessDisk implements JournalFileSystem {
  readonly #disk: Disk;
  readonly #lane: Lane;

  constructor(disk: Disk, lane: Lane) {
    this.#disk = disk;
    this.#lane = lane;
  }

  /** Runs an operation in its time. @param torn what a process that dies meanwhile leaves of it */
  #operate<T>(label: string, act: () => T, torn: () => void = () => {}): Promise<T> {
    const disk = this.#disk;
    // What a process does in the turn in which it died is nothing.
    if (!this.#lane.isAlive) return new Promise(() => {});
    disk.callCount += 1;
    if (disk.faults.crashAtCall > 0) {
      disk.faults.crashAtCall -= 1;
      if (disk.faults.crashAtCall === 0) return this.#die(act, torn);
    }
    // In a traced run an error says who asked for the operation.
    const asked = disk.scheduler.onLine === null ? null : new Error(label);
    return new Promise((resolve, reject) => {
      const latencyMs = disk.latencyMs();
      disk.busyUntilMs = Math.max(disk.busyUntilMs, disk.scheduler.nowMs + latencyMs);
      disk.scheduler.after(latencyMs, null, label, () => {
        // A dead process sees no end; what its kernel had taken is there or not.
        if (!this.#lane.isAlive) {
          if (this.#lane.host.isUp && disk.random.chance(0.5)) torn();
          return;
        }
        let outcome: { readonly value: T } | { readonly error: unknown };
        try {
          outcome = { value: act() };
        } catch (error) {
          if (asked !== null && error instanceof Error) error.cause = asked;
          outcome = { error };
        }
        disk.scheduler.after(0, this.#lane, label, () =>
          "value" in outcome ? resolve(outcome.value) : reject(outcome.error),
        );
      });
    });
  }

  #die<T>(act: () => T, torn: () => void): Promise<T> {
    const disk = this.#disk;
    disk.onFault("crashAtCall");
    const choice = disk.random.below(3);
    if (choice === 1) torn();
    else if (choice === 2) attempt(act);
    disk.onCrash(disk.random.chance(0.5) ? "power" : "process");
    return new Promise(() => {});
  }

  #file(path: string): DiskFile {
    const file = this.#disk.names.get(path);
    if (file === undefined) throw errno("ENOENT");
    return file;
  }

  /** As `#operate`, for what holds the thread. */
  #operateSync(act: () => void): void {
    const { faults, onFault, onCrash, random } = this.#disk;
    if (!this.#lane.isAlive) throw new SimCrash("this process is dead");
    this.#disk.callCount += 1;
    if (faults.crashAtCall > 0) {
      faults.crashAtCall -= 1;
      if (faults.crashAtCall === 0) {
        onFault("crashAtCall");
        if (random.chance(0.5)) attempt(act);
        onCrash(random.chance(0.5) ? "power" : "process");
        throw new SimCrash("in the middle of an operation on the disk");
      }
    }
    act();
  }

  existsSync(path: string): boolean {
    return this.#disk.names.has(path);
  }

  makeFolderSync(): void {}

  readFileSync(path: string): Uint8Array | null {
    return this.#disk.names.get(path)?.current.slice() ?? null;
  }

  replaceFileSync(path: string, bytes: Uint8Array): void {
    if (this.#disk.faults.isFull) {
      this.#disk.onFault("full");
      throw errno("ENOSPC");
    }
    const file = new DiskFile();
    file.current = Uint8Array.from(bytes);
    file.durable = file.current.slice();
    this.#operateSync(() => {
      this.#disk.names.set(path, file);
      this.#disk.durableNames.set(path, file);
    });
  }

  lockSync(path: string, options: FolderLockOptions): () => void {
    const { locks } = this.#disk;
    const holder = locks.get(path);
    if (holder?.isAlive === true)
      throw new RockpoolError("UNAVAILABLE", `${options.subject} is open`, options.remedy);
    if (holder !== undefined) options.onTakenOver(1);
    locks.set(path, this.#lane);
    return () => {
      if (locks.get(path) === this.#lane) locks.delete(path);
    };
  }

  listSync(folder: string): readonly string[] {
    return [...this.#disk.names.keys()]
      .filter((path) => path.startsWith(`${folder}/`))
      .map((path) => path.slice(folder.length + 1))
      .sort();
  }

  openSync(path: string): JournalFile {
    return this.#handle(this.#file(path), path);
  }

  create(path: string): Promise<JournalFile> {
    return this.#operate("create", () => {
      if (this.#disk.faults.isFull) throw errno("ENOSPC");
      const file = new DiskFile();
      this.#disk.names.set(path, file);
      return this.#handle(file, path);
    });
  }

  #handle(file: DiskFile, path: string): JournalFile {
    const disk = this.#disk;
    return {
      write: (bytes, at) => {
        const copy = bytes.slice();
        const put = (part: Uint8Array) => {
          if (disk.faults.failsNextWrite) {
            disk.faults.failsNextWrite = false;
            disk.onFault("failedWrite");
            throw errno("EIO");
          }
          if (disk.faults.isFull && at + part.length > file.current.length) {
            disk.onFault("full");
            throw errno("ENOSPC");
          }
          file.write(part, at);
          return part.length;
        };
        return this.#operate(
          "write",
          () => {
            const isShort = copy.length > SECTOR_BYTES && disk.random.chance(0.02);
            return put(isShort ? copy.subarray(0, 1 + disk.random.below(copy.length)) : copy);
          },
          () => this.#tear(file, copy, at),
        );
      },
      datasync: () => {
        const sectors = [...file.dirty];
        return this.#operate(
          "datasync",
          () => this.#sync(file, path, sectors),
          () => {
            for (const sector of sectors) if (disk.random.chance(0.5)) file.harden(sector);
          },
        );
      },
      read: (into, at) =>
        this.#operate("read", () => {
          const part = file.current.subarray(at, at + into.length);
          into.set(part);
          return part.length;
        }),
      readSync: (into, at) => {
        const part = file.current.subarray(at, at + into.length);
        into.set(part);
        return part.length;
      },
      sizeSync: () => file.current.length,
      truncate: (sizeBytes) => this.#operate("truncate", () => file.resize(sizeBytes)),
      close: () => {},
    };
  }

  /** Some sectors of a write that was under way. */
  #tear(file: DiskFile, bytes: Uint8Array, at: number): void {
    const { random } = this.#disk;
    for (let from = 0; from < bytes.length; ) {
      const end = Math.min(bytes.length, from + SECTOR_BYTES - ((at + from) % SECTOR_BYTES));
      if (random.chance(0.5) && (at + from < file.current.length || !this.#disk.faults.isFull))
        file.write(bytes.subarray(from, end), at + from);
      from = end;
    }
  }

  #sync(file: DiskFile, path: string, sectors: readonly number[]): void {
    const { faults, random, onFault } = this.#disk;
    file.hardenSize();
    if (faults.failsNextSync !== null && path.includes(faults.failsNextSync)) {
      faults.failsNextSync = null;
      for (const sector of sectors) {
        file.dirty.delete(sector);
        if (random.chance(0.5)) file.harden(sector);
      }
      onFault("failedSync");
      throw errno("EIO");
    }
    const fault = sectors.length > 1 ? faults.nextSyncFault : "none";
    const victim = fault === "none" ? -1 : random.pick(sectors);
    for (const sector of sectors) {
      file.dirty.delete(sector);
      if (sector !== victim) file.harden(sector);
      else if (fault === "misdirected")
        file.harden(
          sector,
          random.below(Math.max(1, Math.floor(file.durable.length / SECTOR_BYTES))),
        );
    }
    if (fault === "none") return;
    faults.nextSyncFault = "none";
    onFault(fault === "lost" ? "lostWrite" : "misdirectedWrite");
  }

  rename(from: string, to: string): Promise<void> {
    return this.#operate("rename", () => {
      const file = this.#file(from);
      this.#disk.names.delete(from);
      this.#disk.names.set(to, file);
    });
  }

  removeSync(path: string): void {
    this.#operateSync(() => this.#disk.names.delete(path));
  }

  remove(path: string): Promise<void> {
    return this.#operate("remove", () => {
      this.#disk.names.delete(path);
    });
  }

  syncFolder(folder: string): Promise<void> {
    return this.#operate("syncFolder", () => this.syncFolderNow(folder));
  }

  syncFolderNow(folder: string): void {
    const { names, durableNames } = this.#disk;
    for (const path of durableNames.keys())
      if (path.startsWith(`${folder}/`) && !names.has(path)) durableNames.delete(path);
    for (const [path, file] of names)
      if (path.startsWith(`${folder}/`)) durableNames.set(path, file);
  }

  freeBytes(): Promise<number> {
    return this.#operate("freeBytes", () => (this.#disk.faults.isFull ? 0 : 1 << 30));
  }
}
