/**
 * Commands that change what exists: rename, attributes, the wish to persist.
 * Pure; see apply_context.ts for what a check and a change may do.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { InodeId } from "../common/ids.ts";
import { isWithin, type Path } from "../common/path.ts";
import {
  type ChangeContext,
  type CheckContext,
  checkMayChangeEntries,
  checkName,
  checkParentOfMissing,
  ensureInUfs,
  invalid,
  NOTHING,
  notFound,
  type Outcome,
  ufsPathOf,
  walkToExisting,
} from "./apply_context.ts";
import { putInUfs, toBePersisted } from "./apply_create.ts";
import { detach } from "./apply_remove.ts";
import type { CommandOf } from "./command.ts";
import type { Inode } from "./inode.ts";
import { lastOf, targetOf, type Walk } from "./inode_tree.ts";
import { checkAccessTo, checkOwner, checkSuperuser, checkTraversal, WRITE } from "./permissions.ts";

export type RenamePlan = {
  readonly source: Inode;
  /** Null: the paths are the same, and there is nothing to do. */
  readonly to: Walk | null;
};

function checkRenamePaths(path: Path, dstPath: Path): void {
  if (path === "/") throw invalid("The root directory cannot be renamed", "Rename what is in it");
  if (dstPath === "/")
    throw invalid("Cannot rename a path to the root directory", "Choose a path below it");
  if (path !== dstPath && isWithin(path, dstPath))
    throw invalid(
      `Cannot rename because ${path} is a prefix of ${dstPath}`,
      "Choose a path outside of it",
    );
}

export function checkRename(context: CheckContext, command: CommandOf<"rename">): RenamePlan {
  const { path, dstPath, isOverwrite } = command;
  checkRenamePaths(path, dstPath);
  const from = walkToExisting(context, path);
  const source = lastOf(from);
  if (path === dstPath) return { source, to: null };
  const to = context.view.walk(dstPath);
  checkTraversal(context.principal, to);
  const { mount } = context.mounts.checkWritable(path);
  if (context.mounts.checkWritable(dstPath).mount.mountId !== mount.mountId)
    throw invalid(
      `Renaming ${path} to ${dstPath} is a cross mount operation`,
      "Copy it, then remove the original",
    );
  checkMayChangeEntries(context, from);
  const replaced = targetOf(to);
  if (replaced !== null && !(isOverwrite && replaced.kind === "file" && source.kind === "file"))
    throw new RockpoolError(
      "ALREADY_EXISTS",
      `Cannot rename because destination already exists. src: ${path} dst: ${dstPath}`,
      "Choose another destination, or remove it first",
    );
  if (replaced !== null) {
    checkMayChangeEntries(context, to);
    return { source, to };
  }
  checkName(dstPath);
  if (to.missing.length > 1) throw notFound(`/${to.names.slice(0, -1).join("/")}`);
  checkParentOfMissing(context, to, "File", false);
  return { source, to };
}

export function rename(context: ChangeContext, { source, to }: RenamePlan): Outcome {
  if (to === null) return NOTHING;
  const { editor, timeMs } = context;
  const replaced = targetOf(to);
  const parent = to.inodes[to.names.length - 1] as Inode; // the check saw it exist
  const fromUfsPath = ufsPathOf(editor, source.id);
  const toUfsPath = editor.mounts().resolve(to.path).ufsPath;
  // The under store's rename replaces by itself, in one step.
  const intentIds =
    replaced === null ? [] : detach(context, replaced, source.isInUfs ? "keep" : "removeTree");
  if (source.isInUfs) {
    intentIds.push(
      ...ensureInUfs(context, to.inodes.slice(0, to.names.length), true),
      editor.addIntent({ kind: "rename", inodeId: source.id, fromUfsPath, toUfsPath }, timeMs),
    );
  }
  editor.unlink(source, timeMs);
  const name = to.names[to.names.length - 1] ?? "";
  editor.link(parent.id, { ...source, parentId: parent.id, name, modifiedMs: timeMs }, timeMs);
  return { value: { kind: "none" }, intentIds };
}

export type AttributePlan = readonly Inode[];

