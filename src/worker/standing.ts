/**
 * Whether this worker takes part in full, or is decommissioned: then it serves what it has, tells every master so with
 * each report, and they place nothing new on it.
 *
 * The worker itself holds this, not the masters: so all of them know it, and a new leader does from its first moment.
 * Decommissioning ends with the process, unless it is to be kept: then an empty file `decommissioned` in the first
 * folder of blocks says so to the next start. Formatting the worker removes it.
 * @module
 */
import { existsSync } from "node:fs";
import { open, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { Timers } from "../world/ports.ts";

/** In the first folder of cached blocks. */
export const STANDING_FILE = "decommissioned";
/** A master that hangs learns it from a later report. */
const TELL_WITHIN_MS = 6000;

export type StandingWish = {
  readonly isDecommissioned: boolean;
  /** Over restarts of the worker. */
  readonly isKept: boolean;
};

export class Standing {
  readonly #path: string;
  readonly #timers: Timers;
  /** Resolves when every master that can be reached has heard of it. */
  readonly #tell: () => Promise<void>;
  #isDecommissioned: boolean;
  /** One wish after the other. */
  #last: Promise<void> = Promise.resolve();

  /** @param path of the file, whether it is there or not */
  constructor(path: string, timers: Timers, tell: () => Promise<void>) {
    this.#path = path;
    this.#timers = timers;
    this.#tell = tell;
    this.#isDecommissioned = existsSync(path);
  }

  get isDecommissioned(): boolean {
    return this.#isDecommissioned;
  }

  /** Resolves when it is on disk, if it is to be kept, and the masters know it. @throws Error of the disk: then nothing changed */
  set(wish: StandingWish): Promise<void> {
    const done = this.#last.then(() => this.#set(wish));
    this.#last = done.catch(() => {}); // whoever asked is told
    return done;
  }

  async #set({ isDecommissioned, isKept }: StandingWish): Promise<void> {
    if (isDecommissioned && isKept) await (await open(this.#path, "a")).close();
    else await rm(this.#path, { force: true });
    const folder = await open(dirname(this.#path), "r");
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
    this.#isDecommissioned = isDecommissioned;
    const late = new Promise<void>((resolve) => {
      this.#timers.after(TELL_WITHIN_MS, resolve);
    });
    await Promise.race([this.#tell(), late]);
  }
}
