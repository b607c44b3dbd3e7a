/**
 * An under store in a local folder (or one that a network file system shows as such).
 *
 * - A file is written as `.rockpool.tmp.<random>.<name>` beside its place, synced, renamed, and its folder is synced:
 *   after `commit` it outlives a crash of the machine, before it nobody sees it. Such names are never listed. Those at
 *   work are noted in `temporary_files.ts`, so that what a killed process left is removed.
 * - Nothing outside the root is reached: paths have no ".." and no symbolic link is followed on the way that leads
 *   out of the root; a link itself is shown as what it points to only when that is inside.
 * - Whoever is not the system's root cannot give files away: setOwner is then ignored, modes are kept.
 * @module
 */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { constants, type Stats } from "node:fs";
import {
  chmod,
  chown,
  type FileHandle,
  lstat,
  mkdir,
  open,
  readdir,
  realpath,
  rename,
  rm,
  rmdir,
  stat,
  statfs,
  unlink,
} from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { RockpoolError, type StatusName } from "../common/errors.ts";
import type { TemporaryNotes } from "./temporary_files.ts";
import {
  TEMPORARY_PREFIX,
  type UfsCreateOptions,
  type UfsReader,
  type UfsStatus,
  type UfsWriter,
  type UnderFileSystem,
} from "./under_file_system.ts";

const NAME_BYTES_MAX = 255;
/** Status calls of one listing at the same time. */
const STATUS_BATCH = 64;

const STATUS_OF_CODE: Readonly<Record<string, StatusName>> = {
  ENOENT: "NOT_FOUND",
  EACCES: "PERMISSION_DENIED",
  EPERM: "PERMISSION_DENIED",
  EROFS: "PERMISSION_DENIED",
  EEXIST: "ALREADY_EXISTS",
  EISDIR: "ALREADY_EXISTS",
  ENOTEMPTY: "FAILED_PRECONDITION",
  ENOTDIR: "FAILED_PRECONDITION",
  ENOSPC: "RESOURCE_EXHAUSTED",
  EDQUOT: "RESOURCE_EXHAUSTED",
  EMFILE: "UNAVAILABLE",
  ENFILE: "UNAVAILABLE",
  EINVAL: "INVALID_ARGUMENT",
  ENAMETOOLONG: "INVALID_ARGUMENT",
  ELOOP: "PERMISSION_DENIED",
};

const REMEDIES: Partial<Record<StatusName, string>> = {
  PERMISSION_DENIED: "Give the user that runs Rockpool access to the folder",
  RESOURCE_EXHAUSTED: "Free space in the under store",
  FAILED_PRECONDITION: "Look at what is there in the under store",
  UNAVAILABLE: "It is tried again; check the under store",
};

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException | null)?.code ?? "";
}

/** An error of the file system, told with the path. */
function translated(error: unknown, what: string, path: string): RockpoolError {
  if (error instanceof RockpoolError) return error;
  const code = codeOf(error);
  const status = STATUS_OF_CODE[code] ?? "UNAVAILABLE";
  return new RockpoolError(
    status,
    `Cannot ${what} ${path} in the under store: ${code || String(error)}`,
    REMEDIES[status] ?? "",
    { cause: error },
  );
}

async function told<T>(what: string, path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw translated(error, what, path);
  }
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function kindOf(path: string): Promise<"folder" | "other" | "nothing"> {
  try {
    return (await stat(path)).isDirectory() ? "folder" : "other";
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return "nothing";
    throw error;
  }
}

function isInside(root: string, path: string): boolean {
  return root === "/" || path === root || path.startsWith(`${root}/`);
}

/** Names and numbers of accounts, looked up once. */
export class Accounts {
  readonly #names = new Map<string, Promise<string>>();

  /** The name of a number, or the number itself where the system knows none. */
  name(database: "passwd" | "group", id: number): Promise<string> {
    return this.#lookUp(database, String(id), 0, String(id));
  }

  /** The number of a name; null where the system knows none. */
  async id(database: "passwd" | "group", name: string): Promise<number | null> {
    if (!/^[A-Za-z0-9_][A-Za-z0-9_.@-]*$/.test(name)) return null;
    const id = await this.#lookUp(database, name, 2, "");
    return id === "" ? null : Number(id);
  }

