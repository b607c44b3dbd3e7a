/**
 * Files that wait to be brought to the under store by a worker.
 *
 * The wish is journaled, so a new leader goes on where the last one was. Workers write to a temporary path in
 * the root of the mount; only when that is reported does the file's name of that moment decide where it goes.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { InodeId } from "../common/ids.ts";
import { blockIdsOf, lengthAt } from "./file_blocks.ts";
import type { PersistQueue, PersistTask } from "./persist_scheduler.ts";
import { type Proposer, SYSTEM } from "./proposer.ts";
import type { MasterState } from "./state_machine.ts";
import type { UfsIntents } from "./ufs_intents.ts";

const PAGE = 256;

export class JournaledPersistQueue implements PersistQueue {
  readonly #state: MasterState;
  readonly #proposer: Proposer;
  readonly #intents: UfsIntents;

  constructor(parts: {
    readonly state: MasterState;
    readonly proposer: Proposer;
    readonly intents: UfsIntents;
  }) {
    this.#state = parts.state;
    this.#proposer = parts.proposer;
    this.#intents = parts.intents;
  }

  pending(limit: number, afterFileId: InodeId | null): readonly PersistTask[] {
    const { view } = this.#state;
    if (view.restoring() !== null) return []; // files whose rows may not be there yet
    const tasks: PersistTask[] = [];
    let after = afterFileId;
    while (tasks.length < limit) {
      const rows = view.persistRows(after, PAGE);
      for (const { fileId, row } of rows) {
        after = fileId;
        if (row.state !== "waiting" || tasks.length >= limit) continue;
        const task = this.#taskOf(fileId, row.tempUfsPath);
        if (task !== null) tasks.push(task);
      }
      if (rows.length < PAGE) break;
    }
    return tasks;
  }

  #taskOf(fileId: InodeId, ufsTempPath: string): PersistTask | null {
    const { view } = this.#state;
    const file = view.inode(fileId);
    const path = view.pathOf(fileId);
    // Part of a tree that was removed and is yet to be freed.
    if (file?.kind !== "file" || path === null) return null;
    const blocks = blockIdsOf(file).map((blockId, index) => ({
      blockId,
      lengthBytes: lengthAt(file, index),
    }));
    const { owner, group, mode } = file;
    const mountId = BigInt(view.mounts().resolve(path).mount.mountId);
    return { fileId, ufsTempPath, blocks, owner, group, mode, mountId };
  }

  async persisted(
    fileId: InodeId,
    result: Parameters<PersistQueue["persisted"]>[1],
  ): Promise<void> {
    const { value, intentIds } = await this.#proposer.propose(SYSTEM, {
      kind: "filePersisted",
      fileId,
      ...result,
    });
    await this.#intents.wait(intentIds);
    if (value.kind !== "none") return;
    throw new RockpoolError(
      "NOT_FOUND",
      `File ${fileId} was removed, or is persisted already`,
      "Nothing needs to be done: what was written is removed",
    );
  }
}
