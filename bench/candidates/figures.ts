/**
 * What the candidates' bench measures, and what follows from it.
 * @module
 */
import assert from "node:assert/strict";
import { type BenchCase, measure } from "../harness.ts";

/** So many times as fast as the best there is in TypeScript, what it costs to call it included … */
const RATIO_MIN = 1.3;
/** … and so much less time for the path that it would serve: a candidate is taken when both hold. */
const SAVED_MIN = 0.03;

export type Rival = { readonly name: string; readonly run: () => void };
export type Row = { readonly name: string; readonly bestNs: number; readonly medianNs: number };
export type Table = { readonly title: string; readonly rows: readonly Row[] };

/** Where a candidate would serve. */
export type Place = {
  readonly path: string;
  readonly pathNs: number;
  /** How often the path does what the candidate would do. */
  readonly times: number;
};

export type Verdict = {
  readonly candidate: string;
  readonly wasmNs: number;
  readonly typescriptNs: number;
  readonly ratio: number;
  readonly path: string;
  readonly pathNs: number;
  /** Of the path's time: what goes there today, and what the candidate would save. */
  readonly share: number;
  readonly saved: number;
  readonly isTaken: boolean;
};

const rounded = (value: number) => Number(value.toPrecision(3));

/** Takes what is computed, so that nothing is optimized away. */
export const sink = { value: 0 };

export class Figures {
  readonly tables: Table[] = [];
  readonly verdicts: Verdict[] = [];

  /** Runs rivals in turns, and prints their figures: those of one of the `items` that each run works on. */
  compare(title: string, items: number, rivals: readonly Rival[]): readonly Row[] {
    const cases = rivals.map(({ name, run }): BenchCase => ({ name, run, bytesPerCall: 0 }));
    const rows = measure(cases).map(({ name, bestNsPerCall, medianNsPerCall }) => ({
      name,
      bestNs: rounded(bestNsPerCall / items),
      medianNs: rounded(medianNsPerCall / items),
    }));
    console.log(`\n${title}`);
    for (const { name, bestNs, medianNs } of rows)
      console.log(`  ${name.padEnd(48)} ${String(bestNs).padStart(9)} ns  (median ${medianNs})`);
    this.tables.push({ title, rows });
    return rows;
  }

  judge(candidate: string, wasmNs: number, typescriptNs: number, place: Place): void {
    const { path, pathNs, times } = place;
    const ratio = rounded(typescriptNs / wasmNs);
    const share = rounded((times * typescriptNs) / pathNs);
    const saved = rounded((times * (typescriptNs - wasmNs)) / pathNs);
    const isTaken = ratio >= RATIO_MIN && saved >= SAVED_MIN;
    this.verdicts.push({
      ...{ candidate, wasmNs, typescriptNs, ratio, path, pathNs: Math.round(pathNs) },
      ...{ share, saved, isTaken },
    });
  }

  printVerdicts(): void {
    const percent = (value: number) => `${(100 * value).toFixed(2)} %`;
    console.log("\nWhere each would serve");
    for (const verdict of this.verdicts) {
      const { candidate, wasmNs, typescriptNs, ratio, path, pathNs, share, saved } = verdict;
      console.log(
        `  ${candidate}: ${wasmNs} ns, in TypeScript ${typescriptNs} ns, ${ratio} ×\n` +
          `    ${percent(share)} of: ${path} (${pathNs} ns); saves ${percent(saved)}: ${verdict.isTaken ? "it PAYS" : "left out"}`,
      );
    }
  }
}

export function nsOf(rows: readonly Row[], name: string): number {
  const row = rows.find((each) => each.name === name);
  assert.ok(row !== undefined, name);
  return row.bestNs;
}

/** The same numbers in every run (xorshift32). */
export function numbers(count: number, seed = 1): Uint32Array {
  let state = seed;
  return new Uint32Array(count).map(() => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state;
  });
}
