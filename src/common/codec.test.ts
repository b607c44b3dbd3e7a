import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ByteReader, ByteWriter, DecodeError } from "./bytes.ts";
import {
  bool,
  bytes,
  decode,
  encode,
  i64,
  int,
  list,
  nullable,
  oneOf,
  struct,
  text,
  u64,
  uint,
  union,
} from "./codec.ts";
import { InvariantError } from "./invariant.ts";

const sample = union({
  point: [1, struct({ x: int, y: uint, id: i64, big: u64 })],
  label: [2, struct({ words: list(text), body: bytes, mark: nullable(oneOf("a", "b")), on: bool })],
});
const value = fc.oneof(
  fc.record({
    kind: fc.constant("point" as const),
    x: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }).map((n) => n * 2 ** 20),
    y: fc.maxSafeNat(),
    id: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    big: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  }),
  fc.record({
    kind: fc.constant("label" as const),
    words: fc.array(fc.string({ unit: "grapheme", maxLength: 200 })),
    body: fc.uint8Array(),
    mark: fc.constantFrom("a" as const, "b" as const, null),
    on: fc.boolean(),
  }),
);

test("decode() returns what encode() was given", () => {
  fc.assert(
    fc.property(value, (v) => {
      const back = decode(sample, encode(sample, v));
      assert.deepEqual({ ...back }, { ...v });
    }),
  );
});

test("decode() of any bytes gives a value or a DecodeError", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (input) => {
      try {
        decode(sample, input);
      } catch (error) {
        assert.ok(error instanceof DecodeError, String(error));
      }
    }),
    { numRuns: 2000 },
  );
});

test("decode() refuses every prefix of a value", () => {
  const whole = encode(sample, {
    kind: "label",
    words: ["ab", "ü"],
    body: new Uint8Array(5),
    mark: "b",
    on: true,
  });
  for (let cut = 0; cut < whole.length; cut++)
    assert.throws(() => decode(sample, whole.subarray(0, cut)), DecodeError);
});

test("encode() refuses numbers that decode() would refuse", () => {
  for (const value of [-1, 2 ** 53, 2 ** 63, Number.NaN])
    assert.throws(() => encode(uint, value), InvariantError);
  for (const value of [2 ** 52, -(2 ** 53)])
    assert.throws(() => encode(int, value), InvariantError);
  assert.equal(decode(uint, encode(uint, Number.MAX_SAFE_INTEGER)), Number.MAX_SAFE_INTEGER);
  assert.equal(decode(int, encode(int, 2 ** 52 - 1)), 2 ** 52 - 1);
});

test("fixed-width numbers are of their byte order, at any place, and never read past the end", () => {
  const writer = new ByteWriter(1);
  writer.u8(7);
  writer.u32(0x1234_5678);
  writer.orderedU64(0x0102_0304_0506_0708n);
  writer.f64(-1.5);
  writer.patchU32(1, 0xfedc_ba98);
  const bytes = writer.take();
  assert.equal(Buffer.from(bytes).toString("hex"), "0798badcfe0102030405060708000000000000f8bf");
  const reader = new ByteReader(bytes, 1);
  assert.equal(reader.u32(), 0xfedc_ba98);
  assert.equal(reader.orderedU64(), 0x0102_0304_0506_0708n);
  assert.equal(reader.f64(), -1.5);
  for (const read of ["u8", "u32", "orderedU64", "f64"] as const)
    assert.throws(() => reader[read](), DecodeError);
  assert.throws(() => new ByteReader(bytes, 0, bytes.length + 1), DecodeError);
});
