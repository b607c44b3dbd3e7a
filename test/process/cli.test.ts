/**
 * Every command against a real cluster: what it prints, its exit code, and what it does with bad input.
 * @module
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { freePortOffset, LocalCluster } from "./local_cluster.ts";

const TIME = String.raw`\d\d-\d\d-\d{4} \d\d:\d\d:\d\d:\d{3}`;
const CLI = resolve("dist/cli.cjs");

/** A digest of every file below a folder, by its path. */
function digests(folder: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" }).sort()) {
    const path = join(folder, name);
    found[name] = statSync(path).isDirectory()
      ? "directory"
      : createHash("sha256").update(readFileSync(path)).digest("hex");
  }
  return found;
}

/** Three levels, 200 files from nothing to 63 KB, 45 directories of which 20 are empty. */
async function makeTree(tree: string): Promise<void> {
  for (let a = 0; a < 5; a++)
    for (let b = 0; b < 4; b++) {
      const below = join(tree, `a${a}`, `b ${b}`);
      await mkdir(join(below, "empty"), { recursive: true });
      for (let c = 0; c < 10; c++) await writeFile(join(below, `f${c}`), randomBytes(c * 7001));
    }
}

describe("the command line", () => {
  let cluster: LocalCluster;
  const folder = mkdtempSync(join(tmpdir(), "rockpool-cli-"));
  const tree = join(folder, "tree");
  before(async () => {
    cluster = await LocalCluster.start({ masters: 3, workers: 2 });
    await writeFile(join(folder, "small"), "hello world\n");
    await makeTree(tree);
  });
  after(async () => {
    await cluster?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Runs a command; `expected` is all that it prints, or a pattern for all of it. */
  async function run(line: string, expected: string | RegExp, exit = 0): Promise<void> {
    const words = line.split(" ").map((word) => word.replace(/^@/, `${folder}/`));
    const result = await cluster.cli(...words);
    const printed = result.stdout + result.stderr;
    if (typeof expected === "string") assert.equal(printed, expected, line);
    else assert.match(printed, expected, line);
    assert.equal(result.exit, exit, `${line}: ${printed}`);
    assert.doesNotMatch(printed, /\n {4}at /, "no stack is shown");
  }

  test("fs: files and directories", async () => {
    await run(
      "fs mkdir /t /t/sub",
      "Successfully created directory /t\nSuccessfully created directory /t/sub\n",
    );
    await run(
      "fs mkdir /t",
      "Not allowed to create directory because path already exists: /t\n",
      255,
    );
    await run("fs touch /t/empty", "/t/empty has been created\n");
    await run("fs copyFromLocal @small /t/small", `Copied file://${folder}/small to /t/small\n`);
    await run(
      "fs copyFromLocal @small /t/small",
      "/t/small already exists. If you want to overwrite the file, you need to specify the overwrite option.\n",
      255,
    );
    await run("fs cat /t/small", "hello world\n");
    await run("fs head -c 5 /t/small", "hello");
    await run("fs tail -c 6 /t/small", "world\n");
    await run("fs checksum /t/small", "md5sum: 6f5902ac237024bdd0c176cb93063dc4\n");
    await run("fs cp /t/small /t/copy", "Copied /t/small to /t/copy\n");
    await run("fs mv /t/copy /t/moved", "Renamed /t/copy to /t/moved\n");
    await run(
      "fs mv /t/moved /t/small",
      "Cannot rename because destination already exists. src: /t/moved dst: /t/small\n",
      255,
    );
    await run("fs copyToLocal /t/moved @back", `Copied /t/moved to file://${folder}/back\n`);
    assert.equal(readFileSync(join(folder, "back"), "utf8"), "hello world\n");
    await run("fs rm /t/moved", "/t/moved has been removed\n");
    await run(
      "fs rm /t",
      '/t is a directory, to remove it, please use "rm -R/-r/--recursive <path>"\n',
      255,
    );
    await run("fs rm -R /t/sub", "/t/sub has been removed\n");
  });

  test("fs: looking", async () => {
    await run("fs mkdir /look/sub", "Successfully created directory /look/sub\n");
    await run(
      "fs -Dalluxio.user.file.writetype.default=CACHE_THROUGH copyFromLocal @small /look/f",
      /^Copied/,
    );
    const file = `-rw-r--r-- {2}\\S+ +\\S+ +12 {7}PERSISTED ${TIME} 100% /look/f`;
    const sub = `drwxr-xr-x {2}\\S+ +\\S+ +0 {3}NOT_PERSISTED ${TIME} {2}DIR /look/sub`;
    await run("fs ls /look", new RegExp(`^${file}\n${sub}\n$`));
    await run("fs ls -r /look", new RegExp(`^${sub}\n${file}\n$`));
    await run("fs ls --sort=size -r /look", new RegExp(`^${file}\n${sub}\n$`));
    await run("fs ls -R -h /", /\n-rw-r--r--.* 12B +PERSISTED .*\/look\/f\n/);
    await run("fs ls /look/*f", new RegExp(`^${file}\n$`));
    await run("fs ls -d /look", /^drwxr-xr-x.*\/look\n$/);
    await run("fs ls /nope", 'Path "/nope" does not exist.\n', 255);
    await run("fs ls /nope*", 'Path "/nope*" does not exist.\n', 255);
    await run(
      "fs du /look",
      /^File Size {5}In Alluxio {7}Path\n12 {12}12 \(100%\) {8}\/look\/f\n$/,
    );
    await run("fs du -s /look", /\n12 {12}12 \(100%\) {8}\/look\n$/);
    await run(
      "fs count /look",
      /^File Count {15}Folder Count {13}Folder Size {4}\n1 {24}1 {24}12 {13}\n$/,
    );
    await run("fs stat -f %N;%z;%b /look/f", "f;12;1\n");
    await run(
      "fs stat /look/f",
      /^\/look\/f is a file path\.\nURIStatus\{info=FileInfo\{fileId=\d+, name=f, .*\nContaining the following blocks: \nBlockInfo\{id=\d+, length=12, /,
    );
    await run("fs stat /look", /^\/look is a directory path\.\nURIStatus/);
    await run("fs location /look/f", /^\/look\/f with file id \d+ is on nodes: \nlocalhost\n$/);
    for (const [flag, path, exit] of [
      ["-e", "/look", 0],
      ["-d", "/look", 0],
      ["-f", "/look", 1],
      ["-f", "/look/f", 0],
      ["-z", "/look/f", 1],
      ["-z", "/look", 1],
      ["-s", "/look", 0],
      ["-s", "/look/f", 1],
      ["-e", "/nope", 3],
    ] as const)
      await run(`fs test ${flag} ${path}`, "", exit);
    await run(
      "fs masterInfo",
      /^Current leader master: localhost\/<unresolved>:\d+\nAll masters: \[localhost/,
    );
    await run("fs leader", /\nlocalhost\n$/);
    await run("fs getCapacityBytes", "Capacity Bytes: 2147483648\n");
    await run("fs getUsedBytes", /^Used Bytes: \d+\n$/);
    await run("fs mount", /^\S+underFSStorage\S* {2}on {2}\/ {2}\(local, capacity=/);
  });

  test("fs: attributes", async () => {
    await run("fs touch /a/f", "/a/f has been created\n");
    await run("fs chmod 640 /a/f", "Changed permission of /a/f to 640\n");
    await run("fs chmod u=rwx,go=rx /a/f", "Changed permission of /a/f to 755\n");
    await run("fs chown bob /a/f", "Changed owner of /a/f to bob.\n");
    await run("fs chown -R bob:staff /a", "Changed owner:group of /a to bob:staff.\n");
    await run("fs chgrp crew /a/f", "Changed group of /a/f to crew\n");
    await run("fs ls /a", /^-rwxr-xr-x {2}bob +crew /);
    await run("fs pin /a/f", "File '/a/f' was successfully pinned.\n");
    await run("fs ls -p /a", /\/a\/f \n$/);
    await run("fs unpin /a/f", "File '/a/f' was successfully unpinned.\n");
    await run("fs ls -p /a", "");
    await run(
      "fs setTtl --action delete /a/f 1h",
      "TTL of path '/a/f' was successfully set to 3600000 milliseconds, with expiry action set to DELETE\n",
    );
    await run("fs stat /a/f", /ttl=3600000, lastAccessTimesMs=\d+, ttlAction=DELETE/);
    await run("fs unsetTtl /a/f", "TTL of file '/a/f' was successfully removed.\n");
    await run(
      "fs setReplication --max 3 --min 1 /a/f",
      "Changed the replication level of /a/f\nreplicationMax was set to 3\nreplicationMin was set to 1\n",
    );
    await run("fs -Dalluxio.user.file.writetype.default=MUST_CACHE touch /a/kept", /created/);
    await run("fs persist /a/kept", "Found 1 files to persist.\nPersisted 1 file(s)\n");
    await run("fs ls /a/kept", / PERSISTED /);
  });

  test("info, conf, exec, version, help", async () => {
    await run(
      "info report",
      /^Alluxio cluster summary: \n {4}Master Address: \S+\n[\s\S]*\n {4}Raft Journal Addresses: \n( {8}localhost:\d+\n){3} {4}Master Address {19}State {4}Version\n[\s\S]*PRIMARY[\s\S]*\n {4}Live Workers: 2\n {4}Lost Workers: 0\n/,
    );
    await run(
      "fsadmin report capacity",
      /^Capacity information for all workers: \n {4}Total vCPUs: \d+\n/,
    );
    await run("info nodes", /^WorkerId +Address +Status\n(\d+ +localhost:\d+ +ACTIVE\n){2}$/);
    const { stdout } = await cluster.cli("info", "report", "--format", "json");
    assert.equal((JSON.parse(stdout) as { liveWorkers: number }).liveWorkers, 2);
    await run("conf get alluxio.user.block.size.bytes.default", "64MB\n");
    await run("conf get alluxio.user.block.size.bytes.default --unit KB", "65536\n");
    await run(
      "getConf -Dalluxio.user.block.size.bytes.default=1MB alluxio.user.block.size.bytes.default --source",
      "SYSTEM_PROPERTY\n",
    );
    await run("conf get", /\nalluxio\.user\.block\.size\.bytes\.default=64MB \(DEFAULT\)\n/);
    await run("conf get --master", /^alluxio\..*=.* \([A-Z_]+\)\n/);
    await run("conf get alluxio.nope", "alluxio.nope is not a valid configuration key\n", 1);
    await run("version", "2.9.4\n");
    await run("--version", /^Rockpool \d+\.\d+\.\d+, in place of Alluxio 2\.9\.4\n$/);
    await run("fs help ls", /^ls: .*\nUsage: ls \[-d/);
    const test = await cluster.cli("exec", "basicIOTest");
    assert.equal(test.exit, 0, test.stdout);
    assert.equal(test.stdout.split("Passed the test!\n").length - 1, 24);
    assert.match(
      test.stdout,
      /^runTest --operation BASIC --readType CACHE_PROMOTE --writeType MUST_CACHE\nPassed/,
    );
  });

  test("bad input is one line and exit code 255", async () => {
    await run("bogus", /^bogus is an unknown command\.\nUsage: /, 255);
    await run("fs bogus", /^bogus is an unknown command\.\nUsage: /, 255);
    await run("fs mv /a", /^Command mv takes 2 arguments, not 1\nUsage: mv <src> <dst>\n/, 255);
    await run("fs ls -x /", /^Unrecognized option: -x\nUsage: ls /, 255);
    await run("fs ls relative", /^Path "relative" must be absolute/, 255);
    await run("fs ls s3://bucket/", /scheme is s3/, 255);
    await run("fs ls alluxio://nope/", /^Authority "nope" is not understood/, 255);
    const soon = "-Dalluxio.zookeeper.connection.timeout=200ms";
    await run(`fs ls ${soon} alluxio://zk@127.0.0.1:1/`, /^ZooKeeper \(127\.0\.0\.1:1\) does/, 255);
    await run("fs ls /a/../b", /contains "\.\."/, 255);
    await run("fs cat /nope", 'Path "/nope" does not exist.\n', 255);
    await run("fs cat /", 'Path "/" must be a file.\n', 255);
    await run("fs copyFromLocal @nope /x", `Path "file://${folder}/nope" does not exist.\n`, 255);
    await run("fs cp / /x", /^\/ is a directory, to copy it please use "cp -R/, 255);
    await run("fs chmod 999 /", /^Invalid mode 999/, 255);
    await run("fs setTtl / soon", /^TTL "soon" is not a duration/, 255);
    await run("fs head -c many /", /^Option -c is "many"/, 255);
    await run("info report nonsense", /^Report category "nonsense" is unknown/, 255);
    await run(
      "fs -Dalluxio.user.block.size.bytes.default=huge ls /",
      /^Bad value "huge" of alluxio\.user\.block/,
      255,
    );
    await run(
      "fs -Dalluxio.user.rpc.retry.max.duration=100ms ls alluxio://localhost:1/",
      /^Cannot connect to localhost:1/,
      255,
    );
  });

  test("a tree goes up and comes back byte for byte", async () => {
    const up = await cluster.cli("fs", "copyFromLocal", "--thread", "16", tree, "/tree");
    assert.equal(up.exit, 0, up.stdout + up.stderr);
    assert.equal(up.stdout.split("\n").length - 1, 200);
    assert.equal(up.stderr, "");
    await run("fs count /tree", /\n200 {22}45 {23}6300900 {8}\n$/);
    const within = await cluster.cli("fs", "cp", "-R", "/tree", "/tree2");
    assert.equal(within.exit, 0, within.stdout + within.stderr);
    const down = await cluster.cli("fs", "copyToLocal", "/tree2", join(folder, "tree2"));
    assert.equal(down.exit, 0, down.stdout + down.stderr);
    assert.deepEqual(digests(join(folder, "tree2")), digests(tree));
  });

  test("a tree that cannot be copied whole says so", async () => {
    const broken = join(folder, "broken");
    await mkdir(broken);
    for (const name of ["a", "b", "c"]) await writeFile(join(broken, name), name);
    await run("fs mkdir /taken/broken", /created/);
    await run("fs copyFromLocal @broken /taken", /^\/taken\/broken already exists\./, 255);
    await symlink(join(folder, "nowhere"), join(broken, "b2"));
    const { exit, stdout } = await cluster.cli("fs", "copyFromLocal", broken, "/whole");
    assert.equal(exit, 255);
    const lines = stdout.trimEnd().split("\n").sort();
    const link = `file://${broken}/b2`;
    assert.deepEqual(lines, [
      "1 not copied, 3 copied",
      ...["a", "b", "c"].map((name) => `Copied file://${broken}/${name} to /whole/${name}`),
      `Failed to copy ${link}: Path "${link}" does not exist.`,
    ]);
  });

  test("a reader that goes away ends `fs cat` without a word", async () => {
    await writeFile(join(folder, "large"), randomBytes(8 * 1024 * 1024));
    await run("fs copyFromLocal @large /large", /^Copied/);
    const env = { ...process.env, ALLUXIO_CONF_DIR: join(cluster.dir, "conf") };
    const child = spawn(
      "sh",
      ["-c", '"$0" "$1" fs cat /large | head -c 10 | wc -c', process.execPath, CLI],
      { env },
    );
    const [out, err] = [collect(child, "stdout"), collect(child, "stderr")];
    await once(child, "close");
    assert.equal((await out).trim(), "10");
    assert.equal(await err, "");
  });

  test("Ctrl-C during a copy leaves no file, and exit code 130", async () => {
    await writeFile(join(folder, "huge"), Buffer.alloc(256 * 1024 * 1024));
    const env = { ...process.env, ALLUXIO_CONF_DIR: join(cluster.dir, "conf") };
    const words = ["fs", "copyFromLocal", join(folder, "huge"), "/interrupted"];
    const child = spawn(process.execPath, [CLI, ...words], { env });
    const out = collect(child, "stdout");
    const closed = once(child, "close");
    await cluster.until("the copy begins", async () => {
      const { exit } = await cluster.cli("fs", "test", "-f", "/interrupted");
      return exit === 0 || child.exitCode !== null;
    });
    child.kill("SIGINT");
    await closed;
    // A fast machine may have been done before: then it says so. See src/shell/interrupt.test.ts for each point.
    const isDone = child.exitCode === 0;
    assert.equal(await out, isDone ? `Copied file://${words[2]} to /interrupted\n` : "");
    if (!isDone) assert.equal(child.exitCode, 130);
    await run("fs test -e /interrupted", "", isDone ? 0 : 3);
  });

  test("killing the leader during a copy is not noticed", async () => {
    const leader = await cluster.leader();
    const copy = cluster.cli("fs", "copyFromLocal", tree, "/during");
    await cluster.until("the copy goes on", async () => {
      const { stdout } = await cluster.cli("fs", "count", "/during");
      return Number(/\n(\d+)/.exec(stdout)?.[1] ?? 0) >= 5;
    });
    cluster.kill("master", leader, "SIGKILL");
    const result = await copy;
    assert.equal(result.exit, 0, result.stdout + result.stderr);
    assert.equal(result.stderr, "");
    const down = await cluster.cli("fs", "copyToLocal", "/during", join(folder, "during"));
    assert.equal(down.exit, 0, down.stdout + down.stderr);
    assert.deepEqual(digests(join(folder, "during")), digests(tree));
    await cluster.startProcess("master", leader);
  });
});

describe("daemons of this host", () => {
  const home = mkdtempSync(join(tmpdir(), "rockpool-home-"));
  after(() => rmSync(home, { recursive: true, force: true }));

  test("init format, process start and stop", async () => {
    const offset = await freePortOffset(1, 1);
    const definitions = [
      "alluxio.master.hostname=localhost",
      `alluxio.master.rpc.port=${19_998 + offset}`,
      `alluxio.master.web.port=${19_999 + offset}`,
      `alluxio.master.embedded.journal.port=${19_200 + offset}`,
      "alluxio.worker.hostname=localhost",
      `alluxio.worker.rpc.port=${29_999 + offset}`,
      `alluxio.worker.web.port=${30_000 + offset}`,
      "alluxio.worker.ramdisk.size=64MB",
      `alluxio.worker.tieredstore.level0.dirs.path=${home}/cache`,
    ].map((definition) => `-D${definition}`);
    const env = { ...process.env, ALLUXIO_HOME: home };
    const run = async (words: readonly string[], expected: RegExp, exit = 0) => {
      const child = spawn(process.execPath, [CLI, ...words, ...definitions], { env });
      const [out] = await Promise.all([collect(child, "stdout"), once(child, "close")]);
      assert.match(out, expected);
      assert.equal(child.exitCode, exit, out);
    };
    await run(
      ["process", "start", "master"],
      /^Starting master\n\[ FAILED \][\s\S]*init format/,
      255,
    );
    await run(["init", "format"], /\nFormat successful on master and workers\.\n$/);
    try {
      await run(
        ["process", "start", "local"],
        /^Starting master\n\[ OK \] The master process is in a healthy state\nStarting worker\n\[ OK \] The worker process is in a healthy state\n$/,
      );
      await run(["fs", "touch", "/x"], /created/);
      await run(["init", "format"], /^localhost: \[ FAILED \] The master of this host runs/m, 255);
      await run(["fs", "cat", "/x"], /^$/);
      await run(["process", "start", "-N", "master"], /^The master process runs already\n$/);
    } finally {
      const stopped = "Successfully killed 1 process\\(es\\)\n";
      await run(
        ["process", "stop", "local"],
        new RegExp(
          `^Found 1 .* matching worker\n${stopped}Found 1 .* matching master\n${stopped}$`,
        ),
      );
    }
    await run(["process", "stop", "master"], /^Found 0 .*\nSuccessfully killed 0 process\(es\)\n$/);
  });
});

async function collect(child: ChildProcess, name: "stdout" | "stderr"): Promise<string> {
  let text = "";
  for await (const chunk of child[name] ?? []) text += String(chunk);
  return text;
}
