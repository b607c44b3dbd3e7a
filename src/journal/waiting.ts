/**
 * Who waits for the journal on the main thread: proposals for their results, readers for their index.
 *
 * A proposal goes from `queued` (this turn of the loop) to `requested` (sent to the journal thread) to `accepted` (in the
 * log, at an index and under a term), and is answered when the entry of that index and term is applied. The end of a
 * reign rejects all of them wherever they are; answers that come later find nobody.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import type { LogIndex, Term } from "../common/ids.ts";
import { invariant } from "../common/invariant.ts";
import { ENTRY_BYTES_MAX, PROPOSALS_MAX } from "../common/limits.ts";
import { bundle } from "./bundle.ts";
import { ENTRY_KINDS, type Packed, pack, unpackInto } from "./journal_protocol.ts";
import type { ProposalTimes } from "./journal_system.ts";

/** Payloads that wait for a commit; with PROPOSALS_MAX alone they might be 16 GiB. */
const PROPOSAL_BYTES_MAX = 64 * 1024 * 1024;

type Proposal<R> = {
  readonly payload: Uint8Array;
  readonly stopwatch: Stopwatch | null;
  readonly resolve: (result: R) => void;
  readonly reject: (error: RockpoolError) => void;
};

/** One proposal on its way, for whoever asked where the time goes. */
type Stopwatch = { readonly times: ProposalTimes; readonly addedMs: number; sentMs: number };

/** One proposal goes as it is; several at once share entries. */
type EntryKind = "command" | "commands";

/** Entries of one term that follow one another. */
export type OwnRange = {
  readonly firstIndex: LogIndex;
  readonly count: number;
  readonly term: Term;
};

/** Consecutive entries, their kinds as codes of {@link ENTRY_KINDS}. */
export type OwnEntries = {
  readonly payloads: readonly Uint8Array[];
  readonly kinds: readonly number[];
};

/** What was sent at once. Its bytes stay until all of it is applied, since the journal thread does not send them back. */
type Request<R> = {
  readonly entryKind: EntryKind;
  /** The payloads of its entries. */
  readonly packed: Packed;
  /** How many proposals are in all entries up to each. */
  readonly ends: readonly number[];
  /** Of its entries, those that no later reign is known to have replaced. */
  count: number;
  /** Empty once nobody waits for them any more. */
  proposals: readonly Proposal<R>[];
  /** How many of them are answered; in order. */
  answered: number;
  firstIndex: LogIndex;
  term: Term;
};

export class WaitingProposals<R> {
  readonly #nowMs: () => number;
  #queued: Proposal<R>[] = [];
  #requested = new Map<number, Request<R>>();
  /** In the order of the log. */
  #accepted: Request<R>[] = [];
  #requestId = 0;
  #count = 0;
  #bytes = 0;

  /** @param nowMs of a clock that never goes back; asked only for proposals whose time is taken */
  constructor(nowMs: () => number = () => 0) {
    this.#nowMs = nowMs;
  }

