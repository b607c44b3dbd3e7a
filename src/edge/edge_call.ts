/**
 * One request of a client while it is under way: what comes in for it, and what goes out.
 *
 * Nothing is sent without credit but replies, and those wait, as data does, until the socket has room: a client that reads slowly
 * costs one buffer of the socket, and one chunk for each of its reads.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { CrcJoiner } from "../kernels/crc_combine.ts";
import { Credit, cancelled } from "./credit.ts";
import {
  type Crc,
  emptyFrame,
  encodeFrame,
  FRAME,
  HEADER_BYTES,
  SEALED_HEADER_BYTES,
} from "./frame.ts";
import type { EdgeChunk, EdgeCounters, EdgeWire, Sum } from "./ports.ts";

/** What the socket may hold before nothing more is given to it. */
export const BUFFERED_BYTES_MAX = 1024 * 1024;
/** What a client may have sent of an upload that was not passed on yet: bytes, and frames, each of which has its cost. */
export const UPLOAD_WINDOW_BYTES = 1024 * 1024;
const UPLOAD_FRAMES_MAX = 4096;

export type CallDeps = {
  readonly wire: EdgeWire;
  readonly crc: Crc;
  readonly joiner: CrcJoiner;
  readonly counters: EdgeCounters;
};

export type CallOptions = {
  readonly id: number;
  /** Longest payload of DATA. */
  readonly frameBytes: number;
  readonly creditBytes: number;
};

export class EdgeCall {
  readonly id: number;
  readonly frameBytes: number;
  readonly credit: Credit;
  readonly #deps: CallDeps;
  readonly #aborter = new AbortController();
  #arrived: Uint8Array[] = [];
  #arrivedBytes = 0;
  #hasArrivedAll = false;
  #isUpload = false;
  #wake: (() => void) | null = null;
  #creditAwaitedMs: number | null = null;

  constructor(deps: CallDeps, options: CallOptions) {
    this.#deps = deps;
    this.id = options.id;
    this.frameBytes = options.frameBytes;
    this.credit = new Credit(options.creditBytes);
  }

  get signal(): AbortSignal {
    return this.#aborter.signal;
  }

  abort(): void {
    this.#aborter.abort(cancelled());
    this.#wake?.();
  }

