/**
 * Reads protobuf's wire format: what the generated decoders are made of.
 *
 * A tag is a varint of `fieldNumber << 3 | wireType`; wire types are 0 varint, 1 eight bytes,
 * 2 length and bytes, 5 four bytes. Groups (3, 4) are refused: no message of ours has one, and they
 * nest without bound. Nesting is bounded by the messages themselves, none of which contains itself.
 * Nothing reads past `end`: input that is not of the format is a DecodeError. Byte fields are views
 * on the input.
 * @module
 */
import { isUtf8 } from "node:buffer";
import { DecodeError } from "../common/bytes.ts";

const TWO_32 = 4_294_967_296;
/** Below this many bytes a loop beats the call into the runtime. */
const SHORT_TEXT_BYTES = 16;
/** An empty message takes 2 bytes on the wire and 100 times that in memory: bounds what a small request can grow to. */
export const REPEATED_MESSAGES_MAX = 1_048_576;

export class WireReader {
  readonly #bytes: Buffer;
  /** Halves of the last 64-bit varint. */
  #low = 0;
  #high = 0;
  at = 0;
  /** Where the message that is being read ends. */
  end: number;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.isBuffer(bytes)
      ? bytes
      : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.end = bytes.length;
  }

  #byte(): number {
    if (this.at >= this.end) throw new DecodeError("A message ends in the middle of a field");
    return this.#bytes[this.at++] as number;
  }

  /** Steps over `lengthBytes` bytes. @returns where they began */
  #advance(lengthBytes: number): number {
    const at = this.at;
    if (lengthBytes > this.end - at)
      throw new DecodeError(`A field claims ${lengthBytes} B, ${this.end - at} B are left`);
    this.at = at + lengthBytes;
    return at;
  }

  /** The low 32 bits of a varint, unsigned. */
  uint32(): number {
    let byte = this.#byte();
    let value = byte & 0x7f;
    for (let shift = 7; byte >= 0x80; shift += 7) {
      if (shift > 63) throw new DecodeError("A varint has more than 10 bytes");
      byte = this.#byte();
      if (shift < 32) value |= (byte & 0x7f) << shift;
    }
    return value >>> 0;
  }

  int32(): number {
    return this.uint32() | 0;
  }

  bool(): boolean {
    this.#varint64();
    return this.#low !== 0 || this.#high !== 0;
  }

  #varint64(): void {
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.#byte();
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else high |= bits << (shift - 32);
      if (byte < 0x80) {
        this.#low = low >>> 0;
        this.#high = high | 0;
        return;
      }
    }
    throw new DecodeError("A varint has more than 10 bytes");
  }

  int64(): bigint {
    this.#varint64();
    const high = this.#high;
    // Below 2^53 (and above -2^53) the double is exact, and one conversion is cheaper than two and a shift.
    if (high >= -0x20_0000 && high < 0x20_0000) return BigInt(high * TWO_32 + this.#low);
    return (BigInt(high) << 32n) | BigInt(this.#low);
  }

  /** Exact to 2^53; the nearest double beyond (clients send the largest long for "no limit"). */
  int64Number(): number {
    this.#varint64();
    return this.#high * TWO_32 + this.#low;
  }

  double(): number {
    return this.#bytes.readDoubleLE(this.#advance(8));
  }

  bytes(): Uint8Array {
    const length = this.uint32();
    const at = this.#advance(length);
    return new Uint8Array(this.#bytes.buffer, this.#bytes.byteOffset + at, length);
  }

  text(): string {
    const length = this.uint32();
    const at = this.#advance(length);
    const bytes = this.#bytes;
    if (length < SHORT_TEXT_BYTES) {
      let ascii = "";
      let i = 0;
      for (; i < length; i++) {
        const unit = bytes[at + i] as number;
        if (unit >= 0x80) break;
        ascii += String.fromCharCode(unit);
      }
      if (i === length) return ascii;
    }
    const text = bytes.toString("utf8", at, at + length);
    // The runtime puts U+FFFD where bytes are not UTF-8: two names could become one.
    if (text.includes("\ufffd") && !isUtf8(bytes.subarray(at, at + length)))
      throw new DecodeError("A text field is not UTF-8");
    return text;
  }

  /** Narrows the reader to a length-delimited field. @returns what `leave` needs */
  enter(): number {
    const length = this.uint32();
    const outer = this.end;
    if (length > outer - this.at)
      throw new DecodeError(`A field claims ${length} B, ${outer - this.at} B are left`);
    this.end = this.at + length;
    return outer;
  }

  leave(outer: number): void {
    this.end = outer;
  }

  /** Steps over a field that the message does not know. */
  skip(tag: number): void {
    if (tag >>> 3 === 0) throw new DecodeError("A field has the number 0");
    switch (tag & 7) {
      case 0:
        this.#varint64();
        return;
      case 1:
        this.#advance(8);
        return;
      case 2:
        this.#advance(this.uint32());
        return;
      case 5:
        this.#advance(4);
        return;
      default:
        throw new DecodeError(`A field has the wire type ${tag & 7}`);
    }
  }
}

/** Appends to a repeated message field, within {@link REPEATED_MESSAGES_MAX}. */
export function append<T>(list: T[], value: T): void {
  if (list.length >= REPEATED_MESSAGES_MAX)
    throw new DecodeError(`A field repeats more than ${REPEATED_MESSAGES_MAX} times`);
  list.push(value);
}
