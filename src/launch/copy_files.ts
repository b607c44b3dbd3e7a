/**
 * Copies a file or a folder to the same place on other hosts: by rsync where both sides have it, else by tar over ssh.
 *
 * Whatever only the other host has stays there. A file comes into being whole, by a rename (rsync does that, and so does
 * the tar way for a single file); a folder is copied file by file.
 * @module
 */
import { spawn } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { basename, delimiter, dirname, join } from "node:path";
import { type HostOutcome, inParallel } from "./group.ts";
import { type HostResult, type HostRunner, runProgram } from "./host_runner.ts";
import type { HostEntry } from "./hosts_file.ts";
import { ARRIVED, quote, rsyncHost, shellScript } from "./remote_shell.ts";

/** They share this host's uplink. */
const COPIES_AT_ONCE = 8;
const COPY_WITHIN_MS = 30 * 60_000;
const HAS_RSYNC = "rsync is here";

export type CopyOptions = {
  readonly runner: HostRunner;
  readonly hosts: readonly HostEntry[];
  /** Absolute. */
  readonly path: string;
  readonly say: (line: string) => Promise<void>;
};

function hasProgram(name: string): boolean {
  return (process.env["PATH"] ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch (error) {
      if (error instanceof Error && "code" in error) return false; // not there, or not for us
      throw error;
    }
  });
}

const ok = (stdout: string): HostResult => ({ exitCode: 0, stdout, stderr: "", trouble: null });

async function byRsync(
  runner: HostRunner,
  entry: HostEntry,
  path: string,
  isFolder: boolean,
): Promise<HostResult> {
  const port = entry.sshPort === null ? [] : ["-p", String(entry.sshPort)];
  const shell = ["ssh", ...runner.sshWords, ...port].map(quote).join(" ");
  const slash = isFolder ? "/" : "";
  // A link to a file would lead nowhere there; in a folder links stay what they are.
  const links = isFolder ? [] : ["--copy-links"];
  const words = ["-az", ...links, "--protect-args", "-e", shell];
  const target = `${rsyncHost(entry)}:${path}${slash}`;
  const ended = await runProgram("rsync", [...words, "--", `${path}${slash}`, target], {
    timeoutMs: COPY_WITHIN_MS,
    signals: [runner.signal],
    env: process.env,
  });
  const { exitCode, stdout, stderr, failure } = ended;
  if (failure !== null) return { exitCode: 255, stdout, stderr, trouble: failure };
  return exitCode === 0
    ? ok("copied by rsync")
    : { exitCode: exitCode ?? 255, stdout, stderr, trouble: null };
}

async function byTar(
  runner: HostRunner,
  entry: HostEntry,
  path: string,
  isFolder: boolean,
): Promise<HostResult> {
  const folder = isFolder ? path : dirname(path);
  const name = isFolder ? "." : basename(path);
  const tar = spawn("tar", ["-C", folder, isFolder ? "-czf" : "-chzf", "-", "--", name], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  let problem: string | null = null;
  const ended = new Promise<void>((done) => {
    tar.once("error", (error) => {
      problem = `tar: ${error.message}`;
      done();
    });
    // Not "close": nobody here reads its output to the end, ssh does.
    tar.once("exit", (code) => {
      if (code !== 0) problem ??= `tar ended with exit code ${code} here`;
      done();
    });
  });
  const made = `.${basename(path)}.copy`;
  const into = isFolder ? path : `${folder}/${made}.dir`;
  const lines = [
    `echo ${quote(ARRIVED)}`,
    `mkdir -p ${quote(into)} || exit 1`,
    `tar -C ${quote(into)} -xzpf - || exit 1`,
    ...(isFolder
      ? []
      : [`mv -f ${quote(`${into}/${name}`)} ${quote(path)} || exit 1`, `rmdir ${quote(into)}`]),
  ];
  const result = await runner.script(entry, shellScript(lines), {
    timeoutMs: COPY_WITHIN_MS,
    input: tar,
  });
  tar.kill();
  await ended;
  if (result.trouble !== null || result.exitCode !== 0) return result;
  return problem === null
    ? ok("copied by tar over ssh")
    : { ...result, exitCode: 1, trouble: problem };
}

async function copyTo(runner: HostRunner, entry: HostEntry, path: string): Promise<HostResult> {
  const isFolder = statSync(path).isDirectory();
  const parent = isFolder ? path : dirname(path);
  const prepare = [
    `echo ${quote(ARRIVED)}`,
    `mkdir -p ${quote(parent)} || exit 1`,
    `if command -v rsync >/dev/null 2>&1; then echo ${quote(HAS_RSYNC)}; fi`,
  ];
  const ready = await runner.script(entry, shellScript(prepare));
  if (ready.trouble !== null || ready.exitCode !== 0) return ready;
  const canSync = ready.stdout.includes(HAS_RSYNC) && hasProgram("rsync");
  return (canSync ? byRsync : byTar)(runner, entry, path, isFolder);
}

/** @returns one outcome for each host but this one */
export async function copyToHosts(options: CopyOptions): Promise<readonly HostOutcome[]> {
  const { runner, hosts, path, say } = options;
  const isLocal = await inParallel(hosts, COPIES_AT_ONCE, (entry) => runner.isLocal(entry));
  const others = hosts.filter((_, at) => isLocal[at] !== true);
  return inParallel(others, COPIES_AT_ONCE, async (entry) => {
    const result = await copyTo(runner, entry, path);
    const isOk = result.exitCode === 0 && result.trouble === null;
    const why = result.trouble ?? lastLine(result);
    const line = isOk ? `${result.stdout}: ${path}` : `[ FAILED ] not copied: ${why}`;
    await say(`${entry.host}: ${line}`);
    return { entry, result, isOk, line };
  });
}

function lastLine({ stderr, exitCode }: HostResult): string {
  return stderr.trim().split("\n").at(-1) || `exit code ${exitCode}`;
}
