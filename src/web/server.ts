/**
 * The web port of a process: pages, JSON, and streams of bytes in both directions.
 *
 * Promises: no request can hold the process. Headers, URLs, connections, silence and the bodies of requests are bounded; what is
 * streamed waits for whoever reads it; whatever a page does wrong becomes a 500 without details. Nothing here can
 * be framed, sniffed or made to run another's script.
 * @module
 */
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import type { Duplex, Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { messageOf, RockpoolError } from "../common/errors.ts";

export type WebRequest = {
  readonly method: "GET" | "POST";
  /** Decoded, without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** Of a POST; unread bytes end the connection. Its bytes are bounded only by whoever reads them. */
  readonly body: Readable;
  /** "host:port" of the client, for logs. */
  readonly peer: string;
  /** Aborted when the client is gone. */
  readonly signal: AbortSignal;
};

export type WebReply = {
  readonly status: number;
  readonly contentType: string;
  readonly body: string | Uint8Array | Readable;
  /** Of a stream, when it is known. */
  readonly lengthBytes?: number;
  readonly headers?: Readonly<Record<string, string>>;
};

/** @returns null when there is no such page */
export type WebHandler = (request: WebRequest) => WebReply | null | Promise<WebReply | null>;

export type WebServerOptions = {
  readonly bindHost: string;
  /** 0 for any free port. */
  readonly port: number;
  readonly handle: WebHandler;
  /** A page failed: our bug or a part in trouble. The client sees only "500". */
  readonly onError: (path: string, error: unknown) => void;
  /** Takes over what asks to become a WebSocket; when left out it is answered as any request. */
  readonly onUpgrade?: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
};

export interface WebServer {
  readonly port: number;
  close(): Promise<void>;
}

const URL_LENGTH_MAX = 8192;
const CONNECTIONS_MAX = 256;
/** Who takes longer than this to send the head of a request is not asking. */
const HEADERS_TIMEOUT_MS = 10_000;
/** A body that is read whole is a line of text. */
const BODY_TIMEOUT_MS = 10_000;
/** Neither a byte in nor out for so long: whoever it was is gone, or reads too slowly to wait for. */
const SILENCE_MAX_MS = 60_000;
const KEEP_ALIVE_MS = 5_000;
/** Who was refused has so long to take the reason. */
const REFUSED_LINGER_MS = 1_000;
const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
};

export const json = (value: unknown, status = 200): WebReply => ({
  status,
  contentType: "application/json; charset=utf-8",
  body: `${JSON.stringify(value)}\n`,
});
export const plainText = (status: number, body: string): WebReply => ({
  status,
  contentType: "text/plain; charset=utf-8",
  body: `${body}\n`,
});
export const redirect = (location: string): WebReply => ({
  ...plainText(302, `See ${location}`),
  headers: { location },
});

/** The decoded path of a request line; null when it is none. */
export function pathOf(url: string): string | null {
  const raw = url.split(/[?#]/, 1)[0] ?? "";
  if (!raw.startsWith("/")) return null;
  try {
    const path = decodeURIComponent(raw);
    return path.includes("\0") ? null : path;
  } catch (error) {
    if (error instanceof URIError) return null;
    throw error;
  }
}

/**
 * Reads a small body whole.
 * @throws RockpoolError INVALID_ARGUMENT when it is larger than `bytesMax`; DEADLINE_EXCEEDED when it does not end in time
 */
export async function readBody(
  body: Readable,
  bytesMax: number,
  timeoutMs = BODY_TIMEOUT_MS,
): Promise<string> {
  const tooSlow = new RockpoolError(
    "DEADLINE_EXCEEDED",
    "The body does not end",
    "Send it at once",
  );
  const timer = setTimeout(() => body.destroy(tooSlow), timeoutMs);
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > bytesMax)
        throw new RockpoolError(
          "INVALID_ARGUMENT",
          `The body is larger than ${bytesMax} bytes`,
          "Send less",
        );
      chunks.push(chunk);
    }
  } finally {
    clearTimeout(timer);
  }
  return Buffer.concat(chunks).toString("utf8");
}

