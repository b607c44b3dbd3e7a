/**
 * A session with a ZooKeeper ensemble: goes from server to server, and knows by its own clock when it may be over.
 *
 * - *Safety*: the servers end a session when they have not heard of it for its timeout. A server has heard what it answered, so
 *   the session lives at least until `timeoutMs` after the last request (or ping) that was **sent** and has been answered.
 *   Beyond that moment the session counts as expired here, whatever sockets or servers say later: a process that was paused
 *   asks its own clock first, before it reads what has arrived. {@link Session.isAliveFor} is that question for others.
 *   The monotonic clock stands still while a machine is suspended: where the wall clock has run ahead of it, that one counts.
 * - *Liveness*: a server that says nothing for 2/3 of the timeout is left for the next one; dial and handshake have a limit, too.
 * - A request is sent once. When its connection breaks it ends with CONNECTIONLOSS: it may have been carried out or not.
 *   Requests wait for a connection for one timeout at most.
 * - After `expired`, `authFailed` and `closed` nothing comes any more: open another session.
 * @module
 */
import { invariant } from "../common/invariant.ts";
import type { Timer, World } from "../world/ports.ts";
import type { Server } from "./connect_string.ts";
import { Connection } from "./connection.ts";
import { JuteReader, JuteWriter } from "./jute.ts";
import {
  errorOf,
  type Handshake,
  OP,
  readWatch,
  type WatchFired,
  XID,
  XID_MAX,
  ZooKeeperError,
} from "./protocol.ts";
import { Watches } from "./watches.ts";

export type SessionState = "connecting" | "connected" | "expired" | "authFailed" | "closed";

export type SessionOptions = {
  readonly servers: readonly Server[];
  /** Asked for; the servers have bounds of their own. */
  readonly timeoutMs: number;
  readonly world: World;
  readonly credentials: readonly Credentials[];
  readonly onState: (state: SessionState, reason: string) => void;
  /** Path as the server knows it → as the caller does. */
  readonly local: (path: string) => string;
  readonly full: (path: string) => string;
};
export type Credentials = { readonly scheme: "digest"; readonly id: string };

type Request = {
  readonly type: number;
  readonly write: (writer: JuteWriter) => void;
  /** For messages: "create /a". */
  readonly what: string;
  readonly resolve: (reader: JuteReader) => void;
  readonly reject: (error: ZooKeeperError) => void;
  /** Called with ZooKeeper's number of the error, 0 for none, before anything that came behind the answer is looked at. */
  readonly onAnswer: (error: number) => void;
  readonly askedMs: number;
};
/** By both clocks. */
type Moment = { readonly monotonicMs: number; readonly wallMs: number };
type Sent = Request & { readonly xid: number; readonly sentAt: Moment };

/** Waiting and in flight: more than any user of ours has; beyond it something is stuck. */
const REQUESTS_MAX = 4096;
/** A whole round of servers has refused: then it is time to wait. */
const ROUND_PAUSE_MIN_MS = 50;
const ROUND_PAUSE_JITTER_MS = 150;
const OPEN_WITHIN_MIN_MS = 200;
const SET_WATCHES_BYTES = 128 * 1024;
const CLOSE_WITHIN_MS = 1000;
const PASSWORD_BYTES = 16;
/** By so much may the wall clock run ahead before it is believed: it is adjusted now and then. */
const WALL_AHEAD_MS = 1000;

