/**
 * Reading from a cluster, wherever its leader is.
 *
 * Promises: a call ends in its time budget; what it gives was verified; when the leader changes, or a connection breaks or
 * is damaged, a read goes on at the byte where it stood, of the same file, or fails with ABORTED.
 * @module
 */
import { type Crc, FRAME, type Frame } from "../../src/edge/frame.ts";
import type {
  EdgeListing,
  EdgeRequest,
  EdgeStatus,
  Moved,
  Range,
  Welcome,
} from "../../src/edge/words.ts";
import { crcInTypeScript, crcOfModule } from "./crc.ts";
import { EdgeError, unavailable } from "./edge_error.ts";
import { type Patience, patienceOf } from "./patience.ts";
import { documentOf, failureOf, Session, type Socket } from "./session.ts";

export type ClientOptions = {
  /** Web addresses: "https://m1:19999", "ws://m1:19999/edge", "m1:19999"; of some masters or of all. */
  readonly masters: string | readonly string[];
  readonly token?: string;
  /** A call that gets on for so long no bit further fails. */
  readonly budgetMs?: number;
  /** How long the best master may take to answer before the next one is tried, too. */
  readonly hedgeMs?: number;
  /** A connection that is silent for so long is left, one that is being made, too. */
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

const RETRIED = /^(UNAVAILABLE|RESOURCE_EXHAUSTED)$/;
const RANGES_MAX = 1024;
const TOO_SHORT = "Answer too short";

/** What is tried: on a connection to the leader, for as long as the patience lasts. */
type Work<T> = (session: Session, patience: Patience) => Promise<T>;

export class RockpoolClient {
  /** For those who want to know how it went. */
  readonly counts = { connects: 0, retries: 0, damaged: 0 };
  readonly #options: ClientOptions;
  readonly #runtime: Runtime;
  readonly #windowBytes: number;
  readonly #masters: string[];
  /** CRC-32C, by the best there is by now. */
  crc: Crc = crcInTypeScript;
  #leader: string | undefined;
  /** The last one that led. */
  #session: Session | undefined;
  #probing: Promise<Session> | undefined;
  /** Connections that may be open. */
  #begun: Session[] = [];
  #closed: EdgeError | undefined;

  constructor(options: ClientOptions, runtime: Runtime) {
    this.#options = options;
    this.#runtime = runtime;
    this.#windowBytes = options.windowBytes ?? runtime.windowBytes;
    this.#masters = [options.masters].flat().map((master) => this.#url(master));
    // Compiled while the first connection is made.
    runtime
      .kernel()
      .then(async (module) => {
        if (module) this.crc = await crcOfModule(module);
      })
      .catch(() => {}); // not to be had: TypeScript computes the same, more slowly
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
    const patience = this.patience(options.signal);
    const chunks = this.#read(path, options, patience);
    // The first thing it gives.
    const head = (await chunks.next()).value as Head;
    let rest: Uint8Array | undefined;
    // Readers that bring their own memory keep this runtime's from filling with what is only waiting to be collected.
    const body = new ReadableStream({
      type: "bytes",
      start(controller) {
        // Whether anybody is reading just then or not, the master hears of it.
        patience.gone.catch((reason) => {
          controller.error(reason);
          return chunks.return();
        });
      },
      async pull(controller) {
        rest ??= (await chunks.next()).value as Uint8Array | undefined; // all but the first
        const { byobRequest } = controller;
        const view = byobRequest?.view;
        if (!rest) {
          controller.close();
          byobRequest?.respond(0);
        } else if (!view) {
          controller.enqueue(rest as Uint8Array<ArrayBuffer>); // no message is shared memory
          rest = undefined;
        } else {
          const count = Math.min(view.byteLength, rest.length);
          new Uint8Array(view.buffer, view.byteOffset).set(rest.subarray(0, count));
          rest = count < rest.length ? rest.subarray(count) : discard(rest);
          byobRequest.respond(count);
        }
      },
      cancel: (reason) => patience.abort(reason),
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
    for await (const item of this.#read(path, options, this.patience(options.signal)))
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
    for (let from = 0; from < ranges.length; from += RANGES_MAX) {
      const some = ranges.slice(from, from + RANGES_MAX);
      const request: EdgeRequest = { op: "readMany", ranges: some };
      let left = some.length;
      await this.retried(async (session, patience) => {
        for await (const frame of session.frames(request, this.#windowBytes, patience))
          for (const [index, item] of itemsOf(frame)) {
            if (!into[from + index]) {
              left--;
              patience.wait();
            }
            into[from + index] = item;
          }
        if (left > 0) throw unavailable(TOO_SHORT);
      }, signal);
    }
    return into;
  }

  /** A request with one answer. */
  call<T>(request: EdgeRequest, signal?: AbortSignal): Promise<T> {
    return this.retried(async (session, patience) => {
      for await (const frame of session.frames(request, 0, patience)) return documentOf<T>(frame);
      throw unavailable(TOO_SHORT); // the last frame is an answer
    }, signal);
  }

  /**
   * Does something on a connection to the leader, again on another one while it may help.
   * @param kept patience for what goes on behind it
   */
  async retried<T>(work: Work<T>, signal?: AbortSignal, kept?: Patience): Promise<T> {
    const patience = kept ?? this.patience(signal);
    try {
      for (;;)
        try {
          return await work(await this.#connect(patience), patience);
        } catch (error) {
          await this.#pause(error, patience);
        }
    } finally {
      if (!kept) patience.end();
    }
  }

  patience(signal?: AbortSignal): Patience {
    return patienceOf(this.#options.budgetMs ?? 10_000, signal);
  }

  /** Ends its connection, and whatever waits on it, with CANCELLED; it makes no other one. */
  close(): void {
    this.#closed = new EdgeError("CANCELLED", "The client is closed");
    for (const one of this.#begun) one.fail(this.#closed);
  }

  /** A connection to the leader. */
  async #connect({ signal, gone }: Patience): Promise<Session> {
    signal.throwIfAborted();
    if (this.#closed) throw this.#closed;
    if (this.#session && !this.#session.failure) return this.#session;
    this.#probing ??= this.#probe().finally(() => {
      this.#probing = undefined;
    });
    return Promise.race([gone, this.#probing]);
  }

  /** Waits before the next attempt. @throws the error when there is to be none */
  async #pause(error: unknown, patience: Patience): Promise<void> {
    const isHopeless = !(error instanceof EdgeError) || !RETRIED.test(error.status);
    if (isHopeless || patience.signal.aborted) throw error;
    this.counts.retries++;
    if (/damaged$/.test(error.message)) this.counts.damaged++;
    await patience.pause(error);
  }

  /** First what is read, then the bytes. */
  async *#read(
    path: string,
    { offset = 0, length, etag }: ReadOptions,
    patience: Patience,
  ): AsyncGenerator<Head | Uint8Array, void, undefined> {
    let at = offset;
    /** Not known yet. */
    let end = -1;
    let same = etag;
    try {
      for (;;)
        try {
          const session = await this.#connect(patience);
          const rest = end < 0 ? length : end - at;
          // Fields that are undefined are not sent.
          const request = { op: "read", path, offset: at, length: rest, etag: same };
          for await (const frame of session.frames(request, this.#windowBytes, patience)) {
            let item: Head | Uint8Array = frame.payload;
            if (frame.type === FRAME.data) {
              if (item.length === 0) continue;
              if (frame.argument !== at % 2 ** 32 || item.length > end - at)
                throw unavailable("A frame is out of place");
              at += item.length;
            } else if (end < 0) {
              item = documentOf<Head>(frame);
              at = item.offset;
              end = at + item.length;
              same = item.status.etag;
            } else continue;
            patience.rest();
            yield item;
            patience.wait();
          }
          if (at === end) return;
          throw unavailable(TOO_SHORT);
        } catch (error) {
          await this.#pause(error, patience);
        }
    } finally {
      patience.end();
    }
  }

  #url(master: string): string {
    // Of the first of them, when there are several.
    const scheme = /^(https|wss):/.test(String(this.#options.masters)) ? "wss" : "ws";
    const url = new URL(
      master.includes("://") ? master.replace(/^http/, "ws") : `${scheme}://${master}`,
    );
    if (url.pathname === "/") url.pathname = "/edge";
    return url.href;
  }

  /** The first master that leads, of those known. The next is tried when one says no, or says nothing for a while. */
  #probe(): Promise<Session> {
    const { hedgeMs = 250, stallMs = 3000, token, frameBytes } = this.#options;
    if (this.#session) {
      // Where to look first is where it said to go; where to look last, where it was.
      const last = this.#leader;
      this.#leader = this.#learn(this.#session.moved);
      this.#masters.sort((a, b) => Number(a === last) - Number(b === last));
      this.#session = undefined;
    }
    this.counts.connects++;
    const late = unavailable("Too late");
    const tried = new Set<string>();
    let running = 0;
    let isOver = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    return new Promise((resolve, reject) => {
      const end = (winner?: Session) => {
        isOver = true;
        clearTimeout(timer);
        for (const one of this.#begun) if (one !== winner) one.fail(late);
        this.#begun = winner ? [winner] : [];
        this.#session = winner;
      };
      const attempt = async (url: string) => {
        let session: Session | undefined;
        try {
          const socket = await this.#runtime.dial(url);
          const crc: Crc = (bytes, seed) => this.crc(bytes, seed);
          session = new Session(socket, { hello: { token, frameBytes }, stallMs, crc });
          this.#begun.push(session);
          if (isOver || this.#closed) session.fail(this.#closed ?? late);
          const welcome = await session.welcomed;
          if (isOver) return;
          this.#leader = url;
          this.#learn(welcome);
          end(session);
          resolve(session);
        } catch (error) {
          running--;
          if (isOver) return;
          const failure = error instanceof EdgeError ? error : unavailable(`${error}`);
          next(failure, this.#learn(session?.moved));
        }
      };
      const next = (error?: EdgeError, best?: string) => {
        clearTimeout(timer);
        const isFinal = error !== undefined && !RETRIED.test(error.status);
        const url = isFinal
          ? undefined
          : [best, this.#leader, ...this.#masters].find((one) => one && !tried.has(one));
        if (url) {
          tried.add(url);
          running++;
          timer = setTimeout(next, hedgeMs);
          void attempt(url);
        } else if (isFinal || running === 0) {
          end();
          reject(error);
        }
      };
      next();
    });
  }

  /** What a master says about the others. @returns where the leader is, if it is to be followed there */
  #learn(said: (Welcome & { readonly leader?: null }) | Moved | undefined): string | undefined {
    if (!said || this.#options.follow === false) return;
    for (const url of said.masters.map((master) => this.#url(master)))
      if (!this.#masters.includes(url)) this.#masters.push(url);
    return said.leader ? this.#url(said.leader) : undefined;
  }
}

/** Gives memory back at once, where that can be done. Nobody else may have it. */
function discard({ buffer }: Uint8Array): undefined {
  (buffer as { transfer?(bytes: number): void }).transfer?.(0); // newer than some runtimes
}

/** Answers of readMany in a frame: u32 index, u32 status (0: fine), u32 length, then bytes. */
function* itemsOf({ payload }: Frame): Generator<[number, Uint8Array | EdgeError]> {
  const view = new DataView(payload.buffer, payload.byteOffset);
  for (let at = 0; at < payload.length; ) {
    const start = at + 12;
    const end = start + view.getUint32(at + 8, true);
    const bytes = payload.subarray(start, end);
    const isGood = view.getUint32(at + 4, true) === 0;
    yield [view.getUint32(at, true), isGood ? bytes : failureOf({ payload: bytes })];
    at = end;
  }
}
