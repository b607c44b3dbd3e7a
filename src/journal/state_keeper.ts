/**
 * Checkpoints of the state: when they are made, and when one replaces the state. The state itself is the main thread's,
 * which is asked for images and told to install them; one thing at a time.
 *
 * - One is made after so many entries, or, if there were some, after a while; every member by itself, and not all at the
 *   same moment. Without room on the disk it is tried again later: a checkpoint is never worth a master.
 * - Two are kept. Behind the older one the log may be trimmed: if the newer one is found damaged, nothing is missing.
 * - At the start a state that is older than the newest sound checkpoint was lost, or a crash came between the arrival of a
 *   checkpoint and its installation. Either way that checkpoint is installed.
 * @module
 */
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import type { LogIndex } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import { decodeMembership } from "../raft/membership.ts";
import type { Membership, Snapshot } from "../raft/messages.ts";
import type { World } from "../world/ports.ts";
import type { Checkpoint, CheckpointStore } from "./checkpoint_store.ts";
import {
  type CheckpointEvent,
  type Failed,
  type FromThread,
  type InstallFailed,
  type PlainError,
  plainError,
} from "./journal_protocol.ts";
import type { StatePosition } from "./journal_system.ts";
import { isNoSpace } from "./wal_failure.ts";

/** Fewer new entries are replayed in no time. */
const TIMED_ENTRIES_MIN = 1000;
/** The share of the entries, or of the time, by which one member may be later than another. */
const JITTER = 0.25;
const RETRY_MS = 60_000;
const INSTALL_RETRY_MS = 5000;

export type StateKeeperOptions = {
  readonly store: CheckpointStore;
  readonly world: World;
  /** In force as long as the state knows no config entry; nobody where the founders are not known. */
  readonly founders: Membership;
  readonly checkpointEntries: number;
  readonly checkpointIntervalMs: number;
  readonly post: (message: FromThread) => void;
  readonly onEvent: (event: CheckpointEvent) => void;
  /** The checkpoints on the disk are others than before. */
  readonly onNews: () => void;
  /** The entry behind which the log begins. */
  readonly logBegin: () => LogIndex;
  /** The state stands there now, and what was sent to it and not applied is void: it was replaced, or was to be. */
  readonly onRestart: (position: StatePosition) => void;
};

type Outcome = StatePosition | Failed;

export class StateKeeper {
  readonly #options: StateKeeperOptions;
  #applied: LogIndex = 0;
  /** Since the last checkpoint was begun, or one was installed. */
  #commandCount = 0;
  #madeMs: number;
  #notBeforeMs = Number.NEGATIVE_INFINITY;
  #lateness: number;
  #making: Promise<StatePosition> | null = null;
  #installing: Promise<StatePosition> | null = null;
  #onWritten: ((outcome: Outcome) => void) | null = null;
  #onInstalled: ((outcome: StatePosition | InstallFailed) => void) | null = null;
  #isClosed = false;
  #refusal: RockpoolError | null = null;

  constructor(options: StateKeeperOptions) {
    this.#options = options;
    this.#madeMs = options.world.clock.monotonicMs();
    this.#lateness = this.#chance();
  }

  #chance(): number {
    return (this.#options.world.random.uint32() / 0x1_0000_0000) * JITTER;
  }

  /** What can be given to a peer. */
  snapshot(): Snapshot | null {
    return this.#options.store.newest()?.snapshot ?? null;
  }

  /** Why a checkpoint that is newer than the state did not replace it at the start; null for none. */
  get refusal(): RockpoolError | null {
    return this.#refusal;
  }

  /** Nothing may be applied. */
  get isInstalling(): boolean {
    return this.#installing !== null;
  }

  written(outcome: Outcome): void {
    this.#onWritten?.(outcome);
    this.#onWritten = null;
  }

  installed(outcome: StatePosition | InstallFailed): void {
    this.#onInstalled?.(outcome);
    this.#onInstalled = null;
  }

  close(): void {
    this.#isClosed = true;
  }

  // — making —

  /** @param commandCount of those that were applied since the last time: an entry may hold many */
  applied(index: LogIndex, commandCount = 0): void {
    this.#applied = Math.max(this.#applied, index);
    this.#commandCount += commandCount;
  }

