/**
 * A log's objects in a folder of a file system that the masters share (NFS, GlusterFS), or of this machine.
 *
 * An object is written beside its place, synced, and given its name by link(2), which fails when there is one of that name, on network file
 * systems too; rename would replace it. Then the folder is synced. A network file system may repeat a request whose answer was lost, so
 * an object that "exists" is ours when it is the very file. Each read opens anew: what another machine wrote is seen.
 * @module
 */
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import {
  copyFile,
  type FileHandle,
  link,
  mkdir,
  open,
  readdir,
  readFile,
  rmdir,
  stat,
  unlink,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import { messageOf, RockpoolError, type StatusName } from "../common/errors.ts";
import type { LogStore } from "./log_store.ts";
import { probeFolder, probeLogStore } from "./log_store_probe.ts";

const UNFINISHED = ".new-";
/** Left by a crash: nobody writes for so long. */
const UNFINISHED_MS = 3_600_000;
const LARGE_FOLDER = "checkpoint";

const STATUS_OF_CODE: Readonly<Record<string, StatusName>> = {
  EACCES: "PERMISSION_DENIED",
  EPERM: "PERMISSION_DENIED",
  EROFS: "PERMISSION_DENIED",
  ENOSPC: "RESOURCE_EXHAUSTED",
  EDQUOT: "RESOURCE_EXHAUSTED",
  ENAMETOOLONG: "INVALID_ARGUMENT",
  ENOTDIR: "FAILED_PRECONDITION",
};
const REMEDIES: Readonly<Partial<Record<StatusName, string>>> = {
  PERMISSION_DENIED: "Give the user of this process the right to read and write there",
  RESOURCE_EXHAUSTED: "Make room there; the journal goes on by itself",
  UNAVAILABLE: "Check that the file system is mounted and its servers are up; it is tried again",
};

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

export class LocalLogStore implements LogStore {
  readonly #folder: string;

  /** @param folder absolute; made with the first object */
  constructor(folder: string) {
    this.#folder = folder;
  }

  get uri(): string {
    return this.#folder;
  }

  create(name: string, bytes: Uint8Array): Promise<"created" | "exists"> {
    return this.#create(name, async (path) => {
      const file = await open(path, "wx");
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
    });
  }

  createFromFile(name: string, localPath: string): Promise<"created" | "exists"> {
    return this.#create(name, async (path) => {
      await copyFile(localPath, path, constants.COPYFILE_EXCL);
      await syncPath(path);
    });
  }

  async #create(
    name: string,
    write: (path: string) => Promise<void>,
  ): Promise<"created" | "exists"> {
    const path = this.#path(name);
    const folder = dirname(path);
    const unfinished = join(folder, `${UNFINISHED}${randomBytes(8).toString("hex")}`);
    let mayBeThere = false;
    try {
      await this.#makeFolder(folder);
      await write(unfinished);
      mayBeThere = true;
      const isOurs = await linked(unfinished, path);
      // Also of one that exists: whoever made it may have died, or failed, before its name was durable.
      await syncPath(folder);
      return isOurs ? "created" : "exists";
    } catch (error) {
      throw this.#failure(name, error, mayBeThere);
    } finally {
      await unlink(unfinished).catch(() => {}); // it was not made, or the folder is gone
    }
  }

  async #makeFolder(folder: string): Promise<void> {
    const made = await mkdir(folder, { recursive: true });
    if (made === undefined) return;
    for (let at = folder; at.length >= dirname(made).length; at = dirname(at)) {
      await syncPath(at);
      if (at === dirname(at)) break;
    }
  }

  async read(name: string): Promise<Uint8Array | null> {
    try {
      const path = this.#path(name);
      return (await contentOf(path)) ?? (await lookedUp(path));
    } catch (error) {
      throw this.#failure(name, error, false);
    }
  }

  async readToFile(name: string, localPath: string): Promise<boolean> {
    try {
      await copyFile(this.#path(name), localPath, constants.COPYFILE_EXCL);
      return true;
    } catch (error) {
      if (codeOf(error) === "ENOENT") return false;
      throw this.#failure(name, error, false);
    }
  }

  async list(folder: string, after = ""): Promise<readonly string[]> {
    try {
      const names = await readdir(this.#path(folder));
      return names.filter((name) => !name.startsWith(UNFINISHED) && name > after).sort();
    } catch (error) {
      if (codeOf(error) === "ENOENT") return [];
      throw this.#failure(folder, error, false);
    }
  }

  async remove(name: string): Promise<void> {
    try {
      await unlink(this.#path(name));
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw this.#failure(name, error, false);
    }
  }

  async probe(): Promise<void> {
    try {
      await this.#makeFolder(this.#folder);
      await this.#sweep(Date.now());
    } catch (error) {
      throw this.#failure("", error, false);
    }
    const folder = probeFolder();
    try {
      await probeLogStore(this, folder);
    } finally {
      await rmdir(this.#path(folder)).catch(() => {}); // it was never made
    }
  }

  /** Removes what crashes have left of large objects, which lie in folders of this name. */
  async #sweep(nowMs: number): Promise<void> {
    const groups = await readdir(this.#folder);
    for (const group of groups) {
      const folder = join(this.#folder, group, LARGE_FOLDER);
      const names = await readdir(folder).catch((): readonly string[] => []); // there is none
      for (const name of names.filter((each) => each.startsWith(UNFINISHED))) {
        const left = await stat(join(folder, name)).catch(() => null); // another master was quicker
        if (left !== null && nowMs - left.mtimeMs > UNFINISHED_MS)
          await unlink(join(folder, name)).catch(() => {}); // as above
      }
    }
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }

  /** @param isOpen whether it may have been made all the same */
  #failure(name: string, error: unknown, isOpen: boolean): RockpoolError {
    const status = isOpen ? "UNAVAILABLE" : (STATUS_OF_CODE[codeOf(error)] ?? "UNAVAILABLE");
    const remedy = REMEDIES[status] ?? `Check ${this.#folder}`;
    const message = `${this.#path(name)}: ${messageOf(error)}`;
    return new RockpoolError(status, message, remedy, { cause: error });
  }
}

/** Gives a file its name. @returns false when another file has it */
async function linked(unfinished: string, path: string): Promise<boolean> {
  try {
    await link(unfinished, path);
    return true;
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
    // A request that was repeated finds what it has made itself.
    const [own, there] = await Promise.all([
      stat(unfinished, { bigint: true }),
      stat(path, { bigint: true }),
    ]);
    return own.ino === there.ino && own.dev === there.dev;
  }
}

/** Null when there is no such file. */
async function contentOf(path: string): Promise<Uint8Array | null> {
  try {
    return await readFile(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return null;
    throw error;
  }
}

/** A client of NFS may remember for long that a name is missing; to open the folder makes it ask the server again. */
async function lookedUp(path: string): Promise<Uint8Array | null> {
  try {
    await (await open(dirname(path), "r")).close();
  } catch (error) {
    if (codeOf(error) === "ENOENT") return null;
    throw error;
  }
  return contentOf(path);
}

async function syncPath(path: string): Promise<void> {
  const handle: FileHandle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
