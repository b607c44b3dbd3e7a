/**
 * How rows cross into LMDB's binding and back: as few allocations as can be, and a CRC at the end of each value.
 *
 * The binding reads into one buffer of its own and reuses it, so what is handed out is a copy. Its own copies are Buffers,
 * whose `slice` is a view, and whoever asks a small typed array for its ArrayBuffer makes V8 move it out of the heap: 300 ns
 * a row (measured), on both ways. Loops over bytes and a scratch with a known address need neither.
 * @module
 */
import { crc32c } from "../kernels/fallback.ts";

const CRC_BYTES = 4;
/** V8 keeps typed arrays up to this size in its heap: a loop fills them faster than a call. */
const SMALL_BYTES = 64;

/** What the binding takes instead of a value: it writes the bytes from `start` to `end`, and notes the address itself. */
type Scratch = Uint8Array & { start: number; end: number };

function newScratch(sizeBytes: number): Scratch {
  return Object.assign(new Uint8Array(sizeBytes), { start: 0, end: 0 });
}

function copyOf(bytes: Uint8Array, start: number, end: number): Uint8Array {
  if (end - start > SMALL_BYTES) return bytes.slice(start, end);
  const copy = new Uint8Array(end - start);
  for (let at = start; at < end; at++) copy[at - start] = bytes[at] as number; // within it
  return copy;
}

export class RowCodec {
  /** Of the row that was read last. NaN when its value is too short to have one. */
  lastCrc = Number.NaN;
  #scratch = newScratch(4096);
  /** The binding's buffer, and all of it as a plain array: the binding gives its buffer another length for each row. */
  #shared: Uint8Array | null = null;
  #view: Uint8Array = new Uint8Array(0);

  readonly values = {
    /** Whatever is put, it is what was prepared. */
    encode: (): Scratch => this.#scratch,
    decode: (bytes: Uint8Array): Uint8Array => this.#decode(bytes),
  };

  readonly keys = {
    writeKey(key: Uint8Array, target: Uint8Array, start: number): number {
      const { length } = key;
      if (length > SMALL_BYTES) target.set(key, start);
      else for (let at = 0; at < length; at++) target[start + at] = key[at] as number; // within it
      return start + length;
    },
    readKey(source: Uint8Array, start: number, end: number): Uint8Array {
      if (end - start <= SMALL_BYTES) return copyOf(source, start, end);
      return new Uint8Array(source.subarray(start, end));
    },
  };

  /** To be called right before the binding's `put` of the same row. */
  prepare(key: Uint8Array, value: Uint8Array): void {
    const { length } = value;
    if (this.#scratch.length < length + CRC_BYTES) this.#scratch = newScratch(2 * length);
    const scratch = this.#scratch;
    if (length > SMALL_BYTES) scratch.set(value);
    else for (let at = 0; at < length; at++) scratch[at] = value[at] as number; // within it
    const crc = crc32c(value, crc32c(key));
    scratch[length] = crc;
    scratch[length + 1] = crc >>> 8;
    scratch[length + 2] = crc >>> 16;
    scratch[length + 3] = crc >>> 24;
    scratch.end = length + CRC_BYTES;
  }

  #decode(bytes: Uint8Array): Uint8Array {
    const end = bytes.length - CRC_BYTES;
    if (end < 0) {
      this.lastCrc = Number.NaN;
      return new Uint8Array(0);
    }
    if (bytes !== this.#shared) {
      this.#shared = bytes;
      this.#view = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }
    const view = this.#view;
    // `as number`: there are CRC_BYTES from `end` on.
    const low = (view[end] as number) | ((view[end + 1] as number) << 8);
    const high = (view[end + 2] as number) | ((view[end + 3] as number) << 8);
    this.lastCrc = (low | (high << 16)) >>> 0;
    return copyOf(view, 0, end);
  }
}
