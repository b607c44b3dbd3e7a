/**
 * S3 against a real server: the contracts of all under stores and of all log stores, uploads in parts, refusals, and a network that
 * cuts connections in the middle.
 * @module
 */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { isRockpoolError, type StatusName } from "../../src/common/errors.ts";
import { testLogStore } from "../../src/ufs/log_store_contract.ts";
import { S3LogStore } from "../../src/ufs/s3_log_store.ts";
import { S3UnderFileSystem } from "../../src/ufs/s3_ufs.ts";
import { testUnderFileSystem } from "../../src/ufs/under_file_system_contract.ts";
import { FaultProxy } from "./fault_proxy.ts";
import { ACCESS_KEY, S3Server, SECRET_KEY } from "./s3_servers.ts";

const why = S3Server.missing();
if (why !== null && process.env["ROCKPOOL_REQUIRE_GO"] === "1")
  throw new Error(`These tests need Go: ${why}`);
const skip = why === null ? false : `NOT RUN: ${why}`;
const OWNER = { owner: "", group: "", mode: 0o640 };
const LARGE_BYTES = 20_000_003;

type Wish = { readonly endpoint: string; readonly bucket?: string; readonly secret?: string };

function optionsOf({ endpoint, bucket = "under", secret = SECRET_KEY }: Wish) {
  return {
    bucket,
    endpoint,
    region: "us-east-1",
    isPathStyle: true,
    credentials: { accessKeyId: ACCESS_KEY, secretAccessKey: secret },
    owner: "root",
  };
}

const ufsOf = (wish: Wish) => new S3UnderFileSystem("/", optionsOf(wish));

const pattern = (bytes: number) =>
  Buffer.from(Uint8Array.from({ length: bytes }, (_, i) => (i * 31) ^ (i >> 9)));

async function put(ufs: S3UnderFileSystem, path: string, bytes: Uint8Array): Promise<void> {
  const writer = await ufs.create(path, OWNER);
  for (let at = 0; at < bytes.length; at += 1_000_000)
    await writer.write(bytes.subarray(at, at + 1_000_000));
  await writer.commit();
}

async function get(ufs: S3UnderFileSystem, path: string): Promise<Buffer> {
  const reader = await ufs.open(path);
  const into = Buffer.alloc((await ufs.status(path))?.lengthBytes ?? 0);
  for (let at = 0; at < into.length; at += 1_000_000)
    await reader.read(into.subarray(at, at + 1_000_000), at);
  await reader.close();
  return into;
}

