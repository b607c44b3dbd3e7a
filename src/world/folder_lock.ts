/**
 * A folder that one process at a time may have open, marked by a file that names the process.
 *
 * The file holds "<pid> <start time of the process>", so that a pid that is used again is told apart. Nothing has to
 * clean up after a crash: the lock of a process that is gone, or that has ended and was not waited for, is taken over.
 * @module
 */
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { RockpoolError } from "../common/errors.ts";

/** Z: ended, and its parent has not asked how. X: being removed. */
const ENDED_STATES: ReadonlySet<string | undefined> = new Set(["Z", "X"]);
const ATTEMPTS_MAX = 3;

/**
 * Start time, in the kernel's units, of the process that a line of /proc/PID/stat is about; null when it has ended.
 * The state is that of the first thread. Others may still be held in a write to the disk, and are counted.
 */
export function startOfRunning(stat: string): string | null {
  // The name in parentheses may hold blanks. After it come the state, 3rd field, the threads, 20th, and the start, 22nd.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const hasEnded = ENDED_STATES.has(fields[0]) && !(Number(fields[17]) > 1);
  return hasEnded ? null : (fields[19] ?? "unknown");
}

/** Start time of a process; null when no such process runs. */
function startOf(pid: number): string | null {
  try {
    return startOfRunning(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch (error) {
    if (existsSync("/proc/self/stat")) return null;
    return isAlive(pid, error) ? "unknown" : null;
  }
}

/** Without /proc: a signal 0 tells whether the process is there. */
function isAlive(pid: number, cause: unknown): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : cause;
    return code === "EPERM";
  }
}

export type FolderLockOptions = {
  /** As an error names it, e.g. "The journal folder /journal". */
  readonly subject: string;
  /** What to do when another process has it. */
  readonly remedy: string;
  /** Told the pid of the process that left its lock behind; 0 when the lock does not say. */
  readonly onTakenOver: (pid: number) => void;
};

/**
 * Marks a folder as open in this process, with a file at `path` inside of it.
 * @returns what gives the lock back
 * @throws RockpoolError UNAVAILABLE when a live process has it
 */
export function lockFolderAt(path: string, options: FolderLockOptions): () => void {
  const mine = `${process.pid} ${startOf(process.pid) ?? "unknown"}`;
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    try {
      writeFileSync(path, mine, { flag: "wx" });
      return () => rmSync(path, { force: true });
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
    }
    const [pidText = "", start = ""] = readFileSync(path, "utf8").split(" ");
    const pid = Number(pidText);
    if (Number.isInteger(pid) && pid > 0 && startOf(pid) === start)
      throw new RockpoolError(
        "UNAVAILABLE",
        `${options.subject} is open in process ${pid}`,
        options.remedy,
      );
    // Renamed first: of two processes that do this at once, one finds nothing to rename.
    const aside = `${path}.${process.pid}.new`;
    try {
      renameSync(path, aside);
      rmSync(aside, { force: true });
      options.onTakenOver(pid);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    }
  }
  throw new RockpoolError(
    "UNAVAILABLE",
    `The lock ${path} changes hands all the time`,
    options.remedy,
  );
}
