/**
 * The journal thread: Raft's core, the write-ahead log and the connections to the peers, driven by one loop.
 *
 * The order that makes it safe, for every Ready of the core: messages that promise nothing leave at once; entries, term
 * and vote go to the log; votes and acknowledgements leave when that and everything before it is durable. Entries go to
 * the main thread when they are committed and durable here, at the pace at which it applies them.
 *
 * It runs in a thread of its own so that a long turn of the main loop costs no election. A turn of this one that took
 * longer than two heartbeats says nothing about the peers, so the timers start anew. A leader whose disk or main thread
 * hangs steps aside: its heartbeats alone would keep the others from taking over.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { LogIndex, MemberId } from "../common/ids.ts";
import { invariant, unreachable } from "../common/invariant.ts";
import {
  BATCH_BYTES_MAX,
  PEER_INFLIGHT_BYTES_MAX,
  PEER_INFLIGHT_ENTRIES_MAX,
} from "../common/limits.ts";
import { RaftCore } from "../raft/core.ts";
import type { Membership, Raft, Ready, SoftState } from "../raft/messages.ts";
import type { Timer, World } from "../world/ports.ts";
import type { JournalFileSystem } from "./file_system.ts";
import {
  checkConfigured,
  groupIdOf,
  type JournalIdentity,
  lockFolder,
  memberIdOf,
  PeerPins,
  readIdentityFile,
} from "./journal_folder.ts";
import {
  exitCodeOf,
  type FromThread,
  type JournalEvent,
  packEntries,
  plainError,
  type ThreadOptions,
  type ThreadStatus,
  type ToThread,
  unpack,
} from "./journal_protocol.ts";
import { type Ailment, LeaderHealth } from "./leader_health.ts";
import { RaftTransport } from "./raft_transport.ts";
import type { Crc32c } from "./record.ts";
import { openWal, type Wal } from "./wal.ts";
import { isNoSpace, WalError, type WalFailure } from "./wal_failure.ts";

/** One message of committed entries to the main thread, and how many may be unapplied. */
const DELIVER_BYTES_MAX = 1024 * 1024;
const DELIVERIES_MAX = 8;
const STATUS_INTERVAL_MS = 100;
/** A machine without a free core stalls all the time; saying so now and then is enough. */
const STALL_EVENT_INTERVAL_MS = 1000;
/** While the disk is full it is asked for room this often. */
const REOPEN_INTERVAL_MS = 1000;
/** Where it says that there is room and writes fail all the same (a quota), the log is read anew ever more rarely. */
const REOPEN_INTERVAL_MS_MAX = 30_000;

export type JournalCoreOptions = {
  readonly fileSystem: JournalFileSystem;
  readonly crc32c: Crc32c;
  readonly world: World;
  readonly post: (message: FromThread) => void;
};

/** The disk is still full. */
class NoRoomError extends Error {
  override readonly name = "NoRoomError";
}

/** Everything that exists while the disk can be written. */
type Session = { readonly raft: Raft; readonly wal: Wal; readonly transport: RaftTransport };

export class JournalCore {
  readonly #world: World;
  readonly #fileSystem: JournalFileSystem;
  readonly #crc32c: Crc32c;
  readonly #post: JournalCoreOptions["post"];
  #options: ThreadOptions | null = null;
  #identity: JournalIdentity | null = null;
  #pins: PeerPins | null = null;
  #unlock: (() => void) | null = null;
  #session: Session | null = null;
  #state: "idle" | "running" | "readOnly" | "stopped" = "idle";
  #isPumping = false;
  #softState: SoftState = { role: "follower", term: 0, leader: null };
  #committed: LogIndex = 0;
  #delivered: LogIndex = 0;
  /** Last indexes of the deliveries that the main thread has not applied. */
  #deliveries: LogIndex[] = [];
  #lastTickMs = 0;
  /** Without a stall, since the timers last started anew because of one. */
  #steadyMs = Number.POSITIVE_INFINITY;
  readonly #health = new LeaderHealth();
  #stallToldMs = Number.NEGATIVE_INFINITY;
  #tickTimer: Timer | null = null;
  #statusTimer: Timer | null = null;
  #reopenTimer: Timer | null = null;
  #reopenAfterMs = REOPEN_INTERVAL_MS;
  #statusKey = "";

