/**
 * Carries out, on the leader, what the journal says must be done in the under stores.
 *
 * An intent is in the journal before it is done, and its end is in the journal before anything that depends on it:
 * - intents on overlapping paths are done in log order, each only after the end of the one before was
 *   committed; so doing one twice (after a change of leaders) never undoes a later one;
 * - others run at the same time, a bounded number of them;
 * - the client that caused one is answered after its end was committed;
 * - what fails for now is retried for as long as this master leads; what the store refuses for
 *   good stays in the journal with the reason, is reported, and holds nobody up.
 *
 * A leader that was deposed without noticing could still finish a call that it had begun; `stop` bars every further one.
 * @module
 */
import { isRockpoolError, messageOf, RockpoolError, type StatusName } from "../common/errors.ts";
import { unreachable } from "../common/invariant.ts";
import { pathWithinStore, type UfsRegistry } from "../ufs/ufs_uri.ts";
import type { UfsStatus, UnderFileSystem } from "../ufs/under_file_system.ts";
import type { Timer, Timers } from "../world/ports.ts";
import type { IntentOutcome } from "./command.ts";
import type { IntentAction } from "./inode.ts";
import type { NamespaceEvent } from "./master_event.ts";
import { isUfsWithin } from "./mount_table.ts";
import { type Proposer, SYSTEM } from "./proposer.ts";
import type { MasterState } from "./state_machine.ts";

/** Calls to under stores at the same time; more only queue up in the thread pool or in the store. */
const RUNNING_MAX = 16;
/** How far ahead of the oldest intent another one may be begun: those that wait for a retry must not hold up all others. */
const SEARCH_MAX = 256;
/** A store that did not answer is asked again after this, doubling to the maximum. */
const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 10_000;
/** Shorter than the two minutes for which a client repeats its call, so that it does not wait in vain. */
export const INTENT_WAIT_MS = 20_000;
/** Ends that are journaled in one entry. */
const OUTCOMES_MAX = 1000;
/** Read from the journal's rows at once, when leadership begins. */
const ROWS_PAGE = 1000;

const FINAL: ReadonlySet<StatusName> = new Set<StatusName>([
  "ALREADY_EXISTS",
  "FAILED_PRECONDITION",
  "INVALID_ARGUMENT",
  "NOT_FOUND",
  "PERMISSION_DENIED",
  "UNIMPLEMENTED",
]);

type Waiter = { readonly done: () => void; readonly failed: (error: Error) => void };

type Pending = {
  readonly id: number;
  readonly action: IntentAction;
  readonly ufsPaths: readonly string[];
  readonly waiters: Set<Waiter>;
  isRunning: boolean;
  /** Known, but not committed yet. */
  outcome: { readonly fingerprint: string; readonly refusal: RockpoolError | null } | null;
  attempts: number;
};

function ufsPathsOf(action: IntentAction): string[] {
  switch (action.kind) {
    case "makeDirectory":
    case "remove":
    case "setAttributes":
      return [action.ufsPath];
    case "rename":
      return [action.fromUfsPath, action.toUfsPath];
    case "commitFile":
      return action.tempUfsPath === null ? [action.ufsPath] : [action.tempUfsPath, action.ufsPath];
    default:
      return unreachable(action);
  }
}

function overlap(left: readonly string[], right: readonly string[]): boolean {
  return left.some((a) => right.some((b) => isUfsWithin(a, b) || isUfsWithin(b, a)));
}

function describe(action: IntentAction): string {
  return `${action.kind} ${ufsPathsOf(action).join(" ")}`;
}

/** What is being made lacks nothing for good: a folder went away under it, by somebody else's doing. */
async function keepTrying<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!isRockpoolError(error, "NOT_FOUND")) throw error;
    throw new RockpoolError("UNAVAILABLE", error.message, error.remedy, { cause: error });
  }
}

