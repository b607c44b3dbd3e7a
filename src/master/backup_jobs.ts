/**
 * Backups under way: one at a time, each with an id by which it is asked after.
 *
 * What a backup is and where it goes is the business of `write`; the last {@link STATUSES_KEPT} outcomes are remembered.
 * A master that restarted, or another leader, knows nothing of a backup: it answers null, and the file, which becomes
 * visible only when it is whole, is there or is not.
 * @module
 */
import { randomUUID } from "node:crypto";
import { messageOf, RockpoolError } from "../common/errors.ts";
import { InvariantError } from "../common/invariant.ts";

export type BackupRequest = {
  /** Null: the configured one. */
  readonly directory: string | null;
  /** On this master's own disk, and not in the under store of the root. */
  readonly isLocal: boolean;
};

export type BackupWritten = { readonly uri: string; readonly entryCount: number };

export type BackupStatus = {
  readonly id: string;
  readonly host: string;
  /** Counts up while it runs. */
  readonly entryCount: number;
} & (
  | { readonly state: "running" }
  | { readonly state: "completed"; readonly uri: string }
  | { readonly state: "failed"; readonly error: RockpoolError }
);

export type BackupJobsOptions = {
  readonly host: string;
  /** @param onProgress to be told how many entries are written */
  readonly write: (
    request: BackupRequest,
    onProgress: (entryCount: number) => void,
  ) => Promise<BackupWritten>;
};

const STATUSES_KEPT = 16;

export class BackupJobs {
  readonly #options: BackupJobsOptions;
  readonly #statuses = new Map<string, BackupStatus>();
  #running: { readonly id: string; readonly done: Promise<BackupStatus> } | null = null;

  constructor(options: BackupJobsOptions) {
    this.#options = options;
  }

  /** @throws RockpoolError FAILED_PRECONDITION while another one runs */
  begin(request: BackupRequest): BackupStatus {
    if (this.#running !== null)
      throw new RockpoolError("FAILED_PRECONDITION", "Backup in progress", "Wait until it is done");
    const id = randomUUID();
    this.#set({ id, host: this.#options.host, entryCount: 0, state: "running" });
    this.#running = { id, done: this.#run(id, request) };
    return this.#get(id);
  }

  /** Null when it is not known here. */
  status(id: string): BackupStatus | null {
    return this.#statuses.get(id) ?? null;
  }

  /** Resolves when it is over, however it ended. */
  async over(id: string): Promise<BackupStatus> {
    return this.#running?.id === id ? this.#running.done : this.#get(id);
  }

  async #run(id: string, request: BackupRequest): Promise<BackupStatus> {
    const { host, write } = this.#options;
    try {
      const { uri, entryCount } = await write(request, (count) =>
        this.#set({ id, host, entryCount: count, state: "running" }),
      );
      this.#set({ id, host, entryCount, state: "completed", uri });
    } catch (thrown) {
      const error =
        thrown instanceof RockpoolError
          ? thrown
          : new RockpoolError("INTERNAL", `The backup failed: ${messageOf(thrown)}`, "", {
              cause: thrown,
            });
      this.#set({ id, host, entryCount: this.#get(id).entryCount, state: "failed", error });
      if (thrown instanceof InvariantError) throw thrown; // nobody goes on after a bug
    } finally {
      this.#running = null;
    }
    return this.#get(id);
  }

  #set(status: BackupStatus): void {
    this.#statuses.set(status.id, status);
    const [oldest] = this.#statuses.keys();
    if (this.#statuses.size > STATUSES_KEPT && oldest !== undefined) this.#statuses.delete(oldest);
  }

  #get(id: string): BackupStatus {
    const status = this.#statuses.get(id);
    if (status === undefined) throw new RockpoolError("NOT_FOUND", `Backup ${id} is not known`);
    return status;
  }
}
