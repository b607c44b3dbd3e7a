import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import type { WorkerNetAddress } from "../common/file_facts.ts";
import { type BlockId, blockIdOf, type WorkerId } from "../common/ids.ts";
import type { BlockNamespace, BlocksOnTier } from "./api.ts";
import { type BlockMasterEvent, createBlockMaster, type SoftBlockMaster } from "./block_master.ts";

const TIMEOUT_MS = 10_000;
const FORGET_MS = 60_000;
const GRACE_MS = 30_000;
/** Silence after which a worker is surely lost: noticed once, and again after the second chance. */
const CONFIRM_MS = 2000;

class FakeClock {
  nowMs = 1_000_000;

  monotonicMs(): number {
    return this.nowMs;
  }

  wallMs(): number {
    return this.nowMs + 1_700_000_000_000;
  }
}

/** The replicated state that all masters of a test share. */
class FakeNamespace implements BlockNamespace {
  isThere = true;
  readonly lengths = new Map<BlockId, number>();

  commitBlock(blockId: BlockId, lengthBytes: number): Promise<void> {
    if (this.gone.has(blockId)) {
      return Promise.reject(new RockpoolError("NOT_FOUND", `Block ${blockId} has no file`));
    }
    this.lengths.set(blockId, lengthBytes);
    return Promise.resolve();
  }

  readonly gone = new Set<BlockId>();

  isReady() {
    return this.isThere;
  }

  blockLength(blockId: BlockId): number | null {
    return this.lengths.get(blockId) ?? null;
  }
}

class Scene {
  readonly clock = new FakeClock();
  readonly namespace = new FakeNamespace();
  readonly events: BlockMasterEvent[] = [];
  isServing = true;
  readonly master: SoftBlockMaster = this.addMaster(() => this.isServing);

  addMaster(isServing: () => boolean): SoftBlockMaster {
    return createBlockMaster({
      namespace: this.namespace,
      isServing,
      clock: this.clock,
      options: {
        workerTimeoutMs: TIMEOUT_MS,
        lostWorkerForgetMs: FORGET_MS,
        orphanGraceMs: GRACE_MS,
      },
      onEvent: (event) => this.events.push(event),
    });
  }

  /** Lets time pass while these workers go on with their heartbeats. */
  pass(ms: number, ...alive: readonly WorkerId[]): void {
    const endMs = this.clock.nowMs + ms;
    while (this.clock.nowMs < endMs) {
      this.clock.nowMs = Math.min(endMs, this.clock.nowMs + 1000);
      for (const id of alive) this.master.heartbeat(id, report());
      this.master.checkWorkers();
    }
  }

  known(...blockIds: readonly BlockId[]): void {
    for (const blockId of blockIds) this.namespace.lengths.set(blockId, 100);
  }

  kinds(): string[] {
    return this.events.map(({ kind }) => kind);
  }
}

function address(host: string, changes: Partial<WorkerNetAddress> = {}): WorkerNetAddress {
  return {
    host,
    containerHost: "",
    rpcPort: 29999,
    dataPort: 29999,
    webPort: 30000,
    domainSocketPath: "",
    tiers: [{ name: "node", value: host }],
    ...changes,
  };
}

const block = (container: number, sequence = 0): BlockId => blockIdOf(BigInt(container), sequence);
const [A, B, C, D] = [block(1), block(2), block(3), block(4)];

const inMemory = (...blockIds: readonly BlockId[]): BlocksOnTier => ({
  tierAlias: "MEM",
  mediumType: "MEM",
  blockIds,
});
const onDisk = (...blockIds: readonly BlockId[]): BlocksOnTier => ({
  tierAlias: "HDD",
  mediumType: "HDD",
  blockIds,
});

const FACTS = {
  tiers: [{ alias: "MEM", capacityBytes: 1000, usedBytes: 10 }],
  buildVersion: "2.9.4",
  buildRevision: "r1",
  vcpuCount: 4,
};

function report(changes: { added?: BlocksOnTier[]; removed?: BlockId[]; usedBytes?: number } = {}) {
  return {
    usedBytesOnTiers: { MEM: changes.usedBytes ?? 10 },
    capacityBytesOnTiers: {},
    added: changes.added ?? [],
    removed: changes.removed ?? [],
  };
}

