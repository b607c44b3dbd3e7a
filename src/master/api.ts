/**
 * What the masters offer, in our own words: the services decode into these types and encode out of
 * them, and nothing below the services knows a protobuf message.
 * @module
 */
import type {
  FileFacts,
  MountPointFacts,
  TtlAction,
  WorkerNetAddress,
} from "../common/file_facts.ts";
import type { BlockId, InodeId, WorkerId } from "../common/ids.ts";
import type { Path } from "../common/path.ts";

/** Who acts. Groups and the superuser's rank are looked up on the leader and travel in the journal entry. */
export type Principal = {
  readonly user: string;
  readonly groups: readonly string[];
  readonly isSuperuser: boolean;
};

/** Random 128 bits made once per logical call of a client, and the same in every retry. */
export type OperationId = { readonly high: bigint; readonly low: bigint };

export type Call = {
  readonly principal: Principal;
  readonly operationId: OperationId | null;
  /** Where to add up what the journal and the under store took; left out when nobody wants to know. */
  readonly times?: { queueMs: number; journalMs: number; applyMs: number; underStoreMs: number };
};

export type BlockLocation = {
  readonly workerId: WorkerId;
  readonly workerAddress: WorkerNetAddress;
  readonly tierAlias: string;
  readonly mediumType: string;
};

export type BlockInfo = {
  readonly blockId: BlockId;
  readonly lengthBytes: number;
  readonly locations: readonly BlockLocation[];
};

export type FileInfo = FileFacts & {
  readonly id: InodeId;
  readonly path: Path;
  readonly ttlAction: TtlAction;
  readonly xattr: Readonly<Record<string, Uint8Array>>;
  /** Of files: every block, in order, also those that no worker holds. Of directories: empty. */
  readonly blocks: readonly BlockInfo[];
};

/** Whether the under store is asked for paths that the namespace does not know (or has not listed) yet. */
export type LoadMetadata = "never" | "once" | "always";

export type CreateDirectoryOptions = {
  readonly isRecursive: boolean;
  readonly allowExists: boolean;
  /** Before the umask was applied by the client; the master takes it as it is. */
  readonly mode: number;
  /** Make it in the under store too, before the call returns (the *_THROUGH write types). */
  readonly isPersisted: boolean;
  readonly ttlMs: number;
  readonly ttlAction: TtlAction;
  readonly xattr: Readonly<Record<string, Uint8Array>>;
};

export type CreateFileOptions = {
  readonly isRecursive: boolean;
  readonly isOverwrite: boolean;
  readonly blockSizeBytes: number;
  readonly mode: number;
  readonly replicationMin: number;
  readonly replicationMax: number;
  readonly ttlMs: number;
  readonly ttlAction: TtlAction;
  readonly xattr: Readonly<Record<string, Uint8Array>>;
};

export type CompleteFileOptions = {
  /** Set when the client wrote the bytes to the under store itself: the file is then PERSISTED with this length. */
  readonly ufsLengthBytes: number | null;
  /** ASYNC_THROUGH: journal the intent to persist; a worker does it. */
  readonly isAsyncPersist: boolean;
  readonly contentHash: string;
};

export type RemoveOptions = {
  readonly isRecursive: boolean;
  /** Forget it here, leave the under store alone. */
  readonly isAlluxioOnly: boolean;
};

/** Null: leave as it is. */
export type SetAttributeOptions = {
  readonly isRecursive: boolean;
  readonly owner: string | null;
  readonly group: string | null;
  readonly mode: number | null;
  readonly isPinned: boolean | null;
  readonly isPersisted: boolean | null;
  readonly replicationMin: number | null;
  readonly replicationMax: number | null;
  readonly ttlMs: number | null;
  readonly ttlAction: TtlAction | null;
};

export type ListOptions = { readonly isRecursive: boolean; readonly loadMetadata: LoadMetadata };

/** Where a page of a listing begins. */
export type ListOffset =
  | { readonly kind: "start" }
  | { readonly kind: "afterName"; readonly name: string }
  | { readonly kind: "afterId"; readonly id: InodeId }
  | { readonly kind: "skip"; readonly count: number };

export type ListPage = {
  readonly fileInfos: readonly FileInfo[];
  readonly isTruncated: boolean;
  /** Entries of the directory in all; -1 when it was not counted (recursive). */
  readonly fileCount: number;
};

export type MountPoint = MountPointFacts & { readonly path: Path };

/**
 * The namespace. Every call is refused with UNAVAILABLE unless this master serves; reads are
 * linearizable (they pass a read barrier); changes return after commit and apply.
 * Statuses: NOT_FOUND, ALREADY_EXISTS, INVALID_ARGUMENT, FAILED_PRECONDITION (directory not empty),
 * PERMISSION_DENIED. Messages are Alluxio's, since its shell shows them.
 */
