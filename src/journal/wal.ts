/**
 * The write-ahead log: Raft's term, vote and entries on disk, with group commit.
 *
 * - One write is in flight at a time. Whatever is appended meanwhile goes together as the next batch: one write, one
 *   fdatasync. No timer delays a batch.
 * - The descriptor of a batch rides on the next batch's fdatasync, or on one of its own when the log falls idle.
 * - A hard state that differs in its commit index only is not worth an fdatasync: it goes with the next batch or descriptor.
 * - Nothing is overwritten: a truncation is a record, and recovery follows it.
 * - A failed write or fdatasync is never repeated: what the kernel then believes to be on disk may not be there. Lack of
 *   space before anything was promised makes the log read-only; everything else is fatal.
 *
 * Formats: record.ts. Recovery: wal_recovery.ts. The reads that Raft asks for are synchronous: from memory when they are
 * new (the rule), else with a blocking read of the segment, which only a far lagging peer or a restart causes.
 * @module
 */
import { join } from "node:path";
import type { LogIndex, Term } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import { BATCH_BYTES_MAX, BATCH_ENTRIES_MAX } from "../common/limits.ts";
import type { Entry, HardState, Membership, RaftStorage } from "../raft/messages.ts";
import { EntryIndex, placeOf } from "./entry_index.ts";
import { type JournalFile, type JournalFileSystem, writeFully } from "./file_system.ts";
import { OldEntries } from "./old_entries.ts";
import {
  BATCH_HEAD_BYTES,
  type BatchDescriptor,
  batchBytes,
  type Crc32c,
  RECORD_HEADER_BYTES,
  recordBytes,
  type SegmentIdentity,
  type WalRecord,
  writeRecord,
} from "./record.ts";
import {
  dataOffsetOf,
  removeUnfinished,
  segmentName,
  writeDescriptor,
  writeIdentity,
} from "./segment_file.ts";
import { SpareSegment } from "./spare_segment.ts";
import { fatalFailure, WalError, type WalFailure, writeFailure } from "./wal_failure.ts";
import { type RecoveredWal, recoverWal, secureTail, type WalOwner } from "./wal_recovery.ts";

/**
 * How long the log is idle before the last batch's descriptor gets an fdatasync of its own: longer than one client takes
 * from one change to the next, so that no change has to wait for that fdatasync.
 */
const IDLE_MS = 50;
/** A disk that was full is asked for room this often. */
const SPARE_RETRY_MS = 5000;
const HARD_STATE_BYTES = RECORD_HEADER_BYTES + 8;

export type WalEvent =
  | {
      readonly kind: "tornTailDropped";
      readonly path: string;
      readonly offsetBytes: number;
      readonly lengthBytes: number;
      readonly lastIndex: LogIndex;
    }
  | { readonly kind: "segmentBegun"; readonly path: string; readonly firstIndex: LogIndex }
  | { readonly kind: "noSpaceForNextSegment"; readonly path: string };

export type WalOptions = {
  readonly fileSystem: JournalFileSystem;
  readonly folder: string;
  readonly owner: WalOwner;
  readonly membership: Membership;
  readonly crc32c: Crc32c;
  /** Of segments made from now on; older ones say their size themselves. */
  readonly segmentBytes: number;
  /** Payload bytes of durable entries that stay in memory for lagging peers and for apply. */
  readonly cacheBytesMax: number;
  /** How often a segment that found no room is tried again. */
  readonly spareRetryMs?: number;
  readonly onEvent: (event: WalEvent) => void;
  /** Called once; from then on nothing is written and no `done` is called. */
  readonly onFailure: (failure: WalFailure) => void;
};

type QueueItem =
  | { readonly kind: "entry"; readonly entry: Entry }
  | { readonly kind: "truncateFrom"; readonly index: LogIndex; readonly previousTerm: Term }
  | { readonly kind: "done"; readonly done: () => void; readonly mustWrite: boolean };

type Batch = {
  readonly items: readonly Exclude<QueueItem, { kind: "done" }>[];
  readonly callbacks: readonly (() => void)[];
  /** Of entries and truncations, without the hard state. */
  readonly recordsBytes: number;
  readonly mustWrite: boolean;
};

type Segment = {
  readonly file: JournalFile;
  readonly identity: SegmentIdentity;
  offsetBytes: number;
};

