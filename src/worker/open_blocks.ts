/**
 * Open files of blocks, with their checksums: shared by all readers of a block, and kept a while after the last one,
 * so that positioned reads do not open the block each time.
 * @module
 */
import type { BlockId } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import type { OpenBlock } from "./block_reader.ts";
import type { BlockEntry } from "./tier.ts";

/** Well below the system's usual limit of 1024 descriptors. */
const IDLE_MAX = 128;

export type OpenHandle = {
  readonly entry: BlockEntry;
  readonly opening: Promise<OpenBlock>;
  users: number;
};

export class OpenBlocks {
  readonly #open: (entry: BlockEntry) => Promise<OpenBlock>;
  /** Those in use, and idle ones; of these the first was used longest ago. */
  readonly #handles = new Map<BlockId, OpenHandle>();
  #idleCount = 0;

  constructor(open: (entry: BlockEntry) => Promise<OpenBlock>) {
    this.#open = open;
  }

  /** @returns a handle to be released, once it is open. @throws what opening throws; there is nothing to release then */
  async acquire(
    entry: BlockEntry,
  ): Promise<{ readonly handle: OpenHandle; readonly open: OpenBlock }> {
    const known = this.#handles.get(entry.id);
    invariant(known === undefined || known.entry === entry, "an open file is of a listed block");
    if (known?.users === 0) this.#idleCount--;
    const handle = known ?? { entry, opening: this.#open(entry), users: 0 };
    handle.users++;
    this.#handles.set(entry.id, handle);
    try {
      return { handle, open: await handle.opening };
    } catch (error) {
      if (this.#handles.get(entry.id) === handle) this.#handles.delete(entry.id);
      throw error;
    }
  }

  async release(handle: OpenHandle): Promise<void> {
    handle.users--;
    if (handle.users > 0) return;
    const { id } = handle.entry;
    if (this.#handles.get(id) !== handle) {
      await closeHandle(handle); // dropped while it was in use
      return;
    }
    this.#handles.delete(id);
    this.#handles.set(id, handle);
    this.#idleCount++;
    if (this.#idleCount > IDLE_MAX) await this.#closeOldest();
  }

  async #closeOldest(): Promise<void> {
    for (const handle of this.#handles.values()) {
      if (handle.users > 0) continue;
      await this.drop(handle.entry.id);
      return;
    }
  }

  /** Forgets a block: its file is closed now, or when its last reader lets go. */
  async drop(id: BlockId): Promise<void> {
    const handle = this.#handles.get(id);
    if (handle === undefined) return;
    this.#handles.delete(id);
    if (handle.users > 0) return;
    this.#idleCount--;
    await closeHandle(handle);
  }

  /** Closes idle files; the others are closed by their last readers. */
  async close(): Promise<void> {
    for (const id of [...this.#handles.keys()]) await this.drop(id);
  }
}

async function closeHandle(handle: OpenHandle): Promise<void> {
  const { file } = await handle.opening;
  await file.close();
}
