import assert from "node:assert/strict";
import { test } from "node:test";
import type { MembershipChange, Message } from "./messages.ts";
import { Cluster, memberId, membershipOf, TEST_CONFIG, type TestNode } from "./testing.ts";

const { electionTicksMax, heartbeatTicks } = TEST_CONFIG;

function add(kind: "addLearner" | "addVoter", number: number): MembershipChange {
  return { kind, id: memberId(number), address: `host${number}:19200` };
}

function remove(number: number): MembershipChange {
  return { kind: "remove", id: memberId(number) };
}

/** The members that a node knows of, as in "1 2 3 | 4". */
function members(node: TestNode): string {
  const { voters, learners } = node.live.status().membership;
  return [voters.join(" "), learners.join(" ")].filter((text) => text !== "").join(" | ");
}

function isBetween(...numbers: number[]): (message: Message) => boolean {
  const ids = new Set(numbers.map(memberId));
  return ({ from, to }) => ids.has(from) && ids.has(to);
}

/** Lets a node campaign as if a leader had told it to; it wins, and none of its entries has arrived anywhere. */
function promote(cluster: Cluster, number: number): void {
  const node = cluster.node(number);
  const { term } = node.live.status();
  const from = memberId(number === 1 ? 2 : 1);
  cluster.network = [];
  node.live.step({ from, to: node.id, term, kind: "timeoutNow" });
  cluster.pump(node);
  cluster.settleOnly(({ kind }) => kind === "requestVote" || kind === "voteResponse");
  assert.equal(node.live.status().role, "leader");
}

test("4.1: a sole voter grows to two and three, and shrinks to one again", () => {
  const cluster = new Cluster({ voters: 1 });
  cluster.elect(1);
  const leader = cluster.node(1);
  cluster.propose(leader, "before");
  const [second, third] = [cluster.join(), cluster.join()];
  for (const number of [2, 3]) {
    assert.equal(cluster.change(leader, add("addLearner", number)).kind, "accepted");
    cluster.round(heartbeatTicks * 3);
    assert.equal(cluster.change(leader, add("addVoter", number)).kind, "accepted");
    cluster.round(heartbeatTicks * 3);
  }
  for (const node of cluster.nodes) assert.equal(members(node), "1 2 3");
  for (const node of [second, third]) assert.deepEqual(node.applied, ["before"]);
  cluster.propose(leader, "among three");
  cluster.settleOnly(isBetween(1, 3));
  assert.deepEqual(leader.applied.at(-1), "among three");
  cluster.settle();
  for (const number of [2, 3]) {
    assert.equal(cluster.change(leader, remove(number)).kind, "accepted");
    cluster.round(heartbeatTicks * 3);
  }
  assert.equal(members(leader), "1");
  cluster.isolate(1);
  cluster.propose(leader, "alone");
  cluster.round(electionTicksMax * 3);
  assert.deepEqual(leader.applied.at(-1), "alone");
  assert.equal(leader.live.status().role, "leader");
});

test("4.2.1: a stranger that becomes a voter at once counts for commits from then on", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  const leader = cluster.node(1);
  cluster.join();
  cluster.isolate(4);
  cluster.change(leader, add("addVoter", 4));
  cluster.settle();
  assert.equal(members(leader), "1 2 3 4", "committed by the old majority");
  cluster.propose(leader, "a");
  cluster.settleOnly(isBetween(1, 2));
  assert.deepEqual(leader.applied, [], "two of four are no majority");
  cluster.settle();
  assert.deepEqual(leader.applied, ["a"]);
});

test("a membership is in force when it is committed, not before, and survives a restart", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  const leader = cluster.node(1);
  const accepted = cluster.change(leader, add("addLearner", 4));
  assert.deepEqual(accepted, { kind: "accepted", index: 2, term: 1 });
  assert.equal(members(leader), "1 2 3");
  cluster.settle();
  for (const node of cluster.nodes) assert.equal(members(node), "1 2 3 | 4");
  assert.equal(leader.live.status().membership.addresses.get(memberId(4)), "host4:19200");
  for (const node of cluster.nodes) {
    cluster.crash(node);
    cluster.restart(node, 0);
    assert.equal(members(node), "1 2 3 | 4", "the commit index went to the disk with it");
  }
});

