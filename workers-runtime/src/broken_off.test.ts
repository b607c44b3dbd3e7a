import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import { encodeFrame, FRAME } from "../../src/edge/frame.ts";
import { crc32c } from "../../src/kernels/fallback.ts";
import { RockpoolClient } from "./client.ts";
import { clusterOf, failsWith, until } from "./fake_masters.ts";
import { watch } from "./watch.ts";

const BIG = randomBytes(3_000_011);
const STREAMS = 70; // a connection has 64 requests

/** The end of a frame's request instead of the frame. */
function lastOf(bytes: Uint8Array): Uint8Array {
  const id = new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true);
  return encodeFrame({ type: FRAME.data, id, isLast: true }, new Uint8Array(0), crc32c);
}

test("streams that are broken off are cancelled at the master, so that others find room", async () => {
  const masters = clusterOf({ "/big": BIG });
  const client = masters.client();
  for (let at = 0; at < STREAMS; at++) for await (const _ of await client.stream("/big")) break;
  await until(() => masters.at(0).receivedCount(FRAME.cancel) === STREAMS);
  assert.ok(BIG.equals(await client.read("/big")));
  assert.equal(client.counts.retries, 0);
  client.close();
});

test("a signal cancels a stream at the master, and fails it, while nobody reads", async () => {
  const masters = clusterOf({ "/big": BIG });
  const client = masters.client();
  const aborter = new AbortController();
  const reader = (await client.stream("/big", { signal: aborter.signal })).getReader();
  await reader.read();
  aborter.abort(new Error("enough"));
  await until(() => masters.at(0).receivedCount(FRAME.cancel) === 1);
  await assert.rejects(reader.read(), /enough/);
  client.close();
});

test("nothing is left on the caller's signal, however a call ends", async () => {
  const masters = clusterOf({ "/big": BIG });
  const client = masters.client({ budgetMs: 100 });
  const { signal } = new AbortController();
  await client.read("/big", { signal });
  for await (const _ of await client.stream("/big", { signal })) break;
  await assert.rejects(client.open("/none", { signal }), failsWith("NOT_FOUND"));
  await client.status("/big", signal);
  const reader = (await client.stream("/big", { signal })).getReader();
  masters.files.failure = new Error("now");
  masters.at(0).cut();
  await assert.rejects(async () => {
    for (;;) if ((await reader.read()).done) return;
  }, failsWith("INTERNAL"));
  assert.equal(getEventListeners(signal, "abort").length, 0);
  client.close();
});

test("a read of which less came than was announced goes on, and never ends with zeroes", async () => {
  const masters = clusterOf({ "/big": BIG });
  let frames = 0;
  masters.at(0).tamper = (bytes) =>
    bytes[0] === FRAME.data && ++frames === 3 ? lastOf(bytes) : bytes;
  const client = masters.client({ budgetMs: 200 });
  assert.ok(BIG.equals(await client.read("/big")));
  assert.equal(client.counts.retries, 1);
  // For ever.
  masters.at(0).tamper = (bytes) => (bytes[0] === FRAME.data ? lastOf(bytes) : bytes);
  await assert.rejects(client.read("/big"), failsWith("UNAVAILABLE"));
  client.close();
});

test("pieces that a master leaves out of readMany() are asked for again", async () => {
  const masters = clusterOf({ "/big": BIG });
  let isFirst = true;
  masters.at(0).tamper = (bytes) => {
    if (bytes[0] !== FRAME.data || !isFirst) return bytes;
    isFirst = false;
    return lastOf(bytes);
  };
  const client = masters.client();
  const ranges = [3, 5].map((offset) => ({ path: "/big", offset, length: 2 }));
  const pieces = await client.readMany(ranges);
  assert.deepEqual(pieces.map(String), [`${BIG[3]},${BIG[4]}`, `${BIG[5]},${BIG[6]}`]);
  assert.equal(client.counts.retries, 1);
  client.close();
});

