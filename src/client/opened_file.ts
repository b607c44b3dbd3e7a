/**
 * A file open for reading: as a stream, or at positions.
 * @module
 */
import { Readable } from "node:stream";
import { RockpoolError } from "../common/errors.ts";
import { BlockReader } from "./block_read.ts";
import { type ClientContext, throwIfAborted } from "./context.ts";
import type { FileStatus, ReadType } from "./file_status.ts";
import type { Signal } from "./master_client.ts";

export type ReadRange = {
  /** First byte; 0 when left out. */
  readonly startBytes?: number;
  /** Bytes to read; to the end of the file when left out. What lies beyond the end is not read. */
  readonly lengthBytes?: number;
  readonly signal?: AbortSignal;
};

/** Made by `FileSystem.openFile`. Holds nothing open between reads. */
export class OpenedFile {
  readonly status: FileStatus;
  readonly #context: ClientContext;
  readonly #readType: ReadType;

  constructor(context: ClientContext, status: FileStatus, readType: ReadType) {
    this.status = status;
    this.#context = context;
    this.#readType = readType;
  }

  get lengthBytes(): number {
    return this.status.lengthBytes;
  }

  /** The bytes in order; destroying the stream or aborting the signal ends the read at the worker. */
  stream(range: ReadRange = {}): Readable {
    const { signal } = range;
    throwIfAborted(signal ?? null);
    const aborter = new AbortController();
    const passOn = () => aborter.abort(signal?.reason);
    signal?.addEventListener("abort", passOn);
    const chunks = this.chunks({ ...range, signal: aborter.signal });
    const readable = Readable.from(chunks, { objectMode: false, highWaterMark: 1024 * 1024 });
    readable.once("close", () => {
      signal?.removeEventListener("abort", passOn);
      // A generator that waits for a worker is only woken by its signal.
      aborter.abort(new Error("the stream was closed"));
    });
    return readable;
  }

  /** The bytes in order, chunk by chunk as the workers send them. */
  async *chunks(range: ReadRange = {}): AsyncGenerator<Uint8Array, void, undefined> {
    const signal = range.signal ?? null;
    const { start, end } = this.#bounds(range);
    for (let at = start; at < end; ) {
      throwIfAborted(signal);
      const { reader, lengthBytes } = this.#blockAt(at, end, signal);
      yield* reader.read();
      at += lengthBytes;
    }
  }

  /**
   * Reads at a position.
   * @returns the bytes; fewer than asked only at the end of the file
   */
  async readAt(
    positionBytes: number,
    lengthBytes: number,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<Uint8Array> {
    const range = { ...options, startBytes: positionBytes, lengthBytes };
    const { start, end } = this.#bounds(range);
    const into = new Uint8Array(Math.max(0, end - start));
    let filled = 0;
    for await (const bytes of this.chunks(range)) {
      into.set(bytes, filled);
      filled += bytes.length;
    }
    return into;
  }

  #bounds(range: ReadRange): { readonly start: number; readonly end: number } {
    const { startBytes: start = 0, lengthBytes = Number.MAX_SAFE_INTEGER } = range;
    if (!Number.isSafeInteger(start) || start < 0 || lengthBytes < 0)
      throw new RockpoolError(
        "INVALID_ARGUMENT",
        `Cannot read ${lengthBytes} bytes at ${start} of ${this.status.path}`,
        "Give a position and a length of 0 or more",
      );
    return { start, end: Math.min(start + lengthBytes, this.status.lengthBytes) };
  }

  #blockAt(at: number, end: number, signal: Signal) {
    const { path, blockSizeBytes, lengthBytes: fileLengthBytes, blocks } = this.status;
    const index = Math.floor(at / blockSizeBytes);
    const block = blocks[index];
    if (block === undefined)
      throw new RockpoolError(
        "INTERNAL",
        `The masters name no block for byte ${at} of ${path}`,
        "Reload the file's metadata",
      );
    const blockStart = index * blockSizeBytes;
    const blockLengthBytes = Math.min(blockSizeBytes, fileLengthBytes - blockStart);
    const lengthBytes = Math.min(end, blockStart + blockLengthBytes) - at;
    const range = { id: block.id, blockLengthBytes, startBytes: at - blockStart, lengthBytes };
    const options = { readType: this.#readType, signal };
    return { reader: new BlockReader(this.#context, this.status, range, options), lengthBytes };
  }
}
