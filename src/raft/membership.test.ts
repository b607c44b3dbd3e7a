import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { DecodeError } from "../common/bytes.ts";
import type { MemberId } from "../common/ids.ts";
import { InvariantError } from "../common/invariant.ts";
import {
  ADDRESS_LENGTH_MAX,
  changeMembership,
  decodeMembership,
  encodeMembership,
  isMember,
  MEMBERS_MAX,
  NOBODY,
} from "./membership.ts";
import type { Membership, MembershipChange } from "./messages.ts";
import { memberId, membershipOf } from "./testing.ts";

/** Everything the format can say: ids of one byte and of eight, text that is not ASCII, an unknown address. */
const SAMPLE: Membership = {
  voters: [1n, 0x7fff_ffff_ffff_ffffn, 300n] as MemberId[],
  learners: [77n, 9n] as MemberId[],
  addresses: new Map([
    [1n, "master-1.example:19200"],
    [0x7fff_ffff_ffff_ffffn, "[2001:db8::1]:19200"],
    [77n, "müller:1"],
    [9n, "10.0.0.9:65535"],
  ] as [MemberId, string][]),
};

const membership = fc
  .uniqueArray(
    fc.record({
      id: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      address: fc.string({ maxLength: 40 }),
      isVoter: fc.boolean(),
    }),
    { selector: ({ id }) => id, maxLength: 12 },
  )
  .map((members): Membership => {
    const ids = (isVoter: boolean) =>
      members.filter((each) => each.isVoter === isVoter).map(({ id }) => id as MemberId);
    const known = members.filter(({ address }) => address !== "");
    const addresses = new Map(known.map(({ id, address }) => [id as MemberId, address]));
    return { voters: ids(true), learners: ids(false), addresses };
  });

test("the fixture of version 1 decodes for ever", () => {
  const bytes = readFileSync("test/fixtures/membership-v1.bin");
  assert.deepEqual(decodeMembership(bytes), SAMPLE);
  assert.deepEqual(encodeMembership(SAMPLE), new Uint8Array(bytes));
});

test("any membership is read as it was written", () => {
  fc.assert(
    fc.property(membership, (each) => {
      assert.deepEqual(decodeMembership(encodeMembership(each)), each);
    }),
  );
  assert.deepEqual(decodeMembership(encodeMembership(NOBODY)), NOBODY);
});

function decodeOrRefuse(bytes: Uint8Array): Membership | null {
  try {
    return decodeMembership(bytes);
  } catch (error) {
    assert.ok(error instanceof DecodeError, String(error));
    return null;
  }
}

test("any bytes are a membership or a DecodeError", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      decodeOrRefuse(bytes);
      decodeOrRefuse(new Uint8Array([1, ...bytes]));
    }),
    { numRuns: 2000 },
  );
  // Near misses: one byte of a good one is changed, or its end is missing.
  fc.assert(
    fc.property(membership, fc.nat(), fc.nat(255), (each, at, byte) => {
      const bytes = encodeMembership(each);
      const cut = decodeOrRefuse(bytes.subarray(0, at % bytes.length));
      assert.equal(cut, null, "bytes are missing");
      bytes[at % bytes.length] = byte;
      const changed = decodeOrRefuse(bytes);
      if (changed === null) return;
      const ids = [...changed.voters, ...changed.learners];
      assert.equal(new Set(ids).size, ids.length, "nobody is a member twice");
    }),
    { numRuns: 2000 },
  );
});

test("decodeMembership() refuses what no writer writes", () => {
  const bytes = (...parts: (number | number[])[]) => new Uint8Array(parts.flat());
  const member = (id: number) => [id, 1, 97];
  const table: [what: string, bytes: Uint8Array][] = [
    ["nothing", bytes()],
    ["another version", bytes(2, 0, 0)],
    ["bytes behind the end", bytes(1, 0, 0, 0)],
    ["a voter twice", bytes(1, 2, member(5), member(5), 0)],
    ["a voter who learns", bytes(1, 1, member(5), 1, member(5))],
    ["more members than bytes", bytes(1, 60, member(5))],
    ["too many", bytes(1, MEMBERS_MAX + 1, 0)],
    ["a long address", bytes(1, 1, 5, [0x85, 0x02], Array(ADDRESS_LENGTH_MAX + 1).fill(97), 0)],
  ];
  for (const [what, input] of table)
    assert.throws(() => decodeMembership(input), DecodeError, what);
  const crowd = membershipOf(Array.from({ length: MEMBERS_MAX + 1 }, (_, at) => at));
  assert.throws(() => encodeMembership(crowd), InvariantError);
});

test("4.1: changeMembership() takes one step, or says why not", () => {
  const from = membershipOf([1, 2], [3]);
  const address = (id: number) => `host${id}:19200`;
  const add = (kind: "addLearner" | "addVoter", id: number): MembershipChange => ({
    kind,
    id: memberId(id),
    address: address(id),
  });
  const remove = (id: number): MembershipChange => ({ kind: "remove", id: memberId(id) });
  const table: [change: MembershipChange, expected: Membership | string][] = [
    [add("addLearner", 4), membershipOf([1, 2], [3, 4])],
    [add("addLearner", 3), "already"],
    [add("addLearner", 2), "already"],
    [add("addVoter", 4), membershipOf([1, 2, 4], [3])],
    [add("addVoter", 3), membershipOf([1, 2, 3])],
    [add("addVoter", 2), "already"],
    [remove(1), membershipOf([2], [3])],
    [remove(3), membershipOf([1, 2])],
    [remove(9), "unknown"],
  ];
  for (const [change, expected] of table)
    assert.deepEqual(changeMembership(from, change), expected);
  assert.equal(changeMembership(membershipOf([1], [2]), remove(1)), "lastVoter");
  const crowd = membershipOf(Array.from({ length: MEMBERS_MAX }, (_, at) => at));
  assert.equal(changeMembership(crowd, add("addLearner", 99)), "full");
  assert.deepEqual(
    [1, 3, 9].map((id) => isMember(from, memberId(id))),
    [true, true, false],
  );
});

test("4.1: any majorities of two memberships that follow one another share a voter", () => {
  const step = fc.record({
    kind: fc.constantFrom("addLearner" as const, "addVoter" as const, "remove" as const),
    id: fc.nat(6),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      let now = membershipOf([1, 2, 3]);
      for (const { kind, id: number } of steps) {
        const id = memberId(number);
        const next = changeMembership(
          now,
          kind === "remove" ? { kind, id } : { kind, id, address: "a:1" },
        );
        if (typeof next === "string") continue;
        const all = new Set([...now.voters, ...next.voters]).size;
        const majority = (count: number) => Math.floor(count / 2) + 1;
        assert.ok(majority(now.voters.length) + majority(next.voters.length) > all);
        now = next;
      }
    }),
  );
});
