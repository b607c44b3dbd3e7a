/**
 * Whether the masters share a journal on an under store, as the configuration says. Pure.
 * @module
 */
import type { Configuration } from "./configuration.ts";
import { MasterKeys } from "./master_keys.ts";

/** With ZooKeeper that is what is meant when nothing is said. */
export function hasSharedJournal(configuration: Configuration): boolean {
  if (configuration.isSet(MasterKeys.journalType))
    return configuration.get(MasterKeys.journalType) === "UFS";
  return configuration.get(MasterKeys.zookeeperEnabled);
}
