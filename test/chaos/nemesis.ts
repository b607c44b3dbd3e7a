/**
 * What is done to a cluster during a chaos run. Each nemesis begins, lasts, and ends with everything as it was.
 *
 * Which master "the leader" is, is found out when it is needed; all else is drawn from the seed beforehand.
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";
import { EXIT } from "../../src/common/errors.ts";
import { invariant } from "../../src/common/invariant.ts";
import type { ChaosCluster } from "./chaos_cluster.ts";
import { damageMark, damageMiddle, damageStore, tearTail } from "./damage.ts";
import type { Direction } from "./fault_proxy.ts";
import { fillJournal } from "./fill_journal.ts";
import type { Chance } from "./random.ts";

export type NemesisContext = {
  readonly cluster: ChaosCluster;
  /** For what this one run of the nemesis chooses. */
  readonly chance: Chance;
  /** Aborted when the run is given up. */
  readonly signal: AbortSignal;
};

/** What was done, for the report. */
export type NemesisResult = {
  readonly detail: string;
  /** The leader was taken away: how long nothing was acknowledged counts as a fail-over. */
  readonly isFailover: boolean;
};

export type Nemesis = {
  readonly name: string;
  readonly weight: number;
  readonly run: (context: NemesisContext) => Promise<NemesisResult>;
  /** Why it cannot run here; null when it can. */
  readonly missing?: ((cluster: ChaosCluster) => string | null) | undefined;
};

const STOP_MS_MIN = 100;
const STOP_MS_MAX = 20_000;
const FAULT_MS_MIN = 200;
const FAULT_MS_MAX = 8_000;

async function wait(ms: number, { signal }: NemesisContext): Promise<void> {
  await delay(ms, undefined, { signal });
}

function others(cluster: ChaosCluster, master: number): number[] {
  return cluster.masterNumbers.filter((number) => number !== master);
}

/** A majority of the masters, the leader among them when there is one. */
async function majority({ cluster, chance }: NemesisContext): Promise<number[]> {
  const leader = await cluster.leaderNow();
  const all = [...cluster.masterNumbers];
  const chosen: number[] = leader === null ? [] : [leader];
  const count = Math.floor(all.length / 2) + 1;
  while (chosen.length < count) {
    const next = chance.pick(all.filter((number) => !chosen.includes(number)));
    chosen.push(next);
  }
  return chosen;
}

async function killAndRestart(context: NemesisContext, masters: readonly number[]): Promise<void> {
  const { cluster, chance } = context;
  for (const number of masters) cluster.kill("master", number);
  await wait(chance.logarithmic(20, 3000), context);
  for (const number of masters) {
    await cluster.untilDown("master", number);
    cluster.startProcess("master", number);
    // One after the other as often as all at once.
    if (chance.oneIn(2)) await wait(chance.logarithmic(10, 1500), context);
  }
}

const kill: Nemesis = {
  name: "kill",
  weight: 6,
  async run(context) {
    const { cluster, chance } = context;
    const victim = chance.weighted([
      ["leader", 5],
      ["any", 2],
      ["majority", 2],
      ["all", 1],
    ] as const);
    const leader = await cluster.leader();
    // With another one down as well there is nobody to take over.
    const isWell = await cluster.areMastersHealthy();
    const masters =
      victim === "leader"
        ? [leader]
        : victim === "any"
          ? [chance.pick(cluster.masterNumbers)]
          : victim === "majority"
            ? await majority(context)
            : [...cluster.masterNumbers];
    await killAndRestart(context, masters);
    return {
      detail: `${victim}: master ${masters.join(", ")}`,
      isFailover: isWell && masters.length === 1 && masters[0] === leader,
    };
  },
};

const pause: Nemesis = {
  name: "pause",
  weight: 4,
  async run(context) {
    const { cluster, chance } = context;
    const leader = await cluster.leader();
    const victim = chance.oneIn(3) ? chance.pick(cluster.masterNumbers) : leader;
    const ms = chance.logarithmic(STOP_MS_MIN, STOP_MS_MAX);
    const isFrozen = cluster.freeze("master", victim);
    try {
      await wait(ms, context);
    } finally {
      if (isFrozen) cluster.thaw("master", victim);
    }
    return {
      detail: `master ${victim}${victim === leader ? " (leader)" : ""} for ${Math.round(ms)} ms`,
      isFailover: false,
    };
  },
};

