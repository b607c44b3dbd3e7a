/**
 * What a master or a worker needs of its host, looked at without changing anything: `init validate --type env`.
 *
 * Every check ends by itself within seconds. A failure says what is wrong and what to do; a warning may be meant so.
 * @module
 */
import { accessSync, constants, existsSync, readFileSync, statSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { isRockpoolError, messageOf } from "../common/errors.ts";
import { masterRpcAddresses, zookeeperServers } from "../conf/cluster.ts";
import type { Configuration } from "../conf/configuration.ts";
import { formatHostPort, type HostPort } from "../conf/key_spec.ts";
import { MasterKeys } from "../conf/master_keys.ts";
import { hasSharedJournal } from "../conf/shared_journal.ts";
import { TIER_KEYS, WorkerKeys } from "../conf/worker_keys.ts";
import { ZooKeeperKeys } from "../conf/zookeeper_keys.ts";
import { isPortFree } from "../local/probe.ts";
import { addressesOf, loopbackProblem } from "../world/addresses.ts";

export type CheckResult = {
  readonly name: string;
  readonly state: "OK" | "WARNING" | "FAILED";
  readonly text: string;
};

export type Check = {
  /** As `list` prints it and a filter finds it: "master.rpc.port". */
  readonly name: string;
  readonly run: () => Promise<Omit<CheckResult, "name">> | Omit<CheckResult, "name">;
};

const CONNECT_WITHIN_MS = 3000;
const OPEN_FILES_MIN = 16_384;
const GIB = 1024 ** 3;

const ok = (text: string) => ({ state: "OK", text }) as const;
const warning = (text: string) => ({ state: "WARNING", text }) as const;
const failed = (text: string) => ({ state: "FAILED", text }) as const;

function portCheck(
  configuration: Configuration,
  host: typeof MasterKeys.bindHost,
  port: typeof MasterKeys.rpcPort,
): Check {
  return {
    name: port.key.replace(/^alluxio\./, ""),
    async run() {
      const number = configuration.get(port);
      const at = `${configuration.get(host)}:${number}`;
      if (number === 0 || (await isPortFree(number, configuration.get(host))))
        return ok(`${at} is free`);
      return warning(
        `${at} is taken: right if this process runs already; else end what has it, or set ${port.key}`,
      );
    },
  };
}

/** What becomes of a connection. */
function knock({ host, port }: HostPort): Promise<"open" | "refused" | string> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const end = (outcome: string) => {
      socket.destroy();
      resolve(outcome);
    };
    socket.setTimeout(CONNECT_WITHIN_MS, () =>
      end(`no answer within ${CONNECT_WITHIN_MS / 1000} s`),
    );
    socket.once("connect", () => end("open"));
    socket.once("error", (error: NodeJS.ErrnoException) =>
      end(error.code === "ECONNREFUSED" ? "refused" : (error.code ?? error.message)),
    );
  });
}

function reachCheck(name: string, address: HostPort): Check {
  return {
    name,
    async run() {
      const shown = formatHostPort(address);
      const outcome = await knock(address);
      if (outcome === "open") return ok(`${shown} answers`);
      if (outcome === "refused")
        return warning(
          `${shown} is reachable, and nothing listens there: right before the first start`,
        );
      return failed(
        `${shown} cannot be reached (${outcome}): open TCP port ${address.port} between the hosts, and check the name`,
      );
    },
  };
}

/** The folder, or the nearest one above it that is there. */
function nearestExisting(path: string): string {
  let at = path;
  while (!existsSync(at) && dirname(at) !== at) at = dirname(at);
  return at;
}

function folderCheck(name: string, path: string, key: string): Check {
  return {
    name,
    run() {
      const at = nearestExisting(path);
      try {
        if (!statSync(at).isDirectory()) return failed(`${at} (${key}) is no directory`);
        accessSync(at, constants.R_OK | constants.W_OK | constants.X_OK);
      } catch (error) {
        return failed(
          `${path} (${key}) cannot be ${at === path ? "written" : "made"}: ${messageOf(error)}; give this user the right to, or set ${key}`,
        );
      }
      return ok(at === path ? `${path} can be written` : `${path} can be made in ${at}`);
    },
  };
}

function roomCheck(name: string, path: string, neededBytes: number, what: string): Check {
  return {
    name,
    async run() {
      const { bavail, bsize, blocks } = await statfs(nearestExisting(path));
      const freeBytes = bavail * bsize;
      const percent = blocks === 0 ? 100 : Math.floor((100 * bavail) / blocks);
      const shown = `${(freeBytes / GIB).toFixed(1)} GB (${percent}%) free at ${path}`;
      if (freeBytes >= neededBytes) return ok(shown);
      return warning(`${shown}, and ${what} may take ${(neededBytes / GIB).toFixed(1)} GB`);
    },
  };
}

function nameCheck(name: string, host: string): Check {
  return {
    name,
    async run() {
      const addresses = await addressesOf(host);
      if (addresses !== null) return ok(`${host} is ${addresses.join(", ")}`);
      return failed(`${host} does not resolve: add it to DNS or /etc/hosts, or write its address`);
    },
  };
}

function visibleCheck(own: string, peers: readonly string[], key: string): Check {
  return {
    name: `${key.replace(/^alluxio\./, "")}.visible`,
    async run() {
      const problem = await loopbackProblem(own, peers);
      if (problem === null) return ok(`${own} is what others are told`);
      return failed(`${problem}: set ${key} to a name or address that they see`);
    },
  };
}

