import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { MemoryFiles } from "../../src/edge/edge_fixture.ts";
import { FRAME } from "../../src/edge/frame.ts";
import { crc32c } from "../../src/kernels/fallback.ts";
import { crcInTypeScript } from "./crc.ts";
import { EdgeError } from "./edge_error.ts";
import { FakeMasters } from "./fake_masters.ts";
import { PageCache } from "./page_cache.ts";
import { respond } from "./response.ts";
import { watch } from "./watch.ts";
import { remove, rename, writeFile } from "./write.ts";

const BIG = randomBytes(5_000_011);

function cluster(count = 3): FakeMasters {
  const files = new MemoryFiles();
  files.files.set("/big", BIG);
  return new FakeMasters(count, files);
}

const failsWith = (status: string) => (error: unknown) =>
  error instanceof EdgeError && error.status === status;

const isData = (bytes: Uint8Array) => bytes[0] === FRAME.data;

test("crcInTypeScript is the checksum of the kernels, from any seed", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(), (bytes, seed) => {
      assert.equal(crcInTypeScript(bytes, seed), crc32c(bytes, seed));
    }),
  );
});

test("read() finds the leader from a standby that names it, from one that knows none, and past one that is mute", async () => {
  const masters = cluster();
  masters.leader = masters.at(2);
  const client = masters.client({ masters: ["m0:1"] });
  assert.ok(BIG.equals(await client.read("/big")));
  assert.equal(masters.at(1).dials, 0);
  masters.at(0).isMute = true;
  const other = masters.client();
  assert.ok(BIG.equals(await other.read("/big")));
  assert.equal(masters.at(2).dials, 2);
});

test("read() goes on at its byte when the leader dies, as often as it does", async () => {
  const masters = cluster();
  let frames = 0;
  for (const [at, master] of masters.masters.entries())
    master.tamper = (bytes) => {
      if (!isData(bytes) || ++frames % 5 !== 0 || frames > 20) return bytes;
      masters.leader = masters.at((at + 1) % 3);
      masters.leader.isDown = false;
      return null;
    };
  const client = masters.client();
  assert.ok(BIG.equals(await client.read("/big")));
  assert.equal(client.counts.connects, 5);
});

test("read() follows a leader that resigns, without asking all the others", async () => {
  const masters = cluster();
  // No second try beside one that is only slow.
  const client = masters.client({ hedgeMs: 60_000, budgetMs: 120_000 });
  await client.status("/big");
  const [first, second] = [masters.at(0), masters.at(1)];
  masters.leader = second;
  first.resign();
  assert.ok(BIG.equals(await client.read("/big")));
  assert.deepEqual([first.dials, second.dials, masters.at(2).dials], [1, 1, 0]);
});

test("a frame in which any bit flipped is noticed, and read again", async () => {
  const masters = cluster(1);
  let left = 3;
  let damagedOf = 0;
  masters.at(0).tamper = (bytes) => {
    const { dials } = masters.at(0);
    // One of each connection.
    if (!isData(bytes) || bytes.length < 1000 || left === 0 || damagedOf === dials) return bytes;
    damagedOf = dials;
    const damaged = bytes.slice();
    const at = [5, 13, 999][--left] ?? 0;
    damaged[at] = (damaged[at] ?? 0) ^ 16;
    return damaged;
  };
  const client = masters.client();
  assert.ok(BIG.equals(await client.read("/big")));
  assert.equal(client.counts.damaged, 3);
});

test("a file that is replaced while it is read fails with ABORTED, and never becomes the other one", async () => {
  const masters = cluster(1);
  const { body } = await masters.client().open("/big");
  const reader = body.getReader();
  await reader.read();
  masters.files.files.set("/big", Buffer.alloc(10));
  masters.at(0).cut();
  await assert.rejects(async () => {
    for (;;) if ((await reader.read()).done) return;
  }, failsWith("ABORTED"));
});

test("a wrong token fails at once; masters that are all down fail when the budget is over", async () => {
  const masters = cluster();
  const wrong = masters.client({ token: "not the right one" });
  await assert.rejects(wrong.status("/big"), failsWith("UNAUTHENTICATED"));
  assert.equal(wrong.counts.connects, 1);
  for (const master of masters.masters) master.isDown = true;
  await assert.rejects(masters.client({ budgetMs: 150 }).status("/big"), failsWith("UNAVAILABLE"));
});

test("a leader that falls silent is left for another one", async () => {
  const masters = cluster();
  const client = masters.client({ stallMs: 60 });
  await client.status("/big");
  masters.at(0).isMute = true;
  masters.leader = masters.at(1);
  assert.ok(BIG.equals(await client.read("/big")));
});

test("an aborted signal ends a call that waits, a stream, and a call before it began", async () => {
  const masters = cluster(1);
  const client = masters.client();
  const aborter = new AbortController();
  const { body } = await client.open("/big", { signal: aborter.signal });
  const reader = body.getReader();
  await reader.read();
  aborter.abort(new Error("enough"));
  await assert.rejects(async () => {
    for (;;) if ((await reader.read()).done) return;
  }, /enough/);
  await assert.rejects(client.status("/big", AbortSignal.abort(new Error("before"))), /before/);
  masters.at(0).isMute = true;
  const waiting = new AbortController();
  const call = client.status("/big", waiting.signal);
  setImmediate(() => waiting.abort(new Error("while")));
  await assert.rejects(call, /while/);
});

test("streams give the same bytes to readers that bring their memory, of any size", async () => {
  const client = cluster(1).client();
  for (const size of [1000, 70_000, 300_000]) {
    const reader = (await client.stream("/big")).getReader({ mode: "byob" });
    const pieces: Buffer[] = [];
    let memory = new ArrayBuffer(size);
    for (;;) {
      const { done, value } = await reader.read(new Uint8Array(memory));
      if (done) break;
      pieces.push(Buffer.from(value));
      memory = value.buffer;
    }
    assert.ok(Buffer.concat(pieces).equals(BIG), `${size}`);
  }
});

