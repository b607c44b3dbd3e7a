/**
 * Calls to one server: what a process of ours uses to speak to a master or a worker.
 *
 * A channel is one connection and one login. Both are made when first needed and made again after they are lost: the
 * login's stream lives exactly as long as the connection, so its end is how a lost connection is noticed. A call that
 * the server refuses as UNAUTHENTICATED (it restarted, or forgot us) logs in anew and is sent once more; the server has
 * done nothing with it. Every failure is a RockpoolError with the server's status and message. Nothing is retried
 * otherwise: that is for the caller, who knows what may be repeated (see master_channel.ts).
 * @module
 */
import { randomUUID } from "node:crypto";
import * as grpc from "@grpc/grpc-js";
import { isRockpoolError, RockpoolError, statusName } from "../common/errors.ts";
import {
  ChannelAuthenticationScheme,
  SaslAuthenticationService,
  SaslMessageType,
} from "../proto/gen/sasl_server.ts";
import { ABORT_MESSAGE, asBuffer, MessagePull, MessagePush } from "./message_stream.ts";
import type { MethodShape } from "./service.ts";

export type Credentials =
  | { readonly kind: "simple"; readonly user: string; readonly impersonate?: string }
  | { readonly kind: "none" };

export type ChannelOptions = {
  readonly host: string;
  readonly port: number;
  readonly auth: Credentials;
  /** How long a connection may take; past it calls fail with UNAVAILABLE. 1 s when left out. */
  readonly connectTimeoutMs?: number;
  /** Pings that notice a server which stopped answering; none when left out. */
  readonly keepalive?: { readonly timeMs: number; readonly timeoutMs: number };
  /** HTTP/2 window for what the server sends: for channels that carry blocks. 64 KiB when left out. */
  readonly windowBytes?: number;
  /** Longest message taken from the server; 100 MiB when left out. */
  readonly messageBytesMax?: number;
};

export type CallOptions = {
  readonly deadlineMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** False for services that are served without login; saves the handshake. */
  readonly isAuthenticated?: boolean | undefined;
  /** Called right before the request is given to a connection: from then on the server may act on it. */
  readonly onSend?: (() => void) | undefined;
};

/** A stream in both directions. `responses` must be read, or the call cancelled. */
export type BidiCall<QInit, S> = {
  /** False: the pipe is full; await `drained()` before the next message. */
  send(message: QInit): boolean;
  /** Rejects with the call's failure once it has one. */
  drained(): Promise<void>;
  /** Half-close: nothing more will be sent. */
  end(): void;
  /** Throws the call's failure; leaving the loop early cancels the call. */
  readonly responses: AsyncIterableIterator<S>;
  cancel(): void;
};

export interface RpcChannel {
  /** "host:port". */
  readonly address: string;
  unary<Q, S, QInit, SInit>(
    shape: MethodShape<Q, S, QInit, SInit>,
    request: NoInfer<QInit>,
    options?: CallOptions,
  ): Promise<S>;
  /** The call begins with the first `next`. */
  serverStream<Q, S, QInit, SInit>(
    shape: MethodShape<Q, S, QInit, SInit>,
    request: NoInfer<QInit>,
    options?: CallOptions,
  ): AsyncIterable<S>;
  /** Resolves when connected and logged in. */
  bidi<Q, S, QInit, SInit>(
    shape: MethodShape<Q, S, QInit, SInit>,
    options?: CallOptions,
  ): Promise<BidiCall<QInit, S>>;
  /** Cancels what is running. Idempotent. */
  close(): void;
}

const CONNECT_TIMEOUT_MS = 1000;
const LOGIN_TIMEOUT_MS = 10_000;
const MESSAGE_BYTES_MAX = 100 * 1024 * 1024;
/** A restarted server is found again within this. */
const RECONNECT_MIN_MS = 50;
const RECONNECT_MAX_MS = 500;
/** How long an abort may wait for room in the pipe. */
const ABORT_TIMEOUT_MS = 1000;
/** Alluxio's server wants a password, and takes any. */
const PASSWORD = "noPassword";

const identity = (bytes: Buffer) => bytes;

type Login = {
  readonly metadata: grpc.Metadata;
  readonly stream: grpc.ClientDuplexStream<Buffer, Buffer>;
};

export function openChannel(options: ChannelOptions): RpcChannel {
  return new GrpcChannel(options);
}

