/**
 * What becomes of each property: honoured here, handed to clients, accepted without effect, or refused; and why.
 *
 * Pure. Values that would be dangerous to ignore (who may connect, where the journal is) refuse the start.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import { CommonKeys } from "./common_keys.ts";
import { type Configuration, MASKED } from "./configuration.ts";
import { isHandedToClients } from "./dynamic_keys.ts";
import type { KeySpec } from "./key_spec.ts";
import { isKnownName, isSecretName, keyOf } from "./keys.ts";
import { MasterKeys } from "./master_keys.ts";
import { hasSharedJournal } from "./shared_journal.ts";
import { isStoreOption } from "./ufs_keys.ts";
import { UserKeys } from "./user_keys.ts";
import { reasonWithoutEffect } from "./without_effect.ts";
import { WorkerKeys } from "./worker_keys.ts";
import { ZooKeeperKeys } from "./zookeeper_keys.ts";

export type Standing =
  /** A process here, or our own client, does as it says. */
  | { readonly kind: "honoured" }
  /** Our own programs do not read it; the masters hand it to clients, and Alluxio's honour it. */
  | { readonly kind: "handed" }
  | { readonly kind: "withoutEffect"; readonly why: string };

/** In the tables so that their values are checked; read by clients of Alluxio's only. */
const FOR_OTHER_CLIENTS: ReadonlySet<string> = new Set(
  [
    UserKeys.metadataSyncInterval,
    UserKeys.metadataLoadType,
    UserKeys.replicationDurable,
    UserKeys.passiveCacheEnabled,
    UserKeys.includeOperationId,
    UserKeys.writeTier,
    UserKeys.writeInitMaxDuration,
    UserKeys.writePolicy,
    UserKeys.ufsReadPolicy,
    UserKeys.blockReadRetryMaxDuration,
    UserKeys.rpcRetryBaseSleep,
    UserKeys.rpcRetryMaxSleep,
    UserKeys.masterPollingTimeout,
    UserKeys.masterPollingConcurrent,
    UserKeys.streamReadTimeout,
    UserKeys.streamWriteTimeout,
    UserKeys.readChunkSize,
    UserKeys.writeChunkSize,
    UserKeys.workerListRefresh,
    UserKeys.confSyncInterval,
    UserKeys.shortCircuitEnabled,
    UserKeys.dateFormat,
  ].map(({ key }) => key),
);
/** Read by their text. */
const HONOURED_TEXTS: readonly RegExp[] = [
  /^alluxio\.worker\.container\.hostname$/,
  /^alluxio\.worker\.master\.connect\.retry\.timeout$/,
  /^alluxio\.master\.security\.impersonation\..+\.(users|groups)$/,
  /^alluxio\.master\.(zookeeper\.)?nameservices\.[^.]+$/,
  /^alluxio\.master\.(rpc|zookeeper)\.address\.[^.]+\.[^.]+$/,
];
const NOT_READ = "nothing here reads it";

export function standingOf(name: string): Standing {
  const key = keyOf(name)?.key ?? name;
  if (FOR_OTHER_CLIENTS.has(key)) return { kind: "handed" };
  const withoutEffect = (why: string): Standing => ({ kind: "withoutEffect", why });
  // One key of the tables is there to be refused, and to be shown by reports.
  if (key === CommonKeys.impersonationUsername.key)
    return withoutEffect(reasonWithoutEffect(key) ?? NOT_READ);
  if (keyOf(name) !== undefined) return { kind: "honoured" };
  if (HONOURED_TEXTS.some((pattern) => pattern.test(key)) || isStoreOption(key))
    return { kind: "honoured" };
  if (isHandedToClients(key)) return { kind: "handed" };
  return withoutEffect(reasonWithoutEffect(key) ?? NOT_READ);
}

/** Names of Alluxio's that were set and change nothing here, sorted. */
export function namesWithoutEffect(configuration: Configuration): readonly string[] {
  return configuration
    .setNames()
    .filter((name) => isKnownName(name) && standingOf(name).kind === "withoutEffect")
    .sort();
}

/** A line for each of them. */
export function withoutEffectLines(configuration: Configuration): readonly string[] {
  return namesWithoutEffect(configuration).map((name) => {
    const standing = standingOf(name);
    const value = isSecretName(name) ? MASKED : (configuration.text(name) ?? "");
    const why = standing.kind === "withoutEffect" ? standing.why : NOT_READ;
    return `${name}=${value} has no effect here: ${why}`;
  });
}

