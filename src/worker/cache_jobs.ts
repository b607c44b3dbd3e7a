/**
 * Blocks fetched in the background: a few at a time, each once, however often it is asked for.
 *
 * A job takes the block from another worker when one is named, else (or when that fails) from the under store, always
 * whole. When the queue is full new wishes are dropped: caching is never worth holding up a reader.
 * @module
 */
import { isRockpoolError, messageOf, RockpoolError } from "../common/errors.ts";
import type { BlockId } from "../common/ids.ts";
import { CHUNK_BYTES_MAX } from "../common/limits.ts";
import type { OpenUfsBlockOptions } from "../proto/gen/protocol.ts";
import type { BlockStore } from "./block_store.ts";
import type { BlockWriter } from "./block_writer.ts";
import type { Committer } from "./committer.ts";
import type { Mounts } from "./mounts.ts";
import type { BlockAddress, DataEvent, PeerPort, WorkerCounters } from "./worker_api.ts";

/** Alluxio's `alluxio.worker.network.async.cache.manager.threads.max` and `.queue.max`. */
const RUNNING_MAX = 8;
const QUEUED_MAX = 512;

export type CacheWish = {
  readonly blockId: BlockId;
  readonly lengthBytes: number;
  /** Another worker that has it; null for none. */
  readonly source: BlockAddress | null;
  readonly ufs: OpenUfsBlockOptions | null;
};

type Job = { readonly wish: CacheWish; readonly done: Promise<void>; readonly start: () => void };

/** Whether the options say where the under store has the block. A file that is not persisted yet has no path there. */
export function isInUfs(
  options: OpenUfsBlockOptions | null | undefined,
): options is OpenUfsBlockOptions {
  return options?.ufsPath !== undefined && options.ufsPath !== "" && !options.blockInUfsTier;
}

function stopping(blockId: BlockId): RockpoolError {
  return new RockpoolError("CANCELLED", `Block ${blockId} is not cached: the worker stops`);
}

export class CacheJobs {
  readonly #store: BlockStore;
  readonly #committer: Committer;
  readonly #mounts: Mounts;
  readonly #peers: PeerPort;
  readonly #counters: WorkerCounters;
  readonly #onEvent: (event: DataEvent) => void;
  readonly #jobs = new Map<BlockId, Job>();
  readonly #queue: Job[] = [];
  #running = 0;
  #isStopped = false;

  constructor(deps: {
    readonly store: BlockStore;
    readonly committer: Committer;
    readonly mounts: Mounts;
    readonly peers: PeerPort;
    readonly counters: WorkerCounters;
    readonly onEvent: (event: DataEvent) => void;
  }) {
    this.#store = deps.store;
    this.#committer = deps.committer;
    this.#mounts = deps.mounts;
    this.#peers = deps.peers;
    this.#counters = deps.counters;
    this.#onEvent = deps.onEvent;
  }

