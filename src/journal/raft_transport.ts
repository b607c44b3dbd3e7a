/**
 * Carries Raft's messages between the masters over TCP: one connection from each to each other one, and one more while a
 * checkpoint is fetched.
 *
 * Who is let in is judged by its owner, from the greetings. Whatever a connection brings, this process goes on: the
 * connection is closed, counted, and told as an event.
 * @module
 */
import { createServer, type Server, type Socket } from "node:net";
import { messageOf, RockpoolError } from "../common/errors.ts";
import type { MemberId } from "../common/ids.ts";
import { InvariantError } from "../common/invariant.ts";
import { NOBODY } from "../raft/membership.ts";
import type { Membership, Message, Position } from "../raft/messages.ts";
import type { World } from "../world/ports.ts";
import { CheckpointClient } from "./checkpoint_client.ts";
import {
  encodeFrame,
  FRAME_BYTES_MAX,
  type Frame,
  FrameReader,
  HELLO_BYTES_MAX,
  type Hello,
  type HelloAnswer,
  PROTOCOL_VERSION,
} from "./peer_frame.ts";
import { PeerLink } from "./peer_link.ts";
import type {
  Answer,
  CheckpointChunk,
  CreateTransport,
  Greeting,
  PeerHandlers,
  PeerTransport,
  TransportOptions,
} from "./peer_transport.ts";
import type { Crc32c } from "./record.ts";

/** A member says hello at once; anybody else is not waited for. */
const HELLO_TIMEOUT_MS = 2000;
/** Of a connection on which checkpoints are fetched: its other end closes it much sooner, unless it is gone. */
const CHECKPOINT_IDLE_MS = 60_000;
/** Connections that have not said hello. Members need one each; the rest is room for their redials. */
const STRANGERS_MAX = 64;
/** Memberships are much smaller. The rest is room for guests, of which the oldest goes first. */
const PEERS_MAX = 64;
/** Whoever is at that address. */
const ANYBODY = 0n as MemberId; // No hash gives it.

type Peer = {
  /** Null: a seed, until it has said who it is. */
  id: MemberId | null;
  readonly address: string;
  readonly link: PeerLink;
  /** The connection on which the peer sends. */
  inbound: Socket | null;
  /** With which it was let in. */
  greeting: Greeting | null;
  heardMs: number;
};

/** The transport of the product. */
export function tcpTransport(crc32c: Crc32c, world: World): CreateTransport {
  return (options, handlers) => new RaftTransport(options, handlers, crc32c, world);
}

export class RaftTransport implements PeerTransport {
  readonly #options: TransportOptions;
  readonly #handlers: PeerHandlers;
  readonly #crc32c: Crc32c;
  readonly #world: World;
  readonly #byAddress = new Map<string, Peer>();
  readonly #byId = new Map<MemberId, Peer>();
  readonly #checkpoints = new Map<MemberId, CheckpointClient>();
  /** Members and seeds, by address; the ids of seeds are not known. All other peers are guests. */
  #wanted: ReadonlyMap<string, MemberId | null> = new Map();
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #strangers = 0;
  #badCount = 0;
  #isStarted = false;
  #isClosed = false;

  constructor(options: TransportOptions, handlers: PeerHandlers, crc32c: Crc32c, world: World) {
    this.#options = options;
    this.#handlers = handlers;
    this.#crc32c = crc32c;
    this.#world = world;
    this.#server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
    this.#want(NOBODY);
  }

