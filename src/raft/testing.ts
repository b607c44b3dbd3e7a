/**
 * A cluster of Raft cores for tests: memory for disks, a list for the network, and the test decides
 * what happens next. Not part of the product; pure, so that a seed replays a run exactly.
 *
 * The fake disk is honest but slow: a batch is readable at once, durable only after `persist`, and a
 * crash loses what was not durable, save perhaps a prefix that reached the disk unanswered.
 * Everything that happens is shown to a {@link Checker}.
 * @module
 */
import type { LogIndex, MemberId, Term } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import type { Random } from "../world/ports.ts";
import { RaftCore } from "./core.ts";
import { decodeMembership, NOBODY } from "./membership.ts";
import type {
  Entry,
  HardState,
  Membership,
  MembershipAt,
  MembershipChange,
  Message,
  Position,
  ProposeMembershipResult,
  ProposeResult,
  RaftConfig,
  RaftStorage,
  Ready,
  Snapshot,
} from "./messages.ts";
import type { MessageBody } from "./outbox.ts";
import { Checker, entriesToApply } from "./testing_checker.ts";

/** Small numbers read well in tests; real ids are random. */
export function memberId(id: number): MemberId {
  return BigInt(id) as MemberId; // the brand only keeps kinds of ids apart
}

/** Mulberry32: small, fast, and good enough to choose what goes wrong. */
export class SeededRandom implements Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  uint32(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  below(count: number): number {
    return this.uint32() % count;
  }

  chance(probability: number): boolean {
    return this.uint32() < probability * 2 ** 32;
  }
}

/** Addresses as members have them. */
export function membershipOf(
  voters: readonly number[],
  learners: readonly number[] = [],
): Membership {
  const addresses = new Map(
    [...voters, ...learners].map((id) => [memberId(id), `host${id}:19200`]),
  );
  return { voters: voters.map(memberId), learners: learners.map(memberId), addresses };
}

/** A log in memory. */
export class MemoryStorage implements RaftStorage {
  hardState: HardState = { term: 0, vote: null, commitIndex: 0 };
  /** What can be given to peers. */
  newestSnapshot: Snapshot | null = null;
  promise: Position | null = null;
  #entries: Entry[] = [];
  #before: Position = { index: 0, term: 0 };
  /** In force before the first entry, then those of config entries. */
  #memberships: MembershipAt[];

  constructor(membership: Membership) {
    this.#memberships = [{ index: 0, membership }];
  }

  memberships(): readonly MembershipAt[] {
    return this.#memberships;
  }
  promised(): Position | null {
    return this.promise;
  }
  snapshot(): Snapshot | null {
    return this.newestSnapshot;
  }
  firstIndex(): LogIndex {
    return this.#before.index + 1;
  }
  lastIndex(): LogIndex {
    return this.#before.index + this.#entries.length;
  }
  terms(): readonly Term[] {
    return this.#entries.map((entry) => entry.term);
  }
  at(index: LogIndex): Entry | undefined {
    return this.#entries[index - this.firstIndex()];
  }
  termOf(index: LogIndex): Term | undefined {
    return index === this.#before.index ? this.#before.term : this.at(index)?.term;
  }

  entries(from: LogIndex, to: LogIndex, bytesMax: number): readonly Entry[] {
    const found: Entry[] = [];
    let bytes = 0;
    for (let index = from; index < to; index += 1) {
      const entry = this.at(index);
      invariant(entry !== undefined, "entries that are asked for are in the log");
      bytes += entry.payload.byteLength;
      if (found.length > 0 && bytes > bytesMax) break;
      found.push(entry);
    }
    return found;
  }

  append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    invariant(first.index <= this.lastIndex() + 1, "a batch leaves no gap");
    this.#dropFrom(first.index);
    for (const entry of entries) this.#entries.push(entry);
    this.#memberships.push(...entries.flatMap(membershipAt));
    const { promise } = this;
    const last = { index: this.lastIndex(), term: this.termOf(this.lastIndex()) ?? 0 };
    if (promise !== null && isAtOrBehind(last, promise)) this.promise = null;
  }

  /** Drops entries through `index`. */
  trim(index: LogIndex): void {
    const term = this.termOf(index);
    invariant(term !== undefined, "a log is trimmed at one of its entries");
    this.#entries.splice(0, index - this.#before.index);
    this.#memberships = this.#memberships.filter(
      (_, at, all) => (all[at + 1]?.index ?? index + 1) > index,
    );
    this.#before = { index, term };
  }

  /** Makes the log begin behind a snapshot, with nothing in it. */
  resetTo({ index, term, membership }: Snapshot): void {
    this.#entries = [];
    this.#before = { index, term };
    this.#memberships = [{ index, membership }];
    if (this.promise !== null && isAtOrBehind({ index, term }, this.promise)) this.promise = null;
  }

  /** Entries behind `index` can't be read any more. */
  damage(index: LogIndex): void {
    const last = { index: this.lastIndex(), term: this.termOf(this.lastIndex()) ?? 0 };
    if (this.promise === null || !isAtOrBehind(this.promise, last)) this.promise = last;
    this.#dropFrom(index + 1);
  }

  #dropFrom(index: LogIndex): void {
    this.#entries.length = index - this.firstIndex();
    this.#memberships = this.#memberships.filter((each, at) => at === 0 || each.index < index);
  }

  clone(): MemoryStorage {
    const copy = new MemoryStorage(NOBODY);
    copy.hardState = this.hardState;
    copy.newestSnapshot = this.newestSnapshot;
    copy.promise = this.promise;
    copy.#entries = [...this.#entries];
    copy.#before = this.#before;
    copy.#memberships = [...this.#memberships];
    return copy;
  }
}

