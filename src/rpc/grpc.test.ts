import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { after, test } from "node:test";
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import { invariant } from "../common/invariant.ts";
import { BlockWorker } from "../proto/gen/block_worker.ts";
import { FileSystemMasterClientService } from "../proto/gen/file_system_master.ts";
import { SaslAuthenticationService } from "../proto/gen/sasl_server.ts";
import { ServiceVersionClientService } from "../proto/gen/version.ts";
import { type Credentials, failureOf, openChannel, type RpcChannel } from "./channel.ts";
import { GrpcServer, type GrpcServerOptions, type RpcServerEvent } from "./grpc_server.ts";
import { SaslAuthentication, trustingAuthenticator } from "./sasl.ts";
import { bidi, type ServiceTable, serverStream, unary } from "./service.ts";

const { methods: fs } = FileSystemMasterClientService;
const { methods: worker } = BlockWorker;
const { methods: version } = ServiceVersionClientService;

/** Things to close when the file is done, last first. */
const cleanups: (() => unknown)[] = [];
after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

type Recorded = { signals: AbortSignal[]; sent: number; received: number[]; ended: string[] };

function recorder(): Recorded {
  return { signals: [], sent: 0, received: [], ended: [] };
}

/** A service of each kind of call; what happens inside is written to `record`. */
function tables(record: Recorded): ServiceTable[] {
  return [
    {
      name: FileSystemMasterClientService.name,
      isAuthenticated: true,
      methods: [
        unary(fs.Exists, (request, context) => {
          if (request.path === "/missing")
            throw new RockpoolError("NOT_FOUND", 'Path "/missing" does not exist. ☹ \ud800');
          if (request.path?.startsWith("/long") === true)
            throw new RockpoolError("NOT_FOUND", request.path.slice(5).repeat(50_000));
          if (request.path === "/bug") invariant(1 > 2, "one is more than two");
          return { exists: request.path === `/${context.caller?.user}` };
        }),
        unary(fs.CheckAccess, async (_request, context) => {
          record.signals.push(context.signal);
          await once(context.signal, "abort");
          return {};
        }),
        unary(fs.ReverseResolve, (request, { caller }) => ({
          alluxioPath: `${request.ufsUri} for ${caller?.user} by ${caller?.connectionUser}`,
        })),
        serverStream(fs.ListStatus, async (request, out, context) => {
          record.signals.push(context.signal);
          const count = Number(request.path);
          for (let i = 0; i < count; i++) {
            record.sent++;
            if (!out.send({ fileInfos: [{ fileId: BigInt(i), name: "x".repeat(100_000) }] }))
              await out.drained();
          }
          if (count === 3) throw new RockpoolError("OUT_OF_RANGE", "No more");
        }),
      ],
    },
    {
      name: BlockWorker.name,
      isAuthenticated: true,
      methods: [
        bidi(worker.WriteBlock, async (requests, out, context) => {
          record.signals.push(context.signal);
          let total = 0;
          try {
            for await (const { command, chunk } of requests) {
              if (chunk?.data !== undefined) total += chunk.data.length;
              record.received.push(total);
              if (command?.flush === true) out.send({ offset: total });
              if (command?.id === 99n) return;
            }
            out.send({ offset: total, contentHash: "end" });
            record.ended.push("half-closed");
          } catch (error) {
            record.ended.push(isRockpoolError(error) ? error.status : String(error));
            throw error;
          }
        }),
      ],
    },
    {
      name: ServiceVersionClientService.name,
      isAuthenticated: false,
      methods: [
        unary(version.getServiceVersion, (_request, { caller }) => ({
          version: caller === null ? 2 : -1,
        })),
      ],
    },
  ];
}

type Running = {
  server: GrpcServer;
  port: number;
  sasl: SaslAuthentication;
  events: RpcServerEvent[];
};

