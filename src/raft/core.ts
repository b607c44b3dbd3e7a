/**
 * The Raft core: one node's role, term and vote, and what it does with a tick, a message or a
 * proposal. Pure: results wait in {@link RaftCore.takeReady}.
 *
 * What the shell owes it:
 * 1. Call `takeReady` after any other call, until it gives null. Before the next call, make the
 *    entries readable in the storage.
 * 2. Persist batches in order; then send their `messagesAfterPersist` and call `persisted`.
 * 3. Give `step` only messages of this cluster, in any order, lost or doubled as the network likes.
 * 4. While a snapshot is being installed nothing is applied, and this node takes no entries.
 *
 * Who may vote: everybody, also a learner or one who has not heard yet that he is a member. It is the candidate's
 * membership that says whose votes count, and his may be newer than the voter's (thesis 4.2.2). Nothing is lost by it:
 * a vote promises term and log of the voter, and both are durable, whoever he takes himself for. An id is used by one
 * disk only, so there is no forgotten vote.
 * Who may campaign: voters of the membership in force whose log is whole.
 *
 * Sources: Ongaro's thesis, chapters 3, 4 (4.2.3: stickiness), 5, 6, 9.6 (pre-vote), 10.2.1. Promises
 * (checked here while running, and by `random.test.ts`): one leader a term; term and vote never go
 * back; what is committed stays; no read is released that another leader's write could precede.
 * @module
 */
import type { LogIndex, MemberId, Term } from "../common/ids.ts";
import { invariant, unreachable } from "../common/invariant.ts";
import type { Random } from "../world/ports.ts";
import { Handout } from "./handout.ts";
import { RaftLog } from "./log.ts";
import type {
  Membership,
  MembershipChange,
  Message,
  ProposeMembershipResult,
  ProposeResult,
  Raft,
  RaftConfig,
  RaftStatus,
  RaftStorage,
  ReadState,
  Ready,
  Snapshot,
  SoftState,
} from "./messages.ts";
import { Outbox } from "./outbox.ts";
import { voteResult } from "./quorum.ts";
import { Reign } from "./reign.ts";
import { checkConfig } from "./settings.ts";

/** After a leader's death: apart enough that two followers seldom collide, short beside a time-out. */
const FAST_CAMPAIGN_TICKS_MAX = 4;
/** The others may see the death a little later, and refuse until then; then the usual time-outs rule. */
const FAST_CAMPAIGNS_MAX = 5;

type Role =
  | { readonly kind: "follower" }
  | { readonly kind: "preCandidate" | "candidate"; readonly votes: Map<MemberId, boolean> }
  | { readonly kind: "leader"; readonly reign: Reign };

type VoteRequest = Extract<Message, { readonly isTransfer: boolean }>;
type VoteResponse = Extract<Message, { readonly isGranted: boolean }>;
type AppendEntries = Extract<Message, { readonly kind: "appendEntries" }>;
type Heartbeat = Extract<Message, { readonly kind: "heartbeat" }>;
type SnapshotOffer = Extract<Message, { readonly kind: "snapshot" }>;

export class RaftCore implements Raft {
  readonly #config: RaftConfig;
  readonly #random: Random;
  readonly #log: RaftLog;
  readonly #outbox: Outbox;

  #role: Role = { kind: "follower" };
  #term: Term;
  #vote: MemberId | null;
  #leader: MemberId | null = null;
  /** Who led in this term, also after it was forgotten: there is never a second one. */
  #leaderOfTerm: MemberId | null = null;

  /** Since the leader was heard, a vote was given, or a campaign began. */
  #electionElapsedTicks = 0;
  #electionTimeoutTicks: number;
  /** Pre-votes that may still be asked for in quick succession, since the leader was seen to die. */
  #fastCampaignsLeft = 0;

  #readStates: ReadState[] = [];
  #abortedReads: number[] = [];
  /** To be handed out. */
  #snapshotWanted: Ready["snapshotWanted"] = null;
  /** The shell is at it; until it is done, the log stays as it is. */
  #isInstalling = false;
  readonly #handout: Handout;

