/**
 * Reads the write-ahead log back after a stop of any kind, and decides what becomes of what is damaged.
 *
 * | what is found | what it means | what is done |
 * |---|---|---|
 * | batches that continue the chain | durable or at least whole | kept |
 * | anything else at the end of the newest segment, and no proof that it was durable | a torn tail: never acknowledged | dropped, and said so |
 * | a break with a proof (a descriptor, a whole batch, a later batch or segment behind it) | damage to what was acknowledged | one of the next three |
 * | … and the state holds all that is damaged | nothing is lost | the log begins behind the newest checkpoint if it can, else behind the state; sound entries after it are kept |
 * | … else, and there are other members | they have the entries | the log ends before the break; what it held is promised |
 * | … else | entries are lost | refused: DATA_LOSS; `journal repair` gives them up |
 * | the state is ahead of the log, or holds another entry | a snapshot was installed | the log begins behind the state |
 * | the mark, or the newest segment, is gone | what was promised is unknown | refused: DATA_LOSS |
 *
 * A promise is the position of the newest batch that is known to have been durable, and the highest term and vote in any
 * head or descriptor. It is durable before anything is moved, so that a crash in between finds the damage again and comes
 * to the same end. Damaged segments are moved aside under another name; one whose first part stays in use is left as it is,
 * since the next segment tells where it ends.
 *
 * Nothing is written here; wal_repair.ts does what is decided.
 * @module
 */
import { join } from "node:path";
import { RockpoolError } from "../common/errors.ts";
import type { LogIndex } from "../common/ids.ts";
import type { HardState, Membership, Position } from "../raft/messages.ts";
import type { ConfigEntries } from "./config_entries.ts";
import type { EntryIndex } from "./entry_index.ts";
import type { JournalFileSystem } from "./file_system.ts";
import type { StatePosition } from "./journal_system.ts";
import type { Crc32c, SegmentIdentity } from "./record.ts";
import { type ChainPoint, endOfBytes } from "./segment_file.ts";
import { WindowBuffer } from "./segment_window.ts";
import {
  firstMark,
  isAtLeast,
  MARK_FILE,
  mergeStates,
  readMark,
  type WalMark,
  type WalOwner,
} from "./wal_mark.ts";
import {
  checkOwner,
  type FoundSegment,
  findSegments,
  type Hole,
  MisfitError,
  pathOfSegment,
  type ReadLog,
  Replay,
  readLog,
  type Survey,
  Surveyor,
  type Walk,
  withSegment,
} from "./wal_scan.ts";

export type RecoveryOptions = {
  readonly fileSystem: JournalFileSystem;
  readonly folder: string;
  readonly owner: WalOwner;
  readonly crc32c: Crc32c;
  /** In force before the first config entry of all. */
  readonly membership: Membership;
  /** What the state machine holds, with its membership. */
  readonly covered: StatePosition;
  /** Of that, what a checkpoint holds and a power cut leaves there; null or missing: nothing. */
  readonly secured?: StatePosition | null;
  /** Whether others hold the log, too. Without: as the newest readable membership says. */
  readonly canRepair?: boolean;
  /** An operator gave up what was behind the damage. */
  readonly isLossAccepted?: boolean;
  readonly segmentBytes: number;
  readonly cacheBytesMax: number;
};

export type TornTail = {
  readonly path: string;
  readonly offsetBytes: number;
  readonly endBytes: number;
};

/** covered: the state holds it. promised: others do. lost: an operator gave it up. */
export type Damage = Hole & {
  readonly verdict: "covered" | "promised" | "lost";
  /** The entries from here through `last` could not be read. */
  readonly firstIndex: LogIndex;
  readonly last: Position;
};

export type RecoveredWal = {
  /** As it is to be on the disk. */
  readonly mark: WalMark;
  readonly index: EntryIndex;
  readonly configs: ConfigEntries;
  readonly hardState: HardState;
  /** Segments in use, in order. */
  readonly segments: readonly SegmentIdentity[];
  /** End of the newest of them; null when there is none, or when nothing may be appended to it. */
  readonly end: ChainPoint | null;
  /** What the next batch follows. */
  readonly tail: {
    readonly sequence: number;
    readonly chain: number;
    readonly batchNumber: number;
  };
  /** The newest batch as it lies at `end.lastBatchOffset`; empty when there is none. */
  readonly lastBatch: Uint8Array;
  /** A segment that is prepared and unused. */
  readonly spare: number | null;
  /** Damaged ones: moved aside. */
  readonly aside: readonly number[];
  /** Unused, out of turn, or before the log's begin: removed. */
  readonly obsolete: readonly number[];
  readonly torn: TornTail | null;
  readonly damage: Damage | null;
  /** The log begins at the state, which was ahead of it. */
  readonly isBehindState: boolean;
  /** The log begins later than it did: what it held before that is in the state alone. */
  readonly isShortened: boolean;
};

