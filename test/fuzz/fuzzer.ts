/**
 * Fuzzing with feedback: a decoder gets inputs that are changed from ones that once showed something new.
 *
 * What is new is told by the outcome: the class and text of the error with its numbers left out, or what the target says
 * of the value. That is coarser than branches, and costs nothing. Every outcome but a value or an error of an expected
 * class is a finding, and so is an input that takes long for its size.
 * @module
 */
import { DecodeError } from "../../src/common/bytes.ts";
import { isRockpoolError } from "../../src/common/errors.ts";
import type { Random } from "../../src/world/ports.ts";
import { below, mutate, shrink } from "./mutator.ts";

export type FuzzTarget = {
  readonly name: string;
  /** Sound inputs of every kind; the corpus is added to them. */
  readonly seeds: () => readonly Uint8Array[];
  /**
   * Decodes; throws DecodeError or RockpoolError for input that is not of the format. Anything else thrown is a finding:
   * also what the target itself throws because a value does not survive a round trip.
   * @returns a word for the outcome; a new one makes the input worth keeping
   */
  readonly run: (bytes: Uint8Array) => string;
  /** Makes checksums right again, so that changes get past them. Used for half of the inputs. */
  readonly repair?: (bytes: Uint8Array) => Uint8Array;
  /** Executions of this target relative to others; 1 when left out. */
  readonly weight?: number;
};

export type Finding = {
  readonly target: string;
  readonly input: Uint8Array;
  readonly error: unknown;
};

export type FuzzReport = {
  readonly target: string;
  readonly executions: number;
  readonly outcomes: number;
  readonly findings: readonly Finding[];
  /** Inputs that showed something new, seeds not among them. */
  readonly kept: readonly Uint8Array[];
  readonly tookMs: number;
};

/** A decoder at work on 16 KiB is done in far less; this is for what is worse than linear. */
const SLOW_MS = 250;
const KEPT_MAX = 512;
const FINDINGS_MAX = 8;

class TooSlow extends Error {
  override readonly name = "TooSlow";
}

/** A message without what it says of one input: quotations and numbers. */
function wording(message: string): string {
  return message.replace(/".*"/gs, '""').replace(/\d+/g, "#").slice(0, 60);
}

/** The outcome as a word; throws what is a finding. */
function outcomeOf(target: FuzzTarget, bytes: Uint8Array): string {
  try {
    return `value ${target.run(bytes)}`;
  } catch (error) {
    if (!(error instanceof DecodeError) && !isRockpoolError(error)) throw error;
    return `${error.name} ${wording(error.message)}`;
  }
}

/** Runs one input. @returns the finding, or null */
export function tryInput(target: FuzzTarget, input: Uint8Array): Finding | null {
  try {
    const beganMs = performance.now();
    outcomeOf(target, input);
    // Somebody else may have had the processor: only an input that is slow again and again counts.
    for (let tries = 0; performance.now() - beganMs > SLOW_MS; tries++) {
      const againMs = performance.now();
      outcomeOf(target, input);
      if (performance.now() - againMs <= SLOW_MS) break;
      if (tries === 4) throw new TooSlow(`${input.length} B take more than ${SLOW_MS} ms`);
    }
    return null;
  } catch (error) {
    return { target: target.name, input, error };
  }
}

function isSameFailure(one: unknown, other: unknown): boolean {
  return (
    one instanceof Error &&
    other instanceof Error &&
    one.name === other.name &&
    wording(one.message) === wording(other.message)
  );
}

export type FuzzOptions = {
  readonly executions: number;
  readonly random: Random;
  /** Inputs of earlier runs. */
  readonly corpus: readonly Uint8Array[];
};

export function fuzz(target: FuzzTarget, { executions, random, corpus }: FuzzOptions): FuzzReport {
  const beganMs = performance.now();
  const pool: Uint8Array[] = [];
  const seen = new Set<string>();
  const findings: Finding[] = [];
  const kept: Uint8Array[] = [];
  let count = 0;
  const execute = (input: Uint8Array, isSeed: boolean) => {
    count += 1;
    let outcome: string;
    try {
      const startMs = performance.now();
      outcome = outcomeOf(target, input);
      const slow = performance.now() - startMs > SLOW_MS ? tryInput(target, input) : null;
      if (slow !== null) findings.push(slow);
    } catch (error) {
      if (findings.some((known) => isSameFailure(known.error, error))) return;
      const stillFails = (bytes: Uint8Array) =>
        isSameFailure(tryInput(target, bytes)?.error, error);
      findings.push({ target: target.name, input: shrink(input, stillFails), error });
      return;
    }
    const isNew = !seen.has(outcome);
    seen.add(outcome);
    if (isSeed || (isNew && pool.length < KEPT_MAX)) pool.push(input);
    if (isNew && !isSeed) kept.push(input);
  };
  for (const seed of [...target.seeds(), ...corpus, new Uint8Array(0)]) execute(seed, true);
  while (count < executions && findings.length < FINDINGS_MAX) {
    const parent = pool[below(random, pool.length)] ?? new Uint8Array(0);
    const other = pool[below(random, pool.length)] ?? new Uint8Array(0);
    const changed = mutate(random, parent, other);
    const isRepaired = target.repair !== undefined && random.uint32() % 2 === 0;
    execute(isRepaired && target.repair !== undefined ? target.repair(changed) : changed, false);
  }
  return {
    target: target.name,
    executions: count,
    outcomes: seen.size,
    findings,
    kept,
    tookMs: performance.now() - beganMs,
  };
}
