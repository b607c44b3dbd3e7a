/**
 * Which under stores this build knows: local directories, HDFS by WebHDFS, and S3.
 * @module
 */
import { existsSync, readFileSync } from "node:fs";
import { userInfo } from "node:os";
import { RockpoolError } from "./common/errors.ts";
import { unreachable } from "./common/invariant.ts";
import { CommonKeys } from "./conf/common_keys.ts";
import type { Configuration } from "./conf/configuration.ts";
import type { KeySpec } from "./conf/key_spec.ts";
import { ROOT_OPTION, UfsKeys } from "./conf/ufs_keys.ts";
import { type HadoopProperties, nameNodesOf, parseHadoopSite } from "./ufs/hadoop_site.ts";
import { HdfsUnderFileSystem } from "./ufs/hdfs_ufs.ts";
import { LocalUnderFileSystem } from "./ufs/local_ufs.ts";
import { type S3UfsOptions, S3UnderFileSystem } from "./ufs/s3_ufs.ts";
import type { TemporaryNotes } from "./ufs/temporary_files.ts";
import { pathWithinStore, type UfsRegistry } from "./ufs/ufs_uri.ts";
import type { UnderFileSystem } from "./ufs/under_file_system.ts";
import type { WebHdfsOptions } from "./ufs/webhdfs_client.ts";

/** Alluxio leaves it to its package, which does so. */
const S3_RETRIES = 3;

export type UnderStoreOptions = {
  /** Of unfinished files; null where a crash may leave them. */
  readonly notes?: TemporaryNotes | null;
  /** Hadoop's site files; those that do not exist are left out. */
  readonly hdfsSiteFiles?: readonly string[];
  /** In whose name HDFS is asked. */
  readonly hdfsUser?: string;
  /** Of all buckets. */
  readonly s3?: Omit<S3UfsOptions, "bucket">;
};

/**
 * What a configuration says of under stores.
 * @param prefix what is set under it goes before what is set for all
 */
export function underStoreOptions(
  configuration: Configuration,
  prefix = ROOT_OPTION,
): UnderStoreOptions {
  const get = <T>(spec: KeySpec<T>): T => optionOf(configuration, prefix, spec);
  const user = userInfo().username;
  return {
    hdfsSiteFiles: get(CommonKeys.hdfsConfiguration).split(":"),
    hdfsUser: get(CommonKeys.hdfsUser) ?? user,
    s3: s3Options(get, user),
  };
}

function optionOf<T>(configuration: Configuration, prefix: string, spec: KeySpec<T>): T {
  const text = configuration.text(`${prefix}${spec.key}`);
  if (text === null) return configuration.get(spec);
  const value = spec.type.parse(text);
  if (value !== null) return value;
  throw new RockpoolError(
    "INVALID_ARGUMENT",
    `Bad value of ${prefix}${spec.key}: expected ${spec.type.expected}`,
    "Correct it in the configuration",
  );
}

function s3Options(get: <T>(spec: KeySpec<T>) => T, owner: string): Omit<S3UfsOptions, "bucket"> {
  const accessKeyId = get(UfsKeys.s3AccessKey);
  const secretAccessKey = get(UfsKeys.s3SecretKey);
  if ((accessKeyId === null) !== (secretAccessKey === null))
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `Of ${UfsKeys.s3AccessKey.key} and ${UfsKeys.s3SecretKey.key} only one is set`,
      "Set both, or none for the AWS chain of credentials",
    );
  const named = get(UfsKeys.s3Endpoint);
  const scheme = get(UfsKeys.s3SecureHttp) ? "https" : "http";
  const endpoint = named === null || /^https?:/i.test(named) ? named : `${scheme}://${named}`;
  const ofProcess = process.env["AWS_REGION"] ?? process.env["AWS_DEFAULT_REGION"];
  const region = get(UfsKeys.s3EndpointRegion) ?? get(UfsKeys.s3Region) ?? ofProcess ?? null;
  return {
    endpoint,
    // Others than Amazon's take any.
    region: region ?? (endpoint === null ? null : "us-east-1"),
    credentials:
      accessKeyId === null || secretAccessKey === null ? null : { accessKeyId, secretAccessKey },
    isPathStyle: get(UfsKeys.s3DisableDnsBuckets),
    isEncrypted: get(UfsKeys.s3Encryption),
    removesInBulk: get(UfsKeys.s3BulkDelete),
    attemptsMax: (get(UfsKeys.s3MaxErrorRetry) ?? S3_RETRIES) + 1,
    socketsMax: get(UfsKeys.s3ThreadsMax),
    silenceMaxMs: get(UfsKeys.s3SocketTimeout),
    owner,
    mode: get(UfsKeys.s3DefaultMode),
  };
}

export function hdfsOptionsOf(store: string, options: UnderStoreOptions): WebHdfsOptions {
  const { hdfsSiteFiles = [], hdfsUser = userInfo().username } = options;
  return { nameNodes: nameNodesOf(store, readSites(hdfsSiteFiles)), user: hdfsUser, uri: store };
}

/** @param store s3://bucket */
export function s3OptionsOf(store: string, options: UnderStoreOptions): S3UfsOptions {
  return { ...options.s3, bucket: store.slice("s3://".length) };
}

/** A location: the store it is in ("" for this machine's files), and the path there. */
export type Location = {
  readonly kind: "local" | "hdfs" | "s3";
  readonly store: string;
  readonly path: string;
};

/** @throws RockpoolError INVALID_ARGUMENT for a scheme that is not known */
export function locate(uri: string): Location {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(uri)?.[1]?.toLowerCase() ?? "file";
  const path = pathWithinStore(uri).replace(/(?<=.)\/+$/, "");
  if (scheme === "file") return { kind: "local", store: "", path };
  const [store] = /^(web)?hdfs:\/\/[^/]*/i.exec(uri) ?? [];
  if (store !== undefined) return { kind: "hdfs", store, path };
  const [, bucket] = /^s3a?:\/\/([^/]+)/i.exec(uri) ?? [];
  if (bucket !== undefined) return { kind: "s3", store: `s3://${bucket}`, path };
  throw new RockpoolError(
    "INVALID_ARGUMENT",
    `No under store is known for ${uri}`,
    "Use a local directory (an absolute path, or file:///path), hdfs://host:port/path, or s3://bucket/path",
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

  #open({ kind, store, path }: Location): UnderFileSystem {
    switch (kind) {
      case "local":
        return new LocalUnderFileSystem(path, { notes: this.#options.notes ?? null });
      case "hdfs":
        return new HdfsUnderFileSystem(path, hdfsOptionsOf(store, this.#options));
      case "s3":
        return new S3UnderFileSystem(path, s3OptionsOf(store, this.#options));
      default:
        return unreachable(kind);
    }
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
