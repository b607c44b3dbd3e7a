/**
 * Reading in bulk over HTTP, straight from the workers: what browsers do several times as fast as WebSockets.
 *
 * The master says where the blocks are, with URLs that count for some minutes; workers send the checksums that they keep along with
 * the bytes, and each page is verified. What a worker does not give is read by way of the master.
 * @module
 */
import type { EdgePlaces, EdgeStatus } from "../../src/edge/words.ts";
import type { RockpoolClient } from "./client.ts";
import { EdgeError } from "./edge_error.ts";

const HEADER_BYTES = 8;
const STRETCH_BYTES_MAX = 1024 * 1024;

export type DirectCounts = { direct: number; relayed: number };

/** Stretches out of a body: u32 length, u32 CRC-32C, bytes. */
async function* stretches(
  body: ReadableStream<Uint8Array>,
  crc: (bytes: Uint8Array) => number,
): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = body.getReader();
  let kept = new Uint8Array(0);
  try {
    for (;;) {
      const { done, value } = await reader.read();
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
    await reader.cancel();
  }
}

/** A whole file's bytes in order. `counts` is told how many of them came from where. */
export async function* readDirect(
  client: RockpoolClient,
  path: string,
  options: { readonly signal?: AbortSignal; readonly counts?: DirectCounts } = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const { signal, counts = { direct: 0, relayed: 0 } } = options;
  const given = signal === undefined ? {} : { signal };
  const places: EdgePlaces = await client.call({ op: "locate", path }, signal);
  const { etag }: EdgeStatus = places.status;
  for (const { offset, length, urls } of places.blocks) {
    let done = 0;
    for (const url of urls) {
      if (done === length) break;
      try {
        const headers = { range: `bytes=${done}-${length - 1}` };
        const { status, body } = await fetch(`${url}&sums=1`, { headers, ...given });
        if (status !== 206 || body === null) continue;
        for await (const stretch of stretches(body, (bytes) => client.crc(bytes))) {
          done += stretch.length;
          counts.direct += stretch.length;
          yield stretch;
        }
      } catch (error) {
        signal?.throwIfAborted();
        // Not reachable from here, or damaged on its way: there are other copies, and the master.
        if (!(error instanceof TypeError || error instanceof EdgeError)) throw error;
      }
    }
    if (done === length) continue;
    const rest = { offset: offset + done, length: length - done, etag, ...given };
    const reader = (await client.stream(path, rest)).getReader();
    for (;;) {
      const { done: isOver, value } = await reader.read();
      if (isOver) break;
      counts.relayed += value.length;
      yield value;
    }
  }
}
