/**
 * What the gateway asks of the master behind it, so that tests put fakes in its place.
 * @module
 */
import type { EdgeEvent, EdgeListing, EdgePlaces, EdgeStatus } from "./words.ts";

/** CRC-32C of the next so many bytes. */
export type Sum = { readonly lengthBytes: number; readonly crc: number };

/** A stretch of bytes, and the checksums that were kept beside them, in order and for all of it; null when nobody kept any. */
export type EdgeChunk = { readonly bytes: Uint8Array; readonly sums: readonly Sum[] | null };

/** A file that its user may read. */
export interface EdgeFile {
  readonly status: EdgeStatus;
  /** The bytes in order, exactly as many as asked for, within the file. */
  chunks(
    offsetBytes: number,
    lengthBytes: number,
    signal: AbortSignal,
  ): AsyncGenerator<EdgeChunk, void, undefined>;
  /** Where its bytes can be fetched without this master. */
  places(): EdgePlaces;
}

export type EdgeBody = {
  readonly lengthBytes: number;
  readonly chunks: AsyncIterable<Uint8Array>;
};

/** The namespace and the bytes of files, with the rights of a user. Every call may throw a RockpoolError. */
export interface EdgeFiles {
  status(user: string, path: string): Promise<EdgeStatus>;
  list(user: string, path: string, after: string, limit: number): Promise<EdgeListing>;
  /** @throws RockpoolError PERMISSION_DENIED; FAILED_PRECONDITION for a directory or a file still being written */
  open(user: string, path: string): Promise<EdgeFile>;
  /**
   * Fails when the user may not look into it.
   * @returns whether the user may know of a name below it, by the rights of the directories above that name
   */
  watchable(user: string, path: string): Promise<(path: string) => boolean>;
  /** Makes a file; a body that fails leaves none. */
  create(
    user: string,
    path: string,
    body: EdgeBody,
    options: { readonly isOverwrite: boolean; readonly signal: AbortSignal },
  ): Promise<EdgeStatus>;
  /** @param operation 32 hexadecimal digits made once for all repeats; null when the client sent none */
  remove(
    user: string,
    path: string,
    options: { readonly isRecursive: boolean; readonly operation: string | null },
  ): Promise<void>;
  rename(
    user: string,
    path: string,
    to: string,
    options: { readonly isOverwrite: boolean; readonly operation: string | null },
  ): Promise<void>;
}

/** Who leads, as this master knows it. */
export interface EdgeLeadership {
  serves(): boolean;
  term(): number;
  /** Web address; null when no leader is known, or this master leads. */
  leader(): string | null;
  masters(): readonly string[];
}

/** What was done to the namespace, once it is committed and applied. */
export type EdgeChange = EdgeEvent & {
  /** It may have made the directories above, too. */
  readonly mayMakeParents: boolean;
};

/** One WebSocket, opened. */
export interface EdgeWire {
  /** "host:port" of the client, for logs. */
  readonly peer: string;
  /** Bytes that the client has not taken yet. */
  bufferedBytes(): number;
  /**
   * Sends a message. The bytes must not be changed afterwards.
   * @param payload the second part of the same message, so that nobody has to join them
   */
  send(bytes: Uint8Array, payload?: Uint8Array): void;
  /** Says farewell; what was sent before is delivered if the client takes it soon. */
  close(code: number, reason: string): void;
  /** Resolves when some of what is buffered has left, or the socket is closed. */
  drained(): Promise<void>;
}

export type EdgeLimits = {
  readonly connectionsMax: number;
  readonly connectionsPerUserMax: number;
  /** Requests of one connection that are under way. */
  readonly requestsMax: number;
  readonly watchesMax: number;
  readonly writeBytesMax: number;
  /** Of all connections. */
  readonly readsMax: number;
  /** A connection that hears nothing from its client for this long is closed. */
  readonly idleMs: number;
  /** Bytes were given to the socket and none of them was taken for so long. */
  readonly stallMs: number;
  /** A read that waits for credit for so long gives its place to others; clients go on where it stood. */
  readonly creditWaitMs: number;
};

export const EDGE_LIMITS: EdgeLimits = {
  connectionsMax: 128,
  connectionsPerUserMax: 64,
  requestsMax: 64,
  watchesMax: 64,
  writeBytesMax: 16 * 1024 * 1024,
  readsMax: 256,
  idleMs: 60_000,
  stallMs: 30_000,
  creditWaitMs: 60_000,
};

export type EdgeGatewayEvent =
  | { readonly kind: "edgeConnected"; readonly peer: string; readonly user: string }
  | {
      readonly kind: "edgeDisconnected";
      readonly peer: string;
      readonly user: string;
      readonly code: number;
      readonly reason: string;
    }
  | { readonly kind: "edgeRefused"; readonly peer: string; readonly reason: string }
  | { readonly kind: "edgeFailed"; readonly peer: string; readonly error: unknown };

/** Counters for metrics. */
export type EdgeCounters = {
  connections: number;
  requests: number;
  failures: number;
  bytesSent: number;
  bytesReceived: number;
  /** Bytes whose checksum came from where they are stored. */
  bytesWithStoredChecksums: number;
};

export function edgeCounters(): EdgeCounters {
  return {
    connections: 0,
    requests: 0,
    failures: 0,
    bytesSent: 0,
    bytesReceived: 0,
    bytesWithStoredChecksums: 0,
  };
}