const REPLACE_REMEDY =
  "Copy the journal folder before anything else. If other masters hold the log, move the folder away, run " +
  "`bin/rockpool init format` on this master and start it: it joins them as a new member. If this is the only master, " +
  "restore a backup, or give up what cannot be read with `bin/rockpool journal repair`";

function lostFile(path: string, what: string): RockpoolError {
  return new RockpoolError(
    "DATA_LOSS",
    `Journal file ${path} ${what}: what this master has promised to others is unknown`,
    REPLACE_REMEDY,
  );
}

function lostEntries(damage: Omit<Damage, "verdict">): RockpoolError {
  const { path, offsetBytes, firstIndex, last, why } = damage;
  const range =
    last.index >= firstIndex
      ? `Entries ${firstIndex} to ${last.index} were acknowledged and are unreadable`
      : "A term or a vote may be unreadable";
  return new RockpoolError(
    "DATA_LOSS",
    `Journal file ${path} is damaged at byte ${offsetBytes}, after entry ${firstIndex - 1}: ${why}. ${range}`,
    "Copy the journal folder before anything else. No other master holds the log: restore a backup, or give up the " +
      `unreadable entries with \`bin/rockpool journal repair --accept-loss-after ${firstIndex - 1}\``,
  );
}

/** A way to go on. */
type Decision = {
  readonly mark: WalMark;
  readonly replay: Replay;
  readonly log: ReadLog;
  readonly damage: Damage | null;
  readonly isBehindState: boolean;
  /** Sequence of the segment that the next batch begins; null: it goes behind the last one that was read. */
  readonly nextSequence: number | null;
  /** Segments of these sequences, both included, are damaged and no longer in use. */
  readonly aside: { readonly from: number; readonly through: number } | null;
};

/**
 * Reads the segments of a folder and decides what becomes of them.
 * @throws RockpoolError DATA_LOSS when acknowledged bytes are damaged for good; FAILED_PRECONDITION when a file is
 *   another journal's or of another format
 */
export function recoverWal(options: RecoveryOptions): RecoveredWal {
  const { fileSystem, folder, owner, crc32c } = options;
  const walk: Walk = { fileSystem, folder, owner, crc32c, window: new WindowBuffer() };
  const found = findSegments(walk);
  const mark = theMark(options, found);
  const decision = decide(options, walk, mark, found);
  const isShortened = decision.mark.begin.index > mark.begin.index;
  return { ...settle(options, walk, found, decision), isShortened };
}

function theMark(options: RecoveryOptions, found: readonly FoundSegment[]): WalMark {
  const { fileSystem, folder, owner, crc32c, isLossAccepted } = options;
  const seen = readMark(fileSystem, folder, crc32c);
  if (seen.kind === "found") {
    checkOwner(owner, seen.mark.owner, join(folder, MARK_FILE));
    return knowingMembers(seen.mark, options);
  }
  const oldest = found.find(({ kind }) => kind !== "unused");
  if (oldest === undefined && seen.kind === "none") return firstMark(owner);
  if (isLossAccepted !== true)
    throw lostFile(
      join(folder, MARK_FILE),
      seen.kind === "damaged" ? "is damaged in both copies" : "is missing",
    );
  if (oldest?.kind !== "used") return firstMark(owner);
  const { firstIndex, previousTerm, sequence } = oldest.identity;
  const begin = { index: firstIndex - 1, term: previousTerm };
  // The mark was the only one to tell who the members are where the log begins; newer ones are in the log itself.
  const membership = begin.index === 0 ? null : options.covered.membership;
  const first = firstMark(owner);
  return { ...first, begin, membership, start: { ...first.start, sequence } };
}

