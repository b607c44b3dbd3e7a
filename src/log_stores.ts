/**
 * Which stores a journal that masters share may lie in: a folder that all of them mount, HDFS, S3.
 * @module
 */

import { unreachable } from "./common/invariant.ts";
import type { Configuration } from "./conf/configuration.ts";
import { JOURNAL_OPTION } from "./conf/ufs_keys.ts";
import { HdfsLogStore } from "./ufs/hdfs_log_store.ts";
import { LocalLogStore } from "./ufs/local_log_store.ts";
import type { LogStore } from "./ufs/log_store.ts";
import { S3LogStore } from "./ufs/s3_log_store.ts";
import {
  hdfsOptionsOf,
  locate,
  s3OptionsOf,
  type UnderStoreOptions,
  underStoreOptions,
} from "./under_stores.ts";

/** What a configuration says of the journal's store: as of under stores, but with options of its own. */
export function journalStoreOptions(configuration: Configuration): UnderStoreOptions {
  return underStoreOptions(configuration, JOURNAL_OPTION);
}

/**
 * @param uri an absolute path, file:///path, hdfs://host:port/path, s3://bucket/path
 * @throws RockpoolError INVALID_ARGUMENT for a scheme that is not known, or a name node without an address
 */
export function openLogStore(uri: string, options: UnderStoreOptions): LogStore {
  const { kind, store, path } = locate(uri);
  switch (kind) {
    case "local":
      return new LocalLogStore(path);
    case "hdfs":
      return new HdfsLogStore(path, hdfsOptionsOf(store, options));
    case "s3":
      return new S3LogStore(path, s3OptionsOf(store, options));
    default:
      return unreachable(kind);
  }
}
