/**
 * A chaos run: clients work, nemeses do their worst, everything heals, and what was acknowledged is looked for.
 * @module
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "../../src/common/errors.ts";
import { ZooKeeperServers } from "../services/zookeeper_servers.ts";
import { ChaosCluster, until } from "./chaos_cluster.ts";
import type { ClientProcessOptions, ClientReport } from "./client_process.ts";
import { type FinalReads, readEverything } from "./final_reads.ts";
import { HistoryWriter, nowNs, type Operation, readHistory } from "./history.ts";
import { judge } from "./linearizability.ts";
import type { Nemesis } from "./nemesis.ts";
import { checkContents, checkKept } from "./own_checks.ts";
import { Chance } from "./random.ts";
import { compareReplicas } from "./replicas.ts";
import { countsOf, failoverGapsMs, histogramOf, type NemesisRun, tableOf } from "./report.ts";
import { Connection, KEPT, Recorder } from "./workload.ts";

export type ChaosOptions = {
  readonly seed: string;
  readonly minutes: number;
  readonly masters: number;
  readonly workers: number;
  readonly nemeses: readonly Nemesis[];
  /** ZooKeeper elects the masters, and they share a journal. */
  readonly isShared: boolean;
  readonly mainScript: string;
  readonly clientScript: string;
  /** Null: linearizability is not judged. */
  readonly checker: string | null;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
};

const CLIENT_PROCESSES = 2;
const CLIENTS_PER_PROCESS = 5;
const EPOCH_MS = 5000;
const PARTITIONS_PER_EPOCH = 3;
const THINK_MS = 15;
/** Every other client gives up soon, and so does not know; the others wait until they know. */
const IMPATIENT_MS = 1500;
const PATIENT_MS = 100_000;
/** Some clients connect anew after so many operations. */
const RESTLESS = 5;
/** Acknowledgements that show that the cluster serves. */
const PROGRESS_COUNT = 20;
const SMALL_DISK_BYTES = 768 * 1024 * 1024;
const PORCUPINE_SECONDS = 60;
const ZOOKEEPER_SERVERS = 3;
/** Of partitions that could not be judged in time more than this is no verdict. */
const UNDECIDED_SHARE_MAX = 0.1;

class Clients {
  readonly historyPaths: string[] = [];
  readonly #children: ChildProcess[] = [];
  readonly #acknowledged: number[] = [];
  readonly #ends: Promise<unknown>[] = [];
  #failure: string | null = null;

  constructor(cluster: ChaosCluster, options: ChaosOptions, beganNs: number, folder: string) {
    for (let p = 0; p < CLIENT_PROCESSES; p++) {
      const historyPath = join(folder, `clients-${p}.jsonl`);
      this.historyPaths.push(historyPath);
      const clients = Array.from({ length: CLIENTS_PER_PROCESS }, (_, i) => ({
        client: p * CLIENTS_PER_PROCESS + i,
        callTimeoutMs: i % 2 === 0 ? PATIENT_MS : IMPATIENT_MS,
        operationsPerConnection: i === 2 || i === 3 ? RESTLESS : Number.MAX_SAFE_INTEGER,
        onlyReads: i === 0,
      }));
      const given: ClientProcessOptions = {
        seed: options.seed,
        masters: cluster.masterAddresses,
        user: userInfo().username,
        historyPath,
        clients,
        beganNs,
        epochMs: EPOCH_MS,
        partitionsPerEpoch: PARTITIONS_PER_EPOCH,
        thinkMs: THINK_MS,
      };
      const child = fork(options.clientScript, [JSON.stringify(given)], {
        execArgv: ["--enable-source-maps"],
      });
      this.#acknowledged.push(0);
      child.on("message", (report: ClientReport) => {
        this.#acknowledged[p] = report.acknowledged;
      });
      child.on("exit", (code) => {
        if (code !== 0) this.#failure ??= `Client process ${p} ended with ${code}`;
      });
      this.#children.push(child);
      this.#ends.push(once(child, "exit"));
    }
  }

