/**
 * The audit log of a master: one line for each request of a client to the namespace, in a file of its own.
 *
 *     succeeded=true allowed=true ugi=ada,staff (AUTH=SIMPLE) ip=10.0.0.7:53412 cmd=Rename src=/a dst=/b perm=ada:staff:rw-r--r-- executionTimeUs=812
 *
 * Promises: no call waits for it, and it takes bounded memory: lines beyond the capacity are dropped and counted.
 * A file that is truncated by others (logrotate's copytruncate) goes on from its new end.
 * @module
 */
import { appendFile } from "node:fs/promises";
import { messageOf } from "../common/errors.ts";

export type AuditEntry = {
  readonly succeeded: boolean;
  /** False when permissions were the reason. */
  readonly allowed: boolean;
  readonly user: string;
  readonly groups: readonly string[];
  /** As Alluxio names it: SIMPLE, NOSASL. */
  readonly authentication: string;
  /** host:port of the client. */
  readonly ip: string;
  readonly command: string;
  readonly source: string | null;
  readonly destination: string | null;
  /** "owner:group:rwxr-xr-x" of the path; null when it is not known. */
  readonly permission: string | null;
  readonly executionMs: number;
};

export type AuditLogEvent =
  | { readonly kind: "auditLogFailed"; readonly path: string; readonly message: string }
  /** Told once for each time that the queue was full. */
  | { readonly kind: "auditEntriesDropped"; readonly path: string; readonly droppedCount: number };

export type AuditLogOptions = {
  readonly path: string;
  /** Lines that wait to be written. */
  readonly capacity: number;
  readonly onEvent: (event: AuditLogEvent) => void;
  /** Tests put something slow or broken here. */
  readonly append?: (path: string, text: string) => Promise<void>;
};

/** Blanks separate fields, and a line is an entry: neither may come from a name. */
function field(text: string): string {
  return /^[^\s"=\p{Cc}]*$/u.test(text) ? text : JSON.stringify(text);
}

export function formatAudit(entry: AuditEntry): string {
  const { user, groups, authentication, ip, command, source, destination, permission } = entry;
  const who = [user, ...groups.slice(0, 1)].map(field).join(",");
  return [
    `succeeded=${entry.succeeded}`,
    `allowed=${entry.allowed}`,
    `ugi=${who} (AUTH=${authentication})`,
    `ip=${field(ip)}`,
    `cmd=${field(command)}`,
    `src=${source === null ? "null" : field(source)}`,
    `dst=${destination === null ? "null" : field(destination)}`,
    `perm=${permission === null ? "null" : field(permission)}`,
    `executionTimeUs=${Math.round(entry.executionMs * 1000)}`,
  ].join("\t");
}

const defaultAppend = (path: string, text: string) => appendFile(path, text, { mode: 0o640 });

export class AuditLog {
  readonly #options: AuditLogOptions;
  #queue: string[] = [];
  #droppedCount = 0;
  #untoldDrops = 0;
  #isFailing = false;
  #writing: Promise<void> | null = null;

  constructor(options: AuditLogOptions) {
    this.#options = options;
  }

  /** Lines that are not in the file yet. */
  get waitingCount(): number {
    return this.#queue.length;
  }

  /** Lines that were lost, because the queue was full or the file could not be written. */
  get droppedCount(): number {
    return this.#droppedCount;
  }

  /** Never throws, never waits. @param wallMs when the call ended */
  record(entry: AuditEntry, wallMs: number): void {
    if (this.#queue.length >= this.#options.capacity) {
      this.#droppedCount += 1;
      this.#untoldDrops += 1;
      return;
    }
    const time = new Date(wallMs).toISOString().replace("T", " ").replace("Z", "");
    this.#queue.push(`${time} INFO  AUDIT_LOG ${formatAudit(entry)}\n`);
    this.#writing ??= this.#write();
  }

  /** Resolves when everything recorded so far is written or lost. */
  async close(): Promise<void> {
    while (this.#writing !== null) await this.#writing;
  }

  async #write(): Promise<void> {
    const { path, onEvent, append = defaultAppend } = this.#options;
    // After this turn: what is recorded in one goes in one write.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const lines = this.#queue;
      this.#queue = [];
      try {
        await append(path, lines.join(""));
        this.#isFailing = false;
      } catch (error) {
        this.#droppedCount += lines.length;
        if (!this.#isFailing) onEvent({ kind: "auditLogFailed", path, message: messageOf(error) });
        this.#isFailing = true;
      }
      if (this.#untoldDrops > 0) {
        onEvent({ kind: "auditEntriesDropped", path, droppedCount: this.#untoldDrops });
        this.#untoldDrops = 0;
      }
    }
    this.#writing = null;
  }
}
