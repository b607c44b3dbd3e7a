/**
 * Bytes on their way to a worker: one block, or one file of the under store.
 *
 * {@link WorkerWrite} is one stream to one worker. {@link PlacedWrite} chooses the worker, and when it
 * fails early sends the same bytes to another: what was written is kept for that, a block of the default size as a whole, so
 * that it survives the loss of a worker at any moment up to its commit.
 * Memory: a chunk in flight, REPLAY_FREE_BYTES, and what {@link ReplayMemory} has left for all streams of a client.
 * @module
 */
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import type { WorkerNetAddress } from "../common/file_facts.ts";
import {
  RequestType,
  type WriteRequestCommandInit,
  type WriteResponse,
} from "../proto/gen/block_worker.ts";
import type { BidiCall } from "../rpc/channel.ts";
import { type WriteMessageInit, writeBlockShape } from "../rpc/write_messages.ts";
import { addressKey, workerForWrite } from "./block_policy.ts";
import { type ClientContext, pause, throwIfAborted, within } from "./context.ts";
import type { Signal } from "./master_client.ts";

/** Alluxio's `alluxio.user.streaming.writer.chunk.size.bytes`. */
const CHUNK_BYTES = 1024 * 1024;
/** Every stream keeps as much, whatever others keep. */
const REPLAY_FREE_BYTES = 4 * CHUNK_BYTES;
/** Alluxio's default size of a block. What is longer is not kept. */
const REPLAY_BYTES_MAX = 64 * CHUNK_BYTES;
/** Pauses between two rounds over all workers. */
const SEARCH_PAUSE_MS = 200;

/** One stream to one worker. Every method but `cancel` throws the reason why the stream ended early. */
export class WorkerWrite {
  readonly #call: BidiCall<WriteMessageInit, WriteResponse>;
  readonly #ended: Promise<void>;
  readonly #context: ClientContext;
  readonly #where: string;
  #failure: unknown = null;
  #isFinished = false;
  #lengthBytes = 0;

  private constructor(
    context: ClientContext,
    where: string,
    call: BidiCall<WriteMessageInit, WriteResponse>,
  ) {
    this.#context = context;
    this.#where = where;
    this.#call = call;
    this.#ended = this.#readToEnd();
    this.#ended.catch((error: unknown) => {
      this.#failure = error;
    });
  }

  static async open(
    context: ClientContext,
    address: WorkerNetAddress,
    command: WriteRequestCommandInit,
  ): Promise<WorkerWrite> {
    // No signal: an aborted write is destroyed by its stream, and must go through `cancel` below.
    const call = await context.workerPort.bidi(address, writeBlockShape, null);
    const write = new WorkerWrite(context, addressKey(address), call);
    // Whatever becomes of the stream, the worker commits nothing before `close` says so.
    call.send({ command, isCommitExplicit: true });
    return write;
  }

  async #readToEnd(): Promise<void> {
    // Answers only report progress; the end is what counts.
    for await (const _response of this.#call.responses);
    if (!this.#isFinished)
      throw new RockpoolError("UNAVAILABLE", `Worker ${this.#where} ended the write early`);
  }

  /** Resolves when the bytes were taken; they may be reused then. */
  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
      if (this.#failure !== null) throw this.#failure;
      const data = bytes.subarray(at, at + CHUNK_BYTES);
      this.#lengthBytes += data.length;
      if (this.#call.send({ chunk: { data } })) continue;
      await this.#limited(this.#call.drained(), this.#context.patience.streamStallMs, "Sending");
    }
    if (this.#failure !== null) throw this.#failure;
  }

  /** Resolves when the worker has made everything durable and the masters know. */
  async close(): Promise<void> {
    this.#isFinished = true;
    this.#call.send({ commitLength: this.#lengthBytes });
    this.#call.end();
    await this.#limited(this.#ended, this.#context.patience.commitMs, "Committing");
  }

  /** Drops what was written. Harmless after the end. */
  cancel(): void {
    this.#isFinished = true;
    this.#call.cancel();
  }

  async #limited(work: Promise<void>, limitMs: number, act: string): Promise<void> {
    try {
      await within(work, limitMs, `${act} to worker ${this.#where}`);
    } catch (error) {
      this.#call.cancel();
      throw error;
    }
  }
}

/** Failures that another worker would meet too. */
function isFinal(error: unknown): boolean {
  return (
    !(error instanceof RockpoolError) ||
    error.status === "INVALID_ARGUMENT" ||
    error.status === "PERMISSION_DENIED" ||
    error.status === "NOT_FOUND"
  );
}

export type Placement = {
  /** What is written, for error texts: "block 123 of /a". */
  readonly what: string;
  readonly command: WriteRequestCommandInit;
  /** Storage that a worker must have in all; 0 for bytes that go past its storage. */
  readonly spaceBytes: number;
  readonly signal: Signal;
};

export class PlacedWrite {
  readonly #context: ClientContext;
  readonly #placement: Placement;
  readonly #failed = new Set<string>();
  #stream: WorkerWrite | null = null;
  #where = "";
  /** Everything so far; null once it is too much to keep. */
  #replay: Uint8Array[] | null = [];
  /** Of the memory that streams share. */
  #takenBytes = 0;
  #lengthBytes = 0;
  #isCancelled = false;

  constructor(context: ClientContext, placement: Placement) {
    this.#context = context;
    this.#placement = placement;
  }

