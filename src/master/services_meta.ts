/**
 * The masters themselves, backups, and metrics.
 * @module
 */
import { unreachable } from "../common/invariant.ts";
import { MetricType } from "../proto/gen/common.ts";
import {
  type BackupPStatusInit,
  BackupState,
  MasterInfoField,
  type MasterInfoInit,
  MetaMasterClientService,
} from "../proto/gen/meta_master.ts";
import { MetricsMasterClientService } from "../proto/gen/metric_master.ts";
import type { ServiceTable } from "../rpc/service.ts";
import type { BackupStatus } from "./backup_jobs.ts";
import { configReport } from "./services_configuration.ts";
import {
  leaderUnary,
  type MasterFacts,
  type MasterServicePorts,
  requireSuperuser,
} from "./services_ports.ts";

export const PROTOCOL_VERSION = "2.9.4";
export function metaClientService(ports: MasterServicePorts): ServiceTable {
  const { methods, name } = MetaMasterClientService;
  return {
    name,
    isAuthenticated: true,
    methods: [
      leaderUnary(ports, methods.GetMasterInfo, ({ filter }) => ({
        masterInfo: masterInfo(ports, filter),
      })),
      leaderUnary(ports, methods.GetConfigReport, () => configReport(ports)),
      leaderUnary(ports, methods.Checkpoint, async (_request, context) => {
        await requireSuperuser(ports, context, "make a checkpoint");
        return { masterHostname: await ports.journal.checkpoint() };
      }),
      leaderUnary(ports, methods.ListProxyStatus, () => ({})),
      leaderUnary(ports, methods.Backup, async ({ targetDirectory, options }, context) => {
        await requireSuperuser(ports, context, "back up the metadata");
        // A backup costs no pause here, so the leader always makes it itself: no option about that changes anything.
        const begun = ports.backups.begin({
          directory:
            targetDirectory === undefined || targetDirectory === "" ? null : targetDirectory,
          isLocal: options?.localFileSystem === true,
        });
        return backupStatus(
          options?.runAsync === true ? begun : await ports.backups.over(begun.id),
        );
      }),
      leaderUnary(ports, methods.GetBackupStatus, ({ backupId = "" }) => {
        const status = ports.backups.status(backupId);
        return status === null ? { backupId, backupState: BackupState.None } : backupStatus(status);
      }),
    ],
  };
}

/** @throws RockpoolError that of a backup which failed: Alluxio would send a serialized Java exception in the message */
function backupStatus(status: BackupStatus): BackupPStatusInit {
  const { id: backupId, host: backupHost, entryCount } = status;
  switch (status.state) {
    case "failed":
      throw status.error;
    case "running":
      return { backupId, backupHost, entryCount, backupState: BackupState.Running };
    case "completed":
      return {
        backupId,
        backupHost,
        entryCount,
        backupState: BackupState.Completed,
        backupUri: status.uri,
      };
    default:
      return unreachable(status);
  }
}

function masterVersions(facts: MasterFacts) {
  return facts.masters.map(({ host, rpcPort, version, isLeader, isLive }) => ({
    addresses: { host, rpcPort },
    version,
    state: isLeader ? "PRIMARY" : isLive ? "STANDBY" : "LOST",
  }));
}

/** What the filter names, or everything without a filter. */
function masterInfo(ports: MasterServicePorts, filter: readonly MasterInfoField[]): MasterInfoInit {
  const facts = ports.masterFacts();
  const wants = (field: MasterInfoField) => filter.length === 0 || filter.includes(field);
  return {
    ...(wants(MasterInfoField.LEADER_MASTER_ADDRESS) && {
      leaderMasterAddress: facts.leaderAddress,
    }),
    ...(wants(MasterInfoField.MASTER_ADDRESSES) && {
      masterAddresses: facts.masters.map(({ host, rpcPort }) => ({ host, rpcPort })),
    }),
    ...(wants(MasterInfoField.RPC_PORT) && { rpcPort: facts.rpcPort }),
    ...(wants(MasterInfoField.SAFE_MODE) && { safeMode: false }),
    ...(wants(MasterInfoField.START_TIME_MS) && { startTimeMs: facts.startedMs }),
    ...(wants(MasterInfoField.UP_TIME_MS) && { upTimeMs: ports.nowMs() - facts.startedMs }),
    ...(wants(MasterInfoField.VERSION) && { version: PROTOCOL_VERSION }),
    ...(wants(MasterInfoField.WEB_PORT) && { webPort: facts.webPort }),
    ...(wants(MasterInfoField.WORKER_ADDRESSES) && {
      workerAddresses: ports.blocks
        .workers()
        .filter(({ isLive, isDecommissioned }) => isLive && !isDecommissioned)
        .map(({ address }) => ({ host: address.host, rpcPort: address.rpcPort })),
    }),
    ...(wants(MasterInfoField.ZOOKEEPER_ADDRESSES) && {
      zookeeperAddresses: facts.zookeeperAddresses,
    }),
    ...(wants(MasterInfoField.CLUSTER_ID) && { clusterId: facts.clusterId }),
    ...(wants(MasterInfoField.RAFT_JOURNAL) && { raftJournal: facts.raftAddresses.length > 0 }),
    ...(wants(MasterInfoField.RAFT_ADDRESSES) && { raftAddress: facts.raftAddresses }),
    ...(wants(MasterInfoField.MASTER_VERSION) && { masterVersions: masterVersions(facts) }),
  };
}

export function metricsService(ports: MasterServicePorts): ServiceTable {
  const { methods, name } = MetricsMasterClientService;
  return {
    name,
    isAuthenticated: true,
    methods: [
      // What clients report of themselves is not kept.
      leaderUnary(ports, methods.MetricsHeartbeat, () => ({})),
      leaderUnary(ports, methods.GetMetrics, () => ({
        metrics: new Map(
          [...ports.metrics()].map(([key, reading]) => [
            key,
            reading.kind === "text"
              ? { stringValue: reading.value, metricType: MetricType.GAUGE }
              : {
                  doubleValue: reading.value,
                  metricType: reading.kind === "counter" ? MetricType.COUNTER : MetricType.GAUGE,
                },
          ]),
        ),
      })),
      leaderUnary(ports, methods.ClearMetrics, () => {
        ports.clearMetrics();
        return {};
      }),
    ],
  };
}
