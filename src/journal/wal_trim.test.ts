import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeMembership } from "../raft/membership.ts";
import type { Entry, Snapshot } from "../raft/messages.ts";
import { MemoryFileSystem } from "./memory_file_system.ts";
import {
  ALONE,
  all,
  append,
  entriesFrom,
  entry,
  FOLDER,
  fill,
  open,
  SELF,
  shown,
  state,
  THREE,
  voters,
} from "./wal_fixture.ts";

const LAST = 60;

function config(index: number, term: number, membership = THREE): Entry {
  return { index, term, kind: "config", payload: encodeMembership(membership) };
}

function segmentsIn(fileSystem: MemoryFileSystem): string[] {
  return fileSystem.listSync(FOLDER).filter((name) => /^wal-\d+$/.test(name));
}

test("trimBefore() drops whole segments, and a restart begins where the log was trimmed", async () => {
  for (let index = 1; index <= LAST; index += 4) {
    const fileSystem = new MemoryFileSystem();
    const { wal, events } = await open(fileSystem);
    const entries = await fill(wal, 1, LAST);
    const before = segmentsIn(fileSystem).length;
    assert.ok(before > 4, "the test fills segments");
    await wal.trimBefore(index);
    const first = wal.firstIndex();
    assert.ok(first <= index + 1);
    assert.equal(wal.termOf(first - 1), first === 1 ? 0 : 1);
    assert.deepEqual(all(wal), shown(entries.slice(first - 1)));
    await append(wal, [entry(LAST + 1)]);
    await wal.close();
    const told = events.filter(({ kind }) => kind === "trimmed");
    assert.equal(told.length, before === segmentsIn(fileSystem).length ? 0 : 1);
    const again = await open(fileSystem);
    assert.deepEqual(all(again.wal), shown([...entries.slice(first - 1), entry(LAST + 1)]));
    assert.equal(again.wal.firstIndex(), first);
    assert.deepEqual(again.wal.hardState, { ...state(1), commitIndex: wal.hardState.commitIndex });
    await again.wal.close();
  }
});

test("trimBefore() leaves one segment of a log that is covered as a whole", async () => {
  const fileSystem = new MemoryFileSystem();
  const { wal } = await open(fileSystem);
  await fill(wal, 1, LAST);
  await wal.trimBefore(LAST);
  assert.equal(segmentsIn(fileSystem).length, 2, "one, and the spare");
  await fill(wal, LAST + 1, 2 * LAST);
  await wal.trimBefore(2 * LAST);
  assert.ok(wal.firstIndex() > LAST);
  assert.equal(segmentsIn(fileSystem).length, 2);
  await wal.close();
  const again = await open(fileSystem);
  assert.equal(again.wal.lastIndex(), 2 * LAST);
  await again.wal.close();
});

test("memberships() gives the one in force where the log begins, then those of config entries", async () => {
  const fileSystem = new MemoryFileSystem();
  const { wal } = await open(fileSystem);
  assert.deepEqual(wal.memberships(), [{ index: 0, membership: ALONE }]);
  const TWO = voters(SELF, 8n as typeof SELF);
  await append(wal, [config(1, 1, TWO), entry(2), config(3, 1)], state(1));
  const seen = [
    { index: 0, membership: ALONE },
    { index: 1, membership: TWO },
    { index: 3, membership: THREE },
  ];
  assert.deepEqual(wal.memberships(), seen);
  await append(wal, [entry(3, 2)], state(2));
  assert.deepEqual(wal.memberships(), seen.slice(0, 2), "the truncated one is gone");
  await append(wal, [config(4, 2)]);
  await fill(wal, 5, LAST, 2);
  const last = { index: 4, membership: THREE };
  assert.deepEqual(wal.memberships(), [...seen.slice(0, 2), last]);
  await wal.trimBefore(LAST - 20);
  const trimmed = [{ index: wal.firstIndex() - 1, membership: THREE }];
  assert.ok(wal.firstIndex() > 5);
  assert.deepEqual(wal.memberships(), trimmed);
  await wal.close();
  const again = await open(fileSystem);
  assert.deepEqual(again.wal.memberships(), trimmed);
  await again.wal.close();
});

const SNAPSHOT: Snapshot = { index: 500, term: 4, membership: THREE };

test("resetTo() empties the log, which begins behind the snapshot from then on", async () => {
  const fileSystem = new MemoryFileSystem();
  const { wal } = await open(fileSystem);
  await fill(wal, 1, LAST);
  await append(wal, [], state(4, 0, null));
  const under = append(wal, [entry(LAST + 1, 1)]);
  await wal.resetTo(SNAPSHOT);
  await under;
  const check = (log: typeof wal) => {
    assert.deepEqual([log.firstIndex(), log.lastIndex(), log.durableIndex()], [501, 500, 500]);
    assert.deepEqual([log.termOf(500), log.termOf(499)], [4, undefined]);
    assert.deepEqual(log.memberships(), [{ index: 500, membership: THREE }]);
    assert.deepEqual(log.hardState, { term: 4, vote: null, commitIndex: 500 });
  };
  check(wal);
  await wal.close();
  const again = await open(fileSystem);
  check(again.wal);
  assert.deepEqual(again.events, []);
  const entries = entriesFrom(501, 520, 4);
  await append(again.wal, entries, state(4, 510, SELF));
  assert.deepEqual(all(again.wal), shown(entries));
  await again.wal.close();
  const third = await open(fileSystem);
  assert.deepEqual(all(third.wal), shown(entries));
  assert.deepEqual(third.wal.hardState, state(4, 510));
  await third.wal.close();
});

