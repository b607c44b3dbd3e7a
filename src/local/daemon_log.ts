/**
 * What the log of a daemon that is being started says of its start: only what it wrote since then counts.
 * @module
 */
import { closeSync, existsSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import { RockpoolError } from "../common/errors.ts";

/** Enough for the lines of a start; a daemon that says more has other troubles. */
const LOOK_BYTES_MAX = 256 * 1024;

/** Where a log ends now; 0 when there is none. */
export function logEnd(path: string): number {
  return existsSync(path) ? statSync(path).size : 0;
}

function textAfter(path: string, fromByte: number): string {
  const bytes = Buffer.alloc(Math.max(0, Math.min(LOOK_BYTES_MAX, logEnd(path) - fromByte)));
  if (bytes.length === 0) return "";
  const descriptor = openSync(path, "r");
  try {
    return bytes.subarray(0, readSync(descriptor, bytes, 0, bytes.length, fromByte)).toString();
  } finally {
    closeSync(descriptor);
  }
}

/** The last lines of what was logged since then. */
export function lastLines(path: string, fromByte: number, count: number): string {
  if (!existsSync(path)) return "";
  const text = readFileSync(path).subarray(fromByte).toString();
  return text.trimEnd().split("\n").slice(-count).join("\n");
}

/** A refusal by one of the others counts only when this one is not in service some time later. */
export const REFUSAL_AFTER_MS = 2000;

/** The event as the daemon logs it, as text or JSON. */
const REFUSAL = /\brefusedByPeer\b.*\breason"?[=:]"?wiped\b/;

/**
 * Tells a start that will not succeed by waiting: the other masters keep this one out.
 * @throws RockpoolError FAILED_PRECONDITION with the procedure that lets it in
 */
export function requireNotKeptOut(path: string, fromByte: number, who: string): void {
  const line = textAfter(path, fromByte)
    .split("\n")
    .find((one) => REFUSAL.test(one));
  if (line === undefined) return;
  throw new RockpoolError(
    "FAILED_PRECONDITION",
    `The other masters keep ${who} out: they have known it with another journal, which may have voted.\n  ${line}`,
    "Format it and start it again, while a majority of the others runs: it then joins them as a new member and fetches everything from them. " +
      "If it was the only one with the newest data, put its old journal folder back instead",
  );
}
