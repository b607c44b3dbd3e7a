/**
 * `init validate --type conf|env`: whether the configuration of this host is sound, and whether this host, or every host of
 * the cluster, has what its processes need.
 *
 * On other hosts the same command runs by ssh with `--local --format json`, which also proves that ssh works and shows
 * how far their clocks are from ours.
 * @module
 */
import { hostname } from "node:os";
import { isRockpoolError, messageOf } from "../common/errors.ts";
import type { Loaded } from "../conf/load.ts";
import { refusals, withoutEffectLines } from "../conf/standings.ts";
import type { HostEntry } from "../launch/hosts_file.ts";
import { type ParsedArguments, UsageError } from "./arguments.ts";
import { allHosts, hostRunnerOf, hostsOf } from "./cluster_hosts.ts";
import type { Command, CommandTable } from "./command.ts";
import { EXIT_FAILED, EXIT_OK, say } from "./console.ts";
import { type CheckResult, checksFor, runChecks } from "./environment_checks.ts";
import type { Session } from "./session.ts";

type Role = "master" | "worker";
const ROLES: readonly Role[] = ["master", "worker"];
const REMOTE_WITHIN_MS = 60_000;
/** Logs of two hosts can still be read side by side. */
const CLOCK_DIFFERENCE_MAX_MS = 1000;

type HostReport = {
  readonly host: string;
  readonly timeMs: number;
  readonly checks: readonly CheckResult[];
};

/** Errors and warnings of the configuration as a process of one kind reads it. */
function judge(session: Session, kind: Role): { errors: string[]; warnings: string[] } {
  let loaded: Loaded;
  try {
    loaded = session.loadFor(kind);
  } catch (error) {
    if (!isRockpoolError(error)) throw error;
    return { errors: messageOf(error).split("\n"), warnings: [] };
  }
  const { configuration } = loaded;
  return {
    errors: refusals(configuration).map(({ message, remedy }) => `${message} (${remedy})`),
    warnings: [...loaded.warnings, ...configuration.warnings, ...withoutEffectLines(configuration)],
  };
}

async function validateConf(session: Session): Promise<number> {
  const { console } = session;
  await say(console, "Validating configuration.");
  const found = ROLES.map((kind) => judge(session, kind));
  const errors = new Set(found.flatMap((one) => one.errors));
  const warnings = new Set(found.flatMap((one) => one.warnings));
  for (const text of errors) await say(console, `error: ${text}`);
  for (const text of warnings) await say(console, `warning: ${text}`);
  await say(console, errors.size === 0 ? "Configuration is valid." : "Configuration is invalid.");
  return errors.size === 0 ? EXIT_OK : EXIT_FAILED;
}

/** What runs on this host, by conf/masters and conf/workers; everything when they do not say. */
async function rolesHere(
  session: Session,
  isHere: (entry: HostEntry) => Promise<boolean>,
): Promise<ReadonlySet<Role>> {
  const roles = new Set<Role>();
  for (const role of ROLES) {
    let entries: readonly HostEntry[] = [];
    try {
      entries = hostsOf(session, role);
    } catch (error) {
      if (!isRockpoolError(error)) throw error; // without the file nothing is known of that role
    }
    for (const entry of entries) if (await isHere(entry)) roles.add(role);
  }
  return roles.size === 0 ? new Set(ROLES) : roles;
}

async function localReport(
  session: Session,
  roles: ReadonlySet<Role>,
  filter: string,
): Promise<HostReport> {
  const invalid = [...roles].flatMap((kind) => judge(session, kind).errors);
  const conf: CheckResult =
    invalid.length === 0
      ? { name: "conf", state: "OK", text: "the configuration is valid" }
      : { name: "conf", state: "FAILED", text: invalid.join("; ") };
  const broken = invalid.length > 0;
  const checks = broken
    ? []
    : checksFor(roles, (kind) => session.loadFor(kind).configuration).filter(({ name }) =>
        name.startsWith(filter),
      );
  const results = await runChecks(checks);
  return { host: hostname(), timeMs: Date.now(), checks: [conf, ...results] };
}

function isReport(value: unknown): value is HostReport {
  const record = typeof value === "object" && value !== null ? value : {};
  return "timeMs" in record && "checks" in record && Array.isArray(record.checks);
}

