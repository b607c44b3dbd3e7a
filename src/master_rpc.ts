/**
 * A master's RPC port: the services, what they need of the other parts, and who may call them.
 * @module
 */
import { zookeeperServers } from "./conf/cluster.ts";
import { CommonKeys } from "./conf/common_keys.ts";
import { formatHostPort, parseHostPort } from "./conf/key_spec.ts";
import { MasterKeys } from "./conf/master_keys.ts";
import { hasSharedJournal } from "./conf/shared_journal.ts";
import {
  type DaemonContext,
  endOnBug,
  impersonationRules,
  LOGIN_STALE_MS,
  processUser,
} from "./daemon.ts";
import { watched } from "./master/call_watch.ts";
import { pinnedFileIds } from "./master/pinned_files.ts";
import { masterServices } from "./master/services.ts";
import { PROTOCOL_VERSION } from "./master/services_meta.ts";
import type { MasterFacts, MasterServicePorts } from "./master/services_ports.ts";
import type { MasterParts } from "./master_daemon.ts";
import { metricReading } from "./master_metrics.ts";
import type { MasterStatusPage } from "./master_status.ts";
import type { MasterWatch } from "./master_watch.ts";
import { FileSystemMasterClientService } from "./proto/gen/file_system_master.ts";
import { GrpcServer, type GrpcServerOptions } from "./rpc/grpc_server.ts";
import { SaslAuthentication, trustingAuthenticator } from "./rpc/sasl.ts";
import type { RpcServer } from "./rpc/service.ts";
import type { Reading } from "./telemetry/metrics.ts";

/** Clients that vanished without a word are noticed by pings. */
const KEEPALIVE = { timeMs: 30_000, timeoutMs: 10_000 };

function masterFacts(
  context: DaemonContext,
  parts: MasterParts,
  page: MasterStatusPage,
): MasterFacts {
  const { configuration } = context;
  const status = page.status();
  return {
    leaderAddress: status.leader?.rpc ?? "",
    masters: status.members.map(({ rpc, isLeader, isAvailable }) => ({
      host: parseHostPort(rpc)?.host ?? rpc,
      rpcPort: parseHostPort(rpc)?.port ?? 0,
      isLeader,
      isLive: isAvailable,
      version: PROTOCOL_VERSION,
    })),
    rpcPort: configuration.get(MasterKeys.rpcPort),
    webPort: configuration.get(MasterKeys.webPort),
    startedMs: page.startedMs,
    clusterId: parts.state.view.state().clusterId,
    raftAddresses: hasSharedJournal(configuration)
      ? []
      : status.members.map(({ journal }) => journal),
    zookeeperAddresses: zookeeperServers(configuration).map(formatHostPort),
  };
}

function servicePorts(
  context: DaemonContext,
  parts: MasterParts,
  page: MasterStatusPage,
  readings: readonly Reading[],
  watch: MasterWatch,
): MasterServicePorts {
  const { world } = context;
  const { namespace, blocks, principals, state } = parts;
  // What Prometheus counts must not go back, so that clearing is of `report metrics` alone.
  const cleared = new Map<string, number>();
  const since = (reading: Reading) => {
    const now = metricReading(reading);
    if (now.kind !== "counter") return now;
    return { ...now, value: now.value - (cleared.get(reading.name) ?? 0) };
  };
  return {
    fileSystem: namespace.fileSystem,
    blocks,
    isServing: parts.isServing,
    principalOf: ({ user }) => principals.principalOf(user),
    pinnedFileIds: () => pinnedFileIds(state.view),
    configuration: parts.configuration,
    masterFacts: () => masterFacts(context, parts, page),
    journal: parts.admin,
    backups: parts.backups.jobs,
    metrics: () => new Map(readings.map((reading) => [reading.name, since(reading)])),
    workerMetrics: watch.workerMetrics,
    clearMetrics: () => {
      for (const reading of readings) {
        const { kind, value } = metricReading(reading);
        if (kind === "counter") cleared.set(reading.name, value);
      }
    },
    setWorkerStanding: (worker, standing) => parts.control.setStanding(worker, standing),
    nowMs: () => world.clock.wallMs(),
  };
}

/** Ready to listen. */
export function masterRpcServer(
  context: DaemonContext,
  parts: MasterParts,
  page: MasterStatusPage,
  readings: readonly Reading[],
  watch: MasterWatch,
): RpcServer {
  const { configuration, telemetry, world } = context;
  const log = telemetry.listen<Parameters<NonNullable<GrpcServerOptions["onEvent"]>>[0]>("rpc", {
    malformedMessage: "warn",
    handlerFailed: "error",
  });
  const options = {
    messageBytesMax: configuration.get(MasterKeys.maxInboundMessageSize),
    keepalive: KEEPALIVE,
    onCallEnd: (path: string, status: number, tookMs: number) =>
      telemetry.metrics.countCall(path, status, tookMs),
    onEvent: (event: Parameters<typeof log>[0]) => {
      log(event);
      endOnBug(context, event);
    },
  };
  const isSimple = configuration.get(CommonKeys.authenticationType) === "SIMPLE";
  const sasl = new SaslAuthentication({
    impersonation: impersonationRules(configuration),
    groupsOf: (user) => parts.groups.groupsOf(user),
    staleMs: LOGIN_STALE_MS,
    handshakeMs: configuration.get(CommonKeys.authenticationTimeout),
    nowMs: () => world.clock.monotonicMs(),
  });
  const authenticator = isSimple ? sasl : trustingAuthenticator(processUser(configuration));
  const server = new GrpcServer({ ...options, authenticator });
  if (isSimple) server.addService(sasl.table());
  for (const table of masterServices(servicePorts(context, parts, page, readings, watch)))
    server.addService(
      table.name === FileSystemMasterClientService.name ? watched(table, watch.callWatch()) : table,
    );
  return server;
}