describe("S3", { skip }, () => {
  let server: S3Server;
  let folders = 0;
  before(async () => {
    server = await S3Server.start("under", "log");
  });
  after(async () => {
    await server?.stop();
  });

  /** What the server keeps of uploads that are not finished. */
  const unfinished = () =>
    readdirSync(server.folder("under"), { recursive: true, encoding: "utf8" }).filter((path) =>
      /\.sgwtmp\/multipart\/./.test(path),
    );

  testUnderFileSystem("s3", async () => {
    folders += 1;
    return { ufs: ufsOf(server), root: `/contract-${folders}` };
  });

  testLogStore(
    "s3",
    async (folder) =>
      new S3LogStore(`/logs/${folder}`, optionsOf({ endpoint: server.endpoint, bucket: "log" })),
  );

  test("a large file goes up in parts, and is renamed and read at any place", async () => {
    const ufs = ufsOf(server);
    const bytes = pattern(LARGE_BYTES);
    await put(ufs, "/parts/large", bytes);
    const status = await ufs.status("/parts/large");
    assert.match(status?.fingerprint ?? "", /-3$/, "three parts");
    await ufs.rename("/parts/large", "/parts/moved");
    assert.equal((await get(ufs, "/parts/moved")).compare(bytes), 0);
    const reader = await ufs.open("/parts/moved");
    for (const at of [19_000_000, 5, LARGE_BYTES - 3, 8 * 1024 * 1024 - 1]) {
      const into = Buffer.alloc(300_000);
      const count = await reader.read(into, at);
      assert.equal(into.subarray(0, count).compare(bytes.subarray(at, at + into.length)), 0);
    }
    await reader.close();
    assert.deepEqual(unfinished(), []);
  });

  test("what is too large to be copied at once is copied in parts", async () => {
    const partBytes = 5 * 1024 * 1024;
    const ufs = new S3UnderFileSystem("/", { ...optionsOf(server), copyPartBytes: partBytes });
    const bytes = pattern(partBytes * 5 + 12_345);
    await put(ufs, "/copies/a b+c", bytes);
    await ufs.rename("/copies/a b+c", "/copies/moved");
    assert.match((await ufs.status("/copies/moved"))?.fingerprint ?? "", /-6$/, "six parts");
    assert.equal((await get(ufs, "/copies/moved")).compare(bytes), 0);
    assert.equal(await ufs.status("/copies/a b+c"), null);
    assert.deepEqual(unfinished(), []);
  });

  test("an upload that is given up leaves neither a file nor parts", async () => {
    const ufs = ufsOf(server);
    const writer = await ufs.create("/given/up", OWNER);
    for (let i = 0; i < 18; i++) await writer.write(pattern(1_000_000));
    assert.notDeepEqual(unfinished(), [], "this looks at the right place");
    await writer.abort();
    await writer.abort();
    assert.equal(await ufs.status("/given/up"), null);
    assert.deepEqual(unfinished(), []);
  });

  test("names of all kinds, and more of them than one answer holds", async () => {
    const ufs = ufsOf(server);
    const odd = ["a+b", "a b", "ä ö", "100%", "q?x=1&y", "#", "日本", "'\"", "x\ty", "~!$(),;:@="];
    for (const name of odd) await put(ufs, `/odd/${name}`, Buffer.from(name));
    const listed = (await ufs.list("/odd"))?.map(({ name }) => name) ?? [];
    assert.deepEqual(new Set(listed), new Set(odd));
    for (const name of odd) {
      await ufs.rename(`/odd/${name}`, `/odd/${name}+2`);
      assert.equal((await get(ufs, `/odd/${name}+2`)).toString(), name);
    }
    // As another program would: not through the server.
    const wide = join(server.folder("under"), "wide");
    mkdirSync(wide);
    for (let i = 0; i < 1234; i++) writeFileSync(join(wide, `f${String(i).padStart(5, "0")}`), "x");
    assert.equal((await ufs.list("/wide"))?.length, 1234);
    await ufs.rename("/wide", "/wider");
    assert.equal((await ufs.list("/wider"))?.length, 1234);
    assert.equal(await ufs.status("/wide"), null);
    assert.equal(await ufs.remove("/wider", true), true);
    assert.equal(await ufs.status("/wider"), null);
  });

  test("a directory is what has its own object, or objects below it", async () => {
    const ufs = ufsOf(server);
    await ufs.createDirectory("/dirs/own", OWNER);
    await put(ufs, "/dirs/below/file", pattern(3));
    assert.equal((await ufs.status("/dirs/own"))?.isDirectory, true);
    assert.equal((await ufs.status("/dirs/below"))?.isDirectory, true);
    assert.deepEqual(await ufs.list("/dirs/own"), []);
    await assert.rejects(ufs.create("/dirs/below", OWNER), { status: "ALREADY_EXISTS" });
    await assert.rejects(ufs.createDirectory("/dirs/below/file", OWNER), {
      status: "ALREADY_EXISTS",
    });
    await assert.rejects(ufs.rename("/dirs", "/dirs/below/in"), { status: "INVALID_ARGUMENT" });
    await ufs.rename("/dirs/own", "/dirs/other");
    assert.deepEqual(await ufs.list("/dirs/other"), []);
    assert.equal(await ufs.status("/dirs/own"), null);
    assert.equal((await ufs.status("/dirs/below/file"))?.owner, "root");
  });

  const refusals: readonly [string, Partial<Wish>, StatusName, RegExp][] = [
    ["a wrong secret", { secret: "wrong" }, "PERMISSION_DENIED", /s3a\.secretKey/],
    ["a missing bucket", { bucket: "none" }, "FAILED_PRECONDITION", /Make the bucket/],
  ];
  for (const [what, wish, status, remedy] of refusals)
    test(`${what} is told with what to do, and without the secret`, async () => {
      const options = { endpoint: server.endpoint, ...wish };
      const ufs = ufsOf(options);
      const log = new S3LogStore("/x", optionsOf(options));
      for (const attempt of [
        () => ufs.list("/"),
        () => ufs.status("/x"),
        () => put(ufs, "/x/y", pattern(10)),
        () => put(ufs, "/x/large", pattern(9_000_000)),
        () => log.create("x", pattern(10)),
        () => log.list("x"),
        () => log.probe(),
      ])
        await assert.rejects(attempt, (error: unknown) => {
          assert.ok(isRockpoolError(error, status), String(error));
          assert.match(error.remedy, remedy);
          assert.match(error.message, /s3:\/\/(under|none)\//);
          assert.ok(
            ![options.secret ?? SECRET_KEY, ACCESS_KEY].some((each) =>
              error.message.includes(each),
            ),
          );
          return true;
        });
    });

  test("nobody answers: UNAVAILABLE, with the location", async () => {
    const ufs = new S3UnderFileSystem("/", {
      ...optionsOf({ endpoint: "http://127.0.0.1:1" }),
      attemptsMax: 1,
    });
    await assert.rejects(
      ufs.status("/x"),
      (error: unknown) =>
        isRockpoolError(error, "UNAVAILABLE") &&
        /s3:\/\/under\/x.*ECONNREFUSED/.test(error.message),
    );
  });

  test("a server that hangs is given up, and found again", async () => {
    const options = optionsOf({ endpoint: server.endpoint, bucket: "log" });
    const log = new S3LogStore("/hangs", { ...options, silenceMaxMs: 300 });
    assert.equal(await log.create("log/0", pattern(10)), "created");
    server.signal("SIGSTOP");
    try {
      await assert.rejects(log.create("log/1", pattern(10)), { status: "UNAVAILABLE" });
      await assert.rejects(log.read("log/0"), { status: "UNAVAILABLE" });
      await assert.rejects(log.list("log"), { status: "UNAVAILABLE" });
    } finally {
      server.signal("SIGCONT");
    }
    const patient = new S3LogStore("/hangs", options);
    assert.equal((await patient.read("log/0"))?.length, 10);
    // What was asked for before may have been done meanwhile.
    assert.match(await patient.create("log/1", pattern(10)), /^(created|exists)$/);
    assert.equal((await patient.read("log/1"))?.length, 10);
  });

  describe("through a network that cuts connections", () => {
    let proxy: FaultProxy;
    before(async () => {
      proxy = await FaultProxy.start(server.port);
    });
    after(async () => {
      await proxy?.stop();
    });

    test("writes, small and in parts, are made whole all the same", async () => {
      const ufs = ufsOf(proxy);
      for (const [path, lengthBytes, afterBytes] of [
        ["/cut/small", 500_000, 100_000],
        ["/cut/large", LARGE_BYTES, 3_000_000],
      ] as const) {
        const bytes = pattern(lengthBytes);
        proxy.spoil({ kind: "cutRequest", afterBytes }, 2);
        await put(ufs, path, bytes);
        assert.equal(proxy.done, 2);
        assert.equal((await get(ufsOf(server), path)).compare(bytes), 0);
        proxy.spoil({ kind: "loseAnswer" }, 1);
        await put(ufs, path, bytes);
        assert.equal(proxy.done, 1);
      }
      assert.deepEqual(unfinished(), []);
    });

    test("a write that cannot be done fails, and leaves nothing once it is given up", async () => {
      const ufs = ufsOf(proxy);
      const writer = await ufs.create("/cut/never", OWNER);
      await writer.write(pattern(8_500_000));
      proxy.spoil({ kind: "cutRequest", afterBytes: 2_000_000 }, 1000);
      await assert.rejects(
        async () => {
          await writer.write(pattern(18_500_000));
          await writer.commit();
        },
        { status: "UNAVAILABLE" },
      );
      proxy.heal();
      await writer.abort();
      assert.equal(await ufs.status("/cut/never"), null);
      assert.deepEqual(unfinished(), []);
    });

    test("a read goes on where it broke", async () => {
      const ufs = ufsOf(proxy);
      const bytes = pattern(LARGE_BYTES);
      await put(ufsOf(server), "/cut/read", bytes);
      const reader = await ufs.open("/cut/read");
      proxy.spoil({ kind: "cutAnswer", afterBytes: 1_500_000 }, 5);
      const into = Buffer.alloc(LARGE_BYTES);
      assert.equal(await reader.read(into, 0), LARGE_BYTES);
      await reader.close();
      assert.equal(into.compare(bytes), 0);
      assert.equal(proxy.done, 5);
    });

    test("a reader never mixes two versions of a file", async () => {
      const ufs = ufsOf(server);
      await put(ufs, "/replaced", pattern(3_000_000));
      const reader = await ufs.open("/replaced");
      await reader.read(Buffer.alloc(1000), 0);
      await put(ufs, "/replaced", Buffer.alloc(3_000_000, "z"));
      await assert.rejects(reader.read(Buffer.alloc(1_000_000), 2_000_000), {
        status: "FAILED_PRECONDITION",
      });
      await reader.close();
    });

    test("who creates an object of a log is told so, though the answer was lost", async () => {
      const log = new S3LogStore("/faults", optionsOf({ endpoint: proxy.endpoint, bucket: "log" }));
      const direct = new S3LogStore(
        "/faults",
        optionsOf({ endpoint: server.endpoint, bucket: "log" }),
      );
      for (let i = 0; i < 10; i++) {
        proxy.spoil({ kind: "loseAnswer" }, 1 + (i % 2));
        assert.equal(await log.create(`log/${i}`, pattern(100 + i)), "created");
        assert.equal((await direct.read(`log/${i}`))?.length, 100 + i);
        assert.equal(await direct.create(`other/${i}`, pattern(50)), "created");
        proxy.spoil({ kind: "loseAnswer" });
        assert.equal(await log.create(`other/${i}`, pattern(100)), "exists");
        assert.equal((await direct.read(`other/${i}`))?.length, 50);
      }
      proxy.spoil({ kind: "cutAnswer", afterBytes: 30_000 }, 2);
      assert.equal(await direct.create("log/large", pattern(200_000)), "created");
      assert.equal((await log.read("log/large"))?.length, 200_000);
    });

    test("of a create that nobody answers nothing is said to be known", async () => {
      const log = new S3LogStore("/faults", optionsOf({ endpoint: proxy.endpoint, bucket: "log" }));
      proxy.spoil({ kind: "loseAnswer" }, 1000);
      await assert.rejects(log.create("log/unknown", pattern(10)), { status: "UNAVAILABLE" });
      proxy.heal();
      assert.equal((await log.read("log/unknown"))?.length, 10, "it was made, as it happens");
    });
  });
});
