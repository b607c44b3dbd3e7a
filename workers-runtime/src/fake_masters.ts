/**
 * Masters without a network, for tests: the gateway's own sessions over files in memory, and sockets that can be made to fail.
 * @module
 */

import { MemoryFiles } from "../../src/edge/edge_fixture.ts";
import { CLOSE } from "../../src/edge/frame.ts";
import { EDGE_LIMITS, type EdgeChange, type EdgeWire, edgeCounters } from "../../src/edge/ports.ts";
import { EdgeSession } from "../../src/edge/session.ts";
import { identify, parseTokens } from "../../src/edge/tokens.ts";
import { Watches } from "../../src/edge/watches.ts";
import { CrcJoiner } from "../../src/kernels/crc_combine.ts";
import { crc32c } from "../../src/kernels/fallback.ts";
import { type ClientOptions, RockpoolClient } from "./client.ts";
import { EdgeError } from "./edge_error.ts";
import type { Socket } from "./session.ts";

export const TOKEN = "0123456789abcdef";
const RULES = {
  tokens: parseTokens(`ann write ${TOKEN}`, "tokens"),
  secret: null,
  anonymousUser: null,
};

class FakeSocket {
  binaryType: BinaryType = "arraybuffer";
  onopen: Socket["onopen"] = null;
  onclose: Socket["onclose"] = null;
  onerror: Socket["onerror"] = null;
  onmessage: Socket["onmessage"] = null;
  session: EdgeSession | null = null;
  isClosed = false;
  /** Told the type of each frame. */
  readonly received: (type: number) => void;

  constructor(received: (type: number) => void) {
    this.received = received;
  }

  send(bytes: Uint8Array): void {
    const copy = bytes.slice();
    this.received(copy[0] ?? 0);
    queueMicrotask(() => this.session?.receive(copy));
  }

  deliver(bytes: Uint8Array): void {
    // What the real one gives is another's memory, too.
    const { buffer } = new Uint8Array(bytes);
    setImmediate(() => {
      if (!this.isClosed) this.#call(this.onmessage, { data: buffer });
    });
  }

  open(): void {
    setImmediate(() => this.#call(this.onopen, {}));
  }

  close(): void {
    if (this.isClosed) return;
    this.session?.closed(1000, "");
    setImmediate(() => {
      this.isClosed = true;
      this.#call(this.onclose, { reason: "" });
    });
  }

  #call(listener: unknown, event: object): void {
    // Of a WebSocket's listeners only what the client looks at is made.
    (listener as ((event: object) => void) | null)?.(event);
  }
}

export class FakeMaster {
  readonly address: string;
  readonly #cluster: FakeMasters;
  readonly #sockets = new Set<FakeSocket>();
  readonly watches = new Watches();
  /** Takes connections, and says nothing. */
  isMute = false;
  isDown = false;
  /** Looked at before each message; returns what is sent instead, null for nothing more. */
  tamper: (bytes: Uint8Array) => Uint8Array | null = (bytes) => bytes;
  dials = 0;
  readonly #received: number[] = [];

  constructor(address: string, cluster: FakeMasters) {
    this.address = address;
    this.#cluster = cluster;
  }

  get leads(): boolean {
    return this.#cluster.leader === this;
  }

  /** Connections that are open. */
  get connectionCount(): number {
    return [...this.#sockets].filter(({ session }) => session?.isOver === false).length;
  }

  /** How many frames of a type clients have sent. */
  receivedCount(type: number): number {
    return this.#received.filter((one) => one === type).length;
  }

  dial(): FakeSocket {
    this.dials++;
    const socket = new FakeSocket((type) => this.#received.push(type));
    this.#sockets.add(socket);
    if (this.isDown) {
      socket.close();
      return socket;
    }
    const wire: EdgeWire = {
      peer: this.address,
      bufferedBytes: () => 0,
      send: (bytes, payload = new Uint8Array(0)) => {
        if (this.isMute || this.isDown) return;
        const sent = this.tamper(Buffer.concat([bytes, payload]));
        if (sent === null) this.stop();
        else socket.deliver(sent);
      },
      close: () => socket.close(),
      drained: () => Promise.resolve(),
    };
    const { masters, files } = this.#cluster;
    socket.session = new EdgeSession(wire, null, {
      files,
      leadership: {
        serves: () => this.leads,
        term: () => 1,
        leader: () => this.#cluster.leader?.address ?? null,
        masters: () => masters.map(({ address }) => address),
      },
      watches: this.watches,
      limits: EDGE_LIMITS,
      admit: (token) => identify(token, RULES, 0),
      release: () => {},
      reads: { take: () => true, give: () => {} },
      nowMs: () => 0,
      onEvent: () => {},
      crc: crc32c,
      joiner: new CrcJoiner(),
      counters: edgeCounters(),
    });
    socket.open();
    return socket;
  }

  publish(change: EdgeChange): void {
    this.watches.publish(change);
  }

  /** As when its process is killed: connections break. */
  stop(): void {
    this.isDown = true;
    for (const socket of this.#sockets) socket.close();
    this.#sockets.clear();
  }

  /** It leads no more, and says so. */
  resign(): void {
    for (const { session } of this.#sockets) session?.moved();
  }

  /** Cuts every connection off, and takes new ones. */
  cut(): void {
    for (const { session } of this.#sockets) session?.end(CLOSE.limit, "cut");
    this.#sockets.clear();
  }
}

export class FakeMasters {
  readonly masters: readonly FakeMaster[];
  readonly files: MemoryFiles;
  leader: FakeMaster | null;

  constructor(count: number, files: MemoryFiles) {
    this.files = files;
    this.masters = Array.from({ length: count }, (_, at) => new FakeMaster(`m${at}:1`, this));
    this.leader = this.masters[0] ?? null;
  }

  at(index: number): FakeMaster {
    const master = this.masters[index];
    if (master === undefined) throw new Error(`There is no master ${index}`);
    return master;
  }

  client(options: Partial<ClientOptions> = {}): RockpoolClient {
    return new RockpoolClient(
      {
        masters: this.masters.map(({ address }) => address),
        token: TOKEN,
        hedgeMs: 20,
        budgetMs: 3000,
        ...options,
      },
      {
        windowBytes: 1 << 20,
        kernel: async () => null,
        dial: (url) => this.dial(url),
      },
    );
  }

  dial(url: string): Socket {
    const found = this.masters.find(({ address }) => url === `ws://${address}/edge`);
    if (found === undefined) throw new Error(`Nobody is at ${url}`);
    // It is as much of a WebSocket as the client asks for.
    return found.dial() as unknown as Socket;
  }
}

/** Masters over files in memory. */
export function clusterOf(files: Readonly<Record<string, Uint8Array>>, count = 1): FakeMasters {
  const memory = new MemoryFiles();
  for (const [path, bytes] of Object.entries(files)) memory.files.set(path, bytes);
  return new FakeMasters(count, memory);
}

/** Waits until something holds, for as long as it takes. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}

export const failsWith = (status: string) => (error: unknown) =>
  error instanceof EdgeError && error.status === status;
