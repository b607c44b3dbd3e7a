/**
 * A daemon of this host, by its pid file: started, asked for its health, stopped.
 *
 * It is started in a session of its own with its output in `logs/<kind>.out`, and counts as started when it says that it
 * is healthy. `logs/<kind>.pid` holds "pid starttime"; what is stopped is the process with that id, that start time and
 * the command line of a daemon of this kind, and no other. Nothing is ever found by name.
 * @module
 */
import { spawn } from "node:child_process";
import {
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf, RockpoolError } from "../common/errors.ts";
import { masterRpcAddresses } from "../conf/cluster.ts";
import { CommonKeys } from "../conf/common_keys.ts";
import type { Configuration } from "../conf/configuration.ts";
import { MasterKeys } from "../conf/master_keys.ts";
import { hasSharedJournal } from "../conf/shared_journal.ts";
import { WorkerKeys } from "../conf/worker_keys.ts";
import { nameWarnings } from "../launch/visible_name.ts";
import { lastLines, logEnd, REFUSAL_AFTER_MS, requireNotKeptOut } from "../local/daemon_log.ts";
import type { LocalNode, NamedPort } from "../local/plan.ts";
import { prepareStop } from "../local/planned_stop.ts";
import { askHealth, type Health, takenPorts } from "../local/probe.ts";
import {
  isRunning,
  type ProcessIdentity,
  readProcess,
  signalProcess,
} from "../local/process_table.ts";
import { describeTaken, FILE_THREADS } from "../local/processes.ts";
import { lockFolderAt } from "../world/folder_lock.ts";
import { makeFolder } from "../world/folders.ts";
import { type Console, say } from "./console.ts";
import type { Kind } from "./process_words.ts";
import type { Session } from "./session.ts";

export type StopOptions = {
  /** Never kill. */
  readonly isSoft: boolean;
  /** Even when the other masters cannot go on without it. */
  readonly isForced: boolean;
  /** All masters are stopped: none of them has to be asked whether it may go, nor to hand over. */
  readonly isWholeCluster: boolean;
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

/** Whether a command line is that of a daemon: `node … dist/main.js master …`, or `bin/rockpool master`. */
function isDaemonOf(kind: Kind, command: string): boolean {
  return new RegExp(`(^|[/ ])(main\\.m?js|rockpool|alluxio) ${kind}( |$)`).test(command);
}

/** The master or the worker of this host, as its configuration describes it. */
export class HostDaemon {
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

  /** Empty when there is no pid file. */
  #noted(): string {
    return existsSync(this.#pidFile) ? readFileSync(this.#pidFile, "utf8") : "";
  }

  /** Removes the pid file unless another start has written its own meanwhile. */
  #forget(noted: string): void {
    if (noted !== "" && this.#noted() === noted) rmSync(this.#pidFile, { force: true });
  }

  #makeLogs(): void {
    const { key } = CommonKeys.logsDir;
    makeFolder(this.#logs, `logs (${key})`, `Set ${key} to a folder that this user may make`);
  }

  /**
   * Only one start of this daemon at a time: of two, one's process would end for want of ports, be noted in the pid
   * file, and be called healthy for the other's answer.
   * @throws RockpoolError UNAVAILABLE when another one is under way
   */
  async exclusively(act: () => Promise<void>): Promise<void> {
    this.#makeLogs();
    const path = join(this.#logs, `${this.kind}.starting`);
    const unlock = lockFolderAt(path, {
      subject: `The lock ${path}`,
      remedy: `Another start of this host's ${this.kind} is under way: wait for it, or end it`,
      onTakenOver: () => {}, // of a start that was interrupted
    });
    try {
      await act();
    } finally {
      unlock();
    }
  }

  /** Null when it was not started by `process start`, or does not run any more. */
  running(): ProcessIdentity | null {
    const noted = this.#noted();
    if (noted === "") return null;
    const [pid = Number.NaN, startTicks = Number.NaN] = noted.trim().split(" ").map(Number);
    if (!Number.isInteger(pid)) return null;
    const found = readProcess(pid);
    // The id may be another process's by now: start time and command line tell.
    const isOurs = found?.startTicks === startTicks && isDaemonOf(this.kind, found.command);
    return isOurs ? { pid, startTicks } : null;
  }

  get configuration(): Configuration {
    return this.#configuration;
  }

  /** What it says of itself; null when nobody answers on its web port. */
  health(): Promise<Health | null> {
    const isMaster = this.kind === "master";
    const bound = this.#configuration.get(
      isMaster ? MasterKeys.webBindHost : WorkerKeys.webBindHost,
    );
    return askHealth(this.#node(), ASK_TIMEOUT_MS, bound === "0.0.0.0" ? undefined : bound);
  }

  /** @param backup what fills a fresh cluster; null for nothing */
  async start(mainScript: string, backup: string | null): Promise<void> {
    await say(this.#console, `Starting ${this.kind}`);
    for (const text of nameWarnings(this.kind, this.#configuration))
      await say(this.#console, `Warning: ${text}`);
    await this.#requireFreePorts();
    this.#makeLogs();
    const logFromByte = logEnd(this.logFile);
    const restore = backup === null ? [] : [`${MasterKeys.initFromBackup.key}=${backup}`];
    const definitions = [...this.#session.definitions, ...restore].map((one) => `-D${one}`);
    const words = [mainScript, this.kind, "--conf-dir", this.#confDir, ...definitions];
    const log = openSync(this.logFile, "a");
    const child = spawn(process.execPath, ["--enable-source-maps", ...words], {
      detached: true,
      cwd: this.#console.home,
      env: { UV_THREADPOOL_SIZE: FILE_THREADS, ...process.env, ...this.#console.env },
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    let ended: string | null = null;
    child.once("error", (error) => {
      ended = messageOf(error);
    });
    child.once("exit", (code, signal) => {
      ended = signal === null ? `it ended with exit code ${code}` : `it was ended by ${signal}`;
    });
    const found = child.pid === undefined ? null : readProcess(child.pid);
    if (found !== null) this.#note(found);
    child.unref();
    await this.#awaitHealth(() => ended, logFromByte);
    if (backup !== null) await this.#awaitRestore(() => ended, logFromByte);
  }

  /** By a rename, so that it is never seen half written. */
  #note({ pid, startTicks }: ProcessIdentity): void {
    const temporary = `${this.#pidFile}.${process.pid}.tmp`;
    writeFileSync(temporary, `${pid} ${startTicks}\n`);
    renameSync(temporary, this.#pidFile);
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
      const health = await this.health();
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
    // When it has ended, another process answers.
    while ((await this.health())?.isHealthy !== true || ended() !== null) {
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
    // With ZooKeeper it hands over by ending.
    if (hasSharedJournal(configuration)) return;
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
  async stop({ isSoft, isForced, isWholeCluster }: StopOptions): Promise<number> {
    const noted = this.#noted();
    const identity = this.running();
    if (identity !== null && this.kind === "master" && !isWholeCluster)
      await this.#prepareStop(isForced);
    if (identity === null || !signalProcess(identity, "SIGTERM")) {
      this.#forget(noted);
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
    this.#forget(noted);
    return 1;
  }
}