test("Ready tells of a membership once, with its index, and asks for a sync", () => {
  const cluster = new Cluster({ voters: 1 });
  cluster.elect(1);
  const core = cluster.core(1);
  core.proposeMembership(add("addLearner", 2));
  const proposed = core.takeReady();
  assert.equal(proposed?.membership, null);
  cluster.node(1).written.append(proposed?.entries ?? []);
  core.persisted({ index: 2, term: 1 });
  const ready = core.takeReady();
  assert.deepEqual(ready?.membership, { index: 2, membership: membershipOf([1], [2]) });
  assert.deepEqual([ready?.hardState?.commitIndex, ready?.mustSync], [2, true]);
  core.propose([new Uint8Array(1)]);
  assert.equal(core.takeReady()?.membership, null);
});

test("4.1: refusals: an earlier step is pending, nothing would change, nobody would be left", () => {
  const cluster = new Cluster({ voters: 3, learners: 1 });
  const leader = cluster.node(1);
  assert.deepEqual(cluster.change(leader, remove(2)), { kind: "notLeader", leader: null });
  cluster.elect(1);
  const reason = (change: MembershipChange) => {
    const result = cluster.change(leader, change);
    return result.kind === "refused" ? result.reason : result.kind;
  };
  assert.equal(reason(remove(9)), "unknown");
  assert.equal(reason(add("addVoter", 3)), "already");
  assert.equal(reason(add("addLearner", 4)), "already");
  assert.equal(reason(remove(4)), "accepted");
  assert.equal(reason(remove(3)), "pending");
  cluster.settle();
  assert.equal(reason(remove(3)), "accepted");
  cluster.settle();
  assert.equal(reason(remove(2)), "accepted");
  cluster.settle();
  assert.equal(reason(remove(1)), "lastVoter");
  const follower = new Cluster({ voters: 3 });
  follower.elect(1);
  const refused = follower.change(follower.node(2), remove(3));
  assert.deepEqual(refused, { kind: "notLeader", leader: memberId(1) });
});

test("4.1, the flaw found in 2015: no step before an entry of the leader's own term is committed", () => {
  // Two leaders in turn follow the same membership of four with a step of their own, and neither commits it:
  // then majorities of the two results need not meet. The no-op of the second one's term forbids it.
  const cluster = new Cluster({ voters: 4 });
  cluster.elect(1);
  const first = cluster.node(1);
  cluster.isolate(1);
  cluster.change(first, add("addVoter", 5));
  cluster.take(() => true);
  const second = cluster.node(2);
  promote(cluster, 2);
  assert.deepEqual(cluster.change(second, remove(1)), { kind: "refused", reason: "notReady" });
  cluster.settle();
  assert.equal(cluster.change(second, remove(1)).kind, "accepted");
  cluster.settle();
  assert.equal(members(second), "2 3 4");
  cluster.heal();
  // The first one's step was never committed, and goes.
  cluster.round(electionTicksMax);
  assert.equal(members(first), "1 2 3 4");
  assert.notEqual(first.live.status().role, "leader");
});

test("a step that was not committed goes when a new leader overwrites it", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  const old = cluster.node(1);
  cluster.isolate(1);
  cluster.change(old, add("addLearner", 4));
  assert.equal(cluster.change(old, remove(3)).kind, "refused");
  promote(cluster, 2);
  cluster.settle();
  cluster.heal();
  cluster.round(electionTicksMax);
  for (const node of cluster.nodes) assert.equal(members(node), "1 2 3");
  assert.equal(cluster.change(cluster.node(2), add("addLearner", 5)).kind, "accepted");
  cluster.settle();
  for (const node of cluster.nodes) assert.equal(members(node), "1 2 3 | 5");
});

test("a step that a new leader finds in its log is pending until its no-op commits it", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.change(cluster.node(1), add("addLearner", 4));
  cluster.settleOnly(({ kind }) => kind === "appendEntries");
  cluster.network = [];
  cluster.crash(cluster.node(1));
  const next = cluster.node(2);
  assert.equal(next.written.lastIndex(), 2);
  promote(cluster, 2);
  assert.equal(members(next), "1 2 3");
  assert.deepEqual(cluster.change(next, remove(1)), { kind: "refused", reason: "notReady" });
  cluster.settle();
  assert.equal(members(next), "1 2 3 | 4");
});

