/**
 * `exec journalCrashTest`: a cluster of its own, whose leader is killed with SIGKILL again and again while clients change
 * the namespace. At the end every acknowledged change must be there, once, and the journals must be sound.
 *
 * Options and the words of its lines are those of Alluxio's test of that name, which does it to the cluster it finds.
 * @module
 */
import { randomInt } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { FileSystem } from "../client/file_system.ts";
import { RockpoolError } from "../common/errors.ts";
import { loadConfiguration } from "../conf/load.ts";
import { type LocalParts, openCluster, startDown, waitUntilServing } from "../local/cluster.ts";
import { nodeConfDir, nodeDir } from "../local/cluster_files.ts";
import { HOST, type LocalNode, planNodes, portsOf } from "../local/plan.ts";
import { findLeader, takenPorts } from "../local/probe.ts";
import { isRunning, signalProcess } from "../local/process_table.ts";
import { type LocalCluster, runningIdentity, stopNodes } from "../local/processes.ts";
import type { ParsedArguments } from "./arguments.ts";
import { type Command, countOf } from "./command.ts";
import { EXIT_FAILED, EXIT_OK, green, red, say } from "./console.ts";
import type { JournalToolParts } from "./journal_tools.ts";
import type { Session } from "./session.ts";

export type CrashTestParts = {
  readonly local: LocalParts;
  readonly journalTools: JournalToolParts;
};

const KINDS = ["creates", "deletes", "renames"] as const;
type Kind = (typeof KINDS)[number];
const FOLDERS: Readonly<Record<Kind, string>> = {
  creates: "createFile",
  deletes: "createDelete",
  renames: "createRename",
};
const ASK_MS = 500;
/** A lone master that was killed is back well before. */
const CALL_TIMEOUT_MS = 60_000;
const PORT_TRIES = 50;
/** A process ends a moment after its SIGKILL. */
const GONE_POLL_MS = 2;
const THREADS_MAX = 64;
const SECONDS_MAX = 3600;
const PROBLEMS_SHOWN = 20;

type Plan = {
  readonly masters: number;
  readonly maxAliveMs: number;
  readonly totalMs: number;
  readonly threads: Readonly<Record<Kind, number>>;
  readonly directory: string;
};

function planOf(given: ParsedArguments): Plan {
  const number = (flag: string, byDefault: number, max: number) => {
    const value = countOf(given.value(flag) ?? String(byDefault), `-${flag}`);
    if (value <= max) return value;
    throw new RockpoolError("INVALID_ARGUMENT", `-${flag} is ${value}`, `Give at most ${max}`);
  };
  const plan = {
    masters: Math.max(1, number("masters", 1, 5)),
    maxAliveMs: 1000 * Math.max(1, number("maxAlive", 5, SECONDS_MAX)),
    totalMs: 1000 * number("totalTime", 20, SECONDS_MAX),
    threads: {
      creates: number("creates", 2, THREADS_MAX),
      deletes: number("deletes", 2, THREADS_MAX),
      renames: number("renames", 2, THREADS_MAX),
    },
    directory: given.value("testDir") ?? "/default_tests_files",
  };
  if (plan.totalMs >= plan.maxAliveMs) return plan;
  throw new RockpoolError(
    "INVALID_ARGUMENT",
    `-totalTime ${plan.totalMs / 1000} is shorter than -maxAlive ${plan.maxAliveMs / 1000}`,
    "Give a longer -totalTime",
  );
}

async function freePortOffset(masterCount: number): Promise<number> {
  for (let tries = 0; tries < PORT_TRIES; tries++) {
    const portOffset = randomInt(-9000, -1000);
    const nodes = planNodes({ masterCount, workerCount: 1, portOffset, workerQuota: "64MB" });
    if ((await takenPorts(nodes.flatMap(portsOf))).length === 0) return portOffset;
  }
  throw new RockpoolError("UNAVAILABLE", "No free ports were found", "Try again");
}

