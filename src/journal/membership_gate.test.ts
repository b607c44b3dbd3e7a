import assert from "node:assert/strict";
import { test } from "node:test";
import type { MemberId } from "../common/ids.ts";
import { NOBODY } from "../raft/membership.ts";
import type { JournalIdentity } from "./journal_folder.ts";
import { foundersOf, groupIdOf, memberIdOf } from "./member_ids.ts";
import { type InForce, MembershipGate } from "./membership_gate.ts";
import type { Greeting } from "./peer_transport.ts";

const FOUNDERS = ["a:1", "b:1", "c:1"];
const GROUP = groupIdOf(FOUNDERS);
const JOINER = 77n as MemberId;

class Pins {
  readonly kept = new Map<string, bigint>();
  takenInAsOf: number | null = null;
  noteTakenIn(index: number) {
    this.takenInAsOf = index;
  }
  acquaintance(address: string, incarnation: bigint) {
    const kept = this.kept.get(address);
    return kept === undefined ? "nobody" : kept === incarnation ? "same" : "other";
  }
  keep(address: string, incarnation: bigint, mayReplace: boolean) {
    if (mayReplace || !this.kept.has(address)) this.kept.set(address, incarnation);
  }
}

function gate(options: {
  readonly standing?: JournalIdentity["standing"];
  readonly isBorn?: boolean;
  readonly inForce?: InForce;
  readonly pins?: Pins;
}): MembershipGate {
  return new MembershipGate({
    identity: {
      standing: options.standing ?? "founder",
      memberId: memberIdOf("a:1"),
      groupId: GROUP,
      incarnation: 1n,
      address: "a:1",
      founders: FOUNDERS,
    },
    pins: options.pins ?? new Pins(),
    founders: options.standing === "joiner" ? [] : FOUNDERS,
    isBorn: () => options.isBorn ?? true,
    inForce: () => options.inForce ?? { index: 5, membership: foundersOf(FOUNDERS) },
  });
}

function founder(changes: Partial<Greeting> = {}): Greeting {
  return {
    standing: "founder",
    id: memberIdOf("b:1"),
    address: "b:1",
    incarnation: 2n,
    groupId: GROUP,
    isBorn: true,
    memberAsOf: 0,
    namesAsOf: null,
    founders: FOUNDERS,
    ...changes,
  };
}

const joiner = (changes: Partial<Greeting> = {}) =>
  founder({ standing: "joiner", id: JOINER, isBorn: false, memberAsOf: null, ...changes });

const reasonOf = (by: MembershipGate, peer: Greeting) => by.answer(peer).refusal?.reason ?? null;

test("MembershipGate lets members in, and one that knows a newer membership", () => {
  assert.equal(reasonOf(gate({}), founder()), null);
  assert.equal(reasonOf(gate({}), joiner({ isBorn: true, memberAsOf: 6 })), null);
  const withJoiner = foundersOf(FOUNDERS);
  const membership = {
    ...withJoiner,
    learners: [JOINER],
    addresses: new Map(withJoiner.addresses).set(JOINER, "d:1"),
  };
  assert.equal(reasonOf(gate({ inForce: { index: 9, membership } }), joiner()), null);
});

test("MembershipGate tells who was removed, and never one that was no member yet", () => {
  const membership = foundersOf(["a:1", "c:1"]);
  const later = gate({ inForce: { index: 9, membership } });
  assert.equal(reasonOf(later, founder()), "removed");
  assert.equal(reasonOf(later, founder({ memberAsOf: 9 })), "removed");
  assert.equal(reasonOf(later, joiner()), "notMember");
  // It has entries of the leader, and has not come to the one that names it.
  assert.equal(reasonOf(later, joiner({ isBorn: true })), "notMember");
});

test("MembershipGate of a master that knows nobody lets in whoever takes it in, and nobody fresh", () => {
  const newcomer = gate({
    standing: "joiner",
    isBorn: false,
    inForce: { index: 0, membership: NOBODY },
  });
  assert.equal(reasonOf(newcomer, founder()), null);
  assert.equal(reasonOf(newcomer, joiner()), "notMember");
  assert.equal(newcomer.greeting(null).memberAsOf, null);
});

