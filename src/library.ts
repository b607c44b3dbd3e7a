/**
 * What programs import as `rockpool/client`: the client (client/file_system.ts) and whoever asks ZooKeeper for it where the masters are.
 *
 *     import { FileSystem } from "rockpool/client";
 *     const files = await FileSystem.connect({ masters: "alluxio://zk@zk1:2181,zk2:2181,zk3:2181/" });
 * @module
 */
import type { PropertyReader } from "./client/authority.ts";
import { FileSystem as ClientFileSystem, type ConnectOptions } from "./client/file_system.ts";
import { RockpoolError } from "./common/errors.ts";
import { type KeySpec, parseHostPort } from "./conf/key_spec.ts";
import { ZooKeeperKeys } from "./conf/zookeeper_keys.ts";
import type { MasterInquiry } from "./rpc/master_channel.ts";
import { nodeWorld } from "./world/node_world.ts";
import { inquireMasters } from "./zookeeper/master_inquiry.ts";

// biome-ignore lint/performance/noBarrelFile: this file is the package's entry, users import these words from it
export {
  type Attributes,
  type CallOptions,
  type ClusterInfo,
  type ConnectOptions,
  type CreateDirectoryOptions,
  type CreateFileOptions,
  type FileStatus,
  isRockpoolError,
  type ListOptions,
  type LoadMetadata,
  type MasterInquiry,
  type MountPoint,
  type ReadRange,
  type ReadType,
  type RemoveOptions,
  RockpoolError,
  type TtlAction,
  type WorkerStatus,
  type WriteType,
} from "./client/file_system.ts";

/** A cluster's files. Safe for any number of calls at once. */
export class FileSystem extends ClientFileSystem {
  /**
   * Makes a client. Nothing is sent before the first call, so masters, or a ZooKeeper, that are down show only then.
   * @throws RockpoolError INVALID_ARGUMENT when `masters` is not understood
   */
  static override connect(options: ConnectOptions): Promise<FileSystem> {
    return ClientFileSystem.connect(options, askZooKeeper);
  }

  /** There is one kind of client, whoever made it. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return value instanceof ClientFileSystem;
  }
}

/** Asked before the first call, and again whenever nobody leads. */
function askZooKeeper(connect: string, property: PropertyReader): MasterInquiry {
  const options = {
    connect,
    electionPath: settingOf(ZooKeeperKeys.electionPath, property),
    leaderPath: settingOf(ZooKeeperKeys.leaderPath, property),
    timeoutMs: settingOf(ZooKeeperKeys.connectionTimeout, property),
    tries: settingOf(ZooKeeperKeys.inquiryRetry, property),
    world: nodeWorld(),
  };
  return async () => {
    const { masters } = await inquireMasters(options);
    return masters.map(parseHostPort).filter((address) => address !== null);
  };
}

function settingOf<T>({ key, type, defaultText }: KeySpec<T>, property: PropertyReader) {
  const text = property(key) ?? defaultText ?? "";
  const value = type.parse(text);
  if (value !== null) return value;
  throw new RockpoolError(
    "INVALID_ARGUMENT",
    `Bad value "${text}" of ${key}: expected ${type.expected}`,
    "Correct it where connect() was told to look for properties",
  );
}
