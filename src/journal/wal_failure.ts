/**
 * How a write-ahead log fails, and what it means for the process.
 * @module
 */
import { EXIT, messageOf, RockpoolError } from "../common/errors.ts";
import type { LogIndex } from "../common/ids.ts";

const NO_SPACE: ReadonlySet<unknown> = new Set(["ENOSPC", "EDQUOT"]);

/** readOnly: nothing promised is lost, and a later `openWal` may find room. fatal: exit with `exitCode`. */
export type WalFailure = {
  readonly kind: "readOnly" | "fatal";
  readonly error: RockpoolError;
  readonly exitCode: number;
};

/** Thrown by reads of a log that has failed; `onFailure` was told already. */
export class WalError extends Error {
  override readonly name = "WalError";
  readonly failure: WalFailure;
  constructor(failure: WalFailure, cause: unknown) {
    super(failure.error.message, { cause });
    this.failure = failure;
  }
}

/** True for what the system says when a disk or a quota is full. */
export function isNoSpace(error: unknown): boolean {
  return error instanceof Error && "code" in error && NO_SPACE.has(error.code);
}

/** Never repeated: what the kernel now believes to be on disk may not be there. */
export function fatalFailure(path: string, act: "fdatasync" | "writing", cause: unknown): WalError {
  const error = new RockpoolError(
    "INTERNAL",
    `The journal cannot go on: ${act} of ${path} failed (${messageOf(cause)})`,
    "Check the disk; a restart reads the journal anew and loses nothing that was acknowledged",
    { cause },
  );
  return new WalError({ kind: "fatal", error, exitCode: EXIT.journalIo }, cause);
}

/** What a failed write means, or the preparation of a segment. */
export function writeFailure(error: unknown, path: string): WalError {
  if (error instanceof WalError) return error;
  if (!isNoSpace(error)) return fatalFailure(path, "writing", error);
  const failure: WalFailure = {
    kind: "readOnly",
    exitCode: EXIT.journalIo,
    error: new RockpoolError(
      "RESOURCE_EXHAUSTED",
      `The disk of the journal is full: cannot write ${path}`,
      "Free space on that disk; this master takes part again by itself",
      { cause: error },
    ),
  };
  return new WalError(failure, error);
}

export function damagedEntry(
  path: string,
  offsetBytes: number,
  index: LogIndex,
  cause: unknown,
): WalError {
  const error = new RockpoolError(
    "DATA_LOSS",
    `Journal file ${path} is damaged at byte ${offsetBytes}: entry ${index} was durable and can't be read`,
    "Copy the journal folder; then replace this master's journal from its peers, or restore a backup",
    { cause },
  );
  return new WalError({ kind: "fatal", error, exitCode: EXIT.journalDamaged }, cause);
}
