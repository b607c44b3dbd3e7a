/**
 * What must hold after every event, watched from outside: at the network, at the state machines and at the disks. The names
 * are those of the invariants in docs/TESTING.md. The first one broken ends the run.
 * @module
 */
import type { LogIndex, MemberId, Term } from "../../src/common/ids.ts";
import type { CommittedEntry, StateMachine } from "../../src/journal/journal_system.ts";
import type { ApplyResult } from "../../src/master/apply.ts";
import type { Message } from "../../src/raft/messages.ts";
import type { MasterProcess } from "./node.ts";
import type { Lane, Scheduler } from "./scheduler.ts";

export class Violation extends Error {
  override readonly name = "Violation";
  readonly invariant: string;

  constructor(invariant: string, message: string) {
    super(`${invariant}: ${message}`);
    this.invariant = invariant;
  }
}

function hashBytes(bytes: Uint8Array, seed: number): number {
  let hash = seed;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

type Position = { readonly index: LogIndex; readonly term: Term };
/** `inTerm` is the first term in which somebody said so. */
type Committed = { readonly term: Term; inTerm: Term; readonly by: string };
/** What one leader has shown of its log, and up to where it has called that committed. */
type ShownLog = { readonly terms: Map<LogIndex, Term>; committed: LogIndex };
/** The last position that a member has acknowledged, and in which term. */
type Acknowledged = Position & { readonly inTerm: Term };

function isBehind(one: Position, other: Position): boolean {
  return one.term < other.term || (one.term === other.term && one.index < other.index);
}

type Applied = { readonly term: Term; readonly hash: number; readonly by: string };

export class Checkers {
  readonly #scheduler: Scheduler;
  /** Who led a term. */
  readonly #leaders = new Map<Term, MemberId>();
  /** The newest term in which a member promised anything, and in which process. */
  readonly #promises = new Map<MemberId, { lane: Lane; term: Term; before: Term }>();
  /** For whom a member voted. */
  readonly #votes = new Map<string, MemberId>();
  /** Entries as leaders sent them. */
  readonly #sent = new Map<string, number>();
  /** Entries as they were applied. */
  readonly #applied = new Map<string, Applied>();
  readonly #digests = new Map<LogIndex, { readonly digest: number; readonly by: string }>();
  /** Of each leader, by its term. */
  readonly #shown = new Map<Term, ShownLog>();
  readonly #committed = new Map<LogIndex, Committed>();
  readonly #acknowledged = new Map<MemberId, Acknowledged>();
  /** What candidates said of their logs. */
  readonly #candidates = new Map<string, Position>();
  readonly leadersSeen = new Set<Term>();
  lastApplied: LogIndex = 0;
  /** The newest entry that was applied by a master which serves: its maker may know by now. */
  told: LogIndex = 0;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  get electionCount(): number {
    return this.#leaders.size;
  }

  fail(invariant: string, message: string): void {
    this.#scheduler.fail(new Violation(invariant, message));
  }

  /**
   * At the network, before a message leaves.
   * @param mayForget the sender's disk has lied in a way that nobody can find out
   */
  sent(lane: Lane, message: Message, mayForget: boolean): void {
    const { from, term, kind } = message;
    this.#scheduler.mix(term * 31 + kind.length);
    if (kind === "requestPreVote" || kind === "preVoteResponse") return;
    this.#promised(lane, message);
    if (
      kind === "appendEntries" ||
      kind === "heartbeat" ||
      kind === "snapshot" ||
      kind === "timeoutNow"
    )
      this.#leads(lane, from, term);
    if (kind === "voteResponse" && message.isGranted) this.#voted(lane, from, term, message.to);
    if (kind === "requestVote") this.#voted(lane, from, term, from);
    if (kind === "appendEntries") {
      this.#sentEntries(lane, message);
      this.#showed(lane, message);
    }
    if (kind === "appendAccepted") this.#acknowledges(message);
    if (kind === "requestVote") {
      const { lastLogIndex, lastLogTerm } = message;
      this.#candidates.set(`${from}/${term}`, { index: lastLogIndex, term: lastLogTerm });
    }
    if (kind === "voteResponse") {
      const { index, term: committedTerm } = message.committed;
      if (index > 0) this.#commits(lane, { index, term: committedTerm }, term);
      if (message.isGranted && !mayForget) this.#grants(lane, message);
    }
  }

  /** A leader's log: what was committed before is in it, and what it calls committed nobody contradicts. */
  #showed(lane: Lane, message: Extract<Message, { kind: "appendEntries" }>): void {
    const { term, prevLogIndex, prevLogTerm, entries, leaderCommit } = message;
    let shown = this.#shown.get(term);
    if (shown === undefined) {
      shown = { terms: new Map(), committed: 0 };
      this.#shown.set(term, shown);
    }
    for (const position of [{ index: prevLogIndex, term: prevLogTerm }, ...entries]) {
      shown.terms.set(position.index, position.term);
      const known = this.#committed.get(position.index);
      if (known !== undefined && known.inTerm <= term && known.term !== position.term)
        this.fail(
          "I4",
          `${lane.name} leads in term ${term} with an entry ${position.index} of term ${position.term}; that of term ${known.term} is committed, as ${known.by} said in term ${known.inTerm}`,
        );
      if (position.index <= leaderCommit) this.#commits(lane, position, term);
    }
    for (; shown.committed < leaderCommit; shown.committed += 1) {
      const index = shown.committed + 1;
      const entryTerm = shown.terms.get(index);
      if (entryTerm !== undefined) this.#commits(lane, { index, term: entryTerm }, term);
    }
  }

  #commits(lane: Lane, { index, term }: Position, inTerm: Term): void {
    const known = this.#committed.get(index);
    if (known === undefined) this.#committed.set(index, { term, inTerm, by: lane.name });
    else if (known.term !== term)
      this.fail(
        "I4",
        `${lane.name} calls entry ${index} of term ${term} committed, and ${known.by} that of term ${known.term}`,
      );
    else known.inTerm = Math.min(known.inTerm, inTerm);
  }

  #acknowledges({ from, term, matchIndex }: Extract<Message, { kind: "appendAccepted" }>): void {
    const known = this.#acknowledged.get(from);
    if (known !== undefined && known.inTerm > term) return;
    if (known !== undefined && known.inTerm === term && known.index >= matchIndex) return;
    const entryTerm =
      this.#shown.get(term)?.terms.get(matchIndex) ?? this.#committed.get(matchIndex)?.term;
    if (entryTerm !== undefined)
      this.#acknowledged.set(from, { index: matchIndex, term: entryTerm, inTerm: term });
  }

  /** Who has acknowledged an entry does not help a candidate without it into office. */
  #grants(lane: Lane, { from, to, term }: Message): void {
    const held = this.#acknowledged.get(from);
    const candidate = this.#candidates.get(`${to}/${term}`);
    if (held === undefined || candidate === undefined || held.inTerm >= term) return;
    if (isBehind(candidate, held))
      this.fail(
        "I3",
        `${lane.name} voted in term ${term} for a log that ends at entry ${candidate.index} of term ${candidate.term}, and has acknowledged entry ${held.index} of term ${held.term}`,
      );
  }

  /** What a process has promised in a term holds its successors to that term. */
  #promised(lane: Lane, message: Message): void {
    const { from, term, kind } = message;
    let known = this.#promises.get(from);
    if (known === undefined || known.lane !== lane) {
      known = { lane, term: known?.term ?? 0, before: known?.term ?? 0 };
      this.#promises.set(from, known);
    }
    if (term < known.before)
      this.fail(
        "I3",
        `${lane.name} said ${kind} in term ${term}, after a promise in ${known.before}`,
      );
    const isPromise =
      kind === "appendAccepted" ||
      kind === "requestVote" ||
      (kind === "voteResponse" && message.isGranted);
    if (isPromise) known.term = Math.max(known.term, term);
  }

  #leads(lane: Lane, member: MemberId, term: Term): void {
    const known = this.#leaders.get(term);
    if (known === undefined) {
      this.#leaders.set(term, member);
      this.#scheduler.note(`${lane.name} leads in term ${term}`);
    } else if (known !== member)
      this.fail("I3", `two leaders in term ${term}, one is ${lane.name}`);
  }

  #voted(lane: Lane, voter: MemberId, term: Term, candidate: MemberId): void {
    const key = `${voter}/${term}`;
    const known = this.#votes.get(key);
    if (known === undefined) this.#votes.set(key, candidate);
    else if (known !== candidate) this.fail("I3", `${lane.name} voted twice in term ${term}`);
  }

  #sentEntries(lane: Lane, message: Extract<Message, { kind: "appendEntries" }>): void {
    for (const { index, term, payload, kind } of message.entries) {
      const key = `${index}/${term}`;
      const hash = hashBytes(payload, kind.length);
      const known = this.#sent.get(key);
      if (known === undefined) this.#sent.set(key, hash);
      else if (known !== hash)
        this.fail(
          "I4",
          `${lane.name} sent another entry ${index} of term ${term} than was sent before`,
        );
    }
  }

  /** Puts a watch between a journal and its state machine. */
  watch(process: MasterProcess, inner: StateMachine<ApplyResult>): StateMachine<ApplyResult> {
    return {
      position: () => inner.position(),
      apply: (entries, through) => {
        const before = inner.position();
        if (through.index <= before.index)
          this.fail(
            "I4",
            `${process.main.name} applied entry ${through.index} after ${before.index}`,
          );
        const results = inner.apply(entries, through);
        if (process.journal.isServing()) this.told = Math.max(this.told, through.index);
        let rank = 0;
        for (const [at, entry] of entries.entries()) {
          rank = entries[at - 1]?.index === entry.index ? rank + 1 : 0;
          this.#onApplied(process, entry, rank);
        }
        this.#compare(process, through.index);
        return results;
      },
      writeImage: (path) => inner.writeImage(path),
      installImage: async (path, imageBytes) => {
        const before = inner.position();
        const position = await inner.installImage(path, imageBytes);
        if (position.index < before.index)
          this.fail(
            "I4",
            `${process.main.name} was taken back from entry ${before.index} to a checkpoint of ${position.index}`,
          );
        this.#compare(process, position.index);
        return position;
      },
    };
  }

  /** @param rank among the commands that share the entry */
  #onApplied(process: MasterProcess, { index, term, payload }: CommittedEntry, rank: number): void {
    const hash = hashBytes(payload, 0x811c9dc5);
    const key = `${index}/${rank}`;
    const known = this.#applied.get(key);
    this.lastApplied = Math.max(this.lastApplied, index);
    if (known === undefined) {
      this.#applied.set(key, { term, hash, by: process.main.name });
      return;
    }
    if (known.term !== term || known.hash !== hash)
      this.fail(
        "I4",
        `${process.main.name} applied another entry ${index} (term ${term}) than ${known.by} (term ${known.term})`,
      );
  }

  #compare(process: MasterProcess, index: LogIndex): void {
    const { digest } = process.store;
    const known = this.#digests.get(index);
    this.#scheduler.mix(digest);
    if (known === undefined) this.#digests.set(index, { digest, by: process.main.name });
    else if (known.digest !== digest)
      this.fail(
        "I6",
        `${process.main.name} and ${known.by} differ in their state after entry ${index}`,
      );
  }

  /**
   * A read was answered by a process, and when it was asked for there clients might have been told of entry `floor`.
   */
  read(process: MasterProcess, floor: LogIndex): void {
    const { index } = process.state.stateMachine.position();
    if (index < floor)
      this.fail(
        "I2",
        `${process.main.name} answered a read from its state of entry ${index}; what entry ${floor} did had been told before it was asked for`,
      );
  }

  /** A process opened: its store is what it was after some whole batch. */
  opened(process: MasterProcess): void {
    const { index } = process.state.stateMachine.position();
    const known = this.#digests.get(index);
    if (index > 0 && known !== undefined && known.digest !== process.store.digest)
      this.fail(
        "I7",
        `${process.main.name} opened a state of entry ${index} that is not the one after it`,
      );
  }
}
