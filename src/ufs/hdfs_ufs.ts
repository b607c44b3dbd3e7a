/**
 * An under store in HDFS, by WebHDFS.
 *
 * - A file is written as `.rockpool.tmp.<random>.<name>` beside its place and renamed when all of its bytes are there: HDFS
 *   shows what an interrupted writer left, cut short, as if it were whole.
 * - A rename whose answer was lost is looked up by the number that HDFS gives each file, so that it is neither told as failed when it
 *   was done nor done twice.
 * @module
 */
import { randomBytes } from "node:crypto";
import type { ClientRequest, IncomingMessage } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { isRockpoolError, messageOf, RockpoolError } from "../common/errors.ts";
import { SequentialReader } from "./sequential_reader.ts";
import {
  TEMPORARY_PREFIX,
  type UfsCreateOptions,
  type UfsReader,
  type UfsStatus,
  type UfsWriter,
  type UnderFileSystem,
} from "./under_file_system.ts";
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

const NAME_BYTES_MAX = 255;
const RENAME_ATTEMPTS_MAX = 4;

type HdfsStatus = UfsStatus & { readonly fileId: number };

export class HdfsUnderFileSystem implements UnderFileSystem {
  readonly type = "hdfs";
  readonly #client: WebHdfsClient;
  readonly #root: string;

  /** @param root absolute path within HDFS of what the mount names */
  constructor(root: string, options: WebHdfsOptions) {
    this.#client = new WebHdfsClient(options);
    this.#root = root.replace(/\/+$/, "") || "/";
  }

