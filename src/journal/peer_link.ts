/**
 * The connection on which this member sends to one peer: dials, says hello, keeps dialling.
 *
 * - What cannot be sent now is dropped: Raft sends again what matters, and old heartbeats do not.
 * - When a connection that worked breaks, the peer is dialled again at once. If that is refused or reset, the process
 *   there is gone: `onPeerDied`. A time-out is no such evidence; the peer may be alive and slow, or behind a cut.
 * - Half-open connections are found by pings: silence for `PING_TIMEOUT_MS` closes.
 * @module
 */
import { connect, type Socket } from "node:net";
import { messageOf } from "../common/errors.ts";
import { InvariantError } from "../common/invariant.ts";
import { PEER_INFLIGHT_BYTES_MAX } from "../common/limits.ts";
import type { Message } from "../raft/messages.ts";
import type { World } from "../world/ports.ts";
import {
  encodeFrame,
  FRAME_BYTES_MAX,
  type Frame,
  FrameReader,
  type Hello,
  type HelloAnswer,
} from "./peer_frame.ts";
import type { Crc32c } from "./record.ts";

const REDIAL_MIN_MS = 20;
const REDIAL_MAX_MS = 200;
/** After a refusal for a reason that only an operator can remove. */
const REDIAL_REFUSED_MS = 2000;
/** While one of the two is to become a member. */
const REDIAL_STRANGER_MS = 100;
/** A connection that breaks sooner is not dialled at once again, or two members that disagree would spin. */
const STABLE_MS = 1000;
/** A host that is gone answers nothing; the kernel alone would try for minutes. */
const DIAL_TIMEOUT_MS = 1000;
const PING_INTERVAL_MS = 250;
const PING_TIMEOUT_MS = 1000;
/** Reset, or refused: a kernel answered that nobody is there. */
const DEAD: ReadonlySet<unknown> = new Set(["ECONNREFUSED", "ECONNRESET", "EPIPE"]);

export type PeerLinkOptions = {
  readonly address: string;
  /** Asked for each connection. */
  readonly hello: () => Hello;
  readonly crc32c: Crc32c;
  readonly world: World;
  /** Called also with a refusal. False: the peer that answered is not to be talked to. */
  readonly onAnswer: (answer: HelloAnswer) => boolean;
  readonly onConnected: () => void;
  readonly onClosed: (reason: string) => void;
  readonly onPeerDied: () => void;
  /** Something came from the peer. */
  readonly onHeard: () => void;
};

/** "host:port", where the host of IPv6 is in brackets. */
export function hostAndPort(address: string): { readonly host: string; readonly port: number } {
  const colon = address.lastIndexOf(":");
  return {
    host: address.slice(0, colon).replace(/^\[|\]$/g, ""),
    port: Number(address.slice(colon + 1)),
  };
}

export class PeerLink {
  readonly #options: PeerLinkOptions;
  readonly #host: string;
  readonly #port: number;
  #socket: Socket | null = null;
  #isReady = false;
  #wasReady = false;
  #sequence = 0;
  #redialMs = REDIAL_MIN_MS;
  /** Set by a refusal, until the next dial. */
  #refusedMs: number | null = null;
  #timer: { cancel(): void } | null = null;
  #pingTimer: { cancel(): void } | null = null;
  #heardMs = 0;
  #readySinceMs = 0;
  #isClosed = false;
  #droppedCount = 0;

