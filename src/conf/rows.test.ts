/** What installation guides have people write, row by row: the names are those of docs/COMPATIBILITY.md. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { isRockpoolError } from "../common/errors.ts";
import { journalMembership, masterRpcAddresses } from "./cluster.ts";
import { CommonKeys } from "./common_keys.ts";
import type { Configuration } from "./configuration.ts";
import { formatHostPort } from "./key_spec.ts";
import { type LoadOptions, loadConfiguration } from "./load.ts";
import { MasterKeys } from "./master_keys.ts";
import { parseProperties } from "./properties_file.ts";
import { hasSharedJournal } from "./shared_journal.ts";
import { refusals } from "./standings.ts";
import { UserKeys } from "./user_keys.ts";
import { WorkerKeys } from "./worker_keys.ts";
import { ZooKeeperKeys } from "./zookeeper_keys.ts";

let home = "";
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "conf-rows-"));
  mkdirSync(join(home, "conf"));
});
afterEach(() => rmSync(home, { recursive: true }));

const JOURNAL = "alluxio.master.embedded.journal.addresses";
const load = (options: Partial<LoadOptions> = {}) =>
  loadConfiguration({ kind: "master", definitions: [], variables: {}, home, ...options });
const site = (...lines: readonly string[]) =>
  writeFileSync(join(home, "conf", "alluxio-site.properties"), lines.join("\n"));
const envFile = (...lines: readonly string[]) =>
  writeFileSync(join(home, "conf", "alluxio-env.sh"), lines.join("\n"));
const rpc = (configuration: Configuration) => masterRpcAddresses(configuration).map(formatHostPort);

test("S0-13 the ports are Alluxio's", () => {
  const { configuration } = load();
  const ports = [MasterKeys.rpcPort, MasterKeys.webPort, MasterKeys.journalPort];
  assert.deepEqual(
    [...ports, WorkerKeys.rpcPort, WorkerKeys.webPort].map((key) => configuration.get(key)),
    [19998, 19999, 19200, 29999, 30000],
  );
});

test("S0-14 one site file for masters and workers, with the comment behind a value that guides print", () => {
  site(
    "! masters",
    "alluxio.master.hostname=node1.a.com  # Only needed on master node",
    `${JOURNAL} : m1:19200,\\`,
    "    m2:19200,m3:19200",
    "alluxio.work.dir /var/lib/alluxio",
    `alluxio.master.journal.folder=\${alluxio.work.dir}/j`,
  );
  const { configuration, warnings } = load();
  assert.equal(configuration.get(MasterKeys.hostname), "node1.a.com");
  assert.equal(configuration.get(MasterKeys.journalFolder), "/var/lib/alluxio/j");
  assert.equal(configuration.get(MasterKeys.journalAddresses)?.length, 3);
  assert.equal(warnings.length, 1);
  assert.match(
    warnings[0] ?? "",
    /alluxio-site\.properties:2: "# Only needed on master node" is taken as a comment/,
  );
});

test("S0-14 the site file is searched where alluxio.site.conf.dir says", () => {
  const other = join(home, "elsewhere");
  mkdirSync(other);
  site("alluxio.master.hostname=here");
  writeFileSync(join(other, "alluxio-site.properties"), "alluxio.master.hostname=there");
  const path = `/no/such/folder, ${other},\${alluxio.conf.dir}`;
  const found = load({ definitions: [`alluxio.site.conf.dir=${path}`] });
  assert.equal(found.configuration.get(MasterKeys.hostname), "there");
  const variables = { ALLUXIO_SITE_CONF_DIR: `\${alluxio.conf.dir}/` };
  assert.equal(load({ variables }).configuration.get(MasterKeys.hostname), "here");
});

test("S0-15 the templates are there, and every line of them is one that is understood", () => {
  const names = readdirSync("conf");
  for (const name of ["alluxio-site.properties", "alluxio-env.sh", "core-site.xml"])
    assert.ok(names.includes(`${name}.template`), name);
  const template = readFileSync("conf/alluxio-site.properties.template", "utf8");
  const lines = template.split("\n").filter((line) => /^# [\w.<>-]+=/.test(line));
  assert.ok(lines.length > 10);
  site(...lines.map((line) => line.slice(2)));
  const { configuration, warnings } = load();
  assert.deepEqual([...warnings, ...configuration.warnings], []);
  assert.equal(parseProperties(template).properties.length, 0, "it changes nothing as it is");
});

test("S0-18 S0-20 S0-22 the journal's addresses are enough: masters, workers and clients find each other", () => {
  site(`${JOURNAL}= m1:19200, m2:19200 ,m3:19200`);
  for (const kind of ["master", "worker", "client"] as const)
    assert.deepEqual(rpc(load({ kind }).configuration), ["m1:19998", "m2:19998", "m3:19998"]);
  site(`${JOURNAL}=[fd00::1]:19200,10.0.0.2:19200`, "alluxio.master.rpc.port=20000");
  assert.deepEqual(rpc(load().configuration), ["[fd00::1]:20000", "10.0.0.2:20000"]);
  site(`${JOURNAL}=m1:19200`);
  assert.equal(journalMembership(load().configuration, () => true).members.length, 1);
});

test("S0-19 the own host name is one of the addresses on masters, and means nothing on workers", () => {
  site(`${JOURNAL}=m1:19200,m2:19200,m3:19200`, "alluxio.master.hostname=m2");
  const { configuration } = load();
  assert.deepEqual(journalMembership(configuration, () => false).self, { host: "m2", port: 19200 });
  site(`${JOURNAL}=m1:19200,m2:19200,m3:19200`, "alluxio.master.hostname=1.2.3.4");
  assert.throws(
    () => journalMembership(load().configuration, () => true),
    (error: unknown) =>
      isRockpoolError(error, "INVALID_ARGUMENT") &&
      /1\.2\.3\.4:19200 is none of .*m1:19200,m2:19200,m3:19200/.test(error.message) &&
      /alluxio\.master\.hostname/.test(error.remedy),
  );
  assert.equal(rpc(load({ kind: "worker" }).configuration)[0], "m1:19998");
});

test("S0-21 the embedded journal is the default, and needs no other word", () => {
  assert.equal(load().configuration.get(MasterKeys.journalType), "EMBEDDED");
  site("alluxio.master.journal.type=embedded");
  assert.equal(load().configuration.get(MasterKeys.journalType), "EMBEDDED");
});

test("S1-15 S1-20 S1-21 options and variables of alluxio-env.sh count, for every kind of process", () => {
  envFile(
    "#!/usr/bin/env bash",
    `ALLUXIO_MASTER_HOSTNAME=\${ALLUXIO_MASTER_HOSTNAME:-node1}`,
    'export ALLUXIO_JAVA_OPTS+=" -Dalluxio.master.rpc.addresses=m1:19998,m2:19998 -Xmx2g"',
    "export ALLUXIO_WORKER_RAMDISK_SIZE='4GB'",
    "export ALLUXIO_RAM_FOLDER=/mnt/fast # tier 0",
  );
  for (const kind of ["master", "worker", "client"] as const) {
    const { configuration } = load({ kind });
    assert.equal(configuration.get(MasterKeys.hostname), "node1");
    assert.deepEqual(rpc(configuration), ["m1:19998", "m2:19998"]);
    assert.equal(configuration.get(WorkerKeys.ramdiskSize), 4 * 1024 ** 3);
    assert.equal(configuration.text("alluxio.worker.tieredstore.level0.dirs.path"), "/mnt/fast");
  }
});

const ZK_LINES = [
  "alluxio.zookeeper.enabled=true",
  "alluxio.zookeeper.address=z1:2181,z2:2181,z3:2181",
];

/** Both keys stand, and nothing else is asked for: no process refuses, and nobody lists masters. */
function assertZooKeeper(configuration: Configuration, kind: "master" | "worker" | "client") {
  assert.equal(configuration.get(MasterKeys.zookeeperEnabled), true);
  assert.equal(configuration.get(ZooKeeperKeys.address), "z1:2181,z2:2181,z3:2181");
  assert.deepEqual(refusals(configuration, kind), []);
  assert.deepEqual(masterRpcAddresses(configuration), []);
  assert.deepEqual(configuration.warnings, []);
}

