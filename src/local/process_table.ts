/**
 * Processes and ports of this machine, as /proc tells of them.
 *
 * A process id alone proves nothing: ids are used again. A process is the same as a recorded one only when
 * id and start time both agree, and nothing here ever ends a process that is not.
 * @module
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { startOfRunning } from "../world/folder_lock.ts";

export type ProcessIdentity = {
  readonly pid: number;
  /** Clock ticks after the machine's start. */
  readonly startTicks: number;
};

export type RunningProcess = ProcessIdentity & { readonly command: string };

/** Another user's process, or one that ends while it is read, is as good as none. */
const UNREADABLE = new Set(["ENOENT", "ESRCH", "EACCES", "EPERM", "ENOTDIR", "EINVAL"]);

function readOrNull<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? ""; // fs throws ErrnoException only
    if (UNREADABLE.has(code)) return null;
    throw error;
  }
}

/** Null when no such process runs; one that has ended and was not waited for does not, unless some of its threads do. */
export function readProcess(pid: number): RunningProcess | null {
  const stat = readOrNull(() => readFileSync(`/proc/${pid}/stat`, "latin1"));
  if (stat === null) return null;
  const start = startOfRunning(stat);
  if (start === null) return null;
  const commandLine = readOrNull(() => readFileSync(`/proc/${pid}/cmdline`, "utf8")) ?? "";
  return {
    pid,
    startTicks: Number(start),
    command: commandLine.replaceAll("\0", " ").trim(),
  };
}

export function isRunning(identity: ProcessIdentity): boolean {
  return readProcess(identity.pid)?.startTicks === identity.startTicks;
}

/**
 * Sends a signal to exactly this process.
 * @returns false when it does not run (any more)
 */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isRunning(identity)) return false;
  return readOrNull(() => process.kill(identity.pid, signal)) ?? false;
}

/** Inodes of sockets that listen on a port, of IPv4 and IPv6. */
function listeningSockets(port: number): Set<string> {
  const hexPort = port.toString(16).toUpperCase().padStart(4, "0");
  const inodes = new Set<string>();
  for (const path of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    const text = readOrNull(() => readFileSync(path, "latin1")) ?? "";
    for (const line of text.split("\n").slice(1)) {
      const fields = line.trim().split(/\s+/);
      const isListening = fields[3] === "0A";
      if (isListening && fields[1]?.endsWith(`:${hexPort}`) === true) inodes.add(fields[9] ?? "");
    }
  }
  return inodes;
}

function hasSocket(pid: string, inodes: ReadonlySet<string>): boolean {
  const folder = `/proc/${pid}/fd`;
  const descriptors = readOrNull(() => readdirSync(folder)) ?? [];
  return descriptors.some((descriptor) => {
    const target = readOrNull(() => readlinkSync(`${folder}/${descriptor}`)) ?? "";
    const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
    return inode !== undefined && inodes.has(inode);
  });
}

/** Who listens on a port; null when nobody does, or nobody that we may see. */
export function portOwner(port: number): RunningProcess | null {
  const inodes = listeningSockets(port);
  if (inodes.size === 0) return null;
  const pids = (readOrNull(() => readdirSync("/proc")) ?? []).filter((name) => /^\d+$/.test(name));
  const pid = pids.find((candidate) => hasSocket(candidate, inodes));
  return pid === undefined ? null : readProcess(Number(pid));
}
