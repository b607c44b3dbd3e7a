/**
 * What clients of stores do about answers: wait before they ask again, and take "there is none" for an answer.
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";
import { isRockpoolError } from "../common/errors.ts";

/**
 * Twice as long for each attempt, and from half to one and a half of it by chance, so that those who failed together do not
 * return together.
 */
export function pauseAfter(attempt: number, minMs: number, maxMs = Infinity): Promise<void> {
  return delay(Math.min(maxMs, minMs * 2 ** attempt) * (0.5 + Math.random()));
}

/** Null for what is not there. */
export async function orNull<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    if (isRockpoolError(error, "NOT_FOUND")) return null;
    throw error;
  }
}
