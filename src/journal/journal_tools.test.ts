import assert from "node:assert/strict";
import { test } from "node:test";
import { isRockpoolError } from "../common/errors.ts";
import { encodeMembership } from "../raft/membership.ts";
import type { Entry } from "../raft/messages.ts";
import { nodeWorld } from "../world/node_world.ts";
import { sealCheckpoint } from "./checkpoint_file.ts";
import { inspectJournal, type ReadingNote, readJournal } from "./inspect_journal.ts";
import { MemoryFileSystem } from "./memory_file_system.ts";
import { repairJournal } from "./repair_journal.ts";
import { segmentName } from "./segment_file.ts";
import { verifyJournal } from "./verify_journal.ts";
import {
  all,
  append,
  crc32c,
  entry,
  FOLDER,
  fill,
  open,
  SEGMENT_BYTES,
  shown,
  state,
  THREE,
} from "./wal_fixture.ts";

const LAST = 80;
const pathOf = (sequence: number) => `${FOLDER}/${segmentName(sequence)}`;

async function written(): Promise<{ fileSystem: MemoryFileSystem; entries: Entry[] }> {
  const fileSystem = new MemoryFileSystem();
  const { wal } = await open(fileSystem);
  const entries = await fill(wal, 1, LAST, 3);
  await wal.close();
  return { fileSystem, entries };
}

function verify(fileSystem: MemoryFileSystem) {
  return verifyJournal(FOLDER, crc32c, fileSystem);
}

function repair(fileSystem: MemoryFileSystem, acceptLossAfter: number) {
  const { clock, timers } = nodeWorld();
  const folder = FOLDER;
  const segmentBytes = SEGMENT_BYTES;
  const parts = { folder, crc32c, fileSystem, timers, clock };
  return repairJournal({ ...parts, acceptLossAfter, segmentBytes });
}

/** A sector of the body of some batch. */
function damage(fileSystem: MemoryFileSystem, sequence: number, fromEnd = 3): void {
  const { sector } = fileSystem.usedSectors(pathOf(sequence)).at(-fromEnd) ?? { sector: 0 };
  fileSystem.rot(pathOf(sequence), sector * 512 + 50, 32);
}

test("a sound journal verifies, and all of it can be read", async () => {
  const { fileSystem, entries } = await written();
  const { problems, ...report } = verify(fileSystem);
  assert.deepEqual(problems, []);
  assert.deepEqual([report.firstIndex, report.lastIndex], [1, LAST]);
  assert.equal(report.batchCount, Math.ceil(LAST / 3));
  assert.deepEqual(shown([...readJournal(FOLDER, crc32c, { fileSystem })]), shown(entries));
  assert.deepEqual(
    shown([...readJournal(FOLDER, crc32c, { from: 70, fileSystem })]),
    shown(entries.slice(69)),
  );
  const seen = inspectJournal(FOLDER, crc32c, fileSystem);
  assert.deepEqual([seen.term, seen.lastIndex, seen.promised], [3, LAST, null]);
  const nothing = verifyJournal("/nowhere", crc32c, fileSystem);
  assert.deepEqual([nothing.problems, nothing.lastIndex], [[], 0]);
});

test("verifyJournal() names every problem with file, byte, entries and remedy", async () => {
  const { fileSystem } = await written();
  damage(fileSystem, 1);
  damage(fileSystem, 3);
  fileSystem.rot(pathOf(2), 4096 + 20, 1);
  fileSystem.rot(`${FOLDER}/wal-begin`, 20, 1);
  const { problems } = verify(fileSystem);
  const kinds = problems.map(
    ({ severity, path }) => `${severity} ${path.slice(FOLDER.length + 1)}`,
  );
  assert.deepEqual(kinds, [
    "spare wal-begin",
    "spare wal-0000000000000002",
    "damaged wal-0000000000000001",
    "damaged wal-0000000000000003",
  ]);
  for (const { severity, text, remedy } of problems) {
    assert.match(text, /^Journal file \/journal\/wal-\S+, byte \d+: /);
    if (severity === "damaged") assert.match(text, /entries \d+ to \d+ are unreadable$/);
    assert.notEqual(remedy, "");
  }
});

