/**
 * One TCP connection to one ZooKeeper server: dial, handshake, packets in and out.
 *
 * `onClosed` comes exactly once, whatever happens: the dial and the answer to the handshake share one time limit, so that a
 * server that is stopped (its kernel still takes connections) holds nobody.
 * @module
 */
import { connect, type Socket } from "node:net";
import { DecodeError } from "../common/bytes.ts";
import { messageOf } from "../common/errors.ts";
import type { Timer, World } from "../world/ports.ts";
import type { Server } from "./connect_string.ts";
import { connectPacket, type Handshake, readConnect } from "./protocol.ts";

/** ZooKeeper's own client takes packets up to this (`jute.maxbuffer`). */
const PACKET_BYTES_MAX = 4 * 1024 * 1024 + 1024;

export type ConnectionOptions = {
  readonly server: Server;
  readonly world: World;
  /** Session id 0 asks for a new session. */
  readonly handshake: Handshake;
  readonly lastZxid: bigint;
  readonly openWithinMs: number;
  /** The server's answer: timeoutMs ≤ 0 says that the session is over. */
  readonly onOpen: (handshake: Handshake) => void;
  readonly onPacket: (packet: Uint8Array) => void;
  readonly onClosed: (reason: string) => void;
};

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #socket: Socket;
  readonly #openTimer: Timer;
  #chunks: Uint8Array[] = [];
  #bufferedBytes = 0;
  #isOpen = false;
  #isClosed = false;
  /** When the server was heard last. */
  heardMs: number;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    const { server, world, handshake, lastZxid, openWithinMs } = options;
    this.heardMs = world.clock.monotonicMs();
    this.#socket = connect({ host: server.host, port: server.port, noDelay: true });
    this.#socket.on("connect", () => this.#socket.write(connectPacket(handshake, lastZxid)));
    this.#socket.on("data", (chunk) => this.#take(chunk));
    this.#socket.on("error", (error) => this.close(messageOf(error)));
    this.#socket.on("close", () => this.close("the server closed the connection"));
    this.#openTimer = world.timers.after(openWithinMs, () => {
      if (!this.#isOpen) this.close(`no answer in ${openWithinMs} ms`);
    });
  }

  /** host:port */
  get address(): string {
    const { host, port } = this.#options.server;
    return `${host}:${port}`;
  }

  get isOpen(): boolean {
    return this.#isOpen && !this.#isClosed;
  }

  send(packet: Uint8Array): void {
    if (!this.#isClosed) this.#socket.write(packet);
  }

  close(reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#openTimer.cancel();
    this.#socket.destroy();
    this.#options.onClosed(reason);
  }

  #take(chunk: Uint8Array): void {
    this.heardMs = this.#options.world.clock.monotonicMs();
    this.#chunks.push(chunk);
    this.#bufferedBytes += chunk.length;
    try {
      // A packet may end the connection, and with it what came behind.
      while (!this.#isClosed) {
        const packet = this.#nextPacket();
        if (packet === null) return;
        if (this.#isOpen) this.#options.onPacket(packet);
        else this.#opened(packet);
      }
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.close(`the server sent what is no packet of ZooKeeper's: ${error.message}`);
    }
  }

  #opened(packet: Uint8Array): void {
    const answer = readConnect(packet);
    this.#isOpen = true;
    this.#openTimer.cancel();
    this.#options.onOpen(answer);
  }

  #nextPacket(): Uint8Array | null {
    if (this.#bufferedBytes < 4) return null;
    const head = this.#joined(4);
    const length = new DataView(head.buffer, head.byteOffset).getInt32(0);
    if (length < 0 || length > PACKET_BYTES_MAX)
      throw new DecodeError(`a packet of ${length} bytes`);
    if (this.#bufferedBytes < 4 + length) return null;
    const all = this.#joined(4 + length);
    const rest = all.subarray(4 + length);
    this.#chunks = rest.length === 0 ? [] : [rest, ...this.#chunks.slice(1)];
    this.#bufferedBytes -= 4 + length;
    return all.subarray(4, 4 + length);
  }

  /** The first chunk, made to hold at least so many bytes. */
  #joined(bytes: number): Uint8Array {
    const [first] = this.#chunks;
    if (first !== undefined && first.length >= bytes) return first;
    const joined = Buffer.concat(this.#chunks);
    this.#chunks = [joined];
    return joined;
  }
}
