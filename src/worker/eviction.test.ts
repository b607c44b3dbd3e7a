import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import { blockIdOf, fileIdOfBlock } from "../common/ids.ts";
import { BlockWorker } from "../proto/gen/block_worker.ts";
import type { GetFileInfoPRequest } from "../proto/gen/file_system_master.ts";
import type { RpcChannel } from "../rpc/channel.ts";
import { nodeWorld } from "../world/node_world.ts";
import { FileStates, NEEDED_TTL_MS } from "./file_states.ts";
import type { LeaderCalls } from "./worker_api.ts";
import type { Fixture } from "./worker_fixture.ts";
import { until, withWorker } from "./worker_fixture.ts";

const methods = BlockWorker.methods;
const id = (container: number) => blockIdOf(BigInt(container), 0);
const fileId = (container: number) => fileIdOfBlock(id(container));
const bytesOf = (container: number) => Buffer.alloc(250, container);

async function write(channel: RpcChannel, container: number): Promise<void> {
  const call = await channel.bidi(methods.WriteBlock);
  call.send({ command: { id: id(container), spaceToReserve: 250 } });
  call.send({ chunk: { data: bytesOf(container) } });
  call.end();
  for await (const _ of call.responses);
}

async function read(channel: RpcChannel, container: number): Promise<Buffer> {
  const call = await channel.bidi(methods.ReadBlock);
  call.send({ blockId: id(container), offset: 0, length: 250 });
  const pieces: Uint8Array[] = [];
  for await (const { chunk } of call.responses) pieces.push(chunk?.data ?? Buffer.alloc(0));
  return Buffer.concat(pieces);
}

/** A tier of 1000 B with blocks 1 to 4, and what the master says of their files. */
function withFullTier(
  states: Readonly<Record<number, string | null>>,
  work: (fixture: Fixture, held: () => Promise<number[]>) => Promise<void>,
): Promise<void> {
  return withWorker(
    async (fixture) => {
      const { channel, master } = fixture;
      master.persistenceOf = (asked) => {
        const found = Object.entries(states).find(([n]) => fileId(Number(n)) === asked);
        return found === undefined ? "NOT_PERSISTED" : found[1];
      };
      for (const n of [1, 2, 3, 4]) await write(channel, n);
      await work(fixture, async () => {
        const held: number[] = [];
        for (let n = 1; n < 20; n++)
          try {
            assert.deepEqual(await read(channel, n), bytesOf(n));
            held.push(n);
          } catch (error) {
            assert.ok(isRockpoolError(error, "NOT_FOUND"), String(error));
          }
        return held;
      });
    },
    { quotaBytes: 1000 },
  );
}

const refusal = { status: "RESOURCE_EXHAUSTED" };

test("a full tier of files that are not persisted refuses, says so, and does not ask again and again", () =>
  withFullTier({ 3: "LOST" }, async ({ channel, master }, held) => {
    await assert.rejects(write(channel, 5), (error) => {
      assert.ok(isRockpoolError(error, "RESOURCE_EXHAUSTED"));
      assert.match(error.message, /1000 bytes are held by files that are not persisted/);
      assert.match(error.message, /Persist.*delete files.*alluxio\.worker\.ramdisk\.size/);
      return true;
    });
    const asked = master.questions.length;
    assert.ok(asked <= 4, `${asked} questions about 4 files`);
    for (let n = 6; n < 12; n++) await assert.rejects(write(channel, n), refusal);
    assert.equal(master.questions.length, asked);
    await channel.unary(methods.FreeWorker, {});
    assert.deepEqual(await held(), [1, 2, 3, 4]);
  }));

test("a writer waits for room while files are on their way to the under store, and no longer", () => {
  const states: Record<number, string> = {};
  for (const n of [1, 2, 3, 4]) states[n] = "TO_BE_PERSISTED";
  return withFullTier(states, async ({ channel, master, worker }, held) => {
    // As the master's: what it persists is pinned until it is done.
    const pin = () => {
      master.pinned = [1, 2, 3, 4].filter((n) => states[n] === "TO_BE_PERSISTED").map(fileId);
    };
    pin();
    const polls = master.pinPolls;
    await until(() => master.pinPolls > polls + 1);
    const writing = Promise.all([5, 6, 7].map((n) => write(channel, n)));
    writing.catch(() => undefined); // seen below
    for (const [at, n] of [2, 4, 1].entries()) {
      await until(() => worker.status().counters.writesActive === 3 - at);
      states[n] = "PERSISTED";
      pin();
    }
    await writing;
    assert.deepEqual(await held(), [3, 5, 6, 7]);
    const waiting = await channel.bidi(methods.WriteBlock);
    waiting.send({ command: { id: id(8), spaceToReserve: 250 } });
    await until(() => worker.status().counters.writesActive === 1);
    waiting.cancel();
    await until(() => worker.status().counters.writesActive === 0);
    states[3] = "NOT_PERSISTED";
    await assert.rejects(write(channel, 8), refusal);
  });
});

test("persisted files go in the order of their last use, others stay between them", () =>
  withFullTier({ 2: "PERSISTED", 3: "PERSISTED", 4: "PERSISTED" }, async (fixture, held) => {
    const { channel, master } = fixture;
    await read(channel, 2);
    await write(channel, 5);
    await write(channel, 6);
    assert.deepEqual(await held(), [1, 2, 5, 6]);
    await write(channel, 7);
    await assert.rejects(write(channel, 8), refusal);
    assert.deepEqual(await held(), [1, 5, 6, 7]);
    const positive = master.questions.filter((asked) => asked !== fileId(1));
    assert.equal(new Set(positive).size, positive.length, "a yes is remembered for ever");
  }));

