import assert from "node:assert/strict";
import { test } from "node:test";
import type { Term } from "../common/ids.ts";
import type { Message } from "./messages.ts";
import { Cluster, memberId, TEST_CONFIG } from "./testing.ts";

const { electionTicksMin, electionTicksMax } = TEST_CONFIG;

/** What nodes that have committed nothing tell. */
const NOTHING = { index: 0, term: 0 };

/** What one message says, without its envelope. */
function bodies(messages: readonly Message[]): object[] {
  return messages.map(({ from: _from, to: _to, ...rest }) => rest);
}

function voteRequest(options: { index: number; logTerm: Term; isTransfer?: boolean }) {
  return {
    kind: "requestVote",
    lastLogIndex: options.index,
    lastLogTerm: options.logTerm,
    isTransfer: options.isTransfer ?? false,
  } as const;
}

function preVoteRequest(options: { index: number; logTerm: Term }) {
  return { ...voteRequest(options), kind: "requestPreVote" } as const;
}

function heartbeat() {
  return { kind: "heartbeat", commitIndex: 0, readContext: 0 } as const;
}

function roles(cluster: Cluster): string {
  return cluster.nodes.map((node) => node.core?.status().role ?? "dead").join(" ");
}

test("3.4: a follower campaigns after a random time-out within its bounds", () => {
  const seen = new Set<number>();
  for (let seed = 1; seed <= 60; seed += 1) {
    const cluster = new Cluster({ voters: 3, seed });
    let ticks = 0;
    for (; cluster.core(1).status().role === "follower"; ticks += 1) cluster.tick(cluster.node(1));
    assert.ok(ticks >= electionTicksMin && ticks <= electionTicksMax, `${ticks} ticks`);
    seen.add(ticks);
  }
  assert.ok(seen.size >= 8, "time-outs differ");
});

test("3.4: a candidate that wins leads in a new term and appends a no-op", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(2);
  assert.equal(roles(cluster), "follower leader follower");
  for (const node of cluster.nodes) {
    const { term, leader, commitIndex } = node.live.status();
    assert.deepEqual([term, leader, commitIndex], [1, memberId(2), 1]);
    assert.equal(node.appliedEntries[0]?.kind, "noop");
  }
});

test("3.4: a voter votes once in a term, first come, first served; and again for the same", () => {
  const cluster = new Cluster({ voters: 3 });
  const request = voteRequest({ index: 0, logTerm: 0 });
  const answer = (from: number) => bodies(cluster.ask(from, 1, 1, request));
  assert.deepEqual(answer(2), [
    { kind: "voteResponse", term: 1, isGranted: true, committed: NOTHING },
  ]);
  assert.deepEqual(answer(3), [
    { kind: "voteResponse", term: 1, isGranted: false, committed: NOTHING },
  ]);
  assert.deepEqual(answer(2), [
    { kind: "voteResponse", term: 1, isGranted: true, committed: NOTHING },
  ]);
  cluster.crash(cluster.node(1));
  cluster.restart(cluster.node(1));
  assert.deepEqual(answer(3), [
    { kind: "voteResponse", term: 1, isGranted: false, committed: NOTHING },
  ]);
});

test("3.4: a request of an older term is refused, with the newer term", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.preset(1, [], { term: 7 });
  const old = { index: 99, logTerm: 6 };
  assert.deepEqual(bodies(cluster.ask(2, 1, 6, voteRequest(old))), [
    { kind: "voteResponse", term: 7, isGranted: false, committed: NOTHING },
  ]);
  assert.deepEqual(bodies(cluster.ask(2, 1, 6, preVoteRequest(old))), [
    { kind: "preVoteResponse", term: 7, isGranted: false, committed: NOTHING },
  ]);
});