function register(
  master: SoftBlockMaster,
  host: string,
  ...blocks: readonly BlocksOnTier[]
): WorkerId {
  const id = master.workerIdOf(address(host));
  const registration = master.beginRegistration(id, FACTS);
  for (const some of blocks) registration.addBlocks([some]);
  registration.finish();
  return id;
}

const hostsOf = (master: SoftBlockMaster, blockId: BlockId): string[] =>
  master.locationsOf(blockId).map(({ workerAddress }) => workerAddress.host);

/** A commit as a worker sends it. */
const commit = (blockId: BlockId) => ({
  blockId,
  lengthBytes: 100,
  tierAlias: "MEM",
  mediumType: "MEM",
  usedBytesOnTier: 110,
});

test("workerIdOf() is positive, and the same on every master for the same ports and host", () => {
  const other = new Scene().master;
  const { master } = new Scene();
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), fc.nat(65_535), (host, rpcPort) => {
      const id = master.workerIdOf(address(host, { rpcPort }));
      assert.ok(id > 0n && id < 2n ** 63n);
      assert.equal(other.workerIdOf(address(host, { rpcPort, domainSocketPath: "/s" })), id);
      assert.notEqual(other.workerIdOf(address(host, { rpcPort: rpcPort + 1 })), id);
    }),
    { numRuns: 50 },
  );
  // Other versions must find the same: the worker keeps nothing of it.
  assert.equal(master.workerIdOf(address("worker-1")), 1550456556181617229n);
});

test("a registered worker is listed, and its blocks have a place with its very address", () => {
  const { master, events } = new Scene();
  const id = register(master, "w1", inMemory(A, B), onDisk(C));
  const [info] = master.workers();
  assert.deepEqual(info?.tiers, FACTS.tiers);
  assert.deepEqual([info?.id, info?.isLive, info?.blockCount], [id, true, 3]);
  assert.deepEqual([info?.buildVersion, info?.vcpuCount], ["2.9.4", 4]);
  const [place] = master.locationsOf(C);
  assert.deepEqual([place?.workerId, place?.tierAlias, place?.mediumType], [id, "HDD", "HDD"]);
  assert.equal(place?.workerAddress, info?.address);
  assert.deepEqual(master.locationsOf(D), []);
  assert.deepEqual(events, [
    { kind: "workerRegistered", workerId: id, address: address("w1"), blockCount: 3 },
  ]);
});

test("locationsOf() names the fastest tier first", () => {
  const { master } = new Scene();
  register(master, "disk", onDisk(A));
  register(master, "odd", { tierAlias: "TAPE", mediumType: "TAPE", blockIds: [A] });
  register(master, "memory", inMemory(A));
  assert.deepEqual(hostsOf(master, A), ["memory", "disk", "odd"]);
});

test("beginRegistration() of a worker that never asked for its id is refused", () => {
  const { master } = new Scene();
  assert.throws(
    () => master.beginRegistration(5n as WorkerId, FACTS),
    (error) => isRockpoolError(error, "NOT_FOUND") && error.remedy !== "",
  );
});

test("a registration replaces what the worker had, and only when it is finished", () => {
  const { master } = new Scene();
  const id = register(master, "w1", inMemory(A, B));
  const registration = master.beginRegistration(id, FACTS);
  registration.addBlocks([inMemory(B, C)]);
  assert.deepEqual([hostsOf(master, A), hostsOf(master, C)], [["w1"], []]);
  registration.finish();
  assert.deepEqual(
    [hostsOf(master, A), hostsOf(master, B), hostsOf(master, C)],
    [[], ["w1"], ["w1"]],
  );
  assert.equal(master.workers()[0]?.blockCount, 2);
});

test("what a worker had before it registered anew is nobody's orphan", () => {
  const scene = new Scene();
  const id = register(scene.master, "w1", inMemory(A));
  register(scene.master, "w1", inMemory());
  scene.pass(2 * GRACE_MS, id);
  assert.ok(!scene.kinds().includes("orphansFound"));
});

