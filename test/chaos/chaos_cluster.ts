/**
 * A cluster of real processes, started as `npm start` does, whose masters reach each other through a fault proxy.
 *
 * Every master is known to the others by a loopback address of its own at which the proxy listens
 * (`alluxio.master.hostname`, `…embedded.journal.addresses`), and listens itself at another one
 * (`rockpool.master.journal.bind.host`) under the same port. Clients and workers reach the masters directly.
 *
 * It knows which of its processes may be down: any other that ends by itself is remembered (`deaths`).
 * @module
 */
import { execFile } from "node:child_process";
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { loadConfiguration } from "../../src/conf/load.ts";
import { formatProperty } from "../../src/conf/properties_file.ts";
import { formatMaster, formatWorker } from "../../src/format.ts";
import { openCluster } from "../../src/local/cluster.ts";
import { logFile, nodeConfDir, nodeDir } from "../../src/local/cluster_files.ts";
import { type LocalNode, type NodeKind, nodeSiteFile, planNodes } from "../../src/local/plan.ts";
import { askHealth, findLeader } from "../../src/local/probe.ts";
import { isRunning, type ProcessIdentity, signalProcess } from "../../src/local/process_table.ts";
import {
  type LocalCluster as Processes,
  runningIdentity,
  startNode,
  stopNodes,
} from "../../src/local/processes.ts";
import { freePortOffset } from "../process/local_cluster.ts";
import type { ZooKeeperServers } from "../services/zookeeper_servers.ts";
import { FaultProxy } from "./fault_proxy.ts";
import type { Chance } from "./random.ts";
import { mountSmallDisk, type SmallDiskOptions, unmount } from "./small_disk.ts";

const ASK_TIMEOUT_MS = 500;
/** Long enough for a machine that does other things too; what takes longer never comes. */
const CONDITION_TIMEOUT_MS = 120_000;
const POLL_MS = 20;
const BALLAST = "ballast";
/** Of a master with ZooKeeper: pauses are shorter and longer. */
const SESSION_MS = 2000;

export type ChaosClusterOptions = SmallDiskOptions & {
  readonly masters: number;
  readonly workers: number;
  /** The daemons as they were when the run began: another build must not change them under it. */
  readonly mainScript: string;
  readonly chance: Chance;
  /** Elects the masters, which then share a journal in a folder; null: they replicate it among themselves. Stopped with the cluster. */
  readonly zookeeper: ZooKeeperServers | null;
  readonly say: (line: string) => void;
};

/** What this build of the product can do beyond serving. */
export type Abilities = {
  /** `journal quorum elect|add|remove`. */
  readonly changesQuorum: boolean;
};

/** A process that ended though nobody ended it. */
export type Death = { readonly name: string; readonly lastLines: string };

export type Progress = {
  readonly lastIndex: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
};

/** Rejects with its description when a condition does not come. */
export async function until(
  description: string,
  holds: () => boolean | Promise<boolean>,
): Promise<void> {
  const deadlineMs = performance.now() + CONDITION_TIMEOUT_MS;
  while (!(await holds())) {
    if (performance.now() > deadlineMs) throw new Error(`In vain: ${description}`);
    await delay(POLL_MS);
  }
}

/** The text of a page; null when nobody answers in time. */
function getText(port: number, path: string): Promise<string | null> {
  return new Promise((resolve) => {
    const url = `http://localhost:${port}${path}`;
    const request = get(url, { agent: false, timeout: ASK_TIMEOUT_MS }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
      });
      response.on("end", () => resolve(text));
      response.on("close", () => resolve(null));
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => resolve(null)); // refused, reset, timed out
  });
}

export class ChaosCluster {
  readonly dir: string;
  readonly proxy: FaultProxy;
  readonly zookeeper: ZooKeeperServers | null;
  /** RPC addresses of the masters. */
  readonly masterAddresses: readonly string[];
  readonly deaths: Death[] = [];
  readonly hasSmallDisk: boolean;
  abilities: Abilities = { changesQuorum: false };
  /** Waits ten times as long as the others before it doubts its leadership, or stands for election; null when all are alike. */
  readonly patientMaster: number | null;
  readonly #processes: Processes;
  readonly #net: string;
  readonly #mounted: string[];
  /** Numbers of the masters that are stopped (SIGSTOP). */
  readonly #frozen = new Set<string>();
  readonly #killed = new Map<string, ProcessIdentity>();
  /** Exit codes that were allowed, by name. */
  readonly #allowed = new Map<string, readonly number[]>();
  /** Names of processes that run as far as anybody ended them. */
  readonly #expected = new Set<string>();

