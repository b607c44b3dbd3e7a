/**
 * Which of the masters leads.
 *
 * The leader answers a question that standbys refuse (see `master_channel.ts`), so finding it means asking them all:
 * the one that led last gets a head start, which ends when it refuses; the others follow in parallel, and each is asked
 * again with growing pauses until one says yes. A master that hangs delays nobody, since none waits for another. All callers share one search,
 * which ends with its last caller.
 * @module
 */
import { messageOf, RockpoolError } from "../common/errors.ts";
import { pause } from "./pause.ts";

export type PrimaryFinderOptions = {
  /** "host:port" of every master that is known at first. */
  readonly addresses: readonly string[];
  /** Resolves when the master at that index leads, rejects when it does not or cannot be asked. */
  readonly probe: (index: number, signal: AbortSignal) => Promise<void>;
  /** How long the others wait at most for the answer of the one that led last. 30 when left out. */
  readonly headStartMs?: number;
};

/** Most failures leave the last leader in place: one question instead of one to each. */
const HEAD_START_MS = 30;
/**
 * Pauses between questions to one master. A leader that died is followed within 20 to 60 ms: half a pause of that age is
 * what a client loses on average. One that is only slow to be elected must not be buried under questions.
 */
const PROBE_PAUSE_MIN_MS = 15;
const PROBE_PAUSE_MAX_MS = 500;
const PROBE_PAUSE_GROWTH = 1.5;
/** Up to this share of a pause is added at random, so that clients which lost a leader together ask one by one. */
const PROBE_JITTER = 0.3;

type Search = {
  readonly found: Promise<number>;
  readonly resolve: (index: number) => void;
  readonly fail: (error: RockpoolError) => void;
  readonly stop: AbortController;
  /** Fires when the one that led last has refused. */
  readonly headStartOver: AbortController;
  callerCount: number;
  lastError: unknown;
};

export class PrimaryFinder {
  readonly #options: PrimaryFinderOptions;
  readonly #addresses: string[];
  #leader: number | null = null;
  #lastLeader = 0;
  #search: Search | null = null;
  #isClosed = false;

  constructor(options: PrimaryFinderOptions) {
    this.#options = options;
    this.#addresses = [...options.addresses];
  }

  /** One more master, which a search that runs asks, too. */
  add(address: string): void {
    const index = this.#addresses.push(address) - 1;
    if (this.#search !== null) this.#askToo(index, this.#search);
  }

  /** The master at `index` is said to lead: it gets the head start. */
  expect(index: number): void {
    this.#lastLeader = index;
  }

  /** Index of the leader as far as it is known. */
  get leader(): number | null {
    return this.#leader;
  }

  /** The master at `index` failed or refused: look again before the next call. */
  forget(index: number): void {
    if (this.#leader === index) this.#leader = null;
  }

  /** Ends the search that runs, and every later one, with CANCELLED. */
  close(): void {
    this.#isClosed = true;
    if (this.#search === null) return;
    this.#search.fail(closedError());
    this.#end(this.#search);
  }

  /**
   * @returns the index of the leader
   * @throws RockpoolError UNAVAILABLE when none was found within the budget; CANCELLED by the signal or `close`
   */
  async find(budgetMs: number, signal?: AbortSignal): Promise<number> {
    if (this.#isClosed) throw closedError();
    if (this.#leader !== null) return this.#leader;
    if (this.#addresses.length === 1) return 0;
    this.#search ??= this.#begin();
    const search = this.#search;
    search.callerCount++;
    const patience = new AbortController();
    try {
      const winner = await Promise.race([
        search.found,
        pause(budgetMs, signal, patience.signal).then(() => null),
      ]);
      if (winner !== null) return winner;
      throw new RockpoolError(
        "UNAVAILABLE",
        `None of the masters ${this.#addresses.join(", ")} leads: ${messageOf(search.lastError)}`,
        "Check that a majority of the masters runs and reaches each other",
      );
    } finally {
      patience.abort();
      search.callerCount--;
      if (search.callerCount === 0) this.#end(search);
    }
  }

  #begin(): Search {
    const stop = new AbortController();
    let resolve: (index: number) => void = () => {};
    let fail: (error: RockpoolError) => void = () => {};
    const found = new Promise<number>((fulfil, reject) => {
      resolve = fulfil;
      fail = reject;
    });
    found.catch(() => undefined); // whoever waits for it hears of it
    const headStartOver = new AbortController();
    const lastError = "nobody answered";
    const search: Search = { found, resolve, fail, stop, headStartOver, callerCount: 0, lastError };
    for (const index of this.#addresses.keys()) this.#askToo(index, search);
    return search;
  }

  #askToo(index: number, search: Search): void {
    void this.#ask(index, search, (winner) => {
      this.#leader = winner;
      this.#lastLeader = winner;
      search.resolve(winner);
      this.#end(search);
    });
  }

  #end(search: Search): void {
    search.stop.abort();
    search.headStartOver.abort();
    if (this.#search === search) this.#search = null;
  }

  /** Asks one master until it says yes or the search is over. Never rejects. */
  async #ask(index: number, search: Search, onYes: (index: number) => void): Promise<void> {
    const { signal } = search.stop;
    const { headStartMs = HEAD_START_MS } = this.#options;
    const isFirst = index === this.#lastLeader;
    if (!isFirst) await pause(headStartMs, undefined, search.headStartOver.signal);
    for (let pauseMs = PROBE_PAUSE_MIN_MS; !signal.aborted; ) {
      try {
        await this.#options.probe(index, signal);
        if (!signal.aborted) onYes(index);
        return;
      } catch (error) {
        if (!signal.aborted) search.lastError = error;
        if (isFirst) search.headStartOver.abort();
      }
      await pause(pauseMs * (1 + PROBE_JITTER * Math.random()), undefined, signal);
      pauseMs = Math.min(PROBE_PAUSE_MAX_MS, pauseMs * PROBE_PAUSE_GROWTH);
    }
  }
}

function closedError(): RockpoolError {
  return new RockpoolError("CANCELLED", "The channel to the masters is closed");
}
