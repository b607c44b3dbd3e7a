/**
 * Slots: pieces of kernel memory of one size, through which the bytes of blocks pass. Reads, writes
 * and checksums work in place on them, so nothing is allocated or copied per chunk.
 *
 *     arena:  | headroom 64 B | SLOT_BYTES | headroom 64 B | SLOT_BYTES | …
 *                             ^ Slot.offsetBytes (a multiple of 64)
 *
 * The headroom takes a message's frame, so that frame and bytes leave in one piece. A slot belongs to
 * who took it until `release`; release it only after the write that uses it has called back.
 * Fair: who waits gets the next free slot, in order of asking.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import { invariant } from "../common/invariant.ts";
import { SLOT_BYTES } from "../common/limits.ts";
import type { Kernels } from "./kernels.ts";

/** Room for any header of ours and of gRPC, and a cache line, so that slots stay aligned. */
export const SLOT_HEADROOM_BYTES = 64;
const STRIDE_BYTES = SLOT_HEADROOM_BYTES + SLOT_BYTES;
/** Who waits holds a stream open; more streams than this are refused. */
const WAITERS_MAX = 4096;

export type Slot = {
  readonly index: number;
  /** Where `bytes` begins in kernel memory, for the `…InMemory` kernels. */
  readonly offsetBytes: number;
  /** View of the slot's SLOT_BYTES; always the same object. */
  readonly bytes: Buffer;
  /** View of headroom and bytes: index SLOT_HEADROOM_BYTES here is index 0 of `bytes`. */
  readonly withHeadroom: Buffer;
};

/** Arena size that holds `slotCount` slots, for `openKernels`. */
export function arenaBytesOf(slotCount: number): number {
  return slotCount * STRIDE_BYTES;
}

type Waiter = { readonly give: (slot: Slot) => void };

export class SlotPool {
  readonly slotCount: number;
  readonly #slots: readonly Slot[];
  /** Last released first: its memory is warm. */
  readonly #free: Slot[];
  readonly #isTaken: boolean[];
  /** Insertion order is the order of asking; a Set, so that giving up is cheap. */
  readonly #waiters = new Set<Waiter>();

  /** Takes the whole arena, or its first `slotCount` slots. */
  constructor(kernels: Kernels, slotCount = Math.floor(kernels.arenaBytes / STRIDE_BYTES)) {
    invariant(slotCount > 0, "a pool has a slot");
    invariant(arenaBytesOf(slotCount) <= kernels.arenaBytes, "the slots fit in the arena");
    invariant(kernels.arenaOffset % 64 === 0, "the arena is aligned");
    this.slotCount = slotCount;
    this.#slots = Array.from({ length: slotCount }, (_, index) => slotOf(kernels, index));
    this.#free = this.#slots.toReversed();
    this.#isTaken = new Array<boolean>(slotCount).fill(false);
  }

  get freeCount(): number {
    return this.#free.length;
  }

  get waiterCount(): number {
    return this.#waiters.size;
  }

  /** A slot now, or null when all are taken. */
  take(): Slot | null {
    const slot = this.#free.pop();
    if (slot === undefined) return null;
    invariant(this.#isTaken[slot.index] === false, "a free slot is not taken");
    this.#isTaken[slot.index] = true;
    return slot;
  }

  /**
   * A slot as soon as one is free; it is taken for the caller, as by `take`.
   * @throws RockpoolError RESOURCE_EXHAUSTED when too many wait; the signal's reason when it aborts first
   */
  whenFree(signal?: AbortSignal): Promise<Slot> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const slot = this.take();
    if (slot !== null) return Promise.resolve(slot);
    if (this.#waiters.size >= WAITERS_MAX) {
      const message = `Cannot wait for one of ${this.slotCount} I/O slots: ${WAITERS_MAX} streams wait already`;
      return Promise.reject(
        new RockpoolError(
          "RESOURCE_EXHAUSTED",
          message,
          "Retry later, or raise the count of I/O slots",
        ),
      );
    }
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiters.delete(waiter);
        reject(signal?.reason);
      };
      const waiter: Waiter = {
        give: (given) => {
          signal?.removeEventListener("abort", onAbort);
          resolve(given);
        },
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#waiters.add(waiter);
    });
  }

  /** Gives a slot back, or on to who waits longest. */
  release(slot: Slot): void {
    invariant(this.#slots[slot.index] === slot, "a slot returns to its own pool");
    invariant(this.#isTaken[slot.index] === true, "a slot is released once");
    const [next] = this.#waiters;
    if (next !== undefined) {
      this.#waiters.delete(next);
      next.give(slot);
      return;
    }
    this.#isTaken[slot.index] = false;
    this.#free.push(slot);
  }
}

function slotOf(kernels: Kernels, index: number): Slot {
  const headroomOffset = kernels.arenaOffset + index * STRIDE_BYTES;
  const { buffer, byteOffset } = kernels.memory;
  const withHeadroom = Buffer.from(buffer, byteOffset + headroomOffset, STRIDE_BYTES);
  return {
    index,
    offsetBytes: headroomOffset + SLOT_HEADROOM_BYTES,
    bytes: withHeadroom.subarray(SLOT_HEADROOM_BYTES),
    withHeadroom,
  };
}
