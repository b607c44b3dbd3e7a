/**
 * The edge gateway of a master: WebSockets on its web port, as sessions.
 *
 * Every master has one. That of the leader serves; that of a standby says who leads and closes, and so do all when leadership
 * goes. Connections are bounded, in all and for each user; a socket that takes nothing, or says nothing, is closed.
 * @module
 */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import { RockpoolError } from "../common/errors.ts";
import { CrcJoiner } from "../kernels/crc_combine.ts";
import type { Kernels } from "../kernels/kernels.ts";
import type { Clock, Timer, Timers } from "../world/ports.ts";
import { CLOSE, HEADER_BYTES, PAYLOAD_BYTES_MAX, SUBPROTOCOL } from "./frame.ts";
import {
  type EdgeCounters,
  type EdgeFiles,
  type EdgeGatewayEvent,
  type EdgeLeadership,
  type EdgeLimits,
  type EdgeWire,
  edgeCounters,
} from "./ports.ts";
import { EdgeSession, type Identity } from "./session.ts";
import { identify, type TokenRules } from "./tokens.ts";
import { Watches } from "./watches.ts";

/** Where on the web port the gateway is. */
export const EDGE_PATH = "/edge";
const BEARER_PROTOCOL = "bearer.";
const CHECK_MS = 1000;
/** Above what reads may fill: two frames and many documents. */
const UNTAKEN_BYTES_MAX = 4 * 1024 * 1024;
/** A socket that was closed is given this long to take what was sent before. */
const FAREWELL_MS = 2000;

export type GatewayOptions = {
  readonly files: EdgeFiles;
  readonly leadership: EdgeLeadership;
  readonly limits: EdgeLimits;
  readonly kernels: Pick<Kernels, "crc32c">;
  readonly clock: Clock;
  readonly timers: Timers;
  /** Asked for each connection: files of tokens change. */
  readonly tokenRules: () => TokenRules;
  /** Why a request to connect is refused, from its `Origin` and `Host`; null when it is not. */
  readonly refusalOf: (headers: IncomingMessage["headers"]) => string | null;
  /** Says no to a request to connect, and ends its connection. */
  readonly refuse: (socket: Duplex, status: string, reason: string) => void;
  readonly onEvent: (event: EdgeGatewayEvent) => void;
};

/** A token in `Authorization` or among the subprotocols, which is where browsers can put one. */
function tokenOf({ headers }: IncomingMessage): string | null {
  const bearer = /^Bearer +([^\s]+)$/i.exec(headers.authorization ?? "")?.[1];
  if (bearer !== undefined) return bearer;
  const offered = (headers["sec-websocket-protocol"] ?? "").split(",").map((one) => one.trim());
  const protocol = offered.find((one) => one.startsWith(BEARER_PROTOCOL));
  return protocol === undefined
    ? null
    : Buffer.from(protocol.slice(BEARER_PROTOCOL.length), "base64url").toString("utf8");
}

/** Of a whole binary message of a server (RFC 6455, 5.2). */
function messageHead(lengthBytes: number): Buffer {
  const isLong = lengthBytes > 65_535;
  const head = Buffer.alloc(lengthBytes < 126 ? 2 : isLong ? 10 : 4);
  head[0] = 0x82;
  head[1] = lengthBytes < 126 ? lengthBytes : isLong ? 127 : 126;
  if (isLong) head.writeUInt32BE(lengthBytes, 6);
  else if (lengthBytes >= 126) head.writeUInt16BE(lengthBytes, 2);
  return head;
}

class SocketWire implements EdgeWire {
  readonly peer: string;
  readonly #socket: WebSocket;
  /** What the WebSocket is on: each of its messages is written at once, so that ours fit in between. */
  readonly #stream: Duplex;
  readonly #timers: Timers;
  readonly #waiting: (() => void)[] = [];

