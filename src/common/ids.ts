/**
 * Ids of the system, branded so that one kind is never passed for another.
 *
 * A block id is a container id (40 bits) and a sequence number (24 bits). A file's id is its
 * container with the sequence all ones, so file and block ids lead to each other without a lookup.
 * A directory's id is a bare container id; ids whose low 24 bits are all ones are never handed
 * out as containers, so that a directory never looks like a file.
 * Alluxio's Java client computes with these facts (UFS offset = sequence × block size).
 * @module
 */
import { invariant } from "./invariant.ts";

declare const brand: unique symbol;
export type InodeId = bigint & { readonly [brand]: "InodeId" };
export type BlockId = bigint & { readonly [brand]: "BlockId" };
export type WorkerId = bigint & { readonly [brand]: "WorkerId" };
/** Raft member id: 63 bits of a hash of the member's journal address. */
export type MemberId = bigint & { readonly [brand]: "MemberId" };
/** Raft log index, 1 for the first entry. Stays below 2^53 for any log that can be written. */
export type LogIndex = number;
/** Raft term, 0 before the first election. */
export type Term = number;

const SEQUENCE_BITS = 24n;
/** The sequence number that marks a file id, and one more than the last block a file can have. */
export const SEQUENCE_MAX = 0xff_ffff;
const SEQUENCE_MASK = BigInt(SEQUENCE_MAX);

export const ROOT_INODE_ID = 0n as InodeId;

export function blockIdOf(containerId: bigint, sequence: number): BlockId {
  invariant(sequence >= 0 && sequence < SEQUENCE_MAX, "a block's sequence fits in 24 bits");
  return ((containerId << SEQUENCE_BITS) | BigInt(sequence)) as BlockId;
}

export function fileIdOf(containerId: bigint): InodeId {
  return ((containerId << SEQUENCE_BITS) | SEQUENCE_MASK) as InodeId;
}

/** The id of the file that a block belongs to. */
export function fileIdOfBlock(blockId: BlockId): InodeId {
  return (blockId | SEQUENCE_MASK) as bigint as InodeId;
}

/** The container of a block id or of a file id. */
export function containerIdOf(id: BlockId | InodeId): bigint {
  return id >> SEQUENCE_BITS;
}

export function sequenceOf(id: BlockId): number {
  return Number(id & SEQUENCE_MASK);
}

/** The first container id at or after `counter` that may be handed out. */
export function usableContainerId(counter: bigint): bigint {
  return (counter & SEQUENCE_MASK) === SEQUENCE_MASK ? counter + 1n : counter;
}