test("4.2.2: a leader that removes itself counts itself to the end, hands over, and steps down", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  const leader = cluster.node(1);
  cluster.isolate(3);
  cluster.change(leader, remove(1));
  cluster.propose(leader, "behind it");
  cluster.settle();
  assert.equal(members(leader), "2 3", "committed by 1 and 2");
  assert.equal(members(cluster.node(2)), "2 3", "the successor knows before it campaigns");
  assert.deepEqual(cluster.propose(leader, "too late"), { kind: "notLeader", leader: null });
  assert.deepEqual(cluster.change(leader, remove(2)), { kind: "notLeader", leader: null });
  cluster.heal();
  cluster.round(electionTicksMax);
  const successor = cluster.leader();
  assert.ok(successor !== null && successor !== leader);
  assert.equal(leader.live.status().role, "follower");
  assert.deepEqual(successor.applied, ["behind it"]);
  cluster.tick(leader, electionTicksMax * 3);
  cluster.settle();
  assert.equal(leader.live.status().role, "follower", "it campaigns no more");
});

test("4.2.2: a planned removal of the leader costs no time-out", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.change(cluster.node(1), remove(1));
  cluster.settle();
  const successor = cluster.leader();
  assert.ok(successor !== null && successor.id !== memberId(1));
  assert.equal(cluster.propose(successor, "at once").kind, "accepted");
  cluster.settle();
  assert.deepEqual(successor.applied, ["at once"]);
});

test("4.2.2: a removed leader tries another successor when the first dies, and gives up after a time-out", () => {
  const cluster = new Cluster({ voters: 4 });
  cluster.elect(1);
  const leader = cluster.node(1);
  cluster.change(leader, remove(1));
  cluster.settleOnly(({ kind }) => kind !== "timeoutNow");
  const [first] = cluster.take(({ kind }) => kind === "timeoutNow");
  assert.ok(first !== undefined);
  leader.live.peerDied(first.to);
  cluster.pump(leader);
  const [second] = cluster.network.filter(({ kind }) => kind === "timeoutNow");
  assert.ok(second !== undefined && second.to !== first.to);
  cluster.isolate(1);
  cluster.network = [];
  cluster.tick(leader, electionTicksMax);
  assert.equal(leader.live.status().role, "follower");
});

test("4.2.2: a leader that shall not hand over steps down once all have heard that it is removed", () => {
  const cluster = new Cluster({ voters: 3, config: { handOverTicksMax: 0 } });
  cluster.elect(1);
  cluster.change(cluster.node(1), remove(1));
  cluster.settle();
  assert.equal(cluster.core(1).status().role, "follower");
  assert.notEqual(cluster.leader(), null, "whoever was up to date was asked to campaign");
  for (const node of cluster.nodes) assert.equal(members(node), "2 3");

  const lagging = new Cluster({ voters: 3, config: { handOverTicksMax: 0 } });
  lagging.elect(1);
  lagging.change(lagging.node(1), remove(1));
  lagging.propose(lagging.node(1), "a");
  lagging.settleOnly(
    (message) =>
      message.kind !== "appendEntries" || message.entries.some(({ kind }) => kind === "config"),
  );
  assert.equal(lagging.core(1).status().role, "follower");
  assert.equal(lagging.leader(), null, "nobody was up to date");
});

test("a new peer that has nothing or all but the last entry needs one probe", () => {
  const cluster = new Cluster({ voters: 1 });
  cluster.elect(1);
  cluster.join();
  cluster.change(cluster.node(1), add("addLearner", 2));
  const [probe, ...others] = cluster.network.filter(({ kind }) => kind === "appendEntries");
  assert.ok(probe?.kind === "appendEntries" && others.length === 0);
  assert.deepEqual([probe.prevLogIndex, probe.entries.length], [1, 1]);
  cluster.settle();
  assert.equal(members(cluster.node(2)), "1 | 2");
});

