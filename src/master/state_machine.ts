/**
 * The replicated state of the masters: the journal drives it, everybody reads it.
 *
 * Pure. Every batch of entries is one transaction, which also stores the position in the log, so a crash leaves either
 * both or neither. Decoded inodes are cached for readers; each commit brings the cache up to date in the
 * same turn, and readers run in turns of their own, so it never shows anything but the rows. Nothing else of the rows is kept
 * in memory on a master that does not lead, so an image that takes their place needs no more than to empty the cache.
 * @module
 */
import { DecodeError } from "../common/bytes.ts";
import { RockpoolError } from "../common/errors.ts";
import type { BlockId, InodeId } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import { DEDUPE_ENTRIES_MAX } from "../common/limits.ts";
import type { CommittedEntry, StateMachine, StatePosition } from "../journal/journal_system.ts";
import type { KeyValueReader, KeyValueStore } from "../kv/kv.ts";
import { type ApplyResult, applyEntry } from "./apply.ts";
import { type Command, decodeEntry } from "./command.ts";
import { type Inode, POSITION_KEY, positionRow, STORE_SCHEMA_VERSION } from "./inode.ts";
import { NamespaceEditor, NamespaceView } from "./inode_tree.ts";

export type MasterStateOptions = {
  /** Results remembered for retries. The same on every master of a cluster. */
  readonly dedupeEntriesMax: number;
  /** Decoded inodes kept for readers; each takes about 600 B. */
  readonly inodeCacheEntriesMax: number;
};

export const MASTER_STATE_DEFAULTS: MasterStateOptions = {
  dedupeEntriesMax: DEDUPE_ENTRIES_MAX,
  inodeCacheEntriesMax: 50_000,
};

export type MasterState = {
  readonly stateMachine: StateMachine<ApplyResult>;
  readonly store: KeyValueStore;
  /** Reads the last committed state; for use within one turn of the event loop. */
  readonly view: NamespaceView;
  /** Called after each commit with the intents that it made; one listener. */
  onIntents(listener: (intentIds: readonly number[]) => void): void;
  /** Called after each commit with the commands that it carried out, and that did something; one listener. */
  onCommands(listener: (commands: readonly Command[]) => void): void;
};

/** Forgets in order of arrival; plain, since a miss costs only a decode. */
class InodeCache {
  readonly #inodes = new Map<InodeId, Inode>();
  readonly #entriesMax: number;

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
  }

  get(id: InodeId): Inode | undefined {
    return this.#inodes.get(id);
  }

  loaded(inode: Inode): void {
    this.#inodes.set(inode.id, inode);
    if (this.#inodes.size <= this.#entriesMax) return;
    const [oldest] = this.#inodes.keys();
    if (oldest !== undefined) this.#inodes.delete(oldest);
  }

  changed(id: InodeId, inode: Inode | null): void {
    if (inode === null) this.#inodes.delete(id);
    else this.loaded(inode);
  }

  clear(): void {
    this.#inodes.clear();
  }
}

const NOWHERE: StatePosition = { index: 0, term: 0, membership: null };

/** Where rows stand in the log. @throws RockpoolError FAILED_PRECONDITION when they are not of this program's version */
export function positionOf(rows: KeyValueReader): StatePosition {
  const value = rows.get(POSITION_KEY);
  if (value === undefined) return NOWHERE;
  const refused = (what: string, cause?: unknown) =>
    new RockpoolError(
      "FAILED_PRECONDITION",
      `The metadata is ${what}, and this program reads version ${STORE_SCHEMA_VERSION}`,
      "Start the build that wrote it, or let this master get its state from another one: format it and start it again",
      { cause },
    );
  try {
    const { schemaVersion, ...position } = positionRow.decode(value);
    if (schemaVersion !== STORE_SCHEMA_VERSION) throw refused(`of version ${schemaVersion}`);
    return position;
  } catch (error) {
    if (error instanceof DecodeError) throw refused("of an unknown version", error);
    throw error;
  }
}

export function createMasterState({
  store,
  options = {},
  onBlocksRemoved,
}: {
  readonly store: KeyValueStore;
  readonly options?: Partial<MasterStateOptions>;
  /** Told on every master after the commit that dropped the blocks. */
  readonly onBlocksRemoved: (blockIds: readonly BlockId[]) => void;
}): MasterState {
  const { dedupeEntriesMax, inodeCacheEntriesMax } = { ...MASTER_STATE_DEFAULTS, ...options };
  const cache = new InodeCache(inodeCacheEntriesMax);
  const view = new NamespaceView(store, cache);
  let tellIntents: (intentIds: readonly number[]) => void = () => {};
  let tellCommands: ((commands: readonly Command[]) => void) | null = null;
  let position = positionOf(store);

  const apply = (entries: readonly CommittedEntry[], through: StatePosition): ApplyResult[] => {
    invariant(through.index >= position.index, "the applied index never goes back");
    const reached = { ...through, membership: through.membership ?? position.membership };
    const results: ApplyResult[] = [];
    const done: Command[] = [];
    const outcome = store.transact((transaction) => {
      const editor = new NamespaceEditor(transaction);
      // Several commands may share an entry.
      let last = position.index + 1;
      for (const { index, payload } of entries) {
        invariant(
          index >= last && index <= through.index,
          "entries are applied once, in log order",
        );
        last = index;
        const entry = decodeEntry(payload);
        const result = applyEntry(editor, entry, { dedupeEntriesMax });
        results.push(result);
        if (tellCommands !== null && result.isOk) done.push(entry.command);
      }
      const row = { schemaVersion: STORE_SCHEMA_VERSION, ...reached };
      transaction.put(POSITION_KEY, positionRow.encode(row));
      return editor.flush();
    });
    position = reached;
    for (const [id, inode] of outcome.inodes) cache.changed(id, inode);
    if (outcome.removedBlocks.length > 0) onBlocksRemoved(outcome.removedBlocks);
    if (outcome.newIntents.length > 0) tellIntents(outcome.newIntents);
    if (done.length > 0) tellCommands?.(done);
    return results;
  };

  const writeImage = async (path: string): Promise<StatePosition> => {
    const written = position; // an image is of the moment of the call
    await store.writeImage(path);
    return written;
  };

  const installImage = async (path: string, imageBytes: number): Promise<StatePosition> => {
    // Also when it fails after the rows were replaced. Blocks that went with the entries in between were told to nobody: workers
    // report them, and hear then.
    await store.installImage(path, imageBytes, positionOf, () => {
      cache.clear();
      position = positionOf(store);
    });
    return position;
  };

  return {
    stateMachine: { position: () => position, apply, writeImage, installImage },
    store,
    view,
    onIntents(listener) {
      tellIntents = listener;
    },
    onCommands(listener) {
      tellCommands = listener;
    },
  };
}
