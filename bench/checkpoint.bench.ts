/**
 * The state of a master with a million files: what writes feel while an image of it is made, how long a start takes, how long
 * a rebuild from an image and the log behind it, how fast entries are applied, and what a backup and a restore take.
 *
 * A write here is what a group commit is: a batch goes to a preallocated file, fdatasync, apply. `--files=N` for other sizes.
 * @module
 */
import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileIdOf, type InodeId, ROOT_INODE_ID } from "../src/common/ids.ts";
import { type Path, parsePath } from "../src/common/path.ts";
import type { JournalSystem } from "../src/journal/journal_system.ts";
import type { KeyValueStore } from "../src/kv/kv.ts";
import { openLmdb } from "../src/kv/lmdb_kv.ts";
import type { ApplyResult } from "../src/master/apply.ts";
import { Backuper } from "../src/master/backuper.ts";
import {
  type DirectoryInode,
  dentryKey,
  dentryValue,
  type FileInode,
  IDS_KEY,
  idKey,
  idsRow,
  inodeRow,
  STORE_SCHEMA_VERSION,
  TABLE,
} from "../src/master/inode.ts";
import { Restorer } from "../src/master/restorer.ts";
import { createMasterState, type MasterState } from "../src/master/state_machine.ts";
import { nodeWorld } from "../src/world/node_world.ts";
import { createFile, INITIALIZE, Log } from "./commands.ts";
import { type BenchResult, type BenchTarget, numberFlag, percentile, report } from "./harness.ts";

const FILES = numberFlag("files", 1_000_000);
const FILES_PER_DIRECTORY = 1000;
/** Entries between two checkpoints, so at most about as many are behind one. */
const LOG_ENTRIES = 200_000;
const APPLY_BATCH = 256;
const WRITE_BATCH = 8;
const WRITES_MS = 4000;
const WAL_BYTES = 64 * 1024 * 1024;

const folder = mkdtempSync(join(process.env["BENCH_FOLDER"] ?? tmpdir(), "rockpool-checkpoint-"));
const schemaVersion = STORE_SCHEMA_VERSION;
const results: BenchResult[] = [];
const targets: BenchTarget[] = [];

function note(name: string, tookMs: number, bytes = 0): void {
  const ns = tookMs * 1e6;
  const speed = bytes === 0 ? null : Number((bytes / ns).toPrecision(4));
  const one = { bestNsPerCall: ns, medianNsPerCall: ns, bestGBps: speed, medianGBps: speed };
  results.push({ name, ...one });
  console.log(`  ${name.padEnd(60)} ${tookMs.toFixed(1).padStart(10)} ms`);
}

function stateOn(store: KeyValueStore): MasterState {
  return createMasterState({ store, onBlocksRemoved: () => {} });
}

const BASE = {
  createdMs: 1_700_000_000_000,
  modifiedMs: 1_700_000_000_000,
  accessedMs: 1_700_000_000_000,
  owner: "alice",
  group: "users",
  isPinned: false,
  ttlMs: -1,
  ttlAction: "FREE",
  ufsFingerprint: "",
  replicationMin: 0,
  replicationMax: -1,
  xattr: {},
} as const;

/** The rows of a tree of complete files, as commands would leave them, only faster. */
function fill(state: MasterState): void {
  const { store, view } = state;
  const log = new Log(state);
  log.run([INITIALIZE]);
  const directories = Math.ceil(FILES / FILES_PER_DIRECTORY);
  for (let d = 0; d < directories; d++)
    store.transact((t) => {
      const id = BigInt(d + 1) as InodeId;
      const name = `d${d}`;
      const directory: DirectoryInode = {
        ...{ ...BASE, kind: "directory", id, parentId: ROOT_INODE_ID, name, mode: 0o755 },
        ...{ persistence: "NOT_PERSISTED", isInUfs: false },
        ...{ childCount: FILES_PER_DIRECTORY, isListed: true, childVersion: FILES_PER_DIRECTORY },
      };
      t.put(idKey(TABLE.inode, id), inodeRow.encode(directory));
      t.put(dentryKey(ROOT_INODE_ID, name), dentryValue(id));
      for (let f = 0; f < FILES_PER_DIRECTORY; f++) {
        const number = d * FILES_PER_DIRECTORY + f;
        const file: FileInode = {
          ...{
            ...BASE,
            kind: "file",
            id: fileIdOf(BigInt(directories + number + 1)),
            parentId: id,
          },
          ...{
            name: `part-${number}.parquet`,
            mode: 0o644,
            persistence: "PERSISTED",
            isInUfs: true,
          },
          ...{ isCompleted: true, lengthBytes: 100_000_000, blockSizeBytes: 67_108_864 },
          ...{ blockCount: 2, lostSequences: [], formerId: null },
        };
        t.put(idKey(TABLE.inode, file.id), inodeRow.encode(file));
        t.put(dentryKey(id, file.name), dentryValue(file.id));
      }
    });
  const root = view.inode(ROOT_INODE_ID) as DirectoryInode; // initialized above
  const ids = { nextContainerId: directories + FILES + 2, frozenBelow: 0 };
  store.transact((t) => {
    const filled = { ...root, childCount: directories, childVersion: directories };
    t.put(idKey(TABLE.inode, ROOT_INODE_ID), inodeRow.encode(filled));
    t.put(IDS_KEY, idsRow.encode(ids));
  });
}

