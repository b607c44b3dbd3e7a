/**
 * A log's objects in a bucket of S3, or of a store that speaks its protocol and honours `If-None-Match: *`.
 *
 * A call that creates is made once, without the retries of the package below: a second one would meet the object of the first and be told
 * that it exists. Instead each `create` writes a random word into the object's metadata. After a call of which nothing is known the
 * object is looked at: with our word in it, it is ours; with another, another's; and while there is none, the call is made again,
 * with the same word.
 *
 * A large object goes up in parts, and the condition is on the call that makes them an object.
 * @module
 */
import { randomBytes } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import { pauseAfter } from "./attempts.ts";
import { requireLogName } from "./log_name.ts";
import type { LogStore } from "./log_store.ts";
import { probeLogStore } from "./log_store_probe.ts";
import { S3Bucket, type S3Options, type S3Part } from "./s3_client.ts";
import { S3Error } from "./s3_errors.ts";
import { copyToFile, SequentialReader } from "./sequential_reader.ts";

/** Parts of a large object; S3 takes 10,000, so a checkpoint may have 320 GB. */
const PART_BYTES = 32 * 1024 * 1024;
const AT_ONCE_MAX_BYTES = 8 * 1024 * 1024;
const ATTEMPTS_MAX = 4;
const PAUSE_MIN_MS = 30;
/** Takes a leader's time: after it no new attempt begins, and who asked decides. */
const SETTLE_MAX_MS = 12_000;
/** By the package, of calls that may be made twice: what is here tries again, too. */
const CALLS_MAX = 2;
/** Of a server that is to write or read small objects. A store for files may be given more time than a leader has. */
const SILENCE_MAX_MS = 5000;

type Made = "created" | "exists";

export class S3LogStore implements LogStore {
  readonly uri: string;
  readonly #bucket: S3Bucket;
  /** With more patience: to make an object of many parts takes a store its time. */
  readonly #files: S3Bucket;
  readonly #prefix: string;

