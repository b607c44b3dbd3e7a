/**
 * The kernels in TypeScript: where WebAssembly is switched off, and the oracle of its tests.
 *
 * CRC-32C by sparse elimination, as in `asm/crc32c.ts` (which derives it), on 32-bit words: all but
 * the last 209 words vanish into later ones by five exclusive-ors each; tables finish the rest.
 * Little-endian machines only, which is all that Node has builds for but s390x.
 * @module
 */
import { invariant } from "../common/invariant.ts";
import { CheckedKernels, noMemory, type RawKernels } from "./checked_kernels.ts";
import {
  type Kernels,
  RECORD_CRC_OFFSET,
  RECORD_HEADER_BYTES,
  type RecordScan,
} from "./kernels.ts";

const POLYNOMIAL = 0x82f63b78;
/** The degree of the sparse multiple of the polynomial: words that stay after elimination. */
const HISTORY_WORDS = 209;
const WINDOW_WORDS = 4096;
/** Below it the tables alone are faster than elimination and its 836-byte tail (measured). */
const ELIMINATE_BYTES_MIN = 8192;

/**
 * Work arrays live in closures and not in the module: there V8 takes them for constants and knows
 * their addresses (1.4 times as fast, measured), while a bundler makes variables of a module's constants.
 */
const advanceBytes = byteAdvancer();
const advanceWords = wordAdvancer();

/** Eight tables of 256 words, one after the other: table k is for a byte with k bytes after it. */
function makeTables(): Int32Array {
  const tables = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (POLYNOMIAL & -(crc & 1));
    tables[byte] = crc;
  }
  for (let at = 256; at < tables.length; at++) {
    const before = tables[at - 256] as number;
    tables[at] = (before >>> 8) ^ (tables[before & 0xff] as number);
  }
  return tables;
}

/** Advances the raw (not inverted) register over bytes, by tables. */
function byteAdvancer() {
  const t = makeTables();
  return (b: Uint8Array, start: number, end: number, register: number): number => {
    let crc = register;
    let at = start;
    // `as number`: indexes are below `end`, and tables have 8 x 256 words.
    for (; at + 8 <= end; at += 8) {
      crc =
        (t[1792 + ((crc ^ (b[at] as number)) & 0xff)] as number) ^
        (t[1536 + (((crc >>> 8) ^ (b[at + 1] as number)) & 0xff)] as number) ^
        (t[1280 + (((crc >>> 16) ^ (b[at + 2] as number)) & 0xff)] as number) ^
        (t[1024 + ((crc >>> 24) ^ (b[at + 3] as number))] as number) ^
        (t[768 + (b[at + 4] as number)] as number) ^
        (t[512 + (b[at + 5] as number)] as number) ^
        (t[256 + (b[at + 6] as number)] as number) ^
        (t[b[at + 7] as number] as number);
    }
    for (; at < end; at++) {
      crc = (t[(crc ^ (b[at] as number)) & 0xff] as number) ^ (crc >>> 8);
    }
    return crc;
  };
}

/**
 * Advances the raw register over words: `w[i] = v[i] ^ w[i-65] ^ w[i-155] ^ w[i-170] ^ w[i-195] ^ w[i-209]`.
 * Synchronous, so one set of work arrays serves everybody in this thread.
 */
function wordAdvancer() {
  /** History, then a window of words that are being eliminated, then zeros for the words after it. */
  const w = new Int32Array(HISTORY_WORDS + WINDOW_WORDS + HISTORY_WORDS);
  const tail = new Int32Array(HISTORY_WORDS);
  const tailBytes = new Uint8Array(tail.buffer);
  /** What earlier words leave in word `at`. `as number`: `at` is past the history. */
  const received = (at: number): number =>
    (w[at - 65] as number) ^
    (w[at - 155] as number) ^
    (w[at - 170] as number) ^
    (w[at - 195] as number) ^
    (w[at - 209] as number);
  const eliminate = (words: Int32Array, shift: number, begin: number, end: number) => {
    for (let at = begin; at < end; at++) w[at] = (words[at + shift] as number) ^ received(at);
  };

  return (words: Int32Array, register: number): number => {
    const kept = words.length - HISTORY_WORDS;
    invariant(kept > 0, "elimination leaves its tail");
    w.fill(0, 0, HISTORY_WORDS);
    // The register is part of the first word, in which nothing is before it.
    w[HISTORY_WORDS] = (words[0] as number) ^ register;
    let begin = HISTORY_WORDS + 1;
    let end = begin;
    for (let from = 0; from < kept; from += WINDOW_WORDS) {
      if (from > 0) w.copyWithin(0, end - HISTORY_WORDS, end);
      end = HISTORY_WORDS + Math.min(WINDOW_WORDS, kept - from);
      eliminate(words, from - HISTORY_WORDS, begin, end);
      begin = HISTORY_WORDS;
    }
    w.fill(0, end, end + HISTORY_WORDS);
    for (let at = 0; at < HISTORY_WORDS; at++) {
      tail[at] = (words[kept + at] as number) ^ received(end + at);
    }
    return advanceBytes(tailBytes, 0, tailBytes.length, 0);
  };
}

