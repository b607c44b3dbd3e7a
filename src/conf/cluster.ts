/**
 * What several keys say together: where the masters are, who votes, how long an election waits.
 *
 * Pure.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { Configuration } from "./configuration.ts";
import { formatHostPort, type HostPort, parseHostPort } from "./key_spec.ts";
import { MasterKeys } from "./master_keys.ts";
import { hasSharedJournal } from "./shared_journal.ts";
import { WorkerKeys } from "./worker_keys.ts";
import { ZooKeeperKeys } from "./zookeeper_keys.ts";

/** The RPC addresses of all masters, for workers and clients. None in ZooKeeper mode: there ZooKeeper is asked. */
export function masterRpcAddresses(configuration: Configuration): readonly HostPort[] {
  if (configuration.get(MasterKeys.zookeeperEnabled)) return [];
  const addresses = configuration.get(MasterKeys.rpcAddresses);
  if (addresses !== null) return addresses;
  const port = configuration.get(MasterKeys.rpcPort);
  const voters = configuration.get(MasterKeys.journalAddresses);
  if (voters !== null) return voters.map(({ host }) => ({ host, port }));
  return [{ host: configuration.get(MasterKeys.hostname) ?? "localhost", port }];
}

const ZOOKEEPER_PORT = 2181;

/** ZooKeeper's servers; none where the masters choose their leader themselves. */
export function zookeeperServers(configuration: Configuration): readonly HostPort[] {
  const connect = configuration.get(ZooKeeperKeys.address);
  if (!configuration.get(MasterKeys.zookeeperEnabled) || connect === null) return [];
  return connect
    .replace(/\/.*$/, "")
    .split(/[,;]/)
    .map((text) => text.trim())
    .map((text) => parseHostPort(/:\d+$/.test(text) ? text : `${text}:${ZOOKEEPER_PORT}`))
    .filter((address) => address !== null);
}

/** The voters of the embedded journal, and which of them this master is. */
export type JournalMembership = { readonly members: readonly HostPort[]; readonly self: HostPort };

/**
 * @param isLocal whether a host name of the list is this machine, asked only when the host name of this master
 *   is not set
 * @throws RockpoolError INVALID_ARGUMENT when this master is not, or not clearly, one of the voters
 */
export function journalMembership(
  configuration: Configuration,
  isLocal: (host: string) => boolean,
): JournalMembership {
  const port = configuration.get(MasterKeys.journalPort);
  const hostname = configuration.get(MasterKeys.hostname);
  const members = configuration.get(MasterKeys.journalAddresses);
  if (members === null || hasSharedJournal(configuration)) {
    const self = { host: hostname ?? "localhost", port };
    return { members: [self], self };
  }
  const fitting = members.filter(
    (member) =>
      member.port === port && (hostname === null ? isLocal(member.host) : member.host === hostname),
  );
  const [self] = fitting;
  if (self !== undefined && fitting.length === 1) return { members, self };
  const list = members.map(formatHostPort).join(",");
  const own =
    hostname === null ? `this machine with port ${port}` : formatHostPort({ host: hostname, port });
  throw new RockpoolError(
    "INVALID_ARGUMENT",
    `${own} is ${fitting.length === 0 ? "none" : "more than one"} of ${MasterKeys.journalAddresses.key}=${list}`,
    `Set ${MasterKeys.hostname.key} and ${MasterKeys.journalPort.key} to this master's own entry of that list`,
  );
}

/**
 * The under store of the root, when this version can use it.
 * @throws RockpoolError INVALID_ARGUMENT with key, value and what is supported
 */
export function rootUnderStore(configuration: Configuration): string {
  const uri = configuration.get(MasterKeys.rootUfs);
  if (/^(\/|file:\/(?!\/)|file:\/\/(localhost)?\/)/i.test(uri)) return uri;
  if (/^(web)?hdfs:\/\/[^/]*\//i.test(uri)) return uri;
  if (/^s3a?:\/\/[^/]+(\/|$)/i.test(uri)) return uri;
  throw new RockpoolError(
    "INVALID_ARGUMENT",
    `${MasterKeys.rootUfs.key}=${uri} (${configuration.origin(MasterKeys.rootUfs)}) cannot be used: this version of Rockpool ` +
      "knows local directories, as an absolute path or file:///path, hdfs://host:port/path and s3://bucket/path",
    `Set ${MasterKeys.rootUfs.key} to one of these; a local directory must be seen by all masters and workers under the same path`,
  );
}

/** @throws RockpoolError INVALID_ARGUMENT when more tiers are asked for than there can be */
export function requireOneTier(configuration: Configuration): void {
  const count = configuration.get(WorkerKeys.tierLevels);
  if (count === 1) return;
  throw new RockpoolError(
    "INVALID_ARGUMENT",
    `${WorkerKeys.tierLevels.key}=${count} (${configuration.origin(WorkerKeys.tierLevels)}) cannot be used: this version of ` +
      "Rockpool supports only one tier, of one or more directories",
    `Set ${WorkerKeys.tierLevels.key}=1 and name all directories in alluxio.worker.tieredstore.level0.dirs.path`,
  );
}

/** The web addresses of the masters, in the order of the voters. */
export function masterWebAddresses(configuration: Configuration): readonly HostPort[] {
  const addresses = configuration.get(MasterKeys.webAddresses);
  if (addresses !== null) return addresses;
  const port = configuration.get(MasterKeys.webPort);
  return masterRpcAddresses(configuration).map(({ host }) => ({ host, port }));
}

export type ElectionTimes = {
  readonly electionTimeoutMinMs: number;
  readonly electionTimeoutMaxMs: number;
  readonly heartbeatIntervalMs: number;
};

/** Fewer heartbeats than this in one patience, and a single late one would cost an election. */
const HEARTBEATS_PER_ELECTION = 4;

/** @throws RockpoolError INVALID_ARGUMENT when the times contradict each other */
export function electionTimes(configuration: Configuration): ElectionTimes {
  const { electionTimeoutMin, electionTimeoutMax, heartbeatInterval } = MasterKeys;
  const minMs = configuration.get(electionTimeoutMin);
  const maxMs = configuration.isSet(electionTimeoutMax)
    ? configuration.get(electionTimeoutMax)
    : 2 * minMs;
  const beatMs =
    configuration.get(heartbeatInterval) ?? Math.max(1, minMs / HEARTBEATS_PER_ELECTION);
  const refuse = (message: string, remedy: string) =>
    new RockpoolError("INVALID_ARGUMENT", message, remedy);
  if (maxMs < minMs)
    throw refuse(
      `${electionTimeoutMax.key} (${maxMs} ms) is shorter than ${electionTimeoutMin.key} (${minMs} ms)`,
      "Set both, the second to about twice the first",
    );
  if (beatMs * 3 >= minMs)
    throw refuse(
      `${heartbeatInterval.key} (${beatMs} ms) is not below a third of ${electionTimeoutMin.key} (${minMs} ms)`,
      "Leave the first unset, or make the second longer",
    );
  return { electionTimeoutMinMs: minMs, electionTimeoutMaxMs: maxMs, heartbeatIntervalMs: beatMs };
}
