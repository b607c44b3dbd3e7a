/**
 * The disk as the block store sees it: whole reads and writes at positions, renames, and errors that say which path.
 *
 * A port, so that tests can fail the n-th call. A file is closed once and never used after: descriptors are
 * numbers that the system hands out again at once, and a late write through an old one would land in another file.
 * @module
 */
import * as fs from "node:fs";
import * as fsp from "node:fs/promises";
import { messageOf, RockpoolError } from "../common/errors.ts";
import { invariant } from "../common/invariant.ts";

export interface DiskFile {
  /** Reads until `into` is full or the file ends. @returns bytes read */
  read(into: Uint8Array, positionBytes: number): Promise<number>;
  /** Writes all of it; `bytes` must stay as they are until the promise settles. */
  write(bytes: Uint8Array, positionBytes: number): Promise<void>;
  truncate(lengthBytes: number): Promise<void>;
  /** fdatasync. */
  sync(): Promise<void>;
  lengthBytes(): Promise<number>;
  close(): Promise<void>;
}

/** `create`: empty, replacing what was there; `reuse`: an existing file, as it is, to write over. */
export type OpenMode = "read" | "create" | "reuse";

/** Errors are RockpoolErrors: NOT_FOUND, RESOURCE_EXHAUSTED (full), PERMISSION_DENIED, DATA_LOSS (the device fails), INTERNAL. */
export interface Disk {
  open(path: string, mode: OpenMode): Promise<DiskFile>;
  readAll(path: string): Promise<Uint8Array>;
  /** Creates or replaces; not atomic. */
  writeAll(path: string, bytes: Uint8Array, isSynced: boolean): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** False when there was none. */
  remove(path: string): Promise<boolean>;
  /** Null when there is none. */
  lengthOf(path: string): Promise<number | null>;
  /** Names of the plain files in a directory. */
  files(path: string): Promise<readonly string[]>;
  makeDirectory(path: string, mode: number): Promise<void>;
  setMode(path: string, mode: number): Promise<void>;
  /** fsync of a directory: makes renames in it durable. */
  syncDirectory(path: string): Promise<void>;
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

/** What an error of the system means to whoever asked for the block. */
export function diskError(error: unknown, action: string, path: string): RockpoolError {
  if (error instanceof RockpoolError) return error;
  const text = `Cannot ${action} ${path}: ${messageOf(error)}`;
  switch (codeOf(error)) {
    case "ENOENT":
      return new RockpoolError("NOT_FOUND", text, "", { cause: error });
    case "ENOSPC":
    case "EDQUOT":
      return new RockpoolError(
        "RESOURCE_EXHAUSTED",
        text,
        "Free space on that file system, or lower the quota of the worker's directory",
        { cause: error },
      );
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new RockpoolError(
        "PERMISSION_DENIED",
        text,
        "Give the worker's user the right to write there",
        { cause: error },
      );
    case "EIO":
      return new RockpoolError("DATA_LOSS", text, "Replace the device or take it out of the tier", {
        cause: error,
      });
    case "EMFILE":
    case "ENFILE":
      return new RockpoolError(
        "INTERNAL",
        text,
        "Let the worker open more files (ulimit -n), or the system (fs.file-max)",
        { cause: error },
      );
    case "ENOTDIR":
    case "EISDIR":
    case "ENOTEMPTY":
      return new RockpoolError(
        "INTERNAL",
        text,
        "Something else lies where the worker keeps its blocks: move it away, and give the worker a folder of its own",
        { cause: error },
      );
    default:
      return new RockpoolError(
        "INTERNAL",
        text,
        `The system failed with ${codeOf(error) || "an error without a code"}: check the file system that has this path`,
        { cause: error },
      );
  }
}

function readOnce(fd: number, into: Uint8Array, at: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.read(fd, into, at, into.length - at, position, (error, count) => {
      if (error === null) resolve(count);
      else reject(error);
    });
  });
}

function writeOnce(fd: number, bytes: Uint8Array, at: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.write(fd, bytes, at, bytes.length - at, position, (error, count) => {
      if (error === null) resolve(count);
      else reject(error);
    });
  });
}