  private constructor(parts: {
    readonly dir: string;
    readonly proxy: FaultProxy;
    readonly processes: Processes;
    readonly net: string;
    readonly mounted: string[];
    readonly patientMaster: number | null;
    readonly zookeeper: ZooKeeperServers | null;
  }) {
    this.zookeeper = parts.zookeeper;
    this.patientMaster = parts.patientMaster;
    this.dir = parts.dir;
    this.proxy = parts.proxy;
    this.#processes = parts.processes;
    this.#net = parts.net;
    this.#mounted = parts.mounted;
    this.hasSmallDisk = parts.mounted.length > 0;
    this.masterAddresses = this.nodes("master").map(({ rpcPort }) => `localhost:${rpcPort}`);
  }

  static async start(options: ChaosClusterOptions): Promise<ChaosCluster> {
    const dir = await mkdtemp(join(tmpdir(), "rockpool-chaos-"));
    const portOffset = await freePortOffset(options.masters, options.workers);
    const mounted: string[] = [];
    let proxy: FaultProxy | null = null;
    let cluster: ChaosCluster | null = null;
    try {
      const shape = {
        masterCount: options.masters,
        workerCount: options.workers,
        portOffset,
        workerQuota: "512MB",
      };
      if (options.smallDisk !== null) mountSmallDisk(dir, options, mounted);
      // Not below 127.1: others use 127.0.0.1.
      const net = `127.${options.chance.integer(1, 255)}.${options.chance.integer(0, 255)}`;
      const processes = await prepare(dir, shape, net, options);
      const masters = processes.nodes.filter(({ kind }) => kind === "master");
      const members = masters.map((node) => ({
        name: node.name,
        listenHost: listenHost(net, node),
        targetHost: bindHost(net, node),
        port: node.journalPort ?? 0,
      }));
      const addresses = members.map(
        ({ name, listenHost, port }) => [name, `${listenHost}:${port}`] as const,
      );
      proxy = await FaultProxy.open(members, (bytes) => {
        // A hello carries the address of who dials, before any other one; see src/journal/peer_frame.ts.
        const text = Buffer.from(bytes).toString("latin1");
        const found = addresses
          .map(([name, address]) => ({ name, at: text.indexOf(address) }))
          .filter(({ at }) => at >= 0);
        return found.sort((one, other) => one.at - other.at)[0]?.name ?? null;
      });
      const { zookeeper } = options;
      const patientMaster = zookeeper === null ? patientMasterOf(options) : null;
      const made = { dir, proxy, processes, net, mounted, patientMaster, zookeeper };
      cluster = new ChaosCluster(made);
      for (const node of processes.nodes) cluster.startProcess(node.kind, node.number);
      await cluster.untilHealthy();
      await cluster.#probeAbilities();
      return cluster;
    } catch (error) {
      if (cluster !== null) await cluster.stop();
      else {
        await proxy?.close();
        await options.zookeeper?.stop();
        unmount(mounted);
        await rm(dir, { recursive: true, force: true });
      }
      throw error;
    }
  }

  nodes(kind: NodeKind): readonly LocalNode[] {
    return this.#processes.nodes.filter((node) => node.kind === kind);
  }

  get masterNumbers(): readonly number[] {
    return this.nodes("master").map(({ number }) => number);
  }

  node(kind: NodeKind, number: number): LocalNode {
    const found = this.nodes(kind).find((node) => node.number === number);
    if (found === undefined) throw new Error(`There is no ${kind} ${number}`);
    return found;
  }

