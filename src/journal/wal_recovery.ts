/**
 * Reads the write-ahead log back after a stop of any kind.
 *
 * | what is found | what it means | what is done |
 * |---|---|---|
 * | batches that continue the chain | durable or at least whole | kept |
 * | anything else at the end of the newest segment, and no proof that it was durable | a torn tail: never acknowledged | dropped, and said so |
 * | the same with a proof (a descriptor, a later batch, a later segment) | damage to acknowledged bytes | refused: DATA_LOSS |
 *
 * Nothing is written here; the caller cleans up what `torn` and `stale` name, and makes the newest batch durable again: a
 * process that died, or whose fdatasync failed, may have left it in the page cache only.
 * @module
 */
import { join } from "node:path";
import { RockpoolError } from "../common/errors.ts";
import type { LogIndex, MemberId } from "../common/ids.ts";
import type { HardState } from "../raft/messages.ts";
import { type EntryIndex, placeOf } from "./entry_index.ts";
import { type JournalFileSystem, writeFully } from "./file_system.ts";
import { type Crc32c, type SegmentIdentity, WAL_PAGE_BYTES, type WalRecord } from "./record.ts";
import {
  type ChainPoint,
  dataOffsetOf,
  endOfBytes,
  holdsBatches,
  listSegments,
  proofBeyond,
  readDescriptors,
  readIdentity,
  scanBatches,
  segmentName,
  writeIdentity,
} from "./segment_file.ts";
import { type SegmentBytes, SegmentWindow, WindowBuffer } from "./segment_window.ts";

/** Who wrote the journal; every segment names it. */
export type WalOwner = {
  readonly memberId: MemberId;
  readonly incarnation: bigint;
  readonly groupId: bigint;
};

export type TornTail = {
  readonly path: string;
  readonly offsetBytes: number;
  readonly endBytes: number;
};

export type RecoveredWal = {
  readonly hardState: HardState;
  /** Segments with an identity, in order; empty for a journal that was never written. */
  readonly segments: readonly SegmentIdentity[];
  /** End of the newest segment; null when there is none. */
  readonly end: ChainPoint | null;
  /** The newest batch as it lies at `end.lastBatchOffset`; empty when the newest segment holds none. */
  readonly lastBatch: Uint8Array;
  /** Sequence of a segment that is prepared and unused. */
  readonly spare: number | null;
  /** Unused segments that are not full of zeros, or out of turn: remove them. */
  readonly stale: readonly number[];
  readonly torn: TornTail | null;
};

const DAMAGE_REMEDY =
  "Copy the journal folder before anything else. If other masters hold the log, move the folder of this one away, format " +
  "it, and remove this node from peers.json in the journal folder of each other master; if this is the only master, " +
  "restore the folder from a backup";

function damaged(path: string, offsetBytes: number, lastIndex: LogIndex, why: string) {
  return new RockpoolError(
    "DATA_LOSS",
    `Journal file ${path} is damaged at byte ${offsetBytes}, after entry ${lastIndex}: ${why}. Acknowledged entries are unreadable`,
    DAMAGE_REMEDY,
  );
}

type Walk = {
  readonly fileSystem: JournalFileSystem;
  readonly folder: string;
  readonly owner: WalOwner;
  readonly crc32c: Crc32c;
  readonly index: EntryIndex;
  readonly window: WindowBuffer;
  hardState: HardState;
};

function withSegment<T>(
  walk: Walk,
  sequence: number,
  act: (segment: SegmentBytes, path: string) => T,
): T {
  const path = join(walk.folder, segmentName(sequence));
  const file = walk.fileSystem.openSync(path, "read");
  try {
    return act(new SegmentWindow(file, walk.window), path);
  } finally {
    file.close();
  }
}

