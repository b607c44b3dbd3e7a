/**
 * A worker's web port: Alluxio's REST interface by its paths and field names, what the pages of the UI ask for, and the small
 * answers for scripts. `/healthz`: 200 while a master knows it, so that clients are sent here; else 503.
 * @module
 */
import { formatSize } from "../common/units.ts";
import type { CachedFile, StatusDocument } from "./api_types.ts";
import {
  apiJson,
  commonReply,
  errorReply,
  leaderReply,
  pageOf,
  rawConfiguration,
} from "./common_api.ts";
import { json, type WebHandler, type WebReply, type WebRequest } from "./server.ts";
import { dateText, percentOf, sumOf } from "./shapes.ts";
import type { WorkerSource } from "./sources.ts";

const API = "/api/v1/worker/";

function overview(source: WorkerSource): WebReply {
  const status = source.status();
  return apiJson({
    workerInfo: { workerAddress: status.rpc, startTime: dateText(status.startedMs) },
    capacityBytes: formatSize(sumOf(status.tiers, "capacityBytes")),
    usedBytes: formatSize(sumOf(status.tiers, "usedBytes")),
    usageOnTiers: status.tiers.map(({ alias, capacityBytes, usedBytes }) => ({
      tierAlias: alias,
      capacityBytes,
      usedBytes,
    })),
    blockCount: String(status.blockCount),
    storageDirs: status.directories.map(({ alias, path, capacityBytes, usedBytes }) => ({
      tierAlias: alias,
      dirPath: path,
      capacityBytes,
      usedBytes,
    })),
    version: status.version,
    revision: "",
  });
}

function info(source: WorkerSource): WebReply {
  const status = source.status();
  const { counters } = source.metrics.json();
  return apiJson({
    capacity: {
      total: sumOf(status.tiers, "capacityBytes"),
      used: sumOf(status.tiers, "usedBytes"),
    },
    configuration: rawConfiguration(source),
    metrics: Object.fromEntries(Object.entries(counters).map(([name, { count }]) => [name, count])),
    rpcAddress: status.rpc,
    startTimeMs: status.startedMs,
    tierCapacity: Object.fromEntries(
      status.tiers.map(({ alias, capacityBytes, usedBytes }) => [
        alias,
        { total: capacityBytes, used: usedBytes },
      ]),
    ),
    tierPaths: Object.fromEntries(
      status.tiers.map(({ alias }) => [
        alias,
        status.directories.filter((each) => each.alias === alias).map(({ path }) => path),
      ]),
    ),
    uptimeMs: status.uptimeMs,
    version: status.version,
    revision: "",
  });
}

function init(source: WorkerSource): WebReply {
  const { refreshMs, hasFileInfo } = source.settings();
  const { masterWeb } = source.status();
  return apiJson({
    debug: source.isDebug,
    webFileInfoEnabled: hasFileInfo,
    securityAuthorizationPermissionEnabled: true,
    masterHostname: masterWeb?.host ?? "",
    masterPort: masterWeb?.port ?? 0,
    refreshInterval: refreshMs,
  });
}

function metrics(source: WorkerSource): WebReply {
  const { tiers } = source.status();
  const used = percentOf(sumOf(tiers, "usedBytes"), sumOf(tiers, "capacityBytes"));
  const { counters } = source.metrics.json();
  return apiJson({
    workerCapacityUsedPercentage: used,
    workerCapacityFreePercentage: 100 - used,
    operationMetrics: Object.fromEntries(
      Object.entries(counters).map(([name, value]) => [name.replace(/^Worker\./, ""), value]),
    ),
  });
}

function blockShape(block: { readonly id: string; readonly lengthBytes: number }, alias: string) {
  return {
    id: BigInt(block.id),
    blockLength: block.lengthBytes,
    lastAccessTimeMs: -1,
    locations: [],
    isInHighestTier: alias === "MEM",
  };
}

function cachedShape(file: CachedFile, alias: string) {
  const sizeBytes = file.blocks.reduce((sum, block) => sum + block.lengthBytes, 0);
  return {
    id: BigInt(file.id),
    absolutePath: file.path ?? "",
    name: file.path?.slice(file.path.lastIndexOf("/") + 1) ?? "",
    size: formatSize(sizeBytes),
    blocksOnTier: { [alias]: file.blocks.map((block) => blockShape(block, alias)) },
    blockIds: file.blocks.map(({ id }) => BigInt(id)),
    // Ours: of this file, here.
    lengthBytes: sizeBytes,
  };
}

async function blockInfo({ query }: WebRequest, source: WorkerSource): Promise<WebReply> {
  if (!source.settings().hasFileInfo) return apiJson({});
  const { offset, limit } = pageOf(query);
  const page = await source.cached(offset, limit);
  const aliases = source.status().tiers.map(({ alias }) => alias);
  return apiJson({
    fatalError: "",
    invalidPathError: "",
    ntotalFile: page.total,
    orderedTierAliases: aliases,
    fileInfos: page.entries.map((file) => cachedShape(file, aliases[0] ?? "")),
    fileBlocksOnTier: [],
    blockSizeBytes: null,
    path: null,
  });
}

async function statusDocument(source: WorkerSource): Promise<WebReply> {
  const worker = source.status();
  const document: StatusDocument = {
    kind: "worker",
    settings: source.settings(),
    nowMs: worker.startedMs + worker.uptimeMs,
    worker,
    leader: await source.leader(),
  };
  return apiJson(document);
}

function health(source: WorkerSource): WebReply {
  const { isRegistered } = source.status();
  const status = isRegistered ? "ok" : "unavailable";
  return json({ status, role: "worker", isRegistered }, isRegistered ? 200 : 503);
}

async function reply(request: WebRequest, source: WorkerSource): Promise<WebReply | null> {
  if (request.method === "GET")
    switch (request.path) {
      case "/healthz":
        return health(source);
      case "/leader":
        return leaderReply(await source.leader());
      case "/api/v1/rockpool/status":
        return statusDocument(source);
      case `${API}info`:
        return info(source);
      case `${API}operations`: {
        const { activeReads, activeWrites } = source.status();
        return apiJson({ operationCount: activeReads + activeWrites });
      }
      case `${API}webui_init`:
        return init(source);
      case `${API}webui_overview`:
        return overview(source);
      case `${API}webui_metrics`:
        return metrics(source);
      case `${API}webui_blockinfo`:
        return blockInfo(request, source);
      default:
    }
  return commonReply(request, source, "worker");
}

export function workerHandler(source: WorkerSource): WebHandler {
  return async (request) => {
    try {
      return await reply(request, source);
    } catch (error) {
      const failed = errorReply(error, null);
      if (failed === null) throw error;
      return failed;
    }
  };
}
