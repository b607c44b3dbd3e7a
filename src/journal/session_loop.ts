/**
 * The loop of one session: drives Raft's core with time, messages and requests, and does what it wants done.
 *
 * The order that makes it safe, for every Ready of the core: messages that promise nothing leave at once; entries, term
 * and vote go to the log; votes and acknowledgements leave when that and everything before it is durable. Entries go to
 * the main thread when they are committed and durable here, at the pace at which it applies them.
 *
 * A leader whose disk or main thread hangs steps aside: its heartbeats alone would keep the others from taking over.
 * @module
 */
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import type { LogIndex, MemberId } from "../common/ids.ts";
import type { MembershipAt, Ready, Snapshot, SoftState } from "../raft/messages.ts";
import { Timer as Stopwatch } from "../telemetry/timer.ts";
import type { Timer, World } from "../world/ports.ts";
import type { CheckpointStore } from "./checkpoint_store.ts";
import type { Delivery } from "./delivery.ts";
import { Doorkeeper } from "./doorkeeper.ts";
import type { JournalIdentity } from "./journal_folder.ts";
import {
  type FromThread,
  type JournalEvent,
  type PlainError,
  plainError,
  type ThreadOptions,
  type ToThread,
  unpack,
} from "./journal_protocol.ts";
import { type Session, statusOf, wasRemoved } from "./journal_session.ts";
import type { StatePosition } from "./journal_system.ts";
import { type Ailment, LeaderHealth } from "./leader_health.ts";
import { MemberSteps } from "./member_steps.ts";
import type { Greeting, PeerHandlers, RefusalReason } from "./peer_transport.ts";
import { QuorumWatch } from "./quorum_watch.ts";
import { RepairWatch } from "./repair_watch.ts";
import type { StateKeeper } from "./state_keeper.ts";
import { Ticker } from "./ticker.ts";
import { isNoSpace, WalError } from "./wal_failure.ts";

/** Some seconds of ticks. */
const LAG_SAMPLES = 256;
const STATUS_INTERVAL_MS = 100;
/** Who was removed has that long to tell its callers, and a leader to hand over. */
const EXPELLED_AFTER_MS = 500;
/** After a failed transfer; it goes on from where it was. */
const FETCH_RETRY_MS = 500;
/** While it waits for people. */
const FETCH_RETRY_MS_MAX = 5000;

export type SessionLoopOptions = {
  readonly thread: ThreadOptions;
  readonly identity: JournalIdentity;
  readonly session: Session;
  readonly checkpoints: CheckpointStore;
  readonly keeper: StateKeeper;
  readonly delivery: Delivery;
  readonly world: World;
  readonly post: (message: FromThread) => void;
  /** This master is no member any more. */
  readonly onExpelled: (explanation: string) => void;
  /** What nothing here can mend. */
  readonly onFatal: (error: unknown) => void;
};

export class SessionLoop {
  readonly #options: SessionLoopOptions;
  readonly #session: Session;
  readonly #world: World;
  readonly #post: SessionLoopOptions["post"];
  readonly #doorkeeper: Doorkeeper;
  readonly #members: MemberSteps;
  readonly #repair: RepairWatch;
  readonly #quorum: QuorumWatch;
  readonly #health = new LeaderHealth();
  readonly #ticker: Ticker;
  #softState: SoftState;
  #committed: LogIndex = 0;
  #isOver = false;
  #isPumping = false;
  #isResetting = false;
  #removedMs: number | null = null;
  /** The leader, after it was removed, as long as it leads. */
  #parting: MemberId | null = null;
  #tickTimer: Timer | null = null;
  #tickDueMs = 0;
  /** By which the newest ticks came late: how long this thread was held. */
  readonly #lags = new Stopwatch(LAG_SAMPLES);
  #statusTimer: Timer | null = null;
  #statusKey = "";

