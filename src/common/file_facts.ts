/**
 * What masters and clients both say of files, mounts and workers: declared once, since the masters encode it and the
 * client decodes it. Each side adds what only it knows. Pure.
 * @module
 */

export type PersistenceState = "NOT_PERSISTED" | "TO_BE_PERSISTED" | "PERSISTED" | "LOST";

/** What happens to a file whose time is over. */
export type TtlAction = "FREE" | "DELETE";

export type WorkerNetAddress = {
  readonly host: string;
  readonly containerHost: string;
  readonly rpcPort: number;
  readonly dataPort: number;
  readonly webPort: number;
  readonly domainSocketPath: string;
  readonly tiers: readonly { readonly name: string; readonly value: string }[];
};

/** Of a file or directory. */
export type FileFacts = {
  readonly name: string;
  readonly ufsPath: string;
  readonly isDirectory: boolean;
  /** False while a file is being written: its length is not known yet. True for directories. */
  readonly isCompleted: boolean;
  readonly isPinned: boolean;
  readonly isMountPoint: boolean;
  readonly mountId: bigint;
  /** Of a directory: the number of its children. */
  readonly lengthBytes: number;
  /** Positive for files: clients divide by it. 0 for directories. */
  readonly blockSizeBytes: number;
  readonly createdMs: number;
  readonly modifiedMs: number;
  readonly accessedMs: number;
  readonly owner: string;
  readonly group: string;
  /** Posix bits. */
  readonly mode: number;
  /** -1: never. */
  readonly ttlMs: number;
  readonly persistence: PersistenceState;
  readonly replicationMin: number;
  /** -1: no limit. */
  readonly replicationMax: number;
  readonly ufsFingerprint: string;
  /** Share of the bytes that some worker holds, 0 to 100. */
  readonly inAlluxioPercentage: number;
  readonly inMemoryPercentage: number;
};

/** Of a place where an under store is mounted. */
export type MountPointFacts = {
  readonly mountId: bigint;
  readonly ufsUri: string;
  readonly ufsType: string;
  /** -1 when the store does not say. */
  readonly ufsCapacityBytes: number;
  readonly ufsUsedBytes: number;
  readonly isReadOnly: boolean;
  readonly isShared: boolean;
};
