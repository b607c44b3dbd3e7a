/**
 * Reads a segment piece by piece through one buffer that all segments of a recovery share, so that a restart takes no
 * more memory than a first start.
 * @module
 */
import type { JournalFile } from "./file_system.ts";
import { WAL_PAGE_BYTES } from "./record.ts";

/** Holds any batch, and some pages of the next; whole pages. */
export const WINDOW_BYTES = 512 * WAL_PAGE_BYTES;

export interface SegmentBytes {
  readonly sizeBytes: number;
  /** The bytes from an offset on, fewer only at the end of the file; they hold until the next call. */
  read(offsetBytes: number, lengthBytes: number): Uint8Array;
}

/** The buffer of a recovery. It grows for a batch that is longer, which only a larger limit could have written. */
export class WindowBuffer {
  // No Buffer: its `slice` would keep all of it alive.
  bytes = new Uint8Array(WINDOW_BYTES);
}

export class SegmentWindow implements SegmentBytes {
  readonly sizeBytes: number;
  readonly #file: JournalFile;
  readonly #buffer: WindowBuffer;
  #start = 0;
  #end = 0;

  /** @param buffer of which nothing else reads while this is used */
  constructor(file: JournalFile, buffer: WindowBuffer) {
    this.#file = file;
    this.#buffer = buffer;
    this.sizeBytes = file.sizeSync();
  }

  read(offsetBytes: number, lengthBytes: number): Uint8Array {
    const end = Math.min(offsetBytes + lengthBytes, this.sizeBytes);
    if (offsetBytes < this.#start || end > this.#end) this.#fill(offsetBytes, end);
    return this.#buffer.bytes.subarray(
      offsetBytes - this.#start,
      Math.max(offsetBytes, Math.min(end, this.#end)) - this.#start,
    );
  }

  /** Ahead of what is asked for, as far as the buffer goes. */
  #fill(start: number, end: number): void {
    if (end - start > this.#buffer.bytes.length) this.#buffer.bytes = new Uint8Array(end - start);
    const { bytes } = this.#buffer;
    const count = Math.max(0, Math.min(bytes.length, this.sizeBytes - start));
    this.#start = start;
    this.#end = start + readWhatCan(this.#file, bytes.subarray(0, count), start);
  }
}

/** A sector that the disk cannot read is damage like any other. */
function isUnreadable(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EIO";
}

/** Reads with zeros for those pages that the disk cannot read; checksums tell. @returns bytes read */
export function readWhatCan(file: JournalFile, into: Uint8Array, start: number): number {
  try {
    return file.readSync(into, start);
  } catch (error) {
    if (!isUnreadable(error)) throw error;
  }
  const sizeBytes = Math.max(0, Math.min(into.length, file.sizeSync() - start));
  for (let at = 0; at < sizeBytes; at += WAL_PAGE_BYTES) {
    const page = into.subarray(at, Math.min(at + WAL_PAGE_BYTES, sizeBytes));
    try {
      file.readSync(page, start + at);
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      page.fill(0);
    }
  }
  return sizeBytes;
}
