/**
 * Wire messages into this library's types: the one place where absent fields get their meaning.
 * @module
 */

import type { PersistenceState, WorkerNetAddress } from "../common/file_facts.ts";
import type { WorkerInfo } from "../proto/gen/block_master.ts";
import type {
  NetAddress,
  WorkerNetAddress as WireAddress,
  BlockInfo as WireBlockInfo,
  BlockLocation as WireBlockLocation,
} from "../proto/gen/common.ts";
import { TtlAction as WireTtlAction } from "../proto/gen/common.ts";
import type { FileInfo, MountPointInfo } from "../proto/gen/file_system_master.ts";
import type { MasterInfo } from "../proto/gen/meta_master.ts";
import type {
  BlockLocation,
  ClusterInfo,
  FileBlock,
  FileStatus,
  MountPoint,
  TtlAction,
  WorkerStatus,
} from "./file_status.ts";

const PERSISTENCE: Readonly<Record<string, PersistenceState>> = {
  NOT_PERSISTED: "NOT_PERSISTED",
  TO_BE_PERSISTED: "TO_BE_PERSISTED",
  PERSISTED: "PERSISTED",
  LOST: "LOST",
};

function ttlActionOf(value: number | undefined): TtlAction {
  if (value === WireTtlAction.FREE) return "FREE";
  return value === WireTtlAction.DELETE_ALLUXIO ? "DELETE_ALLUXIO" : "DELETE";
}

export function workerAddressOf(wire: WireAddress | undefined): WorkerNetAddress {
  return {
    host: wire?.host ?? "",
    containerHost: wire?.containerHost ?? "",
    rpcPort: wire?.rpcPort ?? 0,
    dataPort: wire?.dataPort ?? 0,
    webPort: wire?.webPort ?? 0,
    domainSocketPath: wire?.domainSocketPath ?? "",
    tiers: (wire?.tieredIdentity?.tiers ?? []).map((tier) => ({
      name: tier.tierName ?? "",
      value: tier.value ?? "",
    })),
  };
}

function blockLocationOf(wire: WireBlockLocation): BlockLocation {
  return {
    workerId: wire.workerId ?? 0n,
    address: workerAddressOf(wire.workerAddress),
    tierAlias: wire.tierAlias ?? "",
    mediumType: wire.mediumType ?? "",
  };
}

export function blockLocationsOf(wire: WireBlockInfo | undefined): readonly BlockLocation[] {
  return (wire?.locations ?? []).map(blockLocationOf);
}

function blocksOf(wire: FileInfo): readonly FileBlock[] {
  const infos = new Map(
    (wire.fileBlockInfos ?? []).map((info) => [info.blockInfo?.blockId ?? -1n, info]),
  );
  const blockSizeBytes = wire.blockSizeBytes ?? 0;
  return (wire.blockIds ?? []).map((id, index) => {
    const info = infos.get(id);
    return {
      id,
      offsetBytes: info?.offset ?? index * blockSizeBytes,
      lengthBytes: info?.blockInfo?.length ?? 0,
      locations: blockLocationsOf(info?.blockInfo),
    };
  });
}

export function fileStatusOf(wire: FileInfo): FileStatus {
  return {
    id: wire.fileId ?? -1n,
    name: wire.name ?? "",
    path: wire.path ?? "",
    ufsPath: wire.ufsPath ?? "",
    isDirectory: wire.folder ?? false,
    isCompleted: wire.completed ?? false,
    isPinned: wire.pinned ?? false,
    isMountPoint: wire.mountPoint ?? false,
    isPersisted: wire.persisted ?? false,
    isCacheable: wire.cacheable ?? false,
    mountId: wire.mountId ?? 0n,
    lengthBytes: wire.length ?? 0,
    blockSizeBytes: wire.blockSizeBytes ?? 0,
    createdMs: wire.creationTimeMs ?? 0,
    modifiedMs: wire.lastModificationTimeMs ?? 0,
    accessedMs: wire.lastAccessTimeMs ?? 0,
    ttlMs: wire.ttl ?? -1,
    ttlAction: ttlActionOf(wire.ttlAction),
    owner: wire.owner ?? "",
    group: wire.group ?? "",
    mode: wire.mode ?? 0,
    // The mode says what owner, owning group and others may: only what is more than that is sent as entries.
    hasExtendedAcl: (wire.acl?.entries ?? []).length > 0,
    persistence: PERSISTENCE[wire.persistenceState ?? ""] ?? "NOT_PERSISTED",
    replicationMin: wire.replicationMin ?? 0,
    replicationMax: wire.replicationMax ?? -1,
    inAlluxioPercentage: wire.inAlluxioPercentage ?? 0,
    inMemoryPercentage: wire.inMemoryPercentage ?? 0,
    ufsFingerprint: wire.ufsFingerprint ?? "",
    pinnedMedia: wire.mediumType ?? [],
    xattr: wire.xattr ?? new Map(),
    blocks: blocksOf(wire),
  };
}

export function mountPointOf(path: string, wire: MountPointInfo): MountPoint {
  return {
    path,
    mountId: wire.mountId ?? 0n,
    ufsUri: wire.ufsUri ?? "",
    ufsType: wire.ufsType ?? "",
    ufsCapacityBytes: wire.ufsCapacityBytes ?? -1,
    ufsUsedBytes: wire.ufsUsedBytes ?? -1,
    isReadOnly: wire.readOnly ?? false,
    isShared: wire.shared ?? false,
    properties: wire.properties ?? new Map(),
  };
}

export function workerStatusOf(wire: WorkerInfo): WorkerStatus {
  const state = wire.state ?? "";
  return {
    id: wire.id ?? 0n,
    address: workerAddressOf(wire.address),
    isLive: state === "LIVE" || state === "In Service" || state === "ACTIVE" || state === "",
    state,
    lastContactSeconds: wire.lastContactSec ?? 0,
    startedMs: wire.startTimeMs ?? 0,
    capacityBytes: wire.capacityBytes ?? 0,
    usedBytes: wire.usedBytes ?? 0,
    capacityBytesOnTiers: wire.capacityBytesOnTiers ?? new Map(),
    usedBytesOnTiers: wire.usedBytesOnTiers ?? new Map(),
    version: wire.buildVersion?.version ?? "",
    revision: wire.buildVersion?.revision ?? "",
    vcpuCount: wire.numVCpu ?? 0,
  };
}

function addressOf(wire: NetAddress | undefined): string {
  return `${wire?.host ?? ""}:${wire?.rpcPort ?? 0}`;
}

export function clusterInfoOf(wire: MasterInfo): ClusterInfo {
  return {
    leaderAddress: wire.leaderMasterAddress ?? "",
    masterAddresses: (wire.masterAddresses ?? []).map(addressOf),
    webPort: wire.webPort ?? 0,
    rpcPort: wire.rpcPort ?? 0,
    startedMs: wire.startTimeMs ?? 0,
    upTimeMs: wire.upTimeMs ?? 0,
    version: wire.version ?? "",
    isInSafeMode: wire.safeMode ?? false,
    clusterId: wire.clusterId ?? "",
    zookeeperAddresses: wire.zookeeperAddresses ?? [],
    isRaftJournal: wire.raftJournal ?? false,
    raftAddresses: wire.raftAddress ?? [],
    masters: (wire.masterVersions ?? []).map((master) => ({
      address: addressOf(master.addresses),
      state: master.state ?? "",
      version: master.version ?? "",
    })),
  };
}