/** A mark that a repair made may not know the members: those of the state are at least as new. */
function knowingMembers(mark: WalMark, { covered }: RecoveryOptions): WalMark {
  const isKnown = mark.membership !== null || mark.begin.index === 0;
  return isKnown || covered.index < mark.begin.index
    ? mark
    : { ...mark, membership: covered.membership };
}

function decide(
  options: RecoveryOptions,
  walk: Walk,
  mark: WalMark,
  found: readonly FoundSegment[],
): Decision {
  const replay = new Replay(mark, options.membership, options.cacheBytesMax);
  const inUse = found.filter(({ sequence }) => sequence >= mark.start.sequence);
  const log = readStrict(walk, mark, inUse, replay);
  const lastUsed = lastSequenceOf(inUse);
  if (lastUsed < mark.lastSequence && options.isLossAccepted !== true)
    throw lostFile(
      pathOfSegment(walk.folder, mark.lastSequence),
      "was begun, and is missing or empty",
    );
  const from = {
    sequence: log.used.at(-1)?.sequence ?? mark.start.sequence,
    offsetBytes: log.end?.offsetBytes ?? mark.start.offsetBytes,
  };
  const survey = new Surveyor(walk, replay.hardState).survey(inUse, from);
  const stated = { ...mark, hardState: survey.hardState };
  const hole = log.hole ?? holeAtEnd(walk, log, survey);
  if (hole !== null)
    return decideDamage(options, walk, inUse, { mark: stated, replay, log, hole, survey });
  const nextSequence = log.used.length === 0 ? mark.start.sequence : null;
  const whole = { damage: null, isBehindState: false, nextSequence, aside: null };
  const decision: Decision = { mark: stated, replay, log, ...whole };
  if (!isBehind(options.covered, replay)) return decision;
  return { ...beginAtState(options, decision, inUse), isBehindState: true };
}

function lastSequenceOf(found: readonly FoundSegment[]): number {
  return found.findLast(({ kind }) => kind !== "unused")?.sequence ?? 0;
}

/** @throws RockpoolError DATA_LOSS when sound records contradict each other */
function readStrict(walk: Walk, mark: WalMark, found: readonly FoundSegment[], replay: Replay) {
  try {
    return readLog(walk, mark, found, replay);
  } catch (cause) {
    if (!(cause instanceof MisfitError)) throw cause;
    throw new RockpoolError(
      "DATA_LOSS",
      `The journal contradicts itself: ${cause.message}`,
      REPLACE_REMEDY,
      { cause },
    );
  }
}

/** The end of the newest segment is torn, unless something says that more was durable. */
function holeAtEnd(walk: Walk, { used, end }: ReadLog, { newest }: Survey): Hole | null {
  const identity = used.at(-1);
  if (identity === undefined || end === null || newest === null) return null;
  if (newest.batchNumber <= end.batchNumber) return null;
  return {
    path: pathOfSegment(walk.folder, identity.sequence),
    sequence: identity.sequence,
    offsetBytes: end.offsetBytes,
    why: `batch ${newest.batchNumber} was durable, and batch ${end.batchNumber} is the last one readable`,
  };
}

/** True when the state has applied an entry that the log does not hold, and does not begin behind either. */
function isBehind({ index, term }: StatePosition, { index: log }: Replay): boolean {
  return index >= log.firstIndex && log.termOf(index) !== term;
}

/** What was read of a log with a hole. */
type Broken = {
  readonly mark: WalMark;
  readonly replay: Replay;
  readonly log: ReadLog;
  readonly hole: Hole;
  readonly survey: Survey;
};

