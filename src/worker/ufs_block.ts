/**
 * A block read from the under store, on its way to a client; the whole of it is kept here if that is possible.
 *
 * Filling the cache never fails a read: without room, or when somebody else fills the block already, bytes just pass.
 * @module
 */
import { isRockpoolError, messageOf, RockpoolError } from "../common/errors.ts";
import type { BlockId } from "../common/ids.ts";
import type { OpenUfsBlockOptions } from "../proto/gen/protocol.ts";
import type { UfsReader } from "../ufs/under_file_system.ts";
import type { BlockStore } from "./block_store.ts";
import type { BlockWriter } from "./block_writer.ts";
import { emptyFrame, framed } from "./chunk_codec.ts";
import type { Mounts } from "./mounts.ts";
import type { DataEvent } from "./worker_api.ts";

export class UfsBlock {
  readonly #blockId: BlockId;
  readonly #reader: UfsReader;
  /** Of the block in the file. */
  readonly #offset: number;
  readonly #onEvent: (event: DataEvent) => void;
  #writer: BlockWriter | null;

  private constructor(
    blockId: BlockId,
    reader: UfsReader,
    offset: number,
    writer: BlockWriter | null,
    onEvent: (event: DataEvent) => void,
  ) {
    this.#blockId = blockId;
    this.#reader = reader;
    this.#offset = offset;
    this.#writer = writer;
    this.#onEvent = onEvent;
  }

  /** @param fillBytes length of the block when it is to be kept, else null */
  static async open(
    deps: {
      readonly store: BlockStore;
      readonly mounts: Mounts;
      readonly onEvent: (event: DataEvent) => void;
    },
    blockId: BlockId,
    options: OpenUfsBlockOptions,
    fillBytes: number | null,
  ): Promise<UfsBlock> {
    const { ufs, path } = await deps.mounts.locate(options.mountId, options.ufsPath, "read");
    const reader = await ufs.open(path);
    let writer: BlockWriter | null = null;
    if (fillBytes !== null)
      try {
        const room = { reserveBytes: fillBytes, isPinned: false, isInUfs: true };
        writer = await deps.store.createWriter(blockId, room);
      } catch (error) {
        if (!(error instanceof RockpoolError)) {
          await reader.close();
          throw error;
        }
        if (error.status !== "ALREADY_EXISTS")
          deps.onEvent({ kind: "blockNotCached", blockId, reason: error.message });
      }
    return new UfsBlock(blockId, reader, options.offsetInFile ?? 0, writer, deps.onEvent);
  }

  /** The next bytes as a message, at most `maxBytes`; null where the file ends. */
  async read(
    positionBytes: number,
    maxBytes: number,
  ): Promise<{ readonly message: Buffer; readonly lengthBytes: number } | null> {
    const frame = emptyFrame(maxBytes);
    const got = await this.#reader.read(frame.data, this.#offset + positionBytes);
    if (got === 0) return null;
    const data = frame.data.subarray(0, got);
    await this.#keep(data, positionBytes);
    return { message: got === maxBytes ? frame.message : framed(data), lengthBytes: got };
  }

  async #keep(data: Uint8Array, positionBytes: number): Promise<void> {
    const writer = this.#writer;
    if (writer === null || writer.lengthBytes !== positionBytes) return;
    try {
      await writer.append(data);
    } catch (error) {
      this.#giveUp(error);
      await writer.abort();
    }
  }

  #giveUp(error: unknown): void {
    if (!isRockpoolError(error)) throw error;
    this.#writer = null;
    this.#onEvent({ kind: "blockNotCached", blockId: this.#blockId, reason: messageOf(error) });
  }

  /** Keeps what was read, if it is the whole block. @returns whether the block is now here because of this read */
  async keepIfWhole(lengthBytes: number): Promise<boolean> {
    const writer = this.#writer;
    if (writer === null || writer.lengthBytes !== lengthBytes) return false;
    try {
      await writer.commit();
      return true;
    } catch (error) {
      this.#giveUp(error);
      await writer.abort();
      return false;
    }
  }

  /** Drops what is not kept. */
  async close(): Promise<void> {
    try {
      await this.#writer?.abort();
    } finally {
      await this.#reader.close();
    }
  }
}
