/**
 * Errors that somebody can act on.
 *
 * Three kinds of failure exist (docs/ARCHITECTURE.md, "Failures"): an expected one is a
 * {@link RockpoolError} with a status that callers test and a remedy for the person who reads it;
 * a fatal state of the environment ends the process with one of {@link EXIT}; a bug is an invariant.
 * @module
 */

/** gRPC status codes; the numbers are fixed by the gRPC protocol. */
export const STATUS_CODES = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;
export type StatusName = Exclude<keyof typeof STATUS_CODES, "OK">;

const NAMES = new Map<number, StatusName>(
  Object.entries(STATUS_CODES)
    .filter(([name]) => name !== "OK")
    .map(([name, code]) => [code, name as StatusName]),
);

/** The name of a gRPC status number; UNKNOWN for numbers that gRPC does not define. */
export function statusName(code: number): StatusName {
  return NAMES.get(code) ?? "UNKNOWN";
}

/**
 * An expected failure. `message` crosses the wire and is shown to users verbatim;
 * `remedy` says what to do about it, and is logged and shown by our own tools.
 */
export class RockpoolError extends Error {
  override readonly name = "RockpoolError";
  readonly status: StatusName;
  readonly remedy: string;

  constructor(status: StatusName, message: string, remedy = "", options?: ErrorOptions) {
    super(message, options);
    this.status = status;
    this.remedy = remedy;
  }
}

/** True for a RockpoolError, of `status` when it is given. */
export function isRockpoolError(error: unknown, status?: StatusName): error is RockpoolError {
  return error instanceof RockpoolError && (status === undefined || error.status === status);
}

/** Text of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Exit codes of the daemons; one for each fatal condition, so that a supervisor can tell them apart. */
export const EXIT = {
  ok: 0,
  /** Wrong command line, property value, or environment. */
  usage: 1,
  /** The journal was never formatted, or belongs to another cluster. */
  notFormatted: 65,
  /** A port is taken, a directory cannot be made or written. */
  cannotStart: 69,
  /** A write or fdatasync of the journal failed: what is on disk is unknown until it is read again. */
  journalIo: 70,
  /** Acknowledged journal bytes are damaged and no copy is left to repair them from. */
  journalDamaged: 71,
  /** This master was removed from the journal: it must not take part under its old identity. */
  expelled: 73,
  /** Rows of the metadata store are damaged: the next start rebuilds it from the checkpoint and the journal. */
  metadataDamaged: 74,
  /** A broken invariant: a bug of ours. */
  invariant: 72,
} as const;