/** Writes one batch after the other for some time. @returns the time that each took, in ms */
async function writeFor(log: Log, wal: number, timeMs: number, tag: string): Promise<number[]> {
  const took: number[] = [];
  const endMs = performance.now() + timeMs;
  let at = 0;
  while (performance.now() < endMs) {
    const paths = Array.from({ length: WRITE_BATCH }, (_, i) =>
      parsePath(`/${tag}/${Math.floor(took.length / 100)}/f${took.length * WRITE_BATCH + i}`),
    );
    const startMs = performance.now();
    const entries = log.entries(paths.map(createFile));
    for (const { payload } of entries) {
      writeSync(wal, payload, 0, payload.length, at);
      at = (at + payload.length) % (WAL_BYTES - 65_536);
    }
    await new Promise<void>((resolve, reject) =>
      fdatasync(wal, (error) => (error === null ? resolve() : reject(error))),
    );
    log.apply(entries);
    took.push(performance.now() - startMs);
  }
  return took;
}

function openWal(): number {
  const wal = openSync(join(folder, "wal"), "w+");
  const zeros = new Uint8Array(1024 * 1024);
  for (let at = 0; at < WAL_BYTES; at += zeros.length) writeSync(wal, zeros, 0, zeros.length, at);
  fdatasyncSync(wal);
  return wal;
}

async function benchWrites(state: MasterState): Promise<string> {
  const log = new Log(state);
  const wal = openWal();
  const image = join(folder, "image");
  await writeFor(log, wal, 1000, "warm");
  const without = await writeFor(log, wal, WRITES_MS, "without");
  let isOver = false;
  const imagesMs: number[] = [];
  const images = (async () => {
    while (!isOver) {
      rmSync(image, { force: true });
      const startMs = performance.now();
      await state.stateMachine.writeImage(image);
      imagesMs.push(performance.now() - startMs);
    }
  })();
  const during = await writeFor(log, wal, WRITES_MS, "during");
  isOver = true;
  await images;
  closeSync(wal);
  const p99 = (times: readonly number[]) => percentile(times, 0.99);
  note("image of the state", percentile(imagesMs, 0.5), statSync(image).size);
  for (const [name, times] of [
    ["without an image", without],
    ["while images are made", during],
  ] as const) {
    note(`write, median, ${name}`, percentile(times, 0.5));
    note(`write, p99, ${name}`, p99(times));
    note(`write, longest, ${name}`, Math.max(...times));
  }
  targets.push({
    text: "p99 of writes while images are made is at most twice that without (2 / ratio)",
    value: (2 * p99(without)) / p99(during),
    min: 1,
  });
  return image;
}

/** A master that starts: its store, its state, a look at a file. */
async function benchStart(at: string): Promise<void> {
  const startMs = performance.now();
  const { store, discardReason } = openLmdb(at, { schemaVersion });
  const state = stateOn(store);
  const last = FILES - 1;
  const path = `/d${Math.floor(last / FILES_PER_DIRECTORY)}/part-${last}.parquet`;
  const walk = state.view.walk(parsePath(path));
  const tookMs = performance.now() - startMs;
  if (discardReason !== null || walk.missing.length > 0) throw new Error("the state is not there");
  note("start with the state", tookMs);
  targets.push({ text: "a start takes at most 1 s (1 s / it)", value: 1000 / tookMs, min: 1 });
  await store.close();
}

