import assert from "node:assert/strict";
import { test } from "node:test";
import type { Message, Snapshot } from "./messages.ts";
import { Cluster, memberId, membershipOf, TEST_CONFIG, type TestNode } from "./testing.ts";

const { electionTicksMax, heartbeatTicks } = TEST_CONFIG;

/** A cluster of three in which 3 lacks what 1 and 2 have trimmed. */
function clusterWithTrimmedLog(): Cluster {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.propose(cluster.node(1), "a");
  cluster.settle();
  cluster.isolate(3);
  cluster.propose(cluster.node(1), "b", "c");
  cluster.settle();
  for (const number of [1, 2]) cluster.trim(cluster.node(number));
  cluster.round(electionTicksMax);
  cluster.heal();
  return cluster;
}

function roundUntilWanted(cluster: Cluster, node: TestNode): void {
  for (let rounds = 0; node.wanted === null; rounds += 1) {
    assert.ok(rounds < 100, "the node wants a snapshot");
    cluster.round();
  }
}

function modeOf(cluster: Cluster, number: number): string | undefined {
  const { progress } = cluster.core(1).status();
  return progress.find(({ id }) => id === memberId(number))?.mode;
}

function isSnapshot({ kind }: Message): boolean {
  return kind === "snapshot";
}

function offer(index: number, term: number) {
  const snapshot: Snapshot = { index, term, membership: membershipOf([1, 2, 3]) };
  return { kind: "snapshot", snapshot } as const;
}

test("5.1: a follower that needs trimmed entries gets a snapshot, and then the rest", () => {
  const cluster = clusterWithTrimmedLog();
  const late = cluster.node(3);
  roundUntilWanted(cluster, late);
  assert.deepEqual(late.wanted, { index: 4, term: 1, membership: membershipOf([1, 2, 3]) });
  assert.equal(modeOf(cluster, 3), "snapshot");
  cluster.propose(cluster.node(1), "d");
  cluster.round(heartbeatTicks);
  assert.deepEqual(late.applied, ["a"], "it gets nothing but heartbeats meanwhile");
  cluster.install(late);
  cluster.round(heartbeatTicks * 2);
  assert.deepEqual(late.applied, ["a", "b", "c", "d"]);
  assert.equal(modeOf(cluster, 3), "replicate");
  assert.deepEqual([late.disk.firstIndex(), late.disk.lastIndex()], [5, 5]);
  cluster.crash(late);
  cluster.restart(late);
  assert.equal(late.live.status().commitIndex >= 4, true);
});

test("whoever has installed a snapshot is not told again what it holds", () => {
  const cluster = new Cluster({ voters: 1 });
  cluster.elect(1);
  const joiner = cluster.join();
  cluster.isolate(2);
  cluster.change(cluster.node(1), { kind: "addLearner", id: joiner.id, address: "host2:19200" });
  cluster.settle();
  cluster.propose(cluster.node(1), "behind the first probe");
  cluster.trim(cluster.node(1));
  cluster.heal();
  roundUntilWanted(cluster, joiner);
  cluster.network = [];
  cluster.install(joiner);
  cluster.settleOnly(({ kind }) => kind === "appendAccepted");
  assert.equal(modeOf(cluster, 2), "replicate");
  assert.equal(cluster.network.length, 0);
});

test("the offer is repeated: it may be lost, or the snapshot not be had", () => {
  const cluster = clusterWithTrimmedLog();
  const late = cluster.node(3);
  let lost = 0;
  for (let rounds = 0; lost < 2; rounds += 1) {
    assert.ok(rounds < 100);
    for (const node of cluster.nodes) cluster.tick(node);
    lost += cluster.take(isSnapshot).length;
    cluster.settleOnly((message) => !isSnapshot(message));
    lost += cluster.take(isSnapshot).length;
  }
  roundUntilWanted(cluster, late);
  cluster.failSnapshot(late);
  roundUntilWanted(cluster, late);
  cluster.install(late);
  cluster.round(heartbeatTicks * 2);
  assert.deepEqual(late.applied, ["a", "b", "c"]);
});

test("while a snapshot is being got, a second offer changes nothing", () => {
  const cluster = clusterWithTrimmedLog();
  const late = cluster.node(3);
  roundUntilWanted(cluster, late);
  const first = late.wanted;
  cluster.round(electionTicksMax * 3);
  assert.equal(late.wanted, first);
  assert.equal(cluster.core(1).status().role, "leader");
});

