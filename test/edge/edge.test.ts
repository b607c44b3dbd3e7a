import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import {
  type AddressInfo,
  createConnection,
  createServer as createTcpServer,
  type Socket,
} from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { FileSystem } from "../../src/client/file_system.ts";
import { LocalCluster } from "../process/local_cluster.ts";
import type { Job, Outcome } from "./job.ts";
import {
  missingRuntime,
  openRuntime,
  RUNTIMES,
  type Runtime,
  startFileWorker,
} from "./runtimes.ts";

const TOKEN = "a token that nobody guesses".replaceAll(" ", "-");
const BIG_BYTES = 64 * 1024 * 1024 + 12_345;
const CONTENT = randomBytes(BIG_BYTES);
/** Of 1 GB. */
const TIMES = 16;
const WORKERD_BYTES_MAX = 128 * 1024 * 1024;

const folder = mkdtempSync(join(tmpdir(), "rockpool-edge-"));
let cluster: LocalCluster;
let files: FileSystem;

const webOf = (number: number) => `localhost:${cluster.node("master", number).webPort}`;
const all = () => [1, 2, 3].map(webOf);

/** Passes on what both sides send, and turns a bit once, deep in what the server sends. */
async function damagingProxy(target: string, atByte: number) {
  const [host = "", port = ""] = target.split(":");
  let isDone = false;
  const sockets = new Set<Socket>();
  const server = createTcpServer((client) => {
    const upstream = createConnection({ host, port: Number(port) });
    let passed = 0;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => socket.destroy()); // the other end is gone
    }
    client.on("close", () => upstream.destroy()).pipe(upstream);
    upstream.on("close", () => client.destroy());
    upstream.on("data", (bytes: Buffer) => {
      const at = atByte - passed;
      passed += bytes.length;
      if (!isDone && at >= 0 && at < bytes.length) {
        isDone = true;
        bytes[at] = (bytes[at] ?? 0) ^ 4;
      }
      if (!client.write(bytes)) {
        upstream.pause();
        client.once("drain", () => upstream.resume());
      }
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address() as AddressInfo; // it listens on TCP
  return {
    address: `localhost:${address.port}`,
    hasDamaged: () => isDone,
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** A page that does something when it is fetched, and answers then. */
async function trigger(action: () => Promise<void>) {
  const server = createServer((_, response) => {
    void action().then(() =>
      response.writeHead(200, { "access-control-allow-origin": "*" }).end("done"),
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo; // it listens on TCP
  return { url: `http://127.0.0.1:${port}/`, close: () => server.close() };
}

before(async () => {
  const tokens = join(folder, "tokens");
  writeFileSync(tokens, `${"root"} write ${TOKEN}\n`);
  const secret = join(folder, "secret");
  writeFileSync(secret, randomBytes(48).toString("base64"));
  cluster = await LocalCluster.start({
    masters: 3,
    workers: 1,
    definitions: [
      `rockpool.edge.tokens.path=${tokens}`,
      `rockpool.edge.secret.path=${secret}`,
      "rockpool.edge.allowed.origins=*",
    ],
  });
  files = await FileSystem.connect({ masters: cluster.masters });
  await files.writeFile("/big.bin", CONTENT, { writeType: "MUST_CACHE" });
});

after(async () => {
  await files?.close();
  await cluster?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** As the driver makes it. */
async function contentDigest(bytes: Uint8Array): Promise<string> {
  const { createHash } = await import("node:crypto");
  const sha = (piece: Uint8Array | string) => createHash("sha256").update(piece).digest("hex");
  let allPieces = "";
  for (let at = 0; at < bytes.length; at += 1 << 20)
    allPieces += sha(bytes.subarray(at, at + (1 << 20)));
  return sha(allPieces);
}

for (const name of RUNTIMES)
  describe(`the edge client in ${name}`, { skip: missingRuntime(name), timeout: 300_000 }, () => {
    let runtime: Runtime;
    before(async () => {
      runtime = await openRuntime(name, mkdtempSync(join(folder, `${name}-`)));
    });
    after(() => runtime?.close());

    const run = async (job: Partial<Job>): Promise<Outcome> => {
      const outcome = await runtime.run({
        ...{ what: "digest", masters: all(), token: TOKEN, path: "/big.bin" },
        ...job,
      });
      assert.equal(outcome.error, undefined);
      return outcome;
    };

    test("reads 64 MB, verified", async (context) => {
      const outcome = await run({});
      assert.equal(outcome.bytes, BIG_BYTES);
      assert.equal(outcome.sha256, await contentDigest(CONTENT));
      context.diagnostic(`${Math.round(BIG_BYTES / 1000 / (outcome.tookMs ?? 0))} MB/s`);
    });

    test("reads 64 MB over HTTP from the worker, verified", async (context) => {
      const outcome = await run({ what: "direct" });
      assert.equal(outcome.sha256, await contentDigest(CONTENT));
      assert.deepEqual(outcome.facts, { direct: BIG_BYTES, relayed: 0 });
      context.diagnostic(`${Math.round(BIG_BYTES / 1000 / (outcome.tookMs ?? 0))} MB/s`);
    });

    test("reads ranges, up to the end of the file and no further", async () => {
      for (const [offset, length] of [
        [0, 1],
        [65_535, 3],
        [12_345_678, 1_000_001],
        [BIG_BYTES - 5, 100],
        [BIG_BYTES + 5, 100],
      ] as const) {
        const outcome = await run({ what: "range", offset, length });
        const wanted = CONTENT.subarray(offset, offset + length);
        assert.equal(outcome.bytes, wanted.length);
        assert.equal(outcome.sha256, await contentDigest(wanted));
      }
    });

    test("reads many small ranges at once, and from its cache", async () => {
      const outcome = await run({ what: "many" });
      const pieces = Array.from({ length: 1500 }, (_, at) =>
        CONTENT.subarray(at * 997, at * 997 + 500),
      );
      assert.equal(outcome.sha256, await contentDigest(Buffer.concat(pieces)));
      assert.equal(outcome.status, "NOT_FOUND");
      const cached = await run({ what: "cached" });
      assert.equal(cached.sha256, await contentDigest(CONTENT.subarray(100_000, 400_000)));
      assert.deepEqual(cached.facts, { same: true, kept: 6 * 65_536 });
    });

    test("answers HTTP requests with files", async () => {
      const { facts } = await run({ what: "respond" });
      // As the driver makes them.
      const answers = facts as Record<
        string,
        { status: number; bytes: number; given: Record<string, string> }
      >;
      const statuses = Object.entries(answers).map(([key, { status, bytes }]) => [
        key,
        status,
        bytes,
      ]);
      assert.deepEqual(statuses.slice(0, 5), [
        ["head", 200, 0],
        ["range", 206, 10],
        ["suffix", 206, 7],
        ["beyond", 416, 0],
        ["same", 304, 0],
      ]);
      assert.deepEqual(statuses[5], ["otherRange", 200, BIG_BYTES]);
      assert.equal(answers["missing"]?.status, 404);
      assert.equal(answers["range"]?.given["content-range"], `bytes 10-19/${BIG_BYTES}`);
      assert.equal(answers["head"]?.given["content-type"], "application/octet-stream");
      assert.equal(answers["head"]?.given["cache-control"], "public, max-age=9");
    });

    test("changes files, and hears of it", async () => {
      const path = `/changes-${name}`;
      await files.createDirectory(path);
      const { status, facts } = await run({ what: "change", path });
      assert.equal(status, "ALREADY_EXISTS");
      // As the driver makes them.
      const { heard, left, isSame } = facts as { heard: string[]; left: string[]; isSame: boolean };
      assert.ok(isSame);
      assert.deepEqual(left, []);
      for (const event of ["created a/b", "completed a/b", "renamed a/b", "deleted c", "deleted a"])
        assert.ok(heard.includes(event.replace(" ", ` ${path}/`)), `${event} of ${heard.join()}`);
    });

    test("finds the leader from a standby, and is refused with a wrong token", async () => {
      const leader = await cluster.leader();
      const standbys = [1, 2, 3].filter((number) => number !== leader).map(webOf);
      const outcome = await run({ what: "range", offset: 5, length: 5, masters: standbys });
      assert.equal(outcome.sha256, await contentDigest(CONTENT.subarray(5, 10)));
      const refused = await run({ what: "refused", token: "a-token-that-is-wrong" });
      assert.equal(refused.status, "UNAUTHENTICATED");
    });

    test("notices a damaged frame, and reads again from there", async () => {
      const proxy = await damagingProxy(webOf(await cluster.leader()), 20_000_000);
      try {
        const outcome = await run({
          masters: [proxy.address],
          options: { follow: false, stallMs: 60_000 },
        });
        assert.ok(proxy.hasDamaged());
        assert.equal(outcome.sha256, await contentDigest(CONTENT));
        assert.equal(outcome.damaged, 1);
        assert.equal(outcome.connects, 2);
      } finally {
        proxy.close();
      }
    });

    test("goes on when the leader is killed while it reads", async (context) => {
      const leader = await cluster.leader();
      const page = await trigger(async () => cluster.kill("master", leader, "SIGKILL"));
      try {
        const outcome = await run({ checkpoint: { bytes: 20_000_000, url: page.url } });
        assert.equal(outcome.bytes, BIG_BYTES);
        assert.equal(outcome.sha256, await contentDigest(CONTENT));
        assert.ok((outcome.connects ?? 0) >= 2);
        context.diagnostic(`longest gap ${Math.round(outcome.longestGapMs ?? 0)} ms`);
      } finally {
        page.close();
        await cluster.startProcess("master", leader);
        await cluster.untilHealthy();
      }
    });

    if (name === "miniflare")
      test("the ready Worker serves files, and keeps them in the platform's cache", async () => {
        await files.writeFile("/public/page.html", "<p>from the cluster", { isRecursive: true });
        const worker = await startFileWorker(mkdtempSync(join(folder, "files-")), {
          ROCKPOOL_MASTERS: all().join(","),
          ROCKPOOL_TOKEN: TOKEN,
          ROCKPOOL_ROOT: "/public",
          ROCKPOOL_MAX_AGE: "3600",
        });
        const get = async (path: string, headers = {}) => {
          const response = await fetch(`http://127.0.0.1:${worker.port}${path}`, { headers });
          return { response, text: await response.text() };
        };
        try {
          const first = await get("/page.html");
          assert.equal(first.response.status, 200);
          assert.equal(first.text, "<p>from the cluster");
          assert.equal(first.response.headers.get("cache-control"), "public, max-age=3600");
          assert.equal(first.response.headers.get("content-type"), "text/html; charset=utf-8");
          const etag = first.response.headers.get("etag") ?? "";
          assert.equal((await get("/none")).response.status, 404);
          assert.equal((await get("/%2e%2e/big.bin")).response.status, 404);
          assert.equal((await get("/page.html", { "if-none-match": etag })).response.status, 304);
          // A connection each, of which a user has 64.
          for (let at = 0; at < 70; at++)
            assert.equal((await get(`/none-${at}`)).response.status, 404);
          for (let at = 0; at < 70; at++)
            assert.equal((await get(`/page.html?${at}`)).response.status, 200);
          assert.equal((await get("/%ff")).response.status, 400);
          await files.delete("/public/page.html");
          await cluster.until("the platform has put it into its cache", async () => {
            return (await get("/page.html")).text === "<p>from the cluster";
          });
        } finally {
          await worker.close();
        }
      });

    if (name === "workerd")
      test("streams 1 GB within the memory of an isolate", async (context) => {
        // Anew, since what counts is the most that it ever had.
        await runtime.close();
        runtime = await openRuntime(name, mkdtempSync(join(folder, `${name}-`)));
        const outcome = await run({ times: TIMES });
        assert.equal(outcome.bytes, TIMES * BIG_BYTES);
        const peak = runtime.residentBytes() ?? 0;
        context.diagnostic(`resident at most ${Math.round(peak / 2 ** 20)} MiB`);
        assert.ok(peak < WORKERD_BYTES_MAX, `${peak} bytes`);
      });
  });
