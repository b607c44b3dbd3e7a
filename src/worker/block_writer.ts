/**
 * Writing one block: bytes pass through a slot of kernel memory, get their checksums there, and go to the file from there.
 *
 * A slot is held only while the disk writes it, never while the sender thinks: slow senders cannot take all of them.
 * One caller at a time; `commit` or `abort` ends it, and `abort` may come at any time. After a failed write only `abort` helps.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { BlockId } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import { SLOT_BYTES } from "../common/limits.ts";
import type { Slot, SlotPool } from "../kernels/slot_pool.ts";
import type { TempFile } from "./block_meta.ts";
import type { PageChecksumBuilder, PageChecksums } from "./page_checksums.ts";

/** Writes on their way to the disk for one block; the next piece is filled meanwhile. */
const WRITES_MAX = 2;

/** What the writer needs of the store. */
export interface WriterHost {
  /** Charges room beyond what was reserved. @throws RockpoolError RESOURCE_EXHAUSTED */
  extend(moreBytes: number): Promise<void>;
  publish(checksums: PageChecksums): Promise<void>;
  /** Drops the temp file and gives the room back. */
  discard(): Promise<void>;
}

type State = "open" | "committing" | "committed" | "aborted";

export class BlockWriter {
  readonly blockId: BlockId;
  readonly #temp: TempFile;
  readonly #slots: SlotPool;
  readonly #checksums: PageChecksumBuilder;
  readonly #host: WriterHost;
  readonly #isSynced: boolean;
  #state: State = "open";
  #reservedBytes: number;
  /** Bytes taken in; those beyond the disk's progress are in flight. */
  #lengthBytes = 0;
  readonly #inFlight: Promise<void>[] = [];
  #failure: unknown = null;
  #aborting: Promise<void> | null = null;
  /** The append or commit that runs; abort waits for it. */
  #running: Promise<unknown> | null = null;

  constructor(options: {
    readonly blockId: BlockId;
    readonly temp: TempFile;
    readonly slots: SlotPool;
    readonly checksums: PageChecksumBuilder;
    readonly host: WriterHost;
    readonly reservedBytes: number;
    readonly isSynced: boolean;
  }) {
    this.blockId = options.blockId;
    this.#temp = options.temp;
    this.#slots = options.slots;
    this.#checksums = options.checksums;
    this.#host = options.host;
    this.#reservedBytes = options.reservedBytes;
    this.#isSynced = options.isSynced;
  }

  get lengthBytes(): number {
    return this.#lengthBytes;
  }

  /** Takes in bytes; they may be reused when the promise resolves, although the disk may still be writing. */
  append(bytes: Uint8Array): Promise<void> {
    return this.#exclusively(async () => {
      for (let at = 0; at < bytes.length; at += SLOT_BYTES) {
        const piece = bytes.subarray(at, at + SLOT_BYTES);
        await this.#prepare(piece.length);
        const slot = this.#slots.take() ?? (await this.#slots.whenFree());
        slot.bytes.set(piece);
        this.#write(slot, piece.length);
      }
    });
  }

  /** Resolves when the disk has taken all bytes so far. */
  flush(): Promise<void> {
    return this.#exclusively(() => this.#settle());
  }

  /** Makes the block: complete, and from now on readable. @returns its length */
  async commit(): Promise<number> {
    await this.#exclusively(async () => {
      await this.#settle();
      const { file, staleBytes } = this.#temp;
      if (staleBytes > this.#lengthBytes) await file.truncate(this.#lengthBytes);
      if (this.#isSynced) await file.sync();
      this.#state = "committing";
      await file.close();
      await this.#host.publish(this.#checksums.finish(this.blockId));
      this.#state = "committed";
    });
    return this.#lengthBytes;
  }

  /** Leaves nothing behind; does nothing after a commit. Safe to call twice and during any other call. */
  abort(): Promise<void> {
    this.#aborting ??= this.#abort();
    return this.#aborting;
  }

  async #abort(): Promise<void> {
    this.#failure ??= new RockpoolError("CANCELLED", `Writing block ${this.blockId} was given up`);
    await Promise.allSettled([this.#running]);
    await Promise.allSettled(this.#inFlight);
    if (this.#state === "committed") return;
    const isOpen = this.#state === "open";
    this.#state = "aborted";
    try {
      if (isOpen) await this.#temp.file.close();
    } finally {
      await this.#host.discard();
    }
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    invariant(this.#running === null, "a block has one writer, which waits for each call");
    if (this.#failure !== null) return Promise.reject(this.#failure);
    invariant(this.#state === "open", "a committed block is not written");
    const run = async () => {
      try {
        return await work();
      } catch (error) {
        this.#failure ??= error;
        throw error;
      } finally {
        this.#running = null;
      }
    };
    const running = run();
    this.#running = running;
    return running;
  }

  async #prepare(lengthBytes: number): Promise<void> {
    const missing = this.#lengthBytes + lengthBytes - this.#reservedBytes;
    if (missing > 0) {
      await this.#host.extend(missing);
      this.#reservedBytes += missing;
    }
    while (this.#inFlight.length >= WRITES_MAX) await this.#inFlight[0];
    if (this.#failure !== null) throw this.#failure;
  }

  #write(slot: Slot, lengthBytes: number): void {
    this.#checksums.append(slot.offsetBytes, lengthBytes);
    const position = this.#lengthBytes;
    this.#lengthBytes += lengthBytes;
    const written = this.#temp.file
      .write(slot.bytes.subarray(0, lengthBytes), position)
      .catch((error: unknown) => {
        // Told by the next call: nobody waits for this promise alone.
        this.#failure ??= error;
      })
      .finally(() => {
        this.#slots.release(slot);
        this.#inFlight.splice(this.#inFlight.indexOf(written), 1);
      });
    this.#inFlight.push(written);
  }

  async #settle(): Promise<void> {
    await Promise.all(this.#inFlight);
    if (this.#failure !== null) throw this.#failure;
  }
}