test("workerIdOf() takes over an address that changed in what the id does not depend on", () => {
  const { master } = new Scene();
  const id = register(master, "w1", inMemory(A));
  const changed = address("w1", { containerHost: "c1", domainSocketPath: "/sock" });
  assert.equal(master.workerIdOf(changed), id);
  assert.equal(master.workers()[0]?.address, changed);
  assert.equal(master.locationsOf(A)[0]?.workerAddress, changed);
});

test("what happens during a registration is not lost by it, nor undone", async () => {
  const { master } = new Scene();
  const id = register(master, "w1", inMemory(A, B));
  const registration = master.beginRegistration(id, FACTS);
  registration.addBlocks([inMemory(A)]);
  master.heartbeat(id, report({ added: [inMemory(C)], removed: [A, B] }));
  await master.commitBlock(id, commit(D));
  registration.addBlocks([inMemory(B)]); // the list was made before B went
  master.heartbeat(id, report({ removed: [C] }));
  master.heartbeat(id, report({ added: [inMemory(C)] }));
  registration.finish();
  assert.deepEqual([hostsOf(master, A), hostsOf(master, B)], [[], []]);
  assert.deepEqual([hostsOf(master, C), hostsOf(master, D)], [["w1"], ["w1"]]);
});

test("a registration is given up when another begins, or when it stands still too long", () => {
  const scene = new Scene();
  const { master } = scene;
  const id = master.workerIdOf(address("w1"));
  const first = master.beginRegistration(id, FACTS);
  const second = master.beginRegistration(id, FACTS);
  assert.throws(
    () => first.addBlocks([inMemory(A)]),
    (e) => isRockpoolError(e, "ABORTED"),
  );
  second.addBlocks([inMemory(B)]);
  scene.pass(TIMEOUT_MS);
  assert.throws(
    () => second.finish(),
    (e) => isRockpoolError(e, "ABORTED"),
  );
  assert.deepEqual(hostsOf(master, B), []);
  assert.equal(register(master, "w1", inMemory(C)), id);
  assert.deepEqual(hostsOf(master, C), ["w1"]);
});

test("heartbeat() of a worker that is not registered asks it to register", () => {
  const { master } = new Scene();
  const id = master.workerIdOf(address("w1"));
  assert.deepEqual(master.heartbeat(id, report()), { kind: "register" });
  assert.deepEqual(master.heartbeat(7n as WorkerId, report()), { kind: "register" });
});

test("heartbeat() takes over usage, and blocks that came, went, moved, and went and came", () => {
  const scene = new Scene();
  scene.known(A, B, C);
  const { master } = scene;
  const id = register(master, "w1", inMemory(A, B));
  const reply = master.heartbeat(
    id,
    report({ usedBytes: 77, added: [onDisk(A), inMemory(C)], removed: [B, C] }),
  );
  assert.deepEqual(reply, { kind: "nothing" });
  assert.equal(master.workers()[0]?.tiers[0]?.usedBytes, 77);
  assert.equal(master.workers()[0]?.tiers[0]?.capacityBytes, 1000);
  assert.equal(master.locationsOf(A)[0]?.tierAlias, "HDD");
  assert.deepEqual([hostsOf(master, B), hostsOf(master, C)], [[], ["w1"]]);
});

test("heartbeat() takes tiers of any name for what they are", () => {
  const { master } = new Scene();
  const id = master.workerIdOf(address("w1"));
  const tiers = [{ alias: "constructor", capacityBytes: 10, usedBytes: 1 }];
  const build = { buildVersion: "", buildRevision: "", vcpuCount: 1 };
  master.beginRegistration(id, { tiers, ...build }).finish();
  master.heartbeat(id, { ...report(), capacityBytesOnTiers: {}, usedBytesOnTiers: {} });
  assert.deepEqual(master.workers()[0]?.tiers, tiers);
});

