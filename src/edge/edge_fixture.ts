/**
 * A gateway's session on a wire in memory, over files in a Map: for tests.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import { CrcJoiner } from "../kernels/crc_combine.ts";
import { crc32c } from "../kernels/fallback.ts";
import { decodeFrame, encodeFrame, FRAME, type Frame } from "./frame.ts";
import {
  EDGE_LIMITS,
  type EdgeBody,
  type EdgeFile,
  type EdgeFiles,
  type EdgeGatewayEvent,
  type EdgeLimits,
  type EdgeWire,
  edgeCounters,
  type Sum,
} from "./ports.ts";
import { EdgeSession } from "./session.ts";
import { identify } from "./tokens.ts";
import { Watches } from "./watches.ts";
import type { EdgeStatus } from "./words.ts";

const PAGE_BYTES = 65536;

export function statusOf(path: string, lengthBytes: number): EdgeStatus {
  return {
    ...{ id: "1", path, name: path.slice(path.lastIndexOf("/") + 1), lengthBytes },
    ...{ isDirectory: false, isCompleted: true, blockSizeBytes: 1 << 26 },
    ...{ createdMs: 1, modifiedMs: 2, owner: "o", group: "g", mode: 0o644 },
    ...{ persistence: "PERSISTED", cachedPercent: 100, etag: `"${lengthBytes}"` },
  };
}

function pageSums(bytes: Uint8Array): readonly Sum[] {
  const sums: Sum[] = [];
  for (let at = 0; at < bytes.length; at += PAGE_BYTES) {
    const page = bytes.subarray(at, at + PAGE_BYTES);
    sums.push({ lengthBytes: page.length, crc: crc32c(page) });
  }
  return sums;
}

/** Files that everybody may read; chunks of a size of choice, with stored checksums or without. */
export class MemoryFiles implements EdgeFiles {
  readonly files = new Map<string, Uint8Array>();
  readonly operations: string[] = [];
  chunkBytes = 1 << 20;
  hasSums = false;
  /** Checksums of chunks, by file and offset: a worker computes them once, too. */
  readonly #sums = new Map<Uint8Array, Map<string, readonly Sum[]>>();
  /** Thrown by every call. */
  failure: Error | null = null;

  #get(path: string): Uint8Array {
    if (this.failure !== null) throw this.failure;
    const bytes = this.files.get(path);
    if (bytes === undefined) throw new RockpoolError("NOT_FOUND", `${path} does not exist`, "Look");
    return bytes;
  }

  #sumsOf(file: Uint8Array, piece: Uint8Array, at: number): readonly Sum[] {
    const known = this.#sums.get(file) ?? new Map<string, readonly Sum[]>();
    this.#sums.set(file, known);
    const sums = known.get(`${at} ${piece.length}`) ?? pageSums(piece);
    known.set(`${at} ${piece.length}`, sums);
    return sums;
  }

  async status(_user: string, path: string) {
    return statusOf(path, this.#get(path).length);
  }

  async watchable(_user: string, path: string) {
    if (path === "/secret") throw new RockpoolError("PERMISSION_DENIED", "no");
    return (below: string) => !below.startsWith("/secret/");
  }

  async list(_user: string, _path: string, after: string, limit: number) {
    const names = [...this.files.keys()].sort().filter((name) => name.slice(1) > after);
    const entries = names.slice(0, limit).map((name) => statusOf(name, 0));
    return { entries, next: names.length > limit ? (entries.at(-1)?.name ?? null) : null };
  }

  async open(_user: string, path: string): Promise<EdgeFile> {
    const bytes = this.#get(path);
    const status = statusOf(path, bytes.length);
    const { chunkBytes, hasSums } = this;
    const sumsOf = (piece: Uint8Array, at: number) => this.#sumsOf(bytes, piece, at);
    return {
      status,
      places: () => ({ status, blocks: [] }),
      async *chunks(offset, length, signal) {
        for (let at = offset; at < offset + length; at += chunkBytes) {
          signal.throwIfAborted();
          const piece = bytes.subarray(at, Math.min(at + chunkBytes, offset + length));
          yield { bytes: piece, sums: hasSums ? sumsOf(piece, at) : null };
        }
      },
    };
  }

  async create(_user: string, path: string, body: EdgeBody) {
    const pieces: Uint8Array[] = [];
    for await (const piece of body.chunks) pieces.push(piece);
    this.files.set(path, Buffer.concat(pieces));
    return statusOf(path, body.lengthBytes);
  }

  async remove(user: string, path: string) {
    this.operations.push(`${user} removes ${path}`);
  }

  async rename(user: string, path: string, to: string) {
    this.operations.push(`${user} renames ${path} to ${to}`);
  }
}

