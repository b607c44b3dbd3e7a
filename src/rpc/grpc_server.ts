/**
 * Serves tables of handlers over gRPC, with grpc-js below.
 *
 * Bytes cross grpc-js untouched: codecs run here, so that a message that is not of its format is one of our events
 * and an INVALID_ARGUMENT, and never more. A handler's RockpoolError crosses the wire as its status and message; any
 * other error is a bug, becomes INTERNAL with a text that gives nothing away, and is reported through `onEvent` (main.ts
 * ends the process when it is a broken invariant). grpc-js reports "cancelled" after a normal end too; a context
 * forgets its call when the handler is done, so no handler sees that.
 * @module
 */
import type { Http2Server, Settings } from "node:http2";
import { performance } from "node:perf_hooks";
import * as grpc from "@grpc/grpc-js";
import { DecodeError } from "../common/bytes.ts";
import { RockpoolError, STATUS_CODES } from "../common/errors.ts";
import { invariant } from "../common/invariant.ts";
import { asBuffer, cancelledBy, isAbort, MessagePull, MessagePush } from "./message_stream.ts";
import type {
  BidiHandler,
  CallContext,
  Caller,
  Method,
  RpcServer,
  ServerStreamHandler,
  ServiceTable,
  UnaryHandler,
} from "./service.ts";

/** Finds out who calls. */
export interface Authenticator {
  /** @param channelId the call's `channel-id`, if it has one. @throws RockpoolError UNAUTHENTICATED */
  callerOf(channelId: string | undefined): Caller;
}

export type RpcServerEvent =
  /** A handler threw what it should not have: a bug. */
  | { readonly kind: "handlerFailed"; readonly path: string; readonly error: unknown }
  | {
      readonly kind: "malformedMessage";
      readonly path: string;
      readonly peer: string;
      readonly reason: string;
    };

export type GrpcServerOptions = {
  readonly authenticator: Authenticator;
  readonly messageBytesMax: number;
  /** HTTP/2 window of streams and connections for what clients send; 64 KiB (one per round trip) when left out. */
  readonly windowBytes?: number;
  /** Pings by which clients that vanished are noticed. */
  readonly keepalive?: { readonly timeMs: number; readonly timeoutMs: number };
  readonly onEvent?: (event: RpcServerEvent) => void;
  /** Called after each call, for metrics. */
  readonly onCallEnd?: (path: string, status: number, tookMs: number) => void;
};

type RawCall = grpc.ServerUnaryCall<Buffer, Buffer> | grpc.ServerDuplexStream<Buffer, Buffer>;
type Status = { readonly code: number; readonly details: string };

/** Java clients refuse trailers beyond 8 KiB; a character can take 12 bytes of them. */
const STATUS_CHARS_MAX = 3500;
/** How long connections get to end by themselves after the last call. */
const GOODBYE_MS = 500;

const identity = (bytes: Buffer) => bytes;

class ServerContext implements CallContext {
  readonly caller: Caller | null;
  readonly #call: RawCall;
  #controller: AbortController | null = null;
  #isCancelled = false;
  #isOver = false;

  constructor(call: RawCall, caller: Caller | null) {
    this.#call = call;
    this.caller = caller;
  }

  get peer(): string {
    return this.#call.getPeer();
  }

  /** Made when first asked for: most calls never do. */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#isCancelled) this.#controller.abort(cancelledBy(this.peer));
    }
    return this.#controller.signal;
  }

  get isCancelled(): boolean {
    return this.#isCancelled;
  }

  /** @returns false when the call was over already */
  cancel(): boolean {
    if (this.#isOver || this.#isCancelled) return false;
    this.#isCancelled = true;
    this.#controller?.abort(cancelledBy(this.peer));
    return true;
  }

  end(): void {
    this.#isOver = true;
  }
}

export class GrpcServer implements RpcServer {
  readonly #options: GrpcServerOptions;
  readonly #server: grpc.Server;
  /** Calls that `close` waits for. */
  #activeCount = 0;
  #onIdle: (() => void) | null = null;
  /** Ends the streams that stay open for as long as a client is there (logins). */
  readonly #attendants = new Set<() => void>();
  #closing: Promise<void> | null = null;

