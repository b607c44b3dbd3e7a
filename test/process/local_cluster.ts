/**
 * A real cluster of real processes for tests and benches, started as a user starts one, in a temporary
 * folder and on free ports.
 * @module
 */
import { execFile } from "node:child_process";
import { randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { loadConfiguration } from "../../src/conf/load.ts";
import { formatMaster, formatWorker } from "../../src/format.ts";
import { prepareMaster } from "../../src/local/add_master.ts";
import { existingCluster, type LocalParts, waitUntilServing } from "../../src/local/cluster.ts";
import { logFile, nodeConfDir, nodeDir } from "../../src/local/cluster_files.ts";
import { type LocalNode, type NodeKind, planNodes, portsOf } from "../../src/local/plan.ts";
import { askHealth, findLeader, takenPorts } from "../../src/local/probe.ts";
import { signalProcess } from "../../src/local/process_table.ts";
import {
  type LocalCluster as Processes,
  runningIdentity,
  stopNodes,
} from "../../src/local/processes.ts";

const run = promisify(execFile);
const CLI = resolve("dist/cli.cjs");
const MAIN = resolve("dist/main.js");
const ASK_TIMEOUT_MS = 500;
/** Long enough for a machine that runs other tests too; a condition that takes longer never comes. */
const CONDITION_TIMEOUT_MS = 120_000;

const PARTS: LocalParts = {
  mainScript: MAIN,
  async format({ kind, home, confDir, definitions }) {
    const variables = {};
    const { configuration } = loadConfiguration({
      kind,
      definitions,
      variables,
      home,
      confDir,
    });
    if (kind === "master") await formatMaster(configuration, Date.now());
    else formatWorker(configuration);
  },
};

export type ClusterOptions = {
  readonly masters: number;
  readonly workers: number;
  readonly workerBytes?: number;
  /** `key=value` for every process. */
  readonly definitions?: readonly string[];
};

export type CommandResult = {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
};

/** A shift that leaves all ports of such a cluster free. Ports of the defaults stay with the user's own cluster. */
export async function freePortOffset(masterCount: number, workerCount: number): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const portOffset = randomInt(-9000, -1000);
    const nodes = planNodes({ masterCount, workerCount, portOffset, workerQuota: "1GB" });
    const ports = nodes.flatMap(portsOf);
    if ((await takenPorts(ports)).length === 0) return portOffset;
  }
  throw new Error("No free range of ports was found");
}

export class LocalCluster {
  readonly dir: string;
  readonly user = userInfo().username;
  readonly #definitions: readonly string[];
  #processes: Processes;

  private constructor(dir: string, definitions: readonly string[]) {
    this.dir = dir;
    this.#definitions = definitions;
    this.#processes = existingCluster(PARTS, dir);
  }

  get processes(): Processes {
    return this.#processes;
  }

  /** RPC addresses of the masters. */
  get masters(): readonly string[] {
    return this.#nodes("master").map(({ rpcPort }) => `localhost:${rpcPort}`);
  }

  static async start(options: ClusterOptions): Promise<LocalCluster> {
    const dir = await mkdtemp(join(tmpdir(), "rockpool-cluster-"));
    const offset = await freePortOffset(options.masters, options.workers);
    const quota = options.workerBytes ?? 1024 ** 3;
    const definitions = (options.definitions ?? []).map((definition) => `-D${definition}`);
    const words = [
      ...["local", "start", "--dir", dir, "--port-offset", String(offset)],
      ...["--masters", String(options.masters), "--workers", String(options.workers)],
      ...["--worker-quota", String(quota)],
      ...definitions,
    ];
    try {
      await run(process.execPath, [CLI, ...words]);
    } catch (error) {
      // Some of its processes may run: they end before their folder goes.
      await run(process.execPath, [CLI, "local", "stop", "--dir", dir]).catch(() => undefined);
      await rm(dir, { recursive: true, force: true });
      const { stdout = "" } = error as { stdout?: string }; // as execFile documents it
      throw new Error(`The cluster did not start: ${stdout}`, { cause: error });
    }
    return new LocalCluster(dir, definitions);
  }