  #lookUp(database: string, key: string, field: number, otherwise: string): Promise<string> {
    const at = `${database} ${key} ${field}`;
    let answer = this.#names.get(at);
    if (answer === undefined) {
      answer = new Promise((resolve) => {
        execFile("getent", [database, key], { timeout: 5000 }, (error, output) => {
          const value = error === null ? output.split("\n")[0]?.split(":")[field] : undefined;
          resolve(value === undefined || value === "" ? otherwise : value);
        });
      });
      // Bounded by the accounts that files here belong to, and that clients name; enough for any site.
      if (this.#names.size > 10_000) this.#names.clear();
      this.#names.set(at, answer);
    }
    return answer;
  }
}

export class LocalUnderFileSystem implements UnderFileSystem {
  readonly type = "local";
  readonly #root: string;
  readonly #accounts: Accounts;
  readonly #notes: TemporaryNotes | null;

  /**
   * @param root absolute path of the folder; made when missing, with the first file
   * @param options `accounts` may be shared by stores of one machine
   */
  constructor(
    root: string,
    options: { readonly accounts?: Accounts; readonly notes?: TemporaryNotes | null } = {},
  ) {
    this.#accounts = options.accounts ?? new Accounts();
    this.#notes = options.notes ?? null;
    this.#root = root.length > 1 ? root.replace(/\/+$/, "") || "/" : root;
    this.#check(this.#root);
  }

