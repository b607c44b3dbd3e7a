/**
 * Looks at a journal folder from outside, for tools. Changes nothing; a running master may have it open, and then the
 * answer is of some moment just past.
 * @module
 */
import { join } from "node:path";
import type { LogIndex, MemberId, Term } from "../common/ids.ts";
import { EntryIndex } from "./entry_index.ts";
import { type JournalFileSystem, nodeFileSystem } from "./file_system.ts";
import { groupIdOf, type JournalIdentity, readIdentityFile } from "./journal_folder.ts";
import type { Crc32c } from "./record.ts";
import { SEGMENT_BYTES, segmentName } from "./segment_file.ts";
import { recoverWal, type TornTail } from "./wal_recovery.ts";

export type JournalInspection = {
  readonly identity: JournalIdentity;
  readonly term: Term;
  readonly vote: MemberId | null;
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  readonly commitIndex: LogIndex;
  readonly segments: readonly {
    readonly path: string;
    readonly firstIndex: LogIndex;
    readonly sizeBytes: number;
  }[];
  /** Bytes at the end that a crash cut off; the next start drops them. */
  readonly torn: TornTail | null;
};

/** @throws RockpoolError FAILED_PRECONDITION when there is no journal; DATA_LOSS when it is damaged, with the place */
export function inspectJournal(
  folder: string,
  crc32c: Crc32c,
  fileSystem: JournalFileSystem = nodeFileSystem(),
): JournalInspection {
  const identity = readIdentityFile(folder, crc32c);
  const { memberId, incarnation, addresses } = identity;
  const owner = { memberId, incarnation, groupId: groupIdOf(addresses) };
  const index = new EntryIndex(0);
  const recovered = recoverWal(fileSystem, folder, owner, crc32c, index, SEGMENT_BYTES);
  const { term, vote, commitIndex } = recovered.hardState;
  return {
    identity,
    term,
    vote,
    firstIndex: index.firstIndex,
    lastIndex: index.lastIndex,
    lastTerm: index.lastTerm(),
    commitIndex,
    segments: recovered.segments.map(({ sequence, firstIndex, segmentBytes }) => ({
      path: join(folder, segmentName(sequence)),
      firstIndex,
      sizeBytes: segmentBytes,
    })),
    torn: recovered.torn,
  };
}
