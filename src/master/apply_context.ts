/**
 * What every command is checked and carried out with, and the checks that they share.
 *
 * Pure. A command is checked on the leader before it is proposed, and again when it is applied, by the same
 * function: a check only reads and throws, a change only writes. So an entry that fails leaves nothing behind.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { InodeId } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import { nameOf, type Path } from "../common/path.ts";
import { TEMPORARY_PREFIX } from "../ufs/under_file_system.ts";
import type { Principal } from "./api.ts";
import type { ApplyValue, DirectoryInode, Inode } from "./inode.ts";
import { lastOf, type NamespaceEditor, type NamespaceView, type Walk } from "./inode_tree.ts";
import type { MountTable } from "./mount_table.ts";
import { checkAccessTo, checkTraversal, EXECUTE, WRITE } from "./permissions.ts";

export type CheckContext = {
  readonly view: NamespaceView;
  readonly mounts: MountTable;
  readonly principal: Principal;
};

export type ChangeContext = {
  readonly editor: NamespaceEditor;
  readonly principal: Principal;
  readonly timeMs: number;
};

/** What a change gives: its value, and the intents that must be done before the client is answered. */
export type Outcome = { readonly value: ApplyValue; readonly intentIds: readonly number[] };

export const NOTHING: Outcome = { value: { kind: "none" }, intentIds: [] };

export function notFound(path: string): RockpoolError {
  return new RockpoolError(
    "NOT_FOUND",
    `Path "${path}" does not exist.`,
    "Check the path with `rockpool fs ls`",
  );
}

export function invalid(message: string, remedy = ""): RockpoolError {
  return new RockpoolError("INVALID_ARGUMENT", message, remedy);
}

/** Walks to a path that must exist, minding traversal. */
export function walkToExisting({ view, principal }: CheckContext, path: Path): Walk {
  const walk = view.walk(path);
  checkTraversal(principal, walk);
  if (walk.missing.length > 0) throw notFound(path);
  return walk;
}

/** The directory in which the first missing name of a walk would be made. */
export function checkParentOfMissing(
  context: CheckContext,
  walk: Walk,
  what: "File" | "Directory",
  isRecursive: boolean,
): DirectoryInode {
  const parent = lastOf(walk);
  const depth = walk.names.length - walk.missing.length;
  const name = walk.missing[0] ?? "";
  if (parent.kind === "file")
    throw invalid(
      `Traversal failed for path ${walk.path}. Component ${depth}(${parent.name}) is a file, not a directory.`,
      "Choose a path whose parents are directories",
    );
  if (walk.missing.length > 1 && !isRecursive)
    throw new RockpoolError(
      "NOT_FOUND",
      `${what} ${walk.path} creation failed. Component ${depth + 1}(${name}) does not exist`,
      "Create the parent first, or ask for parents to be created",
    );
  checkAccessTo(context.principal, walk, parent, WRITE | EXECUTE);
  return parent;
}

/** The directory that holds the target of a walk, which the principal must be allowed to change. */
export function checkMayChangeEntries(context: CheckContext, walk: Walk): void {
  const parent = walk.inodes[walk.names.length - 1];
  invariant(parent !== undefined, "a path below the root has a parent");
  checkAccessTo(context.principal, walk, parent, WRITE | EXECUTE);
}

/** @throws RockpoolError INVALID_ARGUMENT for names that under stores keep for themselves */
export function checkName(path: Path): void {
  if (path.includes(`/${TEMPORARY_PREFIX}`))
    throw invalid(
      `Path "${path}" is invalid: ${nameOf(path)} begins with ${TEMPORARY_PREFIX}`,
      "Choose another name",
    );
}

/**
 * Notes that these directories are (about to be) in their under store.
 * @param makes whether intents make them; else the under store is known to have them
 * @returns the intents
 */
export function ensureInUfs(
  { editor, timeMs }: ChangeContext,
  chain: readonly Inode[],
  makes: boolean,
): number[] {
  const intentIds: number[] = [];
  for (const { id, kind } of chain) {
    if (kind !== "directory") continue;
    const inode = editor.directory(id);
    if (inode.isInUfs) continue;
    editor.put({ ...inode, isInUfs: true, persistence: "PERSISTED" });
    if (!makes) continue;
    const { owner, group, mode } = inode;
    const ufsPath = ufsPathOf(editor, id);
    intentIds.push(
      editor.addIntent({ kind: "makeDirectory", ufsPath, owner, group, mode }, timeMs),
    );
  }
  return intentIds;
}

/** Where an inode lies, or would lie, in its under store. */
export function ufsPathOf(editor: NamespaceEditor, id: InodeId): string {
  const path = editor.view.pathOf(id);
  invariant(path !== null, "only inodes of the tree have a place in the under store");
  return editor.mounts().resolve(path).ufsPath;
}