test("a silent worker is lost: listed last, with no blocks, until it is forgotten", () => {
  const scene = new Scene();
  const { master, clock } = scene;
  scene.known(A);
  const silent = register(master, "silent", inMemory(A));
  const lively = register(master, "lively", inMemory(A));
  scene.pass(TIMEOUT_MS - 1000, lively);
  assert.deepEqual(hostsOf(master, A).sort(), ["lively", "silent"]);
  scene.pass(1000 + CONFIRM_MS, lively);
  assert.deepEqual(hostsOf(master, A), ["lively"]);
  assert.deepEqual(
    master.workers().map((worker) => [worker.address.host, worker.isLive, worker.blockCount]),
    [
      ["lively", true, 1],
      ["silent", false, 0],
    ],
  );
  assert.equal(master.workers()[1]?.lastContactMs, clock.wallMs() - TIMEOUT_MS - CONFIRM_MS);
  assert.deepEqual(master.heartbeat(silent, report()), { kind: "register" });
  scene.pass(FORGET_MS, lively);
  assert.equal(master.workers().length, 1);
  assert.deepEqual(scene.kinds().slice(2), ["workerLost", "workerForgotten"]);
});

test("a lost worker that registers again is live, with what it has now", () => {
  const scene = new Scene();
  const { master } = scene;
  const id = register(master, "w1", inMemory(A, B));
  scene.pass(TIMEOUT_MS + CONFIRM_MS);
  assert.deepEqual(hostsOf(master, A), []);
  assert.equal(register(master, "w1", inMemory(B, C)), id);
  assert.deepEqual([hostsOf(master, A), hostsOf(master, B)], [[], ["w1"]]);
  assert.deepEqual(master.heartbeat(id, report()), { kind: "nothing" });
  assert.equal(master.workers().length, 1);
});

test("a master that was stopped itself does not lose the workers that go on", () => {
  const scene = new Scene();
  const { master, clock } = scene;
  const ids = [register(master, "w1", inMemory(A)), register(master, "w2", inMemory(A))];
  clock.nowMs += 10 * TIMEOUT_MS;
  for (const id of ids) assert.equal(master.heartbeat(id, report()).kind, "nothing");
  assert.equal(hostsOf(master, A).length, 2);
  scene.pass(60_000, ...ids);
  assert.ok(!scene.kinds().includes("workerLost"));
});

test("commitBlock() journals the block, then knows its place", async () => {
  const scene = new Scene();
  const { master, namespace } = scene;
  const id = register(master, "w1");
  await master.commitBlock(id, commit(A));
  await master.commitBlock(id, commit(A));
  assert.equal(namespace.blockLength(A), 100);
  assert.equal(master.workers()[0]?.tiers[0]?.usedBytes, 110);
  const info = await master.getBlockInfo(A);
  assert.deepEqual([info.lengthBytes, info.locations.length], [100, 1]);
});

test("commitBlock() of a block whose file is gone says NOT_FOUND and keeps no place", async () => {
  const scene = new Scene();
  const { master, namespace } = scene;
  namespace.gone.add(A);
  const id = register(master, "w1");
  await assert.rejects(master.commitBlock(id, commit(A)), (e) => isRockpoolError(e, "NOT_FOUND"));
  assert.deepEqual(master.locationsOf(A), []);
  await assert.rejects(master.getBlockInfo(A), (e) => isRockpoolError(e, "NOT_FOUND"));
});

test("commitBlock() of a worker that this master has not heard of yet is journaled; its place comes with the registration", async () => {
  const { master, namespace } = new Scene();
  // A master that was restarted and leads at once: the worker has its id from the others.
  const id = new Scene().master.workerIdOf(address("w1"));
  await master.commitBlock(id, commit(A));
  assert.equal(namespace.blockLength(A), 100);
  assert.deepEqual(master.locationsOf(A), []);
  const held = { tierAlias: "MEM", mediumType: "MEM", blockIds: [A] };
  assert.equal(register(master, "w1", held), id);
  assert.equal(master.locationsOf(A)[0]?.workerId, id);
});

test("commitBlock() adds no place when the worker was lost meanwhile", async () => {
  const scene = new Scene();
  const { master, namespace } = scene;
  const id = register(master, "w1");
  let open = () => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  namespace.commitBlock = () => gate;
  const committed = master.commitBlock(id, commit(A));
  scene.pass(TIMEOUT_MS + CONFIRM_MS);
  open();
  await committed;
  assert.deepEqual(master.locationsOf(A), []);
});

test("commitBlockInUfs() journals the length and no place", async () => {
  const { master, namespace } = new Scene();
  await master.commitBlockInUfs(A, 55);
  assert.equal(namespace.blockLength(A), 55);
  assert.deepEqual((await master.getBlockInfo(A)).locations, []);
});

