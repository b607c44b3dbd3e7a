/**
 * The administrator's commands against a real cluster: reports in three forms, copies freed, consistency, workers,
 * metrics, archives, tests of stores, measurements, and completion in a real shell.
 * @module
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { nodeDir } from "../../src/local/cluster_files.ts";
import { LocalCluster } from "./local_cluster.ts";

const run = promisify(execFile);
const SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY";

function isThere(program: string): Promise<boolean> {
  return run("sh", ["-c", `command -v ${program}`]).then(
    () => true,
    () => false,
  );
}

/** The status of a page, and its text. */
function page(port: number, path: string): Promise<{ status: number; text: string }> {
  return new Promise((done, fail) => {
    get({ host: "localhost", port, path }, (response) => {
      let text = "";
      response.on("data", (piece: Buffer) => {
        text += piece.toString("utf8");
      });
      response.on("end", () => done({ status: response.statusCode ?? 0, text }));
    }).on("error", fail);
  });
}

describe("administration", () => {
  let cluster: LocalCluster;
  const folder = mkdtempSync(join(tmpdir(), "rockpool-admin-cli-"));
  before(async () => {
    cluster = await LocalCluster.start({ masters: 3, workers: 2 });
    writeFileSync(join(folder, "small"), "hello world\n");
  });
  after(async () => {
    await cluster?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Runs a command; `expected` is all that it prints, or a pattern for all of it. */
  async function expect(line: string, expected: string | RegExp, exit = 0): Promise<string> {
    const words = line.split(" ").map((word) => word.replace(/^@/, `${folder}/`));
    const result = await cluster.cli(...words);
    const printed = result.stdout + result.stderr;
    if (typeof expected === "string") assert.equal(printed, expected, line);
    else assert.match(printed, expected, line);
    assert.equal(result.exit, exit, `${line}: ${printed}`);
    assert.doesNotMatch(printed, /\n {4}at /, "no stack is shown");
    return printed;
  }

  async function put(path: string, writeType: string): Promise<void> {
    const type = `-Dalluxio.user.file.writetype.default=${writeType}`;
    await expect(`fs ${type} copyFromLocal @small ${path}`, /^Copied /);
  }

  /** How much of a file workers hold, in per cent. */
  async function cached(path: string): Promise<number> {
    const { stdout } = await cluster.cli("fs", "ls", path);
    return Number(/ (\d+)% /.exec(stdout)?.[1]);
  }

  test("S0-33 info report finds the leader, as text, JSON and YAML", async () => {
    const leader = await cluster.leaderAddress();
    const [host, port] = leader.split(":");
    const text = await expect("info report", /^Alluxio cluster summary: \n/);
    assert.match(text, new RegExp(`\n {4}Master Address: ${host}/<unresolved>:${port}\n`));
    assert.match(text, new RegExp(`\n {4}${leader} +PRIMARY +2\\.9\\.4\n`));
    assert.equal(text.split(" STANDBY ").length - 1, 2);
    const json = JSON.parse(await expect("info report --format json", /^\{/)) as {
      masterVersions: { address: string; state: string }[];
    };
    assert.equal(json.masterVersions.find(({ state }) => state === "PRIMARY")?.address, leader);
    const yaml = await expect("info report --format yaml", /^masterAddress: "/);
    assert.match(yaml, new RegExp(`address: "${leader}"\n {4}state: "PRIMARY"`));
  });

  test("S0-34 the leader's status page is where the report says", async () => {
    const { stdout } = await cluster.cli("info", "report", "--format", "json");
    const { webPort } = JSON.parse(stdout) as { webPort: number };
    assert.equal((await page(webPort, "/")).status, 200);
  });

  test("S0-35 exec basicIOTest passes all combinations, also by way of each worker", async () => {
    const all = await expect("exec basicIOTest", /^runTest --operation BASIC --readType /);
    assert.equal(all.split("\nPassed the test!\n").length - 1, 24);
    const one = "--operation BASIC --readType CACHE --writeType MUST_CACHE";
    await expect(
      `runTests --directory /one ${one}`,
      "runTest --operation BASIC --readType CACHE --writeType MUST_CACHE\nPassed the test!\n",
    );
    const workers = [1, 2].map((number) => `localhost:${cluster.node("worker", number).rpcPort}`);
    const lines = workers.map(
      (worker) =>
        `Running test for worker:${worker}\n[${worker}] runTest ${one}\nPassed the test!\n`,
    );
    await expect(
      `exec basicIOTest --workers ${workers.join(",")} ${one}`,
      `${lines.join("")}All workers passed tests!\n`,
    );
    await expect(`exec basicIOTest --workers nobody ${one}`, /^Worker nobody is not found/, 255);
    // The files of each worker are on it and on no other.
    for (const worker of workers) {
      const path = `/default_tests_files/${worker.replace(":", "_")}/BASIC_CACHE_MUST_CACHE`;
      const status = (await cluster.cli("fs", "stat", path)).stdout;
      assert.match(
        status,
        new RegExp(`locations=\\[BlockLocation\\{[^}]*rpcPort=${worker.slice(10)},`),
      );
    }
  });

  test("S0-44 an authority with a blank after the comma is understood", async () => {
    const [first, ...rest] = cluster.masters;
    const authority = `alluxio://${first}, ${rest.join(",")}/`;
    const { exit, stdout } = await cluster.cli("fs", "mkdir", `${authority}blank`);
    assert.equal(stdout, "Successfully created directory /blank\n");
    assert.equal(exit, 0);
    assert.equal((await cluster.cli("fs", "test", "-d", `${authority}blank`)).exit, 0);
  });

  test("fs free drops copies of what is persisted, and refuses the rest", async () => {
    await put("/free/a", "CACHE_THROUGH");
    await put("/free/sub/b", "CACHE_THROUGH");
    assert.equal(await cached("/free/a"), 100);
    await expect("fs free /free", "/free was successfully freed from Alluxio space.\n");
    await cluster.until("all copies are gone", async () => {
      return (await cached("/free/a")) === 0 && (await cached("/free/sub/b")) === 0;
    });
    await expect("fs cat /free/a", "hello world\n");
    await put("/free/sub/c", "MUST_CACHE");
    await expect("fs free /free", /^Cannot free file \/free\/sub\/c which is not persisted/, 255);
    assert.equal(await cached("/free/sub/c"), 100);
    await expect("fs free /nope", /^Path "\/nope" does not exist/, 255);
    await expect("fs rm /free/sub/c", "/free/sub/c has been removed\n");
    await expect("fs pin /free/a", "File '/free/a' was successfully pinned.\n");
    await expect("fs free /free", /^Cannot free file \/free\/a which is pinned/, 255);
    await expect(
      "cache free --path /free -f",
      "/free was successfully freed from Alluxio space.\n",
    );
    await cluster.until("the pinned one, too", async () => (await cached("/free/a")) === 0);
    await expect("cache free", /^Command free takes one of --path and --worker\nUsage: free /, 255);
  });

  test("fs freeWorker and cache free --worker drop what may be dropped", async () => {
    await put("/freed/through", "CACHE_THROUGH");
    await put("/freed/only", "MUST_CACHE");
    await expect("fs freeWorker nobody", "Worker nobody is not found in Alluxio.\n", 255);
    await expect("fs freeWorker localhost", "Target worker has been freed successfully.\n");
    await cluster.until("the copy is gone", async () => (await cached("/freed/through")) === 0);
    assert.equal(await cached("/freed/only"), 100);
    await expect("cache free --worker localhost", "Target worker has been freed successfully.\n");
  });

  test("fs checkConsistency finds what differs, and -r mends it", async () => {
    const store = join(cluster.dir, "underFSStorage");
    await put("/same/kept", "CACHE_THROUGH");
    await put("/same/gone", "CACHE_THROUGH");
    await put("/same/grown", "CACHE_THROUGH");
    await put("/same/only", "MUST_CACHE");
    await expect(
      "fs checkConsistency /same",
      "/same is consistent with the under storage system.\n",
    );
    rmSync(join(store, "same/gone"));
    writeFileSync(join(store, "same/grown"), "another length altogether");
    await expect(
      "fs checkConsistency /same",
      "The following files are inconsistent:\n/same/gone\n/same/grown\n",
    );
    await expect("fs checkConsistency -t 0 /same", /^The threads option must be a positive/, 255);
    const repaired = await expect(
      "fs checkConsistency -r -t 1 /same",
      /^\/same has: 2 inconsistent/,
    );
    assert.match(repaired, /repairing path: \/same\/gone\n\/same\/gone repaired\n/);
    await expect(
      "fs checkConsistency /same",
      "/same is consistent with the under storage system.\n",
    );
    await expect("fs cat /same/grown", "another length altogether");
    assert.equal((await cluster.cli("fs", "test", "-e", "/same/gone")).exit, 3);
    assert.equal(await cached("/same/only"), 100);
  });

  test("fs loadMetadata brings in what the under store has", async () => {
    mkdirSync(join(cluster.dir, "underFSStorage/loaded/deep"), { recursive: true });
    writeFileSync(join(cluster.dir, "underFSStorage/loaded/deep/file"), "there before");
    await expect("fs loadMetadata -R /loaded", /^Time elapsed \d+\n$/);
    await expect("fs count /loaded", /\n1 +1 +12 +\n$/);
    await expect("fs loadMetadata -F /loaded", /^loadMetadata -F is not supported/, 255);
  });

  test("wildcards stand in any component, and a backslash takes a star as it is", async () => {
    for (const name of ["w/a1/x.txt", "w/a2/x.txt", "w/a2/y.txt", "w/b/x.txt"])
      await expect(`fs touch /${name}`, `/${name} has been created\n`);
    await expect("fs touch /w/a*", "/w/a* has been created\n");
    const lines = async (line: string) =>
      (await expect(line, /./)).split("\n").filter((one) => one !== "");
    assert.equal((await lines("fs ls /w/a*/x.txt")).length, 2);
    assert.equal((await lines("fs ls /*/a*/*.txt")).length, 3);
    assert.match((await lines("fs ls /w/a\\*")).join(), /^-\S+ .* \/w\/a\* *$/);
    await expect("fs checksum /w/*/y.txt", "md5sum: d41d8cd98f00b204e9800998ecf8427e\n");
    await expect("fs free /w/*/z*", /^Path "\/w\/\*\/z\*" does not exist/, 255);
    await expect("fs test -e /w/*/nothing*", "", 3);
    await expect("fs test -f /w/*/y.txt", "");
    await expect("fs rm /w/a\\*", "/w/a* has been removed\n");
    await expect("fs count /w/a1", /\n1 +0 +0 +\n$/);
  });

  test("reports: capacity, ufs, metrics, proxy, quorum, each also as JSON and YAML", async () => {
    for (const line of [
      ...["info report capacity", "info report ufs", "info report metrics", "info report proxy"],
      ...["info report raft", "info cache --live", "info nodes", "quorum info", "fs mount"],
    ]) {
      JSON.parse(await expect(`${line} --format json`, /^[[{]/));
      await expect(`${line} --format yaml`, /^(\[\]|\S[^\n]*:|-)/);
      await expect(
        `${line} --format xml`,
        /^Unknown format xml \(--format takes text, json or yaml\)/,
        255,
      );
    }
    await expect("fsadmin report metrics", /^[\w.]+ {2}\(Type: (GAUGE|COUNTER), Value: [^)]+\)\n/);
    await expect(
      "fsadmin report proxy",
      /^0 Proxy instances in the cluster, 0 serving and 0 lost\n\nAddress {18}State {4}Start Time {7}Last Heartbeat Time {2}Version {26}Revision\n$/,
    );
    await expect("fsadmin report capacity -lost", "No workers found.\n");
    await expect("fsadmin report ufs -live", /^report ufs does not support arguments: --live/, 255);
    await expect("fsadmin report jobservice", /^report jobservice is not supported/, 255);
    await expect(
      "fsadmin report nope",
      /^Report category "nope" is unknown \(One of summary, /,
      255,
    );
    await expect("fsadmin getBlockInfo x", "x is not a valid block id.\n", 255);
    await expect("fsadmin getBlockInfo 1", /^(inodeId|Block) \d+ does not exist|not found/, 255);
    await expect("fsadmin statelock", "");
  });

  test("a dead master stays in the report, a lone backup and an unknown member do not hang or lie", async () => {
    const leader = await cluster.leader();
    const dead = [1, 2, 3].find((number) => number !== leader) ?? 0;
    cluster.kill("master", dead, "SIGKILL");
    const address = `localhost:${cluster.node("master", dead).rpcPort}`;
    await cluster.until("it is shown as lost", async () => {
      const { stdout } = await cluster.cli("info", "report");
      return new RegExp(`\n {4}${address} +LOST `).test(stdout);
    });
    await expect(
      "fsadmin journal quorum remove -domain MASTER -address nobody:1",
      /^nobody:1 is no member of the quorum/,
      255,
    );
    await expect("fsadmin backup --local", /\nBackup Entry Count : \d+\n$/);
    await cluster.startProcess("master", dead);
    await cluster.untilHealthy();
  });

  test("fsadmin metrics clear begins counts anew, and names what it cleared", async () => {
    const count = async (name: string) => {
      const { stdout } = await cluster.cli("info", "report", "metrics", "--format", "json");
      return (JSON.parse(stdout) as Record<string, { value: number }>)[name]?.value ?? Number.NaN;
    };
    const read = async () => {
      const { webPort } = cluster.node("worker", 1);
      const { text } = await page(webPort, "/metrics/json/");
      return (JSON.parse(text) as { counters: Record<string, { count: number }> }).counters;
    };
    await put("/counted", "MUST_CACHE");
    await expect("fs cat /counted", "hello world\n");
    assert.ok((await count("Master.CreateFileOps")) > 0);
    await expect(
      "fsadmin metrics clear",
      "Successfully cleared metrics of Alluxio leading master.\nSuccessfully cleared metrics of worker localhost.\nSuccessfully cleared metrics of worker localhost.\n",
    );
    assert.equal(await count("Master.CreateFileOps"), 0);
    assert.equal((await read())["Worker.BytesReadCache"]?.count, 0);
    await put("/counted2", "MUST_CACHE");
    assert.equal(await count("Master.CreateFileOps"), 1);
    await expect(
      "fsadmin metrics clear --workers nobody",
      /^Cannot find workers of hostnames nobody\nValid workers include /,
      255,
    );
    await expect(
      "init clear-metrics --master",
      "Successfully cleared metrics of Alluxio leading master.\n",
    );
    await expect("fsadmin metrics", /^Usage: rockpool metrics COMMAND/, 255);
  });

  test("info collect makes an archive of this host, without secrets", async () => {
    const home = nodeDir(cluster.dir, cluster.node("master", 1));
    const site = join(home, "conf", "alluxio-site.properties");
    await run("sh", ["-c", `echo 'fs.s3a.secret.key=${SECRET}' >> ${site}`]);
    mkdirSync(join(home, "logs"), { recursive: true });
    writeFileSync(join(home, "logs/master.log"), `2026-11-21 a line with ${SECRET} in it\n`);
    const output = join(folder, "archives");
    const { exit, stdout } = await cluster.masterCli(
      1,
      "info",
      "collect",
      "all",
      "--local",
      "--output-dir",
      output,
    );
    assert.equal(exit, 0, stdout);
    const path = /^Final tarball compressed to (\S+\.tar\.gz)\n$/m.exec(stdout)?.[1] ?? "";
    assert.deepEqual(
      readdirSync(output).map((name) => join(output, name)),
      [path],
    );
    await run("tar", ["-xzf", path, "-C", output]);
    const files = readdirSync(output, { recursive: true, encoding: "utf8" }).join("\n");
    for (const part of [
      "env/env.txt",
      "conf/alluxio-site.properties",
      "cluster/report.txt",
      "logs/master.log",
      "metrics/leader.txt",
      "jvm/README.txt",
    ])
      assert.match(files, new RegExp(part.replace(".", "\\.")));
    const found = await run("grep", ["-rl", SECRET, output]).then(
      ({ stdout: names }) => names,
      () => "",
    );
    assert.equal(found, "", "the secret is nowhere");
    const report = await run("sh", ["-c", `cat ${output}/*/*/cluster/report.txt`]);
    assert.match(report.stdout, /^Alluxio cluster summary: /);
    await expect(
      "info collect nonsense --output-dir /tmp",
      /^nonsense is no kind of information: one of cluster, conf/,
      255,
    );
    await expect("collectInfo all", /^Where the archive goes is missing/, 255);
  });

  test("exec ufsTest and ufsIOTest try the root's under store", async () => {
    const path = join(folder, "store");
    mkdirSync(path);
    const tests = await expect(
      `exec ufsTest --path ${path}`,
      /\nTests completed with 0 failed\.\n$/,
    );
    assert.equal(tests.split("\nPassed the test! time: ").length - 1, 16);
    const speed = JSON.parse(
      await expect(`runUfsIOTest --path file://${path} --io-size 1MB --threads 2`, /^\{/),
    ) as {
      writeSpeedStat: { mTotalSizeBytes: number };
      errors: string[];
    };
    assert.equal(speed.writeSpeedStat.mTotalSizeBytes, 2 * 1024 * 1024);
    assert.deepEqual(speed.errors, []);
    assert.deepEqual(readdirSync(path), [], "nothing is left");
    await expect("exec ufsTest --path nope://x/", /^No under store is known for nope:/, 255);
  });

  test("exec journalCrashTest kills, replays, and gives a verdict", async () => {
    const line = "exec journalCrashTest -maxAlive 2 -totalTime 4 -creates 1 -deletes 1 -renames 1";
    const text = await expect(line, /\nPassed the test!\n$/);
    assert.match(
      text,
      /^Start Journal Crash Test\.\.\.\nRound 0: Planning Master Alive Time \d+ms\.\n/,
    );
    assert.match(
      text,
      /Round 0 : Crash Master\.\.\.\nRound 0 : A master leads again after \d+ ms\n/,
    );
    assert.match(text, /\n[1-9]\d* rounds of changes were acknowledged\n/);
    await expect("exec journalCrashTest -maxAlive 9 -totalTime 3", /^-totalTime 3 is shorter/, 255);
  });

  test("bench measures, as JSON, and leaves nothing", async () => {
    for (const [name, part] of [
      ["master", "create"],
      ["journal", "oneAtATime"],
      ["worker", "stream"],
      ["client", "read"],
    ] as const) {
      const text = await expect(
        `bench ${name} --seconds 1 --threads 2${name === "worker" || name === "client" ? " --size 1MB" : ""}`,
        /^\{/,
      );
      const report = JSON.parse(text) as {
        parts: Record<string, { count: number; errors: object }>;
      };
      assert.ok((report.parts[part]?.count ?? 0) > 0, text);
      for (const one of Object.values(report.parts)) assert.deepEqual(one.errors, {}, text);
    }
    await expect("bench wasm --seconds 1", /"wasm": \{\n {6}"count": [1-9]/);
    await expect("fs count /rockpool_bench", /\n0 +0 +0 +\n$/);
  });

  /** What bash offers for a line, by the script that users source. */
  async function bashOffers(line: string): Promise<string> {
    const script = `
      export PATH="${join(folder, "bin")}:$PATH" ALLUXIO_CONF_DIR="${join(cluster.dir, "conf")}"
      source <(rockpool completion bash)
      COMP_LINE="$1" COMP_POINT=\${#1}
      # As readline parts words: at blanks, and at each stretch of other word breaks.
      mapfile -t COMP_WORDS < <(node -e 'console.log((process.argv[1].match(/[^\\s=:]+|[=:]+/g) ?? []).join("\\n"))' "$1")
      [[ $1 == *" " ]] && COMP_WORDS+=("")
      COMP_CWORD=$(( \${#COMP_WORDS[@]} - 1 ))
      _rockpool
      printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout } = await run("bash", ["-c", script, "bash", line]);
    return stdout.trim().split("\n").join(" ");
  }

  test("completion in bash: groups, commands, flags, values, and paths of the cluster", async () => {
    mkdirSync(join(folder, "bin"), { recursive: true });
    const program = join(folder, "bin/rockpool");
    writeFileSync(
      program,
      `#!/bin/sh\nexec ${process.execPath} ${resolve("dist/cli.cjs")} "$@"\n`,
      { mode: 0o755 },
    );
    await expect("fs mkdir /books/novels", /^Successfully/);
    assert.equal((await cluster.cli("fs", "touch", "/books/new one")).exit, 0);
    assert.equal(await bashOffers("rockpool jour"), "journal");
    assert.equal(await bashOffers("rockpool fs copyF"), "copyFromLocal");
    assert.equal(await bashOffers("rockpool fsadmin journal quorum e"), "elect");
    assert.equal(await bashOffers("rockpool help exec basic"), "basicIOTest");
    assert.equal(await bashOffers("rockpool fs ls --rec"), "--recursive");
    assert.equal(await bashOffers("rockpool info report --format j"), "json");
    assert.equal(await bashOffers("rockpool info report --format=y"), "yaml");
    assert.equal(await bashOffers("rockpool info report met"), "metrics");
    // A busy machine may answer too late for somebody who types: then nothing is offered, and asked for again.
    const offers = (line: string, wanted: string) =>
      cluster.until(`${wanted} for ${line}`, async () => (await bashOffers(line)) === wanted);
    await offers("rockpool fs ls /boo", "/books/");
    await offers("rockpool fs ls /books/n", "/books/new\\ one /books/novels/");
    await offers("rockpool fs rm -R /books/nov", "/books/novels/");
    const master = await cluster.leaderAddress();
    const port = master.split(":")[1];
    await offers(`rockpool fs ls alluxio://${master}/boo`, `${port}/books/`);
    const address = cluster.journalAddress(1);
    await cluster.until("members are offered", async () =>
      (await bashOffers("rockpool quorum elect --address local")).includes(address),
    );
    assert.equal(await bashOffers(`rockpool fs copyFromLocal ${folder}/sma`), `${folder}/small`);
    // Nobody there: quick, and silent.
    assert.equal(
      await bashOffers("rockpool fs -Dalluxio.master.rpc.addresses=localhost:1 ls /b"),
      "",
    );
    await expect(
      "completion fish",
      /^Shell "fish" is not known \(rockpool completion bash, or/,
      255,
    );
  });

  test("completion in zsh", async (context) => {
    const script = await expect("completion zsh", /^#compdef rockpool alluxio\n/);
    assert.match(script, /compdef _rockpool rockpool alluxio/);
    if (!(await isThere("zsh"))) return context.skip("zsh is not installed");
    const file = join(folder, "completion.zsh");
    writeFileSync(file, script);
    // The two words of zsh's own system that the script uses, so that what it offers can be seen.
    const program = `
      compdef() { :; }
      compadd() { print -r -- "$@"; }
      source ${file}
      words=(rockpool fs ls /boo); CURRENT=4; _rockpool
      words=(rockpool info report --for); CURRENT=4; _rockpool`;
    const env = {
      ...process.env,
      PATH: `${join(folder, "bin")}:${process.env["PATH"] ?? ""}`,
      ALLUXIO_CONF_DIR: join(cluster.dir, "conf"),
    };
    const { stdout } = await run("zsh", ["-f", "-c", program], { env });
    assert.equal(stdout, "-Q -S  -- /books/\n-Q -- --format\n");
  });

  test("workers go out of service and come back; wrong ones are told", async () => {
    assert.ok(existsSync(join(folder, "small")));
    await expect(
      "fsadmin decommissionWorker",
      /^Worker addresses must be specified\nUsage: decommissionWorker --addresses/,
      255,
    );
    await expect(
      "fsadmin decommissionWorker -a nobody:1",
      /^Worker nobody:1 is not known by the master\./,
      1,
    );
    await expect(
      "fsadmin decommissionWorker -a a:b:c",
      /^worker address a:b:c cannot be recognized/,
      255,
    );
    await expect(
      "exec class alluxio.Foo",
      /^Cannot run class alluxio\.Foo: there is no JVM here/,
      255,
    );
  });
});
