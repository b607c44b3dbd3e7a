/**
 * The masters' calls by name: plain options in, this library's types out.
 *
 * A change of the namespace carries a random operation id that stays the same over all retries, so
 * that a call whose answer was lost is answered again and not done twice.
 * @module
 */
import { randomBytes } from "node:crypto";
import { RockpoolError } from "../common/errors.ts";
import type { NodeConfiguration } from "../conf/consistency.ts";
import { BlockMasterClientService } from "../proto/gen/block_master.ts";
import { TtlAction as WireTtlAction } from "../proto/gen/common.ts";
import {
  type FileInfo,
  FileSystemMasterClientService,
  type FileSystemMasterCommonPOptionsInit,
  LoadMetadataPType,
  type SetAttributePOptionsInit,
  WritePType,
} from "../proto/gen/file_system_master.ts";
import {
  MetaMasterClientService,
  MetaMasterConfigurationService,
} from "../proto/gen/meta_master.ts";
import { ConfigurationAdmin } from "../proto/gen/rockpool_internal.ts";
import { bitsToWire, modeToWire } from "../rpc/wire_mode.ts";
import type { MasterDefaults } from "./cluster_defaults.ts";
import {
  blockLocationsOf,
  clusterInfoOf,
  fileStatusOf,
  mountPointOf,
  workerStatusOf,
} from "./decode.ts";
import type {
  BlockLocation,
  ClusterInfo,
  FileStatus,
  MountPoint,
  TtlAction,
  WorkerStatus,
  WriteType,
} from "./file_status.ts";
import type { MasterPort } from "./ports.ts";

/** Whether the under store is asked for what the namespace does not know. */
export type LoadMetadata = "NEVER" | "ONCE" | "ALWAYS";
export type Signal = AbortSignal | null;

/** Directories of one worker's tier that failed. */
export type LostStorage = {
  readonly host: string;
  readonly tierAlias: string;
  readonly paths: readonly string[];
};

export type CreateDirectoryOptions = {
  readonly isRecursive: boolean;
  readonly allowExists: boolean;
  readonly mode: number;
  readonly isPersisted: boolean;
};

export type CreateFileOptions = {
  readonly isRecursive: boolean;
  readonly isOverwrite: boolean;
  readonly mode: number;
  readonly blockSizeBytes: number;
  readonly writeType: WriteType;
  readonly replicationMin: number;
  readonly replicationMax: number;
  readonly ttlMs: number;
  readonly ttlAction: TtlAction;
};

export type RemoveOptions = {
  readonly isRecursive: boolean;
  readonly isAlluxioOnly: boolean;
  readonly isUnchecked: boolean;
};

/** What is left out stays as it is. */
export type Attributes = {
  readonly owner?: string;
  readonly group?: string;
  readonly mode?: number;
  readonly isPinned?: boolean;
  readonly ttlMs?: number;
  readonly ttlAction?: TtlAction;
  readonly replicationMin?: number;
  readonly replicationMax?: number;
};

const FILES = FileSystemMasterClientService.methods;
const BLOCKS = BlockMasterClientService.methods;

/** Options of every call that changes something, made once per logical call. */
function commonOptions(
  ttlMs = -1,
  ttlAction: TtlAction = "FREE",
): FileSystemMasterCommonPOptionsInit {
  const id = randomBytes(16);
  return {
    ttl: ttlMs,
    ttlAction: WireTtlAction[ttlAction],
    operationId: {
      mostSignificantBits: id.readBigInt64LE(0),
      leastSignificantBits: id.readBigInt64LE(8),
    },
  };
}

function present(fileInfo: FileInfo | undefined, path: string): FileInfo {
  if (fileInfo === undefined)
    throw new RockpoolError("INTERNAL", `The master's answer for ${path} has no file info`);
  return fileInfo;
}

export class MasterClient {
  readonly #port: MasterPort;

  constructor(port: MasterPort) {
    this.#port = port;
  }

  leaderAddress(): string | null {
    return this.#port.leaderAddress();
  }

