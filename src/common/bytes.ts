/**
 * Bytes in and out: the primitives that every format of ours (journal commands, rows, peer frames)
 * is made of.
 *
 * Integers are LEB128 varints unless said otherwise, `u64` of up to 10 bytes; signed ones are
 * zigzag. Text and byte strings are a varint length and the bytes. Fixed-width integers are
 * little-endian, but for `orderedU64`, which is big-endian so that keys sort by number.
 * A reader never reads past its end: malformed input is a {@link DecodeError}.
 * @module
 */
import { invariant } from "./invariant.ts";

/** Input that is not of the format. Callers turn it into what it means to them: damage, or a bad peer. */
export class DecodeError extends Error {
  override readonly name = "DecodeError";
}

/**
 * Where fixed-width numbers are put together. A DataView on each input would do it too, but to ask a small typed array for its
 * ArrayBuffer makes V8 move it out of the heap: 300 ns (measured).
 */
const word = new DataView(new ArrayBuffer(8));
const wordBytes = new Uint8Array(word.buffer);

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Grows as needed; `take` hands the bytes over and starts anew. */
export class ByteWriter {
  #bytes: Uint8Array;
  #length = 0;

  constructor(capacityBytes = 256) {
    this.#bytes = new Uint8Array(capacityBytes);
  }

  get lengthBytes(): number {
    return this.#length;
  }

  #reserve(bytes: number): number {
    const at = this.#length;
    const needed = at + bytes;
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(0, at));
      this.#bytes = grown;
    }
    this.#length = needed;
    return at;
  }

  u8(value: number): void {
    const at = this.#reserve(1);
    this.#bytes[at] = value;
  }

  /** Appends the first bytes of `word`. */
  #word(lengthBytes: number): void {
    const at = this.#reserve(lengthBytes);
    for (let i = 0; i < lengthBytes; i++) this.#bytes[at + i] = wordBytes[i] as number; // within it
  }

  u32(value: number): void {
    word.setUint32(0, value, true);
    this.#word(4);
  }

  /** 8 bytes, big-endian: for keys. */
  orderedU64(value: bigint): void {
    word.setBigUint64(0, value);
    this.#word(8);
  }

  f64(value: number): void {
    word.setFloat64(0, value, true);
    this.#word(8);
  }

  /** A non-negative safe integer. */
  varint(value: number): void {
    // What is written otherwise, no reader takes: in a journal it would stop every master for good.
    invariant(value >= 0 && value <= Number.MAX_SAFE_INTEGER, "a varint is below 2^53");
    let rest = value;
    while (rest >= 0x80) {
      this.u8((rest % 128) | 0x80);
      rest = Math.floor(rest / 128);
    }
    this.u8(rest);
  }

  /** An integer of either sign, of magnitude below 2^52 (its double must be exact). */
  zigzag(value: number): void {
    this.varint(value >= 0 ? value * 2 : -value * 2 - 1);
  }

  /** Any 64-bit pattern; negative bigints are written as their two's complement. */
  u64(value: bigint): void {
    let rest = BigInt.asUintN(64, value);
    while (rest >= 0x80n) {
      this.u8(Number(rest & 0x7fn) | 0x80);
      rest >>= 7n;
    }
    this.u8(Number(rest));
  }

  bool(value: boolean): void {
    this.u8(value ? 1 : 0);
  }

  bytes(value: Uint8Array): void {
    this.varint(value.length);
    this.raw(value);
  }

  /** Bytes without a length. */
  raw(value: Uint8Array): void {
    const at = this.#reserve(value.length);
    this.#bytes.set(value, at);
  }

  text(value: string): void {
    // ASCII is the rule for names; one pass tells, and saves the encoder's allocation.
    const length = value.length;
    if (length < 128) {
      const at = this.#reserve(1 + length);
      const bytes = this.#bytes;
      bytes[at] = length;
      let i = 0;
      for (; i < length; i++) {
        const unit = value.charCodeAt(i);
        if (unit >= 0x80) break;
        bytes[at + 1 + i] = unit;
      }
      if (i === length) return;
      this.#length = at;
    }
    this.bytes(encoder.encode(value));
  }

  /** Overwrites 4 bytes written before: for lengths and checksums known only at the end. */
  patchU32(atBytes: number, value: number): void {
    for (let i = 0; i < 4; i++) this.#bytes[atBytes + i] = value >>> (8 * i);
  }

  /** The bytes so far, as a view that the next write may change. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** A copy of the bytes so far; the writer is empty afterwards and keeps its room. */
  take(): Uint8Array {
    const taken = this.#bytes.slice(0, this.#length);
    this.#length = 0;
    return taken;
  }

  reset(): void {
    this.#length = 0;
  }
}

/** Reads what {@link ByteWriter} wrote. Byte strings are views on the input, not copies. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  #at: number;
  readonly #end: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    if (end > bytes.length) throw new DecodeError(`Need ${end} B, have ${bytes.length} B`);
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get positionBytes(): number {
    return this.#at;
  }

  get remainingBytes(): number {
    return this.#end - this.#at;
  }

  #advance(bytes: number): number {
    const at = this.#at;
    if (bytes > this.#end - at) throw new DecodeError(`Need ${bytes} B, have ${this.#end - at} B`);
    this.#at = at + bytes;
    return at;
  }

  u8(): number {
    return this.#bytes[this.#advance(1)] as number;
  }

  /** Takes bytes into `word`. */
  #word(lengthBytes: number): void {
    const at = this.#advance(lengthBytes);
    for (let i = 0; i < lengthBytes; i++) wordBytes[i] = this.#bytes[at + i] as number; // within it
  }

  u32(): number {
    this.#word(4);
    return word.getUint32(0, true);
  }

  orderedU64(): bigint {
    this.#word(8);
    return word.getBigUint64(0);
  }

  f64(): number {
    this.#word(8);
    return word.getFloat64(0, true);
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let count = 0; count < 8; count++) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) break;
        return value;
      }
      scale *= 128;
    }
    throw new DecodeError("A varint is past 2^53");
  }

  zigzag(): number {
    const value = this.varint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  /** Two's complement of 64 bits, as a signed bigint. */
  i64(): bigint {
    return BigInt.asIntN(64, this.u64());
  }

  u64(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.u8();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw new DecodeError("A 64-bit varint has more than 10 bytes");
  }

  bool(): boolean {
    const byte = this.u8();
    if (byte > 1) throw new DecodeError(`A boolean is ${byte}`);
    return byte === 1;
  }

  bytes(): Uint8Array {
    return this.raw(this.varint());
  }

  raw(lengthBytes: number): Uint8Array {
    const at = this.#advance(lengthBytes);
    return this.#bytes.subarray(at, at + lengthBytes);
  }

  text(): string {
    const bytes = this.bytes();
    if (bytes.length < 24) {
      let ascii = "";
      let i = 0;
      for (; i < bytes.length; i++) {
        const unit = bytes[i] as number;
        if (unit >= 0x80) break;
        ascii += String.fromCharCode(unit);
      }
      if (i === bytes.length) return ascii;
    }
    try {
      return decoder.decode(bytes);
    } catch (cause) {
      throw new DecodeError("Text is not UTF-8", { cause });
    }
  }

  /** Fails unless every byte was read: trailing bytes mean another format or damage. */
  end(): void {
    if (this.#at !== this.#end) throw new DecodeError(`${this.#end - this.#at} B are left over`);
  }
}
