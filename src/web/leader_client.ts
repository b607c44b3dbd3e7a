/**
 * Asks the masters' web ports who leads: for processes that have no part in the election.
 * @module
 */
import { get } from "node:http";
import { formatHostPort, type HostPort } from "../conf/key_spec.ts";
import type { Leader } from "./api_types.ts";

const REPLY_BYTES_MAX = 4096;

function parseLeader(text: string): Leader | null {
  try {
    const reply = JSON.parse(text) as { leader?: unknown; web?: unknown } | null; // checked right below
    return typeof reply?.leader === "string" && typeof reply.web === "string"
      ? { rpc: reply.leader, web: reply.web }
      : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** Null when the master does not answer in time, or knows no leader. */
function ask({ host, port }: HostPort, timeoutMs: number): Promise<Leader | null> {
  return new Promise((resolve) => {
    const request = get({ host, port, path: "/leader", agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
        if (text.length > REPLY_BYTES_MAX) request.destroy();
      });
      response.on("close", () => resolve(parseLeader(text)));
    });
    request.setTimeout(timeoutMs, () => request.destroy());
    request.on("error", () => resolve(null)); // refused, reset, timed out: it does not answer
  });
}

/** The master that says of itself that it leads; else whom another one names; null when none is known. */
export function askForLeader(
  masters: readonly HostPort[],
  timeoutMs: number,
): Promise<Leader | null> {
  return new Promise((resolve) => {
    let pending = masters.length;
    let hearsay: Leader | null = null;
    if (pending === 0) resolve(null);
    for (const master of masters)
      void ask(master, timeoutMs).then((leader) => {
        pending -= 1;
        hearsay ??= leader;
        if (leader?.web === formatHostPort(master)) resolve(leader);
        else if (pending === 0) resolve(hearsay);
      });
  });
}
