/**
 * The masters' peer transport over the simulated network; the port says what it promises.
 *
 * As TCP does it: a connection for each direction, what it carries arrives in order or not at all; when a process dies its
 * kernel closes its connections, and the peer that dials again is refused. A host without power, or behind a cut,
 * answers nothing, which pings find out. Beyond that a message may be dropped when it is sent (a full buffer), and after a
 * connection was replaced the last ones of the old one may come once more.
 * @module
 */
import { RockpoolError } from "../../src/common/errors.ts";
import type { MemberId } from "../../src/common/ids.ts";
import type {
  Answer,
  CheckpointChunk,
  Greeting,
  PeerHandlers,
  PeerTransport,
  TransportOptions,
} from "../../src/journal/peer_transport.ts";
import { NOBODY } from "../../src/raft/membership.ts";
import type { Membership, Message, Position } from "../../src/raft/messages.ts";
import { type Network, Pipe } from "./network.ts";
import type { SimRandom } from "./random.ts";
import type { Lane } from "./scheduler.ts";

const REDIAL_MIN_MS = 20;
const REDIAL_MAX_MS = 200;
const REDIAL_REFUSED_MS = 500;
const DIAL_TIMEOUT_MS = 1000;
const PING_INTERVAL_MS = 250;
const PING_TIMEOUT_MS = 1000;
const FETCH_TIMEOUT_MS = 2000;
const REPEATED_MAX = 3;

export type TransportTraits = {
  /** Chance that a message is dropped when it is sent. */
  lossChance: number;
  /** Chance that the last messages of a connection come again on the next one. */
  repeatChance: number;
};

/** All transports that listen, and what they share. */
export class PeerNet {
  readonly network: Network;
  readonly random: SimRandom;
  readonly traits: TransportTraits;
  readonly listening = new Map<string, VirtualTransport>();
  /** Sees every message before it leaves. */
  onSend: (lane: Lane, message: Message) => void = () => {};
  onFault: (kind: string) => void = () => {};

  constructor(network: Network, random: SimRandom, traits: TransportTraits) {
    this.network = network;
    this.random = random;
    this.traits = traits;
  }

  listenerAt(address: string): VirtualTransport | null {
    const found = this.listening.get(address);
    return found?.lane.isAlive === true ? found : null;
  }

  /** The connections of a process that ends: its kernel says so, if the host has power. */
  kill(lane: Lane, hasPower: boolean): void {
    for (const [address, transport] of [...this.listening])
      if (transport.lane === lane) {
        this.listening.delete(address);
        transport.killed(hasPower);
      }
  }

  /** A box in the middle forgets its connections. */
  resetAll(choose: (fromHost: string, toHost: string) => boolean): void {
    for (const transport of [...this.listening.values()]) transport.reset(choose);
  }
}

type Wire =
  | { readonly kind: "message"; readonly message: Message }
  | { readonly kind: "ping" }
  | { readonly kind: "close" };

/** A connection on which `near` sends. */
class Connection {
  readonly near: VirtualTransport;
  readonly far: VirtualTransport;
  readonly peer: MemberId;
  readonly there: Pipe<Wire>;
  readonly back: Pipe<"pong" | "close">;
  isOpen = true;
  lastSent: Message[] = [];
  /** What waits in the socket of a process that stands still. */
  #held: Wire[] = [];
  readonly #net: PeerNet;

  constructor(net: PeerNet, near: VirtualTransport, far: VirtualTransport, peer: MemberId) {
    this.#net = net;
    this.near = near;
    this.far = far;
    this.peer = peer;
    const { network } = net;
    const [from, to] = [near.lane.host, far.lane.host];
    this.there = new Pipe(network, from.name, to.name, (wire) => {
      if (!to.isUp) return;
      if (!far.lane.isAlive || far.isClosed) this.back.push("close");
      else this.#deliver(wire);
    });
    this.back = new Pipe(network, to.name, from.name, (word) => {
      if (near.lane.isAlive)
        network.scheduler.after(0, near.lane, word, () => near.answered(this, word));
    });
  }

  /** A process that goes on after a pause does not read all of its sockets before it does anything else. */
  #deliver(wire: Wire): void {
    const { far } = this;
    const { scheduler } = this.#net.network;
    if (this.#held.length === 0 && !far.lane.isPaused) {
      scheduler.after(0, far.lane, wire.kind, () => far.received(this, wire));
      return;
    }
    this.#held.push(wire);
    if (this.#held.length > 1) return;
    far.lane.onResume.push(() =>
      scheduler.after(this.#net.random.skewed(0.05, 5), far.lane, "drain", () => {
        const held = this.#held;
        this.#held = [];
        for (const each of held) far.received(this, each);
      }),
    );
  }
}

