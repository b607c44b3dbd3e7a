/**
 * One node's leadership for one term: replication, the commit rule, heartbeats, check-quorum, reads
 * and the transfer of leadership. Made when an election is won, dropped at the first change of role
 * or term, so nothing of one reign can leak into another (etcd's stale read after a pause, #20418).
 *
 * Sources: thesis 3.5, 3.6.2 (commit only entries of the own term by counting), 3.10 (transfer),
 * 4.1 to 4.3 (membership), 5 (snapshots), 6.2 (a leader without a quorum steps down), 6.4 (reads), 10.2.1 (own disk in
 * parallel).
 * @module
 */
import type { LogIndex, MemberId, Term } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import type { RaftLog } from "./log.ts";
import { changeMembership, encodeMembership } from "./membership.ts";
import type {
  Membership,
  MembershipChange,
  MembershipRefusal,
  Message,
  RaftConfig,
  RaftStatus,
  ReadState,
} from "./messages.ts";
import type { MessageBody, Outbox } from "./outbox.ts";
import { Progress } from "./progress.ts";
import { majorityValue } from "./quorum.ts";
import { ReadQueue } from "./read_index.ts";

type Transfer = { readonly to: MemberId; elapsedTicks: number };
type Rejection = Extract<Message, { readonly kind: "appendRejected" }>;

export type ReignOptions = {
  readonly config: RaftConfig;
  readonly term: Term;
  readonly log: RaftLog;
  readonly outbox: Outbox;
  /** Who granted a vote: they have just been heard. */
  readonly supporters: ReadonlySet<MemberId>;
};

export class Reign {
  readonly #config: RaftConfig;
  readonly #term: Term;
  readonly #log: RaftLog;
  readonly #outbox: Outbox;
  readonly #peers = new Map<MemberId, Progress>();
  readonly #reads = new ReadQueue();
  #confirmedReads: ReadState[] = [];
  #transfer: Transfer | null = null;
  #isTimeoutNowDue = false;
  /** Since this leader is no voter any more; null while it is one. */
  #retiredTick: number | null = null;
  /** Ticks of this reign. */
  #now = 0;
  /** Nobody is blamed for silence before a whole election time-out from here. */
  #graceBegin = 0;
  #heartbeatElapsedTicks = 0;
  #isHeartbeatDue = false;

  /** Appends the no-op of the term: only through it can the entries of earlier terms be committed. */
  constructor(options: ReignOptions) {
    this.#config = options.config;
    this.#term = options.term;
    this.#log = options.log;
    this.#outbox = options.outbox;
    const index = this.#log.lastIndex + 1;
    this.#meetPeers(index);
    for (const id of options.supporters) this.#heard(id);
    this.#log.append([{ index, term: this.#term, kind: "noop", payload: new Uint8Array(0) }]);
  }

