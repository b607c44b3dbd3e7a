/**
 * A simulated master: a host with a disk and clocks, and on it one process after the other. What runs in a process is the
 * product's own: the journal's two halves, the state machine, the namespace, the block master.
 * @module
 */
import { isRockpoolError, messageOf } from "../../src/common/errors.ts";
import type { JournalFileSystem } from "../../src/journal/file_system.ts";
import { formatFolder } from "../../src/journal/journal_folder.ts";
import type {
  ConnectThread,
  FromThread,
  JournalEvent,
  JournalTimings,
  ReplicationLimits,
  ToThread,
} from "../../src/journal/journal_protocol.ts";
import type { StateMachine } from "../../src/journal/journal_system.ts";
import { JournalCore } from "../../src/journal/journal_thread.ts";
import { RaftJournal } from "../../src/journal/raft_journal.ts";
import type { Crc32c } from "../../src/journal/record.ts";
import type { ApplyResult } from "../../src/master/apply.ts";
import { createBlockMaster, type SoftBlockMaster } from "../../src/master/block_master.ts";
import {
  createFileSystemMaster,
  type NamespaceServices,
} from "../../src/master/file_system_master.ts";
import { createMasterState, type MasterState } from "../../src/master/state_machine.ts";
import type { World } from "../../src/world/ports.ts";
import { Disk, openDisk } from "./disk.ts";
import type { SimRandom } from "./random.ts";
import { Host, Lane, type Scheduler, SimCrash } from "./scheduler.ts";
import { SimStore } from "./store.ts";
import { type PeerNet, VirtualTransport } from "./transport.ts";
import type { VirtualUfs } from "./virtual_ufs.ts";

export const JOURNAL_PORT = 19200;
export const FOLDER = "/journal";
const WALL_BEGIN_MS = 1_750_000_000_000;
const CHECK_WORKERS_MS = 1000;

export type NodeTraits = {
  readonly timings: JournalTimings;
  readonly replication: Partial<ReplicationLimits>;
  readonly segmentBytes: number;
  readonly cacheBytesMax: number;
  readonly checkpointEntries: number;
  readonly checkpointIntervalMs: number;
  readonly dedupeEntriesMax: number;
  readonly workerTimeoutMs: number;
  readonly orphanGraceMs: number;
  /** Of each thread's timers and of messages between the threads. */
  readonly latenessMaxMs: number;
};

/** What all nodes of a run share. */
export type NodeWorld = {
  readonly scheduler: Scheduler;
  readonly net: PeerNet;
  readonly ufs: VirtualUfs;
  readonly crc32c: Crc32c;
  readonly traits: NodeTraits;
  readonly observer: NodeObserver;
  /** What stands in the place of the journal thread; Raft's without. */
  readonly coreOf?: (process: MasterProcess, parts: CoreParts) => JournalHalf;
};

/** The half of a journal that is not the main thread's. */
export type JournalHalf = { receive(message: ToThread): void };

export type CoreParts = {
  readonly fileSystem: JournalFileSystem;
  readonly world: World;
  readonly post: (message: FromThread) => void;
};

/** Whom the checkers hear of. */
export type NodeObserver = {
  readonly onStarted: (process: MasterProcess) => void;
  readonly onEvent: (process: MasterProcess, event: JournalEvent) => void;
  readonly onEnded: (process: MasterProcess, how: string) => void;
  readonly wrap: (
    process: MasterProcess,
    machine: StateMachine<ApplyResult>,
  ) => StateMachine<ApplyResult>;
};

export class SimNode {
  readonly name: string;
  readonly address: string;
  readonly host: Host;
  readonly disk: Disk;
  readonly world: NodeWorld;
  readonly random: SimRandom;
  store: SimStore;
  process: MasterProcess | null = null;
  /** The newest one, dead or alive. */
  lastProcess: MasterProcess | null = null;
  /** Addresses that the configuration of this master names. */
  configured: readonly string[];
  processCount = 0;
  wipeCount = 0;
  /** Its clock runs this much faster than the virtual time, and its wall clock is off by so much. */
  clockRate = 1;
  wallOffsetMs = 0;
  /** How long its monotonic clock has stood still, and since when it does. */
  suspendedMs = 0;
  suspendedAtMs: number | null = null;
  /** Set when a process could not open its journal. */
  startFailure: unknown = null;

  constructor(name: string, configured: readonly string[], world: NodeWorld, random: SimRandom) {
    this.name = name;
    this.address = `${name}:${JOURNAL_PORT}`;
    this.configured = configured;
    this.world = world;
    this.random = random;
    this.host = new Host(name);
    world.net.network.hosts.set(name, this.host);
    this.disk = new Disk(world.scheduler, random.fork("disk"));
    this.store = this.#newStore();
  }

