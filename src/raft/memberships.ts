/**
 * The memberships in the log: the one in force, and those of config entries that are not known to be committed yet.
 *
 * A membership is in force from the moment at which its entry is known to be committed, not (as in thesis 4.1) from when
 * it is appended. Why that is safe: let A, B, C follow one another. C is proposed only after B was committed under A's
 * majority, and whoever has C in its log knows that (an append that brings C carries a commit index at or behind B; after
 * a restart the presence of C says it, see the constructor). So a candidate that still counts by A does not have C; but C,
 * once committed, is on a majority of B, which shares a member with every majority of A, and that member does not vote for
 * a log without C. Hence at any time the memberships by which leaders can be elected and entries be committed are
 * neighbours, and majorities of neighbours share a member.
 *
 * The other half of the argument is the leader's: it proposes a step only when an entry of its own term is committed
 * (otherwise steps of two leaders, neither committed, may both follow the same membership), and none while one is pending.
 *
 * Invariant: at most one config entry is not known to be committed.
 * @module
 */
import { DecodeError } from "../common/bytes.ts";
import type { LogIndex } from "../common/ids.ts";
import { InvariantError, invariant } from "../common/invariant.ts";
import { decodeMembership } from "./membership.ts";
import type { Entry, Membership, MembershipAt } from "./messages.ts";

export class Memberships {
  #inForce: MembershipAt;
  /** Of config entries behind the commit index, in order. */
  #later: MembershipAt[];

  /** @param known as `RaftStorage.memberships()` gives it */
  constructor(known: readonly MembershipAt[]) {
    const [first, ...later] = known;
    invariant(first !== undefined, "the storage knows the membership where its log begins");
    this.#inForce = first;
    this.#later = later;
    invariant(
      known.every(({ index }, at) => at === 0 || index > (known[at - 1]?.index ?? 0)),
      "memberships come in the order of their entries",
    );
  }

  /**
   * What is committed, whatever the commit index on disk says: every config entry but the last, since the next one was
   * proposed only after that.
   */
  get provenCommitIndex(): LogIndex {
    return this.#later.at(-2)?.index ?? 0;
  }

  get inForce(): MembershipAt {
    return this.#inForce;
  }

  /** Whether a step is proposed and not known to be committed. */
  get isPending(): boolean {
    return this.#later.length > 0;
  }

  appended(entry: Entry): void {
    this.#later.push({ index: entry.index, membership: readMembership(entry) });
  }

  truncatedFrom(index: LogIndex): void {
    while ((this.#later.at(-1)?.index ?? 0) >= index) this.#later.pop();
  }

  committed(commitIndex: LogIndex): void {
    for (let [next] = this.#later; next && next.index <= commitIndex; [next] = this.#later) {
      this.#inForce = next;
      this.#later.shift();
    }
  }

  /** To be called when an append and the commit index that came with it are taken in. */
  check(): void {
    invariant(
      this.#later.length <= 1,
      "a membership is proposed after the one before is committed",
    );
  }
}

/** Entries come from leaders and disks through checksums: one that is no membership is our bug. */
function readMembership(entry: Entry): Membership {
  try {
    return decodeMembership(entry.payload);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw new InvariantError(
      `Invariant broken: a config entry holds a membership: ${error.message}`,
    );
  }
}
