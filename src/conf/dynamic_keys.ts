/**
 * Which properties may change while a process runs, and what clients are handed of a master's configuration.
 *
 * Pure. A key is dynamic here only when its reader asks for it each time: a change that is accepted takes effect.
 * @module
 */
import { CommonKeys } from "./common_keys.ts";
import type { Configuration } from "./configuration.ts";
import { isKnownName, keyOf } from "./keys.ts";
import { MasterKeys } from "./master_keys.ts";
import { UserKeys } from "./user_keys.ts";

/** Read by masters whenever they need them. */
const DYNAMIC: ReadonlySet<string> = new Set(
  [
    CommonKeys.debug,
    CommonKeys.rockpoolLogLevel,
    CommonKeys.supergroup,
    CommonKeys.umask,
    MasterKeys.backupDirectory,
    MasterKeys.dailyBackupsRetained,
    MasterKeys.journalSpaceInterval,
    MasterKeys.journalSpaceThreshold,
    MasterKeys.lostWorkerDeletionTimeout,
    MasterKeys.lostWorkerDetectionInterval,
    MasterKeys.persistenceSchedulerInterval,
    MasterKeys.shutdownGrace,
    MasterKeys.workerTimeout,
  ].map(({ key }) => key),
);

/** About one client's own place: of no use to others. */
const OWN_TO_A_CLIENT = /^alluxio\.user\.(hostname|app\.id|logs\.dir)$/;

/** Whether the masters hand the value of a name to their clients. */
export function isHandedToClients(name: string): boolean {
  if (name === CommonKeys.umask.key || name === CommonKeys.permissionEnabled.key) return true;
  if (OWN_TO_A_CLIENT.test(name)) return false;
  return name.startsWith("alluxio.user.") && isKnownName(name);
}

/** Whether `fsadmin updateConf` may change it. Takes names and aliases. */
export function isDynamic(name: string): boolean {
  const key = keyOf(name)?.key ?? name;
  return DYNAMIC.has(key) || (isHandedToClients(key) && key !== CommonKeys.permissionEnabled.key);
}

/**
 * What clients are told to use unless they, or the configuration of the masters, say otherwise: they find a new
 * leader sooner. An unmodified client asks one master after the other, each for up to 30 s, and pauses up to 3 s.
 */
const CLIENT_ADVICE: readonly (readonly [string, string])[] = [
  [UserKeys.masterPollingConcurrent.key, "true"],
  [UserKeys.masterPollingTimeout.key, "3s"],
  [UserKeys.rpcRetryMaxSleep.key, "500ms"],
  ["alluxio.user.network.rpc.keepalive.time", "5s"],
  ["alluxio.user.network.rpc.keepalive.timeout", "5s"],
];

/** What clients take as their defaults: the same on all masters whose configuration says the same for clients. */
export function clusterDefaultsOf(configuration: Configuration): ReadonlyMap<string, string> {
  const defaults = new Map(CLIENT_ADVICE);
  for (const name of configuration.setNames()) {
    const text = isHandedToClients(name) ? configuration.text(name) : null;
    if (text !== null) defaults.set(name, text);
  }
  return defaults;
}