  #newStore(): SimStore {
    const file = async (path: string, image: Uint8Array) => {
      const { disk, process } = this;
      if (process === null) throw new SimCrash("no process");
      const made = await openDisk(disk, process.journalLane).create(path);
      for (let at = 0; at < image.length; ) at += await made.write(image.subarray(at), at);
      made.close();
    };
    return new SimStore({
      write: file,
      read: async (path, lengthBytes) => {
        const { disk, process } = this;
        if (process === null) throw new SimCrash("no process");
        const opened = openDisk(disk, process.journalLane).openSync(path, "read");
        const bytes = new Uint8Array(lengthBytes);
        await opened.read(bytes, 0);
        opened.close();
        return bytes;
      },
    });
  }

  /** Formats the folder, as an operator does before the first start and after a disk was replaced. */
  async format(): Promise<void> {
    const lane = new Lane(`${this.name}.format`, this.host);
    await formatFolder(
      FOLDER,
      {
        address: this.address,
        addresses: this.configured,
        crc32c: this.world.crc32c,
        segmentBytes: this.world.traits.segmentBytes,
        nowMs: 1,
      },
      openDisk(this.disk, lane),
      this.random.fork(`format ${this.wipeCount}`),
    );
    lane.isAlive = false;
  }

  get isRunning(): boolean {
    return this.process !== null;
  }

  start(): void {
    if (this.process !== null || !this.host.isUp) return;
    this.processCount += 1;
    this.process = new MasterProcess(this, this.processCount);
    this.lastProcess = this.process;
    this.process.begin();
  }

  /** @param how "power": the whole machine; "process": its page cache stays */
  crash(how: "power" | "process"): void {
    const { process } = this;
    this.process = null;
    if (process !== null) {
      process.end(how !== "power");
      this.world.observer.onEnded(process, how);
    }
    if (how !== "power") return;
    this.host.isUp = false;
    this.disk.losePower();
    // The store is of another boot: the product throws it away.
    this.store = this.#newStore();
  }

  restorePower(): void {
    this.host.isUp = true;
  }

  /** The store did not survive by itself. */
  loseStore(): void {
    this.store = this.#newStore();
  }
}

export class MasterProcess {
  readonly node: SimNode;
  readonly number: number;
  readonly main: Lane;
  readonly journalLane: Lane;
  readonly state: MasterState;
  readonly journal: RaftJournal<ApplyResult>;
  readonly namespace: NamespaceServices;
  readonly blocks: SoftBlockMaster;
  readonly store: SimStore;
  isOpen = false;
  /** Since when it has led without a quorum, as the simulator sees it. */
  lonelySinceMs = 0;
  /** Called when the process ends: answers that it owes will never come. */
  readonly onEnd = new Set<(hasPower: boolean) => void>();
  #lastToMainMs = 0;
  #lastToJournalMs = 0;
  readonly #random: SimRandom;

  constructor(node: SimNode, number: number) {
    this.node = node;
    this.number = number;
    this.#random = node.random.fork(`process ${number}`);
    this.main = new Lane(`${node.name}#${number}.main`, node.host);
    this.journalLane = new Lane(`${node.name}#${number}.journal`, node.host);
    const { store, world } = node;
    this.store = store;
    store.lane = this.main;
    const { traits, ufs, observer } = world;
    const late: { blocks: SoftBlockMaster | null } = { blocks: null };
    this.state = createMasterState({
      store,
      options: { dedupeEntriesMax: traits.dedupeEntriesMax, inodeCacheEntriesMax: 20 },
      onBlocksRemoved: (ids) => late.blocks?.blocksRemoved(ids),
    });
    const mainWorld = this.#worldOf(this.main, "main");
    this.journal = new RaftJournal<ApplyResult>({
      folder: FOLDER,
      address: node.address,
      addresses: [...node.configured],
      bindHost: node.name,
      bindPort: JOURNAL_PORT,
      stateMachine: observer.wrap(this, this.state.stateMachine),
      world: mainWorld,
      connect: this.#connect(),
      onEvent: (event) => this.#onEvent(event),
      timings: traits.timings,
      replication: traits.replication,
      segmentBytes: traits.segmentBytes,
      cacheBytesMax: traits.cacheBytesMax,
      checkpointEntries: traits.checkpointEntries,
      checkpointIntervalMs: traits.checkpointIntervalMs,
    });
    this.namespace = createFileSystemMaster({
      journal: this.journal,
      state: this.state,
      ufs: () => ufs,
      blocks: {
        locationsOf: (id) => late.blocks?.locationsOf(id) ?? [],
        blocksRemoved: (ids) => late.blocks?.blocksRemoved(ids),
      },
      world: mainWorld,
      options: { rootUfsUri: "/", rootOwner: "root", rootGroup: "root" },
      onEvent: () => {},
    });
    this.blocks = createBlockMaster({
      namespace: this.namespace.blockNamespace,
      isServing: () => this.journal.isServing(),
      clock: mainWorld.clock,
      options: {
        workerTimeoutMs: traits.workerTimeoutMs,
        lostWorkerForgetMs: 60_000,
        orphanGraceMs: traits.orphanGraceMs,
      },
      onEvent: () => {},
    });
    late.blocks = this.blocks;
  }

