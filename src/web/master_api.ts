/**
 * A master's web port: Alluxio's REST interface by its paths and field names, what the pages of the UI ask for, and the small
 * answers for scripts.
 *
 * `/healthz`: 200 while the process can do its duty: a leader that serves, a standby that hears a leader; else 503.
 * A standby answers what is about itself, and names the leader for the rest.
 * @module
 */
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import { formatSize } from "../common/units.ts";
import type {
  FileEntry,
  MasterStatus,
  MemberStatus,
  StatusDocument,
  WorkerSummary,
} from "./api_types.ts";
import {
  apiJson,
  attachment,
  commonReply,
  errorReply,
  leaderReply,
  needsLeader,
  numberOf,
  offsetOf,
  PREVIEW_BYTES,
  pageOf,
  rawConfiguration,
} from "./common_api.ts";
import { refusalOf } from "./guard.ts";
import { masterMetrics } from "./metrics_shape.ts";
import {
  json,
  plainText,
  readBody,
  type WebHandler,
  type WebReply,
  type WebRequest,
} from "./server.ts";
import {
  blockShape,
  dateText,
  durationText,
  fileShape,
  joinTiers,
  percentOf,
  sumOf,
  tierShape,
} from "./shapes.ts";
import type { MasterSource } from "./sources.ts";

const API = "/api/v1/master/";
const BODY_BYTES_MAX = 4096;
/** Streams of files at a time, in both directions. */
const STREAMS_MAX = 16;
const UNKNOWN_SIZE = "UNKNOWN";

export function masterCanServe(
  status: Pick<MasterStatus, "role" | "isServing" | "leader">,
): boolean {
  return status.role === "leader" ? status.isServing : status.leader !== null;
}

function health(status: MasterStatus): WebReply {
  const { role, isServing, term, leader } = status;
  const isFit = masterCanServe(status);
  const body = {
    status: isFit ? "ok" : "unavailable",
    role,
    isServing,
    term,
    leader: leader?.rpc ?? null,
  };
  return json(body, isFit ? 200 : 503);
}

const live = (status: MasterStatus) => status.workers.filter(({ state }) => state === "live");

function capacityOf(status: MasterStatus) {
  const tiers = live(status).flatMap((worker) => worker.tiers);
  return {
    tiers,
    capacityBytes: sumOf(tiers, "capacityBytes"),
    usedBytes: sumOf(tiers, "usedBytes"),
  };
}

function overview(source: MasterSource): WebReply {
  const status = source.status();
  const { tiers, capacityBytes, usedBytes } = capacityOf(status);
  const { rootSpace: space, checkpoint } = status;
  const since = status.appliedIndex - (checkpoint?.index ?? 0);
  const isLate = since > 2 * status.checkpointEveryEntries;
  return apiJson({
    debug: source.isDebug,
    masterNodeAddress: status.rpc,
    masterRole: status.role === "leader" ? "PRIMARY" : "STANDBY",
    leaderId: status.members.find(({ isLeader }) => isLeader)?.journal ?? "",
    clusterId: status.clusterId,
    startTime: dateText(status.startedMs),
    uptime: durationText(status.uptimeMs),
    version: status.version,
    revision: "",
    liveWorkerNodes: String(live(status).length),
    capacity: formatSize(capacityBytes),
    usedCapacity: formatSize(usedBytes),
    freeCapacity: formatSize(capacityBytes - usedBytes),
    storageTierInfos: joinTiers(tiers).map(tierShape),
    diskCapacity: space === null ? UNKNOWN_SIZE : formatSize(space.capacityBytes),
    diskUsedCapacity: space === null ? UNKNOWN_SIZE : formatSize(space.usedBytes),
    diskFreeCapacity:
      space === null ? UNKNOWN_SIZE : formatSize(space.capacityBytes - space.usedBytes),
    configCheckStatus: "PASSED",
    configCheckErrors: {},
    configCheckErrorNum: 0,
    configCheckWarns: {},
    configCheckWarnNum: 0,
    ...source.configCheck(),
    journalDiskWarnings: status.journalWarnings,
    journalCheckpointTimeWarning: isLate
      ? `${since} entries were applied since the last checkpoint, which are more than twice ${status.checkpointEveryEntries}`
      : null,
  });
}