async function serve(
  record: Recorded,
  port = 0,
  options: Partial<GrpcServerOptions> = {},
): Promise<Running> {
  const events: RpcServerEvent[] = [];
  const sasl = new SaslAuthentication({
    impersonation: new Map([
      ["hadoop", { users: ["alice"], groups: ["students"] }],
      ["root", { users: ["*"], groups: [] }],
    ]),
    groupsOf: async (user) => (user === "bob" ? ["students"] : []),
    staleMs: 1000,
    nowMs: () => 0, // no login is forgotten here; sasl.test.ts has those
  });
  const server = new GrpcServer({
    authenticator: sasl,
    messageBytesMax: 4_000_000,
    onEvent: (event) => events.push(event),
    ...options,
  });
  cleanups.push(() => server.close(0));
  for (const table of tables(record)) server.addService(table);
  if (options.authenticator === undefined) server.addService(sasl.table());
  return { server, port: await server.listen("127.0.0.1", port), sasl, events };
}

const AS_ALICE: Credentials = { kind: "simple", user: "alice" };

function open(port: number, auth: Credentials = AS_ALICE): RpcChannel {
  const channel = openChannel({ host: "127.0.0.1", port, auth });
  cleanups.push(() => channel.close());
  return channel;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

const withStatus =
  (status: string, text = /./) =>
  (error: unknown) =>
    isRockpoolError(error) && error.status === status && text.test(error.message);

test("unary calls carry the caller, answers, statuses and messages", async () => {
  const { port, events } = await serve(recorder());
  const channel = open(port);
  assert.deepEqual(await channel.unary(fs.Exists, { path: "/alice" }), { exists: true });
  await assert.rejects(
    channel.unary(fs.Exists, { path: "/missing" }),
    withStatus("NOT_FOUND", /^Path "\/missing" does not exist. ☹ \ufffd$/),
  );
  await assert.rejects(channel.unary(fs.Exists, { path: "/bug" }), withStatus("INTERNAL"));
  assert.deepEqual(
    events.map((event) => event.kind),
    ["handlerFailed"],
  );
  await assert.rejects(channel.unary(fs.Rename, {}), withStatus("UNIMPLEMENTED"));
});

test("messages of any length and script arrive, cut to what a trailer may hold", async () => {
  const { port } = await serve(recorder());
  const channel = open(port);
  for (const unit of ["x", "☹", "😀", "%", "\n"]) {
    const call = channel.unary(fs.Exists, { path: `/long${unit}` });
    await assert.rejects(call, (error) => {
      assert.ok(isRockpoolError(error, "NOT_FOUND"));
      return error.message.startsWith(unit.repeat(100)) && encodeURI(error.message).length <= 7000;
    });
  }
});

test("calls without a login, or with an unknown one, are UNAUTHENTICATED; exempt services answer", async () => {
  const { port, sasl } = await serve(recorder());
  const stranger = open(port, { kind: "none" });
  await assert.rejects(stranger.unary(fs.Exists, {}), withStatus("UNAUTHENTICATED"));
  assert.deepEqual(await stranger.unary(version.getServiceVersion, {}), { version: 2 });
  assert.equal(sasl.loginCount, 0);
});

test("a login may act for another user only where the rules allow it", async () => {
  const { port } = await serve(recorder());
  const as = (user: string, impersonate: string) =>
    open(port, { kind: "simple", user, impersonate }).unary(fs.ReverseResolve, { ufsUri: "u" });
  assert.equal((await as("hadoop", "alice")).alluxioPath, "u for alice by hadoop");
  assert.equal((await as("hadoop", "bob")).alluxioPath, "u for bob by hadoop");
  assert.equal((await as("root", "anyone")).alluxioPath, "u for anyone by root");
  assert.equal((await as("carol", "carol")).alluxioPath, "u for carol by carol");
  await assert.rejects(as("hadoop", "carol"), withStatus("UNAUTHENTICATED", /impersonate/));
  await assert.rejects(as("alice", "root"), withStatus("UNAUTHENTICATED", /impersonate/));
});

test("logins end with their channel, and a lost one is made anew", async () => {
  const { port, sasl } = await serve(recorder());
  const channel = open(port);
  const other = open(port, { kind: "simple", user: "bob" });
  await Promise.all([channel.unary(fs.Exists, {}), other.unary(fs.Exists, {})]);
  assert.equal(sasl.loginCount, 2);
  other.close();
  await until(() => sasl.loginCount === 1);
  await assert.rejects(other.unary(fs.Exists, {}), withStatus("CANCELLED"));
});

test("a channel finds its server again after a restart, and logs in anew", async () => {
  const first = await serve(recorder());
  const channel = open(first.port);
  assert.equal((await channel.unary(fs.Exists, { path: "/alice" })).exists, true);
  await first.server.close(0);
  await assert.rejects(channel.unary(fs.Exists, {}), withStatus("UNAVAILABLE"));
  await serve(recorder(), first.port);
  for (;;) {
    const answer = await channel.unary(fs.Exists, { path: "/alice" }).catch((error) => {
      assert.ok(withStatus("UNAVAILABLE")(error), String(error));
      return null;
    });
    if (answer !== null) {
      assert.equal(answer.exists, true);
      break;
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
});

test("close() cancels calls that run", async () => {
  const record = recorder();
  const { port } = await serve(record);
  const channel = open(port);
  const call = channel.unary(fs.CheckAccess, {});
  const listing = channel.serverStream(fs.ListStatus, { path: "100000" });
  await listing[Symbol.asyncIterator]().next();
  await until(() => record.signals.length === 2);
  channel.close();
  await assert.rejects(call, withStatus("CANCELLED"));
  await until(() => record.signals.every(({ aborted }) => aborted));
});

test("many logins share one connection, each with its own user", async () => {
  const { port, sasl } = await serve(recorder());
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  cleanups.push(() => session.destroy());
  const frame = (bytes: Uint8Array) => {
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(bytes.length, 1);
    return Buffer.concat([prefix, bytes]);
  };
  const request = (path: string, more: Record<string, string> = {}) =>
    session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      ...more,
    });
  const users = [...Array(300).keys()].map((i) => `user${i}`);
  await once(session, "remoteSettings");
  for (const user of users) {
    const { path, request: codec } = SaslAuthenticationService.methods.authenticate;
    const message = Buffer.from(`\0${user}\0x`);
    const stream = request(path);
    stream.write(frame(codec.encode({ authenticationScheme: 1, message, clientId: `id-${user}` })));
    await once(stream, "data");
  }
  assert.equal(sasl.loginCount, users.length);
  for (const user of users) {
    const stream = request(fs.Exists.path, { "channel-id": `id-${user}` });
    stream.end(frame(fs.Exists.request.encode({ path: `/${user}` })));
    const [bytes] = await once(stream, "data");
    assert.equal(fs.Exists.response.decode(bytes.subarray(5)).exists, true);
  }
});

test("without SASL every caller is the user that the server was given", async () => {
  const { port } = await serve(recorder(), 0, { authenticator: trustingAuthenticator("daemon") });
  const channel = open(port, { kind: "none" });
  const answer = await channel.unary(fs.ReverseResolve, { ufsUri: "u" });
  assert.equal(answer.alluxioPath, "u for daemon by daemon");
  const loggingIn = open(port).unary(fs.Exists, {});
  await assert.rejects(loggingIn, withStatus("UNAUTHENTICATED", /without logins/));
});

test("unary calls are cancelled by signal and by deadline, and the handler is told", async () => {
  const record = recorder();
  const { port } = await serve(record);
  const channel = open(port);
  const controller = new AbortController();
  const call = channel.unary(fs.CheckAccess, {}, { signal: controller.signal });
  await until(() => record.signals.length === 1);
  controller.abort();
  await assert.rejects(call, withStatus("CANCELLED"));
  await until(() => record.signals[0]?.aborted === true);
  await assert.rejects(
    channel.unary(fs.CheckAccess, {}, { deadlineMs: 30 }),
    withStatus("DEADLINE_EXCEEDED"),
  );
  await assert.rejects(
    channel.unary(fs.CheckAccess, {}, { signal: controller.signal }),
    withStatus("CANCELLED"),
  );
});

test("server streams deliver all messages, in order, then the status", async () => {
  const record = recorder();
  const { port } = await serve(record);
  const channel = open(port);
  const ids: unknown[] = [];
  for await (const { fileInfos } of channel.serverStream(fs.ListStatus, { path: "100" }))
    ids.push(fileInfos[0]?.fileId);
  assert.deepEqual(
    ids,
    [...Array(100).keys()].map((id) => BigInt(id)),
  );
  assert.equal(record.signals[0]?.aborted, false);
  let count = 0;
  await assert.rejects(async () => {
    for await (const _ of channel.serverStream(fs.ListStatus, { path: "3" })) count++;
  }, withStatus("OUT_OF_RANGE"));
  assert.equal(count, 3);
});

test("a server stream that is left early cancels the handler, which had not run far ahead", async () => {
  const record = recorder();
  const { port } = await serve(record);
  for await (const { fileInfos } of open(port).serverStream(fs.ListStatus, { path: "10000" }))
    if (fileInfos[0]?.fileId === 2n) break;
  await until(() => record.signals[0]?.aborted === true);
  assert.ok(record.sent < 200, `sent ${record.sent}`);
});

test("bidirectional streams answer in the middle and at the end", async () => {
  const record = recorder();
  const { port } = await serve(record);
  const call = await open(port).bidi(worker.WriteBlock);
  call.send({ command: { id: 1n } });
  for (let i = 0; i < 50; i++)
    if (!call.send({ chunk: { data: new Uint8Array(500_000) } })) await call.drained();
  call.send({ command: { flush: true } });
  assert.equal((await call.responses.next()).value?.offset, 25_000_000);
  call.end();
  assert.deepEqual((await call.responses.next()).value, { offset: 25_000_000, contentHash: "end" });
  assert.equal((await call.responses.next()).done, true);
  assert.equal(record.signals[0]?.aborted, false);
  assert.deepEqual(record.ended, ["half-closed"]);
});

test("a handler that returns before the client is done ends the stream with OK", async () => {
  const { port } = await serve(recorder());
  const call = await open(port).bidi(worker.WriteBlock);
  call.send({ command: { id: 99n } });
  assert.equal((await call.responses.next()).done, true);
  await assert.rejects(call.drained(), withStatus("CANCELLED"));
  assert.equal(call.send({ command: { id: 1n } }), false);
});

test("a cancelled stream throws CANCELLED in the handler and aborts its signal", async () => {
  const record = recorder();
  const { port, events } = await serve(record);
  const call = await open(port).bidi(worker.WriteBlock);
  call.send({ chunk: { data: new Uint8Array(10) } });
  await until(() => record.received.length === 1);
  call.cancel();
  await assert.rejects(call.responses.next(), withStatus("CANCELLED"));
  await until(() => record.ended.length === 1);
  assert.deepEqual([record.ended, record.signals[0]?.aborted], [["CANCELLED"], true]);
  assert.deepEqual(events, []);
});

test("a client that cancels in the middle of its bytes never looks finished", async () => {
  const record = recorder();
  const { port } = await serve(record);
  const channel = open(port);
  for (let count = 0; count < 20; count++) {
    const call = await channel.bidi(worker.WriteBlock);
    for (let i = 0; i < count; i++) call.send({ chunk: { data: new Uint8Array(300_000) } });
    if (count % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
    call.cancel();
    await assert.rejects(call.responses.next(), withStatus("CANCELLED"));
  }
  await channel.unary(fs.Exists, {});
  await until(() => record.ended.length === record.signals.length);
  assert.deepEqual(new Set(record.ended), new Set(["CANCELLED"]));
});

test("a client that vanishes ends its streams and its login", async () => {
  const record = recorder();
  const { port, sasl } = await serve(record);
  const channel = open(port);
  const call = await channel.bidi(worker.WriteBlock);
  call.send({ chunk: { data: new Uint8Array(10) } });
  await until(() => record.received.length === 1);
  channel.close();
  await assert.rejects(call.responses.next(), withStatus("CANCELLED"));
  await until(() => record.ended.length === 1 && sasl.loginCount === 0);
  assert.deepEqual(record.ended, ["CANCELLED"]);
});

test("messages that are not of their format are INVALID_ARGUMENT and counted", async () => {
  const { port, events } = await serve(recorder());
  const channel = open(port);
  const raw = { encode: (bytes: Uint8Array) => bytes, decode: (bytes: Uint8Array) => bytes };
  const garbage = Uint8Array.of(10, 200, 1);
  await assert.rejects(
    channel.unary({ ...fs.Exists, request: raw }, garbage),
    withStatus("INVALID_ARGUMENT", /malformed/),
  );
  await assert.rejects(async () => {
    for await (const _ of channel.serverStream({ ...fs.ListStatus, request: raw }, garbage));
  }, withStatus("INVALID_ARGUMENT"));
  const call = await channel.bidi({ ...worker.WriteBlock, request: raw });
  call.send(garbage);
  await assert.rejects(call.responses.next(), withStatus("INVALID_ARGUMENT"));
  assert.deepEqual(
    events.map((event) => event.kind),
    ["malformedMessage", "malformedMessage", "malformedMessage"],
  );
});

test("messages beyond the limit are RESOURCE_EXHAUSTED", async () => {
  const { port } = await serve(recorder());
  const channel = open(port);
  await assert.rejects(
    channel.unary(fs.Exists, { path: "x".repeat(4_000_001) }),
    withStatus("RESOURCE_EXHAUSTED"),
  );
  assert.equal((await channel.unary(fs.Exists, { path: "/alice" })).exists, true);
});

test("bytes that are no HTTP/2, or end in the middle, leave the server serving", async () => {
  const { port, events } = await serve(recorder());
  const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
  const inputs = [
    Buffer.from("GET / HTTP/1.1\r\n\r\n"),
    Buffer.alloc(50_000, 0xa5),
    preface,
    Buffer.concat([preface, settings, Buffer.from([0, 0, 9, 1, 4, 0, 0, 0, 1, 1, 2])]),
    Buffer.concat([preface, settings, Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])]),
    ...[...Array(20).keys()].map((seed) =>
      Buffer.concat([
        preface,
        settings,
        Buffer.from([...Array(200).keys()].map((i) => (i * (seed + 7) * 31) & 0xff)),
      ]),
    ),
  ];
  for (const input of inputs) {
    const socket: Socket = connect(port, "127.0.0.1");
    socket.on("error", () => {});
    await new Promise<void>((resolve) => socket.write(input, () => resolve()));
    assert.equal((await open(port).unary(fs.Exists, { path: "/alice" })).exists, true);
    socket.destroy();
  }
  assert.deepEqual(events, []);
});

