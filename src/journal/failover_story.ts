/**
 * The anatomy of the last change of leader, told by one master: when the old leader fell silent, when it was missed, when
 * an election began, when there were votes, when the new leader served.
 *
 * Told of each change of role as it reaches the main thread.
 * @module
 */
import type { MemberId, Term } from "../common/ids.ts";
import type { SoftState } from "../raft/messages.ts";
import type { Clock } from "../world/ports.ts";
import type { Failover } from "./journal_system.ts";

type Open = {
  readonly from: MemberId | null;
  readonly missedMs: number;
  readonly silenceMs: number | null;
  campaignMs: number | null;
  decidedMs: number | null;
};

export class FailoverStory {
  readonly #addressOf: (member: MemberId | null) => string | null;
  readonly #clock: Clock;
  #leaderlessSinceMs: number;
  /** Wall clock of the last time this master began to serve, and stopped; null for never. */
  lastGainedMs: number | null = null;
  lastLostMs: number | null = null;
  #leader: MemberId | null = null;
  #open: Open | null = null;
  #last: Failover | null = null;

  constructor(clock: Clock, addressOf: (member: MemberId | null) => string | null) {
    this.#clock = clock;
    this.#addressOf = addressOf;
    this.#leaderlessSinceMs = clock.monotonicMs();
  }

  get last(): Failover | null {
    return this.#last;
  }

  /** @param silenceMs since the old leader was heard; null when it is not known, or it was this master */
  changed({ role, term, leader }: SoftState, silenceMs: number | null): void {
    const nowMs = this.#clock.monotonicMs();
    const before = this.#leader;
    this.#leader = leader;
    const hasLost = before !== null && leader !== before;
    if (hasLost) this.#leaderlessSinceMs = nowMs;
    // The first leader after a start: nothing was missed before this master looked for one.
    const isFirst = this.#open === null && role !== "follower";
    if (hasLost || isFirst) {
      const missed = { from: before, silenceMs: hasLost ? silenceMs : null };
      this.#open = { ...missed, missedMs: nowMs, campaignMs: null, decidedMs: null };
    }
    const open = this.#open;
    if (open === null) return;
    if (role === "preCandidate" || role === "candidate") open.campaignMs ??= nowMs;
    if (leader === null) return;
    open.decidedMs ??= nowMs;
    // A standby's part ends when it hears who leads; the leader's goes on until it serves.
    if (role !== "leader") this.#end(open, term, nowMs, null);
  }

  /** The journal was opened: nobody leads from now on. */
  opened(): void {
    this.#leaderlessSinceMs = this.#clock.monotonicMs();
  }

  /** The first entry of the own term is applied. @returns how long nobody led */
  gained(term: Term): number {
    const nowMs = this.#clock.monotonicMs();
    this.lastGainedMs = this.#clock.wallMs();
    if (this.#open !== null) this.#end(this.#open, term, nowMs, nowMs);
    return nowMs - this.#leaderlessSinceMs;
  }

  lost(): void {
    this.lastLostMs = this.#clock.wallMs();
  }

  #end(
    { from, missedMs, silenceMs, campaignMs, decidedMs }: Open,
    term: Term,
    nowMs: number,
    servedMs: number | null,
  ): void {
    const begunMs = campaignMs ?? missedMs;
    const knownMs = decidedMs ?? nowMs;
    this.#open = null;
    this.#last = {
      term,
      fromAddress: this.#addressOf(from),
      toAddress: this.#addressOf(this.#leader),
      endedMs: this.#clock.wallMs(),
      silenceMs,
      campaignMs: campaignMs === null ? null : campaignMs - missedMs,
      votesMs: knownMs - begunMs,
      applyMs: servedMs === null ? null : servedMs - knownMs,
      totalMs: (silenceMs ?? 0) + nowMs - missedMs,
    };
  }
}
