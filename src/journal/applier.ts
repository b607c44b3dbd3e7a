/**
 * Feeds the state machine: committed entries in slices, with the loop let go between them, and images of the state in
 * both directions. Nothing is applied while one is installed.
 * @module
 */
import type { LogIndex, Term } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import { APPLY_BYTES_MAX, APPLY_ENTRIES_MAX } from "../common/limits.ts";
import type { Clock, Timers } from "../world/ports.ts";
import { commandCount, unbundle } from "./bundle.ts";
import {
  ENTRY_KINDS,
  type Failed,
  type InstallFailed,
  type PackedEntries,
  unpack,
} from "./journal_protocol.ts";
import type { CommittedEntry, StateMachine, StatePosition } from "./journal_system.ts";
import { failed } from "./state_keeper.ts";
import type { OwnEntries, OwnRange } from "./waiting.ts";

/** The loop is held no longer than this, and one slice. */
const TURN_MS = 1;

type Chunk = {
  readonly entries: Pick<PackedEntries, "firstIndex" | "terms" | "kinds">;
  readonly payloads: readonly Uint8Array[];
  readonly receivedMs: number;
  next: number;
};

export type ApplierOptions<R> = {
  readonly stateMachine: StateMachine<R>;
  readonly timers: Timers;
  readonly clock: Clock;
  /** @param receivedMs when the oldest entry of its slice came here */
  readonly onResult: (index: LogIndex, term: Term, result: R, receivedMs: number) => void;
  /**
   * A slice is applied.
   * @param finished last index of a delivery that is applied as a whole; null for none
   * @param commandCount of those that were applied since the last delivery was finished
   */
  readonly onSlice: (
    through: { readonly index: LogIndex; readonly term: Term },
    finished: LogIndex | null,
    commandCount: number,
  ) => void;
  /** The state machine threw. Nothing is applied any more. */
  readonly onFailure: (error: unknown, from: LogIndex, through: LogIndex) => void;
};

/** An entry of the log, as far as it holds commands. */
type Holder = CommittedEntry & { readonly isBundle: boolean };

function countIn(kind: number | undefined, payload: Uint8Array): number {
  if (kind === ENTRY_KINDS.commands) return commandCount(payload);
  return kind === ENTRY_KINDS.command ? 1 : 0;
}

/** @throws DecodeError when one of them holds no commands */
function commandsOf(holders: readonly Holder[]): CommittedEntry[] {
  const commands: CommittedEntry[] = [];
  for (const { index, term, payload, isBundle } of holders)
    if (isBundle)
      for (const command of unbundle(payload)) commands.push({ index, term, payload: command });
    else commands.push({ index, term, payload });
  return commands;
}

export class Applier<R> {
  readonly #options: ApplierOptions<R>;
  #chunks: Chunk[] = [];
  #applied: LogIndex = 0;
  #commandCount = 0;
  #isScheduled = false;
  #state: "open" | "installing" | "stopped" = "open";

  constructor(options: ApplierOptions<R>) {
    this.#options = options;
  }

  get applied(): LogIndex {
    return this.#applied;
  }

  /** @returns where the state stands */
  start(): StatePosition {
    const position = this.#options.stateMachine.position();
    this.#applied = position.index;
    return position;
  }

  stop(): void {
    this.#state = "stopped";
    this.#chunks = [];
  }

  add(entries: PackedEntries, receivedMs: number): void {
    this.#add({ entries, payloads: unpack(entries), receivedMs, next: 0 });
  }

  /** Entries of one term, which this thread has proposed. */
  addOwn({ firstIndex, term }: OwnRange, own: OwnEntries, receivedMs: number): void {
    const terms = new Float64Array(own.payloads.length).fill(term);
    const kinds = Uint8Array.from(own.kinds);
    const { payloads } = own;
    this.#add({ entries: { firstIndex, terms, kinds }, payloads, receivedMs, next: 0 });
  }

  #add(chunk: Chunk): void {
    this.#chunks.push(chunk);
    if (!this.#isScheduled) this.#applySome();
  }

