import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { DecodeError } from "../common/bytes.ts";
import type { MemberId } from "../common/ids.ts";
import { openFallbackKernels } from "../kernels/fallback.ts";
import { MemoryFileSystem } from "./memory_file_system.ts";
import {
  BATCH_HEAD_BYTES,
  type BatchDescriptor,
  batchBytes,
  decodeDescriptor,
  decodeIdentity,
  encodeDescriptor,
  encodeIdentity,
  readRecord,
  recordBytes,
  type SegmentIdentity,
  WAL_PAGE_BYTES,
  type WalRecord,
  writeRecord,
} from "./record.ts";
import { scanBatches, startOf } from "./segment_file.ts";
import { recoverWal } from "./wal_recovery.ts";

const kernels = openFallbackKernels({ arenaBytes: 64 * 1024 });
const crc32c = (bytes: Uint8Array, seed?: number) => kernels.crc32c(bytes, seed);

/** With a prototype, as everything that is decoded has one. */
const fields = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record<T>(model, { noNullPrototype: true });
const safe = fc.maxSafeNat();
const u32 = fc.nat(0xffff_ffff);
const u64 = fc.bigInt(0n, (1n << 64n) - 1n);
const memberId = u64.map((value) => value as MemberId);

const hardState = fields({ term: safe, vote: fc.option(memberId), commitIndex: safe });

const record: fc.Arbitrary<WalRecord> = fc.oneof(
  fields({
    kind: fc.constant("entry" as const),
    entry: fields({
      index: safe,
      term: safe,
      kind: fc.constantFrom("command", "noop", "config", "commands"),
      payload: fc.uint8Array({ maxLength: 200 }),
    }),
  }),
  fields({ kind: fc.constant("truncateFrom" as const), index: safe }),
  fields({ kind: fc.constant("pad" as const), lengthBytes: fc.nat(300) }),
  fields({
    kind: fc.constant("batchHead" as const),
    head: fields({
      previousIndex: safe,
      previousTerm: safe,
      hardState,
      lastIndex: safe,
      lastTerm: safe,
      bodyBytes: u32,
      previousChain: u32,
      chain: u32,
      recordCount: u32,
      batchNumber: safe,
      incarnation: u64,
    }),
  }),
);

const identity: fc.Arbitrary<SegmentIdentity> = fields({
  dataOffset: u32,
  memberId,
  incarnation: u64,
  sequence: safe,
  firstIndex: safe,
  previousTerm: safe,
  previousChain: u32,
  segmentBytes: u32,
  firstBatchNumber: safe,
  groupId: u64,
});

const descriptor: fc.Arbitrary<BatchDescriptor> = fields({
  incarnation: u64,
  sequence: safe,
  batchNumber: safe,
  offsetBytes: u32,
  lengthBytes: u32,
  chain: u32,
  lastIndex: safe,
  lastTerm: safe,
  hardState,
});

test("readRecord() gives back what writeRecord() wrote, one after the other", () => {
  fc.assert(
    fc.property(fc.array(record, { maxLength: 10 }), (records) => {
      const bytes = new Uint8Array(records.reduce((sum, each) => sum + recordBytes(each), 0));
      let end = 0;
      for (const each of records) end = writeRecord(bytes, end, each, crc32c);
      assert.equal(end, bytes.length);
      let at = 0;
      for (const each of records) {
        const found = readRecord(bytes, at, crc32c);
        assert.deepEqual(found.record, each);
        at += found.sizeBytes;
      }
    }),
  );
});

test("readRecord() refuses a record with any bit changed, and one that is cut off", () => {
  fc.assert(
    fc.property(record, fc.nat(), fc.nat(7), (each, place, bit) => {
      const bytes = new Uint8Array(recordBytes(each));
      writeRecord(bytes, 0, each, crc32c);
      const at = place % bytes.length;
      assert.throws(() => readRecord(bytes.subarray(0, at), 0, crc32c), DecodeError);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
      assert.throws(() => readRecord(bytes, 0, crc32c), DecodeError);
    }),
  );
});

