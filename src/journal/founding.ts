/**
 * Whether a freshly formatted master founds a cluster or joins one that lives. Pure; asked until it has an answer, which
 * is then kept for good.
 *
 * The danger is a master whose disk was wiped: under its old id it would vote and acknowledge as if it had never done so
 * before. It is as fresh as one that never ran, so the others must tell.
 *
 * - A peer whose journal is born (it has held a term or an entry) proves that the cluster lives. The fresh master joins,
 *   under an id that nobody has seen, unless that peer has known it *under this incarnation* since before it was born
 *   itself: then it was up at the founding, has not voted since (it is undecided), and is one of the founders.
 * - If all configured masters have greeted and none is born, they are the founders. So they are when a quorum of them,
 *   this one included, has greeted, and the others have stayed away for `GRACE_MS` more: those that are up answer sooner.
 *
 * What stays: a cluster has to start while a minority is down, so when a majority of the disks is wiped while the rest is down,
 * nobody is left to tell, and a new cluster is founded. It has nothing that was acknowledged in it by the old one's members: those refuse the founders under their new
 * incarnations, and say so (membership_gate.ts).
 * @module
 */
import type { Answer, Greeting } from "./peer_transport.ts";

/** How a master knows another: under its present incarnation, under another one, or not at all. */
export type Acquaintance = Answer["knownAs"];

export type Decision =
  | { readonly standing: "founder" }
  | { readonly standing: "joiner"; readonly groupId: bigint };

/** From the moment at which a quorum has greeted. Ten redials, and more than a dial may take. */
export const GRACE_MS = 1500;

export class Founding {
  readonly #self: Greeting;
  readonly #quorum: number;
  /** Addresses of the configured masters that said hello and are as fresh as this one. */
  readonly #fresh = new Set<string>();
  readonly #addresses: ReadonlySet<string>;
  #decision: Decision | null = null;

  /** @param addresses all configured ones, this master's too */
  constructor(self: Greeting, addresses: readonly string[]) {
    this.#self = self;
    this.#addresses = new Set(addresses);
    this.#quorum = Math.floor(addresses.length / 2) + 1;
    this.#count(self.address);
  }

  get decision(): Decision | null {
    return this.#decision;
  }

  /** A quorum is here and fresh; only the others might know of a cluster. */
  get hasQuorum(): boolean {
    return this.#fresh.size >= this.#quorum;
  }

  /** The others have had their time to answer. */
  graceIsOver(): void {
    if (this.hasQuorum) this.#decision ??= { standing: "founder" };
  }

  #count(address: string): void {
    this.#fresh.add(address);
    if (this.#fresh.size === this.#addresses.size) this.#decision ??= { standing: "founder" };
  }

  /** @param knownAs null when it called here, and has not said yet how it knows this master */
  heard(peer: Greeting, knownAs: Acquaintance | null): void {
    if (this.#decision !== null) return;
    const { groupId } = peer;
    const isSameGroup = groupId === this.#self.groupId;
    if (peer.isBorn) {
      if (knownAs === null) return;
      this.#decision =
        knownAs === "same" && isSameGroup
          ? { standing: "founder" }
          : { standing: "joiner", groupId };
      return;
    }
    if (peer.standing === "joiner" || !isSameGroup || !this.#addresses.has(peer.address)) return;
    if (peer.standing === "founder") {
      if (knownAs === null) return;
      // A founder that waits for others has known this address with another journal, which may have voted elsewhere.
      if (knownAs === "other") {
        this.#decision = { standing: "joiner", groupId };
        return;
      }
    }
    this.#count(peer.address);
  }
}
