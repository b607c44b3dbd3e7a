import assert from "node:assert/strict";
import { test } from "node:test";
import { type Acquaintance, Founding } from "./founding.ts";
import { groupIdOf, memberIdOf } from "./member_ids.ts";
import type { Greeting } from "./peer_transport.ts";

const ADDRESSES = ["a:1", "b:1", "c:1"];

function greeting(address: string, changes: Partial<Greeting> = {}): Greeting {
  return {
    standing: "undecided",
    id: memberIdOf(address),
    address,
    incarnation: 1n,
    groupId: groupIdOf(ADDRESSES),
    isBorn: false,
    memberAsOf: null,
    namesAsOf: null,
    founders: ADDRESSES,
    ...changes,
  };
}

function decisionAfter(heard: readonly (readonly [Greeting, Acquaintance | null])[]) {
  const founding = new Founding(greeting("a:1"), ADDRESSES);
  for (const [peer, knownAs] of heard) founding.heard(peer, knownAs);
  return founding;
}

test("Founding: a master that is configured alone is the founder", () => {
  const founding = new Founding(greeting("a:1", { groupId: groupIdOf(["a:1"]) }), ["a:1"]);
  assert.deepEqual(founding.decision, { standing: "founder" });
});

test("Founding: all fresh ones found at once, a quorum of them after the others had their time", () => {
  const two = decisionAfter([[greeting("b:1"), null]]);
  assert.equal(two.decision, null);
  two.graceIsOver();
  assert.deepEqual(two.decision, { standing: "founder" });
  const all = decisionAfter([
    [greeting("b:1"), null],
    [greeting("c:1"), "nobody"],
  ]);
  assert.deepEqual(all.decision, { standing: "founder" });
  const alone = decisionAfter([]);
  alone.graceIsOver();
  assert.equal(alone.decision, null);
});

test("Founding: one born master outweighs all fresh ones", () => {
  const born = { standing: "founder", isBorn: true, memberAsOf: 0 } as const;
  for (const knownAs of ["other", "nobody"] as const)
    assert.deepEqual(
      decisionAfter([
        [greeting("b:1"), null],
        [greeting("c:1", born), knownAs],
      ]).decision,
      { standing: "joiner", groupId: groupIdOf(ADDRESSES) },
    );
  // It was up at the founding, and has only not decided since.
  assert.deepEqual(decisionAfter([[greeting("c:1", born), "same"]]).decision, {
    standing: "founder",
  });
  // Of another cluster than the configured one: its group counts.
  assert.deepEqual(decisionAfter([[greeting("c:1", { ...born, groupId: 9n }), "same"]]).decision, {
    standing: "joiner",
    groupId: 9n,
  });
  // That it calls is not enough: how it knows this master is what matters.
  assert.equal(decisionAfter([[greeting("c:1", born), null]]).decision, null);
});

test("Founding: who is configured otherwise, joins, or is not configured does not count", () => {
  const founding = decisionAfter([
    [greeting("b:1", { groupId: 9n }), "nobody"],
    [greeting("c:1", { standing: "joiner" }), "nobody"],
    [greeting("d:1"), "nobody"],
    [greeting("b:1", { standing: "founder" }), null],
  ]);
  founding.graceIsOver();
  assert.equal(founding.decision, null);
});

test("Founding: a founder that knew another journal here makes a joiner of it", () => {
  const waiting = greeting("b:1", { standing: "founder", memberAsOf: 0 });
  assert.equal(decisionAfter([[waiting, "other"]]).decision?.standing, "joiner");
});
