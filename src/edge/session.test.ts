import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { crc32c } from "../kernels/fallback.ts";
import { bytesOf, documentOf, MemoryFiles, TestClient } from "./edge_fixture.ts";
import { CLOSE, decodeFrame, encodeFrame, FRAME } from "./frame.ts";

const BIG = randomBytes(3_000_001);

function filesWith(path = "/big", bytes: Uint8Array = BIG): MemoryFiles {
  const files = new MemoryFiles();
  files.files.set(path, bytes);
  return files;
}

function connected(files: MemoryFiles, token?: string): TestClient {
  const client = new TestClient(files);
  client.hello(token);
  assert.equal(client.frames[0]?.type, FRAME.welcome);
  return client;
}

test("a read gives the bytes once credit allows, and not a byte more", async () => {
  for (const hasSums of [false, true]) {
    const files = filesWith();
    files.hasSums = hasSums;
    const client = connected(files);
    client.request(1, { op: "read", path: "/big" }, 1 << 20);
    await client.until(() => bytesOf(client.frames).length >= (1 << 20) - (1 << 18));
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    const before = bytesOf(client.frames).length;
    assert.ok(before <= 1 << 20, `${before} bytes without credit`);
    client.send(FRAME.credit, 1, BIG.length, new Uint8Array(0));
    const frames = await client.answer(1);
    assert.ok(bytesOf(frames).equals(BIG));
    assert.equal((documentOf(frames[0])["status"] as { etag: string }).etag, '"3000001"');
    let at = 0;
    for (const { type, argument, payload, isLast } of frames.slice(1)) {
      assert.equal(type, FRAME.data);
      if (!isLast) assert.equal(argument, at);
      at += payload.length;
    }
    assert.equal(client.counters.bytesWithStoredChecksums, hasSums ? BIG.length : 0);
  }
});

