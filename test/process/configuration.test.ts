/**
 * The configuration of real processes: where values come from, what changes at run time, what is compared between hosts,
 * and what refuses to start.
 * @module
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { appendFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { nodeConfDir } from "../../src/local/cluster_files.ts";
import { CliHome } from "./cli_home.ts";
import { type CommandResult, LocalCluster } from "./local_cluster.ts";

const WRITE_TYPE = "alluxio.user.file.writetype.default";
const TIMEOUT = "alluxio.master.worker.timeout";
const UMASK = "alluxio.security.authorization.permission.umask";

describe("configuration of a cluster", () => {
  let cluster: LocalCluster;
  const home = new CliHome();

  before(async () => {
    const definitions = [
      "alluxio.conf.dynamic.update.enabled=true",
      "alluxio.master.standby.heartbeat.interval=100ms",
      "alluxio.worker.block.heartbeat.interval=100ms",
    ];
    cluster = await LocalCluster.start({ masters: 3, workers: 2, definitions });
    // For those that are started again, too.
    for (const [kind, count] of [["master", 3] as const, ["worker", 2] as const])
      for (let number = 1; number <= count; number++)
        appendFileSync(siteFile(kind, number), `${definitions.join("\n")}\n`);
  });
  after(async () => {
    await cluster?.stop();
    home.remove();
  });

  function siteFile(kind: "master" | "worker", number: number): string {
    return join(nodeConfDir(cluster.dir, cluster.node(kind, number)), "alluxio-site.properties");
  }

  function ok({ exit, stdout, stderr }: CommandResult): string {
    assert.equal(exit, 0, `${stdout}${stderr}`);
    return stdout;
  }

  async function refused(words: readonly string[], expected: RegExp, exit = 255) {
    const result = await cluster.cli(...words);
    assert.equal(result.exit, exit, result.stdout);
    assert.match(result.stdout, expected);
  }

  async function restart(kind: "master" | "worker", number: number) {
    ok(await cluster.cli("local", "stop", kind, String(number), "--dir", cluster.dir));
    await cluster.startProcess(kind, number);
    await cluster.untilHealthy();
  }

  test("path defaults are set, shown, listed and taken away, and outlive their leader", async () => {
    const add = ["fsadmin", "pathConf", "add"];
    ok(await cluster.cli(...add, "--property", `${WRITE_TYPE}=THROUGH`, "/a/b"));
    const two = ["--property", "alluxio.user.file.readtype.default=NO_CACHE", "--property"];
    ok(await cluster.cli(...add, ...two, "alluxio.user.block.size.bytes.default=1MB", "/a"));
    assert.equal(ok(await cluster.cli("fsadmin", "pathConf", "list")), "/a\n/a/b\n");
    assert.equal(
      ok(await cluster.cli("fsadmin", "pathConf", "show", "/a")),
      "alluxio.user.block.size.bytes.default=1MB\nalluxio.user.file.readtype.default=NO_CACHE\n",
    );
    const all = ok(await cluster.cli("fsadmin", "pathConf", "show", "--all", "/a/b/c"));
    assert.equal(all.split("\n").length, 4);
    cluster.kill("master", await cluster.leader(), "SIGKILL");
    await cluster.leader();
    assert.equal(ok(await cluster.cli("fsadmin", "pathConf", "list")), "/a\n/a/b\n");
    for (const number of [1, 2, 3])
      if (!cluster.isRunning("master", number)) await cluster.startProcess("master", number);
    await cluster.untilHealthy();
    ok(await cluster.cli("fsadmin", "pathConf", "remove", "--keys", WRITE_TYPE, "/a/b"));
    ok(await cluster.cli("fsadmin", "pathConf", "remove", "-R", "/"));
    assert.equal(ok(await cluster.cli("fsadmin", "pathConf", "list")), "");
  });

  test("path defaults that cannot be are refused in one line", async () => {
    const add = ["fsadmin", "pathConf", "add", "--property"];
    await refused(
      [...add, "alluxio.user.file.writetypo.default=THROUGH", "/a"],
      /did you mean alluxio\.user\.file\.writetype\.default\?\s*$/,
    );
    await refused([...add, "alluxio.master.hostname=m", "/a"], /cannot be set for a path/);
    await refused(
      [...add, `${WRITE_TYPE}=QUICK`, "/a"],
      /"QUICK" is no value of .*: give one of MUST_CACHE/,
    );
    await refused([...add, "novalue", "/a"], /expecting argument in the format of "key=val"/);
    await refused(["fsadmin", "pathConf", "remove", "/nothing"], /has no properties of its own/);
    await refused(
      ["fsadmin", "pathConf", "change", "/a"],
      /pathConf takes add, show, list or remove/,
    );
    await refused([...add, `${WRITE_TYPE}=THROUGH`, "a"], /must be absolute/);
  });

  test("S0-17 updateConf changes all masters at once, and clients and the detection of lost workers with them", async () => {
    const file = join(home.dir, "bytes");
    writeFileSync(file, "bytes");
    assert.equal(
      ok(await cluster.cli("fsadmin", "updateConf", `${WRITE_TYPE}=MUST_CACHE`, `${TIMEOUT}=1s`)),
      "Updated 2 configs\n",
    );
    ok(await cluster.cli("fs", "copyFromLocal", file, "/updated"));
    assert.match(ok(await cluster.cli("fs", "ls", "/updated")), / NOT_PERSISTED /);
    cluster.kill("worker", 2, "SIGSTOP");
    await cluster.until("the silent worker is lost", async () =>
      /Lost Workers: 1/.test(ok(await cluster.cli("fsadmin", "report"))),
    );
    cluster.kill("worker", 2, "SIGCONT");
    for (const number of [1, 2, 3]) {
      const rpc = `localhost:${cluster.node("master", number).rpcPort}`;
      assert.match(cluster.log("master", number), /configurationUpdated/, rpc);
    }
    ok(await cluster.cli("fsadmin", "updateConf", "alluxio.debug=true"));
    assert.match(
      ok(await cluster.cli("conf", "log", "--name", "root", "--target", "master")),
      /^(AlluxioMaster.*level=DEBUG, .*\n){3}$/,
    );
    ok(await cluster.cli("fsadmin", "updateConf", "alluxio.debug=false"));
    await refused(
      [
        "fsadmin",
        "updateConf",
        "alluxio.master.hostname=m",
        `${TIMEOUT}=soon`,
        "alluxio.mater.x=1",
      ],
      /^Updated 3 configs\nFailed to Update alluxio\.master\.hostname: it is read at the start only.*\nFailed to Update alluxio\.master\.worker\.timeout: .*\nFailed to Update alluxio\.mater\.x: nobody knows/,
      254,
    );
    await refused(["fsadmin", "updateConf", "novalue"], /Failed to parse novalue/);
    ok(await cluster.cli("fsadmin", "updateConf", `${TIMEOUT}=5min`));
    await cluster.untilHealthy();
  });

  test("S0-66.5 conf get --master tells the leader's value and where it has it from", async () => {
    const get = (...words: string[]) => cluster.cli("conf", "get", "--master", ...words);
    assert.equal(ok(await get(TIMEOUT)), "5min\n");
    assert.equal(ok(await get("--source", TIMEOUT)), "RUNTIME\n");
    const leader = await cluster.leader();
    const source = ok(await get("--source", "alluxio.master.hostname"));
    assert.equal(source.replace(/:\d+\)\n$/, ""), `SITE_PROPERTY (${siteFile("master", leader)}`);
    assert.equal(ok(await get("alluxio.master.ttl.checker.interval")), "1hour\n");
    assert.equal((await get("alluxio.nope")).exit, 1);
    assert.match(
      ok(await get()),
      /\nalluxio\.master\.hostname=localhost \(SITE_PROPERTY \(.*:\d+\)\)\n/,
    );
  });

  test("S0-65 S0-66.1 the doctor finds the master whose file differs, and prints the edit; after it all is well", async () => {
    const well =
      /^No server-side configuration errors or warnings\.\nAll worker storage paths are in working state\.\n$/;
    const doctor = () => cluster.cli("fsadmin", "doctor");
    await cluster.until("all have reported", async () => well.test(ok(await doctor())));
    const before = readFileSync(siteFile("master", 2), "utf8");
    const line = before.trimEnd().split("\n").length + 1;
    appendFileSync(siteFile("master", 2), `${UMASK}=077\n${TIMEOUT}=7min\n`);
    await restart("master", 2);
    const rpc = `localhost:${cluster.node("master", 2).rpcPort}`;
    let said = "";
    await cluster.until("the doctor sees it", async () => {
      said = ok(await cluster.cli("info", "doctor", "configuration"));
      return said.includes(`value: 077 (${rpc})`) && said.includes("warnings");
    });
    assert.match(
      said,
      /^Server-side configuration errors \(those properties are required to be identical\): \nkey: /,
    );
    assert.ok(
      said.includes(
        `edit: on ${rpc}, in ${siteFile("master", 2)}, line ${line}: change ${UMASK}=077 to ${UMASK}=022`,
      ),
      said,
    );
    assert.match(
      said,
      /Server-side configuration warnings .*\nkey: alluxio\.master\.worker\.timeout\n/,
    );
    writeFileSync(siteFile("master", 2), before);
    await restart("master", 2);
    // What was changed at run time is forgotten at a restart, and the doctor sees that too.
    const again = [`${TIMEOUT}=5min`, `${WRITE_TYPE}=ASYNC_THROUGH`];
    ok(await cluster.cli("fsadmin", "updateConf", ...again));
    await cluster.until("all is well again", async () => well.test(ok(await doctor())));
    await refused(
      ["fsadmin", "doctor", "teeth"],
      /doctor knows configuration and storage, not "teeth"/,
    );
  });

  test("S0-67 a worker's capacity changes with its own file and a restart, and no master's", async () => {
    const path = siteFile("worker", 1);
    const pids = [1, 2, 3].map((number) => cluster.pid("master", number));
    const text = readFileSync(path, "utf8");
    writeFileSync(path, text.replace(/^(alluxio\.worker\.ramdisk\.size)=.*$/m, "$1=256MB"));
    assert.notEqual(readFileSync(path, "utf8"), text);
    await restart("worker", 1);
    await cluster.until("the masters know it", async () =>
      /256\.00MB/.test(ok(await cluster.cli("fsadmin", "report", "capacity"))),
    );
    assert.deepEqual(
      [1, 2, 3].map((number) => cluster.pid("master", number)),
      pids,
    );
  });

  test("conf log shows and sets the level of every master and worker that is named", async () => {
    const shown = ok(await cluster.cli("conf", "log", "--name", "root", "--target", "master"));
    assert.match(
      shown,
      /^(AlluxioMaster\[localhost:\d+\]LogInfo\{level=INFO, message=.*, logName=root\}\n){3}$/,
    );
    const port = cluster.node("worker", 1).webPort;
    const target = `localhost:${port}:worker`;
    const set = ["logLevel", "--logName", "root", "--target", target, "--level", "DEBUG"];
    assert.match(ok(await cluster.cli(...set)), /^AlluxioWorker\[.*level=DEBUG, /);
    await refused(
      ["conf", "log", "--name", "root", "--level", "LOUD"],
      /"LOUD" is no level: give one of/,
    );
    await refused(["conf", "log", "--target", "master"], /Missing required option: name/);
    await refused(
      ["conf", "log", "--name", "root", "--target", "m1"],
      /Unrecognized target argument: m1/,
    );
    await refused(
      ["conf", "log", "--name", "root", "--target", "localhost:39"],
      /cannot be asked: .*ECONNREFUSED/,
    );
  });

  test("S0-13 S1-16 validate --type env looks at ports, folders, names and the way to the masters", async () => {
    const word = ["init", "validate", "--type", "env"];
    const here = await cluster.masterCli(1, ...word, "master");
    assert.equal(here.exit, 0, here.stdout);
    assert.match(
      here.stdout,
      /\[ WARNING \] master\.rpc\.port: .* is taken: right if this process runs/,
    );
    assert.match(here.stdout, /\[ OK \] master\.journal\.localhost:\d+: .* answers/);
    assert.match(here.stdout, /\[ OK \] master\.journal\.folder: .* can be written/);
    assert.match(here.stdout, /\nValidation Passed\n$/);
    const json = await cluster.masterCli(1, ...word, "worker", "--format", "json");
    const report = JSON.parse(json.stdout) as { checks: readonly { name: string }[] };
    assert.ok(report.checks.some(({ name }) => name === "worker.rpc.port"));
    const bad = [
      "-Dalluxio.master.hostname=localhost",
      "-Dalluxio.master.embedded.journal.addresses=localhost:19200,192.0.2.1:19200,no-such-host.invalid:19200",
      "-Dalluxio.master.journal.folder=/etc/hostname/journal",
    ];
    const broken = await home.run(["init", "validate", ...bad, "--type", "env", "master"]);
    assert.equal(broken.exit, 255);
    assert.match(
      broken.stdout,
      /\[ FAILED \] master\.hostname\.visible: localhost is the loopback of this machine, and 192\.0\.2\.1, no-such-host\.invalid cannot reach it: set alluxio\.master\.hostname/,
    );
    assert.match(broken.stdout, /\[ FAILED \] resolve\.no-such-host\.invalid: .* does not resolve/);
    assert.match(
      broken.stdout,
      /\[ FAILED \] master\.journal\.folder: \/etc\/hostname \(.*\) is no directory/,
    );
    assert.match(broken.stdout, /\nValidation Failed: \d checks\n$/);
    const list = await home.run(["validateEnv", "list"]);
    assert.match(list.stdout, /\nmaster\.rpc\.port\n/);
  });

  test("S0-12 validate --type env all runs on every host, and names those that ssh does not reach", async () => {
    writeFileSync(join(home.confDir, "masters"), "localhost\n");
    writeFileSync(join(home.confDir, "workers"), "localhost\nno-such-host.invalid # gone\n");
    const { exit, stdout } = await home.run(["init", "validate", "--type", "env", "all"]);
    assert.equal(exit, 255);
    assert.match(stdout, /^Validating environment on localhost\n {2}\[ OK \] conf: /);
    assert.match(stdout, /\[ OK \] clock: its clock agrees with the one here\n/);
    assert.match(
      stdout,
      /\nValidating environment on no-such-host\.invalid\n {2}\[ FAILED \] ssh: /,
    );
    assert.match(stdout, /\nValidation Failed: 1 checks\n$/);
    for (const name of ["masters", "workers"]) rmSync(join(home.confDir, name));
  });

  test("a command that nobody told where the masters are says which key is missing", async () => {
    const { exit, stdout, stderr } = await home.run([
      ...["fs", "-Dalluxio.user.rpc.retry.max.duration=4s"],
      ...["-Dalluxio.master.rpc.port=39", "ls", "/"],
    ]);
    assert.equal(exit, 255);
    assert.match(stdout, /localhost:39/);
    assert.match(stderr, /alluxio\.master\.rpc\.addresses is not set/);
  });

  test("validate --type conf says what is wrong, what is a slip of the pen, and what has no effect", async () => {
    home.site(
      "# a comment",
      "alluxio.master.hostname=m1 # only on masters",
      "alluxio.master.worker.timout=1min",
      "alluxio.proxy.web.port=1",
    );
    const sound = await home.run(["validateConf"]);
    assert.equal(sound.exit, 0, sound.stdout);
    assert.match(sound.stdout, /^Validating configuration\.\n/);
    assert.match(
      sound.stdout,
      /warning: .*alluxio-site\.properties:2: "# only on masters" is taken as a comment/,
    );
    assert.match(
      sound.stdout,
      /warning: Unknown property alluxio\.master\.worker\.timout \(.*:3\): did you mean alluxio\.master\.worker\.timeout\?/,
    );
    assert.match(
      sound.stdout,
      /warning: alluxio\.proxy\.web\.port=1 has no effect here: there is no proxy/,
    );
    assert.match(sound.stdout, /Configuration is valid\.\n$/);
    home.site("alluxio.master.worker.timeout=soon", "alluxio.network.tls.enabled=true");
    const bad = await home.run(["init", "validate", "--type", "conf"]);
    assert.equal(bad.exit, 255);
    assert.match(
      bad.stdout,
      /error: Bad value "soon" of alluxio\.master\.worker\.timeout \(.*:1\): expected a duration/,
    );
    home.site();
    const none = await home.run(["init", "validate"]);
    assert.match(none.stdout, /Missing required option: type/);
  });

  test("a daemon and a command refuse what would be dangerous to ignore", async () => {
    home.site("alluxio.network.tls.enabled=true", "alluxio.master.journal.folder=hdfs://nn/j");
    const { status, stdout } = spawnSync(process.execPath, [resolve("dist/main.js"), "master"], {
      env: { PATH: process.env["PATH"] ?? "", ALLUXIO_HOME: home.dir },
      encoding: "utf8",
    });
    assert.equal(status, 1);
    assert.match(stdout, /alluxio\.network\.tls\.enabled=true \(.*:1\) is refused: /);
    assert.match(stdout, /alluxio\.master\.journal\.folder=hdfs:\/\/nn\/j \(.*:2\) is refused: /);
    const listed = await home.run(["fs", "ls", "/"]);
    assert.equal(listed.exit, 255);
    assert.match(listed.stdout, /^alluxio\.network\.tls\.enabled=true .* is refused: .*\n$/);
    home.site();
  });
});
