/**
 * Commands that bring in what the under store said or did: facts, persisted files, intents that are done.
 *
 * Pure. The leader asked the under store before it proposed these; whether the answer still holds is decided
 * here, in log order.
 * @module
 */
import { fileIdOf, type InodeId, ROOT_INODE_ID } from "../common/ids.ts";
import { nameOf, type Path } from "../common/path.ts";
import { TEMPORARY_PREFIX } from "../ufs/under_file_system.ts";
import {
  type ChangeContext,
  type CheckContext,
  ensureInUfs,
  invalid,
  NOTHING,
  type Outcome,
} from "./apply_context.ts";
import { bringToUfs, putInUfs } from "./apply_create.ts";
import { takeBack } from "./apply_refused.ts";
import type { CommandOf, IntentOutcome, UfsFact } from "./command.ts";
import { type FileInode, type Inode, NO_PARENT } from "./inode.ts";

/** Refused intents that are kept as witnesses; beyond it only the event tells of them. */
const REFUSED_MAX = 10_000;

export function initializeNamespace(
  { editor, timeMs }: ChangeContext,
  command: CommandOf<"initializeNamespace">,
): Outcome {
  // Two leaders may each have proposed it at the birth of the cluster: the first wins.
  if (editor.view.inode(ROOT_INODE_ID) !== null) return NOTHING;
  editor.put({
    kind: "directory",
    id: ROOT_INODE_ID,
    parentId: NO_PARENT,
    name: "",
    createdMs: timeMs,
    modifiedMs: timeMs,
    accessedMs: timeMs,
    owner: command.rootOwner,
    group: command.rootGroup,
    mode: command.rootMode,
    isPinned: false,
    ttlMs: -1,
    ttlAction: "FREE",
    persistence: "PERSISTED",
    isInUfs: true,
    ufsFingerprint: "",
    replicationMin: 0,
    replicationMax: -1,
    xattr: {},
    childCount: 0,
    isListed: false,
    childVersion: 0,
  });
  editor.putMount({
    mountId: 1,
    path: "/",
    ufsUri: command.rootUfsUri,
    isReadOnly: command.isRootReadOnly,
    isShared: command.isRootShared,
  });
  editor.setState({ clusterId: command.clusterId });
  return NOTHING;
}

export function loadedFromUfs(
  context: ChangeContext,
  command: CommandOf<"loadedFromUfs">,
): Outcome {
  const { editor } = context;
  const directory = editor.view.inode(command.directoryId);
  const chain = editor.view.chainOf(command.directoryId);
  const holds =
    chain !== null &&
    directory?.kind === "directory" &&
    directory.childVersion === command.childVersion;
  if (!holds) return { value: { kind: "loaded", isApplied: false }, intentIds: [] };
  if (command.facts.length > 0) ensureInUfs(context, chain, false);
  for (const fact of command.facts) loadChild(context, directory.id, fact, command.blockSizeBytes);
  if (command.isListed) editor.put({ ...editor.directory(directory.id), isListed: true });
  return { value: { kind: "loaded", isApplied: true }, intentIds: [] };
}

function loadChild(
  { editor }: ChangeContext,
  parentId: InodeId,
  fact: UfsFact,
  blockSizeBytes: number,
): void {
  const known = editor.view.child(parentId, fact.name);
  if (known !== null) {
    // Made here, and there too by somebody else: what is below it there was never loaded.
    if (fact.isDirectory && known.kind === "directory" && !known.isInUfs)
      editor.put({ ...known, isInUfs: true, persistence: "PERSISTED", isListed: false });
    return;
  }
  const found = inodeOf(editor.takeContainerId(), parentId, fact, blockSizeBytes);
  const child = { ...found, isPinned: editor.directory(parentId).isPinned };
  editor.link(parentId, child, null);
  if (child.isPinned) editor.notePin(child);
}

