/**
 * How long a call waits: until its signal fires, or it got no bit further for as long as its budget says.
 *
 * Time counts only while something is waited for, and not while whoever reads takes a rest.
 * @module
 */
import { unavailable } from "./edge_error.ts";

/** Timers know no longer time. */
const WAIT_MAX_MS = 2 ** 31 - 1;
const PAUSE_MIN_MS = 20;
const PAUSE_MAX_MS = 200;

export type Patience = ReturnType<typeof patienceOf>;

/** It waits from the beginning; `end` it. */
export function patienceOf(budgetMs: number, given?: AbortSignal) {
  const aborter = new AbortController();
  const { signal } = aborter;
  /** Rejects when the signal fires. */
  const gone = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
  });
  gone.catch(() => {}); // told to whoever waits
  let timer: ReturnType<typeof setTimeout> | undefined;
  let pauseMs = 0;
  let failure: unknown;

  /** From now on, with all the time there is. */
  const wait = () => {
    rest();
    pauseMs = PAUSE_MIN_MS;
    timer = setTimeout(
      () => abort(failure ?? unavailable(`Nothing for ${budgetMs} ms`)),
      Math.min(budgetMs, WAIT_MAX_MS),
    );
  };
  /** Until it waits again. */
  const rest = () => clearTimeout(timer);
  const end = () => {
    rest();
    given?.removeEventListener("abort", abortAsGiven);
  };
  const abort = (reason?: unknown) => {
    end();
    aborter.abort(reason);
  };
  const abortAsGiven = () => abort(given?.reason);
  /** Before the next attempt. @param error why the last one failed: what is told when there is no time for more */
  const pause = (error: unknown) => {
    failure = error;
    // Half of it by chance, so that those who lost the same master do not come back as one.
    const ms = pauseMs * (0.5 + Math.random());
    pauseMs = Math.min(pauseMs * 2, PAUSE_MAX_MS);
    return Promise.race([gone, new Promise<void>((resolve) => setTimeout(resolve, ms))]);
  };

  wait();
  given?.addEventListener("abort", abortAsGiven);
  if (given?.aborted) abortAsGiven();
  return { signal, gone, wait, rest, end, abort, pause };
}
