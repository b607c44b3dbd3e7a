/**
 * The segment after the current one, filled with zeros in the background, so that no batch waits for it.
 *
 * When the disk has no room for it, that is told once and tried again whenever there seems to be room: the log goes on
 * in the segment that it has, and only the batch that needs the next one decides that there is no room.
 * @module
 */
import { join } from "node:path";
import type { Timer, Timers } from "../world/ports.ts";
import type { JournalFile, JournalFileSystem } from "./file_system.ts";
import { prepareSegment, segmentName } from "./segment_file.ts";
import { isNoSpace } from "./wal_failure.ts";

export type SpareSegmentOptions = {
  readonly fileSystem: JournalFileSystem;
  readonly folder: string;
  readonly segmentBytes: number;
  readonly timers: Timers;
  /** How long after a failure for lack of space the disk is asked for room. */
  readonly retryMs: number;
  readonly onNoSpace: (path: string) => void;
  /** Any other failure. */
  readonly onFailure: (error: unknown, path: string) => void;
};

export class SpareSegment {
  readonly #options: SpareSegmentOptions;
  #file: Promise<JournalFile> | null;
  /** Sequence that is prepared, or is to be; it only rises, since a segment in use must never be prepared again. */
  #wanted = 0;
  #isTold = false;
  #isClosed = false;
  #timer: Timer | null = null;

  /** @param ready the segment, when there is one already */
  constructor(options: SpareSegmentOptions, ready: JournalFile | null) {
    this.#options = options;
    this.#file = ready === null ? null : Promise.resolve(ready);
  }

  /** Prepares a segment unless one is there. Resolves when it is there or failed. */
  async prepare(sequence: number): Promise<void> {
    if (this.#file !== null || this.#isClosed) return;
    this.#wanted = sequence;
    const path = this.#pathOf(sequence);
    const file = this.#make(sequence);
    this.#file = file;
    try {
      await file;
      this.#isTold = false;
    } catch (error) {
      // The batch that needs it meets this failure, or tries anew, and decides.
      if (this.#file === file) this.#file = null;
      if (!isNoSpace(error)) this.#options.onFailure(error, path);
      else {
        if (!this.#isTold) this.#options.onNoSpace(path);
        this.#isTold = true;
        this.#retryLater(sequence);
      }
    }
  }

  #pathOf(sequence: number): string {
    return join(this.#options.folder, segmentName(sequence));
  }

  #make(sequence: number): Promise<JournalFile> {
    const { fileSystem, folder, segmentBytes } = this.#options;
    return prepareSegment(fileSystem, folder, sequence, segmentBytes);
  }

  #retryLater(sequence: number): void {
    if (this.#isClosed || this.#timer !== null) return;
    this.#timer = this.#options.timers.after(this.#options.retryMs, () => {
      this.#timer = null;
      void this.#retry(sequence); // It handles its own failures.
    });
  }

  async #retry(sequence: number): Promise<void> {
    const { fileSystem, folder, segmentBytes } = this.#options;
    try {
      const freeBytes = await fileSystem.freeBytes(folder);
      // Meanwhile a batch may have made it, and begun it.
      if (this.#wanted !== sequence || this.#file !== null) return;
      if (freeBytes >= segmentBytes) await this.prepare(sequence);
      else this.#retryLater(sequence);
    } catch (error) {
      this.#options.onFailure(error, this.#pathOf(sequence));
    }
  }

  /** The segment for the batch that needs it. It stays the spare one until `begun`. */
  take(sequence: number): Promise<JournalFile> {
    this.#file ??= this.#make(sequence);
    return this.#file;
  }

  /** The segment is in use: the next one is prepared. */
  async begun(sequence: number): Promise<void> {
    this.#file = null;
    this.#cancelRetry();
    await this.prepare(sequence + 1);
  }

  /** True once a segment is prepared; false when that failed. */
  async isReady(): Promise<boolean> {
    const [file] = await Promise.allSettled([this.#file]);
    return file.status === "fulfilled" && file.value !== null;
  }

  #cancelRetry(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelRetry();
    const [file] = await Promise.allSettled([this.#file]);
    if (file.status === "fulfilled") file.value?.close();
  }
}
