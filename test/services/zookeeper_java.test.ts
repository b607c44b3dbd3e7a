/**
 * The unmodified Alluxio 2.9.4 client under Hadoop's FsShell and masters that ZooKeeper elects: it is told ZooKeeper's address alone, reads our znodes, and
 * follows from one leader to the next.
 * @module
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { HadoopShell, JavaWriter, javaToolchain } from "../interop/java_client.ts";
import { longestGapMs } from "../process/gaps.ts";
import { LocalCluster } from "../process/local_cluster.ts";
import { ZooKeeperServers } from "./zookeeper_servers.ts";

const java = javaToolchain();
if (java.kind === "missing" && process.env["ROCKPOOL_REQUIRE_JAVA"] === "1")
  throw new Error(`These tests need a JDK and Maven: ${java.why}`);

const SESSION_MS = 2000;

describe("the Java client and ZooKeeper", { skip: java.kind === "missing" }, () => {
  const folder = mkdtempSync(join(tmpdir(), "rockpool-zk-java-"));
  const local = join(folder, "bytes");
  let zookeeper: ZooKeeperServers;
  let cluster: LocalCluster;
  let shell: HadoopShell;
  let found: Readonly<Record<string, string>> = {};

  before(async () => {
    assert.ok(java.kind === "ready");
    writeFileSync(local, "some bytes");
    zookeeper = await ZooKeeperServers.start(3);
    found = {
      "alluxio.zookeeper.enabled": "true",
      "alluxio.zookeeper.address": zookeeper.connectString,
    };
    cluster = await LocalCluster.start({
      masters: 3,
      workers: 1,
      definitions: [
        ...Object.entries(found).map(([key, value]) => `${key}=${value}`),
        `alluxio.zookeeper.session.timeout=${SESSION_MS}ms`,
        `alluxio.master.journal.folder=${join(folder, "journal")}`,
      ],
    });
    execFileSync("mvn", ["-q", "-B", "-f", "hadoop/pom.xml", "package"], { stdio: "inherit" });
    shell = new HadoopShell(`${resolve("hadoop/target/rockpool-hadoop.jar")}:${java.classpath}`);
  });
  after(async () => {
    await shell?.close();
    await cluster?.stop();
    await zookeeper?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function fs(...words: readonly string[]): Promise<string> {
    const { exit, stdout, stderr } = await shell.fs(...words);
    assert.equal(exit, 0, `${words.join(" ")}: ${stderr}`);
    return stdout.toString();
  }

  test("S1-9 S1-18 S1-19 S1-21 S1-28 the two properties are all that it needs", async () => {
    await shell.configure(found);
    await fs("-mkdir", "alluxio:///d");
    await fs("-put", local, "alluxio:///d/bytes");
    assert.equal(await fs("-cat", "alluxio:///d/bytes"), "some bytes");
    assert.match(await fs("-ls", "alluxio:///d"), /\/d\/bytes/);
  });

  test("S0-51 S1-21 the authority names the ensemble", async () => {
    await shell.configure({});
    assert.match(await fs("-ls", `alluxio://zk@${zookeeper.connectString}/d`), /\/d\/bytes/);
    const semicolons = zookeeper.connectString.replaceAll(",", ";");
    assert.match(await fs("-ls", `alluxio://zk@${semicolons}/d`), /\/d\/bytes/);
  });

  test("S1-29 S1-30 S1-31 alluxio-ft:///directory, by our jar and a property of Hadoop", async () => {
    await shell.configure({
      ...found,
      "fs.alluxio-ft.impl": "alluxio.hadoop.FaultTolerantFileSystem",
    });
    assert.match(await fs("-ls", "alluxio-ft:///d"), /\/d\/bytes/);
    assert.match(await fs("-ls", "alluxio-ft://anything/d"), /\/d\/bytes/);
    assert.equal(await fs("-cat", "alluxio-ft:///d/bytes"), "some bytes");
  });

  test("S1-3 it follows a leader that was killed, and every file that it was told of is there", async () => {
    await cluster.cli("fs", "mkdir", "/java");
    assert.ok(java.kind === "ready");
    const writer = new JavaWriter(java.classpath, "alluxio:///java", "MUST_CACHE", found);
    await writer.ready;
    const gapsMs: number[] = [];
    for (let round = 0; round < 2; round++) {
      const leader = await cluster.leader();
      const count = writer.acknowledged.length;
      await cluster.until("some are written", () => writer.acknowledged.length > count + 5);
      const killedMs = Date.now();
      cluster.kill("master", leader, "SIGKILL");
      const before = writer.acknowledged.length;
      await cluster.until("it is written again", () => writer.acknowledged.length > before + 5);
      gapsMs.push(longestGapMs(writer.acknowledged, killedMs));
      await cluster.startProcess("master", leader);
      await cluster.untilHealthy();
    }
    await writer.stop();
    console.log(`# Java client, session timeout ${SESSION_MS} ms: gaps ${gapsMs.join(", ")} ms`);
    assert.deepEqual(writer.failures, []);
    await shell.configure(found);
    const listed = await fs("-ls", "alluxio:///java");
    for (const { name } of writer.acknowledged) assert.ok(listed.includes(`/java/${name}`), name);
  });
});
