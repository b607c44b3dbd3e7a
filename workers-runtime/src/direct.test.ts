import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { type TestContext, test } from "node:test";
import { FRAME } from "../../src/edge/frame.ts";
import { crc32c } from "../../src/kernels/fallback.ts";
import { type DirectOptions, readDirect } from "./direct.ts";
import { clusterOf, failsWith, until } from "./fake_masters.ts";

const BLOCK_BYTES = 1_000_000;
const BIG = randomBytes(2 * BLOCK_BYTES);
const STRETCH_BYTES = 65_536;

/** Two blocks, each on the workers that are named; `version` is in their URLs, and changes with each look. */
function cluster(workers: readonly string[]) {
  const masters = clusterOf({ "/big": BIG });
  const open = masters.files.open.bind(masters.files);
  let version = 0;
  masters.files.open = async (user, path) => {
    const file = await open(user, path);
    const places = () => {
      version++;
      const blocks = [0, 1].map((at) => ({
        offset: at * BLOCK_BYTES,
        length: BLOCK_BYTES,
        urls: workers.map((worker) => `http://${worker}/edge/block/${at}?version=${version}`),
      }));
      return { status: file.status, blocks };
    };
    return { ...file, places };
  };
  return masters;
}

/** As a worker answers. @param stretchesMax it breaks off behind so many */
function answerOf(url: URL, range: string, stretchesMax = Number.POSITIVE_INFINITY): Response {
  const [, first = "", last = ""] = /^bytes=(\d+)-(\d+)$/.exec(range) ?? [];
  const block = BIG.subarray(Number(url.pathname.slice(-1)) * BLOCK_BYTES);
  let at = Number(first);
  let left = stretchesMax;
  return new Response(
    new ReadableStream({
      pull(controller) {
        if (left-- === 0) return new Promise<void>(() => {});
        const bytes = block.subarray(at, Math.min(at + STRETCH_BYTES, Number(last) + 1));
        if (bytes.length === 0) return controller.close();
        const message = Buffer.alloc(8 + bytes.length);
        message.writeUInt32LE(bytes.length, 0);
        message.writeUInt32LE(crc32c(bytes), 4);
        message.set(bytes, 8);
        at += bytes.length;
        controller.enqueue(message);
      },
    }),
    { status: 206 },
  );
}

type Answer = (url: URL, range: string, signal: AbortSignal) => Response | Promise<Response>;

/** Answers `fetch` for this test. @returns the URLs that were asked for */
function workersAnswer({ mock }: TestContext, answer: Answer): string[] {
  const asked: string[] = [];
  mock.method(globalThis, "fetch", async (text: string, init: RequestInit) => {
    asked.push(text);
    const { range = "" } = init.headers as Record<string, string>; // as readDirect gives it
    return answer(new URL(text), range, init.signal ?? new AbortController().signal);
  });
  return asked;
}

async function readAll(masters: ReturnType<typeof cluster>, options: DirectOptions = {}) {
  const counts = { direct: 0, relayed: 0 };
  const client = masters.client();
  const pieces: Uint8Array[] = [];
  for await (const piece of readDirect(client, "/big", { ...options, counts })) pieces.push(piece);
  client.close();
  assert.ok(BIG.equals(Buffer.concat(pieces)));
  return counts;
}

test("a worker that is not to be reached is left for the master, whatever the runtime calls it", async (context) => {
  const asked = workersAnswer(context, () => {
    throw new Error("Network connection lost.");
  });
  assert.deepEqual(await readAll(cluster(["w1"])), { direct: 0, relayed: BIG.length });
  // It is not tried for each block.
  assert.equal(asked.length, 1);
});

test("the next copy goes on where a worker broke off, and takes the place of one that is not there", async (context) => {
  workersAnswer(context, (url, range) => {
    if (url.host === "w1") throw new TypeError("fetch failed");
    const half = answerOf(url, range, url.host === "w2" ? 3 : undefined);
    return half;
  });
  const counts = await readAll(cluster(["w1", "w2", "w3"]), { stallMs: 50 });
  assert.deepEqual(counts, { direct: BIG.length, relayed: 0 });
});

test("a worker that says nothing, or nothing more, is left in time", async (context) => {
  workersAnswer(context, (_, __, signal) => {
    return new Promise((_resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
    });
  });
  const masters = cluster(["w1"]);
  assert.deepEqual(await readAll(masters, { stallMs: 20 }), { direct: 0, relayed: BIG.length });
  context.mock.restoreAll();
  workersAnswer(context, (url, range) => answerOf(url, range, 3));
  assert.deepEqual(await readAll(masters, { stallMs: 20 }), {
    direct: 6 * STRETCH_BYTES,
    relayed: BIG.length - 6 * STRETCH_BYTES,
  });
});

test("URLs that count no more are asked for again, and the file must be the same", async (context) => {
  const masters = cluster(["w1"]);
  const answer: Answer = (url, range) =>
    url.searchParams.get("version") === "1"
      ? new Response("too late", { status: 403 })
      : answerOf(url, range);
  const asked = workersAnswer(context, answer);
  assert.deepEqual(await readAll(masters), { direct: BIG.length, relayed: 0 });
  // Once for both blocks.
  assert.equal(asked.length, 3);
  context.mock.restoreAll();
  const replaced = cluster(["w1"]);
  workersAnswer(context, (url, range) => {
    replaced.files.files.set("/big", Buffer.alloc(5));
    return answer(url, range, new AbortController().signal);
  });
  await assert.rejects(readAll(replaced), failsWith("ABORTED"));
});

test("breaking off ends the read at the master, or the transfer from the worker", async (context) => {
  const masters = cluster(["w1"]);
  let given: AbortSignal | undefined;
  workersAnswer(context, (url, range, signal) => {
    given = signal;
    return answerOf(url, range);
  });
  const client = masters.client();
  for await (const _ of readDirect(client, "/big")) break;
  assert.equal(given?.aborted, true);
  context.mock.restoreAll();
  workersAnswer(context, () => {
    throw new Error("not to be reached");
  });
  for await (const _ of readDirect(client, "/big")) break;
  await until(() => masters.at(0).receivedCount(FRAME.cancel) === 1);
  client.close();
});

test("the caller's signal ends it, and is not taken for a worker that fails", async (context) => {
  const masters = cluster(["w1"]);
  const aborter = new AbortController();
  workersAnswer(context, () => {
    aborter.abort(new Error("enough"));
    throw aborter.signal.reason;
  });
  await assert.rejects(readAll(masters, { signal: aborter.signal }), /enough/);
});