  constructor(options: GrpcServerOptions) {
    this.#options = options;
    // Its own lines on stderr say nothing that is not also an error or an event of ours.
    grpc.setLogVerbosity(grpc.logVerbosity.NONE);
    this.#server = new grpc.Server({
      "grpc.max_receive_message_length": options.messageBytesMax,
      "grpc.max_send_message_length": -1,
      "grpc.enable_channelz": 0,
      ...(options.keepalive === undefined
        ? {}
        : {
            "grpc.keepalive_time_ms": options.keepalive.timeMs,
            "grpc.keepalive_timeout_ms": options.keepalive.timeoutMs,
          }),
    });
    if (options.windowBytes !== undefined) setStreamWindow(this.#server, options.windowBytes);
  }

  addService(table: ServiceTable): void {
    const definition: Record<string, grpc.MethodDefinition<Buffer, Buffer>> = {};
    const handlers: Record<string, grpc.UntypedHandleCall> = {};
    for (const method of table.methods) {
      const { path, requestStream, responseStream } = method.shape;
      definition[path] = {
        path,
        requestStream,
        responseStream,
        requestSerialize: identity,
        requestDeserialize: identity,
        responseSerialize: identity,
        responseDeserialize: identity,
      };
      const needsLogin = table.authenticatedPaths?.includes(path) === true;
      handlers[path] = this.#handlerOf(method, table.isAuthenticated || needsLogin);
    }
    this.#server.addService(definition, handlers);
  }

  async listen(host: string, port: number): Promise<number> {
    const address = `${host.includes(":") ? `[${host}]` : host}:${port}`;
    const bound = await new Promise<number>((resolve, reject) =>
      this.#server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (error, at) => {
        if (error === null) resolve(at);
        else
          reject(
            new RockpoolError(
              "UNAVAILABLE",
              `Cannot listen on ${address}: ${error.message}`,
              "Stop the process that has the port, or configure another one",
              { cause: error },
            ),
          );
      }),
    );
    if (this.#options.windowBytes !== undefined)
      setConnectionWindow(this.#server, this.#options.windowBytes);
    return bound;
  }

  close(graceMs: number): Promise<void> {
    this.#closing ??= this.#shutDown(graceMs);
    return this.#closing;
  }

  async #shutDown(graceMs: number): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve()));
    if (this.#activeCount > 0)
      await within(
        graceMs,
        new Promise<void>((resolve) => {
          this.#onIdle = resolve;
        }),
      );
    for (const end of [...this.#attendants]) end();
    await within(Math.min(graceMs, GOODBYE_MS), closed);
    this.#server.forceShutdown();
    await within(GOODBYE_MS, closed);
  }

  #handlerOf(method: Method, isAuthenticated: boolean): grpc.UntypedHandleCall {
    const { path, request, response } = method.shape;
    // Tables erase the messages' types, which shape and handler share by construction (`unary`, `serverStream`, `bidi`).
    const decode = request.decode as (bytes: Uint8Array) => unknown;
    const encode = response.encode as (message: unknown) => Uint8Array;
    if (method.kind === "unary") {
      const handle = method.handle as unknown as UnaryHandler<unknown, unknown>;
      const handler: grpc.handleUnaryCall<Buffer, Buffer> = (call, callback) => {
        void this.#run(path, isAuthenticated, call, async (context) => {
          const answer = handle(decode(call.request), context);
          const bytes = encode(answer instanceof Promise ? await answer : answer);
          callback(null, asBuffer(bytes));
        }).then((status) => {
          if (status !== null) callback(status);
        });
      };
      return handler;
    }
    if (method.kind === "serverStream") {
      const handle = method.handle as unknown as ServerStreamHandler<unknown, unknown>;
      const handler: grpc.handleServerStreamingCall<Buffer, Buffer> = (call) => {
        const out = new MessagePush(call, encode);
        call.on("cancelled", () => out.fail(cancelledBy(call.getPeer())));
        void this.#run(path, isAuthenticated, call, (context) =>
          handle(decode(call.request), out, context),
        ).then((status) => finishStream(call, status));
      };
      return handler;
    }
    const handle = method.handle as unknown as BidiHandler<unknown, unknown>;
    return this.#bidiHandler(path, isAuthenticated, { decode, encode, handle });
  }

  #bidiHandler(
    path: string,
    isAuthenticated: boolean,
    method: {
      readonly decode: (bytes: Uint8Array) => unknown;
      readonly encode: (message: unknown) => Uint8Array;
      readonly handle: BidiHandler<unknown, unknown>;
    },
  ): grpc.handleBidiStreamingCall<Buffer, Buffer> {
    return (call) => {
      const decodeUnlessAbort = (bytes: Uint8Array) => {
        if (!isAbort(bytes)) return method.decode(bytes);
        call.emit("cancelled", "abort");
        throw cancelledBy(call.getPeer());
      };
      const out = new MessagePush(call, method.encode);
      const requests = new MessagePull(call, decodeUnlessAbort, () => {});
      call.on("end", () => {
        // A reset looks like a half-close at first. A writer would commit what its client gave up.
        if (isReset(call)) call.emit("cancelled", "reset");
        else requests.finish(null);
      });
      call.on("cancelled", () => {
        const failure = cancelledBy(call.getPeer());
        requests.cut(failure);
        out.fail(failure);
      });
      const end = () => {
        requests.cut(new RockpoolError("UNAVAILABLE", "The server is shutting down"));
      };
      if (!isAuthenticated) this.#attendants.add(end);
      void this.#run(
        path,
        isAuthenticated,
        call,
        (context) => method.handle(requests, out, context),
        isAuthenticated,
      ).then((status) => {
        this.#attendants.delete(end);
        finishStream(call, status);
      });
    };
  }

  /** Runs a handler. @returns the status to end with; null for OK */
  async #run(
    path: string,
    isAuthenticated: boolean,
    call: RawCall,
    handle: (context: CallContext) => Promise<void>,
    isWaitedFor = true,
  ): Promise<Status | null> {
    const startedMs = performance.now();
    if (isWaitedFor) this.#activeCount++;
    let context: ServerContext | null = null;
    let status: Status | null = null;
    try {
      const opened = new ServerContext(call, isAuthenticated ? this.#callerOf(call) : null);
      context = opened;
      call.on("cancelled", () => opened.cancel());
      await handle(opened);
    } catch (error) {
      status = this.#statusOf(error, path, call, context?.isCancelled === true);
    }
    context?.end();
    if (isWaitedFor && --this.#activeCount === 0) this.#onIdle?.();
    this.#options.onCallEnd?.(
      path,
      status?.code ?? (context?.isCancelled === true ? STATUS_CODES.CANCELLED : STATUS_CODES.OK),
      performance.now() - startedMs,
    );
    return status;
  }

  #callerOf(call: RawCall): Caller {
    const channelId = call.metadata.get("channel-id")[0];
    return this.#options.authenticator.callerOf(
      typeof channelId === "string" ? channelId : undefined,
    );
  }

  #statusOf(error: unknown, path: string, call: RawCall, isCancelled: boolean): Status {
    if (error instanceof RockpoolError)
      return { code: STATUS_CODES[error.status], details: printable(error.message) };
    if (error instanceof DecodeError) {
      const reason = error.message;
      this.#options.onEvent?.({ kind: "malformedMessage", path, peer: call.getPeer(), reason });
      return {
        code: STATUS_CODES.INVALID_ARGUMENT,
        details: printable(`A message to ${path} is malformed: ${reason}`),
      };
    }
    if (isCancelled && error instanceof Error && error.name === "AbortError")
      return { code: STATUS_CODES.CANCELLED, details: "Cancelled" };
    this.#options.onEvent?.({ kind: "handlerFailed", path, error });
    return {
      code: STATUS_CODES.INTERNAL,
      details: "Internal error; the server's log says more",
    };
  }
}

