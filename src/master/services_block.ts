/**
 * BlockMasterClientService: workers, room and block places, for clients and administrators.
 * @module
 */

import { RockpoolError } from "../common/errors.ts";
import {
  BlockMasterClientService,
  BlockMasterInfoField,
  type BlockMasterInfoInit,
  type DecommissionWorkerPOptions,
  type GetWorkerReportPOptions,
  WorkerInfoField,
  type WorkerInfoInit,
  WorkerRange,
} from "../proto/gen/block_master.ts";
import type { ServiceTable } from "../rpc/service.ts";
import type { TierUsage, WorkerInfo } from "./api.ts";
import { leaderUnary, type MasterServicePorts, requireSuperuser } from "./services_ports.ts";
import {
  addressToWire,
  blockIdFromWire,
  blockInfoToWire,
  capacityOf,
  sumOf,
  usedOf,
  workerInfoToWire,
} from "./wire_codec.ts";

export function blockClientService(ports: MasterServicePorts): ServiceTable {
  const { methods, name } = BlockMasterClientService;
  const { blocks } = ports;
  const liveTiers = () =>
    blocks.workers().flatMap((worker) => (isInUse(worker) ? worker.tiers : []));
  return {
    name,
    isAuthenticated: true,
    methods: [
      leaderUnary(ports, methods.GetBlockInfo, async ({ blockId }) => ({
        blockInfo: blockInfoToWire(await blocks.getBlockInfo(blockIdFromWire(blockId))),
      })),
      leaderUnary(ports, methods.GetCapacityBytes, () => ({
        bytes: sumOf(liveTiers(), capacityOf),
      })),
      leaderUnary(ports, methods.GetUsedBytes, () => ({ bytes: sumOf(liveTiers(), usedOf) })),
      leaderUnary(ports, methods.GetBlockMasterInfo, ({ filters }) => ({
        blockMasterInfo: clusterInfo(blocks.workers(), filters),
      })),
      leaderUnary(ports, methods.GetWorkerInfoList, () => ({
        workerInfos: blocks
          .workers()
          .filter(isInUse)
          .map((worker) => workerInfoToWire(worker, ports.nowMs())),
      })),
      leaderUnary(ports, methods.GetWorkerReport, (options) => ({
        workerInfos: blocks
          .workers()
          .filter((worker) => isWanted(worker, options))
          .map((worker) => onlyFields(workerInfoToWire(worker, ports.nowMs()), options)),
      })),
      // A worker that lost a folder does not report it apart from its smaller room.
      leaderUnary(ports, methods.GetWorkerLostStorage, () => ({
        workerLostStorageInfo: ports.configuration.reports
          .lostStorage(blocks)
          .map(({ address, lost }) => ({
            address: addressToWire(address),
            lostStorage: new Map([...lost].map(([tier, storage]) => [tier, { storage }])),
          })),
      })),
      leaderUnary(ports, methods.DecommissionWorker, async (request, context) => {
        await requireSuperuser(ports, context, "decommission workers");
        const { address } = liveWorkerAt(blocks.workers(), request);
        const isKept = request.canRegisterAgain === false;
        await ports.setWorkerStanding(address, { isDecommissioned: true, isKept });
        return {};
      }),
      leaderUnary(ports, methods.RemoveDisabledWorker, async (request, context) => {
        await requireSuperuser(ports, context, "enable workers");
        const { address } = liveWorkerAt(blocks.workers(), request);
        await ports.setWorkerStanding(address, { isDecommissioned: false, isKept: false });
        return {};
      }),
    ],
  };
}

/** New blocks may be placed there, and its room counts. */
function isInUse({ isLive, isDecommissioned }: WorkerInfo): boolean {
  return isLive && !isDecommissioned;
}

/** @throws RockpoolError NOT_FOUND, FAILED_PRECONDITION for one that does not answer */
function liveWorkerAt(
  workers: readonly WorkerInfo[],
  { workerHostname: host, workerWebPort }: DecommissionWorkerPOptions,
): WorkerInfo {
  const webPort = workerWebPort ?? 0;
  const fitting = workers.filter(
    ({ address }) => address.host === host && (webPort === 0 || address.webPort === webPort),
  );
  const [found, ...more] = fitting;
  const name = webPort === 0 ? host : `${host}:${webPort}`;
  if (found === undefined)
    throw new RockpoolError(
      "NOT_FOUND",
      `No worker ${name} is known: there are ${workers.map(({ address }) => `${address.host}:${address.webPort}`).join(", ") || "none"}`,
      "Name a worker by its host and its web port",
    );
  if (more.length > 0)
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `${fitting.length} workers run on ${host}: ${fitting.map(({ address }) => address.webPort).join(", ")}`,
      "Name one of them with its web port",
    );
  if (!found.isLive)
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `Worker ${name} is lost: it does not answer`,
      "Start it first; one that stays down needs nothing, since nothing is placed there",
    );
  return found;
}