test("heartbeat() tells to free dropped blocks until they are reported removed, and only when serving", () => {
  const scene = new Scene();
  scene.known(A, B, C);
  const { master } = scene;
  const first = register(master, "w1", inMemory(A, B));
  const second = register(master, "w2", inMemory(B, C));
  scene.isServing = false;
  master.blocksRemoved([A, B, D]);
  assert.deepEqual(master.heartbeat(first, report()), { kind: "nothing" });
  scene.isServing = true;
  for (let times = 0; times < 3; times++) {
    assert.deepEqual(sortedFrees(master, first), [A, B]);
    assert.deepEqual(sortedFrees(master, second), [B]);
  }
  assert.deepEqual(master.heartbeat(first, report({ removed: [A] })), {
    kind: "free",
    blockIds: [B],
  });
  assert.deepEqual(master.heartbeat(first, report({ removed: [B] })), { kind: "nothing" });
  assert.deepEqual(sortedFrees(master, second), [B]);
  assert.deepEqual([hostsOf(master, B), hostsOf(master, C)], [["w2"], ["w2"]]);
});

function sortedFrees(master: SoftBlockMaster, id: WorkerId): BlockId[] {
  const reply = master.heartbeat(id, report());
  return reply.kind === "free" ? [...reply.blockIds].sort() : [];
}

test("frees survive a new registration for what the worker still has", () => {
  const scene = new Scene();
  scene.known(A, B, C);
  const { master } = scene;
  const id = register(master, "w1", inMemory(A, B));
  master.blocksRemoved([A, B]);
  const registration = master.beginRegistration(id, FACTS);
  registration.addBlocks([inMemory(B, C)]);
  master.blocksRemoved([C]);
  registration.finish();
  assert.deepEqual(sortedFrees(master, id), [B, C]);
});

test("many frees come in bounded replies, and all in turn", () => {
  const scene = new Scene();
  const { master } = scene;
  const blockIds = Array.from({ length: 25_000 }, (_, index) => block(index + 1));
  scene.known(...blockIds);
  const id = register(master, "w1", inMemory(...blockIds));
  master.blocksRemoved(blockIds);
  const told = new Set<BlockId>();
  for (let beat = 0; beat < 3; beat++) {
    const frees = sortedFrees(master, id);
    assert.equal(frees.length, 10_000);
    for (const blockId of frees) told.add(blockId);
  }
  assert.equal(told.size, 25_000);
});

test("an orphan is freed only after it was unknown for the whole grace period", () => {
  const scene = new Scene();
  const { master } = scene;
  scene.known(A);
  const id = register(master, "w1", inMemory(A, B));
  master.heartbeat(id, report({ added: [inMemory(C)] }));
  scene.pass(5000, id);
  scene.known(B); // the journal caught up
  scene.pass(GRACE_MS - 6000, id);
  assert.deepEqual(sortedFrees(master, id), []);
  scene.pass(8000, id);
  assert.deepEqual(sortedFrees(master, id), [C]);
  assert.deepEqual(scene.events.at(-1), { kind: "orphansFound", blockCount: 1 });
  master.heartbeat(id, report({ removed: [C] }));
  scene.pass(3 * GRACE_MS, id);
  assert.deepEqual(sortedFrees(master, id), []);
  assert.equal(scene.kinds().filter((kind) => kind === "orphansFound").length, 1);
});

test("a block whose commit came late is not freed as an orphan", async () => {
  const scene = new Scene();
  const { master } = scene;
  const id = register(master, "w1", inMemory(A));
  scene.pass(2 * GRACE_MS, id);
  assert.deepEqual(sortedFrees(master, id), [A]);
  await master.commitBlock(id, commit(A));
  scene.known(A);
  assert.deepEqual(sortedFrees(master, id), []);
  scene.pass(2 * GRACE_MS, id);
  assert.deepEqual(sortedFrees(master, id), []);
  assert.deepEqual(hostsOf(master, A), ["w1"]);
});

