/**
 * One worker's relation with one master: registration, heartbeats with what changed, and the master's commands.
 *
 * A loop of its own with its own back-off: a dead master delays no other. The master's view of this worker's blocks is: all
 * blocks at registration, then every change, in one queue of unsent changes that a lost answer puts back (both
 * sides take a repeated change as done). Too many unsent changes, or a master that does not know us, mean registering anew.
 * @module
 */

import { isRockpoolError, messageOf } from "../common/errors.ts";
import type { BlockId } from "../common/ids.ts";
import type { ReportEntry } from "../conf/report.ts";
import { BlockMasterWorkerService } from "../proto/gen/block_master.ts";
import type { Command, MetricInit, WorkerNetAddress } from "../proto/gen/common.ts";
import { CommandType } from "../proto/gen/common.ts";
import { WorkerFarewell } from "../proto/gen/rockpool_internal.ts";
import type { RpcChannel } from "../rpc/channel.ts";
import type { World } from "../world/ports.ts";
import type { BlockStore } from "./block_store.ts";
import { Pause } from "./pause.ts";
import type { BlockChange, MasterEvent, MasterState } from "./worker_api.ts";

/** Ids in one registration message: about 100 KB. */
const REGISTER_BATCH = 10_000;
/** As Alluxio's worker: batches on their way that the master has not acknowledged. */
const UNACKED_MAX = 2;
/** Beyond it a full registration is cheaper and memory bounded. */
const CHANGES_MAX = 200_000;
/** Changes in one heartbeat; the rest follow at once. */
const CHANGES_PER_HEARTBEAT = 20_000;
/** A change is told this soon, ahead of the next heartbeat; what comes meanwhile goes with it. */
const CHANGE_DELAY_MS = 20;
/** A master that hangs is noticed after this. */
const CALL_DEADLINE_MS = 5_000;
const REGISTER_DEADLINE_MS = 120_000;
/** Nobody waits for a master that hangs. */
const LEAVE_WITHIN_MS = 500;
const BACKOFF_MAX_MS = 3_000;
/** To be told to register, and to have done it. */
const CONFIRM_TURNS_MAX = 3;

export type MasterLinkOptions = {
  readonly address: WorkerNetAddress;
  readonly heartbeatIntervalMs: number;
  readonly buildVersion: string;
  readonly buildRevision: string;
  readonly vcpuCount: number;
  /** What this worker was started with, for the comparison of all nodes; told when it registers. */
  readonly configuration: readonly ReportEntry[];
  /** Counts since the start, which go along with each heartbeat. */
  readonly metrics?: () => readonly MetricInit[];
  /** Whether new blocks are to be placed elsewhere. */
  readonly isDecommissioned: () => boolean;
};

export class MasterLink {
  readonly #channel: RpcChannel;
  readonly #store: BlockStore;
  readonly #world: World;
  readonly #options: MasterLinkOptions;
  readonly #onEvent: (event: MasterEvent) => void;
  readonly #pause: Pause;
  #state: MasterState = "connecting";
  #workerId: bigint | null = null;
  #mustRegister = true;
  #hasSnapshot = false;
  /** Unsent changes; a block is in one of them at most. */
  #added = new Set<BlockId>();
  #removed = new Set<BlockId>();
  #lastContactMs: number;
  /** Turns of the loop: how many began, and who waits for the end of which. */
  #turn = 0;
  #waiters: { readonly turn: number; readonly resolve: () => void }[] = [];
  #isStopped = false;
  #loop: Promise<void> | null = null;
  /** Blocks that the master told to remove: one at a time, behind the heartbeats. */
  #removing: Promise<void> = Promise.resolve();
  readonly #unsubscribe: () => void;
  /** When the oldest unsent change was recorded. */
  #changedMs = 0;

  constructor(deps: {
    readonly channel: RpcChannel;
    readonly store: BlockStore;
    readonly world: World;
    readonly options: MasterLinkOptions;
    readonly onEvent: (event: MasterEvent) => void;
  }) {
    this.#channel = deps.channel;
    this.#store = deps.store;
    this.#world = deps.world;
    this.#options = deps.options;
    this.#onEvent = deps.onEvent;
    this.#pause = new Pause(deps.world.timers);
    this.#lastContactMs = deps.world.clock.monotonicMs();
    this.#unsubscribe = deps.store.onChange((change) => this.#record(change));
  }

  get address(): string {
    return this.#channel.address;
  }

  get state(): MasterState {
    return this.#state;
  }

  /** Null until the master gave one. */
  get workerId(): bigint | null {
    return this.#workerId;
  }

