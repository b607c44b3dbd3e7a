/**
 * Blocks for edge clients and gateways on a worker's web port: who has a signed URL reads that block.
 * @module
 */
import { Readable } from "node:stream";
import type { BlockId } from "./common/ids.ts";
import { PAGE_BYTES } from "./common/limits.ts";
import { EdgeKeys } from "./conf/edge_keys.ts";
import type { DaemonContext } from "./daemon.ts";
import { allowedBlock, BLOCK_PATH, stretchedBytes, stretchesOf } from "./edge/block_url.ts";
import { edgeSecret } from "./edge_secret.ts";
import { plainText, type WebHandler, type WebReply, type WebRequest } from "./web/server.ts";
import type { VerifiedBlock } from "./worker/verified_pieces.ts";
import type { WorkerProcess } from "./worker/worker_process.ts";

const READS_MAX = 64;
/** Not ours, and hence another page's. */
const NONE: WebHandler = () => null;

/** First and last byte; the whole block without a header; null when it has none of them. */
function rangeOf(header: string | undefined, lengthBytes: number) {
  const [, first = "", last = ""] = /^bytes=(\d+)-(\d*)$/.exec(header ?? "") ?? [];
  if (first === "") return { start: 0, end: lengthBytes, isPart: false };
  const start = Number(first);
  const end = last === "" ? lengthBytes : Math.min(Number(last) + 1, lengthBytes);
  return start < end ? { start, end, isPart: true } : null;
}

export function edgeBlockHandler(
  { configuration, world }: DaemonContext,
  worker: Pick<WorkerProcess, "openBlock">,
): WebHandler {
  const secret = edgeSecret(configuration);
  if (secret === null || !configuration.get(EdgeKeys.edgeEnabled)) return NONE;
  const origins = configuration.get(EdgeKeys.edgeAllowedOrigins);
  let readCount = 0;

  const serve = (block: VerifiedBlock, request: WebRequest): WebReply | null => {
    const range = rangeOf(request.headers.range, block.lengthBytes);
    if (range === null) return null;
    const { start, end, isPart } = range;
    const hasSums = request.query.get("sums") === "1";
    async function* body() {
      try {
        yield* block.pieces(start, end, hasSums ? stretchesOf : ({ bytes }) => Buffer.from(bytes));
      } finally {
        await block.close();
      }
    }
    const readable = Readable.from(body(), { objectMode: false, highWaterMark: 1024 * 1024 });
    // A HEAD, or a client that is gone at once, leaves it without having begun.
    readable.once("close", () => void block.close());
    return {
      status: isPart ? 206 : 200,
      contentType: "application/octet-stream",
      body: readable,
      lengthBytes: hasSums ? stretchedBytes(start, end, PAGE_BYTES) : end - start,
      headers: {
        "accept-ranges": "bytes",
        ...(isPart ? { "content-range": `bytes ${start}-${end - 1}/${block.lengthBytes}` } : {}),
      },
    };
  };

  const opened = async (id: BlockId, request: WebRequest): Promise<WebReply> => {
    const block = await worker.openBlock(id); // a master signed it
    if (block === null) return plainText(404, "The block is not on this worker");
    const reply = serve(block, request);
    if (reply !== null) return reply;
    await block.close();
    return {
      ...plainText(416, "The block has no such bytes"),
      headers: { "content-range": `bytes */${block.lengthBytes}` },
    };
  };

  return async (request) => {
    if (!request.path.startsWith(BLOCK_PATH)) return null;
    const id = allowedBlock(request.path, request.query, secret(), world.clock.wallMs());
    if (id === null) return plainText(403, "The URL is not signed for that, or its time is over");
    if (request.method !== "GET") return plainText(405, "Blocks are read with GET");
    if (readCount >= READS_MAX) return plainText(503, "This worker has too many readers");
    readCount++; // before anything is waited for, so that no burst gets past
    const reply = await opened(id as BlockId, request).catch((error: unknown) => {
      readCount--;
      throw error;
    });
    if (!(reply.body instanceof Readable)) {
      readCount--;
      return reply;
    }
    reply.body.once("close", () => readCount--);
    const { origin } = request.headers;
    const isAllowed = origin !== undefined && (origins.includes("*") || origins.includes(origin));
    const headers = {
      ...reply.headers,
      ...(isAllowed ? { "access-control-allow-origin": origin, vary: "origin" } : {}),
    };
    return { ...reply, headers };
  };
}
