/**
 * FileSystemMasterClientService: the namespace for clients.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { TtlAction } from "../common/file_facts.ts";
import type { InodeId } from "../common/ids.ts";
import { LIST_BATCH } from "../common/limits.ts";
import { type Path, parsePath } from "../common/path.ts";
import {
  FileSystemMasterClientService,
  type FileSystemMasterCommonPOptions,
  type ListStatusPartialPOptions,
  type ListStatusPOptions,
  type ListStatusPResponseInit,
  type SetAttributePOptions,
  WritePType,
} from "../proto/gen/file_system_master.ts";
import type { Outbound, ServiceTable } from "../rpc/service.ts";
import { bitsFromWire, modeFromWire } from "../rpc/wire_mode.ts";
import type { FileInfo, ListOffset, ListOptions, SetAttributeOptions } from "./api.ts";
import {
  callOf,
  leaderStream,
  leaderUnary,
  type MasterServicePorts,
  refuse,
  unsupported,
} from "./services_ports.ts";
import {
  fileInfoToWire,
  lengthFromWire,
  loadMetadataFromWire,
  mountPointToWire,
  ttlActionFromWire,
  ttlFromWire,
  xattrFromWire,
} from "./wire_codec.ts";

const { methods } = FileSystemMasterClientService;

/** Alluxio's defaults where a request leaves them out. */
const BLOCK_SIZE_BYTES = 64 * 1024 * 1024;
const DIRECTORY_MODE = 0o755;
const FILE_MODE = 0o644;
const NO_TTL_MS = -1;
const NO_REPLICATION_MAX = -1;
/** A message of a listing ends with the file that makes it this many blocks: 2 MB with one place each. */
const MESSAGE_BLOCKS_MAX = 10_000;
/** Longest page of a partial listing: about 4 MB of the client's 100. */
const PAGE_ENTRIES_MAX = 10 * LIST_BATCH;

export function fileSystemClientService(ports: MasterServicePorts): ServiceTable {
  return {
    name: FileSystemMasterClientService.name,
    isAuthenticated: true,
    methods: [
      ...reads(ports),
      ...listings(ports),
      ...creations(ports),
      ...changes(ports),
      ...unsupportedMethods(ports),
    ],
  };
}

function pathOf(path: string | undefined): Path {
  if (path === undefined) throw new RockpoolError("INVALID_ARGUMENT", "The request has no path");
  return parsePath(path);
}

function reads(ports: MasterServicePorts) {
  const { fileSystem } = ports;
  return [
    leaderUnary(ports, methods.GetStatus, async ({ path, options }, context) => {
      const info = await fileSystem.getStatus(await callOf(ports, context), pathOf(path), {
        loadMetadata: loadMetadataFromWire(options?.loadMetadataType, options?.commonOptions),
        accessBits: options?.accessMode === undefined ? 0 : bitsFromWire(options.accessMode),
      });
      return { fileInfo: fileInfoToWire(info) };
    }),
    leaderUnary(ports, methods.Exists, async ({ path, options }, context) => ({
      exists: await fileSystem.exists(await callOf(ports, context), pathOf(path), {
        loadMetadata: loadMetadataFromWire(options?.loadMetadataType, options?.commonOptions),
      }),
    })),
    leaderUnary(ports, methods.CheckAccess, async ({ path, options }, context) => {
      const bits = options?.bits === undefined ? 0 : bitsFromWire(options.bits);
      await fileSystem.checkAccess(await callOf(ports, context), pathOf(path), bits);
      return {};
    }),
    leaderUnary(ports, methods.GetFilePath, async ({ fileId }, context) => {
      if (fileId === undefined)
        throw new RockpoolError("INVALID_ARGUMENT", "The request has no file id");
      const id = fileId as InodeId; // any number can be asked for; unknown ones are not found
      return { path: await fileSystem.getFilePath(await callOf(ports, context), id) };
    }),
    leaderUnary(ports, methods.GetMountTable, async (_request, context) => {
      const mounts = await fileSystem.mountPoints(await callOf(ports, context));
      return { mountPoints: new Map(mounts.map((mount) => [mount.path, mountPointToWire(mount)])) };
    }),
    leaderUnary(ports, methods.ReverseResolve, async ({ ufsUri }, context) => {
      if (ufsUri === undefined || ufsUri === "")
        throw new RockpoolError("INVALID_ARGUMENT", "The request has no location to resolve");
      return { alluxioPath: await fileSystem.reverseResolve(await callOf(ports, context), ufsUri) };
    }),
    // No path is kept in step, and there is no state lock: both lists are truly empty.
    leaderUnary(ports, methods.GetSyncPathList, () => ({})),
    leaderUnary(ports, methods.GetStateLockHolders, () => ({})),
  ];
}

function listOptions(options: ListStatusPOptions | undefined): ListOptions {
  return {
    isRecursive: options?.recursive ?? false,
    loadMetadata: loadMetadataFromWire(options?.loadMetadataType, options?.commonOptions),
  };
}

