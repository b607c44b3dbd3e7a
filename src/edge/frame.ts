/**
 * Frames of the edge protocol: what gateway and client exchange, one to a WebSocket message (docs/EDGE.md).
 *
 * Pure, and of web types alone, since it runs in every runtime. Little-endian:
 *
 *     offset  size  what
 *     0       1     type, one of {@link FRAME}
 *     1       1     flags: 1 the last frame of its request in this direction
 *     2       2     zero
 *     4       4     request id; 0: of the connection
 *     8       4     argument: bytes of credit (REQUEST, CREDIT), low 32 bits of the offset in the file (DATA), else 0
 *     12      4     CRC-32C of bytes 0..11 followed by the payload
 *     16            payload
 *
 * So the checksum of a frame is that of its header continued over its payload, and follows from the payload's stored one
 * without touching the bytes (`src/kernels/crc_combine.ts`). What is damaged anywhere is not taken for a frame.
 * @module
 */

export const PROTOCOL_VERSION = 1;
/** What both name in `Sec-WebSocket-Protocol`. */
export const SUBPROTOCOL = "rockpool.v1";
export const HEADER_BYTES = 16;
/** Header bytes that the checksum covers before the payload. */
export const SEALED_HEADER_BYTES = 12;
/** Longest payload of DATA; nothing is longer. */
export const PAYLOAD_BYTES_MAX = 1024 * 1024;
export const LAST = 1;

/** Never renumbered. */
export const FRAME = {
  hello: 1,
  welcome: 2,
  request: 3,
  reply: 4,
  data: 5,
  credit: 6,
  cancel: 7,
  error: 8,
  ping: 9,
  pong: 10,
  event: 11,
  moved: 12,
} as const;
export const TYPE_MAX = 12;

/** Why a socket is closed, for people: what is to be done is said by frames. */
export const CLOSE = {
  /** Bytes that are no frame, or a frame where it has no meaning. */
  protocol: 4400,
  unauthenticated: 4401,
  /** This master does not lead. */
  moved: 4301,
  /** What was sent was not taken for too long, or no HELLO came. */
  timeout: 4408,
  limit: 4429,
} as const;

export type Frame = {
  readonly type: number;
  readonly isLast: boolean;
  readonly id: number;
  readonly argument: number;
  /** A view of the message. */
  readonly payload: Uint8Array;
};

/** CRC-32C. @param seed 0, or the CRC of what came before */
export type Crc = (bytes: Uint8Array, seed?: number) => number;

export type FrameHeader = {
  readonly type: number;
  readonly isLast?: boolean;
  readonly id?: number;
  readonly argument?: number;
};

/** A message with room for the payload: all but its checksum and payload are set. */
export function emptyFrame(header: FrameHeader, payloadBytes: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER_BYTES + payloadBytes);
  const view = new DataView(bytes.buffer);
  bytes[0] = header.type;
  bytes[1] = header.isLast ? LAST : 0;
  view.setUint32(4, header.id ?? 0, true);
  view.setUint32(8, header.argument ?? 0, true);
  return bytes;
}

/** A whole frame with a copy of the payload. */
export function encodeFrame(
  header: FrameHeader,
  payload: Uint8Array,
  crc: Crc,
): Uint8Array<ArrayBuffer> {
  const bytes = emptyFrame(header, payload.length);
  bytes.set(payload, HEADER_BYTES);
  new DataView(bytes.buffer).setUint32(SEALED_HEADER_BYTES, frameCrc(bytes, crc), true);
  return bytes;
}

/** The checksum that a frame should have. */
function frameCrc(bytes: Uint8Array, crc: Crc): number {
  return crc(bytes.subarray(HEADER_BYTES), crc(bytes.subarray(0, SEALED_HEADER_BYTES)));
}

/** @returns what is wrong with the bytes as text when they are no frame */
export function decodeFrame(bytes: Uint8Array, crc: Crc): Frame | string {
  if (bytes.length < HEADER_BYTES) return "too short";
  if (bytes.length > HEADER_BYTES + PAYLOAD_BYTES_MAX) return "too long";
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  if (view.getUint32(SEALED_HEADER_BYTES, true) !== frameCrc(bytes, crc)) return "damaged";
  const type = bytes[0] as number; // there are 16 bytes
  const flags = bytes[1] as number; // as above
  if (type < 1 || type > TYPE_MAX || flags > LAST || view.getUint16(2, true) !== 0)
    return "unknown";
  return {
    type,
    isLast: flags === LAST,
    id: view.getUint32(4, true),
    argument: view.getUint32(8, true),
    payload: bytes.subarray(HEADER_BYTES),
  };
}
