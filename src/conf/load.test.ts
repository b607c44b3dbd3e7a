import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { CommonKeys } from "./common_keys.ts";
import { applyEnvFile, environmentAssignments, javaOptions, shellWords } from "./environment.ts";
import { defaultHome, type LoadOptions, loadConfiguration } from "./load.ts";
import { MasterKeys } from "./master_keys.ts";
import { TIER_KEYS } from "./worker_keys.ts";

let home = "";
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "conf-"));
  mkdirSync(join(home, "conf"));
});
afterEach(() => rmSync(home, { recursive: true }));

const load = (options: Partial<LoadOptions> = {}) =>
  loadConfiguration({ kind: "master", definitions: [], variables: {}, home, ...options });
const write = (name: string, text: string) => writeFileSync(join(home, "conf", name), text);

test("loadConfiguration() works without any file, in the folder where it is started", () => {
  const { configuration, siteFile } = load();
  assert.equal(configuration.get(CommonKeys.confDir), join(home, "conf"));
  assert.equal(configuration.get(MasterKeys.journalFolder), join(home, "journal"));
  assert.equal(configuration.source("alluxio.home"), "DEFAULT");
  assert.equal(siteFile, null);
});

test("loadConfiguration() ranks -D over JAVA_OPTS over variables over the site file", () => {
  write(
    "alluxio-site.properties",
    "alluxio.master.rpc.port=1\nalluxio.master.web.port=1\n" +
      "alluxio.master.hostname=one\nalluxio.debug=true",
  );
  const { configuration } = load({
    definitions: ["alluxio.master.rpc.port=4"],
    variables: {
      ALLUXIO_JAVA_OPTS: "-Xmx1g -Dalluxio.master.rpc.port=3 -Dalluxio.master.web.port=3",
      ALLUXIO_MASTER_JAVA_OPTS: '"-Dalluxio.master.web.port=33"',
      ALLUXIO_MASTER_RPC_PORT: "2",
      ALLUXIO_MASTER_HOSTNAME: "two",
    },
  });
  assert.equal(configuration.get(MasterKeys.rpcPort), 4);
  assert.equal(configuration.get(MasterKeys.webPort), 33);
  assert.equal(configuration.get(MasterKeys.hostname), "two");
  assert.equal(configuration.source("alluxio.master.hostname"), "ENVIRONMENT");
  assert.equal(configuration.get(CommonKeys.debug), true);
});

test("loadConfiguration() names file and line of a bad value", () => {
  write("alluxio-site.properties", "\n\nalluxio.master.rpc.port=many");
  assert.throws(() => load(), /"many" of alluxio.master.rpc.port \(.*alluxio-site.properties:3\)/);
});

test("loadConfiguration() reads alluxio-env.sh as a shell would leave it", () => {
  write(
    "alluxio-env.sh",
    `ALLUXIO_MASTER_HOSTNAME=\${ALLUXIO_MASTER_HOSTNAME:-"m1"}\nexport ALLUXIO_RAM_FOLDER=/mnt/ram # disk\n` +
      'ALLUXIO_JAVA_OPTS+=" -Dalluxio.master.rpc.port=7"\nif true; then echo; fi',
  );
  const { configuration } = load({
    variables: { ALLUXIO_JAVA_OPTS: "-Dalluxio.master.web.port=8" },
  });
  assert.equal(configuration.get(MasterKeys.hostname), "m1");
  assert.equal(configuration.get(MasterKeys.rpcPort), 7);
  assert.equal(configuration.get(MasterKeys.webPort), 8);
  assert.deepEqual(configuration.get(TIER_KEYS[0]?.path ?? assert.fail()), ["/mnt/ram"]);
});

test("loadConfiguration() looks in more folders after the first", () => {
  mkdirSync(join(home, "other"));
  writeFileSync(join(home, "other", "alluxio-site.properties"), "alluxio.master.rpc.port=9");
  const found = load({ moreConfDirs: [join(home, "other")] });
  assert.equal(found.configuration.get(MasterKeys.rpcPort), 9);
  assert.equal(found.siteFile, join(home, "other", "alluxio-site.properties"));
  write("alluxio-site.properties", "");
  assert.equal(
    load({ moreConfDirs: [join(home, "other")] }).configuration.get(MasterKeys.rpcPort),
    19998,
  );
});

test("defaultHome() is the package's folder, but never one in node_modules", () => {
  assert.equal(defaultHome("/opt/rockpool", "/here"), "/opt/rockpool");
  assert.equal(defaultHome("/here/node_modules/rockpool", "/here"), "/here");
});

test("loadConfiguration() refuses a -D without a key", () => {
  assert.throws(() => load({ definitions: ["nonsense"] }), /-Dnonsense is not of the form/);
});

test("javaOptions() takes only the options of this kind of process", () => {
  const variables = { ALLUXIO_WORKER_JAVA_OPTS: "-Da=1", ALLUXIO_USER_JAVA_OPTS: "-Da=2" };
  assert.deepEqual(
    javaOptions(variables, "worker").map(({ value }) => value),
    ["1"],
  );
  assert.deepEqual(javaOptions(variables, "master"), []);
});

test("environmentAssignments() leaves variables alone that name no key", () => {
  assert.deepEqual(environmentAssignments({ ALLUXIO_NO_SUCH_THING: "1", PATH: "/bin" }), []);
});

test("shellWords() and applyEnvFile() take quotes off", () => {
  assert.deepEqual(shellWords(`-Da="x y" '-Db=z' c\\ d`), ["-Da=x y", "-Db=z", "c d"]);
  const { A, B, C } = applyEnvFile(`A='$X'\nB="$X/\${X}"\nexport C=$X;echo`, { X: "v" });
  assert.deepEqual([A, B, C], ["$X", "v/v", "v"]);
});
