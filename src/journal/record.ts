/**
 * The bytes of the write-ahead log: records, batches, segment identities and batch descriptors.
 *
 * Everything is little-endian. A record:
 * ```
 *  0 u32 payload length   4 u8 type   5 u8 version (1)   6 u16 flags (0)
 *  8 u64 index           16 u64 term
 * 24 u32 CRC-32C of bytes 0..24 and of the payload
 * 28 payload
 * ```
 * | type | index | term | payload |
 * |---|---|---|---|
 * | 1 entry-command, 2 entry-noop, 3 entry-config, 8 entry-commands | its index | its term | its bytes |
 * | 4 (was hardState in format 1) | | | |
 * | 5 truncateFrom | first index that is void | 0 | empty |
 * | 6 pad | 0 | 0 | zeros |
 * | 7 batchHead | last index after the batch | term of that entry | 80 B, below |
 *
 * A batch is what one write and one fdatasync made durable: a batchHead, records, and a pad up to the next multiple
 * of 4 KiB, where the next batch begins. The payload of a batchHead:
 * ```
 *  0 u32 bytes after the head, pad included   4 u32 chain of the batch before
 *  8 u32 chain = CRC-32C of those bytes, seeded with the chain of the batch before
 * 12 u32 records, head and pad not counted   16 u64 batch number, 1 for the journal's first
 * 24 u64 incarnation of the journal: user bytes that look like a head cannot know it
 * 32 u64 last index before the batch         40 u64 term of that entry
 * 48 hard state, 32 B
 * ```
 * A hard state, as it is after the batch:
 * ```
 *  0 u64 term   8 u64 commit index   16 u64 member voted for, 0 without   24 u32 1 with a vote, else 0   28 u32 0
 * ```
 * It stands in every head and descriptor, so that damage elsewhere makes nobody forget a vote. The chain makes bytes of
 * another time or place invalid, also those that are sound by themselves.
 *
 * A segment is a file of fixed size, zeros where it was never written:
 * ```
 * 0        identity, in a page of 4 KiB          4096     the same again
 * 8192     descriptor slots, a page of 4 KiB each, up to the data offset that the identity names
 * data     batches
 * ```
 * Identity:
 * ```
 *  0 8 B "RPWALSEG"      8 u32 format version (2)   12 u32 data offset     16 u64 member id   24 u64 incarnation
 * 32 u64 sequence       40 u64 first index          48 u32 chain before    52 u32 segment bytes
 * 56 u64 first batch    64 u64 term of first index - 1   72 u64 group id   80 u32 CRC-32C of 0..80
 * ```
 * A descriptor says that a batch IS durable: it is written only after the batch's fdatasync has returned, so a damaged
 * batch with a descriptor was acknowledged, and one at the end without any proof was not (a torn tail). One batch may have
 * two descriptors:
 * ```
 *  0 u32 "RPWD"   4 u32 format version (2)   8 u64 incarnation   16 u64 sequence   24 u64 batch number
 * 32 u32 offset  36 u32 length  40 u32 chain  44 u32 0  48 u64 last index  56 u64 last term
 * 64 hard state, its commit index the one known when it was written    96 u32 CRC-32C of 0..96
 * ```
 * Pure. Nothing here is ever renumbered; test/fixtures/wal-v2.bin must decode for ever.
 * @module
 */
import { DecodeError } from "../common/bytes.ts";
import type { LogIndex, MemberId, Term } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import type { Entry, HardState } from "../raft/messages.ts";

/** CRC-32C of bytes; `seed` is 0 or the CRC of what came before. */
export type Crc32c = (bytes: Uint8Array, seed?: number) => number;

