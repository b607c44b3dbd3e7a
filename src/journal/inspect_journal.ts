/**
 * Looks at a journal folder from outside, for tools: how far the log can be read, and its entries. Changes nothing; a running
 * master may have the folder open, and then the answer is of some moment just past.
 * @module
 */
import { DecodeError } from "../common/bytes.ts";
import { RockpoolError } from "../common/errors.ts";
import type { LogIndex, MemberId, Term } from "../common/ids.ts";
import { NOBODY } from "../raft/membership.ts";
import type { Entry, HardState, Position } from "../raft/messages.ts";
import { type JournalFileSystem, nodeFileSystem } from "./file_system.ts";
import { OldEntries } from "./old_entries.ts";
import { type Crc32c, type SegmentIdentity, WAL_PAGE_BYTES } from "./record.ts";
import { type ChainPoint, listSegments, readIdentity } from "./segment_file.ts";
import { SegmentWindow, WindowBuffer } from "./segment_window.ts";
import { firstMark, readMark, type WalMark, type WalOwner } from "./wal_mark.ts";
import {
  type FoundSegment,
  findSegments,
  type Hole,
  MisfitError,
  pathOfSegment,
  Replay,
  readLog,
  type Survey,
  Surveyor,
  type Walk,
} from "./wal_scan.ts";

/** One read of old entries. */
const READ_BYTES_MAX = 1024 * 1024;
/** Segments are removed many seconds apart. */
const ATTEMPTS_MAX = 5;

/** Every segment names its owner, and so does the mark: a folder can be read without the journal's identity file. */
export function ownerOfFolder(
  fileSystem: JournalFileSystem,
  folder: string,
  crc32c: Crc32c,
): WalOwner | null {
  const seen = readMark(fileSystem, folder, crc32c);
  if (seen.kind === "found") return seen.mark.owner;
  const window = new WindowBuffer();
  for (const sequence of listSegments(fileSystem, folder)) {
    const file = fileSystem.openSync(pathOfSegment(folder, sequence), "read");
    try {
      const bytes = new SegmentWindow(file, window).read(0, 2 * WAL_PAGE_BYTES);
      const identity = readIdentity(bytes, crc32c);
      if (identity !== null) return identity;
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
    } finally {
      file.close();
    }
  }
  return null;
}

/** All that can be read of a log, as far as it can be. */
export type Reading = {
  readonly walk: Walk;
  readonly found: readonly FoundSegment[];
  readonly mark: WalMark;
  readonly markState: "sound" | "oneCopy" | "damaged" | "none";
  readonly replay: Replay;
  readonly used: readonly SegmentIdentity[];
  readonly end: ChainPoint | null;
  readonly hole: Hole | null;
  readonly survey: Survey;
};

/**
 * @returns null for a folder in which no log was ever opened
 * @throws RockpoolError FAILED_PRECONDITION when a file is of another format or another journal's; DATA_LOSS when records
 *   contradict each other
 */
export function readFolder(
  fileSystem: JournalFileSystem,
  folder: string,
  crc32c: Crc32c,
): Reading | null {
  for (let attempt = 1; ; attempt++)
    try {
      return readFolderNow(fileSystem, folder, crc32c);
    } catch (error) {
      if (!isMissing(error) || attempt === ATTEMPTS_MAX) throw error;
    }
}

/** A running master has removed a segment since the folder was looked at. */
function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

function readFolderNow(
  fileSystem: JournalFileSystem,
  folder: string,
  crc32c: Crc32c,
): Reading | null {
  const owner = ownerOfFolder(fileSystem, folder, crc32c);
  if (owner === null) return null;
  const walk: Walk = { fileSystem, folder, owner, crc32c, window: new WindowBuffer() };
  const found = findSegments(walk);
  const seen = readMark(fileSystem, folder, crc32c);
  const mark = seen.kind === "found" ? seen.mark : markFrom(owner, found);
  const markState = seen.kind === "found" ? (seen.isWhole ? "sound" : "oneCopy") : seen.kind;
  const inUse = found.filter(({ sequence }) => sequence >= mark.start.sequence);
  const replay = new Replay(mark, NOBODY, 0);
  const { used, end, hole } = readAll(walk, mark, inUse, replay);
  const from = {
    sequence: used.at(-1)?.sequence ?? mark.start.sequence,
    offsetBytes: end?.offsetBytes ?? mark.start.offsetBytes,
  };
  const survey = new Surveyor(walk, replay.hardState).survey(inUse, from);
  return { walk, found, mark, markState, replay, used, end, hole, survey };
}