function inodeOf(
  containerId: bigint,
  parentId: InodeId,
  fact: UfsFact,
  blockSizeBytes: number,
): Inode {
  const base = {
    parentId,
    name: fact.name,
    createdMs: fact.lastModifiedMs,
    modifiedMs: fact.lastModifiedMs,
    accessedMs: fact.lastModifiedMs,
    owner: fact.owner,
    group: fact.group,
    mode: fact.mode & 0o777,
    isPinned: false,
    ttlMs: -1,
    ttlAction: "FREE",
    persistence: "PERSISTED",
    isInUfs: true,
    ufsFingerprint: fact.fingerprint,
    replicationMin: 0,
    replicationMax: -1,
    xattr: {},
  } as const;
  if (fact.isDirectory)
    return {
      ...base,
      kind: "directory",
      id: containerId as InodeId,
      childCount: 0,
      isListed: false,
      childVersion: 0,
    };
  return {
    ...base,
    kind: "file",
    id: fileIdOf(containerId),
    isCompleted: true,
    lengthBytes: fact.lengthBytes,
    blockSizeBytes,
    blockCount: Math.ceil(fact.lengthBytes / blockSizeBytes),
    lostSequences: [],
    formerId: null,
  };
}

/** @returns the file that waits for it; null when it was removed, or is persisted already: then the bytes are garbage */
export function checkFilePersisted(
  { view }: Pick<CheckContext, "view">,
  { fileId, lengthBytes, tempUfsPath }: CommandOf<"filePersisted">,
): FileInode | null {
  if (!nameOf(tempUfsPath as Path).startsWith(TEMPORARY_PREFIX))
    throw invalid(`${tempUfsPath} is not a temporary file`, "Report the path that was given out");
  const file = view.inode(fileId);
  if (file?.kind !== "file" || view.chainOf(fileId) === null) return null;
  if (view.persistRow(fileId)?.state !== "waiting") return null;
  if (file.lengthBytes !== lengthBytes)
    throw invalid(
      `File ${fileId} has ${file.lengthBytes} bytes, but ${lengthBytes} were persisted`,
      "Persist it again",
    );
  return file;
}

export function filePersisted(
  context: ChangeContext,
  file: FileInode | null,
  { tempUfsPath, fileId }: CommandOf<"filePersisted">,
): Outcome {
  const { editor, timeMs } = context;
  if (file === null) {
    // The same report may come twice: while the first one's rename is pending, the bytes are still wanted.
    if (editor.view.persistRow(fileId)?.tempUfsPath === tempUfsPath)
      return { value: { kind: "inode", id: fileId }, intentIds: [] };
    editor.addIntent({ kind: "remove", ufsPath: tempUfsPath, isRecursive: false }, timeMs);
    return NOTHING;
  }
  editor.putPersist(fileId, { tempUfsPath, state: "committing" });
  const intentIds = bringToUfs(context, file, tempUfsPath);
  editor.put({ ...file, isInUfs: true });
  return { value: { kind: "inode", id: fileId }, intentIds };
}

export function intentsDone(
  context: ChangeContext,
  { outcomes }: CommandOf<"intentsDone">,
): Outcome {
  const { editor } = context;
  for (const outcome of outcomes) {
    const row = editor.view.intent(outcome.id);
    if (row === null || row.refusal !== null) continue;
    if (row.action.kind === "commitFile") fileSettled(editor, row.action.fileId, outcome);
    else if (outcome.refusal !== null) takeBack(context, row.action);
    const { refusal } = outcome;
    // A file that could not be brought there waits again, which is witness enough.
    const isForgotten = refusal === null || row.action.kind === "commitFile";
    if (isForgotten || editor.state.refusedIntentCount >= REFUSED_MAX) {
      editor.removeIntent(outcome.id);
    } else {
      editor.putIntent(outcome.id, { ...row, refusal });
      editor.setState({ refusedIntentCount: editor.state.refusedIntentCount + 1 });
    }
  }
  return NOTHING;
}

function fileSettled(
  editor: ChangeContext["editor"],
  fileId: InodeId,
  { refusal, ufsFingerprint }: IntentOutcome,
): void {
  const file = editor.view.inode(fileId);
  if (file?.kind !== "file" || file.persistence !== "TO_BE_PERSISTED") return;
  if (refusal === null) {
    editor.removePersist(fileId);
    putInUfs(editor, { ...file, persistence: "PERSISTED", ufsFingerprint });
    return;
  }
  // Only workers have its bytes, which they may drop once it waits no more: so it waits, and is tried again.
  const task = editor.view.persistRow(fileId);
  if (task !== null) editor.putPersist(fileId, { ...task, state: "waiting" });
  editor.put({ ...file, isInUfs: false });
}
