/**
 * Starts and ends the processes of a local cluster, one at a time and only its own.
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { messageOf, RockpoolError } from "../common/errors.ts";
import { MASKED } from "../conf/configuration.ts";
import { isSecretName } from "../conf/keys.ts";
import {
  logFile,
  nodeConfDir,
  nodeDir,
  readRunFile,
  removeRunFile,
  writeRunFile,
} from "./cluster_files.ts";
import { lastLines, logEnd, REFUSAL_AFTER_MS, requireNotKeptOut } from "./daemon_log.ts";
import { type LocalNode, type NamedPort, portsOf } from "./plan.ts";
import { askHealth, takenPorts } from "./probe.ts";
import {
  isRunning,
  type ProcessIdentity,
  portOwner,
  readProcess,
  signalProcess,
} from "./process_table.ts";

export type LocalCluster = {
  /** Absolute. */
  readonly dir: string;
  readonly nodes: readonly LocalNode[];
  /** The daemons' entry: dist/main.js. */
  readonly mainScript: string;
  /** `key=value` definitions for every daemon. */
  readonly definitions: readonly string[];
};

export type Started = {
  readonly child: ChildProcess;
  readonly identity: ProcessIdentity;
  /** Where its part of the log begins. */
  readonly logFromByte: number;
};

export const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/**
 * Threads for a daemon's file system calls. With libuv's four, a few slow calls to the under store hold up the
 * journal's syncs, which use the same pool.
 */
export const FILE_THREADS = "16";

/** Where daemons look for their configuration must not depend on who starts them. */
function daemonEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !name.startsWith("ALLUXIO_") || name.endsWith("JAVA_OPTS"),
  );
  return { UV_THREADPOOL_SIZE: FILE_THREADS, ...Object.fromEntries(kept) };
}

/** The identity of the node's process if it runs now. */
export function runningIdentity(cluster: LocalCluster, node: LocalNode): ProcessIdentity | null {
  const identity = readRunFile(cluster.dir, node);
  return identity !== null && isRunning(identity) ? identity : null;
}

/**
 * Starts the daemon in a session of its own, so that Ctrl-C at the terminal reaches only who stops it in order.
 * @throws RockpoolError UNAVAILABLE when no process can be made
 */
export function startNode(cluster: LocalCluster, node: LocalNode): Started {
  const logFromByte = logEnd(logFile(cluster.dir, node));
  const log = openSync(logFile(cluster.dir, node), "a");
  const definitions = cluster.definitions.map((definition) => `-D${definition}`);
  try {
    const child = spawn(
      process.execPath,
      [
        "--enable-source-maps",
        cluster.mainScript,
        node.kind,
        "--conf-dir",
        nodeConfDir(cluster.dir, node),
        ...definitions,
      ],
      {
        detached: true,
        cwd: nodeDir(cluster.dir, node),
        env: { ...daemonEnvironment(), ALLUXIO_HOME: nodeDir(cluster.dir, node) },
        stdio: ["ignore", log, log],
      },
    );
    const pid = child.pid;
    const running = pid === undefined ? null : readProcess(pid);
    if (running === null)
      throw new RockpoolError(
        "UNAVAILABLE",
        `Cannot start ${node.kind} ${node.number}`,
        `See ${logFile(cluster.dir, node)}`,
      );
    const identity = { pid: running.pid, startTicks: running.startTicks };
    writeRunFile(cluster.dir, node, identity);
    return { child, identity, logFromByte };
  } finally {
    closeSync(log);
  }
}

/** A command line whose definitions of secrets are masked, up to their next blank. */
export function withoutSecrets(command: string): string {
  return command.replace(/([^\s=]+)=(\S+)/g, (whole, name: string) =>
    isSecretName(name) ? `${name}=${MASKED}` : whole,
  );
}

