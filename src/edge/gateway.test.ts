import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { WebSocket } from "ws";
import { RockpoolError } from "../common/errors.ts";
import { crc32c } from "../kernels/fallback.ts";
import { nodeWorld } from "../world/node_world.ts";
import { documentOf, MemoryFiles } from "./edge_fixture.ts";
import { CLOSE, decodeFrame, encodeFrame, FRAME, type Frame } from "./frame.ts";
import { EdgeGateway, type GatewayOptions } from "./gateway.ts";
import { EDGE_LIMITS } from "./ports.ts";
import { parseTokens } from "./tokens.ts";

const TOKEN = "0123456789abcdef";

/** A gateway on a real port, which ends with the test. */
async function listening(
  context: { after(end: () => void): void },
  changes: Partial<GatewayOptions> = {},
) {
  const files = new MemoryFiles();
  const world = nodeWorld();
  const gateway = new EdgeGateway({
    files,
    leadership: { serves: () => true, term: () => 1, leader: () => "m2:1", masters: () => [] },
    limits: EDGE_LIMITS,
    kernels: { crc32c },
    clock: world.clock,
    timers: world.timers,
    tokenRules: () => ({
      tokens: parseTokens(`ann read ${TOKEN}`, "tokens"),
      secret: null,
      anonymousUser: null,
    }),
    refusalOf: () => null,
    refuse: (socket, status) =>
      socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`),
    onEvent: () => {},
    ...changes,
  });
  const server = createServer();
  server.on("upgrade", (request, socket, head) => gateway.upgrade(request, socket, head));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  context.after(() => {
    gateway.close();
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo; // it listens on TCP
  return { files, gateway, url: `ws://127.0.0.1:${port}/edge` };
}

class Client {
  readonly socket: WebSocket;
  readonly #frames: Frame[] = [];
  #wake: () => void = () => {};
  #status = 0;

  constructor(url: string, protocols: readonly string[] = [], headers = {}) {
    this.socket = new WebSocket(url, [...protocols], { headers });
    this.socket.on("message", (bytes: Buffer) => {
      const frame = decodeFrame(new Uint8Array(bytes), crc32c);
      if (typeof frame === "string") throw new Error(`A frame is ${frame}`);
      this.#frames.push(frame);
      this.#wake();
    });
    this.socket.on("unexpected-response", (_, response) => {
      this.#status = response.statusCode ?? 0;
      response.resume();
      this.#wake();
    });
    this.socket.on("error", () => this.#wake()); // a refusal is looked at by its status
  }

  async opened(): Promise<this> {
    await once(this.socket, "open");
    this.send(FRAME.hello, 0, { version: 1 });
    return this;
  }

  async refusal(): Promise<number> {
    while (this.#status === 0)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    return this.#status;
  }

  send(type: number, id: number, document: object): void {
    const payload = new TextEncoder().encode(JSON.stringify(document));
    this.socket.send(encodeFrame({ type, id, argument: 1 << 22 }, payload, crc32c));
  }

  async next(): Promise<Frame> {
    for (;;) {
      const frame = this.#frames.shift();
      if (frame !== undefined) return frame;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

const authorized = { authorization: `Bearer ${TOKEN}` };

test("upgrade() takes a token in the header or among the subprotocols, and echoes no token", async (context) => {
  const { url } = await listening(context);
  const byHeader = await new Client(url, ["rockpool.v1"], authorized).opened();
  assert.equal((await byHeader.next()).type, FRAME.welcome);
  const encoded = `bearer.${Buffer.from(TOKEN).toString("base64url")}`;
  const byProtocol = await new Client(url, [encoded, "rockpool.v1"]).opened();
  assert.equal(documentOf(await byProtocol.next())["user"], "ann");
  assert.equal(byProtocol.socket.protocol, "rockpool.v1");
  const byNone = await new Client(url, ["rockpool.v1"]).opened();
  assert.equal(documentOf(await byNone.next())["status"], "UNAUTHENTICATED");
});

test("reads of every length arrive as they are: the two parts of a message make one", async (context) => {
  const { files, url } = await listening(context);
  const bytes = randomBytes(600_000);
  files.files.set("/f", bytes);
  const client = await new Client(url, ["rockpool.v1"], authorized).opened();
  await client.next();
  let id = 0;
  for (const length of [1, 108, 109, 110, 111, 65_518, 65_519, 65_520, 65_521, 262_144, 600_000]) {
    client.send(FRAME.request, ++id, { op: "read", path: "/f", length });
    assert.equal((await client.next()).type, FRAME.reply);
    const pieces: Uint8Array[] = [];
    for (;;) {
      const frame = await client.next();
      pieces.push(frame.payload);
      if (frame.isLast) break;
    }
    assert.ok(Buffer.concat(pieces).equals(bytes.subarray(0, length)), `${length}`);
  }
});

test("upgrade() refuses foreign pages, and more connections than there may be", async (context) => {
  const foreign = await listening(context, { refusalOf: () => "not from there" });
  assert.equal(await new Client(foreign.url).refusal(), 403);
  const small = await listening(context, { limits: { ...EDGE_LIMITS, connectionsMax: 1 } });
  const first = await new Client(small.url, ["rockpool.v1"], authorized).opened();
  await first.next();
  assert.equal(await new Client(small.url, ["rockpool.v1"], authorized).refusal(), 503);
  first.socket.close();
  await once(first.socket, "close");
  const limits = { ...EDGE_LIMITS, connectionsPerUserMax: 1 };
  const { url } = await listening(context, { limits });
  const one = await new Client(url, ["rockpool.v1"], authorized).opened();
  assert.equal((await one.next()).type, FRAME.welcome);
  const two = await new Client(url, ["rockpool.v1"], authorized).opened();
  assert.equal(documentOf(await two.next())["status"], "RESOURCE_EXHAUSTED");
  one.socket.close();
  await once(one.socket, "close");
  const three = await new Client(url, ["rockpool.v1"], authorized).opened();
  assert.equal((await three.next()).type, FRAME.welcome);
});

test("who connects and says nothing makes room for others", async (context) => {
  const { url, gateway } = await listening(context, {
    limits: { ...EDGE_LIMITS, connectionsMax: 2 },
  });
  const mute = new Client(url, ["rockpool.v1"], authorized);
  await once(mute.socket, "open");
  const closed = once(mute.socket, "close");
  for (let count = 0; count < 2; count++) {
    const client = await new Client(url, ["rockpool.v1"], authorized).opened();
    assert.equal((await client.next()).type, FRAME.welcome);
  }
  assert.deepEqual((await closed)[0], CLOSE.limit);
  assert.equal(gateway.connectionCount, 2);
  assert.equal(await new Client(url, ["rockpool.v1"], authorized).refusal(), 503);
});

test("a client that says goodbye, and takes nothing of what is under way, holds up nobody", async (context) => {
  const { files, gateway, url } = await listening(context);
  let go = () => {};
  const gone = new Promise<void>((resolve) => {
    go = resolve;
  });
  const open = files.open.bind(files);
  files.open = async (user, path) => {
    const file = await open(user, path);
    if (path !== "/late") return file;
    return {
      ...file,
      async *chunks(...range: Parameters<typeof file.chunks>) {
        await gone;
        yield* file.chunks(...range);
      },
    };
  };
  for (const path of ["/early", "/late"]) files.files.set(path, Buffer.alloc(16 << 20));
  const client = await new Client(url, ["rockpool.v1"], authorized).opened();
  await client.next();
  client.socket.pause();
  client.send(FRAME.request, 1, { op: "read", path: "/early" });
  client.send(FRAME.request, 2, { op: "read", path: "/late" });
  client.socket.close();
  while (gateway.readCount < 2) await new Promise((resolve) => setImmediate(resolve));
  go();
  // Timers run only where nothing spins.
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
  client.socket.terminate();
  while (gateway.readCount > 0) await new Promise((resolve) => setImmediate(resolve));
});

test("who asks for answers and takes none is not listened to", async (context) => {
  const { url, gateway } = await listening(context);
  const client = await new Client(url, ["rockpool.v1"], authorized).opened();
  await client.next();
  client.socket.pause();
  const ping = encodeFrame({ type: FRAME.ping, id: 0 }, randomBytes(64), crc32c);
  // Until neither our end nor theirs takes any more: answers are as long as what is answered.
  const isStuck = async () => {
    const before = gateway.counters.bytesReceived;
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    return client.socket.bufferedAmount > 0 && gateway.counters.bytesReceived === before;
  };
  let sentBytes = 0;
  do {
    for (let count = 0; count < 10_000; count++) client.socket.send(ping);
    sentBytes += 10_000 * ping.length;
    assert.ok(sentBytes < 1 << 28, "it is listened to for ever");
  } while (!(await isStuck()));
  client.socket.resume();
  while (client.socket.bufferedAmount > 0) await new Promise((resolve) => setImmediate(resolve));
  client.socket.terminate();
});

test("leadershipLost() tells all where to go, and closes", async (context) => {
  const { gateway, url } = await listening(context);
  const client = await new Client(url, ["rockpool.v1"], authorized).opened();
  await client.next();
  gateway.leadershipLost();
  assert.equal(documentOf(await client.next())["leader"], "m2:1");
  const [code] = (await once(client.socket, "close")) as [number];
  assert.equal(code, 4301);
  assert.equal(gateway.connectionCount, 0);
});

test("tokens that cannot be read are no reason to tell strangers about files", async (context) => {
  const { url } = await listening(context, {
    tokenRules: () => {
      throw new RockpoolError("FAILED_PRECONDITION", "Cannot read /etc/tokens");
    },
  });
  const client = await new Client(url, ["rockpool.v1"], authorized).opened();
  const failure = documentOf(await client.next());
  assert.equal(failure["status"], "UNAVAILABLE");
  assert.doesNotMatch(JSON.stringify(failure), /etc/);
});

test("text messages and frames that are none end the connection", async (context) => {
  const { url } = await listening(context);
  for (const message of ["text", Buffer.alloc(20)]) {
    const client = await new Client(url, ["rockpool.v1"], authorized).opened();
    await client.next();
    client.socket.send(message);
    const [code] = (await once(client.socket, "close")) as [number];
    assert.equal(code, 4400);
  }
});
