/**
 * HDFS against a real one: the contracts of all under stores and of all log stores, interrupted writes, lost data nodes, fail-over.
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { isRockpoolError } from "../../src/common/errors.ts";
import { HdfsLogStore } from "../../src/ufs/hdfs_log_store.ts";
import { HdfsUnderFileSystem } from "../../src/ufs/hdfs_ufs.ts";
import { testLogStore } from "../../src/ufs/log_store_contract.ts";
import { testUnderFileSystem } from "../../src/ufs/under_file_system_contract.ts";
import { HdfsServers } from "./hdfs_servers.ts";

const why = HdfsServers.missing();
if (why !== null && process.env["ROCKPOOL_REQUIRE_JAVA"] === "1")
  throw new Error(`These tests need a JDK and Maven: ${why}`);
const skip = why === null ? false : `NOT RUN: ${why}`;
const user = "root";
const OWNER = { owner: "", group: "", mode: 0o640 };

function ufsOf(servers: HdfsServers, who = user): HdfsUnderFileSystem {
  return new HdfsUnderFileSystem("/", {
    nameNodes: servers.httpAddresses,
    user: who,
    uri: servers.uri,
  });
}

function logOf(servers: HdfsServers, folder: string): HdfsLogStore {
  return new HdfsLogStore(folder, {
    nameNodes: servers.httpAddresses,
    user,
    uri: servers.uri,
  });
}

async function put(ufs: HdfsUnderFileSystem, path: string, bytes: Uint8Array): Promise<void> {
  const writer = await ufs.create(path, OWNER);
  for (let at = 0; at < bytes.length; at += 1_000_000)
    await writer.write(bytes.subarray(at, at + 1_000_000));
  await writer.commit();
}

async function get(ufs: HdfsUnderFileSystem, path: string): Promise<Buffer> {
  const reader = await ufs.open(path);
  const into = Buffer.alloc((await ufs.status(path))?.lengthBytes ?? 0);
  assert.equal(await reader.read(into, 0), into.length);
  await reader.close();
  return into;
}

const pattern = (bytes: number) =>
  Buffer.from(Uint8Array.from({ length: bytes }, (_, i) => (i * 31) ^ (i >> 9)));

describe("HDFS with one name node", { skip }, () => {
  let servers: HdfsServers;
  let folders = 0;
  before(async () => {
    servers = await HdfsServers.start(1);
  });
  after(async () => {
    await servers?.stop();
  });

  testUnderFileSystem("hdfs", async () => {
    folders += 1;
    const root = `/contract-${folders}`;
    const ufs = ufsOf(servers);
    await ufs.createDirectory(root, { ...OWNER, mode: 0o755 });
    return { ufs, root };
  });

  // A write takes it 0.1 s: so fewer races than elsewhere.
  testLogStore("hdfs", async (folder) => logOf(servers, `/logs/${folder}`), 10);

  test("a log leaves nothing hidden behind, nor does its probe", async () => {
    const log = logOf(servers, "/tidy");
    await log.probe();
    for (let i = 0; i < 3; i++) {
      await log.create("log/1", pattern(100));
      await log.remove("log/2");
    }
    const ufs = ufsOf(servers);
    assert.equal(await ufs.remove("/tidy/log/1", false), true);
    assert.equal(await ufs.remove("/tidy/log", false), true, "nothing hidden is left in it");
    assert.equal(await ufs.remove("/tidy", false), true, "nor anything of the probe");
  });

  test("mode and owner are kept, and the space is told", async () => {
    const ufs = ufsOf(servers);
    const writer = await ufs.create("/owned/file", { owner: "ann", group: "staff", mode: 0o604 });
    const status = await writer.commit();
    assert.deepEqual([status.owner, status.group, status.mode], ["ann", "staff", 0o604]);
    await ufs.setMode("/owned/file", 0o666);
    await ufs.setOwner("/owned/file", "bob", "");
    const changed = await ufs.status("/owned/file");
    assert.deepEqual([changed?.owner, changed?.group, changed?.mode], ["bob", "staff", 0o666]);
    const space = await ufs.space();
    assert.ok(space !== null && space.capacityBytes > 0 && space.usedBytes >= 0);
  });

  test("a writer that is gone leaves nothing that can be seen", async () => {
    const ufs = ufsOf(servers);
    const writer = await ufs.create("/cut/file", OWNER);
    await writer.write(new Uint8Array(300_000));
    assert.equal(await ufs.status("/cut/file"), null);
    assert.deepEqual(await ufs.list("/cut"), []);
    await writer.abort();
    assert.deepEqual(await ufs.list("/cut"), []);
    assert.equal(await ufs.remove("/cut", false), true, "nothing hidden is left, either");
  });

  test("who may not is told as whom, where, and what to do", async () => {
    const ufs = ufsOf(servers);
    await ufs.createDirectory("/closed", { ...OWNER, mode: 0o700 });
    const other = ufsOf(servers, "mallory");
    await assert.rejects(
      other.create("/closed/x", OWNER),
      (error) =>
        isRockpoolError(error, "PERMISSION_DENIED") &&
        error.message.includes(`${servers.uri} as mallory`) &&
        error.remedy !== "",
    );
    await assert.rejects(ufs.create("/a:b", OWNER), { status: "INVALID_ARGUMENT" });
    await assert.rejects(ufs.status("/x/../y"), { status: "INVALID_ARGUMENT" });
  });

  test("nothing is below a file, and more names than one answer holds are listed", async () => {
    const ufs = ufsOf(servers);
    await put(ufs, "/plain", pattern(10));
    assert.equal(await ufs.status("/plain/below"), null);
    assert.equal(await ufs.list("/plain/below"), null);
    const names = Array.from({ length: 1203 }, (_, i) => `d${String(i).padStart(5, "0")}`);
    for (let at = 0; at < names.length; at += 100)
      await Promise.all(
        names.slice(at, at + 100).map((name) => ufs.createDirectory(`/wide/${name}`, OWNER)),
      );
    assert.deepEqual(
      (await ufs.list("/wide"))?.map(({ name }) => name),
      names,
    );
  });

  test("a read goes on where it broke when the data node comes back", async () => {
    const ufs = ufsOf(servers);
    const bytes = pattern(40_000_000);
    await put(ufs, "/long", bytes);
    const reader = await ufs.open("/long");
    const into = Buffer.alloc(bytes.length);
    assert.equal(await reader.read(into.subarray(0, 1_000_000), 0), 1_000_000);
    servers.signal("dn", "SIGKILL");
    await servers.restart("dn");
    // The name node may send readers to the data node a moment before it has reported its blocks.
    for (let at = 1_000_000; at < bytes.length; )
      try {
        at += await reader.read(into.subarray(at, Math.min(bytes.length, at + 3_000_000)), at);
      } catch (error) {
        if (!isRockpoolError(error, "UNAVAILABLE")) throw error;
        await delay(100);
      }
    await reader.close();
    assert.equal(Buffer.compare(into, bytes), 0);
  });

  test("a data node that dies under a writer fails the write, and nothing is seen", async () => {
    const ufs = ufsOf(servers);
    const writer = await ufs.create("/dies/file", OWNER);
    await writer.write(pattern(100_000));
    servers.signal("dn", "SIGKILL");
    await assert.rejects(
      async () => {
        for (let i = 0; i < 50; i++) await writer.write(pattern(1_000_000));
        await writer.commit();
      },
      { status: "UNAVAILABLE" },
    );
    await servers.restart("dn");
    assert.deepEqual((await ufs.list("/dies")) ?? [], []);
  });
});

describe("HDFS with two name nodes", { skip }, () => {
  let servers: HdfsServers;
  before(async () => {
    servers = await HdfsServers.start(2);
  });
  after(async () => {
    await servers?.stop();
  });

  test("calls follow the active name node, also when the standby is asked first", async () => {
    const ufs = ufsOf(servers);
    await put(ufs, "/before", pattern(5_000_000));
    const reader = await ufs.open("/before");
    const into = Buffer.alloc(5_000_000);
    await reader.read(into.subarray(0, 100_000), 0);
    servers.failOver("nn1", "nn2");
    assert.equal(await reader.read(into.subarray(100_000), 100_000), into.length - 100_000);
    await reader.close();
    assert.equal(Buffer.compare(into, pattern(into.length)), 0);
    await put(ufs, "/after", pattern(1000));
    assert.equal((await get(ufsOf(servers), "/after")).length, 1000);
  });

  test("a log goes on while name nodes change places, and each of its objects is made once", async () => {
    servers.failOver("nn2", "nn1");
    const stores = [logOf(servers, "/log"), logOf(servers, "/log")] as const;
    let isOver = false;
    const made = new Map<string, string>();
    const failures: string[] = [];
    const writer = async (log: HdfsLogStore, own: string) => {
      for (let i = 0; !isOver && i < 5000; i++) {
        const name = `log/${String(i).padStart(16, "0")}`;
        try {
          if ((await log.create(name, Buffer.from(`${own} ${i}`))) !== "created") continue;
          if (made.has(name)) failures.push(`${name} was made twice`);
          made.set(name, `${own} ${i}`);
        } catch (error) {
          if (!isRockpoolError(error, "UNAVAILABLE")) failures.push(String(error));
        }
      }
    };
    const writing = Promise.all([writer(stores[0], "a"), writer(stores[1], "b")]);
    try {
      servers.failOver("nn1", "nn2");
      servers.failOver("nn2", "nn1");
      servers.failOver("nn1", "nn2");
    } finally {
      isOver = true;
      await writing;
    }
    assert.deepEqual(failures, []);
    assert.ok(made.size > 0);
    const names = new Set(await stores[0].list("log"));
    for (const [name, text] of made) {
      assert.ok(names.has(name.slice("log/".length)), name);
      assert.equal(Buffer.from((await stores[1].read(name)) ?? []).toString(), text);
    }
  });

  test("writers go on while name nodes change places and die", async () => {
    const ufs = ufsOf(servers);
    let isOver = false;
    const written: string[] = [];
    const failures: string[] = [];
    const writing = (async () => {
      for (let i = 0; !isOver; i++)
        try {
          await put(ufs, `/going/${i}`, pattern(1000 + i));
          written.push(`/going/${i}`);
        } catch (error) {
          if (!isRockpoolError(error, "UNAVAILABLE")) failures.push(String(error));
        }
    })();
    try {
      servers.failOver("nn2", "nn1");
      servers.signal("nn2", "SIGKILL");
      await servers.restart("nn2");
      servers.failOver("nn1", "nn2");
      servers.signal("nn1", "SIGKILL");
    } finally {
      isOver = true;
      await writing;
    }
    assert.deepEqual(failures, []);
    assert.ok(written.length > 0);
    for (const [i, path] of written.entries())
      assert.equal(
        Buffer.compare(await get(ufs, path), pattern(1000 + Number(path.slice(7)))),
        0,
        `${i}`,
      );
  });
});
