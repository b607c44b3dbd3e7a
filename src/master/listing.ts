/**
 * Walks a directory, or a whole tree in depth-first path order, in bounded batches.
 *
 * Nothing is held over an await but names and ids: every batch reads the state of its own moment, so a listing that
 * takes long sees some changes and not others, as in any file system.
 * @module
 */
import type { InodeId } from "../common/ids.ts";
import { childOf, type Path } from "../common/path.ts";
import type { DirectoryInode, Inode } from "./inode.ts";
import type { ChildEntry, NamespaceView } from "./inode_tree.ts";

/** Entries read ahead of a directory: few, as a subdirectory's tree comes in between. */
const PAGE = 256;
/** Blocks in one batch: with their places some 300 B each, a message takes 100 MB. */
const BATCH_BLOCKS_MAX = 100_000;

export type Listed = { readonly path: Path; readonly inode: Inode };

/** A directory on the way, and how far it was listed. */
export type Frame = {
  readonly directoryId: InodeId;
  readonly path: Path;
  /** Continue behind this name; null: from the first. */
  afterName: string | null;
};

export type ListingParts = {
  readonly view: NamespaceView;
  /** Called before a directory's children are read. */
  readonly prepare: (directoryId: InodeId) => Promise<void> | void;
  /** Whether to go into a subdirectory. */
  readonly mayEnter: (directory: DirectoryInode) => boolean;
  /** Called after each `batchSize` entries: gives way to everybody else, and throws to end the walk. */
  readonly pause: () => Promise<void>;
};

/** What has the name of an entry that was read some time ago; another inode may have taken its place. */
function childNow(view: NamespaceView, parentId: InodeId, { id, name }: ChildEntry): Inode | null {
  const inode = view.inode(id);
  if (inode?.parentId === parentId && inode.name === name) return inode;
  return view.child(parentId, name);
}

/**
 * @param frames outermost first; the walk begins with the last one
 * @yields up to `batchSize` entries at a time, never none
 */
export async function* walkTree(
  { view, prepare, mayEnter, pause }: ListingParts,
  frames: readonly Frame[],
  options: { readonly isRecursive: boolean; readonly batchSize: number },
): AsyncGenerator<readonly Listed[]> {
  const stack = frames.map((frame) => ({ ...frame, page: [] as ChildEntry[], isPrepared: false }));
  let batch: Listed[] = [];
  let seenCount = 0;
  let blockCount = 0;
  for (let frame = stack.at(-1); frame !== undefined; frame = stack.at(-1)) {
    if (!frame.isPrepared) {
      frame.isPrepared = true;
      await prepare(frame.directoryId);
    }
    if (frame.page.length === 0) {
      // Reversed, to take from the end.
      frame.page = view.children(frame.directoryId, frame.afterName, PAGE).reverse();
      if (frame.page.length === 0) {
        stack.pop();
        continue;
      }
    }
    const entry = frame.page.pop() as ChildEntry; // it is not empty
    frame.afterName = entry.name;
    seenCount += 1;
    if (seenCount % options.batchSize === 0) await pause();
    const inode = childNow(view, frame.directoryId, entry);
    // Moved or removed while a batch was on its way.
    if (inode === null) continue;
    const path = childOf(frame.path, entry.name);
    batch.push({ path, inode });
    if (options.isRecursive && inode.kind === "directory" && mayEnter(inode))
      stack.push({ directoryId: inode.id, path, afterName: null, page: [], isPrepared: false });
    if (inode.kind === "file") blockCount += inode.blockCount;
    if (batch.length < options.batchSize && blockCount < BATCH_BLOCKS_MAX) continue;
    yield batch;
    batch = [];
    blockCount = 0;
  }
  if (batch.length > 0) yield batch;
}

/**
 * Where a listing goes on behind a name, or (recursive) behind a path relative to the directory.
 * @returns frames for {@link walkTree}
 */
export function framesAfter(
  view: NamespaceView,
  directoryId: InodeId,
  directoryPath: Path,
  options: { readonly after: string | null; readonly isRecursive: boolean },
): Frame[] {
  const { after, isRecursive } = options;
  const frames: Frame[] = [{ directoryId, path: directoryPath, afterName: null }];
  if (after === null) return frames;
  const names = isRecursive ? after.split("/").filter((name) => name !== "") : [after];
  for (const [depth, name] of names.entries()) {
    const frame = frames[depth] as Frame; // the loop ends when there is none
    frame.afterName = name;
    const child = view.child(frame.directoryId, name);
    if (!isRecursive || child?.kind !== "directory") break;
    // The directory itself was listed before what is in it.
    frames.push({ directoryId: child.id, path: childOf(frame.path, name), afterName: null });
  }
  return frames;
}
