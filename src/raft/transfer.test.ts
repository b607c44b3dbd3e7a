import assert from "node:assert/strict";
import { test } from "node:test";
import { Cluster, memberId, TEST_CONFIG } from "./testing.ts";

const { electionTicksMax } = TEST_CONFIG;

function leaderNumber(cluster: Cluster): number | null {
  const leader = cluster.leader();
  return leader === null ? null : Number(leader.id);
}

function transfer(cluster: Cluster, to: number): boolean {
  const leader = cluster.leader();
  assert.ok(leader !== null);
  const isAccepted = leader.live.transferLeadership(memberId(to));
  cluster.pump(leader);
  return isAccepted;
}

test("3.10: a transfer moves leadership without waiting for any time-out", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  assert.equal(transfer(cluster, 3), true);
  cluster.settle();
  assert.equal(leaderNumber(cluster), 3);
  assert.equal(cluster.core(1).status().leader, memberId(3));
  assert.equal(cluster.core(1).status().term, 2);
});

test("3.10: the target catches up first", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.isolate(1, 2);
  cluster.propose(cluster.node(1), "a", "b", "c");
  cluster.round(5);
  cluster.heal();
  assert.equal(transfer(cluster, 3), true);
  assert.equal(cluster.take(({ kind }) => kind === "timeoutNow").length, 0);
  cluster.round(10);
  assert.equal(leaderNumber(cluster), 3);
  assert.deepEqual(cluster.node(3).applied, ["a", "b", "c"]);
});

test("3.10: proposals are refused meanwhile, and taken again when the transfer is given up", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.isolate(3);
  const leader = cluster.node(1);
  assert.equal(transfer(cluster, 3), true);
  for (let ticks = 0; ticks < electionTicksMax; ticks += 1) {
    assert.deepEqual(cluster.propose(leader, "a"), { kind: "notLeader", leader: null });
    cluster.round();
  }
  assert.equal(cluster.propose(leader, "a").kind, "accepted");
  assert.equal(leaderNumber(cluster), 1);
});

test("3.10: a transfer is refused by non-leaders, to oneself, to learners and to strangers", () => {
  const cluster = new Cluster({ voters: 3, learners: 1 });
  cluster.elect(1);
  assert.equal(cluster.core(2).transferLeadership(memberId(3)), false);
  for (const to of [1, 4, 9]) assert.equal(transfer(cluster, to), false);
  assert.equal(cluster.propose(cluster.node(1), "a").kind, "accepted");
});

test("3.10: a lost timeoutNow is repeated, and a doubled one does no harm", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  transfer(cluster, 2);
  const [lost] = cluster.take(({ kind }) => kind === "timeoutNow");
  assert.ok(lost !== undefined);
  cluster.round(TEST_CONFIG.heartbeatTicks);
  assert.equal(leaderNumber(cluster), 2);
  cluster.deliver(lost);
  cluster.settle();
  assert.deepEqual([leaderNumber(cluster), cluster.core(2).status().term], [2, 2]);
});

test("3.10: a later transfer replaces an earlier one; one to a dead peer ends at once", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.crash(cluster.node(3));
  transfer(cluster, 3);
  cluster.core(1).peerDied(memberId(3));
  assert.equal(cluster.propose(cluster.node(1), "a").kind, "accepted");
  transfer(cluster, 3);
  assert.equal(transfer(cluster, 2), true);
  cluster.settle();
  assert.equal(leaderNumber(cluster), 2);
});

test("3.10: open reads are given back by the old leader", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  transfer(cluster, 2);
  cluster.read(cluster.node(1));
  cluster.take(({ kind }) => kind === "heartbeat");
  cluster.settle();
  assert.equal(leaderNumber(cluster), 2);
  assert.equal(cluster.node(1).reads.get(1), "aborted");
});