export function checkSetAttribute(
  context: CheckContext,
  command: CommandOf<"setAttribute">,
): AttributePlan {
  const { principal, view, mounts } = context;
  const inodes: Inode[] = [];
  // A listing may show what is being moved twice.
  for (const id of new Set(command.ids)) {
    const chain = view.chainOf(id);
    if (chain === null) continue;
    const inode = chain[chain.length - 1] as Inode; // a chain ends with what it leads to
    const path = view.pathOf(id) as Path; // it has a chain
    const walk: Walk = { path, names: [], inodes: chain, missing: [] };
    checkTraversal(principal, walk);
    checkAttributesOf(context, command, inode, walk);
    mounts.checkWritable(path);
    inodes.push(inode);
  }
  if (inodes.length === 0) throw notFound(`inode ${command.ids.join()}`);
  return inodes;
}

function checkAttributesOf(
  { principal }: CheckContext,
  command: CommandOf<"setAttribute">,
  inode: Inode,
  walk: Walk,
): void {
  if (command.owner !== null) checkSuperuser(principal);
  const isPosix = command.owner !== null || command.group !== null || command.mode !== null;
  if (isPosix) checkOwner(principal, inode, walk.path);
  else checkAccessTo(principal, walk, inode, WRITE);
  if (command.isPersisted === true && inode.kind === "file" && !inode.isCompleted)
    throw invalid(`File ${walk.path} is not complete`, "Complete it first");
  if (command.isPersisted === false && inode.persistence === "PERSISTED")
    throw invalid(`Path ${walk.path} is persisted, which cannot be taken back`, "");
}

export function setAttribute(
  context: ChangeContext,
  inodes: AttributePlan,
  command: CommandOf<"setAttribute">,
): Outcome {
  const { editor, timeMs } = context;
  const intentIds: number[] = [];
  const { owner, group, mode } = command;
  for (const { id } of inodes) {
    const before = editor.view.existing(id);
    const after: Inode = {
      ...before,
      owner: owner ?? before.owner,
      group: group ?? before.group,
      mode: mode === null ? before.mode : mode & 0o777,
      isPinned: command.isPinned ?? before.isPinned,
      replicationMin: command.replicationMin ?? before.replicationMin,
      replicationMax: command.replicationMax ?? before.replicationMax,
      ttlMs: command.ttlMs ?? before.ttlMs,
      ttlAction: command.ttlAction ?? before.ttlAction,
    };
    editor.put(after);
    if (after.isPinned !== before.isPinned) editor.notePin(after);
    if (before.isInUfs && (owner !== null || group !== null || mode !== null)) {
      const ufsPath = ufsPathOf(editor, id);
      intentIds.push(
        editor.addIntent({ kind: "setAttributes", ufsPath, owner, group, mode }, timeMs),
      );
    }
    if (command.isPersisted === true) markPersisted(context, id); // last: it may get another id
  }
  return { value: { kind: "none" }, intentIds };
}

/** Somebody vouches that the under store has it. */
function markPersisted(context: ChangeContext, id: InodeId): void {
  const { editor } = context;
  const inode = editor.view.existing(id);
  if (inode.persistence === "TO_BE_PERSISTED") editor.removePersist(id);
  ensureInUfs(context, editor.view.chainOf(id) ?? [], false);
  if (inode.kind === "file")
    putInUfs(editor, { ...inode, persistence: "PERSISTED", isInUfs: true });
}

export function checkSchedulePersist(
  context: CheckContext,
  { path }: CommandOf<"schedulePersist">,
): Inode {
  const walk = walkToExisting(context, path);
  const inode = lastOf(walk);
  checkAccessTo(context.principal, walk, inode, WRITE);
  context.mounts.checkWritable(path);
  if (inode.kind === "file" && !inode.isCompleted)
    throw invalid(
      `Cannot persist an incomplete Alluxio file: ${path}`,
      "Wait until it has been written",
    );
  return inode;
}

export function schedulePersist(context: ChangeContext, inode: Inode): Outcome {
  if (inode.kind === "directory") {
    const chain = context.editor.view.chainOf(inode.id) ?? [];
    return { value: { kind: "none" }, intentIds: ensureInUfs(context, chain, true) };
  }
  if (inode.persistence === "NOT_PERSISTED") toBePersisted(context, inode);
  return NOTHING;
}
