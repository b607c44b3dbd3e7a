import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { isRockpoolError } from "../common/errors.ts";
import { containerIdOf } from "../common/ids.ts";
import { MemoryKeyValueStore } from "../kv/memory_kv.ts";
import { LocalUnderFileSystem } from "../ufs/local_ufs.ts";
import { BackupWriter } from "./backup_file.ts";
import { backupOf, MemoryFile, namespaceRows, smallBackup, usedReplica } from "./backup_fixture.ts";
import { type Command, encodeEntry } from "./command.ts";
import { idKey, STORE_SCHEMA_VERSION, TABLE } from "./inode.ts";
import {
  at,
  CREATE_FILE,
  callBy,
  createMasterFixture,
  LIST,
  type MasterFixture,
  ROOT_USER,
  until,
} from "./master_fixture.ts";
import { Restorer } from "./restorer.ts";
import { INITIALIZE, Replica, through, withoutState } from "./state_fixture.ts";
import { createMasterState } from "./state_machine.ts";

const folder = mkdtempSync(join(tmpdir(), "rockpool-restore-"));
after(() => rmSync(folder, { recursive: true, force: true }));

function newCluster({ awaitsRestore = true } = {}): MasterFixture {
  const ufs = new LocalUnderFileSystem(folder);
  return createMasterFixture({ ufs, rootUfsUri: folder, awaitsRestore });
}

/** @param beforeWork runs when everything is there, and before the leader begins to work on it */
function restorerOf(fixture: MasterFixture, beforeWork: () => void = () => {}): Restorer {
  const { state, journal, world, restored } = fixture;
  const onRestored = () => {
    beforeWork();
    restored();
  };
  return new Restorer({ state, journal, world, onRestored });
}

const call = callBy(ROOT_USER);
const isStatus =
  (status: Parameters<typeof isRockpoolError>[1], text: RegExp) => (error: unknown) =>
    isRockpoolError(error, status) && text.test(error.message);

test("restore() gives a new cluster the namespace of the backup, and ids that nobody had", async () => {
  const before = usedReplica(120, folder);
  const file = new MemoryFile();
  const backup = await backupOf(before.state, file);
  const cluster = newCluster();
  await assert.rejects(
    cluster.fileSystem.getStatus(call, at("/"), { loadMetadata: "never", accessBits: 0 }),
    isStatus("UNAVAILABLE", /waits for its backup/),
  );
  const told: number[] = [];
  let rows: string[] = [];
  const restorer = restorerOf(cluster, () => {
    rows = namespaceRows(cluster.state);
  });
  const summary = await restorer.restore(file, ({ rowsDone }) => told.push(rowsDone));
  assert.equal(summary.entryCount, backup.entryCount);
  assert.equal(told.at(-1), backup.rowCount);
  assert.deepEqual(rows, namespaceRows(before.state));
  assert.deepEqual(summary.digest, backup.digest);
  assert.equal(cluster.state.view.restoring(), null);
  assert.equal(cluster.blockNamespace.isReady(), true);

  // It is served, and what is made from now on has other ids.
  const listed = [];
  for await (const batch of cluster.fileSystem.listStatus(call, at("/"), {
    ...LIST,
    loadMetadata: "never",
  }))
    listed.push(...batch.map(({ name }) => name));
  assert.deepEqual(listed, ["d0", "d1", "d3", "d4", "d5", "d6"]);
  const made = await cluster.fileSystem.createFile(call, at("/d1/new"), CREATE_FILE);
  assert.ok(containerIdOf(made.id) >= 2n ** 32n);
  // A file that was being written: its next block may have been written after the backup.
  await assert.rejects(
    cluster.fileSystem.newBlockId(call, at("/d0/f21")),
    isStatus("FAILED_PRECONDITION", /was being written when the backup was made/),
  );
  assert.equal(typeof (await cluster.fileSystem.newBlockId(call, at("/d1/new"))), "bigint");
});

