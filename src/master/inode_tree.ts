/**
 * The tree of inodes over the key-value rows: reading it, and changing it inside one transaction.
 *
 * Pure. {@link NamespaceView} reads; {@link NamespaceEditor} keeps changed inodes and the counters
 * decoded until `flush`, so that a batch of a thousand files in one directory writes that directory once.
 * Who writes rows keeps these: a directory's childCount is the number of its entries; the inode
 * of every entry exists; what is in the under store has its parent there.
 * @module
 */
import {
  type BlockId,
  fileIdOf,
  type InodeId,
  ROOT_INODE_ID,
  usableContainerId,
} from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import { childOf, namesOf, type Path, ROOT_PATH } from "../common/path.ts";
import type { KeyValueReader, KeyValueTransaction } from "../kv/kv.ts";
import { blockIdsOf } from "./file_blocks.ts";
import {
  type DirectoryInode,
  dentryKey,
  dentryValue,
  type FileInode,
  IDS_KEY,
  type IdsRow,
  type Inode,
  type IntentAction,
  type IntentRow,
  idKey,
  idOfDentryValue,
  idOfKey,
  idsRow,
  inodeRow,
  intentRow,
  lengthRow,
  type MountRow,
  mountRow,
  NO_PARENT,
  nameOfDentryKey,
  type PathConfigurationRow,
  type PersistRow,
  pathConfigurationKey,
  pathConfigurationRow,
  pathOfConfigurationKey,
  persistRow,
  RESTORE_KEY,
  type RestoreRow,
  restoreRow,
  STATE_KEY,
  type StateRow,
  stateRow,
  TABLE,
} from "./inode.ts";
import { MountTable } from "./mount_table.ts";

export type ChildEntry = { readonly name: string; readonly id: InodeId };

/** Where a path leads: the inodes that exist from the root on, and the names beyond the last of them. */
export type Walk = {
  readonly path: Path;
  readonly names: readonly string[];
  /** At least the root. */
  readonly inodes: readonly Inode[];
  readonly missing: readonly string[];
};

/** Decoded inodes that are newer than (or the same as) the rows; null for removed ones. */
export interface InodeOverlay {
  get(id: InodeId): Inode | null | undefined;
  /** An inode was read from its row. */
  loaded(inode: Inode): void;
}

const EMPTY_STATE: StateRow = {
  lastTimeMs: 0,
  nextIntentId: 1,
  nextDedupeNumber: 1,
  refusedIntentCount: 0,
  clusterId: "",
};
const EMPTY_IDS: IdsRow = { nextContainerId: 1, frozenBelow: 0 };

export function lastOf(walk: Walk): Inode {
  const inode = walk.inodes[walk.inodes.length - 1];
  invariant(inode !== undefined, "a walk has at least the root");
  return inode;
}

/** The inode that a path names; null when it does not exist. */
export function targetOf(walk: Walk): Inode | null {
  return walk.missing.length === 0 ? lastOf(walk) : null;
}

export class NamespaceView {
  readonly #rows: KeyValueReader;
  readonly #overlay: InodeOverlay | null;

  constructor(rows: KeyValueReader, overlay: InodeOverlay | null = null) {
    this.#rows = rows;
    this.#overlay = overlay;
  }

  state(): StateRow {
    const value = this.#rows.get(STATE_KEY);
    return value === undefined ? EMPTY_STATE : stateRow.decode(value);
  }

  ids(): IdsRow {
    const value = this.#rows.get(IDS_KEY);
    return value === undefined ? EMPTY_IDS : idsRow.decode(value);
  }

  /** The backup that is being brought in; null when none is: only then these rows are a namespace. */
  restoring(): RestoreRow | null {
    const value = this.#rows.get(RESTORE_KEY);
    return value === undefined ? null : restoreRow.decode(value);
  }

  /** False until the first entry of a cluster's journal was applied. */
  isInitialized(): boolean {
    return this.inode(ROOT_INODE_ID) !== null;
  }

  inode(id: InodeId): Inode | null {
    const known = this.#overlay?.get(id);
    if (known !== undefined) return known;
    const value = this.#rows.get(idKey(TABLE.inode, id));
    if (value === undefined) return null;
    const inode = inodeRow.decode(value);
    this.#overlay?.loaded(inode);
    return inode;
  }

  /** The id that a file has now which was made with `id`. */
  currentId(id: InodeId): InodeId {
    const value = this.#rows.get(idKey(TABLE.moved, id));
    return value === undefined ? id : idOfDentryValue(value);
  }

  childId(parentId: InodeId, name: string): InodeId | null {
    const value = this.#rows.get(dentryKey(parentId, name));
    return value === undefined ? null : idOfDentryValue(value);
  }

