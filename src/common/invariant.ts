/**
 * Invariants: what must hold if this program is right.
 * A broken one is our bug, never the caller's mistake, so nothing may catch it and go on:
 * the process entry point logs it and exits with `EXIT.invariant`.
 * @module
 */

/** Thrown only by {@link invariant} and {@link unreachable}. */
export class InvariantError extends Error {
  override readonly name = "InvariantError";
}

/** Stops the process when `condition` is false. `message` says what holds, not what went wrong. */
export function invariant(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvariantError(`Invariant broken: ${message}`);
}

/** Ends a `switch` over a union: a new member does not compile until it is handled. */
export function unreachable(value: never): never {
  const kind = (value as { kind?: unknown } | undefined)?.kind ?? value;
  throw new InvariantError(`Invariant broken: no case for ${String(kind)}`);
}
