/**
 * What the main thread and the journal thread say to each other, and what the journal tells its operator.
 *
 * Messages are plain values that survive a structured clone; bulk travels as one packed buffer, and is copied: from the
 * first buffer that is transferred on, V8 slows every access to a typed array in the sending thread. Each direction is
 * ordered. Of the thread's messages: `accepted` comes before what commits its entries, and the
 * `softState` of a lost reign comes after every answer given under it.
 * @module
 */
import {
  EXIT,
  isRockpoolError,
  messageOf,
  RockpoolError,
  type StatusName,
} from "../common/errors.ts";
import type { LogIndex, MemberId, Term } from "../common/ids.ts";
import { InvariantError, invariant } from "../common/invariant.ts";
import {
  BATCH_BYTES_MAX,
  PEER_INFLIGHT_BYTES_MAX,
  PEER_INFLIGHT_ENTRIES_MAX,
} from "../common/limits.ts";
import type { Entry, SoftState } from "../raft/messages.ts";
import type { FlushTimes, JournalMember, StatePosition } from "./journal_system.ts";
import type { RefusalReason, TransportEvent } from "./peer_transport.ts";
import type { WalEvent } from "./wal_options.ts";

export type JournalTimings = {
  /** Unit of the core's time. */
  readonly tickMs: number;
  /** Ticks are derived by rounding; elections must take more than three heartbeats. */
  readonly heartbeatMs: number;
  readonly electionMinMs: number;
  readonly electionMaxMs: number;
};

export const DEFAULT_TIMINGS: JournalTimings = {
  tickMs: 10,
  heartbeatMs: 50,
  electionMinMs: 200,
  electionMaxMs: 400,
};

/** @throws RockpoolError INVALID_ARGUMENT when the time-outs do not fit each other */
export function checkTimings({
  tickMs,
  heartbeatMs,
  electionMinMs,
  electionMaxMs,
}: JournalTimings): void {
  const isFit =
    tickMs >= 1 &&
    heartbeatMs >= tickMs &&
    Math.round(electionMinMs / tickMs) > 3 * Math.round(heartbeatMs / tickMs) &&
    electionMaxMs >= electionMinMs;
  if (isFit) return;
  throw new RockpoolError(
    "INVALID_ARGUMENT",
    `Elections between ${electionMinMs} and ${electionMaxMs} ms do not fit heartbeats of ${heartbeatMs} ms`,
    "Set alluxio.master.embedded.journal.election.timeout.min to more than three heartbeat intervals, and .max above it",
  );
}

/** Bounds of what may be unacknowledged towards one peer, and of one message of entries. */
export type ReplicationLimits = {
  readonly inflightEntriesMax: number;
  readonly inflightBytesMax: number;
  readonly appendBytesMax: number;
};

export const DEFAULT_REPLICATION: ReplicationLimits = {
  inflightEntriesMax: PEER_INFLIGHT_ENTRIES_MAX,
  inflightBytesMax: PEER_INFLIGHT_BYTES_MAX,
  appendBytesMax: BATCH_BYTES_MAX,
};

/** What the journal thread needs to know; nothing in it can't be cloned. */
export type ThreadOptions = {
  readonly folder: string;
  readonly address: string;
  readonly addresses: readonly string[];
  readonly bindHost: string;
  readonly bindPort: number;
  readonly segmentBytes: number;
  readonly cacheBytesMax: number;
  readonly timings: JournalTimings;
  readonly replication: ReplicationLimits;
  /** A checkpoint is made after so many entries, or after `checkpointIntervalMs` if there were some. */
  readonly checkpointEntries: number;
  readonly checkpointIntervalMs: number;
  /** Shared. The main thread counts its turns in it, some each second. */
  readonly mainTurns: Int32Array;
};

/** Byte strings end to end, so that one copy carries them all. */
export type Packed = {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly lengths: Uint32Array<ArrayBuffer>;
};

export function pack(parts: readonly Uint8Array[]): Packed {
  const lengths = new Uint32Array(parts.length);
  let total = 0;
  for (const [at, part] of parts.entries()) {
    lengths[at] = part.length;
    total += part.length;
  }
  const bytes = new Uint8Array(total);
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return { bytes, lengths };
}

