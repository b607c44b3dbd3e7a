/**
 * Carries Raft's messages between the members: one TCP connection from each to each other one.
 *
 * Only members of the same group (the hash of all addresses) are let in, each under the incarnation that was first seen
 * of it. Whatever a connection brings, this process goes on: it is closed, counted, and told as an event.
 * @module
 */
import { createServer, type Server, type Socket } from "node:net";
import { messageOf, RockpoolError } from "../common/errors.ts";
import type { MemberId } from "../common/ids.ts";
import { InvariantError, invariant } from "../common/invariant.ts";
import type { Message } from "../raft/messages.ts";
import type { World } from "../world/ports.ts";
import { groupIdOf, memberIdOf, type PeerPins } from "./journal_folder.ts";
import {
  encodeFrame,
  FRAME_BYTES_MAX,
  type Frame,
  FrameReader,
  HELLO_BYTES_MAX,
  type Hello,
  PROTOCOL_VERSION,
  type Refusal,
} from "./peer_frame.ts";
import { PeerLink } from "./peer_link.ts";
import type { Crc32c } from "./record.ts";

/** A member says hello at once; anybody else is not waited for. */
const HELLO_TIMEOUT_MS = 2000;
/** Connections that have not said hello. Members need one each; the rest is room for their redials. */
const STRANGERS_MAX = 64;

export type TransportEvent =
  | { readonly kind: "peerConnected"; readonly address: string }
  | { readonly kind: "peerDisconnected"; readonly address: string; readonly reason: string }
  | { readonly kind: "peerDied"; readonly address: string }
  /** The peer's journal is not the one that was known under its address: it does not take part. */
  | {
      readonly kind: "peerWiped";
      readonly address: string;
      readonly message: string;
      readonly remedy: string;
    }
  /** A peer does not let this member in. */
  | {
      readonly kind: "refusedByPeer";
      readonly address: string;
      readonly reason: Refusal["reason"];
      readonly explanation: string;
    }
  /** A connection was closed because of what came over it. `count` rises with each. */
  | {
      readonly kind: "badConnection";
      readonly remote: string;
      readonly reason: string;
      readonly count: number;
    };

export type TransportOptions = {
  readonly address: string;
  readonly addresses: readonly string[];
  readonly incarnation: bigint;
  readonly folder: string;
  /** Where to listen. */
  readonly bindHost: string;
  readonly bindPort: number;
  readonly pins: PeerPins;
  readonly crc32c: Crc32c;
  readonly world: World;
  readonly onMessage: (message: Message) => void;
  readonly onPeerDied: (peer: MemberId) => void;
  readonly onEvent: (event: TransportEvent) => void;
};

type Peer = {
  readonly id: MemberId;
  readonly address: string;
  readonly link: PeerLink;
  /** The connection on which the peer sends. */
  inbound: Socket | null;
  heardMs: number;
  /** What was last told about it, so that a redial every two seconds does not fill the log. */
  lastComplaint: string;
};

export class RaftTransport {
  readonly #options: TransportOptions;
  readonly #self: MemberId;
  readonly #groupId: bigint;
  readonly #peers = new Map<MemberId, Peer>();
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #strangers = 0;
  #badCount = 0;
  #isClosed = false;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#self = memberIdOf(options.address);
    this.#groupId = groupIdOf(options.addresses);
    this.#server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
    for (const address of options.addresses)
      if (address !== options.address) this.#addPeer(address);
    invariant(this.#peers.size === options.addresses.length - 1, "member ids do not collide");
  }

  /** Listens, and begins to dial. @throws RockpoolError UNAVAILABLE when the port cannot be had */
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
    for (const peer of this.#peers.values()) peer.link.start();
  }

  /** Sends to `message.to`, or drops it when that is not possible now. */
  send(message: Message): void {
    this.#peers.get(message.to)?.link.send(message);
  }

  /** True while messages can be sent to a member. */
  isConnected(peer: MemberId): boolean {
    return this.#peers.get(peer)?.link.isReady ?? false;
  }

  /** Milliseconds since anything came from a member; Infinity for never. */
  silenceMs(peer: MemberId): number {
    const heardMs = this.#peers.get(peer)?.heardMs ?? Number.NEGATIVE_INFINITY;
    return this.#options.world.clock.monotonicMs() - heardMs;
  }

