/**
 * Commands that make things: directories, files, their blocks.
 * Pure; see apply_context.ts for what a check and a change may do.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import {
  type BlockId,
  blockIdOf,
  containerIdOf,
  fileIdOf,
  fileIdOfBlock,
  type InodeId,
} from "../common/ids.ts";
import { FILE_BLOCKS_MAX } from "../common/limits.ts";
import {
  type ChangeContext,
  type CheckContext,
  checkMayChangeEntries,
  checkName,
  checkParentOfMissing,
  ensureInUfs,
  invalid,
  NOTHING,
  type Outcome,
  ufsPathOf,
  walkToExisting,
} from "./apply_context.ts";
import { detach } from "./apply_remove.ts";
import type { CommandOf } from "./command.ts";
import {
  blockIdsOf,
  blockIndexIn,
  blockLengthIn,
  type Completion,
  completionInUfs,
  completionOfCommitted,
  LOST_SEQUENCES_MAX,
} from "./file_blocks.ts";
import type { DirectoryInode, FileInode } from "./inode.ts";
import { lastOf, type NamespaceEditor, targetOf, type Walk } from "./inode_tree.ts";
import { checkTraversal, mayAccess, WRITE } from "./permissions.ts";

/** Of directories that are made on the way to a file; Alluxio's default mode under its default umask. */
const PARENT_MODE = 0o755;

export function checkCreateDirectory(
  context: CheckContext,
  command: CommandOf<"createDirectory">,
): Walk {
  const { path, allowExists, isRecursive } = command;
  const walk = context.view.walk(path);
  checkTraversal(context.principal, walk);
  const target = targetOf(walk);
  if (target !== null) {
    if (allowExists && target.kind === "directory") return walk;
    throw new RockpoolError(
      "ALREADY_EXISTS",
      `Not allowed to create directory because path already exists: ${path}`,
      "Choose another path",
    );
  }
  checkName(path);
  context.mounts.checkWritable(path);
  checkParentOfMissing(context, walk, "Directory", isRecursive);
  return walk;
}

function addDirectory(
  { editor, principal, timeMs }: ChangeContext,
  parentId: InodeId,
  name: string,
  mode: number,
  extra: Partial<DirectoryInode> = {},
): DirectoryInode {
  const directory: DirectoryInode = {
    kind: "directory",
    id: editor.takeContainerId() as InodeId,
    parentId,
    name,
    createdMs: timeMs,
    modifiedMs: timeMs,
    accessedMs: timeMs,
    owner: principal.user,
    group: principal.groups[0] ?? "",
    mode: mode & 0o777,
    isPinned: editor.directory(parentId).isPinned,
    ttlMs: -1,
    ttlAction: "FREE",
    persistence: "NOT_PERSISTED",
    isInUfs: false,
    ufsFingerprint: "",
    replicationMin: 0,
    replicationMax: -1,
    xattr: {},
    childCount: 0,
    isListed: true,
    childVersion: 0,
    ...extra,
  };
  editor.link(parentId, directory, timeMs);
  return directory;
}

/** Makes the missing directories of a walk but the last name. @returns the parent of that */
function addParents(context: ChangeContext, walk: Walk, mode: number): InodeId {
  let parentId = lastOf(walk).id;
  for (const name of walk.missing.slice(0, -1))
    parentId = addDirectory(context, parentId, name, mode).id;
  return parentId;
}

export function createDirectory(
  context: ChangeContext,
  walk: Walk,
  command: CommandOf<"createDirectory">,
): Outcome {
  let id = lastOf(walk).id;
  const name = walk.missing[walk.missing.length - 1];
  if (name !== undefined) {
    // The maker must be able to go on below what is made on the way.
    const parentId = addParents(context, walk, command.mode | 0o300);
    const { ttlMs, ttlAction, xattr } = command;
    id = addDirectory(context, parentId, name, command.mode, { ttlMs, ttlAction, xattr }).id;
  }
  const chain = context.editor.view.chainOf(id) ?? [];
  const intentIds = command.isPersisted ? ensureInUfs(context, chain, true) : [];
  return { value: { kind: "inode", id }, intentIds };
}

export function checkCreateFile(context: CheckContext, command: CommandOf<"createFile">): Walk {
  const { path, blockSizeBytes, isOverwrite, isRecursive } = command;
  const walk = context.view.walk(path);
  checkTraversal(context.principal, walk);
  if (blockSizeBytes <= 0)
    throw invalid(`Invalid block size ${blockSizeBytes} for file ${path}`, "Use a positive size");
  const target = targetOf(walk);
  if (target?.kind === "directory")
    throw new RockpoolError(
      "ALREADY_EXISTS",
      isOverwrite
        ? `${path} already exists. Directories cannot be overwritten with create`
        : `Not allowed to create file because path already exists: ${path}`,
      "Choose another path",
    );
  if (target !== null && !isOverwrite)
    throw new RockpoolError(
      "ALREADY_EXISTS",
      `Not allowed to create file because path already exists: ${path}`,
      "Ask for the file to be overwritten, or choose another path",
    );
  checkName(path);
  context.mounts.checkWritable(path);
  if (target === null) checkParentOfMissing(context, walk, "File", isRecursive);
  else checkMayChangeEntries(context, walk);
  return walk;
}

