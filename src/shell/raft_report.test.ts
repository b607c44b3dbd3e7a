import assert from "node:assert/strict";
import { test } from "node:test";
import type { JournalView } from "../client/journal_admin.ts";
import type { RaftMember, RaftReport } from "../proto/gen/rockpool_internal.ts";
import { raftJson, raftLines } from "./raft_report.ts";

const GiB = 1024 ** 3;
const NOW_MS = 1_000_000;

function member(address: string, about: Partial<RaftMember> = {}): RaftMember {
  return {
    address,
    isVoter: true,
    isLeader: false,
    isAvailable: true,
    matchIndex: undefined,
    ...about,
  };
}

function report(address: string, about: Partial<RaftReport> = {}): RaftReport {
  return {
    address,
    role: "follower",
    isServing: false,
    term: 3,
    lastIndex: 120,
    commitIndex: 120,
    appliedIndex: 118,
    members: [],
    checkpointIndex: undefined,
    checkpointTimeMs: undefined,
    promisedIndex: undefined,
    diskFreeBytes: 10 * GiB,
    diskTotalBytes: 40 * GiB,
    isReadOnly: false,
    repairCount: 0,
    restoreProgress: undefined,
    ...about,
  };
}

function view(reports: readonly RaftReport[], members: readonly RaftMember[]): JournalView {
  return {
    answers: [
      ...reports.map((one) => ({ rpc: `${one.address}.rpc`, report: one, tookMs: 1 })),
      ...members
        .filter(({ address }) => !reports.some((one) => one.address === address))
        .map(({ address }) => ({
          rpc: `${address}.rpc`,
          report: null,
          why: "refuses connections",
        })),
    ],
    leader: reports.find(({ isServing }) => isServing) ?? null,
    members,
  };
}

test("raftLines() shows each member with what it says of itself, and the leader's word for those that are down", () => {
  const lines = raftLines(
    view(
      [
        report("a:1", {
          role: "leader",
          isServing: true,
          checkpointIndex: 100,
          checkpointTimeMs: NOW_MS - 90_000,
          syncP99Us: 2345,
          lagP99Us: 71_600,
        }),
        report("b:1", {
          lastIndex: 110,
          commitIndex: 110,
          appliedIndex: 110,
          promisedIndex: 115,
          repairCount: 2,
        }),
        report("d:1", { lastIndex: 20, commitIndex: 20, appliedIndex: 20 }),
      ],
      [
        member("a:1", { isLeader: true, matchIndex: 120 }),
        member("b:1", { matchIndex: 110 }),
        member("c:1", { isAvailable: false, matchIndex: 90 }),
        member("d:1", { isVoter: false, matchIndex: 20 }),
      ],
    ),
    NOW_MS,
  );
  assert.deepEqual(lines, [
    "Raft journal: leader a:1, term 3, committed 120",
    "2 of 3 voters are up (c:1 not): 0 more may be lost",
    "Damaged parts got back from peers since the start: 2",
    "",
    "MEMBER  STANDING  ROLE      STATE             TERM  LAST  BEHIND  TO APPLY  CHECKPOINT      DISK FREE      SYNC P99  LAG P99",
    "a:1     voter     leader    serves            3     120   0       2         100 (1min ago)  10.00GB (25%)  2.3ms     72ms",
    "b:1     voter     follower  repairing to 115  3     110   10      0         none            10.00GB (25%)  -         -",
    "c:1     voter     -         down              -     90    30      -         -               -              -         -",
    "d:1     learner   follower  follows           3     20    100     0         none            10.00GB (25%)  -         -",
    "No answer from c:1.rpc: refuses connections",
  ]);
});

test("raftLines() without a leader says how many voters answer and how many are needed", () => {
  const members = [
    member("a:1"),
    member("b:1", { isAvailable: false }),
    member("c:1", { isAvailable: false }),
  ];
  const alone = view([report("a:1", { role: "candidate", isReadOnly: true })], members);
  const [title, verdict, , , row] = raftLines(alone, NOW_MS);
  assert.equal(title, "Raft journal: leader none, term 3, committed 120");
  assert.equal(verdict, "No quorum: 1 of 3 voters answer and 2 are needed");
  assert.match(row ?? "", /^a:1 +voter +candidate +READ_ONLY\(disk\)/);
  const { leader, masters } = raftJson(alone);
  assert.equal(leader, "");
  assert.equal(masters.length, 3);
});

test("raftLines() shows a master that is no member", () => {
  const lines = raftLines(
    view([report("z:1", { lastIndex: 0, commitIndex: 0, appliedIndex: 0 })], []),
    0,
  );
  assert.match(lines.at(-1) ?? "", /^z:1 +none /);
});
