/**
 * Whether a block's file is safe without the block: in the under store, or gone. The leading master says so.
 *
 * A block may be the only copy of acknowledged bytes, so only a clear answer counts, and silence keeps the block. Answers
 * that can still change are remembered for a short while, and so is that no master answers: a full tier must not
 * become a storm of questions, nor each writer wait for masters that are away.
 * @module
 */
import { isRockpoolError } from "../common/errors.ts";
import type { BlockId, InodeId } from "../common/ids.ts";
import { fileIdOfBlock } from "../common/ids.ts";
import type { FileInfo } from "../proto/gen/file_system_master.ts";
import { FileSystemMasterWorkerService } from "../proto/gen/file_system_master.ts";
import type { Clock, Timers } from "../world/ports.ts";
import type { LeaderCalls } from "./worker_api.ts";

/** "safe": never undone. "needed": may change; "persisting": will, soon. "unknown": nobody could be asked. */
export type FileState = "safe" | "needed" | "persisting" | "unknown";

/** What eviction asks. */
export interface FileStatePort {
  /** One answer for each block, in order; never rejects. */
  ask(blockIds: readonly BlockId[]): Promise<readonly FileState[]>;
}

/** Files that are not persisted are asked about again after this: a client that was refused tries again about then. */
export const NEEDED_TTL_MS = 3_000;
/** The same of files that are on their way to the under store. */
export const PERSISTING_TTL_MS = 500;
/** A leader that leads answers within milliseconds; a writer waits no longer to hear that there is no room. */
const ANSWER_MAX_MS = 2_000;
/** After a silence nobody is asked for so long. */
const SILENCE_TTL_MS = 2_000;
/** Questions on their way to the master. */
const PARALLEL = 16;
/** Bounds memory only. */
const REMEMBERED_MAX = 10_000;

export class FileStates implements FileStatePort {
  readonly #calls: LeaderCalls;
  readonly #clock: Clock;
  readonly #timers: Timers;
  /** Shared by all who ask at the same time. */
  readonly #asking = new Map<InodeId, Promise<FileState>>();
  /** Until when a file counts as what it was called last; the oldest first. */
  readonly #needed = new Map<
    InodeId,
    { readonly state: "needed" | "persisting"; readonly untilMs: number }
  >();
  #silentUntilMs = -Infinity;

  constructor(deps: {
    readonly calls: LeaderCalls;
    readonly clock: Clock;
    readonly timers: Timers;
  }) {
    this.#calls = deps.calls;
    this.#clock = deps.clock;
    this.#timers = deps.timers;
  }

  /** The file may just have become persisted: the next question goes to the master. */
  forget(fileId: InodeId): void {
    this.#needed.delete(fileId);
  }

  async ask(blockIds: readonly BlockId[]): Promise<readonly FileState[]> {
    const fileIds = blockIds.map(fileIdOfBlock);
    const answers = new Map<InodeId, FileState>();
    const queue = new Set(fileIds).values();
    const work = async () => {
      for (const fileId of queue) answers.set(fileId, await this.#stateOf(fileId));
    };
    await Promise.all(Array.from({ length: PARALLEL }, work));
    return fileIds.map((fileId) => answers.get(fileId) ?? "unknown");
  }

  #stateOf(fileId: InodeId): Promise<FileState> | FileState {
    const nowMs = this.#clock.monotonicMs();
    const remembered = this.#needed.get(fileId);
    if (remembered !== undefined && nowMs < remembered.untilMs) return remembered.state;
    if (nowMs < this.#silentUntilMs) return "unknown";
    const known = this.#asking.get(fileId);
    if (known !== undefined) return known;
    const asking = this.#find(fileId).finally(() => this.#asking.delete(fileId));
    this.#asking.set(fileId, asking);
    return asking;
  }

  async #find(fileId: InodeId): Promise<FileState> {
    try {
      const state = await this.#askLeader(fileId);
      if (state !== "safe") this.#remember(fileId, state);
      return state;
    } catch (error) {
      if (!isRockpoolError(error)) throw error;
      this.#silentUntilMs = this.#clock.monotonicMs() + SILENCE_TTL_MS;
      return "unknown";
    }
  }

  #remember(fileId: InodeId, state: "needed" | "persisting"): void {
    const ttlMs = state === "needed" ? NEEDED_TTL_MS : PERSISTING_TTL_MS;
    this.#needed.delete(fileId);
    this.#needed.set(fileId, { state, untilMs: this.#clock.monotonicMs() + ttlMs });
    for (const oldest of this.#needed.keys()) {
      if (this.#needed.size <= REMEMBERED_MAX) break;
      this.#needed.delete(oldest);
    }
  }

  async #askLeader(fileId: InodeId): Promise<Exclude<FileState, "unknown">> {
    const patience = new AbortController();
    const timer = this.#timers.after(ANSWER_MAX_MS, () => patience.abort());
    try {
      // A file that is renamed while the master looks for it can seem gone: what is not there twice is gone.
      for (let tries = 0; tries < 2; tries++) {
        const info = await this.#infoOf(fileId, patience.signal);
        if (info === null) continue;
        // Another file may have taken the path between the master's two looks.
        if (info.fileId !== fileId) return "needed";
        if (info.persistenceState === "PERSISTED") return "safe";
        return info.persistenceState === "TO_BE_PERSISTED" ? "persisting" : "needed";
      }
      return "safe";
    } finally {
      timer.cancel();
    }
  }

  /** Null when the master knows no such file. */
  async #infoOf(fileId: InodeId, signal: AbortSignal): Promise<Partial<FileInfo> | null> {
    try {
      const { fileInfo } = await this.#calls.unary(
        FileSystemMasterWorkerService.methods.GetFileInfo,
        { fileId },
        { signal },
      );
      return fileInfo ?? {};
    } catch (error) {
      if (isRockpoolError(error, "NOT_FOUND")) return null;
      throw error;
    }
  }
}
