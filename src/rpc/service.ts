/**
 * Services as tables: what a handler is given and gives, with no word of the transport below.
 *
 * The generated modules in `proto/gen/` describe methods ({@link MethodShape}); a service table
 * pairs them with handlers; an {@link RpcServer} serves tables. `grpc_server.ts` does it with
 * grpc-js; another engine can take its place without a change in any handler.
 * @module
 */

/** Bytes of one gRPC message, without its 5-byte prefix. */
export interface MessageCodec<T, Init = T> {
  /** Takes `Init`: as `T`, but repeated fields and maps may be left out. */
  encode(value: Init): Uint8Array;
  /** @throws DecodeError; may alias `bytes` in byte fields */
  decode(bytes: Uint8Array): T;
}

/** Of a message that is encoded already: made once, sent many times. */
export const ENCODED: MessageCodec<Uint8Array> = {
  encode: (bytes) => bytes,
  decode: (bytes) => bytes,
};

/** `Q` and `S` are request and response as they are received, `QInit` and `SInit` as they are sent. */
export type MethodShape<Q, S, QInit = Q, SInit = S> = {
  /** "/package.Service/Method", exactly as on the wire. */
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly request: MessageCodec<Q, QInit>;
  readonly response: MessageCodec<S, SInit>;
};

/** Who calls. `user` is whom the call acts for, `connectionUser` who logged in (impersonation). */
export type Caller = { readonly user: string; readonly connectionUser: string };

export type CallContext = {
  /** Null on services that are served without authentication. */
  readonly caller: Caller | null;
  /** "host:port" of the peer, for logs and audit. */
  readonly peer: string;
  /** Aborted when the client cancels or its connection goes. Never aborted after the handler is done. */
  readonly signal: AbortSignal;
};

/** The sending half of a stream. */
export interface Outbound<S> {
  /**
   * Takes a message. False: the pipe is full; await `drained()` before the next one.
   * @param onTaken called when the transport needs the message's bytes no more; never when the call ends before that
   */
  send(message: S, onTaken?: () => void): boolean;
  /** Resolves when there is room again. Rejects with CANCELLED when the peer is gone. */
  drained(): Promise<void>;
}

export type UnaryHandler<Q, S> = (request: Q, context: CallContext) => S | Promise<S>;
/** The stream ends with OK when the promise resolves, with the error's status when it rejects. */
export type ServerStreamHandler<Q, S> = (
  request: Q,
  out: Outbound<S>,
  context: CallContext,
) => Promise<void>;
/**
 * `requests` ends when the client half-closes and throws CANCELLED when it cancels. A handler may return before the
 * end of the requests: the stream then ends with OK, and what still arrives is dropped.
 */
export type BidiHandler<Q, S> = (
  requests: AsyncIterable<Q>,
  out: Outbound<S>,
  context: CallContext,
) => Promise<void>;

export type Method =
  | {
      readonly kind: "unary";
      readonly shape: MethodShape<never, never>;
      readonly handle: UnaryHandler<never, unknown>;
    }
  | {
      readonly kind: "serverStream";
      readonly shape: MethodShape<never, never>;
      readonly handle: ServerStreamHandler<never, never>;
    }
  | {
      readonly kind: "bidi";
      readonly shape: MethodShape<never, never>;
      readonly handle: BidiHandler<never, never>;
    };

export type ServiceTable = {
  /** "package.Service". */
  readonly name: string;
  /** False for the few services that Alluxio serves before a client has logged in. */
  readonly isAuthenticated: boolean;
  readonly methods: readonly Method[];
  /** Methods that need a login although the service does not. */
  readonly authenticatedPaths?: readonly string[];
};

export function unary<Q, S, QInit, SInit>(
  shape: MethodShape<Q, S, QInit, SInit>,
  handle: UnaryHandler<Q, SInit>,
): Method {
  return { kind: "unary", shape, handle } as unknown as Method;
}

export function serverStream<Q, S, QInit, SInit>(
  shape: MethodShape<Q, S, QInit, SInit>,
  handle: ServerStreamHandler<Q, SInit>,
): Method {
  return { kind: "serverStream", shape, handle } as unknown as Method;
}

export function bidi<Q, S, QInit, SInit>(
  shape: MethodShape<Q, S, QInit, SInit>,
  handle: BidiHandler<Q, SInit>,
): Method {
  return { kind: "bidi", shape, handle } as unknown as Method;
}

export interface RpcServer {
  addService(table: ServiceTable): void;
  /** @returns the port bound (useful when 0 was asked for). @throws RockpoolError UNAVAILABLE when it is taken */
  listen(host: string, port: number): Promise<number>;
  /** Stops accepting, lets calls finish for `graceMs`, then cuts. */
  close(graceMs: number): Promise<void>;
}
