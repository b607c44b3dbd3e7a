import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { MemberId } from "../common/ids.ts";
import { crc32c } from "./wal_fixture.ts";
import { decodeMark, encodeMark, isAtLeast, mergeStates, type WalMark } from "./wal_mark.ts";

const fields = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record<T>(model, { noNullPrototype: true });
const safe = fc.maxSafeNat();
const u32 = fc.nat(0xffff_ffff);
const u64 = fc.bigInt(0n, (1n << 64n) - 1n);
const memberId = u64.map((value) => value as MemberId); // the brand only keeps kinds of ids apart
const position = fields({ index: safe, term: safe });
const hardState = fields({ term: safe, vote: fc.option(memberId), commitIndex: safe });

const mark: fc.Arbitrary<WalMark> = fields({
  owner: fields({ memberId, incarnation: u64, groupId: u64 }),
  generation: safe,
  begin: position,
  membership: fc.option(fc.uint8Array({ maxLength: 300 })),
  start: fields({ sequence: safe, offsetBytes: u32, chain: u32, batchNumber: safe }),
  lastSequence: safe,
  promised: fc.option(position),
  hardState,
});

test("a mark comes back, and not with any bit changed", () => {
  fc.assert(
    fc.property(mark, fc.nat(), (one, bit) => {
      const bytes = encodeMark(one, crc32c);
      assert.deepEqual(decodeMark(bytes, crc32c), one);
      const usedBytes = 152 + (one.membership?.length ?? 0);
      const at = (bit >> 3) % usedBytes;
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit & 7));
      assert.equal(decodeMark(bytes, crc32c), null);
    }),
  );
});

test("mergeStates() never forgets a term or a vote, whichever comes first", () => {
  fc.assert(
    fc.property(hardState, hardState, (one, other) => {
      const merged = mergeStates(one, other);
      assert.equal(merged.term, Math.max(one.term, other.term));
      assert.equal(merged.commitIndex, Math.max(one.commitIndex, other.commitIndex));
      for (const each of [one, other])
        if (each.term === merged.term && each.vote !== null && one.term !== other.term)
          assert.equal(merged.vote, each.vote);
      const unvoted = { ...one, vote: null };
      assert.equal(mergeStates(unvoted, one).vote, one.vote);
      assert.equal(mergeStates(one, unvoted).vote, one.vote);
    }),
  );
});

test("isAtLeast() is Raft's order of last entries", () => {
  assert.ok(isAtLeast({ index: 1, term: 3 }, { index: 9, term: 2 }));
  assert.ok(isAtLeast({ index: 9, term: 2 }, { index: 9, term: 2 }));
  assert.ok(!isAtLeast({ index: 8, term: 2 }, { index: 9, term: 2 }));
  assert.ok(!isAtLeast({ index: 99, term: 1 }, { index: 1, term: 2 }));
});
