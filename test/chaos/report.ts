/**
 * What a run did, in lines for people.
 *
 * Pure.
 * @module
 */
import { longestGapMs } from "../process/gaps.ts";
import { type Operation, READS } from "./history.ts";

/** A nemesis that ran; nanoseconds since the run began. */
export type NemesisRun = {
  readonly name: string;
  readonly startNs: number;
  readonly endNs: number;
  readonly detail: string;
  readonly isFailover: boolean;
};

const BOUNDS_MS = [50, 100, 200, 300, 500, 700, 1000, 2000, 5000];

export function tableOf(operations: readonly Operation[]): string[] {
  const results = [...new Set(operations.map(({ result }) => result))].sort();
  const kinds = [...new Set(operations.map(({ kind }) => kind))].sort();
  const count = (kind: string, result: string) =>
    operations.filter((one) => one.kind === kind && one.result === result).length;
  const width = (text: string) => Math.max(8, text.length + 1);
  const row = (title: string, cells: readonly string[]) =>
    title.padEnd(10) + cells.map((cell, i) => cell.padStart(width(results[i] ?? ""))).join("");
  return [
    row("", results),
    ...kinds.map((kind) =>
      row(
        kind,
        results.map((result) => String(count(kind, result))),
      ),
    ),
  ];
}

/** Longest time without an acknowledged change around each loss of a leader, in ms. */
export function failoverGapsMs(
  operations: readonly Operation[],
  runs: readonly NemesisRun[],
): number[] {
  const acknowledged = operations
    .filter(({ kind, result }) => result === "ok" && !READS.has(kind))
    .map(({ path, start, end }) => ({ name: path, startMs: start / 1e6, endMs: end / 1e6 }))
    .sort((a, b) => a.endMs - b.endMs);
  return runs.flatMap(({ isFailover, startNs }, at) => {
    if (!isFailover) return [];
    const untilMs = (runs[at + 1]?.startNs ?? Number.POSITIVE_INFINITY) / 1e6;
    const before = acknowledged.filter(({ endMs }) => endMs < untilMs);
    return [longestGapMs(before, startNs / 1e6)];
  });
}

export function histogramOf(gapsMs: readonly number[]): string[] {
  const sorted = [...gapsMs].sort((a, b) => a - b);
  const at = (share: number) => Math.round(sorted[Math.floor(share * (sorted.length - 1))] ?? 0);
  if (sorted.length === 0) return ["no leader was killed"];
  let from = 0;
  const lines = [...BOUNDS_MS, Number.POSITIVE_INFINITY].flatMap((to) => {
    const count = sorted.filter((gap) => gap >= from && gap < to).length;
    const label = to === Number.POSITIVE_INFINITY ? `over ${from}` : `${from} to ${to}`;
    from = to;
    return count === 0 ? [] : [`${label.padStart(14)} ms  ${"#".repeat(count)} ${count}`];
  });
  return [
    `${sorted.length} times: p50 ${at(0.5)} ms, p90 ${at(0.9)} ms, max ${at(1)} ms`,
    ...lines,
  ];
}

/** Words that came most often first. */
export function countsOf(words: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts]
    .sort((a, b) => b[1] - a[1])
    .map(([word, count]) => `${word} ${count}`)
    .join(", ");
}
