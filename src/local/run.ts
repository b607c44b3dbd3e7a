/**
 * `local run`: a cluster in the foreground that tells what happens to it, until Ctrl-C.
 * @module
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { messageOf, RockpoolError } from "../common/errors.ts";
import {
  type LocalParts,
  type OpenOptions,
  openCluster,
  type StartedNode,
  startDown,
  waitUntilServing,
} from "./cluster.ts";
import { clientConfDir, readShape } from "./cluster_files.ts";
import { Narrator } from "./narrator.ts";
import { HOST, type LocalNode } from "./plan.ts";
import { type LocalCluster, runningIdentity, stopNodes } from "./processes.ts";

export type RunOptions = OpenOptions & {
  /** The command line's entry, for the first test of the cluster: dist/cli.cjs. */
  readonly cliScript: string;
  readonly isTested: boolean;
  readonly say: (line: string) => void;
};

/** How many lines of a failed test are worth showing. */
const TEST_LINES = 12;

/** Writes and reads files in every way through the command line. */
function runBasicTest(cluster: LocalCluster, cliScript: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [cliScript, "exec", "basicIOTest"], {
      env: { ...process.env, ALLUXIO_CONF_DIR: clientConfDir(cluster.dir) },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => {
        output = (output + chunk.toString("utf8")).slice(-100_000);
      });
    child.on("error", reject);
    child.on("close", (code) => {
      const passed = output.split("Passed the test!").length - 1;
      if (code === 0) return resolve(`${passed} kinds of write and read work`);
      const end = output.trimEnd().split("\n").slice(-TEST_LINES).join("\n");
      return reject(
        new RockpoolError(
          "INTERNAL",
          `basicIOTest failed with exit code ${code}:\n${end}`,
          `See the logs in ${cluster.dir}/logs`,
        ),
      );
    });
  });
}

/** Resolves with the first signal that asks this process to end. */
function endOfRun(): { readonly signalled: Promise<string>; readonly isOver: () => boolean } {
  let isOver = false;
  const signalled = new Promise<string>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
      process.on(signal, () => {
        isOver = true;
        resolve(signal);
      });
  });
  return { signalled, isOver: () => isOver };
}

function processLine(cluster: LocalCluster, node: LocalNode): string {
  const pid = runningIdentity(cluster, node)?.pid ?? "-";
  const name = `${node.kind} ${node.number}`.padEnd(9);
  return `  ${name} pid ${String(pid).padEnd(8)} RPC ${HOST}:${node.rpcPort}   http://${HOST}:${node.webPort}`;
}

/** Commands find a cluster by themselves when it lies in `data` of the folder where they are run. */
function findIt(cluster: LocalCluster): string[] {
  if (cluster.dir === join(process.cwd(), "data")) return [];
  return [`  export ALLUXIO_CONF_DIR=${clientConfDir(cluster.dir)}`];
}

/** The site files of the workers hold it, so that the option counts only where there are none yet. */
function quotaLine(cluster: LocalCluster): string {
  const quota = readShape(cluster.dir)?.workerQuota ?? "1GB";
  return `Each worker may cache ${quota}: --worker-quota S for a new cluster, alluxio.worker.ramdisk.size in ${cluster.dir}/worker-N/conf for this one.`;
}

/** What a person needs to go on. */
export function welcome(cluster: LocalCluster, leader: LocalNode, lastLine: string): string {
  const pid = runningIdentity(cluster, leader)?.pid ?? "PID";
  const hasStandby = cluster.nodes.filter(({ kind }) => kind === "master").length > 1;
  return [
    ...cluster.nodes.map((node) => processLine(cluster, node)),
    `master ${leader.number} leads: http://${HOST}:${leader.webPort}`,
    quotaLine(cluster),
    `Data and logs are in ${cluster.dir}. Try, in another terminal:`,
    ...findIt(cluster),
    "  bin/alluxio fs mkdir /books",
    "  bin/alluxio fs copyFromLocal README.md /books/readme",
    hasStandby
      ? `  kill -9 ${pid}    # the leader: see here how long it takes until the next one leads`
      : "  bin/alluxio fs ls /books",
    lastLine,
  ].join("\n");
}

async function serve(
  options: RunOptions,
  cluster: LocalCluster,
  started: readonly StartedNode[],
  isOver: () => boolean,
): Promise<Narrator | null> {
  const startedMs = performance.now();
  const leader = await waitUntilServing(cluster, started);
  options.say(`Ready after ${Math.round(performance.now() - startedMs)} ms`);
  const narrator = new Narrator({ cluster, say: options.say, leader });
  for (const { node, child } of started) narrator.adopt(node, child);
  if (options.isTested && !isOver()) options.say(await runBasicTest(cluster, options.cliScript));
  options.say(welcome(cluster, leader, "Ctrl-C ends all of it."));
  return narrator;
}

/** Returns the exit code, when all processes have ended. */
export async function runCluster(parts: LocalParts, options: RunOptions): Promise<number> {
  const end = endOfRun();
  const { cluster, isNew } = await openCluster(parts, options);
  options.say(`${isNew ? "Formatted a new cluster" : "Found the cluster"} in ${cluster.dir}`);
  const started = startDown(cluster);
  const served = serve(options, cluster, started, end.isOver);
  let exitCode = 0;
  try {
    const narrator = await Promise.race([served, end.signalled.then(() => null)]);
    if (narrator !== null) {
      void narrator.watch(); // only says lines; ends with stop()
      await end.signalled;
      narrator.stop();
    }
  } catch (error) {
    const remedy = error instanceof RockpoolError ? error.remedy : "";
    options.say(`${messageOf(error)}\n${remedy}`.trimEnd());
    exitCode = 1;
  }
  served.catch(() => {}); // told above, or of no interest any more
  options.say("Stopping …");
  const troubles = await stopNodes(cluster, cluster.nodes);
  for (const trouble of troubles) options.say(trouble);
  options.say("All processes have ended.");
  return exitCode;
}
