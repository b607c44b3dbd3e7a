/**
 * What the worker asks of the leading master.
 * @module
 */
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import type { BlockId, InodeId } from "../common/ids.ts";
import { BlockMasterClientService, BlockMasterWorkerService } from "../proto/gen/block_master.ts";
import type { WorkerNetAddress } from "../proto/gen/common.ts";
import { FileSystemMasterWorkerService } from "../proto/gen/file_system_master.ts";
import type { BlockStore } from "./block_store.ts";
import type { BlockAddress, LeaderCalls, LeaderPort, MountFacts } from "./worker_api.ts";

export class Leader implements LeaderPort {
  readonly #calls: LeaderCalls;
  readonly #store: BlockStore;
  readonly #address: () => WorkerNetAddress;
  readonly #confirm: () => Promise<void>;
  #workerId: bigint | null = null;

  constructor(deps: {
    readonly calls: LeaderCalls;
    readonly store: BlockStore;
    /** Of this worker; known once its port is bound. */
    readonly address: () => WorkerNetAddress;
    /** Resolves when the masters know this worker. */
    readonly confirm: () => Promise<void>;
  }) {
    this.#calls = deps.calls;
    this.#store = deps.store;
    this.#address = deps.address;
    this.#confirm = deps.confirm;
  }

  /** All masters derive it from the address alone, so it is asked once. */
  async #ownId(): Promise<bigint> {
    if (this.#workerId !== null) return this.#workerId;
    const { workerId } = await this.#calls.unary(BlockMasterWorkerService.methods.GetWorkerId, {
      workerNetAddress: this.#address(),
    });
    if (workerId === undefined)
      throw new RockpoolError("UNAVAILABLE", "The master gave this worker no id", "Try again");
    this.#workerId = workerId;
    return workerId;
  }

  async commitBlock(blockId: BlockId, lengthBytes: number): Promise<void> {
    try {
      await this.#commitOnce(blockId, lengthBytes);
    } catch (error) {
      if (!isRockpoolError(error, "NOT_FOUND")) throw error;
      // The block's file is gone, or the leader was restarted and does not know this worker yet: the second can be mended.
      await this.#confirm();
      await this.#commitOnce(blockId, lengthBytes);
    }
  }

  async #commitOnce(blockId: BlockId, lengthBytes: number): Promise<void> {
    await this.#calls.unary(BlockMasterWorkerService.methods.CommitBlock, {
      workerId: await this.#ownId(),
      usedBytesOnTier: this.#store.usedBytes,
      tierAlias: this.#store.tierAlias,
      mediumType: this.#store.mediumType,
      blockId,
      length: lengthBytes,
    });
  }

  async mountOf(mountId: bigint): Promise<MountFacts> {
    const { ufsInfo } = await this.#calls.unary(FileSystemMasterWorkerService.methods.GetUfsInfo, {
      mountId,
    });
    if (ufsInfo?.uri === undefined)
      throw new RockpoolError(
        "NOT_FOUND",
        `There is no mount ${mountId}`,
        "Reload the file's metadata: its mount is gone",
      );
    return {
      ufsUri: ufsInfo.uri,
      isReadOnly: ufsInfo.properties?.readOnly === true,
      properties: ufsInfo.properties?.properties ?? new Map(),
    };
  }

  async placesOf(blockId: BlockId): Promise<readonly BlockAddress[]> {
    const { blockInfo } = await this.#calls.unary(BlockMasterClientService.methods.GetBlockInfo, {
      blockId,
    });
    return (blockInfo?.locations ?? []).flatMap(({ workerAddress: address }) => {
      const host = address?.containerHost || address?.host;
      const port = address?.dataPort ?? address?.rpcPort;
      return host === undefined || port === undefined ? [] : [{ host, port }];
    });
  }

  async pinnedFiles(): Promise<ReadonlySet<InodeId>> {
    const { pinnedFileIds } = await this.#calls.unary(
      FileSystemMasterWorkerService.methods.GetPinnedFileIds,
      {},
    );
    return new Set(pinnedFileIds as readonly InodeId[]); // the master's own ids of files
  }
}
