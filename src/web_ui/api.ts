/**
 * Questions to the process that served this page.
 * @module
 */
import type { Leader, StatusDocument } from "../web/api_types.ts";

const TIMEOUT_MS = 5_000;
const ASK_LEADER_MS = 1_000;

/** It answered, and not with what was asked for. */
export class ApiError extends Error {
  readonly status: number;
  /** Whom to ask instead, when only the leader knows. */
  readonly leader: Leader | null;
  readonly needsLeader: boolean;

  constructor(message: string, status: number, leader: Leader | null, needsLeader: boolean) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.leader = leader;
    this.needsLeader = needsLeader;
  }
}

type Failure = {
  readonly error?: string;
  readonly remedy?: string;
  readonly leader?: Leader | null;
};

async function failureOf(response: Response): Promise<ApiError> {
  const text = await response.text();
  let failure: Failure = { error: text.trim() };
  if ((response.headers.get("content-type") ?? "").startsWith("application/json"))
    failure = JSON.parse(text) as Failure; // our own server's
  const message = [failure.error, failure.remedy].filter(
    (part) => part !== undefined && part !== "",
  );
  const { leader } = failure;
  const needsLeader = response.status === 503 && leader !== undefined;
  return new ApiError(
    message.join(". ") || `The answer was ${response.status}`,
    response.status,
    leader ?? null,
    needsLeader,
  );
}

/** @throws ApiError, or what `fetch` throws when nobody answers */
export async function ask<T>(path: string, signal?: AbortSignal): Promise<T> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const response = await fetch(path, {
    signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
  });
  if (!response.ok) throw await failureOf(response);
  return (await response.json()) as T; // our own server's, of this very version
}

export async function send<T>(path: string, body: BodyInit, contentType: string): Promise<T> {
  const headers = { "content-type": contentType };
  const response = await fetch(path, { method: "POST", headers, body });
  if (!response.ok) throw await failureOf(response);
  return (await response.json()) as T; // as above
}

export const sendJson = <T>(path: string, value: unknown) =>
  send<T>(path, JSON.stringify(value), "application/json");

export function query(parameters: Readonly<Record<string, string | number>>): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) search.set(name, String(value));
  return `?${search}`;
}

/** What a process of the cluster says of who leads; null when it does not answer, or knows none. */
async function leaderBy(web: string): Promise<Leader | null> {
  try {
    const response = await fetch(`http://${web}/leader`, {
      signal: AbortSignal.timeout(ASK_LEADER_MS),
    });
    const said = (await response.json()) as { leader: string | null; web: string | null };
    return said.leader === null || said.web === null ? null : { rpc: said.leader, web: said.web };
  } catch {
    return null; // it is down too, or was never reachable from here
  }
}

/** The first master that leads by its own word. */
export async function findLeader(webs: readonly string[]): Promise<Leader | null> {
  const answers = await Promise.all(
    webs.map(async (web) => ({ web, leader: await leaderBy(web) })),
  );
  return answers.find(({ web, leader }) => leader?.web === web)?.leader ?? null;
}

/** Addresses of all masters in what was heard last. */
export function masterWebs(status: StatusDocument): readonly string[] {
  if (status.kind === "worker") return status.leader === null ? [] : [status.leader.web];
  return status.master.members.map(({ web }) => web);
}