export class Session {
  readonly watches = new Watches();
  readonly #options: SessionOptions;
  readonly #world: World;
  readonly #servers: readonly Server[];
  #state: SessionState = "connecting";
  #handshake: Handshake;
  #connection: Connection | null = null;
  #dialed = 0;
  #lastZxid = 0n;
  #xid = 0;
  #waiting: Request[] = [];
  #inFlight: Sent[] = [];
  /** When the latest request was sent that a server has answered; null before the first session. */
  #answeredSend: Moment | null = null;
  #sentMs = 0;
  #pingSentAt: Moment | null = null;
  #tick: Timer | null = null;
  #redial: Timer | null = null;
  #dialedAt: Moment = { monotonicMs: 0, wallMs: 0 };
  #why = "no server was reached yet";

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#world = options.world;
    this.#servers = shuffled(options.servers, options.world);
    const { timeoutMs } = options;
    this.#handshake = { timeoutMs, sessionId: 0n, password: new Uint8Array(PASSWORD_BYTES) };
  }

  start(): void {
    this.#dial();
    this.#watchClock();
  }

  get state(): SessionState {
    this.#expireIfLate();
    return this.#state;
  }

  /** 0 before the first connection. */
  get id(): bigint {
    return this.#handshake.sessionId;
  }

  /** As the servers granted it. */
  get timeoutMs(): number {
    return this.#handshake.timeoutMs;
  }

  /** Whether no server ends the session within the next `marginMs`, whatever happens; also while there is no connection. */
  isAliveFor(marginMs: number): boolean {
    this.#expireIfLate();
    const answered = this.#answeredSend;
    if (answered === null || this.#isOver()) return false;
    return this.#agoMs(answered) + marginMs < this.#handshake.timeoutMs;
  }

  /** @returns the answer's record @throws ZooKeeperError */
  request(
    type: number,
    what: string,
    write: (writer: JuteWriter) => void,
    onAnswer: (error: number) => void = () => {},
  ): Promise<JuteReader> {
    this.#expireIfLate();
    return new Promise((resolve, reject) => {
      if (this.#isOver()) return reject(this.#overError(what));
      if (this.#waiting.length + this.#inFlight.length >= REQUESTS_MAX)
        return reject(
          new ZooKeeperError(
            "THROTTLEDOP",
            "RESOURCE_EXHAUSTED",
            `ZooKeeper: ${what}: ${REQUESTS_MAX} requests wait already`,
          ),
        );
      const askedMs = this.#nowMs();
      const request = { type, write, what, resolve, reject, onAnswer, askedMs };
      if (this.#connection?.isOpen === true) this.#send(this.#connection, request);
      else this.#waiting.push(request);
    });
  }

  /** Ends the session at the servers, too, if one can be reached: its ephemeral nodes go at once. */
  async close(): Promise<void> {
    if (this.#connection?.isOpen === true && !this.#isOver()) {
      const ended = this.request(OP.closeSession, "close", () => {}).catch(() => {});
      await Promise.race([
        ended,
        new Promise<void>((resolve) => this.#world.timers.after(CLOSE_WITHIN_MS, resolve)),
      ]);
    }
    this.#end("closed", "closed by its user");
  }

  #nowMs(): number {
    return this.#world.clock.monotonicMs();
  }

  #now(): Moment {
    const { clock } = this.#world;
    return { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
  }

  #agoMs(then: Moment): number {
    const { monotonicMs, wallMs } = this.#now();
    const agoMs = monotonicMs - then.monotonicMs;
    const wallAgoMs = wallMs - then.wallMs;
    return wallAgoMs > agoMs + WALL_AHEAD_MS ? wallAgoMs : agoMs;
  }

  #isOver(): boolean {
    return this.#state !== "connecting" && this.#state !== "connected";
  }

  #overError(what: string): ZooKeeperError {
    if (this.#state === "authFailed") return errorOf(-115, what);
    if (this.#state === "expired") return errorOf(-112, what);
    return new ZooKeeperError(
      "SESSIONEXPIRED",
      "ABORTED",
      `ZooKeeper: ${what}: the session was closed`,
    );
  }

  #expireIfLate(): void {
    const answered = this.#answeredSend;
    if (answered === null || this.#isOver()) return;
    const silentMs = this.#agoMs(answered);
    if (silentMs < this.#handshake.timeoutMs) return;
    this.#end(
      "expired",
      `nothing was answered that was sent in the last ${Math.round(silentMs)} ms`,
    );
  }

  #end(state: "expired" | "authFailed" | "closed", reason: string): void {
    if (this.#isOver()) return;
    this.#state = state;
    this.#tick?.cancel();
    this.#redial?.cancel();
    this.#connection?.close(reason);
    for (const { reject, what } of [...this.#inFlight.splice(0), ...this.#waiting.splice(0)])
      reject(this.#overError(what));
    this.#options.onState(state, reason);
    this.watches.lose();
  }

  #dial(): void {
    if (this.#isOver()) return;
    const server = this.#servers[this.#dialed % this.#servers.length];
    invariant(server !== undefined, "a session has a server");
    this.#dialed += 1;
    this.#dialedAt = this.#now();
    const shareMs = (this.#handshake.timeoutMs * 2) / 3 / this.#servers.length;
    const connection = new Connection({
      server,
      world: this.#world,
      handshake: this.#handshake,
      lastZxid: this.#lastZxid,
      openWithinMs: Math.max(OPEN_WITHIN_MIN_MS, Math.round(shareMs)),
      onOpen: (handshake) => this.#opened(connection, handshake),
      onPacket: (packet) => this.#received(packet),
      onClosed: (reason) => this.#lost(`${server.host}:${server.port}: ${reason}`),
    });
    this.#connection = connection;
  }

  #opened(connection: Connection, handshake: Handshake): void {
    this.#expireIfLate();
    if (this.#isOver()) return;
    if (handshake.timeoutMs <= 0) {
      this.#end("expired", "the servers say that the session is over");
      return;
    }
    this.#handshake = handshake;
    // The servers count from the handshake, which was sent after the dial began.
    this.#answered(this.#dialedAt);
    this.#pingSentAt = null;
    for (const { scheme, id } of this.#options.credentials) this.#sendAuth(connection, scheme, id);
    this.#sendWatches(connection);
    for (const request of this.#waiting.splice(0)) this.#send(connection, request);
    this.#sentMs = this.#nowMs();
    this.#state = "connected";
    this.#options.onState("connected", connection.address);
  }

  #sendAuth(connection: Connection, scheme: string, id: string): void {
    const writer = header(XID.auth, OP.auth);
    writer.int(0);
    writer.text(scheme);
    writer.text(id);
    connection.send(writer.packet());
  }

  /** A server fires at once what has happened since the last transaction that we know of. */
  #sendWatches(connection: Connection): void {
    const { full } = this.#options;
    for (const { data, exists, children } of this.watches.portions(SET_WATCHES_BYTES)) {
      const writer = header(XID.setWatches, OP.setWatches);
      writer.long(this.#lastZxid);
      for (const list of [data, exists, children]) writer.texts(list.map(full));
      connection.send(writer.packet());
    }
  }

  #send(connection: Connection, request: Request): void {
    this.#xid = this.#xid >= XID_MAX ? 1 : this.#xid + 1;
    const writer = header(this.#xid, request.type);
    request.write(writer);
    const sentAt = this.#now();
    this.#sentMs = sentAt.monotonicMs;
    this.#inFlight.push({ ...request, xid: this.#xid, sentAt });
    connection.send(writer.packet());
  }

  #received(packet: Uint8Array): void {
    // Before anything else: what has arrived may have waited while this process was stopped.
    this.#expireIfLate();
    if (this.#isOver()) return;
    const reader = new JuteReader(packet);
    const xid = reader.int();
    const zxid = reader.long();
    const error = reader.int();
    if (zxid > 0n) this.#lastZxid = zxid;
    if (xid < 0) this.#receivedUnasked(xid, error, reader);
    else this.#receivedAnswer(xid, error, reader);
  }

  #receivedUnasked(xid: number, error: number, reader: JuteReader): void {
    if (xid === XID.ping) {
      if (this.#pingSentAt !== null) this.#answered(this.#pingSentAt);
      this.#pingSentAt = null;
    } else if (xid === XID.watch) this.#fired(readWatch(reader));
    else if (xid === XID.auth && error !== 0)
      this.#end("authFailed", "the servers refused the credentials");
  }

  #receivedAnswer(xid: number, error: number, reader: JuteReader): void {
    const sent = this.#inFlight.shift();
    if (sent === undefined || sent.xid !== xid) {
      if (sent !== undefined) this.#inFlight.unshift(sent);
      this.#connection?.close(`it answered request ${xid}, which is not the next one`);
      return;
    }
    this.#answered(sent.sentAt);
    sent.onAnswer(error);
    if (error === 0) sent.resolve(reader);
    else sent.reject(errorOf(error, sent.what));
  }

  #answered(sentAt: Moment): void {
    const latest = this.#answeredSend;
    if (latest === null || latest.monotonicMs < sentAt.monotonicMs) this.#answeredSend = sentAt;
  }

  #fired({ kind, path }: WatchFired): void {
    this.watches.fire({ kind, path: this.#options.local(path) });
  }

  #lost(reason: string): void {
    this.#connection = null;
    this.#why = reason;
    for (const { reject, what } of this.#inFlight.splice(0))
      reject(errorOf(-4, `${what} (${reason})`));
    if (this.#isOver()) return;
    if (this.#state === "connected") {
      this.#state = "connecting";
      this.#options.onState("connecting", reason);
    }
    const isRoundOver = this.#dialed % this.#servers.length === 0;
    const pauseMs = ROUND_PAUSE_MIN_MS + (this.#world.random.uint32() % ROUND_PAUSE_JITTER_MS);
    this.#redial = this.#world.timers.after(isRoundOver ? pauseMs : 0, () => this.#dial());
  }

  /** Expiry, silence, pings, and requests that waited too long: looked at often enough for each. */
  #watchClock(): void {
    const { timeoutMs } = this.#handshake;
    const everyMs = Math.min(500, Math.max(10, timeoutMs / 30));
    this.#tick = this.#world.timers.after(everyMs, () => {
      this.#expireIfLate();
      if (this.#isOver()) return;
      this.#giveUpWaiting();
      if (this.#connection?.isOpen === true) this.#tend(this.#connection);
      this.#watchClock();
    });
  }

  #tend(connection: Connection): void {
    const nowMs = this.#nowMs();
    const { timeoutMs } = this.#handshake;
    if (nowMs - connection.heardMs > (timeoutMs * 2) / 3) {
      connection.close(`it has been silent for ${Math.round(nowMs - connection.heardMs)} ms`);
      return;
    }
    const answered = this.#answeredSend?.monotonicMs ?? 0;
    // Requests count as pings, but only their answers do, and those may take long.
    if (this.#pingSentAt !== null || nowMs - Math.min(this.#sentMs, answered) < timeoutMs / 6)
      return;
    this.#pingSentAt = this.#now();
    this.#sentMs = nowMs;
    connection.send(header(XID.ping, OP.ping).packet());
  }

  #giveUpWaiting(): void {
    const patientSinceMs = this.#nowMs() - this.#handshake.timeoutMs;
    const late = this.#waiting.filter(({ askedMs }) => askedMs < patientSinceMs);
    if (late.length === 0) return;
    this.#waiting = this.#waiting.filter(({ askedMs }) => askedMs >= patientSinceMs);
    for (const { reject, what } of late) reject(errorOf(-4, `${what} (${this.#why})`));
  }
}

function header(xid: number, type: number): JuteWriter {
  const writer = new JuteWriter();
  writer.int(xid);
  writer.int(type);
  return writer;
}

/** So that not all clients sit on the first server. */
function shuffled(servers: readonly Server[], { random }: World): readonly Server[] {
  const rest = [...servers];
  const found: Server[] = [];
  while (rest.length > 0) found.push(...rest.splice(random.uint32() % rest.length, 1));
  return found;
}
