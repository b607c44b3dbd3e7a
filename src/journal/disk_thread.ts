/**
 * A thread that does nothing but write and wait for the disk, so that one batch costs one hop there and one back, instead of
 * one through libuv's pool for each write and another for fdatasync. The thread that asks goes on meanwhile: one that waited
 * for the disk itself would answer no heartbeats.
 *
 * The two share memory: what is to be written is copied into `data`, the job is described in `job`, and `control` says who
 * has the word. Whoever waits for a change of `control` sees all that was stored before it.
 * ```
 * control i32: 0 count of jobs asked for   1 count of jobs done   2 outcome of the last: 0 well, 1 a write, 2 fdatasync failed
 *              3 length of its failure
 * job     f64: descriptor, count of parts, then position and length of each; their bytes lie in `data`, end to end
 * data     u8: bytes to be written; of a failure, its code and message as JSON
 * ```
 * @module
 */
import { fdatasyncSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { messageOf } from "../common/errors.ts";
import { invariant } from "../common/invariant.ts";
import { BATCH_BYTES_MAX } from "../common/limits.ts";
import { SyncError, type WritePart, writeFullySync } from "./file_system.ts";

/** A batch, its framing, and descriptors. What is larger takes the long way. */
const DATA_BYTES = BATCH_BYTES_MAX + 64 * 1024;
const PARTS_MAX = 4;
const FAILURE_BYTES_MAX = 4096;

const ASKED = 0;
const DONE = 1;
const OUTCOME = 2;
const FAILURE_BYTES = 3;
const OUTCOMES = { well: 0, writeFailed: 1, syncFailed: 2 } as const;

/** What the thread is started with. */
export type DiskWorkerData = {
  readonly control: Int32Array<SharedArrayBuffer>;
  readonly job: Float64Array<SharedArrayBuffer>;
  readonly data: Uint8Array<SharedArrayBuffer>;
};

export class DiskThread {
  readonly #shared: DiskWorkerData = {
    control: new Int32Array(new SharedArrayBuffer(4 * Int32Array.BYTES_PER_ELEMENT)),
    job: new Float64Array(
      new SharedArrayBuffer((2 + 2 * PARTS_MAX) * Float64Array.BYTES_PER_ELEMENT),
    ),
    data: new Uint8Array(new SharedArrayBuffer(DATA_BYTES)),
  };
  readonly #worker: Worker;
  #isBusy = false;
  #failure: Error | null = null;
  #onFailure: ((error: Error) => void) | null = null;

  /** @param scriptUrl calls {@link serveDisk} with the worker data that `workerData` makes of what is shared */
  constructor(scriptUrl: URL, workerData: (shared: DiskWorkerData) => unknown) {
    this.#worker = new Worker(scriptUrl, { workerData: workerData(this.#shared), name: "disk" });
    // It holds nobody up but while it works.
    this.#worker.unref();
    this.#worker.on("error", (error) => this.#onGone(messageOf(error)));
    this.#worker.on("exit", () => this.#onGone("it ended"));
  }

  #onGone(why: string): void {
    this.#failure ??= new Error(`The disk's thread is gone: ${why}`);
    this.#onFailure?.(this.#failure);
  }

  /** Whether it takes that much at once. */
  takes(parts: readonly WritePart[]): boolean {
    let sizeBytes = 0;
    for (const { bytes } of parts) sizeBytes += bytes.length;
    return parts.length <= PARTS_MAX && sizeBytes <= DATA_BYTES;
  }

  /**
   * Writes the parts, then waits for the disk. The bytes may change once this has returned.
   * @throws SyncError when it was fdatasync that failed
   */
  write(descriptor: number, parts: readonly WritePart[]): Promise<void> {
    invariant(!this.#isBusy, "one batch is written at a time");
    this.#isBusy = true;
    this.#worker.ref();
    return this.#write(descriptor, parts).finally(() => {
      this.#isBusy = false;
      this.#worker.unref();
    });
  }

  async #write(descriptor: number, parts: readonly WritePart[]): Promise<void> {
    if (this.#failure !== null) throw this.#failure;
    const { control, job, data } = this.#shared;
    job[0] = descriptor;
    job[1] = parts.length;
    let offset = 0;
    for (const [at, { bytes, positionBytes }] of parts.entries()) {
      job[2 + 2 * at] = positionBytes;
      job[3 + 2 * at] = bytes.length;
      data.set(bytes, offset);
      offset += bytes.length;
    }
    const before = Atomics.load(control, DONE);
    invariant(Atomics.load(control, ASKED) === before, "as many jobs are done as were asked for");
    const done = Atomics.waitAsync(control, DONE, before);
    Atomics.add(control, ASKED, 1);
    Atomics.notify(control, ASKED);
    const gone = new Promise<never>((_, reject) => {
      this.#onFailure = reject;
    });
    if (done.async) await Promise.race([done.value, gone]);
    this.#onFailure = null;
    const isDone = Atomics.load(control, DONE) === Atomics.load(control, ASKED);
    invariant(isDone, "as many jobs are done as were asked for");
    this.#check();
  }

  #check(): void {
    const { control, data } = this.#shared;
    const outcome = Atomics.load(control, OUTCOME);
    if (outcome === OUTCOMES.well) return;
    const text = new TextDecoder().decode(data.slice(0, Atomics.load(control, FAILURE_BYTES)));
    // `serveDisk` wrote it.
    const { code, message } = JSON.parse(text) as Failure;
    const error = Object.assign(new Error(message), { code });
    throw outcome === OUTCOMES.syncFailed ? new SyncError(error) : error;
  }
}

type Failure = { readonly code: string; readonly message: string };

/** Does the jobs, for ever. */
export function serveDisk(shared: DiskWorkerData): never {
  const { control } = shared;
  for (let done = 0; ; ) {
    while (Atomics.load(control, ASKED) === done) Atomics.wait(control, ASKED, done);
    Atomics.store(control, OUTCOME, doJob(shared));
    done = Atomics.add(control, DONE, 1) + 1;
    // As the counters do.
    done |= 0;
    Atomics.notify(control, DONE);
  }
}

function doJob(shared: DiskWorkerData): number {
  const [descriptor = -1, count = 0] = shared.job;
  try {
    writeParts(shared, descriptor, count);
  } catch (error) {
    tell(shared, error);
    return OUTCOMES.writeFailed;
  }
  try {
    fdatasyncSync(descriptor);
  } catch (error) {
    tell(shared, error);
    return OUTCOMES.syncFailed;
  }
  return OUTCOMES.well;
}

function writeParts({ job, data }: DiskWorkerData, descriptor: number, count: number): void {
  let offset = 0;
  for (let part = 0; part < count; part++) {
    const sizeBytes = job[3 + 2 * part] ?? 0;
    writeFullySync(descriptor, data.subarray(offset, offset + sizeBytes), job[2 + 2 * part] ?? 0);
    offset += sizeBytes;
  }
}

function tell({ control, data }: DiskWorkerData, error: unknown): void {
  const code = error instanceof Error && "code" in error ? String(error.code) : "EIO";
  const failure: Failure = { code, message: messageOf(error).slice(0, FAILURE_BYTES_MAX / 4) };
  const bytes = new TextEncoder().encode(JSON.stringify(failure));
  data.set(bytes);
  Atomics.store(control, FAILURE_BYTES, bytes.length);
}
