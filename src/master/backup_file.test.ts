import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { isRockpoolError } from "../common/errors.ts";
import type { Path } from "../common/path.ts";
import { crc32c } from "../kernels/fallback.ts";
import { BackupReader, BackupWriter, digestText, isTrailer, verifyBackup } from "./backup_file.ts";
import { backupOf, MemoryFile, namespaceRows, smallBackup, usedReplica } from "./backup_fixture.ts";
import { Backuper } from "./backuper.ts";
import { NAMESPACE_KEYS, POSITION_KEY, TABLE } from "./inode.ts";
import { CREATE_FILE, FakeWorld, until } from "./master_fixture.ts";
import { stateDigest } from "./state_digest.ts";
import { Replica, through } from "./state_fixture.ts";

const FIXTURE = "test/fixtures/backup-v1.bin";
const world = new FakeWorld();

test("backup-v1.bin reads as what was written, and is still written so", async () => {
  const bytes = new Uint8Array(readFileSync(FIXTURE));
  const replica = usedReplica(12);
  assert.deepEqual(bytes, await smallBackup(replica, 7));
  const summary = await verifyBackup(new MemoryFile(bytes));
  const { index } = replica.state.stateMachine.position();
  assert.deepEqual(summary.header, {
    madeAtMs: 1_700_000_000_000,
    host: "m1",
    clusterId: "c",
    index,
    term: 1,
    schemaVersion: 3,
    nextContainerId: replica.state.view.ids().nextContainerId,
  });
  assert.equal(
    digestText(summary.digest),
    digestText((await stateDigest(replica.state, world)).digest),
  );
});

test("a backup has the rows of the namespace, in order, and counts files and directories", async () => {
  const replica = usedReplica(500);
  const file = new MemoryFile();
  const { entryCount, rowCount, position } = await backupOf(replica.state, file);
  assert.equal(position.index, replica.log.length);
  const reader = await BackupReader.open(file);
  const rows: string[] = [];
  let blocks = 0;
  for (let part = await reader.next(); !isTrailer(part); part = await reader.next()) {
    blocks++;
    for (const { key, value } of part)
      rows.push(`${Buffer.from(key).toString("hex")} ${Buffer.from(value).toString("hex")}`);
  }
  assert.ok(blocks > 1);
  assert.deepEqual(rows, namespaceRows(replica.state));
  assert.equal(rowCount, rows.length);
  assert.equal(entryCount, rows.filter((row) => row.startsWith("01")).length);
});

test("equal states have equal digests and bodies, and one entry more makes another", async () => {
  const one = usedReplica(40);
  const other = new Replica();
  for (const entry of one.log) other.state.stateMachine.apply([entry], through(entry.index, 9));
  other.state.stateMachine.apply([], through(one.log.length + 5, 9)); // no-ops of another reign
  const [first, second] = [new MemoryFile(), new MemoryFile()];
  const before = await backupOf(one.state, first);
  const same = await backupOf(other.state, second);
  assert.deepEqual(before.digest, same.digest);
  assert.deepEqual(first.bytes.slice(60), second.bytes.slice(60));
  assert.deepEqual((await stateDigest(one.state, world)).digest, before.digest);
  one.run({ ...CREATE_FILE, kind: "createFile", path: "/one/more" as Path });
  assert.notDeepEqual((await stateDigest(one.state, world)).digest, before.digest);
});

test("a backup and a digest are of one moment, whatever changes while they are taken", async () => {
  const replica = usedReplica(200);
  const before = namespaceRows(replica.state);
  const expected = await stateDigest(replica.state, world);
  const file = new MemoryFile();
  let changes = 0;
  file.onWrite = () => {
    for (let i = 0; i < 5; i++)
      replica.run({ ...CREATE_FILE, kind: "createFile", path: `/a${changes++}` as Path });
    replica.run({
      kind: "remove",
      path: `/d3/f${[3, 10, 17, 24, 31, 38][changes % 6]}` as Path,
      isRecursive: false,
      isAlluxioOnly: true,
    });
  };
  const backup = await backupOf(replica.state, file);
  assert.ok(changes >= 15, "the backup has several blocks");
  assert.deepEqual(backup.digest, expected.digest);
  assert.notDeepEqual(namespaceRows(replica.state), before);
  await verifyBackup(file);
});

test("a backup whose n-th write fails throws what the sink threw, and changes nothing", async () => {
  const replica = usedReplica(120);
  const before = replica.dump();
  const whole = new MemoryFile();
  await backupOf(replica.state, whole);
  for (let n = 0; n < whole.writes; n++) {
    const file = new MemoryFile();
    file.failAt = n;
    await assert.rejects(backupOf(replica.state, file), { message: `write ${n} fails` });
    await assert.rejects(verifyBackup(file), (error) => isRockpoolError(error, "DATA_LOSS"));
  }
  assert.deepEqual(replica.dump(), before);
});

test("a sink that takes nothing any more is given up, and the snapshot with it", async () => {
  const replica = usedReplica(5);
  const world = new FakeWorld();
  const journal = { readBarrier: async () => {} };
  const backuper = new Backuper({ state: replica.state, journal, world, host: "m1" });
  const stuck = backuper.backup({ write: () => new Promise<void>(() => {}) });
  const outcome = assert.rejects(stuck, (error) => isRockpoolError(error, "DEADLINE_EXCEEDED"));
  await until(() => world.timerCount > 0);
  world.pass(119_000);
  world.pass(2000);
  await outcome;
  assert.equal(world.timerCount, 0);
});