test("the grace of orphans counts only while the master serves", () => {
  const scene = new Scene();
  const { master } = scene;
  const id = register(master, "w1", inMemory(A));
  scene.pass(GRACE_MS - 5000, id);
  scene.isServing = false;
  scene.pass(2 * GRACE_MS, id);
  scene.isServing = true;
  scene.pass(GRACE_MS - 5000, id);
  assert.deepEqual(sortedFrees(master, id), []);
  scene.pass(10_000, id);
  assert.deepEqual(sortedFrees(master, id), [A]);
});

test("nothing is an orphan while the namespace is not there, as when it is restored", () => {
  const scene = new Scene();
  const worker = register(scene.master, "w1", inMemory(A, B));
  scene.namespace.isThere = false;
  scene.pass(10 * GRACE_MS, worker);
  assert.ok(!scene.kinds().includes("orphansFound"));
  scene.known(A);
  scene.namespace.isThere = true;
  scene.pass(GRACE_MS - 5000, worker);
  assert.ok(!scene.kinds().includes("orphansFound"), "the grace begins anew");
  scene.pass(10_000, worker);
  assert.deepEqual(scene.events.at(-1), { kind: "orphansFound", blockCount: 1 });
});

test("the patrol comes around to orphans among many blocks", () => {
  const scene = new Scene();
  const { master } = scene;
  const blockIds = Array.from({ length: 50_000 }, (_, index) => block(index + 1));
  const orphans = blockIds.filter((_, index) => index % 1000 === 0);
  scene.known(...blockIds);
  for (const orphan of orphans) scene.namespace.lengths.delete(orphan);
  const id = register(master, "w1", inMemory(...blockIds));
  scene.pass(GRACE_MS + 120_000, id);
  assert.deepEqual(sortedFrees(master, id), [...orphans].sort());
});

test("a standby that hears the same reports knows the same, and frees go on after it takes over", async () => {
  const scene = new Scene();
  let standbyServes = false;
  const standby = scene.addMaster(() => standbyServes);
  const leader = scene.master;
  const both = [leader, standby];
  const [id] = both.map((master) => register(master, "w1", inMemory(A)));
  assert.ok(id !== undefined);
  assert.equal(standby.workers()[0]?.id, id);
  // The worker commits to the leader; all hear of it by the next heartbeat.
  await leader.commitBlock(id, commit(B));
  scene.known(A);
  for (const master of both) master.heartbeat(id, report({ added: [inMemory(B)] }));
  assert.deepEqual(standby.locationsOf(B), leader.locationsOf(B));
  // A file is removed: every master applies it; the leader dies before the worker has freed.
  scene.namespace.lengths.delete(A);
  for (const master of both) master.blocksRemoved([A]);
  assert.deepEqual(standby.heartbeat(id, report()), { kind: "nothing" });
  standbyServes = true;
  assert.deepEqual(standby.heartbeat(id, report()), { kind: "free", blockIds: [A] });
  assert.deepEqual(standby.heartbeat(id, report({ removed: [A] })), { kind: "nothing" });
  assert.deepEqual(hostsOf(standby, B), ["w1"]);
});

test("two masters with the same reports agree, in whatever order workers talk to them", () => {
  const anyBlock = fc.integer({ min: 1, max: 20 }).map((container) => block(container));
  const delta = fc.record({
    who: fc.nat(2),
    added: fc.array(anyBlock, { maxLength: 5 }),
    removed: fc.array(anyBlock, { maxLength: 5 }),
  });
  fc.assert(
    fc.property(fc.array(delta, { maxLength: 40 }), (deltas) => {
      const scene = new Scene();
      const other = scene.addMaster(() => false);
      const ids = ["w0", "w1", "w2"].map((host) => register(scene.master, host));
      for (const host of ["w2", "w0", "w1"]) register(other, host);
      const send = (master: SoftBlockMaster, some: typeof deltas) => {
        for (const { who, added, removed } of some) {
          master.heartbeat(ids[who] as WorkerId, report({ added: [inMemory(...added)], removed }));
        }
      };
      send(scene.master, deltas);
      for (const who of [2, 0, 1])
        send(
          other,
          deltas.filter((some) => some.who === who),
        );
      for (let container = 1; container <= 20; container++) {
        const places = (master: SoftBlockMaster) => hostsOf(master, block(container)).sort();
        assert.deepEqual(places(other), places(scene.master));
      }
    }),
  );
});