export class UfsIntents {
  readonly #state: MasterState;
  readonly #proposer: Proposer;
  readonly #ufs: UfsRegistry;
  readonly #timers: Timers;
  readonly #onEvent: (event: NamespaceEvent) => void;
  /** In log order. */
  readonly #pending = new Map<number, Pending>();
  #runningCount = 0;
  #isActive = false;
  #isJournaling = false;
  /** Counts reigns: a call begun under one must not report under the next. */
  #reign = 0;
  readonly #retries = new Set<Timer>();
  #changeListeners: (() => void)[] = [];

  constructor(parts: {
    readonly state: MasterState;
    readonly proposer: Proposer;
    readonly ufs: UfsRegistry;
    readonly timers: Timers;
    readonly onEvent: (event: NamespaceEvent) => void;
  }) {
    this.#state = parts.state;
    this.#proposer = parts.proposer;
    this.#ufs = parts.ufs;
    this.#timers = parts.timers;
    this.#onEvent = parts.onEvent;
    parts.state.onIntents((ids) => {
      if (this.#isActive) this.#take(ids);
    });
  }

  get pendingCount(): number {
    return this.#pending.size;
  }

  /** This master leads: takes up what is not done yet. */
  start(): void {
    this.#isActive = true;
    this.#reign += 1;
    let after = 0;
    for (;;) {
      const rows = this.#state.view.intents(after, ROWS_PAGE);
      for (const { id, row } of rows) if (row.refusal === null) this.#add(id, row.action);
      const last = rows[rows.length - 1];
      if (last === undefined) break;
      after = last.id;
    }
    this.#pump();
  }

  /** This master leads no more: nothing is begun from here on, and who waits is told to ask the next leader. */
  stop(): void {
    this.#isActive = false;
    this.#reign += 1;
    this.#runningCount = 0;
    this.#isJournaling = false;
    for (const timer of this.#retries) timer.cancel();
    this.#retries.clear();
    const waiters = [...this.#pending.values()].flatMap((pending) => [...pending.waiters]);
    this.#pending.clear();
    const error = new RockpoolError("UNAVAILABLE", "This master leads no more", "Try again");
    for (const waiter of waiters) waiter.failed(error);
    this.#changed();
  }

  /**
   * Waits until these are done.
   * @throws RockpoolError the refusal of the under store; UNAVAILABLE when it takes too long: the call may be repeated
   */
  async wait(ids: readonly number[]): Promise<void> {
    for (const id of ids) await this.#waitFor(id);
  }

  #waitFor(id: number): Promise<void> {
    const pending = this.#pending.get(id);
    if (pending === undefined) {
      const row = this.#state.view.intent(id);
      if (row === null) return Promise.resolve();
      return Promise.reject(
        row.refusal === null
          ? new RockpoolError("UNAVAILABLE", "This master leads no more", "Try again")
          : new RockpoolError("PERMISSION_DENIED", row.refusal, "Check the under store"),
      );
    }
    return new Promise((resolve, reject) => {
      const waiter = {
        done: () => {
          timer.cancel();
          resolve();
        },
        failed: (error: Error) => {
          timer.cancel();
          reject(error);
        },
      };
      const timer = this.#timers.after(INTENT_WAIT_MS, () => {
        pending.waiters.delete(waiter);
        reject(this.#late(describe(pending.action)));
      });
      pending.waiters.add(waiter);
    });
  }

  #late(what: string): RockpoolError {
    return new RockpoolError(
      "UNAVAILABLE",
      `The under store has not done this for ${INTENT_WAIT_MS} ms: ${what}`,
      "It is tried again; check the under store",
    );
  }

  /**
   * Waits until nothing is pending on these places, or above or below them.
   * @throws RockpoolError UNAVAILABLE after a bounded time, or when this master leads no more: what is pending is
   *   then the next leader's to know
   */
  async whenClear(ufsPaths: readonly string[]): Promise<void> {
    const reign = this.#reign;
    let isLate = false;
    let timer: Timer | null = null;
    for (;;) {
      if (!this.#isActive || reign !== this.#reign) {
        timer?.cancel();
        throw new RockpoolError("UNAVAILABLE", "This master leads no more", "Try again");
      }
      const blocking = [...this.#pending.values()].find((p) => overlap(p.ufsPaths, ufsPaths));
      if (blocking === undefined) break;
      if (isLate) throw this.#late(describe(blocking.action));
      const changed = new Promise<void>((resolve) => this.#changeListeners.push(resolve));
      timer ??= this.#timers.after(INTENT_WAIT_MS, () => {
        isLate = true;
        this.#changed();
      });
      await changed;
    }
    timer?.cancel();
  }