/** The byte strings, as views on the packed buffer. */
export function unpack(packed: Packed): Uint8Array[] {
  const parts: Uint8Array[] = [];
  const end = unpackInto(parts, packed, 0, packed.lengths.length);
  invariant(end === packed.bytes.length, "packed bytes are as long as their parts");
  return parts;
}

/**
 * Adds some of the byte strings, as views on the packed buffer.
 * @param first and at most `countMax` after it
 * @returns where the last of them ends
 */
export function unpackInto(
  parts: Uint8Array[],
  { bytes, lengths }: Packed,
  first: number,
  countMax: number,
): number {
  let offset = 0;
  for (let at = 0; at < first; at++) offset += lengths[at] ?? 0;
  const end = Math.min(lengths.length, first + countMax);
  for (let at = first; at < end; at++) {
    const length = lengths[at] ?? 0;
    parts.push(bytes.subarray(offset, offset + length));
    offset += length;
  }
  return offset;
}

/** Codes of `PackedEntries.kinds`. */
export const ENTRY_KINDS = {
  noop: 0,
  command: 1,
  config: 2,
  commands: 3,
} as const satisfies Record<Entry["kind"], number>;

/** Consecutive entries. */
export type PackedEntries = Packed & {
  readonly firstIndex: LogIndex;
  readonly terms: Float64Array<ArrayBuffer>;
  /** Of {@link ENTRY_KINDS}. */
  readonly kinds: Uint8Array<ArrayBuffer>;
};

export function packEntries(entries: readonly Entry[]): PackedEntries {
  const count = entries.length;
  const terms = new Float64Array(count);
  const kinds = new Uint8Array(count);
  const payloads: Uint8Array[] = [];
  for (let at = 0; at < count; at++) {
    const entry = entries[at];
    invariant(entry !== undefined, "a list has no holes");
    terms[at] = entry.term;
    kinds[at] = ENTRY_KINDS[entry.kind];
    payloads.push(entry.payload);
  }
  return { ...pack(payloads), firstIndex: entries[0]?.index ?? 0, terms, kinds };
}

export type ToThread =
  | { readonly kind: "start"; readonly options: ThreadOptions; readonly position: StatePosition }
  /** Refused unless the thread still leads in `term`. */
  | {
      readonly kind: "propose";
      readonly requestId: number;
      readonly term: Term;
      readonly entryKind: "command" | "commands";
      readonly payloads: Packed;
    }
  | { readonly kind: "read"; readonly context: number; readonly term: Term }
  | { readonly kind: "transfer"; readonly requestId: number; readonly to: MemberId }
  /** Everything through `index` is applied, so many commands since the last time: more may be sent. */
  | { readonly kind: "applied"; readonly index: LogIndex; readonly commandCount: number }
  /** Answered with "done". */
  | { readonly kind: "remove"; readonly requestId: number; readonly address: string }
  /** Answered with "done". */
  | { readonly kind: "checkpoint"; readonly requestId: number }
  /** What became of "writeImage". */
  | { readonly kind: "imageWritten"; readonly outcome: StatePosition | Failed }
  /** What became of "installImage". */
  | { readonly kind: "imageInstalled"; readonly outcome: StatePosition | InstallFailed }
  | { readonly kind: "close" };

export type Failed = { readonly failed: PlainError; readonly isNoSpace: boolean };

/** `position`: where the state stands all the same. */
export type InstallFailed = Failed & { readonly position: StatePosition };

export type MemberStatus = Omit<JournalMember, "isLeader">;

export type ThreadStatus = {
  /** Null while it is not decided whether this master is a founder. */
  readonly self: MemberId | null;
  readonly lastIndex: LogIndex;
  readonly commitIndex: LogIndex;
  readonly members: readonly MemberStatus[];
  readonly flushes?: FlushTimes;
  readonly lags?: FlushTimes;
};

/** A RockpoolError on its way between threads. */
export type PlainError = {
  readonly status: StatusName;
  readonly message: string;
  readonly remedy: string;
};

export function plainError(error: unknown): PlainError {
  if (isRockpoolError(error)) {
    const { status, message, remedy } = error;
    return { status, message, remedy };
  }
  return { status: "INTERNAL", message: messageOf(error), remedy: "" };
}

