/**
 * `process start|stop|restart|monitor`, and 2.9's alluxio-start.sh, alluxio-stop.sh and alluxio-monitor.sh.
 *
 * `master`, `worker` and `local` mean the daemons of this host; `masters`, `workers` and `all` those of the hosts in
 * conf/masters and conf/workers (cluster_commands.ts). Nothing here ever formats.
 * @module
 */
import { hostname } from "node:os";
import { resolve } from "node:path";
import { messageOf, RockpoolError } from "../common/errors.ts";
import type { Configuration } from "../conf/configuration.ts";
import type { FlagSpec, ParsedArguments } from "./arguments.ts";
import { type Command, type CommandTable, forEachOf } from "./command.ts";
import { EXIT_FAILED, EXIT_OK, green, red, say } from "./console.ts";
import { HostDaemon } from "./host_daemon.ts";
import {
  type Kind,
  ramDiskNotice,
  refuseFormat,
  startWord,
  TARGET_NAMES,
  type Target,
  targetOf,
} from "./process_words.ts";
import type { Session } from "./session.ts";

export type ProcessParts = {
  /** The daemons' entry: dist/main.js. */
  readonly mainScript: string;
  /** @returns the folders that were emptied */
  readonly formatMaster: (configuration: Configuration) => Promise<readonly string[]>;
  /** Where the journal lies that the masters share, if it holds anything; null if not. */
  readonly usedSharedJournal: (configuration: Configuration) => Promise<string | null>;
  readonly formatWorker: (configuration: Configuration) => Promise<readonly string[]>;
};

const FORCE: FlagSpec = {
  names: ["force"],
  help: "stop a master even if the others then have no quorum",
};
const SKIP_KILL: FlagSpec = {
  names: ["N", "skip-kill-prev"],
  help: "leave a daemon that runs already",
};
const SOFT: FlagSpec = { names: ["s", "soft"], help: "never kill, only ask" };
const WHOLE: FlagSpec = {
  names: ["whole-cluster"],
  help: "all masters are stopped: hand leadership to nobody first",
};
/** What Alluxio's scripts take and what is so in any case here. */
const ACCEPTED_AT_START: readonly FlagSpec[] = [
  { names: ["a", "async"], help: "accepted; starting waits in any case" },
  { names: ["m"], help: "accepted; a start says whether the daemon is healthy in any case" },
  { names: ["w"], help: "accepted; a start waits for the daemon that it stops in any case" },
  { names: ["f"], help: "refused: starting never formats" },
  { names: ["c"], value: "dir", help: "accepted; blocks stay in their folders over a restart" },
];

/** The backup of a command line, as the daemon finds it from wherever it runs. */
function backupOf(session: Session, given: ParsedArguments): string | null {
  const file = given.value("i");
  if (file === undefined) return null;
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(file) ? file : resolve(session.console.cwd, file);
}

async function startOne(session: Session, kind: Kind, given: ParsedArguments, script: string) {
  const { console } = session;
  const daemon = new HostDaemon(session, kind);
  if (given.has("N") && daemon.running() !== null)
    return say(console, `The ${kind} process runs already`);
  await daemon.exclusively(() => startAlone(session, daemon, given, script));
}

async function startAlone(
  session: Session,
  daemon: HostDaemon,
  given: ParsedArguments,
  script: string,
): Promise<void> {
  const { console } = session;
  const { kind } = daemon;
  if (daemon.running() !== null) await daemon.stop(stopOptions(given));
  try {
    await daemon.start(script, kind === "master" ? backupOf(session, given) : null);
    await say(console, `${green(console, "[ OK ]")} The ${kind} process is in a healthy state`);
  } catch (error) {
    const remedy = error instanceof RockpoolError ? `\n${error.remedy}` : "";
    await say(console, `${red(console, "[ FAILED ]")} ${messageOf(error)}${remedy}`.trimEnd());
    throw new RockpoolError(
      "UNAVAILABLE",
      `The ${kind} is not in service`,
      `See ${daemon.logFile}`,
    );
  }
}

function stopOptions(given: ParsedArguments) {
  return {
    isSoft: given.has("s"),
    isForced: given.has("force"),
    isWholeCluster: given.has("whole-cluster"),
  };
}

async function stopHere(
  session: Session,
  kinds: readonly Kind[],
  given: ParsedArguments,
): Promise<void> {
  await forEachOf([...kinds].reverse(), async (kind) => {
    const daemon = new HostDaemon(session, kind);
    const count = daemon.running() === null ? 0 : 1;
    await say(session.console, `Found ${count} running process(es) matching ${kind}`);
    const ended = await daemon.stop(stopOptions(given));
    await say(session.console, `Successfully killed ${ended} process(es)`);
  });
}

async function startHere(
  session: Session,
  kinds: readonly Kind[],
  given: ParsedArguments,
  parts: ProcessParts,
): Promise<void> {
  for (const kind of kinds) await startOne(session, kind, given, parts.mainScript);
}

const cluster = () => import("./cluster_commands.ts");

/** Flags as they are passed on to the hosts. */
function passed(given: ParsedArguments, flags: readonly string[]): readonly string[] {
  return flags.filter((flag) => given.has(flag)).map((flag) => `--${flag}`);
}

/** @throws RockpoolError with the sentence about what is not there */
function requirePresent(target: Target): Exclude<Target, { kind: "absent" }> {
  if (target.kind !== "absent") return target;
  throw new RockpoolError("UNIMPLEMENTED", target.why, "process start all starts all there is");
}

