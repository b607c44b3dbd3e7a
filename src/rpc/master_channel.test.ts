import assert from "node:assert/strict";
import type { AddressInfo } from "node:net";
import { connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, test } from "node:test";
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import { BlockWorker } from "../proto/gen/block_worker.ts";
import { FileSystemMasterClientService } from "../proto/gen/file_system_master.ts";
import { ServiceVersionClientService } from "../proto/gen/version.ts";
import { openChannel } from "./channel.ts";
import { GrpcServer } from "./grpc_server.ts";
import { MasterChannel, type MasterChannelOptions } from "./master_channel.ts";
import { PrimaryFinder } from "./primary_finder.ts";
import { trustingAuthenticator } from "./sasl.ts";
import { bidi, serverStream, unary } from "./service.ts";

const { methods: fs } = FileSystemMasterClientService;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A master that leads or not, and counts what it was asked. */
class FakeMaster {
  isLeading: boolean;
  port = 0;
  probes = 0;
  calls: string[] = [];
  streamsStarted = 0;
  readonly writes: string[] = [];
  readonly #server = new GrpcServer({
    authenticator: trustingAuthenticator("root"),
    messageBytesMax: 1_000_000,
  });

  constructor(isLeading: boolean) {
    this.isLeading = isLeading;
    const refuse = () => {
      if (!this.isLeading) throw new RockpoolError("UNAVAILABLE", "standby");
    };
    this.#server.addService({
      name: ServiceVersionClientService.name,
      isAuthenticated: false,
      methods: [
        unary(ServiceVersionClientService.methods.getServiceVersion, () => {
          this.probes++;
          refuse();
          return { version: 2 };
        }),
      ],
    });
    this.#server.addService({
      name: FileSystemMasterClientService.name,
      isAuthenticated: true,
      methods: [
        unary(fs.Exists, ({ path }) => {
          this.calls.push(path ?? "");
          refuse();
          if (path === "/no") throw new RockpoolError("NOT_FOUND", "none");
          return { exists: true };
        }),
        serverStream(fs.ListStatus, async ({ path }, out) => {
          this.streamsStarted++;
          refuse();
          out.send({ fileInfos: [] });
          if (path === "/breaks") throw new RockpoolError("UNAVAILABLE", "lost the lead");
        }),
      ],
    });
    this.#server.addService({
      name: BlockWorker.name,
      isAuthenticated: true,
      methods: [
        bidi(BlockWorker.methods.WriteBlock, async (requests) => {
          try {
            for await (const _ of requests) this.writes.push("message");
            this.writes.push("half-close");
          } catch (error) {
            this.writes.push(isRockpoolError(error) ? error.status : "bug");
            throw error;
          }
        }),
      ],
    });
    cleanups.push(() => this.close());
  }

  async start(port = 0): Promise<this> {
    this.port = await this.#server.listen("127.0.0.1", port);
    return this;
  }

  close(): Promise<void> {
    return this.#server.close(0);
  }
}

async function cluster(...leading: boolean[]): Promise<FakeMaster[]> {
  return Promise.all(leading.map((isLeading) => new FakeMaster(isLeading).start()));
}

function channelTo(masters: readonly { port: number }[], more: Partial<MasterChannelOptions> = {}) {
  const channel = new MasterChannel({
    addresses: masters.map(({ port }) => ({ host: "127.0.0.1", port })),
    auth: { kind: "none" },
    retry: { baseMs: 5, maxMs: 20, budgetMs: 20_000 },
    ...more,
  });
  cleanups.push(() => channel.close());
  return channel;
}

const withStatus = (status: string) => (error: unknown) =>
  isRockpoolError(error) && error.status === status;

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

test("calls go to the leader, which is asked for once", async () => {
  const masters = await cluster(false, false, true);
  const channel = channelTo(masters);
  assert.equal(channel.leaderAddress(), null);
  await Promise.all([...Array(20)].map(() => channel.unary(fs.Exists, { path: "/" })));
  await channel.unary(fs.Exists, { path: "/" });
  assert.deepEqual(
    masters.map(({ calls }) => calls.length),
    [0, 0, 21],
  );
  assert.equal(masters[2]?.probes, 1);
  assert.equal(channel.leaderAddress(), `127.0.0.1:${masters[2]?.port}`);
});

test("calls follow the lead to another master", async () => {
  const masters = await cluster(true, false);
  const [first, second] = masters as [FakeMaster, FakeMaster];
  const channel = channelTo(masters);
  await channel.unary(fs.Exists, { path: "/a" });
  first.isLeading = false;
  const call = channel.unary(fs.Exists, { path: "/b" });
  await until(() => first.calls.length === 2);
  second.isLeading = true;
  assert.equal((await call).exists, true);
  assert.deepEqual(second.calls, ["/b"]);
});

