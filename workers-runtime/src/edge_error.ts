/**
 * Failures, in the words of the masters: test `status`, show `message` and `remedy`.
 * @module
 */
export class EdgeError extends Error {
  /** As gRPC has them: NOT_FOUND, PERMISSION_DENIED, UNAVAILABLE, … */
  readonly status: string;
  readonly remedy: string;

  constructor(status: string, message: string, remedy = "") {
    super(message);
    this.status = status;
    this.remedy = remedy;
  }
}

/** Of this connection; another one may do better. */
export const unavailable = (message: string) => new EdgeError("UNAVAILABLE", message);
