/**
 * Frame parse: headers taken apart and checksums verified in one call, for a message of the edge protocol
 * (`src/edge/frame.ts` draws it) and for a row of frames between masters (`src/journal/peer_frame.ts`).
 * @module
 */
import { crc32c } from "../../../asm/crc32c";

/** Why a message is no frame; 0: it is one. */
const DAMAGED: u32 = 1;
const UNKNOWN: u32 = 2;
const EDGE_HEADER_BYTES: usize = 16;
const TYPE_MAX: u32 = 12;

/** Writes type, flags, id and argument of a frame to `out`, each as a u32. The host has looked at its length. */
export function edgeFrame(from: usize, length: usize, out: usize): u32 {
  const sealed = crc32c(from, 12, 0);
  if (crc32c(from + EDGE_HEADER_BYTES, length - EDGE_HEADER_BYTES, sealed) != load<u32>(from, 12))
    return DAMAGED;
  const type = <u32>load<u8>(from);
  const flags = <u32>load<u8>(from, 1);
  if (type < 1 || type > TYPE_MAX || flags > 1 || load<u16>(from, 2) != 0) return UNKNOWN;
  store<u32>(out, type);
  store<u32>(out, flags, 4);
  store<u32>(out, load<u32>(from, 4), 8);
  store<u32>(out, load<u32>(from, 8), 12);
  return 0;
}

const PEER_HEADER_BYTES: usize = 20;
const PEER_VERSION: u32 = 3;

/**
 * Walks whole frames, and writes of each the offset and length of its body and its type to `out`, from the third u32 on. The
 * first two: their count, and 1 when it stopped at a frame that is wrong. Returns the bytes of the good ones.
 */
export function peerFrames(
  from: usize,
  length: usize,
  bytesMax: u32,
  sequence: u64,
  out: usize,
  countMax: u32,
): usize {
  let at: usize = 0;
  let count: u32 = 0;
  let isWrong: u32 = 0;
  let to = out + 8;
  while (count < countMax && length - at >= PEER_HEADER_BYTES) {
    const header = from + at;
    const bodyBytes = load<u32>(header);
    if (<u64>bodyBytes + PEER_HEADER_BYTES > bytesMax) {
      isWrong = 1;
      break;
    }
    if (length - at - PEER_HEADER_BYTES < bodyBytes) break;
    const crc = crc32c(header + PEER_HEADER_BYTES, bodyBytes, crc32c(header, 16, 0));
    const isRight =
      crc == load<u32>(header, 16) &&
      load<u8>(header, 5) == PEER_VERSION &&
      load<u16>(header, 6) == 0 &&
      load<u64>(header, 8) == sequence + count + 1;
    if (!isRight) {
      isWrong = 1;
      break;
    }
    store<u32>(to, <u32>(at + PEER_HEADER_BYTES));
    store<u32>(to, bodyBytes, 4);
    store<u32>(to, <u32>load<u8>(header, 4), 8);
    to += 12;
    count++;
    at += PEER_HEADER_BYTES + bodyBytes;
  }
  store<u32>(out, count);
  store<u32>(out, isWrong, 4);
  return at;
}
