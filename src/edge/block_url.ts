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

/** Bytes as stretches, each page of the block by itself. */
export function stretchesOf({ bytes, sums }: { bytes: Buffer; sums: readonly Sum[] }): Buffer[] {
  const pieces: Buffer[] = [];
  let at = 0;
  for (const { lengthBytes, crc } of sums) {
    const header = Buffer.allocUnsafe(STRETCH_HEADER_BYTES);
    header.writeUInt32LE(lengthBytes, 0);
    header.writeUInt32LE(crc, 4);
    pieces.push(header, bytes.subarray(at, at + lengthBytes));
    at += lengthBytes;
  }
  return pieces;
}

/** Stretches out of what arrives in pieces of any size. @throws Error when it is none */
export class StretchParser {
  readonly #header = Buffer.alloc(STRETCH_HEADER_BYTES);
  #headerBytes = 0;
  #body: Buffer | null = null;
  #bodyBytes = 0;

  /** Whether a stretch has begun and not ended. */
  get isInside(): boolean {
    return this.#headerBytes > 0;
  }

  *push(piece: Buffer): Generator<EdgeChunk> {
    for (let at = 0; at < piece.length; ) {
      if (this.#body === null) {
        const count = Math.min(STRETCH_HEADER_BYTES - this.#headerBytes, piece.length - at);
        piece.copy(this.#header, this.#headerBytes, at, at + count);
        this.#headerBytes += count;
        at += count;
        if (this.#headerBytes < STRETCH_HEADER_BYTES) return;
        const lengthBytes = this.#header.readUInt32LE(0);
        if (lengthBytes === 0 || lengthBytes > STRETCH_BYTES_MAX)
          throw new Error(`A stretch of ${lengthBytes} bytes`);
        this.#body = Buffer.allocUnsafe(lengthBytes);
        this.#bodyBytes = 0;
      }
      const body = this.#body;
      const count = Math.min(body.length - this.#bodyBytes, piece.length - at);
      piece.copy(body, this.#bodyBytes, at, at + count);
      this.#bodyBytes += count;
      at += count;
      if (this.#bodyBytes < body.length) return;
      yield {
        bytes: body,
        sums: [{ lengthBytes: body.length, crc: this.#header.readUInt32LE(4) }],
      };
      this.#body = null;
      this.#headerBytes = 0;
    }
  }
}
