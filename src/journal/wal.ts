/**
 * The write-ahead log: Raft's term, vote and entries on disk, with group commit.
 *
 * - One write is in flight at a time. Whatever is appended meanwhile goes together as the next batch: one write, one
 *   fdatasync. No timer delays a batch.
 * - The descriptor of a batch rides on the next batch's fdatasync, or on one of its own when the log falls idle.
 * - A hard state that differs in its commit index only is not worth an fdatasync: it goes with the next batch or descriptor.
 * - Nothing is overwritten: a truncation is a record, and recovery follows it. The mark (wal_mark.ts) says where the log
 *   begins; what lies before it is removed by whole segments.
 * - A failed write or fdatasync is never repeated: what the kernel then believes to be on disk may not be there. Lack of
 *   space before anything was promised makes the log read-only; everything else is fatal.
 *
 * Formats: record.ts, wal_mark.ts. Recovery: wal_recovery.ts. The reads that Raft asks for are synchronous: from memory when
 * they are new (the rule), else with a blocking read of the segment, which only a far lagging peer or a restart causes.
 * @module
 */
import { join } from "node:path";
import type { LogIndex, Term } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import { BATCH_BYTES_MAX } from "../common/limits.ts";
import { encodeMembership } from "../raft/membership.ts";
import type {
  Entry,
  HardState,
  MembershipAt,
  Position,
  RaftStorage,
  Snapshot,
} from "../raft/messages.ts";
import { Timer as Stopwatch } from "../telemetry/timer.ts";
import type { Timer } from "../world/ports.ts";
import { BatchChain } from "./batch_chain.ts";
import type { ConfigEntries } from "./config_entries.ts";
import { DescriptorWriter } from "./descriptor_writer.ts";
import { type EntryIndex, placeOf, splitPlace } from "./entry_index.ts";
import { type JournalFile, SyncError, type WritePart, writeDurably } from "./file_system.ts";
import { OldEntries } from "./old_entries.ts";
import { batchBytes, type SegmentIdentity } from "./record.ts";
import { Scrubber } from "./scrubber.ts";
import { dataOffsetOf, writeIdentity } from "./segment_file.ts";
import { SegmentList } from "./segment_list.ts";
import { SpareSegment } from "./spare_segment.ts";
import { fatalFailure, WalError, type WalFailure, writeFailure } from "./wal_failure.ts";
import { isAtLeast, MARK_FILE, type MarkFile, type WalMark } from "./wal_mark.ts";
import type { WalOptions } from "./wal_options.ts";
import { type RecoveredWal, recoverWal } from "./wal_recovery.ts";
import { applyRecovery } from "./wal_repair.ts";
import { type Batch, WriteQueue } from "./write_queue.ts";

/**
 * How long the log is idle before the last batch's descriptor gets an fdatasync of its own: longer than one client takes
 * from one change to the next, so that no change has to wait for that fdatasync.
 */
const IDLE_MS = 50;
/** A disk that was full is asked for room this often. */
const SPARE_RETRY_MS = 5000;
type Segment = {
  readonly file: JournalFile;
  readonly identity: SegmentIdentity;
  offsetBytes: number;
};

export class Wal implements RaftStorage {
  /** For metrics: of the newest flushes. */
  readonly flushTimes = new Stopwatch(128);
  readonly #options: WalOptions;
  readonly #index: EntryIndex;
  readonly #configs: ConfigEntries;
  readonly #marks: MarkFile;
  readonly #old: OldEntries;
  readonly #chain: BatchChain;
  #hardState: HardState;
  #promised: Position | null;
  #snapshot: Snapshot | null = null;
  readonly #queue = new WriteQueue();
  #current: Segment | null = null;
  readonly #spare: SpareSegment;
  #sequence: number;
  readonly #segments: SegmentList;
  readonly #scrubber: Scrubber;
  readonly #descriptor: DescriptorWriter;
  #running: Promise<void> | null = null;
  /** Of trimming, resetting and forgetting a promise: one after the other. */
  #upkeep: Promise<void> = Promise.resolve();
  #isTrimming = false;
  #isResetting = false;
  #isKicked = false;
  #finished = 0;
  #state: "open" | "closing" | "failed" = "open";
  #idleTimer: Timer | null = null;

