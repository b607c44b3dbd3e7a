/**
 * Our cores under the hand of an etcd script: each of its commands as calls of ours.
 *
 * Where the two differ on purpose, the difference is made up for here, and nowhere else:
 * - Pre-vote is always on here. Where a script has it off, the round is granted at once, unseen.
 * - Stickiness (check-quorum) is always on here. Where a script has it off, requests for votes are delivered with the mark
 *   of a transfer, which overrides it.
 * - A tick of etcd's is five of ours, since our heartbeat must be less than a third of an election time-out.
 * - A voter that hears a leader refuses pre-votes here, and is silent in etcd's: such refusals are lost.
 * - A request for votes leaves when the candidate's own vote is durable. In scripts with storage threads it leaves at once:
 *   no node of theirs ever crashes.
 * - A removed leader hands over here. Where a script has that off, its `timeoutNow` is lost.
 * - Nodes begin from a snapshot of term 0, not 1: our term is never below that of an entry.
 * - A leader with lease-based reads may not be forgotten; we have no such reads, and do not forget it then.
 * - `forget-leader` is our `peerDied`, whose campaign comes within the next tick of etcd's, if no leader is heard.
 * @module
 */
import { RaftCore } from "../../src/raft/core.ts";
import { NOBODY } from "../../src/raft/membership.ts";
import type {
  Entry,
  HardState,
  Membership,
  MembershipChange,
  Message,
  Position,
  RaftConfig,
  Ready,
} from "../../src/raft/messages.ts";
import { MemoryStorage, memberId, membershipOf } from "../../src/raft/testing.ts";
import type { Random } from "../../src/world/ports.ts";
import { entryText, type Facts, factsOf, messageText, noFacts } from "./etcd_words.ts";

/** Of ours, for one of etcd's; its heartbeats are one tick apart, and its shortest election time-out is three. */
export const HEARTBEAT_TICKS = 5;
export const ELECTION_TICKS = 3 * HEARTBEAT_TICKS;
const ELECTION_TICKS_MAX = 2 * ELECTION_TICKS;
const UNLIMITED = 1_000_000_000;

export type NodeOptions = {
  readonly index: number;
  readonly membership: Membership;
  readonly inflight: number;
  readonly isAsync: boolean;
  readonly hasPreVote: boolean;
  readonly hasCheckQuorum: boolean;
  readonly hasLeases: boolean;
  readonly stepsDownWhenRemoved: boolean;
};

/** What our core draws when it sets an election time-out is chosen by the script. */
class ChosenRandom implements Random {
  next = 0;
  uint32(): number {
    return this.next;
  }
}

export class EtcdNode {
  readonly id: string;
  readonly options: NodeOptions;
  /** What the core reads. */
  readonly storage: MemoryStorage;
  /** What is durable. */
  readonly disk: MemoryStorage;
  readonly core: RaftCore;
  readonly random = new ChosenRandom();
  /** Taken from the core, and not yet processed. */
  readies: Ready[] = [];
  appendWork: (readonly Ready[])[] = [];
  hard: HardState;
  readonly ledIn = new Set<number>();
  applied: Position;
  #membership: Membership;

  constructor(number: number, options: NodeOptions) {
    this.id = `${number}`;
    this.options = options;
    this.storage = new MemoryStorage(NOBODY);
    this.#membership = options.membership;
    this.applied = { index: options.index, term: 0 };
    const snapshot = { ...this.applied, membership: options.membership };
    if (options.index > 0) this.storage.resetTo(snapshot);
    this.storage.newestSnapshot = options.index > 0 ? snapshot : null;
    this.storage.hardState = { term: 0, vote: null, commitIndex: options.index };
    this.hard = this.storage.hardState;
    this.disk = this.storage.clone();
    const config: RaftConfig = {
      id: memberId(number),
      appliedIndex: options.index,
      electionTicksMin: ELECTION_TICKS,
      electionTicksMax: ELECTION_TICKS_MAX,
      heartbeatTicks: HEARTBEAT_TICKS - 1,
      inflightEntriesMax: options.inflight,
      inflightBytesMax: UNLIMITED,
      appendBytesMax: UNLIMITED,
      ...(options.stepsDownWhenRemoved ? { handOverTicksMax: 0 } : {}),
    };
    this.core = new RaftCore(config, this.storage, this.random);
    this.neverByItself();
  }

  neverByItself(): void {
    this.random.next = ELECTION_TICKS_MAX - ELECTION_TICKS;
  }

  /** Takes what the core has to say, as it must be after each call. */
  drain(): void {
    for (let ready = this.core.takeReady(); ready !== null; ready = this.core.takeReady()) {
      this.storage.append(ready.entries);
      if (ready.hardState !== null) this.storage.hardState = ready.hardState;
      if (ready.softState?.role === "leader") this.ledIn.add(ready.softState.term);
      this.readies.push(ready);
    }
  }

