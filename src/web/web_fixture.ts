/**
 * A master and a worker as their web ports see them, for tests.
 * @module
 */
import { tmpdir } from "node:os";
import { Readable } from "node:stream";
import { RockpoolError } from "../common/errors.ts";
import { createLogger } from "../telemetry/logger.ts";
import { createMetrics } from "../telemetry/metrics.ts";
import type { FileEntry, MasterStatus, WorkerStatus } from "./api_types.ts";
import { LogFiles } from "./log_files.ts";
import type { CommonSource, FileBrowser, MasterSource, WorkerSource } from "./sources.ts";
import { StaticFiles } from "./static_files.ts";

export const MASTER: MasterStatus = {
  rpc: "m1:19998",
  version: "2.9.4",
  uptimeMs: 90_061_000,
  startedMs: 1_000_000,
  role: "leader",
  isServing: true,
  leader: { rpc: "m1:19998", web: "m1:19999" },
  clusterId: "c1",
  term: 3,
  lastIndex: 10,
  commitIndex: 10,
  appliedIndex: 9,
  lastGainedMs: 1_000_500,
  lastLostMs: null,
  failover: null,
  checkpoint: { index: 4, timeMs: 1_000_700 },
  checkpointEveryEntries: 1000,
  journalFolder: "/journal",
  journalRoom: { freeBytes: 50, totalBytes: 100 },
  journalWarnings: [],
  members: [
    {
      rpc: "m1:19998",
      web: "m1:19999",
      journal: "m1:19200",
      isSelf: true,
      isLeader: true,
      isVoter: true,
      isAvailable: true,
      matchIndex: 10,
      lagEntries: 0,
    },
    {
      rpc: "m2:19998",
      web: "m2:19999",
      journal: "m2:19200",
      isSelf: false,
      isLeader: false,
      isVoter: true,
      isAvailable: false,
      matchIndex: 7,
      lagEntries: 3,
    },
  ],
  workers: [
    {
      id: "9007199254740993",
      host: "w1",
      rpc: "w1:29999",
      web: "w1:30000",
      state: "live",
      sinceContactMs: 1000,
      startedMs: 1_000_000,
      tiers: [{ alias: "MEM", capacityBytes: 1024 ** 3, usedBytes: 512 * 1024 ** 2 }],
      blockCount: 7,
      version: "2.9.4",
      revision: "r",
    },
  ],
  mounts: [
    {
      path: "/",
      ufsUri: "/store",
      type: "local",
      isReadOnly: false,
      isShared: true,
      capacityBytes: 100,
      usedBytes: 30,
    },
  ],
  rootSpace: { capacityBytes: 100, usedBytes: 30 },
  census: {
    atMs: 5,
    pathCount: 3,
    blockCount: 2,
    lostBlockCount: 0,
    lostFileCount: 0,
    cachedFileCount: 1,
    fileBytes: 8,
  },
  workerRpcPort: 29_999,
};

export const WORKER: WorkerStatus = {
  id: "5",
  rpc: "w1:29999",
  version: "2.9.4",
  uptimeMs: 1,
  startedMs: 0,
  isRegistered: false,
  masters: [{ address: "m1:19998", state: "connecting" }],
  tiers: [{ alias: "MEM", capacityBytes: 100, usedBytes: 10 }],
  directories: [{ alias: "MEM", path: "/ram", capacityBytes: 100, usedBytes: 10 }],
  blockCount: 1,
  activeReads: 1,
  activeWrites: 2,
  masterWeb: { host: "m1", port: 19_999 },
};

export const FILE: FileEntry = {
  id: "16777215",
  name: "a",
  path: "/d/a",
  isDirectory: false,
  lengthBytes: 8,
  blockSizeBytes: 64,
  createdMs: 1,
  modifiedMs: 2,
  owner: "ada",
  group: "staff",
  mode: 0o640,
  persistence: "PERSISTED",
  isPinned: false,
  isCompleted: true,
  isMountPoint: false,
  inAlluxioPercentage: 100,
  ufsPath: "/store/d/a",
  blocks: [
    {
      id: "9007199254740993",
      lengthBytes: 8,
      places: [{ host: "w1", data: "w1:29999", web: "w1:30000", tier: "MEM" }],
    },
  ],
};
const CONTENT = new TextEncoder().encode("12345678");

/** One directory with one file, and what was uploaded. */
export class OneFile implements FileBrowser {
  readonly uploads = new Map<string, string>();

  async status(path: string): Promise<FileEntry> {
    if (path === FILE.path) return FILE;
    if (path === "/" || path === "/d")
      return { ...FILE, name: path.slice(1), path, isDirectory: true };
    throw new RockpoolError("NOT_FOUND", `Path "${path}" does not exist.`);
  }

  async list(_path: string, offset: number, limit: number) {
    return { entries: [FILE].slice(offset, offset + limit), total: 1 };
  }

  async cached() {
    return { entries: [FILE], total: 1, atMs: 5 };
  }

  async read(_path: string, offset: number, lengthBytes: number) {
    return CONTENT.subarray(offset, offset + lengthBytes);
  }

  async open(_path: string, offset: number, lengthBytes: number | null) {
    const bytes = CONTENT.subarray(offset, lengthBytes === null ? undefined : offset + lengthBytes);
    return { body: Readable.from([Buffer.from(bytes)]), lengthBytes: bytes.length };
  }

  async create(path: string, body: Readable): Promise<FileEntry> {
    if (this.uploads.has(path))
      throw new RockpoolError("ALREADY_EXISTS", `Path ${path} exists`, "Choose another name");
    const chunks: Buffer[] = [];
    for await (const chunk of body as AsyncIterable<Buffer>) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString("utf8");
    this.uploads.set(path, text);
    return { ...FILE, path, lengthBytes: text.length };
  }
}

export function commonSource(): CommonSource & { readonly actions: string[] } {
  const actions: string[] = [];
  const clock = { monotonicMs: () => 0, wallMs: () => 0 };
  const { levels } = createLogger({ format: "text", level: "info", clock, fileDescriptor: 2 });
  levels.register("journal");
  return {
    actions,
    settings: () => ({ refreshMs: 2000, hasActions: true, hasFileInfo: true }),
    isUiEnabled: true,
    metrics: createMetrics(),
    configuration: () => [
      { key: "alluxio.home", value: "/opt", source: "ENVIRONMENT", origin: "ALLUXIO_HOME" },
    ],
    levels,
    logs: new LogFiles(tmpdir()),
    statics: new StaticFiles("/nowhere"),
    guard: { isEnabled: true, allowedHosts: () => ["m1"] },
    peers: () => ["m1:19999"],
    onAction: (action) => void actions.push(action),
    isDebug: false,
  };
}

export function masterSource(
  status: Partial<MasterStatus> = {},
  change: Partial<MasterSource> = {},
): MasterSource & { readonly actions: string[]; readonly elected: string[] } {
  const elected: string[] = [];
  return {
    ...commonSource(),
    elected,
    status: () => ({ ...MASTER, ...status }),
    files: new OneFile(),
    elect: async (address) => void elected.push(address),
    configCheck: () => ({ configCheckStatus: "WARN" }),
    ...change,
  };
}

export function workerSource(change: Partial<WorkerSource> = {}): WorkerSource {
  return {
    ...commonSource(),
    status: () => WORKER,
    leader: async () => null,
    cached: async () => ({
      entries: [{ id: "16777215", path: "/d/a", blocks: [{ id: "3", lengthBytes: 8 }] }],
      total: 1,
    }),
    ...change,
  };
}
