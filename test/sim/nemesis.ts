/**
 * Whoever makes things go wrong: picks a fault that the plan has switched on, does it, and sees to it that it ends.
 *
 * The atlas: damage to what was acknowledged (rot, lost and misplaced writes, wiped disks) befalls only a fixed minority of
 * the masters, so that of everything a sound copy remains in every majority. What the fault model leaves out is not done.
 * @module
 */
import type { LogIndex } from "../../src/common/ids.ts";
import type { Message } from "../../src/raft/messages.ts";
import { soundDisk } from "./disk.ts";
import type { Network } from "./network.ts";
import type { MasterProcess, SimNode } from "./node.ts";
import { Plots } from "./plots.ts";
import type { SimRandom } from "./random.ts";
import { rotAnywhere, rotAtEnd } from "./rot.ts";
import { callMaster } from "./rpc.ts";
import { Host, Lane, type Scheduler, SimCrash } from "./scheduler.ts";
import type { FaultKind, Plan } from "./swarm.ts";
import type { PeerNet } from "./transport.ts";
import type { VirtualUfs } from "./virtual_ufs.ts";

/** More would only make a run slower. */
const MEMBERS_MAX = 6;

/** What the product tells of when it is in the middle of something, and how often that is used. */
const TENDER_MOMENTS: ReadonlyMap<string, number> = new Map([
  ["becameLeader", 0.15],
  ["joining", 0.4],
  ["membershipChanged", 0.05],
  ["checkpointFetching", 0.3],
  ["checkpointInstalled", 0.2],
  ["damageFound", 0.2],
  ["repairing", 0.3],
  ["readOnly", 0.2],
  ["segmentBegun", 0.02],
  ["trimmed", 0.05],
]);

export type NemesisParts = {
  readonly plan: Plan;
  readonly scheduler: Scheduler;
  readonly random: SimRandom;
  readonly nodes: SimNode[];
  readonly net: PeerNet;
  readonly network: Network;
  readonly ufs: VirtualUfs;
  /** Makes one more master, which knows the addresses of all. */
  readonly addNode: () => SimNode;
  readonly readFloor: () => LogIndex;
  readonly onRead: (master: MasterProcess, floor: LogIndex) => void;
};

export class Nemesis {
  readonly #plan: Plan;
  readonly #scheduler: Scheduler;
  readonly #random: SimRandom;
  readonly #nodes: SimNode[];
  readonly #net: PeerNet;
  readonly #network: Network;
  readonly #ufs: VirtualUfs;
  readonly #lane = new Lane("operator", new Host("operator"));
  /** Masters whose disks may be damaged. */
  readonly fragile: ReadonlySet<SimNode>;
  readonly counts = new Map<string, number>();
  /** Masters that were removed from the cluster for good. */
  readonly removed = new Set<SimNode>();
  readonly damaged = new Set<SimNode>();
  /** Masters whose disks have lied in a way that nobody can find out. */
  readonly #forgetful = new Set<SimNode>();
  readonly #plots: Plots;
  /** Masters that somebody is about to start again. */
  readonly #starting = new Set<SimNode>();
  /** Masters whose removal somebody has asked for. */
  readonly #leaving = new Set<SimNode>();
  readonly #addNode: () => SimNode;
  #isBegun = false;
  #isOver = false;

  constructor(parts: NemesisParts) {
    this.#plan = parts.plan;
    this.#scheduler = parts.scheduler;
    this.#random = parts.random;
    this.#nodes = parts.nodes;
    this.#net = parts.net;
    this.#network = parts.network;
    this.#ufs = parts.ufs;
    this.#addNode = parts.addNode;
    const shuffled = this.#random.shuffled(this.#nodes);
    this.fragile = new Set(shuffled.slice(0, Math.floor((shuffled.length - 1) / 2)));
    this.#plots = this.#makePlots(parts);
    for (const node of this.#nodes) this.adopt(node);
    this.#net.onFault = (kind) => this.count(kind);
    this.#ufs.onFault = (kind) => this.count(kind);
  }

  #makePlots({ plan, scheduler, random, nodes, network, readFloor, onRead }: NemesisParts): Plots {
    return new Plots({
      scheduler,
      random: random.fork("plots"),
      nodes,
      network,
      isOver: () => this.#isOver,
      count: (kind) => this.count(kind),
      note: (text) => this.#note(text),
      crash: (node, how, restartMs) => {
        this.#crash(node, how, restartMs);
      },
      mayRot: (node) => plan.faults.has("rot") && this.fragile.has(node),
      rotTail: (node) => this.#rot(node, true),
      reset: ({ name }) => this.#net.resetAll((from, to) => from === name || to === name),
      isGone: (node) => this.removed.has(node) || this.#leaving.has(node),
      readFloor,
      onRead,
    });
  }

