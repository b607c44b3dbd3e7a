import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type BlockId, containerIdOf, type InodeId, sequenceOf } from "../common/ids.ts";
import type { Path } from "../common/path.ts";
import type { ApplyResult } from "./apply.ts";
import type { CommandOf } from "./command.ts";
import { blockIdsOf, blockIndexIn, blockLengthIn, LOST_SEQUENCES_MAX } from "./file_blocks.ts";
import type { FileInode } from "./inode.ts";
import { lastOf } from "./inode_tree.ts";
import { CREATE_FILE } from "./master_fixture.ts";
import { checkRows, INITIALIZE, Replica, through } from "./state_fixture.ts";

const F = "/f" as Path;
const COMPLETE: Omit<CommandOf<"completeFile">, "path"> = {
  kind: "completeFile",
  ufsLengthBytes: null,
  isAsyncPersist: false,
  contentHash: "",
};

function statusOf(result: ApplyResult): string {
  return result.isOk ? "ok" : result.status;
}

/** A client that writes one file, whose requests for blocks may get lost on the way back, and its workers. */
class Writer {
  readonly replica = new Replica();
  /** What workers would serve, by block: the number of the block of the content, and its length. */
  readonly copies = new Map<BlockId, { readonly content: number; readonly lengthBytes: number }>();
  readonly lost: BlockId[] = [];
  readonly #createdId: InodeId;
  #removedCount = 0;

  constructor() {
    this.replica.run(INITIALIZE);
    const created = this.replica.run({ ...CREATE_FILE, kind: "createFile", path: F }, 1n);
    assert.ok(created.isOk && created.value.kind === "inode");
    this.#createdId = created.value.id;
  }

  file(): FileInode {
    const file = lastOf(this.replica.state.view.walk(F));
    assert.ok(file.kind === "file");
    return file;
  }

  newBlock(low: bigint | null = null): BlockId {
    const result = this.replica.run({ kind: "newBlock", path: F }, low);
    assert.ok(result.isOk && result.value.kind === "block");
    return result.value.blockId as bigint as BlockId;
  }

  lose(): void {
    this.lost.push(this.newBlock());
  }

  /** A worker has the bytes, and tells the master, whose answer decides what becomes of its copy. */
  commit(blockId: BlockId, content: number, lengthBytes: number): string {
    const status = statusOf(this.replica.run({ kind: "commitBlock", blockId, lengthBytes }));
    if (status === "ok") this.copies.set(blockId, { content, lengthBytes });
    this.settle();
    return status;
  }

  complete(options: Partial<typeof COMPLETE> = {}): string {
    const status = statusOf(this.replica.run({ ...COMPLETE, path: F, ...options }));
    this.settle();
    return status;
  }

  /** A worker writes the file to the under store, and the leader gives it its name. */
  persist(refusal: string | null = null): void {
    const { replica } = this;
    for (const { fileId, row } of replica.state.view.persistRows(null, 9)) {
      if (row.state !== "waiting") continue;
      replica.run({
        kind: "filePersisted",
        fileId,
        lengthBytes: this.file().lengthBytes,
        ufsFingerprint: "w",
        tempUfsPath: row.tempUfsPath,
      });
    }
    const outcomes = replica.state.view
      .intents(0, 9)
      .map(({ id }) => ({ id, refusal, ufsFingerprint: "f" }));
    replica.run({ kind: "intentsDone", outcomes });
    this.settle();
  }

