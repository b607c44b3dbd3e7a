/**
 * One append to a log on a shared store, until it is known what became of it; and what an operator is told of the store.
 *
 * An append of which nothing is known (a time-out) is looked up, and tried again as the very same object, as long as this master is chosen.
 * @module
 */
import { isRockpoolError, type RockpoolError } from "../common/errors.ts";
import { type JournalEvent, plainError } from "../journal/journal_protocol.ts";
import type { LogEnd } from "./log_object.ts";
import { type Draft, isAmbiguous, type UfsLog } from "./ufs_log.ts";

export const RETRY_MS_MIN = 50;
export const RETRY_MS_MAX = 2000;

/** What may be told of an append: it is in the log; somebody else's is, or nobody knows; it is not, and won't be. */
export type Outcome =
  | { readonly kind: "appended"; readonly end: LogEnd }
  | { readonly kind: "lost"; readonly why: string }
  | { readonly kind: "refused"; readonly error: RockpoolError };

export type AppenderOptions = {
  readonly log: UfsLog;
  readonly event: (event: JournalEvent) => void;
  readonly sleep: (ms: number) => Promise<void>;
  /** Whether this master is chosen still. */
  readonly isWanted: () => boolean;
};

export class Appender {
  readonly #options: AppenderOptions;
  #trouble: string | null = null;
  #isRefused = false;

  constructor(options: AppenderOptions) {
    this.#options = options;
  }

  /** Until it is known what became of it, or this master is chosen no more. */
  async append(draft: Draft): Promise<Outcome> {
    const { log, isWanted, sleep } = this.#options;
    let waitMs = RETRY_MS_MIN;
    for (let mustLook = false; ; ) {
      try {
        const appended = (mustLook ? await log.find(draft) : null) ?? (await log.append(draft));
        this.troubleIsOver();
        this.#writable();
        if (appended.kind === "appended") return appended;
        return { kind: "lost", why: `another master appended at ${draft.name}` };
      } catch (error) {
        if (!isAmbiguous(error) && !mustLook && isRockpoolError(error)) {
          this.#readOnly(error);
          return { kind: "refused", error };
        }
        mustLook = true;
        this.tell(error);
        if (!isWanted())
          return { kind: "lost", why: "this master was deposed while the store did not answer" };
        await sleep(waitMs);
        waitMs = Math.min(2 * waitMs, RETRY_MS_MAX);
      }
    }
  }

  tell(error: unknown): void {
    const { message, remedy } = plainError(error);
    if (this.#trouble === message) return;
    this.#trouble = message;
    const isDamage = isRockpoolError(error, "DATA_LOSS");
    const kind = isDamage ? "sharedJournalDamaged" : "storeTrouble";
    this.#options.event({ kind, message, remedy });
  }

  troubleIsOver(): void {
    if (this.#trouble === null) return;
    this.#trouble = null;
    this.#options.event({ kind: "storeWorksAgain" });
  }

  /** The store takes nothing, and says so: reads go on. */
  #readOnly({ message, remedy }: RockpoolError): void {
    if (this.#isRefused) return;
    this.#isRefused = true;
    this.#options.event({ kind: "readOnly", message, remedy });
  }

  #writable(): void {
    if (!this.#isRefused) return;
    this.#isRefused = false;
    this.#options.event({ kind: "writableAgain" });
  }
}