export const RECORD_HEADER_BYTES = 28;
export const WAL_PAGE_BYTES = 4096;
export const BATCH_HEAD_BYTES = RECORD_HEADER_BYTES + 80;
export const DESCRIPTORS_OFFSET = 2 * WAL_PAGE_BYTES;
export const FORMAT_VERSION = 2;
export const HARD_STATE_BYTES = 32;
const RECORD_VERSION = 1;
const IDENTITY_BYTES = 84;
const DESCRIPTOR_BYTES = 100;
const DESCRIPTOR_MAGIC = 0x44575052;
const SEGMENT_MAGIC = new TextEncoder().encode("RPWALSEG");

export const RECORD_TYPES = {
  entryCommand: 1,
  entryNoop: 2,
  entryConfig: 3,
  truncateFrom: 5,
  pad: 6,
  batchHead: 7,
  entryCommands: 8,
} as const;

const ENTRY_TYPES = { command: 1, noop: 2, config: 3, commands: 8 } as const;
const ENTRY_KINDS: readonly (Entry["kind"] | undefined)[] = [
  undefined,
  "command",
  "noop",
  "config",
  undefined,
  undefined,
  undefined,
  undefined,
  "commands",
];

export type BatchHead = {
  /** Where the log ended before the batch, which was durable then. */
  readonly previousIndex: LogIndex;
  readonly previousTerm: Term;
  readonly hardState: HardState;
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  readonly bodyBytes: number;
  readonly previousChain: number;
  readonly chain: number;
  readonly recordCount: number;
  readonly batchNumber: number;
  readonly incarnation: bigint;
};

export type WalRecord =
  | { readonly kind: "entry"; readonly entry: Entry }
  | { readonly kind: "truncateFrom"; readonly index: LogIndex }
  | { readonly kind: "pad"; readonly lengthBytes: number }
  | { readonly kind: "batchHead"; readonly head: BatchHead };

/** A record that was read, and the length of it with its header. */
export type DecodedRecord = { readonly record: WalRecord; readonly sizeBytes: number };

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function setSafe(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 0x1_0000_0000, true);
  view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
}

export function getSafe(view: DataView, at: number): number {
  const value = view.getUint32(at + 4, true) * 0x1_0000_0000 + view.getUint32(at, true);
  if (!Number.isSafeInteger(value)) throw new DecodeError("A number is past 2^53");
  return value;
}

function payloadBytesOf(record: WalRecord): number {
  switch (record.kind) {
    case "entry":
      return record.entry.payload.length;
    case "truncateFrom":
      return 0;
    case "pad":
      return record.lengthBytes;
    case "batchHead":
      return BATCH_HEAD_BYTES - RECORD_HEADER_BYTES;
  }
}

/** Length of a record with its header. */
export function recordBytes(record: WalRecord): number {
  return RECORD_HEADER_BYTES + payloadBytesOf(record);
}

function putFields(view: DataView, at: number, type: number, index: number, term: number): void {
  view.setUint8(at + 4, type);
  view.setUint8(at + 5, RECORD_VERSION);
  view.setUint16(at + 6, 0, true);
  setSafe(view, at + 8, index);
  setSafe(view, at + 16, term);
}

function putBatchHead(view: DataView, at: number, head: BatchHead): void {
  const payload = at + RECORD_HEADER_BYTES;
  putFields(view, at, RECORD_TYPES.batchHead, head.lastIndex, head.lastTerm);
  view.setUint32(payload, head.bodyBytes, true);
  view.setUint32(payload + 4, head.previousChain, true);
  view.setUint32(payload + 8, head.chain, true);
  view.setUint32(payload + 12, head.recordCount, true);
  setSafe(view, payload + 16, head.batchNumber);
  view.setBigUint64(payload + 24, head.incarnation, true);
  setSafe(view, payload + 32, head.previousIndex);
  setSafe(view, payload + 40, head.previousTerm);
  putHardState(view, payload + 48, head.hardState);
}

/** HARD_STATE_BYTES at `at`. */
export function putHardState(view: DataView, at: number, hardState: HardState): void {
  const { term, vote, commitIndex } = hardState;
  setSafe(view, at, term);
  setSafe(view, at + 8, commitIndex);
  view.setBigUint64(at + 16, vote ?? 0n, true);
  view.setUint32(at + 24, vote === null ? 0 : 1, true);
  view.setUint32(at + 28, 0, true);
}

