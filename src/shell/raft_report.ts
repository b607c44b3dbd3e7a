/**
 * The text of `fsadmin report raft`: how the journal is, as its masters say themselves. Pure.
 *
 * One line a member. What a master says of itself counts; of one that does not answer, the leader tells what it knows.
 * `SYNC P99` is what 99 of 100 of the newest syncs of the log took at most, and `LAG P99` the same of the delays of the journal's
 * thread: what slow disks and busy processors do to a master.
 * `BEHIND` is how many committed entries a member lacks, `TO APPLY` how many it has and has not applied.
 * @module
 */
import type { JournalView, MasterAnswer } from "../client/journal_admin.ts";
import { formatSize } from "../common/units.ts";
import type { RaftMember, RaftReport } from "../proto/gen/rockpool_internal.ts";

const HEADER = [
  "MEMBER",
  "STANDING",
  "ROLE",
  "STATE",
  "TERM",
  "LAST",
  "BEHIND",
  "TO APPLY",
  "CHECKPOINT",
  "DISK FREE",
  "SYNC P99",
  "LAG P99",
];

type Row = readonly string[];

function stateOf(member: RaftMember | undefined, report: RaftReport | null): string {
  if (report === null) return member?.isAvailable === true ? "no answer" : "down";
  if (report.restoreProgress !== undefined) return "restoring";
  if (report.isReadOnly) return "READ_ONLY(disk)";
  if (report.promisedIndex !== undefined) return `repairing to ${report.promisedIndex}`;
  return report.isServing ? "serves" : report.role === "follower" ? "follows" : "no quorum";
}

function checkpointOf({ checkpointIndex, checkpointTimeMs }: RaftReport, nowMs: number): string {
  if (checkpointIndex === undefined) return "none";
  const age = checkpointTimeMs === undefined ? null : Math.max(0, nowMs - checkpointTimeMs);
  return age === null ? String(checkpointIndex) : `${checkpointIndex} (${ageText(age)} ago)`;
}

function ageText(ageMs: number): string {
  const minutes = Math.floor(ageMs / 60_000);
  if (minutes < 1) return `${Math.floor(ageMs / 1000)}s`;
  return minutes < 120 ? `${minutes}min` : `${Math.floor(minutes / 60)}h`;
}

function diskOf({ diskFreeBytes, diskTotalBytes }: RaftReport): string {
  const percent = diskTotalBytes === 0 ? 0 : Math.floor((100 * diskFreeBytes) / diskTotalBytes);
  return `${formatSize(diskFreeBytes)} (${percent}%)`;
}

