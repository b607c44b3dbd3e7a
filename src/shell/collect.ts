/**
 * `info collect`: what somebody needs who is to help, in one archive.
 *
 * Every text passes {@link maskSecrets}. The archive is readable by its owner alone. What cannot be had is written down in
 * its place: a cluster in trouble is what this is for.
 * @module
 */
import { execFile } from "node:child_process";
import { createWriteStream, existsSync } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { get } from "node:http";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { messageOf, RockpoolError } from "../common/errors.ts";
import { CommonKeys } from "../conf/common_keys.ts";
import type { ParsedArguments } from "./arguments.ts";
import { UsageError } from "./arguments.ts";
import type { Command } from "./command.ts";
import { EXIT_FAILED, EXIT_OK, say } from "./console.ts";
import { maskSecrets, secretsAmong } from "./secrets.ts";
import type { Session } from "./session.ts";
import { TAR_END, tarFrame } from "./tar.ts";

/** The end of a log is what counts. */
const FILE_BYTES_MAX = 64 * 1024 * 1024;
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;
const COMMAND_MS = 20_000;
const ASK_MS = 5000;
/** Secrets that lie across two pieces would be missed: files are masked as a whole, line by line up to this. */
const LOG_PREFIXES = ["master", "worker", "job_", "proxy", "fuse", "task", "user", "rockpool"];

type Item = { readonly path: string; readonly text: string; readonly modifiedMs: number };
type Gather = (about: About) => AsyncIterable<Item>;

type About = {
  readonly session: Session;
  readonly given: ParsedArguments;
  readonly secrets: readonly string[];
  /** Runs one of our own commands. */
  readonly runOwn: (words: readonly string[]) => Promise<string>;
};

function item(path: string, text: string): Item {
  return { path, text, modifiedMs: Date.now() };
}

/** What a program prints, or why it does not. */
function outputOf(program: string, words: readonly string[]): Promise<string> {
  const options = { timeout: COMMAND_MS, maxBuffer: OUTPUT_BYTES_MAX, env: process.env };
  return new Promise((done) => {
    execFile(program, [...words], options, (error, stdout, stderr) => {
      const why = error === null ? "" : `\n[${program}: ${messageOf(error).split("\n")[0]}]\n`;
      done(`${stdout}${stderr}${why}`);
    });
  });
}

const ENVIRONMENT: readonly (readonly [string, string, readonly string[]])[] = [
  ["processes", "ps", ["-eo", "pid,ppid,user,etime,time,rss,nlwp,args"]],
  ["top", "top", ["-b", "-n", "1"]],
  ["mount", "mount", []],
  ["df", "df", ["-H"]],
  ["ulimit", "sh", ["-c", "ulimit -a"]],
  ["uname", "uname", ["-a"]],
  ["hostname", "hostname", ["-f"]],
  ["addresses", "ip", ["address"]],
  ["memory", "free", ["-m"]],
  ["disks", "lsblk", []],
  ["clock", "date", ["-u", "+%Y-%m-%dT%H:%M:%S.%NZ"]],
];

async function* environment({ session }: About): AsyncGenerator<Item> {
  for (const [name, program, words] of ENVIRONMENT)
    yield item(`env/${name}.txt`, await outputOf(program, words));
  const variables = Object.entries(session.console.env).map(([name, value]) => `${name}=${value}`);
  yield item("env/env.txt", `${variables.sort().join("\n")}\n`);
  yield item("env/node.txt", `${JSON.stringify(process.versions, null, 2)}\n`);
  yield item("env/home.txt", await outputOf("ls", ["-alR", join(session.console.home, "conf")]));
}

async function* configuration({ session }: About): AsyncGenerator<Item> {
  const { confDir } = session.loaded();
  if (!existsSync(confDir)) {
    yield item("conf/missing.txt", `${confDir} does not exist\n`);
    return;
  }
  for (const name of await readdir(confDir)) {
    const path = join(confDir, name);
    const facts = await stat(path);
    if (!facts.isFile() || name.endsWith(".template")) continue;
    yield { path: `conf/${name}`, text: await endOf(path), modifiedMs: facts.mtimeMs };
  }
  const lines = session.configuration
    .entries()
    .map(({ key, value, source }) => `${key}=${value ?? ""} (${source})`);
  yield item("conf/effective.txt", `${lines.join("\n")}\n`);
}

async function endOf(path: string): Promise<string> {
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    const length = Math.min(size, FILE_BYTES_MAX);
    const bytes = Buffer.alloc(length);
    await file.read(bytes, 0, length, size - length);
    return bytes.toString("utf8");
  } finally {
    await file.close();
  }
}