test("a call ends with its budget: a master that is mute, at once or later, and answers that never come", async () => {
  const masters = clusterOf({ "/big": BIG });
  masters.at(0).isMute = true;
  for (const options of [{ budgetMs: 80, stallMs: 20 }, { budgetMs: 40 }]) {
    const client = masters.client({ stallMs: 60_000, ...options });
    await assert.rejects(client.status("/big"), failsWith("UNAVAILABLE"));
    client.close();
  }
  masters.at(0).isMute = false;
  // It answers pings all the while.
  const never = () => new Promise<never>(() => {});
  const client = masters.client({ budgetMs: 150, stallMs: 60_000 });
  await client.status("/big");
  masters.files.status = never;
  masters.files.open = never;
  await assert.rejects(client.status("/big"), /Nothing for 150 ms/);
  await assert.rejects(client.read("/big"), /Nothing for 150 ms/);
  await assert.rejects(
    client.readMany([{ path: "/big", offset: 0, length: 1 }]),
    /Nothing for 150 ms/,
  );
  await until(() => masters.at(0).receivedCount(FRAME.cancel) === 3);
  client.close();
});

test("a signal ends a call that waits for a connection", async () => {
  const masters = clusterOf({ "/big": BIG });
  masters.at(0).isMute = true;
  const client = masters.client({ stallMs: 60_000, budgetMs: 60_000 });
  const aborter = new AbortController();
  const call = client.status("/big", aborter.signal);
  await until(() => masters.at(0).dials === 1);
  aborter.abort(new Error("enough"));
  await assert.rejects(call, /enough/);
  client.close();
});

test("close() is final: calls, pauses, connections that are being made, and watches end, and nobody is dialled again", async () => {
  const masters = clusterOf({ "/big": BIG }, 2);
  const [first, second] = [masters.at(0), masters.at(1)];
  const client = masters.client({ masters: ["m0:1"], follow: false });
  const events = watch(client, "/");
  await events.next();
  const event = events.next();
  client.close();
  await assert.rejects(event, failsWith("CANCELLED"));
  await assert.rejects(client.read("/big"), failsWith("CANCELLED"));
  assert.equal(first.dials, 1);
  // In a pause.
  first.isDown = true;
  const pausing = masters.client({ masters: ["m0:1"], follow: false });
  const paused = pausing.read("/big");
  await until(() => pausing.counts.retries === 1);
  pausing.close();
  await assert.rejects(paused, failsWith("CANCELLED"));
  // While it connects.
  second.isMute = true;
  const connecting = masters.client({ masters: ["m1:1"], stallMs: 60_000, budgetMs: 60_000 });
  const call = connecting.status("/big");
  await until(() => second.dials === 1);
  connecting.close();
  await assert.rejects(call, failsWith("CANCELLED"));
  assert.equal(second.connectionCount, 0);
});

test("a kernel that is not to be had leaves the work to TypeScript", async () => {
  const masters = clusterOf({ "/big": BIG });
  const client = new RockpoolClient(
    { masters: "m0:1", token: "0123456789abcdef" },
    {
      windowBytes: 1 << 20,
      dial: (url) => masters.dial(url),
      kernel: () => Promise.reject(new Error("There is no edge.wasm")),
    },
  );
  assert.ok(BIG.equals(await client.read("/big")));
  client.close();
});

test("a watch that is broken off at its first event is cancelled at the master", async () => {
  const masters = clusterOf({});
  const client = masters.client();
  for await (const { kind } of watch(client, "/")) {
    assert.equal(kind, "missed");
    assert.equal(masters.at(0).watches.count, 1);
    break;
  }
  await until(() => masters.at(0).watches.count === 0);
  client.close();
});

test("events that are not taken become one that says so", async () => {
  const masters = clusterOf({ "/big": BIG });
  const client = masters.client();
  const events = watch(client, "/");
  await events.next();
  const publish = (path: string) =>
    masters.at(0).publish({ kind: "created", path, mayMakeParents: false });
  for (let at = 0; at < 2500; at++) publish(`/f${at}`);
  // Its answer comes behind them.
  await client.status("/big");
  const heard: string[] = [];
  while (heard.at(-1) !== "/f2499") heard.push((await events.next()).value?.path ?? "");
  assert.equal(heard[0], "/");
  assert.ok(heard.length <= 1000, `${heard.length}`);
  assert.equal(heard[1], `/f${2500 - heard.length + 1}`);
  publish("/after");
  assert.equal((await events.next()).value?.path, "/after");
  await events.return();
  client.close();
});