  /** Workers drop what the namespace dropped, and no block of the file leads to other bytes than its own. */
  settle(): void {
    checkRows(this.replica);
    const { removedBlocks } = this.replica;
    for (const id of removedBlocks.slice(this.#removedCount)) this.copies.delete(id);
    // Ids that were given up never come back: a worker drops its copies only some time later.
    const ids = blockIdsOf(this.file());
    for (const id of removedBlocks) assert.ok(!ids.includes(id), "a dropped block's id is reused");
    this.#removedCount = removedBlocks.length;
    const file = this.file();
    assert.equal(this.replica.state.view.currentId(this.#createdId), file.id);
    if (!file.isCompleted) return;
    assert.equal(ids.length, Math.ceil(file.lengthBytes / file.blockSizeBytes));
    for (const [index, id] of ids.entries()) {
      assert.equal(blockIndexIn(file, id), index);
      const copy = this.copies.get(id);
      if (copy === undefined) continue;
      assert.equal(copy.content, index, "a copy has the bytes of its place");
      assert.equal(copy.lengthBytes, blockLengthIn(file, id));
      if (file.persistence === "PERSISTED") assert.equal(sequenceOf(id), index);
    }
  }

  assertReplays(): void {
    const { log, store } = this.replica;
    const other = new Replica();
    other.state.stateMachine.apply(log, through(log.length));
    assert.deepEqual(other.dump(), this.replica.dump());
    assert.deepEqual(other.removedBlocks, this.replica.removedBlocks);
    assert.ok(store.get(Uint8Array.of(10)) !== undefined);
  }
}

const sequencesOf = (file: FileInode) => blockIdsOf(file).map(sequenceOf);

/** Writes blocks of 100 bytes, the last of 30, after as many lost numbers as are said for each. */
function write(lostBefore: readonly number[]): Writer {
  const writer = new Writer();
  for (const [content, lostCount] of lostBefore.entries()) {
    for (let left = lostCount; left > 0; left--) writer.lose();
    const length = content === lostBefore.length - 1 ? 30 : 100;
    assert.equal(writer.commit(writer.newBlock(), content, length), "ok");
  }
  return writer;
}

const GAPS = {
  none: [[0, 0, 0], [0, 1, 2], []],
  start: [[1, 0, 0], [1, 2, 3], [0]],
  middle: [
    [0, 2, 0],
    [0, 3, 4],
    [1, 2],
  ],
  end: [[0, 0, 1], [0, 1, 3], [2]],
  everywhere: [
    [1, 1, 2],
    [1, 3, 6],
    [0, 2, 4, 5],
  ],
} as const;

for (const [where, [lostBefore, sequences, lost]] of Object.entries(GAPS)) {
  test(`a file that lost numbers at its ${where} has its blocks in order, and late copies are refused`, () => {
    const writer = write(lostBefore);
    writer.lose(); // behind the last: not part of the file, and no gap
    assert.equal(writer.complete(), "ok");
    const file = writer.file();
    assert.equal(file.lengthBytes, 230);
    assert.deepEqual(sequencesOf(file), sequences);
    assert.deepEqual(file.lostSequences, lost);
    for (const id of writer.lost) assert.equal(writer.commit(id, 9, 100), "NOT_FOUND");
    const [first] = blockIdsOf(file) as [BlockId];
    assert.equal(writer.commit(first, 0, 100), "ok"); // from another worker
    assert.equal(writer.commit(first, 0, 99), "INVALID_ARGUMENT");
    writer.assertReplays();
    writer.replica.run({ kind: "remove", path: F, isRecursive: false, isAlluxioOnly: false });
    assert.deepEqual(writer.replica.removedBlocks.map(sequenceOf), sequences);
  });

  test(`a file that lost numbers at its ${where} is persisted under ids without gaps`, () => {
    const writer = write(lostBefore);
    const before = writer.file();
    assert.equal(writer.complete({ isAsyncPersist: true }), "ok");
    assert.deepEqual(sequencesOf(writer.file()), sequences);
    writer.persist();
    const after = writer.file();
    assert.equal(after.persistence, "PERSISTED");
    assert.deepEqual(sequencesOf(after), [0, 1, 2]);
    const isMoved = lost.length > 0;
    assert.equal(after.id !== before.id, isMoved);
    assert.equal(writer.copies.size, isMoved ? 0 : 3);
    assert.equal(writer.replica.state.view.persistRow(before.id), null);
    // A cached block of it is what the under store has at that place.
    assert.equal(writer.commit(blockIdsOf(after)[1] as BlockId, 1, 100), "ok");
    for (const id of writer.lost) assert.equal(writer.commit(id, 9, 100), "NOT_FOUND");
    writer.assertReplays();
    writer.replica.run({ kind: "remove", path: F, isRecursive: false, isAlluxioOnly: true });
    assert.equal([...writer.replica.dump()].filter((row) => row.startsWith("0c")).length, 0);
  });

  test(`a file written through that lost numbers at its ${where} keeps no copy under a wrong id`, () => {
    const writer = write(lostBefore);
    const before = writer.file();
    assert.equal(writer.complete({ ufsLengthBytes: 230 }), "ok");
    const after = writer.file();
    assert.deepEqual(sequencesOf(after), [0, 1, 2]);
    // A number lost just before the last block: those before it are sound, and nobody has a copy under it.
    const keepsId = lost.length === 0 || where === "end";
    assert.equal(after.id === before.id, keepsId);
    assert.equal(writer.copies.size, keepsId ? 3 - lost.length : 0);
    for (const id of writer.lost) assert.notEqual(writer.commit(id, 9, 100), "ok");
    writer.assertReplays();
  });
}

test("a file written through of which only the first blocks were cached keeps these and its id", () => {
  const writer = write([0, 0]);
  const unfinished = writer.newBlock(); // then the worker failed, and the client asked for no more
  const before = writer.file();
  assert.equal(writer.commit(blockIdsOf(before)[1] as BlockId, 1, 30), "ok");
  assert.equal(writer.complete({ ufsLengthBytes: 430 }), "ok");
  // Block 1 is short for a file of this length: what was written under its id is not what belongs there.
  assert.notEqual(writer.file().id, before.id);

  const other = new Writer();
  assert.equal(other.commit(other.newBlock(), 0, 100), "ok");
  const late = other.newBlock();
  const { id } = other.file();
  assert.equal(other.complete({ ufsLengthBytes: 230 }), "ok");
  assert.equal(other.file().id, id);
  assert.equal(other.copies.size, 1);
  assert.equal(other.commit(late, 1, 40), "INVALID_ARGUMENT");
  assert.equal(other.commit(late, 1, 100), "ok");
  assert.equal(writer.commit(unfinished, 2, 100), "NOT_FOUND");
});

test("a block that comes late under a number behind a lost one is not taken for the content of that place", () => {
  const writer = new Writer();
  writer.lose();
  const first = writer.newBlock();
  assert.equal(writer.complete({ ufsLengthBytes: 200 }), "ok");
  assert.equal(writer.commit(first, 0, 100), "NOT_FOUND");
});

test("setAttribute() that vouches for the under store gives a file with gaps ids without", () => {
  const writer = write([1, 1]);
  assert.equal(writer.complete({ isAsyncPersist: true }), "ok");
  const before = writer.file();
  const vouch = (): ApplyResult =>
    writer.replica.run({
      kind: "setAttribute",
      ids: [before.id, before.id, 0n as InodeId],
      owner: null,
      group: null,
      mode: 0o600,
      isPinned: true,
      isPersisted: true,
      replicationMin: null,
      replicationMax: null,
      ttlMs: null,
      ttlAction: null,
    });
  assert.equal(statusOf(vouch()), "ok");
  writer.settle();
  const after = writer.file();
  assert.notEqual(after.id, before.id);
  assert.equal(after.mode, 0o600);
  assert.deepEqual(sequencesOf(after), [0, 1]);
  assert.deepEqual(writer.replica.state.view.pinnedFiles(null, 9), [after.id]);
  assert.deepEqual(writer.replica.state.view.persistRows(null, 9), []);
  // What was under way for the old id changes nothing any more.
  writer.replica.run({
    kind: "filePersisted",
    fileId: before.id,
    lengthBytes: 130,
    ufsFingerprint: "",
    tempUfsPath: "/ufs/.rockpool.tmp.persist.x",
  });
  writer.persist();
  assert.equal(writer.file().id, after.id);
  writer.assertReplays();
});

test("a file with gaps moves also while it changes its mode or lies in a tree that was removed", () => {
  const writer = write([1, 0]);
  assert.equal(writer.complete({ isAsyncPersist: true }), "ok");
  const { replica } = writer;
  replica.run({ ...CREATE_FILE, kind: "createFile", path: "/d/x" as Path });
  replica.run({ kind: "rename", path: F, dstPath: "/d/f" as Path, isOverwrite: false });
  const [task] = replica.state.view.persistRows(null, 1);
  assert.ok(task !== undefined);
  replica.run({
    kind: "filePersisted",
    fileId: task.fileId,
    lengthBytes: 130,
    ufsFingerprint: "w",
    tempUfsPath: task.row.tempUfsPath,
  });
  const outcomes = replica.state.view
    .intents(0, 9)
    .map(({ id }) => ({ id, refusal: null, ufsFingerprint: "f" }));
  replica.run({ kind: "remove", path: "/d" as Path, isRecursive: true, isAlluxioOnly: false });
  replica.run({ kind: "intentsDone", outcomes });
  checkRows(replica);
  for (let left = 3; left > 0; left--) replica.run({ kind: "reclaim", inodesMax: 1 });
  checkRows(replica);
  assert.equal(replica.dump().filter((row) => /^(01ff|0c)/.test(row)).length, 0);
});

test("newBlock with an operation id gives the same block to a retry", () => {
  const writer = new Writer();
  const first = writer.newBlock(7n);
  assert.equal(writer.newBlock(7n), first);
  assert.notEqual(writer.newBlock(8n), first);
  assert.equal(writer.file().blockCount, 2);
});

test("a createFile that is repeated after its file got another id answers with the file", () => {
  const writer = write([1]);
  assert.equal(writer.complete({ ufsLengthBytes: 30 }), "ok");
  const again = writer.replica.run({ ...CREATE_FILE, kind: "createFile", path: F }, 1n);
  assert.ok(again.isOk && again.value.kind === "inode");
  assert.equal(writer.replica.state.view.currentId(again.value.id), writer.file().id);
});

test("completion is refused beyond a bound of lost numbers", () => {
  const writer = new Writer();
  for (let left = LOST_SEQUENCES_MAX; left >= 0; left--) writer.newBlock();
  const blockId = writer.newBlock();
  writer.replica.run({ kind: "commitBlock", blockId, lengthBytes: 5 });
  assert.equal(statusOf(writer.replica.run({ ...COMPLETE, path: F })), "INVALID_ARGUMENT");
});

test("blockIndexIn() is the inverse of blockIdsOf(), for any lost numbers", () => {
  const writer = write([0]);
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(12)), fc.nat(12), (numbers, blockCount) => {
      const lostSequences = numbers.sort((a, b) => a - b);
      const file: FileInode = { ...writer.file(), blockCount, lostSequences };
      const ids = blockIdsOf(file);
      assert.equal(ids.length, blockCount);
      const indexes = new Map(ids.map((id, index) => [id, index]));
      for (let sequence = 0; sequence < 30; sequence++) {
        const id = ((containerIdOf(file.id) << 24n) | BigInt(sequence)) as BlockId;
        assert.equal(blockIndexIn(file, id), indexes.get(id) ?? null);
        assert.equal(lostSequences.includes(sequence) && indexes.has(id), false);
      }
      assert.deepEqual(
        ids.map(sequenceOf),
        ids.map(sequenceOf).sort((a, b) => a - b),
      );
    }),
  );
});

test("whatever gets lost or comes late, no block leads to other bytes than its own", () => {
  const block = fc.record({
    lostCount: fc.nat(2),
    fate: fc.constantFrom("committed", "committed", "committed", "late", "never"),
  });
  const how = fc.constantFrom("MUST_CACHE", "ASYNC_THROUGH", "CACHE_THROUGH");
  fc.assert(
    fc.property(
      fc.array(block, { maxLength: 5 }),
      how,
      fc.integer({ min: 1, max: 100 }),
      fc.boolean(),
      (blocks, writeType, lastBytes, isRefused) => {
        const writer = new Writer();
        const late: (() => void)[] = [];
        const isThrough = writeType === "CACHE_THROUGH";
        for (const [content, { lostCount, fate }] of blocks.entries()) {
          for (let left = lostCount; left > 0; left--) writer.lose();
          const id = writer.newBlock();
          const length = content === blocks.length - 1 ? lastBytes : 100;
          const commit = () => void writer.commit(id, content, length);
          // Only who writes to the under store too goes on without a block.
          if (fate === "committed" || !isThrough) commit();
          else if (fate === "late") late.push(commit);
        }
        const lengthBytes = blocks.length === 0 ? 0 : (blocks.length - 1) * 100 + lastBytes;
        const completed = writer.complete({
          ufsLengthBytes: isThrough ? lengthBytes : null,
          isAsyncPersist: writeType === "ASYNC_THROUGH",
        });
        assert.equal(completed, "ok");
        assert.equal(writer.file().lengthBytes, lengthBytes);
        for (const commit of late) commit();
        if (writeType === "ASYNC_THROUGH") writer.persist(isRefused ? "no" : null);
        const ids = blockIdsOf(writer.file());
        // Nobody ever wrote under a lost number, so it may be given to the file; else it must be refused.
        for (const id of writer.lost)
          if (!ids.includes(id)) assert.equal(writer.commit(id, 99, 100), "NOT_FOUND");
        writer.settle();
        writer.assertReplays();
      },
    ),
    { numRuns: 300 },
  );
});