/** @throws DecodeError when a number is past 2^53 */
export function getHardState(view: DataView, at: number): HardState {
  const hasVote = view.getUint32(at + 24, true) !== 0;
  return {
    term: getSafe(view, at),
    commitIndex: getSafe(view, at + 8),
    // The only writer of this field wrote a member id.
    vote: hasVote ? (view.getBigUint64(at + 16, true) as MemberId) : null,
  };
}

/**
 * Writes a record at `at`.
 * @param into has room for it
 * @param view begins where `into` does, for those who write many records
 * @returns the offset after it
 */
export function writeRecord(
  into: Uint8Array,
  at: number,
  record: WalRecord,
  crc32c: Crc32c,
  view: DataView = viewOf(into),
): number {
  if (record.kind === "entry") return writeEntry(into, at, record.entry, crc32c, view);
  const sizeBytes = recordBytes(record);
  const end = at + sizeBytes;
  invariant(end <= into.length, "a record is written where it has room");
  view.setUint32(at, sizeBytes - RECORD_HEADER_BYTES, true);
  switch (record.kind) {
    case "truncateFrom":
      putFields(view, at, RECORD_TYPES.truncateFrom, record.index, 0);
      break;
    case "pad":
      putFields(view, at, RECORD_TYPES.pad, 0, 0);
      into.fill(0, at + RECORD_HEADER_BYTES, end);
      break;
    case "batchHead":
      putBatchHead(view, at, record.head);
      break;
  }
  view.setUint32(at + 24, crcOfRecord(into, at, end, crc32c), true);
  return end;
}

/** As {@link writeRecord}, without a record around the entry. */
export function writeEntry(
  into: Uint8Array,
  at: number,
  { index, term, kind, payload }: Entry,
  crc32c: Crc32c,
  view: DataView,
): number {
  const end = at + RECORD_HEADER_BYTES + payload.length;
  invariant(end <= into.length, "a record is written where it has room");
  view.setUint32(at, payload.length, true);
  putFields(view, at, ENTRY_TYPES[kind], index, term);
  into.set(payload, at + RECORD_HEADER_BYTES);
  view.setUint32(at + 24, crcOfRecord(into, at, end, crc32c), true);
  return end;
}

function crcOfRecord(bytes: Uint8Array, at: number, end: number, crc32c: Crc32c): number {
  const ofHeader = crc32c(bytes.subarray(at, at + 24));
  if (end === at + RECORD_HEADER_BYTES) return ofHeader;
  return crc32c(bytes.subarray(at + RECORD_HEADER_BYTES, end), ofHeader);
}

function readBatchHead(view: DataView, at: number): BatchHead {
  const payload = at + RECORD_HEADER_BYTES;
  return {
    lastIndex: getSafe(view, at + 8),
    lastTerm: getSafe(view, at + 16),
    bodyBytes: view.getUint32(payload, true),
    previousChain: view.getUint32(payload + 4, true),
    chain: view.getUint32(payload + 8, true),
    recordCount: view.getUint32(payload + 12, true),
    batchNumber: getSafe(view, payload + 16),
    incarnation: view.getBigUint64(payload + 24, true),
    previousIndex: getSafe(view, payload + 32),
    previousTerm: getSafe(view, payload + 40),
    hardState: getHardState(view, payload + 48),
  };
}

/**
 * Reads the record at `at`.
 * @param verify "crc" checks its CRC; "chained" leaves that out for bytes whose chain was checked
 * @param view on `bytes`, for those who read many records of them
 * @returns payloads are views on `bytes`
 * @throws DecodeError when no sound record of this format is there
 */