test("a snapshot that was made meanwhile may be newer than the one that was offered", () => {
  const cluster = clusterWithTrimmedLog();
  const late = cluster.node(3);
  roundUntilWanted(cluster, late);
  cluster.propose(cluster.node(1), "d", "e");
  cluster.settle();
  cluster.trim(cluster.node(1));
  late.wanted = cluster.node(1).disk.newestSnapshot;
  assert.equal(late.wanted?.index, 6);
  cluster.install(late);
  cluster.round(heartbeatTicks * 2);
  assert.deepEqual(late.applied, ["a", "b", "c", "d", "e"]);
});

test("a snapshot that the leader has trimmed beyond leads to another offer", () => {
  const cluster = clusterWithTrimmedLog();
  const late = cluster.node(3);
  roundUntilWanted(cluster, late);
  cluster.propose(cluster.node(1), "d", "e");
  cluster.settle();
  cluster.trim(cluster.node(1));
  cluster.install(late);
  roundUntilWanted(cluster, late);
  assert.equal(late.wanted?.index, 6);
  cluster.install(late);
  cluster.round(heartbeatTicks * 2);
  assert.deepEqual(late.applied, ["a", "b", "c", "d", "e"]);
});

test("without a snapshot the peer gets heartbeats, until one is made", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.isolate(3);
  cluster.propose(cluster.node(1), "a");
  cluster.settle();
  cluster.node(1).written.trim(2);
  cluster.heal();
  cluster.round(electionTicksMax * 3);
  assert.equal(cluster.node(3).wanted, null);
  assert.equal(cluster.core(3).status().leader, memberId(1));
  cluster.node(1).written.newestSnapshot = offer(2, 1).snapshot;
  roundUntilWanted(cluster, cluster.node(3));
});

test("the death of the peer ends the wait: it is asked where it stands", () => {
  const cluster = clusterWithTrimmedLog();
  const late = cluster.node(3);
  roundUntilWanted(cluster, late);
  cluster.crash(late);
  cluster.core(1).peerDied(late.id);
  assert.equal(modeOf(cluster, 3), "probe");
  cluster.restart(late);
  roundUntilWanted(cluster, late);
  cluster.install(late);
  cluster.round(heartbeatTicks * 2);
  assert.deepEqual(late.applied, ["a", "b", "c"]);
});

test("a follower that holds the position answers a snapshot as an append", () => {
  const table: [what: string, log: number[], commit: number, index: number, match: number][] = [
    ["committed further", [1, 1, 2, 2], 3, 2, 3],
    ["in the log, not known to be committed", [1, 1, 2, 2], 1, 3, 3],
  ];
  for (const [what, log, commitIndex, index, matchIndex] of table) {
    const cluster = new Cluster({ voters: 3, isChecked: false });
    cluster.preset(1, log, { commitIndex });
    const answers = cluster.ask(2, 1, 3, offer(index, log[index - 1] ?? 0));
    assert.deepEqual(
      answers.map(({ from: _from, to: _to, ...rest }) => rest),
      [{ kind: "appendAccepted", term: 3, matchIndex }],
      what,
    );
    assert.equal(cluster.node(1).wanted, null);
    assert.equal(cluster.core(1).status().commitIndex, matchIndex);
    assert.deepEqual(cluster.node(1).disk.terms(), log, "nothing is lost");
  }
});

test("a log that conflicts with a snapshot is replaced by it", () => {
  const cluster = new Cluster({ voters: 3, isChecked: false });
  cluster.preset(1, [1, 2, 2, 2, 2], { commitIndex: 1 });
  const node = cluster.node(1);
  assert.deepEqual(cluster.ask(2, 1, 4, offer(3, 3)), []);
  assert.deepEqual(node.wanted?.index, 3);
  const donor = cluster.node(2);
  donor.appliedEntries = [1, 2, 3].map((index) => ({
    index,
    term: 3,
    kind: "noop",
    payload: new Uint8Array(0),
  }));
  cluster.install(node);
  const { commitIndex, lastIndex } = node.live.status();
  assert.deepEqual([commitIndex, lastIndex], [3, 3]);
  assert.deepEqual(node.disk.hardState.commitIndex, 3);
  const [acknowledged] = cluster.take(({ kind }) => kind === "appendAccepted");
  assert.deepEqual([acknowledged?.to, acknowledged?.term], [memberId(2), 4]);
});

