/**
 * What clients did, as JSON lines: one for each operation that ended, in the order of their ends.
 *
 *     {"client":3,"kind":"rename","partition":"e4-1","path":"d0/a","to":"b","start":12,"end":34,"result":"ok"}
 *
 * - `start` and `end` are nanoseconds of the machine's monotonic clock since the run began, so that processes agree.
 * - `partition` is a folder below `/chaos`; paths are relative to it, and "" is the folder itself. No operation touches two.
 * - `result` is "ok", the status of a refusal, or "unknown": the operation may have happened, may happen later, or
 *   never. A read that is unknown says nothing.
 *
 * Promises: a line that was written is whole. Times are taken before the call begins and after it ended.
 * @module
 */
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";

export const KINDS = [
  "mkdir",
  "create",
  "complete",
  "write",
  "giveUp",
  "delete",
  "rename",
  "stat",
  "exists",
  "list",
  "read",
] as const;
export type OperationKind = (typeof KINDS)[number];

export type Seen = {
  readonly name: string;
  readonly id: string;
  readonly isDirectory: boolean;
  readonly isCompleted: boolean;
};

export type Operation = {
  readonly client: number;
  readonly kind: OperationKind;
  readonly partition: string;
  readonly path: string;
  readonly start: number;
  readonly end: number;
  readonly result: string;
  /** rename: the new path. */
  readonly to?: string;
  /** delete: with all below it. */
  readonly isRecursive?: boolean;
  /** create, write: what the file is to hold; read: what it held. "" is an empty file. */
  readonly content?: string;
  /** create, stat: the inode's id. */
  readonly id?: string;
  readonly isDirectory?: boolean;
  readonly isCompleted?: boolean;
  /** Of the content: what it is to be (create), or is (stat). */
  readonly lengthBytes?: number;
  readonly doesExist?: boolean;
  readonly children?: readonly Seen[];
  /** What was thrown, when that was none of the expected refusals. */
  readonly error?: string;
};

/** Refusals that say that nothing was changed, and why. */
export const REFUSALS: ReadonlySet<string> = new Set([
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "FAILED_PRECONDITION",
  "INVALID_ARGUMENT",
]);

export const READS: ReadonlySet<OperationKind> = new Set(["stat", "exists", "list", "read"]);

/** Nanoseconds of the machine's monotonic clock. */
export function nowNs(): number {
  return Number(process.hrtime.bigint());
}

const FLUSH_BYTES = 64 * 1024;

export class HistoryWriter {
  readonly #descriptor: number;
  #text = "";

  constructor(path: string) {
    this.#descriptor = openSync(path, "a");
  }

  add(operation: Operation): void {
    this.#text += `${JSON.stringify(operation)}\n`;
    if (this.#text.length > FLUSH_BYTES) this.flush();
  }

  flush(): void {
    const bytes = Buffer.from(this.#text);
    this.#text = "";
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#descriptor, bytes, at);
  }

  close(): void {
    this.flush();
    closeSync(this.#descriptor);
  }
}

export function readHistory(paths: readonly string[]): Operation[] {
  const operations = paths.flatMap(
    (path) =>
      readFileSync(path, "utf8")
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line) as Operation), // HistoryWriter wrote it
  );
  return operations.sort((a, b) => a.start - b.start);
}