test("blocks of files that are gone are evicted, and removed when the worker is freed", () =>
  withFullTier({ 1: null, 3: null }, async ({ channel }, held) => {
    await write(channel, 5);
    assert.deepEqual(await held(), [2, 3, 4, 5]);
    await channel.unary(methods.FreeWorker, {});
    assert.deepEqual(await held(), [2, 4, 5]);
  }));

test("masters that are away: nothing unknown is evicted, the refusal is prompt, and all is well when they are back", () =>
  withFullTier({ 1: "PERSISTED" }, async ({ channel, master }, held) => {
    await master.stop();
    await assert.rejects(write(channel, 5), (error) => {
      assert.ok(isRockpoolError(error, "RESOURCE_EXHAUSTED"));
      assert.match(error.message, /1000 bytes by files that no master could be asked about/);
      return true;
    });
    await assert.rejects(write(channel, 5), refusal);
    await master.start();
    for (;;)
      try {
        await write(channel, 5);
        break;
      } catch (error) {
        if (!isRockpoolError(error, "RESOURCE_EXHAUSTED")) throw error;
      }
    assert.deepEqual(await held(), [2, 3, 4, 5]);
  }));

test("a master that hangs counts as away", () =>
  withFullTier({}, async ({ channel, master }, held) => {
    let answer = () => {};
    master.beforeFileInfo = () =>
      new Promise((resolve) => {
        answer = resolve;
      });
    await assert.rejects(write(channel, 5), refusal);
    answer();
    assert.deepEqual(await held(), [1, 2, 3, 4]);
  }));

test("writers that need room at the same time get what there is, and share the questions", () =>
  withFullTier({ 1: "PERSISTED", 3: "PERSISTED" }, async ({ channel, master, worker }, held) => {
    const outcomes = await Promise.allSettled([5, 6, 7, 8, 9].map((n) => write(channel, n)));
    const failures = outcomes.filter((outcome) => outcome.status === "rejected");
    for (const { reason } of failures) assert.ok(isRockpoolError(reason, "RESOURCE_EXHAUSTED"));
    assert.equal(failures.length, 3);
    const now = await held();
    assert.deepEqual(now.slice(0, 2), [2, 4]);
    assert.equal(now.length, 4);
    assert.equal(worker.status().tiers[0]?.usedBytes, 1000);
    for (const n of [1, 2, 3, 4])
      assert.ok(master.questions.filter((asked) => asked === fileId(n)).length <= 1);
  }));

test("what was read from the under store gives way without a question", () =>
  withWorker(
    async ({ channel, master, ufsFolder, worker }) => {
      await mkdir(ufsFolder, { recursive: true });
      writeFileSync(join(ufsFolder, "f"), bytesOf(7));
      for (let n = 1; n <= 6; n++) {
        const ufs = {
          ufsPath: `file://${ufsFolder}/f`,
          mountId: 1n,
          offsetInFile: 0,
          blockSize: 250,
        };
        const request = { blockId: id(n), length: 250, openUfsBlockOptions: ufs };
        if (n % 2 === 0) await channel.unary(methods.Cache, { ...request, async: false });
        else {
          const call = await channel.bidi(methods.ReadBlock);
          call.send({ ...request, offset: 0 });
          for await (const _ of call.responses);
        }
      }
      assert.equal(worker.status().blockCount, 4);
      assert.deepEqual(master.questions, []);
    },
    { quotaBytes: 1000 },
  ));

/** A leader that answers from a list, the last answer again and again. */
function asking(
  ...answers: readonly ({ readonly fileId?: bigint; readonly state: string } | Error)[]
) {
  const clock = { nowMs: 1 };
  const asked: bigint[] = [];
  const calls = {
    close() {},
    unary(_: unknown, { fileId: of = 0n }: GetFileInfoPRequest) {
      const answer = answers[Math.min(asked.length, answers.length - 1)];
      asked.push(of);
      if (answer instanceof Error) return Promise.reject(answer);
      const fileInfo = { fileId: answer?.fileId ?? of, persistenceState: answer?.state };
      return Promise.resolve({ fileInfo });
    },
  };
  const states = new FileStates({
    calls: calls as unknown as LeaderCalls, // answers the one method that is asked
    clock: { monotonicMs: () => clock.nowMs, wallMs: () => 0 },
    timers: nodeWorld().timers,
  });
  return { states, asked, clock };
}

test("FileStates asks again about a file that was not persisted, after a while or when told to", async () => {
  const { states, asked, clock } = asking(
    { state: "NOT_PERSISTED" },
    { state: "NOT_PERSISTED" },
    { state: "PERSISTED" },
  );
  assert.deepEqual(await states.ask([id(1), id(1)]), ["needed", "needed"]);
  clock.nowMs += NEEDED_TTL_MS - 1;
  assert.deepEqual(await states.ask([id(1)]), ["needed"]);
  assert.equal(asked.length, 1);
  clock.nowMs += 1;
  assert.deepEqual(await states.ask([id(1)]), ["needed"]);
  states.forget(fileId(1));
  assert.deepEqual(await states.ask([id(1)]), ["safe"]);
});

test("FileStates takes a file for gone when it is not found twice, and no other file's word for it", async () => {
  const gone = new RockpoolError("NOT_FOUND", "No such file");
  assert.deepEqual(await asking(gone, gone).states.ask([id(1)]), ["safe"]);
  assert.deepEqual(await asking(gone, { state: "NOT_PERSISTED" }).states.ask([id(1)]), ["needed"]);
  const other = { fileId: fileId(2), state: "PERSISTED" };
  assert.deepEqual(await asking(other).states.ask([id(1)]), ["needed"]);
  const refused = new RockpoolError("PERMISSION_DENIED", "No");
  assert.deepEqual(await asking(refused).states.ask([id(1)]), ["unknown"]);
});