  #changed(): void {
    const listeners = this.#changeListeners;
    this.#changeListeners = [];
    for (const listener of listeners) listener();
  }

  #take(ids: readonly number[]): void {
    for (const id of ids) {
      const row = this.#state.view.intent(id);
      if (row !== null && row.refusal === null) this.#add(id, row.action);
    }
    this.#pump();
  }

  #add(id: number, action: IntentAction): void {
    if (this.#pending.has(id)) return;
    const ufsPaths = ufsPathsOf(action);
    const waiters = new Set<Waiter>();
    const pending = { id, action, ufsPaths, waiters, isRunning: false, outcome: null, attempts: 0 };
    this.#pending.set(id, pending);
  }

  /** Begins all that may begin: in log order, none that overlaps with an earlier one. */
  #pump(): void {
    if (!this.#isActive) return;
    const before: Pending[] = [];
    for (const pending of this.#pending.values()) {
      if (this.#runningCount >= RUNNING_MAX) return;
      const isFree =
        !pending.isRunning &&
        pending.outcome === null &&
        !before.some((earlier) => overlap(earlier.ufsPaths, pending.ufsPaths));
      if (isFree) void this.#run(pending); // reports to `#pending`, never rejects
      before.push(pending);
      // Beyond this many the search costs more than the concurrency gives.
      if (before.length > SEARCH_MAX) return;
    }
  }

  async #run(pending: Pending): Promise<void> {
    const reign = this.#reign;
    pending.isRunning = true;
    this.#runningCount += 1;
    let outcome: Pending["outcome"] = null;
    let failure: unknown = null;
    try {
      const fingerprint = await this.#carryOut(pending.action);
      outcome = { fingerprint, refusal: null };
    } catch (error) {
      failure = error;
      if (isRockpoolError(error) && FINAL.has(error.status))
        outcome = { fingerprint: "", refusal: error };
    }
    if (reign !== this.#reign) return;
    this.#runningCount -= 1;
    if (outcome === null) {
      this.#retryLater(pending, failure);
    } else {
      pending.outcome = outcome;
      pending.isRunning = false;
      if (outcome.refusal !== null)
        this.#onEvent({
          kind: "intentRefused",
          intentId: pending.id,
          what: describe(pending.action),
          message: outcome.refusal.message,
        });
      void this.#journalOutcomes(); // reports its own failures
    }
    this.#pump();
  }

  #retryLater(pending: Pending, failure: unknown): void {
    pending.attempts += 1;
    const retryInMs = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** (pending.attempts - 1));
    this.#onEvent({
      kind: "intentDelayed",
      intentId: pending.id,
      what: describe(pending.action),
      message: messageOf(failure),
      retryInMs,
    });
    this.#after(retryInMs, () => {
      pending.isRunning = false;
      this.#pump();
    });
  }

  #after(delayMs: number, callback: () => void): void {
    const timer = this.#timers.after(delayMs, () => {
      this.#retries.delete(timer);
      callback();
    });
    this.#retries.add(timer);
  }

  /** One entry at a time; what ends meanwhile goes into the next. */
  async #journalOutcomes(): Promise<void> {
    if (this.#isJournaling) return;
    const reign = this.#reign;
    this.#isJournaling = true;
    while (reign === this.#reign) {
      const ended = [...this.#pending.values()].filter(({ outcome }) => outcome !== null);
      if (ended.length === 0 || !(await this.#journalBatch(ended.slice(0, OUTCOMES_MAX)))) break;
    }
    if (reign === this.#reign) this.#isJournaling = false;
  }

  /** @returns false when it failed: it is tried again later, here or by the next leader */
  async #journalBatch(batch: readonly Pending[]): Promise<boolean> {
    const reign = this.#reign;
    const outcomes = batch.map(
      ({ id, outcome }): IntentOutcome => ({
        id,
        refusal: outcome?.refusal?.message ?? null,
        ufsFingerprint: outcome?.fingerprint ?? "",
      }),
    );
    try {
      await this.#proposer.propose(SYSTEM, { kind: "intentsDone", outcomes });
    } catch (error) {
      if (reign !== this.#reign) return false; // the next leader does them again
      this.#onEvent({
        kind: "backgroundFailed",
        what: "journal the ends of under store changes",
        message: messageOf(error),
      });
      this.#after(RETRY_MIN_MS, () => void this.#journalOutcomes());
      return false;
    }
    if (reign !== this.#reign) return false;
    for (const pending of batch) {
      this.#pending.delete(pending.id);
      const refusal = pending.outcome?.refusal ?? null;
      for (const waiter of pending.waiters)
        if (refusal === null) waiter.done();
        else waiter.failed(refusal);
    }
    this.#changed();
    this.#pump();
    return true;
  }

  /** @returns the fingerprint of the file that it made; "" for everything else */
  async #carryOut(action: IntentAction): Promise<string> {
    switch (action.kind) {
      case "makeDirectory": {
        const { ufsPath, owner, group, mode } = action;
        const store = this.#ufs(ufsPath);
        const path = pathWithinStore(ufsPath);
        await keepTrying(store.createDirectory(path, { owner, group, mode }));
        return "";
      }
      case "remove":
        await this.#ufs(action.ufsPath).remove(pathWithinStore(action.ufsPath), action.isRecursive);
        return "";
      case "rename":
        await this.#rename(action.fromUfsPath, action.toUfsPath);
        return "";
      case "commitFile":
        return (await this.#commitFile(action)).fingerprint;
      case "setAttributes":
        await this.#setAttributes(action);
        return "";
      default:
        return unreachable(action);
    }
  }

  async #rename(fromUfsPath: string, toUfsPath: string): Promise<void> {
    const store = this.#ufs(toUfsPath);
    try {
      await store.rename(pathWithinStore(fromUfsPath), pathWithinStore(toUfsPath));
    } catch (error) {
      // Nothing at the old name: it was done before, or somebody took it away; there is nothing left to do.
      if (!isRockpoolError(error, "NOT_FOUND")) throw error;
    }
  }

  async #commitFile(action: Extract<IntentAction, { kind: "commitFile" }>): Promise<UfsStatus> {
    const { tempUfsPath, ufsPath, owner, group, mode } = action;
    const store = this.#ufs(ufsPath);
    const path = pathWithinStore(ufsPath);
    if (tempUfsPath === null) {
      const writer = await keepTrying(store.create(path, { owner, group, mode }));
      return keepTrying(writer.commit());
    }
    await this.#rename(tempUfsPath, ufsPath);
    await this.#applyAttributes(store, path, { owner, group, mode });
    const status = await store.status(path);
    // It may have been done before; but what lies there may also be something else.
    if (status === null || status.lengthBytes !== action.lengthBytes)
      throw new RockpoolError(
        "NOT_FOUND",
        `${tempUfsPath}, which was to become ${ufsPath}, is gone`,
        "Persist the file again",
      );
    return status;
  }

  async #setAttributes(action: Extract<IntentAction, { kind: "setAttributes" }>): Promise<void> {
    const store = this.#ufs(action.ufsPath);
    await this.#applyAttributes(store, pathWithinStore(action.ufsPath), action);
  }

  /** Stores without owners or modes may refuse; the namespace keeps what was asked for either way. */
  async #applyAttributes(
    store: UnderFileSystem,
    path: string,
    attributes: {
      readonly owner: string | null;
      readonly group: string | null;
      readonly mode: number | null;
    },
  ): Promise<void> {
    const { owner, group, mode } = attributes;
    try {
      if (mode !== null) await store.setMode(path, mode);
      if (owner !== null || group !== null) await store.setOwner(path, owner ?? "", group ?? "");
    } catch (error) {
      if (!isRockpoolError(error) || !FINAL.has(error.status)) throw error;
    }
  }
}
