/**
 * What the workers' metrics are together: the `Cluster.*` values.
 *
 * Workers send the counts since their own start with each heartbeat, to every master. So a new leader knows the sums from
 * its first moment; a worker that starts anew adds to what it had, and one that is forgotten leaves its counts behind.
 * Bounded by the number of workers and of the names below.
 * @module
 */
import type { WorkerId } from "../common/ids.ts";
import type { Clock } from "../world/ports.ts";

/** Counts that are summed up, by the name that the worker gives them. */
export const SUMMED_COUNTERS = [
  "BytesReadCache",
  "BytesReadRemote",
  "BytesReadUfsAll",
  "BytesWrittenLocal",
  "BytesWrittenRemote",
  "BytesWrittenUfsAll",
] as const;
/** Values of this moment that are summed up. */
export const SUMMED_GAUGES = ["ActiveRpcReadCount", "ActiveRpcWriteCount"] as const;
export type SummedCounter = (typeof SUMMED_COUNTERS)[number];
export type SummedGauge = (typeof SUMMED_GAUGES)[number];

const RATE_WINDOW_MS = 60_000;
/** Two at least within the window, whatever the pace of heartbeats. */
const SAMPLE_EVERY_MS = 5_000;

type Sums = { readonly atMs: number; readonly totals: ReadonlyMap<string, number> };

export class WorkerMetrics {
  readonly #clock: Clock;
  /** Of each worker: the last report of this life of its. */
  readonly #reports = new Map<WorkerId, ReadonlyMap<string, number>>();
  /** Of earlier lives, and of workers that are gone. */
  readonly #past = new Map<string, number>();
  #samples: Sums[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  report(workerId: WorkerId, values: ReadonlyMap<string, number>): void {
    const before = this.#reports.get(workerId);
    if (
      before !== undefined &&
      SUMMED_COUNTERS.some((name) => numberIn(values, name) < numberIn(before, name))
    )
      this.#keep(before);
    this.#reports.set(workerId, values);
    this.#sample();
  }

  /**
   * Who does not live any more. Its counts stay, and do not count twice when it comes back.
   * @param known those that live, and lost ones that are not forgotten yet
   */
  retain(live: ReadonlySet<WorkerId>, known: ReadonlySet<WorkerId>): void {
    for (const [workerId, values] of this.#reports) {
      if (live.has(workerId)) continue;
      if (!known.has(workerId)) {
        this.#keep(values);
        this.#reports.delete(workerId);
        continue;
      }
      const counts = new Map(SUMMED_COUNTERS.map((name) => [name, numberIn(values, name)]));
      // What it was doing when it was lost it does no more.
      this.#reports.set(workerId, counts);
    }
  }

  total(name: SummedCounter | SummedGauge): number {
    let total = this.#past.get(name) ?? 0;
    for (const values of this.#reports.values()) total += numberIn(values, name);
    return total;
  }

  /** As Alluxio's throughputs: bytes in a minute, of the last minute. */
  perMinute(name: SummedCounter): number {
    this.#sample();
    const [oldest] = this.#samples;
    const elapsedMs = oldest === undefined ? 0 : this.#clock.monotonicMs() - oldest.atMs;
    if (oldest === undefined || elapsedMs < 1) return 0;
    const grown = this.total(name) - numberIn(oldest.totals, name);
    return Math.max(0, Math.round((grown * RATE_WINDOW_MS) / Math.max(elapsedMs, SAMPLE_EVERY_MS)));
  }

  #keep(values: ReadonlyMap<string, number>): void {
    for (const name of SUMMED_COUNTERS)
      this.#past.set(name, (this.#past.get(name) ?? 0) + numberIn(values, name));
  }

  #sample(): void {
    const nowMs = this.#clock.monotonicMs();
    const newest = this.#samples.at(-1);
    if (newest !== undefined && nowMs - newest.atMs < SAMPLE_EVERY_MS) return;
    const totals = new Map(SUMMED_COUNTERS.map((name) => [name, this.total(name)]));
    this.#samples.push({ atMs: nowMs, totals });
    // The one before the window is where the rate is counted from.
    while ((this.#samples[1]?.atMs ?? nowMs) <= nowMs - RATE_WINDOW_MS) this.#samples.shift();
  }
}

function numberIn(values: ReadonlyMap<string, number>, name: string): number {
  const value = values.get(name) ?? 0;
  return Number.isFinite(value) ? value : 0;
}
