/**
 * Makes backups of a namespace, on the master that leads.
 *
 * Of one moment: the rows come from a snapshot, so changes go on meanwhile. Some milliseconds of rows are read at a time.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { JournalSystem, StatePosition } from "../journal/journal_system.ts";
import type { Timers, World } from "../world/ports.ts";
import type { ApplyResult } from "./apply.ts";
import { restoreRefusal } from "./apply_restore.ts";
import { type BackupSink, type BackupTrailer, BackupWriter } from "./backup_file.ts";
import { STORE_SCHEMA_VERSION } from "./inode.ts";
import { namespaceSlice, Turns } from "./state_digest.ts";
import type { MasterState } from "./state_machine.ts";

/** As long as a backup goes on, the store keeps the room of all that is removed and changed: who stops taking it is given up. */
const WRITE_TIMEOUT_MS = 120_000;
/** More than a block takes. */
const BLOCK_ROWS_MAX = 4096;

export type BackuperParts = {
  readonly state: MasterState;
  readonly journal: Pick<JournalSystem<ApplyResult>, "readBarrier">;
  readonly world: Pick<World, "clock" | "timers">;
  /** Of this master, for the header. */
  readonly host: string;
};

export type BackupResult = BackupTrailer & { readonly position: StatePosition };

function impatient(sink: BackupSink, timers: Timers): BackupSink {
  return {
    write: (bytes) =>
      new Promise((resolve, reject) => {
        const timer = timers.after(WRITE_TIMEOUT_MS, () =>
          reject(
            new RockpoolError(
              "DEADLINE_EXCEEDED",
              `The backup has not been taken any further for ${WRITE_TIMEOUT_MS / 1000} s`,
              "Check the store that it is written to",
            ),
          ),
        );
        sink
          .write(bytes)
          .then(resolve, reject)
          .finally(() => timer.cancel());
      }),
  };
}

export class Backuper {
  readonly #parts: BackuperParts;

  constructor(parts: BackuperParts) {
    this.#parts = parts;
  }

  /**
   * Writes a backup of everything that any client was told of before the call.
   * @param onProgress told how many files and directories are written
   * @throws RockpoolError UNAVAILABLE unless this master leads, and while the cluster is being restored; what the sink throws:
   *   what was written so far is then worth nothing
   */
  async backup(
    sink: BackupSink,
    onProgress: (entryCount: number) => void = () => {},
  ): Promise<BackupResult> {
    const { state, journal, world, host } = this.#parts;
    await journal.readBarrier();
    const { view, stateMachine } = state;
    const restoring = view.restoring();
    if (restoring !== null) throw restoreRefusal(restoring);
    if (!view.isInitialized())
      throw new RockpoolError("UNAVAILABLE", "This cluster is not initialized yet", "Try again");
    const position = stateMachine.position();
    const { clusterId } = view.state();
    const { nextContainerId } = view.ids();
    const snapshot = state.store.snapshot();
    const turns = new Turns(world);
    try {
      const writer = new BackupWriter(impatient(sink, world.timers));
      const { index, term } = position;
      const madeAtMs = world.clock.wallMs();
      const schemaVersion = STORE_SCHEMA_VERSION;
      await writer.begin({
        ...{ madeAtMs, host, clusterId, index, term, schemaVersion, nextContainerId },
      });
      let after: Uint8Array | null = null;
      do {
        turns.begin();
        after = await writer.writeBlock(namespaceSlice(snapshot, after, BLOCK_ROWS_MAX), () =>
          turns.isOver(),
        );
        onProgress(writer.entryCount);
        await turns.pause();
      } while (after !== null);
      return { ...(await writer.end()), position };
    } finally {
      snapshot.close();
    }
  }
}
