/**
 * Raft under random faults: one seed is one run, replayed exactly. First some thousand steps in
 * which anything goes wrong, watched by the checker; then all heals, and the cluster must get on.
 * Members come and go, logs are trimmed, damaged, or lost with their node, as long as every membership that can be in force
 * keeps a majority of voters with whole logs.
 * A run takes its own mixture of faults, so that some of them meet undisturbed.
 * `ROCKPOOL_RAFT_SEED=17` runs one seed, `ROCKPOOL_RAFT_SEEDS=5000` that many.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { MemberId } from "../common/ids.ts";
import { changeMembership } from "./membership.ts";
import type { Membership, MembershipChange, Message } from "./messages.ts";
import { quorumSize } from "./quorum.ts";
import { Cluster, SeededRandom, TEST_CONFIG, type TestNode } from "./testing.ts";

const SEEDS = Number(process.env["ROCKPOOL_RAFT_SEEDS"] ?? 300);
const ONLY_SEED = process.env["ROCKPOOL_RAFT_SEED"];
const STEPS = 10_000;
const NETWORK_MAX = 400;
const PAST_MESSAGES = 100;
const JOINERS_MAX = 4;

type Faults = {
  readonly loss: number;
  readonly duplicate: number;
  /** Messages that come a second time, long after. */
  readonly replay: number;
  readonly isReordered: boolean;
  readonly crash: number;
  readonly cut: number;
  readonly transfer: number;
  readonly death: number;
  readonly stall: number;
  readonly slowDisk: number;
  readonly tick: number;
  readonly change: number;
  readonly join: number;
  readonly trim: number;
  /** Of the restarts. */
  readonly damage: number;
  readonly wipe: number;
  /** A snapshot can't be had, or takes its time. */
  readonly snapshotTrouble: number;
};

function pickFaults(random: SeededRandom): Faults {
  const sometimes = (most: number) => (random.chance(0.5) ? (random.below(1000) / 1000) * most : 0);
  return {
    loss: sometimes(0.3),
    duplicate: sometimes(0.3),
    replay: sometimes(0.2),
    isReordered: random.chance(0.5),
    crash: sometimes(0.04),
    cut: sometimes(0.02),
    transfer: sometimes(0.02),
    death: sometimes(0.05),
    stall: sometimes(0.01),
    slowDisk: sometimes(0.8),
    tick: 0.2 + sometimes(0.4),
    change: sometimes(0.05),
    join: sometimes(0.002),
    trim: sometimes(0.05),
    damage: sometimes(0.5),
    wipe: sometimes(0.002),
    snapshotTrouble: sometimes(0.9),
  };
}

