/**
 * CRC-32C for the client: in TypeScript until the WebAssembly is there, and where there is none.
 *
 * The kernel's memory is drawn in `asm/crc32c.ts`; each client module owns one, 320 KiB, that never grows.
 * @module
 */
import type { Crc } from "../../src/edge/frame.ts";

const POLYNOMIAL = 0x82f63b78;
const COPY_IN = 0x10000;
/** Each piece has a tail that is summed by tables: 128 KiB cost 7 % more, 64 KiB a fifth. */
const COPY_IN_BYTES = 0x40000;
const PAGES = 5;
const PAGES_MAX = 32768;

let tables: Int32Array | undefined;

/** Eight tables of 256 words: table k is for a byte with k bytes after it. */
function makeTables(): Int32Array {
  const made = new Int32Array(2048);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (POLYNOMIAL & -(crc & 1));
    made[byte] = crc;
  }
  for (let at = 256; at < 2048; at++) {
    const before = made[at - 256] as number; // below `at`
    made[at] = (before >>> 8) ^ (made[before & 255] as number);
  }
  return made;
}

export const crcInTypeScript: Crc = (b, seed = 0) => {
  tables ??= makeTables();
  const t = tables;
  let crc = ~seed;
  let at = 0;
  // `as number`: indexes are below the ends of both.
  for (; at + 8 <= b.length; at += 8)
    crc =
      (t[1792 + ((crc ^ (b[at] as number)) & 255)] as number) ^
      (t[1536 + (((crc >>> 8) ^ (b[at + 1] as number)) & 255)] as number) ^
      (t[1280 + (((crc >>> 16) ^ (b[at + 2] as number)) & 255)] as number) ^
      (t[1024 + ((crc >>> 24) ^ (b[at + 3] as number))] as number) ^
      (t[768 + (b[at + 4] as number)] as number) ^
      (t[512 + (b[at + 5] as number)] as number) ^
      (t[256 + (b[at + 6] as number)] as number) ^
      (t[b[at + 7] as number] as number);
  for (; at < b.length; at++) crc = (t[(crc ^ (b[at] as number)) & 255] as number) ^ (crc >>> 8);
  return ~crc >>> 0;
};

/** The compiled kernel as a checksum. */
export async function crcOfModule(module: WebAssembly.Module): Promise<Crc> {
  const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES_MAX });
  const { exports } = await WebAssembly.instantiate(module, { env: { memory } });
  // What asm/edge.ts exports.
  const kernel = exports as unknown as {
    init(): void;
    crc32c(from: number, length: number, seed: number): number;
  };
  kernel.init();
  const window = new Uint8Array(memory.buffer, COPY_IN, COPY_IN_BYTES);
  return (bytes, seed = 0) => {
    let crc = seed;
    for (let at = 0; at < bytes.length; at += COPY_IN_BYTES) {
      const piece = bytes.subarray(at, at + COPY_IN_BYTES);
      window.set(piece);
      crc = kernel.crc32c(COPY_IN, piece.length, crc);
    }
    return crc >>> 0;
  };
}
