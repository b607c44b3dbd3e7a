/**
 * How the leader changes the namespace: check, stamp, propose, answer.
 *
 * The check before the proposal keeps mistakes out of the journal; it counts only when it passes, since the entry is
 * checked again in log order. When it fails, a read barrier proves first that this master still leads and
 * is up to date, so that no deposed leader tells a client what is no longer so.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import { ENTRY_BYTES_MAX } from "../common/limits.ts";
import type { JournalSystem } from "../journal/journal_system.ts";
import type { Clock } from "../world/ports.ts";
import type { Call, Principal } from "./api.ts";
import { type ApplyResult, check, firstResult } from "./apply.ts";
import { type Command, encodeEntry } from "./command.ts";
import type { DedupeRow } from "./inode.ts";
import type { MasterState } from "./state_machine.ts";

/** The masters themselves: for commands that no user asked for. */
export const SYSTEM: Principal = { user: "", groups: [], isSuperuser: true };

export class Proposer {
  readonly #journal: JournalSystem<ApplyResult>;
  readonly #state: MasterState;
  readonly #clock: Clock;
  #lastTimeMs = 0;

  constructor(journal: JournalSystem<ApplyResult>, state: MasterState, clock: Clock) {
    this.#journal = journal;
    this.#state = state;
    this.#clock = clock;
  }

  /**
   * Carries out what a user asked for. A repeat of an operation gets the result of the first time.
   * @param prepare runs before the first check, unless the operation was done before
   * @throws RockpoolError what the check says, or UNAVAILABLE when leadership was lost on the way
   */
  async change(
    call: Call,
    command: Command,
    prepare: () => Promise<void> | void,
  ): Promise<DedupeRow> {
    const { principal, operationId } = call;
    const known = () => firstResult(this.#state.store, { operationId, principal, command });
    const first = known();
    if (first !== null) {
      await this.#journal.readBarrier();
      return first;
    }
    await prepare();
    try {
      this.check(principal, command);
    } catch {
      // Whatever it was: only what holds after the barrier is told, and thrown from here.
      await this.#journal.readBarrier();
      const meanwhile = known();
      if (meanwhile !== null) return meanwhile;
      this.check(principal, command);
    }
    return this.propose(principal, command, operationId, call.times);
  }

  /** Checks a command against what this master knows now. */
  check(principal: Principal, command: Command): void {
    const { view } = this.#state;
    check({ view, mounts: view.mounts(), principal }, command);
  }

  async propose(
    principal: Principal,
    command: Command,
    operationId: Call["operationId"] = null,
    times?: Call["times"],
  ): Promise<DedupeRow> {
    const timeMs = Math.max(this.#clock.wallMs(), this.#lastTimeMs + 1);
    this.#lastTimeMs = timeMs;
    const { user, groups, isSuperuser } = principal;
    const payload = encodeEntry({
      timeMs,
      operationId,
      principal: { user, groups, isSuperuser },
      command,
    });
    if (payload.length > ENTRY_BYTES_MAX)
      throw new RockpoolError(
        "INVALID_ARGUMENT",
        `A ${command.kind} of ${payload.length} bytes is more than the journal takes (${ENTRY_BYTES_MAX})`,
        "Use fewer or smaller extended attributes",
      );
    const result = await this.#journal.propose(payload, times);
    if (!result.isOk) throw new RockpoolError(result.status, result.message, result.remedy);
    return { value: result.value, intentIds: result.intentIds };
  }
}
