import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isRockpoolError } from "../common/errors.ts";
import type { Position } from "../raft/messages.ts";
import { MemoryFileSystem } from "./memory_file_system.ts";
import { verifyJournal } from "./verify_journal.ts";
import type { Wal } from "./wal.ts";
import {
  all,
  append,
  crc32c,
  entriesFrom,
  entry,
  FOLDER,
  lottery,
  open,
  type Shown,
  shown,
  state,
  THREE,
  type WriteStep,
  writeSteps,
} from "./wal_fixture.ts";
import { isAtLeast } from "./wal_mark.ts";

type Step = WriteStep | { readonly kind: "trim" | "reset" | "restart"; readonly share: number };

const upkeep = fc.record({
  kind: fc.constantFrom("trim" as const, "reset" as const, "restart" as const),
  share: fc.nat(99),
});

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof<fc.WeightedArbitrary<Step>[]>(...writeSteps, { weight: 2, arbitrary: upkeep }),
  { minLength: 3, maxLength: 30 },
);

type Model = { entries: Shown[]; begin: Position; term: number; committed: number };

function positionAt({ entries, begin }: Model, index: number): Position {
  const found = entries.find((each) => each.index === index);
  return found === undefined ? begin : { index, term: found.term };
}

/** Does a step, and returns the log to go on with. */
async function perform(wal: Wal, step: Step, model: Model, reopen: () => Promise<Wal>) {
  const last = () => model.entries.at(-1)?.index ?? model.begin.index;
  if (step.kind === "append") {
    const first = last() + 1;
    const some = entriesFrom(first, first + step.count - 1, model.term, "a".repeat(step.sizeBytes));
    model.committed = Math.max(model.committed, last() - 3);
    await append(wal, some, state(model.term, model.committed));
    model.entries.push(...shown(some));
  } else if (step.kind === "replace") {
    const from = Math.max(model.committed + 1, last() + 1 - step.back);
    model.term += 1;
    model.entries = model.entries.filter(({ index }) => index < from);
    const next = entry(from, model.term);
    await append(wal, [next], state(model.term, model.committed));
    model.entries.push(...shown([next]));
  } else if (step.kind === "vote") {
    model.term += 1;
    await append(wal, [], state(model.term, model.committed));
  } else if (step.kind === "trim") {
    await wal.trimBefore(Math.floor((model.committed * step.share) / 100));
    model.begin = positionAt(model, wal.firstIndex() - 1);
    model.entries = model.entries.filter(({ index }) => index >= wal.firstIndex());
  } else if (step.kind === "reset") {
    model.term += 1;
    model.begin = { index: last() + step.share + 1, term: model.term };
    model.entries = [];
    model.committed = model.begin.index;
    await append(wal, [], state(model.term, wal.hardState.commitIndex));
    await wal.resetTo({ ...model.begin, membership: THREE });
  } else {
    await wal.close();
    return reopen();
  }
  return wal;
}

/** A log after random steps, ended cleanly or by a power cut. */
async function grown(each: readonly Step[], cutSeed: number | null) {
  const fileSystem = new MemoryFileSystem();
  const model: Model = { entries: [], begin: { index: 0, term: 0 }, term: 1, committed: 0 };
  const reopen = async () => (await open(fileSystem, { membership: THREE })).wal;
  let wal = await reopen();
  await append(wal, [], state(1));
  for (const step of each) {
    wal = await perform(wal, step, model, reopen);
    assert.deepEqual(all(wal), model.entries);
  }
  if (cutSeed === null) await wal.close();
  else {
    fileSystem.losePower(lottery(cutSeed));
    // What rots later is older than the last descriptor.
    await (await reopen()).close();
  }
  return { fileSystem, model };
}

test("Wal gives back what was acknowledged after any steps and a power cut", async () => {
  await fc.assert(
    fc.asyncProperty(steps, fc.nat(), async (each, seed) => {
      const { fileSystem, model } = await grown(each, seed);
      const { wal, events } = await open(fileSystem, { membership: THREE });
      assert.deepEqual(all(wal), model.entries);
      assert.deepEqual(events, []);
      assert.deepEqual(wal.hardState.term, model.term);
      assert.equal(wal.firstIndex(), model.begin.index + 1);
      await wal.close();
      assert.deepEqual(verifyJournal(FOLDER, crc32c, fileSystem).problems, []);
    }),
    { numRuns: 60 },
  );
});

/** Bytes change in some sectors of the log's files. */
function rot(fileSystem: MemoryFileSystem, places: readonly (readonly [number, number])[]): void {
  const sectors = fileSystem
    .listSync(FOLDER)
    .filter((name) => name.startsWith("wal-"))
    .map((name) => `${FOLDER}/${name}`)
    .flatMap((path) => fileSystem.usedSectors(path).map(({ sector }) => ({ path, sector })));
  for (const [at, byte] of places) {
    const { path, sector } = sectors[at % sectors.length] ?? { path: "", sector: 0 };
    fileSystem.rot(path, sector * 512 + byte, 1 << (at % 8));
  }
}

const rotten = fc.array(fc.tuple(fc.nat(), fc.nat(511)), { minLength: 1, maxLength: 2 });

test("Wal, after any steps and rot, is faithful or says what is damaged: never silently shorter", async () => {
  let damagedCount = 0;
  await fc.assert(
    fc.asyncProperty(
      steps,
      rotten,
      fc.constantFrom("alone", "three", "state"),
      async (each, places, with_) => {
        const { fileSystem, model } = await grown(each, null);
        rot(fileSystem, places);
        const last = model.entries.at(-1) ?? model.begin;
        const share = model.entries[Math.floor(model.entries.length / 2)] ?? model.begin;
        const covered = { index: share.index, term: share.term, membership: null };
        const opened = await open(fileSystem, {
          membership: THREE,
          canRepair: with_ === "three",
          ...(with_ === "state" ? { covered } : {}),
        }).catch((error: unknown) => {
          assert.ok(isRockpoolError(error, "DATA_LOSS"), String(error));
          assert.notEqual(error.remedy, "");
          return null;
        });
        if (opened === null) {
          damagedCount += 1;
          return;
        }
        const { wal, events } = opened;
        const said = events.find(({ kind }) => kind === "damageFound");
        const found = all(wal);
        const begin = wal.firstIndex() - 1;
        // An earlier state of the log may show what was replaced since, but nothing of that as committed.
        const isEarlier = said?.kind === "damageFound" && said.verdict === "promised";
        const isFinal = ({ index }: Shown) => !isEarlier || index <= wal.hardState.commitIndex;
        const expected = model.entries.filter(({ index }) => index > begin);
        assert.deepEqual(found.filter(isFinal), expected.slice(0, found.length).filter(isFinal));
        assert.ok(begin <= Math.max(model.begin.index, with_ === "state" ? covered.index : 0));
        const promised = wal.promised();
        const isWhole = wal.lastIndex() === last.index && wal.termOf(last.index) === last.term;
        if (!isWhole) {
          damagedCount += 1;
          assert.ok(said, "a shorter log is told");
          assert.ok(promised !== null && isAtLeast(promised, last), "and the rest is promised");
        }
        assert.ok(wal.hardState.term >= model.term, "no term is forgotten");
        if (wal.hardState.term === model.term) assert.equal(wal.hardState.vote, state(1).vote);
        await wal.close();
      },
    ),
    { numRuns: 100 },
  );
  assert.ok(damagedCount > 20, "the rot is met");
});
