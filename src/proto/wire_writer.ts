/**
 * Writes protobuf's wire format: what the generated encoders are made of.
 *
 * It writes from the end of its buffer towards the start, so that the length of a nested message is
 * known when its prefix is due: one pass, no sizes computed beforehand, nothing moved. Encoders
 * therefore write fields in falling order of their numbers, each value before its tag, and the bytes
 * come out in the usual rising order.
 * @module
 */
import { invariant } from "../common/invariant.ts";

const TWO_32 = 4_294_967_296;
const TWO_63 = 2 ** 63;
const SCRATCH_BYTES = 64 * 1024;
/** A scratch that grew beyond this is dropped after use. */
const SCRATCH_BYTES_MAX = 1024 * 1024;
/** Below this many characters a loop beats the call into the runtime. */
const SHORT_TEXT_CHARS = 32;

export class WireWriter {
  #bytes = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
  /** Everything from here on is written. */
  #at = SCRATCH_BYTES;

  /** Bytes written so far. */
  get size(): number {
    return this.#bytes.length - this.#at;
  }

  #reserve(lengthBytes: number): number {
    if (lengthBytes > this.#at) this.#grow(lengthBytes);
    this.#at -= lengthBytes;
    return this.#at;
  }

  #grow(lengthBytes: number): void {
    const size = this.size;
    const grown = Buffer.allocUnsafeSlow(Math.max(2 * this.#bytes.length, size + lengthBytes));
    this.#bytes.copy(grown, grown.length - size, this.#at);
    this.#bytes = grown;
    this.#at = grown.length - size;
  }

  /** Tags, lengths, and small numbers. */
  uint32(value: number): void {
    if (value < 0x80) {
      const at = this.#reserve(1);
      this.#bytes[at] = value;
      return;
    }
    const count = value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : value < 0x1000_0000 ? 4 : 5;
    this.#varint64(value, 0, count);
  }

  #varint64(low: number, high: number, count: number): void {
    const at = this.#reserve(count);
    const bytes = this.#bytes;
    let lowRest = low;
    let highRest = high;
    for (let i = 0; i < count - 1; i++) {
      bytes[at + i] = (lowRest & 0x7f) | 0x80;
      lowRest = ((lowRest >>> 7) | (highRest << 25)) >>> 0;
      highRest >>>= 7;
    }
    bytes[at + count - 1] = lowRest;
  }

  /** @param low, high unsigned halves */
  #halves(low: number, high: number): void {
    if (high === 0) this.uint32(low);
    else if (high < 0x8) this.#varint64(low, high, 5);
    else if (high < 0x400) this.#varint64(low, high, 6);
    else if (high < 0x2_0000) this.#varint64(low, high, 7);
    else if (high < 0x100_0000) this.#varint64(low, high, 8);
    else if (high < 0x8000_0000) this.#varint64(low, high, 9);
    else this.#varint64(low, high, 10);
  }

  int32(value: number): void {
    invariant((value | 0) === value, "an int32 field holds an integer of 32 bits");
    if (value >= 0) this.uint32(value);
    else this.#varint64(value >>> 0, 0xffff_ffff, 10);
  }

  bool(value: boolean): void {
    const at = this.#reserve(1);
    this.#bytes[at] = value ? 1 : 0;
  }

  int64(value: bigint): void {
    if (value >= 0n && value <= 0x1f_ffff_ffff_ffffn) {
      this.int64Number(Number(value));
      return;
    }
    const low = Number(BigInt.asUintN(32, value));
    const high = Number(BigInt.asUintN(32, value >> 32n));
    this.#halves(low, high);
  }

  /** Beyond 64 bits the largest or smallest value is written. */
  int64Number(value: number): void {
    if (value >= 0 && value < TWO_32 && value >>> 0 === value) {
      this.uint32(value);
      return;
    }
    invariant(Number.isInteger(value), "an int64 field holds an integer");
    if (value >= TWO_63) this.#halves(0xffff_ffff, 0x7fff_ffff);
    else if (value < -TWO_63) this.#halves(0, 0x8000_0000);
    else {
      const high = Math.floor(value / TWO_32);
      this.#halves(value - high * TWO_32, high >>> 0);
    }
  }

  double(value: number): void {
    const at = this.#reserve(8);
    this.#bytes.writeDoubleLE(value, at);
  }

  /** Length and bytes. */
  bytes(value: Uint8Array): void {
    const at = this.#reserve(value.length);
    this.#bytes.set(value, at);
    this.uint32(value.length);
  }

  /** Length and UTF-8. */
  text(value: string): void {
    const length = value.length;
    if (length < SHORT_TEXT_CHARS) {
      const at = this.#reserve(length);
      const bytes = this.#bytes;
      let i = 0;
      for (; i < length; i++) {
        const unit = value.charCodeAt(i);
        if (unit >= 0x80) break;
        bytes[at + i] = unit;
      }
      if (i === length) {
        this.uint32(length);
        return;
      }
      this.#at = at + length;
    }
    const lengthBytes = Buffer.byteLength(value, "utf8");
    const at = this.#reserve(lengthBytes);
    this.#bytes.write(value, at, "utf8");
    this.uint32(lengthBytes);
  }

  /** Puts the length before what was written since {@link size} was `sizeBefore`. */
  lengthSince(sizeBefore: number): void {
    this.uint32(this.size - sizeBefore);
  }

  /** A copy of everything written; the writer is empty afterwards. */
  take(): Uint8Array {
    const taken = Buffer.allocUnsafe(this.size);
    this.#bytes.copy(taken, 0, this.#at);
    this.reset();
    return taken;
  }

  reset(): void {
    if (this.#bytes.length > SCRATCH_BYTES_MAX) this.#bytes = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
    this.#at = this.#bytes.length;
  }
}

/** One for the whole thread: encoding never waits, so it is never used twice at once. */
export const sharedWriter = new WireWriter();
