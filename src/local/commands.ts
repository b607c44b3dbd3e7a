/**
 * `rockpool local …`: run, start, stop and status of a cluster on this machine.
 * @module
 */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { credentialsOf, JournalAdminClient } from "../client/journal_admin.ts";
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import { prepareMaster } from "./add_master.ts";
import {
  existingCluster,
  type LocalParts,
  type OpenOptions,
  openCluster,
  READY_TIMEOUT_MS,
  startDown,
  waitUntilServing,
} from "./cluster.ts";
import { isLocalCluster, removeRunFile } from "./cluster_files.ts";
import { type ClusterShape, HOST, type LocalNode } from "./plan.ts";
import { prepareStop } from "./planned_stop.ts";
import { askHealth } from "./probe.ts";
import {
  type LocalCluster,
  requireFreePorts,
  runningIdentity,
  startNode,
  stopNodes,
  waitUntilHealthy,
} from "./processes.ts";
import { rollingRestart } from "./rolling.ts";
import { runCluster, welcome } from "./run.ts";

export type LocalContext = LocalParts & {
  readonly cliScript: string;
  /** The folder of a cluster when no --dir is given. */
  readonly defaultDir: string;
  readonly say: (line: string) => void;
};

export const LOCAL_USAGE = `Usage: rockpool local COMMAND [options]

  run                          run a cluster here until Ctrl-C (npm start does this)
  start                        start it in the background, or what of it is down
  start master N | worker N    start one process
  add master                   one more master for a cluster that runs
  restart masters --rolling    standbys one by one, a hand-over, the former leader last
  stop                         stop all of it
  stop master N | worker N     stop one process; a leading master hands over first
  status                       say what runs

Options
  --dir D            folder of the cluster (./data)
  --masters N        for a new cluster (3)
  --workers N        (2)
  --worker-quota S   what each worker may cache (1GB)
  --port-offset N    shift all ports, to run clusters side by side (0)
  --force            stop a master even if the others then have no quorum
  --no-test          run: leave out the first writes and reads
  -Dkey=value        a property for every process that is started`;

/** A master that hangs does not keep another one from being stopped. */
const ADMIN_PATIENCE_MS = 5000;

function usageError(message: string): RockpoolError {
  return new RockpoolError("INVALID_ARGUMENT", message, LOCAL_USAGE);
}

/** A negative number after an option is its value; parseArgs would take it for another option. */
function joinNegative(words: readonly string[]): string[] {
  const joined: string[] = [];
  for (const word of words) {
    const before = joined.at(-1) ?? "";
    if (/^-\d+$/.test(word) && /^--[^=]+$/.test(before))
      joined[joined.length - 1] = `${before}=${word}`;
    else joined.push(word);
  }
  return joined;
}

