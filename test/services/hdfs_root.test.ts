/**
 * A cluster whose root is on a real HDFS with two name nodes: every write type, what was there before, changes, a fail-over of HDFS.
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { FileSystem } from "../../src/client/file_system.ts";
import { HdfsUnderFileSystem } from "../../src/ufs/hdfs_ufs.ts";
import { LocalCluster } from "../process/local_cluster.ts";
import { HdfsServers } from "./hdfs_servers.ts";

const why = HdfsServers.missing();
if (why !== null && process.env["ROCKPOOL_REQUIRE_JAVA"] === "1")
  throw new Error(`These tests need a JDK and Maven: ${why}`);
const OWNER = { owner: "", group: "", mode: 0o644 };
const bytes = (text: string) => new TextEncoder().encode(text);

describe("a cluster on HDFS", { skip: why === null ? false : `NOT RUN: ${why}` }, () => {
  let hdfs: HdfsServers;
  let cluster: LocalCluster;
  let ufs: HdfsUnderFileSystem;
  let fileSystem: FileSystem;
  before(async () => {
    hdfs = await HdfsServers.start(2);
    ufs = new HdfsUnderFileSystem("/", {
      nameNodes: hdfs.httpAddresses,
      user: "root",
      uri: hdfs.uri,
    });
    await put("/data/before/old", "was there");
    cluster = await LocalCluster.start({
      masters: 3,
      workers: 2,
      definitions: [
        `alluxio.master.mount.table.root.ufs=${hdfs.uri}/data`,
        `alluxio.underfs.hdfs.configuration=${hdfs.siteFile}`,
        "rockpool.underfs.hdfs.user=root",
      ],
    });
    fileSystem = await FileSystem.connect({ masters: cluster.masters, user: cluster.user });
  });
  after(async () => {
    await fileSystem?.close();
    await cluster?.stop();
    await hdfs?.stop();
  });

  async function put(path: string, text: string): Promise<void> {
    const writer = await ufs.create(path, OWNER);
    await writer.write(bytes(text));
    await writer.commit();
  }

  async function get(path: string): Promise<string | null> {
    const status = await ufs.status(path);
    if (status === null) return null;
    const into = Buffer.alloc(status.lengthBytes);
    const reader = await ufs.open(path);
    await reader.read(into, 0);
    await reader.close();
    return into.toString();
  }

  async function read(path: string): Promise<string> {
    return Buffer.from(await fileSystem.readFile(path)).toString();
  }

  test("what was there is listed and read, and a checksum does not change", async () => {
    assert.equal(await read("/before/old"), "was there");
    const names: string[] = [];
    for await (const { name } of fileSystem.listStatus("/")) names.push(name);
    assert.deepEqual(names, ["before"]);
  });

  test("every write type that persists brings the bytes to HDFS", async () => {
    for (const writeType of ["CACHE_THROUGH", "THROUGH", "ASYNC_THROUGH"] as const) {
      const text = writeType.repeat(50_000);
      await fileSystem.writeFile(`/types/${writeType}`, bytes(text), { writeType });
      assert.equal(await read(`/types/${writeType}`), text);
      await cluster.until(
        `${writeType} is in HDFS`,
        async () => (await get(`/data/types/${writeType}`)) === text,
      );
    }
  });

  test("renames and removals reach HDFS", async () => {
    await fileSystem.writeFile("/moves/a", bytes("a"), { writeType: "CACHE_THROUGH" });
    await fileSystem.rename("/moves/a", "/moves/b");
    await cluster.until("it has moved", async () => (await get("/data/moves/b")) === "a");
    assert.equal(await get("/data/moves/a"), null);
    await fileSystem.delete("/moves", { isRecursive: true });
    await cluster.until("it is gone", async () => (await ufs.status("/data/moves")) === null);
  });

  test("a fail-over of the name nodes and one of ours lose nothing", async () => {
    hdfs.failOver("nn1", "nn2");
    const leader = await cluster.leader();
    cluster.kill("master", leader, "SIGKILL");
    for (let i = 0; i < 10; i++)
      await fileSystem.writeFile(`/over/${i}`, bytes(`file ${i}`), { writeType: "CACHE_THROUGH" });
    for (let i = 0; i < 10; i++) assert.equal(await get(`/data/over/${i}`), `file ${i}`);
    await cluster.startProcess("master", leader);
    await cluster.untilHealthy();
  });

  test("a backup goes to HDFS", async () => {
    const { exit, stdout } = await cluster.cli("journal", "backup");
    assert.equal(exit, 0, stdout);
    const uri = /Backup URI +: (.*)/.exec(stdout)?.[1] ?? "";
    assert.ok(uri.startsWith(`${hdfs.uri}/data/alluxio_backups/`), uri);
    assert.ok(((await ufs.status(uri.slice(hdfs.uri.length)))?.lengthBytes ?? 0) > 0);
  });
});
