import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isRockpoolError } from "../common/errors.ts";
import {
  ChannelAuthenticationScheme,
  SaslAuthenticationService,
  type SaslMessage,
  SaslMessageType,
} from "../proto/gen/sasl_server.ts";
import { parsePlain, SaslAuthentication } from "./sasl.ts";
import type { BidiHandler } from "./service.ts";

const isRefusal = (error: unknown) => isRockpoolError(error, "UNAUTHENTICATED");

test("parsePlain() takes authzid for the user, or authcid when it is empty", () => {
  const parse = (text: string) => parsePlain(Buffer.from(text));
  assert.deepEqual(parse("\0root\0noPassword"), { user: "root", connectionUser: "root" });
  assert.deepEqual(parse("alice\0root\0x"), { user: "alice", connectionUser: "root" });
  for (const bad of [
    "",
    "root",
    "root\0x",
    "\0\0x",
    "\0root\0",
    "a\0b\0c\0d",
    `\0${"u".repeat(300)}\0x`,
  ])
    assert.throws(() => parse(bad), isRefusal, JSON.stringify(bad));
});

test("parsePlain() of any bytes gives a caller or refuses", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      try {
        const { user, connectionUser } = parsePlain(bytes);
        assert.ok(user !== "" && connectionUser !== "");
      } catch (error) {
        assert.ok(isRefusal(error));
      }
    }),
  );
});

/** A client's side of the stream, without a network. */
function login(sasl: SaslAuthentication) {
  const [method] = sasl.table().methods;
  assert.ok(method?.kind === "bidi");
  const handle = method.handle as unknown as BidiHandler<SaslMessage, SaslMessage>;
  const waiting: ((result: IteratorResult<SaslMessage>) => void)[] = [];
  const sent: SaslMessage[] = [];
  const requests = {
    next: () => new Promise<IteratorResult<SaslMessage>>((resolve) => waiting.push(resolve)),
    [Symbol.asyncIterator]: () => requests,
  };
  const out = {
    send: (message: SaslMessage) => {
      sent.push(message);
      return true;
    },
    drained: async () => {},
  };
  const { signal } = new AbortController();
  const done = handle(requests, out, { caller: null, peer: "test", signal });
  done.catch(() => {}); // asserted on by the tests that expect it
  const flush = () => new Promise((resolve) => setImmediate(resolve));
  return {
    sent,
    done,
    async say(message: Partial<SaslMessage> & { readonly text?: string }) {
      const { text = "\0alice\0x", ...rest } = message;
      const value: SaslMessage = {
        messageType: SaslMessageType.CHALLENGE,
        authenticationScheme: ChannelAuthenticationScheme.SIMPLE,
        message: Buffer.from(text),
        clientId: "id-1",
        ...rest,
      };
      waiting.shift()?.({ value, done: false });
      await flush();
    },
    async halfClose() {
      waiting.shift()?.({ value: undefined, done: true });
      await flush();
    },
  };
}

function authentication(nowMs = () => 0) {
  return new SaslAuthentication({
    impersonation: new Map(),
    groupsOf: async () => [],
    staleMs: 1000,
    nowMs,
  });
}

test("a login is known before SUCCESS, which has no message, and ends with its stream", async () => {
  const sasl = authentication();
  const client = login(sasl);
  await client.say({});
  assert.deepEqual(client.sent, [{ messageType: SaslMessageType.SUCCESS }]);
  assert.deepEqual(sasl.callerOf("id-1"), { user: "alice", connectionUser: "alice" });
  await client.halfClose();
  await client.done;
  assert.throws(() => sasl.callerOf("id-1"), isRefusal);
});

test("a second message, another scheme, and a missing id are refused and leave no login", async () => {
  const sasl = authentication();
  const twice = login(sasl);
  await twice.say({});
  await twice.say({});
  await assert.rejects(twice.done, isRefusal);
  for (const message of [
    { authenticationScheme: ChannelAuthenticationScheme.CUSTOM },
    { authenticationScheme: undefined },
    { clientId: "" },
    { clientId: "x".repeat(1000) },
    { text: "bob\0alice\0x" },
  ]) {
    const client = login(sasl);
    await client.say(message);
    await assert.rejects(client.done, isRefusal);
  }
  assert.equal(sasl.loginCount, 0);
  assert.equal(SaslAuthenticationService.name, sasl.table().name);
});

test("a login with an id in use takes it over, and the end of the first one does not end it", async () => {
  const sasl = authentication();
  const [first, second] = [login(sasl), login(sasl)];
  await first.say({});
  await second.say({ text: "\0bob\0x" });
  await first.done;
  assert.equal(sasl.callerOf("id-1").user, "bob");
});

test("logins that nobody used for long are ended when others come", async () => {
  let now = 0;
  const sasl = authentication(() => now);
  const [idle, busy, late] = [login(sasl), login(sasl), login(sasl)];
  await idle.say({ clientId: "idle" });
  await busy.say({ clientId: "busy" });
  now = 900;
  sasl.callerOf("busy");
  now = 1100;
  await late.say({ clientId: "late" });
  await idle.done;
  assert.equal(sasl.loginCount, 2);
  assert.equal(sasl.callerOf("busy").user, "alice");
});

test("a stream on which nobody logs in is ended", async () => {
  const sasl = new SaslAuthentication({
    impersonation: new Map(),
    groupsOf: async () => [],
    staleMs: 1000,
    handshakeMs: 1,
    nowMs: () => 0,
  });
  const silent = login(sasl);
  await silent.done;
  assert.deepEqual(silent.sent, []);
});
