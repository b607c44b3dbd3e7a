/**
 * The load under which the journal and its rival are measured: callers of which each waits for its own answer.
 * @module
 */
import { isRockpoolError } from "../src/common/errors.ts";

export const ENTRY_BYTES = 200;

export type Round = {
  readonly entries: number;
  readonly ms: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
};

/** Between processes. */
export type ToChild =
  | { readonly kind: "run"; readonly proposers: number; readonly ms: number }
  | { readonly kind: "end" };
export type FromChild =
  | { readonly kind: "ready" }
  | { readonly kind: "round"; readonly round: Round };

/** As many loops as there are proposers. */
export async function round(
  proposers: number,
  roundMs: number,
  act: (payload: Uint8Array) => Promise<unknown>,
): Promise<Round> {
  const latencies = new Latencies();
  const beganMs = performance.now();
  const endMs = beganMs + roundMs;
  const propose = async () => {
    const payload = new Uint8Array(ENTRY_BYTES).fill(7);
    for (let startMs = performance.now(); startMs < endMs; ) {
      try {
        await act(payload);
      } catch (error) {
        // A change of leaders in the middle: this round is worth nothing, and says so by its figures.
        if (!isRockpoolError(error, "UNAVAILABLE")) throw error;
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      const nowMs = performance.now();
      latencies.add(nowMs - startMs);
      startMs = nowMs;
    }
  };
  await Promise.all(Array.from({ length: proposers }, propose));
  const ms = performance.now() - beganMs;
  const { count } = latencies;
  return { entries: count, ms, p50Ms: latencies.at(0.5), p99Ms: latencies.at(0.99) };
}

const BUCKETS_PER_OCTAVE = 32;
const SMALLEST_MS = 0.001;

/** A histogram, so that a million answers a second cost no memory; 2 % exact. */
class Latencies {
  readonly #counts = new Uint32Array(40 * BUCKETS_PER_OCTAVE);
  count = 0;

  add(ms: number): void {
    const octaves = Math.log2(Math.max(ms, SMALLEST_MS) / SMALLEST_MS);
    const at = Math.floor(octaves * BUCKETS_PER_OCTAVE);
    this.#counts[at] = (this.#counts[at] ?? 0) + 1;
    this.count += 1;
  }

  /** @param share 0 to 1 */
  at(share: number): number {
    let left = this.count * share;
    for (const [at, count] of this.#counts.entries()) {
      left -= count;
      if (left < 0) return SMALLEST_MS * 2 ** ((at + 0.5) / BUCKETS_PER_OCTAVE);
    }
    return Number.NaN;
  }
}
