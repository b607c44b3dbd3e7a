/**
 * Whoever makes things go wrong for masters with a shared journal: with their processes, their clocks, their way to the store and to the election, and with
 * these two themselves. Nothing that was acknowledged is damaged: that is the store's to keep.
 * @module
 */

import type { Network } from "./network.ts";
import type { SimNode } from "./node.ts";
import type { SimRandom } from "./random.ts";
import { callMaster } from "./rpc.ts";
import { Host, Lane, type Scheduler, SimCrash } from "./scheduler.ts";
import type { VirtualElection } from "./shared_election.ts";
import type { StoreWorld } from "./shared_store.ts";
import type { SharedFaultKind, SharedPlan } from "./shared_swarm.ts";

export type SharedNemesisParts = {
  readonly plan: SharedPlan;
  readonly scheduler: Scheduler;
  readonly random: SimRandom;
  readonly nodes: readonly SimNode[];
  readonly network: Network;
  readonly store: StoreWorld;
  readonly election: VirtualElection;
};

/** They are the store's own, and happen by the way. */
const OF_THE_STORE = new Set<SharedFaultKind>(["ambiguous", "late", "lying"]);

export class SharedNemesis {
  readonly #parts: SharedNemesisParts;
  readonly #lane = new Lane("operator", new Host("operator"));
  readonly counts = new Map<string, number>();
  #isOver = false;

  constructor(parts: SharedNemesisParts) {
    this.#parts = parts;
    const { nodes, random, plan, store } = parts;
    store.onFault = (kind) => this.#count(kind);
    store.onLateFence = (host) => this.#onLateFence(host);
    for (const node of nodes) {
      node.clockRate = 1 + random.between(-plan.clockDrift, plan.clockDrift);
      node.wallOffsetMs = random.between(0, 500);
    }
  }

