import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32c as nativeCrc32c } from "@node-rs/crc32";
import fc from "fast-check";
import crc32cWasm from "../../dist/kernels/crc32c.wasm";
import { isRockpoolError } from "../common/errors.ts";
import { InvariantError } from "../common/invariant.ts";
import { crc32c } from "./fallback.ts";
import type { Kernels } from "./kernels.ts";
import { openKernels } from "./load.ts";

const MiB = 1024 * 1024;
const LENGTH_MAX = 200_000;
const wasm = openKernels({ flavour: "wasm", arenaBytes: MiB });
const js = openKernels({ flavour: "js", arenaBytes: MiB });
const both: readonly Kernels[] = [wasm, js];

/** Bytes that look random and are the same in every run (xorshift32). */
function noise(lengthBytes: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(lengthBytes);
  let state = seed | 1;
  for (let at = 0; at < lengthBytes; at++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[at] = state;
  }
  return bytes;
}

const NOISE = noise(LENGTH_MAX + 64);

/** Around each length at which the method changes. */
const EDGES = [0, 418, 768, 836, 2048, 3344, 4096, 16_384, 16_384 + 3344, 19_728, 32_768, 131_072];
const anyLength = fc.oneof(
  fc.nat(2048),
  fc.nat(LENGTH_MAX),
  fc
    .tuple(fc.constantFrom(...EDGES), fc.integer({ min: -70, max: 70 }))
    .map(([edge, by]) => Math.max(0, edge + by)),
);
const anyCrc = fc.nat(0xffff_ffff);

function putInArena(kernels: Kernels, bytes: Uint8Array, at = 0): number {
  const offset = kernels.arenaOffset + at;
  kernels.memory.set(bytes, offset);
  return offset;
}