test("3.6.1: votes and pre-votes go only to logs that are at least as up to date", () => {
  const table: [index: number, logTerm: Term, isGranted: boolean][] = [
    [3, 2, true],
    [4, 2, true],
    [2, 2, false],
    [1, 3, true],
    [9, 1, false],
  ];
  for (const [index, logTerm, isGranted] of table)
    for (const request of [voteRequest, preVoteRequest]) {
      const cluster = new Cluster({ voters: 3 });
      cluster.preset(1, [1, 2, 2]);
      const [answer] = cluster.ask(2, 1, 5, request({ index, logTerm }));
      assert.ok(answer?.kind === "voteResponse" || answer?.kind === "preVoteResponse");
      assert.equal(answer.isGranted, isGranted, `${index}/${logTerm}`);
    }
});

test("3.6.1: of unequal logs only one that a majority has can win", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.preset(1, [1, 2]);
  cluster.preset(2, [1, 2]);
  cluster.preset(3, [1], { term: 2 });
  for (let ticks = 0; ticks < 100; ticks += 1) cluster.tick(cluster.node(3));
  cluster.settle();
  assert.notEqual(cluster.core(3).status().role, "leader");
  cluster.round(60);
  assert.notEqual(cluster.leader()?.id, memberId(3));
  assert.deepEqual(cluster.node(3).disk.terms(), [1, 2, 3]);
});

test("3.8: no vote leaves before it is durable", () => {
  const cluster = new Cluster({ voters: 3, isDiskInstant: false });
  assert.deepEqual(cluster.ask(3, 1, 1, voteRequest({ index: 0, logTerm: 0 })), []);
  cluster.persist(cluster.node(1));
  assert.deepEqual(
    cluster.take(() => true).map(({ kind }) => kind),
    ["voteResponse"],
  );
});

test("3.8: no request for votes leaves before the candidate's own vote is durable", () => {
  const cluster = new Cluster({ voters: 3, isDiskInstant: false });
  const candidate = cluster.node(2);
  cluster.tick(candidate, electionTicksMax);
  cluster.settle();
  assert.equal(candidate.live.status().role, "candidate", "the pre-vote needs no disk");
  assert.equal(cluster.network.length, 0);
  cluster.persist(candidate);
  assert.deepEqual(
    cluster.network.map(({ kind }) => kind),
    ["requestVote", "requestVote"],
  );
});

test("9.6: a node that is cut off asks for pre-votes and leaves the term alone", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.isolate(3);
  cluster.round(100);
  assert.equal(cluster.core(3).status().role, "preCandidate");
  assert.equal(cluster.core(3).status().term, 1);
  cluster.heal();
  cluster.round(10);
  assert.equal(roles(cluster), "leader follower follower");
  assert.equal(cluster.core(1).status().term, 1, "its return deposes nobody");
});

test("9.6: a pre-vote changes nothing at the voter, and grants of another round do not count", () => {
  const cluster = new Cluster({ voters: 3 });
  const [answer] = cluster.ask(2, 1, 5, preVoteRequest({ index: 0, logTerm: 0 }));
  assert.deepEqual(bodies(answer === undefined ? [] : [answer]), [
    { kind: "preVoteResponse", term: 5, isGranted: true, committed: NOTHING },
  ]);
  assert.deepEqual(cluster.core(1).status().term, 0);
  assert.equal(cluster.node(1).disk.hardState.vote, null);
  cluster.tick(cluster.node(1), electionTicksMax);
  assert.equal(cluster.core(1).status().role, "preCandidate");
  cluster.ask(2, 1, 5, { kind: "preVoteResponse", isGranted: true, committed: NOTHING });
  assert.deepEqual(
    [roles(cluster).split(" ")[0], cluster.core(1).status().term],
    ["preCandidate", 0],
  );
});

test("3.4: votes of an earlier term do not count", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.preset(1, [1], { term: 4 });
  cluster.ask(2, 1, 4, { kind: "timeoutNow" });
  assert.deepEqual(
    [cluster.core(1).status().role, cluster.core(1).status().term],
    ["candidate", 5],
  );
  cluster.ask(3, 1, 4, { kind: "voteResponse", isGranted: true, committed: NOTHING });
  assert.equal(cluster.core(1).status().role, "candidate");
  cluster.ask(3, 1, 5, { kind: "voteResponse", isGranted: true, committed: NOTHING });
  assert.equal(cluster.core(1).status().role, "leader");
});

