/**
 * Under file systems: where data lives for good.
 *
 * One interface for local directories, S3 and HDFS; one contract test for all of them. Paths are
 * absolute within the store and start with the root that the mount names.
 * @module
 */

export type UfsStatus = {
  /** Last component of the path. */
  readonly name: string;
  readonly isDirectory: boolean;
  readonly lengthBytes: number;
  readonly lastModifiedMs: number;
  readonly owner: string;
  readonly group: string;
  /** Posix bits, 0 to 0o777. */
  readonly mode: number;
  /** Changes whenever the content may have changed: etag, or mtime, length and inode. */
  readonly fingerprint: string;
};

/** Names of what is not finished: stores do not show them, so nobody may make them. */
export const TEMPORARY_PREFIX = ".rockpool.tmp.";

export type UfsCreateOptions = {
  readonly owner: string;
  readonly group: string;
  readonly mode: number;
};

/**
 * A file being written. Nothing is visible under its name before `commit`, which is atomic and durable.
 */
export interface UfsWriter {
  /** Appends. The buffer may be reused when the promise resolves. */
  write(bytes: Uint8Array): Promise<void>;
  /** Makes the file visible, replacing one of that name, with its parents; resolves when it is durable. */
  commit(): Promise<UfsStatus>;
  /** Leaves no trace. */
  abort(): Promise<void>;
}

export interface UfsReader {
  /**
   * Reads at a position, until `into` is full or the file ends.
   * @returns bytes read; fewer than asked only at the end of the file
   */
  read(into: Uint8Array, positionBytes: number): Promise<number>;
  close(): Promise<void>;
}

/** Errors: RockpoolError NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED, RESOURCE_EXHAUSTED (full), UNAVAILABLE (try later). */
export interface UnderFileSystem {
  /** "local", "s3", "hdfs". */
  readonly type: string;
  /** Null when there is none. */
  status(path: string): Promise<UfsStatus | null>;
  /** Direct children in byte order of their names; null when the path is not a directory. Temporary files are not shown. */
  list(path: string): Promise<readonly UfsStatus[] | null>;
  /** With parents. An existing directory is fine. */
  createDirectory(path: string, options: UfsCreateOptions): Promise<void>;
  create(path: string, options: UfsCreateOptions): Promise<UfsWriter>;
  open(path: string): Promise<UfsReader>;
  /** Atomic for files. An existing file at `to` is replaced; a directory there is ALREADY_EXISTS. Parents of `to` are made. */
  rename(from: string, to: string): Promise<void>;
  /** False when there was nothing. A non-empty directory needs `isRecursive`. */
  remove(path: string, isRecursive: boolean): Promise<boolean>;
  setMode(path: string, mode: number): Promise<void>;
  /** "" leaves the owner, or the group, as it is. Stores that cannot change it for us ignore the call. */
  setOwner(path: string, owner: string, group: string): Promise<void>;
  /** Bytes in all and used; null where the store does not say. */
  space(): Promise<{ readonly capacityBytes: number; readonly usedBytes: number } | null>;
}
