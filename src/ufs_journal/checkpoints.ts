/**
 * Keeps the log on a shared store small, and brings a state back that is too old for it: checkpoints, which the leader makes and everybody
 * may begin from; merging of single objects; trimming behind the last checkpoint but one.
 *
 * A checkpoint is made and checked in a local folder, and goes to the store as a whole. What fails in the background is told, and tried again later:
 * the log goes on without.
 * @module
 */
import { messageOf, RockpoolError } from "../common/errors.ts";
import type { LogIndex, Term } from "../common/ids.ts";
import { type Manifest, sealCheckpoint, verifyCheckpoint } from "../journal/checkpoint_file.ts";
import type { JournalFileSystem } from "../journal/file_system.ts";
import {
  type Failed,
  type FromThread,
  type InstallFailed,
  type JournalEvent,
  plainError,
} from "../journal/journal_protocol.ts";
import type { StatePosition } from "../journal/journal_system.ts";
import type { Crc32c } from "../journal/record.ts";
import type { LogStore } from "../ufs/log_store.ts";
import type { World } from "../world/ports.ts";
import type { UfsLog } from "./ufs_log.ts";

/** The log has no members: who takes part is ZooKeeper's to know. */
const NOBODY = { voters: [], learners: [], addresses: new Map() };
const RETRY_MS = 60_000;
const MERGE_BYTES_MAX = 8 * 1024 * 1024;
/** More only wait to be trimmed. */
const STARTS_MAX = 100_000;

export type MergeLimits = {
  /** Standbys that are not further behind read single objects. */
  readonly lag: number;
  readonly countMin: number;
};
const MERGE_LIMITS: MergeLimits = { lag: 64, countMin: 256 };
/** Fewer new entries are replayed in no time. */
const TIMED_ENTRIES_MIN = 1000;

export type CheckpointsOptions = {
  readonly log: UfsLog;
  readonly store: LogStore;
  readonly groupId: bigint;
  readonly crc32c: Crc32c;
  readonly world: World;
  readonly fileSystem: JournalFileSystem;
  /** Local; for images on their way. It is made when there is none. */
  readonly workFolder: string;
  /** A checkpoint is made after so many commands, or after `intervalMs` if there were some. */
  readonly entries: number;
  readonly intervalMs: number;
  readonly post: (message: FromThread) => void;
  readonly merging?: MergeLimits;
};

export type Installed = {
  readonly position: StatePosition | null;
  readonly failure: RockpoolError | null;
};

export class Checkpoints {
  readonly #options: CheckpointsOptions;
  #commandCount = 0;
  #madeMs: number;
  #notBeforeMs = Number.NEGATIVE_INFINITY;
  #making: Promise<StatePosition> | null = null;
  #merging = false;
  /** Where single objects of this reign begin, which are not merged. */
  #starts: LogIndex[] = [];
  #epoch: Term = 0;
  #onWritten: ((outcome: StatePosition | Failed) => void) | null = null;
  #onInstalled: ((outcome: StatePosition | InstallFailed) => void) | null = null;

  constructor(options: CheckpointsOptions) {
    this.#options = options;
    this.#madeMs = options.world.clock.monotonicMs();
  }

  /** Removes what an earlier process left on its way. */
  begin(): void {
    const { fileSystem, workFolder } = this.#options;
    fileSystem.makeFolderSync(workFolder);
    for (const name of fileSystem.listSync(workFolder))
      fileSystem.removeSync(`${workFolder}/${name}`);
  }

  written(outcome: StatePosition | Failed): void {
    this.#onWritten?.(outcome);
    this.#onWritten = null;
  }

  installed(outcome: StatePosition | InstallFailed): void {
    this.#onInstalled?.(outcome);
    this.#onInstalled = null;
  }

  applied(commandCount: number): void {
    this.#commandCount += commandCount;
  }

