import assert from "node:assert/strict";
import { test } from "node:test";
import type { MemberId } from "../common/ids.ts";
import type { SoftState } from "../raft/messages.ts";
import { FailoverStory } from "./failover_story.ts";

const [A, B] = [1n as MemberId, 2n as MemberId];

function story() {
  const now = { ms: 0 };
  const clock = { monotonicMs: () => now.ms, wallMs: () => 1000 + now.ms };
  const told = new FailoverStory(clock, (member) => (member === null ? null : `m${member}`));
  const at = (
    ms: number,
    role: SoftState["role"],
    term: number,
    leader: MemberId | null,
    silenceMs: number | null = null,
  ) => {
    now.ms = ms;
    told.changed({ role, term, leader }, silenceMs);
  };
  return { now, told, at };
}

test("the next leader tells all of a fail-over, step by step", () => {
  const { now, told, at } = story();
  at(0, "follower", 1, A);
  assert.equal(told.last, null);
  at(1000, "preCandidate", 1, null, 240);
  at(1004, "candidate", 2, null);
  at(1010, "leader", 2, B);
  now.ms = 1025;
  assert.equal(told.gained(2), 25);
  assert.deepEqual(told.last, {
    term: 2,
    fromAddress: "m1",
    toAddress: "m2",
    endedMs: 2025,
    silenceMs: 240,
    campaignMs: 0,
    votesMs: 10,
    applyMs: 15,
    totalMs: 265,
  });
});

test("a standby tells its part: until it heard of the new leader", () => {
  const { told, at } = story();
  at(0, "follower", 1, A);
  at(500, "follower", 2, null, 200);
  at(520, "follower", 2, B);
  assert.deepEqual(
    [told.last?.campaignMs, told.last?.votesMs, told.last?.applyMs, told.last?.totalMs],
    [null, 20, null, 220],
  );
});

test("a leader that hands over sees who follows it", () => {
  const { told, at } = story();
  at(0, "leader", 1, B);
  told.gained(1);
  at(100, "follower", 2, null);
  told.lost();
  at(130, "follower", 2, A);
  assert.deepEqual([told.last?.fromAddress, told.last?.toAddress], ["m2", "m1"]);
  assert.equal(told.last?.silenceMs, null);
  assert.equal(told.last?.totalMs, 30);
  assert.equal(told.lastLostMs, 1100);
});