  child(parentId: InodeId, name: string): Inode | null {
    const id = this.childId(parentId, name);
    return id === null ? null : this.existing(id);
  }

  /** The inode of an id that a row names. */
  existing(id: InodeId): Inode {
    const inode = this.inode(id);
    invariant(inode !== null, "the inode of every directory entry exists");
    return inode;
  }

  /** Up to `limit` children in byte order of their names, after a name (null: from the first). */
  children(parentId: InodeId, afterName: string | null, limit: number): ChildEntry[] {
    const start = dentryKey(parentId, afterName === null ? "" : `${afterName}\0`);
    const end = dentryKey((parentId + 1n) as InodeId, "");
    const entries: ChildEntry[] = [];
    for (const { key, value } of this.#rows.range({ start, end, limit }))
      entries.push({ name: nameOfDentryKey(key), id: idOfDentryValue(value) });
    return entries;
  }

  walk(path: Path): Walk {
    const names = namesOf(path);
    const root = this.inode(ROOT_INODE_ID);
    invariant(root !== null, "a namespace in use has a root");
    const inodes: Inode[] = [root];
    let at: Inode = root;
    for (let depth = 0; depth < names.length; depth++) {
      const next = at.kind === "directory" ? this.child(at.id, names[depth] as string) : null;
      if (next === null) return { path, names, inodes, missing: names.slice(depth) };
      inodes.push(next);
      at = next;
    }
    return { path, names, inodes, missing: [] };
  }

  /** The path of an inode; null when it is gone, or part of a removed tree. */
  pathOf(id: InodeId): Path | null {
    const inodes = this.chainOf(id);
    return inodes === null ? null : pathOfChain(inodes);
  }

  /** The inodes from the root to one; null when it is gone, or part of a removed tree. */
  chainOf(id: InodeId): Inode[] | null {
    const chain: Inode[] = [];
    let at = this.inode(id);
    for (;;) {
      if (at === null) return null;
      chain.push(at);
      if (at.id === ROOT_INODE_ID) return chain.reverse();
      if (at.parentId === NO_PARENT) return null;
      at = this.inode(at.parentId);
    }
  }

  /** The length of a committed block of a file that is not complete. */
  blockRow(id: BlockId): number | null {
    const value = this.#rows.get(idKey(TABLE.block, id));
    return value === undefined ? null : lengthRow.decode(value);
  }

  mounts(): MountTable {
    const rows: MountRow[] = [];
    for (const { value } of this.#range(TABLE.mount, null, Infinity))
      rows.push(mountRow.decode(value));
    return new MountTable(rows);
  }

  persistRow(fileId: InodeId): PersistRow | null {
    const value = this.#rows.get(idKey(TABLE.persist, fileId));
    return value === undefined ? null : persistRow.decode(value);
  }

  /** @param afterId null: from the first */
  persistRows(
    afterId: InodeId | null,
    limit: number,
  ): { readonly fileId: InodeId; readonly row: PersistRow }[] {
    return [...this.#range(TABLE.persist, afterId, limit)].map(({ key, value }) => ({
      fileId: idOfKey(key) as InodeId,
      row: persistRow.decode(value),
    }));
  }

  /** Files that are pinned, in order of their ids. */
  pinnedFiles(afterId: InodeId | null, limit: number): InodeId[] {
    const rows = this.#range(TABLE.pinned, afterId, limit);
    return [...rows].map(({ key }) => idOfKey(key) as InodeId);
  }

  /** Null: nothing is set for that very path. */
  pathConfiguration(path: string): PathConfigurationRow | null {
    const value = this.#rows.get(pathConfigurationKey(path));
    return value === undefined ? null : pathConfigurationRow.decode(value);
  }

  /** What clients take as defaults, by path; in byte order of the paths. */
  pathConfigurations(): ReadonlyMap<string, PathConfigurationRow["properties"]> {
    const rows = this.#range(TABLE.pathConfiguration, null, Infinity);
    return new Map(
      [...rows].map(({ key, value }) => [
        pathOfConfigurationKey(key),
        pathConfigurationRow.decode(value).properties,
      ]),
    );
  }

  intent(id: number): IntentRow | null {
    const value = this.#rows.get(idKey(TABLE.intent, BigInt(id)));
    return value === undefined ? null : intentRow.decode(value);
  }

