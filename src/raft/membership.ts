/**
 * A membership as bytes, and the single steps by which one becomes the next (thesis 4.1).
 *
 * The payload of a config entry is a whole membership, not a change, so that any one of them is enough to know who counts:
 * ```
 * u8 version (1)
 * varint voters,   then of each: varint id (up to 64 bits), text address
 * varint learners, then of each: the same
 * ```
 * Text is a varint length and UTF-8, empty where the address is not known. There is no checksum: these bytes travel inside
 * of records and frames that have one. test/fixtures/membership-v1.bin must decode for ever.
 *
 * Promises: decoding gives a membership or throws a DecodeError, for any bytes; nobody is in a membership twice; two
 * memberships that follow one another differ by at most one voter, so that any majorities of the two share a member.
 * @module
 */
import { ByteReader, ByteWriter, DecodeError } from "../common/bytes.ts";
import type { MemberId } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import type { Membership, MembershipChange, MembershipRefusal } from "./messages.ts";

/** Far above what makes sense (commits slow down beyond seven), low enough to bound what is read and kept. */
export const MEMBERS_MAX = 64;
/** The longest name of a host (253), a colon and a port; in UTF-16 units, which for such names are bytes. */
export const ADDRESS_LENGTH_MAX = 260;

const VERSION = 1;

/** Who joins begins with this: he neither campaigns nor counts before a config entry or a snapshot names him. */
export const NOBODY: Membership = { voters: [], learners: [], addresses: new Map() };

export function isMember({ voters, learners }: Membership, id: MemberId): boolean {
  return voters.includes(id) || learners.includes(id);
}

export function encodeMembership(membership: Membership): Uint8Array {
  const { voters, learners, addresses } = membership;
  invariant(voters.length + learners.length <= MEMBERS_MAX, "a membership has a bounded size");
  const writer = new ByteWriter();
  writer.u8(VERSION);
  for (const ids of [voters, learners]) {
    writer.varint(ids.length);
    for (const id of ids) {
      const address = addresses.get(id) ?? "";
      invariant(address.length <= ADDRESS_LENGTH_MAX, "an address has a bounded length");
      writer.u64(id);
      writer.text(address);
    }
  }
  return writer.take();
}

/** @throws DecodeError when the bytes are no membership */
export function decodeMembership(bytes: Uint8Array): Membership {
  const reader = new ByteReader(bytes);
  const version = reader.u8();
  if (version !== VERSION) throw new DecodeError(`Unknown version ${version} of a membership`);
  const seen = new Set<MemberId>();
  const addresses = new Map<MemberId, string>();
  const voters = readMembers(reader, seen, addresses);
  const learners = readMembers(reader, seen, addresses);
  reader.end();
  return { voters, learners, addresses };
}

function readMembers(
  reader: ByteReader,
  seen: Set<MemberId>,
  addresses: Map<MemberId, string>,
): readonly MemberId[] {
  const count = reader.varint();
  if (count > MEMBERS_MAX - seen.size)
    throw new DecodeError(`A membership of more than ${MEMBERS_MAX}`);
  const ids: MemberId[] = [];
  for (let at = 0; at < count; at += 1) {
    const id = reader.u64() as MemberId; // the brand only keeps kinds of ids apart
    if (seen.has(id)) throw new DecodeError(`Member ${id} is named twice`);
    const address = reader.text();
    if (address.length > ADDRESS_LENGTH_MAX) throw new DecodeError("An address is too long");
    seen.add(id);
    ids.push(id);
    if (address !== "") addresses.set(id, address);
  }
  return ids;
}

/** One step from `from`, or the reason why it can't be made. */
export function changeMembership(
  from: Membership,
  change: MembershipChange,
): Membership | MembershipRefusal {
  const { id } = change;
  const isVoter = from.voters.includes(id);
  const isLearner = from.learners.includes(id);
  const without = (ids: readonly MemberId[]) => ids.filter((each) => each !== id);
  const addresses = new Map(from.addresses);
  if (change.kind === "remove") {
    if (!isVoter && !isLearner) return "unknown";
    if (isVoter && from.voters.length === 1) return "lastVoter";
    addresses.delete(id);
    return { voters: without(from.voters), learners: without(from.learners), addresses };
  }
  if (isVoter || (isLearner && change.kind === "addLearner")) return "already";
  if (!isLearner && from.voters.length + from.learners.length >= MEMBERS_MAX) return "full";
  addresses.set(id, change.address);
  if (change.kind === "addLearner")
    return { voters: from.voters, learners: [...from.learners, id], addresses };
  return { voters: [...from.voters, id], learners: without(from.learners), addresses };
}
