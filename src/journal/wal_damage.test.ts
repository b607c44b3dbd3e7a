import assert from "node:assert/strict";
import { test } from "node:test";
import { isRockpoolError } from "../common/errors.ts";
import { encodeMembership } from "../raft/membership.ts";
import type { Entry } from "../raft/messages.ts";
import { MemoryFileSystem } from "./memory_file_system.ts";
import { segmentName } from "./segment_file.ts";
import {
  all,
  append,
  entriesFrom,
  entry,
  FOLDER,
  fill,
  open,
  recoveryOptions,
  shown,
  state,
  THREE,
} from "./wal_fixture.ts";
import { recoverWal } from "./wal_recovery.ts";

const LAST = 80;
const pathOf = (sequence: number) => `${FOLDER}/${segmentName(sequence)}`;

/** A log of three members over several segments, closed. */
async function written(): Promise<{ fileSystem: MemoryFileSystem; entries: Entry[] }> {
  const fileSystem = new MemoryFileSystem();
  const { wal } = await open(fileSystem, { membership: THREE });
  await append(wal, [], state(3));
  const entries = await fill(wal, 1, LAST, 3);
  await wal.close();
  assert.ok(wal.sequence > 4);
  return { fileSystem, entries };
}

/** Byte offsets of all sectors with something of the log in them. */
function places(fileSystem: MemoryFileSystem, sequence: number): number[] {
  return fileSystem.usedSectors(pathOf(sequence)).map(({ sector }) => sector * 512 + 77);
}

test("damage that a peer can mend: the sound first part stays, the rest is promised", async () => {
  const { fileSystem, entries } = await written();
  const tried = [1, 2, 4].flatMap((sequence) =>
    places(fileSystem, sequence)
      .filter((_, at) => at % 7 === 0)
      .map((at) => ({ sequence, at })),
  );
  let found = 0;
  for (const { sequence, at } of tried) {
    const damaged = fileSystem.clone();
    damaged.rot(pathOf(sequence), at, 0x10);
    const { wal, events } = await open(damaged, { membership: THREE });
    const told = events.find(({ kind }) => kind === "damageFound");
    const first = wal.lastIndex() + 1;
    assert.deepEqual(all(wal), shown(entries.slice(0, first - 1)));
    assert.deepEqual([wal.hardState.term, wal.hardState.vote], [3, recoveryOptions.owner.memberId]);
    if (told === undefined) {
      assert.equal(wal.promised(), null);
      assert.equal(wal.lastIndex(), LAST, "a spare copy was hit, or a descriptor");
      await wal.close();
      continue;
    }
    found += 1;
    assert.deepEqual(wal.promised(), { index: LAST, term: 3 });
    assert.deepEqual(
      told.kind === "damageFound" && [told.verdict, told.firstIndex, told.lastIndex],
      ["promised", first, LAST],
    );
    await wal.abandon();
    damaged.losePower(() => false);
    const again = await open(damaged, { membership: THREE });
    assert.deepEqual(again.wal.promised(), { index: LAST, term: 3 }, "a promise outlives a crash");
    // The leader sends it all again; half of it does not fulfil the promise.
    await append(again.wal, entries.slice(first - 1, LAST - 1));
    if (first < LAST) assert.deepEqual(again.wal.promised(), { index: LAST, term: 3 });
    await append(again.wal, entries.slice(LAST - 1));
    assert.equal(again.wal.promised(), null);
    assert.ok(again.events.some(({ kind }) => kind === "repaired"));
    assert.deepEqual(all(again.wal), shown(entries));
    await again.wal.close();
    const last = await open(damaged, { membership: THREE });
    assert.deepEqual(all(last.wal), shown(entries));
    assert.deepEqual([last.wal.promised(), last.events], [null, []]);
    await last.wal.close();
  }
  assert.ok(found > 20, `${found} of ${tried.length} hit the log`);
});

test("a promise is kept, too, by a log of a later term", async () => {
  const { fileSystem } = await written();
  fileSystem.rot(pathOf(2), places(fileSystem, 2).at(-1) ?? 0, 1);
  const { wal } = await open(fileSystem, { membership: THREE });
  const next = wal.lastIndex() + 1;
  assert.ok(next < LAST);
  await append(wal, [entry(next, 3)], state(4));
  assert.deepEqual(wal.promised(), { index: LAST, term: 3 });
  await append(wal, [entry(next + 1, 4)]);
  assert.equal(wal.promised(), null);
  await wal.close();
});

