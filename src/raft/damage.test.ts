import assert from "node:assert/strict";
import { test } from "node:test";
import { Cluster, memberId, TEST_CONFIG, type TestNode } from "./testing.ts";

const { electionTicksMax, heartbeatTicks } = TEST_CONFIG;

function matchOf(cluster: Cluster, number: number): number | undefined {
  const { progress } = cluster.core(1).status();
  return progress.find(({ id }) => id === memberId(number))?.matchIndex;
}

/** Starts a node anew with a log that ends at `index`, and a state machine that has lost everything. */
function damage(cluster: Cluster, node: TestNode, index: number): void {
  cluster.crash(node);
  cluster.damage(node, index);
  cluster.restart(node, 0);
}

function clusterOfThree(...commands: string[]): Cluster {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.propose(cluster.node(1), ...commands);
  cluster.settle();
  return cluster;
}

test("a damaged log is filled again by the leader, though it knows the follower to hold all of it", () => {
  const cluster = clusterOfThree("a", "b", "c", "d");
  assert.equal(matchOf(cluster, 2), 5);
  const node = cluster.node(2);
  cluster.crash(node);
  node.disk.hardState = { ...node.disk.hardState, commitIndex: 5 };
  cluster.damage(node, 2);
  cluster.restart(node, 0);
  assert.deepEqual(node.disk.promised(), { index: 5, term: 1 });
  assert.equal(node.live.status().commitIndex, 2, "no more than there is");
  // Nothing is proposed: it is the heartbeat that tells.
  cluster.round(heartbeatTicks * 3);
  assert.deepEqual(node.applied, ["a", "b", "c", "d"]);
  assert.equal(node.disk.promised(), null);
  assert.equal(matchOf(cluster, 2), 5);
});

test("a leader does not count what a damaged peer had acknowledged, once it knows", () => {
  const cluster = clusterOfThree("a");
  cluster.isolate(3);
  const node = cluster.node(2);
  damage(cluster, node, 0);
  cluster.isDiskInstant = false;
  cluster.propose(cluster.node(1), "b");
  cluster.settle();
  assert.equal(matchOf(cluster, 2), 0);
  cluster.persist(cluster.node(1));
  assert.deepEqual(cluster.node(1).applied, ["a"]);
  cluster.persist(node);
  cluster.settle();
  assert.deepEqual(cluster.node(1).applied, ["a", "b"]);
});

test("an old report of damage that was repaired since costs a probe, and nothing else", () => {
  const cluster = clusterOfThree("a", "b");
  damage(cluster, cluster.node(2), 1);
  cluster.tick(cluster.node(1), heartbeatTicks);
  cluster.settleOnly(({ kind }) => kind === "heartbeat");
  const [report] = cluster.take(({ kind }) => kind === "appendRejected");
  assert.ok(report?.kind === "appendRejected" && report.isRepairing);
  cluster.network.push(report);
  cluster.settle();
  assert.equal(matchOf(cluster, 2), 3);
  cluster.deliver(report);
  assert.equal(matchOf(cluster, 2), 0);
  cluster.propose(cluster.node(1), "c");
  cluster.settle();
  assert.deepEqual([matchOf(cluster, 2), cluster.node(2).applied.at(-1)], [4, "c"]);
});

test("who has lost entries votes only for logs that are up to date with them", () => {
  const table: [index: number, term: number, isGranted: boolean][] = [
    [1, 1, false],
    [4, 2, false],
    [5, 2, true],
    [9, 1, false],
    [1, 3, true],
  ];
  for (const [lastLogIndex, lastLogTerm, isGranted] of table)
    for (const kind of ["requestVote", "requestPreVote"] as const) {
      const cluster = new Cluster({ voters: 3, isChecked: false });
      cluster.preset(1, [1, 1, 2, 2, 2]);
      damage(cluster, cluster.node(1), 1);
      const request = { kind, lastLogIndex, lastLogTerm, isTransfer: false };
      const [answer] = cluster.ask(2, 1, 4, request);
      assert.ok(answer !== undefined && "isGranted" in answer);
      assert.equal(answer.isGranted, isGranted, `${lastLogIndex}/${lastLogTerm}`);
    }
});

