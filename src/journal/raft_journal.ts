/**
 * The journal of masters that replicate it among themselves: the main thread's half. The other half, in
 * journal_thread.ts, owns Raft, the disk and the peers; this one owns the state machine and whoever waits.
 *
 * - Proposals and reads of one turn of the loop travel together.
 * - Committed entries are applied in slices, the loop is let go between them, and each proposal is answered with the
 *   result of its own entry: same index, same term.
 * - A reign ends for everybody at once: whatever waits is rejected with UNAVAILABLE, also when the entry may yet be
 *   committed under the next leader. Answers that come later find nobody.
 * @module
 */
import { EXIT, messageOf, RockpoolError } from "../common/errors.ts";
import type { LogIndex, MemberId, Term } from "../common/ids.ts";
import { invariant, unreachable } from "../common/invariant.ts";
import type { SoftState } from "../raft/messages.ts";
import type { Timer, World } from "../world/ports.ts";
import { Applier } from "./applier.ts";
import { FailoverStory } from "./failover_story.ts";
import {
  type ConnectThread,
  checkTimings,
  DEFAULT_REPLICATION,
  DEFAULT_TIMINGS,
  type FromThread,
  type JournalEvent,
  type JournalTimings,
  type PlainError,
  plainError,
  type ReplicationLimits,
  type ThreadOptions,
  type ThreadPort,
  type ThreadStatus,
  type ToThread,
} from "./journal_protocol.ts";
import { shownStatus } from "./journal_status.ts";
import type {
  JournalStatus,
  JournalSystem,
  LeadershipEvent,
  ProposalTimes,
  StateMachine,
  StatePosition,
} from "./journal_system.ts";
import { SEGMENT_BYTES } from "./segment_file.ts";
import { WaitingProposals, WaitingReads } from "./waiting.ts";

/** Payloads of durable entries that the journal thread keeps in memory. */
const CACHE_BYTES_MAX = 16 * 1024 * 1024;
/** One leader's attempt to hand over before it closes; its followers then elect by themselves. */
const TRANSFER_TIMEOUT_MS = 1000;
/** Six of them fit into the time after which a leader's main thread counts as hung. */
const TURN_INTERVAL_MS = 250;
/** Some seconds of a busy master: what a restart replays at most. */
const CHECKPOINT_ENTRIES = 200_000;
const CHECKPOINT_INTERVAL_MS = 600_000;

export type RaftJournalOptions<R> = {
  /** Formatted by `formatJournal`. */
  readonly folder: string;
  /** host:port of this member's journal port, as it stands in `addresses`. */
  readonly address: string;
  /** Of all members. */
  readonly addresses: readonly string[];
  /** Where to listen; the port is that of `address` unless something forwards to another one. */
  readonly bindHost: string;
  readonly bindPort: number;
  readonly stateMachine: StateMachine<R>;
  readonly world: World;
  /** `workerThread(url, …)` in product, `inProcess(…)` in tests. */
  readonly connect: ConnectThread;
  /** Log lines and metrics. A `fatal` one asks for the process to end with its exit code. */
  readonly onEvent: (event: JournalEvent) => void;
  readonly timings?: Partial<JournalTimings>;
  readonly replication?: Partial<ReplicationLimits>;
  readonly segmentBytes?: number;
  readonly cacheBytesMax?: number;
  /** A checkpoint is made after so many entries, or after `checkpointIntervalMs` if there were some. */
  readonly checkpointEntries?: number;
  readonly checkpointIntervalMs?: number;
};

export class RaftJournal<R> implements JournalSystem<R> {
  readonly #options: RaftJournalOptions<R>;
  #thread: ThreadPort | null = null;
  #state: "new" | "starting" | "open" | "closed" = "new";
  #started: { resolve: () => void; reject: (error: RockpoolError) => void } | null = null;
  #closed: (() => void) | null = null;
  #closing: Promise<void> | null = null;

  #softState: SoftState = { role: "follower", term: 0, leader: null };
  #servingTerm: Term | null = null;
  #status: ThreadStatus = { self: null, lastIndex: 0, commitIndex: 0, members: [] };
  #listeners: ((event: LeadershipEvent) => void)[] = [];
  readonly #story: FailoverStory;
  #readOnly: { readonly message: string; readonly remedy: string } | null = null;

