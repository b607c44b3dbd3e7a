/**
 * Finding the masters by ZooKeeper: our command line and library, and Alluxio's own Java client, on nodes that our election writes.
 * The masters behind the addresses are fakes: which of them leads is what the election says.
 * @module
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, type TestContext, test } from "node:test";
import { promisify } from "node:util";
import { FileSystem } from "../../src/client/file_system.ts";
import { createConfiguration } from "../../src/conf/configuration.ts";
import { runCli, type ShellParts } from "../../src/shell/cli.ts";
import { checksFor, runChecks } from "../../src/shell/environment_checks.ts";
import type { Elector } from "../../src/ufs_journal/elector.ts";
import { nodeWorld } from "../../src/world/node_world.ts";
import { createElector, findMasters, followMasters } from "../../src/zookeeper_masters.ts";
import { FakeCluster } from "../fake_cluster.ts";
import { javaToolchain } from "../interop/java_client.ts";
import { ZooKeeperServers } from "./zookeeper_servers.ts";

const java = javaToolchain();
if (java.kind === "missing" && process.env["ROCKPOOL_REQUIRE_JAVA"] === "1")
  throw new Error(`These tests need a JDK and Maven: ${java.why}`);
const skip = java.kind === "ready" ? false : `NOT RUN: ${java.why}`;

const world = nodeWorld();
const never = () => Promise.reject(new Error("not here"));
const PARTS: ShellParts = {
  version: "0",
  runLocal: never,
  journalTools: never,
  storeTests: never,
  local: never,
  cliScript: "",
  processes: { mainScript: "", formatMaster: never, formatWorker: never, usedSharedJournal: never },
  askZooKeeper: (configuration, connect) => findMasters(configuration, world, connect),
};

/** What users import. By a name that the types are not looked up by: those of the package are built for the package alone. */
async function builtLibrary() {
  const name = "rockpool/client";
  return (await import(name)) as typeof import("../../src/library.ts"); // its entry is made of that file
}