class Link {
  readonly address: string;
  connection: Connection | null = null;
  /** Null: a seed, until it has said who it is. */
  peer: MemberId | null;
  /** With which the peer was let in. */
  greeting: Greeting | null = null;
  wasReady = false;
  heardMs = Number.NEGATIVE_INFINITY;
  redialMs = REDIAL_MIN_MS;
  /** Dials that are out of date find another number. */
  attempt = 0;
  leftOver: Message[] = [];

  constructor(address: string, peer: MemberId | null) {
    this.address = address;
    this.peer = peer;
  }
}

export class VirtualTransport implements PeerTransport {
  readonly lane: Lane;
  readonly options: TransportOptions;
  readonly #net: PeerNet;
  readonly #handlers: PeerHandlers;
  readonly #links = new Map<string, Link>();
  /** By the peer that dialled. */
  readonly #inbound = new Map<MemberId, Connection>();
  readonly #heardMs = new Map<MemberId, number>();
  isClosed = false;

  constructor(net: PeerNet, lane: Lane, options: TransportOptions, handlers: PeerHandlers) {
    this.#net = net;
    this.lane = lane;
    this.options = options;
    this.#handlers = handlers;
    this.setMembership(NOBODY);
  }

  #after(delayMs: number, label: string, act: () => void): void {
    this.#net.network.scheduler.after(delayMs, this.lane, label, () => {
      if (!this.isClosed) act();
    });
  }

  start(): Promise<void> {
    const { address } = this.options;
    return new Promise((resolve, reject) => {
      this.#after(0.1, "listen", () => {
        if (this.#net.listenerAt(address) !== null) {
          reject(new RockpoolError("UNAVAILABLE", `Address ${address} is taken`, ""));
          return;
        }
        this.#net.listening.set(address, this);
        for (const link of this.#links.values()) this.#dial(link);
        resolve();
      });
    });
  }

  /** Members, or seeds; beyond these the guests that still are welcome. */
  setMembership({ addresses }: Membership): void {
    if (this.isClosed) return;
    const wanted = new Map<string, MemberId | null>();
    for (const [id, address] of addresses) wanted.set(address, id);
    if (addresses.size === 0) for (const seed of this.options.seeds) wanted.set(seed, null);
    wanted.delete(this.options.address);
    for (const link of [...this.#links.values()]) {
      const id = wanted.get(link.address);
      const isAnother = id === undefined || (id !== null && link.peer !== null && id !== link.peer);
      if (!isAnother) link.peer = id ?? link.peer;
      else if (!this.#isWelcome(link)) this.#drop(link);
    }
    for (const [address, id] of wanted) if (!this.#links.has(address)) this.#add(address, id);
  }

  #isWelcome({ peer, greeting }: Link): boolean {
    return greeting !== null && greeting.id === peer && this.#handlers.isWelcome(greeting);
  }

  #add(address: string, peer: MemberId | null): Link {
    const link = new Link(address, peer);
    this.#links.set(address, link);
    if (this.#net.listening.get(this.options.address) === this) this.#dial(link);
    return link;
  }

  #drop(link: Link): void {
    this.#links.delete(link.address);
    link.attempt += 1;
    this.#close(link, false);
    for (const [id, connection] of this.#inbound)
      if (connection.near.options.address === link.address) {
        this.#inbound.delete(id);
        connection.isOpen = false;
        connection.back.push("close");
      }
  }

  #dial(link: Link): void {
    if (this.isClosed || this.#links.get(link.address) !== link) return;
    const { network } = this.#net;
    link.attempt += 1;
    const { attempt } = link;
    const isCurrent = () => !this.isClosed && link.attempt === attempt && link.connection === null;
    const here = this.lane.host.name;
    const there = link.address.slice(0, link.address.lastIndexOf(":"));
    this.#after(DIAL_TIMEOUT_MS, "dialTimeout", () => {
      if (isCurrent()) this.#redial(link, this.#backOff(link));
    });
    const reply = (act: () => void) => {
      if (network.isCut(there, here)) return;
      network.scheduler.after(network.delayMs(there, here), this.lane, "dialled", () => {
        if (isCurrent()) act();
      });
    };
    const expected = link.peer;
    const greeting = this.options.greeting(expected);
    network.scheduler.after(network.delayMs(here, there), null, "dial", () => {
      if (network.isCut(here, there) || network.hosts.get(there)?.isUp === false) return;
      const far = this.#net.listenerAt(link.address);
      if (far === null) reply(() => this.#refused(link));
      else
        network.scheduler.after(0, far.lane, "greeting", () => {
          if (far.isClosed) return;
          const { own, answer, connection } = far.greeted(this, greeting, expected);
          reply(() => this.#onAnswer(link, connection, own, answer));
        });
    });
  }

  /** Somebody calls. @param expected whom it means to call; null: whoever is here */
  greeted(near: VirtualTransport, said: Greeting, expected: MemberId | null) {
    const own = this.options.greeting(said.id);
    const greeting = expected === own.id ? said : { ...said, namesAsOf: null };
    const judged = this.#handlers.onGreeting(greeting);
    const isOther = expected !== null && expected !== own.id;
    const answer: Answer =
      isOther && judged.refusal?.reason !== "removed"
        ? { ...judged, refusal: { reason: "otherTarget", explanation: "It has another id" } }
        : judged;
    const connection = new Connection(this.#net, near, this, own.id);
    if (answer.refusal === null) {
      this.#linkFor(greeting).greeting = greeting;
      const older = this.#inbound.get(greeting.id);
      if (older !== undefined) {
        older.isOpen = false;
        older.back.push("close");
      }
      this.#inbound.set(greeting.id, connection);
      this.#heardMs.set(greeting.id, this.#net.network.scheduler.nowMs);
    }
    return { own, answer, connection };
  }

  /** Who is welcome gets its messages answered, also when no membership that is known here names it. */
  #linkFor({ id, address }: Greeting): Link {
    const there = this.#links.get(address);
    if (there !== undefined && (there.peer === id || there.peer === null)) {
      there.peer = id;
      return there;
    }
    if (there !== undefined) this.#drop(there);
    return this.#add(address, id);
  }

  #refused(link: Link): void {
    if (link.wasReady && link.peer !== null) {
      link.wasReady = false;
      this.#net.onFault("peerDied");
      this.#handlers.onEvent({ kind: "peerDied", address: link.address });
      this.#handlers.onPeerDied(link.peer);
    }
    this.#redial(link, this.#backOff(link));
  }

  #backOff(link: Link): number {
    const waitMs = link.redialMs * this.#net.random.between(0.5, 1);
    link.redialMs = Math.min(REDIAL_MAX_MS, 2 * link.redialMs);
    return waitMs;
  }

  #redial(link: Link, delayMs: number): void {
    const { attempt } = link;
    this.#after(delayMs, "redial", () => {
      if (link.attempt === attempt) this.#dial(link);
    });
  }

  #onAnswer(link: Link, connection: Connection, own: Greeting, answer: Answer): void {
    const isFit = this.#handlers.onAnswer(own, answer);
    // What it was told may have made the owner let go of this link.
    if (this.isClosed || this.#links.get(link.address) !== link) return;
    const isExpected = link.peer === null || link.peer === own.id;
    if (answer.refusal !== null || !isFit || !isExpected) {
      const why = answer.refusal?.reason ?? "it is not accepted here";
      this.#net.network.scheduler.onLine?.(
        `              ${this.lane.name} called ${link.address}: ${why}`,
      );
      connection.isOpen = false;
      connection.there.push({ kind: "close" });
      this.#redial(link, REDIAL_REFUSED_MS);
      return;
    }
    const { nowMs } = this.#net.network.scheduler;
    Object.assign(link, { connection, peer: own.id, wasReady: true, heardMs: nowMs });
    link.redialMs = REDIAL_MIN_MS;
    this.#heardMs.set(own.id, nowMs);
    this.#handlers.onEvent({ kind: "peerConnected", address: link.address });
    const { leftOver } = link;
    link.leftOver = [];
    if (leftOver.length > 0 && this.#net.random.chance(this.#net.traits.repeatChance)) {
      this.#net.onFault("repeated");
      for (const message of leftOver)
        if (message.to === own.id) connection.there.push({ kind: "message", message });
    }
    this.#schedulePing(link, connection);
  }

  #schedulePing(link: Link, connection: Connection): void {
    const sentMs = this.#net.network.scheduler.nowMs;
    this.#after(PING_INTERVAL_MS, "ping", () => {
      if (link.connection !== connection) return;
      const { nowMs } = this.#net.network.scheduler;
      // Who stood still itself is no witness against the peer.
      if (nowMs - sentMs > 2 * PING_INTERVAL_MS) link.heardMs = nowMs;
      if (nowMs - link.heardMs > PING_TIMEOUT_MS) {
        this.#broken(link, "No answer to pings");
        return;
      }
      connection.there.push({ kind: "ping" });
      this.#schedulePing(link, connection);
    });
  }

  /** Something came over a connection of somebody who dialled here. */
  received(connection: Connection, wire: Wire): void {
    if (this.isClosed) connection.back.push("close");
    const from = [...this.#inbound].find(([, each]) => each === connection)?.[0];
    if (this.isClosed || from === undefined) return;
    if (wire.kind === "close") this.#inbound.delete(from);
    else if (connection.isOpen) {
      this.#heardMs.set(from, this.#net.network.scheduler.nowMs);
      if (wire.kind === "message") this.#handlers.onMessage(wire.message);
      else connection.back.push("pong");
    }
  }

  /** Something came back over a connection that was dialled from here. */
  answered(connection: Connection, word: "pong" | "close"): void {
    const link = [...this.#links.values()].find((each) => each.connection === connection);
    if (this.isClosed || link === undefined) return;
    link.heardMs = this.#net.network.scheduler.nowMs;
    this.#heardMs.set(connection.peer, link.heardMs);
    if (word === "close") this.#broken(link, "closed by the peer");
  }

  #broken(link: Link, reason: string): void {
    this.#close(link, true);
    this.#handlers.onEvent({ kind: "peerDisconnected", address: link.address, reason });
    this.#redial(link, 0);
  }

  /** @param isLost what is under way does not arrive */
  #close(link: Link, isLost: boolean): void {
    const { connection } = link;
    link.connection = null;
    if (connection === null) return;
    link.leftOver = connection.lastSent;
    if (isLost) connection.isOpen = false;
    connection.there.push({ kind: "close" });
  }

  send(message: Message): void {
    if (this.isClosed || !this.lane.isAlive) return;
    this.#net.onSend(this.lane, message);
    const link = [...this.#links.values()].find(
      ({ peer, connection }) => connection !== null && peer === message.to,
    );
    const connection = link?.connection ?? null;
    if (connection === null) return;
    if (this.#net.random.chance(this.#net.traits.lossChance)) {
      this.#net.onFault("loss");
      return;
    }
    connection.lastSent.push(message);
    if (connection.lastSent.length > REPEATED_MAX) connection.lastSent.shift();
    connection.there.push({ kind: "message", message });
  }

  isConnected(peer: MemberId): boolean {
    for (const link of this.#links.values())
      if (link.peer === peer && link.connection !== null) return true;
    return false;
  }

  silenceMs(peer: MemberId): number {
    const heardMs = this.#heardMs.get(peer) ?? Number.NEGATIVE_INFINITY;
    return this.#net.network.scheduler.nowMs - heardMs;
  }

  fetchCheckpoint(
    peer: MemberId,
    position: Position,
    offsetBytes: number,
    lengthBytes: number,
  ): Promise<CheckpointChunk> {
    const { network } = this.#net;
    const here = this.lane.host.name;
    const link = [...this.#links.values()].find((each) => each.peer === peer);
    const unreachable = (why: string) => new RockpoolError("UNAVAILABLE", why, "");
    if (link === undefined) return Promise.reject(unreachable("This peer is not known"));
    const there = link.address.slice(0, link.address.lastIndexOf(":"));
    return new Promise((resolve, reject) => {
      this.#after(FETCH_TIMEOUT_MS, "fetchTimeout", () => reject(unreachable("No answer")));
      const reply = (act: () => void) => {
        if (network.isCut(there, here)) return;
        network.scheduler.after(network.delayMs(there, here), this.lane, "chunk", act);
      };
      network.scheduler.after(network.delayMs(here, there), null, "fetch", () => {
        if (network.isCut(here, there) || network.hosts.get(there)?.isUp === false) return;
        const far = this.#net.listenerAt(link.address);
        if (far === null) {
          reply(() => reject(unreachable("Nobody listens there")));
          return;
        }
        network.scheduler.after(0, far.lane, "readCheckpoint", () => {
          const { readCheckpoint } = far.#handlers;
          void readCheckpoint(position, offsetBytes, lengthBytes).then(
            (found) =>
              reply(() => {
                if (found === null)
                  reject(new RockpoolError("NOT_FOUND", "No such checkpoint", ""));
                else resolve({ position, offsetBytes, ...found });
              }),
            () => reply(() => reject(unreachable("The peer could not read it"))),
          );
        });
      });
    });
  }

  /** The process is gone. */
  killed(hasPower: boolean): void {
    this.isClosed = true;
    if (hasPower) this.#closeAll();
  }

  #closeAll(): void {
    const isLost = this.#net.random.chance(0.5);
    for (const link of this.#links.values()) this.#close(link, isLost);
    for (const connection of this.#inbound.values()) connection.back.push("close");
  }

  reset(choose: (fromHost: string, toHost: string) => boolean): void {
    for (const link of this.#links.values()) {
      const { connection } = link;
      if (connection === null) continue;
      if (!choose(this.lane.host.name, connection.far.lane.host.name)) continue;
      this.#net.onFault("reset");
      connection.isOpen = false;
      this.#after(0, "reset", () => this.answered(connection, "close"));
    }
  }

  close(): Promise<void> {
    this.isClosed = true;
    if (this.#net.listening.get(this.options.address) === this)
      this.#net.listening.delete(this.options.address);
    this.#closeAll();
    return Promise.resolve();
  }
}
