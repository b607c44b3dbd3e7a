/**
 * Reads entries back from the segments, once memory has let them go: for a peer that lags far behind, and for apply
 * after a restart. The reads block, because Raft's core cannot wait for them.
 * @module
 */
import { join } from "node:path";
import type { LogIndex } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import type { Entry } from "../raft/messages.ts";
import { type EntryIndex, splitPlace } from "./entry_index.ts";
import type { JournalFile, JournalFileSystem } from "./file_system.ts";
import { type Crc32c, RECORD_HEADER_BYTES, readRecord } from "./record.ts";
import { segmentName } from "./segment_file.ts";
import { readWhatCan } from "./segment_window.ts";
import { damagedEntry } from "./wal_failure.ts";

/** One blocking read. Not kept: bytes behind the last entry in it may be written later. */
const WINDOW_BYTES = 256 * 1024;

export class OldEntries {
  readonly #fileSystem: JournalFileSystem;
  readonly #folder: string;
  readonly #crc32c: Crc32c;
  readonly #index: EntryIndex;
  readonly #files = new Map<number, JournalFile>();

  constructor(fileSystem: JournalFileSystem, folder: string, crc32c: Crc32c, index: EntryIndex) {
    this.#fileSystem = fileSystem;
    this.#folder = folder;
    this.#crc32c = crc32c;
    this.#index = index;
  }

  /** Reads through a file that the log has open, and closes it in the end. */
  adopt(sequence: number, file: JournalFile): void {
    this.#files.set(sequence, file);
  }

  /** Closes the files of segments before `sequence`. */
  forgetBefore(sequence: number): void {
    for (const [each, file] of this.#files)
      if (each < sequence) {
        file.close();
        this.#files.delete(each);
      }
  }

  close(): void {
    for (const file of this.#files.values()) file.close();
    this.#files.clear();
  }

  #fileOf(sequence: number): JournalFile {
    const known = this.#files.get(sequence);
    if (known !== undefined) return known;
    const path = join(this.#folder, segmentName(sequence));
    const file = this.#fileSystem.openSync(path, "read");
    this.#files.set(sequence, file);
    return file;
  }

  /** Entries of [from, to), at least one, then as many as fit in `bytesMax`; from memory where it holds them. */
  entries(from: LogIndex, to: LogIndex, bytesMax: number): readonly Entry[] {
    invariant(from >= this.#index.firstIndex, "entries that were trimmed are not asked for");
    invariant(to <= this.#index.lastIndex + 1, "entries after the last are not asked for");
    const found: Entry[] = [];
    let bytes = 0;
    for (let index = from; index < to; ) {
      const held = this.#index.held(index);
      const some = held !== undefined ? [held] : this.read(index, to);
      for (const entry of some) {
        bytes += entry.payload.length;
        if (found.length > 0 && bytes > bytesMax) return found;
        found.push(entry);
      }
      index += some.length;
    }
    return found;
  }

  /**
   * Entries of [from, to) that lie in one window of a file and are not in memory; at least the first.
   * @throws WalError when what is there is not the entry
   */
  read(from: LogIndex, to: LogIndex): readonly Entry[] {
    const { sequence, offsetBytes } = splitPlace(this.#index.placeAt(from));
    const window = this.#window(this.#fileOf(sequence), offsetBytes);
    const view = new DataView(window.buffer, window.byteOffset, window.byteLength);
    const found: Entry[] = [];
    for (let index = from; index < to; index++) {
      const place = splitPlace(this.#index.placeAt(index));
      const at = place.offsetBytes - offsetBytes;
      if (index > from) {
        const isHeld = this.#index.held(index) !== undefined;
        if (isHeld || place.sequence !== sequence || at < 0) break;
        const headerEnd = at + RECORD_HEADER_BYTES;
        if (headerEnd > window.length || headerEnd + view.getUint32(at, true) > window.length)
          break;
      }
      found.push(this.#decode(window, at, index, sequence, place.offsetBytes));
    }
    return found;
  }

  /** Bytes from an offset on: a window, or more if the first record is longer. */
  #window(file: JournalFile, offsetBytes: number): Uint8Array {
    const bytes = new Uint8Array(WINDOW_BYTES);
    const count = readWhatCan(file, bytes, offsetBytes);
    const payloadBytes = count >= 4 ? new DataView(bytes.buffer).getUint32(0, true) : 0;
    const neededBytes = RECORD_HEADER_BYTES + payloadBytes;
    // A length beyond the file is damage, which the CRC finds.
    if (neededBytes <= bytes.length || offsetBytes + neededBytes > file.sizeSync())
      return bytes.subarray(0, count);
    const larger = new Uint8Array(neededBytes);
    return larger.subarray(0, readWhatCan(file, larger, offsetBytes));
  }

  #decode(
    window: Uint8Array,
    at: number,
    index: LogIndex,
    sequence: number,
    offsetBytes: number,
  ): Entry {
    try {
      const { record } = readRecord(window, at, this.#crc32c);
      const isEntry = record.kind === "entry" && record.entry.index === index;
      if (isEntry && record.entry.term === this.#index.termOf(index)) return record.entry;
      throw new Error(`A ${record.kind} of another place is there`);
    } catch (cause) {
      throw damagedEntry(join(this.#folder, segmentName(sequence)), offsetBytes, index, cause);
    }
  }
}