  async start(): Promise<void> {
    const { bindHost, bindPort } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", (cause) =>
        reject(
          new RockpoolError(
            "UNAVAILABLE",
            `Cannot listen for the other masters on ${bindHost}:${bindPort}: ${messageOf(cause)}`,
            "Free the port, or set alluxio.master.embedded.journal.port",
            { cause },
          ),
        ),
      );
      this.#server.listen(bindPort, bindHost, resolve);
    });
    // Later errors of a listener (no more descriptors) come back with the next connection.
    this.#server.on("error", (error) => this.#complain("listener", messageOf(error)));
    this.#isStarted = true;
    if (this.#isClosed) return;
    for (const peer of this.#byAddress.values()) peer.link.start();
  }

  // — whom it talks to —

  setMembership(membership: Membership): void {
    if (!this.#isClosed) this.#want(membership);
  }

  #want({ addresses }: Membership): void {
    const self = this.#options.address;
    const wanted = new Map<string, MemberId | null>();
    for (const [id, address] of addresses) if (address !== self) wanted.set(address, id);
    if (addresses.size === 0)
      for (const address of this.#options.seeds) if (address !== self) wanted.set(address, null);
    this.#wanted = wanted;
    for (const peer of [...this.#byAddress.values()]) {
      const id = wanted.get(peer.address);
      const isAnother = id === undefined || (id !== null && peer.id !== null && id !== peer.id);
      if (!isAnother && id !== null) this.#name(peer, id);
      else if (isAnother && !this.#isWelcome(peer)) this.#drop(peer);
    }
    for (const [address, id] of wanted) if (!this.#byAddress.has(address)) this.#add(id, address);
  }

  #isWelcome({ id, greeting }: Peer): boolean {
    return greeting !== null && greeting.id === id && this.#handlers.isWelcome(greeting);
  }

  #add(id: MemberId | null, address: string): Peer {
    const link = new PeerLink({
      address,
      crc32c: this.#crc32c,
      world: this.#world,
      hello: () => ({
        protocolVersion: PROTOCOL_VERSION,
        purpose: "messages",
        to: peer.id ?? ANYBODY,
        greeting: this.#options.greeting(peer.id),
      }),
      onAnswer: (answer) => this.#onAnswer(peer, answer),
      onConnected: () => this.#handlers.onEvent({ kind: "peerConnected", address }),
      onClosed: (reason) => this.#handlers.onEvent({ kind: "peerDisconnected", address, reason }),
      onPeerDied: () => {
        this.#handlers.onEvent({ kind: "peerDied", address });
        if (peer.id !== null) this.#handlers.onPeerDied(peer.id);
      },
      onHeard: () => this.#heard(peer),
    });
    const heardMs = Number.NEGATIVE_INFINITY;
    const peer: Peer = { id, address, link, inbound: null, greeting: null, heardMs };
    this.#byAddress.set(address, peer);
    if (id !== null) this.#byId.set(id, peer);
    if (this.#isStarted) link.start();
    return peer;
  }

  #name(peer: Peer, id: MemberId): void {
    if (peer.id !== null) this.#byId.delete(peer.id);
    peer.id = id;
    this.#byId.set(id, peer);
  }

  #drop(peer: Peer): void {
    this.#byAddress.delete(peer.address);
    if (peer.id !== null) {
      this.#byId.delete(peer.id);
      this.#checkpoints.get(peer.id)?.close();
      this.#checkpoints.delete(peer.id);
    }
    peer.link.close();
    peer.inbound?.destroy();
  }

  send(message: Message): void {
    this.#byId.get(message.to)?.link.send(message);
  }

  isConnected(peer: MemberId): boolean {
    return this.#byId.get(peer)?.link.isReady ?? false;
  }

  silenceMs(peer: MemberId): number {
    const heardMs = this.#byId.get(peer)?.heardMs ?? Number.NEGATIVE_INFINITY;
    return this.#world.clock.monotonicMs() - heardMs;
  }

  #heard(peer: Peer): void {
    peer.heardMs = this.#world.clock.monotonicMs();
  }

  #onAnswer(peer: Peer, answer: HelloAnswer): boolean {
    const { greeting, refusal, knownAs, protocolVersion } = answer;
    const isExpected = peer.id === null || greeting.id === peer.id;
    const isFit = this.#handlers.onAnswer(greeting, { refusal, knownAs });
    const isAccepted =
      isFit && isExpected && refusal === null && protocolVersion === PROTOCOL_VERSION;
    // The owner may have let go of it just now.
    if (isAccepted && this.#byAddress.get(peer.address) === peer) this.#name(peer, greeting.id);
    return isAccepted;
  }

  #complain(remote: string, reason: string): void {
    this.#badCount += 1;
    this.#handlers.onEvent({ kind: "badConnection", remote, reason, count: this.#badCount });
  }

  // — who calls —

  #accept(socket: Socket): void {
    const remote = `${socket.remoteAddress}:${socket.remotePort}`;
    if (this.#isClosed || this.#strangers >= STRANGERS_MAX) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    this.#strangers += 1;
    const reader = new FrameReader(this.#crc32c, HELLO_BYTES_MAX);
    const inbound = new Inbound(socket, this.#crc32c);
    const deadline = this.#world.timers.after(HELLO_TIMEOUT_MS, () => {
      this.#complain(remote, `No hello within ${HELLO_TIMEOUT_MS} ms`);
      socket.destroy();
    });
    const known = () => {
      deadline.cancel();
      if (!inbound.isStranger) return;
      inbound.isStranger = false;
      this.#strangers -= 1;
    };
    const fail = (error: unknown) => {
      if (error instanceof InvariantError || inbound.isBroken(error)) throw error;
      this.#complain(remote, messageOf(error));
      socket.destroy();
    };
    socket.on("data", (chunk) => {
      try {
        for (const frame of reader.push(chunk)) {
          if (socket.destroyed || socket.writableEnded) return;
          if (inbound.purpose !== null) this.#onFrame(inbound, frame, fail);
          else if (frame.kind !== "hello") throw new Error("No hello came first");
          else if (this.#onHello(inbound, frame.hello)) {
            known();
            reader.allow(FRAME_BYTES_MAX);
          }
        }
      } catch (error) {
        fail(error);
      }
    });
    // "close" follows, and says all that matters here.
    socket.on("error", () => {});
    socket.on("close", () => {
      known();
      this.#sockets.delete(socket);
      this.#onInboundClosed(inbound);
    });
  }

  #onHello(inbound: Inbound, { greeting: said, purpose, protocolVersion, to }: Hello): boolean {
    const own = this.#options.greeting(said.id);
    const greeting = to === own.id ? said : { ...said, namesAsOf: null };
    const { refusal, knownAs } = this.#judge(protocolVersion, to, own.id, () =>
      inbound.deliver(() => this.#handlers.onGreeting(greeting)),
    );
    const answer = { protocolVersion: PROTOCOL_VERSION, greeting: own, refusal, knownAs };
    inbound.send({ kind: "answer", answer });
    if (refusal !== null) {
      inbound.socket.end();
      // It is up: whatever we wait for before we dial it again, we need not.
      this.#byAddress.get(greeting.address)?.link.suspect();
      return false;
    }
    inbound.purpose = purpose;
    inbound.from = greeting.id;
    if (purpose === "checkpoint") {
      inbound.socket.setTimeout(CHECKPOINT_IDLE_MS, () => inbound.socket.destroy());
      return true;
    }
    const peer = this.#peerFor(greeting.id, greeting.address);
    // The peer dialled anew, so whatever is left of its older connection is dead.
    const older = peer.inbound;
    peer.inbound = inbound.socket;
    peer.greeting = greeting;
    older?.destroy();
    inbound.peer = peer;
    this.#heard(peer);
    peer.link.suspect();
    return true;
  }

  #judge(protocolVersion: number, to: MemberId, self: MemberId, ask: () => Answer): Answer {
    const refuse = (
      reason: "protocolVersion" | "otherTarget",
      explanation: string,
      { knownAs }: Pick<Answer, "knownAs">,
    ): Answer => ({ refusal: { reason, explanation }, knownAs });
    if (protocolVersion !== PROTOCOL_VERSION)
      return refuse("protocolVersion", `This master speaks version ${PROTOCOL_VERSION}`, {
        knownAs: "nobody",
      });
    const answer = ask();
    if (to !== ANYBODY && to !== self && answer.refusal?.reason !== "removed")
      return refuse(
        "otherTarget",
        `This master is ${this.#options.address} under another id`,
        answer,
      );
    return answer;
  }

  /** Who is welcome gets its messages answered, also when no membership that we know names it. */
  #peerFor(id: MemberId, address: string): Peer {
    const known = this.#byId.get(id);
    if (known !== undefined) return known;
    const there = this.#byAddress.get(address);
    if (there !== undefined && there.id === null) {
      this.#name(there, id);
      return there;
    }
    if (there !== undefined) this.#drop(there);
    if (this.#byAddress.size >= PEERS_MAX) this.#dropGuest();
    return this.#add(id, address);
  }

  #dropGuest(): void {
    for (const peer of this.#byAddress.values())
      if (!this.#wanted.has(peer.address)) {
        this.#drop(peer);
        return;
      }
  }

  #onFrame(inbound: Inbound, frame: Frame, fail: (error: unknown) => void): void {
    const { peer } = inbound;
    if (inbound.purpose === "checkpoint") {
      if (frame.kind !== "fetch" || inbound.isFetching)
        throw new Error(`A ${frame.kind} came out of turn`);
      inbound.isFetching = true;
      void this.#serve(inbound, frame.fetch).catch(fail);
      return;
    }
    if (peer === null) return;
    this.#heard(peer);
    if (frame.kind === "ping") inbound.send({ kind: "pong" });
    else if (frame.kind === "message") {
      const { from, to } = frame.message;
      if (from !== inbound.from || to !== this.#options.greeting(null).id)
        throw new Error("A message bears another member's name");
      inbound.deliver(() => this.#handlers.onMessage(frame.message));
    } else throw new Error(`A ${frame.kind} came out of turn`);
  }

  async #serve(
    inbound: Inbound,
    {
      index,
      term,
      offsetBytes,
      lengthBytes,
    }: Position & { offsetBytes: number; lengthBytes: number },
  ): Promise<void> {
    if (lengthBytes > FRAME_BYTES_MAX / 2) throw new Error(`A fetch of ${lengthBytes} B`);
    const chunk = await this.#handlers.readCheckpoint({ index, term }, offsetBytes, lengthBytes);
    inbound.isFetching = false;
    if (!inbound.socket.destroyed) inbound.send({ kind: "chunk", chunk });
  }

  #onInboundClosed(inbound: Inbound): void {
    const { peer } = inbound;
    if (peer === null || peer.inbound !== inbound.socket) return;
    peer.inbound = null;
    if (!this.#isClosed) peer.link.suspect();
  }

  // — checkpoints —

  fetchCheckpoint(
    peer: MemberId,
    position: Position,
    offsetBytes: number,
    lengthBytes: number,
  ): Promise<CheckpointChunk> {
    const address = this.#byId.get(peer)?.address;
    if (address === undefined || this.#isClosed)
      return Promise.reject(
        new RockpoolError(
          "UNAVAILABLE",
          "The master that has the checkpoint is not connected",
          "It is asked again by itself",
        ),
      );
    let client = this.#checkpoints.get(peer);
    if (client === undefined || client.isClosed) {
      client = new CheckpointClient({
        address,
        crc32c: this.#crc32c,
        world: this.#world,
        hello: {
          protocolVersion: PROTOCOL_VERSION,
          purpose: "checkpoint",
          to: peer,
          greeting: this.#options.greeting(peer),
        },
      });
      this.#checkpoints.set(peer, client);
    }
    return client.fetch(position, offsetBytes, lengthBytes);
  }

  /** Drops every connection and stops listening. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const peer of this.#byAddress.values()) peer.link.close();
    for (const client of this.#checkpoints.values()) client.close();
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => {
      // It calls back with an error when it never listened, which is as good.
      this.#server.close(() => resolve());
    });
  }
}

/** One accepted connection. */
class Inbound {
  readonly socket: Socket;
  readonly #crc32c: Crc32c;
  /** Null until it is welcome. */
  purpose: Hello["purpose"] | null = null;
  from: MemberId | null = null;
  peer: Peer | null = null;
  isStranger = true;
  isFetching = false;
  #sequence = 0;
  #ownFailure: unknown = null;

  constructor(socket: Socket, crc32c: Crc32c) {
    this.socket = socket;
    this.#crc32c = crc32c;
  }

  send(frame: Frame): void {
    this.#sequence += 1;
    this.socket.write(encodeFrame(frame, this.#sequence, this.#crc32c));
  }

  /** Keeps failures of our own code apart from those of the bytes: they must not be taken for a bad peer. */
  deliver<T>(act: () => T): T {
    try {
      return act();
    } catch (error) {
      this.#ownFailure = error;
      throw error;
    }
  }

  isBroken(error: unknown): boolean {
    return this.#ownFailure !== null && this.#ownFailure === error;
  }
}
