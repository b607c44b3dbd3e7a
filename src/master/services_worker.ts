/**
 * What workers ask of the masters, and the little that Alluxio's job service does.
 *
 * Registrations and heartbeats are taken by every master, so that a standby which becomes the leader knows at once where
 * all blocks are. Commits are journaled, so only the leader takes them.
 * @module
 */
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import type { InodeId } from "../common/ids.ts";
import type { Path } from "../common/path.ts";
import {
  type BlockHeartbeatPRequest,
  BlockMasterWorkerService,
  type RegisterWorkerPRequest,
} from "../proto/gen/block_master.ts";
import { CommandType } from "../proto/gen/common.ts";
import {
  FileSystemMasterJobService,
  FileSystemMasterWorkerService,
  type GetFileInfoPRequest,
  type GetUfsInfoPRequest,
} from "../proto/gen/file_system_master.ts";
import { WorkerFarewell } from "../proto/gen/rockpool_internal.ts";
import { bidi, ENCODED, type ServiceTable, unary } from "../rpc/service.ts";
import { SharedAnswer } from "../rpc/shared_answer.ts";
import type { BlockMaster, FileInfo, HeartbeatReply, WorkerRegistration } from "./api.ts";
import {
  leaderUnary,
  type MasterServicePorts,
  requireServing,
  SYSTEM_CALL,
} from "./services_ports.ts";
import {
  addressFromWire,
  blockIdFromWire,
  blockLengthFromWire,
  blocksOnTiersFromWire,
  fileInfoToWire,
  workerIdFromWire,
} from "./wire_codec.ts";

/** A file can be renamed between the lookup of its path and that of its status. */
const LOOKUPS_MAX = 5;
/** Registrations are cheap here: every worker may come at once. */
const LEASE_MS = 60_000;

/** Null when nothing is there. */
async function infoAt(ports: MasterServicePorts, path: Path): Promise<FileInfo | null> {
  try {
    const options = { loadMetadata: "never", accessBits: 0 } as const;
    return await ports.fileSystem.getStatus(SYSTEM_CALL, path, options);
  } catch (error) {
    if (isRockpoolError(error, "NOT_FOUND")) return null;
    throw error;
  }
}

/** Workers give up bytes of files that are gone: only the id's own absence says that, not that of a path it had. */
async function fileInfoOf(ports: MasterServicePorts, { fileId }: GetFileInfoPRequest) {
  if (fileId === undefined)
    throw new RockpoolError("INVALID_ARGUMENT", "The request has no file id");
  for (let tries = 0; tries < LOOKUPS_MAX; tries++) {
    // Any number can be asked for; unknown ones are not found.
    const path = await ports.fileSystem.getFilePath(SYSTEM_CALL, fileId as InodeId);
    const info = await infoAt(ports, path);
    if (info?.id === fileId) return { fileInfo: fileInfoToWire(info) };
  }
  throw new RockpoolError(
    "UNAVAILABLE",
    `File ${fileId} is renamed faster than it can be looked up`,
    "Ask again",
  );
}

async function ufsInfoOf(ports: MasterServicePorts, { mountId }: GetUfsInfoPRequest) {
  const mounts = await ports.fileSystem.mountPoints(SYSTEM_CALL);
  const mount = mounts.find((candidate) => candidate.mountId === mountId);
  if (mount === undefined) throw new RockpoolError("NOT_FOUND", `Mount ${mountId} does not exist`);
  return {
    ufsInfo: {
      uri: mount.ufsUri,
      properties: { readOnly: mount.isReadOnly, shared: mount.isShared },
    },
  };
}

export function fileSystemWorkerService(ports: MasterServicePorts): ServiceTable {
  const { methods, name } = FileSystemMasterWorkerService;
  const { GetPinnedFileIds: pinnedShape } = methods;
  // All workers ask each second: the list, which can be long, is read and encoded once for all who wait for it.
  const pinned = new SharedAnswer(async () =>
    pinnedShape.response.encode({ pinnedFileIds: await ports.pinnedFileIds() }),
  );
  return {
    name,
    isAuthenticated: true,
    methods: [
      leaderUnary(ports, { ...pinnedShape, response: ENCODED }, async () => {
        const bytes = await pinned.get();
        // A master that was deposed meanwhile knows nothing of the files of the next one's reign.
        requireServing(ports);
        return bytes;
      }),
      leaderUnary(ports, methods.GetFileInfo, (request) => fileInfoOf(ports, request)),
      leaderUnary(ports, methods.GetUfsInfo, (request) => ufsInfoOf(ports, request)),
      // Persisting is ordered by other means; Alluxio's workers still ask.
      leaderUnary(ports, methods.FileSystemHeartbeat, () => ({
        command: { commandType: CommandType.Nothing, commandOptions: { persistOptions: {} } },
      })),
    ],
  };
}

export function fileSystemJobService(ports: MasterServicePorts): ServiceTable {
  const { methods, name } = FileSystemMasterJobService;
  return {
    name,
    isAuthenticated: true,
    methods: [
      leaderUnary(ports, methods.GetFileInfo, (request) => fileInfoOf(ports, request)),
      leaderUnary(ports, methods.GetUfsInfo, (request) => ufsInfoOf(ports, request)),
    ],
  };
}

