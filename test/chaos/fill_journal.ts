/**
 * Writes long entries until a journal needs more room: a directory gets one long owner's name after the other.
 * @module
 */
import { userInfo } from "node:os";
import { RockpoolError } from "../../src/common/errors.ts";
import { parsePath } from "../../src/common/path.ts";
import type { ChaosCluster } from "./chaos_cluster.ts";
import { Connection } from "./workload.ts";

/** Outside of what clients touch. */
const PATH = "/filler";
const NAME_BYTES = 400_000;
/** Two segments, and some. */
const ENTRIES_MAX = 500;
const CONCURRENCY = 4;
const TIME_MS_MAX = 20_000;
const CALL_TIMEOUT_MS = 20_000;

/**
 * Ends when that is the case, or after enough entries for every segment that was ready.
 * @returns what was done
 */
export async function fillJournal(
  cluster: ChaosCluster,
  isFull: () => boolean,
  signal: AbortSignal,
): Promise<string> {
  const connection = new Connection(cluster.masterAddresses, userInfo().username, CALL_TIMEOUT_MS);
  const deadlineMs = performance.now() + TIME_MS_MAX;
  let count = 0;
  let isDone = false;
  let lastError = "";
  const write = async () => {
    while (!isDone) {
      count += 1;
      const owner = `${count} ${"x".repeat(NAME_BYTES)}`;
      isDone = count > ENTRIES_MAX || performance.now() > deadlineMs || signal.aborted || isFull();
      try {
        await connection.master.setAttribute(parsePath(PATH), { owner }, false, null);
      } catch (error) {
        // Refused, or lost: the next one.
        if (!(error instanceof RockpoolError)) throw error;
        lastError = error.message;
      }
    }
  };
  try {
    const options = { isRecursive: true, allowExists: true, mode: 0o755, isPersisted: false };
    await connection.master.createDirectory(parsePath(PATH), options, null);
    await Promise.all(Array.from({ length: CONCURRENCY }, write));
    return `${count} long entries${lastError === "" ? "" : ` (${lastError.slice(0, 100)})`}`;
  } finally {
    await connection.close();
  }
}
