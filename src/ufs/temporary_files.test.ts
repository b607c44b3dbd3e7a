import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { LocalUnderFileSystem } from "./local_ufs.ts";
import { TemporaryFiles } from "./temporary_files.ts";

const OPTIONS = { owner: "", group: "", mode: 0o600 };
const folder = mkdtempSync(join(tmpdir(), "rockpool-temporary-"));
after(() => rmSync(folder, { recursive: true, force: true }));
let made = 0;

function places() {
  const place = join(folder, String(made++));
  mkdirSync(place);
  return { root: join(place, "ufs"), notes: join(place, "unfinished") };
}

async function openNotes(path: string): Promise<TemporaryFiles> {
  const files = new TemporaryFiles(path);
  assert.equal(await files.open(), true);
  return files;
}

/** As after kill -9: a lock that names a process which is gone. */
function loseLock(notes: string): void {
  const [, start] = readFileSync(join(notes, "lock"), "utf8").split(" ");
  writeFileSync(join(notes, "lock"), `${process.pid} ${Number(start) - 1}`);
}

test("what a killed process left unfinished is removed by the next one, and nothing else", async () => {
  const { root, notes } = places();
  const before = await openNotes(notes);
  const killed = new LocalUnderFileSystem(root, { notes: before });
  const long = `${root}/${"x".repeat(250)}`;
  for (const path of [`${root}/a/b`, `${root}/c`, long])
    await (await killed.create(path, OPTIONS)).write(Buffer.from("half"));
  const done = await killed.create(`${root}/whole`, OPTIONS);
  await done.commit();
  await (await killed.create(`${root}/given-up`, OPTIONS)).abort();
  // Of another worker, at work on the same store.
  const other = new LocalUnderFileSystem(root);
  const live = await other.create(`${root}/live`, OPTIONS);
  assert.equal(readdirSync(notes).length, 4);
  loseLock(notes);

  const after = await openNotes(notes);
  const store = new LocalUnderFileSystem(root, { notes: after });
  const own = await store.create(`${root}/own`, OPTIONS);
  const { removed, failures } = await after.removeLeftovers();
  assert.equal(removed.length, 3);
  assert.deepEqual(failures, []);
  await own.commit();
  await live.commit();
  assert.deepEqual(readdirSync(root).sort(), ["a", "live", "own", "whole"]);
  assert.deepEqual(readdirSync(join(root, "a")), []);
  assert.deepEqual(readdirSync(notes), ["lock"]);
  after.close();
  assert.deepEqual(readdirSync(notes), []);
});

test("while a live process has the folder, nothing of it is touched and nothing is noted", async () => {
  const { root, notes } = places();
  const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
  try {
    await once(child, "spawn");
    const stat = readFileSync(`/proc/${child.pid}/stat`, "utf8");
    const start = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
    mkdirSync(notes);
    mkdirSync(root);
    writeFileSync(join(notes, "lock"), `${child.pid} ${start}`);
    const file = join(root, ".rockpool.tmp.0123456789ab.f");
    writeFileSync(file, "live");
    symlinkSync(file, join(notes, "0123456789ab"));
    const files = new TemporaryFiles(notes);
    assert.equal(await files.open(), false);
    assert.deepEqual(await files.removeLeftovers(), { removed: [], failures: [] });
    const writer = await new LocalUnderFileSystem(root, { notes: files }).create(
      `${root}/new`,
      OPTIONS,
    );
    assert.equal(readdirSync(notes).length, 2);
    await writer.commit();
    files.close();
    assert.ok(existsSync(file) && existsSync(join(notes, "lock")));
  } finally {
    child.kill("SIGKILL");
    await once(child, "exit");
  }
});

test("a note that does not fit the file's name removes nothing", async () => {
  const { root, notes } = places();
  mkdirSync(root);
  mkdirSync(notes);
  const precious = join(root, "thesis.tex");
  const foreign = join(root, ".rockpool.tmp.aaaaaaaaaaaa.f");
  for (const path of [precious, foreign]) writeFileSync(path, "x");
  symlinkSync(precious, join(notes, "0123456789ab"));
  symlinkSync(foreign, join(notes, "bbbbbbbbbbbb"));
  symlinkSync(join(root, ".rockpool.tmp.cccccccccccc.gone"), join(notes, "cccccccccccc"));
  writeFileSync(join(notes, "dddddddddddd"), precious);
  writeFileSync(join(notes, "README"), "by a person");
  const files = await openNotes(notes);
  assert.deepEqual(await files.removeLeftovers(), { removed: [], failures: [] });
  assert.ok(existsSync(precious) && existsSync(foreign));
  assert.deepEqual(readdirSync(notes).sort(), ["README", "lock"]);
  files.close();
});

test("what cannot be removed is told, and tried again by the next process", async () => {
  const { root, notes } = places();
  const path = join(root, ".rockpool.tmp.0123456789ab.f");
  mkdirSync(join(path, "in-the-way"), { recursive: true });
  mkdirSync(notes);
  symlinkSync(path, join(notes, "0123456789ab"));
  const files = await openNotes(notes);
  assert.equal((await files.removeLeftovers()).failures.length, 1);
  files.close();
  rmSync(path, { recursive: true });
  writeFileSync(path, "half");
  const next = await openNotes(notes);
  assert.deepEqual((await next.removeLeftovers()).removed, [path]);
  next.close();
});
