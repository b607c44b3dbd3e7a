/**
 * The journal thread: Raft's core, the write-ahead log and the connections to the peers.
 *
 * It runs in a thread of its own so that a long turn of the main loop costs no election. Its life: a newcomer until it is
 * settled who it is (founding.ts); then sessions (session_loop.ts), one after the other, of which each lasts as long as the
 * disk can be written. Time, disk and network are arguments: the simulator runs it as it is.
 * @module
 */
import { EXIT, isRockpoolError } from "../common/errors.ts";
import type { LogIndex } from "../common/ids.ts";
import { InvariantError, invariant, unreachable } from "../common/invariant.ts";
import type { SoftState } from "../raft/messages.ts";
import type { Timer } from "../world/ports.ts";
import { CheckpointStore } from "./checkpoint_store.ts";
import { Delivery } from "./delivery.ts";
import type { Decision } from "./founding.ts";
import {
  type FolderPorts,
  newcomerOf,
  type OpenFolder,
  openFolder,
  settle,
} from "./identity_settling.ts";
import {
  exitCodeOf,
  type FromThread,
  type JournalEvent,
  plainError,
  type ThreadOptions,
  type ToThread,
} from "./journal_protocol.ts";
import {
  foundersIn,
  NoRoomError,
  openSession,
  type Session,
  undecidedStatus,
} from "./journal_session.ts";
import type { StatePosition } from "./journal_system.ts";
import type { Newcomer } from "./newcomer.ts";
import type { Answer, CreateTransport, PeerHandlers } from "./peer_transport.ts";
import { notLeader, SessionLoop } from "./session_loop.ts";
import { StateKeeper } from "./state_keeper.ts";
import { isNoSpace, WalError, type WalFailure } from "./wal_failure.ts";

/** While the disk is full it is asked for room this often. */
const REOPEN_INTERVAL_MS = 1000;
/** Where it says that there is room and writes fail all the same (a quota), the log is read anew ever more rarely. */
const REOPEN_INTERVAL_MS_MAX = 30_000;
const FOLLOWER: SoftState = { role: "follower", term: 0, leader: null };
/** Until a session begins, some moments after its port is open. */
const NOT_YET: Answer = {
  refusal: { reason: "notMember", explanation: "This master is just starting" },
  knownAs: "nobody",
};

export type JournalCoreOptions = Omit<FolderPorts, "onEvent"> & {
  readonly post: (message: FromThread) => void;
};

/** What is there once it is settled who this master is. */
type Settled = { readonly checkpoints: CheckpointStore; readonly keeper: StateKeeper };

/** A session and its loop; it is running once it has begun. */
type Running = { readonly session: Session; readonly loop: SessionLoop };

export class JournalCore {
  readonly #ports: FolderPorts;
  readonly #post: JournalCoreOptions["post"];
  readonly #delivery: Delivery;
  #state: "idle" | "undecided" | "running" | "readOnly" | "stopped" = "idle";
  #opened: OpenFolder | null = null;
  #newcomer: Newcomer | null = null;
  #settled: Settled | null = null;
  #running: Running | null = null;
  #reopenTimer: Timer | null = null;
  #reopenAfterMs = REOPEN_INTERVAL_MS;
  /** The log that is just being opened has no room already. */
  #hasFailedAgain = false;
  #hasStarted = false;

  constructor(options: JournalCoreOptions) {
    this.#ports = {
      ...options,
      createTransport: guarding(options.createTransport, (error) => this.#fatal(error)),
      onEvent: (event) => this.#event(event),
    };
    this.#post = options.post;
    this.#delivery = new Delivery(options.post);
  }

  receive(message: ToThread): void {
    const loop = this.#running?.loop;
    switch (message.kind) {
      case "start":
        void this.#start(message.options, message.position); // It answers with its own failure.
        break;
      case "propose":
        if (loop !== undefined) loop.propose(message);
        else this.#post({ kind: "refused", requestId: message.requestId });
        break;
      case "read":
        if (loop !== undefined) loop.read(message);
        else this.#post({ kind: "readsAborted", contexts: [message.context] });
        break;
      case "transfer":
        if (loop !== undefined) loop.transfer(message);
        else this.#post({ kind: "transferAnswer", requestId: message.requestId, isBegun: false });
        break;
      case "remove":
        if (loop !== undefined) loop.remove(message);
        else this.#refuse(message.requestId);
        break;
      case "checkpoint":
        if (loop !== undefined)
          void loop.checkpoint(message); // It answers with its own failure.
        else this.#refuse(message.requestId);
        break;
      case "applied":
        this.#onApplied(message.index, message.commandCount);
        break;
      case "imageWritten":
        this.#settled?.keeper.written(message.outcome);
        break;
      case "imageInstalled":
        this.#settled?.keeper.installed(message.outcome);
        break;
      case "close":
        void this.#close(); // It has nothing to report but "closed".
        break;
      default:
        unreachable(message);
    }
  }

