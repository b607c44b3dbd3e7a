/**
 * The block master: which worker holds which block. Soft state, built from the workers' own reports on
 * *every* master, so that a new leader knows all places from its first moment.
 *
 * What is in the journal (which blocks exist, how long they are) belongs to the namespace. From that follows
 * what workers are told to free, and only a serving master tells:
 * - blocks that the namespace dropped (`blocksRemoved`), at once;
 * - orphans: blocks which the namespace does not know. A report may overtake the journal, so a block is an
 *   orphan only if it is unknown twice, `orphanGraceMs` apart, on a master that serves. A patrol finds
 *   them, a thousand blocks or two a second.
 * A worker hears of a block again and again until it reports it removed.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { WorkerNetAddress } from "../common/file_facts.ts";
import type { BlockId, WorkerId } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import type { Clock } from "../world/ports.ts";
import type {
  BlockInfo,
  BlockLocation,
  BlockMaster,
  BlockNamespace,
  BlocksOnTier,
  HeartbeatReply,
  WorkerInfo,
  WorkerRegistration,
} from "./api.ts";
import { BlockMap, type Holder, TIER_MAX } from "./block_map.ts";
import { type Worker, WorkerRegistry } from "./worker_registry.ts";

export type BlockMasterOptions = {
  /** A worker that is silent for this long is lost: its blocks have no place any more. */
  readonly workerTimeoutMs: number;
  /** How long lost workers stay in the list. */
  readonly lostWorkerForgetMs: number;
  /** How long a block must be unknown to the namespace before workers are told to free it. */
  readonly orphanGraceMs: number;
};

export type BlockMasterEvent =
  | {
      readonly kind: "workerRegistered";
      readonly workerId: WorkerId;
      readonly address: WorkerNetAddress;
      readonly blockCount: number;
    }
  | {
      readonly kind: "workerLost";
      readonly workerId: WorkerId;
      readonly address: WorkerNetAddress;
      readonly blockCount: number;
    }
  | {
      readonly kind: "workerForgotten";
      readonly workerId: WorkerId;
      readonly address: WorkerNetAddress;
    }
  | {
      readonly kind: "workerLeft";
      readonly workerId: WorkerId;
      readonly address: WorkerNetAddress;
      readonly blockCount: number;
    }
  | {
      readonly kind: "workerDecommissioned" | "workerEnabled";
      readonly workerId: WorkerId;
      readonly address: WorkerNetAddress;
    }
  | { readonly kind: "orphansFound"; readonly blockCount: number };

type BeginFacts = Parameters<BlockMaster["beginRegistration"]>[1];
type Report = Parameters<BlockMaster["heartbeat"]>[1];
type Commit = Parameters<BlockMaster["commitBlock"]>[1];

/** What a worker has, by one registration of it. */
type Holding = {
  readonly worker: Worker;
  readonly holder: Holder;
  /** Blocks that it has and shall free, those told of last at the end. */
  readonly pendingFrees: Set<BlockId>;
};

/** A registration that is not finished: nobody sees its blocks yet. */
type OpenRegistration = {
  readonly holding: Holding;
  /** Reported as removed since it began: the list may be older than that. */
  readonly removed: Set<BlockId>;
  heardAtMs: number;
};

/** Ids in one reply: some 100 kB. */
const FREES_PER_REPLY = 10_000;
/** A lookup of the patrol costs some ten microseconds: about 1 % of a core. */
const PATROL_SLOTS_PER_MS = 2;
const PATROL_SLOTS_MAX = 4000;
/** Orphans that wait for their time; the patrol finds the rest later. */
const SUSPECTS_MAX = 100_000;
/** How often silence is looked for at most. */
const EXPIRE_EVERY_MS = 250;
/** Fastest first, the order in which clients like their places. */
const TIER_ORDER = ["MEM", "SSD", "HDD"];

export type SoftBlockMaster = BlockMaster & {
  /** Notices silent workers, which calls of any kind also do: so that they are noticed when none comes. */
  checkWorkers(): void;
};

class BlockMasterOfReports implements SoftBlockMaster {
  readonly #namespace: BlockNamespace;
  readonly #isServing: () => boolean;
  readonly #clock: Clock;
  readonly #options: BlockMasterOptions;
  readonly #onEvent: (event: BlockMasterEvent) => void;
  readonly #registry: WorkerRegistry;
  readonly #blocks = new BlockMap();
  /** Of live workers. */
  readonly #holdings = new Map<WorkerId, Holding>();
  readonly #open = new Map<WorkerId, OpenRegistration>();
  /** Of both, by their number in the block map. */
  readonly #byHolder = new Map<Holder, Holding>();
  readonly #tiers: { readonly tierAlias: string; readonly mediumType: string }[] = [];
  readonly #tierNumbers = new Map<string, number>();
  /** Blocks unknown to the namespace, with the time when that was first seen; oldest first. */
  readonly #suspects = new Map<BlockId, number>();
  #expireAtMs = 0;
  #patrolledMs: number;