/** "2020-06-27T11:58:53", with a blank for the T; local time. */
function timeOf(given: ParsedArguments, flag: string): number | null {
  const text = given.value(flag);
  if (text === undefined) return null;
  const timeMs = Date.parse(text.replace(" ", "T"));
  if (Number.isNaN(timeMs))
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `--${flag} is "${text}"`,
      "Write it like 2020-06-27T11:58:53",
    );
  return timeMs;
}

/** Which logs are wanted. @throws UsageError for options that contradict each other */
function logFilter(given: ParsedArguments): (name: string) => boolean {
  const list = (flag: string) =>
    given
      .value(flag)
      ?.split(",")
      .filter((one) => one !== "");
  const [include, exclude, additional] = [
    list("include-logs"),
    list("exclude-logs"),
    list("additional-logs"),
  ];
  for (const [flag, value] of [
    ["exclude-logs", exclude],
    ["additional-logs", additional],
  ] as const)
    if (include !== undefined && value !== undefined)
      throw new UsageError(`ERROR: Please do not use --${flag} when --include-logs is specified.`);
  const begins = (name: string, prefixes: readonly string[] | undefined) =>
    prefixes?.some((prefix) => name.startsWith(prefix)) === true;
  if (include !== undefined) return (name) => begins(name, include);
  return (name) =>
    (begins(name, LOG_PREFIXES) && !begins(name, exclude)) || begins(name, additional);
}

async function* logs({ session, given }: About): AsyncGenerator<Item> {
  const isWanted = logFilter(given);
  const [startMs, endMs] = [timeOf(given, "start-time"), timeOf(given, "end-time")];
  const folder = session.loadFor("master").configuration.get(CommonKeys.logsDir);
  if (!existsSync(folder)) {
    yield item("logs/missing.txt", `ERROR: Alluxio log directory ${folder} does not exist!\n`);
    return;
  }
  for (const name of (await readdir(folder, { recursive: true, encoding: "utf8" })).sort()) {
    const path = join(folder, name);
    const facts = await stat(path);
    if (!facts.isFile() || !isWanted(name)) continue;
    if (startMs !== null && facts.mtimeMs < startMs) continue;
    // Nothing in it is older than the file.
    if (endMs !== null && facts.birthtimeMs > endMs) continue;
    yield { path: `logs/${name}`, text: await endOf(path), modifiedMs: facts.mtimeMs };
  }
}

const OWN_COMMANDS: readonly (readonly [string, readonly string[]])[] = [
  ["report", ["fsadmin", "report"]],
  ["report_capacity", ["fsadmin", "report", "capacity"]],
  ["report_ufs", ["fsadmin", "report", "ufs"]],
  ["report_raft", ["info", "report", "raft"]],
  ["quorum", ["quorum", "info"]],
  ["configuration_master", ["conf", "get", "--master", "--source"]],
  ["list_root", ["fs", "ls", "/"]],
  ["version", ["--version"]],
];

async function* cluster({ runOwn }: About): AsyncGenerator<Item> {
  for (const [name, words] of OWN_COMMANDS) yield item(`cluster/${name}.txt`, await runOwn(words));
}

/** What a web port says, or why it says nothing. */
function page(address: { readonly host: string; readonly port: number; readonly path: string }) {
  return new Promise<string>((done) => {
    const request = get({ ...address, timeout: ASK_MS }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (piece: string) => {
        text += piece;
        if (text.length > OUTPUT_BYTES_MAX) request.destroy(new Error("too long"));
      });
      response.on("end", () => done(text));
    });
    request.on("timeout", () => request.destroy(new Error(`no answer in ${ASK_MS} ms`)));
    request.on("error", (error) => done(`{"Error": ${JSON.stringify(messageOf(error))}}\n`));
  });
}

async function* metrics({ session, given, runOwn }: About): AsyncGenerator<Item> {
  yield item("metrics/leader.txt", await runOwn(["fsadmin", "report", "metrics"]));
  const found: (readonly [string, string, number])[] = [];
  try {
    session.limitPatience(ASK_MS);
    const files = await session.files();
    const { leaderAddress, webPort } = await files.clusterInfo();
    found.push(["master", leaderAddress.replace(/:\d+$/, ""), webPort]);
    if (!given.has("exclude-worker-metrics"))
      for (const { address } of await files.workers())
        found.push(["worker", address.host, address.webPort]);
  } catch (error) {
    yield item("metrics/missing.txt", `${messageOf(error)}\n`);
  }
  for (const [kind, host, port] of found)
    for (const [form, path] of [
      ["json", "/metrics/json/"],
      ["prom", "/metrics/prometheus/"],
    ])
      yield item(
        `metrics/${kind}-${host}-${port}.${form}`,
        await page({ host, port, path: path ?? "" }),
      );
}