  /** @throws RockpoolError (as a rejection) RESOURCE_EXHAUSTED when too many wait, INVALID_ARGUMENT for what no entry holds */
  add(payload: Uint8Array, times?: ProposalTimes): Promise<R> {
    if (payload.length > ENTRY_BYTES_MAX)
      return Promise.reject(
        new RockpoolError(
          "INVALID_ARGUMENT",
          `A command of ${payload.length} B is larger than the ${ENTRY_BYTES_MAX} B of one journal entry`,
          "Split the request: shorter lists, smaller extended attributes",
        ),
      );
    if (this.#count >= PROPOSALS_MAX || this.#bytes + payload.length > PROPOSAL_BYTES_MAX)
      return Promise.reject(
        new RockpoolError(
          "RESOURCE_EXHAUSTED",
          `${this.#count} changes of ${this.#bytes} B wait for the journal already`,
          "Send fewer requests at a time",
        ),
      );
    this.#count += 1;
    this.#bytes += payload.length;
    const addedMs = times === undefined ? 0 : this.#nowMs();
    const stopwatch = times === undefined ? null : { times, addedMs, sentMs: addedMs };
    return new Promise((resolve, reject) => {
      this.#queued.push({ payload, stopwatch, resolve, reject });
    });
  }

  /** What was added since the last time, to be sent under an id; null for nothing. */
  takeQueued(): {
    readonly requestId: number;
    readonly entryKind: EntryKind;
    readonly payloads: Packed;
  } | null {
    if (this.#queued.length === 0) return null;
    const proposals = this.#queued;
    this.#queued = [];
    this.#requestId += 1;
    const requestId = this.#requestId;
    const commands: Uint8Array[] = [];
    for (const { payload } of proposals) commands.push(payload);
    const entryKind = commands.length === 1 ? "command" : "commands";
    const { packed, ends } =
      entryKind === "command" ? { packed: pack(commands), ends: [1] } : bundle(commands);
    const sent = { entryKind, packed, ends, count: ends.length } as const;
    this.#requested.set(requestId, { ...sent, proposals, answered: 0, firstIndex: 0, term: 0 });
    for (const { stopwatch } of proposals) if (stopwatch !== null) stopwatch.sentMs = this.#nowMs();
    return { requestId, entryKind, payloads: packed };
  }

  accepted(requestId: number, firstIndex: LogIndex, term: Term): void {
    const request = this.#requested.get(requestId);
    if (request === undefined) return;
    this.#requested.delete(requestId);
    this.#replacedFrom(firstIndex);
    request.firstIndex = firstIndex;
    request.term = term;
    this.#accepted.push(request);
  }

  /** A reign appends there: what was accepted in an earlier one, there or behind, is gone. Nobody has waited for it since. */
  #replacedFrom(index: LogIndex): void {
    for (let last = this.#accepted.at(-1); last !== undefined; last = this.#accepted.at(-1)) {
      last.count = Math.min(last.count, index - last.firstIndex);
      if (last.count > 0) return;
      this.#accepted.pop();
    }
  }

  refused(requestId: number, error: RockpoolError): void {
    const request = this.#requested.get(requestId);
    if (request === undefined) return;
    this.#requested.delete(requestId);
    this.#end(request, () => error);
  }

  /** Entries that were accepted and are not all applied, as they were sent. */
  entriesOf({ firstIndex, count, term }: OwnRange): OwnEntries {
    const payloads: Uint8Array[] = [];
    const kinds: number[] = [];
    for (const request of this.#accepted) {
      const next = firstIndex + payloads.length;
      if (payloads.length === count || request.firstIndex > next) break;
      const at = next - request.firstIndex;
      const countMax = Math.min(count - payloads.length, request.count - at);
      if (request.term === term && countMax > 0) unpackInto(payloads, request.packed, at, countMax);
      while (kinds.length < payloads.length) kinds.push(ENTRY_KINDS[request.entryKind]);
    }
    invariant(payloads.length === count, "what was accepted is kept until it is applied");
    return { payloads, kinds };
  }

  /**
   * The next command of the entry at `index` is applied. An entry of another term there means that the proposals' own is gone.
   * @param committedMs when it was known here to be committed
   */
  applied(
    index: LogIndex,
    term: Term,
    result: R,
    overwritten: () => RockpoolError,
    committedMs = 0,
  ): void {
    for (let head = this.#accepted[0]; head !== undefined; head = this.#accepted[0]) {
      if (index < head.firstIndex) return;
      const at = index - head.firstIndex;
      if (at < head.count) {
        const begin = head.ends[at - 1] ?? 0;
        const end = head.ends[at] ?? 0;
        // Where entries before it are another leader's no-ops, nobody was told.
        this.#rejectUntil(head, begin, overwritten);
        if (head.term !== term) this.#rejectUntil(head, end, overwritten);
        else if (head.answered < end) this.#answer(head, result, committedMs);
        if (at < head.count - 1 || head.answered < end) return;
      }
      this.#accepted.shift();
      this.#end(head, overwritten);
      if (at < head.count) return;
    }
  }

  /** Resolves the next one, if anybody waits for it. */
  #answer(request: Request<R>, result: R, committedMs: number): void {
    const proposal = request.proposals[request.answered];
    request.answered += 1;
    if (proposal === undefined) return;
    this.#release(proposal);
    const { stopwatch } = proposal;
    if (stopwatch !== null) this.#stop(stopwatch, committedMs);
    proposal.resolve(result);
  }

