import assert from "node:assert/strict";
import { test } from "node:test";
import type { MemberId } from "../common/ids.ts";
import type { MemberStatus, MembershipEvent } from "./journal_protocol.ts";
import { QuorumWatch } from "./quorum_watch.ts";

const MINUTE_MS = 60_000;

function member(address: string, changes: Partial<MemberStatus> = {}): MemberStatus {
  return {
    id: BigInt(address.charCodeAt(0)) as MemberId,
    address,
    isSelf: false,
    standing: "voter",
    isAvailable: false,
    matchIndex: null,
    ...changes,
  };
}

const SELF = member("a:1", { isSelf: true, isAvailable: true });

function watched(members: readonly MemberStatus[]) {
  const events: MembershipEvent[] = [];
  const watch = new QuorumWatch(["b:1", "c:1"], (event) => events.push(event));
  /** Looks ten times a second; those that were wiped call every other second. */
  const pass = (fromMs: number, toMs: number, wiped: readonly string[], hasLeader = false) => {
    for (let nowMs = fromMs; nowMs < toMs; nowMs += 100) {
      if (nowMs % 2000 === 0) for (const address of wiped) watch.wipedSeen(address, nowMs);
      watch.look(hasLeader, members, nowMs);
    }
  };
  const lost = () => events.flatMap((event) => (event.kind === "quorumLost" ? [event] : []));
  return { events, lost, pass };
}

test("QuorumWatch names who lost its journal when nobody can be elected for that, and rarely again", () => {
  const { events, lost, pass } = watched([SELF, member("b:1"), member("c:1")]);
  pass(0, 29_900, ["b:1", "c:1"]);
  assert.deepEqual(events, [], "an election may take some moments");
  pass(30_000, 12 * MINUTE_MS, ["b:1", "c:1"]);
  assert.equal(events.length, 3);
  const [first] = lost();
  assert.deepEqual(
    [first?.neededCount, first?.up, first?.wiped, first?.missing],
    [2, ["a:1"], ["b:1", "c:1"], []],
  );
  assert.match(first?.message ?? "", /2 of 3 voters/);
  assert.match(first?.remedy ?? "", /of at least 1 of b:1, c:1 back.*--journal-backup-file/);
});

test("QuorumWatch says whom to start when that would be enough", () => {
  const members = ["b:1", "c:1", "d:1", "e:1"].map((address) => member(address));
  const { lost, pass } = watched([SELF, ...members]);
  pass(0, MINUTE_MS, ["b:1"]);
  const [event] = lost();
  assert.deepEqual(event?.missing, ["c:1", "d:1", "e:1"]);
  assert.match(event?.remedy ?? "", /^Start 2 of c:1, d:1, e:1: /);
  const more = watched([SELF, ...members]);
  more.pass(0, MINUTE_MS, ["b:1", "c:1", "d:1"]);
  assert.match(
    more.lost()[0]?.remedy ?? "",
    /^Start e:1\. Put .* of at least 1 of b:1, c:1, d:1 back/,
  );
});

test("QuorumWatch is silent while there is a leader, a majority, or nobody who lost a journal", () => {
  const others = [member("b:1"), member("c:1")];
  const led = watched([SELF, ...others]);
  led.pass(0, MINUTE_MS, ["b:1", "c:1"], true);
  led.pass(MINUTE_MS, MINUTE_MS + 29_000, ["b:1", "c:1"]);
  const down = watched([SELF, ...others]);
  down.pass(0, MINUTE_MS, []);
  const enough = watched([SELF, member("b:1", { isAvailable: true }), member("c:1")]);
  enough.pass(0, MINUTE_MS, ["c:1"]);
  const learner = watched([
    SELF,
    member("b:1", { isAvailable: true }),
    member("c:1", { standing: "learner" }),
  ]);
  learner.pass(0, MINUTE_MS, ["c:1"]);
  const gone = watched([SELF, ...others]);
  gone.pass(0, 15_000, ["b:1"]);
  gone.pass(15_000, MINUTE_MS, []);
  for (const { events } of [led, down, enough, learner, gone]) assert.deepEqual(events, []);
});

test("QuorumWatch of a joiner says that nobody takes it in", () => {
  const { events, pass } = watched([]);
  pass(0, MINUTE_MS, []);
  const [event] = events;
  assert.equal(events.length, 1);
  assert.ok(event?.kind === "notTakenIn");
  assert.deepEqual(event.asked, ["b:1", "c:1"]);
});
