/**
 * A master's RPC port: the services, what they need of the other parts, and who may call them.
 * @module
 */
import { CommonKeys } from "./conf/common_keys.ts";
import type { Configuration } from "./conf/configuration.ts";
import { parseHostPort } from "./conf/key_spec.ts";
import { MasterKeys } from "./conf/master_keys.ts";
import { UserKeys } from "./conf/user_keys.ts";
import {
  type DaemonContext,
  endOnBug,
  impersonationRules,
  LOGIN_STALE_MS,
  processUser,
} from "./daemon.ts";
import { pinnedFileIds } from "./master/pinned_files.ts";
import { masterServices } from "./master/services.ts";
import { PROTOCOL_VERSION } from "./master/services_meta.ts";
import type { MasterFacts, MasterServicePorts } from "./master/services_ports.ts";
import type { MasterParts } from "./master_daemon.ts";
import type { MasterStatusPage } from "./master_status.ts";
import { GrpcServer, type GrpcServerOptions } from "./rpc/grpc_server.ts";
import { SaslAuthentication, trustingAuthenticator } from "./rpc/sasl.ts";
import type { RpcServer } from "./rpc/service.ts";
import type { Reading } from "./telemetry/metrics.ts";

/** Clients that vanished without a word are noticed by pings. */
const KEEPALIVE = { timeMs: 30_000, timeoutMs: 10_000 };

/**
 * What clients are told to use unless they, or the site file of the masters, say otherwise: they find a new
 * leader sooner. An unmodified client asks one master after the other, each for up to 30 s, and pauses up to 3 s.
 */
const CLIENT_ADVICE: readonly (readonly [string, string])[] = [
  [UserKeys.masterPollingConcurrent.key, "true"],
  [UserKeys.masterPollingTimeout.key, "3s"],
  [UserKeys.rpcRetryMaxSleep.key, "500ms"],
  ["alluxio.user.network.rpc.keepalive.time", "5s"],
  ["alluxio.user.network.rpc.keepalive.timeout", "5s"],
];

/** The same on all masters: only what their site files say alike for clients. */
function clusterDefaults(configuration: Configuration): ReadonlyMap<string, string> {
  const defaults = new Map(CLIENT_ADVICE);
  const keys = [...Object.values(UserKeys), CommonKeys.umask, CommonKeys.permissionEnabled];
  const names = new Set([...keys.map(({ key }) => key), ...defaults.keys()]);
  for (const name of names) {
    const text = configuration.source(name) === "DEFAULT" ? null : configuration.text(name);
    if (text !== null) defaults.set(name, text);
  }
  return defaults;
}

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
    raftAddresses: status.members.map(({ journal }) => journal),
    zookeeperAddresses: [],
  };
}

function servicePorts(
  context: DaemonContext,
  parts: MasterParts,
  page: MasterStatusPage,
  readings: readonly Reading[],
): MasterServicePorts {
  const { configuration, world } = context;
  const { namespace, blocks, principals, state } = parts;
  return {
    fileSystem: namespace.fileSystem,
    blocks,
    isServing: parts.isServing,
    principalOf: ({ user }) => principals.principalOf(user),
    pinnedFileIds: () => pinnedFileIds(state.view),
    clusterDefaults: clusterDefaults(configuration),
    masterFacts: () => masterFacts(context, parts, page),
    journal: parts.admin,
    backups: parts.backups.jobs,
    metrics: () => new Map(readings.map(({ name, kind, read }) => [name, { kind, value: read() }])),
    clearMetrics: () => {}, // what Prometheus counts must not go back
    nowMs: () => world.clock.wallMs(),
  };
}

/** Ready to listen. */
export function masterRpcServer(
  context: DaemonContext,
  parts: MasterParts,
  page: MasterStatusPage,
  readings: readonly Reading[],
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
    nowMs: () => world.clock.monotonicMs(),
  });
  const authenticator = isSimple ? sasl : trustingAuthenticator(processUser(configuration));
  const server = new GrpcServer({ ...options, authenticator });
  if (isSimple) server.addService(sasl.table());
  for (const table of masterServices(servicePorts(context, parts, page, readings)))
    server.addService(table);
  return server;
}