  #addPeer(address: string): void {
    const { crc32c, world } = this.#options;
    const id = memberIdOf(address);
    const link = new PeerLink({
      peer: id,
      address,
      crc32c,
      world,
      hello: {
        protocolVersion: PROTOCOL_VERSION,
        groupId: this.#groupId,
        from: this.#self,
        to: id,
        address: this.#options.address,
        incarnation: this.#options.incarnation,
      },
      onWelcome: (welcome) => welcome.from === id && this.#isKnown(id, welcome.incarnation),
      onRefusal: (refusal) => this.#onRefusal(id, refusal),
      onConnected: () => this.#options.onEvent({ kind: "peerConnected", address }),
      onClosed: (reason) => this.#options.onEvent({ kind: "peerDisconnected", address, reason }),
      onPeerDied: () => {
        this.#options.onEvent({ kind: "peerDied", address });
        this.#options.onPeerDied(id);
      },
      onHeard: () => this.#heard(id),
    });
    this.#peers.set(id, {
      id,
      address,
      link,
      inbound: null,
      heardMs: Number.NEGATIVE_INFINITY,
      lastComplaint: "",
    });
  }

  #heard(id: MemberId): void {
    const peer = this.#peers.get(id);
    if (peer !== undefined) peer.heardMs = this.#options.world.clock.monotonicMs();
  }

  /** False, and told, when the peer was known under another incarnation. */
  #isKnown(id: MemberId, incarnation: bigint): boolean {
    const peer = this.#peers.get(id);
    if (peer === undefined) return false;
    const { address } = peer;
    if (this.#options.pins.check(address, incarnation) === "known") return true;
    const complaint = `wiped ${incarnation}`;
    if (peer.lastComplaint === complaint) return false;
    peer.lastComplaint = complaint;
    this.#options.onEvent({
      kind: "peerWiped",
      address,
      message: `The journal of ${address} is not the one that this master knows: it was wiped or replaced, and has forgotten its votes and what it acknowledged. It is kept out`,
      remedy: `Restore the journal folder of ${address}. If it is lost, make sure that the other masters are up and agree, then remove ${address} from ${this.#options.folder}/peers.json on each of them and restart them one by one`,
    });
    return false;
  }

  #onRefusal(id: MemberId, refusal: Refusal): void {
    const peer = this.#peers.get(id);
    if (peer === undefined || peer.lastComplaint === refusal.reason) return;
    peer.lastComplaint = refusal.reason;
    const { address } = peer;
    this.#options.onEvent({ kind: "refusedByPeer", address, ...refusal });
  }

  #complain(remote: string, reason: string): void {
    this.#badCount += 1;
    this.#options.onEvent({ kind: "badConnection", remote, reason, count: this.#badCount });
  }

  #accept(socket: Socket): void {
    const remote = `${socket.remoteAddress}:${socket.remotePort}`;
    if (this.#isClosed || this.#strangers >= STRANGERS_MAX) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    this.#strangers += 1;
    const reader = new FrameReader(this.#options.crc32c, HELLO_BYTES_MAX);
    const inbound = new Inbound(socket, this.#options.crc32c);
    const deadline = this.#options.world.timers.after(HELLO_TIMEOUT_MS, () => {
      this.#complain(remote, `No hello within ${HELLO_TIMEOUT_MS} ms`);
      socket.destroy();
    });
    const known = () => {
      deadline.cancel();
      if (!inbound.isStranger) return;
      inbound.isStranger = false;
      this.#strangers -= 1;
    };
    socket.on("data", (chunk) => {
      try {
        for (const frame of reader.push(chunk)) {
          if (socket.destroyed) return;
          if (inbound.peer !== null) this.#onFrame(inbound, inbound.peer, frame);
          else if (frame.kind === "hello" && this.#onHello(inbound, frame.hello)) {
            known();
            reader.allow(FRAME_BYTES_MAX);
          } else if (frame.kind !== "hello") throw new Error("No hello came first");
        }
      } catch (error) {
        if (error instanceof InvariantError || inbound.isBroken(error)) throw error;
        this.#complain(remote, messageOf(error));
        socket.destroy();
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

  #onHello(inbound: Inbound, hello: Hello): boolean {
    const refusal = this.#refusalFor(hello);
    if (refusal !== null) {
      inbound.send({ kind: "refusal", refusal });
      inbound.socket.end();
      return false;
    }
    const peer = this.#peers.get(hello.from);
    invariant(peer !== undefined, "a member that is let in is a peer");
    // The peer dialled anew, so whatever is left of its older connection is dead.
    const older = peer.inbound;
    peer.inbound = inbound.socket;
    older?.destroy();
    inbound.peer = peer.id;
    const { incarnation } = this.#options;
    const welcome = { protocolVersion: PROTOCOL_VERSION, from: this.#self, incarnation };
    inbound.send({ kind: "welcome", welcome });
    peer.link.suspect();
    return true;
  }

  #refusalFor(hello: Hello): Refusal | null {
    const refuse = (reason: Refusal["reason"], explanation: string) => ({ reason, explanation });
    if (hello.protocolVersion !== PROTOCOL_VERSION)
      return refuse("protocolVersion", `This master speaks version ${PROTOCOL_VERSION}`);
    if (hello.groupId !== this.#groupId)
      return refuse(
        "otherGroup",
        `The addresses of the journal differ; here they are ${this.#options.addresses.join(",")}`,
      );
    if (hello.to !== this.#self)
      return refuse("otherTarget", `This master is ${this.#options.address}`);
    if (!this.#peers.has(hello.from))
      return refuse("notMember", `${hello.address} is not among the addresses of the journal`);
    if (!this.#isKnown(hello.from, hello.incarnation))
      return refuse(
        "wiped",
        `${this.#options.address} knew ${hello.address} with another journal, and keeps this one out`,
      );
    return null;
  }

  #onFrame(inbound: Inbound, from: MemberId, frame: Frame): void {
    this.#heard(from);
    if (frame.kind === "ping") inbound.send({ kind: "pong" });
    else if (frame.kind === "message") {
      if (frame.message.from !== from || frame.message.to !== this.#self)
        throw new Error("A message bears another member's name");
      inbound.deliver(() => this.#options.onMessage(frame.message));
    } else throw new Error(`A ${frame.kind} came out of turn`);
  }

  #onInboundClosed(inbound: Inbound): void {
    const peer = inbound.peer === null ? undefined : this.#peers.get(inbound.peer);
    if (peer === undefined || peer.inbound !== inbound.socket) return;
    peer.inbound = null;
    if (!this.#isClosed) peer.link.suspect();
  }

  /** Drops every connection and stops listening. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const peer of this.#peers.values()) peer.link.close();
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
  peer: MemberId | null = null;
  isStranger = true;
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
  deliver(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.#ownFailure = error;
      throw error;
    }
  }

  isBroken(error: unknown): boolean {
    return this.#ownFailure !== null && this.#ownFailure === error;
  }
}
