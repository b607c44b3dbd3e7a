/**
 * Watches a test cluster and stops it at the first broken promise of Raft (thesis, figure 3.2; 4.1 for memberships, 6.4
 * for reads). It sees what the cores hand out, and the disks; it knows nothing of their insides.
 * @module
 */
import type { LogIndex, MemberId, Term } from "../common/ids.ts";
import { decodeMembership } from "./membership.ts";
import type { Entry, Membership, MembershipAt, Message, Ready, Snapshot } from "./messages.ts";
import type { TestNode } from "./testing.ts";

export class CheckError extends Error {
  override readonly name = "CheckError";
}

function check(isKept: boolean, promise: string): asserts isKept {
  if (!isKept) throw new CheckError(`Broken: ${promise}`);
}

type Known = { readonly entry: Entry; readonly termBefore: Term | undefined };
/** What is remembered of a node's running process. */
type Process = {
  commitIndex: LogIndex;
  /** By the context: what was committed when the read was asked, and the term of the reign. */
  readonly reads: Map<number, { readonly floor: LogIndex; readonly term: Term }>;
};

/** What a Ready lets a node apply, as its shell reads it. */
export function entriesToApply(node: TestNode, through: LogIndex): readonly Entry[] {
  return node.written.entries(node.appliedIndex + 1, through + 1, Number.POSITIVE_INFINITY);
}

export class Checker {
  /** What the run has met: a run that meets nothing proves nothing. */
  readonly met = {
    leaders: 0,
    overwrittenEntries: 0,
    releasedReads: 0,
    abortedReads: 0,
    memberships: 0,
    overwrittenMemberships: 0,
    snapshots: 0,
    repairs: 0,
  };
  readonly #nodes: readonly TestNode[];
  readonly #founders: Membership;
  readonly #isOn: boolean;
  readonly #leaders = new Map<Term, MemberId>();
  /** Every entry that ever was on a disk, by (index, term). */
  readonly #entries = new Map<string, Known>();
  /** Index 0 is a placeholder. */
  readonly #committed: (Entry | null)[] = [null];
  /** The founders' and the committed ones, in order. */
  readonly #memberships: MembershipAt[];
  readonly #votes = new Map<string, MemberId>();
  readonly #newestTerm = new Map<MemberId, Term>();
  readonly #processes = new Map<MemberId, Process>();

  constructor(nodes: readonly TestNode[], founders: Membership, isOn: boolean) {
    this.#isOn = isOn;
    this.#nodes = nodes;
    this.#founders = founders;
    this.#memberships = [{ index: 0, membership: founders }];
  }

  get commitIndex(): LogIndex {
    return this.#committed.length - 1;
  }

  /** The membership that the committed entries through `index` make. */
  membershipAt(index = this.commitIndex): Membership {
    const found = this.#memberships.findLast((each) => each.index <= index);
    return found?.membership ?? this.#founders;
  }

  /** The founders' and all committed ones, in order. */
  get memberships(): readonly MembershipAt[] {
    return this.#memberships;
  }

  committedThrough(index: LogIndex): readonly Entry[] {
    return this.#committed.slice(1, index + 1).filter((entry) => entry !== null);
  }

