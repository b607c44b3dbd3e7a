/**
 * What the main thread and the journal thread say to each other, and what the journal tells its operator.
 *
 * Messages are plain values that survive a structured clone; bulk travels as one packed buffer, and is copied: from the
 * first buffer that is transferred on, V8 slows every access to a typed array in the sending thread. Each direction is
 * ordered. Of the thread's messages: `accepted` comes before the `committed` that holds its entries, and the
 * `softState` of a lost reign comes after every answer given under it.
 * @module
 */
import { EXIT, isRockpoolError, messageOf, type StatusName } from "../common/errors.ts";
import type { LogIndex, MemberId, Term } from "../common/ids.ts";
import { InvariantError, invariant } from "../common/invariant.ts";
import type { Entry, SoftState } from "../raft/messages.ts";
import type { TransportEvent } from "./raft_transport.ts";
import type { WalEvent } from "./wal.ts";

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
export function unpack({ bytes, lengths }: Packed): Uint8Array[] {
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const length of lengths) {
    parts.push(bytes.subarray(offset, offset + length));
    offset += length;
  }
  invariant(offset === bytes.length, "packed bytes are as long as their parts");
  return parts;
}

/** Consecutive entries. `isCommand` is 0 for no-ops and memberships. */
export type PackedEntries = Packed & {
  readonly firstIndex: LogIndex;
  readonly terms: Float64Array<ArrayBuffer>;
  readonly isCommand: Uint8Array<ArrayBuffer>;
};

export function packEntries(entries: readonly Entry[]): PackedEntries {
  return {
    ...pack(entries.map((entry) => entry.payload)),
    firstIndex: entries[0]?.index ?? 0,
    terms: Float64Array.from(entries, (entry) => entry.term),
    isCommand: Uint8Array.from(entries, (entry) => (entry.kind === "command" ? 1 : 0)),
  };
}

export type ToThread =
  | { readonly kind: "start"; readonly options: ThreadOptions; readonly appliedIndex: LogIndex }
  /** Refused unless the thread still leads in `term`. */
  | {
      readonly kind: "propose";
      readonly requestId: number;
      readonly term: Term;
      readonly payloads: Packed;
    }
  | { readonly kind: "read"; readonly context: number; readonly term: Term }
  | { readonly kind: "transfer"; readonly requestId: number; readonly to: MemberId }
  /** Everything through `index` is applied: more may be sent. */
  | { readonly kind: "applied"; readonly index: LogIndex }
  | { readonly kind: "close" };

export type MemberStatus = {
  readonly id: MemberId;
  readonly isAvailable: boolean;
  readonly matchIndex: LogIndex | null;
};

export type ThreadStatus = {
  readonly lastIndex: LogIndex;
  readonly commitIndex: LogIndex;
  readonly members: readonly MemberStatus[];
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

export type JournalEvent =
  | WalEvent
  | TransportEvent
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
  | { readonly kind: "readReady"; readonly context: number; readonly index: LogIndex }
  | { readonly kind: "readsAborted"; readonly contexts: readonly number[] }
  | { readonly kind: "softState"; readonly softState: SoftState }
  | { readonly kind: "transferAnswer"; readonly requestId: number; readonly isBegun: boolean }
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