test("4.2.3: a removed server that was not told neither deposes the leader nor raises its term", () => {
  const cluster = new Cluster({ voters: 4 });
  cluster.elect(1);
  cluster.isolate(4);
  cluster.change(cluster.node(1), remove(4));
  cluster.settle();
  cluster.heal();
  cluster.round(electionTicksMax * 10);
  const { role, term } = cluster.core(1).status();
  assert.deepEqual([role, term], ["leader", 1]);
  assert.equal(members(cluster.node(4)), "1 2 3 4", "nobody sends it anything any more");
  // Even with a vote for itself in a newer term, which a leader's request may have brought about.
  cluster.ask(4, 2, 9, { kind: "requestVote", lastLogIndex: 2, lastLogTerm: 1, isTransfer: false });
  cluster.round(electionTicksMax);
  assert.deepEqual([cluster.core(1).status().role, cluster.core(2).status().term], ["leader", 1]);
});

test("4.2.2: who is not a member in its own eyes votes all the same, for a log that is up to date", () => {
  const cluster = new Cluster({ voters: 3 });
  const joiner = cluster.join();
  const request = {
    kind: "requestVote",
    lastLogIndex: 5,
    lastLogTerm: 2,
    isTransfer: false,
  } as const;
  const [answer] = cluster.ask(2, 4, 3, request);
  assert.ok(answer?.kind === "voteResponse" && answer.isGranted);
  assert.deepEqual(joiner.disk.hardState.vote, memberId(2));
  cluster.tick(joiner, electionTicksMax * 5);
  cluster.ask(1, 4, 3, { kind: "timeoutNow" });
  assert.deepEqual(joiner.live.status().role, "follower", "but it does not campaign");
});

test("a learner that becomes a voter with a stale log does not win over a better one", () => {
  const cluster = new Cluster({ voters: 3, learners: 1 });
  cluster.elect(1);
  const leader = cluster.node(1);
  cluster.isolate(4);
  cluster.propose(leader, "a", "b");
  cluster.change(leader, add("addVoter", 4));
  cluster.settle();
  cluster.crash(leader);
  cluster.heal();
  cluster.network = [];
  const late = cluster.node(4);
  assert.equal(members(late), "1 2 3 | 4", "it has not heard that it counts");
  // Told by a leader that is gone by now, it tries; nobody grants.
  cluster.tick(late, electionTicksMax);
  cluster.settle();
  assert.equal(late.live.status().role, "follower");
  cluster.round(electionTicksMax * 10);
  const next = cluster.leader();
  assert.ok(next !== null && next.id !== memberId(4));
  assert.deepEqual(late.applied, ["a", "b"]);
  assert.equal(members(late), "1 2 3 4");
});

test("6.2: learners do not count for check-quorum, and new voters get time to be heard", () => {
  const cluster = new Cluster({ voters: 3, learners: 2 });
  cluster.elect(1);
  cluster.isolate(1, 4, 5);
  cluster.round(electionTicksMax * 2);
  assert.notEqual(cluster.core(1).status().role, "leader", "two learners are no quorum");

  const growing = new Cluster({ voters: 1 });
  growing.elect(1);
  growing.join();
  growing.round(electionTicksMax * 2);
  growing.change(growing.node(1), add("addVoter", 2));
  growing.tick(growing.node(1), electionTicksMax - 1);
  assert.equal(growing.core(1).status().role, "leader");
  growing.tick(growing.node(1));
  assert.equal(growing.core(1).status().role, "follower", "two of two have to be heard");
});

test("3.10: leadership goes to no learner and to nobody removed", () => {
  const cluster = new Cluster({ voters: 3, learners: 1 });
  cluster.elect(1);
  const leader = cluster.node(1);
  assert.equal(leader.live.transferLeadership(memberId(4)), false);
  cluster.isolate(3);
  assert.equal(leader.live.transferLeadership(memberId(3)), true);
  cluster.pump(leader);
  assert.equal(cluster.change(leader, remove(3)).kind, "notLeader", "not while handing over");
  leader.live.peerDied(memberId(3));
  cluster.change(leader, remove(3));
  assert.equal(leader.live.transferLeadership(memberId(3)), true);
  cluster.settle();
  assert.equal(members(leader), "1 2 | 4");
  assert.equal(leader.live.transferLeadership(memberId(3)), false);
  assert.equal(cluster.propose(leader, "a").kind, "accepted", "the transfer ended with its target");
  cluster.settle();
  assert.deepEqual(cluster.node(2).applied, ["a"]);
});

