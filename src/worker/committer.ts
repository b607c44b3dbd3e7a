/**
 * Telling the leader of a block that is complete here, while the block is kept from going away.
 * @module
 */
import { messageOf, RockpoolError } from "../common/errors.ts";
import type { BlockId } from "../common/ids.ts";
import type { BlockStore } from "./block_store.ts";
import type { DataEvent, LeaderPort } from "./worker_api.ts";

export class Committer {
  readonly #store: BlockStore;
  readonly #leader: LeaderPort;
  readonly #onEvent: (event: DataEvent) => void;

  constructor(store: BlockStore, leader: LeaderPort, onEvent: (event: DataEvent) => void) {
    this.#store = store;
    this.#leader = leader;
    this.#onEvent = onEvent;
  }

  /**
   * For bytes that exist only here: when the leader does not take the block, it is removed and the client told, so that no
   * file is completed over a block that the masters do not know.
   */
  async commitWritten(blockId: BlockId, lengthBytes: number): Promise<void> {
    const hold = this.#store.hold(blockId);
    if (hold === null)
      throw new RockpoolError(
        "RESOURCE_EXHAUSTED",
        `Block ${blockId} was evicted before the master knew it`,
        "Give the tier a larger quota, or write fewer files at a time",
      );
    let isTaken = false;
    try {
      await this.#leader.commitBlock(blockId, lengthBytes);
      isTaken = true;
    } catch (error) {
      const reason = messageOf(error);
      this.#onEvent({ kind: "blockCommitFailed", blockId, reason });
      throw error;
    } finally {
      hold.release();
      if (!isTaken) await this.#store.remove(blockId);
    }
  }

  /**
   * For a copy of what is elsewhere too: the heartbeats tell the masters of it even if this does not. A copy that the leader
   * refuses is dropped: a client may have named the wrong length, and readers would take it for the whole block.
   */
  async commitCached(blockId: BlockId, lengthBytes: number): Promise<void> {
    const hold = this.#store.hold(blockId);
    if (hold === null) return;
    let isRefused = false;
    try {
      await this.#leader.commitBlock(blockId, lengthBytes);
    } catch (error) {
      if (!(error instanceof RockpoolError)) throw error;
      isRefused = error.status === "INVALID_ARGUMENT" || error.status === "NOT_FOUND";
      this.#onEvent({ kind: "blockCommitFailed", blockId, reason: error.message });
    } finally {
      hold.release();
      if (isRefused) await this.#store.remove(blockId);
    }
  }
}