  get isAlive(): boolean {
    return this.main.isAlive;
  }

  #worldOf(lane: Lane, name: string): World {
    const { node } = this;
    const { scheduler, traits } = node.world;
    const random = this.#random.fork(name);
    const lateness = random.fork("lateness");
    return {
      clock: {
        monotonicMs: () =>
          ((node.suspendedAtMs ?? scheduler.nowMs) - node.suspendedMs) * node.clockRate,
        wallMs: () => Math.floor(WALL_BEGIN_MS + scheduler.nowMs + node.wallOffsetMs),
      },
      random,
      timers: {
        after(delayMs, callback) {
          const lateMs = lateness.skewed(0, traits.latenessMaxMs);
          const waitMs = Math.max(1, delayMs) / node.clockRate + lateMs;
          return scheduler.after(waitMs, lane, "timer", callback);
        },
        soon: (callback) => void scheduler.after(0.001, lane, "soon", callback),
      },
    };
  }

  /** Two lanes with a queue each way stand for the two threads. */
  #connect(): ConnectThread {
    const { node } = this;
    const { scheduler, crc32c, net } = node.world;
    const random = this.#random.fork("port");
    const lateness = () => random.skewed(0.005, 0.3);
    return (onMessage) => {
      const toMain = (message: FromThread) => {
        this.#lastToMainMs = Math.max(this.#lastToMainMs, scheduler.nowMs + lateness());
        scheduler.at(this.#lastToMainMs, this.main, message.kind, () => onMessage(message));
      };
      const parts: CoreParts = {
        fileSystem: openDisk(node.disk, this.journalLane),
        world: this.#worldOf(this.journalLane, "journal"),
        post: toMain,
      };
      const core =
        node.world.coreOf?.(this, parts) ??
        new JournalCore({
          ...parts,
          crc32c,
          createTransport: (options, handlers) =>
            new VirtualTransport(net, this.journalLane, options, handlers),
        });
      const toCore = (message: ToThread) => {
        this.#lastToJournalMs = Math.max(this.#lastToJournalMs, scheduler.nowMs + lateness());
        scheduler.at(this.#lastToJournalMs, this.journalLane, message.kind, () =>
          core.receive(message),
        );
      };
      return {
        post: toCore,
        abandon: () => {
          this.#endThread();
          return Promise.resolve();
        },
      };
    };
  }

  #endThread(): void {
    if (!this.journalLane.isAlive) return;
    this.journalLane.isAlive = false;
    this.node.world.net.kill(this.journalLane, true);
  }

  begin(): void {
    const { scheduler } = this.node.world;
    scheduler.after(1, this.main, "start", () => {
      this.journal.start().then(
        () => {
          this.isOpen = true;
          this.node.world.observer.onStarted(this);
          this.#checkWorkers();
        },
        (error: unknown) => {
          if (!this.isAlive) return;
          this.node.startFailure = error;
          scheduler.note(`${this.main.name} does not open: ${messageOf(error)}`);
          this.#exit(`start failed: ${isRockpoolError(error) ? error.status : "bug"}`);
        },
      );
    });
  }

  #checkWorkers(): void {
    this.node.world.scheduler.after(CHECK_WORKERS_MS, this.main, "checkWorkers", () => {
      this.blocks.checkWorkers();
      this.#checkWorkers();
    });
  }

  #onEvent(event: JournalEvent): void {
    this.node.world.observer.onEvent(this, event);
    if (event.kind === "fatal") this.#exit(`fatal ${event.exitCode}: ${event.message}`);
  }

  /** The process ends by itself; the host's supervisor will start it again. */
  #exit(why: string): void {
    const { node } = this;
    node.world.scheduler.after(0.01, this.main, "exit", () => {
      if (node.process !== this) return;
      node.process = null;
      this.end(true);
      node.world.observer.onEnded(this, why);
    });
  }

  /** @param hasPower the kernel goes on, and closes what the process had open */
  end(hasPower: boolean): void {
    this.main.isAlive = false;
    const wasConnected = this.journalLane.isAlive;
    this.journalLane.isAlive = false;
    if (wasConnected) this.node.world.net.kill(this.journalLane, hasPower);
    for (const listener of [...this.onEnd]) listener(hasPower);
    this.onEnd.clear();
  }
}
