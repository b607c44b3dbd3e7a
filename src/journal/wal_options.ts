/**
 * What the write-ahead log is given, and what it tells.
 * @module
 */
import type { LogIndex, Term } from "../common/ids.ts";
import type { Clock, Timers } from "../world/ports.ts";
import type { WalFailure } from "./wal_failure.ts";
import type { RecoveryOptions } from "./wal_recovery.ts";
import type { RecoveryEvent } from "./wal_repair.ts";

export type WalEvent =
  | RecoveryEvent
  | { readonly kind: "segmentBegun"; readonly path: string; readonly firstIndex: LogIndex }
  | { readonly kind: "noSpaceForNextSegment"; readonly path: string }
  /** The log has reached again what was promised when it was damaged. */
  | { readonly kind: "repaired"; readonly index: LogIndex; readonly term: Term }
  /** The log begins at `firstIndex` now; so many segments were removed. */
  | { readonly kind: "trimmed"; readonly firstIndex: LogIndex; readonly segmentCount: number }
  | {
      /** Entries that were sound cannot be read any more. They are needed only by peers that lag, or by a restart. */
      readonly kind: "scrubFoundDamage";
      readonly path: string;
      readonly offsetBytes: number;
      readonly firstIndex: LogIndex;
      readonly lastIndex: LogIndex;
      readonly remedy: string;
    };

export type WalOptions = RecoveryOptions & {
  readonly timers: Timers;
  /** For how long flushes take. */
  readonly clock: Pick<Clock, "monotonicMs">;
  /** How often a segment that found no room is tried again. */
  readonly spareRetryMs?: number;
  /** How often one of the segments that are no longer written to is read and checked; 0: never. */
  readonly scrubIntervalMs?: number;
  /**
   * Asked before the log drops what is in the state alone from then on: resolves when a power cut would leave the state at or
   * after `index`. What it throws is thrown by `openWal`, and nothing was changed.
   */
  readonly beforeShortening?: (index: LogIndex) => Promise<void>;
  readonly onEvent: (event: WalEvent) => void;
  /** Called once; from then on nothing is written and no `done` is called. */
  readonly onFailure: (failure: WalFailure) => void;
};
