import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { DecodeError } from "../common/bytes.ts";
import { crc32c } from "../journal/journal_fixture.ts";
import { ENTRY_KINDS } from "../journal/journal_protocol.ts";
import {
  decodeLogObject,
  encodeLogObject,
  endOf,
  follows,
  isFence,
  type LogObject,
  placeEntry,
  placeOf,
  sealOf,
  WRITER_BYTES,
} from "./log_object.ts";

const safe = fc.nat(Number.MAX_SAFE_INTEGER - 10_000);
const entry = fc.record(
  {
    kind: fc.constantFrom(ENTRY_KINDS.command, ENTRY_KINDS.commands, ENTRY_KINDS.noop),
    payload: fc.uint8Array({ maxLength: 60 }),
  },
  { noNullPrototype: true },
);
const unsealed = fc
  .record({
    groupId: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    epoch: safe,
    previousEpoch: safe,
    firstIndex: safe,
    writer: fc.uint8Array({ minLength: WRITER_BYTES, maxLength: WRITER_BYTES }),
    madeMs: safe,
    previousSeal: fc.nat(0xffffffff),
    entries: fc.array(entry, { maxLength: 8 }),
  })
  .map((object) => ({ ...object, entries: [placeEntry(object.firstIndex), ...object.entries] }));

test("decodeLogObject() gives back what encodeLogObject() was given, and its size", () => {
  fc.assert(
    fc.property(unsealed, fc.uint8Array({ maxLength: 9 }), (object, more) => {
      const bytes = encodeLogObject(object, crc32c);
      const found = decodeLogObject(Uint8Array.of(...bytes, ...more), crc32c);
      assert.deepEqual(found.object, { ...object, seal: sealOf(bytes) });
      assert.equal(found.sizeBytes, bytes.length);
    }),
  );
});

test("decodeLogObject() finds every bit that is turned round, and every cut", () => {
  const [object] = fc.sample(unsealed, { numRuns: 1, seed: 7 });
  assert.ok(object !== undefined);
  const bytes = encodeLogObject(object, crc32c);
  for (let bit = 0; bit < 8 * bytes.length; bit++) {
    const flipped = bytes.slice();
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    assert.throws(() => decodeLogObject(flipped, crc32c), DecodeError, `bit ${bit}`);
  }
  for (let length = 0; length < bytes.length; length++)
    assert.throws(() => decodeLogObject(bytes.subarray(0, length), crc32c), DecodeError);
});

test("decodeLogObject() refuses an object whose first entry is not its place", () => {
  const [object] = fc.sample(unsealed, { numRuns: 1, seed: 8 });
  assert.ok(object !== undefined);
  for (const entries of [
    [],
    [{ kind: ENTRY_KINDS.command, payload: new Uint8Array(8) }],
    [placeEntry(object.firstIndex + 1)],
  ]) {
    const bytes = encodeLogObject({ ...object, entries }, crc32c);
    assert.throws(() => decodeLogObject(bytes, crc32c), DecodeError);
  }
});

test("placeOf() reads what placeEntry() wrote, and nothing else", () => {
  assert.equal(placeOf(placeEntry(4711).payload), 4711);
  assert.throws(() => placeOf(new Uint8Array(7)), DecodeError);
});

const fixed = {
  groupId: 0x0123456789abcdefn,
  epoch: 3,
  previousEpoch: 2,
  firstIndex: 41,
  writer: Uint8Array.from({ length: WRITER_BYTES }, (_, at) => at),
  madeMs: 1_750_000_000_000,
  previousSeal: 0xdeadbeef,
};
const command = (word: string) => ({
  kind: ENTRY_KINDS.command,
  payload: new TextEncoder().encode(word),
});

/** A fence, and an object of two commands behind it. */
function fixedObjects(): Uint8Array[] {
  const fence = encodeLogObject({ ...fixed, entries: [placeEntry(41)] }, crc32c);
  const next = { ...fixed, previousEpoch: 3, firstIndex: 42, previousSeal: sealOf(fence) };
  const entries = [placeEntry(42), command("create /a"), command("")];
  return [fence, encodeLogObject({ ...next, entries }, crc32c)];
}

test("objects of the first format decode for ever, end to end", () => {
  const fixture = new Uint8Array(readFileSync("test/fixtures/ufs-log-v1.bin"));
  const first = decodeLogObject(fixture, crc32c);
  const second = decodeLogObject(fixture.subarray(first.sizeBytes), crc32c);
  assert.equal(first.sizeBytes + second.sizeBytes, fixture.length);
  assert.ok(isFence(first.object));
  assert.equal(first.object.groupId, fixed.groupId);
  assert.equal(first.object.previousSeal, 0xdeadbeef);
  assert.ok(follows(second.object, endOf(first.object)));
  assert.deepEqual(
    second.object.entries.slice(1).map(({ payload }) => new TextDecoder().decode(payload)),
    ["create /a", ""],
  );
  assert.deepEqual(Buffer.concat(fixedObjects()), Buffer.from(fixture));
});

test("follows() wants the next index, the epoch before and the seal before", () => {
  const [fence = new Uint8Array(), next = new Uint8Array()] = fixedObjects();
  const end = endOf(decodeLogObject(fence, crc32c).object);
  const object: LogObject = decodeLogObject(next, crc32c).object;
  assert.equal(follows(object, end), true);
  assert.equal(follows(object, { ...end, seal: null }), true);
  assert.equal(follows(object, { ...end, seal: 1 }), false);
  assert.equal(follows(object, { ...end, index: 40 }), false);
  assert.equal(follows(object, { ...end, epoch: 2 }), false);
  assert.equal(follows({ ...object, previousSeal: 0 }, end), false);
});
