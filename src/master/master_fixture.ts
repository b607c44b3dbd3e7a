/**
 * For tests: a namespace over a journal that commits at once, in memory, under the test's own clock.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { BlockId, MemberId } from "../common/ids.ts";
import { parsePath } from "../common/path.ts";
import type {
  CommittedEntry,
  JournalStatus,
  JournalSystem,
  LeadershipEvent,
  StateMachine,
  StatePosition,
} from "../journal/journal_system.ts";
import type { KeyValueStore } from "../kv/kv.ts";
import { MemoryKeyValueStore } from "../kv/memory_kv.ts";
import type { UnderFileSystem } from "../ufs/under_file_system.ts";
import type { Timer, World } from "../world/ports.ts";
import type { BlockLocation, Call, CreateFileOptions, Principal } from "./api.ts";
import type { ApplyResult } from "./apply.ts";
import { createFileSystemMaster, type NamespaceServices } from "./file_system_master.ts";
import type { NamespaceEvent } from "./master_event.ts";
import { createMasterState, type MasterState } from "./state_machine.ts";

/** What the next proposals meet. */
type Weather =
  | "fine"
  /** Applied, but leadership is lost before the answer. */
  | "lostAfterApply"
  /** Leadership was lost, and this is noticed only by the next proposal or read barrier. */
  | "lostBefore";

const LOST = () => new RockpoolError("UNAVAILABLE", "This master leads no more", "Try again");

/** Commits every proposal by itself, in the turn after; keeps the log. */
export class FakeJournal implements JournalSystem<ApplyResult> {
  readonly log: CommittedEntry[] = [];
  weather: Weather = "fine";
  /** Proposals that see fine weather before `weatherLater` sets in. */
  proposalsUntilLater = Infinity;
  weatherLater: Weather = "fine";
  readonly #machine: StateMachine<ApplyResult>;
  readonly #listeners: ((event: LeadershipEvent) => void)[] = [];
  #isServing = false;
  #term = 0;

  constructor(machine: StateMachine<ApplyResult>) {
    this.#machine = machine;
  }

  async start(): Promise<void> {}

  async propose(payload: Uint8Array): Promise<ApplyResult> {
    await null;
    if (!this.#isServing) throw LOST();
    this.proposalsUntilLater -= 1;
    if (this.proposalsUntilLater < 0) this.weather = this.weatherLater;
    if (this.weather === "lostBefore") {
      this.lose();
      throw LOST();
    }
    const index = this.#machine.position().index + 1;
    const entry = { index, term: this.#term, payload };
    this.log.push(entry);
    const [result] = this.#machine.apply([entry], {
      index,
      term: this.#term,
      membership: null,
    });
    if (this.weather === "lostAfterApply" || result === undefined) {
      this.lose();
      throw LOST();
    }
    return result;
  }

