/**
 * Messages over Node streams with back-pressure: pulling one at a time, pushing while there is room.
 *
 * grpc-js hands streams of whole messages, with 16 of them read ahead and a `write` that counts messages, not bytes.
 * With messages of 1 MiB both are too much for a process that serves many streams: here one message is read
 * ahead, and what waits to be sent is counted in bytes.
 * @module
 */
import type { Readable, Writable } from "node:stream";
import { RockpoolError } from "../common/errors.ts";
import { invariant } from "../common/invariant.ts";
import type { Outbound } from "./service.ts";

/** Two chunks of the size that clients ask for: one on its way while the next is made. */
const PENDING_BYTES_MAX = 2 * 1024 * 1024;
const PENDING_BYTES_LOW = PENDING_BYTES_MAX / 2;

/**
 * Sent before a client of ours resets a stream that it has not half-closed, and taken as the reset.
 *
 * Node's HTTP/2 client half-closes a stream before it resets it, in frames that can arrive apart: a server would take what was
 * abandoned for finished. No protobuf message is a zero byte, so other servers refuse it, which aborts as well. It tells servers
 * early and mostly, not surely (the connection may go in between): where an end means a commit, see write_messages.ts.
 */
export const ABORT_MESSAGE: Uint8Array = Uint8Array.of(0);

export function isAbort(bytes: Uint8Array): boolean {
  return bytes.length === 1 && bytes[0] === 0;
}

/** The view of the same bytes that grpc-js takes. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Iterates over a stream of messages; one consumer, one `next` at a time. */
export class MessagePull<T> implements AsyncIterableIterator<T> {
  readonly #readable: Readable;
  readonly #decode: (bytes: Uint8Array) => T;
  readonly #onReturn: () => void;
  /** How the stream ended: null is well; what was read ahead still comes before it. */
  #outcome: RockpoolError | null | undefined;
  /** Set when the stream is over at once, whatever was read ahead. */
  #isCut = false;
  #wake: (() => void) | null = null;
  #isWaiting = false;

  constructor(readable: Readable, decode: (bytes: Uint8Array) => T, onReturn: () => void) {
    this.#readable = readable;
    this.#decode = decode;
    this.#onReturn = onReturn;
    // No public way leads to this; without it, 16 messages are read ahead, which only costs memory.
    const state = (readable as { _readableState?: { highWaterMark: number } })._readableState;
    if (state !== undefined) state.highWaterMark = 1;
    readable.on("readable", () => this.#wakeUp());
  }

  #wakeUp(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }

  /** The peer is done: with `failure` when it is not null. */
  finish(failure: RockpoolError | null): void {
    if (this.#outcome === undefined) this.#outcome = failure;
    this.#wakeUp();
  }

  /** Nothing more is delivered. */
  cut(failure: RockpoolError): void {
    if (this.#outcome !== undefined && this.#outcome !== null) return;
    this.#outcome = failure;
    this.#isCut = true;
    this.#wakeUp();
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    invariant(!this.#isWaiting, "a message stream has one consumer");
    this.#isWaiting = true;
    try {
      for (;;) {
        const bytes: Buffer | null = this.#isCut ? null : this.#readable.read();
        if (bytes !== null) return { value: this.#decode(bytes), done: false };
        if (this.#outcome === null) return { value: undefined, done: true };
        if (this.#outcome !== undefined) throw this.#outcome;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      this.#isWaiting = false;
    }
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.#onReturn();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** Sends messages, and says when to wait. */
export class MessagePush<S> implements Outbound<S> {
  readonly #writable: Writable;
  readonly #encode: (message: S) => Uint8Array;
  #pendingBytes = 0;
  #failure: RockpoolError | null = null;
  #waiters: { readonly resolve: () => void; readonly reject: (error: RockpoolError) => void }[] =
    [];

  constructor(writable: Writable, encode: (message: S) => Uint8Array) {
    this.#writable = writable;
    this.#encode = encode;
  }

  send(message: S, onTaken?: () => void): boolean {
    if (this.#failure !== null || this.#writable.destroyed || this.#writable.writableEnded)
      return false;
    const bytes = asBuffer(this.#encode(message));
    this.#pendingBytes += bytes.length;
    this.#writable.write(bytes, (error) => {
      this.#sent(bytes.length);
      if (error === null || error === undefined) onTaken?.();
    });
    return this.#pendingBytes < PENDING_BYTES_MAX;
  }

  #sent(lengthBytes: number): void {
    this.#pendingBytes -= lengthBytes;
    if (this.#pendingBytes > PENDING_BYTES_LOW || this.#waiters.length === 0) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.resolve();
  }

  drained(): Promise<void> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    if (this.#pendingBytes <= PENDING_BYTES_LOW) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  /** The peer is gone: whoever waits, now or later, gets `failure`. */
  fail(failure: RockpoolError): void {
    if (this.#failure !== null) return;
    this.#failure = failure;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.reject(failure);
  }
}

/** What a stream's reader and writer get when the other side went away. */
export function cancelledBy(peer: string): RockpoolError {
  return new RockpoolError("CANCELLED", `The call was cancelled by ${peer}`);
}
