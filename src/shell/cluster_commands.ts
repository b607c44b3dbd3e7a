/**
 * `process …` for the hosts of conf/masters and conf/workers: the same command on each of them, by ssh where it is not
 * this one, all hosts of a group at the same time.
 *
 * Masters are started before workers and stopped after them. One line a host; at the end the hosts that failed, with what
 * they said; an exit code other than 0 when one did.
 * @module
 */
import { messageOf, RockpoolError } from "../common/errors.ts";
import { journalMembership } from "../conf/cluster.ts";
import { formatHostPort } from "../conf/key_spec.ts";
import { MasterKeys } from "../conf/master_keys.ts";
import { configurationDigest } from "../launch/configuration_digest.ts";
import {
  failureLines,
  type HostOutcome,
  inParallel,
  runOnHosts,
  summaryLine,
} from "../launch/group.ts";
import { type HostResult, type HostRunner, isThisHost } from "../launch/host_runner.ts";
import type { HostEntry } from "../launch/hosts_file.ts";
import { type RollingMaster, rollingRestart } from "../local/rolling.ts";
import { hostRunnerOf, hostsOf } from "./cluster_hosts.ts";
import { EXIT_FAILED, EXIT_OK, say } from "./console.ts";
import { HostDaemon } from "./host_daemon.ts";
import type { Kind } from "./process_words.ts";
import type { Session } from "./session.ts";

/** A large backup takes its time, and the masters' logs tell how far it is. */
const RESTORE_WITHIN_MS = 24 * 3_600_000;

type Group = { readonly kind: Kind; readonly hosts: readonly HostEntry[] };

/** All files are read before anything is done. */
function groupsOf(session: Session, daemons: readonly Kind[]): readonly Group[] {
  return daemons.map((kind) => ({ kind, hosts: hostsOf(session, kind) }));
}

const processes = (many: number) => (many === 1 ? "1 process is" : `${many} processes are`);
const count = (many: number, what: string) => `${many} ${what}${many === 1 ? "" : "s"}`;

async function runGroup(
  session: Session,
  runner: HostRunner,
  { kind, hosts }: Group,
  verb: readonly string[],
): Promise<readonly HostOutcome[]> {
  const { console } = session;
  const definitions = session.definitions.map((definition) => `-D${definition}`);
  const words = ["process", ...verb.slice(0, 1), kind, ...verb.slice(1), ...definitions];
  const limit = verb.some((word) => word.startsWith("--journal-backup-file"))
    ? { timeoutMs: RESTORE_WITHIN_MS }
    : {};
  return runOnHosts({ runner, hosts, words, ...limit, say: (line) => say(console, line) });
}

async function conclude(
  session: Session,
  outcomes: readonly HostOutcome[],
  done: string,
): Promise<number> {
  const lines = failureLines(outcomes);
  for (const line of lines) await say(session.console, line);
  if (lines.length > 0) return EXIT_FAILED;
  await say(session.console, done);
  return EXIT_OK;
}

export type StartOnHosts = {
  readonly daemons: readonly Kind[];
  /** Daemons that run already are left alone. */
  readonly leavesRunning: boolean;
  /** For masters only. */
  readonly flags: readonly string[];
};

export async function startOnHosts(
  session: Session,
  mainScript: string,
  { daemons, leavesRunning, flags }: StartOnHosts,
): Promise<number> {
  const { console } = session;
  const runner = hostRunnerOf(session, mainScript);
  const outcomes: HostOutcome[] = [];
  for (const group of groupsOf(session, daemons)) {
    await say(console, `Starting ${group.kind}s on ${count(group.hosts.length, "host")}`);
    // All of a group go together, so none of them has to be asked whether the others can do without it.
    const running = leavesRunning ? ["-N"] : group.kind === "master" ? ["--whole-cluster"] : [];
    const own = group.kind === "master" ? flags : [];
    const found = await runGroup(session, runner, group, ["start", ...running, ...own]);
    outcomes.push(...found);
    if (group.kind === "worker" || found.some(({ isOk }) => isOk)) continue;
    await say(console, "No master is in service: nothing else is started");
    break;
  }
  return conclude(session, outcomes, `${processes(outcomes.length)} in service`);
}

export async function stopOnHosts(
  session: Session,
  mainScript: string,
  daemons: readonly Kind[],
  flags: readonly string[],
): Promise<number> {
  const runner = hostRunnerOf(session, mainScript);
  const outcomes: HostOutcome[] = [];
  for (const group of [...groupsOf(session, daemons)].reverse()) {
    await say(session.console, `Stopping ${group.kind}s on ${count(group.hosts.length, "host")}`);
    const own = group.kind === "master" ? ["--whole-cluster"] : [];
    outcomes.push(...(await runGroup(session, runner, group, ["stop", ...own, ...flags])));
  }
  const ended = outcomes.filter(({ result }) => /killed 1 process/.test(result.stdout)).length;
  return conclude(session, outcomes, `Successfully killed ${ended} process(es)`);
}

