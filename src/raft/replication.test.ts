import assert from "node:assert/strict";
import { test } from "node:test";
import type { MemberId, Term } from "../common/ids.ts";
import type { Entry, Message } from "./messages.ts";
import { Cluster, memberId, TEST_CONFIG, type TestNode } from "./testing.ts";

type Append = Extract<Message, { readonly kind: "appendEntries" }>;

function isAppendTo(to: number): (message: Message) => message is Append {
  return (message): message is Append =>
    message.kind === "appendEntries" && message.to === memberId(to);
}

function isFor(...numbers: number[]): (message: Message) => boolean {
  const ids = new Set<MemberId>(numbers.map(memberId));
  return ({ from, to }) => ids.has(from) && ids.has(to);
}

function entry(index: number, term: Term): Entry {
  return { index, term, kind: "command", payload: new Uint8Array(1) };
}

function append(options: { prev: [index: number, term: Term]; terms: Term[]; commit?: number }) {
  const [prevLogIndex, prevLogTerm] = options.prev;
  const entries = options.terms.map((term, at) => entry(prevLogIndex + 1 + at, term));
  const leaderCommit = options.commit ?? 0;
  return { kind: "appendEntries", prevLogIndex, prevLogTerm, entries, leaderCommit } as const;
}

function commitIndexes(cluster: Cluster): number[] {
  return cluster.nodes.map((node) => node.live.status().commitIndex);
}

function matchOf(leader: TestNode, number: number): number | undefined {
  const { progress } = leader.live.status();
  return progress.find(({ id }) => id === memberId(number))?.matchIndex;
}

test("3.5: a follower takes an append only behind a position that matches", () => {
  const log = [1, 1, 4, 4, 5];
  const table: [prev: [number, Term], terms: Term[], expected: string][] = [
    [[5, 5], [6], "match 6"],
    [[5, 5], [], "match 5"],
    [[0, 0], [1], "match 1"],
    [[2, 1], [4, 4], "match 4"],
    [[2, 1], [6], "match 3"],
    [[9, 6], [6], "no 9, hint 5/5"],
    [[5, 6], [6], "no 5, hint 5/5"],
    [[4, 3], [6], "no 4, hint 2/1"],
    [[5, 4], [6], "no 5, hint 4/4"],
    [[9, 3], [6], "no 9, hint 2/1"],
  ];
  for (const [prev, terms, expected] of table) {
    const cluster = new Cluster({ voters: 3, isChecked: false });
    cluster.preset(1, log);
    const [answer] = cluster.ask(2, 1, 6, append({ prev, terms }));
    const text =
      answer?.kind === "appendAccepted"
        ? `match ${answer.matchIndex}`
        : answer?.kind === "appendRejected"
          ? `no ${answer.rejectedIndex}, hint ${answer.hintIndex}/${answer.hintTerm}`
          : "";
    assert.equal(text, expected, `${prev.join("/")} + ${terms}`);
  }
});

test("3.5: a follower drops what conflicts, and nothing else", () => {
  const table: [prev: [number, Term], terms: Term[], expected: Term[]][] = [
    [[2, 1], [6], [1, 1, 6]],
    [[2, 1], [4], [1, 1, 4, 4, 5]],
    [
      [4, 4],
      [5, 6],
      [1, 1, 4, 4, 5, 6],
    ],
    [
      [1, 1],
      [1, 4, 6],
      [1, 1, 4, 6],
    ],
  ];
  for (const [prev, terms, expected] of table) {
    const cluster = new Cluster({ voters: 3, isChecked: false });
    cluster.preset(1, [1, 1, 4, 4, 5]);
    cluster.ask(2, 1, 6, append({ prev, terms }));
    assert.deepEqual(cluster.node(1).disk.terms(), expected);
  }
});

