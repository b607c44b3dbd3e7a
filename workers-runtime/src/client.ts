/**
 * Reading from a cluster, wherever its leader is.
 *
 * Promises: a call ends in its time budget; what it gives was verified; when the leader changes, or a connection breaks or
 * is damaged, a read goes on at the byte where it stood, of the same file, or fails with ABORTED.
 * @module
 */
import { type Crc, FRAME, type Frame } from "../../src/edge/frame.ts";
import type { EdgeListing, EdgeRequest, EdgeStatus, Range, Welcome } from "../../src/edge/words.ts";
import { crcInTypeScript, crcOfModule } from "./crc.ts";
import { EdgeError, unavailable } from "./edge_error.ts";
import { documentOf, Session, type Socket } from "./session.ts";

export type ClientOptions = {
  /** Web addresses: "https://m1:19999", "ws://m1:19999/edge", "m1:19999"; of some masters or of all. */
  readonly masters: string | readonly string[];
  readonly token?: string;
  /** A call that gets on for so long no bit further fails. */
  readonly budgetMs?: number;
  /** How long the best master may take to answer before the next one is tried, too. */
  readonly hedgeMs?: number;
  /** A connection that is silent for so long is left. */
  readonly stallMs?: number;
  /** Bytes of a read that may be on their way. */
  readonly windowBytes?: number;
  readonly frameBytes?: number;
  /** False: only `masters` are connected to, and never others that they name. */
  readonly follow?: boolean;
};

/** What differs from runtime to runtime. */
export type Runtime = {
  readonly dial: (url: string) => Socket | Promise<Socket>;
  readonly windowBytes: number;
  /** Null: checksums are computed in TypeScript. */
  readonly kernel: () => Promise<WebAssembly.Module | null>;
};

export type ReadOptions = {
  readonly offset?: number;
  readonly length?: number;
  /** Fail with ABORTED when the file is not this one. */
  readonly etag?: string;
  readonly signal?: AbortSignal;
};

export type Opened = {
  readonly status: EdgeStatus;
  readonly offset: number;
  readonly length: number;
  /** Of bytes: may be read with a reader of one's own memory (`mode: "byob"`), too. */
  readonly body: ReadableStream<Uint8Array<ArrayBuffer>>;
};

type Head = Omit<Opened, "body">;
type Patience = { untilMs: number; pauseMs: number };

const RETRIED = /^(UNAVAILABLE|RESOURCE_EXHAUSTED)$/;
const PAUSE_MIN_MS = 20;
const PAUSE_MAX_MS = 200;
const RANGES_MAX = 1024;

export class RockpoolClient {
  /** For those who want to know how it went. */
  readonly counts = { connects: 0, retries: 0, damaged: 0 };
  readonly #options: ClientOptions;
  readonly #runtime: Runtime;
  readonly #masters: string[];
  /** CRC-32C, by the best there is by now. */
  crc: Crc = crcInTypeScript;
  #leader: string | undefined;
  #session: Promise<Session> | undefined;

  constructor(options: ClientOptions, runtime: Runtime) {
    this.#options = options;
    this.#runtime = runtime;
    this.#masters = [options.masters].flat().map((master) => this.#url(master));
    // Compiled while the first connection is made.
    void runtime.kernel().then(async (module) => {
      if (module !== null) this.crc = await crcOfModule(module);
    });
  }

  status(path: string, signal?: AbortSignal): Promise<EdgeStatus> {
    return this.call({ op: "status", path }, signal);
  }

  /** The children of a directory in order of their names, as they are asked for. */
  async *list(path: string, signal?: AbortSignal): AsyncGenerator<EdgeStatus, void, undefined> {
    for (let after: string | null = ""; after !== null; ) {
      const page: EdgeListing = await this.call({ op: "list", path, after }, signal);
      yield* page.entries;
      after = page.next;
    }
  }

