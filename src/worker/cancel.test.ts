import assert from "node:assert/strict";
import { appendFileSync, existsSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { isRockpoolError } from "../common/errors.ts";
import { blockIdOf } from "../common/ids.ts";
import { SLOT_BYTES } from "../common/limits.ts";
import { BlockWorker } from "../proto/gen/block_worker.ts";
import type { RpcChannel } from "../rpc/channel.ts";
import { openChannel } from "../rpc/channel.ts";
import { writeBlockShape } from "../rpc/write_messages.ts";
import type { Fixture } from "./worker_fixture.ts";
import { SLOT_COUNT, until, withWorker } from "./worker_fixture.ts";

const methods = BlockWorker.methods;
const id = (container: number) => blockIdOf(BigInt(container), 0);
const lengthBytes = 2 * SLOT_BYTES + 1000;

function pattern(seed: number): Buffer {
  const bytes = Buffer.allocUnsafe(lengthBytes);
  for (let i = 0; i < lengthBytes; i++) bytes[i] = (i >> 8) ^ (i * seed);
  return bytes;
}
const contents = Array.from({ length: 8 }, (_, n) => pattern(2 * n + 1));

/** Numbers that look random, the same in each run. */
function chances(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % bound;
  };
}

type Act = (channel: RpcChannel, n: number, patience: () => Promise<boolean>) => Promise<void>;

/** Each asks its patience between its steps, and cancels when that has ended. */
function acts(fixture: Fixture): readonly Act[] {
  const ufs = (n: number) => ({
    ufsPath: `file://${fixture.ufsFolder}/f${n}`,
    mountId: 1n,
    offsetInFile: 0,
    blockSize: lengthBytes,
  });
  const writing =
    (command: (n: number) => object): Act =>
    async (channel, n, patience) => {
      const call = await channel.bidi(writeBlockShape);
      call.send({ command: command(n), isCommitExplicit: true });
      for (let at = 0; at < lengthBytes; at += SLOT_BYTES) {
        if (!(await patience())) return call.cancel();
        call.send({ chunk: { data: contents[n]?.subarray(at, at + SLOT_BYTES) } });
      }
      if (!(await patience())) return call.end();
      call.send({ commitLength: lengthBytes });
      call.end();
      if (!(await patience())) return call.cancel();
      for await (const _ of call.responses);
    };
  const reading =
    (isInUfs: boolean): Act =>
    async (channel, n, patience) => {
      const call = await channel.bidi(methods.ReadBlock);
      const from = isInUfs ? 0 : 500;
      call.send({
        blockId: id(n),
        offset: from,
        length: lengthBytes - from,
        ...(isInUfs ? { openUfsBlockOptions: ufs(n) } : {}),
      });
      let at = from;
      for await (const { chunk } of call.responses) {
        const data = chunk?.data ?? Buffer.alloc(0);
        assert.equal(Buffer.compare(data, contents[n]?.subarray(at, at + data.length) ?? data), 0);
        at += data.length;
        if (await patience()) continue;
        if (at % 2 === 0) call.cancel();
        else call.end();
        return;
      }
      assert.equal(at, lengthBytes);
    };
  return [
    writing((n) => ({ id: id(n), spaceToReserve: SLOT_BYTES })),
    writing((n) => ({
      type: 1,
      id: -1n,
      createUfsFileOptions: { ufsPath: `file://${fixture.ufsFolder}/new/${n}`, mountId: 1n },
    })),
    reading(false),
    reading(true),
    async (channel, n, patience) => {
      const call = await channel.bidi(methods.CreateLocalBlock);
      call.send({ blockId: id(n), spaceToReserve: SLOT_BYTES });
      // Nobody cancels before the file is whole: Alluxio's rule, which takes a half-close for the end, cannot tell on Node.
      const { value } = await call.responses.next();
      appendFileSync(value?.path ?? "", contents[n] ?? "");
      if (!(await patience())) return call.cancel();
      call.end();
      if (!(await patience())) return call.cancel();
      for await (const _ of call.responses);
    },
    async (channel, n, patience) => {
      const call = await channel.bidi(methods.OpenLocalBlock);
      call.send({ blockId: id(n) });
      await call.responses.next();
      if (await patience()) call.end();
      else call.cancel();
    },
  ];
}

const EXPECTED = ["ALREADY_EXISTS", "RESOURCE_EXHAUSTED", "NOT_FOUND", "CANCELLED", "UNAVAILABLE"];

async function cancelAtAnyMoment(fixture: Fixture, seed: number): Promise<void> {
  const { port, worker, ufsFolder, blocksFolder } = fixture;
  await mkdir(ufsFolder, { recursive: true });
  for (const [n, bytes] of contents.entries()) writeFileSync(join(ufsFolder, `f${n}`), bytes);
  fixture.master.persistenceOf = () => "PERSISTED";
  const chance = chances(seed);
  const all = acts(fixture);
  const client = async () => {
    const channel = openChannel({
      host: "127.0.0.1",
      port,
      auth: { kind: "simple", user: "tester" },
    });
    for (let step = 0; step < 15; step++) {
      let left = chance(8);
      const patience = async () => {
        for (let turns = chance(40); turns > 0; turns--) await setImmediate();
        return left-- > 0;
      };
      try {
        await all[chance(3) === 0 ? chance(all.length) : 1]?.(
          channel,
          chance(contents.length),
          patience,
        );
      } catch (error) {
        assert.ok(isRockpoolError(error) && EXPECTED.includes(error.status), String(error));
      }
    }
    // With whatever is still under way on it.
    channel.close();
  };
  await Promise.all(Array.from({ length: 5 }, client));
  const isQuiet = () => {
    const { counters, freeSlots } = worker.status();
    return counters.readsActive + counters.writesActive === 0 && freeSlots === SLOT_COUNT;
  };
  const names = (folder: string) =>
    readdirSync(folder).filter((name) => statSync(join(folder, name)).isFile());
  await until(isQuiet);
  await until(() => names(join(blocksFolder, "temp")).length === 0);
  const sizeOf = (name: string) => statSync(join(blocksFolder, name)).size;
  await until(
    () =>
      worker.status().tiers[0]?.usedBytes ===
      names(blocksFolder).reduce((sum, name) => sum + sizeOf(name), 0),
  );
  for (const name of names(blocksFolder)) assert.equal(sizeOf(name), lengthBytes);
  const made = join(ufsFolder, "new");
  if (existsSync(made))
    await until(() => names(made).every((name) => statSync(join(made, name)).size === lengthBytes));
  assert.deepEqual(
    fixture.events.filter(({ kind }) => kind === "blockQuarantined" || kind === "handlerFailed"),
    [],
  );
}

for (const seed of [100, 101, 102])
  test(`clients that give up at any moment leave no room, slot, lock or file behind, seed ${seed}`, () =>
    withWorker((fixture) => cancelAtAnyMoment(fixture, seed), { quotaBytes: 9 * SLOT_BYTES }));
