import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { DecodeError } from "../common/bytes.ts";
import type { BlockId, InodeId } from "../common/ids.ts";
import type { Path } from "../common/path.ts";
import { type Command, decodeEntry, encodeEntry, type JournalEntry } from "./command.ts";

const FIXTURE = "test/fixtures/commands-v1.bin";
const path = "/a/ä" as Path;
const ttl = { ttlMs: -1, ttlAction: "DELETE" } as const;
const xattr = { "user.k": Uint8Array.of(0, 255) };

/** One of each kind. The file holds what the first version wrote of exactly these: never change them, only append. */
const COMMANDS: readonly Command[] = [
  {
    kind: "initializeNamespace",
    rootOwner: "root",
    rootGroup: "wheel",
    rootMode: 0o755,
    rootUfsUri: "s3://bucket/p",
    isRootReadOnly: false,
    isRootShared: true,
    clusterId: "c1",
  },
  {
    kind: "createDirectory",
    path,
    isRecursive: true,
    allowExists: false,
    mode: 0o750,
    isPersisted: true,
    ...ttl,
    xattr,
  },
  {
    kind: "createFile",
    path,
    isRecursive: false,
    isOverwrite: true,
    blockSizeBytes: 64 * 1024 * 1024,
    mode: 0o644,
    replicationMin: 1,
    replicationMax: -1,
    ...ttl,
    xattr: {},
  },
  { kind: "newBlock", path },
  { kind: "completeFile", path, ufsLengthBytes: null, isAsyncPersist: true, contentHash: "" },
  { kind: "completeFile", path, ufsLengthBytes: 2 ** 40, isAsyncPersist: false, contentHash: "h" },
  { kind: "remove", path, isRecursive: true, isAlluxioOnly: false },
  { kind: "rename", path, dstPath: "/b" as Path, isOverwrite: false },
  {
    kind: "setAttribute",
    ids: [0n as InodeId, 33_554_431n as InodeId],
    owner: null,
    group: "g",
    mode: 0o600,
    isPinned: true,
    isPersisted: null,
    replicationMin: null,
    replicationMax: 3,
    ttlMs: 5000,
    ttlAction: null,
  },
  { kind: "commitBlock", blockId: 16_777_216n as BlockId, lengthBytes: 100 },
  {
    kind: "loadedFromUfs",
    directoryId: 7n as InodeId,
    childVersion: 3,
    facts: [
      {
        name: "f",
        isDirectory: false,
        lengthBytes: 10,
        lastModifiedMs: 1_700_000_000_000,
        owner: "o",
        group: "g",
        mode: 0o644,
        fingerprint: "e",
      },
    ],
    blockSizeBytes: 1024,
    isListed: true,
  },
  { kind: "schedulePersist", path },
  {
    kind: "filePersisted",
    fileId: 33_554_431n as InodeId,
    lengthBytes: 9,
    ufsFingerprint: "e",
    tempUfsPath: "/ufs/.rockpool.tmp.persist.1",
  },
  {
    kind: "intentsDone",
    outcomes: [
      { id: 1, refusal: null, ufsFingerprint: "e" },
      { id: 2, refusal: "no", ufsFingerprint: "" },
    ],
  },
  { kind: "reclaim", inodesMax: 1000 },
  { kind: "restoreBegin", digest: Uint8Array.of(1, 2, 255), rowCount: 300, entryCount: 20 },
  {
    kind: "restoreRows",
    firstRow: 299,
    rows: [{ key: Uint8Array.of(10), value: Uint8Array.of(1, 0, 255) }],
  },
  { kind: "restoreEnd", nextContainerId: 2 ** 33 },
  {
    kind: "setPathConfiguration",
    path,
    properties: [{ name: "alluxio.user.file.writetype.default", value: "THROUGH" }],
  },
  { kind: "removePathConfiguration", path, names: ["alluxio.user.file.writetype.default"] },
  { kind: "removePathConfiguration", path, names: [] },
];
const ENTRIES: readonly JournalEntry[] = COMMANDS.map((command, at) => ({
  timeMs: 1_700_000_000_000 + at,
  operationId: at % 2 === 0 ? null : { high: 2n ** 64n - 1n, low: BigInt(at) },
  principal: { user: "alice", groups: ["users", "staff"], isSuperuser: at === 0 },
  command,
}));

function unframed(bytes: Buffer): Uint8Array[] {
  const payloads: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    payloads.push(Uint8Array.from(bytes.subarray(at + 4, at + 4 + length)));
    at += 4 + length;
  }
  return payloads;
}

test("commands-v1.bin decodes to what was written, and is still written so", () => {
  const payloads = unframed(readFileSync(FIXTURE));
  assert.deepEqual(payloads.map(decodeEntry), ENTRIES);
  assert.deepEqual(payloads, ENTRIES.map(encodeEntry));
});

test("an entry of another version, a cut one and one that is too long are refused", () => {
  for (const payload of ENTRIES.map(encodeEntry)) {
    assert.throws(() => decodeEntry(Uint8Array.of(2, ...payload.slice(1))), DecodeError);
    assert.throws(() => decodeEntry(payload.slice(0, -1)), DecodeError);
    assert.throws(() => decodeEntry(Uint8Array.of(...payload, 0)), DecodeError);
  }
});
