/**
 * Plots: faults that follow one another with a purpose. What breaks consensus takes several steps, each of which chance
 * alone seldom takes at the right moment, so these take them together. None knows what it will find.
 *
 * | plot | what it does |
 * |---|---|
 * | usurp | leaders follow one another: each is cut off with a minority in the middle of its first appends, given changes that nobody hears of, and let back when the next one is cut off |
 * | laggard | one follower is kept away while the others commit; then the leader is cut off, so that the one which is behind takes part in the election; the up-to-date one may lose its newest entries, as far as it can know of them |
 * | depose | a leader that does not know yet that there is another one is asked to read: cut off from its peers and not from its clients, with answers of theirs still on the way, or with a main thread that stands still |
 * | outdate | one follower is kept away until the others have trimmed what it needs; its fetch of a checkpoint is disturbed |
 * @module
 */
import type { LogIndex } from "../../src/common/ids.ts";
import { parsePath } from "../../src/common/path.ts";
import type { Message } from "../../src/raft/messages.ts";
import type { Network } from "./network.ts";
import type { MasterProcess, SimNode } from "./node.ts";
import type { SimRandom } from "./random.ts";
import { callMaster } from "./rpc.ts";
import { Host, Lane, type Scheduler } from "./scheduler.ts";

export const PLOTS = ["usurp", "laggard", "depose", "outdate"] as const;
export type Plot = (typeof PLOTS)[number];

/** A log that is idle for so long has a proof of its last batch on the disk. */
const PROVEN_AFTER_MS = 90;
const ELECTED_WITHIN_MS = 1500;
const CALL = { principal: { user: "root", groups: ["root"], isSuperuser: true } } as const;

export type PlotParts = {
  readonly scheduler: Scheduler;
  readonly random: SimRandom;
  readonly nodes: readonly SimNode[];
  readonly network: Network;
  /** Whether everything is to heal by now. */
  readonly isOver: () => boolean;
  readonly count: (kind: string) => void;
  readonly note: (text: string) => void;
  readonly crash: (node: SimNode, how: "process" | "power", restartMs: number) => void;
  /** Whether its disk may be damaged, and faults of disks are switched on. */
  readonly mayRot: (node: SimNode) => boolean;
  readonly rotTail: (node: SimNode) => void;
  /** Its connections break. */
  readonly reset: (node: SimNode) => void;
  readonly isGone: (node: SimNode) => boolean;
  readonly readFloor: () => LogIndex;
  readonly onRead: (master: MasterProcess, floor: LogIndex) => void;
};

type Waiter = { readonly isMet: (node: SimNode, message: Message) => boolean; done: () => void };

export class Plots {
  readonly #parts: PlotParts;
  readonly #random: SimRandom;
  readonly #network: Network;
  readonly #lane = new Lane("plotter", new Host("plotter"));
  #isBusy = false;
  #waiters: Waiter[] = [];
  #told: ((node: SimNode, kind: string) => void) | null = null;
  #operation = 0n;

  constructor(parts: PlotParts) {
    this.#parts = parts;
    this.#random = parts.random;
    this.#network = parts.network;
  }

