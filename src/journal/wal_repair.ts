/**
 * Does on the disk what a recovery decided.
 *
 * The mark comes first: it holds the promise, and says what counts from now on. A crash after it leaves files that the next
 * recovery finds again. The newest batch and its identity are written once more, because a process that died, or whose
 * fdatasync failed, may have left them in the page cache only; a torn tail becomes zeros.
 * @module
 */
import { join } from "node:path";
import type { LogIndex, Term } from "../common/ids.ts";
import { type JournalFileSystem, writeFully } from "./file_system.ts";
import { removeUnfinished, segmentName, writeIdentity } from "./segment_file.ts";
import { createMark, type MarkFile, openMark, readMark } from "./wal_mark.ts";
import type { RecoveredWal, RecoveryOptions } from "./wal_recovery.ts";
import { pathOfSegment } from "./wal_scan.ts";

export type RecoveryEvent =
  | {
      readonly kind: "tornTailDropped";
      readonly path: string;
      readonly offsetBytes: number;
      readonly lengthBytes: number;
      readonly lastIndex: LogIndex;
    }
  | {
      /** covered: the state holds what is damaged. promised: peers do, and send it. lost: an operator gave it up. */
      readonly kind: "damageFound";
      readonly verdict: "covered" | "promised" | "lost";
      readonly path: string;
      readonly offsetBytes: number;
      readonly firstIndex: LogIndex;
      readonly lastIndex: LogIndex;
      readonly lastTerm: Term;
      readonly reason: string;
    }
  | { readonly kind: "damagedSetAside"; readonly path: string; readonly movedTo: string }
  /** The state was ahead of the log, which begins behind it now. */
  | { readonly kind: "logBeginsAtState"; readonly index: LogIndex; readonly term: Term };

export async function applyRecovery(
  options: RecoveryOptions,
  recovered: RecoveredWal,
  onEvent: (event: RecoveryEvent) => void,
): Promise<MarkFile> {
  const { fileSystem, folder } = options;
  tell(recovered, onEvent);
  const marks = await secureMark(options, recovered);
  try {
    for (const sequence of recovered.aside.toSorted((a, b) => b - a)) {
      const movedTo = freeName(fileSystem, folder, sequence);
      await fileSystem.rename(pathOfSegment(folder, sequence), movedTo);
      onEvent({ kind: "damagedSetAside", path: pathOfSegment(folder, sequence), movedTo });
    }
    for (const sequence of recovered.obsolete.toSorted((a, b) => b - a))
      await fileSystem.remove(pathOfSegment(folder, sequence));
    removeUnfinished(fileSystem, folder);
    // A process that was killed may have prepared the spare segment, and not come to make its name durable.
    if (recovered.aside.length > 0 || recovered.spare !== null) await fileSystem.syncFolder(folder);
    await secureTail(options, recovered);
    return marks;
  } catch (error) {
    await marks.close();
    throw error;
  }
}

async function secureMark(options: RecoveryOptions, { mark, hardState }: RecoveredWal) {
  const { fileSystem, folder, crc32c } = options;
  const seen = readMark(fileSystem, folder, crc32c);
  // The commit index of a hard state is never ahead of the log that it lies beside.
  const next = { ...mark, hardState };
  if (seen.kind !== "found") return createMark(fileSystem, folder, next, crc32c);
  return openMark(
    fileSystem,
    folder,
    { ...seen, mark: { ...next, generation: seen.mark.generation } },
    crc32c,
  );
}

function freeName(fileSystem: JournalFileSystem, folder: string, sequence: number): string {
  const path = pathOfSegment(folder, sequence);
  for (let count = 1; ; count++) {
    const name = `${path}.damaged-${count}`;
    if (!fileSystem.existsSync(name)) return name;
  }
}

async function secureTail(
  { fileSystem, folder, crc32c }: RecoveryOptions,
  { torn, end, lastBatch, segments }: RecoveredWal,
): Promise<void> {
  const identity = segments.at(-1);
  if (identity === undefined || end === null) return;
  const file = fileSystem.openSync(join(folder, segmentName(identity.sequence)), "readWrite");
  try {
    if (torn !== null)
      await writeFully(file, new Uint8Array(torn.endBytes - torn.offsetBytes), torn.offsetBytes);
    await writeIdentity(file, identity, crc32c);
    if (lastBatch.length > 0) await writeFully(file, lastBatch, end.lastBatchOffset);
    await file.datasync();
  } finally {
    file.close();
  }
}

function tell(recovered: RecoveredWal, onEvent: (event: RecoveryEvent) => void): void {
  const { torn, damage, index, isBehindState, mark } = recovered;
  if (torn !== null)
    onEvent({
      kind: "tornTailDropped",
      path: torn.path,
      offsetBytes: torn.offsetBytes,
      lengthBytes: torn.endBytes - torn.offsetBytes,
      lastIndex: index.lastIndex,
    });
  if (damage !== null) {
    const { verdict, path, offsetBytes, firstIndex, last, why } = damage;
    onEvent({
      kind: "damageFound",
      verdict,
      path,
      offsetBytes,
      firstIndex,
      lastIndex: last.index,
      lastTerm: last.term,
      reason: why,
    });
  }
  if (isBehindState) onEvent({ kind: "logBeginsAtState", ...mark.begin });
}