  constructor(options: PeerLinkOptions) {
    this.#options = options;
    const { host, port } = hostAndPort(options.address);
    this.#host = host;
    this.#port = port;
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  /** Messages that found no connection or a full one. */
  get droppedCount(): number {
    return this.#droppedCount;
  }

  start(): void {
    this.#dial();
  }

  send(message: Message): void {
    const socket = this.#socket;
    if (socket === null || !this.#isReady) {
      this.#droppedCount += 1;
      return;
    }
    const isBulk = message.kind === "appendEntries" && message.entries.length > 0;
    // Room is left for what is small and urgent; when even that is used up, the peer does not read any more.
    const bytesMax = isBulk ? PEER_INFLIGHT_BYTES_MAX : PEER_INFLIGHT_BYTES_MAX + FRAME_BYTES_MAX;
    if (socket.writableLength > bytesMax) {
      this.#droppedCount += 1;
      return;
    }
    this.#write(socket, { kind: "message", message });
  }

  /** Everything sent in one turn leaves in one packet, if it fits. */
  #write(socket: Socket, frame: Frame): void {
    if (socket.writableCorked === 0) {
      socket.cork();
      process.nextTick(() => socket.uncork());
    }
    this.#sequence += 1;
    socket.write(encodeFrame(frame, this.#sequence, this.#options.crc32c));
  }

  /** The peer's own connection to us broke: find out soon whether it is alive. */
  suspect(): void {
    if (this.#isClosed) return;
    if (this.#isReady && this.#socket !== null) this.#write(this.#socket, { kind: "ping" });
    else if (this.#timer !== null) this.#redialIn(0);
  }

  #redialIn(delayMs: number): void {
    this.#timer?.cancel();
    if (this.#isClosed) return;
    this.#timer = this.#options.world.timers.after(delayMs, () => {
      this.#timer = null;
      this.#dial();
    });
  }

  #jitter(ms: number): number {
    return ms * (0.5 + this.#options.world.random.uint32() / 0x2_0000_0000);
  }

  #dial(): void {
    if (this.#isClosed) return;
    const { world, crc32c } = this.#options;
    const socket = connect({ host: this.#host, port: this.#port, noDelay: true });
    this.#socket = socket;
    this.#sequence = 0;
    this.#heardMs = world.clock.monotonicMs();
    const reader = new FrameReader(crc32c, FRAME_BYTES_MAX);
    let reason: unknown = "closed by the peer";
    const watchdog = world.timers.after(DIAL_TIMEOUT_MS, () => {
      if (!this.#isReady && this.#socket === socket)
        socket.destroy(new Error(`No answer within ${DIAL_TIMEOUT_MS} ms`));
    });
    socket.on("connect", () =>
      this.#write(socket, { kind: "hello", hello: this.#options.hello() }),
    );
    socket.on("data", (chunk) => {
      try {
        for (const frame of reader.push(chunk)) this.#onFrame(socket, frame);
      } catch (error) {
        if (error instanceof InvariantError) throw error;
        // Whatever is wrong with what a peer says ends its connection and nothing else.
        socket.destroy(error instanceof Error ? error : new Error(String(error)));
      }
    });
    socket.on("error", (error) => {
      reason = error;
    });
    socket.on("close", () => {
      watchdog.cancel();
      if (this.#socket === socket) this.#onClose(reason);
    });
  }

  #onFrame(socket: Socket, frame: Frame): void {
    this.#heardMs = this.#options.world.clock.monotonicMs();
    this.#options.onHeard();
    if (frame.kind === "pong") return;
    if (frame.kind === "answer" && !this.#isReady) this.#onAnswer(socket, frame.answer);
    else socket.destroy(new Error(`A ${frame.kind} came out of turn`));
  }

  #onAnswer(socket: Socket, answer: HelloAnswer): void {
    const isAccepted = this.#options.onAnswer(answer);
    // What it was told may have made the owner close this link.
    if (socket.destroyed) return;
    if (!isAccepted || answer.refusal !== null) {
      this.#refusedMs =
        answer.refusal?.reason === "notMember" ? REDIAL_STRANGER_MS : REDIAL_REFUSED_MS;
      socket.destroy();
      return;
    }
    this.#isReady = true;
    this.#wasReady = true;
    this.#readySinceMs = this.#heardMs;
    this.#options.onConnected();
    this.#schedulePing();
  }

  #schedulePing(): void {
    const { timers, clock } = this.#options.world;
    this.#pingTimer?.cancel();
    let sentMs = clock.monotonicMs();
    const ping = () => {
      const socket = this.#socket;
      if (!this.#isReady || socket === null) return;
      const nowMs = clock.monotonicMs();
      // If this process stood still itself, its own clock is no witness against the peer.
      const hasStalled = nowMs - sentMs > 2 * PING_INTERVAL_MS;
      if (hasStalled) this.#heardMs = nowMs;
      if (nowMs - this.#heardMs > PING_TIMEOUT_MS) {
        socket.destroy(new Error(`No answer to pings for ${PING_TIMEOUT_MS} ms`));
        return;
      }
      this.#write(socket, { kind: "ping" });
      sentMs = nowMs;
      this.#pingTimer = timers.after(PING_INTERVAL_MS, ping);
    };
    this.#pingTimer = timers.after(PING_INTERVAL_MS, ping);
  }

  #onClose(reason: unknown): void {
    const hadBeenReady = this.#isReady;
    this.#socket = null;
    this.#isReady = false;
    this.#pingTimer?.cancel();
    if (this.#isClosed) return;
    if (hadBeenReady) {
      this.#options.onClosed(messageOf(reason));
      const livedMs = this.#options.world.clock.monotonicMs() - this.#readySinceMs;
      if (livedMs >= STABLE_MS) {
        this.#redialMs = REDIAL_MIN_MS;
        this.#redialIn(0);
        return;
      }
    }
    const code = reason instanceof Error && "code" in reason ? reason.code : undefined;
    if (DEAD.has(code) && this.#wasReady) {
      // Told once for each connection that worked: then the peer is known to be gone.
      this.#wasReady = false;
      this.#options.onPeerDied();
    }
    if (this.#refusedMs !== null) {
      this.#redialIn(this.#jitter(this.#refusedMs));
      this.#refusedMs = null;
      return;
    }
    this.#redialIn(this.#jitter(this.#redialMs));
    this.#redialMs = Math.min(REDIAL_MAX_MS, this.#redialMs * 2);
  }

  close(): void {
    this.#isClosed = true;
    this.#isReady = false;
    this.#timer?.cancel();
    this.#pingTimer?.cancel();
    this.#socket?.destroy();
    this.#socket = null;
  }
}
