import assert from "node:assert/strict";
import { test } from "node:test";
import { RockpoolError } from "../common/errors.ts";
import {
  type CallContext,
  ENCODED,
  type MethodShape,
  type ServiceTable,
  serverStream,
  type UnaryHandler,
  unary,
} from "../rpc/service.ts";
import { type CallWatchOptions, operationTimes, type WatchedCall, watched } from "./call_watch.ts";

const CONTEXT: CallContext = {
  caller: { user: "ada", connectionUser: "ada" },
  peer: "10.0.0.7:1",
  signal: new AbortController().signal,
};

function shape(method: string): MethodShape<Uint8Array, Uint8Array> {
  const path = `/alluxio.grpc.file.FileSystemMasterClientService/${method}`;
  return { path, requestStream: false, responseStream: false, request: ENCODED, response: ENCODED };
}

/** Calls a method of a table as the server does, which does not see the messages' types either. */
function call(table: ServiceTable, at: number, request: unknown): Promise<unknown> {
  const method = table.methods[at];
  assert.ok(method?.kind === "unary");
  const handle = method.handle as unknown as UnaryHandler<unknown, unknown>;
  return Promise.resolve(handle(request, CONTEXT));
}

function watching(
  handle: UnaryHandler<Uint8Array, Uint8Array>,
  change: Partial<CallWatchOptions> = {},
) {
  const calls: WatchedCall[] = [];
  let nowMs = 0;
  const table = {
    name: "files",
    isAuthenticated: true,
    methods: [unary(shape("Remove"), handle), unary(shape("Rename"), handle)],
  };
  const options = {
    nowMs: () => {
      nowMs += 5;
      return nowMs;
    },
    isServing: () => true,
    permissionOf: (path: string) => `of ${path}`,
    onCall: (each: WatchedCall) => void calls.push(each),
    ...change,
  };
  return { calls, table: watched(table, options) };
}

test("watched() tells of each call: what, of whom, how long, and where the time went", async () => {
  const { calls, table } = watching((_request, context) => {
    const times = operationTimes(context);
    if (times !== undefined) times.journalMs += 3;
    return new Uint8Array();
  });
  await call(table, 1, { path: "/a", dstPath: "/b" });
  assert.deepEqual(calls, [
    {
      command: "rename",
      source: "/a",
      destination: "/b",
      user: "ada",
      peer: "10.0.0.7:1",
      succeeded: true,
      allowed: true,
      permission: "of /a",
      tookMs: 5,
      times: { queueMs: 0, journalMs: 3, applyMs: 0, underStoreMs: 0 },
    },
  ]);
});

test("watched() tells refusals from failures, and lets both pass", async () => {
  for (const [status, allowed] of [
    ["PERMISSION_DENIED", false],
    ["NOT_FOUND", true],
  ] as const) {
    const { calls, table } = watching(() => {
      throw new RockpoolError(status, "no");
    });
    await assert.rejects(call(table, 0, { path: "/a" }), { status });
    assert.deepEqual(
      calls.map((each) => [each.command, each.succeeded, each.allowed]),
      [["delete", false, allowed]],
    );
  }
});

test("watched() tells nothing of what a standby refuses", async () => {
  const { calls, table } = watching(() => new Uint8Array(), { isServing: () => false });
  await call(table, 0, { path: "/a" });
  assert.deepEqual(calls, []);
});

test("watched() tells of streams when they are over", async () => {
  const calls: WatchedCall[] = [];
  const stream = serverStream(shape("ListStatus"), async () => {});
  const table = watched(
    { name: "files", isAuthenticated: true, methods: [stream] },
    {
      nowMs: () => 0,
      isServing: () => true,
      permissionOf: () => null,
      onCall: (each) => void calls.push(each),
    },
  );
  const [method] = table.methods;
  assert.ok(method?.kind === "serverStream");
  const handle = method.handle as unknown as (...words: unknown[]) => Promise<void>;
  await handle({ path: "/d" }, { send: () => true, drained: async () => {} }, CONTEXT);
  assert.deepEqual(
    calls.map(({ command, source }) => [command, source]),
    [["listStatus", "/d"]],
  );
});