test("HTTP/2 requests that are no gRPC calls leave the server serving", async () => {
  const record = recorder();
  const { port } = await serve(record, 0, { authenticator: trustingAuthenticator("daemon") });
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  cleanups.push(() => session.destroy());
  const grpcHeaders = { ":method": "POST", "content-type": "application/grpc" };
  const message = (bytes: number[]) => Buffer.from([0, 0, 0, 0, bytes.length, ...bytes]);
  const bodies = [
    Buffer.alloc(0),
    Buffer.from([0, 0, 0]),
    Buffer.from([0, 0, 0, 0, 9, 1]),
    Buffer.from([0, 0xff, 0xff, 0xff, 0xff, 1]),
    Buffer.from([1, 0, 0, 0, 1, 1]),
    Buffer.from([7, 0, 0, 0, 1, 1]),
    Buffer.concat([message([10, 1, 65]), message([10, 1, 65])]),
    message([0xff, 0xff]),
  ];
  const paths = [fs.Exists.path, fs.ListStatus.path, worker.WriteBlock.path, "/no/such", "/"];
  for (const path of paths)
    for (const body of bodies)
      for (const headers of [
        grpcHeaders,
        { ...grpcHeaders, "content-type": "text/plain" },
        { ...grpcHeaders, "grpc-encoding": "gzip" },
        { ...grpcHeaders, "grpc-timeout": "soon" },
        { ...grpcHeaders, ":method": "GET" },
      ]) {
        const stream = session.request({ ...headers, ":path": path });
        stream.on("error", () => {});
        stream.resume();
        stream.end(body);
        await new Promise((resolve) => stream.once("close", resolve));
      }
  const channel = open(port, { kind: "none" });
  assert.equal((await channel.unary(fs.Exists, { path: "/daemon" })).exists, true);
});