test("resetTo() keeps what follows upon a snapshot that the log holds", async () => {
  const fileSystem = new MemoryFileSystem();
  const { wal } = await open(fileSystem);
  const entries = await fill(wal, 1, LAST);
  await wal.resetTo({ index: 30, term: 1, membership: THREE });
  assert.deepEqual(all(wal), shown(entries.slice(30)));
  await wal.close();
  const again = await open(fileSystem);
  assert.deepEqual(all(again.wal), shown(entries.slice(30)));
  assert.deepEqual(again.wal.memberships(), [{ index: 30, membership: THREE }]);
  await again.wal.close();
});

test("openWal() begins behind a state that is ahead of the log, or holds another entry", async () => {
  const fileSystem = new MemoryFileSystem();
  const { wal } = await open(fileSystem);
  await fill(wal, 1, LAST);
  await wal.close();
  const membership = encodeMembership(THREE);
  for (const [index, term] of [
    [LAST + 40, 1],
    [LAST - 10, 2],
  ] as const) {
    const covered = { index, term, membership };
    const { wal: after, events } = await open(fileSystem.clone(), { covered });
    assert.deepEqual([after.firstIndex(), after.lastIndex()], [index + 1, index]);
    assert.equal(after.termOf(index), term);
    assert.deepEqual(after.memberships(), [{ index, membership: THREE }]);
    assert.deepEqual(events[0], { kind: "logBeginsAtState", index, term });
    await after.close();
  }
  const { wal: same, events } = await open(fileSystem, {
    covered: { index: LAST, term: 1, membership: null },
  });
  assert.equal(same.firstIndex(), 1);
  assert.deepEqual(events, []);
  await same.close();
});

test("snapshot() is given only while the log goes on behind it", async () => {
  const { wal } = await open(new MemoryFileSystem());
  await fill(wal, 1, LAST);
  const snapshot = { index: 20, term: 1, membership: ALONE };
  assert.equal(wal.snapshot(), null);
  wal.setSnapshot(snapshot);
  assert.equal(wal.snapshot(), snapshot);
  await wal.trimBefore(20);
  assert.equal(wal.snapshot(), snapshot);
  await wal.trimBefore(50);
  assert.ok(wal.firstIndex() > 21);
  assert.equal(wal.snapshot(), null);
  await wal.close();
});

test("openWal() refuses a folder whose mark or newest segment is gone", async () => {
  const fileSystem = new MemoryFileSystem();
  const { wal } = await open(fileSystem);
  await fill(wal, 1, LAST);
  await wal.close();
  const newest = `${FOLDER}/wal-${String(wal.sequence).padStart(16, "0")}`;
  for (const path of [`${FOLDER}/wal-begin`, newest]) {
    const broken = fileSystem.clone();
    broken.removeSync(path);
    const covered = { index: LAST, term: 1, membership: null };
    await assert.rejects(open(broken, { canRepair: true, covered }), (error) => {
      assert.ok(error instanceof Error && error.message.includes(path));
      assert.match(error.message, /promised to others is unknown/);
      return true;
    });
  }
  const half = fileSystem.clone();
  half.rot(`${FOLDER}/wal-begin`, 30, 4);
  const mended = await open(half);
  await mended.wal.close();
  half.rot(`${FOLDER}/wal-begin`, 32768 + 30, 4);
  const again = await open(half);
  assert.equal(again.wal.lastIndex(), LAST, "the first copy was written anew");
  await again.wal.close();
});

test("resetTo() and trimBefore() at once never make the log begin earlier", async () => {
  for (const [trimmed, reset] of [
    [50, 20],
    [20, 50],
  ] as const) {
    const fileSystem = new MemoryFileSystem();
    const { wal } = await open(fileSystem);
    const entries = await fill(wal, 1, LAST);
    const trimming = wal.trimBefore(trimmed);
    await wal.resetTo({ index: reset, term: 1, membership: ALONE });
    await trimming;
    const first = wal.firstIndex();
    assert.ok(first > 20);
    assert.deepEqual(all(wal), shown(entries.slice(first - 1)));
    await wal.close();
    const again = await open(fileSystem);
    assert.equal(again.wal.firstIndex(), first);
    assert.deepEqual(all(again.wal), shown(entries.slice(first - 1)));
    await again.wal.close();
  }
});

test("trimBefore() frees what it can when entries were replaced across the border in question", async () => {
  const fileSystem = new MemoryFileSystem();
  const { wal } = await open(fileSystem);
  await fill(wal, 1, 40);
  const early = wal.sequence;
  assert.ok(early > 2);
  // An entry of which the successor begins the next segment.
  let term = 1;
  let index = 41;
  for (let isStraddling = false; !isStraddling; index++) {
    await append(wal, [entry(index, term, "x".repeat(1000))]);
    const { sequence } = wal;
    term += 1;
    await append(wal, [entry(index, term, "y".repeat(15_000))], state(term));
    isStraddling = wal.sequence > sequence;
  }
  const border = wal.sequence;
  await append(wal, [entry(index, term, "z")], state(term, index - 1));
  await wal.trimBefore(index - 2);
  assert.ok(wal.firstIndex() > 1, "segments before the border's are gone");
  const kept = fileSystem.listSync(FOLDER).filter((name) => /^wal-\d+$/.test(name));
  assert.ok(kept.includes(`wal-${String(border - 1).padStart(16, "0")}`));
  assert.ok(!kept.includes("wal-0000000000000001"));
  const left = all(wal);
  await wal.close();
  const again = await open(fileSystem);
  assert.deepEqual(all(again.wal), left);
  await again.wal.close();
});
