/**
 * For tests: the state machine alone, fed by hand.
 * @module
 */
import assert from "node:assert/strict";
import { type BlockId, type InodeId, ROOT_INODE_ID } from "../common/ids.ts";
import type { CommittedEntry, StatePosition } from "../journal/journal_system.ts";
import { MemoryKeyValueStore } from "../kv/memory_kv.ts";
import type { ApplyResult } from "./apply.ts";
import { type Command, type CommandOf, encodeEntry } from "./command.ts";
import { type Inode, idOfKey, inodeRow, NO_PARENT, TABLE } from "./inode.ts";
import { ROOT_USER } from "./master_fixture.ts";
import { createMasterState, type MasterState } from "./state_machine.ts";

export const INITIALIZE: CommandOf<"initializeNamespace"> = {
  kind: "initializeNamespace",
  rootOwner: "root",
  rootGroup: "root",
  rootMode: 0o755,
  rootUfsUri: "/ufs",
  isRootReadOnly: false,
  isRootShared: true,
  clusterId: "c",
};

export class Replica {
  readonly store = new MemoryKeyValueStore();
  readonly state: MasterState;
  readonly log: CommittedEntry[] = [];
  readonly removedBlocks: BlockId[] = [];

  constructor() {
    this.state = createMasterState({
      store: this.store,
      options: { dedupeEntriesMax: 5, inodeCacheEntriesMax: 3 },
      onBlocksRemoved: (ids) => this.removedBlocks.push(...ids),
    });
  }

  run(command: Command, low: bigint | null = null, principal = ROOT_USER): ApplyResult {
    const index = this.state.stateMachine.position().index + 1;
    const payload = encodeEntry({
      timeMs: 1000 + index,
      operationId: low === null ? null : { high: 0n, low },
      principal,
      command,
    });
    const entry = { index, term: 1, payload };
    this.log.push(entry);
    const [result] = this.state.stateMachine.apply([entry], through(index));
    assert.ok(result !== undefined);
    return result;
  }

  dump(): string[] {
    const rows = this.store.range({ start: Uint8Array.of(0), end: Uint8Array.of(255) });
    return [...rows].map(
      ({ key, value }) =>
        `${Buffer.from(key).toString("hex")} ${Buffer.from(value).toString("hex")}`,
    );
  }
}

/** A position that brings no membership. */
export function through(index: number, term = 1): StatePosition {
  return { index, term, membership: null };
}

export function withoutState(dump: readonly string[]): string[] {
  return dump.filter((row) => !/^(0a|f0|f2) /.test(row));
}

/** Everything that must hold of the rows after every entry. */
export function checkRows({ store, state: { view } }: Replica): void {
  const inodes = new Map<InodeId, Inode>();
  const range = (table: number) =>
    store.range({ start: Uint8Array.of(table), end: Uint8Array.of(table + 1) });
  for (const { key, value } of range(TABLE.inode)) {
    const inode = inodeRow.decode(value);
    assert.equal(idOfKey(key), inode.id);
    inodes.set(inode.id, inode);
    assert.deepEqual(view.inode(inode.id), inode, "the cache shows the rows");
  }
  const removed = new Set(view.reclaimable(10_000));
  for (const inode of inodes.values()) {
    if (inode.kind === "directory")
      assert.equal(view.children(inode.id, null, 10_000).length, inode.childCount);
    if (inode.id === ROOT_INODE_ID) continue;
    if (inode.parentId === NO_PARENT) {
      assert.ok(removed.has(inode.id), "a detached inode waits to be freed");
      continue;
    }
    assert.equal(view.childId(inode.parentId, inode.name), inode.id);
    const parent = inodes.get(inode.parentId);
    assert.ok(parent !== undefined);
    if (inode.isInUfs && view.chainOf(inode.id) !== null)
      assert.ok(parent.isInUfs, "what is in the under store has its parent there");
  }
  const pinned = [...inodes.values()].filter(({ kind, isPinned }) => kind === "file" && isPinned);
  assert.deepEqual(
    view.pinnedFiles(null, 10_000),
    pinned.map(({ id }) => id),
  );
  for (const { key } of range(TABLE.dentry)) assert.ok(key.length > 9);
  for (const { key } of range(TABLE.block)) {
    const id = idOfKey(key) as BlockId;
    const file = inodes.get((id | 0xffffffn) as bigint as InodeId);
    assert.ok(file?.kind === "file" && !file.isCompleted, "block rows are of files being written");
  }
  const files = [...inodes.values()].filter((inode) => inode.kind === "file");
  for (const file of files)
    if (file.persistence === "PERSISTED" || !file.isCompleted)
      assert.deepEqual(
        file.lostSequences,
        [],
        "clients find blocks in the under store by sequence",
      );
  const moves = files.flatMap(({ id, formerId }) => (formerId === null ? [] : [[formerId, id]]));
  assert.equal([...range(TABLE.moved)].length, moves.length);
  for (const [from, to] of moves) assert.equal(view.currentId(from as InodeId), to);
  for (const { fileId } of view.persistRows(null, 10_000))
    assert.equal(inodes.get(fileId)?.persistence, "TO_BE_PERSISTED");
}
