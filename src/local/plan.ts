/**
 * What a local cluster consists of: processes, their ports, folders and properties.
 *
 * Pure. Ports, with i from 0: master i has RPC 19998 + 1000·i, web 19999 + 1000·i, journal 19200 + 1000·i; worker i
 * has RPC 29999 + 1000·i, web 30000 + 1000·i. An offset shifts all of them, so that clusters can stand side by side.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import { formatProperty } from "../conf/properties_file.ts";

export type ClusterShape = {
  readonly masterCount: number;
  readonly workerCount: number;
  readonly portOffset: number;
  /** Bytes that each worker may cache, as a property's text: "1GB". */
  readonly workerQuota: string;
};

export const DEFAULT_SHAPE: ClusterShape = {
  masterCount: 3,
  workerCount: 2,
  portOffset: 0,
  workerQuota: "1GB",
};

export type NodeKind = "master" | "worker";

export type LocalNode = {
  readonly kind: NodeKind;
  /** 1 for the first. */
  readonly number: number;
  /** "master-1": its folder and the name of its files. */
  readonly name: string;
  readonly rpcPort: number;
  readonly webPort: number;
  /** Null for workers. */
  readonly journalPort: number | null;
};

export const HOST = "localhost";
/** A cluster to try things out has no passwords: it listens for this machine alone. */
const LOOPBACK = "127.0.0.1";
const STEP = 1000;
/** Beyond these, ports of masters would meet those of workers, or leave the range. */
const MASTERS_MAX = 9;
const WORKERS_MAX = 30;
const PORT_MAX = 65_535;

function masterNode(index: number, offset: number): LocalNode {
  const shift = offset + STEP * index;
  return {
    kind: "master",
    number: index + 1,
    name: `master-${index + 1}`,
    rpcPort: 19_998 + shift,
    webPort: 19_999 + shift,
    journalPort: 19_200 + shift,
  };
}

function workerNode(index: number, offset: number): LocalNode {
  const shift = offset + STEP * index;
  return {
    kind: "worker",
    number: index + 1,
    name: `worker-${index + 1}`,
    rpcPort: 29_999 + shift,
    webPort: 30_000 + shift,
    journalPort: null,
  };
}

function checkCount(what: string, count: number, max: number): void {
  if (!Number.isInteger(count) || count < 1 || count > max)
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `A local cluster has 1 to ${max} ${what}, not ${count}`,
      `Say --${what} N with N from 1 to ${max}`,
    );
}

/** Masters first. @throws RockpoolError INVALID_ARGUMENT when the shape is impossible */
export function planNodes(shape: ClusterShape): readonly LocalNode[] {
  checkCount("masters", shape.masterCount, MASTERS_MAX);
  checkCount("workers", shape.workerCount, WORKERS_MAX);
  const nodes = [
    ...Array.from({ length: shape.masterCount }, (_, index) => masterNode(index, shape.portOffset)),
    ...Array.from({ length: shape.workerCount }, (_, index) => workerNode(index, shape.portOffset)),
  ];
  const ports = nodes.flatMap(portsOf);
  if (!Number.isInteger(shape.portOffset) || ports.some(({ port }) => port < 1 || port > PORT_MAX))
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `With --port-offset ${shape.portOffset} some ports are outside 1 to ${PORT_MAX}`,
      "Use an offset nearer to 0, or fewer processes",
    );
  return nodes;
}

export type NamedPort = { readonly port: number; readonly use: string };

export function portsOf(node: LocalNode): NamedPort[] {
  const label = `${node.kind} ${node.number}`;
  return [
    { port: node.rpcPort, use: `RPC of ${label}` },
    { port: node.webPort, use: `web of ${label}` },
    ...(node.journalPort === null ? [] : [{ port: node.journalPort, use: `journal of ${label}` }]),
  ];
}

const addressList = (ports: readonly (number | null)[]) =>
  ports.map((port) => `${HOST}:${port}`).join(",");

/** The properties by which clients, masters and workers alike find the masters. */
export function sharedProperties(nodes: readonly LocalNode[]): [string, string][] {
  const masters = nodes.filter((node) => node.kind === "master");
  return [
    ["alluxio.master.rpc.addresses", addressList(masters.map((node) => node.rpcPort))],
    [
      "alluxio.master.embedded.journal.addresses",
      addressList(masters.map((node) => node.journalPort)),
    ],
    ["rockpool.master.web.addresses", addressList(masters.map((node) => node.webPort))],
  ];
}

function nodeProperties(node: LocalNode, shape: ClusterShape, dir: string): [string, string][] {
  if (node.kind === "worker")
    return [
      ["alluxio.worker.hostname", HOST],
      ["alluxio.worker.bind.host", LOOPBACK],
      ["alluxio.worker.web.bind.host", LOOPBACK],
      ["alluxio.worker.rpc.port", String(node.rpcPort)],
      ["alluxio.worker.web.port", String(node.webPort)],
      ["alluxio.worker.tieredstore.level0.alias", "MEM"],
      ["alluxio.worker.tieredstore.level0.dirs.path", `\${alluxio.work.dir}/cache`],
      ["alluxio.worker.ramdisk.size", shape.workerQuota],
    ];
  return [
    ["alluxio.master.hostname", HOST],
    ["alluxio.master.bind.host", LOOPBACK],
    ["alluxio.master.web.bind.host", LOOPBACK],
    ["rockpool.master.journal.bind.host", LOOPBACK],
    ["alluxio.master.rpc.port", String(node.rpcPort)],
    ["alluxio.master.web.port", String(node.webPort)],
    ["alluxio.master.embedded.journal.port", String(node.journalPort)],
    ["alluxio.master.mount.table.root.ufs", `${dir}/underFSStorage`],
  ];
}

function siteFile(comment: string, properties: readonly (readonly [string, string])[]): string {
  return `# ${comment}\n${properties.map(([key, value]) => formatProperty(key, value)).join("\n")}\n`;
}

/** The site file of one process. @param dir the cluster's folder, absolute */
export function nodeSiteFile(node: LocalNode, shape: ClusterShape, dir: string): string {
  return siteFile(
    `Written once for ${node.kind} ${node.number} of the local cluster; what you change here stays.`,
    [...sharedProperties(planNodes(shape)), ...nodeProperties(node, shape, dir)],
  );
}

/** The site file of clients and commands. */
export function clientSiteFile(shape: ClusterShape): string {
  return siteFile(
    "Written once for clients of the local cluster; what you change here stays.",
    sharedProperties(planNodes(shape)),
  );
}
