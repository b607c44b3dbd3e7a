/**
 * Says what is the matter when nobody leads for long because members have lost their journals: who came back without one,
 * who does not answer, how many are needed, and what to do. Without a word both would look like a start that takes its time.
 *
 * A master without its journal is none of those that vote: as a founder of old its peers keep it out, as a joiner it waits
 * for a leader that takes it in. So when most have lost theirs, all wait for ever. Pure.
 * @module
 */
import type { MemberStatus, MembershipEvent } from "./journal_protocol.ts";

/** Elections, restarts and rolling updates take less. */
const LEADERLESS_MS = 30_000;
const TOLD_INTERVAL_MS = 5 * 60_000;
/** Whoever is kept out calls again every few seconds. */
const SEEN_MS = 10_000;
/** A bound on what strangers make this master remember. */
const SEEN_MAX = 64;

type Voters = {
  readonly neededCount: number;
  readonly up: readonly string[];
  readonly wiped: readonly string[];
  readonly missing: readonly string[];
};

export class QuorumWatch {
  readonly #asked: readonly string[];
  readonly #onEvent: (event: MembershipEvent) => void;
  /** When somebody called last from a member's address without being that member. */
  readonly #seenMs = new Map<string, number>();
  #leaderlessSinceMs: number | null = null;
  #toldMs = Number.NEGATIVE_INFINITY;

  /** @param asked addresses of the masters that a joiner asks to take it in */
  constructor(asked: readonly string[], onEvent: (event: MembershipEvent) => void) {
    this.#asked = asked;
    this.#onEvent = onEvent;
  }

  /** At the address of a member there is a master without that member's journal. */
  wipedSeen(address: string, nowMs: number): void {
    if (this.#seenMs.has(address) || this.#seenMs.size < SEEN_MAX) this.#seenMs.set(address, nowMs);
  }

  look(hasLeader: boolean, members: readonly MemberStatus[], nowMs: number): void {
    for (const [address, seenMs] of this.#seenMs)
      if (nowMs - seenMs > SEEN_MS) this.#seenMs.delete(address);
    if (hasLeader) {
      this.#leaderlessSinceMs = null;
      this.#toldMs = Number.NEGATIVE_INFINITY;
      return;
    }
    this.#leaderlessSinceMs ??= nowMs;
    if (nowMs - this.#leaderlessSinceMs < LEADERLESS_MS) return;
    if (nowMs - this.#toldMs < TOLD_INTERVAL_MS) return;
    const event = members.length === 0 ? this.#notTakenIn() : this.#quorumLost(members);
    if (event === null) return;
    this.#toldMs = nowMs;
    this.#onEvent(event);
  }

  #notTakenIn(): MembershipEvent {
    const asked = this.#asked;
    return {
      kind: "notTakenIn",
      asked,
      message: `This master has a fresh journal and asks to join the cluster of ${asked.join(", ")}; for more than ${LEADERLESS_MS / 1000} s nobody there leads, who could take it in`,
      remedy: `Start those of them that are down. If they are up, \`quorumLost\` or \`repairStuck\` in their logs says what is missing. A cluster with most of its journals lost cannot take this master in`,
    };
  }

  #quorumLost(members: readonly MemberStatus[]): MembershipEvent | null {
    const voters = this.#sorted(members.filter(({ standing }) => standing === "voter"));
    const { neededCount, up, wiped, missing } = voters;
    if (wiped.length === 0 || up.length >= neededCount) return null;
    const count = up.length + wiped.length + missing.length;
    return {
      kind: "quorumLost",
      neededCount,
      up,
      wiped,
      missing,
      message: `Nobody can be elected: ${neededCount} of ${count} voters are needed, and ${up.length === 0 ? "none is" : `only ${up.join(", ")} is`} up with its journal. Back without theirs, so that they do not count: ${wiped.join(", ")}${missing.length === 0 ? "" : `. Not heard of: ${missing.join(", ")}`}`,
      remedy: remedyFor(voters),
    };
  }

  #sorted(voters: readonly MemberStatus[]): Voters {
    const up: string[] = [];
    const wiped: string[] = [];
    const missing: string[] = [];
    for (const { address, isSelf, isAvailable } of voters)
      (isSelf || isAvailable ? up : this.#seenMs.has(address) ? wiped : missing).push(address);
    return { neededCount: Math.floor(voters.length / 2) + 1, up, wiped, missing };
  }
}

function remedyFor({ neededCount, up, wiped, missing }: Voters): string {
  const lacking = neededCount - up.length;
  if (missing.length >= lacking)
    return `Start ${lacking === missing.length ? "" : `${lacking} of `}${missing.join(", ")}: then there is a majority, and ${wiped.join(", ")} can join anew, freshly formatted`;
  const first = missing.length === 0 ? "" : `Start ${missing.join(", ")}. `;
  return `${first}Put the journal folder of at least ${lacking - missing.length} of ${wiped.join(", ")} back, as it was when that master ran last, and start it. If they are lost for good, so is the majority: format all masters, and start the new cluster with the newest backup (\`bin/rockpool process start master --journal-backup-file FILE\`); what was acknowledged after it is lost`;
}
