/**
 * A block's bytes together with the checksums that are kept beside them, for those who pass both on.
 * @module
 */
import type { BlockId } from "../common/ids.ts";
import { PAGE_BYTES, SLOT_BYTES } from "../common/limits.ts";
import type { Kernels } from "../kernels/kernels.ts";
import type { SlotPool } from "../kernels/slot_pool.ts";
import type { BlockStore } from "./block_store.ts";

/** Verified bytes, the caller's own; `sums` cover them in order. */
export type VerifiedPiece = {
  readonly bytes: Buffer;
  readonly sums: readonly { readonly lengthBytes: number; readonly crc: number }[];
};

export type VerifiedBlock = {
  readonly lengthBytes: number;
  /** Lets the block go when it ends, however it ends. To be iterated once, from its beginning on. */
  pieces(startBytes: number, endBytes: number): AsyncGenerator<VerifiedPiece, void, undefined>;
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
    const sums: { lengthBytes: number; crc: number }[] = [];
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
  const read = async (at: number, endBytes: number): Promise<VerifiedPiece> => {
    const slot = slots.take() ?? (await slots.whenFree());
    try {
      const view = await reader.read(slot, at, Math.min(SLOT_BYTES, endBytes - at));
      return { bytes: Buffer.from(view), sums: sumsOf(view, at) };
    } finally {
      slots.release(slot);
    }
  };
  return {
    lengthBytes: reader.lengthBytes,
    async *pieces(startBytes, endBytes) {
      try {
        for (let at = startBytes; at < Math.min(endBytes, reader.lengthBytes); ) {
          const piece = await read(at, endBytes);
          yield piece;
          at += piece.bytes.length;
        }
      } finally {
        await reader.close();
      }
    },
    close: () => reader.close(),
  };
}