function replay(walk: Walk, sequence: number, record: WalRecord, offsetBytes: number): void {
  const { index } = walk;
  switch (record.kind) {
    case "entry":
      index.appendRecovered(record.entry.index, record.entry.term, placeOf(sequence, offsetBytes));
      break;
    case "hardState":
      walk.hardState = record.hardState;
      break;
    case "truncateFrom":
      index.truncateFrom(record.index);
      break;
    case "pad":
    case "batchHead":
      break;
  }
}

/** Refuses a segment that is not the next one of this journal. */
function checkIdentity(
  walk: Walk,
  path: string,
  sizeBytes: number,
  identity: SegmentIdentity,
  sequence: number,
): void {
  const { owner } = walk;
  const isOurs =
    identity.memberId === owner.memberId &&
    identity.incarnation === owner.incarnation &&
    identity.groupId === owner.groupId;
  if (!isOurs)
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `Journal file ${path} belongs to another journal than the folder it lies in`,
      "Remove the file if it was copied here by mistake, or point alluxio.master.journal.folder at the right folder",
    );
  if (identity.sequence !== sequence || identity.segmentBytes !== sizeBytes)
    throw damaged(
      path,
      0,
      walk.index.lastIndex,
      `it says that it is segment ${identity.sequence} of ${identity.segmentBytes} B, and has ${sizeBytes} B`,
    );
}

/** Decides about segments without an identity: unused ones are fine, but only after the last used one. */
function sortUnused(
  walk: Walk,
  unused: readonly number[],
  lastUsed: number,
  segmentBytes: number,
): { spare: number | null; stale: number[] } {
  let spare: number | null = null;
  const stale: number[] = [];
  const headBytes = dataOffsetOf(segmentBytes) + WAL_PAGE_BYTES;
  for (const sequence of unused)
    withSegment(walk, sequence, (segment, path) => {
      // Batches follow only upon a durable identity, so a segment whose head is blank is blank.
      const isBlank = endOfBytes(segment, 0, Math.min(headBytes, segment.sizeBytes)) === 0;
      const hasBatches = () => holdsBatches(segment, walk.owner.incarnation, walk.crc32c);
      if (sequence < lastUsed || (!isBlank && hasBatches()))
        throw damaged(path, 0, walk.index.lastIndex, "both copies of its identity are unreadable");
      if (sequence === lastUsed + 1 && isBlank && segment.sizeBytes === segmentBytes)
        spare = sequence;
      else stale.push(sequence);
    });
  return { spare, stale };
}

/** The used segments so far. */
type Chain = { readonly segments: SegmentIdentity[]; end: ChainPoint | null };

/** Takes a segment in, unless it has no identity. @returns whether it has one */
function takeSegment(walk: Walk, chain: Chain, sequence: number): boolean {
  return withSegment(walk, sequence, (segment, path) => {
    const identity = readIdentity(segment.read(0, 2 * WAL_PAGE_BYTES), walk.crc32c);
    if (identity === null) return false;
    checkIdentity(walk, path, segment.sizeBytes, identity, sequence);
    const previous = chain.segments.at(-1);
    if (previous === undefined) walk.index.reset(identity.firstIndex, identity.previousTerm);
    else if (chain.end !== null) continueChain(walk, previous, chain.end, identity);
    chain.end = scanBatches(segment, path, identity, walk.crc32c, (record, at) =>
      replay(walk, sequence, record, at),
    );
    chain.segments.push(identity);
    return true;
  });
}

/** Looks behind the last batch of the newest segment. */
function readTail(walk: Walk, identity: SegmentIdentity, end: ChainPoint) {
  return withSegment(walk, identity.sequence, (segment, path) => {
    const proof = proofBeyond(segment, identity, end, walk.crc32c);
    if (proof !== null) throw damaged(path, end.offsetBytes, walk.index.lastIndex, proof.why);
    const { offsetBytes, lastBatchOffset } = end;
    const lastBatch = segment.read(lastBatchOffset, offsetBytes - lastBatchOffset).slice();
    const endBytes = endOfBytes(segment, offsetBytes, segment.sizeBytes);
    const torn: TornTail | null = endBytes > offsetBytes ? { path, offsetBytes, endBytes } : null;
    let { commitIndex } = walk.hardState;
    for (const descriptor of readDescriptors(segment, identity, walk.crc32c))
      commitIndex = Math.max(commitIndex, descriptor.commitIndex);
    return { lastBatch, torn, commitIndex };
  });
}

