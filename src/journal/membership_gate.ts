/**
 * Who may exchange messages with this master: judged from the greetings at the beginning of each connection. Pure.
 *
 * The memberships in the log form one line, and each master knows a beginning of it. So:
 * - Who names itself by a membership that is newer than ours knows more than we do: it is let in.
 * - Who names itself by one that is as old as ours or older, and is not in ours, was removed since: it is told so.
 * - Who knows of no membership that names it can't have been removed. It is let in when ours names it (it is new and
 *   behind), or when we know no members ourselves and its journal is born (it is the leader that takes us in). Else it is
 *   no member; if it has a fresh journal the leader takes it in.
 *
 * A founder's id says nothing of its disk, so a founder is known by its incarnation, too.
 * @module
 */
import type { LogIndex } from "../common/ids.ts";
import type { Membership } from "../raft/messages.ts";
import type { JournalIdentity, PeerPins } from "./journal_folder.ts";
import type { Answer, Greeting, RefusalReason } from "./peer_transport.ts";
import { isNoSpace } from "./wal_failure.ts";

/** The membership in force, and the index of the config entry that brought it. */
export type InForce = { readonly index: LogIndex; readonly membership: Membership };

export type GateOptions = {
  readonly identity: JournalIdentity;
  readonly pins: Pick<PeerPins, "acquaintance" | "keep">;
  readonly isBorn: () => boolean;
  readonly inForce: () => InForce;
};

type Refusal = NonNullable<Answer["refusal"]>;

export class MembershipGate {
  readonly #options: GateOptions;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  greeting(): Greeting {
    const { identity, isBorn, inForce } = this.#options;
    const { standing, memberId, address, incarnation, groupId } = identity;
    const { index, membership } = inForce();
    const isMember = standing !== "undecided" && membership.addresses.has(memberId);
    return {
      standing,
      id: memberId,
      address,
      incarnation,
      groupId,
      isBorn: isBorn(),
      memberAsOf: isMember ? index : null,
    };
  }

  /** Answers somebody who calls. */
  answer(peer: Greeting): Answer {
    const { identity, pins, isBorn } = this.#options;
    const isFresh = !isBorn();
    // Before this journal is born nobody can have voted with it: who is here now may take part in the founding.
    if (isFresh && peer.standing !== "joiner" && !peer.isBorn)
      this.#keep(peer, identity.standing === "undecided");
    const knownAs = pins.acquaintance(peer.address, peer.incarnation);
    return { refusal: this.#refusal(peer), knownAs };
  }

  /** Whether messages may pass, when the one that was called has not refused. */
  accepts(peer: Greeting): boolean {
    return this.#refusal(peer) === null;
  }

  #refusal(peer: Greeting): Refusal | null {
    const { identity } = this.#options;
    const self = identity.address;
    if (identity.standing === "undecided")
      return refusal("notMember", `${self} does not know yet whether it is a member itself`);
    if (peer.standing === "undecided")
      return refusal("notMember", `${peer.address} has a freshly formatted journal`);
    if (peer.groupId !== identity.groupId)
      return refusal("otherGroup", `${self} belongs to another cluster than ${peer.address}`);
    return this.#strangerRefusal(peer) ?? this.#wipedRefusal(peer);
  }

  #strangerRefusal(peer: Greeting): Refusal | null {
    const { index, membership } = this.#options.inForce();
    if (membership.addresses.has(peer.id)) return null;
    const self = this.#options.identity.address;
    if (peer.memberAsOf === null) {
      const isTakenIn = membership.addresses.size === 0 && peer.isBorn;
      return isTakenIn ? null : refusal("notMember", `${peer.address} is no member yet`);
    }
    if (membership.addresses.size === 0 || peer.memberAsOf > index) return null;
    return refusal(
      "removed",
      `${peer.address} was a member and is none any more, as ${self} knows from entry ${index}`,
    );
  }

  /** @returns false when the disk is full: then it is not known who this is */
  #keep({ address, incarnation }: Greeting, mayReplace: boolean): boolean {
    try {
      this.#options.pins.keep(address, incarnation, mayReplace);
      return true;
    } catch (error) {
      if (!isNoSpace(error)) throw error;
      return false;
    }
  }

  #wipedRefusal(peer: Greeting): Refusal | null {
    if (peer.standing !== "founder") return null;
    const { pins, identity } = this.#options;
    if (!this.#keep(peer, false))
      return refusal("notMember", `${identity.address} has no room to note who ${peer.address} is`);
    if (pins.acquaintance(peer.address, peer.incarnation) === "same") return null;
    return refusal(
      "wiped",
      `${identity.address} knew ${peer.address} with another journal, and keeps this one out`,
    );
  }
}

function refusal(reason: RefusalReason, explanation: string): Refusal {
  return { reason, explanation };
}
