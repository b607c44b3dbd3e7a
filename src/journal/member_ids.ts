/**
 * Ids of members and of groups: hashes, so that a new cluster is described by its addresses alone.
 *
 * A founder's id is made from its address. Whoever joins later has an id made from its address and the incarnation of its
 * journal folder: a member whose disk was wiped forgot its votes and acknowledgements, and must not come back as the one
 * that gave them.
 * @module
 */
import { createHash } from "node:crypto";
import type { MemberId } from "../common/ids.ts";
import type { Membership } from "../raft/messages.ts";

/** 63 bits of a hash: never negative in a signed field. */
function hash63(input: string): bigint {
  return createHash("sha256").update(input).digest().readBigUInt64BE(0) >> 1n;
}

export function hex64(value: bigint): string {
  return value.toString(16).padStart(16, "0");
}

/** The founder that listens on an address. */
export function memberIdOf(address: string): MemberId {
  // Here and in `joinerIdOf` member ids are made.
  return hash63(`member ${address}`) as MemberId;
}

/** A member that came later. */
export function joinerIdOf(address: string, incarnation: bigint): MemberId {
  return hash63(`joiner ${address} ${hex64(incarnation)}`) as MemberId;
}

/** Names a cluster by its founders. */
export function groupIdOf(addresses: readonly string[]): bigint {
  return hash63(`group ${[...addresses].sort().join(" ")}`);
}

/** The membership with which a cluster begins. */
export function foundersOf(addresses: readonly string[]): Membership {
  const sorted = [...addresses].sort();
  return {
    voters: sorted.map(memberIdOf),
    learners: [],
    addresses: new Map(sorted.map((address) => [memberIdOf(address), address])),
  };
}