async function replyTo(
  incoming: IncomingMessage,
  signal: AbortSignal,
  options: WebServerOptions,
): Promise<WebReply> {
  const { url = "", method = "" } = incoming;
  if (method !== "GET" && method !== "HEAD" && method !== "POST")
    return {
      ...plainText(405, "Only GET, HEAD and POST are served here"),
      headers: { allow: "GET, HEAD, POST" },
    };
  if (url.length > URL_LENGTH_MAX) return plainText(414, "The URL is too long");
  const path = pathOf(url);
  if (path === null) return plainText(400, "The URL cannot be read");
  const at = url.indexOf("?");
  const { remoteAddress = "", remotePort = 0 } = incoming.socket;
  try {
    const reply = await options.handle({
      method: method === "POST" ? "POST" : "GET",
      path,
      query: new URLSearchParams(at < 0 ? "" : url.slice(at + 1)),
      headers: incoming.headers,
      body: incoming,
      peer: `${remoteAddress}:${remotePort}`,
      signal,
    });
    return reply ?? plainText(404, "There is no such page");
  } catch (error) {
    if (signal.aborted) return plainText(499, "The client is gone");
    options.onError(path, error);
    return plainText(500, "The page failed; the log says why");
  }
}

async function send(
  reply: WebReply,
  incoming: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { status, contentType, body, lengthBytes, headers } = reply;
  const isStream = typeof body !== "string" && !(body instanceof Uint8Array);
  const bytes = isStream ? null : typeof body === "string" ? Buffer.from(body, "utf8") : body;
  const length = bytes?.length ?? lengthBytes;
  // What is left of a body would be taken for the next request, or never end.
  const isUnread = !incoming.complete;
  response.writeHead(status, {
    ...SECURITY_HEADERS,
    "content-type": contentType,
    ...(length === undefined ? {} : { "content-length": length }),
    ...(isUnread || status === 405 ? { connection: "close" } : {}),
    ...headers,
  });
  const isHead = incoming.method === "HEAD";
  if (bytes !== null) response.end(isHead ? undefined : bytes);
  else if (isHead) {
    (body as Readable).destroy();
    response.end();
  } else {
    // A worker may take a while for the first bytes: that there is an answer is told now.
    response.flushHeaders();
    await pipeline(body as Readable, response);
  }
}

async function answer(
  incoming: IncomingMessage,
  response: ServerResponse,
  options: WebServerOptions,
): Promise<void> {
  const aborter = new AbortController();
  response.on("close", () => aborter.abort());
  // HTTP allows a body here; it is of no use.
  if (incoming.method !== "POST") incoming.resume();
  const reply = await replyTo(incoming, aborter.signal, options);
  try {
    await send(reply, incoming, response);
  } catch (error) {
    // The head is out: all that can be said now is that this was not all.
    if (!aborter.signal.aborted) options.onError(incoming.url ?? "", error);
    response.destroy();
  }
}

function listen(server: Server, options: WebServerOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const taken = error.code === "EADDRINUSE";
      reject(
        new RockpoolError(
          "UNAVAILABLE",
          `Cannot listen on web port ${options.bindHost}:${options.port}: ${taken ? "the port is taken" : messageOf(error)}`,
          "End the program that has the port, or set another web port",
        ),
      );
    });
    server.listen(options.port, options.bindHost, () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : options.port);
    });
  });
}

/**
 * Answers a request to become something else with a no. The connection goes then, whether the client ends its half or not:
 * nothing else would end it.
 * @param status such as "404 Not Found"
 */
export function refuseUpgrade(socket: Duplex, status: string, reason = ""): void {
  const body = reason === "" ? "" : `${reason}\n`;
  socket.resume(); // what it sends on would make the answer get lost with a reset
  socket.end(
    `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
  const timer = setTimeout(() => socket.destroy(), REFUSED_LINGER_MS);
  timer.unref();
  socket.once("end", () => socket.destroy());
  socket.once("close", () => clearTimeout(timer));
}

/** @throws RockpoolError UNAVAILABLE when the port cannot be had */
export async function startWebServer(options: WebServerOptions): Promise<WebServer> {
  const server = createServer(
    // An upload may take as long as it goes on; silence ends it.
    { requestTimeout: 0, headersTimeout: HEADERS_TIMEOUT_MS, keepAliveTimeout: KEEP_ALIVE_MS },
    (incoming, response) => void answer(incoming, response, options),
  );
  server.maxConnections = CONNECTIONS_MAX;
  server.setTimeout(SILENCE_MAX_MS);
  const { onUpgrade } = options;
  if (onUpgrade !== undefined)
    server.on("upgrade", (request, socket, head) => {
      // Node listens no more: without this a reset by the client would end the process.
      socket.on("error", () => socket.destroy());
      onUpgrade(request, socket, head);
    });
  server.on("clientError", (_, socket) => {
    if (socket.writable) socket.end("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
    else socket.destroy();
  });
  const port = await listen(server, options);
  return {
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
