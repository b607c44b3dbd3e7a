/**
 * Images of an LMDB file: copies of its pages as of one moment, taken while transactions go on.
 *
 * A read transaction that is open holds every page of its moment: LMDB writes changes to other pages. Only the two meta
 * pages at the front of the file are written in place, one of them by each commit; they are read in the turn in which that
 * transaction begins, and the rest of the file follows piece by piece. (LMDB's own copy does the same on a thread; it knows no
 * pace, cannot be ended early, and does not tell of which moment the copy is.) Each so many bytes go to the disk before
 * more are written: what the page cache would gather is nothing that the journal's syncs should have to wait behind.
 *
 * An image is installed by a rename: the store's file is the old one or the new one.
 * @module
 */
import { constants } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { invariant } from "../common/invariant.ts";

const PIECE_BYTES = 1024 * 1024;
const SYNC_EACH_BYTES = 16 * PIECE_BYTES;

/** What images ask of the file system; tests let the n-th call fail. */
export interface ImageDisk {
  open(path: string, use: "read" | "create"): Promise<ImageFile>;
  rename(from: string, to: string): Promise<void>;
  /** Nothing happens when it is missing. */
  remove(path: string): Promise<void>;
  syncFolder(path: string): Promise<void>;
}

export interface ImageFile {
  /** @returns bytes read; 0 at the end of the file */
  read(into: Uint8Array, offsetBytes: number): Promise<number>;
  /** @returns bytes written, which may be fewer than given */
  write(bytes: Uint8Array, offsetBytes: number): Promise<number>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

class NodeFile implements ImageFile {
  readonly #handle: FileHandle;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  async read(into: Uint8Array, offsetBytes: number): Promise<number> {
    return (await this.#handle.read(into, 0, into.length, offsetBytes)).bytesRead;
  }

  async write(bytes: Uint8Array, offsetBytes: number): Promise<number> {
    return (await this.#handle.write(bytes, 0, bytes.length, offsetBytes)).bytesWritten;
  }

  sync(): Promise<void> {
    return this.#handle.datasync();
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

const CREATE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL;

export const nodeImageDisk: ImageDisk = {
  async open(path, use) {
    return new NodeFile(await open(path, use === "read" ? constants.O_RDONLY : CREATE));
  },
  rename,
  remove: (path) => rm(path, { force: true }),
  async syncFolder(path) {
    const folder = await open(path, constants.O_RDONLY);
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  },
};

/** Writes all of it, however little the file takes at a time. */
export async function writeFully(
  file: ImageFile,
  bytes: Uint8Array,
  offsetBytes: number,
): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const written = await file.write(bytes.subarray(done), offsetBytes + done);
    invariant(written > 0, "a write writes something or fails");
    done += written;
  }
}

export type CopyOptions = {
  readonly from: string;
  readonly to: string;
  readonly lengthBytes: number;
  /** Stands in for the first bytes of `from`. */
  readonly head: Uint8Array;
  /** Asked before each piece and after the last; throws to end the copy. */
  readonly checkGoOn: () => void;
};

/** Copies the first bytes of a file to a new one, and makes it durable; leaves none behind when it fails. */
export async function copyPages(disk: ImageDisk, options: CopyOptions): Promise<void> {
  const source = await disk.open(options.from, "read");
  try {
    const target = await disk.open(options.to, "create");
    try {
      await copyBetween(source, target, options);
    } catch (error) {
      await disk.remove(options.to);
      throw error;
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

async function copyBetween(
  source: ImageFile,
  target: ImageFile,
  { from, head, lengthBytes, checkGoOn }: CopyOptions,
): Promise<void> {
  const piece = new Uint8Array(PIECE_BYTES);
  let at = Math.min(head.length, lengthBytes);
  await writeFully(target, head.subarray(0, at), 0);
  let syncedBytes = 0;
  while (at < lengthBytes) {
    checkGoOn();
    const wanted = piece.subarray(0, Math.min(piece.length, lengthBytes - at));
    const readBytes = await source.read(wanted, at);
    if (readBytes === 0) throw new Error(`${from} ends at ${at} B of ${lengthBytes}`);
    await writeFully(target, wanted.subarray(0, readBytes), at);
    at += readBytes;
    if (at - syncedBytes < SYNC_EACH_BYTES) continue;
    await target.sync();
    syncedBytes = at;
  }
  checkGoOn(); // also of what was read last
  await target.sync();
}
