/**
 * The log files of a process, for whoever may not log in to its host: which there are, their ends, and any range of them.
 *
 * Only files directly in the log folder, and the one that the process itself writes to, by their names; links that lead elsewhere
 * are not followed.
 * @module
 */
import { createReadStream } from "node:fs";
import { lstat, open, readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { Readable } from "node:stream";
import { RockpoolError } from "../common/errors.ts";

const LOG_NAME = /^[\w][\w.-]*\.(log|out)(\.[\w-]+)*$/;
/** One page of a log. */
export const LOG_PAGE_BYTES_MAX = 256 * 1024;

export type LogFile = {
  readonly name: string;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
};

export type LogPage = {
  readonly text: string;
  readonly offsetBytes: number;
  readonly sizeBytes: number;
};

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

export class LogFiles {
  readonly #folder: string;
  readonly #ownPath: string | null;

  /** @param ownPath where the process itself writes its log, wherever that is; null when that is no file */
  constructor(folder: string, ownPath: string | null = null) {
    this.#folder = folder;
    this.#ownPath = ownPath !== null && LOG_NAME.test(basename(ownPath)) ? ownPath : null;
  }

  #pathOf(name: string): string {
    const own = this.#ownPath;
    return own !== null && basename(own) === name ? own : join(this.#folder, name);
  }

  /** In order of their names; none when there is no folder, since nothing was logged there. */
  async list(): Promise<readonly LogFile[]> {
    const own = this.#ownPath === null ? [] : [basename(this.#ownPath)];
    const names = [...new Set([...(await this.#names()), ...own])];
    const found: LogFile[] = [];
    for (const name of names.filter((each) => LOG_NAME.test(each)).sort()) {
      const file = await this.#find(name);
      if (file !== null) found.push(file);
    }
    return found;
  }

  async #names(): Promise<readonly string[]> {
    try {
      return await readdir(this.#folder);
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
  }

  /** @throws RockpoolError NOT_FOUND */
  async stat(name: string): Promise<LogFile> {
    const file = LOG_NAME.test(name) ? await this.#find(name) : null;
    if (file !== null) return file;
    throw new RockpoolError(
      "NOT_FOUND",
      `There is no log file of that name in ${this.#folder}`,
      "The list of logs shows those that there are",
    );
  }

  /**
   * @param offsetBytes below 0: before the end
   * @throws RockpoolError NOT_FOUND
   */
  async page(name: string, offsetBytes: number, lengthBytes: number): Promise<LogPage> {
    const { sizeBytes } = await this.stat(name);
    const wanted = offsetBytes < 0 ? sizeBytes + offsetBytes : offsetBytes;
    const from = Math.min(Math.max(0, wanted), sizeBytes);
    const length = Math.min(Math.max(0, lengthBytes), LOG_PAGE_BYTES_MAX, sizeBytes - from);
    const bytes = Buffer.alloc(length);
    const file = await open(this.#pathOf(name));
    try {
      const { bytesRead } = await file.read(bytes, 0, length, from);
      return { text: bytes.toString("utf8", 0, bytesRead), offsetBytes: from, sizeBytes };
    } finally {
      await file.close();
    }
  }

  /** A range as a stream. @throws RockpoolError NOT_FOUND */
  async stream(
    name: string,
    offsetBytes: number,
    lengthBytes: number,
  ): Promise<{ readonly body: Readable; readonly lengthBytes: number }> {
    const { sizeBytes } = await this.stat(name);
    const from = Math.min(Math.max(0, offsetBytes), sizeBytes);
    const length = Math.min(Math.max(0, lengthBytes), sizeBytes - from);
    if (length === 0) return { body: Readable.from([]), lengthBytes: 0 };
    const range = { start: from, end: from + length - 1 };
    return { body: createReadStream(this.#pathOf(name), range), lengthBytes: length };
  }

  /** Null when it is gone, or no plain file. */
  async #find(name: string): Promise<LogFile | null> {
    try {
      const found = await lstat(this.#pathOf(name));
      if (!found.isFile()) return null;
      return { name, sizeBytes: found.size, modifiedMs: Math.round(found.mtimeMs) };
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }
}