function parseReport(text: string): HostReport | null {
  const line = text.trim().split("\n").at(-1) ?? "";
  try {
    const value: unknown = JSON.parse(line);
    return isReport(value) ? value : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

async function remoteChecks(
  runner: ReturnType<typeof hostRunnerOf>,
  entry: HostEntry,
  role: readonly string[],
): Promise<readonly CheckResult[]> {
  const words = ["init", "validate", "--type", "env", "--local", "--format", "json", ...role];
  const begunMs = Date.now();
  const result = await runner.run(entry, words, { timeoutMs: REMOTE_WITHIN_MS });
  if (result.trouble !== null) return [{ name: "ssh", state: "FAILED", text: result.trouble }];
  const report = parseReport(result.stdout);
  if (report === null) {
    const said = (result.stderr || result.stdout).trim().split("\n").at(-1) ?? "";
    return [{ name: "ssh", state: "FAILED", text: `the command there failed: ${said}` }];
  }
  // It was written down at the end, within the time that the answer took.
  const endedMs = Date.now();
  const apartMs =
    report.timeMs < begunMs
      ? begunMs - report.timeMs
      : report.timeMs > endedMs
        ? report.timeMs - endedMs
        : 0;
  const clock: CheckResult =
    apartMs <= CLOCK_DIFFERENCE_MAX_MS
      ? { name: "clock", state: "OK", text: "its clock agrees with the one here" }
      : {
          name: "clock",
          state: "FAILED",
          text: `its clock is ${(apartMs / 1000).toFixed(1)} s ${report.timeMs < begunMs ? "behind" : "ahead of"} the one here: run an NTP service such as chrony on all hosts`,
        };
  return [...report.checks, clock];
}

async function show(
  session: Session,
  host: string,
  checks: readonly CheckResult[],
): Promise<number> {
  const label = { OK: "[ OK ]", WARNING: "[ WARNING ]", FAILED: "[ FAILED ]" };
  await say(session.console, `Validating environment on ${host}`);
  for (const { name, state, text } of checks)
    await say(session.console, `  ${label[state]} ${name}: ${text}`);
  return checks.filter(({ state }) => state === "FAILED").length;
}

async function hostsFor(session: Session, target: string): Promise<readonly HostEntry[]> {
  if (target === "all") return allHosts(session);
  return hostsOf(session, target === "masters" ? "master" : "worker");
}

async function validateEnv(
  session: Session,
  given: ParsedArguments,
  mainScript: string,
): Promise<number> {
  const { console } = session;
  const [target = "local", filter = ""] = given.positional;
  const runner = hostRunnerOf(session, mainScript);
  const isGroup = ["all", "masters", "workers"].includes(target);
  if (isGroup && !given.has("local")) {
    const role = target === "all" ? [] : [target === "masters" ? "master" : "worker"];
    const hosts = await hostsFor(session, target);
    const results = await Promise.all(hosts.map((entry) => remoteChecks(runner, entry, role)));
    let failures = 0;
    for (const [at, checks] of results.entries())
      failures += await show(session, hosts[at]?.host ?? "", checks);
    return conclude(session, failures);
  }
  const own: Readonly<Record<string, readonly Role[]>> = { master: ["master"], worker: ["worker"] };
  const roles = own[target] ?? null;
  if (roles === null && !["local", "list", "all"].includes(target))
    throw new UsageError(
      `"${target}" is no target: give local, master, worker, all, masters, workers or list`,
    );
  const here = new Set(roles ?? (await rolesHere(session, (entry) => runner.isLocal(entry))));
  if (target === "list") {
    const names = checksFor(here, (kind) => session.loadFor(kind).configuration);
    await say(console, names.map(({ name }) => name).join("\n"));
    return EXIT_OK;
  }
  const report = await localReport(session, here, filter);
  if (given.value("format") === "json") {
    await say(console, JSON.stringify(report));
    return EXIT_OK;
  }
  return conclude(session, await show(session, report.host, report.checks));
}

async function conclude(session: Session, failures: number): Promise<number> {
  const text = failures === 0 ? "Validation Passed" : `Validation Failed: ${failures} checks`;
  await say(session.console, text);
  return failures === 0 ? EXIT_OK : EXIT_FAILED;
}

/** @param mainScript dist/main.js, beside which bin/ lies */
export function validateCommands(mainScript: string): CommandTable {
  const validate: Command = {
    usage:
      "--type conf | --type env [local|master|worker|all|masters|workers|list] [<prefix of checks>]",
    summary: "Checks the configuration, or what the processes need of this host or of all hosts.",
    flags: [
      { names: ["type"], value: "conf|env", help: "what is checked" },
      { names: ["local"], help: "this host only" },
      { names: ["format"], value: "text|json", help: "json: one line, for programs" },
    ],
    argumentsMin: 0,
    argumentsMax: 2,
    async run(session, given) {
      const type = given.value("type");
      if (type === "conf") return validateConf(session);
      if (type === "env") return validateEnv(session, given, mainScript);
      throw new UsageError(
        type === undefined
          ? "Missing required option: type"
          : `"${type}" is no type: give conf or env`,
      );
    },
  };
  return { validate };
}
