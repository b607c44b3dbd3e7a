/**
 * What the shell was told last, so that a {@link Ready} tells it only what is new; and the promises about what it is told:
 * term and commit index never go back, and a vote is never changed within a term.
 * @module
 */
import { invariant } from "../common/invariant.ts";
import type { HardState, MembershipAt, Ready, SoftState } from "./messages.ts";

type State = {
  readonly soft: SoftState;
  readonly hard: HardState;
  readonly membership: MembershipAt;
};
type News = Pick<Ready, "softState" | "hardState" | "membership"> & { readonly mustSync: boolean };

export class Handout {
  #told: State;

  constructor(told: State) {
    this.#told = told;
  }

  /** What differs from the last call. */
  take(now: State): News {
    const told = this.#told;
    this.#told = now;
    const isMembershipNew = now.membership !== told.membership;
    const { hard } = now;
    const isPromiseNew = hard.term !== told.hard.term || hard.vote !== told.hard.vote;
    const isHardNew = isPromiseNew || hard.commitIndex !== told.hard.commitIndex;
    if (isHardNew) checkHardState(told.hard, hard);
    return {
      softState: isSame(told.soft, now.soft) ? null : now.soft,
      hardState: isHardNew ? hard : null,
      membership: isMembershipNew ? now.membership : null,
      // Who restarts and has forgotten that a removal was committed would wait for the one who is gone.
      mustSync: isPromiseNew || (isHardNew && isMembershipNew),
    };
  }
}

function isSame(one: SoftState, other: SoftState): boolean {
  return one.role === other.role && one.term === other.term && one.leader === other.leader;
}

function checkHardState(before: HardState, now: HardState): void {
  invariant(now.term >= before.term, "the term never goes back");
  invariant(now.commitIndex >= before.commitIndex, "the commit index never goes back");
  invariant(
    now.term > before.term || before.vote === null || now.vote === before.vote,
    "a vote is never changed within a term",
  );
}