  async getStatus(
    path: string,
    options: { readonly loadMetadata: LoadMetadata; readonly accessBits?: number },
    signal: Signal,
  ): Promise<FileStatus> {
    const { fileInfo } = await this.#port.unary(
      FILES.GetStatus,
      {
        path,
        options: {
          loadMetadataType: LoadMetadataPType[options.loadMetadata],
          accessMode: options.accessBits === undefined ? undefined : bitsToWire(options.accessBits),
        },
      },
      signal,
    );
    return fileStatusOf(present(fileInfo, path));
  }

  async exists(path: string, signal: Signal): Promise<boolean> {
    const options = { loadMetadataType: LoadMetadataPType.ONCE };
    const answer = await this.#port.unary(FILES.Exists, { path, options }, signal);
    return answer.exists ?? false;
  }

  /** Children in the masters' order; of a file, itself. */
  async *listStatus(
    path: string,
    options: { readonly isRecursive: boolean; readonly loadMetadata: LoadMetadata },
    signal: Signal,
  ): AsyncGenerator<FileStatus> {
    const wire = {
      recursive: options.isRecursive,
      loadMetadataType: LoadMetadataPType[options.loadMetadata],
    };
    let last: FileStatus | null = null;
    try {
      const pages = this.#port.stream(FILES.ListStatus, { path, options: wire }, signal);
      for await (const page of pages)
        for (const fileInfo of page.fileInfos) {
          const status = fileStatusOf(fileInfo);
          last = status;
          yield status;
        }
      return;
    } catch (error) {
      // Half a listing was given: a plain directory goes on behind its last name, a tree cannot.
      const canResume =
        last !== null &&
        !options.isRecursive &&
        error instanceof RockpoolError &&
        (error.status === "UNAVAILABLE" || error.status === "CANCELLED") &&
        signal?.aborted !== true;
      if (!canResume) throw error;
    }
    // Of a file that is all there is: behind its name it would come again.
    if (last?.path === path) return;
    yield* this.#listAfter(path, last?.name ?? "", wire, signal);
  }

  async *#listAfter(
    path: string,
    name: string,
    options: { readonly recursive: boolean; readonly loadMetadataType: LoadMetadataPType },
    signal: Signal,
  ): AsyncGenerator<FileStatus> {
    let startAfter = name;
    for (;;) {
      const page = await this.#port.unary(
        FILES.ListStatusPartial,
        { path, options: { options, batchSize: 1000, startAfter } },
        signal,
      );
      for (const fileInfo of page.fileInfos) {
        const status = fileStatusOf(fileInfo);
        startAfter = status.name;
        yield status;
      }
      if (page.isTruncated !== true || page.fileInfos.length === 0) return;
    }
  }

  async createDirectory(path: string, options: CreateDirectoryOptions, signal: Signal) {
    await this.#port.unary(
      FILES.CreateDirectory,
      {
        path,
        options: {
          recursive: options.isRecursive,
          allowExists: options.allowExists,
          mode: modeToWire(options.mode),
          writeType: options.isPersisted ? WritePType.CACHE_THROUGH : WritePType.MUST_CACHE,
          commonOptions: commonOptions(),
        },
      },
      signal,
    );
  }

  /**
   * Cancelled while a master has it, it ends with what the master did.
   * @throws RockpoolError UNKNOWN when that is not known after `settleMs`
   */
  async createFile(
    path: string,
    options: CreateFileOptions,
    signal: Signal,
    settleMs: number,
  ): Promise<FileStatus> {
    const { fileInfo } = await this.#port.unary(
      FILES.CreateFile,
      {
        path,
        options: {
          blockSizeBytes: options.blockSizeBytes,
          recursive: options.isRecursive,
          overwrite: options.isOverwrite,
          mode: modeToWire(options.mode),
          writeType: WritePType[options.writeType],
          replicationMin: options.replicationMin,
          replicationMax: options.replicationMax,
          commonOptions: commonOptions(options.ttlMs, options.ttlAction),
        },
      },
      signal,
      settleMs,
    );
    return fileStatusOf(present(fileInfo, path));
  }

  async newBlockId(path: string, signal: Signal): Promise<bigint> {
    const { id } = await this.#port.unary(
      FILES.GetNewBlockIdForFile,
      { path, options: { commonOptions: commonOptions() } },
      signal,
    );
    if (id === undefined)
      throw new RockpoolError("INTERNAL", `The master gave no block id for ${path}`);
    return id;
  }

  /** @param ufsLengthBytes of what the writer stored in the under store itself; null when it did not */
  async completeFile(
    path: string,
    options: { readonly ufsLengthBytes: number | null; readonly isAsyncPersist: boolean },
    signal: Signal,
  ): Promise<void> {
    await this.#port.unary(
      FILES.CompleteFile,
      {
        path,
        options: {
          ufsLength: options.ufsLengthBytes ?? undefined,
          asyncPersistOptions: options.isAsyncPersist ? {} : undefined,
          commonOptions: commonOptions(),
        },
      },
      signal,
    );
  }

  async remove(path: string, options: RemoveOptions, signal: Signal): Promise<void> {
    await this.#port.unary(
      FILES.Remove,
      {
        path,
        options: {
          recursive: options.isRecursive,
          alluxioOnly: options.isAlluxioOnly,
          unchecked: options.isUnchecked,
          commonOptions: commonOptions(),
        },
      },
      signal,
    );
  }

  async rename(from: string, to: string, isOverwrite: boolean, signal: Signal): Promise<void> {
    await this.#port.unary(
      FILES.Rename,
      {
        path: from,
        dstPath: to,
        options: {
          commonOptions: commonOptions(),
          s3SyntaxOptions: isOverwrite ? { overwrite: true } : undefined,
        },
      },
      signal,
    );
  }

  async setAttribute(
    path: string,
    attributes: Attributes,
    isRecursive: boolean,
    signal: Signal,
  ): Promise<void> {
    const { ttlMs, ttlAction } = attributes;
    const hasTtl = ttlMs !== undefined || ttlAction !== undefined;
    const options: SetAttributePOptionsInit = {
      recursive: isRecursive,
      owner: attributes.owner,
      group: attributes.group,
      mode: attributes.mode === undefined ? undefined : modeToWire(attributes.mode),
      pinned: attributes.isPinned,
      replicationMin: attributes.replicationMin,
      replicationMax: attributes.replicationMax,
      commonOptions: hasTtl
        ? { ttl: ttlMs, ttlAction: ttlAction === undefined ? undefined : WireTtlAction[ttlAction] }
        : undefined,
    };
    await this.#port.unary(FILES.SetAttribute, { path, options }, signal);
  }

  async scheduleAsyncPersistence(path: string, signal: Signal): Promise<void> {
    await this.#port.unary(FILES.ScheduleAsyncPersistence, { path, options: {} }, signal);
  }

  async free(path: string, isForced: boolean, signal: Signal): Promise<void> {
    const options = { recursive: true, forced: isForced };
    await this.#port.unary(FILES.Free, { path, options }, signal);
  }

  async checkConsistency(path: string, signal: Signal): Promise<readonly string[]> {
    const answer = await this.#port.unary(FILES.CheckConsistency, { path, options: {} }, signal);
    return answer.inconsistentPaths;
  }

  async mountPoints(signal: Signal): Promise<readonly MountPoint[]> {
    const { mountPoints } = await this.#port.unary(FILES.GetMountTable, { checkUfs: true }, signal);
    return [...mountPoints].map(([path, wire]) => mountPointOf(path, wire));
  }

  async pathOf(fileId: bigint, signal: Signal): Promise<string> {
    const { path } = await this.#port.unary(FILES.GetFilePath, { fileId }, signal);
    return path ?? "";
  }

  async workers(signal: Signal): Promise<readonly WorkerStatus[]> {
    const { workerInfos } = await this.#port.unary(BLOCKS.GetWorkerInfoList, {}, signal);
    return workerInfos.map(workerStatusOf);
  }

  /** Live and lost workers. */
  async workerReport(signal: Signal): Promise<readonly WorkerStatus[]> {
    const { workerInfos } = await this.#port.unary(BLOCKS.GetWorkerReport, {}, signal);
    return workerInfos.map(workerStatusOf);
  }

  /** Where a block is now. */
  async blockLocations(blockId: bigint, signal: Signal): Promise<readonly BlockLocation[]> {
    const { blockInfo } = await this.#port.unary(BLOCKS.GetBlockInfo, { blockId }, signal);
    return blockLocationsOf(blockInfo);
  }

  async clusterInfo(signal: Signal): Promise<ClusterInfo> {
    const { masterInfo } = await this.#port.unary(
      MetaMasterClientService.methods.GetMasterInfo,
      {},
      signal,
    );
    if (masterInfo === undefined)
      throw new RockpoolError("INTERNAL", "The master's answer has no cluster info");
    return clusterInfoOf(masterInfo);
  }

  /** What the masters give clients as defaults. */
  async defaults(signal: Signal): Promise<MasterDefaults> {
    const { clusterConfigs, pathConfigs } = await this.#port.unary(
      MetaMasterConfigurationService.methods.GetConfiguration,
      { rawValue: true },
      signal,
    );
    const byName = (properties: typeof clusterConfigs) =>
      new Map(
        properties.flatMap(({ name, value }) =>
          name === undefined || value === undefined ? [] : [[name, value] as const],
        ),
      );
    return {
      cluster: byName(clusterConfigs),
      byPath: new Map([...pathConfigs].map(([path, { properties }]) => [path, byName(properties)])),
    };
  }

  /** Replaces the named defaults below a path. */
  async setPathDefaults(path: string, properties: ReadonlyMap<string, string>, signal: Signal) {
    const { SetPathConfiguration } = MetaMasterConfigurationService.methods;
    await this.#port.unary(SetPathConfiguration, { path, properties }, signal);
  }

  /** @param keys none: all of the path */
  async removePathDefaults(path: string, keys: readonly string[], signal: Signal) {
    const { RemovePathConfiguration } = MetaMasterConfigurationService.methods;
    await this.#port.unary(RemovePathConfiguration, { path, keys }, signal);
  }

  /** What every process has reported of its configuration; the leader's own comes first. */
  async nodeConfigurations(signal: Signal): Promise<readonly NodeConfiguration[]> {
    const { GetNodeConfigurations } = ConfigurationAdmin.methods;
    const { nodes } = await this.#port.unary(GetNodeConfigurations, {}, signal);
    return nodes.map(({ isMaster, address, properties }) => ({
      kind: isMaster ? "master" : "worker",
      address,
      properties: new Map(
        properties.map(({ name, value, source }) => [
          name,
          { value: value ?? null, source: source ?? "" },
        ]),
      ),
    }));
  }

  /** Workers' directories that failed, by worker address. */
  async lostStorage(signal: Signal): Promise<readonly LostStorage[]> {
    const { GetWorkerLostStorage } = BLOCKS;
    const { workerLostStorageInfo } = await this.#port.unary(GetWorkerLostStorage, {}, signal);
    return workerLostStorageInfo.flatMap(({ address, lostStorage }) =>
      [...lostStorage].map(([tierAlias, { storage }]) => ({
        host: address?.host ?? "",
        tierAlias,
        paths: storage,
      })),
    );
  }

  /** The leading master's configuration: value and source by key; secrets are masked. */
  async configuration(
    signal: Signal,
  ): Promise<ReadonlyMap<string, { readonly value: string; readonly source: string }>> {
    const answer = await this.#port.unary(
      MetaMasterConfigurationService.methods.GetConfiguration,
      { ignorePathConf: true },
      signal,
    );
    return new Map(
      answer.clusterConfigs.map((one) => [
        one.name ?? "",
        { value: one.value ?? "", source: one.source ?? "" },
      ]),
    );
  }

  async close(): Promise<void> {
    await this.#port.close();
  }
}