  /** @param folder absolute path within the bucket */
  constructor(folder: string, options: S3Options) {
    const { silenceMaxMs = SILENCE_MAX_MS, attemptsMax = CALLS_MAX } = options;
    this.#bucket = new S3Bucket({
      ...options,
      silenceMaxMs: Math.min(SILENCE_MAX_MS, silenceMaxMs),
      attemptsMax: Math.min(CALLS_MAX, attemptsMax),
    });
    this.#files = new S3Bucket(options);
    const key = folder.replace(/^\/+|\/+$/g, "");
    this.#prefix = key === "" ? "" : `${key}/`;
    this.uri = `${this.#bucket.uri}/${key}`;
  }

  #key(name: string): string {
    requireLogName(name);
    return `${this.#prefix}${name}`;
  }

  create(name: string, bytes: Uint8Array): Promise<Made> {
    const key = this.#key(name);
    return this.#settle(key, (maker) => this.#bucket.putNew(key, bytes, maker));
  }

  async createFromFile(name: string, localPath: string): Promise<Made> {
    const key = this.#key(name);
    const file = await open(localPath, "r");
    try {
      const { size } = await file.stat();
      if (size > AT_ONCE_MAX_BYTES)
        return await this.#settle(key, (maker) => this.#upload(key, { file, size }, maker));
      const bytes = await file.readFile();
      return await this.#settle(key, (maker) => this.#bucket.putNew(key, bytes, maker));
    } finally {
      await file.close();
    }
  }

  /** Makes calls that create until it is known what became of them. */
  async #settle(key: string, make: (maker: string) => Promise<void>): Promise<Made> {
    const maker = randomBytes(8).toString("hex");
    const deadlineMs = performance.now() + SETTLE_MAX_MS;
    let unknown: RockpoolError | null = null;
    for (let attempt = 1; ; attempt++) {
      try {
        if (unknown !== null) {
          const there = await this.#bucket.head(key);
          if (there !== null) return this.#whose(key, there.maker, maker);
        }
        await make(maker);
        return "created";
      } catch (error) {
        if (!isRockpoolError(error)) throw error;
        const exists = error instanceof S3Error && error.http === 412;
        if (exists && unknown === null) return "exists";
        if (!exists && error.status === "UNAVAILABLE") unknown ??= error;
        const isPassing = exists || error.status === "UNAVAILABLE" || error.status === "ABORTED";
        const isLast = attempt >= ATTEMPTS_MAX || performance.now() > deadlineMs;
        if (isPassing && !isLast) await pauseAfter(attempt, PAUSE_MIN_MS);
        else throw unknown ?? error;
      }
    }
  }

  #whose(key: string, theirs: string | null, ours: string): Made {
    if (theirs === ours) return "created";
    if (theirs !== null) return "exists";
    throw new RockpoolError(
      "UNAVAILABLE",
      `Cannot tell who made ${this.#bucket.uri}/${key}: the store does not keep metadata of objects`,
      "It is read again",
    );
  }

  async #upload(
    key: string,
    { file, size }: { readonly file: FileHandle; readonly size: number },
    maker: string,
  ): Promise<void> {
    const uploadId = await this.#files.begin(key, maker);
    try {
      const parts: S3Part[] = [];
      const { signal } = new AbortController(); // a checkpoint is written to its end
      for (let at = 0; at < size; at += PART_BYTES) {
        const bytes = await readAll(file, at, Math.min(PART_BYTES, size - at));
        const part = { uploadId, number: parts.length + 1, bytes };
        parts.push(await this.#files.uploadPart(key, part, signal));
      }
      await this.#files.complete(key, { uploadId, parts, maker, isNew: true });
    } catch (error) {
      // Its parts are paid for; and what is given up can no more become an object.
      await this.#files.abandon(key, uploadId).catch(() => {});
      throw error;
    }
  }

  async read(name: string): Promise<Uint8Array | null> {
    const key = this.#key(name);
    const deadlineMs = performance.now() + SETTLE_MAX_MS;
    for (let attempt = 1; ; attempt++)
      try {
        return await this.#whole(key);
      } catch (error) {
        if (isNothing(error)) return null;
        const failure = this.#bucket.readError(key, error);
        const isLast = attempt >= ATTEMPTS_MAX || performance.now() > deadlineMs;
        if (failure.status !== "UNAVAILABLE" || isLast) throw failure;
        await pauseAfter(attempt, PAUSE_MIN_MS);
      }
  }

  /** @throws Error also when the stream breaks */
  async #whole(key: string): Promise<Uint8Array> {
    const chunks: Buffer[] = [];
    for await (const chunk of await this.#bucket.get(key)) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  async readToFile(name: string, localPath: string): Promise<boolean> {
    const key = this.#key(name);
    const object = await this.#files.head(key);
    if (object === null) return false;
    const reader = new SequentialReader({
      lengthBytes: object.lengthBytes,
      open: (first, end) => this.#files.get(key, { first, last: end - 1 }, object.etag),
      errorOf: (error) => this.#bucket.readError(key, error),
    });
    await copyToFile(reader, object.lengthBytes, localPath);
    return true;
  }

  async list(folder: string, after = ""): Promise<readonly string[]> {
    const prefix = `${this.#key(folder)}/`;
    const names: string[] = [];
    const behind = after === "" ? "" : `${prefix}${after}`;
    for await (const { objects } of this.#bucket.list(prefix, { after: behind }))
      for (const { key } of objects) names.push(key.slice(prefix.length));
    return names.filter((name) => name > after).sort();
  }

  async remove(name: string): Promise<void> {
    await this.#bucket.remove(this.#key(name));
  }

  async probe(): Promise<void> {
    await probeLogStore(this);
  }
}

/** A missing bucket is not nothing. */
function isNothing(error: unknown): boolean {
  return isRockpoolError(error, "NOT_FOUND");
}

async function readAll(file: FileHandle, positionBytes: number, count: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(count);
  for (let at = 0; at < count; ) {
    const { bytesRead } = await file.read(bytes, at, count - at, positionBytes + at);
    if (bytesRead === 0)
      throw new RockpoolError("DATA_LOSS", "A file became shorter while it was copied", "");
    at += bytesRead;
  }
  return bytes;
}
