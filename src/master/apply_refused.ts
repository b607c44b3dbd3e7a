/**
 * What becomes of the namespace when an under store refuses for good what was journaled for it.
 *
 * Pure. The client gets the refusal for an answer, so what it asked for is taken back where that can still be done:
 * where others went on from it meanwhile, it stays, and the refused intent stays as the witness.
 * @module
 */
import { isRockpoolError } from "../common/errors.ts";
import { unreachable } from "../common/invariant.ts";
import { type Path, parentOf } from "../common/path.ts";
import type { ChangeContext } from "./apply_context.ts";
import type { IntentAction } from "./inode.ts";
import { lastOf, targetOf } from "./inode_tree.ts";

export function takeBack(context: ChangeContext, action: IntentAction): void {
  switch (action.kind) {
    case "makeDirectory":
      notMade(context, action.ufsPath);
      break;
    case "remove":
      showAgain(context, action.ufsPath);
      break;
    case "rename":
      moveBack(context, action);
      break;
    case "setAttributes": // the namespace's count
    case "commitFile": // see apply_ufs.ts
      break;
    default:
      unreachable(action);
  }
}

/** Null for what no path can name. */
function pathOfUfs({ editor }: ChangeContext, ufsPath: string): Path | null {
  try {
    return editor.mounts().reverse(ufsPath).path;
  } catch (error) {
    if (isRockpoolError(error, "INVALID_ARGUMENT")) return null;
    throw error;
  }
}

function notMade(context: ChangeContext, ufsPath: string): void {
  const { editor } = context;
  const path = pathOfUfs(context, ufsPath);
  const directory = path === null ? null : targetOf(editor.view.walk(path));
  // What has children may have some there.
  if (directory?.kind === "directory" && directory.isInUfs && directory.childCount === 0)
    editor.put({ ...directory, isInUfs: false, persistence: "NOT_PERSISTED" });
}

/** What is still there is to be seen in the listing of its directory. */
function showAgain(context: ChangeContext, ufsPath: string): void {
  const { editor } = context;
  const path = pathOfUfs(context, ufsPath);
  const directory = path === null ? null : targetOf(editor.view.walk(parentOf(path)));
  if (directory?.kind === "directory" && directory.isInUfs && directory.isListed)
    editor.put({ ...directory, isListed: false });
}

function moveBack(context: ChangeContext, action: Extract<IntentAction, { kind: "rename" }>): void {
  const { editor, timeMs } = context;
  const { view } = editor;
  const inode = view.inode(action.inodeId);
  const from = pathOfUfs(context, action.fromUfsPath);
  const to = pathOfUfs(context, action.toUfsPath);
  if (inode === null || from === null || to === null || view.pathOf(inode.id) !== to) return;
  const walk = view.walk(from);
  const [name, ...deeper] = walk.missing;
  const parent = lastOf(walk);
  const isFree = name !== undefined && deeper.length === 0;
  if (!isFree || parent.kind !== "directory" || !parent.isInUfs) return;
  editor.unlink(inode, timeMs);
  editor.link(parent.id, { ...inode, parentId: parent.id, name, modifiedMs: timeMs }, timeMs);
  showAgain(context, action.toUfsPath); // what was to be replaced
}
