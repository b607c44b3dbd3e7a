/**
 * A TCP proxy between members of a group, with faults for each direction of each pair.
 *
 * Every member is dialled at an address of the proxy, which passes the connection on to where the member really
 * listens. A direction is "bytes from A to B", whoever of the two dialled:
 *
 * - cut: nothing passes, FIN and RST neither; it comes when the cut ends, as from a kernel that sends again. A new
 *   connection needs both directions.
 * - delay, bandwidth: bytes come later, in order.
 * - flip: one bit of what passes next is turned round.
 *
 * And of both directions: `reset` breaks the connections there are; `orphan` lets them hang for ever without a word (half-open: a
 * middlebox forgot them), while new ones work.
 *
 * The proxy holds at most `QUEUE_BYTES_MAX` for each direction of a connection; then its sender has to wait.
 * Who dials is read from the first bytes (`identify`), since all members share one host.
 * @module
 */
import { connect, createServer, type Server, type Socket } from "node:net";

export type ProxiedMember = {
  readonly name: string;
  /** Where others dial it: this proxy. */
  readonly listenHost: string;
  /** Where it listens itself. */
  readonly targetHost: string;
  /** Of both. */
  readonly port: number;
};

/** Who sent these first bytes; null while that cannot be told yet. */
export type Identify = (firstBytes: Uint8Array) => string | null;

export type DirectionCounts = {
  bytes: number;
  flips: number;
  heldChunks: number;
};

export type ProxyCounts = {
  connections: number;
  refused: number;
  resets: number;
  orphans: number;
  /** Connections whose dialler could not be told: no faults reach them, so there should be none. */
  unidentified: number;
};

const QUEUE_BYTES_MAX = 1024 * 1024;
/** Who has not said who it is by then will not. */
const IDENTIFY_BYTES_MAX = 4096;

/** Faults of the bytes from one member to another. */
export class Direction {
  readonly counts: DirectionCounts = { bytes: 0, flips: 0, heldChunks: 0 };
  delayMs = 0;
  bytesPerSecond = Number.POSITIVE_INFINITY;
  #isCut = false;
  #pendingFlips: number[] = [];
  readonly #wakers = new Set<() => void>();

  get isCut(): boolean {
    return this.#isCut;
  }

  cut(): void {
    this.#isCut = true;
  }

  /** Of the next bytes one bit is turned round. @param chance in [0, 1), says which */
  flip(chance: number): void {
    this.#pendingFlips.push(chance);
  }