/** There is no JVM here: what the system knows of our processes on this host. */
async function* processes(): AsyncGenerator<Item> {
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const words = (await readProc(`/proc/${pid}/cmdline`)).split("\0");
    const isOurs = words.some((word) =>
      /(rockpool|alluxio|dist\/main\.js|dist\/cli\.cjs)/.test(word),
    );
    if (!isOurs || Number(pid) === process.pid) continue;
    const files = ["status", "limits", "io", "smaps_rollup", "wchan"];
    const parts = await Promise.all(
      files.map(async (name) => `== ${name}\n${await readProc(`/proc/${pid}/${name}`)}`),
    );
    yield item(`jvm/process-${pid}.txt`, `${words.join(" ")}\n${parts.join("\n")}`);
  }
  yield item("jvm/README.txt", "Rockpool runs on Node, not on a JVM: there are no thread dumps.\n");
}

/** Processes end while they are looked at, and those of other users may not be looked at. */
function readProc(path: string): Promise<string> {
  return readFile(path, "utf8").catch((error: unknown) => `[${messageOf(error)}]`);
}

const KINDS: Readonly<Record<string, readonly Gather[]>> = {
  cluster: [cluster],
  conf: [configuration],
  env: [environment],
  jvm: [processes],
  log: [logs],
  metrics: [metrics],
  all: [cluster, configuration, environment, processes, logs, metrics],
};
/** As 2.9 calls them. */
const OLD_KINDS: Readonly<Record<string, string>> = {
  collectAlluxioInfo: "cluster",
  collectConfig: "conf",
  collectEnv: "env",
  collectJvmInfo: "jvm",
  collectLog: "log",
  collectMetrics: "metrics",
};

async function* archive(gathers: readonly Gather[], about: About, root: string) {
  for (const gather of gathers) {
    try {
      for await (const { path, text, modifiedMs } of gather(about)) {
        if (about.session.console.signal.aborted) return;
        const bytes = Buffer.from(maskSecrets(text, about.secrets));
        const { header, padding } = tarFrame(`${root}/${path}`, bytes.length, modifiedMs / 1000);
        yield header;
        yield bytes;
        yield padding;
      }
    } catch (error) {
      if (error instanceof UsageError) throw error;
      const bytes = Buffer.from(`${messageOf(error)}\n`);
      const path = `${root}/failed-${gather.name}.txt`;
      const { header, padding } = tarFrame(path, bytes.length, Date.now() / 1000);
      yield header;
      yield bytes;
      yield padding;
    }
  }
  yield TAR_END;
}

/** yyyyMMdd_HHmmss, local time. */
function stamp(at: Date): string {
  const two = (value: number) => String(value).padStart(2, "0");
  const date = `${at.getFullYear()}${two(at.getMonth() + 1)}${two(at.getDate())}`;
  return `${date}_${two(at.getHours())}${two(at.getMinutes())}${two(at.getSeconds())}`;
}

/** @returns what is asked for, and where the archive goes */
function wanted(session: Session, given: ParsedArguments) {
  const [word = "", folder] = given.positional;
  const kind = OLD_KINDS[word] ?? word;
  const gathers = KINDS[kind];
  if (gathers === undefined)
    throw new UsageError(
      `${word} is no kind of information: one of ${Object.keys(KINDS).join(", ")}`,
    );
  const output = given.value("output-dir") ?? folder;
  if (output === undefined)
    throw new UsageError(
      "Where the archive goes is missing: give --output-dir, or a second argument",
    );
  // Before anything is done.
  logFilter(given);
  const [startMs, endMs] = [timeOf(given, "start-time"), timeOf(given, "end-time")];
  if (startMs !== null && endMs !== null && startMs > endMs)
    throw new UsageError(
      `ERROR: Start time ${given.value("start-time")} is later than end time ${given.value("end-time")}!`,
    );
  return { kind, gathers, folder: resolve(session.console.cwd, output) };
}

