/**
 * Inodes and the other rows of the namespace, as values and as bytes.
 *
 * Pure. A value begins with a version byte (1), then its fields in the order written here, by
 * common/codec. Tables are told apart by the first byte of the key; numbers in keys are big-endian:
 * ```
 * 01 inodeId:8                 → inode
 * 02 parentId:8 name           → childId:8                    (directory entries, in byte order of names)
 * 03 blockId:8                 → varint length                (committed blocks of files not yet complete)
 * 04 mountId:8                 → mount
 * 05 fileId:8                  → persist task
 * 06 intentId:8                → under store intent
 * 07 high:8 low:8 kind:1 user  → dedupe: the first result of an operation
 * 08 number:8                  → key of table 07              (in log order, for eviction)
 * 09 inodeId:8                 → nothing                      (removed directories whose trees are to be freed)
 * 0a                           → state: last time, counters, cluster id
 * 0b fileId:8                  → nothing                      (pinned files)
 * 0c fileId:8                  → fileId:8                     (files that got another id, from the one they were made with)
 * 0d path                      → path configuration           (what clients take as defaults below it)
 * f0                           → position: where this state stands in the log
 * f1                           → restore: a backup that is being brought in
 * f2                           → ids: which ids are used up
 * ```
 * Tables from f0 on are about this cluster's life and not of the namespace: no part of backups and digests, so that a
 * namespace that was restored is equal to what it was, in its rows too.
 *
 * A block of a complete file needs no row: all are of the block size but the last.
 *
 * The rows are an image of the journal, and stay readable to one version of it: {@link STORE_SCHEMA_VERSION}. Raise it with
 * every change that leaves a store which an older or newer build would read wrongly: a field of a row, a key, a table, and
 * also what commands write into them. Commands stay readable for ever (test/fixtures/commands-v1.bin), but the journal is
 * trimmed behind checkpoints, which hold rows: a build that raises the version must read the rows of the one before it, in
 * stores, checkpoints and backups.
 * @module
 */
import { ByteReader, ByteWriter, DecodeError } from "../common/bytes.ts";
import {
  bool,
  bytes,
  type Codec,
  decode,
  encode,
  int,
  list,
  nullable,
  oneOf,
  struct,
  text,
  uint,
  union,
  type ValueOf,
} from "../common/codec.ts";
import type { PersistenceState, TtlAction } from "../common/file_facts.ts";
import type { InodeId } from "../common/ids.ts";
import { inodeId, persistence, ttlAction, xattr } from "./command.ts";

/** Of all rows together; never used twice. The version bytes of single rows only tell damage. */
export const STORE_SCHEMA_VERSION = 3;
const VERSION = 1;
const sequences = list(uint);
const formerId = nullable(inodeId);

type InodeBase = {
  readonly id: InodeId;
  /** {@link NO_PARENT} for the root, and for a removed tree that is yet to be freed. */
  readonly parentId: InodeId;
  readonly name: string;
  readonly createdMs: number;
  readonly modifiedMs: number;
  readonly accessedMs: number;
  readonly owner: string;
  readonly group: string;
  /** Posix bits, 0 to 0o777. */
  readonly mode: number;
  readonly isPinned: boolean;
  readonly ttlMs: number;
  readonly ttlAction: TtlAction;
  /** What users are told. */
  readonly persistence: PersistenceState;
  /** Whether the under store has it once every intent written so far is done. Then its ancestors are there too. */
  readonly isInUfs: boolean;
  readonly ufsFingerprint: string;
  readonly replicationMin: number;
  readonly replicationMax: number;
  readonly xattr: Readonly<Record<string, Uint8Array>>;
};
export type FileInode = InodeBase & {
  readonly kind: "file";
  readonly isCompleted: boolean;
  /** 0 until it is complete. */
  readonly lengthBytes: number;
  readonly blockSizeBytes: number;
  /** Block ids handed out; of a complete file exactly those that it has. */
  readonly blockCount: number;
  /** Of a complete file: sequence numbers before its last block's that are not part of it, in order; see file_blocks.ts. */
  readonly lostSequences: readonly number[];
  /** The id that the file was made with, when its blocks had to get others since; see table 0c. */
  readonly formerId: InodeId | null;
};
export type DirectoryInode = InodeBase & {
  readonly kind: "directory";
  readonly childCount: number;
  /** False: the under store may have children that were never loaded. */
  readonly isListed: boolean;
  /** Counts every child that came or went by a user's command: facts of the under store that are older do not hold. */
  readonly childVersion: number;
};
export type Inode = FileInode | DirectoryInode;

export const NO_PARENT = -1n as InodeId;

