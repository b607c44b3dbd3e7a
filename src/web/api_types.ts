/**
 * What the web port shows: plain data that the entry points gather from the parts, and that the pages in the browser read.
 *
 * Pure types: the pages are built from them too. Ids are texts here, since a browser's numbers do not hold them.
 * @module
 */
export type Leader = {
  /** host:port of its RPC port. */
  readonly rpc: string;
  /** host:port of its web port. */
  readonly web: string;
};

export type MemberStatus = {
  readonly rpc: string;
  readonly web: string;
  readonly journal: string;
  readonly isSelf: boolean;
  readonly isLeader: boolean;
  /** A learner catches up, and becomes a voter then. */
  readonly isVoter: boolean;
  readonly isAvailable: boolean;
  /** Last entry that it is known to hold; null when that is not known here. */
  readonly matchIndex: number | null;
  /** Entries it is behind the leader; null when it is not known here. */
  readonly lagEntries: number | null;
};

export type TierStatus = {
  readonly alias: string;
  readonly capacityBytes: number;
  readonly usedBytes: number;
};

export type WorkerSummary = {
  readonly id: string;
  readonly host: string;
  readonly rpc: string;
  readonly web: string;
  readonly state: "live" | "lost" | "decommissioned";
  readonly sinceContactMs: number;
  readonly startedMs: number;
  readonly tiers: readonly TierStatus[];
  readonly blockCount: number;
  readonly version: string;
  readonly revision: string;
};

export type MountSummary = {
  readonly path: string;
  readonly ufsUri: string;
  readonly type: string;
  readonly isReadOnly: boolean;
  readonly isShared: boolean;
  /** -1 when the store does not say. */
  readonly capacityBytes: number;
  readonly usedBytes: number;
};

/** What the pages may do and how often they ask. */
export type PageSettings = {
  readonly refreshMs: number;
  readonly hasActions: boolean;
  readonly hasFileInfo: boolean;
};

export type ProcessStatus = {
  /** host:port by which others call this process. */
  readonly rpc: string;
  readonly version: string;
  readonly uptimeMs: number;
  readonly startedMs: number;
};

/** Where a change of leader spent its time; milliseconds, one after the other. Null: not this master's to tell. */
export type FailoverStatus = {
  readonly term: number;
  readonly fromAddress: string | null;
  readonly toAddress: string | null;
  readonly endedMs: number;
  readonly silenceMs: number | null;
  readonly campaignMs: number | null;
  readonly votesMs: number;
  readonly applyMs: number | null;
  readonly totalMs: number;
};

export type CensusStatus = {
  /** Null while there was none yet. */
  readonly atMs: number | null;
  readonly pathCount: number;
  readonly blockCount: number;
  readonly lostBlockCount: number;
  readonly lostFileCount: number;
  readonly cachedFileCount: number;
  readonly fileBytes: number;
};

export type Room = { readonly freeBytes: number; readonly totalBytes: number };
export type Space = { readonly capacityBytes: number; readonly usedBytes: number };

export type MasterStatus = ProcessStatus & {
  readonly role: "leader" | "candidate" | "follower";
  /** It leads and has applied all that came before. */
  readonly isServing: boolean;
  readonly leader: Leader | null;
  readonly clusterId: string;
  readonly term: number;
  readonly lastIndex: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly lastGainedMs: number | null;
  readonly lastLostMs: number | null;
  readonly failover: FailoverStatus | null;
  readonly checkpoint: { readonly index: number; readonly timeMs: number } | null;
  readonly checkpointEveryEntries: number;
  readonly journalFolder: string;
  readonly journalRoom: Room;
  readonly journalWarnings: readonly string[];
  readonly members: readonly MemberStatus[];
  readonly workers: readonly WorkerSummary[];
  readonly mounts: readonly MountSummary[];
  readonly rootSpace: Space | null;
  readonly census: CensusStatus;
  readonly workerRpcPort: number;
};

export type DirectoryStatus = TierStatus & { readonly path: string };

export type MasterLinkStatus = { readonly address: string; readonly state: string };

export type WorkerStatus = ProcessStatus & {
  readonly id: string;
  /** A master knows it, so that clients are sent here. */
  readonly isRegistered: boolean;
  readonly masters: readonly MasterLinkStatus[];
  readonly tiers: readonly TierStatus[];
  readonly directories: readonly DirectoryStatus[];
  readonly blockCount: number;
  readonly activeReads: number;
  readonly activeWrites: number;
  /** Host and port of the first master's web port. */
  readonly masterWeb: { readonly host: string; readonly port: number } | null;
};

/** What an open page asks for again and again: `/api/v1/rockpool/status`. */
export type StatusDocument = { readonly settings: PageSettings; readonly nowMs: number } & (
  | { readonly kind: "master"; readonly master: MasterStatus }
  | { readonly kind: "worker"; readonly worker: WorkerStatus; readonly leader: Leader | null }
);

export type BlockEntry = {
  readonly id: string;
  readonly lengthBytes: number;
  readonly places: readonly {
    readonly host: string;
    /** host:port of the worker's data and web ports. */
    readonly data: string;
    readonly web: string;
    readonly tier: string;
  }[];
};

export type FileEntry = {
  readonly id: string;
  readonly name: string;
  readonly path: string;
  readonly isDirectory: boolean;
  /** Of a directory: the number of its children. */
  readonly lengthBytes: number;
  readonly blockSizeBytes: number;
  readonly createdMs: number;
  readonly modifiedMs: number;
  readonly owner: string;
  readonly group: string;
  /** Posix bits. */
  readonly mode: number;
  readonly persistence: string;
  readonly isPinned: boolean;
  readonly isCompleted: boolean;
  readonly isMountPoint: boolean;
  readonly inAlluxioPercentage: number;
  readonly ufsPath: string;
  readonly blocks: readonly BlockEntry[];
};

/** A file of which this worker has blocks; `path` is null when no master could be asked. */
export type CachedFile = {
  readonly id: string;
  readonly path: string | null;
  readonly blocks: readonly { readonly id: string; readonly lengthBytes: number }[];
};

export type LogLevels = Readonly<Record<string, string>>;

/** What a page is told when only the leader could answer. */
export type NeedsLeader = { readonly error: string; readonly leader: Leader | null };
