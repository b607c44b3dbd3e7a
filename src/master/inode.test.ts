import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { DecodeError } from "../common/bytes.ts";
import type { InodeId } from "../common/ids.ts";
import {
  type DirectoryInode,
  dedupeKey,
  dedupeRow,
  dentryKey,
  dentryValue,
  type FileInode,
  IDS_KEY,
  type IntentAction,
  idKey,
  idOfKey,
  idsRow,
  inodeRow,
  intentRow,
  lengthRow,
  mountRow,
  NO_PARENT,
  nameOfDentryKey,
  POSITION_KEY,
  pathConfigurationKey,
  pathConfigurationRow,
  persistRow,
  positionRow,
  RESTORE_KEY,
  restoreRow,
  STATE_KEY,
  STORE_SCHEMA_VERSION,
  stateRow,
  TABLE,
} from "./inode.ts";

const base = {
  parentId: 0n as InodeId,
  name: "ä",
  createdMs: 1_700_000_000_000,
  modifiedMs: 1_700_000_000_001,
  accessedMs: 1_700_000_000_002,
  owner: "alice",
  group: "users",
  mode: 0o644,
  isPinned: true,
  ttlMs: -1,
  ttlAction: "DELETE",
  persistence: "TO_BE_PERSISTED",
  isInUfs: false,
  ufsFingerprint: "e",
  replicationMin: 1,
  replicationMax: -1,
  xattr: { k: Uint8Array.of(1, 2) },
} as const;
const file: FileInode = {
  ...base,
  kind: "file",
  id: 33_554_431n as InodeId,
  isCompleted: true,
  lengthBytes: 250,
  blockSizeBytes: 100,
  blockCount: 3,
  lostSequences: [0, 300],
  formerId: 16_777_215n as InodeId,
};
const directory: DirectoryInode = {
  ...base,
  kind: "directory",
  id: 5n as InodeId,
  parentId: NO_PARENT,
  childCount: 2,
  isListed: true,
  childVersion: 9,
};
const account = { owner: "o", group: "g", mode: 0o755 };
const actions: readonly IntentAction[] = [
  { kind: "makeDirectory", ufsPath: "/u/a", ...account },
  { kind: "remove", ufsPath: "/u/a", isRecursive: true },
  { kind: "rename", inodeId: file.id, fromUfsPath: "/u/a", toUfsPath: "/u/b" },
  {
    kind: "commitFile",
    fileId: file.id,
    tempUfsPath: null,
    ufsPath: "/u/f",
    lengthBytes: 300,
    ...account,
  },
  { kind: "setAttributes", ufsPath: "/u/f", owner: null, group: "g", mode: null },
];
const state = {
  lastTimeMs: 2,
  nextIntentId: 4,
  nextDedupeNumber: 5,
  refusedIntentCount: 6,
  clusterId: "c",
};

/** One of each row, in the order of test/fixtures/rows-v3.hex, which a new version of the store writes anew. */
type Row = readonly [
  encode: () => Uint8Array,
  decode: (bytes: Uint8Array) => unknown,
  value: unknown,
];
function row<T>(
  codec: { encode(value: T): Uint8Array; decode(bytes: Uint8Array): T },
  value: T,
): Row {
  return [() => codec.encode(value), (bytes) => codec.decode(bytes), value];
}
const ROWS: readonly Row[] = [
  row(inodeRow, file),
  row(inodeRow, directory),
  row(mountRow, { mountId: 1, path: "/", ufsUri: "/u", isReadOnly: false, isShared: true }),
  row(persistRow, { tempUfsPath: "/u/.t", state: "committing" }),
  ...actions.map((action) => row(intentRow, { action, madeMs: 7, refusal: null })),
  row(intentRow, { action: actions[1] as IntentAction, madeMs: 7, refusal: "no" }),
  row(dedupeRow, { value: { kind: "inode", id: file.id }, intentIds: [1, 300] }),
  row(dedupeRow, { value: { kind: "none" }, intentIds: [] }),
  row(stateRow, state),
  row(lengthRow, 100),
  row(positionRow, { schemaVersion: 3, index: 300, term: 7, membership: Uint8Array.of(1, 2) }),
  row(positionRow, { schemaVersion: 3, index: 1, term: 1, membership: null }),
  row(restoreRow, {
    digest: Uint8Array.of(1, 2),
    rowCount: 300,
    entryCount: 20,
    rowsDone: 100,
  }),
  row(idsRow, { nextContainerId: 3, frozenBelow: 2 }),
  row(pathConfigurationRow, { properties: [{ name: "alluxio.user.x", value: "THROUGH" }] }),
];