function listings(ports: MasterServicePorts) {
  const { fileSystem } = ports;
  return [
    leaderStream(ports, methods.ListStatus, async ({ path, options }, out, context) => {
      const call = await callOf(ports, context);
      const batches = fileSystem.listStatus(call, pathOf(path), listOptions(options));
      for await (const batch of batches) {
        if (context.signal.aborted) return;
        if (options?.loadMetadataOnly !== true) await sendBatch(batch, out);
      }
    }),
    leaderUnary(ports, methods.ListStatusPartial, async ({ path, options }, context) => {
      const directory = pathOf(path);
      const wanted = options?.batchSize ?? 0;
      const page = await fileSystem.listStatusPartial(await callOf(ports, context), directory, {
        ...listOptions(options?.options),
        offset: offsetOf(directory, options),
        batchSize: wanted > 0 ? Math.min(wanted, PAGE_ENTRIES_MAX) : PAGE_ENTRIES_MAX,
        prefix: options?.prefix ?? "",
      });
      return {
        fileInfos: page.fileInfos.map(fileInfoToWire),
        isTruncated: page.isTruncated,
        fileCount: page.fileCount,
      };
    }),
  ];
}

/** In messages of up to `LIST_BATCH` entries; of fewer when they have many blocks, as clients take 100 MB at a time. */
async function sendBatch(
  batch: readonly FileInfo[],
  out: Outbound<ListStatusPResponseInit>,
): Promise<void> {
  let from = 0;
  let blockCount = 0;
  for (const [at, { blocks }] of batch.entries()) {
    blockCount += blocks.length;
    const isLast = at === batch.length - 1;
    if (!isLast && at - from < LIST_BATCH - 1 && blockCount < MESSAGE_BLOCKS_MAX) continue;
    if (!out.send({ fileInfos: batch.slice(from, at + 1).map(fileInfoToWire) }))
      await out.drained();
    from = at + 1;
    blockCount = 0;
  }
}

function offsetOf(directory: Path, options: ListStatusPartialPOptions | undefined): ListOffset {
  if (options?.offsetId !== undefined && options.offsetId !== 0n)
    return { kind: "afterId", id: options.offsetId as InodeId }; // unknown ids are not found
  if (options?.offsetCount !== undefined && options.offsetCount > 0)
    return { kind: "skip", count: options.offsetCount };
  if (options?.startAfter === undefined || options.startAfter === "") return { kind: "start" };
  // A whole path or a name: both are allowed.
  const within = directory === "/" ? "/" : `${directory}/`;
  const { startAfter } = options;
  return {
    kind: "afterName",
    name: startAfter.startsWith(within) ? startAfter.slice(within.length) : startAfter,
  };
}

function ttlOf(common: FileSystemMasterCommonPOptions | undefined): {
  ttlMs: number;
  ttlAction: TtlAction;
} {
  return {
    ttlMs: common?.ttl === undefined ? NO_TTL_MS : ttlFromWire(common.ttl),
    ttlAction: common?.ttlAction === undefined ? "FREE" : ttlActionFromWire(common.ttlAction),
  };
}

function isThrough(type: WritePType | undefined): boolean {
  return type === WritePType.CACHE_THROUGH || type === WritePType.THROUGH;
}

function creations(ports: MasterServicePorts) {
  const { fileSystem } = ports;
  return [
    leaderUnary(ports, methods.CreateDirectory, async ({ path, options }, context) => {
      const common = options?.commonOptions;
      const call = await callOf(ports, context, common?.operationId);
      await fileSystem.createDirectory(call, pathOf(path), {
        isRecursive: options?.recursive ?? false,
        allowExists: options?.allowExists ?? false,
        mode: options?.mode === undefined ? DIRECTORY_MODE : modeFromWire(options.mode),
        isPersisted: isThrough(options?.writeType),
        ...ttlOf(common),
        xattr: xattrFromWire(options?.xattr),
      });
      return {};
    }),
    leaderUnary(ports, methods.CreateFile, async ({ path, options }, context) => {
      const common = options?.commonOptions;
      const call = await callOf(ports, context, common?.operationId);
      const blockSizeBytes = lengthFromWire(
        options?.blockSizeBytes ?? BLOCK_SIZE_BYTES,
        "A block's size",
      );
      if (blockSizeBytes === 0)
        throw new RockpoolError("INVALID_ARGUMENT", `Invalid block size ${blockSizeBytes}`);
      const info = await fileSystem.createFile(call, pathOf(path), {
        isRecursive: options?.recursive ?? false,
        isOverwrite: options?.overwrite ?? false,
        blockSizeBytes,
        mode: options?.mode === undefined ? FILE_MODE : modeFromWire(options.mode),
        replicationMin: options?.replicationMin ?? 0,
        replicationMax: options?.replicationMax ?? NO_REPLICATION_MAX,
        ...ttlOf(common),
        xattr: xattrFromWire(options?.xattr),
      });
      return { fileInfo: fileInfoToWire(info) };
    }),
    leaderUnary(ports, methods.GetNewBlockIdForFile, async ({ path, options }, context) => {
      // Alluxio's own clients send no operation id here; ours do.
      const call = await callOf(ports, context, options?.commonOptions?.operationId);
      return { id: await fileSystem.newBlockId(call, pathOf(path)) };
    }),
    leaderUnary(ports, methods.CompleteFile, async ({ path, options }, context) => {
      // Not the id inside asyncPersistOptions: that one repeats the id of the file's creation.
      const call = await callOf(ports, context, options?.commonOptions?.operationId);
      await fileSystem.completeFile(call, pathOf(path), {
        ufsLengthBytes:
          options?.ufsLength === undefined
            ? null
            : lengthFromWire(options.ufsLength, "A file in the under store"),
        isAsyncPersist: options?.asyncPersistOptions !== undefined,
        contentHash: options?.contentHash ?? "",
      });
      return {};
    }),
  ];
}