test("S1-17 S1-20 S1-22 S1-28 ZooKeeper by java options, or in the site file, for every kind of process", () => {
  for (const kind of ["master", "worker", "client"] as const) {
    envFile(`ALLUXIO_JAVA_OPTS="${ZK_LINES.map((line) => `-D${line}`).join(" ")}"`);
    site();
    assertZooKeeper(load({ kind }).configuration, kind);
    envFile();
    site(...ZK_LINES);
    assertZooKeeper(load({ kind }).configuration, kind);
  }
});

test("S1-18 ZooKeeper enabled without its address, or the reverse, refuses with both keys", () => {
  for (const [line, other] of [
    ["alluxio.zookeeper.enabled=true", "alluxio.zookeeper.address"],
    ["alluxio.usezookeeper=true", "alluxio.zookeeper.address"],
    ["alluxio.zookeeper.address=z:2181", "alluxio.zookeeper.enabled"],
  ] as const) {
    site(line);
    for (const kind of ["master", "worker", "client"] as const) {
      const found = refusals(load({ kind }).configuration, kind);
      assert.equal(found.length, 1, line);
      assert.match(found[0]?.message ?? "", /^alluxio\.zookeeper\.(enabled=true|address=z:2181) /);
      assert.match(found[0]?.message ?? "", /alluxio-site\.properties:1/);
      assert.ok(found[0]?.message.includes(`${other} is not`));
      assert.ok(found[0]?.remedy.includes(other));
    }
  }
});