/** The layout of each version, kept for ever: a change of it is a new version, with a new line here. */
const LAYOUTS: Readonly<Record<number, string>> = {
  1: "d7fda996b9fb767a",
  2: "2555f5b0f336ff5e",
  3: "df16325aa7625f4b",
};

test("rows, keys and tables change with STORE_SCHEMA_VERSION only", () => {
  const keys = [
    idKey(TABLE.inode, 5n),
    dentryKey(5n as InodeId, "ä"),
    dentryValue(6n as InodeId),
    dedupeKey({ high: 1n, low: 2n }, 3, "alice"),
    STATE_KEY,
    POSITION_KEY,
    RESTORE_KEY,
    IDS_KEY,
    pathConfigurationKey("/ä"),
  ];
  const hash = createHash("sha256").update(JSON.stringify(TABLE));
  for (const bytes of [...ROWS.map(([encode]) => encode()), ...keys]) hash.update(bytes);
  assert.equal(
    hash.digest("hex").slice(0, 16),
    LAYOUTS[STORE_SCHEMA_VERSION],
    "stores of older builds have another layout: raise STORE_SCHEMA_VERSION, and add its hash to LAYOUTS",
  );
});

test("rows-v3.hex decodes to what was written, and is still written so", () => {
  const lines = readFileSync("test/fixtures/rows-v3.hex", "utf8").trim().split("\n");
  assert.deepEqual(
    ROWS.map(([encode]) => Buffer.from(encode()).toString("hex")),
    lines,
  );
  for (const [at, line] of lines.entries()) {
    const [, decode, value] = ROWS[at] as Row; // as many as lines, see above
    assert.deepEqual(decode(Uint8Array.from(Buffer.from(line, "hex"))), value);
  }
});

test("rows of another version, cut ones and longer ones are refused", () => {
  for (const [encode, decode] of ROWS) {
    const bytes = encode();
    assert.throws(() => decode(Uint8Array.of(9, ...bytes.slice(1))), DecodeError);
    assert.throws(() => decode(bytes.slice(0, -1)), DecodeError);
    assert.throws(() => decode(Uint8Array.of(...bytes, 0)), DecodeError);
  }
});

test("dentryKey() sorts as (parent, bytes of the name), and gives the name back", () => {
  const name = fc.string({ minLength: 1, maxLength: 5, unit: "grapheme" });
  const entry = fc.record({ parent: fc.bigInt({ min: 0n, max: 2n ** 40n }), name });
  const compareEntries = (left: { parent: bigint; name: string }, right: typeof left) =>
    left.parent === right.parent
      ? Buffer.compare(Buffer.from(left.name), Buffer.from(right.name))
      : left.parent < right.parent
        ? -1
        : 1;
  fc.assert(
    fc.property(entry, entry, (left, right) => {
      const keys = [left, right].map((one) => dentryKey(one.parent as InodeId, one.name));
      const [first, second] = keys as [Uint8Array, Uint8Array];
      assert.equal(nameOfDentryKey(first), left.name);
      assert.equal(idOfKey(first), left.parent);
      assert.equal(Buffer.compare(first, second), compareEntries(left, right));
    }),
  );
  assert.equal(idOfKey(idKey(1, 2n ** 63n)), 2n ** 63n);
});