/** The exit code for a journal that can't be opened: of what `start()` rejects with. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof InvariantError) return EXIT.invariant;
  if (isRockpoolError(error, "DATA_LOSS")) return EXIT.journalDamaged;
  if (isRockpoolError(error, "FAILED_PRECONDITION")) return EXIT.notFormatted;
  if (isRockpoolError(error, "UNAVAILABLE")) return EXIT.cannotStart;
  return EXIT.journalIo;
}

/** What is told of the members and of how they change. */
export type MembershipEvent =
  /** A fresh journal waits for the other masters, to learn whether their cluster lives already. */
  | { readonly kind: "undecided"; readonly folder: string; readonly seeds: readonly string[] }
  | {
      readonly kind: "identitySettled";
      readonly standing: "founder" | "joiner";
      readonly address: string;
    }
  /** The addresses in the log are right; those of the configuration only say whom to ask at first. */
  | {
      readonly kind: "configurationDiffers";
      readonly configured: readonly string[];
      readonly members: readonly string[];
    }
  | {
      readonly kind: "membershipChanged";
      readonly index: LogIndex;
      readonly voters: readonly string[];
      readonly learners: readonly string[];
    }
  /** What this leader does for a master that asked to join. */
  | {
      readonly kind: "joining";
      readonly address: string;
      readonly step: "removeOld" | "addLearner" | "addVoter";
    }
  /** A peer does not let this master in. */
  | {
      readonly kind: "refusedByPeer";
      readonly address: string;
      readonly reason: RefusalReason;
      readonly explanation: string;
    }
  /** The peer's journal is not the one that was known under its address: it does not take part. */
  | {
      readonly kind: "peerWiped";
      readonly address: string;
      readonly message: string;
      readonly remedy: string;
    }
  /** Nobody leads for long, and voters that are up have lost their journals: by itself this does not end. */
  | {
      readonly kind: "quorumLost";
      readonly neededCount: number;
      /** Voters that are up with their journals. */
      readonly up: readonly string[];
      readonly wiped: readonly string[];
      readonly missing: readonly string[];
      readonly message: string;
      readonly remedy: string;
    }
  /** A joiner waits for long: nobody leads those whom it asks. */
  | {
      readonly kind: "notTakenIn";
      readonly asked: readonly string[];
      readonly message: string;
      readonly remedy: string;
    }
  /** Another master with a fresh journal was formatted with other addresses: the two will not found a cluster together. */
  | {
      readonly kind: "addressListsDiffer";
      readonly address: string;
      /** Only in this master's list, and only in the other one's. */
      readonly onlyHere: readonly string[];
      readonly onlyThere: readonly string[];
      readonly message: string;
      readonly remedy: string;
    };

/** What is told of checkpoints, and of damage and its repair. */
export type CheckpointEvent =
  | {
      readonly kind: "checkpointMade";
      readonly path: string;
      readonly index: LogIndex;
      readonly sizeBytes: number;
      readonly tookMs: number;
    }
  /** Tried again later; nothing is lost. */
  | { readonly kind: "checkpointFailed"; readonly message: string; readonly remedy: string }
  | { readonly kind: "checkpointDamaged"; readonly path: string; readonly why: string }
  | {
      readonly kind: "checkpointFetching";
      readonly index: LogIndex;
      readonly fromAddress: string;
      readonly offsetBytes: number;
    }
  | {
      readonly kind: "checkpointFetched";
      readonly index: LogIndex;
      readonly sizeBytes: number;
      readonly tookMs: number;
    }
  | {
      readonly kind: "fetchFailed";
      readonly index: LogIndex;
      readonly message: string;
      readonly remedy: string;
    }
  /** The state was older than what the log begins with, or a peer sent a newer one. */
  | { readonly kind: "checkpointInstalled"; readonly index: LogIndex; readonly tookMs: number }
  /** Part of this master's log was damaged; until it has everything through `promisedIndex` again it supports no one who has less. */
  | {
      readonly kind: "repairing";
      readonly promisedIndex: LogIndex;
      readonly lastIndex: LogIndex;
      readonly fromAddress: string;
    }
  /** Nobody who is up can be elected, because nobody has the entries that this master acknowledged and lost. */
  | {
      readonly kind: "repairStuck";
      readonly missingFrom: LogIndex;
      readonly promisedIndex: LogIndex;
      readonly message: string;
      readonly remedy: string;
    };

