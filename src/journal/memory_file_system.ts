/**
 * Files in memory for tests and simulations: they know which sectors are durable, lose the others when the power fails,
 * and fail at the n-th call.
 *
 * What a failed fdatasync leaves behind is as in Linux: the pages count as clean, and are not on the disk.
 * @module
 */
import type { JournalFile, JournalFileSystem } from "./file_system.ts";

const SECTOR_BYTES = 512;

type MemoryFile = {
  durable: Uint8Array;
  current: Uint8Array;
  /** Sectors written since the last fdatasync. */
  dirty: Set<number>;
};

/** Files in memory that know what is durable, and can fail at the n-th call. */
export class MemoryFileSystem implements JournalFileSystem {
  readonly files = new Map<string, MemoryFile>();
  calls = 0;
  fault: { at: number; code: "EIO" | "ENOSPC" | "short" } | null = null;

  /** Counts a call; throws at the chosen one and ever after, as a broken disk does. */
  #meet(canBeShort: boolean): "short" | null {
    this.calls += 1;
    const { fault } = this;
    if (fault === null) return null;
    if (fault.code === "short") return canBeShort && this.calls === fault.at ? "short" : null;
    if (this.calls >= fault.at) throw Object.assign(new Error(fault.code), { code: fault.code });
    return null;
  }

  listSync(folder: string): readonly string[] {
    return [...this.files.keys()]
      .filter((path) => path.startsWith(`${folder}/`))
      .map((path) => path.slice(folder.length + 1));
  }

  openSync(path: string): JournalFile {
    const file = this.files.get(path);
    if (file === undefined) throw Object.assign(new Error("ENOENT"), { code: "ENOENT" });
    return this.#handle(file);
  }

  async create(path: string): Promise<JournalFile> {
    this.#meet(false);
    const file = {
      durable: new Uint8Array(0),
      current: new Uint8Array(0),
      dirty: new Set<number>(),
    };
    this.files.set(path, file);
    return this.#handle(file);
  }

  #handle(file: MemoryFile): JournalFile {
    return {
      write: async (bytes, at) => {
        const isShort = this.#meet(bytes.length > 1) === "short";
        const part = isShort ? bytes.subarray(0, bytes.length >> 1) : bytes;
        if (at + part.length > file.current.length) {
          const grown = new Uint8Array(at + part.length);
          grown.set(file.current);
          file.current = grown;
        }
        file.current.set(part, at);
        const last = Math.floor((at + part.length - 1) / SECTOR_BYTES);
        for (let sector = Math.floor(at / SECTOR_BYTES); sector <= last; sector++)
          file.dirty.add(sector);
        return part.length;
      },
      datasync: async () => {
        const sectors = [...file.dirty];
        // As in Linux: after a failure the pages count as clean, whatever is on the disk.
        file.dirty.clear();
        this.#meet(false);
        if (file.durable.length < file.current.length) {
          const grown = new Uint8Array(file.current.length);
          grown.set(file.durable);
          file.durable = grown;
        }
        for (const sector of sectors) {
          const start = sector * SECTOR_BYTES;
          file.durable.set(file.current.subarray(start, start + SECTOR_BYTES), start);
        }
      },
      readSync: (into, at) => {
        const part = file.current.subarray(at, at + into.length);
        into.set(part);
        return part.length;
      },
      sizeSync: () => file.current.length,
      close: () => {},
    };
  }

  async rename(from: string, to: string): Promise<void> {
    this.#meet(false);
    const file = this.files.get(from);
    if (file === undefined) throw new Error("No such file");
    this.files.delete(from);
    this.files.set(to, file);
  }

  removeSync(path: string): void {
    this.files.delete(path);
  }

  async syncFolder(): Promise<void> {
    this.#meet(false);
  }

  async freeBytes(): Promise<number> {
    const isFull = this.fault?.code === "ENOSPC" && this.calls >= this.fault.at;
    return isFull ? 0 : Number.MAX_SAFE_INTEGER;
  }

  /** The power fails: of each unsynced sector the old or the new bytes are there. */
  losePower(keeps: (sector: number) => boolean): void {
    for (const file of this.files.values()) {
      const after = new Uint8Array(file.current.length);
      after.set(file.durable);
      for (const sector of file.dirty) {
        const start = sector * SECTOR_BYTES;
        if (keeps(sector)) after.set(file.current.subarray(start, start + SECTOR_BYTES), start);
      }
      file.current = after;
      file.durable = after.slice();
      file.dirty.clear();
    }
  }

  clone(): MemoryFileSystem {
    const copy = new MemoryFileSystem();
    for (const [path, { current, durable, dirty }] of this.files)
      copy.files.set(path, {
        current: current.slice(),
        durable: durable.slice(),
        dirty: new Set(dirty),
      });
    return copy;
  }
}
