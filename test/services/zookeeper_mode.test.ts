/**
 * Masters that ZooKeeper elects and that share a journal in a folder: real processes, a real ZooKeeper, our clients and commands.
 * The times that are measured are printed; what they should be stands in docs/OPERATIONS.md.
 * @module
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { FileSystem } from "../../src/client/file_system.ts";
import { nodeDir } from "../../src/local/cluster_files.ts";
import { type Acknowledged, longestGapMs } from "../process/gaps.ts";
import { LocalCluster } from "../process/local_cluster.ts";
import { OwnWriter } from "../process/own_writer.ts";
import { ZooKeeperServers } from "./zookeeper_servers.ts";

const why = ZooKeeperServers.missing();
if (why !== null && process.env["ROCKPOOL_REQUIRE_JAVA"] === "1")
  throw new Error(`These tests need a JDK and Maven: ${why}`);

const SESSION_MS = 3000;
const KILL_ROUNDS = 5;

describe("masters with ZooKeeper", { skip: why === null ? false : `NOT RUN: ${why}` }, () => {
  const folder = mkdtempSync(join(tmpdir(), "rockpool-zookeeper-"));
  const shared = join(folder, "journal");
  let zookeeper: ZooKeeperServers;
  let cluster: LocalCluster;
  /** What clients are told: nothing but where ZooKeeper is. */
  let found: readonly string[] = [];

  before(async () => {
    zookeeper = await ZooKeeperServers.start(1);
    found = [
      "-Dalluxio.zookeeper.enabled=true",
      `-Dalluxio.zookeeper.address=${zookeeper.connectString}`,
    ];
    cluster = await LocalCluster.start({
      masters: 3,
      workers: 2,
      definitions: [
        "alluxio.zookeeper.enabled=true",
        `alluxio.zookeeper.address=${zookeeper.connectString}`,
        `alluxio.zookeeper.session.timeout=${SESSION_MS}ms`,
        `alluxio.master.journal.folder=${shared}`,
      ],
    });
  });
  after(async () => {
    await cluster?.stop();
    await zookeeper?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function ok(...words: readonly string[]): Promise<string> {
    const { exit, stdout, stderr } = await cluster.cli(...words);
    assert.equal(exit, 0, `${words.join(" ")}: ${stdout}${stderr}`);
    return stdout;
  }

  async function requireAll(acknowledged: readonly Acknowledged[], path: string): Promise<void> {
    const fileSystem = await FileSystem.connect({ masters: cluster.masters, user: cluster.user });
    const names = new Set<string>();
    for await (const { name } of fileSystem.listStatus(path)) names.add(name);
    const lost = acknowledged.filter(({ name }) => !names.has(name));
    assert.deepEqual(lost, [], "what was acknowledged is there");
    await fileSystem.close();
  }

  /** Until a master leads that is none of these. */
  async function nextLeader(without: readonly number[]): Promise<number> {
    let leader: number | null = null;
    await cluster.until("another master leads", async () => {
      leader = await cluster.leaderAmong(without);
      return leader !== null;
    });
    return leader ?? -1;
  }

  test("S1-1 S1-4 S1-5 S1-25 one of them leads; the others are standbys, and a report names ZooKeeper", async () => {
    const leader = await cluster.leader();
    const report = await ok("fsadmin", "report", "summary");
    assert.match(report, /Zookeeper Enabled: true/);
    assert.ok(report.includes(zookeeper.connectString), report);
    assert.match(report, /Raft-based Journal: false/);
    assert.equal(report.match(/PRIMARY/g)?.length, 1);
    assert.equal(report.match(/STANDBY/g)?.length, 2);
    assert.ok(report.includes(`localhost:${cluster.node("master", leader).rpcPort}`));
  });

  test("S1-9 S1-28 S1-30 clients and commands need nothing but ZooKeeper's address", async () => {
    await ok("fs", "mkdir", "/found");
    const uris = [
      "/found",
      "alluxio:///found",
      "alluxio-ft:///found",
      "alluxio-ft://anything:1/found",
      `alluxio://zk@${zookeeper.connectString}/found`,
    ];
    for (const uri of uris) {
      const { exit, stdout, stderr } = await cluster.cli("fs", "ls", "-d", ...found, uri);
      assert.equal(exit, 0, `${uri}: ${stderr}`);
      assert.match(stdout, /\/found/);
    }
  });

  test("S1-26 S1-27 workers find all masters through ZooKeeper, and bear the loss of a leader", async () => {
    const text = await ok("fsadmin", "report", "capacity");
    assert.match(text, /localhost/);
    for (const worker of [1, 2]) {
      const log = cluster.log("worker", worker);
      for (const { rpcPort } of [1, 2, 3].map((number) => cluster.node("master", number)))
        assert.ok(log.includes(String(rpcPort)), `worker ${worker} knows the master at ${rpcPort}`);
    }
  });

  test("S1-2 S1-3 S1-7 a killed leader is followed by a standby that has replayed everything", async () => {
    await ok("fs", "mkdir", "/kills");
    const writer = await OwnWriter.start(cluster, "/kills");
    await writer.ready;
    const gapsMs: number[] = [];
    for (let round = 0; round < KILL_ROUNDS; round++) {
      const leader = await cluster.leader();
      const killedMs = Date.now();
      cluster.kill("master", leader, "SIGKILL");
      await nextLeader([leader]);
      const count = writer.acknowledged.length;
      await cluster.until("it is written again", () => writer.acknowledged.length > count + 5);
      gapsMs.push(Math.round(longestGapMs(writer.acknowledged, killedMs)));
      await cluster.startProcess("master", leader);
      await cluster.untilHealthy();
    }
    await writer.stop();
    console.log(`# gaps after kill -9, session timeout ${SESSION_MS} ms: ${gapsMs.join(", ")} ms`);
    assert.ok(writer.acknowledged.length > 100);
    await requireAll(writer.acknowledged, "/kills");
  });

  test("S1-12 a leader that was stopped for longer than its session leads no more when it wakes, and loses nothing", async () => {
    await ok("fs", "mkdir", "/stops");
    const writer = await OwnWriter.start(cluster, "/stops");
    await writer.ready;
    const leader = await cluster.leader();
    cluster.kill("master", leader, "SIGSTOP");
    const next = await nextLeader([leader]);
    const count = writer.acknowledged.length;
    await cluster.until("it is written again", () => writer.acknowledged.length > count + 20);
    cluster.kill("master", leader, "SIGCONT");
    await cluster.until("it says that it was deposed", () =>
      /this master is a standby/.test(cluster.log("master", leader)),
    );
    assert.equal(await nextLeader([]), next);
    await writer.stop();
    await requireAll(writer.acknowledged, "/stops");
  });

  test("a master that is stopped in peace is followed at once", async () => {
    await ok("fs", "mkdir", "/peace");
    const writer = await OwnWriter.start(cluster, "/peace");
    await writer.ready;
    const leader = await cluster.leader();
    const fromMs = Date.now();
    cluster.kill("master", leader, "SIGTERM");
    await nextLeader([leader]);
    const count = writer.acknowledged.length;
    await cluster.until("it is written again", () => writer.acknowledged.length > count + 5);
    await writer.stop();
    const gapMs = Math.round(longestGapMs(writer.acknowledged, fromMs));
    console.log(`# gap at a stop in peace: ${gapMs} ms`);
    await cluster.until("it is down", () => !cluster.isRunning("master", leader));
    await requireAll(writer.acknowledged, "/peace");
    await cluster.startProcess("master", leader);
    await cluster.untilHealthy();
  });

  test("the journal is sound, and can be read, while its leader appends and others lead", async () => {
    await ok("fs", "mkdir", "/looks");
    const writer = await OwnWriter.start(cluster, "/looks");
    await writer.ready;
    const place = [...found, `-Dalluxio.master.journal.folder=${shared}`];
    for (let round = 0; round < 3; round++) {
      const said = await ok("journal", "verify", "--deep", ...place);
      assert.match(said, /\d+ objects, \d+ of them fences, .* entries \d+ to \d+ can be read/);
      assert.match(said, /The journal is sound\./);
      if (round === 0) await ok("journal", "checkpoint");
    }
    const dump = join(folder, "dump");
    const read = await ok("journal", "read", "-start", "1", "-output-dir", dump, ...place);
    assert.match(read, /Dumping journal of type UFS to .*\nWrote \d+ entries to /);
    await writer.stop();
    await requireAll(writer.acknowledged, "/looks");
  });

  test("a master without its metadata makes them anew from the shared journal", async () => {
    await ok("fsadmin", "journal", "checkpoint");
    await ok("fs", "mkdir", "/after-checkpoint");
    await ok("fsadmin", "journal", "checkpoint");
    const leader = await cluster.leader();
    const number = [1, 2, 3].find((each) => each !== leader) ?? 1;
    cluster.kill("master", number, "SIGKILL");
    await cluster.until("it is down", () => !cluster.isRunning("master", number));
    const metastore = join(nodeDir(cluster.dir, cluster.node("master", number)), "metastore");
    assert.ok(existsSync(metastore));
    rmSync(metastore, { recursive: true });
    await cluster.startProcess("master", number);
    await cluster.untilHealthy();
    // It leads when the others are gone, with all that there is.
    const others = [1, 2, 3].filter((each) => each !== number);
    for (const other of others) cluster.kill("master", other, "SIGTERM");
    assert.equal(await nextLeader(others), number);
    const listed = await ok("fs", "ls", "/");
    for (const name of ["/after-checkpoint", "/kills", "/stops", "/peace"])
      assert.ok(listed.includes(name), `${name} is there`);
    for (const other of others) {
      await cluster.until("it is down", () => !cluster.isRunning("master", other));
      await cluster.startProcess("master", other);
    }
    await cluster.untilHealthy();
  });

  test("S1-10 S1-13 ZooKeeper away: the leader steps down with its session, and one leads when it is back", async () => {
    const leader = await cluster.leader();
    zookeeper.signal(1, "SIGKILL");
    await cluster.until("nobody leads", async () => (await cluster.leaderAmong([])) === null);
    assert.match(cluster.log("master", leader), /this master is a standby/);
    await zookeeper.restart(1);
    await cluster.untilHealthy();
    await ok("fs", "mkdir", "/zookeeper-is-back");
  });

  test("formatting is refused as long as a master runs", async () => {
    const leader = await cluster.leader();
    const before = readdirSync(shared).sort();
    const { exit, stdout, stderr } = await cluster.masterCli(
      leader,
      ...["journal", "format", "-y", ...found, `-Dalluxio.master.journal.folder=${shared}`],
    );
    assert.notEqual(exit, 0);
    assert.match(`${stdout}${stderr}`, /run/);
    assert.deepEqual(readdirSync(shared).sort(), before);
  });

  test("a backup of this journal starts a cluster with an embedded one, and the other way round", async () => {
    const files = join(folder, "backups");
    mkdirSync(files);
    await ok("fs", "mkdir", "/moves");
    const backup = async (from: LocalCluster) => {
      const words = ["journal", "backup", "--local", "--path", files];
      const { exit, stdout, stderr } = await from.cli(...words);
      assert.equal(exit, 0, `${stdout}${stderr}`);
      const file = readdirSync(files).sort().at(-1);
      assert.ok(file !== undefined);
      return join(files, file);
    };
    const embedded = await LocalCluster.start({
      masters: 3,
      workers: 1,
      definitions: [`alluxio.master.journal.init.from.backup=${await backup(cluster)}`],
    });
    try {
      const { stdout } = await embedded.cli("fs", "ls", "/");
      for (const name of ["/moves", "/kills"]) assert.ok(stdout.includes(name), stdout);
      await embedded.cli("fs", "mkdir", "/made-by-the-embedded-one");
      await delay(1100); // names of backups count seconds
      const back = await LocalCluster.start({
        masters: 2,
        workers: 1,
        definitions: [
          "alluxio.zookeeper.enabled=true",
          `alluxio.zookeeper.address=${zookeeper.connectString}`,
          "alluxio.zookeeper.election.path=/second/election",
          "alluxio.zookeeper.leader.path=/second/leader",
          `alluxio.zookeeper.session.timeout=${SESSION_MS}ms`,
          `alluxio.master.journal.folder=${join(folder, "journal-2")}`,
          `alluxio.master.journal.init.from.backup=${await backup(embedded)}`,
        ],
      });
      try {
        const listed = (await back.cli("fs", "ls", "/")).stdout;
        for (const name of ["/moves", "/kills", "/made-by-the-embedded-one"])
          assert.ok(listed.includes(name), listed);
      } finally {
        await back.stop();
      }
    } finally {
      await embedded.stop();
    }
  });
});
