/**
 * `process start|stop` and `init format`: daemons of this host, by their pid files.
 *
 * A daemon is started in a session of its own with its output in `logs/<kind>.out`, and counts as started
 * when it says that it is healthy. It is stopped by the id and start time in its pid file, never by name.
 * @module
 */
import { spawn } from "node:child_process";
import { existsSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf, RockpoolError } from "../common/errors.ts";
import { masterRpcAddresses } from "../conf/cluster.ts";
import { CommonKeys } from "../conf/common_keys.ts";
import type { Configuration } from "../conf/configuration.ts";
import { MasterKeys } from "../conf/master_keys.ts";
import { WorkerKeys } from "../conf/worker_keys.ts";
import { lastLines, logEnd, REFUSAL_AFTER_MS, requireNotKeptOut } from "../local/daemon_log.ts";
import type { LocalNode, NamedPort } from "../local/plan.ts";
import { prepareStop } from "../local/planned_stop.ts";
import { askHealth, takenPorts } from "../local/probe.ts";
import {
  isRunning,
  type ProcessIdentity,
  readProcess,
  signalProcess,
} from "../local/process_table.ts";
import { describeTaken, FILE_THREADS } from "../local/processes.ts";
import { makeFolder } from "../world/folders.ts";
import type { FlagSpec, ParsedArguments } from "./arguments.ts";
import { type Command, type CommandTable, forEachOf } from "./command.ts";
import { type Console, EXIT_FAILED, EXIT_OK, green, red, say } from "./console.ts";
import type { Session } from "./session.ts";

export type ProcessParts = {
  /** The daemons' entry: dist/main.js. */
  readonly mainScript: string;
  /** @returns the folders that were emptied */
  readonly formatMaster: (configuration: Configuration) => Promise<readonly string[]>;
  readonly formatWorker: (configuration: Configuration) => Promise<readonly string[]>;
};

type Kind = "master" | "worker";

type StopOptions = {
  /** Never kill. */
  readonly isSoft: boolean;
  /** Even when the other masters cannot go on without it. */
  readonly isForced: boolean;
};

const FORCE: FlagSpec = {
  names: ["force"],
  help: "stop a master even if the others then have no quorum",
};

/** A master may have to read its journal first. */
const HEALTHY_WITHIN_MS = 60_000;
const ASK_EVERY_MS = 50;
const ASK_TIMEOUT_MS = 500;
/** As long as Alluxio waits before it kills. */
const STOP_WITHIN_MS = 120_000;
const LOG_LINES = 8;
/** A leader begins to restore within this. */
const STANDBY_AFTER_MS = 3000;

function kindsOf(word: string | undefined): readonly Kind[] {
  if (word === "master" || word === "worker") return [word];
  if (word === "local") return ["master", "worker"];
  throw new RockpoolError(
    "INVALID_ARGUMENT",
    `Cannot start or stop "${word}" from here`,
    "Name master, worker or local, and run the command on each host",
  );
}

class Daemon {
  readonly kind: Kind;
  readonly #console: Console;
  readonly #session: Session;
  readonly #configuration: Configuration;
  readonly #confDir: string;
  readonly #logs: string;

  constructor(session: Session, kind: Kind) {
    this.kind = kind;
    this.#console = session.console;
    this.#session = session;
    const loaded = session.loadFor(kind);
    this.#configuration = loaded.configuration;
    this.#confDir = loaded.confDir;
    this.#logs = loaded.configuration.get(CommonKeys.logsDir);
  }

  get #pidFile(): string {
    return join(this.#logs, `${this.kind}.pid`);
  }

