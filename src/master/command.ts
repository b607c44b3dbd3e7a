/**
 * The commands of the journal: what was asked for, with everything that could differ between
 * masters (time, ids of callers, what the under store said) already decided by the leader.
 *
 * Pure. An entry is: u8 version (1), then the fields of {@link JournalEntry} in their order, by
 * common/codec. Each kind has a tag that is never renumbered or reused; test/fixtures/commands-v1.bin holds one of each and must
 * decode for ever. Integrity is the journal's business (its records carry CRCs).
 * @module
 */
import { DecodeError } from "../common/bytes.ts";
import {
  bool,
  branded,
  bytes,
  type Codec,
  decode,
  encode,
  i64,
  int,
  list,
  nullable,
  oneOf,
  struct,
  text,
  u64,
  uint,
  union,
  type ValueOf,
} from "../common/codec.ts";
import type { PersistenceState, TtlAction } from "../common/file_facts.ts";
import type { BlockId, InodeId } from "../common/ids.ts";
import type { Path } from "../common/path.ts";

const VERSION = 1;

export const path: Codec<Path> = branded<Path, string>(text);
export const inodeId: Codec<InodeId> = branded<InodeId, bigint>(i64);
const blockId: Codec<BlockId> = branded<BlockId, bigint>(i64);
export const ttlAction: Codec<TtlAction> = oneOf("FREE", "DELETE");
export const persistence: Codec<PersistenceState> = oneOf(
  "NOT_PERSISTED",
  "TO_BE_PERSISTED",
  "PERSISTED",
  "LOST",
);
const xattrPairs = list(struct({ name: text, value: bytes }));
/** In the order of the record: every master must write the same bytes. */
export const xattr: Codec<Readonly<Record<string, Uint8Array>>> = {
  write: (w, record) =>
    xattrPairs.write(
      w,
      Object.entries(record).map(([name, value]) => ({ name, value })),
    ),
  read: (r) => Object.fromEntries(xattrPairs.read(r).map(({ name, value }) => [name, value])),
};

/** What the under store said of one name. */
const fact = struct({
  name: text,
  isDirectory: bool,
  lengthBytes: uint,
  lastModifiedMs: uint,
  owner: text,
  group: text,
  mode: uint,
  fingerprint: text,
});
export type UfsFact = ValueOf<typeof fact>;

const intentOutcome = struct({
  id: uint,
  /** Null: done. Else why the under store refuses for good; the intent stays as a witness. */
  refusal: nullable(text),
  /** Of the file that the intent brought to the under store. */
  ufsFingerprint: text,
});
export type IntentOutcome = ValueOf<typeof intentOutcome>;

const command = union({
  initializeNamespace: [
    1,
    struct({
      rootOwner: text,
      rootGroup: text,
      rootMode: uint,
      rootUfsUri: text,
      isRootReadOnly: bool,
      isRootShared: bool,
      clusterId: text,
    }),
  ],
  createDirectory: [
    2,
    struct({
      path,
      isRecursive: bool,
      allowExists: bool,
      mode: uint,
      isPersisted: bool,
      ttlMs: int,
      ttlAction,
      xattr,
    }),
  ],
  createFile: [
    3,
    struct({
      path,
      isRecursive: bool,
      isOverwrite: bool,
      blockSizeBytes: uint,
      mode: uint,
      replicationMin: int,
      replicationMax: int,
      ttlMs: int,
      ttlAction,
      xattr,
    }),
  ],
  newBlock: [4, struct({ path })],
  completeFile: [
    5,
    struct({ path, ufsLengthBytes: nullable(uint), isAsyncPersist: bool, contentHash: text }),
  ],
  remove: [6, struct({ path, isRecursive: bool, isAlluxioOnly: bool })],
  rename: [7, struct({ path, dstPath: path, isOverwrite: bool })],
  /** Of these inodes; a recursive change is cut into many. */
  setAttribute: [
    8,
    struct({
      ids: list(inodeId),
      owner: nullable(text),
      group: nullable(text),
      mode: nullable(uint),
      isPinned: nullable(bool),
      isPersisted: nullable(bool),
      replicationMin: nullable(int),
      replicationMax: nullable(int),
      ttlMs: nullable(int),
      ttlAction: nullable(ttlAction),
    }),
  ],
  commitBlock: [9, struct({ blockId, lengthBytes: uint })],
  /**
   * Children of a directory as its under store has them. Holds only for the directory as the leader saw it:
   * `childVersion` tells whether its children changed since.
   */
  loadedFromUfs: [
    10,
    struct({
      directoryId: inodeId,
      childVersion: uint,
      facts: list(fact),
      blockSizeBytes: uint,
      /** With these the listing of the directory is complete. */
      isListed: bool,
    }),
  ],
  schedulePersist: [11, struct({ path })],
  /** A worker wrote the whole file to the temporary path. */
  filePersisted: [
    12,
    struct({ fileId: inodeId, lengthBytes: uint, ufsFingerprint: text, tempUfsPath: text }),
  ],
  intentsDone: [13, struct({ outcomes: list(intentOutcome) })],
  /** Frees inodes of trees that were removed. */
  reclaim: [14, struct({ inodesMax: uint })],
  /** The rows of a backup come in by the next ones. With the digest of one that was interrupted: it goes on. */
  restoreBegin: [15, struct({ digest: bytes, rowCount: uint, entryCount: uint })],
  /** Rows in order of their keys; `firstRow` counts those before them. */
  restoreRows: [16, struct({ firstRow: uint, rows: list(struct({ key: bytes, value: bytes })) })],
  /** All are here. Ids go on behind those that the cluster of the backup may have used. */
  restoreEnd: [17, struct({ nextContainerId: uint })],
  /** Sets properties that clients take as defaults below a path; others of that path stay. */
  setPathConfiguration: [
    18,
    struct({ path, properties: list(struct({ name: text, value: text })) }),
  ],
  /** Takes properties of a path away; all of them when none is named. */
  removePathConfiguration: [19, struct({ path, names: list(text) })],
});
export type Command = ValueOf<typeof command>;
export type CommandOf<K extends Command["kind"]> = Extract<Command, { kind: K }>;

const entry = struct({
  /** The leader's wall clock, but always after the entry before: equal times never order two changes. */
  timeMs: uint,
  operationId: nullable(struct({ high: u64, low: u64 })),
  principal: struct({ user: text, groups: list(text), isSuperuser: bool }),
  command,
});
export type JournalEntry = ValueOf<typeof entry>;

const versioned: Codec<JournalEntry> = {
  write(w, value) {
    w.u8(VERSION);
    entry.write(w, value);
  },
  read(r) {
    const version = r.u8();
    if (version !== VERSION) throw new DecodeError(`Journal entry of version ${version}`);
    return entry.read(r);
  },
};

export function encodeEntry(value: JournalEntry): Uint8Array {
  return encode(versioned, value);
}

/** @throws DecodeError: a newer version wrote it, or it is damaged; either way it must not be skipped */
export function decodeEntry(payload: Uint8Array): JournalEntry {
  return decode(versioned, payload);
}
