/**
 * A cluster of five hosts, launched as its operator does it: from one master, by ssh. Three masters, two workers, the
 * default ports, one site file for all. The steps follow each other as in a day of that operator, and each row of the
 * procedure has a test of its name.
 * @module
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type HostResult, Hosts, skipReason } from "./hosts.ts";

const MASTERS = ["m1", "m2", "m3"] as const;
const WORKERS = ["w1", "w2"] as const;
const ALL = [...MASTERS, ...WORKERS] as const;

/** Names, kinds, times and contents of everything below a folder. @param unitMs of the times: tar keeps seconds */
function treeHash(folder: string, unitMs = 1): string {
  const hash = createHash("sha256");
  const visit = (path: string, name: string) => {
    const { mode, mtimeMs } = statSync(path);
    const isFolder = statSync(path).isDirectory();
    hash.update(`${name} ${mode} ${Math.floor(mtimeMs / unitMs)} ${isFolder}\n`);
    if (!isFolder) hash.update(readFileSync(path));
    else for (const entry of readdirSync(path).sort()) visit(join(path, entry), `${name}/${entry}`);
  };
  visit(folder, "");
  return hash.digest("hex");
}

const linesOf = ({ stdout }: HostResult) => stdout.trimEnd().split("\n");

describe("a cluster launched over ssh", { skip: skipReason() }, () => {
  let hosts: Hosts;

  before(async () => {
    hosts = await Hosts.start(ALL);
    hosts.install("m1");
    writeFileSync(join(hosts.ufs, "already-there.txt"), "of somebody else");
    mkdirSync(join(hosts.ufs, "deep", "down"), { recursive: true });
    writeFileSync(join(hosts.ufs, "deep", "down", "x"), "x");
  });
  after(() => hosts?.stop());

  /** A command on m1 that must end well. */
  async function run(...words: readonly string[]): Promise<HostResult> {
    const result = await hosts.alluxio("m1", ...words);
    assert.equal(result.exit, 0, `${words.join(" ")}: ${result.stdout}${result.stderr}`);
    return result;
  }

  /** A command on m1 that must fail, and what it says. */
  async function refused(...words: readonly string[]): Promise<string> {
    const result = await hosts.alluxio("m1", ...words);
    assert.equal(result.exit, 255, `${words.join(" ")}: ${result.stdout}${result.stderr}`);
    return result.stdout;
  }

  const pidFile = (host: string, kind: string) => hosts.path(host, "data/logs", `${kind}.pid`);

  function isUp(host: string, kind: string): boolean {
    const path = pidFile(host, kind);
    if (!existsSync(path)) return false;
    const [pid = "", ticks] = readFileSync(path, "utf8").trim().split(" ");
    if (!existsSync(`/proc/${pid}/stat`)) return false;
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] === ticks;
  }

  const upNow = () => [
    ...MASTERS.filter((name) => isUp(name, "master")),
    ...WORKERS.filter((name) => isUp(name, "worker")),
  ];

  function writeConf(name: string, text: string): void {
    writeFileSync(hosts.path("m1", "conf", name), text);
  }

  const SITE = () => `alluxio.master.embedded.journal.addresses=m1:19200, m2:19200,m3:19200
alluxio.master.mount.table.root.ufs=${hosts.ufs}
alluxio.work.dir=${hosts.installation}/data
alluxio.worker.tieredstore.level0.dirs.path=${hosts.installation}/cache
alluxio.worker.ramdisk.size=256MB
`;

  async function leader(): Promise<string> {
    const { stdout } = await run("fs", "masterInfo");
    return /Current leader master: (\w+)/.exec(stdout)?.[1] ?? "";
  }

  async function liveWorkers(): Promise<readonly string[]> {
    const { stdout } = await run("info", "nodes");
    return WORKERS.filter((name) => new RegExp(`${name}.*ACTIVE`).test(stdout));
  }

  test("S0-12 a host that lets nobody in without a password is one line, and nothing is done there", async () => {
    writeConf("masters", "m1\nm2\n");
    writeConf("workers", "w1\n");
    writeConf("alluxio-site.properties", SITE());
    const keys = join(hosts.root, "hosts", "m2", "authorized_keys");
    const kept = readFileSync(keys);
    writeFileSync(keys, "");
    hosts.writeClientConfig("m1", ["m1", "m2", "m3", "w2"]);
    const said = await refused("init", "format", "-y");
    writeFileSync(keys, kept);
    hosts.introduce();
    assert.match(
      said,
      /^w1: \[ FAILED \] not done: its host key is not known here \(.*ssh-keyscan w1/m,
    );
    assert.match(
      said,
      /^m2: \[ FAILED \] not done: it does not let this user in without a password \(.*ssh-copy-id m2/m,
    );
    assert.match(said, /^Failed on 2 of 3 hosts: w1, m2$/m);
    assert.match(said, /^Nothing was formatted on any host\.$/m);
  });

  test("S0-27 S0-28 conf/masters and conf/workers: comments, users, ports; a wrong line is named", async () => {
    writeConf("masters", "# the masters\n m1 \nroot@m2\n\nm3:22   # with its port\nm1\n");
    writeConf("workers", "w1\nw2, w3\n");
    const said = await refused("process", "start", "all");
    assert.match(
      said,
      /^\S*conf\/workers:2: "w2, w3" is no host: one line holds one host \(Write one host a line: /,
    );
    writeConf("workers", "# workers\nw1\nw2\n");
  });

  test("S0-11 S0-16 init copy-dir brings the installation to every host, by rsync or by tar", async () => {
    // On w2 there is no rsync: what is there cannot be run.
    await hosts.run("w2", ["mount", "--bind", "/dev/null", "/usr/bin/rsync"]);
    const result = await run("init", "copy-dir", hosts.installation);
    const lines = linesOf(result);
    assert.deepEqual([...lines.slice(0, 4)].sort(), [
      `m2: copied by rsync: ${hosts.installation}`,
      `m3: copied by rsync: ${hosts.installation}`,
      `w1: copied by rsync: ${hosts.installation}`,
      `w2: copied by tar over ssh: ${hosts.installation}`,
    ]);
    assert.equal(lines.at(-1), `${hosts.installation} is the same on 5 hosts, this one included`);
    for (const name of ALL)
      assert.equal(
        treeHash(hosts.path(name, "dist"), 1000),
        treeHash(hosts.path("m1", "dist"), 1000),
        `dist of ${name}`,
      );
    // A single file, and 2.9's word for it, from the current folder.
    writeConf("alluxio-site.properties", `${SITE()}# copied\n`);
    const site = join(hosts.installation, "conf/alluxio-site.properties");
    assert.match((await run("copyDir", site)).stdout, /w2: copied by tar over ssh/);
    for (const name of ALL)
      assert.match(
        readFileSync(hosts.path(name, "conf/alluxio-site.properties"), "utf8"),
        /# copied/,
      );
    // What a link leads to is copied, since there it would lead nowhere.
    writeConf("only-here.txt", "behind a link");
    symlinkSync("only-here.txt", hosts.path("m1", "conf/linked.txt"));
    await run("copyDir", join(hosts.installation, "conf/linked.txt"));
    for (const name of ["w1", "w2"] as const)
      assert.equal(readFileSync(hosts.path(name, "conf/linked.txt"), "utf8"), "behind a link");
    assert.match(
      await refused("init", "copy-dir", "/no/such/thing"),
      /^\/no\/such\/thing does not exist \(/,
    );
  });

  test("S0-23 a start before the format is refused, and formats nothing", async () => {
    const said = await refused("process", "start", "masters");
    for (const name of MASTERS) assert.match(said, new RegExp(`^${name}: \\[ FAILED \\] `, "m"));
    assert.match(said, /^Failed on 3 of 3 hosts: m1, m2, m3$/m);
    assert.match(said, /init format/);
    for (const name of MASTERS) assert.equal(existsSync(hosts.path(name, "data/journal")), false);
    assert.match(
      await refused("process", "start", "-f", "all"),
      /^Option -f: starting never formats/,
    );
    assert.deepEqual(upNow(), []);
  });

  test("S0-29 S0-25 S0-26 init format formats each host's own folders, and no byte of the under store", async () => {
    const before = treeHash(hosts.ufs);
    for (const name of WORKERS) {
      mkdirSync(hosts.path(name, "cache/alluxioworker"), { recursive: true });
      writeFileSync(hosts.path(name, "cache/alluxioworker/1"), "block");
      writeFileSync(hosts.path(name, "cache/mine.txt"), "not a block");
    }
    const result = await run("init", "format");
    assert.equal(linesOf(result).at(-1), "Format successful on master and workers.");
    for (const name of WORKERS)
      assert.match(result.stdout, new RegExp(`^${name}: Format successful on worker\\.$`, "m"));
    for (const name of MASTERS) {
      assert.match(result.stdout, new RegExp(`^${name}: Format successful on master\\.$`, "m"));
      assert.ok(readdirSync(hosts.path(name, "data/journal")).length > 0, `journal of ${name}`);
    }
    for (const name of WORKERS) {
      assert.equal(existsSync(hosts.path(name, "data/journal")), false, "a worker has no journal");
      assert.deepEqual(readdirSync(hosts.path(name, "cache/alluxioworker")), []);
      assert.equal(readFileSync(hosts.path(name, "cache/mine.txt"), "utf8"), "not a block");
    }
    assert.equal(treeHash(hosts.ufs), before);
  });

  test("S0-24 at a terminal, init format asks before it deletes metadata; without -y and an answer it does not", async () => {
    const journals = () => MASTERS.map((name) => treeHash(hosts.path(name, "data/journal")));
    const before = journals();
    const command = `${process.execPath} ${hosts.installation}/bin/alluxio init format --skip-worker`;
    const atTerminal = (input: string) =>
      hosts.run("m1", ["script", "-qec", command, "/dev/null"], { input });
    const refusal = await atTerminal("n\n");
    assert.equal(refusal.exit, 255, refusal.stdout);
    assert.match(
      refusal.stdout,
      /m2: The journal in \S+ is not empty: formatting deletes all metadata/,
    );
    assert.match(refusal.stdout, /Go on\? \(y\/N\)/);
    assert.match(refusal.stdout, /Nothing was formatted\./);
    assert.deepEqual(journals(), before);
    // Only what was never formatted: nothing is, so nobody is asked.
    const only = await run("init", "format", "-s", "--skip-worker");
    for (const name of MASTERS)
      assert.match(only.stdout, new RegExp(`^${name}: The journal is formatted already$`, "m"));
    assert.deepEqual(journals(), before);
    assert.match(
      await refused("init", "format", "--skip-master", "--skip-worker"),
      /leave nothing to format/,
    );
    const agreed = await atTerminal("y\n");
    assert.equal(agreed.exit, 0, agreed.stdout);
    assert.notDeepEqual(journals(), before);
  });

  test("S0-30 S0-31 S1-25 process start all starts masters, then workers, on their hosts; a line each", async () => {
    const result = await run("process", "start", "all");
    const lines = linesOf(result);
    assert.equal(lines[0], "Starting masters on 3 hosts");
    assert.deepEqual(
      [...lines.slice(1, 4)].sort(),
      MASTERS.map((name) => `${name}: [ OK ] The master process is in a healthy state`),
    );
    assert.equal(lines[4], "Starting workers on 2 hosts");
    assert.deepEqual(
      [...lines.slice(5, 7)].sort(),
      WORKERS.map((name) => `${name}: [ OK ] The worker process is in a healthy state`),
    );
    assert.equal(lines[7], "5 processes are in service");
    assert.deepEqual(upNow(), [...ALL]);
    for (const name of MASTERS) assert.equal(isUp(name, "worker"), false);
    // The session that started them is over, and they are not.
    assert.deepEqual([...(await liveWorkers())], [...WORKERS]);
  });

  test("S0-13 S0-18 S0-22 default ports, and nothing but the journal addresses leads every host to the masters", async () => {
    const first = await leader();
    assert.ok(MASTERS.some((name) => name === first));
    for (const name of ALL) {
      const { stdout, exit } = await hosts.alluxio(name, "fs", "masterInfo");
      assert.equal(exit, 0, stdout);
      assert.match(stdout, new RegExp(`Current leader master: ${first}/<unresolved>:19998`));
    }
    for (const name of MASTERS)
      for (const port of [19998, 19999, 19200])
        assert.match(
          (await hosts.run(name, ["cat", "/proc/net/tcp", "/proc/net/tcp6"])).stdout,
          new RegExp(`:${port.toString(16).toUpperCase()} \\S+ 0A`),
          `${name} ${port}`,
        );
    for (const name of WORKERS)
      for (const port of [29999, 30000])
        assert.match(
          (await hosts.run(name, ["cat", "/proc/net/tcp", "/proc/net/tcp6"])).stdout,
          new RegExp(`:${port.toString(16).toUpperCase()} \\S+ 0A`),
          `${name} ${port}`,
        );
  });

  test("S0-33 the leader is found by info report from any host", async () => {
    const { stdout } = await hosts.alluxio("w2", "info", "report");
    assert.match(stdout, /^Alluxio cluster summary:/);
    assert.match(stdout, new RegExp(`Master Address: ${await leader()}`));
    assert.match(stdout, /Live Workers: 2/);
  });

  test("S0-35 files are written and read over the hosts", async () => {
    const { stdout } = await hosts.alluxio("w1", "exec", "basicIOTest");
    assert.match(stdout, /Passed the test!/);
    assert.doesNotMatch(stdout, /Failed the test!/);
  });

  test("process monitor says of each process whether it is healthy, in both spellings", async () => {
    const said = await run("process", "monitor", "all");
    for (const name of MASTERS)
      assert.match(
        said.stdout,
        new RegExp(
          `^${name}: \\[ OK \\] The master process at ${name} is in a healthy state\\.$`,
          "m",
        ),
      );
    const script = await hosts.run("m1", [
      process.execPath,
      join(hosts.installation, "bin/alluxio-monitor.sh"),
      "workers",
    ]);
    assert.equal(script.exit, 0, script.stdout);
    assert.equal(linesOf(script).at(-1), "2 processes are healthy");
  });

  test("S0-24 init format is refused on every host while a daemon runs on one", async () => {
    const said = await refused("init", "format", "-y");
    assert.match(said, /^m2: \[ FAILED \] The master of this host runs/m);
    assert.match(said, /^Nothing was formatted on any host\.$/m);
    assert.deepEqual(upNow(), [...ALL]);
  });

  test("S0-55 S0-58 here only: stop and start of this host's own daemon; a leader hands over first", async () => {
    const first = await leader();
    const stopped = await hosts.alluxio(first, "process", "stop", "master");
    assert.equal(stopped.exit, 0, stopped.stdout);
    assert.match(
      stopped.stdout,
      /^Found 1 running process\(es\) matching master\nTransferred leadership to m\d:19200 in \d+ ms\nSuccessfully killed 1 process\(es\)\n$/,
    );
    assert.equal(isUp(first, "master"), false);
    const second = await hosts.alluxio(
      MASTERS.find((name) => name !== first) ?? "",
      "fs",
      "ls",
      "/",
    );
    assert.equal(second.exit, 0);
    // Another one now would cost the quorum.
    const other = MASTERS.find((name) => name !== first) ?? "";
    const no = await hosts.alluxio(other, "process", "stop", "master");
    assert.equal(no.exit, 255);
    assert.match(no.stdout, /Without m\d:19200 only 1 of 3 voters would be up and 2 are needed/);
    const started = await hosts.alluxio(first, "process", "start", "master");
    assert.match(
      started.stdout,
      /^Starting master\n\[ OK \] The master process is in a healthy state\n$/,
    );
  });

  test("a stop goes by pid file and command line: another process with that id is left alone", async () => {
    const path = pidFile("w1", "worker");
    const kept = readFileSync(path, "utf8");
    const { stdout } = await hosts.run("w1", ["sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"]);
    const pid = Number(stdout.trim());
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const ticks = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
    writeFileSync(path, `${pid} ${ticks}\n`);
    const said = await hosts.alluxio("w1", "process", "stop", "worker");
    assert.match(
      said.stdout,
      /^Found 0 running process\(es\) matching worker\nSuccessfully killed 0 process\(es\)\n$/,
    );
    assert.ok(existsSync(`/proc/${pid}`), "the stranger lives");
    process.kill(pid, "SIGKILL");
    writeFileSync(path, kept);
    assert.equal(isUp("w1", "worker"), true);
  });

  test("S0-66 a rolling restart takes over the files that copy-dir brought, one master at a time", async () => {
    const before = await leader();
    const pids = MASTERS.map((name) => readFileSync(pidFile(name, "master"), "utf8"));
    const key = "alluxio.master.worker.timeout";
    // 66.1: all files first, no restart.
    writeConf(
      "alluxio-site.properties",
      `${SITE()}${key}=4sec\nalluxio.master.lost.worker.deletion.timeout=3sec\n`,
    );
    await run("init", "copy-dir", join(hosts.installation, "conf/alluxio-site.properties"));
    assert.deepEqual(
      MASTERS.map((name) => readFileSync(pidFile(name, "master"), "utf8")),
      pids,
    );
    const { stdout } = await run("process", "restart", "masters", "--rolling");
    const steps = linesOf({ stdout, stderr: "", exit: 0 });
    const restarted = steps.flatMap(
      (line) => /restarting the (?:standby|former leader) (m\d)/.exec(line)?.[1] ?? [],
    );
    // 66.2 to 66.4: the standbys, the hand-over, the former leader last.
    assert.deepEqual([...restarted].sort(), [...MASTERS]);
    assert.equal(restarted.at(-1), before);
    const handedOver = steps.findIndex((line) => /^Step 3: leadership goes/.test(line));
    assert.equal(
      steps.findIndex((line) => /^Step 4: /.test(line)) > handedOver && handedOver > 0,
      true,
      stdout,
    );
    // 66.5: verified.
    assert.match(stdout, /^Step 5: every master runs with the configuration of its files$/m);
    assert.notEqual(await leader(), before);
    for (const [at, name] of MASTERS.entries())
      assert.notEqual(readFileSync(pidFile(name, "master"), "utf8"), pids[at]);
    assert.match((await run("conf", "get", "--master", key)).stdout, /4sec/);
  });

  test("S0-66 the rolling restart touches nothing while a host cannot be reached or a master is down", async () => {
    const pids = () => MASTERS.map((name) => readFileSync(pidFile(name, "master"), "utf8"));
    const before = pids();
    const standby = "m2";
    const keys = join(hosts.root, "hosts", standby, "authorized_keys");
    const kept = readFileSync(keys);
    writeFileSync(keys, "");
    assert.match(
      await refused("process", "restart", "masters", "--rolling"),
      new RegExp(`^${standby} cannot be asked: .*nothing was restarted`),
    );
    writeFileSync(keys, kept);
    assert.deepEqual(pids(), before);
    assert.match(
      await refused("process", "restart", "workers", "--rolling"),
      /cannot be restarted with --rolling/,
    );
  });

  test("S0-59 S0-60 S0-61 a worker that is stopped leaves at once, and is ACTIVE when its start is over", async () => {
    const stopped = await hosts.alluxio("w2", "process", "stop", "worker");
    assert.equal(stopped.exit, 0, stopped.stdout);
    assert.deepEqual([...(await liveWorkers())], ["w1"]);
    assert.match((await run("info", "report")).stdout, /Live Workers: 1\n\s+Lost Workers: 0/);
    await hosts.alluxio("w2", "process", "start", "worker");
    assert.deepEqual([...(await liveWorkers())], [...WORKERS]);
  });

  test("S0-62 a worker that is cut off is lost after alluxio.master.worker.timeout, then forgotten, and comes back", async () => {
    hosts.unplug("w2");
    await hosts.until("w2 is lost", async () =>
      /Lost Workers: 1/.test((await run("info", "report")).stdout),
    );
    assert.deepEqual([...(await liveWorkers())], ["w1"]);
    await hosts.until("w2 is forgotten", async () =>
      /Lost Workers: 0/.test((await run("info", "report")).stdout),
    );
    hosts.plug("w2");
    await hosts.until("w2 is back", async () => (await liveWorkers()).length === 2);
  });

  test("S0-28 one host that is off the network: its line, the summary, a code other than 0, the others served", async () => {
    hosts.unplug("w2");
    const said = await refused("process", "stop", "workers");
    hosts.plug("w2");
    assert.match(said, /^w1: Successfully killed 1 process\(es\)$/m);
    assert.match(said, /^w2: \[ FAILED \] not done: it does not answer \(/m);
    assert.match(said, /^Failed on 1 of 2 hosts: w2$/m);
    await hosts.until("w2 is back", async () => (await liveWorkers()).length === 1);
    assert.equal(isUp("w2", "worker"), true);
  });

  test("S0-57 alluxio-start.sh and process start leave what runs with -N, and start the rest", async () => {
    const pids = MASTERS.map((name) => readFileSync(pidFile(name, "master"), "utf8"));
    const script = await hosts.run("m1", [
      process.execPath,
      join(hosts.installation, "bin/alluxio-start.sh"),
      "-N",
      "all",
      "NoMount",
    ]);
    assert.equal(script.exit, 0, script.stdout);
    assert.match(script.stdout, /^m1: The master process runs already$/m);
    assert.match(script.stdout, /^w1: \[ OK \] The worker process is in a healthy state$/m);
    assert.match(script.stdout, /^w2: The worker process runs already$/m);
    assert.deepEqual(
      MASTERS.map((name) => readFileSync(pidFile(name, "master"), "utf8")),
      pids,
    );
  });

  test("job masters, job workers and proxies do not exist: a start says so, a stop has nothing to do", async () => {
    for (const word of ["job_masters", "job-worker", "proxies", "proxy"]) {
      assert.match(
        await refused("process", "start", word),
        /^There is no \w+: Rockpool has no (job service|proxy process)/,
      );
      assert.match((await run("process", "stop", word)).stdout, /nothing has to be stopped/);
    }
    assert.match(
      await refused("process", "start", "everything"),
      /"everything" is no process: name one of all, masters/,
    );
    assert.match(await refused("process", "start"), /requires at least 1 arguments/);
  });

  test("S0-67 a worker's new size and folder come with its restart alone, and its blocks stay", async () => {
    await hosts.alluxio(
      "w1",
      "fs",
      "-Dalluxio.user.file.writetype.default=MUST_CACHE",
      "copyFromLocal",
      join(hosts.installation, "dist/main.js"),
      "/kept",
    );
    await hosts.alluxio(
      "w2",
      "fs",
      "-Dalluxio.user.file.writetype.default=MUST_CACHE",
      "copyFromLocal",
      join(hosts.installation, "dist/main.js"),
      "/kept2",
    );
    const pids = MASTERS.map((name) => readFileSync(pidFile(name, "master"), "utf8"));
    for (const name of WORKERS) {
      const site = hosts.path(name, "conf/alluxio-site.properties");
      const text = readFileSync(site, "utf8").replace(
        /(dirs\.path=.*)/,
        `$1,${hosts.installation}/more`,
      );
      writeFileSync(site, text.replace("ramdisk.size=256MB", "ramdisk.size=300MB"));
    }
    const restarted = await run("process", "restart", "workers");
    assert.match(restarted.stdout, /2 processes are in service/);
    const { stdout } = await run("info", "report");
    assert.match(stdout, /Total Capacity: 1200\.00MB/);
    for (const path of ["/kept", "/kept2"]) {
      const read = await hosts.alluxio("m2", "fs", "checksum", path);
      assert.equal(read.exit, 0, read.stdout);
    }
    assert.deepEqual(
      MASTERS.map((name) => readFileSync(pidFile(name, "master"), "utf8")),
      pids,
    );
  });

  test("S0-19 a master whose name is not among the journal addresses is refused, with both named", async () => {
    const site = hosts.path("m3", "conf/alluxio-site.properties");
    const kept = readFileSync(site, "utf8");
    writeFileSync(site, `${kept}alluxio.master.hostname=master-three\n`);
    const said = await hosts.alluxio("m3", "process", "restart", "master");
    writeFileSync(site, kept);
    assert.equal(said.exit, 255);
    assert.match(
      said.stdout,
      /master-three:19200 is none of alluxio\.master\.embedded\.journal\.addresses=m1:19200,m2:19200,m3:19200/,
    );
    assert.equal((await hosts.alluxio("m3", "process", "start", "master")).exit, 0);
  });

  test("S1-15 S1-23 each host's conf/alluxio-env.sh counts on that host: its name, and ALLUXIO_JAVA_OPTS", async () => {
    for (const name of MASTERS)
      writeFileSync(
        hosts.path(name, "conf/alluxio-env.sh"),
        `export ALLUXIO_MASTER_HOSTNAME=${name}\nALLUXIO_MASTER_JAVA_OPTS="-Dalluxio.master.web.port=18999"\n`,
      );
    await run("process", "restart", "masters", "--rolling");
    for (const name of MASTERS) {
      const { stdout } = await hosts.run(name, ["cat", "/proc/net/tcp", "/proc/net/tcp6"]);
      assert.match(stdout, /:4A37 \S+ 0A/, `${name} listens on 18999`);
    }
  });

  test("S0-53 S0-52 process stop all ends everything, and S0-56 a start brings all of it back with its metadata", async () => {
    await run("fs", "mkdir", "/stays");
    const { stdout } = await run("process", "stop", "all");
    const lines = linesOf({ stdout, stderr: "", exit: 0 });
    assert.equal(lines[0], "Stopping workers on 2 hosts");
    assert.equal(lines[3], "Stopping masters on 3 hosts");
    assert.equal(lines.at(-1), "Successfully killed 5 process(es)");
    assert.deepEqual(upNow(), []);
    assert.match(
      (await run("process", "stop", "all")).stdout,
      /Successfully killed 0 process\(es\)\n$/,
    );
    assert.match(
      (await hosts.alluxio("m1", "process", "monitor", "all")).stdout,
      /^m2: \[ FAILED \] The master process at m2 does not run/m,
    );
    await run("process", "start", "all");
    assert.deepEqual(upNow(), [...ALL]);
    assert.match((await run("fs", "ls", "/")).stdout, /\/stays/);
  });

  test("S0-54 process stop masters and process stop workers each end their own", async () => {
    await run("process", "stop", "workers");
    assert.deepEqual(upNow(), [...MASTERS]);
    await run("process", "stop", "masters");
    assert.deepEqual(upNow(), []);
  });

  test("S0-17 S0-65 an update by stop, edit and start is what runs then", async () => {
    writeConf("alluxio-site.properties", `${SITE()}alluxio.master.worker.timeout=7sec\n`);
    for (const name of MASTERS) rmSync(hosts.path(name, "conf/alluxio-env.sh"));
    await run("init", "copy-dir", join(hosts.installation, "conf"));
    await run("process", "start", "masters");
    assert.match(
      (await run("conf", "get", "--master", "alluxio.master.worker.timeout")).stdout,
      /7sec/,
    );
  });

  test("masters that cannot be started: no worker is started in vain", async () => {
    await run("process", "stop", "masters");
    for (const name of MASTERS)
      writeFileSync(
        hosts.path(name, "conf/alluxio-env.sh"),
        'ALLUXIO_MASTER_JAVA_OPTS="-Dalluxio.master.rpc.port=many"\n',
      );
    const said = await refused("process", "start", "all");
    assert.match(said, /^No master is in service: nothing else is started$/m);
    assert.match(said, /^Failed on 3 of 3 hosts: m1, m2, m3$/m);
    assert.match(said, /alluxio\.master\.rpc\.port/);
    assert.deepEqual(upNow(), []);
  });
});
