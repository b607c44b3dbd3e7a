import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { isRockpoolError } from "../common/errors.ts";
import type { Path } from "../common/path.ts";
import { crc32c, freePort, until } from "../journal/journal_fixture.ts";
import { formatJournal } from "../journal/journal_format.ts";
import type { JournalEvent } from "../journal/journal_protocol.ts";
import { RaftJournal } from "../journal/raft_journal.ts";
import { inProcess } from "../journal/thread_port.ts";
import type { KeyValueStore } from "../kv/kv.ts";
import { openLmdb } from "../kv/lmdb_kv.ts";
import { nodeWorld } from "../world/node_world.ts";
import type { ApplyResult } from "./apply.ts";
import { digestText } from "./backup_file.ts";
import { type Command, encodeEntry } from "./command.ts";
import { STORE_SCHEMA_VERSION } from "./inode.ts";
import { CREATE_FILE } from "./master_fixture.ts";
import { stateDigest } from "./state_digest.ts";
import { INITIALIZE } from "./state_fixture.ts";
import { createMasterState, type MasterState } from "./state_machine.ts";

const root = mkdtempSync(join(tmpdir(), "rockpool-raft-state-"));
const world = nodeWorld();
const running = new Set<Master>();
after(async () => {
  for (const master of running) await master.stop();
  rmSync(root, { recursive: true, force: true });
});

/** The journal and the state of a master as the product joins them, without what serves clients. */
class Master {
  readonly address: string;
  readonly journalFolder = mkdtempSync(join(root, "journal-"));
  readonly storeFolder = mkdtempSync(join(root, "store-"));
  readonly events: JournalEvent[] = [];
  readonly damage: string[] = [];
  discardReason: string | null = null;
  #opened: { store: KeyValueStore; state: MasterState; journal: RaftJournal<ApplyResult> } | null =
    null;

  constructor(address: string) {
    this.address = address;
  }

