/**
 * A cluster whose root is in a bucket of a real S3 server: every write type, what was there before, changes, the cache, restarts.
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { FileSystem } from "../../src/client/file_system.ts";
import { S3UnderFileSystem } from "../../src/ufs/s3_ufs.ts";
import { LocalCluster } from "../process/local_cluster.ts";
import { ACCESS_KEY, S3Server, SECRET_KEY } from "./s3_servers.ts";

const why = S3Server.missing();
if (why !== null && process.env["ROCKPOOL_REQUIRE_GO"] === "1")
  throw new Error(`These tests need Go: ${why}`);
const OWNER = { owner: "", group: "", mode: 0o644 };
const bytes = (text: string) => new TextEncoder().encode(text);

describe("a cluster on S3", { skip: why === null ? false : `NOT RUN: ${why}` }, () => {
  let s3: S3Server;
  let cluster: LocalCluster;
  let ufs: S3UnderFileSystem;
  let fileSystem: FileSystem;
  before(async () => {
    s3 = await S3Server.start("under");
    ufs = new S3UnderFileSystem("/", {
      bucket: "under",
      endpoint: s3.endpoint,
      region: "us-east-1",
      isPathStyle: true,
      credentials: { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY },
    });
    await put("/data/before/old", "was there");
    await put("/data/before/deep/er", "that too");
    cluster = await LocalCluster.start({
      masters: 3,
      workers: 2,
      definitions: [
        "alluxio.master.mount.table.root.ufs=s3://under/data",
        `alluxio.underfs.s3.endpoint=${s3.endpoint}`,
        "alluxio.underfs.s3.disable.dns.buckets=true",
        `s3a.accessKeyId=${ACCESS_KEY}`,
        `alluxio.master.mount.table.root.option.s3a.accessKeyId=${ACCESS_KEY}`,
        `s3a.secretKey=${SECRET_KEY}`,
      ],
    });
    fileSystem = await FileSystem.connect({ masters: cluster.masters, user: cluster.user });
  });
  after(async () => {
    await fileSystem?.close();
    await cluster?.stop();
    await s3?.stop();
  });

  async function put(path: string, text: string): Promise<void> {
    const writer = await ufs.create(path, OWNER);
    await writer.write(bytes(text));
    await writer.commit();
  }

  async function get(path: string): Promise<string | null> {
    const status = await ufs.status(path);
    if (status === null || status.isDirectory) return null;
    const into = Buffer.alloc(status.lengthBytes);
    const reader = await ufs.open(path);
    await reader.read(into, 0);
    await reader.close();
    return into.toString();
  }

  async function read(path: string): Promise<string> {
    return Buffer.from(await fileSystem.readFile(path)).toString();
  }

  async function names(path: string): Promise<string[]> {
    const found: string[] = [];
    for await (const { name } of fileSystem.listStatus(path)) found.push(name);
    return found.sort();
  }

  test("what was there is listed and read", async () => {
    assert.equal(await read("/before/old"), "was there");
    assert.deepEqual(await names("/"), ["before"]);
    assert.deepEqual(await names("/before"), ["deep", "old"]);
    assert.equal(await read("/before/deep/er"), "that too");
  });

  test("every write type that persists brings the bytes to S3, MUST_CACHE does not", async () => {
    for (const writeType of ["CACHE_THROUGH", "THROUGH", "ASYNC_THROUGH", "MUST_CACHE"] as const) {
      const text = writeType.repeat(900_000); // more than one part
      await fileSystem.writeFile(`/types/${writeType} a+b`, bytes(text), { writeType });
      assert.equal(await read(`/types/${writeType} a+b`), text);
      if (writeType === "MUST_CACHE") continue;
      await cluster.until(
        `${writeType} is in S3`,
        async () => (await get(`/data/types/${writeType} a+b`)) === text,
      );
    }
    assert.equal(await get("/data/types/MUST_CACHE a+b"), null);
  });

  test("what was read is cached: it is read without S3, too", async () => {
    const text = "cached ".repeat(100_000);
    await put("/data/cached", text);
    assert.equal(await read("/cached"), text);
    await cluster.until("it is cached", async () => {
      const { stdout } = await cluster.cli("fs", "stat", "/cached");
      return /inAlluxioPercentage=100/.test(stdout);
    });
    s3.signal("SIGSTOP");
    try {
      assert.equal(await read("/cached"), text);
    } finally {
      s3.signal("SIGCONT");
    }
  });

  test("renames and removals reach S3", async () => {
    await fileSystem.writeFile("/moves/a", bytes("a"), { writeType: "CACHE_THROUGH" });
    await fileSystem.rename("/moves/a", "/moves/b");
    await cluster.until("it has moved", async () => (await get("/data/moves/b")) === "a");
    assert.equal(await get("/data/moves/a"), null);
    await fileSystem.rename("/moves", "/moved");
    await cluster.until("all of it", async () => (await get("/data/moved/b")) === "a");
    await fileSystem.delete("/moved", { isRecursive: true });
    await cluster.until("it is gone", async () => (await ufs.status("/data/moved")) === null);
    assert.equal(await ufs.status("/data/moves"), null);
  });

  test("S3 that goes away and a leader that dies lose nothing", async () => {
    const leader = await cluster.leader();
    s3.signal("SIGKILL");
    const written = fileSystem.writeFile("/over/async", bytes("async"), {
      writeType: "ASYNC_THROUGH",
    });
    cluster.kill("master", leader, "SIGKILL");
    await s3.restart();
    await written;
    for (let i = 0; i < 10; i++)
      await fileSystem.writeFile(`/over/${i}`, bytes(`file ${i}`), { writeType: "CACHE_THROUGH" });
    for (let i = 0; i < 10; i++) assert.equal(await get(`/data/over/${i}`), `file ${i}`);
    await cluster.until("it comes", async () => (await get("/data/over/async")) === "async");
    await cluster.startProcess("master", leader);
    await cluster.untilHealthy();
    assert.equal(await read("/over/async"), "async");
  });

  test("a backup goes to S3", async () => {
    const { exit, stdout } = await cluster.cli("journal", "backup");
    assert.equal(exit, 0, stdout);
    const uri = /Backup URI +: (.*)/.exec(stdout)?.[1] ?? "";
    assert.ok(uri.startsWith("s3://under/data/alluxio_backups/"), uri);
    assert.ok(((await ufs.status(uri.slice("s3://under".length)))?.lengthBytes ?? 0) > 0);
  });

  test("nothing that processes print or show has the secret", async () => {
    const { stdout } = await cluster.cli("conf", "get", "--master");
    assert.match(stdout, /s3a\.secretKey=\*+/);
    assert.ok(!stdout.includes(SECRET_KEY));
    for (const kind of ["master", "worker"] as const)
      for (const number of [1, 2]) {
        const log = cluster.log(kind, number);
        assert.notEqual(log, "", "this looks at the right place");
        assert.ok(!log.includes(SECRET_KEY));
      }
  });
});
