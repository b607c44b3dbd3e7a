/**
 * A worker, joined: configuration → options, events → log and metrics, status → web port.
 * @module
 */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { RockpoolError } from "./common/errors.ts";
import { masterRpcAddresses, masterWebAddresses, requireOneTier } from "./conf/cluster.ts";
import { CommonKeys } from "./conf/common_keys.ts";
import type { Configuration } from "./conf/configuration.ts";
import { formatHostPort } from "./conf/key_spec.ts";
import { TIER_KEYS, type TierKeys, WorkerKeys } from "./conf/worker_keys.ts";
import {
  type Daemon,
  type DaemonContext,
  endOnBug,
  impersonationRules,
  LOGIN_STALE_MS,
  machineName,
  processUser,
} from "./daemon.ts";
import { openKernels } from "./kernels/load.ts";
import { arenaBytesOf } from "./kernels/slot_pool.ts";
import { OsGroupMapping } from "./master/groups.ts";
import { requireOwnPorts } from "./own_ports.ts";
import type { RpcServerEvent } from "./rpc/grpc_server.ts";
import type { Reading } from "./telemetry/metrics.ts";
import { TemporaryFiles } from "./ufs/temporary_files.ts";
import { UnderStores } from "./under_stores.ts";
import { askForLeader } from "./web/leader_client.ts";
import { workerHandler } from "./web/pages.ts";
import { startWebServer, type WebServer } from "./web/server.ts";
import type { WorkerStatus as WebStatus } from "./web/status.ts";
import type { TierOptions } from "./worker/block_store.ts";
import type { WorkerEvent } from "./worker/worker_api.ts";
import {
  createWorker,
  type WorkerOptions,
  type WorkerProcess,
  type WorkerStatus,
} from "./worker/worker_process.ts";
import { makeFolder } from "./world/folders.ts";

/** Chunks on their way at the same time: 64 MiB. More streams wait their turn. */
const SLOT_COUNT = 64;
const STREAM_WINDOW_BYTES = 4 * 1024 * 1024;
const PIN_INTERVAL_MS = 1000;
/** A page is not worth a longer wait for a master that hangs. */
const ASK_TIMEOUT_MS = 500;
/** In the first folder of cached blocks; see ufs/temporary_files.ts. */
const TEMPORARIES_FOLDER = "unfinished";
export const BUILD_REVISION = "rockpool";

function required<T>(value: T | null, key: string): T {
  if (value !== null) return value;
  throw new RockpoolError(
    "INVALID_ARGUMENT",
    `${key} is not set`,
    `Set ${key} for each tier that is used`,
  );
}

function tierOptions(configuration: Configuration, keys: TierKeys): TierOptions {
  const alias = required(configuration.get(keys.alias), keys.alias.key);
  const paths = required(configuration.get(keys.path), keys.path.key);
  const quotas = required(configuration.get(keys.quota), keys.quota.key);
  const medium = configuration.get(keys.mediumType)?.[0] ?? alias;
  if (quotas.length !== 1 && quotas.length !== paths.length)
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `${keys.path.key} has ${paths.length} directories and ${keys.quota.key} ${quotas.length} quotas`,
      "Give one quota for all, or one for each directory",
    );
  const folder = configuration.get(WorkerKeys.dataFolder);
  return {
    alias,
    mediumType: medium,
    directories: paths.map((path, at) => ({
      path: join(path, folder),
      quotaBytes: quotas[at] ?? quotas[0] ?? 0,
    })),
  };
}

