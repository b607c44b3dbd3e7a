import assert from "node:assert/strict";
import {
  closeSync,
  cpSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { CommittedEntry } from "../journal/journal_system.ts";
import type { KeyValueReader, KeyValueStore } from "../kv/kv.ts";
import { openLmdb } from "../kv/lmdb_kv.ts";
import { usedReplica } from "./backup_fixture.ts";
import { STORE_SCHEMA_VERSION } from "./inode.ts";
import { through } from "./state_fixture.ts";
import { createMasterState } from "./state_machine.ts";

const folder = mkdtempSync(join(tmpdir(), "rockpool-crash-"));
after(() => rmSync(folder, { recursive: true, force: true }));

function rowsOf(store: KeyValueReader): string[] {
  const rows = store.range({ start: Uint8Array.of(0), end: Uint8Array.of(255) });
  return [...rows].map(
    ({ key, value }) => `${Buffer.from(key).toString("hex")} ${Buffer.from(value).toString("hex")}`,
  );
}

/** Opens the image of a master's state, and lets the journal bring it up to date as a started master does. */
function start(
  at: string,
  bootIdPath: string,
  log: readonly CommittedEntry[],
  schemaVersion = STORE_SCHEMA_VERSION,
) {
  const { store, discardReason } = openLmdb(at, { bootIdPath, schemaVersion });
  const state = createMasterState({
    store,
    options: { dedupeEntriesMax: 5, inodeCacheEntriesMax: 3 },
    onBlocksRemoved: () => {},
  });
  const foundIndex = state.stateMachine.position().index;
  for (let from = foundIndex; from < log.length; from += 10) {
    const batch = log.slice(from, from + 10);
    state.stateMachine.apply(batch, through(from + batch.length));
  }
  return { store, state, wasDiscarded: discardReason !== null, foundIndex };
}

/** What a crash leaves on the disk: a copy of the folder of a store that is open. */
function crashed(at: string, name: string): string {
  const copy = join(folder, name);
  cpSync(at, copy, { recursive: true });
  // In truth the process that it names would be gone.
  rmSync(join(copy, "store.lock"));
  return copy;
}

/** Pages that never reached the disk. */
function tear(at: string): void {
  const path = join(at, "store.mdb");
  const sizeBytes = readFileSync(path).length;
  const file = openSync(path, "r+");
  for (let page = 2 * 4096; page < sizeBytes; page += 3 * 4096)
    writeSync(file, new Uint8Array(4096), 0, 4096, page);
  closeSync(file);
}

test("after a crash of the machine the image is thrown away and comes back from the journal, after one of the process it stays", async () => {
  const { log, ...expected } = usedReplica(60);
  const oracle = rowsOf(expected.store);
  const bootIdPath = join(folder, "boot_id");
  writeFileSync(bootIdPath, "one\n");
  const cut = Math.floor(log.length / 2);
  const at = join(folder, "image");
  const first = start(at, bootIdPath, log.slice(0, cut));
  assert.equal(first.foundIndex, 0);
  const afterProcess = crashed(at, "process");
  const afterMachine = crashed(at, "machine");
  tear(afterMachine);
  await first.store.close();

  const stores: KeyValueStore[] = [];
  const same = start(afterProcess, bootIdPath, log);
  stores.push(same.store);
  assert.equal(same.wasDiscarded, false);
  assert.equal(same.foundIndex, cut, "the applied index is of the rows that are there");
  assert.deepEqual(rowsOf(same.store), oracle);

  writeFileSync(bootIdPath, "two\n");
  const other = start(afterMachine, bootIdPath, log);
  stores.push(other.store);
  assert.equal(other.wasDiscarded, true);
  assert.equal(other.foundIndex, 0, "nothing vouches for rows of another boot");
  assert.deepEqual(rowsOf(other.store), oracle);

  // Once more, in the middle of the rebuilding: what counts is the boot of the last start.
  const again = start(crashed(afterMachine, "again"), bootIdPath, log);
  stores.push(again.store);
  assert.equal(again.wasDiscarded, false);
  assert.equal(again.foundIndex, log.length);

  // A clean end vouches for the image over a reboot.
  writeFileSync(bootIdPath, "three\n");
  const clean = start(at, bootIdPath, log);
  stores.push(clean.store);
  assert.equal(clean.wasDiscarded, false);
  assert.equal(clean.foundIndex, cut);
  assert.deepEqual(rowsOf(clean.store), oracle);
  for (const store of stores) await store.close();
});

test("an image whose rows another build wrote is thrown away and comes back from the journal", async () => {
  const { log, ...expected } = usedReplica(60);
  const bootIdPath = join(folder, "boot_id");
  const at = join(folder, "older");
  const older = start(at, bootIdPath, log.slice(0, 30), STORE_SCHEMA_VERSION - 1);
  // As if its rows lacked their last field.
  older.store.transact((t) => {
    const rows = [...older.store.range({ start: Uint8Array.of(1), end: Uint8Array.of(2) })];
    for (const { key, value } of rows) t.put(key, value.slice(0, -1));
  });
  await older.store.close();
  const newer = start(at, bootIdPath, log);
  assert.equal(newer.wasDiscarded, true);
  assert.equal(newer.foundIndex, 0);
  assert.deepEqual(rowsOf(newer.store), rowsOf(expected.store));
  await newer.store.close();
});
