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

type Address = { readonly host: string; readonly port: number };

/**
 * Finds out where the masters are, the leader first if it is known.
 * @throws RockpoolError UNAVAILABLE when nobody can say
 */
export type MasterInquiry = () => Promise<readonly Address[]>;

export type MasterChannelOptions = {
  /** Every master; at least one, unless they are to be inquired for. */
  readonly addresses: readonly Address[];
  /** Asked before the first call, and again as long as nobody leads: masters may join. */
  readonly inquire?: MasterInquiry | undefined;
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
/** Whoever joins is heard of within this, while a leader is looked for. */
const INQUIRE_EVERY_MS = 1000;

export class MasterChannel {
  readonly #channels: RpcChannel[];
  readonly #open: (address: Address) => RpcChannel;
  readonly #inquire: MasterInquiry | null;
  /** "host port" of each channel. */
  readonly #places: string[];
  #inquiry: Promise<void> | null = null;
  #inquiredMs = Number.NEGATIVE_INFINITY;
  readonly #finder: PrimaryFinder;
  readonly #retry: RetryPolicy;
  #answeredLast: number | null = null;
  readonly #closed = new AbortController();

  constructor(options: MasterChannelOptions) {
    this.#retry = options.retry ?? DEFAULT_RETRY_POLICY;
    // Every call that waits for its next try listens.
    setMaxListeners(0, this.#closed.signal);
    const { auth, keepalive = KEEPALIVE } = options;
    this.#open = (address) => openChannel({ ...address, auth, keepalive });
    this.#channels = options.addresses.map(this.#open);
    this.#places = options.addresses.map(placeOf);
    this.#inquire = options.inquire ?? null;
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
      const index = await this.#find(retries.remainingMs(Date.now()), options.signal);
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
      const index = await this.#find(retries.remainingMs(Date.now()), options.signal);
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

  async #find(budgetMs: number, signal: AbortSignal | undefined): Promise<number> {
    if (this.#inquire === null || this.#finder.leader !== null)
      return this.#finder.find(budgetMs, signal);
    // Known ones are asked at once: to hear of others may take its time.
    if (this.#channels.length === 0) await this.#firstInquiry(budgetMs, signal);
    const found = new AbortController();
    void this.#inquireUntil(found.signal);
    try {
      return await this.#finder.find(budgetMs, signal);
    } finally {
      found.abort();
    }
  }

  async #firstInquiry(budgetMs: number, signal: AbortSignal | undefined): Promise<void> {
    const patience = new AbortController();
    const late = pause(budgetMs, signal, patience.signal).then(() => {
      if (patience.signal.aborted) return;
      throw new RockpoolError(
        "UNAVAILABLE",
        `Nobody said within ${budgetMs} ms where the masters are`,
      );
    });
    try {
      await Promise.race([this.#askForMasters(), late]);
    } finally {
      patience.abort();
    }
  }

  async #inquireUntil(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !this.#closed.signal.aborted) {
      // That nobody says more leaves the masters that are known: those are asked all the while.
      if (performance.now() - this.#inquiredMs >= INQUIRE_EVERY_MS)
        await this.#askForMasters().catch(() => undefined);
      await pause(INQUIRE_EVERY_MS, undefined, signal);
    }
  }

  /** One inquiry for all who wait. */
  #askForMasters(): Promise<void> {
    this.#inquiry ??= this.#learn().finally(() => {
      this.#inquiry = null;
      this.#inquiredMs = performance.now();
    });
    return this.#inquiry;
  }

  async #learn(): Promise<void> {
    const addresses = (await this.#inquire?.()) ?? [];
    if (this.#closed.signal.aborted) return;
    for (const [at, address] of addresses.entries()) {
      const place = placeOf(address);
      if (!this.#places.includes(place)) {
        this.#places.push(place);
        const channel = this.#open(address);
        this.#channels.push(channel);
        this.#finder.add(channel.address);
      }
      if (at === 0) this.#finder.expect(this.#places.indexOf(place));
    }
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

function placeOf({ host, port }: Address): string {
  return `${host} ${port}`;
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
