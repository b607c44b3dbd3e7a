/**
 * Pages of files in memory, up to a number of bytes; those that were not asked for longest go first.
 *
 * Pages belong to an ETag, so they are never of another file's bytes; what is asked each time, at most once a second for a path,
 * is which ETag the path has. May be shared by clients of the same token and cluster, as by those of many requests to a Worker:
 * who may read what is not looked at again for what is here.
 * @module
 */
import type { EdgeStatus } from "../../src/edge/words.ts";
import type { RockpoolClient } from "./client.ts";
import { EdgeError } from "./edge_error.ts";

const PAGE_BYTES = 65536;
/** More is not worth keeping for: it is read as a stream. */
const READ_BYTES_MAX = 32 * PAGE_BYTES;
const STATUSES_MAX = 1000;

export type PageCacheOptions = {
  readonly bytesMax?: number;
  /** How long a path is believed to be the same file. */
  readonly freshMs?: number;
};

export class PageCache {
  readonly #bytesMax: number;
  readonly #freshMs: number;
  readonly #pages = new Map<string, Uint8Array>();
  readonly #statuses = new Map<string, { readonly status: EdgeStatus; readonly atMs: number }>();
  #bytes = 0;

  constructor({ bytesMax = 16 * 1024 * 1024, freshMs = 1000 }: PageCacheOptions = {}) {
    this.#bytesMax = bytesMax;
    this.#freshMs = freshMs;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** As `client.read`, with what is here already. */
  async read(
    client: RockpoolClient,
    path: string,
    {
      offset = 0,
      length,
      signal,
    }: {
      readonly offset?: number;
      readonly length?: number;
      readonly signal?: AbortSignal;
    } = {},
  ): Promise<Uint8Array> {
    for (let isRepeat = false; ; isRepeat = true) {
      const { lengthBytes, etag } = await this.#status(client, path, signal);
      const end = Math.min(lengthBytes, offset + (length ?? lengthBytes));
      const bytes = end - offset;
      if (bytes <= 0) return new Uint8Array(0);
      const options = signal === undefined ? {} : { signal };
      if (bytes > READ_BYTES_MAX) return client.read(path, { offset, length: bytes, ...options });
      try {
        return await this.#joined(client, path, etag, [offset, end, lengthBytes], signal);
      } catch (error) {
        this.#statuses.delete(path);
        const isReplaced = error instanceof EdgeError && error.status === "ABORTED";
        if (!isReplaced || isRepeat) throw error;
      }
    }
  }

  async #joined(
    client: RockpoolClient,
    path: string,
    etag: string,
    [start, end, lengthBytes]: readonly [number, number, number],
    signal?: AbortSignal,
  ): Promise<Uint8Array> {
    const into = new Uint8Array(end - start);
    const put = (from: number, page: Uint8Array) => {
      const skip = Math.max(0, start - from);
      into.set(page.subarray(skip, end - from), from + skip - start);
    };
    const missing: { path: string; offset: number; length: number; etag: string }[] = [];
    for (let from = start - (start % PAGE_BYTES); from < end; from += PAGE_BYTES) {
      const page = this.#take(`${etag}${from}`);
      if (page !== undefined) put(from, page);
      else {
        const length = Math.min(PAGE_BYTES, lengthBytes - from);
        missing.push({ path, offset: from, length, etag });
      }
    }
    if (missing.length === 0) return into;
    const pages = await client.readMany(missing, signal);
    for (const [at, { offset }] of missing.entries()) {
      const page = pages[at];
      if (!(page instanceof Uint8Array)) throw page;
      put(offset, page);
      this.#keep(`${etag}${offset}`, page.slice());
    }
    return into;
  }

  async #status(client: RockpoolClient, path: string, signal?: AbortSignal): Promise<EdgeStatus> {
    const known = this.#statuses.get(path);
    if (known !== undefined && Date.now() - known.atMs < this.#freshMs) return known.status;
    const atMs = Date.now();
    const status = await client.status(path, signal);
    this.#statuses.delete(path);
    this.#statuses.set(path, { status, atMs });
    const [oldest] = this.#statuses.keys();
    if (this.#statuses.size > STATUSES_MAX && oldest !== undefined) this.#statuses.delete(oldest);
    return status;
  }

  #take(key: string): Uint8Array | undefined {
    const page = this.#pages.get(key);
    if (page === undefined) return undefined;
    this.#pages.delete(key);
    this.#pages.set(key, page);
    return page;
  }

  #keep(key: string, page: Uint8Array): void {
    this.#bytes += page.length - (this.#pages.get(key)?.length ?? 0);
    this.#pages.delete(key);
    this.#pages.set(key, page);
    for (const [oldest, { length }] of this.#pages) {
      if (this.#bytes <= this.#bytesMax) break;
      this.#pages.delete(oldest);
      this.#bytes -= length;
    }
  }
}