test("readRecord() never fails in another way, whatever the bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), fc.boolean(), (bytes, isChained) => {
      try {
        readRecord(bytes, 0, crc32c, isChained ? "chained" : "crc");
      } catch (error) {
        assert.ok(error instanceof DecodeError);
      }
    }),
  );
});

test("identities and descriptors come back, and not with any bit changed", () => {
  fc.assert(
    fc.property(identity, descriptor, fc.nat(71 * 8), (one, other, bit) => {
      const page = encodeIdentity(one, crc32c);
      assert.equal(page.length, WAL_PAGE_BYTES);
      assert.deepEqual(decodeIdentity(page, crc32c), one);
      const slot = encodeDescriptor(other, crc32c);
      assert.deepEqual(decodeDescriptor(slot, crc32c), other);
      for (const bytes of [page, slot]) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.equal(decodeIdentity(page, crc32c), null);
      assert.equal(decodeDescriptor(slot, crc32c), null);
    }),
  );
});

test("batchBytes() is whole pages with room for head and pad", () => {
  assert.equal(batchBytes(0), WAL_PAGE_BYTES);
  assert.equal(batchBytes(WAL_PAGE_BYTES - BATCH_HEAD_BYTES - 28), WAL_PAGE_BYTES);
  assert.equal(batchBytes(WAL_PAGE_BYTES - BATCH_HEAD_BYTES - 27), 2 * WAL_PAGE_BYTES);
});

const FIXTURES = "test/fixtures";

test("a segment and a mark of format 2 decode for ever", () => {
  const owner = { memberId: 42n as MemberId, incarnation: 0x0123456789abcdefn, groupId: 77n };
  const bytes = new Uint8Array(readFileSync(`${FIXTURES}/wal-v2.bin`));
  const fileSystem = new MemoryFileSystem();
  fileSystem.replaceFileSync("/j/wal-0000000000000001", bytes);
  fileSystem.replaceFileSync("/j/wal-begin", readFileSync(`${FIXTURES}/wal-begin-v2.bin`));
  const membership = { voters: [owner.memberId], learners: [], addresses: new Map() };
  const recovered = recoverWal({
    fileSystem,
    folder: "/j",
    owner,
    crc32c,
    membership,
    covered: { index: 0, term: 0, membership: null },
    segmentBytes: bytes.length,
    cacheBytesMax: 1024,
  });
  const [segment] = recovered.segments;
  assert.ok(segment);
  const records: string[] = [];
  const read = (at: number, length: number) => bytes.subarray(at, at + length);
  const source = { sizeBytes: bytes.length, read };
  scanBatches(source, "fixture", owner.incarnation, startOf(segment), crc32c, {
    record(each) {
      if (each.kind === "entry") {
        const { index: at, term, kind, payload } = each.entry;
        const text = kind === "command" ? new TextDecoder().decode(payload) : payload.length;
        records.push(`${kind} ${at} ${term} ${text}`);
      } else if (each.kind === "truncateFrom") records.push(`truncateFrom ${each.index}`);
    },
    batch(head) {
      const { term, vote, commitIndex } = head.hardState;
      const { batchNumber, previousIndex, previousTerm, lastIndex, lastTerm } = head;
      records.push(
        `batch ${batchNumber} ${previousIndex} ${previousTerm} ${lastIndex} ${lastTerm} state ${term} ${vote} ${commitIndex}`,
      );
    },
  });
  assert.deepEqual(records, [
    "noop 1 1 0",
    "command 2 1 first",
    "config 3 1 13",
    "batch 1 0 0 3 1 state 1 42 0",
    "truncateFrom 3",
    "noop 3 2 0",
    "command 4 2 second",
    "batch 2 3 1 4 2 state 2 null 2",
  ]);
  assert.deepEqual(recovered.hardState, { term: 2, vote: null, commitIndex: 3 });
  assert.equal(recovered.index.lastIndex, 4);
  assert.equal(recovered.torn, null);
  assert.equal(recovered.damage, null);
  const { mark } = recovered;
  assert.deepEqual(
    [mark.begin, mark.lastSequence, mark.promised, mark.start.sequence],
    [{ index: 0, term: 0 }, 1, null, 1],
  );
});
