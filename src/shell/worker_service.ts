/**
 * `fsadmin decommissionWorker` and `enableWorker`: workers out of service, and back. Texts and exit codes are Alluxio's.
 *
 * Out of service: the masters name the worker to nobody any more; then clients, which keep their list of workers for a
 * while, get time to notice; then the worker is asked what it still does, until it has been idle a few times in a row.
 * @module
 */
import { get } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { NamedWorker } from "../client/cluster_admin.ts";
import type { FileSystem } from "../client/file_system.ts";
import { isRockpoolError, messageOf, RockpoolError } from "../common/errors.ts";
import { parseDurationMs } from "../common/units.ts";
import { WorkerKeys } from "../conf/worker_keys.ts";
import type { FlagSpec, ParsedArguments } from "./arguments.ts";
import { UsageError } from "./arguments.ts";
import type { CommandTable } from "./command.ts";
import { EXIT_OK, say } from "./console.ts";
import type { Session } from "./session.ts";

const EXIT_REFUSED = 1;
const EXIT_NO_MASTER = 2;
const EXIT_BUSY = 3;
const EXIT_UNREACHABLE = 10;
const VERDICTS: Readonly<Record<number, string>> = {
  [EXIT_OK]:
    "All workers are successfully decommissioned and now idle. Safe to kill or restart this batch of workers now.",
  [EXIT_REFUSED]:
    "Failed to decommission all workers. The admin should double check the worker addresses and the primary master status.",
  [EXIT_NO_MASTER]:
    "Lost connection to the primary master while this command is running. This suggests the configured master address is wrong or the primary master failed over.",
  [EXIT_BUSY]:
    "Some workers were still not idle after the wait. Either the wait time is too short or those workers failed to mark decommissioned. The admin should manually intervene and check those workers.",
  [EXIT_UNREACHABLE]:
    "Workers are decommissioned but some or all workers lost contact while this command is running. If a worker is not serving then it is safe to kill or restart. But the admin is advised to double check the status of those workers.",
};

/** How long clients keep their list of workers. */
const REFRESH_KEY = "alluxio.user.worker.list.refresh.interval";
const REFRESH_MS = 2 * 60_000;
const WAIT = "5m";
const POLL_MS = 500;
const ASK_MS = 2000;
/** So many answers in a row decide. */
const QUIET_TIMES = 5;
const SILENT_TIMES = 5;
const ANSWER_BYTES_MAX = 64 * 1024;

const ADDRESSES: FlagSpec = {
  names: ["a", "addresses"],
  value: "workerHosts",
  help: "host or host:webPort of one or more workers, with commas",
};

/** @throws RockpoolError INVALID_ARGUMENT for what is no address */
function workersOf(session: Session, given: ParsedArguments): readonly NamedWorker[] {
  const text = given.value("a");
  if (text === undefined) throw new UsageError("Worker addresses must be specified");
  const port = session.configuration.get(WorkerKeys.webPort);
  return text.split(",").map((one) => {
    const match = /^\s*(\[[0-9A-Fa-f:.]+\]|[^\s:]+)(?::(\d{1,5}))?\s*$/.exec(one);
    if (match === null)
      throw new RockpoolError(
        "INVALID_ARGUMENT",
        `worker address ${one} cannot be recognized`,
        "Write host or host:webPort",
      );
    return { host: match[1] ?? "", webPort: match[2] === undefined ? port : Number(match[2]) };
  });
}

const nameOf = ({ host, webPort }: NamedWorker) => `${host}:${webPort}`;

async function availableNames(files: FileSystem): Promise<ReadonlySet<string>> {
  const workers = await files.workers();
  return new Set(workers.map(({ address }) => nameOf(address)));
}

/** What a worker is busy with; null when it does not answer. */
function operationsOf(worker: NamedWorker): Promise<{ active: number; queued: number } | null> {
  const options = { host: worker.host, port: worker.webPort, path: "/api/v1/worker/operations" };
  return new Promise((resolve) => {
    const request = get({ ...options, timeout: ASK_MS }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (piece: string) => {
        text += piece;
        if (text.length > ANSWER_BYTES_MAX) request.destroy();
      });
      response.on("end", () => resolve(response.statusCode === 200 ? readOperations(text) : null));
      response.on("close", () => resolve(null));
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => resolve(null)); // that it does not answer is the answer
  });
}

