/**
 * Which worker takes a new block, and which ones a block is read from, in order.
 * Pure: chance is an argument. The rules are Alluxio's LocalFirstPolicy, and for under store reads of
 * a client without a local worker a choice by hash, so that all clients fill one cache, not many.
 * @module
 */

import type { WorkerNetAddress } from "../common/file_facts.ts";
import type { Random } from "../world/ports.ts";

export type WorkerView = {
  readonly id: bigint;
  readonly address: WorkerNetAddress;
  readonly isLive: boolean;
  readonly capacityBytes: number;
  readonly usedBytes: number;
};

/** Where a client sees itself: any of these names is "here". */
export type Locality = ReadonlySet<string>;

/** One name for a worker in sets and messages. */
export function addressKey(address: WorkerNetAddress): string {
  return `${connectHost(address)}:${address.dataPort}`;
}

/** Where to connect: the container's name when the worker runs in one. */
export function connectHost(address: WorkerNetAddress): string {
  return address.containerHost === "" ? address.host : address.containerHost;
}

export function isLocal(address: WorkerNetAddress, here: Locality): boolean {
  if (here.has(address.host)) return true;
  return address.tiers.some((tier) => tier.name === "node" && here.has(tier.value));
}

function pick<T>(items: readonly T[], random: Random): T | null {
  if (items.length === 0) return null;
  return items[random.uint32() % items.length] ?? null;
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const mixed = [...items];
  for (let last = mixed.length - 1; last > 0; last--) {
    const other = random.uint32() % (last + 1);
    const held = mixed[last] as T; // both indices are below the length
    mixed[last] = mixed[other] as T;
    mixed[other] = held;
  }
  return mixed;
}

/**
 * The worker for a new block: a local one that can hold it, else any that can.
 * @param failed keys of workers that this writer found dead or full
 * @returns null when no live worker's storage is as large as a block
 */
export function workerForWrite(
  workers: readonly WorkerView[],
  here: Locality,
  need: {
    readonly blockSizeBytes: number;
    readonly failed: ReadonlySet<string>;
    readonly random: Random;
  },
): WorkerView | null {
  const able = workers.filter(
    (worker) =>
      worker.isLive &&
      worker.capacityBytes >= need.blockSizeBytes &&
      !need.failed.has(addressKey(worker.address)),
  );
  const local = able.filter((worker) => isLocal(worker.address, here));
  return pick(local.length > 0 ? local : able, need.random);
}

/** A worker to read a block from. `isHolder`: it has the block; else it would read the under store. */
export type ReadSource = {
  readonly address: WorkerNetAddress;
  readonly isHolder: boolean;
  readonly isLocal: boolean;
};

/**
 * Workers to read a block from, best first: local holders, other holders in random order, and when
 * the under store has the bytes, workers that can fetch them: local ones, then the others starting
 * with the one that the block's id falls on.
 */
export function readSources(
  block: { readonly id: bigint; readonly holders: readonly WorkerNetAddress[] },
  choice: {
    readonly workers: readonly WorkerView[];
    readonly here: Locality;
    readonly isInUfs: boolean;
    readonly random: Random;
  },
): readonly ReadSource[] {
  const { here } = choice;
  const holders = shuffled(block.holders, choice.random).map((address) => ({
    address,
    isHolder: true,
    isLocal: isLocal(address, here),
  }));
  const sources: ReadSource[] = [
    ...holders.filter(isHere),
    ...holders.filter((one) => !isHere(one)),
  ];
  if (!choice.isInUfs) return sources;
  const held = new Set(sources.map((source) => addressKey(source.address)));
  const others = choice.workers
    .filter((worker) => worker.isLive && !held.has(addressKey(worker.address)))
    .map(({ address }) => ({ address, isHolder: false, isLocal: isLocal(address, here) }))
    .sort((a, b) => (addressKey(a.address) < addressKey(b.address) ? -1 : 1));
  const remote = others.filter((one) => !isHere(one));
  const first = remote.length === 0 ? 0 : Number(mixBits(block.id) % BigInt(remote.length));
  return [...sources, ...others.filter(isHere), ...remote.slice(first), ...remote.slice(0, first)];
}

function isHere(source: ReadSource): boolean {
  return source.isLocal;
}

/** Spreads neighbouring ids (SplitMix64's finaliser). */
function mixBits(value: bigint): bigint {
  let bits = BigInt.asUintN(64, value);
  bits = BigInt.asUintN(64, (bits ^ (bits >> 30n)) * 0xbf58476d1ce4e5b9n);
  bits = BigInt.asUintN(64, (bits ^ (bits >> 27n)) * 0x94d049bb133111ebn);
  return bits ^ (bits >> 31n);
}
