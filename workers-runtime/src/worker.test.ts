import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { type TestContext, test } from "node:test";
import { clusterOf, TOKEN, until } from "./fake_masters.ts";
import worker from "./worker.ts";

const LARGE = randomBytes(5_000_000);
const SMALL = Buffer.from("<p>from the cluster");

/** The Worker with a platform around it, as far as it looks at one. */
function platform(context: TestContext, variables: Readonly<Record<string, string>> = {}) {
  const masters = clusterOf({ "/public/a.html": SMALL, "/public/large": LARGE }, 2);
  const put: string[] = [];
  const cache = {
    match: async () => undefined,
    async put({ url }: Request, response: Response) {
      put.push(`${new URL(url).pathname} ${(await response.arrayBuffer()).byteLength}`);
    },
  };
  const globals = {
    caches: { default: cache },
    WebSocket: function WebSocket(url: string) {
      return masters.dial(url);
    },
  };
  for (const [name, value] of Object.entries(globals)) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    context.after(() => {
      Reflect.deleteProperty(globalThis, name);
      if (before !== undefined) Object.defineProperty(globalThis, name, before);
    });
  }
  const env = {
    ROCKPOOL_MASTERS: "ws://m0:1, ws://m1:1,",
    ROCKPOOL_TOKEN: TOKEN,
    ROCKPOOL_ROOT: "/public/",
    ...variables,
  };
  const waited: Promise<unknown>[] = [];
  const waitUntil = (work: Promise<unknown>) => {
    waited.push(work);
  };
  const ask = (path: string, init: RequestInit = {}) =>
    worker.fetch(new Request(`http://x${path}`, init), env, { waitUntil });
  const connections = () =>
    masters.masters.reduce((sum, { connectionCount }) => sum + connectionCount, 0);
  return { masters, ask, put, connections, settled: () => Promise.all(waited) };
}

test("the Worker closes its connection with each answer: read, of no body, broken off, failed", async (context) => {
  const { ask, connections, settled } = platform(context);
  const answer = await ask("/a.html");
  assert.equal(connections(), 1);
  assert.equal(await answer.text(), SMALL.toString());
  await until(() => connections() === 0);
  const whole = await ask("/large");
  assert.ok(LARGE.equals(Buffer.from(await whole.arrayBuffer())));
  await until(() => connections() === 0);
  assert.equal((await ask("/a.html", { method: "HEAD" })).status, 200);
  await until(() => connections() === 0);
  assert.equal((await ask("/none")).status, 404);
  await until(() => connections() === 0);
  const large = await ask("/large");
  const reader = large.body?.getReader();
  await reader?.read();
  assert.equal(connections(), 1);
  await reader?.cancel();
  await until(() => connections() === 0);
  await settled();
});

test("the Worker keeps small files, and no large ones that would wait in memory", async (context) => {
  const { ask, put, settled } = platform(context);
  await (await ask("/a.html")).text();
  await (await ask("/large")).arrayBuffer();
  await (await ask("/a.html", { headers: { range: "bytes=0-1" } })).text();
  await settled();
  assert.deepEqual(put, [`/a.html ${SMALL.length}`]);
});

test("the Worker says that a path is none, or not below its root", async (context) => {
  const { ask, connections } = platform(context);
  assert.equal((await ask("/%ff")).status, 400);
  assert.equal((await ask("/%2e%2e%2fsecret")).status, 404);
  assert.equal(connections(), 0);
});

test("the Worker follows masters to the leader, unless it must not", async (context) => {
  const only = { ROCKPOOL_MASTERS: "ws://m0:1" };
  const free = platform(context, only);
  free.masters.leader = free.masters.at(1);
  assert.equal(await (await free.ask("/a.html")).text(), SMALL.toString());
  assert.equal(free.masters.at(1).dials, 1);
  const bound = platform(context, { ...only, ROCKPOOL_FOLLOW: "false" });
  bound.masters.leader = bound.masters.at(1);
  const aborter = new AbortController();
  const answer = bound.ask("/a.html", { signal: aborter.signal });
  await until(() => bound.masters.at(0).dials >= 3);
  aborter.abort(new Error("enough"));
  await assert.rejects(answer, /enough/);
  assert.equal(bound.masters.at(1).dials, 0);
  await until(() => bound.connections() === 0);
});