test("a server that accepts and says nothing is UNAVAILABLE after the connect timeout", async () => {
  const sockets: Socket[] = [];
  const silent = createServer((socket) => sockets.push(socket));
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", () => resolve()));
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
  const { port } = silent.address() as AddressInfo; // of a TCP server
  for (const auth of [AS_ALICE, { kind: "none" }] as const) {
    const channel = openChannel({ host: "127.0.0.1", port, auth, connectTimeoutMs: 50 });
    await assert.rejects(channel.unary(fs.Exists, {}), withStatus("UNAVAILABLE", /not answer/));
    channel.close();
  }
});

test("listen() on a port that is taken is UNAVAILABLE and names it", async () => {
  const { port } = await serve(recorder());
  await assert.rejects(serve(recorder(), port), withStatus("UNAVAILABLE", new RegExp(`:${port}`)));
});

test("calls to a port that nobody has, or that never answers, are UNAVAILABLE at once", async () => {
  const { port, server } = await serve(recorder());
  await server.close(0);
  await assert.rejects(open(port).unary(fs.Exists, {}), withStatus("UNAVAILABLE", /refuses/));
});

test("close() lets calls finish, ends logins, and does not wait for them", async () => {
  const record = recorder();
  const { port, server } = await serve(record);
  const call = await open(port).bidi(worker.WriteBlock);
  call.send({ chunk: { data: new Uint8Array(10) } });
  await until(() => record.received.length === 1);
  const closed = server.close(60_000);
  call.end();
  assert.equal((await call.responses.next()).value?.offset, 10);
  await closed;
});