/** Text that can be a header: bounded, and without halves of surrogate pairs. */
function printable(text: string): string {
  const bounded = text.length > STATUS_CHARS_MAX ? `${text.slice(0, STATUS_CHARS_MAX)}…` : text;
  const wellFormed = Buffer.from(bounded, "utf8").toString("utf8");
  return encodeURI(wellFormed).length <= 2 * STATUS_CHARS_MAX
    ? wellFormed
    : Buffer.from(wellFormed.slice(0, STATUS_CHARS_MAX / 5)).toString("utf8");
}

function finishStream(
  call: grpc.ServerWritableStream<Buffer, Buffer> | grpc.ServerDuplexStream<Buffer, Buffer>,
  status: Status | null,
): void {
  if (call.cancelled || call.destroyed) return;
  if (status === null) call.end();
  // grpc-js takes a failure as an "error" event and turns it into trailers once what was written has gone out.
  else call.emit("error", status);
}

/**
 * Whether the client reset the stream or its connection is gone. After a half-close neither holds, since our side is
 * still open. Only grpc-js' own stream knows, which has no public way to it.
 */
function isReset(call: grpc.ServerDuplexStream<Buffer, Buffer>): boolean {
  const { call: inner } = call as unknown as {
    call?: { stream?: { readonly closed: boolean; readonly destroyed: boolean } };
  };
  invariant(inner?.stream !== undefined, "grpc-js keeps a call's HTTP/2 stream there");
  return inner.stream.closed || inner.stream.destroyed;
}

/** Resolves when `done` does, or after `timeMs`. */
async function within(timeMs: number, done: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeMs);
  });
  await Promise.race([done, timeout]);
  clearTimeout(timer);
}

/** grpc-js 1.14 has options for windows on clients only: these two reach what its server keeps to itself. */
function setStreamWindow(server: grpc.Server, windowBytes: number): void {
  const inner = server as unknown as { commonServerOptions?: { settings?: Settings } };
  invariant(inner.commonServerOptions !== undefined, "grpc-js keeps its server options there");
  inner.commonServerOptions.settings = {
    ...inner.commonServerOptions.settings,
    initialWindowSize: windowBytes,
  };
}

function setConnectionWindow(server: grpc.Server, windowBytes: number): void {
  const inner = server as unknown as { http2Servers?: Map<Http2Server, unknown> };
  for (const http2Server of inner.http2Servers?.keys() ?? [])
    http2Server.on("session", (session) => session.setLocalWindowSize(windowBytes));
}
