/**
 * One directory of a tier on disk: names, what is trusted at start-up, and how a block appears and goes.
 *
 *     <directory>/           e.g. /mnt/ramdisk/alluxioworker
 *       <block id>          the block's bytes exactly as written: client processes read this file themselves
 *       checksums/<id>      its side file (page_checksums.ts)
 *       temp/               blocks and side files being written; emptied at start-up
 *       spare/              files of freed blocks, to be written over: their pages are warm; emptied at start-up
 *       quarantine/         damaged blocks, kept for whoever looks into it; the oldest go first
 *
 * A block appears by: data complete in temp (synced if asked) → side file renamed into place → data renamed into place. So after
 * kill -9 a data file always has its side file; after a power cut it may not, or be of another length: such a
 * block is dropped. A block goes by: data away → side file away.
 * @module
 */
import { join } from "node:path";
import { DecodeError } from "../common/bytes.ts";
import { isRockpoolError, messageOf, RockpoolError } from "../common/errors.ts";
import type { BlockId } from "../common/ids.ts";
import type { Kernels } from "../kernels/kernels.ts";
import type { Disk, DiskFile } from "./disk.ts";
import type { PageChecksums } from "./page_checksums.ts";
import { decodePageChecksums, encodePageChecksums } from "./page_checksums.ts";

/** Files kept for reuse: one for each writer that is likely at a time. */
const SPARES_MAX = 16;
/** Enough to study a fault; they take disk space outside the quota. */
const QUARANTINED_MAX = 4;
/** Side files read at a time at start-up: keeps an SSD busy without exhausting descriptors. */
const RECOVERY_PARALLEL = 16;
/** As `dataPath` writes them: another spelling of the same number would be a second file of the block. */
const BLOCK_NAME = /^(0|[1-9][0-9]{0,18})$/;
const BLOCK_ID_MAX = 2n ** 63n - 1n;

export type RecoveredBlock = { readonly id: BlockId; readonly lengthBytes: number };
export type DroppedFile = { readonly path: string; readonly reason: string };

/** A file in temp. `staleBytes`: what an earlier block left in it, to be cut off at commit. */
export type TempFile = {
  readonly path: string;
  readonly file: DiskFile;
  readonly staleBytes: number;
};

type Spare = { readonly path: string; readonly lengthBytes: number };

export class BlockDirectory {
  readonly root: string;
  readonly #disk: Disk;
  readonly #kernels: Kernels;
  readonly #isSynced: boolean;
  readonly #spares: Spare[] = [];
  #spareBytes = 0;
  #nextName = 0;
  readonly #quarantined: string[] = [];

  constructor(options: {
    readonly path: string;
    readonly disk: Disk;
    readonly kernels: Kernels;
    /** Whether a block is on the device, not only with the system, when `publish` returns. */
    readonly isSynced: boolean;
  }) {
    this.root = options.path;
    this.#disk = options.disk;
    this.#kernels = options.kernels;
    this.#isSynced = options.isSynced;
  }

  /** Bytes of spare files: on disk, but nobody's. */
  get spareBytes(): number {
    return this.#spareBytes;
  }

  dataPath(id: BlockId): string {
    return join(this.root, id.toString());
  }

