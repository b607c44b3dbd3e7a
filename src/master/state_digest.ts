/**
 * The digest of a namespace: equal on all masters that have applied the same entries, and equal to that of a backup of it.
 *
 * Taken of a snapshot, in slices between which everything else goes on.
 * @module
 */
import type { KeyValue, KeyValueReader } from "../kv/kv.ts";
import type { Timers } from "../world/ports.ts";
import { type BackupTrailer, RowDigest } from "./backup_file.ts";
import { NAMESPACE_KEYS } from "./inode.ts";
import type { MasterState } from "./state_machine.ts";

/** Rows that are read and hashed in about a millisecond. */
const SLICE_ROWS = 400;

/** Lets everything that waits have its turn. */
export function pauseOf(timers: Timers): () => Promise<void> {
  return () => new Promise((resolve) => timers.soon(resolve));
}

/** Rows of the namespace after a key (null: from the first), for one slice. */
export function namespaceSlice(
  rows: KeyValueReader,
  after: Uint8Array | null,
  limit: number,
): Iterable<KeyValue> {
  // The next possible key is the last one and a zero.
  const start = after === null ? NAMESPACE_KEYS.start : Uint8Array.of(...after, 0);
  return rows.range({ ...NAMESPACE_KEYS, start, limit });
}

export type StateDigest = BackupTrailer & {
  /** Everything through this entry of the journal is in it. */
  readonly index: number;
};

/** Of the state as it is at the call. */
export async function stateDigest(
  { store, stateMachine }: Pick<MasterState, "store" | "stateMachine">,
  timers: Timers,
): Promise<StateDigest> {
  const { index } = stateMachine.position();
  const snapshot = store.snapshot();
  const pause = pauseOf(timers);
  try {
    const digest = new RowDigest();
    let after: Uint8Array | null = null;
    for (;;) {
      const rows: KeyValue[] = [...namespaceSlice(snapshot, after, SLICE_ROWS)];
      digest.add(rows);
      const last = rows.at(-1);
      if (last === undefined) return { ...digest.trailer(), index };
      after = last.key;
      await pause();
    }
  } finally {
    snapshot.close();
  }
}
