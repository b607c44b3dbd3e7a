/**
 * WriteBlock: a client's bytes into a block here, or into a file of the under store.
 *
 * A first command opens, chunks follow, commands with `flush` are answered with the position once the bytes are with the
 * disk or the store. Half-close completes, after a `commit_length` if the client announced one (see rpc/write_messages.ts): the answer
 * OK means that the block is whole and the master knows it, or that the file is visible and durable. Everything else, cancel and
 * broken connections too, leaves nothing.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { BlockId } from "../common/ids.ts";
import { SLOT_BYTES } from "../common/limits.ts";
import type { WriteRequestCommand, WriteResponseInit } from "../proto/gen/block_worker.ts";
import { RequestType } from "../proto/gen/block_worker.ts";
import type { BidiHandler } from "../rpc/service.ts";
import type { WriteMessage } from "../rpc/write_messages.ts";
import type { BlockStore } from "./block_store.ts";
import type { Committer } from "./committer.ts";
import type { Mounts } from "./mounts.ts";
import type { WorkerCounters } from "./worker_api.ts";

export type WriteDeps = {
  readonly store: BlockStore;
  readonly mounts: Mounts;
  readonly committer: Committer;
  readonly counters: WorkerCounters;
};

/** Where the bytes of one stream go. */
interface Sink {
  append(bytes: Uint8Array): Promise<void>;
  flush(): Promise<void>;
  /** @returns the last message of the stream; null for none */
  commit(): Promise<WriteResponseInit | null>;
  /** Leaves nothing; does nothing after a commit. */
  abort(): Promise<void>;
}

const MODE_DEFAULT = 0o644;

export function writeBlockHandler(deps: WriteDeps): BidiHandler<WriteMessage, WriteResponseInit> {
  return async (requests, out, { signal }) => {
    let sink: Sink | null = null;
    let positionBytes = 0;
    let mayCommit = true;
    deps.counters.writesActive++;
    try {
      for await (const message of requests) {
        const { command, chunk, commitLength } = message;
        if (sink === null) {
          mayCommit = message.isCommitExplicit !== true;
          sink = await openSink(command, deps, signal);
        } else if (command !== undefined) {
          checkOffset(command, positionBytes);
          if (command.flush !== true) continue;
          await sink.flush();
          out.send({ offset: positionBytes });
        } else if (chunk?.data !== undefined) {
          await sink.append(chunk.data);
          positionBytes += chunk.data.length;
        } else if (commitLength !== undefined) {
          checkCommit(commitLength, positionBytes);
          mayCommit = true;
        }
      }
      if (!mayCommit)
        throw new RockpoolError("CANCELLED", "The write was given up: its client did not commit");
      const last = (await sink?.commit()) ?? null;
      if (last !== null) out.send(last);
    } finally {
      deps.counters.writesActive--;
      await sink?.abort();
    }
  };
}

function checkCommit(lengthBytes: number, positionBytes: number): void {
  if (lengthBytes === positionBytes) return;
  throw new RockpoolError(
    "INVALID_ARGUMENT",
    `A write of ${lengthBytes} bytes is committed, of which ${positionBytes} have come`,
    "Write the file again",
  );
}

function checkOffset(command: WriteRequestCommand, positionBytes: number): void {
  if (command.offset === undefined || command.offset === positionBytes) return;
  throw new RockpoolError(
    "INVALID_ARGUMENT",
    `Write of block ${command.id ?? "(none)"} is at ${positionBytes} bytes, its client says ${command.offset}`,
    "Write the file again",
  );
}

async function openSink(
  command: WriteRequestCommand | undefined,
  deps: WriteDeps,
  signal: AbortSignal,
): Promise<Sink> {
  if (command === undefined)
    throw new RockpoolError("INVALID_ARGUMENT", "A write begins with a command, not with bytes");
  const type = command.type ?? RequestType.ALLUXIO_BLOCK;
  switch (type) {
    case RequestType.ALLUXIO_BLOCK:
      return openBlockSink(command, deps, signal);
    case RequestType.UFS_FILE:
      return openUfsSink(command, deps);
    case RequestType.UFS_FALLBACK_BLOCK:
      throw new RockpoolError(
        "UNIMPLEMENTED",
        `Cannot write block ${command.id ?? "(none)"}: this worker has no under-store tier`,
        "Set alluxio.user.file.ufs.tier.enabled=false on the client",
      );
    default:
      throw new RockpoolError("INVALID_ARGUMENT", `Cannot write a request of type ${type}`);
  }
}

async function openBlockSink(
  command: WriteRequestCommand,
  deps: WriteDeps,
  signal: AbortSignal,
): Promise<Sink> {
  if (command.id === undefined || command.id < 0n)
    throw new RockpoolError("INVALID_ARGUMENT", `Cannot write block ${command.id ?? "(none)"}`);
  checkOffset(command, 0);
  const blockId = command.id as BlockId; // a client's word for it; the master refuses what is of no file
  const writer = await deps.store.createWriter(blockId, {
    reserveBytes: Math.max(0, command.spaceToReserve ?? SLOT_BYTES),
    isPinned: command.pinOnCreate === true,
    waitSignal: signal,
  });
  return {
    append: async (bytes) => {
      await writer.append(bytes);
      deps.counters.bytesWritten += bytes.length;
    },
    flush: () => writer.flush(),
    commit: async () => {
      const lengthBytes = await writer.commit();
      await deps.committer.commitWritten(blockId, lengthBytes);
      return null;
    },
    abort: () => writer.abort(),
  };
}

async function openUfsSink(command: WriteRequestCommand, deps: WriteDeps): Promise<Sink> {
  const options = command.createUfsFileOptions;
  checkOffset(command, 0);
  const { ufs, path } = await deps.mounts.locate(options?.mountId, options?.ufsPath, "write");
  const writer = await ufs.create(path, {
    owner: options?.owner ?? "",
    group: options?.group ?? "",
    mode: options?.mode ?? MODE_DEFAULT,
  });
  let lengthBytes = 0;
  let isOver = false;
  return {
    append: async (bytes) => {
      await writer.write(bytes);
      lengthBytes += bytes.length;
      deps.counters.bytesWrittenUfs += bytes.length;
    },
    flush: async () => {},
    commit: async () => {
      const status = await writer.commit();
      isOver = true;
      return { offset: lengthBytes, contentHash: status.fingerprint };
    },
    abort: async () => {
      if (isOver) return;
      isOver = true;
      await writer.abort();
    },
  };
}
