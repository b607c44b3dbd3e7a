/**
 * The namespace as its leader serves it: changes go through the journal, reads through a read barrier.
 *
 * Every call: is this master serving? → load what the under store knows of the paths → (a change) check,
 * propose, wait for the under store's part → answer. See proposer.ts, ufs_loader.ts, ufs_intents.ts.
 * @module
 */
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import { type BlockId, fileIdOfBlock, type InodeId } from "../common/ids.ts";
import { LIST_BATCH } from "../common/limits.ts";
import { nameOf, type Path } from "../common/path.ts";
import type { JournalSystem } from "../journal/journal_system.ts";
import type { UfsRegistry } from "../ufs/ufs_uri.ts";
import type { World } from "../world/ports.ts";
import type {
  BlockLocations,
  BlockNamespace,
  Call,
  CompleteFileOptions,
  CreateDirectoryOptions,
  CreateFileOptions,
  FileInfo,
  FileSystemMaster,
  ListOffset,
  ListOptions,
  ListPage,
  LoadMetadata,
  MountPoint,
  RemoveOptions,
  SetAttributeOptions,
} from "./api.ts";
import type { ApplyResult } from "./apply.ts";
import { notFound, walkToExisting } from "./apply_context.ts";
import { checkCommitBlock } from "./apply_create.ts";
import type { Command } from "./command.ts";
import { blockLengthIn } from "./file_blocks.ts";
import { fileInfoOf } from "./file_info.ts";
import type { DedupeRow, DirectoryInode, Inode } from "./inode.ts";
import { lastOf, targetOf } from "./inode_tree.ts";
import { type BirthOptions, LeaderDuties } from "./leader_duties.ts";
import { framesAfter, type Listed, walkTree } from "./listing.ts";
import type { NamespaceEvent } from "./master_event.ts";
import { checkAccessTo, checkTraversal, EXECUTE, mayAccess, READ, WRITE } from "./permissions.ts";
import { JournaledPersistQueue } from "./persist_queue.ts";
import type { PersistQueue } from "./persist_scheduler.ts";
import { Proposer, SYSTEM } from "./proposer.ts";
import { Reclaimer } from "./reclaimer.ts";
import type { MasterState } from "./state_machine.ts";
import { freeTree, inconsistentPaths, type Tree } from "./tree_care.ts";
import { UfsIntents } from "./ufs_intents.ts";
import { UfsLoader } from "./ufs_loader.ts";

export type FileSystemMasterOptions = BirthOptions & {
  /** Block size of files that are found in the under store. */
  readonly loadedBlockSizeBytes: number;
};

export const FILE_SYSTEM_MASTER_DEFAULTS = {
  isRootUfsReadOnly: false,
  isRootUfsShared: true,
  rootMode: 0o755,
  loadedBlockSizeBytes: 64 * 1024 * 1024,
  awaitsRestore: false,
} as const;

const NO_ATTRIBUTES: Omit<SetAttributeOptions, "isRecursive"> = {
  owner: null,
  group: null,
  mode: null,
  isPinned: null,
  isPersisted: null,
  replicationMin: null,
  replicationMax: null,
  ttlMs: null,
  ttlAction: null,
};
/** Paths in one answer about consistency. */
const INCONSISTENT_MAX = 10_000;
/** Changes that wait for an under store; beyond it no more are taken. */
const INTENTS_MAX = 20_000;

export type FileSystemMasterParts = {
  readonly journal: JournalSystem<ApplyResult>;
  readonly state: MasterState;
  readonly ufs: UfsRegistry;
  readonly blocks: BlockLocations;
  readonly world: World;
  readonly options: Omit<FileSystemMasterOptions, keyof typeof FILE_SYSTEM_MASTER_DEFAULTS> &
    Partial<FileSystemMasterOptions>;
  readonly onEvent: (event: NamespaceEvent) => void;
};