function decideDamage(
  options: RecoveryOptions,
  walk: Walk,
  found: readonly FoundSegment[],
  broken: Broken,
): Decision {
  const { mark, replay, hole, survey } = broken;
  const { covered } = options;
  const prefix = replay.position();
  const last = survey.highest ?? prefix;
  const damage = { ...hole, firstIndex: prefix.index + 1, last };
  // Behind the checkpoint rather than behind the state: after a power cut the state is that of the checkpoint.
  const { secured = null } = options;
  const isOlder = secured !== null && secured.index < covered.index;
  for (const begin of isOlder ? [secured, covered] : [covered]) {
    const resumed = resumeBehind({ ...options, covered: begin }, walk, found, broken, damage);
    // The state may be ahead of all that is left: a log behind the checkpoint would not reach it.
    if (resumed !== null && !isBehind(covered, resumed.replay)) return resumed;
  }
  const cut = cutAtHole(broken);
  if (covered.index >= last.index && covered.index >= prefix.index)
    return beginAtState(options, { ...cut, damage: { ...damage, verdict: "covered" } }, found);
  if (options.isLossAccepted === true) return { ...cut, damage: { ...damage, verdict: "lost" } };
  if (!(options.canRepair ?? hasOthers(options, replay))) throw lostEntries(damage);
  const promised = mark.promised !== null && isAtLeast(mark.promised, last) ? mark.promised : last;
  const repairing: Decision = {
    ...cut,
    mark: { ...cut.mark, promised },
    damage: { ...damage, verdict: "promised" },
  };
  return isBehind(covered, replay) ? beginAtState(options, repairing, found) : repairing;
}

/** The log up to the hole. The segment with the hole stays when it holds a part of it. */
function cutAtHole({ mark, replay, log, hole }: Broken): Decision {
  const { used, end } = log;
  const identity = used.at(-1);
  const isStart = identity?.sequence === mark.start.sequence && mark.start.offsetBytes > 0;
  const begin = isStart ? mark.start.offsetBytes : (identity?.dataOffset ?? 0);
  const isPartKept = identity?.sequence === hole.sequence && (end?.offsetBytes ?? 0) > begin;
  const nextSequence = isPartKept ? hole.sequence + 1 : hole.sequence;
  const kept = used.filter(({ sequence }) => sequence < nextSequence);
  const start = {
    sequence: nextSequence,
    offsetBytes: 0,
    chain: end?.chain ?? mark.start.chain,
    batchNumber: end === null ? mark.start.batchNumber : end.batchNumber + 1,
  };
  // What was committed later may not be what stands here, but what replaced it in the part that is gone.
  replay.hardState = { ...mark.hardState, commitIndex: replay.commitIndex };
  const cut = { ...mark, hardState: replay.hardState };
  return {
    mark: kept.length > 0 ? cut : { ...cut, start },
    replay,
    log: { used: kept, end, hole },
    damage: null,
    isBehindState: false,
    nextSequence,
    aside: { from: nextSequence, through: Number.POSITIVE_INFINITY },
  };
}

/** A voter that is alone has nobody to ask. A member that no membership names is about to join others. */
function hasOthers({ owner, covered }: RecoveryOptions, { configs, index }: Replay): boolean {
  const isStateNewer = covered.index > index.lastIndex;
  const { voters } = configs.membershipOf(
    isStateNewer ? covered.membership : configs.payloadAt(index.lastIndex),
  );
  return voters.length !== 1 || voters[0] !== owner.memberId;
}

/** When what is readable behind the damage follows upon the state: the log begins there, and nothing is lost. */
function resumeBehind(
  options: RecoveryOptions,
  walk: Walk,
  found: readonly FoundSegment[],
  { mark, hole, survey: { run, newest } }: Broken,
  damage: Omit<Damage, "verdict">,
): Decision | null {
  const { covered, membership, cacheBytesMax } = options;
  if (run === null || newest === null || run.lastBatchNumber !== newest.batchNumber) return null;
  if (covered.index < damage.firstIndex - 1) return null;
  const begin = { index: covered.index, term: covered.term };
  const candidate = { ...mark, begin, membership: covered.membership, start: run.start };
  const replay = new Replay(candidate, membership, cacheBytesMax);
  const later = found.filter(({ sequence }) => sequence >= run.start.sequence);
  try {
    const log = readLog(walk, candidate, later, replay);
    if (log.hole !== null || log.end?.batchNumber !== newest.batchNumber) return null;
    return {
      mark: candidate,
      replay,
      log,
      damage: { ...damage, last: begin, verdict: "covered" },
      isBehindState: false,
      nextSequence: null,
      aside: { from: hole.sequence, through: run.start.sequence - 1 },
    };
  } catch (error) {
    if (error instanceof MisfitError) return null;
    throw error;
  }
}

