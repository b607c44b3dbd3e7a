import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { Readable, Writable } from "node:stream";
import { finished, pipeline } from "node:stream/promises";
import { after, test } from "node:test";
import { FakeCluster, until } from "../../test/fake_cluster.ts";
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import { type ConnectOptions, FileSystem } from "./file_system.ts";

const KB = 1024;
const MB = 1024 * KB;

/** Things to close when the file is done, last first. */
const cleanups: (() => Promise<void>)[] = [];
after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

async function setUp(
  shape: { masters?: number; workers?: readonly string[] } = {},
  options: Partial<ConnectOptions> = {},
): Promise<{ cluster: FakeCluster; files: FileSystem }> {
  const cluster = await FakeCluster.start({
    masters: shape.masters ?? 1,
    workers: shape.workers ?? ["w1"],
  });
  cleanups.push(() => cluster.stop());
  const files = await FileSystem.connect({
    masters: cluster.masters,
    hostName: "here",
    blockSizeBytes: 256 * KB,
    patience: { streamStallMs: 5000, workerSearchMs: 2000, workerAbsenceMs: 2000, commitMs: 5000 },
    callTimeoutMs: 5000,
    ...options,
  });
  cleanups.push(() => files.close());
  return { cluster, files };
}

const isError = (status: Parameters<typeof isRockpoolError>[1]) => (error: unknown) =>
  isRockpoolError(error, status);

test("writeFile() and readFile() keep bytes of any length and write type", async () => {
  const { cluster, files } = await setUp();
  for (const writeType of ["MUST_CACHE", "CACHE_THROUGH", "THROUGH", "ASYNC_THROUGH"] as const)
    for (const length of [0, 1, 256 * KB - 1, 256 * KB, 256 * KB + 1, 3 * 256 * KB, MB + 17]) {
      const path = `/${writeType}-${length}`;
      const bytes = randomBytes(length);
      await files.writeFile(path, bytes, { writeType });
      assert.ok(bytes.equals(await files.readFile(path)), path);
      const file = cluster.files.get(path);
      assert.equal(file?.isPersisted, writeType === "THROUGH" || writeType === "CACHE_THROUGH");
      assert.equal(file?.wantsPersist, writeType === "ASYNC_THROUGH");
      const inUfs = cluster.ufs.get(`/ufs${path}`);
      if (file?.isPersisted === true) assert.ok(inUfs !== undefined && bytes.equals(inUfs), path);
      else assert.equal(inUfs, undefined);
    }
  assert.equal(cluster.worker("w1").droppedWrites, 0);
});

test("readAt() gives any stretch, also across blocks and past the end", async () => {
  const { files } = await setUp();
  const bytes = randomBytes(3 * 256 * KB + 100);
  await files.writeFile("/f", bytes);
  const file = await files.openFile("/f");
  for (const [at, length] of [
    [0, 10],
    [256 * KB - 5, 10],
    [100, 2 * 256 * KB],
    [bytes.length - 3, 100],
    [bytes.length, 5],
    [bytes.length + 10, 5],
    [7, 0],
  ] as const)
    assert.ok(bytes.subarray(at, at + length).equals(await file.readAt(at, length)), `${at}`);
  await assert.rejects(file.readAt(-1, 5), isError("INVALID_ARGUMENT"));
});

test("createReadStream() reads a range and ends the read at the worker when it is destroyed", async () => {
  const { cluster, files } = await setUp({}, { blockSizeBytes: 32 * MB });
  const bytes = randomBytes(16 * MB);
  await files.writeFile("/f", bytes);
  const pieces: Uint8Array[] = [];
  for await (const piece of await files.createReadStream("/f", {
    startBytes: 5,
    lengthBytes: 300 * KB,
  }))
    pieces.push(piece);
  assert.ok(bytes.subarray(5, 5 + 300 * KB).equals(Buffer.concat(pieces)));
  const stream = await files.createReadStream("/f");
  for await (const _piece of stream) break;
  assert.ok(stream.destroyed);
  // A reader that takes nothing holds one window at most.
  assert.ok(cluster.worker("w1").aheadMax <= 4 * MB);
});

