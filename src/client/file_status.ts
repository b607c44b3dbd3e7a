/**
 * What the masters say about a file or directory, in this library's own words.
 * @module
 */

export type WorkerAddress = {
  readonly host: string;
  readonly containerHost: string;
  readonly rpcPort: number;
  readonly dataPort: number;
  readonly webPort: number;
  readonly domainSocketPath: string;
  readonly tiers: readonly { readonly name: string; readonly value: string }[];
};

export type BlockLocation = {
  readonly workerId: bigint;
  readonly address: WorkerAddress;
  readonly tierAlias: string;
  readonly mediumType: string;
};

export type FileBlock = {
  readonly id: bigint;
  /** Where the block begins in the file. */
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  /** Workers that hold the block now; empty when only the under store (or nobody) has it. */
  readonly locations: readonly BlockLocation[];
};

export type PersistenceState = "NOT_PERSISTED" | "TO_BE_PERSISTED" | "PERSISTED" | "LOST";
export type TtlAction = "DELETE" | "FREE" | "DELETE_ALLUXIO";

export type FileStatus = {
  readonly id: bigint;
  readonly name: string;
  readonly path: string;
  readonly ufsPath: string;
  readonly isDirectory: boolean;
  /** False while a file is being written: its length is not known yet. True for directories. */
  readonly isCompleted: boolean;
  readonly isPinned: boolean;
  readonly isMountPoint: boolean;
  readonly isPersisted: boolean;
  readonly isCacheable: boolean;
  readonly mountId: bigint;
  /** Of a directory: the number of its children. */
  readonly lengthBytes: number;
  readonly blockSizeBytes: number;
  readonly createdMs: number;
  readonly modifiedMs: number;
  readonly accessedMs: number;
  /** -1: never. */
  readonly ttlMs: number;
  readonly ttlAction: TtlAction;
  readonly owner: string;
  readonly group: string;
  /** Posix bits. */
  readonly mode: number;
  /** An access list beyond the mode's nine bits exists. */
  readonly hasExtendedAcl: boolean;
  readonly persistence: PersistenceState;
  readonly replicationMin: number;
  readonly replicationMax: number;
  readonly inAlluxioPercentage: number;
  readonly inMemoryPercentage: number;
  readonly ufsFingerprint: string;
  readonly pinnedMedia: readonly string[];
  readonly xattr: ReadonlyMap<string, Uint8Array>;
  readonly blocks: readonly FileBlock[];
};

/** Where writes store a file's bytes. */
export type WriteType = "MUST_CACHE" | "CACHE_THROUGH" | "THROUGH" | "ASYNC_THROUGH";
/** Whether reading leaves a copy on a worker, and on which tier. */
export type ReadType = "NO_CACHE" | "CACHE" | "CACHE_PROMOTE";

export const WRITE_TYPES: readonly WriteType[] = [
  "MUST_CACHE",
  "CACHE_THROUGH",
  "THROUGH",
  "ASYNC_THROUGH",
];
export const READ_TYPES: readonly ReadType[] = ["CACHE_PROMOTE", "CACHE", "NO_CACHE"];

/** Whether the write type keeps bytes on workers. */
export function storesOnWorkers(writeType: WriteType): boolean {
  return writeType !== "THROUGH";
}

/** Whether the bytes are in the under store when the writer is done. */
export function storesInUfs(writeType: WriteType): boolean {
  return writeType === "CACHE_THROUGH" || writeType === "THROUGH";
}

export type MountPoint = {
  readonly path: string;
  readonly mountId: bigint;
  readonly ufsUri: string;
  readonly ufsType: string;
  /** -1 when the store does not say. */
  readonly ufsCapacityBytes: number;
  readonly ufsUsedBytes: number;
  readonly isReadOnly: boolean;
  readonly isShared: boolean;
  readonly properties: ReadonlyMap<string, string>;
};

export type WorkerStatus = {
  readonly id: bigint;
  readonly address: WorkerAddress;
  readonly isLive: boolean;
  /** The master's own word: LIVE, LOST, … */
  readonly state: string;
  readonly lastContactSeconds: number;
  readonly startedMs: number;
  readonly capacityBytes: number;
  readonly usedBytes: number;
  readonly capacityBytesOnTiers: ReadonlyMap<string, number>;
  readonly usedBytesOnTiers: ReadonlyMap<string, number>;
  readonly version: string;
  readonly revision: string;
  readonly vcpuCount: number;
};

export type ClusterInfo = {
  readonly leaderAddress: string;
  readonly masterAddresses: readonly string[];
  readonly webPort: number;
  readonly rpcPort: number;
  readonly startedMs: number;
  readonly upTimeMs: number;
  readonly version: string;
  readonly isInSafeMode: boolean;
  readonly clusterId: string;
  readonly zookeeperAddresses: readonly string[];
  readonly isRaftJournal: boolean;
  readonly raftAddresses: readonly string[];
  readonly masters: readonly {
    readonly address: string;
    readonly state: string;
    readonly version: string;
  }[];
};
