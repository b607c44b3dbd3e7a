/**
 * A log's objects in a folder of HDFS, by WebHDFS.
 *
 * An object is written as `.rockpool.tmp.<random>`, and renamed without leave to replace when the name node says that it is whole: of two
 * renames to one name, one is done. A rename whose answer was lost is settled by the number that HDFS gives each file. What a killed
 * writer left is hidden, and can never get the name of an object, since nobody renames it.
 *
 * HDFS answers when all data nodes of the file have its bytes in memory; with `dfs.datanode.synconclose` they are on disk by then.
 * @module
 */
import { randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { isRockpoolError, messageOf, RockpoolError } from "../common/errors.ts";
import { orNull, pauseAfter } from "./attempts.ts";
import { requireLogName } from "./log_name.ts";
import type { LogStore } from "./log_store.ts";
import { probeFolder, probeLogStore } from "./log_store_probe.ts";
import { copyToFile, SequentialReader } from "./sequential_reader.ts";
import { TEMPORARY_PREFIX } from "./under_file_system.ts";
import {
  answerTo,
  objectOf,
  openHdfsStream,
  parsed,
  textOf,
  UnknownOutcome,
  WebHdfsClient,
  type WebHdfsOptions,
} from "./webhdfs_client.ts";

const ATTEMPTS_MAX = 4;
const PAUSE_MIN_MS = 30;
const UNREACHED = "It is tried again; check that a name node is active, and the data nodes";

type Made = "created" | "exists";
type Found = { readonly fileId: number; readonly lengthBytes: number };
/** What is written: the same each time that it is asked for. */
type Content = {
  readonly lengthBytes: number;
  readonly bytes: Uint8Array | null;
  readonly localPath: string;
};

export class HdfsLogStore implements LogStore {
  readonly uri: string;
  readonly #client: WebHdfsClient;
  readonly #root: string;
  readonly #folders = new Set<string>();

  /** @param folder absolute path within HDFS; made with the first object */
  constructor(folder: string, options: WebHdfsOptions) {
    this.#client = new WebHdfsClient(options);
    this.#root = folder.replace(/\/+$/, "");
    this.uri = `${options.uri}${this.#root}`;
  }

  #path(name: string): string {
    requireLogName(name);
    return `${this.#root}/${name}`;
  }

  create(name: string, bytes: Uint8Array): Promise<Made> {
    return this.#create(this.#path(name), { lengthBytes: bytes.length, bytes, localPath: "" });
  }

  async createFromFile(name: string, localPath: string): Promise<Made> {
    const { size } = await stat(localPath);
    return this.#create(this.#path(name), { lengthBytes: size, bytes: null, localPath });
  }

  async #create(path: string, content: Content): Promise<Made> {
    const folder = path.slice(0, path.lastIndexOf("/"));
    await this.#makeFolder(folder);
    for (let attempt = 1; ; attempt++) {
      const temporary = `${folder}/${TEMPORARY_PREFIX}${randomBytes(8).toString("hex")}`;
      try {
        const written = await this.#write(temporary, content);
        return await this.#publish(written, temporary, path);
      } catch (error) {
        await this.#discard(temporary);
        // Nothing has the name yet: only a rename may leave that open.
        if (error instanceof UnknownRename) throw error;
        if (!isRockpoolError(error, "UNAVAILABLE") || attempt >= ATTEMPTS_MAX) throw error;
        await pauseAfter(attempt, PAUSE_MIN_MS);
      }
    }
  }

  async #makeFolder(folder: string): Promise<void> {
    if (this.#folders.has(folder)) return;
    const make = () => this.#client.call("PUT", folder, "MKDIRS", { permission: "700" });
    await twice(make);
    this.#folders.add(folder);
  }

  async #write(temporary: string, { lengthBytes, bytes, localPath }: Content): Promise<Found> {
    const parameters = { overwrite: false, createparent: true, permission: "600" };
    const location = await this.#client.location("PUT", temporary, "CREATE", parameters);
    const headers = {
      "content-type": "application/octet-stream",
      "content-length": String(lengthBytes),
    };
    const asked = this.#client.toDataNode(location, "PUT", headers);
    const answer = answerTo(asked);
    answer.catch(() => {}); // told below
    try {
      if (bytes !== null) asked.end(bytes);
      else await pipeline(createReadStream(localPath), asked);
      const response = await answer;
      const text = await textOf(response);
      if (response.statusCode !== 201)
        throw this.#client.errorOf(`write ${temporary}`, response.statusCode ?? 0, parsed(text));
    } catch (error) {
      asked.destroy();
      throw this.#broken("write", temporary, error);
    }
    const written = await this.#find(temporary);
    if (written?.lengthBytes === lengthBytes) return written;
    const why = `it has ${written?.lengthBytes ?? 0} of ${lengthBytes} bytes`;
    throw this.#broken("write", temporary, new Error(why));
  }

  #broken(verb: "read" | "write", path: string, error: unknown): RockpoolError {
    if (error instanceof RockpoolError) return error;
    const message = `Cannot ${verb} ${path} in ${this.#client.uri}: ${messageOf(error)}`;
    return new RockpoolError("UNAVAILABLE", message, UNREACHED);
  }

  /** Gives a file its name, unless another one has it. */
  async #publish({ fileId }: Found, temporary: string, path: string): Promise<Made> {
    for (let attempt = 1; ; attempt++) {
      let failure: RockpoolError | null = null;
      try {
        const answer = await this.#client.call("PUT", temporary, "RENAME", { destination: path });
        if (objectOf(answer)["boolean"] === true) return "created";
      } catch (error) {
        if (!isRockpoolError(error)) throw error;
        failure = error;
      }
      const there = await this.#look(path, failure);
      if (there?.fileId === fileId) return "created";
      if (there !== null) {
        await this.#discard(temporary);
        return "exists";
      }
      const isDone = failure !== null && !isRockpoolError(failure, "UNAVAILABLE");
      if (isDone && attempt === 1) throw failure;
      if (attempt >= ATTEMPTS_MAX) throw unknownRename(this.#client.uri, path, failure);
      await pauseAfter(attempt, PAUSE_MIN_MS);
    }
  }

  /** @throws UnknownRename when nobody tells */
  async #look(path: string, failure: RockpoolError | null): Promise<Found | null> {
    try {
      return await this.#find(path);
    } catch (error) {
      if (isRockpoolError(error)) throw unknownRename(this.#client.uri, path, failure ?? error);
      throw error;
    }
  }

  async #find(path: string): Promise<Found | null> {
    const answer = await orNull(this.#client.call("GET", path, "GETFILESTATUS"));
    if (answer === null) return null;
    const { fileId, length } = objectOf(objectOf(answer)["FileStatus"]);
    return { fileId: Number(fileId), lengthBytes: Number(length ?? 0) };
  }

  /** What stays is hidden, and takes room. */
  async #discard(temporary: string): Promise<void> {
    await this.#client.call("DELETE", temporary, "DELETE", { recursive: false }).catch(() => {});
  }

  async read(name: string): Promise<Uint8Array | null> {
    const path = this.#path(name);
    const found = await this.#find(path);
    if (found === null) return null;
    const reader = this.#reader(path, found.lengthBytes);
    try {
      const into = Buffer.allocUnsafe(found.lengthBytes);
      await reader.read(into, 0);
      return into;
    } catch (error) {
      if (isRockpoolError(error, "NOT_FOUND")) return null; // removed meanwhile
      throw error;
    } finally {
      await reader.close();
    }
  }

  #reader(path: string, lengthBytes: number): SequentialReader {
    return new SequentialReader({
      lengthBytes,
      open: (first, end) => openHdfsStream(this.#client, path, { first, end }),
      errorOf: (error) => this.#broken("read", path, error),
    });
  }

  async readToFile(name: string, localPath: string): Promise<boolean> {
    const path = this.#path(name);
    const found = await this.#find(path);
    if (found === null) return false;
    await copyToFile(this.#reader(path, found.lengthBytes), found.lengthBytes, localPath);
    return true;
  }

  async list(folder: string, after = ""): Promise<readonly string[]> {
    const path = this.#path(folder);
    const names: string[] = [];
    for (let startAfter = after; ; ) {
      const parameters = startAfter === "" ? {} : { startAfter };
      const answer = await orNull(this.#client.call("GET", path, "LISTSTATUS_BATCH", parameters));
      const listing = objectOf(objectOf(answer)["DirectoryListing"]);
      const files = objectOf(objectOf(listing["partialListing"])["FileStatuses"])["FileStatus"];
      const statuses: readonly unknown[] = Array.isArray(files) ? files : [];
      for (const one of statuses) {
        const { pathSuffix, type } = objectOf(one);
        const name = String(pathSuffix ?? "");
        startAfter = name;
        if (type === "FILE" && name > after && !name.startsWith(TEMPORARY_PREFIX)) names.push(name);
      }
      if (Number(listing["remainingEntries"] ?? 0) === 0 || statuses.length === 0) break;
    }
    return names.sort();
  }

  async remove(name: string): Promise<void> {
    const path = this.#path(name);
    await twice(() => this.#client.call("DELETE", path, "DELETE", { recursive: false }));
  }

  async probe(): Promise<void> {
    const folder = probeFolder();
    try {
      await probeLogStore(this, folder);
    } finally {
      await this.#discard(`${this.#root}/${folder}`);
      this.#folders.delete(`${this.#root}/${folder}`);
    }
  }
}

/** It is not known whether an object was made. */
class UnknownRename extends RockpoolError {}

function unknownRename(uri: string, path: string, failure: RockpoolError | null): UnknownRename {
  const why = failure === null ? "" : `: ${failure.message}`;
  const message = `Cannot tell whether ${path} was made in ${uri}${why}`;
  return new UnknownRename("UNAVAILABLE", message, UNREACHED);
}

/** For what may be done twice. */
async function twice<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof UnknownOutcome)) throw error;
    return work();
  }
}
