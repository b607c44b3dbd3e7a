/**
 * The words of Raft: entries, persistent state, messages, and what the core asks its shell to do.
 *
 * The shape is that of a pure step machine: messages and ticks go in, a {@link Ready} comes out.
 * Sources: Ongaro's thesis (sections named beside each message); the separation of what may leave
 * at once from what must wait for the disk follows 10.2.1 (writing to the leader's disk in parallel).
 * @module
 */
import type { LogIndex, MemberId, Term } from "../common/ids.ts";

export type Entry = {
  readonly index: LogIndex;
  readonly term: Term;
  /**
   * noop: the first entry of a leader's term. config: a membership. command: the user's bytes. commands: those of several at
   * once, of which only the shell knows how they lie in the payload.
   */
  readonly kind: "noop" | "command" | "config" | "commands";
  readonly payload: Uint8Array;
};

/** Must be durable before any message that depends on it leaves. */
export type HardState = {
  readonly term: Term;
  readonly vote: MemberId | null;
  readonly commitIndex: LogIndex;
};

/** Voters count for elections and commits; learners only receive. */
export type Membership = {
  readonly voters: readonly MemberId[];
  readonly learners: readonly MemberId[];
  /** host:port of each of them. The core only hands it on. */
  readonly addresses: ReadonlyMap<MemberId, string>;
};

/** A membership, and the entry that brought it (a config entry's payload is the whole of it, see membership.ts). */
export type MembershipAt = { readonly index: LogIndex; readonly membership: Membership };

/**
 * One step (thesis 4.1): two memberships that follow one another share a quorum. `addVoter` makes a voter of a learner
 * or of a stranger; `addLearner` makes a learner of a stranger.
 */
export type MembershipChange =
  | {
      readonly kind: "addLearner" | "addVoter";
      readonly id: MemberId;
      readonly address: string;
    }
  | { readonly kind: "remove"; readonly id: MemberId };

export type Position = { readonly index: LogIndex; readonly term: Term };

/** A state of the log's effects, kept outside of the log: everything through `index` is in it. */
export type Snapshot = Position & { readonly membership: Membership };

type Envelope = { readonly from: MemberId; readonly to: MemberId; readonly term: Term };

export type Message = Envelope &
  (
    | {
        /** 3.4; preVote 9.6: `term` is the term the candidate would have, and changes nobody's term. */
        readonly kind: "requestVote" | "requestPreVote";
        readonly lastLogIndex: LogIndex;
        readonly lastLogTerm: Term;
        /** True when a leader asked for this election (transfer): stickiness does not apply. */
        readonly isTransfer: boolean;
      }
    | {
        readonly kind: "voteResponse" | "preVoteResponse";
        readonly isGranted: boolean;
        /**
         * The last position that the voter knows to be committed. A candidate may have the entry of a removal and not know
         * that it is committed, and those who know may not vote for it, nor campaign: without this they would wait for
         * ever.
         */
        readonly committed: Position;
      }
    | {
        /** 3.5. No entries: a probe of the position. */
        readonly kind: "appendEntries";
        readonly prevLogIndex: LogIndex;
        readonly prevLogTerm: Term;
        readonly entries: readonly Entry[];
        readonly leaderCommit: LogIndex;
      }
    | { readonly kind: "appendAccepted"; readonly matchIndex: LogIndex }
    | {
        /** The follower lacks `rejectedIndex`; the hint is the last position that may match. */
        readonly kind: "appendRejected";
        readonly rejectedIndex: LogIndex;
        readonly hintIndex: LogIndex;
        readonly hintTerm: Term;
        /**
         * The follower once held more than it can read now (see {@link RaftStorage.promised}): what the leader knows of
         * it is void.
         */
        readonly isRepairing: boolean;
      }
    /** 5.1: the follower needs entries that the leader has trimmed. The bytes are fetched by the shells. */
    | { readonly kind: "snapshot"; readonly snapshot: Snapshot }
    | {
        /** Keeps followers quiet, spreads the commit index, and confirms reads (6.4). */
        readonly kind: "heartbeat";
        readonly commitIndex: LogIndex;
        /** The newest read request that waits for confirmation in this term; 0 for none. */
        readonly readContext: number;
      }
    | { readonly kind: "heartbeatResponse"; readonly readContext: number }
    /** 3.10: campaign now. */
    | { readonly kind: "timeoutNow" }
  );