  #sidePath(id: BlockId): string {
    return join(this.root, "checksums", id.toString());
  }

  #newPath(folder: string, id: BlockId): string {
    return join(this.root, folder, `${id}-${this.#nextName++}`);
  }

  /** Makes the folders, drops what no crash-safe step left behind. @returns the blocks to be trusted, oldest ids first */
  async recover(onDropped: (dropped: DroppedFile) => void): Promise<readonly RecoveredBlock[]> {
    const disk = this.#disk;
    // Client processes of any user open blocks by path; only the worker's user may change the folders.
    await disk.makeDirectory(this.root, 0o755);
    for (const folder of ["checksums", "temp", "spare", "quarantine"])
      await disk.makeDirectory(join(this.root, folder), folder === "temp" ? 0o755 : 0o700);
    for (const folder of ["temp", "spare"])
      for (const name of await disk.files(join(this.root, folder)))
        await disk.remove(join(this.root, folder, name));
    const quarantined = await disk.files(join(this.root, "quarantine"));
    this.#quarantined.push(...quarantined.map((name) => join(this.root, "quarantine", name)));

    const names = (await disk.files(this.root)).filter((name) => BLOCK_NAME.test(name));
    const ids = names
      .map((name) => BigInt(name) as BlockId) // BLOCK_NAME: a block's id
      .filter((id) => id <= BLOCK_ID_MAX)
      .sort((a, b) => (a < b ? -1 : 1));
    const known = new Set(names);
    for (const name of await disk.files(join(this.root, "checksums")))
      if (!known.has(name)) await disk.remove(join(this.root, "checksums", name));

    const lengths = new Map<BlockId, number>();
    const queue = ids.values();
    const check = async () => {
      for (const id of queue) {
        const lengthBytes = await this.#trustedLength(id, onDropped);
        if (lengthBytes !== null) lengths.set(id, lengthBytes);
      }
    };
    await Promise.all(Array.from({ length: RECOVERY_PARALLEL }, check));
    return ids.flatMap((id) => {
      const lengthBytes = lengths.get(id);
      return lengthBytes === undefined ? [] : [{ id, lengthBytes }];
    });
  }

  async #trustedLength(
    id: BlockId,
    onDropped: (dropped: DroppedFile) => void,
  ): Promise<number | null> {
    const path = this.dataPath(id);
    let reason: string;
    try {
      const { lengthBytes } = await this.readChecksums(id);
      const actual = await this.#disk.lengthOf(path);
      if (actual === lengthBytes) return lengthBytes;
      reason = `it has ${actual ?? 0} B, its checksums say ${lengthBytes} B`;
    } catch (error) {
      if (!isRockpoolError(error, "DATA_LOSS") && !isRockpoolError(error, "NOT_FOUND")) throw error;
      reason = messageOf(error);
    }
    onDropped({ path, reason });
    await this.#disk.remove(path);
    await this.#disk.remove(this.#sidePath(id));
    return null;
  }

  /** @throws RockpoolError DATA_LOSS when the side file is damaged, NOT_FOUND when there is none */
  async readChecksums(id: BlockId): Promise<PageChecksums> {
    const path = this.#sidePath(id);
    const bytes = await this.#disk.readAll(path);
    try {
      const checksums = decodePageChecksums(bytes, this.#kernels);
      if (checksums.blockId !== id) throw new DecodeError(`It is of block ${checksums.blockId}`);
      return checksums;
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      const text = `Checksums of block ${id} in ${path} are damaged: ${error.message}`;
      throw new RockpoolError("DATA_LOSS", text, "The block is read from another copy", {
        cause: error,
      });
    }
  }

  openData(id: BlockId): Promise<DiskFile> {
    return this.#disk.open(this.dataPath(id), "read");
  }

  /**
   * A file to write a block into: a spare one when there is one, cut to what was reserved, so that no file takes more
   * room than the books know.
   */
  async createTemp(id: BlockId, reservedBytes: number): Promise<TempFile> {
    const path = this.#newPath("temp", id);
    const spare = this.#spares.pop();
    if (spare === undefined) {
      const file = await this.#disk.open(path, "create");
      await this.#disk.setMode(path, 0o644); // whatever the umask: client processes read blocks by path
      return { path, file, staleBytes: 0 };
    }
    this.#spareBytes -= spare.lengthBytes;
    const staleBytes = Math.min(spare.lengthBytes, reservedBytes);
    try {
      await this.#disk.rename(spare.path, path);
      const file = await this.#openSpare(path, staleBytes < spare.lengthBytes ? staleBytes : null);
      return { path, file, staleBytes };
    } catch (error) {
      // It is in no books any more: nobody else would delete it.
      for (const left of [spare.path, path]) await this.#removeQuietly(left);
      throw error;
    }
  }

  /** @param lengthBytes to cut it to; null for as it is */
  async #openSpare(path: string, lengthBytes: number | null): Promise<DiskFile> {
    const file = await this.#disk.open(path, "reuse");
    try {
      if (lengthBytes !== null) await file.truncate(lengthBytes);
      return file;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** An empty file that a client process of any user may write. Never a spare one: that holds another's bytes. */
  async createTempForClient(id: BlockId): Promise<string> {
    const path = this.#newPath("temp", id);
    await (await this.#disk.open(path, "create")).close();
    await this.#disk.setMode(path, 0o777);
    return path;
  }

  openTemp(path: string): Promise<DiskFile> {
    return this.#disk.open(path, "read");
  }

  sealTemp(path: string): Promise<void> {
    return this.#disk.setMode(path, 0o644);
  }

  /** Makes a complete temp file, closed and synced, the block. On failure nothing of the block is left but the temp file. */
  async publish(id: BlockId, tempPath: string, checksums: PageChecksums): Promise<void> {
    const sideTemp = this.#newPath("temp", id);
    const bytes = encodePageChecksums(checksums, this.#kernels);
    try {
      await this.#disk.writeAll(sideTemp, bytes, this.#isSynced);
      await this.#disk.rename(sideTemp, this.#sidePath(id));
      if (this.#isSynced) await this.#disk.syncDirectory(join(this.root, "checksums"));
      await this.#disk.rename(tempPath, this.dataPath(id));
      if (this.#isSynced) await this.#disk.syncDirectory(this.root);
    } catch (error) {
      for (const path of [sideTemp, this.dataPath(id), this.#sidePath(id)])
        await this.#removeQuietly(path);
      throw error;
    }
  }

  /** After a failure: what it leaves is emptied at the next start, and the first error is the one to tell. */
  async #removeQuietly(path: string): Promise<void> {
    try {
      await this.#disk.remove(path);
    } catch (error) {
      if (!isRockpoolError(error)) throw error;
    }
  }

  dropTemp(path: string): Promise<boolean> {
    return this.#disk.remove(path);
  }

  /**
   * Takes a block's files away.
   * @param isReusable nobody has the file open or mapped, and nobody will
   */
  async retire(id: BlockId, lengthBytes: number, isReusable: boolean): Promise<void> {
    if (isReusable && this.#spares.length < SPARES_MAX && lengthBytes > 0) {
      const path = this.#newPath("spare", id);
      await this.#disk.rename(this.dataPath(id), path);
      this.#spares.push({ path, lengthBytes });
      this.#spareBytes += lengthBytes;
    } else await this.#disk.remove(this.dataPath(id));
    await this.#disk.remove(this.#sidePath(id));
  }

  /** Deletes spare files until they take at most that much. */
  async trimSpares(allowedBytes: number): Promise<void> {
    while (this.#spareBytes > allowedBytes) {
      const spare = this.#spares.shift();
      if (spare === undefined) return;
      this.#spareBytes -= spare.lengthBytes;
      await this.#disk.remove(spare.path);
    }
  }

  /** Moves a damaged block's data aside. @returns where to */
  async quarantine(id: BlockId): Promise<string> {
    const path = this.#newPath("quarantine", id);
    await this.#disk.rename(this.dataPath(id), path);
    await this.#disk.remove(this.#sidePath(id));
    this.#quarantined.push(path);
    while (this.#quarantined.length > QUARANTINED_MAX) {
      const oldest = this.#quarantined.shift();
      if (oldest !== undefined) await this.#disk.remove(oldest);
    }
    return path;
  }
}