function workerOptions({ configuration, world }: DaemonContext): WorkerOptions {
  requireOneTier(configuration);
  const { clock } = world;
  const isSimple = configuration.get(CommonKeys.authenticationType) === "SIMPLE";
  const user = processUser(configuration);
  const groups = new OsGroupMapping(clock);
  return {
    hostname: configuration.get(WorkerKeys.hostname) ?? machineName(),
    containerHostname: configuration.text("alluxio.worker.container.hostname") ?? "",
    bindHost: configuration.get(WorkerKeys.bindHost),
    rpcPort: configuration.get(WorkerKeys.rpcPort),
    webPort: configuration.get(WorkerKeys.webPort),
    localityTiers: [],
    tiers: TIER_KEYS.slice(0, configuration.get(WorkerKeys.tierLevels)).map((keys) =>
      tierOptions(configuration, keys),
    ),
    isSynced: false,
    masters: masterRpcAddresses(configuration),
    credentials: isSimple ? { kind: "simple", user } : { kind: "none" },
    authentication: isSimple
      ? {
          kind: "simple",
          impersonation: impersonationRules(configuration),
          groupsOf: (name) => groups.groupsOf(name),
          staleMs: LOGIN_STALE_MS,
        }
      : { kind: "none", user },
    heartbeatIntervalMs: configuration.get(WorkerKeys.heartbeatInterval),
    blockHeartbeatTimeoutMs: configuration.get(WorkerKeys.heartbeatTimeout),
    pinIntervalMs: PIN_INTERVAL_MS,
    windowBytes: STREAM_WINDOW_BYTES,
    buildVersion: configuration.get(CommonKeys.version),
    buildRevision: BUILD_REVISION,
    vcpuCount: availableParallelism(),
  };
}

function workerReadings(worker: WorkerProcess): readonly Reading[] {
  const gauges: readonly [string, string, (status: WorkerStatus) => number][] = [
    ["Worker.CapacityTotal", "Bytes that may be cached", (s) => capacity(s)],
    ["Worker.CapacityUsed", "Bytes that are cached", (s) => used(s)],
    ["Worker.CapacityFree", "Bytes of room", (s) => capacity(s) - used(s)],
    ["Worker.BlocksCached", "Blocks that are cached", (s) => s.blockCount],
    ["Worker.ActiveRpcReadCount", "Open reads", (s) => s.counters.readsActive],
    ["Worker.ActiveRpcWriteCount", "Open writes", (s) => s.counters.writesActive],
    ["Worker.FreeSlots", "Chunks of kernel memory that are free", (s) => s.freeSlots],
  ];
  const counters: readonly [string, string, (count: WorkerStatus["counters"]) => number][] = [
    ["Worker.BytesReadCache", "Bytes read from the cache", (c) => c.bytesReadLocal],
    ["Worker.BytesReadPerUfs", "Bytes read from under stores", (c) => c.bytesReadUfs],
    ["Worker.BytesWrittenRemote", "Bytes written to the cache", (c) => c.bytesWritten],
    ["Worker.BytesWrittenPerUfs", "Bytes written to under stores", (c) => c.bytesWrittenUfs],
    ["Worker.CacheBlocksSize", "Bytes fetched to be cached", (c) => c.bytesCached],
    ["Worker.CacheSucceededBlocks", "Blocks fetched to be cached", (c) => c.blocksCached],
    ["Worker.BlocksEvicted", "Blocks evicted", (c) => c.blocksEvicted],
    ["Worker.BlocksQuarantined", "Damaged blocks set aside", (c) => c.blocksQuarantined],
    [
      "Worker.BytesPersisted",
      "Bytes brought to under stores in the background",
      (c) => c.bytesPersisted,
    ],
  ];
  const status = () => worker.status();
  return [
    ...gauges.map(([name, help, read]) => ({
      name,
      help,
      kind: "gauge" as const,
      read: () => read(status()),
    })),
    ...counters.map(([name, help, read]) => ({
      name,
      help,
      kind: "counter" as const,
      read: () => read(status().counters),
    })),
  ];
}

const capacity = (status: WorkerStatus) =>
  status.tiers.reduce((sum, tier) => sum + tier.capacityBytes, 0);
const used = (status: WorkerStatus) => status.tiers.reduce((sum, tier) => sum + tier.usedBytes, 0);

class WorkerDaemon implements Daemon {
  readonly #context: DaemonContext;
  readonly #worker: WorkerProcess;
  readonly #options: WorkerOptions;
  readonly #temporaries: TemporaryFiles;
  #web: WebServer | null = null;

