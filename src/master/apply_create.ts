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
  SEQUENCE_MAX,
  sequenceOf,
} from "../common/ids.ts";
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
import { blockLengthIn, type DirectoryInode, type FileInode } from "./inode.ts";
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
  const intentIds = replaced === null ? [] : detach(context, replaced, true);
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
  if (file.blockCount >= SEQUENCE_MAX)
    throw invalid(`File ${command.path} has ${SEQUENCE_MAX} blocks`, "Use larger blocks");
  return file;
}

export function newBlock({ editor }: ChangeContext, file: FileInode): Outcome {
  editor.put({ ...file, blockCount: file.blockCount + 1 });
  const blockId = blockIdOf(containerIdOf(file.id), file.blockCount) as bigint as InodeId;
  return { value: { kind: "block", blockId }, intentIds: [] };
}

type Completion = {
  readonly file: FileInode;
  readonly lengthBytes: number;
  readonly blockCount: number;
};

/** The length that committed blocks add up to: all full but the last, then any number never committed. */
function committedLength(
  { view }: CheckContext,
  file: FileInode,
  path: string,
): Omit<Completion, "file"> {
  let lengthBytes = 0;
  let blockCount = 0;
  const container = containerIdOf(file.id);
  for (let sequence = 0; sequence < file.blockCount; sequence++) {
    const blockBytes = view.blockRow(blockIdOf(container, sequence));
    if (blockBytes === null || blockBytes === 0) continue;
    if (blockCount !== sequence || lengthBytes !== sequence * file.blockSizeBytes)
      throw invalid(
        `File ${path} cannot be completed: block ${sequence} was committed, but one before it is missing or short`,
        "Write the file again",
      );
    lengthBytes += blockBytes;
    blockCount = sequence + 1;
  }
  return { lengthBytes, blockCount };
}

export function checkCompleteFile(
  context: CheckContext,
  command: CommandOf<"completeFile">,
): Completion {
  const { path, ufsLengthBytes } = command;
  const file = checkBeingWritten(context, path);
  if (ufsLengthBytes === null) return { file, ...committedLength(context, file, path) };
  const blockCount = Math.ceil(ufsLengthBytes / file.blockSizeBytes);
  if (blockCount > SEQUENCE_MAX)
    throw invalid(`File ${path} would have ${blockCount} blocks`, "Use larger blocks");
  return { file, lengthBytes: ufsLengthBytes, blockCount };
}

export function completeFile(
  context: ChangeContext,
  { file, lengthBytes, blockCount }: Completion,
  command: CommandOf<"completeFile">,
): Outcome {
  const { editor, timeMs } = context;
  const isInUfs = command.ufsLengthBytes !== null;
  const completed: FileInode = {
    ...file,
    isCompleted: true,
    lengthBytes,
    blockCount,
    modifiedMs: timeMs,
    isInUfs,
    persistence: isInUfs ? "PERSISTED" : "NOT_PERSISTED",
    ufsFingerprint: isInUfs ? command.contentHash : "",
  };
  settleBlocks(editor, file, completed);
  editor.put(completed);
  if (isInUfs) ensureInUfs(context, editor.view.chainOf(file.id) ?? [], false);
  else if (command.isAsyncPersist) toBePersisted(context, completed);
  return NOTHING;
}

/** From now on lengths follow from the file's; copies that contradict them, or were never counted, go. */
function settleBlocks(editor: NamespaceEditor, before: FileInode, completed: FileInode): void {
  const container = containerIdOf(before.id);
  for (let sequence = 0; sequence < before.blockCount; sequence++) {
    const id = blockIdOf(container, sequence);
    const committed = editor.view.blockRow(id);
    if (committed === null) continue;
    if (blockLengthIn(completed, sequence) === committed) editor.removeBlockRow(id);
    else editor.dropBlock(id);
  }
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
  const sequence = sequenceOf(blockId);
  const isGone = file === null || file.kind !== "file" || view.chainOf(file.id) === null;
  if (isGone || sequence >= file.blockCount)
    throw new RockpoolError(
      "NOT_FOUND",
      `Block ${blockId} belongs to no file`,
      "Drop it: its file was removed",
    );
  const known = blockLengthIn(file, sequence) ?? view.blockRow(blockId);
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