test("random namespaces survive backup and restore, and every master gets the same rows however it batches them", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat(50),
      fc.integer({ min: 1, max: 40 }),
      fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 4 }),
      async (fileCount, rowsPerBlock, batches) => {
        const before = usedReplica(fileCount, folder);
        const cluster = newCluster({ awaitsRestore: fileCount % 2 === 0 });
        await until(() => fileCount % 2 === 0 || cluster.state.view.isInitialized());
        await restorerOf(cluster).restore(new MemoryFile(await smallBackup(before, rowsPerBlock)));
        await cluster.fileSystem.createFile(call, at("/after"), CREATE_FILE);
        // Refused, since it was being written before: in whatever batch it comes.
        await cluster.journal.propose(
          encodeEntry({
            timeMs: 1,
            operationId: null,
            principal: { user: "root", groups: [], isSuperuser: true },
            command: { kind: "newBlock", path: at("/d0/f21") },
          }),
        );
        const store = new MemoryKeyValueStore();
        const other = createMasterState({ store, onBlocksRemoved: () => {} });
        const { log } = cluster.journal;
        for (let from = 0, turn = 0; from < log.length; turn++) {
          const batch = log.slice(from, from + (batches[turn % batches.length] as number));
          from += batch.length;
          other.stateMachine.apply(batch, through(from));
        }
        assert.deepEqual(namespaceRows(other), namespaceRows(cluster.state));
        assert.deepEqual(other.view.ids(), cluster.state.view.ids());
      },
    ),
    { numRuns: 15 },
  );
});

test("a damaged backup, another file and another version are refused before anything is touched", async () => {
  const bytes = await smallBackup(usedReplica(20, folder), 9);
  const cluster = newCluster();
  const rot = bytes.slice();
  rot[bytes.length >> 1] = (rot[bytes.length >> 1] as number) ^ 1;
  const restorer = restorerOf(cluster);
  const attempt = (content: Uint8Array) => restorer.restore(new MemoryFile(content));
  await assert.rejects(attempt(rot), isStatus("DATA_LOSS", /does not match its checksum/));
  await assert.rejects(attempt(bytes.slice(0, -3)), isStatus("DATA_LOSS", /ends at byte/));
  await assert.rejects(attempt(Uint8Array.of(1, 2, 3)), isStatus("DATA_LOSS", /ends at byte 3/));
  await assert.rejects(attempt(new Uint8Array(50)), isStatus("INVALID_ARGUMENT", /no backup/));
  const newer = bytes.slice();
  newer[8] = 2;
  await assert.rejects(attempt(newer), isStatus("FAILED_PRECONDITION", /of version 2/));
  assert.deepEqual(cluster.journal.log, []);
  await attempt(bytes);
});

test("a backup of another build is called that, whatever its rows look like to this one", async () => {
  const file = new MemoryFile();
  const writer = new BackupWriter(file);
  await writer.begin({
    ...{ madeAtMs: 1, host: "m1", clusterId: "c", index: 9, term: 1, nextContainerId: 5 },
    schemaVersion: STORE_SCHEMA_VERSION + 1,
  });
  await writer.writeBlock([{ key: Uint8Array.of(99, 1), value: Uint8Array.of(1) }]);
  await writer.end();
  const refused = isStatus("FAILED_PRECONDITION", /rows of the backup are of version/);
  await assert.rejects(restorerOf(newCluster()).restore(file), refused);
});

test("between the first and the last entry of a restore every other command is refused, also in one batch with them", () => {
  const replica = new Replica();
  const digest = Uint8Array.of(1, 2, 3);
  const begin = { kind: "restoreBegin", digest, rowCount: 1, entryCount: 1 } as const;
  const refusal = (command: Command) => {
    const result = replica.run(command);
    return result.isOk ? null : result.status;
  };
  assert.equal(refusal({ kind: "restoreRows", firstRow: 0, rows: [] }), "FAILED_PRECONDITION");
  assert.equal(refusal({ kind: "restoreEnd", nextContainerId: 9 }), "FAILED_PRECONDITION");
  assert.equal(refusal(begin), null);
  const rows = replica.dump();
  const others: readonly Command[] = [
    INITIALIZE,
    { ...CREATE_FILE, kind: "createFile", path: at("/f") },
    { kind: "reclaim", inodesMax: 1 },
    { kind: "intentsDone", outcomes: [] },
  ];
  for (const other of others) assert.equal(refusal(other), "UNAVAILABLE", other.kind);
  assert.equal(refusal({ ...begin, digest: Uint8Array.of(9) }), "FAILED_PRECONDITION");
  assert.equal(refusal({ kind: "restoreEnd", nextContainerId: 9 }), "FAILED_PRECONDITION");
  const row = { key: Uint8Array.of(TABLE.state), value: Uint8Array.of(1) };
  assert.equal(refusal({ kind: "restoreRows", firstRow: 1, rows: [] }), "FAILED_PRECONDITION");
  assert.equal(refusal({ kind: "restoreRows", firstRow: 0, rows: [row] }), "INVALID_ARGUMENT");
  assert.equal(refusal(begin), null, "it goes on");
  assert.deepEqual(withoutState(replica.dump()), withoutState(rows));
  const other = new Replica();
  other.state.stateMachine.apply(replica.log, through(replica.log.length));
  assert.deepEqual(other.dump(), replica.dump());
});