test("calls outlive the death of the leader", async () => {
  const masters = await cluster(true, true);
  const channel = channelTo(masters);
  await channel.unary(fs.Exists, { path: "/a" });
  const leader = masters.find(({ calls }) => calls.length === 1);
  await leader?.close();
  assert.equal((await channel.unary(fs.Exists, { path: "/b" })).exists, true);
});

test("a call whose leader died is sent to the next one without a pause", async () => {
  const masters = await cluster(true, true);
  const retry = { baseMs: 1e8, maxMs: 1e8, budgetMs: 1e9 };
  const channel = channelTo(masters, { retry });
  await channel.unary(fs.Exists, { path: "/a" });
  const leader = masters.find(({ calls }) => calls.length === 1);
  await leader?.close();
  assert.equal((await channel.unary(fs.Exists, { path: "/b" })).exists, true);
});

test("a single master is called without being asked whether it leads", async () => {
  const masters = await cluster(true);
  await channelTo(masters).unary(fs.Exists, { path: "/" });
  assert.equal(masters[0]?.probes, 0);
});

test("answers are not retried", async () => {
  const masters = await cluster(true);
  const channel = channelTo(masters);
  await assert.rejects(channel.unary(fs.Exists, { path: "/no" }), withStatus("NOT_FOUND"));
  assert.equal(masters[0]?.calls.length, 1);
});

test("a cluster without a leader is UNAVAILABLE when the budget is used up", async () => {
  const masters = await cluster(false, false);
  const channel = channelTo(masters, { retry: { baseMs: 5, maxMs: 5, budgetMs: 60 } });
  await assert.rejects(channel.unary(fs.Exists, {}), withStatus("UNAVAILABLE"));
});

test("a signal ends the search and the call", async () => {
  const channel = channelTo(await cluster(false, false));
  const controller = new AbortController();
  const call = channel.unary(fs.Exists, {}, { signal: controller.signal });
  setImmediate(() => controller.abort());
  await assert.rejects(call, withStatus("CANCELLED"));
});

test("close() ends calls that wait for a leader's answer", async () => {
  const masters = await cluster(false);
  const channel = channelTo(masters, { retry: { baseMs: 60_000, maxMs: 60_000, budgetMs: 1e9 } });
  const call = channel.unary(fs.Exists, {});
  await until(() => masters[0]?.calls.length === 1);
  channel.close();
  // The second when the refusal is still on its way.
  await assert.rejects(call, (error) =>
    ["UNAVAILABLE", "CANCELLED"].some((status) => withStatus(status)(error)),
  );
});

test("server streams are retried before their first message only", async () => {
  const masters = await cluster(false);
  const [master] = masters as [FakeMaster];
  const channel = channelTo(masters);
  const messages: unknown[] = [];
  const reading = (async () => {
    for await (const message of channel.serverStream(fs.ListStatus, { path: "/" }))
      messages.push(message);
  })();
  await until(() => master.streamsStarted === 2);
  master.isLeading = true;
  await reading;
  assert.equal(messages.length, 1);
  const before = master.streamsStarted;
  await assert.rejects(async () => {
    for await (const _ of channel.serverStream(fs.ListStatus, { path: "/breaks" }));
  }, withStatus("UNAVAILABLE"));
  assert.equal(master.streamsStarted, before + 1);
});

test("a call with time to settle is cancelled at once before it is sent, and later only without an answer", async () => {
  const [master] = (await cluster(false)) as [FakeMaster];
  const aborter = new AbortController();
  const { signal } = aborter;
  const nowhere = channelTo([{ port: 1 }, { port: 2 }]);
  const unsent = nowhere.unary(fs.Exists, {}, { signal, settleMs: 1e9 });
  setImmediate(() => aborter.abort());
  await assert.rejects(unsent, withStatus("CANCELLED"));

  for (const isAnswered of [true, false]) {
    const channel = channelTo([master]);
    const later = new AbortController();
    master.isLeading = false;
    master.calls.length = 0;
    const settleMs = isAnswered ? 1e9 : 5;
    const sent = channel.unary(fs.Exists, { path: "/" }, { signal: later.signal, settleMs });
    await until(() => master.calls.length > 0);
    later.abort();
    master.isLeading = isAnswered;
    if (isAnswered) assert.equal((await sent).exists, true);
    else await assert.rejects(sent, withStatus("UNKNOWN"));
  }
});