  /** Ends all faults of this direction. */
  heal(): void {
    this.#isCut = false;
    this.delayMs = 0;
    this.bytesPerSecond = Number.POSITIVE_INFINITY;
    this.#pendingFlips = [];
    for (const wake of [...this.#wakers]) wake();
  }

  /** Calls back whenever a cut ends, until the returned function is called. */
  onHeal(wake: () => void): () => void {
    this.#wakers.add(wake);
    return () => this.#wakers.delete(wake);
  }

  damaged(bytes: Buffer): Buffer {
    const chance = bytes.length === 0 ? undefined : this.#pendingFlips.shift();
    if (chance === undefined) return bytes;
    this.counts.flips += 1;
    const bit = Math.floor(chance * bytes.length * 8);
    const copy = Buffer.from(bytes);
    copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    return copy;
  }
}

/**
 * Ends a connection with RST. Node's own `resetAndDestroy` first ends the stream in order; when anything else destroys it
 * meanwhile, the descriptor is never closed (libuv refuses to reset what is shutting down) and the loop spins.
 */
function resetNow(socket: Socket): void {
  // What resetAndDestroy sets, too; where it has another name the other side sees an end instead of a reset.
  if (!socket.writableEnded) Object.assign(socket, { resetAndClosing: true });
  socket.destroy();
}

type Parcel =
  | { readonly kind: "bytes"; readonly bytes: Buffer; readonly dueMs: number }
  | { readonly kind: "end" }
  | { readonly kind: "reset" };

/** Bytes of one connection, one way. */
class Pump {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #direction: Direction;
  readonly #unsubscribe: () => void;
  readonly #queue: Parcel[] = [];
  #queuedBytes = 0;
  #freeAtMs = 0;
  #timer: NodeJS.Timeout | null = null;
  #isBlocked = false;
  #isOrphan = false;

  constructor(from: Socket, to: Socket, direction: Direction) {
    this.#from = from;
    this.#to = to;
    this.#direction = direction;
    this.#unsubscribe = direction.onHeal(() => this.#drain());
    from.on("data", (bytes: Buffer) => this.push(bytes));
    from.on("end", () => this.#finish({ kind: "end" }));
    from.on("error", () => this.#finish({ kind: "reset" }));
    to.on("drain", () => {
      this.#isBlocked = false;
      this.#drain();
    });
    to.on("close", () => this.stop());
  }

  push(bytes: Buffer): void {
    if (this.#isOrphan) return;
    const { delayMs, bytesPerSecond } = this.#direction;
    const nowMs = performance.now();
    this.#freeAtMs = Math.max(this.#freeAtMs, nowMs) + (bytes.length / bytesPerSecond) * 1000;
    const dueMs = this.#freeAtMs + delayMs;
    this.#queue.push({ kind: "bytes", bytes: this.#direction.damaged(bytes), dueMs });
    this.#queuedBytes += bytes.length;
    if (this.#direction.isCut || dueMs > nowMs) this.#direction.counts.heldChunks += 1;
    if (this.#queuedBytes > QUEUE_BYTES_MAX) this.#from.pause();
    this.#drain();
  }

  #finish(parcel: Parcel): void {
    if (this.#isOrphan) return;
    this.#queue.push(parcel);
    this.#drain();
  }

  #drain(): void {
    while (!this.#direction.isCut && !this.#isBlocked && this.#timer === null) {
      const [parcel] = this.#queue;
      if (parcel === undefined) return;
      const waitMs = parcel.kind === "bytes" ? parcel.dueMs - performance.now() : 0;
      if (waitMs > 0) {
        this.#timer = setTimeout(() => {
          this.#timer = null;
          this.#drain();
        }, waitMs);
        return;
      }
      this.#queue.shift();
      this.#deliver(parcel);
    }
  }

  #deliver(parcel: Parcel): void {
    if (parcel.kind === "end") this.#to.end();
    else if (parcel.kind === "reset") resetNow(this.#to);
    else {
      this.#direction.counts.bytes += parcel.bytes.length;
      this.#queuedBytes -= parcel.bytes.length;
      if (this.#queuedBytes <= QUEUE_BYTES_MAX && this.#from.isPaused()) this.#from.resume();
      this.#isBlocked = !this.#to.write(parcel.bytes);
    }
  }

  /** From now on nothing passes, and nobody is told. */
  orphan(): void {
    this.#isOrphan = true;
    this.stop();
    // The side that gives up must be able to go.
    this.#from.once("end", () => this.#from.destroy());
    this.#from.resume();
  }

  stop(): void {
    this.#unsubscribe();
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#queue.length = 0;
    this.#queuedBytes = 0;
    this.#isBlocked = true;
  }
}

type Connection = {
  readonly from: string;
  readonly to: string;
  readonly near: Socket;
  readonly far: Socket;
  readonly pumps: readonly Pump[];
  isOrphan: boolean;
};

export class FaultProxy {
  readonly counts: ProxyCounts = {
    connections: 0,
    refused: 0,
    resets: 0,
    orphans: 0,
    unidentified: 0,
  };
  readonly #identify: Identify;
  readonly #directions = new Map<string, Direction>();
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #connections = new Set<Connection>();
  #isClosed = false;

  private constructor(identify: Identify) {
    this.#identify = identify;
  }

  static async open(members: readonly ProxiedMember[], identify: Identify): Promise<FaultProxy> {
    const proxy = new FaultProxy(identify);
    for (const { name: from } of members)
      for (const { name: to } of members)
        if (from !== to) proxy.#directions.set(`${from} ${to}`, new Direction());
    try {
      for (const member of members) await proxy.#listen(member);
    } catch (error) {
      await proxy.close();
      throw error;
    }
    return proxy;
  }

  /** Faults of the bytes from one member to another. */
  direction(from: string, to: string): Direction {
    const direction = this.#directions.get(`${from} ${to}`);
    if (direction === undefined) throw new Error(`There is no direction from ${from} to ${to}`);
    return direction;
  }

  get directions(): readonly Direction[] {
    return [...this.#directions.values()];
  }

  #between(a: string, b: string): Connection[] {
    return [...this.#connections].filter(
      ({ from, to, isOrphan }) =>
        !isOrphan && ((from === a && to === b) || (from === b && to === a)),
    );
  }

  /** Breaks the connections between two members with a reset. */
  reset(a: string, b: string): void {
    for (const { near, far } of this.#between(a, b)) {
      this.counts.resets += 1;
      resetNow(near);
      resetNow(far);
    }
  }

  /** The connections between two members lead nowhere from now on, and neither is told. */
  orphan(a: string, b: string): void {
    for (const connection of this.#between(a, b)) {
      this.counts.orphans += 1;
      connection.isOrphan = true;
      for (const pump of connection.pumps) pump.orphan();
    }
  }

  /** Ends all faults; connections that hang go on hanging. */
  heal(): void {
    for (const direction of this.#directions.values()) direction.heal();
  }

  #listen(member: ProxiedMember): Promise<void> {
    // Half-open on purpose: an end passes on as an end of that direction alone.
    const server = createServer({ noDelay: true, allowHalfOpen: true }, (near) =>
      this.#accept(near, member),
    );
    this.#servers.push(server);
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(member.port, member.listenHost, resolve);
    });
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    // What happened to one side reaches the other by the pumps.
    socket.on("error", () => {});
    socket.on("close", () => this.#sockets.delete(socket));
  }

  #accept(near: Socket, member: ProxiedMember): void {
    if (this.#isClosed) {
      near.destroy();
      return;
    }
    this.#keep(near);
    this.counts.connections += 1;
    let first = Buffer.alloc(0);
    const onData = (bytes: Buffer) => {
      first = Buffer.concat([first, bytes]);
      const from = this.#identify(first);
      if (from === null && first.length < IDENTIFY_BYTES_MAX) return;
      near.off("data", onData);
      near.off("end", onEnd);
      near.pause();
      if (from !== null && from !== member.name && this.#directions.has(`${from} ${member.name}`))
        this.#whenPassable(from, near, member, first);
      else {
        this.counts.unidentified += 1;
        near.destroy();
      }
    };
    const onEnd = () => near.destroy();
    near.on("data", onData);
    near.on("end", onEnd);
  }

  /** A connection is made once packets pass both ways. */
  #whenPassable(from: string, near: Socket, member: ProxiedMember, first: Buffer): void {
    const ways = [this.direction(from, member.name), this.direction(member.name, from)];
    if (ways.every(({ isCut }) => !isCut)) {
      this.#dial(from, near, member, first);
      return;
    }
    const stops = ways.map((way) => way.onHeal(() => again()));
    const stop = () => {
      for (const unsubscribe of stops) unsubscribe();
    };
    const again = () => {
      stop();
      near.off("close", stop);
      if (!near.destroyed) this.#whenPassable(from, near, member, first);
    };
    near.once("close", stop);
  }

  #dial(from: string, near: Socket, member: ProxiedMember, first: Buffer): void {
    const { targetHost: host, port } = member;
    const far = connect({ host, port, noDelay: true, allowHalfOpen: true });
    this.#keep(far);
    const onRefused = () => {
      this.counts.refused += 1;
      resetNow(near);
    };
    far.once("error", onRefused);
    far.once("connect", () => {
      far.off("error", onRefused);
      if (near.destroyed) {
        far.destroy();
        return;
      }
      const outward = new Pump(near, far, this.direction(from, member.name));
      const homeward = new Pump(far, near, this.direction(member.name, from));
      const pumps = [outward, homeward];
      const connection = { from, to: member.name, near, far, pumps, isOrphan: false };
      this.#connections.add(connection);
      const onClosed = () => {
        if (near.destroyed && far.destroyed) this.#connections.delete(connection);
      };
      near.on("close", onClosed);
      far.on("close", onClosed);
      outward.push(first);
      near.resume();
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(
      this.#servers.map(
        (server) => new Promise<void>((resolve) => void server.close(() => resolve())),
      ),
    );
  }
}