  get state(): MasterState {
    assert.ok(this.#opened !== null);
    return this.#opened.state;
  }

  get journal(): RaftJournal<ApplyResult> {
    assert.ok(this.#opened !== null);
    return this.#opened.journal;
  }

  get storeFile(): string {
    return join(this.storeFolder, "store.mdb");
  }

  async start(addresses: readonly string[]): Promise<void> {
    const { address } = this;
    const { store, discardReason } = openLmdb(this.storeFolder, {
      schemaVersion: STORE_SCHEMA_VERSION,
      onDamage: (reason) => this.damage.push(reason),
    });
    this.discardReason = discardReason;
    const state = createMasterState({ store, onBlocksRemoved: () => {} });
    const journal = new RaftJournal<ApplyResult>({
      folder: this.journalFolder,
      address,
      addresses,
      bindHost: "127.0.0.1",
      bindPort: Number(address.split(":")[1]),
      stateMachine: state.stateMachine,
      world,
      connect: inProcess({ crc32c }),
      onEvent: (event) => this.events.push(event),
      segmentBytes: 64 * 1024,
      checkpointEntries: 100,
    });
    this.#opened = { store, state, journal };
    running.add(this);
    await journal.start();
  }

  /** As a crash of the process leaves it, as far as one process can play that for itself. */
  async stop(): Promise<void> {
    const opened = this.#opened;
    this.#opened = null;
    running.delete(this);
    await opened?.journal.abandon();
    await opened?.store.close();
  }

  countOf(kind: JournalEvent["kind"]): number {
    return this.events.filter((event) => event.kind === kind).length;
  }
}

class Cluster {
  readonly masters: Master[] = [];
  #number = 0;

  static async started(size: number): Promise<Cluster> {
    const cluster = new Cluster();
    const ports = new Set<number>();
    while (ports.size < size) ports.add(await freePort());
    for (const port of ports) cluster.masters.push(new Master(`127.0.0.1:${port}`));
    for (const { address, journalFolder } of cluster.masters)
      await formatJournal(journalFolder, {
        ...{ address, addresses: cluster.addresses, crc32c, nowMs: 1 },
        segmentBytes: 64 * 1024,
      });
    await Promise.all(cluster.masters.map((master) => cluster.start(master)));
    await cluster.run(INITIALIZE);
    return cluster;
  }

  get addresses(): string[] {
    return this.masters.map(({ address }) => address);
  }

  start(master: Master): Promise<void> {
    return master.start(this.addresses);
  }

  /** Tries whoever leads until it is done; the operation's id sees to it that it is done once. */
  async run(command: Command, number = ++this.#number): Promise<ApplyResult> {
    const payload = encodeEntry({
      timeMs: 1000 + number,
      operationId: { high: 1n, low: BigInt(number) },
      principal: { user: "root", groups: ["root"], isSuperuser: true },
      command,
    });
    for (;;) {
      const leader = await until("somebody leads", () =>
        this.masters.find((master) => running.has(master) && master.journal.isServing()),
      );
      try {
        return await leader.journal.propose(payload);
      } catch (error) {
        if (!isRockpoolError(error, "UNAVAILABLE")) throw error;
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** @returns the numbers of the operations */
  async createFiles(count: number): Promise<number[]> {
    const numbers = Array.from({ length: count }, () => ++this.#number);
    const results = await Promise.all(
      numbers.map((number) => this.run(createFile(`/d${number % 9}/f${number}`), number)),
    );
    for (const result of results) assert.ok(result.isOk);
    return numbers;
  }

  /** Makes files until these have made checkpoints and let go of a part of their logs. */
  async createUntilTrimmed(masters: readonly Master[]): Promise<number[]> {
    const numbers: number[] = [];
    while (!masters.every((master) => master.countOf("trimmed") > 0)) {
      assert.ok(numbers.length < 5000, "the logs are trimmed");
      numbers.push(...(await this.createFiles(150)));
      await Promise.all(masters.map(({ journal }) => journal.checkpoint()));
    }
    return numbers;
  }

  /** Waits until all have applied the same, and compares them. */
  async digest(): Promise<string> {
    const indices = () => this.masters.map(({ state }) => state.stateMachine.position().index);
    await until("all have applied everything", () => {
      const last = Math.max(...this.masters.map(({ journal }) => journal.status().lastIndex));
      return indices().every((index) => index === last) || undefined;
    });
    const digests = await Promise.all(
      this.masters.map(async ({ state }) => {
        const { digest } = await stateDigest(state, world);
        return digestText(digest);
      }),
    );
    assert.equal(new Set(digests).size, 1, digests.join());
    return digests[0] ?? "";
  }
}

/** Large enough for the log to have many segments. */
function createFile(path: string): Command {
  const xattr = { "user.filler": new Uint8Array(1000) };
  return { ...CREATE_FILE, kind: "createFile", path: path as Path, xattr };
}

test("a master that lost its metadata has everything again, from its checkpoint and the log behind it", async () => {
  const cluster = await Cluster.started(1);
  const [master] = cluster.masters;
  assert.ok(master !== undefined);
  const numbers = await cluster.createUntilTrimmed([master]);
  const { index } = await master.journal.checkpoint();
  numbers.push(...(await cluster.createFiles(60)));
  const before = await cluster.digest();
  const first = await cluster.run(createFile("/once"), 1_000_000);
  const last = await cluster.digest();
  assert.notEqual(last, before);

  await master.stop();
  rmSync(master.storeFile);
  await cluster.start(master);
  assert.match(master.discardReason ?? "", /its file is missing/);
  assert.equal(await cluster.digest(), last);
  assert.ok(master.state.stateMachine.position().index > index);
  // A retry over it all gets its first answer, and the namespace goes on.
  assert.deepEqual(await cluster.run(createFile("/once"), 1_000_000), first);
  assert.equal(await cluster.digest(), last);
  for (const number of numbers)
    assert.equal(master.state.view.walk(`/d${number % 9}/f${number}` as Path).missing.length, 0);
  await cluster.createFiles(10);

  // Torn by a crash of the machine, or overwritten: the same.
  const torn = await cluster.digest();
  await master.stop();
  writeFileSync(master.storeFile, readFileSync(master.storeFile).fill(0, 0, 40_000));
  await cluster.start(master);
  assert.match(master.discardReason ?? "", /LMDB cannot open it/);
  assert.equal(await cluster.digest(), torn);
  await master.stop();
});

test("of three masters one loses its metadata, and rows rot in another: all come to be equal again", async () => {
  const cluster = await Cluster.started(3);
  await cluster.createFiles(100);
  const [lost, rotten] = cluster.masters;
  assert.ok(lost !== undefined && rotten !== undefined);
  await lost.stop();
  rmSync(lost.storeFile);
  await cluster.createUntilTrimmed(cluster.masters.slice(1));
  await cluster.start(lost);
  await cluster.digest();

  await rotten.stop();
  const file = readFileSync(rotten.storeFile);
  // Every row that says so, in pages in use and in old ones.
  const name = Buffer.from("f40");
  for (let from = file.indexOf(name); from > 0; from = file.indexOf(name, from + 1))
    file[from + 3] = (file[from + 3] ?? 0) ^ 0x01;
  writeFileSync(rotten.storeFile, file);
  await cluster.start(rotten);
  assert.equal(rotten.discardReason, null, "nothing tells before they are read");
  // A checkpoint reads all of them, so that none is ever made of what is rotten.
  await assert.rejects(rotten.journal.checkpoint(), /does not match its checksum/);
  assert.equal(rotten.damage.length, 1);
  await rotten.stop();
  await cluster.start(rotten);
  assert.match(rotten.discardReason ?? "", /damage was found in it/);
  await cluster.createFiles(20);
  await cluster.digest();
  for (const master of cluster.masters) {
    assert.deepEqual(master.countOf("fatal"), 0);
    assert.deepEqual(
      readdirSync(master.storeFolder).filter((name) => name.startsWith("incoming")),
      [],
    );
    await master.stop();
  }
});
