/**
 * Between the masters' own words and Alluxio's messages.
 *
 * Clients compare a worker's address in a block's location with the one in the list of workers, field by field: both
 * are made by {@link addressToWire}, which sets every field. In a FileInfo every field that Alluxio's client reads is
 * present, also where the value is the default; every block of a file has an entry, also when nobody holds it.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { TtlAction, WorkerNetAddress } from "../common/file_facts.ts";
import { type BlockId, sequenceOf, type WorkerId } from "../common/ids.ts";
import { XATTR_BYTES_MAX } from "../common/limits.ts";
import type { WorkerInfoInit } from "../proto/gen/block_master.ts";
import type * as wire from "../proto/gen/common.ts";
import { TtlAction as WireTtlAction } from "../proto/gen/common.ts";
import {
  type FileInfoInit,
  type FileSystemMasterCommonPOptions,
  type FsOpPId,
  LoadMetadataPType,
  type MountPointInfoInit,
} from "../proto/gen/file_system_master.ts";
import type {
  BlockInfo,
  BlocksOnTier,
  FileInfo,
  LoadMetadata,
  MountPoint,
  OperationId,
  TierUsage,
  WorkerInfo,
} from "./api.ts";

/** 2 PiB: the journal's signed numbers are below 2^52, and the sum of two such lengths still fits its others. */
const FILE_BYTES_MAX = 2 ** 51;
/** 142,000 years; signed numbers of the journal are below 2^52. */
const TTL_MS_MAX = 2 ** 52 - 1;

export function operationIdFromWire(id: FsOpPId | undefined): OperationId | null {
  return id === undefined
    ? null
    : { high: id.mostSignificantBits ?? 0n, low: id.leastSignificantBits ?? 0n };
}

export function ttlActionFromWire(action: WireTtlAction): TtlAction {
  if (action === WireTtlAction.FREE) return "FREE";
  if (action === WireTtlAction.DELETE) return "DELETE";
  throw new RockpoolError(
    "INVALID_ARGUMENT",
    "The TTL action DELETE_ALLUXIO is not supported by this version of Rockpool",
    "Use FREE or DELETE",
  );
}

/** Negative is for ever, and so, in practice, is more than the journal can hold. @returns -1 or more, below 2^52 */
export function ttlFromWire(ttlMs: number): number {
  return ttlMs < 0 ? -1 : Math.min(ttlMs, TTL_MS_MAX);
}

/**
 * A length that goes into the journal: what is no length must not get there, since no master could read it again.
 * @param what begins a sentence
 * @throws RockpoolError INVALID_ARGUMENT when it is negative or beyond what a file can have
 */
export function lengthFromWire(lengthBytes: number, what: string): number {
  if (lengthBytes >= 0 && lengthBytes <= FILE_BYTES_MAX) return lengthBytes;
  throw new RockpoolError(
    "INVALID_ARGUMENT",
    `${what} cannot be ${lengthBytes} bytes`,
    `Lengths go from 0 to ${FILE_BYTES_MAX} bytes`,
  );
}

/** As {@link lengthFromWire}, of a block: its file, blocks of that length up to it, must be no longer than files can be. */
export function blockLengthFromWire(blockId: BlockId, lengthBytes: number): number {
  lengthFromWire(lengthBytes * (sequenceOf(blockId) + 1), `A file up to its block ${blockId}`);
  return lengthBytes;
}

/** @throws RockpoolError INVALID_ARGUMENT when they are too long together: rows must fit into an entry of the journal */
export function xattrFromWire(
  xattr: ReadonlyMap<string, Uint8Array> | undefined,
): Readonly<Record<string, Uint8Array>> {
  const pairs = [...(xattr ?? [])];
  const sizeBytes = sumOf(pairs, ([name, value]) => Buffer.byteLength(name) + value.length);
  if (sizeBytes > XATTR_BYTES_MAX)
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `The extended attributes take ${sizeBytes} bytes`,
      `Names and values of one file or directory may take ${XATTR_BYTES_MAX} bytes together`,
    );
  return Object.fromEntries(pairs);
}

export function ttlActionToWire(action: TtlAction): WireTtlAction {
  return action === "FREE" ? WireTtlAction.FREE : WireTtlAction.DELETE;
}

/** A sync interval of 0 asks for the truth now, whatever the load type says. */
export function loadMetadataFromWire(
  type: LoadMetadataPType | undefined,
  common: FileSystemMasterCommonPOptions | undefined,
): LoadMetadata {
  if (common?.syncIntervalMs === 0 || type === LoadMetadataPType.ALWAYS) return "always";
  return type === LoadMetadataPType.NEVER ? "never" : "once";
}

export function addressFromWire(address: wire.WorkerNetAddress | undefined): WorkerNetAddress {
  if (address?.host === undefined || address.host === "")
    throw new RockpoolError("INVALID_ARGUMENT", "A worker's address has no host");
  return {
    host: address.host,
    containerHost: address.containerHost ?? "",
    rpcPort: address.rpcPort ?? 0,
    dataPort: address.dataPort ?? 0,
    webPort: address.webPort ?? 0,
    domainSocketPath: address.domainSocketPath ?? "",
    tiers: (address.tieredIdentity?.tiers ?? []).map(({ tierName, value }) => ({
      name: tierName ?? "",
      value: value ?? "",
    })),
  };
}

export function addressToWire(address: WorkerNetAddress): wire.WorkerNetAddressInit {
  const { tiers, host } = address;
  // Clients look for a near worker by its "node" tier, and fail on an identity without tiers.
  const named = tiers.length > 0 ? tiers : [{ name: "node", value: host }];
  return {
    host,
    rpcPort: address.rpcPort,
    dataPort: address.dataPort,
    webPort: address.webPort,
    domainSocketPath: address.domainSocketPath,
    tieredIdentity: { tiers: named.map(({ name, value }) => ({ tierName: name, value })) },
    containerHost: address.containerHost,
  };
}

