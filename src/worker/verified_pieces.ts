/**
 * A block's bytes together with the checksums that are kept beside them, for those who pass both on.
 * @module
 */
import type { BlockId } from "../common/ids.ts";
import { PAGE_BYTES, SLOT_BYTES } from "../common/limits.ts";
import type { Kernels } from "../kernels/kernels.ts";
import type { SlotPool } from "../kernels/slot_pool.ts";
import type { BlockStore } from "./block_store.ts";

/** Verified bytes, valid until what takes them returns; `sums` cover them in order. */
export type VerifiedPiece = {
  readonly bytes: Uint8Array;
  readonly sums: readonly Sum[];
};
type Sum = { readonly lengthBytes: number; readonly crc: number };

export type VerifiedBlock = {
  readonly lengthBytes: number;
  /** Lets the block go when it ends, however it ends. To be iterated once. @param take makes of a piece what is given */
  pieces(
    startBytes: number,
    endBytes: number,
    take: (piece: VerifiedPiece) => Buffer,
  ): AsyncGenerator<Buffer, void, undefined>;
  /** For those who do not iterate. */
  close(): Promise<void>;
};

/** Null when the block is not here. @throws RockpoolError DATA_LOSS when it is damaged, here or while it is read */
export async function openVerifiedBlock(
  blockId: BlockId,
  deps: { readonly store: BlockStore; readonly slots: SlotPool; readonly kernels: Kernels },
): Promise<VerifiedBlock | null> {
  const { store, slots, kernels } = deps;
  const reader = await store.openReader(blockId);
  if (reader === null) return null;
  const sumsOf = (bytes: Uint8Array, positionBytes: number) => {
    const sums: Sum[] = [];
    for (let at = 0; at < bytes.length; ) {
      const position = positionBytes + at;
      const page = Math.floor(position / PAGE_BYTES);
      const pageEnd = Math.min((page + 1) * PAGE_BYTES, reader.lengthBytes);
      const lengthBytes = Math.min(bytes.length - at, pageEnd - position);
      const isWhole = position === page * PAGE_BYTES && position + lengthBytes === pageEnd;
      const piece = bytes.subarray(at, at + lengthBytes);
      const crc = isWhole ? reader.pageCrc(page) : kernels.crc32c(piece);
      sums.push({ lengthBytes, crc });
      at += lengthBytes;
    }
    return sums;
  };
  // A slot is held only while the disk reads into it, and never while somebody takes their time.
  const read = async (at: number, endBytes: number) => {
    const slot = slots.take() ?? (await slots.whenFree());
    try {
      const bytes = await reader.read(slot, at, Math.min(SLOT_BYTES, endBytes - at));
      return { slot, bytes };
    } catch (error) {
      slots.release(slot);
      throw error;
    }
  };
  return {
    lengthBytes: reader.lengthBytes,
    async *pieces(startBytes, wantedEndBytes, take) {
      const endBytes = Math.min(wantedEndBytes, reader.lengthBytes);
      try {
        for (let at = startBytes; at < endBytes; ) {
          const { slot, bytes } = await read(at, endBytes);
          let taken: Buffer;
          try {
            taken = take({ bytes, sums: sumsOf(bytes, at) });
            at += bytes.length;
          } finally {
            slots.release(slot);
          }
          yield taken;
        }
      } finally {
        await reader.close();
      }
    },
    close: () => reader.close(),
  };
}