  constructor(options: SessionLoopOptions) {
    this.#options = options;
    this.#session = options.session;
    this.#world = options.world;
    this.#post = options.post;
    const onEvent = (event: JournalEvent) => this.#event(event);
    this.#members = new MemberSteps(onEvent);
    this.#repair = new RepairWatch(onEvent);
    const { address, addresses } = options.thread;
    const others = addresses.filter((each) => each !== address);
    this.#quorum = new QuorumWatch(others, onEvent);
    this.#doorkeeper = new Doorkeeper({
      onEvent,
      onJoiner: (peer) => {
        if (this.#softState.role === "leader") this.#members.joinerSeen(peer, this.#nowMs());
      },
      onOther: (peer) => {
        if (this.#softState.role === "leader") this.#members.answeredInstead(peer, this.#nowMs());
      },
      onKeptOut: (peer, reason) => this.#onKeptOut(peer, reason),
      onRemoved: options.onExpelled,
    });
    this.#ticker = new Ticker(options.thread.timings, this.#nowMs(), (gapMs) =>
      this.#event({ kind: "stalled", gapMs }),
    );
    const { role, term, leader } = options.session.raft.status();
    this.#softState = { role, term, leader };
    if (wasRemoved(options.session, options.identity)) this.#removedMs = this.#nowMs();
  }

  get softState(): SoftState {
    return this.#softState;
  }

  #nowMs(): number {
    return this.#world.clock.monotonicMs();
  }

  #event(event: JournalEvent): void {
    this.#post({ kind: "event", event });
  }

  start(): void {
    this.#scheduleTick();
    this.#scheduleStatus();
    this.postStatus();
    this.#guarded(() => this.#pump());
  }

  /** Stops taking part: the peers see the connections close, and the main thread loses its reign. */
  async leave(): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#tickTimer?.cancel();
    this.#statusTimer?.cancel();
    this.#onSoftState({ role: "follower", term: this.#softState.term, leader: null });
    await this.#session.transport.close();
  }

  /** What the session's transport is to call. */
  handlers(): Omit<PeerHandlers, "readCheckpoint"> {
    const { raft, gate } = this.#session;
    return {
      onMessage: (message) => this.#act(() => raft.step(message)),
      onPeerDied: (peer) => this.#act(() => raft.peerDied(peer)),
      onGreeting: (peer) => this.#doorkeeper.greeted(gate, peer),
      isWelcome: (peer) => gate.accepts(peer),
      onAnswer: (peer, answer) => this.#doorkeeper.answered(gate, peer, answer),
      onEvent: (event) => {
        this.#event(event);
        if (event.kind === "peerConnected" || event.kind === "peerDisconnected") this.postStatus();
      },
    };
  }

  // — the loop —

  /** A read of a log that is damaged or broken ends the session by itself, and the act right here. */
  #guarded(act: () => void): void {
    try {
      act();
    } catch (error) {
      if (!(error instanceof WalError)) throw error;
    }
  }

  #act(act: () => void): void {
    if (this.#isOver || this.#isResetting) return;
    this.#guarded(() => {
      act();
      this.#pump();
    });
  }

  /** Does what the core wants done, until it wants nothing. Never re-entered: the loop picks up what comes meanwhile. */
  #pump(): void {
    if (this.#isOver || this.#isPumping || this.#isResetting) return;
    const { raft } = this.#session;
    this.#isPumping = true;
    try {
      for (let ready = raft.takeReady(); ready !== null; ready = raft.takeReady()) {
        this.#handleReady(ready);
        if (this.#isOver) return;
      }
      this.#deliver();
    } finally {
      this.#isPumping = false;
    }
  }

  #handleReady(ready: Ready): void {
    const { wal, raft, transport } = this.#session;
    if (ready.softState !== null) this.#onSoftState(ready.softState);
    if (ready.membership !== null) this.#onMembership(ready.membership);
    for (const message of ready.messages) transport.send(message);
    const { hardState, entries, messagesAfterPersist } = ready;
    if (hardState !== null || entries.length > 0 || messagesAfterPersist.length > 0)
      wal.append(hardState, entries, () => {
        if (this.#isOver) return;
        for (const message of messagesAfterPersist) transport.send(message);
        const last = entries.at(-1);
        if (last !== undefined) raft.persisted({ index: last.index, term: last.term });
        this.#guarded(() => this.#pump());
      });
    // That it is committed is not to wait for the next batch: whoever was removed may be needed to find it out again.
    if (ready.mustSync && ready.membership !== null) void wal.writeState();
    this.#committed = ready.applyThrough ?? this.#committed;
    for (const { context, index } of ready.readStates)
      this.#post({ kind: "readReady", context, index });
    if (ready.abortedReads.length > 0)
      this.#post({ kind: "readsAborted", contexts: ready.abortedReads });
    const wanted = ready.snapshotWanted;
    if (wanted !== null) void this.#fetch(wanted); // It handles its own failures.
  }

  #onSoftState(softState: SoftState): void {
    const { role: roleBefore, leader: leaderBefore } = this.#softState;
    const wasLeader = roleBefore === "leader";
    const wasHeard = leaderBefore !== null && !wasLeader && leaderBefore !== softState.leader;
    const leaderSilenceMs = wasHeard ? this.#silenceMs(leaderBefore) : null;
    this.#softState = softState;
    if (wasLeader && softState.role !== "leader") this.#members.reignEnded(notLeader);
    this.#post({ kind: "softState", softState, leaderSilenceMs });
    const { role, term, leader } = softState;
    this.#event({ kind: "roleChanged", role, term, leaderAddress: this.#addressOf(leader) });
    // Not while the heir campaigns: cut off, the one that parts would take it for dead, tell another, and split the votes.
    const isSucceeded = leader !== null && leader !== this.#parting;
    if (this.#parting !== null && isSucceeded && !this.#isOver) {
      this.#parting = null;
      this.#session.transport.setMembership(this.#session.inForce.membership);
    }
    if (!this.#isOver) this.postStatus();
  }

  #silenceMs(member: MemberId): number | null {
    const silenceMs = this.#session.transport.silenceMs(member);
    return Number.isFinite(silenceMs) ? silenceMs : null;
  }

  #addressOf(member: MemberId | null): string | null {
    const { addresses } = this.#session.inForce.membership;
    return member === null ? null : (addresses.get(member) ?? null);
  }

  // — requests —

  propose({ requestId, term, entryKind, payloads }: Extract<ToThread, { kind: "propose" }>): void {
    this.#guarded(() => {
      const isOfTerm = this.#softState.term === term && this.#softState.role === "leader";
      const result = isOfTerm ? this.#session.raft.propose(unpack(payloads), entryKind) : null;
      if (result?.kind === "accepted") {
        this.#options.delivery.proposed(result.firstIndex, payloads.lengths.length, term);
        this.#post({ kind: "accepted", requestId, firstIndex: result.firstIndex, term });
        this.#pump();
      } else this.#post({ kind: "refused", requestId });
    });
  }

  read({ context, term }: Extract<ToThread, { kind: "read" }>): void {
    const isOfTerm = this.#softState.term === term;
    if (!isOfTerm || this.#session.raft.readIndex(context) === "notLeader")
      this.#post({ kind: "readsAborted", contexts: [context] });
    else this.#guarded(() => this.#pump());
  }

  transfer({ requestId, to }: Extract<ToThread, { kind: "transfer" }>): void {
    const isBegun = this.#session.raft.transferLeadership(to);
    this.#post({ kind: "transferAnswer", requestId, isBegun });
    this.#guarded(() => this.#pump());
  }

  remove({ requestId, address }: Extract<ToThread, { kind: "remove" }>): void {
    const answer = (outcome: PlainError | null) => this.#post({ kind: "done", requestId, outcome });
    if (this.#softState.role !== "leader") answer(plainError(notLeader()));
    else
      this.#members.remove(address, (error) => answer(error === null ? null : plainError(error)));
  }

  async checkpoint({ requestId }: Extract<ToThread, { kind: "checkpoint" }>): Promise<void> {
    let outcome: StatePosition | PlainError;
    try {
      outcome = await this.#options.keeper.make();
    } catch (error) {
      outcome = plainError(error);
    }
    this.#post({ kind: "done", requestId, outcome });
  }

  // — who takes part —

  #onMembership({ index, membership }: MembershipAt): void {
    const session = this.#session;
    const { leader } = this.#softState;
    const leaderAddress = this.#addressOf(leader);
    session.inForce = { index, membership };
    session.tellDisk(membership);
    // A leader that was removed sees to its successor, and can't when it is cut off at once.
    const isParting =
      leader !== null && leaderAddress !== null && !membership.addresses.has(leader);
    this.#parting = isParting ? leader : null;
    session.transport.setMembership(
      isParting
        ? { ...membership, addresses: new Map([...membership.addresses, [leader, leaderAddress]]) }
        : membership,
    );
    const { voters, learners, addresses } = membership;
    const named = (ids: readonly MemberId[]) => ids.map((id) => addresses.get(id) ?? "");
    const names = { voters: named(voters), learners: named(learners) };
    this.#event({ kind: "membershipChanged", index, ...names });
    this.#members.changed(membership);
    if (wasRemoved(session, this.#options.identity)) this.#removedMs ??= this.#nowMs();
    this.postStatus();
  }

  /** Who is up at a member's address, and is not that member, has lost its journal. */
  #onKeptOut({ id, address, standing }: Greeting, reason: RefusalReason): void {
    const { addresses } = this.#session.inForce.membership;
    const isFresh = standing === "undecided" || !addresses.has(id);
    const isReplaced = reason === "notMember" && isFresh;
    const isOfMember = [...addresses.values()].includes(address);
    if (isOfMember && (isReplaced || reason === "wiped"))
      this.#quorum.wipedSeen(address, this.#nowMs());
  }

  // — time —

  #scheduleTick(): void {
    const { tickMs } = this.#options.thread.timings;
    this.#tickDueMs = this.#nowMs() + tickMs;
    this.#tickTimer = this.#world.timers.after(tickMs, () => this.#guarded(() => this.#onTick()));
  }

  #onTick(): void {
    if (this.#isOver) return;
    this.#lags.record(Math.max(0, this.#nowMs() - this.#tickDueMs));
    // First, so that a log that fails in here does not end the ticks of a session that goes on.
    this.#scheduleTick();
    if (this.#isResetting) return;
    const { raft, inForce } = this.#session;
    const nowMs = this.#nowMs();
    if (this.#ticker.advance(raft, nowMs)) this.#health.forgive(nowMs);
    this.#checkHealth(nowMs);
    this.#options.keeper.tick(nowMs);
    if (this.#softState.role === "leader")
      this.#members.tick(raft, nowMs, (id) => this.#isAvailable(id));
    else if (this.#removedMs !== null && nowMs - this.#removedMs >= EXPELLED_AFTER_MS) {
      this.#options.onExpelled(`entry ${inForce.index} of its log says so`);
      return;
    }
    this.#pump();
  }

  #isAvailable(id: MemberId): boolean {
    const { identity, thread } = this.#options;
    if (id === identity.memberId) return true;
    const { transport } = this.#session;
    return transport.isConnected(id) && transport.silenceMs(id) <= thread.timings.electionMaxMs;
  }

  #checkHealth(nowMs: number): void {
    const { raft, wal, transport, inForce } = this.#session;
    const mainThread = Atomics.load(this.#options.thread.mainTurns, 0);
    const isLeader = this.#softState.role === "leader";
    const ailment = this.#health.ailment({ disk: wal.progress, mainThread }, isLeader, nowMs);
    if (ailment === null) return;
    const { voters } = inForce.membership;
    const [heir] = raft
      .status()
      .progress.filter(({ id, isActive }) => isActive && transport.isConnected(id))
      .filter(({ id }) => voters.includes(id))
      .sort((a, b) => b.matchIndex - a.matchIndex);
    // Without a quorum this reign is about to end anyhow.
    if (heir === undefined || !raft.transferLeadership(heir.id)) return;
    this.#health.handingOver(nowMs);
    this.#tellAilment(ailment, heir.id);
  }

  #tellAilment({ part, stillMs }: Ailment, heir: MemberId): void {
    const heirAddress = this.#addressOf(heir) ?? "";
    this.#event({ kind: "steppingAside", part, stillMs: Math.round(stillMs), heirAddress });
  }

  #scheduleStatus(): void {
    this.#statusTimer = this.#world.timers.after(STATUS_INTERVAL_MS, () => {
      this.postStatus();
      this.#scheduleStatus();
    });
  }

  postStatus(): void {
    if (this.#isOver) return;
    const { wal } = this.#session;
    const leaderAddress = this.#addressOf(this.#softState.leader);
    this.#repair.look(wal.promised(), wal.lastIndex(), leaderAddress, this.#nowMs());
    const status = { ...this.status(), flushes: wal.flushTimes.read(), lags: this.#lags.read() };
    this.#quorum.look(this.#softState.leader !== null, status.members, this.#nowMs());
    const key = `${status.lastIndex} ${status.commitIndex} ${status.members
      .map(({ id, standing, isAvailable, matchIndex }) => [id, standing, isAvailable, matchIndex])
      .join()}`;
    if (key === this.#statusKey) return;
    this.#statusKey = key;
    this.#post({ kind: "status", status });
  }

  status() {
    const { identity, thread } = this.#options;
    return statusOf(this.#session, identity.memberId, thread.timings.electionMaxMs);
  }

  // — the state —

  #deliver(): void {
    const { keeper, delivery } = this.#options;
    if (!keeper.isInstalling) delivery.send(this.#session.wal, this.#committed);
  }

  /** The main thread has applied some: more may be sent. */
  applied(): void {
    this.#guarded(() => this.#deliver());
  }

  /** The checkpoints on the disk are others than before. */
  onCheckpoint(): void {
    if (this.#isOver) return;
    const { wal } = this.#session;
    const { checkpoints } = this.#options;
    wal.setSnapshot(checkpoints.newest()?.snapshot ?? null);
    const older = checkpoints.trimmable();
    // It handles its own failures.
    if (older !== null) void wal.trimBefore(older.snapshot.index);
  }

  /** Gets what the log of the leader does not hold any more. */
  async #fetch({ from, snapshot }: NonNullable<Ready["snapshotWanted"]>): Promise<void> {
    const { raft, transport } = this.#session;
    const { checkpoints, keeper, delivery } = this.#options;
    try {
      const address = this.#addressOf(from) ?? snapshot.membership.addresses.get(from) ?? "";
      const source = { id: from, address };
      const isWanted = () => !this.#isOver;
      const checkpoint = await checkpoints.fetch(transport, source, snapshot, isWanted);
      if (this.#isOver) return;
      // Or the log got there by itself.
      const isNews = checkpoint.snapshot.index > delivery.deliveredIndex;
      if (isNews) {
        await keeper.install(checkpoint);
        await this.#reset(checkpoint.snapshot);
      }
      this.onCheckpoint();
      this.#act(() => {
        if (isNews) raft.snapshotInstalled(checkpoint.snapshot);
        else raft.snapshotFailed();
      });
    } catch (error) {
      if (error instanceof WalError || this.#isOver) return;
      this.#onFetchFailed(error, snapshot.index);
    }
  }

  /** Meanwhile the core is left alone: what it hears may be lost, what it says would go to a log that is being replaced. */
  async #reset(snapshot: Snapshot): Promise<void> {
    if (this.#isOver) return;
    this.#isResetting = true;
    try {
      await this.#session.wal.resetTo(snapshot);
    } finally {
      this.#isResetting = false;
    }
  }

  #onFetchFailed(error: unknown, index: LogIndex): void {
    if (!isPassing(error)) {
      this.#options.onFatal(error);
      return;
    }
    const { message, remedy: told } = plainError(error);
    const remedy = isNoSpace(error) ? "Free space on the disk of the journal" : told;
    this.#event({ kind: "fetchFailed", index, message, remedy });
    const { raft } = this.#session;
    const retryMs = isForPeople(error) ? FETCH_RETRY_MS_MAX : FETCH_RETRY_MS;
    this.#world.timers.after(retryMs, () => this.#act(() => raft.snapshotFailed()));
    // What was sent to the state and not applied may be void: it is sent again.
    this.applied();
  }
}

export function notLeader(): RockpoolError {
  return new RockpoolError(
    "UNAVAILABLE",
    "This master does not lead (any more)",
    "Try again; clients with the list of all masters find the leader by themselves",
  );
}

/** True for what only somebody can mend: no room, or a checkpoint of another build. */
function isForPeople(error: unknown): boolean {
  return (
    isRockpoolError(error, "RESOURCE_EXHAUSTED") ||
    isRockpoolError(error, "FAILED_PRECONDITION") ||
    isNoSpace(error)
  );
}

/** True for what time, room or another peer may mend. */
function isPassing(error: unknown): boolean {
  return (
    isRockpoolError(error, "NOT_FOUND") ||
    isRockpoolError(error, "UNAVAILABLE") ||
    isRockpoolError(error, "CANCELLED") ||
    isRockpoolError(error, "DATA_LOSS") ||
    isForPeople(error)
  );
}
