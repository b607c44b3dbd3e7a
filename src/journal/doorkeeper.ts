/**
 * What a member says and does when others greet it or answer its greetings: the gate judges, this tells of it, notes who
 * asks to join, and finds out when this master was removed.
 * @module
 */
import type { JournalEvent } from "./journal_protocol.ts";
import type { MembershipGate } from "./membership_gate.ts";
import type { Answer, Greeting, RefusalReason } from "./peer_transport.ts";

export type DoorkeeperOptions = {
  readonly onEvent: (event: JournalEvent) => void;
  /** Somebody with a fresh journal asks to become a member. */
  readonly onJoiner: (joiner: Greeting) => void;
  /** Somebody else answered when a member was called. */
  readonly onOther: (peer: Greeting) => void;
  /** Somebody is not let in. */
  readonly onKeptOut: (peer: Greeting, reason: RefusalReason) => void;
  /** A member says that this master is none any more. */
  readonly onRemoved: (explanation: string) => void;
};

export class Doorkeeper {
  readonly #options: DoorkeeperOptions;
  /** Peers that are refused call again and again; what is the matter with them is told once. By address. */
  readonly #told = new Map<string, string>();

  constructor(options: DoorkeeperOptions) {
    this.#options = options;
  }

  greeted(gate: MembershipGate, peer: Greeting): Answer {
    const answer = gate.answer(peer);
    this.#complain(peer, answer);
    const isFresh = peer.standing === "joiner" && !peer.isBorn && peer.memberAsOf === null;
    if (isFresh && answer.refusal?.reason === "notMember") this.#options.onJoiner(peer);
    return answer;
  }

  /** @returns whether messages may pass */
  answered(gate: MembershipGate, peer: Greeting, { refusal }: Answer): boolean {
    const { address } = peer;
    if (refusal === null) {
      if (gate.accepts(peer)) {
        this.#told.delete(address);
        return true;
      }
      this.#complain(peer, gate.answer(peer));
      return false;
    }
    const { reason, explanation } = refusal;
    if (reason === "otherTarget") this.#options.onOther(peer);
    // Newcomers are refused until somebody leads who takes them in: that is no news.
    const isPassing = reason === "notMember" || reason === "otherTarget";
    if (!isPassing && this.#isNews(address, `refused ${reason}`))
      this.#options.onEvent({ kind: "refusedByPeer", address, reason, explanation });
    if (reason === "removed" && peer.groupId === gate.greeting(null).groupId)
      this.#options.onRemoved(explanation);
    return false;
  }

  #complain(peer: Greeting, { refusal }: Answer): void {
    const { address, incarnation } = peer;
    if (refusal !== null) this.#options.onKeptOut(peer, refusal.reason);
    if (refusal?.reason !== "wiped" || !this.#isNews(address, `wiped ${incarnation}`)) return;
    this.#options.onEvent({
      kind: "peerWiped",
      address,
      message: `The journal of ${address} is not the one that this master knows: it was wiped or replaced, and has forgotten its votes and what it acknowledged. It is kept out`,
      remedy: `Restore the journal folder of ${address}. If it is lost, move what is there away, run \`bin/rockpool init format\` on that master, and start it while a quorum of the others is up: it joins them as a new member`,
    });
  }

  #isNews(address: string, complaint: string): boolean {
    if (this.#told.get(address) === complaint) return false;
    this.#told.set(address, complaint);
    return true;
  }
}
