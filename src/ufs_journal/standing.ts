/**
 * What the main thread's half is told of a journal on a shared store, besides entries: its role, who leads, who stands for election, and how long
 * appends and entries on their way take.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { LogIndex, MemberId } from "../common/ids.ts";
import type { FromThread, ThreadStatus } from "../journal/journal_protocol.ts";
import { memberIdOf } from "../journal/member_ids.ts";
import type { SoftState } from "../raft/messages.ts";
import { Timer as Stopwatch } from "../telemetry/timer.ts";
import type { Timer, World } from "../world/ports.ts";
import type { Elector } from "./elector.ts";

const STATUS_MS = 100;

/** For who would add or remove one. */
export function noMembers(): RockpoolError {
  return new RockpoolError(
    "FAILED_PRECONDITION",
    "Masters with a journal on a shared store have no list of members",
    "Start or stop masters instead: who runs with the same ZooKeeper takes part",
  );
}

export type StandingOptions = {
  readonly elector: Elector;
  readonly world: World;
  readonly address: string;
  readonly post: (message: FromThread) => void;
};

export class Standing {
  readonly #options: StandingOptions;
  readonly #lastIndex: () => LogIndex;
  readonly appends = new Stopwatch();
  readonly lags = new Stopwatch();
  #softState: SoftState = { role: "follower", term: 0, leader: null };
  #timer: Timer | null = null;
  #isEnded = false;

  constructor(options: StandingOptions, lastIndex: () => LogIndex) {
    this.#options = options;
    this.#lastIndex = lastIndex;
  }

  get softState(): SoftState {
    return this.#softState;
  }

  /** Tells the status now and then. */
  begin(): void {
    this.#timer = this.#options.world.timers.after(STATUS_MS, () => {
      if (this.#isEnded) return;
      this.#tell();
      this.begin();
    });
  }

  end(): void {
    this.#isEnded = true;
    this.#timer?.cancel();
  }

  #tell(): void {
    this.#options.post({ kind: "status", status: this.status() });
  }

  #chosenAddress(): string | null {
    return this.#options.elector.candidates().find(({ isChosen }) => isChosen)?.address ?? null;
  }

  #leader(): MemberId | null {
    const address = this.#chosenAddress();
    return address === null ? null : memberIdOf(address);
  }

  setRole(role: SoftState["role"], term: number): void {
    const { address, post } = this.#options;
    const isLeader = role === "leader";
    const own = memberIdOf(address);
    const leader = isLeader ? own : this.#leader();
    // Who was chosen and does not lead yet is nobody to go to.
    const shown = !isLeader && leader === own ? null : leader;
    const before = this.#softState;
    if (before.role === role && before.term === term && before.leader === shown) return;
    this.#softState = { role, term, leader: shown };
    post({ kind: "softState", softState: this.#softState, leaderSilenceMs: null });
    const leaderAddress = isLeader ? address : shown === null ? null : this.#chosenAddress();
    post({ kind: "event", event: { kind: "roleChanged", role, term, leaderAddress } });
    this.#tell();
  }

  candidatesChanged(): void {
    if (this.#isEnded) return;
    const { role, term } = this.#softState;
    this.setRole(role, term);
    this.#tell();
  }

  status(): ThreadStatus {
    const { address: ownAddress, elector } = this.#options;
    const addresses = elector.candidates().map(({ address }) => address);
    const lastIndex = this.#lastIndex();
    return {
      self: memberIdOf(ownAddress),
      lastIndex,
      commitIndex: lastIndex,
      members: [...new Set([...addresses, ownAddress])].map((address) => ({
        id: memberIdOf(address),
        address,
        isSelf: address === ownAddress,
        standing: "voter" as const,
        isAvailable: true,
        matchIndex: null,
      })),
      flushes: this.appends.read(),
      lags: this.lags.read(),
    };
  }
}
