/**
 * Simulated workers and those who write blocks to them. A worker tells every master what it has, as the real one does: all
 * of it when it registers, then what changed; commits a block to whoever leads; and removes what a master tells it to.
 *
 * No master may tell it to remove a block whose commit was acknowledged, unless the namespace has dropped it (I13).
 * @module
 */

import type { WorkerNetAddress } from "../../src/common/file_facts.ts";
import type { BlockId, WorkerId } from "../../src/common/ids.ts";
import { parsePath } from "../../src/common/path.ts";
import type { WorkerRegistration } from "../../src/master/api.ts";
import type { MasterProcess, SimNode } from "./node.ts";
import type { SimRandom } from "./random.ts";
import { callMaster, type Reply } from "./rpc.ts";
import { Host, Lane, type Scheduler } from "./scheduler.ts";

const HEARTBEAT_MS = 300;
const DEADLINE_MS = 1000;
const BLOCK_BYTES = 100;
/** Well below the grace that unknown blocks are given. */
const COMMIT_PATIENCE_MS = 1500;
const TIER = { tierAlias: "MEM", mediumType: "MEM" } as const;
const ROOT = { user: "root", groups: ["root"], isSuperuser: true } as const;

type Link = {
  readonly master: SimNode;
  workerId: WorkerId | null;
  mustRegister: boolean;
  added: Set<BlockId>;
  removed: Set<BlockId>;
};

export type BlockCourt = {
  /** A worker was told to remove a block whose commit it has been thanked for, before or since. */
  readonly onFree: (worker: string, block: BlockId, by: SimNode) => void;
};

export class SimWorker {
  readonly name: string;
  readonly lane: Lane;
  readonly blocks = new Set<BlockId>();
  /** Blocks whose commit was acknowledged. */
  readonly acknowledged = new Set<BlockId>();
  readonly address: WorkerNetAddress;
  readonly #scheduler: Scheduler;
  readonly #random: SimRandom;
  readonly #court: BlockCourt;
  readonly #links = new Map<SimNode, Link>();
  readonly #committing = new Set<BlockId>();
  /** Who told it to remove a block that it is just committing. */
  readonly #freedEarly = new Map<BlockId, SimNode>();
  freedCount = 0;

  constructor(number: number, scheduler: Scheduler, random: SimRandom, court: BlockCourt) {
    this.name = `w${number}`;
    this.lane = new Lane(this.name, new Host(this.name));
    this.#scheduler = scheduler;
    this.#random = random;
    this.#court = court;
    this.address = {
      host: this.name,
      containerHost: "",
      rpcPort: 29999,
      dataPort: 29999,
      webPort: 30000,
      domainSocketPath: "",
      tiers: [],
    };
  }

  connect(master: SimNode): void {
    const link: Link = {
      master,
      workerId: null,
      mustRegister: true,
      added: new Set(),
      removed: new Set(),
    };
    this.#links.set(master, link);
    this.#later(link, 1);
  }

  #later(link: Link, delayMs: number): void {
    const waitMs = this.#random.between(delayMs / 2, delayMs);
    this.#scheduler.after(waitMs, this.lane, "heartbeat", () => {
      void this.#turn(link).then(() => this.#later(link, HEARTBEAT_MS)); // it never rejects
    });
  }

  async #turn(link: Link): Promise<void> {
    if (link.mustRegister) await this.#register(link);
    else await this.#heartbeat(link);
  }

  #ask<T>(link: Link, act: (master: MasterProcess) => Promise<T> | T): Promise<Reply<T>> {
    return callMaster(this.lane, link.master, act, DEADLINE_MS);
  }

  async #register(link: Link): Promise<void> {
    link.added.clear();
    link.removed.clear();
    const held = [...this.blocks];
    const facts = {
      tiers: [{ alias: "MEM", capacityBytes: 1 << 30, usedBytes: 0 }],
      buildVersion: "",
      buildRevision: "",
      vcpuCount: 1,
    };
    const begun = await this.#ask(link, ({ blocks }) => {
      const workerId = blocks.workerIdOf(this.address);
      const registration = blocks.beginRegistration(workerId, facts);
      const half = held.length >> 1;
      registration.addBlocks([{ ...TIER, blockIds: held.slice(0, half) }]);
      return { workerId, registration, half };
    });
    if (begun.kind !== "ok") return;
    const { workerId, registration, half } = begun.value;
    const ended = await this.#ask(link, () => this.#finish(registration, held.slice(half)));
    if (ended.kind !== "ok") return;
    link.workerId = workerId;
    link.mustRegister = false;
  }

  #finish(registration: WorkerRegistration, rest: readonly BlockId[]): void {
    registration.addBlocks([{ ...TIER, blockIds: rest }]);
    registration.finish();
  }

  async #heartbeat(link: Link): Promise<void> {
    const { workerId, added, removed } = link;
    if (workerId === null) return;
    link.added = new Set();
    link.removed = new Set();
    const reply = await this.#ask(link, ({ blocks }) =>
      blocks.heartbeat(workerId, {
        usedBytesOnTiers: { MEM: 0 },
        capacityBytesOnTiers: { MEM: 1 << 30 },
        added: [{ ...TIER, blockIds: [...added] }],
        removed: [...removed],
      }),
    );
    if (reply.kind !== "ok") {
      // What a lost answer leaves open is told again; what came since counts more.
      for (const id of added) if (!link.removed.has(id)) link.added.add(id);
      for (const id of removed) if (!link.added.has(id)) link.removed.add(id);
      return;
    }
    if (reply.value.kind === "register") link.mustRegister = true;
    if (reply.value.kind !== "free") return;
    for (const id of reply.value.blockIds) {
      if (!this.blocks.has(id)) continue;
      if (this.#committing.has(id)) this.#freedEarly.set(id, link.master);
      if (this.acknowledged.has(id)) this.#court.onFree(this.name, id, link.master);
      this.freedCount += 1;
      this.#remove(id);
    }
  }

  #changed(id: BlockId, isAdded: boolean): void {
    for (const { added, removed } of this.#links.values()) {
      (isAdded ? removed : added).delete(id);
      (isAdded ? added : removed).add(id);
    }
  }

  #remove(id: BlockId): void {
    this.blocks.delete(id);
    this.acknowledged.delete(id);
    this.#changed(id, false);
  }

  /** Takes a block and commits it. @returns whether that was acknowledged */
  async write(id: BlockId): Promise<boolean> {
    this.blocks.add(id);
    this.#changed(id, true);
    this.#committing.add(id);
    const isDone = await this.#commit(id);
    this.#committing.delete(id);
    const freedBy = this.#freedEarly.get(id);
    this.#freedEarly.delete(id);
    if (!isDone) this.#remove(id);
    else if (freedBy !== undefined) this.#court.onFree(this.name, id, freedBy);
    else if (this.blocks.has(id)) this.acknowledged.add(id);
    return isDone;
  }

  async #commit(id: BlockId): Promise<boolean> {
    const beganMs = this.#scheduler.nowMs;
    while (this.#scheduler.nowMs - beganMs < COMMIT_PATIENCE_MS) {
      for (const link of this.#links.values()) {
        const reply = await this.#ask(link, ({ blocks }) =>
          blocks.commitBlock(blocks.workerIdOf(this.address), {
            blockId: id,
            lengthBytes: BLOCK_BYTES,
            ...TIER,
            usedBytesOnTier: 0,
          }),
        );
        if (reply.kind === "ok") return true;
      }
    }
    return false;
  }
}

