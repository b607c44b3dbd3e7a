/**
 * ZooKeeper mode, joined: configuration → election of masters, and the search for them.
 * @module
 */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import { RockpoolError } from "./common/errors.ts";
import type { Configuration } from "./conf/configuration.ts";
import { formatHostPort, type HostPort, parseHostPort } from "./conf/key_spec.ts";
import { MasterKeys } from "./conf/master_keys.ts";
import { ZooKeeperKeys } from "./conf/zookeeper_keys.ts";
import type { Elector } from "./ufs_journal/elector.ts";
import type { World } from "./world/ports.ts";
import { type ElectionEvent, LeaderElection } from "./zookeeper/leader_election.ts";
import { inquireMasters, MasterWatch } from "./zookeeper/master_inquiry.ts";

const BOOT_ID = "/proc/sys/kernel/random/boot_id";
/** Who formats waits no longer for ZooKeeper. */
const STANDING_MS = 5000;

/** @throws RockpoolError INVALID_ARGUMENT when nobody says where ZooKeeper is */
export function zookeeperAddress(configuration: Configuration): string {
  const address = configuration.get(ZooKeeperKeys.address);
  if (address !== null) return address;
  throw new RockpoolError(
    "INVALID_ARGUMENT",
    `${MasterKeys.zookeeperEnabled.key}=true, and ${ZooKeeperKeys.address.key} is not set`,
    `Set ${ZooKeeperKeys.address.key} to host:port of ZooKeeper's servers`,
  );
}

function paths(configuration: Configuration) {
  return {
    electionPath: configuration.get(ZooKeeperKeys.electionPath),
    leaderPath: configuration.get(ZooKeeperKeys.leaderPath),
  };
}

/** What is no address is left out: it may be another program's. */
function addressesOf(texts: readonly string[]): readonly HostPort[] {
  return texts.map(parseHostPort).filter((address) => address !== null);
}

/**
 * All masters' RPC addresses, the leader's first.
 * @param connect of the configuration when left out
 * @throws RockpoolError UNAVAILABLE when ZooKeeper does not answer, or knows no master
 */
export async function findMasters(
  configuration: Configuration,
  world: World,
  connect: string = zookeeperAddress(configuration),
): Promise<readonly HostPort[]> {
  const { masters } = await inquireMasters({
    ...paths(configuration),
    connect,
    timeoutMs: configuration.get(ZooKeeperKeys.connectionTimeout),
    tries: configuration.get(ZooKeeperKeys.inquiryRetry),
    world,
  });
  return addressesOf(masters);
}

/**
 * The masters that stand for election at this moment.
 * @throws RockpoolError UNAVAILABLE when there are none, or ZooKeeper does not answer
 */
export async function standingMasters(
  configuration: Configuration,
  world: World,
): Promise<readonly HostPort[]> {
  const { masters } = await inquireMasters({
    ...paths(configuration),
    connect: zookeeperAddress(configuration),
    timeoutMs: Math.min(STANDING_MS, configuration.get(ZooKeeperKeys.connectionTimeout)),
    tries: 1,
    world,
  });
  return addressesOf(masters);
}

/** For clients within processes; undefined where the configuration lists the masters. */
export function masterInquiry(
  configuration: Configuration,
  world: World,
): (() => Promise<readonly HostPort[]>) | undefined {
  if (!configuration.get(MasterKeys.zookeeperEnabled)) return undefined;
  return () => findMasters(configuration, world);
}

export type MasterFollower = {
  /** Why nothing new is heard; "" when all is well. */
  readonly trouble: string;
  close(): Promise<void>;
};

/** Tells of all masters, and again whenever one comes or goes. */
export function followMasters(
  configuration: Configuration,
  world: World,
  onMasters: (masters: readonly HostPort[]) => void,
): MasterFollower {
  return new MasterWatch(
    { ...paths(configuration), connect: zookeeperAddress(configuration), world },
    (masters) => onMasters(addressesOf(masters)),
  );
}

/** @param self this master's RPC address, as clients and workers are told it */
export function createElector(
  configuration: Configuration,
  world: World,
  self: HostPort,
  onEvent: (event: ElectionEvent) => void,
): Elector {
  return new LeaderElection({
    ...paths(configuration),
    connect: zookeeperAddress(configuration),
    address: formatHostPort(self),
    sessionTimeoutMs: configuration.get(ZooKeeperKeys.sessionTimeout),
    connectionTimeoutMs: configuration.get(ZooKeeperKeys.connectionTimeout),
    world,
    machine: machineMark(),
    onEvent,
  });
}

/** Another one after each start of the machine, and in each container. */
function machineMark(): string {
  const boot = existsSync(BOOT_ID) ? readFileSync(BOOT_ID, "utf8") : "";
  return createHash("sha256").update(`${hostname()} ${boot}`).digest("hex").slice(0, 8);
}