  #refuse(requestId: number): void {
    this.#post({ kind: "done", requestId, outcome: plainError(notLeader()) });
  }

  #onApplied(index: LogIndex, commandCount: number): void {
    this.#delivery.applied(index);
    this.#settled?.keeper.applied(this.#delivery.position.index, commandCount);
    this.#running?.loop.applied();
  }

  #event(event: JournalEvent): void {
    this.#post({ kind: "event", event });
  }

  #nowMs(): number {
    return this.#ports.world.clock.monotonicMs();
  }

  // — opening —

  async #start(options: ThreadOptions, position: StatePosition): Promise<void> {
    const beganMs = this.#nowMs();
    try {
      invariant(this.#state === "idle", "a journal is started once");
      const opened = openFolder(options, this.#ports);
      this.#opened = opened;
      this.#delivery.restart(position);
      const newcomer = newcomerOf(opened, this.#ports, (decision) => {
        void this.#onDecision(decision); // It handles its own failures.
      });
      // A master that is configured alone need not ask anybody.
      if (newcomer?.decision) settle(opened, this.#ports, newcomer.decision);
      else if (newcomer !== null) {
        await this.#waitAs(newcomer, options);
        return;
      }
      const running = await this.#openFirst(opened, beganMs);
      if (running !== null) this.#begin(running);
    } catch (error) {
      this.#state = "stopped";
      this.#opened?.unlock();
      this.#opened = null;
      this.#post({ kind: "startFailed", error: plainError(error), exitCode: exitCodeOf(error) });
    }
  }

  async #waitAs(newcomer: Newcomer, options: ThreadOptions): Promise<void> {
    this.#state = "undecided";
    this.#newcomer = newcomer;
    const { folder, address, addresses } = options;
    const seeds = addresses.filter((each) => each !== address);
    this.#event({ kind: "undecided", folder, seeds });
    await newcomer.start();
    this.#hasStarted = true;
    this.#post({ kind: "started", status: undecidedStatus(options), softState: FOLLOWER });
  }

  async #onDecision(decision: Decision): Promise<void> {
    const newcomer = this.#newcomer;
    const opened = this.#opened;
    // Alone, it was decided before anything ran.
    if (newcomer === null || opened === null || this.#state !== "undecided") return;
    try {
      this.#newcomer = null;
      settle(opened, this.#ports, decision);
      await newcomer.close();
      if (this.#state !== "undecided") return;
      const running = await this.#openFirst(opened, this.#nowMs());
      if (running !== null) this.#begin(running);
    } catch (error) {
      this.#fatal(error);
    }
  }

  /** Null when it was stopped meanwhile, or the log failed, which has told why. */
  async #openFirst(opened: OpenFolder, beganMs: number): Promise<Running | null> {
    this.#state = "running";
    this.#settled = await this.#openCheckpoints(opened);
    // Stopped, it has given the folder back.
    if (this.#state !== "running") return null;
    const running = await this.#open(opened, this.#settled, false);
    const { session } = running;
    if (this.#state !== "running") {
      await drop(session);
      return null;
    }
    const { folder, addresses } = opened.options;
    const { commitIndex, term } = session.wal.hardState;
    const lastIndex = session.wal.lastIndex();
    const tookMs = this.#nowMs() - beganMs;
    this.#event({ kind: "journalOpened", folder, lastIndex, commitIndex, term, tookMs });
    const configured = [...addresses].sort();
    const members = [...session.inForce.membership.addresses.values()].sort();
    if (members.length > 0 && members.join() !== configured.join())
      this.#event({ kind: "configurationDiffers", configured, members });
    return running;
  }

  async #openCheckpoints({ options, identity }: OpenFolder): Promise<Settled> {
    const { fileSystem, crc32c, world, onEvent } = this.#ports;
    const { folder, checkpointEntries, checkpointIntervalMs } = options;
    const { groupId } = identity;
    const { clock } = world;
    const checkpoints = new CheckpointStore({
      fileSystem,
      folder,
      groupId,
      crc32c,
      clock,
      onEvent,
      // For the segment that is begun next, and the one after it.
      reserveBytes: 2 * options.segmentBytes,
      onLost: () => this.#running?.loop.onCheckpoint(),
    });
    await checkpoints.open();
    const keeper = new StateKeeper({
      store: checkpoints,
      world,
      founders: foundersIn(identity),
      checkpointEntries,
      checkpointIntervalMs,
      post: this.#post,
      onEvent,
      onNews: () => this.#running?.loop.onCheckpoint(),
      logBegin: () => (this.#running?.session.wal.firstIndex() ?? 1) - 1,
      onRestart: (position) => this.#delivery.restart(position),
    });
    const settled = { checkpoints, keeper };
    this.#settled = settled;
    await keeper.restore(this.#delivery.position);
    return settled;
  }

  /** @param mustHaveRoom it must have room for another segment, or it might lead for a moment only */
  async #open(opened: OpenFolder, settled: Settled, mustHaveRoom: boolean): Promise<Running> {
    const { options, identity, pins } = opened;
    const { checkpoints } = settled;
    const late: { handlers: ReturnType<SessionLoop["handlers"]> | null } = { handlers: null };
    const session = await openSession({
      thread: options,
      identity,
      pins,
      checkpoints,
      state: this.#delivery.position,
      appliedIndex: this.#delivery.deliveredIndex,
      stateRefusal: settled.keeper.refusal,
      // Who was never told of a membership counts for nothing yet, and has no checkpoint to make: the others send all of it again.
      secureState: async (index) => {
        if (this.#delivery.position.membership !== null || identity.standing !== "joiner")
          await settled.keeper.secure(index);
      },
      mustHaveRoom,
      ...this.#ports,
      onWalEvent: (event) => {
        // Told once; after that, a try each second finds the disk full again.
        if (event.kind === "noSpaceForNextSegment" && this.#state === "readOnly") return;
        this.#event(event);
      },
      onWalFailure: (failure) => this.#onWalFailure(failure),
      handlers: lateHandlers(late),
    });
    const loop = new SessionLoop({
      thread: options,
      identity,
      session,
      ...settled,
      delivery: this.#delivery,
      world: this.#ports.world,
      post: this.#post,
      onExpelled: (explanation) => this.#expel(opened, explanation),
      onFatal: (error) => this.#fatal(error),
    });
    late.handlers = loop.handlers();
    return { session, loop };
  }

  #begin(running: Running): void {
    this.#running = running;
    const { loop } = running;
    if (!this.#hasStarted) {
      this.#hasStarted = true;
      this.#post({ kind: "started", status: loop.status(), softState: loop.softState });
    }
    loop.start();
  }

  // — the end —

  #expel({ options }: OpenFolder, explanation: string): void {
    if (this.#state === "stopped") return;
    void this.#stop(); // Nobody waits for it: the process is about to end.
    const { folder, address } = options;
    this.#event({
      kind: "fatal",
      exitCode: EXIT.expelled,
      message: `This master, ${address}, was removed from the journal: ${explanation}`,
      remedy: `To let it join anew, run \`bin/rockpool init format\` on it, which empties ${folder}, and start it`,
    });
  }

  #onWalFailure(failure: WalFailure): void {
    // While the disk is full another try fails as `#reopen` sees; but a disk that is broken by now is broken.
    if (this.#state === "readOnly") this.#hasFailedAgain = true;
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

  #fatal(error: unknown): void {
    if (this.#state === "stopped") return;
    const { message, remedy } = plainError(error);
    const detail = error instanceof InvariantError ? error.stack : undefined;
    void this.#stop(); // Nobody waits for it: the process is about to end.
    this.#event({
      kind: "fatal",
      exitCode: exitCodeOf(error),
      message,
      remedy,
      ...(detail === undefined ? {} : { detail }),
    });
  }

  #reopenLater(): void {
    if (this.#state !== "readOnly") return;
    this.#reopenTimer = this.#ports.world.timers.after(this.#reopenAfterMs, () => {
      void this.#reopen(); // It handles its own failures.
    });
  }

  /** After the disk was full: reads the log anew, as a restart would. */
  async #reopen(): Promise<void> {
    const opened = this.#opened;
    const settled = this.#settled;
    invariant(opened !== null && settled !== null, "there was a session");
    const { folder, segmentBytes } = opened.options;
    try {
      const isFull = (await this.#ports.fileSystem.freeBytes(folder)) < segmentBytes;
      // A log that is opened beside a state that is just being replaced would not fit it.
      if (isFull || settled.keeper.isInstalling) {
        // It may be what has filled the disk, and is worth less than the log.
        if (isFull) await settled.checkpoints.dropIncoming();
        this.#reopenLater();
        return;
      }
      if (this.#state !== "readOnly") return;
      this.#hasFailedAgain = false;
      const running = await this.#open(opened, settled, true);
      // A log that has failed already answers nothing any more.
      const isOfNoUse = this.#state !== "readOnly" || this.#hasFailedAgain;
      if (isOfNoUse) await drop(running.session);
      if (this.#state !== "readOnly") return;
      if (isOfNoUse) throw new NoRoomError("No room to write the log");
      this.#state = "running";
      this.#reopenAfterMs = REOPEN_INTERVAL_MS;
      this.#event({ kind: "writableAgain" });
      this.#begin(running);
    } catch (error) {
      if (this.#state !== "readOnly") return;
      const isFull = isNoSpace(error) || isRockpoolError(error, "RESOURCE_EXHAUSTED");
      if (isFull || error instanceof NoRoomError) {
        this.#reopenAfterMs = Math.min(2 * this.#reopenAfterMs, REOPEN_INTERVAL_MS_MAX);
        this.#reopenLater();
      } else this.#fatal(error);
    }
  }

  async #endSession(): Promise<void> {
    const running = this.#running;
    this.#running = null;
    this.#reopenTimer?.cancel();
    await running?.loop.leave();
    await running?.session.wal.abandon();
  }

  /** Drops everything as it is, as a crash would: nothing more is written or sent. */
  async abandon(): Promise<void> {
    await this.#stop();
  }

  async #stop(): Promise<void> {
    this.#state = "stopped";
    this.#settled?.keeper.close();
    const newcomer = this.#newcomer;
    this.#newcomer = null;
    const ended = this.#endSession();
    await newcomer?.close();
    await ended;
    this.#opened?.unlock();
    this.#opened = null;
  }

  async #close(): Promise<void> {
    const running = this.#running;
    this.#running = null;
    // First nothing new may come: the log of a busy member would never be done.
    const left = running?.loop.leave();
    await running?.session.wal.close();
    await left;
    await this.#stop();
    this.#post({ kind: "closed" });
  }
}