function writeInode(w: ByteWriter, inode: Inode): void {
  w.u8(VERSION);
  w.u8(inode.kind === "file" ? 1 : 2);
  w.u64(inode.id);
  w.u64(inode.parentId);
  w.text(inode.name);
  w.varint(inode.createdMs);
  w.varint(inode.modifiedMs);
  w.varint(inode.accessedMs);
  w.text(inode.owner);
  w.text(inode.group);
  w.varint(inode.mode);
  w.bool(inode.isPinned);
  w.zigzag(inode.ttlMs);
  ttlAction.write(w, inode.ttlAction);
  persistence.write(w, inode.persistence);
  w.bool(inode.isInUfs);
  w.text(inode.ufsFingerprint);
  w.zigzag(inode.replicationMin);
  w.zigzag(inode.replicationMax);
  xattr.write(w, inode.xattr);
  if (inode.kind === "file") {
    w.bool(inode.isCompleted);
    w.varint(inode.lengthBytes);
    w.varint(inode.blockSizeBytes);
    w.varint(inode.blockCount);
    sequences.write(w, inode.lostSequences);
    formerId.write(w, inode.formerId);
  } else {
    w.varint(inode.childCount);
    w.bool(inode.isListed);
    w.varint(inode.childVersion);
  }
}

function readInode(r: ByteReader): Inode {
  const kind = r.u8();
  if (kind !== 1 && kind !== 2) throw new DecodeError(`Inode of kind ${kind}`);
  const base: InodeBase = {
    id: r.i64() as InodeId,
    parentId: r.i64() as InodeId,
    name: r.text(),
    createdMs: r.varint(),
    modifiedMs: r.varint(),
    accessedMs: r.varint(),
    owner: r.text(),
    group: r.text(),
    mode: r.varint(),
    isPinned: r.bool(),
    ttlMs: r.zigzag(),
    ttlAction: ttlAction.read(r),
    persistence: persistence.read(r),
    isInUfs: r.bool(),
    ufsFingerprint: r.text(),
    replicationMin: r.zigzag(),
    replicationMax: r.zigzag(),
    xattr: xattr.read(r),
  };
  return kind === 1
    ? {
        kind: "file",
        ...base,
        isCompleted: r.bool(),
        lengthBytes: r.varint(),
        blockSizeBytes: r.varint(),
        blockCount: r.varint(),
        lostSequences: sequences.read(r),
        formerId: formerId.read(r),
      }
    : {
        kind: "directory",
        ...base,
        childCount: r.varint(),
        isListed: r.bool(),
        childVersion: r.varint(),
      };
}

/** A value led by the version byte. */
function row<T>(codec: Codec<T>): {
  encode: (value: T) => Uint8Array;
  decode: (b: Uint8Array) => T;
} {
  const versioned: Codec<T> = {
    write(w, value) {
      w.u8(VERSION);
      codec.write(w, value);
    },
    read(r) {
      const version = r.u8();
      if (version !== VERSION) throw new DecodeError(`Row of version ${version}`);
      return codec.read(r);
    },
  };
  return {
    encode: (value) => encode(versioned, value),
    decode: (bytes) => decode(versioned, bytes),
  };
}

const scratch = new ByteWriter(512);
export const inodeRow = {
  encode(inode: Inode): Uint8Array {
    writeInode(scratch, inode);
    return scratch.take();
  },
  decode(bytes: Uint8Array): Inode {
    const reader = new ByteReader(bytes);
    const version = reader.u8();
    if (version !== VERSION) throw new DecodeError(`Inode row of version ${version}`);
    const inode = readInode(reader);
    reader.end();
    return inode;
  },
};

export const mountRow = row(
  struct({ mountId: uint, path: text, ufsUri: text, isReadOnly: bool, isShared: bool }),
);
export type MountRow = ReturnType<typeof mountRow.decode>;

export const persistRow = row(
  struct({
    /** Where the worker writes; in the mount's root, so that no rename moves it. */
    tempUfsPath: text,
    /** "waiting": for a worker. "committing": the bytes are in the under store, their rename is an intent. */
    state: oneOf("waiting", "committing"),
  }),
);
export type PersistRow = ReturnType<typeof persistRow.decode>;

/** What the leader must do in the under store. Every kind may be done twice. */
const intentAction = union({
  makeDirectory: [1, struct({ ufsPath: text, owner: text, group: text, mode: uint })],
  remove: [2, struct({ ufsPath: text, isRecursive: bool })],
  rename: [3, struct({ inodeId, fromUfsPath: text, toUfsPath: text })],
  /** Brings what a worker wrote, or (null) an empty file, to its name. */
  commitFile: [
    4,
    struct({
      fileId: inodeId,
      tempUfsPath: nullable(text),
      ufsPath: text,
      lengthBytes: uint,
      owner: text,
      group: text,
      mode: uint,
    }),
  ],
  setAttributes: [
    5,
    struct({
      ufsPath: text,
      owner: nullable(text),
      group: nullable(text),
      mode: nullable(uint),
    }),
  ],
});
export type IntentAction = ValueOf<typeof intentAction>;
export const intentRow = row(
  struct({ action: intentAction, madeMs: uint, refusal: nullable(text) }),
);
export type IntentRow = ReturnType<typeof intentRow.decode>;