  readonly #proposals = new WaitingProposals<R>(() => this.#nowMs());
  readonly #reads = new WaitingReads();
  #isFlushScheduled = false;
  #transferId = 0;
  #transfers = new Map<number, { settle: (isBegun: boolean) => void }>();
  #leaderWatchers = new Set<(leader: MemberId | null) => void>();
  #statusWatchers = new Set<() => void>();
  #requestId = 0;
  #requests = new Map<number, (outcome: StatePosition | PlainError | null) => void>();

  readonly #turns = new Int32Array(new SharedArrayBuffer(4));
  #turnTimer: Timer | null = null;

  readonly #applier: Applier<R>;

  constructor(options: RaftJournalOptions<R>) {
    this.#options = options;
    this.#story = new FailoverStory(options.world.clock, (member) => this.#addressOf(member));
    this.#applier = new Applier<R>({
      stateMachine: options.stateMachine,
      timers: options.world.timers,
      clock: options.world.clock,
      onResult: (index, term, result, receivedMs) =>
        this.#proposals.applied(index, term, result, () => this.#unavailable(), receivedMs),
      onSlice: (through, finished, commandCount) => this.#onSlice(through, finished, commandCount),
      onFailure: (error, from, through) => this.#onApplyFailed(error, from, through),
    });
    checkTimings({ ...DEFAULT_TIMINGS, ...options.timings });
  }

  #nowMs(): number {
    return this.#options.world.clock.monotonicMs();
  }

  // — opening and messages of the thread —

  start(): Promise<void> {
    invariant(this.#state === "new", "a journal is started once");
    this.#state = "starting";
    const { folder, address, addresses, bindHost, bindPort } = this.#options;
    const options: ThreadOptions = {
      folder,
      address,
      addresses: [...addresses],
      bindHost,
      bindPort,
      segmentBytes: this.#options.segmentBytes ?? SEGMENT_BYTES,
      cacheBytesMax: this.#options.cacheBytesMax ?? CACHE_BYTES_MAX,
      timings: { ...DEFAULT_TIMINGS, ...this.#options.timings },
      replication: { ...DEFAULT_REPLICATION, ...this.#options.replication },
      checkpointEntries: this.#options.checkpointEntries ?? CHECKPOINT_ENTRIES,
      checkpointIntervalMs: this.#options.checkpointIntervalMs ?? CHECKPOINT_INTERVAL_MS,
      mainTurns: this.#turns,
    };
    this.#countTurns();
    const position = this.#applier.start();
    this.#story.opened();
    return new Promise((resolve, reject) => {
      this.#started = { resolve, reject };
      this.#thread = this.#options.connect((message) => this.#receive(message));
      this.#thread.post({ kind: "start", options, position });
    });
  }

  /** Proof of life: a leader whose main thread hangs is made to step aside by its journal thread. */
  #countTurns(): void {
    Atomics.add(this.#turns, 0, 1);
    this.#turnTimer = this.#options.world.timers.after(TURN_INTERVAL_MS, () => this.#countTurns());
  }

  #receive(message: FromThread): void {
    switch (message.kind) {
      case "started":
        this.#state = "open";
        this.#status = message.status;
        // Not by an event: who starts does not lose a reign.
        this.#softState = message.softState;
        this.#started?.resolve();
        break;
      case "startFailed":
        this.#onStartFailed(message.error);
        break;
      case "accepted":
        this.#proposals.accepted(message.requestId, message.firstIndex, message.term);
        break;
      case "refused":
        this.#proposals.refused(message.requestId, this.#unavailable());
        break;
      case "committed":
        this.#applier.add(message.entries, this.#nowMs());
        break;
      case "committedOwn":
        this.#applier.addOwn(message, this.#proposals.entriesOf(message), this.#nowMs());
        break;
      case "writeImage":
        void this.#writeImage(message.path); // It answers with its own failure.
        break;
      case "installImage":
        void this.#installImage(message.path, message.imageBytes); // So does it.
        break;
      case "done":
        this.#requests.get(message.requestId)?.(message.outcome);
        this.#requests.delete(message.requestId);
        break;
      case "readReady":
        this.#reads.confirmed(message.context, message.index);
        this.#reads.applied(this.#applier.applied);
        break;
      case "readsAborted":
        this.#reads.aborted(message.contexts, () => this.#unavailable());
        break;
      case "softState":
        this.#story.changed(message.softState, message.leaderSilenceMs);
        this.#onSoftState(message.softState);
        break;
      case "transferAnswer":
        this.#transfers.get(message.requestId)?.settle(message.isBegun);
        break;
      case "status":
        this.#status = message.status;
        for (const watcher of [...this.#statusWatchers]) watcher();
        break;
      case "event":
        this.#onEvent(message.event);
        break;
      case "closed":
        this.#closed?.();
        break;
      default:
        unreachable(message);
    }
  }

  /** The thread answers nobody any more. */
  #end(): void {
    this.#state = "closed";
    this.#applier.stop();
    this.#turnTimer?.cancel();
    this.#closed?.();
    for (const { settle } of this.#transfers.values()) settle(false);
    for (const settle of this.#requests.values()) settle(plainError(this.#unavailable()));
    this.#requests.clear();
    for (const watcher of [...this.#statusWatchers]) watcher();
  }

  #onStartFailed({ status, message, remedy }: PlainError): void {
    this.#end();
    this.#started?.reject(new RockpoolError(status, message, remedy));
    void this.#thread?.abandon(); // Nothing is open in it any more.
  }

  #onEvent(event: JournalEvent): void {
    if (event.kind === "readOnly") {
      const { message, remedy } = event;
      this.#readOnly = { message, remedy };
    } else if (event.kind === "writableAgain") this.#readOnly = null;
    else if (event.kind === "fatal") {
      this.#started?.reject(new RockpoolError("INTERNAL", event.message, event.remedy));
      this.#endReign();
      this.#end();
    }
    this.#options.onEvent(event);
  }

  // — leadership —

  isServing(): boolean {
    return this.#servingTerm !== null;
  }

  onLeadership(listener: (event: LeadershipEvent) => void): void {
    this.#listeners.push(listener);
  }

  #onSoftState(softState: SoftState): void {
    const before = this.#softState;
    this.#softState = softState;
    const isSameReign = softState.role === "leader" && softState.term === before.term;
    if (!isSameReign) this.#endReign();
    for (const watcher of [...this.#leaderWatchers]) watcher(softState.leader);
    for (const watcher of [...this.#statusWatchers]) watcher();
  }

  /** Everybody who waits learns at once that this reign is over. */
  #endReign(): void {
    const term = this.#servingTerm;
    this.#servingTerm = null;
    if (term !== null) {
      this.#story.lost();
      for (const listener of this.#listeners) listener({ kind: "lost", term });
    }
    const error = () => this.#unavailable();
    this.#proposals.rejectAll(error);
    this.#reads.rejectAll(error);
  }

  #beginServing(term: Term): void {
    this.#servingTerm = term;
    const tookMs = this.#story.gained(term);
    for (const listener of this.#listeners) listener({ kind: "gained", term, tookMs });
  }

  #unavailable(): RockpoolError {
    if (this.#readOnly !== null) {
      const { message, remedy } = this.#readOnly;
      // Among several, another one leads: clients must go on and ask it, and what waited here may yet be committed there.
      const isAlone = this.#status.members.length === 1;
      return new RockpoolError(isAlone ? "RESOURCE_EXHAUSTED" : "UNAVAILABLE", message, remedy);
    }
    const leader = this.#addressOf(this.#softState.leader);
    const isSelf = this.#softState.leader !== null && this.#softState.leader === this.#status.self;
    const who =
      leader === null ? "no master leads at this moment" : `the leader's journal is at ${leader}`;
    return new RockpoolError(
      "UNAVAILABLE",
      isSelf
        ? `Master ${this.#options.address} leads and is not ready to serve yet`
        : `Master ${this.#options.address} does not lead: ${who}`,
      "Try again; clients with the list of all masters find the leader by themselves",
    );
  }

  #addressOf(member: MemberId | null): string | null {
    return this.#status.members.find(({ id }) => id === member)?.address ?? null;
  }

  // — proposals —

  propose(payload: Uint8Array, times?: ProposalTimes): Promise<R> {
    if (this.#servingTerm === null) return Promise.reject(this.#unavailable());
    this.#scheduleFlush();
    return this.#proposals.add(payload, times);
  }

  #scheduleFlush(): void {
    if (this.#isFlushScheduled) return;
    this.#isFlushScheduled = true;
    this.#options.world.timers.soon(() => {
      this.#isFlushScheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    const term = this.#servingTerm;
    // Without a reign nothing waits here: its end rejected it.
    if (term === null || this.#thread === null) return;
    const request = this.#proposals.takeQueued();
    if (request !== null) {
      this.#thread.post({ kind: "propose", term, ...request });
    }
    const context = this.#reads.takeQueued();
    if (context !== null) this.#thread.post({ kind: "read", context, term });
  }

  // — the state —

  #onSlice(
    through: { readonly index: LogIndex; readonly term: Term },
    finished: LogIndex | null,
    commandCount: number,
  ): void {
    this.#reads.applied(through.index);
    if (this.#state === "closed") return;
    if (finished !== null) this.#thread?.post({ kind: "applied", index: finished, commandCount });
    const { role, term } = this.#softState;
    const isReignBegun = role === "leader" && through.term === term;
    if (isReignBegun && this.#servingTerm === null) this.#beginServing(term);
  }

  /** The store did not take what is committed: this process can't go on, and must not skip it. */
  #onApplyFailed(error: unknown, from: LogIndex, through: LogIndex): void {
    const detail = error instanceof Error ? error.stack : undefined;
    this.#onEvent({
      kind: "fatal",
      exitCode: EXIT.invariant,
      message: `Entries ${from} to ${through} of the journal could not be applied: ${messageOf(error)}`,
      remedy:
        "Restart the master; if it stops at the same entry, this is a bug: keep the journal folder and report it",
      ...(detail === undefined ? {} : { detail }),
    });
    void this.#thread?.abandon(); // The process is about to end.
  }

  async #writeImage(path: string): Promise<void> {
    const outcome = await this.#applier.writeImage(path);
    this.#thread?.post({ kind: "imageWritten", outcome });
  }

  async #installImage(path: string, imageBytes: number): Promise<void> {
    const outcome = await this.#applier.installImage(path, imageBytes);
    this.#thread?.post({ kind: "imageInstalled", outcome });
  }

  // — reads —

  readBarrier(): Promise<void> {
    if (this.#servingTerm === null) return Promise.reject(this.#unavailable());
    this.#scheduleFlush();
    return this.#reads.add();
  }

  // — status —

  status(): JournalStatus {
    const { lastGainedMs, lastLostMs, last: lastFailover } = this.#story;
    return {
      isServing: this.isServing(),
      ...shownStatus(this.#softState, this.#status, this.#applier.applied),
      ...{ lastGainedMs, lastLostMs, lastFailover },
    };
  }

  // — members and checkpoints —

  async addMember(address: string, timeoutMs: number): Promise<void> {
    if (this.#softState.role !== "leader") throw this.#unavailable();
    const { clock } = this.#options.world;
    const endMs = clock.monotonicMs() + timeoutMs;
    const before = this.#status.members.find((member) => member.address === address);
    if (before?.standing === "voter" && before.isAvailable)
      throw new RockpoolError(
        "ALREADY_EXISTS",
        `${address} is a member of the journal already`,
        "`bin/rockpool fsadmin journal quorum info` lists the members",
      );
    // One that was lost is a voter still, and not available; one that has just become a voter may not be heard of yet.
    const at = (standing: "voter" | "learner") =>
      this.#status.members.find(
        (member) => member.address === address && member.standing === standing,
      );
    const hasJoined = () => at("voter")?.isAvailable === true;
    await this.#untilStatus(hasJoined, endMs - clock.monotonicMs(), () =>
      at("learner") === undefined
        ? `No master at ${address} has asked to join`
        : `${address} has asked to join and is not up to date with the journal yet`,
    );
  }

  /** Looks at each news of the members. */
  #untilStatus(isSo: () => boolean, timeoutMs: number, problem: () => string): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = () => {
        this.#statusWatchers.delete(watcher);
        timer.cancel();
      };
      const watcher = () => {
        if (isSo()) {
          done();
          resolve();
        } else if (this.#state === "closed" || this.#softState.role !== "leader") {
          done();
          reject(this.#unavailable());
        }
      };
      const timer = this.#options.world.timers.after(timeoutMs, () => {
        done();
        const remedy =
          "Format the journal of that master, start it with the addresses of all masters, and look into its log";
        reject(new RockpoolError("DEADLINE_EXCEEDED", problem(), remedy));
      });
      this.#statusWatchers.add(watcher);
      watcher();
    });
  }

  async removeMember(address: string): Promise<void> {
    await this.#request((requestId) => ({ kind: "remove", requestId, address }));
  }

  async checkpoint(): Promise<StatePosition> {
    const position = await this.#request((requestId) => ({ kind: "checkpoint", requestId }));
    invariant(position !== null, "a checkpoint has a position");
    return position;
  }

  async #request(messageFor: (requestId: number) => ToThread): Promise<StatePosition | null> {
    const thread = this.#thread;
    if (thread === null || this.#state !== "open") throw this.#unavailable();
    this.#requestId += 1;
    const requestId = this.#requestId;
    const outcome = await new Promise<StatePosition | PlainError | null>((resolve) => {
      this.#requests.set(requestId, resolve);
      thread.post(messageFor(requestId));
    });
    if (outcome === null || !("status" in outcome)) return outcome;
    throw new RockpoolError(outcome.status, outcome.message, outcome.remedy);
  }

  // — transfer, end —

  async transferLeadership(to: MemberId): Promise<void> {
    const address = this.#addressOf(to);
    if (address === null)
      throw new RockpoolError(
        "NOT_FOUND",
        "The member that should lead is not one of this journal's",
        "`bin/rockpool fsadmin journal quorum info` lists the members",
      );
    if (this.#softState.leader === to) return;
    if (this.#thread === null || this.#softState.role !== "leader") throw this.#unavailable();
    const thread = this.#thread;
    this.#transferId += 1;
    const requestId = this.#transferId;
    const isBegun = await new Promise<boolean>((resolve) => {
      this.#transfers.set(requestId, { settle: resolve });
      thread.post({ kind: "transfer", requestId, to });
    });
    this.#transfers.delete(requestId);
    if (!isBegun) throw this.#unavailable();
    await this.#untilLeads(to, address);
  }

  #untilLeads(to: MemberId, address: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = () => {
        this.#leaderWatchers.delete(watcher);
        timer.cancel();
      };
      const watcher = (leader: MemberId | null) => {
        if (leader !== to) return;
        done();
        resolve();
      };
      const timer = this.#options.world.timers.after(TRANSFER_TIMEOUT_MS, () => {
        done();
        reject(
          new RockpoolError(
            "DEADLINE_EXCEEDED",
            `Leadership did not go to ${address} within ${TRANSFER_TIMEOUT_MS} ms`,
            "Check that this master is up and has nearly all entries, and try again",
          ),
        );
      });
      this.#leaderWatchers.add(watcher);
      watcher(this.#softState.leader);
    });
  }

  /** May be called again, also while it is under way. */
  close(): Promise<void> {
    this.#closing ??= this.#state === "open" ? this.#closeOpen() : this.abandon();
    return this.#closing;
  }

  async #closeOpen(): Promise<void> {
    await this.#handOver();
    if (this.#state !== "open") return;
    const closed = new Promise<void>((resolve) => {
      this.#closed = resolve;
    });
    this.#thread?.post({ kind: "close" });
    await closed;
    this.#end();
    this.#endReign();
    await this.#thread?.abandon();
  }

  /** To the member with the most entries, if any is there; without one the others elect by time-out. */
  async #handOver(): Promise<void> {
    if (this.#softState.role !== "leader") return;
    const [best] = this.status()
      .members.filter((member) => !member.isSelf && member.isAvailable)
      .filter(({ standing }) => standing === "voter")
      .sort((a, b) => (b.matchIndex ?? 0) - (a.matchIndex ?? 0));
    if (best === undefined) return;
    try {
      await this.transferLeadership(best.id);
    } catch (error) {
      // Closing goes on all the same.
      if (!(error instanceof RockpoolError)) throw error;
    }
  }

  /** Stops at once, as a crash would: nothing is handed over, written or answered. */
  async abandon(): Promise<void> {
    this.#end();
    await this.#thread?.abandon();
    this.#endReign();
  }
}