test("3.5: a follower commits no further than what it knows to match", () => {
  const cluster = new Cluster({ voters: 3, isChecked: false });
  cluster.preset(1, [1, 1, 2, 2]);
  cluster.ask(2, 1, 3, append({ prev: [2, 1], terms: [], commit: 4 }));
  assert.equal(cluster.core(1).status().commitIndex, 2, "3 and 4 may be somebody else's");
  cluster.ask(2, 1, 3, append({ prev: [2, 1], terms: [2], commit: 9 }));
  assert.equal(cluster.core(1).status().commitIndex, 3);
  cluster.ask(2, 1, 3, append({ prev: [0, 0], terms: [1], commit: 1 }));
  assert.equal(cluster.core(1).status().commitIndex, 3, "an old append takes nothing back");
});

test("3.5: an append that begins before the commit index still brings what is new", () => {
  const cluster = new Cluster({ voters: 3, isChecked: false });
  cluster.preset(1, [1, 1, 2], { commitIndex: 2 });
  cluster.restart(cluster.node(1), 2);
  cluster.node(1).written.trim(2);
  const [answer] = cluster.ask(2, 1, 2, append({ prev: [0, 0], terms: [1, 1, 2, 2] }));
  assert.ok(answer?.kind === "appendAccepted");
  assert.equal(answer.matchIndex, 4);
  assert.deepEqual(cluster.node(1).written.terms(), [2, 2]);
});

test("figure 7 of the paper: a new leader makes any follower's log equal to its own", () => {
  const leaderLog = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
  const logs = [
    [1, 1, 1, 4, 4, 5, 5, 6, 6],
    [1, 1, 1, 4],
    [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    [1, 1, 1, 4, 4, 4, 4],
    [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    [],
  ];
  for (const log of logs) {
    const cluster = new Cluster({ voters: 3 });
    cluster.preset(1, leaderLog, { term: 7 });
    cluster.preset(2, log, { term: 7 });
    cluster.preset(3, [], { term: 7 });
    cluster.elect(1);
    cluster.round(10);
    for (const node of cluster.nodes)
      assert.deepEqual(node.disk.terms(), [...leaderLog, 8], `${log}`);
  }
});

test("a conflict of many entries is backed over a whole term a step", () => {
  const cluster = new Cluster({ voters: 3 });
  const run = (term: Term, count: number) => Array.from({ length: count }, () => term);
  cluster.preset(1, [...run(1, 10), ...run(5, 100), ...run(8, 100)]);
  cluster.preset(2, [...run(1, 10), ...run(2, 100), ...run(6, 100)], { term: 8 });
  cluster.preset(3, [], { term: 8 });
  cluster.tick(cluster.node(1), TEST_CONFIG.electionTicksMax);
  let probes = 0;
  for (; cluster.node(2).disk.termOf(11) !== 5; probes += 1) {
    cluster.settleOnly((message) => !isAppendTo(2)(message));
    const [probe, ...others] = cluster.take(isAppendTo(2));
    assert.ok(probe !== undefined && others.length === 0, "one probe at a time");
    cluster.deliver(probe);
  }
  assert.ok(probes <= 4, `${probes} probes`);
  cluster.settle();
  assert.deepEqual(cluster.node(2).disk.terms(), cluster.node(1).disk.terms());
});

test("figure 3.7: an entry of an earlier term on a majority is not committed by counting", () => {
  // One entry an append, so that the old entry can arrive without the no-op behind it.
  const build = () => {
    const cluster = new Cluster({ voters: 5, config: { appendBytesMax: 1 } });
    for (const number of [1, 2]) cluster.preset(number, [1, 2], { term: 3 });
    for (const number of [3, 4]) cluster.preset(number, [1], { term: 3 });
    cluster.preset(5, [1, 3]);
    cluster.cut(1, 5);
    const s1 = cluster.node(1);
    cluster.tick(s1, TEST_CONFIG.electionTicksMax);
    cluster.settleOnly((message) => message.kind !== "appendEntries");
    assert.equal(s1.live.status().role, "leader");
    const isOld = (message: Message) =>
      message.kind !== "appendEntries" || message.entries.every(({ term }) => term < 4);
    for (let at = 0; at < 20; at += 1) {
      cluster.tick(s1);
      // Without the no-op a probe still asks for the position.
      for (const message of cluster.take((each) => !isOld(each)))
        if (message.kind === "appendEntries") cluster.network.push({ ...message, entries: [] });
      cluster.settleOnly(isOld);
    }
    return cluster;
  };
  const before = build();
  const holders = before.nodes.filter((node) => node.disk.termOf(2) === 2);
  assert.ok(holders.length >= 3, "the entry of term 2 is on a majority");
  assert.deepEqual(commitIndexes(before), [0, 0, 0, 0, 0]);

  // (d): S1 is gone; S5 may win, and overwrite it.
  before.heal();
  before.crash(before.node(1));
  before.network = [];
  for (const number of [2, 3, 4]) before.core(number).peerDied(memberId(1));
  before.elect(5);
  before.round(20);
  assert.equal(before.node(2).disk.termOf(2), 3);

  // (e): S1 commits an entry of its own term, and with it the old one; S5 can't win any more.
  const after = build();
  after.settle();
  after.round(5);
  assert.equal(after.core(1).status().commitIndex, 3);
  assert.equal(after.node(3).disk.termOf(2), 2);
});

test("a leader replicates before its own disk, and counts itself only after it", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.isDiskInstant = false;
  cluster.isolate(1, 2);
  const [leader, follower] = [cluster.node(1), cluster.node(2)];
  cluster.propose(leader, "a");
  assert.equal(leader.disk.lastIndex(), 1);
  cluster.settle();
  assert.equal(follower.written.lastIndex(), 2);
  assert.equal(matchOf(leader, 2), 1, "an acknowledgement waits for the follower's disk");
  cluster.persist(follower);
  cluster.settle();
  assert.equal(matchOf(leader, 2), 2);
  assert.deepEqual([matchOf(leader, 1), leader.live.status().commitIndex], [1, 1]);
  cluster.persist(leader);
  assert.equal(leader.live.status().commitIndex, 2);
  assert.deepEqual(leader.applied, ["a"]);
});

test("two followers' disks commit without the leader's, which then applies after its own", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.isDiskInstant = false;
  cluster.propose(cluster.node(1), "a");
  cluster.settle();
  for (const number of [2, 3]) cluster.persist(cluster.node(number));
  cluster.settle();
  assert.equal(cluster.core(1).status().commitIndex, 2);
  assert.deepEqual(cluster.node(1).applied, []);
  cluster.persist(cluster.node(1));
  assert.deepEqual(cluster.node(1).applied, ["a"]);
});