function parseLocal(words: readonly string[]) {
  const definitions = words.filter((word) => /^-D./.test(word)).map((word) => word.slice(2));
  try {
    const { values, positionals } = parseArgs({
      args: joinNegative(words.filter((word) => !/^-D./.test(word))),
      allowPositionals: true,
      options: {
        dir: { type: "string" },
        masters: { type: "string" },
        workers: { type: "string" },
        "worker-quota": { type: "string" },
        "port-offset": { type: "string" },
        "no-test": { type: "boolean" },
        force: { type: "boolean" },
        rolling: { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    });
    return { values, positionals, definitions };
  } catch (error) {
    if (error instanceof TypeError) throw usageError(error.message);
    throw error;
  }
}

function numberOption(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^-?\d+$/.test(text)) throw usageError(`--${name} takes a number, not "${text}"`);
  return Number(text);
}

/** Leaves out what was not given, so that it stays as it was. */
function shapeOf(values: ReturnType<typeof parseLocal>["values"]): Partial<ClusterShape> {
  const masterCount = numberOption("masters", values.masters);
  const workerCount = numberOption("workers", values.workers);
  const portOffset = numberOption("port-offset", values["port-offset"]);
  const workerQuota = values["worker-quota"];
  return {
    ...(masterCount === undefined ? {} : { masterCount }),
    ...(workerCount === undefined ? {} : { workerCount }),
    ...(portOffset === undefined ? {} : { portOffset }),
    ...(workerQuota === undefined ? {} : { workerQuota }),
  };
}

/** The node that "master 2" means; null when no node is named. */
function nodeOf(cluster: LocalCluster, words: readonly string[]): LocalNode | null {
  const [kind, number, ...rest] = words;
  if (kind === undefined) return null;
  const node = cluster.nodes.find((one) => one.kind === kind && String(one.number) === number);
  if (node !== undefined && rest.length === 0) return node;
  const names = cluster.nodes.map((one) => `${one.kind} ${one.number}`).join(", ");
  throw new RockpoolError(
    "INVALID_ARGUMENT",
    `"${words.join(" ")}" is no process of this cluster`,
    `It has ${names}`,
  );
}

async function startOne(
  cluster: LocalCluster,
  node: LocalNode,
  context: LocalContext,
): Promise<void> {
  const running = runningIdentity(cluster, node);
  if (running !== null) {
    context.say(`${node.kind} ${node.number} runs already (pid ${running.pid})`);
    return;
  }
  await requireFreePorts([node]);
  removeRunFile(cluster.dir, node);
  const { child, identity, logFromByte } = startNode(cluster, node);
  child.unref();
  await waitUntilHealthy(cluster, node, READY_TIMEOUT_MS, logFromByte);
  context.say(`${node.kind} ${node.number} runs (pid ${identity.pid})`);
}

async function start(
  words: readonly string[],
  open: OpenOptions,
  context: LocalContext,
): Promise<number> {
  if (words.length > 0) {
    const cluster = { ...existingCluster(context, open.dir), definitions: open.definitions };
    const node = nodeOf(cluster, words);
    if (node !== null) await startOne(cluster, node, context);
    return 0;
  }
  const { cluster } = await openCluster(context, open);
  const started = startDown(cluster);
  for (const { child } of started) child.unref();
  const leader = await waitUntilServing(cluster, started);
  context.say(
    started.length === 0 ? "Everything runs already" : `Started ${started.length} processes`,
  );
  context.say(welcome(cluster, leader, "bin/rockpool local stop ends all of it."));
  return 0;
}

function adminOf(nodes: readonly LocalNode[]): JournalAdminClient {
  return new JournalAdminClient({
    masters: nodes.map(({ rpcPort }) => ({ host: HOST, port: rpcPort })),
    auth: credentialsOf("SIMPLE", null),
    patienceMs: ADMIN_PATIENCE_MS,
  });
}

/** Leadership goes elsewhere first, and a stop that would leave no quorum is refused. */
async function prepareStopOf(
  cluster: LocalCluster,
  node: LocalNode,
  isForced: boolean,
  context: LocalContext,
): Promise<void> {
  const admin = adminOf(cluster.nodes.filter(({ kind }) => kind === "master"));
  const own = adminOf([node]);
  try {
    await prepareStop({ admin, own, isForced, say: context.say });
  } finally {
    admin.close();
    own.close();
  }
}

/** One more master: made ready, started, and waited for until it votes. */
async function add(
  words: readonly string[],
  open: OpenOptions,
  context: LocalContext,
): Promise<number> {
  if (words.join(" ") !== "master")
    throw usageError("Only a master can be added: local add master");
  const { node, leftAlone } = await prepareMaster(context, resolve(open.dir));
  for (const path of leftAlone)
    context.say(`${path} has lists of its own: add master ${node.number} there by hand`);
  const cluster = { ...existingCluster(context, open.dir), definitions: open.definitions };
  await startOne(cluster, node, context);
  const admin = adminOf(cluster.nodes.filter(({ kind }) => kind === "master"));
  try {
    const address = `${HOST}:${node.journalPort}`;
    const { leader } = await admin.look();
    const known = leader?.members.find((member) => member.address === address);
    if (known?.isVoter !== true) await admin.addMember(address, READY_TIMEOUT_MS);
  } catch (error) {
    if (!isRockpoolError(error, "ALREADY_EXISTS")) throw error;
  } finally {
    admin.close();
  }
  context.say(
    `master ${node.number} is a voter: ${cluster.nodes.filter(({ kind }) => kind === "master").length} masters`,
  );
  context.say(
    "The other masters read the new list when they are started the next time, one by one",
  );
  return 0;
}

/** How long a master may take to read what it lacks. */
const CATCH_UP_WITHIN_MS = 60_000;

/** No write is refused for longer than a hand-over takes. */
async function restartRolling(
  words: readonly string[],
  isRolling: boolean,
  open: OpenOptions,
  context: LocalContext,
): Promise<number> {
  if (words.join(" ") !== "masters" || !isRolling)
    throw usageError(
      "Only all masters are restarted by one command: local restart masters --rolling",
    );
  const cluster = { ...existingCluster(context, open.dir), definitions: open.definitions };
  const nodes = cluster.nodes.filter(({ kind }) => kind === "master");
  const quiet = { ...context, say: () => {} };
  const admin = adminOf(nodes);
  try {
    await rollingRestart({
      admin,
      masters: nodes.map((node) => ({
        name: `master ${node.number}`,
        address: `${HOST}:${node.journalPort}`,
        async restart() {
          await stopNodes(cluster, [node]);
          await startOne(cluster, node, quiet);
        },
        // Its files were read a moment ago, by the process that was started there.
        verify: async () => null,
      })),
      say: context.say,
      catchUpWithinMs: CATCH_UP_WITHIN_MS,
    });
  } finally {
    admin.close();
  }
  return 0;
}

async function stop(
  words: readonly string[],
  dir: string,
  isForced: boolean,
  context: LocalContext,
): Promise<number> {
  const cluster = existingCluster(context, dir);
  const node = nodeOf(cluster, words);
  if (node?.kind === "master" && runningIdentity(cluster, node) !== null)
    await prepareStopOf(cluster, node, isForced, context);
  const nodes = (node === null ? cluster.nodes : [node]).filter(
    (one) => runningIdentity(cluster, one) !== null,
  );
  const troubles = await stopNodes(cluster, nodes);
  for (const trouble of troubles) context.say(trouble);
  for (const one of nodes) context.say(`${one.kind} ${one.number} stopped`);
  if (nodes.length === 0) context.say("Nothing was running");
  return 0;
}

const ASK_TIMEOUT_MS = 1000;

async function statusLine(cluster: LocalCluster, node: LocalNode): Promise<string> {
  const identity = runningIdentity(cluster, node);
  const health = identity === null ? null : await askHealth(node, ASK_TIMEOUT_MS);
  const role =
    health?.isServing === true ? "leader" : node.kind === "master" ? "standby" : "serving";
  const state =
    identity === null
      ? "down"
      : health === null
        ? "no answer"
        : health.isHealthy
          ? role
          : "not ready";
  const name = `${node.kind} ${node.number}`.padEnd(10);
  const pid = String(identity?.pid ?? "-").padEnd(8);
  return `${name}${state.padEnd(11)}pid ${pid} RPC ${HOST}:${node.rpcPort}  http://${HOST}:${node.webPort}`;
}

/** Exit code 0 when everything runs and serves, 1 when something does not. */
async function status(dir: string, context: LocalContext): Promise<number> {
  const cluster = existingCluster(context, dir);
  context.say(`Cluster in ${cluster.dir}`);
  const lines = await Promise.all(cluster.nodes.map((node) => statusLine(cluster, node)));
  for (const line of lines) context.say(line);
  return lines.some((line) => /\b(down|no answer|not ready)\b/.test(line)) ? 1 : 0;
}

/**
 * Runs `rockpool local WORDS…`. What cannot be done is said, with its remedy.
 * @returns the exit code: 0, or 1
 */
export async function runLocal(words: readonly string[], context: LocalContext): Promise<number> {
  try {
    return await dispatch(words, context);
  } catch (error) {
    if (!(error instanceof RockpoolError)) throw error;
    context.say(`${error.message}\n${error.remedy}`.trimEnd());
    return 1;
  }
}

async function dispatch(words: readonly string[], context: LocalContext): Promise<number> {
  const { values, positionals, definitions } = parseLocal(words);
  const [command, ...rest] = positionals;
  const dir = values.dir ?? context.defaultDir;
  if (values.help === true) {
    context.say(LOCAL_USAGE);
    return 0;
  }
  const open: OpenOptions = {
    dir,
    shape: shapeOf(values),
    definitions,
    mayRun: command === "start",
  };
  if (!["start", "stop", "add", "restart"].includes(command ?? "") && rest.length > 0)
    throw usageError(`What is "${rest.join(" ")}"?`);
  switch (command) {
    case "run":
      return runCluster(context, {
        ...open,
        cliScript: context.cliScript,
        isTested: values["no-test"] !== true,
        say: context.say,
      });
    case "start":
      return start(rest, open, context);
    case "stop":
      return stop(rest, dir, values.force === true, context);
    case "add":
      return add(rest, open, context);
    case "restart":
      return restartRolling(rest, values.rolling === true, open, context);
    case "status":
      return status(dir, context);
    default:
      throw usageError(command === undefined ? "Which command?" : `Unknown command "${command}"`);
  }
}

/** The first of these folders that holds a local cluster; null when none does. */
export function findLocalCluster(folders: readonly string[]): string | null {
  return folders.find(isLocalCluster) ?? null;
}
