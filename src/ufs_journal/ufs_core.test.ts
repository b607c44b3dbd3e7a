import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { isRockpoolError } from "../common/errors.ts";
import { nodeFileSystem } from "../journal/file_system.ts";
import { crc32c, encoder, Memory } from "../journal/journal_fixture.ts";
import type { JournalEvent } from "../journal/journal_protocol.ts";
import { RaftJournal } from "../journal/raft_journal.ts";
import { nodeWorld } from "../world/node_world.ts";
import { Checkpoints } from "./checkpoints.ts";
import type { Candidate, Elector, ElectorListener } from "./elector.ts";
import {
  MemoryLogStore,
  SharedObjects,
  type StoreCall,
  type StoreFate,
} from "./memory_log_store.ts";
import { onThisThread } from "./on_this_thread.ts";
import { UfsCore } from "./ufs_core.ts";
import { UfsLog } from "./ufs_log.ts";

const root = mkdtempSync(join(tmpdir(), "rockpool-ufs-journal-"));
const open = new Set<Master>();
after(async () => {
  for (const master of open) await master.journal.abandon();
  rmSync(root, { recursive: true, force: true });
});

/** Whoever stands first is chosen; tests may choose others besides, or cut one off. */
class Election {
  line: TestElector[] = [];

  tell(): void {
    const [first] = this.line;
    if (first !== undefined && !first.isChosen) first.choose();
    for (const each of this.line) each.listener?.onCandidates();
  }
}

class TestElector implements Elector {
  readonly address: string;
  readonly election: Election;
  listener: ElectorListener | null = null;
  isChosen = false;
  isSure = true;
  announceCount = 0;

  constructor(address: string, election: Election) {
    this.address = address;
    this.election = election;
  }

  async start(listener: ElectorListener): Promise<void> {
    this.listener = listener;
    this.election.line.push(this);
    this.election.tell();
  }

  choose(): void {
    this.isChosen = true;
    setImmediate(() => this.listener?.onChosen());
  }

  /** Its session ends. */
  depose(): void {
    this.isChosen = false;
    this.election.line = this.election.line.filter((each) => each !== this);
    this.listener?.onDeposed("the test says so");
    this.election.tell();
  }

  stand(): void {
    this.election.line.push(this);
    this.election.tell();
  }

  isChosenFor(): boolean {
    return this.isChosen && this.isSure;
  }

  async announce(): Promise<void> {
    this.announceCount += 1;
  }

  async resign(): Promise<void> {
    this.depose();
    this.stand();
  }

  candidates(): readonly Candidate[] {
    return this.election.line.map((each, at) => ({
      address: each.address,
      isSelf: each === this,
      isChosen: at === 0,
    }));
  }

  async close(): Promise<void> {
    this.listener = null;
    this.election.line = this.election.line.filter((each) => each !== this);
    this.election.tell();
  }
}

class Master {
  readonly machine = new Memory();
  readonly events: JournalEvent[] = [];
  readonly elector: TestElector;
  readonly journal: RaftJournal<string>;
  fate: (call: StoreCall) => StoreFate = () => ({});

  constructor(cluster: Cluster, address: string, areReadsStrict: boolean) {
    const { shared, election } = cluster;
    const world = nodeWorld();
    const workFolder = mkdtempSync(join(root, "work-"));
    const fileSystem = nodeFileSystem();
    this.elector = new TestElector(address, election);
    const fate = (call: StoreCall) => this.fate(call);
    const store = new MemoryLogStore({ shared, world, files: fileSystem, fate });
    const groupId = 9n;
    this.journal = new RaftJournal<string>({
      ...{ folder: workFolder, address, addresses: [address], bindHost: "", bindPort: 0 },
      ...{ stateMachine: this.machine, world },
      onEvent: (event) => this.events.push(event),
      connect: onThisThread(world.timers, (post) => {
        const log = new UfsLog({ store, groupId, crc32c, windowEntries: 8 });
        const checkpoints = new Checkpoints({
          ...{ log, store, groupId, crc32c, world, fileSystem, workFolder, post },
          ...{ entries: 1e9, intervalMs: 1e9, merging: { lag: 0, countMin: 2 } },
        });
        const { elector } = this;
        const tailMs = 5;
        return new UfsCore({
          ...{ log, elector, checkpoints, world, address, tailMs, areReadsStrict, post },
        });
      }),
    });
    open.add(this);
  }