test("a late answer of the disk for an overwritten batch does not count for what replaced it", () => {
  const cluster = new Cluster({ voters: 3, isChecked: false });
  cluster.preset(1, [1]);
  cluster.isDiskInstant = false;
  cluster.ask(2, 1, 2, append({ prev: [1, 1], terms: [2, 2] }));
  cluster.ask(3, 1, 3, append({ prev: [1, 1], terms: [3, 3, 3], commit: 4 }));
  const node = cluster.node(1);
  cluster.persist(node, 1);
  assert.deepEqual(node.appliedIndex, 1, "only what precedes both");
  cluster.persist(node);
  assert.deepEqual(node.appliedIndex, 4);
});

test("persisting is asked for by entries, terms and votes, not by the commit index", () => {
  const cluster = new Cluster({ voters: 3, isDiskInstant: false });
  const core = cluster.core(1);
  core.step({
    from: memberId(2),
    to: memberId(1),
    term: 1,
    ...append({ prev: [0, 0], terms: [1] }),
  });
  let ready = core.takeReady();
  assert.deepEqual([ready?.hardState?.term, ready?.mustSync, ready?.entries.length], [1, true, 1]);
  cluster.node(1).written.append(ready?.entries ?? []);
  const again = append({ prev: [1, 1], terms: [], commit: 1 });
  core.step({ from: memberId(2), to: memberId(1), term: 1, ...again });
  ready = core.takeReady();
  assert.deepEqual([ready?.hardState?.commitIndex, ready?.mustSync], [1, false]);
  assert.equal(ready?.messagesAfterPersist.length, 1);
  assert.equal(core.takeReady(), null);
});

