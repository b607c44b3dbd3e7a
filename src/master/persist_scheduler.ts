/**
 * Persists files in the background (ASYNC_THROUGH, `fs persist`): the leader's loop over the journaled
 * intents. The worker that holds most of a file writes it to a temporary path of the under store, with the blocks
 * that it lacks from other workers (clients spread blocks); the namespace then moves it into place and journals it.
 *
 * The queue is the truth and lives in the namespace, so a new leader goes on where the old one stopped.
 * Here is only what may be lost: who works on what, and when a failed task is tried again (1 s after the
 * first failure, doubling up to 1 h). A task with a block that no live worker holds waits in the queue. A worker that could
 * not be reached counts as gone until the masters hear from it again: another holder is asked meanwhile.
 *
 * Nothing that began under one reign is reported under another: `stop` aborts what runs, and what it
 * still answers is ignored. The same file may therefore be written twice, to the same temporary path,
 * by a worker that did not notice the abort and one that a new reign asked; workers must bear that.
 * @module
 */
import { isRockpoolError, messageOf, RockpoolError } from "../common/errors.ts";
import type { WorkerNetAddress } from "../common/file_facts.ts";
import type { BlockId, InodeId, WorkerId } from "../common/ids.ts";
import { InvariantError, invariant } from "../common/invariant.ts";
import type { Timer, World } from "../world/ports.ts";
import type { BlockMaster } from "./api.ts";

/** What a worker needs to know to write a file to the under store. */
export type PersistTask = {
  readonly fileId: InodeId;
  /** Where to write; the namespace renames it into place. */
  readonly ufsTempPath: string;
  readonly blocks: readonly { readonly blockId: BlockId; readonly lengthBytes: number }[];
  readonly owner: string;
  readonly group: string;
  readonly mode: number;
  readonly mountId: bigint;
};

/** The intents, as the namespace keeps them. Read and called on the leader only. */
export interface PersistQueue {
  /** Up to `limit` tasks in order of file id, those after `afterFileId` (null: from the first). */
  pending(limit: number, afterFileId: InodeId | null): readonly PersistTask[];
  /**
   * The bytes are at `tempUfsPath`: moves them into place and journals it, which ends the intent.
   * @throws RockpoolError NOT_FOUND when the file is gone: its intent is gone too, and so are the bytes
   */
  persisted(
    fileId: InodeId,
    result: {
      readonly lengthBytes: number;
      readonly ufsFingerprint: string;
      readonly tempUfsPath: string;
    },
  ): Promise<void>;
}

/** `rockpool.internal.WorkerControl` on a worker's RPC port. */
export interface WorkerControl {
  /** Rejects when the worker fails or is gone, and when `signal` aborts; never hangs for ever. */
  persistFile(
    worker: WorkerNetAddress,
    task: PersistTask,
    signal: AbortSignal,
  ): Promise<{ readonly lengthBytes: number; readonly ufsFingerprint: string }>;
}

export type PersistEvent =
  | { readonly kind: "filePersisted"; readonly fileId: InodeId; readonly lengthBytes: number }
  /** The file was removed while it was being written. */
  | { readonly kind: "persistObsolete"; readonly fileId: InodeId }
  | {
      readonly kind: "persistFailed";
      readonly fileId: InodeId;
      readonly attempts: number;
      readonly retryInMs: number;
      readonly reason: string;
    };

export type PersistSchedulerOptions = {
  /** Files that are written at the same time, in all and by one worker. */
  readonly concurrencyMax: number;
  readonly perWorkerMax: number;
  /** How often the queue is looked at when nothing else happens. */
  readonly pollMs: number;
};

const RETRY_MIN_MS = 1000;
const RETRY_MAX_MS = 3_600_000;
/** Tasks looked at in one go: bounds how long the main loop is held. */
const SCAN_MAX = 256;
/** Tasks read at a time for each hand that is free: reading one costs some ten microseconds. */
const READ_PER_HAND = 4;
/** Between two such goes while the queue has more. */
const SCAN_PAUSE_MS = 50;
/** Failed tasks that we remember; more are tried again at each round of the queue. */
const RETRIES_MAX = 100_000;