test("reads of any range, with any window, frame size and chunks, give the bytes of the range", async () => {
  const bytes = randomBytes(700_000);
  const range = fc.record({
    offset: fc.nat(800_000),
    length: fc.nat(800_000),
    window: fc.integer({ min: 131_072, max: 1 << 20 }),
    chunkBytes: fc.integer({ min: 65_536, max: 300_000 }),
    hasSums: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(range, async ({ offset, length, window, chunkBytes, hasSums }) => {
      const files = filesWith("/f", bytes);
      Object.assign(files, { chunkBytes, hasSums });
      const client = connected(files);
      client.request(9, { op: "read", path: "/f", offset, length }, window);
      client.send(FRAME.credit, 9, 1 << 20, new Uint8Array(0));
      const frames = await client.answer(9);
      assert.ok(bytesOf(frames).equals(bytes.subarray(offset, offset + length)));
    }),
    { numRuns: 60 },
  );
});

test("readMany answers every range, also those that fail, in whatever order", async () => {
  const client = connected(filesWith());
  const ranges = Array.from({ length: 300 }, (_, at) => ({
    path: at % 7 === 3 ? "/none" : "/big",
    offset: at * 9_999,
    length: 3_000,
  }));
  client.request(2, { op: "readMany", ranges }, 1 << 21);
  const all = bytesOf(await client.answer(2));
  const seen = new Set<number>();
  for (let at = 0; at < all.length; ) {
    const [index, code, length] = [0, 4, 8].map((by) => all.readUInt32LE(at + by));
    const bytes = all.subarray(at + 12, at + 12 + (length ?? 0));
    const { path, offset } = ranges[index ?? -1] ?? { path: "", offset: 0 };
    if (path === "/none") assert.equal(JSON.parse(bytes.toString()).status, "NOT_FOUND");
    else assert.ok(bytes.equals(BIG.subarray(offset, offset + 3_000)));
    assert.equal(code, path === "/none" ? 5 : 0);
    seen.add(index ?? -1);
    at += 12 + (length ?? 0);
  }
  assert.equal(seen.size, 300);
});

test("a client that does not take what it asked for is not given more than a buffer, and is closed", async () => {
  const client = connected(filesWith("/big", Buffer.alloc(8 << 20)));
  client.bufferedBytes = 2 << 20;
  client.request(1, { op: "read", path: "/big" }, 64 << 20);
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(client.frames.length, 1);
  client.session.check();
  client.nowMs = 20_000;
  client.session.check();
  client.send(FRAME.ping, 0, 0, new Uint8Array(0));
  client.nowMs = 31_000;
  client.session.check();
  assert.equal(client.closed?.code, CLOSE.timeout);
});

test("a cancelled read ends without another frame, and its id is free again", async () => {
  const client = connected(filesWith());
  client.request(1, { op: "read", path: "/big" }, 1 << 18);
  await client.until(() => bytesOf(client.frames).length >= 1 << 18);
  const count = client.frames.length;
  client.send(FRAME.cancel, 1, 0, new Uint8Array(0));
  // At once: what is left of the read is not the client's business.
  client.request(1, { op: "status", path: "/big" });
  await client.answer(1);
  assert.equal(client.frames.length, count + 1);
  assert.equal(client.closed, null);
});

test("readMany fills frames up to their length and not beyond, however the files answer", async () => {
  class Slow extends MemoryFiles {
    override async open(user: string, path: string) {
      for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
      return super.open(user, path);
    }
  }
  const files = new Slow();
  const ranges = Array.from({ length: 256 }, (_, at) => ({
    path: `/${at}`,
    offset: 0,
    length: 65_536,
  }));
  for (const { path } of ranges) files.files.set(path, Buffer.alloc(65_536, path));
  for (const frameBytes of [65_536, 1 << 20]) {
    const client = new TestClient(files);
    client.send(FRAME.hello, 0, 0, { version: 1, frameBytes });
    client.request(1, { op: "readMany", ranges }, 64 << 20);
    const frames = await client.answer(1);
    // An item is not cut.
    for (const { payload } of frames) assert.ok(payload.length <= Math.max(frameBytes, 65_548));
    assert.equal(bytesOf(frames).length, 256 * 65_548);
  }
});

test("readMany gives no bytes that are not those whose checksums were kept", async () => {
  const files = filesWith("/big", Buffer.from(BIG));
  files.hasSums = true;
  const client = connected(files);
  const ranges = [{ path: "/big", offset: 65_536, length: 65_536 }];
  client.request(1, { op: "readMany", ranges });
  assert.equal(bytesOf(await client.answer(1)).readUInt32LE(4), 0);
  const bytes = files.files.get("/big");
  if (bytes !== undefined) bytes[70_000] = (bytes[70_000] ?? 0) ^ 1;
  client.request(2, { op: "readMany", ranges });
  assert.equal(bytesOf(await client.answer(2)).readUInt32LE(4), 14, "UNAVAILABLE");
});

test("a file that ends too early is no file that was read", async () => {
  class Short extends MemoryFiles {
    override async open(user: string, path: string) {
      const file = await super.open(user, path);
      return {
        ...file,
        async *chunks(offset: number, length: number, signal: AbortSignal) {
          yield* file.chunks(offset, length - 1, signal);
        },
      };
    }
  }
  const files = new Short();
  files.files.set("/big", BIG);
  const client = connected(files);
  client.request(1, { op: "read", path: "/big" }, 8 << 20);
  const last = (await client.answer(1)).at(-1);
  assert.equal(last?.type, FRAME.error);
  assert.equal(documentOf(last)["status"], "UNAVAILABLE");
});

test("a read for which no credit comes gives its place to others, and can be read on", async () => {
  const client = connected(filesWith());
  client.request(1, { op: "read", path: "/big" }, 1 << 18);
  await client.until(() => bytesOf(client.frames).length >= 1 << 18);
  for (client.nowMs of [1_000, 60_000]) client.session.check();
  assert.ok(!client.frames.some(({ isLast }) => isLast));
  client.nowMs = 61_001;
  client.send(FRAME.ping, 0, 0, new Uint8Array(0));
  client.session.check();
  const last = (await client.answer(1)).at(-1);
  assert.equal(documentOf(last)["status"], "UNAVAILABLE");
  client.request(1, { op: "status", path: "/big" });
  await client.until(() => client.frames.at(-1)?.type === FRAME.reply);
  assert.equal(client.closed, null);
});

test("a connection lasts no longer than its token", async () => {
  const client = new TestClient(filesWith());
  client.tokenLastsMs = 5_000;
  client.hello();
  client.nowMs = 4_999;
  client.session.check();
  assert.equal(client.frames.length, 1);
  client.nowMs = 5_000;
  client.session.check();
  assert.equal(documentOf(client.frames.at(-1))["status"], "UNAUTHENTICATED");
  assert.equal(client.closed?.code, CLOSE.unauthenticated);
});

test("a file that was replaced is not read on: the ETag differs", async () => {
  const client = connected(filesWith());
  client.request(1, { op: "read", path: "/big", etag: '"other"' });
  const [frame] = await client.answer(1);
  assert.equal(frame?.type, FRAME.error);
  assert.equal(documentOf(frame)["status"], "ABORTED");
});

test("writes need a token that may write, and arrive whole, with credit", async () => {
  const files = new MemoryFiles();
  const reader = connected(files);
  reader.request(1, { op: "write", path: "/new", length: 3 });
  assert.equal(documentOf((await reader.answer(1))[0])["status"], "PERMISSION_DENIED");

  const writer = connected(files, "writer");
  writer.request(1, { op: "write", path: "/new", length: BIG.length }, 0);
  let credit = 1 << 20;
  let at = 0;
  let taken = 0;
  while (at < BIG.length) {
    const end = Math.min(at + 100_000, BIG.length, at + credit);
    writer.send(FRAME.data, 1, 0, BIG.subarray(at, end), end === BIG.length);
    credit -= end - at;
    at = end;
    const isLast = at === BIG.length;
    if (!isLast && credit === 0)
      await writer.until(
        () => writer.frames.filter(({ type }) => type === FRAME.credit).length > taken,
      );
    const credits = writer.frames.filter(({ type }) => type === FRAME.credit);
    for (const { argument } of credits.slice(taken)) credit += argument;
    taken = credits.length;
  }
  await writer.answer(1);
  assert.ok(BIG.equals(files.files.get("/new") ?? Buffer.alloc(0)));
});

test("a body that is not as long as announced fails; one sent without credit ends the connection", async () => {
  const files = new MemoryFiles();
  const client = connected(files, "writer");
  client.request(1, { op: "write", path: "/short", length: 10 }, 0);
  client.send(FRAME.data, 1, 0, new Uint8Array(9), true);
  assert.equal(documentOf((await client.answer(1))[0])["status"], "INVALID_ARGUMENT");
  assert.equal(files.files.size, 0);
  const empty = connected(files, "writer");
  empty.request(1, { op: "write", path: "/empty", length: 9 }, 0);
  empty.send(FRAME.data, 1, 0, new Uint8Array(0));
  assert.equal(empty.closed?.code, CLOSE.protocol, "frames of nothing would cost no credit");
  client.request(2, { op: "write", path: "/long", length: 2 << 20 }, 0);
  client.send(FRAME.data, 2, 0, new Uint8Array(1 << 20));
  client.send(FRAME.data, 2, 0, new Uint8Array(1 << 20));
  assert.equal(client.closed?.code, CLOSE.protocol);
});

test("a watch tells of changes until it is cancelled, and of missing some when the client is slow", async () => {
  const client = connected(new MemoryFiles());
  client.request(1, { op: "watch", path: "/dir" }, 0);
  await client.until(() => client.frames.length === 2);
  const change = { kind: "created", path: "/dir/a", mayMakeParents: false } as const;
  client.watches.publish(change);
  client.watches.publish({ ...change, path: "/other/a" });
  client.bufferedBytes = 2 << 20;
  client.watches.publish(change);
  client.drain();
  // Nothing more has to happen for it to be told.
  await client.until(() => client.frames.length === 4);
  client.watches.publish({ ...change, kind: "deleted" });
  const kinds = client.frames.slice(2).map((frame) => documentOf(frame)["kind"]);
  assert.deepEqual(kinds, ["created", "missed", "deleted"]);
  client.send(FRAME.cancel, 1, 0, new Uint8Array(0));
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(client.watches.count, 0);
});

test("a watch tells no names in directories that its user may not enter", async () => {
  const client = connected(new MemoryFiles());
  client.request(1, { op: "watch", path: "/", recursive: true }, 0);
  await client.until(() => client.frames.length === 2);
  const plain = { mayMakeParents: false };
  client.watches.publish({ ...plain, kind: "created", path: "/secret/a" });
  client.watches.publish({ ...plain, kind: "renamed", path: "/secret/a", to: "/secret/b" });
  client.watches.publish({ ...plain, kind: "renamed", path: "/secret/b", to: "/c" });
  client.watches.publish({ ...plain, kind: "renamed", path: "/c", to: "/d" });
  client.watches.publish({ ...plain, kind: "renamed", path: "/d", to: "/secret/d" });
  const told = client.frames.slice(2).map((frame) => {
    const { kind, path, to } = documentOf(frame);
    return [kind, path, to];
  });
  assert.deepEqual(told, [
    ["created", "/c", undefined],
    ["renamed", "/c", "/d"],
    ["deleted", "/d", undefined],
  ]);
});

test("a standby names the leader and closes; so does a leader that is one no more", async () => {
  const standby = new TestClient(new MemoryFiles());
  standby.serves = false;
  standby.hello();
  assert.equal(standby.frames[0]?.type, FRAME.moved);
  assert.equal(documentOf(standby.frames[0])["leader"], "m2:19999");
  assert.equal(standby.closed?.code, CLOSE.moved);

  const client = connected(filesWith());
  client.request(1, { op: "read", path: "/big" }, 1 << 18);
  client.session.moved();
  assert.equal(client.frames.at(-1)?.type, FRAME.moved);
  assert.equal(client.closed?.code, CLOSE.moved);
});

test("a wrong token, version or first frame ends the connection with the reason", () => {
  const wrong = new TestClient(new MemoryFiles());
  wrong.hello("not a token at all");
  assert.equal(documentOf(wrong.frames[0])["status"], "UNAUTHENTICATED");
  assert.equal(wrong.closed?.code, CLOSE.unauthenticated);
  const old = new TestClient(new MemoryFiles());
  old.send(FRAME.hello, 0, 0, { version: 99 });
  assert.equal(documentOf(old.frames[0])["status"], "UNIMPLEMENTED");
  const rude = new TestClient(new MemoryFiles());
  rude.request(1, { op: "status", path: "/" });
  assert.equal(rude.closed?.code, CLOSE.protocol);
  const silent = new TestClient(new MemoryFiles());
  silent.nowMs = 10_001;
  silent.session.check();
  assert.equal(silent.closed?.code, CLOSE.timeout);
});

test("limits: too many requests, watches, and requests that make no sense are refused one by one", async () => {
  const files = filesWith();
  const client = new TestClient(files, { requestsMax: 2, watchesMax: 1 });
  client.hello();
  for (const id of [1, 2, 3]) client.request(id, { op: "read", path: "/big" }, 1 << 18);
  assert.equal(documentOf((await client.answer(3))[0])["status"], "RESOURCE_EXHAUSTED");
  for (const id of [1, 2]) client.send(FRAME.cancel, id, 0, new Uint8Array(0));
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
  const bad = [
    "x",
    [],
    { op: "fly", path: "/" },
    { op: "read" },
    { op: "read", path: "/big", offset: -1 },
    { op: "read", path: "/big", length: 1.5 },
    { op: "readMany", ranges: [] },
    { op: "readMany", ranges: [{ path: "/big", offset: 0, length: 1 << 20 }] },
    { op: "delete", path: "/big", operation: "zz" },
  ];
  for (const [at, request] of bad.entries()) {
    client.request(10 + at, request as object);
    const [frame] = await client.answer(10 + at);
    assert.equal(documentOf(frame)["status"], "INVALID_ARGUMENT", JSON.stringify(request));
  }
  assert.equal(client.closed, null);
});

test("a failure that nobody expected is told without details, and to the log with them", async () => {
  const files = filesWith();
  files.failure = new TypeError("x is not a function");
  const client = connected(files);
  client.request(1, { op: "status", path: "/big" });
  const failure = documentOf((await client.answer(1))[0]);
  assert.equal(failure["status"], "INTERNAL");
  assert.doesNotMatch(JSON.stringify(failure), /function/);
  assert.ok(client.events.some((event) => event.kind === "edgeFailed"));
});

test("decodeFrame() of a frame in which a bit flipped, or that was cut, is no frame", () => {
  const header = { type: fc.integer({ min: 1, max: 12 }), id: fc.nat(), argument: fc.nat() };
  fc.assert(
    fc.property(
      fc.record(header),
      fc.uint8Array({ maxLength: 500 }),
      fc.nat(),
      (given, payload, at) => {
        const bytes = encodeFrame({ ...given, isLast: at % 2 === 0 }, payload, crc32c);
        const frame = decodeFrame(bytes, crc32c);
        assert.ok(typeof frame !== "string");
        assert.deepEqual(
          { ...frame, payload: [...frame.payload] },
          {
            ...given,
            isLast: at % 2 === 0,
            payload: [...payload],
          },
        );
        const damaged = bytes.slice();
        const where = at % bytes.length;
        damaged[where] = (damaged[where] ?? 0) ^ (1 << (at % 8));
        assert.equal(typeof decodeFrame(damaged, crc32c), "string");
        assert.equal(typeof decodeFrame(bytes.subarray(0, at % bytes.length), crc32c), "string");
      },
    ),
  );
});

test("whatever a client sends, the gateway answers or closes, and neither throws nor hangs on", () => {
  const frame = fc.record({
    type: fc.integer({ min: 0, max: 14 }),
    id: fc.nat(3),
    argument: fc.nat(),
    isLast: fc.boolean(),
    payload: fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.json().map((text) => new TextEncoder().encode(text)),
      fc
        .constantFrom("status", "read", "write", "watch", "list", "locate", "delete", "readMany")
        .map((op) => new TextEncoder().encode(JSON.stringify({ op, path: "/big", length: 5 }))),
    ),
  });
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 12 }), (frames) => {
      const client = new TestClient(filesWith("/big", new Uint8Array(10)));
      client.hello();
      for (const { payload, ...header } of frames)
        client.session.receive(encodeFrame(header, payload, crc32c));
      client.session.end(CLOSE.timeout, "over");
      assert.ok(client.session.isOver);
    }),
  );
});
