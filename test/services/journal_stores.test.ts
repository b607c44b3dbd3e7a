/**
 * Masters that ZooKeeper elects, with their journal in a real S3 and in a real HDFS: leaders are killed and stopped, the store goes away
 * and comes back, and nothing that was acknowledged is lost.
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { FileSystem } from "../../src/client/file_system.ts";
import type { Acknowledged } from "../process/gaps.ts";
import { LocalCluster } from "../process/local_cluster.ts";
import { OwnWriter } from "../process/own_writer.ts";
import { HdfsServers } from "./hdfs_servers.ts";
import { ACCESS_KEY, S3Server, SECRET_KEY } from "./s3_servers.ts";
import { ZooKeeperServers } from "./zookeeper_servers.ts";

const SESSION_MS = 3000;

type Store = {
  readonly uri: string;
  readonly definitions: readonly string[];
  /** Takes it away for a moment. */
  readonly outage: () => Promise<void>;
  readonly stop: () => Promise<void>;
};

async function startS3(): Promise<Store> {
  const server = await S3Server.start("journals");
  return {
    uri: "s3://journals/one",
    definitions: [
      `alluxio.underfs.s3.endpoint=${server.endpoint}`,
      "alluxio.underfs.s3.disable.dns.buckets=true",
      `alluxio.master.journal.ufs.option.s3a.accessKeyId=${ACCESS_KEY}`,
      `alluxio.master.journal.ufs.option.s3a.secretKey=${SECRET_KEY}`,
    ],
    outage: async () => {
      server.signal("SIGKILL");
      await server.restart();
    },
    stop: () => server.stop(),
  };
}

async function startHdfs(): Promise<Store> {
  const servers = await HdfsServers.start(2);
  return {
    uri: `${servers.uri}/journals/one`,
    definitions: [
      `alluxio.underfs.hdfs.configuration=${servers.siteFile}`,
      "rockpool.underfs.hdfs.user=root",
    ],
    outage: async () => servers.failOver("nn1", "nn2"),
    stop: () => servers.stop(),
  };
}

const kinds = [
  { name: "S3", missing: S3Server.missing(), isRequired: "ROCKPOOL_REQUIRE_GO", start: startS3 },
  {
    name: "HDFS",
    missing: HdfsServers.missing(),
    isRequired: "ROCKPOOL_REQUIRE_JAVA",
    start: startHdfs,
  },
];
const noZooKeeper = ZooKeeperServers.missing();

for (const { name, missing, isRequired, start } of kinds) {
  const why = missing ?? noZooKeeper;
  if (why !== null && process.env[isRequired] === "1")
    throw new Error(`These tests need ${name} and ZooKeeper: ${why}`);
  describe(`a journal in ${name}`, { skip: why === null ? false : `NOT RUN: ${why}` }, () => {
    let store: Store;
    let zookeeper: ZooKeeperServers;
    let cluster: LocalCluster;
    before(async () => {
      zookeeper = await ZooKeeperServers.start(1);
      store = await start();
      cluster = await LocalCluster.start({
        masters: 3,
        workers: 1,
        definitions: [
          "alluxio.zookeeper.enabled=true",
          `alluxio.zookeeper.address=${zookeeper.connectString}`,
          `alluxio.zookeeper.session.timeout=${SESSION_MS}ms`,
          `alluxio.master.journal.folder=${store.uri}`,
          ...store.definitions,
        ],
      });
    });
    after(async () => {
      await cluster?.stop();
      await store?.stop();
      await zookeeper?.stop();
    });

    async function writing(path: string, body: (writer: OwnWriter) => Promise<void>) {
      const { exit, stdout, stderr } = await cluster.cli("fs", "mkdir", path);
      assert.equal(exit, 0, `${stdout}${stderr}`);
      const writer = await OwnWriter.start(cluster, path);
      await writer.ready;
      try {
        await body(writer);
      } finally {
        await writer.stop();
      }
      await requireAll(writer.acknowledged, path);
    }

    async function requireAll(acknowledged: readonly Acknowledged[], path: string): Promise<void> {
      const fileSystem = await FileSystem.connect({ masters: cluster.masters, user: cluster.user });
      const names = new Set<string>();
      for await (const status of fileSystem.listStatus(path)) names.add(status.name);
      await fileSystem.close();
      const lost = acknowledged.filter((one) => !names.has(one.name));
      assert.deepEqual(lost, [], "what was acknowledged is there");
    }

    async function nextLeader(without: readonly number[]): Promise<number> {
      let leader: number | null = null;
      await cluster.until("another master leads", async () => {
        leader = await cluster.leaderAmong(without);
        return leader !== null;
      });
      return leader ?? -1;
    }

    async function untilWritten(writer: OwnWriter, more: number): Promise<void> {
      const count = writer.acknowledged.length;
      await cluster.until("it is written again", () => writer.acknowledged.length > count + more);
    }

    test("S1-4 S1-6 S1-11 S1-14 S1-24 a killed leader is followed by one that has everything", () =>
      writing("/kills", async (writer) => {
        for (let round = 0; round < 2; round++) {
          const leader = await cluster.leader();
          cluster.kill("master", leader, "SIGKILL");
          await nextLeader([leader]);
          await untilWritten(writer, 5);
          await cluster.startProcess("master", leader);
          await cluster.untilHealthy();
        }
      }));

    test("a leader that was stopped for longer than its session changes nothing when it wakes", () =>
      writing("/stops", async (writer) => {
        const leader = await cluster.leader();
        cluster.kill("master", leader, "SIGSTOP");
        const next = await nextLeader([leader]);
        await untilWritten(writer, 10);
        cluster.kill("master", leader, "SIGCONT");
        await cluster.until("it says that it was deposed", () =>
          /this master is a standby/.test(cluster.log("master", leader)),
        );
        assert.equal(await nextLeader([]), next);
      }));

    test("the store goes away for a moment, and nothing is lost", () =>
      writing("/outage", async (writer) => {
        await store.outage();
        await untilWritten(writer, 10);
        await cluster.untilHealthy();
      }));

    test("a checkpoint goes there, and masters begin from it", async () => {
      const { exit, stdout, stderr } = await cluster.cli("fsadmin", "journal", "checkpoint");
      assert.equal(exit, 0, `${stdout}${stderr}`);
      for (const number of [1, 2, 3]) cluster.kill("master", number, "SIGKILL");
      for (const number of [1, 2, 3]) {
        await cluster.until("it is down", () => !cluster.isRunning("master", number));
        await cluster.startProcess("master", number);
      }
      await cluster.untilHealthy();
      const listed = (await cluster.cli("fs", "ls", "/")).stdout;
      for (const path of ["/kills", "/stops", "/outage"]) assert.ok(listed.includes(path), listed);
    });

    test("the journal is found sound there by its URI, with its checkpoint, and can be read", async () => {
      const place = ["-input-dir", store.uri, ...store.definitions.map((each) => `-D${each}`)];
      const verified = await cluster.cli("journal", "verify", "--deep", ...place);
      assert.equal(verified.exit, 0, verified.stdout + verified.stderr);
      assert.match(verified.stdout, /Checkpoint .*: sound, \d+ B, everything through entry \d+\n/);
      const dump = join(cluster.dir, "dump");
      const read = await cluster.cli("journal", "read", "-output-dir", dump, ...place);
      assert.match(read.stdout, /Dumping journal of type UFS to .*[\s\S]*Wrote \d+ entries to /);
    });
  });
}
