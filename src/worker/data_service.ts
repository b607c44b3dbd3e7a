/**
 * The worker's services as tables: Alluxio's BlockWorker for clients, our WorkerControl for masters.
 * @module
 */
import { messageOf, RockpoolError, STATUS_CODES } from "../common/errors.ts";
import type { BlockId } from "../common/ids.ts";
import type { AsyncCacheRequest, CacheRequest, LoadRequest } from "../proto/gen/block_worker.ts";
import { BlockWorker, TaskStatus } from "../proto/gen/block_worker.ts";
import { WorkerControl } from "../proto/gen/rockpool_internal.ts";
import type { ServiceTable } from "../rpc/service.ts";
import { bidi, unary } from "../rpc/service.ts";
import { writeBlockShape } from "../rpc/write_messages.ts";
import type { ReadDeps } from "./block_source.ts";
import type { CacheWish } from "./cache_jobs.ts";
import { readBlockShape } from "./chunk_codec.ts";
import { createLocalBlockHandler, openLocalBlockHandler } from "./local_block.ts";
import type { Persister } from "./persist_file.ts";
import { readBlockHandler } from "./read_block.ts";
import type { Standing } from "./standing.ts";
import type { BlockAddress } from "./worker_api.ts";
import { clearCounters } from "./worker_metrics.ts";
import { writeBlockHandler } from "./write_block.ts";

export type DataServiceDeps = ReadDeps & {
  readonly persister: Persister;
  /** Whether an address is this worker's own: it cannot be its own source. */
  isOwn(address: BlockAddress): boolean;
};

function required(blockId: bigint | undefined): BlockId {
  if (blockId === undefined || blockId < 0n)
    throw new RockpoolError("INVALID_ARGUMENT", `There is no block ${blockId ?? "(none)"}`);
  return blockId as BlockId; // a client's word for it
}

function wishOf(request: CacheRequest | AsyncCacheRequest, deps: DataServiceDeps): CacheWish {
  const { sourceHost, sourcePort, openUfsBlockOptions: ufs } = request;
  const named =
    sourceHost === undefined || sourceHost === "" || sourcePort === undefined
      ? null
      : { host: sourceHost, port: sourcePort };
  const lengthBytes = request.length ?? ufs?.blockSize;
  if (lengthBytes === undefined || lengthBytes <= 0)
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `Cannot cache block ${request.blockId ?? "(none)"}: its length is not given`,
    );
  return {
    blockId: required(request.blockId),
    lengthBytes,
    source: named !== null && deps.isOwn(named) ? null : named,
    ufs: ufs ?? null,
  };
}

async function load(request: LoadRequest, deps: DataServiceDeps) {
  const outcomes = await Promise.all(
    request.blocks.map(async (block) => {
      const ufs = {
        ufsPath: block.ufsPath,
        mountId: block.mountId,
        offsetInFile: block.offsetInFile,
        blockSize: block.length,
      };
      try {
        const blockId = required(block.blockId);
        await deps.jobs.cache({ blockId, lengthBytes: block.length, source: null, ufs });
        return null;
      } catch (error) {
        if (!(error instanceof RockpoolError)) throw error;
        const isTransient = error.status === "UNAVAILABLE" || error.status === "RESOURCE_EXHAUSTED";
        return {
          block,
          code: STATUS_CODES[error.status],
          message: messageOf(error),
          retryable: isTransient,
        };
      }
    }),
  );
  const blockStatus = outcomes.filter((outcome) => outcome !== null);
  const failed = blockStatus.length;
  const status =
    failed === 0
      ? TaskStatus.SUCCESS
      : failed === outcomes.length
        ? TaskStatus.FAILURE
        : TaskStatus.PARTIAL_FAILURE;
  return { status, blockStatus };
}

export function blockWorkerTable(deps: DataServiceDeps): ServiceTable {
  const { methods, name } = BlockWorker;
  const { store, jobs } = deps;
  return {
    name,
    isAuthenticated: true,
    methods: [
      bidi(readBlockShape, readBlockHandler(deps)),
      bidi(writeBlockShape, writeBlockHandler(deps)),
      bidi(methods.OpenLocalBlock, openLocalBlockHandler(deps)),
      bidi(methods.CreateLocalBlock, createLocalBlockHandler(deps)),
      unary(methods.Cache, async (request) => {
        const wish = wishOf(request, deps);
        if (request.async === false) await jobs.cache(wish);
        else jobs.cacheSoon(wish);
        return {};
      }),
      unary(methods.AsyncCache, (request) => {
        jobs.cacheSoon(wishOf(request, deps));
        return {};
      }),
      unary(methods.Load, (request) => load(request, deps)),
      unary(methods.RemoveBlock, async ({ blockId }) => {
        await store.remove(required(blockId));
        return {};
      }),
      unary(methods.MoveBlock, ({ blockId, mediumType }) => {
        const id = required(blockId);
        if (!store.has(id))
          throw new RockpoolError("NOT_FOUND", `Block ${id} is not on this worker`);
        if (mediumType !== store.mediumType)
          throw new RockpoolError(
            "FAILED_PRECONDITION",
            `Cannot move block ${id} to medium ${mediumType ?? "(none)"}: this worker has only ${store.mediumType}`,
            "Move it to a worker that has such a tier",
          );
        return {};
      }),
      unary(methods.ClearMetrics, () => {
        clearCounters(deps.counters);
        return {};
      }),
      unary(methods.FreeWorker, async () => {
        await store.removeAll();
        return {};
      }),
    ],
  };
}

export function workerControlTable(persister: Persister, standing: Standing): ServiceTable {
  return {
    name: WorkerControl.name,
    isAuthenticated: true,
    methods: [
      unary(WorkerControl.methods.PersistFile, (request) => persister.persist(request)),
      unary(WorkerControl.methods.SetStanding, async (request) => {
        await standing.set(request);
        return {};
      }),
    ],
  };
}