/**
 * Servers of gRPC fail a call by trailers; a reset with an HTTP/2 error is a connection that went, as when Node's server closes
 * one that resets more than 33 streams a second for long. grpc-js calls that INTERNAL, in words of its own.
 */
const CONNECTION_LOST = /^Received RST_STREAM with code 2\b|Session closed with error code/;

export function failureOf(status: {
  readonly code: number;
  readonly details: string;
}): RockpoolError {
  const isLost = status.code === grpc.status.INTERNAL && CONNECTION_LOST.test(status.details);
  return new RockpoolError(isLost ? "UNAVAILABLE" : statusName(status.code), status.details);
}

class GrpcChannel implements RpcChannel {
  readonly address: string;
  readonly #options: ChannelOptions;
  readonly #client: grpc.Client;
  readonly #anonymous = new grpc.Metadata();
  /** Settles when logged in; null when it must be done (again). */
  #login: Promise<Login> | null = null;
  #isClosed = false;
  /** Cancels each call that runs; closing a client of grpc-js lets them go on. */
  readonly #running = new Set<() => void>();

  constructor(options: ChannelOptions) {
    const host = options.host.includes(":") ? `[${options.host}]` : options.host;
    this.address = `${host}:${options.port}`;
    this.#options = options;
    this.#client = new grpc.Client(this.address, grpc.credentials.createInsecure(), {
      "grpc.max_receive_message_length": options.messageBytesMax ?? MESSAGE_BYTES_MAX,
      "grpc.max_send_message_length": -1,
      "grpc.initial_reconnect_backoff_ms": RECONNECT_MIN_MS,
      "grpc.max_reconnect_backoff_ms": RECONNECT_MAX_MS,
      // A connection of its own: one channel's close or login is no other's.
      "grpc.use_local_subchannel_pool": 1,
      "grpc.enable_channelz": 0,
      "grpc.enable_http_proxy": 0,
      "grpc.service_config_disable_resolution": 1,
      // A host that moved is looked up again with the next try.
      "grpc.dns_min_time_between_resolutions_ms": RECONNECT_MAX_MS,
      ...(options.keepalive === undefined
        ? {}
        : {
            "grpc.keepalive_time_ms": options.keepalive.timeMs,
            "grpc.keepalive_timeout_ms": options.keepalive.timeoutMs,
          }),
      ...(options.windowBytes === undefined
        ? {}
        : { "grpc-node.flow_control_window": options.windowBytes }),
    });
  }

  async unary<Q, S, QInit, SInit>(
    shape: MethodShape<Q, S, QInit, SInit>,
    request: QInit,
    options: CallOptions = {},
  ): Promise<S> {
    const bytes = asBuffer(shape.request.encode(request));
    return shape.response.decode(
      await this.#withLogin(options, (metadata) =>
        this.#unaryOnce(shape.path, bytes, metadata, options),
      ),
    );
  }

  #unaryOnce(
    path: string,
    bytes: Buffer,
    metadata: grpc.Metadata,
    options: CallOptions,
  ): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#throwIfClosed();
      const { signal } = options;
      throwIfAborted(signal);
      options.onSend?.();
      const call = this.#client.makeUnaryRequest(
        path,
        identity,
        identity,
        bytes,
        metadata,
        deadlineOf(options),
        (error, response) => {
          signal?.removeEventListener("abort", cancel);
          this.#running.delete(cancel);
          if (error !== null) reject(failureOf(error));
          else resolve(response ?? Buffer.alloc(0));
        },
      );
      const cancel = () => call.cancel();
      this.#running.add(cancel);
      signal?.addEventListener("abort", cancel);
      if (signal?.aborted === true) cancel();
    });
  }

  async *serverStream<Q, S, QInit, SInit>(
    shape: MethodShape<Q, S, QInit, SInit>,
    request: QInit,
    options: CallOptions = {},
  ): AsyncGenerator<S> {
    const bytes = asBuffer(shape.request.encode(request));
    const metadata = await this.#ready(options);
    this.#throwIfClosed();
    const call = this.#client.makeServerStreamRequest(
      shape.path,
      identity,
      identity,
      bytes,
      metadata,
      deadlineOf(options),
    );
    const cancel = () => call.cancel();
    const messages = new MessagePull(call, (raw) => shape.response.decode(raw), cancel);
    this.#follow(call, metadata, { ...options, cancel }, (failure) => messages.finish(failure));
    yield* messages;
  }

  async bidi<Q, S, QInit, SInit>(
    shape: MethodShape<Q, S, QInit, SInit>,
    options: CallOptions = {},
  ): Promise<BidiCall<QInit, S>> {
    const metadata = await this.#ready(options);
    this.#throwIfClosed();
    const call = this.#client.makeBidiStreamRequest(
      shape.path,
      identity,
      identity,
      metadata,
      deadlineOf(options),
    );
    let isAborting = false;
    const cancel = () => {
      // A second cancel must not cut off the message which tells that there was a first.
      if (isAborting) return;
      if (call.writableEnded) return call.cancel();
      isAborting = true;
      const failure = new RockpoolError("CANCELLED", "The call was cancelled");
      responses.cut(failure);
      out.fail(failure);
      abort(call);
    };
    const out = new MessagePush(call, (message: QInit) => shape.request.encode(message));
    const responses = new MessagePull(call, (raw) => shape.response.decode(raw), cancel);
    this.#follow(call, metadata, { ...options, cancel }, (failure) => {
      responses.finish(failure);
      out.fail(failure ?? new RockpoolError("CANCELLED", `${this.address} ended the call`));
    });
    return {
      send: (message) => out.send(message),
      drained: () => out.drained(),
      end: () => call.end(),
      responses,
      cancel,
    };
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const login = this.#login;
    this.#login = null;
    // A login that failed has told its callers; there is nothing to end.
    login?.then(({ stream }) => stream.cancel()).catch(() => undefined);
    for (const cancel of [...this.#running]) cancel();
    this.#client.close();
  }

  /** Reports the end of a streaming call once, and ends it when the caller's signal fires. */
  #follow(
    call: grpc.ClientReadableStream<Buffer> | grpc.ClientDuplexStream<Buffer, Buffer>,
    metadata: grpc.Metadata,
    options: { readonly signal?: AbortSignal | undefined; readonly cancel: () => void },
    onEnd: (failure: RockpoolError | null) => void,
  ): void {
    const { cancel } = options;
    this.#running.add(cancel);
    options.signal?.addEventListener("abort", cancel);
    if (options.signal?.aborted === true) cancel();
    // The status says the same; without a listener the process would end.
    call.on("error", () => {});
    call.on("status", (status: grpc.StatusObject) => {
      options.signal?.removeEventListener("abort", cancel);
      this.#running.delete(cancel);
      if (status.code === grpc.status.UNAUTHENTICATED) void this.#forgetLogin(metadata);
      onEnd(status.code === grpc.status.OK ? null : failureOf(status));
    });
  }

  async #withLogin<R>(
    options: CallOptions,
    send: (metadata: grpc.Metadata) => Promise<R>,
  ): Promise<R> {
    const metadata = await this.#ready(options);
    try {
      return await send(metadata);
    } catch (error) {
      const isLoginLost = isRockpoolError(error, "UNAUTHENTICATED") && metadata !== this.#anonymous;
      if (!isLoginLost) throw error;
      await this.#forgetLogin(metadata);
      return send(await this.#ready(options));
    }
  }

  /** Due before each call, without an await between: grpc-js has no status for a call on a closed channel. */
  #throwIfClosed(): void {
    if (this.#isClosed)
      throw new RockpoolError("CANCELLED", `The channel to ${this.address} is closed`);
  }

  /** Connects and logs in if need be. @returns what authenticates a call */
  async #ready(options: CallOptions): Promise<grpc.Metadata> {
    this.#throwIfClosed();
    throwIfAborted(options.signal);
    if (options.isAuthenticated === false || this.#options.auth.kind === "none") {
      await this.#connect(options.signal);
      return this.#anonymous;
    }
    this.#login ??= this.#logIn();
    const { metadata } = await orAborted(this.#login, options.signal);
    return metadata;
  }

  /** Makes the next call log in anew, unless that has been done since `metadata` was in use. */
  async #forgetLogin(metadata: grpc.Metadata): Promise<void> {
    const login = this.#login;
    // A login that fails forgets itself.
    const made = await login?.catch(() => undefined);
    if (made?.metadata !== metadata) return;
    if (this.#login === login) this.#login = null;
    made.stream.cancel();
  }

  async #logIn(): Promise<Login> {
    try {
      await this.#connect();
      this.#throwIfClosed();
      return await this.#handshake();
    } catch (error) {
      this.#login = null;
      throw error;
    }
  }

  /** Waits for a connection; grpc-js alone would wait for as long as the system does. */
  async #connect(signal?: AbortSignal): Promise<void> {
    const channel = this.#client.getChannel();
    const deadline = Date.now() + (this.#options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS);
    let state = channel.getConnectivityState(true);
    while (state !== grpc.connectivityState.READY) {
      if (state === grpc.connectivityState.SHUTDOWN)
        throw new RockpoolError("CANCELLED", `The channel to ${this.address} is closed`);
      if (state === grpc.connectivityState.TRANSIENT_FAILURE)
        throw unreachableServer(this.address, "it refuses connections");
      const seen = state;
      const isChanged = await orAborted(
        new Promise<boolean>((resolve) =>
          channel.watchConnectivityState(seen, deadline, (error) => resolve(error === undefined)),
        ),
        signal,
      );
      if (!isChanged) throw unreachableServer(this.address, "it does not answer");
      state = channel.getConnectivityState(true);
    }
  }

  /** Sends who we are, and keeps the stream for as long as the login shall live. */
  #handshake(): Promise<Login> {
    const { auth } = this.#options;
    const user = auth.kind === "simple" ? auth.user : "";
    const actingFor = auth.kind === "simple" ? (auth.impersonate ?? "") : "";
    const channelId = randomUUID();
    const shape = SaslAuthenticationService.methods.authenticate;
    const stream = this.#client.makeBidiStreamRequest(
      shape.path,
      identity,
      identity,
      this.#anonymous,
      {},
    );
    const metadata = new grpc.Metadata();
    metadata.set("channel-id", channelId);
    const login: Login = { metadata, stream };
    return new Promise((resolve, reject) => {
      const cancel = () => stream.cancel();
      // Until the server has answered; later the login is ended by itself.
      this.#running.add(cancel);
      const timer = setTimeout(cancel, LOGIN_TIMEOUT_MS);
      stream.on("data", (raw: Buffer) => {
        clearTimeout(timer);
        this.#running.delete(cancel);
        if (shape.response.decode(raw).messageType === SaslMessageType.SUCCESS) resolve(login);
        else stream.cancel();
      });
      stream.on("error", () => {});
      stream.on("status", (status: grpc.StatusObject) => {
        clearTimeout(timer);
        this.#running.delete(cancel);
        void this.#forgetLogin(metadata);
        reject(loginFailure(status, this.address));
      });
      stream.write(
        asBuffer(
          shape.request.encode({
            messageType: SaslMessageType.CHALLENGE,
            authenticationScheme: ChannelAuthenticationScheme.SIMPLE,
            message: Buffer.from(`${actingFor}\0${user}\0${PASSWORD}`, "utf8"),
            clientId: channelId,
            channelRef: channelId,
          }),
        ),
      );
    });
  }
}