/**
 * Fills `index` from the segments in a folder.
 * @param segmentBytes size that a prepared segment must have to be of use
 * @throws RockpoolError DATA_LOSS when acknowledged bytes are damaged; FAILED_PRECONDITION when a segment is another journal's
 */
export function recoverWal(
  fileSystem: JournalFileSystem,
  folder: string,
  owner: WalOwner,
  crc32c: Crc32c,
  index: EntryIndex,
  segmentBytes: number,
): RecoveredWal {
  const initial: HardState = { term: 0, vote: null, commitIndex: 0 };
  const window = new WindowBuffer();
  const walk: Walk = { fileSystem, folder, owner, crc32c, index, window, hardState: initial };
  const chain: Chain = { segments: [], end: null };
  const unused: number[] = [];
  for (const sequence of listSegments(fileSystem, folder))
    if (!takeSegment(walk, chain, sequence)) unused.push(sequence);
  const { segments, end } = chain;
  const identity = segments.at(-1);
  const { lastBatch, torn, commitIndex } =
    identity !== undefined && end !== null
      ? readTail(walk, identity, end)
      : { lastBatch: new Uint8Array(0), torn: null, commitIndex: walk.hardState.commitIndex };
  const hardState = settle(walk.hardState, commitIndex, index);
  const { spare, stale } = sortUnused(walk, unused, identity?.sequence ?? 0, segmentBytes);
  return { hardState, segments, end, lastBatch, spare, stale, torn };
}

function continueChain(
  walk: Walk,
  previous: SegmentIdentity,
  end: ChainPoint,
  identity: SegmentIdentity,
): void {
  const path = join(walk.folder, segmentName(previous.sequence));
  const isNext =
    identity.sequence === previous.sequence + 1 &&
    identity.previousChain === end.chain &&
    identity.firstBatchNumber === end.batchNumber + 1;
  // A segment is begun only when every batch before it is durable: what is missing was acknowledged.
  if (!isNext)
    throw damaged(
      path,
      end.offsetBytes,
      walk.index.lastIndex,
      `segment ${identity.sequence} begins with batch ${identity.firstBatchNumber}, and batch ${end.batchNumber} is the last one readable`,
    );
}

/** A crash may keep an entry and lose the term record beside it, or keep a commit index and lose the entries. */
function settle(hardState: HardState, commitIndex: LogIndex, index: EntryIndex): HardState {
  const isTermBehind = index.lastTerm() > hardState.term;
  return {
    term: isTermBehind ? index.lastTerm() : hardState.term,
    vote: isTermBehind ? null : hardState.vote,
    commitIndex: Math.max(Math.min(commitIndex, index.lastIndex), index.firstIndex - 1),
  };
}

/**
 * Makes sure of what recovery found: a torn tail becomes zeros again, and the newest batch and the identity are written
 * once more, because they may so far be in the page cache only.
 */
export async function secureTail(
  { fileSystem, folder, crc32c }: Pick<Walk, "fileSystem" | "folder" | "crc32c">,
  recovered: RecoveredWal,
): Promise<void> {
  const { torn, end, lastBatch } = recovered;
  const identity = recovered.segments.at(-1);
  if (identity === undefined || end === null) return;
  const path = join(folder, segmentName(identity.sequence));
  const file = fileSystem.openSync(path, "readWrite");
  try {
    if (torn !== null)
      await writeFully(file, new Uint8Array(torn.endBytes - torn.offsetBytes), torn.offsetBytes);
    await writeIdentity(file, identity, crc32c);
    if (lastBatch.length > 0) await writeFully(file, lastBatch, end.lastBatchOffset);
    await file.datasync();
  } finally {
    file.close();
  }
}
