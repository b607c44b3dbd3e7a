/**
 * One seed, one run: faults, then the healing of everything and the demand for progress, then the judgement.
 * @module
 */

import { EXIT } from "../../src/common/errors.ts";
import type { BlockId } from "../../src/common/ids.ts";
import { openKernels } from "../../src/kernels/load.ts";
import type { Message } from "../../src/raft/messages.ts";
import { Violation } from "./checkers.ts";
import { DurabilityCheck } from "./durability.ts";
import { Nemesis } from "./nemesis.ts";
import { Network } from "./network.ts";
import { type MasterProcess, type NodeObserver, type NodeWorld, SimNode } from "./node.ts";
import { SimRandom } from "./random.ts";
import { type RunOptions, type RunResult, simulate, type Told } from "./run_result.ts";
import { type Lane, Scheduler } from "./scheduler.ts";
import { Stage, standingOf } from "./stage.ts";
import { FAULT_KINDS, type Plan, planOf } from "./swarm.ts";
import { PeerNet } from "./transport.ts";
import { VirtualUfs } from "./virtual_ufs.ts";
import { SimWorker, SimWriter } from "./workers.ts";

/** After everything is up and connected again, a write must succeed within this. */
const PROGRESS_MS = 2000;
/** A dial that went nowhere is given up, and repeated, within this. */
const RECONNECT_MS = 1500;
const LEADERS_LOOKED_AT_MS = 100;
/** What is under way, and stalls that a leader forgives, may keep it in office for so much longer. */
const LONELY_MS = 2000;
const OPEN_MS = 10_000;
const CONVERGE_MS = 10_000;

const kernels = openKernels({ flavour: "wasm", arenaBytes: 64 * 1024 });
const crc32c = (bytes: Uint8Array, seed?: number) => kernels.crc32c(bytes, seed);

class Run {
  readonly plan: Plan;
  readonly scheduler = new Scheduler();
  readonly random: SimRandom;
  readonly network: Network;
  readonly net: PeerNet;
  readonly ufs: VirtualUfs;
  readonly stage: Stage;
  readonly nodes: SimNode[] = [];
  readonly eventCounts = new Map<string, number>();
  readonly nemesis: Nemesis;
  readonly durability: DurabilityCheck;
  readonly workers: SimWorker[] = [];
  readonly writer: SimWriter;
  readonly #world: NodeWorld;

  constructor(seed: number) {
    this.random = new SimRandom(seed);
    this.plan = planOf(this.random.fork("plan"));
    const { plan, scheduler } = this;
    this.network = new Network(scheduler, this.random.fork("network"), plan.network);
    this.net = new PeerNet(this.network, this.random.fork("transport"), { ...plan.transport });
    this.ufs = new VirtualUfs(scheduler, this.random.fork("ufs"));
    this.stage = new Stage({
      ...{ scheduler, random: this.random, clientCount: plan.clientCount, traits: plan.clients },
      masters: () => this.nodes,
    });
    this.durability = new DurabilityCheck(this.random.fork("durability"), crc32c, (what) =>
      this.stage.checkers.fail("I5", what),
    );
    this.net.onSend = (lane, message) => this.#onSend(lane, message);
    this.#world = {
      scheduler,
      net: this.net,
      ufs: this.ufs,
      crc32c,
      traits: plan.node,
      observer: this.#observer(),
    };
    const names = Array.from({ length: plan.masterCount }, (_, at) => `m${at + 1}`);
    const addresses = names.map((name) => `${name}:19200`);
    for (const name of names) this.nodes.push(this.#makeNode(name, addresses));
    this.nemesis = new Nemesis({
      plan,
      scheduler,
      random: this.random.fork("nemesis"),
      nodes: this.nodes,
      net: this.net,
      network: this.network,
      ufs: this.ufs,
      addNode: () => this.#addNode(),
      readFloor: () => this.stage.checkers.told,
      onRead: (master, floor) => this.stage.checkers.read(master, floor),
    });
    for (let number = 1; number <= plan.workerCount; number++) this.#addWorker(number);
    const writing = this.random.fork("writer");
    this.writer = new SimWriter(scheduler, writing, () => this.nodes, this.workers);
  }