export function readRecord(
  bytes: Uint8Array,
  at: number,
  crc32c: Crc32c,
  verify: "crc" | "chained" = "crc",
  view: DataView = viewOf(bytes),
): DecodedRecord {
  if (bytes.length - at < RECORD_HEADER_BYTES) throw new DecodeError("A record header is cut off");
  const payloadBytes = view.getUint32(at, true);
  const sizeBytes = RECORD_HEADER_BYTES + payloadBytes;
  if (sizeBytes > bytes.length - at)
    throw new DecodeError(`A record of ${sizeBytes} B is cut off at ${bytes.length - at} B`);
  const end = at + sizeBytes;
  if (verify === "crc" && view.getUint32(at + 24, true) !== crcOfRecord(bytes, at, end, crc32c))
    throw new DecodeError("The CRC-32C of a record does not match");
  const version = view.getUint8(at + 5);
  const flags = view.getUint16(at + 6, true);
  if (version !== RECORD_VERSION || flags !== 0)
    throw new DecodeError(`A record has version ${version} and flags ${flags}`);
  return { record: decodeFields(bytes, view, at, end), sizeBytes };
}

function decodeFields(bytes: Uint8Array, view: DataView, at: number, end: number): WalRecord {
  const type = view.getUint8(at + 4);
  const index = getSafe(view, at + 8);
  const term = getSafe(view, at + 16);
  const payload = at + RECORD_HEADER_BYTES;
  const payloadBytes = end - payload;
  const kind = ENTRY_KINDS[type];
  if (kind !== undefined)
    return { kind: "entry", entry: { index, term, kind, payload: bytes.subarray(payload, end) } };
  if (type === RECORD_TYPES.truncateFrom && payloadBytes === 0)
    return { kind: "truncateFrom", index };
  if (type === RECORD_TYPES.pad) return { kind: "pad", lengthBytes: payloadBytes };
  if (type === RECORD_TYPES.batchHead && payloadBytes === BATCH_HEAD_BYTES - RECORD_HEADER_BYTES)
    return { kind: "batchHead", head: readBatchHead(view, at) };
  throw new DecodeError(`A record has type ${type} and ${payloadBytes} B of payload`);
}

/** Bytes of a batch of records that are `recordsBytes` long together: whole pages, with room for the pad's header. */
export function batchBytes(recordsBytes: number): number {
  const least = BATCH_HEAD_BYTES + recordsBytes + RECORD_HEADER_BYTES;
  return Math.ceil(least / WAL_PAGE_BYTES) * WAL_PAGE_BYTES;
}

/** The batch head at `at`, or null when none of this journal is there. Says nothing about the body. */
export function readBatchHeadAt(
  bytes: Uint8Array,
  at: number,
  incarnation: bigint,
  crc32c: Crc32c,
): BatchHead | null {
  if (bytes.length - at < BATCH_HEAD_BYTES || bytes[at + 4] !== RECORD_TYPES.batchHead) return null;
  try {
    const { record } = readRecord(bytes.subarray(at, at + BATCH_HEAD_BYTES), 0, crc32c);
    return record.kind === "batchHead" && record.head.incarnation === incarnation
      ? record.head
      : null;
  } catch (error) {
    if (error instanceof DecodeError) return null;
    throw error;
  }
}

export type SegmentIdentity = {
  readonly dataOffset: number;
  readonly memberId: MemberId;
  readonly incarnation: bigint;
  readonly sequence: number;
  /** Index of the next entry when the segment was begun. Of the oldest segment: the log begins here. */
  readonly firstIndex: LogIndex;
  readonly previousTerm: Term;
  readonly previousChain: number;
  readonly segmentBytes: number;
  readonly firstBatchNumber: number;
  readonly groupId: bigint;
};

