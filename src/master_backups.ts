/**
 * Backups of a master's metadata as files: where they go, what they are called, and which of them are kept.
 *
 * A backup lies in the under store of the root, or on the master's own disk when that is asked for, as
 * `alluxio-backup-<year>-<month>-<day>-<ms since 1970>.rockpool` (the format is in `master/backup_file.ts`). Its name appears
 * when all of it is there and durable.
 * @module
 */
import { isAbsolute, posix } from "node:path";
import { messageOf, RockpoolError } from "./common/errors.ts";
import { rootUnderStore } from "./conf/cluster.ts";
import type { Configuration } from "./conf/configuration.ts";
import { MasterKeys } from "./conf/master_keys.ts";
import { type DaemonContext, machineName } from "./daemon.ts";
import { BackupJobs, type BackupRequest, type BackupWritten } from "./master/backup_jobs.ts";
import type { Backuper } from "./master/backuper.ts";
import { pathWithinStore } from "./ufs/ufs_uri.ts";
import type { UfsReader, UnderFileSystem } from "./ufs/under_file_system.ts";
import type { UnderStores } from "./under_stores.ts";
import type { Timer } from "./world/ports.ts";

const NAME = /^alluxio-backup-\d+-\d+-\d+-(\d+)\.rockpool$/;
/** It holds the names of all files, and who may read them. */
const MODE = 0o600;
const DAY_MS = 24 * 3_600_000;

function nameOf(nowMs: number): string {
  const now = new Date(nowMs);
  const date = [now.getUTCFullYear(), now.getUTCMonth() + 1, now.getUTCDate()].join("-");
  return `alluxio-backup-${date}-${nowMs}.rockpool`;
}

/** Of a daemon's context, what this needs. */
type BackupContext = Pick<DaemonContext, "configuration" | "live" | "world"> & {
  readonly telemetry: Pick<DaemonContext["telemetry"], "logger">;
};

type Place = {
  readonly store: UnderFileSystem;
  readonly folder: string;
  /** What stands before a path in the store to make it a location for everybody. */
  readonly prefix: string;
};

/** The host by which this master is known. */
export function masterHost(configuration: Configuration): string {
  return configuration.get(MasterKeys.hostname) ?? machineName(configuration);
}

/**
 * Opens a backup by its path on this machine, or its URI.
 * @throws RockpoolError NOT_FOUND when there is none
 */
export function openBackup(stores: UnderStores, file: string): Promise<UfsReader> {
  const path = pathWithinStore(file);
  return stores.at(posix.dirname(file.startsWith("/") ? path : file)).open(path);
}

export class MasterBackups {
  readonly jobs: BackupJobs;
  readonly #context: BackupContext;
  readonly #stores: UnderStores;
  readonly #backuper: Pick<Backuper, "backup">;
  readonly #isServing: () => boolean;
  #daily: Timer | null = null;

  constructor(options: {
    readonly context: BackupContext;
    readonly stores: UnderStores;
    readonly backuper: Pick<Backuper, "backup">;
    readonly isServing: () => boolean;
  }) {
    this.#context = options.context;
    this.#stores = options.stores;
    this.#backuper = options.backuper;
    this.#isServing = options.isServing;
    this.jobs = new BackupJobs({
      host: masterHost(options.context.configuration),
      write: (request, onProgress) => this.#write(request, onProgress),
    });
  }