class Run {
  readonly #random: SeededRandom;
  readonly #faults: Faults;
  readonly cluster: Cluster;
  readonly #past: Message[] = [];
  readonly #wiped = new Set<MemberId>();
  #commands = 0;
  met = { wipes: 0, damages: 0, joins: 0 };

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
    this.#faults = pickFaults(this.#random);
    const shapes = [
      { voters: 3 },
      { voters: 3 },
      { voters: 5 },
      { voters: 2 },
      { voters: 3, learners: 1 },
      { voters: 1, learners: 2 },
    ];
    this.cluster = new Cluster({
      ...(shapes[this.#random.below(shapes.length)] ?? { voters: 3 }),
      seed: seed + 1_000_000,
      isDiskInstant: false,
      config: {
        inflightEntriesMax: 1 + this.#random.below(12),
        inflightBytesMax: 50 + this.#random.below(500),
        appendBytesMax: 1 + this.#random.below(200),
        handOverTicksMax: this.#random.chance(0.3) ? 0 : TEST_CONFIG.electionTicksMax,
      },
    });
  }

  step(): void {
    const { cluster } = this;
    const random = this.#random;
    const faults = this.#faults;
    const node = this.#anyNode();
    if (this.#wiped.has(node.id)) return;
    if (node.core === null) {
      if (random.chance(0.05)) this.#restart(node);
    } else if (random.chance(faults.tick)) cluster.tick(node);
    else if (random.chance(0.1)) this.#request(node);
    else if (random.chance(faults.crash))
      cluster.crash(node, random.below(node.pending.length + 1));
    else if (random.chance(faults.transfer)) node.core.transferLeadership(this.#anyNode().id);
    else if (random.chance(faults.death)) node.core.peerDied(this.#anyNode().id);
    else if (random.chance(faults.stall)) node.core.resetTimers();
    else if (random.chance(faults.change)) this.#change(cluster.leader() ?? node);
    else if (random.chance(faults.trim)) this.#trim(node);
    else if (random.chance(faults.wipe)) this.#wipe(node);
    else if (node.wanted !== null && random.chance(0.3)) this.#snapshot(node);
    else if (node.pending.length > 0 && !random.chance(faults.slowDisk))
      cluster.persist(node, 1 + random.below(node.pending.length));
    if (node.core !== null) cluster.pump(node);
    if (random.chance(faults.cut)) this.#changeLinks();
    if (random.chance(faults.join) && this.met.joins < JOINERS_MAX) {
      cluster.join();
      this.met.joins += 1;
    }
    for (let at = random.below(4); at > 0; at -= 1) this.#deliverOne();
  }

  #anyNode(): TestNode {
    return this.cluster.node(1 + this.#random.below(this.cluster.nodes.length));
  }

  #restart(node: TestNode): void {
    const { disk } = node;
    const random = this.#random;
    // A killed process leaves its state machine as it was; a power cut may throw it back, to a snapshot at worst.
    const least = disk.firstIndex() - 1;
    const thrownBack = least + random.below(node.appliedIndex - least + 1);
    const kept = random.chance(0.5) ? node.appliedIndex : thrownBack;
    const isDamaged = disk.lastIndex() > kept && random.chance(this.#faults.damage);
    if (isDamaged && this.#mayLose(node)) {
      this.cluster.damage(node, kept + random.below(disk.lastIndex() - kept));
      this.met.damages += 1;
    }
    this.cluster.restart(node, kept);
  }

  /** Every membership that is in force anywhere, or may come to be. */
  #memberships(): readonly Membership[] {
    const { checker, nodes } = this.cluster;
    const committed = checker.memberships.slice(-2);
    const since = committed[0]?.index ?? 0;
    const inLogs = nodes.flatMap(({ disk, written }) => [
      ...disk.memberships(),
      ...written.memberships(),
    ]);
    const news = inLogs.filter(({ index }) => index > since);
    return [...committed, ...news].map(({ membership }) => membership);
  }

  #isWhole(id: MemberId): boolean {
    const node = this.cluster.node(Number(id));
    return !this.#wiped.has(id) && node.disk.promised() === null;
  }

  /** Whether the others would still be enough. */
  #mayLose(node: TestNode): boolean {
    return this.#memberships().every((membership) => {
      const whole = membership.voters.filter((id) => id !== node.id && this.#isWhole(id)).length;
      return !membership.voters.includes(node.id) || whole >= quorumSize(membership.voters.length);
    });
  }

  #wipe(node: TestNode): void {
    if (!this.#mayLose(node)) return;
    this.cluster.crash(node);
    this.#wiped.add(node.id);
    this.cluster.join();
    this.met.wipes += 1;
  }

  #trim(node: TestNode): void {
    const least = node.written.firstIndex() - 1;
    const { appliedIndex } = node;
    if (appliedIndex > least && node.wanted === null)
      this.cluster.trim(node, least + 1 + this.#random.below(appliedIndex - least));
  }

  #snapshot(node: TestNode): void {
    if (!this.#random.chance(this.#faults.snapshotTrouble)) this.cluster.install(node);
    else if (this.#random.chance(0.3)) this.cluster.failSnapshot(node);
  }

  #change(node: TestNode): void {
    const { id } = this.#anyNode();
    const kinds = ["addLearner", "addVoter", "remove"] as const;
    const kind = kinds[this.#random.below(3)] ?? "remove";
    const change: MembershipChange =
      kind === "remove" ? { kind, id } : { kind, id, address: `host${id}:19200` };
    const next = changeMembership(node.live.status().membership, change);
    if (typeof next === "string") return;
    const whole = next.voters.filter((voter) => this.#isWhole(voter)).length;
    if (whole >= quorumSize(next.voters.length)) this.cluster.change(node, change);
  }

  #request(node: TestNode): void {
    if (this.#random.chance(0.3)) {
      this.cluster.read(node);
      return;
    }
    const commands: string[] = [];
    for (let at = this.#random.below(4); at >= 0; at -= 1) {
      this.#commands += 1;
      commands.push(`command ${this.#commands}`);
    }
    this.cluster.propose(node, ...commands);
  }

  #changeLinks(): void {
    const size = this.cluster.nodes.length;
    const one = 1 + this.#random.below(size);
    const other = 1 + this.#random.below(size);
    const choice = this.#random.below(8);
    if (choice < 4) this.cluster.heal();
    // The richest case: an old leader that goes on, and does not know of the new one.
    else if (choice < 6) this.cluster.isolate(Number(this.cluster.leader()?.id ?? one));
    else if (choice === 6) this.cluster.isolate(one);
    else this.cluster.cut(one, other);
  }