/** One page; it is written twice. */
export function encodeIdentity(identity: SegmentIdentity, crc32c: Crc32c): Uint8Array {
  const page = new Uint8Array(WAL_PAGE_BYTES);
  const view = viewOf(page);
  page.set(SEGMENT_MAGIC);
  view.setUint32(8, FORMAT_VERSION, true);
  view.setUint32(12, identity.dataOffset, true);
  view.setBigUint64(16, identity.memberId, true);
  view.setBigUint64(24, identity.incarnation, true);
  setSafe(view, 32, identity.sequence);
  setSafe(view, 40, identity.firstIndex);
  view.setUint32(48, identity.previousChain, true);
  view.setUint32(52, identity.segmentBytes, true);
  setSafe(view, 56, identity.firstBatchNumber);
  setSafe(view, 64, identity.previousTerm);
  view.setBigUint64(72, identity.groupId, true);
  view.setUint32(80, crc32c(page.subarray(0, 80)), true);
  return page;
}

/** The identity in a page, or null when the page holds none. */
export function decodeIdentity(page: Uint8Array, crc32c: Crc32c): SegmentIdentity | null {
  if (page.length < IDENTITY_BYTES) return null;
  const view = viewOf(page);
  if (SEGMENT_MAGIC.some((byte, at) => page[at] !== byte)) return null;
  if (view.getUint32(80, true) !== crc32c(page.subarray(0, 80))) return null;
  if (view.getUint32(8, true) !== FORMAT_VERSION)
    throw new DecodeError(`A segment has format ${view.getUint32(8, true)}`);
  return {
    dataOffset: view.getUint32(12, true),
    // The only writer of this field wrote a member id.
    memberId: view.getBigUint64(16, true) as MemberId,
    incarnation: view.getBigUint64(24, true),
    sequence: getSafe(view, 32),
    firstIndex: getSafe(view, 40),
    previousChain: view.getUint32(48, true),
    segmentBytes: view.getUint32(52, true),
    firstBatchNumber: getSafe(view, 56),
    previousTerm: getSafe(view, 64),
    groupId: view.getBigUint64(72, true),
  };
}

export type BatchDescriptor = {
  readonly incarnation: bigint;
  readonly sequence: number;
  readonly batchNumber: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly chain: number;
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  readonly hardState: HardState;
};

/** One page. */
export function encodeDescriptor(descriptor: BatchDescriptor, crc32c: Crc32c): Uint8Array {
  const page = new Uint8Array(WAL_PAGE_BYTES);
  const view = viewOf(page);
  view.setUint32(0, DESCRIPTOR_MAGIC, true);
  view.setUint32(4, FORMAT_VERSION, true);
  view.setBigUint64(8, descriptor.incarnation, true);
  setSafe(view, 16, descriptor.sequence);
  setSafe(view, 24, descriptor.batchNumber);
  view.setUint32(32, descriptor.offsetBytes, true);
  view.setUint32(36, descriptor.lengthBytes, true);
  view.setUint32(40, descriptor.chain, true);
  setSafe(view, 48, descriptor.lastIndex);
  setSafe(view, 56, descriptor.lastTerm);
  putHardState(view, 64, descriptor.hardState);
  view.setUint32(96, crc32c(page.subarray(0, 96)), true);
  return page;
}

/** The descriptor in a page, or null when the page holds none that is sound. */
export function decodeDescriptor(page: Uint8Array, crc32c: Crc32c): BatchDescriptor | null {
  if (page.length < DESCRIPTOR_BYTES) return null;
  const view = viewOf(page);
  if (view.getUint32(0, true) !== DESCRIPTOR_MAGIC) return null;
  if (view.getUint32(96, true) !== crc32c(page.subarray(0, 96))) return null;
  if (view.getUint32(4, true) !== FORMAT_VERSION) return null;
  return {
    incarnation: view.getBigUint64(8, true),
    sequence: getSafe(view, 16),
    batchNumber: getSafe(view, 24),
    offsetBytes: view.getUint32(32, true),
    lengthBytes: view.getUint32(36, true),
    chain: view.getUint32(40, true),
    lastIndex: getSafe(view, 48),
    lastTerm: getSafe(view, 56),
    hardState: getHardState(view, 64),
  };
}