test("a backup whose rows are out of order, or lack what every cluster has, is refused though all its sums are right", async () => {
  const replica = usedReplica(5);
  const rows = [...replica.store.range(NAMESPACE_KEYS)];
  const attempt = async (chosen: typeof rows) => {
    const file = new MemoryFile();
    const writer = new BackupWriter(file);
    const { header } = await verifyBackup(new MemoryFile(await smallBackup(replica, 9)));
    await writer.begin(header);
    if (chosen.length > 0) await writer.writeBlock(chosen);
    await writer.end();
    return verifyBackup(file);
  };
  assert.equal((await attempt(rows)).rowCount, rows.length);
  const damaged = (text: RegExp) => (error: unknown) =>
    isRockpoolError(error, "DATA_LOSS") && text.test(error.message);
  const [first, second, ...others] = rows;
  assert.ok(first !== undefined && second !== undefined);
  await assert.rejects(attempt([second, first, ...others]), damaged(/out of order/));
  await assert.rejects(attempt([first, first, second, ...others]), damaged(/out of order/));
  for (const table of [TABLE.inode, TABLE.mount, TABLE.state])
    await assert.rejects(
      attempt(rows.filter(({ key }) => key[0] !== table)),
      damaged(/no rows of table/),
    );
  await assert.rejects(attempt([]), damaged(/no rows of table/));
  const own = { key: POSITION_KEY, value: Uint8Array.of(1) };
  await assert.rejects(attempt([...rows, own]), damaged(/what is no row: A row of table 240/));
});

const STATUSES = ["DATA_LOSS", "INVALID_ARGUMENT", "FAILED_PRECONDITION"] as const;
const isTyped = (error: unknown) => STATUSES.some((status) => isRockpoolError(error, status));

test("any change of a backup is found: bytes that flip, go, come, or are exchanged", async () => {
  const bytes = new Uint8Array(readFileSync(FIXTURE));
  const place = fc.nat(bytes.length - 1);
  const change = fc.oneof(
    fc.record({
      kind: fc.constant("flip" as const),
      at: place,
      mask: fc.integer({ min: 1, max: 255 }),
    }),
    fc.record({
      kind: fc.constant("cut" as const),
      at: place,
      count: fc.integer({ min: 1, max: 400 }),
    }),
    fc.record({
      kind: fc.constant("insert" as const),
      at: place,
      bytes: fc.uint8Array({ minLength: 1, maxLength: 50 }),
    }),
    fc.record({
      kind: fc.constant("append" as const),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 20 }),
    }),
  );
  await fc.assert(
    fc.asyncProperty(change, async (what) => {
      let changed: Uint8Array;
      if (what.kind === "flip") {
        changed = bytes.slice();
        changed[what.at] = (changed[what.at] as number) ^ what.mask;
      } else if (what.kind === "cut")
        changed = Uint8Array.from([
          ...bytes.slice(0, what.at),
          ...bytes.slice(what.at + what.count),
        ]);
      else if (what.kind === "insert")
        changed = Uint8Array.from([
          ...bytes.slice(0, what.at),
          ...what.bytes,
          ...bytes.slice(what.at),
        ]);
      else changed = Uint8Array.from([...bytes, ...what.bytes]);
      fc.pre(Buffer.compare(changed, bytes) !== 0);
      await assert.rejects(verifyBackup(new MemoryFile(changed)), isTyped);
    }),
    { numRuns: 600 },
  );
});

test("bytes with right checksums around anything are a backup, or a typed error", async () => {
  const bytes = new Uint8Array(readFileSync(FIXTURE));
  const headerBytes = 16 + new DataView(bytes.buffer).getUint32(12, true) + 4;
  /** A block around any bytes, as somebody would forge it. */
  const block = (rows: Uint8Array, count: number, tag: number) => {
    const front = new Uint8Array(tag === 0x42 ? 9 : 5);
    front[0] = tag;
    const view = new DataView(front.buffer);
    view.setUint32(1, rows.length, true);
    if (tag === 0x42) view.setUint32(5, count, true);
    const crc = new Uint8Array(4);
    new DataView(crc.buffer).setUint32(0, crc32c(rows, crc32c(front)), true);
    return [...front, ...rows, ...crc];
  };
  const part = fc.record({
    rows: fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      // Slices of true rows, so that some of it makes sense.
      fc.tuple(fc.nat(bytes.length), fc.nat(300)).map(([at, size]) => bytes.slice(at, at + size)),
    ),
    count: fc.oneof(fc.nat(5), fc.nat()),
    tag: fc.constantFrom(0x42, 0x45),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(part, { maxLength: 4 }), async (parts) => {
      const body = parts.flatMap(({ rows, count, tag }) => block(rows, count, tag));
      const file = new MemoryFile(Uint8Array.from([...bytes.slice(0, headerBytes), ...body]));
      await verifyBackup(file).catch((error: unknown) => assert.ok(isTyped(error), String(error)));
    }),
    { numRuns: 500 },
  );
});
