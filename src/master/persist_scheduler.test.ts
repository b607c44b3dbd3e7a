import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { RockpoolError } from "../common/errors.ts";
import type { WorkerNetAddress } from "../common/file_facts.ts";
import { type BlockId, blockIdOf, fileIdOf, type InodeId, type WorkerId } from "../common/ids.ts";
import type { Timers } from "../world/ports.ts";
import type { BlockLocation, WorkerInfo } from "./api.ts";
import {
  type PersistEvent,
  type PersistQueue,
  PersistScheduler,
  type PersistTask,
  type WorkerControl,
} from "./persist_scheduler.ts";

/** Time that passes when told to, with its timers. */
class FakeTime implements Timers {
  nowMs = 0;
  readonly #timers = new Set<{ dueMs: number; callback: () => void }>();

  readonly clock = { monotonicMs: () => this.nowMs, wallMs: () => this.nowMs };

  after(delayMs: number, callback: () => void) {
    const timer = { dueMs: this.nowMs + delayMs, callback };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  soon(callback: () => void) {
    this.after(0, callback);
  }

  get timerCount(): number {
    return this.#timers.size;
  }

  /** Fires what falls due, in order, and lets promises settle after each. */
  async pass(ms: number): Promise<void> {
    const endMs = this.nowMs + ms;
    await nextTurn();
    while (true) {
      const [next] = [...this.#timers].sort((a, b) => a.dueMs - b.dueMs);
      if (next === undefined || next.dueMs > endMs) break;
      this.#timers.delete(next);
      this.nowMs = next.dueMs;
      next.callback();
      await nextTurn();
    }
    this.nowMs = endMs;
  }
}

class FakeQueue implements PersistQueue {
  readonly tasks = new Map<InodeId, PersistTask>();
  readonly persistedPaths: string[] = [];
  failWith: RockpoolError | null = null;

  pending(limit: number, afterFileId: InodeId | null): readonly PersistTask[] {
    return [...this.tasks.values()]
      .filter(({ fileId }) => afterFileId === null || fileId > afterFileId)
      .sort((a, b) => Number(a.fileId - b.fileId))
      .slice(0, limit);
  }

  persisted(fileId: InodeId, result: { readonly tempUfsPath: string }): Promise<void> {
    if (this.failWith !== null) return Promise.reject(this.failWith);
    if (!this.tasks.delete(fileId)) {
      return Promise.reject(new RockpoolError("NOT_FOUND", `No file ${fileId}`));
    }
    this.persistedPaths.push(result.tempUfsPath);
    return Promise.resolve();
  }
}

class FakeBlocks {
  readonly hosts = new Map<string, Set<BlockId>>();
  /** Hosts that send no heartbeats. */
  readonly silent = new Set<string>();
  readonly starts = new Map<string, number>();
  #heartbeats = 0;

  hold(host: string, ...tasks: readonly PersistTask[]): void {
    const held = this.hosts.get(host) ?? new Set();
    for (const { blocks } of tasks) for (const { blockId } of blocks) held.add(blockId);
    this.hosts.set(host, held);
  }

  workers(): WorkerInfo[] {
    return [...this.hosts].map(([host, held]) => ({
      id: idOf(host),
      address: addressOf(host),
      isLive: true,
      isDecommissioned: false,
      lastContactMs: this.silent.has(host) ? 0 : ++this.#heartbeats,
      startedMs: this.starts.get(host) ?? 0,
      tiers: [],
      buildVersion: "",
      buildRevision: "",
      vcpuCount: 1,
      blockCount: held.size,
    }));
  }

  locationsOf(blockId: BlockId): BlockLocation[] {
    return [...this.hosts]
      .filter(([, held]) => held.has(blockId))
      .map(([host]) => ({
        workerId: idOf(host),
        workerAddress: addressOf(host),
        tierAlias: "MEM",
        mediumType: "MEM",
      }));
  }
}

const idOf = (host: string): WorkerId => BigInt(host.charCodeAt(host.length - 1)) as WorkerId;

function addressOf(host: string): WorkerNetAddress {
  return {
    host,
    containerHost: "",
    rpcPort: 1,
    dataPort: 1,
    webPort: 1,
    domainSocketPath: "",
    tiers: [],
  };
}

type Written = { readonly lengthBytes: number; readonly ufsFingerprint: string };
type Call = {
  readonly host: string;
  readonly fileId: InodeId;
  readonly signal: AbortSignal;
  succeed(lengthBytes?: number): void;
  fail(error: Error): void;
};

/** Keeps calls open until the test answers them. */
class FakeControl implements WorkerControl {
  readonly calls: Call[] = [];

  persistFile(worker: WorkerNetAddress, task: PersistTask, signal: AbortSignal): Promise<Written> {
    return new Promise((resolve, reject) => {
      const whole = task.blocks.reduce((sum, block) => sum + block.lengthBytes, 0);
      this.calls.push({
        host: worker.host,
        fileId: task.fileId,
        signal,
        succeed: (lengthBytes = whole) => resolve({ lengthBytes, ufsFingerprint: "print" }),
        fail: reject,
      });
    });
  }

  last(): Call {
    const call = this.calls.at(-1);
    assert.ok(call !== undefined, "a worker was asked");
    return call;
  }
}

const POLL_MS = 1000;

class Scene {
  readonly time = new FakeTime();
  readonly queue = new FakeQueue();
  readonly blocks = new FakeBlocks();
  readonly control = new FakeControl();
  readonly events: PersistEvent[] = [];
  readonly scheduler: PersistScheduler;

  constructor(limits: { concurrencyMax?: number; perWorkerMax?: number } = {}) {
    this.scheduler = new PersistScheduler({
      queue: this.queue,
      blocks: this.blocks,
      control: this.control,
      world: { clock: this.time.clock, timers: this.time },
      options: { concurrencyMax: 8, perWorkerMax: 8, pollMs: POLL_MS, ...limits },
      onEvent: (event) => this.events.push(event),
    });
  }

  add(container: number, blockCount = 1): PersistTask {
    const task: PersistTask = {
      fileId: fileIdOf(BigInt(container)),
      ufsTempPath: `/ufs/tmp.${container}`,
      blocks: Array.from({ length: blockCount }, (_, sequence) => ({
        blockId: blockIdOf(BigInt(container), sequence),
        lengthBytes: 100,
      })),
      owner: "o",
      group: "g",
      mode: 0o644,
      mountId: 1n,
    };
    this.queue.tasks.set(task.fileId, task);
    return task;
  }

  get kinds(): string[] {
    return this.events.map(({ kind }) => kind);
  }

  askedHosts(): string[] {
    return this.control.calls.map(({ host }) => host);
  }
}

test("a file is written by the worker that holds most of it, and then reported", async () => {
  const scene = new Scene();
  const task = scene.add(1, 3);
  scene.blocks.hold("half-a", { ...task, blocks: task.blocks.slice(1) });
  scene.blocks.hold("whole-b", task);
  scene.scheduler.start();
  assert.deepEqual(scene.askedHosts(), ["whole-b"]);
  scene.control.last().succeed();
  await scene.time.pass(0);
  assert.deepEqual(scene.queue.persistedPaths, ["/ufs/tmp.1"]);
  assert.deepEqual(scene.events, [
    { kind: "filePersisted", fileId: task.fileId, lengthBytes: 300 },
  ]);
  await scene.time.pass(10 * POLL_MS);
  assert.equal(scene.control.calls.length, 1);
});

test("a file whose blocks are spread over workers is written by the one that holds most", async () => {
  const scene = new Scene({ perWorkerMax: 1 });
  const [one, two] = [scene.add(1, 3), scene.add(2, 3)];
  scene.blocks.hold("w-a", { ...one, blocks: one.blocks.slice(0, 1) }, two);
  scene.blocks.hold("w-b", { ...one, blocks: one.blocks.slice(1) });
  scene.scheduler.start();
  assert.deepEqual(scene.askedHosts(), ["w-b", "w-a"]);
  for (const call of scene.control.calls) call.succeed();
  await scene.time.pass(0);
  assert.deepEqual(scene.kinds, ["filePersisted", "filePersisted"]);
});

test("the queue is not read while nobody has a hand free, and only a little for one hand", async () => {
  const scene = new Scene({ perWorkerMax: 2 });
  const tasks = Array.from({ length: 100 }, (_, index) => scene.add(index + 1));
  scene.blocks.hold("w-a", ...tasks);
  const limits: number[] = [];
  const pending = scene.queue.pending.bind(scene.queue);
  scene.queue.pending = (limit, after) => {
    limits.push(limit);
    return pending(limit, after);
  };
  scene.scheduler.start();
  await scene.time.pass(10 * POLL_MS);
  assert.deepEqual(limits, [8]);
  scene.control.last().succeed();
  await scene.time.pass(0);
  assert.deepEqual(limits, [8, 4]);
  assert.equal(scene.control.calls.length, 3);
});

test("a file with a block that no live worker holds waits until one does", async () => {
  const scene = new Scene();
  const task = scene.add(1, 2);
  scene.blocks.hold("w-a", { ...task, blocks: task.blocks.slice(1) });
  scene.scheduler.start();
  await scene.time.pass(60_000);
  assert.equal(scene.control.calls.length, 0);
  assert.deepEqual(scene.events, []);
  scene.blocks.hold("w-b", task);
  await scene.time.pass(POLL_MS);
  assert.deepEqual(scene.askedHosts(), ["w-b"]);
});

test("an empty file is written by any live worker", () => {
  const scene = new Scene();
  scene.add(1, 0);
  scene.blocks.hold("w-a");
  scene.scheduler.start();
  assert.deepEqual(scene.askedHosts(), ["w-a"]);
});

test("poke() finds a new file long before the next poll", async () => {
  const scene = new Scene();
  scene.blocks.hold("w-a");
  scene.scheduler.poke(); // not leading: nothing
  scene.scheduler.start();
  await scene.time.pass(10);
  scene.blocks.hold("w-a", scene.add(1));
  scene.scheduler.poke();
  await scene.time.pass(100);
  assert.equal(scene.control.calls.length, 1);
});

test("work is bounded, in all and by worker, and spread over the holders", async () => {
  const scene = new Scene({ concurrencyMax: 3, perWorkerMax: 2 });
  const tasks = Array.from({ length: 6 }, (_, index) => scene.add(index + 1));
  scene.blocks.hold("w-a", ...tasks);
  scene.scheduler.start();
  assert.deepEqual(scene.askedHosts(), ["w-a", "w-a"]);
  scene.blocks.hold("w-b", ...tasks);
  await scene.time.pass(2 * POLL_MS);
  assert.deepEqual(scene.askedHosts(), ["w-a", "w-a", "w-b"]);
  for (let at = 0; at < 6; at++) {
    scene.control.calls[at]?.succeed();
    await scene.time.pass(2 * POLL_MS);
    assert.ok(scene.scheduler.runningCount <= 3);
  }
  assert.equal(scene.queue.persistedPaths.length, 6);
  assert.equal(scene.control.calls.length, 6);
});

test("a failed file is tried again after 1 s, then twice as long each time, up to 1 h", async () => {
  const scene = new Scene();
  scene.blocks.hold("w-a", scene.add(1));
  scene.scheduler.start();
  let waitedMs = 0;
  for (let attempts = 1; attempts <= 15; attempts++) {
    scene.control.last().fail(new RockpoolError("UNAVAILABLE", "under store is down"));
    await scene.time.pass(0);
    const event = scene.events.at(-1);
    assert.ok(event?.kind === "persistFailed");
    assert.deepEqual([event.attempts, event.reason], [attempts, "under store is down"]);
    assert.equal(event.retryInMs, Math.min(3_600_000, 1000 * 2 ** (attempts - 1)));
    await scene.time.pass(event.retryInMs - 1);
    assert.equal(scene.control.calls.length, attempts);
    await scene.time.pass(POLL_MS + 1);
    assert.equal(scene.control.calls.length, attempts + 1);
    waitedMs = event.retryInMs;
  }
  assert.equal(waitedMs, 3_600_000);
  scene.control.last().succeed();
  await scene.time.pass(0);
  assert.equal(scene.events.at(-1)?.kind, "filePersisted");
});

test("files that fail or wait hold up none behind them, however many they are", async () => {
  const scene = new Scene({ concurrencyMax: 2 });
  for (let container = 1; container <= 2000; container++) scene.add(container);
  scene.blocks.hold("w-a", scene.add(5000));
  scene.scheduler.start();
  await scene.time.pass(2 * POLL_MS);
  assert.deepEqual(
    scene.control.calls.map(({ fileId }) => fileId),
    [fileIdOf(5000n)],
  );
});

test("a short copy is never reported as persisted", async () => {
  const scene = new Scene();
  scene.blocks.hold("w-a", scene.add(1, 2));
  scene.scheduler.start();
  scene.control.last().succeed(199);
  await scene.time.pass(0);
  assert.deepEqual(scene.queue.persistedPaths, []);
  const event = scene.events.at(-1);
  assert.ok(event?.kind === "persistFailed");
  assert.match(event.reason, /199 of the 200 bytes .*\/ufs\/tmp\.1/);
});

test("a file that was removed meanwhile is dropped without a retry", async () => {
  const scene = new Scene();
  const task = scene.add(1);
  scene.blocks.hold("w-a", task);
  scene.scheduler.start();
  scene.queue.tasks.delete(task.fileId);
  scene.control.last().succeed();
  await scene.time.pass(60_000);
  assert.deepEqual(scene.kinds, ["persistObsolete"]);
  assert.equal(scene.control.calls.length, 1);
});

test("NOT_FOUND from a worker that lost a block is a failure like others", async () => {
  const scene = new Scene();
  scene.blocks.hold("w-a", scene.add(1));
  scene.scheduler.start();
  scene.control.last().fail(new RockpoolError("NOT_FOUND", "no such block"));
  await scene.time.pass(3 * POLL_MS);
  assert.deepEqual(scene.kinds, ["persistFailed"]);
  assert.equal(scene.control.calls.length, 2);
});

test("a refused report is tried again from the write on", async () => {
  const scene = new Scene();
  scene.blocks.hold("w-a", scene.add(1));
  scene.queue.failWith = new RockpoolError("UNAVAILABLE", "rename failed");
  scene.scheduler.start();
  scene.control.last().succeed();
  await scene.time.pass(0);
  assert.deepEqual(scene.kinds, ["persistFailed"]);
  scene.queue.failWith = null;
  await scene.time.pass(3 * POLL_MS);
  scene.control.last().succeed();
  await scene.time.pass(0);
  assert.deepEqual(scene.queue.persistedPaths, ["/ufs/tmp.1"]);
});

test("a worker that is lost while it writes is given up, and another one asked", async () => {
  const scene = new Scene();
  const task = scene.add(1);
  scene.blocks.hold("w-a", task);
  scene.scheduler.start();
  scene.blocks.hosts.delete("w-a");
  scene.blocks.hold("w-b", task);
  await scene.time.pass(5 * POLL_MS);
  assert.equal(scene.control.calls[0]?.signal.aborted, true);
  assert.deepEqual(scene.askedHosts(), ["w-a", "w-b"]);
  // What the lost one still says changes nothing.
  scene.control.calls[0]?.succeed();
  await scene.time.pass(0);
  assert.deepEqual(scene.queue.persistedPaths, []);
});

test("a worker that cannot be reached is not asked before it is heard of; another holder is, and it itself soon after a restart", async () => {
  const scene = new Scene();
  const gone = new RockpoolError("UNAVAILABLE", "Cannot connect");
  const task = scene.add(1);
  const other = scene.add(2);
  scene.blocks.hold("w-a", task, other);
  scene.scheduler.start();
  scene.blocks.silent.add("w-a");
  for (const call of [...scene.control.calls]) call.fail(gone);
  await scene.time.pass(60 * POLL_MS);
  assert.deepEqual(scene.askedHosts(), ["w-a", "w-a"]);
  scene.blocks.hold("w-b", task);
  await scene.time.pass(2 * POLL_MS);
  assert.deepEqual(scene.askedHosts().slice(2), ["w-b"]);
  scene.control.last().succeed();
  await scene.time.pass(0);
  scene.blocks.silent.delete("w-a");
  for (let failures = 0; failures < 6; failures++) {
    await scene.time.pass(3_600_000);
    if (failures === 5) scene.blocks.silent.add("w-a");
    scene.control.last().fail(gone); // heard of, and yet unreachable: pauses grow
  }
  await scene.time.pass(2 * POLL_MS);
  const before = scene.control.calls.length;
  scene.blocks.silent.delete("w-a");
  scene.blocks.starts.set("w-a", 1);
  await scene.time.pass(2 * POLL_MS);
  assert.equal(scene.control.calls.length, before + 1);
});

test("stop() aborts at once, nothing is reported after it, and a new reign begins afresh", async () => {
  const scene = new Scene();
  scene.blocks.hold("w-a", scene.add(1), scene.add(2));
  scene.scheduler.start();
  const [first, second] = scene.control.calls;
  first?.succeed(); // its answer is on the way when leadership is lost
  scene.scheduler.stop();
  assert.ok(second?.signal.aborted);
  assert.equal(scene.scheduler.runningCount, 0);
  assert.equal(scene.time.timerCount, 0);
  await scene.time.pass(60_000);
  assert.deepEqual([scene.queue.persistedPaths, scene.events], [[], []]);
  scene.scheduler.stop();

  scene.scheduler.start();
  assert.equal(scene.control.calls.length, 4);
  second?.succeed();
  await scene.time.pass(0);
  assert.deepEqual(scene.queue.persistedPaths, [], "an old reign's answer is nobody's");
  for (const call of scene.control.calls.slice(2)) call.succeed();
  await scene.time.pass(0);
  assert.deepEqual(scene.queue.persistedPaths, ["/ufs/tmp.1", "/ufs/tmp.2"]);
});

test("leadership that is lost while the namespace takes the report leaves no trace here", async () => {
  const scene = new Scene();
  scene.blocks.hold("w-a", scene.add(1));
  scene.scheduler.start();
  let refuse: (error: Error) => void = () => {};
  scene.queue.persisted = () =>
    new Promise((_, reject) => {
      refuse = reject;
    });
  scene.control.last().succeed();
  await scene.time.pass(0);
  scene.scheduler.stop();
  refuse(new RockpoolError("UNAVAILABLE", "not the leader"));
  await scene.time.pass(60_000);
  assert.deepEqual(scene.events, []);
  assert.equal(scene.time.timerCount, 0);
});
