/**
 * Jute, the encoding of ZooKeeper's packets. Source: its `zookeeper.jute` and the Java `BinaryOutputArchive`.
 *
 *     int 4 B, long 8 B, both big-endian and signed · boolean 1 B · buffer: int length (−1: null), bytes
 *     ustring: as a buffer, UTF-8 · vector: int count (−1: null), elements · a record: its fields, without tags
 *
 * Input that is not of the format is a {@link DecodeError}; nothing is read past the end.
 * @module
 */
import { DecodeError } from "../common/bytes.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Grows as needed. */
export class JuteWriter {
  #bytes: Uint8Array<ArrayBuffer>;
  #view: DataView<ArrayBuffer>;
  #length = 0;

  constructor(capacityBytes = 256) {
    this.#bytes = new Uint8Array(capacityBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  #reserve(bytes: number): number {
    const at = this.#length;
    const needed = at + bytes;
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(0, at));
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    this.#length = needed;
    return at;
  }

  bool(value: boolean): void {
    const at = this.#reserve(1);
    this.#bytes[at] = value ? 1 : 0;
  }

  int(value: number): void {
    const at = this.#reserve(4);
    this.#view.setInt32(at, value);
  }

  long(value: bigint): void {
    const at = this.#reserve(8);
    this.#view.setBigInt64(at, value);
  }

  buffer(value: Uint8Array): void {
    this.int(value.length);
    const at = this.#reserve(value.length);
    this.#bytes.set(value, at);
  }

  text(value: string): void {
    this.buffer(encoder.encode(value));
  }

  texts(values: readonly string[]): void {
    this.int(values.length);
    for (const value of values) this.text(value);
  }

  /** What was written, behind its length: a packet. */
  packet(): Uint8Array {
    const framed = new Uint8Array(4 + this.#length);
    new DataView(framed.buffer).setInt32(0, this.#length);
    framed.set(this.#bytes.subarray(0, this.#length), 4);
    return framed;
  }
}

export class JuteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get remainingBytes(): number {
    return this.#bytes.length - this.#at;
  }

  #take(bytes: number): number {
    if (bytes > this.remainingBytes)
      throw new DecodeError(`A packet ends ${bytes - this.remainingBytes} B early`);
    const at = this.#at;
    this.#at += bytes;
    return at;
  }

  bool(): boolean {
    return this.#bytes[this.#take(1)] !== 0;
  }

  int(): number {
    return this.#view.getInt32(this.#take(4));
  }

  long(): bigint {
    return this.#view.getBigInt64(this.#take(8));
  }

  /** A copy; null is empty. */
  buffer(): Uint8Array {
    const length = this.#count(1);
    const at = this.#take(length);
    return new Uint8Array(this.#bytes.subarray(at, at + length));
  }

  text(): string {
    try {
      return decoder.decode(this.buffer());
    } catch (error) {
      if (error instanceof TypeError) throw new DecodeError("A text is not UTF-8");
      throw error;
    }
  }

  texts(): string[] {
    const values: string[] = [];
    for (let left = this.#count(4); left > 0; left--) values.push(this.text());
    return values;
  }

  /** A length, or a count of elements that take `elementBytes` at least. Null counts as none. */
  #count(elementBytes: number): number {
    const count = this.int();
    if (count < -1 || count * elementBytes > this.remainingBytes)
      throw new DecodeError(`A packet claims ${count} elements or bytes`);
    return Math.max(0, count);
  }
}