  /** Begins a checkpoint when one is due. */
  tick(nowMs: number): void {
    if (this.#making !== null || this.#installing !== null || nowMs < this.#notBeforeMs) return;
    const { checkpointEntries, checkpointIntervalMs } = this.#options;
    const entries = Math.max(this.#applied - (this.snapshot()?.index ?? 0), this.#commandCount);
    const factor = 1 + this.#lateness;
    const isLate = nowMs - this.#madeMs >= checkpointIntervalMs * factor;
    // Of a log that was cut behind the state nothing older can be given to a peer that lags: it needs a checkpoint.
    const isLacking = this.#options.logBegin() > (this.snapshot()?.index ?? 0);
    const isDue =
      isLacking || entries >= checkpointEntries * factor || (isLate && entries > TIMED_ENTRIES_MIN);
    if (!isDue) return;
    // It has told of its failure; the next try comes by itself.
    this.make().catch((error) => {
      if (!isRockpoolError(error)) throw error;
    });
  }

  /**
   * Makes one now, or joins the one that is being made.
   * @throws RockpoolError RESOURCE_EXHAUSTED without room; FAILED_PRECONDITION before this master is a member
   */
  make(): Promise<StatePosition> {
    const before = this.#commandCount;
    this.#making ??= this.#make().finally(() => {
      // Of one that failed, too: `applied` and the newest snapshot tell how late it is.
      this.#commandCount = Math.max(0, this.#commandCount - before);
      this.#making = null;
      const { clock } = this.#options.world;
      this.#madeMs = clock.monotonicMs();
      this.#lateness = this.#chance();
    });
    return this.#making;
  }

