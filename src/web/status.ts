/**
 * What the web port shows: plain data that the entry point gathers from the parts.
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
  /** Entries it is behind the leader; null when it is not known here. */
  readonly lagEntries: number | null;
};

export type TierStatus = {
  readonly alias: string;
  readonly capacityBytes: number;
  readonly usedBytes: number;
};

export type WorkerSummary = {
  readonly rpc: string;
  readonly web: string;
  readonly isLive: boolean;
  readonly sinceContactMs: number;
  readonly tiers: readonly TierStatus[];
  readonly blockCount: number;
};

export type MountSummary = {
  readonly path: string;
  readonly ufsUri: string;
  readonly type: string;
  readonly isReadOnly: boolean;
};

export type ProcessStatus = {
  /** host:port by which others call this process. */
  readonly rpc: string;
  readonly version: string;
  readonly uptimeMs: number;
  readonly startedMs: number;
};

export type MasterStatus = ProcessStatus & {
  readonly role: "leader" | "candidate" | "follower";
  /** It leads and has applied all that came before. */
  readonly isServing: boolean;
  readonly leader: Leader | null;
  readonly term: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly members: readonly MemberStatus[];
  readonly workers: readonly WorkerSummary[];
  readonly mounts: readonly MountSummary[];
};

export type WorkerStatus = ProcessStatus & {
  /** A master knows it, so that clients are sent here. */
  readonly isRegistered: boolean;
  readonly tiers: readonly TierStatus[];
  readonly blockCount: number;
};

export type Scrape = { readonly text: string; readonly contentType: string };

/** Each is asked anew for every request. */
export type MasterSource = {
  readonly status: () => MasterStatus;
  readonly scrape: () => Promise<Scrape>;
  readonly isPageEnabled: boolean;
};
export type WorkerSource = {
  readonly status: () => WorkerStatus;
  readonly leader: () => Promise<Leader | null>;
  readonly scrape: () => Promise<Scrape>;
  readonly isPageEnabled: boolean;
};
