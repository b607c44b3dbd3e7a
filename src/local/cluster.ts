/**
 * A local cluster as a whole: made once, started, asked, stopped.
 *
 * Promises: formatting happens only while the folder has no local.json, which is written last, so that an
 * interrupted first start is begun again and a second start never formats; journals that are there without it are left
 * alone, and the start is refused; ports are looked at before
 * anything is started; the under store's folder is never emptied.
 * @module
 */
import { resolve } from "node:path";
import { RockpoolError } from "../common/errors.ts";
import {
  beginMaking,
  prepareFolders,
  readShape,
  removeRunFile,
  writeShape,
} from "./cluster_files.ts";
import {
  type ClusterShape,
  DEFAULT_SHAPE,
  type LocalNode,
  type NodeKind,
  planNodes,
} from "./plan.ts";
import { findLeader } from "./probe.ts";
import {
  type LocalCluster,
  pause,
  requireFreePorts,
  runningIdentity,
  type Started,
  startNode,
  waitUntilHealthy,
} from "./processes.ts";

/** What the joining program gives: parts that this one may not know. */
export type LocalParts = {
  readonly mainScript: string;
  /** Formats the journal and metadata of a master, or the cache of a worker, by its configuration folder. */
  readonly format: (node: {
    readonly kind: NodeKind;
    readonly home: string;
    readonly confDir: string;
    readonly definitions: readonly string[];
  }) => Promise<void>;
};

export type OpenOptions = {
  readonly dir: string;
  /** What the user asked for; what is left out is as it was, or the default for a new cluster. */
  readonly shape: Partial<ClusterShape>;
  readonly definitions: readonly string[];
  /** Whether processes of this cluster that run already are fine; else their ports count as taken. */
  readonly mayRun: boolean;
};

function requireSameShape(dir: string, was: ClusterShape, asked: Partial<ClusterShape>): void {
  const fixed = [
    ["masterCount", "--masters"],
    ["portOffset", "--port-offset"],
  ] as const;
  for (const [name, option] of fixed) {
    const value = asked[name];
    if (value !== undefined && value !== was[name])
      throw new RockpoolError(
        "FAILED_PRECONDITION",
        `The cluster in ${dir} was made with ${option} ${was[name]}, not ${value}`,
        `Leave ${option} out, or make another cluster with --dir`,
      );
  }
}

/** The shape of the cluster in this folder, as it is or will be. */
export function shapeFor(
  dir: string,
  asked: Partial<ClusterShape>,
): { shape: ClusterShape; isNew: boolean } {
  const was = readShape(dir);
  if (was !== null) requireSameShape(dir, was, asked);
  const given = Object.fromEntries(
    Object.entries(asked).filter(([, value]) => value !== undefined),
  );
  return { shape: { ...(was ?? DEFAULT_SHAPE), ...given }, isNew: was === null };
}

export type OpenedCluster = {
  readonly cluster: LocalCluster;
  readonly isNew: boolean;
};

/**
 * Makes the folder ready; formats what was never formatted.
 * @throws RockpoolError when the shape does not fit what is there, or a port is taken (then nothing is changed)
 */
export async function openCluster(parts: LocalParts, options: OpenOptions): Promise<OpenedCluster> {
  const dir = resolve(options.dir);
  const { shape, isNew } = shapeFor(dir, options.shape);
  const nodes = planNodes(shape);
  const { mainScript } = parts;
  const cluster: LocalCluster = { dir, nodes, mainScript, definitions: options.definitions };
  const isUp = (node: LocalNode) => options.mayRun && runningIdentity(cluster, node) !== null;
  await requireFreePorts(nodes.filter((node) => !isUp(node)));
  const before = readShape(dir);
  const known = new Set((before === null ? [] : planNodes(before)).map((node) => node.name));
  if (before === null) beginMaking(dir, nodes);
  prepareFolders(dir, shape);
  for (const node of nodes)
    if (!known.has(node.name))
      await parts.format({
        kind: node.kind,
        home: `${dir}/${node.name}`,
        confDir: `${dir}/${node.name}/conf`,
        definitions: options.definitions,
      });
  if (before === null || before.workerCount < shape.workerCount) writeShape(dir, shape);
  return { cluster, isNew };
}

/** The cluster in a folder where one is. @throws RockpoolError NOT_FOUND when there is none */
export function existingCluster(parts: LocalParts, dir: string): LocalCluster {
  const absolute = resolve(dir);
  const shape = readShape(absolute);
  if (shape === null)
    throw new RockpoolError(
      "NOT_FOUND",
      `There is no local cluster in ${absolute}`,
      "Start one with `npm start` or `bin/rockpool local start`, or name its folder with --dir",
    );
  return { dir: absolute, nodes: planNodes(shape), mainScript: parts.mainScript, definitions: [] };
}

/** A cluster on a busy machine may need a while; a person waits no longer than this. */
export const READY_TIMEOUT_MS = 30_000;
const POLL_MS = 20;
const ASK_TIMEOUT_MS = 500;

export type StartedNode = Started & { readonly node: LocalNode };

/** Starts what is down. */
export function startDown(cluster: LocalCluster): readonly StartedNode[] {
  return cluster.nodes
    .filter((node) => runningIdentity(cluster, node) === null)
    .map((node) => {
      removeRunFile(cluster.dir, node);
      return { node, ...startNode(cluster, node) };
    });
}

/** A process that was started, and where its part of the log begins. */
export type WaitedFor = Pick<StartedNode, "node" | "logFromByte">;

/** The first that fails ends the wait for all. */
async function allHealthy(cluster: LocalCluster, started: readonly WaitedFor[]): Promise<void> {
  const failed = new AbortController();
  const wait = async ({ node, logFromByte }: WaitedFor) => {
    try {
      await waitUntilHealthy(cluster, node, READY_TIMEOUT_MS, logFromByte, failed.signal);
    } catch (error) {
      failed.abort();
      throw error;
    }
  };
  await Promise.all(started.map(wait));
}

/**
 * Waits for a master that serves, then for every process that runs to be ready.
 * @throws RockpoolError UNAVAILABLE when one of them ends meanwhile, or nobody leads in time
 */
export async function waitUntilServing(
  cluster: LocalCluster,
  started: readonly WaitedFor[],
): Promise<LocalNode> {
  const masters = cluster.nodes.filter((node) => node.kind === "master");
  await allHealthy(cluster, started);
  const startedMs = performance.now();
  for (;;) {
    const leader = await findLeader(masters, ASK_TIMEOUT_MS);
    if (leader !== null) return leader;
    const running = masters.filter((node) => runningIdentity(cluster, node) !== null).length;
    if (running <= masters.length / 2)
      throw new RockpoolError(
        "UNAVAILABLE",
        `Only ${running} of ${masters.length} masters run`,
        `See the logs in ${cluster.dir}/logs`,
      );
    if (performance.now() - startedMs > READY_TIMEOUT_MS)
      throw new RockpoolError(
        "UNAVAILABLE",
        `No master leads after ${READY_TIMEOUT_MS} ms`,
        `See the logs in ${cluster.dir}/logs`,
      );
    await pause(POLL_MS);
  }
}
