/**
 * The JSON inside the frames of the edge protocol (docs/EDGE.md): what gateway and client both call things.
 *
 * Types alone, so that the client carries none of it. 64-bit ids are texts.
 * @module
 */

/** First frame of a client. */
export type Hello = {
  readonly version: number;
  /** Left out when the request's headers carry it. */
  readonly token?: string;
  /** Payload of DATA frames that the client wants at most. */
  readonly frameBytes?: number;
};

/** First frame of a master that leads. */
export type Welcome = {
  readonly version: number;
  readonly user: string;
  readonly canWrite: boolean;
  readonly term: number;
  /** Payload of DATA frames in both directions. */
  readonly frameBytes: number;
  /** Bytes that a client may send of an upload before it is given credit. */
  readonly windowBytes: number;
  /** Longest file that `write` takes. */
  readonly writeBytesMax: number;
  /** What of the protocol this master offers; names that a client does not know are to be ignored. */
  readonly capabilities: readonly string[];
  /** Web addresses ("host:port") of all masters. */
  readonly masters: readonly string[];
};

/** A master that does not lead (any more). */
export type Moved = {
  /** Web address of the leader; null when none is known. */
  readonly leader: string | null;
  readonly masters: readonly string[];
};

export type EdgeStatus = {
  readonly id: string;
  readonly path: string;
  readonly name: string;
  readonly isDirectory: boolean;
  /** False while a file is being written. */
  readonly isCompleted: boolean;
  readonly lengthBytes: number;
  readonly blockSizeBytes: number;
  readonly createdMs: number;
  readonly modifiedMs: number;
  readonly owner: string;
  readonly group: string;
  readonly mode: number;
  readonly persistence: string;
  /** Share of the bytes that workers hold, 0 to 100. */
  readonly cachedPercent: number;
  /** Another one means other bytes. With its quotes, as HTTP wants it. */
  readonly etag: string;
};

export type Range = {
  readonly path: string;
  readonly offset: number;
  readonly length: number;
  /** Of the file that the bytes must be of. */
  readonly etag?: string;
};

export type EdgeRequest =
  | { readonly op: "status"; readonly path: string }
  | {
      readonly op: "list";
      readonly path: string;
      /** Entries behind this name alone. */
      readonly after?: string;
      readonly limit?: number;
    }
  | {
      readonly op: "read";
      readonly path: string;
      readonly offset?: number;
      /** To the end of the file when left out. */
      readonly length?: number;
      /** Of the file that the bytes must be of. */
      readonly etag?: string;
    }
  | { readonly op: "readMany"; readonly ranges: readonly Range[] }
  | { readonly op: "locate"; readonly path: string }
  | {
      readonly op: "write";
      readonly path: string;
      readonly length: number;
      readonly overwrite?: boolean;
    }
  | {
      readonly op: "delete";
      readonly path: string;
      readonly recursive?: boolean;
      readonly operation?: string;
    }
  | {
      readonly op: "rename";
      readonly path: string;
      readonly to: string;
      readonly overwrite?: boolean;
      readonly operation?: string;
    }
  | { readonly op: "watch"; readonly path: string; readonly recursive?: boolean };

/** What `list` answers. */
export type EdgeListing = {
  readonly entries: readonly EdgeStatus[];
  /** Name to go on behind; null at the end. */
  readonly next: string | null;
};

/** What `locate` answers: where browsers fetch the bytes of a file over HTTP. */
export type EdgePlaces = {
  readonly status: EdgeStatus;
  /** In order of the file; a piece without URLs is read over the socket. */
  readonly blocks: readonly {
    readonly offset: number;
    readonly length: number;
    readonly urls: readonly string[];
  }[];
};

/** `missed`: the sender does not know what happened since the watch began, or since its last event: look anew. */
export type EdgeEvent = {
  readonly kind: "created" | "completed" | "deleted" | "renamed" | "changed" | "missed";
  readonly path: string;
  /** Of `renamed`: the new path. */
  readonly to?: string;
};

export type EdgeFailure = {
  readonly status: string;
  readonly message: string;
  readonly remedy: string;
};
