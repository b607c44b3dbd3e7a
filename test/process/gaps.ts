/**
 * Gaps in a stream of acknowledgements: what a client notices of a fail-over.
 * @module
 */

/** One acknowledged write; wall-clock ms. */
export type Acknowledged = {
  readonly name: string;
  readonly startMs: number;
  readonly endMs: number;
};

/** Longest time between two acknowledgements in a row of which the later came at or after `fromMs`. */
export function longestGapMs(acknowledged: readonly Acknowledged[], fromMs: number): number {
  let longest = 0;
  for (let i = acknowledged.length - 1; i > 0; i--) {
    const current = acknowledged[i];
    const previous = acknowledged[i - 1];
    if (current === undefined || previous === undefined || current.endMs < fromMs) break;
    longest = Math.max(longest, current.endMs - previous.endMs);
  }
  return longest;
}