function changes(ports: MasterServicePorts) {
  const { fileSystem } = ports;
  return [
    leaderUnary(ports, methods.Remove, async ({ path, options }, context) => {
      const call = await callOf(ports, context, options?.commonOptions?.operationId);
      await fileSystem.remove(call, pathOf(path), {
        isRecursive: options?.recursive ?? false,
        isAlluxioOnly: options?.alluxioOnly ?? false,
      });
      return {};
    }),
    leaderUnary(ports, methods.Rename, async ({ path, dstPath, options }, context) => {
      const call = await callOf(ports, context, options?.commonOptions?.operationId);
      await fileSystem.rename(call, pathOf(path), pathOf(dstPath), {
        isOverwrite: options?.s3SyntaxOptions?.overwrite ?? false,
      });
      return {};
    }),
    leaderUnary(ports, methods.SetAttribute, async ({ path, options }, context) => {
      const call = await callOf(ports, context, options?.commonOptions?.operationId);
      await fileSystem.setAttribute(call, pathOf(path), attributesOf(options));
      return {};
    }),
    leaderUnary(ports, methods.ScheduleAsyncPersistence, async ({ path }, context) => {
      await fileSystem.scheduleAsyncPersistence(await callOf(ports, context), pathOf(path));
      return {};
    }),
    leaderUnary(ports, methods.Free, async ({ path, options }, context) => {
      await fileSystem.free(await callOf(ports, context), pathOf(path), {
        isRecursive: options?.recursive ?? false,
        isForced: options?.forced ?? false,
      });
      return {};
    }),
    leaderUnary(ports, methods.CheckConsistency, async ({ path }, context) => ({
      inconsistentPaths: await fileSystem.checkConsistency(
        await callOf(ports, context),
        pathOf(path),
      ),
    })),
  ];
}

/** Only what is present changes. */
function attributesOf(options: SetAttributePOptions | undefined): SetAttributeOptions {
  if (options !== undefined && options.xattr.size > 0)
    refuse("Changing extended attributes of a path");
  if (options !== undefined && options.pinnedMedia.length > 0) refuse("Pinning to a medium");
  const { ttl, ttlAction: action } = options?.commonOptions ?? {};
  return {
    isRecursive: options?.recursive ?? false,
    owner: options?.owner ?? null,
    group: options?.group ?? null,
    mode: options?.mode === undefined ? null : modeFromWire(options.mode),
    isPinned: options?.pinned ?? null,
    isPersisted: options?.persisted ?? null,
    replicationMin: options?.replicationMin ?? null,
    replicationMax: options?.replicationMax ?? null,
    ttlMs: ttl === undefined ? null : ttlFromWire(ttl),
    ttlAction: action === undefined ? null : ttlActionFromWire(action),
  };
}

function unsupportedMethods(ports: MasterServicePorts) {
  const sync = "Syncing of metadata by command";
  const jobs = "Running jobs";
  const activeSync = "Keeping a path in step with its under store";
  return [
    unsupported(ports, methods.Mount, "Mounting under stores"),
    unsupported(ports, methods.Unmount, "Unmounting under stores"),
    unsupported(ports, methods.UpdateMount, "Changing mounts"),
    unsupported(ports, methods.UpdateUfsMode, "Maintenance of under stores"),
    unsupported(ports, methods.SetAcl, "Changing access control lists"),
    unsupported(ports, methods.StartSync, activeSync),
    unsupported(ports, methods.StopSync, activeSync),
    unsupported(ports, methods.NeedsSync, sync),
    unsupported(ports, methods.SyncMetadata, sync),
    unsupported(ports, methods.SyncMetadataAsync, sync),
    unsupported(ports, methods.GetSyncProgress, sync),
    unsupported(ports, methods.CancelSyncMetadata, sync),
    unsupported(ports, methods.submitJob, jobs),
    unsupported(ports, methods.StopJob, jobs),
    unsupported(ports, methods.GetJobProgress, jobs),
  ];
}