  /** Opens a file, or a piece of it; what the file has not is left out. */
  async open(path: string, options: ReadOptions = {}): Promise<Opened> {
    const aborter = new AbortController();
    const { signal } = options;
    const abort = () => aborter.abort(signal?.reason);
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort);
    const chunks = this.#read(path, options, aborter.signal);
    // The first thing it gives.
    const head = (await chunks.next()).value as Head;
    const end = () => signal?.removeEventListener("abort", abort);
    let rest: Uint8Array | undefined;
    // Readers that bring their own memory keep this runtime's from filling with what is only waiting to be collected.
    const body = new ReadableStream({
      type: "bytes",
      async pull(controller) {
        if (rest === undefined) {
          const { done, value } = await chunks.next();
          if (done) {
            end();
            controller.close();
            controller.byobRequest?.respond(0);
            return;
          }
          rest = value as Uint8Array; // all but the first
        }
        const request = controller.byobRequest;
        const view = request?.view;
        if (request == null || view == null) {
          controller.enqueue(rest as Uint8Array<ArrayBuffer>); // no message is shared memory
          rest = undefined;
          return;
        }
        const count = Math.min(view.byteLength, rest.length);
        new Uint8Array(view.buffer, view.byteOffset).set(rest.subarray(0, count));
        if (count === rest.length) discard(rest);
        rest = count < rest.length ? rest.subarray(count) : undefined;
        request.respond(count);
      },
      cancel(reason) {
        end();
        aborter.abort(reason);
      },
    });
    return { ...head, body };
  }

  async stream(path: string, options?: ReadOptions): Promise<Opened["body"]> {
    return (await this.open(path, options)).body;
  }

  /** Reads a file, or a piece of it, that fits in memory. */
  async read(path: string, options: ReadOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
    let into = new Uint8Array(0);
    let at = 0;
    for await (const item of this.#read(path, options, options.signal))
      if (item instanceof Uint8Array) {
        into.set(item, at);
        at += item.length;
        discard(item);
      } else into = new Uint8Array(item.length);
    return into;
  }

  /** Many small pieces (64 KiB at most) in one round trip, in the order of asking; what failed is an EdgeError. */
  async readMany(
    ranges: readonly Range[],
    signal?: AbortSignal,
  ): Promise<(Uint8Array | EdgeError)[]> {
    const into: (Uint8Array | EdgeError)[] = [];
    for (let from = 0; from < ranges.length; from += RANGES_MAX)
      await this.retried(async (session) => {
        const some = ranges.slice(from, from + RANGES_MAX);
        const request: EdgeRequest = { op: "readMany", ranges: some };
        for await (const frame of session.frames(request, this.#windowBytes, signal))
          for (const [index, item] of itemsOf(frame)) into[from + index] = item;
      }, signal);
    return into;
  }

  /** A request with one answer. */
  call<T>(request: EdgeRequest, signal?: AbortSignal): Promise<T> {
    return this.retried(async (session) => {
      for await (const frame of session.frames(request, 0, signal)) return documentOf<T>(frame);
      throw unavailable("No answer"); // the last frame is an answer
    }, signal);
  }

  /** Does something on a connection to the leader, again on another one while it may help. */
  async retried<T>(work: (session: Session) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const patience = this.#patience();
    for (;;)
      try {
        return await work(await this.connect(signal));
      } catch (error) {
        await this.#pause(error, patience, signal);
      }
  }

  /** A connection to the leader. */
  async connect(signal?: AbortSignal): Promise<Session> {
    let session = await this.#session?.catch(() => undefined);
    signal?.throwIfAborted();
    if (session === undefined || session.failure !== undefined) {
      if (session !== undefined) this.#leave(session);
      // Others may have begun meanwhile.
      if ((await this.#session?.catch(() => undefined)) === session) this.#session = this.#probe();
      session = await (this.#session as Promise<Session>); // set right above, by somebody
    }
    return session;
  }

  close(): void {
    void this.#session?.then(
      (session) => session.fail(new EdgeError("CANCELLED", "The client is closed")),
      () => {},
    );
  }

  /** Where to look first is where it said to go; where to look last, where it was. */
  #leave({ moved }: Session): void {
    const last = this.#leader;
    const { follow = true } = this.#options;
    this.#leader = moved?.leader && follow ? this.#url(moved.leader) : undefined;
    this.#masters.sort((a, b) => Number(a === last) - Number(b === last));
  }

  get #windowBytes(): number {
    return this.#options.windowBytes ?? this.#runtime.windowBytes;
  }

  #patience(): Patience {
    return { untilMs: Date.now() + (this.#options.budgetMs ?? 10_000), pauseMs: PAUSE_MIN_MS };
  }

  /** Waits before the next attempt. @throws the error when there is to be none */
  async #pause(error: unknown, patience: Patience, signal?: AbortSignal): Promise<void> {
    const isHopeless = !(error instanceof EdgeError) || !RETRIED.test(error.status);
    if (isHopeless || Date.now() >= patience.untilMs || signal?.aborted) throw error;
    this.counts.retries++;
    if (/damaged$/.test(error.message)) this.counts.damaged++;
    // Half of it by chance, so that those who lost the same master do not come back as one.
    await new Promise((resolve) => setTimeout(resolve, patience.pauseMs * (0.5 + Math.random())));
    patience.pauseMs = Math.min(patience.pauseMs * 2, PAUSE_MAX_MS);
  }

  /** First what is read, then the bytes. */
  async *#read(
    path: string,
    { offset = 0, length, etag }: ReadOptions,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Head | Uint8Array, void, undefined> {
    let patience = this.#patience();
    let head: Head | undefined;
    let at = offset;
    let same = etag;
    for (;;)
      try {
        const session = await this.connect(signal);
        const end = head === undefined ? undefined : head.offset + head.length;
        const rest = end === undefined ? length : end - at;
        const request = {
          ...{ op: "read", path, offset: at },
          ...(rest === undefined ? {} : { length: rest }),
          ...(same === undefined ? {} : { etag: same }),
        };
        for await (const frame of session.frames(request, this.#windowBytes, signal)) {
          if (frame.type === FRAME.data) {
            if (frame.payload.length === 0) continue;
            if (frame.argument !== at % 2 ** 32) throw unavailable("A frame is out of order");
            at += frame.payload.length;
            patience = this.#patience();
            yield frame.payload;
          } else if (head === undefined) {
            head = documentOf<Head>(frame);
            at = head.offset;
            same = head.status.etag;
            yield head;
          }
        }
        return;
      } catch (error) {
        await this.#pause(error, patience, signal);
      }
  }

  #url(master: string): string {
    const { masters } = this.#options;
    const scheme = /^(https|wss):/.test([masters].flat()[0] ?? "") ? "wss" : "ws";
    const url = new URL(
      /^\w+:\/\//.test(master) ? master.replace(/^http/, "ws") : `${scheme}://${master}`,
    );
    if (url.pathname === "/") url.pathname = "/edge";
    return url.href;
  }

  /** The first master that leads, of those known. The next is tried when one says no, or says nothing for a while. */
  #probe(): Promise<Session> {
    const { hedgeMs = 250, follow = true, token, frameBytes, stallMs = 3000 } = this.#options;
    const waiting = new Set([
      ...(this.#leader === undefined ? [] : [this.#leader]),
      ...this.#masters,
    ]);
    const tried = new Set<string>();
    const begun: Session[] = [];
    this.counts.connects++;
    return new Promise((resolve, reject) => {
      let running = 0;
      let isOver = false;
      let timer: ReturnType<typeof setTimeout> | undefined;
      const end = (winner?: Session) => {
        isOver = true;
        clearTimeout(timer);
        for (const one of begun)
          if (one !== winner) one.fail(unavailable("Another master was faster"));
      };
      const attempt = async (url: string) => {
        let session: Session | undefined;
        try {
          const hello = {
            ...(token === undefined ? {} : { token }),
            ...(frameBytes === undefined ? {} : { frameBytes }),
          };
          const socket = await this.#runtime.dial(url);
          session = new Session(socket, { hello, stallMs, crc: () => this.crc });
          begun.push(session);
          if (isOver) return session.fail(unavailable("Too late"));
          const { masters } = await session.welcomed;
          if (isOver) return;
          this.#leader = url;
          this.#learn(masters);
          end(session);
          resolve(session);
        } catch (error) {
          running--;
          const moved = session?.moved;
          if (moved !== undefined && follow) {
            this.#learn(moved.masters);
            if (moved.leader !== null) waiting.add(this.#url(moved.leader));
            for (const one of this.#masters) waiting.add(one);
          }
          const isFinal = error instanceof EdgeError && !RETRIED.test(error.status);
          if (isOver) return;
          if (isFinal) {
            end();
            reject(error);
          } else next(moved?.leader ? this.#url(moved.leader) : undefined, error);
        }
      };
      const next = (best?: string, error?: unknown) => {
        clearTimeout(timer);
        const url =
          best !== undefined && waiting.has(best) && !tried.has(best)
            ? best
            : [...waiting].find((one) => !tried.has(one));
        if (url !== undefined) {
          tried.add(url);
          running++;
          timer = setTimeout(next, hedgeMs);
          void attempt(url);
        } else if (running === 0) {
          end();
          reject(error instanceof EdgeError ? error : unavailable(`No master answers: ${error}`));
        }
      };
      next();
    });
  }

  #learn(masters: Welcome["masters"]): void {
    if (this.#options.follow === false) return;
    for (const master of masters) {
      const url = this.#url(master);
      if (!this.#masters.includes(url)) this.#masters.push(url);
    }
  }
}

/** Gives memory back at once, where that can be done. Nobody else may have it. */
function discard({ buffer }: Uint8Array): void {
  (buffer as { transfer?(bytes: number): void }).transfer?.(0); // newer than some runtimes
}

/** Answers of readMany in a frame: u32 index, u32 status (0: fine), u32 length, then bytes. */
function* itemsOf({ payload }: Frame): Generator<[number, Uint8Array | EdgeError]> {
  const view = new DataView(payload.buffer, payload.byteOffset);
  for (let at = 0; at < payload.length; ) {
    const start = at + 12;
    const end = start + view.getUint32(at + 8, true);
    const bytes = payload.subarray(start, end);
    const index = view.getUint32(at, true);
    if (view.getUint32(at + 4, true) === 0) yield [index, bytes];
    else {
      const { status, message, remedy } = JSON.parse(new TextDecoder().decode(bytes));
      yield [index, new EdgeError(status, message, remedy)];
    }
    at = end;
  }
}
