/**
 * Where the masters are, for those who are none: asked once, or watched.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { World } from "../world/ports.ts";
import { Bell } from "./bell.ts";
import { type MasterPaths, type MastersFound, readMasters } from "./masters.ts";
import { Pauses } from "./pauses.ts";
import { isZooKeeperError } from "./protocol.ts";
import { ZooKeeper } from "./zookeeper.ts";

export type InquiryOptions = MasterPaths & {
  /** "host1:2181,host2:2181/chroot" */
  readonly connect: string;
  /** How long ZooKeeper may be silent. */
  readonly timeoutMs: number;
  /** How often it is asked, a second apart, while no master stands there. */
  readonly tries: number;
  readonly world: World;
};

const TRY_PAUSE_MS = 1000;
/** A session that is watched: long enough for a server that fails, short enough to notice one that is stopped. */
const WATCH_SESSION_MS = 15_000;
const PAUSE_MIN_MS = 100;
const PAUSE_MAX_MS = 10_000;

/**
 * A session of its own for each question: it holds nothing.
 * @throws RockpoolError UNAVAILABLE when ZooKeeper does not answer, or knows no master
 */
export async function inquireMasters(options: InquiryOptions): Promise<MastersFound> {
  const { connect, timeoutMs, tries, world, electionPath } = options;
  const keeper = new ZooKeeper({ connect, sessionTimeoutMs: timeoutMs, world });
  try {
    for (let tried = 1; ; tried++) {
      const found = await readMasters(keeper, options);
      if (found.masters.length > 0) return found;
      if (tried >= tries)
        throw new RockpoolError(
          "UNAVAILABLE",
          `No master stands in ZooKeeper (${connect}) below ${electionPath}`,
          "Start the masters with the same alluxio.zookeeper.address and alluxio.zookeeper.election.path",
        );
      await new Promise<void>((resolve) => world.timers.after(TRY_PAUSE_MS, resolve));
    }
  } catch (error) {
    if (!isZooKeeperError(error, "CONNECTIONLOSS", "SESSIONEXPIRED")) throw error;
    throw new RockpoolError(
      "UNAVAILABLE",
      `ZooKeeper (${connect}) does not say where the masters are: ${error.message}`,
      "Check alluxio.zookeeper.address, and that a majority of its servers runs",
      { cause: error },
    );
  } finally {
    void keeper.close();
  }
}

/** Tells of the masters at first, and again whenever one comes, goes or leads. Goes on through lost sessions until it is closed. */
export class MasterWatch {
  readonly #options: Omit<InquiryOptions, "tries" | "timeoutMs">;
  readonly #onMasters: (masters: readonly string[]) => void;
  #keeper: ZooKeeper | null = null;
  #bell = new Bell();
  readonly #pauses: Pauses;
  #isClosed = false;
  readonly #run: Promise<void>;
  /** Why there is nothing new; "" when all is well. */
  #trouble = "not asked yet";

  constructor(
    options: Omit<InquiryOptions, "tries" | "timeoutMs">,
    onMasters: (masters: readonly string[]) => void,
  ) {
    this.#options = options;
    this.#onMasters = onMasters;
    this.#pauses = new Pauses(options.world);
    this.#run = this.#stay();
  }

  get trouble(): string {
    return this.#trouble;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#keeper?.close();
    this.#bell.ring();
    this.#pauses.end();
    await this.#run;
  }

  async #stay(): Promise<void> {
    let pauseMs = PAUSE_MIN_MS;
    while (!this.#isClosed) {
      const { connect, world } = this.#options;
      const bell = new Bell();
      this.#bell = bell;
      const keeper = new ZooKeeper({
        connect,
        sessionTimeoutMs: WATCH_SESSION_MS,
        world,
        onState: bell.ring,
      });
      this.#keeper = keeper;
      while (!this.#isClosed && (keeper.state === "connected" || keeper.state === "connecting"))
        try {
          bell.reset();
          const { masters } = await readMasters(keeper, this.#options, bell.ring);
          this.#trouble = "";
          pauseMs = PAUSE_MIN_MS;
          this.#onMasters(masters);
          await bell.rung();
        } catch (error) {
          if (!(error instanceof RockpoolError)) throw error;
          this.#trouble = error.message;
          pauseMs = await this.#rest(pauseMs);
        }
      await keeper.close();
      if (!this.#isClosed) pauseMs = await this.#rest(pauseMs);
    }
  }

  /** @returns the next pause */
  async #rest(pauseMs: number): Promise<number> {
    await this.#pauses.about(pauseMs);
    return Math.min(2 * pauseMs, PAUSE_MAX_MS);
  }
}