test("S1-19 S1-21 one ZooKeeper server or several, with a node behind them if it is so", () => {
  for (const address of ["z:2181", "z1:2181, z2:2181", "z1,z2:2182", "[::1]:2181", "z:2181/mine"]) {
    site("alluxio.zookeeper.enabled=true", `alluxio.zookeeper.address=${address}`);
    assert.equal(load().configuration.get(ZooKeeperKeys.address), address);
  }
  for (const address of ["z:x", "http://z:2181", "z1:2181,,", "a b"]) {
    site("alluxio.zookeeper.enabled=true", `alluxio.zookeeper.address=${address}`);
    assert.throws(() => load(), /expected addresses separated by commas/, address);
  }
});

test("S1-24 with ZooKeeper the journal lies on a shared store, and the embedded one is refused", () => {
  site(...ZK_LINES, "alluxio.master.journal.folder=hdfs://nn:9000/alluxio/journal");
  const { configuration } = load();
  assert.ok(hasSharedJournal(configuration));
  assert.deepEqual(refusals(configuration, "master"), []);
  site(...ZK_LINES, "alluxio.master.journal.type=EMBEDDED");
  const [refusal] = refusals(load().configuration, "master");
  assert.match(
    refusal?.message ?? "",
    /alluxio\.master\.journal\.type=EMBEDDED .*zookeeper\.enabled=true/,
  );
  assert.deepEqual(refusals(load().configuration, "client"), []);
});

test("S1-23 S1-26 masters and workers need no list of masters", () => {
  site(...ZK_LINES, "alluxio.master.hostname=m2");
  const own = journalMembership(load().configuration, () => assert.fail()).self;
  assert.equal(own.host, "m2");
  site(...ZK_LINES);
  assert.deepEqual(masterRpcAddresses(load({ kind: "worker" }).configuration), []);
});

test("S1-17 S1-22 the same lines serve masters, workers and clients", () => {
  site("alluxio.master.rpc.addresses=m1:19998;m2:19998", "alluxio.security.login.username=ann");
  for (const kind of ["master", "worker", "client"] as const) {
    const { configuration } = load({ kind });
    assert.deepEqual(rpc(configuration), ["m1:19998", "m2:19998"]);
    assert.equal(configuration.get(CommonKeys.loginUsername), "ann");
  }
});

test("S1-23 the master's host name in its newer and its oldest spelling", () => {
  for (const [variables, lines] of [
    [{ ALLUXIO_MASTER_HOSTNAME: "node1" }, []],
    [{ ALLUXIO_MASTER_ADDRESS: "node1" }, []],
    [{}, ["alluxio.master.hostname=node1"]],
    [{}, ["alluxio.master.address=node1"]],
  ] as const) {
    site(...lines);
    assert.equal(load({ variables }).configuration.get(MasterKeys.hostname), "node1");
  }
});

test("S1-27 alluxio.worker.block.heartbeat.timeout.ms is milliseconds", () => {
  site("alluxio.worker.block.heartbeat.timeout.ms=120000");
  assert.equal(load({ kind: "worker" }).configuration.get(WorkerKeys.heartbeatTimeout), 120_000);
  site("alluxio.user.rpc.retry.base.sleep.ms=7");
  assert.equal(load({ kind: "client" }).configuration.get(UserKeys.rpcRetryBaseSleep), 7);
});
