/**
 * A disk that tells when its device fails: errors of the status DATA_LOSS, which the system reports as EIO.
 * @module
 */
import type { RockpoolError } from "../common/errors.ts";
import { isRockpoolError } from "../common/errors.ts";
import type { Clock } from "../world/ports.ts";
import type { Disk, DiskFile } from "./disk.ts";

/** So many failures of a device within so long take its directory out of the tier. */
const FAULTS_MAX = 3;
const FAULT_WINDOW_MS = 5 * 60_000;

/** Failures of one device, as long as they matter. */
export class FaultWindow {
  readonly #clock: Clock;
  #times: number[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @returns whether there were too many lately */
  record(): boolean {
    const nowMs = this.#clock.monotonicMs();
    const recent = this.#times.filter((at) => nowMs - at < FAULT_WINDOW_MS);
    this.#times = [...recent, nowMs].slice(-FAULTS_MAX);
    return this.#times.length === FAULTS_MAX;
  }
}

/** The same disk; `onFault` hears of each failure before whoever asked does. */
export function watchedDisk(disk: Disk, onFault: (error: RockpoolError) => void): Disk {
  const watch = async <T>(result: Promise<T>): Promise<T> => {
    try {
      return await result;
    } catch (error) {
      if (isRockpoolError(error, "DATA_LOSS")) onFault(error);
      throw error;
    }
  };
  const watchedFile = (file: DiskFile): DiskFile => ({
    read: (into, positionBytes) => watch(file.read(into, positionBytes)),
    write: (bytes, positionBytes) => watch(file.write(bytes, positionBytes)),
    truncate: (lengthBytes) => watch(file.truncate(lengthBytes)),
    sync: () => watch(file.sync()),
    lengthBytes: () => watch(file.lengthBytes()),
    close: () => watch(file.close()),
  });
  return {
    open: async (path, mode) => watchedFile(await watch(disk.open(path, mode))),
    readAll: (path) => watch(disk.readAll(path)),
    writeAll: (path, bytes, isSynced) => watch(disk.writeAll(path, bytes, isSynced)),
    rename: (from, to) => watch(disk.rename(from, to)),
    remove: (path) => watch(disk.remove(path)),
    lengthOf: (path) => watch(disk.lengthOf(path)),
    files: (path) => watch(disk.files(path)),
    makeDirectory: (path, mode) => watch(disk.makeDirectory(path, mode)),
    setMode: (path, mode) => watch(disk.setMode(path, mode)),
    syncDirectory: (path) => watch(disk.syncDirectory(path)),
  };
}
