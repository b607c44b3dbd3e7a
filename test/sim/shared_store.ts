/**
 * The shared store of a simulated journal, as each master sees it: the product's store in memory, with requests and answers that take their time. What
 * has its effect has it whether its master is paused, or dead; its answer waits for the master.
 *
 * A store that is made to misbehave answers late, or not at all: before its effect, after it, or long before it. It fills up. Its listings lack what was just
 * made, and show what was just removed. Reads by name are always right.
 * @module
 */
import type { JournalFileSystem } from "../../src/journal/file_system.ts";
import type { LogStore } from "../../src/ufs/log_store.ts";
import {
  MemoryLogStore,
  type SharedObjects,
  type StoreCall,
  type StoreFate,
} from "../../src/ufs_journal/memory_log_store.ts";
import type { SimRandom } from "./random.ts";
import { type Lane, type Scheduler, SimCrash } from "./scheduler.ts";

const CALL_TIMEOUT_MS = 400;

export type StoreTraits = {
  readonly latencyMaxMs: number;
  /** Of a create or a removal. */
  readonly ambiguousChance: number;
  /** What comes to pass after its caller was told that nothing is known. */
  readonly lateChance: number;
  readonly lateMaxMs: number;
  /** Of a fence: its maker is likely to be gone when it arrives. */
  readonly lateFenceChance: number;
  readonly lyingChance: number;
  /** How long a listing may lack what is there, or show what is not. */
  readonly staleMaxMs: number;
};

/** Who may be cut off, and since when. */
export class StoreWorld {
  readonly scheduler: Scheduler;
  readonly shared: SharedObjects;
  readonly random: SimRandom;
  readonly traits: StoreTraits;
  /** Names of hosts that can't reach it. */
  readonly cut = new Set<string>();
  isFull = false;
  isSlow = false;
  isCalm = false;
  onFault: (kind: string) => void = () => {};
  /** A fence is on its way, and its maker will not hear of it. */
  onLateFence: (host: string) => void = () => {};
  readonly #madeMs = new Map<string, number>();
  readonly #removedMs = new Map<string, number>();

  constructor(scheduler: Scheduler, shared: SharedObjects, random: SimRandom, traits: StoreTraits) {
    this.scheduler = scheduler;
    this.shared = shared;
    this.random = random;
    this.traits = traits;
  }

  created(name: string): void {
    this.#madeMs.set(name, this.scheduler.nowMs);
    this.#removedMs.delete(name);
  }

  removed(name: string): void {
    this.#removedMs.set(name, this.scheduler.nowMs);
  }

