import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, test } from "node:test";
import { RockpoolError } from "../common/errors.ts";
import type { MasterStatus } from "./api_types.ts";
import { jsonText } from "./json_text.ts";
import { askForLeader } from "./leader_client.ts";
import { LogFiles } from "./log_files.ts";
import { masterHandler } from "./master_api.ts";
import {
  pathOf,
  plainText,
  readBody,
  refuseUpgrade,
  startWebServer,
  type WebHandler,
  type WebServer,
} from "./server.ts";
import { dateText, durationText } from "./shapes.ts";
import { pagePolicy, StaticFiles } from "./static_files.ts";
import { MASTER, masterSource, OneFile, workerSource } from "./web_fixture.ts";
import { workerHandler } from "./worker_api.ts";

let server: WebServer | null = null;
const errors: unknown[] = [];
afterEach(async () => {
  errors.length = 0;
  await server?.close();
  server = null;
});

async function serve(handle: WebHandler): Promise<string> {
  await server?.close();
  const onError = (_: string, error: unknown) => errors.push(error);
  server = await startWebServer({ bindHost: "127.0.0.1", port: 0, handle, onError });
  return `http://127.0.0.1:${server.port}`;
}
const master = (status: Partial<MasterStatus> = {}) => serve(masterHandler(masterSource(status)));
const read = async (url: string) => (await (await fetch(url)).json()) as Record<string, unknown>;
const JSON_TYPE = { "content-type": "application/json" };
const BYTES_TYPE = { "content-type": "application/octet-stream" };

/** Node's own client sets any header, as a browser of an attacker would not let a page do. */
function post(
  url: string,
  headers: Readonly<Record<string, string>>,
  body = "{}",
): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: "POST", headers, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

test("/healthz is 200 for a serving leader and a standby with a leader, else 503", async () => {
  const cases: [Partial<MasterStatus>, number][] = [
    [{}, 200],
    [{ isServing: false }, 503],
    [{ role: "follower", isServing: false }, 200],
    [{ role: "candidate", isServing: false, leader: null }, 503],
  ];
  for (const [change, status] of cases) {
    const response = await fetch(`${await master(change)}/healthz`);
    assert.equal(response.status, status);
    assert.equal(((await response.json()) as { role: string }).role, change.role ?? "leader");
  }
  const base = await serve(workerHandler(workerSource()));
  assert.equal((await fetch(`${base}/healthz`)).status, 503);
});

test("/leader names the leader's ports to anybody, and is 503 without one", async () => {
  const response = await fetch(`${await master()}/leader`);
  assert.deepEqual(await response.json(), { leader: "m1:19998", web: "m1:19999" });
  assert.equal(response.headers.get("access-control-allow-origin"), "*");
  const none = await fetch(`${await master({ leader: null })}/leader`);
  assert.equal(none.status, 503);
});

test("askForLeader() believes the one that leads, then those that know it, then nobody", async () => {
  const leader = { rpc: "m1:19998", web: "" };
  const base = await master({ leader });
  const self = { host: "127.0.0.1", port: server?.port ?? 0 };
  leader.web = `127.0.0.1:${self.port}`;
  assert.deepEqual(await askForLeader([self], 1000), leader);
  leader.web = "m9:1";
  assert.deepEqual(await askForLeader([self], 1000), leader);
  assert.equal(await askForLeader([], 1000), null);
  await server?.close();
  assert.equal(await askForLeader([self], 1000), null);
  assert.ok(base);
});