  constructor(options: WalOptions, recovered: RecoveredWal, marks: MarkFile) {
    const { index, tail, segments, end } = recovered;
    this.#options = options;
    this.#index = index;
    this.#configs = recovered.configs;
    this.#marks = marks;
    this.#old = new OldEntries(options.fileSystem, options.folder, options.crc32c, index);
    this.#hardState = recovered.hardState;
    this.#promised = recovered.mark.promised;
    const position = { index: index.lastIndex, term: index.lastTerm() };
    const { chain, batchNumber } = tail;
    const last = { chain, batchNumber, position };
    this.#chain = new BatchChain(options.owner.incarnation, options.crc32c, last);
    this.#sequence = tail.sequence;
    this.#segments = new SegmentList(options.fileSystem, options.folder, segments);
    this.#scrubber = new Scrubber(options, () => this.#segments.closed(marks.mark.start));
    this.#descriptor = new DescriptorWriter(options.crc32c, end?.batchNumber ?? 0);
    const identity = segments.at(-1);
    if (identity !== undefined && end !== null) {
      const file = options.fileSystem.openSync(
        this.#segments.pathOf(identity.sequence),
        "readWrite",
      );
      this.#old.adopt(identity.sequence, file);
      this.#current = { file, identity, offsetBytes: end.lastBatchOffset };
      // Its descriptor may be missing.
      if (recovered.lastBatch.length > 0)
        this.#noteDurable(this.#current, recovered.lastBatch.length);
    }
    const { spare } = recovered;
    this.#spare = new SpareSegment(
      {
        ...options,
        retryMs: options.spareRetryMs ?? SPARE_RETRY_MS,
        onNoSpace: (path) => options.onEvent({ kind: "noSpaceForNextSegment", path }),
        onFailure: (error, path) => this.#handle(writeFailure(error, path)),
      },
      spare === null
        ? null
        : options.fileSystem.openSync(this.#segments.pathOf(spare), "readWrite"),
    );
  }

  get hardState(): HardState {
    return this.#hardState;
  }

  memberships(): readonly MembershipAt[] {
    return this.#configs.memberships();
  }

  /** Payload of the config entry in force at an index of the log or where it begins; null: the founders' membership. */
  membershipPayloadAt(index: LogIndex): Uint8Array | null {
    return this.#configs.payloadAt(index);
  }

  promised(): Position | null {
    return this.#promised;
  }

  /** What the owner set last, unless entries between it and the log's begin are gone: then it is of no use to a peer. */
  snapshot(): Snapshot | null {
    return this.#snapshot !== null && this.#snapshot.index >= this.firstIndex() - 1
      ? this.#snapshot
      : null;
  }