export type NamespaceServices = {
  readonly fileSystem: FileSystemMaster;
  readonly blockNamespace: BlockNamespace;
  readonly persistQueue: PersistQueue;
  /** Changes that the under store refused for good. */
  refusedIntents(limit: number): readonly { readonly what: string; readonly refusal: string }[];
  /** For the {@link Restorer}: the namespace is there, so the leader's work may begin. */
  restored(): void;
};

export function createFileSystemMaster(parts: FileSystemMasterParts): NamespaceServices {
  const master = new JournaledFileSystemMaster(parts);
  return {
    fileSystem: master,
    blockNamespace: master,
    persistQueue: master.persistQueue,
    restored: () => master.restored(),
    refusedIntents: (limit) =>
      parts.state.view
        .intents(0, limit)
        .flatMap(({ row: { action, refusal } }) =>
          refusal === null ? [] : [{ what: JSON.stringify(action, bigintText), refusal }],
        ),
  };
}

function bigintText(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? value.toString() : value;
}

class JournaledFileSystemMaster implements FileSystemMaster, BlockNamespace {
  readonly persistQueue: PersistQueue;
  readonly #journal: JournalSystem<ApplyResult>;
  readonly #state: MasterState;
  readonly #ufs: UfsRegistry;
  readonly #blocks: BlockLocations;
  readonly #proposer: Proposer;
  readonly #intents: UfsIntents;
  readonly #clock: World["clock"];
  readonly #loader: UfsLoader;
  readonly #reclaimer: Reclaimer;
  readonly #duties: LeaderDuties;

  constructor(parts: FileSystemMasterParts) {
    const { journal, state, ufs, world, onEvent } = parts;
    this.#journal = journal;
    this.#state = state;
    this.#ufs = ufs;
    this.#blocks = parts.blocks;
    const options = { ...FILE_SYSTEM_MASTER_DEFAULTS, ...parts.options };
    this.#clock = world.clock;
    const proposer = new Proposer(journal, state, world.clock);
    this.#proposer = proposer;
    const { timers } = world;
    const reclaimer = new Reclaimer({ state, proposer, timers, onEvent });
    this.#reclaimer = reclaimer;
    const intents = new UfsIntents({ state, proposer, ufs, timers, onEvent });
    this.#intents = intents;
    const blockSizeBytes = options.loadedBlockSizeBytes;
    this.#loader = new UfsLoader({ state, proposer, intents, ufs, blockSizeBytes, onEvent });
    this.persistQueue = new JournaledPersistQueue({ state, proposer, intents });
    this.#duties = new LeaderDuties({ ...parts, proposer, intents, reclaimer, options });
  }

  restored(): void {
    this.#duties.restored();
  }

  isReady(): boolean {
    return this.#duties.isReady();
  }