test("S0-34 the JSON of a master has Alluxio's paths and field names", async () => {
  const base = `${await master()}/api/v1/master`;
  const fields: Readonly<Record<string, readonly string[]>> = {
    info: ["capacity", "configuration", "lostWorkers", "metrics", "mountPoints", "rpcAddress"],
    webui_init: ["debug", "newerVersionAvailable", "refreshInterval", "proxyDownloadFileApiUrl"],
    webui_overview: ["configCheckStatus", "storageTierInfos", "diskCapacity", "liveWorkerNodes"],
    webui_browse: ["currentDirectory", "fileInfos", "ntotalFile", "pathInfos", "invalidPathError"],
    webui_data: ["fileInfos", "inAlluxioFileNum", "masterNodeAddress", "permissionError"],
    webui_logs: ["fileInfos", "ntotalFile", "viewingOffset", "currentPath"],
    webui_config: ["configuration", "whitelist"],
    webui_workers: ["normalNodeInfos", "failedNodeInfos", "debug"],
    webui_masters: ["leaderMasterInfo", "normalMasterInfos", "failedMasterInfos"],
    webui_mounttable: ["mountPointInfos", "debug"],
    webui_metrics: ["masterCapacityUsedPercentage", "totalBytesReadRemote", "operationMetrics"],
    raw_configuration: ["alluxio.home"],
  };
  for (const [path, names] of Object.entries(fields)) {
    const answer = await read(`${base}/${path}`);
    for (const name of names) assert.ok(name in answer, `${path} has ${name}`);
  }
  const { normalNodeInfos } = await read(`${base}/webui_workers`);
  const text = await (await fetch(`${base}/webui_workers`)).text();
  assert.match(text, /"workerId":9007199254740993,/, "64-bit ids are numbers");
  assert.equal((normalNodeInfos as { capacity: string }[])[0]?.capacity, "1024.00MB");
  const browse = await read(`${base}/webui_browse?path=/d/a&offset=2`);
  assert.equal(browse["fileData"], "345678");
  assert.equal((await read(`${base}/webui_browse?path=/d/a&offset=3&end=1`))["fileData"], "678");
  const missing = await read(`${base}/webui_browse?path=/x`);
  assert.match(String(missing["invalidPathError"]), /^Error: Invalid Path.*\/x/);
  const odd = await read(`${base}/webui_browse?offset=ten`);
  assert.match(String(odd["fatalError"]), /offset is no whole number/);
});

test("the JSON of a worker has Alluxio's paths and field names", async () => {
  const base = `${await serve(workerHandler(workerSource()))}/api/v1/worker`;
  const fields: Readonly<Record<string, readonly string[]>> = {
    info: ["capacity", "rpcAddress", "tierCapacity", "tierPaths"],
    operations: ["operationCount"],
    webui_init: ["masterHostname", "masterPort", "refreshInterval"],
    webui_overview: ["workerInfo", "storageDirs", "usageOnTiers", "blockCount"],
    webui_blockinfo: ["fileInfos", "ntotalFile", "orderedTierAliases"],
    webui_config: ["configuration"],
    webui_logs: ["fileInfos"],
    webui_metrics: ["workerCapacityUsedPercentage", "operationMetrics"],
  };
  for (const [path, names] of Object.entries(fields)) {
    const answer = await read(`${base}/${path}`);
    for (const name of names) assert.ok(name in answer, `${path} has ${name}`);
  }
});

test("S0-4 a standby answers what is about itself, and names the leader for the rest", async () => {
  const base = await master({ role: "follower", isServing: false });
  for (const path of ["webui_overview", "webui_masters", "webui_config", "webui_metrics"])
    assert.equal((await fetch(`${base}/api/v1/master/${path}`)).status, 200, path);
  for (const path of ["webui_browse", "webui_data", "download?path=/d/a"]) {
    const response = await fetch(`${base}/api/v1/master/${path}`);
    assert.equal(response.status, 503, path);
    assert.deepEqual(((await response.json()) as { leader: unknown }).leader, MASTER.leader);
  }
});

test("a page that another origin shows can change nothing", async () => {
  const source = masterSource();
  const base = await serve(masterHandler(source));
  const url = `${base}/api/v1/master/elect`;
  const { host } = new URL(base);
  const body = '{"address":"m2:19200"}';
  const refused: readonly (readonly [string, Readonly<Record<string, string>>, number])[] = [
    ["a form", { "content-type": "application/x-www-form-urlencoded" }, 415],
    ["plain text", { "content-type": "text/plain" }, 415],
    ["no type", {}, 415],
    ["another origin", { ...JSON_TYPE, origin: "http://evil.example" }, 403],
    ["no origin to name", { ...JSON_TYPE, origin: "null" }, 403],
    ["another port of this host", { ...JSON_TYPE, origin: "http://127.0.0.1:1" }, 403],
    ["a cross-site fetch", { ...JSON_TYPE, "sec-fetch-site": "cross-site" }, 403],
    ["a same-site fetch", { ...JSON_TYPE, "sec-fetch-site": "same-site" }, 403],
    ["a name that was made to point here", { ...JSON_TYPE, host: "evil.example" }, 403],
    [
      "the same, naming itself as origin",
      { ...JSON_TYPE, host: "evil.example", origin: "http://evil.example" },
      403,
    ],
  ];
  for (const [what, headers, status] of refused)
    assert.equal((await post(url, headers, body)).status, status, what);
  assert.deepEqual(source.elected, []);
  const asked = await fetch(url, { method: "OPTIONS" });
  assert.equal(asked.status, 405);
  assert.equal(asked.headers.get("access-control-allow-origin"), null);
  const own = { ...JSON_TYPE, origin: `http://${host}`, "sec-fetch-site": "same-origin" };
  assert.equal((await post(url, own, body)).status, 200);
  assert.equal((await post(url, JSON_TYPE, body)).status, 200, "a program says no origin");
  assert.equal((await post(url, { ...JSON_TYPE, host: "m1" }, body)).status, 200, "a known name");
  assert.deepEqual(source.elected, ["m2:19200", "m2:19200", "m2:19200"]);
  assert.equal((await fetch(url)).status, 405, "GET changes nothing");
});

