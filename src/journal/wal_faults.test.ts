import assert from "node:assert/strict";
import { test } from "node:test";
import type { Entry, HardState, Position, Snapshot } from "../raft/messages.ts";
import { type DiskFault, MemoryFileSystem } from "./memory_file_system.ts";
import { segmentName } from "./segment_file.ts";
import type { Wal } from "./wal.ts";
import {
  all,
  append,
  entry,
  FOLDER,
  fill,
  type Log,
  lottery,
  open,
  type Shown,
  shown,
  state,
  THREE,
} from "./wal_fixture.ts";
import { isAtLeast } from "./wal_mark.ts";
import type { WalOptions } from "./wal_options.ts";

/** The disk or the process failed in the middle of a step. */
class Stopped extends Error {}

/** Does steps on a log, and remembers what the log has acknowledged. */
class Witness {
  readonly fileSystem: MemoryFileSystem;
  readonly overrides: Partial<WalOptions>;
  readonly entries = new Map<number, Shown>();
  /** Entries through here were acknowledged; those up to `dropped` need not be there any more. */
  last = 0;
  dropped = 0;
  hardState: HardState = state(0, 0, null);
  promised: Position | null = null;
  isStopped = false;
  log: Log | null = null;
  readonly #crashed: Promise<void>;

  constructor(fileSystem: MemoryFileSystem, overrides: Partial<WalOptions> = {}) {
    this.fileSystem = fileSystem;
    this.overrides = { membership: THREE, ...overrides };
    this.#crashed = new Promise((resolve) => {
      fileSystem.onCrash = () => {
        this.isStopped = true;
        resolve();
      };
    });
  }

  get wal(): Wal {
    assert.ok(this.log);
    return this.log.wal;
  }

  async #race<T>(work: Promise<T>): Promise<T> {
    const failed = this.log?.failed ?? new Promise<void>(() => {});
    const result = await Promise.race([work, failed, this.#crashed]);
    if (this.isStopped || (this.log?.failures.length ?? 0) > 0) throw new Stopped();
    return result as T; // neither of the others came first
  }

  async open(): Promise<void> {
    this.log = null;
    this.log = await this.#race(open(this.fileSystem, this.overrides));
    this.promised ??= this.wal.promised();
  }

  async append(entries: readonly Entry[], hardState: HardState | null = null): Promise<void> {
    const first = entries[0];
    if (first !== undefined && first.index <= this.last) this.last = first.index - 1;
    await this.#race(append(this.wal, entries, hardState));
    for (const each of shown(entries)) this.entries.set(each.index, each);
    this.last = Math.max(this.last, entries.at(-1)?.index ?? 0);
    this.hardState = hardState ?? this.hardState;
  }

  async fill(first: number, last: number, term: number): Promise<void> {
    for (let index = first; index <= last; index += 2) {
      const text = `${index} `.repeat(900);
      const some = [entry(index, term, text), entry(index + 1, term, text)];
      await this.append(some, state(term, Math.max(0, index - 1)));
    }
  }

  async trim(index: number): Promise<void> {
    this.dropped = Math.max(this.dropped, index);
    await this.#race(this.wal.trimBefore(index));
  }

  async reset(snapshot: Snapshot): Promise<void> {
    this.dropped = Math.max(this.dropped, snapshot.index);
    await this.#race(this.wal.resetTo(snapshot));
    this.last = Math.max(this.last, snapshot.index);
  }

  async close(): Promise<void> {
    await this.#race(this.wal.close());
  }

  /** What a log that was opened after the failure must hold. */
  check(wal: Wal, what: string): void {
    const found = all(wal);
    assert.ok(wal.firstIndex() - 1 <= this.dropped, `${what}: begins at ${wal.firstIndex()}`);
    const { term, vote } = wal.hardState;
    assert.ok(term >= this.hardState.term, `${what}: term ${term}`);
    if (term === this.hardState.term) assert.equal(vote, this.hardState.vote, what);
    const promised = wal.promised();
    const end = { index: wal.lastIndex(), term: wal.termOf(wal.lastIndex()) ?? 0 };
    if (this.promised !== null && promised === null)
      assert.ok(isAtLeast(end, this.promised), `${what}: the promise is gone`);
    if (promised === null) assert.ok(wal.lastIndex() >= this.last, `${what}: ends at ${end.index}`);
    else assert.ok(promised.index >= this.last, `${what}: promises ${promised.index}`);
    for (const each of found)
      if (each.index <= this.last && each.index > this.dropped && this.entries.has(each.index))
        assert.deepEqual(each, this.entries.get(each.index), what);
  }
}

type Scenario = {
  readonly name: string;
  readonly prepare: () => Promise<MemoryFileSystem>;
  readonly isDamaged: boolean;
  readonly overrides?: Partial<WalOptions>;
  readonly act: (witness: Witness) => Promise<void>;
};

const LAST = 44;
const SNAPSHOT: Snapshot = { index: 200, term: 5, membership: THREE };

async function life(witness: Witness): Promise<void> {
  await witness.open();
  await witness.append([], state(1));
  await witness.fill(1, 12, 1);
  await witness.append([entry(11, 2), entry(12, 2)], state(2));
  await witness.fill(13, LAST - 1, 2);
  await witness.trim(30);
  await witness.append([entry(LAST + 1, 2)]);
  await witness.close();
  await witness.open();
  await witness.append([], state(5));
  await witness.reset(SNAPSHOT);
  await witness.fill(201, 206, 5);
  await witness.trim(203);
  await witness.close();
}

