/**
 * Reading in bulk over HTTP, straight from the workers: what browsers do several times as fast as WebSockets.
 *
 * The master says where the blocks are, with URLs that count for some minutes and are asked for again when they do not any more;
 * workers send the checksums that they keep along with the bytes, and each page is verified. What a worker does not give, or not
 * in time, is read by way of the master.
 * @module
 */
import type { EdgePlaces } from "../../src/edge/words.ts";
import type { RockpoolClient } from "./client.ts";
import { EdgeError } from "./edge_error.ts";
import { type Patience, patienceOf } from "./patience.ts";

const HEADER_BYTES = 8;
const STRETCH_BYTES_MAX = 1024 * 1024;
const STALL_MS = 3000;

export type DirectCounts = { direct: number; relayed: number };

export type DirectOptions = {
  readonly signal?: AbortSignal;
  /** Is told how many bytes came from where. */
  readonly counts?: DirectCounts;
  /** A worker that is silent for so long is left. */
  readonly stallMs?: number;
};

/** Stretches out of a body: u32 length, u32 CRC-32C, bytes. */
async function* stretches(
  body: ReadableStream<Uint8Array>,
  crc: (bytes: Uint8Array) => number,
  patience: Patience,
): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = body.getReader();
  let kept = new Uint8Array(0);
  try {
    for (;;) {
      patience.wait();
      const { done, value } = await Promise.race([patience.gone, reader.read()]);
      patience.rest();
      if (done) break;
      let bytes = value;
      if (kept.length > 0) {
        bytes = new Uint8Array(kept.length + value.length);
        bytes.set(kept);
        bytes.set(value, kept.length);
      }
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      let at = 0;
      while (bytes.length - at >= HEADER_BYTES) {
        const length = view.getUint32(at, true);
        if (length === 0 || length > STRETCH_BYTES_MAX)
          throw new EdgeError("DATA_LOSS", "No stretch");
        if (bytes.length - at < HEADER_BYTES + length) break;
        const stretch = bytes.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length);
        if (crc(stretch) !== view.getUint32(at + 4, true))
          throw new EdgeError("DATA_LOSS", "A page is damaged");
        yield stretch;
        at += HEADER_BYTES + length;
      }
      kept = bytes.slice(at);
    }
  } finally {
    reader.cancel().catch(() => {}); // it may have failed before
  }
}

/** One read of a whole file, and what it has learned of the workers. */
class DirectRead {
  readonly #client: RockpoolClient;
  readonly #path: string;
  readonly #options: DirectOptions;
  readonly #counts: DirectCounts;
  /** Origins that gave nothing at all: not to be reached from here. */
  readonly #unreachable = new Set<string>();

  constructor(client: RockpoolClient, path: string, options: DirectOptions) {
    this.#client = client;
    this.#path = path;
    this.#options = options;
    this.#counts = options.counts ?? { direct: 0, relayed: 0 };
  }

  /** @throws EdgeError ABORTED when it is another file by now */
  async locate(etag?: string): Promise<EdgePlaces> {
    const request = { op: "locate", path: this.#path } as const;
    const places: EdgePlaces = await this.#client.call(request, this.#options.signal);
    if (etag !== undefined && places.status.etag !== etag)
      throw new EdgeError("ABORTED", `${this.#path} was replaced`, "Read it from the beginning");
    return places;
  }

  async *run(): AsyncGenerator<Uint8Array, void, undefined> {
    let places = await this.locate();
    const { etag } = places.status;
    for (const [index, { offset, length }] of places.blocks.entries()) {
      let done = 0;
      let isAnew = false;
      const urls = [...(places.blocks[index]?.urls ?? [])];
      for (let url = urls.shift(); url !== undefined && done < length; url = urls.shift()) {
        const given = { isTooLate: false };
        for await (const piece of this.#fetched(url, done, length, given)) {
          done += piece.length;
          yield piece;
        }
        if (!given.isTooLate || isAnew) continue;
        // Signed too long ago: these are signed now, those of later blocks, too.
        isAnew = true;
        places = await this.locate(etag);
        urls.splice(0, urls.length, ...(places.blocks[index]?.urls ?? []));
      }
      if (done < length) yield* this.#relayed(offset + done, length - done, etag);
    }
  }

  /** What a worker gives of a block; nothing, or less than all, when something is wrong: there are other copies, and the master. */
  async *#fetched(
    url: string,
    from: number,
    length: number,
    given: { isTooLate: boolean },
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const { origin } = new URL(url);
    if (this.#unreachable.has(origin)) return;
    const { signal, stallMs = STALL_MS } = this.#options;
    const patience = patienceOf(stallMs, signal);
    let hasAnswered = false;
    try {
      const headers = { range: `bytes=${from}-${length - 1}` };
      const fetched = fetch(`${url}&sums=1`, { headers, signal: patience.signal });
      const { status, body } = await Promise.race([patience.gone, fetched]);
      hasAnswered = true;
      given.isTooLate = status === 403;
      if (body === null) return;
      if (status !== 206) return await body.cancel();
      for await (const stretch of stretches(body, this.#client.crc, patience)) {
        this.#counts.direct += stretch.length;
        yield stretch;
      }
    } catch {
      // Runtimes call a network's failure by different names: whatever it is, it is not the caller's.
      signal?.throwIfAborted();
      if (!hasAnswered) this.#unreachable.add(origin);
    } finally {
      // Ends the transfer where it still runs.
      patience.abort();
    }
  }

  async *#relayed(
    offset: number,
    length: number,
    etag: string,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const { signal } = this.#options;
    const options = { offset, length, etag, ...(signal === undefined ? {} : { signal }) };
    const reader = (await this.#client.stream(this.#path, options)).getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        this.#counts.relayed += value.length;
        yield value;
      }
    } finally {
      reader.cancel().catch(() => {}); // it may have failed before
    }
  }
}

/** A whole file's bytes in order. */
export function readDirect(
  client: RockpoolClient,
  path: string,
  options: DirectOptions = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  return new DirectRead(client, path, options).run();
}
