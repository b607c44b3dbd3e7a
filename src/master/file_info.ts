/**
 * What clients are told of a file or directory, put together from its inode, the mount table and the
 * places of its blocks.
 * @module
 */
import type { Path } from "../common/path.ts";
import type { BlockInfo, BlockLocations, FileInfo } from "./api.ts";
import { blockIdsOf, lengthAt } from "./file_blocks.ts";
import type { FileInode, Inode } from "./inode.ts";
import type { MountTable } from "./mount_table.ts";

const MEMORY_TIER = "MEM";

type Cached = {
  readonly blocks: readonly BlockInfo[];
  readonly inAlluxioPercentage: number;
  readonly inMemoryPercentage: number;
};

const NO_BLOCKS: Cached = { blocks: [], inAlluxioPercentage: 0, inMemoryPercentage: 0 };

function blocksOf(file: FileInode, locations: BlockLocations): Cached {
  let cachedBytes = 0;
  let memoryBytes = 0;
  const blocks = blockIdsOf(file).map((blockId, index): BlockInfo => {
    // While a file is written its length is 0, and so are its blocks'.
    const lengthBytes = file.isCompleted ? lengthAt(file, index) : 0;
    const places = locations.locationsOf(blockId);
    if (places.length > 0) cachedBytes += lengthBytes;
    if (places.some(({ tierAlias }) => tierAlias === MEMORY_TIER)) memoryBytes += lengthBytes;
    return { blockId, lengthBytes, locations: places };
  });
  const total = file.lengthBytes;
  // An empty file is as cached as it can be.
  const share = (bytes: number) => (total === 0 ? 100 : Math.floor((bytes * 100) / total));
  return {
    blocks,
    inAlluxioPercentage: share(cachedBytes),
    inMemoryPercentage: share(memoryBytes),
  };
}

export function fileInfoOf(
  inode: Inode,
  path: Path,
  parts: { readonly mounts: MountTable; readonly blocks: BlockLocations },
): FileInfo {
  const { mount, ufsPath } = parts.mounts.resolve(path);
  const isFile = inode.kind === "file";
  const cached = isFile ? blocksOf(inode, parts.blocks) : NO_BLOCKS;
  return {
    id: inode.id,
    name: inode.name,
    path,
    ufsPath,
    isDirectory: !isFile,
    isCompleted: isFile ? inode.isCompleted : true,
    isPinned: inode.isPinned,
    isMountPoint: parts.mounts.isMountPoint(path),
    mountId: BigInt(mount.mountId),
    // Alluxio's listings show how many children a directory has.
    lengthBytes: isFile ? inode.lengthBytes : inode.childCount,
    blockSizeBytes: isFile ? inode.blockSizeBytes : 0,
    createdMs: inode.createdMs,
    modifiedMs: inode.modifiedMs,
    accessedMs: inode.accessedMs,
    owner: inode.owner,
    group: inode.group,
    mode: inode.mode,
    ttlMs: inode.ttlMs,
    ttlAction: inode.ttlAction,
    persistence: inode.persistence,
    replicationMin: inode.replicationMin,
    replicationMax: inode.replicationMax,
    ufsFingerprint: inode.ufsFingerprint,
    xattr: inode.xattr,
    ...cached,
  };
}