  /**
   * Resolves when the block is here, at once if it is already.
   * @throws RockpoolError RESOURCE_EXHAUSTED when too many wait; whatever kept the block from coming
   */
  cache(wish: CacheWish): Promise<void> {
    const { blockId, lengthBytes } = wish;
    if (this.#store.has(blockId)) return Promise.resolve();
    // No file has an empty block: one would be taken for the whole of it.
    if (lengthBytes <= 0)
      return Promise.reject(
        new RockpoolError(
          "INVALID_ARGUMENT",
          `Cannot cache block ${blockId}: its length is said to be ${lengthBytes}`,
        ),
      );
    const known = this.#jobs.get(blockId);
    if (known !== undefined) return known.done;
    if (this.#isStopped || this.#queue.length >= QUEUED_MAX)
      return Promise.reject(
        new RockpoolError(
          "RESOURCE_EXHAUSTED",
          `Block ${blockId} is not cached: ${this.#queue.length} blocks wait already`,
          "Ask again later",
        ),
      );
    let start = () => {};
    const turn = new Promise<void>((resolve) => {
      start = resolve;
    });
    const job: Job = { wish, start, done: turn.then(() => this.#run(wish)) };
    this.#jobs.set(blockId, job);
    this.#queue.push(job);
    this.#startNext();
    return job.done;
  }

  /** The same, without waiting: a failure is an event. */
  cacheSoon(wish: CacheWish): void {
    this.cache(wish).catch((error: unknown) => {
      const reason = messageOf(error);
      this.#onEvent({ kind: "blockNotCached", blockId: wish.blockId, reason });
    });
  }

  /** Starts no more jobs. Resolves when those that run are done. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const job of this.#queue.splice(0)) {
      this.#running++;
      job.start();
    }
    await Promise.allSettled([...this.#jobs.values()].map(({ done }) => done));
  }

  #startNext(): void {
    while (this.#running < RUNNING_MAX) {
      const job = this.#queue.shift();
      if (job === undefined) return;
      this.#running++;
      job.start();
    }
  }

  async #run(wish: CacheWish): Promise<void> {
    try {
      if (this.#isStopped) throw stopping(wish.blockId);
      if (!this.#store.has(wish.blockId)) await this.#fetch(wish);
    } catch (error) {
      // Somebody else, a reader or a writer, is bringing the block already.
      if (!isRockpoolError(error, "ALREADY_EXISTS")) throw error;
    } finally {
      this.#jobs.delete(wish.blockId);
      this.#running--;
      this.#startNext();
    }
  }

  async #fetch(wish: CacheWish): Promise<void> {
    const { source, ufs, blockId } = wish;
    if (source === null && !isInUfs(ufs))
      throw new RockpoolError("NOT_FOUND", `No source to cache block ${blockId} from`);
    if (source !== null) {
      try {
        await this.#fill(wish, false, (writer) =>
          this.#peers.readBlock(source, { ...wish, offsetBytes: 0 }, (bytes) =>
            writer.append(bytes),
          ),
        );
        return;
      } catch (error) {
        if (!isInUfs(ufs) || !isRockpoolError(error)) throw error;
        // The other worker may just have lost it: the under store has it too.
        if (error.status === "RESOURCE_EXHAUSTED" || error.status === "ALREADY_EXISTS") throw error;
      }
    }
    if (isInUfs(ufs))
      await this.#fill(wish, true, (writer) => this.#copyFromUfs(ufs, wish, writer));
  }

  async #fill(
    wish: CacheWish,
    isInUfs: boolean,
    copy: (writer: BlockWriter) => Promise<void>,
  ): Promise<void> {
    const { blockId, lengthBytes } = wish;
    const options = { reserveBytes: lengthBytes, isPinned: false, isInUfs };
    const writer = await this.#store.createWriter(blockId, options);
    try {
      await copy(writer);
      if (writer.lengthBytes !== lengthBytes)
        throw new RockpoolError(
          "DATA_LOSS",
          `The source of block ${blockId} has ${writer.lengthBytes} of ${lengthBytes} bytes`,
          "Reload the file's metadata: it was changed in the under store",
        );
      await writer.commit();
    } finally {
      await writer.abort();
    }
    this.#counters.blocksCached++;
    this.#counters.bytesCached += lengthBytes;
    this.#onEvent({ kind: "blockCached", blockId, lengthBytes });
    await this.#committer.commitCached(blockId, lengthBytes);
  }

  async #copyFromUfs(
    options: OpenUfsBlockOptions,
    wish: CacheWish,
    writer: BlockWriter,
  ): Promise<void> {
    const { ufs, path } = await this.#mounts.locate(options.mountId, options.ufsPath, "read");
    const reader = await ufs.open(path);
    try {
      const offset = options.offsetInFile ?? 0;
      const buffer = Buffer.allocUnsafe(Math.max(1, Math.min(CHUNK_BYTES_MAX, wish.lengthBytes)));
      while (writer.lengthBytes < wish.lengthBytes) {
        if (this.#isStopped) throw stopping(wish.blockId);
        const wanted = Math.min(buffer.length, wish.lengthBytes - writer.lengthBytes);
        const got = await reader.read(buffer.subarray(0, wanted), offset + writer.lengthBytes);
        if (got === 0) return;
        await writer.append(buffer.subarray(0, got));
      }
    } finally {
      await reader.close();
    }
  }
}
