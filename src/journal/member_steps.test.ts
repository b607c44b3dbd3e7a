import assert from "node:assert/strict";
import { test } from "node:test";
import type { MemberId } from "../common/ids.ts";
import type { Membership, MembershipChange, Raft } from "../raft/messages.ts";
import { MemberSteps } from "./member_steps.ts";
import type { Greeting } from "./peer_transport.ts";

const A = 1n as MemberId;
const B = 2n as MemberId;

/** A leader whose proposals are committed at once. */
function leaderOf(voters: readonly MemberId[]): { raft: Raft; membership: () => Membership } {
  const addresses = new Map(voters.map((id) => [id, `m${id}:1`]));
  let membership: Membership = { voters: [...voters], learners: [], addresses };
  const raft = {
    status: () => ({
      membership,
      lastIndex: 5,
      progress: membership.learners.map((id) => ({ id, matchIndex: 5, isActive: true })),
    }),
    proposeMembership(change: MembershipChange) {
      const { id } = change;
      const others = (ids: readonly MemberId[]) => ids.filter((each) => each !== id);
      const next = new Map(membership.addresses);
      if (change.kind === "remove") next.delete(id);
      else next.set(id, change.address);
      membership = {
        voters: [...others(membership.voters), ...(change.kind === "addVoter" ? [id] : [])],
        learners: [...others(membership.learners), ...(change.kind === "addLearner" ? [id] : [])],
        addresses: next,
      };
      return { kind: "accepted", index: 1, term: 1 };
    },
  };
  // No more of it is called.
  return { raft: raft as unknown as Raft, membership: () => membership };
}

test("a master that is removed right after it joined does not come back by what it said before", () => {
  const steps = new MemberSteps(() => {});
  const { raft, membership } = leaderOf([A]);
  // Only these two are looked at.
  steps.joinerSeen({ id: B, address: "m2:1" } as Greeting, 0);
  for (let tick = 0; tick < 5; tick++) steps.tick(raft, tick, () => true);
  assert.deepEqual(membership().voters, [A, B]);
  const answers: unknown[] = [];
  steps.remove("m2:1", (error) => answers.push(error));
  for (let tick = 5; tick < 10; tick++) {
    steps.tick(raft, tick, (id) => id === A);
    steps.changed(membership());
  }
  assert.deepEqual(answers, [null]);
  assert.deepEqual([...membership().addresses.keys()], [A]);
});

test("a member gives way to a joiner at its address only when that one has answered in its place", () => {
  const steps = new MemberSteps(() => {});
  const { raft, membership } = leaderOf([A, B]);
  // Only these two are looked at.
  const joiner = { id: 3n as MemberId, address: "m2:1" } as Greeting;
  const isAvailable = (id: MemberId) => id === A;
  steps.answeredInstead(joiner, 0);
  for (let nowMs = 0; nowMs < 5; nowMs++) {
    // It may be a word of one that B has replaced since.
    steps.joinerSeen(joiner, nowMs);
    steps.tick(raft, nowMs, isAvailable);
  }
  assert.deepEqual([...membership().addresses.keys()], [A, B]);
  steps.answeredInstead({ ...joiner, id: 4n as MemberId }, 5);
  steps.tick(raft, 5, isAvailable);
  assert.deepEqual([...membership().addresses.keys()], [A, B]);
  steps.answeredInstead(joiner, 6);
  for (let nowMs = 6; nowMs < 10; nowMs++) steps.tick(raft, nowMs, isAvailable);
  assert.deepEqual([...membership().addresses.keys()], [A, 3n]);
});
