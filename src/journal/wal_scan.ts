/**
 * Reads the segments of a log: what continues the chain, where that ends, and what can be proven of the rest. Decides
 * nothing and writes nothing; wal_recovery.ts does.
 *
 * A batch is known to have been durable when a descriptor says so, when it is whole, or when one after it was begun.
 * @module
 */
import { join } from "node:path";
import { DecodeError } from "../common/bytes.ts";
import { RockpoolError } from "../common/errors.ts";
import type { LogIndex } from "../common/ids.ts";
import type { HardState, Membership, Position } from "../raft/messages.ts";
import { ConfigEntries } from "./config_entries.ts";
import { EntryIndex, placeOf } from "./entry_index.ts";
import type { JournalFileSystem } from "./file_system.ts";
import {
  BATCH_HEAD_BYTES,
  type BatchHead,
  type Crc32c,
  DESCRIPTORS_OFFSET,
  decodeDescriptor,
  readBatchHeadAt,
  type SegmentIdentity,
  WAL_PAGE_BYTES,
  type WalRecord,
} from "./record.ts";
import {
  type BatchVisitor,
  type ChainPoint,
  dataOffsetOf,
  endOfBytes,
  holdsBatches,
  listSegments,
  readIdentity,
  readWholeBatch,
  scanBatches,
  segmentName,
  startOf,
  unreadableRecord,
} from "./segment_file.ts";
import { type SegmentBytes, SegmentWindow, type WindowBuffer } from "./segment_window.ts";
import { isAtLeast, type LogStart, mergeStates, type WalMark, type WalOwner } from "./wal_mark.ts";

export type Walk = {
  readonly fileSystem: JournalFileSystem;
  readonly folder: string;
  readonly owner: WalOwner;
  readonly crc32c: Crc32c;
  /** Shared by all that is read, one segment after the other. */
  readonly window: WindowBuffer;
};

/** used: it was begun, as its identity says. lost: it was begun, and its identity is unreadable. */
export type FoundSegment = {
  readonly sequence: number;
  readonly path: string;
  readonly sizeBytes: number;
} & (
  | { readonly kind: "used"; readonly identity: SegmentIdentity }
  | { readonly kind: "lost" }
  | { readonly kind: "unused"; readonly isBlank: boolean }
);

type UsedSegment = Extract<FoundSegment, { kind: "used" }>;

/** Where the chain breaks though something must have been there. */
export type Hole = {
  readonly path: string;
  readonly sequence: number;
  readonly offsetBytes: number;
  readonly why: string;
};

export function withSegment<T>(walk: Walk, path: string, act: (segment: SegmentBytes) => T): T {
  const file = walk.fileSystem.openSync(path, "read");
  try {
    return act(new SegmentWindow(file, walk.window));
  } finally {
    file.close();
  }
}

export function pathOfSegment(folder: string, sequence: number): string {
  return join(folder, segmentName(sequence));
}

/** @throws RockpoolError FAILED_PRECONDITION when a segment is another journal's or another format's */
export function findSegments(walk: Walk): readonly FoundSegment[] {
  return listSegments(walk.fileSystem, walk.folder).map((sequence) => {
    const path = pathOfSegment(walk.folder, sequence);
    return withSegment(walk, path, (segment) => lookAt(walk, segment, path, sequence));
  });
}

function lookAt(walk: Walk, segment: SegmentBytes, path: string, sequence: number): FoundSegment {
  const { sizeBytes } = segment;
  const identity = identityOf(walk, segment, path);
  if (identity?.sequence === sequence) return { sequence, path, sizeBytes, kind: "used", identity };
  // Batches follow only upon a durable identity, so a segment whose head is blank is blank.
  const headBytes = Math.min(dataOffsetOf(sizeBytes) + WAL_PAGE_BYTES, sizeBytes);
  if (endOfBytes(segment, 0, headBytes) === 0)
    return { sequence, path, sizeBytes, kind: "unused", isBlank: true };
  const isLost = identity !== null || holdsBatches(segment, walk.owner.incarnation, walk.crc32c);
  if (isLost) return { sequence, path, sizeBytes, kind: "lost" };
  return { sequence, path, sizeBytes, kind: "unused", isBlank: false };
}

