/**
 * Which under stores this build knows: local directories.
 * @module
 */
import { RockpoolError } from "./common/errors.ts";
import { LocalUnderFileSystem } from "./ufs/local_ufs.ts";
import type { TemporaryNotes } from "./ufs/temporary_files.ts";
import { pathWithinStore, type UfsRegistry } from "./ufs/ufs_uri.ts";
import type { UnderFileSystem } from "./ufs/under_file_system.ts";

function localPath(uri: string): string {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(uri)?.[1]?.toLowerCase() ?? "file";
  if (scheme === "file") return pathWithinStore(uri).replace(/(?<=.)\/+$/, "");
  throw new RockpoolError(
    "INVALID_ARGUMENT",
    `No under store is known for ${uri}`,
    "Use a local directory: an absolute path, or file:///path",
  );
}

/** One store for each root that is asked for, and the same one each time. */
export class UnderStores {
  readonly #byRoot = new Map<string, UnderFileSystem>();
  readonly #notes: TemporaryNotes | null;

  /** @param notes of unfinished files; null where a crash may leave them */
  constructor(notes: TemporaryNotes | null = null) {
    this.#notes = notes;
  }

  /** The store that lives below a root. @throws RockpoolError INVALID_ARGUMENT for a scheme that is not known */
  at(rootUri: string): UnderFileSystem {
    const root = localPath(rootUri);
    let store = this.#byRoot.get(root);
    if (store === undefined) {
      store = new LocalUnderFileSystem(root, { notes: this.#notes });
      this.#byRoot.set(root, store);
    }
    return store;
  }

  /**
   * Finds the store of any location by the roots that are mounted.
   * @param roots asked each time; the innermost one that holds the location is used
   */
  registry(roots: () => readonly string[]): UfsRegistry {
    return (uri) => {
      const path = localPath(uri);
      const holding = roots()
        .filter((root) => isInside(localPath(root), path))
        .sort((a, b) => b.length - a.length);
      const [root] = holding;
      if (root !== undefined) return this.at(root);
      throw new RockpoolError(
        "INVALID_ARGUMENT",
        `${uri} lies in no under store that is mounted`,
        "`bin/alluxio fs mount` lists the mounts",
      );
    };
  }
}

function isInside(root: string, path: string): boolean {
  return root === "/" || path === root || path.startsWith(`${root}/`);
}
