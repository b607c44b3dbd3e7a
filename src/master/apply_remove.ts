/**
 * Commands that take things away: remove, and the freeing of removed trees.
 *
 * Pure. A removed directory leaves the tree in one entry, whatever is below it: its entry goes, its inode
 * waits in the reclaim table. Later `reclaim` entries free a bounded number of inodes each.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { InodeId } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import {
  type ChangeContext,
  type CheckContext,
  checkMayChangeEntries,
  invalid,
  type Outcome,
  ufsPathOf,
  walkToExisting,
} from "./apply_context.ts";
import type { CommandOf } from "./command.ts";
import { type Inode, NO_PARENT } from "./inode.ts";
import { lastOf, type NamespaceEditor } from "./inode_tree.ts";

export function checkRemove(context: CheckContext, command: CommandOf<"remove">): Inode {
  const { path, isRecursive, isAlluxioOnly } = command;
  const walk = walkToExisting(context, path);
  if (path === "/") throw invalid("Cannot delete the root directory", "Remove what is in it");
  if (!isAlluxioOnly) context.mounts.checkWritable(path);
  checkMayChangeEntries(context, walk);
  const target = lastOf(walk);
  if (target.kind === "directory" && target.childCount > 0 && !isRecursive)
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `Cannot delete non-empty directory "${path}" because recursive is set to false`,
      "Ask for a recursive delete",
    );
  return target;
}

export function remove(
  context: ChangeContext,
  target: Inode,
  { isAlluxioOnly, isRecursive }: CommandOf<"remove">,
): Outcome {
  // What came into the under store behind our back goes only with who asked for all of it.
  const inUfs = isAlluxioOnly ? "keep" : isRecursive ? "removeTree" : "removeEmpty";
  return { value: { kind: "none" }, intentIds: detach(context, target, inUfs) };
}

/**
 * Takes an inode, and all below it, out of the tree.
 * @returns the intents that a client must wait for
 */
export function detach(
  { editor, timeMs }: ChangeContext,
  target: Inode,
  inUfs: "keep" | "removeEmpty" | "removeTree",
): number[] {
  const intentIds: number[] = [];
  if (target.isInUfs && inUfs !== "keep") {
    const ufsPath = ufsPathOf(editor, target.id);
    const isRecursive = target.kind === "directory" && inUfs === "removeTree";
    intentIds.push(editor.addIntent({ kind: "remove", ufsPath, isRecursive }, timeMs));
  }
  const persisting = editor.view.persistRow(target.id);
  // What a worker has written so far; nobody waits for this.
  if (persisting?.state === "waiting")
    editor.addIntent(
      { kind: "remove", ufsPath: persisting.tempUfsPath, isRecursive: false },
      timeMs,
    );
  editor.unlink(target, timeMs);
  free(editor, target);
  return intentIds;
}

/** Removes an inode that has no entry any more; a directory with children waits for `reclaim`. */
function free(editor: NamespaceEditor, inode: Inode): void {
  if (inode.kind === "directory" && inode.childCount > 0) {
    editor.put({ ...inode, parentId: NO_PARENT });
    editor.addReclaimable(inode.id);
  } else {
    editor.removeInode(inode);
  }
}

/** Frees up to `inodesMax` inodes of removed trees. */
export function reclaim(
  { editor, timeMs }: ChangeContext,
  { inodesMax }: CommandOf<"reclaim">,
): Outcome {
  let left = inodesMax;
  while (left > 0) {
    const [id] = editor.view.reclaimable(1);
    if (id === undefined) break;
    left -= reclaimFrom(editor, id, left, timeMs);
  }
  const hasMore = editor.view.reclaimable(1).length > 0;
  return { value: { kind: "reclaimed", hasMore }, intentIds: [] };
}

/** @returns how many inodes were freed or handed on; at least 1 */
function reclaimFrom(
  editor: NamespaceEditor,
  directoryId: InodeId,
  limit: number,
  timeMs: number,
): number {
  const children = editor.view.children(directoryId, null, limit);
  invariant(children.length > 0, "a directory that waits to be freed has children");
  for (const { id } of children) {
    const child = editor.view.existing(id);
    editor.unlink(child, timeMs);
    free(editor, child);
  }
  const directory = editor.directory(directoryId);
  if (directory.childCount > 0) return children.length;
  editor.removeReclaimable(directoryId);
  editor.removeInode(directory);
  return children.length + 1;
}
