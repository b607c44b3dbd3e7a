/**
 * `journal quorum …`: who takes part in the journal, and who leads.
 *
 * Texts are Alluxio 2.9.4's where it has them; an address that is no member fails here, where Alluxio says that it was done.
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { JournalView } from "../client/journal_admin.ts";
import { messageOf, RockpoolError } from "../common/errors.ts";
import { parseDurationMs } from "../common/units.ts";
import type { FlagSpec, ParsedArguments } from "./arguments.ts";
import { UsageError } from "./arguments.ts";
import { type CommandTable, notSupported } from "./command.ts";
import { EXIT_FAILED, EXIT_OK, say } from "./console.ts";
import { FORMAT, print } from "./output.ts";
import type { Session } from "./session.ts";

const DOMAIN: FlagSpec = { names: ["domain"], value: "MASTER|JOB_MASTER", help: "Journal domain" };
const address = (help: string): FlagSpec => ({ names: ["address"], value: "HOSTNAME:PORT", help });

/** There are no job masters. */
function requireMasters(given: ParsedArguments): void {
  const domain = (given.value("domain") ?? "MASTER").toUpperCase();
  if (domain === "JOB_MASTER") throw notSupported("The job master's journal");
  if (domain !== "MASTER")
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `Journal domain "${given.value("domain")}" is unknown`,
      "MASTER",
    );
}

function requireAddress(given: ParsedArguments): string {
  const value = given.value("address");
  if (value === undefined) throw new UsageError("Missing required option: address");
  return value.trim();
}

/** @throws RockpoolError UNAVAILABLE with what each master says, when none answers */
export function requireAnswer(view: JournalView): void {
  if (view.answers.some(({ report }) => report !== null)) return;
  const lines = view.answers.map((one) => `    ${one.rpc}: ${one.report === null ? one.why : ""}`);
  throw new RockpoolError(
    "UNAVAILABLE",
    `No master answers:\n${lines.join("\n")}`,
    "Start the masters, and see their logs",
  );
}

function infoLines({ members, leader }: JournalView): string[] {
  const row = (state: string, priority: string, server: string) =>
    `${state.padEnd(11)} | ${priority.padEnd(8)} | ${server}`;
  return [
    "Journal domain\t: MASTER",
    `Quorum size\t: ${members.length}`,
    `Quorum leader\t: ${leader?.address ?? members.find(({ isLeader }) => isLeader)?.address ?? "UNKNOWN"}`,
    "",
    row("STATE", "PRIORITY", "SERVER ADDRESS"),
    ...members.map((member) =>
      row(
        member.isAvailable ? "AVAILABLE" : "UNAVAILABLE",
        member.isVoter ? "1" : "0",
        member.address,
      ),
    ),
  ];
}

function infoJson({ members, leader }: JournalView) {
  return {
    domain: "MASTER",
    quorumSize: members.length,
    leader: leader?.address ?? members.find(({ isLeader }) => isLeader)?.address ?? "UNKNOWN",
    members: members.map((member) => ({
      state: member.isAvailable ? "AVAILABLE" : "UNAVAILABLE",
      priority: member.isVoter ? 1 : 0,
      address: member.address,
    })),
  };
}

async function elect(session: Session, to: string): Promise<number> {
  const { console } = session;
  const admin = await session.admin();
  await say(console, `Initiating transfer of leadership to ${to}`);
  let outcome = "successful";
  try {
    const tookMs = await admin.transferTo(to);
    await say(console, `Successfully elected ${to} as the new leader`);
    await say(console, `transferred in ${Math.round(tookMs)} ms`);
  } catch (error) {
    outcome = "failed";
    await say(console, `Failed to elect ${to} as the new leader: ${messageOf(error)}`);
  }
  await say(console, `Resetting priorities of masters after ${outcome} transfer of leadership`);
  try {
    await admin.resetPriorities();
    await say(console, "Quorum priorities were reset to 1");
  } catch (error) {
    outcome = "failed";
    await say(console, `Quorum priorities failed to be reset: ${messageOf(error)}`);
  }
  return outcome === "failed" ? EXIT_FAILED : EXIT_OK;
}

