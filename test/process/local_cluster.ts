/**
 * A real cluster of real processes for tests and benches, started as a user starts one, in a temporary
 * folder and on free ports.
 * @module
 */
import { execFile } from "node:child_process";
import { randomInt } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { existingCluster, waitUntilServing } from "../../src/local/cluster.ts";
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

export type ClusterOptions = {
  readonly masters: number;
  readonly workers: number;
  readonly workerBytes?: number;
  /** `key=value` for every process. */
  readonly definitions?: readonly string[];
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
  /** RPC addresses of the masters. */
  readonly masters: readonly string[];
  readonly user = userInfo().username;
  readonly processes: Processes;

  private constructor(dir: string) {
    this.dir = dir;
    this.processes = existingCluster({ mainScript: MAIN, format: async () => {} }, dir);
    this.masters = this.#nodes("master").map(({ rpcPort }) => `localhost:${rpcPort}`);
  }

  static async start(options: ClusterOptions): Promise<LocalCluster> {
    const dir = await mkdtemp(join(tmpdir(), "rockpool-cluster-"));
    const offset = await freePortOffset(options.masters, options.workers);
    const quota = options.workerBytes ?? 1024 ** 3;
    const words = [
      ...["local", "start", "--dir", dir, "--port-offset", String(offset)],
      ...["--masters", String(options.masters), "--workers", String(options.workers)],
      ...["--worker-quota", String(quota)],
      ...(options.definitions ?? []).map((definition) => `-D${definition}`),
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
    return new LocalCluster(dir);
  }

  #nodes(kind: NodeKind): readonly LocalNode[] {
    return this.processes.nodes.filter((node) => node.kind === kind);
  }

  node(kind: NodeKind, number: number): LocalNode {
    const found = this.#nodes(kind).find((node) => node.number === number);
    if (found === undefined) throw new Error(`There is no ${kind} ${number}`);
    return found;
  }

  /** Runs a command of bin/rockpool against this cluster. */
  async cli(
    ...words: readonly string[]
  ): Promise<{ exit: number; stdout: string; stderr: string }> {
    const env = { ...process.env, ALLUXIO_CONF_DIR: join(this.dir, "conf") };
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
    await run(process.execPath, [CLI, "local", "start", kind, String(number), "--dir", this.dir]);
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
