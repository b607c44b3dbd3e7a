/**
 * Watches a test cluster and stops it at the first broken promise of Raft (thesis, figure 3.2, and
 * 6.4 for reads). It sees what the cores hand out, and the disks; it knows nothing of their insides.
 * @module
 */
import type { LogIndex, MemberId, Term } from "../common/ids.ts";
import type { Entry, Membership, Message, Ready } from "./messages.ts";
import type { TestNode } from "./testing.ts";

export class CheckError extends Error {
  override readonly name = "CheckError";
}

function check(isKept: boolean, promise: string): asserts isKept {
  if (!isKept) throw new CheckError(`Broken: ${promise}`);
}

type Known = { readonly entry: Entry; readonly termBefore: Term | undefined };

/** What a Ready lets a node apply, as its shell reads it. */
export function entriesToApply(node: TestNode, through: LogIndex): readonly Entry[] {
  return node.written.entries(node.appliedIndex + 1, through + 1, Number.POSITIVE_INFINITY);
}

export class Checker {
  /** What the run has met: a run that meets nothing proves nothing. */
  readonly met = { leaders: 0, overwrittenEntries: 0, releasedReads: 0, abortedReads: 0 };
  readonly #nodes: readonly TestNode[];
  readonly #membership: Membership;
  readonly #isOn: boolean;
  readonly #leaders = new Map<Term, MemberId>();
  /** Every entry that ever was on a disk, by (index, term). */
  readonly #entries = new Map<string, Known>();
  /** Index 0 is a placeholder. */
  readonly #committed: (Entry | null)[] = [null];
  readonly #votes = new Map<string, MemberId>();
  readonly #readFloors = new Map<string, LogIndex>();
  readonly #incarnations = new Map<MemberId, number>();

  constructor(nodes: readonly TestNode[], membership: Membership, isOn: boolean) {
    this.#isOn = isOn;
    this.#nodes = nodes;
    this.#membership = membership;
  }

  get commitIndex(): LogIndex {
    return this.#committed.length - 1;
  }

  restarted(node: TestNode): void {
    this.#incarnations.set(node.id, (this.#incarnations.get(node.id) ?? 0) + 1);
  }

  #readKey(node: TestNode, context: number): string {
    return `${node.id}/${this.#incarnations.get(node.id)}/${context}`;
  }

  readAsked(node: TestNode, context: number): void {
    this.#readFloors.set(this.#readKey(node, context), this.commitIndex);
  }

  /** Called before the node's storage drops what `first` and its followers overwrite. */
  appending(node: TestNode, first: Entry | undefined): void {
    if (first !== undefined)
      this.met.overwrittenEntries += Math.max(0, node.written.lastIndex() + 1 - first.index);
  }

  /** Called when the node's storage has the Ready, before anything else is done with it. */
  taken(node: TestNode, ready: Ready): void {
    if (!this.#isOn) return;
    if (ready.hardState !== null) this.#checkCommit(node, ready.hardState.commitIndex);
    if (ready.softState?.role === "leader") this.#checkLeader(node, ready.softState.term);
    if (ready.applyThrough !== null)
      this.#checkApplied(node, entriesToApply(node, ready.applyThrough));
    for (const { context, index } of ready.readStates) {
      const floor = this.#readFloors.get(this.#readKey(node, context));
      check(floor !== undefined && index >= floor, "a read sees all that was committed before it");
      check(node.reads.get(context) === "waiting", "a read ends once");
      this.met.releasedReads += 1;
      check(index <= node.written.hardState.commitIndex, "a read asks for committed entries only");
    }
    for (const context of ready.abortedReads) {
      this.met.abortedReads += 1;
      check(node.reads.get(context) === "waiting", "a read is aborted once, and not after release");
    }
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
  sent(message: Message): void {
    if (!this.#isOn) return;
    const isVote = message.kind === "voteResponse" && message.isGranted;
    if (!isVote && message.kind !== "requestVote") return;
    const candidate = isVote ? message.to : message.from;
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
    for (let index = this.#committed.length; index <= commitIndex; index += 1) {
      const entry = node.written.at(index);
      check(entry !== undefined, "a committed entry is in the log of whoever says so");
      const holders = this.#membership.voters.filter(
        (id) => this.#nodes[Number(id) - 1]?.disk.termOf(index) === entry.term,
      );
      check(
        holders.length > this.#membership.voters.length / 2,
        "a committed entry is durable on a majority of the voters",
      );
      this.#committed.push(entry);
    }
    const entry = node.written.at(commitIndex);
    if (entry === undefined) return;
    check(this.#committed[commitIndex]?.term === entry.term, "what was committed stays");
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