function openFilesCheck(): Check {
  return {
    name: "ulimit.nofile",
    run() {
      // Linux tells it here; elsewhere there is nothing to look at.
      const limits = existsSync("/proc/self/limits")
        ? readFileSync("/proc/self/limits", "utf8")
        : "";
      const soft = /^Max open files\s+(\S+)/m.exec(limits)?.[1];
      if (soft === undefined || soft === "unlimited" || Number(soft) >= OPEN_FILES_MIN)
        return ok(`${soft ?? "unknown"} files may be open`);
      return warning(`only ${soft} files may be open: raise it with ulimit -n ${OPEN_FILES_MIN}`);
    },
  };
}

function masterChecks(configuration: Configuration): Check[] {
  const { hostname, journalAddresses, journalFolder, metastoreDir, journalBindHost } = MasterKeys;
  const isShared = hasSharedJournal(configuration);
  const voters = isShared ? [] : (configuration.get(journalAddresses) ?? []);
  const own = configuration.get(hostname);
  const journal = configuration.get(journalFolder);
  const { rootUfs } = MasterKeys;
  const root = configuration.get(rootUfs).replace(/^file:\/\//, "");
  return [
    portCheck(configuration, MasterKeys.bindHost, MasterKeys.rpcPort),
    portCheck(configuration, MasterKeys.webBindHost, MasterKeys.webPort),
    ...(isShared ? [] : [portCheck(configuration, journalBindHost, MasterKeys.journalPort)]),
    ...zookeeperChecks(configuration),
    ...voters
      .filter(
        ({ host, port }) => host !== own || port !== configuration.get(MasterKeys.journalPort),
      )
      .map((address) => reachCheck(`master.journal.${formatHostPort(address)}`, address)),
    ...(own === null
      ? []
      : [
          visibleCheck(
            own,
            // With ZooKeeper nobody lists the other masters: who is elsewhere sees this host from there.
            (isShared ? zookeeperServers(configuration) : voters).map(({ host }) => host),
            hostname.key,
          ),
        ]),
    folderCheck("master.metastore.dir", configuration.get(metastoreDir), metastoreDir.key),
    // What a store that is no folder takes is seen when it is probed: by format, and at each start.
    ...(journal.startsWith("/")
      ? [
          folderCheck("master.journal.folder", journal, journalFolder.key),
          roomCheck("master.journal.space", journal, GIB, "the journal with its checkpoints"),
        ]
      : []),
    ...(root.startsWith("/") ? [folderCheck("master.root.ufs", root, rootUfs.key)] : []),
  ];
}

/** Whether ZooKeeper's servers can be reached: without a majority of them nobody leads, and nobody finds the leader. */
function zookeeperChecks(configuration: Configuration): Check[] {
  return zookeeperServers(configuration).map((address) => {
    const name = `zookeeper.${formatHostPort(address)}`;
    return {
      name,
      async run() {
        const outcome = await knock(address);
        if (outcome === "open") return ok(`${formatHostPort(address)} answers`);
        return failed(
          `ZooKeeper at ${formatHostPort(address)} cannot be reached (${outcome}): start it before the masters, and check ${ZooKeeperKeys.address.key}`,
        );
      },
    };
  });
}

function workerChecks(configuration: Configuration): Check[] {
  const masters = masterRpcAddresses(configuration);
  const own = configuration.get(WorkerKeys.hostname);
  const tiers = TIER_KEYS.slice(0, configuration.get(WorkerKeys.tierLevels));
  return [
    portCheck(configuration, WorkerKeys.bindHost, WorkerKeys.rpcPort),
    portCheck(configuration, WorkerKeys.webBindHost, WorkerKeys.webPort),
    ...masters.map((address) => reachCheck(`worker.master.${formatHostPort(address)}`, address)),
    ...zookeeperChecks(configuration),
    ...(own === null
      ? []
      : [
          visibleCheck(
            own,
            [...masters, ...zookeeperServers(configuration)].map(({ host }) => host),
            WorkerKeys.hostname.key,
          ),
        ]),
    ...tiers.flatMap(({ path, quota }) =>
      (configuration.get(path) ?? []).flatMap((folder, at) => {
        const quotas = configuration.get(quota) ?? [];
        const data = join(folder, configuration.get(WorkerKeys.dataFolder));
        const name = `worker.storage.${folder}`;
        return [
          folderCheck(name, data, path.key),
          roomCheck(
            `${name}.space`,
            data,
            quotas[at] ?? quotas[0] ?? 0,
            `its quota (${quota.key})`,
          ),
        ];
      }),
    ),
  ];
}

/** The checks for the roles of this host. */
export function checksFor(
  roles: ReadonlySet<"master" | "worker">,
  configurationOf: (role: "master" | "worker") => Configuration,
): readonly Check[] {
  const checks: Check[] = [];
  const names = new Set<string>();
  for (const role of roles) {
    const configuration = configurationOf(role);
    for (const { host } of masterRpcAddresses(configuration)) names.add(host);
    for (const { host } of zookeeperServers(configuration)) names.add(host);
    checks.push(...(role === "master" ? masterChecks(configuration) : workerChecks(configuration)));
  }
  const resolving = [...names].map((host) => nameCheck(`resolve.${host}`, host));
  const all = [...resolving, ...checks, openFilesCheck()];
  return all.filter(({ name }, at) => all.findIndex((one) => one.name === name) === at);
}

/** Runs checks side by side; one that breaks has failed. */
export function runChecks(checks: readonly Check[]): Promise<readonly CheckResult[]> {
  return Promise.all(
    checks.map(async ({ name, run }) => {
      try {
        return { name, ...(await run()) };
      } catch (error) {
        const remedy = isRockpoolError(error) && error.remedy !== "" ? `: ${error.remedy}` : "";
        return { name, state: "FAILED", text: `${messageOf(error)}${remedy}` };
      }
    }),
  );
}
