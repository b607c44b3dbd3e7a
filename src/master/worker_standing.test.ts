import assert from "node:assert/strict";
import { after, test } from "node:test";
import { startMaster, stopMasters, withStatus } from "../../test/fakes/masters.ts";
import { type BlockId, blockIdOf } from "../common/ids.ts";
import { BlockMasterClientService } from "../proto/gen/block_master.ts";
import { WorkerFarewell } from "../proto/gen/rockpool_internal.ts";
import { type BlockMasterEvent, createBlockMaster } from "./block_master.ts";

after(stopMasters);

const BLOCK = blockIdOf(1n, 0);
const BLOCKS = [{ tierAlias: "MEM", mediumType: "MEM", blockIds: [BLOCK] }];
const FACTS = {
  tiers: [{ alias: "MEM", capacityBytes: 100, usedBytes: 10 }],
  buildVersion: "",
  buildRevision: "",
  vcpuCount: 1,
};
const ADDRESS = {
  host: "w1",
  containerHost: "",
  rpcPort: 1,
  dataPort: 1,
  webPort: 2,
  domainSocketPath: "",
  tiers: [],
};
const REPORT = { usedBytesOnTiers: {}, capacityBytesOnTiers: {}, added: [], removed: [] };

function scene() {
  const clock = { nowMs: 1, monotonicMs: () => clock.nowMs, wallMs: () => clock.nowMs };
  const events: BlockMasterEvent[] = [];
  const lengths = new Map<BlockId, number>([[BLOCK, 10]]);
  const master = createBlockMaster({
    namespace: {
      isReady: () => true,
      commitBlock: async (blockId, lengthBytes) => void lengths.set(blockId, lengthBytes),
      blockLength: (blockId) => lengths.get(blockId) ?? null,
    },
    isServing: () => true,
    clock,
    options: { workerTimeoutMs: 10_000, lostWorkerForgetMs: 60_000, orphanGraceMs: 1000 },
    onEvent: (event) => events.push(event),
  });
  const id = master.workerIdOf(ADDRESS);
  const register = () => {
    const registration = master.beginRegistration(id, FACTS);
    registration.addBlocks(BLOCKS);
    return registration;
  };
  return { clock, events, master, id, register };
}

test("S0-61 a worker that says goodbye is forgotten at once, with its places, and may come again", async () => {
  const { master, id, register, events } = scene();
  register().finish();
  assert.equal(master.locationsOf(BLOCK).length, 1);
  master.leave(id);
  assert.deepEqual(master.workers(), []);
  assert.deepEqual(master.locationsOf(BLOCK), []);
  assert.equal(events.at(-1)?.kind, "workerLeft");
  assert.deepEqual(master.heartbeat(id, REPORT), { kind: "register" });
  // What it commits while its last calls end is not lost.
  await master.commitBlock(id, {
    blockId: blockIdOf(2n, 0),
    lengthBytes: 5,
    tierAlias: "MEM",
    mediumType: "MEM",
    usedBytesOnTier: 15,
  });
  assert.deepEqual(master.locationsOf(blockIdOf(2n, 0)), []);
  const again = master.workerIdOf(ADDRESS);
  assert.equal(again, id);
  register().finish();
  assert.equal(master.locationsOf(BLOCK).length, 1);
});

test("a goodbye ends a registration that is under way, and means nothing to whom it was said before", () => {
  const { master, id, register, events } = scene();
  const registration = register();
  master.leave(id);
  assert.throws(() => registration.finish(), /was given up/);
  const { length } = events;
  master.leave(id);
  assert.equal(events.length, length);
  assert.deepEqual(master.workers(), []);
});

test("a decommissioned worker stays live with its places, and says so itself", () => {
  const { clock, master, id, register, events } = scene();
  master.setStanding(id, true); // nobody knows it yet
  register().finish();
  assert.equal(master.workers()[0]?.isDecommissioned, false);
  master.setStanding(id, true);
  master.setStanding(id, true);
  assert.deepEqual(
    master.workers().map(({ isLive, isDecommissioned }) => [isLive, isDecommissioned]),
    [[true, true]],
  );
  assert.equal(master.locationsOf(BLOCK).length, 1);
  // Registering anew changes nothing of it: its next word does.
  register().finish();
  assert.equal(master.workers()[0]?.isDecommissioned, true);
  master.setStanding(id, false);
  assert.equal(master.workers()[0]?.isDecommissioned, false);
  const kinds = events.map(({ kind }) => kind).filter((kind) => kind !== "workerRegistered");
  assert.deepEqual(kinds, ["workerDecommissioned", "workerEnabled"]);
  clock.nowMs += 10_001;
  master.checkWorkers();
  clock.nowMs += 2001;
  master.checkWorkers();
  assert.equal(master.workers()[0]?.isLive, false);
});

test("any master takes a goodbye; only the leader decommissions, and only for a superuser", async () => {
  const { methods } = BlockMasterClientService;
  const standby = await startMaster(false);
  await standby.channel.unary(WorkerFarewell.methods.Leave, { workerId: 7n });
  assert.deepEqual(standby.calls, [["leave", 7n]]);
  const request = { workerHostname: "nowhere", workerWebPort: 1 };
  await assert.rejects(
    standby.channel.unary(methods.DecommissionWorker, request),
    withStatus("UNAVAILABLE"),
  );
  const leader = await startMaster();
  for (const method of [methods.DecommissionWorker, methods.RemoveDisabledWorker])
    await assert.rejects(
      leader.channel.unary(method, request),
      withStatus("PERMISSION_DENIED", /User alice may not/),
    );
  const root = await startMaster(true, {}, "root");
  await assert.rejects(
    root.channel.unary(methods.DecommissionWorker, request),
    withStatus("NOT_FOUND", /No worker nowhere:1 is known: there are /),
  );
});