export function blockWorkerService(ports: MasterServicePorts): ServiceTable {
  const { methods, name } = BlockMasterWorkerService;
  const { blocks } = ports;
  return {
    name,
    isAuthenticated: true,
    methods: [
      unary(methods.GetWorkerId, ({ workerNetAddress }) => ({
        workerId: blocks.workerIdOf(addressFromWire(workerNetAddress)),
      })),
      // Ids follow from addresses, so that every master knows them already.
      unary(methods.NotifyWorkerId, ({ workerNetAddress }) => {
        blocks.workerIdOf(addressFromWire(workerNetAddress));
        return {};
      }),
      unary(methods.RequestRegisterLease, ({ workerId }) => ({
        workerId,
        allowed: true,
        expiryMs: ports.nowMs() + LEASE_MS,
      })),
      unary(methods.RegisterWorker, (request) => {
        const registration = begin(blocks, request);
        addBlocks(registration, request);
        registration.finish();
        noteStanding(ports, request);
        noteConfiguration(ports, request);
        return {};
      }),
      bidi(methods.RegisterWorkerStream, async (requests, out) => {
        let registration: WorkerRegistration | null = null;
        let first: RegisterWorkerPRequest | null = null;
        for await (const request of requests) {
          registration ??= begin(blocks, request);
          // Only what the report needs of it: the message may hold many blocks.
          first ??= { ...request, currentBlocks: [], currentBlocksOnTiers: new Map() };
          addBlocks(registration, request);
          if (!out.send({})) await out.drained();
        }
        // A stream that breaks off ends above: half a registration never counts.
        registration?.finish();
        if (first !== null) noteStanding(ports, first);
        if (first !== null) noteConfiguration(ports, first);
      }),
      unary(methods.BlockHeartbeat, (request) => {
        const command = commandOf(heartbeat(blocks, request));
        noteStanding(ports, request);
        noteMetrics(ports, request);
        const workerId = workerIdFromWire(request.workerId);
        ports.configuration.reports.noteLostStorage(workerId, request.lostStorage, false);
        return { command };
      }),
      leaderUnary(ports, methods.CommitBlock, async (request) => {
        const blockId = blockIdFromWire(request.blockId);
        await blocks.commitBlock(workerIdFromWire(request.workerId), {
          blockId,
          lengthBytes: blockLengthFromWire(blockId, request.length ?? 0),
          tierAlias: request.tierAlias ?? "",
          mediumType: request.mediumType ?? request.tierAlias ?? "",
          usedBytesOnTier: request.usedBytesOnTier ?? 0,
        });
        return {};
      }),
      leaderUnary(ports, methods.CommitBlockInUfs, async ({ blockId: id, length }) => {
        const blockId = blockIdFromWire(id);
        await blocks.commitBlockInUfs(blockId, blockLengthFromWire(blockId, length ?? 0));
        return {};
      }),
    ],
  };
}

/** Every master is told, since each knows the workers by itself. */
export function workerFarewellService({ blocks }: MasterServicePorts): ServiceTable {
  const { methods, name } = WorkerFarewell;
  return {
    name,
    isAuthenticated: true,
    methods: [
      unary(methods.Leave, ({ workerId }) => {
        blocks.leave(workerIdFromWire(workerId));
        return {};
      }),
    ],
  };
}

function noteStanding(
  { blocks }: MasterServicePorts,
  { workerId, options }: RegisterWorkerPRequest | BlockHeartbeatPRequest,
): void {
  blocks.setStanding(workerIdFromWire(workerId), options?.isDecommissioned === true);
}

function begin(blocks: BlockMaster, request: RegisterWorkerPRequest): WorkerRegistration {
  const { options, totalBytesOnTiers, usedBytesOnTiers, storageTiers } = request;
  if (storageTiers.length === 0)
    throw new RockpoolError("INVALID_ARGUMENT", "A registration begins with the worker's tiers");
  return blocks.beginRegistration(workerIdFromWire(request.workerId), {
    tiers: storageTiers.map((alias) => ({
      alias,
      capacityBytes: totalBytesOnTiers.get(alias) ?? 0,
      usedBytes: usedBytesOnTiers.get(alias) ?? 0,
    })),
    buildVersion: options?.buildVersion?.version ?? "",
    buildRevision: options?.buildVersion?.revision ?? "",
    vcpuCount: options?.numVCpu ?? 0,
  });
}

/** Of workers that are registered: an id that nobody knows was refused before. */
function noteMetrics(ports: MasterServicePorts, request: BlockHeartbeatPRequest): void {
  const metrics = request.options?.metrics ?? [];
  if (metrics.length === 0) return;
  const values = metrics.map(({ name = "", value = 0 }): [string, number] => [name, value]);
  ports.workerMetrics?.report(workerIdFromWire(request.workerId), new Map(values));
}

/** A worker tells its configuration with its registration. */
function noteConfiguration(ports: MasterServicePorts, request: RegisterWorkerPRequest): void {
  const configs = request.options?.configs ?? [];
  const workerId = workerIdFromWire(request.workerId);
  const { reports } = ports.configuration;
  reports.registerWorker(workerId, configs);
  reports.noteLostStorage(workerId, request.lostStorage, true);
}

function addBlocks(registration: WorkerRegistration, request: RegisterWorkerPRequest): void {
  registration.addBlocks(
    blocksOnTiersFromWire(request.currentBlocks, request.currentBlocksOnTiers),
  );
}

function heartbeat(blocks: BlockMaster, request: BlockHeartbeatPRequest): HeartbeatReply {
  return blocks.heartbeat(workerIdFromWire(request.workerId), {
    usedBytesOnTiers: Object.fromEntries(request.usedBytesOnTiers),
    capacityBytesOnTiers: Object.fromEntries(request.options?.capacityBytesOnTiers ?? []),
    added: blocksOnTiersFromWire(request.addedBlocks, request.addedBlocksOnTiers),
    removed: request.removedBlockIds.map(blockIdFromWire),
  });
}

function commandOf(reply: HeartbeatReply) {
  switch (reply.kind) {
    case "nothing":
      return { commandType: CommandType.Nothing };
    case "register":
      return { commandType: CommandType.Register };
    case "free":
      return { commandType: CommandType.Free, data: reply.blockIds };
  }
}