/** The client's end of a session. */
export class TestClient {
  readonly frames: Frame[] = [];
  readonly events: EdgeGatewayEvent[] = [];
  readonly session: EdgeSession;
  readonly counters = edgeCounters();
  readonly watches = new Watches();
  closed: { readonly code: number; readonly reason: string } | null = null;
  serves = true;
  nowMs = 0;
  tokenLastsMs: number | null = null;
  /** What the wire says that it holds. */
  bufferedBytes = 0;
  readonly #waiting: (() => void)[] = [];
  readonly #drains: (() => void)[] = [];

  constructor(files: EdgeFiles, limits: Partial<EdgeLimits> = {}, token: string | null = null) {
    const wire: EdgeWire = {
      peer: "test:1",
      bufferedBytes: () => this.bufferedBytes,
      send: (bytes, payload = new Uint8Array(0)) => {
        const frame = decodeFrame(Buffer.concat([bytes, payload]), crc32c);
        if (typeof frame === "string") throw new Error(`A frame of the gateway is ${frame}`);
        this.frames.push(frame);
        this.#wake();
      },
      close: (code, reason) => {
        this.closed = { code, reason };
        this.#wake();
      },
      drained: () => new Promise((resolve) => this.#drains.push(resolve)),
    };
    const rules = { tokens: new Map(), secret: null, anonymousUser: "nobody" };
    this.session = new EdgeSession(wire, token, {
      files,
      leadership: {
        serves: () => this.serves,
        term: () => 7,
        leader: () => "m2:19999",
        masters: () => ["m1:19999", "m2:19999"],
      },
      watches: this.watches,
      limits: { ...EDGE_LIMITS, ...limits },
      admit: (given) =>
        given === "writer"
          ? { user: "writer", canWrite: true, lastsMs: null }
          : { ...identify(given, rules, this.nowMs), lastsMs: this.tokenLastsMs },
      release: () => {},
      reads: { take: () => true, give: () => {} },
      nowMs: () => this.nowMs,
      onEvent: (event) => this.events.push(event),
      crc: crc32c,
      joiner: new CrcJoiner(),
      counters: this.counters,
    });
  }

  send(type: number, id: number, argument: number, payload: unknown, isLast = false): void {
    const bytes =
      payload instanceof Uint8Array ? payload : new TextEncoder().encode(JSON.stringify(payload));
    this.session.receive(encodeFrame({ type, id, argument, isLast }, bytes, crc32c));
  }

  hello(token?: string): void {
    this.send(FRAME.hello, 0, 0, { version: 1, ...(token === undefined ? {} : { token }) });
  }

  request(id: number, request: object, credit = 1 << 20): void {
    this.send(FRAME.request, id, credit, request);
  }

  /** Tells those who wait that the wire has room. */
  drain(): void {
    this.bufferedBytes = 0;
    for (const resolve of this.#drains.splice(0)) resolve();
  }

  /** Frames of a request up to its last one. */
  async answer(id: number): Promise<readonly Frame[]> {
    await this.until(() => this.frames.some((frame) => frame.id === id && frame.isLast));
    return this.frames.filter((frame) => frame.id === id);
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

export function documentOf(frame: Frame | undefined): Record<string, unknown> {
  return JSON.parse(new TextDecoder().decode(frame?.payload)) as Record<string, unknown>; // of our own making
}

export function bytesOf(frames: readonly Frame[]): Buffer {
  return Buffer.concat(
    frames.filter(({ type }) => type === FRAME.data).map(({ payload }) => payload),
  );
}