  constructor(options: JournalCoreOptions) {
    this.#world = options.world;
    this.#fileSystem = options.fileSystem;
    this.#crc32c = options.crc32c;
    this.#post = options.post;
  }

  receive(message: ToThread): void {
    this.#guarded(() => this.#receive(message));
  }

  /** A read of a log that is damaged or broken ends the session through `#onWalFailure`, and the act right here. */
  #guarded(act: () => void): void {
    try {
      act();
    } catch (error) {
      if (!(error instanceof WalError)) throw error;
    }
  }

  #receive(message: ToThread): void {
    switch (message.kind) {
      case "start":
        void this.#start(message.options, message.appliedIndex); // It answers with its own failure.
        break;
      case "propose":
        this.#propose(message);
        break;
      case "read":
        this.#read(message);
        break;
      case "transfer": {
        const isBegun = this.#session?.raft.transferLeadership(message.to) ?? false;
        this.#post({ kind: "transferAnswer", requestId: message.requestId, isBegun });
        this.#pump();
        break;
      }
      case "applied":
        while ((this.#deliveries[0] ?? Number.POSITIVE_INFINITY) <= message.index)
          this.#deliveries.shift();
        this.#deliver();
        break;
      case "close":
        void this.#close(); // It has nothing to report but "closed".
        break;
      default:
        unreachable(message);
    }
  }

  #event(event: JournalEvent): void {
    this.#post({ kind: "event", event });
  }

  // — opening —

  async #start(options: ThreadOptions, appliedIndex: LogIndex): Promise<void> {
    const beganMs = this.#world.clock.monotonicMs();
    try {
      invariant(this.#state === "idle", "a journal is started once");
      const { folder } = options;
      this.#options = options;
      this.#identity = readIdentityFile(folder, this.#crc32c);
      checkConfigured(folder, this.#identity, options.address, options.addresses);
      this.#unlock = lockFolder(folder, (pid) =>
        this.#event({ kind: "lockTakenOver", folder, pid }),
      );
      this.#pins = new PeerPins(folder);
      this.#delivered = appliedIndex;
      this.#state = "running";
      const session = await this.#open("nothing");
      if (this.#state !== "running") {
        // The log failed already, and has told why.
        await session.transport.close();
        await session.wal.abandon();
        return;
      }
      const { commitIndex, term } = session.wal.hardState;
      const tookMs = this.#world.clock.monotonicMs() - beganMs;
      const lastIndex = session.wal.lastIndex();
      this.#event({ kind: "journalOpened", folder, lastIndex, commitIndex, term, tookMs });
      const { role, leader } = session.raft.status();
      const softState = { role, term, leader };
      this.#post({ kind: "started", status: this.#statusOf(session), softState });
      this.#begin(session);
    } catch (error) {
      this.#state = "stopped";
      this.#unlock?.();
      this.#unlock = null;
      this.#post({ kind: "startFailed", error: plainError(error), exitCode: exitCodeOf(error) });
    }
  }

  /**
   * Recovers the log and joins the peers; nothing runs yet.
   * @param needs "room": it must have room for another segment, or it might lead for a moment only
   */
  async #open(needs: "room" | "nothing"): Promise<Session> {
    const options = this.#options;
    const identity = this.#identity;
    const pins = this.#pins;
    invariant(options !== null && identity !== null && pins !== null, "the folder is open");
    const { folder, address, addresses, bindHost, bindPort } = options;
    const groupId = groupIdOf(addresses);
    const voters = [...addresses].sort().map(memberIdOf);
    const membership: Membership = { voters, learners: [] };
    const wal = await openWal({
      fileSystem: this.#fileSystem,
      folder,
      owner: { memberId: identity.memberId, incarnation: identity.incarnation, groupId },
      membership,
      crc32c: this.#crc32c,
      segmentBytes: options.segmentBytes,
      cacheBytesMax: options.cacheBytesMax,
      onEvent: (event) => {
        // Told once; after that, a try each second finds the disk full again.
        if (event.kind === "noSpaceForNextSegment" && this.#state === "readOnly") return;
        this.#event(event);
      },
      onFailure: (failure) => this.#onWalFailure(failure),
    });
    try {
      if (needs === "room" && !(await wal.hasSpare()))
        throw new NoRoomError("No room for a segment");
      this.#checkApplied(wal, folder);
      const raft = new RaftCore(this.#raftConfig(options), wal, this.#world.random);
      const transport = new RaftTransport({
        address,
        addresses,
        incarnation: identity.incarnation,
        folder,
        bindHost,
        bindPort,
        pins,
        crc32c: this.#crc32c,
        world: this.#world,
        onMessage: (message) => this.#act((session) => session.raft.step(message)),
        onPeerDied: (peer) => this.#act((session) => session.raft.peerDied(peer)),
        onEvent: (event) => {
          this.#event(event);
          if (event.kind === "peerConnected" || event.kind === "peerDisconnected")
            this.#postStatus();
        },
      });
      await transport.start();
      return { raft, wal, transport };
    } catch (error) {
      await wal.abandon();
      throw error;
    }
  }

  #checkApplied(wal: Wal, folder: string): void {
    const lastIndex = wal.lastIndex();
    if (this.#delivered <= lastIndex && this.#delivered >= wal.firstIndex() - 1) return;
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `The metadata store has applied entry ${this.#delivered}, and the journal in ${folder} holds entries ` +
        `${wal.firstIndex()} to ${lastIndex}: they do not belong together`,
      "Restore the journal folder and the metadata folder from one moment, or remove the metadata folder to build it anew from the journal",
    );
  }

  #raftConfig(options: ThreadOptions) {
    const { tickMs, heartbeatMs, electionMinMs, electionMaxMs } = options.timings;
    const ticks = (ms: number) => Math.max(1, Math.round(ms / tickMs));
    return {
      id: memberIdOf(options.address),
      appliedIndex: this.#delivered,
      electionTicksMin: ticks(electionMinMs),
      electionTicksMax: ticks(electionMaxMs),
      heartbeatTicks: ticks(heartbeatMs),
      inflightEntriesMax: PEER_INFLIGHT_ENTRIES_MAX,
      inflightBytesMax: PEER_INFLIGHT_BYTES_MAX,
      appendBytesMax: BATCH_BYTES_MAX,
    };
  }

  #begin(session: Session): void {
    this.#session = session;
    this.#lastTickMs = this.#world.clock.monotonicMs();
    this.#scheduleTick();
    this.#scheduleStatus();
    this.#pump();
  }

  // — time —

  #scheduleTick(): void {
    const tickMs = this.#options?.timings.tickMs ?? 10;
    this.#tickTimer = this.#world.timers.after(tickMs, () => this.#guarded(() => this.#onTick()));
  }

  #onTick(): void {
    const options = this.#options;
    const session = this.#session;
    if (options === null || session === null) return;
    const { tickMs, heartbeatMs } = options.timings;
    const nowMs = this.#world.clock.monotonicMs();
    const gapMs = nowMs - this.#lastTickMs;
    if (gapMs > 2 * heartbeatMs) this.#onStall(session, options, gapMs);
    else
      for (; nowMs - this.#lastTickMs >= tickMs; this.#lastTickMs += tickMs) {
        this.#steadyMs += tickMs;
        session.raft.tick();
      }
    this.#checkHealth(session, options, nowMs);
    this.#scheduleTick();
    this.#pump();
  }

  /**
   * Nobody was heard because nobody listened, which is forgiven once. Where stalls follow one another, that would put off
   * every election, and every look for a quorum, for ever; so there a stall counts for two heartbeats. What waited in the
   * sockets comes before the next one, and outweighs them if a leader is there.
   */
  #onStall({ raft }: Session, { timings }: ThreadOptions, gapMs: number): void {
    const nowMs = this.#world.clock.monotonicMs();
    this.#lastTickMs = nowMs;
    this.#health.forgive(nowMs);
    if (nowMs - this.#stallToldMs >= STALL_EVENT_INTERVAL_MS) {
      this.#stallToldMs = nowMs;
      this.#event({ kind: "stalled", gapMs: Math.round(gapMs) });
    }
    if (this.#steadyMs >= timings.electionMaxMs) {
      this.#steadyMs = 0;
      raft.resetTimers();
    } else for (let ms = 0; ms < 2 * timings.heartbeatMs; ms += timings.tickMs) raft.tick();
  }

  #checkHealth({ raft, wal, transport }: Session, { mainTurns }: ThreadOptions, nowMs: number) {
    const progress = { disk: wal.progress, mainThread: Atomics.load(mainTurns, 0) };
    const isLeader = this.#softState.role === "leader";
    const ailment = this.#health.ailment(progress, isLeader, nowMs);
    if (ailment === null) return;
    const [heir] = raft
      .status()
      .progress.filter(({ id, isActive }) => isActive && transport.isConnected(id))
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
      this.#postStatus();
      this.#scheduleStatus();
    });
  }

  #statusOf({ raft, transport }: Session): ThreadStatus {
    const { lastIndex, commitIndex, membership, progress, role } = raft.status();
    const self = memberIdOf(this.#options?.address ?? "");
    const silenceMaxMs = this.#options?.timings.electionMaxMs ?? 0;
    const members = membership.voters.map((id) => {
      const known = progress.find((peer) => peer.id === id);
      if (id === self)
        return { id, isAvailable: true, matchIndex: role === "leader" ? lastIndex : null };
      const isAvailable = transport.isConnected(id) && transport.silenceMs(id) <= silenceMaxMs;
      return { id, isAvailable, matchIndex: known?.matchIndex ?? null };
    });
    return { lastIndex, commitIndex, members };
  }

  #postStatus(): void {
    if (this.#session === null) return;
    const status = this.#statusOf(this.#session);
    const key = `${status.lastIndex} ${status.commitIndex} ${status.members
      .map((member) => `${member.isAvailable} ${member.matchIndex}`)
      .join()}`;
    if (key === this.#statusKey) return;
    this.#statusKey = key;
    this.#post({ kind: "status", status });
  }

  // — requests —

  #propose(message: Extract<ToThread, { kind: "propose" }>): void {
    const { requestId } = message;
    const raft = this.#session?.raft;
    const isOfTerm = this.#softState.term === message.term && this.#softState.role === "leader";
    const result =
      raft !== undefined && isOfTerm ? raft.propose(unpack(message.payloads)) : undefined;
    if (result?.kind === "accepted") {
      const { firstIndex, term } = result;
      this.#post({ kind: "accepted", requestId, firstIndex, term });
      this.#pump();
    } else this.#post({ kind: "refused", requestId });
  }

  #read({ context, term }: Extract<ToThread, { kind: "read" }>): void {
    const raft = this.#session?.raft;
    const isOfTerm = this.#softState.term === term;
    if (raft === undefined || !isOfTerm || raft.readIndex(context) === "notLeader")
      this.#post({ kind: "readsAborted", contexts: [context] });
    else this.#pump();
  }

  // — the loop —

  #act(act: (session: Session) => void): void {
    const session = this.#session;
    if (session === null) return;
    this.#guarded(() => {
      act(session);
      this.#pump();
    });
  }

  /** Does what the core wants done, until it wants nothing. Never re-entered: the loop picks up what comes meanwhile. */
  #pump(): void {
    const session = this.#session;
    if (session === null || this.#isPumping) return;
    this.#isPumping = true;
    try {
      for (let ready = session.raft.takeReady(); ready !== null; ready = session.raft.takeReady()) {
        this.#handleReady(session, ready);
        if (this.#session !== session) return;
      }
      this.#deliver();
    } finally {
      this.#isPumping = false;
    }
  }

  #handleReady(session: Session, ready: Ready): void {
    const { wal, raft, transport } = session;
    if (ready.softState !== null) this.#onSoftState(ready.softState);
    for (const message of ready.messages) transport.send(message);
    const { hardState, entries, messagesAfterPersist } = ready;
    if (hardState !== null || entries.length > 0 || messagesAfterPersist.length > 0)
      wal.append(hardState, entries, () => {
        if (this.#session !== session) return;
        for (const message of messagesAfterPersist) transport.send(message);
        const last = entries.at(-1);
        if (last !== undefined) raft.persisted({ index: last.index, term: last.term });
        this.#pump();
      });
    this.#committed = ready.applyThrough ?? this.#committed;
    for (const { context, index } of ready.readStates)
      this.#post({ kind: "readReady", context, index });
    if (ready.abortedReads.length > 0)
      this.#post({ kind: "readsAborted", contexts: ready.abortedReads });
  }

  #onSoftState(softState: SoftState): void {
    this.#softState = softState;
    this.#post({ kind: "softState", softState });
    const { role, term, leader } = softState;
    this.#event({ kind: "roleChanged", role, term, leaderAddress: this.#addressOf(leader) });
    if (this.#session !== null) this.#postStatus();
  }

  #addressOf(member: MemberId | null): string | null {
    return this.#options?.addresses.find((address) => memberIdOf(address) === member) ?? null;
  }

  /** Sends committed entries on, as far ahead of the main thread as is allowed. */
  #deliver(): void {
    const wal = this.#session?.wal;
    if (wal === undefined) return;
    while (this.#delivered < this.#committed && this.#deliveries.length < DELIVERIES_MAX) {
      const entries = wal.entries(this.#delivered + 1, this.#committed + 1, DELIVER_BYTES_MAX);
      this.#delivered = entries.at(-1)?.index ?? this.#delivered;
      this.#deliveries.push(this.#delivered);
      this.#post({ kind: "committed", entries: packEntries(entries) });
    }
  }

  // — the end —

  #onWalFailure(failure: WalFailure): void {
    // While the disk is full another try fails as `#reopen` sees; but a disk that is broken by now is broken.
    const isNews = this.#state === "running" || failure.kind === "fatal";
    if (!isNews || this.#state === "stopped") return;
    const { message, remedy } = failure.error;
    if (failure.kind === "fatal") {
      void this.#stop(); // Nobody waits for it: the process is about to end.
      this.#event({ kind: "fatal", exitCode: failure.exitCode, message, remedy });
      return;
    }
    this.#state = "readOnly";
    this.#event({ kind: "readOnly", message, remedy });
    const ended = this.#endSession();
    void ended.then(() => this.#reopenLater()); // #endSession does not fail.
  }

  #reopenLater(): void {
    if (this.#state !== "readOnly") return;
    this.#reopenTimer = this.#world.timers.after(this.#reopenAfterMs, () => {
      void this.#reopen(); // It handles its own failures.
    });
  }

  /** After the disk was full: reads the log anew, as a restart would. */
  async #reopen(): Promise<void> {
    try {
      const options = this.#options;
      invariant(options !== null, "the folder is open");
      const { folder, segmentBytes } = options;
      if ((await this.#fileSystem.freeBytes(folder)) < segmentBytes) {
        this.#reopenLater();
        return;
      }
      if (this.#state !== "readOnly") return;
      const session = await this.#open("room");
      if (this.#state !== "readOnly") {
        await session.transport.close();
        await session.wal.abandon();
        return;
      }
      this.#state = "running";
      this.#reopenAfterMs = REOPEN_INTERVAL_MS;
      this.#event({ kind: "writableAgain" });
      this.#begin(session);
    } catch (error) {
      if (this.#state !== "readOnly") return;
      if (isNoSpace(error) || error instanceof NoRoomError) {
        this.#reopenAfterMs = Math.min(2 * this.#reopenAfterMs, REOPEN_INTERVAL_MS_MAX);
        this.#reopenLater();
        return;
      }
      const { message, remedy } = plainError(error);
      void this.#stop(); // Nobody waits for it: the process is about to end.
      this.#event({ kind: "fatal", exitCode: exitCodeOf(error), message, remedy });
    }
  }

  /** Stops taking part: the peers see the connections close, and the main thread loses its reign. */
  async #endSession(): Promise<void> {
    const wal = this.#session?.wal;
    await this.#leave();
    await wal?.abandon();
  }

  async #leave(): Promise<void> {
    const session = this.#session;
    this.#session = null;
    this.#tickTimer?.cancel();
    this.#statusTimer?.cancel();
    this.#reopenTimer?.cancel();
    if (session === null) return;
    this.#onSoftState({ role: "follower", term: this.#softState.term, leader: null });
    await session.transport.close();
  }

  /** Drops everything as it is, as a crash would: nothing more is written or sent. */
  async abandon(): Promise<void> {
    await this.#stop();
  }

  async #stop(): Promise<void> {
    this.#state = "stopped";
    await this.#endSession();
    this.#unlock?.();
    this.#unlock = null;
  }

  async #close(): Promise<void> {
    const wal = this.#session?.wal;
    // First nothing new may come: the log of a busy member would never be done.
    const left = this.#leave();
    await wal?.close();
    await left;
    await this.#stop();
    this.#post({ kind: "closed" });
  }
}