function identityOf(walk: Walk, segment: SegmentBytes, path: string): SegmentIdentity | null {
  try {
    const identity = readIdentity(segment.read(0, 2 * WAL_PAGE_BYTES), walk.crc32c);
    if (identity !== null) checkOwner(walk.owner, identity, path);
    return identity;
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `Journal file ${path} cannot be read by this version: ${cause.message}`,
      "Start the version of the program that wrote the journal, or a newer one",
      { cause },
    );
  }
}

/** @throws RockpoolError FAILED_PRECONDITION when a file is another journal's */
export function checkOwner(owner: WalOwner, found: WalOwner, path: string): void {
  const isOurs =
    found.memberId === owner.memberId &&
    found.incarnation === owner.incarnation &&
    found.groupId === owner.groupId;
  if (isOurs) return;
  throw new RockpoolError(
    "FAILED_PRECONDITION",
    `Journal file ${path} belongs to another journal than the folder it lies in`,
    "Remove the file if it was copied here by mistake, or point alluxio.master.journal.folder at the right folder",
  );
}

/** The records do not fit to where the log is said to begin. */
export class MisfitError extends Error {
  override readonly name = "MisfitError";
}

/** What the log says, as records are read. Entries up to where it begins are skipped. */
export class Replay {
  readonly index: EntryIndex;
  readonly configs: ConfigEntries;
  readonly #begin: Position;
  /**
   * While entries are read that lay behind another entry than the one at which the log begins, as their terms tell: the last
   * of them. A truncation will come that drops them.
   */
  #voidThrough: LogIndex | null = null;
  /** At least this, by the mark and by all heads that were read. */
  hardState: HardState;
  /** Committed, and as it stands in this log, by the heads that were read. */
  commitIndex = 0;

  constructor(mark: WalMark, founders: Membership, cacheBytesMax: number) {
    this.index = new EntryIndex(cacheBytesMax);
    this.configs = new ConfigEntries(founders);
    this.#begin = mark.begin;
    this.index.reset(mark.begin.index + 1, mark.begin.term);
    this.configs.reset(mark.begin.index, mark.membership);
    this.hardState = mark.hardState;
  }

  position(): Position {
    return { index: this.index.lastIndex, term: this.index.lastTerm() };
  }

  visitor(path: string, sequence: number): BatchVisitor {
    return {
      record: (record, offsetBytes) => this.#record(record, path, sequence, offsetBytes),
      batch: (head) => this.#batch(head, path),
    };
  }

  #record(record: WalRecord, path: string, sequence: number, offsetBytes: number): void {
    const { index, configs } = this;
    if (record.kind === "truncateFrom") {
      if (this.#voidThrough !== null)
        this.#voidThrough = record.index > this.#begin.index + 1 ? record.index - 1 : null;
      const from = Math.max(record.index, index.firstIndex);
      if (from > index.lastIndex) return;
      index.truncateFrom(from);
      configs.truncateFrom(from);
    } else if (record.kind === "entry") {
      const { entry } = record;
      if (entry.index <= this.#begin.index) return;
      const isOlder = entry.term < this.#begin.term && index.lastIndex === this.#begin.index;
      if (isOlder || this.#voidThrough !== null) {
        this.#voidThrough = entry.index;
        return;
      }
      if (entry.index !== index.lastIndex + 1 || entry.term < index.lastTerm())
        throw new MisfitError(`${path}: entry ${entry.index} follows upon ${index.lastIndex}`);
      index.appendRecovered(entry.index, entry.term, placeOf(sequence, offsetBytes));
      this.#config(record, path, offsetBytes);
    }
  }

  #config(
    { entry }: Extract<WalRecord, { kind: "entry" }>,
    path: string,
    offsetBytes: number,
  ): void {
    try {
      this.configs.append(entry);
    } catch (cause) {
      if (!(cause instanceof DecodeError)) throw cause;
      throw unreadableRecord(path, offsetBytes, cause);
    }
  }

  #batch(head: BatchHead, path: string): void {
    const { index, term } = this.position();
    const isBehind = head.lastIndex > this.#begin.index && this.#voidThrough === null;
    const isFit = isBehind
      ? head.lastIndex === index && head.lastTerm === term
      : index === this.#begin.index;
    if (!isFit)
      throw new MisfitError(`${path}: a batch ends at ${head.lastIndex}, and the log at ${index}`);
    this.hardState = mergeStates(this.hardState, head.hardState);
    this.commitIndex = Math.max(this.commitIndex, head.hardState.commitIndex);
  }
}

/** The segments that were read, and the end of the last; a hole is where reading stopped. */
export type ReadLog = {
  readonly used: readonly SegmentIdentity[];
  readonly end: ChainPoint | null;
  readonly hole: Hole | null;
};