  tick(count: number): void {
    for (let at = 0; at < count; at += 1) {
      this.core.tick();
      this.drain();
      this.#skipPreVote();
    }
  }

  campaign(): void {
    const { role, membership } = this.core.status();
    if (role === "leader" || !membership.voters.includes(memberId(Number(this.id)))) return;
    this.setTimeout(ELECTION_TICKS);
    this.tick(ELECTION_TICKS);
  }

  forgetLeader(): void {
    const { role, leader } = this.core.status();
    if (role !== "follower" || leader === null || this.options.hasLeases) return;
    // The campaign of the fast path shall not be at once.
    this.random.next = HEARTBEAT_TICKS - 1;
    this.core.peerDied(leader);
    this.drain();
    this.neverByItself();
  }

  reportUnreachable(peer: string): void {
    this.core.peerDied(memberId(Number(peer)));
    this.drain();
  }

  setTimeout(ticks: number): void {
    this.random.next = ticks - ELECTION_TICKS;
    this.core.resetTimers();
    this.neverByItself();
  }

  #skipPreVote(): void {
    const { role, term, membership } = this.core.status();
    if (this.options.hasPreVote || role !== "preCandidate") return;
    this.readies = this.readies.map((ready) => ({
      ...ready,
      messages: ready.messages.filter(({ kind }) => kind !== "requestPreVote"),
    }));
    const to = memberId(Number(this.id));
    for (const from of membership.voters)
      this.core.step({
        kind: "preVoteResponse",
        from,
        to,
        term: term + 1,
        isGranted: true,
        committed: { index: 0, term: 0 },
      });
    this.drain();
  }

  apply(entries: readonly Entry[]): void {
    for (const { index, term } of entries) {
      this.applied = { index, term };
      const known = this.storage.memberships().findLast((each) => each.index <= index);
      this.#membership = known?.membership ?? this.#membership;
      this.storage.newestSnapshot = { index, term, membership: this.#membership };
    }
  }

  trim(index: number): void {
    for (const storage of [this.storage, this.disk]) storage.trim(index);
  }

  install(wanted: NonNullable<Ready["snapshotWanted"]>): void {
    const { snapshot } = wanted;
    for (const storage of [this.storage, this.disk]) storage.resetTo(snapshot);
    this.storage.newestSnapshot = snapshot;
    this.#membership = snapshot.membership;
    this.applied = snapshot;
    this.core.snapshotInstalled(snapshot);
    this.drain();
  }
}

/** A message on its way, or the news of a node's own disk, which can't be lost. */
type Parcel =
  | { readonly kind: "message"; readonly message: Message }
  | { readonly kind: "persisted"; readonly to: string; readonly batches: readonly Ready[] };

export class EtcdCluster {
  readonly nodes: EtcdNode[] = [];
  #parcels: Parcel[] = [];
  #facts: Facts = noFacts();
  /** Whether an acknowledgement gets lost when a later one of the same peer says more. */
  losesSuperseded = false;
  /** The newest snapshot that a node of a script began with: entries up to there are the same for all. */
  bootIndex = 0;

  addNodes(count: number, options: NodeOptions): void {
    this.bootIndex = Math.max(this.bootIndex, options.index);
    for (let at = 0; at < count; at += 1)
      this.nodes.push(new EtcdNode(this.nodes.length + 1, options));
  }

  node(id: string): EtcdNode {
    const node = this.nodes[Number(id) - 1];
    if (node === undefined) throw new Error(`The script has no node ${id} yet`);
    return node;
  }

  /** What has happened since the last call. */
  takeFacts(): Facts {
    const taken = this.#facts;
    this.#facts = noFacts();
    return taken;
  }

  processReady(node: EtcdNode): void {
    const readies = node.readies;
    node.readies = [];
    for (const ready of readies) {
      this.#note(node, ready);
      for (const message of ready.messages) this.send(node, message);
      if (ready.snapshotWanted === null) continue;
      node.install(ready.snapshotWanted);
      // The acknowledgement of a snapshot belongs to the same round.
      readies.push(...node.readies.splice(0));
    }
    if (node.options.isAsync) {
      for (const { messagesAfterPersist } of readies)
        for (const message of messagesAfterPersist)
          if (message.kind === "requestVote") this.send(node, message);
      if (readies.some(isForDisk)) node.appendWork.push(readies);
    } else this.#persisted(node, this.#append(node, readies));
  }

  #note(node: EtcdNode, ready: Ready): void {
    const known = factsOf(this.#facts, node.id);
    if (ready.hardState !== null) node.hard = ready.hardState;
    if (ready.applyThrough === null) return;
    const { storage, applied } = node;
    const entries = storage.entries(applied.index + 1, ready.applyThrough + 1, UNLIMITED);
    node.apply(entries);
    known.applied.push(...entries.map(entryText));
  }

  processAppend(node: EtcdNode): void {
    const work = node.appendWork.shift();
    if (work === undefined) return;
    const batches = this.#append(node, work);
    if (batches.length > 0) this.#parcels.push({ kind: "persisted", to: node.id, batches });
  }