test("a slow reader holds no more than the window", async () => {
  const { cluster, files } = await setUp({}, { blockSizeBytes: 32 * MB });
  const bytes = randomBytes(12 * MB);
  await files.writeFile("/f", bytes);
  const taken: Buffer[] = [];
  const slow = new Writable({
    highWaterMark: 1,
    write(chunk, _encoding, callback) {
      taken.push(chunk);
      setImmediate(callback);
    },
  });
  await pipeline(await files.createReadStream("/f"), slow);
  assert.ok(bytes.equals(Buffer.concat(taken)));
  assert.ok(cluster.worker("w1").aheadMax <= 4 * MB);
});

test("reading goes on at another holder when a worker fails in the middle of a block", async () => {
  const { cluster, files } = await setUp({ workers: ["w1", "w2"] }, { blockSizeBytes: 4 * MB });
  const bytes = randomBytes(6 * MB);
  await files.writeFile("/f", bytes, { writeType: "MUST_CACHE" });
  const [w1, w2] = [cluster.worker("w1"), cluster.worker("w2")];
  for (const [id, block] of [...w1.blocks]) w2.blocks.set(id, block);
  for (const [id, block] of [...w2.blocks]) w1.blocks.set(id, block);
  w1.failReadAfterBytes = 128 * KB;
  for (let round = 0; round < 4; round++) assert.ok(bytes.equals(await files.readFile("/f")));
  w1.failReadAfterBytes = null;
  w1.endReadAfterBytes = 64 * KB;
  for (let round = 0; round < 4; round++) assert.ok(bytes.equals(await files.readFile("/f")));
});

test("reading goes on from the under store when the only holder dies", async () => {
  const { cluster, files } = await setUp({ workers: ["w1", "w2"] }, { blockSizeBytes: 4 * MB });
  const bytes = randomBytes(5 * MB);
  await files.writeFile("/f", bytes, { writeType: "CACHE_THROUGH" });
  for (const worker of cluster.workers)
    if (worker.blocks.size > 0) worker.failReadAfterBytes = 64 * KB;
  const [w1, w2] = [cluster.worker("w1"), cluster.worker("w2")];
  // Both may hold a block: then one of them is as good as new.
  if (w1.failReadAfterBytes !== null && w2.failReadAfterBytes !== null) {
    w2.blocks.clear();
    w2.failReadAfterBytes = null;
  }
  assert.ok(bytes.equals(await files.readFile("/f")));
});

test("a file that only the under store has is read, and its blocks are asked to be cached", async () => {
  const { cluster, files } = await setUp({ workers: ["w1"] });
  const bytes = randomBytes(MB);
  cluster.addUfsFile("/cold", bytes, 256 * KB);
  assert.ok(bytes.equals(await files.readFile("/cold", { readType: "NO_CACHE" })));
  assert.equal(cluster.worker("w1").cached.length, 0);
  assert.ok(bytes.equals(await files.readFile("/cold")));
  await until(() => cluster.worker("w1").cached.length === 4);
  assert.ok(
    cluster.worker("w1").reads.every((read) => read.openUfsBlockOptions?.ufsPath === "/ufs/cold"),
  );
});

test("a block whose only copy is damaged or gone is DATA_LOSS soon, and the message names block and file", async () => {
  // Patience for workers that are away does not apply: a test that needs it all is stopped by the runner's limit.
  const { cluster, files } = await setUp(
    {},
    { patience: { workerSearchMs: 600_000, workerAbsenceMs: 600_000 } },
  );
  await files.writeFile("/f", "hello", { writeType: "MUST_CACHE" });
  const [block] = (await files.getStatus("/f")).blocks;
  const w1 = cluster.worker("w1");
  for (const fault of ["NOT_FOUND", "DATA_LOSS", "nowhere"] as const) {
    if (fault === "nowhere") w1.blocks.clear();
    else w1.readFailure = new RockpoolError(fault, "Page 0 is damaged");
    await assert.rejects(files.readFile("/f"), (error: unknown) => {
      assert.ok(isRockpoolError(error, "DATA_LOSS"), String(error));
      assert.ok(error.message.includes(`Block ${block?.id} of /f is lost`), error.message);
      assert.match(error.remedy, /Write \/f again, or remove it.*quarantine/);
      return true;
    });
  }
});

test("an open file whose block was evicted once the file was persisted is read from the under store", async () => {
  const { cluster, files } = await setUp();
  await files.writeFile("/f", "hello", { writeType: "MUST_CACHE" });
  const opened = await files.openFile("/f");
  cluster.worker("w1").blocks.clear();
  const file = cluster.files.get("/f");
  assert.ok(file !== undefined);
  file.isPersisted = true;
  cluster.ufs.set("/ufs/f", Buffer.from("hello"));
  assert.equal(Buffer.from(await opened.readAt(0, 5)).toString(), "hello");
});