function nodeShape(worker: WorkerSummary, nowMs: number) {
  const capacityBytes = sumOf(worker.tiers, "capacityBytes");
  const usedBytes = sumOf(worker.tiers, "usedBytes");
  const usedSpacePercent = percentOf(usedBytes, capacityBytes);
  return {
    workerId: BigInt(worker.id),
    host: worker.host,
    webPort: Number(worker.web.slice(worker.web.lastIndexOf(":") + 1)),
    lastHeartbeat: String(Math.floor(worker.sinceContactMs / 1000)),
    state: { live: "ACTIVE", lost: "LOST", decommissioned: "DECOMMISSIONED" }[worker.state],
    capacity: formatSize(capacityBytes),
    usedMemory: formatSize(usedBytes),
    usedSpacePercent,
    freeSpacePercent: 100 - usedSpacePercent,
    uptimeClockTime: durationText(nowMs - worker.startedMs),
    blockCount: worker.blockCount,
    version: worker.version,
    revision: worker.revision,
    // Ours.
    rpc: worker.rpc,
    web: worker.web,
    capacityBytes,
    usedBytes,
  };
}

function workers(source: MasterSource): WebReply {
  const status = source.status();
  const nowMs = status.startedMs + status.uptimeMs;
  const of = (state: WorkerSummary["state"]) =>
    status.workers.filter((worker) => worker.state === state).map((each) => nodeShape(each, nowMs));
  return apiJson({
    debug: source.isDebug,
    normalNodeInfos: of("live"),
    failedNodeInfos: of("lost"),
    decommissionedNodeInfos: of("decommissioned"),
  });
}

function masterShape(member: MemberStatus, status: MasterStatus) {
  const at = member.rpc.lastIndexOf(":");
  const own = {
    startTime: dateText(status.startedMs),
    gainPrimacyTime: status.lastGainedMs === null ? "" : dateText(status.lastGainedMs),
    losePrimacyTime: status.lastLostMs === null ? "" : dateText(status.lastLostMs),
    lastCheckpointTime: status.checkpoint === null ? "" : dateText(status.checkpoint.timeMs),
    journalEntriesSinceCheckpoint: status.appliedIndex - (status.checkpoint?.index ?? 0),
    version: status.version,
  };
  return {
    address: { host: member.rpc.slice(0, at), rpcPort: Number(member.rpc.slice(at + 1)) },
    lastUpdatedTime: durationText(0),
    // Of others only they themselves know: their own pages say it.
    ...(member.isSelf ? own : {}),
    state: member.isLeader ? "PRIMARY" : member.isAvailable ? "STANDBY" : "LOST",
    web: member.web,
    journal: member.journal,
  };
}

function masters(source: MasterSource): WebReply {
  const status = source.status();
  const leader = status.members.find(({ isLeader }) => isLeader);
  const others = status.members.filter(({ isLeader }) => !isLeader);
  const shapes = (members: readonly MemberStatus[]) =>
    members.map((member) => masterShape(member, status));
  return apiJson({
    debug: source.isDebug,
    leaderMasterInfo: leader === undefined ? null : masterShape(leader, status),
    normalMasterInfos: shapes(others.filter(({ isAvailable }) => isAvailable)),
    failedMasterInfos: shapes(others.filter(({ isAvailable }) => !isAvailable)),
  });
}

function mountTable(source: MasterSource): WebReply {
  const shapes = source.status().mounts.map((mount) => ({
    mountPoint: mount.path,
    ufsUri: mount.ufsUri,
    ufsType: mount.type,
    ufsCapacityBytes: formatSize(mount.capacityBytes),
    ufsUsedBytes: formatSize(mount.usedBytes),
    readOnly: mount.isReadOnly,
    shared: mount.isShared,
    properties: "{}",
  }));
  return apiJson({
    debug: source.isDebug,
    mountPointInfos: Object.fromEntries(shapes.map((shape) => [shape.mountPoint, shape])),
  });
}