test("damaged segments are moved aside, not overwritten", async () => {
  const { fileSystem } = await written();
  const names = fileSystem.listSync(FOLDER).filter((name) => /^wal-\d+$/.test(name));
  // Both copies of an identity, so that nothing of the segment is of use.
  const bytes = fileSystem.files.get(pathOf(3));
  assert.ok(bytes);
  for (const at of [40, 4096 + 40]) fileSystem.rot(pathOf(3), at, 8);
  const copy = bytes.current.slice();
  const { wal, events } = await open(fileSystem, { membership: THREE });
  const moved = events.filter(({ kind }) => kind === "damagedSetAside");
  assert.equal(moved.length, names.length - 3, "all from there on but the spare");
  assert.deepEqual(fileSystem.readFileSync(`${pathOf(3)}.damaged-1`), copy);
  assert.deepEqual(wal.promised(), { index: LAST, term: 3 });
  await wal.close();
});

test("damage in what the state holds loses nothing, and nothing is promised", async () => {
  const { fileSystem, entries } = await written();
  const membership = encodeMembership(THREE);
  let kept = 0;
  for (const sequence of [1, 2, 4])
    for (const at of places(fileSystem, sequence).filter((_, place) => place % 9 === 0))
      for (const index of [LAST - 30, LAST]) {
        const damaged = fileSystem.clone();
        damaged.rot(pathOf(sequence), at, 0x80);
        const covered = { index, term: 3, membership };
        // Alone, so that no peer could help.
        const opened = open(damaged, { covered });
        if (index < LAST && sequence === 4) {
          await opened.then(
            ({ wal }) => wal.close(),
            (error) => assert.ok(isRockpoolError(error, "DATA_LOSS")),
          );
          continue;
        }
        const { wal, events } = await opened;
        assert.equal(wal.promised(), null);
        assert.equal(wal.lastIndex(), LAST);
        assert.ok(wal.firstIndex() <= index + 1);
        assert.deepEqual(all(wal), shown(entries.slice(wal.firstIndex() - 1)));
        if (events.some((event) => event.kind === "damageFound" && event.verdict === "covered")) {
          kept += LAST - wal.firstIndex();
          assert.equal(wal.firstIndex(), index + 1);
          assert.deepEqual(wal.memberships(), [{ index, membership: THREE }]);
        }
        await append(wal, [entry(LAST + 1, 3)]);
        await wal.close();
        const again = await open(damaged, { covered });
        assert.equal(again.wal.lastIndex(), LAST + 1);
        assert.deepEqual(
          again.events.filter(({ kind }) => kind === "damageFound"),
          [],
          "the log was mended",
        );
        await again.wal.close();
      }
  assert.ok(kept > 100, "sound entries behind the damage stay");
});

test("a sole voter refuses lost entries, says which, and changes nothing", async () => {
  const { fileSystem } = await written();
  fileSystem.rot(pathOf(2), places(fileSystem, 2).at(-1) ?? 0, 1);
  const names = fileSystem.listSync(FOLDER);
  await assert.rejects(open(fileSystem), (error) => {
    assert.ok(isRockpoolError(error, "DATA_LOSS"));
    assert.match(error.message, /wal-0000000000000002 is damaged at byte \d+, after entry (\d+):/);
    assert.match(error.message, /Entries \d+ to 80 were acknowledged and are unreadable/);
    assert.match(error.remedy, /journal repair --accept-loss-after \d+/);
    return true;
  });
  assert.deepEqual(fileSystem.listSync(FOLDER), names);
});

test("a vote is proven by any head or descriptor, when the batch that brought it is damaged", async () => {
  const fileSystem = new MemoryFileSystem();
  const { wal } = await open(fileSystem, { membership: THREE });
  await append(wal, entriesFrom(1, 3), state(1));
  await append(wal, [], state(9));
  const before = recoverWal({ ...recoveryOptions, membership: THREE, fileSystem });
  await append(wal, [entry(4, 9)]);
  await wal.abandon();
  const { lastBatchOffset } = before.end ?? { lastBatchOffset: 0 };
  // The body of the vote's batch is readable no more, and neither is its head.
  for (const at of [4, 3000]) fileSystem.rot(pathOf(1), lastBatchOffset + at, 2);
  const { wal: after } = await open(fileSystem, { membership: THREE });
  assert.deepEqual(
    [after.hardState.term, after.hardState.vote],
    [9, recoveryOptions.owner.memberId],
  );
  assert.equal(after.lastIndex(), 3);
  assert.deepEqual(after.promised(), { index: 4, term: 9 });
  await after.close();
  const last = await open(fileSystem, { membership: THREE });
  assert.equal(last.wal.hardState.term, 9);
  await last.wal.close();
});

test("sectors that cannot be read are damage like any other", async () => {
  const { fileSystem, entries } = await written();
  const sector = fileSystem.usedSectors(pathOf(2)).at(-1)?.sector ?? 0;
  fileSystem.spoil(pathOf(2), sector);
  fileSystem.spoil(`${FOLDER}/wal-begin`, 0);
  const { wal } = await open(fileSystem, { membership: THREE });
  assert.deepEqual(wal.promised(), { index: LAST, term: 3 });
  assert.deepEqual(all(wal), shown(entries.slice(0, wal.lastIndex())));
  await wal.close();
});