function readOperations(text: string): { active: number; queued: number } | null {
  const active = /"(?:operationCount|activeOperations)"\s*:\s*(\d+)/i.exec(text)?.[1];
  const queued = /"rpcQueueLength"\s*:\s*(\d+)/i.exec(text)?.[1] ?? "0";
  return active === undefined ? null : { active: Number(active), queued: Number(queued) };
}

type Fate = "idle" | "busy" | "silent";

/** Watches a worker until it is idle, does not answer any more, or the time is over. */
async function watch(session: Session, worker: NamedWorker, untilMs: number): Promise<Fate> {
  const { console } = session;
  await say(console, `Polling status from worker ${nameOf(worker)}`);
  let quiet = 0;
  let silent = 0;
  for (;;) {
    const seen = await operationsOf(worker);
    if (seen === null) {
      quiet = 0;
      silent++;
    } else {
      silent = 0;
      quiet = seen.active === 0 && seen.queued === 0 ? quiet + 1 : 0;
      if (quiet <= 1)
        await say(console, `Worker ActiveOperations=${seen.active}, RpcQueueLength=${seen.queued}`);
    }
    if (quiet === QUIET_TIMES) {
      await say(
        console,
        `There is no operation on worker ${nameOf(worker)} for ${quiet} times in a row. Worker is considered safe to stop.`,
      );
      return "idle";
    }
    if (silent === SILENT_TIMES) {
      await say(
        console,
        `Failed to poll status from worker ${nameOf(worker)} for ${silent} times in a row. Worker is considered inaccessible and not functioning. If the worker is not functioning, it probably does not currently have ongoing I/O and can be stopped. But the admin is advised to manually double check the working before stopping it.`,
      );
      return "silent";
    }
    if (performance.now() > untilMs) return "busy";
    await sleep(POLL_MS, undefined, { signal: console.signal });
  }
}

/** Has the masters take workers out of service. @returns those that they did */
async function sendAll(
  session: Session,
  files: FileSystem,
  workers: readonly NamedWorker[],
  isDisabling: boolean,
): Promise<readonly NamedWorker[]> {
  const { console } = session;
  const done: NamedWorker[] = [];
  const failed: string[] = [];
  for (const worker of workers) {
    await say(console, `Decommissioning worker ${nameOf(worker)}`);
    try {
      await files.admin.decommission(worker, !isDisabling);
      await say(console, `Set worker ${nameOf(worker)} decommissioned on master`);
      done.push(worker);
    } catch (error) {
      if (!isRockpoolError(error)) throw error;
      await say(console, `Failed to decommission worker ${nameOf(worker)}`);
      await say(console, messageOf(error));
      failed.push(nameOf(worker));
    }
  }
  await say(
    console,
    `Sent decommission messages to the master, ${failed.length} failed and ${done.length} succeeded`,
  );
  await say(console, `Failed ones: [${failed.join(", ")}]`);
  return done;
}

/** Gives clients the time to notice. @returns the workers that the masters offer all the same */
async function settle(
  session: Session,
  files: FileSystem,
  workers: readonly NamedWorker[],
): Promise<readonly NamedWorker[]> {
  const { console } = session;
  const refreshMs = parseDurationMs(session.configuration.text(REFRESH_KEY) ?? "") ?? REFRESH_MS;
  await say(
    console,
    `Clients take ${REFRESH_KEY}=${refreshMs}ms to be updated on the new worker list so this command will block for the same amount of time to ensure the update propagates to clients in the cluster.`,
  );
  await sleep(refreshMs, undefined, { signal: console.signal });
  await say(
    console,
    "Verifying the decommission has taken effect by listing all available workers on the master",
  );
  const available = await availableNames(files);
  await say(console, `Now on master the available workers are: [${[...available].join(", ")}]`);
  const offered = workers.filter((worker) => available.has(nameOf(worker)));
  for (const worker of offered)
    await say(
      console,
      `Worker ${nameOf(worker)} is still showing available on the master. Please check why the decommission did not work.`,
    );
  return offered;
}

