/**
 * The checkpoints in the journal's folder: finished ones, of which two are kept, and one that is on its way from a peer.
 *
 * A file is named `checkpoint-<index>` only when all of it is durable and was checked, by whoever made it or fetched it.
 * Before one replaces a state it is read whole once more: disks forget. The newest one that was found damaged is kept, for people.
 * @module
 */
import { isRockpoolError, messageOf, RockpoolError } from "../common/errors.ts";
import type { MemberId } from "../common/ids.ts";
import type { Position, Snapshot } from "../raft/messages.ts";
import type { Clock } from "../world/ports.ts";
import {
  CHUNK_BYTES,
  checkpointName,
  damagedName,
  indexOfDamagedName,
  indexOfName,
  isIncomingName,
  isUnfinishedName,
  type Manifest,
  readManifest,
  sealCheckpoint,
  verifyCheckpoint,
} from "./checkpoint_file.ts";
import { type JournalFile, type JournalFileSystem, writeFully } from "./file_system.ts";
import type { CheckpointEvent } from "./journal_protocol.ts";
import { hex64 } from "./member_ids.ts";
import type { CheckpointChunk, PeerTransport } from "./peer_transport.ts";
import type { Crc32c } from "./record.ts";

const KEPT = 2;
/** One that a peer is reading stays a little longer, or a slow peer would begin anew with each new one. */
const READING_MS = 30_000;
/** A peer waits for less than the check of a large one takes. When it asks again, moments later, the check counts. */
const CHECK_COUNTS_MS = 5000;

export type Checkpoint = {
  readonly path: string;
  readonly snapshot: Snapshot;
  readonly imageBytes: number;
  readonly sizeBytes: number;
  lastReadMs: number;
  /** Under way, or done a short while ago. */
  check: { readonly isSound: Promise<boolean>; doneMs: number | null } | null;
};

type Source = { readonly id: MemberId; readonly address: string };

export type CheckpointStoreOptions = {
  readonly fileSystem: JournalFileSystem;
  readonly folder: string;
  readonly groupId: bigint;
  readonly crc32c: Crc32c;
  readonly clock: Clock;
  readonly onEvent: (event: CheckpointEvent) => void;
  /** Room that a checkpoint on its way leaves on the disk, for the log. */
  readonly reserveBytes?: number;
  /** One turned out to be damaged when a peer asked for it, and is gone. */
  readonly onLost?: () => void;
};

export class CheckpointStore {
  readonly #options: CheckpointStoreOptions;
  /** By rising index. */
  #known: Checkpoint[] = [];
  #fetching: Promise<unknown> = Promise.resolve();

  constructor(options: CheckpointStoreOptions) {
    this.#options = options;
  }

  /** Looks at what is there. Unfinished files of our own go; what came from a peer so far stays, to be continued. */
  async open(): Promise<void> {
    const { fileSystem, folder } = this.#options;
    this.#known = [];
    for (const name of fileSystem.listSync(folder)) {
      if (isUnfinishedName(name)) await fileSystem.remove(`${folder}/${name}`);
      const index = indexOfName(name);
      if (index === null) continue;
      const path = `${folder}/${name}`;
      const manifest = await this.#check(path, readManifest);
      if (manifest !== null) this.#note(path, manifest);
    }
    await this.#removeOldDamaged();
  }

