/**
 * Reading a stretch of a block: from one worker, and from as many as it takes.
 *
 * A worker sends chunks ahead of what was acknowledged, up to its window; a chunk is acknowledged when
 * the consumer asks for the next one, so a slow consumer holds one window and no more. A worker that
 * fails, stalls or ends short is left where it stood, and another goes on at that byte.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { WorkerNetAddress } from "../common/file_facts.ts";
import { BlockWorker, type ReadRequestInit } from "../proto/gen/block_worker.ts";
import type { OpenUfsBlockOptionsInit } from "../proto/gen/protocol.ts";
import { addressKey, type ReadSource, readSources } from "./block_policy.ts";
import { type ClientContext, cancelled, pause, throwIfAborted, within } from "./context.ts";
import type { FileStatus, ReadType } from "./file_status.ts";
import type { Signal } from "./master_client.ts";

const CHUNK_BYTES = 1024 * 1024;
/** Pauses between two rounds over all sources: doubled up to the longer one. */
const ROUND_PAUSE_MIN_MS = 50;
const ROUND_PAUSE_MAX_MS = 2000;
/** How long a block is looked for whose last copy is damaged or gone: its masters may be about to hear of another. */
const GONE_MS = 700;
/** The same while no worker is missing: after a restart of the masters the last worker is back within this. */
const NOWHERE_MS = 2500;
const CACHE_CALL_MS = 5000;
const END_MS = 1000;

export type BlockRange = {
  readonly id: bigint;
  /** Of the whole block. */
  readonly blockLengthBytes: number;
  /** Within the block. */
  readonly startBytes: number;
  readonly lengthBytes: number;
};

/**
 * Chunks of one block from one worker, in order, exactly `lengthBytes` in all.
 * @throws RockpoolError as the worker says; DEADLINE_EXCEEDED when it stalls; OUT_OF_RANGE when it ends short
 */
async function* readFromWorker(
  context: ClientContext,
  address: WorkerNetAddress,
  request: ReadRequestInit & { readonly offset: number; readonly length: number },
  signal: Signal,
): AsyncGenerator<Uint8Array, void, undefined> {
  const where = addressKey(address);
  const call = await context.workerPort.bidi(address, BlockWorker.methods.ReadBlock, signal);
  const chunks = call.responses[Symbol.asyncIterator]();
  let received = 0;
  try {
    call.send(request);
    while (received < request.length) {
      const { streamStallMs } = context.patience;
      const next = await within(chunks.next(), streamStallMs, `Reading from worker ${where}`);
      if (next.done === true) break;
      const bytes = next.value.chunk?.data;
      if (bytes === undefined || bytes.length === 0) continue;
      received += bytes.length;
      if (received > request.length)
        throw new RockpoolError("DATA_LOSS", `Worker ${where} sent more than was asked for`);
      yield bytes;
      if (received < request.length)
        call.send({ ...request, offsetReceived: request.offset + received });
    }
    if (received < request.length)
      throw new RockpoolError(
        "OUT_OF_RANGE",
        `Worker ${where} ended after ${received} of ${request.length} bytes of block ${request.blockId}`,
      );
    call.end();
    // The end follows the last byte at once; a cancelled stream would look like a failure to the worker.
    await within(chunks.next(), END_MS, `The end of worker ${where}'s answer`);
  } catch (error) {
    if (signal?.aborted === true) throw cancelled(signal);
    throw error;
  } finally {
    call.cancel();
  }
}

/** What a worker needs to fetch the block from the under store; undefined when it is not there. */
function ufsOptions(
  file: FileStatus,
  range: BlockRange,
  readType: ReadType,
  user: string,
): OpenUfsBlockOptionsInit | undefined {
  if (file.persistence !== "PERSISTED" && !file.isPersisted) return undefined;
  const index = file.blocks.findIndex((block) => block.id === range.id);
  return {
    ufsPath: file.ufsPath,
    offsetInFile: index * file.blockSizeBytes,
    blockSize: range.blockLengthBytes,
    maxUfsReadConcurrency: 2_147_483_647,
    mountId: file.mountId,
    noCache: readType === "NO_CACHE",
    user,
  };
}

