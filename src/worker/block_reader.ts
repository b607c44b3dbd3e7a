/**
 * Reading one block: whole pages into a slot, compared with their checksums there, and only then handed on.
 *
 * A reader keeps its block from being evicted until `close`. Bytes of a page that does not match are never seen by
 * the caller: the block goes to quarantine and the read fails with DATA_LOSS.
 * @module
 */
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import type { BlockId } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import { PAGE_BYTES, SLOT_BYTES } from "../common/limits.ts";
import type { Kernels } from "../kernels/kernels.ts";
import type { Slot } from "../kernels/slot_pool.ts";
import type { DiskFile } from "./disk.ts";
import type { PageChecksums } from "./page_checksums.ts";
import { firstDamagedPage } from "./page_checksums.ts";

export type OpenBlock = { readonly file: DiskFile; readonly checksums: PageChecksums };

export interface ReaderHost {
  /** The block is damaged or its device fails: takes it out of service. */
  damaged(reason: string): Promise<void>;
  closed(): Promise<void>;
}

export class BlockReader {
  readonly blockId: BlockId;
  readonly lengthBytes: number;
  readonly #open: OpenBlock;
  readonly #kernels: Kernels;
  readonly #host: ReaderHost;
  /** A slot holds 16 pages. */
  readonly #scratch = new Uint32Array(SLOT_BYTES / PAGE_BYTES);
  #isClosed = false;

  constructor(options: {
    readonly open: OpenBlock;
    readonly blockId: BlockId;
    readonly kernels: Kernels;
    readonly host: ReaderHost;
  }) {
    this.#open = options.open;
    this.blockId = options.blockId;
    this.lengthBytes = options.open.checksums.lengthBytes;
    this.#kernels = options.kernels;
    this.#host = options.host;
  }

  /**
   * Reads verified bytes from `positionBytes` on: at most `maxBytes`, the slot's room, and what the block has.
   * @returns a view into the slot, at least one byte long when the position is inside the block
   * @throws RockpoolError DATA_LOSS when the bytes are damaged
   */
  async read(slot: Slot, positionBytes: number, maxBytes: number): Promise<Uint8Array> {
    invariant(!this.#isClosed, "a closed block is not read");
    const firstPage = Math.floor(positionBytes / PAGE_BYTES);
    const start = firstPage * PAGE_BYTES;
    const wanted = Math.min(positionBytes + maxBytes, this.lengthBytes);
    const end = Math.min(
      Math.ceil(wanted / PAGE_BYTES) * PAGE_BYTES,
      this.lengthBytes,
      start + SLOT_BYTES,
    );
    if (end <= positionBytes) return slot.bytes.subarray(0, 0);
    const lengthBytes = end - start;
    const got = await this.#readPages(slot, start, lengthBytes);
    if (got < lengthBytes)
      throw await this.#damage(`it ends ${lengthBytes - got} B early, at ${start + got}`);
    const page = firstDamagedPage(
      this.#kernels,
      this.#open.checksums,
      { offsetBytes: slot.offsetBytes, lengthBytes, firstPage },
      this.#scratch,
    );
    if (page >= 0) throw await this.#damage(`page ${page} does not match its checksum`);
    return slot.bytes.subarray(positionBytes - start, Math.min(end, wanted) - start);
  }

  /** The checksum that is kept of a page of the block. */
  pageCrc(page: number): number {
    const crc = this.#open.checksums.crcs[page];
    invariant(crc !== undefined, "every page of a block has a checksum");
    return crc;
  }

  async #readPages(slot: Slot, start: number, lengthBytes: number): Promise<number> {
    try {
      return await this.#open.file.read(slot.bytes.subarray(0, lengthBytes), start);
    } catch (error) {
      if (!isRockpoolError(error, "DATA_LOSS")) throw error;
      throw await this.#damage(error.message);
    }
  }

  async #damage(reason: string): Promise<RockpoolError> {
    await this.#host.damaged(reason);
    return new RockpoolError(
      "DATA_LOSS",
      `Block ${this.blockId} is damaged on this worker: ${reason}`,
      "Read another copy; the damaged one is in the worker's quarantine folder",
    );
  }

  /** Lets the block go. Safe to call twice. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#host.closed();
  }
}