test("a window for clients' bytes reaches HTTP/2", async () => {
  const authenticator = trustingAuthenticator("daemon");
  const { port } = await serve(recorder(), 0, { authenticator, windowBytes: 3_000_000 });
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  const [settings] = await once(session, "remoteSettings");
  assert.equal(settings.initialWindowSize, 3_000_000);
  await until(() => (session.state.remoteWindowSize ?? 0) > 2_900_000);
  session.close();
});

test("close() at any moment of a call ends it with a status", async () => {
  const { port } = await serve(recorder());
  for (const auth of [{ kind: "simple", user: "alice" }, { kind: "none" }] as const)
    for (let turns = 0; turns < 20; turns++) {
      const channel = openChannel({ host: "127.0.0.1", port, auth });
      await channel.unary(version.getServiceVersion, {}, { isAuthenticated: false });
      const calls = [
        channel.unary(fs.CheckAccess, { path: "/" }),
        channel.serverStream(fs.ListStatus, { path: "1" })[Symbol.asyncIterator]().next(),
        channel.bidi(worker.WriteBlock),
      ];
      const outcomes = Promise.allSettled(calls);
      for (let turn = 0; turn < turns; turn++) await null;
      channel.close();
      // UNAVAILABLE is what grpc-js says of a call that it had not begun.
      for (const outcome of await outcomes)
        if (outcome.status === "rejected")
          assert.match(outcome.reason.status ?? `${outcome.reason}`, /^(CANCELLED|UNAVAILABLE)$/);
    }
});

test("failureOf() takes a connection that was lost under a call for UNAVAILABLE, a server's INTERNAL for that", () => {
  const lost =
    "Received RST_STREAM with code 2 triggered by internal client error: Session closed with error code 2";
  assert.equal(failureOf({ code: 13, details: lost }).status, "UNAVAILABLE");
  assert.equal(failureOf({ code: 13, details: "Internal error" }).status, "INTERNAL");
  assert.equal(failureOf({ code: 5, details: lost }).status, "NOT_FOUND");
});