  get logFile(): string {
    return join(this.#logs, `${this.kind}.out`);
  }

  /** Null when it was not started here, or does not run any more. */
  running(): ProcessIdentity | null {
    if (!existsSync(this.#pidFile)) return null;
    const [pid = Number.NaN, startTicks = Number.NaN] = readFileSync(this.#pidFile, "utf8")
      .trim()
      .split(" ")
      .map(Number);
    const identity = { pid, startTicks };
    return Number.isInteger(pid) && isRunning(identity) ? identity : null;
  }

  /** @param backup what fills a fresh cluster; null for nothing */
  async start(mainScript: string, backup: string | null): Promise<void> {
    await say(this.#console, `Starting ${this.kind}`);
    await this.#requireFreePorts();
    const { key } = CommonKeys.logsDir;
    makeFolder(this.#logs, `logs (${key})`, `Set ${key} to a folder that this user may make`);
    const logFromByte = logEnd(this.logFile);
    const log = openSync(this.logFile, "a");
    const restore = backup === null ? [] : [`${MasterKeys.initFromBackup.key}=${backup}`];
    const definitions = [...this.#session.definitions, ...restore].map((one) => `-D${one}`);
    const words = [mainScript, this.kind, "--conf-dir", this.#confDir, ...definitions];
    const child = spawn(process.execPath, ["--enable-source-maps", ...words], {
      detached: true,
      cwd: this.#console.home,
      env: { UV_THREADPOOL_SIZE: FILE_THREADS, ...process.env, ...this.#console.env },
      stdio: ["ignore", log, log],
    });
    let ended: string | null = null;
    child.once("error", (error) => {
      ended = messageOf(error);
    });
    child.once("exit", (code, signal) => {
      ended = signal === null ? `it ended with exit code ${code}` : `it was ended by ${signal}`;
    });
    const found = child.pid === undefined ? null : readProcess(child.pid);
    if (found !== null) writeFileSync(this.#pidFile, `${found.pid} ${found.startTicks}\n`);
    child.unref();
    await this.#awaitHealth(() => ended, logFromByte);
    if (backup !== null) await this.#awaitRestore(() => ended, logFromByte);
  }

  /** Follows what the log says of the restore. On a standby there is nothing to follow. */
  async #awaitRestore(ended: () => string | null, logFromByte: number): Promise<void> {
    const standbyMs = performance.now() + STANDBY_AFTER_MS;
    for (let told = ""; ; await sleep(ASK_EVERY_MS)) {
      const text = readFileSync(this.logFile).subarray(logFromByte).toString("utf8");
      const done = /Restored \d+ entries from backup/.exec(text)?.[0];
      if (done !== undefined) return say(this.#console, done);
      const why = /backup is not restored: .*/.exec(text)?.[0] ?? ended();
      if (why !== null) throw new RockpoolError("FAILED_PRECONDITION", `The ${why}`);
      const all = [...text.matchAll(/restoring from backup.*?progress="?([^"\n]*)/g)];
      const progress = all.at(-1)?.[1] ?? "";
      if (progress !== "" && progress !== told) await say(this.#console, `Restoring: ${progress}`);
      told = progress;
      if (performance.now() < standbyMs) continue;
      const health = await askHealth(this.#node(), ASK_TIMEOUT_MS);
      if (health?.isServing === false && health.leader !== null)
        return say(
          this.#console,
          `This master is a standby of ${health.leader}, which restores the backup if it was started with it, too: see its log`,
        );
    }
  }

  /** Another program on the web port might even answer that it is healthy. */
  async #requireFreePorts(): Promise<void> {
    const taken = await takenPorts(this.#ports().filter(({ port }) => port !== 0));
    if (taken.length > 0)
      throw new RockpoolError(
        "UNAVAILABLE",
        describeTaken(taken),
        "End that process, or set another port",
      );
  }

  #ports(): NamedPort[] {
    const configuration = this.#configuration;
    if (this.kind === "worker")
      return [
        { use: "RPC", port: configuration.get(WorkerKeys.rpcPort) },
        { use: "web", port: configuration.get(WorkerKeys.webPort) },
      ];
    return [
      { use: "RPC", port: configuration.get(MasterKeys.rpcPort) },
      { use: "web", port: configuration.get(MasterKeys.webPort) },
      { use: "journal", port: configuration.get(MasterKeys.journalPort) },
    ];
  }

  async #awaitHealth(ended: () => string | null, logFromByte: number): Promise<void> {
    const startedMs = performance.now();
    const deadlineMs = startedMs + HEALTHY_WITHIN_MS;
    while ((await askHealth(this.#node(), ASK_TIMEOUT_MS))?.isHealthy !== true) {
      const isSlow = performance.now() - startedMs > REFUSAL_AFTER_MS;
      if (this.kind === "master" && isSlow)
        requireNotKeptOut(this.logFile, logFromByte, "this master");
      const why = ended() ?? (performance.now() > deadlineMs ? "it is not ready yet" : null);
      if (why !== null)
        throw new RockpoolError(
          "UNAVAILABLE",
          `The ${this.kind} process is not in a healthy state: ${why}\n${lastLines(this.logFile, logFromByte, LOG_LINES)}`,
        );
      await sleep(ASK_EVERY_MS);
    }
  }

  #node(): LocalNode {
    const isMaster = this.kind === "master";
    const port = isMaster ? MasterKeys.webPort : WorkerKeys.webPort;
    const webPort = this.#configuration.get(port);
    return { kind: this.kind, number: 1, name: this.kind, rpcPort: 0, webPort, journalPort: null };
  }

  /** A leading master hands over first; one without which no quorum is left stays up unless forced. */
  async #prepareStop(isForced: boolean): Promise<void> {
    const configuration = this.#configuration;
    const { credentialsOf, JournalAdminClient } = await import("../client/journal_admin.ts");
    const auth = credentialsOf(
      configuration.get(CommonKeys.authenticationType),
      configuration.get(CommonKeys.loginUsername),
    );
    const bound = configuration.get(MasterKeys.bindHost);
    const self = {
      host: bound === "0.0.0.0" ? "localhost" : bound,
      port: configuration.get(MasterKeys.rpcPort),
    };
    const patienceMs = ASK_TIMEOUT_MS;
    const admin = new JournalAdminClient({
      masters: masterRpcAddresses(configuration),
      auth,
      patienceMs,
    });
    const own = new JournalAdminClient({ masters: [self], auth, patienceMs });
    try {
      await prepareStop({ admin, own, isForced, say: (line) => say(this.#console, line) });
    } finally {
      admin.close();
      own.close();
    }
  }

  /** @returns how many processes were ended */
  async stop({ isSoft, isForced }: StopOptions): Promise<number> {
    const identity = this.running();
    if (identity !== null && this.kind === "master") await this.#prepareStop(isForced);
    if (identity === null || !signalProcess(identity, "SIGTERM")) {
      rmSync(this.#pidFile, { force: true });
      return 0;
    }
    const deadlineMs = performance.now() + STOP_WITHIN_MS;
    while (isRunning(identity)) {
      if (performance.now() > deadlineMs) {
        if (isSoft)
          throw new RockpoolError(
            "DEADLINE_EXCEEDED",
            `The ${this.kind} process ${identity.pid} did not end in ${STOP_WITHIN_MS} ms`,
            "Stop it without -s to have it killed",
          );
        signalProcess(identity, "SIGKILL");
      }
      await sleep(ASK_EVERY_MS);
    }
    rmSync(this.#pidFile, { force: true });
    return 1;
  }
}

/** The backup of a command line, as the daemon finds it from wherever it runs. */
function backupOf(session: Session, given: ParsedArguments): string | null {
  const file = given.value("i");
  if (file === undefined) return null;
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(file) ? file : resolve(session.console.cwd, file);
}

async function startOne(session: Session, kind: Kind, given: ParsedArguments, script: string) {
  const { console } = session;
  const daemon = new Daemon(session, kind);
  if (daemon.running() !== null) {
    if (given.has("N")) return say(console, `The ${kind} process runs already`);
    await daemon.stop({ isSoft: false, isForced: given.has("force") });
  }
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

export function processCommands(parts: ProcessParts): CommandTable {
  return {
    start: {
      usage: "<master|worker|local> [-a] [-N] [--journal-backup-file <file>]",
      summary: "Starts daemons on this host and waits until they are healthy.",
      flags: [
        { names: ["a", "async"], help: "accepted; starting waits in any case" },
        { names: ["N", "skip-kill-prev"], help: "leave a daemon that runs already" },
        {
          names: ["i", "journal-backup-file"],
          value: "file",
          help: "fill a freshly formatted cluster from a backup",
        },
        FORCE,
      ],
      argumentsMin: 1,
      argumentsMax: 1,
      async run(session, given) {
        const kinds = kindsOf(given.positional[0]);
        for (const kind of kinds) await startOne(session, kind, given, parts.mainScript);
        return EXIT_OK;
      },
    },
    stop: {
      usage: "<master|worker|local> [-s] [--force]",
      summary:
        "Stops daemons that `process start` started on this host. A leading master hands leadership over first; one without which the others have no quorum is left running.",
      flags: [{ names: ["s", "soft"], help: "never kill, only ask" }, FORCE],
      argumentsMin: 1,
      argumentsMax: 1,
      async run(session, given) {
        const kinds = [...kindsOf(given.positional[0])].reverse();
        await forEachOf(kinds, async (kind) => {
          const daemon = new Daemon(session, kind);
          const count = daemon.running() === null ? 0 : 1;
          await say(session.console, `Found ${count} running process(es) matching ${kind}`);
          const ended = await daemon.stop({
            isSoft: given.has("s"),
            isForced: given.has("force"),
          });
          await say(session.console, `Successfully killed ${ended} process(es)`);
        });
        return EXIT_OK;
      },
    },
  };
}

/** Whether formatting would lose metadata. */
function hasJournal(configuration: Configuration): boolean {
  const folder = configuration.get(MasterKeys.journalFolder);
  return existsSync(folder) && readdirSync(folder).length > 0;
}

async function mayFormat(session: Session, configuration: Configuration): Promise<boolean> {
  const { ask } = session.console;
  if (ask === null || !hasJournal(configuration)) return true;
  const folder = configuration.get(MasterKeys.journalFolder);
  const answer = await ask(
    `The journal in ${folder} is not empty: formatting deletes all metadata. Go on? (y/N) `,
  );
  return /^y(es)?$/i.test(answer.trim());
}

type What = { readonly master: boolean; readonly worker: boolean };

async function format(
  session: Session,
  given: ParsedArguments,
  parts: ProcessParts,
  what: What,
): Promise<number> {
  const { console } = session;
  const loaded = what.master ? session.loadFor("master").configuration : null;
  if (loaded !== null) {
    if (given.has("s") && hasJournal(loaded)) {
      await say(console, "The journal is formatted already");
      return EXIT_OK;
    }
    if (!given.has("y") && !(await mayFormat(session, loaded))) {
      await say(console, "Nothing was formatted.");
      return EXIT_FAILED;
    }
  }
  const tell = async (kind: string, folders: readonly string[]) => {
    for (const folder of folders) await say(console, `Formatting ${kind} folder ${folder}`);
  };
  for (const kind of ["master", "worker"] as const)
    if (what[kind] && new Daemon(session, kind).running() !== null)
      throw new RockpoolError(
        "FAILED_PRECONDITION",
        `The ${kind} of this host runs`,
        `Stop it first: rockpool process stop ${kind}`,
      );
  if (loaded !== null) await tell("master", await parts.formatMaster(loaded));
  if (what.worker)
    await tell("worker", await parts.formatWorker(session.loadFor("worker").configuration));
  const done =
    what.master && what.worker ? "master and workers" : what.master ? "master" : "worker";
  await say(console, `Format successful on ${done}.`);
  return EXIT_OK;
}

export function formatCommands(parts: ProcessParts): CommandTable {
  const command = (summary: string, what: (given: ParsedArguments) => What): Command => ({
    usage: "[-s] [-y]",
    summary,
    flags: [
      { names: ["s"], help: "only if it was never formatted" },
      { names: ["y", "yes"], help: "do not ask" },
      { names: ["skip-master"], help: "leave the journal" },
      { names: ["skip-worker"], help: "leave the workers' storage" },
    ],
    argumentsMin: 0,
    argumentsMax: 0,
    run: (session, given) => format(session, given, parts, what(given)),
  });
  return {
    format: command(
      "Formats the journal and the worker's storage of this host. The under store is left alone.",
      (given) => ({
        master: !given.has("skip-master"),
        worker: !given.has("skip-worker"),
      }),
    ),
    journal: command("Formats the journal of this host's master.", () => ({
      master: true,
      worker: false,
    })),
    cache: command("Formats the storage of this host's worker.", () => ({
      master: false,
      worker: true,
    })),
  };
}
