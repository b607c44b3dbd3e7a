/**
 * The file operations of the journal as a port, so that tests fail, cut short or record the n-th of them, and a simulator
 * owns the disk.
 *
 * Writes and fdatasync go through libuv's pool or a thread of the disk's own, and never block the thread, but for a sole master's
 * (disk_writer.ts); recovery and reads of old entries are synchronous (the Raft core cannot wait). So are the operations on small files, which happen once in a long while.
 * Nothing about a name (a creation, a rename, a removal) is durable before `syncFolder`.
 * @module
 */
import {
  closeSync,
  constants,
  existsSync,
  fdatasync,
  fstatSync,
  fsync,
  fsyncSync,
  ftruncate,
  mkdirSync,
  open,
  openSync,
  read,
  readdirSync,
  readFileSync,
  readSync,
  rename,
  renameSync,
  rm,
  rmSync,
  type StatsFs,
  statfs,
  write,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { messageOf } from "../common/errors.ts";
import { type FolderLockOptions, lockFolderAt } from "../world/folder_lock.ts";

export interface JournalFile {
  /** @returns bytes written, which may be fewer than asked for */
  write(bytes: Uint8Array, positionBytes: number): Promise<number>;
  /** Resolves once everything written is on stable storage. After a failure nothing is known: never repeat it. */
  datasync(): Promise<void>;
  /** @returns bytes read; fewer only at the end of the file */
  read(into: Uint8Array, positionBytes: number): Promise<number>;
  /** @returns bytes read; fewer only at the end of the file */
  readSync(into: Uint8Array, positionBytes: number): number;
  sizeSync(): number;
  /** Cuts the file, or fills it up with zeros. Durable after the next `datasync`. */
  truncate(sizeBytes: number): Promise<void>;
  close(): void;
  /** As {@link writeDurably}, where that is cheaper than `write` and `datasync` one after the other. */
  writeDurably?(parts: readonly WritePart[]): Promise<void>;
}

export type WritePart = { readonly bytes: Uint8Array; readonly positionBytes: number };

/** It was fdatasync that failed: nothing is known of what was written. */
export class SyncError extends Error {
  override readonly name = "SyncError";
  constructor(cause: unknown) {
    super(messageOf(cause), { cause });
  }
}

/** A thread of its own for the disk: see disk_thread.ts. */
export interface DurableWriter {
  takes(parts: readonly WritePart[]): boolean;
  write(descriptor: number, parts: readonly WritePart[]): Promise<void>;
  /** Whether this master has no peers, so that nobody waits for the thread that asks. */
  setAlone?(isAlone: boolean): void;
}

export interface JournalFileSystem {
  /** Names in a folder, sorted. */
  listSync(folder: string): readonly string[];
  existsSync(path: string): boolean;
  openSync(path: string, mode: "read" | "readWrite"): JournalFile;
  /** Makes an empty file; one of that name is emptied. */
  create(path: string): Promise<JournalFile>;
  /** Replaces what is at `to`. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file; none there is fine. */
  remove(path: string): Promise<void>;
  /** As `remove`, for small files: a large one holds the thread. */
  removeSync(path: string): void;
  /** Makes creations, renames and removals in a folder durable. */
  syncFolder(folder: string): Promise<void>;
  /** What this process may still write to the folder's disk; a quota may allow less. */
  freeBytes(folder: string): Promise<number>;
  /** Makes a folder, with those above it; one that is there is fine. */
  makeFolderSync(folder: string): void;
  /** A small file as a whole; null when there is none. */
  readFileSync(path: string): Uint8Array | null;
  /**
   * Replaces a small file as a whole, durably: beside it as `<path>.new`, fsync, rename, fsync of the folder. A crash leaves
   * the old one or the new one.
   */
  replaceFileSync(path: string, bytes: Uint8Array): void;
  /**
   * Marks a folder as open in this process by a file at `path`.
   * @returns what gives the lock back
   * @throws RockpoolError UNAVAILABLE when a live process has it
   */
  lockSync(path: string, options: FolderLockOptions): () => void;
  /** As {@link DurableWriter}. */
  setAlone?(isAlone: boolean): void;
}

const writeAt = promisify(write);
const readAt = promisify(read);
const fdatasyncOf = promisify(fdatasync);
const truncateTo = promisify(ftruncate);
const openFile = promisify(open);
const fsyncOf = promisify(fsync);
const renameFile = promisify(rename);
const removeFile = promisify(rm);
const statfsOf = promisify<string, StatsFs>(statfs);

class NodeJournalFile implements JournalFile {
  readonly #descriptor: number;
  readonly #writer: DurableWriter | null;
  #isOpen = true;

  constructor(descriptor: number, writer: DurableWriter | null) {
    this.#descriptor = descriptor;
    this.#writer = writer;
  }

  writeDurably(parts: readonly WritePart[]): Promise<void> {
    const writer = this.#writer;
    if (writer?.takes(parts)) return writer.write(this.#descriptor, parts);
    return writeThenSync(this, parts);
  }

  async write(bytes: Uint8Array, positionBytes: number): Promise<number> {
    const { bytesWritten } = await writeAt(this.#descriptor, bytes, 0, bytes.length, positionBytes);
    return bytesWritten;
  }

  datasync(): Promise<void> {
    return fdatasyncOf(this.#descriptor);
  }

  async read(into: Uint8Array, positionBytes: number): Promise<number> {
    let done = 0;
    while (done < into.length) {
      const left = into.length - done;
      const { bytesRead } = await readAt(this.#descriptor, into, done, left, positionBytes + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return done;
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

  truncate(sizeBytes: number): Promise<void> {
    return truncateTo(this.#descriptor, sizeBytes);
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    closeSync(this.#descriptor);
  }
}

function withDescriptor(path: string, flags: string, act: (descriptor: number) => void): void {
  const descriptor = openSync(path, flags);
  try {
    act(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function replaceFileSync(path: string, bytes: Uint8Array): void {
  withDescriptor(`${path}.new`, "w", (descriptor) => {
    for (let done = 0; done < bytes.length; ) done += writeSync(descriptor, bytes, done);
    fsyncSync(descriptor);
  });
  renameSync(`${path}.new`, path);
  withDescriptor(dirname(path), "r", fsyncSync);
}

/** @param writer null: what is to be durable goes through libuv's pool, as all else does */
export function nodeFileSystem(writer: DurableWriter | null = null): JournalFileSystem {
  return {
    setAlone: (isAlone) => writer?.setAlone?.(isAlone),
    listSync: (folder) => readdirSync(folder).sort(),
    existsSync,
    openSync: (path, mode) =>
      new NodeJournalFile(
        openSync(path, mode === "read" ? constants.O_RDONLY : constants.O_RDWR),
        writer,
      ),
    create: async (path) => new NodeJournalFile(await openFile(path, "w+"), writer),
    rename: renameFile,
    remove: (path) => removeFile(path, { force: true }),
    removeSync: (path) => rmSync(path, { force: true }),
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
    makeFolderSync(folder) {
      mkdirSync(folder, { recursive: true });
    },
    readFileSync: (path) => (existsSync(path) ? readFileSync(path) : null),
    replaceFileSync,
    lockSync: lockFolderAt,
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
    done += progress(count);
  }
}

/** As `writeFully`, for a thread that waits itself. */
export function writeFullySync(descriptor: number, bytes: Uint8Array, positionBytes: number): void {
  for (let done = 0; done < bytes.length; )
    done += progress(writeSync(descriptor, bytes, done, bytes.length - done, positionBytes + done));
}

/** A write of nothing without an error would loop for ever. */
function progress(count: number): number {
  if (count <= 0) throw Object.assign(new Error("A write made no progress"), { code: "EIO" });
  return count;
}

/**
 * Writes all parts; they, and all that was written before, are on stable storage when it resolves. One at a time.
 * @throws SyncError when it was fdatasync that failed; what a write throws
 */
export function writeDurably(file: JournalFile, parts: readonly WritePart[]): Promise<void> {
  return file.writeDurably?.(parts) ?? writeThenSync(file, parts);
}

async function writeThenSync(file: JournalFile, parts: readonly WritePart[]): Promise<void> {
  const results = await Promise.allSettled(
    parts.map(({ bytes, positionBytes }) => writeFully(file, bytes, positionBytes)),
  );
  for (const result of results) if (result.status === "rejected") throw result.reason;
  try {
    await file.datasync();
  } catch (cause) {
    throw new SyncError(cause);
  }
}
