/**
 * What the masters say about a file or directory, in this library's own words.
 * @module
 */
import type {
  FileFacts,
  TtlAction as MasterTtlAction,
  MountPointFacts,
  WorkerNetAddress,
} from "../common/file_facts.ts";

export type BlockLocation = {
  readonly workerId: bigint;
  readonly address: WorkerNetAddress;
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

/** The masters of this version have the first two. */
export type TtlAction = MasterTtlAction | "DELETE_ALLUXIO";

export type FileStatus = FileFacts & {
  readonly id: bigint;
  readonly path: string;
  readonly isPersisted: boolean;
  readonly isCacheable: boolean;
  readonly ttlAction: TtlAction;
  /** An access list beyond the mode's nine bits exists. */
  readonly hasExtendedAcl: boolean;
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

export type MountPoint = MountPointFacts & {
  readonly path: string;
  readonly properties: ReadonlyMap<string, string>;
};

export type WorkerStatus = {
  readonly id: bigint;
  readonly address: WorkerNetAddress;
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