type Running = { readonly workerId: WorkerId; readonly abort: AbortController };
type Retry = {
  readonly attempts: number;
  dueMs: number;
  seenInRound: number;
  /** Who failed last. */
  readonly workerId: WorkerId | undefined;
};

export class PersistScheduler {
  readonly #queue: PersistQueue;
  readonly #blocks: Pick<BlockMaster, "locationsOf" | "workers">;
  readonly #control: WorkerControl;
  readonly #world: Pick<World, "clock" | "timers">;
  readonly #options: PersistSchedulerOptions;
  readonly #onEvent: (event: PersistEvent) => void;
  /** Odd while this master leads; what runs compares it before it changes anything. */
  #reign = 0;
  readonly #running = new Map<InodeId, Running>();
  readonly #retries = new Map<InodeId, Retry>();
  /** Workers that could not be reached, as the masters knew them then. */
  readonly #unreached = new Map<
    WorkerId,
    { readonly lastContactMs: number; readonly startedMs: number }
  >();
  /** The queue is walked round and round, so that tasks which cannot start hide none behind them. */
  #cursor: InodeId | null = null;
  #round = 0;
  #timer: Timer | null = null;

  constructor(parts: {
    readonly queue: PersistQueue;
    readonly blocks: Pick<BlockMaster, "locationsOf" | "workers">;
    readonly control: WorkerControl;
    readonly world: Pick<World, "clock" | "timers">;
    readonly options: PersistSchedulerOptions;
    readonly onEvent: (event: PersistEvent) => void;
  }) {
    this.#queue = parts.queue;
    this.#blocks = parts.blocks;
    this.#control = parts.control;
    this.#world = parts.world;
    this.#options = parts.options;
    this.#onEvent = parts.onEvent;
  }

