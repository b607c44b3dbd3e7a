/**
 * The fuzzers' command line: `npm run fuzz -- [--executions N] [--seed S] [--target NAME] [--input FILE] [--keep]`.
 *
 * Executions are shared out among the targets by weight. Each begins with its sound seeds and the corpus of earlier runs
 * (test/fuzz/corpus/<target>/). A finding is made short, written to test/fuzz/findings/, and told with the command
 * that repeats it; then the exit code is 1. `--keep` adds inputs with new outcomes to the corpus.
 * @module
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { SeededRandom } from "../../src/raft/testing.ts";
import { type Finding, type FuzzTarget, fuzz, tryInput } from "./fuzzer.ts";
import { TARGETS } from "./targets.ts";

const FOLDER = "test/fuzz";
/** Kept files are read by people and carried by every clone. */
const KEPT_BYTES_MAX = 512;
const KEPT_FILES_MAX = 64;

function nameOf(input: Uint8Array): string {
  return createHash("sha256").update(input).digest("hex").slice(0, 16);
}

function corpusOf(target: string): Uint8Array[] {
  const folder = join(FOLDER, "corpus", target);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .sort()
    .map((name) => new Uint8Array(readFileSync(join(folder, name))));
}

function save(kind: "corpus" | "findings", target: string, input: Uint8Array): string {
  const folder = join(FOLDER, kind, target);
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${nameOf(input)}.bin`);
  writeFileSync(path, input);
  return path;
}

function tell({ target, input, error }: Finding, path: string): void {
  console.log(`\nFINDING in ${target}, ${input.length} B: ${path}`);
  console.log(`  bytes: ${Buffer.from(input.subarray(0, 64)).toString("hex")}`);
  console.log(`  ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  console.log(`  again: npm run fuzz -- --target ${target} --input ${path}`);
}

function replay(targets: readonly FuzzTarget[], file: string): number {
  const input = new Uint8Array(readFileSync(file));
  const findings = targets.flatMap((target) => tryInput(target, input) ?? []);
  for (const finding of findings) tell(finding, file);
  if (findings.length === 0) console.log(`${file}: a value, or an error of an expected class`);
  return findings.length;
}

function runTarget(target: FuzzTarget, executions: number, seed: number, isKept: boolean): number {
  const corpus = corpusOf(target.name);
  const report = fuzz(target, { executions, random: new SeededRandom(seed), corpus });
  const perSecond = Math.round((report.executions / report.tookMs) * 1000);
  console.log(
    `${target.name.padEnd(20)} ${String(report.executions).padStart(9)} executions  ` +
      `${String(perSecond).padStart(7)}/s  ${String(report.outcomes).padStart(4)} outcomes  ` +
      `${report.findings.length} findings`,
  );
  for (const finding of report.findings)
    tell(finding, save("findings", target.name, finding.input));
  if (isKept)
    for (const input of report.kept
      .filter(({ length }) => length <= KEPT_BYTES_MAX)
      .slice(0, Math.max(0, KEPT_FILES_MAX - corpus.length)))
      save("corpus", target.name, input);
  return report.findings.length;
}

function main(): number {
  const { values } = parseArgs({
    options: {
      executions: { type: "string", default: "1000000" },
      seed: { type: "string", default: String(Date.now() % 2 ** 31) },
      target: { type: "string" },
      input: { type: "string" },
      keep: { type: "boolean", default: false },
    },
  });
  const targets = TARGETS.filter(
    ({ name }) => values.target === undefined || name === values.target,
  );
  if (targets.length === 0) {
    console.error(
      `No target is called ${values.target}: ${TARGETS.map(({ name }) => name).join(", ")}`,
    );
    return 1;
  }
  if (values.input !== undefined) return replay(targets, values.input);
  const seed = Number(values.seed);
  const executions = Number(values.executions);
  if (!Number.isSafeInteger(seed) || !(executions > 0)) {
    console.error("--seed and --executions are whole numbers");
    return 1;
  }
  const weights = targets.reduce((sum, { weight }) => sum + (weight ?? 1), 0);
  const failed = targets.filter((target) => {
    const share = Math.ceil((executions * (target.weight ?? 1)) / weights);
    return runTarget(target, share, seed, values.keep) > 0;
  });
  console.log(
    `\nseed ${seed}: ${targets.length - failed.length} passed, ${failed.length} failed` +
      (failed.length > 0
        ? ` (again: npm run fuzz -- --seed ${seed} --executions ${executions})`
        : ""),
  );
  return failed.length;
}

process.exitCode = main() > 0 ? 1 : 0;
