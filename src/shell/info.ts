/**
 * `info …`: what the cluster is and how it is.
 * @module
 */
import type { WorkerStatus } from "../client/file_status.ts";
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import type { FlagSpec, ParsedArguments } from "./arguments.ts";
import { UsageError } from "./arguments.ts";
import { type Command, type CommandTable, notSupported } from "./command.ts";
import { EXIT_FAILED, EXIT_OK, say } from "./console.ts";
import { FORMAT, print } from "./output.ts";
import {
  capacityJson,
  capacityLines,
  isDecommissioned,
  nodeLines,
  summaryJson,
  summaryLines,
} from "./report.ts";
import type { Session } from "./session.ts";

/** A report is about now: when nobody leads, that is the news. */
const REPORT_WITHIN_MS = 5000;

/** Runs a command that reports; when no master leads, it soon fails with what each of them says. */
async function reporting(session: Session, act: () => Promise<void>): Promise<number> {
  session.limitPatience(REPORT_WITHIN_MS);
  try {
    await act();
    return EXIT_OK;
  } catch (error) {
    const isLate =
      isRockpoolError(error, "UNAVAILABLE") || isRockpoolError(error, "DEADLINE_EXCEEDED");
    if (!isLate) throw error;
    const { askMasters } = await import("./master_probe.ts");
    const seen = await askMasters(await session.masters());
    if (seen.some(({ leads }) => leads)) throw error;
    const lines = seen.map(({ address, text }) => `    ${address}: ${text}`);
    throw new RockpoolError(
      "UNAVAILABLE",
      `No master leads:\n${lines.join("\n")}\nStart masters until a majority runs, and see their logs`,
    );
  }
}

/** Which workers a capacity report is about, and how its title calls them. */
function chosen(
  workers: readonly WorkerStatus[],
  given: ParsedArguments,
): { readonly which: string; readonly workers: readonly WorkerStatus[] } {
  const names = given.value("workers");
  if (names !== undefined) {
    const wanted = new Set(names.split(",").map((name) => name.trim()));
    const found = workers.filter((worker) => wanted.has(worker.address.host));
    return { which: "specified", workers: found };
  }
  if (given.has("live"))
    return { which: "live", workers: workers.filter((worker) => worker.isLive) };
  if (given.has("lost"))
    return {
      which: "lost",
      workers: workers.filter((worker) => !worker.isLive && !isDecommissioned(worker)),
    };
  if (given.has("decommissioned"))
    return { which: "decommissioned", workers: workers.filter(isDecommissioned) };
  return { which: "all", workers };
}

async function capacity(session: Session, given: ParsedArguments): Promise<void> {
  const files = await session.files();
  const { which, workers } = chosen(await files.workerReport(), given);
  await print(
    session,
    given,
    () => capacityLines(workers, which),
    () => capacityJson(workers),
  );
}

async function summary(session: Session, given: ParsedArguments): Promise<void> {
  const files = await session.files();
  const [info, workers] = await Promise.all([files.clusterInfo(), files.workerReport()]);
  await print(
    session,
    given,
    () => summaryLines(info, workers),
    () => summaryJson(info, workers),
  );
}

/** Answered by every master in every role: it is what is asked when nobody leads. */
async function raft(session: Session, given: ParsedArguments): Promise<number> {
  const { requireAnswer } = await import("./quorum.ts");
  const { raftJson, raftLines } = await import("./raft_report.ts");
  const view = await (await session.admin()).look();
  requireAnswer(view);
  await print(
    session,
    given,
    () => raftLines(view, Date.now()),
    () => raftJson(view),
  );
  return EXIT_OK;
}

const WORKER_FLAGS: readonly FlagSpec[] = [
  { names: ["live"], help: "live workers alone" },
  { names: ["lost"], help: "lost workers alone" },
  { names: ["decommissioned"], help: "workers alone that were taken out of service" },
  { names: ["workers", "worker"], value: "hosts", help: "these workers alone, with commas" },
];

async function ufs(session: Session, given: ParsedArguments): Promise<void> {
  const { mountJson, mountLine } = await import("./fs_list.ts");
  const mounts = await (await session.files()).getMountTable();
  await print(
    session,
    given,
    () => ["Alluxio under storage system information:", ...mounts.map(mountLine)],
    () => mounts.map(mountJson),
  );
}

