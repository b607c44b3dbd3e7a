/**
 * Commands that were proposed at the same moment and share one entry of the log, so that what an entry costs (its record and
 * checksum, its place in memory, its way to the peers) is paid once for all of them. They are applied together, in one
 * transaction, in the order in which they were proposed.
 *
 * The payload of an entry of kind "commands", little-endian:
 * ```
 * 0 u32 count   4 u32 length of each   then their bytes, end to end
 * ```
 * Nothing here is ever renumbered; what test/fixtures/entry-commands-v1.bin holds must decode for ever.
 * @module
 */
import { DecodeError } from "../common/bytes.ts";
import { APPLY_BYTES_MAX, APPLY_ENTRIES_MAX } from "../common/limits.ts";
import type { Packed } from "./journal_protocol.ts";

const COUNT_BYTES = 4;
const LENGTH_BYTES = 4;

/** Payloads of entries, and how many of the commands are in all entries up to each. */
export type Bundles = { readonly packed: Packed; readonly ends: readonly number[] };

/** Puts commands into as few entries as can be applied in one transaction each. */
export function bundle(commands: readonly Uint8Array[]): Bundles {
  const ends: number[] = [];
  const sizes: number[] = [];
  let totalBytes = 0;
  for (let from = 0; from < commands.length; ) {
    const end = endOfBundle(commands, from);
    let sizeBytes = COUNT_BYTES;
    for (let at = from; at < end; at++) sizeBytes += LENGTH_BYTES + (commands[at]?.length ?? 0);
    ends.push(end);
    sizes.push(sizeBytes);
    totalBytes += sizeBytes;
    from = end;
  }
  const bytes = new Uint8Array(totalBytes);
  const view = new DataView(bytes.buffer);
  let offset = 0;
  let from = 0;
  for (const end of ends) {
    offset = write(commands, from, end, bytes, view, offset);
    from = end;
  }
  return { packed: { bytes, lengths: Uint32Array.from(sizes) }, ends };
}

/** At least one command, then as many as one transaction takes. */
function endOfBundle(commands: readonly Uint8Array[], from: number): number {
  let end = from;
  for (let sizeBytes = 0; end < commands.length && end - from < APPLY_ENTRIES_MAX; end++) {
    sizeBytes += commands[end]?.length ?? 0;
    if (end > from && sizeBytes > APPLY_BYTES_MAX) break;
  }
  return end;
}

function write(
  commands: readonly Uint8Array[],
  from: number,
  end: number,
  into: Uint8Array,
  view: DataView,
  begin: number,
): number {
  view.setUint32(begin, end - from, true);
  let lengthAt = begin + COUNT_BYTES;
  let offset = lengthAt + LENGTH_BYTES * (end - from);
  for (let at = from; at < end; at++) {
    const command = commands[at];
    if (command === undefined) break;
    view.setUint32(lengthAt, command.length, true);
    into.set(command, offset);
    lengthAt += LENGTH_BYTES;
    offset += command.length;
  }
  return offset;
}

/**
 * The commands, as views.
 * @throws DecodeError when this is no such payload
 */
export function unbundle(payload: Uint8Array): Uint8Array[] {
  if (payload.length < COUNT_BYTES) throw new DecodeError("A count of commands is cut off");
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const count = view.getUint32(0, true);
  let offset = COUNT_BYTES + LENGTH_BYTES * count;
  if (offset > payload.length)
    throw new DecodeError(`${count} commands do not fit into ${payload.length} B`);
  const commands: Uint8Array[] = [];
  for (let at = 0; at < count; at++) {
    const end = offset + view.getUint32(COUNT_BYTES + LENGTH_BYTES * at, true);
    if (end > payload.length) throw new DecodeError(`Command ${at} of ${count} is cut off`);
    commands.push(payload.subarray(offset, end));
    offset = end;
  }
  if (offset !== payload.length)
    throw new DecodeError(`${payload.length - offset} B follow the last of ${count} commands`);
  return commands;
}

/** How many they are, as the payload says. */
export function commandCount(payload: Uint8Array): number {
  if (payload.length < COUNT_BYTES) return 0;
  return new DataView(payload.buffer, payload.byteOffset).getUint32(0, true);
}
