import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { FaultProxy } from "./fault_proxy.ts";

/** Loopback has a host for everybody. */
const HOSTS = { listen: "127.77.0.1", other: "127.77.0.2", target: "127.77.1.1" };

/** First byte says who dials: "a" or "b". */
const identify = (bytes: Uint8Array) => {
  const name = String.fromCharCode(bytes[0] ?? 0);
  return bytes.length < 2 ? null : name;
};

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + 20_000;
  while (!holds()) {
    if (performance.now() > deadlineMs) throw new Error(`In vain: ${what}`);
    await delay(2);
  }
}

/** One end of a connection, remembering what came. */
class End {
  readonly socket: Socket;
  text = "";
  hasEnded = false;
  errorCode: string | null = null;
  constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (bytes) => {
      this.text += bytes.toString("latin1");
    });
    socket.on("end", () => {
      this.hasEnded = true;
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      this.errorCode = error.code ?? "unknown";
    });
  }
}

describe("FaultProxy", () => {
  let server: Server;
  let proxy: FaultProxy;
  let port = 0;
  const accepted: End[] = [];
  const dialled: End[] = [];

  beforeEach(async () => {
    server = createServer((socket) => accepted.push(new End(socket)));
    server.listen(0, HOSTS.target);
    await once(server, "listening");
    const address = server.address();
    port = typeof address === "object" && address !== null ? address.port : 0;
    proxy = await FaultProxy.open(
      [
        { name: "a", listenHost: HOSTS.other, targetHost: HOSTS.target, port },
        { name: "b", listenHost: HOSTS.listen, targetHost: HOSTS.target, port },
      ],
      identify,
    );
  });

  afterEach(async () => {
    for (const { socket } of [...accepted, ...dialled]) socket.destroy();
    accepted.length = 0;
    dialled.length = 0;
    await proxy.close();
    await new Promise((resolve) => server.close(resolve));
  });

  function dial(): End {
    const end = new End(connect({ host: HOSTS.listen, port }));
    dialled.push(end);
    end.socket.write("a:");
    return end;
  }

  /** A connection from a to b that works. */
  async function connected(): Promise<{ near: End; far: End }> {
    const before = accepted.length;
    const near = dial();
    await until("it is accepted", () => accepted[before]?.text === "a:");
    const far = accepted.at(-1);
    assert.ok(far);
    return { near, far };
  }

  test("passes bytes both ways, and an end as an end", async () => {
    const { near, far } = await connected();
    near.socket.write("hello");
    far.socket.write("welcome");
    await until("both heard", () => far.text === "a:hello" && near.text === "welcome");
    near.socket.end();
    await until("the end arrives", () => far.hasEnded && near.hasEnded);
    assert.equal(proxy.direction("a", "b").counts.bytes, "a:hello".length);
    assert.equal(proxy.direction("b", "a").counts.bytes, "welcome".length);
    assert.equal(proxy.counts.connections, 1);
  });

  test("cut() holds one direction, and what was held comes when it heals", async () => {
    const { near, far } = await connected();
    proxy.direction("a", "b").cut();
    near.socket.write("held");
    far.socket.write("free");
    await until("the other direction works", () => near.text === "free");
    await until("the bytes are held", () => proxy.direction("a", "b").counts.heldChunks === 1);
    near.socket.end();
    assert.equal(far.text, "a:");
    assert.equal(far.hasEnded, false);
    proxy.heal();
    await until("what was held comes, and the end", () => far.text === "a:held" && far.hasEnded);
  });

  test("cut() of either direction lets no new connection through before it heals", async () => {
    for (const [from, to] of [
      ["a", "b"],
      ["b", "a"],
    ] as const) {
      const before = accepted.length;
      proxy.direction(from, to).cut();
      const near = dial();
      const impatient = dial();
      await until("the proxy has them", () => proxy.counts.connections >= before + 2);
      impatient.socket.destroy();
      await delay(20); // nothing may happen
      assert.equal(accepted.length, before);
      proxy.heal();
      await until("the one that waited is through", () => accepted.at(-1)?.text === "a:");
      assert.equal(near.errorCode, null);
    }
  });

  test("refuses with a reset when nobody listens at the target", async () => {
    await new Promise((resolve) => server.close(resolve));
    const near = dial();
    await until("it is reset", () => near.errorCode !== null);
    assert.equal(near.errorCode, "ECONNRESET");
    assert.equal(proxy.counts.refused, 1);
    server.listen(port, HOSTS.target);
    await once(server, "listening");
  });

  test("a reset of one side is a reset of the other, unless it is cut", async () => {
    const first = await connected();
    first.near.socket.resetAndDestroy();
    await until("the other is reset", () => first.far.errorCode === "ECONNRESET");
    const second = await connected();
    proxy.direction("a", "b").cut();
    second.near.socket.resetAndDestroy();
    await delay(20); // nothing may happen
    assert.equal(second.far.errorCode, null);
    proxy.heal();
    await until("now it is", () => second.far.errorCode === "ECONNRESET");
  });

  test("flip() turns exactly one bit round", async () => {
    const { near, far } = await connected();
    proxy.direction("a", "b").flip(0.5);
    near.socket.write("\0\0\0\0");
    await until("it came", () => far.text.length === 6);
    const bits = [...Buffer.from(far.text, "latin1").subarray(2)]
      .map((byte) => byte.toString(2).replaceAll("0", "").length)
      .reduce((sum, count) => sum + count, 0);
    assert.equal(bits, 1);
    near.socket.write("clean");
    await until("it came", () => far.text.endsWith("clean"));
    assert.equal(proxy.direction("a", "b").counts.flips, 1);
  });

  test("delay and bandwidth hold bytes back and keep their order", async () => {
    const { near, far } = await connected();
    const direction = proxy.direction("a", "b");
    direction.delayMs = 30;
    near.socket.write("1");
    await until("it is held", () => direction.counts.heldChunks === 1);
    assert.equal(far.text, "a:");
    direction.delayMs = 0;
    direction.bytesPerSecond = 100_000;
    near.socket.write("2".repeat(1000));
    near.socket.write("3");
    await until("all came", () => far.text.endsWith("3"));
    assert.equal(far.text, `a:1${"2".repeat(1000)}3`);
  });

  test("a clogged direction makes its sender wait and loses nothing", async () => {
    const { near, far } = await connected();
    proxy.direction("a", "b").cut();
    const sizeBytes = 16 * 1024 * 1024;
    const isTaken = near.socket.write(Buffer.alloc(sizeBytes, "x"));
    assert.equal(isTaken, false);
    await until("bytes are held", () => proxy.direction("a", "b").counts.heldChunks > 10);
    await delay(20); // nothing more may be taken
    assert.ok(near.socket.writableLength > 0, "the sender holds what the proxy does not take");
    proxy.heal();
    await until("all came", () => far.text.length === sizeBytes + 2);
  });

  test("reset() breaks connections, and new ones work", async () => {
    const { near, far } = await connected();
    proxy.reset("a", "b");
    await until("both are broken", () => near.errorCode !== null && far.errorCode !== null);
    await connected();
    assert.equal(proxy.counts.resets, 1);
  });

  test("orphan() lets connections hang without a word, and new ones work", async () => {
    const { near, far } = await connected();
    proxy.orphan("a", "b");
    near.socket.write("lost");
    near.socket.end();
    const fresh = await connected();
    fresh.near.socket.write("heard");
    await until("the new one works", () => fresh.far.text === "a:heard");
    assert.equal(far.text, "a:");
    assert.equal(far.hasEnded, false);
    assert.equal(far.errorCode, null);
  });

  test("counts who does not say who it is", async () => {
    const stranger = new End(connect({ host: HOSTS.listen, port }));
    dialled.push(stranger);
    stranger.socket.write("x:");
    await until("it is closed", () => stranger.hasEnded || stranger.errorCode !== null);
    assert.equal(proxy.counts.unidentified, 1);
    assert.equal(accepted.length, 0);
  });
});