/** What an operation gave; small, since retries are answered from it. */
const applyValue = union({
  none: [1, struct({})],
  inode: [2, struct({ id: inodeId })],
  block: [3, struct({ blockId: inodeId })],
  /** Whether the facts of the under store still held. */
  loaded: [4, struct({ isApplied: bool })],
  reclaimed: [5, struct({ hasMore: bool })],
  /** How many rows of a backup are here. */
  restoring: [6, struct({ rowsDone: uint })],
});
export type ApplyValue = ValueOf<typeof applyValue>;
export const dedupeRow = row(struct({ value: applyValue, intentIds: list(uint) }));
export type DedupeRow = ReturnType<typeof dedupeRow.decode>;

export const stateRow = row(
  struct({
    lastTimeMs: uint,
    nextIntentId: uint,
    nextDedupeNumber: uint,
    refusedIntentCount: uint,
    clusterId: text,
  }),
);
export type StateRow = ReturnType<typeof stateRow.decode>;
export const lengthRow = row(int);

/** See StatePosition. */
export const positionRow = row(
  struct({
    /** {@link STORE_SCHEMA_VERSION} of who wrote it: images come without anything else that could say it. */
    schemaVersion: uint,
    index: uint,
    term: uint,
    membership: nullable(bytes),
  }),
);

/** A restore that has begun and not ended. */
export const restoreRow = row(
  struct({
    /** Of the backup, as its trailer has it. */
    digest: bytes,
    rowCount: uint,
    entryCount: uint,
    /** Rows that are here already. */
    rowsDone: uint,
  }),
);
export type RestoreRow = ReturnType<typeof restoreRow.decode>;

export const idsRow = row(
  struct({
    nextContainerId: uint,
    /**
     * Container ids below it are of before the last restore: files that were being written then may have got blocks since that
     * this namespace knows nothing of, so they get no new ones.
     */
    frozenBelow: uint,
  }),
);
export type IdsRow = ReturnType<typeof idsRow.decode>;

/** Properties in order of their names; never none of them. */
export const pathConfigurationRow = row(
  struct({ properties: list(struct({ name: text, value: text })) }),
);
export type PathConfigurationRow = ReturnType<typeof pathConfigurationRow.decode>;

export const TABLE = {
  inode: 1,
  dentry: 2,
  block: 3,
  mount: 4,
  persist: 5,
  intent: 6,
  dedupe: 7,
  dedupeOrder: 8,
  reclaim: 9,
  state: 10,
  pinned: 11,
  moved: 12,
  pathConfiguration: 13,
  position: 0xf0,
  restore: 0xf1,
  ids: 0xf2,
} as const;

/** The key of a row with a 64-bit id. */
export function idKey(table: number, id: bigint): Uint8Array {
  scratch.u8(table);
  scratch.orderedU64(BigInt.asUintN(64, id));
  return scratch.take();
}

export function idOfKey(key: Uint8Array): bigint {
  return new ByteReader(key, 1, 9).orderedU64();
}

const nameEncoder = new TextEncoder();
const nameDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const DENTRY_PREFIX_BYTES = 9;

/** Most names are ASCII, for which a loop is several times faster than the encoder. */
function writeName(name: string): void {
  for (let i = 0; i < name.length; i++) {
    if (name.charCodeAt(i) < 0x80) continue;
    scratch.raw(nameEncoder.encode(name));
    return;
  }
  for (let i = 0; i < name.length; i++) scratch.u8(name.charCodeAt(i));
}

export function dentryKey(parentId: InodeId, name: string): Uint8Array {
  scratch.u8(TABLE.dentry);
  scratch.orderedU64(parentId);
  writeName(name);
  return scratch.take();
}

export function nameOfDentryKey(key: Uint8Array): string {
  return nameDecoder.decode(key.subarray(DENTRY_PREFIX_BYTES));
}

export function pathConfigurationKey(path: string): Uint8Array {
  scratch.u8(TABLE.pathConfiguration);
  writeName(path);
  return scratch.take();
}

export function pathOfConfigurationKey(key: Uint8Array): string {
  return nameDecoder.decode(key.subarray(1));
}

export function dentryValue(childId: InodeId): Uint8Array {
  scratch.orderedU64(childId);
  return scratch.take();
}

export function idOfDentryValue(value: Uint8Array): InodeId {
  return new ByteReader(value).orderedU64() as InodeId;
}

export function dedupeKey(
  operationId: { readonly high: bigint; readonly low: bigint },
  kindTag: number,
  user: string,
): Uint8Array {
  scratch.u8(TABLE.dedupe);
  scratch.orderedU64(BigInt.asUintN(64, operationId.high));
  scratch.orderedU64(BigInt.asUintN(64, operationId.low));
  scratch.u8(kindTag);
  writeName(user.slice(0, 256));
  return scratch.take();
}

export const STATE_KEY = Uint8Array.of(TABLE.state);
export const POSITION_KEY = Uint8Array.of(TABLE.position);
export const RESTORE_KEY = Uint8Array.of(TABLE.restore);
export const IDS_KEY = Uint8Array.of(TABLE.ids);
/** Rows of backups and digests: from the first key on, to the second. */
export const NAMESPACE_KEYS = { start: Uint8Array.of(0), end: Uint8Array.of(TABLE.position) };