function info(source: MasterSource): WebReply {
  const status = source.status();
  const { tiers, capacityBytes, usedBytes } = capacityOf(status);
  const { gauges, counters } = source.metrics.json();
  const numbers = Object.entries({
    ...Object.fromEntries(Object.entries(counters).map(([name, { count }]) => [name, count])),
    ...Object.fromEntries(Object.entries(gauges).map(([name, { value }]) => [name, value])),
  }).filter(([, value]) => typeof value === "number");
  return apiJson({
    capacity: { total: capacityBytes, used: usedBytes },
    configuration: rawConfiguration(source),
    lostWorkers: source
      .status()
      .workers.filter(({ state }) => state === "lost")
      .map((worker) => workerInfo(worker)),
    metrics: Object.fromEntries(numbers),
    mountPoints: Object.fromEntries(
      status.mounts.map((mount) => [
        mount.path,
        {
          ufsUri: mount.ufsUri,
          ufsType: mount.type,
          ufsCapacityBytes: mount.capacityBytes,
          ufsUsedBytes: mount.usedBytes,
          readOnly: mount.isReadOnly,
          shared: mount.isShared,
          properties: {},
        },
      ]),
    ),
    rpcAddress: status.rpc,
    startTimeMs: status.startedMs,
    tierCapacity: Object.fromEntries(
      joinTiers(tiers).map((tier) => [
        tier.alias,
        { total: tier.capacityBytes, used: tier.usedBytes },
      ]),
    ),
    ufsCapacity: {
      total: status.rootSpace?.capacityBytes ?? -1,
      used: status.rootSpace?.usedBytes ?? -1,
    },
    uptimeMs: status.uptimeMs,
    version: status.version,
    workers: live(status).map((worker) => workerInfo(worker)),
  });
}

function workerInfo(worker: WorkerSummary) {
  const rpcPort = Number(worker.rpc.slice(worker.rpc.lastIndexOf(":") + 1));
  const byTier = (field: "capacityBytes" | "usedBytes") =>
    Object.fromEntries(worker.tiers.map((tier) => [tier.alias, tier[field]]));
  return {
    id: BigInt(worker.id),
    address: {
      host: worker.host,
      containerHost: "",
      rpcPort,
      dataPort: rpcPort,
      webPort: Number(worker.web.slice(worker.web.lastIndexOf(":") + 1)),
      domainSocketPath: "",
    },
    lastContactSec: Math.floor(worker.sinceContactMs / 1000),
    state: worker.state === "live" ? "ACTIVE" : "LOST",
    capacityBytes: sumOf(worker.tiers, "capacityBytes"),
    usedBytes: sumOf(worker.tiers, "usedBytes"),
    startTimeMs: worker.startedMs,
    capacityBytesOnTiers: byTier("capacityBytes"),
    usedBytesOnTiers: byTier("usedBytes"),
    blockCount: worker.blockCount,
  };
}

function init(source: MasterSource): WebReply {
  const status = source.status();
  const { refreshMs, hasFileInfo } = source.settings();
  return apiJson({
    debug: source.isDebug,
    newerVersionAvailable: false,
    webFileInfoEnabled: hasFileInfo,
    securityAuthorizationPermissionEnabled: true,
    workerPort: status.workerRpcPort,
    refreshInterval: refreshMs,
    proxyDownloadFileApiUrl: {
      prefix: `http://${status.members.find(({ isSelf }) => isSelf)?.web ?? ""}${API}download?path=`,
      suffix: "",
    },
  });
}

const INVALID_PATH = "Error: Invalid Path";

async function browse({ query }: WebRequest, source: MasterSource): Promise<WebReply> {
  if (!source.settings().hasFileInfo) return apiJson({});
  const path = query.get("path") || "/";
  const common = {
    debug: source.isDebug,
    showPermissions: true,
    masterNodeAddress: source.status().rpc,
    accessControlException: null,
    fileDoesNotExistException: null,
    invalidPathException: null,
    invalidPathError: "",
    fatalError: null,
    currentPath: path,
    highestTierAlias: "MEM",
    viewingOffset: 0,
  };
  try {
    const current = await source.files.status(path);
    const shape = fileShape(current);
    const about = { ...common, currentDirectory: shape, blockSizeBytes: shape["blockSizeBytes"] };
    return apiJson(
      current.isDirectory
        ? { ...about, ...(await directory(current, query, source)) }
        : { ...about, ...(await preview(current, query, source)) },
    );
  } catch (error) {
    if (!isRockpoolError(error) || error.status === "UNAVAILABLE") throw error;
    const { message, status } = error;
    const failure = message.startsWith("Error:")
      ? { fatalError: message }
      : { invalidPathError: status === "NOT_FOUND" ? `${INVALID_PATH} ${message}` : message };
    return apiJson({ ...common, ...failure, fileInfos: [], ntotalFile: 0 });
  }
}

