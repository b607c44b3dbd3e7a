/**
 * A worker's web port, joined: what its pages show, from the parts of the worker.
 * @module
 */
import { isRockpoolError } from "./common/errors.ts";
import { type BlockId, fileIdOfBlock } from "./common/ids.ts";
import { masterWebAddresses } from "./conf/cluster.ts";
import { CommonKeys } from "./conf/common_keys.ts";
import type { Configuration } from "./conf/configuration.ts";
import { formatHostPort, type HostPort, parseHostPort } from "./conf/key_spec.ts";
import { MasterKeys } from "./conf/master_keys.ts";
import { WorkerKeys } from "./conf/worker_keys.ts";
import { type DaemonContext, machineName } from "./daemon.ts";
import { edgeBlockHandler } from "./edge_blocks.ts";
import { commonSource, LazyClient } from "./process_web.ts";
import type { CachedFile, WorkerStatus } from "./web/api_types.ts";
import { askForLeader } from "./web/leader_client.ts";
import { startWebServer, type WebServer } from "./web/server.ts";
import type { Page } from "./web/sources.ts";
import { workerHandler } from "./web/worker_api.ts";
import type { WorkerProcess } from "./worker/worker_process.ts";

/** A page is not worth a longer wait for a master that hangs. */
const ASK_TIMEOUT_MS = 500;
const NAME_TIMEOUT_MS = 2_000;

/** Pages that ask again and again do not make a worker of very many blocks sort them each time. */
const GROUPED_MS = 3_000;

type CachedBlock = { readonly id: BlockId; readonly lengthBytes: number };
type CachedBlocks = readonly [fileId: bigint, blocks: readonly CachedBlock[]];

class WorkerPages {
  readonly #context: DaemonContext;
  readonly #worker: WorkerProcess;
  readonly #hostname: string;
  readonly client: LazyClient;
  #grouped: readonly CachedBlocks[] = [];
  #groupedMs = Number.NEGATIVE_INFINITY;

  constructor(context: DaemonContext, worker: WorkerProcess, hostname: string) {
    this.#context = context;
    this.#worker = worker;
    this.#hostname = hostname;
    this.client = new LazyClient(context.configuration);
  }

  status(): WorkerStatus {
    const { configuration, world } = this.#context;
    const status = this.#worker.status();
    const { startedMs, blockCount, address, tiers, masters, counters } = status;
    const [firstMaster] = masterWebs(configuration, this.#worker);
    const host = address.host ?? this.#hostname;
    return {
      id: status.workerId?.toString() ?? "",
      rpc: formatHostPort({ host, port: address.rpcPort ?? 0 }),
      version: configuration.get(CommonKeys.version),
      startedMs,
      uptimeMs: world.clock.wallMs() - startedMs,
      isRegistered: masters.some(({ state }) => state === "registered"),
      masters: masters.map((master) => ({ address: master.address, state: master.state })),
      tiers: tiers.map(({ tierAlias, capacityBytes, usedBytes }) => ({
        alias: tierAlias,
        capacityBytes,
        usedBytes,
      })),
      directories: tiers.flatMap(({ tierAlias, directories }) =>
        directories.map(({ path, quotaBytes, usedBytes }) => ({
          alias: tierAlias,
          path,
          capacityBytes: quotaBytes,
          usedBytes,
        })),
      ),
      blockCount,
      activeReads: counters.readsActive,
      activeWrites: counters.writesActive,
      masterWeb: firstMaster ?? null,
    };
  }

  /** Blocks by their files, in order of the ids. */
  #blocksByFile(): readonly CachedBlocks[] {
    const nowMs = this.#context.world.clock.monotonicMs();
    if (nowMs - this.#groupedMs < GROUPED_MS) return this.#grouped;
    const byFile = new Map<bigint, CachedBlock[]>();
    for (const block of this.#worker.blocks()) {
      const fileId = fileIdOfBlock(block.id);
      const known = byFile.get(fileId);
      if (known === undefined) byFile.set(fileId, [block]);
      else known.push(block);
    }
    this.#grouped = [...byFile].sort(([a], [b]) => (a < b ? -1 : 1));
    this.#groupedMs = nowMs;
    return this.#grouped;
  }

  async cached(offset: number, limit: number): Promise<Page<CachedFile>> {
    const files = this.#blocksByFile();
    const signal = AbortSignal.timeout(NAME_TIMEOUT_MS);
    const entries = await Promise.all(
      files.slice(offset, offset + limit).map(async ([fileId, blocks]) => ({
        id: fileId.toString(),
        path: await this.#pathOf(fileId, signal),
        blocks: blocks.map(({ id, lengthBytes }) => ({ id: id.toString(), lengthBytes })),
      })),
    );
    return { entries, total: files.length };
  }

  async #pathOf(fileId: bigint, signal: AbortSignal): Promise<string | null> {
    try {
      return await (await this.client.get()).pathOf(fileId, { signal });
    } catch (error) {
      if (isRockpoolError(error)) return null; // removed meanwhile, or no master answers
      throw error;
    }
  }
}

/** Of ZooKeeper's masters the hosts are known alone: then their port is as here. */
function masterWebs(configuration: Configuration, worker: WorkerProcess): readonly HostPort[] {
  const listed = masterWebAddresses(configuration);
  if (listed.length > 0) return listed;
  const port = configuration.get(MasterKeys.webPort);
  return worker
    .status()
    .masters.map(({ address }) => parseHostPort(address))
    .flatMap((address) => (address === null ? [] : [{ host: address.host, port }]));
}

export async function startWorkerWeb(
  context: DaemonContext,
  worker: WorkerProcess,
  hostname: string,
): Promise<WebServer> {
  const { configuration, telemetry } = context;
  const pages = new WorkerPages(context, worker, hostname);
  const edgeBlocks = edgeBlockHandler(context, worker);
  const pagesHandler = workerHandler({
    ...commonSource(context, [machineName(configuration), hostname]),
    peers: () => masterWebs(configuration, worker).map(formatHostPort),
    status: () => pages.status(),
    leader: () => askForLeader(masterWebs(configuration, worker), ASK_TIMEOUT_MS),
    cached: (offset, limit) => pages.cached(offset, limit),
  });
  const server = await startWebServer({
    bindHost: configuration.get(WorkerKeys.webBindHost),
    port: configuration.get(WorkerKeys.webPort),
    handle: async (request) => (await edgeBlocks(request)) ?? pagesHandler(request),
    onError: (path, error) => telemetry.logger.log("error", "web", "page failed", { path, error }),
  });
  return {
    port: server.port,
    async close() {
      await server.close();
      await pages.client.close();
    },
  };
}