test("rockpool.web.actions.enabled=false refuses all of them", async () => {
  const guard = { isEnabled: false, allowedHosts: () => [] };
  const base = await serve(masterHandler(masterSource({}, { guard })));
  for (const path of ["elect", "upload?path=/x", "logLevel?level=DEBUG"])
    assert.equal((await post(`${base}/api/v1/master/${path}`, JSON_TYPE)).status, 403, path);
});

test("bodies of actions are bounded, and must say what they mean", async () => {
  const base = await master();
  const url = `${base}/api/v1/master/elect`;
  for (const body of ["", "[]", "null", '{"address":3}', "x".repeat(100)])
    assert.equal((await post(url, JSON_TYPE, body)).status, 400, body);
  const large = await post(url, JSON_TYPE, `{"address":"${"m".repeat(10_000)}"}`).catch(() => null);
  assert.ok(large === null || large.status === 400);
  assert.equal((await fetch(`${base}/healthz`)).status, 200);
});

test("a body that does not end holds nobody: read or not, its connection goes", async () => {
  const slow = new Readable({ read() {} });
  slow.push("{");
  await assert.rejects(readBody(slow, 100, 5), { status: "DEADLINE_EXCEEDED" });
  const base = await master();
  const socket = connect(Number(new URL(base).port), "127.0.0.1");
  socket.write("GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf");
  const [answer] = (await once(socket, "data")) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1\.1 200.*connection: close/is);
  socket.resume();
  await once(socket, "close");
});

test("upload and download carry bytes, and say what is wrong", async () => {
  const files = new OneFile();
  const source = masterSource({}, { files });
  const base = `${await serve(masterHandler(source))}/api/v1/master`;
  assert.equal((await post(`${base}/upload?path=/new`, BYTES_TYPE, "hello")).status, 200);
  assert.equal(files.uploads.get("/new"), "hello");
  const again = await post(`${base}/upload?path=/new`, BYTES_TYPE, "hello");
  assert.equal(again.status, 409);
  assert.match(again.text, /exists/);
  assert.deepEqual(source.actions, ["upload"]);
  const whole = await fetch(`${base}/download?path=/d/a`);
  assert.equal(await whole.text(), "12345678");
  assert.equal(whole.headers.get("content-length"), "8");
  assert.match(whole.headers.get("content-security-policy") ?? "", /sandbox/);
  assert.match(whole.headers.get("content-disposition") ?? "", /^attachment; filename="a"/);
  assert.equal(await (await fetch(`${base}/download?path=/d/a&offset=2&length=3`)).text(), "345");
});

test("only so many files are on their way at a time, and each frees its place", async () => {
  const files = new OneFile();
  const pipes: Readable[] = [];
  files.open = async () => {
    const body = new Readable({ read() {} });
    pipes.push(body);
    return { body, lengthBytes: 1_000 };
  };
  const base = await serve(masterHandler(masterSource({}, { files })));
  const url = `${base}/api/v1/master/download?path=/d/a`;
  const aborters = Array.from({ length: 16 }, () => new AbortController());
  const open = await Promise.all(aborters.map(({ signal }) => fetch(url, { signal })));
  assert.ok(open.every(({ status }) => status === 200));
  assert.equal((await fetch(url)).status, 503);
  aborters[0]?.abort();
  const [first] = pipes;
  const closed = new Promise((resolve) => first?.once("close", resolve).once("error", () => {}));
  if (first?.closed === false) await closed;
  const next = new AbortController();
  assert.equal((await fetch(url, { signal: next.signal })).status, 200);
  for (const aborter of [...aborters, next]) aborter.abort();
  // HEAD opens a file too, and leaves none open.
  const idle = await serve(masterHandler(masterSource({}, { files: new OneFile() })));
  for (let count = 0; count < 20; count++) {
    const head = await fetch(`${idle}/api/v1/master/download?path=/d/a`, { method: "HEAD" });
    assert.equal(head.status, 200);
  }
});