async function directory(current: FileEntry, query: URLSearchParams, source: MasterSource) {
  const { offset, limit } = pageOf(query);
  const names = current.path.split("/").slice(1, -1);
  const above = ["/", ...names.map((_, at) => `/${names.slice(0, at + 1).join("/")}`)];
  const [page, parents] = await Promise.all([
    source.files.list(current.path, offset, limit),
    current.path === "/" ? [] : Promise.all(above.map((path) => source.files.status(path))),
  ]);
  return {
    pathInfos: parents.map(fileShape),
    fileInfos: page.entries.map(fileShape),
    ntotalFile: page.total,
    fileBlocks: null,
    fileData: null,
  };
}

/** A piece of a file as text, and as it is, for those who want to see the bytes. */
async function preview(file: FileEntry, query: URLSearchParams, source: MasterSource) {
  const offset = offsetOf(query, file.lengthBytes);
  const length = Math.min(PREVIEW_BYTES, file.lengthBytes - offset);
  const bytes =
    file.isCompleted && length > 0
      ? await source.files.read(file.path, offset, length)
      : new Uint8Array(0);
  const text = Buffer.from(bytes).toString("utf8");
  return {
    fileData: file.isCompleted ? text : "The requested file is not complete yet.",
    fileDataBase64: Buffer.from(bytes).toString("base64"),
    fileBlocks: file.blocks.map(blockShape),
    viewingOffset: offset,
    fileInfos: null,
    pathInfos: null,
    ntotalFile: 0,
  };
}

async function data({ query }: WebRequest, source: MasterSource): Promise<WebReply> {
  if (!source.settings().hasFileInfo) return apiJson({});
  const { offset, limit } = pageOf(query);
  const { entries, total, atMs } = await source.files.cached(offset, limit);
  return apiJson({
    masterNodeAddress: source.status().rpc,
    fatalError: "",
    permissionError: null,
    showPermissions: true,
    inAlluxioFileNum: total,
    fileInfos: entries.map(fileShape),
    // Ours: when they were counted.
    atMs,
  });
}

function statusDocument(source: MasterSource): WebReply {
  const master = source.status();
  const document: StatusDocument = {
    kind: "master",
    settings: source.settings(),
    nowMs: master.startedMs + master.uptimeMs,
    master,
  };
  return apiJson(document);
}

class MasterApi {
  readonly #source: MasterSource;
  #streamCount = 0;

  constructor(source: MasterSource) {
    this.#source = source;
  }

  async reply(request: WebRequest): Promise<WebReply | null> {
    const source = this.#source;
    const { path } = request;
    if (path === "/healthz") return health(source.status());
    if (path === "/leader") return leaderReply(source.status().leader);
    const leading = this.#leading(request);
    if (leading !== null) return this.#ofLeader(leading);
    if (request.method === "GET") {
      const own = this.#own(request);
      if (own !== null) return own;
    }
    try {
      return await commonReply(request, source, "master");
    } catch (error) {
      const reply = errorReply(error, null);
      if (reply === null) throw error;
      return reply;
    }
  }

