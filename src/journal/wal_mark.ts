/**
 * Where the log begins, and what the member has promised beyond it: one small file that is written in place, twice.
 *
 * `wal-begin`, little-endian: two copies, at 0 and at 32768, each
 * ```
 *   0 8 B "RPWALBEG"   8 u32 format version (2)   12 u32 flags: 1 promised, 2 membership
 *  16 u64 generation   24 u64 member id   32 u64 incarnation   40 u64 group id
 *  48 u64 index before the log's first entry   56 u64 its term
 *  64 u64 sequence of the segment where reading starts   72 u32 offset in it, 0: its data offset   76 u32 chain before it
 *  80 u64 number of the first batch there   88 u64 sequence of the newest segment that was begun, 0 for none
 *  96 u64 promised index   104 u64 its term
 * 112 hard state, 32 B (record.ts): term and vote are at least these
 * 144 u32 membership bytes   148 u32 CRC-32C of 0..148 and of the membership
 * 152 the membership in force where the log begins, as in a config entry; without: that of the founders
 * ```
 * A change writes the first copy, waits until it is durable, and then writes the second. So a crash leaves the old state or
 * the new one, no change needs room on the disk, and one damaged copy is no loss. The copy with the higher generation holds.
 *
 * A segment counts only when its sequence is at least the one where reading starts; older ones are waiting to be removed.
 * A segment is named as begun before its first batch is acknowledged, so that a newest segment that vanished is missed.
 * @module
 */
import { join } from "node:path";
import { DecodeError } from "../common/bytes.ts";
import { RockpoolError } from "../common/errors.ts";
import type { MemberId } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import type { HardState, Position } from "../raft/messages.ts";
import { type JournalFile, type JournalFileSystem, writeFully } from "./file_system.ts";
import {
  type Crc32c,
  FORMAT_VERSION,
  getHardState,
  getSafe,
  putHardState,
  setSafe,
  WAL_PAGE_BYTES,
} from "./record.ts";

export const MARK_FILE = "wal-begin";
const COPY_BYTES = 32 * 1024;
const MEMBERSHIP_OFFSET = 152;
const CRC_OFFSET = 148;
const MAGIC = new TextEncoder().encode("RPWALBEG");
const FLAGS = { promised: 1, membership: 2 } as const;

/** Who wrote the journal; the mark and every segment name it. */
export type WalOwner = {
  readonly memberId: MemberId;
  readonly incarnation: bigint;
  readonly groupId: bigint;
};

/** The first batch that is read. */
export type LogStart = {
  readonly sequence: number;
  /** 0: where the batches of the segment begin; the rest of this is of no account then, if the segment exists. */
  readonly offsetBytes: number;
  readonly chain: number;
  readonly batchNumber: number;
};

export type WalMark = {
  readonly owner: WalOwner;
  readonly generation: number;
  /** The log's first entry is the next one. */
  readonly begin: Position;
  /** Payload of a config entry; null: the founders. */
  readonly membership: Uint8Array | null;
  readonly start: LogStart;
  /** Newest segment that was begun; 0 for none. */
  readonly lastSequence: number;
  readonly promised: Position | null;
  readonly hardState: HardState;
};

export const NO_STATE: HardState = { term: 0, vote: null, commitIndex: 0 };

/** Of a journal that was never written. */
export function firstMark(owner: WalOwner): WalMark {
  return {
    owner,
    generation: 0,
    begin: { index: 0, term: 0 },
    membership: null,
    start: { sequence: 1, offsetBytes: 0, chain: 0, batchNumber: 1 },
    lastSequence: 0,
    promised: null,
    hardState: NO_STATE,
  };
}

/** What both say together about term and vote; neither is older news than the other. */
export function mergeStates(one: HardState, other: HardState): HardState {
  const commitIndex = Math.max(one.commitIndex, other.commitIndex);
  if (one.term !== other.term) return { ...(one.term > other.term ? one : other), commitIndex };
  return { term: one.term, vote: one.vote ?? other.vote, commitIndex };
}

/** Raft's order of logs by their last entry (5.4.1). */
export function isAtLeast(one: Position, other: Position): boolean {
  return one.term > other.term || (one.term === other.term && one.index >= other.index);
}

