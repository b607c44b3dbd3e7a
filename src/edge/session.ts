/**
 * One connection of an edge client: who it is, its requests, and when it has to go.
 *
 * Knows no socket and no clock: frames are given to it, and it is told the time. A client that breaks the protocol is cut
 * off; one that asks for something that cannot be done is told so and goes on. Whatever happens, its requests end with it.
 * @module
 */
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import { type CallDeps, EdgeCall } from "./edge_call.ts";
import {
  CLOSE,
  decodeFrame,
  encodeFrame,
  FRAME,
  type Frame,
  PAYLOAD_BYTES_MAX,
  PROTOCOL_VERSION,
} from "./frame.ts";
import { expectsUpload, FIRST_UPLOAD_BYTES, serveRequest } from "./operations.ts";
import { parseHello, parseRequest } from "./parse_request.ts";
import type { EdgeFiles, EdgeGatewayEvent, EdgeLeadership, EdgeLimits } from "./ports.ts";
import type { Watches } from "./watches.ts";
import type { EdgeRequest, Moved, Welcome } from "./words.ts";

export const CAPABILITIES = ["readMany", "write", "watch", "locate"] as const;
/** Unless HELLO says otherwise: an eighth of the request's first credit, within these. Each frame costs a turn at both ends. */
const FRAME_BYTES = 256 * 1024;
const CREDIT_PER_FRAME = 8;
const FRAME_BYTES_MIN = 64 * 1024;
/** A request's first credit; twice the smallest frame, since credit comes back by halves. */
const WINDOW_BYTES_MIN = 2 * FRAME_BYTES_MIN;
const REQUEST_BYTES_MAX = 256 * 1024;
const HELLO_MS = 10_000;

export type Identity = {
  readonly user: string;
  readonly canWrite: boolean;
  /** How long its token is good for, from now on; null: for as long as it stands in the file. */
  readonly lastsMs: number | null;
};

export type SessionDeps = Omit<CallDeps, "wire"> & {
  readonly files: EdgeFiles;
  readonly leadership: EdgeLeadership;
  readonly watches: Watches;
  readonly limits: EdgeLimits;
  /** @throws RockpoolError UNAUTHENTICATED; RESOURCE_EXHAUSTED when the user has too many connections */
  readonly admit: (token: string | null) => Identity;
  readonly release: (identity: Identity) => void;
  /** Reads of all connections: @returns false when there are too many */
  readonly reads: { take(): boolean; give(): void };
  readonly nowMs: () => number;
  readonly onEvent: (event: EdgeGatewayEvent) => void;
};

/** `frameBytes`: what HELLO asked for. */
type Open = {
  readonly identity: Identity;
  readonly frameBytes: number | null;
  /** When its token's time is over. */
  readonly expiresAtMs: number;
};

export class EdgeSession {
  readonly #wire: CallDeps["wire"];
  readonly #deps: SessionDeps;
  /** From the request's headers. */
  readonly #token: string | null;
  /** By id, which is free again once a call is cancelled. */
  readonly #calls = new Map<number, EdgeCall>();
  /** Calls that have not ended: one that was cancelled may take its time. */
  #runningCount = 0;
  readonly #beganMs: number;
  #open: Open | null = null;
  #isOver = false;
  #heardMs: number;
  #stuck: { readonly bytes: number; readonly sinceMs: number } | null = null;
  #watchCount = 0;