/** One line for each port, with who has it. */
export function describeTaken(taken: readonly NamedPort[]): string {
  return taken
    .map(({ port, use }) => {
      const owner = portOwner(port);
      const who =
        owner === null
          ? "another program"
          : `process ${owner.pid} (${withoutSecrets(owner.command)})`;
      return `Port ${port} (${use}) is taken by ${who}`;
    })
    .join("\n");
}

/** @throws RockpoolError UNAVAILABLE that names every port that is taken and by whom */
export async function requireFreePorts(nodes: readonly LocalNode[]): Promise<void> {
  const taken = await takenPorts(nodes.flatMap(portsOf));
  if (taken.length > 0)
    throw new RockpoolError(
      "UNAVAILABLE",
      describeTaken(taken),
      "End that program, or shift all ports of this cluster with --port-offset N",
    );
}

const POLL_MS = 20;
const PROBE_TIMEOUT_MS = 500;
/** How much of a log is worth showing. */
const LOG_LINES = 8;

/**
 * Waits until the process does its duty.
 * @param logFromByte where its part of the log begins
 * @param signal ends the wait: another process of the cluster failed, so that nobody waits for this one any more
 * @throws RockpoolError UNAVAILABLE when it ends, or is not ready in time; the end of its log is in the message.
 *   FAILED_PRECONDITION when the other masters keep it out
 */
export async function waitUntilHealthy(
  cluster: LocalCluster,
  node: LocalNode,
  timeoutMs: number,
  logFromByte: number,
  signal: AbortSignal | null = null,
): Promise<void> {
  const startedMs = performance.now();
  const log = logFile(cluster.dir, node);
  const fail = (what: string) =>
    new RockpoolError(
      "UNAVAILABLE",
      `${node.kind} ${node.number} ${what}; its log ends with:\n${lastLines(log, logFromByte, LOG_LINES)}`,
      `See ${log}`,
    );
  while ((await askHealth(node, PROBE_TIMEOUT_MS))?.isHealthy !== true) {
    if (signal?.aborted === true) return;
    if (runningIdentity(cluster, node) === null) throw fail("ended");
    const isSlow = performance.now() - startedMs > REFUSAL_AFTER_MS;
    if (node.kind === "master" && isSlow)
      requireNotKeptOut(log, logFromByte, `master ${node.number}`);
    if (performance.now() - startedMs > timeoutMs) throw fail(`is not ready after ${timeoutMs} ms`);
    await pause(POLL_MS);
  }
}

/** A daemon that does not end by itself in this time is ended. */
export const STOP_TIMEOUT_MS = 10_000;

export type StopResult = "stopped" | "killed" | "wasNotRunning";

/** SIGTERM, patience, SIGKILL; and only to the process that was started for this node. */
export async function stopNode(cluster: LocalCluster, node: LocalNode): Promise<StopResult> {
  const identity = readRunFile(cluster.dir, node);
  if (identity === null || !signalProcess(identity, "SIGTERM")) {
    removeRunFile(cluster.dir, node);
    return "wasNotRunning";
  }
  const startedMs = performance.now();
  let result: StopResult = "stopped";
  while (isRunning(identity)) {
    if (performance.now() - startedMs > STOP_TIMEOUT_MS && result === "stopped") {
      result = "killed";
      signalProcess(identity, "SIGKILL");
    }
    await pause(POLL_MS);
  }
  removeRunFile(cluster.dir, node);
  return result;
}

/** Ends all, whatever happens to one of them. @returns lines about what was not as it should be */
export async function stopNodes(
  cluster: LocalCluster,
  nodes: readonly LocalNode[],
): Promise<readonly string[]> {
  const outcomes = await Promise.allSettled(nodes.map((node) => stopNode(cluster, node)));
  return outcomes.flatMap((outcome, at) => {
    const node = nodes[at];
    const name = `${node?.kind} ${node?.number}`;
    if (outcome.status === "rejected") return [`${name}: ${messageOf(outcome.reason)}`];
    return outcome.value === "killed"
      ? [`${name} did not end in ${STOP_TIMEOUT_MS} ms and was killed`]
      : [];
  });
}
