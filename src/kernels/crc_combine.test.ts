import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32c as nativeCrc32c } from "@node-rs/crc32";
import fc from "fast-check";
import { CrcJoiner } from "./crc_combine.ts";

const joiner = new CrcJoiner();

test("join() of the checksums of two stretches is the checksum of both", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 3000 }), fc.uint8Array({ maxLength: 3000 }), (a, b) => {
      const whole = nativeCrc32c(Buffer.concat([a, b]));
      assert.equal(joiner.join(nativeCrc32c(a), nativeCrc32c(b), b.length), whole);
    }),
  );
});

test("join() of pages gives the checksum of the block, also after lengths were forgotten", () => {
  const block = Buffer.alloc(1_000_003, "rockpool");
  for (const pageBytes of [65536, 262_144, ...Array.from({ length: 80 }, (_, at) => 9000 + at)]) {
    let crc = 0;
    for (let at = 0; at < block.length; at += pageBytes) {
      const page = block.subarray(at, at + pageBytes);
      crc = joiner.join(crc, nativeCrc32c(page), page.length);
    }
    assert.equal(crc, nativeCrc32c(block));
  }
});
