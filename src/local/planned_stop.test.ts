import assert from "node:assert/strict";
import { test } from "node:test";
import type { JournalView } from "../client/journal_admin.ts";
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import type { RaftMember, RaftReport } from "../proto/gen/rockpool_internal.ts";
import { prepareStop } from "./planned_stop.ts";

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

function viewOf(address: string, members: readonly RaftMember[], isServing: boolean): JournalView {
  const report: RaftReport = {
    address,
    role: isServing ? "leader" : "follower",
    isServing,
    term: 1,
    lastIndex: 9,
    commitIndex: 9,
    appliedIndex: 9,
    members,
    checkpointIndex: undefined,
    checkpointTimeMs: undefined,
    promisedIndex: undefined,
    diskFreeBytes: 1,
    diskTotalBytes: 1,
    isReadOnly: false,
    repairCount: 0,
    restoreProgress: undefined,
  };
  const leader = isServing ? report : null;
  return { answers: [{ rpc: `${address}.rpc`, report, tookMs: 1 }], leader, members };
}

/** Stops `self` of a cluster that `leader` leads. @returns what was said and done */
async function stop(options: {
  readonly self: string;
  readonly leader: string;
  readonly members: readonly RaftMember[];
  readonly isForced?: boolean;
  readonly transferTo?: () => Promise<number>;
}): Promise<{ readonly said: string[]; readonly transfers: string[] }> {
  const { self, leader, members, isForced = false } = options;
  const said: string[] = [];
  const transfers: string[] = [];
  await prepareStop({
    admin: {
      look: async () => viewOf(leader, members, true),
      transferTo: async (address) => {
        transfers.push(address);
        return options.transferTo?.() ?? 12.4;
      },
    },
    own: { look: async () => viewOf(self, members, self === leader) },
    isForced,
    say: (line) => void said.push(line),
  });
  return { said, transfers };
}

test("prepareStop() of a leader hands over to the available voter that holds most", async () => {
  const members = [
    member("a:1", { isLeader: true, matchIndex: 9 }),
    member("b:1", { matchIndex: 7 }),
    member("c:1", { matchIndex: 8 }),
    member("d:1", { matchIndex: 9, isVoter: false }),
  ];
  const { said, transfers } = await stop({ self: "a:1", leader: "a:1", members });
  assert.deepEqual(transfers, ["c:1"]);
  assert.deepEqual(said, ["Transferred leadership to c:1 in 12 ms"]);
});

test("prepareStop() refuses when the others would have no quorum, and says who is down, unless forced", async () => {
  const members = [member("a:1"), member("b:1"), member("c:1", { isAvailable: false })];
  await assert.rejects(
    stop({ self: "b:1", leader: "a:1", members }),
    (error) =>
      isRockpoolError(error, "FAILED_PRECONDITION") &&
      error.message ===
        "Without b:1 only 1 of 3 voters would be up and 2 are needed: c:1 is down" &&
      /--force/.test(error.remedy),
  );
  assert.deepEqual((await stop({ self: "b:1", leader: "a:1", members, isForced: true })).said, []);
});

test("prepareStop() lets go of a learner, of a stranger, and of a sole voter", async () => {
  const members = [
    member("a:1"),
    member("b:1", { isAvailable: false }),
    member("c:1", { isVoter: false }),
  ];
  for (const self of ["c:1", "z:1"])
    assert.deepEqual((await stop({ self, leader: "a:1", members })).transfers, []);
  const sole = await stop({ self: "a:1", leader: "a:1", members: [member("a:1")] });
  assert.deepEqual(sole, { said: [], transfers: [] });
});

test("prepareStop() goes on when the hand-over fails", async () => {
  const members = [member("a:1", { isLeader: true }), member("b:1"), member("c:1")];
  const transferTo = () => Promise.reject(new RockpoolError("DEADLINE_EXCEEDED", "too late"));
  const { said } = await stop({ self: "a:1", leader: "a:1", members, transferTo });
  assert.deepEqual(said, ["Could not transfer leadership to b:1: too late"]);
});
