/**
 * Writing a file as a Node stream.
 *
 * Bytes go to workers in blocks, or to the under store through a worker, or both at once, as the write
 * type says. A block is committed as soon as it is full, while the next one fills. The file is complete
 * when `finish` is emitted; a stream destroyed before leaves no file. Holds at most one chunk beyond
 * what `worker_write.ts` keeps, whatever the length of the file.
 * @module
 */
import { Writable } from "node:stream";
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import { type ClientContext, within } from "./context.ts";
import { type FileStatus, storesInUfs, storesOnWorkers, type WriteType } from "./file_status.ts";
import type { Signal } from "./master_client.ts";
import { blockCommand, PlacedWrite, ufsFileCommand } from "./worker_write.ts";

/** How long the clean-up of a file that was given up may take before the caller is let go. */
const CLEANUP_MS = 5000;

/** The bytes' way to where the write type stores them. One call at a time. */
class FileWriter {
  readonly #context: ClientContext;
  readonly #file: FileStatus;
  readonly #writeType: WriteType;
  readonly #signal: Signal;
  readonly #ufs: PlacedWrite | null;
  #block: PlacedWrite | null = null;
  /** The commit of the block before; at most one runs. */
  #commit: { readonly block: PlacedWrite; readonly done: Promise<void> } | null = null;
  /** False for THROUGH, and once a CACHE_THROUGH file could not be cached. */
  #isCaching: boolean;
  #lengthBytes = 0;

  constructor(context: ClientContext, file: FileStatus, writeType: WriteType, signal: Signal) {
    this.#context = context;
    this.#file = file;
    this.#writeType = writeType;
    this.#signal = signal;
    this.#isCaching = storesOnWorkers(writeType);
    this.#ufs = storesInUfs(writeType)
      ? new PlacedWrite(context, {
          what: `${file.path} in the under store`,
          command: ufsFileCommand(file),
          spaceBytes: 0,
          signal,
        })
      : null;
  }

  get lengthBytes(): number {
    return this.#lengthBytes;
  }

  async write(bytes: Uint8Array): Promise<void> {
    await Promise.all([this.#ufs?.write(bytes), this.#cache(() => this.#writeBlocks(bytes))]);
    this.#lengthBytes += bytes.length;
  }

  async complete(): Promise<void> {
    await Promise.all([this.#ufs?.close(), this.#cache(() => this.#finishBlocks())]);
    await this.#context.master.completeFile(
      this.#file.path,
      {
        ufsLengthBytes: this.#ufs === null ? null : this.#lengthBytes,
        isAsyncPersist: this.#writeType === "ASYNC_THROUGH",
      },
      this.#signal,
    );
  }

  cancel(): void {
    this.#ufs?.cancel();
    this.#cancelBlocks();
  }

  #cancelBlocks(): void {
    this.#block?.cancel();
    this.#commit?.block.cancel();
  }

  /** With the under store holding every byte, a cache that fails is given up rather than the file. */
  async #cache(act: () => Promise<void>): Promise<void> {
    if (!this.#isCaching) return;
    try {
      await act();
    } catch (error) {
      const canGoWithout = this.#ufs !== null && isRockpoolError(error);
      if (!canGoWithout || this.#signal?.aborted === true) throw error;
      this.#isCaching = false;
      this.#cancelBlocks();
    }
  }

  async #writeBlocks(bytes: Uint8Array): Promise<void> {
    const { blockSizeBytes } = this.#file;
    for (let at = 0; at < bytes.length; ) {
      this.#block ??= await this.#nextBlock();
      const room = blockSizeBytes - this.#block.lengthBytes;
      const piece = bytes.subarray(at, at + room);
      await this.#block.write(piece);
      at += piece.length;
      if (piece.length === room) await this.#commitBlock();
    }
  }

  async #nextBlock(): Promise<PlacedWrite> {
    const { path, blockSizeBytes } = this.#file;
    const id = await this.#context.master.newBlockId(path, this.#signal);
    return new PlacedWrite(this.#context, {
      what: `block ${id} of ${path}`,
      command: blockCommand(id, {
        spaceBytes: blockSizeBytes,
        isPinned: this.#writeType === "ASYNC_THROUGH",
      }),
      spaceBytes: blockSizeBytes,
      signal: this.#signal,
    });
  }

  async #commitBlock(): Promise<void> {
    await this.#commit?.done;
    const block = this.#block;
    this.#block = null;
    if (block === null) return;
    const done = block.close();
    // Seen by whoever awaits it next; until then a failure must not count as unhandled.
    done.catch(() => undefined);
    this.#commit = { block, done };
  }

  async #finishBlocks(): Promise<void> {
    await this.#commitBlock();
    await this.#commit?.done;
  }
}

/**
 * A file being written; made by `FileSystem.createFile`.
 * Emits `finish` when the file is complete and as durable as its write type promises.
 */
export class FileOutStream extends Writable {
  /** As the master made it: incomplete, length 0. */
  readonly status: FileStatus;
  readonly #context: ClientContext;
  readonly #writer: FileWriter;
  #isComplete = false;
  /** The chunk at work: its streams must be quiet before the file is removed. */
  #current: Promise<void> = Promise.resolve();

  constructor(
    context: ClientContext,
    status: FileStatus,
    options: { readonly writeType: WriteType; readonly signal: Signal },
  ) {
    super({
      highWaterMark: 1024 * 1024,
      decodeStrings: true,
      ...(options.signal === null ? {} : { signal: options.signal }),
    });
    if (status.blockSizeBytes <= 0)
      throw new RockpoolError("INTERNAL", `The master gave ${status.path} no block size`);
    this.status = status;
    this.#context = context;
    this.#writer = new FileWriter(context, status, options.writeType, options.signal);
  }

  /** Bytes that were taken so far. */
  get lengthBytes(): number {
    return this.#writer.lengthBytes;
  }

  override _write(chunk: Uint8Array, _encoding: string, callback: (error?: Error) => void): void {
    this.#current = this.#writer.write(chunk);
    this.#current.then(() => callback(), callback);
  }

  override _final(callback: (error?: Error) => void): void {
    this.#current = this.#writer.complete().then(() => {
      this.#isComplete = true;
    });
    this.#current.then(() => callback(), callback);
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    if (this.#isComplete) {
      callback(error);
      return;
    }
    this.#writer.cancel();
    const removed = within(this.#removeIncomplete(), CLEANUP_MS, `Removing ${this.status.path}`);
    // The reason why the stream was destroyed is what the caller must see, not a failed clean-up.
    removed.then(
      () => callback(error),
      (failure: Error) => callback(error ?? failure),
    );
  }

  /** Removes what this stream made, unless the path means another file by now. */
  async #removeIncomplete(): Promise<void> {
    await this.#current.catch(() => undefined);
    if (this.#isComplete) return;
    const { master } = this.#context;
    const { path, id } = this.status;
    try {
      const found = await master.getStatus(path, { loadMetadata: "NEVER" }, null);
      if (found.id !== id || found.isCompleted) return;
      const options = { isRecursive: false, isAlluxioOnly: true, isUnchecked: true };
      await master.remove(path, options, null);
    } catch (error) {
      if (!isRockpoolError(error, "NOT_FOUND")) throw error;
    }
  }
}
