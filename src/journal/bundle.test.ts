import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { DecodeError } from "../common/bytes.ts";
import { APPLY_BYTES_MAX, APPLY_ENTRIES_MAX } from "../common/limits.ts";
import { bundle, commandCount, unbundle } from "./bundle.ts";
import { unpack } from "./journal_protocol.ts";

const command = fc.oneof(
  { weight: 9, arbitrary: fc.uint8Array({ maxLength: 40 }) },
  { weight: 1, arbitrary: fc.nat(2 * APPLY_BYTES_MAX).map((length) => new Uint8Array(length)) },
);

test("unbundle() gives back what bundle() was given, in order, as much an entry as one transaction takes", () => {
  fc.assert(
    fc.property(fc.array(command, { minLength: 1, maxLength: 600 }), (commands) => {
      const { packed, ends } = bundle(commands);
      const payloads = unpack(packed);
      assert.deepEqual(payloads.flatMap(unbundle), commands);
      let before = 0;
      for (const [at, payload] of payloads.entries()) {
        const each = unbundle(payload);
        assert.equal(each.length, commandCount(payload));
        assert.equal(before + each.length, ends[at]);
        before += each.length;
        const bytes = each.reduce((sum, one) => sum + one.length, 0);
        assert.ok(each.length === 1 || bytes <= APPLY_BYTES_MAX);
        assert.ok(each.length <= APPLY_ENTRIES_MAX);
      }
    }),
  );
});

test("unbundle() takes nothing but a whole payload, whatever the bytes", () => {
  const [payload] = unpack(bundle([Uint8Array.of(1, 2, 3), new Uint8Array(0)]).packed);
  assert.ok(payload !== undefined);
  for (let length = 0; length < payload.length; length++)
    assert.throws(() => unbundle(payload.subarray(0, length)), DecodeError);
  assert.throws(() => unbundle(Uint8Array.of(...payload, 0)), DecodeError);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      try {
        unbundle(bytes);
      } catch (error) {
        assert.ok(error instanceof DecodeError);
      }
    }),
  );
});

test("entries of the first format decode for ever", () => {
  const fixture = new Uint8Array(readFileSync("test/fixtures/entry-commands-v1.bin"));
  const words = ["create /a", "", "rename /a /b"];
  const commands = words.map((word) => new TextEncoder().encode(word));
  assert.deepEqual(unbundle(fixture), commands);
  assert.deepEqual(unpack(bundle(commands).packed), [fixture]);
});