/** Values of honoured keys with which nothing starts, as people are told. */
export const REFUSED_VALUES: ReadonlyMap<string, string> = new Map([
  [CommonKeys.tlsEnabled.key, "`true`: there is no TLS, and everything would go unencrypted"],
  [CommonKeys.authenticationType.key, "`CUSTOM`, `KERBEROS`: their classes are Java's"],
  [CommonKeys.groupMapping.key, "other classes: they are Java's"],
  [
    MasterKeys.zookeeperEnabled.key,
    "`true` without `alluxio.zookeeper.address`, and with the embedded journal",
  ],
  [ZooKeeperKeys.address.key, "without `alluxio.zookeeper.enabled=true`"],
  [MasterKeys.journalFolder.key, "a URI, with the embedded journal: it lies on a local disk"],
  [
    MasterKeys.rootUfs.key,
    "other than a local directory, HDFS and S3: no other store is there yet",
  ],
  [WorkerKeys.tierLevels.key, "more than 1: there is one tier yet"],
]);

/** The standing of a property in words, for documents. */
export function standingText(name: string): string {
  const standing = standingOf(name);
  if (standing.kind === "withoutEffect") return `no effect: ${standing.why}`;
  const text = standing.kind === "handed" ? "handed to clients" : "honoured";
  const refused = REFUSED_VALUES.get(keyOf(name)?.key ?? name);
  return refused === undefined ? text : `${text}; refused: ${refused}`;
}

type Refusal = {
  readonly spec: KeySpec<unknown>;
  readonly isRefused: (configuration: Configuration) => boolean;
  readonly why: string;
  readonly remedy: string;
};

const REFUSALS: readonly Refusal[] = [
  {
    spec: CommonKeys.tlsEnabled,
    isRefused: (configuration) => configuration.get(CommonKeys.tlsEnabled),
    why: "this version of Rockpool speaks no TLS, and would send everything unencrypted",
    remedy: "Set it to false, and keep the ports within a network that you trust",
  },
  {
    spec: MasterKeys.zookeeperEnabled,
    isRefused: (configuration) =>
      configuration.get(MasterKeys.zookeeperEnabled) && !configuration.isSet(ZooKeeperKeys.address),
    why: `${ZooKeeperKeys.address.key} is not set, so that nobody knows where ZooKeeper is`,
    remedy: `Set ${ZooKeeperKeys.address.key} to host:port of ZooKeeper's servers, or take out ${MasterKeys.zookeeperEnabled.key}`,
  },
  {
    spec: ZooKeeperKeys.address,
    isRefused: (configuration) =>
      configuration.isSet(ZooKeeperKeys.address) && !configuration.get(MasterKeys.zookeeperEnabled),
    why: `${MasterKeys.zookeeperEnabled.key} is not true, so that nobody would ask ZooKeeper`,
    remedy: `Set ${MasterKeys.zookeeperEnabled.key}=true, or take out ${ZooKeeperKeys.address.key}`,
  },
];

const MASTER_REFUSALS: readonly Refusal[] = [
  {
    spec: MasterKeys.journalType,
    isRefused: (configuration) =>
      configuration.get(MasterKeys.zookeeperEnabled) && !hasSharedJournal(configuration),
    why: `with ${MasterKeys.zookeeperEnabled.key}=true the journal lies on a store that the masters share; those of the embedded one choose their leader themselves`,
    remedy: `Set ${MasterKeys.journalType.key}=UFS, or take out ${MasterKeys.zookeeperEnabled.key} and ${ZooKeeperKeys.address.key}`,
  },
  {
    spec: MasterKeys.journalFolder,
    isRefused: (configuration) =>
      !hasSharedJournal(configuration) &&
      /^[a-z][a-z0-9+.-]*:/i.test(configuration.get(MasterKeys.journalFolder)),
    why: "the embedded journal lies in a folder of a local disk",
    remedy: `Set ${MasterKeys.journalFolder.key} to the path of one, or ${MasterKeys.journalType.key}=UFS for a journal on a store that the masters share`,
  },
];

function refusedBy(configuration: Configuration, rules: readonly Refusal[]): RockpoolError[] {
  return rules
    .filter(({ isRefused }) => isRefused(configuration))
    .map(
      ({ spec, why, remedy }) =>
        new RockpoolError(
          "INVALID_ARGUMENT",
          `${spec.key}=${configuration.text(spec.key)} (${configuration.origin(spec)}) is refused: ${why}`,
          remedy,
        ),
    );
}

/** Everything for which a process of a kind must not start. */
export function refusals(
  configuration: Configuration,
  kind: "master" | "worker" | "client" = "master",
): readonly RockpoolError[] {
  return refusedBy(configuration, kind === "master" ? [...REFUSALS, ...MASTER_REFUSALS] : REFUSALS);
}

/** @throws RockpoolError INVALID_ARGUMENT that names every property for which this process must not start */
export function requireSafe(
  configuration: Configuration,
  kind: "master" | "worker" | "client",
): void {
  const found = refusals(configuration, kind);
  const [first] = found;
  if (first === undefined) return;
  throw new RockpoolError(
    "INVALID_ARGUMENT",
    found.map(({ message }) => message).join("\n"),
    [...new Set(found.map(({ remedy }) => remedy))].join("; "),
  );
}
