/**
 * The file operations of the journal as a port, so that tests fail, cut short or record the n-th of them.
 *
 * Writes and fdatasync go through libuv's pool and never block the thread; recovery and reads of old entries are
 * synchronous (the Raft core cannot wait).
 * @module
 */
import {
  closeSync,
  constants,
  fdatasync,
  fstatSync,
  fsync,
  open,
  openSync,
  readdirSync,
  readSync,
  rename,
  type StatsFs,
  statfs,
  unlinkSync,
  write,
} from "node:fs";
import { promisify } from "node:util";

export interface JournalFile {
  /** @returns bytes written, which may be fewer than asked for */
  write(bytes: Uint8Array, positionBytes: number): Promise<number>;
  /** Resolves once everything written is on stable storage. After a failure nothing is known: never repeat it. */
  datasync(): Promise<void>;
  /** @returns bytes read; fewer only at the end of the file */
  readSync(into: Uint8Array, positionBytes: number): number;
  sizeSync(): number;
  close(): void;
}

export interface JournalFileSystem {
  /** Names in a folder. */
  listSync(folder: string): readonly string[];
  openSync(path: string, mode: "read" | "readWrite"): JournalFile;
  /** Makes an empty file; one of that name is emptied. */
  create(path: string): Promise<JournalFile>;
  rename(from: string, to: string): Promise<void>;
  removeSync(path: string): void;
  /** Makes creations, renames and removals in a folder durable. */
  syncFolder(folder: string): Promise<void>;
  /** What this process may still write to the folder's disk; a quota may allow less. */
  freeBytes(folder: string): Promise<number>;
}

const writeAt = promisify(write);
const fdatasyncOf = promisify(fdatasync);
const openFile = promisify(open);
const fsyncOf = promisify(fsync);
const renameFile = promisify(rename);
const statfsOf = promisify<string, StatsFs>(statfs);

class NodeJournalFile implements JournalFile {
  readonly #descriptor: number;
  #isOpen = true;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  async write(bytes: Uint8Array, positionBytes: number): Promise<number> {
    const { bytesWritten } = await writeAt(this.#descriptor, bytes, 0, bytes.length, positionBytes);
    return bytesWritten;
  }

  datasync(): Promise<void> {
    return fdatasyncOf(this.#descriptor);
  }

  readSync(into: Uint8Array, positionBytes: number): number {
    let done = 0;
    while (done < into.length) {
      const got = readSync(this.#descriptor, into, done, into.length - done, positionBytes + done);
      if (got === 0) break;
      done += got;
    }
    return done;
  }

  sizeSync(): number {
    return fstatSync(this.#descriptor).size;
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    closeSync(this.#descriptor);
  }
}

export function nodeFileSystem(): JournalFileSystem {
  return {
    listSync: (folder) => readdirSync(folder),
    openSync: (path, mode) =>
      new NodeJournalFile(openSync(path, mode === "read" ? constants.O_RDONLY : constants.O_RDWR)),
    create: async (path) => new NodeJournalFile(await openFile(path, "w+")),
    rename: renameFile,
    removeSync: (path) => unlinkSync(path),
    async syncFolder(folder) {
      const descriptor = await openFile(folder, "r");
      try {
        await fsyncOf(descriptor);
      } finally {
        closeSync(descriptor);
      }
    },
    async freeBytes(folder) {
      const { bavail, bsize } = await statfsOf(folder);
      return bavail * bsize;
    },
  };
}

/** Writes everything, however often the system writes less than asked. */
export async function writeFully(
  file: JournalFile,
  bytes: Uint8Array,
  positionBytes: number,
): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const count = await file.write(done === 0 ? bytes : bytes.subarray(done), positionBytes + done);
    // A write of nothing without an error would loop for ever.
    if (count <= 0) throw Object.assign(new Error("A write made no progress"), { code: "EIO" });
    done += count;
  }
}