  /** Refuses what does not lie in the root by its name alone. */
  #check(path: string): string {
    const clean = path.length > 1 ? path.replace(/\/+$/, "") : path;
    const names = clean.split("/").slice(1);
    const isPlain = clean.startsWith("/") && !clean.includes("\0");
    if (!isPlain || names.includes("..") || names.includes(".") || !isInside(this.#root, clean))
      throw new RockpoolError(
        "INVALID_ARGUMENT",
        `${path} is not in the under store ${this.#root}`,
        "Use a path below the root of the mount",
      );
    return clean;
  }

  /**
   * Refuses a path whose folder is, by symbolic links, outside of the root.
   * @returns false when the folder does not exist
   */
  async #checkLinks(path: string): Promise<boolean> {
    if (path === this.#root) return true;
    try {
      const [root, folder] = await Promise.all([realpath(this.#root), realpath(dirname(path))]);
      if (!isInside(root, folder)) throw this.#outside(path);
      return true;
    } catch (error) {
      const code = codeOf(error);
      if (code === "ENOENT" || code === "ENOTDIR") return false;
      throw error;
    }
  }

  #outside(path: string): RockpoolError {
    return new RockpoolError(
      "PERMISSION_DENIED",
      `${path} leads out of the under store ${this.#root} by a symbolic link`,
      "Replace the link by what it points to",
    );
  }

  async #locate(path: string): Promise<string> {
    const clean = this.#check(path);
    await this.#checkLinks(clean);
    return clean;
  }

  /** Of a file or folder; of a link what it points to, when that is inside. Null when there is nothing (to see). */
  async #stats(path: string): Promise<Stats | null> {
    try {
      const stats = await lstat(path);
      if (!stats.isSymbolicLink() || path === this.#root)
        return stats.isSymbolicLink() ? await stat(path) : stats;
      const [root, target] = await Promise.all([realpath(this.#root), realpath(path)]);
      return isInside(root, target) ? await lstat(target) : null;
    } catch (error) {
      const code = codeOf(error);
      if (code === "ENOENT" || code === "ENOTDIR") return null;
      throw error;
    }
  }

  async #statusOf(path: string, stats: Stats): Promise<UfsStatus> {
    const isDirectory = stats.isDirectory();
    const [owner, group] = await Promise.all([
      this.#accounts.name("passwd", stats.uid),
      this.#accounts.name("group", stats.gid),
    ]);
    return {
      name: basename(path),
      isDirectory,
      lengthBytes: isDirectory ? 0 : stats.size,
      lastModifiedMs: Math.trunc(stats.mtimeMs),
      owner,
      group,
      mode: stats.mode & 0o777,
      fingerprint: isDirectory ? "" : `${stats.mtimeMs}-${stats.size}-${stats.ino}`,
    };
  }

  async status(path: string): Promise<UfsStatus | null> {
    return told("look at", path, async () => {
      const clean = this.#check(path);
      if (!(await this.#checkLinks(clean))) return null;
      return this.#statusIn(clean);
    });
  }

  /** Of a path whose folder is known to be inside. */
  async #statusIn(path: string): Promise<UfsStatus | null> {
    const stats = await this.#stats(path);
    // Devices, sockets and pipes are no files that anybody could read through us.
    if (stats === null || !(stats.isFile() || stats.isDirectory())) return null;
    return this.#statusOf(path, stats);
  }

  async list(path: string): Promise<readonly UfsStatus[] | null> {
    // As if for a file in it: then the folder itself must be inside, also when it is a link.
    const folder = dirname(await told("list", path, () => this.#locate(`${path}/file`)));
    let names: string[];
    try {
      names = await readdir(folder);
    } catch (error) {
      const code = codeOf(error);
      if (code === "ENOENT" || code === "ENOTDIR") return null;
      throw translated(error, "list", path);
    }
    const shown = names
      .filter((name) => !name.startsWith(TEMPORARY_PREFIX))
      .map((name) => ({ name, bytes: Buffer.from(name) }))
      .sort((left, right) => Buffer.compare(left.bytes, right.bytes));
    const found: UfsStatus[] = [];
    for (let at = 0; at < shown.length; at += STATUS_BATCH) {
      const batch = shown.slice(at, at + STATUS_BATCH);
      const statuses = await Promise.all(
        // What went away, or cannot be looked at, since the names were read is left out.
        batch.map(({ name }) => told("look at", name, () => this.#statusIn(join(folder, name)))),
      );
      for (const status of statuses) if (status !== null) found.push(status);
    }
    return found;
  }

  /**
   * Makes a folder and those above it, each level once (world/folders.ts tells why); the new ones are durable on return.
   * Not by that module's function: a store may hang for a while, and nobody else may wait for it.
   */
  async #makeFolders(path: string): Promise<void> {
    const missing: string[] = [];
    let at = path;
    let kind = await kindOf(at);
    // A file in the way is what making the folder in it fails with.
    for (; kind === "nothing" || (kind === "other" && at === path); kind = await kindOf(at)) {
      missing.push(at);
      at = dirname(at);
    }
    for (const folder of missing.toReversed()) {
      try {
        await mkdir(folder);
      } catch (error) {
        // Somebody else may make it at the same moment.
        if (codeOf(error) !== "EEXIST" || (await kindOf(folder)) !== "folder") throw error;
      }
      await syncFolder(dirname(folder));
    }
  }

  async createDirectory(path: string, options: UfsCreateOptions): Promise<void> {
    await told("create directory", path, async () => {
      const clean = await this.#locate(path);
      const before = await this.#stats(clean);
      if (before?.isDirectory()) return;
      await this.#makeFolders(clean);
      await chmod(clean, options.mode);
      await this.#give(clean, options.owner, options.group);
    });
  }

  async create(path: string, options: UfsCreateOptions): Promise<UfsWriter> {
    return told("create", path, async () => {
      const clean = await this.#locate(path);
      await this.#makeFolders(dirname(clean));
      const key = randomBytes(6).toString("hex");
      const suffix =
        Buffer.from(basename(clean)).length > NAME_BYTES_MAX - 32 ? "long" : basename(clean);
      const temporary = join(dirname(clean), `${TEMPORARY_PREFIX}${key}.${suffix}`);
      const flags =
        constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
      const forget = async () => this.#notes?.forget(key);
      await this.#notes?.note(key, temporary);
      const handle = await open(temporary, flags, 0o600).catch(async (error: unknown) => {
        await forget();
        throw error;
      });
      return new LocalWriter({ handle, temporary, path: clean, forget }, async () => {
        await handle.chmod(options.mode);
        await this.#give(temporary, options.owner, options.group);
        await handle.sync();
        await handle.close();
        await rename(temporary, clean);
        await forget();
        await syncFolder(dirname(clean));
        const status = await this.status(clean);
        if (status !== null) return status;
        throw new RockpoolError("NOT_FOUND", `${clean} was removed while it was written`, "");
      });
    });
  }

  async open(path: string): Promise<UfsReader> {
    return told("open", path, async () => {
      const clean = await this.#locate(path);
      const stats = await this.#stats(clean);
      if (stats === null || !stats.isFile())
        throw new RockpoolError(
          "NOT_FOUND",
          `${path} is not a file in the under store`,
          "It may have been removed there",
        );
      return new LocalReader(await open(clean, constants.O_RDONLY), path);
    });
  }

  async rename(from: string, to: string): Promise<void> {
    await told("rename", `${from} to ${to}`, async () => {
      const source = await this.#locate(from);
      const target = await this.#locate(to);
      await lstat(source); // before any parent is made for nothing
      const there = await this.#stats(target);
      if (there?.isDirectory())
        throw new RockpoolError(
          "ALREADY_EXISTS",
          `${to} exists in the under store and is a directory`,
          "Remove it first",
        );
      await this.#makeFolders(dirname(target));
      await rename(source, target);
      await syncFolder(dirname(target));
      if (dirname(source) !== dirname(target)) await syncFolder(dirname(source));
    });
  }

  async remove(path: string, isRecursive: boolean): Promise<boolean> {
    return told("remove", path, async () => {
      const clean = await this.#locate(path);
      if (clean === this.#root)
        throw new RockpoolError("INVALID_ARGUMENT", `${path} is the root of the under store`, "");
      try {
        const stats = await lstat(clean);
        if (!stats.isDirectory()) await unlink(clean);
        else if (isRecursive) await rm(clean, { recursive: true, force: true });
        else await rmdir(clean);
        await syncFolder(dirname(clean));
        return true;
      } catch (error) {
        // Never there, or somebody else was faster (also with its folder).
        const code = codeOf(error);
        if (code === "ENOENT" || code === "ENOTDIR") return false;
        throw error;
      }
    });
  }

  async setMode(path: string, mode: number): Promise<void> {
    await told("change the mode of", path, async () => chmod(await this.#locate(path), mode));
  }

  async setOwner(path: string, owner: string, group: string): Promise<void> {
    await told("change the owner of", path, async () =>
      this.#give(await this.#locate(path), owner, group),
    );
  }

  /** Gives to accounts that exist here, as far as the system lets us. */
  async #give(path: string, owner: string, group: string): Promise<void> {
    const [uid, gid] = await Promise.all([
      this.#accounts.id("passwd", owner),
      this.#accounts.id("group", group),
    ]);
    if (uid === null && gid === null) return;
    try {
      await chown(path, uid ?? -1, gid ?? -1);
    } catch (error) {
      if (codeOf(error) !== "EPERM") throw error;
    }
  }

  async space(): Promise<{ readonly capacityBytes: number; readonly usedBytes: number } | null> {
    try {
      const { blocks, bavail, bsize } = await statfs(this.#root);
      return { capacityBytes: blocks * bsize, usedBytes: (blocks - bavail) * bsize };
    } catch (error) {
      if (codeOf(error) === "ENOENT") return null;
      throw translated(error, "measure", this.#root);
    }
  }
}

type Unfinished = {
  readonly handle: FileHandle;
  readonly temporary: string;
  /** As which it will be seen. */
  readonly path: string;
  readonly forget: () => Promise<void>;
};

class LocalWriter implements UfsWriter {
  readonly #file: Unfinished;
  readonly #finish: () => Promise<UfsStatus>;
  #isOpen = true;

  constructor(file: Unfinished, finish: () => Promise<UfsStatus>) {
    this.#file = file;
    this.#finish = finish;
  }

  async write(bytes: Uint8Array): Promise<void> {
    const { handle, path } = this.#file;
    await told("write", path, async () => {
      for (let at = 0; at < bytes.length; )
        at += (await handle.write(bytes, at, bytes.length - at)).bytesWritten;
    });
  }

  async commit(): Promise<UfsStatus> {
    this.#isOpen = false;
    try {
      return await told("write", this.#file.path, this.#finish);
    } catch (error) {
      await this.#discard();
      throw error;
    }
  }

  async abort(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await told("abandon", this.#file.path, () => this.#discard());
  }

  async #discard(): Promise<void> {
    await this.#file.handle.close(); // a second close of a FileHandle does nothing
    await rm(this.#file.temporary, { force: true });
    await this.#file.forget();
  }
}

class LocalReader implements UfsReader {
  readonly #handle: FileHandle;
  readonly #path: string;

  constructor(handle: FileHandle, path: string) {
    this.#handle = handle;
    this.#path = path;
  }

  async read(into: Uint8Array, positionBytes: number): Promise<number> {
    return told("read", this.#path, async () => {
      let at = 0;
      while (at < into.length) {
        const { bytesRead } = await this.#handle.read(
          into,
          at,
          into.length - at,
          positionBytes + at,
        );
        if (bytesRead === 0) break;
        at += bytesRead;
      }
      return at;
    });
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}
