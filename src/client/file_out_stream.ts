/**
 * Writing a file as a Node stream.
 *
 * Bytes go to workers in blocks, or to the under store through a worker, or both at once, as the write
 * type says. A block is committed as soon as it is full, while the next one fills. The file is complete
 * when `finish` is emitted. Holds at most one chunk beyond what `worker_write.ts` keeps, whatever the length of the file.
 *
 * A stream that is destroyed before its last byte is there leaves no file. With the last byte the completion begins,
 * which is never broken off in the middle, since it may be done by then: a stream destroyed meanwhile waits for its
 * outcome and takes nothing back. `fate` says what became of the file once the stream is closed.
 * @module
 */
import { addAbortSignal, Writable } from "node:stream";
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import { type ClientContext, within } from "./context.ts";
import { type FileStatus, storesInUfs, storesOnWorkers, type WriteType } from "./file_status.ts";
import type { Signal } from "./master_client.ts";
import { blockCommand, PlacedWrite, ufsFileCommand } from "./worker_write.ts";

/** How long the streams to workers may take to notice that they were cancelled. */
const QUIET_MS = 1000;

/** The bytes' way to where the write type stores them. One call at a time. */
class FileWriter {
  readonly #context: ClientContext;
  readonly #file: FileStatus;
  readonly #writeType: WriteType;
  readonly #cancelled = new AbortController();
  readonly #ufs: PlacedWrite | null;
  #block: PlacedWrite | null = null;
  /** The commit of the block before; at most one runs. */
  #commit: { readonly block: PlacedWrite; readonly done: Promise<void> } | null = null;
  /** False for THROUGH, and once a CACHE_THROUGH file could not be cached. */
  #isCaching: boolean;
  #lengthBytes = 0;
  #isInUfs = false;

  constructor(context: ClientContext, file: FileStatus, writeType: WriteType) {
    this.#context = context;
    this.#file = file;
    this.#writeType = writeType;
    this.#isCaching = storesOnWorkers(writeType);
    this.#ufs = storesInUfs(writeType)
      ? new PlacedWrite(context, {
          what: `${file.path} in the under store`,
          command: ufsFileCommand(file),
          spaceBytes: 0,
          signal: this.#cancelled.signal,
        })
      : null;
  }

  get lengthBytes(): number {
    return this.#lengthBytes;
  }

  /** Whether the under store has the file under its name. */
  get isInUfs(): boolean {
    return this.#isInUfs;
  }

  async write(bytes: Uint8Array): Promise<void> {
    await Promise.all([this.#ufs?.write(bytes), this.#cache(() => this.#writeBlocks(bytes))]);
    this.#lengthBytes += bytes.length;
  }

  async complete(): Promise<void> {
    await Promise.all([this.#closeInUfs(), this.#cache(() => this.#finishBlocks())]);
    await this.#context.master.completeFile(
      this.#file.path,
      {
        ufsLengthBytes: this.#ufs === null ? null : this.#lengthBytes,
        isAsyncPersist: this.#writeType === "ASYNC_THROUGH",
      },
      this.#cancelled.signal,
    );
  }

  async #closeInUfs(): Promise<void> {
    await this.#ufs?.close();
    this.#isInUfs = this.#ufs !== null;
  }

  cancel(): void {
    this.#cancelled.abort();
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
      if (!canGoWithout || this.#cancelled.signal.aborted) throw error;
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
    const id = await this.#context.master.newBlockId(path, this.#cancelled.signal);
    return new PlacedWrite(this.#context, {
      what: `block ${id} of ${path}`,
      command: blockCommand(id, {
        spaceBytes: blockSizeBytes,
        isPinned: this.#writeType === "ASYNC_THROUGH",
      }),
      spaceBytes: blockSizeBytes,
      signal: this.#cancelled.signal,
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

/** What became of a file: not known while it is written, nor when no master said what it did with it. */
export type FileFate = "writing" | "complete" | "removed" | "unknown";

/**
 * A file being written; made by `FileSystem.createFile`.
 * Emits `finish` when the file is complete and as durable as its write type promises.
 */
export class FileOutStream extends Writable {
  /** As the master made it: incomplete, length 0. */
  readonly status: FileStatus;
  readonly #context: ClientContext;
  readonly #writer: FileWriter;
  #fate: FileFate = "writing";
  /** The chunk at work: its streams must be quiet before the file is removed. */
  #current: Promise<void> = Promise.resolve();
  #isCompleting = false;

  constructor(
    context: ClientContext,
    status: FileStatus,
    options: { readonly writeType: WriteType; readonly signal: Signal },
  ) {
    super({ highWaterMark: 1024 * 1024, decodeStrings: true });
    if (status.blockSizeBytes <= 0)
      throw new RockpoolError("INTERNAL", `The master gave ${status.path} no block size`);
    this.status = status;
    this.#context = context;
    this.#writer = new FileWriter(context, status, options.writeType);
    // Last: a signal that has fired already destroys the stream here.
    if (options.signal !== null) addAbortSignal(options.signal, this);
  }

  /** Bytes that were taken so far. */
  get lengthBytes(): number {
    return this.#writer.lengthBytes;
  }

  /** Final once the stream is closed. */
  get fate(): FileFate {
    return this.#fate;
  }

  override _write(chunk: Uint8Array, _encoding: string, callback: (error?: Error) => void): void {
    this.#current = this.#writer.write(chunk);
    this.#current.then(() => callback(), callback);
  }

  override _final(callback: (error?: Error) => void): void {
    this.#isCompleting = true;
    this.#current = this.#writer.complete().then(() => {
      this.#fate = "complete";
    });
    this.#current.then(() => callback(), callback);
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    // The reason why the stream was destroyed is what the caller must see, not a failed clean-up.
    this.#settle().then(
      () => callback(error),
      (failure: Error) => callback(error ?? failure),
    );
  }

  /** Brings the file to a fate within a bounded time. @throws what kept it from being removed */
  async #settle(): Promise<void> {
    if (this.#fate === "complete") return;
    const { settleMs } = this.#context.patience;
    if (this.#isCompleting) await quiet(this.#current, settleMs);
    if (this.#hasCompleted()) return;
    this.#writer.cancel();
    await quiet(this.#current, QUIET_MS);
    if (this.#hasCompleted()) return;
    this.#fate = "unknown";
    const removal = this.#removeIncomplete();
    this.#fate = await within(removal, settleMs, `Removing ${this.status.path}`);
  }

  /** A question of its own, since the answer changes while somebody waits. */
  #hasCompleted(): boolean {
    return this.#fate === "complete";
  }

  /** Removes what this stream made, unless it is complete after all, or the path means another file by now. */
  async #removeIncomplete(): Promise<FileFate> {
    const { master } = this.#context;
    const { path, id } = this.status;
    // What no master knows of lies in the under store under the file's name, and may be found there.
    const { isInUfs } = this.#writer;
    try {
      const found = await master.getStatus(path, { loadMetadata: "NEVER" }, null);
      if (found.id !== id) return "removed";
      if (found.isCompleted) return "complete";
      const options = { isRecursive: false, isAlluxioOnly: !isInUfs, isUnchecked: true };
      await master.remove(path, options, null);
    } catch (error) {
      if (!isRockpoolError(error, "NOT_FOUND")) throw error;
    }
    return isInUfs ? "unknown" : "removed";
  }
}

/** Waits until `work` is over, whatever its outcome, or the time. */
async function quiet(work: Promise<void>, limitMs: number): Promise<void> {
  const over = work.catch(() => undefined);
  await within(over, limitMs, "Waiting").catch(() => undefined);
}
