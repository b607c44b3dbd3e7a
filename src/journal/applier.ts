/**
 * Feeds the state machine: committed entries in slices, with the loop let go between them, and images of the state in
 * both directions. Nothing is applied while one is installed.
 * @module
 */
import type { LogIndex, Term } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import { APPLY_ENTRIES_MAX } from "../common/limits.ts";
import type { Timers } from "../world/ports.ts";
import { ENTRY_KINDS, type Failed, type PackedEntries, unpack } from "./journal_protocol.ts";
import type { CommittedEntry, StateMachine, StatePosition } from "./journal_system.ts";
import { failed } from "./state_keeper.ts";

type Chunk = {
  readonly entries: PackedEntries;
  readonly payloads: readonly Uint8Array[];
  next: number;
};

export type ApplierOptions<R> = {
  readonly stateMachine: StateMachine<R>;
  readonly timers: Timers;
  readonly onResult: (index: LogIndex, term: Term, result: R) => void;
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

  add(entries: PackedEntries): void {
    this.#chunks.push({ entries, payloads: unpack(entries), next: 0 });
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
    for (let count = 0; count < APPLY_ENTRIES_MAX; count++) {
      const chunk = this.#chunks[0];
      if (chunk === undefined) break;
      const { firstIndex, terms, kinds } = chunk.entries;
      const payload = chunk.payloads[chunk.next];
      invariant(firstIndex + chunk.next === index + 1, "entries are applied one after the other");
      invariant(payload !== undefined, "every entry has a payload");
      index += 1;
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
    if (index > this.#applied) this.#apply(entries, { index, term, membership }, finished);
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
      onResult(index, term, result);
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
  async installImage(path: string, imageBytes: number): Promise<StatePosition | Failed> {
    if (this.#state === "open") this.#state = "installing";
    this.#chunks = [];
    try {
      const position = await this.#options.stateMachine.installImage(path, imageBytes);
      this.#applied = position.index;
      return position;
    } catch (error) {
      return failed(error);
    } finally {
      // While the state is not what it should be nothing may be applied to it: the journal sends nothing before it is.
      if (this.#state === "installing") this.#state = "open";
      this.#schedule();
    }
  }
}