export type JournalEvent =
  | WalEvent
  | TransportEvent
  | MembershipEvent
  | CheckpointEvent
  | {
      readonly kind: "journalOpened";
      readonly folder: string;
      readonly lastIndex: LogIndex;
      readonly commitIndex: LogIndex;
      readonly term: Term;
      readonly tookMs: number;
    }
  | { readonly kind: "lockTakenOver"; readonly folder: string; readonly pid: number }
  | {
      readonly kind: "roleChanged";
      readonly role: SoftState["role"];
      readonly term: Term;
      readonly leaderAddress: string | null;
    }
  /** This thread did not run for so long. Its own timers start anew. */
  | { readonly kind: "stalled"; readonly gapMs: number }
  /** This leader's disk or main thread hangs: another member is asked to lead. */
  | {
      readonly kind: "steppingAside";
      readonly part: "disk" | "mainThread";
      readonly stillMs: number;
      readonly heirAddress: string;
    }
  /** The disk is full: this member neither leads nor votes until there is room, which it looks for every second. */
  | { readonly kind: "readOnly"; readonly message: string; readonly remedy: string }
  /** Of a journal on a shared store, as the following ones. */
  | {
      readonly kind: "sharedJournalOpened";
      readonly index: LogIndex;
      readonly epoch: Term;
      readonly tookMs: number;
    }
  /** This master leads from there on. */
  | {
      readonly kind: "fenced";
      readonly index: LogIndex;
      readonly epoch: Term;
      readonly tookMs: number;
    }
  | { readonly kind: "deposed"; readonly reason: string }
  | { readonly kind: "logMerged"; readonly count: number; readonly lastIndex: LogIndex }
  | { readonly kind: "storeTrouble"; readonly message: string; readonly remedy: string }
  | { readonly kind: "storeWorksAgain" }
  | { readonly kind: "sharedJournalDamaged"; readonly message: string; readonly remedy: string }
  | { readonly kind: "writableAgain" }
  /** The journal has stopped for good: end the process with `exitCode`. */
  | {
      readonly kind: "fatal";
      readonly exitCode: number;
      readonly message: string;
      readonly remedy: string;
      /** A stack, when it is a bug of ours. */
      readonly detail?: string;
    };

export type FromThread =
  | { readonly kind: "started"; readonly status: ThreadStatus; readonly softState: SoftState }
  | { readonly kind: "startFailed"; readonly error: PlainError; readonly exitCode: number }
  | {
      readonly kind: "accepted";
      readonly requestId: number;
      readonly firstIndex: LogIndex;
      readonly term: Term;
    }
  | { readonly kind: "refused"; readonly requestId: number }
  | { readonly kind: "committed"; readonly entries: PackedEntries }
  /** As "committed", of entries that the main thread has proposed under that term and was told of by "accepted". */
  | {
      readonly kind: "committedOwn";
      readonly firstIndex: LogIndex;
      readonly count: number;
      readonly term: Term;
    }
  | { readonly kind: "readReady"; readonly context: number; readonly index: LogIndex }
  | { readonly kind: "readsAborted"; readonly contexts: readonly number[] }
  | {
      readonly kind: "softState";
      readonly softState: SoftState;
      /** Since the leader before was heard last; null when there was none, or it was this member. */
      readonly leaderSilenceMs: number | null;
    }
  | { readonly kind: "transferAnswer"; readonly requestId: number; readonly isBegun: boolean }
  /** Answers "remove" and "checkpoint"; the position is that of the checkpoint. */
  | {
      readonly kind: "done";
      readonly requestId: number;
      readonly outcome: StatePosition | PlainError | null;
    }
  /** Asks for an image of the state in a new file. One at a time. */
  | { readonly kind: "writeImage"; readonly path: string }
  /** Asks to replace the state. What was sent before and is not applied is void. */
  | { readonly kind: "installImage"; readonly path: string; readonly imageBytes: number }
  | { readonly kind: "status"; readonly status: ThreadStatus }
  | { readonly kind: "event"; readonly event: JournalEvent }
  | { readonly kind: "closed" };

/** The way to the journal thread. */
export interface ThreadPort {
  post(message: ToThread): void;
  /** Ends the thread at once, as a crash would. */
  abandon(): Promise<void>;
}

/** Starts a journal thread (or what stands for one). `onMessage` is never called from within. */
export type ConnectThread = (onMessage: (message: FromThread) => void) => ThreadPort;