/** Passes bytes between clients and a port, until it is told to cut or to hold them back. */
async function proxyTo(port: number) {
  const sockets = new Set<Socket>();
  let isHeld = false;
  const server: Server = createServer((client) => {
    const upstream = connect(port, "127.0.0.1");
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on("error", () => {});
      from.on("close", () => to.destroy());
      from.on("data", (bytes) => {
        if (!isHeld) to.write(bytes);
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  cleanups.push(() => {
    cut();
    server.close();
  });
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    hold: () => {
      isHeld = true;
    },
  };
}

test("a leader that hangs is given up by pings, and its calls go to the next", async () => {
  const masters = await cluster(true, false);
  const [first, second] = masters as [FakeMaster, FakeMaster];
  const proxy = await proxyTo(first.port);
  const channel = channelTo([proxy, second], { keepalive: { timeMs: 100, timeoutMs: 100 } });
  await channel.unary(fs.Exists, { path: "/a" });
  proxy.hold();
  second.isLeading = true;
  assert.equal((await channel.unary(fs.Exists, { path: "/b" })).exists, true);
  assert.deepEqual(second.calls, ["/b"]);
});

test("a connection that breaks in the middle of a write is no half-close", async () => {
  const [master] = (await cluster(true)) as [FakeMaster];
  const proxy = await proxyTo(master.port);
  const channel = openChannel({ host: "127.0.0.1", port: proxy.port, auth: { kind: "none" } });
  cleanups.push(() => channel.close());
  const call = await channel.bidi(BlockWorker.methods.WriteBlock);
  call.send({ chunk: { data: new Uint8Array(10) } });
  await until(() => master.writes.length === 1);
  proxy.cut();
  await assert.rejects(call.responses.next(), withStatus("UNAVAILABLE"));
  await until(() => master.writes.length === 2);
  assert.deepEqual(master.writes, ["message", "CANCELLED"]);
});

test("find() asks the last leader first and hangs with no master that hangs", async () => {
  const asked: number[] = [];
  let leader = 1;
  const finder = new PrimaryFinder({
    addresses: ["a:1", "b:1", "c:1"],
    probe: async (index, signal) => {
      asked.push(index);
      if (index === 2) await new Promise((resolve) => signal.addEventListener("abort", resolve));
      if (index !== leader) throw new RockpoolError("UNAVAILABLE", "standby");
    },
  });
  assert.equal(await finder.find(10_000), 1);
  assert.equal(await finder.find(10_000), 1);
  asked.length = 0;
  finder.forget(0);
  assert.equal(finder.leader, 1);
  finder.forget(1);
  assert.equal(await finder.find(10_000), 1);
  assert.deepEqual(asked, [1]);
  leader = 0;
  finder.forget(1);
  assert.equal(await finder.find(10_000), 0);
});

test("find() asks the others as soon as the one that led last refuses", async () => {
  let leader = 0;
  const finder = new PrimaryFinder({
    addresses: ["a:1", "b:1"],
    probe: async (index) => {
      if (index !== leader) throw new RockpoolError("UNAVAILABLE", "standby");
    },
    headStartMs: 1e9,
  });
  assert.equal(await finder.find(1e9), 0);
  leader = 1;
  finder.forget(0);
  assert.equal(await finder.find(1e9), 1);
});

const addressOf = ({ port }: FakeMaster) => ({ host: "127.0.0.1", port });

test("masters are inquired for, and the one that is named first is asked first", async () => {
  const masters = await cluster(false, true);
  let inquiries = 0;
  const inquire = async () => {
    inquiries++;
    return [...masters].reverse().map(addressOf);
  };
  const channel = channelTo([], { inquire });
  await Promise.all([...Array(5)].map(() => channel.unary(fs.Exists, { path: "/" })));
  await channel.unary(fs.Exists, { path: "/" });
  assert.equal(masters[1]?.calls.length, 6);
  assert.ok(inquiries >= 1 && inquiries <= 2, `${inquiries} inquiries`);
});

test("S1-28 a master that joins is found while nobody leads, and an inquiry that fails costs nothing then", async () => {
  const [old, second] = await cluster(true, false);
  assert.ok(old !== undefined && second !== undefined);
  let known = [old, second];
  let inquiries = 0;
  const inquire = async () => {
    if (++inquiries === 2) throw new RockpoolError("UNAVAILABLE", "ZooKeeper is busy");
    return known.map(addressOf);
  };
  const channel = channelTo([], { inquire });
  await channel.unary(fs.Exists, { path: "/" });
  old.isLeading = false;
  const call = channel.unary(fs.Exists, { path: "/" });
  const joined = await new FakeMaster(true).start();
  known = [second, joined];
  await call;
  assert.equal(joined.calls.length, 1);
  assert.ok(inquiries >= 3);
});

test("without masters a call fails with what the inquiry said", async () => {
  const why = new RockpoolError("UNAVAILABLE", "ZooKeeper does not answer");
  const failing = channelTo([], { inquire: () => Promise.reject(why) });
  await assert.rejects(failing.unary(fs.Exists, { path: "/" }), /ZooKeeper does not answer/);
  const silent = channelTo([], {
    inquire: () => new Promise(() => {}),
    retry: { baseMs: 5, maxMs: 20, budgetMs: 50 },
  });
  await assert.rejects(silent.unary(fs.Exists, { path: "/" }), withStatus("UNAVAILABLE"));
});
