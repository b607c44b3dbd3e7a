/**
 * Care of a path and all below it, that changes no namespace: freeing cached blocks, and comparing with the under store.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { InodeId } from "../common/ids.ts";
import { LIST_BATCH } from "../common/limits.ts";
import type { Path } from "../common/path.ts";
import { pathWithinStore, type UfsRegistry } from "../ufs/ufs_uri.ts";
import type { BlockLocations } from "./api.ts";
import { blockIdsOf } from "./file_blocks.ts";
import type { FileInode, Inode } from "./inode.ts";
import { type Listed, type ListingParts, walkTree } from "./listing.ts";
import type { MountTable } from "./mount_table.ts";

/** A path with its inode; of a directory, how to walk what is below it. */
export type Tree = {
  readonly path: Path;
  readonly inode: Inode;
  /** Its `mayEnter` throws where the caller may not look: half a tree is no answer. */
  readonly walk: ListingParts;
};

async function* everything({ path, inode, walk }: Tree): AsyncGenerator<readonly Listed[]> {
  yield [{ path, inode }];
  if (inode.kind === "file") return;
  const frames = [{ directoryId: inode.id, path, afterName: null }];
  yield* walkTree(walk, frames, { isRecursive: true, batchSize: LIST_BATCH });
}

/** Words are Alluxio's. */
function checkFreeable({ path, inode }: Listed, isForced: boolean): void {
  if (inode.kind === "directory") return;
  if (inode.persistence !== "PERSISTED")
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `Cannot free file ${path} which is not persisted`,
      `What workers hold is all that there is of it: persist it first, with fs persist ${path}`,
    );
  if (inode.isPinned && !isForced)
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `Cannot free file ${path} which is pinned. Please unpin it first or set the "forced" flag of free operation to true`,
      `fs unpin ${path}, or fs free -f ${path}`,
    );
}

/**
 * Has workers drop the blocks of every file at and below a path. Looks first: when one may not be freed, none is.
 * @param parts `unpin` makes pinned files evictable; called only when `isForced`
 * @returns files that were freed
 * @throws RockpoolError FAILED_PRECONDITION for a file that is not persisted, or pinned and not `isForced`
 */
export async function freeTree(
  tree: Tree,
  options: { readonly isRecursive: boolean; readonly isForced: boolean },
  parts: {
    readonly blocks: BlockLocations;
    readonly unpin: (ids: readonly InodeId[]) => Promise<void>;
  },
): Promise<number> {
  const { path, inode } = tree;
  if (inode.kind === "directory" && inode.childCount > 0 && !options.isRecursive)
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `Cannot free directory ${path} which is not empty. Please set the "recursive" flag of free operation to true`,
    );
  for await (const batch of everything(tree))
    for (const one of batch) checkFreeable(one, options.isForced);
  let count = 0;
  for await (const batch of everything(tree)) {
    // Written since the first look: it is the next call's.
    const files = batch.flatMap(({ inode: one }) =>
      isFreeable(one, options.isForced) ? [one] : [],
    );
    const pinned = files.filter(({ isPinned }) => isPinned);
    if (pinned.length > 0) await parts.unpin(pinned.map(({ id }) => id));
    for (const file of files) parts.blocks.blocksRemoved(blockIdsOf(file));
    count += files.length;
  }
  return count;
}

function isFreeable(inode: Inode, isForced: boolean): inode is FileInode {
  if (inode.kind !== "file" || inode.persistence !== "PERSISTED") return false;
  return isForced || !inode.isPinned;
}

export type ConsistencyParts = {
  readonly mounts: () => MountTable;
  readonly ufs: UfsRegistry;
  /** Resolves when no change waits for the under store there. */
  readonly whenClear: (ufsPaths: readonly string[]) => Promise<void>;
  /** What the path's inode is by now; null when it is gone. */
  readonly current: (id: InodeId) => Listed | null;
};

/** Places of the under store that are looked at together. */
const LOOKS_AT_ONCE = 16;

/**
 * The paths at and below one that are not in the under store as they are here: a persisted file with its length, a
 * persisted directory, and nothing where the path is not persisted.
 * @param limit paths after which the search ends
 */
export async function inconsistentPaths(
  tree: Tree,
  parts: ConsistencyParts,
  limit: number,
): Promise<readonly Path[]> {
  const found: Path[] = [];
  for await (const batch of everything(tree))
    for (let at = 0; at < batch.length && found.length < limit; at += LOOKS_AT_ONCE) {
      const some = batch.slice(at, at + LOOKS_AT_ONCE);
      const differ = await Promise.all(some.map((one) => isDifferent(one, parts)));
      for (const [place, { path }] of some.entries()) if (differ[place]) found.push(path);
    }
  return found.slice(0, limit);
}

async function isDifferent(listed: Listed, parts: ConsistencyParts): Promise<boolean> {
  if (await isAsStored(listed, parts)) return false;
  // What is on its way to the under store is no difference, and what changed meanwhile is looked at as it is now.
  await parts.whenClear([parts.mounts().resolve(listed.path).ufsPath]);
  const now = parts.current(listed.inode.id);
  return now !== null && !(await isAsStored(now, parts));
}

async function isAsStored({ path, inode }: Listed, parts: ConsistencyParts): Promise<boolean> {
  const { mount, ufsPath } = parts.mounts().resolve(path);
  const stored = await parts.ufs(mount.ufsUri).status(pathWithinStore(ufsPath));
  if (inode.kind === "directory") return inode.isInUfs === (stored?.isDirectory ?? false);
  if (inode.persistence !== "PERSISTED") return stored === null;
  return stored !== null && !stored.isDirectory && stored.lengthBytes === inode.lengthBytes;
}