  #append(node: EtcdNode, readies: readonly Ready[]): readonly Ready[] {
    for (const { entries } of readies) node.disk.append(entries);
    for (const ready of readies)
      for (const message of ready.messagesAfterPersist)
        if (message.kind !== "requestVote" || !node.options.isAsync) this.send(node, message);
    return readies.filter(({ entries }) => entries.length > 0);
  }

  #persisted(node: EtcdNode, batches: readonly Ready[]): void {
    for (const { entries } of batches) {
      const last = entries.at(-1);
      if (last !== undefined) node.core.persisted({ index: last.index, term: last.term });
      node.drain();
    }
  }

  send(node: EtcdNode, message: Message): void {
    if (isUnknownToEtcd(node, message)) return;
    this.#facts.sent.push(messageText(message, this.bootIndex));
    this.#parcels.push({ kind: "message", message });
  }

  /** @returns how many there were */
  deliver(to: string, options: { isDropped: boolean; kind: Message["kind"] | null }): number {
    const { isDropped, kind } = options;
    const isMatch = (parcel: Parcel) =>
      parcel.kind === "message"
        ? `${parcel.message.to}` === to && (kind === null || parcel.message.kind === kind)
        : parcel.to === to && !isDropped && kind === null;
    const taken = this.#parcels.filter(isMatch);
    this.#parcels = this.#parcels.filter((parcel) => !isMatch(parcel));
    for (const [at, parcel] of taken.entries()) {
      if (parcel.kind === "persisted") {
        this.#persisted(this.node(to), parcel.batches);
        continue;
      }
      this.#facts.delivered.push(messageText(parcel.message, this.bootIndex));
      if (isDropped || (this.losesSuperseded && isSuperseded(parcel, taken.slice(at + 1))))
        continue;
      const node = this.node(to);
      node.core.step(asScriptHasIt(parcel.message, node.options));
      node.drain();
    }
    return taken.length;
  }

  stabilize(nodes: readonly EtcdNode[]): void {
    for (let isQuiet = false; !isQuiet; ) {
      isQuiet = true;
      for (const node of nodes)
        if (node.readies.length > 0) {
          this.processReady(node);
          isQuiet = false;
        }
      for (const node of nodes)
        if (this.deliver(node.id, { isDropped: false, kind: null }) > 0) isQuiet = false;
      for (const node of nodes)
        for (; node.appendWork.length > 0; isQuiet = false) this.processAppend(node);
    }
  }

  change(node: EtcdNode, input: string): string {
    const [, what = "", id = ""] = /^([vlr])(\d+)$/.exec(input.trim()) ?? [];
    const member = membershipOf([Number(id)]);
    const address = [...member.addresses.values()][0] ?? "";
    const kinds = { v: "addVoter", l: "addLearner" } as const;
    const change: MembershipChange | null =
      what === "r"
        ? { kind: "remove", id: memberId(Number(id)) }
        : what === "v" || what === "l"
          ? { kind: kinds[what], id: memberId(Number(id)), address }
          : null;
    if (change === null) throw new Error(`No single step: ${input}`);
    const result = node.core.proposeMembership(change);
    node.drain();
    return result.kind === "accepted" ? "ok" : result.kind;
  }

  sendSnapshot(node: EtcdNode, to: string): void {
    const snapshot = node.storage.newestSnapshot;
    if (snapshot === null) throw new Error(`Node ${node.id} has no snapshot`);
    const from = memberId(Number(node.id));
    const { term } = node.core.status();
    const message = { kind: "snapshot", from, to: memberId(Number(to)), term, snapshot } as const;
    this.#parcels.push({ kind: "message", message });
  }
}

function isSuperseded(parcel: Parcel, later: readonly Parcel[]): boolean {
  if (parcel.kind !== "message" || parcel.message.kind !== "appendAccepted") return false;
  const { from } = parcel.message;
  return later.some(
    (each) =>
      each.kind === "message" &&
      each.message.kind === "appendAccepted" &&
      each.message.from === from,
  );
}

function isForDisk({ hardState, entries, messagesAfterPersist }: Ready): boolean {
  return hardState !== null || entries.length > 0 || messagesAfterPersist.length > 0;
}

function isUnknownToEtcd({ id, core, options }: EtcdNode, message: Message): boolean {
  const { membership, leader } = core.status();
  if (message.kind === "timeoutNow") return !membership.voters.some((voter) => `${voter}` === id);
  const isRefusal = message.kind === "preVoteResponse" && !message.isGranted;
  return isRefusal && options.hasCheckQuorum && leader !== null;
}

function asScriptHasIt(message: Message, options: NodeOptions): Message {
  const isRequest = message.kind === "requestVote" || message.kind === "requestPreVote";
  return isRequest && !options.hasCheckQuorum ? { ...message, isTransfer: true } : message;
}