test("what a Ready has handed out does not change afterwards", () => {
  const cluster = new Cluster({ voters: 1 });
  cluster.elect(1);
  const core = cluster.core(1);
  core.readIndex(1);
  const first = core.takeReady();
  const copy = structuredClone(first);
  core.propose([new Uint8Array(1)]);
  core.readIndex(2);
  core.takeReady();
  assert.deepEqual(first, copy);
});

test("appends follow one another unanswered, within the window of entries", () => {
  const cluster = new Cluster({ voters: 3, config: { inflightEntriesMax: 4 } });
  cluster.elect(1);
  const leader = cluster.node(1);
  for (const command of ["a", "b", "c", "d", "e", "f"]) cluster.propose(leader, command);
  const sent = cluster.network.filter(isAppendTo(2));
  assert.deepEqual(
    sent.map(({ entries }) => entries.map(({ index }) => index)),
    [[2], [3], [4], [5]],
  );
  cluster.settle();
  assert.equal(leader.live.status().commitIndex, 7);
});

test("a peer whose window is full hears of commits with the next entries", () => {
  const cluster = new Cluster({ voters: 3, config: { inflightEntriesMax: 2 } });
  cluster.elect(1);
  const leader = cluster.node(1);
  cluster.cut(1, 3);
  for (const command of ["a", "b"]) cluster.propose(leader, command);
  const late = cluster.take(isAppendTo(3));
  assert.equal(late.length, 2);
  cluster.settle();
  assert.deepEqual(leader.applied, ["a", "b"]);
  assert.equal(cluster.take(isAppendTo(3)).length, 0);
  cluster.heal();
  for (const message of late) cluster.deliver(message);
  cluster.settle();
  assert.deepEqual(cluster.node(3).applied, ["a", "b"]);
});

test("the window of bytes bounds what is in flight, and one large entry still passes", () => {
  const cluster = new Cluster({
    voters: 3,
    config: { inflightBytesMax: 300, appendBytesMax: 200 },
  });
  cluster.elect(1);
  const leader = cluster.node(1);
  cluster.propose(leader, ..."abcdefghij".split("").map((letter) => letter.repeat(68)));
  const sent = cluster.network.filter(isAppendTo(2));
  assert.deepEqual(
    sent.map(({ entries }) => entries.length),
    [2, 1],
    "100 bytes an entry",
  );
  cluster.settle();
  cluster.propose(leader, "x".repeat(5000));
  cluster.settle();
  assert.deepEqual(commitIndexes(cluster), [12, 12, 12]);
});

test("a lost append is found by the next heartbeat that is answered, and sent again", () => {
  for (const count of [1, 3, 50]) {
    const cluster = new Cluster({ voters: 3 });
    cluster.elect(1);
    for (let at = 0; at < count; at += 1) cluster.propose(cluster.node(1), `${at}`);
    cluster.take(isAppendTo(2));
    cluster.round(TEST_CONFIG.heartbeatTicks * 4);
    assert.deepEqual(commitIndexes(cluster), [count + 1, count + 1, count + 1]);
  }
});

test("a lost acknowledgement is asked for again", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.propose(cluster.node(1), "a");
  cluster.settleOnly((message) => message.kind === "appendEntries");
  cluster.take(({ kind }) => kind === "appendAccepted");
  cluster.round(TEST_CONFIG.heartbeatTicks * 3);
  assert.deepEqual(commitIndexes(cluster), [2, 2, 2]);
});

test("a follower that restarts without what it had not persisted gets it again", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.isDiskInstant = false;
  cluster.propose(cluster.node(1), "a", "b");
  cluster.settle();
  cluster.crash(cluster.node(2));
  cluster.restart(cluster.node(2));
  assert.equal(cluster.core(2).status().lastIndex, 1);
  cluster.isDiskInstant = true;
  for (const node of cluster.nodes) cluster.persist(node);
  cluster.propose(cluster.node(1), "c");
  cluster.round(TEST_CONFIG.heartbeatTicks * 3);
  assert.deepEqual(cluster.node(2).applied, ["a", "b", "c"]);
});

