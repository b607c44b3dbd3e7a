/**
 * Messages of the two byte streams, framed by hand.
 *
 * ReadResponse{chunk{data}} on the wire, exactly so: the Java client's zero-copy decoder takes nothing else.
 *
 *     0A <varint: length of the rest> 0A <varint: length of the data> <data>
 *
 * The data is copied once, from the slot where it was verified into the message that grpc-js sends.
 * @module
 */
import { invariant } from "../common/invariant.ts";
import { SLOT_BYTES } from "../common/limits.ts";
import type { ReadRequest } from "../proto/gen/block_worker.ts";
import { BlockWorker } from "../proto/gen/block_worker.ts";
import type { MethodShape } from "../rpc/service.ts";

/** What a few streams have on their way: 16 MiB. */
const FREE_FRAMES_MAX = 16;

function varintBytes(value: number): number {
  let count = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 128)) count++;
  return count;
}

function putVarint(into: Buffer, at: number, value: number): number {
  let rest = value;
  let position = at;
  while (rest >= 0x80) {
    into[position++] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
  }
  into[position++] = rest;
  return position;
}

export type Frame = { readonly message: Buffer; readonly data: Buffer };

/** A message with room for that much data, which is to be filled in. @param lengthBytes at least 1 */
export function emptyFrame(lengthBytes: number): Frame {
  const innerBytes = 1 + varintBytes(lengthBytes) + lengthBytes;
  const message = Buffer.allocUnsafe(1 + varintBytes(innerBytes) + innerBytes);
  message[0] = 0x0a;
  const inner = putVarint(message, 1, innerBytes);
  message[inner] = 0x0a;
  const start = putVarint(message, inner + 1, lengthBytes);
  return { message, data: message.subarray(start) };
}

/** A message with a copy of the data, which must not be empty. */
export function framed(data: Uint8Array): Buffer {
  const frame = emptyFrame(data.length);
  frame.data.set(data);
  return frame.message;
}

/**
 * Messages of whole slots that the transport is done with, to be filled again: new memory for each chunk costs more, in
 * faults of fresh pages and in collections that its size provokes, than all that is done with it.
 */
export class FramePool {
  readonly #free: Frame[] = [];

  /** A message with a copy of the data, and what gives its memory back; null when there is nothing to give back. */
  framed(data: Uint8Array): { readonly message: Buffer; readonly release: (() => void) | null } {
    if (data.length !== SLOT_BYTES) return { message: framed(data), release: null };
    const frame = this.#free.pop() ?? emptyFrame(SLOT_BYTES);
    frame.data.set(data);
    let isReleased = false;
    return {
      message: frame.message,
      release: () => {
        invariant(!isReleased, "a message's memory is given back once");
        isReleased = true;
        if (this.#free.length < FREE_FRAMES_MAX) this.#free.push(frame);
      },
    };
  }
}

/** ReadBlock, whose responses are made by {@link framed}. */
export const readBlockShape: MethodShape<ReadRequest, Uint8Array> = {
  ...BlockWorker.methods.ReadBlock,
  response: { encode: (message) => message, decode: (bytes) => bytes },
};