/**
 * Follows the chain from where the mark says until it ends or breaks. What lies behind the end of the newest segment is
 * the question of `survey`.
 * @throws MisfitError when sound records do not follow on one another; RockpoolError DATA_LOSS when one is unknown
 */
export function readLog(
  walk: Walk,
  mark: WalMark,
  found: readonly FoundSegment[],
  replay: Replay,
): ReadLog {
  const used: SegmentIdentity[] = [];
  let end: ChainPoint | null = null;
  const last = lastBegun(mark, found);
  for (let sequence = mark.start.sequence; sequence <= last; sequence++) {
    const path = pathOfSegment(walk.folder, sequence);
    const segment = found.find((each) => each.sequence === sequence);
    const previous = used.at(-1);
    const reason = unreadable(segment);
    if (segment?.kind !== "used")
      return { used, end, hole: { path, sequence, offsetBytes: 0, why: reason } };
    if (previous !== undefined && end !== null && !continues(segment.identity, end))
      return { used, end, hole: brokenChain(walk, previous, end, segment.identity) };
    const start = used.length === 0 ? scanStartOf(mark.start, segment) : startOf(segment.identity);
    end = withSegment(walk, path, (bytes) =>
      scanBatches(
        bytes,
        path,
        walk.owner.incarnation,
        start,
        walk.crc32c,
        replay.visitor(path, sequence),
      ),
    );
    used.push(segment.identity);
  }
  return { used, end, hole: null };
}

function lastBegun(mark: WalMark, found: readonly FoundSegment[]): number {
  return found.findLast(({ kind }) => kind !== "unused")?.sequence ?? mark.start.sequence - 1;
}

function unreadable(segment: FoundSegment | undefined): string {
  if (segment === undefined) return "the file is missing";
  return segment.kind === "unused"
    ? "there is nothing in it"
    : "both copies of its identity are unreadable";
}

function scanStartOf(start: LogStart, { identity }: UsedSegment) {
  if (start.offsetBytes === 0) return startOf(identity);
  const { offsetBytes, chain, batchNumber } = start;
  return { offsetBytes, previousChain: chain, firstBatchNumber: batchNumber };
}

function continues(identity: SegmentIdentity, end: ChainPoint): boolean {
  return identity.previousChain === end.chain && identity.firstBatchNumber === end.batchNumber + 1;
}

/** A segment is begun only when every batch before it is durable: what is missing was acknowledged. */
function brokenChain(
  walk: Walk,
  previous: SegmentIdentity,
  end: ChainPoint,
  next: SegmentIdentity,
): Hole {
  return {
    path: pathOfSegment(walk.folder, previous.sequence),
    sequence: previous.sequence,
    offsetBytes: end.offsetBytes,
    why: `segment ${next.sequence} begins with batch ${next.firstBatchNumber}, and batch ${end.batchNumber} is the last one readable`,
  };
}

/** A batch that was durable, and where the log ended with it. */
export type KnownBatch = { readonly batchNumber: number; readonly position: Position };

/** The last stretch of whole batches that follow on one another. */
export type Run = { readonly start: LogStart; readonly lastBatchNumber: number };

export type Survey = {
  readonly newest: KnownBatch | null;
  /** The highest end of a log in Raft's order: that of the newest, unless leftovers of a repair have higher numbers. */
  readonly highest: Position | null;
  /** At least this was promised. */
  readonly hardState: HardState;
  readonly run: Run | null;
};

type OpenRun = {
  readonly start: LogStart;
  lastBatchNumber: number;
  chain: number;
  sequence: number;
  endOffset: number;
};

/** Looks at all that can be read from a place on, whether it continues anything or not. */
export class Surveyor {
  readonly #walk: Walk;
  #newest: KnownBatch | null = null;
  #highest: Position | null = null;
  #hardState: HardState;
  #run: OpenRun | null = null;

  constructor(walk: Walk, hardState: HardState) {
    this.#walk = walk;
    this.#hardState = hardState;
  }

