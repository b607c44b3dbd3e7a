/**
 * A master with a freshly formatted journal, until it knows whether it founds a cluster or joins one: it greets the
 * configured masters, answers their greetings, and takes part in nothing.
 * @module
 */
import { NOBODY } from "../raft/membership.ts";
import type { Timer, Timers } from "../world/ports.ts";
import { type Decision, Founding, GRACE_MS } from "./founding.ts";
import type { JournalIdentity, PeerPins } from "./journal_folder.ts";
import { MembershipGate } from "./membership_gate.ts";
import type { CreateTransport, PeerTransport, TransportEvent } from "./peer_transport.ts";

export type NewcomerOptions = {
  readonly identity: JournalIdentity;
  /** Of all masters, its own too. */
  readonly addresses: readonly string[];
  readonly bindHost: string;
  readonly bindPort: number;
  readonly pins: PeerPins;
  readonly timers: Timers;
  readonly createTransport: CreateTransport;
  readonly onEvent: (event: TransportEvent) => void;
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
      isBorn: () => false,
      inForce: () => ({ index: 0, membership: NOBODY }),
    });
    const founding = new Founding(gate.greeting(), addresses);
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
        greeting: () => gate.greeting(),
      },
      {
        onMessage: () => {}, // From nobody: nobody is let in.
        onPeerDied: () => {},
        onGreeting(peer) {
          const answer = gate.answer(peer);
          founding.heard(peer, null);
          tell();
          return answer;
        },
        onAnswer(peer, answer) {
          // It is noted like one that calls: if it counts now, it must not count again with another journal.
          gate.answer(peer);
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