test("verifyJournal() tells a torn tail from damage at the end", async () => {
  const { fileSystem } = await written();
  const { wal } = await open(fileSystem);
  await append(wal, [entry(LAST + 1, 3, "x".repeat(3000))]);
  await wal.abandon();
  const path = pathOf(wal.sequence);
  const { sector } = fileSystem.usedSectors(path).at(-1) ?? { sector: 0 };
  fileSystem.rot(path, sector * 512 + 3, 1);
  const torn = verify(fileSystem);
  assert.deepEqual(
    [torn.lastIndex, torn.problems.map(({ severity }) => severity)],
    [LAST, ["torn"]],
  );
  assert.match(torn.problems[0]?.text ?? "", /after entry 80 were cut off by a crash/);
  const { wal: again } = await open(fileSystem);
  await append(again, [entry(LAST + 1, 3, "y".repeat(3000))]);
  await again.close();
  fileSystem.rot(path, sector * 512 + 3, 1);
  const damaged = verify(fileSystem);
  assert.deepEqual(
    damaged.problems.map(({ severity }) => severity),
    ["damaged"],
  );
  assert.match(damaged.problems[0]?.text ?? "", /entries 81 to 81 are unreadable/);
});

test("verifyJournal() finds every sector that is damaged, and calls none that is not", async () => {
  const { fileSystem } = await written();
  const names = fileSystem.listSync(FOLDER).filter((name) => name.startsWith("wal-"));
  for (const name of names)
    for (const { sector } of fileSystem.usedSectors(`${FOLDER}/${name}`)) {
      if (sector % 5 !== 0) continue;
      const broken = fileSystem.clone();
      const bytes = broken.readFileSync(`${FOLDER}/${name}`);
      const offset = sector * 512;
      const used = bytes?.subarray(offset, offset + 512).findLastIndex((byte) => byte !== 0) ?? 0;
      broken.rot(`${FOLDER}/${name}`, offset + used, 0xff);
      assert.equal(verify(broken).problems.length, 1, `${name} sector ${sector}`);
    }
});

test("repairJournal() gives up what the operator names, keeps the bytes, and the log goes on", async () => {
  for (const [sequence, fromEnd] of [
    [2, 3],
    [3, 1],
    [4, 5],
  ] as const) {
    const { fileSystem, entries } = await written();
    damage(fileSystem, sequence, fromEnd);
    await assert.rejects(open(fileSystem), (error) => isRockpoolError(error, "DATA_LOSS"));
    const { lastIndex } = verify(fileSystem);
    assert.ok(lastIndex < LAST);
    await assert.rejects(repair(fileSystem, lastIndex + 1), (error) => {
      assert.ok(isRockpoolError(error, "FAILED_PRECONDITION"));
      assert.ok(error.remedy.includes(`--accept-loss-after ${lastIndex}`));
      return true;
    });
    const { keptFiles, ...result } = await repair(fileSystem, lastIndex);
    assert.equal(result.lastIndex, lastIndex);
    assert.ok(keptFiles.length > 0);
    for (const path of keptFiles) assert.ok(fileSystem.existsSync(path));
    const { wal, events } = await open(fileSystem);
    assert.deepEqual(events, []);
    assert.deepEqual(all(wal), shown(entries.slice(0, lastIndex)));
    assert.deepEqual([wal.hardState.term, wal.promised()], [3, null]);
    await append(wal, [entry(lastIndex + 1, 4)], state(4));
    await wal.close();
    assert.deepEqual(verify(fileSystem).problems, []);
  }
});

test("repairJournal() drops a promise that no peer can fulfil", async () => {
  const { fileSystem } = await written();
  damage(fileSystem, 2);
  const { wal } = await open(fileSystem, { membership: THREE });
  assert.notEqual(wal.promised(), null);
  const last = wal.lastIndex();
  await wal.close();
  await repair(fileSystem, last);
  const again = await open(fileSystem, { membership: THREE });
  assert.deepEqual([again.wal.promised(), again.wal.lastIndex()], [null, last]);
  assert.equal(again.wal.hardState.term, 3);
  await again.wal.close();
});

test("repairJournal() goes on without a newest segment that is gone", async () => {
  const { fileSystem, entries } = await written();
  const newest = fileSystem.listSync(FOLDER).findLast((name) => {
    return /^wal-\d+$/.test(name) && fileSystem.usedSectors(`${FOLDER}/${name}`).length > 0;
  });
  fileSystem.removeSync(`${FOLDER}/${newest}`);
  await assert.rejects(open(fileSystem), (error) => isRockpoolError(error, "DATA_LOSS"));
  const { lastIndex, problems } = verify(fileSystem);
  assert.match(problems[0]?.text ?? "", /was begun, and its file is missing or empty/);
  await repair(fileSystem, lastIndex);
  const { wal } = await open(fileSystem);
  assert.deepEqual(all(wal), shown(entries.slice(0, lastIndex)));
  await wal.close();
  assert.deepEqual(verify(fileSystem).problems, []);
});