  /** Slices, as long as they take next to no time: each turn of the loop ends with answers, and with what follows from them. */
  #applySome(): void {
    this.#isScheduled = false;
    const { clock } = this.#options;
    const beganMs = clock.monotonicMs();
    do this.#applySlice();
    while (
      this.#state === "open" &&
      this.#chunks.length > 0 &&
      clock.monotonicMs() - beganMs < TURN_MS
    );
    // What was called may have stopped this, or scheduled it.
    if (this.#chunks.length > 0) this.#schedule();
  }

  /** Entries that are applied in one transaction. */
  #applySlice(): void {
    if (this.#state !== "open") return;
    const holders: Holder[] = [];
    let index = this.#applied;
    let term = 0;
    let membership: Uint8Array | null = null;
    let finished: LogIndex | null = null;
    const receivedMs = this.#chunks[0]?.receivedMs ?? 0;
    let sizeBytes = 0;
    let held = 0;
    for (let at = 0; at < APPLY_ENTRIES_MAX && sizeBytes < APPLY_BYTES_MAX; at++) {
      const chunk = this.#chunks[0];
      if (chunk === undefined) break;
      const { firstIndex, terms, kinds } = chunk.entries;
      const payload = chunk.payloads[chunk.next];
      invariant(firstIndex + chunk.next === index + 1, "entries are applied one after the other");
      invariant(payload !== undefined, "every entry has a payload");
      const kind = kinds[chunk.next];
      const count = countIn(kind, payload);
      // An entry is applied as a whole.
      if (held > 0 && held + count > APPLY_ENTRIES_MAX) break;
      held += count;
      index += 1;
      sizeBytes += payload.length;
      term = terms[chunk.next] ?? 0;
      const isBundle = kind === ENTRY_KINDS.commands;
      if (isBundle || kind === ENTRY_KINDS.command)
        holders.push({ index, term, payload, isBundle });
      else if (kind === ENTRY_KINDS.config) membership = payload;
      chunk.next += 1;
      if (chunk.next === chunk.payloads.length) {
        this.#chunks.shift();
        finished = index;
      }
    }
    const through = { index, term, membership };
    if (index > this.#applied) this.#apply(holders, through, finished, receivedMs);
  }

  #schedule(): void {
    if (this.#isScheduled || this.#state !== "open") return;
    this.#isScheduled = true;
    this.#options.timers.soon(() => this.#applySome());
  }

  #apply(
    holders: readonly Holder[],
    through: StatePosition,
    finished: LogIndex | null,
    receivedMs: number,
  ): void {
    const { stateMachine, onResult, onSlice, onFailure } = this.#options;
    let entries: readonly CommittedEntry[];
    let results: readonly R[];
    try {
      entries = commandsOf(holders);
      results = stateMachine.apply(entries, through);
      invariant(results.length === entries.length, "every entry has a result");
    } catch (error) {
      this.stop();
      onFailure(error, this.#applied + 1, through.index);
      return;
    }
    this.#applied = through.index;
    for (const [at, { index, term }] of entries.entries()) {
      // As long as there are as many results as entries, there is one here.
      const result = results[at] as R;
      onResult(index, term, result, receivedMs);
    }
    this.#commandCount += entries.length;
    onSlice(through, finished, this.#commandCount);
    if (finished !== null) this.#commandCount = 0;
  }

  // — images —

  async writeImage(path: string): Promise<StatePosition | Failed> {
    try {
      return await this.#options.stateMachine.writeImage(path);
    } catch (error) {
      return failed(error);
    }
  }

  /** What was added and is not applied is dropped: the image holds it, or it comes again. */
  async installImage(path: string, imageBytes: number): Promise<StatePosition | InstallFailed> {
    if (this.#state === "open") this.#state = "installing";
    this.#chunks = [];
    try {
      const position = await this.#options.stateMachine.installImage(path, imageBytes);
      this.#applied = position.index;
      return position;
    } catch (error) {
      const position = this.#options.stateMachine.position();
      this.#applied = position.index;
      return { ...failed(error), position };
    } finally {
      // While the state is not what it should be nothing may be applied to it: the journal sends nothing before it is.
      if (this.#state === "installing") this.#state = "open";
      this.#schedule();
    }
  }
}