function msText(us: number | undefined): string {
  if (us === undefined) return "-";
  const ms = us / 1000;
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)}ms`;
}

function rowOf(
  address: string,
  member: RaftMember | undefined,
  report: RaftReport | null,
  committed: number,
  nowMs: number,
): Row {
  const standing = member === undefined ? "none" : member.isVoter ? "voter" : "learner";
  const state = stateOf(member, report);
  if (report === null) {
    const held = member?.matchIndex;
    const behind = held === undefined ? "-" : String(Math.max(0, committed - held));
    return [
      address,
      standing,
      "-",
      state,
      "-",
      String(held ?? "-"),
      behind,
      "-",
      "-",
      "-",
      "-",
      "-",
    ];
  }
  return [
    address,
    standing,
    report.role,
    state,
    String(report.term),
    String(report.lastIndex),
    String(Math.max(0, committed - report.lastIndex)),
    String(Math.max(0, Math.min(report.commitIndex, report.lastIndex) - report.appliedIndex)),
    checkpointOf(report, nowMs),
    diskOf(report),
    msText(report.syncP99Us),
    msText(report.lagP99Us),
  ];
}

function table(rows: readonly Row[]): string[] {
  const widths = HEADER.map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? "").length)),
  );
  return rows.map((row) =>
    row
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

/** Why the majority is not enough, in one sentence; empty when somebody leads. */
function verdict({ leader, members, answers }: JournalView): string {
  const voters = members.filter(({ isVoter }) => isVoter);
  const up = voters.filter((voter) =>
    answers.some(({ report }) => report?.address === voter.address),
  );
  const needed = Math.floor(voters.length / 2) + 1;
  if (leader !== null) {
    const down = voters.filter(({ isAvailable }) => !isAvailable).map(({ address }) => address);
    if (down.length === 0) return "";
    const spare = voters.length - down.length - needed;
    return `${voters.length - down.length} of ${voters.length} voters are up (${down.join(", ")} not): ${spare} more may be lost`;
  }
  const hurt = answers.flatMap(({ report }) =>
    report?.promisedIndex === undefined
      ? []
      : [
          `${report.address} acknowledged entries through ${report.promisedIndex} and can read ${report.lastIndex}`,
        ],
  );
  if (hurt.length > 0)
    return (
      `Nobody leads, because part of the log is damaged and nobody who is up has it: ${hurt.join("; ")}. ` +
      "Start the masters that are down; `journal repair` gives up what no master has"
    );
  if (up.length < needed)
    return `No quorum: ${up.length} of ${voters.length} voters answer and ${needed} are needed`;
  return "Nobody leads though enough voters answer: the logs of the masters say why";
}

function linesOfSilent(answers: readonly MasterAnswer[]): string[] {
  return answers.flatMap((one) =>
    one.report === null ? [`No answer from ${one.rpc}: ${one.why}`] : [],
  );
}

/** @param nowMs wall clock, for the age of checkpoints */
export function raftLines(view: JournalView, nowMs: number): string[] {
  const { members, leader, answers } = view;
  const reports = answers.flatMap(({ report }) => (report === null ? [] : [report]));
  const reportOf = (address: string) =>
    reports.find((report) => report.address === address) ?? null;
  const strangers = reports
    .map(({ address }) => address)
    .filter((address) => !members.some((member) => member.address === address));
  const addresses = [...members.map(({ address }) => address), ...strangers];
  const committed = Math.max(0, ...reports.map(({ commitIndex }) => commitIndex));
  const term = Math.max(0, ...reports.map((report) => report.term));
  const rows = addresses.map((address) =>
    rowOf(
      address,
      members.find((member) => member.address === address),
      reportOf(address),
      committed,
      nowMs,
    ),
  );
  const repairs = reports.reduce((sum, { repairCount }) => sum + repairCount, 0);
  const restoring = reports.flatMap(({ restoreProgress }) => restoreProgress ?? []);
  const said = verdict(view);
  return [
    `Raft journal: leader ${leader?.address ?? "none"}, term ${term}, committed ${committed}`,
    ...(said === "" ? [] : [said]),
    ...restoring.map((text) => `Restoring from a backup: ${text}`),
    ...(repairs === 0 ? [] : [`Damaged parts got back from peers since the start: ${repairs}`]),
    "",
    ...table([HEADER, ...rows]),
    ...linesOfSilent(answers),
  ];
}

/** The same for programs. */
export function raftJson(view: JournalView) {
  const { leader, members, answers } = view;
  return {
    leader: leader?.address ?? "",
    members: members.map((member) => ({
      address: member.address,
      standing: member.isVoter ? "voter" : "learner",
      isAvailable: member.isAvailable,
    })),
    masters: answers.map((one) =>
      one.report === null
        ? { rpc: one.rpc, error: one.why }
        : {
            rpc: one.rpc,
            answeredInMs: Math.round(one.tookMs),
            address: one.report.address,
            role: one.report.role,
            isServing: one.report.isServing,
            term: one.report.term,
            lastIndex: one.report.lastIndex,
            commitIndex: one.report.commitIndex,
            appliedIndex: one.report.appliedIndex,
            checkpointIndex: one.report.checkpointIndex ?? 0,
            promisedIndex: one.report.promisedIndex ?? 0,
            isReadOnly: one.report.isReadOnly,
            repairCount: one.report.repairCount,
            diskFreeBytes: one.report.diskFreeBytes,
            diskTotalBytes: one.report.diskTotalBytes,
            syncP99Us: one.report.syncP99Us ?? 0,
            lagP99Us: one.report.lagP99Us ?? 0,
          },
    ),
  };
}