test("a cluster that has, or had, files takes no backup", async () => {
  const file = new MemoryFile(await smallBackup(usedReplica(20, folder), 9));
  const cluster = newCluster({ awaitsRestore: false });
  await cluster.fileSystem.createFile(call, at("/f"), CREATE_FILE);
  const rows = namespaceRows(cluster.state);
  const refused = isStatus(
    "FAILED_PRECONDITION",
    /only be restored into a cluster without any files/,
  );
  await assert.rejects(restorerOf(cluster).restore(file), refused);
  assert.deepEqual(namespaceRows(cluster.state), rows);
  await cluster.fileSystem.remove(call, at("/f"), { isRecursive: false, isAlluxioOnly: true });
  await assert.rejects(restorerOf(cluster).restore(file), refused);
  assert.equal(cluster.state.view.restoring(), null);
});

for (const weather of ["lostBefore", "lostAfterApply"] as const)
  test(`a restore that is interrupted at its n-th entry (${weather}) is told, and the next leader goes on with it`, async () => {
    const before = usedReplica(25, folder);
    const bytes = await smallBackup(before, 16);
    for (let n = 0; ; n++) {
      const first = newCluster();
      first.journal.proposalsUntilLater = n;
      first.journal.weatherLater = weather;
      const outcome = await restorerOf(first)
        .restore(new MemoryFile(bytes))
        .catch((error: unknown) => error);
      const next = first.takeOver();
      const restorer = restorerOf(next);
      const progress = next.state.view.restoring();
      if (progress !== null) {
        assert.equal(next.events[0]?.kind, "restoreInterrupted");
        assert.match(restorer.progressText() ?? "", /^\d+ of \d+ rows of backup [0-9a-f]{16}$/);
        assert.equal(next.blockNamespace.isReady(), false);
        assert.deepEqual(next.persistQueue.pending(10, null), []);
        await assert.rejects(
          next.fileSystem.createFile(call, at("/x"), CREATE_FILE),
          isStatus("UNAVAILABLE", /is being restored: it has \d+ of \d+ rows/),
        );
        await assert.rejects(
          restorer.restore(new MemoryFile(await smallBackup(usedReplica(9, folder), 10))),
          isStatus("FAILED_PRECONDITION", /Another restore was interrupted/),
        );
        await assert.rejects(
          backupOf(next.state, new MemoryFile()),
          isStatus("UNAVAILABLE", /restored/),
        );
      }
      if (!next.state.view.isInitialized() || progress !== null) {
        let rows: string[] = [];
        const last = restorerOf(next, () => {
          rows = namespaceRows(next.state);
        });
        await last.restore(new MemoryFile(bytes));
        assert.ok(rows.join() === namespaceRows(before.state).join(), `entry ${n}`);
      }
      await next.fileSystem.createFile(call, at("/x"), CREATE_FILE);
      if (!(outcome instanceof Error)) break;
      assert.ok(isRockpoolError(outcome, "UNAVAILABLE"));
    }
  });

test("rows that a cluster without files may have beside its root do not get mixed with the backup's", async () => {
  const before = usedReplica(20, folder);
  const bytes = await smallBackup(before, 9);
  const { inode, state: counters, position, restore, ids, ...others } = TABLE;
  for (const [name, table] of Object.entries(others)) {
    const cluster = newCluster({ awaitsRestore: false });
    await until(() => cluster.state.view.isInitialized());
    const key = idKey(table, 77n);
    // Mounts are read meanwhile, and an intent is a sign of life: with one, no restore begins.
    if (table === TABLE.intent || table === TABLE.mount) continue;
    cluster.state.store.transact((t) => t.put(key, new Uint8Array(8)));
    let rows: string[] = [];
    await restorerOf(cluster, () => {
      rows = namespaceRows(cluster.state);
    })
      .restore(new MemoryFile(bytes))
      .catch((error: unknown) => {
        throw new Error(`A row of table ${name} was left`, { cause: error });
      });
    assert.deepEqual(rows, namespaceRows(before.state), name);
  }
});