test("what was committed behind the damage is not taken for what it replaced before it", async () => {
  const fileSystem = new MemoryFileSystem();
  const { wal } = await open(fileSystem, { membership: THREE });
  await append(wal, [entry(1), entry(2)], state(1));
  await append(wal, [entry(2, 2)], state(2));
  await append(wal, [entry(3, 2)], state(2, 2));
  await wal.close();
  // The batch in which entry 2 was replaced.
  const before = fileSystem.usedSectors(pathOf(1)).map(({ sector }) => sector);
  const second = before.findLast((sector) => sector % 8 === 0 && sector < (before.at(-1) ?? 0) - 7);
  fileSystem.rot(pathOf(1), (second ?? 0) * 512 + 3, 1);
  const { wal: after } = await open(fileSystem, { membership: THREE });
  assert.deepEqual(all(after), shown([entry(1), entry(2)]));
  assert.deepEqual(after.promised(), { index: 3, term: 2 });
  assert.deepEqual(after.hardState, state(2, 0));
  await after.close();
  const again = await open(fileSystem, { membership: THREE });
  assert.equal(again.wal.hardState.commitIndex, 0);
  await again.wal.close();
});

test("a promise does not shrink when more is damaged before it is kept", async () => {
  const { fileSystem } = await written();
  fileSystem.rot(pathOf(3), places(fileSystem, 3).at(-1) ?? 0, 1);
  const { wal } = await open(fileSystem, { membership: THREE });
  assert.deepEqual(wal.promised(), { index: LAST, term: 3 });
  await wal.close();
  fileSystem.rot(pathOf(2), places(fileSystem, 2).at(-1) ?? 0, 1);
  const again = await open(fileSystem, { membership: THREE });
  assert.ok(again.wal.lastIndex() < wal.lastIndex());
  assert.deepEqual(again.wal.promised(), { index: LAST, term: 3 });
  await again.wal.close();
});

test("a log that begins anew begins behind the checkpoint if it can, so that a power cut costs nothing", async () => {
  const { fileSystem, entries } = await written();
  const membership = encodeMembership(THREE);
  const covered = { index: LAST, term: 3, membership };
  const secured = { index: LAST - 30, term: 3, membership };
  let begunAtCheckpoint = 0;
  let asked = 0;
  for (const sequence of [1, 2, 4])
    for (const at of places(fileSystem, sequence).filter((_, place) => place % 9 === 0)) {
      const damaged = fileSystem.clone();
      damaged.rot(pathOf(sequence), at, 0x80);
      const whole = damaged.clone();
      const shortened: number[] = [];
      const beforeShortening = (index: number) => {
        shortened.push(index);
        return index <= secured.index ? Promise.resolve() : Promise.reject(new Error("no room"));
      };
      const opened = await open(damaged, { covered, secured, beforeShortening }).catch(() => null);
      const begin = shortened[0];
      if (begin === undefined) {
        await opened?.wal.close(); // a descriptor, or a spare copy
        continue;
      }
      if (opened === null) {
        asked += 1;
        assert.equal(begin, LAST);
        assert.deepEqual(damaged.listSync(FOLDER), whole.listSync(FOLDER), "nothing was changed");
        continue;
      }
      begunAtCheckpoint += 1;
      await opened.wal.close();
      // The power cut took the state.
      const again = await open(damaged, { covered: secured, secured });
      assert.equal(again.wal.firstIndex(), secured.index + 1);
      assert.deepEqual(all(again.wal), shown(entries.slice(secured.index)));
      await again.wal.close();
    }
  assert.ok(begunAtCheckpoint > 2, `${begunAtCheckpoint} begun behind the checkpoint`);
  assert.ok(asked > 2, `${asked} asked for a newer one`);
});

test("a log that begins anew begins behind a state that is ahead of all that is left of it", async () => {
  const { fileSystem } = await written();
  const membership = encodeMembership(THREE);
  const covered = { index: LAST + 5, term: 3, membership };
  const secured = { index: LAST - 30, term: 3, membership };
  let found = 0;
  for (const at of places(fileSystem, 1).filter((_, place) => place % 9 === 0)) {
    const damaged = fileSystem.clone();
    damaged.rot(pathOf(1), at, 0x80);
    const { wal, events } = await open(damaged, { covered, secured });
    assert.equal(wal.firstIndex(), covered.index + 1);
    if (events.some(({ kind }) => kind === "damageFound")) found += 1;
    await wal.close();
  }
  assert.ok(found > 1, `${found} hit the log`);
});
