/**
 * ReadBlock: a block's bytes as a stream of chunks, verified, from this worker or through it from the under store.
 *
 * A stream holds at most one slot (only while the disk reads into it), and two batches of messages: one on its way, one
 * made ahead. A client that acknowledges what it got is never sent more than READ_WINDOW_BYTES beyond that; one that
 * does not is held by the transport's flow control. A client that half-closes has enough: the stream ends with OK.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { BlockId } from "../common/ids.ts";
import { SLOT_BYTES } from "../common/limits.ts";
import type { ReadRequest } from "../proto/gen/block_worker.ts";
import type { BidiHandler, Outbound } from "../rpc/service.ts";
import type { Batch, BlockRange, BlockSource, ReadDeps } from "./block_source.ts";
import { isSomewhereElse, openSource } from "./block_source.ts";
import { ReadProgress } from "./read_progress.ts";

function parse(request: ReadRequest): BlockRange {
  const { blockId, offset = 0, length = 0, chunkSize } = request;
  if (blockId === undefined || offset < 0 || length <= 0)
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `Cannot read block ${blockId ?? "(none)"} at offset ${offset}, length ${length}`,
      "Ask for a block, an offset from 0 and a positive length",
    );
  return {
    blockId: blockId as BlockId, // a client's word for it: the store knows those that it has
    startBytes: offset,
    endBytes: offset + length,
    chunkBytes: Math.max(1, Math.min(chunkSize ?? SLOT_BYTES, SLOT_BYTES)),
    ufs: request.openUfsBlockOptions ?? null,
  };
}

export function readBlockHandler(deps: ReadDeps): BidiHandler<ReadRequest, Uint8Array> {
  return async (requests, out) => {
    const iterator = requests[Symbol.asyncIterator]();
    const first = await iterator.next();
    if (first.done === true) return;
    const range = parse(first.value);
    const progress = new ReadProgress();
    void progress.follow(iterator); // never rejects; ends with the client's stream
    deps.counters.readsActive++;
    const read = new BlockRead(range, progress, out, deps);
    try {
      await read.run();
    } finally {
      deps.counters.readsActive--;
      await read.close();
    }
  };
}

class BlockRead {
  readonly #range: BlockRange;
  readonly #progress: ReadProgress;
  readonly #out: Outbound<Uint8Array>;
  readonly #deps: ReadDeps;
  #source: BlockSource | null = null;
  #position: number;
  /** The batch after the one being sent. */
  #ahead: Promise<Batch | null> | null = null;

  constructor(
    range: BlockRange,
    progress: ReadProgress,
    out: Outbound<Uint8Array>,
    deps: ReadDeps,
  ) {
    this.#range = range;
    this.#progress = progress;
    this.#out = out;
    this.#deps = deps;
    this.#position = range.startBytes;
  }

  async run(): Promise<void> {
    this.#source = await openSource(this.#range, this.#deps);
    for (;;) {
      await this.#progress.allows(this.#position);
      if (this.#progress.isEnough || this.#position >= this.#source.endBytes) return;
      const batch = await this.#next();
      if (batch === null) return; // The file is shorter than its metadata says: the client sees that and reloads them.
      await this.#send(batch);
    }
  }

  /** The batch at the position, which may have been read ahead; from elsewhere when the local block fails. */
  async #next(): Promise<Batch | null> {
    const source = this.#source;
    if (source === null) return null;
    try {
      const reading = this.#ahead ?? source.read(this.#position);
      this.#ahead = null;
      return await reading;
    } catch (error) {
      if (source.kind === "ufs" || !isSomewhereElse(error, this.#range)) throw error;
      const { blockId } = this.#range;
      this.#deps.onEvent({ kind: "readFellBack", blockId, reason: error.message });
      await this.close();
      this.#source = await openSource(this.#range, this.#deps);
      return this.#source.read(this.#position);
    }
  }

  async #send(batch: Batch): Promise<void> {
    const next = this.#position + batch.lengthBytes;
    if (this.#source !== null && next < this.#source.endBytes) {
      this.#ahead = this.#source.read(next);
      this.#ahead.catch(() => {}); // whoever takes the batch sees the error
    }
    for (const { message, lengthBytes, release } of batch.messages) {
      await this.#progress.allows(this.#position);
      if (this.#progress.isEnough) return;
      const hasRoom = this.#out.send(message, release ?? undefined);
      this.#position += lengthBytes;
      this.#deps.counters.bytesSent += lengthBytes;
      if (!hasRoom) await Promise.race([this.#out.drained(), this.#progress.over]);
    }
  }

  /** Safe to call twice. */
  async close(): Promise<void> {
    const source = this.#source;
    this.#source = null;
    await Promise.allSettled([this.#ahead]);
    this.#ahead = null;
    await source?.close();
  }
}