  /** Begins a plot, unless one is under way. */
  begin(plot: Plot): void {
    if (this.#isBusy || this.#running().length < 2) return;
    this.#isBusy = true;
    const acts = {
      usurp: () => this.#usurp(),
      laggard: () => this.#laggard(),
      depose: () => this.#depose(),
      outdate: () => this.#outdate(),
    };
    this.#parts.note(`a plot: ${plot}`);
    void acts[plot]().then((isDone) => {
      this.#isBusy = false;
      this.#told = null;
      if (isDone) this.#parts.count(plot);
    }); // they wait, and do not fail
  }

  /** Every message, before it leaves. */
  sent(node: SimNode, message: Message): void {
    for (const waiter of [...this.#waiters])
      if (waiter.isMet(node, message)) {
        this.#waiters = this.#waiters.filter((each) => each !== waiter);
        waiter.done();
      }
  }

  told(node: SimNode, kind: string): void {
    this.#told?.(node, kind);
  }

  // — what plots are made of —

  #running(): SimNode[] {
    return this.#parts.nodes.filter((node) => node.isRunning && !this.#parts.isGone(node));
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.#parts.scheduler.after(ms, null, "plot", resolve));
  }

  /** @returns what met the condition, or null after a while */
  #until(
    isMet: (node: SimNode, message: Message) => boolean,
    limitMs: number,
  ): Promise<SimNode | null> {
    return new Promise((resolve) => {
      let found: SimNode | null = null;
      const waiter: Waiter = {
        isMet: (node, message) => {
          if (!isMet(node, message)) return false;
          found = node;
          return true;
        },
        done: () => {
          timer.cancel();
          resolve(found);
        },
      };
      this.#waiters.push(waiter);
      const timer = this.#parts.scheduler.after(limitMs, null, "plot", () => {
        this.#waiters = this.#waiters.filter((each) => each !== waiter);
        resolve(null);
      });
    });
  }

  /** Who leads, as the simulator sees it. */
  #leader(): SimNode | null {
    let best: SimNode | null = null;
    let bestTerm = -1;
    for (const node of this.#running()) {
      const { role, term } = node.process?.journal.status() ?? { role: null, term: -1 };
      if (role !== "leader" || term <= bestTerm) continue;
      best = node;
      bestTerm = term;
    }
    return best;
  }

  /** The first sign of a leader that is not one of these. */
  #nextLeader(others: ReadonlySet<SimNode>): Promise<SimNode | null> {
    return this.#until(
      (node, { kind }) => (kind === "appendEntries" || kind === "heartbeat") && !others.has(node),
      ELECTED_WITHIN_MS,
    );
  }

  /** A leader and others with whom it has no majority; who does not vote may well be among them. */
  #minorityWith(leader: SimNode): Set<SimNode> {
    const members = leader.process?.journal.status().members ?? [];
    const voters = new Set(
      members.filter(({ standing }) => standing === "voter").map(({ address }) => address),
    );
    const side = new Set([leader]);
    let room = Math.floor((voters.size - 1) / 2) - 1;
    for (const node of this.#random.shuffled(this.#running())) {
      if (node === leader) continue;
      if (!voters.has(node.address)) {
        if (this.#random.chance(0.7)) side.add(node);
      } else if (room > 0 && this.#random.chance(0.5)) {
        side.add(node);
        room -= 1;
      }
    }
    return side;
  }

  #between(side: ReadonlySet<SimNode>, act: (inner: string, outer: string) => void): void {
    for (const inner of side)
      for (const outer of this.#parts.nodes) if (!side.has(outer)) act(inner.name, outer.name);
  }

  #cut(side: ReadonlySet<SimNode>): void {
    if (this.#parts.isOver()) return;
    this.#parts.note(`${[...side].map(({ name }) => name).join()} is cut off`);
    this.#between(side, (inner, outer) => {
      this.#network.cut(inner, outer);
      this.#network.cut(outer, inner);
    });
  }

  #heal(side: ReadonlySet<SimNode>): void {
    this.#between(side, (inner, outer) => {
      this.#network.heal(inner, outer);
      this.#network.heal(outer, inner);
    });
  }

  /** Changes at one master, of which nobody waits for the end. */
  #write(node: SimNode, count: number): void {
    for (let at = 0; at < count; at++) {
      this.#operation += 1n;
      const operationId = { high: 2_000_000n, low: this.#operation };
      const path = parsePath(`/plots-${this.#random.below(1000)}`);
      const options = { isRecursive: false, allowExists: false, mode: 0o755, ttlMs: -1 } as const;
      void callMaster(
        this.#lane,
        node,
        ({ namespace }) =>
          namespace.fileSystem.createDirectory({ ...CALL, operationId }, path, {
            ...options,
            ttlAction: "FREE",
            isPersisted: false,
            xattr: {},
          }),
        ELECTED_WITHIN_MS,
      );
    }
  }

  #read(node: SimNode): void {
    const call = { ...CALL, operationId: null };
    void callMaster(
      this.#lane,
      node,
      async (master) => {
        const floor = this.#parts.readFloor();
        const options = { loadMetadata: "never", accessBits: 0 } as const;
        await master.namespace.fileSystem.getStatus(call, parsePath("/"), options);
        this.#parts.onRead(master, floor);
      },
      ELECTED_WITHIN_MS,
    );
  }

  // — plots —

  async #usurp(): Promise<boolean> {
    const { isOver } = this.#parts;
    let side = new Set<SimNode>();
    let leader = this.#leader() ?? (await this.#nextLeader(side));
    const isTight = this.#random.chance(0.6);
    for (let rounds = 2 + this.#random.below(7); rounds > 0; rounds--) {
      if (leader === null || isOver()) break;
      await this.#someAppends(leader, isTight);
      if (isOver()) break;
      const next = this.#minorityWith(leader);
      this.#heal(side);
      this.#cut(next);
      side = next;
      this.#write(leader, this.#random.pick([0, 1, 3, 8]));
      if (this.#random.chance(0.2)) this.#parts.crash(leader, "process", 100);
      leader = await this.#nextLeader(side);
    }
    await this.#sleep(this.#random.skewed(0, 500));
    this.#heal(side);
    return true;
  }

  /** Lets some appends of a leader leave, or some time go by. */
  async #someAppends(leader: SimNode, isTight: boolean): Promise<void> {
    if (!isTight && this.#random.chance(0.6)) {
      this.#write(leader, this.#random.below(3));
      await this.#sleep(this.#random.skewed(5, 300));
      return;
    }
    let left = this.#random.pick(isTight ? [0, 0, 1, 1, 2, 3, 4, 5] : [0, 1, 3, 8, 20]);
    if (left === 0) return;
    const isNth = (node: SimNode, { kind }: Message) => {
      if (node === leader && kind === "appendEntries") left -= 1;
      return left === 0;
    };
    await this.#until(isNth, 100);
  }

  async #laggard(): Promise<boolean> {
    const { random } = this.#parts;
    const leader = this.#leader();
    if (leader === null) return false;
    const followers = random.shuffled(this.#running().filter((node) => node !== leader));
    const [one, two] = followers;
    if (one === undefined || two === undefined) return false;
    const [late, witness] = this.#parts.mayRot(one) ? [two, one] : [one, two];
    this.#cut(new Set([late]));
    for (let left = 1 + random.below(4); left > 0; left--) {
      this.#write(leader, 1 + random.below(3));
      await this.#sleep(random.between(20, 200));
    }
    if (this.#parts.mayRot(witness) && random.chance(0.8)) await this.#hurt(witness);
    else if (random.chance(0.5)) this.#parts.crash(witness, "power", random.between(5, 60));
    const side = this.#minorityWith(leader);
    side.delete(late);
    this.#heal(new Set([late]));
    this.#cut(side);
    await this.#nextLeader(side);
    await this.#sleep(random.skewed(50, 1000));
    this.#heal(side);
    return true;
  }

  /** The newest of a log rots once there is a proof of it on the disk; the process dies, and reads it anew. */
  async #hurt(node: SimNode): Promise<void> {
    const { scheduler, random } = this.#parts;
    const alone = new Set([node]);
    this.#cut(alone);
    for (let tries = 0; tries < 20; tries++) {
      await this.#sleep(20);
      if (this.#parts.isOver() || !node.isRunning) break;
      if (scheduler.nowMs - node.disk.busyUntilMs < PROVEN_AFTER_MS) continue;
      this.#parts.rotTail(node);
      const how = random.chance(0.6) ? "power" : "process";
      this.#parts.crash(node, how, random.between(5, 60));
      break;
    }
    this.#heal(alone);
  }

  async #depose(): Promise<boolean> {
    const { random, scheduler } = this.#parts;
    const leader = this.#leader();
    const process = leader?.process ?? null;
    if (leader === null || process === null) return false;
    const side = this.#minorityWith(leader);
    const how = random.pick(["clog", "clog", "stall", "cut", "pause"] as const);
    const clogMs = how === "clog" ? random.pick([200, 400, 700]) : 0;
    if (how === "clog") {
      this.#between(side, (inner, outer) => this.#network.clog(outer, inner, clogMs));
      await this.#sleep(random.between(clogMs, 2 * clogMs));
    }
    if (this.#parts.isOver()) return false;
    if (how === "clog") this.#between(side, (inner, outer) => this.#network.cut(inner, outer));
    else this.#cut(side);
    const both = [process.main, process.journalLane];
    const lanes = { clog: [], cut: [], stall: [process.main], pause: both };
    for (const lane of lanes[how]) scheduler.pause(lane);
    const wakesMs = scheduler.nowMs + random.between(300, 1200);
    const endMs = wakesMs + random.between(100, 800);
    const late = this.#nextLeader(side);
    while (scheduler.nowMs < endMs && !this.#parts.isOver()) {
      this.#read(leader);
      for (const node of this.#running())
        if (!side.has(node) && node.process?.journal.isServing() === true) this.#write(node, 1);
      await this.#sleep(random.between(5, 50));
      if (scheduler.nowMs >= wakesMs)
        for (const lane of lanes[how]) if (lane.isPaused) scheduler.resume(lane);
    }
    for (const lane of lanes[how]) if (lane.isPaused) scheduler.resume(lane);
    this.#between(side, (inner, outer) => this.#network.clog(outer, inner, 0));
    this.#heal(side);
    await late;
    return true;
  }

  async #outdate(): Promise<boolean> {
    const { random } = this.#parts;
    const leader = this.#leader();
    if (leader === null) return false;
    const others = this.#running().filter((node) => node !== leader);
    const late = random.pick(others);
    const alone = new Set([late]);
    this.#cut(alone);
    // The first checkpoint makes room for the trim that the second one brings.
    for (const count of [18 + random.below(16), 1 + random.below(5)]) {
      for (let left = count; left > 0 && !this.#parts.isOver(); left--) {
        this.#write(this.#leader() ?? leader, 1);
        await this.#sleep(random.between(2, 12));
      }
      for (const node of this.#running())
        if (node !== late)
          void callMaster(this.#lane, node, ({ journal }) => journal.checkpoint(), 2000);
      await this.#sleep(random.between(50, 150));
    }
    this.#told = this.#disturber();
    this.#heal(alone);
    await this.#sleep(random.between(500, 2500));
    return true;
  }

  /** What comes in the way of the first that fetches a checkpoint, and of what follows: of each step, one thing. */
  #disturber(): (node: SimNode, kind: string) => void {
    const { random, scheduler, crash, reset } = this.#parts;
    const plan = new Map<string, "nothing" | "failedSync" | "process" | "power" | "reset">([
      [
        "checkpointFetching",
        random.pick(["nothing", "failedSync", "failedSync", "process", "power"]),
      ],
      ["checkpointFetched", random.pick(["nothing", "nothing", "nothing", "process", "power"])],
      [
        "checkpointInstalled",
        random.pick(["nothing", "process", "power", "power", "reset", "reset"]),
      ],
    ]);
    let victim: SimNode | null = null;
    return (node, kind) => {
      if (kind === "checkpointFetching") victim ??= node;
      const way = plan.get(kind);
      if (node !== victim || way === undefined || this.#parts.isOver()) return;
      plan.delete(kind);
      if (way === "failedSync") node.disk.faults.failsNextSync = "checkpoint";
      else if (way !== "nothing")
        scheduler.after(random.skewed(0.1, 200), null, "plot", () => {
          if (this.#parts.isOver() || !node.isRunning) return;
          if (way === "reset") reset(node);
          else crash(node, way, random.between(5, 100));
        });
    };
  }
}
