/**
 * Which workers there are, and which of them live: addresses, capacities, time of last contact.
 * Every master keeps one from the workers' own calls; nothing of it is in the journal.
 *
 * known (asked for its id) → live (registered) → lost (silent too long) → live again, or forgotten. One that says
 * goodbye is forgotten at once. A live one may be decommissioned.
 *
 * A worker is lost when it was silent for `workerTimeoutMs` *and* is still silent `CONFIRM_MS` after we first
 * noticed: a master that was stopped itself (a suspended machine) finds everybody silent, and must listen
 * before it judges.
 * @module
 */
import { createHash } from "node:crypto";
import { RockpoolError } from "../common/errors.ts";
import type { WorkerNetAddress } from "../common/file_facts.ts";
import type { WorkerId } from "../common/ids.ts";
import type { Clock } from "../world/ports.ts";
import type { TierUsage } from "./api.ts";

/** Two heartbeats, at one a second. */
const CONFIRM_MS = 2000;
/** Far beyond any cluster; bounds what a client can make us remember by asking for ids. */
const WORKERS_MAX = 20_000;

export type WorkerBuild = {
  readonly buildVersion: string;
  readonly buildRevision: string;
  readonly vcpuCount: number;
};

/** Changed by the registry and by its owner only. */
export type Worker = {
  readonly id: WorkerId;
  /** One object for worker lists and block locations: clients compare the two field by field. */
  address: WorkerNetAddress;
  state: "known" | "live" | "lost";
  /** By its own last word: it serves what it has, and gets nothing new. */
  isDecommissioned: boolean;
  tiers: TierUsage[];
  build: WorkerBuild;
  /** Wall clock, for people. */
  registeredMs: number;
  lastContactMs: number;
  /** Monotonic. */
  heardAtMs: number;
  suspectedAtMs: number | null;
};

export type Expired = { readonly lost: readonly Worker[]; readonly forgotten: readonly Worker[] };

/** The same on every master and after every restart. @returns 1 to 2^63 - 1 */
export function workerIdOf(address: WorkerNetAddress): WorkerId {
  const { host, rpcPort, dataPort, webPort } = address;
  const hash = createHash("sha256").update(`${host}:${rpcPort}:${dataPort}:${webPort}`).digest();
  const id = hash.readBigUInt64BE() >> 1n;
  return (id === 0n ? 1n : id) as WorkerId; // the one place that makes worker ids
}

/** Looked at each time: they may change while the master runs. */
export type RegistryOptions = {
  readonly workerTimeoutMs: number;
  readonly lostWorkerForgetMs: number;
};

/** A tier may have any name, also that of something which every object inherits. */
function bytesOf(byTier: Readonly<Record<string, number>>, alias: string): number | undefined {
  return Object.hasOwn(byTier, alias) ? byTier[alias] : undefined;
}

export class WorkerRegistry {
  readonly #workers = new Map<WorkerId, Worker>();
  readonly #clock: Clock;
  readonly #options: RegistryOptions;

  constructor(clock: Clock, options: RegistryOptions) {
    this.#clock = clock;
    this.#options = options;
  }

  /**
   * The id of a worker, which is remembered with its address until it registers.
   * @throws RockpoolError RESOURCE_EXHAUSTED when too many workers are known
   */
  identify(address: WorkerNetAddress): WorkerId {
    const id = workerIdOf(address);
    const known = this.#workers.get(id);
    if (known !== undefined) {
      known.address = address;
      if (known.state === "known") this.heard(known);
      return id;
    }
    if (this.#workers.size >= WORKERS_MAX) {
      throw new RockpoolError(
        "RESOURCE_EXHAUSTED",
        `Cannot take worker ${address.host}:${address.rpcPort}: ${WORKERS_MAX} workers are known`,
        "Lost workers are forgotten after a while; lower that time if addresses change often",
      );
    }
    this.#workers.set(id, {
      id,
      address,
      state: "known",
      isDecommissioned: false,
      tiers: [],
      build: { buildVersion: "", buildRevision: "", vcpuCount: 0 },
      registeredMs: 0,
      lastContactMs: this.#clock.wallMs(),
      heardAtMs: this.#clock.monotonicMs(),
      suspectedAtMs: null,
    });
    return id;
  }

  find(id: WorkerId): Worker | null {
    return this.#workers.get(id) ?? null;
  }

  /** The worker has registered with what it is and has. */
  registered(worker: Worker, facts: WorkerBuild & { readonly tiers: readonly TierUsage[] }): void {
    const { tiers, buildVersion, buildRevision, vcpuCount } = facts;
    worker.state = "live";
    worker.tiers = [...tiers];
    worker.build = { buildVersion, buildRevision, vcpuCount };
    worker.registeredMs = this.#clock.wallMs();
    this.heard(worker);
  }

  /** The worker said that it goes. */
  left({ id }: Worker): void {
    this.#workers.delete(id);
  }

  heard(worker: Worker): void {
    worker.lastContactMs = this.#clock.wallMs();
    worker.heardAtMs = this.#clock.monotonicMs();
    worker.suspectedAtMs = null;
  }

  /** Takes over what a report says of tiers; tiers that it does not name stay as they are. */
  measured(
    worker: Worker,
    usedBytes: Readonly<Record<string, number>>,
    capacityBytes: Readonly<Record<string, number>>,
  ): void {
    const aliases = new Set([
      ...worker.tiers.map(({ alias }) => alias),
      ...Object.keys(capacityBytes),
    ]);
    worker.tiers = [...aliases].map((alias) => {
      const before = worker.tiers.find((tier) => tier.alias === alias);
      return {
        alias,
        capacityBytes: bytesOf(capacityBytes, alias) ?? before?.capacityBytes ?? 0,
        usedBytes: bytesOf(usedBytes, alias) ?? before?.usedBytes ?? 0,
      };
    });
  }

  /** Moves workers on that were silent too long. Call often; it notices nothing by itself. */
  expire(): Expired {
    const now = this.#clock.monotonicMs();
    const { workerTimeoutMs, lostWorkerForgetMs } = this.#options;
    const lost: Worker[] = [];
    const forgotten: Worker[] = [];
    for (const worker of this.#workers.values()) {
      const silentMs = now - worker.heardAtMs;
      if (worker.state === "live") {
        if (silentMs < workerTimeoutMs) continue;
        worker.suspectedAtMs ??= now;
        if (now - worker.suspectedAtMs < CONFIRM_MS) continue;
        worker.state = "lost";
        lost.push(worker);
      } else if (silentMs >= workerTimeoutMs + CONFIRM_MS + lostWorkerForgetMs) {
        this.#workers.delete(worker.id);
        if (worker.state === "lost") forgotten.push(worker);
      }
    }
    return { lost, forgotten };
  }

  /** Live ones, then lost ones; each in the order in which they became known. */
  list(): Worker[] {
    const all = [...this.#workers.values()];
    const inState = (state: Worker["state"]) => all.filter((worker) => worker.state === state);
    return [...inState("live"), ...inState("lost")];
  }
}