/** Secrets of this host's configuration and environment. */
function secretsOf(session: Session): readonly string[] {
  const { configuration: known } = session.loadFor("master");
  const names = [...known.setNames(), ...session.configuration.setNames()];
  return [
    ...secretsAmong(
      names.map((name) => [name, known.text(name) ?? session.configuration.text(name)]),
    ),
    ...secretsAmong(Object.entries(session.console.env)),
  ];
}

export type CollectParts = {
  /** The command line's entry: dist/cli.cjs. */
  readonly cliScript: string;
  /** The daemons' entry: dist/main.js. */
  readonly mainScript: string;
};

async function collectHere(
  session: Session,
  given: ParsedArguments,
  { cliScript }: CollectParts,
): Promise<string> {
  const { gathers, folder } = wanted(session, given);
  const definitions = session.definitions.map((definition) => `-D${definition}`);
  const about: About = {
    session,
    given,
    secrets: secretsOf(session),
    runOwn: ([group = "", ...words]) =>
      outputOf(process.execPath, [
        cliScript,
        group,
        ...(words.length > 0 ? definitions : []),
        ...words,
      ]),
  };
  await mkdir(folder, { recursive: true });
  const root = `alluxio-cluster-info-${stamp(new Date())}`;
  const path = join(folder, `${root}.tar.gz`);
  const partial = `${path}.partial`;
  try {
    await pipeline(
      Readable.from(archive(gathers, about, `${root}/${hostname()}`)),
      createGzip(),
      createWriteStream(partial, { mode: 0o600 }),
      { signal: session.console.signal },
    );
    await rename(partial, path);
  } finally {
    await rm(partial, { force: true });
  }
  return path;
}

/** The same on the other hosts of conf/masters and conf/workers; the archives stay there. @returns whether all did */
async function collectElsewhere(
  session: Session,
  given: ParsedArguments,
  { mainScript }: CollectParts,
): Promise<boolean> {
  const { console } = session;
  const { allHosts, hostRunnerOf } = await import("./cluster_hosts.ts");
  const runner = hostRunnerOf(session, mainScript);
  const { kind, folder } = wanted(session, given);
  const flags = ["include-logs", "exclude-logs", "additional-logs", "start-time", "end-time"];
  const more = flags.flatMap((flag) => {
    const value = given.value(flag);
    return value === undefined ? [] : [`--${flag}`, value];
  });
  const words = ["info", "collect", kind, "--local", "--output-dir", folder, ...more];
  const outcomes = await Promise.all(
    allHosts(session).map(async (entry) => {
      if (await runner.isLocal(entry)) return true;
      const result = await runner.run(entry, words);
      const said = result.stdout.trim().split("\n").at(-1) ?? "";
      const isDone = result.trouble === null && result.exitCode === 0;
      await say(console, `${entry.host}: ${isDone ? said : (result.trouble ?? said)}`);
      return isDone;
    }),
  );
  return outcomes.every((isDone) => isDone);
}

export function collectCommand(parts: CollectParts): Command {
  const prefixes = (names: string, help: string) => ({ names: [names], value: "prefixes", help });
  return {
    usage:
      "<all|cluster|conf|env|jvm|log|metrics> --output-dir <directory> [--local] [--include-logs|--exclude-logs|--additional-logs <prefixes>] [--start-time|--end-time <datetime>] [--exclude-worker-metrics]",
    summary:
      "Collects information about the cluster and this host into an archive, without secrets.",
    makesFiles: true,
    flags: [
      { names: ["output-dir"], value: "directory", help: "where the archive goes" },
      { names: ["local"], help: "of this host alone, not of all in conf/masters and conf/workers" },
      { names: ["max-threads"], value: "num", help: "accepted" },
      prefixes("include-logs", "only logs whose names begin so, with commas"),
      prefixes("exclude-logs", "leaves out logs whose names begin so"),
      prefixes("additional-logs", "more logs, whose names begin so"),
      { names: ["start-time"], value: "datetime", help: "leaves out logs that ended before" },
      { names: ["end-time"], value: "datetime", help: "leaves out logs that began later" },
      { names: ["exclude-worker-metrics"], help: "of the leading master alone" },
    ],
    argumentsMin: 1,
    argumentsMax: 2,
    async run(session, given) {
      const elsewhere = given.has("local")
        ? Promise.resolve(true)
        : collectElsewhere(session, given, parts);
      // Settled before it is awaited when this host fails.
      elsewhere.catch(() => undefined);
      const path = await collectHere(session, given, parts);
      await say(session.console, `Final tarball compressed to ${path}`);
      return (await elsewhere) ? EXIT_OK : EXIT_FAILED;
    },
  };
}
