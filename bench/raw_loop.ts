/**
 * The least that durability costs: one write and one fdatasync at a time into a file full of zeros, whoever comes meanwhile
 * goes together with the next, and a promise for each.
 *
 * It is neither handicapped nor flattered beside the journal: the same system calls in the same pool of threads, at the
 * same sizes (each payload behind as many bytes as a record's header takes, each batch in whole pages), and callers that
 * wait in the same way. What it leaves out is what the ratio is to show: checksums, terms and votes, a log that can be read
 * again, the thread of its own, the state machine.
 * @module
 */
import { close, fdatasync, open, write } from "node:fs";
import { promisify } from "node:util";
import { ENTRY_BYTES } from "./journal_load.ts";

const RECORD_BYTES = 28;
const PAGE_BYTES = 4096;
const FILE_BYTES = 64 * 1024 * 1024;
const ZEROS_BYTES = 1024 * 1024;

type Caller = { readonly payload: Uint8Array; readonly resolve: () => void };

const openFile = promisify(open);
const writeAt = promisify(write);
const syncOf = promisify(fdatasync);
const closeOf = promisify(close);

export class RawLoop {
  readonly #descriptor: number;
  #waiting: Caller[] = [];
  #bytes = new Uint8Array(PAGE_BYTES);
  #isRunning = false;
  #offsetBytes = 0;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  static async open(path: string): Promise<RawLoop> {
    const descriptor = await openFile(path, "w+");
    const zeros = new Uint8Array(ZEROS_BYTES);
    for (let at = 0; at < FILE_BYTES; at += zeros.length)
      await writeAt(descriptor, zeros, 0, zeros.length, at);
    await syncOf(descriptor);
    return new RawLoop(descriptor);
  }

  append(payload: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ payload, resolve });
      if (this.#isRunning) return;
      this.#isRunning = true;
      // At the end of the turn, so that all that woke up in it goes together.
      setImmediate(() => this.#run());
    });
  }

  #run(): void {
    const batch = this.#waiting;
    this.#waiting = [];
    if (batch.length === 0) {
      this.#isRunning = false;
      return;
    }
    const sizeBytes = this.#fill(batch);
    if (this.#offsetBytes + sizeBytes > FILE_BYTES) this.#offsetBytes = 0;
    const at = this.#offsetBytes;
    this.#offsetBytes += sizeBytes;
    write(this.#descriptor, this.#bytes, 0, sizeBytes, at, (failure, count) => {
      if (failure !== null || count !== sizeBytes) throw failure ?? new Error("A short write");
      fdatasync(this.#descriptor, (error) => {
        if (error !== null) throw error;
        for (const { resolve } of batch) resolve();
        setImmediate(() => this.#run());
      });
    });
  }

  /** @returns whole pages */
  #fill(batch: readonly Caller[]): number {
    const sizeBytes =
      Math.ceil((batch.length * (ENTRY_BYTES + RECORD_BYTES)) / PAGE_BYTES) * PAGE_BYTES;
    if (this.#bytes.length < sizeBytes) this.#bytes = new Uint8Array(sizeBytes);
    let at = 0;
    for (const { payload } of batch) {
      this.#bytes.set(payload, at + RECORD_BYTES);
      at += RECORD_BYTES + payload.length;
    }
    return sizeBytes;
  }

  async close(): Promise<void> {
    await closeOf(this.#descriptor);
  }
}
