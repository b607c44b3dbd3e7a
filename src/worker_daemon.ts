/**
 * A worker, joined: configuration → options, events → log and metrics, status → web port.
 * @module
 */
import { chmodSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { messageOf, RockpoolError } from "./common/errors.ts";
import { masterRpcAddresses, requireOneTier, zookeeperServers } from "./conf/cluster.ts";
import { CommonKeys } from "./conf/common_keys.ts";
import type { Configuration } from "./conf/configuration.ts";
import { MasterKeys } from "./conf/master_keys.ts";
import { reportOf } from "./conf/report.ts";
import { TIER_KEYS, type TierKeys, WorkerKeys } from "./conf/worker_keys.ts";
import {
  type Daemon,
  type DaemonContext,
  endOnBug,
  groupMapping,
  impersonationRules,
  LOGIN_STALE_MS,
  machineName,
  processUser,
  warnOfLoopback,
} from "./daemon.ts";
import { openKernels } from "./kernels/load.ts";
import { arenaBytesOf } from "./kernels/slot_pool.ts";
import { requireOwnPorts } from "./own_ports.ts";
import type { RpcServerEvent } from "./rpc/grpc_server.ts";
import { TEMPORARIES_FOLDER, TemporaryFiles } from "./ufs/temporary_files.ts";
import { UnderStores, underStoreOptions } from "./under_stores.ts";
import type { WebServer } from "./web/server.ts";
import type { TierOptions } from "./worker/block_store.ts";
import type { WorkerEvent } from "./worker/worker_api.ts";
import { createWorker, type WorkerOptions, type WorkerProcess } from "./worker/worker_process.ts";
import { capacityOf, workerReadings } from "./worker_metrics.ts";
import { startWorkerWeb } from "./worker_web.ts";
import { makeFolder } from "./world/folders.ts";
import { followMasters } from "./zookeeper_masters.ts";

/** Chunks on their way at the same time: 64 MiB. More streams wait their turn. */
const SLOT_COUNT = 64;
const STREAM_WINDOW_BYTES = 4 * 1024 * 1024;
const PIN_INTERVAL_MS = 1000;
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
  const groups = groupMapping(configuration, clock);
  return {
    hostname: configuration.get(WorkerKeys.hostname) ?? machineName(configuration),
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
    ...(configuration.get(MasterKeys.zookeeperEnabled)
      ? { follow: (onMasters) => followMasters(configuration, world, onMasters) }
      : {}),
    credentials: isSimple ? { kind: "simple", user } : { kind: "none" },
    authentication: isSimple
      ? {
          kind: "simple",
          impersonation: impersonationRules(configuration),
          groupsOf: (name) => groups.groupsOf(name),
          staleMs: LOGIN_STALE_MS,
          handshakeMs: configuration.get(CommonKeys.authenticationTimeout),
        }
      : { kind: "none", user },
    heartbeatIntervalMs: configuration.get(WorkerKeys.heartbeatInterval),
    blockHeartbeatTimeoutMs: configuration.get(WorkerKeys.heartbeatTimeout),
    pinIntervalMs: PIN_INTERVAL_MS,
    windowBytes: STREAM_WINDOW_BYTES,
    buildVersion: configuration.get(CommonKeys.version),
    buildRevision: BUILD_REVISION,
    vcpuCount: availableParallelism(),
    configuration: reportOf(configuration),
  };
}

/** @throws RockpoolError FAILED_PRECONDITION when the folder is somebody else's */
function setMode(folder: string, configuration: Configuration): void {
  const { dataFolderMode } = WorkerKeys;
  const mode = configuration.get(dataFolderMode);
  if (mode === null) return;
  try {
    chmodSync(folder, mode);
  } catch (error) {
    throw new RockpoolError(
      "UNAVAILABLE",
      `Cannot change the permissions of ${folder}: ${messageOf(error)}`,
      `Take ${dataFolderMode.key} out of the configuration, or give the folder to this user`,
    );
  }
}

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
    const stores = new UnderStores({
      ...underStoreOptions(configuration),
      notes: this.#temporaries,
    });
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
    const { telemetry } = this.#context;
    await this.#prepare();
    if (!(await this.#temporaries.open()))
      throw new RockpoolError(
        "UNAVAILABLE",
        `Another worker uses the same folders: ${this.#options.tiers.flatMap(({ directories }) => directories.map(({ path }) => path)).join(", ")}`,
        `Stop it, or give each worker folders of its own (${TIER_KEYS[0]?.path.key})`,
      );
    void this.#removeLeftovers(); // a store that hangs holds up nobody
    const { rpcPort } = await this.#worker.start();
    const { metrics } = telemetry;
    const registrations = () => metrics.eventCount("worker", "masterRegistered");
    for (const reading of workerReadings(this.#worker, registrations)) metrics.serve(reading);
    this.#web = await startWorkerWeb(this.#context, this.#worker, this.#options.hostname);
    return { rpcPort, webPort: this.#web.port, ...this.#capacity() };
  }

  /** @throws RockpoolError when a port is taken or a folder cannot be made */
  async #prepare(): Promise<void> {
    const { configuration } = this.#context;
    const peers = [...masterRpcAddresses(configuration), ...zookeeperServers(configuration)];
    const masters = peers.map(({ host }) => host);
    const { hostname } = this.#options;
    // In the background: names may take their time.
    void warnOfLoopback(this.#context, hostname, masters, WorkerKeys.hostname.key);
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
      for (const { path } of directories) {
        makeFolder(path, `cached blocks (${key})`, `Set ${key} to folders that this user may make`);
        setMode(path, configuration);
      }
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
    return { capacityBytes: capacityOf(status), blockCount: status.blockCount };
  }
}

export function createWorkerDaemon(context: DaemonContext): Daemon {
  return new WorkerDaemon(context);
}
