import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CrcJoiner } from "../kernels/crc_combine.ts";
import { crc32c } from "../kernels/fallback.ts";
import { allowedBlock, blockUrlPath, StretchParser, stretchesOf } from "./block_url.ts";
import { piecesOf } from "./edge_call.ts";
import type { EdgeChunk } from "./ports.ts";

const SECRET = Buffer.alloc(32, 1);

function allowed(url: string, nowMs: number, secret = SECRET): bigint | null {
  const { pathname, searchParams } = new URL(url, "http://worker");
  return allowedBlock(pathname, searchParams, secret, nowMs);
}

test("allowedBlock() takes what blockUrlPath() made, until its time is over", () => {
  const url = blockUrlPath(1234567890123456789n, 1000, SECRET);
  assert.equal(allowed(url, 999), 1234567890123456789n);
  assert.equal(allowed(url, 1000), null);
  assert.equal(allowed(url, 999, Buffer.alloc(32, 2)), null);
  assert.equal(allowed(url.replace("1234567890", "1234567891"), 999), null);
  assert.equal(allowed(url.replace("expires=1000", "expires=2000"), 999), null);
  for (const bad of ["/edge/block/", "/edge/block/x?expires=9&signature=", "/edge/block/1"])
    assert.equal(allowed(bad, 0), null);
});

test("push() and flush() give back what stretchesOf() made, cut anywhere, with its checksums", () => {
  const lengths = fc.array(fc.integer({ min: 1, max: 70_000 }), { maxLength: 12 });
  fc.assert(
    fc.property(
      lengths,
      fc.array(fc.integer({ min: 1, max: 90_000 }), { minLength: 1 }),
      (sizes, cuts) => {
        const bytes = Buffer.alloc(sizes.reduce((sum, size) => sum + size, 0));
        bytes.forEach((_, at) => {
          bytes[at] = (at * 31) >> 3;
        });
        let from = 0;
        const sums = sizes.map((lengthBytes) => {
          const crc = crc32c(bytes.subarray(from, from + lengthBytes));
          from += lengthBytes;
          return { lengthBytes, crc };
        });
        const sent = stretchesOf({ bytes, sums });
        const parser = new StretchParser();
        const chunks: EdgeChunk[] = [];
        for (let at = 0, turn = 0; at < sent.length; turn++) {
          const size = cuts[turn % cuts.length] ?? 1;
          chunks.push(...parser.push(sent.subarray(at, at + size)));
          at += size;
        }
        chunks.push(...parser.flush());
        assert.ok(Buffer.concat(chunks.map((chunk) => chunk.bytes)).equals(bytes));
        assert.deepEqual(
          chunks.flatMap((chunk) => chunk.sums ?? []),
          sums,
        );
        const joiner = new CrcJoiner();
        for (const chunk of chunks) {
          let at = 0;
          for (const { lengthBytes, sum } of piecesOf(chunk, 100_000, joiner)) {
            assert.equal(sum, crc32c(chunk.bytes.subarray(at, at + lengthBytes)));
            at += lengthBytes;
          }
          assert.equal(at, chunk.bytes.length);
        }
      },
    ),
    { numRuns: 30 },
  );
});

test("push() of what is no stretch fails, whatever it is", () => {
  assert.throws(() => [...new StretchParser().push(Buffer.alloc(8))], /stretch of 0 bytes/);
  assert.throws(() => [...new StretchParser().push(Buffer.alloc(8, 255))], /stretch of 4294967295/);
});