test("a worker that ends a read early with OK is not taken for the end of the file", async () => {
  const { cluster, files } = await setUp({}, { patience: { workerSearchMs: 100 } });
  await files.writeFile("/f", randomBytes(100 * KB), { writeType: "MUST_CACHE" });
  cluster.worker("w1").endReadAfterBytes = 0;
  await assert.rejects(files.readFile("/f"), isError("UNAVAILABLE"));
});

test("a small write goes to another worker when one fails at any moment up to its commit", async () => {
  for (const fault of ["early", "commit", "stopped"] as const) {
    // The failing worker is the local one: it is asked first, and must not be asked for ever.
    const { cluster, files } = await setUp({ workers: ["w1", "w2"] }, { hostName: "w1" });
    const w1 = cluster.worker("w1");
    if (fault === "early") w1.failWriteAfterBytes = 1000;
    if (fault === "commit") w1.failCommit = true;
    if (fault === "stopped") await w1.stop();
    for (let round = 0; round < 4; round++) {
      const bytes = randomBytes(600 * KB);
      const path = `/${fault}-${round}`;
      await files.writeFile(path, bytes, { writeType: "MUST_CACHE" });
      w1.blocks.clear();
      assert.ok(bytes.equals(await files.readFile(path)));
    }
  }
});

test("CACHE_THROUGH survives the loss of its cache, and MUST_CACHE fails when no worker has room", async () => {
  const { cluster, files } = await setUp(
    {},
    { patience: { workerSearchMs: 100, workerAbsenceMs: 100 } },
  );
  cluster.worker("w1").capacityBytes = 1000;
  const bytes = randomBytes(600 * KB);
  await files.writeFile("/kept", bytes, { writeType: "CACHE_THROUGH" });
  assert.ok(bytes.equals(cluster.ufs.get("/ufs/kept") ?? Buffer.alloc(0)));
  await assert.rejects(
    files.writeFile("/lost", bytes, { writeType: "MUST_CACHE" }),
    (error: unknown) => isRockpoolError(error, "UNAVAILABLE") && /room/.test(error.message),
  );
  assert.equal(cluster.files.has("/lost"), false);
});

test("a stream destroyed before its end leaves no file, and its worker drops the bytes", async () => {
  const { cluster, files } = await setUp({}, { blockSizeBytes: 8 * MB });
  const out = await files.createFile("/half", { writeType: "CACHE_THROUGH" });
  await new Promise((resolve) => out.write(randomBytes(100 * KB), resolve));
  out.destroy(new Error("enough"));
  await assert.rejects(finished(out), /enough/);
  assert.equal(cluster.files.has("/half"), false);
  await until(() => cluster.worker("w1").droppedWrites === 2);
  assert.equal(cluster.worker("w1").blocks.size, 0);
  assert.equal(cluster.ufs.has("/ufs/half"), false);
});

test("an aborted signal ends a write and removes its file", async () => {
  const { cluster, files } = await setUp();
  const aborter = new AbortController();
  const out = await files.createFile("/half", { signal: aborter.signal });
  await new Promise((resolve) => out.write(randomBytes(100 * KB), resolve));
  aborter.abort();
  await assert.rejects(finished(out), { name: "AbortError" });
  await until(() => !cluster.files.has("/half"));
});

test("an aborted signal ends a call that waits for a leader", async () => {
  const { cluster, files } = await setUp({ masters: 2 }, { callTimeoutMs: 60_000 });
  cluster.leader = -1;
  const aborter = new AbortController();
  const call = files.exists("/", { signal: aborter.signal });
  setImmediate(() => aborter.abort());
  await assert.rejects(call, isError("CANCELLED"));
});

test("a call follows the leader, and gives up when its time is over", async () => {
  const { cluster, files } = await setUp({ masters: 3 });
  assert.equal(await files.exists("/"), true);
  assert.equal(files.leaderAddress(), cluster.masters[0]);
  cluster.leader = 2;
  assert.equal(await files.exists("/nope"), false);
  assert.equal(files.leaderAddress(), cluster.masters[2]);
  cluster.leader = -1;
  const late = files.exists("/");
  setImmediate(() => {
    cluster.leader = 1;
  });
  assert.equal(await late, true);
  const { cluster: dead, files: impatient } = await setUp({ masters: 3 }, { callTimeoutMs: 200 });
  dead.leader = -1;
  await assert.rejects(impatient.exists("/"), isError("UNAVAILABLE"));
});

