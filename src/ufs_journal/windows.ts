/**
 * Which parts of the log on a shared store are history: windows of so many entries, each marked by an object before the first entry in it is removed.
 *
 * ```
 * <group>/passed/0-<window>    some words for people; window = index / windowEntries
 * <group>/passed/1-<window>    the same of windows 1024 times as long; those of level 0 within are then superfluous. So is level 1 by 2
 * ```
 * A window is only marked when the log ends behind it. So whoever makes an object, and then finds no mark, was the first at its index. Marks are asked for
 * by name, lower levels first: a mark is only removed when the one that stands for it is there.
 * @module
 */
import type { LogIndex } from "../common/ids.ts";
import { hex64 } from "../journal/member_ids.ts";
import type { LogStore } from "../ufs/log_store.ts";

const LEVELS = [0, 1, 2];
const WINDOWS_IN_NEXT = 1024;
const NAME = /^([01])-([0-9a-f]{16})$/;
const CONTENT = new TextEncoder().encode("Entries of this window may be missing in log/\n");

/** How numbers stand in names: byte order is their order. */
export function numberName(value: number): string {
  return hex64(BigInt(value));
}

export function isMarkName(text: string): boolean {
  return /^[012]-[0-9a-f]{16}$/.test(text);
}

export class Windows {
  readonly #store: LogStore;
  readonly #folder: string;
  /** Of windows of each level. */
  readonly #lengths: readonly number[];
  /** Marks that are known to be there, and need not be made again. */
  readonly #marked = new Set<string>();

  constructor(store: LogStore, root: string, windowEntries: number) {
    this.#store = store;
    this.#folder = `${root}/passed`;
    this.#lengths = LEVELS.map((level) => windowEntries * WINDOWS_IN_NEXT ** level);
  }

  #name(level: number, window: number): string {
    return `${this.#folder}/${level}-${numberName(window)}`;
  }

  /** In a log of that end, entries before this may be removed. */
  passedBefore(end: LogIndex): LogIndex {
    const [length = 1] = this.#lengths;
    return end - (end % length);
  }

  /** Whether entries around an index may have been removed. */
  async isPassed(index: LogIndex): Promise<boolean> {
    for (const [level, length] of this.#lengths.entries())
      if ((await this.#store.read(this.#name(level, Math.floor(index / length)))) !== null)
        return true;
    return false;
  }

  /** Before any of these is removed. */
  async mark(indices: readonly LogIndex[]): Promise<void> {
    const [length = 1] = this.#lengths;
    const windows = new Set(indices.map((index) => Math.floor(index / length)));
    for (const window of windows) await this.#make(this.#name(0, window));
  }

  async #make(name: string): Promise<void> {
    if (this.#marked.has(name)) return;
    await this.#store.create(name, CONTENT);
    this.#marked.add(name);
  }

  /** Keeps few marks. @param through what the log reaches */
  async thin(through: LogIndex): Promise<void> {
    for (const name of await this.#store.list(this.#folder)) {
      const [, level, window] = NAME.exec(name) ?? [];
      if (level === undefined || window === undefined) continue;
      const next = Number(level) + 1;
      const around = Math.floor(Number.parseInt(window, 16) / WINDOWS_IN_NEXT);
      const length = this.#lengths[next] ?? Number.POSITIVE_INFINITY;
      if ((around + 1) * length > through) continue;
      await this.#make(this.#name(next, around));
      await this.#store.remove(`${this.#folder}/${name}`);
      this.#marked.delete(`${this.#folder}/${name}`);
    }
  }
}