test("9.6: a pre-candidate that gives its vote away campaigns no more", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.preset(1, [], { term: 3 });
  cluster.tick(cluster.node(1), electionTicksMax);
  assert.equal(cluster.core(1).status().role, "preCandidate");
  cluster.ask(2, 1, 3, voteRequest({ index: 0, logTerm: 0 }));
  cluster.ask(3, 1, 4, { kind: "preVoteResponse", isGranted: true, committed: NOTHING });
  assert.deepEqual([cluster.core(1).status().role, cluster.core(1).status().term], ["follower", 3]);
});

test("9.6: a pre-candidate that a majority refuses follows again", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.tick(cluster.node(1), electionTicksMax);
  cluster.ask(2, 1, 0, { kind: "preVoteResponse", isGranted: false, committed: NOTHING });
  assert.equal(cluster.core(1).status().role, "preCandidate");
  cluster.ask(3, 1, 0, { kind: "preVoteResponse", isGranted: false, committed: NOTHING });
  assert.equal(cluster.core(1).status().role, "follower");
});

test("4.2.3: who heard a leader lately refuses to depose it, unless the leader asked", () => {
  for (const silentTicks of [0, electionTicksMin - 1, electionTicksMin]) {
    const isLoyal = silentTicks < electionTicksMin;
    const cluster = new Cluster({ voters: 3, seed: 3, config: { electionTicksMax: 40 } });
    cluster.ask(2, 1, 1, heartbeat());
    cluster.tick(cluster.node(1), silentTicks);
    const newer = { index: 9, logTerm: 1 };
    const [preVote] = cluster.ask(3, 1, 2, preVoteRequest(newer));
    assert.ok(preVote?.kind === "preVoteResponse");
    assert.equal(preVote.isGranted, !isLoyal, `${silentTicks} ticks of silence`);
    const answers = cluster.ask(3, 1, 2, voteRequest(newer));
    assert.equal(answers.length, isLoyal ? 0 : 1);
    assert.equal(cluster.core(1).status().term, isLoyal ? 1 : 2);
    const asked = cluster.ask(3, 1, 3, voteRequest({ ...newer, isTransfer: true }));
    assert.deepEqual(bodies(asked), [
      { kind: "voteResponse", term: 3, isGranted: true, committed: NOTHING },
    ]);
  }
});

test("4.2.3: a leader refuses too, and keeps its reign", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  assert.deepEqual(cluster.ask(3, 1, 9, voteRequest({ index: 9, logTerm: 8 })), []);
  assert.equal(roles(cluster), "leader follower follower");
});

test("6.2: a leader that hears no quorum for an election time-out steps down", () => {
  const cluster = new Cluster({ voters: 5 });
  cluster.elect(1);
  cluster.isolate(1, 2);
  for (let ticks = 0; ticks < electionTicksMax - 1; ticks += 1) {
    cluster.tick(cluster.node(1));
    cluster.settle();
  }
  assert.equal(cluster.core(1).status().role, "leader");
  cluster.tick(cluster.node(1), 5);
  assert.deepEqual(
    [cluster.core(1).status().role, cluster.core(1).status().leader],
    ["follower", null],
  );
});

test("6.2: a leader with a quorum stays, and status() tells who answered", () => {
  const cluster = new Cluster({ voters: 3, learners: 1 });
  cluster.elect(1);
  cluster.isolate(3);
  cluster.round(100);
  const { role, progress } = cluster.core(1).status();
  assert.equal(role, "leader");
  assert.deepEqual(
    progress.map(({ id, isActive }) => [Number(id), isActive]),
    [
      [1, true],
      [2, true],
      [3, false],
      [4, true],
    ],
  );
});

test("a leader that was replaced unawares learns of it from any answer", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.isolate(1);
  for (let at = 0; at < 30; at += 1) {
    cluster.tick(cluster.node(2));
    cluster.tick(cluster.node(3));
    cluster.settle();
  }
  assert.equal(cluster.leader()?.live.status().term, 2);
  cluster.heal();
  cluster.tick(cluster.node(1), 3);
  cluster.settle();
  assert.deepEqual([cluster.core(1).status().role, cluster.core(1).status().term], ["follower", 2]);
});

