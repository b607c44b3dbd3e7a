/**
 * The descriptor of the newest durable batch, until something is synced that it can ride on.
 * @module
 */
import type { HardState } from "../raft/messages.ts";
import type { WritePart } from "./file_system.ts";
import type { BatchDescriptor, Crc32c, SegmentIdentity } from "./record.ts";
import { descriptorPart } from "./segment_file.ts";

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
   * What to write of it, together with the next batch.
   * @param hardState of now; a batch that holds it may still be on its way, which makes no vote less binding
   * @returns null when there is nothing to write
   */
  take(identity: SegmentIdentity, hardState: HardState): WritePart | null {
    const waiting = this.#waiting;
    this.#waiting = null;
    // A newer segment is proof enough for what an older one holds.
    if (waiting === null || waiting.sequence !== identity.sequence) return null;
    return descriptorPart(identity, this.#slot++, { ...waiting, hardState }, this.#crc32c);
  }

  /** As `take`, for two slots: of the last batch before a pause there is no other proof, so one must not be the only one. */
  takeTwice(identity: SegmentIdentity, hardState: HardState): readonly WritePart[] {
    const waiting = this.#waiting;
    const first = this.take(identity, hardState);
    if (first === null) return [];
    this.#waiting = waiting;
    const second = this.take(identity, hardState);
    return second === null ? [first] : [first, second];
  }
}
