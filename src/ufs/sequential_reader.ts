/**
 * Reads at positions from a store that gives streams.
 *
 * Promise: reads that follow each other go on in one stream; a stream that breaks, or ends before it should, is opened again where it
 * broke. A stream that was asked for more than is read is dropped, so windows begin small and grow while reads follow each other.
 * @module
 */
import { open, rm } from "node:fs/promises";
import type { Readable } from "node:stream";
import { isRockpoolError, type RockpoolError } from "../common/errors.ts";
import { pauseAfter } from "./attempts.ts";
import type { UfsReader } from "./under_file_system.ts";

const ATTEMPTS_MAX = 4;
const PAUSE_MIN_MS = 20;
const WINDOW_MIN_BYTES = 256 * 1024;
const WINDOW_MAX_BYTES = 64 * 1024 * 1024;
const WINDOW_GROWTH = 8;
const PIECE_BYTES = 1024 * 1024;

export type StreamSource = {
  readonly lengthBytes: number;
  /** The bytes from `first` on: at least to `end`, which is not included; the rest as the store likes. */
  readonly open: (first: number, end: number) => Promise<Readable>;
  /** What an error of a stream is to those who read. */
  readonly errorOf: (error: unknown) => RockpoolError;
};

type Stream = {
  readonly readable: Readable;
  /** Of the next byte. */
  positionBytes: number;
  readonly endBytes: number;
  rest: Uint8Array;
};

export class SequentialReader implements UfsReader {
  readonly #source: StreamSource;
  #stream: Stream | null = null;
  #windowBytes = WINDOW_MIN_BYTES;
  /** Where the last read ended. */
  #endedBytes = 0;

  constructor(source: StreamSource) {
    this.#source = source;
  }

  async read(into: Uint8Array, positionBytes: number): Promise<number> {
    const { lengthBytes, errorOf } = this.#source;
    const wanted = Math.max(0, Math.min(into.length, lengthBytes - positionBytes));
    let at = 0;
    for (let attempt = 0; at < wanted; )
      try {
        const stream = await this.#streamAt(positionBytes + at, wanted - at);
        const count = await take(stream, into.subarray(at, wanted));
        if (count === 0)
          throw new Error(`it ended at byte ${positionBytes + at} of ${lengthBytes}`);
        at += count;
        this.#endedBytes = positionBytes + at;
        attempt = 0;
      } catch (error) {
        this.#drop();
        attempt += 1;
        const isFinal = isRockpoolError(error) && error.status !== "UNAVAILABLE";
        if (isFinal || attempt >= ATTEMPTS_MAX) throw errorOf(error);
        await pauseAfter(attempt, PAUSE_MIN_MS);
      }
    return at;
  }

  async #streamAt(positionBytes: number, wantedBytes: number): Promise<Stream> {
    const current = this.#stream;
    if (current?.positionBytes === positionBytes && positionBytes < current.endBytes)
      return current;
    this.#drop();
    const follows = positionBytes === this.#endedBytes && positionBytes > 0;
    this.#windowBytes = follows
      ? Math.min(WINDOW_MAX_BYTES, this.#windowBytes * WINDOW_GROWTH)
      : WINDOW_MIN_BYTES;
    const windowBytes = Math.max(this.#windowBytes, wantedBytes);
    const endBytes = Math.min(this.#source.lengthBytes, positionBytes + windowBytes);
    const readable = await this.#source.open(positionBytes, endBytes);
    readable.on("error", () => {}); // whoever reads next finds it broken
    this.#stream = { readable, positionBytes, endBytes, rest: new Uint8Array() };
    return this.#stream;
  }

  #drop(): void {
    const stream = this.#stream;
    this.#stream = null;
    if (stream === null) return;
    // One that has nothing more lets its connection be used again, once its end is seen.
    if (stream.positionBytes === stream.endBytes) stream.readable.resume();
    else stream.readable.destroy();
  }

  async close(): Promise<void> {
    this.#drop();
  }
}

/** Into a new file, which is removed again when it does not become whole. Closes the reader. */
export async function copyToFile(
  reader: UfsReader,
  lengthBytes: number,
  localPath: string,
): Promise<void> {
  let isWhole = false;
  try {
    const file = await open(localPath, "wx");
    try {
      const piece = Buffer.allocUnsafe(PIECE_BYTES);
      for (let at = 0; at < lengthBytes; ) {
        const count = await reader.read(piece, at);
        await file.writeFile(piece.subarray(0, count));
        at += count;
      }
      isWhole = true;
    } finally {
      await file.close();
      if (!isWhole) await rm(localPath, { force: true });
    }
  } finally {
    await reader.close();
  }
}

/** Some of the next bytes; 0 at the end. @throws Error when the stream breaks */
async function take(stream: Stream, into: Uint8Array): Promise<number> {
  if (stream.rest.length === 0) stream.rest = await nextChunk(stream.readable);
  const count = Math.min(into.length, stream.rest.length);
  into.set(stream.rest.subarray(0, count));
  stream.rest = stream.rest.subarray(count);
  stream.positionBytes += count;
  return count;
}

/** Empty at the end. */
async function nextChunk(readable: Readable): Promise<Uint8Array> {
  for (;;) {
    const chunk: Buffer | null = readable.read();
    if (chunk !== null) return chunk;
    if (readable.readableEnded) return new Uint8Array();
    if (readable.destroyed) throw readable.errored ?? new Error("the connection was closed");
    await new Promise<void>((resolve, reject) => {
      const done = () => {
        for (const name of ["readable", "end", "close"] as const) readable.off(name, done);
        readable.off("error", failed);
        resolve();
      };
      const failed = (error: Error) => {
        done();
        reject(error);
      };
      for (const name of ["readable", "end", "close"] as const) readable.once(name, done);
      readable.once("error", failed);
    });
  }
}
