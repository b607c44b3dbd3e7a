/**
 * What masters say to each other on the journal port: frames over TCP.
 *
 * Little-endian:
 * ```
 *  0 u32 body length   4 u8 type   5 u8 version (3)   6 u16 flags (0)
 *  8 u64 sequence: 1 for the first frame of a connection and direction, then one more each
 * 16 u32 CRC-32C of bytes 0..16 and of the body
 * 20 body
 * ```
 * | type | body | who |
 * |---|---|---|
 * | 1 hello | {@link Hello} | first frame of the side that dialled |
 * | 2 answer | {@link HelloAnswer} | the other side: messages may follow, or, with a refusal, the connection is closed |
 * | 3 message | one message of Raft | dialling side |
 * | 4 ping, 5 pong | empty | dialling side, and its answer |
 * | 6 fetch | {@link Fetch} | dialling side of a connection for checkpoints, one at a time |
 * | 7 chunk | {@link Chunk} | its answer |
 *
 * A connection carries messages one way: each member dials each other one. Bodies are coded with common/codec. A frame
 * that is malformed, too long, or out of turn ends the connection: bytes that once were wrong are not trusted again.
 * @module
 */
import { DecodeError } from "../common/bytes.ts";
import {
  bool,
  branded,
  bytes,
  type Codec,
  decode,
  encode,
  list,
  nullable,
  oneOf,
  struct,
  text,
  u64,
  uint,
  union,
  type ValueOf,
} from "../common/codec.ts";
import type { MemberId } from "../common/ids.ts";
import { ENTRY_BYTES_MAX } from "../common/limits.ts";
import { decodeMembership, encodeMembership } from "../raft/membership.ts";
import type { Entry, Membership, Message } from "../raft/messages.ts";
import { type Greeting, REFUSAL_REASONS } from "./peer_transport.ts";
import type { Crc32c } from "./record.ts";

export const FRAME_HEADER_BYTES = 20;
const FRAME_VERSION = 3;
export const PROTOCOL_VERSION = 3;
/** An append of the largest size plus one entry of the largest size, and their framing. */
export const FRAME_BYTES_MAX = 4 * ENTRY_BYTES_MAX;
/** Before a peer has said who it is it gets no memory but for the addresses in its greeting. */
export const HELLO_BYTES_MAX = 16 * 1024;

export const FRAME_TYPES = {
  hello: 1,
  answer: 2,
  message: 3,
  ping: 4,
  pong: 5,
  fetch: 6,
  chunk: 7,
} as const;

const memberId = branded<MemberId, bigint>(u64);

const GREETING: Codec<Greeting> = struct({
  standing: oneOf("undecided", "founder", "joiner"),
  id: memberId,
  address: text,
  incarnation: u64,
  groupId: u64,
  isBorn: bool,
  memberAsOf: nullable(uint),
  namesAsOf: nullable(uint),
  founders: list(text),
});

export const HELLO = struct({
  protocolVersion: uint,
  purpose: oneOf("messages", "checkpoint"),
  /** 0: whoever is at that address. */
  to: memberId,
  greeting: GREETING,
});
export type Hello = ValueOf<typeof HELLO>;

export const HELLO_ANSWER = struct({
  protocolVersion: uint,
  greeting: GREETING,
  refusal: nullable(struct({ reason: oneOf(...REFUSAL_REASONS), explanation: text })),
  knownAs: oneOf("same", "other", "nobody"),
});
export type HelloAnswer = ValueOf<typeof HELLO_ANSWER>;

export const FETCH = struct({ index: uint, term: uint, offsetBytes: uint, lengthBytes: uint });
export type Fetch = ValueOf<typeof FETCH>;

/** Null: there is no such checkpoint. */
export const CHUNK = nullable(struct({ totalBytes: uint, bytes }));
export type Chunk = ValueOf<typeof CHUNK>;

const MEMBERSHIP: Codec<Membership> = {
  write: (w, membership) => w.bytes(encodeMembership(membership)),
  read: (r) => decodeMembership(r.bytes()),
};

const envelope = { from: memberId, to: memberId, term: uint };
const ENTRY_KINDS = [
  "noop",
  "command",
  "config",
  "commands",
] as const satisfies readonly Entry["kind"][];

