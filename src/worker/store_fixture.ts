/**
 * What the tests of the block store stand on: a store in a temporary folder, whose time stands still, and blocks in it.
 * @module
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BlockId } from "../common/ids.ts";
import { blockIdOf } from "../common/ids.ts";
import { SLOT_BYTES } from "../common/limits.ts";
import { openKernels } from "../kernels/load.ts";
import { arenaBytesOf, SlotPool } from "../kernels/slot_pool.ts";
import { nodeWorld } from "../world/node_world.ts";
import { BlockStore } from "./block_store.ts";
import type { Disk } from "./disk.ts";
import { nodeDisk } from "./disk.ts";
import type { FileStatePort } from "./file_states.ts";
import type { BlockStoreEvent } from "./worker_api.ts";

export const kernels = openKernels({ flavour: "wasm", arenaBytes: arenaBytesOf(3) });
export const slots = new SlotPool(kernels);
export const id = (container: number, sequence = 0): BlockId =>
  blockIdOf(BigInt(container), sequence);
export const quotaBytes = 8 * SLOT_BYTES;
export const allSafe: FileStatePort = { ask: async (blocks) => blocks.map(() => "safe") };

export type Folder = { readonly path: string; readonly events: BlockStoreEvent[]; nowMs: number };

export async function inFolder(work: (folder: Folder) => Promise<void>): Promise<void> {
  const path = await mkdtemp(join(tmpdir(), "rockpool-blocks-"));
  try {
    await work({ path, events: [], nowMs: 1 });
    assert.equal(slots.freeCount, slots.slotCount, "every slot is free after the test");
  } finally {
    await rm(path, { recursive: true, force: true });
  }
}

export function open(
  folder: Folder,
  disk: Disk = nodeDisk(),
  quota = quotaBytes,
  isSynced = false,
  files: FileStatePort = allSafe,
): Promise<BlockStore> {
  return BlockStore.open({
    options: {
      tier: {
        alias: "MEM",
        mediumType: "MEM",
        directories: [{ path: join(folder.path, "alluxioworker"), quotaBytes: quota }],
      },
      isSynced,
    },
    disk,
    kernels,
    slots,
    files,
    clock: { monotonicMs: () => folder.nowMs, wallMs: () => 0 },
    timers: nodeWorld().timers,
    onEvent: (event) => folder.events.push(event),
  });
}

export function pattern(lengthBytes: number, seed: number): Buffer {
  const bytes = Buffer.allocUnsafe(lengthBytes);
  for (let i = 0; i < lengthBytes; i++) bytes[i] = (i >> 8) ^ (i * seed);
  return bytes;
}

export async function write(
  store: BlockStore,
  block: BlockId,
  bytes: Uint8Array,
  isPinned = false,
  reserveBytes = 1,
) {
  const writer = await store.createWriter(block, { reserveBytes, isPinned });
  try {
    await writer.append(bytes);
    await writer.commit();
  } finally {
    await writer.abort();
  }
}

export async function read(
  store: BlockStore,
  block: BlockId,
  from = 0,
  to = Infinity,
): Promise<Buffer> {
  const reader = await store.openReader(block);
  assert.ok(reader !== null, `block ${block} is here`);
  const slot = await slots.whenFree();
  try {
    const pieces: Buffer[] = [];
    for (let at = from; at < Math.min(to, reader.lengthBytes); ) {
      const piece = await reader.read(slot, at, Math.min(to, reader.lengthBytes) - at);
      assert.ok(piece.length > 0);
      pieces.push(Buffer.from(piece));
      at += piece.length;
    }
    return Buffer.concat(pieces);
  } finally {
    slots.release(slot);
    await reader.close();
  }
}

export const dataFile = (folder: Folder, block: BlockId) =>
  join(folder.path, "alluxioworker", `${block}`);
export const sideFile = (folder: Folder, block: BlockId) =>
  join(folder.path, "alluxioworker", "checksums", `${block}`);
export const listing = (folder: Folder, ...names: string[]) =>
  readdirSync(join(folder.path, "alluxioworker", ...names));
