/**
 * How long something takes, as dashboards ask for it: how often, how long at most and in the middle, how often of late.
 *
 * The newest durations stand for all: a scrape tells of what happens now. Recording costs two stores.
 * @module
 */

/** Enough for a steady 99.9th percentile; 8 KiB. */
const SAMPLES = 1024;
const MINUTE_S = 60;

export type TimerReading = {
  /** Since the process began. */
  readonly count: number;
  /** The newest durations, in any order. */
  readonly samplesMs: readonly number[];
};

export type TimerStatistics = {
  readonly max: number;
  readonly min: number;
  readonly mean: number;
  readonly stddev: number;
  readonly p50: number;
  readonly p75: number;
  readonly p95: number;
  readonly p98: number;
  readonly p99: number;
  readonly p999: number;
};

export class Timer {
  #count = 0;
  readonly #ring: Float64Array;

  /** @param samples how many of the newest durations are kept */
  constructor(samples = SAMPLES) {
    this.#ring = new Float64Array(samples);
  }

  record(tookMs: number): void {
    this.#ring[this.#count % this.#ring.length] = tookMs;
    this.#count += 1;
  }

  read(): TimerReading {
    const samplesMs = [...this.#ring.subarray(0, Math.min(this.#count, this.#ring.length))];
    return { count: this.#count, samplesMs };
  }
}

/** The nearest-rank percentile of sorted values; 0 for none. */
export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
}

/** In seconds, as Prometheus wants durations. */
export function statisticsOf(samplesMs: readonly number[]): TimerStatistics {
  const sorted = samplesMs.map((ms) => ms / 1000).sort((a, b) => a - b);
  const count = Math.max(1, sorted.length);
  const mean = sorted.reduce((sum, value) => sum + value, 0) / count;
  const variance = sorted.reduce((sum, value) => sum + (value - mean) ** 2, 0) / count;
  return {
    max: sorted.at(-1) ?? 0,
    min: sorted[0] ?? 0,
    mean,
    stddev: Math.sqrt(variance),
    p50: percentile(sorted, 0.5),
    p75: percentile(sorted, 0.75),
    p95: percentile(sorted, 0.95),
    p98: percentile(sorted, 0.98),
    p99: percentile(sorted, 0.99),
    p999: percentile(sorted, 0.999),
  };
}

/** Events per second, with what is long ago fading: over 1, 5 and 15 minutes. Told the count whenever somebody asks. */
export class Rates {
  readonly #startedMs: number;
  #seenMs: number;
  #seenCount = 0;
  readonly #minutes = [1, 5, 15] as const;
  readonly #rates: number[] = [];

  constructor(nowMs: number) {
    this.#startedMs = nowMs;
    this.#seenMs = nowMs;
  }

  read(count: number, nowMs: number): { mean: number; m1: number; m5: number; m15: number } {
    const elapsedS = (nowMs - this.#seenMs) / 1000;
    if (elapsedS > 0) {
      const newest = Math.max(0, count - this.#seenCount) / elapsedS;
      for (const [at, minutes] of this.#minutes.entries()) {
        const before = this.#rates[at];
        const share = 1 - Math.exp(-elapsedS / (minutes * MINUTE_S));
        this.#rates[at] = before === undefined ? newest : before + share * (newest - before);
      }
      this.#seenMs = nowMs;
      this.#seenCount = count;
    }
    const [m1 = 0, m5 = 0, m15 = 0] = this.#rates;
    const upS = (nowMs - this.#startedMs) / 1000;
    return { mean: upS > 0 ? count / upS : 0, m1, m5, m15 };
  }
}