const rolling: Nemesis = {
  name: "rolling",
  weight: 2,
  async run(context) {
    const { cluster, chance } = context;
    const order = chance.shuffled(cluster.masterNumbers);
    for (const number of order) {
      cluster.kill("master", number);
      await cluster.untilDown("master", number);
      cluster.startProcess("master", number);
      await wait(chance.logarithmic(50, 2500), context);
    }
    return { detail: `masters ${order.join(", ")}`, isFailover: false };
  },
};

/** Runs with faults of some directions, which end whatever happens; those of others go on, in a storm. */
async function withFaults(
  context: NemesisContext,
  directions: readonly Direction[],
  begin: (direction: Direction) => void | Promise<void>,
): Promise<number> {
  const ms = context.chance.logarithmic(FAULT_MS_MIN, FAULT_MS_MAX);
  try {
    for (const direction of directions) await begin(direction);
    await wait(ms, context);
  } finally {
    for (const direction of directions) direction.heal();
  }
  return Math.round(ms);
}

const name = (number: number) => `master-${number}`;

/** A master and another one, the leader more often than not. */
async function pair(context: NemesisContext): Promise<[number, number]> {
  const { cluster, chance } = context;
  const leader = await cluster.leaderNow();
  const from = leader === null || chance.oneIn(4) ? chance.pick(cluster.masterNumbers) : leader;
  return [from, chance.pick(others(cluster, from))];
}

const cut: Nemesis = {
  name: "cut",
  weight: 3,
  async run(context) {
    const { cluster, chance } = context;
    const [one, other] = await pair(context);
    const isOutward = chance.oneIn(2);
    const isAll = chance.oneIn(2);
    const peers = isAll ? others(cluster, one) : [other];
    const directions = peers.map((peer) => {
      const [from, to] = isOutward ? [one, peer] : [peer, one];
      return cluster.proxy.direction(name(from), name(to));
    });
    const ms = await withFaults(context, directions, (direction) => direction.cut());
    const way = isOutward ? "from" : "to";
    return {
      detail: `${way} master ${one}, peers ${peers.join(", ")}, ${ms} ms`,
      isFailover: false,
    };
  },
};

/** @returns how it went; it may be refused, since nobody waits for others to be well */
async function elect(cluster: ChaosCluster, to: number): Promise<string> {
  const words = ["journal", "quorum", "elect", "-address", cluster.journalAddress(to)];
  const { exit, text } = await cluster.cli(...words);
  return exit === 0 ? "done" : `refused: ${text.trim().split("\n").slice(1, 2).join()}`;
}

/** A leader that has no quorum and does not know it yet is where reads could be stale. */
const partition: Nemesis = {
  name: "partition",
  weight: 3,
  async run(context) {
    const { cluster, chance } = context;
    const { patientMaster, abilities } = cluster;
    const [chosen] = await pair(context);
    let one = chosen;
    if (patientMaster !== null && abilities.changesQuorum && chance.oneIn(2)) {
      one = patientMaster;
      await elect(cluster, one);
    }
    const directions = others(cluster, one).flatMap((peer) => [
      cluster.proxy.direction(name(one), name(peer)),
      cluster.proxy.direction(name(peer), name(one)),
    ]);
    const ms = await withFaults(context, directions, (direction) => direction.cut());
    return { detail: `master ${one} alone for ${ms} ms`, isFailover: false };
  },
};

/** Links are clogged one by one, and freed together (FoundationDB's swizzle). */
const clog: Nemesis = {
  name: "clog",
  weight: 3,
  async run(context) {
    const { cluster, chance } = context;
    const directions = [...cluster.proxy.directions].filter(() => chance.oneIn(2));
    const ms = await withFaults(context, directions, async (direction) => {
      direction.delayMs = chance.logarithmic(1, 500);
      if (chance.oneIn(3)) direction.bytesPerSecond = chance.logarithmic(2_000, 500_000);
      await wait(chance.logarithmic(1, 200), context);
    });
    return { detail: `${directions.length} directions slow for ${ms} ms`, isFailover: false };
  },
};

const halfOpen: Nemesis = {
  name: "halfopen",
  weight: 2,
  async run(context) {
    const { cluster } = context;
    const [one, other] = await pair(context);
    cluster.proxy.orphan(name(one), name(other));
    await wait(1500, context);
    return { detail: `between masters ${one} and ${other}`, isFailover: false };
  },
};

const reset: Nemesis = {
  name: "reset",
  weight: 2,
  async run(context) {
    const { cluster, chance } = context;
    const [one, other] = await pair(context);
    const count = chance.integer(1, 6);
    for (let i = 0; i < count; i++) {
      cluster.proxy.reset(name(one), name(other));
      await wait(chance.logarithmic(5, 800), context);
    }
    return { detail: `${count} times between masters ${one} and ${other}`, isFailover: false };
  },
};