/** A session that is not to begin. */
async function drop({ transport, wal }: Session): Promise<void> {
  await transport.close();
  await wal.abandon();
}

/** A disk that does not take what is to be noted of a peer is broken: that ends the process, and is no bug. */
function guarding(create: CreateTransport, onFatal: (error: unknown) => void): CreateTransport {
  const guarded = <T>(act: () => T, otherwise: T): T => {
    try {
      return act();
    } catch (error) {
      if (!(error instanceof WalError)) throw error;
      onFatal(error.failure.error);
      return otherwise;
    }
  };
  return (options, handlers) =>
    create(options, {
      ...handlers,
      onGreeting: (peer) => guarded(() => handlers.onGreeting(peer), NOT_YET),
      onAnswer: (peer, answer) => guarded(() => handlers.onAnswer(peer, answer), false),
      isWelcome: (peer) => guarded(() => handlers.isWelcome(peer), false),
    });
}

/** The transport is there before the loop that it calls. */
function lateHandlers(late: {
  readonly handlers: ReturnType<SessionLoop["handlers"]> | null;
}): Omit<PeerHandlers, "readCheckpoint"> {
  return {
    onMessage: (message) => late.handlers?.onMessage(message),
    onPeerDied: (peer) => late.handlers?.onPeerDied(peer),
    onGreeting: (peer) => late.handlers?.onGreeting(peer) ?? NOT_YET,
    isWelcome: (peer) => late.handlers?.isWelcome(peer) ?? false,
    onAnswer: (peer, answer) => late.handlers?.onAnswer(peer, answer) ?? false,
    onEvent: (event) => late.handlers?.onEvent(event),
  };
}
