/**
 * What a leader does about the membership: takes in who asks to join, makes voters of learners that have caught up, and
 * removes whom an operator names. Pure; driven by ticks, one step at a time, and each tick looks at the membership in force,
 * so that a new leader goes on where the old one stopped.
 *
 * A master with a fresh journal under the address of a member means that this member's disk is gone: it is removed first. What
 * it said may have been long under way, though, and that member newer than it. So it must have answered in the member's place
 * when this leader called the member: it was there after the member was.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { MemberId } from "../common/ids.ts";
import type { Membership, MembershipChange, Raft, RaftStatus } from "../raft/messages.ts";
import type { MembershipEvent } from "./journal_protocol.ts";
import type { Greeting } from "./peer_transport.ts";

/** It says hello some times a second for as long as it is up. */
const JOINER_SEEN_MS = 3000;
/** A learner that lacks no more than that becomes a voter: it has the rest within moments. */
const CAUGHT_UP_ENTRIES = 1000;
/** A bound on what strangers make this master remember. */
const JOINERS_MAX = 64;

type Joiner = {
  readonly id: MemberId;
  readonly address: string;
  readonly seenMs: number;
  /** When it answered a call to the member that has its address. */
  answeredMs: number;
};

type Removal = {
  readonly address: string;
  readonly answer: (error: RockpoolError | null) => void;
  /** Null until it is proposed. */
  id: MemberId | null;
};

export class MemberSteps {
  readonly #onEvent: (event: MembershipEvent) => void;
  readonly #joiners = new Map<string, Joiner>();
  #removals: Removal[] = [];

  constructor(onEvent: (event: MembershipEvent) => void) {
    this.#onEvent = onEvent;
  }

  /** Somebody with a fresh journal says hello. */
  joinerSeen({ id, address }: Greeting, nowMs: number): void {
    if (!this.#joiners.has(address) && this.#joiners.size >= JOINERS_MAX) return;
    const known = this.#joiners.get(address);
    const answeredMs = known?.id === id ? known.answeredMs : Number.NEGATIVE_INFINITY;
    this.#joiners.set(address, { id, address, seenMs: nowMs, answeredMs });
  }

  /** Somebody answered in place of the member that was called. */
  answeredInstead({ id, address }: Greeting, nowMs: number): void {
    const joiner = this.#joiners.get(address);
    if (joiner?.id === id) joiner.answeredMs = nowMs;
  }

  /** @param answer null once the removal is committed */
  remove(address: string, answer: (error: RockpoolError | null) => void): void {
    this.#removals.push({ address, answer, id: null });
  }

  /** This master does not lead any more. Whether what was proposed gets committed is the next one's business. */
  reignEnded(error: () => RockpoolError): void {
    const removals = this.#removals;
    this.#removals = [];
    for (const { answer } of removals) answer(error());
  }

  /** The membership in force changed. */
  changed({ addresses }: Membership): void {
    const done = this.#removals.filter(({ id }) => id !== null && !addresses.has(id));
    this.#removals = this.#removals.filter((removal) => !done.includes(removal));
    for (const { answer } of done) answer(null);
  }

  /** On the leader. @param isAvailable whether a member was heard of just now */
  tick(raft: Raft, nowMs: number, isAvailable: (id: MemberId) => boolean): void {
    for (const [address, { seenMs }] of this.#joiners)
      if (nowMs - seenMs > JOINER_SEEN_MS) this.#joiners.delete(address);
    const { membership } = raft.status();
    // Nearly always nothing is to be done.
    const isQuiet = this.#joiners.size === 0 && this.#removals.length === 0;
    if (isQuiet && membership.learners.length === 0) return;
    this.#removeNext(raft, isAvailable);
    this.#takeInNext(raft, nowMs, isAvailable);
    this.#promoteNext(raft);
  }

  #propose(raft: Raft, change: MembershipChange): boolean {
    return raft.proposeMembership(change).kind === "accepted";
  }

  #removeNext(raft: Raft, isAvailable: (id: MemberId) => boolean): void {
    const { membership } = raft.status();
    for (const removal of this.#removals) {
      if (removal.id !== null) continue;
      const problem = removalProblem(membership, removal.address, isAvailable);
      if (problem instanceof RockpoolError) {
        this.#removals = this.#removals.filter((each) => each !== removal);
        removal.answer(problem);
      } else if (this.#propose(raft, { kind: "remove", id: problem })) removal.id = problem;
    }
  }

  #takeInNext(raft: Raft, nowMs: number, isAvailable: (id: MemberId) => boolean): void {
    const { membership } = raft.status();
    for (const { id, address, answeredMs } of this.#joiners.values()) {
      // Forgotten once it is in: who is removed right after that must not come back by what it said before.
      if (membership.addresses.has(id)) {
        this.#joiners.delete(address);
        continue;
      }
      const old = [...membership.addresses].find(([, each]) => each === address)?.[0];
      // One address has one master: while a member is heard from there, what asked to join is gone.
      if (old !== undefined && isAvailable(old)) this.#joiners.delete(address);
      else if (old === undefined) {
        if (this.#propose(raft, { kind: "addLearner", id, address }))
          this.#onEvent({ kind: "joining", address, step: "addLearner" });
      } else if (nowMs - answeredMs > JOINER_SEEN_MS) continue;
      else if (this.#propose(raft, { kind: "remove", id: old }))
        this.#onEvent({ kind: "joining", address, step: "removeOld" });
    }
  }

  #promoteNext(raft: Raft): void {
    const { membership, progress, lastIndex }: RaftStatus = raft.status();
    for (const id of membership.learners) {
      const known = progress.find((peer) => peer.id === id);
      const isCaughtUp =
        known?.isActive === true &&
        known.matchIndex > 0 &&
        known.matchIndex + CAUGHT_UP_ENTRIES >= lastIndex;
      const address = membership.addresses.get(id) ?? "";
      if (isCaughtUp && this.#propose(raft, { kind: "addVoter", id, address }))
        this.#onEvent({ kind: "joining", address, step: "addVoter" });
    }
  }
}

/** @returns the member to remove, or why that can't be done */
function removalProblem(
  { voters, addresses }: Membership,
  address: string,
  isAvailable: (id: MemberId) => boolean,
): MemberId | RockpoolError {
  const id = [...addresses].find(([, each]) => each === address)?.[0];
  if (id === undefined)
    return new RockpoolError(
      "NOT_FOUND",
      `No member of the journal has the address ${address}`,
      "`bin/rockpool fsadmin journal quorum info` lists the members",
    );
  if (!voters.includes(id)) return id;
  const left = voters.filter((each) => each !== id);
  const available = left.filter(isAvailable);
  if (available.length >= Math.floor(left.length / 2) + 1) return id;
  return new RockpoolError(
    "FAILED_PRECONDITION",
    left.length === 0
      ? `${address} is the only member that votes: it can't be removed`
      : `Without ${address} the journal would stand still: of the ${left.length} others only ${available.length} are up`,
    left.length === 0
      ? "Add another master first"
      : `Start the others first: ${left.map((each) => addresses.get(each) ?? "").join(", ")}`,
  );
}
