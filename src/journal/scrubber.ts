/**
 * Reads the closed segments of a log again and again, one after the other, so that what rots is known while the other
 * masters, and the state, still hold it.
 *
 * Reads are asynchronous and of a MiB at a time. Only the batches count: of identities and descriptors there are others.
 * @module
 */
import type { LogIndex } from "../common/ids.ts";
import type { Timer } from "../world/ports.ts";
import type { JournalFile, JournalFileSystem } from "./file_system.ts";
import {
  BATCH_HEAD_BYTES,
  type BatchHead,
  type Crc32c,
  readBatchHeadAt,
  type SegmentIdentity,
} from "./record.ts";
import type { ScanStart } from "./segment_file.ts";
import type { WalOptions } from "./wal_options.ts";

const SLICE_BYTES = 1024 * 1024;

/** A segment that is written to no more, and the one after it. */
export type ClosedSegment = {
  readonly path: string;
  readonly identity: SegmentIdentity;
  readonly start: ScanStart;
  readonly next: SegmentIdentity;
};

/** Behind `after`, entries up to `through` cannot be read. */
export type Rot = {
  readonly offsetBytes: number;
  readonly after: LogIndex;
  readonly through: LogIndex;
};

/** Checks the batches of a segment. @returns null when all of them are sound */
export async function scrubSegment(
  file: JournalFile,
  { identity, start, next }: ClosedSegment,
  crc32c: Crc32c,
): Promise<Rot | null> {
  const slices = new Slices(file, identity.segmentBytes);
  let at = start.offsetBytes;
  let chain = start.previousChain;
  let after = identity.firstIndex - 1;
  for (let number = start.firstBatchNumber; number < next.firstBatchNumber; number++) {
    const rot = { offsetBytes: at, after, through: Math.max(after, next.firstIndex - 1) };
    const headBytes = await slices.read(at, BATCH_HEAD_BYTES);
    const head: BatchHead | null =
      headBytes && readBatchHeadAt(headBytes, 0, identity.incarnation, crc32c);
    if (head === null || head.batchNumber !== number || head.previousChain !== chain) return rot;
    const batch = await slices.read(at, BATCH_HEAD_BYTES + head.bodyBytes);
    if (batch === null || crc32c(batch.subarray(BATCH_HEAD_BYTES), chain) !== head.chain)
      return rot;
    at += batch.length;
    chain = head.chain;
    after = head.lastIndex;
  }
  return null;
}

/** A file in pieces, read ahead. */
class Slices {
  readonly #file: JournalFile;
  readonly #sizeBytes: number;
  #bytes = new Uint8Array(0);
  #start = 0;

  constructor(file: JournalFile, sizeBytes: number) {
    this.#file = file;
    this.#sizeBytes = sizeBytes;
  }

  /** @returns null when they cannot be read; the bytes hold until the next call */
  async read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array | null> {
    const end = offsetBytes + lengthBytes;
    if (end > this.#sizeBytes) return null;
    const isHere = offsetBytes >= this.#start && end <= this.#start + this.#bytes.length;
    if (!isHere && !(await this.#fill(offsetBytes, lengthBytes))) return null;
    return this.#bytes.subarray(offsetBytes - this.#start, end - this.#start);
  }

  async #fill(offsetBytes: number, lengthBytes: number): Promise<boolean> {
    const wanted = Math.max(lengthBytes, Math.min(SLICE_BYTES, this.#sizeBytes - offsetBytes));
    const bytes = new Uint8Array(wanted);
    try {
      const count = await this.#file.read(bytes, offsetBytes);
      this.#bytes = bytes.subarray(0, count);
      this.#start = offsetBytes;
      return count >= lengthBytes;
    } catch (error) {
      // The sector may lie behind what is asked for.
      if (!(error instanceof Error && "code" in error && error.code === "EIO")) throw error;
      return wanted > lengthBytes && this.#fillExactly(offsetBytes, lengthBytes);
    }
  }

  async #fillExactly(offsetBytes: number, lengthBytes: number): Promise<boolean> {
    const bytes = new Uint8Array(lengthBytes);
    try {
      this.#bytes = bytes.subarray(0, await this.#file.read(bytes, offsetBytes));
      this.#start = offsetBytes;
      return this.#bytes.length >= lengthBytes;
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EIO")) throw error;
      return false;
    }
  }
}

/** A file that is gone, or that the system does not let us read, is rotten as a whole. */
async function readAndCheck(
  fileSystem: JournalFileSystem,
  segment: ClosedSegment,
  crc32c: Crc32c,
): Promise<Rot | null> {
  const { identity, next } = segment;
  try {
    const file = fileSystem.openSync(segment.path, "read");
    try {
      return await scrubSegment(file, segment, crc32c);
    } finally {
      file.close();
    }
  } catch (error) {
    if (!(error instanceof Error && "code" in error)) throw error;
    const after = identity.firstIndex - 1;
    return { offsetBytes: 0, after, through: Math.max(after, next.firstIndex - 1) };
  }
}

/** One closed segment is read and checked this often. */
const SCRUB_INTERVAL_MS = 60_000;
const REMEDY =
  "Check the disk. The metadata store still holds those entries: make a checkpoint with `bin/rockpool journal checkpoint`, " +
  "so that the log begins behind them; or restart this master, which fetches what it lacks from the others";

export class Scrubber {
  readonly #options: WalOptions;
  readonly #closed: () => readonly ClosedSegment[];
  #timer: Timer | null = null;
  #running: Promise<void> = Promise.resolve();
  #isStopped = false;
  /** Sequence of the segment that was checked last. */
  #last = 0;
  readonly #rotten = new Set<number>();

  /** @param closed the closed segments of now, in order */
  constructor(options: WalOptions, closed: () => readonly ClosedSegment[]) {
    this.#options = options;
    this.#closed = closed;
    this.#schedule();
  }

  #schedule(): void {
    const { scrubIntervalMs: intervalMs = SCRUB_INTERVAL_MS, timers } = this.#options;
    if (intervalMs <= 0 || this.#isStopped) return;
    this.#timer = timers.after(intervalMs, () => {
      this.#timer = null;
      this.#running = this.checkNext().finally(() => this.#schedule());
    });
  }

  /** Checks the segment whose turn it is; those that were found rotten are left out. */
  async checkNext(): Promise<void> {
    const { fileSystem, crc32c, onEvent } = this.#options;
    const sound = this.#closed().filter(({ identity }) => !this.#rotten.has(identity.sequence));
    const segment = sound.find(({ identity }) => identity.sequence > this.#last) ?? sound[0];
    if (segment === undefined) return;
    const { sequence } = segment.identity;
    this.#last = sequence;
    const rot = await readAndCheck(fileSystem, segment, crc32c);
    if (rot === null || this.#isStopped) return;
    // It may have been trimmed while it was read.
    if (!this.#closed().some(({ identity }) => identity.sequence === sequence)) return;
    this.#rotten.add(sequence);
    onEvent({
      kind: "scrubFoundDamage",
      path: segment.path,
      offsetBytes: rot.offsetBytes,
      firstIndex: rot.after + 1,
      lastIndex: rot.through,
      remedy: REMEDY,
    });
  }

  /** Begins nothing more. */
  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  async close(): Promise<void> {
    this.stop();
    await this.#running;
  }
}