  get acknowledged(): number {
    if (this.#failure !== null) throw new Error(this.#failure);
    return this.#acknowledged.reduce((sum, count) => sum + count, 0);
  }

  /** Changes are acknowledged (again). */
  async progress(): Promise<void> {
    const target = this.acknowledged + PROGRESS_COUNT;
    await until("clients get acknowledgements", () => this.acknowledged >= target);
  }

  /** Lets every client end what it does. */
  async finish(): Promise<void> {
    for (const child of this.#children) if (child.connected) child.send("stop");
    await Promise.all(this.#ends);
    if (this.#failure !== null) throw new Error(this.#failure);
  }

  kill(): void {
    for (const child of this.#children) child.kill("SIGKILL");
  }
}

/** Runs nemeses, one after the other, until the time is over. */
async function torment(
  cluster: ChaosCluster,
  clients: Clients,
  options: ChaosOptions,
  beganNs: number,
): Promise<NemesisRun[]> {
  const { seed, minutes, say, signal } = options;
  const runs: NemesisRun[] = [];
  const schedule = new Chance(`${seed}/schedule`);
  // Every run has its own mixture (swarm testing).
  const nemeses = options.nemeses.map(
    (nemesis) => [nemesis, nemesis.weight * schedule.logarithmic(0.3, 3)] as const,
  );
  const isAble = ({ missing }: Nemesis) => missing === undefined || missing(cluster) === null;
  for (const { name, missing } of options.nemeses) {
    const why = missing?.(cluster) ?? null;
    if (why !== null) say(`left out: ${name}, ${why}`);
  }
  const sinceNs = () => nowNs() - beganNs;
  const endNs = minutes * 60e9;
  await clients.progress();
  while (sinceNs() < endNs) {
    signal.throwIfAborted();
    const able = nemeses.filter(([one]) => isAble(one));
    if (able.length === 0) throw new Error("None of the nemeses can run here");
    const nemesis = schedule.weighted(able);
    const chance = schedule.fork(`nemesis ${runs.length}`);
    await delay(schedule.logarithmic(100, 1500), undefined, { signal });
    const startNs = sinceNs();
    const { detail, isFailover } = await nemesis.run({ cluster, chance, signal });
    runs.push({ name: nemesis.name, startNs, endNs: sinceNs(), detail, isFailover });
    say(`${(startNs / 1e9).toFixed(1).padStart(7)} s  ${nemesis.name}: ${detail}`);
    cluster.noteDeaths();
    if (schedule.oneIn(4)) continue; // into the recovery of the one before
    cluster.reviveAll();
    await cluster.untilHealthy();
    await clients.progress();
  }
  return runs;
}

type Evidence = {
  readonly runs: readonly NemesisRun[];
  readonly finalReads: FinalReads;
  readonly histories: readonly string[];
  readonly operations: readonly Operation[];
};

function checkAll({ finalReads, operations }: Evidence, cluster: ChaosCluster): string[] {
  const isKept = (path: string) => path.startsWith(`${KEPT}/`);
  const kept = operations.filter(({ kind, partition }) => kind === "write" && isKept(partition));
  const keptFiles = finalReads.files.filter(({ path }) => isKept(path));
  return [
    ...cluster.deaths.map(
      ({ name, lastLines }) => `${name} ended though nobody ended it:\n${lastLines}`,
    ),
    ...cluster.fatalLines(),
    ...finalReads.unreadable.map((line) => `cannot be read: ${line}`),
    ...checkKept(kept, keptFiles),
    ...checkContents(operations, finalReads.files),
    ...(cluster.proxy.counts.unidentified === 0
      ? []
      : [`The proxy could not tell who dialled ${cluster.proxy.counts.unidentified} times`]),
  ];
}

async function checkLinearizability(
  { histories }: Evidence,
  folder: string,
  { checker, say }: ChaosOptions,
): Promise<string[]> {
  if (checker === null) return [];
  const judgements = await judge(checker, histories, {
    folder,
    timeoutSeconds: PORCUPINE_SECONDS,
  });
  const operationCount = judgements.reduce((sum, { operations }) => sum + operations, 0);
  const undecided = judgements.filter(({ result }) => result === "Unknown");
  say(
    `Porcupine: ${operationCount} operations in ${judgements.length} partitions: ${countsOf(judgements.map(({ result }) => result))}`,
  );
  const wrong = judgements
    .filter(({ result }) => result === "Illegal")
    .map(
      ({ partition, visualization }) => `${partition} is not linearizable: see ${visualization}`,
    );
  if (undecided.length > judgements.length * UNDECIDED_SHARE_MAX)
    wrong.push(`${undecided.length} partitions could not be judged in ${PORCUPINE_SECONDS} s each`);
  return wrong;
}

function printReport(
  { runs, operations }: Evidence,
  cluster: ChaosCluster,
  say: ChaosOptions["say"],
): void {
  say("");
  for (const line of tableOf(operations)) say(line);
  const errors = operations.flatMap(({ error }) => (error === undefined ? [] : [error]));
  const kinds = errors.map((error) => error.slice(0, 100).replaceAll(/\d+/g, "N"));
  if (errors.length > 0) say(`unknown because of: ${countsOf(kinds)}`);
  say(`nemeses: ${countsOf(runs.map(({ name }) => name))}`);
  const { connections, refused, resets, orphans } = cluster.proxy.counts;
  const flips = cluster.proxy.directions.reduce((sum, { counts }) => sum + counts.flips, 0);
  const held = cluster.proxy.directions.reduce((sum, { counts }) => sum + counts.heldChunks, 0);
  say(
    `links: ${connections} connections, ${refused} refused, ${resets} reset, ${orphans} orphaned, ${flips} bits flipped, ${held} chunks held`,
  );
  say("time without an acknowledged change when the leader was killed:");
  for (const line of histogramOf(failoverGapsMs(operations, runs))) say(`  ${line}`);
}

/** Violations, a line each; empty when all is well. */
async function runOn(
  cluster: ChaosCluster,
  options: ChaosOptions,
  folder: string,
): Promise<string[]> {
  const { say } = options;
  const beganNs = nowNs();
  const clients = new Clients(cluster, options, beganNs, folder);
  const wrong: string[] = [];
  let runs: NemesisRun[] = [];
  try {
    runs = await torment(cluster, clients, options, beganNs);
    say("healing");
    cluster.proxy.heal();
    cluster.reviveAll();
    await cluster.untilHealthy();
    await clients.progress();
    await clients.finish();
  } finally {
    clients.kill();
  }
  const finalPath = join(folder, "final.jsonl");
  const history = new HistoryWriter(finalPath);
  const connection = new Connection(cluster.masterAddresses, userInfo().username, PATIENT_MS);
  const recorder = new Recorder({
    history,
    client: CLIENT_PROCESSES * CLIENTS_PER_PROCESS,
    beganNs,
  });
  const finalReads = await readEverything(connection, recorder);
  await connection.close();
  history.close();
  cluster.noteDeaths();
  const histories = [...clients.historyPaths, finalPath];
  const evidence: Evidence = { runs, finalReads, histories, operations: readHistory(histories) };
  writeFileSync(join(folder, "nemeses.json"), JSON.stringify(runs, null, 1));
  printReport(evidence, cluster, say);
  say(`at the end: ${finalReads.files.length} files`);
  wrong.push(...(await compareReplicas(cluster, say)));
  wrong.push(...checkAll(evidence, cluster));
  wrong.push(...(await checkLinearizability(evidence, folder, options)));
  return wrong;
}

/**
 * @returns violations, a line each; with any, the folder with all histories and logs is left and named
 * @throws when the run cannot be made
 */
export async function runChaos(options: ChaosOptions): Promise<readonly string[]> {
  const { seed, masters, workers, mainScript, say } = options;
  const cluster = await ChaosCluster.start({
    masters,
    workers,
    mainScript,
    chance: new Chance(`${seed}/cluster`),
    smallDisk: options.nemeses.some(({ name }) => name === "diskfull")
      ? { master: masters, sizeBytes: SMALL_DISK_BYTES }
      : null,
    zookeeper: options.isShared ? await ZooKeeperServers.start(ZOOKEEPER_SERVERS) : null,
    say,
  });
  if (cluster.patientMaster !== null)
    say(`master ${cluster.patientMaster} is far more patient than the others`);
  const folder = join(cluster.dir, "chaos");
  mkdirSync(folder);
  let wrong: string[] = ["The run was not finished"];
  try {
    wrong = await runOn(cluster, options, folder);
  } catch (error) {
    if (options.signal.aborted) wrong = [];
    else wrong = [`The run failed: ${messageOf(error)}`, ...cluster.fatalLines()];
  } finally {
    await cluster.stop({ keepsFolder: wrong.length > 0 });
    if (wrong.length > 0) say(`Histories, logs and journals are kept in ${cluster.dir}`);
  }
  return wrong;
}