  /** Every message, before it leaves. */
  sent(node: SimNode, message: Message): void {
    this.#plots.sent(node, message);
  }

  mayForget(node: SimNode): boolean {
    return this.#forgetful.has(node);
  }

  /** Watches over a master: counts its faults, and starts it again when it ends. */
  adopt(node: SimNode): void {
    node.disk.faults.latencyMaxMs = this.#plan.diskLatencyMaxMs;
    const drift = this.#plan.clockDrift;
    node.clockRate = 1 + this.#random.between(-drift, drift);
    node.disk.onFault = (kind) => {
      this.count(kind);
      if (kind !== "lostWrite" && kind !== "misdirectedWrite") return;
      this.damaged.add(node);
      this.#forgetful.add(node);
    };
    node.disk.onCrash = (how) => this.#crash(node, how);
  }

  /** Whether its disk has lied since it was last formatted, or may be about to. */
  wasDamaged(node: SimNode): boolean {
    return this.damaged.has(node);
  }

  count(kind: string): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
  }

  #note(text: string): void {
    this.#scheduler.note(`! ${text}`);
  }

  begin(): void {
    this.#isBegun = true;
    const waitMs = this.#random.between(10, this.#plan.faultIntervalMs);
    this.#scheduler.after(waitMs, null, "fault", () => {
      if (this.#isOver) return;
      const kinds = [...this.#plan.faults];
      if (kinds.length > 0) this.#strike(this.#random.pick(kinds));
      this.begin();
    });
  }

  /** A process ended, by whatever cause: its supervisor starts it again. */
  ended(node: SimNode, restartMs: number | null = null): void {
    if (this.removed.has(node)) return;
    const waitMs = this.#isOver ? 20 : (restartMs ?? this.#random.skewed(5, 2000));
    this.#startLater(node, waitMs);
  }

  #startLater(node: SimNode, waitMs: number): void {
    if (this.#starting.has(node)) return;
    this.#starting.add(node);
    this.#scheduler.after(waitMs, null, "restart", () => {
      this.#starting.delete(node);
      if (node.isRunning || this.removed.has(node)) return;
      node.restorePower();
      this.#note(`${node.name} starts`);
      node.start();
    });
  }

  #crash(node: SimNode, how: "process" | "power", restartMs: number | null = null): void {
    this.#note(`${node.name} dies (${how})`);
    this.count(how === "power" ? "powerLoss" : "processCrash");
    if (restartMs !== null) this.ended(node, restartMs);
    node.crash(how);
  }

  #running(): SimNode[] {
    return this.#nodes.filter((node) => node.isRunning && !this.removed.has(node));
  }

  /** Some master that runs; the leader more often than others. */
  #victim(): SimNode | null {
    const running = this.#running();
    if (running.length === 0) return null;
    const leader = running.find(({ process }) => process?.journal.isServing() === true);
    if (leader !== undefined && this.#random.chance(0.4)) return leader;
    return this.#random.pick(running);
  }

  readonly #acts: Readonly<Record<FaultKind, (node: SimNode, process: MasterProcess) => void>> = {
    processCrash: (node) => this.#crashSome(node, "process"),
    powerLoss: (node) => this.#crashSome(node, "power"),
    crashAtCall: (node) => {
      node.disk.faults.crashAtCall = 1 + this.#random.below(30);
    },
    crashAtCommit: (node) => this.#crashAtCommit(node),
    pause: (_node, process) => {
      // Long enough for the others to elect a leader, more often than not.
      const lengthMs = this.#random.chance(0.6)
        ? this.#random.between(500, 3000)
        : this.#random.skewed(20, 500);
      this.#pause(process, [process.main, process.journalLane], lengthMs);
      this.count("pause");
    },
    stall: (_node, process) => {
      this.#pause(process, [process.main], this.#random.skewed(50, 4000));
      this.count("stall");
    },
    slowDisk: ({ disk: { faults } }) => {
      faults.slowMs = this.#random.pick([20, 200, 3000]);
      faults.slowUntilMs = this.#scheduler.nowMs + this.#random.between(100, 3000);
      this.count("slowDisk");
    },
    full: (node) => this.#fill(node),
    failedSync: ({ disk: { faults } }) => {
      faults.failsNextSync = this.#random.pick(["", "", "checkpoint"]);
    },
    failedWrite: ({ disk: { faults } }) => {
      faults.failsNextWrite = true;
    },
    clockJump: (node) => {
      node.wallOffsetMs += this.#random.pick([-1, 1]) * this.#random.skewed(10, 1e9);
      this.count("clockJump");
    },
    loseStore: (node) => {
      this.#note(`${node.name} loses its store`);
      this.#crash(node, "process");
      node.loseStore();
      this.count("loseStore");
    },
    checkpoint: (node) => this.#ask(node, "checkpoint", ({ journal }) => journal.checkpoint()),
    transfer: () => this.#transfer(),
    ufsAway: () => {
      this.#ufs.isAway = true;
      this.#scheduler.after(this.#random.skewed(50, 2000), null, "ufsBack", () => {
        this.#ufs.isAway = false;
      });
    },
    rot: () => this.#damage("rot"),
    lostWrite: () => this.#damage("lostWrite"),
    misdirectedWrite: () => this.#damage("misdirectedWrite"),
    wipe: () => this.#damage("wipe"),
    addMember: () => this.#changeMembers("addMember"),
    removeMember: () => this.#changeMembers("removeMember"),
    cut: () => this.#disturb("cut"),
    partition: () => this.#disturb("partition"),
    clog: () => this.#disturb("clog"),
    swizzle: () => this.#disturb("swizzle"),
    reset: () => this.#disturb("reset"),
    usurp: () => this.#plots.begin("usurp"),
    laggard: () => this.#plots.begin("laggard"),
    depose: () => this.#plots.begin("depose"),
    outdate: () => this.#plots.begin("outdate"),
    // These two are traits of the transport for the whole run.
    loss: () => {},
    repeated: () => {},
  };

  /**
   * The product told of something: the moments after a step of many are those in which a fault shows most, and chance
   * alone seldom meets them.
   */
  told(node: SimNode, kind: string): void {
    this.#plots.told(node, kind);
    const chance = (TENDER_MOMENTS.get(kind) ?? 0) * this.#plan.malice;
    if (this.#isOver || !this.#isBegun || !this.#random.chance(chance)) return;
    const kinds = [...this.#plan.faults];
    if (kinds.length === 0) return;
    // Who joins is a moment for those who want to lead.
    const isChange = kind === "joining" || kind === "membershipChanged";
    if (isChange && this.#plan.faults.has("usurp") && this.#random.chance(0.5)) {
      this.#plots.begin("usurp");
      return;
    }
    this.#scheduler.after(this.#random.skewed(0.1, 30), null, "provoked", () => {
      if (!this.#isOver) this.#strike(this.#random.pick(kinds), node);
    });
  }

  #strike(kind: FaultKind, at: SimNode | null = null): void {
    const node = at?.isRunning === true ? at : this.#victim();
    const process = node?.process ?? null;
    if (node !== null && process !== null) this.#acts[kind](node, process);
  }

  #crashSome(node: SimNode, how: "process" | "power"): void {
    const isMany = this.#random.chance(0.15);
    for (const each of isMany ? this.#running() : [node])
      if (each === node || this.#random.chance(0.7)) this.#crash(each, how);
  }

  /** The process dies right behind a commit of its store, which the journal thread never hears of. */
  #crashAtCommit(node: SimNode): void {
    let left = 1 + this.#random.below(5);
    const { store, process } = node;
    store.onCommit = () => {
      left -= 1;
      if (left > 0) return;
      store.onCommit = () => {};
      if (node.process !== process) return;
      this.count("crashAtCommit");
      this.#crash(node, "process");
      throw new SimCrash("behind a commit");
    };
  }

  #pause(process: MasterProcess, lanes: readonly Lane[], lengthMs: number): void {
    this.#note(`${process.node.name} stands still for ${lengthMs.toFixed(0)} ms`);
    for (const lane of lanes) this.#scheduler.pause(lane);
    this.#scheduler.after(lengthMs, null, "resume", () => {
      for (const lane of lanes) if (lane.isPaused) this.#scheduler.resume(lane);
    });
  }

  #fill(node: SimNode): void {
    this.#note(`${node.name}'s disk is full`);
    node.disk.faults.isFull = true;
    this.#scheduler.after(this.#random.between(100, 5000), null, "room", () => {
      node.disk.faults.isFull = false;
    });
  }

  #ask(node: SimNode, what: FaultKind, act: (process: MasterProcess) => Promise<unknown>): void {
    void callMaster(this.#lane, node, act, 20_000).then((reply) => {
      if (reply.kind === "ok") this.count(what);
      const how = reply.kind === "ok" ? "done" : `${reply.status} ${reply.message}`;
      this.#note(`${what} at ${node.name}: ${how}`);
    });
  }

  #transfer(): void {
    const leader = this.#leader();
    if (leader === null) return;
    this.#ask(leader.node, "transfer", async ({ journal }) => {
      const others = journal.status().members.filter(({ isSelf }) => !isSelf);
      if (others.length > 0) await journal.transferLeadership(this.#random.pick(others).id);
    });
  }

  /** Who leads and serves. */
  #leader(): MasterProcess | null {
    for (const { process } of this.#running()) if (process?.journal.isServing()) return process;
    return null;
  }

  /** Whether every master that is not gone for good is a voter: nobody is on the way in or out. */
  #isSettled(leader: MasterProcess): boolean {
    const { members } = leader.journal.status();
    const staying = this.#nodes.filter((node) => !this.removed.has(node));
    return (
      this.#leaving.size === 0 &&
      members.length === staying.length &&
      staying.every((node) =>
        members.some(({ address, standing }) => address === node.address && standing === "voter"),
      )
    );
  }

  #changeMembers(kind: "addMember" | "removeMember"): void {
    const leader = this.#leader();
    if (leader === null || !this.#isSettled(leader)) return;
    const staying = this.#nodes.filter((node) => !this.removed.has(node));
    if (kind === "addMember") {
      if (staying.length >= MEMBERS_MAX) return;
      const node = this.#addNode();
      this.adopt(node);
      this.#note(`${node.name} is added`);
      this.#format(node);
      this.#ask(leader.node, kind, ({ journal }) => journal.addMember(node.address, 15_000));
      return;
    }
    const leaving = this.#random.pick(staying);
    const left = staying.filter((node) => node !== leaving);
    const fragileCount = left.filter((node) => this.fragile.has(node)).length;
    // What remains must bear the damage that may yet befall it.
    if (left.length < 2 || fragileCount > Math.floor((left.length - 1) / 2)) return;
    this.#leaving.add(leaving);
    this.#ask(leader.node, kind, ({ journal }) => journal.removeMember(leaving.address));
  }

  /** Whether somebody has asked for its removal, and it does not know yet what became of that. */
  isLeaving(node: SimNode): boolean {
    return this.#leaving.has(node);
  }

  /** A process was told that its master was removed. @returns whether somebody had asked for that */
  expelled(node: SimNode): boolean {
    if (this.removed.has(node)) return true;
    if (!this.#leaving.has(node)) return false;
    this.count("expelled");
    this.removed.add(node);
    this.#leaving.delete(node);
    if (!this.#isOver && this.#random.chance(0.5))
      this.#scheduler.after(this.#random.skewed(5, 2000), null, "rejoin", () => {
        if (this.#isOver || node.isRunning) return;
        this.removed.delete(node);
        this.reformat(node);
      });
    return true;
  }

  #damage(kind: "rot" | "lostWrite" | "misdirectedWrite" | "wipe"): void {
    const candidates = [...this.fragile].filter((node) => !this.removed.has(node));
    if (candidates.length === 0) return;
    const node = this.#random.pick(candidates);
    if (kind === "lostWrite") node.disk.faults.nextSyncFault = "lost";
    else if (kind === "misdirectedWrite") node.disk.faults.nextSyncFault = "misdirected";
    else if (kind === "rot") this.#rot(node, false);
    else this.#wipe(node);
  }

  /** @param isProven the log is idle: that its newest batch was there can be found out */
  #rot(node: SimNode, isProven: boolean): void {
    const { segmentBytes } = this.#plan.node;
    const where = isProven
      ? rotAtEnd(node.disk, segmentBytes, this.#random)
      : rotAnywhere(node.disk, this.#random);
    if (where === null) return;
    this.count("rot");
    this.damaged.add(node);
    if (!isProven) this.#forgetful.add(node);
    this.#note(`${node.name}: rot in ${where}`);
  }

  /** The disk is replaced: the operator formats the new one, and the master joins as a new member. */
  #wipe(node: SimNode): void {
    const leader = this.#leader();
    // Its old self counts until the new one has taken its place: a second loss meanwhile may be one too many.
    if (this.#starting.has(node) || leader === null || !this.#isSettled(leader)) return;
    this.#note(`${node.name} gets a new disk`);
    this.count("wipe");
    node.crash("power");
    this.reformat(node);
  }

  /** What is damaged can't be opened: the operator begins anew with this master. */
  giveUp(node: SimNode): void {
    this.count("givenUp");
    this.#note(`${node.name} is formatted, since its journal is damaged`);
    this.damaged.delete(node);
    this.#forgetful.delete(node);
    this.reformat(node);
  }

  reformat(node: SimNode): void {
    node.disk.wipe();
    Object.assign(node.disk.faults, soundDisk());
    node.wipeCount += 1;
    // Whoever sets a master up anew names all that there are.
    const others = this.#nodes.filter((each) => each === node || !this.removed.has(each));
    node.configured = others.map(({ address }) => address);
    node.loseStore();
    node.restorePower();
    this.#format(node);
  }

  #format(node: SimNode): void {
    this.#starting.add(node);
    this.#scheduler.after(1, null, "format", () => {
      void node.format().then(() => {
        this.#starting.delete(node);
        node.disk.faults.latencyMaxMs = this.#isOver ? 1 : this.#plan.diskLatencyMaxMs;
        this.#startLater(node, this.#random.skewed(5, 1000));
      });
    });
  }

  #disturb(kind: FaultKind): void {
    const random = this.#random;
    const names = this.#nodes.map(({ name }) => name);
    const lengthMs = random.chance(0.15) ? random.between(3000, 8000) : random.skewed(50, 4000);
    const healLater = (from: string, to: string, afterMs = lengthMs) =>
      this.#scheduler.after(afterMs, null, "heal", () => this.#network.heal(from, to));
    const one = random.pick(names);
    const other = random.pick(names);
    switch (kind) {
      case "cut":
        if (one === other) return;
        this.#note(`${one} > ${other} is cut`);
        this.#network.cut(one, other);
        healLater(one, other);
        this.count("cut");
        break;
      case "partition": {
        const side = new Set(random.shuffled(names).slice(0, 1 + random.below(names.length - 1)));
        this.#note(`${[...side].join()} is cut off`);
        for (const from of names)
          for (const to of names)
            if (side.has(from) !== side.has(to)) {
              this.#network.cut(from, to);
              healLater(from, to);
            }
        this.count("partition");
        break;
      }
      case "swizzle":
        for (const [at, name] of random.shuffled(names).entries())
          if (random.chance(0.7) && name !== one)
            this.#scheduler.after(20 * at, null, "swizzle", () => {
              this.#network.cut(one, name);
              this.#network.cut(name, one);
              const outMs = random.skewed(50, 3000);
              healLater(one, name, outMs);
              healLater(name, one, outMs + random.skewed(0, 300));
            });
        this.count("swizzle");
        break;
      case "clog":
        this.#network.clog(one, other, random.pick([50, 300, 2000]));
        this.#scheduler.after(lengthMs, null, "unclog", () => this.#network.clog(one, other, 0));
        this.count("clog");
        break;
      case "reset":
        this.#net.resetAll((from, to) => from === one || to === one);
        break;
      default:
        break;
    }
  }

  /** From now on nothing goes wrong any more, and what is wrong ends. */
  heal(): void {
    this.#isOver = true;
    this.#note("everything heals");
    this.#network.healAll();
    this.#network.isCalm = true;
    this.#net.traits.lossChance = 0;
    this.#ufs.isAway = false;
    for (const node of this.#nodes) {
      const { faults } = node.disk;
      Object.assign(faults, {
        latencyMaxMs: 1,
        slowUntilMs: 0,
        isFull: false,
        failsNextSync: null,
        failsNextWrite: false,
        nextSyncFault: "none",
        crashAtCall: 0,
      });
      node.store.onCommit = () => {};
      const { process } = node;
      if (process === null) this.#startLater(node, 10);
      else
        for (const lane of [process.main, process.journalLane])
          if (lane.isPaused) this.#scheduler.resume(lane);
    }
  }
}