/** Writes files of some blocks, and removes some of them again. */
export class SimWriter {
  readonly lane: Lane;
  readonly #scheduler: Scheduler;
  readonly #random: SimRandom;
  readonly #masters: () => readonly SimNode[];
  readonly #workers: readonly SimWorker[];
  #number = 0;
  #operation = 0n;
  isStopped = false;
  isBusy = false;
  fileCount = 0;

  constructor(
    scheduler: Scheduler,
    random: SimRandom,
    masters: () => readonly SimNode[],
    workers: readonly SimWorker[],
  ) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.#masters = masters;
    this.#workers = workers;
    this.lane = new Lane("writer", new Host("writer"));
  }

  begin(): void {
    this.#scheduler.after(10, this.lane, "begin", () => {
      void this.#run(); // It never rejects: every call answers.
    });
  }

  async #run(): Promise<void> {
    while (!this.isStopped) {
      await new Promise<void>((resolve) =>
        this.#scheduler.after(this.#random.skewed(10, 500), this.lane, "sleep", resolve),
      );
      this.isBusy = true;
      if (!this.isStopped) await this.#writeFile();
      this.isBusy = false;
    }
  }

  /** Asks whoever leads, some times. @returns null when nobody answered well */
  async #asked<T>(act: (master: MasterProcess) => Promise<T>): Promise<T | null> {
    for (let attempt = 0; attempt < 4; attempt++)
      for (const master of this.#masters()) {
        const reply = await callMaster(this.lane, master, act, DEADLINE_MS);
        if (reply.kind === "ok") return reply.value;
        if (reply.status !== "UNAVAILABLE" && reply.status !== "DEADLINE_EXCEEDED") return null;
      }
    return null;
  }

  #call() {
    this.#operation += 1n;
    return { principal: ROOT, operationId: { high: 1_000_000n, low: this.#operation } };
  }

  async #writeFile(): Promise<void> {
    this.#number += 1;
    const path = parsePath(`/blocks/f${this.#number % 8}`);
    const [creating, completing, removing] = [this.#call(), this.#call(), this.#call()];
    const made = await this.#asked(({ namespace: { fileSystem } }) =>
      fileSystem.createFile(creating, path, {
        isRecursive: true,
        isOverwrite: true,
        blockSizeBytes: BLOCK_BYTES,
        mode: 0o644,
        replicationMin: 0,
        replicationMax: -1,
        ttlMs: -1,
        ttlAction: "FREE",
        xattr: {},
      }),
    );
    if (made === null) return;
    for (let count = this.#random.below(3); count >= 0; count--) {
      const asking = { principal: ROOT, operationId: null };
      const id = await this.#asked(({ namespace }) =>
        namespace.fileSystem.newBlockId(asking, path),
      );
      if (id === null || !(await this.#random.pick(this.#workers).write(id))) return;
    }
    const options = { ufsLengthBytes: null, isAsyncPersist: false, contentHash: "" };
    const done = await this.#asked(({ namespace }) =>
      namespace.fileSystem.completeFile(completing, path, options).then(() => true),
    );
    if (done !== null) this.fileCount += 1;
    if (!this.#random.chance(0.4)) return;
    await this.#asked(({ namespace }) =>
      namespace.fileSystem
        .remove(removing, path, { isRecursive: false, isAlluxioOnly: false })
        .then(() => true),
    );
  }
}
