/**
 * The ports of this library filled in with gRPC.
 * @module
 */

import type { WorkerNetAddress } from "../common/file_facts.ts";
import { type BidiCall, type Credentials, openChannel, type RpcChannel } from "../rpc/channel.ts";
import { MasterChannel, type MasterInquiry } from "../rpc/master_channel.ts";
import type { MethodShape } from "../rpc/service.ts";
import { addressKey, connectHost } from "./block_policy.ts";
import type { Signal } from "./master_client.ts";
import type { MasterPort, WorkerPort } from "./ports.ts";

/** HTTP/2 window of a channel that carries blocks: one window of the worker's read-ahead. */
const BLOCK_WINDOW_BYTES = 4 * 1024 * 1024;

/** The longest pause before a master is asked again: a new leader is followed within this. */
const RETRY_PAUSE_MAX_MS = 200;

class MasterConnection implements MasterPort {
  readonly #channel: MasterChannel;

  constructor(channel: MasterChannel) {
    this.#channel = channel;
  }

  unary<Q, S, QInit, SInit>(
    method: MethodShape<Q, S, QInit, SInit>,
    request: QInit,
    signal: Signal,
    settleMs?: number,
  ): Promise<S> {
    // TypeScript cannot see through NoInfer of a type parameter; it is the same type.
    const given = request as NoInfer<QInit>;
    return this.#channel.unary(method, given, { signal: signal ?? undefined, settleMs });
  }

  stream<Q, S, QInit, SInit>(
    method: MethodShape<Q, S, QInit, SInit>,
    request: QInit,
    signal: Signal,
  ): AsyncIterable<S> {
    const given = request as NoInfer<QInit>; // as above
    return this.#channel.serverStream(method, given, { signal: signal ?? undefined });
  }

  leaderAddress(): string | null {
    return this.#channel.leaderAddress();
  }

  async close(): Promise<void> {
    this.#channel.close();
  }
}

/** @param options `addresses` are "host:port", checked before; none are needed when there is somebody to ask */
export function connectMasters(options: {
  readonly addresses: readonly string[];
  readonly inquire?: MasterInquiry | undefined;
  readonly auth: Credentials;
  readonly callTimeoutMs: number;
}): MasterPort {
  const addresses = options.addresses.map((text) => {
    const colon = text.lastIndexOf(":");
    const host = text.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
    return { host, port: Number(text.slice(colon + 1)) };
  });
  return new MasterConnection(
    new MasterChannel({
      addresses,
      inquire: options.inquire,
      auth: options.auth,
      retry: { baseMs: 20, maxMs: RETRY_PAUSE_MAX_MS, budgetMs: options.callTimeoutMs },
    }),
  );
}

class WorkerConnections implements WorkerPort {
  readonly #auth: Credentials;
  readonly #channels = new Map<string, RpcChannel>();

  constructor(auth: Credentials) {
    this.#auth = auth;
  }

  #channel(address: WorkerNetAddress): RpcChannel {
    const key = addressKey(address);
    const known = this.#channels.get(key);
    if (known !== undefined) return known;
    const channel = openChannel({
      host: connectHost(address),
      port: address.dataPort,
      auth: this.#auth,
      windowBytes: BLOCK_WINDOW_BYTES,
      // A worker that vanished without a word is noticed by the streams' own stall limits.
    });
    this.#channels.set(key, channel);
    return channel;
  }

  bidi<Q, S, QInit, SInit>(
    address: WorkerNetAddress,
    method: MethodShape<Q, S, QInit, SInit>,
    signal: Signal,
  ): Promise<BidiCall<QInit, S>> {
    return this.#channel(address).bidi(method, { signal: signal ?? undefined });
  }

  unary<Q, S, QInit, SInit>(
    address: WorkerNetAddress,
    method: MethodShape<Q, S, QInit, SInit>,
    request: QInit,
    timeoutMs: number,
  ): Promise<S> {
    const given = request as NoInfer<QInit>; // as above
    return this.#channel(address).unary(method, given, { deadlineMs: timeoutMs });
  }

  async close(): Promise<void> {
    for (const channel of this.#channels.values()) channel.close();
    this.#channels.clear();
  }
}

export function connectWorkers(options: { readonly auth: Credentials }): WorkerPort {
  return new WorkerConnections(options.auth);
}