test("6.4: a read is released by a majority of the membership that is in force then", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  const leader = cluster.node(1);
  cluster.join();
  cluster.isolate(4);
  cluster.change(leader, add("addVoter", 4));
  cluster.settle();
  const grown = cluster.read(leader) ?? 0;
  cluster.settleOnly(isBetween(1, 2));
  assert.equal(leader.reads.get(grown), "waiting", "two of four");
  cluster.settle();
  assert.equal(leader.reads.get(grown), 2);

  const shrinking = new Cluster({ voters: 4 });
  shrinking.elect(1);
  const old = shrinking.node(1);
  shrinking.change(old, remove(4));
  const context = shrinking.read(old) ?? 0;
  const isRead = ({ kind }: Message) => kind === "heartbeat" || kind === "heartbeatResponse";
  shrinking.settleOnly((message) => isRead(message) && isBetween(1, 2)(message));
  shrinking.take(isRead);
  assert.equal(old.reads.get(context), "waiting", "two of four");
  shrinking.settleOnly((message) => !isRead(message));
  assert.equal(members(old), "1 2 3");
  assert.equal(old.reads.get(context), 1, "two of three");
});

test("a removal lowers the majority: what waited for it is committed with it", () => {
  const cluster = new Cluster({ voters: 4, config: { appendBytesMax: 1 } });
  cluster.elect(1);
  const leader = cluster.node(1);
  cluster.isolate(4);
  cluster.change(leader, remove(4));
  cluster.propose(leader, "a");
  // 2 gets both entries, 3 only the removal.
  cluster.settleOnly(
    (message) =>
      (message.kind === "appendAccepted" && message.from === memberId(2)) ||
      (message.kind === "appendEntries" &&
        (message.to === memberId(2) || message.entries.some(({ kind }) => kind === "config"))),
  );
  assert.equal(members(leader), "1 2 3 4");
  const [last] = cluster.take(({ kind }) => kind === "appendAccepted");
  assert.ok(last !== undefined && last.from === memberId(3));
  leader.live.step(last);
  assert.equal(leader.live.status().commitIndex, 3);
  cluster.pump(leader);
  assert.equal(members(leader), "1 2 3");
  assert.deepEqual(leader.applied, ["a"]);
});

test("a remaining voter learns from a removed one's refusal that it is alone, and goes on", () => {
  // 1 removes itself, and only it knows that this is committed. Its log is the longer one.
  const cluster = new Cluster({ voters: 2 });
  cluster.elect(1);
  cluster.change(cluster.node(1), remove(1));
  cluster.propose(cluster.node(1), "behind it");
  const isOf = (kind: string) => (message: Message) =>
    message.kind === "appendEntries" && message.entries.some((entry) => entry.kind === kind);
  cluster.settleOnly((message) => isOf("config")(message) || message.kind === "appendAccepted");
  assert.deepEqual([members(cluster.node(1)), members(cluster.node(2))], ["2", "1 2"]);
  cluster.network = [];
  for (const number of [1, 2]) {
    cluster.crash(cluster.node(number));
    cluster.restart(cluster.node(number));
  }
  assert.ok(cluster.node(1).disk.lastIndex() > cluster.node(2).disk.lastIndex());
  cluster.round(electionTicksMax * 3);
  assert.equal(members(cluster.node(2)), "2");
  assert.equal(cluster.leader(), cluster.node(2));
});

test("a log whose last membership but one was not known to be committed knows it by the last", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  for (const number of [4, 5]) {
    cluster.change(cluster.node(1), add("addLearner", number));
    cluster.settle();
  }
  const node = cluster.node(2);
  cluster.crash(node);
  node.disk.hardState = { ...node.disk.hardState, commitIndex: 0 };
  cluster.restart(node, 0);
  assert.equal(members(node), "1 2 3 | 4");
  assert.equal(node.live.status().commitIndex, 2);
});