/** What the filters name, or everything without filters. */
function clusterInfo(
  workers: readonly WorkerInfo[],
  filters: readonly BlockMasterInfoField[],
): BlockMasterInfoInit {
  const live = workers.filter(isInUse);
  const decommissioned = workers.filter((worker) => worker.isLive && worker.isDecommissioned);
  const tiers = live.flatMap((worker) => worker.tiers);
  const wants = (field: BlockMasterInfoField) => filters.length === 0 || filters.includes(field);
  const capacityBytes = sumOf(tiers, capacityOf);
  const usedBytes = sumOf(tiers, usedOf);
  return {
    ...(wants(BlockMasterInfoField.CAPACITY_BYTES) && { capacityBytes }),
    ...(wants(BlockMasterInfoField.CAPACITY_BYTES_ON_TIERS) && {
      capacityBytesOnTiers: sumByTier(tiers, capacityOf),
    }),
    ...(wants(BlockMasterInfoField.FREE_BYTES) && { freeBytes: capacityBytes - usedBytes }),
    ...(wants(BlockMasterInfoField.LIVE_WORKER_NUM) && { liveWorkerNum: live.length }),
    ...(wants(BlockMasterInfoField.LOST_WORKER_NUM) && {
      lostWorkerNum: workers.length - live.length - decommissioned.length,
    }),
    ...(wants(BlockMasterInfoField.USED_BYTES) && { usedBytes }),
    ...(wants(BlockMasterInfoField.USED_BYTES_ON_TIERS) && {
      usedBytesOnTiers: sumByTier(tiers, usedOf),
    }),
    ...(wants(BlockMasterInfoField.DECOMMISSIONED_WORKER_NUM) && {
      decommissionedWorkerNum: decommissioned.length,
    }),
  };
}

function sumByTier(tiers: readonly TierUsage[], pick: (tier: TierUsage) => number) {
  const sums = new Map<string, number>();
  for (const tier of tiers) sums.set(tier.alias, (sums.get(tier.alias) ?? 0) + pick(tier));
  return sums;
}

function isWanted(worker: WorkerInfo, { workerRange, addresses }: GetWorkerReportPOptions) {
  switch (workerRange ?? WorkerRange.ALL) {
    case WorkerRange.LIVE:
      return isInUse(worker);
    case WorkerRange.LOST:
      return !worker.isLive;
    case WorkerRange.DECOMMISSIONED:
      return worker.isLive && worker.isDecommissioned;
    case WorkerRange.SPECIFIED:
      return addresses.includes(worker.address.host);
    default:
      return true;
  }
}

/** Which field of a report each filter lets through. */
const FIELDS: Readonly<Record<keyof WorkerInfoInit, WorkerInfoField>> = {
  id: WorkerInfoField.ID,
  address: WorkerInfoField.ADDRESS,
  lastContactSec: WorkerInfoField.LAST_CONTACT_SEC,
  state: WorkerInfoField.STATE,
  capacityBytes: WorkerInfoField.WORKER_CAPACITY_BYTES,
  usedBytes: WorkerInfoField.WORKER_USED_BYTES,
  startTimeMs: WorkerInfoField.START_TIME_MS,
  capacityBytesOnTiers: WorkerInfoField.WORKER_CAPACITY_BYTES_ON_TIERS,
  usedBytesOnTiers: WorkerInfoField.WORKER_USED_BYTES_ON_TIERS,
  buildVersion: WorkerInfoField.BUILD_VERSION,
  numVCpu: WorkerInfoField.NUM_VCPU,
};

function onlyFields(
  worker: WorkerInfoInit,
  { fieldRanges }: GetWorkerReportPOptions,
): WorkerInfoInit {
  if (fieldRanges.length === 0) return worker;
  return Object.fromEntries(
    Object.entries(worker).filter(
      ([key]) => fieldRanges.includes(FIELDS[key as keyof WorkerInfoInit]), // the keys of a WorkerInfoInit
    ),
  );
}