test("who has lost entries does not campaign: not by time, nor by order, nor at a leader's death", () => {
  const cluster = clusterOfThree("a", "b");
  const node = cluster.node(2);
  damage(cluster, node, 1);
  cluster.network = [];
  cluster.tick(node, electionTicksMax * 3);
  cluster.ask(1, 2, 1, { kind: "timeoutNow" });
  cluster.ask(1, 2, 1, { kind: "heartbeat", commitIndex: 0, readContext: 0 });
  node.live.peerDied(memberId(1));
  cluster.tick(node, electionTicksMax * 3);
  assert.equal(node.live.status().role, "follower");
  assert.equal(cluster.network.length, 0);
});

test("a committed entry whose only other copy was damaged is not lost", () => {
  const cluster = clusterOfThree("a");
  cluster.isolate(3);
  cluster.propose(cluster.node(1), "b");
  cluster.settle();
  cluster.heal();
  cluster.network = [];
  cluster.crash(cluster.node(1));
  damage(cluster, cluster.node(2), 2);
  cluster.round(electionTicksMax * 10);
  assert.equal(cluster.leader(), null, "nobody has it: better nobody leads");
  cluster.restart(cluster.node(1));
  cluster.round(electionTicksMax * 10);
  for (const node of cluster.nodes) assert.deepEqual(node.applied, ["a", "b"]);
});

test("the promise ends when the log has reached it on the disk, also by entries of a newer term", () => {
  const cluster = new Cluster({ voters: 3, isChecked: false });
  cluster.preset(1, [1, 2, 2, 2]);
  const node = cluster.node(1);
  damage(cluster, node, 1);
  cluster.isDiskInstant = false;
  const entry = { index: 2, term: 3, kind: "noop", payload: new Uint8Array(0) } as const;
  const append = {
    kind: "appendEntries",
    prevLogIndex: 1,
    prevLogTerm: 1,
    entries: [entry],
    leaderCommit: 0,
  } as const;
  cluster.ask(2, 1, 3, append);
  const request = (lastLogIndex: number, lastLogTerm: number) =>
    cluster.ask(3, 1, 3, { kind: "requestPreVote", lastLogIndex, lastLogTerm, isTransfer: true });
  assert.notEqual(node.disk.promised(), null);
  cluster.persist(node);
  assert.equal(node.disk.promised(), null);
  const [answer] = request(2, 3);
  assert.ok(answer !== undefined && "isGranted" in answer);
  cluster.tick(node, electionTicksMax + 1);
  assert.equal(node.live.status().role, "preCandidate");
});

test("damage and a trimmed leader: the snapshot fills the hole", () => {
  const cluster = clusterOfThree("a", "b", "c");
  cluster.propose(cluster.node(1), "d");
  cluster.settle();
  cluster.trim(cluster.node(1));
  const node = cluster.node(2);
  damage(cluster, node, 1);
  for (let rounds = 0; node.wanted === null; rounds += 1) {
    assert.ok(rounds < 50);
    cluster.round();
  }
  cluster.install(node);
  cluster.round(heartbeatTicks * 2);
  assert.deepEqual(node.applied, ["a", "b", "c", "d"]);
  assert.equal(node.disk.promised(), null);
});

test("a damaged log knows the members of what is left, and learns the newer ones again", () => {
  const cluster = clusterOfThree("a");
  cluster.change(cluster.node(1), { kind: "addLearner", id: memberId(4), address: "host4:19200" });
  cluster.settle();
  const node = cluster.node(2);
  damage(cluster, node, 2);
  assert.deepEqual(node.live.status().membership.learners, []);
  cluster.round(heartbeatTicks * 3);
  assert.deepEqual(node.live.status().membership.learners, [memberId(4)]);
});