class NodeDiskFile implements DiskFile {
  readonly #path: string;
  readonly #fd: number;
  #busy = 0;
  #isClosed = false;

  constructor(path: string, fd: number) {
    this.#path = path;
    this.#fd = fd;
  }

  async #run<T>(action: string, work: (fd: number) => Promise<T>): Promise<T> {
    invariant(!this.#isClosed, "a block file is not used after it was closed");
    this.#busy++;
    try {
      return await work(this.#fd);
    } catch (error) {
      throw diskError(error, action, this.#path);
    } finally {
      this.#busy--;
    }
  }

  read(into: Uint8Array, positionBytes: number): Promise<number> {
    return this.#run("read", async (fd) => {
      let done = 0;
      while (done < into.length) {
        const count = await readOnce(fd, into, done, positionBytes + done);
        if (count === 0) break;
        done += count;
      }
      return done;
    });
  }

  write(bytes: Uint8Array, positionBytes: number): Promise<void> {
    return this.#run("write", async (fd) => {
      let done = 0;
      while (done < bytes.length) done += await writeOnce(fd, bytes, done, positionBytes + done);
    });
  }

  truncate(lengthBytes: number): Promise<void> {
    return this.#run("truncate", (fd) => callback((done) => fs.ftruncate(fd, lengthBytes, done)));
  }

  sync(): Promise<void> {
    return this.#run("fdatasync", (fd) => callback((done) => fs.fdatasync(fd, done)));
  }

  lengthBytes(): Promise<number> {
    return this.#run(
      "stat",
      (fd) =>
        new Promise((resolve, reject) => {
          fs.fstat(fd, (error, stats) => (error === null ? resolve(stats.size) : reject(error)));
        }),
    );
  }

  async close(): Promise<void> {
    invariant(!this.#isClosed, "a block file is closed once");
    invariant(this.#busy === 0, "a block file is not closed while it is being read or written");
    this.#isClosed = true;
    try {
      await callback((done) => fs.close(this.#fd, done));
    } catch (error) {
      throw diskError(error, "close", this.#path);
    }
  }
}

function callback(start: (done: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    start((error) => (error ? reject(error) : resolve()));
  });
}

async function named<T>(action: string, path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw diskError(error, action, path);
  }
}

/** Null instead of "no such file". */
async function orNull<T>(action: string, path: string, work: () => Promise<T>): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    if (codeOf(error) === "ENOENT") return null;
    throw diskError(error, action, path);
  }
}

const FLAGS = { read: "r", create: "w+", reuse: "r+" } as const satisfies Record<OpenMode, string>;

export function nodeDisk(): Disk {
  return {
    open: (path, mode) =>
      named("open", path, async () => {
        const fd = await new Promise<number>((resolve, reject) => {
          fs.open(path, FLAGS[mode], 0o644, (error, opened) =>
            error === null ? resolve(opened) : reject(error),
          );
        });
        return new NodeDiskFile(path, fd);
      }),
    readAll: (path) => named("read", path, () => fsp.readFile(path)),
    writeAll: (path, bytes, isSynced) =>
      named("write", path, () => fsp.writeFile(path, bytes, { flush: isSynced })),
    rename: (from, to) => named("rename", from, () => fsp.rename(from, to)),
    remove: async (path) => (await orNull("remove", path, async () => fsp.unlink(path))) !== null,
    lengthOf: (path) => orNull("stat", path, async () => (await fsp.stat(path)).size),
    files: (path) =>
      named("list", path, async () =>
        (await fsp.readdir(path, { withFileTypes: true }))
          .filter((entry) => entry.isFile())
          .map((entry) => entry.name),
      ),
    makeDirectory: (path, mode) =>
      named("make directory", path, async () => {
        await fsp.mkdir(path, { recursive: true });
        await fsp.chmod(path, mode);
      }),
    setMode: (path, mode) => named("chmod", path, () => fsp.chmod(path, mode)),
    syncDirectory: (path) =>
      named("sync directory", path, async () => {
        const folder = await fsp.open(path, "r");
        try {
          await folder.sync();
        } finally {
          await folder.close();
        }
      }),
  };
}
