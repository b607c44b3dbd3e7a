/**
 * Commands that bring the rows of a backup into a cluster that has none yet.
 *
 * Pure. From the first of them to the last the rows are no namespace, and every other command is refused. A leader that ends
 * on the way leaves word of how far it came ({@link RestoreRow}): the same backup goes on from there, with any leader.
 * The rows come as they were, so that the namespace is equal to that of the backup; only the ids that are handed out from then on
 * are far away from those that the other cluster may have handed out after the backup, for workers may hold such blocks.
 * @module
 */
import { DecodeError } from "../common/bytes.ts";
import { RockpoolError } from "../common/errors.ts";
import { ROOT_INODE_ID } from "../common/ids.ts";
import { type ChangeContext, type CheckContext, invalid, type Outcome } from "./apply_context.ts";
import type { Command, CommandOf } from "./command.ts";
import { inodeRow, mountRow, type RestoreRow, stateRow, TABLE } from "./inode.ts";
import type { NamespaceEditor, NamespaceView } from "./inode_tree.ts";
import { checkRow } from "./row_check.ts";

const SAME_BACKUP =
  "Restore the same backup again: it goes on where it stopped. For another one, format the journals of all masters first";

/** Of the namespace, all but the inodes and the counters, which the editor knows. */
const CLEARED_TABLES: readonly number[] = Object.values<number>(TABLE).filter(
  (table) => table < TABLE.position && table !== TABLE.inode && table !== TABLE.state,
);

export function isRestore(command: Command): boolean {
  return (
    command.kind === "restoreRows" ||
    command.kind === "restoreBegin" ||
    command.kind === "restoreEnd"
  );
}

function digestText({ digest }: Pick<RestoreRow, "digest">): string {
  return Array.from(digest.subarray(0, 8), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** How far a restore is, for people. */
export function restoreText(restoring: RestoreRow): string {
  const { rowsDone, rowCount } = restoring;
  return `${rowsDone} of ${rowCount} rows of backup ${digestText(restoring)}`;
}

/** What every other command is told. */
export function restoreRefusal(restoring: RestoreRow): RockpoolError {
  return new RockpoolError(
    "UNAVAILABLE",
    `This cluster is being restored: it has ${restoreText(restoring)}`,
    `Wait until it is done. If it was interrupted: ${SAME_BACKUP}`,
  );
}

/** Nothing was ever made in it. (Told by rows that are never behind within a batch, as the counters are.) */
export function isFresh(view: NamespaceView): boolean {
  const root = view.inode(ROOT_INODE_ID);
  if (root === null) return true;
  const hadChildren = root.kind === "directory" && (root.childCount > 0 || root.childVersion > 0);
  return !hadChildren && view.intents(0, 1).length === 0;
}

function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}

export function checkRestoreBegin(
  { view }: CheckContext,
  command: CommandOf<"restoreBegin">,
): void {
  const restoring = view.restoring();
  if (restoring !== null) {
    if (sameBytes(restoring.digest, command.digest)) return;
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `Another restore was interrupted: the cluster has ${restoreText(restoring)}`,
      SAME_BACKUP,
    );
  }
  if (!isFresh(view))
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      "A backup can only be restored into a cluster without any files, and this one has had some",
      "Format the journals of all masters first, if its namespace may go",
    );
}

export function restoreBegin(
  { editor }: ChangeContext,
  { digest, rowCount, entryCount }: CommandOf<"restoreBegin">,
): Outcome {
  const restoring = editor.restoring();
  if (restoring !== null) return progress(restoring);
  const root = editor.view.inode(ROOT_INODE_ID);
  if (root !== null) editor.removeInode(root);
  // What a cluster may have that never had a file: each row that is left would be one more than the backup has.
  for (const table of CLEARED_TABLES) editor.clearTable(table);
  editor.resetState();
  const begun = { digest, rowCount, entryCount, rowsDone: 0 };
  editor.setRestoring(begun);
  return progress(begun);
}

function progress({ rowsDone }: RestoreRow): Outcome {
  return { value: { kind: "restoring", rowsDone }, intentIds: [] };
}

function checkRestoring({ view }: CheckContext): RestoreRow {
  const restoring = view.restoring();
  if (restoring !== null) return restoring;
  throw new RockpoolError("FAILED_PRECONDITION", "No restore is under way", "Begin it anew");
}

export function checkRestoreRows(
  context: CheckContext,
  { firstRow, rows }: CommandOf<"restoreRows">,
): RestoreRow {
  const restoring = checkRestoring(context);
  if (firstRow !== restoring.rowsDone)
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `Rows from ${firstRow} on do not follow: the cluster has ${restoreText(restoring)}`,
      SAME_BACKUP,
    );
  if (firstRow + rows.length > restoring.rowCount)
    throw invalid(`The backup has more than its ${restoring.rowCount} rows`, "Check the file");
  for (const { key, value } of rows) {
    try {
      checkRow(key, value);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      throw invalid(`The backup holds what is no row: ${error.message}`, "Check the file");
    }
  }
  return restoring;
}

export function restoreRows(
  { editor }: ChangeContext,
  restoring: RestoreRow,
  { rows }: CommandOf<"restoreRows">,
): Outcome {
  for (const { key, value } of rows) putRow(editor, key, value);
  const reached = { ...restoring, rowsDone: restoring.rowsDone + rows.length };
  editor.setRestoring(reached);
  return progress(reached);
}

/** What the editor keeps decoded goes through it; the bytes come out the same. */
function putRow(editor: NamespaceEditor, key: Uint8Array, value: Uint8Array): void {
  if (key[0] === TABLE.inode) editor.put(inodeRow.decode(value));
  else if (key[0] === TABLE.state) editor.setState(stateRow.decode(value));
  else if (key[0] === TABLE.mount) editor.putMount(mountRow.decode(value));
  else editor.transaction.put(key, value);
}

export function checkRestoreEnd(context: CheckContext): void {
  const restoring = checkRestoring(context);
  if (restoring.rowsDone === restoring.rowCount) return;
  throw new RockpoolError(
    "FAILED_PRECONDITION",
    `The restore is not complete: the cluster has ${restoreText(restoring)}`,
    SAME_BACKUP,
  );
}

export function restoreEnd(
  { editor }: ChangeContext,
  { nextContainerId }: CommandOf<"restoreEnd">,
): Outcome {
  editor.setRestoring(null);
  editor.freezeIds(nextContainerId);
  return { value: { kind: "none" }, intentIds: [] };
}
