/**
 * Files as answers to HTTP requests: ranges, ETags, content types, and statuses for what fails.
 * @module
 */
import type { EdgeStatus } from "../../src/edge/words.ts";
import type { RockpoolClient } from "./client.ts";
import { EdgeError } from "./edge_error.ts";

export type RespondOptions = {
  /** `Cache-Control` of what is there. */
  readonly cacheControl?: string;
  /** By name of a file; a good guess when left out. */
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
};

const TYPES = Object.fromEntries(
  "html:text/html css:text/css txt:text/plain md:text/markdown csv:text/csv js:text/javascript mjs:text/javascript json:application/json wasm:application/wasm pdf:application/pdf zip:application/zip xml:application/xml svg:image/svg+xml png:image/png jpg:image/jpeg jpeg:image/jpeg gif:image/gif webp:image/webp avif:image/avif ico:image/x-icon mp4:video/mp4 webm:video/webm mp3:audio/mpeg woff2:font/woff2"
    .split(" ")
    .map((pair) => pair.split(":")),
) as Record<string, string>; // pairs of a name and a type

const STATUSES: Readonly<Record<string, number>> = {
  NOT_FOUND: 404,
  INVALID_ARGUMENT: 400,
  FAILED_PRECONDITION: 404,
  PERMISSION_DENIED: 403,
  UNAUTHENTICATED: 403,
  UNAVAILABLE: 503,
  RESOURCE_EXHAUSTED: 503,
};

function typeOf(name: string): string {
  const type = TYPES[name.slice(name.lastIndexOf(".") + 1).toLowerCase()];
  const isText = type !== undefined && /^text|json|xml|javascript/.test(type);
  return `${type ?? "application/octet-stream"}${isText ? "; charset=utf-8" : ""}`;
}

/** First and last byte; null when the file has none of them; undefined when the header asks for no single range. */
function rangeOf(
  header: string,
  lengthBytes: number,
): readonly [number, number] | null | undefined {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(header) ?? [];
  if (first === undefined || last === undefined || first + last === "") return undefined;
  const start = first === "" ? Math.max(0, lengthBytes - Number(last)) : Number(first);
  const end =
    first === "" || last === "" ? lengthBytes - 1 : Math.min(Number(last), lengthBytes - 1);
  return start <= end ? [start, end] : null;
}

function headersOf(status: EdgeStatus, options: RespondOptions): Headers {
  const headers = new Headers({
    "content-type": options.contentType ?? typeOf(status.name),
    "accept-ranges": "bytes",
    etag: status.etag,
    "last-modified": new Date(status.modifiedMs).toUTCString(),
    "x-content-type-options": "nosniff",
    ...options.headers,
  });
  if (options.cacheControl !== undefined) headers.set("cache-control", options.cacheControl);
  return headers;
}

/** Whether a file is one of those that a header names. */
const names = (header: string, { etag }: EdgeStatus) =>
  header === "*" || header.split(",").some((one) => one.trim() === etag);

/** What conditions and ranges ask for: the file is looked at first, which costs a round trip more. */
async function answered(
  client: RockpoolClient,
  { method, headers, signal }: Request,
  path: string,
  options: RespondOptions,
): Promise<Response> {
  const status = await client.status(path, signal);
  if (status.isDirectory) throw new EdgeError("NOT_FOUND", `${path} is a directory`);
  const wanted = headers.get("if-match");
  if (wanted !== null && !names(wanted, status)) return new Response(null, { status: 412 });
  const given = headersOf(status, options);
  const known = headers.get("if-none-match");
  // Weak ones count here, and nowhere else.
  if (known !== null && names(known.replaceAll("W/", ""), status))
    return new Response(null, { status: 304, headers: given });
  const asked = method === "HEAD" ? null : headers.get("range");
  const ifRange = headers.get("if-range");
  const isSame = ifRange === null || ifRange === status.etag;
  const range = asked !== null && isSame ? rangeOf(asked, status.lengthBytes) : undefined;
  if (range === null) {
    given.delete("cache-control");
    given.set("content-range", `bytes */${status.lengthBytes}`);
    return new Response(null, { status: 416, headers: given });
  }
  const [first, last] = range ?? [0, status.lengthBytes - 1];
  const length = last - first + 1;
  given.set("content-length", `${length}`);
  if (range !== undefined)
    given.set("content-range", `bytes ${first}-${last}/${status.lengthBytes}`);
  const { etag } = status;
  const body =
    method === "HEAD" ? null : await client.stream(path, { offset: first, length, etag, signal });
  return new Response(body, { status: range === undefined ? 200 : 206, headers: given });
}

const CONDITIONS = ["range", "if-match", "if-none-match"];

/** Answers a GET or HEAD with a file. Never throws for what the cluster says; a body that breaks off later errors. */
export async function respond(
  client: RockpoolClient,
  request: Request,
  path: string,
  options: RespondOptions = {},
): Promise<Response> {
  const { method, headers, signal } = request;
  if (method !== "GET" && method !== "HEAD")
    return new Response("Only GET and HEAD", { status: 405, headers: { allow: "GET, HEAD" } });
  try {
    if (method === "GET" && !CONDITIONS.some((name) => headers.has(name))) {
      const { status, length, body } = await client.open(path, { signal });
      const given = headersOf(status, options);
      given.set("content-length", `${length}`);
      return new Response(body, { headers: given });
    }
    try {
      return await answered(client, request, path, options);
    } catch (error) {
      if (!(error instanceof EdgeError) || error.status !== "ABORTED") throw error;
      // Replaced between the look and the read.
      return await answered(client, request, path, options);
    }
  } catch (error) {
    if (!(error instanceof EdgeError)) throw error;
    return new Response(`${error.message}\n`, { status: STATUSES[error.status] ?? 502 });
  }
}
