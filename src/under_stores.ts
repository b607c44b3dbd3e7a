/**
 * Which under stores this build knows: local directories, and HDFS by WebHDFS.
 * @module
 */
import { existsSync, readFileSync } from "node:fs";
import { userInfo } from "node:os";
import { RockpoolError } from "./common/errors.ts";
import { CommonKeys } from "./conf/common_keys.ts";
import type { Configuration } from "./conf/configuration.ts";
import { type HadoopProperties, nameNodesOf, parseHadoopSite } from "./ufs/hadoop_site.ts";
import { HdfsUnderFileSystem } from "./ufs/hdfs_ufs.ts";
import { LocalUnderFileSystem } from "./ufs/local_ufs.ts";
import type { TemporaryNotes } from "./ufs/temporary_files.ts";
import { pathWithinStore, type UfsRegistry } from "./ufs/ufs_uri.ts";
import type { UnderFileSystem } from "./ufs/under_file_system.ts";

export type UnderStoreOptions = {
  /** Of unfinished files; null where a crash may leave them. */
  readonly notes?: TemporaryNotes | null;
  /** Hadoop's site files; those that do not exist are left out. */
  readonly hdfsSiteFiles?: readonly string[];
  /** In whose name HDFS is asked. */
  readonly hdfsUser?: string;
};

/** What a configuration says of under stores. */
export function underStoreOptions(configuration: Configuration): UnderStoreOptions {
  return {
    hdfsSiteFiles: configuration.get(CommonKeys.hdfsConfiguration).split(":"),
    hdfsUser: configuration.get(CommonKeys.hdfsUser) ?? userInfo().username,
  };
}

/** A location: the store it is in ("" for this machine's files), and the path there. */
type Location = { readonly store: string; readonly path: string };

function locate(uri: string): Location {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(uri)?.[1]?.toLowerCase() ?? "file";
  const path = pathWithinStore(uri).replace(/(?<=.)\/+$/, "");
  if (scheme === "file") return { store: "", path };
  const [store] = /^(web)?hdfs:\/\/[^/]*/i.exec(uri) ?? [];
  if (store !== undefined) return { store, path };
  throw new RockpoolError(
    "INVALID_ARGUMENT",
    `No under store is known for ${uri}`,
    "Use a local directory (an absolute path, or file:///path), or hdfs://host:port/path",
  );
}

/** One store for each root that is asked for, and the same one each time. */
export class UnderStores {
  readonly #byRoot = new Map<string, UnderFileSystem>();
  readonly #options: UnderStoreOptions;

  constructor(options: UnderStoreOptions = {}) {
    this.#options = options;
  }

  /**
   * The store that lives below a root.
   * @throws RockpoolError INVALID_ARGUMENT for a scheme that is not known, or a name node without an address
   */
  at(rootUri: string): UnderFileSystem {
    const location = locate(rootUri);
    const key = `${location.store} ${location.path}`;
    let store = this.#byRoot.get(key);
    if (store === undefined) {
      store = this.#open(location);
      this.#byRoot.set(key, store);
    }
    return store;
  }

  #open({ store, path }: Location): UnderFileSystem {
    const { notes = null, hdfsSiteFiles = [], hdfsUser = userInfo().username } = this.#options;
    if (store === "") return new LocalUnderFileSystem(path, { notes });
    return new HdfsUnderFileSystem(path, {
      nameNodes: nameNodesOf(store, readSites(hdfsSiteFiles)),
      user: hdfsUser,
      uri: store,
    });
  }

  /**
   * Finds the store of any location by the roots that are mounted.
   * @param roots asked each time; the innermost one that holds the location is used
   */
  registry(roots: () => readonly string[]): UfsRegistry {
    return (uri) => {
      const location = locate(uri);
      const holding = roots()
        .filter((root) => isInside(locate(root), location))
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

function readSites(files: readonly string[]): HadoopProperties {
  const read = files.filter((file) => file !== "" && existsSync(file));
  return new Map(read.flatMap((file) => [...parseHadoopSite(readFileSync(file, "utf8"))]));
}

function isInside(root: Location, { store, path }: Location): boolean {
  if (root.store !== store) return false;
  return root.path === "/" || path === root.path || path.startsWith(`${root.path}/`);
}