  /** Ends it when it has waited for credit for too long. @returns whether it did */
  endIfForgotten(nowMs: number, creditWaitMs: number): boolean {
    if (!this.credit.isAwaited) this.#creditAwaitedMs = null;
    this.#creditAwaitedMs ??= this.credit.isAwaited ? nowMs : null;
    if (this.#creditAwaitedMs === null || nowMs - this.#creditAwaitedMs <= creditWaitMs)
      return false;
    this.fail(
      new RockpoolError(
        "UNAVAILABLE",
        "What was asked for is not taken",
        "Read on from where it stood",
      ),
    );
    this.abort();
    return true;
  }

  /** @throws RockpoolError UNAVAILABLE when bytes are not those whose checksums were kept */
  verify({ bytes, sums }: EdgeChunk, path: string): void {
    let at = 0;
    for (const { lengthBytes, crc } of sums ?? []) {
      if (this.#deps.crc(bytes.subarray(at, at + lengthBytes)) !== crc)
        throw new RockpoolError(
          "UNAVAILABLE",
          `Bytes of ${path} were damaged on their way from a worker`,
          "Ask again",
        );
      at += lengthBytes;
    }
  }

  /** A document; the last frame unless more follows. */
  async reply(document: unknown, isLast = true): Promise<void> {
    await this.whenRoom();
    this.#send(FRAME.reply, isLast, 0, new TextEncoder().encode(JSON.stringify(document)));
  }

  /** @returns whether the socket had room for it; else it was left out */
  event(document: unknown): boolean {
    if (this.signal.aborted) return true; // nobody waits for it
    if (this.#deps.wire.bufferedBytes() > BUFFERED_BYTES_MAX) return false;
    this.#send(FRAME.event, false, 0, new TextEncoder().encode(JSON.stringify(document)));
    return true;
  }

  /** A payload of DATA made by hand, at most `frameBytes` long. */
  async data(payload: Uint8Array, isLast: boolean): Promise<void> {
    await this.credit.spend(payload.length, this.signal);
    await this.whenRoom();
    this.#send(FRAME.data, isLast, 0, payload);
  }

  /** Bytes of a file from an offset on, in as many frames as it takes. */
  async chunk(chunk: EdgeChunk, offsetBytes: number): Promise<void> {
    const { crc, joiner, counters, wire } = this.#deps;
    let at = 0;
    for (const { lengthBytes, sum } of piecesOf(chunk, this.frameBytes, joiner)) {
      await this.credit.spend(lengthBytes, this.signal);
      await this.whenRoom();
      const payload = chunk.bytes.subarray(at, at + lengthBytes);
      const argument = (offsetBytes + at) % 2 ** 32;
      const header = emptyFrame({ type: FRAME.data, id: this.id, argument }, 0);
      const sealed = crc(header.subarray(0, SEALED_HEADER_BYTES));
      const whole = sum === null ? crc(payload, sealed) : joiner.join(sealed, sum, lengthBytes);
      new DataView(header.buffer).setUint32(SEALED_HEADER_BYTES, whole, true);
      if (sum !== null) counters.bytesWithStoredChecksums += lengthBytes;
      wire.send(header, payload);
      counters.bytesSent += HEADER_BYTES + lengthBytes;
      at += lengthBytes;
    }
  }

  end(): void {
    this.#send(FRAME.data, true, 0, new Uint8Array(0));
  }

  fail(error: RockpoolError): void {
    const { status, message, remedy } = error;
    const text = JSON.stringify({ status, message, remedy });
    this.#send(FRAME.error, true, 0, new TextEncoder().encode(text));
  }

  /** A part of an upload came in. @returns false when there was no credit, or no upload, for it */
  arrived(bytes: Uint8Array, isLast: boolean): boolean {
    if (!this.#isUpload || this.#hasArrivedAll) return false;
    if (this.#arrived.length >= UPLOAD_FRAMES_MAX) return false;
    if (bytes.length === 0 && !isLast) return false;
    this.#arrivedBytes += bytes.length;
    if (this.#arrivedBytes > UPLOAD_WINDOW_BYTES) return false;
    this.#arrived.push(bytes);
    this.#hasArrivedAll = isLast;
    this.#wake?.();
    return true;
  }

  /** From here on the client may send. Told before anything is awaited, since its frames may be here already. */
  expectUpload(): void {
    this.#isUpload = true;
  }

  /** What the client sends; giving credit as it is taken. Iterate once. */
  async *upload(): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      if (this.signal.aborted) throw cancelled();
      const bytes = this.#arrived.shift();
      if (bytes !== undefined) {
        if (bytes.length > 0) yield bytes;
        this.#arrivedBytes -= bytes.length;
        if (!this.#hasArrivedAll) this.#send(FRAME.credit, false, bytes.length, new Uint8Array(0));
      } else if (this.#hasArrivedAll) return;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }

  /** Resolves when the socket has room. @throws RockpoolError CANCELLED */
  async whenRoom(): Promise<void> {
    const { wire } = this.#deps;
    while (wire.bufferedBytes() > BUFFERED_BYTES_MAX && !this.signal.aborted) await wire.drained();
    if (this.signal.aborted) throw cancelled();
  }

  #send(type: number, isLast: boolean, argument: number, payload: Uint8Array): void {
    this.#give(encodeFrame({ type, isLast, id: this.id, argument }, payload, this.#deps.crc));
  }

  #give(frame: Uint8Array): void {
    this.#deps.wire.send(frame);
    this.#deps.counters.bytesSent += frame.length;
  }
}

/** Payloads of frames, with the checksums that follow from those that were kept: as many whole stretches as fit. */
export function* piecesOf(
  { bytes, sums }: EdgeChunk,
  frameBytes: number,
  joiner: CrcJoiner,
): Generator<{ readonly lengthBytes: number; readonly sum: number | null }> {
  let lengthBytes = 0;
  let sum = 0;
  for (const next of sums ?? [{ lengthBytes: bytes.length, crc: null }]) {
    if (lengthBytes > 0 && lengthBytes + next.lengthBytes > frameBytes) {
      yield { lengthBytes, sum };
      lengthBytes = 0;
      sum = 0;
    }
    if (next.crc !== null && next.lengthBytes <= frameBytes) {
      sum = joiner.join(sum, next.crc, next.lengthBytes);
      lengthBytes += next.lengthBytes;
    } else
      for (let rest = next.lengthBytes; rest > 0; rest -= frameBytes)
        yield { lengthBytes: Math.min(rest, frameBytes), sum: null };
  }
  if (lengthBytes > 0) yield { lengthBytes, sum };
}

export function sumsLengthBytes(sums: readonly Sum[]): number {
  return sums.reduce((total, { lengthBytes }) => total + lengthBytes, 0);
}

export function badRequest(what: string): RockpoolError {
  return new RockpoolError("INVALID_ARGUMENT", `The request ${what}`, "See docs/EDGE.md");
}