export function createFile(
  context: ChangeContext,
  walk: Walk,
  command: CommandOf<"createFile">,
): Outcome {
  const { editor, principal, timeMs } = context;
  const replaced = targetOf(walk);
  const intentIds = replaced === null ? [] : detach(context, replaced, "removeTree");
  const name = walk.names[walk.names.length - 1] ?? "";
  const parentId = replaced?.parentId ?? addParents(context, walk, PARENT_MODE);
  const file: FileInode = {
    kind: "file",
    id: fileIdOf(editor.takeContainerId()),
    parentId,
    name,
    createdMs: timeMs,
    modifiedMs: timeMs,
    accessedMs: timeMs,
    owner: principal.user,
    group: principal.groups[0] ?? "",
    mode: command.mode & 0o777,
    isPinned: editor.directory(parentId).isPinned,
    ttlMs: command.ttlMs,
    ttlAction: command.ttlAction,
    persistence: "NOT_PERSISTED",
    isInUfs: false,
    ufsFingerprint: "",
    replicationMin: command.replicationMin,
    replicationMax: command.replicationMax,
    xattr: command.xattr,
    isCompleted: false,
    lengthBytes: 0,
    blockSizeBytes: command.blockSizeBytes,
    blockCount: 0,
    lostSequences: [],
    formerId: null,
  };
  editor.link(parentId, file, timeMs);
  if (file.isPinned) editor.notePin(file);
  return { value: { kind: "inode", id: file.id }, intentIds };
}

/** A file that is being written, by who may write it: its owner always (the mode may be read-only already). */
function checkBeingWritten(context: CheckContext, path: CommandOf<"newBlock">["path"]): FileInode {
  const walk = walkToExisting(context, path);
  const file = lastOf(walk);
  if (file.kind === "directory")
    throw invalid(`Path "${path}" must be a file.`, "Give the path of a file");
  if (file.owner !== context.principal.user && !mayAccess(context.principal, file, WRITE))
    throw new RockpoolError(
      "PERMISSION_DENIED",
      `Permission denied: user=${context.principal.user}, access=-w-, path=${path}`,
      `Only ${file.owner} may go on writing it`,
    );
  if (file.isCompleted)
    throw new RockpoolError(
      "ALREADY_EXISTS",
      `File ${file.name} has already been completed.`,
      "Remove it first to write it anew",
    );
  return file;
}

export function checkNewBlock(context: CheckContext, command: CommandOf<"newBlock">): FileInode {
  const file = checkBeingWritten(context, command.path);
  if (file.blockCount >= FILE_BLOCKS_MAX)
    throw invalid(`File ${command.path} has ${FILE_BLOCKS_MAX} blocks`, "Use larger blocks");
  // Workers may hold other bytes under the id that it would get.
  if (containerIdOf(file.id) < BigInt(context.view.ids().frozenBelow))
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `File ${command.path} was being written when the backup was made that this cluster was restored from`,
      "Remove it, and write it anew",
    );
  return file;
}

export function newBlock({ editor }: ChangeContext, file: FileInode): Outcome {
  editor.put({ ...file, blockCount: file.blockCount + 1 });
  const blockId = blockIdOf(containerIdOf(file.id), file.blockCount) as bigint as InodeId;
  return { value: { kind: "block", blockId }, intentIds: [] };
}

type FileCompletion = { readonly file: FileInode; readonly completion: Completion };

export function checkCompleteFile(
  context: CheckContext,
  command: CommandOf<"completeFile">,
): FileCompletion {
  const { path, ufsLengthBytes } = command;
  const file = checkBeingWritten(context, path);
  const container = containerIdOf(file.id);
  const committed = (sequence: number) => context.view.blockRow(blockIdOf(container, sequence));
  if (ufsLengthBytes !== null) {
    const completion = completionInUfs(file, ufsLengthBytes, committed);
    if (completion.blockCount > FILE_BLOCKS_MAX)
      throw invalid(
        `File ${path} would have ${completion.blockCount} blocks, more than ${FILE_BLOCKS_MAX}`,
        "Use larger blocks",
      );
    return { file, completion };
  }
  const completion = completionOfCommitted(file, committed);
  if (completion === null)
    throw invalid(
      `File ${path} cannot be completed: a block before its last one is shorter than ${file.blockSizeBytes} bytes`,
      "Write the file again",
    );
  if (completion.lostSequences.length > LOST_SEQUENCES_MAX)
    throw invalid(
      `File ${path} cannot be completed: ${completion.lostSequences.length} of its blocks were never written`,
      "Write the file again",
    );
  return { file, completion };
}

