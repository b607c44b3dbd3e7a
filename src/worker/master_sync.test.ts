import assert from "node:assert/strict";
import { createServer, type Socket } from "node:net";
import { test } from "node:test";
import { blockIdOf, fileIdOfBlock } from "../common/ids.ts";
import { BlockWorker } from "../proto/gen/block_worker.ts";
import type { RpcChannel } from "../rpc/channel.ts";
import { until, withWorker } from "./worker_fixture.ts";
import type { WorkerOptions } from "./worker_process.ts";

const id = (container: number) => blockIdOf(BigInt(container), 0);

async function write(channel: RpcChannel, container: number, lengthBytes = 100): Promise<void> {
  const call = await channel.bidi(BlockWorker.methods.WriteBlock);
  call.send({ command: { id: id(container), spaceToReserve: lengthBytes } });
  call.send({ chunk: { data: Buffer.alloc(lengthBytes, container) } });
  call.end();
  for await (const _ of call.responses);
}

test("all masters know the worker and its blocks; a dead one delays nobody and catches up", () =>
  withWorker(
    async ({ masters, channel, worker }) => {
      const [leader, standby, third] = masters;
      assert.ok(leader !== undefined && standby !== undefined && third !== undefined);
      await until(() => masters.every(({ registrations }) => registrations === 1));
      assert.equal(worker.status().workerId, 77n);
      await write(channel, 1);
      await until(() => masters.every(({ blocks }) => blocks.has(id(1))));
      await third.stop();
      await write(channel, 2);
      await channel.unary(BlockWorker.methods.RemoveBlock, { blockId: id(1) });
      await until(() => standby.blocks.has(id(2)) && !standby.blocks.has(id(1)));
      await until(() => worker.status().masters[2]?.state === "connecting");
      assert.equal(worker.status().masters[0]?.state, "registered");
      third.isKnown = false; // it was restarted: whatever it knew is gone
      await third.start();
      await until(() => third.registrations === 2);
      assert.deepEqual([...third.blocks], [id(2)]);
      await until(() => worker.status().masters[2]?.state === "registered");
    },
    { masterCount: 3 },
  ));

test("a standby hears of a new block at once, not with the next heartbeat", () =>
  withWorker(
    async ({ masters, channel }) => {
      await until(() => masters.every(({ registrations }) => registrations === 1));
      await write(channel, 1);
      await until(() => masters.every(({ blocks }) => blocks.has(id(1))));
    },
    { masterCount: 2, heartbeatIntervalMs: 3_600_000 },
  ));

test("a master whose answers were lost hears the changes again, without a new registration", () =>
  withWorker(async ({ master, channel }) => {
    await until(() => master.registrations === 1);
    await master.stop();
    const writing = write(channel, 1); // waits for the leader
    await master.start();
    await writing;
    await until(() => master.blocks.has(id(1)));
    assert.equal(master.registrations, 1);
  }));

test("changes in a lost heartbeat are sent again, unless newer ones undo them", () =>
  withWorker(async ({ master, channel }) => {
    await until(() => master.heartbeats.length > 0);
    master.isDeaf = true;
    await write(channel, 1);
    await write(channel, 2);
    const isLost = (container: number) =>
      master.lost.some(({ addedBlocks }) =>
        addedBlocks.some(({ value }) => value?.blockId.includes(id(container))),
      );
    await until(() => isLost(1) && isLost(2));
    await channel.unary(BlockWorker.methods.RemoveBlock, { blockId: id(2) });
    master.isDeaf = false;
    await until(() => master.blocks.has(id(1)));
    assert.deepEqual([...master.blocks], [id(1)]);
    assert.equal(master.registrations, 1);
    for (const { addedBlocks } of master.heartbeats)
      for (const { value } of addedBlocks) assert.ok(!value?.blockId.includes(id(2)));
  }));

test("CommitBlock waits for a restarted master to know the worker again", () =>
  withWorker(async ({ master, channel }) => {
    await until(() => master.registrations === 1);
    for (let n = 1; n <= 5; n++) {
      master.isKnown = false;
      await write(channel, n);
      assert.equal(master.commits.length, n);
    }
  }));

test("CommitBlock follows the leader", () =>
  withWorker(
    async ({ masters, channel }) => {
      const [first, second] = masters;
      assert.ok(first !== undefined && second !== undefined);
      await write(channel, 1);
      first.isLeader = false;
      second.isLeader = true;
      await write(channel, 2);
      assert.deepEqual(
        [first, second].map(({ commits }) => commits.map(({ blockId }) => blockId)),
        [[id(1)], [id(2)]],
      );
    },
    { masterCount: 2 },
  ));