/**
 * By hand, since there are thousands in a frame: index, term, position of the kind, payload. A payload is a view of the
 * frame's bytes, which the reader of frames made for nobody else.
 */
const ENTRY: Codec<Entry> = {
  write(w, { index, term, kind, payload }) {
    w.varint(index);
    w.varint(term);
    w.u8(ENTRY_KINDS.indexOf(kind));
    w.bytes(payload);
  },
  read(r) {
    const index = r.varint();
    const term = r.varint();
    const at = r.u8();
    const kind = ENTRY_KINDS[at];
    if (kind === undefined) throw new DecodeError(`No kind of entry at ${at}`);
    return { index, term, kind, payload: r.bytes() };
  },
};
const voteRequest = { ...envelope, lastLogIndex: uint, lastLogTerm: uint, isTransfer: bool };
const voteResponse = {
  ...envelope,
  isGranted: bool,
  committed: struct({ index: uint, term: uint }),
};

/** Tags are never renumbered or reused. */
export const MESSAGE: Codec<Message> = union({
  requestVote: [1, struct(voteRequest)],
  requestPreVote: [2, struct(voteRequest)],
  voteResponse: [3, struct(voteResponse)],
  preVoteResponse: [4, struct(voteResponse)],
  appendEntries: [
    5,
    struct({
      ...envelope,
      prevLogIndex: uint,
      prevLogTerm: uint,
      entries: list(ENTRY),
      leaderCommit: uint,
    }),
  ],
  appendAccepted: [6, struct({ ...envelope, matchIndex: uint })],
  appendRejected: [
    7,
    struct({
      ...envelope,
      rejectedIndex: uint,
      hintIndex: uint,
      hintTerm: uint,
      isRepairing: bool,
    }),
  ],
  heartbeat: [8, struct({ ...envelope, commitIndex: uint, readContext: uint })],
  heartbeatResponse: [9, struct({ ...envelope, readContext: uint })],
  timeoutNow: [10, struct(envelope)],
  snapshot: [
    11,
    struct({ ...envelope, snapshot: struct({ index: uint, term: uint, membership: MEMBERSHIP }) }),
  ],
});

export type Frame =
  | { readonly kind: "hello"; readonly hello: Hello }
  | { readonly kind: "answer"; readonly answer: HelloAnswer }
  | { readonly kind: "message"; readonly message: Message }
  | { readonly kind: "ping" }
  | { readonly kind: "pong" }
  | { readonly kind: "fetch"; readonly fetch: Fetch }
  | { readonly kind: "chunk"; readonly chunk: Chunk };

const EMPTY = new Uint8Array(0);

/** More than index, term, kind and length of an entry, and the envelope, take. */
const ENTRY_OVERHEAD_BYTES = 24;
const ENVELOPE_BYTES = 128;

function capacityFor(message: Message): number {
  let bytes = ENVELOPE_BYTES;
  if (message.kind === "appendEntries")
    for (const { payload } of message.entries) bytes += payload.length + ENTRY_OVERHEAD_BYTES;
  return bytes;
}

function bodyOf(frame: Frame): Uint8Array {
  switch (frame.kind) {
    case "hello":
      return encode(HELLO, frame.hello);
    case "answer":
      return encode(HELLO_ANSWER, frame.answer);
    case "message":
      return encode(MESSAGE, frame.message, capacityFor(frame.message));
    case "ping":
    case "pong":
      return EMPTY;
    case "fetch":
      return encode(FETCH, frame.fetch);
    case "chunk":
      return encode(CHUNK, frame.chunk);
  }
}

function frameOf(type: number, body: Uint8Array): Frame {
  switch (type) {
    case FRAME_TYPES.hello:
      return { kind: "hello", hello: decode(HELLO, body) };
    case FRAME_TYPES.answer:
      return { kind: "answer", answer: decode(HELLO_ANSWER, body) };
    case FRAME_TYPES.message:
      return { kind: "message", message: decode(MESSAGE, body) };
    case FRAME_TYPES.ping:
      return { kind: "ping" };
    case FRAME_TYPES.pong:
      return { kind: "pong" };
    case FRAME_TYPES.fetch:
      return { kind: "fetch", fetch: decode(FETCH, body) };
    case FRAME_TYPES.chunk:
      return { kind: "chunk", chunk: decode(CHUNK, body) };
    default:
      throw new DecodeError(`No frame has type ${type}`);
  }
}