  fateOf({ kind }: StoreCall, host: string, isFence: boolean): StoreFate {
    const { random, traits } = this;
    if (this.isCalm) return { delayMs: random.between(0.2, 3) };
    const latencyMs = random.skewed(0.2, traits.latencyMaxMs);
    const delayMs = this.isSlow ? latencyMs + random.skewed(0, 3000) : latencyMs;
    const isChange = kind === "create" || kind === "remove";
    const lateMs = random.skewed(1, traits.lateMaxMs);
    if (this.cut.has(host)) {
      const mayArrive = isChange && random.chance(0.1);
      return { delayMs: CALL_TIMEOUT_MS, failure: mayArrive ? "late" : "before", lateMs };
    }
    const isLate = random.chance(isFence ? traits.lateFenceChance : traits.lateChance);
    if (isChange && isLate) {
      if (isFence) this.onLateFence(host);
      return this.#told("late", delayMs, lateMs);
    }
    if (random.chance(traits.ambiguousChance))
      return this.#told(isChange && random.chance(0.6) ? "after" : "before", delayMs, 0);
    if (kind === "create" && this.isFull) return this.#told("full", delayMs, 0);
    if (kind !== "list" || !random.chance(traits.lyingChance)) return { delayMs };
    this.onFault("lying");
    const since = this.scheduler.nowMs - random.between(0, traits.staleMaxMs);
    return { delayMs, hides: (name) => (this.#madeMs.get(name) ?? 0) > since };
  }

  #told(failure: "before" | "after" | "late" | "full", delayMs: number, lateMs: number): StoreFate {
    this.onFault(failure === "full" ? "full" : failure === "late" ? "late" : "ambiguous");
    return { delayMs, failure, lateMs };
  }

  /** What a listing shows that is gone. */
  ghosts(folder: string, after: string): string[] {
    const { random, traits } = this;
    if (this.isCalm || !random.chance(traits.lyingChance)) return [];
    const since = this.scheduler.nowMs - random.between(0, traits.staleMaxMs);
    const prefix = `${folder}/`;
    return [...this.#removedMs]
      .filter(([name, atMs]) => atMs > since && name.startsWith(prefix))
      .map(([name]) => name.slice(prefix.length))
      .filter((name) => name > after);
  }
}

const NO_FILES = {
  readFileSync: () => null,
  replaceFileSync: () => {},
};

/** As one process sees it. */
export class VirtualLogStore implements LogStore {
  readonly uri = "memory:/journal";
  readonly #world: StoreWorld;
  readonly #lane: Lane;
  readonly #files: JournalFileSystem;
  readonly #inner: MemoryLogStore;
  #isFence = false;

  constructor(world: StoreWorld, lane: Lane, files: JournalFileSystem) {
    this.#world = world;
    this.#lane = lane;
    this.#files = files;
    const { scheduler } = world;
    this.#inner = new MemoryLogStore({
      shared: world.shared,
      world: {
        clock: { monotonicMs: () => scheduler.nowMs, wallMs: () => scheduler.nowMs },
        random: world.random,
        timers: {
          after: (delayMs, act) => scheduler.after(delayMs, null, "store", act),
          soon: (act) => void scheduler.after(0.001, null, "store", act),
        },
      },
      files: NO_FILES,
      fate: (call) => world.fateOf(call, lane.host.name, this.#isFence),
    });
  }

  /** The answer, on the way to who asked. */
  #answered<T>(label: string, begin: () => Promise<T>): Promise<T> {
    if (!this.#lane.isAlive) throw new SimCrash("this process is dead");
    const { scheduler, random } = this.#world;
    return new Promise((resolve, reject) => {
      const back = (act: () => void) =>
        scheduler.after(random.between(0.05, 0.5), this.#lane, label, act);
      begin().then(
        (value) => back(() => resolve(value)),
        (error: unknown) => back(() => reject(error)),
      );
    });
  }

  create(name: string, bytes: Uint8Array): Promise<"created" | "exists"> {
    this.#isFence = name.includes("/log/") && bytes[12] === 1 && bytes[13] === 0;
    try {
      return this.#answered("create", () => this.#inner.create(name, bytes));
    } finally {
      this.#isFence = false;
    }
  }

  async createFromFile(name: string, localPath: string): Promise<"created" | "exists"> {
    return this.create(name, this.#files.readFileSync(localPath) ?? new Uint8Array());
  }

  read(name: string): Promise<Uint8Array | null> {
    return this.#answered("read", () => this.#inner.read(name));
  }

  async readToFile(name: string, localPath: string): Promise<boolean> {
    const bytes = await this.read(name);
    if (bytes !== null) this.#files.replaceFileSync(localPath, bytes);
    return bytes !== null;
  }

  async list(folder: string, after = ""): Promise<readonly string[]> {
    const names = await this.#answered("list", () => this.#inner.list(folder, after));
    const ghosts = this.#world.ghosts(folder, after);
    return ghosts.length === 0 ? names : [...new Set([...names, ...ghosts])].sort();
  }

  remove(name: string): Promise<void> {
    return this.#answered("remove", () => this.#inner.remove(name));
  }

  async probe(): Promise<void> {}
}

/** What lies there, as it is, for who only reads. */
export function stillStore({ objects }: SharedObjects): LogStore {
  const refused = () => Promise.reject(new Error("who only reads changes nothing"));
  return {
    uri: "memory:/journal",
    read: async (name) => objects.get(name) ?? null,
    async list(folder, after = "") {
      const inside = [...objects.keys()].filter((name) => name.startsWith(`${folder}/`));
      const names = inside.map((name) => name.slice(folder.length + 1));
      return names.filter((name) => !name.includes("/") && name > after).sort();
    },
    ...{ create: refused, createFromFile: refused, readToFile: refused },
    ...{ remove: refused, probe: refused },
  };
}
