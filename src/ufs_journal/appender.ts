/**
 * One append to a log on a shared store, until it is known what became of it; and what an operator is told of the store.
 *
 * An append of which nothing is known (a time-out) is looked up, and tried again as the very same object, as long as this master is chosen.
 * @module
 */
import { EXIT, isRockpoolError, messageOf, type RockpoolError } from "../common/errors.ts";
import { type JournalEvent, plainError } from "../journal/journal_protocol.ts";
import type { LogEnd } from "./log_object.ts";
import { type Draft, isAmbiguous, type UfsLog } from "./ufs_log.ts";

/** Neither a store nor a disk failed: the program did. */
export function isBug(error: unknown): boolean {
  return !isRockpoolError(error) && !(error instanceof Error && "code" in error);
}

export function fatalEvent(error: unknown): JournalEvent {
  const detail = error instanceof Error ? error.stack : undefined;
  return {
    kind: "fatal",
    exitCode: EXIT.invariant,
    message: `The journal failed: ${messageOf(error)}`,
    remedy: "Restart the master; this is a bug, please report it with the log",
    ...(detail === undefined ? {} : { detail }),
  };
}

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
  /** Ends early with the office of this master. */
  readonly pause: (ms: number) => Promise<void>;
};

export class Appender {
  readonly #options: AppenderOptions;
  #trouble: string | null = null;
  #isRefused = false;

  constructor(options: AppenderOptions) {
    this.#options = options;
  }

  /**
   * Until it is known what became of it, or nobody wants to know.
   * @param isWanted whether this master still has the office under which it appends
   */
  async append(draft: Draft, isWanted: () => boolean): Promise<Outcome> {
    const { log, pause } = this.#options;
    let waitMs = RETRY_MS_MIN;
    // Of an earlier try nothing is known: it may be there, or come to be.
    for (let isOpen = false; ; isOpen = true) {
      try {
        const appended = await log.append(draft);
        this.troubleIsOver();
        this.#writable();
        if (appended.kind === "appended") return appended;
        return { kind: "lost", why: `another master appended at ${draft.name}` };
      } catch (error) {
        if (isBug(error)) throw error;
        if (!isAmbiguous(error) && !isOpen && isRockpoolError(error)) {
          this.#readOnly(error);
          return { kind: "refused", error };
        }
        this.tell(error);
        if (!isWanted())
          return { kind: "lost", why: "this master was deposed while the store did not answer" };
        await pause(waitMs);
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
