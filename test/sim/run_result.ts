/**
 * What a run gives, and how any kind of run is carried out.
 * @module
 */
import { Violation } from "./checkers.ts";
import type { Scheduler } from "./scheduler.ts";

/** What a run tells of itself. */
export type Told = {
  readonly operations: number;
  readonly unknown: number;
  readonly repeats: number;
  readonly elections: number;
  readonly applied: number;
  readonly undecided: number;
  /** Kinds that some seeds switch on. */
  readonly faultKinds: readonly string[];
  readonly faults: Readonly<Record<string, number>>;
  readonly events: Readonly<Record<string, number>>;
};

export type RunResult = Told & {
  readonly seed: number;
  readonly hash: number;
  readonly virtualMs: number;
  readonly cpuMs: number;
  readonly eventCount: number;
  readonly failure: {
    readonly invariant: string;
    readonly message: string;
    readonly stack: string;
    readonly lines: readonly string[];
  } | null;
};

export type RunOptions = { readonly onLine?: (line: string) => void };

/** One kind of run. */
export interface Simulated {
  readonly scheduler: Scheduler;
  execute(): Promise<void>;
  told(): Told;
}

/** What the product threw in no one's arms: a bug, unless the process was dead already. */
let current: Simulated | null = null;
process.on("unhandledRejection", (error) => {
  if (current === null || current.scheduler.current?.isAlive === false) return;
  if (error instanceof Error && error.name === "SimCrash") return;
  current.scheduler.fail(error instanceof Error ? error : new Error(String(error)));
});

export async function simulate(
  seed: number,
  make: (seed: number) => Simulated,
  options: RunOptions,
): Promise<RunResult> {
  const began = process.cpuUsage();
  const run = make(seed);
  current = run;
  run.scheduler.onLine = options.onLine ?? null;
  let failure: RunResult["failure"] = null;
  try {
    await run.execute();
  } catch (error) {
    const what = error instanceof Error ? error : new Error(String(error));
    failure = {
      invariant: what instanceof Violation ? what.invariant : "BUG",
      message: what.message,
      stack: `${what.stack}${what.cause instanceof Error ? `\ncaused by ${what.cause.stack}` : ""}`,
      lines: run.scheduler.lastLines(80),
    };
  }
  current = null;
  const { user, system } = process.cpuUsage(began);
  const { hash, nowMs, eventCount } = run.scheduler;
  const cpuMs = (user + system) / 1000;
  return { seed, hash, virtualMs: nowMs, cpuMs, eventCount, ...run.told(), failure };
}