  #check(path: string): string {
    const clean = path.replace(/\/+$/, "") || "/";
    const names = clean.split("/").slice(1);
    const isInside =
      this.#root === "/" || clean === this.#root || clean.startsWith(`${this.#root}/`);
    if (!clean.startsWith("/") || !isInside || names.includes("..") || names.includes("."))
      throw new RockpoolError(
        "INVALID_ARGUMENT",
        `${path} is not in the under store ${this.#client.uri}${this.#root}`,
        "Use a path below the root of the mount",
      );
    return clean;
  }

  async status(path: string): Promise<HdfsStatus | null> {
    const clean = this.#check(path);
    const answer = await orNothing(() => this.#client.call("GET", clean, "GETFILESTATUS"));
    return answer === null ? null : statusOf(nameOf(clean), objectOf(answer)["FileStatus"]);
  }

  async list(path: string): Promise<readonly UfsStatus[] | null> {
    const clean = this.#check(path);
    const found: UfsStatus[] = [];
    for (let startAfter = ""; ; ) {
      const answer = await orNothing(() =>
        this.#client.call(
          "GET",
          clean,
          "LISTSTATUS_BATCH",
          startAfter === "" ? {} : { startAfter },
        ),
      );
      if (answer === null) return null;
      const listing = objectOf(objectOf(answer)["DirectoryListing"]);
      const files = objectOf(objectOf(listing["partialListing"])["FileStatuses"])["FileStatus"];
      const statuses = Array.isArray(files) ? files : [];
      for (const one of statuses) {
        const name = String(objectOf(one)["pathSuffix"] ?? "");
        if (name === "") return null; // a file lists itself
        startAfter = name;
        if (!name.startsWith(TEMPORARY_PREFIX)) found.push(statusOf(name, one));
      }
      if (Number(listing["remainingEntries"] ?? 0) === 0 || statuses.length === 0) break;
    }
    return found
      .map((status) => ({ status, bytes: Buffer.from(status.name) }))
      .sort((left, right) => Buffer.compare(left.bytes, right.bytes))
      .map(({ status }) => status);
  }

  async createDirectory(path: string, options: UfsCreateOptions): Promise<void> {
    const clean = this.#check(path);
    const there = await this.status(clean);
    if (there?.isDirectory === true) return;
    if (there !== null) throw exists(path, "is a file");
    const permission = options.mode.toString(8);
    // Made twice is as good as made once.
    const make = () => this.#client.call("PUT", clean, "MKDIRS", { permission });
    await make().catch((error: unknown) => {
      if (!(error instanceof UnknownOutcome)) throw error;
      return make();
    });
    await this.#give(clean, options.owner, options.group);
  }

  async create(path: string, options: UfsCreateOptions): Promise<UfsWriter> {
    const clean = this.#check(path);
    const name = nameOf(clean);
    const suffix = Buffer.byteLength(name) > NAME_BYTES_MAX - 32 ? "long" : name;
    const temporary = `${parentOf(clean)}/${TEMPORARY_PREFIX}${randomBytes(6).toString("hex")}.${suffix}`;
    const permission = options.mode.toString(8);
    const parameters = { overwrite: false, createparent: true, permission };
    const location = await this.#client.location("PUT", temporary, "CREATE", parameters);
    const body = this.#client.toDataNode(location, "PUT", {
      "content-type": "application/octet-stream",
      expect: "100-continue",
    });
    const writer = new HdfsWriter({
      client: this.#client,
      body,
      path: clean,
      isMade: async () => (await this.status(temporary)) !== null,
      finish: (lengthBytes) => this.#publish(temporary, clean, options, lengthBytes),
      discard: () => this.#discard(temporary),
    });
    await writer.opened();
    return writer;
  }

  async #publish(
    temporary: string,
    path: string,
    { owner, group, mode }: UfsCreateOptions,
    lengthBytes: number,
  ): Promise<UfsStatus> {
    const written = await this.status(temporary);
    if (written === null || written.lengthBytes !== lengthBytes)
      throw new RockpoolError(
        "UNAVAILABLE",
        `${this.#client.uri}${path} has ${written?.lengthBytes ?? 0} of ${lengthBytes} bytes after it was written`,
        "It is tried again; check the data nodes",
      );
    if (written.mode !== mode) await this.setMode(temporary, mode);
    await this.#give(temporary, owner, group);
    await this.#rename(written, temporary, path);
    const status = await this.status(path);
    if (status !== null) return { ...status, name: nameOf(path) };
    throw new RockpoolError("NOT_FOUND", `${path} was removed while it was written`, "");
  }

  async #discard(temporary: string): Promise<void> {
    const remove = () => this.#client.call("DELETE", temporary, "DELETE", { recursive: false });
    await remove().catch((error: unknown) => {
      if (!(error instanceof UnknownOutcome)) throw error;
      return remove();
    });
  }

  async open(path: string): Promise<UfsReader> {
    const clean = this.#check(path);
    const status = await this.status(clean);
    if (status === null || status.isDirectory)
      throw new RockpoolError(
        "NOT_FOUND",
        `${path} is not a file in the under store`,
        "It may have been removed there",
      );
    return new SequentialReader({
      lengthBytes: status.lengthBytes,
      open: (first, end) => openHdfsStream(this.#client, clean, { first, end }),
      errorOf: (error) => this.#unread(clean, error),
    });
  }

  #unread(path: string, error: unknown): RockpoolError {
    if (error instanceof RockpoolError) return error;
    return new RockpoolError(
      "UNAVAILABLE",
      `Cannot read ${path} in ${this.#client.uri}: ${messageOf(error)}`,
      "It is tried again; check the data nodes",
    );
  }

  async rename(from: string, to: string): Promise<void> {
    const source = this.#check(from);
    const target = this.#check(to);
    const status = await this.status(source);
    if (status === null)
      throw new RockpoolError("NOT_FOUND", `${from} does not exist in the under store`, "");
    await this.#client.call("PUT", parentOf(target), "MKDIRS", { permission: "755" });
    await this.#rename(status, source, target);
  }

  /** Replaces a file; a directory at the target is in the way. */
  async #rename(status: HdfsStatus, source: string, target: string): Promise<void> {
    const there = await this.status(target);
    if (there?.isDirectory === true) throw exists(target, "is a directory");
    // With it HDFS does a rename of the second kind: over a file, in one step.
    const parameters = { destination: target, renameoptions: "OVERWRITE" };
    for (let attempt = 1; ; attempt++)
      try {
        await this.#client.call("PUT", source, "RENAME", parameters);
        return;
      } catch (error) {
        const isUnknown = error instanceof UnknownOutcome;
        if (!isUnknown && attempt === 1) throw error;
        // An earlier one whose answer was lost may be carried out as late as this.
        if ((await this.status(target))?.fileId === status.fileId) return;
        const mayRetry = isUnknown && attempt < RENAME_ATTEMPTS_MAX;
        if (!mayRetry || (await this.status(source))?.fileId !== status.fileId) throw error;
      }
  }

  async remove(path: string, isRecursive: boolean): Promise<boolean> {
    const clean = this.#check(path);
    if (clean === this.#root)
      throw new RockpoolError("INVALID_ARGUMENT", `${path} is the root of the under store`, "");
    const remove = () => this.#client.call("DELETE", clean, "DELETE", { recursive: isRecursive });
    try {
      return objectOf(await remove())["boolean"] === true;
    } catch (error) {
      if (!(error instanceof UnknownOutcome)) throw error;
      await remove();
      return true; // there was something before, or the answer would not have been lost but "false"
    }
  }

  async setMode(path: string, mode: number): Promise<void> {
    const permission = mode.toString(8);
    await this.#client.call("PUT", this.#check(path), "SETPERMISSION", { permission });
  }

  async setOwner(path: string, owner: string, group: string): Promise<void> {
    await this.#give(this.#check(path), owner, group);
  }

  /** As far as HDFS lets us: giving away is for its superuser. */
  async #give(path: string, owner: string, group: string): Promise<void> {
    if (owner === "" && group === "") return;
    const parameters = { ...(owner === "" ? {} : { owner }), ...(group === "" ? {} : { group }) };
    try {
      await this.#client.call("PUT", path, "SETOWNER", parameters);
    } catch (error) {
      if (!isRockpoolError(error, "PERMISSION_DENIED")) throw error;
    }
  }

  async space(): Promise<{ readonly capacityBytes: number; readonly usedBytes: number } | null> {
    const state = await this.#client.bean("Hadoop:service=NameNode,name=FSNamesystemState");
    const [capacityBytes, usedBytes] = [state["CapacityTotal"], state["CapacityUsed"]];
    if (typeof capacityBytes !== "number" || typeof usedBytes !== "number") return null;
    return { capacityBytes, usedBytes };
  }
}