test("peerDied() of the leader leads to a new one within a few ticks", () => {
  for (let seed = 1; seed <= 50; seed += 1) {
    const cluster = new Cluster({ voters: 3, seed });
    cluster.elect(1);
    cluster.crash(cluster.node(1));
    // The second sees the death later, when the first has asked for its pre-vote in vain.
    cluster.core(2).peerDied(memberId(1));
    cluster.pump(cluster.node(2));
    cluster.round(5);
    cluster.core(3).peerDied(memberId(1));
    cluster.pump(cluster.node(3));
    let ticks = 0;
    for (; cluster.leader() === null; ticks += 1) cluster.round();
    assert.ok(ticks <= electionTicksMax + 5, `seed ${seed}: ${ticks} ticks`);
    const isSplit = (cluster.leader()?.live.status().term ?? 0) > 2;
    if (!isSplit) assert.ok(ticks <= 5, `seed ${seed}: ${ticks} ticks`);
  }
});

test("peerDied() is tried again while the others have not seen the death yet", () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const cluster = new Cluster({ voters: 3, seed });
    cluster.elect(1);
    // Only 2 can win: 3 lacks the last entry.
    cluster.isolate(3);
    cluster.propose(cluster.node(1), "a");
    cluster.settle();
    cluster.heal();
    cluster.crash(cluster.node(1));
    cluster.core(2).peerDied(memberId(1));
    cluster.pump(cluster.node(2));
    cluster.round(5);
    cluster.core(3).peerDied(memberId(1));
    cluster.pump(cluster.node(3));
    let ticks = 0;
    for (; cluster.leader() === null; ticks += 1) cluster.round();
    assert.equal(cluster.leader()?.id, memberId(2));
    assert.ok(ticks <= 6, `seed ${seed}: ${ticks} ticks`);
  }
});

test("peerDied() by mistake changes no leader and no term", () => {
  for (let seed = 1; seed <= 50; seed += 1) {
    const cluster = new Cluster({ voters: 3, seed });
    cluster.elect(1);
    for (const [who, whom] of [
      [2, 1],
      [1, 3],
      [3, 2],
    ] as const) {
      cluster.core(who).peerDied(memberId(whom));
      cluster.round(30);
      cluster.propose(cluster.node(1), "still here");
    }
    cluster.round();
    assert.equal(roles(cluster), "leader follower follower", `seed ${seed}`);
    for (const node of cluster.nodes) {
      assert.equal(node.live.status().term, 1);
      assert.equal(node.applied.length, 3);
    }
  }
});

test("resetTimers() begins the wait anew on a follower, and the grace on a leader", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  const follower = cluster.node(2);
  cluster.tick(follower, electionTicksMin - 1);
  follower.live.resetTimers();
  cluster.tick(follower, electionTicksMin - 1);
  assert.equal(follower.live.status().role, "follower");

  const leader = cluster.node(1);
  cluster.tick(leader, electionTicksMax - 1);
  leader.live.resetTimers();
  cluster.tick(leader, electionTicksMax - 1);
  assert.equal(leader.live.status().role, "leader");
  cluster.tick(leader);
  assert.equal(leader.live.status().role, "follower");
});

test("learners do not campaign, but vote: the candidate knows best who is a voter", () => {
  const cluster = new Cluster({ voters: 1, learners: 1 });
  cluster.tick(cluster.node(2), 100);
  cluster.ask(1, 2, 1, { kind: "timeoutNow" });
  assert.equal(cluster.core(2).status().role, "follower");
  const newest = { index: 99, logTerm: 8 };
  const answers = [
    ...cluster.ask(1, 2, 9, voteRequest(newest)),
    ...cluster.ask(1, 2, 10, preVoteRequest(newest)),
  ];
  assert.deepEqual(
    answers.map((answer) => "isGranted" in answer && answer.isGranted),
    [true, true],
  );
});

test("a second leader in a term stops the process", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.ask(2, 1, 1, heartbeat());
  cluster.core(1).peerDied(memberId(2));
  assert.throws(() => cluster.ask(3, 1, 1, heartbeat()), /a term has at most one leader/);
});
