/**
 * The messages of a WriteBlock stream as our clients send them and our workers take them.
 *
 * Alluxio's rule is that a half-close commits the write. It is unsafe for clients on Node, whose HTTP/2 half-closes a stream
 * before it resets it: a write that was given up can be taken for a finished one. So our clients announce with the
 * first message that they commit explicitly, and name the length that they commit with the last one. Clients that
 * announce nothing (Alluxio's, whose gRPC resets at once) are served by Alluxio's rule.
 *
 *     first   WriteRequest.command, is_commit_explicit
 *     then    WriteRequest.chunk or .command, as in Alluxio
 *     last    commit_length alone, then the half-close
 * @module
 */
import {
  BlockWorker,
  WriteRequest,
  type WriteRequestInit,
  type WriteResponse,
  type WriteResponseInit,
} from "../proto/gen/block_worker.ts";
import { WriteRequestExtra, type WriteRequestExtraInit } from "../proto/gen/rockpool_internal.ts";
import type { MethodShape } from "./service.ts";

export type WriteMessage = WriteRequest & WriteRequestExtra;
export type WriteMessageInit = WriteRequestInit & WriteRequestExtraInit;

/** A chunk's message, made with one copy: 12 <length> 0A <length of the bytes> <bytes>. */
function encodeChunk(bytes: Uint8Array): Uint8Array {
  const inner = varintBytes(bytes.length);
  const outer = varintBytes(1 + inner.length + bytes.length);
  const message = Buffer.allocUnsafeSlow(2 + outer.length + inner.length + bytes.length);
  message.set([0x12, ...outer, 0x0a, ...inner]);
  message.set(bytes, message.length - bytes.length);
  return message;
}

function varintBytes(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  bytes.push(rest);
  return bytes;
}

function encode(message: WriteMessageInit): Uint8Array {
  if (message.chunk?.data !== undefined) return encodeChunk(message.chunk.data);
  // Fields of one message, one after the other.
  return Buffer.concat([WriteRequest.encode(message), WriteRequestExtra.encode(message)]);
}

function decode(bytes: Uint8Array): WriteMessage {
  const message = WriteRequest.decode(bytes);
  // Chunks are many, and carry nothing else.
  return message.chunk === undefined
    ? { ...message, ...WriteRequestExtra.decode(bytes) }
    : { ...message, isCommitExplicit: undefined, commitLength: undefined };
}

export const writeBlockShape: MethodShape<
  WriteMessage,
  WriteResponse,
  WriteMessageInit,
  WriteResponseInit
> = { ...BlockWorker.methods.WriteBlock, request: { encode, decode } };
