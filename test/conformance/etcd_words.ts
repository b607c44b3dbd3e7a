/**
 * etcd's words and ours: what its scripts expect, as facts that can be compared with what our core did.
 *
 * | etcd | here |
 * |---|---|
 * | MsgVote, MsgPreVote, their Resp | requestVote, requestPreVote, voteResponse, preVoteResponse |
 * | MsgApp | appendEntries |
 * | MsgAppResp; with Rejected | appendAccepted; appendRejected |
 * | MsgAppResp of index 0 (a newer term, for a leader of an older one) | heartbeatResponse |
 * | MsgHeartbeat, MsgHeartbeatResp | heartbeat, heartbeatResponse |
 * | MsgSnap, MsgTimeoutNow | snapshot, timeoutNow |
 * | EntryNormal "" | a no-op |
 * | EntryConfChange, EntryConfChangeV2 | a config entry; what it says is compared by the configuration that follows |
 * | StateProbe, StateReplicate, StateSnapshot | modes of `status().progress` |
 * | the snapshot that a node is started with, of term 1 | the same with term 0, so that the node may be at term 0: `b` |
 *
 * Not compared, since there is nothing here that corresponds: hints of rejections (ours also carry the hint's term and
 * skip in another order), `next`, `inflight` and `inactive` of a progress (not in our status), MustSync (a matter of the
 * write-ahead log), MsgStorageAppend and MsgStorageApply (our shell does that by calls), and log lines but those about
 * roles and configurations.
 * @module
 */
import type { Entry, Membership, Message, RaftStatus } from "../../src/raft/messages.ts";

/** What one command shows of one node; null where it shows nothing. */
export type NodeFacts = {
  role: string | null;
  lead: string | null;
  term: number | null;
  /** Of the last hard state that was handed out. */
  hard: { term: number; vote: string; commit: number } | null;
  configuration: string | null;
  becameLeader: number[];
  /** Entries to be persisted, by index; later ones replace what follows them. */
  readonly appended: Map<number, string>;
  readonly applied: string[];
};

export type Facts = {
  readonly nodes: Map<string, NodeFacts>;
  readonly sent: string[];
  readonly delivered: string[];
};

export function noFacts(): Facts {
  return { nodes: new Map(), sent: [], delivered: [] };
}

export function factsOf(facts: Facts, node: string): NodeFacts {
  const known = facts.nodes.get(node) ?? {
    role: null,
    lead: null,
    term: null,
    hard: null,
    configuration: null,
    becameLeader: [],
    appended: new Map<number, string>(),
    applied: [],
  };
  facts.nodes.set(node, known);
  return known;
}

/** Of positions in logs: those through the bootstrap index are `b`. */
export function positionText(term: number, index: number, bootIndex: number): string {
  return index <= bootIndex && index > 0 ? `b/${index}` : `${term}/${index}`;
}

// — ours —

const decoder = new TextDecoder();

export function entryText(entry: Entry): string {
  const what = entry.kind === "command" ? `"${decoder.decode(entry.payload)}"` : entry.kind;
  return `${entry.term}/${entry.index} ${what}`;
}

export function configurationText({ voters, learners }: Membership): string {
  const sorted = (ids: readonly bigint[]) => ids.map(Number).sort((a, b) => a - b);
  return `${sorted(voters).join(" ")} | ${sorted(learners).join(" ")}`;
}

export function messageText(message: Message, bootIndex: number): string {
  const head = `${message.from}->${message.to}`;
  const { term } = message;
  switch (message.kind) {
    case "requestVote":
    case "requestPreVote": {
      const name = message.kind === "requestVote" ? "Vote" : "PreVote";
      const log = positionText(message.lastLogTerm, message.lastLogIndex, bootIndex);
      return `${head} ${name} ${term} log ${log}`;
    }
    case "voteResponse":
    case "preVoteResponse": {
      const name = message.kind === "voteResponse" ? "VoteResp" : "PreVoteResp";
      return `${head} ${name} ${term} ${message.isGranted ? "yes" : "no"}`;
    }
    case "appendEntries": {
      const log = positionText(message.prevLogTerm, message.prevLogIndex, bootIndex);
      const entries = message.entries.map(entryText).join(", ");
      return `${head} App ${term} log ${log} commit ${message.leaderCommit} [${entries}]`;
    }
    case "appendAccepted":
      return `${head} AppResp ${term} yes ${message.matchIndex}`;
    case "appendRejected":
      return `${head} AppResp ${term} no ${message.rejectedIndex}`;
    case "heartbeat":
      return `${head} Heartbeat ${term} commit ${message.commitIndex}`;
    case "heartbeatResponse":
      return `${head} HeartbeatResp ${term}`;
    case "timeoutNow":
      return `${head} TimeoutNow ${term}`;
    case "snapshot": {
      const { index, term: snapshotTerm, membership } = message.snapshot;
      const position = positionText(snapshotTerm, index, bootIndex);
      return `${head} Snap ${term} at ${position} of ${configurationText(membership)}`;
    }
  }
}

export function roleText(role: RaftStatus["role"]): string {
  return role;
}