  constructor(config: RaftConfig, storage: RaftStorage, random: Random) {
    checkConfig(config);
    this.#config = config;
    this.#random = random;
    this.#log = new RaftLog(storage, config.appliedIndex);
    this.#outbox = new Outbox(config.id);
    this.#term = storage.hardState.term;
    this.#vote = storage.hardState.vote;
    invariant(this.#log.lastTerm <= this.#term, "no entry is newer than the term on disk");
    // A sole voter has nobody to wait for.
    const isSole = this.#isVoter() && this.#membership.voters.length === 1;
    this.#electionTimeoutTicks = isSole ? 1 : this.#randomTimeoutTicks();
    this.#handout = new Handout({
      soft: this.#softState(),
      // Of a damaged log less may be left than was known to be committed.
      hard: {
        ...storage.hardState,
        commitIndex: Math.min(storage.hardState.commitIndex, this.#log.commitIndex),
      },
      membership: this.#log.membershipAt,
    });
  }

  // — time —

  tick(): void {
    if (this.#role.kind === "leader") {
      if (!this.#role.reign.tick()) this.#becomeFollower(this.#term, null);
      return;
    }
    this.#electionElapsedTicks += 1;
    if (this.#electionElapsedTicks >= this.#electionTimeoutTicks && this.#mayCampaign())
      this.#campaign("preVote");
  }

  resetTimers(): void {
    this.#resetElectionTimer();
    if (this.#role.kind === "leader") this.#role.reign.resetTimers();
  }

  #resetElectionTimer(): void {
    this.#electionElapsedTicks = 0;
    this.#electionTimeoutTicks = this.#randomTimeoutTicks();
  }

  #randomTimeoutTicks(): number {
    const { electionTicksMin, electionTicksMax } = this.#config;
    return electionTicksMin + (this.#random.uint32() % (electionTicksMax - electionTicksMin + 1));
  }

  // — roles —

  get #membership(): Membership {
    return this.#log.membershipAt.membership;
  }

  #isVoter(): boolean {
    return this.#membership.voters.includes(this.#config.id);
  }