function membershipAt({ kind, index, payload }: Entry): MembershipAt[] {
  return kind === "config" ? [{ index, membership: decodeMembership(payload) }] : [];
}

function isAtOrBehind(one: Position, other: Position): boolean {
  return one.term > other.term || (one.term === other.term && one.index >= other.index);
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

type Batch = Pick<Ready, "hardState" | "mustSync" | "entries" | "messagesAfterPersist">;

/** One node and its disk; dead while `core` is null. */
export class TestNode {
  readonly id: MemberId;
  readonly founders: Membership;
  core: RaftCore | null = null;
  /** What the core reads: everything it has handed out. */
  written: MemoryStorage;
  /** What a crash leaves. */
  disk: MemoryStorage;
  pending: Batch[] = [];
  /** The commit index that the last fsync has made safe. */
  syncedCommitIndex: LogIndex = 0;
  /** The state machine: what was applied since index 1. */
  appliedEntries: Entry[] = [];
  /** A snapshot that the core asked for. */
  wanted: Snapshot | null = null;
  readContext = 0;
  /** Reads by context: waiting, released at an index, or aborted. */
  reads = new Map<number, "waiting" | "aborted" | LogIndex>();

  constructor(id: MemberId, membership: Membership) {
    this.id = id;
    this.founders = membership;
    this.disk = new MemoryStorage(membership);
    this.written = this.disk.clone();
  }

  get appliedIndex(): LogIndex {
    return this.appliedEntries.length;
  }

  /** Applied commands as text, in order. */
  get applied(): readonly string[] {
    return this.appliedEntries
      .filter((entry) => entry.kind === "command")
      .map((entry) => decoder.decode(entry.payload));
  }

  /** The membership in force where the state machine stands. */
  get appliedMembership(): MembershipAt {
    const first = { index: 0, membership: this.founders };
    return this.appliedEntries.flatMap(membershipAt).at(-1) ?? first;
  }

  get live(): RaftCore {
    invariant(this.core !== null, "this node lives");
    return this.core;
  }
}

export type ClusterOptions = {
  readonly voters: number;
  readonly learners?: number;
  readonly seed?: number;
  readonly config?: Partial<RaftConfig>;
  /** Persist every batch as soon as it is taken. */
  readonly isDiskInstant?: boolean;
  /** False for tests that make up messages: what they tell would break promises. */
  readonly isChecked?: boolean;
};

export const TEST_CONFIG: Omit<RaftConfig, "id" | "appliedIndex"> = {
  electionTicksMin: 10,
  electionTicksMax: 20,
  heartbeatTicks: 3,
  inflightEntriesMax: 16,
  inflightBytesMax: 4096,
  appendBytesMax: 1024,
};

export class Cluster {
  readonly nodes: TestNode[];
  readonly membership: Membership;
  readonly checker: Checker;
  readonly random: SeededRandom;
  /** Messages under way, oldest first. */
  network: Message[] = [];
  isDiskInstant: boolean;
  readonly #config: Partial<RaftConfig>;
  readonly #cutLinks = new Set<string>();
  readonly #presets = new Map<string, Entry>();

  constructor(options: ClusterOptions) {
    const numbers = (from: number, count: number) =>
      Array.from({ length: count }, (_, at) => from + at);
    this.membership = membershipOf(
      numbers(1, options.voters),
      numbers(options.voters + 1, options.learners ?? 0),
    );
    this.random = new SeededRandom(options.seed ?? 1);
    this.#config = options.config ?? {};
    this.isDiskInstant = options.isDiskInstant ?? true;
    this.nodes = [...this.membership.voters, ...this.membership.learners].map(
      (id) => new TestNode(id, this.membership),
    );
    this.checker = new Checker(this.nodes, this.membership, options.isChecked ?? true);
    for (const node of this.nodes) this.restart(node);
  }

  /** A new node with an empty disk that knows of no membership. Nobody knows of it either. */
  join(): TestNode {
    const node = new TestNode(memberId(this.nodes.length + 1), NOBODY);
    this.nodes.push(node);
    this.restart(node);
    return node;
  }

  /** Node number 1, 2, … */
  node(number: number): TestNode {
    const node = this.nodes[number - 1];
    invariant(node !== undefined, "the cluster has such a node");
    return node;
  }

  core(number: number): RaftCore {
    return this.node(number).live;
  }

  /** The node that leads in the newest term. */
  leader(): TestNode | null {
    const leaders = this.nodes.filter((node) => node.core?.status().role === "leader");
    leaders.sort((a, b) => b.live.status().term - a.live.status().term);
    return leaders[0] ?? null;
  }

  // — faults —

  cut(from: number, to: number): void {
    this.#cutLinks.add(`${from}>${to}`);
  }
  /** Cuts all links, both ways, between these nodes and the others. */
  isolate(...numbers: number[]): void {
    for (const inside of numbers)
      for (const outside of this.nodes.map((_, at) => at + 1))
        if (!numbers.includes(outside)) {
          this.cut(inside, outside);
          this.cut(outside, inside);
        }
  }
  heal(): void {
    this.#cutLinks.clear();
  }

  /** @param survivingBatches how many unanswered batches reached the disk all the same */
  crash(node: TestNode, survivingBatches = 0): void {
    for (const batch of node.pending.slice(0, survivingBatches)) this.#write(node, batch);
    node.core = null;
    node.pending = [];
    node.wanted = null;
    node.disk.hardState = { ...node.disk.hardState, commitIndex: node.syncedCommitIndex };
  }

  /** @param appliedIndex what the state machine kept; below what it had only after a power cut */
  restart(node: TestNode, appliedIndex = node.appliedIndex): void {
    node.written = node.disk.clone();
    node.pending = [];
    node.appliedEntries.length = appliedIndex;
    node.reads = new Map();
    node.readContext = 0;
    const config = { ...TEST_CONFIG, ...this.#config, id: node.id, appliedIndex };
    node.core = new RaftCore(config, node.written, this.random);
    this.checker.restarted(node);
  }

  /** The disk of a dead node loses all entries behind `index`, which were not applied. */
  damage(node: TestNode, index: LogIndex): void {
    invariant(node.core === null, "damage is found at a start");
    node.disk.damage(index);
  }

  /** Makes a snapshot of what is applied, and drops the log through `index`. */
  trim(node: TestNode, index = node.appliedIndex): void {
    const term = node.written.termOf(node.appliedIndex);
    invariant(term !== undefined, "what was applied last is in the log");
    const { membership } = node.appliedMembership;
    for (const storage of [node.disk, node.written]) {
      storage.newestSnapshot = { index: node.appliedIndex, term, membership };
      storage.trim(index);
    }
  }

  /** Gives the node the snapshot that it wants, if somebody has applied that much. */
  install(node: TestNode): void {
    const { wanted } = node;
    invariant(wanted !== null, "a snapshot is installed when it is wanted");
    this.persist(node);
    node.wanted = null;
    node.appliedEntries = [...this.#stateAt(wanted.index)];
    for (const storage of [node.disk, node.written]) {
      storage.resetTo(wanted);
      storage.newestSnapshot = wanted;
    }
    node.live.snapshotInstalled(wanted);
    this.pump(node);
  }

  #stateAt(index: LogIndex): readonly Entry[] {
    const donor = this.nodes.find(({ appliedIndex }) => appliedIndex >= index);
    if (donor !== undefined) return donor.appliedEntries.slice(0, index);
    return this.checker.committedThrough(index);
  }

  failSnapshot(node: TestNode): void {
    node.wanted = null;
    node.live.snapshotFailed();
    this.pump(node);
  }

  /** Starts a node anew with a log of these terms, and a hard state that fits. */
  preset(number: number, terms: readonly Term[], hardState: Partial<HardState> = {}): void {
    const node = this.node(number);
    node.disk = new MemoryStorage(this.membership);
    node.disk.append(terms.map((term, at) => this.#presetEntry(at + 1, term)));
    node.disk.hardState = { term: terms.at(-1) ?? 0, vote: null, commitIndex: 0, ...hardState };
    node.appliedEntries = [];
    this.restart(node);
  }

  /** One object for an (index, term), as if it had come from one leader. */
  #presetEntry(index: LogIndex, term: Term): Entry {
    const key = `${index}/${term}`;
    const payload = encoder.encode(key);
    const entry = this.#presets.get(key) ?? { index, term, kind: "command", payload };
    this.#presets.set(key, entry);
    return entry;
  }

  // — what a shell does —

  /** Takes and carries out everything that the core wants. */
  pump(node: TestNode): void {
    for (let ready = node.live.takeReady(); ready !== null; ready = node.live.takeReady()) {
      if (ready.hardState !== null) node.written.hardState = ready.hardState;
      this.checker.appending(node, ready.entries[0]);
      node.written.append(ready.entries);
      this.checker.taken(node, ready);
      for (const message of ready.messages) this.network.push(message);
      const { hardState, mustSync, entries, messagesAfterPersist } = ready;
      if (hardState !== null || entries.length > 0 || messagesAfterPersist.length > 0)
        node.pending.push({ hardState, mustSync, entries, messagesAfterPersist });
      if (ready.applyThrough !== null)
        node.appliedEntries.push(...entriesToApply(node, ready.applyThrough));
      for (const { context, index } of ready.readStates) node.reads.set(context, index);
      for (const context of ready.abortedReads) node.reads.set(context, "aborted");
      if (ready.snapshotWanted !== null) node.wanted = ready.snapshotWanted.snapshot;
      if (this.isDiskInstant) this.#persistPending(node, node.pending.length);
    }
  }

  /** Makes the oldest batches durable. */
  persist(node: TestNode, count = node.pending.length): void {
    this.#persistPending(node, count);
    this.pump(node);
  }

  #persistPending(node: TestNode, count: number): void {
    for (const batch of node.pending.splice(0, count)) {
      this.#write(node, batch);
      node.written.promise = node.disk.promise;
      for (const message of batch.messagesAfterPersist) {
        this.checker.sent(node, message);
        this.network.push(message);
      }
      const last = batch.entries.at(-1);
      if (last !== undefined) node.live.persisted({ index: last.index, term: last.term });
    }
  }

  tick(node: TestNode, count = 1): void {
    for (let at = 0; at < count; at += 1) {
      node.live.tick();
      this.pump(node);
    }
  }

  deliver(message: Message): void {
    if (this.#cutLinks.has(`${message.from}>${message.to}`)) return;
    const node = this.nodes[Number(message.to) - 1];
    // A member may be named before there is one.
    if (!node || node.core === null) return;
    node.core.step(message);
    this.pump(node);
  }

  /** Gives a made-up message to its receiver, and takes what it answers out of the network. */
  ask(from: number, to: number, term: Term, body: MessageBody): readonly Message[] {
    const before = this.network;
    this.network = [];
    this.deliver({ from: memberId(from), to: memberId(to), term, ...body });
    const answers = this.network;
    this.network = before;
    return answers;
  }

  /** Removes and gives back the messages under way that match. */
  take(matches: (message: Message) => boolean): readonly Message[] {
    const taken = this.network.filter(matches);
    this.network = this.network.filter((message) => !matches(message));
    return taken;
  }

  /** Delivers, in order, what matches, also what that gives rise to. The rest stays under way. */
  settleOnly(matches: (message: Message) => boolean): void {
    for (let taken = this.take(matches); taken.length > 0; taken = this.take(matches))
      for (const message of taken) this.deliver(message);
  }

  /** Delivers in order, also what that gives rise to, until all is quiet. */
  settle(): void {
    for (let turn = 0; this.network.length > 0; turn += 1) {
      invariant(turn < 10_000, "a cluster without ticks comes to rest");
      const messages = this.network;
      this.network = [];
      for (const message of messages) this.deliver(message);
    }
  }

  /** One tick everywhere, and all that follows. */
  round(count = 1): void {
    for (let at = 0; at < count; at += 1) {
      for (const node of this.nodes) if (node.core !== null) this.tick(node);
      this.settle();
    }
  }

  /** Lets one node campaign and win. */
  elect(number: number): void {
    const node = this.node(number);
    for (let at = 0; node.live.status().role !== "leader"; at += 1) {
      invariant(at < 100, "the node wins its election");
      this.tick(node);
      this.settle();
    }
  }

  propose(node: TestNode, ...commands: string[]): ProposeResult {
    const result = node.live.propose(commands.map((command) => encoder.encode(command)));
    this.pump(node);
    return result;
  }

  change(node: TestNode, change: MembershipChange): ProposeMembershipResult {
    const result = node.live.proposeMembership(change);
    this.pump(node);
    return result;
  }

  /** @returns the read's context, or null when the node does not lead */
  read(node: TestNode): number | null {
    const context = node.readContext + 1;
    node.readContext = context;
    const isAccepted = node.live.readIndex(context) === "accepted";
    if (isAccepted) {
      this.checker.readAsked(node, context);
      node.reads.set(context, "waiting");
    }
    this.pump(node);
    return isAccepted ? context : null;
  }

  #write(node: TestNode, batch: Batch): void {
    if (batch.hardState !== null) node.disk.hardState = batch.hardState;
    node.disk.append(batch.entries);
    this.checker.durable(node, batch.entries);
    if (batch.mustSync) node.syncedCommitIndex = node.disk.hardState.commitIndex;
  }
}