export class Wal implements RaftStorage {
  readonly membership: Membership;
  readonly #options: WalOptions;
  readonly #index: EntryIndex;
  readonly #old: OldEntries;
  #hardState: HardState;
  #writtenHardState: HardState | null = null;
  #queue: QueueItem[] = [];
  #truncationsQueued = 0;
  #current: Segment | null = null;
  readonly #spare: SpareSegment;
  #sequence = 0;
  #chain = 0;
  #batchNumber = 0;
  #descriptorSlot = 0;
  #descriptor: BatchDescriptor | null = null;
  /** Position of the log after the last batch that was composed. */
  #composed: { index: LogIndex; term: Term };
  #buffer = new Uint8Array(64 * 1024);
  #running: Promise<void> | null = null;
  #isKicked = false;
  #finished = 0;
  #state: "open" | "closing" | "failed" = "open";
  #idleTimer: ReturnType<typeof setTimeout> | null = null;

  constructor(options: WalOptions, index: EntryIndex, recovered: RecoveredWal) {
    this.#options = options;
    this.membership = options.membership;
    this.#index = index;
    this.#old = new OldEntries(options.fileSystem, options.folder, options.crc32c, index);
    this.#hardState = recovered.hardState;
    this.#composed = { index: index.lastIndex, term: index.lastTerm() };
    const identity = recovered.segments.at(-1);
    if (identity !== undefined && recovered.end !== null) {
      this.#sequence = identity.sequence;
      this.#chain = recovered.end.chain;
      this.#batchNumber = recovered.end.batchNumber;
      this.#descriptorSlot = recovered.end.batchNumber;
      const file = options.fileSystem.openSync(this.#pathOf(identity.sequence), "readWrite");
      this.#old.adopt(identity.sequence, file);
      this.#current = { file, identity, offsetBytes: recovered.end.lastBatchOffset };
      // Its descriptor may be missing.
      if (recovered.lastBatch.length > 0)
        this.#noteDurable(this.#current, recovered.lastBatch.length);
    }
    const spare =
      recovered.spare === null
        ? null
        : options.fileSystem.openSync(this.#pathOf(recovered.spare), "readWrite");
    this.#spare = new SpareSegment(
      {
        ...options,
        retryMs: options.spareRetryMs ?? SPARE_RETRY_MS,
        onNoSpace: (path) => options.onEvent({ kind: "noSpaceForNextSegment", path }),
        onFailure: (error, path) => this.#handle(writeFailure(error, path)),
      },
      spare,
    );
  }

  get hardState(): HardState {
    return this.#hardState;
  }

  firstIndex(): LogIndex {
    return this.#index.firstIndex;
  }

  lastIndex(): LogIndex {
    return this.#index.lastIndex;
  }

  /** Every entry up to here is on stable storage. */
  durableIndex(): LogIndex {
    return this.#index.durableIndex;
  }

  termOf(index: LogIndex): Term | undefined {
    return this.#index.termOf(index);
  }

  /** Sequence of the segment that is written to; 0 before the first write. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Changes with all that the disk finishes; null while it has nothing to do. */
  get progress(): number | null {
    return this.#running === null ? null : this.#finished;
  }

  #pathOf(sequence: number): string {
    return join(this.#options.folder, segmentName(sequence));
  }

  entries(from: LogIndex, to: LogIndex, bytesMax: number): readonly Entry[] {
    invariant(from >= this.firstIndex(), "entries that were trimmed are not asked for");
    invariant(to <= this.lastIndex() + 1, "entries after the last are not asked for");
    const found: Entry[] = [];
    let bytes = 0;
    for (let index = from; index < to; ) {
      const held = this.#index.held(index);
      const some = held !== undefined ? [held] : this.#readOld(index, to);
      for (const entry of some) {
        bytes += entry.payload.length;
        if (found.length > 0 && bytes > bytesMax) return found;
        found.push(entry);
      }
      index += some.length;
    }
    return found;
  }

  #readOld(from: LogIndex, to: LogIndex): readonly Entry[] {
    try {
      return this.#old.read(from, to);
    } catch (error) {
      if (error instanceof WalError) this.#failWith(error.failure);
      throw error;
    }
  }