  async #removeOldDamaged(): Promise<void> {
    const { fileSystem, folder } = this.#options;
    const damaged = fileSystem
      .listSync(folder)
      .flatMap((name) => {
        const index = indexOfDamagedName(name);
        return index === null ? [] : [{ name, index }];
      })
      .sort((a, b) => b.index - a.index);
    for (const { name } of damaged.slice(1)) await fileSystem.remove(`${folder}/${name}`);
  }

  /** Null, and told, and moved aside, when the file is not what it should be. */
  async #check(
    path: string,
    read: (file: JournalFile, path: string, crc32c: Crc32c) => Promise<Manifest>,
  ): Promise<Manifest | null> {
    const { fileSystem, folder, crc32c, groupId, onEvent } = this.#options;
    const file = fileSystem.openSync(path, "read");
    try {
      const manifest = await read(file, path, crc32c);
      if (manifest.groupId === groupId) return manifest;
      throw new RockpoolError("DATA_LOSS", `The checkpoint ${path} is another cluster's`);
    } catch (error) {
      const isReadError = error instanceof Error && "code" in error;
      if (!isRockpoolError(error, "DATA_LOSS") && !isReadError) throw error;
      onEvent({ kind: "checkpointDamaged", path, why: messageOf(error) });
    } finally {
      file.close();
    }
    await fileSystem.rename(path, damagedName(path));
    await fileSystem.syncFolder(folder);
    await this.#removeOldDamaged();
    return null;
  }

  #note(path: string, { snapshot, imageBytes }: Manifest): Checkpoint {
    const file = this.#options.fileSystem.openSync(path, "read");
    const sizeBytes = file.sizeSync();
    file.close();
    const lastReadMs = Number.NEGATIVE_INFINITY;
    const noted: Checkpoint = { path, snapshot, imageBytes, sizeBytes, lastReadMs, check: null };
    this.#known = [...this.#known.filter((each) => each.path !== path), noted].sort(
      (a, b) => a.snapshot.index - b.snapshot.index,
    );
    return noted;
  }

  newest(): Checkpoint | null {
    return this.#known.at(-1) ?? null;
  }

  /** Behind this the log may be trimmed: there is a newer checkpoint besides. */
  trimmable(): Checkpoint | null {
    return this.#known.at(-KEPT) ?? null;
  }

  /** The newest one behind `index`, and before another index, of which every byte is right. */
  async newestSound(index: number, before = Number.POSITIVE_INFINITY): Promise<Checkpoint | null> {
    for (;;) {
      const newest = this.#known.findLast(({ snapshot }) => snapshot.index < before);
      if (newest === undefined || newest.snapshot.index <= index) return null;
      if ((await this.#check(newest.path, verifyCheckpoint)) !== null) return newest;
      this.#known = this.#known.filter((each) => each !== newest);
    }
  }

  // — making —

  /** Where an image is to be written. */
  makingPath(index: number): string {
    return `${this.#options.folder}/${checkpointName(index)}.making`;
  }

  /** Makes a checkpoint of an image; durable on return. */
  async seal(makingPath: string, snapshot: Snapshot): Promise<Checkpoint> {
    const { fileSystem, groupId, crc32c } = this.#options;
    const file = fileSystem.openSync(makingPath, "readWrite");
    let manifest: Manifest;
    try {
      manifest = await sealCheckpoint(file, groupId, snapshot, crc32c);
    } finally {
      file.close();
    }
    return await this.#adopt(makingPath, manifest);
  }

  async #adopt(from: string, manifest: Manifest): Promise<Checkpoint> {
    const { fileSystem, folder } = this.#options;
    const path = `${folder}/${checkpointName(manifest.snapshot.index)}`;
    await fileSystem.rename(from, path);
    await fileSystem.syncFolder(folder);
    return this.#note(path, manifest);
  }

  async discard(path: string): Promise<void> {
    await this.#options.fileSystem.remove(path);
  }

  /** Removes all but the newest two. */
  async prune(): Promise<void> {
    const { fileSystem, folder, clock } = this.#options;
    const nowMs = clock.monotonicMs();
    const old = this.#known.slice(0, -KEPT).filter((each, at, all) => {
      const isBeingRead = at === all.length - 1 && nowMs - each.lastReadMs < READING_MS;
      return !isBeingRead;
    });
    if (old.length === 0) return;
    this.#known = this.#known.filter((each) => !old.includes(each));
    for (const { path } of old) await fileSystem.remove(path);
    await fileSystem.syncFolder(folder);
  }

  // — to and from peers —

  /** Part of a checkpoint file; null when there is none of that position. */
  async readPart(
    position: Position,
    offsetBytes: number,
    lengthBytes: number,
  ): Promise<{ readonly totalBytes: number; readonly bytes: Uint8Array } | null> {
    const found = this.#known.find(
      ({ snapshot }) => snapshot.index === position.index && snapshot.term === position.term,
    );
    if (found === undefined) return null;
    // Else a peer would fetch a damaged one again and again, and find out each time at its end.
    if (offsetBytes === 0 && !(await this.#isSound(found))) return null;
    found.lastReadMs = this.#options.clock.monotonicMs();
    const totalBytes = found.sizeBytes;
    const left = Math.max(0, totalBytes - offsetBytes);
    const bytes = new Uint8Array(Math.min(left, lengthBytes, CHUNK_BYTES));
    const file = this.#options.fileSystem.openSync(found.path, "read");
    try {
      const count = await file.read(bytes, offsetBytes);
      return { totalBytes, bytes: bytes.subarray(0, count) };
    } finally {
      file.close();
    }
  }

  /** Whoever asks while a check is under way shares it. */
  #isSound(found: Checkpoint): Promise<boolean> {
    const nowMs = this.#options.clock.monotonicMs();
    const { check: last } = found;
    if (last !== null && (last.doneMs === null || nowMs - last.doneMs < CHECK_COUNTS_MS))
      return last.isSound;
    found.lastReadMs = nowMs;
    const isSound = this.#checkWhole(found);
    found.check = { isSound, doneMs: null };
    return isSound;
  }

  async #checkWhole(found: Checkpoint): Promise<boolean> {
    let isSound = false;
    try {
      isSound = (await this.#check(found.path, verifyCheckpoint)) !== null;
    } catch (error) {
      found.check = null;
      throw error;
    }
    if (found.check !== null) found.check.doneMs = this.#options.clock.monotonicMs();
    if (isSound) return true;
    this.#known = this.#known.filter((each) => each !== found);
    this.#options.onLost?.();
    return false;
  }

  /**
   * Fetches a checkpoint from a peer, from where an earlier try ended; checks it whole; durable on return.
   * @param isWanted asked after each part
   * @throws RockpoolError NOT_FOUND, UNAVAILABLE as the transport; CANCELLED when it is not wanted any more; DATA_LOSS when
   *   what came is damaged (it is removed, and the next try begins anew); RESOURCE_EXHAUSTED when the disk has no room for it
   *   beside the log; and what the file system throws
   */
  fetch(
    transport: Pick<PeerTransport, "fetchCheckpoint">,
    from: Source,
    snapshot: Snapshot,
    isWanted: () => boolean,
  ): Promise<Checkpoint> {
    // That of a session which has ended may still be at work on the same file.
    const fetched = this.#fetching.then(() => this.#fetch(transport, from, snapshot, isWanted));
    this.#fetching = fetched.catch(() => {}); // told to whoever asked for it
    return fetched;
  }

  async #fetch(
    transport: Pick<PeerTransport, "fetchCheckpoint">,
    from: Source,
    snapshot: Snapshot,
    isWanted: () => boolean,
  ): Promise<Checkpoint> {
    const { fileSystem, folder, crc32c, clock, onEvent } = this.#options;
    const beganMs = clock.monotonicMs();
    const { index } = snapshot;
    const own = this.newest();
    if (own !== null && own.snapshot.index >= index) {
      const sound = await this.newestSound(index - 1);
      if (sound !== null) return sound;
    }
    // Two peers' images of one position differ in their bytes, so each peer's has a file of its own.
    const name = `${checkpointName(index)}-${hex64(from.id)}.incoming`;
    await this.#removeOtherIncoming(name);
    const path = `${folder}/${name}`;
    const file = fileSystem.existsSync(path)
      ? fileSystem.openSync(path, "readWrite")
      : await fileSystem.create(path);
    let manifest: Manifest;
    try {
      const offsetBytes = file.sizeSync();
      await rewrite(file);
      onEvent({ kind: "checkpointFetching", index, fromAddress: from.address, offsetBytes });
      await this.#fill(file, transport, from.id, snapshot, isWanted);
      await file.datasync();
      manifest = await this.#verifyIncoming(file, path, snapshot, crc32c);
    } finally {
      file.close();
    }
    const made = await this.#adopt(path, manifest);
    const tookMs = Math.round(clock.monotonicMs() - beganMs);
    onEvent({ kind: "checkpointFetched", index, sizeBytes: made.sizeBytes, tookMs });
    return made;
  }

  async #removeOtherIncoming(kept: string): Promise<void> {
    const { fileSystem, folder } = this.#options;
    for (const name of fileSystem.listSync(folder))
      if (isIncomingName(name) && name !== kept) await fileSystem.remove(`${folder}/${name}`);
  }

  async #fill(
    file: JournalFile,
    transport: Pick<PeerTransport, "fetchCheckpoint">,
    from: MemberId,
    { index, term }: Position,
    isWanted: () => boolean,
  ): Promise<void> {
    let isRoomKnown = false;
    for (let offsetBytes = file.sizeSync(); ; ) {
      if (!isWanted())
        throw new RockpoolError("CANCELLED", `The checkpoint of entry ${index} is not wanted now`);
      const position = { index, term };
      const chunk: CheckpointChunk = await transport.fetchCheckpoint(
        from,
        position,
        offsetBytes,
        CHUNK_BYTES,
      );
      // Another file than the one that was begun: what is there is of no use.
      if (offsetBytes > chunk.totalBytes) {
        await file.truncate(0);
        offsetBytes = 0;
        continue;
      }
      if (chunk.bytes.length === 0 && offsetBytes < chunk.totalBytes)
        throw new RockpoolError("UNAVAILABLE", `The checkpoint of entry ${index} ended early`);
      if (!isRoomKnown) await this.#requireRoom(index, chunk.totalBytes, offsetBytes);
      isRoomKnown = true;
      await writeFully(file, chunk.bytes, offsetBytes);
      offsetBytes += chunk.bytes.length;
      if (offsetBytes >= chunk.totalBytes) return;
    }
  }

  /** Before it takes from the log the room that this master needs to take part. */
  async #requireRoom(index: number, totalBytes: number, offsetBytes: number): Promise<void> {
    const { fileSystem, folder, reserveBytes = 0 } = this.#options;
    const freeBytes = await fileSystem.freeBytes(folder);
    if (freeBytes >= totalBytes - offsetBytes + reserveBytes) return;
    throw new RockpoolError(
      "RESOURCE_EXHAUSTED",
      `The checkpoint of entry ${index} has ${totalBytes} B, of which ${offsetBytes} B are here, and the disk of ${folder} has ${freeBytes} B free`,
      "Free space on the disk of the journal; it is tried again by itself",
    );
  }

  async #verifyIncoming(
    file: JournalFile,
    path: string,
    { index, term }: Position,
    crc32c: Crc32c,
  ): Promise<Manifest> {
    const { fileSystem, groupId, onEvent } = this.#options;
    try {
      const manifest = await verifyCheckpoint(file, path, crc32c);
      const { snapshot } = manifest;
      if (snapshot.index === index && snapshot.term === term && manifest.groupId === groupId)
        return manifest;
      throw new RockpoolError("DATA_LOSS", `The checkpoint ${path} is not the one asked for`);
    } catch (error) {
      if (!isRockpoolError(error, "DATA_LOSS")) throw error;
      onEvent({ kind: "checkpointDamaged", path, why: error.message });
      await fileSystem.remove(path);
      throw error;
    }
  }

  /** Gives back the room of what was on its way, once the fetch that may still be at work on it has ended. */
  async dropIncoming(): Promise<void> {
    const dropped = this.#fetching.then(() => this.#removeOtherIncoming(""));
    this.#fetching = dropped.catch(() => {}); // told to whoever asked for it
    await dropped;
  }
}

/**
 * Writes a file once more as it is. What an earlier process wrote may be in the page cache only, and after a sync that
 * failed it counts as clean: the next sync would succeed, and leave it there.
 */
async function rewrite(file: JournalFile): Promise<void> {
  const sizeBytes = file.sizeSync();
  const bytes = new Uint8Array(Math.min(CHUNK_BYTES, sizeBytes));
  for (let at = 0; at < sizeBytes; ) {
    const count = await file.read(bytes.subarray(0, Math.min(bytes.length, sizeBytes - at)), at);
    if (count === 0) return;
    await writeFully(file, bytes.subarray(0, count), at);
    at += count;
  }
}