function markFrom(owner: WalOwner, found: readonly FoundSegment[]): WalMark {
  const oldest = found.find(({ kind }) => kind === "used");
  if (oldest?.kind !== "used") return firstMark(owner);
  const { firstIndex, previousTerm, sequence } = oldest.identity;
  const first = firstMark(owner);
  const begin = { index: firstIndex - 1, term: previousTerm };
  return { ...first, begin, start: { ...first.start, sequence } };
}

function readAll(walk: Walk, mark: WalMark, found: readonly FoundSegment[], replay: Replay) {
  try {
    return readLog(walk, mark, found, replay);
  } catch (cause) {
    if (!(cause instanceof MisfitError)) throw cause;
    throw new RockpoolError(
      "DATA_LOSS",
      `The journal contradicts itself: ${cause.message}`,
      "Keep a copy of the folder and report this; replace the journal from its peers or from a backup",
      { cause },
    );
  }
}

export type JournalInspection = {
  /** Null for a folder in which no log was ever opened. */
  readonly owner: WalOwner | null;
  readonly term: Term;
  readonly vote: MemberId | null;
  readonly firstIndex: LogIndex;
  /** The last entry that can be read without a gap. */
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  readonly commitIndex: LogIndex;
  /** What was acknowledged beyond that, and is to be fetched from peers. */
  readonly promised: Position | null;
  readonly segments: readonly {
    readonly path: string;
    readonly firstIndex: LogIndex;
    readonly sizeBytes: number;
  }[];
};

/** @throws RockpoolError FAILED_PRECONDITION when a file is of another format or another journal's */
export function inspectJournal(
  folder: string,
  crc32c: Crc32c,
  fileSystem: JournalFileSystem = nodeFileSystem(),
): JournalInspection {
  const reading = readFolder(fileSystem, folder, crc32c);
  const state: HardState = reading?.survey.hardState ?? { term: 0, vote: null, commitIndex: 0 };
  const index = reading?.replay.index;
  const lastIndex = index?.lastIndex ?? 0;
  return {
    owner: reading?.walk.owner ?? null,
    term: state.term,
    vote: state.vote,
    firstIndex: index?.firstIndex ?? 1,
    lastIndex,
    lastTerm: index?.lastTerm() ?? 0,
    commitIndex: Math.min(state.commitIndex, lastIndex),
    promised: reading?.mark.promised ?? null,
    segments: (reading?.used ?? []).map(({ sequence, firstIndex, segmentBytes }) => ({
      path: pathOfSegment(folder, sequence),
      firstIndex,
      sizeBytes: segmentBytes,
    })),
  };
}

/** What a reader should know that the entries do not say. */
export type ReadingNote =
  /** A running master has removed them since the reading began; it goes on behind them. */
  | { readonly kind: "trimmed"; readonly firstIndex: LogIndex; readonly lastIndex: LogIndex }
  /** What comes after `lastIndex` is damaged. */
  | { readonly kind: "endsEarly"; readonly lastIndex: LogIndex; readonly path: string };

export type ReadJournalOptions = {
  /** 1 is the first of all. */
  readonly from?: LogIndex;
  readonly fileSystem?: JournalFileSystem;
  readonly onNote?: (note: ReadingNote) => void;
};

/**
 * The entries of a log, in order, as far as they can be read; `verifyJournal` says why not further. Payloads are the
 * caller's.
 * @throws RockpoolError FAILED_PRECONDITION when a file is of another format or another journal's
 */
export function* readJournal(
  folder: string,
  crc32c: Crc32c,
  options: ReadJournalOptions = {},
): Generator<Entry> {
  const { from = 1, fileSystem = nodeFileSystem(), onNote = () => {} } = options;
  let next = from;
  for (let isFirst = true; ; isFirst = false) {
    const reading = readFolder(fileSystem, folder, crc32c);
    if (reading === null) return;
    const { index } = reading.replay;
    const lastIndex = index.firstIndex - 1;
    if (!isFirst && next <= lastIndex) onNote({ kind: "trimmed", firstIndex: next, lastIndex });
    next = Math.max(next, index.firstIndex);
    const old = new OldEntries(fileSystem, folder, crc32c, index);
    try {
      while (next <= index.lastIndex) {
        const entries = old.entries(next, index.lastIndex + 1, READ_BYTES_MAX);
        next += entries.length;
        yield* entries;
      }
      if (reading.hole !== null)
        onNote({ kind: "endsEarly", lastIndex: index.lastIndex, path: reading.hole.path });
      return;
    } catch (error) {
      // The log begins later now, or something else is wrong.
      const isTrimmed = isMissing(error) && firstIndexOf(fileSystem, folder, crc32c) > next;
      if (!isTrimmed) throw error;
    } finally {
      old.close();
    }
  }
}

function firstIndexOf(fileSystem: JournalFileSystem, folder: string, crc32c: Crc32c): LogIndex {
  return readFolder(fileSystem, folder, crc32c)?.replay.index.firstIndex ?? 1;
}