/** Reads one stretch of one block, going from source to source. Iterate `read` once. */
export class BlockReader {
  readonly #context: ClientContext;
  readonly #file: FileStatus;
  readonly #range: BlockRange;
  readonly #readType: ReadType;
  readonly #signal: Signal;
  readonly #failed = new Set<string>();
  #ufs: OpenUfsBlockOptionsInit | undefined;
  #lastFailure: RockpoolError | null = null;
  /** A worker that may have the block failed for a reason that can pass. */
  #hasHope = false;
  #isWorkerMissing: boolean | null = null;

  constructor(
    context: ClientContext,
    file: FileStatus,
    range: BlockRange,
    options: { readonly readType: ReadType; readonly signal: Signal },
  ) {
    this.#context = context;
    this.#file = file;
    this.#range = range;
    this.#readType = options.readType;
    this.#signal = options.signal;
    this.#ufs = ufsOptions(file, range, options.readType, context.user);
  }

  async *read(): AsyncGenerator<Uint8Array, void, undefined> {
    const { startBytes, lengthBytes } = this.#range;
    let done = 0;
    let lastProgressMs = performance.now();
    let pauseMs = ROUND_PAUSE_MIN_MS;
    let sources = await this.#sources(false);
    while (done < lengthBytes) {
      throwIfAborted(this.#signal);
      const source = sources.find((one) => !this.#failed.has(addressKey(one.address)));
      if (source === undefined) {
        const limitMs = await this.#patienceMs(sources.length);
        if (performance.now() - lastProgressMs > limitMs && !(await this.#isPersistedByNow()))
          throw this.#unreadable();
        await pause(pauseMs, this.#signal);
        pauseMs = Math.min(pauseMs * 2, ROUND_PAUSE_MAX_MS);
        this.#failed.clear();
        sources = await this.#sources(true);
        continue;
      }
      try {
        const request = this.#request(startBytes + done, lengthBytes - done);
        for await (const bytes of readFromWorker(
          this.#context,
          source.address,
          request,
          this.#signal,
        )) {
          done += bytes.length;
          yield bytes;
          lastProgressMs = performance.now();
          pauseMs = ROUND_PAUSE_MIN_MS;
        }
        this.#askToCache(source, sources);
      } catch (error) {
        this.#leave(source, error);
      }
    }
  }

  #request(offset: number, length: number) {
    return {
      blockId: this.#range.id,
      offset,
      length,
      promote: this.#readType === "CACHE_PROMOTE",
      chunkSize: CHUNK_BYTES,
      openUfsBlockOptions: this.#ufs,
    };
  }

  async #sources(isRefresh: boolean): Promise<readonly ReadSource[]> {
    const { master, workers, here, random } = this.#context;
    const { id } = this.#range;
    if (isRefresh) workers.invalidate();
    const known = this.#file.blocks.find((block) => block.id === id)?.locations ?? [];
    const locations = isRefresh ? await master.blockLocations(id, this.#signal) : known;
    const isInUfs = this.#ufs !== undefined;
    return readSources(
      { id, holders: locations.map((location) => location.address) },
      { workers: isInUfs ? await workers.list(this.#signal) : [], here, isInUfs, random },
    );
  }

  #leave(source: ReadSource, error: unknown): void {
    throwIfAborted(this.#signal);
    const isFinal =
      !(error instanceof RockpoolError) ||
      error.status === "INVALID_ARGUMENT" ||
      error.status === "PERMISSION_DENIED";
    if (isFinal) throw error;
    this.#lastFailure = error;
    if (error.status !== "DATA_LOSS" && error.status !== "NOT_FOUND") this.#hasHope = true;
    this.#failed.add(addressKey(source.address));
  }

  /** Nothing but a worker's disk had these bytes, and whoever had them says that they are gone. */
  get #isLost(): boolean {
    return (
      this.#ufs === undefined &&
      !this.#hasHope &&
      (this.#lastFailure !== null ||
        this.#file.persistence === "LOST" ||
        this.#isWorkerMissing === false)
    );
  }

  /** How long to look for a source when none is left. */
  async #patienceMs(sourceCount: number): Promise<number> {
    const { workerSearchMs, workerAbsenceMs } = this.#context.patience;
    const normalMs = sourceCount === 0 ? workerAbsenceMs : workerSearchMs;
    if (this.#isLost) return Math.min(normalMs, this.#lastFailure === null ? NOWHERE_MS : GONE_MS);
    if (this.#ufs !== undefined || this.#hasHope || sourceCount > 0) return normalMs;
    this.#isWorkerMissing ??= await this.#findMissing();
    return this.#isLost ? Math.min(normalMs, NOWHERE_MS) : normalMs;
  }

  /** Whether a worker that may have the block is away, as far as the masters know. */
  async #findMissing(): Promise<boolean> {
    try {
      const workers = await this.#context.master.workerReport(this.#signal);
      return workers.length === 0 || workers.some(({ isLive }) => !isLive);
    } catch (error) {
      throwIfAborted(this.#signal);
      if (!(error instanceof RockpoolError)) throw error;
      return true;
    }
  }

  /** Whether the file came to the under store since it was opened; its blocks may have been evicted then. */
  async #isPersistedByNow(): Promise<boolean> {
    if (this.#ufs !== undefined) return false;
    const { path, id } = this.#file;
    try {
      const now = await this.#context.master.getStatus(
        path,
        { loadMetadata: "NEVER" },
        this.#signal,
      );
      if (now.id === id)
        this.#ufs = ufsOptions(now, this.#range, this.#readType, this.#context.user);
    } catch (error) {
      throwIfAborted(this.#signal);
      if (!(error instanceof RockpoolError)) throw error;
    }
    return this.#ufs !== undefined;
  }

  #unreadable(): RockpoolError {
    const { path } = this.#file;
    const cause = this.#lastFailure;
    const what = `Block ${this.#range.id} of ${path}`;
    const why = cause === null ? "no worker has it" : cause.message;
    if (this.#isLost) {
      const remedy =
        `Write ${path} again, or remove it. What is left of a damaged copy is in the quarantine ` +
        "folder below the directory of the worker that had it";
      return new RockpoolError(
        "DATA_LOSS",
        `${what} is lost: ${why}; there is no other copy, and none in the under store`,
        remedy,
        { cause },
      );
    }
    return new RockpoolError(
      "UNAVAILABLE",
      `${what} is unavailable: ${why}`,
      this.#ufs === undefined
        ? "Its bytes were on workers alone: start the worker that had them"
        : "Start a worker, and see that the under store answers",
      { cause },
    );
  }

  /** Passive caching: the local worker, else the one that read the under store, keeps a copy. */
  #askToCache(source: ReadSource, sources: readonly ReadSource[]): void {
    if (this.#readType === "NO_CACHE" || (source.isHolder && source.isLocal)) return;
    const local = sources.find((one) => one.isLocal);
    const target = local ?? (source.isHolder ? null : source);
    if (target === null || (target.isHolder && target !== source)) return;
    const { id, blockLengthBytes } = this.#range;
    this.#context.inBackground(
      this.#context.workerPort.unary(
        target.address,
        BlockWorker.methods.Cache,
        {
          blockId: id,
          sourceHost: source.address.host,
          sourcePort: source.address.dataPort,
          openUfsBlockOptions: this.#ufs ?? {},
          length: blockLengthBytes,
          async: true,
        },
        CACHE_CALL_MS,
      ),
    );
  }
}