  get #isLeading(): boolean {
    return this.#reign % 2 === 1;
  }

  get runningCount(): number {
    return this.#running.size;
  }

  /** Leadership is gained: reads the queue from its beginning. */
  start(): void {
    invariant(!this.#isLeading, "leadership is gained once before it is lost");
    this.#reign++;
    this.#cursor = null;
    this.#pump();
  }

  /** Leadership is lost, or the master stops: aborts at once what runs. Harmless when not leading. */
  stop(): void {
    if (!this.#isLeading) return;
    this.#reign++;
    this.#timer?.cancel();
    this.#timer = null;
    const reason = new RockpoolError("UNAVAILABLE", "This master does not lead any more");
    const running = [...this.#running.values()];
    this.#running.clear();
    this.#retries.clear();
    this.#unreached.clear();
    for (const { abort } of running) abort.abort(reason);
  }

  /** An intent was journaled: look soon. Cheap, and harmless when not leading. */
  poke(): void {
    if (this.#isLeading) this.#arm(SCAN_PAUSE_MS);
  }

  #arm(delayMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#world.timers.after(delayMs, () => this.#pump());
  }

  /** Looks at the next tasks of the queue and starts those that can start. */
  #pump(): void {
    if (!this.#isLeading) return;
    this.#abortLost();
    const live = this.#askableWorkers();
    const hasEnded = this.#scan(live);
    if (hasEnded) this.#endRound();
    // When all hands are busy, the next one to finish pumps.
    const hasMore = !hasEnded && this.#freeHands(live) > 0;
    this.#arm(hasMore ? SCAN_PAUSE_MS : this.#options.pollMs);
  }

  /** Starts what can start of the next `SCAN_MAX` tasks. @returns whether the queue ended */
  #scan(live: ReadonlyMap<WorkerId, WorkerNetAddress>): boolean {
    for (let left = SCAN_MAX; left > 0; ) {
      const limit = Math.min(left, this.#freeHands(live) * READ_PER_HAND);
      if (limit <= 0) return false;
      const page = this.#queue.pending(limit, this.#cursor);
      for (const task of page) {
        if (this.#freeHands(live) <= 0) return false;
        this.#startIfDue(task, live);
        this.#cursor = task.fileId;
      }
      if (page.length < limit) return true;
      left -= limit;
    }
    return false;
  }

  #freeHands(live: ReadonlyMap<WorkerId, WorkerNetAddress>): number {
    const { concurrencyMax, perWorkerMax } = this.#options;
    return Math.min(concurrencyMax, perWorkerMax * live.size) - this.#running.size;
  }

  #liveWorkers() {
    return this.#blocks.workers().filter(({ isLive }) => isLive);
  }

  /** Live workers that have been heard of since they could not be reached. */
  #askableWorkers(): ReadonlyMap<WorkerId, WorkerNetAddress> {
    const live = new Map(this.#liveWorkers().map((worker) => [worker.id, worker]));
    for (const [id, before] of this.#unreached) {
      const now = live.get(id);
      if (now?.lastContactMs === before.lastContactMs) {
        live.delete(id);
        continue;
      }
      this.#unreached.delete(id);
      if (now !== undefined && now.startedMs !== before.startedMs) this.#retrySoon(id);
    }
    return new Map([...live.values()].map(({ id, address }) => [id, address]));
  }

  /** The worker was restarted: what it failed to do then says nothing about now. */
  #retrySoon(workerId: WorkerId): void {
    const nowMs = this.#world.clock.monotonicMs();
    for (const retry of this.#retries.values())
      if (retry.workerId === workerId) retry.dueMs = nowMs;
  }

  #abortLost(): void {
    if (this.#running.size === 0) return;
    const live = new Set(this.#liveWorkers().map(({ id }) => id));
    for (const { workerId, abort } of this.#running.values()) {
      if (live.has(workerId)) continue;
      abort.abort(new RockpoolError("UNAVAILABLE", `Worker ${workerId} was lost`));
    }
  }

  /** A worker failed a task. If it did not answer, it is not asked again before it is heard of. */
  #noteFailure(fileId: InodeId, error: unknown): void {
    const workerId = this.#running.get(fileId)?.workerId;
    if (!isRockpoolError(error, "UNAVAILABLE")) return;
    const worker = this.#liveWorkers().find(({ id }) => id === workerId);
    if (worker !== undefined) this.#unreached.set(worker.id, worker);
  }

  /** Forgets failures of tasks that are not in the queue any more. */
  #endRound(): void {
    for (const [fileId, { seenInRound }] of this.#retries) {
      if (seenInRound < this.#round) this.#retries.delete(fileId);
    }
    this.#round++;
    this.#cursor = null;
  }

  #startIfDue(task: PersistTask, live: ReadonlyMap<WorkerId, WorkerNetAddress>): void {
    const retry = this.#retries.get(task.fileId);
    if (retry !== undefined) retry.seenInRound = this.#round;
    if (this.#running.has(task.fileId)) return;
    if (retry !== undefined && retry.dueMs > this.#world.clock.monotonicMs()) return;
    const workerId = this.#pickWorker(task, live);
    const address = workerId === null ? undefined : live.get(workerId);
    if (workerId === null || address === undefined) return;
    const abort = new AbortController();
    this.#running.set(task.fileId, { workerId, abort });
    // Never rejects but for a bug of ours, which must end the process.
    void this.#run(task, address, abort.signal, this.#reign);
  }

  /** How much of a file each live worker holds; null when a block of it is nowhere. */
  #heldBytes(
    { blocks }: PersistTask,
    live: ReadonlyMap<WorkerId, WorkerNetAddress>,
  ): Map<WorkerId, number> | null {
    if (blocks.length === 0) return new Map([...live.keys()].map((id) => [id, 0]));
    const held = new Map<WorkerId, number>();
    for (const { blockId, lengthBytes } of blocks) {
      let isSomewhere = false;
      for (const { workerId } of this.#blocks.locationsOf(blockId)) {
        if (!live.has(workerId)) continue;
        isSomewhere = true;
        held.set(workerId, (held.get(workerId) ?? 0) + lengthBytes);
      }
      if (!isSomewhere) return null;
    }
    return held;
  }

  /** Of the live workers with a hand free, the one that holds most of the file; of equals, the one that writes least. */
  #pickWorker(task: PersistTask, live: ReadonlyMap<WorkerId, WorkerNetAddress>): WorkerId | null {
    const held = this.#heldBytes(task, live);
    if (held === null) return null;
    const busy = new Map<WorkerId, number>();
    for (const { workerId } of this.#running.values()) {
      busy.set(workerId, (busy.get(workerId) ?? 0) + 1);
    }
    let best: { readonly id: WorkerId; readonly bytes: number; readonly count: number } | null =
      null;
    for (const [id, bytes] of held) {
      const count = busy.get(id) ?? 0;
      if (count >= this.#options.perWorkerMax) continue;
      const isBetter =
        best === null || bytes > best.bytes || (bytes === best.bytes && count < best.count);
      if (isBetter) best = { id, bytes, count };
    }
    return best === null ? null : best.id;
  }

  async #run(
    task: PersistTask,
    worker: WorkerNetAddress,
    signal: AbortSignal,
    reign: number,
  ): Promise<void> {
    const { fileId, ufsTempPath: tempUfsPath } = task;
    try {
      const writing = this.#control.persistFile(worker, task, signal);
      const written = await untilAborted(writing, signal).catch((error: unknown) => {
        if (reign === this.#reign) this.#noteFailure(fileId, error);
        throw error;
      });
      if (reign !== this.#reign) return;
      checkLength(task, written.lengthBytes);
      await this.#queue.persisted(fileId, { ...written, tempUfsPath });
      if (reign !== this.#reign) return;
      this.#retries.delete(fileId);
      this.#onEvent({ kind: "filePersisted", fileId, lengthBytes: written.lengthBytes });
    } catch (error) {
      if (error instanceof InvariantError) throw error;
      if (reign !== this.#reign) return;
      this.#failed(fileId, error);
    }
    this.#running.delete(fileId);
    this.#pump();
  }

  #failed(fileId: InodeId, error: unknown): void {
    if (isRockpoolError(error, "NOT_FOUND") && this.#isGone(fileId)) {
      this.#retries.delete(fileId);
      this.#onEvent({ kind: "persistObsolete", fileId });
      return;
    }
    const attempts = (this.#retries.get(fileId)?.attempts ?? 0) + 1;
    const retryInMs = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** (attempts - 1));
    if (this.#retries.has(fileId) || this.#retries.size < RETRIES_MAX) {
      const dueMs = this.#world.clock.monotonicMs() + retryInMs;
      const workerId = this.#running.get(fileId)?.workerId;
      this.#retries.set(fileId, { attempts, dueMs, seenInRound: this.#round, workerId });
    }
    const reason = messageOf(error);
    this.#onEvent({ kind: "persistFailed", fileId, attempts, retryInMs, reason });
  }

  /** NOT_FOUND may also mean that the worker lost a block: only the queue tells. */
  #isGone(fileId: InodeId): boolean {
    const before = (fileId - 1n) as InodeId; // the id just before, whether or not it is somebody's
    const [next] = this.#queue.pending(1, before);
    return next?.fileId !== fileId;
  }
}

/** A short file in the under store would pass for the whole one. */
function checkLength(task: PersistTask, lengthBytes: number): void {
  const expected = task.blocks.reduce((sum, block) => sum + block.lengthBytes, 0);
  if (lengthBytes === expected) return;
  throw new RockpoolError(
    "DATA_LOSS",
    `The worker wrote ${lengthBytes} of the ${expected} bytes of file ${task.fileId} to ${task.ufsTempPath}`,
    "Nothing was moved into place; look at the worker's log if it happens again",
  );
}

/** Settles as `work` does, or rejects with the signal's reason as soon as it aborts. */
function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  return Promise.race([work, aborted]);
}
