/**
 * Which unfinished files of under stores this process has at work, noted on the local disk, so that those of a process
 * that was killed are removed by the next one that runs on the same folder.
 *
 *     <folder>/lock          the process that notes here, see world/folder_lock.ts
 *     <folder>/<12 hex>      symbolic link to the unfinished file: made and read in one piece, and small
 *
 * Promise: a file is removed only if the last part of its name begins with TEMPORARY_PREFIX and the very random digits
 * under which it was noted here, and only by who holds the lock. So nothing of another process is ever touched, whatever
 * the folder holds. Notes are not synced: what a crash of the machine leaves stays hidden in the under store.
 * @module
 */
import { mkdir, readdir, readlink, rm, symlink, unlink } from "node:fs/promises";
import { basename, join } from "node:path";
import { isRockpoolError, messageOf } from "../common/errors.ts";
import { lockFolderAt } from "../world/folder_lock.ts";
import { TEMPORARY_PREFIX } from "./under_file_system.ts";

/** What a store tells of its unfinished files. Neither call fails: a note that is missing costs room at most. */
export interface TemporaryNotes {
  /** Before the file is made. @param key 12 hexadecimal digits that its name has behind TEMPORARY_PREFIX */
  note(key: string, path: string): Promise<void>;
  /** Once it has another name or is gone. */
  forget(key: string): Promise<void>;
}

export type Leftovers = {
  /** Paths. */
  readonly removed: readonly string[];
  readonly failures: readonly string[];
};

/** Where a worker notes its own, in its first folder of cached blocks: who holds the lock has all of its folders. */
export const TEMPORARIES_FOLDER = "unfinished";
export const NOTES_LOCK = "lock";

const KEY = /^[0-9a-f]{12}$/;

export class TemporaryFiles implements TemporaryNotes {
  readonly #folder: string;
  /** Null while another process, or nobody, holds the lock: then nothing is noted. */
  #unlock: (() => void) | null = null;
  /** Noted by earlier processes. */
  #leftovers: readonly string[] = [];

  constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Takes the folder for this process. Its parent exists.
   * @returns false when a live process has it
   */
  async open(): Promise<boolean> {
    await mkdir(this.#folder).catch(unlessExists);
    try {
      this.#unlock = lockFolderAt(join(this.#folder, NOTES_LOCK), {
        subject: `The folder ${this.#folder}`,
        remedy: "Give each worker folders of its own",
        onTakenOver: () => undefined, // what it left is why we are here
      });
      this.#leftovers = (await readdir(this.#folder)).filter((name) => KEY.test(name));
      return true;
    } catch (error) {
      if (isRockpoolError(error, "UNAVAILABLE")) return false;
      throw error;
    }
  }

  /** Removes what processes before `open` left, at any time after it; what cannot be removed is tried again by the next one. */
  async removeLeftovers(): Promise<Leftovers> {
    const removed: string[] = [];
    const failures: string[] = [];
    for (const key of this.#leftovers)
      try {
        const path = await this.#pathOf(key);
        if (path !== null && (await unlink(path).then(() => true, unlessNothing)))
          removed.push(path);
        await this.forget(key);
      } catch (error) {
        onlySystem(error);
        failures.push(messageOf(error));
      }
    this.#leftovers = [];
    return { removed, failures };
  }

  /** Null for what is no note of ours. */
  async #pathOf(key: string): Promise<string | null> {
    try {
      const path = await readlink(join(this.#folder, key));
      return basename(path).startsWith(`${TEMPORARY_PREFIX}${key}.`) ? path : null;
    } catch (error) {
      if (codeOf(error) === "EINVAL") return null; // no link
      throw error;
    }
  }

  async note(key: string, path: string): Promise<void> {
    if (this.#unlock === null) return;
    await symlink(path, join(this.#folder, key)).catch(onlySystem);
  }

  async forget(key: string): Promise<void> {
    if (this.#unlock === null) return;
    await rm(join(this.#folder, key), { force: true }).catch(onlySystem);
  }

  close(): void {
    this.#unlock?.();
    this.#unlock = null;
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}

/** A full or read-only disk is no reason to fail a write to the under store. */
function onlySystem(error: unknown): void {
  if (codeOf(error) === undefined) throw error;
}

function unlessExists(error: unknown): void {
  if (codeOf(error) !== "EEXIST") throw error;
}

function unlessNothing(error: unknown): false {
  if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return false;
  throw error;
}