  propose(word: string): Promise<string> {
    return this.journal.propose(encoder.encode(word));
  }

  count(kind: JournalEvent["kind"]): number {
    return this.events.filter((event) => event.kind === kind).length;
  }
}

class Cluster {
  readonly shared = new SharedObjects();
  readonly election = new Election();
  #count = 0;

  async started(areReadsStrict = false): Promise<Master> {
    this.#count += 1;
    const master = new Master(this, `m${this.#count}:19998`, areReadsStrict);
    await master.journal.start();
    return master;
  }

  async pair(areReadsStrict = false): Promise<readonly [Master, Master]> {
    const first = await this.started(areReadsStrict);
    await until(() => first.journal.isServing());
    return [first, await this.started(areReadsStrict)];
  }
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 2));
}

const isUnavailable = (error: unknown) => isRockpoolError(error, "UNAVAILABLE");

test("who is chosen leads and is announced; the other one follows, and refuses", async () => {
  const [one, two] = await new Cluster().pair();
  assert.equal(await one.propose("a"), "done a");
  assert.deepEqual(await Promise.all(["b", "c"].map((word) => one.propose(word))), [
    "done b",
    "done c",
  ]);
  await until(() => two.machine.words().length === 3);
  assert.deepEqual(two.machine.words(), ["a", "b", "c"]);
  assert.equal(one.elector.announceCount, 1);
  await assert.rejects(two.propose("x"), isUnavailable);
  await assert.rejects(two.journal.readBarrier(), isUnavailable);
  await one.journal.readBarrier();
  assert.equal(two.journal.status().members.length, 2);
});

test("the next one takes over where the one before has ended, and that one follows it", async () => {
  const [one, two] = await new Cluster().pair();
  await one.propose("a");
  one.elector.depose();
  await until(() => two.journal.isServing());
  assert.equal(await two.propose("b"), "done b");
  assert.equal(two.journal.status().term, 2);
  await until(() => one.machine.words().length === 2);
  assert.deepEqual(one.machine.words(), ["a", "b"]);
  await assert.rejects(one.propose("c"), isUnavailable);
});

test("a leader that does not know of its end collides with the fence, answers nobody, and steps down", async () => {
  const cluster = new Cluster();
  const [one, two] = await cluster.pair();
  await one.propose("a");
  await until(() => two.machine.words().length === 1);
  // Its next create is on its way for long.
  one.fate = ({ kind }) => (kind === "create" ? { delayMs: 200 } : {});
  const late = one.propose("late");
  two.elector.choose();
  await until(() => two.journal.isServing());
  await assert.rejects(late, isUnavailable);
  one.fate = () => ({});
  assert.equal(await two.propose("b"), "done b");
  await until(() => one.machine.words().length === 2);
  assert.deepEqual(one.machine.words(), ["a", "b"]);
  assert.ok(one.count("deposed") > 0);
});

test("an append of which nothing is known is answered once, whether it had its effect or not", async () => {
  const [one, two] = await new Cluster().pair();
  for (const failure of ["after", "before"] as const) {
    let left = 1;
    one.fate = ({ kind }) => {
      if (kind !== "create" || left === 0) return {};
      left -= 1;
      return { failure };
    };
    assert.equal(await one.propose(failure), `done ${failure}`);
  }
  await until(() => two.machine.words().length === 2);
  assert.deepEqual(two.machine.words(), ["after", "before"]);
  assert.ok(one.count("storeTrouble") >= 1 && one.count("storeWorksAgain") >= 1);
});

test("a read is answered by the clock while that is sure, else by the store; never by one who was deposed", async () => {
  for (const areReadsStrict of [false, true]) {
    const [one, two] = await new Cluster().pair(areReadsStrict);
    await one.propose("a");
    await one.journal.readBarrier();
    one.elector.isSure = false;
    await one.journal.readBarrier();
    two.elector.choose();
    await until(() => two.journal.isServing());
    await two.propose("b");
    await assert.rejects(one.journal.readBarrier(), isUnavailable);
  }
});

test("a store that is full refuses changes, answers reads, and takes changes again once there is room", async () => {
  const one = await new Cluster().started();
  await until(() => one.journal.isServing());
  await one.propose("a");
  one.fate = ({ kind }) => (kind === "create" ? { failure: "full" } : {});
  await assert.rejects(one.propose("b"), (error) => isRockpoolError(error, "RESOURCE_EXHAUSTED"));
  assert.equal(one.count("readOnly"), 1);
  await one.journal.readBarrier();
  one.fate = () => ({});
  assert.equal(await one.propose("c"), "done c");
  assert.equal(one.count("writableAgain"), 1);
  assert.deepEqual(one.machine.words(), ["a", "c"]);
});

