/**
 * What the streams of one file system share: the masters, the workers, and how long to be patient.
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf, RockpoolError } from "../common/errors.ts";
import type { WorkerNetAddress } from "../common/file_facts.ts";
import type { Random } from "../world/ports.ts";
import type { Locality, WorkerView } from "./block_policy.ts";
import type { MasterClient, Signal } from "./master_client.ts";
import type { WorkerPort } from "./ports.ts";
import type { ReplayMemory } from "./replay_memory.ts";

export type Patience = {
  /** A stream to a worker that moves no byte for this long is given up. */
  readonly streamStallMs: number;
  /** How long a worker may take to make a block or an under store file durable. */
  readonly commitMs: number;
  /** How long to go from worker to worker, all of which fail, for a new block or the bytes of one. */
  readonly workerSearchMs: number;
  /** How long to wait when there is no worker at all that could serve: one may just be starting. */
  readonly workerAbsenceMs: number;
  /** How long a caller who gives up is held until it is known what became of a file that was being made or completed. */
  readonly settleMs: number;
};

export const DEFAULT_PATIENCE: Patience = {
  // Alluxio waits three minutes; a stalled reader has other copies to turn to.
  streamStallMs: 30_000,
  // A worker commits to the masters, which may be choosing a new leader.
  commitMs: 300_000,
  workerSearchMs: 60_000,
  workerAbsenceMs: 10_000,
  // A new leader answers within a second; a file whose fate is not known has to be looked for by hand.
  settleMs: 5000,
};

export type ClientContext = {
  readonly master: MasterClient;
  readonly workerPort: WorkerPort;
  readonly workers: WorkerDirectory;
  readonly here: Locality;
  readonly random: Random;
  readonly patience: Patience;
  readonly replayMemory: ReplayMemory;
  /** The user that under store reads are made for. */
  readonly user: string;
  /** Work that nobody waits for but `close()`, which gives it a moment. Rejections are dropped. */
  inBackground(work: Promise<unknown>): void;
};

/** How long a list of workers is believed: placing a block on a stale one costs a retry, no more. */
const LIST_AGE_MAX_MS = 30_000;

/** The cluster's workers, asked for when the known list is old or proved wrong. */
export class WorkerDirectory {
  readonly #master: MasterClient;
  #list: readonly WorkerView[] = [];
  #pending: Promise<readonly WorkerView[]> | null = null;
  #readAtMs = Number.NEGATIVE_INFINITY;
  readonly #isWanted: (address: WorkerNetAddress) => boolean;

  /** @param isWanted leaves out workers that this client is not to use */
  constructor(master: MasterClient, isWanted: (address: WorkerNetAddress) => boolean = () => true) {
    this.#master = master;
    this.#isWanted = isWanted;
  }

  async list(signal: Signal): Promise<readonly WorkerView[]> {
    // An empty list is never kept: the first worker may register any moment.
    const isFresh = performance.now() - this.#readAtMs < LIST_AGE_MAX_MS;
    if (isFresh && this.#list.length > 0) return this.#list;
    throwIfAborted(signal);
    // One question for all who ask at once; it belongs to none of their signals.
    this.#pending ??= this.#read();
    return this.#pending;
  }

  async #read(): Promise<readonly WorkerView[]> {
    const askedMs = performance.now();
    try {
      const all = await this.#master.workers(null);
      this.#list = all.filter(({ address }) => this.#isWanted(address));
      this.#readAtMs = askedMs;
      return this.#list;
    } finally {
      this.#pending = null;
    }
  }

  /** Forgets the list: a worker on it did not answer. */
  invalidate(): void {
    this.#readAtMs = Number.NEGATIVE_INFINITY;
  }
}

/** Fails with CANCELLED once the caller has given up. */
export function throwIfAborted(signal: Signal): void {
  if (signal?.aborted === true) throw cancelled(signal);
}

export function cancelled(signal: AbortSignal): RockpoolError {
  return new RockpoolError("CANCELLED", `Cancelled: ${messageOf(signal.reason)}`, "", {
    cause: signal.reason,
  });
}

/** Waits; a caller who gives up ends the wait with CANCELLED. */
export async function pause(delayMs: number, signal: Signal): Promise<void> {
  try {
    await sleep(delayMs, undefined, signal === null ? {} : { signal });
  } catch (error) {
    if (signal?.aborted) throw cancelled(signal);
    throw error;
  }
}

/** Settles as `work` does, or with DEADLINE_EXCEEDED after `limitMs`. `work` itself goes on. */
export async function within<T>(work: Promise<T>, limitMs: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new RockpoolError("DEADLINE_EXCEEDED", `${what} took over ${limitMs} ms`)),
      limitMs,
    );
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
