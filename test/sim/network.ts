/**
 * The network between the simulated hosts: what a path does to what is sent over it.
 *
 * A path has a direction. It delays, it may be cut (what was sent waits, as in TCP, until it is open again and the
 * sender's kernel tries once more) or clogged (delays of seconds). Connections and their sockets: virtual_net.ts.
 * @module
 */
import type { SimRandom } from "./random.ts";
import type { Host, Scheduler } from "./scheduler.ts";

export type NetworkTraits = {
  readonly delayMinMs: number;
  readonly delayMaxMs: number;
  /** After a cut heals, a kernel sends again within this time. */
  readonly retransmitMaxMs: number;
};

/** One direction of a connection: what is sent arrives in order, or waits while the path is cut. */
export class Pipe<T> {
  readonly #network: Network;
  readonly #from: string;
  readonly #to: string;
  readonly #arrive: (sent: T) => void;
  #stalled: T[] = [];
  #lastMs = 0;

  constructor(network: Network, from: string, to: string, arrive: (sent: T) => void) {
    this.#network = network;
    this.#from = from;
    this.#to = to;
    this.#arrive = arrive;
  }

  push(sent: T): void {
    if (this.#stalled.length > 0) this.#stalled.push(sent);
    else this.#send(sent, 0);
  }

  #send(sent: T, extraMs: number): void {
    const { scheduler } = this.#network;
    const due = scheduler.nowMs + extraMs + this.#network.delayMs(this.#from, this.#to);
    this.#lastMs = Math.max(this.#lastMs, due);
    scheduler.at(this.#lastMs, null, "packet", () => {
      if (this.#stalled.length > 0 || this.#network.isCut(this.#from, this.#to)) {
        this.#stalled.push(sent);
        this.#network.stalled.add(this);
      } else this.#arrive(sent);
    });
  }

  /** The path may be open again. */
  retry(): void {
    if (this.#network.isCut(this.#from, this.#to)) return;
    this.#network.stalled.delete(this);
    const stalled = this.#stalled;
    this.#stalled = [];
    const waitMs = this.#network.retransmitMs();
    for (const sent of stalled) this.#send(sent, waitMs);
  }
}

type Path = { isCut: boolean; clogMs: number };

export class Network {
  readonly scheduler: Scheduler;
  readonly hosts = new Map<string, Host>();
  readonly #random: SimRandom;
  readonly #traits: NetworkTraits;
  readonly #paths = new Map<string, Path>();
  /** Pipes that hold something back. */
  readonly stalled = new Set<{ retry(): void }>();
  /** Everything arrives at once: the second phase of a run. */
  isCalm = false;

  constructor(scheduler: Scheduler, random: SimRandom, traits: NetworkTraits) {
    this.scheduler = scheduler;
    this.#random = random;
    this.#traits = traits;
  }

  #path(from: string, to: string): Path {
    const key = `${from}>${to}`;
    let path = this.#paths.get(key);
    if (path === undefined) {
      path = { isCut: false, clogMs: 0 };
      this.#paths.set(key, path);
    }
    return path;
  }

  isCut(from: string, to: string): boolean {
    return from !== to && this.#path(from, to).isCut;
  }

  cut(from: string, to: string): void {
    this.#path(from, to).isCut = true;
  }

  heal(from: string, to: string): void {
    const path = this.#path(from, to);
    if (!path.isCut) return;
    path.isCut = false;
    this.#tell();
  }

  clog(from: string, to: string, delayMs: number): void {
    this.#path(from, to).clogMs = delayMs;
  }

  healAll(): void {
    for (const path of this.#paths.values()) {
      path.isCut = false;
      path.clogMs = 0;
    }
    this.#tell();
  }

  #tell(): void {
    for (const pipe of [...this.stalled]) pipe.retry();
  }

  delayMs(from: string, to: string): number {
    if (from === to) return 0.02;
    const { delayMinMs, delayMaxMs } = this.#traits;
    const { clogMs } = this.#path(from, to);
    if (this.isCalm) return this.#random.between(0.05, 0.5);
    const usual = this.#random.skewed(delayMinMs, delayMaxMs);
    return clogMs === 0 ? usual : usual + this.#random.between(0, clogMs);
  }

  retransmitMs(): number {
    return this.#random.between(1, this.#traits.retransmitMaxMs);
  }
}