  /** Begins to make a backup every day, if that is configured. */
  startDaily(): void {
    if (this.#context.configuration.get(MasterKeys.dailyBackupEnabled)) this.#scheduleDaily(0);
  }

  #scheduleDaily(waitMsMin: number): void {
    const { configuration, world } = this.#context;
    const dueMs = configuration.get(MasterKeys.dailyBackupTime) * 60_000;
    const sinceMidnightMs = world.clock.wallMs() % DAY_MS;
    const nextMs = (dueMs - sinceMidnightMs + DAY_MS) % DAY_MS || DAY_MS;
    const waitMs = nextMs < waitMsMin ? nextMs + DAY_MS : nextMs;
    this.#daily = world.timers.after(waitMs, () => {
      // The timer counts by another clock, and may be early by the one on the wall: that is no second time of the day.
      this.#scheduleDaily(DAY_MS / 2);
      void this.#makeDaily(); // catches its own failures
    });
  }

  close(): void {
    this.#daily?.cancel();
  }

  async #makeDaily(): Promise<void> {
    if (!this.#isServing()) return;
    const { logger } = this.#context.telemetry;
    try {
      const { id } = this.jobs.begin({ directory: null, isLocal: false });
      const status = await this.jobs.over(id);
      if (status.state === "failed") throw status.error;
      await this.#removeOld();
    } catch (error) {
      logger.log("error", "backup", "dailyBackupFailed", { error: messageOf(error) });
    }
  }

  /** Keeps the newest of the configured folder. */
  async #removeOld(): Promise<void> {
    const { live, telemetry } = this.#context;
    const { store, folder } = this.#placeOf({ directory: null, isLocal: false });
    const backups = ((await store.list(folder)) ?? [])
      .flatMap(({ name }) => {
        const madeMs = NAME.exec(name)?.[1];
        return madeMs === undefined ? [] : [{ name, madeMs: Number(madeMs) }];
      })
      .sort((a, b) => b.madeMs - a.madeMs);
    for (const { name } of backups.slice(live.get(MasterKeys.dailyBackupsRetained))) {
      const path = posix.join(folder, name);
      await store.remove(path, false);
      telemetry.logger.log("info", "backup", "oldBackupRemoved", { path });
    }
  }

  #placeOf({ directory, isLocal }: BackupRequest): Place {
    const { configuration, live } = this.#context;
    const wanted = directory ?? live.get(MasterKeys.backupDirectory);
    const isPath = isAbsolute(wanted) && !wanted.split("/").includes("..");
    if (!isPath)
      throw new RockpoolError(
        "INVALID_ARGUMENT",
        `"${wanted}" is no directory for backups`,
        isLocal
          ? "Give an absolute path on the disk of the leading master"
          : "Give an absolute path: it is taken within the under store of the root",
      );
    if (isLocal) return { store: this.#stores.at("/"), prefix: "", folder: wanted };
    const rootUri = rootUnderStore(configuration);
    return {
      // A path on this machine's disks is a backup's own name.
      prefix: /^(?!file:)[a-z][a-z0-9+.-]*:\/\/[^/]*/i.exec(rootUri)?.[0] ?? "",
      store: this.#stores.at(rootUri),
      folder: posix.join(pathWithinStore(rootUri), wanted),
    };
  }

  async #write(
    request: BackupRequest,
    onProgress: (entryCount: number) => void,
  ): Promise<BackupWritten> {
    const { world, telemetry } = this.#context;
    const startedMs = world.clock.monotonicMs();
    const { store, prefix, folder } = this.#placeOf(request);
    const path = posix.join(folder, nameOf(world.clock.wallMs()));
    const writer = await store.create(path, { owner: "", group: "", mode: MODE });
    try {
      const { entryCount, rowCount, digest } = await this.#backuper.backup(writer, onProgress);
      const { lengthBytes } = await writer.commit();
      telemetry.logger.log("info", "backup", "backupMade", {
        path,
        entryCount,
        rowCount,
        sizeBytes: lengthBytes,
        digest: Buffer.from(digest).toString("hex"),
        tookMs: Math.round(world.clock.monotonicMs() - startedMs),
      });
      return { uri: `${prefix}${path}`, entryCount };
    } catch (error) {
      telemetry.logger.log("error", "backup", "backupFailed", { path, error: messageOf(error) });
      try {
        await writer.abort();
      } catch (cause) {
        // What failed first is what counts.
        telemetry.logger.log("warn", "backup", "backupNotRemoved", {
          path,
          error: messageOf(cause),
        });
      }
      throw error;
    }
  }
}
