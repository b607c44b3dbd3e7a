/**
 * The descriptor of the newest durable batch, until something is synced that it can ride on.
 * @module
 */
import type { HardState } from "../raft/messages.ts";
import type { JournalFile } from "./file_system.ts";
import type { BatchDescriptor, Crc32c, SegmentIdentity } from "./record.ts";
import { writeDescriptor } from "./segment_file.ts";

export class DescriptorWriter {
  readonly #crc32c: Crc32c;
  #slot: number;
  #waiting: Omit<BatchDescriptor, "hardState"> | null = null;

  /** @param slot the first to use; slots are used in turn */
  constructor(crc32c: Crc32c, slot: number) {
    this.#crc32c = crc32c;
    this.#slot = slot;
  }

  get isWaiting(): boolean {
    return this.#waiting !== null;
  }

  /** Replaces an older one: one descriptor proves all batches before it. */
  note(descriptor: Omit<BatchDescriptor, "hardState"> | null): void {
    this.#waiting = descriptor;
  }

  /**
   * Begins to write it, without waiting for the disk.
   * @param hardState of now; a batch that holds it may still be on its way, which makes no vote less binding
   * @returns null when there is nothing to write
   */
  write(
    { file, identity }: { readonly file: JournalFile; readonly identity: SegmentIdentity },
    hardState: HardState,
  ): Promise<void> | null {
    const waiting = this.#waiting;
    this.#waiting = null;
    // A newer segment is proof enough for what an older one holds.
    if (waiting === null || waiting.sequence !== identity.sequence) return null;
    const descriptor = { ...waiting, hardState };
    return writeDescriptor(file, identity, this.#slot++, descriptor, this.#crc32c);
  }

  /** As `write`, into two slots: of the last batch before a pause there is no other proof, so one must not be the only one. */
  async writeTwice(
    segment: { readonly file: JournalFile; readonly identity: SegmentIdentity },
    hardState: HardState,
  ): Promise<boolean> {
    const waiting = this.#waiting;
    const first = this.write(segment, hardState);
    if (first === null) return false;
    this.#waiting = waiting;
    const results = await Promise.allSettled([first, this.write(segment, hardState)]);
    for (const result of results) if (result.status === "rejected") throw result.reason;
    return true;
  }
}
