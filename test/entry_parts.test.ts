/**
 * What joins the parts: formatting, under stores by mount, who may act for whom.
 */
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { isRockpoolError } from "../src/common/errors.ts";
import { LiveConfiguration } from "../src/conf/live.ts";
import { loadConfiguration } from "../src/conf/load.ts";
import { impersonationRules } from "../src/daemon.ts";
import { formatMaster, formatWorker, isLocalHost } from "../src/format.ts";
import { MasterBackups, openBackup } from "../src/master_backups.ts";
import { UnderStores } from "../src/under_stores.ts";

let home = "";
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "entry-"));
});
afterEach(() => rmSync(home, { recursive: true }));

function configure(definitions: readonly string[] = []) {
  return loadConfiguration({ kind: "master", definitions, variables: {}, home }).configuration;
}
function file(path: string): string {
  const full = join(home, path);
  mkdirSync(join(full, ".."), { recursive: true });
  writeFileSync(full, path);
  return full;
}

test("formatMaster() makes journal and metadata empty, and leaves the under store alone", async () => {
  const kept = [file("underFSStorage/a/b"), file("metastore/notes.txt"), file("logs/master.log")];
  const names = ["store.mdb", "store.mdb-lock", "store.suspect.mdb", "store.version-2.mdb"];
  const stores = [...names, "opened.json", "opened.trial"].map((name) => file(`metastore/${name}`));
  await formatMaster(configure(), 1);
  assert.deepEqual(
    readdirSync(join(home, "journal")).filter((name) => name.startsWith("_format_")),
    ["_format_1"],
  );
  for (const path of stores) assert.equal(existsSync(path), false, path);
  await formatMaster(configure(), 2);
  assert.ok(existsSync(join(home, "journal", "_format_2")));
  assert.equal(existsSync(join(home, "journal", "_format_1")), false);
  for (const path of kept) assert.ok(existsSync(path), path);
});

test("formatMaster() refuses a folder that holds something else", async () => {
  const precious = file("journal/thesis.tex");
  await assert.rejects(formatMaster(configure(), 1), /thesis\.tex/);
  assert.equal(readFileSync(precious, "utf8"), "journal/thesis.tex");
});

test("formatWorker() empties the data folders of all tiers and nothing beside them", () => {
  const blocks = [file("mem/alluxioworker/1"), file("mem/alluxioworker/x/2")];
  const beside = file("mem/other/3");
  const configuration = configure([
    `alluxio.worker.tieredstore.level0.dirs.path=${home}/mem,${home}/none`,
  ]);
  assert.equal(formatWorker(configuration).length, 2);
  for (const path of blocks) assert.equal(existsSync(path), false);
  assert.ok(existsSync(beside));
});

test("formatWorker() refuses folders of a worker that runs, and what is not inside a tier", () => {
  const block = file("mem/alluxioworker/1");
  const own = readFileSync(`/proc/${process.pid}/stat`, "utf8").split(") ")[1]?.split(" ")[19];
  const lock = file("mem/alluxioworker/unfinished/lock");
  writeFileSync(lock, `${process.pid} ${own}`);
  const path = `alluxio.worker.tieredstore.level0.dirs.path=${home}/mem`;
  assert.throws(() => formatWorker(configure([path])), /is open in process \d+/);
  writeFileSync(lock, `${process.pid} 1`); // of a process that is gone
  for (const folder of ["/", "../", "x/../..", "."])
    assert.throws(
      () => formatWorker(configure([path, `alluxio.worker.data.folder=${folder}`])),
      /is no folder inside of/,
    );
  assert.ok(existsSync(block));
  formatWorker(configure([path]));
  assert.deepEqual(readdirSync(join(home, "mem/alluxioworker")), []);
});

test("isLocalHost() knows this machine by name and address", () => {
  assert.equal(isLocalHost("localhost"), true);
  assert.equal(isLocalHost("127.0.0.1"), true);
  assert.equal(isLocalHost("192.0.2.1"), false);
  assert.equal(isLocalHost("some.other.host"), false);
});

test("UnderStores finds the innermost mounted root, one store each, and refuses the rest", () => {
  const stores = new UnderStores();
  const find = stores.registry(() => ["/data", "file:///data/inner/"]);
  assert.equal(find("/data/x"), stores.at("/data"));
  assert.equal(find("file:///data/inner/x"), stores.at("/data/inner"));
  assert.equal(find("/data/innermost"), stores.at("/data"));
  assert.throws(() => find("/elsewhere"), /lies in no under store that is mounted/);
  assert.throws(
    () => stores.at("gs://bucket/x"),
    (error) => isRockpoolError(error, "INVALID_ARGUMENT") && /gs:\/\/bucket/.test(error.message),
  );
});

