/**
 * The election of a master that has no others: it is chosen as soon as it stands.
 *
 * A second one on the same journal collides with it in the log; both then fence each other off, which their logs tell, and lose nothing.
 * @module
 */
import type { Timers } from "../world/ports.ts";
import type { Candidate, Elector, ElectorListener } from "./elector.ts";

/** Between two tries of one that was deposed by another master on the same journal. */
const AGAIN_MS = 1000;

export class AloneElector implements Elector {
  readonly #address: string;
  readonly #timers: Timers;
  #listener: ElectorListener | null = null;

  constructor(address: string, timers: Timers) {
    this.#address = address;
    this.#timers = timers;
  }

  async start(listener: ElectorListener): Promise<void> {
    this.#listener = listener;
    this.#timers.soon(() => this.#listener?.onChosen());
  }

  isChosenFor(): boolean {
    return true;
  }

  async announce(): Promise<void> {}

  async resign(): Promise<void> {
    this.#timers.after(AGAIN_MS, () => this.#listener?.onChosen());
  }

  candidates(): readonly Candidate[] {
    return [{ address: this.#address, isSelf: true, isChosen: true }];
  }

  async close(): Promise<void> {
    this.#listener = null;
  }
}