export function blockInfoToWire(block: BlockInfo): wire.BlockInfoInit {
  return {
    blockId: block.blockId,
    length: block.lengthBytes,
    locations: block.locations.map((location) => ({
      workerId: location.workerId,
      workerAddress: addressToWire(location.workerAddress),
      tierAlias: location.tierAlias,
      mediumType: location.mediumType,
    })),
  };
}

export function fileInfoToWire(info: FileInfo): FileInfoInit {
  return {
    fileId: info.id,
    name: info.name,
    path: info.path,
    ufsPath: info.ufsPath,
    length: info.lengthBytes,
    blockSizeBytes: info.blockSizeBytes,
    creationTimeMs: info.createdMs,
    completed: info.isCompleted,
    folder: info.isDirectory,
    pinned: info.isPinned,
    cacheable: true,
    persisted: info.persistence === "PERSISTED",
    blockIds: info.blocks.map((block) => block.blockId),
    lastModificationTimeMs: info.modifiedMs,
    ttl: info.ttlMs,
    owner: info.owner,
    group: info.group,
    mode: info.mode,
    persistenceState: info.persistence,
    mountPoint: info.isMountPoint,
    fileBlockInfos: info.blocks.map((block, index) => ({
      blockInfo: blockInfoToWire(block),
      offset: index * info.blockSizeBytes,
    })),
    ttlAction: ttlActionToWire(info.ttlAction),
    mountId: info.mountId,
    inAlluxioPercentage: info.inAlluxioPercentage,
    inMemoryPercentage: info.inMemoryPercentage,
    ufsFingerprint: info.ufsFingerprint,
    // As Alluxio sends it: owner, group and others by the mode; entries only for what a mode cannot say.
    acl: { owner: info.owner, owningGroup: info.group, mode: info.mode, isDefault: false },
    replicationMax: info.replicationMax,
    replicationMin: info.replicationMin,
    lastAccessTimeMs: info.accessedMs,
    xattr: new Map(Object.entries(info.xattr)),
  };
}

export function mountPointToWire(mount: MountPoint): MountPointInfoInit {
  return {
    ufsUri: mount.ufsUri,
    ufsType: mount.ufsType,
    ufsCapacityBytes: mount.ufsCapacityBytes,
    ufsUsedBytes: mount.ufsUsedBytes,
    readOnly: mount.isReadOnly,
    shared: mount.isShared,
    mountId: mount.mountId,
  };
}

function bytesByTier(tiers: readonly TierUsage[], pick: (tier: TierUsage) => number) {
  return new Map(tiers.map((tier) => [tier.alias, pick(tier)]));
}

export function sumOf<T>(items: readonly T[], pick: (item: T) => number): number {
  return items.reduce((sum, item) => sum + pick(item), 0);
}

export const capacityOf = (tier: TierUsage) => tier.capacityBytes;
export const usedOf = (tier: TierUsage) => tier.usedBytes;

/** @param nowMs wall clock */
export function workerInfoToWire(worker: WorkerInfo, nowMs: number): WorkerInfoInit {
  return {
    id: worker.id,
    address: addressToWire(worker.address),
    lastContactSec: Math.max(0, Math.floor((nowMs - worker.lastContactMs) / 1000)),
    state: !worker.isLive ? "LOST" : worker.isDecommissioned ? "DECOMMISSIONED" : "LIVE",
    capacityBytes: sumOf(worker.tiers, capacityOf),
    usedBytes: sumOf(worker.tiers, usedOf),
    startTimeMs: worker.startedMs,
    capacityBytesOnTiers: bytesByTier(worker.tiers, capacityOf),
    usedBytesOnTiers: bytesByTier(worker.tiers, usedOf),
    buildVersion: { version: worker.buildVersion, revision: worker.buildRevision },
    numVCpu: worker.vcpuCount,
  };
}

/** @throws RockpoolError INVALID_ARGUMENT when there is none */
export function blockIdFromWire(id: bigint | undefined): BlockId {
  if (id === undefined) throw new RockpoolError("INVALID_ARGUMENT", "The request has no block id");
  return id as BlockId; // any 64-bit number can be asked for; unknown ones are not found
}

/** @throws RockpoolError INVALID_ARGUMENT when there is none */
export function workerIdFromWire(id: bigint | undefined): WorkerId {
  if (id === undefined) throw new RockpoolError("INVALID_ARGUMENT", "The request has no worker id");
  return id as WorkerId; // unknown ones are told to register
}

/** Blocks of a report, in the form of today and in the one before it, which had no media. */
export function blocksOnTiersFromWire(
  entries: readonly {
    readonly key?: wire.BlockStoreLocationProto | undefined;
    readonly value?: { readonly blockId: readonly bigint[] } | undefined;
  }[],
  byAlias: ReadonlyMap<string, { readonly tiers: readonly bigint[] }>,
): BlocksOnTier[] {
  // The ids are a worker's own: those that the namespace does not know are dropped later.
  const blockIds = (ids: readonly bigint[]) => ids as readonly BlockId[];
  return [
    ...entries.map(({ key, value }) => ({
      tierAlias: key?.tierAlias ?? "",
      mediumType: key?.mediumType ?? key?.tierAlias ?? "",
      blockIds: blockIds(value?.blockId ?? []),
    })),
    ...[...byAlias].map(([alias, { tiers }]) => ({
      tierAlias: alias,
      mediumType: alias,
      blockIds: blockIds(tiers),
    })),
  ];
}
