/**
 * Where the bytes of a read come from: the block here, or the under store behind it.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { BlockId } from "../common/ids.ts";
import type { SlotPool } from "../kernels/slot_pool.ts";
import type { OpenUfsBlockOptions } from "../proto/gen/protocol.ts";
import type { Timers } from "../world/ports.ts";
import type { BlockReader } from "./block_reader.ts";
import type { BlockStore } from "./block_store.ts";
import type { CacheJobs } from "./cache_jobs.ts";
import { isInUfs } from "./cache_jobs.ts";
import type { FramePool } from "./chunk_codec.ts";
import type { Committer } from "./committer.ts";
import type { Mounts } from "./mounts.ts";
import { UfsBlock } from "./ufs_block.ts";
import type { DataEvent, WorkerCounters } from "./worker_api.ts";

/** How long the end of a stream waits for the master to learn of the block that it cached. */
const COMMIT_WAIT_MS = 500;
/** Clients may ask for chunks of one byte: a batch is bounded by its messages too. */
const BATCH_MESSAGES_MAX = 64;

export type ReadDeps = {
  readonly store: BlockStore;
  readonly slots: SlotPool;
  readonly frames: FramePool;
  readonly mounts: Mounts;
  readonly jobs: CacheJobs;
  readonly committer: Committer;
  readonly counters: WorkerCounters;
  readonly timers: Timers;
  readonly onEvent: (event: DataEvent) => void;
};

export type BlockRange = {
  readonly blockId: BlockId;
  readonly startBytes: number;
  readonly endBytes: number;
  readonly chunkBytes: number;
  readonly ufs: OpenUfsBlockOptions | null;
};

/** Messages ready to be sent, and how many bytes of the block they carry. */
export type Batch = {
  readonly messages: readonly {
    readonly message: Buffer;
    readonly lengthBytes: number;
    /** To be called when the transport is done with the message, if it ever is. */
    readonly release: (() => void) | null;
  }[];
  readonly lengthBytes: number;
};

export interface BlockSource {
  readonly kind: "local" | "ufs";
  /** Where the source ends, at most at the end of the range. */
  readonly endBytes: number;
  /** What comes at a position before the end; null when there is nothing, although there should be. */
  read(positionBytes: number): Promise<Batch | null>;
  /** Not while a read runs. */
  close(): Promise<void>;
}

/** The best source of a block. @throws RockpoolError NOT_FOUND when there is none; DATA_LOSS when it is damaged */
export async function openSource(range: BlockRange, deps: ReadDeps): Promise<BlockSource> {
  const { blockId, ufs } = range;
  try {
    const reader = await deps.store.openReader(blockId);
    if (reader !== null) return localSource(reader, range, deps);
  } catch (error) {
    if (!isSomewhereElse(error, range)) throw error;
    deps.onEvent({ kind: "readFellBack", blockId, reason: error.message });
  }
  if (isInUfs(ufs)) return openUfsSource(range, ufs, deps);
  throw new RockpoolError(
    "NOT_FOUND",
    `Block ${blockId} is not on this worker`,
    "Read it from another worker that has it",
  );
}

/** Whether an error of the local block need not be the client's: the under store has the bytes too. */
export function isSomewhereElse(error: unknown, range: BlockRange): error is RockpoolError {
  return (
    isInUfs(range.ufs) &&
    error instanceof RockpoolError &&
    error.status !== "CANCELLED" &&
    error.status !== "INVALID_ARGUMENT"
  );
}

function localSource(reader: BlockReader, range: BlockRange, deps: ReadDeps): BlockSource {
  const { slots, frames, counters } = deps;
  const endBytes = Math.min(range.endBytes, reader.lengthBytes);
  return {
    kind: "local",
    endBytes,
    async read(positionBytes) {
      const slot = slots.take() ?? (await slots.whenFree());
      try {
        const wanted = Math.min(endBytes - positionBytes, range.chunkBytes * BATCH_MESSAGES_MAX);
        const verified = await reader.read(slot, positionBytes, wanted);
        const messages: Batch["messages"][number][] = [];
        for (let at = 0; at < verified.length; at += range.chunkBytes) {
          const data = verified.subarray(at, at + range.chunkBytes);
          messages.push({ ...frames.framed(data), lengthBytes: data.length });
        }
        counters.bytesReadLocal += verified.length;
        return { messages, lengthBytes: verified.length };
      } finally {
        slots.release(slot);
      }
    },
    close: () => reader.close(),
  };
}

/** Reads the block from the under store, keeping it when all of it passes; fetching it afterwards when only a part did. */
async function openUfsSource(
  range: BlockRange,
  ufs: OpenUfsBlockOptions,
  deps: ReadDeps,
): Promise<BlockSource> {
  const { blockId } = range;
  const blockBytes = ufs.blockSize ?? range.endBytes;
  const endBytes = Math.min(range.endBytes, blockBytes);
  const isKept = ufs.noCache !== true;
  const isWhole = range.startBytes === 0 && endBytes === blockBytes;
  const block = await UfsBlock.open(deps, blockId, ufs, isKept && isWhole ? blockBytes : null);
  let isHere = false;
  return {
    kind: "ufs",
    endBytes,
    async read(positionBytes) {
      const wanted = Math.min(range.chunkBytes, endBytes - positionBytes);
      const read = await block.read(positionBytes, wanted);
      if (read === null) return null;
      deps.counters.bytesReadUfs += read.lengthBytes;
      if (positionBytes + read.lengthBytes === blockBytes)
        isHere = await block.keepIfWhole(blockBytes);
      return { messages: [{ ...read, release: null }], lengthBytes: read.lengthBytes };
    },
    async close() {
      await block.close();
      if (isHere) await tellOfCached(blockId, blockBytes, deps);
      else if (isKept && !deps.store.has(blockId) && !deps.store.isBeingWritten(blockId))
        deps.jobs.cacheSoon({ blockId, lengthBytes: blockBytes, source: null, ufs });
    },
  };
}

async function tellOfCached(blockId: BlockId, lengthBytes: number, deps: ReadDeps): Promise<void> {
  deps.counters.blocksCached++;
  deps.counters.bytesCached += lengthBytes;
  deps.onEvent({ kind: "blockCached", blockId, lengthBytes });
  const committed = deps.committer.commitCached(blockId, lengthBytes);
  await new Promise<void>((resolve, reject) => {
    const timer = deps.timers.after(COMMIT_WAIT_MS, resolve);
    committed.then(resolve, reject).finally(() => timer.cancel());
  });
}
