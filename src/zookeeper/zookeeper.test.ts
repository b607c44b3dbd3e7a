import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { after, test } from "node:test";
import { nodeWorld } from "../world/node_world.ts";
import { JuteReader, JuteWriter } from "./jute.ts";
import { XID } from "./protocol.ts";
import type { WatchEvent } from "./watches.ts";
import { ZooKeeper } from "./zookeeper.ts";

const servers: Server[] = [];
after(() => {
  for (const server of servers) server.close();
});

function packet(...parts: readonly ((writer: JuteWriter) => void)[]): Uint8Array {
  const writer = new JuteWriter();
  for (const part of parts) part(writer);
  return writer.packet();
}

const handshake = packet((writer) => {
  writer.int(0);
  writer.int(30_000);
  writer.long(7n);
  writer.buffer(new Uint8Array(16));
});

function answer(xid: number, error: number, body: (writer: JuteWriter) => void): Uint8Array {
  return packet((writer) => {
    writer.int(xid);
    writer.long(1n);
    writer.int(error);
    body(writer);
  });
}

/** As a server tells of it: kind 1 created, 4 children changed. */
function fired(kind: number, path: string): Uint8Array {
  return answer(XID.watch, 0, (writer) => {
    writer.int(kind);
    writer.int(3);
    writer.text(path);
  });
}

function stat(writer: JuteWriter): void {
  for (let at = 0; at < 4; at++) writer.long(0n);
  for (let at = 0; at < 3; at++) writer.int(0);
  writer.long(0n);
  for (let at = 0; at < 2; at++) writer.int(0);
  writer.long(0n);
}

/** A server that answers the first request with what it is given, in one piece. */
async function serverThatSays(reply: (xid: number) => readonly Uint8Array[]): Promise<number> {
  const server = createServer((socket: Socket) => {
    let isGreeted = false;
    socket.on("error", () => {}); // the client goes when the test is over
    socket.on("data", (chunk) => {
      if (!isGreeted) {
        isGreeted = true;
        socket.write(handshake);
        return;
      }
      const xid = new JuteReader(chunk.subarray(4)).int();
      if (xid > 0) socket.write(Buffer.concat(reply(xid)));
    });
  });
  servers.push(server);
  await once(server.listen(0, "127.0.0.1"), "listening");
  return (server.address() as AddressInfo).port; // it listens on TCP
}

async function watched(
  reply: (xid: number) => readonly Uint8Array[],
  ask: (keeper: ZooKeeper, watcher: (event: WatchEvent) => void) => Promise<unknown>,
): Promise<readonly WatchEvent[]> {
  const port = await serverThatSays(reply);
  const keeper = new ZooKeeper({
    connect: `127.0.0.1:${port}`,
    sessionTimeoutMs: 30_000,
    world: nodeWorld(),
  });
  const events: WatchEvent[] = [];
  await ask(keeper, (event) => events.push(event));
  // Told already: what came in one piece is looked at in one turn.
  const seen = [...events];
  void keeper.close(); // the server of this test answers nothing more
  return seen;
}

test("a change that comes in one piece with the answer to which its watch belongs is told", async () => {
  const children = await watched(
    (xid) => [
      answer(xid, 0, (writer) => {
        writer.texts(["a"]);
        stat(writer);
      }),
      fired(4, "/d"),
    ],
    (keeper, watcher) => keeper.getChildren("/d", watcher),
  );
  assert.deepEqual(children, [{ kind: "childrenChanged", path: "/d" }]);
  const created = await watched(
    (xid) => [answer(xid, -101, () => {}), fired(1, "/n")],
    (keeper, watcher) => keeper.exists("/n", watcher),
  );
  assert.deepEqual(created, [{ kind: "created", path: "/n" }]);
});
