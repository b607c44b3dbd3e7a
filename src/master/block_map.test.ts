import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type BlockId, blockIdOf } from "../common/ids.ts";
import { InvariantError } from "../common/invariant.ts";
import { BlockMap, type Holder } from "./block_map.ts";

const block = (container: number, sequence = 0): BlockId => blockIdOf(BigInt(container), sequence);

function holdersOf(map: BlockMap, blockId: BlockId): Map<Holder, number> {
  const found = new Map<Holder, number>();
  map.forEachHolder(blockId, (holder, tier) => {
    assert.ok(!found.has(holder), "a holder is shown once");
    found.set(holder, tier);
  });
  return found;
}

/** Everything in the map, by a second patrol around: the first may move pairs as it drops retired ones. */
function pairsOf(map: BlockMap): Map<string, number> {
  map.patrol(Number.MAX_SAFE_INTEGER, () => {});
  const pairs = new Map<string, number>();
  map.patrol(Number.MAX_SAFE_INTEGER, (blockId, holder) => {
    const key = `${holder}/${blockId}`;
    assert.ok(!pairs.has(key), "a patrol around shows a pair once");
    pairs.set(key, holder);
  });
  return pairs;
}

/** Few ids and many holders make long clusters; the extremes are what the wire can carry. */
const anyBlock = fc.oneof(
  fc.integer({ min: 1, max: 40 }).map((container) => block(container)),
  fc.tuple(fc.integer({ min: 1, max: 5 }), fc.nat(300)).map(([c, s]) => block(c, s)),
  fc.constantFrom(0n, -1n, 2n ** 63n - 1n, -(2n ** 63n)).map((id) => id as BlockId),
);
const anyStep = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(fc.constant("add"), anyBlock, fc.nat(9), fc.nat(4095)) },
  { weight: 4, arbitrary: fc.tuple(fc.constant("remove"), anyBlock, fc.nat(9), fc.constant(0)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("renew"), anyBlock, fc.nat(9), fc.constant(0)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("patrol"), anyBlock, fc.nat(9), fc.nat(500)) },
);

test("a BlockMap holds what a Map of Maps holds", () => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 600 }), (steps) => {
      const map = new BlockMap();
      const holders = Array.from({ length: 10 }, () => map.newHolder());
      const model = new Map<Holder, Map<BlockId, number>>(holders.map((h) => [h, new Map()]));
      const blocks = new Set<BlockId>();
      for (const [what, blockId, who, number] of steps) {
        const holder = holders[who] as Holder;
        const its = model.get(holder);
        blocks.add(blockId);
        if (what === "add") {
          map.add(blockId, holder, number);
          its?.set(blockId, number);
        } else if (what === "remove") {
          assert.equal(map.remove(blockId, holder), its?.delete(blockId));
        } else if (what === "renew") {
          map.retire(holder);
          model.delete(holder);
          holders[who] = map.newHolder();
          model.set(holders[who], new Map());
        } else {
          map.patrol(number, (id, h) => assert.ok(model.get(h)?.has(id)));
        }
      }
      for (const blockId of blocks) {
        const expected = new Map<Holder, number>();
        for (const [holder, its] of model) {
          const tier = its.get(blockId);
          assert.equal(map.has(blockId, holder), tier !== undefined);
          if (tier !== undefined) expected.set(holder, tier);
        }
        assert.deepEqual([...holdersOf(map, blockId)].sort(), [...expected].sort());
      }
      for (const [holder, its] of model) assert.equal(map.countOf(holder), its.size);
      const total = [...model.values()].reduce((sum, its) => sum + its.size, 0);
      assert.equal(pairsOf(map).size, total);
      assert.equal(map.pairCount, total, "a patrol around drops what retired holders left");
    }),
  );
});

test("a BlockMap that is full and changes much still holds what a Set holds", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1 }), (seed) => {
      const map = new BlockMap();
      const holders = [map.newHolder(), map.newHolder()] as const;
      const model = new Set<string>();
      let state = seed;
      for (let step = 0; step < 20_000; step++) {
        state = Math.imul(state, 1_664_525) + 1_013_904_223;
        const blockId = block(1 + ((state >>> 8) % 2000));
        const holder = (state >>> 20) & 1 ? holders[0] : holders[1];
        const key = `${holder}/${blockId}`;
        if ((state >>> 21) & 1) {
          map.add(blockId, holder, 0);
          model.add(key);
        } else {
          assert.equal(map.remove(blockId, holder), model.delete(key));
        }
      }
      assert.deepEqual([...pairsOf(map).keys()].sort(), [...model].sort());
      assert.equal(map.pairCount, model.size);
    }),
    { numRuns: 20 },
  );
});

test("retire() makes a holder's blocks vanish at once, and their room comes back", () => {
  const map = new BlockMap();
  const [first, second] = [map.newHolder(), map.newHolder()];
  for (let container = 1; container <= 10_000; container++) {
    map.add(block(container), first, 0);
    map.add(block(container), second, 1);
  }
  map.retire(first);
  assert.equal(map.countOf(first), 0);
  assert.deepEqual([...holdersOf(map, block(77))], [[second, 1]]);
  assert.equal(map.remove(block(77), first), false);
  assert.equal(pairsOf(map).size, 10_000);
  assert.equal(map.pairCount, 10_000);
  assert.throws(() => map.add(block(1), first, 0), InvariantError);
  assert.throws(() => map.retire(first), InvariantError);
});

test("newHolder() never gives the number of a holder whose pairs are left", () => {
  const map = new BlockMap();
  const old = map.newHolder();
  map.add(block(1), old, 0);
  map.retire(old);
  // All the 2^20 - 1 numbers, and around.
  for (let count = 0; count < 2 ** 20; count++) {
    const holder = map.newHolder();
    assert.notEqual(holder, old);
    map.retire(holder);
  }
  assert.equal(holdersOf(map, block(1)).size, 0);
  assert.equal(pairsOf(map).size, 0);
  for (let count = 0; count < 2 ** 20; count++) {
    const holder = map.newHolder();
    map.retire(holder);
    if (holder === old) return;
  }
  assert.fail("a number without pairs is used again");
});

test("patrol() in small goes comes around to every block", () => {
  const map = new BlockMap();
  const holder = map.newHolder();
  for (let container = 1; container <= 1000; container++) map.add(block(container), holder, 0);
  const seen = new Set<BlockId>();
  for (let go = 0; go < 1000; go++) map.patrol(10, (blockId) => seen.add(blockId));
  assert.equal(seen.size, 1000);
});