for (const kernels of both) {
  const { flavour } = kernels;

  test(`${flavour} crc32c() gives the known answers`, () => {
    const text = (value: string) => new TextEncoder().encode(value);
    assert.equal(kernels.crc32c(text("123456789")), 0xe3069283);
    assert.equal(kernels.crc32c(new Uint8Array(0)), 0);
    // RFC 3720, B.4.
    assert.equal(kernels.crc32c(new Uint8Array(32)), 0x8a9136aa);
    assert.equal(kernels.crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
    const rising = Uint8Array.from({ length: 32 }, (_, index) => index);
    assert.equal(kernels.crc32c(rising), 0x46dd794e);
    assert.equal(kernels.crc32c(rising.toReversed()), 0x113fdb5c);
  });

  test(`${flavour} crc32c() agrees with the native one, wherever the bytes lie`, () => {
    fc.assert(
      fc.property(anyLength, fc.nat(63), anyCrc, (length, at, seed) => {
        const bytes = NOISE.subarray(at, at + length);
        const expected = nativeCrc32c(bytes, seed);
        assert.equal(kernels.crc32c(bytes, seed), expected);
        const offset = putInArena(kernels, bytes, 63 - at);
        assert.equal(kernels.crc32cInMemory(offset, length, seed), expected);
      }),
      { numRuns: 600 },
    );
  });

  test(`${flavour} crc32c() agrees with the native one at every length up to 5000`, () => {
    const offset = putInArena(kernels, NOISE.subarray(0, 5000), 1);
    for (let length = 0; length <= 5000; length++) {
      const expected = nativeCrc32c(NOISE.subarray(0, length));
      assert.equal(kernels.crc32cInMemory(offset, length), expected, `${length} B`);
    }
  });

  test(`${flavour} crc32c() of pieces, each seeded with the one before, is that of the whole`, () => {
    fc.assert(
      fc.property(anyLength, fc.array(fc.nat(LENGTH_MAX), { maxLength: 5 }), (length, cuts) => {
        const ends = [...cuts.map((cut) => Math.min(cut, length)), length].sort((a, b) => a - b);
        let crc = 0;
        let from = 0;
        for (const end of ends) {
          crc = kernels.crc32c(NOISE.subarray(from, end), crc);
          from = end;
        }
        assert.equal(crc, nativeCrc32c(NOISE.subarray(0, length)));
      }),
    );
  });

  test(`${flavour} crc32c() leaves the bytes and the memory around them alone`, () => {
    const offset = putInArena(kernels, NOISE);
    kernels.crc32cInMemory(offset + 3, LENGTH_MAX - 3, 7);
    assert.deepEqual(kernels.memory.subarray(offset, offset + NOISE.length), NOISE);
  });

  test(`${flavour} crc32c() sees any one flipped bit`, () => {
    fc.assert(
      fc.property(anyLength, fc.nat(), fc.nat(7), (length, at, bit) => {
        fc.pre(length > 0);
        const bytes = NOISE.slice(0, length);
        bytes[at % length] = (bytes[at % length] ?? 0) ^ (1 << bit);
        assert.notEqual(kernels.crc32c(bytes), nativeCrc32c(NOISE.subarray(0, length)));
      }),
    );
  });

  test(`${flavour} pageCrcsInMemory() gives each page the CRC of its bytes`, () => {
    fc.assert(
      fc.property(anyLength, fc.integer({ min: 1, max: 70_000 }), (length, someBytes) => {
        const pageBytes = Math.max(someBytes, Math.ceil(length / 5000));
        const offset = putInArena(kernels, NOISE.subarray(0, length), 5);
        const into = new Uint32Array(Math.ceil(length / pageBytes) + 1).fill(0xdeadbeef);
        const count = kernels.pageCrcsInMemory(offset, length, pageBytes, into);
        assert.equal(count, into.length - 1);
        assert.equal(into[count], 0xdeadbeef);
        for (let page = 0; page < count; page++) {
          const bytes = NOISE.subarray(page * pageBytes, Math.min((page + 1) * pageBytes, length));
          assert.equal(into[page], nativeCrc32c(bytes));
        }
      }),
    );
  });

  test(`${flavour} kernels refuse a range outside of their memory`, () => {
    const end = kernels.memory.length;
    assert.throws(() => kernels.crc32cInMemory(end - 1, 2), InvariantError);
    assert.throws(() => kernels.crc32cInMemory(-1, 2), InvariantError);
    assert.throws(() => kernels.crc32cInMemory(Number.NaN, 2), InvariantError);
    const none = new Uint32Array(0);
    assert.throws(() => kernels.pageCrcsInMemory(kernels.arenaOffset, 1, 1, none), InvariantError);
    assert.throws(() => kernels.scanRecordsInMemory(end, 1), InvariantError);
  });

  test(`${flavour} kernels have the arena that was asked for, and their first byte is aligned`, () => {
    assert.equal(kernels.arenaBytes, MiB);
    assert.ok(kernels.arenaOffset + kernels.arenaBytes <= kernels.memory.length);
    assert.equal((kernels.memory.byteOffset + kernels.arenaOffset) % 64, 0);
  });

  test(`openKernels() of ${flavour} says what to do when there is not that much memory`, () => {
    assert.throws(
      () => openKernels({ flavour, arenaBytes: 2 ** 52 }),
      (error) => isRockpoolError(error, "RESOURCE_EXHAUSTED") && error.remedy !== "",
    );
  });
}

test("crc32c() of fallback.ts takes views that begin at any byte of their buffer", () => {
  for (let at = 0; at < 9; at++) {
    const bytes = NOISE.subarray(at, at + 10_001);
    assert.equal(crc32c(bytes, 5), nativeCrc32c(bytes, 5));
  }
});

test("the WebAssembly imports its memory and nothing else", () => {
  const imports = WebAssembly.Module.imports(new WebAssembly.Module(crc32cWasm));
  assert.deepEqual(imports, [{ module: "env", name: "memory", kind: "memory" }]);
});