  /**
   * Takes what Raft wants persisted. Entries are readable here at once; `done` is called when everything of this and
   * of earlier calls is durable, never from within this call.
   */
  append(hardState: HardState | null, entries: readonly Entry[], done: () => void): void {
    if (this.#state !== "open") return;
    let mustWrite = false;
    const committed = this.#hardState.commitIndex;
    if (hardState !== null) {
      const old = this.#hardState;
      invariant(hardState.term >= old.term, "the term never falls");
      mustWrite = hardState.term !== old.term || hardState.vote !== old.vote;
      this.#hardState = hardState;
    }
    const first = entries[0];
    if (first !== undefined && first.index <= this.#index.lastIndex) {
      invariant(first.index > committed, "committed entries are never replaced");
      this.#index.truncateFrom(first.index);
      const previousTerm = this.#index.lastTerm();
      this.#queue.push({ kind: "truncateFrom", index: first.index, previousTerm });
      this.#truncationsQueued += 1;
    }
    for (const entry of entries) {
      this.#index.append(entry);
      this.#queue.push({ kind: "entry", entry });
    }
    this.#queue.push({ kind: "done", done, mustWrite });
    this.#kick();
  }

  #kick(): void {
    if (this.#running !== null || this.#isKicked || this.#state !== "open") return;
    this.#isKicked = true;
    // At the end of the turn, so that everything appended in it makes one batch.
    queueMicrotask(() => {
      this.#isKicked = false;
      if (this.#running !== null || this.#state !== "open") return;
      if (this.#idleTimer !== null) clearTimeout(this.#idleTimer);
      this.#idleTimer = null;
      void this.#launch(this.#run());
    });
  }

  /** One piece of work on the disk at a time. It handles its own failures; what is left is a bug, and ends the process. */
  #launch(work: Promise<void>): Promise<void> {
    const running = work.finally(() => {
      this.#running = null;
      if (this.#queue.length > 0) this.#kick();
    });
    this.#running = running;
    return running;
  }

  async #run(): Promise<void> {
    try {
      while (this.#queue.length > 0 && this.#state === "open") {
        const batch = this.#take();
        const isWritten = batch.items.length > 0 || batch.mustWrite;
        if (isWritten) await this.#writeBatch(batch);
        // A failure or a close while the disk worked: what was promised to nobody stays so.
        if (this.#state !== "open") return;
        for (const done of batch.callbacks) done();
      }
      if (this.#state === "open") this.#armIdle();
    } catch (error) {
      this.#handle(error);
    }
  }

  #armIdle(): void {
    if (this.#descriptor === null || this.#idleTimer !== null) return;
    this.#idleTimer = setTimeout(() => {
      this.#idleTimer = null;
      if (this.#running !== null || this.#state !== "open") return;
      void this.#launch(this.#flushDescriptor());
    }, IDLE_MS);
  }

  async #flushDescriptor(): Promise<void> {
    const segment = this.#current;
    const write = this.#takeDescriptor();
    if (write === null || segment === null) return;
    try {
      await write;
      await this.#datasync(segment);
    } catch (error) {
      this.#handle(writeFailure(error, this.#pathOf(segment.identity.sequence)));
    }
  }

  /** Takes as much of the queue as one batch may hold. */
  #take(): Batch {
    const items: Exclude<QueueItem, { kind: "done" }>[] = [];
    const callbacks: (() => void)[] = [];
    const bytesMax = this.#batchBytesMax();
    let recordsBytes = 0;
    let mustWrite = false;
    let taken = 0;
    for (const item of this.#queue) {
      if (item.kind === "done") {
        callbacks.push(item.done);
        mustWrite ||= item.mustWrite;
      } else {
        const sizeBytes = recordBytes(item);
        const isFull = recordsBytes + sizeBytes > bytesMax || items.length >= BATCH_ENTRIES_MAX;
        if (items.length > 0 && isFull) break;
        items.push(item);
        if (item.kind === "truncateFrom") this.#truncationsQueued -= 1;
        recordsBytes += sizeBytes;
      }
      taken += 1;
    }
    this.#queue = taken === this.#queue.length ? [] : this.#queue.slice(taken);
    return { items, callbacks, recordsBytes, mustWrite };
  }

  #batchBytesMax(): number {
    const room = this.#options.segmentBytes - dataOffsetOf(this.#options.segmentBytes);
    return Math.min(BATCH_BYTES_MAX, Math.floor(room / 2));
  }