async function decommission(session: Session, given: ParsedArguments): Promise<number> {
  const { console } = session;
  const workers = workersOf(session, given);
  const text = given.value("w") ?? WAIT;
  const waitMs = parseDurationMs(text);
  if (waitMs === null || waitMs < 0)
    throw new RockpoolError("INVALID_ARGUMENT", `Wait "${text}" is not a duration`, "Such as 5m");
  const end = async (exit: number) => {
    await say(console, VERDICTS[exit] ?? "");
    return exit;
  };
  const files = await session.files();
  try {
    const available = await availableNames(files);
    const stranger = workers.find((worker) => !available.has(nameOf(worker)));
    if (stranger !== undefined) {
      await say(
        console,
        `Worker ${nameOf(stranger)} is not known by the master. Please check the hostname or retry later. Available workers are: [${[...available].join(", ")}]`,
      );
      return end(EXIT_REFUSED);
    }
    const done = await sendAll(session, files, workers, given.has("d"));
    if (done.length === 0) return end(EXIT_REFUSED);
    const offered = await settle(session, files, done);
    const untilMs = performance.now() + waitMs;
    const fates = await Promise.all(done.map((worker) => watch(session, worker, untilMs)));
    const named = (fate: Fate) => done.filter((_, at) => fates[at] === fate).map(nameOf);
    const [busy, idle, silent] = [named("busy"), named("idle"), named("silent")];
    if (busy.length > 0)
      await say(
        console,
        `${busy.length} workers still have not finished all their operations: [${busy.join(", ")}]`,
      );
    await say(
      console,
      `${idle.length} workers finished all their operations successfully:\n[${idle.join(", ")}]`,
    );
    if (silent.length > 0)
      await say(
        console,
        `${silent.length} workers became inaccessible and we assume there are no operations, but we still recommend the admin to double check:\n[${silent.join(", ")}]`,
      );
    if (done.length < workers.length) return end(EXIT_REFUSED);
    // Idle for the moment: who is still offered may be written to, and is not safe to stop.
    if (busy.length + offered.length > 0) return end(EXIT_BUSY);
    return end(silent.length > 0 ? EXIT_UNREACHABLE : EXIT_OK);
  } catch (error) {
    const isAway =
      isRockpoolError(error, "UNAVAILABLE") || isRockpoolError(error, "DEADLINE_EXCEEDED");
    if (!isAway || console.signal.aborted) throw error;
    await say(console, `Cannot get available worker list from master: ${messageOf(error)}`);
    return end(EXIT_NO_MASTER);
  }
}

async function enable(session: Session, given: ParsedArguments): Promise<number> {
  const { console } = session;
  const files = await session.files();
  const failed: string[] = [];
  for (const worker of workersOf(session, given)) {
    await say(console, `Re-enabling worker ${nameOf(worker)}`);
    try {
      await files.admin.enable(worker);
      await say(console, `Re-enabled worker ${nameOf(worker)} on master`);
    } catch (error) {
      if (!isRockpoolError(error)) throw error;
      await say(console, `Failed to re-enable worker ${nameOf(worker)}`);
      await say(console, messageOf(error));
      failed.push(nameOf(worker));
    }
  }
  if (failed.length === 0) {
    await say(
      console,
      `Successfully re-enabled all workers on the master. The workers should be able to register to the master and then serve normally.Note there is a short gap defined by ${REFRESH_KEY} before the clients become aware of this worker and start to use it.`,
    );
    return EXIT_OK;
  }
  await say(
    console,
    `${failed.length} failed to be re-enabled on the master: [${failed.join(", ")}]`,
  );
  await say(
    console,
    "The admin needs to manually check and fix the problem. Those workers are not able to register to the master and serve requests.",
  );
  return EXIT_REFUSED;
}

export const COMMANDS: CommandTable = {
  decommissionWorker: {
    usage: "--addresses <workerHosts> [--wait waitTime] [--disable]",
    summary:
      "Takes workers out of service, and waits until nobody uses them, so that they can be stopped.",
    flags: [
      ADDRESSES,
      { names: ["w", "wait"], value: "waitTime", help: `how long they may stay busy (${WAIT})` },
      { names: ["d", "disable"], help: "does not let them register again before enableWorker" },
    ],
    argumentsMin: 0,
    argumentsMax: 0,
    run: decommission,
  },
  enableWorker: {
    usage: "--addresses <workerHosts>",
    summary: "Lets workers register again that were taken out of service with --disable.",
    flags: [ADDRESSES],
    argumentsMin: 0,
    argumentsMax: 0,
    run: enable,
  },
};