test("while it gets a snapshot a node takes no entries, applies nothing and does not campaign, but votes", () => {
  const cluster = new Cluster({ voters: 3, isChecked: false });
  cluster.preset(1, [1, 1], { commitIndex: 0 });
  const node = cluster.node(1);
  cluster.ask(2, 1, 3, offer(5, 3));
  const append = {
    kind: "appendEntries",
    prevLogIndex: 2,
    prevLogTerm: 1,
    entries: [{ index: 3, term: 3, kind: "noop", payload: new Uint8Array(0) }],
    leaderCommit: 3,
  } as const;
  assert.deepEqual(cluster.ask(2, 1, 3, append), []);
  const [beat] = cluster.ask(2, 1, 3, { kind: "heartbeat", commitIndex: 2, readContext: 7 });
  assert.equal(beat?.kind, "heartbeatResponse");
  assert.equal(node.appliedIndex, 0);
  cluster.tick(node, electionTicksMax * 2);
  cluster.ask(2, 1, 3, { kind: "timeoutNow" });
  node.live.peerDied(memberId(2));
  cluster.tick(node, electionTicksMax);
  assert.equal(node.live.status().role, "follower");
  const [vote] = cluster.ask(3, 1, 4, {
    kind: "requestVote",
    lastLogIndex: 5,
    lastLogTerm: 3,
    isTransfer: false,
  });
  assert.ok(vote?.kind === "voteResponse" && vote.isGranted);
  cluster.failSnapshot(node);
  assert.equal(node.appliedIndex, 2, "what was committed meanwhile");
});

test("a vote that is asked for while the storage is being replaced is answered", () => {
  const cluster = new Cluster({ voters: 3, isChecked: false });
  cluster.preset(1, [1, 1, 1], { commitIndex: 2 });
  cluster.ask(2, 1, 3, offer(5, 3));
  cluster.node(1).written.resetTo(offer(5, 3).snapshot);
  const request = { lastLogIndex: 5, lastLogTerm: 3, isTransfer: true } as const;
  const answers = [
    ...cluster.ask(3, 1, 4, { kind: "requestPreVote", ...request }),
    ...cluster.ask(3, 1, 4, { kind: "requestVote", ...request }),
  ];
  assert.deepEqual(
    answers.map((answer) => "isGranted" in answer && [answer.isGranted, answer.committed]),
    [
      [true, { index: 0, term: 0 }],
      [true, { index: 0, term: 0 }],
    ],
  );
});

test("a snapshot of a leader that was replaced is answered with the newer term, and not wanted", () => {
  const cluster = new Cluster({ voters: 3, isChecked: false });
  cluster.preset(1, [1], { term: 5 });
  const answers = cluster.ask(2, 1, 4, offer(9, 4));
  assert.deepEqual(
    answers.map(({ kind, term }) => [kind, term]),
    [["heartbeatResponse", 5]],
  );
  assert.equal(cluster.node(1).wanted, null);
});

test("the leader that offered may be gone when the snapshot is installed", () => {
  const cluster = clusterWithTrimmedLog();
  const late = cluster.node(3);
  roundUntilWanted(cluster, late);
  cluster.crash(cluster.node(1));
  for (const number of [2, 3]) cluster.core(number).peerDied(memberId(1));
  cluster.elect(2);
  cluster.install(late);
  cluster.round(electionTicksMax * 2);
  assert.deepEqual(late.applied, ["a", "b", "c"]);
  assert.equal(late.live.status().leader, memberId(2));
});

test("5.1: the membership comes with the snapshot", () => {
  const cluster = new Cluster({ voters: 1 });
  cluster.elect(1);
  const leader = cluster.node(1);
  const joiner = cluster.join();
  cluster.change(leader, { kind: "addLearner", id: joiner.id, address: "host2:19200" });
  cluster.propose(leader, "a");
  cluster.trim(leader);
  roundUntilWanted(cluster, joiner);
  assert.deepEqual(joiner.live.status().membership.voters, []);
  cluster.install(joiner);
  assert.deepEqual(joiner.live.status().membership, membershipOf([1], [2]));
  assert.deepEqual(joiner.applied, ["a"]);
  cluster.change(leader, { kind: "addVoter", id: joiner.id, address: "host2:19200" });
  cluster.round(heartbeatTicks * 2);
  assert.deepEqual(joiner.live.status().membership.voters, [memberId(1), memberId(2)]);
});

test("the log may be trimmed at any moment up to what is applied", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.isDiskInstant = false;
  for (let at = 0; at < 50; at += 1) {
    cluster.propose(cluster.node(1), `${at}`);
    for (const node of cluster.nodes) cluster.persist(node);
    cluster.settle();
    const node = cluster.node(1 + (at % 3));
    if (node.appliedIndex >= node.written.firstIndex()) cluster.trim(node);
  }
  cluster.isDiskInstant = true;
  for (const node of cluster.nodes) cluster.persist(node);
  cluster.round(heartbeatTicks * 3);
  for (const node of cluster.nodes) assert.equal(node.applied.length, 50);
});
