/**
 * What the web port asks of the process behind it. Each is asked anew for every request.
 * @module
 */
import type { Readable } from "node:stream";
import type { ConfigurationEntry } from "../conf/configuration.ts";
import type { LevelControl } from "../telemetry/logger.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type {
  CachedFile,
  FileEntry,
  Leader,
  MasterStatus,
  PageSettings,
  WorkerStatus,
} from "./api_types.ts";
import type { ActionGuard } from "./guard.ts";
import type { LogFiles } from "./log_files.ts";
import type { StaticFiles } from "./static_files.ts";

export type Page<T> = { readonly entries: readonly T[]; readonly total: number };

/** The namespace, as the user who runs the masters. @throws RockpoolError UNAVAILABLE unless this master leads */
export interface FileBrowser {
  status(path: string): Promise<FileEntry>;
  list(path: string, offset: number, limit: number): Promise<Page<FileEntry>>;
  /** Files of which every block is cached; `atMs` says when that was so. */
  cached(
    offset: number,
    limit: number,
  ): Promise<Page<FileEntry> & { readonly atMs: number | null }>;
  /** A piece of a file, without caching it. */
  read(path: string, offset: number, lengthBytes: number): Promise<Uint8Array>;
  open(
    path: string,
    offset: number,
    lengthBytes: number | null,
    signal: AbortSignal,
  ): Promise<{ readonly body: Readable; readonly lengthBytes: number }>;
  /** Makes a file; a body that breaks off leaves none. @throws RockpoolError ALREADY_EXISTS */
  create(path: string, body: Readable, signal: AbortSignal): Promise<FileEntry>;
}

export type CommonSource = {
  readonly settings: () => PageSettings;
  readonly isUiEnabled: boolean;
  readonly metrics: Pick<Metrics, "scrape" | "json">;
  readonly configuration: () => readonly ConfigurationEntry[];
  readonly levels: LevelControl;
  readonly logs: LogFiles;
  readonly statics: StaticFiles;
  readonly guard: ActionGuard;
  /** Web addresses of all masters. */
  readonly peers: () => readonly string[];
  /** Somebody changed something over the web port. */
  readonly onAction: (
    action: string,
    peer: string,
    facts: Readonly<Record<string, unknown>>,
  ) => void;
  readonly isDebug: boolean;
};

export type MasterSource = CommonSource & {
  readonly status: () => MasterStatus;
  readonly files: FileBrowser;
  /** Hands leadership to the member with that journal address. */
  readonly elect: (address: string) => Promise<void>;
  /** Fields of Alluxio's report on how the configurations of all processes fit. */
  readonly configCheck: () => Readonly<Record<string, unknown>>;
};

export type WorkerSource = CommonSource & {
  readonly status: () => WorkerStatus;
  readonly leader: () => Promise<Leader | null>;
  /** Files of which this worker has blocks, in order of their ids. */
  readonly cached: (offset: number, limit: number) => Promise<Page<CachedFile>>;
};