  intents(afterId: number, limit: number): { readonly id: number; readonly row: IntentRow }[] {
    return [...this.#range(TABLE.intent, BigInt(afterId), limit)].map(({ key, value }) => ({
      id: Number(idOfKey(key)),
      row: intentRow.decode(value),
    }));
  }

  reclaimable(limit: number): InodeId[] {
    return [...this.#range(TABLE.reclaim, null, limit)].map(({ key }) => idOfKey(key) as InodeId);
  }

  #range(table: number, afterId: bigint | null, limit: number) {
    const start = afterId === null ? Uint8Array.of(table) : idKey(table, afterId + 1n);
    const end = Uint8Array.of(table + 1);
    return this.#rows.range({ start, end, ...(limit === Infinity ? {} : { limit }) });
  }
}

function pathOfChain(inodes: readonly Inode[]): Path {
  return inodes.slice(1).reduce((path, { name }) => childOf(path, name), ROOT_PATH);
}

export class NamespaceEditor {
  readonly view: NamespaceView;
  readonly transaction: KeyValueTransaction;
  readonly #inodes = new Map<InodeId, Inode | null>();
  readonly #changed = new Set<InodeId>();
  #state: StateRow;
  #ids: IdsRow | null = null;
  #areIdsChanged = false;
  /** Undefined: not read yet. */
  #restoring: RestoreRow | null | undefined;
  #mounts: MountTable | null = null;
  readonly #removedBlocks: BlockId[] = [];
  readonly #newIntents: number[] = [];

  constructor(transaction: KeyValueTransaction) {
    this.transaction = transaction;
    this.view = new NamespaceView(transaction, {
      get: (id) => this.#inodes.get(id),
      loaded: (inode) => void this.#inodes.set(inode.id, inode),
    });
    this.#state = this.view.state();
  }

  get state(): StateRow {
    return this.#state;
  }

  setState(change: Partial<StateRow>): void {
    this.#state = { ...this.#state, ...change };
  }

  ids(): IdsRow {
    this.#ids ??= this.view.ids();
    return this.#ids;
  }

  setIds(ids: IdsRow): void {
    this.#ids = ids;
    this.#areIdsChanged = true;
  }

  /** Raises the ids that are used up, and is seen by the checks of the entries behind it. */
  freezeIds(nextContainerId: number): void {
    this.setIds({ nextContainerId, frozenBelow: nextContainerId });
    this.transaction.put(IDS_KEY, idsRow.encode(this.ids()));
  }

  restoring(): RestoreRow | null {
    if (this.#restoring === undefined) this.#restoring = this.view.restoring();
    return this.#restoring;
  }

  setRestoring(row: RestoreRow | null): void {
    this.#restoring = row;
    if (row === null) this.transaction.remove(RESTORE_KEY);
    else this.transaction.put(RESTORE_KEY, restoreRow.encode(row));
  }

  /** Read once for a batch: nothing but the first entry of a journal changes it. */
  mounts(): MountTable {
    this.#mounts ??= this.view.mounts();
    return this.#mounts;
  }

  putMount(row: MountRow): void {
    this.transaction.put(idKey(TABLE.mount, BigInt(row.mountId)), mountRow.encode(row));
    this.#mounts = null;
  }

  put(inode: Inode): void {
    this.#inodes.set(inode.id, inode);
    this.#changed.add(inode.id);
  }

  /** Adds a child that has no entry yet. */
  link(parentId: InodeId, inode: Inode, timeMs: number | null): void {
    this.transaction.put(dentryKey(parentId, inode.name), dentryValue(inode.id));
    this.put(inode);
    this.#countChild(parentId, 1, timeMs);
  }

  /** Notes a new file, or one whose pin changed. */
  notePin(inode: Inode): void {
    if (inode.kind === "directory") return;
    const key = idKey(TABLE.pinned, inode.id);
    if (inode.isPinned) this.transaction.put(key, new Uint8Array(0));
    else this.transaction.remove(key);
  }

  /** Takes the entry of a child away; its inode stays. */
  unlink(inode: Inode, timeMs: number): void {
    this.transaction.remove(dentryKey(inode.parentId, inode.name));
    this.#countChild(inode.parentId, -1, timeMs);
  }

  /** @param timeMs null: the child was found in the under store, no user changed the directory */
  #countChild(parentId: InodeId, difference: number, timeMs: number | null): void {
    const parent = this.directory(parentId);
    this.put({
      ...parent,
      childCount: parent.childCount + difference,
      ...(timeMs === null ? {} : { modifiedMs: timeMs, childVersion: parent.childVersion + 1 }),
    });
  }

  directory(id: InodeId): DirectoryInode {
    const inode = this.view.existing(id);
    invariant(inode.kind === "directory", "a parent is a directory");
    return inode;
  }

