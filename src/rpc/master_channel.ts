/**
 * Calls to whichever master leads.
 *
 * A call is encoded once and sent, with the same bytes, until a leader has answered it or the retry policy ends: the
 * operation id inside makes the repetition harmless. With one master there is no search: it is simply called.
 * @module
 */
import { setMaxListeners } from "node:events";
import { RockpoolError } from "../common/errors.ts";
import { ServiceType, ServiceVersionClientService } from "../proto/gen/version.ts";
import {
  type CallOptions,
  type ChannelOptions,
  type Credentials,
  openChannel,
  type RpcChannel,
} from "./channel.ts";
import { pause } from "./pause.ts";
import { PrimaryFinder } from "./primary_finder.ts";
import { DEFAULT_RETRY_POLICY, Retries, type RetryPolicy } from "./retry.ts";
import { ENCODED, type MethodShape } from "./service.ts";

export type MasterChannelOptions = {
  /** Every master; at least one. */
  readonly addresses: readonly { readonly host: string; readonly port: number }[];
  readonly auth: Credentials;
  readonly retry?: RetryPolicy;
  readonly keepalive?: NonNullable<ChannelOptions["keepalive"]>;
};

export type MasterCallOptions = CallOptions & {
  /**
   * Once a master may have the request, the signal ends the call only after this time: what the master did with it
   * is what counts. Without it the signal ends the call at once, and the request may have been carried out.
   */
  readonly settleMs?: number | undefined;
};

/** A master that hangs is given up by pings after three seconds, not by the call. */
const KEEPALIVE = { timeMs: 2000, timeoutMs: 1000 };
const PROBE_TIMEOUT_MS = 2000;

export class MasterChannel {
  readonly #channels: readonly RpcChannel[];
  readonly #finder: PrimaryFinder;
  readonly #retry: RetryPolicy;
  #answeredLast: number | null = null;
  readonly #closed = new AbortController();

