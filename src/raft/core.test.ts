import assert from "node:assert/strict";
import { test } from "node:test";
import { InvariantError } from "../common/invariant.ts";
import { RaftCore } from "./core.ts";
import type { RaftConfig } from "./messages.ts";
import {
  Cluster,
  MemoryStorage,
  memberId,
  membershipOf,
  SeededRandom,
  TEST_CONFIG,
} from "./testing.ts";

test("a cluster of three elects a leader, writes and reads", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.propose(cluster.node(1), "a", "b");
  cluster.settle();
  for (const node of cluster.nodes) assert.deepEqual(node.applied, ["a", "b"]);
  assert.equal(cluster.read(cluster.node(1)), 1);
  cluster.settle();
  assert.equal(cluster.node(1).reads.get(1), 3);
});

test("a sole voter leads after one tick, commits by its own disk, and reads at once", () => {
  const cluster = new Cluster({ voters: 1, isDiskInstant: false });
  const node = cluster.node(1);
  cluster.tick(node);
  assert.equal(cluster.read(node), 1);
  cluster.propose(node, "a");
  assert.equal(node.live.status().commitIndex, 0);
  assert.equal(node.reads.get(1), "waiting", "nothing of its term is committed");
  cluster.persist(node);
  assert.deepEqual(node.applied, ["a"]);
  assert.equal(node.reads.get(1), 1);
  assert.equal(cluster.read(node), 2);
  assert.equal(node.reads.get(2), 2);
  assert.equal(cluster.network.length, 0);
});

test("a restarted node keeps term, vote and log, and applies only what is new", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.propose(cluster.node(1), "a");
  cluster.settle();
  const node = cluster.node(2);
  cluster.crash(node);
  cluster.propose(cluster.node(1), "b");
  cluster.settle();
  cluster.restart(node);
  assert.equal(node.live.status().term, 1);
  assert.deepEqual(node.disk.hardState.vote, memberId(1));
  cluster.round(TEST_CONFIG.heartbeatTicks * 3);
  assert.deepEqual(node.applied, ["a", "b"]);
});

test("a whole cluster that loses power keeps what it had committed", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.propose(cluster.node(1), "a", "b");
  cluster.settle();
  cluster.network = [];
  for (const node of cluster.nodes) {
    cluster.crash(node);
    cluster.restart(node, 0);
  }
  cluster.round(100);
  for (const node of cluster.nodes) assert.deepEqual(node.applied, ["a", "b"]);
});

test("takeReady() is null when there is nothing to do", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.settle();
  for (const node of cluster.nodes) assert.equal(node.live.takeReady(), null);
});

test("messages to others, from oneself and from strangers do no harm", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  const core = cluster.core(1);
  const body = { kind: "heartbeatResponse", readContext: 99 } as const;
  core.step({ from: memberId(2), to: memberId(3), term: 9, ...body });
  core.step({ from: memberId(1), to: memberId(1), term: 9, ...body });
  core.step({ from: memberId(77), to: memberId(1), term: 1, ...body });
  assert.equal(core.takeReady(), null);
  assert.equal(core.status().role, "leader");
});

test("a core does not start with a configuration or a disk that can't be", () => {
  const good: RaftConfig = { ...TEST_CONFIG, id: memberId(1), appliedIndex: 0 };
  const start = (config: Partial<RaftConfig>, storage = new MemoryStorage(membership)) =>
    new RaftCore({ ...good, ...config }, storage, new SeededRandom(1));
  const membership = membershipOf([1]);
  const bad: Partial<RaftConfig>[] = [
    { heartbeatTicks: 0 },
    { electionTicksMin: 9 },
    { electionTicksMax: 9 },
    { inflightEntriesMax: 0 },
    { inflightBytesMax: 0 },
    { appendBytesMax: 0 },
    { appliedIndex: -1 },
    { appliedIndex: 1 },
  ];
  for (const config of bad)
    assert.throws(() => start(config), InvariantError, Object.keys(config).join());
  const lost = new MemoryStorage(membership);
  lost.hardState = { term: 1, vote: null, commitIndex: 5 };
  assert.throws(() => start({}, lost), InvariantError, "committed entries are gone");
  const torn = new MemoryStorage(membership);
  torn.append([{ index: 1, term: 3, kind: "noop", payload: new Uint8Array(0) }]);
  assert.throws(() => start({}, torn), InvariantError, "an entry without its term");
});