/** @param sequence 1 for the first frame sent on a connection, then one more each */
export function encodeFrame(frame: Frame, sequence: number, crc32c: Crc32c): Uint8Array {
  const body = bodyOf(frame);
  const out = new Uint8Array(FRAME_HEADER_BYTES + body.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, body.length, true);
  view.setUint8(4, FRAME_TYPES[frame.kind]);
  view.setUint8(5, FRAME_VERSION);
  view.setBigUint64(8, BigInt(sequence), true);
  out.set(body, FRAME_HEADER_BYTES);
  view.setUint32(16, crc32c(body, crc32c(out.subarray(0, 16))), true);
  return out;
}

/** The same bytes, but no Buffer: its `slice` does not copy, and what is decoded must not hold on to a chunk. */
function plain(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Takes a stream apart into frames, however it was cut. */
export class FrameReader {
  readonly #crc32c: Crc32c;
  #bytesMax: number;
  #sequence = 0;
  #chunks: Uint8Array[] = [];
  #bufferedBytes = 0;
  #neededBytes = FRAME_HEADER_BYTES;

  constructor(crc32c: Crc32c, bytesMax: number) {
    this.#crc32c = crc32c;
    this.#bytesMax = bytesMax;
  }

  /** Once the peer is known. */
  allow(bytesMax: number): void {
    this.#bytesMax = bytesMax;
  }

  /**
   * Frames that `chunk` completes.
   * @throws DecodeError when the stream is not one of frames; the reader is of no use then
   */
  *push(chunk: Uint8Array): Generator<Frame> {
    this.#chunks.push(plain(chunk));
    this.#bufferedBytes += chunk.length;
    while (this.#bufferedBytes >= this.#neededBytes) {
      // Joined only when a frame is complete, so a large one is copied once and not with every chunk.
      const joined = this.#join();
      const bodyBytes = this.#lengthOf(joined);
      const end = FRAME_HEADER_BYTES + bodyBytes;
      if (joined.length < end) {
        this.#neededBytes = end;
        continue;
      }
      this.#neededBytes = FRAME_HEADER_BYTES;
      this.#chunks = joined.length > end ? [joined.subarray(end)] : [];
      this.#bufferedBytes = joined.length - end;
      yield this.#decode(joined.subarray(0, end));
    }
  }

  #join(): Uint8Array {
    const [only] = this.#chunks;
    const joined = this.#chunks.length === 1 && only ? only : plain(Buffer.concat(this.#chunks));
    this.#chunks = [joined];
    return joined;
  }

  #lengthOf(bytes: Uint8Array): number {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const bodyBytes = view.getUint32(0, true);
    if (bodyBytes + FRAME_HEADER_BYTES > this.#bytesMax)
      throw new DecodeError(`A frame claims ${bodyBytes} B; ${this.#bytesMax} B are the most`);
    return bodyBytes;
  }

  #decode(bytes: Uint8Array): Frame {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const body = bytes.subarray(FRAME_HEADER_BYTES);
    const crc = this.#crc32c(body, this.#crc32c(bytes.subarray(0, 16)));
    if (view.getUint32(16, true) !== crc)
      throw new DecodeError("The CRC-32C of a frame does not match");
    if (view.getUint8(5) !== FRAME_VERSION || view.getUint16(6, true) !== 0)
      throw new DecodeError(`A frame has version ${view.getUint8(5)}`);
    this.#sequence += 1;
    if (view.getBigUint64(8, true) !== BigInt(this.#sequence))
      throw new DecodeError(`Frame ${this.#sequence} has another sequence number`);
    const type = view.getUint8(4);
    // Entries stay in memory: one copy for all of them, and no hold on the chunks that the socket gave.
    return frameOf(type, type === FRAME_TYPES.message ? body.slice() : body);
  }
}