test("Free and Delete commands remove blocks; the removal is told to the masters", () =>
  withWorker(async ({ master, channel, worker }) => {
    for (const n of [1, 2, 3]) await write(channel, n);
    await until(() => master.blocks.size === 3);
    master.command = { commandType: 3, data: [id(1)] };
    await until(() => worker.status().blockCount === 2);
    master.command = { commandType: 4, data: [id(2), id(99)] };
    await until(() => master.blocks.size === 1);
    assert.deepEqual([...master.blocks], [id(3)]);
  }));

test("a restarted worker registers the blocks that it still has", () =>
  withWorker(async (fixture) => {
    await write(fixture.channel, 1);
    fixture.channel.close();
    await fixture.worker.stop();
    const { registrations } = fixture.master;
    await fixture.startWorker();
    await until(() => fixture.master.registrations > registrations);
    assert.deepEqual([...fixture.master.blocks], [id(1)]);
  }));

test("the pin list keeps blocks in a full tier", () =>
  withWorker(
    async ({ master, channel, worker }) => {
      master.persistenceOf = () => "PERSISTED";
      await write(channel, 1, 400);
      master.pinned = [fileIdOfBlock(id(1))];
      const polls = master.pinPolls;
      await until(() => master.pinPolls > polls + 1);
      await write(channel, 2, 400);
      await write(channel, 3, 400);
      assert.equal(worker.status().blockCount, 2);
      await until(() => master.blocks.has(id(3)) && !master.blocks.has(id(2)));
      assert.ok(master.blocks.has(id(1)));
    },
    { quotaBytes: 1000 },
  ));

test("stop() does not wait for masters: none that leads, one that accepts connections and says nothing", () =>
  withWorker(
    async ({ masters, channel, worker, events }) => {
      await until(() => masters.every(({ registrations }) => registrations === 1));
      const [leader, second] = masters;
      assert.ok(leader !== undefined && second !== undefined);
      leader.isLeader = false;
      const leaderlessMs = performance.now();
      await second.stop();
      const sockets: Socket[] = [];
      const frozen = createServer((socket) => sockets.push(socket)).listen(
        second.port,
        "127.0.0.1",
      );
      try {
        const held = write(channel, 1); // its commit waits for a leader
        // Ended with the search for a leader, not after its budget of two minutes, which has another message.
        const outcome = assert.rejects(held, /The channel to the masters is closed/);
        await until(() => worker.status().counters.writesActive === 1);
        await until(() => worker.status().masters[1]?.state === "connecting");
        await until(() => worker.status().blockCount === 1);
        // A leader that has not answered for three intervals of 10 ms is taken to be none.
        await until(() => performance.now() - leaderlessMs > 100);
        await worker.stop();
        await outcome;
        assert.deepEqual(
          events.filter(({ kind }) => kind === "handlerFailed"),
          [],
        );
      } finally {
        frozen.close();
        for (const socket of sockets) socket.destroy();
      }
    },
    { masterCount: 3 },
  ));

test("S1-26 masters that are found later are registered with, and one that is gone is let go", () => {
  type Listener = Parameters<NonNullable<WorkerOptions["follow"]>>[0];
  let tell: Listener = () => {};
  let isClosed = false;
  const follow = (listener: Listener) => {
    tell = listener;
    return {
      async close() {
        isClosed = true;
      },
    };
  };
  return withWorker(
    async ({ masters, worker, channel }) => {
      const [leader, standby] = masters;
      assert.ok(leader !== undefined && standby !== undefined);
      const addresses = masters.map(({ port }) => ({ host: "127.0.0.1", port }));
      const writing = write(channel, 1); // waits for a master
      assert.deepEqual(worker.status().masters, []);
      tell(addresses.slice(0, 1));
      await writing;
      await until(() => leader.blocks.has(id(1)));
      tell(addresses);
      await until(() => standby.blocks.has(id(1)));
      await until(() => worker.status().masters[1]?.state === "registered");
      // Who still answers stays, whatever is said; and nothing is said by saying nobody.
      tell(addresses.slice(0, 1));
      tell([]);
      await write(channel, 2);
      await until(() => standby.blocks.has(id(2)));
      await standby.stop();
      await until(() => worker.status().masters.length === 1);
      await standby.start();
      tell(addresses);
      await until(() => worker.status().masters[1]?.state === "registered");
      await worker.stop();
      assert.ok(isClosed);
    },
    { masterCount: 2, follow },
  );
});
