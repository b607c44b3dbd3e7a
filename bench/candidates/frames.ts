/**
 * Frame parse: the candidates' hosts, their twin in TypeScript, and frames to try them on.
 * @module
 */

import type { MemberId } from "../../src/common/ids.ts";
import { HEADER_BYTES } from "../../src/edge/frame.ts";
import {
  encodeFrame as encodePeerFrame,
  FRAME_HEADER_BYTES,
} from "../../src/journal/peer_frame.ts";
import type { Crc32c } from "../../src/journal/record.ts";
import type { Candidates } from "./wasm.ts";

const PEER_VERSION = 3;

/** What of a frame between masters both find: offset and length of the body, and type. */
const WORDS_PER_FRAME = 3;
export type PeerFrames = { readonly count: number; readonly words: Uint32Array };

/** As small frames come when masters have much to say: heartbeats, acknowledgements, and now and then a ping. */
export function peerChunk(count: number, crc32c: Crc32c): Uint8Array {
  const envelope = { from: 1n as MemberId, to: 2n as MemberId, term: 3 }; // the brand only keeps kinds of ids apart
  const frames = Array.from({ length: count }, (_, at) => {
    if (at % 32 === 0) return encodePeerFrame({ kind: "ping" }, at + 1, crc32c);
    const message =
      at % 2 === 0
        ? ({
            ...envelope,
            kind: "heartbeat",
            commitIndex: 1_000_000 + at,
            readContext: at,
          } as const)
        : ({ ...envelope, kind: "appendAccepted", matchIndex: 1_000_000 + at } as const);
    return encodePeerFrame({ kind: "message", message }, at + 1, crc32c);
  });
  return new Uint8Array(Buffer.concat(frames));
}

/** A row of frames as the kernel walks it, with one view for all. @returns what `words` holds from its start on */
export function parsePeerFrames(
  chunk: Uint8Array,
  bytesMax: number,
  crc32c: Crc32c,
  words: Uint32Array,
): PeerFrames {
  const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  let count = 0;
  for (let at = 0; chunk.length - at >= FRAME_HEADER_BYTES; ) {
    const bodyBytes = view.getUint32(at, true);
    if (bodyBytes + FRAME_HEADER_BYTES > bytesMax) throw new Error("A frame is too long");
    const body = at + FRAME_HEADER_BYTES;
    if (chunk.length - body < bodyBytes) break;
    const crc = crc32c(chunk.subarray(body, body + bodyBytes), crc32c(chunk.subarray(at, at + 16)));
    const isRight =
      crc === view.getUint32(at + 16, true) &&
      view.getUint8(at + 5) === PEER_VERSION &&
      view.getUint16(at + 6, true) === 0 &&
      // Of a connection of fewer than 2^53 frames.
      view.getUint32(at + 8, true) + view.getUint32(at + 12, true) * 2 ** 32 === count + 1;
    if (!isRight) throw new Error("A frame is wrong");
    words[WORDS_PER_FRAME * count] = body;
    words[WORDS_PER_FRAME * count + 1] = bodyBytes;
    words[WORDS_PER_FRAME * count + 2] = view.getUint8(at + 4);
    count++;
    at = body + bodyBytes;
  }
  return { count, words };
}

/** @returns the same by the kernel: the chunk is copied in, walked in one call, and what was found is read in place */
export function peerFrameKernel({ exports, memory, arenaOffset }: Candidates, countMax: number) {
  const outBytes = 8 + 4 * WORDS_PER_FRAME * countMax;
  const out = arenaOffset;
  const input = arenaOffset + Math.ceil(outBytes / 64) * 64;
  const head = new Uint32Array(memory.buffer, out, 2);
  const words = new Uint32Array(memory.buffer, out + 8, WORDS_PER_FRAME * countMax);
  return (chunk: Uint8Array, bytesMax: number): PeerFrames => {
    memory.set(chunk, input);
    exports.peerFrames(input, chunk.length, bytesMax, 0n, out, countMax);
    if (head[1] !== 0) throw new Error("A frame is wrong");
    return { count: head[0] as number, words }; // there are two
  };
}

export type EdgeHeader = {
  readonly type: number;
  readonly isLast: boolean;
  readonly id: number;
  readonly argument: number;
  readonly payload: Uint8Array;
};

/** `decodeFrame` of the edge protocol by the kernel: one copy and one call for header and payload. */
export function edgeFrameKernel({ exports, memory, arenaOffset }: Candidates) {
  const out = new Uint32Array(memory.buffer, arenaOffset, 4);
  const input = arenaOffset + 64;
  return (message: Uint8Array): EdgeHeader | null => {
    memory.set(message, input);
    if (exports.edgeFrame(input, message.length, arenaOffset) !== 0) return null;
    return {
      // `as number`: there are four.
      type: out[0] as number,
      isLast: out[1] === 1,
      id: out[2] as number,
      argument: out[3] as number,
      payload: message.subarray(HEADER_BYTES),
    };
  };
}