  constructor(context: DaemonContext) {
    this.#context = context;
    const { configuration, telemetry, world } = context;
    this.#options = workerOptions(context);
    const log = telemetry.listen<WorkerEvent | RpcServerEvent>("worker", {
      blockCached: "debug",
      blocksEvicted: "debug",
      filePersisted: "debug",
      malformedMessage: "warn",
      handlerFailed: "error",
      blockQuarantined: "error",
    });
    const flavour = configuration.get(CommonKeys.rockpoolCore);
    const [home] = this.#options.tiers.flatMap(({ directories }) => directories);
    this.#temporaries = new TemporaryFiles(join(home?.path ?? "", TEMPORARIES_FOLDER));
    const stores = new UnderStores(this.#temporaries);
    this.#worker = createWorker(this.#options, {
      kernels: openKernels({ flavour, arenaBytes: arenaBytesOf(SLOT_COUNT) }),
      world,
      ufs: (rootUri) => stores.at(rootUri),
      onCallEnd: (path, status, tookMs) => telemetry.metrics.countCall(path, status, tookMs),
      onEvent: (event) => {
        log(event);
        endOnBug(context, event);
      },
    });
  }

  async start() {
    const { configuration, telemetry } = this.#context;
    await this.#prepare();
    if (await this.#temporaries.open())
      void this.#removeLeftovers(); // a store that hangs holds up nobody
    else telemetry.logger.log("warn", "worker", "another worker uses the same folders", {});
    const { rpcPort } = await this.#worker.start();
    for (const reading of workerReadings(this.#worker)) telemetry.metrics.serve(reading);
    this.#web = await startWebServer({
      bindHost: configuration.get(WorkerKeys.webBindHost),
      port: configuration.get(WorkerKeys.webPort),
      handle: workerHandler({
        status: () => this.#status(),
        leader: () => askForLeader(masterWebAddresses(configuration), ASK_TIMEOUT_MS),
        scrape: () => telemetry.metrics.scrape(),
        isPageEnabled: configuration.get(CommonKeys.webUiEnabled),
      }),
      onError: (path, error) =>
        telemetry.logger.log("error", "web", "page failed", { path, error }),
    });
    return { rpcPort, webPort: this.#web.port, ...this.#capacity() };
  }

  /** @throws RockpoolError when a port is taken or a folder cannot be made */
  async #prepare(): Promise<void> {
    const { configuration } = this.#context;
    const { rpcPort, webPort, bindHost, webBindHost } = WorkerKeys;
    const bound = [
      ["RPC", bindHost, rpcPort],
      ["web", webBindHost, webPort],
    ] as const;
    await requireOwnPorts(
      bound.map(([use, host, port]) => ({
        use,
        key: port.key,
        host: configuration.get(host),
        port: configuration.get(port),
      })),
    );
    const key = TIER_KEYS[0]?.path.key ?? "";
    for (const { directories } of this.#options.tiers)
      for (const { path } of directories)
        makeFolder(path, `cached blocks (${key})`, `Set ${key} to folders that this user may make`);
  }

  /** What a worker on the same folders had begun in the under store when it was killed. */
  async #removeLeftovers(): Promise<void> {
    const { logger } = this.#context.telemetry;
    const { removed, failures } = await this.#temporaries.removeLeftovers();
    if (removed.length > 0)
      logger.log("info", "worker", "removed unfinished files of the under store", { removed });
    if (failures.length > 0)
      logger.log("warn", "worker", "cannot remove unfinished files", { failures });
  }

  async stop(): Promise<void> {
    await this.#worker.stop();
    this.#temporaries.close();
    await this.#web?.close();
  }

  #capacity() {
    const status = this.#worker.status();
    return { capacityBytes: capacity(status), blockCount: status.blockCount };
  }

  #status(): WebStatus {
    const { configuration, world } = this.#context;
    const status = this.#worker.status();
    const { startedMs, blockCount, address, tiers, masters } = status;
    return {
      rpc: formatHostPort({
        host: address.host ?? this.#options.hostname,
        port: address.rpcPort ?? 0,
      }),
      version: configuration.get(CommonKeys.version),
      startedMs,
      uptimeMs: world.clock.wallMs() - startedMs,
      isRegistered: masters.some(({ state }) => state === "registered"),
      tiers: tiers.map(({ tierAlias, capacityBytes, usedBytes }) => ({
        alias: tierAlias,
        capacityBytes,
        usedBytes,
      })),
      blockCount,
    };
  }
}

export function createWorkerDaemon(context: DaemonContext): Daemon {
  return new WorkerDaemon(context);
}
