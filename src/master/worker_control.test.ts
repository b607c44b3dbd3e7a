import assert from "node:assert/strict";
import { after, test } from "node:test";
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import type { WorkerNetAddress } from "../common/file_facts.ts";
import { blockIdOf, fileIdOf } from "../common/ids.ts";
import {
  type PersistFileRequest,
  type PersistFileResponseInit,
  WorkerControl,
} from "../proto/gen/rockpool_internal.ts";
import { GrpcServer } from "../rpc/grpc_server.ts";
import { SaslAuthentication } from "../rpc/sasl.ts";
import { unary } from "../rpc/service.ts";
import type { PersistTask } from "./persist_scheduler.ts";
import { WorkerControlClient } from "./worker_control.ts";

const cleanups: (() => unknown)[] = [];
after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

type Handler = (
  request: PersistFileRequest,
  user: string,
  signal: AbortSignal,
) => PersistFileResponseInit | Promise<PersistFileResponseInit>;

async function startWorker(handle: Handler) {
  const sasl = new SaslAuthentication({
    impersonation: new Map(),
    groupsOf: async () => [],
    staleMs: 1000,
    nowMs: () => Date.now(),
  });
  const server = new GrpcServer({ authenticator: sasl, messageBytesMax: 4_000_000 });
  server.addService(sasl.table());
  server.addService({
    name: WorkerControl.name,
    isAuthenticated: true,
    methods: [
      unary(WorkerControl.methods.PersistFile, (request, { caller, signal }) =>
        handle(request, caller?.user ?? "", signal),
      ),
    ],
  });
  cleanups.push(() => server.close(0));
  const client = new WorkerControlClient({ kind: "simple", user: "rockpool" });
  cleanups.push(() => client.close());
  return { address: addressOf(await server.listen("127.0.0.1", 0)), client, server };
}

function addressOf(rpcPort: number): WorkerNetAddress {
  return {
    host: "not-resolvable.invalid",
    containerHost: "127.0.0.1",
    rpcPort,
    dataPort: rpcPort,
    webPort: 0,
    domainSocketPath: "",
    tiers: [],
  };
}

const TASK: PersistTask = {
  fileId: fileIdOf(7n),
  ufsTempPath: "file:///ufs/.tmp.7",
  blocks: [
    { blockId: blockIdOf(7n, 0), lengthBytes: 100 },
    { blockId: blockIdOf(7n, 1), lengthBytes: 23 },
  ],
  owner: "o",
  group: "g",
  mode: 0o640,
  mountId: 3n,
};

const NEVER = new AbortController().signal;

test("persistFile() tells the worker all of the task, and returns what it wrote", async () => {
  const seen: { request: PersistFileRequest; user: string }[] = [];
  const { client, address } = await startWorker((request, user) => {
    seen.push({ request, user });
    return { length: 123, ufsFingerprint: "print" };
  });
  const answer = await client.persistFile(address, TASK, NEVER);
  assert.deepEqual(answer, { lengthBytes: 123, ufsFingerprint: "print" });
  const { blocks, ...file } = TASK;
  assert.deepEqual(seen, [
    {
      user: "rockpool",
      request: {
        ...file,
        blocks: blocks.map(({ blockId, lengthBytes: length }) => ({ blockId, length })),
      },
    },
  ]);
});

test("persistFile() fails as the worker says, and with UNAVAILABLE when it is gone", async () => {
  const { client, address, server } = await startWorker(() => {
    throw new RockpoolError("DATA_LOSS", "Block 5 is damaged");
  });
  await assert.rejects(
    client.persistFile(address, TASK, NEVER),
    (error) => isRockpoolError(error, "DATA_LOSS") && error.message === "Block 5 is damaged",
  );
  await server.close(0);
  await assert.rejects(client.persistFile(address, TASK, NEVER), (error) =>
    isRockpoolError(error, "UNAVAILABLE"),
  );
});

test("persistFile() ends when its signal aborts, and the worker hears of it", async () => {
  const abort = new AbortController();
  let hears: (value: unknown) => void = () => {};
  const heard = new Promise((resolve) => {
    hears = resolve;
  });
  const { client, address } = await startWorker((_request, _user, signal) => {
    signal.addEventListener("abort", hears);
    abort.abort();
    return new Promise(() => {});
  });
  await assert.rejects(client.persistFile(address, TASK, abort.signal));
  await heard;
});

test("persistFile() reaches more workers than connections are kept", async () => {
  const { client, address } = await startWorker(() => ({ length: 123 }));
  for (let port = 1; port <= 70; port++) {
    const gone = client.persistFile(addressOf(port), TASK, AbortSignal.abort());
    await assert.rejects(gone);
  }
  const answer = await client.persistFile(address, TASK, NEVER);
  assert.deepEqual(answer, { lengthBytes: 123, ufsFingerprint: "" });
});