  #count(kind: string): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
  }

  #note(text: string): void {
    this.#parts.scheduler.note(`! ${text}`);
  }

  begin(): void {
    this.#next();
  }

  #next(): void {
    const { scheduler, random, plan } = this.#parts;
    scheduler.after(random.between(1, plan.faultIntervalMs), null, "nemesis", () => {
      if (this.#isOver) return;
      const kinds = [...plan.faults].filter((kind) => !OF_THE_STORE.has(kind));
      if (kinds.length > 0) this.#act(random.pick(kinds));
      this.#next();
    });
  }

  /** More often who leads. */
  #victim(): SimNode {
    const { nodes, random } = this.#parts;
    const leader = nodes.find(({ process }) => process?.journal.isServing() === true);
    return leader !== undefined && random.chance(0.6) ? leader : random.pick(nodes);
  }

  /** Undone after a while, or in the end. */
  #undoAfter(ms: number, undo: () => void): void {
    this.#parts.scheduler.after(ms, null, "undo", () => {
      if (!this.#isOver) undo();
    });
  }

  #act(kind: SharedFaultKind): void {
    const { random, plan } = this.#parts;
    const node = this.#victim();
    const longMs = 2.5 * plan.sessionTimeoutMs;
    switch (kind) {
      case "processCrash":
        this.#crash(node, "process", kind);
        return;
      case "powerLoss":
        this.#crash(node, "power", kind);
        return;
      case "loseStore":
        this.#crash(node, "process", kind);
        node.loseStore();
        return;
      case "crashAtCommit":
        this.#crashAtCommit(node);
        return;
      case "pause":
        this.#pause(node, random.skewed(10, longMs));
        return;
      case "stall":
        this.#stall(node, random.skewed(10, 1500));
        return;
      case "suspend":
        this.#suspend(node, random.skewed(10, longMs));
        return;
      case "stop":
        this.#stop(node);
        return;
      case "usurp":
        this.#usurp(random.between(plan.sessionTimeoutMs, 2 * longMs));
        return;
      default:
        this.#actOutside(kind, node, random.skewed(20, longMs));
        return;
    }
  }

  #actOutside(kind: SharedFaultKind, node: SimNode, forMs: number): void {
    const { network, random, store, election, nodes } = this.#parts;
    const { name } = node;
    this.#note(`${kind} ${name} for ${forMs.toFixed(0)} ms`);
    if (kind !== "deceive") this.#count(kind);
    switch (kind) {
      case "cut": {
        const other = random.chance(0.5) ? "c1" : "c2";
        network.cut(other, name);
        this.#undoAfter(forMs, () => network.heal(other, name));
        return;
      }
      case "cutStore":
        store.cut.add(name);
        this.#undoAfter(forMs, () => store.cut.delete(name));
        return;
      case "cutElection":
        election.cut.add(name);
        this.#undoAfter(forMs, () => election.cut.delete(name));
        return;
      case "electionAway":
        election.isAway = true;
        this.#undoAfter(forMs, () => {
          election.isAway = false;
        });
        return;
      case "slowStore":
        store.isSlow = true;
        this.#undoAfter(forMs, () => {
          store.isSlow = false;
        });
        return;
      case "full":
        store.isFull = true;
        this.#undoAfter(forMs, () => {
          store.isFull = false;
        });
        return;
      case "deceive":
        if (election.deceive(random.pick(nodes).name)) this.#count(kind);
        return;
      case "checkpoint":
        this.#ask(node, (master) => master.journal.checkpoint());
        return;
      case "transfer":
        this.#ask(node, (master) => {
          const others = master.journal.status().members.filter(({ isSelf }) => !isSelf);
          const [to] = random.shuffled(others);
          return to === undefined ? Promise.resolve() : master.journal.transferLeadership(to.id);
        });
        return;
      default:
        return;
    }
  }

  #ask(node: SimNode, act: Parameters<typeof callMaster<unknown>>[2]): void {
    void callMaster<unknown>(this.#lane, node, act, 3000); // It answers whatever happens.
  }

  // — processes —

  #crash(node: SimNode, how: "process" | "power", kind: SharedFaultKind): void {
    this.#count(kind);
    this.#note(`${node.name} ${kind}`);
    node.crash(how);
    this.restart(node);
  }

  restart(node: SimNode): void {
    const { scheduler, random } = this.#parts;
    this.#wake(node);
    scheduler.after(random.skewed(20, 4000), null, "restart", () => {
      node.restorePower();
      node.start();
    });
  }

  #crashAtCommit(node: SimNode): void {
    const { process, store } = node;
    if (process === null) return;
    let left = 1 + this.#parts.random.below(8);
    store.onCommit = () => {
      left -= 1;
      if (left > 0 || this.#isOver || node.process !== process) return;
      store.onCommit = () => {};
      this.#crash(node, "process", "crashAtCommit");
      throw new SimCrash("behind a commit");
    };
  }

  #pause(node: SimNode, forMs: number): void {
    const { process } = node;
    if (process === null || process.main.isPaused) return;
    this.#count("pause");
    this.#note(`${node.name} pauses for ${forMs.toFixed(0)} ms`);
    this.#halt(node, forMs, [process.main, process.journalLane]);
  }

  #stall(node: SimNode, forMs: number): void {
    const { process } = node;
    if (process === null || process.main.isPaused) return;
    this.#count("stall");
    this.#note(`${node.name}'s main thread stalls for ${forMs.toFixed(0)} ms`);
    this.#halt(node, forMs, [process.main]);
  }

  #halt(node: SimNode, forMs: number, lanes: readonly Lane[]): void {
    const { scheduler } = this.#parts;
    for (const lane of lanes) scheduler.pause(lane);
    this.#undoAfter(forMs, () => {
      this.#wake(node);
      for (const lane of lanes) if (lane.isPaused) scheduler.resume(lane);
    });
  }

  /** The machine sleeps: its monotonic clock does, too. */
  #suspend(node: SimNode, forMs: number): void {
    const { process } = node;
    if (process === null || process.main.isPaused) return;
    this.#count("suspend");
    this.#note(`${node.name} is suspended for ${forMs.toFixed(0)} ms`);
    node.suspendedAtMs = this.#parts.scheduler.nowMs;
    this.#halt(node, forMs, [process.main, process.journalLane]);
  }

  #wake(node: SimNode): void {
    if (node.suspendedAtMs === null) return;
    node.suspendedMs += this.#parts.scheduler.nowMs - node.suspendedAtMs;
    node.suspendedAtMs = null;
  }

  /** As an operator stops it: it hands over, and ends. */
  #stop(node: SimNode): void {
    const { process } = node;
    if (process === null || !process.isOpen || process.main.isPaused) return;
    this.#count("stop");
    this.#note(`${node.name} is stopped`);
    const { scheduler } = this.#parts;
    scheduler.after(0, process.main, "stop", () => {
      void process.journal.close().then(() => {
        if (node.process !== process) return;
        node.crash("process");
        this.restart(node);
      });
    });
  }

  /**
   * Who leads is away in the middle of something, and the others go far on before it is back: it still believes in itself, what it had sent may still arrive.
   */
  #usurp(forMs: number): void {
    const { nodes, random, store } = this.#parts;
    const leader = nodes.find(({ process }) => process?.journal.isServing() === true);
    if (leader?.process == null || leader.process.main.isPaused) return;
    this.#count("usurp");
    const how = random.pick(["pause", "suspend", "cutStore", "standby"] as const);
    this.#note(`the reign of ${leader.name} is taken (${how})`);
    if (how === "pause") this.#pause(leader, forMs);
    else if (how === "suspend") this.#suspend(leader, forMs);
    else if (how === "cutStore") {
      store.cut.add(leader.name);
      this.#undoAfter(forMs, () => store.cut.delete(leader.name));
    } else {
      // One that follows is away, and then has to lead.
      const follower = random.pick(nodes.filter((node) => node !== leader));
      this.#pause(follower, forMs);
      this.#undoAfter(forMs, () => {
        for (const node of nodes)
          if (node !== follower && node.process !== null)
            this.#crash(node, "process", "processCrash");
      });
    }
  }

  /** Its maker is gone before it arrives. */
  #onLateFence(host: string): void {
    const { nodes, random, scheduler, plan } = this.#parts;
    const node = nodes.find(({ name }) => name === host);
    if (node === undefined || !random.chance(0.7)) return;
    const isPause = random.chance(0.3);
    scheduler.after(0.1, null, "late fence", () => {
      if (this.#isOver || node.process === null) return;
      if (isPause) this.#pause(node, 2.5 * plan.sessionTimeoutMs);
      else this.#crash(node, "process", "processCrash");
    });
  }

  /** Everything is as it should be from now on. */
  heal(): void {
    const { nodes, network, store, election, scheduler } = this.#parts;
    this.#isOver = true;
    this.#note("everything heals");
    network.healAll();
    network.isCalm = true;
    store.cut.clear();
    store.isFull = false;
    store.isSlow = false;
    store.isCalm = true;
    election.cut.clear();
    election.isAway = false;
    election.isCalm = true;
    for (const node of nodes) {
      this.#wake(node);
      node.store.onCommit = () => {};
      for (const lane of [node.process?.main, node.process?.journalLane])
        if (lane?.isPaused === true) scheduler.resume(lane);
    }
  }
}