/** Resets a stream, and tells the server so before Node half-closes it. */
function abort(call: grpc.ClientDuplexStream<Buffer, Buffer>): void {
  // Without room in the pipe the message waits, and so does the half-close that Node sends first.
  const timer = setTimeout(() => call.cancel(), ABORT_TIMEOUT_MS);
  timer.unref(); // the end of the process cuts the connection, which aborts as well
  call.on("status", () => clearTimeout(timer));
  call.end(asBuffer(ABORT_MESSAGE), () => call.cancel());
}

function loginFailure(status: grpc.StatusObject, address: string): RockpoolError {
  if (status.code === grpc.status.UNIMPLEMENTED)
    return new RockpoolError(
      "UNAUTHENTICATED",
      `${address} serves without logins`,
      "Set alluxio.security.authentication.type to NOSASL",
    );
  if (status.code === grpc.status.OK || status.code === grpc.status.CANCELLED)
    return new RockpoolError("UNAVAILABLE", `${address} ended the login`);
  return failureOf(status);
}

function unreachableServer(address: string, why: string): RockpoolError {
  return new RockpoolError(
    "UNAVAILABLE",
    `Cannot connect to ${address}: ${why}`,
    "Check that the process runs and that the address is right",
  );
}

function deadlineOf({ deadlineMs }: CallOptions): grpc.CallOptions {
  return deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true)
    throw new RockpoolError("CANCELLED", "The call was cancelled", "", { cause: signal.reason });
}

/** What `promise` gives, unless the signal fires first. */
async function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  throwIfAborted(signal);
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(new RockpoolError("CANCELLED", "The call was cancelled"));
    signal.addEventListener("abort", onAbort);
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    if (onAbort !== undefined) signal.removeEventListener("abort", onAbort);
  }
}
