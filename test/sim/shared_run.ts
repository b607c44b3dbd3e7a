/**
 * One seed, one run of masters with a journal on a shared store: faults, then the healing of everything and the demand for progress, then the judgement.
 * What runs is the product's own: the main thread's half of the journal, the log, its leader and standbys, checkpoints, the state machine and the namespace.
 * @module
 */
import { EXIT } from "../../src/common/errors.ts";
import { openKernels } from "../../src/kernels/load.ts";
import { Checkpoints } from "../../src/ufs_journal/checkpoints.ts";
import { SharedObjects } from "../../src/ufs_journal/memory_log_store.ts";
import { UfsCore } from "../../src/ufs_journal/ufs_core.ts";
import { UfsLog } from "../../src/ufs_journal/ufs_log.ts";
import { verifyLog } from "../../src/ufs_journal/verify_log.ts";
import { Violation } from "./checkers.ts";
import { Network } from "./network.ts";
import {
  type CoreParts,
  type JournalHalf,
  type MasterProcess,
  type NodeObserver,
  type NodeWorld,
  SimNode,
} from "./node.ts";
import { SimRandom } from "./random.ts";
import { type RunOptions, type RunResult, simulate, type Told } from "./run_result.ts";
import { Scheduler } from "./scheduler.ts";
import { SharedChecks } from "./shared_checks.ts";
import { VirtualElection, VirtualElector } from "./shared_election.ts";
import { SharedNemesis } from "./shared_nemesis.ts";
import { StoreWorld, stillStore, VirtualLogStore } from "./shared_store.ts";
import { SHARED_FAULT_KINDS, type SharedPlan, sharedPlanOf } from "./shared_swarm.ts";
import { Stage, standingOf } from "./stage.ts";
import { PeerNet } from "./transport.ts";
import { VirtualUfs } from "./virtual_ufs.ts";

const GROUP_ID = 0x5ea1ed0000000001n;
const WORK_FOLDER = "/shared-journal";
const OPEN_MS = 15_000;
/** What a standby that reads what was merged may take. */
const CONVERGE_MS = 20_000;
/** A take-over takes its session time-out, and what the master that is chosen next still waits for after a failure. */
const TAKE_OVER_MS = 6000;

const kernels = openKernels({ flavour: "wasm", arenaBytes: 64 * 1024 });
const crc32c = (bytes: Uint8Array, seed?: number) => kernels.crc32c(bytes, seed);

class SharedRun {
  readonly plan: SharedPlan;
  readonly scheduler = new Scheduler();
  readonly random: SimRandom;
  readonly stage: Stage;
  readonly nodes: SimNode[] = [];
  readonly #objects: SharedObjects;
  readonly store: StoreWorld;
  readonly election: VirtualElection;
  readonly checks: SharedChecks;
  readonly nemesis: SharedNemesis;
  readonly eventCounts = new Map<string, number>();
  readonly #network: Network;

  constructor(seed: number) {
    this.random = new SimRandom(seed);
    this.plan = sharedPlanOf(this.random.fork("shared plan"));
    const { plan, scheduler, random } = this;
    this.stage = new Stage({
      ...{ scheduler, random, clientCount: plan.clientCount, traits: plan.clients },
      masters: () => this.nodes,
    });
    this.#network = new Network(scheduler, random.fork("network"), plan.network);
    this.checks = new SharedChecks(crc32c, (what) => this.stage.checkers.fail("I10", what));
    this.#objects = this.#watched();
    this.store = new StoreWorld(scheduler, this.#objects, random.fork("store"), plan.store);
    this.election = new VirtualElection(scheduler, random.fork("election"), plan.sessionTimeoutMs);
    const world: NodeWorld = {
      ...{ scheduler, crc32c, traits: plan.node, observer: this.#observer() },
      net: new PeerNet(this.#network, random.fork("transport"), {
        lossChance: 0,
        repeatChance: 0,
      }),
      ufs: new VirtualUfs(scheduler, random.fork("ufs")),
      coreOf: (process, parts) => this.#coreOf(process, parts),
    };
    const names = Array.from({ length: plan.masterCount }, (_, at) => `m${at + 1}`);
    const addresses = names.map((name) => `${name}:19200`);
    for (const name of names)
      this.nodes.push(new SimNode(name, addresses, world, random.fork(`node ${name}`)));
    this.nemesis = new SharedNemesis({
      ...{ plan, scheduler, nodes: this.nodes, network: this.#network },
      ...{ store: this.store, election: this.election, random: random.fork("nemesis") },
    });
  }

  #watched(): SharedObjects {
    const shared = new SharedObjects();
    shared.onCreated = (name, bytes) => {
      this.scheduler.note(`  + ${name.slice(17)}`);
      this.store.created(name);
      this.checks.created(name, bytes);
    };
    shared.onRemoved = (name, bytes) => {
      this.scheduler.note(`  - ${name.slice(17)}`);
      this.store.removed(name);
      this.checks.removed(name, bytes);
    };
    return shared;
  }

  #coreOf(process: MasterProcess, { fileSystem, world, post }: CoreParts): JournalHalf {
    const { journalLane, node } = process;
    const { address } = node;
    const { plan } = this;
    const store = new VirtualLogStore(this.store, journalLane, fileSystem);
    const { windowEntries, tailMs, areReadsStrict } = plan;
    const common = { store, groupId: GROUP_ID, crc32c };
    const log = new UfsLog({ ...common, windowEntries });
    const checkpoints = new Checkpoints({
      ...{ ...common, log, world, fileSystem, post, workFolder: WORK_FOLDER },
      entries: plan.node.checkpointEntries,
      intervalMs: plan.node.checkpointIntervalMs,
      merging: plan.merging,
    });
    const elector = new VirtualElector(this.election, journalLane, address, world);
    return new UfsCore({
      ...{ log, elector, checkpoints, world, address, tailMs, areReadsStrict, post },
    });
  }

