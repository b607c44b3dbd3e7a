/**
 * Whether a daemon tells the others a name under which they can reach it. Pure.
 *
 * A loopback name works on one machine and means another one on every other, so it is worth a warning as soon as the
 * cluster has a second host.
 * @module
 */
import { zookeeperServers } from "../conf/cluster.ts";
import type { Configuration } from "../conf/configuration.ts";
import { MasterKeys } from "../conf/master_keys.ts";
import { WorkerKeys } from "../conf/worker_keys.ts";

function isLoopback(host: string): boolean {
  return /^(localhost(\..*)?|127\.[\d.]+|::1)$/i.test(host);
}

/** Lines for the log and for whoever starts the daemon; none when all is well. */
export function nameWarnings(
  kind: "master" | "worker",
  configuration: Configuration,
): readonly string[] {
  const key = kind === "master" ? MasterKeys.hostname : WorkerKeys.hostname;
  const own = configuration.get(key);
  const masters = [
    ...(configuration.get(MasterKeys.journalAddresses) ?? []),
    ...(configuration.get(MasterKeys.rpcAddresses) ?? []),
    ...zookeeperServers(configuration),
  ].map(({ host }) => host);
  const remote = masters.find((host) => !isLoopback(host));
  if (own === null || !isLoopback(own) || remote === undefined) return [];
  return [
    `${key.key}=${own} (${configuration.origin(key)}) is a name of this machine alone, and ${remote} is another host: ` +
      `set ${key.key} to a name or address under which the others reach this one`,
  ];
}
