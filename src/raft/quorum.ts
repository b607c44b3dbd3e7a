/**
 * Majorities: the one place that knows how many voters it takes. Pure functions over a list of
 * voters, so that a membership under change can be asked as well as the present one. Learners never
 * appear here.
 * @module
 */
import type { MemberId } from "../common/ids.ts";

export function quorumSize(voterCount: number): number {
  return Math.floor(voterCount / 2) + 1;
}

/**
 * The highest value that a majority of the voters has reached: with match indexes, what may be
 * committed (thesis 3.6); with ticks, since when a majority was heard. 0 without voters: nobody
 * can decide anything then.
 */
export function majorityValue(
  voters: readonly MemberId[],
  reached: (voter: MemberId) => number,
): number {
  const values = voters.map(reached).sort((a, b) => b - a);
  return values[quorumSize(values.length) - 1] ?? 0;
}

export type VoteResult = "won" | "lost" | "pending";

/** Counts only the votes of voters; whoever is not in `votes` has not answered yet. */
export function voteResult(
  voters: readonly MemberId[],
  votes: ReadonlyMap<MemberId, boolean>,
): VoteResult {
  let granted = 0;
  let refused = 0;
  for (const voter of voters) {
    const vote = votes.get(voter);
    if (vote === true) granted += 1;
    else if (vote === false) refused += 1;
  }
  const needed = quorumSize(voters.length);
  if (granted >= needed) return "won";
  return voters.length - refused < needed ? "lost" : "pending";
}