  /** Says which checkpoint can be given to peers. */
  setSnapshot(snapshot: Snapshot | null): void {
    this.#snapshot = snapshot;
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

  entries(from: LogIndex, to: LogIndex, bytesMax: number): readonly Entry[] {
    try {
      return this.#old.entries(from, to, bytesMax);
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
    invariant(!this.#isResetting, "nothing is appended while the log is reset");
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
      this.#configs.truncateFrom(first.index);
      const previousTerm = this.#index.lastTerm();
      this.#queue.push({ kind: "truncateFrom", index: first.index, previousTerm });
    }
    for (const entry of entries) {
      this.#index.append(entry);
      if (entry.kind === "config") this.#configs.append(entry);
    }
    if (first !== undefined) this.#queue.push({ kind: "entries", entries });
    this.#queue.push({ kind: "done", done, mustWrite });
    this.#kick();
  }

  /** Writes a batch even if there is nothing new to say. Resolves when it is durable. */
  writeState(): Promise<void> {
    return new Promise((done) => {
      this.#queue.push({ kind: "done", done, mustWrite: true });
      this.#kick();
    });
  }

  #kick(): void {
    if (this.#running !== null || this.#isKicked || this.#state !== "open") return;
    this.#isKicked = true;
    // At the end of the turn, so that everything appended in it makes one batch.
    queueMicrotask(() => {
      this.#isKicked = false;
      if (this.#running !== null || this.#state !== "open") return;
      this.#idleTimer?.cancel();
      this.#idleTimer = null;
      void this.#launch(this.#run());
    });
  }

  /** One piece of work on the disk at a time. It handles its own failures; what is left is a bug, and ends the process. */
  #launch(work: Promise<void>): Promise<void> {
    const running = work.finally(() => {
      this.#running = null;
      if (!this.#queue.isEmpty) this.#kick();
    });
    this.#running = running;
    return running;
  }

  async #run(): Promise<void> {
    try {
      while (!this.#queue.isEmpty && this.#state === "open") {
        const batch = this.#queue.take(this.#batchBytesMax());
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
    if (!this.#descriptor.isWaiting || this.#idleTimer !== null) return;
    this.#idleTimer = this.#options.timers.after(IDLE_MS, () => {
      this.#idleTimer = null;
      // A reset may be about to let the segment's file go.
      if (this.#running !== null || this.#isResetting || this.#state !== "open") return;
      void this.#launch(this.#flushDescriptor());
    });
  }

  async #flushDescriptor(): Promise<void> {
    const segment = this.#current;
    if (segment === null) return;
    const parts = this.#descriptor.takeTwice(segment.identity, this.#stateToWrite());
    if (parts.length === 0) return;
    try {
      await this.#writeDurably(segment, parts);
    } catch (error) {
      this.#handle(error);
    }
  }

  #batchBytesMax(): number {
    const room = this.#options.segmentBytes - dataOffsetOf(this.#options.segmentBytes);
    return Math.min(BATCH_BYTES_MAX, Math.floor(room / 2));
  }

  async #writeBatch(batch: Batch): Promise<void> {
    const sizeBytes = batchBytes(batch.recordsBytes);
    let segment = this.#current;
    if (segment === null || segment.offsetBytes + sizeBytes > segment.identity.segmentBytes)
      segment = await this.#roll();
    const room = segment.identity.segmentBytes - segment.identity.dataOffset;
    invariant(sizeBytes <= room, "a batch fits into a segment");
    const { sequence } = segment.identity;
    const begin = segment.offsetBytes;
    const state = this.#stateToWrite();
    const bytes = this.#chain.compose(batch.items, batch, state, (entry, at) => {
      // The index may hold a successor by now; its place is written when its own batch is.
      if (this.#index.termOf(entry.index) === entry.term)
        this.#index.setPlace(entry.index, placeOf(sequence, begin + at));
    });
    const descriptor = this.#descriptor.take(segment.identity, state);
    const batchPart = { bytes, positionBytes: begin };
    await this.#writeDurably(segment, descriptor === null ? [batchPart] : [descriptor, batchPart]);
    this.#noteDurable(segment, bytes.length);
  }