/** An empty log behind what the state holds. */
function beginAtState(
  { covered, membership, cacheBytesMax }: RecoveryOptions,
  before: Decision,
  found: readonly FoundSegment[],
): Decision {
  const { log, replay, mark: old } = before;
  const newest = Math.max(lastSequenceOf(found), old.lastSequence, old.start.sequence - 1);
  const mark: WalMark = {
    ...old,
    begin: { index: covered.index, term: covered.term },
    membership: covered.membership,
    start: {
      sequence: newest + 1,
      offsetBytes: 0,
      chain: log.end?.chain ?? old.start.chain,
      batchNumber: log.end === null ? old.start.batchNumber : log.end.batchNumber + 1,
    },
    hardState: mergeStates(old.hardState, replay.hardState),
  };
  return {
    ...before,
    mark,
    replay: new Replay(mark, membership, cacheBytesMax),
    log: { used: [], end: null, hole: null },
    nextSequence: newest + 1,
    // The segment with the hole is in use no more, not even in part; it may hold the last copy of something.
    aside:
      log.hole === null ? null : { from: log.hole.sequence, through: Number.POSITIVE_INFINITY },
  };
}

/** Fills in what follows from a decision. */
function settle(
  options: RecoveryOptions,
  walk: Walk,
  found: readonly FoundSegment[],
  { mark, replay, log, damage, isBehindState, nextSequence, aside }: Decision,
): Omit<RecoveredWal, "isShortened"> {
  const { used, end } = log;
  const newest = used.at(-1);
  const isAppendable = nextSequence === null && newest !== undefined && end !== null;
  const atEnd = isAppendable
    ? readTail(walk, newest, end)
    : { lastBatch: new Uint8Array(0), torn: null };
  const next = nextSequence ?? (newest?.sequence ?? 0) + 1;
  const spare = found.find((each) => isSpare(each, options.segmentBytes) && each.sequence === next);
  const others = found.filter(
    (each) => each !== spare && !used.some(({ sequence }) => sequence === each.sequence),
  );
  const isAside = ({ kind, sequence }: FoundSegment) =>
    aside !== null && kind !== "unused" && sequence >= aside.from && sequence <= aside.through;
  return {
    mark: {
      ...mark,
      promised: openPromise(options, mark, replay),
      lastSequence: newest?.sequence ?? 0,
    },
    index: replay.index,
    configs: replay.configs,
    hardState: fitState(mergeStates(replay.hardState, mark.hardState), replay.index),
    segments: used,
    end: isAppendable ? end : null,
    tail: {
      sequence: next - 1,
      chain: end?.chain ?? mark.start.chain,
      batchNumber: end?.batchNumber ?? mark.start.batchNumber - 1,
    },
    ...atEnd,
    spare: spare?.sequence ?? null,
    aside: others.filter(isAside).map(({ sequence }) => sequence),
    obsolete: others.filter((each) => !isAside(each)).map(({ sequence }) => sequence),
    damage,
    isBehindState,
  };
}

function isSpare(segment: FoundSegment, segmentBytes: number): boolean {
  return segment.kind === "unused" && segment.isBlank && segment.sizeBytes === segmentBytes;
}

function openPromise(
  { covered, isLossAccepted }: RecoveryOptions,
  { promised }: WalMark,
  replay: Replay,
): Position | null {
  if (promised === null || isLossAccepted === true) return null;
  return isAtLeast(replay.position(), promised) || isAtLeast(covered, promised) ? null : promised;
}

/** Looks behind the last batch of the newest segment. */
function readTail(walk: Walk, identity: SegmentIdentity, end: ChainPoint) {
  const path = pathOfSegment(walk.folder, identity.sequence);
  return withSegment(walk, path, (segment) => {
    const { offsetBytes, lastBatchOffset } = end;
    const lastBatch = segment.read(lastBatchOffset, offsetBytes - lastBatchOffset).slice();
    const endBytes = endOfBytes(segment, offsetBytes, segment.sizeBytes);
    const torn: TornTail | null = endBytes > offsetBytes ? { path, offsetBytes, endBytes } : null;
    return { lastBatch, torn };
  });
}

/** A crash may keep a commit index and lose the entries. */
function fitState(hardState: HardState, index: EntryIndex): HardState {
  const isTermBehind = index.lastTerm() > hardState.term;
  const committed = Math.min(hardState.commitIndex, index.lastIndex);
  return {
    term: isTermBehind ? index.lastTerm() : hardState.term,
    vote: isTermBehind ? null : hardState.vote,
    commitIndex: Math.max(committed, index.firstIndex - 1),
  };
}