  /** Every call begins here. */
  #begin(): Promise<void> {
    return this.#duties.begin();
  }

  async #beginRead(): Promise<void> {
    await this.#begin();
    await this.#journal.readBarrier();
  }

  async #change(
    call: Call,
    command: Command,
    prepare: () => Promise<void> | void = () => {},
  ): Promise<DedupeRow> {
    await this.#begin();
    if (this.#intents.pendingCount > INTENTS_MAX)
      throw new RockpoolError(
        "RESOURCE_EXHAUSTED",
        `More than ${INTENTS_MAX} changes wait for the under store`,
        "Check that the under store works",
      );
    const result = await this.#proposer.change(call, command, prepare);
    if (result.intentIds.length === 0) return result;
    const begunMs = this.#clock.monotonicMs();
    await this.#intents.wait(result.intentIds);
    if (call.times !== undefined) call.times.underStoreMs += this.#clock.monotonicMs() - begunMs;
    return result;
  }

  #ufsPathOf(path: Path): string {
    return this.#state.view.mounts().resolve(path).ufsPath;
  }

  #infoOf(inode: Inode, path: Path): FileInfo {
    return fileInfoOf(inode, path, { mounts: this.#state.view.mounts(), blocks: this.#blocks });
  }

  #infosOf(listed: readonly Listed[]): FileInfo[] {
    const parts = { mounts: this.#state.view.mounts(), blocks: this.#blocks };
    return listed.map(({ inode, path }) => fileInfoOf(inode, path, parts));
  }

  #contextOf(call: Call) {
    const { view } = this.#state;
    return { view, mounts: view.mounts(), principal: call.principal };
  }

  // Reads

  async getStatus(
    call: Call,
    path: Path,
    options: { readonly loadMetadata: LoadMetadata; readonly accessBits: number },
  ): Promise<FileInfo> {
    await this.#beginRead();
    await this.#loader.ensureLoaded(path, options.loadMetadata);
    const walk = walkToExisting(this.#contextOf(call), path);
    const inode = lastOf(walk);
    if (options.accessBits !== 0) checkAccessTo(call.principal, walk, inode, options.accessBits);
    return this.#infoOf(inode, path);
  }

  async exists(
    call: Call,
    path: Path,
    options: { readonly loadMetadata: LoadMetadata },
  ): Promise<boolean> {
    await this.#beginRead();
    await this.#loader.ensureLoaded(path, options.loadMetadata);
    const walk = this.#state.view.walk(path);
    checkTraversal(call.principal, walk);
    return targetOf(walk) !== null;
  }

  async checkAccess(call: Call, path: Path, bits: number): Promise<void> {
    await this.#beginRead();
    await this.#loader.ensureLoaded(path, "once");
    const walk = walkToExisting(this.#contextOf(call), path);
    checkAccessTo(call.principal, walk, lastOf(walk), bits);
  }

  async *listStatus(
    call: Call,
    path: Path,
    { isRecursive, loadMetadata }: ListOptions,
  ): AsyncGenerator<readonly FileInfo[]> {
    const inode = await this.#beginListing(call, path, loadMetadata);
    if (inode.kind === "file") {
      yield [this.#infoOf(inode, path)];
      return;
    }
    const frames = [{ directoryId: inode.id, path, afterName: null }];
    const options = { isRecursive, batchSize: LIST_BATCH };
    for await (const batch of walkTree(this.#listingParts(call, loadMetadata), frames, options))
      yield this.#infosOf(batch);
  }

  async #beginListing(call: Call, path: Path, loadMetadata: LoadMetadata): Promise<Inode> {
    await this.#beginRead();
    await this.#loader.ensureLoaded(path, loadMetadata);
    const walk = walkToExisting(this.#contextOf(call), path);
    const inode = lastOf(walk);
    checkAccessTo(call.principal, walk, inode, READ);
    return inode;
  }

  #listingParts(call: Call, loadMetadata: LoadMetadata) {
    return {
      view: this.#state.view,
      prepare: (id: InodeId) => this.#loader.ensureListed(id, loadMetadata),
      mayEnter: (directory: DirectoryInode) => mayAccess(call.principal, directory, READ | EXECUTE),
      pause: () => this.#journal.readBarrier(),
    };
  }

  async listStatusPartial(
    call: Call,
    path: Path,
    options: ListOptions & {
      readonly offset: ListOffset;
      readonly batchSize: number;
      readonly prefix: string;
    },
  ): Promise<ListPage> {
    const { isRecursive, loadMetadata, prefix } = options;
    const inode = await this.#beginListing(call, path, loadMetadata);
    if (inode.kind === "file")
      return { fileInfos: [this.#infoOf(inode, path)], isTruncated: false, fileCount: 1 };
    await this.#loader.ensureListed(inode.id, loadMetadata);
    const after = this.#startOf(path, options.offset);
    const frames = framesAfter(this.#state.view, inode.id, path, { after, isRecursive });
    let toSkip = options.offset.kind === "skip" ? options.offset.count : 0;
    const batchSize = Math.max(1, Math.min(options.batchSize || LIST_BATCH, LIST_BATCH * 10));
    const found: Listed[] = [];
    const parts = this.#listingParts(call, loadMetadata);
    const namesFrom = path === "/" ? 1 : path.length + 1;
    for await (const batch of walkTree(parts, frames, { isRecursive, batchSize: LIST_BATCH })) {
      for (const entry of batch) {
        if (!entry.path.startsWith(prefix, namesFrom)) continue;
        if (toSkip > 0) toSkip -= 1;
        else found.push(entry);
        // One more than asked for tells that there is more.
        if (found.length > batchSize) break;
      }
      if (found.length > batchSize) break;
    }
    const now = this.#state.view.inode(inode.id);
    return {
      fileInfos: this.#infosOf(found.slice(0, batchSize)),
      isTruncated: found.length > batchSize,
      fileCount: isRecursive || now?.kind !== "directory" ? -1 : now.childCount,
    };
  }

  /** The name, or path below the directory, behind which a page begins. */
  #startOf(directory: Path, offset: ListOffset): string | null {
    if (offset.kind === "afterName") return offset.name;
    if (offset.kind !== "afterId") return null;
    const path = this.#state.view.pathOf(offset.id);
    const prefix = directory === "/" ? "/" : `${directory}/`;
    if (path === null || !path.startsWith(prefix))
      throw notFound(`inode ${offset.id} in ${directory}`);
    return path.slice(prefix.length);
  }

  async getFilePath(_call: Call, id: InodeId): Promise<Path> {
    await this.#beginRead();
    const path = this.#state.view.pathOf(id);
    if (path !== null) return path;
    throw new RockpoolError("NOT_FOUND", `inodeId ${id} does not exist`, "Check the id");
  }

  async mountPoints(_call: Call): Promise<readonly MountPoint[]> {
    await this.#beginRead();
    const { rows } = this.#state.view.mounts();
    return Promise.all(
      rows.map(async ({ path, mountId, ufsUri, isReadOnly, isShared }) => {
        const store = this.#ufs(ufsUri);
        // The table is shown also when the store is away.
        const space = await store.space().catch(() => null);
        return {
          path: path as Path, // a row's path was checked when it was mounted
          mountId: BigInt(mountId),
          ufsUri,
          ufsType: store.type,
          ufsCapacityBytes: space?.capacityBytes ?? -1,
          ufsUsedBytes: space?.usedBytes ?? -1,
          isReadOnly,
          isShared,
        };
      }),
    );
  }

  async reverseResolve(_call: Call, ufsUri: string): Promise<Path> {
    await this.#beginRead();
    return this.#state.view.mounts().reverse(ufsUri).path;
  }

  // Changes

  async createDirectory(call: Call, path: Path, options: CreateDirectoryOptions): Promise<void> {
    if (options.allowExists && (await this.#isDirectoryAsAsked(call, path, options))) return;
    await this.#change(call, { kind: "createDirectory", path, ...options }, () =>
      this.#prepareToMake(path),
    );
  }

  /** Hadoop asks for directories that exist before almost everything it does: those cost no entry. */
  async #isDirectoryAsAsked(
    call: Call,
    path: Path,
    { isPersisted }: CreateDirectoryOptions,
  ): Promise<boolean> {
    await this.#begin();
    const holds = () => {
      const target = targetOf(this.#state.view.walk(path));
      return target?.kind === "directory" && (target.isInUfs || !isPersisted);
    };
    if (!holds()) return false;
    await this.#journal.readBarrier();
    checkTraversal(call.principal, this.#state.view.walk(path));
    return holds();
  }

  /** What was removed from the under store must be gone before a client, or we, write there again. */
  async #prepareToMake(path: Path): Promise<void> {
    await this.#loader.ensureLoadedForWrite(path);
    await this.#intents.whenClear([this.#ufsPathOf(path)]);
  }

  async createFile(call: Call, path: Path, options: CreateFileOptions): Promise<FileInfo> {
    const { value } = await this.#change(call, { kind: "createFile", path, ...options }, () =>
      this.#prepareToMake(path),
    );
    // A removal that came before it in the journal may not be done yet, and the client writes there at once.
    await this.#intents.whenClear([this.#ufsPathOf(path)]);
    const { view } = this.#state;
    const inode = value.kind === "inode" ? view.inode(view.currentId(value.id)) : null;
    const now = inode === null ? null : view.pathOf(inode.id);
    // Removed by somebody else since.
    if (inode === null || now === null) throw notFound(path);
    // It was made here, wherever it is by now; only its bytes go where it is.
    return { ...this.#infoOf(inode, now), name: nameOf(path), path };
  }

  async newBlockId(call: Call, path: Path): Promise<BlockId> {
    const { value } = await this.#change(call, { kind: "newBlock", path });
    if (value.kind !== "block")
      throw new RockpoolError("INTERNAL", `No block was made for ${path}`, "");
    return value.blockId as bigint as BlockId;
  }

  async completeFile(call: Call, path: Path, options: CompleteFileOptions): Promise<void> {
    await this.#change(call, { kind: "completeFile", path, ...options });
  }

  async remove(call: Call, path: Path, options: RemoveOptions): Promise<void> {
    await this.#change(call, { kind: "remove", path, ...options }, async () => {
      await this.#loader.ensureLoaded(path, "once");
      const target = targetOf(this.#state.view.walk(path));
      if (target?.kind !== "directory") return;
      if (!options.isRecursive) await this.#loader.ensureListed(target.id, "once");
      else if (!call.principal.isSuperuser)
        await this.#checkMayRemoveTree(call, target, options.isAlluxioOnly ? "never" : "once");
    });
    this.#reclaimer.wake();
  }

  /**
   * Whoever removes a tree must be allowed to change every directory in it that has something in it; also those that
   * only the under store knows so far.
   */
  async #checkMayRemoveTree(
    { principal }: Call,
    directory: DirectoryInode,
    load: LoadMetadata,
  ): Promise<void> {
    const { view } = this.#state;
    const prepare = async (id: InodeId) => {
      await this.#loader.ensureListed(id, load);
      const inode = view.inode(id);
      const path = view.pathOf(id);
      if (inode?.kind !== "directory" || path === null || inode.childCount === 0) return;
      checkAccessTo(
        principal,
        { path, names: [], inodes: [inode], missing: [] },
        inode,
        WRITE | EXECUTE,
      );
    };
    const pause = () => this.#journal.readBarrier();
    const parts = { view, prepare, mayEnter: () => true, pause };
    const frames = [{ directoryId: directory.id, path: "/" as Path, afterName: null }];
    const options = { isRecursive: true, batchSize: LIST_BATCH };
    for await (const _ of walkTree(parts, frames, options));
  }

  async rename(
    call: Call,
    path: Path,
    dstPath: Path,
    options: { readonly isOverwrite: boolean },
  ): Promise<void> {
    await this.#change(call, { kind: "rename", path, dstPath, ...options }, async () => {
      await this.#loader.ensureLoaded(path, "once");
      await this.#loader.ensureLoadedForWrite(dstPath);
    });
  }

  async setAttribute(call: Call, path: Path, options: SetAttributeOptions): Promise<void> {
    const { isRecursive, ...attributes } = options;
    await this.#begin();
    await this.#loader.ensureLoaded(path, "once");
    let target = targetOf(this.#state.view.walk(path));
    if (target === null) {
      await this.#journal.readBarrier();
      target = lastOf(walkToExisting(this.#contextOf(call), path));
    }
    await this.#change(call, { kind: "setAttribute", ids: [target.id], ...attributes });
    if (target.kind === "file") return;
    // A pin is of everything below, now and in the future.
    if (isRecursive) await this.#setAttributeBelow(call, path, target, attributes);
    else if (attributes.isPinned !== null)
      await this.#setAttributeBelow(call, path, target, {
        ...NO_ATTRIBUTES,
        isPinned: attributes.isPinned,
      });
  }

  async #setAttributeBelow(
    call: Call,
    path: Path,
    target: DirectoryInode,
    attributes: Omit<SetAttributeOptions, "isRecursive">,
  ): Promise<void> {
    const parts = { ...this.#listingParts(call, "once"), mayEnter: () => true };
    const frames = [{ directoryId: target.id, path, afterName: null }];
    const walk = walkTree(parts, frames, { isRecursive: true, batchSize: LIST_BATCH });
    for await (const batch of walk) {
      const ids = batch.map(({ inode }) => inode.id);
      try {
        await this.#change(call, { kind: "setAttribute", ids, ...attributes });
      } catch (error) {
        // All of them were removed meanwhile.
        if (!isRockpoolError(error, "NOT_FOUND")) throw error;
      }
    }
  }

  async scheduleAsyncPersistence(call: Call, path: Path): Promise<void> {
    await this.#change(call, { kind: "schedulePersist", path }, () =>
      this.#loader.ensureLoaded(path, "once"),
    );
  }

  // Care

  async #treeAt(call: Call, path: Path): Promise<Tree> {
    const inode = await this.#beginListing(call, path, "once");
    const { principal } = call;
    const mayEnter = (directory: DirectoryInode) => {
      const walk = { path, names: [], inodes: [directory], missing: [] };
      checkAccessTo(principal, walk, directory, READ | EXECUTE);
      return true;
    };
    const walk = { ...this.#listingParts(call, "never"), mayEnter };
    if (inode.kind === "directory") mayEnter(inode);
    return { path, inode, walk };
  }

  async free(
    call: Call,
    path: Path,
    options: { readonly isRecursive: boolean; readonly isForced: boolean },
  ): Promise<void> {
    const unpin = async (ids: readonly InodeId[]) => {
      const attributes = { ...NO_ATTRIBUTES, isPinned: false };
      await this.#change(
        { ...call, operationId: null },
        { kind: "setAttribute", ids, ...attributes },
      );
    };
    await freeTree(await this.#treeAt(call, path), options, { blocks: this.#blocks, unpin });
  }

  async checkConsistency(call: Call, path: Path): Promise<readonly Path[]> {
    const { view } = this.#state;
    const current = (id: InodeId) => {
      const inode = view.inode(id);
      const at = view.pathOf(id);
      return inode === null || at === null ? null : { inode, path: at };
    };
    const whenClear = (ufsPaths: readonly string[]) => this.#intents.whenClear(ufsPaths);
    const parts = { mounts: () => view.mounts(), ufs: this.#ufs, whenClear, current };
    return inconsistentPaths(await this.#treeAt(call, path), parts, INCONSISTENT_MAX);
  }

  // Blocks

  async commitBlock(blockId: BlockId, lengthBytes: number): Promise<void> {
    await this.#begin();
    const { view } = this.#state;
    try {
      // Of a complete file, or told before: nothing to journal.
      if (checkCommitBlock({ view }, { blockId, lengthBytes }) !== null) return;
    } catch (error) {
      if (!isRockpoolError(error)) throw error;
      await this.#journal.readBarrier();
      if (checkCommitBlock({ view }, { blockId, lengthBytes }) !== null) return;
    }
    await this.#proposer.propose(SYSTEM, { kind: "commitBlock", blockId, lengthBytes });
  }

  blockLength(blockId: BlockId): number | null {
    const { view } = this.#state;
    const file = view.inode(fileIdOfBlock(blockId));
    if (file?.kind !== "file" || view.chainOf(file.id) === null) return null;
    return blockLengthIn(file, blockId) ?? view.blockRow(blockId);
  }
}
