/**
 * The web port of a process: small answers to GET and HEAD, nothing else.
 *
 * Promises: no request can hold the process: headers, time, URL and number of connections are
 * bounded, bodies are not read; whatever a page does wrong becomes a 500 without details.
 * @module
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { messageOf, RockpoolError } from "../common/errors.ts";

export type WebReply = {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
  /** Where a redirection leads. */
  readonly location?: string;
};

/** @param path decoded, without the query @returns null when there is no such page */
export type WebHandler = (path: string) => WebReply | null | Promise<WebReply | null>;

export type WebServerOptions = {
  readonly bindHost: string;
  /** 0 for any free port. */
  readonly port: number;
  readonly handle: WebHandler;
  /** A page failed: our bug or a part in trouble. The client sees only "500". */
  readonly onError: (path: string, error: unknown) => void;
};

export interface WebServer {
  readonly port: number;
  close(): Promise<void>;
}

const URL_LENGTH_MAX = 2048;
const CONNECTIONS_MAX = 256;
/** Status pages are small and local; who takes longer than this to ask is not asking. */
const REQUEST_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_MS = 5_000;

export const json = (value: unknown, status = 200): WebReply => ({
  status,
  contentType: "application/json; charset=utf-8",
  body: `${JSON.stringify(value)}\n`,
});
export const html = (body: string): WebReply => ({
  status: 200,
  contentType: "text/html; charset=utf-8",
  body,
});
export const plainText = (status: number, body: string): WebReply => ({
  status,
  contentType: "text/plain; charset=utf-8",
  body: `${body}\n`,
});
export const redirect = (location: string): WebReply => ({
  ...plainText(302, `See ${location}`),
  location,
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

async function replyTo(request: IncomingMessage, options: WebServerOptions): Promise<WebReply> {
  const url = request.url ?? "";
  if (request.method !== "GET" && request.method !== "HEAD")
    return plainText(405, "Only GET and HEAD are served here");
  if (url.length > URL_LENGTH_MAX) return plainText(414, "The URL is too long");
  const path = pathOf(url);
  if (path === null) return plainText(400, "The URL cannot be read");
  try {
    return (await options.handle(path)) ?? plainText(404, "There is no such page");
  } catch (error) {
    options.onError(path, error);
    return plainText(500, "The page failed; the log says why");
  }
}

function send(reply: WebReply, response: ServerResponse, isHead: boolean): void {
  const bytes = Buffer.from(reply.body, "utf8");
  response.writeHead(reply.status, {
    "content-type": reply.contentType,
    "content-length": bytes.length,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    ...(reply.location === undefined ? {} : { location: reply.location }),
    ...(reply.status === 405 ? { allow: "GET, HEAD", connection: "close" } : {}),
  });
  response.end(isHead ? undefined : bytes);
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

/** @throws RockpoolError UNAVAILABLE when the port cannot be had */
export async function startWebServer(options: WebServerOptions): Promise<WebServer> {
  const server = createServer(
    {
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
    },
    (request, response) => {
      request.resume(); // a body is allowed by HTTP and of no use here
      void replyTo(request, options).then((reply) =>
        send(reply, response, request.method === "HEAD"),
      );
    },
  );
  server.maxConnections = CONNECTIONS_MAX;
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