test("readMany() gives each piece its place, and failures as errors", async () => {
  const client = cluster(1).client();
  const ranges = Array.from({ length: 1030 }, (_, at) => ({ path: "/big", offset: at, length: 9 }));
  const pieces = await client.readMany([...ranges, { path: "/none", offset: 0, length: 1 }]);
  for (const [at, piece] of pieces.slice(0, -1).entries())
    assert.deepEqual(Buffer.from(piece as Uint8Array), BIG.subarray(at, at + 9));
  assert.ok(failsWith("NOT_FOUND")(pieces.at(-1)));
});

test("PageCache keeps what was read, as long as the file is the same, and no more than it may", async () => {
  const masters = cluster(1);
  const client = masters.client();
  const cache = new PageCache({ bytesMax: 300_000, freshMs: 60_000 });
  const read = (offset: number, length: number) => cache.read(client, "/big", { offset, length });
  assert.ok(BIG.subarray(70_000, 200_000).equals(await read(70_000, 130_000)));
  masters.at(0).isMute = true;
  assert.ok(BIG.subarray(80_000, 90_000).equals(await read(80_000, 10_000)));
  masters.at(0).isMute = false;
  await read(1_000_000, 200_000);
  assert.ok(cache.bytes <= 300_000, `${cache.bytes}`);
  masters.files.files.set("/big", Buffer.from("another file"));
  assert.equal(Buffer.from(await read(4_000_000, 5)).toString(), "");
  assert.equal(Buffer.from(await read(0, 7)).toString(), "another");
});

test("list() gives every entry, page by page", async () => {
  const masters = cluster(1);
  for (let at = 0; at < 2500; at++)
    masters.files.files.set(`/f${String(at).padStart(5, "0")}`, BIG);
  const names: string[] = [];
  for await (const { name } of masters.client().list("/")) names.push(name);
  assert.equal(new Set(names).size, 2501);
});

test("writeFile() sends all; remove() and rename() reach the masters; who may only read is told so", async () => {
  const masters = cluster(1);
  const client = masters.client();
  for (const size of [0, 1, 3_000_000]) {
    await writeFile(client, "/new", BIG.subarray(0, size));
    assert.ok(BIG.subarray(0, size).equals(masters.files.files.get("/new") ?? Buffer.alloc(1)));
  }
  await rename(client, "/new", "/newer");
  await remove(client, "/newer");
  assert.deepEqual(masters.files.operations, ["ann renames /new to /newer", "ann removes /newer"]);
});

test("writeFile() that may not overwrite is not sent twice", async () => {
  const masters = cluster(1);
  const client = masters.client();
  await client.status("/big");
  let isCut = false;
  masters.at(0).tamper = (bytes) => {
    if (bytes[0] !== FRAME.reply || isCut) return bytes;
    isCut = true;
    return null;
  };
  await assert.rejects(writeFile(client, "/once", "x"), failsWith("UNKNOWN"));
});

test("watch() tells of changes, and of having missed some when the leader changes", async () => {
  const masters = cluster(2);
  const aborter = new AbortController();
  const events = watch(masters.client(), "/dir", { signal: aborter.signal });
  const next = async () => (await events.next()).value?.kind;
  assert.equal(await next(), "missed");
  const change = { kind: "created", path: "/dir/a", mayMakeParents: false } as const;
  masters.at(0).publish(change);
  assert.equal(await next(), "created");
  masters.leader = masters.at(1);
  masters.at(0).stop();
  assert.equal(await next(), "missed");
  masters.at(1).publish({ ...change, kind: "deleted" });
  assert.equal(await next(), "deleted");
  aborter.abort(new Error("over"));
  await assert.rejects(next(), /over/);
});

test("respond() answers ranges, conditions and failures as HTTP has it", async () => {
  const masters = cluster(1);
  masters.files.files.set("/a.html", Buffer.from("0123456789"));
  const client = masters.client();
  const ask = async (headers: Record<string, string>, method = "GET", path = "/a.html") => {
    const request = new Request(`http://x${path}`, { method, headers });
    const response = await respond(client, request, path, { cacheControl: "max-age=1" });
    return [response.status, await response.text(), response.headers.get("content-range")];
  };
  assert.deepEqual(await ask({}), [200, "0123456789", null]);
  assert.deepEqual(await ask({ range: "bytes=2-4" }), [206, "234", "bytes 2-4/10"]);
  assert.deepEqual(await ask({ range: "bytes=7-" }), [206, "789", "bytes 7-9/10"]);
  assert.deepEqual(await ask({ range: "bytes=-3" }), [206, "789", "bytes 7-9/10"]);
  assert.deepEqual(await ask({ range: "bytes=5-99" }), [206, "56789", "bytes 5-9/10"]);
  assert.deepEqual(await ask({ range: "bytes=10-" }), [416, "", "bytes */10"]);
  assert.deepEqual(await ask({ range: "bytes=1-2,4-5" }), [200, "0123456789", null]);
  assert.deepEqual(await ask({ "if-none-match": '"10"' }), [304, "", null]);
  assert.deepEqual(await ask({ range: "bytes=0-0", "if-range": '"no"' }), [
    200,
    "0123456789",
    null,
  ]);
  assert.deepEqual(await ask({}, "HEAD"), [200, "", null]);
  assert.equal((await ask({}, "GET", "/none"))[0], 404);
  assert.equal((await ask({}, "DELETE"))[0], 405);
});
