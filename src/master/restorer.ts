/**
 * Fills a cluster without files from a backup, on the master that leads.
 *
 * The file is read twice: once to check all of it, before anything is touched, and once to propose its rows. Every master gets
 * them by the journal. Afterwards this master's rows are compared with the backup's digest. A restore that was interrupted, by the end
 * of a process or of a reign, goes on where it stopped when the same backup is restored again, by any leader.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { JournalSystem } from "../journal/journal_system.ts";
import type { KeyValue } from "../kv/kv.ts";
import type { World } from "../world/ports.ts";
import type { ApplyResult } from "./apply.ts";
import { restoreText } from "./apply_restore.ts";
import {
  BackupReader,
  type BackupSource,
  type BackupSummary,
  digestText,
  isTrailer,
  verifyBackup,
} from "./backup_file.ts";
import { type RestoreRow, STORE_SCHEMA_VERSION } from "./inode.ts";
import { Proposer, SYSTEM } from "./proposer.ts";
import { stateDigest, Turns } from "./state_digest.ts";
import type { MasterState } from "./state_machine.ts";

/** Entries on their way: the journal syncs one while the next is read. */
const PROPOSALS_MAX = 32;
/** Applied within two or three milliseconds. */
const ENTRY_ROWS_BYTES = 8 * 1024;
/**
 * What a cluster can have made after its last backup: four thousand million files and directories, of the million million that
 * ids last for.
 */
const CONTAINER_ID_GAP = 2 ** 32;

/** Rows for one entry each: of blocks with a very long row there are several. */
function* piecesOf(rows: readonly KeyValue[]): Iterable<readonly KeyValue[]> {
  let piece: KeyValue[] = [];
  let sizeBytes = 0;
  for (const row of rows) {
    const rowBytes = row.key.length + row.value.length;
    if (piece.length > 0 && sizeBytes + rowBytes > ENTRY_ROWS_BYTES) {
      yield piece;
      [piece, sizeBytes] = [[], 0];
    }
    piece.push(row);
    sizeBytes += rowBytes;
  }
  if (piece.length > 0) yield piece;
}

export type RestoreProgress = { readonly rowsDone: number; readonly rowCount: number };

export type RestorerParts = {
  readonly state: MasterState;
  readonly journal: JournalSystem<ApplyResult>;
  readonly world: Pick<World, "clock" | "timers">;
  /** The namespace is there: what a leader does for it may begin. */
  readonly onRestored: () => void;
};

/**
 * Reads all of a backup, and nothing but its header when a build of other rows wrote it.
 * @param pause awaited between blocks
 * @throws RockpoolError FAILED_PRECONDITION when it is of another version; DATA_LOSS when it is damaged, INVALID_ARGUMENT when it
 *   is none
 */
export async function verifyRestorable(
  source: BackupSource,
  pause: () => Promise<void>,
): Promise<BackupSummary> {
  const { schemaVersion } = (await BackupReader.open(source)).header;
  if (schemaVersion === STORE_SCHEMA_VERSION) return await verifyBackup(source, pause);
  throw new RockpoolError(
    "FAILED_PRECONDITION",
    `The rows of the backup are of version ${schemaVersion}, and this program uses version ${STORE_SCHEMA_VERSION}`,
    "Restore it with the build that wrote it",
  );
}

export class Restorer {
  readonly #state: MasterState;
  readonly #proposer: Proposer;
  readonly #journal: JournalSystem<ApplyResult>;
  readonly #world: Pick<World, "clock" | "timers">;
  readonly #onRestored: () => void;
  #isRunning = false;

  constructor({ state, journal, world, onRestored }: RestorerParts) {
    this.#state = state;
    this.#journal = journal;
    this.#world = world;
    this.#onRestored = onRestored;
    this.#proposer = new Proposer(journal, state, world.clock);
  }

  /** How far a restore is that has begun and not ended, here or on an earlier leader; null for none. */
  progress(): RestoreRow | null {
    return this.#state.view.restoring();
  }

  /** The same for people. */
  progressText(): string | null {
    const restoring = this.progress();
    return restoring === null ? null : restoreText(restoring);
  }

  /**
   * Brings in a backup.
   * @throws RockpoolError DATA_LOSS when the backup is damaged, INVALID_ARGUMENT when it is none; FAILED_PRECONDITION when it is of
   *   another version, when this cluster has (had) files, or another restore was interrupted in it: nothing is touched then.
   *   UNAVAILABLE when leadership was lost on the way
   */
  async restore(
    source: BackupSource,
    onProgress: (progress: RestoreProgress) => void = () => {},
  ): Promise<BackupSummary> {
    if (this.#isRunning)
      throw new RockpoolError("FAILED_PRECONDITION", "A restore is under way", "Wait for its end");
    this.#isRunning = true;
    try {
      const summary = await verifyRestorable(source, new Turns(this.#world).pause);
      await this.#journal.readBarrier();
      await this.#bringIn(source, summary, onProgress);
      // Nobody can have changed the rows, since everything but a restore is refused.
      await this.#compare(summary);
      const nextContainerId = summary.header.nextContainerId + CONTAINER_ID_GAP;
      await this.#proposer.propose(SYSTEM, { kind: "restoreEnd", nextContainerId });
      this.#onRestored();
      return summary;
    } finally {
      this.#isRunning = false;
    }
  }

  async #bringIn(
    source: BackupSource,
    summary: BackupSummary,
    onProgress: (progress: RestoreProgress) => void,
  ): Promise<void> {
    const { digest, rowCount, entryCount } = summary;
    const begun = await this.#proposer.propose(SYSTEM, {
      kind: "restoreBegin",
      ...{ digest, rowCount, entryCount },
    });
    const reader = await BackupReader.open(source);
    let left = begun.value.kind === "restoring" ? begun.value.rowsDone : 0;
    let firstRow = left;
    const underWay: Promise<unknown>[] = [];
    const turns = new Turns(this.#world);
    for (;;) {
      const part = await reader.next();
      if (isTrailer(part)) break;
      const rows = part.slice(Math.min(left, part.length)); // the first ones are there already
      left -= part.length - rows.length;
      for (const piece of piecesOf(rows)) {
        if (underWay.length >= PROPOSALS_MAX) await underWay.shift();
        underWay.push(this.#proposeRows(firstRow, piece));
        firstRow += piece.length;
        await turns.pause();
      }
      onProgress({ rowsDone: firstRow, rowCount });
    }
    await Promise.all(underWay);
  }

  /** Its failure is looked at when its turn comes, and must not count as unhandled until then. */
  #proposeRows(firstRow: number, rows: readonly KeyValue[]): Promise<unknown> {
    const proposed = this.#proposer.propose(SYSTEM, { kind: "restoreRows", firstRow, rows });
    proposed.catch(() => {});
    return proposed;
  }

  async #compare({ digest, rowCount }: BackupSummary): Promise<void> {
    const found = await stateDigest(this.#state, this.#world);
    if (Buffer.compare(found.digest, digest) === 0) return;
    throw new RockpoolError(
      "DATA_LOSS",
      `The restored namespace has ${found.rowCount} rows with digest ${digestText(found.digest)}, and the backup ${rowCount} with ${digestText(digest)}`,
      "The cluster stays as it is, and serves nothing: format the journals of all masters and try again",
    );
  }
}
