/**
 * The connection on which parts of a peer's checkpoint are fetched, one after the other: a connection of its own, so that
 * bulk never delays a heartbeat. It ends after a while without requests.
 * @module
 */
import { connect, type Socket } from "node:net";
import { messageOf, RockpoolError } from "../common/errors.ts";
import { InvariantError, invariant } from "../common/invariant.ts";
import type { Position } from "../raft/messages.ts";
import type { Timer, World } from "../world/ports.ts";
import { encodeFrame, FRAME_BYTES_MAX, type Frame, FrameReader, type Hello } from "./peer_frame.ts";
import { hostAndPort } from "./peer_link.ts";
import type { CheckpointChunk } from "./peer_transport.ts";
import type { Crc32c } from "./record.ts";

/** A chunk is read from a disk that may be busy. */
const CHUNK_TIMEOUT_MS = 10_000;
const IDLE_MS = 10_000;

export type CheckpointClientOptions = {
  readonly address: string;
  readonly hello: Hello;
  readonly crc32c: Crc32c;
  readonly world: World;
};

type Waiting = {
  readonly position: Position;
  readonly offsetBytes: number;
  readonly resolve: (chunk: CheckpointChunk) => void;
  readonly reject: (error: RockpoolError) => void;
};

export class CheckpointClient {
  readonly #options: CheckpointClientOptions;
  readonly #socket: Socket;
  #sequence = 0;
  #isWelcome = false;
  #waiting: (Waiting & { readonly request: Frame }) | null = null;
  #timer: Timer | null = null;
  #isClosed = false;

  constructor(options: CheckpointClientOptions) {
    this.#options = options;
    const reader = new FrameReader(options.crc32c, FRAME_BYTES_MAX);
    this.#socket = connect({ ...hostAndPort(options.address), noDelay: true });
    this.#socket.on("connect", () => this.#write({ kind: "hello", hello: options.hello }));
    this.#socket.on("data", (chunk) => {
      try {
        for (const frame of reader.push(chunk)) this.#onFrame(frame);
      } catch (error) {
        if (error instanceof InvariantError) throw error;
        this.#fail(messageOf(error));
      }
    });
    this.#socket.on("error", (error) => this.#fail(messageOf(error)));
    this.#socket.on("close", () => this.#fail("the connection was closed"));
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** @throws RockpoolError NOT_FOUND when the peer has no such checkpoint; UNAVAILABLE when the connection breaks */
  fetch(position: Position, offsetBytes: number, lengthBytes: number): Promise<CheckpointChunk> {
    invariant(this.#waiting === null, "parts of a checkpoint are fetched one by one");
    return new Promise((resolve, reject) => {
      const request: Frame = { kind: "fetch", fetch: { ...position, offsetBytes, lengthBytes } };
      this.#waiting = { position, offsetBytes, resolve, reject, request };
      this.#arm(CHUNK_TIMEOUT_MS, `no answer within ${CHUNK_TIMEOUT_MS} ms`);
      if (this.#isClosed) this.#fail("the connection was closed");
      else if (this.#isWelcome) this.#write(request);
    });
  }

  #arm(delayMs: number, why: string): void {
    this.#timer?.cancel();
    this.#timer = this.#options.world.timers.after(delayMs, () => this.#fail(why));
  }

  #write(frame: Frame): void {
    this.#sequence += 1;
    this.#socket.write(encodeFrame(frame, this.#sequence, this.#options.crc32c));
  }

  #onFrame(frame: Frame): void {
    const waiting = this.#waiting;
    if (frame.kind === "answer" && !this.#isWelcome) {
      const { refusal } = frame.answer;
      if (refusal !== null) throw new Error(refusal.explanation);
      this.#isWelcome = true;
      if (waiting !== null) this.#write(waiting.request);
      return;
    }
    if (frame.kind !== "chunk" || waiting === null)
      throw new Error(`A ${frame.kind} came out of turn`);
    this.#waiting = null;
    this.#arm(IDLE_MS, "idle");
    const { position, offsetBytes } = waiting;
    if (frame.chunk !== null) waiting.resolve({ position, offsetBytes, ...frame.chunk });
    else
      waiting.reject(
        new RockpoolError(
          "NOT_FOUND",
          `Master ${this.#options.address} has no checkpoint of entry ${position.index} (any more)`,
          "Its leader offers a newer one by itself",
        ),
      );
  }

  #fail(why: string): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    this.close();
    const { address } = this.#options;
    waiting?.reject(
      new RockpoolError(
        "UNAVAILABLE",
        `Fetching the checkpoint of entry ${waiting.position.index} from ${address} was cut off: ${why}`,
        "It goes on by itself from where it was",
      ),
    );
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#socket.destroy();
    if (this.#waiting !== null) this.#fail("the connection was closed");
  }
}
