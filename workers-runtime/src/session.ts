/**
 * One WebSocket to a master, and the requests on it.
 *
 * Every frame is verified; one that is damaged ends the session, since it cannot be told whose it was. So does silence: while
 * requests wait, a master that answers neither them nor a ping is left.
 * @module
 */
import {
  type Crc,
  decodeFrame,
  encodeFrame,
  FRAME,
  type Frame,
  PROTOCOL_VERSION,
} from "../../src/edge/frame.ts";
import type { EdgeFailure, Hello, Moved, Welcome } from "../../src/edge/words.ts";
import { EdgeError, unavailable } from "./edge_error.ts";
import type { Patience } from "./patience.ts";

export type SessionOptions = {
  readonly hello: { readonly [key in Exclude<keyof Hello, "version">]: Hello[key] | undefined };
  readonly crc: Crc;
  /** Silence that ends a session: before it is welcomed, and while requests wait. */
  readonly stallMs: number;
};

type Call = { readonly frames: Frame[]; wake?: () => void };

/** Runs on every frame: of a request, or what a browser's WebSocket can be made to do. */
export type Socket = Pick<
  WebSocket,
  "binaryType" | "close" | "onclose" | "onerror" | "onmessage" | "onopen"
> & { send(bytes: Uint8Array<ArrayBuffer>): void };

export const NOTHING = new Uint8Array(0);
const text = new TextDecoder();
const bytesOf = (document: unknown) => new TextEncoder().encode(JSON.stringify(document));

/** As T: masters send what src/edge/words.ts says, and its checksum was right. */
export function documentOf<T>({ payload }: Pick<Frame, "payload">): T {
  return JSON.parse(text.decode(payload)) as T;
}

export class Session {
  readonly welcomed: Promise<Welcome>;
  /** Where to go instead, as a master said that does not lead. */
  moved: Moved | undefined;
  failure: EdgeError | undefined;
  readonly #socket: Socket;
  readonly #stallMs: number;
  readonly #crc: Crc;
  readonly #calls = new Map<number, Call>();
  #lastId = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  /** Ticks of the timer since something was heard. */
  #silentTicks = 0;
  /** Of `welcomed`, until it is. */
  #settle: [(welcome: Welcome) => void, (error: EdgeError) => void] | undefined;

  constructor(socket: Socket, { hello, stallMs, crc }: SessionOptions) {
    this.#socket = socket;
    this.#stallMs = stallMs;
    this.#crc = crc;
    this.welcomed = new Promise((...settle) => {
      this.#settle = settle;
    });
    this.welcomed.catch(() => {}); // whoever waits for it is told
    socket.binaryType = "arraybuffer";
    socket.onopen = () =>
      this.send(FRAME.hello, 0, 0, bytesOf({ version: PROTOCOL_VERSION, ...hello }));
    socket.onmessage = ({ data }) => this.#receive(new Uint8Array(data));
    socket.onclose = ({ reason }) => this.#lose(`Connection lost ${reason}`);
    socket.onerror = () => this.#lose("Connection lost");
    this.#listen();
  }

  send(
    type: number,
    id: number,
    argument = 0,
    payload: Uint8Array = NOTHING,
    isLast = false,
  ): void {
    if (this.failure) return;
    try {
      this.#socket.send(encodeFrame({ type, id, argument, isLast }, payload, this.#crc));
    } catch (error) {
      // Some sockets are closed before they say so.
      this.#lose(`${error}`);
    }
  }

  /** Ends the session, and with this error all that wait on it. */
  fail(error: EdgeError): void {
    if (this.failure) return;
    this.failure = error;
    clearInterval(this.#timer);
    this.#settle?.[1](error);
    for (const call of this.#calls.values()) call.wake?.();
    this.#socket.close();
  }

  #lose(message: string): void {
    this.fail(unavailable(message));
  }

  /**
   * Sends a request and gives what comes back, up to its last frame. Credit for data goes back as frames are taken.
   * @param begun is told the id once the request is sent
   * @throws EdgeError as the master says, or of this session
   */
  async *frames(
    request: unknown,
    windowBytes: number,
    { signal, gone }: Patience,
    begun?: (id: number) => void,
  ): AsyncGenerator<Frame, void, undefined> {
    const id = ++this.#lastId;
    const call: Call = { frames: [] };
    const wake = () => call.wake?.();
    let isOver = false;
    let taken = 0;
    this.#calls.set(id, call);
    this.#listen();
    gone.catch(wake);
    try {
      this.send(FRAME.request, id, windowBytes, bytesOf(request));
      begun?.(id);
      while (!isOver) {
        signal.throwIfAborted();
        const frame = call.frames.shift();
        if (!frame) {
          if (this.failure) throw this.failure;
          await new Promise<void>((resolve) => {
            call.wake = resolve;
          });
          continue;
        }
        isOver = frame.isLast;
        if (frame.type === FRAME.error) throw failureOf(frame);
        // Before whoever takes it gives its memory back.
        if (frame.type === FRAME.data) taken += frame.payload.length;
        yield frame;
        if (!isOver && taken * 2 >= windowBytes && taken > 0) {
          this.send(FRAME.credit, id, taken);
          taken = 0;
        }
      }
    } finally {
      this.#calls.delete(id);
      if (!isOver) this.send(FRAME.cancel, id);
    }
  }

  #receive(bytes: Uint8Array): void {
    // Behind a damaged frame more may be on its way.
    if (this.failure) return;
    const frame = decodeFrame(bytes, this.#crc);
    if (typeof frame === "string") {
      this.#lose(`A frame is ${frame}`);
      return;
    }
    this.#silentTicks = 0;
    const { type, id } = frame;
    const call = this.#calls.get(id);
    if (call) {
      call.frames.push(frame);
      call.wake?.();
    } else if (type === FRAME.welcome) {
      this.#settle?.[0](documentOf(frame));
      this.#settle = undefined;
    } else if (type === FRAME.moved) {
      this.moved = documentOf(frame);
      this.#lose("Not the leader");
    } else if (type === FRAME.error && id === 0) this.fail(failureOf(frame));
  }

  /** While anything is waited for. */
  #listen(): void {
    if (this.#timer) return;
    this.#silentTicks = 0;
    this.#timer = setInterval(() => {
      if (!this.#settle && this.#calls.size === 0) {
        clearInterval(this.#timer);
        this.#timer = undefined;
      } else if (++this.#silentTicks > (this.#settle ? 1 : 2)) this.#lose("The master is silent");
      else if (this.#silentTicks > 1) this.send(FRAME.ping, 0);
    }, this.#stallMs / 2);
  }
}

/** What ERROR says. */
export function failureOf(frame: Pick<Frame, "payload">): EdgeError {
  const { status, message, remedy } = documentOf<EdgeFailure>(frame);
  return new EdgeError(status, message, remedy);
}