/** A closed log over several segments with a sector gone. */
async function damaged(): Promise<MemoryFileSystem> {
  const fileSystem = new MemoryFileSystem();
  const { wal } = await open(fileSystem, { membership: THREE });
  await append(wal, [], state(3));
  await fill(wal, 1, LAST, 3);
  await wal.close();
  const path = `${FOLDER}/${segmentName(2)}`;
  const sector = fileSystem.usedSectors(path).at(-9)?.sector ?? 0;
  fileSystem.rot(path, sector * 512 + 9, 4);
  return fileSystem;
}

async function repair(witness: Witness): Promise<void> {
  // What the members before it knew of this one.
  witness.hardState = state(3);
  witness.promised = { index: LAST, term: 3 };
  await witness.open();
  await witness.fill(witness.wal.lastIndex() + 1, LAST + 3, 3);
  assert.equal(witness.wal.promised(), null);
  await witness.close();
  await witness.open();
  await witness.trim(LAST);
  await witness.close();
}

const COVERED = { index: LAST - 2, term: 3, membership: null };

async function resume(witness: Witness): Promise<void> {
  witness.hardState = state(3);
  witness.last = LAST;
  witness.dropped = COVERED.index;
  await witness.open();
  await witness.append([entry(LAST + 1, 3)]);
  await witness.close();
  await witness.open();
  await witness.close();
}

const AHEAD = { index: 300, term: 6, membership: null };

async function skip(witness: Witness): Promise<void> {
  witness.hardState = state(3);
  witness.last = AHEAD.index;
  witness.dropped = AHEAD.index;
  await witness.open();
  await witness.fill(301, 304, 6);
  await witness.close();
}

const SCENARIOS: readonly Scenario[] = [
  {
    name: "a whole life",
    prepare: async () => new MemoryFileSystem(),
    isDamaged: false,
    act: life,
  },
  { name: "damage that peers mend", prepare: damaged, isDamaged: true, act: repair },
  {
    name: "damage that the state covers",
    prepare: damaged,
    isDamaged: true,
    overrides: { covered: COVERED },
    act: resume,
  },
  {
    name: "a state ahead of the log",
    prepare: damaged,
    isDamaged: true,
    overrides: { covered: AHEAD },
    act: skip,
  },
];

const FAULTS: readonly Omit<DiskFault, "at">[] = [
  { code: "EIO" },
  { code: "EIO", isOnce: true },
  { code: "ENOSPC" },
  { code: "short" },
  { code: "crash" },
];

/** @returns whether the fault was met */
async function attempt(scenario: Scenario, before: MemoryFileSystem, fault: DiskFault) {
  const fileSystem = before.clone();
  fileSystem.fault = fault;
  const witness = new Witness(fileSystem, scenario.overrides);
  const what = `${scenario.name}, ${fault.code} at call ${fault.at}`;
  try {
    await scenario.act(witness);
  } catch (error) {
    const isFault = error instanceof Error && "code" in error && error.code === fault.code;
    if (!(error instanceof Stopped) && !isFault) throw new Error(what, { cause: error });
  }
  const isMet = fileSystem.calls >= fault.at;
  if (fault.code !== "crash") await witness.log?.wal.abandon();
  fileSystem.fault = null;
  const killed = fileSystem.clone();
  await judge(scenario, witness, killed, `${what}, then kill -9`);
  fileSystem.losePower(lottery(fault.at * 3), () => (fault.at % 3) * 100);
  await judge(scenario, witness, fileSystem, `${what}, then a power cut`);
  return isMet;
}

/** What is left opens clean, holds what was acknowledged, and goes on. */
async function judge(
  scenario: Scenario,
  witness: Witness,
  fileSystem: MemoryFileSystem,
  what: string,
): Promise<void> {
  const again = await open(fileSystem, witness.overrides).catch((error: unknown) => {
    throw new Error(`${what}: it does not open`, { cause: error });
  });
  witness.check(again.wal, what);
  // A crash alone damages nothing.
  const isDamaged = again.events.some(({ kind }) => kind === "damageFound");
  assert.ok(scenario.isDamaged || !isDamaged, `${what}: damage is found`);
  const next = again.wal.lastIndex() + 1;
  const { term } = again.wal.hardState;
  await append(again.wal, [entry(next, term)]);
  await again.wal.close();
  const third = await open(fileSystem, witness.overrides);
  assert.equal(third.wal.lastIndex(), next, what);
  assert.deepEqual(
    third.events.filter(({ kind }) => kind !== "damageFound"),
    [],
    what,
  );
  await third.wal.close();
}

for (const scenario of SCENARIOS)
  for (const fault of FAULTS)
    test(`Wal, ${scenario.name}: keeps what it acknowledged when call n meets ${fault.code}${fault.isOnce ? " once" : ""}`, async () => {
      const before = await scenario.prepare();
      let at = 1;
      while (await attempt(scenario, before, { ...fault, at })) at += 1;
      assert.ok(at > 12, "the fault is met");
    });