  async #writeBatch(batch: Batch): Promise<void> {
    const sizeBytes = batchBytes(batch.recordsBytes + HARD_STATE_BYTES);
    let segment = this.#current;
    let isNew = false;
    if (segment === null || segment.offsetBytes + sizeBytes > segment.identity.segmentBytes) {
      segment = await this.#roll();
      isNew = true;
    }
    const room = segment.identity.segmentBytes - segment.identity.dataOffset;
    invariant(sizeBytes <= room, "a batch fits into a segment");
    const isStateDue = isNew || this.#hardState !== this.#writtenHardState;
    const bytes = this.#encode(batch, isStateDue, segment);
    const descriptor = this.#takeDescriptor();
    const results = await Promise.allSettled([
      writeFully(segment.file, bytes, segment.offsetBytes),
      descriptor,
    ]);
    for (const result of results)
      if (result.status === "rejected")
        throw writeFailure(result.reason, this.#pathOf(segment.identity.sequence));
    await this.#datasync(segment);
    this.#noteDurable(segment, bytes.length);
  }

  /** A pad is never cut short, so the size computed with a hard state holds without one too. */
  #encode(batch: Batch, isStateDue: boolean, segment: Segment): Uint8Array {
    const { crc32c } = this.#options;
    const stateBytes = isStateDue ? HARD_STATE_BYTES : 0;
    const sizeBytes = batchBytes(batch.recordsBytes + stateBytes);
    if (this.#buffer.length < sizeBytes) this.#buffer = new Uint8Array(sizeBytes);
    const bytes = this.#buffer.subarray(0, sizeBytes);
    let at = BATCH_HEAD_BYTES;
    let recordCount = batch.items.length;
    if (isStateDue) {
      const hardState = { ...this.#hardState, commitIndex: this.#safeCommitIndex() };
      at = writeRecord(bytes, at, { kind: "hardState", hardState }, crc32c);
      this.#writtenHardState = this.#hardState;
      recordCount += 1;
    }
    for (const item of batch.items) {
      if (item.kind === "entry") {
        const { entry } = item;
        // The index may hold a successor by now; its place is written when its own batch is.
        if (this.#index.termOf(entry.index) === entry.term)
          this.#index.setPlace(
            entry.index,
            placeOf(segment.identity.sequence, segment.offsetBytes + at),
          );
        this.#composed = { index: entry.index, term: entry.term };
      } else this.#composed = { index: item.index - 1, term: item.previousTerm };
      at = writeRecord(bytes, at, item, crc32c);
    }
    const pad: WalRecord = { kind: "pad", lengthBytes: sizeBytes - at - RECORD_HEADER_BYTES };
    writeRecord(bytes, at, pad, crc32c);
    const chain = crc32c(bytes.subarray(BATCH_HEAD_BYTES), this.#chain);
    const head = {
      lastIndex: this.#composed.index,
      lastTerm: this.#composed.term,
      bodyBytes: sizeBytes - BATCH_HEAD_BYTES,
      previousChain: this.#chain,
      chain,
      recordCount,
      batchNumber: this.#batchNumber + 1,
      incarnation: this.#options.owner.incarnation,
    };
    writeRecord(bytes, 0, { kind: "batchHead", head }, crc32c);
    this.#chain = chain;
    this.#batchNumber += 1;
    return bytes;
  }

  #noteDurable(segment: Segment, lengthBytes: number): void {
    this.#descriptor = {
      incarnation: this.#options.owner.incarnation,
      sequence: segment.identity.sequence,
      batchNumber: this.#batchNumber,
      offsetBytes: segment.offsetBytes,
      lengthBytes,
      chain: this.#chain,
      lastIndex: this.#composed.index,
      lastTerm: this.#composed.term,
      commitIndex: 0,
    };
    segment.offsetBytes += lengthBytes;
    // Entries that a queued truncation will drop are not safe: a crash may find them, or find what replaced them.
    let through = this.#composed.index;
    if (this.#truncationsQueued > 0)
      for (const item of this.#queue)
        if (item.kind === "truncateFrom") through = Math.min(through, item.index - 1);
    this.#index.markDurable(through);
  }

  /**
   * What may be written as committed. Behind the durable index there may still be entries on disk which a truncation in
   * the queue replaces: after a crash they would be taken for the committed ones.
   */
  #safeCommitIndex(): LogIndex {
    return Math.min(this.#hardState.commitIndex, this.#index.durableIndex);
  }

  /** Writes the descriptor of the last durable batch, without waiting for the disk; null when it was written. */
  #takeDescriptor(): Promise<void> | null {
    const descriptor = this.#descriptor;
    const segment = this.#current;
    if (descriptor === null || segment === null) return null;
    this.#descriptor = null;
    // A newer segment is proof enough for what an older one holds.
    if (descriptor.sequence !== segment.identity.sequence) return null;
    const commitIndex = this.#safeCommitIndex();
    const slot = this.#descriptorSlot++;
    const { crc32c } = this.#options;
    return writeDescriptor(
      segment.file,
      segment.identity,
      slot,
      { ...descriptor, commitIndex },
      crc32c,
    );
  }

  async #datasync(segment: Segment): Promise<void> {
    try {
      await segment.file.datasync();
    } catch (cause) {
      throw fatalFailure(this.#pathOf(segment.identity.sequence), "fdatasync", cause);
    }
    this.#finished += 1;
  }

  /** Begins the next segment, which was prepared meanwhile. */
  async #roll(): Promise<Segment> {
    const { segmentBytes, owner, crc32c } = this.#options;
    const sequence = this.#sequence + 1;
    const path = this.#pathOf(sequence);
    const identity: SegmentIdentity = {
      ...owner,
      dataOffset: dataOffsetOf(segmentBytes),
      sequence,
      firstIndex: this.#composed.index + 1,
      previousTerm: this.#composed.term,
      previousChain: this.#chain,
      segmentBytes,
      firstBatchNumber: this.#batchNumber + 1,
    };
    let segment: Segment;
    try {
      const file = await this.#spare.take(sequence);
      this.#old.adopt(sequence, file);
      segment = { file, identity, offsetBytes: identity.dataOffset };
      await writeIdentity(file, identity, crc32c);
    } catch (error) {
      throw writeFailure(error, path);
    }
    await this.#datasync(segment);
    this.#current = segment;
    this.#sequence = sequence;
    this.#options.onEvent({ kind: "segmentBegun", path, firstIndex: identity.firstIndex });
    // Behind the scenes: it handles its own failures.
    void this.#spare.begun(sequence);
    return segment;
  }

