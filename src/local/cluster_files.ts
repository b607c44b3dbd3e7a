/**
 * The folder of a local cluster.
 *
 *     local.json                        shape of the cluster, its ports and configuration folders; written when it was formatted
 *     local.json.making                 is there while the cluster is made for the first time
 *     conf/alluxio-site.properties      for clients and commands
 *     master-1/ worker-1/ …             home of one process: conf/, journal/, metastore/ or cache/
 *     logs/master-1.log …               what the processes write
 *     run/master-1.json …               process id and start time of each that was started
 *     underFSStorage/                   the under store of the root directory
 * @module
 */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { RockpoolError } from "../common/errors.ts";
import { makeFolder } from "../world/folders.ts";
import {
  type ClusterShape,
  clientSiteFile,
  HOST,
  type LocalNode,
  nodeSiteFile,
  planNodes,
} from "./plan.ts";
import type { ProcessIdentity } from "./process_table.ts";

const VERSION = 1;
const STATE_FILE = "local.json";
const MAKING_FILE = "local.json.making";
const SITE_FILE = "alluxio-site.properties";

export const clientConfDir = (dir: string) => join(dir, "conf");
export const nodeDir = (dir: string, node: LocalNode) => join(dir, node.name);
export const nodeConfDir = (dir: string, node: LocalNode) => join(nodeDir(dir, node), "conf");
export const logFile = (dir: string, node: LocalNode) => join(dir, "logs", `${node.name}.log`);
const runFile = (dir: string, node: LocalNode) => join(dir, "run", `${node.name}.json`);

function writeAtomically(path: string, text: string): void {
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, text);
  renameSync(temporary, path);
}

/** What brings a lost note back; without it nothing is started, so that nothing is formatted. */
const RESTORE_NOTE = `Put it back: {"masterCount":3,"workerCount":2,"portOffset":0,"workerQuota":"1GB"} with this cluster's own numbers, which master-1/conf/alluxio-site.properties tells`;

/** @param remedy for a file that cannot be read */
function readJson(path: string, remedy: string): unknown {
  if (!existsSync(path)) return null;
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new RockpoolError("FAILED_PRECONDITION", `${path} is damaged: ${error.message}`, remedy);
  }
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null
    ? (value as Record<string, unknown>)[name] // any object can be asked for any name
    : undefined;
}

export function isLocalCluster(dir: string): boolean {
  return existsSync(join(dir, STATE_FILE));
}

/** The shape of a cluster that exists; null when there is none. @throws RockpoolError when its file is damaged */
export function readShape(dir: string): ClusterShape | null {
  const state = readJson(join(dir, STATE_FILE), RESTORE_NOTE);
  if (state === null) return null;
  const number = (name: string) => {
    const value = field(state, name);
    if (typeof value === "number") return value;
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `${join(dir, STATE_FILE)} has no ${name}`,
      "It was written by another version or by hand; use another --dir",
    );
  };
  const quota = field(state, "workerQuota");
  return {
    masterCount: number("masterCount"),
    workerCount: number("workerCount"),
    portOffset: number("portOffset"),
    workerQuota: typeof quota === "string" ? quota : "1GB",
  };
}

/** Says that the cluster is formatted and complete. */
export function writeShape(dir: string, shape: ClusterShape): void {
  const nodes = planNodes(shape).map((node) => ({ ...node, confDir: nodeConfDir(dir, node) }));
  const masters = nodes.filter(({ kind }) => kind === "master");
  const state = {
    version: VERSION,
    ...shape,
    // Commands that are run in this folder find the masters here.
    masters: masters.map(({ rpcPort }) => `${HOST}:${rpcPort}`),
    clientConfDir: clientConfDir(dir),
    nodes,
  };
  writeAtomically(join(dir, STATE_FILE), `${JSON.stringify(state, null, 2)}\n`);
  rmSync(join(dir, MAKING_FILE), { force: true });
}

/**
 * To be called before the nodes of a folder without local.json are formatted.
 * @throws RockpoolError FAILED_PRECONDITION when they hold journals that no interrupted first start has made
 */
export function beginMaking(dir: string, nodes: readonly LocalNode[]): void {
  const making = join(dir, MAKING_FILE);
  if (existsSync(making)) return;
  const journals = nodes.map((node) => join(nodeDir(dir, node), "journal"));
  const used = journals.filter((path) => existsSync(path) && readdirSync(path).length > 0);
  if (used.length > 0)
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      `${join(dir, STATE_FILE)} is not there, but ${used.join(", ")} is not empty: a new cluster here would lose its metadata`,
      `${RESTORE_NOTE}. For a new cluster name another folder with --dir, or move that one away`,
    );
  makeFolder(dir, "the local cluster", "Name a folder that you may make with --dir");
  writeAtomically(making, "");
}

/** Makes folders, and site files where there are none. */
export function prepareFolders(dir: string, shape: ClusterShape): void {
  const make = (folder: string) =>
    makeFolder(folder, "the local cluster", "Name a folder that you may make with --dir");
  for (const folder of ["logs", "run", "underFSStorage"]) make(join(dir, folder));
  const writeOnce = (folder: string, text: string) => {
    make(folder);
    const path = join(folder, SITE_FILE);
    if (!existsSync(path)) writeAtomically(path, text);
  };
  writeOnce(clientConfDir(dir), clientSiteFile(shape));
  for (const node of planNodes(shape))
    writeOnce(nodeConfDir(dir, node), nodeSiteFile(node, shape, dir));
}

/** Process of a node as it was last started; null when it never was, or was stopped in order. */
export function readRunFile(dir: string, node: LocalNode): ProcessIdentity | null {
  const remedy = "Remove it once that process is stopped";
  const state = readJson(runFile(dir, node), remedy);
  const pid = field(state, "pid");
  const startTicks = field(state, "startTicks");
  return typeof pid === "number" && typeof startTicks === "number" ? { pid, startTicks } : null;
}

export function writeRunFile(dir: string, node: LocalNode, identity: ProcessIdentity): void {
  writeAtomically(runFile(dir, node), `${JSON.stringify(identity)}\n`);
}

export function removeRunFile(dir: string, node: LocalNode): void {
  rmSync(runFile(dir, node), { force: true });
}