/** One client, in a folder of its own: a change after the other, until it is told to stop. */
class Worker {
  readonly #files: FileSystem;
  readonly #kind: Kind;
  readonly #folder: string;
  /** Rounds that were acknowledged as a whole; the next one may be done in part. */
  #done = 0;

  constructor(files: FileSystem, kind: Kind, folder: string) {
    this.#files = files;
    this.#kind = kind;
    this.#folder = folder;
  }

  get done(): number {
    return this.#done;
  }

  async run(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      const path = `${this.#folder}/${this.#done}`;
      await this.#files.writeFile(path, "", { writeType: "MUST_CACHE" });
      if (this.#kind === "deletes") await this.#files.delete(path);
      if (this.#kind === "renames") await this.#files.rename(path, `${path}-rename`);
      this.#done += 1;
    }
  }

  /** What is not as it was acknowledged. */
  async problems(): Promise<string[]> {
    const wanted = new Set<string>();
    for (let number = 0; number < this.#done; number++)
      if (this.#kind === "creates") wanted.add(`${number}`);
      else if (this.#kind === "renames") wanted.add(`${number}-rename`);
    const found: string[] = [];
    for await (const { name, path } of this.#files.listStatus(this.#folder)) {
      if (wanted.delete(name)) continue;
      // The one that nobody acknowledged may have come about or not.
      if (name === `${this.#done}` || name === `${this.#done}-rename`) continue;
      found.push(`${path} is there, and must not be`);
    }
    for (const name of wanted) found.push(`${this.#folder}/${name} was acknowledged, and is lost`);
    return found;
  }
}

/** Kills the leader, and starts it again. @returns how long nobody led, in ms */
async function crash(cluster: LocalCluster): Promise<number> {
  const leader = await findLeader(masters(cluster), ASK_MS);
  const [first] = masters(cluster);
  const victim = leader ?? first;
  const identity = victim === undefined ? null : runningIdentity(cluster, victim);
  if (identity === null || !signalProcess(identity, "SIGKILL"))
    throw new RockpoolError("ABORTED", "The leading master ended by itself", "See its log");
  const killedMs = performance.now();
  while (isRunning(identity)) await sleep(GONE_POLL_MS);
  await waitUntilServing(cluster, startDown(cluster));
  return Math.round(performance.now() - killedMs);
}

function masters(cluster: LocalCluster): readonly LocalNode[] {
  return cluster.nodes.filter(({ kind }) => kind === "master");
}

async function attack(
  session: Session,
  cluster: LocalCluster,
  plan: Plan,
): Promise<{ readonly workers: readonly Worker[]; readonly problems: readonly string[] }> {
  const { console } = session;
  const addresses = masters(cluster).map(({ rpcPort }) => `${HOST}:${rpcPort}`);
  const files = await FileSystem.connect({ masters: addresses, callTimeoutMs: CALL_TIMEOUT_MS });
  try {
    const workers: Worker[] = [];
    for (const kind of KINDS)
      for (let thread = 0; thread < plan.threads[kind]; thread++) {
        const folder = `${plan.directory}/${FOLDERS[kind]}/${thread}`;
        await files.createDirectory(folder, { writeType: "MUST_CACHE" });
        workers.push(new Worker(files, kind, folder));
      }
    const endMs = performance.now() + plan.totalMs;
    let isOver = false;
    const running = Promise.all(workers.map((worker) => worker.run(() => isOver)));
    const rounds = async () => {
      for (let round = 0; !isOver && performance.now() < endMs; round++) {
        const aliveMs = Math.min(randomInt(1, plan.maxAliveMs), endMs - performance.now());
        await say(console, `Round ${round}: Planning Master Alive Time ${Math.round(aliveMs)}ms.`);
        await sleep(Math.max(0, aliveMs), undefined, { signal: console.signal });
        await say(console, `Round ${round} : Crash Master...`);
        await say(
          console,
          `Round ${round} : A master leads again after ${await crash(cluster)} ms`,
        );
      }
    };
    const crashing = rounds();
    try {
      // A client that fails ends the test, too.
      await Promise.race([crashing, running]);
    } finally {
      isOver = true;
      // Else a master would be started behind the back of who stops them all.
      await crashing.catch(() => {}); // the first failure is the one to tell
    }
    await running;
    await say(console, "Check Status...");
    const problems = (await Promise.all(workers.map((worker) => worker.problems()))).flat();
    return { workers, problems };
  } finally {
    await files.close();
  }
}

async function journalProblems(cluster: LocalCluster, tools: JournalToolParts): Promise<string[]> {
  const found: string[] = [];
  for (const node of masters(cluster)) {
    const { configuration } = loadConfiguration({
      kind: "master",
      definitions: [],
      variables: {},
      home: nodeDir(cluster.dir, node),
      confDir: nodeConfDir(cluster.dir, node),
    });
    const { lines, isDamaged } = await tools.verify(configuration, null, true);
    if (isDamaged) found.push(`The journal of ${node.name} is damaged:`, ...lines);
  }
  return found;
}

async function run(session: Session, plan: Plan, parts: CrashTestParts): Promise<number> {
  const { console } = session;
  const dir = await mkdtemp(join(tmpdir(), "rockpool-crash-test-"));
  let cluster: LocalCluster | null = null;
  let isKept = false;
  try {
    await say(console, "Start Journal Crash Test...");
    const portOffset = await freePortOffset(plan.masters);
    const shape = { masterCount: plan.masters, workerCount: 1, portOffset, workerQuota: "64MB" };
    const opened = await openCluster(parts.local, { dir, shape, definitions: [], mayRun: false });
    cluster = opened.cluster;
    await waitUntilServing(cluster, startDown(cluster));
    const { workers, problems } = await attack(session, cluster, plan);
    await stopNodes(cluster, cluster.nodes);
    const all = [...problems, ...(await journalProblems(cluster, parts.journalTools))];
    const acknowledged = workers.reduce((sum, worker) => sum + worker.done, 0);
    await say(console, `${acknowledged} rounds of changes were acknowledged`);
    isKept = all.length > 0;
    for (const problem of all.slice(0, PROBLEMS_SHOWN)) await say(console, problem);
    if (all.length > PROBLEMS_SHOWN)
      await say(console, `and ${all.length - PROBLEMS_SHOWN} more problems`);
    if (isKept) await say(console, `Journals and logs are kept in ${dir}`);
    await say(
      console,
      isKept ? red(console, "Failed the test!") : green(console, "Passed the test!"),
    );
    return isKept ? EXIT_FAILED : EXIT_OK;
  } catch (error) {
    // The message names its logs.
    isKept = !console.signal.aborted;
    throw error;
  } finally {
    if (cluster !== null) await stopNodes(cluster, cluster.nodes);
    if (!isKept) await rm(dir, { recursive: true, force: true });
  }
}

export function journalCrashTest(load: () => Promise<CrashTestParts>): Command {
  const seconds = (name: string, help: string) => ({ names: [name], value: "seconds", help });
  const threads = (name: string, help: string) => ({ names: [name], value: "num", help });
  return {
    usage:
      "[-maxAlive <seconds>] [-totalTime <seconds>] [-creates <num>] [-deletes <num>] [-renames <num>] [-testDir <path>] [--masters <num>]",
    summary: "Test the Master Journal System in a crash scenario",
    // Its cluster ends before it does.
    makesFiles: true,
    flags: [
      seconds("maxAlive", "The maximum time a master should ever be alive during the test (5)"),
      seconds("totalTime", "The total time to run this test, greater than maxAlive (20)"),
      threads("creates", "Number of Client Threads to request create operations (2)"),
      threads("deletes", "Number of Client Threads to request create/delete operations (2)"),
      threads("renames", "Number of Client Threads to request create/rename operations (2)"),
      {
        names: ["testDir"],
        value: "path",
        help: "Test Directory on Alluxio (/default_tests_files)",
      },
      { names: ["masters"], value: "num", help: "masters of the cluster that is made for it (1)" },
    ],
    argumentsMin: 0,
    argumentsMax: 0,
    run: async (session, given) => run(session, planOf(given), await load()),
  };
}