  /** True once the next segment is prepared; false when that failed. */
  hasSpare(): Promise<boolean> {
    return this.#spare.isReady();
  }

  /** Prepares the next segment in the background, so that no batch waits for it. Resolves when it is there or failed. */
  async prepareNext(): Promise<void> {
    if (this.#state === "open") await this.#spare.prepare(this.#sequence + 1);
  }

  #handle(error: unknown): void {
    if (!(error instanceof WalError)) throw error;
    this.#failWith(error.failure);
  }

  #failWith(failure: WalFailure): void {
    if (this.#state !== "open") return;
    this.#state = "failed";
    this.#queue = [];
    this.#options.onFailure(failure);
  }

  /** Writes what is queued, and lets the files go. */
  async close(): Promise<void> {
    while (this.#state === "open" && (this.#running !== null || this.#queue.length > 0))
      await (this.#running ?? this.#launch(this.#run()));
    if (this.#state === "open" && this.#descriptor !== null)
      await this.#launch(this.#flushDescriptor());
    await this.abandon();
  }

  /** Lets the files go as they are, once the operation that is in flight has ended. */
  async abandon(): Promise<void> {
    if (this.#state === "open") this.#state = "closing";
    if (this.#idleTimer !== null) clearTimeout(this.#idleTimer);
    this.#idleTimer = null;
    if (this.#running !== null) await this.#running;
    await this.#spare.close();
    this.#old.close();
  }
}

/**
 * Recovers the log of a folder and makes it ready for writing: drops a torn tail, removes unfinished segments, and
 * prepares a segment if none is ready.
 * @throws RockpoolError DATA_LOSS when acknowledged bytes are damaged (exit with EXIT.journalDamaged);
 *   FAILED_PRECONDITION when a segment is another journal's; and what the file system throws
 */
export async function openWal(options: WalOptions): Promise<Wal> {
  const { fileSystem, folder, owner, crc32c, segmentBytes } = options;
  const index = new EntryIndex(options.cacheBytesMax);
  const recovered = recoverWal(fileSystem, folder, owner, crc32c, index, segmentBytes);
  removeUnfinished(fileSystem, folder);
  for (const sequence of recovered.stale)
    fileSystem.removeSync(join(folder, segmentName(sequence)));
  await secureTail(options, recovered);
  const { torn } = recovered;
  if (torn !== null)
    options.onEvent({
      kind: "tornTailDropped",
      path: torn.path,
      offsetBytes: torn.offsetBytes,
      lengthBytes: torn.endBytes - torn.offsetBytes,
      lastIndex: index.lastIndex,
    });
  const wal = new Wal(options, index, recovered);
  const prepared = wal.prepareNext();
  // Only the very first batch would wait for the zeros; later segments are prepared behind the scenes.
  if (recovered.segments.length === 0) await prepared;
  return wal;
}
