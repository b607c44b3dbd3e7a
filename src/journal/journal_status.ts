/**
 * What the journal thread tells, as status pages want it. Pure.
 * @module
 */
import type { LogIndex } from "../common/ids.ts";
import type { SoftState } from "../raft/messages.ts";
import type { ThreadStatus } from "./journal_protocol.ts";
import type { JournalStatus, Role } from "./journal_system.ts";

const ROLES: Readonly<Record<SoftState["role"], Role>> = {
  leader: "leader",
  candidate: "candidate",
  preCandidate: "candidate",
  follower: "follower",
};
const NO_TIMES = { count: 0, samplesMs: [] };

export function shownStatus(
  { role, term, leader }: SoftState,
  { lastIndex, commitIndex, members, flushes = NO_TIMES, lags = NO_TIMES }: ThreadStatus,
  appliedIndex: LogIndex,
): Omit<JournalStatus, "isServing" | "lastGainedMs" | "lastLostMs" | "lastFailover"> {
  return {
    role: ROLES[role],
    term,
    leader,
    lastIndex,
    // The thread's word may be some milliseconds old.
    commitIndex: Math.max(commitIndex, appliedIndex),
    appliedIndex,
    members: members.map((member) => ({
      ...member,
      isLeader: member.id === leader,
      matchIndex: role === "leader" ? member.matchIndex : null,
    })),
    flushes,
    lags,
  };
}