const flip: Nemesis = {
  name: "flip",
  weight: 3,
  async run(context) {
    const { cluster, chance } = context;
    const [one, other] = await pair(context);
    const count = chance.integer(1, 20);
    for (let i = 0; i < count; i++) {
      const [from, to] = chance.oneIn(2) ? [one, other] : [other, one];
      cluster.proxy.direction(name(from), name(to)).flip(chance.unit());
      await wait(chance.logarithmic(5, 300), context);
    }
    return { detail: `${count} bits between masters ${one} and ${other}`, isFailover: false };
  },
};

const worker: Nemesis = {
  name: "worker",
  weight: 2,
  async run(context) {
    const { cluster, chance } = context;
    const { number } = chance.pick(cluster.nodes("worker"));
    if (chance.oneIn(2)) {
      cluster.kill("worker", number);
      await wait(chance.logarithmic(20, 2000), context);
      await cluster.untilDown("worker", number);
      cluster.startProcess("worker", number);
      return { detail: `worker ${number} killed`, isFailover: false };
    }
    const ms = chance.logarithmic(STOP_MS_MIN, 5000);
    const isFrozen = cluster.freeze("worker", number);
    try {
      await wait(ms, context);
    } finally {
      if (isFrozen) cluster.thaw("worker", number);
    }
    return { detail: `worker ${number} stopped for ${Math.round(ms)} ms`, isFailover: false };
  },
};

const NO_QUORUM_COMMANDS = "this build has no `journal quorum elect|add|remove`";

const transfer: Nemesis = {
  name: "transfer",
  weight: 3,
  missing: ({ abilities }) => (abilities.changesQuorum ? null : NO_QUORUM_COMMANDS),
  async run({ cluster, chance }) {
    const leader = await cluster.leader();
    const to = chance.oneIn(5) ? leader : chance.pick(others(cluster, leader));
    const outcome = await elect(cluster, to);
    return { detail: `master ${leader} to ${to}, ${outcome}`, isFailover: false };
  },
};

/** A member loses its disk, and comes back as a new one; it is removed before, meanwhile, or not at all. */
const wipe: Nemesis = {
  name: "wipe",
  weight: 2,
  missing: ({ abilities }) => (abilities.changesQuorum ? null : NO_QUORUM_COMMANDS),
  async run({ cluster, chance }) {
    // Of two disks that are lost at a time nobody can make up for.
    cluster.reviveAll();
    await cluster.untilHealthy();
    const leader = await cluster.leader();
    const number = chance.oneIn(3) ? leader : chance.pick(others(cluster, leader));
    const address = cluster.journalAddress(number);
    const removed = chance.pick(["first", "meanwhile", "not"] as const);
    const command = async (verb: string) => {
      const { exit, text } = await cluster.cli("journal", "quorum", verb, "-address", address);
      if (exit !== 0) throw new Error(`journal quorum ${verb} -address ${address}: ${text}`);
    };
    if (removed === "first") {
      // It is told, and goes.
      cluster.mayEnd("master", number, [EXIT.expelled]);
      await command("remove");
    }
    cluster.kill("master", number);
    await cluster.untilDown("master", number);
    if (removed === "meanwhile") await command("remove");
    await cluster.wipe(number);
    cluster.startProcess("master", number);
    await command("add");
    const was = number === leader ? "the leader" : "a standby";
    return { detail: `master ${number}, ${was}, removed: ${removed}`, isFailover: false };
  },
};

/** A segment of the journal is this long, and one lies ready: so much must be written before the disk matters. */
const DISK_FREE_BYTES_MIN = 150 * 1024 * 1024;

const diskFull: Nemesis = {
  name: "diskfull",
  weight: 2,
  missing: (cluster) =>
    !cluster.hasSmallDisk
      ? "there is no small disk"
      : cluster.smallDiskFreeBytes() < DISK_FREE_BYTES_MIN
        ? "the journal itself has filled the small disk"
        : null,
  async run(context) {
    const { cluster, chance } = context;
    const number = cluster.masterNumbers.length;
    const isRestarted = chance.oneIn(3);
    const loggedLength = cluster.logText(name(number)).length;
    const hasRefused = () => /readOnly/.test(cluster.logText(name(number)).slice(loggedLength));
    let filling = "";
    try {
      cluster.fillSmallDisk();
      filling = await fillJournal(cluster, hasRefused, context.signal);
      if (isRestarted && hasRefused()) {
        // It may refuse to start on a full disk; that is its right.
        cluster.kill("master", number);
        await cluster.untilDown("master", number);
        cluster.startProcess("master", number);
        cluster.mayEnd("master", number, [EXIT.cannotStart, EXIT.journalIo]);
      }
      await wait(chance.logarithmic(100, 3000), context);
    } finally {
      cluster.freeSmallDisk();
    }
    const outcome = hasRefused() ? "it took no more" : "it never needed room";
    return {
      detail: `master ${number}, ${filling}, ${outcome}${isRestarted ? ", killed meanwhile" : ""}`,
      isFailover: false,
    };
  },
};

