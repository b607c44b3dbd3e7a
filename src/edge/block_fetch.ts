/**
 * A block's bytes with the checksums that its worker keeps, over HTTP from the worker's web port.
 * @module
 */
import { Agent, get, type IncomingMessage } from "node:http";
import { messageOf, RockpoolError } from "../common/errors.ts";
import { StretchParser } from "./block_url.ts";
import type { EdgeChunk } from "./ports.ts";

/** The worker has the block at hand: who is silent for so long has trouble. */
const SILENCE_MAX_MS = 5000;
/** Bytes also stand still because our client takes none. */
const STANDSTILL_MAX_MS = 60_000;

export type BlockPlace = {
  readonly host: string;
  readonly port: number;
  /** Signed; without `sums`. */
  readonly path: string;
};

function failed(place: BlockPlace, why: string): RockpoolError {
  return new RockpoolError(
    "UNAVAILABLE",
    `Reading from worker ${place.host}:${place.port}: ${why}`,
  );
}

export class BlockFetcher {
  readonly #agent = new Agent({ keepAlive: true, maxFreeSockets: 16, timeout: SILENCE_MAX_MS });

  close(): void {
    this.#agent.destroy();
  }

  /**
   * A stretch of a block, in chunks of whole pages where it has them.
   * @throws RockpoolError UNAVAILABLE when the worker does not give all of it; what it gave before counts
   */
  async *read(
    place: BlockPlace,
    startBytes: number,
    lengthBytes: number,
    signal: AbortSignal,
  ): AsyncGenerator<EdgeChunk, void, undefined> {
    const { host, port, path } = place;
    const reply = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = get(
        {
          ...{ host, port, path: `${path}&sums=1`, agent: this.#agent, signal },
          headers: { range: `bytes=${startBytes}-${startBytes + lengthBytes - 1}` },
        },
        resolve,
      );
      request.setTimeout(SILENCE_MAX_MS, () => request.destroy(failed(place, "it is silent")));
      request.once("response", () => request.setTimeout(STANDSTILL_MAX_MS));
      request.on("error", (error) => reject(failed(place, error.message)));
    });
    if (reply.statusCode !== 206) {
      reply.resume();
      throw failed(place, `it answers ${reply.statusCode ?? "nothing"}`);
    }
    const parser = new StretchParser();
    let received = 0;
    try {
      for await (const piece of reply as AsyncIterable<Buffer>)
        for (const chunk of parser.push(piece)) {
          received += chunk.bytes.length;
          yield chunk;
        }
      for (const chunk of parser.flush()) {
        received += chunk.bytes.length;
        yield chunk;
      }
    } catch (error) {
      if (error instanceof RockpoolError) throw error;
      throw failed(place, messageOf(error));
    } finally {
      if (!reply.complete) reply.destroy();
    }
    if (received > lengthBytes) throw failed(place, "it sent too much");
    if (received < lengthBytes) throw failed(place, `it ends after ${received} bytes`);
  }
}
