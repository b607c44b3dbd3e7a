/**
 * The search for room in a full tier: which blocks may go is asked of the master until there is room or nobody left to ask.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { BlockId } from "../common/ids.ts";
import type { Clock } from "../world/ports.ts";
import type { FileStatePort } from "./file_states.ts";
import { NEEDED_TTL_MS } from "./file_states.ts";
import type { BlockEntry, TierBooks } from "./tier.ts";

export class RoomSearch {
  readonly #books: TierBooks;
  readonly #files: FileStatePort;
  readonly #clock: Clock;
  /** Each block is asked about once in a search, so that it ends. */
  #askBeforeMs: number;
  #isAnswered = true;

  constructor(books: TierBooks, files: FileStatePort, clock: Clock) {
    this.#books = books;
    this.#files = files;
    this.#clock = clock;
    this.#askBeforeMs = clock.monotonicMs() - NEEDED_TTL_MS;
  }

  /** What the books may ask about. */
  get askBeforeMs(): number {
    return this.#askBeforeMs;
  }

  /** False when nobody answered. */
  get isAnswered(): boolean {
    return this.#isAnswered;
  }

  /** Finds out about blocks, and tells the books. */
  async ask(blocks: readonly BlockEntry[]): Promise<void> {
    const states = await this.#files.ask(blocks.map(({ id }) => id));
    const nowMs = this.#clock.monotonicMs();
    for (const [at, block] of blocks.entries()) {
      const state = states[at] ?? "unknown";
      if (state === "safe") this.#books.noteExpendable(block);
      else if (state === "needed") this.#books.noteNeeded(block, nowMs);
      else {
        this.#isAnswered = false;
        this.#askBeforeMs = -Infinity;
      }
    }
  }
}

/** The refusal, which says what takes the room. */
export function noRoom(
  wish: { readonly blockId: BlockId; readonly bytes: number },
  tier: { readonly alias: string; readonly directoryCount: number; readonly books: TierBooks },
  search: { readonly nowMs: number; readonly isAnswered: boolean },
): RockpoolError {
  const { usedBytes, capacityBytes } = tier.books;
  const usage = tier.books.usage(search.nowMs);
  const causes = [
    `${usage.neededBytes} bytes are held by files that are not persisted`,
    ...(usage.undecidedBytes === 0
      ? []
      : [
          `${usage.undecidedBytes} bytes by files that ${search.isAnswered ? "were not looked at" : "no master could be asked about"}`,
        ]),
    ...(usage.pinnedBytes === 0 ? [] : [`${usage.pinnedBytes} bytes by pinned files`]),
    ...(usage.usedBytes === 0 ? [] : [`${usage.usedBytes} bytes are being read`]),
  ];
  const remedy =
    "Persist, unpin or delete files, or raise alluxio.worker.ramdisk.size (the quota of the tier)";
  // Clients show their users nothing but the message.
  return new RockpoolError(
    "RESOURCE_EXHAUSTED",
    `Cannot reserve ${wish.bytes} bytes for block ${wish.blockId} in tier ${tier.alias} ` +
      `(${usedBytes} of ${capacityBytes} bytes used in ${tier.directoryCount} directories): ` +
      `${causes.join(", ")}. ${remedy}`,
    remedy,
  );
}