  constructor(parts: {
    readonly namespace: BlockNamespace;
    readonly isServing: () => boolean;
    readonly clock: Clock;
    readonly options: BlockMasterOptions;
    readonly onEvent: (event: BlockMasterEvent) => void;
  }) {
    this.#namespace = parts.namespace;
    this.#isServing = parts.isServing;
    this.#clock = parts.clock;
    this.#options = parts.options;
    this.#onEvent = parts.onEvent;
    this.#registry = new WorkerRegistry(parts.clock, parts.options);
    this.#patrolledMs = parts.clock.monotonicMs();
  }

  workerIdOf(address: WorkerNetAddress): WorkerId {
    return this.#registry.identify(address);
  }

  beginRegistration(workerId: WorkerId, facts: BeginFacts): WorkerRegistration {
    const worker = this.#registry.find(workerId);
    if (worker === null) throw unknownWorker(workerId);
    const before = this.#open.get(workerId);
    if (before !== undefined) this.#abandon(before);
    const holding = { worker, holder: this.#blocks.newHolder(), pendingFrees: new Set<BlockId>() };
    const heardAtMs = this.#clock.monotonicMs();
    const open: OpenRegistration = { holding, removed: new Set(), heardAtMs };
    this.#open.set(workerId, open);
    this.#byHolder.set(holding.holder, holding);
    return {
      addBlocks: (blocks) => this.#addRegistered(open, blocks),
      finish: () => this.#finishRegistration(open, facts),
    };
  }

  #addRegistered(open: OpenRegistration, blocks: readonly BlocksOnTier[]): void {
    const { worker, holder } = this.#current(open).holding;
    open.heardAtMs = this.#clock.monotonicMs();
    this.#registry.heard(worker);
    for (const { tierAlias, mediumType, blockIds } of blocks) {
      const tier = this.#tierNumber(tierAlias, mediumType);
      for (const blockId of blockIds) {
        if (!open.removed.has(blockId)) this.#blocks.add(blockId, holder, tier);
      }
    }
  }

  #finishRegistration(open: OpenRegistration, facts: BeginFacts): void {
    const { worker, holder, pendingFrees } = this.#current(open).holding;
    this.#open.delete(worker.id);
    const before = this.#holdings.get(worker.id);
    for (const blockId of before?.pendingFrees ?? []) {
      if (this.#blocks.has(blockId, holder)) pendingFrees.add(blockId);
    }
    if (before !== undefined) this.#drop(before);
    this.#holdings.set(worker.id, open.holding);
    this.#registry.registered(worker, facts);
    const { id: workerId, address } = worker;
    const blockCount = this.#blocks.countOf(holder);
    this.#onEvent({ kind: "workerRegistered", workerId, address, blockCount });
  }

  #current(open: OpenRegistration): OpenRegistration {
    const { id } = open.holding.worker;
    if (this.#open.get(id) === open) return open;
    throw new RockpoolError(
      "ABORTED",
      `Registration of worker ${id} was given up: it took too long, or the worker began another`,
      "The worker registers again by itself",
    );
  }