test("levels of the log are read, and changed part by part", async () => {
  const source = masterSource();
  const url = `${await serve(masterHandler(source))}/api/v1/master/logLevel`;
  assert.deepEqual(await read(url), { levels: { root: "info", journal: "info" } });
  const set = await post(`${url}?logName=journal&level=DEBUG`, JSON_TYPE);
  assert.deepEqual(JSON.parse(set.text), {
    logName: "journal",
    level: "DEBUG",
    message: "Set to DEBUG",
  });
  assert.equal(source.levels.levels().get("journal"), "debug");
  assert.equal(source.levels.levels().get("root"), "info");
  assert.equal((await read(`${url}?logName=journal`))["level"], "DEBUG");
  assert.equal((await post(`${url}?logName=nobody&level=INFO`, JSON_TYPE)).status, 404);
  assert.equal((await post(`${url}?logName=root&level=LOUD`, JSON_TYPE)).status, 400);
});

test("LogFiles shows what is in the folder, and nothing else on the disk", async () => {
  const folder = mkdtempSync(join(tmpdir(), "logs-"));
  writeFileSync(join(folder, "master.log"), "0123456789");
  writeFileSync(join(folder, "master.out.1"), "old");
  writeFileSync(join(folder, "secret.txt"), "no log");
  mkdirSync(join(folder, "folder.log"));
  symlinkSync("/etc/passwd", join(folder, "passwd.log"));
  writeFileSync(join(folder, "own.log"), "mine");
  const logs = new LogFiles(folder, join(folder, "own.log"));
  const names = (await logs.list()).map(({ name }) => name);
  assert.deepEqual(names, ["master.log", "master.out.1", "own.log"]);
  assert.equal((await logs.page("master.log", -4, 3)).text, "678");
  assert.deepEqual(await logs.page("master.log", 2, 3), {
    text: "234",
    offsetBytes: 2,
    sizeBytes: 10,
  });
  assert.equal((await logs.page("master.log", 99, 3)).text, "");
  const { body, lengthBytes } = await logs.stream("master.log", 8, 100);
  assert.equal(lengthBytes, 2);
  assert.equal(Buffer.concat(await body.toArray()).toString(), "89");
  assert.equal((await logs.stream("master.log", 10, 5)).lengthBytes, 0);
  for (const name of ["../etc/passwd", "passwd.log", "secret.txt", "folder.log", "", "none.log"])
    await assert.rejects(logs.stat(name), { status: "NOT_FOUND" }, name);
  assert.deepEqual(await new LogFiles("/nowhere").list(), []);
  rmSync(folder, { recursive: true });
});

test("StaticFiles answers with what it read, packed and once", async () => {
  const folder = mkdtempSync(join(tmpdir(), "ui-"));
  writeFileSync(join(folder, "index.html"), "<!doctype html>");
  writeFileSync(join(folder, "notes.md"), "not served");
  const source = masterSource(
    {},
    { statics: new StaticFiles(folder), peers: () => ["m2:19999", "x y'"] },
  );
  const base = await serve(masterHandler(source));
  const page = await fetch(`${base}/`);
  assert.equal(await page.text(), "<!doctype html>");
  assert.equal(page.headers.get("content-encoding"), "gzip");
  const policy = page.headers.get("content-security-policy") ?? "";
  assert.match(policy, /script-src 'self';/);
  assert.match(policy, /connect-src 'self' http:\/\/m2:19999;/);
  assert.doesNotMatch(policy, /unsafe/);
  const tag = page.headers.get("etag") ?? "";
  const again = await fetch(`${base}/`, { headers: { "if-none-match": tag } });
  assert.equal(again.status, 304);
  assert.equal((await fetch(`${base}/assets/notes.md`)).status, 404);
  assert.equal((await fetch(`${base}/assets/../index.html`)).status, 404);
  rmSync(folder, { recursive: true });
  assert.equal(pagePolicy([]).includes("connect-src 'self';"), true);
});

test("metrics are served in both forms, with and without the slash", async () => {
  const base = await master();
  for (const form of ["prometheus", "json"]) {
    const short = await fetch(`${base}/metrics/${form}`, { redirect: "manual" });
    assert.equal(short.status, 302);
    assert.equal(short.headers.get("location"), `/metrics/${form}/`);
    assert.equal((await fetch(`${base}/metrics/${form}/`)).status, 200);
  }
  assert.match(await (await fetch(`${base}/metrics/prometheus/`)).text(), /process_resident/);
});