test("MembershipGate of a joiner notes by which membership it was taken in, and names itself by it", () => {
  const pins = new Pins();
  let isBorn = false;
  const options = { standing: "joiner", pins, inForce: { index: 0, membership: NOBODY } } as const;
  const taken = () => gate({ ...options, isBorn });
  assert.equal(reasonOf(taken(), joiner({ namesAsOf: 12 })), "notMember");
  assert.equal(reasonOf(taken(), founder({ groupId: 1n, namesAsOf: 12 })), "otherGroup");
  assert.equal(reasonOf(taken(), founder()), null);
  assert.equal(pins.takenInAsOf, null, "who does not name it, or is not let in, is no witness");
  assert.ok(taken().accepts(founder({ namesAsOf: 12 })));
  assert.equal(taken().answer(founder({ namesAsOf: 15 })).refusal, null);
  assert.equal(pins.takenInAsOf, 12);
  isBorn = true;
  const { memberAsOf } = taken().greeting(null);
  assert.equal(memberAsOf, 12);
  // Removed before the log told it that it was a member: it is told so, and not left waiting.
  const says = joiner({ isBorn: true, memberAsOf });
  const membership = foundersOf(FOUNDERS);
  assert.equal(reasonOf(gate({ inForce: { index: 13, membership } }), says), "removed");
  // One that does not know yet that it was taken in lets it in.
  assert.equal(reasonOf(gate({ inForce: { index: 11, membership } }), says), null);
});

test("MembershipGate of a joiner lets nobody in that it can't take note of", () => {
  class FullPins extends Pins {
    override noteTakenIn() {
      throw Object.assign(new Error("ENOSPC"), { code: "ENOSPC" });
    }
  }
  const inForce = { index: 0, membership: NOBODY };
  const by = gate({ standing: "joiner", pins: new FullPins(), inForce });
  assert.equal(reasonOf(by, founder({ namesAsOf: 12 })), "notMember");
});

test("MembershipGate says whom its membership names, by which entry", () => {
  const by = gate({});
  assert.equal(by.greeting(memberIdOf("b:1")).namesAsOf, 5);
  assert.equal(by.greeting(JOINER).namesAsOf, null);
  assert.equal(by.greeting(null).namesAsOf, null);
});

test("MembershipGate keeps out other groups, the undecided, and wiped founders", () => {
  const pins = new Pins();
  const by = gate({ pins });
  assert.equal(reasonOf(by, founder({ groupId: 1n })), "otherGroup");
  assert.equal(reasonOf(by, founder({ standing: "undecided" })), "notMember");
  assert.deepEqual([...pins.kept], [], "a born journal keeps nobody that is undecided");
  assert.equal(reasonOf(by, founder()), null);
  assert.equal(reasonOf(by, founder({ incarnation: 3n })), "wiped");
  assert.equal(by.accepts(founder({ incarnation: 3n })), false);
  assert.equal(reasonOf(gate({ standing: "undecided", isBorn: false }), founder()), "notMember");
});

test("MembershipGate of a fresh journal remembers who was there at the founding", () => {
  const pins = new Pins();
  const fresh = founder({ standing: "undecided", isBorn: false, memberAsOf: null });
  assert.equal(gate({ isBorn: false, pins }).answer(fresh).knownAs, "same");
  assert.equal(gate({ pins }).answer(fresh).knownAs, "same");
  assert.equal(gate({ pins }).answer({ ...fresh, incarnation: 9n }).knownAs, "other");
});

test("MembershipGate of a joiner vouches for nobody: it was not there at the founding", () => {
  const inForce = { index: 0, membership: NOBODY };
  const by = gate({ standing: "joiner", isBorn: false, inForce });
  const wiped = founder({ standing: "undecided", isBorn: false, memberAsOf: null });
  assert.equal(by.answer(wiped).knownAs, "nobody");
});