/** LMDB is lost: an image, and the log behind it. */
async function benchRebuild(image: string): Promise<void> {
  const { store } = openLmdb(join(folder, "rebuilt"), { schemaVersion });
  const state = stateOn(store);
  const sizeBytes = statSync(image).size;
  const startMs = performance.now();
  await state.stateMachine.installImage(image, sizeBytes);
  const installMs = performance.now() - startMs;
  note("install the image", installMs, sizeBytes);
  const log = new Log(state);
  let applyMs = 0;
  for (let done = 0; done < LOG_ENTRIES; done += APPLY_BATCH) {
    const batch = Array.from({ length: APPLY_BATCH }, (_, i) =>
      createFile(`/log/${Math.floor(done / 1024)}/f${done + i}` as Path),
    );
    const entries = log.entries(batch);
    const beginMs = performance.now();
    log.apply(entries);
    applyMs += performance.now() - beginMs;
  }
  note(`apply ${LOG_ENTRIES} entries behind it`, applyMs);
  targets.push(
    { text: "entries applied a second", value: (LOG_ENTRIES * 1000) / applyMs, min: 15_000 },
    {
      text: "a rebuild takes at most 30 s (30 s / it)",
      value: 30_000 / (installMs + applyMs),
      min: 1,
    },
  );
  await store.close();
}

/** Notes how long the loop was held at most. */
class LoopWatch {
  longestMs = 0;
  #lastMs = performance.now();
  #isOver = false;

  constructor() {
    const look = () => {
      const nowMs = performance.now();
      this.longestMs = Math.max(this.longestMs, nowMs - this.#lastMs);
      this.#lastMs = nowMs;
      if (!this.#isOver) setImmediate(look);
    };
    setImmediate(look);
  }

  end(): number {
    this.#isOver = true;
    return this.longestMs;
  }
}

async function benchBackup(state: MasterState): Promise<string> {
  const path = join(folder, "backup");
  const file = await open(path, "w");
  let at = 0;
  const sink = {
    async write(bytes: Uint8Array) {
      at += (await file.write(bytes, 0, bytes.length, at)).bytesWritten;
    },
  };
  const parts = {
    state,
    journal: { readBarrier: async () => {} },
    world: nodeWorld(),
    host: "bench",
  };
  const watch = new LoopWatch();
  const startMs = performance.now();
  const { entryCount } = await new Backuper(parts).backup(sink);
  note(`backup of ${entryCount} files and directories`, performance.now() - startMs, at);
  note("the loop was held at most, during the backup", watch.end());
  await file.close();
  return path;
}

/** Commits by applying, a few entries at a time. */
function instantJournal(state: MasterState): JournalSystem<ApplyResult> {
  let waiting: { payload: Uint8Array; done: (result: ApplyResult) => void }[] = [];
  const apply = () => {
    const batch = waiting;
    waiting = [];
    let { index } = state.stateMachine.position();
    const entries = batch.map(({ payload }) => ({ index: ++index, term: 1, payload }));
    const found = state.stateMachine.apply(entries, { index, term: 1, membership: null });
    for (const [i, result] of found.entries()) batch[i]?.done(result);
  };
  const journal = {
    propose: (payload: Uint8Array) =>
      new Promise<ApplyResult>((done) => {
        if (waiting.push({ payload, done }) === 1) setImmediate(apply);
      }),
    readBarrier: async () => {},
    isServing: () => true,
  };
  return journal as unknown as JournalSystem<ApplyResult>; // what a restore asks of it
}

async function benchRestore(backup: string): Promise<void> {
  const { store } = openLmdb(join(folder, "restored"), { schemaVersion });
  const state = stateOn(store);
  const file = await open(backup, "r");
  const source = {
    read: async (into: Uint8Array, positionBytes: number) =>
      (await file.read(into, 0, into.length, positionBytes)).bytesRead,
  };
  const parts = { state, journal: instantJournal(state), world: nodeWorld(), onRestored: () => {} };
  const watch = new LoopWatch();
  const startMs = performance.now();
  await new Restorer(parts).restore(source);
  note("restore, with its two checks", performance.now() - startMs, statSync(backup).size);
  note("the loop was held at most, during the restore", watch.end());
  await file.close();
  await store.close();
}

try {
  const at = join(folder, "store");
  const { store } = openLmdb(at, { schemaVersion });
  const state = stateOn(store);
  const fillMs = performance.now();
  fill(state);
  note(`fill with ${FILES} files`, performance.now() - fillMs);
  const image = await benchWrites(state);
  const backup = await benchBackup(state);
  const closeMs = performance.now();
  await store.close();
  note("close", performance.now() - closeMs);
  await benchStart(at);
  await benchRebuild(image);
  await benchRestore(backup);
  report("checkpoint", [{ title: `A state of ${FILES} files`, results }], targets);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