  /** What every master says of itself. */
  #own(request: WebRequest): WebReply | null {
    const source = this.#source;
    switch (request.path) {
      case "/api/v1/rockpool/status":
        return statusDocument(source);
      case `${API}info`:
        return info(source);
      case `${API}webui_init`:
        return init(source);
      case `${API}webui_overview`:
        return overview(source);
      case `${API}webui_workers`:
        return workers(source);
      case `${API}webui_masters`:
        return masters(source);
      case `${API}webui_mounttable`:
        return mountTable(source);
      case `${API}webui_metrics`:
        return apiJson(masterMetrics(source.metrics.json(), source.status()));
      default:
        return null;
    }
  }

  /** What only the leader can do; null for other paths. */
  #leading(request: WebRequest): (() => Promise<WebReply>) | null {
    const source = this.#source;
    switch (request.path) {
      case `${API}webui_browse`:
        return () => browse(request, source);
      case `${API}webui_data`:
        return () => data(request, source);
      case `${API}download`:
        return () => this.#download(request);
      case `${API}upload`:
        return () => this.#upload(request);
      case `${API}elect`:
        return () => this.#elect(request);
      default:
        return null;
    }
  }

  async #ofLeader(answer: () => Promise<WebReply>): Promise<WebReply> {
    const { isServing, leader } = this.#source.status();
    if (!isServing) return needsLeader(leader?.web === undefined ? null : leader);
    try {
      return await answer();
    } catch (error) {
      const now = this.#source.status();
      if (isRockpoolError(error, "UNAVAILABLE") && !now.isServing) return needsLeader(now.leader);
      const reply = errorReply(error, now.leader);
      if (reply === null) throw error;
      return reply;
    }
  }

  async #download({ query, method, signal }: WebRequest): Promise<WebReply> {
    const { files, settings } = this.#source;
    if (method !== "GET") return plainText(405, "Use GET");
    if (!settings().hasFileInfo)
      return plainText(403, "Showing files is off (alluxio.web.file.info.enabled=false)");
    const path = query.get("path") ?? "";
    const offset = Math.max(0, numberOf(query, "offset", 0));
    const length = numberOf(query, "length", -1);
    return this.#streaming(async (ended) => {
      const { body, lengthBytes } = await files.open(
        path,
        offset,
        length < 0 ? null : length,
        signal,
      );
      body.once("close", ended);
      return {
        status: 200,
        contentType: "application/octet-stream",
        body,
        lengthBytes,
        headers: attachment(path.slice(path.lastIndexOf("/") + 1)),
      };
    });
  }

  async #upload(request: WebRequest): Promise<WebReply> {
    const { files, guard, onAction } = this.#source;
    const refusal = refusalOf(request, guard);
    if (refusal !== null) return refusal;
    const path = request.query.get("path") ?? "";
    return this.#streaming(async (ended) => {
      try {
        const made = await files.create(path, request.body, request.signal);
        onAction("upload", request.peer, { path, lengthBytes: made.lengthBytes });
        return apiJson({ path: made.path, lengthBytes: made.lengthBytes });
      } finally {
        ended();
      }
    });
  }

  /** Counts streams; `ended` is called once when one is over. */
  async #streaming(run: (ended: () => void) => Promise<WebReply>): Promise<WebReply> {
    if (this.#streamCount >= STREAMS_MAX)
      throw new RockpoolError(
        "RESOURCE_EXHAUSTED",
        `${STREAMS_MAX} files are on their way over this web port already`,
        "Try again in a while, or use the command line",
      );
    this.#streamCount += 1;
    let isOver = false;
    const ended = () => {
      if (!isOver) this.#streamCount -= 1;
      isOver = true;
    };
    try {
      return await run(ended);
    } catch (error) {
      ended();
      throw error;
    }
  }

  async #elect(request: WebRequest): Promise<WebReply> {
    const { guard, elect, onAction, status } = this.#source;
    const refusal = refusalOf(request, guard);
    if (refusal !== null) return refusal;
    const address = addressIn(await readBody(request.body, BODY_BYTES_MAX));
    onAction("elect", request.peer, { address });
    await elect(address);
    return apiJson({ leader: address, term: status().term });
  }
}

/** @throws RockpoolError INVALID_ARGUMENT unless it is `{"address":"host:port"}` */
function addressIn(text: string): string {
  try {
    const body = JSON.parse(text) as { address?: unknown } | null; // checked right below
    if (typeof body?.address === "string") return body.address;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new RockpoolError(
    "INVALID_ARGUMENT",
    "The body names no member",
    'Send {"address": "host:port"} with the journal address of a master',
  );
}

export function masterHandler(source: MasterSource): WebHandler {
  const api = new MasterApi(source);
  return (request) => api.reply(request);
}