  /** When the master answered last, on the monotonic clock; the start for one that never did. */
  get lastContactMs(): number {
    return this.#lastContactMs;
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  /**
   * Resolves when the master answered a heartbeat sent after this call and knows the worker, or cannot be reached. A
   * master that was restarted does not know it at first.
   */
  async confirm(): Promise<void> {
    for (let turns = 0; turns < CONFIRM_TURNS_MAX && !this.#isStopped; turns++) {
      const next = new Promise<void>((resolve) => {
        this.#waiters.push({ turn: this.#turn + 1, resolve });
      });
      this.#pause.wake();
      await next;
      if (!this.#mustRegister) return;
    }
  }

  /**
   * Reports nothing more, and tells the master that this worker goes: then its blocks have no place there, at once. A
   * master that does not answer finds out by the silence.
   */
  async leave(): Promise<void> {
    this.#isStopped = true;
    this.#unsubscribe();
    this.#pause.end();
    if (this.#workerId === null) return;
    try {
      await this.#channel.unary(
        WorkerFarewell.methods.Leave,
        { workerId: this.#workerId },
        { deadlineMs: LEAVE_WITHIN_MS },
      );
    } catch (error) {
      if (!isRockpoolError(error)) throw error;
    }
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#unsubscribe();
    this.#pause.end();
    this.#channel.close();
    await this.#loop;
    await this.#removing;
  }

  #record({ kind, blockId }: BlockChange): void {
    if (!this.#hasSnapshot) return; // The registration to come tells all.
    if (this.#changeCount() === 0) {
      this.#changedMs = this.#world.clock.monotonicMs();
      this.#pause.wake(); // The loop looks again when it is due.
    }
    const [from, to] =
      kind === "added" ? [this.#removed, this.#added] : [this.#added, this.#removed];
    from.delete(blockId);
    to.add(blockId);
    if (this.#changeCount() <= CHANGES_MAX) return;
    this.#forgetChanges();
    this.#mustRegister = true;
  }

  #changeCount(): number {
    return this.#added.size + this.#removed.size;
  }

  #forgetChanges(): void {
    this.#hasSnapshot = false;
    this.#added = new Set();
    this.#removed = new Set();
  }

  async #run(): Promise<void> {
    let failures = 0;
    while (!this.#isStopped) {
      const turn = ++this.#turn;
      let backoffMs: number | null = null;
      try {
        await this.#exchange();
        failures = 0;
      } catch (error) {
        if (!isRockpoolError(error)) throw error;
        if (error.status === "NOT_FOUND" || error.status === "FAILED_PRECONDITION")
          this.#mustRegister = true; // Alluxio's words for a worker that the master does not know.
        if (!this.#isStopped) this.#lose(error.message);
        failures++;
        backoffMs = this.#backoffMs(failures);
      }
      this.#endTurn(turn);
      await this.#rest(backoffMs);
    }
    this.#endTurn(Infinity);
  }

  /** Until the next turn is due or somebody waits for one. What happens meanwhile wakes the pause, and may make it due earlier. */
  async #rest(backoffMs: number | null): Promise<void> {
    const { clock } = this.#world;
    const endedMs = clock.monotonicMs();
    while (!this.#isStopped && this.#waiters.length === 0) {
      const leftMs = this.#dueMs(endedMs, backoffMs) - clock.monotonicMs();
      if (leftMs <= 0) return;
      await this.#pause.wait(leftMs);
    }
  }

  /** A master that takes over must know the newest blocks; a dead one is not bothered ahead of its time. */
  #dueMs(endedMs: number, backoffMs: number | null): number {
    if (backoffMs !== null) return endedMs + backoffMs;
    if (this.#mustRegister || this.#changeCount() >= CHANGES_PER_HEARTBEAT) return endedMs;
    const heartbeatMs = endedMs + this.#options.heartbeatIntervalMs;
    if (this.#changeCount() === 0) return heartbeatMs;
    return Math.min(heartbeatMs, this.#changedMs + CHANGE_DELAY_MS);
  }

  async #exchange(): Promise<void> {
    if (this.#mustRegister) await this.#register();
    await this.#heartbeat();
    this.#lastContactMs = this.#world.clock.monotonicMs();
  }

  #endTurn(turn: number): void {
    const ended = this.#waiters.filter((waiter) => waiter.turn <= turn);
    this.#waiters = this.#waiters.filter((waiter) => waiter.turn > turn);
    for (const { resolve } of ended) resolve();
  }

  #lose(reason: string): void {
    if (this.#state === "registered")
      this.#onEvent({ kind: "masterLost", address: this.address, reason });
    this.#state = "connecting";
  }

  #backoffMs(failures: number): number {
    const base = Math.min(this.#options.heartbeatIntervalMs, BACKOFF_MAX_MS) / 4;
    const bound = Math.min(BACKOFF_MAX_MS, base * 2 ** Math.min(failures, 10));
    return (bound * (3 + this.#world.random.uint32() / 2 ** 32)) / 4;
  }

  async #register(): Promise<void> {
    const { workerId } = await this.#channel.unary(
      BlockMasterWorkerService.methods.GetWorkerId,
      { workerNetAddress: this.#options.address },
      { deadlineMs: CALL_DEADLINE_MS },
    );
    this.#state = "registering";
    this.#workerId = workerId ?? null;
    if (this.#isStopped) return; // it has said goodbye meanwhile
    // From here on changes are recorded: what the batches do not tell, the next heartbeat does.
    this.#forgetChanges();
    const blockIds = this.#store.blockIds();
    this.#hasSnapshot = true;
    try {
      await this.#sendRegistration(blockIds);
    } catch (error) {
      this.#forgetChanges();
      throw error;
    }
    this.#mustRegister = false;
    this.#state = "registered";
    this.#lastContactMs = this.#world.clock.monotonicMs();
    this.#onEvent({
      kind: "masterRegistered",
      address: this.address,
      blockCount: blockIds.length,
    });
  }

  async #sendRegistration(blockIds: readonly BlockId[]): Promise<void> {
    const call = await this.#channel.bidi(BlockMasterWorkerService.methods.RegisterWorkerStream, {
      deadlineMs: REGISTER_DEADLINE_MS,
    });
    let unacked = 0;
    const ack = async () => {
      const answer = await call.responses.next();
      if (answer.done === true) return false;
      unacked--;
      return true;
    };
    try {
      for (let at = 0; at === 0 || at < blockIds.length; at += REGISTER_BATCH) {
        const batch = this.#located(blockIds.slice(at, at + REGISTER_BATCH));
        const workerId = this.#workerId ?? undefined;
        call.send(
          at === 0
            ? { workerId, ...this.#registrationHead(), currentBlocks: batch }
            : { workerId, currentBlocks: batch },
        );
        unacked++;
        while (unacked >= UNACKED_MAX && (await ack()));
      }
      while (unacked > 0 && (await ack()));
      call.end();
      while (await ack());
    } catch (error) {
      call.cancel();
      throw error;
    }
  }

  #registrationHead() {
    const { tierAlias, capacityBytes, usedBytes } = this.#store;
    const { buildVersion, buildRevision, vcpuCount, configuration } = this.#options;
    return {
      storageTiers: [tierAlias],
      totalBytesOnTiers: new Map([[tierAlias, capacityBytes]]),
      usedBytesOnTiers: new Map([[tierAlias, usedBytes]]),
      lostStorage: this.#lostStorage(),
      options: {
        buildVersion: { version: buildVersion, revision: buildRevision },
        numVCpu: vcpuCount,
        configs: configuration,
        isDecommissioned: this.#options.isDecommissioned(),
      },
    };
  }