  #noteDurable(segment: Segment, lengthBytes: number): void {
    const { chain, batchNumber, position } = this.#chain;
    this.#descriptor.note({
      incarnation: this.#options.owner.incarnation,
      sequence: segment.identity.sequence,
      batchNumber,
      offsetBytes: segment.offsetBytes,
      lengthBytes,
      chain,
      lastIndex: position.index,
      lastTerm: position.term,
    });
    segment.offsetBytes += lengthBytes;
    // Entries that a queued truncation will drop are not safe: a crash may find them, or find what replaced them.
    this.#index.markDurable(Math.min(position.index, this.#queue.firstVoid() - 1));
    this.#checkPromise();
  }

  /** Once the durable log is up to date with what was promised, this member is like any other. */
  #checkPromise(): void {
    const promised = this.#promised;
    const index = this.durableIndex();
    if (promised === null || !isAtLeast({ index, term: this.termOf(index) ?? 0 }, promised)) return;
    this.#promised = null;
    this.#options.onEvent({ kind: "repaired", ...promised });
    // Not waited for: until it is durable, a restart finds the promise kept already.
    void this.#maintain(() => this.#updateMark({ promised: null }));
  }

  /**
   * The hard state as it may be written at any time. Behind the durable index there may still be entries on disk which a
   * truncation in the queue replaces: after a crash they would be taken for the committed ones.
   */
  #stateToWrite(): HardState {
    const commitIndex = Math.min(this.#hardState.commitIndex, this.#index.durableIndex);
    return { ...this.#hardState, commitIndex };
  }

  async #writeDurably({ file, identity }: Segment, parts: readonly WritePart[]): Promise<void> {
    const path = this.#segments.pathOf(identity.sequence);
    const { clock } = this.#options;
    const begunMs = clock.monotonicMs();
    try {
      await writeDurably(file, parts);
    } catch (error) {
      if (error instanceof SyncError) throw fatalFailure(path, "fdatasync", error.cause);
      throw writeFailure(error, path);
    }
    this.flushTimes.record(clock.monotonicMs() - begunMs);
    this.#finished += 1;
  }

  /** Begins the next segment, which was prepared meanwhile. */
  async #roll(): Promise<Segment> {
    const { segmentBytes, owner, crc32c } = this.#options;
    const sequence = this.#sequence + 1;
    const path = this.#segments.pathOf(sequence);
    const { position, chain, batchNumber } = this.#chain;
    const identity: SegmentIdentity = {
      ...owner,
      dataOffset: dataOffsetOf(segmentBytes),
      sequence,
      firstIndex: position.index + 1,
      previousTerm: position.term,
      previousChain: chain,
      segmentBytes,
      firstBatchNumber: batchNumber + 1,
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
    await this.#writeDurably(segment, []);
    await this.#updateMark({ lastSequence: sequence, hardState: this.#stateToWrite() });
    this.#current = segment;
    this.#sequence = sequence;
    this.#segments.push(identity);
    this.#options.onEvent({ kind: "segmentBegun", path, firstIndex: identity.firstIndex });
    // Behind the scenes: it handles its own failures.
    void this.#spare.begun(sequence);
    return segment;
  }

  async #updateMark(change: Partial<WalMark>): Promise<void> {
    try {
      await this.#marks.update(() => change);
    } catch (error) {
      throw writeFailure(error, join(this.#options.folder, MARK_FILE));
    }
  }

  // — upkeep —

  /** Checks the closed segment whose turn it is, as happens now and then by itself. */
  scrub(): Promise<void> {
    return this.#scrubber.checkNext();
  }

  /** One piece of upkeep after the other; a failure ends the log. */
  #maintain(work: () => Promise<void>): Promise<void> {
    this.#upkeep = this.#upkeep.then(async () => {
      try {
        if (this.#state === "open") await work();
      } catch (error) {
        this.#handle(error);
      }
    });
    return this.#upkeep;
  }

  /**
   * Drops the segments all of whose entries are at or before `index`, which the state must hold durably. Entries that share
   * a segment with a later one stay. Resolves when that is done; a call while one is under way does nothing.
   */
  async trimBefore(index: LogIndex): Promise<void> {
    if (this.#isTrimming || this.#state !== "open") return;
    this.#isTrimming = true;
    await this.#maintain(() => this.#trim(Math.min(index, this.durableIndex())));
    this.#isTrimming = false;
  }

  async #trim(index: LogIndex): Promise<void> {
    // A snapshot may have made it begin later meanwhile.
    if (index < this.firstIndex()) return;
    let sequence = this.#sequenceOf(index + 1);
    let before = this.#index.lastBefore(sequence, index);
    // Where entries were replaced across the border, the newer segment can't be read without the older one: both stay.
    while (sequence > this.#segments.oldest && before + 1 !== this.#segments.firstIndexOf(sequence))
      before = this.#index.lastBefore(--sequence, index);
    if (sequence <= this.#segments.oldest) return;
    const begin = { index: before, term: this.termOf(before) ?? 0 };
    const membership = this.#configs.payloadAt(before);
    const start = {
      sequence,
      offsetBytes: 0,
      chain: this.#chain.chain,
      batchNumber: this.#chain.batchNumber,
    };
    await this.#updateMark({ begin, membership, start, hardState: this.#stateToWrite() });
    this.#index.trim(before);
    this.#configs.trim(before);
    await this.#dropBefore(sequence);
  }

  /** Where an entry lies, or will lie. */
  #sequenceOf(index: LogIndex): number {
    if (index > this.durableIndex()) return this.#sequence;
    return splitPlace(this.#index.placeAt(index)).sequence;
  }

  async #dropBefore(sequence: number): Promise<void> {
    this.#old.forgetBefore(sequence);
    const segmentCount = await this.#segments.dropBefore(sequence);
    this.#options.onEvent({ kind: "trimmed", firstIndex: this.firstIndex(), segmentCount });
  }

  /**
   * Makes the log begin behind a snapshot that the state machine holds; entries after it stay if the log holds the
   * snapshot's own. A crash leaves the old log or the new one. Nothing may be appended until this resolves, which it does,
   * too, when the log fails.
   */
  async resetTo(snapshot: Snapshot): Promise<void> {
    while (this.#state === "open" && (this.#running !== null || !this.#queue.isEmpty))
      await (this.#running ?? this.#launch(this.#run()));
    if (this.#state !== "open") return;
    this.#isResetting = true;
    await this.#maintain(() => this.#reset(snapshot));
    this.#isResetting = false;
    if (this.#state === "open") this.#armIdle();
  }

  async #reset(snapshot: Snapshot): Promise<void> {
    const { index, term } = snapshot;
    // It may have been trimmed meanwhile, and never begins earlier than it did.
    if (index < this.firstIndex() - 1) return;
    const begin = { index, term };
    const membership = encodeMembership(snapshot.membership);
    const isHeld = this.termOf(index) === term;
    const { chain, batchNumber } = this.#chain;
    const anew = {
      start: { sequence: this.#sequence + 1, offsetBytes: 0, chain, batchNumber: batchNumber + 1 },
      lastSequence: 0,
    };
    const promised =
      this.#promised !== null && isAtLeast(snapshot, this.#promised) ? null : this.#promised;
    const change = { begin, membership, promised, hardState: this.#stateToWrite() };
    await this.#updateMark(isHeld ? change : { ...change, ...anew });
    if (this.#promised !== null && promised === null)
      this.#options.onEvent({ kind: "repaired", ...this.#promised });
    this.#promised = promised;
    const commitIndex = Math.max(this.#hardState.commitIndex, index);
    this.#hardState = { ...this.#hardState, commitIndex };
    if (isHeld) {
      this.#index.trim(index);
      this.#configs.trim(index);
    } else {
      this.#index.reset(index + 1, term);
      this.#configs.reset(index, membership);
      this.#chain.position = begin;
      this.#current = null;
      this.#descriptor.note(null);
      await this.#dropBefore(this.#sequence + 1);
    }
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
    this.#queue.clear();
    this.#options.onFailure(failure);
  }

  /** Writes what is queued, and lets the files go. */
  async close(): Promise<void> {
    while (this.#state === "open" && (this.#running !== null || !this.#queue.isEmpty))
      await (this.#running ?? this.#launch(this.#run()));
    if (this.#state === "open" && this.#descriptor.isWaiting)
      await this.#launch(this.#flushDescriptor());
    await this.abandon();
  }

  /** Lets the files go as they are, once the operation that is in flight has ended. */
  async abandon(): Promise<void> {
    if (this.#state === "open") this.#state = "closing";
    // First: a disk that hangs must not keep timers going.
    this.#scrubber.stop();
    this.#idleTimer?.cancel();
    this.#idleTimer = null;
    if (this.#running !== null) await this.#running;
    await this.#upkeep;
    await this.#scrubber.close();
    await this.#spare.close();
    await this.#marks.close();
    this.#old.close();
  }
}

/**
 * Recovers the log of a folder and makes it ready for writing: drops a torn tail, sets damaged segments aside, removes
 * unfinished ones, and prepares a segment if none is ready.
 * @throws RockpoolError DATA_LOSS when acknowledged bytes are damaged for good (exit with EXIT.journalDamaged);
 *   FAILED_PRECONDITION when a file is another journal's; and what the file system throws
 */
export async function openWal(options: WalOptions): Promise<Wal> {
  const recovered = recoverWal(options);
  if (recovered.isShortened) await options.beforeShortening?.(recovered.mark.begin.index);
  const marks = await applyRecovery(options, recovered, options.onEvent);
  const wal = new Wal(options, recovered, marks);
  const prepared = wal.prepareNext();
  // Only the very first batch would wait for the zeros; later segments are prepared behind the scenes.
  if (recovered.segments.length === 0) await prepared;
  return wal;
}
