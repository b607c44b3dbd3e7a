/**
 * Fills a freshly formatted cluster from a backup when it first starts (`alluxio.master.journal.init.from.backup`).
 *
 * Where the journal is fresh the file is read as a whole before the daemon opens anything: a bad one refuses the start. The
 * leader then brings the rows in by the journal; nobody is served meanwhile. When it ends on the way, the next leader that was given the
 * same backup goes on, at once or after a restart. A cluster that has had files is never touched.
 * @module
 */
import { isRockpoolError, messageOf, RockpoolError } from "./common/errors.ts";
import { InvariantError } from "./common/invariant.ts";
import { MasterKeys } from "./conf/master_keys.ts";
import type { DaemonContext } from "./daemon.ts";
import type { JournalSystem } from "./journal/journal_system.ts";
import { isFresh } from "./master/apply_restore.ts";
import { digestText } from "./master/backup_file.ts";
import { type Restorer, verifyRestorable } from "./master/restorer.ts";
import { Turns } from "./master/state_digest.ts";
import type { MasterState } from "./master/state_machine.ts";
import { openBackup } from "./master_backups.ts";
import type { UnderStores } from "./under_stores.ts";

const TELL_EVERY_MS = 2000;
/** While this master goes on leading, what interrupted a restore may be over then. */
const RETRY_MS = 5000;
const INTERRUPTED_REMEDY =
  "Start the masters with the same backup again (`process start master --journal-backup-file FILE`): it goes on where it stopped. To begin with another one, format all masters first";

/** Reads the backup that a fresh master is to begin with. @throws RockpoolError that names the file */
export async function requireSoundBackup(
  { configuration, telemetry, world }: DaemonContext,
  stores: UnderStores,
): Promise<void> {
  const file = configuration.get(MasterKeys.initFromBackup);
  if (file === null) return;
  try {
    const source = await openBackup(stores, file);
    try {
      const { pause } = new Turns(world);
      const { header, entryCount, digest } = await verifyRestorable(source, pause);
      telemetry.logger.log("info", "restore", "the backup is sound", {
        file,
        entryCount,
        digest: digestText(digest),
        madeBy: header.host,
        madeAt: new Date(header.madeAtMs).toISOString(),
      });
    } finally {
      await source.close();
    }
  } catch (error) {
    if (!(error instanceof RockpoolError)) throw error;
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `Cannot restore ${file} (${MasterKeys.initFromBackup.key}): ${error.message}`,
      error.remedy,
      { cause: error },
    );
  }
}

export type MasterRestoreOptions = {
  readonly context: DaemonContext;
  readonly stores: UnderStores;
  readonly state: MasterState;
  readonly journal: JournalSystem<unknown>;
  readonly restorer: Restorer;
};

export class MasterRestore {
  readonly #options: MasterRestoreOptions;
  readonly #file: string | null;
  /** It was restored, or is not to be. */
  #isSettled: boolean;
  #isRestoring = false;

  constructor(options: MasterRestoreOptions) {
    this.#options = options;
    this.#file = options.context.configuration.get(MasterKeys.initFromBackup);
    this.#isSettled = this.#file === null;
    options.journal.onLeadership(({ kind }) => {
      if (kind === "gained") void this.#lead(); // catches its own failures; a bug ends the process
    });
  }

  /** While it is true nobody may be served: a file that is made now would forbid the restore. */
  isPending(): boolean {
    return !this.#isSettled && (this.#isFresh() || this.#options.restorer.progress() !== null);
  }

  /** For people; null while nothing is restored. */
  progressText(): string | null {
    return this.#options.restorer.progressText();
  }

  #isFresh(): boolean {
    return isFresh(this.#options.state.view);
  }

  async #lead(): Promise<void> {
    const { restorer, context } = this.#options;
    const { logger } = context.telemetry;
    const file = this.#file;
    const progress = restorer.progressText();
    if (file === null) {
      if (progress !== null)
        logger.log("error", "restore", "a restore was interrupted", {
          progress,
          remedy: INTERRUPTED_REMEDY,
        });
      return;
    }
    // Who lost the lead and has it again may still be at it: the end of that one sees to the next.
    if (this.#isSettled || this.#isRestoring) return;
    if (progress === null && !this.#isFresh()) {
      this.#isSettled = true;
      logger.log("warn", "restore", "backup is not restored: this cluster has files already", {
        file,
        remedy: `Take ${MasterKeys.initFromBackup.key} out; or format all masters, and all that is in the cluster is lost`,
      });
      return;
    }
    this.#isRestoring = true;
    await this.#restore(file);
    this.#isRestoring = false;
  }

  /** Another leader goes on by itself, and so does this one when it gains the lead anew. */
  #retryLater(): void {
    const { journal, context } = this.#options;
    if (!journal.isServing()) return;
    context.world.timers.after(RETRY_MS, () => {
      if (journal.isServing()) void this.#lead(); // catches its own failures
    });
  }

  async #restore(file: string): Promise<void> {
    const { restorer, context, stores } = this.#options;
    const { clock } = context.world;
    const { logger } = context.telemetry;
    const startedMs = clock.monotonicMs();
    let toldMs = Number.NEGATIVE_INFINITY;
    try {
      const source = await openBackup(stores, file);
      try {
        const { entryCount, digest } = await restorer.restore(source, ({ rowsDone, rowCount }) => {
          const nowMs = clock.monotonicMs();
          if (nowMs - toldMs < TELL_EVERY_MS) return;
          toldMs = nowMs;
          const progress = `${rowsDone} of ${rowCount} rows`;
          logger.log("info", "restore", "restoring from backup", { file, progress });
        });
        this.#isSettled = true;
        logger.log("info", "restore", `Restored ${entryCount} entries from backup`, {
          file,
          digest: digestText(digest),
          tookMs: Math.round(clock.monotonicMs() - startedMs),
        });
      } finally {
        await source.close();
      }
    } catch (error) {
      if (error instanceof InvariantError) throw error;
      const remedy = isRockpoolError(error) ? error.remedy : "";
      if (isRockpoolError(error, "UNAVAILABLE")) {
        this.#retryLater();
        logger.log("warn", "restore", "a restore was interrupted", {
          progress: restorer.progressText() ?? "nothing yet",
          error: messageOf(error),
          remedy: INTERRUPTED_REMEDY,
        });
      } else
        logger.log("error", "restore", `backup is not restored: ${messageOf(error)}`, {
          file,
          remedy,
        });
    }
  }
}
