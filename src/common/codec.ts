/**
 * Codecs as values: a format is declared once, and the TypeScript type, the writer and the reader
 * follow from it.
 *
 * Fields are written in the order in which the declaration names them, without tags. A format that
 * must change gets a new version number in its union or header; old ones stay decodable for ever
 * (fixtures in test/fixtures prove it).
 * @module
 */
import { ByteReader, ByteWriter, DecodeError } from "./bytes.ts";

export interface Codec<T> {
  write(writer: ByteWriter, value: T): void;
  read(reader: ByteReader): T;
}
export type ValueOf<C> = C extends Codec<infer T> ? T : never;

export const bool: Codec<boolean> = { write: (w, v) => w.bool(v), read: (r) => r.bool() };
/** Non-negative safe integer. */
export const uint: Codec<number> = { write: (w, v) => w.varint(v), read: (r) => r.varint() };
/** Integer of either sign, of magnitude below 2^52. */
export const int: Codec<number> = { write: (w, v) => w.zigzag(v), read: (r) => r.zigzag() };
/** Unsigned 64 bits. */
export const u64: Codec<bigint> = { write: (w, v) => w.u64(v), read: (r) => r.u64() };
/** Signed 64 bits. */
export const i64: Codec<bigint> = { write: (w, v) => w.u64(v), read: (r) => r.i64() };
export const text: Codec<string> = { write: (w, v) => w.text(v), read: (r) => r.text() };
/** Owned by the reader: a copy, so that a value may outlive the input buffer. */
export const bytes: Codec<Uint8Array> = {
  write: (w, v) => w.bytes(v),
  // Not slice(): on a Buffer that is a view.
  read: (r) => new Uint8Array(r.bytes()),
};

/** A codec under a branded type. The caller vouches that every value of `T` is one of `B`. */
export function branded<B extends T, T>(codec: Codec<T>): Codec<B> {
  return codec as unknown as Codec<B>;
}

export function nullable<T>(codec: Codec<T>): Codec<T | null> {
  return {
    write(w, value) {
      w.bool(value !== null);
      if (value !== null) codec.write(w, value);
    },
    read: (r) => (r.bool() ? codec.read(r) : null),
  };
}

export function list<T>(codec: Codec<T>): Codec<readonly T[]> {
  return {
    write(w, values) {
      w.varint(values.length);
      for (const value of values) codec.write(w, value);
    },
    read(r) {
      const count = r.varint();
      // Every element takes a byte or more, so a count beyond the input is a lie: refuse to allocate.
      if (count > r.remainingBytes) throw new DecodeError(`A list claims ${count} elements`);
      const values: T[] = [];
      for (let i = 0; i < count; i++) values.push(codec.read(r));
      return values;
    },
  };
}

/** One of a fixed set of words, written as its position: append to the list, never reorder it. */
export function oneOf<const W extends string>(...words: readonly W[]): Codec<W> {
  const positions = new Map(words.map((word, position) => [word, position]));
  return {
    write(w, value) {
      w.u8(positions.get(value) as number);
    },
    read(r) {
      const position = r.u8();
      const word = words[position];
      if (word === undefined) throw new DecodeError(`No word at ${position} of ${words.join("|")}`);
      return word;
    },
  };
}

type Fields = Readonly<Record<string, Codec<never>>>;
type StructOf<F extends Record<string, Codec<unknown>>> = {
  readonly [K in keyof F]: ValueOf<F[K]>;
};

/** An object with these fields, in this order. */
export function struct<F extends Record<string, Codec<unknown>>>(fields: F): Codec<StructOf<F>>;
export function struct(fields: Fields): Codec<Record<string, never>> {
  const entries = Object.entries(fields);
  return {
    write(w, value) {
      for (const [name, codec] of entries) codec.write(w, value[name] as never);
    },
    read(r) {
      const value: Record<string, never> = {};
      for (const [name, codec] of entries) value[name] = codec.read(r);
      return value;
    },
  };
}

type UnionOf<V extends Record<string, readonly [number, Codec<unknown>]>> = {
  [K in keyof V]: { readonly kind: K } & ValueOf<V[K][1]>;
}[keyof V];

/**
 * A discriminated union on `kind`. Each kind has a tag of one byte that is never renumbered or reused.
 */
export function union<const V extends Record<string, readonly [number, Codec<unknown>]>>(
  variants: V,
): Codec<UnionOf<V>> {
  const byTag = new Map(
    Object.entries(variants).map(([kind, [tag, codec]]) => [tag, { kind, codec }]),
  );
  return {
    write(w, value) {
      const variant = variants[value.kind as string] as readonly [number, Codec<unknown>];
      w.u8(variant[0]);
      variant[1].write(w, value);
    },
    read(r) {
      const tag = r.u8();
      const variant = byTag.get(tag);
      if (variant === undefined) throw new DecodeError(`Unknown kind ${tag}`);
      const fields = variant.codec.read(r) as object;
      return { kind: variant.kind, ...fields } as unknown as UnionOf<V>;
    },
  };
}

/** @param capacityBytes about as many as it will take: growing means copying */
export function encode<T>(codec: Codec<T>, value: T, capacityBytes?: number): Uint8Array {
  const writer = new ByteWriter(capacityBytes);
  codec.write(writer, value);
  return writer.take();
}

/** Decodes a whole buffer; bytes left over are an error. */
export function decode<T>(codec: Codec<T>, input: Uint8Array): T {
  const reader = new ByteReader(input);
  const value = codec.read(reader);
  reader.end();
  return value;
}