test("impersonationRules() reads users and groups by connection user, dots and all", () => {
  const prefix = "alluxio.master.security.impersonation";
  const rules = impersonationRules(
    configure([`${prefix}.hive.users=a, b`, `${prefix}.hive.groups=*`, `${prefix}.svc.x.users=*`]),
  );
  assert.deepEqual(Object.fromEntries(rules), {
    hive: { users: ["a", "b"], groups: ["*"] },
    "svc.x": { users: ["*"], groups: [] },
  });
});

/** Backups of a master without rows, on a day that the test makes pass. */
function backupsOf(definitions: readonly string[]) {
  let nowMs = Date.UTC(2026, 10, 21, 4, 0);
  const timers: { readonly atMs: number; readonly callback: () => void }[] = [];
  const logged: string[] = [];
  const configuration = configure([
    `alluxio.master.mount.table.root.ufs=${home}/under`,
    "alluxio.master.hostname=m1",
    ...definitions,
  ]);
  const backups = new MasterBackups({
    context: {
      configuration,
      live: new LiveConfiguration(configuration),
      world: {
        clock: { monotonicMs: () => nowMs, wallMs: () => nowMs },
        random: { uint32: () => 0 },
        timers: {
          after(delayMs, callback) {
            timers.push({ atMs: nowMs + delayMs, callback });
            return { cancel: () => void timers.splice(0) };
          },
          soon: () => {},
        },
      },
      telemetry: {
        logger: { log: (_level, _part, event) => void logged.push(event), flush: () => {} },
      },
    },
    stores: new UnderStores(),
    backuper: {
      async backup(sink, onProgress) {
        await sink.write(Uint8Array.of(1, 2, 3));
        onProgress?.(1);
        const position = { index: 1, term: 1, membership: null };
        return { entryCount: 1, rowCount: 2, digest: Uint8Array.of(9), position };
      },
    },
    isServing: () => true,
  });
  return {
    backups,
    logged,
    /** Until the next timer fires, and what it began is over. */
    async nextTimer() {
      const due = timers.shift();
      if (due === undefined) return null;
      nowMs = due.atMs;
      const before = logged.length;
      due.callback();
      while (logged.length === before) await new Promise((fulfil) => setTimeout(fulfil, 1));
      return new Date(nowMs).toISOString();
    },
  };
}

test("MasterBackups writes below the root's under store or onto the own disk, and takes no other place", async () => {
  const { backups } = backupsOf([]);
  const over = async (directory: string | null, isLocal: boolean) =>
    backups.jobs.over(backups.jobs.begin({ directory, isLocal }).id);
  const inStore = await over(null, false);
  assert.equal(inStore.state, "completed");
  const uri = inStore.state === "completed" ? inStore.uri : "";
  const name = `alluxio-backup-2026-11-21-${Date.UTC(2026, 10, 21, 4, 0)}.rockpool`;
  assert.equal(uri, `${home}/under/alluxio_backups/${name}`);
  assert.deepEqual([...readFileSync(uri)], [1, 2, 3]);
  const reader = await openBackup(new UnderStores(), `file://${uri}`);
  assert.equal(await reader.read(new Uint8Array(8), 0), 3);
  await reader.close();
  await over(`${home}/own`, true);
  assert.deepEqual(readdirSync(join(home, "own")), [name]);
  for (const directory of ["relative", "/a/../../b"]) {
    const refused = await over(directory, false);
    assert.ok(refused.state === "failed" && refused.error.status === "INVALID_ARGUMENT");
  }
});

test("MasterBackups makes one a day at the configured time, and keeps as many as configured", async () => {
  const { backups, nextTimer, logged } = backupsOf([
    "alluxio.master.daily.backup.enabled=true",
    "alluxio.master.daily.backup.time=05:30",
    "alluxio.master.daily.backup.files.retained=2",
  ]);
  const foreign = file("under/alluxio_backups/notes.txt");
  backups.startDaily();
  const kept = () =>
    readdirSync(join(home, "under/alluxio_backups")).filter((name) => name.endsWith(".rockpool"));
  assert.equal(await nextTimer(), "2026-11-21T05:30:00.000Z");
  assert.equal(await nextTimer(), "2026-11-22T05:30:00.000Z");
  assert.equal(await nextTimer(), "2026-11-23T05:30:00.000Z");
  while (!logged.includes("oldBackupRemoved")) await new Promise((fulfil) => setTimeout(fulfil, 1));
  while (kept().length > 2) await new Promise((fulfil) => setTimeout(fulfil, 1));
  assert.deepEqual(
    kept().map((name) => /-(\d+-\d+-\d+)-/.exec(name)?.[1]),
    ["2026-11-22", "2026-11-23"],
  );
  assert.ok(existsSync(foreign));
  backups.close();
});
