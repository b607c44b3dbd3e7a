/**
 * Checksums of a file that a client process wrote by itself.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { BlockId } from "../common/ids.ts";
import { SLOT_BYTES } from "../common/limits.ts";
import type { Kernels } from "../kernels/kernels.ts";
import type { Slot, SlotPool } from "../kernels/slot_pool.ts";
import type { DiskFile } from "./disk.ts";
import type { PageChecksums } from "./page_checksums.ts";
import { PageChecksumBuilder } from "./page_checksums.ts";

type Piece = { readonly slot: Slot; readonly read: Promise<number> };

/**
 * Reads a whole file once, one piece from the disk while the one before is summed up. Holds one slot, and a second one
 * only while nobody else wants it.
 * @throws RockpoolError ABORTED when the file changes its length meanwhile: its client still writes
 */
export async function checksumsOfFile(
  blockId: BlockId,
  file: DiskFile,
  lengthBytes: number,
  deps: { readonly kernels: Kernels; readonly slots: SlotPool },
): Promise<PageChecksums> {
  const { kernels, slots } = deps;
  const builder = new PageChecksumBuilder(kernels);
  const held = new Set<Slot>();
  const begin = (slot: Slot, at: number): Piece => {
    held.add(slot);
    const wanted = Math.min(SLOT_BYTES, lengthBytes - at);
    const read = file.read(slot.bytes.subarray(0, wanted), at);
    read.catch(() => {}); // whoever waits for the piece sees the error
    return { slot, read };
  };
  let piece: Piece | null = null;
  let next: Piece | null = null;
  try {
    while (builder.lengthBytes < lengthBytes) {
      const at = builder.lengthBytes;
      piece ??= begin(await slots.whenFree(), at);
      const nextAt = at + SLOT_BYTES;
      const spare = nextAt < lengthBytes ? slots.take() : null;
      next = spare === null ? null : begin(spare, nextAt);
      const got = await piece.read;
      if (got < Math.min(SLOT_BYTES, lengthBytes - at)) throw changed(blockId, at + got);
      builder.append(piece.slot.offsetBytes, got);
      held.delete(piece.slot);
      slots.release(piece.slot);
      piece = next;
      next = null;
    }
    const after = await file.lengthBytes();
    if (after !== lengthBytes) throw changed(blockId, after);
    return builder.finish(blockId);
  } finally {
    await Promise.allSettled([piece?.read, next?.read]);
    for (const slot of held) slots.release(slot);
  }
}

function changed(blockId: BlockId, lengthBytes: number): RockpoolError {
  return new RockpoolError(
    "ABORTED",
    `The file of block ${blockId} was changed while it was committed: it has ${lengthBytes} bytes now`,
    "Write the file again, and close it before the block is committed",
  );
}
