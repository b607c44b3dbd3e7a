/**
 * `info …`: what the cluster is and how it is.
 * @module
 */
import type { WorkerStatus } from "../client/file_status.ts";
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import type { FlagSpec, ParsedArguments } from "./arguments.ts";
import { type Command, type CommandTable, countOf, notSupported } from "./command.ts";
import { EXIT_OK, say } from "./console.ts";
import {
  capacityJson,
  capacityLines,
  nodeLines,
  summaryJson,
  summaryLines,
  toYaml,
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
    const seen = await askMasters(session.masters());
    if (seen.some(({ leads }) => leads)) throw error;
    const lines = seen.map(({ address, text }) => `    ${address}: ${text}`);
    throw new RockpoolError(
      "UNAVAILABLE",
      `No master leads:\n${lines.join("\n")}\nStart masters until a majority runs, and see their logs`,
    );
  }
}

const FORMAT: FlagSpec = { names: ["format"], value: "text|json|yaml", help: "text when left out" };

async function print(
  session: Session,
  given: ParsedArguments,
  lines: () => readonly string[],
  json: () => Parameters<typeof toYaml>[0],
): Promise<void> {
  const format = (given.value("format") ?? "text").toLowerCase();
  if (format === "json") return say(session.console, JSON.stringify(json(), null, 2));
  if (format === "yaml") return say(session.console, toYaml(json()).trimStart());
  if (format !== "text")
    throw new RockpoolError("INVALID_ARGUMENT", `Unknown format ${format}`, "text, json or yaml");
  return say(session.console, lines().join("\n"));
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
    return { which: "lost", workers: workers.filter((worker) => !worker.isLive) };
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
  { names: ["workers", "worker"], value: "hosts", help: "these workers alone, with commas" },
];

const report: Command = {
  usage: "[summary|capacity|ufs|raft] [--format text|json|yaml]",
  summary: "Reports Alluxio running cluster information.",
  flags: [FORMAT, ...WORKER_FLAGS],
  argumentsMin: 0,
  argumentsMax: 1,
  async run(session, given) {
    const [category = "summary"] = given.positional;
    switch (category) {
      case "summary":
        return reporting(session, () => summary(session, given));
      case "capacity":
        return reporting(session, () => capacity(session, given));
      case "ufs":
        return reporting(session, async () => {
          const { mountLines } = await import("./fs_list.ts");
          for (const line of await mountLines(session)) await say(session.console, line);
        });
      case "raft":
        return raft(session, given);
      case "metrics":
      case "jobservice":
      case "proxy":
        throw notSupported(`report ${category}`);
      default:
        throw new RockpoolError(
          "INVALID_ARGUMENT",
          `Report category "${category}" is unknown`,
          "summary, capacity, ufs or raft",
        );
    }
  },
};

const cache: Command = {
  usage: "[--live|--lost|--workers hosts] [--format text|json|yaml]",
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

const getBlockInfo: Command = {
  usage: "<blockId>",
  summary: "Displays the file that a block belongs to and the workers that hold it.",
  flags: [],
  argumentsMin: 1,
  argumentsMax: 1,
  async run(session, given) {
    const { fileIdOfBlock } = await import("../common/ids.ts");
    const { blockText } = await import("./listing.ts");
    const [text = ""] = given.positional;
    countOf(text.slice(0, 15), "<blockId>");
    const id = BigInt(text);
    const files = await session.files();
    // The number came from a person; what it belongs to is looked up, not assumed.
    const path = await files.pathOf(fileIdOfBlock(id as Parameters<typeof fileIdOfBlock>[0]));
    const status = await files.getStatus(path);
    const block = status.blocks.find((one) => one.id === id);
    if (block === undefined)
      throw new RockpoolError("NOT_FOUND", `File ${path} has no block ${id}`);
    await say(session.console, blockText(block));
    await say(session.console, `This block belongs to file {id=${status.id}, path=${path}}`);
    return EXIT_OK;
  },
};

export const COMMANDS: CommandTable = { report, cache, nodes, getBlockInfo };
