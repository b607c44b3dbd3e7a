import assert from "node:assert/strict";
import { test } from "node:test";
import { APPLY_BYTES_MAX, APPLY_ENTRIES_MAX } from "../common/limits.ts";
import type { Entry } from "../raft/messages.ts";
import { nodeWorld } from "../world/node_world.ts";
import { Applier } from "./applier.ts";
import { bundle } from "./bundle.ts";
import { Memory, until } from "./journal_fixture.ts";
import { packEntries } from "./journal_protocol.ts";
import type { CommittedEntry, StatePosition } from "./journal_system.ts";

/** Remembers what came in one transaction. */
class Counting extends Memory {
  readonly slices: (readonly CommittedEntry[])[] = [];
  override apply(entries: readonly CommittedEntry[], through: StatePosition): readonly string[] {
    this.slices.push(entries);
    return super.apply(entries, through);
  }
}

for (const [what, entryBytes, count] of [
  ["many small entries", 10, 3 * APPLY_ENTRIES_MAX],
  ["entries of many rows", 8 * 1024, 60],
  ["entries larger than a slice", 2 * APPLY_BYTES_MAX, 5],
] as const)
  test(`Applier lets the loop go between slices of ${what}`, async () => {
    const stateMachine = new Counting();
    let inTurn = 0;
    let inTurnMax = 0;
    let nowMs = 0;
    const applier = new Applier<string>({
      stateMachine,
      timers: nodeWorld().timers,
      // Each slice takes long.
      clock: { monotonicMs: () => (nowMs += 100), wallMs: () => 0 },
      onResult: () => {},
      onSlice() {
        inTurn += 1;
        inTurnMax = Math.max(inTurnMax, inTurn);
        setImmediate(() => {
          inTurn = 0;
        });
      },
      onFailure: assert.ifError,
    });
    applier.start();
    const payload = new Uint8Array(entryBytes);
    const entries = Array.from(
      { length: count },
      (_, at): Entry => ({ index: at + 1, term: 1, kind: "command", payload }),
    );
    applier.add(packEntries(entries), 0);
    await until("all are applied", () => applier.applied === count || undefined);
    assert.ok(stateMachine.slices.length > 2);
    for (const slice of stateMachine.slices) {
      assert.ok(slice.length <= APPLY_ENTRIES_MAX);
      assert.ok(slice.length * entryBytes < APPLY_BYTES_MAX + entryBytes);
    }
    assert.equal(inTurnMax, 1);
    applier.stop();
  });

test("Applier hands over a payload that holds no commands as what cannot be applied", () => {
  const failures: unknown[] = [];
  const stateMachine = new Counting();
  const applier = new Applier<string>({
    stateMachine,
    timers: nodeWorld().timers,
    clock: nodeWorld().clock,
    onResult: () => {},
    onSlice: () => {},
    onFailure: (error, from, through) => failures.push([String(error), from, through]),
  });
  applier.start();
  const sound: Entry = { index: 1, term: 1, kind: "command", payload: Uint8Array.of(1) };
  const payload = Uint8Array.of(9, 0, 0, 0);
  applier.add(packEntries([sound, { index: 2, term: 1, kind: "commands", payload }]), 0);
  assert.deepEqual(failures, [["DecodeError: 9 commands do not fit into 4 B", 1, 2]]);
  assert.deepEqual(stateMachine.slices, []);
});

test("Applier counts the commands of an entry that holds many against the size of a slice", async () => {
  const stateMachine = new Counting();
  const applier = new Applier<string>({
    stateMachine,
    timers: nodeWorld().timers,
    clock: nodeWorld().clock,
    onResult: () => {},
    onSlice: () => {},
    onFailure: assert.ifError,
  });
  applier.start();
  const one = Uint8Array.of(7);
  const { packed } = bundle(Array.from({ length: APPLY_ENTRIES_MAX }, () => one));
  const rest = Array.from(
    { length: APPLY_ENTRIES_MAX },
    (_, at): Entry => ({ index: at + 2, term: 1, kind: "command", payload: one }),
  );
  const first: Entry = { index: 1, term: 1, kind: "commands", payload: packed.bytes };
  applier.add(packEntries([first, ...rest]), 0);
  await until("all are applied", () => applier.applied === rest.length + 1 || undefined);
  for (const slice of stateMachine.slices) assert.ok(slice.length <= APPLY_ENTRIES_MAX);
  applier.stop();
});
