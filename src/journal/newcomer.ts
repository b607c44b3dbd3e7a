/**
 * A master with a freshly formatted journal, until it knows whether it founds a cluster or joins one: it greets the
 * configured masters, answers their greetings, and takes part in nothing. It says when another one, as fresh as itself, was
 * formatted with another list of masters: each would wait for the other for ever.
 * @module
 */
import { NOBODY } from "../raft/membership.ts";
import type { Timer, Timers } from "../world/ports.ts";
import { type Decision, Founding, GRACE_MS } from "./founding.ts";
import type { JournalIdentity, PeerPins } from "./journal_folder.ts";
import type { MembershipEvent } from "./journal_protocol.ts";
import { MembershipGate } from "./membership_gate.ts";
import type { CreateTransport, Greeting, PeerTransport, TransportEvent } from "./peer_transport.ts";

/** A bound on what strangers make this master remember. */
const TOLD_MAX = 64;

export type NewcomerOptions = {
  readonly identity: JournalIdentity;
  /** Of all masters, its own too. */
  readonly addresses: readonly string[];
  readonly bindHost: string;
  readonly bindPort: number;
  readonly pins: PeerPins;
  readonly timers: Timers;
  readonly createTransport: CreateTransport;
  readonly onEvent: (event: TransportEvent | MembershipEvent) => void;
  /** Called once, in a turn of its own. */
  readonly onDecision: (decision: Decision) => void;
};

export class Newcomer {
  readonly #founding: Founding;
  readonly #transport: PeerTransport;
  #grace: Timer | null = null;

  constructor(options: NewcomerOptions) {
    const { identity, addresses, pins, createTransport, onEvent } = options;
    const { address } = identity;
    const gate = new MembershipGate({
      identity,
      pins,
      founders: addresses,
      isBorn: () => false,
      inForce: () => ({ index: 0, membership: NOBODY }),
    });
    const lists = new AddressLists(identity.groupId, addresses, onEvent);
    const founding = new Founding(gate.greeting(null), addresses);
    this.#founding = founding;
    let isTold = false;
    const tell = () => {
      const { decision } = founding;
      if (decision === null && founding.hasQuorum)
        this.#grace ??= options.timers.after(GRACE_MS, () => {
          founding.graceIsOver();
          tell();
        });
      if (decision === null || isTold) return;
      isTold = true;
      options.onDecision(decision);
    };
    this.#transport = createTransport(
      {
        address,
        bindHost: options.bindHost,
        bindPort: options.bindPort,
        seeds: addresses.filter((each) => each !== address),
        greeting: (to) => gate.greeting(to),
      },
      {
        onMessage: () => {}, // From nobody: nobody is let in.
        onPeerDied: () => {},
        isWelcome: () => false,
        onGreeting(peer) {
          const answer = gate.answer(peer);
          lists.compare(peer);
          founding.heard(peer, null);
          tell();
          return answer;
        },
        onAnswer(peer, answer) {
          // It is noted like one that calls: if it counts now, it must not count again with another journal.
          gate.answer(peer);
          lists.compare(peer);
          founding.heard(peer, answer.knownAs);
          tell();
          return false;
        },
        readCheckpoint: () => Promise.resolve(null),
        onEvent,
      },
    );
  }

  /** Known at once for a master that is configured alone. */
  get decision(): Decision | null {
    return this.#founding.decision;
  }

  /** @throws RockpoolError UNAVAILABLE when the port cannot be had */
  start(): Promise<void> {
    return this.#transport.start();
  }

  close(): Promise<void> {
    this.#grace?.cancel();
    return this.#transport.close();
  }
}

class AddressLists {
  readonly #groupId: bigint;
  readonly #addresses: readonly string[];
  readonly #onEvent: (event: MembershipEvent) => void;
  /** Each list of another master is told once. By its address. */
  readonly #told = new Map<string, string>();

  constructor(
    groupId: bigint,
    addresses: readonly string[],
    onEvent: (event: MembershipEvent) => void,
  ) {
    this.#groupId = groupId;
    this.#addresses = addresses;
    this.#onEvent = onEvent;
  }

  compare({ address, standing, isBorn, groupId, founders }: Greeting): void {
    // A cluster that lives is joined, whatever this list says.
    if (isBorn || standing === "joiner" || groupId === this.#groupId) return;
    const list = founders.join();
    if (this.#told.get(address) === list || this.#told.size >= TOLD_MAX) return;
    this.#told.set(address, list);
    const onlyHere = this.#addresses.filter((each) => !founders.includes(each));
    const onlyThere = founders.filter((each) => !this.#addresses.includes(each));
    const named = (only: readonly string[]) => (only.length === 0 ? "nothing more" : only.join());
    this.#onEvent({
      kind: "addressListsDiffer",
      address,
      onlyHere,
      onlyThere,
      message: `This master was formatted for the masters ${this.#addresses.join()}, and ${address} for ${list}: they do not found a cluster together. Only here: ${named(onlyHere)}; only there: ${named(onlyThere)}`,
      remedy:
        "Set alluxio.master.embedded.journal.addresses to the same list on every master, run `bin/rockpool init format` on those that had another one (nothing is in their journals yet), and start them",
    });
  }
}
