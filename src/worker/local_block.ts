/**
 * Short circuit: a client on this host reads and writes block files by itself; the worker lends it the paths.
 *
 * OpenLocalBlock keeps the block in place while the stream is open. CreateLocalBlock makes a file for the client to write;
 * half-close makes it a block (its checksums are computed then), anything else drops it.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { BlockId } from "../common/ids.ts";
import { SLOT_BYTES } from "../common/limits.ts";
import type {
  CreateLocalBlockRequest,
  CreateLocalBlockResponseInit,
  OpenLocalBlockRequest,
  OpenLocalBlockResponseInit,
} from "../proto/gen/block_worker.ts";
import type { BidiHandler } from "../rpc/service.ts";
import type { BlockHold, LocalBlock } from "./block_store.ts";
import type { WriteDeps } from "./write_block.ts";

function idOf(blockId: bigint | undefined): BlockId {
  if (blockId === undefined || blockId < 0n)
    throw new RockpoolError("INVALID_ARGUMENT", `There is no block ${blockId ?? "(none)"}`);
  return blockId as BlockId; // a client's word for it
}

export function openLocalBlockHandler(
  deps: WriteDeps,
): BidiHandler<OpenLocalBlockRequest, OpenLocalBlockResponseInit> {
  return async (requests, out) => {
    let lock: BlockHold | null = null;
    try {
      for await (const request of requests) {
        if (lock !== null) continue;
        const blockId = idOf(request.blockId);
        lock = deps.store.lockLocal(blockId);
        if (lock === null)
          throw new RockpoolError(
            "NOT_FOUND",
            `Block ${blockId} is not on this worker`,
            "Read it from another worker that has it",
          );
        out.send({ path: lock.path });
      }
    } finally {
      lock?.release();
    }
  };
}

export function createLocalBlockHandler(
  deps: WriteDeps,
): BidiHandler<CreateLocalBlockRequest, CreateLocalBlockResponseInit> {
  return async (requests, out, { signal }) => {
    let block: LocalBlock | null = null;
    let blockId: BlockId | null = null;
    deps.counters.writesActive++;
    try {
      for await (const request of requests) {
        const bytes = Math.max(0, request.spaceToReserve ?? SLOT_BYTES);
        if (block === null) {
          blockId = idOf(request.blockId);
          const isPinned = request.pinOnCreate === true;
          const room = { reserveBytes: bytes, isPinned, waitSignal: signal };
          block = await deps.store.createLocal(blockId, room);
          out.send({ path: block.path });
        } else if (request.onlyReserveSpace === true) {
          await block.reserve(bytes);
          out.send({});
        } else
          throw new RockpoolError(
            "INVALID_ARGUMENT",
            `Block ${blockId} was opened already on this stream`,
            "Open another stream for another block",
          );
      }
      if (block !== null && blockId !== null) {
        const lengthBytes = await block.commit();
        deps.counters.bytesWrittenLocal += lengthBytes;
        await deps.committer.commitWritten(blockId, lengthBytes);
      }
    } finally {
      deps.counters.writesActive--;
      await block?.abort();
    }
  };
}