  #observer(): NodeObserver {
    return {
      onStarted: (process) => {
        this.scheduler.note(`${process.main.name} is open`);
        this.stage.checkers.opened(process);
      },
      onEvent: (process, event) => {
        this.eventCounts.set(event.kind, (this.eventCounts.get(event.kind) ?? 0) + 1);
        this.scheduler.note(`${process.main.name} ${JSON.stringify(event)}`);
        if (event.kind === "sharedJournalDamaged" && !this.plan.faults.has("lying"))
          this.stage.checkers.fail("I1", `${process.main.name} says: ${event.message}`);
        if (event.kind === "checkpointDamaged")
          this.stage.checkers.fail("I1", `${process.main.name} says: ${event.why}`);
      },
      onEnded: (process, how) => {
        this.scheduler.note(`${process.main.name} ended: ${how}`);
        this.#onEnded(process, how);
      },
      wrap: (process, machine) => this.stage.checkers.watch(process, machine),
    };
  }

  #onEnded({ node, main }: MasterProcess, how: string): void {
    const isStart = how.startsWith("start failed");
    if (how.startsWith(`fatal ${EXIT.invariant}`) || how.endsWith("bug"))
      this.stage.checkers.fail("BUG", `${main.name} ${how} ${String(node.startFailure)}`);
    else if (isStart && how.endsWith("DATA_LOSS"))
      this.stage.checkers.fail("I1", `${main.name} ${how} ${String(node.startFailure)}`);
    else if (isStart || how.startsWith("fatal")) this.nemesis.restart(node);
  }

  async execute(): Promise<void> {
    const { stage, plan } = this;
    for (const node of this.nodes)
      this.scheduler.after(this.random.skewed(0, 300), null, "boot", () => node.start());
    this.store.isCalm = true;
    await stage.setUp();
    this.store.isCalm = false;
    stage.startClients();
    this.nemesis.begin();
    await stage.until("faults", () => false, plan.faultPhaseMs);
    await this.#heal();
    await this.#converge();
    await stage.readAll();
    stage.judge();
    await this.#verify();
  }

  async #heal(): Promise<void> {
    const { stage, plan } = this;
    this.nemesis.heal();
    const standing = () => standingOf(this.nodes);
    const isUp = () => this.nodes.every(({ process }) => process?.isOpen === true);
    if (!(await stage.until("open", isUp, OPEN_MS)))
      throw new Violation("I8", `not every master comes up again: ${standing()}`);
    await stage.probe(3 * plan.sessionTimeoutMs + TAKE_OVER_MS, standing);
    await stage.drain(() => false);
  }

  /** All masters reach the end of the log, and have the same state there. */
  async #converge(): Promise<void> {
    const position = ({ process }: SimNode) => process?.state.stateMachine.position().index ?? -1;
    const isEqual = () => this.nodes.every((node) => position(node) === this.checks.end.index);
    if (!(await this.stage.until("converge", isEqual, CONVERGE_MS)))
      throw new Violation(
        "I8",
        `the masters do not come to entry ${this.checks.end.index}: ${standingOf(this.nodes)}`,
      );
    if (new Set(this.nodes.map(({ store }) => store.digest)).size > 1)
      throw new Violation("I6", `states differ in the end: ${standingOf(this.nodes)}`);
  }

  /** What `journal verify` says of what all of this has left. */
  async #verify(): Promise<void> {
    const { windowEntries } = this.plan;
    const { problems, lastIndex } = await verifyLog({
      ...{ store: stillStore(this.#objects), crc32c, scratch: null },
      identity: { groupId: GROUP_ID, windowEntries, formattedMs: 0 },
    });
    const [problem] = problems;
    if (problem !== undefined)
      throw new Violation("I10", `journal verify says: ${problem.severity}: ${problem.text}`);
    if (lastIndex !== this.checks.end.index)
      throw new Violation(
        "I10",
        `journal verify reads to ${lastIndex} of ${this.checks.end.index}`,
      );
  }

  told(): Told {
    const { stage, checks } = this;
    const { operations, unknown, repeats } = stage.stats;
    const seen = {
      fences: checks.fenceCount,
      buried: checks.buriedCount,
      merged: checks.mergedCount,
      removed: checks.removedCount,
    };
    return {
      ...{ operations, unknown, repeats },
      elections: this.election.chosenCount,
      applied: stage.checkers.lastApplied,
      undecided: stage.undecidedCount,
      faultKinds: SHARED_FAULT_KINDS,
      faults: Object.fromEntries(this.nemesis.counts),
      events: { ...Object.fromEntries(this.eventCounts), ...seen },
    };
  }
}

export function runSharedSeed(seed: number, options: RunOptions = {}): Promise<RunResult> {
  return simulate(seed, (each) => new SharedRun(each), options);
}
