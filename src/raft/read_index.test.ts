import assert from "node:assert/strict";
import { test } from "node:test";
import { InvariantError } from "../common/invariant.ts";
import { ReadQueue } from "./read_index.ts";
import { Cluster, memberId, TEST_CONFIG } from "./testing.ts";

const { electionTicksMax } = TEST_CONFIG;

function isHeartbeat({ kind }: { kind: string }): boolean {
  return kind === "heartbeat" || kind === "heartbeatResponse";
}

test("ReadQueue releases reads in order, through the confirmed context", () => {
  const reads = new ReadQueue();
  assert.equal(reads.pendingContext, 0);
  for (const context of [3, 5, 9]) reads.ask(context, 100 + context);
  assert.equal(reads.pendingContext, 9);
  assert.deepEqual(reads.confirm(2), []);
  assert.deepEqual(reads.confirm(5), [
    { context: 3, index: 103 },
    { context: 5, index: 105 },
  ]);
  assert.deepEqual(reads.abort(), [9]);
});

test("ReadQueue holds early reads back until something of the term is committed", () => {
  const reads = new ReadQueue();
  reads.ask(1, null);
  reads.ask(2, null);
  assert.deepEqual([reads.pendingContext, reads.confirm(99)], [0, []]);
  assert.deepEqual(reads.abort(), [1, 2]);
  reads.termCommitted(7);
  assert.deepEqual(
    reads.confirm(2).map(({ index }) => index),
    [7, 7],
  );
});

test("ReadQueue takes no context twice and none that is not positive", () => {
  const reads = new ReadQueue();
  assert.throws(() => reads.ask(0, 1), InvariantError);
  reads.ask(2, 1);
  assert.throws(() => reads.ask(2, 1), InvariantError);
});

test("6.4: a read is released by a quorum of answers to heartbeats sent after it", () => {
  const cluster = new Cluster({ voters: 5 });
  cluster.elect(1);
  const leader = cluster.node(1);
  const context = cluster.read(leader);
  assert.equal(context, 1);
  cluster.settleOnly(({ from, to }) => [from, to].every((id) => id <= memberId(2)));
  assert.equal(leader.reads.get(1), "waiting", "two of five are no quorum");
  cluster.settle();
  assert.equal(leader.reads.get(1), 1);
});

test("6.4: an answer to an older heartbeat confirms only older reads", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  const leader = cluster.node(1);
  cluster.read(leader);
  const older = cluster.take(isHeartbeat);
  cluster.propose(leader, "a");
  cluster.settle();
  cluster.read(leader);
  cluster.take(isHeartbeat);
  for (const message of older) cluster.deliver(message);
  cluster.settle();
  assert.deepEqual([leader.reads.get(1), leader.reads.get(2)], [1, "waiting"]);
  cluster.round(TEST_CONFIG.heartbeatTicks);
  assert.equal(leader.reads.get(2), 2, "a lost round is made good by the next heartbeat");
});

test("6.4: reads of one moment share a round", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  const leader = cluster.node(1);
  for (const context of [1, 2, 3]) leader.live.readIndex(context);
  const ready = leader.live.takeReady();
  assert.deepEqual(
    ready?.messages.map((message) => (message.kind === "heartbeat" ? message.readContext : -1)),
    [3, 3],
  );
});

test("6.4: reads wait until an entry of the leader's own term is committed", () => {
  const cluster = new Cluster({ voters: 3 });
  for (const number of [1, 2, 3]) cluster.preset(number, [1, 1], { commitIndex: 0 });
  cluster.tick(cluster.node(1), electionTicksMax);
  cluster.settleOnly(({ kind }) => kind !== "appendEntries");
  const leader = cluster.node(1);
  assert.equal(leader.live.status().role, "leader");
  assert.equal(cluster.read(leader), 1);
  for (let at = 0; at < 9; at += 1) {
    cluster.tick(leader);
    cluster.settleOnly(isHeartbeat);
  }
  assert.equal(leader.reads.get(1), "waiting", "it does not know yet that 1 and 2 are committed");
  cluster.settle();
  assert.equal(leader.reads.get(1), 3);
});

test("6.4: a leader that was replaced unawares releases no read, and gives them all back", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  const old = cluster.node(1);
  cluster.isolate(1);
  for (let at = 0; cluster.leader() === old; at += 1) {
    cluster.tick(cluster.node(2));
    cluster.tick(cluster.node(3));
    cluster.settle();
    assert.ok(at < 100);
  }
  const leader = cluster.leader();
  assert.ok(leader !== null);
  cluster.propose(leader, "newer");
  cluster.settle();
  assert.equal(old.live.status().role, "leader");
  cluster.read(old);
  cluster.tick(old, 3);
  assert.equal(old.reads.get(1), "waiting");
  cluster.heal();
  cluster.tick(old, 3);
  cluster.settle();
  assert.equal(old.reads.get(1), "aborted");
  assert.equal(cluster.read(old), null);
});

test("6.4: a leader without a quorum gives its reads back when it steps down", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.isolate(1);
  cluster.read(cluster.node(1));
  cluster.tick(cluster.node(1), electionTicksMax + 1);
  assert.equal(cluster.node(1).reads.get(1), "aborted");
});

test("6.4: answers of an earlier reign do not confirm a read of a later one", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  const leader = cluster.node(1);
  cluster.read(leader);
  cluster.settleOnly(({ kind }) => kind === "heartbeat");
  const late = cluster.take(({ kind }) => kind === "heartbeatResponse");
  assert.equal(late.length, 2);
  cluster.isolate(1);
  cluster.tick(leader, electionTicksMax + 1);
  cluster.heal();
  cluster.network = [];
  for (let at = 0; at < 10; at += 1)
    for (const number of [2, 3]) cluster.tick(cluster.node(number));
  cluster.elect(1);
  assert.equal(leader.live.status().term, 2);
  leader.readContext = 0;
  cluster.read(leader);
  cluster.take(isHeartbeat);
  for (const message of late) cluster.deliver(message);
  assert.equal(leader.reads.get(1), "waiting");
  cluster.settle();
  cluster.round(3);
  assert.equal(leader.reads.get(1), 2);
});

test("6.4: learners' answers count for nothing", () => {
  const cluster = new Cluster({ voters: 3, learners: 2 });
  cluster.elect(1);
  cluster.read(cluster.node(1));
  cluster.take(({ to }) => to === memberId(2) || to === memberId(3));
  cluster.settle();
  assert.equal(cluster.node(1).reads.get(1), "waiting");
});
