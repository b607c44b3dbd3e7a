/**
 * Files that workers may not evict.
 * @module
 */
import type { InodeId } from "../common/ids.ts";
import type { NamespaceView } from "./inode_tree.ts";

/** About 8 MB of an answer; workers take 100. */
export const PINNED_FILES_MAX = 1_000_000;

/**
 * Those that only workers have come first, since bytes would be lost with them; then those that users pinned. A file can be
 * named twice.
 */
export function pinnedFileIds(
  view: Pick<NamespaceView, "persistRows" | "pinnedFiles">,
  limit = PINNED_FILES_MAX,
): readonly InodeId[] {
  const unpersisted = view.persistRows(null, limit).map(({ fileId }) => fileId);
  const left = limit - unpersisted.length;
  return left <= 0 ? unpersisted : unpersisted.concat(view.pinnedFiles(null, left));
}