export function encodeMark(mark: WalMark, crc32c: Crc32c): Uint8Array {
  const membership = mark.membership ?? new Uint8Array(0);
  const sizeBytes = MEMBERSHIP_OFFSET + membership.length;
  invariant(sizeBytes <= COPY_BYTES, "a membership has a bounded size");
  const bytes = new Uint8Array(Math.ceil(sizeBytes / WAL_PAGE_BYTES) * WAL_PAGE_BYTES);
  const view = new DataView(bytes.buffer);
  const { begin, owner, start, promised } = mark;
  bytes.set(MAGIC);
  view.setUint32(8, FORMAT_VERSION, true);
  const flags = (promised === null ? 0 : FLAGS.promised) + (mark.membership ? FLAGS.membership : 0);
  view.setUint32(12, flags, true);
  setSafe(view, 16, mark.generation);
  view.setBigUint64(24, owner.memberId, true);
  view.setBigUint64(32, owner.incarnation, true);
  view.setBigUint64(40, owner.groupId, true);
  setSafe(view, 48, begin.index);
  setSafe(view, 56, begin.term);
  setSafe(view, 64, start.sequence);
  view.setUint32(72, start.offsetBytes, true);
  view.setUint32(76, start.chain, true);
  setSafe(view, 80, start.batchNumber);
  setSafe(view, 88, mark.lastSequence);
  setSafe(view, 96, promised?.index ?? 0);
  setSafe(view, 104, promised?.term ?? 0);
  putHardState(view, 112, mark.hardState);
  view.setUint32(144, membership.length, true);
  bytes.set(membership, MEMBERSHIP_OFFSET);
  view.setUint32(CRC_OFFSET, crcOf(bytes, membership.length, crc32c), true);
  return bytes;
}

function crcOf(bytes: Uint8Array, membershipBytes: number, crc32c: Crc32c): number {
  const ofHead = crc32c(bytes.subarray(0, CRC_OFFSET));
  return crc32c(bytes.subarray(MEMBERSHIP_OFFSET, MEMBERSHIP_OFFSET + membershipBytes), ofHead);
}

/**
 * The mark in one copy, or null when none that is sound is there.
 * @throws DecodeError when it is sound and of another format
 */
export function decodeMark(bytes: Uint8Array, crc32c: Crc32c): WalMark | null {
  if (bytes.length < MEMBERSHIP_OFFSET || MAGIC.some((byte, at) => bytes[at] !== byte)) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const membershipBytes = view.getUint32(144, true);
  if (membershipBytes > bytes.length - MEMBERSHIP_OFFSET) return null;
  if (view.getUint32(CRC_OFFSET, true) !== crcOf(bytes, membershipBytes, crc32c)) return null;
  const version = view.getUint32(8, true);
  if (version !== FORMAT_VERSION) throw new DecodeError(`A journal has format ${version}`);
  const flags = view.getUint32(12, true);
  const membership = bytes.slice(MEMBERSHIP_OFFSET, MEMBERSHIP_OFFSET + membershipBytes);
  const promised = { index: getSafe(view, 96), term: getSafe(view, 104) };
  return {
    owner: {
      // The only writer of this field wrote a member id.
      memberId: view.getBigUint64(24, true) as MemberId,
      incarnation: view.getBigUint64(32, true),
      groupId: view.getBigUint64(40, true),
    },
    generation: getSafe(view, 16),
    begin: { index: getSafe(view, 48), term: getSafe(view, 56) },
    membership: (flags & FLAGS.membership) === 0 ? null : membership,
    start: {
      sequence: getSafe(view, 64),
      offsetBytes: view.getUint32(72, true),
      chain: view.getUint32(76, true),
      batchNumber: getSafe(view, 80),
    },
    lastSequence: getSafe(view, 88),
    promised: (flags & FLAGS.promised) === 0 ? null : promised,
    hardState: getHardState(view, 112),
  };
}

/** `isWhole`: both copies are sound and the same. */
export type FoundMark =
  | { readonly kind: "found"; readonly mark: WalMark; readonly isWhole: boolean }
  | { readonly kind: "none" }
  | { readonly kind: "damaged"; readonly path: string };

