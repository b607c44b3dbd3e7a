/**
 * A Worker that serves files of a cluster: deploy it as it is, or begin with it. Variables: `ROCKPOOL_MASTERS` (parted by
 * commas), `ROCKPOOL_ROOT` (a directory; what is below it is served), `ROCKPOOL_MAX_AGE` (seconds), `ROCKPOOL_FOLLOW` ("false":
 * connect to nobody but `ROCKPOOL_MASTERS`, as behind a proxy); secret: `ROCKPOOL_TOKEN`.
 *
 * A connection belongs to the request that made it, as the platform wants it, and ends with its answer. Whole files of a few
 * MB are kept in the platform's cache for `ROCKPOOL_MAX_AGE`, ranges of those are answered out of it by the platform.
 * @module
 */
import { connect, type RockpoolClient, respond } from "@rockpool/edge";

export type Env = {
  readonly ROCKPOOL_MASTERS: string;
  readonly ROCKPOOL_TOKEN?: string;
  readonly ROCKPOOL_ROOT?: string;
  readonly ROCKPOOL_MAX_AGE?: string;
  readonly ROCKPOOL_FOLLOW?: string;
};

type Context = { waitUntil(work: Promise<unknown>): void };
type DefaultCache = { readonly default?: Cache };

/** The cache takes a file as fast as it comes; what the client has not yet taken by then stays in memory. */
const CACHED_BYTES_MAX = 4 * 1024 * 1024;

/** Null for what is no path below the root. @throws URIError when it is no text */
function pathOf(url: string, root: string): string | null {
  const path = decodeURIComponent(new URL(url).pathname);
  if (path.split("/").includes("..") || path.includes("\0")) return null;
  return `${root.replace(/\/$/, "")}${path}`;
}

function clientOf(env: Env): RockpoolClient {
  return connect({
    masters: env.ROCKPOOL_MASTERS.split(",")
      .map((master) => master.trim())
      .filter((master) => master !== ""),
    follow: env.ROCKPOOL_FOLLOW !== "false",
    ...(env.ROCKPOOL_TOKEN === undefined ? {} : { token: env.ROCKPOOL_TOKEN }),
  });
}

/** Closes the client when the answer was sent, or nobody wants it any more. */
function closing(response: Response, client: RockpoolClient, context: Context): Response {
  // What failed has a text of its own.
  if (response.body === null || !response.ok) {
    client.close();
    return response;
  }
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const sent = response.body
    .pipeTo(writable)
    .catch(() => {}) // whoever reads is told, or has gone
    .finally(() => client.close());
  context.waitUntil(sent);
  return new Response(readable, response);
}

// biome-ignore lint/style/noDefaultExport: how the platform finds it
export default {
  async fetch(request: Request, env: Env, context: Context): Promise<Response> {
    let path: string | null;
    try {
      path = pathOf(request.url, env.ROCKPOOL_ROOT ?? "/");
    } catch {
      return new Response("Bad request\n", { status: 400 }); // what is behind a % is no text
    }
    if (path === null) return new Response("Not found\n", { status: 404 });
    const { default: cache } = (globalThis.caches ?? {}) as DefaultCache;
    const kept = await cache?.match(request);
    if (kept !== undefined) return kept;
    const rockpool = clientOf(env);
    let response: Response;
    try {
      const cacheControl = `public, max-age=${env.ROCKPOOL_MAX_AGE ?? 60}`;
      response = await respond(rockpool, request, path, { cacheControl });
    } catch (error) {
      rockpool.close();
      throw error;
    }
    const answer = closing(response, rockpool, context);
    const isKept =
      request.method === "GET" &&
      answer.status === 200 &&
      Number(answer.headers.get("content-length")) <= CACHED_BYTES_MAX;
    if (cache !== undefined && isKept) context.waitUntil(cache.put(request, answer.clone()));
    return answer;
  },
};