  constructor(wire: CallDeps["wire"], token: string | null, deps: SessionDeps) {
    this.#wire = wire;
    this.#token = token;
    this.#deps = deps;
    this.#beganMs = deps.nowMs();
    this.#heardMs = this.#beganMs;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Whether the client has said who it is. */
  get isOpen(): boolean {
    return this.#open !== null;
  }

  receive(bytes: Uint8Array): void {
    if (this.#isOver) return;
    this.#deps.counters.bytesReceived += bytes.length;
    this.#heardMs = this.#deps.nowMs();
    const frame = decodeFrame(bytes, this.#deps.crc);
    if (typeof frame === "string") this.end(CLOSE.protocol, `a frame is ${frame}`);
    else if (this.#open === null) this.#hello(frame);
    else this.#frame(frame, this.#open);
  }

  /** Tells the client where to go, if it is known, and that it must. */
  moved(): void {
    if (this.#isOver) return;
    const { leadership } = this.#deps;
    const moved: Moved = { leader: leadership.leader(), masters: leadership.masters() };
    this.#send(FRAME.moved, 0, moved);
    this.end(CLOSE.moved, "this master does not lead");
  }

  /** Looks for what has to end by time. */
  check(): void {
    if (this.#isOver) return;
    const { limits, nowMs } = this.#deps;
    const now = nowMs();
    const buffered = this.#wire.bufferedBytes();
    if (buffered === 0) this.#stuck = null;
    else if (this.#stuck === null || buffered < this.#stuck.bytes)
      this.#stuck = { bytes: buffered, sinceMs: now };
    if (this.#open === null && now - this.#beganMs > HELLO_MS)
      this.end(CLOSE.timeout, "no HELLO came");
    else if (now - this.#heardMs > limits.idleMs) this.end(CLOSE.timeout, "nothing was heard");
    else if (this.#stuck !== null && now - this.#stuck.sinceMs > limits.stallMs)
      this.end(CLOSE.timeout, "what was sent is not taken");
    else if (this.#open !== null && now >= this.#open.expiresAtMs)
      this.#refuse(
        new RockpoolError(
          "UNAUTHENTICATED",
          "The time of the token is over",
          "Connect with a newer one",
        ),
      );
    else
      for (const [id, call] of this.#calls)
        if (call.endIfForgotten(now, limits.creditWaitMs)) this.#calls.delete(id);
  }

  /** Says why the connection ends, and ends it. */
  #refuse({ status, message, remedy }: RockpoolError): void {
    this.#send(FRAME.error, 0, { status, message, remedy });
    this.end(status === "UNAUTHENTICATED" ? CLOSE.unauthenticated : CLOSE.protocol, status);
  }

  /** Ends the connection, if it has not. */
  end(code: number, reason: string): void {
    if (this.#isOver) return;
    this.#wire.close(code, reason);
    this.closed(code, reason);
  }

  /** The socket is closed. */
  closed(code: number, reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const call of this.#calls.values()) call.abort();
    if (this.#open === null) return;
    const { identity } = this.#open;
    this.#deps.release(identity);
    const { peer } = this.#wire;
    this.#deps.onEvent({ kind: "edgeDisconnected", peer, user: identity.user, code, reason });
  }

  #hello(frame: Frame): void {
    const { leadership, admit, limits, onEvent } = this.#deps;
    const { peer } = this.#wire;
    if (frame.type !== FRAME.hello) {
      this.end(CLOSE.protocol, "the first frame is no HELLO");
      return;
    }
    try {
      const hello = parseHello(frame.payload);
      if (hello.version !== PROTOCOL_VERSION)
        throw new RockpoolError(
          "UNIMPLEMENTED",
          `This master speaks version ${PROTOCOL_VERSION} of the edge protocol, and not ${hello.version}`,
          "Use a client of this version of Rockpool",
        );
      const identity = admit(hello.token ?? this.#token);
      const frameBytes = boundedFrameBytes(hello.frameBytes ?? FRAME_BYTES);
      if (!leadership.serves()) {
        this.#deps.release(identity);
        this.moved();
        return;
      }
      this.#open = {
        identity,
        frameBytes: hello.frameBytes === undefined ? null : frameBytes,
        expiresAtMs: this.#deps.nowMs() + (identity.lastsMs ?? Infinity),
      };
      onEvent({ kind: "edgeConnected", peer, user: identity.user });
      const welcome: Welcome = {
        version: PROTOCOL_VERSION,
        user: identity.user,
        canWrite: identity.canWrite,
        term: leadership.term(),
        frameBytes,
        windowBytes: FIRST_UPLOAD_BYTES,
        writeBytesMax: limits.writeBytesMax,
        capabilities: CAPABILITIES,
        masters: leadership.masters(),
      };
      this.#send(FRAME.welcome, 0, welcome);
    } catch (error) {
      const failure = this.#failure(error);
      onEvent({ kind: "edgeRefused", peer, reason: failure.message });
      this.#refuse(failure);
    }
  }

  #frame(frame: Frame, open: Open): void {
    const { id, argument, payload } = frame;
    const call = this.#calls.get(id);
    switch (frame.type) {
      case FRAME.request:
        this.#request(frame, open);
        return;
      case FRAME.data:
        // Of a request that has failed more may be on its way.
        if (call !== undefined && !call.arrived(payload, frame.isLast))
          this.end(CLOSE.protocol, "data without credit");
        return;
      case FRAME.credit:
        call?.credit.add(argument);
        return;
      case FRAME.cancel:
        call?.abort();
        this.#calls.delete(id);
        return;
      case FRAME.ping:
        this.#sendBytes(FRAME.pong, id, payload.slice(0, 64));
        return;
      case FRAME.pong:
        return;
      default:
        this.end(CLOSE.protocol, `clients send no frame of type ${frame.type}`);
    }
  }

  #request({ id, argument, payload }: Frame, open: Open): void {
    const { counters, limits } = this.#deps;
    if (id === 0 || this.#calls.has(id)) {
      this.end(CLOSE.protocol, `request ${id} is under way`);
      return;
    }
    counters.requests++;
    const creditBytes = Math.max(argument, WINDOW_BYTES_MIN);
    const byCredit = boundedFrameBytes(Math.max(FRAME_BYTES, creditBytes / CREDIT_PER_FRAME));
    const frameBytes = Math.floor(Math.min(open.frameBytes ?? byCredit, creditBytes / 2));
    const call = new EdgeCall(
      { ...this.#deps, wire: this.#wire },
      { id, frameBytes, creditBytes: argument },
    );
    try {
      if (this.#runningCount >= limits.requestsMax + limits.watchesMax)
        throw tooMany(`more than ${limits.requestsMax} requests at once`);
      if (payload.length > REQUEST_BYTES_MAX) throw tooMany(`a request of ${payload.length} bytes`);
      const request = parseRequest(payload);
      const isStream = request.op === "read" || request.op === "readMany";
      if (isStream && argument < WINDOW_BYTES_MIN)
        throw new RockpoolError(
          "INVALID_ARGUMENT",
          `A read needs credit of at least ${WINDOW_BYTES_MIN} bytes, and got ${argument}`,
        );
      if (expectsUpload(request)) call.expectUpload();
      this.#calls.set(id, call);
      void this.#serve(request, call, open);
    } catch (error) {
      call.fail(this.#failure(error));
    }
  }

  async #serve(request: EdgeRequest, call: EdgeCall, open: Open): Promise<void> {
    const { files, watches, limits, reads, leadership } = this.#deps;
    const isWatch = request.op === "watch";
    const isRead = request.op === "read" || request.op === "readMany";
    let holdsRead = false;
    this.#runningCount++;
    if (isWatch) this.#watchCount++;
    try {
      if (isWatch && this.#watchCount > limits.watchesMax)
        throw tooMany(`more than ${limits.watchesMax} watches`);
      if (!isWatch && this.#runningCount - this.#watchCount > limits.requestsMax)
        throw tooMany(`more than ${limits.requestsMax} requests at once`);
      holdsRead = isRead && reads.take();
      if (isRead && !holdsRead)
        throw new RockpoolError(
          "RESOURCE_EXHAUSTED",
          `This master passes on ${limits.readsMax} reads at a time, and has as many`,
          "Ask again in a moment",
        );
      await serveRequest(request, call, { files, watches, limits, ...open.identity });
    } catch (error) {
      if (this.#isOver || call.signal.aborted) return;
      if (isRockpoolError(error, "UNAVAILABLE") && !leadership.serves()) this.moved();
      else call.fail(this.#failure(error));
    } finally {
      if (holdsRead) reads.give();
      if (isWatch) this.#watchCount--;
      this.#runningCount--;
      if (this.#calls.get(call.id) === call) this.#calls.delete(call.id);
    }
  }

  #failure(error: unknown): RockpoolError {
    this.#deps.counters.failures++;
    if (isRockpoolError(error)) return error;
    this.#deps.onEvent({ kind: "edgeFailed", peer: this.#wire.peer, error });
    return new RockpoolError("INTERNAL", "The gateway failed", "The master's log says why");
  }

  #send(type: number, id: number, document: unknown): void {
    this.#sendBytes(type, id, new TextEncoder().encode(JSON.stringify(document)));
  }

  #sendBytes(type: number, id: number, payload: Uint8Array): void {
    const isLast = type === FRAME.error;
    this.#wire.send(encodeFrame({ type, id, isLast }, payload, this.#deps.crc));
  }
}

function tooMany(what: string): RockpoolError {
  return new RockpoolError(
    "RESOURCE_EXHAUSTED",
    `This connection has ${what}`,
    "Wait for answers, or open another connection",
  );
}

function boundedFrameBytes(wanted: number): number {
  return Math.max(FRAME_BYTES_MIN, Math.min(wanted, PAYLOAD_BYTES_MAX));
}
