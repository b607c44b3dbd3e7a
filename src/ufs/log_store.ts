/**
 * A folder of a shared store as a log sees it: named objects that are made once, never changed, and removed in the end.
 *
 * What makes it safe is one promise: of all who create a name, one succeeds, and the others are told so. One interface for local
 * (NFS, GlusterFS) folders, S3 and HDFS; one contract test for all of them.
 * @module
 */

/** Names are relative: "log/0000000000000001". Components are letters, digits, ".", "-" and "_". */
export interface LogStore {
  /** For people: without credentials. */
  readonly uri: string;
  /**
   * Makes an object unless there is one of that name. Atomic: nobody ever sees a part of it. Durable when it resolves.
   * @returns "exists" when there is one already, whoever made it
   * @throws RockpoolError UNAVAILABLE when it is not known whether it was made, and it may yet be; any other status: it was not, and won't be
   */
  create(name: string, bytes: Uint8Array): Promise<"created" | "exists">;
  /** As `create`, of a local file of any size. */
  createFromFile(name: string, localPath: string): Promise<"created" | "exists">;
  /** Null when there is none. What was created before the call is seen. */
  read(name: string): Promise<Uint8Array | null>;
  /** Into a new local file. False when there is none. */
  readToFile(name: string, localPath: string): Promise<boolean>;
  /**
   * What lies directly in a folder, in byte order of the names, which come without the folder; empty when there is no such folder.
   * @param after only what comes behind this name
   */
  list(folder: string, after?: string): Promise<readonly string[]>;
  /** No error when there is none. */
  remove(name: string): Promise<void>;
  /**
   * Tries it out: who creates a name first, who reads what. Leaves nothing.
   * @throws RockpoolError FAILED_PRECONDITION when this store does not keep the promise, with the reason; PERMISSION_DENIED, UNAVAILABLE
   */
  probe(): Promise<void>;
}