  constructor(options: MasterChannelOptions) {
    this.#retry = options.retry ?? DEFAULT_RETRY_POLICY;
    // Every call that waits for its next try listens.
    setMaxListeners(0, this.#closed.signal);
    const { auth, keepalive = KEEPALIVE } = options;
    this.#channels = options.addresses.map((address) =>
      openChannel({ ...address, auth, keepalive }),
    );
    this.#finder = new PrimaryFinder({
      addresses: this.#channels.map((channel) => channel.address),
      probe: (index, signal) => this.#probe(index, signal),
    });
  }

  /** "host:port" of the master that answered last; null before the first answer. */
  leaderAddress(): string | null {
    return this.#answeredLast === null ? null : this.#channelAt(this.#answeredLast).address;
  }

  /**
   * @param options `deadlineMs` bounds each try; the retry policy bounds the call
   * @throws RockpoolError CANCELLED when the signal ended it; UNKNOWN when `settleMs` was not enough for an answer
   */
  async unary<Q, S, QInit, SInit>(
    shape: MethodShape<Q, S, QInit, SInit>,
    request: NoInfer<QInit>,
    options: MasterCallOptions = {},
  ): Promise<S> {
    const { signal, settleMs } = options;
    if (signal === undefined || settleMs === undefined) return this.#unary(shape, request, options);
    const settling = new Settling(signal, settleMs);
    try {
      return await this.#unary(shape, request, {
        ...options,
        signal: settling.signal,
        onSend: settling.onSend,
      });
    } catch (error) {
      throw settling.isInVain ? unknownOutcome(shape.path, settleMs, error) : error;
    } finally {
      settling.end();
    }
  }

  async #unary<Q, S, QInit, SInit>(
    shape: MethodShape<Q, S, QInit, SInit>,
    request: NoInfer<QInit>,
    options: CallOptions,
  ): Promise<S> {
    const encoded = { ...shape, request: ENCODED };
    const bytes = shape.request.encode(request);
    const retries = new Retries(this.#retry, Date.now());
    for (;;) {
      const index = await this.#finder.find(retries.remainingMs(Date.now()), options.signal);
      try {
        const answer = await this.#channelAt(index).unary(encoded, bytes, options);
        this.#answeredLast = index;
        return answer;
      } catch (error) {
        await this.#afterFailure(error, index, retries, options.signal);
      }
    }
  }

  /** Retried until the first message; after it a failure is the caller's, since what follows could contradict it. */
  async *serverStream<Q, S, QInit, SInit>(
    shape: MethodShape<Q, S, QInit, SInit>,
    request: NoInfer<QInit>,
    options: CallOptions = {},
  ): AsyncGenerator<S> {
    const encoded = { ...shape, request: ENCODED };
    const bytes = shape.request.encode(request);
    const retries = new Retries(this.#retry, Date.now());
    for (;;) {
      const index = await this.#finder.find(retries.remainingMs(Date.now()), options.signal);
      let hasBegun = false;
      try {
        for await (const message of this.#channelAt(index).serverStream(encoded, bytes, options)) {
          hasBegun = true;
          yield message;
        }
        this.#answeredLast = index;
        return;
      } catch (error) {
        if (hasBegun) throw error;
        await this.#afterFailure(error, index, retries, options.signal);
      }
    }
  }

  /** Cancels what is running. Idempotent. */
  close(): void {
    this.#closed.abort();
    this.#finder.close();
    for (const channel of this.#channels) channel.close();
  }

  #channelAt(index: number): RpcChannel {
    const channel = this.#channels[index];
    if (channel === undefined)
      throw new RockpoolError("INVALID_ARGUMENT", "A cluster needs the address of a master");
    return channel;
  }

  /** Returns when the call shall be sent again, throws when it shall not. */
  async #afterFailure(
    error: unknown,
    index: number,
    retries: Retries,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (signal?.aborted === true || this.#closed.signal.aborted) throw error;
    const pauseMs = retries.pauseAfter(error, Date.now(), Math.random());
    if (pauseMs === null) throw error;
    // What is worth a retry is what a leader does not say.
    this.#finder.forget(index);
    // Looking for the leader has pauses of its own; only a master that says it leads and fails again must be spared.
    if (this.#channels.length > 1 && retries.failures === 1) return;
    await pause(pauseMs, signal, this.#closed.signal);
    if (this.#closed.signal.aborted) throw error;
  }

  /** Standbys refuse this question; only a leader that serves answers it. */
  async #probe(index: number, signal: AbortSignal): Promise<void> {
    await this.#channelAt(index).unary(
      ServiceVersionClientService.methods.getServiceVersion,
      { serviceType: ServiceType.META_MASTER_CLIENT_SERVICE },
      { signal, deadlineMs: PROBE_TIMEOUT_MS, isAuthenticated: false },
    );
  }
}

/** A signal that fires with the caller's, or, once the request is on its way, some time after it. */
class Settling {
  readonly #caller: AbortSignal;
  readonly #settleMs: number;
  readonly #controller = new AbortController();
  #isSent = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(caller: AbortSignal, settleMs: number) {
    this.#caller = caller;
    this.#settleMs = settleMs;
    caller.addEventListener("abort", this.#onAbort);
    if (caller.aborted) this.#onAbort();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Whether an answer was waited for until the end of the time. */
  get isInVain(): boolean {
    return this.#isSent && this.#controller.signal.aborted;
  }

  readonly onSend = (): void => {
    this.#isSent = true;
  };

  readonly #onAbort = (): void => {
    const abort = () => this.#controller.abort(this.#caller.reason);
    if (this.#isSent) this.#timer = setTimeout(abort, this.#settleMs);
    else abort();
  };

  end(): void {
    clearTimeout(this.#timer);
    this.#caller.removeEventListener("abort", this.#onAbort);
  }
}

function unknownOutcome(path: string, settleMs: number, cause: unknown): RockpoolError {
  const method = path.slice(path.lastIndexOf("/") + 1);
  return new RockpoolError(
    "UNKNOWN",
    `No master answered ${method} within ${settleMs} ms after it was cancelled: it may have been done`,
    "Look at the path before you try again",
    { cause },
  );
}
