/**
 * What every bench shares: warm-up, rounds, medians, facts about the machine, and a file of results.
 *
 * A case runs in many short rounds; rivals take turns round by round, so that a neighbour's noise
 * hits all alike. `best` is the 10th percentile of the rounds' times: what the code does when nobody
 * pre-empts it, which repeats best on shared machines. `median` shows the neighbours.
 * @module
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";

export type BenchCase = {
  readonly name: string;
  /** What one call of `run` works on, for throughput; 0 when it has no bytes. */
  readonly bytesPerCall: number;
  readonly run: () => void;
};

export type BenchResult = {
  readonly name: string;
  readonly bestNsPerCall: number;
  readonly medianNsPerCall: number;
  /** Decimal gigabytes a second of the best rounds; null when the case has no bytes. */
  readonly bestGBps: number | null;
  readonly medianGBps: number | null;
};

const WARM_UP_MS = 150;
const ROUND_MS = 4;
const ROUND_COUNT = 41;

/** Runs rivals in turns and returns their figures, in the order given. */
export function measure(cases: readonly BenchCase[]): BenchResult[] {
  const callsPerRound = cases.map(warmUp);
  const rounds = cases.map((): number[] => []);
  for (let round = 0; round < ROUND_COUNT; round++) {
    for (const [index, { run }] of cases.entries()) {
      const calls = callsPerRound[index] ?? 1;
      rounds[index]?.push(timeOf(run, calls) / calls);
    }
  }
  return cases.map((benchCase, index) => resultOf(benchCase, rounds[index] ?? []));
}

/** @returns how many calls fill a round */
function warmUp({ run }: BenchCase): number {
  const start = performance.now();
  let calls = 0;
  do {
    run();
    calls++;
  } while (performance.now() - start < WARM_UP_MS);
  return Math.max(1, Math.round((calls * ROUND_MS) / WARM_UP_MS));
}

function timeOf(run: () => void, calls: number): number {
  const start = process.hrtime.bigint();
  for (let call = 0; call < calls; call++) run();
  return Number(process.hrtime.bigint() - start);
}

function resultOf(benchCase: BenchCase, nsPerCall: readonly number[]): BenchResult {
  const bestNsPerCall = percentile(nsPerCall, 0.1);
  const medianNsPerCall = percentile(nsPerCall, 0.5);
  const { name, bytesPerCall } = benchCase;
  const speed = (ns: number) => (bytesPerCall === 0 ? null : round(bytesPerCall / ns));
  return {
    name,
    bestNsPerCall: round(bestNsPerCall),
    medianNsPerCall: round(medianNsPerCall),
    bestGBps: speed(bestNsPerCall),
    medianGBps: speed(medianNsPerCall),
  };
}

/** @param share 0 to 1 @returns NaN of no samples */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = Math.min(sorted.length - 1, Math.floor(sorted.length * share));
  return sorted[at] ?? Number.NaN;
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}

/** What `--name=` says on the command line, or the fallback. */
export function textFlag(name: string, fallback: string): string {
  const prefix = `--${name}=`;
  const given = process.argv.find((argument) => argument.startsWith(prefix));
  return given?.slice(prefix.length) ?? fallback;
}

/** The same, as a number. */
export function numberFlag(name: string, fallback: number): number {
  return Number(textFlag(name, String(fallback)));
}

export function machineFacts() {
  return {
    cpu: cpus()[0]?.model ?? "unknown",
    cpuCount: cpus().length,
    memoryBytes: totalmem(),
    loadAverage: loadavg().map(round),
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
    v8: process.versions.v8,
  };
}

export type BenchTable = { readonly title: string; readonly results: readonly BenchResult[] };

/** Something that a bench must reach; a bench that misses one exits with 1. */
export type BenchTarget = { readonly text: string; readonly value: number; readonly min: number };

/** Prints the figures and writes them to bench/results/<name>.json. */
export function report(
  name: string,
  tables: readonly BenchTable[],
  targets: readonly BenchTarget[],
): void {
  for (const { title, results } of tables) {
    console.log(`\n${title}`);
    for (const { name: what, bestNsPerCall, bestGBps, medianGBps } of results) {
      const speed = bestGBps === null ? "" : `${bestGBps} GB/s (median ${medianGBps})`;
      console.log(`  ${what.padEnd(44)} ${String(bestNsPerCall).padStart(12)} ns  ${speed}`);
    }
  }
  console.log("");
  for (const { text, value, min } of targets) {
    console.log(
      `${value >= min ? "reached" : "MISSED"}: ${text}: ${round(value)}, at least ${min}`,
    );
    if (value < min) process.exitCode = 1;
  }
  const machine = machineFacts();
  mkdirSync("bench/results", { recursive: true });
  const measuredAt = new Date().toISOString();
  const text = JSON.stringify({ name, measuredAt, machine, tables, targets }, null, 2);
  writeFileSync(`bench/results/${name}.json`, `${text}\n`);
}

/** What a process has used so far, of the kernel's accounting; its ticks are 10 ms. */
export function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return 10 * (Number(fields[11]) + Number(fields[12]));
}
