import assert from "node:assert/strict";
import { test } from "node:test";
import { isRockpoolError } from "../common/errors.ts";
import { InvariantError } from "../common/invariant.ts";
import { SLOT_BYTES } from "../common/limits.ts";
import { openFallbackKernels } from "./fallback.ts";
import { openKernels } from "./load.ts";
import { arenaBytesOf, SLOT_HEADROOM_BYTES, type Slot, SlotPool } from "./slot_pool.ts";

function poolOf(slotCount: number): SlotPool {
  return new SlotPool(openFallbackKernels({ arenaBytes: arenaBytesOf(slotCount) }));
}

function takeNow(pool: SlotPool): Slot {
  const slot = pool.take();
  assert.ok(slot !== null);
  return slot;
}

for (const flavour of ["wasm", "js"] as const) {
  test(`slots of ${flavour} memory are aligned, apart, and seen by the kernels`, () => {
    const kernels = openKernels({ flavour, arenaBytes: arenaBytesOf(3) });
    const pool = new SlotPool(kernels);
    assert.equal(pool.slotCount, 3);
    const slots = [takeNow(pool), takeNow(pool), takeNow(pool)];
    for (const [index, slot] of slots.entries()) {
      assert.equal(slot.offsetBytes % 64, 0);
      assert.equal(slot.bytes.length, SLOT_BYTES);
      assert.equal(slot.withHeadroom.length, SLOT_HEADROOM_BYTES + SLOT_BYTES);
      slot.withHeadroom.fill(index);
    }
    for (const [index, slot] of slots.entries()) {
      assert.ok(slot.withHeadroom.every((byte) => byte === index));
      assert.equal(kernels.memory[slot.offsetBytes], index);
      const expected = kernels.crc32c(slot.bytes);
      assert.equal(kernels.crc32cInMemory(slot.offsetBytes, SLOT_BYTES), expected);
      slot.withHeadroom[SLOT_HEADROOM_BYTES] = 77;
      assert.equal(slot.bytes[0], 77);
    }
  });
}

test("take() returns null when all are taken, and a slot again after release()", () => {
  const pool = poolOf(2);
  const first = takeNow(pool);
  takeNow(pool);
  assert.equal(pool.take(), null);
  assert.equal(pool.freeCount, 0);
  pool.release(first);
  assert.equal(takeNow(pool), first);
});

test("whenFree() gives slots in the order of asking, ahead of take()", async () => {
  const pool = poolOf(1);
  const slot = await pool.whenFree();
  const order: string[] = [];
  const note = (name: string) => (given: Slot) => {
    order.push(name);
    return given;
  };
  const first = pool.whenFree().then(note("first"));
  const second = pool.whenFree().then(note("second"));
  assert.equal(pool.waiterCount, 2);
  pool.release(slot);
  assert.equal(pool.take(), null);
  pool.release(await first);
  assert.equal(pool.take(), null);
  pool.release(await second);
  assert.deepEqual(order, ["first", "second"]);
  assert.equal(pool.freeCount, 1);
});

test("whenFree() of a signal that aborts leaves the queue", async () => {
  const pool = poolOf(1);
  const slot = takeNow(pool);
  const abort = new AbortController();
  const gone = pool.whenFree(abort.signal);
  const next = pool.whenFree();
  abort.abort(new Error("gone"));
  await assert.rejects(gone, /gone/);
  await assert.rejects(pool.whenFree(abort.signal), /gone/);
  pool.release(slot);
  assert.equal(await next, slot);
  assert.equal(pool.waiterCount, 0);
});

test("whenFree() is refused when too many wait", async () => {
  const pool = poolOf(1);
  takeNow(pool);
  for (let count = 0; count < 4096; count++) void pool.whenFree();
  await assert.rejects(pool.whenFree(), (error) => isRockpoolError(error, "RESOURCE_EXHAUSTED"));
});

test("release() of a slot twice, or to another pool, is a bug", () => {
  const pool = poolOf(2);
  const slot = takeNow(pool);
  assert.throws(() => poolOf(2).release(slot), InvariantError);
  pool.release(slot);
  assert.throws(() => pool.release(slot), InvariantError);
});