describe("masters are found by ZooKeeper", { skip }, () => {
  const home = mkdtempSync(join(tmpdir(), "zookeeper-masters-"));
  let servers: ZooKeeperServers;
  before(async () => {
    servers = await ZooKeeperServers.start(1);
  });
  after(async () => {
    await servers?.stop();
    rmSync(home, { recursive: true });
  });

  const settings = (more: Readonly<Record<string, string>> = {}) => ({
    "alluxio.zookeeper.enabled": "true",
    "alluxio.zookeeper.address": servers.connectString,
    "alluxio.zookeeper.session.timeout": "1500ms",
    ...more,
  });
  const configure = (more: Readonly<Record<string, string>> = {}) =>
    createConfiguration([
      {
        source: "SITE_PROPERTY",
        assignments: Object.entries(settings(more)).map(([name, value]) => ({
          name,
          value,
          origin: "test",
        })),
      },
    ]);

  /** Masters that stand for election; who is chosen leads, and is announced. */
  async function scene(t: TestContext, more: Readonly<Record<string, string>> = {}) {
    const cluster = await FakeCluster.start({ masters: 3, workers: [] });
    cluster.leader = -1;
    const electors: Elector[] = [];
    const stand = async (index: number) => {
      const port = cluster.masterPorts[index] ?? 0;
      const elector = createElector(
        configure(more),
        world,
        { host: "127.0.0.1", port },
        () => undefined,
      );
      electors.push(elector);
      await elector.start({
        onChosen() {
          cluster.leader = index;
          void elector.announce();
        },
        onDeposed() {
          if (cluster.leader === index) cluster.leader = -1;
        },
        onCandidates: () => undefined,
      });
      return elector;
    };
    t.after(async () => {
      await Promise.all(electors.map((elector) => elector.close()));
      await cluster.stop();
    });
    return { cluster, stand };
  }

  async function cli(...words: readonly string[]) {
    let text = "";
    const exit = await runCli(
      words,
      {
        out: async (chunk) => {
          text += String(chunk);
        },
        err: (chunk) => {
          text += chunk;
        },
        isTerminal: false,
        ask: null,
        env: {},
        cwd: home,
        home,
        signal: new AbortController().signal,
      },
      PARTS,
    );
    return { exit, text };
  }
  const given = (more: Readonly<Record<string, string>> = {}) =>
    Object.entries(settings(more)).map(([key, value]) => `-D${key}=${value}`);

  test("S1-9 S1-17 S1-28 S1-29 S1-30 S1-31 our command line needs ZooKeeper's address alone", async (t) => {
    const { cluster, stand } = await scene(t);
    for (const index of [0, 1, 2]) await stand(index);
    const z = servers.connectString;
    const logical = [
      "-Dalluxio.master.zookeeper.nameservices.mine=one",
      `-Dalluxio.master.zookeeper.address.mine.one=${z}`,
    ];
    const ways: readonly (readonly string[])[] = [
      [...given(), "/"],
      [...given(), "alluxio:///"],
      [...given(), "alluxio-ft:///"],
      [...given(), "alluxio-ft://anything:1/"],
      [`alluxio://zk@${z}/`],
      [`alluxio://zk@${z};${z}/`],
      [...logical, "alluxio://zk@mine/"],
    ];
    for (const way of ways) {
      const { exit, text } = await cli("fs", "ls", ...way);
      assert.equal(exit, 0, `${way.join(" ")}: ${text}`);
    }
    const info = await cli("fs", "masterInfo", ...given());
    assert.equal(info.exit, 0, info.text);
    assert.match(info.text, new RegExp(`Current leader master: .*:${cluster.masterPorts[0]}\n`));
    for (const port of cluster.masterPorts) assert.match(info.text, new RegExp(`:${port}\\b`));
  });

  test("S1-9 a client follows to the next leader, also one that came later", async (t) => {
    const { cluster, stand } = await scene(t, { "alluxio.zookeeper.election.path": "/late/e" });
    const configuration = configure({ "alluxio.zookeeper.election.path": "/late/e" });
    const first = await stand(0);
    const files = await FileSystem.connect({ masters: () => findMasters(configuration, world) });
    t.after(() => files.close());
    assert.ok(await files.exists("/"));
    assert.equal(files.leaderAddress(), cluster.masters[0]);
    await stand(1);
    await first.close();
    assert.ok(await files.exists("/"));
    assert.equal(files.leaderAddress(), cluster.masters[1]);
  });

  test("S1-9 S1-28 the library as it is built asks ZooKeeper by itself, and follows to the next leader", async (t) => {
    const { FileSystem: Built } = await builtLibrary();
    const { cluster, stand } = await scene(t);
    const first = await stand(0);
    await stand(1);
    const z = servers.connectString;
    const properties: Readonly<Record<string, string>> = {
      "alluxio.zookeeper.enabled": "true",
      "alluxio.zookeeper.address": z,
      "alluxio.master.zookeeper.nameservices.mine": "one",
      "alluxio.master.zookeeper.address.mine.one": z,
    };
    const clients = await Promise.all(
      [`zk@${z}`, `alluxio://zk@${z}/`, "alluxio:///", "alluxio-ft://any:1/", "zk@mine"].map(
        (masters) => Built.connect({ masters, property: (key) => properties[key] }),
      ),
    );
    t.after(() => Promise.all(clients.map((files) => files.close())));
    const allAreAt = async (index: number) => {
      for (const files of clients) {
        assert.ok(files instanceof Built);
        assert.ok(await files.exists("/"));
        assert.equal(files.leaderAddress(), cluster.masters[index]);
      }
    };
    await allAreAt(0);
    await first.close();
    await allAreAt(1);
  });

  test("S1-28 the library as it is built takes the paths in ZooKeeper from properties, and says what is missing", async (t) => {
    const { FileSystem: Built } = await builtLibrary();
    const path = { "alluxio.zookeeper.election.path": "/elsewhere/e" };
    const { cluster, stand } = await scene(t, path);
    await stand(2);
    const masters = `zk@${servers.connectString}`;
    const connect = async (properties: Readonly<Record<string, string>>) => {
      const property = (key: string) => properties[key];
      const files = await Built.connect({ masters, property, callTimeoutMs: 500 });
      t.after(() => files.close());
      return files;
    };
    const files = await connect(path);
    assert.ok(await files.exists("/"));
    assert.equal(files.leaderAddress(), cluster.masters[2]);
    const nobody = await connect({
      "alluxio.zookeeper.election.path": "/nobody",
      "alluxio.zookeeper.leader.path": "/nothing",
      "alluxio.zookeeper.leader.inquiry.retry": "1",
    });
    await assert.rejects(nobody.exists("/"), /No master stands in ZooKeeper \(.*\) below \/nobody/);
    await assert.rejects(
      connect({ "alluxio.zookeeper.leader.inquiry.retry": "often" }),
      /Bad value "often" of alluxio\.zookeeper\.leader\.inquiry\.retry/,
    );
  });

  test("a program that closed its client of ZooKeeper's masters ends by itself", async (t) => {
    const { cluster, stand } = await scene(t);
    await stand(1);
    const program = `import { FileSystem } from "rockpool/client";
      const files = await FileSystem.connect({ masters: "zk@${servers.connectString}" });
      console.log(await files.exists("/"), files.leaderAddress());
      await files.close();`;
    const words = ["--input-type=module", "-e", program];
    const run = promisify(execFile);
    const { stdout } = await run(process.execPath, words, { timeout: 30_000 });
    assert.equal(stdout, `true ${cluster.masters[1]}\n`);
  });

  test("S1-26 a worker hears of all masters, and of each that comes and goes", async (t) => {
    const path = { "alluxio.zookeeper.election.path": "/follow/e" };
    const { cluster, stand } = await scene(t, path);
    const told: string[] = [];
    let heard: () => void = () => undefined;
    const follower = followMasters(configure(path), world, (masters) => {
      told.push(
        masters
          .map(({ port }) => cluster.masterPorts.indexOf(port))
          .sort()
          .join(),
      );
      heard();
    });
    t.after(() => follower.close());
    const untilTold = async (text: string) => {
      while (told.at(-1) !== text)
        await new Promise<void>((done) => {
          heard = done;
        });
    };
    await untilTold("");
    const first = await stand(0);
    await untilTold("0");
    await stand(1);
    await untilTold("0,1");
    await first.close();
    await untilTold("1");
    await stand(2);
    await untilTold("1,2");
    assert.equal(follower.trouble, "");
  });

  test("S1-13 without masters, and without ZooKeeper, a command says what is missing where", async () => {
    const nobody = given({
      "alluxio.zookeeper.election.path": "/nobody",
      "alluxio.zookeeper.leader.path": "/nothing",
      "alluxio.zookeeper.leader.inquiry.retry": "1",
    });
    const { exit, text } = await cli("fs", "ls", ...nobody, "/");
    assert.equal(exit, 255);
    assert.match(text, /No master stands in ZooKeeper \(.*\) below \/nobody/);
    const dead = given({
      "alluxio.zookeeper.address": "127.0.0.1:1",
      "alluxio.zookeeper.connection.timeout": "300ms",
    });
    const lost = await cli("fs", "ls", ...dead, "/");
    assert.equal(lost.exit, 255);
    assert.match(lost.text, /ZooKeeper \(127\.0\.0\.1:1\) does not say where the masters are/);
  });

  test("S1-18 enabled without an address, or the reverse, is refused with both keys", async () => {
    for (const word of [
      "-Dalluxio.zookeeper.enabled=true",
      "-Dalluxio.zookeeper.address=127.0.0.1:2181",
    ]) {
      const { exit, text } = await cli("fs", "ls", word, "/");
      assert.equal(exit, 255);
      assert.match(text, /alluxio\.zookeeper\.enabled/);
      assert.match(text, /alluxio\.zookeeper\.address/);
    }
  });

  test("S1-10 S1-13 the doctor says of each ZooKeeper server whether it can be reached", async () => {
    const configuration = configure({
      "alluxio.zookeeper.address": `${servers.connectString},127.0.0.1:1`,
    });
    const checks = checksFor(new Set(["master", "worker"]), () => configuration);
    const found = await runChecks(checks.filter(({ name }) => /^zookeeper\./.test(name)));
    assert.deepEqual(
      found.map(({ name, state }) => [name, state]),
      [
        [`zookeeper.${servers.connectString}`, "OK"],
        ["zookeeper.127.0.0.1:1", "FAILED"],
      ],
    );
    assert.match(found[1]?.text ?? "", /alluxio\.zookeeper\.address/);
  });

  test("S1-9 S1-28 Alluxio's own client finds leader and masters in the nodes that we write", async (t) => {
    assert.ok(java.kind === "ready");
    const { cluster, stand } = await scene(t);
    for (const index of [0, 1, 2]) await stand(index);
    const classes = join(home, "classes");
    const driver = resolve("test/services/java/FindMasters.java");
    const jars = java.classpath;
    // Not in the way of pings: sessions are short here.
    const run = promisify(execFile);
    await run("javac", ["-nowarn", "-d", classes, "-cp", jars, driver]);
    const ask = async (more: Readonly<Record<string, string>> = {}) => {
      const words = Object.entries(settings(more)).map(([key, value]) => `${key}=${value}`);
      const { stdout } = await run("java", [
        "-XX:TieredStopAtLevel=1",
        "-cp",
        `${classes}:${jars}`,
        "FindMasters",
        ...words,
      ]);
      return stdout.trim().split("\n");
    };
    const masters = `masters ${[...cluster.masters].sort().join(",")}`;
    assert.deepEqual(await ask(), [`leader ${cluster.masters[0]}`, masters]);
    assert.deepEqual(await ask({ "alluxio.zookeeper.auth.enabled": "false" }), [
      `leader ${cluster.masters[0]}`,
      masters,
    ]);
  });
});
