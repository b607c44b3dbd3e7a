/**
 * What a runtime is told to do, and what it says then.
 * @module
 */
export type Job = {
  readonly what:
    | "digest"
    | "range"
    | "refused"
    | "many"
    | "respond"
    | "cached"
    | "direct"
    | "change"
    | "pings"
    | "raw"
    | "rawPings"
    | "swallow"
    | "swallowDirect";
  readonly masters: readonly string[];
  readonly token: string;
  readonly path: string;
  readonly offset?: number;
  readonly length?: number;
  /** Of a plain WebSocket, for comparison: sends as many bytes as it is asked for, and echoes what is short. */
  readonly raw?: string;
  /** In messages of this size. */
  readonly messageBytes?: number;
  /** Times that the file is read, one after the other. */
  readonly times?: number;
  /** Asked once so many bytes are here; the read goes on when it has answered. */
  readonly checkpoint?: { readonly bytes: number; readonly url: string };
  readonly options?: Readonly<Record<string, unknown>>;
};

export type Outcome = {
  readonly bytes?: number;
  readonly sha256?: string;
  readonly status?: string;
  readonly longestGapMs?: number;
  readonly connects?: number;
  readonly damaged?: number;
  readonly tookMs?: number;
  /** Of round trips: the median. */
  readonly medianMs?: number;
  readonly facts?: unknown;
  readonly error?: string;
};