  #abandon(open: OpenRegistration): void {
    this.#open.delete(open.holding.worker.id);
    this.#drop(open.holding);
  }

  #drop(holding: Holding): void {
    this.#byHolder.delete(holding.holder);
    this.#blocks.retire(holding.holder);
  }

  checkWorkers(): void {
    this.#expireAtMs = 0;
    this.#expire();
  }

  #expire(): void {
    const now = this.#clock.monotonicMs();
    if (now < this.#expireAtMs) return;
    this.#expireAtMs = now + EXPIRE_EVERY_MS;
    const { lost, forgotten } = this.#registry.expire();
    for (const { id: workerId, address } of lost) {
      const holding = this.#holdings.get(workerId);
      invariant(holding !== undefined, "a live worker has a holding");
      const blockCount = this.#blocks.countOf(holding.holder);
      this.#holdings.delete(workerId);
      this.#drop(holding);
      this.#onEvent({ kind: "workerLost", workerId, address, blockCount });
    }
    for (const open of this.#open.values()) {
      if (now - open.heardAtMs >= this.#options.workerTimeoutMs) this.#abandon(open);
    }
    for (const { id: workerId, address } of forgotten) {
      this.#onEvent({ kind: "workerForgotten", workerId, address });
    }
  }

  heartbeat(workerId: WorkerId, report: Report): HeartbeatReply {
    // First: who calls is alive, however long ago it was heard.
    const holding = this.#holdings.get(workerId);
    if (holding !== undefined) this.#registry.heard(holding.worker);
    this.#expire();
    if (holding === undefined) return { kind: "register" };
    const { usedBytesOnTiers, capacityBytesOnTiers } = report;
    this.#registry.measured(holding.worker, usedBytesOnTiers, capacityBytesOnTiers);
    this.#applyDeltas(holding, report);
    if (!this.#isServing() || !this.#namespace.isReady()) {
      this.#suspects.clear();
      return { kind: "nothing" };
    }
    this.#patrol();
    return replyOf(holding.pendingFrees);
  }

  /** A block that is in both lists was removed and came back. */
  #applyDeltas({ worker, holder, pendingFrees }: Holding, { removed, added }: Report): void {
    const open = this.#open.get(worker.id);
    for (const blockId of removed) {
      this.#blocks.remove(blockId, holder);
      pendingFrees.delete(blockId);
      if (open === undefined) continue;
      this.#blocks.remove(blockId, open.holding.holder);
      open.holding.pendingFrees.delete(blockId);
      open.removed.add(blockId);
    }
    for (const { tierAlias, mediumType, blockIds } of added) {
      const tier = this.#tierNumber(tierAlias, mediumType);
      for (const blockId of blockIds) this.#place(blockId, holder, tier, open);
    }
  }

  #place(blockId: BlockId, holder: Holder, tier: number, open: OpenRegistration | undefined): void {
    this.#blocks.add(blockId, holder, tier);
    if (open !== undefined) this.#blocks.add(blockId, open.holding.holder, tier);
  }

  setStanding(workerId: WorkerId, isDecommissioned: boolean): void {
    const worker = this.#holdings.get(workerId)?.worker;
    if (worker === undefined || worker.isDecommissioned === isDecommissioned) return;
    worker.isDecommissioned = isDecommissioned;
    const { address } = worker;
    const kind = isDecommissioned ? "workerDecommissioned" : "workerEnabled";
    this.#onEvent({ kind, workerId, address });
  }

  leave(workerId: WorkerId): void {
    const open = this.#open.get(workerId);
    if (open !== undefined) this.#abandon(open);
    const worker = this.#registry.find(workerId);
    if (worker === null) return;
    const holding = this.#holdings.get(workerId);
    const blockCount = holding === undefined ? 0 : this.#blocks.countOf(holding.holder);
    this.#holdings.delete(workerId);
    if (holding !== undefined) this.#drop(holding);
    this.#registry.left(worker);
    this.#onEvent({ kind: "workerLeft", workerId, address: worker.address, blockCount });
  }

  async commitBlock(workerId: WorkerId, block: Commit): Promise<void> {
    // Known or not: the answer must not depend on how far this master, perhaps just restarted, is with hearing
    // of its workers. One that is not registered here is told so by its next heartbeat, and then reports the block.
    const { blockId, lengthBytes, tierAlias, mediumType, usedBytesOnTier } = block;
    const tier = this.#tierNumber(tierAlias, mediumType);
    await this.#namespace.commitBlock(blockId, lengthBytes);
    const holding = this.#holdings.get(workerId);
    const open = this.#open.get(workerId);
    // It may have passed for an orphan while its commit was on the way.
    holding?.pendingFrees.delete(blockId);
    open?.holding.pendingFrees.delete(blockId);
    if (holding !== undefined) {
      this.#registry.measured(holding.worker, { [tierAlias]: usedBytesOnTier }, {});
      this.#place(blockId, holding.holder, tier, open);
    } else if (open !== undefined) {
      this.#place(blockId, open.holding.holder, tier, open);
    }
  }

  commitBlockInUfs(blockId: BlockId, lengthBytes: number): Promise<void> {
    return this.#namespace.commitBlock(blockId, lengthBytes);
  }

  async getBlockInfo(blockId: BlockId): Promise<BlockInfo> {
    const lengthBytes = this.#namespace.blockLength(blockId);
    if (lengthBytes === null) {
      throw new RockpoolError(
        "NOT_FOUND",
        `Block ${blockId} not found`,
        "Its file was removed or never completed: ask for the file's status again",
      );
    }
    return { blockId, lengthBytes, locations: this.locationsOf(blockId) };
  }

  locationsOf(blockId: BlockId): readonly BlockLocation[] {
    this.#expire();
    const found: BlockLocation[] = [];
    this.#blocks.forEachHolder(blockId, (holder, tierNumber) => {
      const holding = this.#byHolder.get(holder);
      const tier = this.#tiers[tierNumber];
      invariant(holding !== undefined && tier !== undefined, "who holds blocks is known");
      const { worker } = holding;
      if (this.#holdings.get(worker.id) !== holding) return; // still registering
      found.push({ workerId: worker.id, workerAddress: worker.address, ...tier });
    });
    if (found.length > 1) found.sort((a, b) => tierRank(a.tierAlias) - tierRank(b.tierAlias));
    return found;
  }

  blocksRemoved(blockIds: readonly BlockId[]): void {
    for (const blockId of blockIds) this.#free(blockId);
  }

  #free(blockId: BlockId): void {
    this.#blocks.forEachHolder(blockId, (holder) => {
      this.#byHolder.get(holder)?.pendingFrees.add(blockId);
    });
  }

  /** Looks for blocks that the namespace does not know; those that were unknown before are orphans. */
  #patrol(): void {
    const now = this.#clock.monotonicMs();
    let orphanCount = 0;
    let looked = 0;
    for (const [blockId, sinceMs] of this.#suspects) {
      if (now - sinceMs < this.#options.orphanGraceMs || looked === FREES_PER_REPLY) break;
      looked++;
      this.#suspects.delete(blockId);
      if (this.#namespace.blockLength(blockId) !== null) continue;
      this.#free(blockId);
      orphanCount++;
    }
    if (orphanCount > 0) this.#onEvent({ kind: "orphansFound", blockCount: orphanCount });
    const slots = Math.min(PATROL_SLOTS_MAX, (now - this.#patrolledMs) * PATROL_SLOTS_PER_MS);
    if (slots < 1) return;
    this.#patrolledMs = now;
    this.#blocks.patrol(Math.floor(slots), (blockId, holder) => {
      if (this.#suspects.size >= SUSPECTS_MAX || this.#suspects.has(blockId)) return;
      if (this.#byHolder.get(holder)?.pendingFrees.has(blockId)) return;
      if (this.#namespace.blockLength(blockId) === null) this.#suspects.set(blockId, now);
    });
  }

  workers(): readonly WorkerInfo[] {
    this.#expire();
    return this.#registry.list().map((worker) => {
      const holding = this.#holdings.get(worker.id);
      return {
        id: worker.id,
        address: worker.address,
        isLive: holding !== undefined,
        isDecommissioned: worker.isDecommissioned,
        lastContactMs: worker.lastContactMs,
        startedMs: worker.registeredMs,
        tiers: worker.tiers,
        ...worker.build,
        blockCount: holding === undefined ? 0 : this.#blocks.countOf(holding.holder),
      };
    });
  }

  #tierNumber(tierAlias: string, mediumType: string): number {
    const key = `${tierAlias}\n${mediumType}`;
    const known = this.#tierNumbers.get(key);
    if (known !== undefined) return known;
    if (this.#tiers.length > TIER_MAX) {
      throw new RockpoolError(
        "RESOURCE_EXHAUSTED",
        `Cannot take tier ${tierAlias} of medium ${mediumType}: ${TIER_MAX + 1} kinds are known`,
        "Use the tier names MEM, SSD and HDD on all workers",
      );
    }
    this.#tierNumbers.set(key, this.#tiers.length);
    return this.#tiers.push({ tierAlias, mediumType }) - 1;
  }
}

