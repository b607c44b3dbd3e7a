/**
 * A file on its way into S3: a small one in one call, others in parts, of which some are under way while the next is gathered.
 *
 * Promise: nothing is visible before `commit`, and after `abort`, or a `commit` that failed, no parts are left that would be paid for.
 * @module
 */
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { RockpoolError } from "../common/errors.ts";
import type { S3Bucket, S3Part } from "./s3_client.ts";
import type { UfsStatus, UfsWriter } from "./under_file_system.ts";

/** S3 takes no smaller ones, but for the last, and 10,000 of them: so they double now and then. */
export const PART_BYTES = 8 * 1024 * 1024;
const PARTS_OF_ONE_SIZE = 2000;
const PARTS_MAX = 10_000;
const UNDER_WAY_MAX = 2;
const BUFFER_MIN_BYTES = 64 * 1024;
/** Parts under way may end before the upload is given up; longer ones are cut. */
const ABORT_PATIENCE_MS = 2000;

type Running = { readonly uploadId: string; readonly done: Set<Promise<void>> };

export class S3Writer implements UfsWriter {
  readonly #bucket: S3Bucket;
  readonly #key: string;
  readonly #finish: () => Promise<UfsStatus>;
  readonly #maker = randomBytes(8).toString("hex");
  readonly #cut = new AbortController();
  readonly #parts: S3Part[] = [];
  #upload: Running | null = null;
  #buffer: Buffer = Buffer.allocUnsafe(BUFFER_MIN_BYTES);
  #usedBytes = 0;
  #partCount = 0;
  #failure: { readonly error: unknown } | null = null;
  #isOpen = true;

  /** @param finish what is there once it is written */
  constructor(bucket: S3Bucket, key: string, finish: () => Promise<UfsStatus>) {
    this.#bucket = bucket;
    this.#key = key;
    this.#finish = finish;
  }

  get #partBytes(): number {
    return PART_BYTES * 2 ** Math.floor(this.#partCount / PARTS_OF_ONE_SIZE);
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      if (this.#failure !== null) throw this.#failure.error;
      if (this.#usedBytes === this.#partBytes) await this.#send();
      const room = Math.min(this.#partBytes - this.#usedBytes, bytes.length - at);
      this.#grow(this.#usedBytes + room);
      this.#buffer.set(bytes.subarray(at, at + room), this.#usedBytes);
      this.#usedBytes += room;
      at += room;
    }
  }

  #grow(neededBytes: number): void {
    if (neededBytes <= this.#buffer.length) return;
    const doubled = Math.max(neededBytes, this.#buffer.length * 2);
    const larger = Buffer.allocUnsafe(Math.min(this.#partBytes, doubled));
    larger.set(this.#buffer.subarray(0, this.#usedBytes));
    this.#buffer = larger;
  }

  /** Sends what was gathered as a part, once there is room under way. */
  async #send(): Promise<void> {
    this.#upload ??= {
      uploadId: await this.#bucket.begin(this.#key, this.#maker),
      done: new Set(),
    };
    const { uploadId, done } = this.#upload;
    while (done.size >= UNDER_WAY_MAX) await Promise.race(done);
    if (this.#failure !== null) throw this.#failure.error;
    if (this.#partCount === PARTS_MAX)
      throw new RockpoolError(
        "RESOURCE_EXHAUSTED",
        `${this.#bucket.uri}/${this.#key} has more than ${PARTS_MAX} parts: S3 takes no larger file`,
        "Write it in several files",
      );
    this.#partCount += 1;
    const part = {
      uploadId,
      number: this.#partCount,
      bytes: this.#buffer.subarray(0, this.#usedBytes),
    };
    const sent: Promise<void> = this.#bucket
      .uploadPart(this.#key, part, this.#cut.signal)
      .then(
        (made) => void this.#parts.push(made),
        (error: unknown) => {
          this.#failure ??= { error };
        },
      )
      .finally(() => done.delete(sent));
    done.add(sent);
    this.#buffer = Buffer.allocUnsafe(this.#partBytes);
    this.#usedBytes = 0;
  }

  async commit(): Promise<UfsStatus> {
    this.#isOpen = false;
    try {
      if (this.#upload === null)
        await this.#bucket.put(this.#key, this.#buffer.subarray(0, this.#usedBytes));
      else await this.#complete();
    } catch (error) {
      await this.#abandon().catch(() => {}); // the first failure is the one to tell
      throw error;
    }
    return this.#finish();
  }

  async #complete(): Promise<void> {
    if (this.#usedBytes > 0) await this.#send();
    if (this.#upload === null) return;
    const { uploadId, done } = this.#upload;
    await Promise.all(done);
    if (this.#failure !== null) throw this.#failure.error;
    const parts = this.#parts.toSorted((left, right) => left.number - right.number);
    await this.#bucket.complete(this.#key, { uploadId, parts, maker: this.#maker });
  }

  async abort(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await this.#abandon();
  }

  async #abandon(): Promise<void> {
    if (this.#upload === null) return;
    const { uploadId, done } = this.#upload;
    const ended = new AbortController();
    const patience = delay(ABORT_PATIENCE_MS, undefined, { signal: ended.signal }).then(
      () => this.#cut.abort(),
      () => undefined, // they ended in time
    );
    await Promise.all(done);
    ended.abort();
    await patience;
    await this.#bucket.abandon(this.#key, uploadId);
  }
}