test("acknowledgements of an earlier term do not count", () => {
  const cluster = new Cluster({ voters: 3 });
  for (const number of [1, 2, 3]) cluster.preset(number, [1, 1], { term: 4 });
  cluster.elect(1);
  cluster.propose(cluster.node(1), "a");
  cluster.network = [];
  const { term, commitIndex, lastIndex } = cluster.core(1).status();
  assert.deepEqual([term, commitIndex, lastIndex], [5, 3, 4]);
  cluster.ask(2, 1, 4, { kind: "appendAccepted", matchIndex: 4 });
  assert.deepEqual([matchOf(cluster.node(1), 2), cluster.core(1).status().commitIndex], [3, 3]);
});

test("a heartbeat tells a follower no more than it is known to hold", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.isolate(1, 2);
  cluster.propose(cluster.node(1), "a");
  cluster.settle();
  cluster.heal();
  cluster.tick(cluster.node(1), TEST_CONFIG.heartbeatTicks);
  const told = cluster
    .take(({ kind }) => kind === "heartbeat")
    .map((message) => (message.kind === "heartbeat" ? message.commitIndex : -1));
  assert.deepEqual(told, [2, 1]);
});

test("followers learn of a commit at once, without another proposal or heartbeat", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.propose(cluster.node(1), "a");
  cluster.settle();
  assert.deepEqual(commitIndexes(cluster), [2, 2, 2]);
  assert.equal(cluster.network.length, 0);
});

test("learners receive and apply, but commit nothing", () => {
  const cluster = new Cluster({ voters: 3, learners: 2 });
  cluster.elect(1);
  cluster.propose(cluster.node(1), "a");
  cluster.settle();
  assert.deepEqual(cluster.node(5).applied, ["a"]);
  cluster.propose(cluster.node(1), "b");
  cluster.settleOnly(isFor(1, 4, 5));
  assert.equal(matchOf(cluster.node(1), 5), 3);
  assert.equal(cluster.core(1).status().commitIndex, 2, "one voter and two learners are no quorum");
});

test("a sole voter sends learners nothing of a term that a crash could make it use twice", () => {
  const cluster = new Cluster({ voters: 1, learners: 1, isDiskInstant: false });
  cluster.tick(cluster.node(1));
  assert.equal(cluster.core(1).status().role, "leader");
  assert.equal(cluster.take(isAppendTo(2)).length, 0);
  cluster.persist(cluster.node(1));
  assert.equal(cluster.take(isAppendTo(2)).length > 0, true);
});

test("a peer that needs trimmed entries gets heartbeats, and the others go on", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.isolate(1, 2);
  cluster.propose(cluster.node(1), "a", "b");
  cluster.round(60);
  cluster.node(1).written.trim(3);
  cluster.heal();
  cluster.propose(cluster.node(1), "c");
  cluster.round(60);
  assert.deepEqual(commitIndexes(cluster).slice(0, 2), [4, 4]);
  assert.equal(matchOf(cluster.node(1), 3), 1);
  assert.equal(cluster.core(3).status().leader, memberId(1));
});

test("propose() goes to leaders only, in order, as one batch", () => {
  const cluster = new Cluster({ voters: 3 });
  assert.deepEqual(cluster.propose(cluster.node(2), "a"), { kind: "notLeader", leader: null });
  cluster.elect(1);
  assert.deepEqual(cluster.propose(cluster.node(2), "a"), {
    kind: "notLeader",
    leader: memberId(1),
  });
  assert.deepEqual(cluster.propose(cluster.node(1), "a", "b"), {
    kind: "accepted",
    firstIndex: 2,
    term: 1,
  });
  assert.deepEqual(cluster.network.filter(isAppendTo(2))[0]?.entries.length, 2);
});