  #event(event: JournalEvent): void {
    this.#options.post({ kind: "event", event });
  }

  #nowMs(): number {
    return this.#options.world.clock.monotonicMs();
  }

  // — the leader's chores —

  /** A reign begins, with its fence. */
  reigns(epoch: Term, fence: LogIndex): void {
    this.#epoch = epoch;
    this.#starts = [fence];
  }

  /** The leader has made an object; begins in the background what is due. */
  appended(first: LogIndex, end: LogIndex): void {
    this.#starts.push(first);
    if (this.#starts.length > STARTS_MAX) this.#starts.splice(0, STARTS_MAX / 2);
    this.tend(end);
  }

  /** Begins in the background what is due. Of the leader only. */
  tend(end: LogIndex): void {
    const nowMs = this.#nowMs();
    if (nowMs < this.#notBeforeMs) return;
    const { entries, intervalMs, log, merging = MERGE_LIMITS } = this.#options;
    const isLate = nowMs - this.#madeMs >= intervalMs && this.#commandCount >= TIMED_ENTRIES_MIN;
    if (this.#making === null && (this.#commandCount >= entries || isLate))
      this.make().catch(() => {}); // It has told of its failure, and is due again.
    if (this.#merging || this.#starts.length < merging.countMin) return;
    const before = log.passedBefore(end - merging.lag);
    // The last one may reach behind.
    const count = this.#starts.findLastIndex((start) => start < before);
    if (count >= merging.countMin) void this.#merge(this.#starts.slice(0, count)); // It tells of its failure.
  }

  async #merge(starts: readonly LogIndex[]): Promise<void> {
    const { log } = this.#options;
    const epoch = this.#epoch;
    this.#merging = true;
    try {
      const limits = { epoch, bytesMax: MERGE_BYTES_MAX };
      const { merged, superfluous } = await log.merge(starts, limits);
      const lastStart = merged.at(-1) ?? starts[0] ?? 0;
      // One that is gone was trimmed: the next time begins behind it.
      if (this.#epoch === epoch) this.#starts = this.#starts.filter((start) => start > lastStart);
      await log.removeMerged(superfluous);
      if (merged.length > 0)
        this.#event({ kind: "logMerged", count: merged.length, lastIndex: lastStart });
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#merging = false;
    }
  }

  #failed(error: unknown): void {
    this.#notBeforeMs = this.#nowMs() + RETRY_MS;
    const { message, remedy } = plainError(error);
    this.#event({ kind: "checkpointFailed", message, remedy });
  }

  // — making —

  /**
   * Makes one now, or joins the one that is being made; trims behind the one before it.
   * @throws RockpoolError what the state or the store says
   */
  make(): Promise<StatePosition> {
    this.#making ??= this.#make()
      .catch((error: unknown) => {
        this.#failed(error);
        throw error;
      })
      .finally(() => {
        this.#making = null;
      });
    return this.#making;
  }

  async #make(): Promise<StatePosition> {
    const { log, store, workFolder, fileSystem, groupId, crc32c, post } = this.#options;
    const beganMs = this.#nowMs();
    const path = `${workFolder}/image.making`;
    const countBefore = this.#commandCount;
    try {
      const outcome = await new Promise<StatePosition | Failed>((resolve) => {
        this.#onWritten = resolve;
        post({ kind: "writeImage", path });
      });
      if ("failed" in outcome) {
        const { status, message, remedy } = outcome.failed;
        throw new RockpoolError(status, message, remedy);
      }
      const { index, term } = outcome;
      const file = fileSystem.openSync(path, "readWrite");
      let sizeBytes = 0;
      try {
        await sealCheckpoint(file, groupId, { index, term, membership: NOBODY }, crc32c);
        sizeBytes = file.sizeSync();
      } finally {
        file.close();
      }
      // One that is there is of the same state.
      const name = log.checkpointName(index);
      await store.createFromFile(name, path);
      this.#commandCount -= countBefore;
      this.#madeMs = this.#nowMs();
      const made = { path: `${store.uri}/${name}`, index, sizeBytes };
      this.#event({ kind: "checkpointMade", ...made, tookMs: this.#madeMs - beganMs });
      // It is made, whatever becomes of what it makes superfluous.
      await this.#trim().catch((error: unknown) => this.#failed(error));
      return outcome;
    } finally {
      fileSystem.removeSync(path);
    }
  }

  async #trim(): Promise<void> {
    const { log } = this.#options;
    const { checkpoints } = await log.horizon();
    const older = checkpoints.at(-2);
    if (older === undefined) return;
    await log.trim(older);
    const passed = log.passedBefore(older);
    this.#starts = this.#starts.filter((start) => start >= passed);
  }

  // — installing —

  /**
   * Replaces the state by the newest checkpoint that is sound and newer than `newerThan`.
   * @returns where the state stands then, and why it could not be replaced; without a position nothing was tried
   * @throws what the store says
   */
  async install(newerThan: LogIndex): Promise<Installed> {
    const { log } = this.#options;
    const { checkpoints } = await log.horizon();
    const usable = checkpoints.filter((index) => index > newerThan).reverse();
    let isDamaged = false;
    for (const index of usable) {
      const installed = await this.#installOne(index);
      if (installed === "damaged") isDamaged = true;
      else if (installed !== "gone") return installed;
    }
    const { uri } = this.#options.store;
    const failure = isDamaged
      ? new RockpoolError(
          "DATA_LOSS",
          `No sound checkpoint behind entry ${newerThan} of the journal is left in ${uri}`,
          "Bring one back from a copy of the store, or restore the newest backup into a freshly formatted journal",
        )
      : new RockpoolError(
          "UNAVAILABLE",
          `Listings of ${uri} do not show the checkpoint behind entry ${newerThan} of the journal`,
          "It is tried again; if this goes on, look whether objects in checkpoint/ were removed by hand",
        );
    return { position: null, failure };
  }

  async #installOne(index: LogIndex): Promise<Installed | "damaged" | "gone"> {
    const { log, store, workFolder, fileSystem, post } = this.#options;
    const beganMs = this.#nowMs();
    const path = `${workFolder}/image.incoming`;
    fileSystem.removeSync(path);
    try {
      const name = log.checkpointName(index);
      if (!(await store.readToFile(name, path))) return "gone";
      const manifest = await this.#verified(path, name);
      if (manifest === null) return "damaged";
      const { imageBytes } = manifest;
      const outcome = await new Promise<StatePosition | InstallFailed>((resolve) => {
        this.#onInstalled = resolve;
        post({ kind: "installImage", path, imageBytes });
      });
      if ("failed" in outcome) {
        const { status, message, remedy } = outcome.failed;
        return { position: outcome.position, failure: new RockpoolError(status, message, remedy) };
      }
      const tookMs = this.#nowMs() - beganMs;
      this.#event({ kind: "checkpointInstalled", index, tookMs });
      return { position: outcome, failure: null };
    } finally {
      fileSystem.removeSync(path);
    }
  }

  async #verified(path: string, name: string): Promise<Manifest | null> {
    const { fileSystem, crc32c, groupId, store } = this.#options;
    const file = fileSystem.openSync(path, "read");
    try {
      const manifest = await verifyCheckpoint(file, path, crc32c);
      if (manifest.groupId === groupId) return manifest;
      throw new RockpoolError("DATA_LOSS", "It is another journal's");
    } catch (error) {
      const why = messageOf(error);
      this.#event({ kind: "checkpointDamaged", path: `${store.uri}/${name}`, why });
      return null;
    } finally {
      file.close();
    }
  }
}