  async readBarrier(): Promise<void> {
    await null;
    if (this.weather === "lostBefore" && this.#isServing) this.lose();
    if (!this.#isServing) throw LOST();
  }

  isServing(): boolean {
    return this.#isServing;
  }

  gain(): void {
    this.#term += 1;
    this.#isServing = true;
    this.weather = "fine";
    for (const tell of this.#listeners) tell({ kind: "gained", term: this.#term, tookMs: 0 });
  }

  lose(): void {
    this.#isServing = false;
    for (const tell of this.#listeners) tell({ kind: "lost", term: this.#term });
  }

  status(): JournalStatus {
    const appliedIndex = this.#machine.position().index;
    return {
      isServing: this.#isServing,
      role: this.#isServing ? "leader" : "follower",
      term: this.#term,
      leader: this.#isServing ? (1n as MemberId) : null,
      lastIndex: appliedIndex,
      commitIndex: appliedIndex,
      appliedIndex,
      members: [],
      lastGainedMs: null,
      lastLostMs: null,
      lastFailover: null,
      flushes: { count: 0, samplesMs: [] },
      lags: { count: 0, samplesMs: [] },
    };
  }

  onLeadership(listener: (event: LeadershipEvent) => void): void {
    this.#listeners.push(listener);
  }

  async transferLeadership(): Promise<void> {}

  async addMember(): Promise<void> {}

  async removeMember(): Promise<void> {}

  async checkpoint(): Promise<StatePosition> {
    return this.#machine.position();
  }

  async close(): Promise<void> {}
}

/** Time passes only when the test says so. */
export class FakeWorld implements World {
  #nowMs = 1_700_000_000_000;
  #timers: { dueMs: number; callback: () => void }[] = [];
  readonly clock = { monotonicMs: () => this.#nowMs, wallMs: () => this.#nowMs };
  readonly random = { uint32: () => 0x1234_5678 };
  readonly timers = {
    after: (delayMs: number, callback: () => void): Timer => {
      const timer = { dueMs: this.#nowMs + delayMs, callback };
      this.#timers.push(timer);
      return {
        cancel: () => {
          this.#timers = this.#timers.filter((other) => other !== timer);
        },
      };
    },
    soon: (callback: () => void): void => void setImmediate(callback),
  };

  get timerCount(): number {
    return this.#timers.length;
  }

  pass(ms: number): void {
    this.#nowMs += ms;
    const due = this.#timers.filter(({ dueMs }) => dueMs <= this.#nowMs);
    this.#timers = this.#timers.filter(({ dueMs }) => dueMs > this.#nowMs);
    for (const { callback } of due) callback();
  }
}

export const ROOT_USER: Principal = { user: "root", groups: ["root"], isSuperuser: true };
export const ALICE: Principal = { user: "alice", groups: ["users"], isSuperuser: false };
export const BOB: Principal = { user: "bob", groups: ["staff", "users"], isSuperuser: false };

export function callBy(principal: Principal, operationId: Call["operationId"] = null): Call {
  return { principal, operationId };
}

export const CREATE_FILE: CreateFileOptions = {
  isRecursive: true,
  isOverwrite: false,
  blockSizeBytes: 100,
  mode: 0o644,
  replicationMin: 0,
  replicationMax: -1,
  ttlMs: -1,
  ttlAction: "FREE",
  xattr: {},
};

export const CREATE_DIRECTORY = {
  isRecursive: true,
  allowExists: false,
  mode: 0o755,
  isPersisted: false,
  ttlMs: -1,
  ttlAction: "FREE",
  xattr: {},
} as const;

export const LIST = { isRecursive: false, loadMetadata: "once" } as const;
export const STATUS = { loadMetadata: "once", accessBits: 0 } as const;

export const at = parsePath;

/** Waits until something holds, giving way to everything else meanwhile. Fails by the test's own time limit. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}

export type MasterFixture = NamespaceServices & {
  readonly journal: FakeJournal;
  readonly state: MasterState;
  readonly world: FakeWorld;
  readonly events: NamespaceEvent[];
  readonly removedBlocks: BlockId[];
  /** Blocks that workers were to drop though their files stay. */
  readonly freedBlocks: BlockId[];
  readonly locations: Map<BlockId, BlockLocation[]>;
  /** Another master over the same state, which leads from now on. */
  takeOver(): MasterFixture;
};

/** A master that leads. @param rootUfsUri of a folder that may be missing */
export function createMasterFixture(options: {
  readonly ufs: UnderFileSystem;
  readonly rootUfsUri: string;
  readonly store?: KeyValueStore;
  readonly world?: FakeWorld;
  readonly dedupeEntriesMax?: number;
  readonly awaitsRestore?: boolean;
}): MasterFixture {
  const { ufs, rootUfsUri, dedupeEntriesMax, awaitsRestore = false } = options;
  const store = options.store ?? new MemoryKeyValueStore();
  const world = options.world ?? new FakeWorld();
  const removedBlocks: BlockId[] = [];
  const freedBlocks: BlockId[] = [];
  const events: NamespaceEvent[] = [];
  const locations = new Map<BlockId, BlockLocation[]>();
  const state = createMasterState({
    store,
    options: dedupeEntriesMax === undefined ? {} : { dedupeEntriesMax },
    onBlocksRemoved: (ids) => removedBlocks.push(...ids),
  });
  const journal = new FakeJournal(state.stateMachine);
  const services = createFileSystemMaster({
    journal,
    state,
    ufs: () => ufs,
    blocks: {
      locationsOf: (id) => locations.get(id) ?? [],
      blocksRemoved: (ids) => freedBlocks.push(...ids),
    },
    world,
    options: { rootUfsUri, rootOwner: "root", rootGroup: "root", awaitsRestore },
    onEvent: (event) => events.push(event),
  });
  journal.gain();
  return {
    ...services,
    journal,
    state,
    world,
    events,
    removedBlocks,
    freedBlocks,
    locations,
    takeOver() {
      if (journal.isServing()) journal.lose();
      return createMasterFixture({ ...options, store, world });
    },
  };
}
