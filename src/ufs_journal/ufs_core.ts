/**
 * The journal of masters that share a store: stands behind the main thread's half (raft_journal.ts) in the place of the journal thread.
 *
 * One loop, one thing at a time: who is not chosen reads what others append; who is chosen reads to the end, makes a fence there, and then
 * appends what is proposed, all that waits at once. What makes it safe stands in ufs_log.ts; here:
 *
 * - An append of which nothing is known (a time-out) is looked up, and tried again as the very same object, as long as this master is chosen.
 * - A master that collides is no leader any more, at once, whatever ZooKeeper says.
 * - Reads are answered while this master is chosen by its own clocks; when it can't be sure it asks the store whether the next object is there, since
 *   nobody can lead without having made it.
 * - The loop outlives every failure of the store: it says so, and tries again.
 *
 * Time, store, files and election are arguments: the simulator runs it as it is.
 * @module
 */
import type { LogIndex, MemberId, Term } from "../common/ids.ts";
import { unreachable } from "../common/invariant.ts";
import {
  ENTRY_KINDS,
  type FromThread,
  type JournalEvent,
  pack,
  plainError,
  type ToThread,
  unpack,
} from "../journal/journal_protocol.ts";
import type { StatePosition } from "../journal/journal_system.ts";
import { memberIdOf } from "../journal/member_ids.ts";
import type { World } from "../world/ports.ts";
import { Appender, fatalEvent, isBug, RETRY_MS_MAX, RETRY_MS_MIN } from "./appender.ts";
import type { Checkpoints } from "./checkpoints.ts";
import type { Elector } from "./elector.ts";
import {
  endOf,
  type LogEnd,
  type LogEntry,
  type LogObject,
  placeEntry,
  randomWriter,
} from "./log_object.ts";
import { Rest } from "./rest.ts";
import { noMembers, Standing } from "./standing.ts";
import type { Reign, UfsLog } from "./ufs_log.ts";

/** What one object holds at most, but for a single larger entry. */
const APPEND_BYTES_MAX = 4 * 1024 * 1024;
/** What the main thread may have before it that is not applied. */
const UNAPPLIED_BYTES_MAX = 8 * 1024 * 1024;
/** How long a standby finds nothing before it looks for what was merged or trimmed before it could read it, at first and later. */
const THOROUGH_MS_MIN = 1000;
const THOROUGH_MS_MAX = 10_000;
/** A master that could not use the store for so long lets the next one try, if there is one. */
const STEP_ASIDE_MS = 10_000;
/** How long a close waits for what is under way in a store that does not answer. */
const CLOSE_MS = 2000;

export type UfsCoreOptions = {
  readonly log: UfsLog;
  readonly elector: Elector;
  readonly checkpoints: Checkpoints;
  readonly world: World;
  /** This master's, as the elector knows it. */
  readonly address: string;
  /** How long a standby that has read everything waits before it looks again. */
  readonly tailMs: number;
  /** Whether each read asks the store, so that no clock is trusted. */
  readonly areReadsStrict: boolean;
  readonly post: (message: FromThread) => void;
};

type Request = Extract<ToThread, { kind: "propose" }>;

/** A time in which this master is chosen; each is an object of its own. */
type Choice = { readonly [unique: string]: never };

export class UfsCore {
  readonly #options: UfsCoreOptions;
  readonly #standing: Standing;
  readonly #appender: Appender;
  readonly #rest: Rest;
  #end: LogEnd = { index: 0, epoch: 0, seal: null };
  #reign: Reign | null = null;
  /** From when this master is chosen until it is deposed: what is begun under one is not finished under another. Null: it is not chosen. */
  #choice: Choice | null = null;
  #isClosed = false;
  #proposals: Request[] = [];
  #reads: number[] = [];
  #unapplied: { readonly index: LogIndex; readonly sizeBytes: number }[] = [];
  #unappliedBytes = 0;
  /** Of the fence, until it is applied and clients are told. */
  #announceAt: LogIndex | null = null;
  /** Where the state stands, as long as that was not found in the log. */
  #unresumed: StatePosition | null = null;
  #thoroughMs = Number.NEGATIVE_INFINITY;
  #thoroughWaitMs = 0;
  /** When it was known last that nobody else appends. */
  #lastMs = Number.NEGATIVE_INFINITY;
  #loop: Promise<void> = Promise.resolve();