/** CRC-32C of any bytes. @param seed 0, or the CRC of what came before @returns unsigned 32 bits */
export function crc32c(bytes: Uint8Array, seed = 0): number {
  return crcOfRange(bytes, 0, bytes.length, seed);
}

function crcOfRange(bytes: Uint8Array, start: number, end: number, seed: number): number {
  let register = ~seed;
  if (end - start < ELIMINATE_BYTES_MIN) return ~advanceBytes(bytes, start, end, register) >>> 0;
  const aligned = start + (-(bytes.byteOffset + start) & 3);
  const wordCount = (end - aligned) >>> 2;
  register = advanceBytes(bytes, start, aligned, register);
  register = advanceWords(
    new Int32Array(bytes.buffer, bytes.byteOffset + aligned, wordCount),
    register,
  );
  return ~advanceBytes(bytes, aligned + wordCount * 4, end, register) >>> 0;
}

class FallbackKernels implements RawKernels {
  readonly flavour = "js";
  readonly memory: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  readonly arenaOffset = 0;

  constructor(memory: Uint8Array<ArrayBuffer>) {
    this.memory = memory;
    this.#view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
  }

  get arenaBytes(): number {
    return this.memory.length;
  }

  crc(bytes: Uint8Array, seed: number): number {
    return crc32c(bytes, seed);
  }

  crcInMemory(offsetBytes: number, lengthBytes: number, seed: number): number {
    return crcOfRange(this.memory, offsetBytes, offsetBytes + lengthBytes, seed);
  }

  pageCrcs(offsetBytes: number, lengthBytes: number, pageBytes: number, into: Uint32Array): number {
    const end = offsetBytes + lengthBytes;
    let count = 0;
    for (let at = offsetBytes; at < end; at += pageBytes) {
      into[count++] = crcOfRange(this.memory, at, Math.min(at + pageBytes, end), 0);
    }
    return count;
  }

  scanRecords(
    offsetBytes: number,
    lengthBytes: number,
    recordsMax: number,
    offsetsInto: Uint32Array | undefined,
  ): RecordScan {
    let validBytes = 0;
    let recordCount = 0;
    const stop = (end: RecordScan["end"]): RecordScan => ({ validBytes, recordCount, end });
    while (validBytes < lengthBytes) {
      if (recordCount >= recordsMax) return stop("full");
      const left = lengthBytes - validBytes;
      if (left < RECORD_HEADER_BYTES) return stop("torn");
      const header = offsetBytes + validBytes;
      const payloadBytes = this.#view.getUint32(header, true);
      if (payloadBytes > left - RECORD_HEADER_BYTES) return stop("torn");
      const payload = header + RECORD_HEADER_BYTES;
      const headerCrc = crcOfRange(this.memory, header, header + RECORD_CRC_OFFSET, 0);
      const crc = crcOfRange(this.memory, payload, payload + payloadBytes, headerCrc);
      if (crc !== this.#view.getUint32(header + RECORD_CRC_OFFSET, true)) return stop("damaged");
      if (offsetsInto !== undefined) offsetsInto[recordCount] = validBytes;
      recordCount++;
      validBytes += RECORD_HEADER_BYTES + payloadBytes;
    }
    return stop("complete");
  }
}

/**
 * Kernels without WebAssembly, on memory of their own.
 * @throws RockpoolError RESOURCE_EXHAUSTED when the machine does not give that much memory
 */
export function openFallbackKernels(options: { readonly arenaBytes: number }): Kernels {
  try {
    return new CheckedKernels(new FallbackKernels(new Uint8Array(options.arenaBytes)));
  } catch (cause) {
    const remedy = "Lower the count of I/O slots, or give the process more memory";
    throw noMemory(options.arenaBytes, remedy, cause);
  }
}