  async #make(): Promise<StatePosition> {
    const { store, world, onEvent } = this.#options;
    await this.#installing;
    const beganMs = world.clock.monotonicMs();
    const path = store.makingPath(this.#applied);
    try {
      await store.discard(path);
      const position = await this.#writeImage(path);
      const membership = this.#membershipAt(position);
      const newest = store.newest();
      if (newest !== null && newest.snapshot.index >= position.index) {
        await store.discard(path);
        return position;
      }
      const { index, term } = position;
      const { path: finalPath, sizeBytes } = await store.seal(path, { index, term, membership });
      const tookMs = Math.round(world.clock.monotonicMs() - beganMs);
      onEvent({ kind: "checkpointMade", path: finalPath, index, sizeBytes, tookMs });
      await store.prune();
      if (!this.#isClosed) this.#options.onNews();
      return position;
    } catch (error) {
      throw await this.#failed(path, error);
    }
  }

  #writeImage(path: string): Promise<StatePosition> {
    return new Promise((resolve, reject) => {
      this.#onWritten = (outcome) => {
        if ("failed" in outcome) reject(errorOf(outcome));
        else resolve(outcome);
      };
      this.#options.post({ kind: "writeImage", path });
    });
  }

  #membershipAt({ index, membership }: StatePosition): Membership {
    const found = membership === null ? this.#options.founders : decodeMembership(membership);
    if (found.voters.length > 0 && index > 0) return found;
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      "There is nothing to make a checkpoint of: no entry was applied under a known membership",
      "Try again once this master has joined the others",
    );
  }

  async #failed(path: string, error: unknown): Promise<RockpoolError> {
    const { store, world, onEvent } = this.#options;
    this.#notBeforeMs = world.clock.monotonicMs() + RETRY_MS;
    const told = isRockpoolError(error) ? error : failureOf(error, path);
    if (this.#isClosed) return told;
    onEvent({ kind: "checkpointFailed", message: told.message, remedy: told.remedy });
    try {
      await store.discard(path);
    } catch (cause) {
      const { message, remedy } = failureOf(cause, path);
      onEvent({ kind: "checkpointFailed", message, remedy });
    }
    return told;
  }

  // — installing —

  /**
   * Before the log is opened: brings a state that is behind the newest sound checkpoint up to it. One that another build wrote is
   * left where it is, for that build: an older one, or the log alone, may do.
   * @returns where the state stands then
   */
  async restore(position: StatePosition): Promise<StatePosition> {
    const { store, onEvent } = this.#options;
    this.applied(position.index);
    for (let before = Number.POSITIVE_INFINITY; ; ) {
      const checkpoint = await store.newestSound(position.index, before);
      if (checkpoint === null) return position;
      try {
        return await this.install(checkpoint);
      } catch (error) {
        if (!isRockpoolError(error, "FAILED_PRECONDITION")) throw error;
        this.#refusal ??= error;
        onEvent({ kind: "checkpointFailed", message: error.message, remedy: error.remedy });
        before = checkpoint.snapshot.index;
      }
    }
  }

  /**
   * Makes sure that a checkpoint holds everything through an entry that the state holds.
   * @throws RockpoolError when none can be made
   */
  async secure(index: LogIndex): Promise<void> {
    if ((await this.#options.store.newestSound(index - 1)) !== null) return;
    try {
      const made = await this.make();
      // It was being made already, of an earlier moment.
      if (made.index < index) await this.make();
    } catch (error) {
      if (!isRockpoolError(error)) throw error;
      throw new RockpoolError(
        error.status,
        `The log is damaged, and before it may begin behind the state that one needs a checkpoint: ${error.message}`,
        "Nothing is lost. Make room and check the disks of the journal and of the metadata, then start this master again",
        { cause: error },
      );
    }
  }

  /** Replaces the state. @throws RockpoolError FAILED_PRECONDITION for an image of a version that is not known */
  install(checkpoint: Checkpoint): Promise<StatePosition> {
    invariant(this.#installing === null, "one checkpoint is installed at a time");
    const installing = this.#install(checkpoint).finally(() => {
      this.#installing = null;
    });
    this.#installing = installing;
    return installing;
  }

  async #install({ path, imageBytes, snapshot }: Checkpoint): Promise<StatePosition> {
    const { world, onEvent, onRestart } = this.#options;
    const beganMs = world.clock.monotonicMs();
    if (this.#making !== null) await Promise.allSettled([this.#making]);
    for (;;) {
      const outcome = await new Promise<StatePosition | InstallFailed>((resolve) => {
        this.#onInstalled = resolve;
        this.#options.post({ kind: "installImage", path, imageBytes });
      });
      const error = "failed" in outcome ? errorOf(outcome) : null;
      const position = "failed" in outcome ? outcome.position : outcome;
      // Also when what failed came after that: it stands in a checkpoint that is durable.
      if (position.index === snapshot.index) {
        this.#applied = position.index;
        this.#commandCount = 0;
        onRestart(position);
        const tookMs = Math.round(world.clock.monotonicMs() - beganMs);
        onEvent({ kind: "checkpointInstalled", index: position.index, tookMs });
        return position;
      }
      invariant(error !== null, "an image holds the position of its manifest");
      const isTriedAgain = "isNoSpace" in outcome && outcome.isNoSpace;
      if (isTriedAgain) {
        onEvent({ kind: "checkpointFailed", message: error.message, remedy: error.remedy });
        await new Promise<void>((resolve) => {
          world.timers.after(INSTALL_RETRY_MS, resolve);
        });
      }
      if (!isTriedAgain || this.#isClosed) {
        onRestart(position);
        throw error;
      }
    }
  }
}

/** What the main thread says when it could not do what was asked. */
export function failed(error: unknown): Failed {
  return { failed: plainError(error), isNoSpace: isNoSpace(error) };
}

function errorOf({
  failed: { status, message, remedy },
  isNoSpace: isFull,
}: Failed): RockpoolError {
  if (status !== "INTERNAL") return new RockpoolError(status, message, remedy);
  const plain: PlainError = {
    status: isFull ? "RESOURCE_EXHAUSTED" : "INTERNAL",
    message: `The state could not be copied: ${message}`,
    remedy: isFull
      ? "Free space on the disk of the journal; it is tried again by itself"
      : "Check the disks of the journal and of the metadata",
  };
  return new RockpoolError(plain.status, plain.message, plain.remedy);
}

function failureOf(error: unknown, path: string): RockpoolError {
  const isFull = isNoSpace(error);
  return new RockpoolError(
    isFull ? "RESOURCE_EXHAUSTED" : "INTERNAL",
    `The checkpoint ${path} could not be made: ${error instanceof Error ? error.message : String(error)}`,
    isFull
      ? "Free space on the disk of the journal; it is tried again by itself"
      : "Check the disk of the journal; it is tried again by itself",
    { cause: error },
  );
}
