/**
 * `fsadmin metrics clear` and `fsadmin statelock`. Texts are Alluxio 2.9.4's.
 * @module
 */
import { isRockpoolError, messageOf } from "../common/errors.ts";
import type { ParsedArguments } from "./arguments.ts";
import { type Command, type CommandTable, countOf } from "./command.ts";
import { EXIT_FAILED, EXIT_OK, say } from "./console.ts";
import type { Session } from "./session.ts";

const PARALLEL = 8;

async function clearWorkers(session: Session, given: ParsedArguments): Promise<number> {
  const { console } = session;
  const files = await session.files();
  const live = await files.workers();
  const hosts = given
    .value("workers")
    ?.split(",")
    .map((host) => host.trim());
  const strangers = (hosts ?? []).filter(
    (host) => !live.some(({ address }) => address.host === host),
  );
  if (strangers.length > 0) {
    await say(console, `Cannot find workers of hostnames ${strangers.join(",")}`);
    await say(
      console,
      `Valid workers include ${live.map(({ address }) => address.host).join(",")}`,
    );
    return EXIT_FAILED;
  }
  const chosen = live.filter(({ address }) => hosts === undefined || hosts.includes(address.host));
  if (chosen.length === 0) await say(console, "No worker metrics to clear.");
  const parallel = Math.max(
    1,
    countOf(given.value("parallelism") ?? String(PARALLEL), "--parallelism"),
  );
  const waiting = [...chosen];
  const failed: string[] = [];
  const work = async () => {
    for (let worker = waiting.shift(); worker !== undefined; worker = waiting.shift())
      try {
        await files.admin.clearWorkerMetrics(worker.address);
        await say(console, `Successfully cleared metrics of worker ${worker.address.host}.`);
      } catch (error) {
        if (!isRockpoolError(error)) throw error;
        failed.push(`${worker.address.host}: ${messageOf(error)}`);
      }
  };
  await Promise.all(Array.from({ length: Math.min(parallel, chosen.length) }, work));
  for (const one of failed) await say(console, `Failed to clear metrics of workers ${one}`);
  return failed.length === 0 ? EXIT_OK : EXIT_FAILED;
}

export const clear: Command = {
  usage: "[--master] [--workers <worker_hostnames>] [--parallelism <#>]",
  summary:
    "Clear the metrics of the whole cluster by default. Users can pass in options to decide metrics of which nodes to be cleared.",
  flags: [
    { names: ["master"], help: "Clear the metrics of Alluxio leading master" },
    {
      names: ["workers"],
      value: "worker_hostnames",
      help: "Clear metrics of specified workers. Pass in the worker hostnames separated by comma",
    },
    {
      names: ["parallelism"],
      value: "#",
      help: `Number of concurrent worker metrics clear operations, default: ${PARALLEL}`,
    },
  ],
  argumentsMin: 0,
  argumentsMax: 0,
  async run(session, given) {
    const isAll = !given.has("master") && !given.has("workers");
    if (isAll || given.has("master")) {
      await (await session.files()).admin.clearMasterMetrics();
      await say(session.console, "Successfully cleared metrics of Alluxio leading master.");
    }
    return isAll || given.has("workers") ? clearWorkers(session, given) : EXIT_OK;
  },
};

const statelock: Command = {
  usage: "",
  summary: "statelock returns all waiters and holders of the state lock.",
  flags: [],
  argumentsMin: 0,
  argumentsMax: 0,
  async run(session) {
    for (const one of await (await session.files()).admin.stateLockHolders())
      await say(session.console, one);
    return EXIT_OK;
  },
};

export const COMMANDS: CommandTable = { clear, statelock, "clear-metrics": clear };
