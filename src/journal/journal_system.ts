/**
 * The journal as the masters see it: one interface, two implementations (Raft; ZooKeeper with a
 * journal on a shared under file system).
 *
 * A payload is opaque bytes here. Promises:
 * - `propose` resolves only after the entry is durable on a quorum AND applied here, with what the
 *   state machine returned for it. If leadership ends first it rejects with UNAVAILABLE: the entry
 *   may or may not survive, and the caller's retry carries the same operation id.
 * - Entries are applied in log order, each exactly once, on every master.
 * - After `readBarrier` resolves, local state holds every entry that any client was told of before
 *   the call was made (linearizable reads).
 * @module
 */
import type { LogIndex, MemberId, Term } from "../common/ids.ts";

/**
 * A command that a quorum has made durable. Commands that were proposed at the same moment may share one entry of the log: they
 * have the same index, and are applied in one transaction, in order. No-ops and membership entries are not shown.
 */
export type CommittedEntry = {
  readonly index: LogIndex;
  readonly term: Term;
  readonly payload: Uint8Array;
};

/** Where a state stands in the log. */
export type StatePosition = {
  /** The last entry whose effects are in the state, and its term; 0 and 0 for none. */
  readonly index: LogIndex;
  readonly term: Term;
  /** The payload of the newest config entry up to there; null before the first. Opaque to the state machine. */
  readonly membership: Uint8Array | null;
};

/** What the journal drives. Called on the main thread only, never re-entered. */
export interface StateMachine<R> {
  /** What the store holds. */
  position(): StatePosition;
  /**
   * Applies entries in one transaction, which also stores `through` as the position (it is at or after the last entry:
   * no-ops and memberships move it too; its membership is null when that did not change).
   * @returns one result for each entry, in order
   */
  apply(entries: readonly CommittedEntry[], through: StatePosition): readonly R[];
  /**
   * Writes an image of the whole state, as of one moment, to a new file, while entries go on being applied.
   * @returns the position of the image
   */
  writeImage(path: string): Promise<StatePosition>;
  /**
   * Replaces the whole state by the image in the first `imageBytes` of a file, of which the caller has checked every byte.
   * A crash leaves the old state, the new one, or an empty one with position 0. Nothing is applied meanwhile.
   * @throws RockpoolError FAILED_PRECONDITION when the image is of a version that this program does not read
   */
  installImage(path: string, imageBytes: number): Promise<StatePosition>;
}

export type Role = "leader" | "candidate" | "follower";

export type JournalMember = {
  readonly id: MemberId;
  /** host:port of the member's journal port. */
  readonly address: string;
  readonly isSelf: boolean;
  readonly isLeader: boolean;
  /** A learner receives the log and does not count; it becomes a voter when it has caught up. */
  readonly standing: "voter" | "learner";
  /** Heard of within one election time-out (always true for oneself). */
  readonly isAvailable: boolean;
  /** On the leader: what the member is known to hold. Else null. */
  readonly matchIndex: LogIndex | null;
};

/** Where a change of leader spent its time, as this master saw it. Milliseconds, one after the other. */
export type Failover = {
  readonly term: Term;
  /** Journal addresses; null for one that is not known. */
  readonly fromAddress: string | null;
  readonly toAddress: string | null;
  /** Wall clock, when it was over here. */
  readonly endedMs: number;
  /** From the last word of the old leader until it was missed; null when it said goodbye or was never heard. */
  readonly silenceMs: number | null;
  /** Until this master stood for election; null when another one did. */
  readonly campaignMs: number | null;
  /** Until it had the votes, or heard of the new leader. */
  readonly votesMs: number;
  /** Until the first entry of the new term was applied here, so that it served; null on a standby. */
  readonly applyMs: number | null;
  readonly totalMs: number;
};

/** Filled by the journal: where the time of an operation's proposals went, summed up. */
export type ProposalTimes = { queueMs: number; journalMs: number; applyMs: number };

/** The newest fsyncs of the log. */
export type FlushTimes = { readonly count: number; readonly samplesMs: readonly number[] };

/** A snapshot for status pages; may be some milliseconds old. */
export type JournalStatus = {
  /** True once this master leads and has applied the first entry of its own term: it may serve. */
  readonly isServing: boolean;
  readonly role: Role;
  readonly term: Term;
  readonly leader: MemberId | null;
  readonly lastIndex: LogIndex;
  readonly commitIndex: LogIndex;
  readonly appliedIndex: LogIndex;
  readonly members: readonly JournalMember[];
  /** Wall-clock ms of the last time this master began to serve, and stopped; null for never. */
  readonly lastGainedMs: number | null;
  readonly lastLostMs: number | null;
  /** The last change of leader that this master saw; null for none since it started. */
  readonly lastFailover: Failover | null;
  readonly flushes: FlushTimes;
  /** By how much the newest ticks of the journal's thread came late. */
  readonly lags: FlushTimes;
};

/** `term` identifies a reign: work begun under one must not be finished under another. */
export type LeadershipEvent =
  | { readonly kind: "gained"; readonly term: Term; readonly tookMs: number }
  | { readonly kind: "lost"; readonly term: Term };

export interface JournalSystem<R> {
  /** Opens the journal and joins its peers. Resolves when the log is recovered, not when somebody leads. */
  start(): Promise<void>;
  /**
   * @throws RockpoolError UNAVAILABLE when this master does not lead (any more);
   *   RESOURCE_EXHAUSTED when too many proposals wait or the disk is full
   */
  propose(payload: Uint8Array, times?: ProposalTimes): Promise<R>;
  /** @throws RockpoolError UNAVAILABLE when this master does not lead (any more) */
  readBarrier(): Promise<void>;
  /** True while this master leads and has applied the first entry of its own term. */
  isServing(): boolean;
  status(): JournalStatus;
  /** Adds a listener for leadership; it is called on the main thread, in order of the events. */
  onLeadership(listener: (event: LeadershipEvent) => void): void;
  /** Hands leadership to a member; resolves when it was seen to lead. */
  transferLeadership(to: MemberId): Promise<void>;
  /**
   * Lets the master at `address` take part: it becomes a learner, catches up, and becomes a voter. Resolves then. Any other
   * member under that address (one whose disk was lost) is removed first.
   * @throws RockpoolError UNAVAILABLE when this master does not lead; ALREADY_EXISTS; DEADLINE_EXCEEDED when no master
   *   from that address has asked to join, or does not catch up, within `timeoutMs`
   */
  addMember(address: string, timeoutMs: number): Promise<void>;
  /**
   * Removes a member for good; resolves when that is committed. A leader may remove itself.
   * @throws RockpoolError UNAVAILABLE when this master does not lead; NOT_FOUND when no member has that address;
   *   FAILED_PRECONDITION when the remaining ones could not reach a quorum
   */
  removeMember(address: string): Promise<void>;
  /**
   * Writes a checkpoint of this master's state now, and trims the log before the older ones.
   * @throws RockpoolError RESOURCE_EXHAUSTED when the disk has no room
   */
  checkpoint(): Promise<StatePosition>;
  /** Leaves in peace: transfers leadership if it leads and somebody can take it, then closes. */
  close(): Promise<void>;
}
