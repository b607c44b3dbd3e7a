import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, test } from "node:test";
import { duration, escapeHtml } from "./html.ts";
import { askForLeader } from "./leader_client.ts";
import { masterHandler, masterPage, workerHandler, workerPage } from "./pages.ts";
import { pathOf, startWebServer, type WebHandler, type WebServer } from "./server.ts";
import type { MasterStatus, WorkerStatus } from "./status.ts";

const MASTER: MasterStatus = {
  rpc: "m1:19998",
  version: "2.9.4",
  uptimeMs: 90_061_000,
  startedMs: 0,
  role: "leader",
  isServing: true,
  leader: { rpc: "m1:19998", web: "m1:19999" },
  term: 3,
  commitIndex: 10,
  appliedIndex: 9,
  members: [
    {
      rpc: "m1:19998",
      web: "m1:19999",
      journal: "m1:19200",
      isSelf: true,
      isLeader: true,
      isVoter: true,
      isAvailable: true,
      lagEntries: 0,
    },
  ],
  workers: [
    {
      rpc: "w1:29999",
      web: "w1:30000",
      isLive: true,
      sinceContactMs: 1000,
      tiers: [{ alias: "MEM", capacityBytes: 1024 ** 3, usedBytes: 1024 ** 2 }],
      blockCount: 7,
    },
  ],
  mounts: [
    { path: "/<script>alert(1)</script>", ufsUri: "/a&b", type: "local", isReadOnly: false },
  ],
};
const WORKER: WorkerStatus = {
  rpc: "w1:29999",
  version: "2.9.4",
  uptimeMs: 1,
  startedMs: 0,
  isRegistered: false,
  tiers: [{ alias: "MEM", capacityBytes: 0, usedBytes: 0 }],
  blockCount: 0,
};
const scrape = async () => ({ text: "Master_TotalPaths 1\n", contentType: "text/plain" });

let server: WebServer | null = null;
const errors: unknown[] = [];
afterEach(async () => {
  errors.length = 0;
  await server?.close();
  server = null;
});

async function serve(handle: WebHandler): Promise<string> {
  const onError = (_: string, error: unknown) => errors.push(error);
  server = await startWebServer({ bindHost: "127.0.0.1", port: 0, handle, onError });
  return `http://127.0.0.1:${server.port}`;
}
const master = (status: MasterStatus) =>
  serve(masterHandler({ status: () => status, scrape, isPageEnabled: true }));

test("the master's page shows everything, escaped, and loads nothing", () => {
  const text = masterPage(MASTER);
  assert.match(text, /w1:29999/);
  assert.match(text, /1d 1h/);
  assert.equal(text.includes("<script"), false);
  assert.match(text, /&lt;script&gt;/);
  assert.equal(/src=|@import|url\(/.test(text), false);
});

test("the worker's page says when no master knows it", () => {
  assert.match(workerPage(WORKER, null), /no master knows it/);
});

test("/healthz is 200 for a serving leader and a standby with a leader, else 503", async () => {
  const cases: [Partial<MasterStatus>, number][] = [
    [{}, 200],
    [{ isServing: false }, 503],
    [{ role: "follower", isServing: false }, 200],
    [{ role: "candidate", isServing: false, leader: null }, 503],
  ];
  for (const [change, status] of cases) {
    const base = await master({ ...MASTER, ...change });
    const response = await fetch(`${base}/healthz`);
    assert.equal(response.status, status);
    assert.equal(((await response.json()) as { role: string }).role, change.role ?? "leader");
    await server?.close();
  }
  const base = await serve(
    workerHandler({ status: () => WORKER, leader: async () => null, scrape, isPageEnabled: true }),
  );
  assert.equal((await fetch(`${base}/healthz`)).status, 503);
});

test("/leader names the leader's ports, and is 503 without one", async () => {
  const base = await master(MASTER);
  const response = await fetch(`${base}/leader`);
  assert.deepEqual(await response.json(), { leader: "m1:19998", web: "m1:19999" });
  await server?.close();
  assert.equal((await fetch(`${await master({ ...MASTER, leader: null })}/leader`)).status, 503);
});

test("askForLeader() believes the one that leads, then those that know it, then nobody", async () => {
  const leader = { rpc: "m1:19998", web: "" };
  const base = await master({ ...MASTER, leader });
  const self = { host: "127.0.0.1", port: server?.port ?? 0 };
  leader.web = `127.0.0.1:${self.port}`;
  const gone = { host: "127.0.0.1", port: 1 };
  assert.deepEqual(await askForLeader([gone, self], 5000), leader);
  leader.web = "elsewhere:1";
  assert.deepEqual(await askForLeader([gone, self], 5000), leader);
  assert.equal(await askForLeader([gone], 5000), null);
  assert.equal(await askForLeader([], 5000), null);
  assert.ok(base.length > 0);
});

test("/metrics/prometheus redirects to the path with a slash", async () => {
  const base = await master(MASTER);
  const bare = await fetch(`${base}/metrics/prometheus`, { redirect: "manual" });
  assert.equal(bare.status, 302);
  assert.equal(bare.headers.get("location"), "/metrics/prometheus/");
  const response = await fetch(`${base}/metrics/prometheus/?x=1`);
  assert.match(await response.text(), /Master_TotalPaths 1/);
});

test("what is not a page is refused and breaks nothing", async () => {
  const base = await master(MASTER);
  assert.equal((await fetch(`${base}/nope`)).status, 404);
  assert.equal((await fetch(`${base}/`, { method: "POST", body: "x" })).status, 405);
  assert.equal((await fetch(`${base}/${"a".repeat(3000)}`)).status, 414);
  assert.equal((await fetch(`${base}/%zz`)).status, 400);
  const head = await fetch(`${base}/`, { method: "HEAD" });
  assert.equal(head.status, 200);
  assert.equal((await head.text()).length, 0);
  const socket = connect(server?.port ?? 0, "127.0.0.1");
  socket.end("no http at all\r\n\r\n");
  const [chunk] = (await once(socket, "data")) as [Buffer];
  assert.match(chunk.toString(), /^HTTP\/1\.1 400/);
  assert.equal((await fetch(`${base}/`)).status, 200);
});

test("a page that throws is a 500 without details", async () => {
  const base = await serve(() => {
    throw new Error("secret detail");
  });
  const response = await fetch(`${base}/`);
  assert.equal(response.status, 500);
  assert.equal((await response.text()).includes("secret"), false);
  assert.equal(errors.length, 1);
});

test("startWebServer() names the port that is taken", async () => {
  await master(MASTER);
  const port = server?.port ?? 0;
  await assert.rejects(
    startWebServer({ bindHost: "127.0.0.1", port, handle: () => null, onError: () => {} }),
    new RegExp(`127\\.0\\.0\\.1:${port}: the port is taken`),
  );
});

test("pathOf(), duration() and escapeHtml() handle the odd cases", () => {
  assert.equal(pathOf("http://x/y"), null);
  assert.equal(pathOf("/a%20b?c"), "/a b");
  assert.equal(pathOf("/%00"), null);
  assert.equal(duration(0), "0s");
  assert.equal(duration(3_600_000), "1h 0m");
  assert.equal(escapeHtml(`<a href="x">'&`), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
});
