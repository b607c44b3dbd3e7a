/**
 * Which blocks a file has: the one place that leads from the index of a block in its file to the sequence number
 * in its id, and back.
 *
 * Pure. The two are the same but for lost sequence numbers. A client asks for a block without an operation id, so when
 * the answer gets lost (the leader died) it asks again and gets the next number; the one before is never written.
 * Such a number stays out of the file for good, and a copy that turns up for it is garbage.
 * A file that the under store has must have none: clients compute a block's offset there as sequence × block size.
 * @module
 */
import { type BlockId, blockIdOf, containerIdOf, sequenceOf } from "../common/ids.ts";
import type { FileInode } from "./inode.ts";

/** Of one file; a client loses one with each change of leaders at the most. */
export const LOST_SEQUENCES_MAX = 1000;

/** The blocks of a file in order; while it is written, all that were handed out. */
export function blockIdsOf({ id, blockCount, lostSequences }: FileInode): BlockId[] {
  const container = containerIdOf(id);
  const ids: BlockId[] = [];
  let lostBefore = 0;
  for (let index = 0; index < blockCount; index++) {
    while (lostSequences[lostBefore] === index + lostBefore) lostBefore += 1;
    ids.push(blockIdOf(container, index + lostBefore));
  }
  return ids;
}

/** Where in its file a block is; null when the file has no such block. */
export function blockIndexIn(file: FileInode, blockId: BlockId): number | null {
  const sequence = sequenceOf(blockId);
  let index = sequence;
  for (const lost of file.lostSequences) {
    if (lost === sequence) return null;
    if (lost > sequence) break;
    index -= 1;
  }
  return index < file.blockCount && containerIdOf(file.id) === containerIdOf(blockId)
    ? index
    : null;
}

/** The length of the block at an index that a complete file has. */
export function lengthAt(file: FileInode, index: number): number {
  return Math.min(file.blockSizeBytes, file.lengthBytes - index * file.blockSizeBytes);
}

/** The length that a block of a complete file has; null when the file has no such block, or is being written. */
export function blockLengthIn(file: FileInode, blockId: BlockId): number | null {
  const index = file.isCompleted ? blockIndexIn(file, blockId) : null;
  return index === null ? null : lengthAt(file, index);
}

/** What a file being written turned out to be. */
export type Completion = {
  readonly lengthBytes: number;
  readonly blockCount: number;
  readonly lostSequences: readonly number[];
  /** Whether its ids are fit for use; else it must get another id, and its copies go. */
  readonly keepsId: boolean;
};

/** The lengths of the blocks that were committed, by sequence number; null for those that were not. */
type Committed = (sequence: number) => number | null;

/**
 * A file whose bytes only workers have: all that was committed, in order.
 * @returns null when a block before the last is short
 */
export function completionOfCommitted(file: FileInode, committed: Committed): Completion | null {
  const lostSequences: number[] = [];
  let gapFrom = 0;
  let lengthBytes = 0;
  let blockCount = 0;
  for (let sequence = 0; sequence < file.blockCount; sequence++) {
    const blockBytes = committed(sequence) ?? 0;
    if (blockBytes === 0) continue;
    if (lengthBytes !== blockCount * file.blockSizeBytes) return null;
    // What comes behind the last committed one is not even lost: the file ends before it.
    for (; gapFrom < sequence; gapFrom++) lostSequences.push(gapFrom);
    gapFrom = sequence + 1;
    lengthBytes += blockBytes;
    blockCount += 1;
  }
  return { lengthBytes, blockCount, lostSequences, keepsId: true };
}

/**
 * A file that its client wrote to the under store too. Numbers are to be trusted up to the first that was not
 * committed as it should be: behind a lost one they run ahead of the content, also when the lengths fit.
 */
export function completionInUfs(
  file: FileInode,
  lengthBytes: number,
  committed: Committed,
): Completion {
  const blockCount = Math.ceil(lengthBytes / file.blockSizeBytes);
  const known = { lengthBytes, blockCount, lostSequences: [] };
  const complete: FileInode = { ...file, ...known };
  const handedOut = Math.min(file.blockCount, blockCount);
  let sound = 0;
  while (sound < handedOut && committed(sound) === lengthAt(complete, sound)) sound++;
  // The first that is missing is lost, or late with just what belongs there; more cannot be said of those behind it.
  const isFirstMissing = sound < handedOut && committed(sound) === null;
  return { ...known, keepsId: handedOut <= (isFirstMissing ? sound + 1 : sound) };
}