  survey(found: readonly FoundSegment[], from: { sequence: number; offsetBytes: number }): Survey {
    const segments = found.filter(
      ({ kind, sequence }) => kind !== "unused" && sequence >= from.sequence,
    );
    for (const [at, segment] of segments.entries()) {
      // What a repair gave up lies behind the end of its segment, as the next segment tells.
      const next = segments[at + 1];
      const endNumber =
        next?.kind === "used" ? next.identity.firstBatchNumber : Number.POSITIVE_INFINITY;
      const offsetBytes = segment.sequence === from.sequence ? from.offsetBytes : 0;
      if (segment.kind === "used") this.#identity(segment.identity);
      withSegment(this.#walk, segment.path, (bytes) => {
        this.#descriptors(bytes, segment, endNumber);
        this.#batches(bytes, segment, offsetBytes, endNumber);
      });
    }
    const run = this.#run;
    return {
      newest: this.#newest,
      highest: this.#highest,
      hardState: this.#hardState,
      run: run && { start: run.start, lastBatchNumber: run.lastBatchNumber },
    };
  }

  #know(batchNumber: number, position: Position): void {
    if (batchNumber > (this.#newest?.batchNumber ?? 0)) this.#newest = { batchNumber, position };
    if (this.#highest === null || isAtLeast(position, this.#highest)) this.#highest = position;
  }

  /** It was begun only when every batch before it was durable. */
  #identity({ firstBatchNumber, firstIndex, previousTerm }: SegmentIdentity): void {
    this.#know(firstBatchNumber - 1, { index: firstIndex - 1, term: previousTerm });
  }

  #descriptors(bytes: SegmentBytes, segment: FoundSegment, endNumber: number): void {
    const { owner, crc32c } = this.#walk;
    const endOffset =
      segment.kind === "used" ? segment.identity.dataOffset : dataOffsetOf(bytes.sizeBytes);
    for (let at = DESCRIPTORS_OFFSET; at < endOffset; at += WAL_PAGE_BYTES) {
      const descriptor = decodeDescriptor(bytes.read(at, WAL_PAGE_BYTES), crc32c);
      if (descriptor === null || descriptor.incarnation !== owner.incarnation) continue;
      const { sequence, batchNumber, lastIndex, lastTerm, hardState } = descriptor;
      if (sequence !== segment.sequence || batchNumber >= endNumber) continue;
      this.#know(batchNumber, { index: lastIndex, term: lastTerm });
      this.#hardState = mergeStates(this.#hardState, hardState);
    }
  }

  #batches(bytes: SegmentBytes, segment: FoundSegment, offsetBytes: number, endNumber: number) {
    const { owner, crc32c } = this.#walk;
    const dataOffset = segment.kind === "used" ? segment.identity.dataOffset : DESCRIPTORS_OFFSET;
    let at = Math.max(dataOffset, offsetBytes);
    while (at < bytes.sizeBytes) {
      const head = readBatchHeadAt(bytes.read(at, BATCH_HEAD_BYTES), 0, owner.incarnation, crc32c);
      if (head === null || head.batchNumber >= endNumber) {
        at += WAL_PAGE_BYTES;
        continue;
      }
      this.#hardState = mergeStates(this.#hardState, head.hardState);
      // It was begun only when the one before it was durable.
      this.#know(head.batchNumber - 1, { index: head.previousIndex, term: head.previousTerm });
      if (readWholeBatch(bytes, at, head, crc32c) === null) {
        at += WAL_PAGE_BYTES;
        continue;
      }
      this.#know(head.batchNumber, { index: head.lastIndex, term: head.lastTerm });
      this.#extendRun(segment, head, at);
      at += BATCH_HEAD_BYTES + head.bodyBytes;
    }
  }

  #extendRun(segment: FoundSegment, head: BatchHead, offsetBytes: number): void {
    if (segment.kind !== "used") {
      this.#run = null;
      return;
    }
    const { sequence, identity } = segment;
    let run = this.#run;
    const isAdjacent =
      run?.sequence === sequence
        ? run.endOffset === offsetBytes
        : run?.sequence === sequence - 1 && offsetBytes === identity.dataOffset;
    const isNext =
      run?.chain === head.previousChain && run.lastBatchNumber + 1 === head.batchNumber;
    if (run === null || !isAdjacent || !isNext) {
      const { previousChain, batchNumber } = head;
      const start = { sequence, offsetBytes, chain: previousChain, batchNumber };
      run = { start, lastBatchNumber: 0, chain: 0, sequence, endOffset: 0 };
      this.#run = run;
    }
    run.lastBatchNumber = head.batchNumber;
    run.chain = head.chain;
    run.sequence = sequence;
    run.endOffset = offsetBytes + BATCH_HEAD_BYTES + head.bodyBytes;
  }
}