/** Bytes of a journal are turned round while its master is down. */
const corrupt: Nemesis = {
  name: "corrupt",
  weight: 2,
  async run(context) {
    const { cluster, chance } = context;
    // With two damaged at a time, an entry may be lost on a majority: then the masters rightly stay down.
    cluster.reviveAll();
    await cluster.untilHealthy();
    const number = chance.pick(cluster.masterNumbers);
    cluster.kill("master", number);
    await cluster.untilDown("master", number);
    const damage = chance.weighted([
      ["middle", 3],
      ["torn", 2],
      ["store", 2],
      ["mark", 1],
    ] as const);
    const folder = cluster.journalFolder(number);
    const detail = {
      middle: () => damageMiddle(folder, chance),
      torn: () => tearTail(folder, chance),
      store: () => damageStore(cluster.metastoreFolder(number), chance),
      mark: () => damageMark(folder, chance),
    }[damage]();
    cluster.startProcess("master", number);
    // A row that nobody reads for a while ends it when somebody does: the start after that makes the store anew.
    if (damage === "store") cluster.mayEndAtSomeTime("master", number, EXIT.metadataDamaged);
    await cluster.untilHealthy();
    return { detail: `master ${number}: ${detail}`, isFailover: false };
  },
};

const SINGLE: readonly Nemesis[] = [
  kill,
  pause,
  rolling,
  cut,
  partition,
  clog,
  halfOpen,
  reset,
  flip,
  worker,
  transfer,
];

/** Two or three at the same time. */
const storm: Nemesis = {
  name: "storm",
  weight: 4,
  async run(context) {
    const { chance, cluster } = context;
    const able = SINGLE.filter(({ missing }) => missing === undefined || missing(cluster) === null);
    const chosen = Array.from({ length: chance.integer(2, 4) }, () => chance.pick(able));
    const results = await Promise.all(
      chosen.map((nemesis, i) => nemesis.run({ ...context, chance: chance.fork(String(i)) })),
    );
    const details = results.map(({ detail }, i) => `${chosen[i]?.name}: ${detail}`);
    return { detail: details.join("; "), isFailover: false };
  },
};

/** What a single master cannot bear, or has nobody for. */
const FOR_THREE: ReadonlySet<Nemesis> = new Set([
  ...[cut, partition, clog, halfOpen, reset, flip, transfer],
  ...[storm, corrupt, wipe],
]);

export const NEMESES: readonly Nemesis[] = [...SINGLE, storm, diskFull, corrupt, wipe].map(
  (nemesis) => ({
    ...nemesis,
    missing: (cluster) =>
      FOR_THREE.has(nemesis) && cluster.masterNumbers.length < 3
        ? "it takes three masters"
        : (nemesis.missing?.(cluster) ?? null),
  }),
);

const zookeeper: Nemesis = {
  name: "zookeeper",
  weight: 4,
  async run(context) {
    const { cluster, chance } = context;
    const servers = cluster.zookeeper;
    invariant(servers !== null, "it is only chosen with ZooKeeper");
    const isAll = chance.oneIn(4);
    const victims = isAll ? servers.numbers : [chance.pick(servers.numbers)];
    const isKill = chance.oneIn(2);
    const ms = chance.logarithmic(STOP_MS_MIN, FAULT_MS_MAX);
    for (const number of victims) servers.signal(number, isKill ? "SIGKILL" : "SIGSTOP");
    try {
      await wait(ms, context);
    } finally {
      if (!isKill) for (const number of victims) servers.signal(number, "SIGCONT");
      else await Promise.all(victims.map((number) => servers.restart(number)));
    }
    await servers.untilAllServe();
    const what = isKill ? "killed" : "stopped";
    const detail = `servers ${victims.join(", ")} ${what} for ${Math.round(ms)} ms`;
    return { detail, isFailover: false };
  },
};

/** Of masters that ZooKeeper elects. */
export const SHARED_NEMESES: readonly Nemesis[] = [kill, pause, worker, zookeeper];