export async function monitorHosts(
  session: Session,
  mainScript: string,
  daemons: readonly Kind[],
): Promise<number> {
  const runner = hostRunnerOf(session, mainScript);
  const outcomes: HostOutcome[] = [];
  for (const group of groupsOf(session, daemons))
    outcomes.push(...(await runGroup(session, runner, group, ["monitor"])));
  return conclude(session, outcomes, `${processes(outcomes.length)} healthy`);
}

/** What a master's host says of it: `process monitor master --json`. */
type MasterFacts = {
  /** host:port of its journal, by its files. */
  readonly journal: string;
  /** Of its files as they are now. */
  readonly configurationDigest: string;
  readonly isRunning: boolean;
};

/** Whether a host name of the journal's list is this machine; asked only when alluxio.master.hostname is unset. */
async function localNames(names: readonly string[]): Promise<ReadonlySet<string>> {
  const isLocal = await inParallel(names, 8, (host) =>
    isThisHost({ host, user: null, sshPort: null }),
  );
  return new Set(names.filter((_, at) => isLocal[at]));
}

export async function describeMaster(session: Session): Promise<number> {
  const daemon = new HostDaemon(session, "master");
  const { configuration } = daemon;
  const members = configuration.get(MasterKeys.journalAddresses) ?? [];
  const local = await localNames(members.map(({ host }) => host));
  const { self } = journalMembership(configuration, (host) => local.has(host));
  const facts: MasterFacts = {
    journal: formatHostPort(self),
    configurationDigest: configurationDigest(configuration),
    isRunning: daemon.running() !== null,
  };
  await say(session.console, JSON.stringify(facts));
  return EXIT_OK;
}

function parseFacts(result: HostResult, host: string): MasterFacts {
  const refuse = (why: string) =>
    new RockpoolError(
      "FAILED_PRECONDITION",
      `${host} cannot be asked: ${why}`,
      "Every host of conf/masters must be reached by ssh before one is restarted; nothing was restarted",
    );
  if (result.exitCode !== 0) throw refuse(summaryLine(result));
  const line = result.stdout.trim().split("\n").at(-1) ?? "";
  try {
    const facts = JSON.parse(line) as Partial<MasterFacts>; // each field is looked at below
    const { journal, configurationDigest: digest, isRunning } = facts;
    if (typeof journal === "string" && typeof digest === "string")
      return { journal, configurationDigest: digest, isRunning: isRunning === true };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw refuse(`it says "${line}"`);
}

/** A journal of some hundred thousand entries is fetched in less. */
const CATCH_UP_WITHIN_MS = 120_000;

export async function restartRolling(session: Session, mainScript: string): Promise<number> {
  const runner = hostRunnerOf(session, mainScript);
  const hosts = hostsOf(session, "master");
  const definitions = session.definitions.map((definition) => `-D${definition}`);
  const ask = async (entry: HostEntry) => {
    const words = ["process", "monitor", "master", "--json", ...definitions];
    return parseFacts(await runner.run(entry, words), entry.host);
  };
  const facts = await inParallel(hosts, hosts.length, ask);
  const masters = hosts.map((entry, at): RollingMaster => {
    const { host } = entry;
    return {
      name: host,
      address: facts[at]?.journal ?? host,
      async restart() {
        const result = await runner.run(entry, ["process", "restart", "master", ...definitions]);
        if (result.exitCode !== 0) throw new Error(said(result));
      },
      async verify(report) {
        try {
          const { configurationDigest: expected } = await ask(entry);
          const running = report.configurationDigest ?? "";
          return running === expected ? null : notOfFiles(running, expected);
        } catch (error) {
          return messageOf(error);
        }
      },
    };
  });
  const admin = await session.admin();
  await rollingRestart({
    admin,
    masters,
    say: (line) => say(session.console, line),
    catchUpWithinMs: CATCH_UP_WITHIN_MS,
  });
  return EXIT_OK;
}

function notOfFiles(running: string, expected: string): string {
  return `it runs with the configuration ${running || "unknown"}, and its files come to ${expected}: they were changed meanwhile`;
}

function said(result: HostResult): string {
  const more = result.stdout
    .split("\n")
    .filter((line) => line !== "")
    .slice(-6);
  return [summaryLine(result), ...more.map((line) => `  ${line}`)].join("\n");
}
