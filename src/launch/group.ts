/**
 * One command on many hosts at once: a bounded number at a time, one line a host, and what went wrong at the end.
 * @module
 */
import type { HostResult, HostRunner } from "./host_runner.ts";
import { type HostEntry, hostKey } from "./hosts_file.ts";

/** Each is a process of ssh here. */
const HOSTS_AT_ONCE = 32;
/** Of a host that failed, in the summary. */
const DETAIL_LINES = 12;
const LINE_CHARACTERS_MAX = 300;

export type HostOutcome = {
  readonly entry: HostEntry;
  readonly result: HostResult;
  readonly isOk: boolean;
  /** What happened, in one line. */
  readonly line: string;
};

/** Runs `act` for each item, so many at a time; the answers in the items' order. */
export async function inParallel<T, R>(
  items: readonly T[],
  limit: number,
  act: (item: T) => Promise<R>,
): Promise<readonly R[]> {
  const answers = new Array<R>(items.length);
  const queue = items.entries();
  const lane = async () => {
    for (const [at, item] of queue) answers[at] = await act(item);
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, lane));
  return answers;
}

function linesOf(text: string): readonly string[] {
  return text
    .split("\n")
    .map((line) => line.trimEnd())
    .filter((line) => line !== "");
}

/** The line that says most: why the host was not reached, a verdict of ours, else the last one. */
export function summaryLine({ exitCode, stdout, stderr, trouble }: HostResult): string {
  if (trouble !== null) return `[ FAILED ] not done: ${trouble}`;
  const said = linesOf(stdout);
  const verdict = said.find((line) => /^\[ (OK|FAILED) \]/.test(line));
  const last = exitCode === 0 ? said.at(-1) : (said.at(-1) ?? linesOf(stderr).at(-1));
  const line = verdict ?? last ?? (exitCode === 0 ? "done" : `ended with exit code ${exitCode}`);
  const isMarked = exitCode === 0 || verdict !== undefined;
  return (isMarked ? line : `[ FAILED ] ${line}`).slice(0, LINE_CHARACTERS_MAX);
}

export type GroupRun = {
  readonly runner: HostRunner;
  readonly hosts: readonly HostEntry[];
  /** What each host is told to do. */
  readonly words: readonly string[];
  /** How long each may take; absent: what a {@link HostRunner} allows. */
  readonly timeoutMs?: number;
  /** Told a line as soon as a host is done. */
  readonly say: (line: string) => Promise<void>;
};

export async function runOnHosts(run: GroupRun): Promise<readonly HostOutcome[]> {
  return inParallel(run.hosts, HOSTS_AT_ONCE, async (entry) => {
    const { timeoutMs } = run;
    const result = await run.runner.run(
      entry,
      run.words,
      timeoutMs === undefined ? {} : { timeoutMs },
    );
    const isOk = result.exitCode === 0 && result.trouble === null;
    const line = summaryLine(result);
    await run.say(`${hostKey(entry)}: ${line}`);
    return { entry, result, isOk, line };
  });
}

/** What a person needs of the hosts that failed; no line when none did. */
export function failureLines(outcomes: readonly HostOutcome[]): readonly string[] {
  const failed = outcomes.filter(({ isOk }) => !isOk);
  if (failed.length === 0) return [];
  const names = [...new Set(failed.map(({ entry }) => hostKey(entry)))];
  const details = failed.flatMap(({ entry, result, line }) => {
    const said = [...linesOf(result.stdout), ...linesOf(result.stderr)].filter(
      (one) => one !== line,
    );
    const shown = said.slice(-DETAIL_LINES);
    return shown.length === 0 ? [] : [`  ${hostKey(entry)}:`, ...shown.map((one) => `    ${one}`)];
  });
  return [
    `Failed on ${names.length} of ${hostCount(outcomes)} hosts: ${names.join(", ")}`,
    ...details,
  ];
}

function hostCount(outcomes: readonly HostOutcome[]): number {
  return new Set(outcomes.map(({ entry }) => hostKey(entry))).size;
}
