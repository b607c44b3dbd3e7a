/**
 * Who may exchange messages with this master: judged from the greetings at the beginning of each connection. Pure.
 *
 * The memberships in the log form one line, and each master knows a beginning of it. So:
 * - Who names itself by a membership that is newer than ours knows more than we do: it is let in.
 * - Who names itself by one that is as old as ours or older, and is not in ours, was removed since: it is told so.
 * - Who knows of no membership that names it can't have been removed. It is let in when ours names it (it is new and
 *   behind), or when we know no members ourselves and its journal is born (it is the leader that takes us in). Else it is
 *   no member; if it has a fresh journal the leader takes it in.
 * - A joiner is taken in long before it finds itself in the log, and may be removed in between. So the first one that lets
 *   it in says by which membership, and that is noted before any message passes: a joiner whose journal is born names
 *   itself by that one at least, and is told when it was removed.
 *
 * A founder's id says nothing of its disk, so a founder is known by its incarnation, too.
 * @module
 */
import type { LogIndex, MemberId } from "../common/ids.ts";
import type { Membership } from "../raft/messages.ts";
import type { JournalIdentity, PeerPins } from "./journal_folder.ts";
import type { Answer, Greeting, RefusalReason } from "./peer_transport.ts";
import { isNoSpace } from "./wal_failure.ts";

/** The membership in force, and the index of the config entry that brought it. */
export type InForce = { readonly index: LogIndex; readonly membership: Membership };

export type GateOptions = {
  readonly identity: JournalIdentity;
  readonly pins: Pick<PeerPins, "acquaintance" | "keep" | "takenInAsOf" | "noteTakenIn">;
  /** Addresses of which the group's id is made; none where they are not known. */
  readonly founders: readonly string[];
  readonly isBorn: () => boolean;
  readonly inForce: () => InForce;
};

type Refusal = NonNullable<Answer["refusal"]>;

export class MembershipGate {
  readonly #options: GateOptions;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  /** @param to who is greeted; null: whoever is there */
  greeting(to: MemberId | null): Greeting {
    const { identity, founders, isBorn, inForce } = this.#options;
    const { standing, memberId, address, incarnation, groupId } = identity;
    const { index, membership } = inForce();
    return {
      standing,
      id: memberId,
      address,
      incarnation,
      groupId,
      isBorn: isBorn(),
      memberAsOf: this.#memberAsOf(),
      namesAsOf: to !== null && membership.addresses.has(to) ? index : null,
      founders,
    };
  }

  #memberAsOf(): LogIndex | null {
    const { identity, inForce, pins } = this.#options;
    if (identity.standing === "undecided") return null;
    const { index, membership } = inForce();
    if (membership.addresses.has(identity.memberId)) return index;
    return identity.standing === "joiner" ? pins.takenInAsOf : null;
  }

  /** Answers somebody who calls. */
  answer(peer: Greeting): Answer {
    const { identity, pins, isBorn } = this.#options;
    const isFresh = !isBorn();
    // Before this journal is born nobody can have voted with it: who is here now may take part in the founding. A joiner
    // came when that was over, and must not vouch for a founder whose disk was wiped since.
    const isFounding = isFresh && identity.standing !== "joiner";
    if (isFounding && peer.standing !== "joiner" && !peer.isBorn)
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
      return refusal(
        "otherGroup",
        `${self} belongs to another cluster${founderList(this.#options.founders)} than ${peer.address}${founderList(peer.founders)}`,
      );
    return (
      this.#strangerRefusal(peer) ??
      this.#wipedRefusal(peer) ??
      this.#takenInRefusal(peer.namesAsOf)
    );
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
    return this.#hasRoomTo((pins) => pins.keep(address, incarnation, mayReplace));
  }

  #hasRoomTo(act: (pins: GateOptions["pins"]) => void): boolean {
    try {
      act(this.#options.pins);
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

  /** Who is let in may be the one that makes a member of this joiner. */
  #takenInRefusal(namesAsOf: LogIndex | null): Refusal | null {
    const { identity } = this.#options;
    if (namesAsOf === null || identity.standing !== "joiner" || this.#memberAsOf() !== null)
      return null;
    if (this.#hasRoomTo((pins) => pins.noteTakenIn(namesAsOf))) return null;
    return refusal("notMember", `${identity.address} has no room to note that it is a member`);
  }
}

function founderList(founders: readonly string[]): string {
  return founders.length === 0 ? "" : ` (founded by ${founders.join(", ")})`;
}

function refusal(reason: RefusalReason, explanation: string): Refusal {
  return { reason, explanation };
}
