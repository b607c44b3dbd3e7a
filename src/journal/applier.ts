/**
 * Feeds the state machine: committed entries in slices, with the loop let go between them, and images of the state in
 * both directions. Nothing is applied while one is installed.
 * @module
 */
import type { LogIndex, Term } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import { APPLY_BYTES_MAX, APPLY_ENTRIES_MAX } from "../common/limits.ts";
import type { Timers } from "../world/ports.ts";
import {
  ENTRY_KINDS,
  type Failed,
  type InstallFailed,
  type PackedEntries,
  unpack,
} from "./journal_protocol.ts";
import type { CommittedEntry, StateMachine, StatePosition } from "./journal_system.ts";
import { failed } from "./state_keeper.ts";

type Chunk = {
  readonly entries: Pick<PackedEntries, "firstIndex" | "terms" | "kinds">;
  readonly payloads: readonly Uint8Array[];
  readonly receivedMs: number;
  next: number;
};

export type ApplierOptions<R> = {
  readonly stateMachine: StateMachine<R>;
  readonly timers: Timers;
  /** @param receivedMs when the oldest entry of its slice came here */
  readonly onResult: (index: LogIndex, term: Term, result: R, receivedMs: number) => void;
  /** A slice is applied. @param finished last index of a delivery that is applied as a whole; null for none */
  readonly onSlice: (
    through: { readonly index: LogIndex; readonly term: Term },
    finished: LogIndex | null,
  ) => void;
  /** The state machine threw. Nothing is applied any more. */
  readonly onFailure: (error: unknown, from: LogIndex, through: LogIndex) => void;
};

export class Applier<R> {
  readonly #options: ApplierOptions<R>;
  #chunks: Chunk[] = [];
  #applied: LogIndex = 0;
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

  /** Commands of one term. */
  addCommands(
    firstIndex: LogIndex,
    term: Term,
    payloads: readonly Uint8Array[],
    receivedMs: number,
  ): void {
    const terms = new Float64Array(payloads.length).fill(term);
    const kinds = new Uint8Array(payloads.length).fill(ENTRY_KINDS.command);
    this.#add({ entries: { firstIndex, terms, kinds }, payloads, receivedMs, next: 0 });
  }

  #add(chunk: Chunk): void {
    this.#chunks.push(chunk);
    if (!this.#isScheduled) this.#applySome();
  }

  /** Entries through an index that are in one transaction. */
  #applySome(): void {
    this.#isScheduled = false;
    if (this.#state !== "open") return;
    const entries: CommittedEntry[] = [];
    let index = this.#applied;
    let term = 0;
    let membership: Uint8Array | null = null;
    let finished: LogIndex | null = null;
    const receivedMs = this.#chunks[0]?.receivedMs ?? 0;
    let sizeBytes = 0;
    for (let count = 0; count < APPLY_ENTRIES_MAX && sizeBytes < APPLY_BYTES_MAX; count++) {
      const chunk = this.#chunks[0];
      if (chunk === undefined) break;
      const { firstIndex, terms, kinds } = chunk.entries;
      const payload = chunk.payloads[chunk.next];
      invariant(firstIndex + chunk.next === index + 1, "entries are applied one after the other");
      invariant(payload !== undefined, "every entry has a payload");
      index += 1;
      sizeBytes += payload.length;
      term = terms[chunk.next] ?? 0;
      const kind = kinds[chunk.next];
      if (kind === ENTRY_KINDS.command) entries.push({ index, term, payload });
      else if (kind === ENTRY_KINDS.config) membership = payload;
      chunk.next += 1;
      if (chunk.next === chunk.payloads.length) {
        this.#chunks.shift();
        finished = index;
      }
    }
    const through = { index, term, membership };
    if (index > this.#applied) this.#apply(entries, through, finished, receivedMs);
    // What was called may have stopped this, or scheduled it.
    if (this.#chunks.length > 0) this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled || this.#state !== "open") return;
    this.#isScheduled = true;
    this.#options.timers.soon(() => this.#applySome());
  }

  #apply(
    entries: readonly CommittedEntry[],
    through: StatePosition,
    finished: LogIndex | null,
    receivedMs: number,
  ): void {
    const { stateMachine, onResult, onSlice, onFailure } = this.#options;
    let results: readonly R[];
    try {
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
    onSlice(through, finished);
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