  get #membership(): Membership {
    return this.#log.membershipAt.membership;
  }

  /** Whether leadership is being handed over; no proposals are taken then. */
  get isTransferring(): boolean {
    return this.#transfer !== null || this.#retiredTick !== null;
  }

  /** Whether this leader was removed, and has had its time to hand over. */
  get isOver(): boolean {
    const { handOverTicksMax, electionTicksMax } = this.#config;
    const ticksMax = handOverTicksMax ?? electionTicksMax;
    return this.#retiredTick !== null && this.#now - this.#retiredTick >= ticksMax;
  }

  /** @returns false when this leader must step down: it heard no quorum for too long, or is no member any more */
  tick(): boolean {
    this.#now += 1;
    this.#heartbeatElapsedTicks += 1;
    if (this.#heartbeatElapsedTicks >= this.#config.heartbeatTicks) this.#isHeartbeatDue = true;
    if (this.#transfer !== null) {
      this.#transfer.elapsedTicks += 1;
      if (this.#transfer.elapsedTicks >= this.#config.electionTicksMax) this.#transfer = null;
    }
    const timeoutTicks = this.#config.electionTicksMax;
    if (this.isOver) return false;
    if (this.#now - this.#graceBegin < timeoutTicks) return true;
    const heardQuorumAt = majorityValue(this.#membership.voters, (voter) =>
      voter === this.#config.id ? this.#now : this.#heardTick(voter),
    );
    return this.#now - heardQuorumAt < timeoutTicks;
  }

  /** This process stood still: its peers' silence proves nothing. */
  resetTimers(): void {
    this.#graceBegin = this.#now;
    this.#isHeartbeatDue = true;
  }

  #heardTick(peer: MemberId): number {
    return this.#peers.get(peer)?.heardTick ?? Number.NEGATIVE_INFINITY;
  }

  // — answers of peers; those of strangers say nothing —

  appendAccepted(from: MemberId, matchIndex: LogIndex): void {
    const peer = this.#heard(from);
    if (peer === undefined) return;
    invariant(matchIndex <= this.#log.lastIndex, "a peer matches no more than the leader's log");
    peer.accepted(matchIndex);
    this.advanceCommit();
    this.#finishTransfer(from);
  }

  appendRejected(from: MemberId, answer: Rejection): void {
    const peer = this.#heard(from);
    if (peer === undefined) return;
    const { rejectedIndex, hintIndex, hintTerm } = answer;
    // The peer has skipped its terms that can't match; here those that can't match its hint go.
    const candidate = this.#log.lastIndexWithTermUpTo(hintTerm, hintIndex);
    if (answer.isRepairing && peer.matchIndex > hintIndex) peer.damaged(candidate);
    else if (peer.isRejectionCurrent(rejectedIndex)) peer.rejected(rejectedIndex, candidate);
  }

  heartbeatAnswered(from: MemberId, readContext: number): void {
    const peer = this.#heard(from);
    if (peer === undefined) return;
    peer.heartbeatAnswered(this.#now);
    peer.readContext = Math.max(peer.readContext, readContext);
    this.#releaseReads();
    this.#finishTransfer(from);
  }

  peerDied(id: MemberId): void {
    this.#peers.get(id)?.lost();
    if (this.#transfer?.to === id) this.#transfer = null;
  }

  #heard(from: MemberId): Progress | undefined {
    const peer = this.#peers.get(from);
    if (peer !== undefined) peer.heardTick = this.#now;
    return peer;
  }

  // — commit —

  /** Call when this node's durable index, or a peer's match index, has risen. */
  advanceCommit(): void {
    for (;;) {
      const index = majorityValue(this.#membership.voters, (voter) =>
        voter === this.#config.id
          ? this.#log.durableIndex
          : (this.#peers.get(voter)?.matchIndex ?? 0),
      );
      // Figure 3.7: an entry of an earlier term may be on a majority and yet be overwritten.
      if (index <= this.#log.commitIndex || !this.#log.has(index, this.#term)) return;
      const before = this.#log.membershipAt;
      this.#log.commitTo(index);
      this.#reads.termCommitted(index);
      if (this.#reads.pendingContext > 0) this.#askQuorum();
      if (this.#log.membershipAt === before) return;
      // Of fewer voters a majority may hold more.
      this.#adoptMembership();
    }
  }

  #isTermCommitted(): boolean {
    return this.#log.has(this.#log.commitIndex, this.#term);
  }

  // — membership —

  /** Appends the next membership. @returns why not, or null */
  proposeMembership(change: MembershipChange): MembershipRefusal | null {
    if (!this.#isTermCommitted()) return "notReady";
    if (this.#log.isMembershipPending) return "pending";
    const next = changeMembership(this.#membership, change);
    if (typeof next === "string") return next;
    const index = this.#log.lastIndex + 1;
    const payload = encodeMembership(next);
    this.#log.append([{ index, term: this.#term, kind: "config", payload }]);
    return null;
  }

  #adoptMembership(): void {
    // Whoever has all but the last entry, or nothing, needs one probe.
    this.#meetPeers(this.#log.lastIndex);
    // New voters had no time to be heard.
    this.#graceBegin = this.#now;
    const { voters } = this.#membership;
    if (this.#transfer !== null && !voters.includes(this.#transfer.to)) this.#transfer = null;
    if (!voters.includes(this.#config.id)) this.#retiredTick ??= this.#now;
  }

  #meetPeers(nextIndex: LogIndex): void {
    const { voters, learners } = this.#membership;
    const ids = new Set([...voters, ...learners]);
    for (const id of this.#peers.keys()) if (!ids.has(id)) this.#peers.delete(id);
    for (const id of ids)
      if (id !== this.#config.id && !this.#peers.has(id))
        this.#peers.set(id, new Progress(id, nextIndex, this.#config));
  }

  // — reads —

  readIndex(context: number): void {
    this.#reads.ask(context, this.#isTermCommitted() ? this.#log.commitIndex : null);
    if (this.#isTermCommitted()) this.#askQuorum();
  }

  #askQuorum(): void {
    this.#isHeartbeatDue = true;
    this.#releaseReads();
  }

  #releaseReads(): void {
    if (this.#reads.pendingContext === 0) return;
    const context = majorityValue(this.#membership.voters, (voter) =>
      voter === this.#config.id
        ? Number.POSITIVE_INFINITY
        : (this.#peers.get(voter)?.readContext ?? 0),
    );
    this.#confirmedReads.push(...this.#reads.confirm(context));
  }

  takeConfirmedReads(): readonly ReadState[] {
    const taken = this.#confirmedReads;
    this.#confirmedReads = [];
    return taken;
  }

  abortReads(): readonly number[] {
    return this.#reads.abort();
  }

  // — transfer —

  /** Brings the target up to date, then tells it to campaign; given up after an election time-out. */
  transferTo(to: MemberId): boolean {
    if (to === this.#config.id || !this.#membership.voters.includes(to)) return false;
    if (this.#transfer?.to !== to) this.#transfer = { to, elapsedTicks: 0 };
    this.#finishTransfer(to);
    return true;
  }

  /** Repeated at each sign of life: a second copy comes in an old term and is dropped there. */
  #finishTransfer(peer: MemberId): void {
    if (this.#transfer?.to === peer) this.#isTimeoutNowDue = true;
  }

  /** 4.2.2: a leader that was removed is the one to see to a successor. */
  #handOverIfRetired(): void {
    if (this.#retiredTick === null || this.#transfer !== null) return;
    let best: Progress | null = null;
    for (const voter of this.#membership.voters) {
      const peer = this.#peers.get(voter);
      if (!peer?.isReplicating || !this.#isActive(peer)) continue;
      if (best === null || peer.matchIndex > best.matchIndex) best = peer;
    }
    if (best !== null) this.transferTo(best.id);
  }

  // — sending —

  /** Puts everything that is due into the outbox; called once for each Ready, so work is batched. */
  flush(): void {
    this.#handOverIfRetired();
    if (this.#isHeartbeatDue) {
      this.#isHeartbeatDue = false;
      this.#heartbeatElapsedTicks = 0;
      for (const peer of this.#peers.values()) this.#sendHeartbeat(peer);
    }
    for (const peer of this.#peers.values()) {
      if (peer.isOfferDue(this.#now)) this.#offerSnapshot(peer);
      this.#replicate(peer);
    }
    this.#sendTimeoutNow();
  }

  /** Last, so that the successor has heard what is committed: with it may go a membership. */
  #sendTimeoutNow(): void {
    if (!this.#isTimeoutNowDue) return;
    this.#isTimeoutNowDue = false;
    const to = this.#transfer?.to;
    if (to === undefined || this.#peers.get(to)?.matchIndex !== this.#log.lastIndex) return;
    this.#outbox.send(to, this.#term, { kind: "timeoutNow" });
  }

  #sendHeartbeat(peer: Progress): void {
    this.#outbox.send(peer.id, this.#term, {
      kind: "heartbeat",
      // A peer may hold other entries behind its match: it must not take those for committed.
      commitIndex: Math.min(peer.matchIndex, this.#log.commitIndex),
      readContext: this.#reads.pendingContext,
    });
  }

  #replicate(peer: Progress): void {
    // Each turn sends at least one entry and shrinks the room, so the window bounds the loop.
    for (;;) {
      const { entries: countMax, bytes } = peer.room();
      if (countMax === 0 || peer.nextIndex > this.#log.lastIndex) break;
      if (!this.#append(peer, countMax, Math.min(bytes, this.#config.appendBytesMax))) return;
    }
    // Who is behind by a whole window hears of it with the next entries.
    const isCommitNews =
      peer.isReplicating && peer.toldCommitIndex < this.#log.commitIndex && peer.room().entries > 0;
    if (isCommitNews || peer.isEmptyAppendDue) this.#append(peer, 0, 0);
  }

  /** @returns false when the log was trimmed behind what the peer needs */
  #append(peer: Progress, countMax: number, bytesMax: number): boolean {
    const prevLogIndex = peer.nextIndex - 1;
    const prevLogTerm = this.#log.termOf(prevLogIndex);
    if (prevLogTerm === undefined) {
      this.#offerSnapshot(peer);
      return false;
    }
    const entries = this.#log.entries(peer.nextIndex, { countMax, bytesMax });
    const leaderCommit = this.#log.commitIndex;
    const body = {
      kind: "appendEntries",
      prevLogIndex,
      prevLogTerm,
      entries,
      leaderCommit,
    } as const;
    this.#send(peer, body);
    peer.sent(entries, this.#now);
    peer.toldCommitIndex = leaderCommit;
    return true;
  }

  /** Without one (it is being made) the peer gets heartbeats only. */
  #offerSnapshot(peer: Progress): void {
    const snapshot = this.#log.snapshot();
    if (snapshot === null) return;
    this.#send(peer, { kind: "snapshot", snapshot });
    peer.offered(this.#now);
    // Whoever installs it knows so much.
    peer.toldCommitIndex = snapshot.index;
  }

  /**
   * Others' votes prove that our term is durable. A sole voter has none: before its disk answers,
   * a crash could make it use the same term again for other entries, which learners would hold.
   */
  #send(peer: Progress, body: MessageBody): void {
    if (this.#membership.voters.length === 1)
      this.#outbox.sendAfterPersist(peer.id, this.#term, body);
    else this.#outbox.send(peer.id, this.#term, body);
  }

  #isActive({ heardTick }: Progress): boolean {
    return this.#now - heardTick < this.#config.electionTicksMax;
  }

  status(): RaftStatus["progress"] {
    const self = {
      id: this.#config.id,
      matchIndex: this.#log.durableIndex,
      isActive: true,
      mode: "replicate" as const,
    };
    const peers = [...this.#peers.values()].map((peer) => ({
      id: peer.id,
      matchIndex: peer.matchIndex,
      isActive: this.#isActive(peer),
      mode: peer.mode,
    }));
    return [self, ...peers];
  }
}