function startCommand(parts: ProcessParts): Command {
  return {
    usage: `<${TARGET_NAMES}> [-a] [-N] [--journal-backup-file <file>]`,
    summary:
      "Starts daemons on this host (master, worker, local) or on the hosts of conf/masters and conf/workers (masters, workers, all), and waits until they are healthy.",
    flags: [
      SKIP_KILL,
      {
        names: ["i", "journal-backup-file"],
        value: "file",
        help: "fill a freshly formatted cluster from a backup",
      },
      FORCE,
      WHOLE,
      ...ACCEPTED_AT_START,
    ],
    argumentsMin: 1,
    argumentsMax: 2,
    async run(session, given) {
      if (given.has("f")) refuseFormat();
      const { word, leavesRunning } = startWord(given.positional[0] ?? "");
      const target = requirePresent(targetOf(word));
      const notice = ramDiskNotice(given.positional[1]);
      if (notice !== null) await say(session.console, notice);
      const all: ParsedArguments = leavesRunning
        ? { ...given, has: (flag) => flag === "N" || given.has(flag) }
        : given;
      if (target.kind === "here") {
        await startHere(session, target.daemons, all, parts);
        return EXIT_OK;
      }
      const backup = backupOf(session, given);
      return (await cluster()).startOnHosts(session, parts.mainScript, {
        daemons: target.daemons,
        leavesRunning: all.has("N"),
        flags: backup === null ? [] : [`--journal-backup-file=${backup}`],
      });
    },
  };
}

function stopCommand(parts: ProcessParts): Command {
  return {
    usage: `<${TARGET_NAMES}> [-s] [--force]`,
    summary:
      "Stops daemons that `process start` started, here or on all hosts of conf/masters and conf/workers. A leading master hands leadership over first; one without which the others have no quorum is left running, unless all masters are stopped.",
    flags: [
      SOFT,
      FORCE,
      WHOLE,
      { names: ["c"], value: "dir", help: "accepted; blocks stay in their folders" },
    ],
    argumentsMin: 1,
    argumentsMax: 1,
    async run(session, given) {
      const target = targetOf(given.positional[0] ?? "");
      if (target.kind === "absent") {
        await say(session.console, `${target.why}; nothing has to be stopped`);
        return EXIT_OK;
      }
      if (target.kind === "here") {
        await stopHere(session, target.daemons, given);
        return EXIT_OK;
      }
      const flags = passed(given, ["s"]);
      return (await cluster()).stopOnHosts(session, parts.mainScript, target.daemons, flags);
    },
  };
}

function restartCommand(parts: ProcessParts): Command {
  return {
    usage: `<${TARGET_NAMES}> [--rolling] [--force]`,
    summary:
      "Stops and starts daemons. With --rolling (masters only): the standbys one by one, a hand-over, the former leader last, each step checked, so that the cluster goes on serving.",
    flags: [{ names: ["rolling"], help: "one master at a time, without an outage" }, SOFT, FORCE],
    argumentsMin: 1,
    argumentsMax: 1,
    async run(session, given) {
      const target = requirePresent(targetOf(given.positional[0] ?? ""));
      if (given.has("rolling")) {
        if (target.kind === "hosts" && target.daemons.join() === "master")
          return (await cluster()).restartRolling(session, parts.mainScript);
        throw new RockpoolError(
          "INVALID_ARGUMENT",
          `${given.positional[0]} cannot be restarted with --rolling`,
          "Write process restart masters --rolling",
        );
      }
      if (target.kind === "here") {
        await stopHere(session, target.daemons, given);
        await startHere(session, target.daemons, given, parts);
        return EXIT_OK;
      }
      const { startOnHosts, stopOnHosts } = await cluster();
      const { daemons } = target;
      const stopped = await stopOnHosts(session, parts.mainScript, daemons, passed(given, ["s"]));
      if (stopped !== EXIT_OK && given.has("s")) {
        // A start would stop what still runs, and kill it in the end.
        await say(session.console, "Nothing was started, since not everything has stopped");
        return stopped;
      }
      const options = { daemons, leavesRunning: false, flags: [] };
      return (await startOnHosts(session, parts.mainScript, options)) || stopped;
    },
  };
}

async function monitorHere(session: Session, kinds: readonly Kind[]): Promise<number> {
  const { console } = session;
  let code = EXIT_OK;
  for (const kind of kinds) {
    const daemon = new HostDaemon(session, kind);
    const health = await daemon.health();
    const who = `The ${kind} process at ${hostname()}`;
    if (health?.isHealthy === true) {
      await say(console, `${green(console, "[ OK ]")} ${who} is in a healthy state.`);
      continue;
    }
    code = EXIT_FAILED;
    const why =
      health !== null
        ? `answers and is not in service (${health.role})`
        : daemon.running() === null
          ? "does not run (no process of its pid file)"
          : `runs and does not answer on its web port; see ${daemon.logFile}`;
    await say(console, `${red(console, "[ FAILED ]")} ${who} ${why}.`);
  }
  return code;
}

function monitorCommand(parts: ProcessParts): Command {
  return {
    usage: `<${TARGET_NAMES}>`,
    summary: "Says of each daemon whether it is healthy, here or on all hosts.",
    flags: [
      { names: ["L"], help: "accepted; a daemon that fails is named with its log" },
      { names: ["json"], help: "what a rolling restart asks of a master" },
    ],
    argumentsMin: 1,
    argumentsMax: 1,
    async run(session, given) {
      const target = requirePresent(targetOf(given.positional[0] ?? ""));
      if (target.kind === "here" && given.has("json"))
        return (await cluster()).describeMaster(session);
      if (target.kind === "here") return monitorHere(session, target.daemons);
      return (await cluster()).monitorHosts(session, parts.mainScript, target.daemons);
    },
  };
}

export function processCommands(parts: ProcessParts): CommandTable {
  return {
    start: startCommand(parts),
    stop: stopCommand(parts),
    restart: restartCommand(parts),
    monitor: monitorCommand(parts),
  };
}
