/**
 * The digest of a namespace: equal on all masters that have applied the same entries, and equal to that of a backup of it.
 *
 * Taken of a snapshot, in slices between which everything else goes on.
 * @module
 */
import type { KeyValue, KeyValueReader } from "../kv/kv.ts";
import type { Clock, Timers, World } from "../world/ports.ts";
import { type BackupTrailer, RowDigest } from "./backup_file.ts";
import { NAMESPACE_KEYS } from "./inode.ts";
import type { MasterState } from "./state_machine.ts";

/** Rows that are read and hashed in a millisecond or two. */
const SLICE_ROWS = 200;
/** A turn of what runs beside everything else. */
const TURN_MS = 2;

/** Work in turns, by the clock: however long a row takes on this machine, nobody waits for much longer than a turn. */
export class Turns {
  readonly #clock: Clock;
  readonly #timers: Timers;
  #endMs: number;

  constructor({ clock, timers }: Pick<World, "clock" | "timers">) {
    this.#clock = clock;
    this.#timers = timers;
    this.#endMs = clock.monotonicMs() + TURN_MS;
  }

  isOver(): boolean {
    return this.#clock.monotonicMs() >= this.#endMs;
  }

  /** Lets everything that waits have its turn, once this one is over. */
  readonly pause = async (): Promise<void> => {
    if (!this.isOver()) return;
    await new Promise<void>((resolve) => {
      this.#timers.soon(resolve);
    });
    this.#endMs = this.#clock.monotonicMs() + TURN_MS;
  };

  /** After something was waited for, which was a turn of others. */
  begin(): void {
    this.#endMs = this.#clock.monotonicMs() + TURN_MS;
  }
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
  world: Pick<World, "clock" | "timers">,
): Promise<StateDigest> {
  const { index } = stateMachine.position();
  const snapshot = store.snapshot();
  const turns = new Turns(world);
  try {
    const digest = new RowDigest();
    let after: Uint8Array | null = null;
    for (;;) {
      const rows: KeyValue[] = [...namespaceSlice(snapshot, after, SLICE_ROWS)];
      digest.add(rows);
      const last = rows.at(-1);
      if (last === undefined) return { ...digest.trailer(), index };
      after = last.key;
      await turns.pause();
    }
  } finally {
    snapshot.close();
  }
}
