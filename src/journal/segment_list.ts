/**
 * The segments of an open log, in order; the last one is written to.
 * @module
 */
import type { LogIndex } from "../common/ids.ts";
import type { JournalFileSystem } from "./file_system.ts";
import type { SegmentIdentity } from "./record.ts";
import type { ClosedSegment } from "./scrubber.ts";
import { startOf } from "./segment_file.ts";
import { writeFailure } from "./wal_failure.ts";
import type { LogStart } from "./wal_mark.ts";
import { pathOfSegment } from "./wal_scan.ts";

export class SegmentList {
  readonly #fileSystem: JournalFileSystem;
  readonly #folder: string;
  #segments: SegmentIdentity[];

  constructor(fileSystem: JournalFileSystem, folder: string, segments: readonly SegmentIdentity[]) {
    this.#fileSystem = fileSystem;
    this.#folder = folder;
    this.#segments = [...segments];
  }

  pathOf(sequence: number): string {
    return pathOfSegment(this.#folder, sequence);
  }

  /** The entry that followed when the segment was begun; undefined for one that is not in use. */
  firstIndexOf(sequence: number): LogIndex | undefined {
    return this.#segments.find((each) => each.sequence === sequence)?.firstIndex;
  }

  push(identity: SegmentIdentity): void {
    this.#segments.push(identity);
  }

  /** Sequence of the oldest; Infinity for none. */
  get oldest(): number {
    return this.#segments[0]?.sequence ?? Number.POSITIVE_INFINITY;
  }

  /** @param start where reading of the oldest one begins */
  closed(start: LogStart): readonly ClosedSegment[] {
    return this.#segments.slice(0, -1).flatMap((identity, at) => {
      const next = this.#segments[at + 1];
      if (next === undefined) return [];
      const path = this.pathOf(identity.sequence);
      const isCut = identity.sequence === start.sequence && start.offsetBytes > 0;
      const { offsetBytes, chain, batchNumber } = start;
      const cut = { offsetBytes, previousChain: chain, firstBatchNumber: batchNumber };
      return [{ path, identity, next, start: isCut ? cut : startOf(identity) }];
    });
  }

  /**
   * Removes the files of segments before `sequence`. That it is durable is of no account: the mark tells what counts.
   * @returns how many there were
   * @throws WalError
   */
  async dropBefore(sequence: number): Promise<number> {
    const dropped = this.#segments.filter((each) => each.sequence < sequence);
    this.#segments = this.#segments.filter((each) => each.sequence >= sequence);
    for (const each of dropped) {
      const path = this.pathOf(each.sequence);
      try {
        await this.#fileSystem.remove(path);
      } catch (error) {
        throw writeFailure(error, path);
      }
    }
    return dropped.length;
  }
}