export type SoftState = {
  readonly role: "leader" | "candidate" | "preCandidate" | "follower";
  readonly term: Term;
  readonly leader: MemberId | null;
};

/** A read may be served once `index` is applied; `context` is what `readIndex` was given. */
export type ReadState = { readonly context: number; readonly index: LogIndex };

/**
 * What the shell must do. Batches are persisted in the order in which they were taken; the shell
 * need not wait for one before it takes the next.
 */
export type Ready = {
  /** Null: unchanged. */
  readonly softState: SoftState | null;
  /** Null: unchanged. Persist before `messagesAfterPersist`. */
  readonly hardState: HardState | null;
  /**
   * Whether this batch must be fsynced to count as durable. False when it holds no entries, no membership, and at
   * most a higher `commitIndex`, which may be lost: a restarted node learns it again. Such a batch
   * is durable as soon as all earlier ones are.
   */
  readonly mustSync: boolean;
  /**
   * Append, first dropping everything from `entries[0].index` on. Persist before
   * `messagesAfterPersist`, and answer with one call of `persisted` for each batch that has any.
   */
  readonly entries: readonly Entry[];
  /** May be sent at once: they promise nothing about this node's disk. */
  readonly messages: readonly Message[];
  /**
   * Votes, requests for votes (they carry the candidate's vote for itself) and acknowledgements:
   * send only when everything of this and of earlier batches is durable.
   */
  readonly messagesAfterPersist: readonly Message[];
  /**
   * Null: no news. Else everything through this index is committed and durable here: apply it in
   * order, each entry once, from `appliedIndex` on. An index and not the entries, because they stay
   * readable in the storage: after a restart there may be gigabytes of them, which nobody can take
   * at once. None comes from when a snapshot is wanted until it is installed or has failed.
   */
  readonly applyThrough: LogIndex | null;
  /**
   * Null: unchanged (at the start: what `status` says). Else the membership in force from now on: a config entry is known
   * to be committed, or a snapshot was installed. The commit index that says so is in this batch, which therefore must be
   * synced: tell nobody that he was removed before that.
   */
  readonly membership: MembershipAt | null;
  /**
   * Null: none. Else the shell shall get this snapshot (or a newer one) from `from` or whoever has it, check it, install it,
   * make the storage begin behind it and hold nothing else (all batches taken before are persisted first), and then call
   * `snapshotInstalled`; or `snapshotFailed`. One at a time; until then this node takes no entries and does not campaign.
   */
  readonly snapshotWanted: { readonly from: MemberId; readonly snapshot: Snapshot } | null;
  readonly readStates: readonly ReadState[];
  /** Reads asked for that this node can't answer any more: it lost its reign. */
  readonly abortedReads: readonly number[];
};

/** The durable log as the core reads it. Entries handed out in a Ready must be readable here at once. */
export interface RaftStorage {
  readonly hardState: HardState;
  /** The membership in force where the log begins (at `firstIndex() - 1`), then those of the config entries in it, in order. */
  memberships(): readonly MembershipAt[];
  /**
   * Null, or the last position of a log that was partly damaged: this node has acknowledged everything through it, and no
   * longer has it. It votes only for candidates that are up to date with it, and does not campaign, until the log has
   * reached it again.
   */
  promised(): Position | null;
  /** The newest snapshot that can be given to a peer; at or behind `firstIndex() - 1`. Null for none. */
  snapshot(): Snapshot | null;
  /** First index still in the log (1 when nothing was trimmed). */
  firstIndex(): LogIndex;
  lastIndex(): LogIndex;
  /** Term of an entry; of `firstIndex() - 1` too; 0 for index 0. Undefined outside of that. */
  termOf(index: LogIndex): Term | undefined;
  /** Entries of [from, to), at least one, then as many as fit in `bytesMax`. */
  entries(from: LogIndex, to: LogIndex, bytesMax: number): readonly Entry[];
}

