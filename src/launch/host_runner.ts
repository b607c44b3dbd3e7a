/**
 * Runs our commands on the hosts of the cluster: on this one directly, on others by the `ssh` program.
 *
 * Promises: nothing is asked for on a terminal (BatchMode), every run ends (by itself, by its time limit, or when its
 * signal is aborted), and `run` never rejects for what a host does: a host that cannot be reached is a result with a line
 * that says why and what to do. The installation lies under the same path on every host, as with Alluxio.
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { hostname, networkInterfaces, userInfo } from "node:os";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf } from "../common/errors.ts";
import { type HostEntry, parseHost } from "./hosts_file.ts";
import { afterArrival, remoteScript, sshOptions, sshTarget, sshTrouble } from "./remote_shell.ts";

export type HostResult = {
  /** 255 for a host that was not reached, as ssh has it. */
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Why the command did not run or was given up, with what to do, in one line; null when it ran to its end. */
  readonly trouble: string | null;
};

export type HostRunnerOptions = {
  /** bin/alluxio of the installation, here and on every host. */
  readonly command: string;
  /** Given to the command on every host: ALLUXIO_HOME and its like, where they are set here. */
  readonly variables: Readonly<Record<string, string>>;
  /** ALLUXIO_SSH_OPTS, as words. */
  readonly sshWords: readonly string[];
  readonly signal: AbortSignal;
};

export type RunOptions = {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
};

/** Longer than the slowest command of ours waits: a restart whose stop ends in SIGKILL. */
const RUN_WITHIN_MS = 240_000;
const OUTPUT_CHARACTERS_MAX = 1024 * 1024;
const RESOLVE_WITHIN_MS = 2000;
const KILL_AFTER_MS = 1000;
const EXIT_UNREACHED = 255;
const LOOPBACK = /^(localhost|127\.[\d.]+|::1)$/;

type Ended = {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Why it did not begin or was ended by us. */
  readonly failure: string | null;
};

/** The end of a text that may be long. */
class Tail {
  #text = "";

  add(chunk: Buffer): void {
    this.#text = `${this.#text}${chunk.toString("utf8")}`.slice(-OUTPUT_CHARACTERS_MAX);
  }

  get text(): string {
    return this.#text;
  }
}

function endSoon(child: ChildProcess): void {
  child.kill("SIGTERM");
  setTimeout(() => child.kill("SIGKILL"), KILL_AFTER_MS).unref();
}

/** Runs a program to its end and gathers what it says. Never rejects. */
export function runProgram(
  program: string,
  words: readonly string[],
  options: {
    readonly timeoutMs: number;
    readonly signals: readonly AbortSignal[];
    readonly env: NodeJS.ProcessEnv;
    readonly cwd?: string;
    /** Whose output goes into this program. */
    readonly input?: ChildProcess;
  },
): Promise<Ended> {
  const { timeoutMs, signals, env, cwd, input } = options;
  return new Promise((resolve) => {
    const child = spawn(program, words, {
      stdio: [input?.stdout ?? "ignore", "pipe", "pipe"],
      env,
      ...(cwd === undefined ? {} : { cwd }),
    });
    const [stdout, stderr] = [new Tail(), new Tail()];
    child.stdout?.on("data", (chunk: Buffer) => stdout.add(chunk));
    child.stderr?.on("data", (chunk: Buffer) => stderr.add(chunk));
    let failure: string | null = null;
    const giveUp = () => {
      failure = signals.some(({ aborted }) => aborted)
        ? "interrupted"
        : `no end after ${Math.round(timeoutMs / 1000)} s`;
      endSoon(child);
      // Something that it started may hold its output open: nobody waits for that.
      void sleep(2 * KILL_AFTER_MS, undefined, { ref: false }).then(() => done(null));
    };
    const done = (exitCode: number | null) => {
      clearTimeout(timer);
      for (const signal of signals) signal.removeEventListener("abort", giveUp);
      resolve({ exitCode, stdout: stdout.text, stderr: stderr.text, failure });
    };
    child.once("error", (error) => {
      failure ??= messageOf(error);
      done(null);
    });
    child.once("close", done);
    const timer = setTimeout(giveUp, timeoutMs);
    for (const signal of signals) signal.addEventListener("abort", giveUp, { once: true });
    if (signals.some(({ aborted }) => aborted)) giveUp();
  });
}

