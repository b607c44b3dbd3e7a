/**
 * Counts the namespace now and then: how many paths, blocks and lost files there are, and which files are cached whole.
 *
 * No counter is kept with the rows: a walk over them in small slices, with the loop let go between, costs some per cent
 * of a core while it lasts, and cannot drift from the truth. What it tells is as old as {@link CensusResult.atMs} says.
 * @module
 */
import { isRockpoolError } from "../common/errors.ts";
import type { BlockId, InodeId } from "../common/ids.ts";
import type { KeyValueReader } from "../kv/kv.ts";
import type { Clock, Timer, Timers } from "../world/ports.ts";
import { blockIdsOf } from "./file_blocks.ts";
import { type FileInode, idKey, inodeRow, TABLE } from "./inode.ts";

/** About two milliseconds of work. */
const SLICE_ROWS = 250;
const PAUSE_MS = 20;
const INTERVAL_MS = 30_000;
/** Ids of files cached whole that are kept for the list; the count goes on. */
const LISTED_MAX = 100_000;
/** A first answer, before there is a census. */
export const NO_CENSUS: CensusResult = {
  atMs: null,
  pathCount: 0,
  blockCount: 0,
  lostBlockCount: 0,
  lostFileCount: 0,
  pinnedCount: 0,
  fileBytes: 0,
  cachedFileCount: 0,
  cachedFileIds: [],
};

export type CensusResult = {
  /** Wall clock; null while there was none yet. */
  readonly atMs: number | null;
  /** Files and directories, the root included. */
  readonly pathCount: number;
  /** Blocks of complete files. */
  readonly blockCount: number;
  /** Those that no live worker has, of files that no under store has. */
  readonly lostBlockCount: number;
  readonly lostFileCount: number;
  readonly pinnedCount: number;
  readonly fileBytes: number;
  /** Files of which every block is on a live worker; empty files do not count. */
  readonly cachedFileCount: number;
  /** Their ids, in order; the first ones when there are very many. */
  readonly cachedFileIds: readonly InodeId[];
};

type Tally = { -readonly [K in keyof CensusResult]: CensusResult[K] } & {
  cachedFileIds: InodeId[];
};

export type CensusOptions = {
  readonly rows: KeyValueReader;
  readonly hasPlace: (blockId: BlockId) => boolean;
  /** Changes whenever a census might find something else. */
  readonly version: () => string;
  readonly clock: Clock;
  readonly timers: Timers;
};

export class Census {
  readonly #options: CensusOptions;
  #result: CensusResult = NO_CENSUS;
  #version: string | null = null;
  #timer: Timer | null = null;
  #running: Promise<void> | null = null;
  /** Somebody waits for the one that runs: it makes no pauses. */
  #isAwaited = false;
  #isStopped = false;

  constructor(options: CensusOptions) {
    this.#options = options;
  }

  /** The last one that was finished. */
  get result(): CensusResult {
    return this.#result;
  }

  start(): void {
    this.#scheduleIn(PAUSE_MS);
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  /** One that tells of this moment, or the last one when that takes too long. */
  async fresh(waitMs: number): Promise<CensusResult> {
    if (this.#version === this.#options.version()) return this.#result;
    this.#isAwaited = true;
    let late: Timer | undefined;
    const tooLate = new Promise<void>((resolve) => {
      late = this.#options.timers.after(waitMs, resolve);
    });
    await Promise.race([this.#run(), tooLate]);
    late?.cancel();
    return this.#result;
  }

  #scheduleIn(delayMs: number): void {
    if (this.#isStopped) return;
    this.#timer = this.#options.timers.after(delayMs, () => {
      const begunMs = this.#options.clock.monotonicMs();
      const work = this.#version === this.#options.version() ? Promise.resolve() : this.#run();
      void work.then(() => {
        const tookMs = this.#options.clock.monotonicMs() - begunMs;
        // One that takes long comes less often: it works a tenth of its time, and rests as long as it took.
        this.#scheduleIn(Math.max(INTERVAL_MS, tookMs));
      });
    });
  }

  #run(): Promise<void> {
    this.#running ??= this.#count()
      .catch((error: unknown) => {
        // The rows are being replaced, or the store was closed: the next one finds out.
        if (!isRockpoolError(error)) throw error;
      })
      .finally(() => {
        this.#running = null;
        this.#isAwaited = false;
      });
    return this.#running;
  }

  async #count(): Promise<void> {
    const { rows, version, clock } = this.#options;
    const begunAt = version();
    const tally: Tally = { ...NO_CENSUS, cachedFileIds: [] };
    let start = idKey(TABLE.inode, 0n);
    const end = new Uint8Array([TABLE.inode + 1]);
    for (;;) {
      let last: Uint8Array | null = null;
      for (const { key, value } of rows.range({ start, end, limit: SLICE_ROWS })) {
        last = key;
        const inode = inodeRow.decode(value);
        tally.pathCount += 1;
        if (inode.isPinned) tally.pinnedCount += 1;
        if (inode.kind === "file") this.#countFile(inode, tally);
      }
      if (last === null || this.#isStopped) break;
      start = new Uint8Array([...last, 0]);
      await this.#pause();
    }
    if (this.#isStopped) return;
    this.#version = begunAt;
    this.#result = { ...tally, atMs: clock.wallMs() };
  }

  #countFile(file: FileInode, tally: Tally): void {
    if (!file.isCompleted) return;
    const { hasPlace } = this.#options;
    const missing = blockIdsOf(file).filter((blockId) => !hasPlace(blockId)).length;
    tally.blockCount += file.blockCount;
    tally.fileBytes += file.lengthBytes;
    if (missing > 0 && file.persistence !== "PERSISTED") {
      tally.lostBlockCount += missing;
      tally.lostFileCount += 1;
    }
    if (missing > 0 || file.blockCount === 0) return;
    tally.cachedFileCount += 1;
    if (tally.cachedFileIds.length < LISTED_MAX) tally.cachedFileIds.push(file.id);
  }

  #pause(): Promise<void> {
    const { timers } = this.#options;
    return new Promise((resolve) => {
      if (this.#isAwaited) timers.soon(resolve);
      else timers.after(PAUSE_MS, resolve);
    });
  }
}
