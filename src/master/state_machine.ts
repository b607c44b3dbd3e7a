/**
 * The replicated state of the masters: the journal drives it, everybody reads it.
 *
 * Pure. Every batch of entries is one transaction, which also stores the applied index, so a crash leaves either
 * both or neither. Decoded inodes are cached for readers; each commit brings the cache up to date in the
 * same turn, and readers run in turns of their own, so it never shows anything but the rows.
 * @module
 */
import type { BlockId, InodeId } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import { DEDUPE_ENTRIES_MAX } from "../common/limits.ts";
import type { CommittedEntry, StateMachine } from "../journal/journal_system.ts";
import type { KeyValueStore } from "../kv/kv.ts";
import { type ApplyResult, applyEntry } from "./apply.ts";
import { decodeEntry } from "./command.ts";
import type { Inode } from "./inode.ts";
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
  /** A checkpoint took the place of the store's content: forget what was cached. */
  reset(): void;
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
  let appliedIndex = view.state().appliedIndex;

  const apply = (entries: readonly CommittedEntry[], throughIndex: number): ApplyResult[] => {
    invariant(throughIndex >= appliedIndex, "the applied index never goes back");
    const results: ApplyResult[] = [];
    const outcome = store.transact((transaction) => {
      const editor = new NamespaceEditor(transaction);
      let last = appliedIndex;
      for (const { index, payload } of entries) {
        invariant(index > last && index <= throughIndex, "entries are applied once, in log order");
        last = index;
        results.push(applyEntry(editor, decodeEntry(payload), { dedupeEntriesMax }));
      }
      editor.setState({ appliedIndex: throughIndex });
      return editor.flush();
    });
    appliedIndex = throughIndex;
    for (const [id, inode] of outcome.inodes) cache.changed(id, inode);
    if (outcome.removedBlocks.length > 0) onBlocksRemoved(outcome.removedBlocks);
    if (outcome.newIntents.length > 0) tellIntents(outcome.newIntents);
    return results;
  };

  return {
    stateMachine: { appliedIndex: () => appliedIndex, apply },
    store,
    view,
    onIntents(listener) {
      tellIntents = listener;
    },
    reset() {
      cache.clear();
      appliedIndex = view.state().appliedIndex;
    },
  };
}