function exists(path: string, what: string): RockpoolError {
  return new RockpoolError(
    "ALREADY_EXISTS",
    `${path} exists in the under store and ${what}`,
    "Remove it first",
  );
}

async function orNothing<T>(ask: () => Promise<T>): Promise<T | null> {
  try {
    return await ask();
  } catch (error) {
    if (isRockpoolError(error, "NOT_FOUND")) return null;
    // A file on the way: nothing can be below it.
    if (isRockpoolError(error, "FAILED_PRECONDITION") || isNotADirectory(error)) return null;
    throw error;
  }
}

/** HDFS says with an AccessControlException that what is asked for lies below a file. */
function isNotADirectory(error: unknown): boolean {
  return isRockpoolError(error, "PERMISSION_DENIED") && /is not a directory/i.test(error.message);
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

function statusOf(name: string, value: unknown): HdfsStatus {
  const fields = objectOf(value);
  const number = (key: string) => Number(fields[key] ?? 0);
  const isDirectory = fields["type"] === "DIRECTORY";
  const lengthBytes = isDirectory ? 0 : number("length");
  const lastModifiedMs = number("modificationTime");
  const fileId = number("fileId");
  return {
    name,
    isDirectory,
    lengthBytes,
    lastModifiedMs,
    owner: String(fields["owner"] ?? ""),
    group: String(fields["group"] ?? ""),
    mode: Number.parseInt(String(fields["permission"] ?? "0"), 8) & 0o777,
    fingerprint: isDirectory ? "" : `${fileId}-${lastModifiedMs}-${lengthBytes}`,
    fileId,
  };
}

type Unfinished = {
  readonly client: WebHdfsClient;
  readonly body: ClientRequest;
  readonly path: string;
  readonly isMade: () => Promise<boolean>;
  readonly finish: (lengthBytes: number) => Promise<UfsStatus>;
  readonly discard: () => Promise<void>;
};

class HdfsWriter implements UfsWriter {
  readonly #file: Unfinished;
  readonly #answer: Promise<IncomingMessage>;
  #refusal: Promise<never> | null = null;
  #lengthBytes = 0;
  #isOpen = true;

  constructor(file: Unfinished) {
    this.#file = file;
    this.#answer = answerTo(file.body);
    this.#answer.catch(() => {}); // told to whoever writes or commits next
  }

  /**
   * Resolves when the file is made: then it can be discarded, too. That a data node says "continue" does not tell: it has not
   * asked the name node yet, which may refuse.
   */
  async opened(): Promise<void> {
    this.#file.body.flushHeaders();
    let isOver = false;
    const made = async () => {
      for (
        let pauseMs = 2;
        !isOver && !(await this.#file.isMade());
        pauseMs = Math.min(200, pauseMs * 2)
      )
        await delay(pauseMs);
    };
    try {
      await this.#told(Promise.race([made(), this.#refused()]));
    } catch (error) {
      this.#file.body.destroy();
      throw error;
    } finally {
      isOver = true;
    }
    this.#wait(false);
  }

  /** While we have nothing to send, nothing is to be heard either: a slow writer is no silent data node. */
  #wait(isTheirTurn: boolean): void {
    const { body, client } = this.#file;
    body.setTimeout(isTheirTurn ? client.silenceMaxMs : 0);
  }

  /** A data node answers before the end only to refuse. */
  #refused(): Promise<never> {
    if (this.#refusal === null) {
      this.#refusal = this.#readRefusal();
      this.#refusal.catch(() => {}); // told to whoever writes or commits next
    }
    return this.#refusal;
  }

  async #readRefusal(): Promise<never> {
    const { client, path } = this.#file;
    const response = await this.#answer;
    throw client.errorOf(`write ${path}`, response.statusCode ?? 0, parsed(await textOf(response)));
  }

  async #told<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      if (error instanceof RockpoolError) throw error;
      const { client, path } = this.#file;
      throw new RockpoolError(
        "UNAVAILABLE",
        `Cannot write ${path} in ${client.uri}: ${messageOf(error)}`,
        "It is tried again; check the data nodes",
      );
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0) return;
    this.#wait(true);
    const sent = new Promise<void>((resolve, reject) =>
      this.#file.body.write(bytes, (error) => (error ? reject(error) : resolve())),
    );
    sent.catch(() => {}); // the refusal may come first, and says more
    await this.#told(Promise.race([sent, this.#refused()]));
    this.#wait(false);
    this.#lengthBytes += bytes.length;
  }

  async commit(): Promise<UfsStatus> {
    this.#isOpen = false;
    try {
      this.#wait(true);
      this.#file.body.end();
      const response = await this.#told(this.#answer);
      const text = await this.#told(textOf(response));
      if (response.statusCode !== 201)
        throw this.#file.client.errorOf(
          `write ${this.#file.path}`,
          response.statusCode ?? 0,
          parsed(text),
        );
      return await this.#file.finish(this.#lengthBytes);
    } catch (error) {
      await this.#file.discard().catch(() => {}); // the first failure is the one to tell
      throw error;
    }
  }

  async abort(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#file.body.destroy();
    await this.#file.discard();
  }
}
