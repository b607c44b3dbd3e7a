import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32c as nativeCrc32c } from "@node-rs/crc32";
import fc from "fast-check";
import { type Kernels, RECORD_CRC_OFFSET, RECORD_HEADER_BYTES } from "./kernels.ts";
import { openKernels } from "./load.ts";

const ARENA_BYTES = 4 * 1024 * 1024;
const wasm = openKernels({ flavour: "wasm", arenaBytes: ARENA_BYTES });
const js = openKernels({ flavour: "js", arenaBytes: ARENA_BYTES });

function record(payload: Uint8Array, index: number): Buffer {
  const bytes = Buffer.alloc(RECORD_HEADER_BYTES + payload.length);
  bytes.writeUInt32LE(payload.length, 0);
  bytes.writeUInt8(1, 4);
  bytes.writeUInt8(1, 5);
  bytes.writeBigUInt64LE(BigInt(index), 8);
  bytes.writeBigUInt64LE(3n, 16);
  bytes.set(payload, RECORD_HEADER_BYTES);
  const crc = nativeCrc32c(payload, nativeCrc32c(bytes.subarray(0, RECORD_CRC_OFFSET)));
  bytes.writeUInt32LE(crc, RECORD_CRC_OFFSET);
  return bytes;
}

type Segment = { readonly bytes: Buffer; readonly offsets: readonly number[] };

function segmentOf(payloads: readonly Uint8Array[]): Segment {
  const records = payloads.map(record);
  const offsets: number[] = [];
  let at = 0;
  for (const { length } of records) {
    offsets.push(at);
    at += length;
  }
  return { bytes: Buffer.concat(records), offsets };
}

function scan(kernels: Kernels, bytes: Uint8Array, offsetsInto?: Uint32Array) {
  // What lies behind the range must not count: an old record's bytes, say.
  kernels.memory.fill(0xa5, kernels.arenaOffset, kernels.arenaOffset + bytes.length + 64);
  kernels.memory.set(bytes, kernels.arenaOffset + 3);
  return kernels.scanRecordsInMemory(kernels.arenaOffset + 3, bytes.length, offsetsInto);
}

const anySegment = fc.array(fc.uint8Array({ maxLength: 2000 }), { maxLength: 30 }).map(segmentOf);

for (const kernels of [wasm, js]) {
  const { flavour } = kernels;

  test(`${flavour} scanRecordsInMemory() finds every record of a whole segment`, () => {
    fc.assert(
      fc.property(anySegment, ({ bytes, offsets }) => {
        const into = new Uint32Array(offsets.length + 1);
        assert.deepEqual(scan(kernels, bytes, into), {
          validBytes: bytes.length,
          recordCount: offsets.length,
          end: "complete",
        });
        assert.deepEqual([...into.subarray(0, offsets.length)], offsets);
      }),
    );
  });

  test(`${flavour} scanRecordsInMemory() of a segment cut anywhere gives the records before the cut`, () => {
    fc.assert(
      fc.property(anySegment, fc.nat(), ({ bytes, offsets }, cut) => {
        const kept = cut % (bytes.length + 1);
        const ends = [...offsets.slice(1), bytes.length];
        const recordCount = ends.filter((end) => end <= kept && bytes.length > 0).length;
        const validBytes = offsets[recordCount] ?? bytes.length;
        assert.deepEqual(scan(kernels, bytes.subarray(0, kept)), {
          validBytes,
          recordCount,
          end: validBytes === kept ? "complete" : "torn",
        });
      }),
    );
  });

  test(`${flavour} scanRecordsInMemory() stops before the record in which a bit flipped`, () => {
    fc.assert(
      fc.property(anySegment, fc.nat(), fc.nat(7), ({ bytes, offsets }, at, bit) => {
        fc.pre(bytes.length > 0);
        const damaged = Buffer.from(bytes);
        const where = at % bytes.length;
        damaged[where] = (damaged[where] ?? 0) ^ (1 << bit);
        const recordCount = offsets.filter((offset) => offset <= where).length - 1;
        const result = scan(kernels, damaged);
        assert.equal(result.recordCount, recordCount);
        assert.equal(result.validBytes, offsets[recordCount]);
        assert.notEqual(result.end, "complete");
      }),
    );
  });

  test(`${flavour} scanRecordsInMemory() takes zeros and noise for no record`, () => {
    assert.deepEqual(scan(kernels, new Uint8Array(4096)), {
      validBytes: 0,
      recordCount: 0,
      end: "damaged",
    });
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), (bytes) => {
        assert.equal(scan(kernels, bytes).recordCount, 0);
      }),
    );
  });

  test(`${flavour} scanRecordsInMemory() stops when there is no room for more offsets, and goes on from there`, () => {
    const { bytes, offsets } = segmentOf(Array.from({ length: 10 }, () => new Uint8Array(5)));
    const into = new Uint32Array(4);
    const first = scan(kernels, bytes, into);
    assert.deepEqual(first, { validBytes: offsets[4], recordCount: 4, end: "full" });
    assert.deepEqual([...into], offsets.slice(0, 4));
    const rest = scan(kernels, bytes.subarray(first.validBytes));
    assert.deepEqual([rest.recordCount, rest.end], [6, "complete"]);
    assert.equal(scan(kernels, bytes, new Uint32Array(10)).end, "complete");
  });

  test(`${flavour} scanRecordsInMemory() counts past what one call of the kernel holds`, () => {
    const payloads = Array.from({ length: 10_000 }, (_, index) => Buffer.from(String(index)));
    const { bytes, offsets } = segmentOf(payloads);
    const into = new Uint32Array(payloads.length);
    const result = scan(kernels, bytes, into);
    assert.deepEqual(result, { validBytes: bytes.length, recordCount: 10_000, end: "complete" });
    assert.deepEqual([...into], offsets);
    assert.equal(scan(kernels, bytes).recordCount, 10_000);
  });
}
