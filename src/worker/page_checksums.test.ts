import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { DecodeError } from "../common/bytes.ts";
import { PAGE_BYTES } from "../common/limits.ts";
import { openKernels } from "../kernels/load.ts";
import { arenaBytesOf, SlotPool } from "../kernels/slot_pool.ts";
import {
  decodePageChecksums,
  encodePageChecksums,
  firstDamagedPage,
  PageChecksumBuilder,
} from "./page_checksums.ts";

const kernels = openKernels({ flavour: "js", arenaBytes: arenaBytesOf(1) });
const slot = new SlotPool(kernels).take();
assert.ok(slot !== null);

test("PageChecksumBuilder gives the same checksums however the bytes are cut", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 150_000 }), { maxLength: 6 }),
      fc.integer({ min: 1, max: 255 }),
      (pieces, factor) => {
        const lengthBytes = pieces.reduce((sum, piece) => sum + piece, 0);
        for (let i = 0; i < lengthBytes; i++) slot.bytes[i] = (i * factor) >> 3;
        const builder = new PageChecksumBuilder(kernels);
        let at = 0;
        for (const piece of pieces) {
          builder.append(slot.offsetBytes + at, piece);
          at += piece;
        }
        const checksums = builder.finish(7n);
        assert.equal(checksums.crcs.length, Math.ceil(lengthBytes / PAGE_BYTES));
        for (const [page, crc] of checksums.crcs.entries()) {
          const bytes = slot.bytes.subarray(
            page * PAGE_BYTES,
            Math.min(lengthBytes, (page + 1) * PAGE_BYTES),
          );
          assert.equal(crc, kernels.crc32c(bytes));
        }
      },
    ),
    { numRuns: 20 },
  );
});

test("decodePageChecksums() refuses every flipped bit and every cut of a side file", () => {
  const bytes = encodePageChecksums(
    { blockId: 12345n, lengthBytes: 100_000, crcs: Uint32Array.of(1, 0xffff_ffff) },
    kernels,
  );
  assert.equal(decodePageChecksums(bytes, kernels).lengthBytes, 100_000);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = bytes.slice();
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
    assert.throws(() => decodePageChecksums(flipped, kernels), DecodeError);
  }
  for (let length = 0; length < bytes.length; length++)
    assert.throws(() => decodePageChecksums(bytes.subarray(0, length), kernels), DecodeError);
});

test("firstDamagedPage() finds the page of any flipped bit", () => {
  const lengthBytes = 3 * PAGE_BYTES + 17;
  for (let i = 0; i < lengthBytes; i++) slot.bytes[i] = i * 31;
  const builder = new PageChecksumBuilder(kernels);
  builder.append(slot.offsetBytes, lengthBytes);
  const checksums = builder.finish(1n);
  const range = { offsetBytes: slot.offsetBytes, lengthBytes, firstPage: 0 };
  const scratch = new Uint32Array(16);
  assert.equal(firstDamagedPage(kernels, checksums, range, scratch), -1);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: lengthBytes * 8 - 1 }), (bit) => {
      const at = bit >> 3;
      slot.bytes[at] = (slot.bytes[at] as number) ^ (1 << (bit & 7));
      assert.equal(
        firstDamagedPage(kernels, checksums, range, scratch),
        Math.floor(at / PAGE_BYTES),
      );
      slot.bytes[at] = (slot.bytes[at] as number) ^ (1 << (bit & 7));
    }),
    { numRuns: 50 },
  );
});

test("a side file of version 1 decodes for ever", () => {
  const bytes = readFileSync("test/fixtures/worker/page_checksums_v1.bin");
  assert.deepEqual(decodePageChecksums(bytes, kernels), {
    blockId: 50331648n,
    lengthBytes: 2 * PAGE_BYTES + 1,
    crcs: Uint32Array.of(0xe306_9283, 0, 0xdead_beef),
  });
});
