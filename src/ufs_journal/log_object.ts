/**
 * One object of the log on a shared store: some consecutive entries, made at once and never changed.
 *
 * Little-endian, version 1:
 * ```
 *  0  8 B "RPUFSLOG"      8 u16 version (1)   10 u16 zero   12 u32 number of entries, at least 1
 * 16 u64 group           24 u64 epoch        32 u64 epoch of the object before (0 for none)
 * 40 u64 index of the first entry            48 16 B the reign that wrote it, random
 * 64 u64 wall-clock ms   72 u32 body bytes   76 u32 CRC-32C of the body
 * 80 u32 seal of the object before; 0 for none
 * 84 u32 seal: CRC-32C of bytes 0..84
 * 88 body: for each entry u8 kind, u32 length, payload
 * ```
 * Kinds are those of journal_protocol.ts. The first entry is of kind "config": its payload is the index of itself (u64), which the state
 * keeps with its position. So a state that stops in the middle of an object knows where that one begins. An object without any other entry
 * is a *fence*: the first of a reign.
 * Objects end to end are a merged file. Nothing here is ever renumbered; test/fixtures/ufs-log-v1.bin must decode for ever.
 * @module
 */
import { DecodeError } from "../common/bytes.ts";
import type { LogIndex, Term } from "../common/ids.ts";
import { ENTRY_KINDS } from "../journal/journal_protocol.ts";
import { type Crc32c, getSafe, setSafe, viewOf } from "../journal/record.ts";
import type { Random } from "../world/ports.ts";

export const WRITER_BYTES = 16;
const HEADER_BYTES = 88;
const SEAL_AT = 84;
const ENTRY_HEADER_BYTES = 5;
const PLACE_BYTES = 8;
const FORMAT_VERSION = 1;
const MAGIC = new TextEncoder().encode("RPUFSLOG");
const KIND_MAX = Math.max(...Object.values(ENTRY_KINDS));

export type LogEntry = { readonly kind: number; readonly payload: Uint8Array };

/** Where a log stands: behind this entry the next object goes. */
export type LogEnd = {
  readonly index: LogIndex;
  readonly epoch: Term;
  /** Of the last object; null when it was not read here. */
  readonly seal: number | null;
};

export type LogObject = {
  readonly groupId: bigint;
  readonly epoch: Term;
  readonly previousEpoch: Term;
  readonly firstIndex: LogIndex;
  readonly writer: Uint8Array;
  readonly madeMs: number;
  /** Of the object before. */
  readonly previousSeal: number;
  readonly seal: number;
  readonly entries: readonly LogEntry[];
};

/** The mark of a new reign. */
export function randomWriter(random: Random): Uint8Array {
  const bytes = new Uint8Array(WRITER_BYTES);
  const view = viewOf(bytes);
  for (let at = 0; at < WRITER_BYTES; at += 4) view.setUint32(at, random.uint32(), true);
  return bytes;
}

/** The end of the log with this object as its last. */
export function endOf({ firstIndex, entries, epoch, seal }: LogObject): LogEnd {
  return { index: firstIndex + entries.length - 1, epoch, seal };
}

export function isFence({ entries }: Pick<LogObject, "entries">): boolean {
  return entries.length === 1;
}

/** The first entry of an object. */
export function placeEntry(firstIndex: LogIndex): LogEntry {
  const payload = new Uint8Array(PLACE_BYTES);
  setSafe(viewOf(payload), 0, firstIndex);
  return { kind: ENTRY_KINDS.config, payload };
}

/** Where the object begins that a state's position is in. @throws DecodeError when that is no such payload */
export function placeOf(payload: Uint8Array): LogIndex {
  if (payload.length !== PLACE_BYTES)
    throw new DecodeError("It names no object of a shared journal");
  return getSafe(viewOf(payload), 0);
}

/** Whether an object goes right behind that end. */
export function follows(object: LogObject, end: LogEnd): boolean {
  const isChained = end.seal === null || object.previousSeal === end.seal;
  return object.firstIndex === end.index + 1 && object.previousEpoch === end.epoch && isChained;
}