test("a change whose answer was lost is repeated with the same operation id", async () => {
  const { cluster, files } = await setUp({ masters: 2 });
  for (const [method, act] of [
    ["CreateDirectory", () => files.createDirectory("/d")],
    ["CreateFile", () => files.writeFile("/f", "x")],
    ["CompleteFile", () => files.writeFile("/g", "x")],
    ["Remove", () => files.delete("/g")],
  ] as const) {
    cluster.operations.length = 0;
    cluster.loseAnswerOf = method;
    await act();
    const ids = cluster.operations.filter((one) => one.method === method).map((one) => one.id);
    assert.equal(ids.length, 2, method);
    assert.equal(ids[0], ids[1], method);
    assert.notEqual(ids[0], "undefined/undefined");
  }
});

test("listStatus() yields every child, and getStatus() says NOT_FOUND", async () => {
  const { files } = await setUp();
  await files.createDirectory("/d");
  for (const name of ["b", "a", "c"]) await files.writeFile(`/d/${name}`, name);
  const names: string[] = [];
  for await (const status of files.listStatus("/d")) names.push(status.name);
  assert.deepEqual(names, ["a", "b", "c"]);
  await assert.rejects(files.getStatus("/nope"), isError("NOT_FOUND"));
  await assert.rejects(files.getStatus("nope"), isError("INVALID_ARGUMENT"));
  await assert.rejects(files.openFile("/d"), isError("FAILED_PRECONDITION"));
  await assert.rejects(files.writeFile("/d/a", "again"), isError("ALREADY_EXISTS"));
});

test("listStatus() shows each name once, also when the end of the answer is lost", async () => {
  const { files, cluster } = await setUp();
  await files.createDirectory("/d");
  for (const name of ["b", "a", "c"]) await files.writeFile(`/d/${name}`, name);
  for (const [path, expected] of [
    ["/d", ["/d/a", "/d/b", "/d/c"]],
    ["/d/a", ["/d/a"]],
  ] as const) {
    cluster.loseAnswerOf = "ListStatus";
    const paths: string[] = [];
    for await (const status of files.listStatus(path)) paths.push(status.path);
    assert.deepEqual(paths, expected);
  }
});

test("a file of many blocks streams through with one chunk in hand", async () => {
  const { files } = await setUp({ workers: ["w1", "w2", "w3"] });
  const piece = randomBytes(100 * KB);
  const source = Readable.from(
    (function* () {
      for (let i = 0; i < 80; i++) yield piece;
    })(),
  );
  const out = await files.createFile("/big", { writeType: "CACHE_THROUGH" });
  await pipeline(source, out);
  let length = 0;
  for await (const bytes of await files.createReadStream("/big")) length += bytes.length;
  assert.equal(length, 80 * piece.length);
});

test("connect() has somebody ask ZooKeeper where the authority, or a property, says so", async () => {
  const properties: Readonly<Record<string, string>> = {
    "alluxio.zookeeper.enabled": "true",
    "alluxio.zookeeper.address": "z1:2181,z2:2181/mine",
  };
  const asked: string[] = [];
  for (const masters of ["zk@h:2181,i:2181", "alluxio://zk@h:2181/", "alluxio:///"]) {
    const options = { masters, property: (key: string) => properties[key] };
    const files = await FileSystem.connect(options, (connect, property) => {
      asked.push(`${connect} ${property("alluxio.zookeeper.enabled")}`);
      return async () => [];
    });
    await files.close();
  }
  assert.deepEqual(asked, ["h:2181,i:2181 true", "h:2181 true", "z1:2181,z2:2181/mine true"]);
});

test("connect() refuses what it does not understand", async () => {
  await assert.rejects(
    FileSystem.connect({ masters: "alluxio://nope/" }),
    isError("INVALID_ARGUMENT"),
  );
  await assert.rejects(
    FileSystem.connect({ masters: "zk@h:2181" }),
    /does not ask ZooKeeper \(h:2181\)/,
  );
  await assert.rejects(FileSystem.connect({ masters: [] }), isError("INVALID_ARGUMENT"));
});
