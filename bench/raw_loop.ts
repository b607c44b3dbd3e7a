/**
 * The least that durability costs a log: one write and one fdatasync at a time into a file full of zeros, whoever comes meanwhile
 * goes together with the next, and a promise for each. When a file is full it goes on in the next one, which was filled with zeros
 * meanwhile: what is logged is kept.
 *
 * It is neither handicapped nor flattered beside the journal: the same system calls in the same pool of threads, at the
 * same sizes (each payload behind as many bytes as a record's header takes, each batch in whole pages, zeros by the MiB with a sync each),
 * and callers that wait in the same way. What it leaves out is what the ratio is to show: checksums, terms and votes, a log that can be read
 * again, the thread of its own, the state machine.
 * @module
 */
import { close, fdatasync, open, unlink, write } from "node:fs";
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
const unlinkOf = promisify(unlink);
const closeOf = promisify(close);

export class RawLoop {
  readonly #path: string;
  #descriptor: number;
  /** Of the next file; it is prepared while this one is filled. */
  #next: Promise<number>;
  #sequence = 1;
  #waiting: Caller[] = [];
  #bytes = new Uint8Array(PAGE_BYTES);
  #isRunning = false;
  #offsetBytes = 0;

  constructor(path: string, descriptor: number) {
    this.#path = path;
    this.#descriptor = descriptor;
    this.#next = zeroed(`${path}-1`);
  }

  /** @param path of the first file; those after it have a number behind it */
  static async open(path: string): Promise<RawLoop> {
    const loop = new RawLoop(path, await zeroed(path));
    await loop.#next;
    return loop;
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
    void this.#write(batch); // What fails in it ends the process.
  }

  async #write(batch: readonly Caller[]): Promise<void> {
    const sizeBytes = this.#fill(batch);
    if (this.#offsetBytes + sizeBytes > FILE_BYTES) await this.#roll();
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

  async #roll(): Promise<void> {
    await closeOf(this.#descriptor);
    // Two of them are kept, so that a long round does not fill the disk.
    const old = `${this.#path}-${this.#sequence - 2}`;
    if (this.#sequence > 2) await unlinkOf(old);
    this.#descriptor = await this.#next;
    this.#offsetBytes = 0;
    this.#sequence += 1;
    this.#next = zeroed(`${this.#path}-${this.#sequence}`);
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
    await closeOf(await this.#next);
  }
}

/** Little by little, so that no fdatasync of the loop waits behind all of it. */
async function zeroed(path: string): Promise<number> {
  const descriptor = await openFile(path, "w+");
  const zeros = new Uint8Array(ZEROS_BYTES);
  for (let at = 0; at < FILE_BYTES; at += zeros.length) {
    await writeAt(descriptor, zeros, 0, zeros.length, at);
    await syncOf(descriptor);
  }
  return descriptor;
}