export interface FileSystemMaster {
  /** @param accessBits 0, or the bits (4 read, 2 write, 1 execute) that the principal must have on it */
  getStatus(
    call: Call,
    path: Path,
    options: { readonly loadMetadata: LoadMetadata; readonly accessBits: number },
  ): Promise<FileInfo>;
  exists(
    call: Call,
    path: Path,
    options: { readonly loadMetadata: LoadMetadata },
  ): Promise<boolean>;
  checkAccess(call: Call, path: Path, bits: number): Promise<void>;
  /** Batches in path order; a file yields itself; the directory itself is not in its listing. */
  listStatus(call: Call, path: Path, options: ListOptions): AsyncIterable<readonly FileInfo[]>;
  listStatusPartial(
    call: Call,
    path: Path,
    options: ListOptions & {
      readonly offset: ListOffset;
      readonly batchSize: number;
      readonly prefix: string;
    },
  ): Promise<ListPage>;
  createDirectory(call: Call, path: Path, options: CreateDirectoryOptions): Promise<void>;
  createFile(call: Call, path: Path, options: CreateFileOptions): Promise<FileInfo>;
  newBlockId(call: Call, path: Path): Promise<BlockId>;
  completeFile(call: Call, path: Path, options: CompleteFileOptions): Promise<void>;
  remove(call: Call, path: Path, options: RemoveOptions): Promise<void>;
  rename(
    call: Call,
    path: Path,
    dstPath: Path,
    options: { readonly isOverwrite: boolean },
  ): Promise<void>;
  setAttribute(call: Call, path: Path, options: SetAttributeOptions): Promise<void>;
  scheduleAsyncPersistence(call: Call, path: Path): Promise<void>;
  /**
   * Has workers drop the blocks of the files at and below a path, soon. Needs the right to read them.
   * @throws RockpoolError FAILED_PRECONDITION, and nothing is freed, for a file that is not persisted, or pinned and not `isForced`
   */
  free(
    call: Call,
    path: Path,
    options: { readonly isRecursive: boolean; readonly isForced: boolean },
  ): Promise<void>;
  /** Paths at and below one that are not in the under store as they are here. */
  checkConsistency(call: Call, path: Path): Promise<readonly Path[]>;
  getFilePath(call: Call, id: InodeId): Promise<Path>;
  mountPoints(call: Call): Promise<readonly MountPoint[]>;
  /** The Alluxio path of a location in an under store. */
  reverseResolve(call: Call, ufsUri: string): Promise<Path>;
}

/** What the block master asks of the namespace: both are part of the replicated state. */
export interface BlockNamespace {
  /** False before the namespace is initialized, and while it is being restored: then what it does not know is no garbage. */
  isReady(): boolean;
  /** Journals a committed block. Idempotent. @throws RockpoolError NOT_FOUND when its file is gone; INVALID_ARGUMENT when its length contradicts what was committed */
  commitBlock(blockId: BlockId, lengthBytes: number): Promise<void>;
  /** Length of a committed block; null when no file has it (then a worker's copy is garbage). */
  blockLength(blockId: BlockId): number | null;
}

export type TierUsage = {
  readonly alias: string;
  readonly capacityBytes: number;
  readonly usedBytes: number;
};

export type WorkerInfo = {
  readonly id: WorkerId;
  readonly address: WorkerNetAddress;
  /** It answers; also when it is decommissioned. */
  readonly isLive: boolean;
  /** What it has is served on, and nothing new is placed there. */
  readonly isDecommissioned: boolean;
  readonly lastContactMs: number;
  readonly startedMs: number;
  readonly tiers: readonly TierUsage[];
  readonly buildVersion: string;
  readonly buildRevision: string;
  readonly vcpuCount: number;
  readonly blockCount: number;
};

/** Soft state, kept on every master from the workers' own reports; never in the journal. */
export interface BlockLocations {
  /** Every live place of a block; empty for none. */
  locationsOf(blockId: BlockId): readonly BlockLocation[];
  /** The namespace dropped these blocks: tell the workers which hold them. */
  blocksRemoved(blockIds: readonly BlockId[]): void;
}

export type HeartbeatReply =
  | { readonly kind: "nothing" }
  /** The master does not know the worker: register again. */
  | { readonly kind: "register" }
  | { readonly kind: "free"; readonly blockIds: readonly BlockId[] };

export type BlocksOnTier = {
  readonly tierAlias: string;
  readonly mediumType: string;
  readonly blockIds: readonly BlockId[];
};

export interface BlockMaster extends BlockLocations {
  /** Stable over leaders and restarts: derived from the address. */
  workerIdOf(address: WorkerNetAddress): WorkerId;
  /** Begins a (re-)registration: what the worker had is forgotten once `finishRegistration` is called. */
  beginRegistration(
    workerId: WorkerId,
    worker: {
      readonly tiers: readonly TierUsage[];
      readonly buildVersion: string;
      readonly buildRevision: string;
      readonly vcpuCount: number;
    },
  ): WorkerRegistration;
  heartbeat(
    workerId: WorkerId,
    report: {
      readonly usedBytesOnTiers: Readonly<Record<string, number>>;
      readonly capacityBytesOnTiers: Readonly<Record<string, number>>;
      readonly added: readonly BlocksOnTier[];
      readonly removed: readonly BlockId[];
    },
  ): HeartbeatReply;
  /** What a registered worker says of itself with each report; of an unknown one it is left out. */
  setStanding(workerId: WorkerId, isDecommissioned: boolean): void;
  /** A worker that is being stopped: its blocks have no place here any more. Of an unknown one nothing is left to do. */
  leave(workerId: WorkerId): void;
  /** A worker made a block durable: journals it, then knows its place. Returns after commit. */
  commitBlock(
    workerId: WorkerId,
    block: {
      readonly blockId: BlockId;
      readonly lengthBytes: number;
      readonly tierAlias: string;
      readonly mediumType: string;
      readonly usedBytesOnTier: number;
    },
  ): Promise<void>;
  commitBlockInUfs(blockId: BlockId, lengthBytes: number): Promise<void>;
  getBlockInfo(blockId: BlockId): Promise<BlockInfo>;
  /** Live ones, then lost ones. */
  workers(): readonly WorkerInfo[];
}

export interface WorkerRegistration {
  addBlocks(blocks: readonly BlocksOnTier[]): void;
  finish(): void;
}
