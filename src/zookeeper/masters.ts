/**
 * What stands in ZooKeeper about masters: who stands for election, and who leads. The nodes are laid out as Alluxio 2.9's masters
 * and clients (and Curator's LeaderSelector below them) know them.
 *
 *     <election path>/_c_<UUID>-lock-<10 digits>    ephemeral, sequential   "host:port" of the candidate; the lowest number is chosen
 *     <leader path>/<host:port>                     ephemeral               that master serves; of several the newest counts
 *
 * "host:port" is where a master takes RPCs. The UUID is new with each node: it tells a candidate whether a node is its own whose
 * creation was not answered.
 * @module
 */
import { isZooKeeperError } from "./protocol.ts";
import type { Watcher } from "./watches.ts";
import type { ZooKeeper } from "./zookeeper.ts";

export type MasterPaths = {
  /** `alluxio.zookeeper.election.path` */
  readonly electionPath: string;
  /** `alluxio.zookeeper.leader.path` */
  readonly leaderPath: string;
};

/** Who stands for election, the chosen one first. */
export type Contestant = { readonly name: string; readonly address: string };

export type MastersFound = {
  /** "host:port" of the one that serves; null when none does. */
  readonly leader: string | null;
  /** All of them, the leader first. */
  readonly masters: readonly string[];
};

export function encodeAddress(address: string): Uint8Array {
  return new TextEncoder().encode(address);
}

/** Without the number that the server appends. */
export function candidateName(uuid: string): string {
  return `_c_${uuid}-lock-`;
}

/** Names of candidates in the order of their numbers; what else lies there stands for nothing. */
export function inOrder(names: readonly string[]): readonly string[] {
  const numbered = names.flatMap((name) => {
    const match = /-lock-(-?\d{10})$/.exec(name);
    return match === null ? [] : [{ name, number: Number(match[1]) }];
  });
  return numbered.sort((a, b) => a.number - b.number).map(({ name }) => name);
}

/**
 * @param known addresses of nodes that were read before: what a node says never changes
 * @param watcher is told when somebody comes or goes
 * @throws ZooKeeperError NONODE when there is no election path
 */
export async function readContestants(
  keeper: ZooKeeper,
  electionPath: string,
  known: ReadonlyMap<string, string> = new Map(),
  watcher?: Watcher,
): Promise<readonly Contestant[]> {
  const { names } = await keeper.getChildren(electionPath, watcher);
  const found = await Promise.all(
    inOrder(names).map(async (name) => {
      const address = known.get(name) ?? (await textOf(keeper, `${electionPath}/${name}`));
      return address === null ? [] : [{ name, address }];
    }),
  );
  return found.flat();
}

/** Null when the node went in between. */
async function textOf(keeper: ZooKeeper, path: string): Promise<string | null> {
  try {
    return new TextDecoder().decode((await keeper.getData(path)).data);
  } catch (error) {
    if (!isZooKeeperError(error, "NONODE")) throw error;
    return null;
  }
}

/** The newest child of the leader path; null when there is none. */
async function readLeader(keeper: ZooKeeper, leaderPath: string): Promise<string | null> {
  const names = await childrenOf(keeper, leaderPath);
  if (names.length <= 1) return names[0] ?? null;
  const stats = await Promise.all(
    names.map(async (name) => ({ name, stat: await keeper.exists(`${leaderPath}/${name}`) })),
  );
  const [newest] = stats
    .flatMap(({ name, stat }) => (stat === null ? [] : [{ name, zxid: stat.createdZxid }]))
    .sort((a, b) => (a.zxid < b.zxid ? 1 : -1));
  return newest?.name ?? null;
}

async function childrenOf(keeper: ZooKeeper, path: string): Promise<readonly string[]> {
  try {
    return (await keeper.getChildren(path)).names;
  } catch (error) {
    if (!isZooKeeperError(error, "NONODE")) throw error;
    return [];
  }
}

/** Empty when there is no master, or never was one. @param watcher is told when a master comes or goes */
export async function readMasters(
  keeper: ZooKeeper,
  { electionPath, leaderPath }: MasterPaths,
  watcher?: Watcher,
): Promise<MastersFound> {
  const leader = await readLeader(keeper, leaderPath);
  const addresses = (await contestantsIfAny(keeper, electionPath, watcher)).map(
    ({ address }) => address,
  );
  return { leader, masters: [...new Set(leader === null ? addresses : [leader, ...addresses])] };
}

async function contestantsIfAny(
  keeper: ZooKeeper,
  electionPath: string,
  watcher: Watcher | undefined,
): Promise<readonly Contestant[]> {
  for (;;)
    try {
      return await readContestants(keeper, electionPath, new Map(), watcher);
    } catch (error) {
      if (!isZooKeeperError(error, "NONODE")) throw error;
      // The first master makes it: that is to be heard of, too.
      if ((await keeper.exists(electionPath, watcher)) === null) return [];
    }
}
