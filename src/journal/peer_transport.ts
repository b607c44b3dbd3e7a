/**
 * What the journal needs of the network, as a port: TCP in product (raft_transport.ts), a virtual network in the simulator.
 *
 * A master keeps one connection to each address that it sends to: those of the members, those of its guests, and, as long
 * as it knows no member, those of its seeds. Before anything else passes, both sides say who they are, and both must agree
 * that messages may pass; the transport carries these words and does not judge them (membership_gate.ts does).
 *
 * A **guest** called and was let in, though no membership that is known here names it: it knows a newer one. It is dialled
 * under the id that it gave, in place of whoever the membership in force names at its address, or a leader that joined while
 * this master was away would never get an answer from it. It stays until a membership comes that the gate does not let it
 * in by, or somebody else is let in from its address. Older memberships that come meanwhile, entry by entry, do not end it.
 * Who calls an address and meets another id there need not learn that id from the answer: whoever knows more calls by itself.
 *
 * Messages may be lost, and never arrive twice or out of order within one connection; a connection may be replaced at any
 * time. Callbacks come in turns of their own, never from within a call.
 * @module
 */
import type { LogIndex, MemberId } from "../common/ids.ts";
import type { Membership, Message, Position } from "../raft/messages.ts";

/** Who a master says it is when a connection begins. */
export type Greeting = {
  /** undecided: freshly formatted, it does not know yet whether it founds a cluster or joins one. */
  readonly standing: "undecided" | "founder" | "joiner";
  /** While undecided: the id that it would have as a founder. */
  readonly id: MemberId;
  readonly address: string;
  /** Random, made with each format. */
  readonly incarnation: bigint;
  /** Of the founders' addresses; while undecided: of the configured ones. */
  readonly groupId: bigint;
  /** Its journal has held a term, a vote, an entry or a checkpoint. */
  readonly isBorn: boolean;
  /**
   * Index of the newest config entry in force that it knows and that names it, 0 for the founders' membership. Null: none,
   * so it can't have been removed either. A joiner that has not got that far in the log has a member's word for it.
   */
  readonly memberAsOf: LogIndex | null;
  /** Index of the config entry in force here, if it names the one who is greeted. The transport drops it when that is somebody else. */
  readonly namesAsOf: LogIndex | null;
  /** What `groupId` is made of: the addresses of the founders, or, while undecided, the configured ones. Empty for a joiner. */
  readonly founders: readonly string[];
};

/**
 * protocolVersion: it speaks another version. otherTarget: not the master that was called. otherGroup: of another cluster.
 * notMember: it is no member; if it has a fresh journal, the leader lets it join. removed: it was a member and is none
 * any more. wiped: the member of that name was known with another journal.
 */
export const REFUSAL_REASONS = [
  "protocolVersion",
  "otherGroup",
  "otherTarget",
  "notMember",
  "removed",
  "wiped",
] as const;
export type RefusalReason = (typeof REFUSAL_REASONS)[number];

/** What a master says to the greeting of another one. */
export type Answer = {
  /** Null: messages may pass. */
  readonly refusal: { readonly reason: RefusalReason; readonly explanation: string } | null;
  /**
   * Whether it has known the other under this incarnation since before its own journal was born (the other took part in
   * the founding), under another one, or not at all.
   */
  readonly knownAs: "same" | "other" | "nobody";
};

/** A part of a checkpoint file of some peer. */
export type CheckpointChunk = {
  /** The position of the file that was read: the one asked for. */
  readonly position: Position;
  readonly totalBytes: number;
  readonly offsetBytes: number;
  /** Checked against the CRC that came with it. Empty at the end of the file. */
  readonly bytes: Uint8Array;
};

export type TransportEvent =
  | { readonly kind: "peerConnected"; readonly address: string }
  | { readonly kind: "peerDisconnected"; readonly address: string; readonly reason: string }
  | { readonly kind: "peerDied"; readonly address: string }
  /** A connection was closed because of what came over it. `count` rises with each. */
  | {
      readonly kind: "badConnection";
      readonly remote: string;
      readonly reason: string;
      readonly count: number;
    };

export type TransportOptions = {
  /** host:port of this master, as the others dial it. */
  readonly address: string;
  /** Where to listen. */
  readonly bindHost: string;
  readonly bindPort: number;
  /** Other masters, dialled as long as the membership is empty. */
  readonly seeds: readonly string[];
  /** Who this master is; asked anew for each connection. @param to null: whoever is there */
  readonly greeting: (to: MemberId | null) => Greeting;
};

export type PeerHandlers = {
  readonly onMessage: (message: Message) => void;
  /** Its connection closed and a redial was refused: the process is gone. */
  readonly onPeerDied: (peer: MemberId) => void;
  /** Somebody calls. One that is welcome is dialled in turn, if it is not yet. */
  readonly onGreeting: (greeting: Greeting) => Answer;
  /** Whether one that was let in by this greeting still would be; asked when the membership has changed. */
  readonly isWelcome: (greeting: Greeting) => boolean;
  /**
   * Somebody that was called answers; refused ones are called again, after a while, for as long as this master wants them.
   * @returns whether messages may pass, as far as this side goes; only asked when the other did not refuse
   */
  readonly onAnswer: (greeting: Greeting, answer: Answer) => boolean;
  /** @returns null when there is no such checkpoint here (any more) */
  readonly readCheckpoint: (
    position: Position,
    offsetBytes: number,
    lengthBytes: number,
  ) => Promise<{ readonly totalBytes: number; readonly bytes: Uint8Array } | null>;
  readonly onEvent: (event: TransportEvent) => void;
};

export interface PeerTransport {
  /** Begins to listen and to dial. @throws RockpoolError UNAVAILABLE when the port cannot be had */
  start(): Promise<void>;
  /** Dials the members of this membership from now on, and lets go of all others but guests that still are welcome. */
  setMembership(membership: Membership): void;
  /** Sends to `message.to`, or drops it when that is not possible now. */
  send(message: Message): void;
  /** True while messages can be sent to a member. */
  isConnected(peer: MemberId): boolean;
  /** Milliseconds since anything came from a member; Infinity for never. */
  silenceMs(peer: MemberId): number;
  /**
   * Reads part of a checkpoint of a peer, on a connection of its own, so that bulk never delays a heartbeat.
   * @throws RockpoolError NOT_FOUND when the peer has no checkpoint of that position; UNAVAILABLE when it can't be reached
   */
  fetchCheckpoint(
    peer: MemberId,
    position: Position,
    offsetBytes: number,
    lengthBytes: number,
  ): Promise<CheckpointChunk>;
  close(): Promise<void>;
}

/** How a journal makes its transport. */
export type CreateTransport = (options: TransportOptions, handlers: PeerHandlers) => PeerTransport;