test("an empty master begins from a checkpoint when what is before it was trimmed", async () => {
  const cluster = new Cluster();
  const one = await cluster.started();
  await until(() => one.journal.isServing());
  for (let at = 0; at < 12; at++) await one.propose(`a${at}`);
  await one.journal.checkpoint();
  for (let at = 0; at < 12; at++) await one.propose(`b${at}`);
  const { index } = await one.journal.checkpoint();
  await until(
    () =>
      ![...cluster.shared.objects.keys()].some((name) => name.endsWith("/log/0000000000000002")),
  );
  await one.propose("last");
  const two = await cluster.started();
  await until(() => two.machine.words().length === 25);
  assert.equal(two.machine.installCount, 1);
  assert.deepEqual(two.machine.words(), one.machine.words());
  assert.ok(
    two.events.some((event) => event.kind === "checkpointInstalled" && event.index === index),
  );
});

test("a checkpoint that can't be installed is tried again, and nothing is lost or applied twice", async () => {
  const cluster = new Cluster();
  const one = await cluster.started();
  await until(() => one.journal.isServing());
  for (let at = 0; at < 12; at++) await one.propose(`a${at}`);
  await one.journal.checkpoint();
  for (let at = 0; at < 12; at++) await one.propose(`b${at}`);
  await one.journal.checkpoint();
  await until(
    () =>
      ![...cluster.shared.objects.keys()].some((name) => name.endsWith("/log/0000000000000002")),
  );
  const two = new Master(cluster, "m2:19998", false);
  two.machine.installFault = new Error("EIO");
  const started = two.journal.start();
  await until(() => two.count("storeTrouble") > 0);
  two.machine.installFault = null;
  await started;
  await until(() => two.machine.words().length === 24);
  assert.deepEqual(two.machine.words(), one.machine.words());
});

test("closing hands over at once", async () => {
  const [one, two] = await new Cluster().pair();
  await one.propose("a");
  await one.journal.close();
  await until(() => two.journal.isServing());
  assert.equal(await two.propose("b"), "done b");
  assert.deepEqual(two.machine.words(), ["a", "b"]);
});

test("who was chosen and could not be sure of it makes no fence", async () => {
  const cluster = new Cluster();
  const one = new Master(cluster, "m1:19998", false);
  one.elector.isSure = false;
  let readCount = 0;
  one.fate = () => {
    readCount += 1;
    return {};
  };
  await one.journal.start();
  await until(() => readCount > 20);
  assert.equal(cluster.shared.objects.size, 0);
  one.elector.isSure = true;
  await until(() => one.journal.isServing());
});

test("one whose state the log does not know says so, and does not stand for election", async () => {
  const cluster = new Cluster();
  const first = await cluster.started();
  await until(() => first.journal.isServing());
  await first.propose("a");
  const two = new Master(cluster, "m2:19998", false);
  Object.assign(two.machine, { position: () => ({ index: 2, term: 1, membership: null }) });
  await assert.rejects(two.journal.start());
  assert.equal(cluster.election.line.length, 1);
});

test("who was deposed and chosen again while its fence was looked at begins no reign by that fence", async () => {
  const [one, two] = await new Cluster().pair();
  await one.propose("a");
  await until(() => two.machine.words().length === 1);
  let isLooking = false;
  two.fate = ({ kind, name }) => {
    const isMark = kind === "read" && name.includes("/passed/");
    if (isMark && !isLooking) {
      isLooking = true;
      return { delayMs: 300 };
    }
    return isLooking && kind === "read" && name.includes("/log/") ? { delayMs: 100 } : {};
  };
  one.elector.depose();
  one.elector.stand();
  await until(() => isLooking);
  // Another one leads, acknowledges, and goes, all while the second hears nothing of the store.
  two.elector.depose();
  await until(() => one.journal.isServing());
  await one.propose("b");
  two.elector.stand();
  one.elector.depose();
  await until(() => two.journal.isServing());
  await two.journal.readBarrier();
  assert.deepEqual(two.machine.words(), ["a", "b"]);
});
