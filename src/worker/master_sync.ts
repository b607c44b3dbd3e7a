/**
 * Keeps all masters informed: a link to each, the pin list from the leader, and a watch over silence.
 *
 * Standby masters know the worker and its blocks as the leader does, so a new leader serves reads at once.
 * The worker goes on serving when no master answers, and never ends because of it. Masters may join while it runs. One that
 * goes is held on to while it answers: who says that it went may be mistaken.
 * @module
 */
import { isRockpoolError } from "../common/errors.ts";
import type { World } from "../world/ports.ts";
import type { BlockStore } from "./block_store.ts";
import type { Leader } from "./leader.ts";
import type { MasterLink } from "./master_link.ts";
import { Pause } from "./pause.ts";
import type { MasterEvent, MasterState } from "./worker_api.ts";

export type MasterAddress = { readonly host: string; readonly port: number };

export type MasterStatus = {
  readonly address: string;
  readonly state: MasterState;
  readonly lastContactAgoMs: number;
};

/** A leader that has answered no question for so many intervals between two is taken to be none. */
const LED_INTERVALS = 3;

export class MasterSync {
  /** By "host port". */
  readonly #links = new Map<string, MasterLink>();
  readonly #linkTo: (address: MasterAddress) => MasterLink;
  #wanted = new Set<string>();
  readonly #leader: Leader;
  readonly #store: BlockStore;
  readonly #world: World;
  readonly #options: { readonly pinIntervalMs: number; readonly silenceMs: number };
  readonly #onEvent: (event: MasterEvent) => void;
  readonly #pause: Pause;
  #isStarted = false;
  #isStopped = false;
  #isSilent = false;
  readonly #startedMs: number;
  #ledAtMs = -Infinity;
  #loop: Promise<void> | null = null;

  constructor(deps: {
    readonly masters: readonly MasterAddress[];
    readonly linkTo: (address: MasterAddress) => MasterLink;
    readonly leader: Leader;
    readonly store: BlockStore;
    readonly world: World;
    readonly options: { readonly pinIntervalMs: number; readonly silenceMs: number };
    readonly onEvent: (event: MasterEvent) => void;
  }) {
    this.#linkTo = deps.linkTo;
    this.#startedMs = deps.world.clock.monotonicMs();
    this.#leader = deps.leader;
    this.#store = deps.store;
    this.#world = deps.world;
    this.#options = deps.options;
    this.#onEvent = deps.onEvent;
    this.#pause = new Pause(deps.world.timers);
    this.setMasters(deps.masters);
  }

  start(): void {
    this.#isStarted = true;
    for (const link of this.#links.values()) link.start();
    this.#loop ??= this.#run();
  }

  /** All masters there are now. None: nobody knows, and those of before stay. */
  setMasters(masters: readonly MasterAddress[]): void {
    if (this.#isStopped || masters.length === 0) return;
    this.#wanted = new Set(masters.map(placeOf));
    for (const address of masters) {
      const place = placeOf(address);
      if (this.#links.has(place)) continue;
      const link = this.#linkTo(address);
      this.#links.set(place, link);
      if (this.#isStarted) link.start();
    }
  }

  #dropThoseGone(): void {
    for (const [place, link] of this.#links) {
      if (this.#wanted.has(place) || link.state !== "connecting") continue;
      this.#links.delete(place);
      void link.stop();
    }
  }

  /** All masters hear that this worker goes. It waits for none that does not answer. */
  async leave(): Promise<void> {
    await Promise.all([...this.#links.values()].map((link) => link.leave()));
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#pause.end();
    await Promise.all([...this.#links.values()].map((link) => link.stop()));
    await this.#loop;
  }

  /** Resolves when every master that can be reached knows the worker. */
  async confirm(): Promise<void> {
    await Promise.all([...this.#links.values()].map((link) => link.confirm()));
  }

  status(): readonly MasterStatus[] {
    const nowMs = this.#world.clock.monotonicMs();
    return [...this.#links.values()].map((link) => ({
      address: link.address,
      state: link.state,
      lastContactAgoMs: nowMs - link.lastContactMs,
    }));
  }

  /** Null until a master gave one. */
  get workerId(): bigint | null {
    return [...this.#links.values()].find(({ workerId }) => workerId !== null)?.workerId ?? null;
  }

  /** Whether a master led a moment ago. */
  get isLed(): boolean {
    const agoMs = this.#world.clock.monotonicMs() - this.#ledAtMs;
    return agoMs < LED_INTERVALS * this.#options.pinIntervalMs;
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      this.#watch();
      this.#dropThoseGone();
      try {
        const askedMs = this.#world.clock.monotonicMs();
        this.#store.setPinned(await this.#leader.pinnedFiles(), askedMs);
        this.#ledAtMs = this.#world.clock.monotonicMs();
      } catch (error) {
        // The list of before stays: pinning too much loses nothing.
        if (!isRockpoolError(error)) throw error;
      }
      await this.#pause.wait(this.#options.pinIntervalMs);
    }
  }

  #watch(): void {
    const nowMs = this.#world.clock.monotonicMs();
    const contacts = [...this.#links.values()].map(({ lastContactMs }) => lastContactMs);
    const silentMs = nowMs - Math.max(this.#startedMs, ...contacts);
    if (silentMs < this.#options.silenceMs) this.#isSilent = false;
    else if (!this.#isSilent) {
      this.#isSilent = true;
      this.#onEvent({ kind: "allMastersLost", silentMs });
    }
  }
}

function placeOf({ host, port }: MasterAddress): string {
  return `${host} ${port}`;
}