  #addNode(): SimNode {
    const name = `m${this.nodes.length + 1}`;
    const known = this.nodes.filter((node) => !this.nemesis.removed.has(node));
    const addresses = [...known.map(({ address }) => address), `${name}:19200`];
    const node = this.#makeNode(name, addresses);
    this.nodes.push(node);
    for (const worker of this.workers) worker.connect(node);
    return node;
  }

  #addWorker(number: number): void {
    const random = this.random.fork(`worker ${number}`);
    const worker = new SimWorker(number, this.scheduler, random, {
      onFree: (name, block, by) => this.#judgeFree(name, block, by),
    });
    for (const node of this.nodes) worker.connect(node);
    this.workers.push(worker);
  }

  /** The most that any master has ever known, dead ones included. */
  #judgeFree(worker: string, block: BlockId, by: SimNode): void {
    let best: MasterProcess | null = null;
    for (const { lastProcess } of this.nodes) {
      const index = lastProcess?.state.stateMachine.position().index ?? -1;
      if (index > (best?.state.stateMachine.position().index ?? -1)) best = lastProcess;
    }
    if (best === null || best.namespace.blockNamespace.blockLength(block) === null) return;
    this.stage.checkers.fail(
      "I13",
      `${by.name} told ${worker} to remove block ${block}, which is part of a file at ${best.main.name}`,
    );
  }

  #onSend(lane: Lane, message: Message): void {
    this.scheduler.onLine?.(lineOf(lane, message));
    const node = this.nodes.find(({ host }) => host === lane.host);
    if (node === undefined) return;
    this.stage.checkers.sent(lane, message, this.nemesis.mayForget(node));
    this.durability.sent(node, message, this.nemesis.wasDamaged(node));
    this.nemesis.sent(node, message);
  }

  #makeNode(name: string, addresses: readonly string[]): SimNode {
    return new SimNode(name, addresses, this.#world, this.random.fork(`node ${name}`));
  }

  #observer(): NodeObserver {
    return {
      onStarted: (process) => {
        this.scheduler.note(`${process.main.name} is open`);
        this.stage.checkers.opened(process);
      },
      onEvent: (process, event) => {
        this.eventCounts.set(event.kind, (this.eventCounts.get(event.kind) ?? 0) + 1);
        const detail = JSON.stringify(event, (_, value: unknown) =>
          typeof value === "bigint" ? value.toString() : value,
        );
        this.scheduler.note(`${process.main.name} ${detail}`);
        const isReign = event.kind === "roleChanged" && event.role === "leader";
        this.nemesis.told(process.node, isReign ? "becameLeader" : event.kind);
      },
      onEnded: (process, how) => {
        this.scheduler.note(`${process.main.name} ended: ${how}`);
        if (how.startsWith(`fatal ${EXIT.expelled}`)) this.#onExpelled(process, how);
        else if (how.startsWith("start failed") || how.startsWith("fatal"))
          this.#onBrokenDown(process, how);
        else this.nemesis.ended(process.node);
      },
      wrap: (process, machine) => this.stage.checkers.watch(process, machine),
    };
  }

  #onExpelled({ node, main }: MasterProcess, how: string): void {
    if (!this.nemesis.expelled(node))
      this.stage.checkers.fail(
        "I9",
        `${main.name} was told to go, which nobody had asked for: ${how}`,
      );
  }

  /** A process that ends by itself has a reason, and nobody loses what it acknowledged. */
  #onBrokenDown({ node, main }: MasterProcess, how: string): void {
    const isDamage =
      how === "start failed: DATA_LOSS" || how.startsWith(`fatal ${EXIT.journalDamaged}`);
    if (how.startsWith(`fatal ${EXIT.invariant}`) || how.endsWith("bug"))
      this.stage.checkers.fail("BUG", `${main.name} ${how} ${String(node.startFailure)}`);
    else if (!isDamage) this.nemesis.ended(node);
    else if (this.nemesis.damaged.has(node) && this.nodes.length > 1) this.nemesis.giveUp(node);
    else
      this.stage.checkers.fail(
        "I1",
        `${main.name} says that a disk is damaged which is not: ${how}`,
      );
  }

  /** A leader without a quorum steps down, and says so to its clients. */
  #watchLeaders(): void {
    const { electionMaxMs } = this.plan.node.timings;
    this.scheduler.after(LEADERS_LOOKED_AT_MS, null, "watchLeaders", () => {
      for (const { process } of this.nodes) {
        if (process === null) continue;
        if (!process.journal.isServing() || !isAwake(process) || this.#hearsQuorum(process))
          process.lonelySinceMs = this.scheduler.nowMs;
        else if (this.scheduler.nowMs - process.lonelySinceMs > 3 * electionMaxMs + LONELY_MS)
          this.stage.checkers.fail(
            "I8",
            `${process.main.name} serves, and has no quorum since long`,
          );
      }
      this.#watchLeaders();
    });
  }

  #hearsQuorum(process: MasterProcess): boolean {
    const { members } = process.journal.status();
    const voters = members.filter(({ standing }) => standing === "voter");
    const heard = voters.filter(({ address }) => {
      const peer = this.nodes.find((node) => node.address === address);
      if (peer === process.node) return true;
      if (peer === undefined || peer.process === null) return false;
      return !this.network.isCut(peer.name, process.node.name);
    });
    return 2 * heard.length > voters.length;
  }

  async execute(): Promise<void> {
    for (const node of this.nodes) {
      this.scheduler.after(0, null, "format", () => void node.format());
    }
    await this.stage.until("formatted", () => false, 500);
    for (const node of this.nodes)
      this.scheduler.after(this.random.skewed(0, 300), null, "boot", () => node.start());
    await this.stage.setUp();
    this.stage.startClients();
    if (this.workers.length > 0) this.writer.begin();
    this.nemesis.begin();
    this.#watchLeaders();
    await this.stage.until("faults", () => false, this.plan.faultPhaseMs);
    await this.#heal();
    await this.#converge();
    this.stage.judge();
  }

  get #live(): SimNode[] {
    return this.nodes.filter((node) => !this.nemesis.removed.has(node));
  }

  async #heal(): Promise<void> {
    const { stage } = this;
    this.nemesis.heal();
    const isUp = () => this.#live.every(({ process }) => process?.isOpen === true);
    if (!(await this.stage.until("open", isUp, OPEN_MS)))
      throw new Violation("I8", `not every master comes up again: ${this.#standing()}`);
    // What a slow disk had begun before takes its time.
    const busyUntilMs = Math.max(...this.nodes.map(({ disk }) => disk.busyUntilMs));
    await this.stage.until("reconnect", () => false, RECONNECT_MS);
    await this.stage.until("disks", () => this.scheduler.nowMs >= busyUntilMs, OPEN_MS);
    await stage.probe(PROGRESS_MS, () => this.#standing());
    this.writer.isStopped = true;
    await stage.drain(() => this.writer.isBusy);
  }

  #standing(): string {
    return standingOf(this.nodes);
  }

  /** All masters reach the same entry, and have the same state there. */
  async #converge(): Promise<void> {
    const positions = () =>
      this.#live.map(({ process }) => process?.state.stateMachine.position().index ?? -1);
    const isEqual = () => {
      const [first, ...others] = positions();
      const leader = this.#live.find(({ process }) => process?.journal.isServing() === true);
      const { lastIndex = -2 } = leader?.process?.journal.status() ?? {};
      return first === lastIndex && others.every((each) => each === first);
    };
    if (!(await this.stage.until("converge", isEqual, CONVERGE_MS)))
      throw new Violation("I8", `the masters do not come to the same entry: ${this.#standing()}`);
    const digests = new Set(this.#live.map(({ store }) => store.digest));
    if (digests.size > 1)
      throw new Violation("I6", `states differ in the end: ${this.#standing()}`);
    await this.stage.readAll();
  }

  told(): Told {
    const { stage } = this;
    const { operations, unknown, repeats } = stage.stats;
    return {
      ...{ operations, unknown, repeats },
      elections: stage.checkers.electionCount,
      applied: stage.checkers.lastApplied,
      undecided: stage.undecidedCount,
      faultKinds: FAULT_KINDS,
      faults: Object.fromEntries(this.nemesis.counts),
      events: Object.fromEntries(this.eventCounts),
    };
  }
}

/** A message in a trace. */
function lineOf(lane: Lane, { from: _from, to, kind, term, ...body }: Message): string {
  const shown = JSON.stringify(body, (key, value: unknown) => {
    if (key === "payload") return undefined;
    if (key === "membership") return "...";
    return typeof value === "bigint" ? value.toString() : value;
  });
  return `              ${lane.name} sends ${kind} of term ${term} to ${to} ${shown}`;
}

function isAwake({ main, journalLane }: MasterProcess): boolean {
  return !main.isPaused && !journalLane.isPaused;
}

export function runSeed(seed: number, options: RunOptions = {}): Promise<RunResult> {
  return simulate(seed, (each) => new Run(each), options);
}
