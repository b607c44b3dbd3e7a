/**
 * Who watches which path, and what of the changes to the namespace is theirs.
 *
 * Pure. A watch of a directory hears of itself and its direct children, or of everything below when it is recursive; a watch of
 * a file hears of the file. What happens to a directory above happens to the watched path, too. Finding those concerned
 * takes one look-up for each part of the changed path, however many watch.
 * @module
 */
import type { EdgeChange } from "./ports.ts";
import type { EdgeEvent } from "./words.ts";

export type Watch = {
  readonly path: string;
  readonly isRecursive: boolean;
  readonly tell: (event: EdgeEvent) => void;
};

function parentOf(path: string): string | null {
  if (path === "/") return null;
  const at = path.lastIndexOf("/");
  return at <= 0 ? "/" : path.slice(0, at);
}

export class Watches {
  readonly #byPath = new Map<string, Set<Watch>>();
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** @returns what ends it */
  add(watch: Watch): () => void {
    const those = this.#byPath.get(watch.path) ?? new Set();
    this.#byPath.set(watch.path, those.add(watch));
    this.#count++;
    return () => {
      if (!those.delete(watch)) return;
      this.#count--;
      if (those.size === 0) this.#byPath.delete(watch.path);
    };
  }

  publish(change: EdgeChange): void {
    if (this.#count === 0) return;
    const { mayMakeParents, ...event } = change;
    const told = new Set<Watch>();
    for (const path of event.to === undefined ? [event.path] : [event.path, event.to])
      this.#tellOf(path, event, mayMakeParents, told);
  }

  /** Everybody who watches has to look anew. */
  publishMissed(): void {
    for (const those of this.#byPath.values())
      for (const watch of those) watch.tell({ kind: "missed", path: watch.path });
  }

  #tellOf(changed: string, event: EdgeEvent, mayMakeParents: boolean, told: Set<Watch>): void {
    const tell = (watch: Watch) => {
      if (told.has(watch)) return;
      told.add(watch);
      watch.tell(event);
    };
    let distance = 0;
    for (let at: string | null = changed; at !== null; at = parentOf(at), distance++)
      for (const watch of this.#byPath.get(at) ?? [])
        if (distance <= 1 || watch.isRecursive || mayMakeParents) tell(watch);
    if (event.kind !== "deleted" && event.kind !== "renamed") return;
    // What is below goes with it: rare enough to look at all that are watched.
    const below = changed === "/" ? "/" : `${changed}/`;
    for (const [path, those] of this.#byPath)
      if (path.startsWith(below)) for (const watch of those) tell(watch);
  }
}
