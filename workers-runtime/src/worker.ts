/**
 * A Worker that serves files of a cluster: deploy it as it is, or begin with it. Variables: `ROCKPOOL_MASTERS` (parted by
 * commas), `ROCKPOOL_ROOT` (a directory; what is below it is served), `ROCKPOOL_MAX_AGE` (seconds); secret: `ROCKPOOL_TOKEN`.
 *
 * A connection belongs to the request that made it, as the platform wants it. Whole files that have an ETag are kept in the
 * platform's cache for `ROCKPOOL_MAX_AGE`, ranges are answered out of it by the platform.
 * @module
 */
import { connect, respond } from "@rockpool/edge";

export type Env = {
  readonly ROCKPOOL_MASTERS: string;
  readonly ROCKPOOL_TOKEN?: string;
  readonly ROCKPOOL_ROOT?: string;
  readonly ROCKPOOL_MAX_AGE?: string;
};

type Context = { waitUntil(work: Promise<unknown>): void };
type DefaultCache = { readonly default?: Cache };

/** The platform keeps no larger ones. */
const CACHED_BYTES_MAX = 512 * 1024 * 1024;

/** Null for what is no path below the root. */
function pathOf(url: string, root: string): string | null {
  const path = decodeURIComponent(new URL(url).pathname);
  if (path.split("/").includes("..") || path.includes("\0")) return null;
  return `${root.replace(/\/$/, "")}${path}`;
}

// biome-ignore lint/style/noDefaultExport: how the platform finds it
export default {
  async fetch(request: Request, env: Env, context: Context): Promise<Response> {
    const path = pathOf(request.url, env.ROCKPOOL_ROOT ?? "/");
    if (path === null) return new Response("Not found\n", { status: 404 });
    const { default: cache } = (globalThis.caches ?? {}) as DefaultCache;
    const kept = await cache?.match(request);
    if (kept !== undefined) return kept;
    const rockpool = connect({
      masters: env.ROCKPOOL_MASTERS.split(","),
      ...(env.ROCKPOOL_TOKEN === undefined ? {} : { token: env.ROCKPOOL_TOKEN }),
    });
    const response = await respond(rockpool, request, path, {
      cacheControl: `public, max-age=${env.ROCKPOOL_MAX_AGE ?? 60}`,
    });
    const isKept =
      request.method === "GET" &&
      response.status === 200 &&
      Number(response.headers.get("content-length")) <= CACHED_BYTES_MAX;
    if (cache !== undefined && isKept) context.waitUntil(cache.put(request, response.clone()));
    return response;
  },
};