  get lengthBytes(): number {
    return this.#lengthBytes;
  }

  async write(bytes: Uint8Array): Promise<void> {
    const stream = this.#stream ?? (await this.#replayAnywhere(null, false));
    this.#lengthBytes += bytes.length;
    this.#keep(bytes);
    try {
      await stream.write(bytes);
    } catch (error) {
      await this.#replayAnywhere(error, false);
    }
  }

  async close(): Promise<void> {
    try {
      const stream = this.#stream ?? (await this.#replayAnywhere(null, false));
      try {
        await stream.close();
      } catch (error) {
        await this.#replayAnywhere(error, true);
      }
    } finally {
      this.#forget();
    }
  }

  cancel(): void {
    this.#isCancelled = true;
    this.#stream?.cancel();
    this.#forget();
  }

  #keep(bytes: Uint8Array): void {
    if (this.#replay === null) return;
    const isFree = this.#lengthBytes <= REPLAY_FREE_BYTES;
    const { replayMemory } = this.#context;
    if (!isFree && (this.#lengthBytes > REPLAY_BYTES_MAX || !replayMemory.take(bytes.length))) {
      this.#forget();
      return;
    }
    if (!isFree) this.#takenBytes += bytes.length;
    this.#replay.push(bytes.slice());
  }

  /** From now on the loss of the worker is the loss of the stream. */
  #forget(): void {
    this.#replay = null;
    this.#context.replayMemory.giveBack(this.#takenBytes);
    this.#takenBytes = 0;
  }

  /** Sends all bytes so far to a worker that has not failed yet, until one takes them. */
  async #replayAnywhere(failure: unknown, andClose: boolean): Promise<WorkerWrite> {
    const deadlineMs = performance.now() + this.#context.patience.workerSearchMs;
    let last = failure;
    for (;;) {
      if (last !== null) this.#dropStream(last);
      const pieces = this.#replay;
      if (pieces === null) throw last;
      const address = await this.#place(deadlineMs, last);
      try {
        const stream = await this.#open(address);
        for (const piece of pieces) await stream.write(piece);
        if (andClose) await stream.close();
        return stream;
      } catch (error) {
        last = error;
      }
    }
  }

  #dropStream(failure: unknown): void {
    this.#stream?.cancel();
    this.#stream = null;
    if (this.#isCancelled || isFinal(failure)) throw failure;
    this.#failed.add(this.#where);
    this.#context.workers.invalidate();
  }

  async #open(address: WorkerNetAddress): Promise<WorkerWrite> {
    this.#where = addressKey(address);
    const stream = await WorkerWrite.open(this.#context, address, this.#placement.command);
    if (this.#isCancelled) {
      stream.cancel();
      throw this.#cancelled();
    }
    this.#stream = stream;
    return stream;
  }

  #cancelled(): RockpoolError {
    return new RockpoolError("CANCELLED", `Writing ${this.#placement.what} was cancelled`);
  }

  /** A worker that has not failed; waits for one when there is none. */
  async #place(deadlineMs: number, last: unknown): Promise<WorkerNetAddress> {
    const { spaceBytes, signal } = this.#placement;
    const absentUntilMs = performance.now() + this.#context.patience.workerAbsenceMs;
    for (;;) {
      throwIfAborted(signal);
      if (this.#isCancelled) throw this.#cancelled();
      const worker = workerForWrite(await this.#context.workers.list(signal), this.#context.here, {
        blockSizeBytes: spaceBytes,
        failed: this.#failed,
        random: this.#context.random,
      });
      if (worker !== null) return worker.address;
      const limitMs = this.#failed.size === 0 ? absentUntilMs : deadlineMs;
      if (performance.now() >= limitMs) throw this.#noWorker(last);
      // All have failed once: a restarted one deserves another try, a full one after a pause too.
      this.#failed.clear();
      this.#context.workers.invalidate();
      await pause(SEARCH_PAUSE_MS, signal);
    }
  }

  #noWorker(last: unknown): unknown {
    if (isRockpoolError(last)) return last;
    const { what, spaceBytes } = this.#placement;
    return new RockpoolError(
      "UNAVAILABLE",
      `No worker has room for ${what} (${spaceBytes} bytes of storage are needed)`,
      "Start a worker, raise alluxio.worker.ramdisk.size, or lower alluxio.user.block.size.bytes.default",
    );
  }
}

/** The first message of a block's stream. */
export function blockCommand(
  blockId: bigint,
  options: { readonly spaceBytes: number; readonly isPinned: boolean },
): WriteRequestCommandInit {
  return {
    type: RequestType.ALLUXIO_BLOCK,
    id: blockId,
    tier: 0,
    pinOnCreate: options.isPinned,
    spaceToReserve: Math.min(options.spaceBytes, 64 * CHUNK_BYTES),
  };
}

/** The first message of an under store file's stream. */
export function ufsFileCommand(file: {
  readonly ufsPath: string;
  readonly owner: string;
  readonly group: string;
  readonly mode: number;
  readonly mountId: bigint;
}): WriteRequestCommandInit {
  return {
    type: RequestType.UFS_FILE,
    id: -1n,
    tier: 0,
    createUfsFileOptions: {
      ufsPath: file.ufsPath,
      owner: file.owner,
      group: file.group,
      mode: file.mode,
      mountId: file.mountId,
    },
  };
}