  /** Who has lost a part of its log must not spread what is left; who is getting a new one has none to offer. */
  #mayCampaign(): boolean {
    return this.#isVoter() && !this.#log.isRepairing && !this.#isInstalling;
  }

  #setTerm(term: Term): void {
    invariant(term > this.#term, "terms only rise");
    this.#term = term;
    this.#vote = null;
    this.#leaderOfTerm = null;
    this.#fastCampaignsLeft = 0;
  }

  #setRole(role: Role): void {
    if (this.#role.kind === "leader") {
      this.#readStates.push(...this.#role.reign.takeConfirmedReads());
      this.#abortedReads.push(...this.#role.reign.abortReads());
    }
    this.#role = role;
  }

  #becomeFollower(term: Term, leader: MemberId | null): void {
    const wasFollower = this.#role.kind === "follower";
    const isNewLeader = leader !== null && leader !== this.#leader;
    this.#setRole({ kind: "follower" });
    if (term !== this.#term) this.#setTerm(term);
    this.#leader = leader;
    // A follower that merely learns of a term waits no longer for it: the candidate may be hopeless.
    if (!wasFollower || isNewLeader) this.#resetElectionTimer();
  }

  #campaign(how: "preVote" | "vote" | "transfer"): void {
    invariant(this.#mayCampaign(), "only voters with a whole log campaign");
    invariant(this.#role.kind !== "leader", "a leader never campaigns");
    const votes = new Map([[this.#config.id, true]]);
    this.#setRole({ kind: how === "preVote" ? "preCandidate" : "candidate", votes });
    this.#leader = null;
    this.#resetElectionTimer();
    if (how === "preVote" && this.#fastCampaignsLeft > 0) this.#campaignSoon(1);
    if (how !== "preVote") {
      this.#setTerm(this.#term + 1);
      this.#vote = this.#config.id;
    }
    if (this.#finishVote()) return;
    const lastLogIndex = this.#log.lastIndex;
    const lastLogTerm = this.#log.lastTerm;
    const isTransfer = how === "transfer";
    for (const to of this.#membership.voters) {
      if (to === this.#config.id) continue;
      const position = { lastLogIndex, lastLogTerm, isTransfer };
      // A request leaves only once our own vote is durable: whoever answers it proves that it is,
      // and we may count it without waiting for our disk ourselves.
      if (how === "preVote")
        this.#outbox.send(to, this.#term + 1, { kind: "requestPreVote", ...position });
      else this.#outbox.sendAfterPersist(to, this.#term, { kind: "requestVote", ...position });
    }
  }

  /** Acts on the votes if they decide. */
  #finishVote(): boolean {
    const role = this.#role;
    if (role.kind !== "candidate" && role.kind !== "preCandidate") return false;
    const result = voteResult(this.#membership.voters, role.votes);
    if (result === "pending") return false;
    if (result === "lost") this.#becomeFollower(this.#term, null);
    else if (role.kind === "preCandidate") this.#campaign("vote");
    else this.#becomeLeader(role.votes);
    return true;
  }

  #becomeLeader(votes: ReadonlyMap<MemberId, boolean>): void {
    invariant(this.#vote === this.#config.id, "a leader voted for itself");
    this.#seeLeader(this.#config.id);
    const granted = [...votes].filter(([, isGranted]) => isGranted).map(([id]) => id);
    const reign = new Reign({
      config: this.#config,
      term: this.#term,
      log: this.#log,
      outbox: this.#outbox,
      supporters: new Set(granted),
    });
    this.#setRole({ kind: "leader", reign });
    this.#leader = this.#config.id;
  }

  #seeLeader(leader: MemberId): void {
    invariant(
      this.#leaderOfTerm === null || this.#leaderOfTerm === leader,
      "a term has at most one leader",
    );
    this.#leaderOfTerm = leader;
  }

  // — messages —

  step(message: Message): void {
    if (message.to !== this.#config.id || message.from === this.#config.id) return;
    if (message.term < this.#term) {
      this.#answerPast(message);
      return;
    }
    if (message.term > this.#term && !isHypothetical(message)) {
      if (message.kind === "requestVote" && this.#isLoyal(message)) return;
      this.#becomeFollower(message.term, null);
    }
    this.#stepPresent(message);
  }

  /** A sender in an older term learns of ours; most of all a leader that was replaced unawares. */
  #answerPast(message: Message): void {
    const { from, kind } = message;
    if (kind === "appendEntries" || kind === "heartbeat" || kind === "snapshot")
      this.#outbox.send(from, this.#term, { kind: "heartbeatResponse", readContext: 0 });
    else if (kind === "requestPreVote") this.#answerPreVote(from, this.#term, false);
    else if (kind === "requestVote") this.#answerVote(from, false);
  }

  #stepPresent(message: Message): void {
    const { from } = message;
    const role = this.#role;
    switch (message.kind) {
      case "requestPreVote":
        this.#onRequestPreVote(message);
        break;
      case "requestVote":
        this.#onRequestVote(message);
        break;
      case "preVoteResponse":
      case "voteResponse":
        this.#onVoteResponse(message);
        break;
      case "appendEntries":
        this.#onAppendEntries(message);
        break;
      case "heartbeat":
        this.#onHeartbeat(message);
        break;
      case "timeoutNow":
        if (role.kind !== "leader" && this.#mayCampaign()) this.#campaign("transfer");
        break;
      case "snapshot":
        this.#onSnapshot(message);
        break;
      case "appendAccepted":
        if (role.kind === "leader") role.reign.appendAccepted(from, message.matchIndex);
        break;
      case "appendRejected":
        if (role.kind === "leader") role.reign.appendRejected(from, message);
        break;
      case "heartbeatResponse":
        if (role.kind === "leader") role.reign.heartbeatAnswered(from, message.readContext);
        break;
      default:
        unreachable(message);
    }
  }

  /** 4.2.3: who hears a leader does not help to depose it, unless the leader asked for that. */
  #isLoyal(request: VoteRequest): boolean {
    if (request.isTransfer || request.term === this.#term || this.#leader === null) return false;
    return (
      this.#role.kind === "leader" || this.#electionElapsedTicks < this.#config.electionTicksMin
    );
  }

  /** Changes nothing here: a pre-vote promises nothing, so it needs no disk either. */
  #onRequestPreVote(request: VoteRequest): void {
    const isGranted =
      !this.#isLoyal(request) &&
      (request.term > this.#term || this.#mayVoteFor(request.from)) &&
      this.#log.isUpToDate(request.lastLogIndex, request.lastLogTerm);
    const term = isGranted ? request.term : this.#term;
    this.#answerPreVote(request.from, term, isGranted);
  }

  #answerPreVote(candidate: MemberId, term: Term, isGranted: boolean): void {
    const { committed } = this.#log;
    this.#outbox.send(candidate, term, { kind: "preVoteResponse", isGranted, committed });
  }

  #mayVoteFor(candidate: MemberId): boolean {
    return this.#vote === candidate || (this.#vote === null && this.#leaderOfTerm === null);
  }

  #onRequestVote(request: VoteRequest): void {
    const isGranted =
      this.#mayVoteFor(request.from) &&
      this.#log.isUpToDate(request.lastLogIndex, request.lastLogTerm);
    if (isGranted && this.#vote === null) {
      // A campaign of its own would only compete with the one it supports.
      this.#becomeFollower(this.#term, null);
      this.#vote = request.from;
      this.#resetElectionTimer();
    }
    this.#answerVote(request.from, isGranted);
  }

  #answerVote(candidate: MemberId, isGranted: boolean): void {
    const body = { kind: "voteResponse", isGranted, committed: this.#log.committed } as const;
    this.#outbox.sendAfterPersist(candidate, this.#term, body);
  }

  #onVoteResponse({ kind, from, term, isGranted, committed }: VoteResponse): void {
    if (this.#role.kind === "leader") return;
    const before = this.#log.membershipAt;
    if (this.#log.has(committed.index, committed.term)) this.#log.commitTo(committed.index);
    // Votes are counted by one membership from the first to the last.
    if (this.#log.membershipAt !== before) this.#becomeFollower(this.#term, null);
    const role = this.#role.kind;
    // A grant is of the term that was asked about; one of another round says nothing.
    const isOfRound = !isGranted || term === this.#term + 1;
    if (kind === "voteResponse" ? role === "candidate" : role === "preCandidate" && isOfRound)
      this.#countVote(from, isGranted);
  }

  #countVote(from: MemberId, isGranted: boolean): void {
    const role = this.#role;
    if (role.kind !== "candidate" && role.kind !== "preCandidate") return;
    // The first answer stands.
    if (!role.votes.has(from)) role.votes.set(from, isGranted);
    this.#finishVote();
  }

  #hearLeader(leader: MemberId): void {
    this.#seeLeader(leader);
    invariant(this.#role.kind !== "leader", "a leader hears no other leader in its term");
    this.#becomeFollower(this.#term, leader);
    this.#electionElapsedTicks = 0;
    this.#fastCampaignsLeft = 0;
  }

  #onAppendEntries(message: AppendEntries): void {
    this.#hearLeader(message.from);
    // What is acknowledged now would be gone when the snapshot replaces the log.
    if (this.#isInstalling) return;
    const { from, prevLogIndex, prevLogTerm, entries } = message;
    const log = this.#log;
    invariant(
      entries.length === 0 || entries[0]?.index === prevLogIndex + 1,
      "an append begins behind its previous entry",
    );
    // What is committed here matches by leader completeness, also where it was trimmed since.
    const known = Math.max(0, log.commitIndex - prevLogIndex);
    if (known === 0 && !log.has(prevLogIndex, prevLogTerm)) {
      const hintIndex = log.lastIndexWithTermUpTo(prevLogTerm, prevLogIndex);
      this.#reject(from, prevLogIndex, hintIndex);
      return;
    }
    log.append(known === 0 ? entries : entries.slice(known));
    const matchIndex = Math.max(log.commitIndex, prevLogIndex + entries.length);
    // Behind the match there may be entries of others, which the leader's index is not about.
    log.commitTo(Math.min(message.leaderCommit, matchIndex));
    this.#acknowledge(from, matchIndex);
  }

  #reject(leader: MemberId, rejectedIndex: LogIndex, hintIndex: LogIndex): void {
    this.#outbox.send(leader, this.#term, {
      kind: "appendRejected",
      rejectedIndex,
      hintIndex,
      hintTerm: this.#log.termOf(hintIndex) ?? 0,
      isRepairing: this.#log.isRepairing,
    });
  }

  #onHeartbeat(message: Heartbeat): void {
    this.#hearLeader(message.from);
    const { from, commitIndex, readContext } = message;
    const log = this.#log;
    log.commitTo(Math.min(commitIndex, log.lastIndex));
    this.#outbox.send(from, this.#term, { kind: "heartbeatResponse", readContext });
    // The leader takes us for one that holds this. With nothing to send it would not learn otherwise.
    if (commitIndex > log.lastIndex && log.isRepairing && !this.#isInstalling)
      this.#reject(from, commitIndex, log.lastIndex);
  }

  /** 5.1; but a log that reaches there needs no snapshot, whatever the leader knows of it. */
  #onSnapshot({ from, snapshot }: SnapshotOffer): void {
    this.#hearLeader(from);
    const log = this.#log;
    const { index, term } = snapshot;
    if (log.commitIndex >= index || log.has(index, term)) {
      log.commitTo(index);
      this.#acknowledge(from, log.commitIndex);
    } else if (!this.#isInstalling) {
      this.#isInstalling = true;
      this.#snapshotWanted = { from, snapshot };
    }
  }

  #acknowledge(leader: MemberId, matchIndex: LogIndex): void {
    this.#outbox.sendAfterPersist(leader, this.#term, { kind: "appendAccepted", matchIndex });
  }

  // — requests of the shell —

  propose(
    payloads: readonly Uint8Array[],
    kind: "command" | "commands" = "command",
  ): ProposeResult {
    invariant(payloads.length > 0, "a proposal holds at least one command");
    if (this.#role.kind !== "leader") return { kind: "notLeader", leader: this.#leader };
    // The target of a transfer must catch up with a log that stands still.
    if (this.#role.reign.isTransferring) return { kind: "notLeader", leader: null };
    const firstIndex = this.#log.lastIndex + 1;
    const term = this.#term;
    this.#log.append(
      payloads.map((payload, at) => ({ index: firstIndex + at, term, kind, payload })),
    );
    return { kind: "accepted", firstIndex, term };
  }

  proposeMembership(change: MembershipChange): ProposeMembershipResult {
    if (this.#role.kind !== "leader") return { kind: "notLeader", leader: this.#leader };
    if (this.#role.reign.isTransferring) return { kind: "notLeader", leader: null };
    const reason = this.#role.reign.proposeMembership(change);
    if (reason !== null) return { kind: "refused", reason };
    return { kind: "accepted", index: this.#log.lastIndex, term: this.#term };
  }

  snapshotInstalled(snapshot: Snapshot): void {
    invariant(this.#isInstalling, "a snapshot is installed when one was wanted");
    invariant(this.#role.kind !== "leader", "a leader needs no snapshot");
    this.#isInstalling = false;
    this.#log.reset(snapshot);
    if (this.#leader !== null) this.#acknowledge(this.#leader, snapshot.index);
  }

  snapshotFailed(): void {
    invariant(this.#isInstalling, "a snapshot fails when one was wanted");
    this.#isInstalling = false;
  }

  readIndex(context: number): "accepted" | "notLeader" {
    if (this.#role.kind !== "leader") return "notLeader";
    this.#role.reign.readIndex(context);
    return "accepted";
  }

  transferLeadership(to: MemberId): boolean {
    return this.#role.kind === "leader" && this.#role.reign.transferTo(to);
  }

  peerDied(peer: MemberId): void {
    if (this.#role.kind === "leader") this.#role.reign.peerDied(peer);
    if (this.#role.kind !== "follower" || this.#leader !== peer) return;
    // From here on others may have our vote. If this was a mistake, the next heartbeat mends it.
    this.#leader = null;
    if (!this.#mayCampaign()) return;
    this.#fastCampaignsLeft = FAST_CAMPAIGNS_MAX;
    this.#campaignSoon(0);
    if (this.#electionElapsedTicks >= this.#electionTimeoutTicks) this.#campaign("preVote");
  }

  #campaignSoon(ticksMin: number): void {
    this.#fastCampaignsLeft -= 1;
    const waitTicks = ticksMin + (this.#random.uint32() % (FAST_CAMPAIGN_TICKS_MAX + 1));
    this.#electionTimeoutTicks = this.#electionElapsedTicks + waitTicks;
  }

  persisted(through: Parameters<Raft["persisted"]>[0]): void {
    this.#log.persisted(through);
    if (this.#role.kind === "leader") this.#role.reign.advanceCommit();
  }

  // — results —

  takeReady(): Ready | null {
    if (this.#role.kind === "leader") {
      this.#role.reign.flush();
      this.#readStates.push(...this.#role.reign.takeConfirmedReads());
      // Its followers have heard now that it is out.
      if (this.#role.reign.isOver) this.#becomeFollower(this.#term, null);
    }
    const { messages, messagesAfterPersist } = this.#outbox.take();
    const entries = this.#log.takeTail();
    const news = this.#handout.take({
      soft: this.#softState(),
      hard: { term: this.#term, vote: this.#vote, commitIndex: this.#log.commitIndex },
      membership: this.#log.membershipAt,
    });
    const ready: Ready = {
      softState: news.softState,
      hardState: news.hardState,
      membership: news.membership,
      mustSync: news.mustSync || entries.length > 0,
      entries,
      messages,
      messagesAfterPersist,
      applyThrough: this.#isInstalling ? null : this.#log.takeCommitted(),
      snapshotWanted: this.#snapshotWanted,
      readStates: this.#readStates,
      abortedReads: this.#abortedReads,
    };
    this.#snapshotWanted = null;
    this.#readStates = [];
    this.#abortedReads = [];
    return isEmpty(ready) ? null : ready;
  }

  #softState(): SoftState {
    return { role: this.#role.kind, term: this.#term, leader: this.#leader };
  }

  status(): RaftStatus {
    return {
      ...this.#softState(),
      commitIndex: this.#log.commitIndex,
      lastIndex: this.#log.lastIndex,
      membership: this.#membership,
      progress: this.#role.kind === "leader" ? this.#role.reign.status() : [],
    };
  }
}

/** Of the term that a candidate would have if it dared: changes nobody's term. */
function isHypothetical(message: Message): boolean {
  const { kind } = message;
  return kind === "requestPreVote" || (kind === "preVoteResponse" && message.isGranted);
}

function isEmpty(ready: Ready): boolean {
  return (
    ready.softState === null &&
    ready.hardState === null &&
    ready.applyThrough === null &&
    ready.membership === null &&
    ready.snapshotWanted === null &&
    ready.entries.length === 0 &&
    ready.messages.length === 0 &&
    ready.messagesAfterPersist.length === 0 &&
    ready.readStates.length === 0 &&
    ready.abortedReads.length === 0
  );
}
