/**
 * When a leader should step aside: its disk or its main thread has stood still for so long that another member serves
 * better, though this thread still sends heartbeats and so keeps the others from electing one.
 *
 * A leader with a hung disk commits through its followers and applies nothing; one with a hung main thread applies and
 * answers nothing. Neither is seen by the peers. Pure: the time is an argument.
 * @module
 */

/** Far above any fdatasync of a disk that is merely busy. */
const DISK_STILL_MAX_MS = 1000;
/** Far above a collection of garbage or one large listing. */
const MAIN_THREAD_STILL_MAX_MS = 1500;
/** A target that can't take over is found out within an election time-out. */
const RETRY_MS = 2000;
/** What is wrong with one may be wrong with all: leadership must not go round in circles. */
const COOL_DOWN_MS = 30_000;

export type Ailment = { readonly part: "disk" | "mainThread"; readonly stillMs: number };

export type Progress = {
  /** Counts what the disk finished; null while it has nothing to do. */
  readonly disk: number | null;
  /** Counts the turns of the main thread; null when nobody counts them. */
  readonly mainThread: number | null;
};

/** How long something that should move has stood still. */
class Standstill {
  #seen: number | null = null;
  #sinceMs = 0;

  observe(progress: number | null, nowMs: number): number {
    if (progress === null || progress !== this.#seen) this.#sinceMs = nowMs;
    this.#seen = progress;
    return nowMs - this.#sinceMs;
  }

  forgive(nowMs: number): void {
    this.#sinceMs = nowMs;
  }
}

export class LeaderHealth {
  readonly #disk = new Standstill();
  readonly #mainThread = new Standstill();
  #askAgainMs = Number.NEGATIVE_INFINITY;
  #isHandingOver = false;

  /** @returns why to hand over now; null when all is well, or it was tried a short while ago */
  ailment(progress: Progress, isLeader: boolean, nowMs: number): Ailment | null {
    const diskMs = this.#disk.observe(progress.disk, nowMs);
    const mainThreadMs = this.#mainThread.observe(progress.mainThread, nowMs);
    if (!isLeader) {
      if (this.#isHandingOver) this.#askAgainMs = nowMs + COOL_DOWN_MS;
      this.#isHandingOver = false;
      return null;
    }
    if (nowMs < this.#askAgainMs) return null;
    this.#isHandingOver = false;
    if (diskMs > DISK_STILL_MAX_MS) return { part: "disk", stillMs: diskMs };
    if (mainThreadMs > MAIN_THREAD_STILL_MAX_MS)
      return { part: "mainThread", stillMs: mainThreadMs };
    return null;
  }

  handingOver(nowMs: number): void {
    this.#isHandingOver = true;
    this.#askAgainMs = nowMs + RETRY_MS;
  }

  /** The thread that observes stood still itself. */
  forgive(nowMs: number): void {
    this.#disk.forgive(nowMs);
    this.#mainThread.forgive(nowMs);
  }
}
