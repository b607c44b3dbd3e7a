/**
 * PersistFile: a file's blocks, in order, into one file of the under store.
 *
 * Every byte is verified on its way. The same request again joins the one that runs, or writes the same file anew:
 * the master may ask as often as it likes, and a new leader may ask again. Blocks that are not here come from other workers.
 * @module
 */
import { messageOf, RockpoolError } from "../common/errors.ts";
import type { BlockId, InodeId } from "../common/ids.ts";
import { SLOT_BYTES } from "../common/limits.ts";
import type { SlotPool } from "../kernels/slot_pool.ts";
import type { PersistFileRequest, PersistFileResponse } from "../proto/gen/rockpool_internal.ts";
import type { UfsWriter } from "../ufs/under_file_system.ts";
import type { BlockStore } from "./block_store.ts";
import type { FileStates } from "./file_states.ts";
import type { Mounts } from "./mounts.ts";
import type { DataEvent, LeaderPort, PeerPort, WorkerCounters } from "./worker_api.ts";

/** Each holds a buffer of 1 MiB; the master's scheduler asks for fewer. */
const RUNNING_MAX = 32;
const MODE_DEFAULT = 0o644;

export type PersistDeps = {
  readonly store: BlockStore;
  readonly slots: SlotPool;
  readonly mounts: Mounts;
  readonly files: FileStates;
  readonly leader: LeaderPort;
  readonly peers: PeerPort;
  readonly counters: WorkerCounters;
  readonly onEvent: (event: DataEvent) => void;
};

type BlockRef = { readonly blockId: BlockId; readonly lengthBytes: number };
type Sink = { readonly writer: UfsWriter; readonly buffer: Buffer };

export class Persister {
  readonly #deps: PersistDeps;
  /** By target: a second writer of one file would spoil the first one's. */
  readonly #running = new Map<string, Promise<PersistFileResponse>>();

  constructor(deps: PersistDeps) {
    this.#deps = deps;
  }

  /** @throws RockpoolError DATA_LOSS when a block is damaged or gone everywhere; what the under store says */
  persist(request: PersistFileRequest): Promise<PersistFileResponse> {
    const key = `${request.mountId} ${request.ufsTempPath}`;
    const known = this.#running.get(key);
    if (known !== undefined) return known;
    if (this.#running.size >= RUNNING_MAX)
      return Promise.reject(
        new RockpoolError(
          "RESOURCE_EXHAUSTED",
          `Cannot persist file ${request.fileId}: ${RUNNING_MAX} files are being persisted`,
          "Ask again later, or ask another worker",
        ),
      );
    const run = this.#persist(request).finally(() => this.#running.delete(key));
    this.#running.set(key, run);
    return run;
  }

  async #persist(request: PersistFileRequest): Promise<PersistFileResponse> {
    const { fileId, mountId, ufsTempPath, blocks } = request;
    const { ufs, path } = await this.#deps.mounts.locate(mountId, ufsTempPath, "write");
    const writer = await ufs.create(path, {
      owner: request.owner ?? "",
      group: request.group ?? "",
      mode: request.mode ?? MODE_DEFAULT,
    });
    let isCommitted = false;
    try {
      const sink = { writer, buffer: Buffer.allocUnsafe(SLOT_BYTES) };
      let lengthBytes = 0;
      for (const { blockId, length } of blocks) {
        // The master's own ids.
        await this.#copyBlock({ blockId: blockId as BlockId, lengthBytes: length }, sink);
        lengthBytes += length;
      }
      const status = await writer.commit();
      isCommitted = true;
      if (status.lengthBytes !== lengthBytes)
        throw new RockpoolError(
          "DATA_LOSS",
          `The under store has ${status.lengthBytes} of ${lengthBytes} bytes of ${ufsTempPath}`,
          "The file is persisted anew",
        );
      for (const { blockId } of blocks) this.#deps.store.notePersisted(blockId as BlockId); // the master's own ids
      this.#deps.files.forget(fileId as InodeId); // the master's own id
      this.#deps.counters.bytesPersisted += lengthBytes;
      this.#deps.onEvent({ kind: "filePersisted", fileId, ufsPath: ufsTempPath, lengthBytes });
      return { length: lengthBytes, ufsFingerprint: status.fingerprint };
    } finally {
      if (!isCommitted) await writer.abort();
    }
  }

  async #copyBlock(block: BlockRef, sink: Sink): Promise<void> {
    const copied = await this.#copyLocal(block, sink);
    if (copied < block.lengthBytes) await this.#copyRemote(block, copied, sink);
  }

  /** @returns how far it got */
  async #copyLocal(block: BlockRef, { writer, buffer }: Sink): Promise<number> {
    let position = 0;
    const reader = await this.#openLocal(block);
    if (reader === null) return 0;
    try {
      while (position < block.lengthBytes) {
        // The slot is given back before the store, which may be slow, is asked to write.
        const slot = this.#deps.slots.take() ?? (await this.#deps.slots.whenFree());
        let length: number;
        try {
          const verified = await reader.read(slot, position, block.lengthBytes - position);
          buffer.set(verified);
          length = verified.length;
        } catch (error) {
          this.#fallBack(block.blockId, error);
          return position;
        } finally {
          this.#deps.slots.release(slot);
        }
        if (length === 0) return position;
        await writer.write(buffer.subarray(0, length));
        position += length;
      }
      return position;
    } finally {
      await reader.close();
    }
  }

  async #openLocal({ blockId }: BlockRef) {
    try {
      return await this.#deps.store.openReader(blockId);
    } catch (error) {
      this.#fallBack(blockId, error);
      return null;
    }
  }

  /** What fails here may be whole on another worker. */
  #fallBack(blockId: BlockId, error: unknown): void {
    if (!(error instanceof RockpoolError)) throw error;
    this.#deps.onEvent({ kind: "readFellBack", blockId, reason: error.message });
  }

  async #copyRemote(block: BlockRef, startBytes: number, { writer }: Sink): Promise<void> {
    const { blockId, lengthBytes } = block;
    let position = startBytes;
    const reasons: string[] = [];
    let ufsFailure: unknown = null;
    for (const place of await this.#deps.leader.placesOf(blockId)) {
      try {
        await this.#deps.peers.readBlock(
          place,
          { blockId, offsetBytes: position, lengthBytes },
          async (bytes) => {
            await writer.write(bytes).catch((error: unknown) => {
              ufsFailure = error;
              throw error;
            });
            position += bytes.length;
          },
        );
        return;
      } catch (error) {
        // How much of a failed write is in the file is unknown: no other copy can go on after it.
        if (ufsFailure !== null) throw ufsFailure;
        if (!(error instanceof RockpoolError)) throw error;
        reasons.push(`${place.host}:${place.port}: ${messageOf(error)}`);
      }
    }
    throw new RockpoolError(
      "DATA_LOSS",
      `No worker has bytes ${position} to ${lengthBytes} of block ${blockId} (${reasons.join("; ") || "no other copy"})`,
      "Bring back the workers that had the file, or write it again",
    );
  }
}
