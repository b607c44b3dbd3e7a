/**
 * The search for room in a full tier: which blocks may go is asked of the master until there is room or nobody left to ask.
 *
 * A writer may wait for room while files of the tier are on their way to the under store, as all are that clients write with
 * Alluxio's default: as long as some of them arrive, and not beyond what clients wait for a worker.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { BlockId } from "../common/ids.ts";
import type { Clock, Timers } from "../world/ports.ts";
import type { FileStatePort } from "./file_states.ts";
import { NEEDED_TTL_MS, PERSISTING_TTL_MS } from "./file_states.ts";
import type { BlockEntry, Placement, Questions, TierBooks } from "./tier.ts";

/** Clients give a stream that stands still up after 30 s. */
const WAIT_MAX_MS = 25_000;
/** Without one block's arrival in the under store for so long, nobody waits. */
const STANDSTILL_MS = 15_000;
/** The list of pinned files follows an arrival within this. */
const SETTLE_MS = 3_000;
const LOOK_INTERVAL_MS = 250;

export type RoomWish = {
  readonly blockId: BlockId;
  readonly bytes: number;
  /** The writer would wait for room, until this fires; one that would not has none. */
  readonly waitSignal: AbortSignal | undefined;
};

/** Finds room for writers, one wish after the other or many at a time. */
export class RoomMaker {
  readonly #tier: {
    readonly alias: string;
    readonly directoryCount: number;
    readonly books: TierBooks;
  };
  readonly #files: FileStatePort;
  readonly #clock: Clock;
  readonly #timers: Timers;
  #progressAtMs = -Infinity;

  constructor(deps: {
    readonly tier: {
      readonly alias: string;
      readonly directoryCount: number;
      readonly books: TierBooks;
    };
    readonly files: FileStatePort;
    readonly clock: Clock;
    readonly timers: Timers;
  }) {
    this.#tier = deps.tier;
    this.#files = deps.files;
    this.#clock = deps.clock;
    this.#timers = deps.timers;
  }

  /** Another file of the tier is in the under store. */
  noteProgress(): void {
    this.#progressAtMs = this.#clock.monotonicMs();
  }

  newSearch(): RoomSearch {
    return new RoomSearch(this.#tier.books, this.#files, this.#clock, () => this.noteProgress());
  }

  /**
   * @param charge asks the books
   * @param take called at once when they have charged the room
   * @returns the directory
   * @throws RockpoolError RESOURCE_EXHAUSTED; CANCELLED when the signal fires
   */
  async make(
    wish: RoomWish,
    charge: (nowMs: number, askBeforeMs: number) => Placement | Questions | null,
    take: (placement: Placement) => Promise<void>,
  ): Promise<number> {
    const beganMs = this.#clock.monotonicMs();
    let search = this.newSearch();
    for (let isWaiting = false; ; ) {
      const nowMs = this.#clock.monotonicMs();
      const outcome = charge(nowMs, search.askBeforeMs);
      if (outcome?.kind === "asking") await search.ask(outcome.blocks);
      else if (outcome !== null) {
        await take(outcome);
        return outcome.directory;
      } else {
        if (!(await this.#mayComeFree(wish, beganMs, isWaiting)))
          throw noRoom(wish, this.#tier, { nowMs, isAnswered: search.isAnswered });
        isWaiting = true;
        await this.#pause(wish);
        search = this.newSearch();
      }
    }
  }

  async #mayComeFree(wish: RoomWish, beganMs: number, isWaiting: boolean): Promise<boolean> {
    const { books } = this.#tier;
    const nowMs = this.#clock.monotonicMs();
    if (wish.waitSignal === undefined || !books.canEverHold(wish.bytes)) return false;
    if (nowMs - beganMs >= WAIT_MAX_MS) return false;
    if (nowMs - Math.max(beganMs, this.#progressAtMs) >= STANDSTILL_MS) return false;
    const blocks = books.kept(nowMs);
    let mayComeFree = isWaiting && nowMs - this.#progressAtMs < SETTLE_MS;
    for (const [at, state] of (await this.#files.ask(blocks.map(({ id }) => id))).entries()) {
      const block = blocks[at];
      if (state === "safe" && block !== undefined) {
        books.noteExpendable(block);
        this.noteProgress();
      }
      // A leader that is being elected does not end a wait that had a reason.
      if (state === "unknown" ? isWaiting : state !== "needed") mayComeFree = true;
    }
    return mayComeFree;
  }

  async #pause({ blockId, waitSignal }: RoomWish): Promise<void> {
    const isAborted = () => waitSignal?.aborted === true;
    if (!isAborted())
      await new Promise<void>((resolve) => {
        const settle = () => {
          timer.cancel();
          waitSignal?.removeEventListener("abort", settle);
          resolve();
        };
        const timer = this.#timers.after(LOOK_INTERVAL_MS, settle);
        waitSignal?.addEventListener("abort", settle);
      });
    if (isAborted()) throw new RockpoolError("CANCELLED", `Writing block ${blockId} was given up`);
  }
}

export class RoomSearch {
  readonly #books: TierBooks;
  readonly #files: FileStatePort;
  readonly #clock: Clock;
  readonly #onSafe: () => void;
  /** Each block is asked about once in a search, so that it ends. */
  #askBeforeMs: number;
  #isAnswered = true;

  constructor(books: TierBooks, files: FileStatePort, clock: Clock, onSafe: () => void) {
    this.#books = books;
    this.#files = files;
    this.#clock = clock;
    this.#onSafe = onSafe;
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
      if (state === "safe") {
        this.#books.noteExpendable(block);
        this.#onSafe();
      } else if (state === "persisting")
        this.#books.noteNeeded(block, nowMs - NEEDED_TTL_MS + PERSISTING_TTL_MS);
      else if (state === "needed") this.#books.noteNeeded(block, nowMs);
      else {
        this.#isAnswered = false;
        this.#askBeforeMs = -Infinity;
      }
    }
  }
}

/** The refusal, which says what takes the room. */
function noRoom(
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