test("repairJournal() refuses a sound journal, a folder without one, and one that is open", async () => {
  const { fileSystem } = await written();
  const refused = (error: unknown) => isRockpoolError(error, "FAILED_PRECONDITION");
  await assert.rejects(repair(fileSystem, LAST), refused);
  await assert.rejects(repair(new MemoryFileSystem(), 0), refused);
  const unlock = fileSystem.lockSync(`${FOLDER}/lock`, {
    subject: "x",
    remedy: "",
    onTakenOver: () => {},
  });
  await assert.rejects(repair(fileSystem, LAST), (error) => isRockpoolError(error, "UNAVAILABLE"));
  unlock();
  fileSystem.removeSync(`${FOLDER}/wal-begin`);
  await assert.rejects(open(fileSystem), (error) => isRockpoolError(error, "DATA_LOSS"));
  await repair(fileSystem, LAST);
  const { wal } = await open(fileSystem);
  assert.equal(wal.lastIndex(), LAST, "a mark is made anew where the log was never trimmed");
  await wal.close();
});

test("repairJournal() without a mark takes the members from the state or the newest checkpoint, not the founders", async () => {
  for (const known of ["state", "checkpoint"]) {
    const fileSystem = new MemoryFileSystem();
    const { wal } = await open(fileSystem);
    const membership = encodeMembership(THREE);
    await append(wal, [{ index: 1, term: 1, kind: "config", payload: membership }], state(3, 1));
    await fill(wal, 2, LAST, 3);
    await wal.trimBefore(40);
    assert.ok(wal.firstIndex() > 2, "the config entry is gone");
    await wal.close();
    fileSystem.removeSync(`${FOLDER}/wal-begin`);
    const index = LAST - 10;
    if (known === "checkpoint") {
      const name = `${FOLDER}/checkpoint-${String(index).padStart(16, "0")}`;
      const file = await fileSystem.create(name);
      await sealCheckpoint(file, 99n, { index, term: 3, membership: THREE }, crc32c);
      file.close();
    }
    await repair(fileSystem, LAST);
    const nothing = { index: 0, term: 0, membership: null };
    const covered = known === "state" ? { index, term: 3, membership } : nothing;
    const again = await open(fileSystem, { covered });
    assert.deepEqual(again.wal.memberships().at(-1)?.membership, THREE, known);
    await again.wal.close();
  }
});

test("repairJournal() that is cut short at call n can be done again", async () => {
  const { fileSystem: before } = await written();
  damage(before, 3);
  const { lastIndex } = verify(before);
  for (let at = 1; ; at++) {
    const fileSystem = before.clone();
    fileSystem.fault = { at, code: at % 2 === 0 ? "EIO" : "ENOSPC" };
    const isDone = await repair(fileSystem, lastIndex).then(
      () => true,
      () => false,
    );
    fileSystem.fault = null;
    fileSystem.losePower((sector) => (sector + at) % 3 === 0);
    const opened = await open(fileSystem).catch((error: unknown) => {
      assert.ok(isRockpoolError(error, "DATA_LOSS"), String(error));
      return null;
    });
    await opened?.wal.close();
    if (opened === null) {
      assert.equal(isDone, false);
      await repair(fileSystem, lastIndex);
    }
    const { wal } = await open(fileSystem);
    assert.equal(wal.lastIndex(), lastIndex, `call ${at}`);
    await wal.close();
    if (isDone) break;
  }
});

test("readJournal() of a running master says what was trimmed meanwhile, and goes on", async () => {
  const fileSystem = new MemoryFileSystem();
  const { wal } = await open(fileSystem);
  // More than one read gives.
  const entries = await fill(wal, 1, 900, 3);
  const notes: ReadingNote[] = [];
  const onNote = (note: ReadingNote) => notes.push(note);
  const found: Entry[] = [];
  for (const each of readJournal(FOLDER, crc32c, { fileSystem, onNote })) {
    found.push(each);
    // The entries of the first read are there; those of the next segments go.
    if (found.length === 1) await wal.trimBefore(800);
  }
  const [note] = notes;
  assert.ok(note?.kind === "trimmed" && notes.length === 1);
  assert.equal(note.lastIndex + 1, wal.firstIndex());
  const isThere = ({ index }: Entry) => index < note.firstIndex || index > note.lastIndex;
  assert.deepEqual(shown(found), shown(entries.filter(isThere)));
  await wal.close();
});

test("readJournal() says that it ends before the end of the log", async () => {
  const { fileSystem } = await written();
  damage(fileSystem, 3);
  const notes: ReadingNote[] = [];
  const onNote = (note: ReadingNote) => notes.push(note);
  const found = [...readJournal(FOLDER, crc32c, { fileSystem, onNote })];
  const lastIndex = found.at(-1)?.index ?? 0;
  assert.ok(lastIndex < LAST);
  assert.deepEqual(notes, [{ kind: "endsEarly", lastIndex, path: pathOf(3) }]);
});
