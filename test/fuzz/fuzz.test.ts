import assert from "node:assert/strict";
import { test } from "node:test";
import { DecodeError } from "../../src/common/bytes.ts";
import { SeededRandom } from "../../src/raft/testing.ts";
import { type FuzzTarget, fuzz, tryInput } from "./fuzzer.ts";
import { mutate, shrink } from "./mutator.ts";
import { TARGETS } from "./targets.ts";

/** Takes a length on trust, three decisions deep. */
const careless: FuzzTarget = {
  name: "careless",
  seeds: () => [Uint8Array.of(0x52, 0x50, 2, 7, 7)],
  run(bytes) {
    if (bytes[0] !== 0x52 || bytes[1] !== 0x50) throw new DecodeError("No magic");
    const length = bytes[2] ?? 0;
    if (length < 3) return `short ${length}`;
    if (length === 0xff) return new Uint8Array(bytes.length - length).length.toString();
    return "long";
  },
};

test("fuzz() finds a length that is taken on trust, and makes the input short", () => {
  const random = new SeededRandom(1);
  const { findings, outcomes } = fuzz(careless, { executions: 20_000, random, corpus: [] });
  assert.equal(findings.length, 1);
  assert.ok(findings[0]?.error instanceof RangeError);
  assert.deepEqual([...(findings[0]?.input ?? [])], [0x52, 0x50, 0xff]);
  assert.ok(outcomes >= 4);
});

test("fuzz() of a seed does the same each time", () => {
  const run = () =>
    fuzz(careless, { executions: 2000, random: new SeededRandom(7), corpus: [] }).kept;
  assert.deepEqual(run(), run());
});

test("tryInput() takes an error of an expected class as an answer", () => {
  assert.equal(tryInput(careless, new Uint8Array(0)), null);
  assert.ok(tryInput(careless, Uint8Array.of(0x52, 0x50, 0xff)) !== null);
});

test("mutate() never changes what it is given", () => {
  const random = new SeededRandom(3);
  const bytes = Uint8Array.of(1, 2, 3, 4, 5);
  for (let n = 0; n < 5000; n++) mutate(random, bytes, bytes);
  assert.deepEqual([...bytes], [1, 2, 3, 4, 5]);
});

test("shrink() leaves out all that a failure does not need", () => {
  const input = Uint8Array.from({ length: 300 }, (_, at) => at % 256);
  const small = shrink(input, (bytes) => bytes.includes(7) && bytes.includes(200));
  assert.deepEqual([...small].sort(), [200, 7]);
});

test("every target decodes its own seeds, or says why not", () => {
  for (const target of TARGETS) {
    const seeds = target.seeds();
    assert.ok(seeds.length > 0, target.name);
    for (const seed of seeds) assert.equal(tryInput(target, seed), null, target.name);
    // A target whose seeds are all refused would only ever try the first check.
    const isDeep = seeds.some((seed) => {
      try {
        target.run(seed);
        return true;
      } catch {
        return false;
      }
    });
    assert.ok(isDeep, `${target.name} has a seed that decodes`);
  }
});