export function encodeLogObject(object: Omit<LogObject, "seal">, crc32c: Crc32c): Uint8Array {
  let bodyBytes = 0;
  for (const { payload } of object.entries) bodyBytes += ENTRY_HEADER_BYTES + payload.length;
  const bytes = new Uint8Array(HEADER_BYTES + bodyBytes);
  const view = viewOf(bytes);
  let at = HEADER_BYTES;
  for (const { kind, payload } of object.entries) {
    view.setUint8(at, kind);
    view.setUint32(at + 1, payload.length, true);
    bytes.set(payload, at + ENTRY_HEADER_BYTES);
    at += ENTRY_HEADER_BYTES + payload.length;
  }
  bytes.set(MAGIC);
  view.setUint16(8, FORMAT_VERSION, true);
  view.setUint32(12, object.entries.length, true);
  view.setBigUint64(16, object.groupId, true);
  setSafe(view, 24, object.epoch);
  setSafe(view, 32, object.previousEpoch);
  setSafe(view, 40, object.firstIndex);
  bytes.set(object.writer, 48);
  setSafe(view, 64, object.madeMs);
  view.setUint32(72, bodyBytes, true);
  view.setUint32(76, crc32c(bytes.subarray(HEADER_BYTES)), true);
  view.setUint32(80, object.previousSeal, true);
  view.setUint32(SEAL_AT, crc32c(bytes.subarray(0, SEAL_AT)), true);
  return bytes;
}

/** The seal of an encoded object. */
export function sealOf(bytes: Uint8Array): number {
  return viewOf(bytes).getUint32(SEAL_AT, true);
}

/**
 * The object at the beginning of some bytes.
 * @throws DecodeError when there is no whole and sound one
 */
export function decodeLogObject(
  input: Uint8Array,
  crc32c: Crc32c,
): { readonly object: LogObject; readonly sizeBytes: number } {
  if (input.length < HEADER_BYTES) throw new DecodeError("It is shorter than a header");
  if (MAGIC.some((byte, at) => input[at] !== byte)) throw new DecodeError("It is no log object");
  const view = viewOf(input);
  const seal = view.getUint32(SEAL_AT, true);
  if (seal !== crc32c(input.subarray(0, SEAL_AT)))
    throw new DecodeError("The CRC-32C of its header does not match");
  const version = view.getUint16(8, true);
  if (version !== FORMAT_VERSION) throw new DecodeError(`Its version ${version} is not known`);
  const sizeBytes = HEADER_BYTES + view.getUint32(72, true);
  if (sizeBytes > input.length) throw new DecodeError("It is cut off");
  const body = input.subarray(HEADER_BYTES, sizeBytes);
  if (view.getUint32(76, true) !== crc32c(body))
    throw new DecodeError("The CRC-32C of its entries does not match");
  const entries = decodeEntries(body, view.getUint32(12, true));
  const [place] = entries;
  if (place?.kind !== ENTRY_KINDS.config || placeOf(place.payload) !== getSafe(view, 40))
    throw new DecodeError("Its first entry does not say where it is");
  const object = {
    groupId: view.getBigUint64(16, true),
    epoch: getSafe(view, 24),
    previousEpoch: getSafe(view, 32),
    firstIndex: getSafe(view, 40),
    writer: input.slice(48, 48 + WRITER_BYTES),
    madeMs: getSafe(view, 64),
    previousSeal: view.getUint32(80, true),
    seal,
    entries,
  };
  return { object, sizeBytes };
}

function decodeEntries(body: Uint8Array, count: number): readonly LogEntry[] {
  const view = viewOf(body);
  const entries: LogEntry[] = [];
  let at = 0;
  while (at < body.length) {
    if (at + ENTRY_HEADER_BYTES > body.length) throw new DecodeError("An entry is cut off");
    const kind = view.getUint8(at);
    const end = at + ENTRY_HEADER_BYTES + view.getUint32(at + 1, true);
    if (kind > KIND_MAX) throw new DecodeError(`The entry kind ${kind} is not known`);
    if (end > body.length) throw new DecodeError("An entry is cut off");
    entries.push({ kind, payload: body.subarray(at + ENTRY_HEADER_BYTES, end) });
    at = end;
  }
  if (count === 0 || entries.length !== count)
    throw new DecodeError(`It holds ${entries.length} entries, not ${count}`);
  return entries;
}