  #process(node: TestNode): Process {
    const running = this.#processes.get(node.id) ?? { commitIndex: 0, reads: new Map() };
    this.#processes.set(node.id, running);
    return running;
  }

  restarted(node: TestNode): void {
    const { term } = node.disk.hardState;
    const commitIndex = node.live.status().commitIndex;
    this.#processes.set(node.id, { commitIndex, reads: new Map() });
    if (!this.#isOn) return;
    check(term >= (this.#newestTerm.get(node.id) ?? 0), "a term that was told survives a crash");
  }

  readAsked(node: TestNode, context: number): void {
    const { term } = node.live.status();
    this.#process(node).reads.set(context, { floor: this.commitIndex, term });
  }

  /** Called before the node's storage drops what `first` and its followers overwrite. */
  appending(node: TestNode, first: Entry | undefined): void {
    if (first === undefined) return;
    const end = node.written.lastIndex() + 1;
    this.met.overwrittenEntries += Math.max(0, end - first.index);
    for (let index = first.index; index < end; index += 1)
      if (node.written.at(index)?.kind === "config") this.met.overwrittenMemberships += 1;
  }

  /** Called when the node's storage has the Ready, before anything else is done with it. */
  taken(node: TestNode, ready: Ready): void {
    if (!this.#isOn) return;
    if (ready.hardState !== null) this.#checkCommit(node, ready.hardState.commitIndex);
    if (ready.softState?.role === "leader") this.#checkLeader(node, ready.softState.term);
    if (ready.membership !== null) this.#checkMembership(ready.membership);
    if (ready.applyThrough !== null) {
      check(node.wanted === null, "nothing is applied while a snapshot is installed");
      this.#checkApplied(node, entriesToApply(node, ready.applyThrough));
    }
    if (ready.snapshotWanted !== null) this.#checkSnapshot(node, ready.snapshotWanted.snapshot);
    this.#checkReads(node, ready);
  }

  #checkReads(node: TestNode, ready: Ready): void {
    const { reads } = this.#process(node);
    for (const { context, index } of ready.readStates) {
      const asked = reads.get(context);
      check(
        asked !== undefined && index >= asked.floor,
        "a read sees all that was committed before it",
      );
      check(reads.delete(context), "a read ends once");
      this.met.releasedReads += 1;
      check(index <= node.written.hardState.commitIndex, "a read asks for committed entries only");
    }
    for (const context of ready.abortedReads) {
      this.met.abortedReads += 1;
      check(reads.delete(context), "a read is aborted once, and not after release");
    }
    const { role, term } = node.live.status();
    for (const asked of reads.values())
      check(role === "leader" && term === asked.term, "a read ends with the reign that took it");
  }

  /**
   * Called when entries are on a disk. Log matching, by induction: the same (index, term) has the
   * same content and predecessor. (Entries that only a crashed sole voter had may come differently.)
   */
  durable(node: TestNode, entries: readonly Entry[]): void {
    if (!this.#isOn) return;
    for (const entry of entries) {
      const key = `${entry.index}/${entry.term}`;
      const termBefore = node.disk.termOf(entry.index - 1);
      const known = this.#entries.get(key);
      if (known === undefined) {
        this.#entries.set(key, { entry, termBefore });
        continue;
      }
      check(known.entry.payload === entry.payload, "an index and a term name one entry");
      check(known.termBefore === termBefore, "logs that share an entry agree before it");
    }
  }

  /** Called when a message that had to wait for the disk leaves: only then a vote counts. */
  sent(node: TestNode, message: Message): void {
    if (!this.#isOn) return;
    const { disk } = node;
    this.#newestTerm.set(node.id, Math.max(this.#newestTerm.get(node.id) ?? 0, message.term));
    check(disk.hardState.term >= message.term, "a term is durable before it is promised anything");
    if (message.kind === "appendAccepted")
      check(disk.lastIndex() >= message.matchIndex, "what is acknowledged is durable");
    const isVote = message.kind === "voteResponse" && message.isGranted;
    if (!isVote && message.kind !== "requestVote") return;
    const candidate = isVote ? message.to : message.from;
    check(
      disk.hardState.term > message.term || disk.hardState.vote === candidate,
      "a vote is durable before it is given",
    );
    const key = `${message.from}/${message.term}`;
    const before = this.#votes.get(key);
    check(before === undefined || before === candidate, "a voter votes once in a term");
    this.#votes.set(key, candidate);
  }

  /** Election safety and leader completeness. */
  #checkLeader(node: TestNode, term: Term): void {
    const before = this.#leaders.get(term);
    check(before === undefined || before === node.id, "a term has at most one leader");
    this.#leaders.set(term, node.id);
    this.met.leaders += 1;
    const newest = this.#committed.at(-1);
    check(
      !newest || newest.term > term || node.written.termOf(newest.index) === newest.term,
      "a leader has every entry that was committed before its term",
    );
  }

  /** What any node calls committed is the same for all, and on a majority of the disks. */
  #checkCommit(node: TestNode, commitIndex: LogIndex): void {
    const running = this.#process(node);
    const before = this.membershipAt(running.commitIndex);
    running.commitIndex = commitIndex;
    const isNews = commitIndex > this.commitIndex;
    for (let index = this.#committed.length; index <= commitIndex; index += 1) {
      const entry = node.written.at(index);
      check(entry !== undefined, "a committed entry is in the log of whoever says so");
      this.#committed.push(entry);
      if (entry.kind !== "config") continue;
      this.met.memberships += 1;
      const next = { index, membership: decodeMembership(entry.payload) };
      check(isOneStep(this.membershipAt(), next.membership), "memberships change one voter a step");
      this.#memberships.push(next);
    }
    const entry = node.written.at(commitIndex);
    if (entry === undefined) return;
    check(this.#committed[commitIndex]?.term === entry.term, "what was committed stays");
    // The first to say so is the leader; what it counted by may have changed while it counted.
    check(
      !isNews ||
        this.#isOnMajority(before, entry) ||
        this.#isOnMajority(this.membershipAt(), entry),
      "a committed entry is durable on a majority of the voters",
    );
  }

  #isOnMajority({ voters }: Membership, { index, term }: Entry): boolean {
    const holders = voters.filter((id) => {
      const disk = this.#nodes[Number(id) - 1]?.disk;
      if (disk === undefined) return false;
      const { promise } = disk;
      const isPromised =
        promise !== null &&
        (promise.term > term || (promise.term === term && promise.index >= index));
      return isPromised || index < disk.firstIndex() || disk.termOf(index) === term;
    });
    return holders.length > voters.length / 2;
  }

  #checkMembership({ index, membership }: MembershipAt): void {
    check(index <= this.commitIndex, "a membership is in force when it is committed");
    const { voters } = this.membershipAt(index);
    check(voters.join() === membership.voters.join(), "all follow the same memberships");
  }

  #checkSnapshot(node: TestNode, { index, term, membership }: Snapshot): void {
    this.met.snapshots += 1;
    check(this.#committed[index]?.term === term, "a snapshot holds what is committed");
    check(index > node.appliedIndex, "a snapshot never takes a state back");
    const { voters } = this.membershipAt(index);
    check(voters.join() === membership.voters.join(), "a snapshot knows the members of its time");
  }

  /** State-machine safety; and never ahead of the own disk. */
  #checkApplied(node: TestNode, committed: readonly Entry[]): void {
    let index = node.appliedIndex;
    for (const entry of committed) {
      index += 1;
      check(entry.index === index, "entries are applied in order, without gap or repetition");
      const known = this.#committed[index];
      check(
        known?.term === entry.term && known.payload === entry.payload,
        "all apply the same entry at an index",
      );
      check(
        node.disk.termOf(index) === entry.term,
        "what is applied is durable where it is applied",
      );
    }
  }
}

function isOneStep(before: Membership, after: Membership): boolean {
  const gone = before.voters.filter((id) => !after.voters.includes(id)).length;
  const come = after.voters.filter((id) => !before.voters.includes(id)).length;
  return gone + come <= 1;
}
