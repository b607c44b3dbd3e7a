/**
 * Whether a history of concurrent operations has an order in which the model does what the clients saw (Wing and Gong's
 * search with Lowe's memory of what was tried; the partition of a history by directories is the caller's).
 *
 * An operation whose end nobody knows may have happened at any time after its call, or never. Operations that can't have
 * changed anything (reads, refusals) are taken as soon as they fit, which loses no order: it forbids nothing later.
 * @module
 */
import { type Operation, type Outcome, type State, step } from "./model.ts";

export type Recorded = {
  readonly client: string;
  readonly operation: Operation;
  readonly calledMs: number;
  /** Infinity while nobody knows how it ended. */
  readonly returnedMs: number;
  readonly outcome: Outcome | null;
};

export type Verdict =
  | { readonly kind: "linearizable"; readonly configurations: number }
  /** The search was given up: nothing is known. */
  | { readonly kind: "undecided"; readonly configurations: number }
  | {
      readonly kind: "violated";
      readonly configurations: number;
      readonly stuck: readonly Recorded[];
    };

const CONFIGURATIONS_MAX = 150_000;

type Configuration = {
  /** All ended operations below this are taken. */
  readonly base: number;
  /** Ended operations from `base` on that are taken, rising. */
  readonly beyond: readonly number[];
  /** Operations without an end that are taken, rising. */
  readonly open: readonly number[];
  readonly state: State;
};

function inserted(sorted: readonly number[], value: number): number[] {
  return [...sorted, value].sort((a, b) => a - b);
}

/** @param initial the state before the first operation */
export function judge(history: readonly Recorded[], initial: State): Verdict {
  const ended = history
    .filter(({ outcome }) => outcome !== null)
    .sort((a, b) => a.calledMs - b.calledMs);
  const open = history.filter(({ outcome }) => outcome === null);
  const tried = new Set<string>();
  const stack: Configuration[] = [{ base: 0, beyond: [], open: [], state: initial }];
  let deepest: Configuration | null = null;
  for (;;) {
    const at = stack.pop();
    if (at === undefined) break;
    const key = `${at.base}:${at.beyond.join()}:${at.open.join()}:${at.state.key}`;
    if (tried.has(key)) continue;
    tried.add(key);
    const configurations = tried.size;
    if (at.base === ended.length) return { kind: "linearizable", configurations };
    if (configurations >= CONFIGURATIONS_MAX) return { kind: "undecided", configurations };
    if (deepest === null || at.base + at.beyond.length > deepest.base + deepest.beyond.length)
      deepest = at;
    for (const next of successors(at, ended, open)) stack.push(next);
  }
  const stuck = deepest === null ? [] : candidates(deepest, ended).map((each) => ended[each]);
  return {
    kind: "violated",
    configurations: tried.size,
    stuck: stuck.filter((each) => each !== undefined),
  };
}

/** Ended operations that may come next: called before the first return of those that are not taken. */
function candidates({ base, beyond }: Configuration, ended: readonly Recorded[]): number[] {
  const found: number[] = [];
  let firstReturnMs = Number.POSITIVE_INFINITY;
  for (let at = base; at < ended.length; at++) {
    const each = ended[at];
    if (each === undefined || each.calledMs > firstReturnMs) break;
    if (beyond.includes(at)) continue;
    firstReturnMs = Math.min(firstReturnMs, each.returnedMs);
    found.push(at);
  }
  return found.filter((at) => (ended[at]?.calledMs ?? 0) <= firstReturnMs);
}

function taken(at: Configuration, index: number, state: State): Configuration {
  let { base } = at;
  let beyond: readonly number[] = inserted(at.beyond, index);
  while (beyond[0] === base) {
    beyond = beyond.slice(1);
    base += 1;
  }
  return { base, beyond, open: at.open, state };
}

/** Whether there is a state in which an operation with this end changes something. */
function mayChange({ operation, outcome }: Recorded): boolean {
  if (operation.kind === "status" || operation.kind === "list") return false;
  return outcome === null || outcome.status === "ok" || operation.kind === "create";
}

/** Those to be tried first come last. */
function successors(
  at: Configuration,
  ended: readonly Recorded[],
  open: readonly Recorded[],
): Configuration[] {
  const found: { readonly next: Configuration; readonly returnedMs: number }[] = [];
  const now = candidates(at, ended);
  let firstReturnMs = Number.POSITIVE_INFINITY;
  for (const index of now) {
    const each = ended[index];
    if (each === undefined) continue;
    firstReturnMs = Math.min(firstReturnMs, each.returnedMs);
    for (const state of step(at.state, each.operation, each.outcome)) {
      if (state === at.state && !mayChange(each)) return [taken(at, index, state)];
      found.push({ next: taken(at, index, state), returnedMs: each.returnedMs });
    }
  }
  for (const [index, each] of open.entries()) {
    if (at.open.includes(index) || each.calledMs > firstReturnMs) continue;
    for (const state of step(at.state, each.operation, null))
      if (state !== at.state)
        found.push({
          next: { ...at, open: inserted(at.open, index), state },
          returnedMs: Number.POSITIVE_INFINITY,
        });
  }
  return found.sort((a, b) => b.returnedMs - a.returnedMs).map(({ next }) => next);
}