  #deliverOne(): void {
    const { network } = this.cluster;
    if (network.length > NETWORK_MAX) network.splice(0, network.length - NETWORK_MAX);
    const at = this.#faults.isReordered ? this.#random.below(network.length || 1) : 0;
    const message = network[at];
    if (message === undefined) return;
    if (!this.#random.chance(this.#faults.duplicate)) network.splice(at, 1);
    if (!this.#random.chance(this.#faults.loss)) this.cluster.deliver(message);
    const replayed = this.#past[this.#random.below(PAST_MESSAGES)];
    if (replayed !== undefined && this.#random.chance(this.#faults.replay))
      this.cluster.deliver(replayed);
    if (this.#random.chance(0.1)) this.#past[this.#random.below(PAST_MESSAGES)] = message;
  }

  /** All heals: within some election time-outs there is a leader; all nodes become voters; it can write and read. */
  heal(): void {
    const { cluster } = this;
    cluster.heal();
    cluster.isDiskInstant = true;
    const living = cluster.nodes.filter(({ id }) => !this.#wiped.has(id));
    for (const node of living) {
      if (node.core === null) cluster.restart(node);
      cluster.persist(node);
    }
    cluster.settle();
    const isDone = () => living.every((node) => node.applied.at(-1) === "the end");
    let triedTerm = 0;
    for (let rounds = 0; !isDone(); rounds += 1) {
      assert.ok(rounds < 500, "a healed cluster makes progress");
      for (const node of living) if (node.wanted !== null) cluster.install(node);
      cluster.round();
      const leader = cluster.leader();
      // A leader may be an old one that has yet to learn of its successor: then try again there.
      if (leader === null || !this.#healMembership(leader, living)) continue;
      if (leader.live.status().term === triedTerm) continue;
      if (cluster.propose(leader, "the end").kind !== "accepted") continue;
      triedTerm = leader.live.status().term;
      cluster.settle();
    }
    // Also a leader that was removed by what was still on its way has a successor by then.
    cluster.round(TEST_CONFIG.electionTicksMax * 4);
    const leader = cluster.leader();
    const context = leader && cluster.read(leader);
    assert.ok(leader !== null && context !== null, "a healed cluster has a leader");
    cluster.settle();
    assert.equal(typeof leader.reads.get(context), "number", "a healed cluster reads");
    const [first, ...others] = living.map((node) => node.applied);
    for (const other of others) assert.deepEqual(other, first);
    for (const node of living) {
      for (const state of node.reads.values()) assert.notEqual(state, "waiting", "reads end");
      assert.equal(node.disk.promised(), null, "what was damaged is whole again");
    }
  }

  /** Takes a step towards a membership of all living nodes. @returns whether it is reached */
  #healMembership(leader: TestNode, living: readonly TestNode[]): boolean {
    const { voters, learners } = leader.live.status().membership;
    const gone = [...voters, ...learners].find((id) => this.#wiped.has(id));
    const missing = living.find(({ id }) => !voters.includes(id));
    if (gone !== undefined) this.cluster.change(leader, { kind: "remove", id: gone });
    else if (missing !== undefined) {
      const { id } = missing;
      this.cluster.change(leader, { kind: "addVoter", id, address: `host${id}:19200` });
    }
    return gone === undefined && missing === undefined;
  }
}

test("any cluster keeps Raft's promises under random faults, and gets on when they end", () => {
  const first = ONLY_SEED === undefined ? 1 : Number(ONLY_SEED);
  const last = ONLY_SEED === undefined ? SEEDS : first;
  const met = new Map<string, number>();
  const add = (counts: Readonly<Record<string, number>>) => {
    for (const [name, count] of Object.entries(counts)) met.set(name, (met.get(name) ?? 0) + count);
  };
  for (let seed = first; seed <= last; seed += 1) {
    try {
      const run = new Run(seed);
      for (let step = 0; step < STEPS; step += 1) run.step();
      run.heal();
      add(run.met);
      add(run.cluster.checker.met);
      add({ committed: run.cluster.checker.commitIndex });
    } catch (error) {
      const reason = error instanceof Error ? error.stack : String(error);
      throw new Error(`Seed ${seed} fails, replay it with ROCKPOOL_RAFT_SEED=${seed}: ${reason}`);
    }
  }
  if (ONLY_SEED !== undefined) return;
  // Faults that stop all work would prove nothing, and no more would work without faults.
  const runs = last - first + 1;
  const least = {
    committed: 100,
    leaders: 5,
    overwrittenEntries: 2,
    releasedReads: 20,
    abortedReads: 1,
    memberships: 1,
    overwrittenMemberships: 0.05,
    snapshots: 0.5,
    damages: 0.5,
    wipes: 0.1,
  };
  for (const [name, perRun] of Object.entries(least)) {
    const count = met.get(name) ?? 0;
    assert.ok(count > perRun * runs, `${count} ${name} in ${runs} runs`);
  }
});
