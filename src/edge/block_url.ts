/**
 * URLs by which a block is read from a worker for a while, without a token: who has one may read that block.
 *
 *     /edge/block/<block id>?expires=<ms since 1970>&signature=<base64url of HMAC-SHA256 of "<block id> <expires>">
 *
 * With `&sums=1` the body is a row of stretches with their checksums, little-endian:
 *
 *     offset  size  what
 *     0       4     n, 1 to 1 MiB
 *     4       4     CRC-32C of the n bytes
 *     8       n     bytes
 * @module
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import type { EdgeChunk, Sum } from "./ports.ts";

export const BLOCK_PATH = "/edge/block/";
export const STRETCH_HEADER_BYTES = 8;
const STRETCH_BYTES_MAX = 1024 * 1024;
const CHUNK_BYTES = 256 * 1024;

function signatureOf(blockId: bigint, expiresMs: number, secret: Uint8Array): Buffer {
  // Another use of the secret (tokens) signs texts that never look so.
  return createHmac("sha256", secret).update(`block ${blockId} ${expiresMs}`).digest();
}

export function blockUrlPath(blockId: bigint, expiresMs: number, secret: Uint8Array): string {
  const signature = signatureOf(blockId, expiresMs, secret).toString("base64url");
  return `${BLOCK_PATH}${blockId}?expires=${expiresMs}&signature=${signature}`;
}

/** The block that a path and query allow to read; null when they allow none. */
export function allowedBlock(
  path: string,
  query: URLSearchParams,
  secret: Uint8Array,
  nowMs: number,
): bigint | null {
  const id = path.slice(BLOCK_PATH.length);
  const expiresMs = Number(query.get("expires") ?? "");
  if (!/^\d{1,19}$/.test(id) || !Number.isSafeInteger(expiresMs) || expiresMs <= nowMs) return null;
  const given = Buffer.from(query.get("signature") ?? "", "base64url");
  const wanted = signatureOf(BigInt(id), expiresMs, secret);
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) return null;
  return BigInt(id);
}

/** Bytes as stretches, one for each sum: the only copy that is made of them. */
export function stretchesOf(piece: {
  readonly bytes: Uint8Array;
  readonly sums: readonly Sum[];
}): Buffer {
  const { bytes, sums } = piece;
  const into = Buffer.allocUnsafe(bytes.length + STRETCH_HEADER_BYTES * sums.length);
  let from = 0;
  let to = 0;
  for (const { lengthBytes, crc } of sums) {
    into.writeUInt32LE(lengthBytes, to);
    into.writeUInt32LE(crc, to + 4);
    into.set(bytes.subarray(from, from + lengthBytes), to + STRETCH_HEADER_BYTES);
    from += lengthBytes;
    to += STRETCH_HEADER_BYTES + lengthBytes;
  }
  return into;
}

/** What the stretches of a range of a block take, in pages. */
export function stretchedBytes(startBytes: number, endBytes: number, pageBytes: number): number {
  const pages = Math.ceil(endBytes / pageBytes) - Math.floor(startBytes / pageBytes);
  return endBytes - startBytes + STRETCH_HEADER_BYTES * pages;
}

/** Whole stretches out of what arrives in pieces of any size, as many together as make a good frame. @throws Error when it is none */
export class StretchParser {
  readonly #header = Buffer.alloc(STRETCH_HEADER_BYTES);
  #headerBytes = 0;
  #target = Buffer.alloc(0);
  #sums: Sum[] = [];
  /** Of whole stretches in the target. */
  #wholeBytes = 0;
  /** Of the stretch that is coming in; 0 between two. */
  #lengthBytes = 0;
  #arrivedBytes = 0;

  *push(piece: Buffer): Generator<EdgeChunk> {
    for (let at = 0; at < piece.length; ) {
      if (this.#lengthBytes === 0) {
        const count = Math.min(STRETCH_HEADER_BYTES - this.#headerBytes, piece.length - at);
        piece.copy(this.#header, this.#headerBytes, at, at + count);
        this.#headerBytes += count;
        at += count;
        if (this.#headerBytes < STRETCH_HEADER_BYTES) return;
        yield* this.#begin(this.#header.readUInt32LE(0));
      }
      const count = Math.min(this.#lengthBytes - this.#arrivedBytes, piece.length - at);
      piece.copy(this.#target, this.#wholeBytes + this.#arrivedBytes, at, at + count);
      this.#arrivedBytes += count;
      at += count;
      if (this.#arrivedBytes < this.#lengthBytes) return;
      this.#sums.push({ lengthBytes: this.#lengthBytes, crc: this.#header.readUInt32LE(4) });
      this.#wholeBytes += this.#lengthBytes;
      this.#lengthBytes = this.#headerBytes = this.#arrivedBytes = 0;
    }
  }

  /** What is whole and was not given yet. */
  *flush(): Generator<EdgeChunk> {
    if (this.#wholeBytes === 0) return;
    const chunk = { bytes: this.#target.subarray(0, this.#wholeBytes), sums: this.#sums };
    this.#target = Buffer.alloc(0);
    this.#sums = [];
    this.#wholeBytes = 0;
    yield chunk;
  }

  *#begin(lengthBytes: number): Generator<EdgeChunk> {
    if (lengthBytes === 0 || lengthBytes > STRETCH_BYTES_MAX)
      throw new Error(`a stretch of ${lengthBytes} bytes`);
    if (this.#wholeBytes + lengthBytes > this.#target.length) {
      yield* this.flush();
      this.#target = Buffer.allocUnsafeSlow(Math.max(CHUNK_BYTES, lengthBytes));
    }
    this.#lengthBytes = lengthBytes;
  }
}