  async #probeAbilities(): Promise<void> {
    const quorum = await this.cli("journal", "quorum", "elect");
    this.abilities = { changesQuorum: /Missing required option/.test(quorum.text) };
  }

  /** Runs a command of bin/rockpool against this cluster. */
  cli(...words: readonly string[]): Promise<{ readonly exit: number; readonly text: string }> {
    const script = join(dirname(this.#processes.mainScript), "cli.cjs");
    const env = { ...process.env, ALLUXIO_CONF_DIR: join(this.dir, "conf") };
    return new Promise((resolve) => {
      const options = { env, timeout: CONDITION_TIMEOUT_MS };
      execFile(process.execPath, [script, ...words], options, (error, stdout, stderr) =>
        resolve({ exit: error === null ? 0 : 1, text: `${stdout}${stderr}` }),
      );
    });
  }

  /** host:port by which the other masters know one. */
  journalAddress(master: number): string {
    const node = this.node("master", master);
    return `${listenHost(this.#net, node)}:${node.journalPort}`;
  }

  /** A new and empty journal for a master that is down. */
  async wipe(master: number): Promise<void> {
    rmSync(this.journalFolder(master), { recursive: true, force: true });
    rmSync(this.metastoreFolder(master), { recursive: true, force: true });
    const node = this.node("master", master);
    const confDir = nodeConfDir(this.dir, node);
    await formatNode({ kind: "master", home: nodeDir(this.dir, node), confDir });
  }

  journalFolder(master: number): string {
    return join(nodeDir(this.dir, this.node("master", master)), "disk", "journal");
  }

  /** Leaves no byte on the small disk. @returns false when there is none */
  fillSmallDisk(): boolean {
    const [folder] = this.#mounted;
    if (folder === undefined) return false;
    const file = openSync(join(folder, BALLAST), "a");
    try {
      for (let sizeBytes = 1024 * 1024; sizeBytes >= 1; sizeBytes = Math.floor(sizeBytes / 16))
        writeUntilFull(file, Buffer.alloc(sizeBytes));
    } finally {
      closeSync(file);
    }
    return true;
  }

  freeSmallDisk(): void {
    for (const folder of this.#mounted) rmSync(join(folder, BALLAST), { force: true });
  }

  /** Bytes free on the small disk. */
  smallDiskFreeBytes(): number {
    const [folder] = this.#mounted;
    if (folder === undefined) return 0;
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  }

  metastoreFolder(master: number): string {
    return join(nodeDir(this.dir, this.node("master", master)), "metastore");
  }

  isRunning(kind: NodeKind, number: number): boolean {
    return runningIdentity(this.#processes, this.node(kind, number)) !== null;
  }

  logText(name: string): string {
    const node = this.#processes.nodes.find((one) => one.name === name);
    return node === undefined ? "" : readFileSync(logFile(this.dir, node), "utf8");
  }

  /** Number of the master that serves, leaving out frozen ones; null when none does. */
  async leaderNow(): Promise<number | null> {
    const asked = this.nodes("master").filter(({ name }) => !this.#frozen.has(name));
    return (await findLeader(asked, ASK_TIMEOUT_MS))?.number ?? null;
  }

  /** Number of the master that serves; waits for one. */
  async leader(): Promise<number> {
    let leader: number | null = null;
    await until("a master leads", async () => {
      leader = await this.leaderNow();
      return leader !== null;
    });
    return leader ?? -1;
  }

  /** How far a master's log and state are; null when it does not answer. */
  async progress(number: number): Promise<Progress | null> {
    const text = await getText(this.node("master", number).webPort, "/metrics/prometheus/");
    const gauge = (name: string) => {
      const value = new RegExp(`^\\w*${name}(?:\\{[^}]*\\})? (\\d+)`, "m").exec(text ?? "")?.[1];
      return value === undefined ? null : Number(value);
    };
    const lastIndex = gauge("JournalSequenceNumber");
    const commitIndex = gauge("EmbeddedJournalCommitIndex");
    const appliedIndex = gauge("EmbeddedJournalLastAppliedIndex");
    if (lastIndex === null || commitIndex === null || appliedIndex === null) return null;
    return { lastIndex, commitIndex, appliedIndex };
  }

  /** kill -9. False when it did not run. */
  kill(kind: NodeKind, number: number): boolean {
    this.noteDeaths();
    const node = this.node(kind, number);
    this.#expected.delete(node.name);
    this.#frozen.delete(node.name);
    const identity = runningIdentity(this.#processes, node);
    if (identity === null) return false;
    this.#killed.set(node.name, identity);
    return signalProcess(identity, "SIGKILL");
  }

  /** The process that was killed last is gone; another one may run in its place by now. */
  async untilDown(kind: NodeKind, number: number): Promise<void> {
    const identity = this.#killed.get(this.node(kind, number).name);
    if (identity === undefined) return;
    await until(`${kind} ${number} is down`, () => !isRunning(identity));
  }

  /** SIGSTOP, until `thaw`. */
  freeze(kind: NodeKind, number: number): boolean {
    const node = this.node(kind, number);
    const identity = runningIdentity(this.#processes, node);
    if (identity === null || !signalProcess(identity, "SIGSTOP")) return false;
    this.#frozen.add(node.name);
    return true;
  }

  thaw(kind: NodeKind, number: number): void {
    const node = this.node(kind, number);
    this.#frozen.delete(node.name);
    const identity = runningIdentity(this.#processes, node);
    if (identity !== null) signalProcess(identity, "SIGCONT");
  }

  /** SIGTERM, and what must follow it; its end is expected. */
  async stopInOrder(kind: NodeKind, number: number): Promise<void> {
    const node = this.node(kind, number);
    this.#expected.delete(node.name);
    this.thaw(kind, number);
    const troubles = await stopNodes(this.#processes, [node]);
    if (troubles.length > 0) throw new Error(troubles.join("; "));
  }

  startProcess(kind: NodeKind, number: number): void {
    const node = this.node(kind, number);
    if (runningIdentity(this.#processes, node) !== null) return;
    const { child } = startNode(this.#processes, node);
    child.unref();
    this.#expected.add(node.name);
  }

  /** From now on this process may end by itself with one of these codes: what is done to it allows that. */
  mayEnd(kind: NodeKind, number: number, exitCodes: readonly number[]): void {
    this.#expected.delete(this.node(kind, number).name);
    for (const exitCode of exitCodes) this.mayEndAtSomeTime(kind, number, exitCode);
  }

  /** It runs, and may end with this code later, when what was done to it shows. */
  mayEndAtSomeTime(kind: NodeKind, number: number, exitCode: number): void {
    const { name } = this.node(kind, number);
    this.#allowed.set(name, [...(this.#allowed.get(name) ?? []), exitCode]);
  }

  /** Lines by which a process says that it cannot go on, and that nothing allowed. */
  fatalLines(): string[] {
    return this.#processes.nodes.flatMap(({ name }) => {
      const allowed = this.#allowed.get(name) ?? [];
      const isAllowed = (line: string) =>
        allowed.some((exitCode) => new RegExp(`exitCode"?[=:]${exitCode}\\b`).test(line));
      return this.logText(name)
        .split("\n")
        .filter((line) => /\bFATAL\b|"level":60|InvariantError/.test(line) && !isAllowed(line))
        .map((line) => `${name}: ${line.slice(0, 600)}`);
    });
  }

  /** By its last words. */
  #hasEndedAsAllowed(name: string): boolean {
    const [, code] =
      /\bFATAL\b.*exitCode"?[=:](\d+)\s*$/.exec(lastLineOf(this.logText(name))) ?? [];
    return (this.#allowed.get(name) ?? []).includes(Number(code));
  }

  /** Remembers processes that ended though nobody ended them. */
  noteDeaths(): void {
    for (const node of this.#processes.nodes) {
      if (!this.#expected.has(node.name)) continue;
      if (runningIdentity(this.#processes, node) !== null) continue;
      this.#expected.delete(node.name);
      if (this.#hasEndedAsAllowed(node.name)) continue;
      const lastLines = this.logText(node.name).trimEnd().split("\n").slice(-12).join("\n");
      this.deaths.push({ name: node.name, lastLines });
    }
  }

  /** Thaws and starts what does not run. */
  reviveAll(): void {
    this.noteDeaths();
    for (const { kind, number } of this.#processes.nodes) {
      this.thaw(kind, number);
      this.startProcess(kind, number);
    }
  }

  async isHealthy(kind: NodeKind, number: number): Promise<boolean> {
    return (await askHealth(this.node(kind, number), ASK_TIMEOUT_MS))?.isHealthy === true;
  }

  async areMastersHealthy(): Promise<boolean> {
    const answers = this.masterNumbers.map((number) => this.isHealthy("master", number));
    return (await Promise.all(answers)).every((isHealthy) => isHealthy);
  }

  /** Every process does its duty and somebody leads. Fails at once when one ends. */
  async untilHealthy(): Promise<void> {
    for (const { kind, number, name } of this.#processes.nodes)
      await until(`${kind} ${number} is healthy`, async () => {
        if (!this.isRunning(kind, number)) {
          if (this.#hasEndedAsAllowed(name)) {
            this.startProcess(kind, number); // as whoever watches over it would
            return false;
          }
          const lines = this.logText(name).trimEnd().split("\n").slice(-12).join("\n");
          throw new Error(`${name} ended instead of becoming healthy:\n${lines}`);
        }
        return this.isHealthy(kind, number);
      });
    await this.leader();
  }

  /** Ends everything; the folder stays when it is wanted. */
  async stop(options: { readonly keepsFolder?: boolean } = {}): Promise<void> {
    for (const { kind, number } of this.#processes.nodes) this.thaw(kind, number);
    for (const { kind, number } of this.#processes.nodes) this.kill(kind, number);
    await until("all processes ended", () =>
      this.#processes.nodes.every((node) => runningIdentity(this.#processes, node) === null),
    );
    await this.proxy.close();
    await this.zookeeper?.stop();
    unmount(this.#mounted);
    if (options.keepsFolder !== true) await rm(this.dir, { recursive: true, force: true });
  }
}

const listenHost = (net: string, node: LocalNode) => `${net}.${10 + node.number}`;
const bindHost = (net: string, node: LocalNode) => `${net}.${100 + node.number}`;

function lastLineOf(text: string): string {
  return text.trimEnd().split("\n").at(-1) ?? "";
}

function writeUntilFull(file: number, bytes: Buffer): void {
  try {
    while (writeSync(file, bytes) === bytes.length);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error; // fs throws nothing else
  }
}

type Shape = Parameters<typeof nodeSiteFile>[1];
type Formatted = { readonly kind: NodeKind; readonly home: string; readonly confDir: string };

async function formatNode({ kind, home, confDir }: Formatted): Promise<void> {
  const given = { kind, definitions: [], variables: {}, home, confDir };
  const { configuration } = loadConfiguration(given);
  if (kind === "master") await formatMaster(configuration, Date.now());
  else formatWorker(configuration);
}

/**
 * In every other cluster one master is far more patient than the others: when it leads and is cut off, it believes in itself while
 * they have a new leader already. No promise may hang on these times.
 */
function patientMasterOf({ chance, masters }: ChaosClusterOptions): number | null {
  const own = chance.fork("patience");
  return masters < 3 || own.oneIn(2) ? null : own.integer(1, masters + 1);
}

function electionProperties(node: LocalNode, patient: number | null): [string, string][] {
  if (patient === null) return [];
  const minMs = node.number === patient ? 2500 : 200;
  const journal = "alluxio.master.embedded.journal";
  return [
    [`${journal}.election.timeout.min`, `${minMs}ms`],
    [`${journal}.election.timeout.max`, `${2 * minMs}ms`],
    [`${journal}.heartbeat.interval`, "50ms"],
  ];
}

/** What makes a master's peers dial the proxy, and its checkpoints frequent. */
function ownProperties(
  node: LocalNode,
  net: string,
  dir: string,
  options: ChaosClusterOptions,
): [string, string][] {
  const { zookeeper } = options;
  if (zookeeper !== null)
    return [
      ["alluxio.zookeeper.enabled", "true"],
      ["alluxio.zookeeper.address", zookeeper.connectString],
      ["alluxio.zookeeper.session.timeout", `${SESSION_MS}ms`],
      ["alluxio.master.journal.folder", join(dir, "shared-journal")],
      checkpointPeriod(options),
    ];
  if (node.kind === "worker") return [];
  return [
    ...electionProperties(node, patientMasterOf(options)),
    ["alluxio.master.hostname", listenHost(net, node)],
    ["rockpool.master.journal.bind.host", bindHost(net, node)],
    ["alluxio.master.journal.folder", `\${alluxio.work.dir}/disk/journal`],
    checkpointPeriod(options),
  ];
}

function checkpointPeriod({ chance }: ChaosClusterOptions): [string, string] {
  const entries = Math.round(chance.logarithmic(1000, 20_000));
  return ["alluxio.master.journal.checkpoint.period.entries", String(entries)];
}

/** Writes the site files, and formats. */
async function prepare(
  dir: string,
  shape: Shape,
  net: string,
  options: ChaosClusterOptions,
): Promise<Processes> {
  const { mainScript } = options;
  const nodes = planNodes(shape);
  const masters = nodes.filter(({ kind }) => kind === "master");
  const addresses = masters.map((node) => `${listenHost(net, node)}:${node.journalPort}`);
  for (const node of nodes) {
    const own = [
      ["alluxio.master.embedded.journal.addresses", addresses.join(",")] as [string, string],
      ...ownProperties(node, net, dir, options),
    ];
    const replaced = new Set(own.map(([key]) => key));
    const lines = nodeSiteFile(node, shape, dir)
      .split("\n")
      .filter((line) => !replaced.has(line.split("=")[0]?.trim() ?? ""));
    mkdirSync(nodeConfDir(dir, node), { recursive: true });
    writeFileSync(
      join(nodeConfDir(dir, node), "alluxio-site.properties"),
      `${lines.join("\n")}${own.map(([key, value]) => formatProperty(key, value)).join("\n")}\n`,
    );
  }
  const parts = { mainScript, format: formatNode };
  const opened = await openCluster(parts, { dir, shape, definitions: [], mayRun: false });
  return opened.cluster;
}