export function completeFile(
  context: ChangeContext,
  { file, completion: { keepsId, ...blocks } }: FileCompletion,
  command: CommandOf<"completeFile">,
): Outcome {
  const { editor, timeMs } = context;
  const isInUfs = command.ufsLengthBytes !== null;
  const completed: FileInode = {
    ...file,
    ...blocks,
    isCompleted: true,
    modifiedMs: timeMs,
    isInUfs,
    persistence: isInUfs ? "PERSISTED" : "NOT_PERSISTED",
    ufsFingerprint: isInUfs ? command.contentHash : "",
  };
  if (keepsId) {
    settleBlocks(editor, file, completed);
    editor.put(completed);
  } else {
    editor.reissue(file, completed);
  }
  if (isInUfs) ensureInUfs(context, editor.view.chainOf(file.parentId) ?? [], false);
  else if (command.isAsyncPersist) toBePersisted(context, completed);
  return NOTHING;
}

/** From now on lengths follow from the file's; copies of what is no part of it go. */
function settleBlocks(editor: NamespaceEditor, before: FileInode, completed: FileInode): void {
  for (const id of blockIdsOf(before)) {
    if (editor.view.blockRow(id) === null) continue;
    if (blockIndexIn(completed, id) === null) editor.dropBlock(id);
    else editor.removeBlockRow(id);
  }
}

/** Puts a file that users are told to be in the under store from now on. It may get another id. */
export function putInUfs(editor: NamespaceEditor, file: FileInode): void {
  // Clients find a block there by its sequence number: none may be missing.
  if (file.lostSequences.length === 0) editor.put(file);
  else editor.reissue(editor.file(file.id), file);
}

/** A complete file that is not in the under store: a worker is to bring it there; empty ones the leader makes itself. */
export function toBePersisted(context: ChangeContext, file: FileInode): void {
  const { editor } = context;
  const path = editor.view.pathOf(file.id);
  if (path === null) return;
  const { mount } = editor.mounts().resolve(path);
  const tempUfsPath = editor.mounts().temporaryFor(mount, file.id);
  const isEmpty = file.lengthBytes === 0;
  editor.put({ ...file, persistence: "TO_BE_PERSISTED", isInUfs: isEmpty });
  editor.putPersist(file.id, { tempUfsPath, state: isEmpty ? "committing" : "waiting" });
  if (isEmpty) bringToUfs(context, file, null);
}

/** Lets the leader give a file that lies in the under store (null: an empty one) its name there. */
export function bringToUfs(
  context: ChangeContext,
  { id: fileId, lengthBytes, owner, group, mode }: FileInode,
  tempUfsPath: string | null,
): number[] {
  const { editor, timeMs } = context;
  const intentIds = ensureInUfs(context, editor.view.chainOf(fileId) ?? [], true);
  const ufsPath = ufsPathOf(editor, fileId);
  const file = { fileId, tempUfsPath, ufsPath, lengthBytes, owner, group, mode };
  return [...intentIds, editor.addIntent({ kind: "commitFile", ...file }, timeMs)];
}

/** @returns the length that the block is known to have; null when nothing is known yet */
export function checkCommitBlock(
  { view }: Pick<CheckContext, "view">,
  { blockId, lengthBytes }: { readonly blockId: BlockId; readonly lengthBytes: number },
): number | null {
  const file = view.inode(fileIdOfBlock(blockId));
  const isGone = file === null || file.kind !== "file" || view.chainOf(file.id) === null;
  if (isGone || blockIndexIn(file, blockId) === null)
    throw new RockpoolError(
      "NOT_FOUND",
      `Block ${blockId} belongs to no file`,
      "Drop it: its file was removed, or was completed without it",
    );
  const known = blockLengthIn(file, blockId) ?? view.blockRow(blockId);
  if (known !== null && known !== lengthBytes)
    throw invalid(
      `Block ${blockId} has ${known} bytes, not ${lengthBytes}`,
      "Drop this copy: it is not what was committed",
    );
  if (lengthBytes > file.blockSizeBytes)
    throw invalid(
      `Block ${blockId} of ${lengthBytes} bytes exceeds the block size ${file.blockSizeBytes}`,
    );
  return known;
}

export function commitBlock(
  { editor }: ChangeContext,
  known: number | null,
  { blockId, lengthBytes }: CommandOf<"commitBlock">,
): Outcome {
  if (known === null) editor.putBlockRow(blockId, lengthBytes);
  return NOTHING;
}
