/**
 * Who waits for what to happen to which node. A watch fires once; it outlives connections, not the session. Pure.
 * @module
 */
import type { WatchFired, WatchKind } from "./protocol.ts";

export type WatchEvent = {
  /** `lost`: the session is over, and whatever happened was not seen. */
  readonly kind: WatchKind | "lost";
  readonly path: string;
};
export type Watcher = (event: WatchEvent) => void;

/** What was asked when the watch was left: data and children of a node that is there, or a node that is not there yet. */
export type WatchList = "data" | "exists" | "children";

const FIRES: Readonly<Record<WatchKind, readonly WatchList[]>> = {
  created: ["data", "exists"],
  deleted: ["data", "exists", "children"],
  dataChanged: ["data", "exists"],
  childrenChanged: ["children"],
};

export class Watches {
  readonly #lists: Readonly<Record<WatchList, Map<string, Set<Watcher>>>> = {
    data: new Map(),
    exists: new Map(),
    children: new Map(),
  };

  add(list: WatchList, path: string, watcher: Watcher): void {
    const watchers = this.#lists[list].get(path);
    if (watchers === undefined) this.#lists[list].set(path, new Set([watcher]));
    else watchers.add(watcher);
  }

  /** Each watcher is called once, even when it waits for several things of the node. */
  fire({ kind, path }: WatchFired): void {
    if (kind === null) return;
    const called = new Set<Watcher>();
    for (const list of FIRES[kind]) {
      for (const watcher of this.#lists[list].get(path) ?? []) called.add(watcher);
      this.#lists[list].delete(path);
    }
    for (const watcher of called) watcher({ kind, path });
  }

  /** The session is over. */
  lose(): void {
    const called = new Map<Watcher, string>();
    for (const list of Object.values(this.#lists)) {
      for (const [path, watchers] of list)
        for (const watcher of watchers) called.set(watcher, path);
      list.clear();
    }
    for (const [watcher, path] of called) watcher({ kind: "lost", path });
  }

  /** Paths by list, in portions of bounded size: a new server has to be told of all. */
  *portions(bytesMax: number): Generator<Readonly<Record<WatchList, readonly string[]>>> {
    let portion: Record<WatchList, string[]> = { data: [], exists: [], children: [] };
    let bytes = 0;
    for (const list of ["data", "exists", "children"] as const)
      for (const path of this.#lists[list].keys()) {
        portion[list].push(path);
        bytes += path.length * 3;
        if (bytes < bytesMax) continue;
        yield portion;
        portion = { data: [], exists: [], children: [] };
        bytes = 0;
      }
    if (bytes > 0) yield portion;
  }
}