  constructor(socket: WebSocket, stream: Duplex, peer: string, timers: Timers) {
    this.#socket = socket;
    this.#stream = stream;
    this.peer = peer;
    this.#timers = timers;
    socket.on("close", () => this.#wake());
  }

  /** A socket that is closed holds nothing that anybody could wait for. */
  bufferedBytes(): number {
    return this.#socket.readyState === this.#socket.CLOSED ? 0 : this.#socket.bufferedAmount;
  }

  send(bytes: Uint8Array, payload?: Uint8Array): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    if (payload === undefined) {
      this.#socket.send(bytes, { binary: true }, () => this.#wake());
      return;
    }
    // As `ws` itself writes, which takes one part alone: joining them costs a copy into memory that is new each time.
    const stream = this.#stream;
    stream.cork();
    stream.write(Buffer.concat([messageHead(bytes.length + payload.length), bytes]));
    stream.write(payload, () => this.#wake());
    stream.uncork();
  }

  close(code: number, reason: string): void {
    this.#socket.close(code, reason);
    const timer = this.#timers.after(FAREWELL_MS, () => this.#socket.terminate());
    this.#socket.once("close", () => timer.cancel());
  }

  /** While it closes, what is buffered may still leave; at the latest its end wakes those who wait. */
  drained(): Promise<void> {
    if (this.#socket.readyState === this.#socket.CLOSED) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

export class EdgeGateway {
  readonly #options: GatewayOptions;
  readonly #server: WebSocketServer;
  readonly #sessions = new Set<EdgeSession>();
  readonly #byUser = new Map<string, number>();
  readonly #joiner = new CrcJoiner();
  readonly counters: EdgeCounters = edgeCounters();
  readonly watches = new Watches();
  #reads = 0;
  #checks: Timer | null = null;
  #isClosed = false;

  constructor(options: GatewayOptions) {
    this.#options = options;
    this.#server = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: HEADER_BYTES + PAYLOAD_BYTES_MAX,
      handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
    });
  }

  get connectionCount(): number {
    return this.#sessions.size;
  }

  get readCount(): number {
    return this.#reads;
  }

  /** Takes a request to become a WebSocket, and whatever becomes of it. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { onEvent, refusalOf, limits } = this.#options;
    const { remoteAddress = "", remotePort = 0 } = request.socket;
    const peer = `${remoteAddress}:${remotePort}`;
    const refuse = (status: string, reason: string) => {
      onEvent({ kind: "edgeRefused", peer, reason });
      this.#options.refuse(socket, status, reason);
    };
    socket.on("error", () => socket.destroy()); // the client is gone: its session hears of the close
    const reason = refusalOf(request.headers);
    if (reason !== null) {
      refuse("403 Forbidden", reason);
      return;
    }
    // Who has said nothing yet makes room: connecting alone shall keep nobody out.
    if (this.#sessions.size >= limits.connectionsMax)
      this.#end([...this.#sessions].find(({ isOpen }) => !isOpen));
    if (this.#isClosed || this.#sessions.size >= limits.connectionsMax) {
      refuse("503 Service Unavailable", "This master has too many edge connections");
      return;
    }
    request.socket.setTimeout(0);
    request.socket.setNoDelay(true);
    this.#server.handleUpgrade(request, socket, head, (webSocket) =>
      this.#begin(
        new SocketWire(webSocket, socket, peer, this.#options.timers),
        webSocket,
        tokenOf(request),
      ),
    );
  }

  #end(session: EdgeSession | undefined): void {
    if (session === undefined) return;
    session.end(CLOSE.limit, "no HELLO came, and others wait");
    this.#sessions.delete(session);
  }

  /** Leadership was lost: clients go to the next leader. */
  leadershipLost(): void {
    for (const session of this.#sessions) session.moved();
    this.#sessions.clear();
  }

  close(): void {
    this.#isClosed = true;
    this.#checks?.cancel();
    this.leadershipLost();
  }

  #begin(wire: SocketWire, socket: WebSocket, token: string | null): void {
    const { files, leadership, limits, kernels, clock, onEvent } = this.#options;
    const session = new EdgeSession(wire, token, {
      ...{ files, leadership, limits, onEvent, watches: this.watches, counters: this.counters },
      crc: (bytes, seed) => kernels.crc32c(bytes, seed),
      joiner: this.#joiner,
      admit: (given) => this.#admit(given),
      release: ({ user }) => this.#count(user, -1),
      reads: {
        take: () => {
          if (this.#reads >= limits.readsMax) return false;
          this.#reads++;
          return true;
        },
        give: () => {
          this.#reads--;
        },
      },
      nowMs: () => clock.monotonicMs(),
    });
    this.#sessions.add(session);
    this.counters.connections++;
    // Answers that need no credit are bounded by not listening to who does not take them.
    const listenIfTaken = async () => {
      if (wire.bufferedBytes() <= UNTAKEN_BYTES_MAX || socket.isPaused) return;
      socket.pause();
      while (wire.bufferedBytes() > UNTAKEN_BYTES_MAX) await wire.drained();
      socket.resume();
    };
    socket.on("message", (bytes: Buffer, isBinary: boolean) => {
      if (isBinary) session.receive(bytes);
      else session.end(CLOSE.protocol, "a message is text");
      if (session.isOver) this.#sessions.delete(session);
      void listenIfTaken();
    });
    socket.on("ping", () => void listenIfTaken()); // it is answered by `ws`
    socket.on("error", () => socket.terminate()); // "close" follows
    socket.on("close", (code, reason) => {
      session.closed(code, reason.toString());
      this.#sessions.delete(session);
    });
    this.#checks ??= this.#check();
  }

  /** @throws RockpoolError UNAUTHENTICATED; RESOURCE_EXHAUSTED */
  #admit(token: string | null): Identity {
    const { tokenRules, clock, limits } = this.#options;
    const nowMs = clock.wallMs();
    const { user, canWrite, expiresMs = null } = identify(token, this.#rules(tokenRules), nowMs);
    if ((this.#byUser.get(user) ?? 0) >= limits.connectionsPerUserMax)
      throw new RockpoolError(
        "RESOURCE_EXHAUSTED",
        `User ${user} has ${limits.connectionsPerUserMax} edge connections to this master`,
        "Use one connection for many requests",
      );
    this.#count(user, 1);
    return { user, canWrite, lastsMs: expiresMs === null ? null : expiresMs - nowMs };
  }

  /** Those who are not known yet hear nothing of this host's files. @throws RockpoolError UNAVAILABLE */
  #rules(tokenRules: () => TokenRules): TokenRules {
    try {
      return tokenRules();
    } catch (error) {
      this.#options.onEvent({ kind: "edgeFailed", peer: "", error });
      throw new RockpoolError(
        "UNAVAILABLE",
        "This master cannot read its tokens",
        "Its log says why",
        { cause: error },
      );
    }
  }

  #count(user: string, change: number): void {
    const count = (this.#byUser.get(user) ?? 0) + change;
    if (count > 0) this.#byUser.set(user, count);
    else this.#byUser.delete(user);
  }

  #check(): Timer {
    return this.#options.timers.after(CHECK_MS, () => {
      for (const session of [...this.#sessions]) {
        session.check();
        if (session.isOver) this.#sessions.delete(session);
      }
      this.#checks = this.#sessions.size > 0 && !this.#isClosed ? this.#check() : null;
    });
  }
}