  #rejectUntil(request: Request<R>, end: number, error: () => RockpoolError): void {
    for (; request.answered < end; request.answered += 1) {
      const proposal = request.proposals[request.answered];
      if (proposal !== undefined) this.#reject(proposal, error());
    }
  }

  rejectAll(error: () => RockpoolError): void {
    const queued = this.#queued;
    this.#queued = [];
    // Their bytes stay: they may yet be committed.
    for (const request of [...this.#accepted, ...this.#requested.values()])
      this.#end(request, error);
    for (const proposal of queued) this.#reject(proposal, error());
  }

  /** Rejects those that have no answer. */
  #end(request: Request<R>, error: () => RockpoolError): void {
    const { proposals, answered } = request;
    request.proposals = [];
    for (let at = answered; at < proposals.length; at++) {
      const proposal = proposals[at];
      if (proposal !== undefined) this.#reject(proposal, error());
    }
  }

  #stop({ times, addedMs, sentMs }: Stopwatch, committedMs: number): void {
    const knownMs = Math.max(committedMs, sentMs);
    times.queueMs += sentMs - addedMs;
    times.journalMs += knownMs - sentMs;
    times.applyMs += Math.max(0, this.#nowMs() - knownMs);
  }

  #release({ payload }: Proposal<R>): void {
    this.#count -= 1;
    this.#bytes -= payload.length;
  }

  #reject(proposal: Proposal<R>, error: RockpoolError): void {
    this.#release(proposal);
    proposal.reject(error);
  }
}

type Reader = {
  readonly resolve: () => void;
  readonly reject: (error: RockpoolError) => void;
};

export class WaitingReads {
  #queued: Reader[] = [];
  /** By the context under which the core was asked. */
  #asked = new Map<number, readonly Reader[]>();
  /** Confirmed, and not yet applied so far. */
  #confirmed: { readonly index: LogIndex; readonly readers: readonly Reader[] }[] = [];
  #context = 0;
  #count = 0;

  /** @throws RockpoolError RESOURCE_EXHAUSTED (as a rejection) when too many wait */
  add(): Promise<void> {
    if (this.#count >= PROPOSALS_MAX)
      return Promise.reject(
        new RockpoolError(
          "RESOURCE_EXHAUSTED",
          `${this.#count} reads wait for the journal already`,
          "Send fewer requests at a time",
        ),
      );
    this.#count += 1;
    return new Promise((resolve, reject) => {
      this.#queued.push({ resolve, reject });
    });
  }

  /** A fresh context for all that were added since the last time; null for none. */
  takeQueued(): number | null {
    if (this.#queued.length === 0) return null;
    this.#context += 1;
    this.#asked.set(this.#context, this.#queued);
    this.#queued = [];
    return this.#context;
  }

  /** A quorum has confirmed the context: its readers may go on once `index` is applied. */
  confirmed(context: number, index: LogIndex): void {
    const readers = this.#asked.get(context);
    if (readers === undefined) return;
    this.#asked.delete(context);
    this.#confirmed.push({ index, readers });
  }

  applied(throughIndex: LogIndex): void {
    if (this.#confirmed.length === 0) return;
    const due = this.#confirmed.filter(({ index }) => index <= throughIndex);
    this.#confirmed = this.#confirmed.filter(({ index }) => index > throughIndex);
    for (const { readers } of due)
      for (const reader of readers) {
        this.#count -= 1;
        reader.resolve();
      }
  }

  aborted(contexts: readonly number[], error: () => RockpoolError): void {
    for (const context of contexts) {
      const readers = this.#asked.get(context) ?? [];
      this.#asked.delete(context);
      this.#reject(readers, error);
    }
  }

  rejectAll(error: () => RockpoolError): void {
    const readers = [
      ...[...this.#asked.values()].flat(),
      ...this.#confirmed.flatMap((confirmed) => confirmed.readers),
      ...this.#queued,
    ];
    this.#asked.clear();
    this.#confirmed = [];
    this.#queued = [];
    this.#reject(readers, error);
  }

  #reject(readers: readonly Reader[], error: () => RockpoolError): void {
    for (const reader of readers) {
      this.#count -= 1;
      reader.reject(error());
    }
  }
}