// — etcd's —

const ROLES: Readonly<Record<string, string>> = {
  StateFollower: "follower",
  StateCandidate: "candidate",
  StatePreCandidate: "preCandidate",
  StateLeader: "leader",
};

/** Of "StateLeader". */
export function etcdRole(state: string): string {
  return ROLES[state] ?? state;
}

/** Of `1/11 EntryNormal "data"`: the text that `entryText` would give. */
export function etcdEntry(line: string): { index: number; text: string } {
  const [, term = "", index = "", kind = "", rest = ""] =
    /^(\d+)\/(\d+) (Entry\w+) ?(.*)$/.exec(line.trim()) ?? [];
  if (kind === "") throw new Error(`No entry: ${line}`);
  // Go's quoting of the data that the scripts use is JSON's.
  const data: unknown = kind === "EntryNormal" ? JSON.parse(rest) : "";
  const what = kind === "EntryNormal" ? (data === "" ? "noop" : `"${String(data)}"`) : "config";
  return { index: Number(index), text: `${term}/${index} ${what}` };
}

/** Of `voters=(1 2) learners=(3)`, and null of a joint one, which we do not have. */
export function etcdConfiguration(text: string): string | null {
  if (text.includes("&&")) return null;
  const ids = (name: string) => new RegExp(`${name}=\\(([^)]*)\\)`).exec(text)?.[1] ?? "";
  return `${ids("voters")} | ${ids("learners")}`;
}

const MESSAGE = /^\s*(?:dropped: )?(\w+)->(\w+) Msg(\w+) Term:(\d+) Log:(\d+)\/(\d+)(.*)$/;

export function isEtcdMessage(line: string): boolean {
  return MESSAGE.test(line);
}

/** One message of a transcript, which may take several lines; null when it is of etcd's storage threads. */
export function etcdMessage(
  lines: readonly string[],
  at: number,
  bootIndex: number,
): { text: string | null; next: number } {
  const [, from = "", to = "", type = "", termText = "", logTerm = "", logIndex = "", rest = ""] =
    MESSAGE.exec(lines[at] ?? "") ?? [];
  let next = at + 1;
  const entries: string[] = [];
  const inline = /Entries:\[(.+)\]/.exec(rest)?.[1];
  if (inline !== undefined && !inline.includes("Responses:[")) entries.push(etcdEntry(inline).text);
  else if (/Entries:\[$/.test(rest)) {
    for (; (lines[next] ?? "").trim()[0] !== "]"; next += 1)
      entries.push(etcdEntry(lines[next] ?? "").text);
    next += 1;
  }
  const tail = `${rest}${next > at + 1 ? (lines[next - 1] ?? "") : ""}`;
  if (/Responses:\[$/.test(tail)) next = skipResponses(lines, next);
  const snapshot =
    /Snapshot: Index:(\d+) Term:(\d+) ConfState:Voters:\[([^\]]*)\].*?Learners:\[([^\]]*)\]/.exec(
      lines[next] ?? "",
    );
  if (snapshot !== null && type === "Snap") next += 1;
  if (/Thread/.test(from) || /Thread/.test(to) || from === to) return { text: null, next };
  const term = Number(termText);
  const index = Number(logIndex);
  const isRejected = rest.includes("Rejected");
  const commit = Number(/Commit:(\d+)/.exec(rest)?.[1] ?? 0);
  const head = `${from}->${to}`;
  const log = positionText(Number(logTerm), index, bootIndex);
  const bodies: Record<string, () => string> = {
    Vote: () => `Vote ${term} log ${log}`,
    PreVote: () => `PreVote ${term} log ${log}`,
    VoteResp: () => `VoteResp ${term} ${isRejected ? "no" : "yes"}`,
    PreVoteResp: () => `PreVoteResp ${term} ${isRejected ? "no" : "yes"}`,
    App: () => `App ${term} log ${log} commit ${commit} [${entries.join(", ")}]`,
    AppResp: () =>
      index === 0 && !isRejected
        ? `HeartbeatResp ${term}`
        : `AppResp ${term} ${isRejected ? "no" : "yes"} ${index}`,
    Heartbeat: () => `Heartbeat ${term} commit ${commit}`,
    HeartbeatResp: () => `HeartbeatResp ${term}`,
    TimeoutNow: () => `TimeoutNow ${term}`,
    Snap: () => {
      const [, snapshotIndex = "0", snapshotTerm = "0", voters = "", learners = ""] =
        snapshot ?? [];
      const position = positionText(Number(snapshotTerm), Number(snapshotIndex), bootIndex);
      return `Snap ${term} at ${position} of ${voters} | ${learners}`;
    },
  };
  const body = bodies[type];
  if (body === undefined) throw new Error(`An unknown message: ${lines[at]}`);
  return { text: `${head} ${body()}`, next };
}

function skipResponses(lines: readonly string[], from: number): number {
  let next = from;
  while ((lines[next] ?? "").trim() !== "]") {
    if (next >= lines.length) throw new Error("Responses without an end");
    next += 1;
  }
  return next + 1;
}
