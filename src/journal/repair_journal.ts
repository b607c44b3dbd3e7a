/**
 * Gives up, for good, what cannot be read of a journal: the last resort of an operator who has neither peers nor a backup.
 *
 * The damaged files stay in the folder under another name. What the log could be read of is all that is left; a promise to
 * fetch the rest from peers is dropped. Term and vote stay, so that no vote is given twice. Where both copies of the log's
 * mark are lost, who the members are is taken from the newest checkpoint, and without one from the state at the next start: those
 * of the founders may be long past.
 * @module
 */
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import type { LogIndex } from "../common/ids.ts";
import { encodeMembership, NOBODY } from "../raft/membership.ts";
import type { Clock, Timers } from "../world/ports.ts";
import { indexOfName, readManifest } from "./checkpoint_file.ts";
import { type JournalFile, type JournalFileSystem, writeFully } from "./file_system.ts";
import { ownerOfFolder } from "./inspect_journal.ts";
import type { Crc32c } from "./record.ts";
import { SEGMENT_BYTES } from "./segment_file.ts";
import { openWal } from "./wal.ts";
import type { WalFailure } from "./wal_failure.ts";
import type { WalEvent } from "./wal_options.ts";
import { type RecoveredWal, type RecoveryOptions, recoverWal } from "./wal_recovery.ts";
import { pathOfSegment } from "./wal_scan.ts";

const COPY_BYTES = 1024 * 1024;

export type RepairOptions = {
  readonly folder: string;
  readonly crc32c: Crc32c;
  readonly fileSystem: JournalFileSystem;
  readonly timers: Timers;
  readonly clock: Clock;
  /** The operator's word for it: the last entry that can be read, behind which all is given up. */
  readonly acceptLossAfter: LogIndex;
  /** 64 MiB in product. */
  readonly segmentBytes?: number;
};

export type RepairResult = {
  /** The log ends here now. */
  readonly lastIndex: LogIndex;
  /** Files under which the damaged bytes are kept. */
  readonly keptFiles: readonly string[];
};

/**
 * @throws RockpoolError FAILED_PRECONDITION when nothing is wrong, or the log can be read to another entry than the operator
 *   said; UNAVAILABLE when a running master has the folder open
 */
export async function repairJournal(options: RepairOptions): Promise<RepairResult> {
  const { fileSystem, folder } = options;
  const unlock = fileSystem.lockSync(`${folder}/lock`, {
    subject: `The journal folder ${folder}`,
    remedy: "Stop that process first",
    onTakenOver: () => {},
  });
  try {
    return await repairLocked(options);
  } finally {
    unlock();
  }
}

async function repairLocked(options: RepairOptions): Promise<RepairResult> {
  const { fileSystem, folder, acceptLossAfter } = options;
  const recovery = await recoveryOf(options);
  checkIsWrong(recovery);
  const accepting = { ...recovery, isLossAccepted: true };
  const recovered = recoverWal(accepting);
  const { lastIndex } = recovered.index;
  if (lastIndex !== acceptLossAfter)
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `The journal in ${folder} can be read through entry ${lastIndex}, not ${acceptLossAfter}`,
      `If all that comes after it may be lost, say so with \`--accept-loss-after ${lastIndex}\``,
    );
  const keptFiles = await keepDamaged(fileSystem, folder, recovered);
  let fail = (_failure: WalFailure) => {};
  const failed = new Promise<WalFailure>((resolve) => {
    fail = resolve;
  });
  const wal = await openWal({
    ...accepting,
    timers: options.timers,
    clock: options.clock,
    onEvent: (event: WalEvent) => {
      if (event.kind === "damagedSetAside") keptFiles.push(event.movedTo);
    },
    onFailure: (failure) => fail(failure),
  });
  // From here on the next segment says where the log ended, so that the damage is not found again.
  const failure = await Promise.race([wal.writeState().then(() => null), failed]);
  await wal.close();
  if (failure !== null) throw failure.error;
  return { lastIndex, keptFiles };
}

/** That of the newest checkpoint; null for none. */
async function knownMembership(options: RepairOptions): Promise<Uint8Array | null> {
  const { fileSystem, folder, crc32c } = options;
  let newest: { readonly index: LogIndex; readonly membership: Uint8Array } | null = null;
  for (const name of fileSystem.listSync(folder)) {
    const index = indexOfName(name);
    if (index === null || index <= (newest?.index ?? 0)) continue;
    const path = `${folder}/${name}`;
    const file = fileSystem.openSync(path, "read");
    try {
      const { snapshot } = await readManifest(file, path, crc32c);
      newest = { index, membership: encodeMembership(snapshot.membership) };
    } catch (error) {
      if (!isRockpoolError(error, "DATA_LOSS")) throw error; // a damaged one tells nothing
    } finally {
      file.close();
    }
  }
  return newest?.membership ?? null;
}

async function recoveryOf(options: RepairOptions): Promise<RecoveryOptions> {
  const { fileSystem, folder, crc32c } = options;
  const owner = ownerOfFolder(fileSystem, folder, crc32c);
  if (owner === null)
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `There is no log in ${folder} that could be repaired`,
      "Name the folder of a journal that was in use, as alluxio.master.journal.folder does",
    );
  return {
    fileSystem,
    folder,
    owner,
    crc32c,
    membership: NOBODY,
    // It covers nothing: what is in the state counts when the master starts.
    covered: { index: 0, term: 0, membership: await knownMembership(options) },
    canRepair: false,
    segmentBytes: options.segmentBytes ?? SEGMENT_BYTES,
    cacheBytesMax: 0,
  };
}

/** A sound log is left alone: to cut it would lose entries for nothing. */
function checkIsWrong(recovery: RecoveryOptions): void {
  try {
    const { damage, mark } = recoverWal(recovery);
    if (damage !== null || mark.promised !== null) return;
  } catch (error) {
    if (isRockpoolError(error, "DATA_LOSS")) return;
    throw error;
  }
  throw new RockpoolError(
    "FAILED_PRECONDITION",
    `Nothing is wrong with the journal in ${recovery.folder}: there is nothing to repair`,
    "Start the master",
  );
}

/** A segment whose first part stays in use is copied; others are moved aside by the recovery. */
async function keepDamaged(
  fileSystem: JournalFileSystem,
  folder: string,
  { damage, aside, segments }: RecoveredWal,
): Promise<string[]> {
  if (damage === null || aside.includes(damage.sequence)) return [];
  if (!segments.some(({ sequence }) => sequence === damage.sequence)) return [];
  const path = pathOfSegment(folder, damage.sequence);
  let count = 1;
  while (fileSystem.existsSync(`${path}.damaged-${count}`)) count += 1;
  const copy = `${path}.damaged-${count}`;
  const from = fileSystem.openSync(path, "read");
  const to = await fileSystem.create(copy);
  try {
    await copyAll(from, to);
    await to.datasync();
  } finally {
    from.close();
    to.close();
  }
  await fileSystem.syncFolder(folder);
  return [copy];
}

async function copyAll(from: JournalFile, to: JournalFile): Promise<void> {
  const buffer = new Uint8Array(COPY_BYTES);
  for (let at = 0; ; ) {
    const count = await from.read(buffer, at);
    if (count === 0) return;
    await writeFully(to, buffer.subarray(0, count), at);
    at += count;
  }
}