export type RaftConfig = {
  readonly id: MemberId;
  /** The last entry whose effects the state machine has kept. 0 for none. */
  readonly appliedIndex: LogIndex;
  /** An election starts after a random count of ticks in [electionTicksMin, electionTicksMax]. More than 3 heartbeats. */
  readonly electionTicksMin: number;
  readonly electionTicksMax: number;
  /**
   * What a leader that was removed has for handing over, before it steps down; by default electionTicksMax. With 0 it steps
   * down as soon as its removal is committed.
   */
  readonly handOverTicksMax?: number;
  /** Ticks between a leader's heartbeats. */
  readonly heartbeatTicks: number;
  /** Bounds of what may be unacknowledged towards one peer. */
  readonly inflightEntriesMax: number;
  readonly inflightBytesMax: number;
  /** Bytes of one appendEntries. */
  readonly appendBytesMax: number;
};

/** `leader` is null too while leadership is being handed over: nobody takes proposals then. */
export type ProposeResult =
  | { readonly kind: "accepted"; readonly firstIndex: LogIndex; readonly term: Term }
  | { readonly kind: "notLeader"; readonly leader: MemberId | null };

/**
 * Why a change of membership is refused. pending: an earlier one is not committed yet. notReady: no entry of this leader's
 * own term is committed (the known flaw of single steps without it). unknown: no such member. already: nothing would change.
 * lastVoter: nobody would be left. full: more than `MEMBERS_MAX` of membership.ts.
 */
export type MembershipRefusal =
  | "pending"
  | "notReady"
  | "unknown"
  | "already"
  | "lastVoter"
  | "full";

export type ProposeMembershipResult =
  | ({ readonly kind: "accepted" } & Position)
  | { readonly kind: "notLeader"; readonly leader: MemberId | null }
  | { readonly kind: "refused"; readonly reason: MembershipRefusal };

/** The pure core; `core.ts` implements it. Nothing in it waits, reads a clock or does I/O. */
export interface Raft {
  /** One unit of time has passed (the shell decides how long a tick is). */
  tick(): void;
  /** After a stall of this process: its own timers prove nothing, so they start anew. */
  resetTimers(): void;
  step(message: Message): void;
  /** Appends entries to the leader's log, in order, as one batch. @param kind "command" unless it is given */
  propose(payloads: readonly Uint8Array[], kind?: "command" | "commands"): ProposeResult;
  /**
   * Proposes one step. It is in force once committed. A leader that removed itself goes on until that entry is committed,
   * hands over if it can, and steps down.
   */
  proposeMembership(change: MembershipChange): ProposeMembershipResult;
  /**
   * The storage begins behind this snapshot now, and the state machine holds it. It may be newer than the one wanted, and
   * is never called without one.
   */
  snapshotInstalled(snapshot: Snapshot): void;
  /** The snapshot that was wanted can't be had now; the leader will offer one again. */
  snapshotFailed(): void;
  /** Asks for a linearizable read; `context` is positive and rises with every call of a process. */
  readIndex(context: number): "accepted" | "notLeader";
  /** Thesis 3.10. Refused unless this node leads and `to` is another voter. */
  transferLeadership(to: MemberId): boolean;
  /**
   * Leader-death fast path: the connection to `peer` closed and a redial was refused, so its process
   * is gone. If it was the leader: forget it, and campaign (with pre-vote) within a few ticks.
   */
  peerDied(peer: MemberId): void;
  /**
   * A batch is durable whose last entry was this. To be called once for each batch with entries, in
   * their order (one call for the last of several that were fsynced together does too). An answer
   * for a batch that was overwritten since is known by its place in the order and its term.
   */
  persisted(through: { readonly index: LogIndex; readonly term: Term }): void;
  /** Null when there is nothing to do. */
  takeReady(): Ready | null;
  status(): RaftStatus;
}

export type RaftStatus = SoftState & {
  readonly commitIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly membership: Membership;
  /** On the leader: what each member is known to hold, and whether it answered within an election time-out. */
  readonly progress: readonly {
    readonly id: MemberId;
    readonly matchIndex: LogIndex;
    readonly isActive: boolean;
    readonly mode: "probe" | "replicate" | "snapshot";
  }[];
};