test("the server refuses what it does not serve, and survives nonsense", async () => {
  const base = await master();
  assert.equal((await fetch(`${base}/`, { method: "DELETE" })).status, 405);
  assert.equal((await fetch(`${base}/none`)).status, 404);
  assert.equal((await fetch(`${base}/${"x".repeat(9000)}`)).status, 414);
  assert.equal((await fetch(`${base}/%ff`)).status, 400);
  const head = await fetch(`${base}/healthz`, { method: "HEAD" });
  assert.equal(head.status, 200);
  assert.equal((await head.text()).length, 0);
  const socket = connect(server?.port ?? 0, "127.0.0.1");
  socket.end("no http at all\r\n\r\n");
  const [chunk] = (await once(socket, "data")) as [Buffer];
  assert.match(chunk.toString(), /^HTTP\/1\.1 400/);
  assert.equal((await fetch(`${base}/healthz`)).status, 200);
});

test("a page that throws is a 500 without details; one that knows why says it", async () => {
  const base = await serve(() => {
    throw new Error("secret detail");
  });
  const response = await fetch(`${base}/`);
  assert.equal(response.status, 500);
  assert.equal((await response.text()).includes("secret"), false);
  assert.equal(errors.length, 1);
  const files = new OneFile();
  files.cached = () =>
    Promise.reject(new RockpoolError("RESOURCE_EXHAUSTED", "The disk is full", "Make room"));
  const other = await serve(masterHandler(masterSource({}, { files })));
  const full = await fetch(`${other}/api/v1/master/webui_data`);
  assert.equal(full.status, 503);
  assert.match(await full.text(), /The disk is full/);
});

test("a reader that stops reading holds no more than the pipe holds", async () => {
  let taken = 0;
  const body = new Readable({
    read() {
      taken += 65_536;
      this.push(Buffer.alloc(65_536));
    },
  });
  const base = await serve(() => ({ status: 200, contentType: "text/plain", body }));
  const socket = connect(new URL(base).port === "" ? 80 : Number(new URL(base).port), "127.0.0.1");
  socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  await once(socket, "readable");
  // It never reads on: what flows stops once the buffers between are full.
  let before = -1;
  while (before !== taken) {
    before = taken;
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  }
  assert.ok(taken < 64 * 1024 * 1024, `${taken} bytes were taken`);
  socket.destroy();
});

test("whoever is refused an upgrade goes, and ends nothing by going", async () => {
  const web = await startWebServer({
    ...{ bindHost: "127.0.0.1", port: 0, handle: () => plainText(200, "here"), onError: () => {} },
    onUpgrade: (_, socket) => refuseUpgrade(socket, "404 Not Found", "nothing"),
  });
  const asking = "GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
  try {
    for (let count = 0; count < 20; count++) {
      const hasty = connect(web.port, "127.0.0.1");
      await once(hasty, "connect");
      hasty.write(asking, () => hasty.resetAndDestroy());
      await once(hasty, "close");
    }
    const stays = connect({ port: web.port, host: "127.0.0.1", allowHalfOpen: true });
    stays.on("error", () => {}); // it is cut off, which is what is waited for
    stays.write(asking);
    const [answer] = (await once(stays, "data")) as [Buffer];
    assert.match(answer.toString(), /^HTTP\/1.1 404 [\s\S]*nothing\n$/);
    while (!stays.destroyed) {
      stays.write("more");
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const reply = await fetch(`http://127.0.0.1:${web.port}/`);
    assert.equal(await reply.text(), "here\n");
  } finally {
    await web.close();
  }
});

test("startWebServer() names the port that is taken", async () => {
  await master();
  const port = server?.port ?? 0;
  await assert.rejects(
    startWebServer({ bindHost: "127.0.0.1", port, handle: () => null, onError: () => {} }),
    new RegExp(`127\\.0\\.0\\.1:${port}: the port is taken`),
  );
});

test("pathOf(), dateText(), durationText() and jsonText() handle the odd cases", () => {
  assert.equal(pathOf("http://x/y"), null);
  assert.equal(pathOf("/a%20b?c"), "/a b");
  assert.equal(pathOf("/%00"), null);
  assert.match(dateText(0), /^\d\d-\d\d-\d{4} \d\d:\d\d:\d\d:000$/);
  assert.equal(durationText(90_061_000), "1 day(s), 1 hour(s), 1 minute(s), and 1 second(s)");
  assert.equal(jsonText({ a: 2n ** 63n - 1n, b: "12" }), '{"a":9223372036854775807,"b":"12"}');
  assert.equal(plainText(200, "x").body, "x\n");
});