  file(id: InodeId): FileInode {
    const inode = this.view.existing(id);
    invariant(inode.kind === "file", "a file stays a file");
    return inode;
  }

  removeInode(inode: Inode): void {
    this.#inodes.set(inode.id, null);
    this.#changed.add(inode.id);
    if (inode.kind === "directory") return;
    if (inode.isPinned) this.notePin({ ...inode, isPinned: false });
    if (inode.formerId !== null) this.transaction.remove(idKey(TABLE.moved, inode.formerId));
    for (const blockId of blockIdsOf(inode)) {
      this.#removedBlocks.push(blockId);
      if (!inode.isCompleted) this.removeBlockRow(blockId);
    }
    if (inode.persistence === "TO_BE_PERSISTED") this.removePersist(inode.id);
  }

  /**
   * Puts a complete file in the place of what it was while its old block ids had to be given up: it gets another id,
   * and so do its blocks, of which nobody has a copy yet.
   */
  reissue(before: FileInode, complete: FileInode): FileInode {
    const id = fileIdOf(this.takeContainerId());
    const file: FileInode = { ...complete, id, lostSequences: [], formerId: before.id };
    this.removeInode(before);
    this.transaction.put(dentryKey(file.parentId, file.name), dentryValue(id));
    this.transaction.put(idKey(TABLE.moved, before.id), dentryValue(id));
    this.put(file);
    if (file.isPinned) this.notePin(file);
    return file;
  }

  takeContainerId(): bigint {
    const ids = this.ids();
    const id = usableContainerId(BigInt(ids.nextContainerId));
    this.setIds({ ...ids, nextContainerId: Number(id) + 1 });
    return id;
  }

  putBlockRow(id: BlockId, lengthBytes: number): void {
    this.transaction.put(idKey(TABLE.block, id), lengthRow.encode(lengthBytes));
  }

  removeBlockRow(id: BlockId): void {
    this.transaction.remove(idKey(TABLE.block, id));
  }

  /** Workers may drop their copies of a block that the namespace no longer has. */
  dropBlock(id: BlockId): void {
    this.removeBlockRow(id);
    this.#removedBlocks.push(id);
  }

  putPersist(fileId: InodeId, row: PersistRow): void {
    this.transaction.put(idKey(TABLE.persist, fileId), persistRow.encode(row));
  }

  removePersist(fileId: InodeId): void {
    this.transaction.remove(idKey(TABLE.persist, fileId));
  }

  /** @returns the id of the new intent */
  addIntent(action: IntentAction, timeMs: number): number {
    const id = this.#state.nextIntentId;
    this.setState({ nextIntentId: id + 1 });
    this.putIntent(id, { action, madeMs: timeMs, refusal: null });
    this.#newIntents.push(id);
    return id;
  }

  putIntent(id: number, row: IntentRow): void {
    this.transaction.put(idKey(TABLE.intent, BigInt(id)), intentRow.encode(row));
  }

  /** Empties a table that is known to be small. */
  clearTable(table: number): void {
    const keys = [
      ...this.transaction.range({ start: Uint8Array.of(table), end: Uint8Array.of(table + 1) }),
    ];
    for (const { key } of keys) this.transaction.remove(key);
    this.#mounts = null;
  }

  /** As in a store without rows. */
  resetState(): void {
    this.#state = EMPTY_STATE;
  }

  removeIntent(id: number): void {
    this.transaction.remove(idKey(TABLE.intent, BigInt(id)));
  }

  /** Hands a removed directory over to be freed later, child by child. */
  addReclaimable(id: InodeId): void {
    this.transaction.put(idKey(TABLE.reclaim, id), new Uint8Array(0));
  }

  removeReclaimable(id: InodeId): void {
    this.transaction.remove(idKey(TABLE.reclaim, id));
  }

  /** Writes what was kept. @returns what the rest of the master must hear of */
  flush(): {
    readonly inodes: ReadonlyMap<InodeId, Inode | null>;
    readonly removedBlocks: readonly BlockId[];
    readonly newIntents: readonly number[];
  } {
    const inodes = new Map<InodeId, Inode | null>();
    for (const id of this.#changed) {
      const inode = this.#inodes.get(id) ?? null;
      inodes.set(id, inode);
      const key = idKey(TABLE.inode, id);
      if (inode === null) this.transaction.remove(key);
      else this.transaction.put(key, inodeRow.encode(inode));
    }
    this.transaction.put(STATE_KEY, stateRow.encode(this.#state));
    if (this.#areIdsChanged) this.transaction.put(IDS_KEY, idsRow.encode(this.ids()));
    return { inodes, removedBlocks: this.#removedBlocks, newIntents: this.#newIntents };
  }
}