async function metrics(session: Session, given: ParsedArguments): Promise<void> {
  const { metricsJson, metricsLines } = await import("./admin_report.ts");
  const found = await (await session.files()).admin.metrics();
  await print(
    session,
    given,
    () => metricsLines(found),
    () => metricsJson(found),
  );
}

async function proxies(session: Session, given: ParsedArguments): Promise<void> {
  const { proxyJson, proxyLines } = await import("./admin_report.ts");
  const found = await (await session.files()).admin.proxies();
  await print(
    session,
    given,
    () => proxyLines(found),
    () => proxyJson(found),
  );
}

const CATEGORIES: Readonly<
  Record<string, (session: Session, given: ParsedArguments) => Promise<void>>
> = { summary, capacity, ufs, metrics, proxy: proxies };

const report: Command = {
  usage:
    "[summary|capacity|ufs|metrics|proxy|raft] [--live|--lost|--decommissioned|--workers hosts] [--format text|json|yaml]",
  summary: "Reports Alluxio running cluster information.",
  flags: [FORMAT, ...WORKER_FLAGS],
  argumentsMin: 0,
  argumentsMax: 1,
  async run(session, given) {
    const [category = "summary"] = given.positional;
    const filter = WORKER_FLAGS.find(({ names: [name = ""] }) => given.has(name));
    if (category !== "capacity" && filter !== undefined)
      throw new UsageError(
        `report ${category} does not support arguments: --${filter.names[0]} (report capacity does)`,
      );
    if (category === "raft") return raft(session, given);
    if (category === "jobservice") throw notSupported("report jobservice");
    const act = CATEGORIES[category];
    if (act === undefined)
      throw new RockpoolError(
        "INVALID_ARGUMENT",
        `Report category "${category}" is unknown`,
        `One of ${[...Object.keys(CATEGORIES), "raft"].join(", ")}`,
      );
    return reporting(session, () => act(session, given));
  },
};

const cache: Command = {
  usage: "[--live|--lost|--decommissioned|--workers hosts] [--format text|json|yaml]",
  summary: "Reports the workers' storage.",
  flags: [FORMAT, ...WORKER_FLAGS],
  argumentsMin: 0,
  argumentsMax: 0,
  async run(session, given) {
    return reporting(session, () => capacity(session, given));
  },
};

const nodes: Command = {
  usage: "[--format text|json|yaml]",
  summary: "Lists the workers with their ids and states.",
  flags: [FORMAT],
  argumentsMin: 0,
  argumentsMax: 0,
  async run(session, given) {
    return reporting(session, async () => {
      const workers = await (await session.files()).workerReport();
      await print(
        session,
        given,
        () => nodeLines(workers),
        () => capacityJson(workers),
      );
    });
  },
};

/** @throws RockpoolError NOT_FOUND when no file has the block */
async function blockOf(session: Session, id: bigint) {
  const { fileIdOfBlock } = await import("../common/ids.ts");
  const files = await session.files();
  // The number came from a person; what it belongs to is looked up, not assumed.
  const path = await files.pathOf(fileIdOfBlock(id as Parameters<typeof fileIdOfBlock>[0]));
  const status = await files.getStatus(path);
  const block = status.blocks.find((one) => one.id === id);
  if (block === undefined) throw new RockpoolError("NOT_FOUND", `File ${path} has no block ${id}`);
  return { block, path, fileId: status.id };
}

const getBlockInfo: Command = {
  usage: "<blockId> [--format text|json|yaml]",
  summary: "Displays the file that a block belongs to and the workers that hold it.",
  flags: [FORMAT],
  argumentsMin: 1,
  argumentsMax: 1,
  async run(session, given) {
    const { blockText } = await import("./listing.ts");
    const [text = ""] = given.positional;
    if (!/^\d{1,19}$/.test(text)) {
      await say(session.console, `${text} is not a valid block id.`);
      return EXIT_FAILED;
    }
    const { block, path, fileId } = await blockOf(session, BigInt(text));
    await print(
      session,
      given,
      () => [blockText(block), `This block belongs to file {id=${fileId}, path=${path}}`],
      () => ({
        id: String(block.id),
        lengthBytes: block.lengthBytes,
        locations: block.locations.map(({ workerId, address, tierAlias }) => ({
          workerId: String(workerId),
          host: address.host,
          rpcPort: address.rpcPort,
          tierAlias,
        })),
        fileId: String(fileId),
        path,
      }),
    );
    return EXIT_OK;
  },
};

export const COMMANDS: CommandTable = { report, cache, nodes, getBlockInfo };