/** The next blocks to free. They go to the end, so that those which cannot be freed yet hold up none. */
function replyOf(pendingFrees: Set<BlockId>): HeartbeatReply {
  if (pendingFrees.size === 0) return { kind: "nothing" };
  const blockIds: BlockId[] = [];
  for (const blockId of pendingFrees) {
    if (blockIds.length === FREES_PER_REPLY) break;
    blockIds.push(blockId);
  }
  for (const blockId of blockIds) {
    pendingFrees.delete(blockId);
    pendingFrees.add(blockId);
  }
  return { kind: "free", blockIds };
}

function tierRank(tierAlias: string): number {
  const at = TIER_ORDER.indexOf(tierAlias);
  return at < 0 ? TIER_ORDER.length : at;
}

function unknownWorker(workerId: WorkerId): RockpoolError {
  return new RockpoolError(
    "NOT_FOUND",
    `No worker with workerId ${workerId} is registered`,
    "The worker asks for its id and registers again by itself; see its log if it does not",
  );
}

export function createBlockMaster(parts: {
  readonly namespace: BlockNamespace;
  /** True while this master leads and has applied what was committed before it did. */
  readonly isServing: () => boolean;
  readonly clock: Clock;
  readonly options: BlockMasterOptions;
  readonly onEvent: (event: BlockMasterEvent) => void;
}): SoftBlockMaster {
  return new BlockMasterOfReports(parts);
}