  #nodes(kind: NodeKind): readonly LocalNode[] {
    return this.processes.nodes.filter((node) => node.kind === kind);
  }

  /** Makes one more master ready; `startProcess` starts it, and the others know it when it asks to join. */
  async addMaster(): Promise<LocalNode> {
    const { node } = await prepareMaster(PARTS, this.dir);
    this.reload();
    return node;
  }

  /** Looks again at what the cluster consists of, after a command has changed it. */
  reload(): void {
    this.#processes = existingCluster(PARTS, this.dir);
  }

  /** Empties the journal and the metadata of a master that is down, as a new disk does. */
  async wipe(number: number): Promise<void> {
    const home = nodeDir(this.dir, this.node("master", number));
    for (const folder of ["journal", "metastore"])
      await rm(join(home, folder), { recursive: true, force: true });
    await this.format(number);
  }

  async format(number: number): Promise<void> {
    const node = this.node("master", number);
    const confDir = nodeConfDir(this.dir, node);
    await PARTS.format({
      kind: "master",
      home: nodeDir(this.dir, node),
      confDir,
      definitions: this.#definitions.map((definition) => definition.slice(2)),
    });
  }

  /** The journal's folder of a master. */
  journalOf(number: number): string {
    return join(nodeDir(this.dir, this.node("master", number)), "journal");
  }

  /** What a process has written to its log. */
  log(kind: NodeKind, number: number): string {
    return readFileSync(logFile(this.dir, this.node(kind, number)), "utf8");
  }

  /** Address of a master's journal. */
  journalAddress(number: number): string {
    return `localhost:${this.node("master", number).journalPort}`;
  }

  node(kind: NodeKind, number: number): LocalNode {
    const found = this.#nodes(kind).find((node) => node.number === number);
    if (found === undefined) throw new Error(`There is no ${kind} ${number}`);
    return found;
  }

  /** Runs a command of bin/rockpool against this cluster. */
  cli(...words: readonly string[]): Promise<CommandResult> {
    return this.#run({ ALLUXIO_CONF_DIR: join(this.dir, "conf") }, words);
  }

  /** Runs a command as if on the host of a master, with its configuration. */
  masterCli(number: number, ...words: readonly string[]): Promise<CommandResult> {
    const node = this.node("master", number);
    const variables = {
      ALLUXIO_HOME: nodeDir(this.dir, node),
      ALLUXIO_CONF_DIR: nodeConfDir(this.dir, node),
    };
    return this.#run(variables, words);
  }

  async #run(
    variables: Readonly<Record<string, string>>,
    words: readonly string[],
  ): Promise<CommandResult> {
    const env = { ...process.env, ...variables };
    try {
      const { stdout, stderr } = await run(process.execPath, [CLI, ...words], {
        env,
        maxBuffer: 64 * 1024 ** 2,
      });
      return { exit: 0, stdout, stderr };
    } catch (error) {
      const failure = error as { code?: unknown; stdout?: string; stderr?: string }; // as execFile documents it
      if (typeof failure.code !== "number") throw error;
      return { exit: failure.code, stdout: failure.stdout ?? "", stderr: failure.stderr ?? "" };
    }
  }

  /** Waits for a condition; fails with its description when it never comes. */
  async until(description: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    const deadlineMs = performance.now() + CONDITION_TIMEOUT_MS;
    while (!(await holds())) {
      if (performance.now() > deadlineMs) throw new Error(`In vain: ${description}`);
      await delay(10);
    }
  }

  /** Number of the master that serves, leaving out some; null when none does. */
  async leaderAmong(without: readonly number[]): Promise<number | null> {
    const asked = this.#nodes("master").filter(({ number }) => !without.includes(number));
    return (await findLeader(asked, ASK_TIMEOUT_MS))?.number ?? null;
  }

  /** Number of the master that serves; waits for one. */
  async leader(): Promise<number> {
    let leader: number | null = null;
    await this.until("a master leads", async () => {
      leader = await this.leaderAmong([]);
      return leader !== null;
    });
    return leader ?? -1;
  }

  async leaderAddress(): Promise<string> {
    return `localhost:${this.node("master", await this.leader()).rpcPort}`;
  }

  isRunning(kind: NodeKind, number: number): boolean {
    return runningIdentity(this.processes, this.node(kind, number)) !== null;
  }

  pid(kind: NodeKind, number: number): number {
    const identity = runningIdentity(this.processes, this.node(kind, number));
    if (identity === null) throw new Error(`${kind} ${number} does not run`);
    return identity.pid;
  }

  kill(
    kind: NodeKind,
    number: number,
    signal: "SIGKILL" | "SIGSTOP" | "SIGCONT" | "SIGTERM",
  ): void {
    const identity = runningIdentity(this.processes, this.node(kind, number));
    if (identity === null || !signalProcess(identity, signal))
      throw new Error(`${kind} ${number} does not run`);
  }

  async startProcess(kind: NodeKind, number: number): Promise<void> {
    const words = ["local", "start", kind, String(number), "--dir", this.dir, ...this.#definitions];
    const { exit, stdout, stderr } = await this.cli(...words);
    if (exit !== 0) throw new Error(`${kind} ${number} did not start: ${stdout}${stderr}`);
  }

  /** Every process does its duty and somebody leads. */
  async untilHealthy(): Promise<void> {
    await waitUntilServing(
      this.processes,
      // Of what they logged before this moment nothing counts.
      this.processes.nodes.map((node) => ({ node, logFromByte: Number.POSITIVE_INFINITY })),
    );
  }

  async isHealthy(kind: NodeKind, number: number): Promise<boolean> {
    return (await askHealth(this.node(kind, number), ASK_TIMEOUT_MS))?.isHealthy === true;
  }

  /** Ends everything and removes the folder. */
  async stop(): Promise<void> {
    await stopNodes(this.processes, this.processes.nodes);
    await rm(this.dir, { recursive: true, force: true });
  }
}
