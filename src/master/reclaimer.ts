/**
 * Frees the inodes of removed trees, a bounded number in each entry, for as long as this master leads.
 * @module
 */
import { messageOf } from "../common/errors.ts";
import { DELETE_BATCH } from "../common/limits.ts";
import type { Timers } from "../world/ports.ts";
import type { NamespaceEvent } from "./master_event.ts";
import { type Proposer, SYSTEM } from "./proposer.ts";
import type { MasterState } from "./state_machine.ts";

/** After a failure. */
const RETRY_MS = 1000;

export class Reclaimer {
  readonly #state: MasterState;
  readonly #proposer: Proposer;
  readonly #timers: Timers;
  readonly #onEvent: (event: NamespaceEvent) => void;
  #isLeading = false;
  #isRunning = false;

  constructor(parts: {
    readonly state: MasterState;
    readonly proposer: Proposer;
    readonly timers: Timers;
    readonly onEvent: (event: NamespaceEvent) => void;
  }) {
    this.#state = parts.state;
    this.#proposer = parts.proposer;
    this.#timers = parts.timers;
    this.#onEvent = parts.onEvent;
  }

  start(): void {
    this.#isLeading = true;
    this.wake();
  }

  stop(): void {
    this.#isLeading = false;
  }

  /** Something may have been removed. */
  wake(): void {
    if (this.#isRunning || !this.#isLeading) return;
    if (this.#state.view.reclaimable(1).length === 0) return;
    this.#isRunning = true;
    this.#run().then(
      () => {
        this.#isRunning = false;
        this.wake(); // for what was removed while the last entry was on its way
      },
      (error: unknown) => {
        this.#isRunning = false;
        const what = "free removed directories";
        this.#onEvent({ kind: "backgroundFailed", what, message: messageOf(error) });
        this.#timers.after(RETRY_MS, () => this.wake());
      },
    );
  }

  async #run(): Promise<void> {
    while (this.#isLeading) {
      const { value } = await this.#proposer.propose(SYSTEM, {
        kind: "reclaim",
        inodesMax: DELETE_BATCH,
      });
      if (value.kind !== "reclaimed" || !value.hasMore) return;
    }
  }
}