/** @throws RockpoolError FAILED_PRECONDITION when the mark is of another format */
export function readMark(fileSystem: JournalFileSystem, folder: string, crc32c: Crc32c): FoundMark {
  const path = join(folder, MARK_FILE);
  if (!fileSystem.existsSync(path)) return { kind: "none" };
  const copies = readCopies(fileSystem, path, crc32c).filter((copy) => copy !== null);
  const [first, second] = copies.sort((a, b) => b.generation - a.generation);
  if (first === undefined) return { kind: "damaged", path };
  return { kind: "found", mark: first, isWhole: first.generation === second?.generation };
}

function readCopies(fileSystem: JournalFileSystem, path: string, crc32c: Crc32c) {
  const file = fileSystem.openSync(path, "read");
  try {
    return [0, COPY_BYTES].map((at) => {
      const bytes = new Uint8Array(COPY_BYTES);
      const found = bytes.subarray(0, readOrNothing(file, bytes, at));
      return decodeMark(found, crc32c);
    });
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `Journal file ${path} cannot be read by this version: ${cause.message}`,
      "Start the version of the program that wrote the journal, or a newer one",
      { cause },
    );
  } finally {
    file.close();
  }
}

/** A sector that cannot be read is a damaged one. */
function readOrNothing(file: JournalFile, into: Uint8Array, at: number): number {
  try {
    return file.readSync(into, at);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EIO") return 0;
    throw error;
  }
}

/** The mark of a log that is open; changes are made one after the other. */
export class MarkFile {
  readonly #file: JournalFile;
  readonly #crc32c: Crc32c;
  #mark: WalMark;
  #last: Promise<void> = Promise.resolve();

  constructor(file: JournalFile, mark: WalMark, crc32c: Crc32c) {
    this.#file = file;
    this.#mark = mark;
    this.#crc32c = crc32c;
  }

  /** As it is on the disk. */
  get mark(): WalMark {
    return this.#mark;
  }

  /** Resolves when the change is durable. After a failure the file must be opened anew: either state may be there. */
  update(change: (mark: WalMark) => Partial<WalMark>): Promise<void> {
    const done = this.#last.then(async () => {
      const mark = this.#mark;
      const next = { ...mark, ...change(mark), generation: mark.generation + 1 };
      await writeCopies(this.#file, next, this.#crc32c);
      this.#mark = next;
    });
    // Whoever asked for it meets the failure; those after it fail by themselves.
    this.#last = done.catch(() => {});
    return done;
  }

  /** Once all changes have ended. */
  async close(): Promise<void> {
    await this.#last;
    this.#file.close();
  }
}

async function writeCopies(file: JournalFile, mark: WalMark, crc32c: Crc32c): Promise<void> {
  const bytes = encodeMark(mark, crc32c);
  for (const at of [0, COPY_BYTES]) {
    await writeFully(file, bytes, at);
    await file.datasync();
  }
}

/** Makes the file, durable in the folder before it appears under its name. */
export async function createMark(
  fileSystem: JournalFileSystem,
  folder: string,
  mark: WalMark,
  crc32c: Crc32c,
): Promise<MarkFile> {
  const path = join(folder, MARK_FILE);
  const file = await fileSystem.create(`${path}.new`);
  try {
    await writeFully(file, new Uint8Array(2 * COPY_BYTES), 0);
    await writeCopies(file, mark, crc32c);
    await fileSystem.rename(`${path}.new`, path);
    await fileSystem.syncFolder(folder);
    return new MarkFile(file, mark, crc32c);
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Opens the file that `readMark` found, and mends a copy that is damaged or behind. */
export async function openMark(
  fileSystem: JournalFileSystem,
  folder: string,
  found: Extract<FoundMark, { kind: "found" }>,
  crc32c: Crc32c,
): Promise<MarkFile> {
  const file = fileSystem.openSync(join(folder, MARK_FILE), "readWrite");
  const marks = new MarkFile(file, found.mark, crc32c);
  try {
    // Also when it is whole: it may so far be in the page cache only.
    await marks.update(() => ({}));
    return marks;
  } catch (error) {
    file.close();
    throw error;
  }
}
