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
import { loadConfiguration } from "../src/conf/load.ts";
import { impersonationRules } from "../src/daemon.ts";
import { formatMaster, formatWorker, isLocalHost } from "../src/format.ts";
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
  const store = file("metastore/store.mdb");
  await formatMaster(configure(), 1);
  assert.deepEqual(
    readdirSync(join(home, "journal")).filter((name) => name.startsWith("_format_")),
    ["_format_1"],
  );
  assert.equal(existsSync(store), false);
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
    () => stores.at("s3://bucket/x"),
    (error) => isRockpoolError(error, "INVALID_ARGUMENT") && /s3:\/\/bucket/.test(error.message),
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