  constructor(options: UfsCoreOptions) {
    this.#options = options;
    this.#rest = new Rest(options.world.timers);
    this.#standing = new Standing(options, () => this.#end.index);
    this.#appender = new Appender({
      log: options.log,
      event: (event) => this.#event(event),
      pause: (ms) => this.#rest.pause(ms),
    });
  }

  receive(message: ToThread): void {
    switch (message.kind) {
      case "start":
        void this.#start(message); // It answers with its own failure.
        break;
      case "propose":
        this.#propose(message);
        break;
      case "read":
        this.#read(message.context, message.term);
        break;
      case "transfer":
        this.#transfer(message.requestId, message.to);
        break;
      case "remove":
        this.#post({
          kind: "done",
          requestId: message.requestId,
          outcome: plainError(noMembers()),
        });
        break;
      case "checkpoint":
        void this.#checkpoint(message.requestId); // It answers with its own failure.
        break;
      case "applied":
        this.#applied(message.index, message.commandCount);
        break;
      case "imageWritten":
        this.#options.checkpoints.written(message.outcome);
        break;
      case "imageInstalled":
        this.#options.checkpoints.installed(message.outcome);
        break;
      case "close":
        void this.#close(); // It has nothing to report but "closed".
        break;
      default:
        unreachable(message);
    }
  }

  #post(message: FromThread): void {
    this.#options.post(message);
  }

  #event(event: JournalEvent): void {
    this.#post({ kind: "event", event });
  }

  // — start and end —

  async #start({ position }: Extract<ToThread, { kind: "start" }>): Promise<void> {
    const { elector, checkpoints, world } = this.#options;
    const beganMs = world.clock.monotonicMs();
    try {
      checkpoints.begin();
      // A store that does not answer is no reason to stand for election.
      await this.#resume(position);
      await elector.start({
        onChosen: () => this.#onChosen(),
        onDeposed: (reason) => this.#onDeposed(reason),
        onCandidates: () => this.#standing.candidatesChanged(),
      });
    } catch (error) {
      this.#isClosed = true;
      this.#post({ kind: "startFailed", error: plainError(error), exitCode: 1 });
      return;
    }
    const tookMs = world.clock.monotonicMs() - beganMs;
    const { index, epoch } = this.#end;
    this.#event({ kind: "sharedJournalOpened", index, epoch, tookMs });
    this.#post({
      kind: "started",
      status: this.#standing.status(),
      softState: this.#standing.softState,
    });
    this.#loop = this.#run();
    this.#standing.begin();
  }

  async #close(): Promise<void> {
    const { elector, world } = this.#options;
    this.#isClosed = true;
    this.#rest.end();
    // First, so that another one is chosen also when the store keeps this one waiting.
    await elector.close();
    await new Promise<void>((resolve) => {
      const timer = world.timers.after(CLOSE_MS, resolve);
      void this.#loop.then(() => {
        timer.cancel();
        resolve();
      });
    });
    this.#standing.end();
    this.#post({ kind: "closed" });
  }

  /** As a crash: nothing is answered. */
  abandon(): void {
    this.#isClosed = true;
    this.#rest.end();
    this.#standing.end();
  }

  // — the loop —

  async #run(): Promise<void> {
    const { clock } = this.#options.world;
    let waitMs = RETRY_MS_MIN;
    let failingSinceMs: number | null = null;
    while (!this.#isClosed) {
      try {
        const choice = this.#choice;
        if (choice !== null) await this.#lead(choice);
        else if (!(await this.#follow())) await this.#rest.sleep(this.#options.tailMs);
        waitMs = RETRY_MS_MIN;
        failingSinceMs = null;
        this.#appender.troubleIsOver();
      } catch (error) {
        if (this.#reign !== null) this.#endReign();
        if (isBug(error)) {
          this.#fail(error);
          return;
        }
        this.#appender.tell(error);
        failingSinceMs ??= clock.monotonicMs();
        const isPatient = clock.monotonicMs() - failingSinceMs <= STEP_ASIDE_MS;
        if (this.#choice !== null && !isPatient && this.#hasOthers())
          this.#giveUp("it could not use the store");
        await this.#rest.pause(waitMs);
        waitMs = Math.min(2 * waitMs, RETRY_MS_MAX);
      }
    }
    this.#endReign();
  }

  /** What this master can't do, another one may. */
  #hasOthers(): boolean {
    return this.#options.elector.candidates().some(({ isSelf }) => !isSelf);
  }

  #fail(error: unknown): void {
    this.#isClosed = true;
    this.#endReign();
    this.#event(fatalEvent(error));
  }

  // — following —

  /** Reads what is there. @returns whether anything was */
  async #follow(): Promise<boolean> {
    const { world, log } = this.#options;
    await this.#roomToApply();
    if (this.#unresumed !== null) {
      await this.#resume(this.#unresumed);
      return true;
    }
    const nowMs = world.clock.monotonicMs();
    const isThorough = this.#choice !== null || nowMs - this.#thoroughMs >= this.#thoroughWaitMs;
    const found = await log.after(this.#end, isThorough);
    if (isThorough || found.kind !== "end") this.#thoroughMs = nowMs;
    switch (found.kind) {
      case "objects":
        // Where something was merged, more may be.
        this.#thoroughWaitMs = isThorough ? 0 : THOROUGH_MS_MIN;
        for (const object of found.objects) this.#take(object);
        return found.objects.length > 0;
      case "behind":
        await this.#install();
        return true;
      case "end":
        if (isThorough)
          this.#thoroughWaitMs = Math.min(
            THOROUGH_MS_MAX,
            Math.max(THOROUGH_MS_MIN, 2 * this.#thoroughWaitMs),
          );
        return false;
      default:
        return unreachable(found);
    }
  }

  #take(object: LogObject): void {
    const { firstIndex, entries, epoch, madeMs } = object;
    this.#end = endOf(object);
    this.#standing.lags.record(Math.max(0, this.#options.world.clock.wallMs() - madeMs));
    this.#deliver(firstIndex, epoch, entries);
    if (this.#standing.softState.term !== epoch) this.#standing.setRole(this.#standbyRole, epoch);
  }

  #deliver(firstIndex: LogIndex, epoch: Term, entries: readonly LogEntry[]): void {
    const payloads = entries.map(({ payload }) => payload);
    const sizeBytes = payloads.reduce((sum, { length }) => sum + length, 0);
    this.#unapplied.push({ index: firstIndex + entries.length - 1, sizeBytes });
    this.#unappliedBytes += sizeBytes;
    this.#post({
      kind: "committed",
      entries: {
        ...pack(payloads),
        firstIndex,
        terms: new Float64Array(entries.length).fill(epoch),
        kinds: Uint8Array.from(entries, ({ kind }) => kind),
      },
    });
  }

  async #roomToApply(): Promise<void> {
    while (this.#unappliedBytes > UNAPPLIED_BYTES_MAX && !this.#isClosed)
      await this.#rest.sleep(this.#options.tailMs);
  }

  async #install(): Promise<void> {
    const { position, failure } = await this.#options.checkpoints.install(this.#end.index);
    if (position !== null) {
      // What was sent and not applied is void, also when the image could not be installed.
      this.#unapplied = [];
      this.#unappliedBytes = 0;
      if (failure === null) await this.#resume(position);
      else this.#unresumed = position;
    }
    if (failure !== null) throw failure;
    if (position === null) return;
    this.#standing.setRole(this.#standbyRole, position.term);
  }

  get #standbyRole(): "candidate" | "follower" {
    return this.#choice === null ? "follower" : "candidate";
  }

  /** Goes on behind a state, which may stand in the middle of an object. */
  async #resume(position: StatePosition): Promise<void> {
    this.#unresumed = position;
    const resumed = await this.#options.log.resume(position);
    if (resumed.kind === "behind") {
      this.#end = { index: position.index, epoch: position.term, seal: null };
      await this.#install();
      return;
    }
    this.#unresumed = null;
    this.#end = resumed.end;
    if (resumed.rest.length > 0) this.#deliver(resumed.restIndex, resumed.end.epoch, resumed.rest);
  }

  #applied(index: LogIndex, commandCount: number): void {
    for (let head = this.#unapplied[0]; head !== undefined; head = this.#unapplied[0]) {
      if (head.index > index) break;
      this.#unapplied.shift();
      this.#unappliedBytes -= head.sizeBytes;
    }
    this.#options.checkpoints.applied(commandCount);
    if (this.#unappliedBytes <= UNAPPLIED_BYTES_MAX) this.#rest.rouse();
    if (this.#announceAt === null || index < this.#announceAt) return;
    this.#announceAt = null;
    this.#options.elector.announce().catch((error: unknown) => this.#appender.tell(error));
  }

  // — leading —

  #onChosen(): void {
    this.#choice = {};
    this.#rest.rouse();
  }

  #onDeposed(reason: string): void {
    const wasLeader = this.#reign !== null;
    this.#choice = null;
    this.#endReign();
    if (wasLeader) this.#event({ kind: "deposed", reason });
    this.#rest.rouse();
    this.#rest.endPauses();
  }

  async #lead(choice: Choice): Promise<void> {
    const reign = await this.#takeOver(choice);
    if (reign === null) return;
    this.#begin(reign, choice);
    while (this.#reign === reign && !this.#isClosed) {
      await this.#answerReads();
      const batch = this.#nextBatch();
      if (batch.length > 0) await this.#appendBatch(reign, batch);
      else if (this.#reads.length === 0) await this.#idle(reign);
    }
  }

  /** Nothing is proposed: time to keep the log small, and to see whether another one leads, whom nothing else would tell of. */
  async #idle(reign: Reign): Promise<void> {
    const { tailMs, checkpoints, log, world } = this.#options;
    await this.#rest.sleep(tailMs);
    if (this.#reign !== reign || this.#isClosed || this.#proposals.length > 0) return;
    checkpoints.tend(this.#end.index);
    if (world.clock.monotonicMs() - this.#lastMs < tailMs) return;
    const isLast = await log.isLast(this.#end);
    this.#lastMs = world.clock.monotonicMs();
    if (!isLast && this.#reign === reign) this.#giveUp("another master has appended");
  }

  /**
   * A fence that is made while this master is deposed is an entry like any other, which it reads as everybody does: also when it was chosen
   * again meanwhile, for somebody else may have led in between.
   * @returns null when this office is over
   */
  async #takeOver(choice: Choice): Promise<Reign | null> {
    const { log, world, elector } = this.#options;
    const beganMs = world.clock.monotonicMs();
    this.#standing.setRole("candidate", this.#standing.softState.term);
    const writer = randomWriter(world.random);
    const isWanted = () => this.#choice === choice && !this.#isClosed;
    let lostAt: LogIndex | null = null;
    while (isWanted()) {
      if (await this.#follow()) continue;
      if (!elector.isChosenFor(0)) {
        await this.#rest.sleep(this.#options.tailMs);
        continue;
      }
      const fence = log.composeFence(this.#end, writer, world.clock.wallMs());
      const outcome = await this.#appender.append(fence, isWanted);
      // Somebody else appended meanwhile: it is read, and the fence goes behind it.
      if (outcome.kind === "lost") {
        if (lostAt === this.#end.index) await this.#rest.pause(RETRY_MS_MIN);
        lostAt = this.#end.index;
        continue;
      }
      if (outcome.kind === "refused") throw outcome.error;
      const isBuried = await log.isBuried(fence.end.index);
      if (!isWanted()) break;
      if (isBuried) {
        await this.#rest.pause(RETRY_MS_MIN);
        continue;
      }
      const { index, epoch } = fence.end;
      const tookMs = world.clock.monotonicMs() - beganMs;
      this.#end = fence.end;
      this.#options.checkpoints.reigns(epoch, index);
      this.#event({ kind: "fenced", index, epoch, tookMs });
      return { epoch, writer };
    }
    if (!this.#isClosed && this.#choice === null)
      this.#standing.setRole("follower", this.#standing.softState.term);
    return null;
  }

  #begin(reign: Reign, choice: Choice): void {
    const { index, epoch } = this.#end;
    // Deposed in the moment between: its fence is an entry like any other.
    if (this.#choice === choice && !this.#isClosed) {
      this.#reign = reign;
      this.#announceAt = index;
      this.#lastMs = this.#options.world.clock.monotonicMs();
      this.#standing.setRole("leader", epoch);
    } else this.#standing.setRole(this.#standbyRole, epoch);
    this.#deliver(index, epoch, [placeEntry(index)]);
  }

  #endReign(): void {
    this.#reign = null;
    this.#announceAt = null;
    const proposals = this.#proposals;
    this.#proposals = [];
    for (const { requestId } of proposals) this.#post({ kind: "refused", requestId });
    this.#abortReads();
    const { role, term } = this.#standing.softState;
    if (role !== "follower") this.#standing.setRole("follower", term);
  }

  /** This master has to go, though it is chosen: the next in the line may. */
  #giveUp(why: string): void {
    this.#endReign();
    this.#choice = null;
    this.#rest.endPauses();
    this.#event({ kind: "deposed", reason: why });
    this.#options.elector.resign().catch((error: unknown) => this.#appender.tell(error));
  }

  // — proposals —

  #propose(request: Request): void {
    const isOfReign = this.#reign?.epoch === request.term;
    if (!isOfReign) this.#post({ kind: "refused", requestId: request.requestId });
    else {
      this.#proposals.push(request);
      this.#rest.rouse();
    }
  }

  #nextBatch(): readonly Request[] {
    let sizeBytes = 0;
    let count = 0;
    for (const { payloads } of this.#proposals) {
      sizeBytes += payloads.bytes.length;
      if (count > 0 && sizeBytes > APPEND_BYTES_MAX) break;
      count += 1;
    }
    return this.#proposals.splice(0, count);
  }

  async #appendBatch(reign: Reign, batch: readonly Request[]): Promise<void> {
    const { log, world } = this.#options;
    const entries = batch.flatMap(({ entryKind, payloads }) =>
      unpack(payloads).map((payload) => ({ kind: ENTRY_KINDS[entryKind], payload })),
    );
    const begin = this.#end.index + 1;
    const beganMs = world.clock.monotonicMs();
    const draft = log.compose(this.#end, reign, entries, world.clock.wallMs());
    const isPatient = () =>
      world.clock.monotonicMs() - beganMs <= STEP_ASIDE_MS || !this.#hasOthers();
    const isWanted = () => this.#reign === reign && !this.#isClosed && isPatient();
    const outcome = await this.#appender.append(draft, isWanted);
    if (outcome.kind === "refused" || this.#reign !== reign) {
      // Deposed meanwhile: whether it is in the log is read there, as by anybody else.
      for (const { requestId } of batch) this.#post({ kind: "refused", requestId });
      return;
    }
    if (outcome.kind === "lost") {
      for (const { requestId } of batch) this.#post({ kind: "refused", requestId });
      this.#giveUp(outcome.why);
      return;
    }
    this.#standing.appends.record(world.clock.monotonicMs() - beganMs);
    this.#end = outcome.end;
    this.#lastMs = world.clock.monotonicMs();
    const term = reign.epoch;
    this.#deliver(begin, term, [placeEntry(begin)]);
    let firstIndex = begin + 1;
    for (const { requestId, payloads } of batch) {
      this.#post({ kind: "accepted", requestId, firstIndex, term });
      firstIndex += payloads.lengths.length;
    }
    this.#post({ kind: "committedOwn", firstIndex: begin + 1, count: entries.length, term });
    this.#options.checkpoints.appended(begin, this.#end.index);
  }

  // — reads —

  #read(context: number, term: number): void {
    const { elector, areReadsStrict } = this.#options;
    if (this.#reign?.epoch !== term) this.#post({ kind: "readsAborted", contexts: [context] });
    else if (!areReadsStrict && elector.isChosenFor(0))
      this.#post({ kind: "readReady", context, index: this.#end.index });
    else {
      this.#reads.push(context);
      this.#rest.rouse();
    }
  }

  /** Nobody leads without having made the next object. */
  async #answerReads(): Promise<void> {
    if (this.#reads.length === 0) return;
    const reign = this.#reign;
    const contexts = this.#reads;
    this.#reads = [];
    let isLast: boolean | null = null;
    try {
      isLast = await this.#options.log.isLast(this.#end);
    } catch (error) {
      this.#appender.tell(error);
    }
    if (isLast !== true || this.#reign !== reign) this.#post({ kind: "readsAborted", contexts });
    else
      for (const context of contexts)
        this.#post({ kind: "readReady", context, index: this.#end.index });
    if (isLast === false && this.#reign === reign) this.#giveUp("another master has appended");
  }

  #abortReads(): void {
    if (this.#reads.length > 0) this.#post({ kind: "readsAborted", contexts: this.#reads });
    this.#reads = [];
  }

  // — administration —

  #transfer(requestId: number, to: MemberId): void {
    const { elector } = this.#options;
    // Who is next in the line is not for the leader to choose.
    const next = elector.candidates().find(({ isSelf }) => !isSelf);
    const isBegun = this.#reign !== null && next !== undefined && memberIdOf(next.address) === to;
    this.#post({ kind: "transferAnswer", requestId, isBegun });
    if (isBegun) this.#giveUp("it hands over");
  }

  async #checkpoint(requestId: number): Promise<void> {
    try {
      const outcome = await this.#options.checkpoints.make();
      this.#post({ kind: "done", requestId, outcome });
    } catch (error) {
      this.#post({ kind: "done", requestId, outcome: plainError(error) });
    }
  }
}