/** A new master has to be started, and to read what it lacks. */
const ADD_WITHIN = "3min";
const LOOK_EVERY_MS = 500;

/** Says what the new member does, each time that it is something new. */
async function tellProgress(session: Session, at: string, isOver: () => boolean): Promise<void> {
  let told = "";
  while (!isOver()) {
    const { leader } = await (await session.admin()).look();
    const member = leader?.members.find((one) => one.address === at);
    const text =
      leader === null
        ? told
        : member === undefined
          ? `Waiting until ${at} asks to join: start that master now, with its own address and those of all others`
          : member.isVoter
            ? ""
            : `${at} is a learner and catches up`;
    if (text !== "" && text !== told && !isOver()) await say(session.console, text);
    told = text;
    await sleep(LOOK_EVERY_MS, undefined, { ref: false });
  }
}

async function add(session: Session, at: string, timeoutMs: number): Promise<number> {
  const { console } = session;
  const admin = await session.admin();
  const { leader } = await admin.look();
  const known = leader?.members.find((member) => member.address === at);
  if (known?.isVoter === true && known.isAvailable) {
    await say(console, `${at} is a voter of the quorum already`);
    return EXIT_OK;
  }
  let isOver = false;
  const adding = admin.addMember(at, timeoutMs).finally(() => {
    isOver = true;
  });
  await Promise.race([adding, tellProgress(session, at, () => isOver)]);
  await adding;
  await say(console, `Added server at: ${at} to quorum: MASTER`);
  return EXIT_OK;
}

export const COMMANDS: CommandTable = {
  info: {
    usage: "-domain <MASTER|JOB_MASTER> [--format text|json|yaml]",
    summary: "Shows quorum information for embedded journal.",
    flags: [DOMAIN, FORMAT],
    argumentsMin: 0,
    argumentsMax: 0,
    async run(session, given) {
      requireMasters(given);
      const view = await (await session.admin()).look();
      requireAnswer(view);
      await print(
        session,
        given,
        () => infoLines(view),
        () => infoJson(view),
      );
      return EXIT_OK;
    },
  },
  elect: {
    usage: "-address <HOSTNAME:PORT>",
    summary: "Transfers leadership of the quorum to the master located at <hostname>:<port>",
    flags: [address("Server address that will take over as leader")],
    argumentsMin: 0,
    argumentsMax: 0,
    run: (session, given) => elect(session, requireAddress(given)),
  },
  remove: {
    usage: "-domain <MASTER|JOB_MASTER> -address <HOSTNAME:PORT>",
    summary:
      "Removes a server from embedded journal quorum. It must be formatted before it can join again.",
    flags: [DOMAIN, address("Server address to remove")],
    argumentsMin: 0,
    argumentsMax: 0,
    async run(session, given) {
      requireMasters(given);
      const at = requireAddress(given);
      await (await session.admin()).removeMember(at);
      await say(session.console, `Removed server at: ${at} from quorum: MASTER`);
      return EXIT_OK;
    },
  },
  add: {
    usage: "-address <HOSTNAME:PORT> [-timeout <duration>]",
    summary:
      "Waits until a new master takes part: format and start it with its own address and those of all others in alluxio.master.embedded.journal.addresses.",
    flags: [
      address("Server address of the new master"),
      { names: ["timeout"], value: "duration", help: `how long it may take (${ADD_WITHIN})` },
    ],
    argumentsMin: 0,
    argumentsMax: 0,
    async run(session, given) {
      const text = given.value("timeout") ?? ADD_WITHIN;
      const timeoutMs = parseDurationMs(text);
      if (timeoutMs === null || timeoutMs <= 0)
        throw new RockpoolError("INVALID_ARGUMENT", `Timeout "${text}" is not a duration`, "3min");
      return add(session, requireAddress(given), timeoutMs);
    },
  },
};