  #lostStorage() {
    const storage = this.#store.lostDirectories();
    return new Map(storage.length === 0 ? [] : [[this.#store.tierAlias, { storage }]]);
  }

  #located(blockIds: readonly BlockId[]) {
    const { tierAlias, mediumType } = this.#store;
    return [{ key: { tierAlias, mediumType }, value: { blockId: blockIds } }];
  }

  async #heartbeat(): Promise<void> {
    const added = take(this.#added, CHANGES_PER_HEARTBEAT);
    const removed = take(this.#removed, CHANGES_PER_HEARTBEAT);
    const { tierAlias, capacityBytes, usedBytes } = this.#store;
    try {
      const { command } = await this.#channel.unary(
        BlockMasterWorkerService.methods.BlockHeartbeat,
        {
          workerId: this.#workerId ?? undefined,
          usedBytesOnTiers: new Map([[tierAlias, usedBytes]]),
          removedBlockIds: removed,
          addedBlocks: added.length === 0 ? [] : this.#located(added),
          options: {
            capacityBytesOnTiers: new Map([[tierAlias, capacityBytes]]),
            metrics: this.#options.metrics?.(),
            isDecommissioned: this.#options.isDecommissioned(),
          },
          lostStorage: this.#lostStorage(),
        },
        { deadlineMs: CALL_DEADLINE_MS },
      );
      if (this.#state === "connecting") this.#state = "registered";
      this.#obey(command);
    } catch (error) {
      this.#putBack(added, removed);
      throw error;
    }
  }

  /** What changed meanwhile is newer than what could not be sent. */
  #putBack(added: readonly BlockId[], removed: readonly BlockId[]): void {
    if (!this.#hasSnapshot) return;
    for (const id of added) if (!this.#removed.has(id)) this.#added.add(id);
    for (const id of removed) if (!this.#added.has(id)) this.#removed.add(id);
  }

  #obey(command: Command | undefined): void {
    switch (command?.commandType) {
      case CommandType.Register:
        this.#mustRegister = true;
        this.#state = "registering";
        break;
      case CommandType.Free:
      case CommandType.Delete:
        this.#removeSoon(command.data as readonly BlockId[]); // the master's own ids
        break;
      default:
        break;
    }
  }

  #removeSoon(blockIds: readonly BlockId[]): void {
    this.#removing = this.#removing.then(async () => {
      for (const blockId of blockIds) {
        try {
          await this.#store.remove(blockId);
        } catch (error) {
          if (!isRockpoolError(error)) throw error;
          const reason = messageOf(error);
          this.#onEvent({ kind: "masterCommandFailed", address: this.address, reason });
        }
      }
    });
  }
}

/** Takes up to `count` ids out of a set. */
function take(ids: Set<BlockId>, count: number): BlockId[] {
  const taken: BlockId[] = [];
  for (const id of ids) {
    if (taken.length === count) break;
    taken.push(id);
    ids.delete(id);
  }
  return taken;
}