function ownAddresses(): ReadonlySet<string> {
  const lists = Object.values(networkInterfaces());
  return new Set(lists.flatMap((list) => (list ?? []).map(({ address }) => address)));
}

async function addressesOf(host: string): Promise<readonly string[]> {
  if (isIP(host) !== 0) return [host];
  const found = lookup(host, { all: true }).catch(() => []); // unknown here: ssh may know it (~/.ssh/config)
  const late = sleep(RESOLVE_WITHIN_MS, [], { ref: false });
  return (await Promise.race([found, late])).map(({ address }) => address);
}

/**
 * Whether an entry means this machine and this user, so that no ssh is needed. A loopback name with a port of sshd is
 * taken for the far end of a tunnel.
 */
export async function isThisHost({ host, user, sshPort }: HostEntry): Promise<boolean> {
  if (user !== null && user !== userInfo().username) return false;
  if (LOOPBACK.test(host)) return sshPort === null;
  if (host === hostname()) return true;
  const addresses = await addressesOf(host);
  const own = ownAddresses();
  return addresses.some((address) =>
    LOOPBACK.test(address) ? sshPort === null : own.has(address),
  );
}

export class HostRunner {
  readonly #options: HostRunnerOptions;
  /** Answers of {@link isThisHost}, which may ask a name server. */
  readonly #isLocal = new Map<HostEntry, Promise<boolean>>();

  constructor(options: HostRunnerOptions) {
    this.#options = options;
  }

  /** The options of every ssh: ALLUXIO_SSH_OPTS, then ours. */
  get sshWords(): readonly string[] {
    return sshOptions(this.#options.sshWords);
  }

  get signal(): AbortSignal {
    return this.#options.signal;
  }

  isLocal(entry: HostEntry): Promise<boolean> {
    const known = this.#isLocal.get(entry) ?? isThisHost(entry);
    this.#isLocal.set(entry, known);
    return known;
  }

  /**
   * Runs `bin/alluxio WORDS…` on a host.
   * @param host an entry, or its text: `[user@]host[:port of sshd]`
   */
  async run(
    host: HostEntry | string,
    words: readonly string[],
    options: RunOptions = {},
  ): Promise<HostResult> {
    const entry = typeof host === "string" ? parseHost(host, "host") : host;
    if (await this.isLocal(entry)) return this.#runHere(words, options);
    const { command, variables } = this.#options;
    const moreFolders = [dirname(process.execPath)];
    return this.script(entry, remoteScript({ command, words, variables, moreFolders }), options);
  }

  /** Runs a script that `remote_shell` made on another host. @param input whose output the script reads */
  async script(
    entry: HostEntry,
    script: string,
    options: RunOptions & { readonly input?: ChildProcess } = {},
  ): Promise<HostResult> {
    const words = [...this.sshWords, "-T", ...sshTarget(entry), script];
    const ended = await runProgram("ssh", words, {
      ...this.#limits(options),
      ...(options.input === undefined ? {} : { input: options.input }),
    });
    if (ended.failure?.includes("ENOENT") === true)
      return unreached(ended, "there is no ssh program here (install OpenSSH's client)");
    const said = afterArrival(ended.stdout);
    if (ended.failure !== null) return unreached(ended, ended.failure);
    if (said === null) return unreached(ended, sshTrouble(entry.host, ended.stderr));
    if (ended.exitCode === null)
      return unreached(ended, "ssh was ended by a signal before the command was done");
    return { exitCode: ended.exitCode, stdout: said, stderr: ended.stderr, trouble: null };
  }

  async #runHere(words: readonly string[], options: RunOptions): Promise<HostResult> {
    const { command } = this.#options;
    const ended = await runProgram(process.execPath, [command, ...words], this.#limits(options));
    if (ended.failure !== null) return unreached(ended, ended.failure);
    const { exitCode, stdout, stderr } = ended;
    return { exitCode: exitCode ?? EXIT_UNREACHED, stdout, stderr, trouble: null };
  }

  #limits({ timeoutMs = RUN_WITHIN_MS, signal }: RunOptions) {
    const { variables, signal: own } = this.#options;
    return {
      timeoutMs,
      signals: signal === undefined ? [own] : [own, signal],
      env: { ...process.env, ...variables },
    };
  }
}

function unreached({ stdout, stderr }: Ended, trouble: string): HostResult {
  return { exitCode: EXIT_UNREACHED, stdout: afterArrival(stdout) ?? "", stderr, trouble };
}
