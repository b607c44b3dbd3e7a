/**
 * Entries of the journal as text, for people who read a journal.
 *
 * One line of JSON each: id numbers as text, times as dates, bytes as their length, paths and names as they are. Secrets are not shown: what
 * stands between "//" and "@" of a location, and the values of extended attributes.
 * @module
 */
import { DecodeError } from "../common/bytes.ts";
import { decodeEntry } from "./command.ts";

/** "//name@", or "//name:secret@" where the secret may hold anything; but not "//host:port/…@". */
const LOCATION_SECRET = /(\/\/)(?:[^/@:]+|[^/@:]+:(?!\d+(?:\/|$))[^@]*)(@)/g;

function readable(key: string, value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Uint8Array) return `<${value.length} B>`;
  if (typeof value === "string") return value.replace(LOCATION_SECRET, "$1***$2");
  // Many rows say nothing to people, and fill the screen.
  if (key === "rows" && Array.isArray(value)) return `<${value.length} rows>`;
  return value;
}

/** What a command entry says; for one that cannot be decoded, why. Never fails. */
export function describeCommand(payload: Uint8Array): string {
  try {
    const { timeMs, operationId, principal, command } = decodeEntry(payload);
    const { kind, ...fields } = command;
    return JSON.stringify(
      {
        command: kind,
        ...fields,
        time: dateText(timeMs),
        user: principal.user,
        ...(operationId === null
          ? {}
          : { operation: `${operationId.high.toString(16)}-${operationId.low.toString(16)}` }),
      },
      readable,
    );
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return JSON.stringify({ undecodable: error.message, bytes: payload.length });
  }
}

/** Times beyond those of dates are shown as they are. */
function dateText(timeMs: number): string | number {
  const date = new Date(timeMs);
  return Number.isNaN(date.getTime()) ? timeMs : date.toISOString();
}
